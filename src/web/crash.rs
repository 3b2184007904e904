//! The store of files on a disk that fails, and on a machine that stops, at every step.
//!
//! Killing a process proves little: what it wrote is in the page cache and stays. Here the
//! disk is a value that knows which contents and which names were told to stay. A stop
//! takes all the rest away, or any part of it.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use super::disk::{Disk, DiskFile, LOCKS, Locked};
use super::file::FileStore;
use super::id::{SessionId, StoreKey};
use super::store::{Applied, Changes, Moved, Opened, SessionRecord, SessionStore};

/// A disk, or rather what of it is in the cache, and what is on it.
#[derive(Debug, Clone)]
struct FakeDisk(Arc<FakeState>);

#[derive(Debug)]
struct FakeState {
    inner: Mutex<Inner>,
    locks: [Mutex<Option<File>>; LOCKS],
}

#[derive(Debug, Clone, Default)]
struct Inner {
    /// Files by number: the content in the cache, the content that stays, the time.
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    /// The names that stay, and the changes of names since.
    kept_names: BTreeMap<String, usize>,
    changes: Vec<NameChange>,
    steps: usize,
    fail_at: Option<usize>,
    /// Fails from then on: the machine has stopped.
    stop_at: Option<usize>,
}

#[derive(Debug, Clone)]
struct Content {
    cached: Vec<u8>,
    kept: Option<Vec<u8>>,
    time: SystemTime,
}

#[derive(Debug, Clone)]
enum NameChange {
    Added(String, usize),
    Renamed(String, String, usize),
    Removed(String),
}

impl Default for FakeDisk {
    fn default() -> FakeDisk {
        FakeDisk::of(Inner::default())
    }
}

impl FakeDisk {
    fn of(inner: Inner) -> FakeDisk {
        let locks = std::array::from_fn(|_| Mutex::new(None));
        FakeDisk(Arc::new(FakeState { inner: Mutex::new(inner), locks }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap()
    }

    /// One step that changes something, unless it is to fail.
    fn step(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let mut inner = self.inner();
        inner.steps += 1;
        let stopped = inner.stop_at.is_some_and(|at| inner.steps >= at);
        match stopped || inner.fail_at == Some(inner.steps) {
            true => Err(io::Error::new(io::ErrorKind::StorageFull, "as told")),
            false => Ok(inner),
        }
    }

    /// All that may be on the disk after the machine stopped now: of the changes of names,
    /// in their order or not, any part; of contents that were not told to stay, all, a part
    /// or nothing.
    fn after_a_stop(&self) -> Vec<FakeDisk> {
        let inner = self.inner().clone();
        let mut disks = Vec::new();
        for part in 0..1usize << inner.changes.len().min(6) {
            for how in 0..3 {
                let mut names = inner.kept_names.clone();
                for (at, change) in inner.changes.iter().enumerate() {
                    if part & 1 << at.min(5) == 0 {
                        continue;
                    }
                    match change.clone() {
                        NameChange::Added(name, file) => _ = names.insert(name, file),
                        NameChange::Renamed(from, to, file) => {
                            names.remove(&from);
                            names.insert(to, file);
                        }
                        NameChange::Removed(name) => _ = names.remove(&name),
                    }
                }
                let mut files = inner.files.clone();
                for file in &mut files {
                    let lost = match how {
                        0 => Vec::new(),
                        1 => file.cached[..file.cached.len() / 2].to_vec(),
                        _ => vec![0; file.cached.len()],
                    };
                    file.cached = file.kept.clone().unwrap_or(lost);
                    file.kept = Some(file.cached.clone());
                }
                disks.push(FakeDisk::of(Inner {
                    files,
                    names: names.clone(),
                    kept_names: names,
                    ..Inner::default()
                }));
            }
        }
        disks
    }
}

impl Disk for FakeDisk {
    fn read(&self, name: &str, _: u64) -> io::Result<Option<(Vec<u8>, SystemTime)>> {
        let inner = self.inner();
        Ok(inner.names.get(name).map(|&file| (inner.files[file].cached.clone(), inner.files[file].time)))
    }

    fn time(&self, name: &str) -> io::Result<Option<SystemTime>> {
        let inner = self.inner();
        Ok(inner.names.get(name).map(|&file| inner.files[file].time))
    }

    fn set_time(&self, name: &str, time: SystemTime) -> io::Result<()> {
        let mut inner = self.step()?;
        if let Some(&file) = inner.names.get(name) {
            inner.files[file].time = time;
        }
        Ok(())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.step()?;
        inner.files.push(Content { cached: Vec::new(), kept: None, time: SystemTime::UNIX_EPOCH });
        let file = inner.files.len() - 1;
        inner.names.insert(name.to_owned(), file);
        inner.changes.push(NameChange::Added(name.to_owned(), file));
        Ok(Box::new((self.clone(), file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.step()?;
        let file = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), file);
        inner.changes.push(NameChange::Renamed(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<bool> {
        let mut inner = self.step()?;
        inner.changes.push(NameChange::Removed(name.to_owned()));
        Ok(inner.names.remove(name).is_some())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut inner = self.step()?;
        inner.kept_names = inner.names.clone();
        inner.changes.clear();
        Ok(())
    }

    fn names(&self) -> io::Result<Box<dyn Iterator<Item = io::Result<String>> + Send>> {
        let names: Vec<String> = self.inner().names.keys().cloned().collect();
        Ok(Box::new(names.into_iter().map(Ok)))
    }

    fn lock(&self, number: u8) -> io::Result<Locked<'_>> {
        Ok(Locked::of_threads(&self.0.locks[usize::from(number) % LOCKS]))
    }
}

impl DiskFile for (FakeDisk, usize) {
    fn write(&mut self, content: &[u8]) -> io::Result<()> {
        // A full disk takes the beginning.
        let taken = match self.0.step() {
            Ok(mut inner) => {
                inner.files[self.1].cached.extend_from_slice(content);
                return Ok(());
            }
            Err(error) => error,
        };
        self.0.inner().files[self.1].cached.extend_from_slice(&content[..content.len() / 2]);
        Err(taken)
    }

    fn set_time(&mut self, time: SystemTime) -> io::Result<()> {
        self.0.step()?.files[self.1].time = time;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.0.step()?;
        let content = inner.files[self.1].cached.clone();
        inner.files[self.1].kept = Some(content);
        Ok(())
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 1000 * HOUR
}

fn key(number: u8) -> StoreKey {
    StoreKey::new("", &id(number))
}

fn id(number: u8) -> SessionId {
    format!("AAAAAAAAAAAAAAAAAAAAAAA{}", char::from(b'A' + number)).parse().unwrap()
}

fn value(record: &SessionRecord, name: &str) -> Option<u8> {
    record.values.get(name).map(|value| value[0])
}

fn set(name: &str, value: u8) -> Changes {
    let mut changes = Changes::default();
    changes.values.insert(name.to_owned(), Some(vec![value]));
    changes
}

fn record() -> SessionRecord {
    let mut record = SessionRecord::new("", now());
    record.timeout = Some(HOUR);
    record.version = 1;
    record.values.insert("n".to_owned(), vec![1]);
    record
}

fn moved() -> Moved {
    Moved::from_parts(key(1), now(), now() + HOUR, now() + HOUR, [0; 16])
}

/// What somebody sees who looks for the session under a key, following it where it moved.
fn look(disk: &FakeDisk, number: u8) -> Option<u8> {
    let store = FileStore::on(Box::new(disk.clone()));
    let mut key = key(number);
    loop {
        match store.open(&key, 0, now(), false).unwrap() {
            Opened::Record(record) => return value(&record, "n"),
            Opened::Moved(moved) => key = moved.to,
            Opened::Missing => return None,
            other => panic!("{other:?}"),
        }
    }
}

/// A change, what is seen of it under key 0, and before it.
struct Case {
    name: &'static str,
    run: fn(&FileStore) -> crate::Result<()>,
    before: Option<u8>,
    after: Option<u8>,
}

const CASES: [Case; 4] = [
    Case {
        name: "create",
        run: |store| {
            // A first attempt that failed late may have made it all the same.
            store.create(&key(0), &record()).map(drop)
        },
        before: None,
        after: Some(1),
    },
    Case {
        name: "apply",
        run: |store| {
            assert!(matches!(store.apply(&key(0), &set("n", 2))?, Applied::Done(_)));
            Ok(())
        },
        before: Some(1),
        after: Some(2),
    },
    Case {
        name: "rename",
        run: |store| store.rename(&key(0), &key(1), &moved()).map(drop),
        before: Some(1),
        after: Some(1),
    },
    Case { name: "remove", run: |store| store.remove(&key(0)).map(drop), before: Some(1), after: None },
];

fn disk_before(case: &Case) -> FakeDisk {
    let disk = FakeDisk::default();
    if case.before.is_some() {
        assert!(FileStore::on(Box::new(disk.clone())).create(&key(0), &record()).unwrap());
    }
    disk.inner().steps = 0;
    disk
}

fn steps_of(case: &Case) -> usize {
    let disk = disk_before(case);
    (case.run)(&FileStore::on(Box::new(disk.clone()))).unwrap();
    let steps = disk.inner().steps;
    assert!(steps >= 2, "{}", case.name);
    steps
}

#[test]
fn a_machine_that_stops_at_any_step_leaves_the_old_or_the_new() {
    for case in &CASES {
        for at in 1..=steps_of(case) + 1 {
            let disk = disk_before(case);
            disk.inner().stop_at = Some(at);
            let done = (case.run)(&FileStore::on(Box::new(disk.clone())));
            for after in disk.after_a_stop() {
                let seen = look(&after, 0);
                match done {
                    Ok(()) => {
                        assert_eq!(seen, case.after, "{} told as done", case.name);
                        assert_eq!(look(&after, 1).is_some(), case.name == "rename");
                    }
                    Err(_) => {
                        assert!(seen == case.before || seen == case.after, "{} stopped at {at}", case.name)
                    }
                }
                // And the store can be used: no rubbish is in the way, and none stays.
                let store = FileStore::on(Box::new(after.clone()));
                if seen == case.before {
                    (case.run)(&store).unwrap();
                    assert_eq!(look(&after, 0), case.after);
                }
                store.sweep("", now()).unwrap();
                assert!(after.inner().names.keys().all(|name| name.ends_with(".session")));
            }
        }
    }
}

#[test]
fn a_step_that_fails_is_an_error_and_leaves_the_old_or_the_new() {
    for case in &CASES {
        for at in 1..=steps_of(case) {
            let disk = disk_before(case);
            disk.inner().fail_at = Some(at);
            let store = FileStore::on(Box::new(disk.clone()));
            let error = (case.run)(&store).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Store);
            let seen = look(&disk, 0);
            assert!(seen == case.before || seen == case.after, "{} failed at {at}", case.name);
            assert!(disk.inner().names.keys().all(|name| name.ends_with(".session")), "{} {at}", case.name);
            // It can be done again.
            (case.run)(&store).unwrap();
            assert_eq!(look(&disk, 0), case.after);
        }
    }
}

#[test]
fn a_removed_session_stays_removed_when_the_machine_stops() {
    let disk = disk_before(&CASES[3]);
    let store = FileStore::on(Box::new(disk.clone()));
    assert!(store.remove(&key(0)).unwrap());
    // What comes late brings nothing back.
    assert_eq!(store.apply(&key(0), &set("n", 9)).unwrap(), Applied::Gone);
    assert_eq!(store.open(&key(0), 0, now(), true).unwrap(), Opened::Missing);
    assert!(disk.after_a_stop().iter().all(|disk| look(disk, 0).is_none()));
}

#[test]
fn a_stop_while_an_access_is_noted_costs_at_most_the_access() {
    let disk = disk_before(&CASES[1]);
    disk.inner().stop_at = Some(1);
    let store = FileStore::on(Box::new(disk.clone()));
    assert!(store.open(&key(0), 0, now() + HOUR / 2, true).is_err());
    assert!(disk.after_a_stop().iter().all(|disk| look(disk, 0) == Some(1)));
}
