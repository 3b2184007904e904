//! Sessions of TLS that a client can take up again, and where they are kept.
//!
//! A ticket of TLS 1.3 is used once; a session of TLS 1.2 as often as one likes. Both are good for
//! one name only, for a time, and under the settings they were made with: the library sees to the
//! last, this file to the rest.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// What a client remembers of its connections to one server, to make the next one with less work.
///
/// All connections of one [`TlsContext`](super::TlsContext) to the same name and port share one, so
/// that nothing need be done to take a session up again. It can be handed to another client session
/// beside that
/// ([`HttpsClientSession::set_tls_session`](crate::session::HttpsClientSession::set_tls_session)),
/// where the context keeps none or forgets. A session is taken up only under the context (or a
/// clone of it) that it was made under, and only for the same name: anything else is a full
/// handshake, never an error.
///
/// ```no_run
/// use sessile::session::HttpsClientSession;
///
/// let mut first = HttpsClientSession::new("example.com", 443);
/// // … an exchange, and then
/// let mut second = HttpsClientSession::new("example.com", 443);
/// second.set_tls_session(first.tls_session());
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "Session")]
#[doc(alias = "sslSession")]
pub struct TlsSession {
    shared: Arc<Shared>,
}

struct Shared {
    name: ServerName<'static>,
    lifetime: Duration,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    key_exchange: Option<NamedGroup>,
    tls12: Option<(Instant, Tls12ClientSessionValue)>,
    /// Oldest first.
    tls13: VecDeque<(Instant, Tls13ClientSessionValue)>,
}

impl TlsSession {
    pub(super) fn new(name: ServerName<'static>, lifetime: Duration) -> TlsSession {
        TlsSession { shared: Arc::new(Shared { name, lifetime, kept: Mutex::default() }) }
    }

    /// Whether there is something to take up: the server has given a session, and it is not too
    /// old.
    #[doc(alias = "isResumable")]
    pub fn is_resumable(&self) -> bool {
        let kept = self.shared.kept();
        kept.tls12.as_ref().is_some_and(|(at, _)| self.shared.is_fresh(*at))
            || kept.tls13.iter().any(|(at, _)| self.shared.is_fresh(*at))
    }

    /// The name of the server, as it was asked for.
    pub fn server_name(&self) -> String {
        self.shared.name.to_str().into_owned()
    }

    /// Forgets what is kept.
    pub fn clear(&self) {
        *self.shared.kept() = Kept::default();
    }

    pub(super) fn is_for(&self, name: &ServerName<'_>) -> bool {
        self.shared.is_for(name)
    }

    /// As the library asks for it.
    pub(super) fn store(&self) -> Arc<dyn ClientSessionStore> {
        self.shared.clone()
    }
}

impl Shared {
    fn is_for(&self, name: &ServerName<'_>) -> bool {
        self.name == *name
    }

    fn is_fresh(&self, at: Instant) -> bool {
        at.elapsed() < self.lifetime
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name is looked at each time: a session of another server, taken up, would spare that server
/// the proof of who it is.
impl ClientSessionStore for Shared {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        if self.is_for(&name) {
            self.kept().key_exchange = Some(group);
        }
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        if self.is_for(name) { self.kept().key_exchange } else { None }
    }

    fn set_tls12_session(&self, name: ServerName<'static>, value: Tls12ClientSessionValue) {
        if self.is_for(&name) {
            self.kept().tls12 = Some((Instant::now(), value));
        }
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        if !self.is_for(name) {
            return None;
        }
        let mut kept = self.kept();
        kept.tls12 = kept.tls12.take().filter(|(at, _)| self.is_fresh(*at));
        kept.tls12.as_ref().map(|(_, value)| value.clone())
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        if self.is_for(name) {
            self.kept().tls12 = None;
        }
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, value: Tls13ClientSessionValue) {
        if !self.is_for(&name) {
            return;
        }
        let mut kept = self.kept();
        while kept.tls13.len() >= MOST_TICKETS {
            kept.tls13.pop_front();
        }
        kept.tls13.push_back((Instant::now(), value));
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if !self.is_for(name) {
            return None;
        }
        let mut kept = self.kept();
        let (at, value) = kept.tls13.pop_back()?;
        if self.is_fresh(at) {
            return Some(value);
        }
        // Whatever is left is older still.
        kept.tls13.clear();
        None
    }
}

impl fmt::Debug for Shared {
    /// Never what is kept: the keys of connections.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession")
            .field("server_name", &self.server_name())
            .field("is_resumable", &self.is_resumable())
            .finish_non_exhaustive()
    }
}

/// The sessions of one context, by server. The least recently used one makes room.
pub(super) struct SessionCache {
    size: usize,
    lifetime: Duration,
    servers: Mutex<Servers>,
}

#[derive(Default)]
struct Servers {
    /// Counts uses.
    clock: u64,
    sessions: HashMap<(ServerName<'static>, u16), (u64, TlsSession)>,
}

impl SessionCache {
    /// For so many servers; none are remembered with 0.
    pub(super) fn new(size: usize, lifetime: Duration) -> SessionCache {
        SessionCache { size, lifetime, servers: Mutex::default() }
    }

    /// The session with this server, which gathers what it gives us from now on.
    pub(super) fn session(&self, name: &ServerName<'static>, port: u16) -> TlsSession {
        if self.size == 0 {
            return TlsSession::new(name.clone(), self.lifetime);
        }
        let mut servers = self.servers();
        servers.clock += 1;
        let now = servers.clock;
        let key = (name.clone(), port);
        if let Some((used, session)) = servers.sessions.get_mut(&key) {
            *used = now;
            return session.clone();
        }
        if servers.sessions.len() >= self.size {
            let oldest =
                servers.sessions.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                servers.sessions.remove(&oldest);
            }
        }
        let session = TlsSession::new(name.clone(), self.lifetime);
        servers.sessions.insert(key, (now, session.clone()));
        session
    }

    pub(super) fn clear(&self) {
        // The sessions may be in somebody's hand: those are empty from now on too.
        for (_, (_, session)) in self.servers().sessions.drain() {
            session.clear();
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tickets kept for one server: enough for as many connections at a time as browsers make.
const MOST_TICKETS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &'static str) -> ServerName<'static> {
        ServerName::try_from(text).unwrap()
    }

    fn remembers(session: &TlsSession) -> bool {
        session.shared.kept().key_exchange.is_some()
    }

    #[test]
    fn one_server_has_one_session_and_another_port_is_another_server() {
        let cache = SessionCache::new(8, Duration::from_secs(60));
        let first = cache.session(&name("a.example"), 443);
        first.shared.set_kx_hint(name("a.example"), NamedGroup::X25519);
        assert!(remembers(&cache.session(&name("a.example"), 443)));
        assert!(!remembers(&cache.session(&name("a.example"), 8443)));
        assert!(!remembers(&cache.session(&name("b.example"), 443)));
    }

    #[test]
    fn a_session_answers_for_its_own_name_only() {
        let session = TlsSession::new(name("a.example"), Duration::from_secs(60));
        session.shared.set_kx_hint(name("b.example"), NamedGroup::X25519);
        assert!(!remembers(&session));
        session.shared.set_kx_hint(name("a.example"), NamedGroup::X25519);
        assert_eq!(session.shared.kx_hint(&name("b.example")), None);
        assert_eq!(session.shared.kx_hint(&name("a.example")), Some(NamedGroup::X25519));
    }

    #[test]
    fn the_least_recently_used_server_makes_room() {
        let cache = SessionCache::new(2, Duration::from_secs(60));
        for host in ["a.example", "b.example"] {
            cache.session(&name(host), 443).shared.set_kx_hint(name(host), NamedGroup::X25519);
        }
        cache.session(&name("a.example"), 443);
        cache.session(&name("c.example"), 443);
        assert!(remembers(&cache.session(&name("a.example"), 443)));
        assert!(!remembers(&cache.session(&name("b.example"), 443)));
    }

    #[test]
    fn nothing_is_remembered_with_a_size_of_0() {
        let cache = SessionCache::new(0, Duration::from_secs(60));
        cache.session(&name("a.example"), 443).shared.set_kx_hint(name("a.example"), NamedGroup::X25519);
        assert!(!remembers(&cache.session(&name("a.example"), 443)));
    }

    #[test]
    fn a_cleared_cache_takes_back_what_it_handed_out() {
        let cache = SessionCache::new(8, Duration::from_secs(60));
        let session = cache.session(&name("a.example"), 443);
        session.shared.set_kx_hint(name("a.example"), NamedGroup::X25519);
        cache.clear();
        assert!(!remembers(&session));
    }
}
