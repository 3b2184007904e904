//! A request in the making.

use std::fmt;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use super::agent::UserAgent;
use super::authentication::Authentication;
use super::call::{Call, Order};
use super::content::Content;
use super::redirect::RedirectPolicy;
use super::response::AgentResponse;
use crate::message::{Form, Request, Uri};
use crate::net::AbortHandle;
use crate::session::{Observer, OwnedResponseStream, Timeouts};
use crate::{Error, Result};

/// A request of a [`UserAgent`]'s, until it is sent.
///
/// What is wrong with any of its parts is said by [`send`](RequestBuilder::send).
///
/// ```
/// use std::time::Duration;
/// use sessile::client::UserAgent;
/// # use std::io::{Read, Write};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let base = format!("http://{}", listener.local_addr()?);
/// # let server = std::thread::spawn(move || -> std::io::Result<String> {
/// #     let (mut peer, _) = listener.accept()?;
/// #     let mut block = [0; 1024];
/// #     let n = peer.read(&mut block)?;
/// #     peer.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")?;
/// #     Ok(String::from_utf8_lossy(&block[..n]).into_owned())
/// # });
///
/// let response = UserAgent::new()
///     .post(format!("{base}/notes"))
///     .header("Content-Type", "text/plain")
///     .query("list", "to do")
///     .content("buy milk")
///     .timeout(Duration::from_secs(10))
///     .send()?;
/// assert_eq!(response.status().as_u16(), 201);
/// # let sent = server.join().unwrap()?;
/// # assert!(sent.starts_with("POST /notes?list=to+do HTTP/1.1\r\n") && sent.ends_with("\r\n\r\nbuy milk"), "{sent}");
/// # Ok::<(), sessile::Error>(())
/// ```
#[must_use = "a request is sent by `send`"]
pub struct RequestBuilder {
    agent: UserAgent,
    uri: Result<Uri>,
    request: Request,
    query: Form,
    content: Content,
    chunked: bool,
    timeouts: Option<Timeouts>,
    total: Option<Duration>,
    redirects: Option<RedirectPolicy>,
    authentication: Option<Authentication>,
    abort: Option<AbortHandle>,
    observer: Option<Arc<dyn Observer>>,
    gzip: Option<bool>,
    error: Option<Error>,
}

impl RequestBuilder {
    pub(super) fn new(agent: UserAgent, request: Request, uri: Result<Uri>) -> RequestBuilder {
        RequestBuilder {
            agent,
            uri,
            request,
            query: Form::new(),
            content: Content::empty(),
            chunked: false,
            timeouts: None,
            total: None,
            redirects: None,
            authentication: None,
            abort: None,
            observer: None,
            gzip: None,
            error: None,
        }
    }

    fn noting(mut self, result: Result<()>) -> RequestBuilder {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
        self
    }

    /// Adds a field, behind those of the same name.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> RequestBuilder {
        let result = self.request.headers_mut().append(name, value);
        self.noting(result)
    }

    /// Adds a name and a value to the query of the URI.
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> RequestBuilder {
        self.query.add(name, value);
        self
    }

    /// The content: text, bytes, a file, or what a reader gives.
    pub fn content(mut self, content: impl Into<Content>) -> RequestBuilder {
        self.content = content.into();
        self
    }

    /// All that the reader gives as the content, in chunks. It can be sent but once: a redirect or a
    /// challenge that asks for it again is an error, unless nothing was read by then.
    pub fn content_from(mut self, reader: impl Read + Send + 'static) -> RequestBuilder {
        self.content = Content::from_reader(reader);
        self
    }

    /// Sends the content in chunks even where its length is known.
    pub fn chunked(mut self, chunked: bool) -> RequestBuilder {
        self.chunked = chunked;
        self
    }

    /// A form as the content, with its type.
    #[doc(alias = "HTMLForm")]
    pub fn form(mut self, form: &Form) -> RequestBuilder {
        self.request.set_content_type(Form::MEDIA_TYPE);
        self.content(form)
    }

    /// A value as JSON as the content, with its type.
    #[cfg(feature = "serde")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
    pub fn json<T: serde::Serialize + ?Sized>(mut self, value: &T) -> RequestBuilder {
        match serde_json::to_vec(value) {
            Ok(text) => {
                self.request.set_content_type("application/json");
                self.content(text)
            }
            Err(error) => {
                let error = Error::invalid_argument("the value can't be written as JSON").with_source(error);
                self.noting(Err(error))
            }
        }
    }

    /// Waits for the server to ask for the content, or to refuse it, before it is sent. Waits for a
    /// second at most.
    #[doc(alias = "setExpectContinue")]
    pub fn expect_continue(mut self, expect: bool) -> RequestBuilder {
        self.request.set_expect_continue(expect);
        self
    }

    /// How long the call may take, instead of what the agent was told.
    pub fn timeouts(mut self, timeouts: Timeouts) -> RequestBuilder {
        self.timeouts = Some(timeouts);
        self
    }

    /// How long the whole call may take, from name resolution to the last byte of the content.
    pub fn timeout(mut self, total: Duration) -> RequestBuilder {
        self.total = Some(total);
        self
    }

    /// Which redirects are followed, instead of what the agent was told.
    pub fn redirects(mut self, policy: RedirectPolicy) -> RequestBuilder {
        self.redirects = Some(policy);
        self
    }

    /// As whom the server is asked. No other server is told, wherever a redirect leads.
    pub fn authentication(mut self, user: Authentication) -> RequestBuilder {
        self.authentication = Some(user);
        self
    }

    /// Ends the call from another thread: in every phase, and while the content is read. The handle
    /// stays used: calls that are given it later fail at once.
    #[doc(alias = "abort")]
    pub fn abort_handle(mut self, abort: &AbortHandle) -> RequestBuilder {
        self.abort = Some(abort.clone());
        self
    }

    /// Who is told how the call goes, instead of whom the agent was told.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> RequestBuilder {
        self.observer = Some(observer);
        self
    }

    /// Whether compressed content is asked for and decoded, instead of what the agent was told.
    #[cfg(feature = "gzip")]
    #[cfg_attr(docsrs, doc(cfg(feature = "gzip")))]
    pub fn gzip(mut self, ask: bool) -> RequestBuilder {
        self.gzip = Some(ask);
        self
    }

    /// The fields as they are now, without what is added when it is sent.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The same, to change them.
    pub fn request_mut(&mut self) -> &mut Request {
        &mut self.request
    }

    /// Sends the request and receives the head of the response, behind all redirects and
    /// challenges. Blocks for as long as the time-outs allow; whatever the status, a response is no
    /// error.
    ///
    /// A server may answer before all of the content has left. The rest of it is then sent while the
    /// response is read; where the response is whole before that, or is a refusal (3xx, 4xx, 5xx),
    /// the sending ends, without an error, and the connection is closed.
    pub fn send(self) -> Result<AgentResponse> {
        let agent = self.agent.settings().clone();
        Call::new(agent, self.order()?)?.run()
    }

    /// The same, for who wants the session with the response on it. The content is as it comes.
    pub(super) fn open(mut self) -> Result<OwnedResponseStream> {
        self.gzip = Some(false);
        let agent = self.agent.settings().clone();
        Call::new(agent, self.order()?)?.run_owned()
    }

    fn order(self) -> Result<Order> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let settings = self.agent.settings();
        let mut uri = self.uri?;
        if !self.query.is_empty() {
            let mark = if uri.query().is_some() { '&' } else { '?' };
            uri = format!("{}{mark}{}", uri.as_str(), self.query.encode()).parse()?;
        }
        let mut request = self.request;
        for (name, value) in settings.headers.iter() {
            if !request.headers().has(name) {
                request.headers_mut().append(name, value)?;
            }
        }
        let mut timeouts = self.timeouts.unwrap_or(settings.timeouts);
        timeouts.total = self.total.or(timeouts.total);
        let announced = request.is_chunked() || request.content_length()?.is_some_and(|length| length > 0);
        if announced && self.content.is_none() {
            return Err(Error::invalid_argument("a request says that it has content, but none is given"));
        }
        Ok(Order {
            uri,
            request,
            content: self.content,
            chunked: self.chunked,
            timeouts,
            redirects: self.redirects.unwrap_or_else(|| settings.redirects.clone()),
            authentication: self.authentication,
            abort: self.abort,
            observer: self.observer.or_else(|| settings.observer.clone()),
            gzip: self.gzip.unwrap_or(settings.gzip),
        })
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("uri", &self.uri)
            .field("request", &self.request)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}
