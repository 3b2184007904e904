//! What is due now and then: ending sessions whose time is over, storing what was left
//! unstored, letting go of what is in memory for nothing, and making room.
//!
//! All of it looks at few sessions under one lock, and at none for longer than that.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::clock::{NEVER, span, time};
use super::listeners::EndReason;
use super::manager::{Manager, WebSessionManager};
use super::session::WebSession;
use super::shared::{Core, Shared};
use super::state::Look;
use super::sync::atomic::Ordering::Relaxed;
use super::sync::lock;
use super::table::Table;
use crate::{ErrorKind, Result};

/// What a sweep did: see [`WebSessionManager::sweep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Sweep {
    /// Sessions in memory that were looked at.
    pub seen: usize,
    /// Sessions that ended, here or in the store.
    pub ended: usize,
    /// Sessions that left the memory, and live on in the store.
    pub passivated: usize,
    /// The most sessions that were looked at under one lock: other requests may have waited
    /// for that long.
    pub longest_hold: usize,
}

impl WebSessionManager {
    /// Ends the sessions whose time is over. A thread of the manager's does this, unless
    /// that was [turned off](super::WebSessionManagerBuilder::sweep_every).
    ///
    /// With a store beyond the process, it also stores what no request stored, and lets go of
    /// sessions that nobody uses here. [`Store`](ErrorKind::Store) where the store can't be
    /// reached; what could be done without was done.
    ///
    /// ```
    /// use std::time::Duration;
    /// use sessile::web::{ManualClock, MemoryStore, WebSessionManager};
    ///
    /// let clock = ManualClock::new();
    /// let manager = WebSessionManager::builder(MemoryStore::new()).clock(clock.clone()).build();
    /// manager.new_session()?;
    /// clock.advance(Duration::from_secs(3600));
    /// assert_eq!(manager.sweep()?.ended, 1);
    /// # Ok::<(), sessile::Error>(())
    /// ```
    pub fn sweep(&self) -> Result<Sweep> {
        self.0.sweep()
    }
}

impl Manager {
    fn sweep(&self) -> Result<Sweep> {
        let now = self.core.now();
        self.table.forget_aliases(now);
        match self.core.store {
            Some(_) => self.sweep_store(now),
            None => Ok(self.sweep_memory(now)),
        }
    }

    fn sweep_memory(&self, now: u64) -> Sweep {
        let mut ended = 0;
        let is_over = |session: &Arc<Shared>| session.state.look() == Look::Idle && session.is_over(now);
        let walk = self
            .table
            .walk(is_over, |session| ended += usize::from(WebSession::plain(session).end_if_over(now)));
        Sweep { seen: walk.sessions, ended, passivated: 0, longest_hold: walk.longest_hold }
    }

    fn sweep_store(&self, now: u64) -> Result<Sweep> {
        let mut sweep = Sweep::default();
        let mut result = Ok(());
        let mut failures = 0;
        let walk = self.table.walk(
            |_| true,
            |shared| {
                let session = WebSession::plain(shared);
                // A store that is lost is not asked again for each of many sessions.
                if failures < MOST_FAILURES {
                    match self.look_after(&session, now) {
                        Ok(ended) => sweep.ended += usize::from(ended),
                        Err(error) => {
                            failures += 1;
                            result = Err(error);
                        }
                    }
                }
                self.let_go(session, now, &mut sweep);
            },
        );
        (sweep.seen, sweep.longest_hold) = (walk.sessions, walk.longest_hold);
        result?;
        let Some(store) = &self.core.store else {
            return Ok(sweep);
        };
        loop {
            let over = store.sweep(self.core.context.name(), time(now))?;
            if over.is_empty() {
                return Ok(sweep);
            }
            let mut held = self.held();
            for (key, record) in over {
                let session =
                    held.remove(&key).unwrap_or_else(|| self.core.session_of(key.stand_in(), key, record));
                sweep.ended += usize::from(session.end(EndReason::Expired));
            }
        }
    }

    /// Stores what a request left behind that never came to its end, tells the store of
    /// requests that take long, and asks it of sessions that are over here: no sweep of its own
    /// may ever tell of them. Says whether such a one ended.
    fn look_after(&self, session: &WebSession, now: u64) -> Result<bool> {
        let left = session.with_remote(|remote| {
            remote.deferred.is_empty() && !(remote.stored && remote.pending.is_empty())
        });
        let look = session.shared.state.look();
        let mut ended = false;
        let done = if left == Some(true) {
            session.save()
        } else if look == Look::Idle && session.shared.is_over(now) {
            let alive = session.check_alive();
            ended = session.shared.state.look() == Look::Ended;
            alive
        } else if look == Look::InUse {
            let timeout = session.shared.timeout.load(Relaxed);
            let accessed = session.shared.state.last_accessed();
            match timeout != NEVER && now.saturating_sub(accessed) > timeout / 2 {
                true => session.reopen(true).map(drop),
                false => Ok(()),
            }
        } else {
            Ok(())
        };
        match done {
            Err(error) if error.kind() != ErrorKind::IllegalState => Err(error),
            _ => Ok(ended),
        }
    }

    /// Takes a session out of memory, if nobody needs it here: one that is stored, and one
    /// that could not be stored, which ends.
    fn let_go(&self, session: WebSession, now: u64, sweep: &mut Sweep) {
        let id = session.id();
        drop(session);
        let idle = span(self.settings.keep_in_memory);
        let gone = self.table.remove_unused(&id, |session| {
            let mut body = lock(&session.body);
            let has_subscribers = body.extra().is_some_and(|extra| !extra.subscribers.is_empty());
            body.remote().is_some_and(|remote| {
                let unneeded = remote.is_forlorn() || (remote.is_settled() && !has_subscribers);
                unneeded && now.saturating_sub(remote.used) >= idle
            })
        });
        let Some(session) = gone.map(WebSession::plain) else {
            return;
        };
        match session.with_remote(|remote| remote.stored) {
            Some(false) => sweep.ended += usize::from(session.end(EndReason::Lost)),
            _ => {
                session.passivate();
                sweep.passivated += 1;
            }
        }
    }
}

/// Ends sessions to make room for new ones.
///
/// The one that was idle for longest is not looked for among millions each time: some
/// thousand are looked at, and those among them that were idle for longest are the next
/// to go. Where there are no more than that, it is exact.
#[derive(Default)]
pub(crate) struct Evictor(Mutex<Candidates>);

#[derive(Default)]
struct Candidates {
    /// With their last access, the longest idle one at the end.
    sessions: Vec<(u64, Weak<Shared>)>,
    /// The shard, and the place in it, to look at next.
    from: (usize, usize),
}

impl Evictor {
    /// Ends one session that is not in use; `false` where there is none.
    pub(crate) fn evict(&self, table: &Table, core: &Arc<Core>) -> bool {
        for refilled in [false, true] {
            if refilled {
                self.refill(table, core);
            }
            while let Some((accessed, session)) = self.next() {
                let Some(session) = session.upgrade() else {
                    continue;
                };
                // Not if it was used since.
                if session.state.end_idle(|last| last == accessed) {
                    WebSession::plain(session).after_end(EndReason::Evicted);
                    return true;
                }
            }
        }
        false
    }

    fn next(&self) -> Option<(u64, Weak<Shared>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sessions.pop()
    }

    fn refill(&self, table: &Table, core: &Arc<Core>) {
        let now = core.now();
        let mut candidates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        candidates.from = table.sample(candidates.from, SAMPLE, |session| {
            if session.state.look() == Look::Idle && Arc::ptr_eq(&session.core, core) {
                let accessed = session.state.last_accessed();
                // Whoever floods a server with requests never shows an id: those go first.
                let joined = session.joined.load(Relaxed) || now.saturating_sub(accessed) < MAY_STILL_JOIN;
                found.push((joined, accessed, Arc::downgrade(session)));
            }
        });
        found.sort_unstable_by_key(|(joined, accessed, _)| std::cmp::Reverse((*joined, *accessed)));
        let kept = found.len().div_ceil(KEPT_OF);
        let kept = found.split_off(found.len() - kept);
        candidates.sessions = kept.into_iter().map(|(_, accessed, session)| (accessed, session)).collect();
    }
}

/// A part of a store may be lost, so one failure does not say all.
const MOST_FAILURES: usize = 16;
/// For how long a client may take to come back for the first time, in milliseconds.
const MAY_STILL_JOIN: u64 = 30_000;
/// How many sessions are looked at to find those that were idle for long, and which part of
/// them is then ended before others are looked at.
const SAMPLE: usize = 4096;
const KEPT_OF: usize = 64;

/// The thread that sweeps.
#[derive(Default)]
pub(crate) struct Sweeper(Arc<Signal>);

#[derive(Default)]
struct Signal {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Sweeper {
    pub(crate) fn start(&self, manager: Weak<Manager>, every: Duration) {
        let signal = self.0.clone();
        let started = std::thread::Builder::new().name("sessile-sessions".to_owned()).spawn(move || {
            while !signal.wait(every) {
                let Some(manager) = manager.upgrade() else {
                    return;
                };
                if let Err(error) = manager.sweep() {
                    manager.core.listeners.report(&error);
                }
            }
        });
        if let Err(error) = started {
            log::warn!(target: "sessile::web", "no thread to sweep web sessions: {error}");
        }
    }

    /// Has the thread end, without waiting for it: it may be the one who calls.
    pub(crate) fn stop(&self) {
        *self.0.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}

impl Signal {
    /// Waits for so long, and says whether it was stopped.
    fn wait(&self, time: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(stopped, time, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
