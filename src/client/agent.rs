//! The user agent itself: what its calls share.

use std::fmt;
use std::sync::Arc;

use super::authentication::Authentication;
use super::body::{AgentBody, Raw};
use super::builder::UserAgentBuilder;
#[cfg(feature = "cookies")]
use super::cookie_jar::CookieJar;
use super::factory::SessionFactory;
use super::pool::Pool;
use super::redirect::RedirectPolicy;
use super::request::RequestBuilder;
use crate::message::{HeaderMap, Method, Origin, Request, Response, Scheme, Uri};
use crate::session::{ClientSession, Observer, ProxyConfig, RetryPolicy, Timeouts};
use crate::{Error, Result};

/// Makes requests to any server, over sessions that it keeps: with redirects, cookies,
/// authentication and compression, as far as it is told to.
///
/// A clone is the same agent; all threads may use it at once, and none waits for another. It has no
/// thread of its own and needs no runtime: it works inside of an asynchronous one too, where it
/// blocks its thread.
///
/// One time limit ([`Timeouts::total`]) holds from name resolution to the last byte, over
/// redirects and authentication. A status of 400 or above is a response like any.
///
/// ```
/// use sessile::client::UserAgent;
/// # use std::io::{Read, Write};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let base = format!("http://{}", listener.local_addr()?);
/// # let server = std::thread::spawn(move || -> std::io::Result<()> {
/// #     let (mut peer, _) = listener.accept()?;
/// #     for answer in ["302 Found\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n", "200 OK\r\nContent-Length: 5\r\n\r\nhello"] {
/// #         let _ = peer.read(&mut [0; 512])?;
/// #         write!(peer, "HTTP/1.1 {answer}")?;
/// #     }
/// #     Ok(())
/// # });
///
/// let agent = UserAgent::new();
/// let response = agent.get(format!("{base}/old")).header("Accept", "text/plain").send()?;
/// assert_eq!(response.uri().path(), "/new");
/// assert_eq!(response.read_to_string()?, "hello");
/// # server.join().unwrap()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "HTTPSessionFactory")]
#[doc(alias = "HTTPStreamFactory")]
pub struct UserAgent(Arc<Settings>);

/// What all calls of an agent share.
pub(super) struct Settings {
    pub(super) pool: Arc<Pool>,
    pub(super) factory: Arc<SessionFactory>,
    pub(super) proxies: Proxies,
    pub(super) headers: HeaderMap,
    pub(super) timeouts: Timeouts,
    pub(super) redirects: RedirectPolicy,
    pub(super) retry: RetryPolicy,
    pub(super) users: Vec<(Origin, Authentication)>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) max_content: u64,
    pub(super) gzip: bool,
    #[cfg(feature = "gzip")]
    pub(super) gzip_limits: super::GzipLimits,
    #[cfg(feature = "cookies")]
    pub(super) cookies: Option<CookieJar>,
}

/// Which proxy goes with which URI.
#[derive(Debug, Clone)]
pub(super) enum Proxies {
    /// What the factory says, or else what is global.
    Default,
    /// This one; it may be none.
    Fixed(ProxyConfig),
    /// What the environment said.
    ByScheme { http: ProxyConfig, https: ProxyConfig },
}

impl UserAgent {
    /// An agent with all that is default: ten redirects, no cookies, no compression, the global
    /// proxy if there is one, and the time-outs of sessions.
    pub fn new() -> UserAgent {
        UserAgentBuilder::default().finish()
    }

    /// An agent that is told more.
    pub fn builder() -> UserAgentBuilder {
        UserAgentBuilder::default()
    }

    pub(super) fn with_settings(settings: Settings) -> UserAgent {
        UserAgent(Arc::new(settings))
    }

    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.0
    }

    /// Begins a request. What is wrong with the URI is said when it is sent.
    pub fn request<U>(&self, method: Method, uri: U) -> RequestBuilder
    where
        U: TryInto<Uri>,
        U::Error: Into<Error>,
    {
        RequestBuilder::new(self.clone(), Request::new(method, "/"), uri.try_into().map_err(Into::into))
    }

    /// Begins a GET request.
    pub fn get<U>(&self, uri: U) -> RequestBuilder
    where
        U: TryInto<Uri>,
        U::Error: Into<Error>,
    {
        self.request(Method::GET, uri)
    }

    /// Begins a HEAD request.
    pub fn head<U>(&self, uri: U) -> RequestBuilder
    where
        U: TryInto<Uri>,
        U::Error: Into<Error>,
    {
        self.request(Method::HEAD, uri)
    }

    /// Begins a POST request.
    pub fn post<U>(&self, uri: U) -> RequestBuilder
    where
        U: TryInto<Uri>,
        U::Error: Into<Error>,
    {
        self.request(Method::POST, uri)
    }

    /// Begins a PUT request.
    pub fn put<U>(&self, uri: U) -> RequestBuilder
    where
        U: TryInto<Uri>,
        U::Error: Into<Error>,
    {
        self.request(Method::PUT, uri)
    }

    /// Begins a PATCH request.
    pub fn patch<U>(&self, uri: U) -> RequestBuilder
    where
        U: TryInto<Uri>,
        U::Error: Into<Error>,
    {
        self.request(Method::PATCH, uri)
    }

    /// Begins a DELETE request.
    pub fn delete<U>(&self, uri: U) -> RequestBuilder
    where
        U: TryInto<Uri>,
        U::Error: Into<Error>,
    {
        self.request(Method::DELETE, uri)
    }

    /// Begins with a request that is there already, method and fields; its target is replaced by
    /// that of the URI.
    pub fn with_request<U>(&self, uri: U, request: Request) -> RequestBuilder
    where
        U: TryInto<Uri>,
        U::Error: Into<Error>,
    {
        RequestBuilder::new(self.clone(), request, uri.try_into().map_err(Into::into))
    }

    /// How many idle sessions it keeps.
    pub fn idle_sessions(&self) -> usize {
        self.0.pool.len()
    }

    /// Closes all idle connections.
    pub fn close_idle(&self) {
        self.0.pool.clear();
    }

    /// Its cookies, where it keeps some.
    #[cfg(feature = "cookies")]
    #[cfg_attr(docsrs, doc(cfg(feature = "cookies")))]
    pub fn cookie_jar(&self) -> Option<&CookieJar> {
        self.0.cookies.as_ref()
    }
}

impl Settings {
    /// A new session to where the URI points.
    pub(super) fn create_session(&self, uri: &Uri) -> Result<Box<dyn ClientSession>> {
        let mut session = self.factory.create_client_session(uri)?;
        match &self.proxies {
            Proxies::Default => {}
            Proxies::Fixed(proxy) => session.set_proxy_config(proxy.clone())?,
            Proxies::ByScheme { http, https } => {
                let proxy = if uri.scheme() == Scheme::Https { https } else { http };
                session.set_proxy_config(proxy.clone())?;
            }
        }
        Ok(session)
    }

    /// The user that the agent was told for this origin.
    pub(super) fn user(&self, origin: &Origin) -> Option<Authentication> {
        self.users.iter().find(|(known, _)| known == origin).map(|(_, user)| user.clone())
    }

    #[cfg(feature = "gzip")]
    pub(super) fn decoder(&self, raw: Raw) -> AgentBody {
        AgentBody::gzip(raw, self.gzip_limits)
    }

    #[cfg(not(feature = "gzip"))]
    pub(super) fn decoder(&self, raw: Raw) -> AgentBody {
        AgentBody::plain(raw)
    }

    #[cfg(feature = "cookies")]
    pub(super) fn add_cookies(&self, uri: &Uri, request: &mut Request) -> Result<()> {
        let Some(jar) = &self.cookies else { return Ok(()) };
        // Names that servers made up are sent as they are, unlike those of programs.
        let mut field = Vec::new();
        let mut add = |parts: &[&[u8]]| {
            if !field.is_empty() {
                field.extend_from_slice(b"; ");
            }
            parts.iter().for_each(|part| field.extend_from_slice(part));
        };
        request.headers().get_all("cookie").filter(|own| !own.is_empty()).for_each(|own| add(&[own]));
        for (name, value) in jar.cookies(uri) {
            add(&[name.as_bytes(), b"=", value.as_bytes()]);
        }
        if !field.is_empty() {
            request.headers_mut().set("Cookie", &field)?;
        }
        Ok(())
    }

    #[cfg(feature = "cookies")]
    pub(super) fn keep_cookies(&self, uri: &Uri, response: &Response) {
        if let Some(jar) = &self.cookies {
            jar.store_response(uri, response);
        }
    }

    #[cfg(not(feature = "cookies"))]
    pub(super) fn add_cookies(&self, _: &Uri, _: &mut Request) -> Result<()> {
        Ok(())
    }

    #[cfg(not(feature = "cookies"))]
    pub(super) fn keep_cookies(&self, _: &Uri, _: &Response) {}
}

impl Default for UserAgent {
    fn default() -> UserAgent {
        UserAgent::new()
    }
}

impl fmt::Debug for UserAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAgent")
            .field("idle_sessions", &self.idle_sessions())
            .field("timeouts", &self.0.timeouts)
            .field("redirects", &self.0.redirects)
            .field("proxies", &self.0.proxies)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "cookies"))]
mod tests {
    use super::*;
    use crate::message::Cookie;

    #[test]
    fn the_caller_s_cookies_all_go_before_those_of_the_jar() {
        let uri: Uri = "http://h.test/".parse().unwrap();
        let jar = CookieJar::new();
        let agent = UserAgent::builder().cookies(jar.clone()).build().unwrap();
        let mut request = Request::get("/");
        for own in [&b"a=1"[..], b"", b"b=\xFF; c=3"] {
            request.headers_mut().append("Cookie", own).unwrap();
        }
        let mut alone = request.clone();
        agent.0.add_cookies(&uri, &mut alone).unwrap();
        assert_eq!(alone.headers().get_all("cookie").collect::<Vec<_>>(), [b"a=1; b=\xFF; c=3"]);
        jar.store(&uri, &Cookie::new("d", "4").unwrap());
        agent.0.add_cookies(&uri, &mut request).unwrap();
        assert_eq!(request.headers().get_all("cookie").collect::<Vec<_>>(), [b"a=1; b=\xFF; c=3; d=4"]);
    }
}
