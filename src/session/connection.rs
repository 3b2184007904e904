//! The socket with its read buffer, and the state of the exchange on it.
//!
//! This is what all sessions are made of, and the one file where `proto` and `net` meet. It
//! does not know which role it plays: both sides send one message and receive one, and
//! settle what was left of them before the next.

use std::any::Any;
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::body::{BodyReader, BodyWriter, Upload, lock};
use super::detached::Detached;
use super::incoming::Incoming;
use super::observer::Observer;
use super::outgoing::Outgoing;
use super::timeouts::Timeouts;
use crate::message::HeaderMap;
#[cfg(feature = "_tls")]
use crate::net::tls::{Certificate, TlsStream};
use crate::net::{AbortHandle, Deadline, Limit, Readiness, Stream, Wire};
use crate::proto::{CloseReason, HeadKind, Limits};
use crate::{Error, Phase, Result};

/// How much of what is said along with a challenge is read, to answer it on its connection.
const MOST_PAGE: u64 = 1 << 20;

/// A connection with its read buffer, its output buffer and the state of both messages.
///
/// Sessions are built on it, and users may build their own: a type that has one implements
/// [`Session`](super::Session). What Poco's `HTTPSession` gives its subclasses as protected
/// members is public here. Reading and writing past the session ([`read`](Connection::read),
/// [`write`](Connection::write)) is for protocols that are not HTTP.
///
/// ```
/// use std::io::Write;
/// use sessile::net::{Stream, pair};
/// use sessile::session::Connection;
///
/// let (near, mut far) = pair();
/// let mut connection = Connection::new();
/// connection.attach_socket(Stream::custom(near))?;
/// far.write_all(b"ab")?;
/// assert_eq!(connection.peek()?, Some(b'a'));
/// assert_eq!(connection.get()?, Some(b'a'));
/// assert_eq!(connection.buffered(), 1);
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPSession")]
pub struct Connection {
    pub(crate) out: Mutex<Outgoing>,
    pub(crate) input: Incoming,
    keep_alive: bool,
    /// A response was received on this stream: it is not as new as it was when it was attached.
    pub(crate) served: bool,
    error: Option<Error>,
    data: Option<Box<dyn Any + Send>>,
    observer: Option<Arc<dyn Observer>>,
}

impl Connection {
    /// Without a stream, with the default limits and time-outs, keeping alive.
    pub fn new() -> Connection {
        Connection::receiving(HeadKind::Response)
    }

    /// One that receives requests or responses.
    pub(crate) fn receiving(kind: HeadKind) -> Connection {
        Connection {
            out: Mutex::new(Outgoing::new(Timeouts::default())),
            input: Incoming::new(kind, Limits::default()),
            keep_alive: true,
            served: false,
            error: None,
            data: None,
            observer: None,
        }
    }

    /// On a stream that is connected.
    pub fn with_stream(stream: Stream) -> Result<Connection> {
        let mut connection = Connection::new();
        connection.attach_socket(stream)?;
        Ok(connection)
    }

    pub(crate) fn out_mut(&mut self) -> &mut Outgoing {
        self.out.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Both halves at once.
    pub(crate) fn halves(&mut self) -> (&mut Outgoing, &mut Incoming) {
        (self.out.get_mut().unwrap_or_else(PoisonError::into_inner), &mut self.input)
    }

    /// The content of the message being received. Can be made anew at any time: what was
    /// read stays read.
    pub fn body_reader(&mut self) -> BodyReader<'_> {
        BodyReader::new(&self.out, &mut self.input)
    }

    /// The content of the message being sent.
    pub fn body_writer(&mut self) -> BodyWriter<'_> {
        BodyWriter::new(&self.out)
    }

    /// The same, with content of the request that is sent meanwhile.
    pub(crate) fn body_reader_uploading<'a>(
        &'a mut self,
        content: &'a mut (dyn Read + Send),
    ) -> BodyReader<'a> {
        self.body_reader().with_upload(Upload::new(content))
    }

    /// Whether no more than so much content of the message being received is unread. Where nobody
    /// said how much there is, what has arrived is dropped, and must be the rest. Does not wait.
    pub(crate) fn is_nearly_read(&mut self, most: usize) -> bool {
        if let Some(unread) = self.unread() {
            return unread <= most as u64;
        }
        let (out, input) = self.halves();
        if out.close_reason().is_some() {
            return false;
        }
        let Ok(wire) = out.wire_mut() else { return false };
        matches!(input.drop_arrived(wire.stream_mut(), most), Ok(true))
    }

    /// How much content of the message being received is unread, where that is known.
    pub(crate) fn unread(&self) -> Option<u64> {
        self.input.remaining()
    }

    /// Whether all content of the message being received was read.
    pub(crate) fn is_read(&self) -> bool {
        self.input.is_done()
    }

    pub(crate) fn fill_content(&mut self) -> Result<()> {
        self.body_reader().fill().map(|_| ())
    }

    pub(crate) fn content(&self) -> &[u8] {
        self.input.content()
    }

    pub(crate) fn upload_writer(&mut self) -> BodyWriter<'_> {
        BodyWriter::reading_ahead(&self.out, &mut self.input)
    }

    /// Takes a stream that is connected. The one before is closed; what was read from it and
    /// the exchange on it are forgotten.
    #[doc(alias = "attachSocket")]
    pub fn attach_socket(&mut self, mut stream: Stream) -> Result<()> {
        self.close();
        let out = self.out_mut();
        stream.attach_abort(&out.abort)?;
        out.attach(Wire::new(stream));
        Ok(())
    }

    /// Gives the stream away with all that was read from it; `IllegalState` without one. The
    /// connection's [`abort_handle`](Connection::abort_handle) is done with it: it has
    /// [its own](Detached::abort_handle).
    #[doc(alias = "detachSocket")]
    #[doc(alias = "drainBuffer")]
    pub fn detach_socket(&mut self) -> Result<Detached> {
        detach(&mut lock(&self.out), &mut self.input)
    }

    /// The unread bytes of the read buffer; it is empty afterwards. Inside of content, that
    /// costs the connection.
    #[doc(alias = "drainBuffer")]
    pub fn drain_buffer(&mut self) -> Vec<u8> {
        self.spoil_content();
        let bytes = self.input.buffer.take();
        self.input.reset();
        bytes
    }

    /// Closes the stream. What was written and not flushed is lost. Nothing happens without
    /// a stream.
    pub fn close(&mut self) {
        let out = self.out_mut();
        out.abandon();
        if out.detach().is_some() {
            log::trace!("connection closed");
        }
        self.input.reset();
        self.input.last_read = None;
        self.served = false;
    }

    /// Whether there is a stream. It may have been closed by the peer: see
    /// [`is_reusable`](Connection::is_reusable).
    #[doc(alias = "connected")]
    pub fn is_connected(&self) -> bool {
        lock(&self.out).is_connected()
    }

    /// Whether another exchange can begin on this stream: there is one, nothing is left
    /// unread or unwritten, no error has spoiled it, and the peer neither closed it nor sent
    /// what nobody asked for. Looks at the socket without waiting.
    pub fn is_reusable(&mut self) -> bool {
        let (out, input) = self.halves();
        if out.close_reason().is_some() || out.is_sending() || !input.is_done() || input.has_input() {
            return false;
        }
        match out.wire_mut() {
            Ok(wire) => matches!(wire.stream_mut().peek_nowait(), Ok(Readiness::Nothing)),
            Err(_) => false,
        }
    }

    /// Why the connection can't serve another exchange, once that is known.
    pub fn close_reason(&self) -> Option<CloseReason> {
        lock(&self.out).close_reason()
    }

    /// Ends blocked calls from another thread, in every phase.
    #[doc(alias = "abort")]
    pub fn abort_handle(&self) -> AbortHandle {
        lock(&self.out).abort.clone()
    }

    /// The next byte, or `None` at the end of the stream. Blocks for at most the receive
    /// time-out.
    pub fn get(&mut self) -> Result<Option<u8>> {
        let byte = self.peek()?;
        if byte.is_some() {
            self.take(1);
        }
        Ok(byte)
    }

    /// The next byte without taking it.
    pub fn peek(&mut self) -> Result<Option<u8>> {
        if self.buffered() == 0 {
            self.refill()?;
        }
        Ok(self.input.buffer.filled().first().copied())
    }

    /// Reads what is buffered, or else from the stream, past the buffer. 0 is the end.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let buffered = self.input.buffer.filled();
        if buffered.is_empty() {
            return self.receive(into);
        }
        let n = buffered.len().min(into.len());
        into[..n].copy_from_slice(&buffered[..n]);
        self.take(n);
        Ok(n)
    }

    fn take(&mut self, n: usize) {
        self.spoil_content();
        self.input.buffer.consume(n);
    }

    /// Bytes are taken past the session. Where they may belong to content that was not read,
    /// nobody can find its end any more.
    fn spoil_content(&mut self) {
        if !self.input.is_done() {
            self.input.withdraw_content();
            self.out_mut().poison(CloseReason::ContentUnread);
        }
    }

    /// Reads from the stream, past the buffer. 0 is the end.
    pub fn receive(&mut self, into: &mut [u8]) -> Result<usize> {
        self.spoil_content();
        let out = self.out_mut();
        let limit = out.times.receive_limit(out.deadline);
        let result = out.read(into, &limit).map_err(|e| e.with_phase(Phase::ReceiveBody));
        self.noting(result)
    }

    /// Writes all of the bytes as they are, behind what is buffered, and lets them out.
    pub fn write(&mut self, data: &[u8]) -> Result<usize> {
        let out = self.out_mut();
        let limit = out.times.send_limit(out.deadline);
        let result = match out.wire_mut() {
            Ok(wire) => wire.send(&[data], &limit, None).map(|()| data.len()),
            Err(error) => Err(error),
        };
        self.noting(result.map_err(|e| e.with_phase(Phase::Send)))
    }

    /// How many bytes were read and not taken yet.
    pub fn buffered(&self) -> usize {
        self.input.buffer.filled().len()
    }

    /// One read into the buffer. Returns how much came; 0 is the end.
    pub fn refill(&mut self) -> Result<usize> {
        let (out, input) = self.halves();
        let limit = out.times.receive_limit(out.deadline);
        let result = input.buffer.fill(|room| out.read(room, &limit));
        self.noting(result.map_err(|e| e.with_phase(Phase::ReceiveBody)))
    }

    /// Lets out what is buffered. Blocks for at most the send time-out without progress.
    pub fn flush(&mut self) -> Result<()> {
        let result = self.out_mut().flush(None);
        self.noting(result)
    }

    /// Half-closes, reads and drops what the peer still sends for at most `linger` and 1 MiB,
    /// and closes: so the peer reads our last message instead of a reset (RFC 9112, 9.6).
    pub fn close_lingering(&mut self, linger: Duration) {
        let (out, _) = self.halves();
        if out.flush(None).is_ok() {
            if let Ok(wire) = out.wire_mut() {
                let limit = Limit::none().until(Deadline::after(linger));
                wire.stream_mut().linger(1 << 20, &limit);
            }
        }
        self.close();
    }

    /// Notes an error, as Poco does for its streams.
    pub(crate) fn noting<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.error = Some(error.duplicate());
        }
        result
    }

    /// The last error of the network or of the protocol; the next request clears it.
    #[doc(alias = "networkException")]
    pub fn last_error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Sets the last error.
    #[doc(alias = "setException")]
    pub fn set_last_error(&mut self, error: Error) {
        self.error = Some(error);
    }

    /// Clears the last error.
    #[doc(alias = "clearException")]
    pub fn clear_last_error(&mut self) {
        self.error = None;
    }

    /// Whether the connection is to serve several exchanges.
    #[doc(alias = "getKeepAlive")]
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Says whether the connection is to serve several exchanges.
    #[doc(alias = "setKeepAlive")]
    pub fn set_keep_alive(&mut self, keep_alive: bool) {
        self.keep_alive = keep_alive;
    }

    /// How long calls may take.
    pub fn timeouts(&self) -> Timeouts {
        lock(&self.out).times
    }

    /// Changes how long calls may take; at once, on a live connection too. Only `total` counts
    /// from the next exchange on.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.out_mut().times = timeouts;
    }

    /// The limits on what a peer may send.
    pub fn limits(&self) -> &Limits {
        &self.input.limits
    }

    /// Changes the limits on what a peer may send.
    pub fn set_limits(&mut self, limits: Limits) {
        self.input.limits = limits;
    }

    /// Trailer fields of the message received last; empty until its content was read.
    pub fn received_trailers(&self) -> &HeaderMap {
        &self.input.trailers
    }

    /// Trailer fields of the message being sent; they leave behind its last chunk.
    pub fn sent_trailers_mut(&mut self) -> &mut HeaderMap {
        &mut self.out_mut().trailers
    }

    /// Looks at the TLS of the connection, if there is any: version, session, certificates.
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn with_tls<T>(&self, look: impl FnOnce(&TlsStream) -> T) -> Option<T> {
        lock(&self.out).wire().and_then(|wire| wire.stream().tls()).map(look)
    }

    /// The certificate of the other side, where the connection is under TLS and it has shown one.
    #[doc(alias = "peerCertificate")]
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn peer_certificate(&self) -> Option<Certificate> {
        self.with_tls(TlsStream::peer_certificate).flatten()
    }

    /// The peer's address, where the stream has one.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        lock(&self.out).wire().and_then(|w| w.stream().peer_addr())
    }

    /// The stream's own address, where it has one.
    pub fn local_address(&self) -> Option<SocketAddr> {
        lock(&self.out).wire().and_then(|w| w.stream().local_addr())
    }

    /// Attaches any value; the one before is dropped. It stays over reconnects.
    #[doc(alias = "attachSessionData")]
    pub fn attach_data(&mut self, data: Box<dyn Any + Send>) {
        self.data = Some(data);
    }

    /// The attached value.
    #[doc(alias = "sessionData")]
    pub fn data(&self) -> Option<&(dyn Any + Send)> {
        self.data.as_deref()
    }

    /// The attached value, to change it.
    pub fn data_mut(&mut self) -> Option<&mut (dyn Any + Send)> {
        self.data.as_deref_mut()
    }

    /// Takes the attached value away.
    pub fn take_data(&mut self) -> Option<Box<dyn Any + Send>> {
        self.data.take()
    }

    /// Who is told how the exchanges go, if anybody is.
    pub fn observer(&self) -> Option<&Arc<dyn Observer>> {
        self.observer.as_ref()
    }

    /// Says who is told how the exchanges go. It stays over reconnects.
    pub fn set_observer(&mut self, observer: Option<Arc<dyn Observer>>) {
        self.observer = observer;
    }

    pub(crate) fn observe(&self, phase: Phase) {
        if let Some(observer) = &self.observer {
            observer.phase(phase);
        }
    }

    /// Shares out the halves and the attached value: for a handler that reads and writes.
    pub(crate) fn parts(&mut self) -> (&Mutex<Outgoing>, &mut Incoming, &mut Option<Box<dyn Any + Send>>) {
        (&self.out, &mut self.input, &mut self.data)
    }

    /// The stream, while there is one.
    #[doc(alias = "socket")]
    pub fn stream_mut(&mut self) -> Option<&mut Stream> {
        self.out_mut().wire_mut().ok().map(Wire::stream_mut)
    }

    /// Ends what is left of the last exchange as [`settle`](Connection::settle) does, where only this
    /// connection is good for the next one: with the time that content has.
    pub(crate) fn settle_patiently(&mut self) -> bool {
        self.settle(MOST_PAGE, Duration::MAX)
    }

    /// Ends what is left of the last exchange. `true`: the connection is ready for another.
    /// `false`: it was closed.
    pub(crate) fn settle(&mut self, budget: u64, within: Duration) -> bool {
        let (out, input) = self.halves();
        if !out.is_connected() {
            return false;
        }
        out.abandon();
        if out.close_reason().is_none() && !input.is_done() {
            match input.drain(out, budget, within) {
                Ok(true) => {}
                Ok(false) => out.poison(CloseReason::ContentUnread),
                Err(_) => out.poison(CloseReason::Failed),
            }
        }
        // Nothing is due any more: whatever is there is no answer to the next request.
        if input.has_input() {
            out.poison(CloseReason::Unexpected);
        }
        if let Some(reason) = out.close_reason() {
            log::debug!("closing the connection: {reason}");
            self.close();
            return false;
        }
        true
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("out", &self.out)
            .field("input", &self.input)
            .field("keep_alive", &self.keep_alive)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl Default for Connection {
    fn default() -> Connection {
        Connection::new()
    }
}

pub(crate) fn detach(out: &mut Outgoing, input: &mut Incoming) -> Result<Detached> {
    out.flush(None)?;
    let wire = out.detach().ok_or_else(super::body::no_connection)?;
    let early = input.buffer.take();
    input.reset();
    let detached = Detached::new(wire.into_stream(), early, out.times)?;
    // An abort that came before the stream changed hands has ended it; one that comes now does not.
    out.abort.check()?;
    Ok(detached)
}
