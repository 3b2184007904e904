//! What a store of web sessions has to do, and what passes between it and the manager.
//!
//! A store beyond the process takes changes, not snapshots: each change names what it
//! changes and leaves the rest alone, so requests on several nodes don't undo each other's
//! work. No operation but [`create`](SessionStore::create) makes a session: neither a
//! change nor an access that comes late brings one back.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::clock::{NEVER, millis, span_or_never, time, time_or_never};
use super::id::{Seal, SessionId, StoreKey};
use super::memory::MemoryStore;
use crate::{Error, ErrorKind, Result};

/// Keeps sessions.
///
/// [`MemoryStore`] keeps them in the process, as the objects they are. [`FileStore`](super::FileStore),
/// `RedisStore` and stores of your own keep [records](SessionRecord), which other processes
/// can read: they implement the methods below, each of which is atomic towards all others,
/// on this node and on others, and takes a bounded time. The manager calls them from many
/// threads; they must not call the manager or its sessions.
///
/// An error says that the store could not be asked: of the kind
/// [`Store`](ErrorKind::Store), which a server answers with 503. A session that can't be
/// read is no error, but missing.
///
/// ```
/// use sessile::web::{MemoryStore, SessionStore, WebSessionManager};
///
/// // Stores are chosen at run time.
/// let store: Box<dyn SessionStore> = Box::new(MemoryStore::new());
/// let manager = WebSessionManager::new(store);
/// assert_eq!(manager.count()?, 0);
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "WebSessionStore")]
pub trait SessionStore: Send + Sync + fmt::Debug + 'static {
    /// Keeps a new session, as its version 1. `false`, and nothing changed, where the key
    /// is taken.
    #[doc(alias = "saveSession")]
    fn create(&self, key: &StoreKey, record: &SessionRecord) -> Result<bool>;

    /// Finds a session. With `access`, this is a request of its client at `now`: the
    /// record's `last_accessed` becomes that, if the session is still there.
    ///
    /// The record is needed only if its version is not `known`: it is older where the store
    /// lost its latest changes. One whose time is over is removed, and returned as
    /// [`Opened::Expired`] to one caller only.
    #[doc(alias = "loadSession")]
    #[doc(alias = "expireSession")]
    fn open(&self, key: &StoreKey, known: u64, now: SystemTime, access: bool) -> Result<Opened>;

    /// Changes a session, under its present key or one it moved away from.
    #[doc(alias = "saveValue")]
    #[doc(alias = "removeValue")]
    #[doc(alias = "clearValues")]
    fn apply(&self, key: &StoreKey, changes: &Changes) -> Result<Applied>;

    /// Moves a session to another key, and leaves `moved` under the old one. `false` where
    /// there is no session under `from`.
    fn rename(&self, from: &StoreKey, to: &StoreKey, moved: &Moved) -> Result<bool>;

    /// Removes a session, under its present key or one it moved away from, and says
    /// whether this call did.
    fn remove(&self, key: &StoreKey) -> Result<bool>;

    /// Removes sessions of an application whose time is over, and returns those that this
    /// call removed: the others that it leaves alone have listeners of their own. It is
    /// called again and again, until there are none: a thousand at a time are enough. A
    /// store that expires sessions by itself has nothing to do.
    fn sweep(&self, application: &str, now: SystemTime) -> Result<Vec<(StoreKey, SessionRecord)>> {
        _ = (application, now);
        Ok(Vec::new())
    }

    /// How many sessions there are: for people to look at, it may be slow.
    #[doc(alias = "countSessions")]
    fn count(&self) -> Result<usize>;

    /// The sessions of a principal in an application.
    #[doc(alias = "sessionsByValue")]
    fn of_principal(&self, application: &str, principal: &str) -> Result<Vec<StoreKey>>;

    /// The greatest [size](SessionRecord::size) of a record.
    fn max_record(&self) -> usize {
        MAX_RECORD
    }

    /// The store, if it keeps sessions in the process: then none of the other methods is
    /// called.
    fn as_memory(&self) -> Option<&MemoryStore> {
        None
    }
}

macro_rules! forward {
    ($($pointer:ident)*) => {
        $(impl<S: SessionStore + ?Sized> SessionStore for $pointer<S> {
            fn create(&self, key: &StoreKey, record: &SessionRecord) -> Result<bool> {
                (**self).create(key, record)
            }
            fn open(&self, key: &StoreKey, known: u64, now: SystemTime, access: bool) -> Result<Opened> {
                (**self).open(key, known, now, access)
            }
            fn apply(&self, key: &StoreKey, changes: &Changes) -> Result<Applied> {
                (**self).apply(key, changes)
            }
            fn rename(&self, from: &StoreKey, to: &StoreKey, moved: &Moved) -> Result<bool> {
                (**self).rename(from, to, moved)
            }
            fn remove(&self, key: &StoreKey) -> Result<bool> {
                (**self).remove(key)
            }
            fn sweep(&self, application: &str, now: SystemTime) -> Result<Vec<(StoreKey, SessionRecord)>> {
                (**self).sweep(application, now)
            }
            fn count(&self) -> Result<usize> {
                (**self).count()
            }
            fn of_principal(&self, application: &str, principal: &str) -> Result<Vec<StoreKey>> {
                (**self).of_principal(application, principal)
            }
            fn max_record(&self) -> usize {
                (**self).max_record()
            }
            fn as_memory(&self) -> Option<&MemoryStore> {
                (**self).as_memory()
            }
        })*
    };
}
forward!(Box Arc);

/// A session as a store beyond the process keeps it.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use sessile::web::SessionRecord;
///
/// let mut record = SessionRecord::new("shop", UNIX_EPOCH);
/// record.timeout = Some(Duration::from_secs(1800));
/// assert_eq!(record.expires(), Some(record.last_accessed + Duration::from_secs(1800)));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionRecord {
    /// The application it belongs to.
    pub application: String,
    /// Counts the changes; an access is none.
    pub version: u64,
    /// When the session was made.
    pub created: SystemTime,
    /// When its client last sent a request.
    pub last_accessed: SystemTime,
    /// For how long it may be idle; `None`: for ever.
    pub timeout: Option<Duration>,
    /// When it ends even if it is used.
    pub ends: Option<SystemTime>,
    /// Who made the first request.
    pub client_address: Option<IpAddr>,
    /// The token against cross-site requests, once one was asked for.
    pub csrf_token: Option<String>,
    /// Whose session it is.
    pub principal: Option<String>,
    /// The attributes. What the bytes mean is the manager's business.
    pub values: BTreeMap<String, Vec<u8>>,
}

impl SessionRecord {
    /// A session without attributes that was made, and last accessed, at this time.
    pub fn new(application: &str, created: SystemTime) -> SessionRecord {
        SessionRecord {
            application: application.to_owned(),
            version: 0,
            created,
            last_accessed: created,
            timeout: None,
            ends: None,
            client_address: None,
            csrf_token: None,
            principal: None,
            values: BTreeMap::new(),
        }
    }

    /// When its time is over, to the millisecond; `None`: never.
    pub fn expires(&self) -> Option<SystemTime> {
        time_or_never(self.deadline())
    }

    /// Whether its time is over.
    pub fn is_over(&self, now: SystemTime) -> bool {
        millis(now) >= self.deadline()
    }

    /// The bytes of all names and values together.
    pub fn size(&self) -> usize {
        self.values.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Makes these changes, counts the version up, and says whether the result is small
    /// enough. Whether the version is the expected one was looked at before.
    pub fn apply(&mut self, changes: &Changes, max_record: usize) -> Result<()> {
        if changes.clear {
            self.values.clear();
        }
        for (name, value) in &changes.values {
            match value {
                Some(value) => _ = self.values.insert(name.clone(), value.clone()),
                None => _ = self.values.remove(name),
            }
        }
        self.timeout = changes.timeout.unwrap_or(self.timeout);
        self.ends = changes.ends.unwrap_or(self.ends);
        if let Some(principal) = &changes.principal {
            self.principal.clone_from(principal);
        }
        if let Some(token) = &changes.csrf_token {
            self.csrf_token = Some(token.clone());
        }
        self.version += 1;
        if self.size() > max_record {
            return Err(record_too_large());
        }
        Ok(())
    }

    pub(crate) fn deadline(&self) -> u64 {
        let ends = self.ends.map_or(NEVER, millis);
        millis(self.last_accessed).saturating_add(span_or_never(self.timeout)).min(ends)
    }
}

impl fmt::Debug for SessionRecord {
    /// Without values and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("version", &self.version)
            .field("created", &self.created)
            .field("last_accessed", &self.last_accessed)
            .field("names", &self.values.keys())
            .finish_non_exhaustive()
    }
}

/// What is to be changed of a session, and what is not: all that is not named here stays.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// Change nothing unless this is the version.
    pub expected: Option<u64>,
    /// Remove all attributes first.
    pub clear: bool,
    /// Attributes to set, and with `None` to remove.
    pub values: BTreeMap<String, Option<Vec<u8>>>,
    /// How long it may be idle.
    pub timeout: Option<Option<Duration>>,
    /// When it ends even if it is used.
    pub ends: Option<Option<SystemTime>>,
    /// Whose session it is.
    pub principal: Option<Option<String>>,
    /// The token against cross-site requests.
    pub csrf_token: Option<String>,
}

impl Changes {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Changes { expected: self.expected, ..Changes::default() }
    }

    /// Whether this attribute is set or removed.
    pub(crate) fn touches(&self, name: &str) -> bool {
        self.clear || self.values.contains_key(name)
    }

    /// Adds what happened later.
    pub(crate) fn then(&mut self, later: Changes) {
        if later.clear {
            self.clear = true;
            self.values.clear();
        }
        self.values.extend(later.values);
        self.timeout = later.timeout.or(self.timeout);
        self.ends = later.ends.or(self.ends);
        self.principal = later.principal.or(self.principal.take());
        self.csrf_token = later.csrf_token.or(self.csrf_token.take());
    }
}

impl fmt::Debug for Changes {
    /// Without values and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes")
            .field("expected", &self.expected)
            .field("clear", &self.clear)
            .field("names", &self.values.keys())
            .finish_non_exhaustive()
    }
}

/// What [`SessionStore::open`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Opened {
    /// There is no session, or none that can be read.
    Missing,
    /// The session is there, in the version that is known.
    Unchanged {
        /// When its client last sent a request.
        last_accessed: SystemTime,
    },
    /// The session.
    Record(SessionRecord),
    /// The session was there, its time is over, and this call removed it.
    Expired(SessionRecord),
    /// The session has another key.
    Moved(Moved),
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applied {
    /// It was made; this is the version now.
    Done(u64),
    /// The version is not the expected one, and nothing was changed.
    Conflict,
    /// There is no such session.
    Gone,
}

/// What a session leaves under the key it moved away from.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// Where it is now.
    pub to: StoreKey,
    /// When it moved.
    pub at: SystemTime,
    /// Until when the old id finds it, for the manager to look at.
    pub until: SystemTime,
    /// Until when changes of requests that were under way still reach it. The store
    /// forgets it then.
    pub kept: SystemTime,
    /// The new id, for those who know the old one.
    pub seal: [u8; 16],
}

impl Moved {
    pub(crate) fn new(
        to: StoreKey,
        old: &SessionId,
        new: &SessionId,
        at: u64,
        until: u64,
        kept: u64,
    ) -> Moved {
        Moved { to, at: time(at), until: time(until), kept: time(kept), seal: Seal::new(old, new).0 }
    }

    /// From the parts that a store kept.
    pub fn from_parts(
        to: StoreKey,
        at: SystemTime,
        until: SystemTime,
        kept: SystemTime,
        seal: [u8; 16],
    ) -> Moved {
        Moved { to, at, until, kept, seal }
    }

    pub(crate) fn new_id(&self, old: &SessionId) -> SessionId {
        Seal(self.seal).open(old)
    }
}

impl fmt::Debug for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moved").field("to", &self.to).field("until", &self.until).finish_non_exhaustive()
    }
}

pub(crate) fn record_too_large() -> Error {
    Error::too_large("the attributes of a web session are larger than its store takes")
}

/// An error of a store, with its cause.
pub(crate) fn store_error(
    what: &'static str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::new(ErrorKind::Store, what).with_source(cause)
}

/// Much for a session, and little enough to be read with every request.
const MAX_RECORD: usize = 1024 * 1024;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn later_changes_win_and_the_others_stay() {
        let mut changes = Changes::default();
        changes.values.insert("a".into(), Some(vec![1]));
        changes.values.insert("b".into(), Some(vec![1]));
        let mut later = Changes { timeout: Some(None), ..Changes::default() };
        later.values.insert("b".into(), None);
        changes.then(later);
        assert_eq!(changes.values["a"], Some(vec![1]));
        assert_eq!(changes.values["b"], None);
        assert_eq!(changes.timeout, Some(None));

        changes.then(Changes { clear: true, ..Changes::default() });
        assert!(changes.clear && changes.values.is_empty());
        assert!(!changes.is_empty());
        assert!(Changes::default().is_empty());
    }

    #[test]
    fn a_record_is_over_when_it_was_idle_or_is_too_old() {
        let start = SystemTime::now();
        let mut record = SessionRecord::new("", start);
        assert_eq!(record.expires(), None);
        record.timeout = Some(Duration::from_secs(10));
        assert!(!record.is_over(start + Duration::from_millis(9_990)));
        assert!(record.is_over(start + Duration::from_secs(11)));
        record.ends = Some(start + Duration::from_secs(5));
        assert!(record.is_over(start + Duration::from_secs(6)));
    }
}
