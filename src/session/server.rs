//! The server's side: requests in, responses out, and whether another may follow.
//!
//! Decides what is answered on the wire besides the handler's response: `Date`, `Connection`
//! and the framing (RFC 9112, 6.3 and 9.3), `100 Continue`, and when the connection closes.
//! Knows no threads and no handlers.

use std::any::Any;
use std::cell::RefCell;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::body::{BodyReader, BodyWriter, lock};
use super::connection::{Connection, detach};
use super::detached::Detached;
use super::incoming::Incoming;
use super::outgoing::{Outgoing, Tail, write_connection, write_framing};
use super::timeouts::{Timeouts, limit, limited};
use super::{ServerSession, Session};
use crate::message::{Method, Request, Response, StatusCode, Version};
use crate::net::{Pace, Readiness, Stream};
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
    /// The least rate of request content, in bytes a second averaged over the time spent
    /// waiting for it, once [`rate_grace`](Self::rate_grace) is over. 240, as IIS and Kestrel:
    /// slower than a modem of the last century. 0 is no limit.
    pub min_rate: u64,
    /// How long content may come at any rate.
    pub rate_grace: Duration,
    /// How much content that the handler left unread is read and dropped, so that the
    /// connection can serve the next request. 256 KiB, as Go.
    pub drain: u64,
    /// How long that may take.
    pub drain_time: Duration,
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
        }
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
    params: ServerSessionParams,
    /// Requests still to be served; `None` is no limit.
    left: Option<u32>,
    first: bool,
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
    /// The final response has begun.
    answered: bool,
    drain: u64,
}

impl HttpServerSession {
    /// On a stream that a client connected.
    pub fn new(stream: Stream, params: ServerSessionParams) -> Result<HttpServerSession> {
        let mut connection = Connection::receiving(HeadKind::Request);
        connection.set_timeouts(params.timeouts);
        connection.set_limits(params.limits.clone());
        connection.set_keep_alive(params.keep_alive);
        connection.input.pace = (params.min_rate > 0)
            .then_some(Pace { grace: params.rate_grace, bytes_per_second: params.min_rate });
        connection.input.max_content = params.max_content;
        connection.attach_socket(stream)?;
        Ok(HttpServerSession {
            left: params.max_keep_alive_requests.map(NonZeroU32::get),
            first: true,
            facts: Facts {
                version: Version::Http11,
                head: false,
                connect: false,
                keep_alive: false,
                answered: true,
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

    fn accept(&mut self, request: &Request) -> Result<()> {
        let framing = proto::request_framing(request)?;
        if let Framing::Length(length) = framing {
            if length > self.params.max_content {
                return Err(Error::too_large(format!(
                    "the content is larger than {} bytes",
                    self.params.max_content
                )));
            }
        }
        let headers = request.headers();
        let mut expects = false;
        if let Some(expectation) = headers.get_bytes("expect") {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                return Err(Error::unsupported("the only expectation that can be met is 100-continue")
                    .with_status(StatusCode::EXPECTATION_FAILED));
            }
            expects = request.version() == Version::Http11;
        }
        self.facts = Facts {
            version: request.version(),
            head: *request.method() == Method::HEAD,
            connect: *request.method() == Method::CONNECT,
            keep_alive: self.connection.keep_alive() && self.can_keep_alive() && request.keep_alive(),
            answered: false,
            drain: self.params.drain,
        };
        let (out, input) = self.connection.halves();
        input.set_framing(framing);
        out.continue_due = expects && !input.is_done() && !input.has_input();
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
        if matches!(error.kind(), ErrorKind::NoMessage | ErrorKind::Io | ErrorKind::Aborted)
            || error.phase() == Some(Phase::Send)
        {
            self.connection.out_mut().poison(CloseReason::Failed);
            return Ok(());
        }
        let status = error.status_hint().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let text =
            if status == StatusCode::INTERNAL_SERVER_ERROR { String::new() } else { error.to_string() };
        self.send_status(status, &text)
    }

    /// Answers with a status and a line of text, and closes behind it.
    pub(crate) fn send_status(&mut self, status: StatusCode, text: &str) -> Result<()> {
        let out = self.connection.out_mut();
        out.poison(CloseReason::Malformed);
        if self.facts.answered && !self.first && out.is_sending() {
            return Ok(());
        }
        let mut response = Response::with_status(status);
        let content = if text.is_empty() { format!("{status}\n") } else { format!("{text}\n") };
        response.set_content_type("text/plain; charset=utf-8").set_content_length(content.len() as u64);
        self.facts.keep_alive = false;
        self.facts.answered = false;
        let mut facts = self.facts;
        let (out, input) = self.connection.halves();
        begin_response(out, input.remaining(), &mut facts, &response)?;
        self.facts = facts;
        let (out, _) = self.connection.halves();
        out.write(content.as_bytes(), None)?;
        out.finish(None)
    }

    /// Ends the connection so that the last response is not lost: flushes, and where the
    /// client may still be sending, half-closes and reads on for a moment.
    pub fn close(&mut self) {
        let linger = self.params.drain_time;
        let (out, input) = self.connection.halves();
        let _ = out.flush(None);
        let unread =
            !input.is_done() || input.has_input() || out.close_reason() == Some(CloseReason::Malformed);
        if unread
            || !matches!(
                self.connection.stream_mut().map(Stream::peek_nowait),
                Some(Ok(Readiness::Nothing | Readiness::End))
            )
        {
            self.connection.close_lingering(linger);
        } else {
            self.connection.close();
        }
    }

    /// The halves of the exchange, for a handler that reads and writes.
    pub(crate) fn exchange_parts(
        &mut self,
    ) -> (BodyReader<'_>, ResponseSender<'_>, &mut Option<Box<dyn Any + Send>>) {
        let (out, input, data) = self.connection.parts();
        (BodyReader::new(out, input), ResponseSender { out, facts: &mut self.facts }, data)
    }

    /// Ends the response, after the handler.
    pub(crate) fn finish_response(&mut self) -> Result<()> {
        self.connection.out_mut().finish(None)
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.facts.answered
    }
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
        if !self.first && !self.settle_exchange()? {
            return Ok(false);
        }
        let (out, input) = self.connection.halves();
        if !input.has_input() {
            let wait = if self.first { self.params.timeouts.receive } else { self.params.keep_alive_timeout };
            match input.wait_for_head(out, &limit(wait)) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(error) if error.is_timeout() => return Ok(false),
                Err(error) => return self.connection.noting(Err(error)),
            }
        }
        self.first = false;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        Ok(true)
    }

    fn receive_request(&mut self, request: &mut Request) -> Result<BodyReader<'_>> {
        if !self.facts.answered {
            return Err(Error::illegal_state("the request before was not answered"));
        }
        self.connection.clear_last_error();
        self.first = false;
        self.facts.version = Version::Http11;
        self.facts.head = false;
        self.facts.connect = false;
        let head_timeout = limited(self.params.head_timeout)
            .map(|h| limited(self.params.timeouts.receive).map_or(h, |r| h.min(r)));
        let wait = limit(self.params.timeouts.receive);
        let (out, input) = self.connection.halves();
        input.trailers.clear();
        let result =
            input.receive_request(out, &wait, head_timeout, request).and_then(|()| self.accept(request));
        if let Err(error) = result {
            self.connection.out_mut().poison(CloseReason::Malformed);
            return self.connection.noting(Err(error));
        }
        Ok(self.connection.body_reader())
    }

    fn send_response(&mut self, response: &Response) -> Result<BodyWriter<'_>> {
        let mut facts = self.facts;
        let (out, input) = self.connection.halves();
        begin_response(out, input.remaining(), &mut facts, response)?;
        self.facts = facts;
        Ok(self.connection.body_writer())
    }

    fn can_keep_alive(&self) -> bool {
        self.left != Some(0)
    }
}

impl HttpServerSession {
    /// Ends the last exchange; `false` if the connection ends with it.
    fn settle_exchange(&mut self) -> Result<bool> {
        self.connection.out_mut().finish(None)?;
        let (out, input) = self.connection.halves();
        // Whether content that was expected and not asked for still comes, nobody knows.
        if out.continue_due || (!input.is_done() && !self.facts.keep_alive) {
            out.continue_due = false;
            out.poison(CloseReason::ContentUnread);
        }
        if !self.facts.answered {
            out.poison(CloseReason::Failed);
        }
        if out.close_reason().is_none() && !input.is_done() {
            out.flush(None)?;
            match input.drain(out, self.params.drain, self.params.drain_time) {
                Ok(true) => {}
                Ok(false) => out.poison(CloseReason::ContentUnread),
                Err(error) => {
                    log::debug!("unread content could not be dropped: {error}");
                    out.poison(CloseReason::ContentUnread);
                }
            }
        }
        if let Some(reason) = out.close_reason() {
            log::debug!("closing the connection: {reason}");
            self.close();
            return Ok(false);
        }
        Ok(true)
    }
}

/// Where a handler sends its response, while the request's content is read beside it.
#[derive(Debug)]
pub(crate) struct ResponseSender<'a> {
    pub(crate) out: &'a Mutex<Outgoing>,
    facts: &'a mut Facts,
}

impl<'a> ResponseSender<'a> {
    pub(crate) fn is_answered(&self) -> bool {
        self.facts.answered
    }

    pub(crate) fn send(&mut self, response: &Response) -> Result<BodyWriter<'_>> {
        begin_response(&mut lock(self.out), None, self.facts, response)?;
        Ok(BodyWriter::new(self.out))
    }

    pub(crate) fn send_interim(&mut self, response: &Response) -> Result<()> {
        send_interim(&mut lock(self.out), self.facts, response)
    }

    pub(crate) fn detach(&mut self, input: &mut Incoming) -> Result<Detached> {
        self.facts.answered = true;
        detach(&mut lock(self.out), input)
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

/// Puts the head of the final response into the buffer. `unread` is how much content of the
/// request is still to come, where that is known.
fn begin_response(
    out: &mut Outgoing,
    unread: Option<u64>,
    facts: &mut Facts,
    response: &Response,
) -> Result<()> {
    if facts.answered {
        return Err(Error::illegal_state("the response was sent already"));
    }
    let status = response.status();
    let upgrade = status == StatusCode::SWITCHING_PROTOCOLS;
    if status.is_informational() && !upgrade {
        return Err(Error::invalid_argument("an interim response is not the final one: use send_interim()"));
    }
    let headers = response.headers();
    let tunnel = facts.connect && status.is_success();
    let without_content = matches!(status.as_u16(), 204 | 304) || upgrade || tunnel;
    let chunked = headers.has("transfer-encoding");
    if chunked && !response.is_chunked() {
        return Err(Error::invalid_argument("the only Transfer-Encoding that is sent is chunked"));
    }
    let length = response.content_length()?;
    if chunked && length.is_some() {
        return Err(Error::invalid_argument(
            "a response has a Content-Length or a Transfer-Encoding, not both",
        ));
    }
    // How the content would be framed, and what of it goes out.
    let framing = match (chunked, length, facts.version) {
        _ if without_content => Framing::None,
        (true, _, Version::Http11) => Framing::Chunked,
        (true, _, Version::Http10) => Framing::UntilClose,
        (false, Some(length), _) => Framing::Length(length),
        (false, None, _) => Framing::UntilClose,
    };
    let undecided = framing == Framing::UntilClose && !chunked && !facts.head;
    let keep_alive = facts.keep_alive
        && out.close_reason().is_none()
        && !headers.has_token("connection", "close")
        && unread.is_none_or(|u| u <= facts.drain)
        && (undecided || facts.head || framing != Framing::UntilClose);
    let own_tokens = headers.has("connection") && !upgrade;

    let buffer = out.buffer()?;
    let start = buffer.len();
    let mut write = || {
        proto::write_status_line(buffer, Version::Http11, status, response.reason_bytes())?;
        if !headers.has("date") {
            write_date(buffer);
        }
        // Framing and persistence are ours to say, but for the length of what HEAD or a 304
        // would have had (RFC 9110, 8.6).
        let keeps_length = (facts.head && !without_content) || status == StatusCode::NOT_MODIFIED;
        proto::write_fields(buffer, headers, |name| {
            (is_framing(name) && !(keeps_length && name.eq_ignore_ascii_case("content-length")))
                || (own_tokens && name.eq_ignore_ascii_case("connection"))
        })?;
        if own_tokens {
            write_own_tokens(buffer, response)?;
        }
        Ok(())
    };
    if let Err(error) = write() {
        buffer.truncate(start);
        return Err(error);
    }
    facts.answered = true;
    if undecided {
        out.begin_undecided(Tail { version: facts.version, keep_alive });
        return Ok(());
    }
    if !upgrade && !tunnel {
        write_connection(buffer, facts.version, keep_alive)?;
    }
    if !facts.head || chunked && !without_content {
        write_framing(buffer, framing)?;
    }
    proto::end_head(buffer);
    let discards = facts.head || framing == Framing::None;
    out.begin_with(if discards { Encoder::discarding() } else { Encoder::new(framing) });
    if upgrade || tunnel {
        out.poison(CloseReason::Upgraded);
    } else if !keep_alive {
        out.poison(CloseReason::AskedByServer);
    }
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

fn is_framing(name: &str) -> bool {
    match name.len() {
        14 => name.eq_ignore_ascii_case("content-length"),
        17 => name.eq_ignore_ascii_case("transfer-encoding"),
        _ => false,
    }
}

/// A second of `Date`, and its text.
type DateLine = (u64, [u8; 29]);

thread_local! {
    /// Renewed once a second: formatting a date costs more than the rest of a head.
    static DATE: RefCell<DateLine> = const { RefCell::new((u64::MAX, [0; 29])) };
}

fn write_date(buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(b"Date: ");
    buffer.extend_from_slice(&http_date());
    buffer.extend_from_slice(b"\r\n");
}

/// Now, as `Date` has it.
pub(crate) fn http_date() -> [u8; 29] {
    let now = SystemTime::now();
    let second = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    DATE.with_borrow_mut(|(at, text)| {
        if *at != second {
            *at = second;
            *text = crate::message::format_http_date(now);
        }
        *text
    })
}
