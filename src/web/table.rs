//! The sessions that are in memory, found by their ids.
//!
//! 64 shards, each a map behind its own lock. No lock is held for longer than a look-up, a
//! change of one entry, or a look at [`SLICE`] places; no session is dropped under one,
//! because that may run destructors of users.

use std::sync::Arc;

use super::id::{Key, SessionId};
use super::id_map::IdMap;
use super::shared::Shared;
use super::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use super::sync::{Mutex, lock};

pub(crate) struct Table {
    shards: Box<[Shard; SHARDS]>,
    len: AtomicUsize,
}

/// Alone on its cache line, or threads on different shards would slow each other down.
#[repr(align(128))]
#[derive(Default)]
struct Shard(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    sessions: IdMap<Arc<Shared>>,
    /// Old ids that still find their session, for a while.
    aliases: IdMap<Alias>,
}

struct Alias {
    session: Arc<Shared>,
    until: u64,
}

/// A session that was found, and whether by an old id.
pub(crate) struct Found {
    pub(crate) session: Arc<Shared>,
    pub(crate) by_alias: bool,
}

impl Default for Table {
    fn default() -> Table {
        Table { shards: Box::new(std::array::from_fn(|_| Shard::default())), len: AtomicUsize::new(0) }
    }
}

impl Table {
    /// How many sessions there are.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    pub(crate) fn find(&self, key: &Key, now: u64) -> Option<Found> {
        let entries = self.entries(key);
        if let Some(session) = entries.sessions.get(key) {
            return Some(Found { session: session.clone(), by_alias: false });
        }
        if entries.aliases.len() == 0 {
            return None;
        }
        let alias = entries.aliases.get(key)?;
        (now < alias.until).then(|| Found { session: alias.session.clone(), by_alias: true })
    }

    /// Keeps a session under an id; `false` where the id is taken.
    pub(crate) fn insert(&self, id: &SessionId, session: Arc<Shared>) -> bool {
        let key = id.key();
        let refused = self.entries(&key).sessions.insert(key, session);
        if refused.is_ok() {
            self.len.fetch_add(1, Relaxed);
        }
        refused.is_ok()
    }

    /// Keeps a session, unless there is one under this id: then that one is the session.
    pub(crate) fn insert_or_get(&self, id: &SessionId, session: Arc<Shared>) -> Arc<Shared> {
        let key = id.key();
        let mut entries = self.entries(&key);
        if let Some(other) = entries.sessions.get(&key) {
            return other.clone();
        }
        // There is none, so it is not refused.
        _ = entries.sessions.insert(key, session.clone());
        self.len.fetch_add(1, Relaxed);
        session
    }

    /// The id is not this session's any more, at once or at a later time.
    pub(crate) fn retire(&self, id: &SessionId, session: &Arc<Shared>, alias_until: Option<u64>) {
        let key = id.key();
        let mut entries = self.entries(&key);
        let removed = entries.sessions.remove(&key);
        if let Some(until) = alias_until {
            _ = entries.aliases.insert(key, Alias { session: session.clone(), until });
        }
        drop(entries);
        self.len.fetch_sub(usize::from(removed.is_some()), Relaxed);
    }

    /// Forgets an id, whether current or old.
    pub(crate) fn remove(&self, id: &SessionId) {
        let key = id.key();
        let mut entries = self.entries(&key);
        let removed = entries.sessions.remove(&key);
        let alias = entries.aliases.remove(&key);
        drop(entries);
        self.len.fetch_sub(usize::from(removed.is_some()), Relaxed);
        drop((removed, alias));
    }

    /// Forgets an id, if nobody but the table holds its session and the condition is met.
    pub(crate) fn remove_unused(
        &self,
        id: &SessionId,
        condition: impl FnOnce(&Shared) -> bool,
    ) -> Option<Arc<Shared>> {
        let key = id.key();
        let mut entries = self.entries(&key);
        let session = entries.sessions.get(&key)?;
        // Nobody can come by it in between: that takes this lock.
        if Arc::strong_count(session) > 1 || !condition(session) {
            return None;
        }
        let removed = entries.sessions.remove(&key);
        drop(entries);
        self.len.fetch_sub(usize::from(removed.is_some()), Relaxed);
        removed
    }

    /// Shows every session to `pick`, shard by shard, at most [`SLICE`] places under one
    /// lock, and hands those it picked to `then`, with no lock held. What is added or
    /// removed meanwhile may be missed, or come twice.
    pub(crate) fn walk(
        &self,
        mut pick: impl FnMut(&Arc<Shared>) -> bool,
        mut then: impl FnMut(Arc<Shared>),
    ) -> Walk {
        let mut walk = Walk::default();
        let mut picked = Vec::new();
        for shard in self.shards.iter() {
            let mut place = 0;
            loop {
                let entries = lock(&shard.0);
                let places = entries.sessions.places();
                let mut held = 0;
                for (_, session) in entries.sessions.slice(place..place + SLICE) {
                    held += 1;
                    if pick(session) {
                        picked.push(session.clone());
                    }
                }
                drop(entries);
                walk.sessions += held;
                walk.longest_hold = walk.longest_hold.max(held);
                picked.drain(..).for_each(&mut then);
                place += SLICE;
                if place >= places {
                    break;
                }
            }
        }
        walk
    }

    /// Shows the sessions from this place of this shard on, until so many were seen or all.
    /// Returns the shard and the place to go on with.
    pub(crate) fn sample(
        &self,
        from: (usize, usize),
        enough: usize,
        mut look: impl FnMut(&Arc<Shared>),
    ) -> (usize, usize) {
        let mut seen = 0;
        let (first, mut place) = from;
        // The first one comes again, for what is before the place.
        for step in 0..=SHARDS {
            let number = (first + step) % SHARDS;
            let end = if step == SHARDS { from.1 } else { usize::MAX };
            while place < end {
                let entries = lock(&self.shards[number].0);
                let places = entries.sessions.places();
                for (_, session) in entries.sessions.slice(place..place + SLICE) {
                    seen += 1;
                    look(session);
                }
                drop(entries);
                place += SLICE;
                let is_through = place >= places;
                if seen >= enough {
                    return if is_through { ((number + 1) % SHARDS, 0) } else { (number, place) };
                }
                if is_through {
                    break;
                }
            }
            place = 0;
        }
        from
    }

    /// Forgets the old ids whose time is over.
    pub(crate) fn forget_aliases(&self, now: u64) {
        for shard in self.shards.iter() {
            let mut place = 0;
            loop {
                let mut entries = lock(&shard.0);
                let places = entries.aliases.places();
                let over: Vec<Key> = entries
                    .aliases
                    .slice(place..place + SLICE)
                    .filter_map(|(key, alias)| (now >= alias.until).then_some(*key))
                    .collect();
                let removed: Vec<Option<Alias>> =
                    over.iter().map(|key| entries.aliases.remove(key)).collect();
                drop(entries);
                drop(removed);
                place += SLICE;
                if place >= places {
                    break;
                }
            }
        }
    }

    fn entries(&self, key: &Key) -> super::sync::MutexGuard<'_, Entries> {
        lock(&self.shards[key[1] as usize % SHARDS].0)
    }
}

/// What a walk did.
#[derive(Default, Clone, Copy)]
pub(crate) struct Walk {
    pub(crate) sessions: usize,
    /// The most sessions that were looked at under one lock.
    pub(crate) longest_hold: usize,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({} sessions)", self.len())
    }
}

/// As many as the fastest maps use; loom, which tries every order, gets few.
#[cfg(not(all(test, loom)))]
const SHARDS: usize = 64;
#[cfg(all(test, loom))]
const SHARDS: usize = 1;

/// How many places are looked at under one lock: a look may miss the cache, so this is
/// about 50 microseconds.
pub(crate) const SLICE: usize = 1024;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::web::{MemoryStore, WebSessionManager};

    #[test]
    fn samples_that_follow_one_another_are_everything() {
        let store = MemoryStore::new();
        let table = store.table.clone();
        let manager = WebSessionManager::builder(store).sweep_every(None).build();
        // Enough for some slices in each shard.
        for _ in 0..100_000 {
            manager.new_session().unwrap();
        }
        let mut seen = HashSet::new();
        let mut from = (5, 0);
        loop {
            from = table.sample(from, 1, |session| assert!(seen.insert(session.id()), "seen twice"));
            if from == (5, 0) {
                break;
            }
        }
        assert_eq!(seen.len(), 100_000);

        // One that is enough for all sees all of them, from wherever it begins.
        for from in [(0, 0), (63, 2 * SLICE), (7, 1000 * SLICE)] {
            let mut seen = HashSet::new();
            table.sample(from, usize::MAX, |session| assert!(seen.insert(session.id()), "seen twice"));
            assert_eq!(seen.len(), 100_000);
        }
    }
}
