//! The client's side over TLS: the same session, with TLS between it and its connection.
//!
//! Owns what is asked of TLS at each connect, and nothing of HTTP. The name that the server must
//! prove is looked up each time in the session's host, so that one that changed is never missed.

use std::fmt;
use std::io::Read;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::body::{BodyReader, BodyWriter};
use super::client::{HttpClientSession, Layer, Peer, RetryPolicy};
use super::connection::Connection;
use super::proxy::ProxyConfig;
use super::{ClientSession, HTTPS_PORT, Session};
use crate::message::{Request, Response};
use crate::net::tls::{Certificate, TlsContext, TlsSession, TlsStream};
use crate::net::{ConnectOptions, Limit, Resolve, Stream};
use crate::{Phase, Result};

/// A client session over TLS (`https`).
///
/// Everything that [`HttpClientSession`] does, on a connection that nobody on the way can read or
/// change, to a server that has proved its name. The handshake is part of connecting, and within
/// the connect time-out; no wait in it is longer than the receive time-out.
///
/// ```
/// use std::io::Read;
/// use sessile::message::{Request, Response};
/// use sessile::session::{ClientSession, HttpsClientSession};
/// use sessile::tls::TlsContext;
/// # use std::io::Write;
/// # use sessile::session::{HttpServerSession, ServerSession, ServerSessionParams};
/// # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
/// # let own_ca_pem = made.cert.pem();
/// # let server = TlsContext::server().certificate_pem(&own_ca_pem, made.signing_key.serialize_pem()).build()?;
/// # let listener = sessile::net::Listener::bind("127.0.0.1:0".parse().unwrap())?;
/// # let port = listener.local_addr().unwrap().port();
/// # let served = std::thread::spawn(move || -> sessile::Result<()> {
/// #     let (stream, _) = listener.accept()?.unwrap();
/// #     let mut session = HttpServerSession::new(server.accept(stream)?, ServerSessionParams::default())?;
/// #     let mut request = Request::default();
/// #     while session.has_more_requests()? {
/// #         session.receive_request(&mut request)?;
/// #         session.send_response(&Response::new())?.write_all(b"hello")?;
/// #     }
/// #     Ok(())
/// # });
///
/// let context = TlsContext::client().add_ca_pem(&own_ca_pem).build()?;
/// let mut session = HttpsClientSession::with_context("localhost", port, context);
/// session.send_request(&Request::get("/"))?;
/// let mut response = Response::new();
/// let mut text = String::new();
/// session.receive_response(&mut response)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// println!("served by {}", session.server_certificate().unwrap().issuer());
/// # drop(session);
/// # served.join().unwrap()?;
/// # Ok::<(), sessile::Error>(())
/// ```
///
/// Poco's eight constructors:
///
/// | `HTTPSClientSession(…)` | here |
/// | --- | --- |
/// | `()` | [`unconnected`](Self::unconnected) |
/// | `(host, port)` | [`new`](Self::new) |
/// | `(host, port, context)` | [`with_context`](Self::with_context) |
/// | `(host, port, context, session)` | [`with_context_and_session`](Self::with_context_and_session) |
/// | `(context)` | [`unconnected`](Self::unconnected) and [`set_context`](Self::set_context) |
/// | `(context, session)` | the same and [`set_tls_session`](Self::set_tls_session) |
/// | `(socket, host, port)` | [`with_stream`](Self::with_stream) |
/// | `(socket, session)` | the same and [`set_tls_session`](Self::set_tls_session), before the first request |
#[doc(alias = "HTTPSClientSession")]
pub struct HttpsClientSession {
    http: HttpClientSession,
    settings: Shared,
}

/// What the session and its layer both look at; never while anything waits.
type Shared = Arc<Mutex<Settings>>;

#[derive(Debug, Default)]
struct Settings {
    /// `None` is the default one.
    context: Option<TlsContext>,
    /// Whom to ask for, instead of the host.
    server_name: Option<String>,
    send_server_name: Option<bool>,
    allow_truncated_close: Option<bool>,
    /// To be taken up at the next connect.
    given: Option<TlsSession>,
    /// Of the last connection.
    session: Option<TlsSession>,
}

/// Puts TLS on a session's streams.
#[derive(Debug, Default)]
pub(super) struct TlsLayer(Shared);

impl Layer for TlsLayer {
    fn default_port(&self) -> u16 {
        HTTPS_PORT
    }

    fn is_secure(&self) -> bool {
        true
    }

    fn begin(&self, stream: Stream, peer: Peer<'_>) -> Result<Stream> {
        if stream.tls().is_some() {
            return Ok(stream);
        }
        Ok(Stream::Tls(Box::new(self.prepare(stream, peer)?)))
    }

    fn establish(&self, stream: Stream, peer: Peer<'_>, limit: &Limit) -> Result<Stream> {
        let mut tls = self.prepare(stream, peer)?;
        tls.begin(limit).map_err(|error| error.with_phase(Phase::Handshake))?;
        if !peer.is_proxy {
            lock(&self.0).session = tls.session();
        }
        Ok(Stream::Tls(Box::new(tls)))
    }
}

impl TlsLayer {
    /// With this context, or the default one.
    pub(super) fn with_context(context: Option<TlsContext>) -> TlsLayer {
        TlsLayer(Arc::new(Mutex::new(Settings { context, ..Settings::default() })))
    }

    fn prepare(&self, stream: Stream, peer: Peer<'_>) -> Result<TlsStream> {
        let settings = lock(&self.0);
        let context = match &settings.context {
            Some(context) => context.clone(),
            None => TlsContext::default_client()?,
        };
        // What was said of the server is not said of a proxy.
        let name = settings.server_name.as_deref().filter(|_| !peer.is_proxy).unwrap_or(peer.host);
        let mut tls = TlsStream::client(stream, name, &context)?;
        tls.set_port(peer.port);
        tls.set_session(settings.given.clone())?;
        if let Some(send) = settings.send_server_name {
            tls.set_send_server_name(send)?;
        }
        if let Some(allow) = settings.allow_truncated_close {
            tls.set_allow_truncated_close(allow);
        }
        Ok(tls)
    }
}

fn lock(settings: &Mutex<Settings>) -> MutexGuard<'_, Settings> {
    settings.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpsClientSession {
    /// To a host by name or address, with the [default context](TlsContext::default_client).
    /// Connects with the first request.
    pub fn new(host: impl Into<String>, port: u16) -> HttpsClientSession {
        let mut session = HttpsClientSession::unconnected();
        session.http.point_to(host.into(), port);
        session
    }

    /// Without a host, which must be set before the first request; port 443 and the default
    /// context.
    pub fn unconnected() -> HttpsClientSession {
        let settings = Shared::default();
        let http = HttpClientSession::over(Box::new(TlsLayer(settings.clone())));
        HttpsClientSession { http, settings }
    }

    /// To an address, which the server's certificate must be for.
    pub fn with_address(address: SocketAddr) -> HttpsClientSession {
        HttpsClientSession::new(address.ip().to_string(), address.port())
    }

    /// To a host, with this context.
    pub fn with_context(host: impl Into<String>, port: u16, context: TlsContext) -> HttpsClientSession {
        let session = HttpsClientSession::new(host, port);
        lock(&session.settings).context = Some(context);
        session
    }

    /// To a host, with this context, taking up this session of TLS if the server agrees.
    pub fn with_context_and_session(
        host: impl Into<String>,
        port: u16,
        context: TlsContext,
        tls_session: Option<TlsSession>,
    ) -> HttpsClientSession {
        let mut session = HttpsClientSession::with_context(host, port, context);
        session.set_tls_session(tls_session);
        session
    }

    /// To a host through a proxy, instead of the global one.
    pub fn with_proxy(host: impl Into<String>, port: u16, proxy: ProxyConfig) -> Result<HttpsClientSession> {
        let mut session = HttpsClientSession::new(host, port);
        session.set_proxy_config(proxy)?;
        Ok(session)
    }

    /// Over a stream that is connected to this host: one end of a tunnel, or of a pair in a test. A
    /// stream that is under TLS already is used as it is; on any other the handshake is made, when
    /// the first request is sent. A new connection is made, when needed, to the host; with an empty
    /// one that fails.
    pub fn with_stream(stream: Stream, host: impl Into<String>, port: u16) -> Result<HttpsClientSession> {
        let mut session = HttpsClientSession::new(host, port);
        session.http.connect_over(stream)?;
        Ok(session)
    }

    /// The context, if one was set: otherwise it is the [default one](TlsContext::default_client).
    pub fn context(&self) -> Option<TlsContext> {
        lock(&self.settings).context.clone()
    }

    /// Uses this context from the next connection on.
    pub fn set_context(&mut self, context: TlsContext) {
        lock(&self.settings).context = Some(context);
    }

    /// The name that the server is asked for and must prove, if it is another one than the host.
    #[doc(alias = "getPeerHostName")]
    pub fn server_name(&self) -> Option<String> {
        lock(&self.settings).server_name.clone()
    }

    /// Asks the server for another name than the session's host, and has it prove that one, from
    /// the next connection on: for a host that is an address, say. With `None`, the host it is
    /// again.
    #[doc(alias = "setPeerHostName")]
    pub fn set_server_name(&mut self, name: Option<&str>) -> Result<()> {
        if let Some(name) = name {
            crate::net::tls::server_name(name)?;
        }
        lock(&self.settings).server_name = name.map(str::to_owned);
        Ok(())
    }

    /// Whether the server is told which name is asked for (SNI), from the next connection on,
    /// whatever the context says. It must prove the name in any case. An address is never told.
    pub fn set_send_server_name(&mut self, send: bool) {
        lock(&self.settings).send_server_name = Some(send);
    }

    /// Whether content that ends with the connection may do so without the server saying so under
    /// TLS, as with Poco. Anybody on the way can then cut it short unnoticed. At once, and whatever
    /// the context says; off, unless set.
    #[doc(alias = "ignoreUnexpectedEof")]
    pub fn set_allow_truncated_close(&mut self, allow: bool) {
        lock(&self.settings).allow_truncated_close = Some(allow);
        if let Some(tls) = self.http.connection_mut().stream_mut().and_then(Stream::tls_mut) {
            tls.set_allow_truncated_close(allow);
        }
    }

    /// The server's certificate; there while there is a connection. Through a proxy
    /// [without a tunnel](ClientSession::set_proxy_tunnel) it is the proxy's.
    #[doc(alias = "serverCertificate")]
    pub fn server_certificate(&self) -> Option<Certificate> {
        self.connection().peer_certificate()
    }

    /// The server's certificate and those it sent along, towards the authority; empty without a
    /// connection.
    pub fn server_certificate_chain(&self) -> Vec<Certificate> {
        self.connection().with_tls(TlsStream::peer_chain).unwrap_or_default()
    }

    /// The session of TLS with the server, for another client session to take up; `None` before the
    /// first connection. The server may give what it takes for that only behind its first response
    /// (TLS 1.3).
    #[doc(alias = "sslSession")]
    pub fn tls_session(&self) -> Option<TlsSession> {
        let live = self.connection().with_tls(TlsStream::session).flatten();
        live.or_else(|| lock(&self.settings).session.clone())
    }

    /// Takes up this session of TLS at the next connect, instead of the one that the context keeps.
    /// One of another server, or of another context, is left aside.
    #[doc(alias = "useSession")]
    pub fn set_tls_session(&mut self, session: Option<TlsSession>) {
        lock(&self.settings).given = session.clone();
        if let Some(tls) = self.http.connection_mut().stream_mut().and_then(Stream::tls_mut) {
            // One that has begun has its session already.
            let _ = tls.set_session(session);
        }
    }

    /// Whether the connection there is took up an earlier session of TLS, instead of a full
    /// handshake.
    #[doc(alias = "sessionWasReused")]
    pub fn tls_session_was_reused(&self) -> bool {
        self.connection().with_tls(TlsStream::session_was_reused).unwrap_or(false)
    }

    /// Looks at the TLS of the connection there is: version, cipher suite, chain.
    pub fn with_tls<T>(&self, look: impl FnOnce(&TlsStream) -> T) -> Option<T> {
        self.connection().with_tls(look)
    }
}

/// What plain sessions can do too: see [`HttpClientSession`].
impl HttpsClientSession {
    /// When a request lost on a reused connection is made once more.
    pub fn retry_policy(&self) -> RetryPolicy {
        self.http.retry_policy()
    }

    /// Says when a request lost on a reused connection is made once more.
    pub fn set_retry_policy(&mut self, policy: RetryPolicy) {
        self.http.set_retry_policy(policy);
    }

    /// How long `peek_response` waits for `100 Continue`.
    pub fn expect_continue_timeout(&self) -> Duration {
        self.http.expect_continue_timeout()
    }

    /// Changes how long `peek_response` waits for `100 Continue` before the content is sent anyway.
    pub fn set_expect_continue_timeout(&mut self, timeout: Duration) {
        self.http.set_expect_continue_timeout(timeout);
    }

    /// Calls the function with each interim response (1xx).
    pub fn on_interim(&mut self, f: impl FnMut(&Response) + Send + 'static) {
        self.http.on_interim(f);
    }

    /// Resolves names by something else than the system. The server must still prove the name.
    pub fn set_resolver(&mut self, resolver: Arc<dyn Resolve>) {
        self.http.set_resolver(resolver);
    }

    /// How connections are made.
    pub fn connect_options_mut(&mut self) -> &mut ConnectOptions {
        self.http.connect_options_mut()
    }

    /// Whether the connection can't be used for another request.
    #[doc(alias = "mustReconnect")]
    pub fn must_reconnect(&self) -> bool {
        self.http.must_reconnect()
    }

    /// Makes a new connection to the host, closing the one there is: proxy, handshake and all.
    /// Blocks for at most the connect time-out.
    #[doc(alias = "connect")]
    pub fn reconnect(&mut self) -> Result<()> {
        self.http.reconnect()
    }

    /// Puts the head of a request into the buffer of the connection there is:
    /// [`HttpClientSession::send_request_impl`].
    #[doc(alias = "sendRequestImpl")]
    pub fn send_request_impl(&mut self, request: &Request) -> Result<BodyWriter<'_>> {
        self.http.send_request_impl(request)
    }

    /// What comes before the target of a request to a proxy: `https://host`, and the port unless it
    /// is 443. Empty where there is no proxy, or a tunnel.
    #[doc(alias = "proxyRequestPrefix")]
    pub fn proxy_request_prefix(&self) -> String {
        self.http.proxy_request_prefix()
    }

    /// Adds to a request what a proxy is told of the user; nothing with a tunnel, where that was
    /// said before.
    #[doc(alias = "proxyAuthenticate")]
    pub fn proxy_authenticate(&mut self, request: &mut Request) -> Result<()> {
        self.http.proxy_authenticate(request)
    }

    /// The same by a configuration other than the session's.
    #[doc(alias = "proxyAuthenticateImpl")]
    pub fn proxy_authenticate_impl(&mut self, request: &mut Request, proxy: &ProxyConfig) -> Result<()> {
        self.http.proxy_authenticate_impl(request, proxy)
    }

    /// Answers a proxy's Digest challenge for a request:
    /// [`HttpClientSession::proxy_authenticate_digest`].
    #[doc(alias = "proxyAuthenticateDigest")]
    pub fn proxy_authenticate_digest(&mut self, request: &mut Request) -> Result<()> {
        self.http.proxy_authenticate_digest(request)
    }

    /// The same for NTLM.
    #[doc(alias = "proxyAuthenticateNTLM")]
    pub fn proxy_authenticate_ntlm(&mut self, request: &mut Request) -> Result<()> {
        self.http.proxy_authenticate_ntlm(request)
    }

    /// Sends a copy of the request without content, to have a proxy make its challenge:
    /// [`HttpClientSession::send_challenge_request`].
    #[doc(alias = "sendChallengeRequest")]
    pub fn send_challenge_request(&mut self, request: &Request, response: &mut Response) -> Result<()> {
        self.http.send_challenge_request(request, response)
    }

    /// A connection through the proxy to the session's host, without TLS on it yet. The session
    /// stays as it is.
    #[doc(alias = "proxyConnect")]
    pub fn proxy_connect(&mut self) -> Result<Stream> {
        self.http.proxy_connect()
    }

    /// Goes through the proxy to the session's host, and puts TLS on the way.
    #[doc(alias = "proxyTunnel")]
    pub fn proxy_tunnel(&mut self) -> Result<()> {
        self.http.proxy_tunnel()
    }
}

impl Session for HttpsClientSession {
    fn connection(&self) -> &Connection {
        self.http.connection()
    }

    fn connection_mut(&mut self) -> &mut Connection {
        self.http.connection_mut()
    }
}

impl ClientSession for HttpsClientSession {
    fn host(&self) -> &str {
        self.http.host()
    }

    fn set_host(&mut self, host: &str) -> Result<()> {
        self.http.set_host(host)
    }

    fn port(&self) -> u16 {
        self.http.port()
    }

    fn set_port(&mut self, port: u16) -> Result<()> {
        self.http.set_port(port)
    }

    fn send_request(&mut self, request: &Request) -> Result<BodyWriter<'_>> {
        self.http.send_request(request)
    }

    fn request_body(&mut self) -> BodyWriter<'_> {
        self.http.request_body()
    }

    fn receive_response(&mut self, response: &mut Response) -> Result<BodyReader<'_>> {
        self.http.receive_response(response)
    }

    fn peek_response(&mut self, response: &mut Response) -> Result<bool> {
        self.http.peek_response(response)
    }

    fn flush_request(&mut self) -> Result<()> {
        self.http.flush_request()
    }

    fn proxy_config(&self) -> &ProxyConfig {
        self.http.proxy_config()
    }

    fn set_proxy_config(&mut self, proxy: ProxyConfig) -> Result<()> {
        self.http.set_proxy_config(proxy)
    }

    fn set_proxy_credentials(&mut self, username: &str, password: &str) {
        self.http.set_proxy_credentials(username, password);
    }

    fn reset(&mut self) {
        self.http.reset();
    }

    fn is_secure(&self) -> bool {
        self.http.is_secure()
    }

    fn keep_alive_timeout(&self) -> Duration {
        self.http.keep_alive_timeout()
    }

    fn set_keep_alive_timeout(&mut self, timeout: Duration) {
        self.http.set_keep_alive_timeout(timeout);
    }

    fn set_source_address(&mut self, address: SocketAddr) -> Result<()> {
        self.http.set_source_address(address)
    }

    fn source_address(&self) -> Option<SocketAddr> {
        self.http.source_address()
    }

    fn source_address4(&self) -> Option<SocketAddrV4> {
        self.http.source_address4()
    }

    fn source_address6(&self) -> Option<SocketAddrV6> {
        self.http.source_address6()
    }

    fn exchange<'a>(
        &'a mut self,
        request: &Request,
        content: &'a mut (dyn Read + Send),
        response: &mut Response,
    ) -> Result<BodyReader<'a>> {
        self.http.exchange(request, content, response)
    }
}

impl fmt::Debug for HttpsClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpsClientSession").field(&self.http).finish()
    }
}
