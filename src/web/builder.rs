//! The settings of a manager: what they are, their defaults, and the reasons for those.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::clock::{Clock, SystemClock};
use super::context::WebContext;
use super::listeners::{Listeners, SessionAttributeListener, SessionListener};
use super::manager::WebSessionManager;
use super::shared::{Core, Principals};
use super::statistics::Counters;
use super::store::SessionStore;
use super::table::Table;
use super::tracking::{SecureCookies, Tracking};
use super::value::{Object, ObjectTypes, Portable};
use crate::message::{Cookie, SameSite};
use crate::{Error, Result};

/// What to do with a new session when there are as many as may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WhenFull {
    /// It is refused, with an error that a server answers with 503.
    #[default]
    Refuse,
    /// One that has been idle for long, and is not in use, ends for it; before others, one
    /// whose client never came back.
    Evict,
}

/// Whether a session is found only from the address that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
#[doc(alias = "setVerifyAddress")]
pub enum AddressCheck {
    /// From everywhere: people walk, and their addresses change.
    #[default]
    Off,
    /// Only from the very address.
    Exact,
    /// Only from addresses that share so many leading bits.
    Prefix {
        /// Of an IPv4 address.
        v4: u8,
        /// Of an IPv6 address.
        v6: u8,
    },
}

impl AddressCheck {
    pub(crate) fn allows(self, made_from: Option<IpAddr>, comes_from: Option<IpAddr>) -> bool {
        let (v4, v6) = match self {
            AddressCheck::Off => return true,
            AddressCheck::Exact => (32, 128),
            AddressCheck::Prefix { v4, v6 } => (v4.min(32), v6.min(128)),
        };
        match (made_from, comes_from) {
            (None, _) => true,
            (Some(IpAddr::V4(a)), Some(IpAddr::V4(b))) => {
                (a.to_bits() ^ b.to_bits()).leading_zeros() >= v4.into()
            }
            (Some(IpAddr::V6(a)), Some(IpAddr::V6(b))) => {
                (a.to_bits() ^ b.to_bits()).leading_zeros() >= v6.into()
            }
            _ => false,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) tracking: Tracking,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) max_sessions: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) address_check: AddressCheck,
    pub(crate) remove_on_mismatch: bool,
    pub(crate) sweep_every: Option<Duration>,
    pub(crate) keep_in_memory: Duration,
}

/// Sets a manager up: see [`WebSessionManager::builder`].
///
/// ```
/// use std::time::Duration;
/// use sessile::web::{MemoryStore, WebContext, WebSessionManager, WhenFull};
///
/// let manager = WebSessionManager::builder(MemoryStore::new())
///     .context("shop/shop".parse()?)
///     .timeout(Some(Duration::from_secs(15 * 60)))
///     .max_lifetime(Some(Duration::from_secs(12 * 60 * 60)))
///     .max_sessions(100_000, WhenFull::Evict)
///     .build();
/// assert_eq!(manager.context().name(), "shop");
/// # Ok::<(), sessile::Error>(())
/// ```
pub struct WebSessionManagerBuilder {
    store: Box<dyn SessionStore>,
    settings: Settings,
    context: WebContext,
    clock: Box<dyn Clock>,
    listeners: Listeners,
    types: ObjectTypes,
    max_attributes: usize,
    max_per_principal: usize,
}

impl WebSessionManagerBuilder {
    pub(crate) fn new(store: Box<dyn SessionStore>) -> WebSessionManagerBuilder {
        WebSessionManagerBuilder {
            store,
            settings: Settings {
                tracking: Tracking::default(),
                timeout: Some(TIMEOUT),
                max_lifetime: None,
                max_sessions: usize::MAX,
                when_full: WhenFull::default(),
                address_check: AddressCheck::default(),
                remove_on_mismatch: false,
                sweep_every: Some(SWEEP_EVERY),
                keep_in_memory: KEEP_IN_MEMORY,
            },
            context: WebContext::default(),
            clock: Box::new(SystemClock),
            listeners: Listeners::default(),
            types: ObjectTypes::default(),
            max_attributes: MAX_ATTRIBUTES,
            max_per_principal: usize::MAX,
        }
    }

    /// The web application whose sessions these are: its name keeps them apart from those
    /// of others in the same store, its path and domain are those of the cookie. Without
    /// one: an application without a name at `/`.
    #[must_use]
    pub fn context(mut self, context: WebContext) -> Self {
        self.context = context;
        self
    }

    /// For how long a session may be idle; `None`: for ever. 30 minutes unless set, as in
    /// servlet containers. [`WebSession::set_timeout`](super::WebSession::set_timeout)
    /// changes it for one session.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How old a session may get, even if it is used all the time; `None`, which is the
    /// default: as old as it likes.
    #[must_use]
    pub fn max_lifetime(mut self, lifetime: Option<Duration>) -> Self {
        self.settings.max_lifetime = lifetime;
        self
    }

    /// How many sessions there may be in memory, and what happens to the next one. Without
    /// limit unless set. A store beyond the process has limits of its own.
    #[must_use]
    #[doc(alias = "maxActiveSessions")]
    pub fn max_sessions(mut self, sessions: usize, when_full: WhenFull) -> Self {
        self.settings.max_sessions = sessions;
        self.settings.when_full = when_full;
        self
    }

    /// How many sessions one principal may have in memory: for one more, the oldest ends.
    /// Without limit unless set.
    #[must_use]
    pub fn max_per_principal(mut self, sessions: usize) -> Self {
        self.max_per_principal = sessions.max(1);
        self
    }

    /// How many attributes a session may have. 1,024 unless set: what clients can make an
    /// application put into a session should not be without limit.
    #[must_use]
    pub fn max_attributes(mut self, attributes: usize) -> Self {
        self.max_attributes = attributes;
        self
    }

    /// The name of the cookie, and of the parameter in URLs. `id` unless set: one that tells
    /// nothing about the server. Fails if it is not a token.
    pub fn cookie_name(mut self, name: &str) -> Result<Self> {
        Cookie::new(name, "")?;
        self.settings.tracking.name = name.to_owned();
        Ok(self)
    }

    /// Puts `__Host-` before the name of the cookie, which makes clients refuse it unless it
    /// came over TLS from this very host: it is always `Secure`, for the path `/`, and for
    /// no domain, whatever else is set. Clients that come without TLS keep no session then.
    #[must_use]
    pub fn host_prefix(mut self, prefix: bool) -> Self {
        self.settings.tracking.host_prefix = prefix;
        self
    }

    /// When the cookie is for connections with TLS only.
    #[must_use]
    #[doc(alias = "setCookieSecure")]
    pub fn secure_cookies(mut self, secure: SecureCookies) -> Self {
        self.settings.tracking.secure = secure;
        self
    }

    /// Which requests from other sites carry the cookie. [`SameSite::Lax`] unless set.
    #[must_use]
    #[doc(alias = "setCookieSameSite")]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.settings.tracking.same_site = same_site;
        self
    }

    /// Whether the cookie outlives the browser, for as long as the session may be idle. It
    /// does not unless set.
    #[must_use]
    #[doc(alias = "setCookiePersistence")]
    pub fn persistent_cookies(mut self, persistent: bool) -> Self {
        self.settings.tracking.persistent = persistent;
        self
    }

    /// Whether ids are also looked for in the target of requests, as `/path;id=…`, where
    /// the client sends no cookie: see
    /// [`encode_url`](WebSessionManager::encode_url). They are not unless set: such ids are
    /// in logs, histories, and in what people send to each other.
    #[must_use]
    pub fn url_rewriting(mut self, urls: bool) -> Self {
        self.settings.tracking.urls = urls;
        self
    }

    /// Whether a session is found only from the address that made it. From other ones it is
    /// not found, and goes on.
    #[must_use]
    pub fn address_check(mut self, check: AddressCheck) -> Self {
        self.settings.address_check = check;
        self
    }

    /// Whether a session even ends when it is asked for from a wrong address, as in Poco's
    /// OSP. Then everybody who knows an id can end that session.
    #[must_use]
    pub fn remove_on_mismatch(mut self, remove: bool) -> Self {
        self.settings.remove_on_mismatch = remove;
        self
    }

    /// How often sessions whose time is over are looked for, by a thread of the manager's;
    /// `None`: never, and [`sweep`](WebSessionManager::sweep) is called by somebody else.
    /// Every 5 seconds unless set. It frees memory and tells listeners: nobody finds a
    /// session whose time is over, swept or not.
    #[must_use]
    pub fn sweep_every(mut self, interval: Option<Duration>) -> Self {
        self.settings.sweep_every = interval.map(|interval| interval.max(SWEEP_AT_MOST));
        self
    }

    /// For how long a session that is in a store beyond the process stays in memory when
    /// nobody uses it here. One minute unless set.
    #[must_use]
    pub fn keep_in_memory(mut self, time: Duration) -> Self {
        self.settings.keep_in_memory = time;
        self
    }

    /// What tells the time. The system's clock unless set. Nodes that share a store need clocks
    /// that agree: one that is ahead ends sessions too early, by so much.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Adds somebody who hears of all sessions.
    #[must_use]
    pub fn listener(self, listener: Arc<dyn SessionListener>) -> Self {
        self.listeners.add(listener);
        self
    }

    /// Adds somebody who hears of the attributes of all sessions.
    #[must_use]
    pub fn attribute_listener(self, listener: Arc<dyn SessionAttributeListener>) -> Self {
        self.listeners.add_attribute_listener(listener);
        self
    }

    /// Is told what no caller can be told: that a listener panicked, that the sweeper could
    /// not reach the store. They are logged in any case.
    #[must_use]
    pub fn on_error(mut self, on_error: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.listeners.set_on_error(Box::new(on_error));
        self
    }

    /// Reads objects of this type back from stores beyond the process. The function says
    /// what else such an object takes part in.
    ///
    /// ```
    /// use sessile::web::{MemoryStore, Object, Portable, SessionActivationListener, WebSessionManager};
    ///
    /// struct Connection(Vec<u8>);
    ///
    /// impl Portable for Connection {
    ///     const TAG: &'static str = "connection";
    ///     fn encode(&self) -> sessile::Result<Vec<u8>> {
    ///         Ok(self.0.clone())
    ///     }
    ///     fn decode(bytes: &[u8]) -> sessile::Result<Connection> {
    ///         Ok(Connection(bytes.to_vec()))
    ///     }
    /// }
    ///
    /// impl SessionActivationListener for Connection {}
    ///
    /// let manager = WebSessionManager::builder(MemoryStore::new())
    ///     .object_type(|connection: Object<Connection>| connection.activating())
    ///     .build();
    /// # drop(manager);
    /// ```
    #[must_use]
    pub fn object_type<T: Portable>(
        mut self,
        dress: impl Fn(Object<T>) -> Object<T> + Send + Sync + 'static,
    ) -> Self {
        self.types.add(dress);
        self
    }

    /// The manager.
    pub fn build(self) -> WebSessionManager {
        let (table, store) = match self.store.as_memory() {
            Some(memory) => (memory.table.clone(), None),
            None => (Arc::new(Table::default()), Some(self.store)),
        };
        let core = Core {
            context: self.context,
            clock: self.clock,
            listeners: self.listeners,
            counters: Counters::default(),
            types: self.types,
            max_attributes: self.max_attributes,
            max_per_principal: self.max_per_principal,
            table: Arc::downgrade(&table),
            store,
            principals: Principals::default(),
        };
        let mut settings = self.settings;
        if let (Some(_), Some(every), Some(timeout)) = (&core.store, settings.sweep_every, settings.timeout) {
            // It tells the store of requests that take long, before their sessions are over there.
            settings.sweep_every = Some(every.min(timeout / 2).max(SWEEP_AT_MOST));
        }
        WebSessionManager::from_parts(Arc::new(core), table, settings)
    }
}

impl fmt::Debug for WebSessionManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSessionManagerBuilder")
            .field("store", &self.store)
            .field("context", &self.context)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Tomcat, Jetty and most others: 30 minutes.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// Listeners hear of an end within this time; a million sessions take a tenth of a second.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
const SWEEP_AT_MOST: Duration = Duration::from_millis(1);
/// As long as a page's requests may be apart, so that their sessions need not be read again.
const KEEP_IN_MEMORY: Duration = Duration::from_secs(60);
const MAX_ATTRIBUTES: usize = 1024;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_compared_as_far_as_asked() {
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let net = AddressCheck::Prefix { v4: 24, v6: 64 };
        let cases = [
            (AddressCheck::Off, "10.0.0.1", "::1", true),
            (AddressCheck::Exact, "10.0.0.1", "10.0.0.1", true),
            (AddressCheck::Exact, "10.0.0.1", "10.0.0.2", false),
            (AddressCheck::Exact, "10.0.0.1", "::1", false),
            (net, "10.0.0.1", "10.0.0.200", true),
            (net, "10.0.0.1", "10.0.1.1", false),
            (net, "2001:db8::1", "2001:db8::ffff", true),
            (net, "2001:db8::1", "2001:db8:0:1::1", false),
            (AddressCheck::Prefix { v4: 0, v6: 0 }, "10.0.0.1", "200.0.0.1", true),
        ];
        for (check, made_from, comes_from, allowed) in cases {
            assert_eq!(
                check.allows(ip(made_from), ip(comes_from)),
                allowed,
                "{check:?} {made_from} {comes_from}"
            );
        }
        assert!(!AddressCheck::Exact.allows(ip("10.0.0.1"), None));
    }
}
