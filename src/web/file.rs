//! Sessions in a folder: a file for each, named by the hash of its id.
//!
//! A change writes the whole record to a temporary file, makes that stay (fsync), gives it
//! the record's name (which replaces the old record in one step) and makes the name stay
//! (fsync of the folder). So a process or a machine that stops at any point leaves either
//! the old record or the new one. Changes of one record exclude each other, among threads
//! and among processes; looking needs no lock.
//!
//! The time of a file is when its session is over, so that an access writes no content,
//! and a sweep reads only the files of sessions that may be over.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::clock::{NEVER, millis, time};
use super::disk::{Disk, Folder, LOCKS, Locked};
use super::id::StoreKey;
use super::record::Kept;
use super::remote::MOVES;
use super::store::{Applied, Changes, Moved, Opened, SessionRecord, SessionStore, store_error};
use crate::Result;

/// Keeps sessions in files, so that they survive the end of the process, and several
/// processes of one machine can share them.
///
/// What a method reported as done survives the end of the machine, too: that costs two
/// `fsync` for each request that changes its session. The folder is made for its user only
/// (mode 0700). A file that can't be read as a session is a session that is lost, and no
/// error; it is removed in time. Sessions of a principal are found by reading all files.
///
/// ```no_run
/// use sessile::web::{FileStore, WebSessionManager};
///
/// let manager = WebSessionManager::new(FileStore::open("/var/lib/shop/sessions")?);
/// let session = manager.new_session()?;
/// session.set("user", "Ann")?;
/// # Ok::<(), sessile::Error>(())
/// ```
pub struct FileStore {
    disk: Box<dyn Disk>,
    max_record: usize,
    /// Where the present sweep of each application is, and whether the one before came to
    /// its end.
    sweeps: Mutex<BTreeMap<String, Sweep>>,
}

#[derive(Default)]
struct Sweep {
    names: Option<Box<dyn Iterator<Item = io::Result<String>> + Send>>,
    done: bool,
}

impl FileStore {
    /// Keeps sessions in this folder, which is made if there is none.
    /// [`Store`](crate::ErrorKind::Store) if that can't be done.
    pub fn open(folder: impl AsRef<Path>) -> Result<FileStore> {
        let folder = Folder::open(folder.as_ref().to_owned(), PATIENCE)
            .map_err(|error| store_error("the folder for web sessions can't be used", error))?;
        if folder.is_open_to_others() {
            log::warn!(target: "sessile::web", "others than its user have access to the folder for web sessions");
        }
        Ok(FileStore::on(Box::new(folder)))
    }

    /// Refuses records that are [larger](SessionRecord::size) than so many bytes. A MiB
    /// unless set.
    #[must_use]
    pub fn with_max_record(mut self, bytes: usize) -> FileStore {
        self.max_record = bytes;
        self
    }

    pub(crate) fn on(disk: Box<dyn Disk>) -> FileStore {
        FileStore { disk, max_record: MAX_RECORD, sweeps: Mutex::default() }
    }

    fn lock(&self, key: &StoreKey) -> Result<Locked<'_>> {
        self.disk.lock(key.spread()).map_err(failed)
    }

    /// What is kept under a key, with the times of the file put in; `None` also where it
    /// can't be read.
    fn read(&self, key: &StoreKey) -> Result<Option<Kept>> {
        let (content, time) = match self.disk.read(&record_name(key), self.longest()) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error) if is_of_the_file(&error) => return Ok(lost(key)),
            Err(error) => return Err(failed(error)),
        };
        match Kept::decode(&content) {
            Some(Kept::Record(mut record)) => {
                record.last_accessed = last_accessed(&record, time);
                Ok(Some(Kept::Record(record)))
            }
            Some(moved) => Ok(Some(moved)),
            None => Ok(lost(key)),
        }
    }

    /// The record that is kept under this key or the one it moved to, with its present key
    /// locked.
    fn read_moved(&self, key: &StoreKey) -> Result<Option<(Locked<'_>, StoreKey, SessionRecord)>> {
        let mut key = key.clone();
        for _ in 0..MOVES {
            let locked = self.lock(&key)?;
            match self.read(&key)? {
                None => return Ok(None),
                Some(Kept::Record(record)) => return Ok(Some((locked, key, record))),
                Some(Kept::Moved(moved)) => key = moved.to,
            }
        }
        Ok(None)
    }

    /// Writes what is kept under a key, which is locked: either all of it, or nothing.
    fn write(&self, key: &StoreKey, kept: &Kept) -> Result<()> {
        let temporary = temporary_name(key);
        let written = self
            .write_temporary(&temporary, kept)
            .and_then(|()| self.disk.rename(&temporary, &record_name(key)));
        if let Err(error) = written {
            // It is swept otherwise.
            _ = self.disk.remove(&temporary);
            return Err(failed(error));
        }
        self.disk.sync_names().map_err(failed)
    }

    fn write_temporary(&self, name: &str, kept: &Kept) -> io::Result<()> {
        let mut file = self.disk.create(name)?;
        file.write(&kept.encode())?;
        file.set_time(match kept {
            Kept::Record(record) => file_time(record),
            Kept::Moved(moved) => moved.kept,
        })?;
        file.sync()
    }

    /// Removes the file of a key, which is locked.
    fn delete(&self, key: &StoreKey) -> Result<bool> {
        let removed = self.disk.remove(&record_name(key)).map_err(failed)?;
        if removed {
            self.disk.sync_names().map_err(failed)?;
        }
        Ok(removed)
    }

    /// Removes what is over of a file that may be, and gives the session that it was, unless
    /// that is another application's.
    fn sweep_file(
        &self,
        name: &str,
        application: &str,
        now: SystemTime,
    ) -> Result<Option<(StoreKey, SessionRecord)>> {
        let Some((key, temporary)) = key_of(name) else {
            return Ok(None);
        };
        match self.disk.time(name) {
            // Those who write one have its key locked, which is looked at below.
            Ok(Some(_)) if temporary => {}
            Ok(Some(time)) if millis(time) <= millis(now) => {}
            Ok(_) => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
        let _locked = self.lock(&key)?;
        if temporary {
            self.disk.remove(name).map_err(failed)?;
            return Ok(None);
        }
        match self.read(&key)? {
            Some(Kept::Record(record)) if record.application == application && record.is_over(now) => {
                Ok(self.disk.remove(name).map_err(failed)?.then_some((key, record)))
            }
            Some(Kept::Moved(moved)) if now >= moved.kept => {
                self.disk.remove(name).map(|_| None).map_err(failed)
            }
            Some(_) => Ok(None),
            // What can't be read is lost, whatever it is.
            None => {
                _ = self.disk.remove(name);
                Ok(None)
            }
        }
    }

    /// The names of records, shown to the function with what is kept, one after the other.
    fn each(&self, mut each: impl FnMut(StoreKey, Kept)) -> Result<()> {
        for name in self.disk.names().map_err(failed)? {
            if let Some((key, false)) = key_of(&name.map_err(failed)?) {
                if let Some(kept) = self.read(&key)? {
                    each(key, kept);
                }
            }
        }
        Ok(())
    }

    fn longest(&self) -> u64 {
        (self.max_record as u64).saturating_mul(2).saturating_add(HEAD)
    }
}

impl SessionStore for FileStore {
    fn create(&self, key: &StoreKey, record: &SessionRecord) -> Result<bool> {
        let _locked = self.lock(key)?;
        if self.disk.time(&record_name(key)).map_err(failed)?.is_some() {
            return Ok(false);
        }
        self.write(key, &Kept::Record(record.clone()))?;
        Ok(true)
    }

    fn open(&self, key: &StoreKey, known: u64, now: SystemTime, access: bool) -> Result<Opened> {
        let mut locked = None;
        if access {
            locked = Some(self.lock(key)?);
        }
        loop {
            let mut record = match self.read(key)? {
                None => return Ok(Opened::Missing),
                Some(Kept::Moved(moved)) => return Ok(Opened::Moved(moved)),
                Some(Kept::Record(record)) => record,
            };
            if record.is_over(now) {
                if locked.is_none() {
                    // Somebody may be about to use it: look again with the lock.
                    locked = Some(self.lock(key)?);
                    continue;
                }
                return Ok(match self.delete(key)? {
                    true => Opened::Expired(record),
                    false => Opened::Missing,
                });
            }
            if access {
                record.last_accessed = now;
                self.disk.set_time(&record_name(key), file_time(&record)).map_err(failed)?;
            }
            return Ok(match record.version != known {
                true => Opened::Record(record),
                false => Opened::Unchanged { last_accessed: record.last_accessed },
            });
        }
    }

    fn apply(&self, key: &StoreKey, changes: &Changes) -> Result<Applied> {
        let Some((_locked, key, mut record)) = self.read_moved(key)? else {
            return Ok(Applied::Gone);
        };
        if changes.expected.is_some_and(|expected| expected != record.version) {
            return Ok(Applied::Conflict);
        }
        record.apply(changes, self.max_record)?;
        let version = record.version;
        self.write(&key, &Kept::Record(record))?;
        Ok(Applied::Done(version))
    }

    fn rename(&self, from: &StoreKey, to: &StoreKey, moved: &Moved) -> Result<bool> {
        // In one order, or two that cross would wait for each other.
        let place = |key: &StoreKey| usize::from(key.spread()) % LOCKS;
        let (first, second) = if place(from) <= place(to) { (from, to) } else { (to, from) };
        let _first = self.lock(first)?;
        let _second = if place(first) == place(second) { None } else { Some(self.lock(second)?) };
        let Some(Kept::Record(record)) = self.read(from)? else {
            return Ok(false);
        };
        // Whoever stops in between leaves the session where it was, and a copy of it under
        // an id that nobody has been told.
        self.write(to, &Kept::Record(record))?;
        self.write(from, &Kept::Moved(moved.clone()))?;
        Ok(true)
    }

    fn remove(&self, key: &StoreKey) -> Result<bool> {
        match self.read_moved(key)? {
            Some((_locked, key, _)) => self.delete(&key),
            None => Ok(false),
        }
    }

    fn sweep(&self, application: &str, now: SystemTime) -> Result<Vec<(StoreKey, SessionRecord)>> {
        let mut sweeps = self.sweeps.lock().unwrap_or_else(PoisonError::into_inner);
        let sweep = sweeps.entry(application.to_owned()).or_default();
        if std::mem::take(&mut sweep.done) {
            return Ok(Vec::new());
        }
        let mut names = match sweep.names.take() {
            Some(names) => names,
            None => self.disk.names().map_err(failed)?,
        };
        let mut removed = Vec::new();
        for name in names.by_ref() {
            removed.extend(self.sweep_file(&name.map_err(failed)?, application, now)?);
            if removed.len() >= SWEPT_AT_A_TIME {
                sweep.names = Some(names);
                return Ok(removed);
            }
        }
        sweep.done = !removed.is_empty();
        Ok(removed)
    }

    fn count(&self) -> Result<usize> {
        let mut count = 0;
        self.each(|_, kept| count += usize::from(matches!(kept, Kept::Record(_))))?;
        Ok(count)
    }

    fn of_principal(&self, application: &str, principal: &str) -> Result<Vec<StoreKey>> {
        let mut keys = Vec::new();
        self.each(|key, kept| match kept {
            Kept::Record(record)
                if record.application == application && record.principal.as_deref() == Some(principal) =>
            {
                keys.push(key);
            }
            _ => {}
        })?;
        Ok(keys)
    }

    fn max_record(&self) -> usize {
        self.max_record
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("disk", &self.disk).finish_non_exhaustive()
    }
}

/// The time of a record's file: when the session is over; where that is never, when it was
/// last accessed.
fn file_time(record: &SessionRecord) -> SystemTime {
    match record.deadline() {
        NEVER => record.last_accessed,
        deadline => time(deadline),
    }
}

/// When a session was last accessed, by the time of its file: at the earliest, where it will
/// reach its greatest age before it was idle for too long, so that the access does not show.
fn last_accessed(record: &SessionRecord, file: SystemTime) -> SystemTime {
    let accessed = match record.timeout {
        Some(timeout) => file.checked_sub(timeout).unwrap_or(record.last_accessed),
        None if record.ends.is_some() => return record.last_accessed,
        None => file,
    };
    // Times of files may be cut, and an access is never undone.
    time(millis(accessed)).max(record.last_accessed)
}

fn record_name(key: &StoreKey) -> String {
    format!("{key}{RECORD}")
}

fn temporary_name(key: &StoreKey) -> String {
    format!("{key}{TEMPORARY}")
}

/// The key that a name is made of, and whether it is that of a temporary file.
fn key_of(name: &str) -> Option<(StoreKey, bool)> {
    match (name.strip_suffix(RECORD), name.strip_suffix(TEMPORARY)) {
        (Some(key), _) => Some((key.parse().ok()?, false)),
        (_, Some(key)) => Some((key.parse().ok()?, true)),
        _ => None,
    }
}

/// Whether this file can't be read, rather than the folder or the system.
fn is_of_the_file(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, PermissionDenied};
    matches!(error.kind(), InvalidData | IsADirectory | PermissionDenied)
}

fn lost(key: &StoreKey) -> Option<Kept> {
    log::warn!(target: "sessile::web", "the file of {key:?} can't be read: the session is lost");
    None
}

fn failed(error: io::Error) -> crate::Error {
    store_error("the files of web sessions can't be used", error)
}

const RECORD: &str = ".session";
const TEMPORARY: &str = ".tmp";
/// How long to wait for a lock that another process has: far longer than any change takes.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_RECORD: usize = 1024 * 1024;
/// What a record has beside its attributes: application, principal and token may be long.
const HEAD: u64 = 64 * 1024;
const SWEPT_AT_A_TIME: usize = 1000;
