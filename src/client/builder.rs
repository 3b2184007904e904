//! What a user agent is told before it makes requests.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::agent::{Proxies, Settings, UserAgent};
use super::authentication::Authentication;
#[cfg(feature = "cookies")]
use super::cookie_jar::CookieJar;
#[cfg(feature = "_tls")]
use super::factory::HttpsSessionInstantiator;
use super::factory::{HttpSessionInstantiator, SessionFactory, SessionOptions};
use super::pool::{Pool, PoolLimits};
use super::redirect::RedirectPolicy;
use crate::message::{HeaderMap, Origin, Uri};
#[cfg(feature = "_tls")]
use crate::net::tls::TlsContext;
use crate::net::{ConnectOptions, Resolve, Socket};
use crate::proto::Limits;
use crate::session::{Observer, ProxyConfig, RetryPolicy, Timeouts};
use crate::{Error, Result};

/// What `User-Agent` says unless it is told otherwise.
const SOFTWARE: &str = concat!("sessile/", env!("CARGO_PKG_VERSION"));

/// How much [`read_to_vec`](super::AgentResponse::read_to_vec) and its like take at most: 10 MiB,
/// as ureq.
const MAX_CONTENT: u64 = 10 << 20;

/// Makes a [`UserAgent`].
///
/// ```
/// use std::net::SocketAddr;
/// use std::sync::Arc;
/// use std::time::Duration;
/// use sessile::client::{RedirectPolicy, UserAgent};
///
/// let agent = UserAgent::builder()
///     .user_agent("inventory/2.1")
///     .header("Accept-Language", "de")
///     .timeout(Duration::from_secs(30))
///     .redirects(RedirectPolicy::limited(5))
///     .resolver(Arc::new(|_: &str, port: u16| Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])))
///     .build()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[must_use = "it makes an agent when `build` is called"]
pub struct UserAgentBuilder {
    headers: HeaderMap,
    timeouts: Timeouts,
    redirects: RedirectPolicy,
    proxies: Proxies,
    users: Vec<(Origin, Authentication)>,
    pool: PoolLimits,
    options: SessionOptions,
    factory: Option<Arc<SessionFactory>>,
    observer: Option<Arc<dyn Observer>>,
    max_content: u64,
    gzip: bool,
    #[cfg(feature = "gzip")]
    gzip_limits: super::GzipLimits,
    #[cfg(feature = "cookies")]
    cookies: Option<CookieJar>,
    error: Option<Error>,
}

impl Default for UserAgentBuilder {
    fn default() -> UserAgentBuilder {
        let mut headers = HeaderMap::new();
        headers.set_unchecked("User-Agent", SOFTWARE.as_bytes());
        headers.set_unchecked("Accept", b"*/*");
        UserAgentBuilder {
            headers,
            timeouts: Timeouts::default(),
            redirects: RedirectPolicy::default(),
            proxies: Proxies::Default,
            users: Vec::new(),
            pool: PoolLimits::default(),
            options: SessionOptions::default(),
            factory: None,
            observer: None,
            max_content: MAX_CONTENT,
            gzip: false,
            #[cfg(feature = "gzip")]
            gzip_limits: super::GzipLimits::default(),
            #[cfg(feature = "cookies")]
            cookies: None,
            error: None,
        }
    }
}

impl UserAgentBuilder {
    /// What `User-Agent` says; empty for no such field.
    pub fn user_agent(self, text: &str) -> UserAgentBuilder {
        self.header("User-Agent", text)
    }

    /// A field that goes with every request that does not set it itself. An empty value removes it.
    pub fn header(mut self, name: &str, value: &str) -> UserAgentBuilder {
        if value.is_empty() {
            self.headers.remove(name);
        } else if let Err(error) = self.headers.set(name, value) {
            self.error.get_or_insert(error);
        }
        self
    }

    /// How long calls may take.
    #[doc(alias = "setTimeout")]
    pub fn timeouts(mut self, timeouts: Timeouts) -> UserAgentBuilder {
        self.timeouts = timeouts;
        self
    }

    /// How long a whole call may take, from name resolution to the last byte of the content, over
    /// redirects and authentication. No limit by default: only progress counts.
    pub fn timeout(mut self, total: Duration) -> UserAgentBuilder {
        self.timeouts.total = Some(total);
        self
    }

    /// Which redirects are followed: ten at most by default.
    pub fn redirects(mut self, policy: RedirectPolicy) -> UserAgentBuilder {
        self.redirects = policy;
        self
    }

    /// When a request lost on a reused connection is made once more.
    pub fn retry(mut self, policy: RetryPolicy) -> UserAgentBuilder {
        self.options.retry = policy;
        self
    }

    /// The proxy for all requests but those to hosts that it exempts. [`ProxyConfig::none`] is
    /// none, also where there is a global one.
    #[doc(alias = "setProxyConfig")]
    pub fn proxy(mut self, proxy: ProxyConfig) -> UserAgentBuilder {
        self.proxies = Proxies::Fixed(proxy);
        self
    }

    /// The proxies that the environment names now: see [`ProxyConfig::from_env`].
    pub fn proxy_from_env(mut self) -> UserAgentBuilder {
        let from = |scheme| ProxyConfig::from_env(scheme).map(Option::unwrap_or_default);
        match (from("http"), from("https")) {
            (Ok(http), Ok(https)) => self.proxies = Proxies::ByScheme { http, https },
            (Err(error), _) | (_, Err(error)) => {
                self.error.get_or_insert(error);
            }
        }
        self
    }

    /// As whom this server, the URI's origin, is asked; no other server is told.
    pub fn authentication(mut self, server: &Uri, user: Authentication) -> UserAgentBuilder {
        let origin = server.origin();
        self.users.retain(|(known, _)| *known != origin);
        self.users.push((origin, user));
        self
    }

    /// How many idle sessions are kept for one origin: 32 by default; 0 is none.
    pub fn max_idle_per_origin(mut self, most: usize) -> UserAgentBuilder {
        self.pool.per_origin = most;
        self
    }

    /// How many idle sessions are kept in all: 128 by default; 0 is none.
    pub fn max_idle(mut self, most: usize) -> UserAgentBuilder {
        self.pool.total = most;
        self
    }

    /// How long a session may have been idle and be used again: 8 s by default, or less where the
    /// server says so. Looked at when a session is needed or comes back; nothing runs meanwhile.
    #[doc(alias = "setKeepAliveTimeout")]
    pub fn max_idle_age(mut self, age: Duration) -> UserAgentBuilder {
        self.pool.age = age;
        self
    }

    /// Resolves names by something else than the system: to pin a host to an address, say. `Host`,
    /// and the name that a server must prove under TLS, stay the name.
    pub fn resolver(mut self, resolver: Arc<dyn Resolve>) -> UserAgentBuilder {
        self.options.resolver = Some(resolver);
        self
    }

    /// How connections are made: from which addresses, and with which options on their sockets.
    pub fn connect_options(mut self, options: ConnectOptions) -> UserAgentBuilder {
        self.options.connect = options;
        self
    }

    /// Has `hook` set options on each socket before it connects.
    pub fn socket_hook(
        mut self,
        hook: impl Fn(&Socket) -> io::Result<()> + Send + Sync + 'static,
    ) -> UserAgentBuilder {
        self.options.connect.set_hook(hook);
        self
    }

    /// How much a server may send besides content.
    pub fn limits(mut self, limits: Limits) -> UserAgentBuilder {
        self.options.limits = Some(limits);
        self
    }

    /// How much content is read at once, by [`read_to_vec`](super::AgentResponse::read_to_vec) and
    /// its like: 10 MiB by default. What is read as a stream has no limit.
    pub fn max_content(mut self, most: u64) -> UserAgentBuilder {
        self.max_content = most;
        self
    }

    /// Makes sessions by this factory. What is said here of resolvers, sockets, limits of sizes,
    /// retries and TLS is then for the factory to heed.
    pub fn session_factory(mut self, factory: Arc<SessionFactory>) -> UserAgentBuilder {
        self.factory = Some(factory);
        self
    }

    /// Who is told how calls go, unless a request names somebody else.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> UserAgentBuilder {
        self.observer = Some(observer);
        self
    }

    /// Asks for compressed content and decodes it. Off by default.
    #[cfg(feature = "gzip")]
    #[cfg_attr(docsrs, doc(cfg(feature = "gzip")))]
    pub fn gzip(mut self, ask: bool) -> UserAgentBuilder {
        self.gzip = ask;
        self
    }

    /// How much compressed content may grow.
    #[cfg(feature = "gzip")]
    #[cfg_attr(docsrs, doc(cfg(feature = "gzip")))]
    pub fn gzip_limits(mut self, limits: super::GzipLimits) -> UserAgentBuilder {
        self.gzip_limits = limits;
        self
    }

    /// Keeps the cookies that servers set in this jar, and sends them back. Without one, `Set-Cookie`
    /// is a field like any.
    #[cfg(feature = "cookies")]
    #[cfg_attr(docsrs, doc(cfg(feature = "cookies")))]
    pub fn cookies(mut self, jar: CookieJar) -> UserAgentBuilder {
        self.cookies = Some(jar);
        self
    }

    /// Whom to trust, and as whom, for `https`, proxies included: instead of the
    /// [default context](TlsContext::default_client).
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls(mut self, context: TlsContext) -> UserAgentBuilder {
        self.options.tls = Some(context);
        self
    }

    /// The agent. Fails where something of the above did: a field that can't be sent, a proxy in the
    /// environment that can't be read.
    pub fn build(mut self) -> Result<UserAgent> {
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(self.finish()),
        }
    }

    pub(super) fn finish(mut self) -> UserAgent {
        self.options.keep_alive = Some(self.pool.age);
        let retry = self.options.retry;
        let factory = match self.factory.take() {
            Some(factory) => factory,
            None => Arc::new(self.own_factory()),
        };
        UserAgent::with_settings(Settings {
            pool: Arc::new(Pool::new(self.pool)),
            factory,
            proxies: self.proxies,
            headers: self.headers,
            timeouts: self.timeouts,
            redirects: self.redirects,
            retry,
            users: self.users,
            observer: self.observer,
            max_content: self.max_content,
            gzip: self.gzip,
            #[cfg(feature = "gzip")]
            gzip_limits: self.gzip_limits,
            #[cfg(feature = "cookies")]
            cookies: self.cookies,
        })
    }

    fn own_factory(&self) -> SessionFactory {
        let factory = SessionFactory::new();
        let plain = Arc::new(HttpSessionInstantiator::with_options(self.options.clone()));
        factory.register_protocol("http", plain.clone());
        factory.register_protocol("http+unix", plain);
        #[cfg(feature = "_tls")]
        {
            let secure = HttpsSessionInstantiator::with_options(self.options.clone());
            factory.register_protocol("https", Arc::new(secure));
        }
        factory
    }
}

impl fmt::Debug for UserAgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserAgentBuilder")
            .field("timeouts", &self.timeouts)
            .field("redirects", &self.redirects)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}
