//! What a handler answers with.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::claim::Need;
use crate::message::{Request, Response, StatusCode, Version};
use crate::proto::CloseReason;
use crate::session::{BodyWriter, ResponseSender};
use crate::{Error, Result};

/// Something to do just before the head of a response leaves.
pub(crate) type BeforeHead = Box<dyn FnOnce(&mut Response) -> Result<()> + Send>;

/// The response to a request: the head by [`Deref`], to be filled, and the ways to send it.
///
/// A response is sent once. `Date`, `Connection`, and how the content is framed are added on the wire: content
/// with a length, by [`send_buffer`](Self::send_buffer) or
/// [`set_content_length`](Response::set_content_length), leaves as it is; content without one that ends within 16 KiB
/// gets one; more of it is chunked, or ends with the connection for a client of HTTP/1.0. Content that a
/// response can't have (to `HEAD`, with 204 or 304) is taken and dropped.
///
/// ```
/// use std::io::Write;
/// use sessile::server::HttpServer;
///
/// let server = HttpServer::bind("127.0.0.1:0", |request, response| {
///     match request.path() {
///         "/" => {
///             response.set_content_type("text/plain; charset=utf-8");
///             let mut body = response.send()?;
///             for n in 0..1000 {
///                 writeln!(body, "line {n}")?;
///             }
///             body.finish()
///         }
///         _ => response.redirect("/"),
///     }
/// })?;
/// # let _ = server;
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPServerResponse")]
#[doc(alias = "HTTPServerResponseImpl")]
pub struct ServerResponse<'a> {
    pub(crate) request: &'a Request,
    pub(crate) head: &'a mut Response,
    pub(crate) sender: ResponseSender<'a>,
    pub(crate) need: &'a Need,
    pub(crate) hooks: Vec<BeforeHead>,
    /// The connection is to end with this response, whoever is in need.
    pub(crate) closes: Option<CloseReason>,
}

impl<'a> ServerResponse<'a> {
    /// Puts the head into the output buffer and returns where the content is written. It all leaves when
    /// the buffer is full, when the handler has returned, or by `flush`. `IllegalState` the second time.
    pub fn send(&mut self) -> Result<BodyWriter<'_>> {
        self.prepare()?;
        self.sender.send(self.head)
    }

    /// Sends the response with this content and its length, whatever the response said of framing.
    #[doc(alias = "sendBuffer")]
    pub fn send_buffer(&mut self, content: &[u8]) -> Result<()> {
        self.prepare()?;
        self.sender.send_whole(self.head, content)
    }

    /// Sends a redirect with 302 and no content. The location may be relative; it is refused where it holds
    /// what can't stand in a field.
    pub fn redirect(&mut self, location: &str) -> Result<()> {
        self.redirect_with(location, StatusCode::FOUND)
    }

    /// The same with another status: 301, 303, 307 or 308 say different things.
    #[doc(alias = "redirect")]
    pub fn redirect_with(&mut self, location: &str, status: StatusCode) -> Result<()> {
        if !status.is_redirection() {
            return Err(Error::invalid_argument("a redirect has a status from 300 to 399"));
        }
        self.head.headers_mut().set("Location", location)?;
        self.head.set_status(status);
        self.send_buffer(b"")
    }

    /// Makes this response a demand for `Basic` credentials: 401 with a challenge for the realm. Does not
    /// send it.
    #[doc(alias = "requireAuthentication")]
    pub fn require_authentication(&mut self, realm: &str) -> Result<&mut Self> {
        let mut challenge = String::from("Basic realm=\"");
        for char in realm.chars() {
            if matches!(char, '"' | '\\') {
                challenge.push('\\');
            }
            challenge.push(char);
        }
        challenge.push('"');
        self.head.headers_mut().set("WWW-Authenticate", &challenge)?;
        self.head.set_status(StatusCode::UNAUTHORIZED);
        Ok(self)
    }

    /// Sends `100 Continue` now, and not when content is first waited for. Nothing is sent to a client of HTTP/1.0.
    #[doc(alias = "sendContinue")]
    pub fn send_continue(&mut self) -> Result<()> {
        self.send_interim(&Response::with_status(StatusCode::CONTINUE))
    }

    /// Sends an interim response at once: `103 Early Hints` with its `Link` fields, say. Nothing is sent to a
    /// client of HTTP/1.0. `IllegalState` once the response was sent.
    pub fn send_interim(&mut self, response: &Response) -> Result<()> {
        self.sender.send_interim(response)
    }

    /// Adds a trailer field, which leaves behind the content; the content is chunked for it. A client of
    /// HTTP/1.0 gets none. Until the response is sent; [`BodyWriter::set_trailer`] does the same later.
    #[doc(alias = "responseTrailer")]
    pub fn set_trailer(&mut self, name: &str, value: &str) -> Result<()> {
        self.sender.set_trailer(name, value)?;
        if self.sender.version() == Version::Http11 {
            self.head.remove_content_length().set_chunked(true);
        }
        Ok(())
    }

    /// Whether the response was sent, or has begun to be.
    #[doc(alias = "sent")]
    pub fn is_sent(&self) -> bool {
        self.sender.is_answered()
    }

    /// Has something done to the head just before it leaves, whoever sends it and how: setting the cookie of a
    /// session, say. In the order in which it was asked for. An error is the sender's, and nothing is sent then. Not done for
    /// the responses that the server makes by itself.
    pub fn before_head(&mut self, hook: impl FnOnce(&mut Response) -> Result<()> + Send + 'static) {
        self.hooks.push(Box::new(hook));
    }

    /// All that comes before the head leaves.
    #[inline]
    pub(crate) fn prepare(&mut self) -> Result<()> {
        if self.is_sent() {
            return Err(Error::illegal_state("the response was sent already"));
        }
        if !self.hooks.is_empty() {
            self.run_hooks()?;
        }
        if let Some(reason) = self.closes.or_else(|| self.need.reason()) {
            self.sender.forbid_keep_alive(reason);
        }
        Ok(())
    }

    fn run_hooks(&mut self) -> Result<()> {
        std::mem::take(&mut self.hooks).into_iter().try_for_each(|hook| hook(self.head))
    }
}

impl Deref for ServerResponse<'_> {
    type Target = Response;

    fn deref(&self) -> &Response {
        self.head
    }
}

impl DerefMut for ServerResponse<'_> {
    fn deref_mut(&mut self) -> &mut Response {
        self.head
    }
}

impl fmt::Debug for ServerResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerResponse")
            .field("head", &self.head)
            .field("sent", &self.is_sent())
            .finish_non_exhaustive()
    }
}
