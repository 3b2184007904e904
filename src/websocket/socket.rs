//! The connection behind a handshake, by the members of Poco's `WebSocket`.
//!
//! Owns the two halves of a stream: the reading one alone, the sending one behind a lock,
//! so that any thread can send. Pings are answered, a close is confirmed and a violation is
//! told to the peer from the thread that reads.

use std::fmt;
use std::io::{Read, Write};
use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, SystemTime};

use super::error::WebSocketErrorKind;
use super::frame::{CloseCode, CloseFrame, Frame, FrameFlags, Mode, Opcode};
use super::halves::{self, Control};
use super::handshake::{AcceptOptions, ClientHandshake, refuse};
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use crate::auth::HttpCredentials;
use crate::message::{Request, Response, StatusCode};
use crate::net::{AbortHandle, Deadline};
use crate::server::{ServerRequest, ServerResponse};
use crate::session::{ClientSession, Detached, Timeouts};
use crate::{Error, ErrorKind, Phase, Result};

/// A WebSocket connection: frames, or whole messages, in both directions.
///
/// What is received is strictly checked against RFC 6455; at the first violation the peer
/// is told the close code, and every later call gives the same error. An error of the
/// stream, such as a time-out, loses nothing: the call can be repeated.
///
/// ```
/// use sessile::websocket::{Message, Mode, WebSocket};
///
/// // The bytes of a masked frame from RFC 6455, 5.7, read by a server.
/// let frame = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
/// let mut socket = WebSocket::from_halves(&frame[..], std::io::sink(), Mode::Server);
/// assert_eq!(socket.receive_message()?, Some(Message::Text("Hello".into())));
/// socket.send_text("Hello yourself")?;
/// socket.shutdown()?;
/// # Ok::<(), sessile::Error>(())
/// ```
pub struct WebSocket {
    reader: Box<dyn Read + Send>,
    // Absent over halves of the user's.
    control: Option<Arc<Control>>,
    sender: WebSocketSender,
    incoming: Incoming,
    answer_pings: bool,
    protocol: Option<String>,
    // The fragments that came so far of the message that is being received.
    message: Vec<u8>,
    kind: Option<Opcode>,
    failure: Option<(Error, WebSocketErrorKind)>,
}

impl WebSocket {
    /// A WebSocket over two halves of a stream on which the handshake is over.
    pub fn from_halves(
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
        mode: Mode,
    ) -> WebSocket {
        WebSocket {
            reader: Box::new(reader),
            control: None,
            sender: WebSocketSender::new(Box::new(writer), mode),
            incoming: Incoming::new(mode),
            answer_pings: true,
            protocol: None,
            message: Vec::new(),
            kind: None,
            failure: None,
        }
    }

    /// A WebSocket over a connection that left its session, with the bytes that came behind
    /// the handshake. Its time-outs are those of the session. A receive time-out is no end:
    /// nothing is lost, and the call can be repeated.
    pub fn new(detached: Detached, mode: Mode) -> WebSocket {
        let (reader, writer, control, early) = halves::split(detached);
        let mut socket = WebSocket::from_halves(reader, writer, mode).with_buffered(early);
        socket.control = Some(control);
        socket
    }

    /// Accepts a handshake in a handler, with a 101, and takes the connection over. A request
    /// that is no handshake, or not one that the options allow, is answered with its status,
    /// and an error to the handler: [`WebSocketErrorKind`] says why.
    ///
    /// The handler may speak until it returns, or give the WebSocket to another thread.
    ///
    /// ```
    /// use sessile::server::HttpServer;
    /// use sessile::websocket::{AcceptOptions, Message, WebSocket};
    ///
    /// let server = HttpServer::bind("127.0.0.1:0", |request, response| {
    ///     let mut socket = WebSocket::accept(request, response, &AcceptOptions::new())?;
    ///     while let Some(message) = socket.receive_message()? {
    ///         match message {
    ///             Message::Text(text) => socket.send_text(&text)?,
    ///             Message::Binary(bytes) => socket.send_binary(&bytes)?,
    ///         }
    ///     }
    ///     Ok(())
    /// })?;
    /// # let _ = server;
    /// # Ok::<(), sessile::Error>(())
    /// ```
    pub fn accept(
        request: &mut ServerRequest<'_>,
        response: &mut ServerResponse<'_>,
        options: &AcceptOptions,
    ) -> Result<WebSocket> {
        match options.accept_over(request.is_secure(), request.head(), response) {
            Ok(protocol) => {
                response.send()?;
                Ok(WebSocket::new(request.detach()?, Mode::Server).with_protocol(protocol))
            }
            Err(error) => {
                refuse(&error, response);
                response.send_buffer(b"")?;
                Err(error)
            }
        }
    }

    /// Connects: sends a `GET` request as a handshake over a client session, plain or under
    /// TLS, through a proxy or not, and takes the connection out of it once the server has
    /// agreed.
    ///
    /// The request gets the fields of a handshake; subprotocols are offered by its own
    /// `Sec-WebSocket-Protocol`. `response` holds what the server answered, also where it
    /// refused: [`WebSocketErrorKind`] says how. A proxy is asked for a tunnel.
    ///
    /// The session is free for other requests then. Its handle to abort does not reach the
    /// WebSocket, which has [its own](WebSocket::abort_handle).
    ///
    /// ```no_run
    /// use sessile::message::{Request, Response};
    /// use sessile::session::HttpClientSession;
    /// use sessile::websocket::WebSocket;
    ///
    /// let mut session = HttpClientSession::new("example.com", 80);
    /// let mut request = Request::get("/chat");
    /// let mut socket = WebSocket::connect(&mut session, &mut request, &mut Response::new())?;
    /// socket.send_text("hello")?;
    /// while let Some(message) = socket.receive_message()? {
    ///     println!("{message:?}");
    /// }
    /// # Ok::<(), sessile::Error>(())
    /// ```
    pub fn connect(
        session: &mut dyn ClientSession,
        request: &mut Request,
        response: &mut Response,
    ) -> Result<WebSocket> {
        let handshake = ClientHandshake::prepare(request)?;
        session.send_request(request)?;
        session.receive_response(response)?;
        let protocol = match handshake.check(response) {
            Ok(protocol) => protocol,
            Err(error) => {
                // Behind a wrong 101 nobody knows what comes.
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    session.reset();
                }
                return Err(error);
            }
        };
        Ok(WebSocket::new(session.detach_socket()?, Mode::Client).with_protocol(protocol))
    }

    /// The same for a server that wants credentials: its challenge (401) is answered. What
    /// the credentials know of an earlier challenge goes along at once.
    ///
    /// ```no_run
    /// use sessile::auth::HttpCredentials;
    /// use sessile::message::{Request, Response};
    /// use sessile::session::HttpClientSession;
    /// use sessile::websocket::WebSocket;
    ///
    /// let mut session = HttpClientSession::new("example.com", 80);
    /// let mut user = HttpCredentials::new("alice", "wonder");
    /// let (mut request, mut response) = (Request::get("/chat"), Response::new());
    /// WebSocket::connect_with_credentials(&mut session, &mut request, &mut response, &mut user)?;
    /// # Ok::<(), sessile::Error>(())
    /// ```
    #[doc(alias = "WebSocket")]
    pub fn connect_with_credentials(
        session: &mut dyn ClientSession,
        request: &mut Request,
        response: &mut Response,
        credentials: &mut HttpCredentials,
    ) -> Result<WebSocket> {
        credentials.set_time(SystemTime::now());
        credentials.update_auth_info(request)?;
        for _ in 0..CHALLENGES {
            match WebSocket::connect(session, request, response) {
                Err(error) if WebSocketErrorKind::of(&error) == Some(WebSocketErrorKind::Unauthorized) => {
                    match credentials.authenticate(request, response) {
                        Ok(Some(_)) => {}
                        // The server knows no such user, or asks in a way that nobody here knows.
                        Ok(None) => return Err(error),
                        Err(other) if other.kind() == ErrorKind::NotAuthenticated => return Err(error),
                        Err(other) => return Err(other),
                    }
                }
                result => return result,
            }
        }
        WebSocket::connect(session, request, response)
    }

    /// Gives it bytes that were read behind the handshake's last byte: they come first.
    #[must_use]
    pub fn with_buffered(mut self, bytes: Vec<u8>) -> WebSocket {
        self.incoming.preload(bytes);
        self
    }

    /// Notes the subprotocol on which both sides agreed.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Option<String>) -> WebSocket {
        self.protocol = protocol;
        self
    }

    /// The side on which this is.
    pub fn mode(&self) -> Mode {
        self.sender.mode
    }

    /// The subprotocol on which both sides agreed.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// How large a frame or message may be: 16 MiB, unless it was set.
    #[doc(alias = "getMaxPayloadSize")]
    pub fn max_payload_size(&self) -> usize {
        self.incoming.max_payload
    }

    /// Whether a ping was sent, by whatever handle, and no pong has come since. After a receive
    /// time-out this tells a peer that has nothing to say, and can be asked by a ping, from one
    /// that was asked and is gone.
    ///
    /// ```no_run
    /// # fn speak(mut socket: sessile::websocket::WebSocket) -> sessile::Result<()> {
    /// loop {
    ///     match socket.receive_message() {
    ///         Ok(Some(message)) => println!("{message:?}"),
    ///         Ok(None) => return Ok(()),
    ///         Err(error) if error.is_timeout() && !socket.awaits_pong() => socket.send_ping(b"")?,
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn awaits_pong(&self) -> bool {
        self.sender.shared.awaits_pong.load(Ordering::SeqCst)
    }

    /// Sets how large a frame or message may be. A larger one is an error, and the peer is
    /// told so (1009).
    #[doc(alias = "setMaxPayloadSize")]
    pub fn set_max_payload_size(&mut self, bytes: usize) {
        self.incoming.max_payload = bytes;
    }

    /// Whether pings are answered when they are received: they are, unless this is switched
    /// off. They are given to the caller of `receive_frame` in either case.
    ///
    /// An answer is sent by the thread that reads, which waits while the peer takes nothing. A
    /// peer that sends pings, and does the same, may wait for us at that moment: the send time-out
    /// of one of the two then ends it. A program that must go on reading whatever the peer does
    /// switches this off and answers from another thread.
    pub fn set_answer_pings(&mut self, answer: bool) {
        self.answer_pings = answer;
    }

    /// What the peer's close frame said, once it came.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.incoming.close.as_ref()
    }

    /// A handle that sends from any thread.
    pub fn sender(&self) -> WebSocketSender {
        if let Some(control) = &self.control {
            control.set_concurrent();
        }
        self.sender.clone()
    }

    /// A handle that ends blocked calls from another thread, the senders' too. `None` over
    /// [halves](WebSocket::from_halves) of your own, as for all that follows.
    #[doc(alias = "abort")]
    pub fn abort_handle(&self) -> Option<AbortHandle> {
        self.control.as_ref().map(|control| control.abort_handle())
    }

    /// How long the peer may send nothing while something is received, and take nothing of
    /// what is sent.
    #[doc(alias = "getReceiveTimeout")]
    #[doc(alias = "getSendTimeout")]
    pub fn timeouts(&self) -> Option<Timeouts> {
        self.control.as_ref().map(|control| control.timeouts())
    }

    /// Changes these limits, at once; without an effect over halves of your own.
    #[doc(alias = "setReceiveTimeout")]
    #[doc(alias = "setSendTimeout")]
    pub fn set_timeouts(&self, times: Timeouts) {
        if let Some(control) = &self.control {
            control.set_timeouts(times);
        }
    }

    /// The peer's address.
    #[doc(alias = "peerAddress")]
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.control.as_ref()?.peer_address()
    }

    /// Receives one frame: its payload goes to the front of `buffer`. A frame that does not
    /// fit in is an error, and still there for the next call. `None` behind a close frame.
    ///
    /// Fragments are not put together: see [`receive_message`](WebSocket::receive_message).
    pub fn receive_frame(&mut self, buffer: &mut [u8]) -> Result<Option<Frame>> {
        let Some(flags) = self.next()? else { return Ok(None) };
        let payload = self.incoming.payload();
        let length = payload.len();
        let Some(buffer) = buffer.get_mut(..length) else {
            return Err(WebSocketErrorKind::PayloadTooBig
                .error(format!("a frame has {length} bytes, and there is memory for {}", buffer.len())));
        };
        buffer.copy_from_slice(payload);
        self.incoming.take();
        Ok(Some(Frame { flags, length }))
    }

    /// Receives one frame and appends its payload.
    #[doc(alias = "receiveFrame")]
    pub fn receive_frame_vec(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Frame>> {
        let Some(flags) = self.next()? else { return Ok(None) };
        let payload = self.incoming.payload();
        let length = payload.len();
        buffer.extend_from_slice(payload);
        self.incoming.take();
        Ok(Some(Frame { flags, length }))
    }

    /// Receives a whole message; pings and pongs are passed over. `None` once a close frame
    /// was received: [`close_frame`](WebSocket::close_frame) says why.
    pub fn receive_message(&mut self) -> Result<Option<Message>> {
        loop {
            let Some(flags) = self.next()? else { return Ok(None) };
            let opcode = flags.opcode().unwrap_or(Opcode::Continuation);
            if opcode.is_control() {
                self.incoming.take();
                continue;
            }
            let payload = self.incoming.payload();
            if payload.len() > self.incoming.max_payload - self.message.len().min(self.incoming.max_payload) {
                let limit = self.incoming.max_payload;
                let error =
                    WebSocketErrorKind::PayloadTooBig.error(format!("a message has more than {limit} bytes"));
                return Err(self.fail(error));
            }
            self.message.extend_from_slice(payload);
            self.incoming.take();
            // A message whose first frames were taken by `receive_frame` is bytes.
            let kind = *self.kind.get_or_insert(opcode);
            if flags.is_final() {
                self.kind = None;
                let message = mem::take(&mut self.message);
                return Ok(Some(match kind {
                    Opcode::Text => Message::text(message)?,
                    _ => Message::Binary(message),
                }));
            }
        }
    }

    /// Sends one frame: see [`WebSocketSender::send_frame`].
    pub fn send_frame(&self, payload: &[u8], flags: FrameFlags) -> Result<()> {
        self.sender.send_frame(payload, flags)
    }

    /// Sends a text message.
    pub fn send_text(&self, text: &str) -> Result<()> {
        self.sender.send_text(text)
    }

    /// Sends a binary message.
    pub fn send_binary(&self, bytes: &[u8]) -> Result<()> {
        self.sender.send_binary(bytes)
    }

    /// Sends a ping, with up to 125 bytes that come back in the pong.
    pub fn send_ping(&self, bytes: &[u8]) -> Result<()> {
        self.sender.send_ping(bytes)
    }

    /// Sends a close frame that says "normal": see
    /// [`shutdown_with`](WebSocket::shutdown_with).
    pub fn shutdown(&self) -> Result<()> {
        self.sender.shutdown()
    }

    /// Sends a close frame. It does not wait for the peer's, which
    /// [`close_handshake`](WebSocket::close_handshake) does.
    #[doc(alias = "shutdown")]
    pub fn shutdown_with(&self, code: CloseCode, reason: &str) -> Result<()> {
        self.sender.shutdown_with(code, reason)
    }

    /// Ends the connection in order: sends a close frame unless that was done, and receives
    /// until the peer's close frame or the end of the stream, for so long at most, sending
    /// included. Messages that still come are dropped. The stream itself is closed by dropping
    /// the WebSocket.
    ///
    /// Over [halves](WebSocket::from_halves) of your own the time is looked at whenever
    /// something came or went, or their own time-out ran out.
    pub fn close_handshake(&mut self, limit: Duration) -> Result<()> {
        let deadline = Deadline::after(limit);
        self.set_deadline(deadline);
        let result = self.close_by(deadline);
        self.set_deadline(Deadline::never());
        result
    }

    fn close_by(&mut self, deadline: Deadline) -> Result<()> {
        if self.failure.is_none() {
            self.sender.shutdown_by(deadline)?;
        }
        self.await_close(deadline)
    }

    fn set_deadline(&self, deadline: Deadline) {
        if let Some(control) = &self.control {
            control.set_deadline(deadline);
        }
    }

    fn await_close(&mut self, deadline: Deadline) -> Result<()> {
        while self.incoming.close.is_none() {
            if deadline.is_over() {
                return Err(Error::timeout(Phase::ReceiveBody));
            }
            match self.next() {
                Ok(_) => self.incoming.take(),
                Err(error) if error.is_timeout() => {}
                Err(error) if WebSocketErrorKind::of(&error) == Some(WebSocketErrorKind::NotClosed) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next frame, at the front of `incoming`; what the peer must be told was told.
    fn next(&mut self) -> Result<Option<FrameFlags>> {
        if let Some((failure, kind)) = &self.failure {
            return Err(failure.duplicate().with_source(*kind));
        }
        // The close frame itself may still be at the front, for a larger buffer.
        if self.incoming.close.is_some() && !self.incoming.is_whole() {
            return Ok(None);
        }
        let (flags, first) = match self.incoming.next(&mut *self.reader) {
            Ok(next) => next,
            Err(error) => return Err(self.fail(error)),
        };
        if first {
            self.react(flags)?;
        }
        Ok(Some(flags))
    }

    /// Answers a ping and confirms a close.
    fn react(&mut self, flags: FrameFlags) -> Result<()> {
        match flags.opcode() {
            Some(Opcode::Ping) if self.answer_pings => {
                let ping = self.incoming.payload().to_vec();
                self.sender.answer(|answers| answers.ping = Some(ping))
            }
            Some(Opcode::Pong) => {
                self.sender.shared.awaits_pong.store(false, Ordering::SeqCst);
                Ok(())
            }
            Some(Opcode::Close) => {
                let close = self.incoming.payload().to_vec();
                self.sender.answer(|answers| answers.close = Some(close))
            }
            _ => Ok(()),
        }
    }

    /// Tells the peer what it did wrong, and keeps the error for later calls.
    fn fail(&mut self, error: Error) -> Error {
        let Some(kind) = WebSocketErrorKind::of(&error) else { return error };
        if let Some(code) = kind.close_code() {
            log::debug!("closing a WebSocket with {code}: {error}");
            // The peer may be gone; it is the violation that counts.
            let close = CloseFrame::payload(code, "").unwrap_or_default();
            let _ = self.sender.answer(|answers| answers.close = Some(close));
        }
        self.failure = Some((error.duplicate(), kind));
        error
    }
}

/// Closes the stream, although there may be senders left. Nothing is sent.
impl Drop for WebSocket {
    fn drop(&mut self) {
        self.sender.end();
    }
}

#[cfg(test)]
impl WebSocket {
    pub(super) fn incoming_capacity(&self) -> usize {
        self.incoming.capacity()
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("mode", &self.mode())
            .field("protocol", &self.protocol)
            .field("close_frame", &self.incoming.close)
            .finish_non_exhaustive()
    }
}

/// How often a challenge is answered: NTLM needs it twice, and a stale nonce once more.
const CHALLENGES: usize = 3;
/// How often a close handshake looks whether another thread has sent its frame.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Sends on a [`WebSocket`], from any thread; clones send on the same one.
///
/// A call blocks while another one sends, and while the peer takes nothing, up to the
/// stream's time-out. An error in the middle of a frame ends the connection: every later
/// call fails. So it does once the WebSocket itself was dropped.
///
/// ```
/// use sessile::websocket::{Mode, WebSocket};
///
/// let socket = WebSocket::from_halves(std::io::empty(), std::io::sink(), Mode::Client);
/// let sender = socket.sender();
/// std::thread::spawn(move || sender.send_text("from another thread")).join().unwrap()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone)]
pub struct WebSocketSender {
    mode: Mode,
    shared: Arc<Shared>,
}

struct Shared {
    sending: Mutex<Sending>,
    // The WebSocket is gone.
    over: AtomicBool,
    // The reading thread leaves them here when another one is busy sending, perhaps for long:
    // what the peer sends is still read.
    answers: Mutex<Answers>,
    awaits_pong: AtomicBool,
}

/// What the peer has to be told by whoever sends next: payloads.
#[derive(Default)]
struct Answers {
    // Of the latest ping that is not answered yet.
    ping: Option<Vec<u8>>,
    // Of the frame that confirms the peer's close frame, or says what the peer did wrong.
    close: Option<Vec<u8>>,
}

struct Sending {
    // Given up with the WebSocket, so that the stream is closed although senders are left.
    writer: Option<Box<dyn Write + Send>>,
    outgoing: Outgoing,
}

impl WebSocketSender {
    fn new(writer: Box<dyn Write + Send>, mode: Mode) -> WebSocketSender {
        let sending = Mutex::new(Sending { writer: Some(writer), outgoing: Outgoing::new(mode) });
        let shared = Shared {
            sending,
            over: AtomicBool::new(false),
            answers: Mutex::default(),
            awaits_pong: AtomicBool::new(false),
        };
        WebSocketSender { mode, shared: Arc::new(shared) }
    }

    /// Sends one frame. A message may go out in several: the first one with the opcode and
    /// without `FIN`, the others with [`Opcode::Continuation`], the last one with `FIN`.
    /// Between them only control frames can be sent. Text must be UTF-8.
    pub fn send_frame(&self, payload: &[u8], flags: FrameFlags) -> Result<()> {
        if self.shared.over.load(Ordering::SeqCst) {
            return Err(Error::illegal_state("the WebSocket was dropped"));
        }
        // Before it is sent: the pong may come at once.
        let is_ping = flags.opcode() == Some(Opcode::Ping);
        let awaited = is_ping && self.shared.awaits_pong.swap(true, Ordering::SeqCst);
        let result = lock(&self.shared.sending).send(payload, flags);
        if is_ping && result.is_err() {
            self.shared.awaits_pong.store(awaited, Ordering::SeqCst);
        }
        self.tidy()?;
        result
    }

    /// Sends a text message.
    pub fn send_text(&self, text: &str) -> Result<()> {
        self.send_frame(text.as_bytes(), FrameFlags::TEXT)
    }

    /// Sends a binary message.
    pub fn send_binary(&self, bytes: &[u8]) -> Result<()> {
        self.send_frame(bytes, FrameFlags::BINARY)
    }

    /// Sends a ping, with up to 125 bytes that come back in the pong.
    pub fn send_ping(&self, bytes: &[u8]) -> Result<()> {
        self.send_frame(bytes, FrameFlags::PING)
    }

    /// Sends a close frame that says "normal".
    pub fn shutdown(&self) -> Result<()> {
        self.shutdown_with(CloseCode::NORMAL, "")
    }

    /// Sends a close frame; nothing can be sent behind it.
    pub fn shutdown_with(&self, code: CloseCode, reason: &str) -> Result<()> {
        let payload = CloseFrame::payload(code, reason)?;
        self.send_frame(&payload, FrameFlags::CLOSE)
    }

    /// Sends a close frame that says "normal", unless one was sent. Waits no longer for
    /// another thread that is sending.
    fn shutdown_by(&self, deadline: Deadline) -> Result<()> {
        let mut sending = loop {
            match try_lock(&self.shared.sending) {
                Some(sending) => break sending,
                None if deadline.is_over() => return Err(Error::timeout(Phase::Send)),
                None => thread::sleep(LOOK_AGAIN),
            }
        };
        let result = match sending.outgoing.close_sent() {
            true => Ok(()),
            false => sending.send(&CloseFrame::payload(CloseCode::NORMAL, "")?, FrameFlags::CLOSE),
        };
        drop(sending);
        self.tidy()?;
        result
    }

    fn answer(&self, put: impl FnOnce(&mut Answers)) -> Result<()> {
        put(&mut lock(&self.shared.answers));
        self.tidy()
    }

    fn end(&self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = self.tidy();
    }

    /// Does what could not be done because another thread was sending. Called after each
    /// time of sending and of leaving something to do: one of the two calls finds the lock
    /// free.
    fn tidy(&self) -> Result<()> {
        loop {
            let over = self.shared.over.load(Ordering::SeqCst);
            if !over && lock(&self.shared.answers).is_empty() {
                return Ok(());
            }
            let Some(mut sending) = try_lock(&self.shared.sending) else { return Ok(()) };
            if over {
                sending.writer = None;
                return Ok(());
            }
            let answers = mem::take(&mut *lock(&self.shared.answers));
            if sending.outgoing.close_sent() {
                continue;
            }
            match answers {
                // A peer that closes, or must be closed, need not wait for the answer.
                Answers { close: Some(close), .. } => _ = sending.send(&close, FrameFlags::CLOSE),
                Answers { ping: Some(ping), .. } => sending.send(&ping, FrameFlags::PONG)?,
                Answers { .. } => {}
            }
        }
    }
}

impl Answers {
    fn is_empty(&self) -> bool {
        self.ping.is_none() && self.close.is_none()
    }
}

impl Sending {
    fn send(&mut self, payload: &[u8], flags: FrameFlags) -> Result<()> {
        let writer = self.writer.as_mut().ok_or_else(|| Error::illegal_state("the WebSocket was dropped"))?;
        self.outgoing.send(&mut **writer, payload, flags)
    }
}

/// A thread that panicked while it sent has left `outgoing` marked as broken.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

impl fmt::Debug for WebSocketSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketSender").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// A whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

impl Message {
    /// The bytes of either.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    fn text(bytes: Vec<u8>) -> Result<Message> {
        let text = String::from_utf8(bytes);
        text.map(Message::Text).map_err(|_| super::error::violation("a text is not UTF-8"))
    }
}
