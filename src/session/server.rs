//! The server's side: requests in, responses out, and whether another may follow.
//!
//! Decides what is answered on the wire besides the handler's response: `Date`, `Connection`
//! and the framing (RFC 9112, 6.3 and 9.3), `100 Continue`, and when the connection closes.
//! Knows no threads and no handlers.

use std::any::Any;
use std::cell::RefCell;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::body::{BodyReader, BodyWriter, lock};
use super::connection::Connection;
use super::outgoing::{Outgoing, Tail, write_connection, write_framing};
use super::timeouts::{Timeouts, limit, limited};
use super::{ServerSession, Session};
use crate::message::{HeaderMap, Method, Request, Response, StatusCode, Version};
#[cfg(feature = "_tls")]
use crate::net::tls::{Certificate, TlsStream};
use crate::net::{Deadline, Limit, Pace, Readiness, Stream};
use crate::proto::{self, CloseReason, Encoder, Framing, HeadKind, Limits};
use crate::{Error, ErrorKind, Phase, Result};

/// What a server session obeys.
///
/// ```
/// use std::time::Duration;
/// use sessile::session::ServerSessionParams;
///
/// let mut params = ServerSessionParams::default();
/// params.keep_alive_timeout = Duration::from_secs(5);
/// params.max_content = 1 << 20;
/// assert!(params.keep_alive);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerSessionParams {
    /// How long reads and writes may stall; `receive` is also how long the first request
    /// may take to begin.
    pub timeouts: Timeouts,
    /// Whether a connection may serve several requests.
    pub keep_alive: bool,
    /// How long the next request on a persistent connection may take to begin. 15 s, as Poco.
    pub keep_alive_timeout: Duration,
    /// Requests for each connection; `None` is no limit.
    pub max_keep_alive_requests: Option<NonZeroU32>,
    /// How long a head may take from its first byte. 10 s: a human's network delivers a head
    /// in one, and a client that needs longer holds a thread. Zero is no limit.
    pub head_timeout: Duration,
    /// Limits on heads, chunks and trailers.
    pub limits: Limits,
    /// Largest content of a request; more is refused with 413.
    pub max_content: u64,
    /// The least rate at which request content must come and responses be taken, in bytes a second
    /// averaged over the time spent waiting, once [`rate_grace`](Self::rate_grace) is over. 240, as
    /// IIS and Kestrel: slower than a modem of the last century. 0 is no limit.
    pub min_rate: u64,
    /// How long any rate will do.
    pub rate_grace: Duration,
    /// How much content that the handler left unread is read and dropped, so that the
    /// connection can serve the next request. 256 KiB, as Go.
    pub drain: u64,
    /// How long that may take.
    pub drain_time: Duration,
    /// What responses say in `Server`, unless they say it themselves.
    pub software: Option<Arc<str>>,
}

impl Default for ServerSessionParams {
    fn default() -> ServerSessionParams {
        ServerSessionParams {
            timeouts: Timeouts::default(),
            keep_alive: true,
            keep_alive_timeout: Duration::from_secs(15),
            max_keep_alive_requests: None,
            head_timeout: Duration::from_secs(10),
            limits: Limits::default(),
            max_content: u64::MAX,
            min_rate: 240,
            rate_grace: Duration::from_secs(5),
            drain: 256 * 1024,
            drain_time: Duration::from_secs(1),
            software: None,
        }
    }
}

impl ServerSessionParams {
    fn pace(&self) -> Option<Pace> {
        (self.min_rate > 0).then_some(Pace { grace: self.rate_grace, bytes_per_second: self.min_rate })
    }
}

/// A server session: the requests of one connection, in order.
///
/// ```
/// use std::io::{Read, Write};
/// use sessile::message::{Request, Response};
/// use sessile::net::{Stream, pair};
/// use sessile::session::{HttpServerSession, ServerSession, ServerSessionParams};
///
/// let (near, mut client) = pair();
/// client.write_all(b"GET /hello HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")?;
///
/// let mut session = HttpServerSession::new(Stream::custom(near), ServerSessionParams::default())?;
/// let mut request = Request::default();
/// while session.has_more_requests()? {
///     session.receive_request(&mut request)?;
///     let mut response = Response::new();
///     response.set_content_type("text/plain").set_content_length(2);
///     session.send_response(&response)?.write_all(b"hi")?;
/// }
/// drop(session);
/// let mut answer = String::new();
/// client.read_to_string(&mut answer)?;
/// assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
/// assert!(answer.ends_with("\r\n\r\nhi"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPServerSession")]
#[derive(Debug)]
pub struct HttpServerSession {
    connection: Connection,
    /// Those of a server's sessions are the same ones.
    params: Arc<ServerSessionParams>,
    /// Requests still to be served; `None` is no limit.
    left: Option<u32>,
    first: bool,
    /// A request could not be received, and that was not answered yet.
    pending: bool,
    facts: Facts,
}

/// What the response depends on of the request it answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    version: Version,
    head: bool,
    connect: bool,
    /// The request and the session let the connection persist.
    keep_alive: bool,
    /// Why not, where they don't.
    reason: CloseReason,
    /// The final response has begun.
    answered: bool,
    /// The status of the final response.
    status: Option<StatusCode>,
    drain: u64,
}

impl HttpServerSession {
    /// On a stream that a client connected. Sessions that obey the same can share it.
    pub fn new(stream: Stream, params: impl Into<Arc<ServerSessionParams>>) -> Result<HttpServerSession> {
        HttpServerSession::with(stream, params.into())
    }

    // What it takes of the stack on the way is not to stay there while the connection is served.
    #[inline(never)]
    fn with(stream: Stream, params: Arc<ServerSessionParams>) -> Result<HttpServerSession> {
        let mut connection = Connection::receiving(HeadKind::Request);
        connection.set_timeouts(params.timeouts);
        connection.set_limits(params.limits.clone());
        connection.set_keep_alive(params.keep_alive);
        connection.input.pace = params.pace();
        connection.input.max_content = params.max_content;
        connection.attach_socket(stream)?;
        Ok(HttpServerSession {
            left: params.max_keep_alive_requests.map(NonZeroU32::get),
            first: true,
            pending: false,
            facts: Facts {
                version: Version::Http11,
                head: false,
                connect: false,
                keep_alive: false,
                reason: CloseReason::AskedByServer,
                answered: true,
                status: None,
                drain: params.drain,
            },
            connection,
            params,
        })
    }

    /// What the session obeys.
    pub fn params(&self) -> &ServerSessionParams {
        &self.params
    }

    /// Whether the connection may serve another request behind this one, as far as it is not the response's to say, and
    /// why not.
    fn persists(&self, request: &Request) -> (bool, CloseReason) {
        if !self.connection.keep_alive() {
            return (false, CloseReason::AskedByServer);
        }
        if !self.can_keep_alive() {
            return (false, CloseReason::ExchangesUsedUp);
        }
        match proto::close_after_request(request) {
            Some(reason) => (false, reason),
            None => (true, CloseReason::AskedByServer),
        }
    }

    /// What is to be known of a request before it is answered, and whether it is served at all.
    fn accept(&mut self, request: &Request) -> Result<()> {
        let (keep_alive, reason) = self.persists(request);
        self.facts = Facts {
            version: request.version(),
            head: *request.method() == Method::HEAD,
            connect: *request.method() == Method::CONNECT,
            keep_alive,
            reason,
            answered: false,
            status: None,
            drain: self.params.drain,
        };
        let framing = proto::request_framing(request)?;
        if let Framing::Length(length) = framing {
            if length > self.params.max_content {
                return Err(Error::too_large(format!(
                    "the content is larger than {} bytes",
                    self.params.max_content
                )));
            }
        }
        // HTTP/1.0 knows no expectations (RFC 9110, 10.1.1).
        let expects = request.version() == Version::Http11
            && request.headers().has("expect")
            && expects_continue(request.headers())?;
        let pace = self.params.pace();
        let (out, input) = self.connection.halves();
        input.set_framing(framing);
        out.continue_due = expects && !input.is_done() && !input.has_input();
        out.unread = input.remaining();
        out.wire_mut()?.set_pace(pace);
        Ok(())
    }

    /// Sends an interim response: `103 Early Hints` with its fields, say. Nothing is sent to
    /// an HTTP/1.0 client. `IllegalState` once the final response has begun.
    pub fn send_interim(&mut self, response: &Response) -> Result<()> {
        let facts = self.facts;
        send_interim(self.connection.out_mut(), &facts, response)
    }

    /// Answers an error with its [`status_hint`](Error::status_hint) (500 without one) and a
    /// line of text, and makes the connection close behind it. Nothing is sent where a
    /// response has begun already, or where nobody would read it.
    pub fn send_error(&mut self, error: &Error) -> Result<()> {
        let out = self.connection.out_mut();
        out.poison(CloseReason::from(error));
        let nobody_reads = matches!(error.kind(), ErrorKind::NoMessage | ErrorKind::Aborted)
            || matches!(error.phase(), Some(Phase::Send | Phase::Idle))
            || (error.kind() == ErrorKind::Io && error.phase().is_some());
        if nobody_reads {
            return Ok(());
        }
        if error.kind() == ErrorKind::Tls {
            // Nobody reads what can't be encrypted, but for one who did not know of TLS.
            #[cfg(feature = "_tls")]
            self.answer_plain_speaker();
            return Ok(());
        }
        let status = error.status_hint().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text = if status.is_server_error() { String::new() } else { error.to_string() };
        self.send_status(status, &text)
    }

    /// Answers with a status and a line of text (the status itself, where that is empty), and
    /// closes behind it. Nothing is sent where a response has begun already.
    pub(crate) fn send_status(&mut self, status: StatusCode, text: &str) -> Result<()> {
        if self.facts.answered && !self.pending {
            return Ok(());
        }
        let content =
            if text.is_empty() { format!("{status} {}\n", status.reason()) } else { format!("{text}\n") };
        let mut response = Response::with_status(status);
        response.set_content_type("text/plain; charset=utf-8").set_content_length(content.len() as u64);
        self.facts.answered = false;
        self.facts.keep_alive = false;
        self.pending = false;
        self.begin(&response)?;
        let out = self.connection.out_mut();
        out.write(content.as_bytes(), None)?;
        out.finish(None)
    }

    fn begin(&mut self, response: &Response) -> Result<()> {
        let (out, input) = self.connection.halves();
        out.unread = input.remaining();
        let unread = out.unread;
        begin_response(out, unread, &mut self.facts, self.params.software.as_deref(), response, None)
    }

    /// Makes the TLS handshake, on this thread and within the time that the context gives it.
    /// Nothing happens without TLS, or if it was made. The first read does it too; this is to know
    /// it done, and the client's certificate there, before a request is waited for.
    ///
    /// A client that speaks plain HTTP where TLS is spoken is told so, in plain text. After an
    /// error the connection is to be closed.
    pub fn handshake(&mut self) -> Result<()> {
        #[cfg(feature = "_tls")]
        if self.is_handshaking() {
            return self.make_handshake();
        }
        Ok(())
    }

    #[cfg(feature = "_tls")]
    #[inline(never)] // Once for a connection.
    fn make_handshake(&mut self) -> Result<()> {
        let limit = limit(self.params.timeouts.receive);
        let made = match self.connection.stream_mut().and_then(Stream::tls_mut) {
            Some(tls) => tls.begin(&limit),
            None => Ok(()),
        };
        if made.is_err() {
            self.answer_plain_speaker();
            self.connection.out_mut().poison(CloseReason::Failed);
        }
        self.connection.noting(made)
    }

    /// The certificate that the client has shown and that was found valid: there after the
    /// handshake, where the server's [`TlsContext`](crate::tls::TlsContext) asks for one. It stays
    /// while the connection does.
    #[doc(alias = "peerCertificate")]
    #[doc(alias = "clientCertificate")]
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn client_certificate(&self) -> Option<Certificate> {
        self.connection.peer_certificate()
    }

    /// Tells a client that speaks plain HTTP where TLS is spoken that it does. Once.
    #[cfg(feature = "_tls")]
    fn answer_plain_speaker(&mut self) {
        let limit = Limit::from(Deadline::after(self.params.drain_time));
        let tls = self.connection.stream_mut().and_then(Stream::tls_mut);
        let Some(below) = tls.and_then(TlsStream::take_plain_speaker) else { return };
        let said = plain_answer().and_then(|answer| {
            below.write_vectored(&[std::io::IoSlice::new(&answer)], &limit)?;
            below.linger(64 << 10, &limit);
            Ok(())
        });
        if let Err(error) = said {
            log::debug!("a client that speaks no TLS could not be told: {error}");
        }
    }

    /// Ends the connection so that the last response is not lost: flushes, and where the
    /// client may still be sending, half-closes and reads on for a moment.
    pub fn close(&mut self) {
        let linger = self.params.drain_time;
        if self.may_leave() {
            self.connection.close();
        } else {
            self.connection.close_lingering(linger);
        }
    }

    /// The same without the wait: the stream, if the client may still be sending.
    pub(crate) fn leave(&mut self) -> Option<Stream> {
        if self.may_leave() {
            self.connection.close();
            return None;
        }
        let wire = self.connection.out_mut().detach()?;
        self.connection.close();
        Some(wire.into_stream())
    }

    /// Flushes. Whether the connection can be closed without a reset that destroys the last
    /// response.
    fn may_leave(&mut self) -> bool {
        let (out, input) = self.connection.halves();
        if out.flush_before_wait().and_then(|()| out.end_content()).is_err() {
            return true;
        }
        if !input.is_done() || input.has_input() || out.close_reason().is_some_and(is_refusal) {
            return false;
        }
        let Ok(wire) = out.wire_mut() else { return true };
        matches!(wire.stream_mut().peek_nowait(), Ok(Readiness::Nothing | Readiness::End) | Err(_))
    }

    /// The halves of the exchange, for a handler that reads and writes.
    pub(crate) fn exchange_parts(
        &mut self,
    ) -> (BodyReader<'_>, ResponseSender<'_>, &mut Option<Box<dyn Any + Send>>) {
        let (out, input, data) = self.connection.parts();
        let software = self.params.software.as_deref();
        (BodyReader::new(out, input), ResponseSender { out, facts: &mut self.facts, software }, data)
    }

    /// Ends the response, after the handler.
    pub(crate) fn finish_response(&mut self) -> Result<()> {
        self.connection.out_mut().finish(None)
    }

    /// The response can't be ended as it was begun: the connection closes, so that it does not look
    /// whole.
    pub(crate) fn abandon_response(&mut self) {
        let out = self.connection.out_mut();
        out.abandon();
        out.poison(CloseReason::ContentUnfinished);
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.facts.answered
    }

    /// Whether a response was begun and not ended.
    pub(crate) fn is_responding(&mut self) -> bool {
        self.connection.out_mut().is_sending()
    }

    /// Whether an exchange in which this error arose was one on another connection: a handler that asks
    /// somebody else hands on what it got.
    pub(crate) fn is_foreign(&mut self, error: &Error) -> bool {
        let out = self.connection.out_mut();
        error.phase().is_some() && !out.is_broken() && !out.unreadable && !out.abort.is_aborted()
    }

    /// The status of the final response, if there was one.
    pub(crate) fn answered_with(&self) -> Option<StatusCode> {
        self.facts.status
    }

    /// Bytes of content received of this request, and bytes sent on this connection or about to be.
    pub(crate) fn traffic(&mut self) -> (u64, u64) {
        let (out, input) = self.connection.halves();
        let sent = out.wire_mut().map_or(0, |wire| wire.sent() + wire.out().len() as u64);
        (input.received(), sent)
    }

    /// Whether bytes are there that belong to the next request.
    pub(crate) fn has_input(&self) -> bool {
        self.connection.input.has_input()
    }

    /// Whether the request's content has arrived to its end: see [`has_arrived`](super::incoming::Incoming::has_arrived).
    pub(crate) fn is_request_whole(&mut self, most: usize) -> bool {
        let (out, input) = self.connection.halves();
        out.wire_mut().is_ok_and(|wire| input.has_arrived(wire.stream_mut(), most))
    }

    /// Lets out what was answered.
    #[inline]
    pub(crate) fn flush_before_wait(&mut self) -> Result<()> {
        self.connection.out_mut().flush_before_wait()
    }

    /// Waits for a request: `true` when its first bytes are there, `false` at the end. Before a
    /// handshake it is only waited for that to begin.
    #[inline]
    pub(crate) fn wait_for_input(&mut self, limit: &Limit) -> Result<bool> {
        let (out, input) = self.connection.halves();
        let stream = out.wire_mut()?.stream();
        if stream.is_handshaking() {
            if let Some(socket) = stream.bottom().socket() {
                return socket.wait_readable(limit).map(|readiness| readiness == Readiness::Data);
            }
        }
        input.wait_for_head(out, limit)
    }

    /// Whether a TLS handshake is to be made before there can be a request.
    pub(crate) fn is_handshaking(&self) -> bool {
        lock(&self.connection.out).wire().is_some_and(|wire| wire.stream().is_handshaking())
    }

    /// The same, with no memory kept for the connection meanwhile. Reads nothing where there is a
    /// socket.
    pub(crate) fn wait_released(&mut self, limit: &Limit) -> Result<bool> {
        let (out, input) = self.connection.halves();
        input.release();
        out.release();
        let stream = out.wire_mut()?.stream_mut();
        stream.release();
        if let Some(socket) = stream.idle_socket() {
            return socket.wait_readable(limit).map(|readiness| readiness == Readiness::Data);
        }
        input.wait_for_head(out, limit)
    }

    /// A request has begun to come.
    pub(crate) fn count_request(&mut self) {
        self.first = false;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
    }

    /// Receives a request's head; its content is in [`exchange_parts`](Self::exchange_parts).
    #[inline(always)] // For `read_request`.
    pub(crate) fn receive_head(&mut self, request: &mut Request) -> Result<()> {
        if !self.facts.answered {
            return Err(Error::illegal_state("the request before was not answered"));
        }
        self.connection.clear_last_error();
        self.first = false;
        self.pending = true;
        // What an error is answered with, until the request says more.
        self.facts.version = Version::Http11;
        self.facts.head = false;
        self.facts.connect = false;
        self.facts.status = None;
        let times = &self.params.timeouts;
        let (out, input) = self.connection.halves();
        input.trailers.clear();
        out.trailers.clear();
        let result = match input.buffered_request(request) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let whole =
                    limited(self.params.head_timeout).map(|h| limited(times.receive).map_or(h, |r| h.min(r)));
                input.receive_request(out, &limit(times.receive), whole, request)
            }
            Err(error) => Err(error),
        };
        if result.is_err() {
            // As much as can be told of it: no response to HEAD has content, whatever was wrong.
            self.facts.head = input.begins_with(b"HEAD ");
        }
        out.deadline = times.total.map_or(Deadline::never(), Deadline::after);
        if let Err(error) = result.and_then(|()| self.accept(request)) {
            self.connection.out_mut().poison(CloseReason::from(&error));
            return self.connection.noting(Err(error));
        }
        self.pending = false;
        Ok(())
    }

    /// Ends the last exchange; `false` if the connection is to end with it. What was written is on
    /// its way.
    #[inline]
    pub(crate) fn settle(&mut self) -> Result<bool> {
        if self.first {
            return Ok(true);
        }
        let drain = (self.params.drain, self.params.drain_time);
        let (out, input) = self.connection.halves();
        // Who wrote what could not be sent was told so.
        if out.is_sending() && !out.is_broken() {
            out.finish(None)?;
        }
        if !self.facts.answered {
            out.poison(CloseReason::Failed);
        }
        if out.close_reason().is_none() && !input.is_done() {
            out.flush(None)?;
            match input.drain(out, drain.0, drain.1) {
                Ok(true) => {}
                Ok(false) => out.poison(CloseReason::ContentUnread),
                Err(error) => {
                    log::debug!("unread content could not be dropped: {error}");
                    out.poison(CloseReason::ContentUnread);
                }
            }
        }
        out.deadline = Deadline::never();
        Ok(out.close_reason().is_none())
    }

    /// What a handler changed for its exchange goes back to what the session obeys.
    pub(crate) fn restore_limits(&mut self) {
        let (out, input) = self.connection.halves();
        out.times = self.params.timeouts;
        out.deadline = Deadline::never();
        input.pace = self.params.pace();
    }

    /// The response is not to be sent. Says whether nothing of it has left, so that there can be
    /// another one.
    pub(crate) fn take_back_response(&mut self) -> bool {
        let taken_back = self.connection.out_mut().take_back();
        if taken_back {
            self.facts.answered = false;
            self.facts.status = None;
        }
        taken_back
    }
}

/// Whether `100 Continue` is expected; nothing else can be.
#[inline(never)] // Few requests expect anything.
fn expects_continue(headers: &HeaderMap) -> Result<bool> {
    let mut expects = false;
    for expectation in headers.tokens("expect") {
        if !expectation.eq_ignore_ascii_case(b"100-continue") {
            return Err(Error::unsupported("the only expectation that can be met is 100-continue")
                .with_status(StatusCode::EXPECTATION_FAILED));
        }
        expects = true;
    }
    Ok(expects)
}

/// What a client is told that speaks plain HTTP to a port on which TLS is spoken.
#[cfg(feature = "_tls")]
fn plain_answer() -> Result<Vec<u8>> {
    let text = b"This port speaks HTTPS: the request came in plain HTTP.\n";
    let status = StatusCode::BAD_REQUEST;
    let mut answer = Vec::with_capacity(256);
    proto::write_status_line(&mut answer, Version::Http11, status, status.reason().as_bytes())?;
    write_date(&mut answer);
    proto::write_field(&mut answer, "Content-Type", b"text/plain; charset=utf-8")?;
    proto::write_number_field(&mut answer, "Content-Length", text.len() as u64)?;
    proto::write_field(&mut answer, "Connection", b"close")?;
    proto::end_head(&mut answer);
    answer.extend_from_slice(text);
    Ok(answer)
}

/// Whether the client may be sending what nobody will read.
fn is_refusal(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Malformed
            | CloseReason::TooLarge
            | CloseReason::Unsupported
            | CloseReason::Timeout
            | CloseReason::ContentUnread
            | CloseReason::EarlyResponse
    )
}

impl Session for HttpServerSession {
    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl ServerSession for HttpServerSession {
    fn has_more_requests(&mut self) -> Result<bool> {
        if !self.connection.is_connected() {
            return Ok(false);
        }
        if !self.settle()? {
            self.close();
            return Ok(false);
        }
        while !self.has_input() {
            let wait = if self.first { self.params.timeouts.receive } else { self.params.keep_alive_timeout };
            match self.wait_for_input(&limit(wait)) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if error.is_timeout() && error.phase() == Some(Phase::Idle) => return Ok(false),
                Err(error) => return self.connection.noting(Err(error)),
            }
            self.handshake()?;
        }
        self.count_request();
        Ok(true)
    }

    fn receive_request(&mut self, request: &mut Request) -> Result<BodyReader<'_>> {
        // For those who have not asked whether there is one.
        if self.facts.answered && !self.settle()? {
            return Err(Error::illegal_state("the connection serves no more requests"));
        }
        self.receive_head(request)?;
        Ok(self.connection.body_reader())
    }

    fn send_response(&mut self, response: &Response) -> Result<BodyWriter<'_>> {
        self.begin(response)?;
        Ok(self.connection.body_writer())
    }

    fn can_keep_alive(&self) -> bool {
        self.left != Some(0)
    }
}

/// Where a handler sends its response, while the request's content is read beside it.
#[derive(Debug)]
pub(crate) struct ResponseSender<'a> {
    out: &'a Mutex<Outgoing>,
    facts: &'a mut Facts,
    software: Option<&'a str>,
}

impl ResponseSender<'_> {
    pub(crate) fn is_answered(&self) -> bool {
        self.facts.answered
    }

    /// What the client speaks.
    pub(crate) fn version(&self) -> Version {
        self.facts.version
    }

    /// The response that is sent is the last one.
    pub(crate) fn forbid_keep_alive(&mut self, reason: CloseReason) {
        if self.facts.keep_alive {
            self.facts.keep_alive = false;
            self.facts.reason = reason;
        }
    }

    /// Sends the head. The content may depend on that of the request, which is not counted as
    /// unread.
    pub(crate) fn send(&mut self, response: &Response) -> Result<BodyWriter<'_>> {
        begin_response(&mut lock(self.out), None, self.facts, self.software, response, None)?;
        Ok(BodyWriter::new(self.out))
    }

    /// Sends a response with all of its content.
    pub(crate) fn send_whole(&mut self, response: &Response, content: &[u8]) -> Result<()> {
        let out = &mut *lock(self.out);
        if is_usual(out, self.facts, response) && !content.is_empty() {
            return send_usual(out, self.facts, self.software, response, content);
        }
        let unread = out.unread;
        let whole = Some(content.len() as u64);
        begin_response(out, unread, self.facts, self.software, response, whole)?;
        out.write_whole(content)
    }

    pub(crate) fn send_interim(&mut self, response: &Response) -> Result<()> {
        send_interim(&mut lock(self.out), self.facts, response)
    }

    pub(crate) fn set_trailer(&mut self, name: &str, value: &str) -> Result<()> {
        lock(self.out).trailers_for(name)?.set(name, value)
    }
}

fn send_interim(out: &mut Outgoing, facts: &Facts, response: &Response) -> Result<()> {
    if facts.answered {
        return Err(Error::illegal_state("the final response has begun"));
    }
    let status = response.status();
    if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::invalid_argument("an interim response has a status from 100 to 199, but not 101"));
    }
    if facts.version == Version::Http10 {
        return Ok(());
    }
    if status == StatusCode::CONTINUE {
        out.continue_due = false;
    }
    let buffer = out.buffer()?;
    let start = buffer.len();
    let written = proto::write_status_line(buffer, Version::Http11, status, response.reason_bytes())
        .and_then(|()| proto::write_fields(buffer, response.headers(), is_framing));
    if let Err(error) = written {
        buffer.truncate(start);
        return Err(error);
    }
    proto::end_head(buffer);
    out.flush(None)
}

/// Pipelined responses leave together up to this size.
const MOST_BUFFERED: usize = 64 * 1024;

/// What becomes of a response on the wire.
#[derive(Debug, Clone, Copy)]
struct Plan {
    framing: Framing,
    /// The framing is decided when the content ends, or outgrows what is held back.
    undecided: bool,
    keep_alive: bool,
    /// The connection is no longer one of HTTP.
    leaves: bool,
    /// `Content-Length` of the response goes out as it is: HEAD and 304 tell what would have been.
    keeps_length: bool,
    /// Some of the response's fields are ours to say.
    managed: bool,
}

/// How the response to a request is framed, and whether the connection persists (RFC 9112, 6.3
/// and 9.3). `whole` is the length of the content where the caller has all of it, `unread` how
/// much content of the request is still to come, where that is known.
fn plan(facts: &Facts, response: &Response, whole: Option<u64>, unread: Option<u64>) -> Result<Plan> {
    let headers = response.headers();
    let status = response.status();
    let upgrade = status == StatusCode::SWITCHING_PROTOCOLS;
    let leaves = upgrade || facts.connect && status.is_success();
    let without_content = leaves || matches!(status.as_u16(), 204 | 304);
    let chunked = whole.is_none() && headers.has("transfer-encoding");
    let said = headers.has("content-length");
    if chunked && !proto::is_only_chunked(headers) {
        return Err(Error::invalid_argument("the only Transfer-Encoding that is sent is chunked"));
    }
    if chunked && said {
        return Err(Error::invalid_argument(
            "a response has a Content-Length or a Transfer-Encoding, not both",
        ));
    }
    let length = match whole {
        Some(length) => Some(length),
        None if said => response.content_length()?,
        None => None,
    };
    let framing = match (chunked, length, facts.version) {
        _ if without_content => Framing::None,
        _ if is_reset(response) => Framing::Length(0),
        (true, _, Version::Http11) => Framing::Chunked,
        (false, Some(length), _) => Framing::Length(length),
        (true, _, Version::Http10) | (false, None, _) => Framing::UntilClose,
    };
    let undecided = framing == Framing::UntilClose && !chunked && !facts.head;
    let options = headers.has("connection");
    Ok(Plan {
        framing,
        undecided,
        keep_alive: facts.keep_alive
            && !(options && headers.has_token("connection", "close"))
            && unread.is_none_or(|u| u <= facts.drain)
            && (undecided || facts.head || framing != Framing::UntilClose),
        leaves,
        keeps_length: whole.is_none()
            && (facts.head && !without_content || status == StatusCode::NOT_MODIFIED),
        managed: said || options || headers.has("transfer-encoding"),
    })
}

/// 205 has no content, and says so (RFC 9110, 15.3.6).
fn is_reset(response: &Response) -> bool {
    response.status() == StatusCode::RESET_CONTENT
}

/// Puts the head of the final response into the buffer.
#[inline(never)] // Most whole responses are usual.
fn begin_response(
    out: &mut Outgoing,
    unread: Option<u64>,
    facts: &mut Facts,
    software: Option<&str>,
    response: &Response,
    whole: Option<u64>,
) -> Result<()> {
    if facts.answered {
        return Err(Error::illegal_state("the response was sent already"));
    }
    if response.status().is_informational() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::invalid_argument("an interim response is not the final one: use send_interim()"));
    }
    let mut plan = plan(facts, response, whole, unread)?;
    // Whether content that was expected and not asked for still comes, nobody knows.
    if out.continue_due {
        out.poison(CloseReason::EarlyResponse);
    }
    plan.keep_alive &= out.close_reason().is_none();
    // Heads alone would pile up for a client that sends on and on without reading.
    if out.buffer()?.len() > MOST_BUFFERED {
        out.flush(None)?;
    }
    let buffer = out.buffer()?;
    let start = buffer.len();
    if let Err(error) = write_head(buffer, facts, software, response, &plan) {
        buffer.truncate(start);
        return Err(error);
    }
    facts.answered = true;
    facts.status = Some(response.status());
    out.mark_head(start);
    if plan.undecided {
        out.begin_undecided(Tail { version: facts.version, keep_alive: plan.keep_alive });
        if !plan.keep_alive {
            out.poison(facts.reason);
        }
        return Ok(());
    }
    let discards = facts.head || plan.framing == Framing::None || is_reset(response);
    out.begin_with(if discards { Encoder::discarding() } else { Encoder::new(plan.framing) });
    if plan.leaves {
        out.poison(CloseReason::Upgraded);
    } else if !plan.keep_alive {
        out.poison(facts.reason);
    }
    Ok(())
}

/// Whether [`begin_response`] has nothing to decide for a response whose content is all there: it is
/// a 200 that says nothing of its framing or of the connection, and that goes on.
#[inline]
fn is_usual(out: &Outgoing, facts: &Facts, response: &Response) -> bool {
    let headers = response.headers();
    !facts.answered
        && facts.keep_alive
        && !facts.head
        && !facts.connect
        && facts.version == Version::Http11
        && response.is_plain_ok()
        && !headers.has("date")
        && !headers.has("connection")
        && !headers.has("content-length")
        && !headers.has("transfer-encoding")
        && !out.continue_due
        && out.close_reason().is_none()
        && out.unread.is_none_or(|unread| unread <= facts.drain)
}

/// Sends a [usual](is_usual) response.
#[inline]
fn send_usual(
    out: &mut Outgoing,
    facts: &mut Facts,
    software: Option<&str>,
    response: &Response,
    content: &[u8],
) -> Result<()> {
    let headers = response.headers();
    headers.check()?;
    let software = software.filter(|_| !headers.has("server"));
    // Heads alone would pile up for a client that sends on and on without reading.
    if out.buffer()?.len() > MOST_BUFFERED {
        out.flush(None)?;
    }
    let buffer = out.buffer()?;
    let start = buffer.len();
    with_date_lines(|lines| buffer.extend_from_slice(lines));
    if let Some(software) = software {
        if let Err(error) = proto::write_field(buffer, "Server", software.as_bytes()) {
            buffer.truncate(start);
            return Err(error);
        }
    }
    proto::write_all_fields(buffer, headers)?;
    proto::write_content_length(buffer, content.len() as u64);
    proto::end_head(buffer);
    facts.answered = true;
    facts.status = Some(StatusCode::OK);
    out.mark_head(start);
    out.send_plain(content)
}

/// Writes the head, but for the end of one whose framing is undecided.
fn write_head(
    buffer: &mut Vec<u8>,
    facts: &Facts,
    software: Option<&str>,
    response: &Response,
    plan: &Plan,
) -> Result<()> {
    let headers = response.headers();
    proto::write_status_line(buffer, Version::Http11, response.status(), response.reason_bytes())?;
    if !headers.has("date") {
        write_date(buffer);
    }
    if let Some(software) = software.filter(|_| !headers.has("server")) {
        proto::write_field(buffer, "Server", software.as_bytes())?;
    }
    let own_options = !(plan.leaves && response.status() == StatusCode::SWITCHING_PROTOCOLS);
    if plan.managed {
        proto::write_fields(buffer, headers, |name| match name.len() {
            10 => own_options && name.eq_ignore_ascii_case(b"connection"),
            14 => !plan.keeps_length && name.eq_ignore_ascii_case(b"content-length"),
            17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
            _ => false,
        })?;
        if own_options && headers.has("connection") {
            write_own_tokens(buffer, response)?;
        }
    } else {
        proto::write_all_fields(buffer, headers)?;
    }
    if plan.undecided {
        return Ok(());
    }
    if !plan.leaves {
        write_connection(buffer, facts.version, plan.keep_alive);
    }
    if !plan.keeps_length {
        write_framing(buffer, plan.framing);
    }
    proto::end_head(buffer);
    Ok(())
}

/// Options of the response's own `Connection` that are not about persistence.
fn write_own_tokens(buffer: &mut Vec<u8>, response: &Response) -> Result<()> {
    let own: Vec<&[u8]> = response
        .headers()
        .tokens("connection")
        .filter(|t| !t.eq_ignore_ascii_case(b"close") && !t.eq_ignore_ascii_case(b"keep-alive"))
        .collect();
    if own.is_empty() {
        return Ok(());
    }
    proto::write_field(buffer, "Connection", &own.join(&b", "[..]))
}

fn is_framing(name: &[u8]) -> bool {
    match name.len() {
        14 => name.eq_ignore_ascii_case(b"content-length"),
        17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
        _ => false,
    }
}

/// The line for `Date` behind the status line of most responses, and the second in which it is true.
struct DateLines {
    from: SystemTime,
    until: SystemTime,
    lines: [u8; 54],
}

/// Where the line for `Date` begins, and where the date is.
const DATE_LINE: usize = b"HTTP/1.1 200 OK\r\n".len();
const DATE_AT: usize = DATE_LINE + b"Date: ".len();

thread_local! {
    /// Renewed once a second: formatting a date costs more than the rest of a head.
    static DATE: RefCell<DateLines> = const {
        let lines = *b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
        RefCell::new(DateLines { from: UNIX_EPOCH, until: UNIX_EPOCH, lines })
    };
}

impl DateLines {
    #[cold]
    fn renew(&mut self, now: SystemTime) {
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.from = UNIX_EPOCH + Duration::from_secs(second);
        self.until = self.from + Duration::from_secs(1);
        self.lines[DATE_AT..DATE_AT + 29].copy_from_slice(&crate::message::format_http_date(now));
    }
}

fn write_date(buffer: &mut Vec<u8>) {
    with_date_lines(|lines| buffer.extend_from_slice(&lines[DATE_LINE..]));
}

/// Now, as `Date` has it.
pub(crate) fn http_date() -> [u8; 29] {
    let mut date = [0; 29];
    with_date_lines(|lines| date.copy_from_slice(&lines[DATE_AT..DATE_AT + 29]));
    date
}

#[inline]
fn with_date_lines(take: impl FnOnce(&[u8; 54])) {
    let now = SystemTime::now();
    DATE.with_borrow_mut(|date| {
        if now < date.from || now >= date.until {
            date.renew(now);
        }
        take(&date.lines);
    });
}
