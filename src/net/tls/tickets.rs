//! What a server keeps, or lets its clients keep, so that they can take a session up again.
//!
//! Stateless by default: the client keeps the session in a ticket that only we can read, under a
//! key that changes and is forgotten (RFC 5077, 5.5; RFC 8446, 4.6.1). Otherwise a bounded store of
//! sessions.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustls::server::{ProducesTickets, StoresServerSessions};

use super::provider::TlsProvider;
use crate::error::Result;

/// The keys of tickets: one to make them with, and the one before it, which is still read.
pub(super) struct TicketKeys {
    provider: TlsProvider,
    /// How long a key makes tickets. They are read for as long again.
    period: Duration,
    keys: RwLock<Keys>,
}

#[derive(Clone)]
struct Keys {
    current: Arc<dyn ProducesTickets>,
    previous: Option<Arc<dyn ProducesTickets>>,
    since: Instant,
}

impl TicketKeys {
    /// Keys whose tickets are good for this long at most.
    pub(super) fn new(provider: TlsProvider, lifetime: Duration) -> Result<TicketKeys> {
        let keys = Keys { current: provider.ticket_key()?, previous: None, since: Instant::now() };
        Ok(TicketKeys { provider, period: (lifetime / 2).min(LONGEST), keys: RwLock::new(keys) })
    }

    /// A new key from now on; the tickets of the one before are still read.
    pub(super) fn rotate(&self) -> Result<()> {
        let next = self.provider.ticket_key()?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.previous = Some(std::mem::replace(&mut keys.current, next));
        keys.since = Instant::now();
        Ok(())
    }

    /// A new key from now on; no older ticket is read any more.
    pub(super) fn forget(&self) -> Result<()> {
        let next = self.provider.ticket_key()?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *keys = Keys { current: next, previous: None, since: Instant::now() };
        Ok(())
    }

    /// The keys as they are to be used now; `None` for a moment in which none can be made.
    fn keys(&self) -> Option<Keys> {
        let age = {
            let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
            let age = keys.since.elapsed();
            if age < self.period {
                return Some(keys.clone());
            }
            age
        };
        // Nothing of a key that nobody has asked for in so long is to be read.
        if age < self.period * 2 { self.rotate() } else { self.forget() }.ok()?;
        Some(self.keys.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from((self.period * 2).as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys()?.current.encrypt(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys()?;
        keys.current.decrypt(ticket).or_else(|| keys.previous?.decrypt(ticket))
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("period", &self.period).finish_non_exhaustive()
    }
}

/// Sessions that we keep ourselves: those of clients without tickets, or of all where tickets are
/// off.
pub(super) struct SessionStore {
    size: usize,
    lifetime: Duration,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<Vec<u8>, (Instant, Vec<u8>)>,
    /// Oldest first; some were taken already.
    order: VecDeque<Vec<u8>>,
}

impl SessionStore {
    pub(super) fn new(size: usize, lifetime: Duration) -> SessionStore {
        SessionStore { size, lifetime, sessions: Mutex::default() }
    }

    pub(super) fn clear(&self) {
        *self.sessions() = Sessions::default();
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoresServerSessions for SessionStore {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        if self.size == 0 {
            return false;
        }
        let mut sessions = self.sessions();
        while sessions.order.len() >= self.size {
            let Some(oldest) = sessions.order.pop_front() else { break };
            sessions.by_id.remove(&oldest);
        }
        if sessions.by_id.insert(id.clone(), (Instant::now(), session)).is_none() {
            sessions.order.push_back(id);
        }
        true
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        let sessions = self.sessions();
        let (at, session) = sessions.by_id.get(id)?;
        (at.elapsed() < self.lifetime).then(|| session.clone())
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        let (at, session) = self.sessions().by_id.remove(id)?;
        (at.elapsed() < self.lifetime).then_some(session)
    }

    fn can_cache(&self) -> bool {
        self.size > 0
    }
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore").field("size", &self.size).finish_non_exhaustive()
    }
}

/// The longest life of a key. The library's own keys change after as long.
const LONGEST: Duration = Duration::from_secs(6 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(lifetime: Duration) -> TicketKeys {
        TicketKeys::new(TlsProvider::default(), lifetime).unwrap()
    }

    #[test]
    fn tickets_of_the_key_before_are_read_and_older_ones_are_not() {
        let keys = keys(Duration::from_secs(3600));
        let ticket = keys.encrypt(b"secret").unwrap();
        assert_eq!(keys.decrypt(&ticket).as_deref(), Some(&b"secret"[..]));
        keys.rotate().unwrap();
        assert_eq!(keys.decrypt(&ticket).as_deref(), Some(&b"secret"[..]));
        keys.rotate().unwrap();
        assert_eq!(keys.decrypt(&ticket), None);
    }

    #[test]
    fn forgotten_keys_read_nothing() {
        let keys = keys(Duration::from_secs(3600));
        let ticket = keys.encrypt(b"secret").unwrap();
        keys.forget().unwrap();
        assert_eq!(keys.decrypt(&ticket), None);
    }

    #[test]
    fn keys_change_by_themselves() {
        let keys = keys(Duration::ZERO);
        let ticket = keys.encrypt(b"secret").unwrap();
        assert_eq!(keys.decrypt(&ticket), None, "a lifetime of nothing");
        assert_eq!(self::keys(Duration::from_secs(3600)).lifetime(), 3600);
        assert_eq!(self::keys(Duration::from_secs(1 << 30)).lifetime(), 12 * 3600);
    }

    #[test]
    fn a_ticket_that_was_changed_is_not_read() {
        let keys = keys(Duration::from_secs(3600));
        let mut ticket = keys.encrypt(b"secret").unwrap();
        let last = ticket.len() - 1;
        ticket[last] ^= 1;
        assert_eq!(keys.decrypt(&ticket), None);
        assert_eq!(keys.decrypt(b""), None);
    }

    #[test]
    fn a_store_is_bounded_and_forgets() {
        let store = SessionStore::new(2, Duration::from_secs(60));
        for id in [b"a", b"b", b"c"] {
            assert!(store.put(id.to_vec(), id.to_vec()));
        }
        assert_eq!(store.get(b"a"), None);
        assert_eq!(store.get(b"c").as_deref(), Some(&b"c"[..]));
        assert_eq!(store.take(b"b").as_deref(), Some(&b"b"[..]));
        assert_eq!(store.take(b"b"), None, "once only");
        let short = SessionStore::new(2, Duration::ZERO);
        short.put(b"a".to_vec(), b"a".to_vec());
        assert_eq!(short.get(b"a"), None);
        assert!(!SessionStore::new(0, Duration::from_secs(60)).put(b"a".to_vec(), b"a".to_vec()));
    }
}
