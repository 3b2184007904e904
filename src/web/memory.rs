//! Sessions in the memory of the process.
//!
//! A manager that is given a `MemoryStore` keeps its sessions in the store's table, as the
//! objects they are. Behind another store (one that counts, fails on purpose, …) a
//! `MemoryStore` keeps records like any other, so that the rules for stores can be tried
//! without files and servers.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::id::StoreKey;
use super::record::Kept;
use super::store::{Applied, Changes, Moved, Opened, SessionRecord, SessionStore};
use super::sync::{Mutex, lock};
use super::table::Table;
use crate::Result;

/// Keeps sessions in memory: the fastest store, which takes any `Send + Sync` object as an
/// attribute, and which ends with the process.
///
/// ```
/// use std::sync::Arc;
/// use sessile::web::{MemoryStore, WebSessionManager};
///
/// struct Cart {
///     items: Vec<String>,
/// }
///
/// let manager = WebSessionManager::new(MemoryStore::new());
/// let session = manager.new_session()?;
/// session.set("cart", Arc::new(Cart { items: vec!["apple".to_owned()] }))?;
///
/// let again = manager.find_by_id(&session.id())?.unwrap();
/// assert_eq!(again.get::<Arc<Cart>>("cart")?.items.len(), 1);
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Default)]
pub struct MemoryStore {
    pub(crate) table: Arc<Table>,
    records: Mutex<HashMap<StoreKey, Kept>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }
}

impl SessionStore for MemoryStore {
    fn create(&self, key: &StoreKey, record: &SessionRecord) -> Result<bool> {
        let mut records = lock(&self.records);
        if records.contains_key(key) {
            return Ok(false);
        }
        records.insert(key.clone(), Kept::Record(record.clone()));
        Ok(true)
    }

    fn open(&self, key: &StoreKey, known: u64, now: SystemTime, access: bool) -> Result<Opened> {
        let mut records = lock(&self.records);
        let record = match records.get_mut(key) {
            None => return Ok(Opened::Missing),
            Some(Kept::Moved(moved)) => return Ok(Opened::Moved(moved.clone())),
            Some(Kept::Record(record)) => record,
        };
        if record.is_over(now) {
            let over = record.clone();
            records.remove(key);
            return Ok(Opened::Expired(over));
        }
        if access {
            record.last_accessed = now;
        }
        Ok(match record.version != known {
            true => Opened::Record(record.clone()),
            false => Opened::Unchanged { last_accessed: record.last_accessed },
        })
    }

    fn apply(&self, key: &StoreKey, changes: &Changes) -> Result<Applied> {
        let mut records = lock(&self.records);
        let key = follow(&records, key);
        let Some(Kept::Record(record)) = records.get_mut(&key) else {
            return Ok(Applied::Gone);
        };
        if changes.expected.is_some_and(|expected| expected != record.version) {
            return Ok(Applied::Conflict);
        }
        let mut changed = record.clone();
        changed.apply(changes, self.max_record())?;
        *record = changed;
        Ok(Applied::Done(record.version))
    }

    fn rename(&self, from: &StoreKey, to: &StoreKey, moved: &Moved) -> Result<bool> {
        let mut records = lock(&self.records);
        let Some(Kept::Record(record)) = records.get(from) else {
            return Ok(false);
        };
        let record = record.clone();
        records.insert(to.clone(), Kept::Record(record));
        records.insert(from.clone(), Kept::Moved(moved.clone()));
        Ok(true)
    }

    fn remove(&self, key: &StoreKey) -> Result<bool> {
        let mut records = lock(&self.records);
        let key = follow(&records, key);
        Ok(matches!(records.remove(&key), Some(Kept::Record(_))))
    }

    fn sweep(&self, application: &str, now: SystemTime) -> Result<Vec<(StoreKey, SessionRecord)>> {
        let mut records = lock(&self.records);
        let mut over = Vec::new();
        records.retain(|key, kept| match kept {
            Kept::Record(record) if record.application == application && record.is_over(now) => {
                over.push((key.clone(), record.clone()));
                false
            }
            Kept::Record(_) => true,
            Kept::Moved(moved) => now < moved.kept,
        });
        Ok(over)
    }

    fn count(&self) -> Result<usize> {
        let records = lock(&self.records);
        Ok(records.values().filter(|kept| matches!(kept, Kept::Record(_))).count())
    }

    fn of_principal(&self, application: &str, principal: &str) -> Result<Vec<StoreKey>> {
        let is_theirs = |kept: &Kept| {
            matches!(kept, Kept::Record(record)
                if record.application == application && record.principal.as_deref() == Some(principal))
        };
        let records = lock(&self.records);
        Ok(records.iter().filter(|(_, kept)| is_theirs(kept)).map(|(key, _)| key.clone()).collect())
    }

    fn as_memory(&self) -> Option<&MemoryStore> {
        Some(self)
    }
}

/// The key that the session under this one has now.
fn follow(records: &HashMap<StoreKey, Kept>, key: &StoreKey) -> StoreKey {
    let mut key = key;
    while let Some(Kept::Moved(moved)) = records.get(key) {
        key = &moved.to;
    }
    key.clone()
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("sessions", &self.table.len()).finish_non_exhaustive()
    }
}
