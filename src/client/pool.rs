//! Sessions that wait for their next request, by origin.
//!
//! Owns idle sessions and when they are too many or too old. There is no thread behind it: age
//! is looked at when something is taken or given back. Whether a session's connection is
//! still alive is the session's own look, at its next request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::message::Origin;
use crate::session::{ClientSession, DEFAULT_KEEP_ALIVE_TIMEOUT};

/// How much of a response may be unread in a session that is given back: as much as the session
/// reads and drops before its next request.
pub(super) const MOST_UNREAD: usize = 64 * 1024;

/// How many idle sessions are kept, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct PoolLimits {
    pub(super) per_origin: usize,
    pub(super) total: usize,
    pub(super) age: Duration,
}

impl Default for PoolLimits {
    /// 32 for one origin: as many threads use one server without connecting anew. 128 in all,
    /// far from the usual 1,024 descriptors.
    fn default() -> PoolLimits {
        PoolLimits { per_origin: 32, total: 128, age: DEFAULT_KEEP_ALIVE_TIMEOUT }
    }
}

/// A session on loan, and whose it is if its connection is somebody's.
pub(super) struct Lease {
    pub(super) session: Box<dyn ClientSession>,
    pub(super) origin: Origin,
    /// The user as whom the server knows this connection (NTLM): nobody else gets it.
    pub(super) user: Option<u64>,
    /// Not to be given to anybody else.
    pub(super) private: bool,
}

pub(super) struct Pool {
    limits: PoolLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The sessions of an origin, the longest idle one first.
    idle: HashMap<Origin, Vec<Idle>>,
    count: usize,
    swept: Option<Instant>,
}

struct Idle {
    session: Box<dyn ClientSession>,
    user: Option<u64>,
    since: Instant,
}

impl Pool {
    pub(super) fn new(limits: PoolLimits) -> Pool {
        Pool { limits, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session that was used last for this origin, if there is one that this user may have.
    pub(super) fn take(&self, origin: &Origin, user: Option<u64>) -> Option<Lease> {
        // Connections are closed after the lock is released.
        let mut ended = Vec::new();
        let mut state = self.lock();
        state.sweep(self.limits.age, &mut ended);
        let idle = state.idle.get_mut(origin)?;
        let old = idle.iter().take_while(|idle| idle.since.elapsed() >= self.limits.age).count();
        ended.extend(idle.drain(..old));
        let own = idle.iter().rposition(|idle| idle.user.is_some() && idle.user == user);
        let found = own.or_else(|| idle.iter().rposition(|idle| idle.user.is_none()));
        let taken = found.map(|at| idle.remove(at));
        if idle.is_empty() {
            state.idle.remove(origin);
        }
        state.count -= old + usize::from(taken.is_some());
        drop(state);
        let Idle { session, user, .. } = taken?;
        Some(Lease { session, origin: origin.clone(), user, private: false })
    }

    /// Keeps a session for later, if its connection can serve another request. The one that is
    /// idle for longest has to go where there are too many.
    pub(super) fn give_back(&self, lease: Lease) {
        if self.limits.per_origin == 0 || self.limits.total == 0 || lease.private || !is_fit(&*lease.session)
        {
            return;
        }
        let mut ended = Vec::new();
        let mut state = self.lock();
        let idle = Idle { session: lease.session, user: lease.user, since: Instant::now() };
        let of_origin = state.idle.entry(lease.origin).or_default();
        of_origin.push(idle);
        if of_origin.len() > self.limits.per_origin {
            ended.push(of_origin.remove(0));
        } else {
            state.count += 1;
        }
        state.sweep(self.limits.age, &mut ended);
        while state.count > self.limits.total {
            let Some(oldest) = state.take_oldest() else { break };
            ended.push(oldest);
        }
        drop(state);
    }

    pub(super) fn len(&self) -> usize {
        self.lock().count
    }

    pub(super) fn clear(&self) {
        let state = std::mem::take(&mut *self.lock());
        drop(state);
    }
}

impl State {
    /// Takes out what is too old, of all origins, now and then.
    fn sweep(&mut self, age: Duration, ended: &mut Vec<Idle>) {
        let now = Instant::now();
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < age) {
            return;
        }
        self.swept = Some(now);
        self.idle.retain(|_, idle| {
            let old = idle.iter().take_while(|idle| now.saturating_duration_since(idle.since) >= age).count();
            self.count -= old;
            ended.extend(idle.drain(..old));
            !idle.is_empty()
        });
    }

    fn take_oldest(&mut self) -> Option<Idle> {
        let origin = self.idle.iter().min_by_key(|(_, idle)| idle.first().map(|idle| idle.since))?.0.clone();
        let idle = self.idle.get_mut(&origin)?;
        let oldest = idle.remove(0);
        if idle.is_empty() {
            self.idle.remove(&origin);
        }
        self.count -= 1;
        Some(oldest)
    }
}

/// Whether the session's connection may serve another request once what is left is settled.
fn is_fit(session: &dyn ClientSession) -> bool {
    let connection = session.connection();
    connection.is_connected()
        && connection.close_reason().is_none()
        && !connection.abort_handle().is_aborted()
        && connection.unread().is_none_or(|unread| unread <= MOST_UNREAD as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Uri;
    use crate::net::{Pipe, Stream, pair};
    use crate::session::{HttpClientSession, Session};

    fn origin(text: &str) -> Origin {
        text.parse::<Uri>().unwrap().origin()
    }

    fn pool(per_origin: usize, total: usize, age: Duration) -> Pool {
        Pool::new(PoolLimits { per_origin, total, age })
    }

    const LONG: Duration = Duration::from_secs(60);

    /// A session that is connected, with a mark to know it by.
    fn lease(origin: &Origin, mark: u32) -> (Lease, Pipe) {
        let (near, far) = pair();
        let mut session = HttpClientSession::with_stream(Stream::custom(near)).unwrap();
        session.connection_mut().attach_data(Box::new(mark));
        (Lease { session: Box::new(session), origin: origin.clone(), user: None, private: false }, far)
    }

    fn mark(lease: Option<Lease>) -> Option<u32> {
        lease.and_then(|lease| lease.session.session_data().and_then(|data| data.downcast_ref().copied()))
    }

    #[test]
    fn the_session_used_last_comes_first_and_only_for_its_origin() {
        let pool = pool(9, 9, LONG);
        let (a, b) = (origin("http://a/"), origin("http://a:81/"));
        let mut peers = Vec::new();
        for n in 1..=2 {
            let (lease, peer) = lease(&a, n);
            pool.give_back(lease);
            peers.push(peer);
        }
        assert_eq!(mark(pool.take(&b, None)), None);
        assert_eq!(mark(pool.take(&a, None)), Some(2));
        assert_eq!(mark(pool.take(&a, None)), Some(1));
        assert_eq!(mark(pool.take(&a, None)), None);
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn past_a_cap_the_longest_idle_one_goes() {
        let pool = pool(2, 3, LONG);
        let mut peers = Vec::new();
        for (n, host) in [(1, "a"), (2, "b"), (3, "b"), (4, "b"), (5, "c")] {
            let (lease, peer) = lease(&origin(&format!("http://{host}/")), n);
            pool.give_back(lease);
            peers.push(peer);
        }
        assert_eq!(pool.len(), 3);
        assert_eq!(mark(pool.take(&origin("http://a/"), None)), None, "the oldest of all");
        assert_eq!(mark(pool.take(&origin("http://b/"), None)), Some(4));
        assert_eq!(mark(pool.take(&origin("http://b/"), None)), Some(3), "2 was one too many for its origin");
        assert_eq!(mark(pool.take(&origin("http://c/"), None)), Some(5));
    }

    #[test]
    fn age_is_looked_at_when_something_is_taken_or_given_back() {
        let pool = pool(9, 9, Duration::from_millis(1));
        let (a, b) = (origin("http://a/"), origin("http://b/"));
        let (first, _peer) = lease(&a, 1);
        pool.give_back(first);
        assert_eq!(pool.len(), 1, "nothing happens by itself");
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(3) {
            std::hint::spin_loop();
        }
        let (second, _peer) = lease(&b, 2);
        pool.give_back(second);
        assert_eq!(pool.len(), 1, "the old one went");
        assert_eq!(mark(pool.take(&a, None)), None);
    }

    #[test]
    fn a_connection_that_is_somebody_s_is_nobody_else_s() {
        let pool = pool(9, 9, LONG);
        let a = origin("http://a/");
        let (mut lease, _peer) = lease(&a, 1);
        lease.user = Some(7);
        pool.give_back(lease);
        assert_eq!(mark(pool.take(&a, None)), None);
        assert_eq!(mark(pool.take(&a, Some(8))), None);
        assert_eq!(mark(pool.take(&a, Some(7))), Some(1));
    }

    #[test]
    fn what_can_t_serve_again_is_not_kept() {
        let a = origin("http://a/");
        let pool = pool(9, 9, LONG);
        let (closed, _peer) = lease(&a, 1);
        let mut closed = closed;
        closed.session.reset();
        pool.give_back(closed);
        let (aborted, _peer) = lease(&a, 2);
        aborted.session.abort_handle().abort();
        pool.give_back(aborted);
        let (mut private, _peer) = lease(&a, 3);
        private.private = true;
        pool.give_back(private);
        assert_eq!(pool.len(), 0);
        for (per_origin, total) in [(0, 9), (9, 0)] {
            let none = self::pool(per_origin, total, LONG);
            let (lease, _peer) = lease(&a, 4);
            none.give_back(lease);
            assert_eq!(none.len(), 0);
        }
    }

    #[test]
    fn clearing_closes_all() {
        let pool = pool(9, 9, LONG);
        let (lease, mut peer) = lease(&origin("http://a/"), 1);
        pool.give_back(lease);
        pool.clear();
        assert_eq!(pool.len(), 0);
        assert_eq!(std::io::Read::read(&mut peer, &mut [0; 1]).unwrap(), 0);
    }
}
