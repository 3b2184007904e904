//! What a manager has seen: counters, for people and their graphs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::listeners::EndReason;

/// How many sessions a manager has had, and what became of them: see
/// [`WebSessionManager::statistics`](super::WebSessionManager::statistics).
///
/// They count what this manager did, since it was made; other nodes that share its store
/// count for themselves.
///
/// ```
/// use sessile::web::{MemoryStore, WebSessionManager};
///
/// let manager = WebSessionManager::new(MemoryStore::new());
/// let session = manager.new_session()?;
/// manager.new_session()?;
/// session.invalidate()?;
/// let statistics = manager.statistics();
/// assert_eq!((statistics.active, statistics.peak, statistics.invalidated), (1, 2, 1));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// In memory at present.
    pub active: u64,
    /// The most that were in memory at a time.
    pub peak: u64,
    /// Made by this manager.
    pub created: u64,
    /// Not made, because there were too many.
    pub refused: u64,
    /// Ended because they were idle for too long, or too old.
    pub expired: u64,
    /// Ended by [`invalidate`](super::WebSession::invalidate).
    pub invalidated: u64,
    /// Ended because there were too many.
    pub evicted: u64,
    /// Ended for any other [reason](EndReason).
    pub otherwise_ended: u64,
    /// How long a session lasted, from its making to its end, on average over those that
    /// have ended.
    pub average_life: Duration,
    /// How long the manager has been there: with the counts, this gives rates.
    pub since: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    active: AtomicU64,
    peak: AtomicU64,
    created: AtomicU64,
    refused: AtomicU64,
    expired: AtomicU64,
    invalidated: AtomicU64,
    evicted: AtomicU64,
    otherwise: AtomicU64,
    lived: AtomicU64,
}

impl Counters {
    /// Room for one more session that is in memory only; returns how many there are now.
    pub(crate) fn enter(&self) -> u64 {
        self.active.fetch_add(1, Relaxed) + 1
    }

    /// There are so many in memory.
    pub(crate) fn seen(&self, sessions: usize) {
        self.peak.fetch_max(sessions as u64, Relaxed);
    }

    /// One less that is in memory only.
    pub(crate) fn leave(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    pub(crate) fn active(&self) -> u64 {
        self.active.load(Relaxed)
    }

    pub(crate) fn created(&self) {
        self.created.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn ended(&self, reason: EndReason, lived: u64) {
        let counter = match reason {
            EndReason::Expired => &self.expired,
            EndReason::Invalidated => &self.invalidated,
            EndReason::Evicted => &self.evicted,
            EndReason::Removed | EndReason::Shutdown | EndReason::Lost => &self.otherwise,
        };
        counter.fetch_add(1, Relaxed);
        self.lived.fetch_add(lived, Relaxed);
    }

    pub(crate) fn read(&self, active: usize, since: u64) -> Statistics {
        let mut statistics = Statistics {
            active: active as u64,
            peak: self.peak.load(Relaxed),
            created: self.created.load(Relaxed),
            refused: self.refused.load(Relaxed),
            expired: self.expired.load(Relaxed),
            invalidated: self.invalidated.load(Relaxed),
            evicted: self.evicted.load(Relaxed),
            otherwise_ended: self.otherwise.load(Relaxed),
            average_life: Duration::ZERO,
            since: Duration::from_millis(since),
        };
        let ended =
            statistics.expired + statistics.invalidated + statistics.evicted + statistics.otherwise_ended;
        statistics.average_life = Duration::from_millis(self.lived.load(Relaxed) / ended.max(1));
        statistics
    }
}
