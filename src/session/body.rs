//! The content of a message, as it is read and as it is written.
//!
//! Both types only borrow: what they know lives in the connection, so dropping one does
//! nothing, and the session settles what was left unread or unwritten at its next use.
//! The same two types serve clients and servers, because framing is symmetric.

use std::fs::File;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::connection::detach;
use super::detached::Detached;
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::timeouts::Timeouts;
use crate::message::HeaderMap;
use crate::net::{Deadline, Pace, Readiness, Stream};
use crate::proto::CloseReason;
use crate::{Error, ErrorKind, Result};

/// Locks for one call. Nothing panics while it is held, and if it did, the state would still
/// be that of a connection that must be closed.
pub(crate) fn lock(out: &Mutex<Outgoing>) -> MutexGuard<'_, Outgoing> {
    out.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The content of a message that is being received: `Read` and `BufRead`.
///
/// A read blocks for at most the session's receive time-out without progress, and within the
/// deadline of the exchange. The end of the content is `Ok(0)`; a connection that ends before
/// it is [`ErrorKind::Incomplete`], never an end. After any error the connection is not used
/// again: the session makes a new one for its next request.
///
/// Waiting flushes first what was written on the same connection, so reading a request and
/// writing its response in turns can't dead-lock.
///
/// Dropping it does nothing. What was not read is dealt with when the session is used next:
/// a small remainder is read and dropped, for a larger one the connection is closed.
///
/// ```
/// use std::io::Read;
/// use sessile::message::{Request, Response};
/// use sessile::session::{ClientSession, HttpClientSession};
/// # use std::io::Write;
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let port = listener.local_addr()?.port();
/// # let server = std::thread::spawn(move || -> std::io::Result<()> {
/// #     let (mut peer, _) = listener.accept()?;
/// #     let _ = peer.read(&mut [0; 512])?;
/// #     peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
/// # });
///
/// let mut session = HttpClientSession::new("127.0.0.1", port);
/// session.send_request(&Request::get("/"))?;
/// let mut response = Response::new();
/// let mut text = String::new();
/// session.receive_response(&mut response)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # server.join().unwrap()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPInputStream")]
#[doc(alias = "HTTPFixedLengthInputStream")]
#[doc(alias = "HTTPChunkedInputStream")]
pub struct BodyReader<'a> {
    out: &'a Mutex<Outgoing>,
    input: &'a mut Incoming,
    /// Content still to be sent while this is read: see `ClientSession::exchange`.
    upload: Option<Upload<'a>>,
}

/// Content of a request that is sent while the response is read.
pub(crate) struct Upload<'a> {
    content: &'a mut (dyn Read + Send),
}

/// Why an upload paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drive {
    /// All of it is sent, or the peer refused the rest.
    Ended,
    /// The peer has something to say.
    Heard,
}

/// How much of an upload moves at a time.
const UPLOAD_BLOCK: usize = 128 * 1024;

impl<'a> BodyReader<'a> {
    pub(crate) fn new(out: &'a Mutex<Outgoing>, input: &'a mut Incoming) -> BodyReader<'a> {
        BodyReader { out, input, upload: None }
    }

    /// The trailer fields, once the content was read to its end; empty before. Fields that
    /// may not stand in a trailer (RFC 9110, 6.5.1) are left out.
    #[doc(alias = "responseTrailer")]
    #[doc(alias = "requestTrailer")]
    pub fn trailers(&self) -> &HeaderMap {
        &self.input.trailers
    }

    /// How much content is still to come, where the message said so.
    pub fn remaining(&self) -> Option<u64> {
        self.input.remaining()
    }

    /// Whether the content was read to its end.
    pub fn is_done(&self) -> bool {
        self.input.is_done()
    }

    /// Reads and drops what is left. Returns how much that was.
    pub fn skip(&mut self) -> Result<u64> {
        let mut skipped = 0;
        loop {
            let n = self.fill()?.len();
            if n == 0 {
                return Ok(skipped);
            }
            self.consume(n);
            skipped += n as u64;
        }
    }

    /// Takes the connection away from its session, with the bytes that were read and not taken.
    pub(crate) fn detach(&mut self) -> Result<Detached> {
        detach(&mut lock(self.out), self.input)
    }

    /// Whether the peer has closed its side, as far as can be told without waiting and without reading.
    pub(crate) fn peer_closed(&mut self) -> bool {
        match lock(self.out).wire_mut() {
            Ok(wire) => !matches!(wire.stream_mut().peek_nowait(), Ok(Readiness::Nothing | Readiness::Data)),
            Err(_) => true,
        }
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        lock(self.out).times
    }

    /// Changes how long the rest of this exchange may take.
    pub(crate) fn set_timeouts(&mut self, times: Timeouts) {
        let mut out = lock(self.out);
        out.times = times;
        out.deadline = times.total.map_or(Deadline::never(), Deadline::after);
    }

    /// Changes how fast the peer must be, both ways.
    pub(crate) fn set_pace(&mut self, pace: Option<Pace>) {
        self.input.pace = pace;
        if let Ok(wire) = lock(self.out).wire_mut() {
            wire.set_pace(pace);
        }
    }

    /// What is to be known of the stream, while there is one.
    pub(crate) fn of_stream<T>(&self, ask: impl FnOnce(&Stream) -> T) -> Option<T> {
        lock(self.out).wire().map(|wire| ask(wire.stream()))
    }

    pub(crate) fn fill(&mut self) -> Result<&[u8]> {
        if self.input.content().is_empty() && !self.input.is_done() {
            self.wait()?;
        }
        Ok(self.input.content())
    }

    fn wait(&mut self) -> Result<()> {
        self.drive_upload()?;
        let mut out = lock(self.out);
        let result = self.input.fill_content(&mut out);
        out.unread = self.input.remaining();
        fails(&mut out, result)
    }

    /// Moves the upload on until there is content to read, or all of it is sent.
    fn drive_upload(&mut self) -> Result<()> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let mut out = lock(self.out);
        while !self.input.has_content()? {
            if upload.drive(&mut out, self.input)? == Drive::Ended {
                self.upload = None;
                return Ok(());
            }
        }
        Ok(())
    }
}

impl<'a> Upload<'a> {
    pub(crate) fn new(content: &'a mut (dyn Read + Send)) -> Upload<'a> {
        Upload { content }
    }

    /// Sends until the peer has something to say or all is sent.
    pub(crate) fn drive(&mut self, out: &mut Outgoing, input: &mut Incoming) -> Result<Drive> {
        let mut block = std::mem::take(&mut out.block);
        if block.is_empty() {
            block.resize(UPLOAD_BLOCK, 0);
        }
        let drive = self.drive_with(&mut block, out, input);
        if let Ok(Drive::Heard) = drive {
            out.block = block;
        }
        drive
    }

    fn drive_with(&mut self, block: &mut [u8], out: &mut Outgoing, input: &mut Incoming) -> Result<Drive> {
        loop {
            if out.is_answered() || !out.is_sending() {
                out.finish(None)?;
                return Ok(Drive::Ended);
            }
            let before = input.buffer.filled().len();
            let heard = input.read_ahead(out.wire_mut()?.stream_mut(), super::outgoing::READ_AHEAD);
            if heard.map_err(|error| out.send_failed(error))? {
                return heard_with(out, input);
            }
            let n = match self.content.read(block) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    out.poison(CloseReason::ContentUnfinished);
                    return Err(error.into());
                }
            };
            if n == 0 {
                out.finish(Some(input))?;
                return Ok(Drive::Ended);
            }
            let mut rest = &block[..n];
            while !rest.is_empty() {
                let taken = out.write(rest, Some(input))?;
                rest = &rest[taken..];
            }
            // The next block may be long in coming: nobody waits with what the peer waits for.
            out.flush(Some(input))?;
            if input.buffer.filled().len() > before {
                return heard_with(out, input);
            }
        }
    }
}

/// The peer has something to say. Where all that was promised has left, it has heard the whole
/// request, even if the source of the content was not asked for its end.
fn heard_with(out: &mut Outgoing, input: &mut Incoming) -> Result<Drive> {
    if !out.is_whole() {
        return Ok(Drive::Heard);
    }
    out.finish(Some(input))?;
    Ok(Drive::Ended)
}

impl<'a> BodyReader<'a> {
    pub(crate) fn with_upload(mut self, upload: Upload<'a>) -> BodyReader<'a> {
        self.upload = Some(upload);
        self
    }

    /// Whether content of the request is still to be sent while this is read.
    pub(crate) fn is_uploading(&self) -> bool {
        let out = lock(self.out);
        self.upload.is_some() && out.is_sending() && !out.is_answered()
    }
}

/// An error costs the connection.
fn fails<T>(out: &mut Outgoing, result: Result<T>) -> Result<T> {
    if let Err(error) = &result {
        out.unreadable = true;
        out.poison(match error.kind() {
            ErrorKind::Malformed => CloseReason::Malformed,
            ErrorKind::TooLarge => CloseReason::TooLarge,
            ErrorKind::Incomplete => CloseReason::Incomplete,
            ErrorKind::Timeout => CloseReason::Timeout,
            ErrorKind::Aborted => CloseReason::Aborted,
            _ => CloseReason::Failed,
        });
    }
    result
}

impl Read for BodyReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() || self.input.is_done() {
            return Ok(0);
        }
        self.drive_upload()?;
        let mut out = lock(self.out);
        let result = self.input.read_content(&mut out, into);
        out.unread = self.input.remaining();
        Ok(fails(&mut out, result)?)
    }
}

impl BufRead for BodyReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.fill()?)
    }

    fn consume(&mut self, n: usize) {
        self.input.consume(n);
    }
}

impl std::fmt::Debug for BodyReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyReader").field("remaining", &self.remaining()).finish_non_exhaustive()
    }
}

/// The content of a message that is being sent: `Write`.
///
/// Writes go to a buffer; they leave when it is full, on `flush`, and before the session
/// waits for the peer. A write blocks for at most the session's send time-out without
/// progress. Large writes leave uncopied.
///
/// With a `Content-Length`, more than was announced is an error ([`ErrorKind::InvalidArgument`])
/// and none of the surplus is sent. [`finish`](BodyWriter::finish) ends the message; so does
/// the session when it goes on to the response. Dropping it does nothing: an upload that is
/// left unfinished is never made to look whole.
///
/// A client whose server refuses the content while it is sent (an early `413`) need not send
/// the rest: what is written from then on is dropped, [`is_answered`](BodyWriter::is_answered)
/// says so, and the response is there to be received.
///
/// ```
/// use std::io::Write;
/// use sessile::message::{Method, Request, Response};
/// use sessile::session::{ClientSession, HttpClientSession};
/// # use std::io::Read;
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let port = listener.local_addr()?.port();
/// # let server = std::thread::spawn(move || -> std::io::Result<()> {
/// #     let (mut peer, _) = listener.accept()?;
/// #     let _ = peer.read(&mut [0; 512])?;
/// #     peer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
/// # });
///
/// let mut session = HttpClientSession::new("127.0.0.1", port);
/// let mut request = Request::new(Method::PUT, "/note");
/// request.set_content_length(5);
/// session.send_request(&request)?.write_all(b"hello")?;
/// let mut response = Response::new();
/// session.receive_response(&mut response)?;
/// assert_eq!(response.status().as_u16(), 204);
/// # server.join().unwrap()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPOutputStream")]
#[doc(alias = "HTTPFixedLengthOutputStream")]
#[doc(alias = "HTTPChunkedOutputStream")]
pub struct BodyWriter<'a> {
    out: &'a Mutex<Outgoing>,
    /// Where a client puts what the server answers meanwhile.
    ahead: Option<&'a mut Incoming>,
}

impl<'a> BodyWriter<'a> {
    pub(crate) fn new(out: &'a Mutex<Outgoing>) -> BodyWriter<'a> {
        BodyWriter { out, ahead: None }
    }

    pub(crate) fn reading_ahead(out: &'a Mutex<Outgoing>, ahead: &'a mut Incoming) -> BodyWriter<'a> {
        BodyWriter { out, ahead: Some(ahead) }
    }

    /// Ends the message. [`ErrorKind::Incomplete`] if less was written than announced; the
    /// connection is closed then.
    pub fn finish(mut self) -> Result<()> {
        let mut out = lock(self.out);
        out.finish(self.ahead.take())
    }

    /// Writes a part of a file. Without chunked coding and TLS the system moves the bytes, and they are not read here.
    pub(crate) fn send_file(&mut self, file: &File, offset: u64, length: u64) -> Result<()> {
        lock(self.out).send_file(file, offset, length)
    }

    /// Sets a trailer field, which goes behind the last chunk; without chunked coding it is not
    /// sent. `InvalidArgument` for what belongs in the head (RFC 9110, 6.5.1): framing, cookies and
    /// so on.
    #[doc(alias = "requestTrailer")]
    #[doc(alias = "responseTrailer")]
    pub fn set_trailer(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<()> {
        lock(self.out).trailers_for(name)?.set(name, value)
    }

    /// Adds a trailer field, behind those of the same name: see [`set_trailer`](Self::set_trailer).
    pub fn append_trailer(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<()> {
        lock(self.out).trailers_for(name)?.append(name, value)
    }

    /// Whether the peer has answered with a refusal already, so that the rest is not sent.
    pub fn is_answered(&self) -> bool {
        lock(self.out).is_answered()
    }
}

impl Write for BodyWriter<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(lock(self.out).write(data, self.ahead.as_deref_mut())?)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut out = lock(self.out);
        let mut written = 0;
        for part in parts.iter().filter(|p| !p.is_empty()) {
            let n = match out.write(part, self.ahead.as_deref_mut()) {
                Ok(n) => n,
                Err(_) if written > 0 => return Ok(written),
                Err(error) => return Err(error.into()),
            };
            written += n;
            if n < part.len() {
                break;
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(lock(self.out).flush(self.ahead.as_deref_mut())?)
    }
}

impl std::fmt::Debug for BodyWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyWriter").finish_non_exhaustive()
    }
}

pub(crate) fn no_connection() -> Error {
    Error::illegal_state("there is no connection: send a request first")
}
