//! The client's side: requests out, responses in, and a connection when one is needed.
//!
//! Decides when a connection is reused, when it is made anew, and when a request may be made
//! a second time (RFC 9110, 9.2.2; RFC 9112, 9.3). What goes on the wire besides the caller's
//! request is added here and nowhere else.

use std::fmt;
use std::io::Read;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body::{BodyReader, BodyWriter, Drive, Upload};
use super::connection::Connection;
use super::timeouts::limited;
use super::{ClientSession, DEFAULT_KEEP_ALIVE_TIMEOUT, HTTP_PORT, Session};
use crate::message::{HeaderMap, Method, Request, Response, StatusCode, Version};
use crate::net::{self, ConnectOptions, Deadline, Limit, Resolve, Stream, SystemResolver};
use crate::proto::{self, CloseReason, Framing};
use crate::{Error, ErrorKind, Phase, Result};

/// How much of a response nobody read is read and dropped, so that its connection can serve
/// the next request, and how long that may take.
const DRAIN: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_millis(100);

/// A connection whose last read emptied the socket less than this ago is reused without a look.
const FRESH: Duration = Duration::from_millis(10);

/// When a request that was lost on a reused connection is made once more.
///
/// Only ever once, only if the connection had served a request before, and only if it ended
/// before the first byte of the response.
///
/// ```
/// use sessile::session::{HttpClientSession, RetryPolicy};
///
/// let mut session = HttpClientSession::new("example.com", 80);
/// assert_eq!(session.retry_policy(), RetryPolicy::Idempotent);
/// session.set_retry_policy(RetryPolicy::Never);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RetryPolicy {
    /// The error is the caller's to handle.
    Never,
    /// Idempotent methods (RFC 9110, 9.2.2), with no content or with content that is still
    /// in the output buffer.
    #[default]
    Idempotent,
    /// Any method, under the same condition: the caller knows that a second request does no
    /// harm. `POST` may then be acted upon twice, as it may with Poco.
    Always,
}

/// A client session over plain TCP or a Unix socket.
///
/// One connection and one exchange at a time. Connects when the first request is sent, keeps
/// the connection for the next one, and makes a new one when the server has closed it.
///
/// ```
/// use std::io::{self, Read, Write};
/// use sessile::message::{Request, Response};
/// use sessile::session::{ClientSession, HttpClientSession};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let port = listener.local_addr()?.port();
/// # let server = std::thread::spawn(move || -> io::Result<()> {
/// #     let (mut peer, _) = listener.accept()?;
/// #     for _ in 0..2 {
/// #         let _ = peer.read(&mut [0; 512])?;
/// #         peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")?;
/// #     }
/// #     Ok(())
/// # });
///
/// let mut session = HttpClientSession::new("127.0.0.1", port);
/// let mut response = Response::new();
/// for target in ["/one", "/two"] {
///     session.send_request(&Request::get(target))?;
///     let mut body = session.receive_response(&mut response)?;
///     io::copy(&mut body, &mut io::sink())?;
///     assert!(response.status().is_success());
/// }
/// # server.join().unwrap()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPClientSession")]
pub struct HttpClientSession {
    connection: Connection,
    layer: Option<Box<dyn Layer>>,
    host: String,
    port: u16,
    /// The value of `Host`.
    host_field: String,
    unix: Option<PathBuf>,
    resolver: Arc<dyn Resolve>,
    options: ConnectOptions,
    last_source: Option<SocketAddr>,
    retry: RetryPolicy,
    keep_alive_timeout: Duration,
    expect_continue_timeout: Duration,
    on_interim: Option<OnInterim>,
    exchange: Exchange,
    /// How long the server said it keeps an idle connection.
    server_keep_alive: Option<Duration>,
}

type OnInterim = Box<dyn FnMut(&Response) + Send>;

/// What stands between a connected stream and the session, where that is not nothing: TLS.
pub(crate) trait Layer: Send + fmt::Debug {
    /// The port that the scheme implies.
    fn default_port(&self) -> u16;

    /// Whether nobody on the way to the peer can read or change what is sent.
    fn is_secure(&self) -> bool;

    /// Turns a stream that is connected to this peer into the one that HTTP is spoken on, by the
    /// deadline. What stops calls on the stream stops this one too. Errors say their phase.
    fn establish(&mut self, stream: Stream, host: &str, port: u16, deadline: Deadline) -> Result<Stream>;
}

/// What is known of the exchange under way.
#[derive(Debug)]
struct Exchange {
    state: State,
    method: Method,
    /// The connection has served a request before this one.
    reused: bool,
    /// Asks for another protocol: a 101 is an answer.
    upgrade: bool,
    /// The request as it left, while it may be made once more; empty if it may not.
    replay: Vec<u8>,
    /// Bytes sent on this connection when the request began.
    sent_before: u64,
    /// Interim responses received.
    interim: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Interim,
    Final,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// The request is being sent or was sent; no final response yet.
    Requested,
    /// `peek_response` has taken the head of the final response.
    Peeked,
    /// The head of the final response was received.
    Answered,
}

impl HttpClientSession {
    /// To a host by name or address. A host that begins with `/` is the path of a Unix
    /// socket, as in Poco. Connects with the first request.
    pub fn new(host: impl Into<String>, port: u16) -> HttpClientSession {
        let mut session = HttpClientSession::unconnected();
        session.port = port;
        session.assign_host(host.into());
        session
    }

    /// Without a host, which must be set before the first request; port 80.
    pub fn unconnected() -> HttpClientSession {
        HttpClientSession {
            connection: Connection::new(),
            layer: None,
            host: String::new(),
            port: HTTP_PORT,
            host_field: String::new(),
            unix: None,
            resolver: Arc::new(SystemResolver),
            options: ConnectOptions::default(),
            last_source: None,
            retry: RetryPolicy::default(),
            keep_alive_timeout: DEFAULT_KEEP_ALIVE_TIMEOUT,
            expect_continue_timeout: Duration::from_secs(1),
            on_interim: None,
            exchange: Exchange {
                state: State::Idle,
                method: Method::GET,
                reused: false,
                upgrade: false,
                replay: Vec::new(),
                sent_before: 0,
                interim: 0,
            },
            server_keep_alive: None,
        }
    }

    /// The same over a layer, with its port.
    #[allow(dead_code, reason = "the session over TLS comes next")]
    pub(crate) fn over(layer: Box<dyn Layer>) -> HttpClientSession {
        let port = layer.default_port();
        HttpClientSession { layer: Some(layer), port, ..HttpClientSession::unconnected() }
    }

    fn default_port(&self) -> u16 {
        self.layer.as_ref().map_or(HTTP_PORT, |layer| layer.default_port())
    }

    /// To an address.
    pub fn with_address(address: SocketAddr) -> HttpClientSession {
        HttpClientSession::new(address.ip().to_string(), address.port())
    }

    /// To a Unix socket; `Host` will be `localhost` unless a request says otherwise.
    pub fn with_unix_path(path: impl Into<PathBuf>) -> HttpClientSession {
        let mut session = HttpClientSession::unconnected();
        session.assign_host("localhost".to_owned());
        session.unix = Some(path.into());
        session
    }

    /// Over a stream that is connected: one end of a tunnel, or of a pair in a test. A new
    /// connection is made, when needed, to the host that is set; without one that fails.
    pub fn with_stream(stream: Stream) -> Result<HttpClientSession> {
        let mut session = HttpClientSession::unconnected();
        session.connection.attach_socket(stream)?;
        Ok(session)
    }

    fn assign_host(&mut self, host: String) {
        self.unix = host.starts_with('/').then(|| PathBuf::from(&host));
        self.host = if self.unix.is_some() { "localhost".to_owned() } else { host };
        self.host_field = host_field(&self.host, self.port, self.default_port());
    }

    fn while_unconnected(&self, what: &str) -> Result<()> {
        if self.connection.is_connected() {
            return Err(Error::illegal_state(format!(
                "{what} can't change while connected: call reset() first"
            )));
        }
        Ok(())
    }

    /// When a request lost on a reused connection is made once more.
    pub fn retry_policy(&self) -> RetryPolicy {
        self.retry
    }

    /// Says when a request lost on a reused connection is made once more.
    pub fn set_retry_policy(&mut self, policy: RetryPolicy) {
        self.retry = policy;
    }

    /// How long `peek_response` waits for `100 Continue`.
    pub fn expect_continue_timeout(&self) -> Duration {
        self.expect_continue_timeout
    }

    /// Changes how long `peek_response` waits for `100 Continue` before the content is sent
    /// anyway (RFC 9110, 10.1.1). One second by default.
    pub fn set_expect_continue_timeout(&mut self, timeout: Duration) {
        self.expect_continue_timeout = timeout;
    }

    /// Calls the function with each interim response (1xx), `103 Early Hints` for instance.
    pub fn on_interim(&mut self, f: impl FnMut(&Response) + Send + 'static) {
        self.on_interim = Some(Box::new(f));
    }

    /// Resolves names by something else than the system: to pin a host to an address, say.
    /// `Host` stays the name.
    pub fn set_resolver(&mut self, resolver: Arc<dyn Resolve>) {
        self.resolver = resolver;
    }

    /// How connections are made.
    pub fn connect_options_mut(&mut self) -> &mut ConnectOptions {
        &mut self.options
    }

    /// Whether the connection can't be used for another request: it must not persist, or it
    /// has been idle for too long.
    #[doc(alias = "mustReconnect")]
    pub fn must_reconnect(&self) -> bool {
        self.connection.close_reason().is_some() || self.idle_for_too_long(Instant::now())
    }

    fn idle_for_too_long(&self, now: Instant) -> bool {
        let limit =
            self.server_keep_alive.map_or(self.keep_alive_timeout, |s| s.min(self.keep_alive_timeout));
        self.idle_since().is_some_and(|since| now.saturating_duration_since(since) >= limit)
    }

    /// The end of the last exchange on this connection.
    fn idle_since(&self) -> Option<Instant> {
        self.connection.input.last_read.filter(|_| self.exchange.state == State::Answered)
    }

    /// Makes a new connection to the host, closing the one there is. Blocks for at most the
    /// connect time-out.
    #[doc(alias = "connect")]
    pub fn reconnect(&mut self) -> Result<()> {
        self.connection.close();
        let result = self.connect();
        self.connection.noting(result)
    }

    fn connect(&mut self) -> Result<()> {
        if self.host.is_empty() {
            return Err(Error::illegal_state("the session has no host: call set_host() first"));
        }
        let timeouts = self.connection.timeouts();
        let deadline = match limited(timeouts.connect) {
            Some(limit) => self.deadline().earlier(Deadline::after(limit)),
            None => self.deadline(),
        };
        let abort = self.connection.abort_handle();
        let stream = match &self.unix {
            Some(path) => Stream::Unix(net::connect_unix(path, &self.options, deadline, &abort)?),
            None => {
                let addresses = net::resolve(&self.host, self.port, &self.resolver, deadline, &abort)
                    .map_err(|e| e.with_phase(Phase::Resolve))?;
                Stream::Tcp(
                    net::connect(&addresses, &self.options, deadline, &abort)
                        .map_err(|e| e.with_phase(Phase::Connect))?,
                )
            }
        };
        let stream = match &mut self.layer {
            Some(layer) => layer.establish(stream, &self.host, self.port, deadline)?,
            None => stream,
        };
        log::debug!("connected to {}:{}", self.host, self.port);
        self.connection.attach_socket(stream)?;
        self.server_keep_alive = None;
        Ok(())
    }

    fn deadline(&self) -> Deadline {
        super::body::lock(&self.connection.out).deadline
    }

    /// Settles the last exchange and looks whether its connection can serve another.
    fn reuse(&mut self) -> bool {
        if !self.connection.is_connected() {
            return false;
        }
        if matches!(self.exchange.state, State::Requested | State::Peeked) {
            self.connection.out_mut().poison(CloseReason::ContentUnfinished);
        }
        if !self.connection.settle(DRAIN, DRAIN_TIME) {
            return false;
        }
        // A new connection has nothing to be looked at; one of the caller's has no substitute.
        let Some(since) = self.idle_since() else { return true };
        if self.host.is_empty() {
            return true;
        }
        let now = Instant::now();
        if !self.connection.keep_alive() || self.idle_for_too_long(now) {
            log::debug!("closing the connection: idle for too long, or not to be kept");
            self.connection.close();
            return false;
        }
        let fresh = self.connection.input.drained && now.saturating_duration_since(since) < FRESH;
        if fresh || self.connection.is_reusable() {
            return true;
        }
        log::debug!("closing the connection: the server has closed it, or sent what nobody asked for");
        self.connection.close();
        false
    }

    /// Connects, or settles the exchange before on a connection that can be reused.
    fn begin(&mut self, request: &Request) -> Result<()> {
        let framing = request_framing(request)?;
        self.connection.clear_last_error();
        let total = self.connection.timeouts().total.map_or(Deadline::never(), Deadline::after);
        let (out, input) = self.connection.halves();
        out.deadline = total;
        input.track_reads = true;
        let served = self.exchange.state == State::Answered;
        let reused = self.reuse();
        self.exchange.state = State::Idle;
        if !reused {
            self.connect()?;
        }
        self.exchange.reused = reused && served;
        self.write_request(request, framing)
    }

    /// Puts the head of a request into the buffer of the connection there is, without looking
    /// whether it can be reused: for those who know that it can. `IllegalState` without a
    /// connection, or while a response is due.
    #[doc(alias = "sendRequestImpl")]
    pub fn send_request_impl(&mut self, request: &Request) -> Result<BodyWriter<'_>> {
        if self.awaiting().is_ok() {
            return Err(Error::illegal_state("the response to the request before was not received"));
        }
        let framing = request_framing(request)?;
        self.exchange.reused = false;
        self.write_request(request, framing)?;
        Ok(self.connection.upload_writer())
    }

    fn write_request(&mut self, request: &Request, framing: Framing) -> Result<()> {
        self.exchange.replay.clear();
        self.exchange.interim = 0;
        self.exchange.method.clone_from(request.method());
        self.exchange.upgrade = request.headers().has("upgrade");
        let keep_alive = self.connection.keep_alive();
        let (out, input) = self.connection.halves();
        input.set_framing(Framing::None);
        input.trailers.clear();
        let wire = out.wire_mut()?;
        self.exchange.sent_before = wire.sent();
        write_head(wire.out(), request, &self.host_field, keep_alive, framing)?;
        // Without an announcement there is no content: writing some is an error.
        out.begin(if framing == Framing::None { Framing::Length(0) } else { framing });
        if !keep_alive {
            out.poison(CloseReason::AskedByClient);
        }
        self.exchange.state = State::Requested;
        Ok(())
    }

    /// Closes after an error; the session can be used again.
    fn fail<T>(&mut self, error: Error) -> Result<T> {
        log::debug!("closing the connection: {error}");
        self.exchange.state = State::Idle;
        self.connection.close();
        self.connection.noting(Err(error))
    }

    /// Ends the request and keeps what is needed to make it once more.
    fn end_request(&mut self) -> Result<()> {
        let (out, input) = self.connection.halves();
        if self.exchange.state == State::Peeked {
            out.abandon();
            return Ok(());
        }
        out.finish(Some(input))?;
        if self.exchange.reused && self.exchange.replay.is_empty() && self.replays() {
            let (out, _) = self.connection.halves();
            let wire = out.wire_mut()?;
            if wire.sent() == self.exchange.sent_before {
                self.exchange.replay.extend_from_slice(wire.out());
            }
        }
        Ok(())
    }

    fn replays(&self) -> bool {
        match self.retry {
            RetryPolicy::Never => false,
            RetryPolicy::Idempotent => self.exchange.method.is_idempotent(),
            RetryPolicy::Always => true,
        }
    }

    /// Receives heads until a final one. `first` is how long the first byte may take.
    fn final_head(&mut self, first: &Limit, response: &mut Response) -> Result<()> {
        while self.next_head(first, response)? == Head::Interim {}
        Ok(())
    }

    /// Receives one head, making the request once more where that is allowed.
    fn next_head(&mut self, first: &Limit, response: &mut Response) -> Result<Head> {
        let mut unsent: Option<Error> = None;
        loop {
            let (out, input) = self.connection.halves();
            let whole = limited(out.times.receive);
            let silent = self.exchange.interim == 0 && !input.has_input();
            let Err(error) = input.receive_response(out, first, whole, response) else { break };
            let lost = matches!(error.kind(), ErrorKind::NoMessage | ErrorKind::Io);
            if lost && silent && !input.has_input() && self.exchange.reused {
                self.again(error)?;
                continue;
            }
            // The request could not be sent: the server may have said why.
            if unsent.is_none() && error.phase() == Some(Phase::Send) && error.kind() == ErrorKind::Io {
                out.discard();
                unsent = Some(error);
                continue;
            }
            return Err(unsent.unwrap_or(error));
        }
        let status = response.status();
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS && self.exchange.upgrade {
            return Ok(Head::Final);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::malformed("a 101 response that nobody asked for"));
        }
        self.exchange.interim += 1;
        if self.exchange.interim > self.connection.limits().interim {
            return Err(Error::too_large("too many interim responses"));
        }
        if let Some(f) = &mut self.on_interim {
            f(response);
        }
        Ok(Head::Interim)
    }

    /// Makes the request once more, on a new connection.
    fn again(&mut self, error: Error) -> Result<()> {
        if self.exchange.replay.is_empty() {
            let error = if self.exchange.method.is_idempotent() { error.retryable() } else { error };
            return Err(error);
        }
        log::debug!("the reused connection was closed before the response: making the request once more");
        let replay = std::mem::take(&mut self.exchange.replay);
        self.exchange.reused = false;
        let keep_alive = self.connection.keep_alive();
        self.connection.close();
        self.connect()?;
        let (out, _) = self.connection.halves();
        out.buffer()?.extend_from_slice(&replay);
        if !keep_alive {
            out.poison(CloseReason::AskedByClient);
        }
        self.exchange.replay = replay;
        self.exchange.replay.clear();
        Ok(())
    }

    /// The head of the final response is there: how its content is framed, and whether the
    /// connection persists.
    fn accept(&mut self, response: &Response) -> Result<()> {
        let framing = proto::response_framing(&self.exchange.method, response)?;
        let (out, input) = self.connection.halves();
        input.set_framing(framing);
        if let Some(reason) = proto::close_after_response(&self.exchange.method, response, framing) {
            out.poison(reason);
        }
        self.server_keep_alive = keep_alive_hint(response.headers()).or(self.server_keep_alive);
        self.exchange.state = State::Answered;
        Ok(())
    }

    fn awaiting(&self) -> Result<()> {
        match self.exchange.state {
            State::Requested | State::Peeked => Ok(()),
            State::Idle | State::Answered => {
                Err(Error::illegal_state("no response is due: send a request first"))
            }
        }
    }

    fn head_limit(&self) -> Limit {
        let out = super::body::lock(&self.connection.out);
        out.times.receive_limit(out.deadline)
    }

    /// Receives the final head unless `peek_response` has, and begins its content.
    fn take_response(&mut self, response: &mut Response) -> Result<()> {
        if self.exchange.state != State::Peeked {
            let limit = self.head_limit();
            self.final_head(&limit, response)?;
        }
        self.accept(response)
    }
}

impl Session for HttpClientSession {
    fn connection(&self) -> &Connection {
        &self.connection
    }

    fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl ClientSession for HttpClientSession {
    fn host(&self) -> &str {
        &self.host
    }

    fn set_host(&mut self, host: &str) -> Result<()> {
        self.while_unconnected("the host")?;
        self.assign_host(host.to_owned());
        Ok(())
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn set_port(&mut self, port: u16) -> Result<()> {
        self.while_unconnected("the port")?;
        self.port = port;
        self.host_field = host_field(&self.host, port, self.default_port());
        Ok(())
    }

    fn send_request(&mut self, request: &Request) -> Result<BodyWriter<'_>> {
        if let Err(error) = self.begin(request) {
            return self.fail(error);
        }
        Ok(self.connection.upload_writer())
    }

    fn request_body(&mut self) -> BodyWriter<'_> {
        self.connection.upload_writer()
    }

    fn receive_response(&mut self, response: &mut Response) -> Result<BodyReader<'_>> {
        self.awaiting()?;
        if let Err(error) = self.end_request().and_then(|()| self.take_response(response)) {
            return self.fail(error);
        }
        Ok(self.connection.body_reader())
    }

    fn peek_response(&mut self, response: &mut Response) -> Result<bool> {
        self.awaiting()?;
        if self.exchange.state == State::Peeked {
            return Ok(false);
        }
        match self.peek(response) {
            Ok(true) => Ok(true),
            Ok(false) => {
                self.exchange.state = State::Peeked;
                Ok(false)
            }
            Err(error) => self.fail(error),
        }
    }

    fn flush_request(&mut self) -> Result<()> {
        self.awaiting()?;
        let result = self.end_request().and_then(|()| {
            let (out, input) = self.connection.halves();
            out.flush(Some(input))
        });
        result.or_else(|error| self.fail(error))
    }

    fn exchange<'a>(
        &'a mut self,
        request: &Request,
        content: &'a mut (dyn Read + Send),
        response: &mut Response,
    ) -> Result<BodyReader<'a>> {
        let mut upload = Upload::new(content);
        if let Err(error) =
            self.begin(request).and_then(|()| self.upload_until_answered(&mut upload, request, response))
        {
            return self.fail(error);
        }
        let reader = self.connection.body_reader();
        Ok(reader.with_upload(upload))
    }

    fn reset(&mut self) {
        self.exchange.state = State::Idle;
        self.connection.close();
        self.connection.abort_handle().reset();
        self.connection.clear_last_error();
    }

    fn is_secure(&self) -> bool {
        self.layer.as_ref().is_some_and(|layer| layer.is_secure())
    }

    fn keep_alive_timeout(&self) -> Duration {
        self.keep_alive_timeout
    }

    fn set_keep_alive_timeout(&mut self, timeout: Duration) {
        self.keep_alive_timeout = timeout;
    }

    fn set_source_address(&mut self, address: SocketAddr) -> Result<()> {
        self.while_unconnected("the source address")?;
        self.options.set_source_address(address);
        self.last_source = Some(address);
        Ok(())
    }

    fn source_address(&self) -> Option<SocketAddr> {
        self.last_source
    }

    fn source_address4(&self) -> Option<SocketAddrV4> {
        self.options.source_v4()
    }

    fn source_address6(&self) -> Option<SocketAddrV6> {
        self.options.source_v6()
    }
}

impl HttpClientSession {
    /// Waits for 100 (`true`) or a final response (`false`).
    fn peek(&mut self, response: &mut Response) -> Result<bool> {
        let receive = self.head_limit();
        let (out, input) = self.connection.halves();
        out.flush(Some(input))?;
        let wait = limited(self.expect_continue_timeout).map_or(receive, |w| {
            Limit::stall(receive.stall.map_or(w, |stall| stall.min(w))).until(receive.deadline)
        });
        loop {
            match self.next_head(&wait, response) {
                Ok(Head::Interim) if response.status() == StatusCode::CONTINUE => return Ok(true),
                Ok(Head::Interim) => {}
                Ok(Head::Final) => return Ok(false),
                // Nothing was said: the content is sent anyway.
                Err(error)
                    if error.is_timeout()
                        && !self.connection.input.has_input()
                        && !receive.deadline.is_over() =>
                {
                    return Ok(true);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends content until the final response begins.
    fn upload_until_answered(
        &mut self,
        upload: &mut Upload<'_>,
        request: &Request,
        response: &mut Response,
    ) -> Result<()> {
        if request.headers().has("expect") && !self.peek(response)? {
            self.exchange.state = State::Peeked;
            self.end_request()?;
            return self.take_response(response);
        }
        loop {
            let (out, input) = self.connection.halves();
            if upload.drive(out, input)? == Drive::Ended {
                self.end_request()?;
                return self.take_response(response);
            }
            let limit = self.head_limit();
            if self.next_head(&limit, response)? == Head::Interim {
                continue;
            }
            self.accept(response)?;
            // A refusal ends the upload (RFC 9112, 9.5).
            if response.status().as_u16() >= 300 {
                self.connection.out_mut().mark_answered();
            }
            return Ok(());
        }
    }
}

/// How the content of a request to be sent is framed.
fn request_framing(request: &Request) -> Result<Framing> {
    if !request.headers().has("transfer-encoding") {
        return Ok(request.content_length()?.map_or(Framing::None, Framing::Length));
    }
    if request.has_content_length() {
        return Err(Error::invalid_argument(
            "a request has a Content-Length or a Transfer-Encoding, not both",
        ));
    }
    if request.version() == Version::Http10 {
        return Err(Error::invalid_argument("HTTP/1.0 has no Transfer-Encoding: set a Content-Length"));
    }
    if !request.is_chunked() {
        return Err(Error::invalid_argument("the only Transfer-Encoding that is sent is chunked"));
    }
    Ok(Framing::Chunked)
}

/// The request's head as it goes on the wire: the caller's, with `Host`, `Connection` and a
/// length of zero where they are needed.
fn write_head(
    out: &mut Vec<u8>,
    request: &Request,
    host: &str,
    keep_alive: bool,
    framing: Framing,
) -> Result<()> {
    let start = out.len();
    let result = (|| {
        let headers = request.headers();
        proto::write_request_line(out, request.method(), request.target(), request.version())?;
        if !headers.has("host") {
            proto::write_field(out, "Host", host.as_bytes())?;
        }
        let close = !keep_alive && !headers.has_token("connection", "close");
        let keep = keep_alive && request.version() == Version::Http10 && !headers.has("connection");
        // Expect without content is forbidden (RFC 9110, 10.1.1).
        let no_expect = matches!(framing, Framing::None | Framing::Length(0));
        proto::write_fields(out, headers, |name| no_expect && name.eq_ignore_ascii_case("expect"))?;
        if close {
            proto::write_field(out, "Connection", b"close")?;
        } else if keep {
            proto::write_field(out, "Connection", b"keep-alive")?;
        }
        // Methods that say what their content means announce that there is none (RFC 9110, 8.6).
        if framing == Framing::None && [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) {
            proto::write_field(out, "Content-Length", b"0")?;
        }
        proto::end_head(out);
        Ok(())
    })();
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// The value of `Host`: without a port that the scheme implies, and with brackets around an
/// IPv6 address.
fn host_field(host: &str, port: u16, default_port: u16) -> String {
    let bracket = host.contains(':') && !host.starts_with('[');
    let host = if bracket { format!("[{host}]") } else { host.to_owned() };
    if port == default_port { host } else { format!("{host}:{port}") }
}

/// `Keep-Alive: timeout=n`, less a second for the way.
fn keep_alive_hint(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("keep-alive")?;
    let seconds = value.split(',').find_map(|p| p.trim().strip_prefix("timeout="))?;
    let seconds = crate::message::field::parse_decimal(seconds.trim().as_bytes())?;
    Some(Duration::from_secs(seconds).saturating_sub(Duration::from_secs(1)))
}

impl fmt::Debug for HttpClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClientSession")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("layer", &self.layer)
            .field("connected", &self.connection.is_connected())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Pipe, Socket, pair};
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    /// Hands on what comes first, and says what it was asked for.
    #[derive(Debug)]
    struct Handing(std::sync::mpsc::Sender<(String, u16, Deadline, Pipe)>);

    impl Layer for Handing {
        fn default_port(&self) -> u16 {
            443
        }

        fn is_secure(&self) -> bool {
            true
        }

        fn establish(
            &mut self,
            mut stream: Stream,
            host: &str,
            port: u16,
            deadline: Deadline,
        ) -> Result<Stream> {
            let (near, mut far) = pair();
            let mut block = [0; 64];
            let limit = Limit::stall(Duration::from_secs(5));
            let n = stream.read(&mut block, &limit)?;
            far.write_all(&block[..n]).unwrap();
            self.0.send((host.to_owned(), port, deadline, far)).unwrap();
            Ok(Stream::custom(near))
        }
    }

    #[test]
    fn a_layer_makes_the_session_s_stream_from_the_connected_one_by_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = std::thread::spawn(move || {
            let (mut peer, _): (TcpStream, _) = listener.accept().unwrap();
            peer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            Socket::from_tcp(peer).unwrap()
        });
        let (asked, answers) = std::sync::mpsc::channel();
        let mut session = HttpClientSession::over(Box::new(Handing(asked)));
        assert_eq!((session.port(), session.is_secure()), (443, true));
        session.set_host("127.0.0.1").unwrap();
        assert_eq!(session.host_field, "127.0.0.1", "443 goes without saying");
        session.set_port(port).unwrap();
        session.send_request(&Request::get("/")).unwrap();
        let mut response = Response::new();
        session.receive_response(&mut response).unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let (host, asked_port, deadline, _far) = answers.recv().unwrap();
        assert_eq!((host.as_str(), asked_port), ("127.0.0.1", port));
        assert!(deadline.remaining().unwrap().is_some_and(|left| left <= Duration::from_secs(30)));
        peer.join().unwrap();
    }
}
