//! Sessions made from URIs, by scheme.
//!
//! Poco's registry of instantiators. The pool makes its sessions through one, so that a program
//! can bring its own.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::message::{Scheme, Uri};
#[cfg(feature = "_tls")]
use crate::net::tls::TlsContext;
use crate::net::{ConnectOptions, Resolve};
use crate::proto::Limits;
#[cfg(feature = "_tls")]
use crate::session::HttpsClientSession;
use crate::session::{ClientSession, HttpClientSession, ProxyConfig, RetryPolicy};
use crate::{Error, ErrorKind, Result};

/// Makes sessions for the URIs of one scheme. Closures are instantiators.
///
/// ```
/// use sessile::client::SessionInstantiator;
/// use sessile::message::Uri;
/// use sessile::session::{ClientSession, HttpClientSession, ProxyConfig};
///
/// let instantiator = |uri: &Uri, _: &ProxyConfig| -> sessile::Result<Box<dyn ClientSession>> {
///     Ok(Box::new(HttpClientSession::new(uri.host(), uri.port())))
/// };
/// let uri = "http://example.com/".parse()?;
/// assert_eq!(instantiator.create_client_session(&uri, &ProxyConfig::none())?.host(), "example.com");
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPSessionInstantiator")]
pub trait SessionInstantiator: Send + Sync {
    /// A session to where the URI points, through this proxy if it has a host. Not connected.
    #[doc(alias = "createClientSession")]
    fn create_client_session(&self, uri: &Uri, proxy: &ProxyConfig) -> Result<Box<dyn ClientSession>>;
}

impl<F> SessionInstantiator for F
where
    F: Fn(&Uri, &ProxyConfig) -> Result<Box<dyn ClientSession>> + Send + Sync,
{
    fn create_client_session(&self, uri: &Uri, proxy: &ProxyConfig) -> Result<Box<dyn ClientSession>> {
        self(uri, proxy)
    }
}

impl fmt::Debug for dyn SessionInstantiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dyn SessionInstantiator")
    }
}

/// What new sessions start with.
#[derive(Clone, Default)]
pub(super) struct SessionOptions {
    pub(super) resolver: Option<Arc<dyn Resolve>>,
    pub(super) connect: ConnectOptions,
    pub(super) retry: RetryPolicy,
    pub(super) limits: Option<Limits>,
    pub(super) keep_alive: Option<Duration>,
    /// For `https` servers, and for `https` proxies to any.
    #[cfg(feature = "_tls")]
    pub(super) tls: Option<TlsContext>,
}

impl SessionOptions {
    fn apply(&self, session: &mut HttpClientSession) {
        session.set_retry_policy(self.retry);
        *session.connect_options_mut() = self.connect.clone();
        if let Some(resolver) = &self.resolver {
            session.set_resolver(resolver.clone());
        }
        #[cfg(feature = "_tls")]
        if let Some(context) = &self.tls {
            session.set_proxy_context(context.clone());
        }
        self.apply_shared(session);
    }

    #[cfg(feature = "_tls")]
    fn apply_secure(&self, session: &mut HttpsClientSession) {
        if let Some(context) = &self.tls {
            session.set_context(context.clone());
        }
        session.set_retry_policy(self.retry);
        *session.connect_options_mut() = self.connect.clone();
        if let Some(resolver) = &self.resolver {
            session.set_resolver(resolver.clone());
        }
        self.apply_shared(session);
    }

    /// What every kind of session can be told.
    fn apply_shared(&self, session: &mut dyn ClientSession) {
        if let Some(limits) = &self.limits {
            session.connection_mut().set_limits(limits.clone());
        }
        if let Some(keep_alive) = self.keep_alive {
            session.set_keep_alive_timeout(keep_alive);
        }
    }
}

/// Makes plain sessions, over TCP (`http`) and over Unix sockets (`http+unix`).
///
/// ```
/// use sessile::client::{HttpSessionInstantiator, SessionFactory};
///
/// HttpSessionInstantiator::register();
/// let session = SessionFactory::global().create_client_session(&"http://example.com:8080/".parse()?)?;
/// assert_eq!((session.host(), session.port()), ("example.com", 8080));
/// HttpSessionInstantiator::unregister()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, Default)]
#[doc(alias = "HTTPSessionInstantiator")]
pub struct HttpSessionInstantiator {
    options: SessionOptions,
}

impl HttpSessionInstantiator {
    /// One whose sessions have all that is default.
    pub fn new() -> HttpSessionInstantiator {
        HttpSessionInstantiator::default()
    }

    pub(super) fn with_options(options: SessionOptions) -> HttpSessionInstantiator {
        HttpSessionInstantiator { options }
    }

    /// Registers one with the [global factory](SessionFactory::global).
    #[doc(alias = "registerInstantiator")]
    pub fn register() {
        SessionFactory::global().register_protocol("http", Arc::new(HttpSessionInstantiator::new()));
    }

    /// Takes it away again.
    #[doc(alias = "unregisterInstantiator")]
    pub fn unregister() -> Result<()> {
        SessionFactory::global().unregister_protocol("http")
    }
}

impl SessionInstantiator for HttpSessionInstantiator {
    fn create_client_session(&self, uri: &Uri, proxy: &ProxyConfig) -> Result<Box<dyn ClientSession>> {
        let mut session = match (uri.scheme(), uri.unix_path()) {
            (Scheme::Http, _) => HttpClientSession::new(uri.host(), uri.port()),
            (_, Some(path)) => HttpClientSession::with_unix_path(path.into_owned()),
            _ => return Err(unknown_scheme(uri)),
        };
        if proxy.is_some() {
            session.set_proxy_config(proxy.clone())?;
        }
        self.options.apply(&mut session);
        Ok(Box::new(session))
    }
}

impl fmt::Debug for HttpSessionInstantiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSessionInstantiator").finish_non_exhaustive()
    }
}

/// Makes sessions over TLS (`https`).
///
/// ```
/// use sessile::client::{HttpsSessionInstantiator, SessionFactory};
///
/// HttpsSessionInstantiator::register(None);
/// let session = SessionFactory::global().create_client_session(&"https://example.com/".parse()?)?;
/// assert_eq!((session.port(), session.is_secure()), (443, true));
/// HttpsSessionInstantiator::unregister()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[cfg(feature = "_tls")]
#[derive(Clone, Default)]
#[doc(alias = "HTTPSSessionInstantiator")]
pub struct HttpsSessionInstantiator {
    options: SessionOptions,
}

#[cfg(feature = "_tls")]
impl HttpsSessionInstantiator {
    /// One whose sessions have the [default context](TlsContext::default_client).
    pub fn new() -> HttpsSessionInstantiator {
        HttpsSessionInstantiator::default()
    }

    /// One whose sessions have this context.
    pub fn with_context(context: TlsContext) -> HttpsSessionInstantiator {
        HttpsSessionInstantiator::with_options(SessionOptions {
            tls: Some(context),
            ..SessionOptions::default()
        })
    }

    pub(super) fn with_options(options: SessionOptions) -> HttpsSessionInstantiator {
        HttpsSessionInstantiator { options }
    }

    /// Registers one with the [global factory](SessionFactory::global), with this context or the
    /// default one.
    #[doc(alias = "registerInstantiator")]
    pub fn register(context: Option<TlsContext>) {
        let options = SessionOptions { tls: context, ..SessionOptions::default() };
        let instantiator = HttpsSessionInstantiator { options };
        SessionFactory::global().register_protocol("https", Arc::new(instantiator));
    }

    /// Takes it away again.
    #[doc(alias = "unregisterInstantiator")]
    pub fn unregister() -> Result<()> {
        SessionFactory::global().unregister_protocol("https")
    }
}

#[cfg(feature = "_tls")]
impl SessionInstantiator for HttpsSessionInstantiator {
    fn create_client_session(&self, uri: &Uri, proxy: &ProxyConfig) -> Result<Box<dyn ClientSession>> {
        if uri.scheme() != Scheme::Https {
            return Err(unknown_scheme(uri));
        }
        let mut session = HttpsClientSession::new(uri.host(), uri.port());
        if proxy.is_some() {
            session.set_proxy_config(proxy.clone())?;
        }
        self.options.apply_secure(&mut session);
        Ok(Box::new(session))
    }
}

#[cfg(feature = "_tls")]
impl fmt::Debug for HttpsSessionInstantiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsSessionInstantiator").field("context", &self.options.tls).finish_non_exhaustive()
    }
}

/// Makes client sessions for URIs of any scheme that something is registered for.
///
/// ```
/// use std::sync::Arc;
/// use sessile::client::{HttpSessionInstantiator, SessionFactory};
///
/// let factory = SessionFactory::new();
/// factory.register_protocol("http", Arc::new(HttpSessionInstantiator::new()));
/// factory.set_proxy("proxy.local", 3128);
/// assert!(factory.supports_protocol("http") && !factory.supports_protocol("gopher"));
/// let session = factory.create_client_session(&"http://example.com/".parse()?)?;
/// assert_eq!(session.proxy_host(), "proxy.local");
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPSessionFactory")]
pub struct SessionFactory {
    state: Mutex<State>,
}

struct State {
    /// With how many times each was registered.
    protocols: HashMap<String, (Arc<dyn SessionInstantiator>, usize)>,
    proxy: ProxyConfig,
}

static GLOBAL: LazyLock<SessionFactory> = LazyLock::new(SessionFactory::new);

impl SessionFactory {
    /// One that nothing is registered with.
    pub fn new() -> SessionFactory {
        SessionFactory::with_proxy(ProxyConfig::none())
    }

    /// The same, whose sessions go through a proxy.
    pub fn with_proxy(proxy: ProxyConfig) -> SessionFactory {
        SessionFactory { state: Mutex::new(State { protocols: HashMap::new(), proxy }) }
    }

    /// The one that all parts of a program share. Nothing is registered with it at first.
    #[doc(alias = "defaultFactory")]
    pub fn global() -> &'static SessionFactory {
        &GLOBAL
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers an instantiator for a scheme. Where there is one already, that one stays, and has to
    /// be unregistered once more.
    #[doc(alias = "registerProtocol")]
    pub fn register_protocol(&self, scheme: &str, instantiator: Arc<dyn SessionInstantiator>) {
        let mut state = self.lock();
        let entry = state.protocols.entry(scheme.to_ascii_lowercase()).or_insert((instantiator, 0));
        entry.1 += 1;
    }

    /// Undoes one registration. `NotFound` where there is none.
    #[doc(alias = "unregisterProtocol")]
    pub fn unregister_protocol(&self, scheme: &str) -> Result<()> {
        let scheme = scheme.to_ascii_lowercase();
        let mut state = self.lock();
        let Some((_, count)) = state.protocols.get_mut(&scheme) else {
            return Err(Error::new(ErrorKind::NotFound, format!("nothing is registered for {scheme}")));
        };
        *count -= 1;
        if *count == 0 {
            state.protocols.remove(&scheme);
        }
        Ok(())
    }

    /// Whether something is registered for a scheme.
    #[doc(alias = "supportsProtocol")]
    pub fn supports_protocol(&self, scheme: &str) -> bool {
        self.lock().protocols.contains_key(&scheme.to_ascii_lowercase())
    }

    /// A session to where the URI points, through the factory's proxy if there is one. Not
    /// connected. `InvalidArgument` where nothing is registered for its scheme.
    #[doc(alias = "createClientSession")]
    pub fn create_client_session(&self, uri: &Uri) -> Result<Box<dyn ClientSession>> {
        let state = self.lock();
        let registered = state.protocols.get(uri.scheme().as_str());
        let instantiator = registered.map(|(i, _)| i.clone()).ok_or_else(|| unknown_scheme(uri))?;
        let proxy = state.proxy.clone();
        drop(state);
        instantiator.create_client_session(uri, &proxy)
    }

    /// Sets host and port of the proxy for sessions made from now on; an empty host is none.
    #[doc(alias = "setProxy")]
    pub fn set_proxy(&self, host: &str, port: u16) {
        self.lock().proxy.set_host(host).set_port(port);
    }

    /// Sets the user for the proxy.
    #[doc(alias = "setProxyCredentials")]
    pub fn set_proxy_credentials(&self, username: &str, password: &str) {
        self.lock().proxy.set_credentials(username, password);
    }

    /// Sets the whole proxy.
    #[doc(alias = "setProxyConfig")]
    pub fn set_proxy_config(&self, proxy: ProxyConfig) {
        self.lock().proxy = proxy;
    }

    /// The proxy, as it is now.
    #[doc(alias = "getProxyConfig")]
    pub fn proxy_config(&self) -> ProxyConfig {
        self.lock().proxy.clone()
    }

    /// The proxy's host; empty for none.
    #[doc(alias = "proxyHost")]
    pub fn proxy_host(&self) -> String {
        self.lock().proxy.host().to_owned()
    }

    /// The proxy's port.
    #[doc(alias = "proxyPort")]
    pub fn proxy_port(&self) -> u16 {
        self.lock().proxy.port()
    }

    /// The user's name for the proxy.
    #[doc(alias = "proxyUsername")]
    pub fn proxy_username(&self) -> String {
        self.lock().proxy.username().to_owned()
    }

    /// The user's password for the proxy. Nothing wipes what this gives.
    #[doc(alias = "proxyPassword")]
    pub fn proxy_password(&self) -> String {
        self.lock().proxy.password().to_owned()
    }
}

fn unknown_scheme(uri: &Uri) -> Error {
    let hint =
        if uri.is_secure() && cfg!(not(feature = "_tls")) { ", which needs the feature tls" } else { "" };
    Error::invalid_argument(format!("no session can be made for the scheme {}{hint}", uri.scheme()))
}

impl Default for SessionFactory {
    fn default() -> SessionFactory {
        SessionFactory::new()
    }
}

impl fmt::Debug for SessionFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("SessionFactory")
            .field("protocols", &state.protocols.keys().collect::<Vec<_>>())
            .field("proxy", &state.proxy)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_registration_stays_until_all_are_undone() {
        let factory = SessionFactory::new();
        let to = |host: &'static str| -> Arc<dyn SessionInstantiator> {
            Arc::new(move |_: &Uri, _: &ProxyConfig| -> Result<Box<dyn ClientSession>> {
                Ok(Box::new(HttpClientSession::new(host, 80)))
            })
        };
        factory.register_protocol("HTTP", to("first"));
        factory.register_protocol("http", to("second"));
        assert_eq!(factory.create_client_session(&uri("http://h/")).unwrap().host(), "first");
        factory.unregister_protocol("http").unwrap();
        assert!(factory.supports_protocol("Http"));
        factory.unregister_protocol("http").unwrap();
        assert!(!factory.supports_protocol("http"));
        assert_eq!(factory.unregister_protocol("http").unwrap_err().kind(), ErrorKind::NotFound);
        let error = factory.create_client_session(&uri("http://h/")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn sessions_get_the_proxy_of_the_moment() {
        let factory = SessionFactory::with_proxy(ProxyConfig::new("one", 1));
        factory.register_protocol("http", Arc::new(HttpSessionInstantiator::new()));
        let before = factory.create_client_session(&uri("http://h/")).unwrap();
        factory.set_proxy("two", 2);
        factory.set_proxy_credentials("user", "secret");
        let after = factory.create_client_session(&uri("http://h/")).unwrap();
        assert_eq!((before.proxy_host(), before.proxy_port()), ("one", 1));
        assert_eq!((after.proxy_host(), after.proxy_username()), ("two", "user"));
        assert_eq!((factory.proxy_host(), factory.proxy_port()), ("two".to_owned(), 2));
        assert_eq!((factory.proxy_username(), factory.proxy_password()), ("user".into(), "secret".into()));
        assert!(!format!("{factory:?}").contains("secret"));
        factory.set_proxy_config(ProxyConfig::none());
        assert!(!factory.proxy_config().is_some());
    }

    #[test]
    fn a_plain_instantiator_takes_plain_uris_only() {
        let plain = HttpSessionInstantiator::new();
        let none = ProxyConfig::none();
        assert_eq!(plain.create_client_session(&uri("http://[::1]:8080/"), &none).unwrap().host(), "::1");
        assert!(plain.create_client_session(&uri("http+unix://%2Frun%2Fs/"), &none).is_ok());
        for other in ["https://h/", "ws://h/"] {
            assert!(plain.create_client_session(&uri(other), &none).is_err(), "{other}");
        }
    }
}
