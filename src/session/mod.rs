//! Sessions: one connection and the exchanges on it.
//!
//! [`Session`] is what client and server have in common, [`ClientSession`] sends requests and
//! receives responses, [`ServerSession`] the other way round. All three are object-safe, so a
//! `Box<dyn ClientSession>` can be any of them. The methods that Poco's classes share live in
//! the traits; [`HttpClientSession`] and [`HttpServerSession`] add what is theirs alone.
//!
//! A session never mixes up messages: what was left unread or unwritten of one exchange is
//! settled before the next one begins, or the connection is closed.

mod body;
mod client;
mod connection;
mod detached;
#[cfg(feature = "_tls")]
mod https;
mod incoming;
mod observer;
mod outgoing;
mod owned;
mod proxy;
mod server;
mod socks;
mod timeouts;
mod tunnel;

use std::any::Any;
use std::fmt;
use std::io::Read;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::Duration;

pub use body::{BodyReader, BodyWriter};
pub use client::{HttpClientSession, RetryPolicy};
pub use connection::Connection;
pub use detached::Detached;
#[cfg(feature = "_tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use https::HttpsClientSession;
pub use observer::Observer;
pub use owned::OwnedResponseStream;
pub use proxy::{ProxyConfig, ProxyProtocol};
pub use server::{HttpServerSession, ServerSessionParams};
pub(crate) use server::{ResponseSender, http_date};
pub use timeouts::Timeouts;

use crate::message::{HeaderMap, Request, Response};
use crate::net::{AbortHandle, Stream};
use crate::{Error, Result};

/// The port of `http` URIs.
pub const HTTP_PORT: u16 = 80;

/// The port of `https` URIs.
pub const HTTPS_PORT: u16 = 443;

/// How long a client keeps an idle connection before it makes a new one rather than trust it.
pub const DEFAULT_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(8);

/// What all sessions have: a connection, its time-outs, and ways to end and to leave it.
///
/// Only the first two methods need be written by those who make their own kind of session.
///
/// ```
/// use std::time::Duration;
/// use sessile::session::{HttpClientSession, Session};
///
/// fn configure(session: &mut dyn Session) {
///     session.set_timeout(Duration::from_secs(5));
///     session.set_keep_alive(false);
/// }
///
/// let mut session = HttpClientSession::new("example.com", 80);
/// configure(&mut session);
/// assert_eq!(session.timeouts().connect, Duration::from_secs(5));
/// assert!(!session.is_connected());
/// ```
#[doc(alias = "HTTPSession")]
pub trait Session: Send {
    /// The connection below.
    fn connection(&self) -> &Connection;

    /// The connection below.
    fn connection_mut(&mut self) -> &mut Connection;

    /// Whether the connection is to serve several exchanges. On by default (Poco: off).
    #[doc(alias = "getKeepAlive")]
    fn keep_alive(&self) -> bool {
        self.connection().keep_alive()
    }

    /// Says whether the connection is to serve several exchanges. Takes effect with the next
    /// message.
    #[doc(alias = "setKeepAlive")]
    fn set_keep_alive(&mut self, keep_alive: bool) {
        self.connection_mut().set_keep_alive(keep_alive);
    }

    /// How long calls may take.
    fn timeouts(&self) -> Timeouts {
        self.connection().timeouts()
    }

    /// Changes how long calls may take; at once, on a live connection too (Poco: at the next
    /// connect).
    #[doc(alias = "setTimeout")]
    fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.connection_mut().set_timeouts(timeouts);
    }

    /// The receive time-out.
    #[doc(alias = "getTimeout")]
    fn timeout(&self) -> Duration {
        self.timeouts().receive
    }

    /// Sets the connect, send and receive time-outs to one value; zero is no limit. The
    /// limit on the whole exchange stays.
    #[doc(alias = "setTimeout")]
    fn set_timeout(&mut self, limit: Duration) {
        let total = self.timeouts().total;
        self.set_timeouts(Timeouts { total, ..Timeouts::all(limit) });
    }

    /// Changes how long connecting may take.
    #[doc(alias = "setConnectTimeout")]
    fn set_connect_timeout(&mut self, connect: Duration) {
        let timeouts = self.timeouts();
        self.set_timeouts(Timeouts { connect, ..timeouts });
    }

    /// How long connecting may take.
    #[doc(alias = "getConnectTimeout")]
    fn connect_timeout(&self) -> Duration {
        self.timeouts().connect
    }

    /// Changes how long one write may stall.
    #[doc(alias = "setSendTimeout")]
    fn set_send_timeout(&mut self, send: Duration) {
        let timeouts = self.timeouts();
        self.set_timeouts(Timeouts { send, ..timeouts });
    }

    /// How long one write may stall.
    #[doc(alias = "getSendTimeout")]
    fn send_timeout(&self) -> Duration {
        self.timeouts().send
    }

    /// Changes how long one read may stall.
    #[doc(alias = "setReceiveTimeout")]
    fn set_receive_timeout(&mut self, receive: Duration) {
        let timeouts = self.timeouts();
        self.set_timeouts(Timeouts { receive, ..timeouts });
    }

    /// How long one read may stall.
    #[doc(alias = "getReceiveTimeout")]
    fn receive_timeout(&self) -> Duration {
        self.timeouts().receive
    }

    /// Whether there is a connection. The peer may have closed it: see
    /// [`Connection::is_reusable`].
    #[doc(alias = "connected")]
    fn is_connected(&self) -> bool {
        self.connection().is_connected()
    }

    /// A handle that ends blocked calls of this session from another thread.
    #[doc(alias = "abort")]
    fn abort_handle(&self) -> AbortHandle {
        self.connection().abort_handle()
    }

    /// Ends the session's connection: calls fail with `Aborted` until
    /// [`reset`](ClientSession::reset). Without a connection, and a second time, it does the
    /// same (Poco throws).
    fn abort(&mut self) {
        self.abort_handle().abort();
    }

    /// The last error of the network or the protocol; cleared by the next request.
    #[doc(alias = "networkException")]
    fn last_error(&self) -> Option<&Error> {
        self.connection().last_error()
    }

    /// Attaches any value to the session; it stays over reconnects.
    #[doc(alias = "attachSessionData")]
    fn attach_session_data(&mut self, data: Box<dyn Any + Send>) {
        self.connection_mut().attach_data(data);
    }

    /// The attached value.
    #[doc(alias = "sessionData")]
    fn session_data(&self) -> Option<&(dyn Any + Send)> {
        self.connection().data()
    }

    /// The stream of the connection: its addresses, its socket's options. What is read from
    /// or written to it directly is missing in the session.
    fn socket(&mut self) -> Option<&mut Stream> {
        self.connection_mut().stream_mut()
    }

    /// Takes the connection out of the session, with what was already read from it.
    /// `IllegalState` without one. From then on the session's handle to
    /// [abort](Session::abort_handle) stops the session's next connection, not this one, which
    /// has [its own](Detached::abort_handle).
    #[doc(alias = "detachSocket")]
    fn detach_socket(&mut self) -> Result<Detached> {
        self.connection_mut().detach_socket()
    }

    /// The unread bytes of the read buffer; it is empty afterwards.
    #[doc(alias = "drainBuffer")]
    fn drain_buffer(&mut self) -> Vec<u8> {
        self.connection_mut().drain_buffer()
    }
}

/// A session that sends requests and receives responses.
///
/// ```no_run
/// use std::io;
/// use sessile::message::{Request, Response};
/// use sessile::session::ClientSession;
///
/// fn get(session: &mut dyn ClientSession, target: &str) -> sessile::Result<u64> {
///     session.send_request(&Request::get(target))?;
///     let mut response = Response::new();
///     Ok(io::copy(&mut session.receive_response(&mut response)?, &mut io::stdout())?)
/// }
/// ```
#[doc(alias = "HTTPClientSession")]
pub trait ClientSession: Session {
    /// The host, as it was given.
    #[doc(alias = "getHost")]
    fn host(&self) -> &str;

    /// Changes the host. `IllegalState` while connected: [`reset`](ClientSession::reset) first.
    #[doc(alias = "setHost")]
    fn set_host(&mut self, host: &str) -> Result<()>;

    /// The port.
    #[doc(alias = "getPort")]
    fn port(&self) -> u16;

    /// Changes the port. `IllegalState` while connected.
    #[doc(alias = "setPort")]
    fn set_port(&mut self, port: u16) -> Result<()>;

    /// Sends the head of a request and returns where its content is written.
    ///
    /// Connects first, where there is no connection that can be reused; that may take the
    /// connect time-out. What is left of the exchange before is settled. The head and the
    /// content stay in the buffer until it is full, until `flush`, or until the response is
    /// received: a session that is dropped before loses them.
    ///
    /// The request is not changed; `Host`, `Connection` and what a proxy needs are added on
    /// the wire. Content needs `Content-Length` or chunked coding
    /// ([`set_chunked`](crate::message::Message::set_chunked)): writing without is
    /// `InvalidArgument`. A request for another protocol (`Upgrade`) goes through a tunnel, where
    /// the proxy would get others itself.
    ///
    /// After an error the session has no connection, and makes one for the next request.
    #[doc(alias = "sendRequest")]
    fn send_request(&mut self, request: &Request) -> Result<BodyWriter<'_>>;

    /// The writer of the request's content once more, for who gave it away: after
    /// [`peek_response`](ClientSession::peek_response), say.
    fn request_body(&mut self) -> BodyWriter<'_>;

    /// Ends the request, receives the head of its final response into `response`, and
    /// returns the content.
    ///
    /// Interim responses (1xx) are skipped, but for a `101` that was asked for. Blocks for at
    /// most the receive time-out until the head begins, and as long again until it is
    /// complete. `IllegalState` without a request. Status codes of 400 and above are no
    /// errors.
    ///
    /// A request on a reused connection that ends before the first byte of the response is
    /// made once more, on a new connection, where the [`RetryPolicy`] allows it.
    #[doc(alias = "receiveResponse")]
    fn receive_response(&mut self, response: &mut Response) -> Result<BodyReader<'_>>;

    /// Waits for `100 Continue`, for requests that expect it. `true`: send the content
    /// ([`request_body`](ClientSession::request_body)); also when the server says nothing
    /// for the [expect-continue time-out](HttpClientSession::set_expect_continue_timeout).
    /// `false`: `response` holds the final response; call `receive_response` with it for its
    /// content. The connection is closed after that, because the server can't tell whether
    /// the content will still come.
    #[doc(alias = "peekResponse")]
    fn peek_response(&mut self, response: &mut Response) -> Result<bool>;

    /// Ends the request: the last chunk goes into the buffer. Less content than announced is
    /// `Incomplete`, and costs the connection.
    #[doc(alias = "flushRequest")]
    fn flush_request(&mut self) -> Result<()>;

    /// Sends a request with content from a reader while the response is read: for servers
    /// that answer as they read, at any volume and in constant memory. The upload moves on
    /// whenever the returned body is read and the server has nothing to say. Where the response
    /// ends first, or is a refusal (3xx, 4xx, 5xx), the rest of the content is not sent, and the
    /// connection is closed.
    ///
    /// An error of the reader's comes out of this call, or of reading the body, as it is.
    fn exchange<'a>(
        &'a mut self,
        request: &Request,
        content: &'a mut (dyn Read + Send),
        response: &mut Response,
    ) -> Result<BodyReader<'a>>;

    /// The proxy that the session goes through; one without a host is none.
    #[doc(alias = "getProxyConfig")]
    fn proxy_config(&self) -> &ProxyConfig;

    /// Changes the proxy. `IllegalState` while connected.
    #[doc(alias = "setProxyConfig")]
    fn set_proxy_config(&mut self, proxy: ProxyConfig) -> Result<()>;

    /// Changes the proxy's host and port. `IllegalState` while connected.
    #[doc(alias = "setProxy")]
    fn set_proxy(&mut self, host: &str, port: u16) -> Result<()> {
        let mut proxy = self.proxy_config().clone();
        proxy.set_host(host).set_port(port);
        self.set_proxy_config(proxy)
    }

    /// The proxy's host; empty for no proxy.
    #[doc(alias = "getProxyHost")]
    fn proxy_host(&self) -> &str {
        self.proxy_config().host()
    }

    /// Changes the proxy's host. `IllegalState` while connected.
    #[doc(alias = "setProxyHost")]
    fn set_proxy_host(&mut self, host: &str) -> Result<()> {
        let port = self.proxy_port();
        self.set_proxy(host, port)
    }

    /// The proxy's port.
    #[doc(alias = "getProxyPort")]
    fn proxy_port(&self) -> u16 {
        self.proxy_config().port()
    }

    /// Changes the proxy's port. `IllegalState` while connected.
    #[doc(alias = "setProxyPort")]
    fn set_proxy_port(&mut self, port: u16) -> Result<()> {
        let mut proxy = self.proxy_config().clone();
        proxy.set_port(port);
        self.set_proxy_config(proxy)
    }

    /// What is spoken with the proxy.
    #[doc(alias = "getProxyProtocol")]
    fn proxy_protocol(&self) -> ProxyProtocol {
        self.proxy_config().protocol()
    }

    /// Changes what is spoken with the proxy. `IllegalState` while connected.
    #[doc(alias = "setProxyProtocol")]
    fn set_proxy_protocol(&mut self, protocol: ProxyProtocol) -> Result<()> {
        let mut proxy = self.proxy_config().clone();
        proxy.set_protocol(protocol);
        self.set_proxy_config(proxy)
    }

    /// Whether `https` goes through a tunnel.
    #[doc(alias = "isProxyTunnel")]
    fn is_proxy_tunnel(&self) -> bool {
        self.proxy_config().tunnel()
    }

    /// Says whether `https` goes through a tunnel. `IllegalState` while connected.
    #[doc(alias = "setProxyTunnel")]
    fn set_proxy_tunnel(&mut self, tunnel: bool) -> Result<()> {
        let mut proxy = self.proxy_config().clone();
        proxy.set_tunnel(tunnel);
        self.set_proxy_config(proxy)
    }

    /// Sets the user's name and password for the proxy; from the next request on, while
    /// connected too.
    #[doc(alias = "setProxyCredentials")]
    fn set_proxy_credentials(&mut self, username: &str, password: &str);

    /// The user's name for the proxy.
    #[doc(alias = "getProxyUsername")]
    fn proxy_username(&self) -> &str {
        self.proxy_config().username()
    }

    /// Changes the user's name for the proxy.
    #[doc(alias = "setProxyUsername")]
    fn set_proxy_username(&mut self, username: &str) {
        let password = self.proxy_password().to_owned();
        self.set_proxy_credentials(username, &password);
    }

    /// The user's password for the proxy.
    #[doc(alias = "getProxyPassword")]
    fn proxy_password(&self) -> &str {
        self.proxy_config().password()
    }

    /// Changes the user's password for the proxy.
    #[doc(alias = "setProxyPassword")]
    fn set_proxy_password(&mut self, password: &str) {
        let username = self.proxy_username().to_owned();
        self.set_proxy_credentials(&username, password);
    }

    /// Whether the proxy is left aside for the session's host.
    #[doc(alias = "bypassProxy")]
    fn bypass_proxy(&self) -> bool {
        self.proxy_config().bypasses(self.host())
    }

    /// Closes the connection and forgets the exchange on it; the session can be used again,
    /// after an abort too.
    fn reset(&mut self);

    /// Whether the connection to the origin is under TLS.
    #[doc(alias = "secure")]
    fn is_secure(&self) -> bool {
        false
    }

    /// How long an idle connection is reused, from the end of the last exchange.
    #[doc(alias = "getKeepAliveTimeout")]
    fn keep_alive_timeout(&self) -> Duration;

    /// Changes how long an idle connection is reused; zero is never.
    #[doc(alias = "setKeepAliveTimeout")]
    fn set_keep_alive_timeout(&mut self, timeout: Duration);

    /// Sets the address to connect from, one for each family. `IllegalState` while connected.
    #[doc(alias = "setSourceAddress")]
    fn set_source_address(&mut self, address: SocketAddr) -> Result<()>;

    /// The source address set last.
    #[doc(alias = "getSourceAddress")]
    fn source_address(&self) -> Option<SocketAddr>;

    /// The source address for IPv4.
    #[doc(alias = "getSourceAddress4")]
    fn source_address4(&self) -> Option<SocketAddrV4>;

    /// The source address for IPv6.
    #[doc(alias = "getSourceAddress6")]
    fn source_address6(&self) -> Option<SocketAddrV6>;

    /// Trailer fields of the request; to be set before its content ends.
    #[doc(alias = "requestTrailer")]
    fn request_trailer_mut(&mut self) -> &mut HeaderMap {
        self.connection_mut().sent_trailers_mut()
    }

    /// Trailer fields of the response; there once its content was read.
    #[doc(alias = "responseTrailer")]
    fn response_trailer(&self) -> &HeaderMap {
        self.connection().received_trailers()
    }

    /// The address the connection comes from. `IllegalState` without one.
    #[doc(alias = "clientAddress")]
    fn client_address(&self) -> Result<SocketAddr> {
        self.connection().local_address().ok_or_else(body::no_connection)
    }

    /// The address the connection goes to. `IllegalState` without one.
    #[doc(alias = "serverAddress")]
    fn server_address(&self) -> Result<SocketAddr> {
        self.connection().peer_address().ok_or_else(body::no_connection)
    }
}

impl fmt::Debug for dyn ClientSession + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSession")
            .field("host", &self.host())
            .field("port", &self.port())
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

/// A session that receives requests and sends responses.
#[doc(alias = "HTTPServerSession")]
pub trait ServerSession: Session {
    /// Settles the last exchange and waits for another request: for the first one as long as
    /// the receive time-out, for later ones as long as the keep-alive time-out. `false`: there
    /// is none, and none will come.
    #[doc(alias = "hasMoreRequests")]
    fn has_more_requests(&mut self) -> Result<bool>;

    /// Receives the head of a request and returns its content. An error's
    /// [`status_hint`](Error::status_hint) is what to answer before closing. Blocks as
    /// [`has_more_requests`](ServerSession::has_more_requests) does where that was not asked
    /// before. `IllegalState` while the request before is unanswered, and on a connection that
    /// serves no more: after an error, or a response that said `close`.
    fn receive_request(&mut self, request: &mut Request) -> Result<BodyReader<'_>>;

    /// Sends the head of the response and returns where its content is written. `Date`,
    /// `Connection` and the framing are added on the wire: a response without a length that
    /// ends within 16 KiB gets one, a longer one is chunked, or ends with the connection for
    /// an HTTP/1.0 client.
    fn send_response(&mut self, response: &Response) -> Result<BodyWriter<'_>>;

    /// Whether the connection may serve another request after this one.
    #[doc(alias = "canKeepAlive")]
    fn can_keep_alive(&self) -> bool;

    /// Trailer fields of the request; there once its content was read.
    #[doc(alias = "requestTrailer")]
    fn request_trailer(&self) -> &HeaderMap {
        self.connection().received_trailers()
    }

    /// Trailer fields of the response; to be set before its content ends.
    #[doc(alias = "responseTrailer")]
    fn response_trailer_mut(&mut self) -> &mut HeaderMap {
        self.connection_mut().sent_trailers_mut()
    }

    /// The address of the client. `IllegalState` without a connection.
    #[doc(alias = "clientAddress")]
    fn client_address(&self) -> Result<SocketAddr> {
        self.connection().peer_address().ok_or_else(body::no_connection)
    }

    /// The address the client connected to. `IllegalState` without a connection.
    #[doc(alias = "serverAddress")]
    fn server_address(&self) -> Result<SocketAddr> {
        self.connection().local_address().ok_or_else(body::no_connection)
    }
}
