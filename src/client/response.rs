//! A response with its content, as a [`UserAgent`](super::UserAgent) gives it.

use std::fmt;
use std::io::{self, BufRead, Read, Write};

use super::body::AgentBody;
use super::timings::Timings;
use crate::message::{HeaderMap, Response, StatusCode, Uri};
use crate::session::ClientSession;
use crate::{Error, ErrorKind, Result};

/// A response: its head, where it came from, and its content to be read.
///
/// Whatever the status, this is no error; [`error_for_status`](AgentResponse::error_for_status)
/// makes it one. The content is read from it directly (`Read`, `BufRead`) or at once, within a
/// limit.
///
/// ```
/// use sessile::client::UserAgent;
/// # use std::io::{Read, Write};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let uri = format!("http://{}/", listener.local_addr()?);
/// # let server = std::thread::spawn(move || -> std::io::Result<()> {
/// #     let (mut peer, _) = listener.accept()?;
/// #     let _ = peer.read(&mut [0; 512])?;
/// #     peer.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nsorry")
/// # });
///
/// let response = UserAgent::new().get(&uri).send()?;
/// assert_eq!((response.status().as_u16(), response.uri().as_str()), (404, uri.as_str()));
/// assert!(response.error_for_status_ref().is_err());
/// assert_eq!(response.read_to_string()?, "sorry");
/// # server.join().unwrap()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPResponse")]
pub struct AgentResponse {
    response: Response,
    uri: Uri,
    redirects: Vec<Uri>,
    decoded: bool,
    most: u64,
    body: AgentBody,
}

impl AgentResponse {
    pub(super) fn new(
        response: Response,
        uri: Uri,
        redirects: Vec<Uri>,
        decoded: bool,
        most: u64,
        body: AgentBody,
    ) -> AgentResponse {
        AgentResponse { response, uri, redirects, decoded, most, body }
    }

    /// The status.
    #[doc(alias = "getStatus")]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The fields, as they were received: `Content-Length` and `Content-Encoding` are about the content
    /// as it was sent, also where it [is decoded](AgentResponse::is_decoded).
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The whole head.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// What was asked at last, after all redirects; without user information.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// What was asked before, from the first request to the last redirect.
    pub fn redirects(&self) -> &[Uri] {
        &self.redirects
    }

    /// Whether the content came compressed and is read decoded.
    pub fn is_decoded(&self) -> bool {
        self.decoded
    }

    /// How much content is still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        self.body.remaining()
    }

    /// The trailer fields, once the content was read to its end; empty before.
    #[doc(alias = "responseTrailer")]
    pub fn trailers(&self) -> &HeaderMap {
        self.body.trailers()
    }

    /// How long the parts of the call took.
    pub fn timings(&self) -> Timings {
        self.body.timings()
    }

    /// An error of the kind [`Status`](ErrorKind::Status) if the status is 400 or above, with the
    /// status in it ([`Error::status`]); else the response itself.
    pub fn error_for_status(self) -> Result<AgentResponse> {
        self.error_for_status_ref()?;
        Ok(self)
    }

    /// The same without giving the response away: its content may say more.
    pub fn error_for_status_ref(&self) -> Result<()> {
        let status = self.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(());
        }
        let reason = self.response.reason();
        let blank = if reason.is_empty() { "" } else { " " };
        let message = format!("{} answered {status}{blank}{reason}", self.uri.origin());
        Err(Error::new(ErrorKind::Status, message).with_status(status))
    }

    /// Reads the content to its end. More than the agent's limit
    /// ([`max_content`](super::UserAgentBuilder::max_content)) is
    /// [`TooLarge`](ErrorKind::TooLarge).
    pub fn read_to_vec(self) -> Result<Vec<u8>> {
        let most = self.most;
        self.read_to_vec_within(most)
    }

    /// The same, within a limit of its own.
    pub fn read_to_vec_within(mut self, most: u64) -> Result<Vec<u8>> {
        let announced = self.remaining();
        if announced.is_some_and(|length| length > most) {
            return Err(too_large(most));
        }
        // What a response announces is not believed beyond a block: memory comes with the content.
        let room = announced.unwrap_or(0).min(64 * 1024);
        let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
        (&mut self.body).take(most).read_to_end(&mut bytes)?;
        if bytes.len() as u64 == most && !self.body.fill_buf()?.is_empty() {
            return Err(too_large(most));
        }
        Ok(bytes)
    }

    /// Reads the content to its end, as text: UTF-8, or ISO 8859-1 where the response says so.
    /// Anything else is [`Decode`](ErrorKind::Decode). The limit is that of
    /// [`read_to_vec`](AgentResponse::read_to_vec).
    pub fn read_to_string(self) -> Result<String> {
        let most = self.most;
        self.read_to_string_within(most)
    }

    /// The same, within a limit of its own.
    pub fn read_to_string_within(self, most: u64) -> Result<String> {
        let charset =
            self.response.media_type().and_then(|t| t.parameter("charset").map(str::to_ascii_lowercase));
        let bytes = self.read_to_vec_within(most)?;
        match charset.as_deref() {
            Some("iso-8859-1" | "latin1") => Ok(bytes.into_iter().map(char::from).collect()),
            _ => String::from_utf8(bytes).map_err(|error| {
                Error::new(ErrorKind::Decode, "the content is not UTF-8").with_source(error.utf8_error())
            }),
        }
    }

    /// Reads the content to its end, as JSON. What is none, or not of this type, is
    /// [`Decode`](ErrorKind::Decode). The limit is that of
    /// [`read_to_vec`](AgentResponse::read_to_vec).
    #[cfg(feature = "serde")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
    pub fn json<T: serde::de::DeserializeOwned>(self) -> Result<T> {
        let bytes = self.read_to_vec()?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(ErrorKind::Decode, "the content is not the JSON that is wanted").with_source(error)
        })
    }

    /// Copies the content to its end, and says how much it was.
    pub fn copy_to(mut self, mut out: impl Write) -> Result<u64> {
        let mut copied = 0;
        loop {
            // Straight from where it was received: a copy in between costs time.
            let block = self.body.fill_buf()?;
            if block.is_empty() {
                return Ok(copied);
            }
            out.write_all(block)?;
            let n = block.len();
            self.body.consume(n);
            copied += n as u64;
        }
    }

    /// The content alone.
    pub fn into_body(self) -> AgentBody {
        self.body
    }

    /// The head and the content.
    pub fn into_parts(self) -> (Response, AgentBody) {
        (self.response, self.body)
    }

    /// The session, with what is still to be read: see [`AgentBody::into_session`].
    #[doc(alias = "detachSocket")]
    pub fn into_session(self) -> Result<Box<dyn ClientSession>> {
        self.body.into_session()
    }
}

fn too_large(most: u64) -> Error {
    Error::too_large(format!("the content is larger than {most} bytes"))
}

impl Read for AgentResponse {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.body.read(into)
    }
}

impl BufRead for AgentResponse {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.body.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.body.consume(n);
    }
}

impl fmt::Debug for AgentResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentResponse")
            .field("uri", &self.uri)
            .field("response", &self.response)
            .finish_non_exhaustive()
    }
}
