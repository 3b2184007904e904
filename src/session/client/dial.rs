//! The way to the server: resolving, connecting, proxies, and the layer on top.
//!
//! Makes streams; what is sent on them is no concern of this file, but for what a proxy must
//! be told before it connects.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::proxy::{ProxyConfig, ProxyProtocol};
use super::super::timeouts::limited;
use super::super::{HTTP_PORT, socks, tunnel};
use super::host_with_port;
use crate::auth::HttpCredentials;
#[cfg(feature = "_tls")]
use crate::net::tls::TlsContext;
use crate::net::{self, ConnectOptions, Deadline, Limit, Resolve, Stream, SystemResolver};
use crate::{Phase, Result};

/// What stands between a connected stream and the session, where that is not nothing: TLS.
pub(crate) trait Layer: Send + fmt::Debug {
    /// The port that the scheme implies.
    fn default_port(&self) -> u16;

    /// Whether nobody on the way to the peer can read or change what is sent.
    fn is_secure(&self) -> bool;

    /// Puts the layer on a stream that is connected to this peer. What it has to wait for is waited
    /// for with the first read or write. A stream that has one already is left as it is.
    #[cfg_attr(not(feature = "_tls"), allow(dead_code, reason = "TLS is the only layer"))]
    fn begin(&self, stream: Stream, peer: Peer<'_>) -> Result<Stream>;

    /// Turns a stream that is connected to this peer into the one that HTTP is spoken on, within the
    /// limit. What stops calls on the stream stops this one too. Errors say their phase.
    fn establish(&self, stream: Stream, peer: Peer<'_>, limit: &Limit) -> Result<Stream>;
}

/// Whom a layer is put up with.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "_tls"), allow(dead_code, reason = "TLS is the only layer"))]
pub(crate) struct Peer<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// A proxy, on the way to the server or in its place.
    pub(crate) is_proxy: bool,
}

/// How connections are made.
pub(super) struct Dialer {
    pub(super) layer: Option<Box<dyn Layer>>,
    pub(super) unix: Option<PathBuf>,
    pub(super) resolver: Arc<dyn Resolve>,
    pub(super) options: ConnectOptions,
    pub(super) proxy: ProxyConfig,
    /// Answers to the proxy's challenges, kept over connections: a nonce serves many.
    pub(super) proxy_credentials: Option<HttpCredentials>,
    /// Whom to trust as an HTTPS proxy, where the session itself has no layer that knows.
    #[cfg(feature = "_tls")]
    pub(super) proxy_context: Option<TlsContext>,
}

/// How a request gets to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Direct,
    /// The proxy gets the request itself, in absolute-form.
    Forward,
    /// The proxy passes bytes on.
    Tunnel,
}

impl Dialer {
    pub(super) fn new() -> Dialer {
        Dialer {
            layer: None,
            unix: None,
            resolver: Arc::new(SystemResolver),
            options: ConnectOptions::default(),
            proxy: ProxyConfig::none(),
            proxy_credentials: None,
            #[cfg(feature = "_tls")]
            proxy_context: None,
        }
    }

    pub(super) fn default_port(&self) -> u16 {
        self.layer.as_ref().map_or(HTTP_PORT, |layer| layer.default_port())
    }

    pub(super) fn set_proxy(&mut self, proxy: ProxyConfig) {
        self.proxy_credentials = tunnel::credentials(&proxy);
        self.proxy = proxy;
    }

    pub(super) fn route(&self, host: &str) -> Route {
        if self.unix.is_some() || !self.proxy.is_some() || self.proxy.bypasses(host) {
            Route::Direct
        } else if self.proxy.protocol().is_socks() || self.layer.is_some() && self.proxy.tunnel() {
            Route::Tunnel
        } else {
            Route::Forward
        }
    }

    /// Whether nobody but the server can read what is sent.
    pub(super) fn is_secure(&self, host: &str) -> bool {
        self.route(host) != Route::Forward && self.layer.as_ref().is_some_and(|layer| layer.is_secure())
    }

    /// A stream on which HTTP can be spoken with the server, or with the proxy in its place.
    pub(super) fn dial(&mut self, host: &str, port: u16, within: tunnel::Within<'_>) -> Result<Stream> {
        let limit = limited(within.timeouts.connect).map_or(Deadline::never(), Deadline::after);
        let within = tunnel::Within { deadline: within.deadline.earlier(limit), ..within };
        let route = self.route(host);
        let stream = match (&self.unix, route) {
            (Some(path), _) => {
                within.observe(Phase::Connect);
                Stream::Unix(net::connect_unix(path, &self.options, within.deadline, within.abort)?)
            }
            (None, Route::Direct) => self.connect(host, port, &within)?,
            // The layer is put up with the proxy below; once is enough.
            (None, Route::Forward) if self.layer.is_some() => {
                self.connect(self.proxy.host(), self.proxy.port(), &within)?
            }
            (None, Route::Forward) => self.connect_to_proxy(&within)?,
            (None, Route::Tunnel) => self.tunnel(host, port, &within)?,
        };
        // Without a tunnel the proxy is who the layer speaks with.
        let peer = match route {
            Route::Forward => Peer { host: self.proxy.host(), port: self.proxy.port(), is_proxy: true },
            Route::Direct | Route::Tunnel => Peer { host, port, is_proxy: false },
        };
        match &self.layer {
            Some(layer) => {
                within.observe(Phase::Handshake);
                layer.establish(stream, peer, &within.limit())
            }
            None => Ok(stream),
        }
    }

    /// A stream through which the proxy passes bytes to the server and back.
    pub(super) fn tunnel(&mut self, host: &str, port: u16, within: &tunnel::Within<'_>) -> Result<Stream> {
        if self.proxy.protocol().is_socks() {
            return self.socks(host, port, within);
        }
        let mut credentials = self.proxy_credentials.take();
        let authority = host_with_port(host, port);
        let mut dial = || {
            let stream = self.connect_to_proxy(within);
            within.observe(Phase::Proxy);
            stream
        };
        let stream = tunnel::open(&mut dial, &authority, &self.proxy, credentials.as_mut(), within);
        self.proxy_credentials = credentials;
        stream
    }

    fn socks(&self, host: &str, port: u16, within: &tunnel::Within<'_>) -> Result<Stream> {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let address = match host.parse() {
            Ok(ip) => Some(SocketAddr::new(ip, port)),
            Err(_) if self.proxy.protocol() == ProxyProtocol::Socks5h => None,
            Err(_) => self.resolve(host, port, within)?.first().copied(),
        };
        let target = address.map_or(socks::Target::Name(host, port), socks::Target::Address);
        let login =
            (!self.proxy.username().is_empty()).then(|| (self.proxy.username(), self.proxy.password()));
        let mut stream = self.connect(self.proxy.host(), self.proxy.port(), within)?;
        within.observe(Phase::Proxy);
        socks::connect(&mut stream, target, login, &within.limit())?;
        Ok(stream)
    }

    fn connect_to_proxy(&self, within: &tunnel::Within<'_>) -> Result<Stream> {
        let (host, port) = (self.proxy.host(), self.proxy.port());
        let stream = self.connect(host, port, within)?;
        match self.proxy.protocol() {
            ProxyProtocol::Https => {
                within.observe(Phase::Handshake);
                let peer = Peer { host, port, is_proxy: true };
                match &self.layer {
                    Some(layer) => layer.establish(stream, peer, &within.limit()),
                    None => self.proxy_layer()?.establish(stream, peer, &within.limit()),
                }
            }
            _ => Ok(stream),
        }
    }

    fn connect(&self, host: &str, port: u16, within: &tunnel::Within<'_>) -> Result<Stream> {
        let addresses = self.resolve(host, port, within)?;
        within.observe(Phase::Connect);
        let socket = net::connect(&addresses, &self.options, within.deadline, within.abort);
        Ok(Stream::Tcp(socket.map_err(|error| error.with_phase(Phase::Connect))?))
    }

    fn resolve(&self, host: &str, port: u16, within: &tunnel::Within<'_>) -> Result<Vec<SocketAddr>> {
        within.observe(Phase::Resolve);
        net::resolve(host, port, &self.resolver, within.deadline, within.abort)
            .map_err(|error| error.with_phase(Phase::Resolve))
    }

    /// TLS to an HTTPS proxy, which is trusted as any server is.
    #[cfg(feature = "_tls")]
    fn proxy_layer(&self) -> Result<Box<dyn Layer>> {
        Ok(Box::new(super::super::https::TlsLayer::with_context(self.proxy_context.clone())))
    }

    /// TLS to an HTTPS proxy, which is trusted as any server is.
    #[cfg(not(feature = "_tls"))]
    #[allow(clippy::unused_self, reason = "with TLS it says whom to trust")]
    fn proxy_layer(&self) -> Result<Box<dyn Layer>> {
        Err(crate::Error::unsupported("an https proxy needs the feature tls"))
    }
}
