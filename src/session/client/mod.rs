//! The client's side: requests out, responses in, and a connection when one is needed.
//!
//! Decides when a connection is reused, when it is made anew, and when a request may be made
//! a second time (RFC 9110, 9.2.2; RFC 9112, 9.3). What goes on the wire besides the caller's
//! request is added here and nowhere else.

mod dial;
mod forward;
mod head;

use std::fmt;
use std::io::Read;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dial::{Dialer, Route};
pub(crate) use dial::{Layer, Peer};
use forward::Introduction;
use head::{
    Additions, host_field, host_with_port, keep_alive_hint, request_framing, sent_target, write_head,
};

use super::body::{BodyReader, BodyWriter, Drive, Upload};
use super::connection::Connection;
use super::proxy::{ProxyConfig, ProxyProtocol};
use super::timeouts::limited;
use super::{ClientSession, DEFAULT_KEEP_ALIVE_TIMEOUT, HTTP_PORT, Session, tunnel};
use crate::message::{Method, Request, Response, StatusCode};
#[cfg(feature = "_tls")]
use crate::net::tls::{TlsContext, TlsStream};
use crate::net::{AbortHandle, ConnectOptions, Deadline, Limit, Resolve, Stream};
use crate::proto::{self, CloseReason, Framing};
use crate::{Error, ErrorKind, Phase, Result};

/// How much of a response nobody read is read and dropped, so that its connection can serve
/// the next request, and how long that may take.
const DRAIN: u64 = 64 * 1024;
const DRAIN_TIME: Duration = Duration::from_millis(100);

/// A connection whose last read emptied the socket less than this ago is reused without a look: what
/// comes in that time could as well come right behind the look. But never for a request that could
/// not be made again.
const FRESH: Duration = Duration::from_millis(1);

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
    dialer: Dialer,
    host: String,
    port: u16,
    /// The value of `Host`.
    host_field: String,
    last_source: Option<SocketAddr>,
    retry: RetryPolicy,
    keep_alive_timeout: Duration,
    expect_continue_timeout: Duration,
    on_interim: Option<OnInterim>,
    exchange: Exchange,
    /// How long the server said it keeps an idle connection.
    server_keep_alive: Option<Duration>,
    /// The proxy passes bytes on, on this connection, although it would get requests itself.
    tunnelled: bool,
    introduction: Introduction,
}

type OnInterim = Box<dyn FnMut(&Response) + Send>;

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
    /// The request asked for the connection to be closed behind the response.
    closes: bool,
    /// Interim responses received.
    interim: usize,
    /// Challenges of a proxy that may still be answered.
    challenges: usize,
    /// What the proxy was asked for and how the user was authenticated, while it may challenge.
    asked: Request,
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

    /// To a host through a proxy, instead of the global one.
    pub fn with_proxy(host: impl Into<String>, port: u16, proxy: ProxyConfig) -> Result<HttpClientSession> {
        let mut session = HttpClientSession::new(host, port);
        session.set_proxy_config(proxy)?;
        Ok(session)
    }

    /// Without a host, which must be set before the first request; port 80. Goes through the
    /// [global proxy](ProxyConfig::set_global), if there is one.
    pub fn unconnected() -> HttpClientSession {
        let mut session = HttpClientSession::bare();
        session.dialer.set_proxy(ProxyConfig::global());
        session
    }

    fn bare() -> HttpClientSession {
        HttpClientSession {
            connection: Connection::new(),
            dialer: Dialer::new(),
            host: String::new(),
            port: HTTP_PORT,
            host_field: String::new(),
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
                closes: false,
                interim: 0,
                challenges: 0,
                asked: Request::default(),
            },
            server_keep_alive: None,
            tunnelled: false,
            introduction: Introduction::default(),
        }
    }

    /// The same over a layer, with its port.
    #[cfg_attr(not(feature = "_tls"), allow(dead_code, reason = "TLS is the only layer"))]
    pub(crate) fn over(layer: Box<dyn Layer>) -> HttpClientSession {
        let mut session = HttpClientSession::unconnected();
        session.port = layer.default_port();
        session.dialer.layer = Some(layer);
        session
    }

    /// To a host and port, from the start.
    #[cfg(feature = "_tls")]
    pub(super) fn point_to(&mut self, host: String, port: u16) {
        self.port = port;
        self.assign_host(host);
    }

    /// Over a stream that is connected to the host already, with the layer on it. What the layer
    /// waits for is waited for with the first request.
    #[cfg(feature = "_tls")]
    pub(super) fn connect_over(&mut self, stream: Stream) -> Result<()> {
        let stream = match &self.dialer.layer {
            Some(layer) => {
                layer.begin(stream, Peer { host: &self.host, port: self.port, is_proxy: false })?
            }
            None => stream,
        };
        self.connection.attach_socket(stream)
    }

    /// To a proxy itself, on a stream that is connected to it.
    pub(super) fn to_proxy(stream: Stream, abort: &AbortHandle) -> Result<HttpClientSession> {
        let mut session = HttpClientSession::bare();
        session.connection.out_mut().abort = abort.clone();
        session.connection.attach_socket(stream)?;
        Ok(session)
    }

    /// To an address.
    pub fn with_address(address: SocketAddr) -> HttpClientSession {
        HttpClientSession::new(address.ip().to_string(), address.port())
    }

    /// To a Unix socket; `Host` will be `localhost` unless a request says otherwise.
    pub fn with_unix_path(path: impl Into<PathBuf>) -> HttpClientSession {
        let mut session = HttpClientSession::unconnected();
        session.assign_host("localhost".to_owned());
        session.dialer.unix = Some(path.into());
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
        self.dialer.unix = host.starts_with('/').then(|| PathBuf::from(&host));
        self.host = if self.dialer.unix.is_some() { "localhost".to_owned() } else { host };
        self.host_field = host_field(&self.host, self.port, self.dialer.default_port());
    }

    fn assign_proxy(&mut self, proxy: ProxyConfig) {
        self.dialer.set_proxy(proxy);
        self.introduction = Introduction::default();
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
        self.dialer.resolver = resolver;
    }

    /// Whom to trust as an `https` proxy, instead of the
    /// [default context](TlsContext::default_client), from the next connection on.
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn set_proxy_context(&mut self, context: TlsContext) {
        self.dialer.proxy_context = Some(context);
    }

    /// How connections are made.
    pub fn connect_options_mut(&mut self) -> &mut ConnectOptions {
        &mut self.dialer.options
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
    /// connect time-out. The exchange under way is forgotten.
    #[doc(alias = "connect")]
    pub fn reconnect(&mut self) -> Result<()> {
        self.exchange.state = State::Idle;
        self.connection.close();
        self.connection.out_mut().deadline = Deadline::never();
        let result = self.connect();
        self.connection.noting(result)
    }

    fn connect(&mut self) -> Result<()> {
        if self.host.is_empty() {
            return Err(Error::illegal_state("the session has no host: call set_host() first"));
        }
        let (timeouts, abort) = (self.connection.timeouts(), self.connection.abort_handle());
        let observer = self.connection.observer().map(|observer| &**observer);
        let within = tunnel::Within { timeouts, deadline: self.deadline(), abort: &abort, observer };
        let stream = self.dialer.dial(&self.host, self.port, within)?;
        log::debug!("connected to {}:{}", self.host, self.port);
        self.connection.attach_socket(stream)?;
        self.server_keep_alive = None;
        self.tunnelled = false;
        (self.introduction.done, self.introduction.proof) = (false, None);
        Ok(())
    }

    fn deadline(&self) -> Deadline {
        super::body::lock(&self.connection.out).deadline
    }

    /// Settles the last exchange and looks whether its connection can serve another.
    fn reuse(&mut self, method: &Method) -> bool {
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
        if !self.connection.served || self.host.is_empty() {
            return true;
        }
        let now = Instant::now();
        if !self.connection.keep_alive() || self.idle_for_too_long(now) {
            log::debug!("closing the connection: idle for too long, or not to be kept");
            self.connection.close();
            return false;
        }
        let emptied = self.idle_since().filter(|_| self.connection.input.drained);
        let fresh = emptied.is_some_and(|since| now.saturating_duration_since(since) < FRESH);
        let again = self.retry != RetryPolicy::Never && method.is_idempotent();
        if fresh && again || self.connection.is_reusable() {
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
        self.connection.out_mut().deadline = total;
        let served = self.connection.served;
        let mut reused = self.reuse(request.method());
        self.exchange.state = State::Idle;
        if self.needs_tunnel(request, reused) {
            reused = false;
            self.tunnel_within(self.deadline())?;
        } else if !reused {
            self.connect()?;
        }
        if framing != Framing::None && self.introduction.wanted && !self.introduction.done && self.forwards()
        {
            reused = false;
            self.introduce(request)?;
        }
        #[cfg(feature = "_tls")]
        if !self.connection.served {
            self.complete_handshake()?;
        }
        self.exchange.reused = reused && served;
        self.connection.observe(Phase::Send);
        self.connection.out_mut().repeatable = self.exchange.reused && self.is_harmless(request.method());
        self.write_request(request, framing)
    }

    /// The handshake on a stream of the caller's is part of connecting, as on any other.
    #[cfg(feature = "_tls")]
    fn complete_handshake(&mut self) -> Result<()> {
        if !self.connection.with_tls(TlsStream::is_handshaking).unwrap_or(false) {
            return Ok(());
        }
        let timeouts = self.connection.timeouts();
        let connect = limited(timeouts.connect).map_or(Deadline::never(), Deadline::after);
        let limit = timeouts.receive_limit(self.deadline().earlier(connect));
        self.connection.observe(Phase::Handshake);
        match self.connection.stream_mut().and_then(Stream::tls_mut) {
            Some(tls) => tls.begin(&limit).map_err(|error| error.with_phase(Phase::Handshake)),
            None => Ok(()),
        }
    }

    /// Whether this request asks for another protocol where the proxy would get it: `Upgrade` goes no
    /// further than the next hop (RFC 9110, 7.8), and it is the server that is to switch.
    fn needs_tunnel(&self, request: &Request, reused: bool) -> bool {
        self.dialer.route(&self.host) == Route::Forward
            && !self.host.is_empty()
            && !(reused && self.tunnelled)
            && request.headers().has("upgrade")
    }

    /// Whether the proxy gets the requests themselves.
    fn forwards(&self) -> bool {
        self.dialer.route(&self.host) == Route::Forward && !(self.tunnelled && self.connection.is_connected())
    }

    /// Puts the head of a request into the buffer of the connection there is, without looking
    /// whether the server has closed it: for those who know that it has not. `IllegalState`
    /// without a connection, while a response is due or not read to its end, and on a connection
    /// that must not persist.
    #[doc(alias = "sendRequestImpl")]
    pub fn send_request_impl(&mut self, request: &Request) -> Result<BodyWriter<'_>> {
        if self.awaiting().is_ok() {
            return Err(Error::illegal_state("the response to the request before was not received"));
        }
        let framing = request_framing(request)?;
        let (out, input) = self.connection.halves();
        if out.is_sending() || !input.is_done() || input.has_input() {
            return Err(Error::illegal_state("the exchange before has not come to its end"));
        }
        if let Some(reason) = out.close_reason() {
            return Err(Error::illegal_state(format!("the connection is to be closed: {reason}")));
        }
        out.repeatable = false;
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
        // What the request says binds us too (RFC 9112, 9.6).
        self.exchange.closes = !keep_alive
            || request.headers().has("connection") && proto::close_after_request(request).is_some();
        let forwarded = self.forwards();
        let (prefix, authorization) = if forwarded {
            (self.proxy_request_prefix(), self.proxy_authorization(request)?)
        } else {
            (String::new(), None)
        };
        self.exchange.challenges =
            if forwarded && self.dialer.proxy_credentials.is_some() { tunnel::ROUNDS } else { 0 };
        if self.exchange.challenges > 0 {
            let mut asked = Request::new(request.method().clone(), sent_target(request, &prefix)?);
            if let Some(value) = &authorization {
                asked.headers_mut().set("Proxy-Authorization", value)?;
            }
            self.exchange.asked = asked;
        }
        let (out, input) = self.connection.halves();
        input.track_reads = true;
        input.set_framing(Framing::None);
        input.trailers.clear();
        let wire = out.wire_mut()?;
        self.exchange.sent_before = wire.sent();
        let additions = Additions {
            host: &self.host_field,
            prefix: &prefix,
            proxy_authorization: authorization.as_deref(),
            keep_alive,
        };
        write_head(wire.out(), request, framing, &additions)?;
        // Without an announcement there is no content: writing some is an error.
        out.begin(if framing == Framing::None { Framing::Length(0) } else { framing });
        if self.exchange.closes {
            out.poison(CloseReason::AskedByClient);
        }
        self.exchange.state = State::Requested;
        Ok(())
    }

    /// Closes after an error; the session can be used again.
    fn fail<T>(&mut self, error: Error) -> Result<T> {
        log::debug!("closing the connection: {error}");
        if self.awaiting().is_ok() {
            self.connection.out_mut().trailers.clear();
        }
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
        // What could not be sent may have been answered all the same.
        if out.is_broken() {
            return Ok(());
        }
        out.finish(Some(input))?;
        let lost = self.exchange.reused && self.replays();
        if (lost || self.exchange.challenges > 0) && self.exchange.replay.is_empty() {
            let (out, _) = self.connection.halves();
            let wire = out.wire_mut()?;
            if wire.sent() == self.exchange.sent_before {
                self.exchange.replay.extend_from_slice(wire.out());
            }
        }
        Ok(())
    }

    fn replays(&self) -> bool {
        self.retry != RetryPolicy::Never && self.is_harmless(&self.exchange.method)
    }

    /// Whether a second request of this method does no harm: by what it means, or as the caller says.
    fn is_harmless(&self, method: &Method) -> bool {
        method.is_idempotent() || self.retry == RetryPolicy::Always
    }

    /// Receives heads until a final one. `first` is how long the first byte may take.
    fn final_head(&mut self, first: &Limit, response: &mut Response) -> Result<()> {
        self.connection.observe(Phase::ReceiveHead);
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
        self.connection.out_mut().repeatable = false;
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
        if let Some(observer) = self.connection.observer() {
            observer.interim(response);
        }
        Ok(Head::Interim)
    }

    /// Makes the request once more, on a new connection.
    fn again(&mut self, error: Error) -> Result<()> {
        if self.exchange.replay.is_empty() || !self.replays() {
            let error = if self.is_harmless(&self.exchange.method) { error.retryable() } else { error };
            return Err(error);
        }
        log::debug!("the reused connection was closed before the response: making the request once more");
        self.exchange.reused = false;
        self.connection.close();
        if self.tunnelled {
            self.tunnel_within(self.deadline())?;
            self.exchange.state = State::Requested;
        } else {
            self.connect()?;
        }
        self.send_replay()
    }

    /// Puts the request into the buffer as it was.
    fn send_replay(&mut self) -> Result<()> {
        self.connection.observe(Phase::Send);
        let out = self.connection.out_mut();
        out.buffer()?.extend_from_slice(&self.exchange.replay);
        if self.exchange.closes {
            out.poison(CloseReason::AskedByClient);
        }
        Ok(())
    }

    /// The head of the final response is there: how its content is framed, and whether the
    /// connection persists.
    fn accept(&mut self, response: &Response) -> Result<()> {
        #[cfg(feature = "digest")]
        self.check_proxy(response)?;
        let framing = proto::response_framing(&self.exchange.method, response)?;
        let (out, input) = self.connection.halves();
        input.set_framing(framing);
        if let Some(reason) = proto::close_after_response(&self.exchange.method, response, framing) {
            out.poison(reason);
        }
        self.server_keep_alive = keep_alive_hint(response.headers()).or(self.server_keep_alive);
        self.introduction.done |= response.status() != StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        self.connection.served = true;
        self.exchange.state = State::Answered;
        self.connection.observe(Phase::ReceiveBody);
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
        if self.exchange.state == State::Peeked {
            self.exchange.state = State::Answered;
            return Ok(());
        }
        // A server that answers as it reads may take the end of an upload only when we read.
        let (out, input) = self.connection.halves();
        if out.wire_mut()?.sent() != self.exchange.sent_before {
            out.flush(Some(input))?;
        }
        let limit = self.head_limit();
        self.final_head(&limit, response)?;
        while self.answer_challenge(response)? {
            self.final_head(&limit, response)?;
        }
        self.accept(response)
    }

    /// The head of the final response came instead of 100. Its framing is decided by it, whatever
    /// response is handed in later.
    fn accept_peeked(&mut self, response: &Response) -> Result<()> {
        self.take_challenge(response);
        self.accept(response)?;
        self.exchange.state = State::Peeked;
        Ok(())
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
        self.host_field = host_field(&self.host, port, self.dialer.default_port());
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
        let peeked = self.peek(response).and_then(|proceed| {
            if !proceed {
                self.accept_peeked(response)?;
            }
            Ok(proceed)
        });
        peeked.or_else(|error| self.fail(error))
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

    fn proxy_config(&self) -> &ProxyConfig {
        &self.dialer.proxy
    }

    fn set_proxy_config(&mut self, proxy: ProxyConfig) -> Result<()> {
        self.while_unconnected("the proxy")?;
        if proxy.is_some() && proxy.protocol() == ProxyProtocol::Https && cfg!(not(feature = "_tls")) {
            return Err(Error::unsupported("an https proxy needs the feature tls"));
        }
        self.assign_proxy(proxy);
        Ok(())
    }

    fn set_proxy_credentials(&mut self, username: &str, password: &str) {
        let mut proxy = self.dialer.proxy.clone();
        proxy.set_credentials(username, password);
        self.assign_proxy(proxy);
    }

    fn reset(&mut self) {
        self.exchange.state = State::Idle;
        self.connection.close();
        self.connection.abort_handle().reset();
        self.connection.clear_last_error();
    }

    fn is_secure(&self) -> bool {
        self.dialer.is_secure(&self.host)
    }

    fn keep_alive_timeout(&self) -> Duration {
        self.keep_alive_timeout
    }

    fn set_keep_alive_timeout(&mut self, timeout: Duration) {
        self.keep_alive_timeout = timeout;
    }

    fn set_source_address(&mut self, address: SocketAddr) -> Result<()> {
        self.while_unconnected("the source address")?;
        self.dialer.options.set_source_address(address);
        self.last_source = Some(address);
        Ok(())
    }

    fn source_address(&self) -> Option<SocketAddr> {
        self.last_source
    }

    fn source_address4(&self) -> Option<SocketAddrV4> {
        self.dialer.options.source_v4()
    }

    fn source_address6(&self) -> Option<SocketAddrV6> {
        self.dialer.options.source_v6()
    }
}

impl HttpClientSession {
    /// Waits for 100 (`true`) or a final response (`false`).
    fn peek(&mut self, response: &mut Response) -> Result<bool> {
        let receive = self.head_limit();
        self.connection.observe(Phase::ReceiveHead);
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
            self.accept_peeked(response)?;
            self.end_request()?;
            return self.take_response(response);
        }
        loop {
            let (out, input) = self.connection.halves();
            // What came behind an interim response comes first.
            if !input.has_input() && upload.drive(out, input)? == Drive::Ended {
                self.end_request()?;
                return self.take_response(response);
            }
            let limit = self.head_limit();
            self.connection.observe(Phase::ReceiveHead);
            if self.next_head(&limit, response)? == Head::Interim {
                self.connection.observe(Phase::Send);
                continue;
            }
            self.take_challenge(response);
            self.accept(response)?;
            // A refusal ends the upload (RFC 9112, 9.5).
            if response.status().as_u16() >= 300 {
                self.connection.out_mut().mark_answered();
            }
            return Ok(());
        }
    }
}

impl fmt::Debug for HttpClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClientSession")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("layer", &self.dialer.layer)
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
    struct Handing(std::sync::mpsc::Sender<(String, u16, Limit, Pipe)>);

    impl Layer for Handing {
        fn default_port(&self) -> u16 {
            443
        }

        fn is_secure(&self) -> bool {
            true
        }

        fn begin(&self, stream: Stream, _peer: Peer<'_>) -> Result<Stream> {
            Ok(stream)
        }

        fn establish(&self, mut stream: Stream, peer: Peer<'_>, limit: &Limit) -> Result<Stream> {
            let (near, mut far) = pair();
            let mut block = [0; 64];
            let n = stream.read(&mut block, &Limit::stall(Duration::from_secs(5)))?;
            far.write_all(&block[..n]).unwrap();
            self.0.send((peer.host.to_owned(), peer.port, *limit, far)).unwrap();
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
        let (host, asked_port, limit, _far) = answers.recv().unwrap();
        assert_eq!((host.as_str(), asked_port), ("127.0.0.1", port));
        assert!(limit.remaining().unwrap().is_some_and(|left| left <= Duration::from_secs(30)));
        peer.join().unwrap();
    }
}
