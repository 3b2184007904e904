//! A response's content that owns its session.

use std::fmt;
use std::io::{self, BufRead, Read};

use super::ClientSession;
use crate::Result;
use crate::message::{HeaderMap, Request, Response};

/// The content of a response, together with the session it comes from: for content that
/// outlives the function that asked for it.
///
/// ```
/// use std::io::{Read, Write};
/// use sessile::message::Request;
/// use sessile::session::{HttpClientSession, OwnedResponseStream};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let port = listener.local_addr()?.port();
/// # let server = std::thread::spawn(move || -> std::io::Result<()> {
/// #     let (mut peer, _) = listener.accept()?;
/// #     let _ = peer.read(&mut [0; 512])?;
/// #     peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
/// # });
///
/// fn open(port: u16) -> sessile::Result<impl Read + Send> {
///     let session = HttpClientSession::new("127.0.0.1", port);
///     OwnedResponseStream::open(Box::new(session), &Request::get("/"))
/// }
///
/// let mut text = String::new();
/// open(port)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # server.join().unwrap()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPResponseStream")]
pub struct OwnedResponseStream {
    session: Box<dyn ClientSession>,
    response: Response,
}

impl OwnedResponseStream {
    /// Makes a request without content and keeps the session with its response.
    pub fn open(mut session: Box<dyn ClientSession>, request: &Request) -> Result<OwnedResponseStream> {
        session.send_request(request)?;
        OwnedResponseStream::receive(session)
    }

    /// Receives the response to the request that was sent on the session.
    pub fn receive(mut session: Box<dyn ClientSession>) -> Result<OwnedResponseStream> {
        let mut response = Response::new();
        session.receive_response(&mut response)?;
        Ok(OwnedResponseStream { session, response })
    }

    pub(crate) fn from_parts(session: Box<dyn ClientSession>, response: Response) -> OwnedResponseStream {
        OwnedResponseStream { session, response }
    }

    /// The response's head.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// The response's trailer fields, once the content was read to its end.
    pub fn trailers(&self) -> &HeaderMap {
        self.session.response_trailer()
    }

    /// The session, for its next request.
    pub fn into_session(self) -> Box<dyn ClientSession> {
        self.session
    }
}

impl Read for OwnedResponseStream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.session.connection_mut().body_reader().read(into)
    }
}

impl BufRead for OwnedResponseStream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.session.connection_mut().fill_content()?;
        Ok(self.session.connection().content())
    }

    fn consume(&mut self, n: usize) {
        self.session.connection_mut().body_reader().consume(n);
    }
}

impl fmt::Debug for OwnedResponseStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedResponseStream").field("response", &self.response).finish_non_exhaustive()
    }
}
