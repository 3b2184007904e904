//! What holds for every store beyond the process, and for managers that share one.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[cfg(feature = "redis")]
#[path = "support/redis.rs"]
mod redis;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use sessile::message::{Request, Response};
use sessile::web::{
    AddressCheck, Applied, BindingEvent, Changes, Clock, EndReason, EndedSession, FileStore, ManualClock,
    MemoryStore, Moved, Object, Opened, Portable, SessionActivationListener, SessionAttributeListener,
    SessionEvent, SessionId, SessionListener, SessionRecord, SessionStore, StoreKey, Value, ValueKind, Visit,
    WebContext, WebSession, WebSessionManager, WebSessionManagerBuilder,
};
use sessile::{Error, ErrorKind, Result};

/// A store behind a wire that can be cut, and that is listened to.
#[derive(Debug)]
struct Far {
    store: Box<dyn SessionStore>,
    cut: AtomicBool,
    /// Whether every third call fails.
    bad: AtomicBool,
    calls: AtomicUsize,
    /// Where the next session that is made waits, twice.
    gate: Mutex<Option<Arc<Barrier>>>,
}

impl Far {
    fn new(store: impl SessionStore) -> Arc<Far> {
        Arc::new(Far {
            store: Box::new(store),
            cut: AtomicBool::new(false),
            bad: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            gate: Mutex::default(),
        })
    }

    fn call(&self) -> Result<&dyn SessionStore> {
        let number = self.calls.fetch_add(1, SeqCst);
        match self.cut.load(SeqCst) || self.bad.load(SeqCst) && number % 3 == 0 {
            true => Err(Error::new(ErrorKind::Store, "the wire is cut")),
            false => Ok(&*self.store),
        }
    }

    fn calls(&self) -> usize {
        self.calls.swap(0, SeqCst)
    }
}

impl SessionStore for Far {
    fn create(&self, key: &StoreKey, record: &SessionRecord) -> Result<bool> {
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.wait();
            gate.wait();
        }
        self.call()?.create(key, record)
    }
    fn open(&self, key: &StoreKey, known: u64, now: SystemTime, access: bool) -> Result<Opened> {
        self.call()?.open(key, known, now, access)
    }
    fn apply(&self, key: &StoreKey, changes: &Changes) -> Result<Applied> {
        self.call()?.apply(key, changes)
    }
    fn rename(&self, from: &StoreKey, to: &StoreKey, moved: &Moved) -> Result<bool> {
        self.call()?.rename(from, to, moved)
    }
    fn remove(&self, key: &StoreKey) -> Result<bool> {
        self.call()?.remove(key)
    }
    fn sweep(&self, application: &str, now: SystemTime) -> Result<Vec<(StoreKey, SessionRecord)>> {
        self.call()?.sweep(application, now)
    }
    fn count(&self) -> Result<usize> {
        self.call()?.count()
    }
    fn of_principal(&self, application: &str, principal: &str) -> Result<Vec<StoreKey>> {
        self.call()?.of_principal(application, principal)
    }
    fn max_record(&self) -> usize {
        self.store.max_record()
    }
}

/// A folder of its own for a test, gone at its end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("sessile-{name}-{}", std::process::id()));
        _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a test with each of the stores that need nothing from outside.
fn with_stores(name: &str, test: impl Fn(Arc<Far>)) {
    test(Far::new(MemoryStore::new()));
    let folder = Folder::new(name);
    test(Far::new(FileStore::open(&folder.0).unwrap()));
    #[cfg(feature = "redis")]
    if let Ok(url) = std::env::var(REDIS) {
        let prefix = format!("{name}:");
        test(Far::new(sessile::web::RedisStore::open(&url).unwrap().with_prefix(&prefix)));
    }
}

/// Where there is a Redis to test with as well.
#[cfg(feature = "redis")]
const REDIS: &str = "SESSILE_TEST_REDIS";

#[cfg(feature = "redis")]
#[test]
#[ignore = "needs redis-server"]
fn all_of_this_holds_with_redis() {
    again_with("redis-server");
}

#[cfg(feature = "redis")]
#[test]
#[ignore = "needs valkey-server"]
fn all_of_this_holds_with_valkey() {
    again_with("valkey-server");
}

/// Runs the tests of this file with a server as well.
#[cfg(feature = "redis")]
fn again_with(program: &str) {
    let server = redis::Redis::start_program(program, &[]);
    let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
    assert!(tests.env(REDIS, server.url()).status().unwrap().success());
}

const MINUTE: Duration = Duration::from_secs(60);

fn key() -> StoreKey {
    // Ids are made by managers.
    let manager = WebSessionManager::builder(MemoryStore::new()).sweep_every(None).build();
    StoreKey::new("app", &manager.new_session().unwrap().id())
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn record() -> SessionRecord {
    let mut record = SessionRecord::new("app", start());
    record.version = 1;
    record.timeout = Some(10 * MINUTE);
    record.values.insert("a".into(), b"t1".to_vec());
    record
}

fn setting(name: &str, value: &str) -> Changes {
    let mut changes = Changes::default();
    changes.values.insert(name.into(), Some(format!("t{value}").into_bytes()));
    changes
}

fn read(store: &dyn SessionStore, key: &StoreKey) -> SessionRecord {
    match store.open(key, 0, start(), false).unwrap() {
        Opened::Record(record) => record,
        other => panic!("{other:?}"),
    }
}

/// The rules of [`SessionStore`], for a store without sessions.
fn rules(store: &dyn SessionStore) {
    // create: not where there is one.
    let one = key();
    assert_eq!(store.open(&one, 0, start(), true).unwrap(), Opened::Missing);
    assert!(store.create(&one, &record()).unwrap());
    assert!(!store.create(&one, &SessionRecord::new("app", start())).unwrap());
    assert_eq!(read(store, &one), record());
    assert_eq!(store.count().unwrap(), 1);

    // apply: changes, not snapshots, and versions.
    assert_eq!(store.apply(&one, &setting("b", "2")).unwrap(), Applied::Done(2));
    assert_eq!(store.apply(&one, &setting("c", "3")).unwrap(), Applied::Done(3));
    let mut changes = setting("a", "9");
    changes.expected = Some(2);
    assert_eq!(store.apply(&one, &changes).unwrap(), Applied::Conflict);
    changes.expected = Some(3);
    changes.values.insert("b".into(), None);
    changes.principal = Some(Some("ann".into()));
    changes.csrf_token = Some("token".into());
    changes.timeout = Some(Some(20 * MINUTE));
    assert_eq!(store.apply(&one, &changes).unwrap(), Applied::Done(4));
    let found = read(store, &one);
    assert_eq!(found.values.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(found.values["a"], b"t9");
    assert_eq!((found.version, found.timeout), (4, Some(20 * MINUTE)));
    assert_eq!((found.principal.as_deref(), found.csrf_token.as_deref()), (Some("ann"), Some("token")));
    assert_eq!(found.created, start());

    // open: nothing that is known, and accesses.
    let later = start() + 15 * MINUTE;
    let unchanged = Opened::Unchanged { last_accessed: start() };
    assert_eq!(store.open(&one, 4, later, false).unwrap(), unchanged);
    assert_eq!(store.open(&one, 4, later, true).unwrap(), Opened::Unchanged { last_accessed: later });
    assert!(
        matches!(store.open(&one, 3, later, false).unwrap(), Opened::Record(record) if record.last_accessed == later)
    );
    // One that is older than what is known is news, too: the store lost changes.
    assert!(
        matches!(store.open(&one, 9, later, false).unwrap(), Opened::Record(record) if record.version == 4)
    );
    // An access is no change: it takes no version, and a change is no access.
    assert_eq!(store.apply(&one, &setting("d", "4")).unwrap(), Applied::Done(5));
    assert_eq!(read(store, &one).last_accessed, later);

    // of_principal, by application.
    assert_eq!(store.of_principal("app", "ann").unwrap(), std::slice::from_ref(&one));
    assert!(store.of_principal("other", "ann").unwrap().is_empty());
    assert!(store.of_principal("app", "bob").unwrap().is_empty());

    // Its time is over: one caller gets it.
    let over = later + 20 * MINUTE;
    assert!(
        matches!(store.open(&one, 5, over, true).unwrap(), Opened::Expired(record) if record.values.len() == 3)
    );
    assert_eq!(store.open(&one, 5, over, true).unwrap(), Opened::Missing);
    // Nothing that comes late brings it back.
    assert_eq!(store.apply(&one, &setting("a", "1")).unwrap(), Applied::Gone);
    assert!(!store.remove(&one).unwrap());
    assert_eq!(store.open(&one, 0, start(), true).unwrap(), Opened::Missing);
    assert!(store.of_principal("app", "ann").unwrap().is_empty());

    // rename.
    let two = key();
    let three = key();
    store.create(&two, &record()).unwrap();
    let moved = Moved::from_parts(three.clone(), start(), start() + MINUTE, start() + 10 * MINUTE, [7; 16]);
    assert!(store.rename(&two, &three, &moved).unwrap());
    assert_eq!(store.open(&two, 0, start(), true).unwrap(), Opened::Moved(moved.clone()));
    assert_eq!(read(store, &three), record());
    assert!(!store.rename(&two, &key(), &moved).unwrap());
    assert!(!store.rename(&key(), &key(), &moved).unwrap());
    assert_eq!(store.count().unwrap(), 1);
    // Changes of requests that were under way arrive.
    assert_eq!(store.apply(&two, &setting("late", "1")).unwrap(), Applied::Done(2));
    assert!(read(store, &three).values.contains_key("late"));

    // remove, by the old name too.
    assert!(store.remove(&two).unwrap());
    assert_eq!(store.open(&three, 0, start(), true).unwrap(), Opened::Missing);
    assert!(!store.remove(&three).unwrap());
    assert_eq!(store.count().unwrap(), 0);

    // Too much.
    let four = key();
    store.create(&four, &record()).unwrap();
    let much = setting("much", &"x".repeat(store.max_record()));
    assert_eq!(store.apply(&four, &much).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(read(store, &four), record());
    let mut clear = Changes::default();
    clear.clear = true;
    clear.values.insert("z".into(), Some(vec![]));
    assert_eq!(store.apply(&four, &clear).unwrap(), Applied::Done(2));
    assert_eq!(read(store, &four).values.into_iter().collect::<Vec<_>>(), [("z".to_owned(), vec![])]);

    // Never, and a greatest age.
    let mut changes = Changes::default();
    changes.timeout = Some(None);
    store.apply(&four, &changes).unwrap();
    let far = start() + 10_000 * MINUTE;
    assert_eq!(store.open(&four, 3, far, true).unwrap(), Opened::Unchanged { last_accessed: far });
    changes.timeout = None;
    changes.ends = Some(Some(far + MINUTE));
    store.apply(&four, &changes).unwrap();
    assert!(matches!(store.open(&four, 4, far, true).unwrap(), Opened::Unchanged { .. }));
    assert!(matches!(store.open(&four, 4, far + MINUTE, true).unwrap(), Opened::Expired(_)));
}

#[test]
fn every_store_keeps_the_rules() {
    with_stores("rules", |store| rules(&*store.store));
}

#[test]
fn changes_at_the_same_time_all_arrive() {
    with_stores("arrive", |store| {
        let one = key();
        store.create(&one, &record()).unwrap();
        thread::scope(|scope| {
            for number in 0..8 {
                let (store, one) = (&store, &one);
                scope.spawn(move || {
                    for round in 0..10 {
                        let changes = setting(&format!("{number} {round}"), "1");
                        assert!(matches!(store.apply(one, &changes).unwrap(), Applied::Done(_)));
                    }
                });
            }
        });
        let found = read(&*store, &one);
        assert_eq!((found.version, found.values.len()), (81, 81));
    });
}

#[test]
fn stores_that_do_not_expire_by_themselves_are_swept() {
    with_stores("swept", |store| {
        if format!("{store:?}").contains("RedisStore") {
            return;
        }
        for _ in 0..50 {
            store.create(&key(), &record()).unwrap();
        }
        let (lasting, from, to) = (key(), key(), key());
        let mut record = record();
        record.timeout = None;
        store.create(&lasting, &record).unwrap();
        store.create(&from, &record).unwrap();
        let moved = Moved::from_parts(to.clone(), start(), start(), start() + MINUTE, [0; 16]);
        store.rename(&from, &to, &moved).unwrap();
        assert!(store.sweep("app", start()).unwrap().is_empty());
        let mut removed = 0;
        loop {
            let swept = store.sweep("app", start() + 10 * MINUTE).unwrap();
            if swept.is_empty() {
                break;
            }
            removed += swept.len();
        }
        assert_eq!(removed, 50);
        assert_eq!(store.count().unwrap(), 2);
        assert_eq!(store.open(&from, 0, start(), false).unwrap(), Opened::Missing);
        assert!(store.sweep("app", start() + 10 * MINUTE).unwrap().is_empty());
    });
}

// Managers that share a store: nodes.

fn node_builder(store: &Arc<Far>, clock: &ManualClock) -> WebSessionManagerBuilder {
    WebSessionManager::builder(store.clone()).clock(clock.clone()).sweep_every(None)
}

fn nodes(store: &Arc<Far>) -> (WebSessionManager, WebSessionManager, ManualClock) {
    let clock = ManualClock::new();
    (node_builder(store, &clock).build(), node_builder(store, &clock).build(), clock)
}

fn find(manager: &WebSessionManager, id: &SessionId) -> Option<WebSession> {
    let mut request = Request::get("/");
    request.headers_mut().set("Cookie", format!("id={id}")).unwrap();
    manager.find(&Visit::new(&request)).unwrap()
}

/// Ends a request, and says whether the cookie was set.
fn finish(manager: &WebSessionManager, session: &WebSession) -> bool {
    let mut response = Response::new();
    manager.finish(session, &mut response).unwrap();
    response.headers().has("Set-Cookie")
}

#[test]
fn a_session_is_found_on_another_node_with_all_that_is_in_it() {
    with_stores("nodes", |store| {
        let (here, there, clock) = nodes(&store);
        let request = Request::get("/");
        let visit = Visit::new(&request).client_address([10, 0, 0, 1].into());
        let session = here.create(&visit).unwrap();
        session.set("text", "Ann").unwrap();
        session.set("number", -5).unwrap();
        session.set("bytes", vec![0, 255]).unwrap();
        session.set_principal(Some("ann")).unwrap();
        session.set_timeout(Some(5 * MINUTE));
        let token = session.csrf_token().unwrap();
        assert!(finish(&here, &session));
        clock.advance(MINUTE);

        let other = find(&there, &session.id()).unwrap();
        assert_eq!(other.id(), session.id());
        assert_eq!(other.get::<String>("text").unwrap(), "Ann");
        assert_eq!(other.get::<i64>("number").unwrap(), -5);
        assert_eq!(other.get::<Vec<u8>>("bytes").unwrap(), [0, 255]);
        assert_eq!(other.principal().as_deref(), Some("ann"));
        assert_eq!(other.timeout(), Some(5 * MINUTE));
        assert_eq!(other.created(), session.created());
        assert_eq!(other.last_accessed(), session.created() + MINUTE);
        assert_eq!(other.client_address(), session.client_address());
        assert!(other.verify_csrf(&token));
        assert!(!other.is_new().unwrap());
        assert!(!finish(&there, &other));
    });
}

#[test]
fn one_round_trip_opens_and_one_saves() {
    let store = Far::new(MemoryStore::new());
    let (here, _, _) = nodes(&store);
    let request = Request::get("/");
    let session = here.create(&Visit::new(&request)).unwrap();
    session.set("a", 1).unwrap();
    session.set("b", 1).unwrap();
    assert_eq!(store.calls(), 0);
    finish(&here, &session);
    assert_eq!(store.calls(), 1);

    let session = find(&here, &session.id()).unwrap();
    session.get::<i32>("a").unwrap();
    assert_eq!(store.calls(), 1);
    finish(&here, &session);
    assert_eq!(store.calls(), 0, "nothing changed");
    session.set("a", 2).unwrap();
    assert_eq!(store.calls(), 1, "the head is gone, so it is stored at once");
    drop(session);

    let session = find(&here, &here.session_ids()[0]).unwrap();
    session.set("a", 3).unwrap();
    session.erase("b").unwrap();
    session.set_timeout(Some(MINUTE));
    finish(&here, &session);
    assert_eq!(store.calls(), 2);
}

#[test]
fn requests_that_set_different_attributes_both_win_on_one_node_and_on_two() {
    with_stores("both", |store| {
        let (here, there, _) = nodes(&store);
        let id = here.new_session().unwrap().id();
        for (one, other) in [(&here, &here), (&here, &there)] {
            let (a, b) = (find(one, &id).unwrap(), find(other, &id).unwrap());
            a.set("a", "from a").unwrap();
            b.set("b", "from b").unwrap();
            a.set("both", "a").unwrap();
            b.set("both", "b").unwrap();
            finish(one, &a);
            finish(other, &b);
            for node in [one, other] {
                let found = find(node, &id).unwrap();
                assert_eq!(found.get::<String>("a").unwrap(), "from a");
                assert_eq!(found.get::<String>("b").unwrap(), "from b");
                assert_eq!(found.get::<String>("both").unwrap(), "b");
            }
            let found = find(other, &id).unwrap();
            found.clear().unwrap();
            finish(other, &found);
            assert!(find(one, &id).unwrap().attribute_names().unwrap().is_empty());
        }
    });
}

#[test]
fn updates_are_atomic_among_nodes() {
    with_stores("atomic", |store| {
        let (here, there, _) = nodes(&store);
        let id = here.new_session().unwrap().id();
        let barrier = Barrier::new(8);
        thread::scope(|scope| {
            for number in 0..8 {
                let (node, barrier) = (if number % 2 == 0 { &here } else { &there }, &barrier);
                scope.spawn(move || {
                    let session = find(node, &id).unwrap();
                    barrier.wait();
                    for round in 0..10 {
                        session.update("n", |n: Option<u64>| Some(n.unwrap_or(0) + 1)).unwrap();
                        session.set(&format!("{number} {round}"), 1).unwrap();
                    }
                    finish(node, &session);
                });
            }
        });
        for node in [&here, &there] {
            let session = find(node, &id).unwrap();
            assert_eq!(session.get::<u64>("n").unwrap(), 80);
            assert_eq!(session.attribute_names().unwrap().len(), 81);
        }
    });
}

#[test]
fn what_is_updated_after_all_was_removed_is_stored() {
    with_stores("cleared", |store| {
        let (here, there, _) = nodes(&store);
        let id = here.new_session().unwrap().id();
        find(&here, &id).unwrap().set("a", 1).unwrap();
        let session = find(&here, &id).unwrap();
        session.set("b", 1).unwrap();
        session.clear().unwrap();
        session.update("count", |count: Option<i32>| Some(count.unwrap_or(0) + 1)).unwrap();
        session.update("count", |count: Option<i32>| Some(count.unwrap_or(0) + 1)).unwrap();
        session.update("gone", |_: Option<i32>| Some(1)).unwrap();
        session.update("gone", |_: Option<i32>| None).unwrap();
        finish(&here, &session);
        for node in [&there, &here] {
            let session = find(node, &id).unwrap();
            assert_eq!(session.get::<i32>("count").unwrap(), 2);
            assert!(!session.has("a") && !session.has("b") && !session.has("gone"));
        }
    });
}

#[test]
fn an_ended_session_does_not_come_back() {
    with_stores("ended", |store| {
        let (here, there, _) = nodes(&store);
        let id = here.new_session().unwrap().id();
        // A long poll is under way there when the user leaves here.
        let poll = find(&there, &id).unwrap();
        let elsewhere = poll.clone();
        let leaving = find(&here, &id).unwrap();
        leaving.invalidate().unwrap();
        poll.set("a", 1).unwrap();
        assert!(!finish(&there, &poll));
        assert!(!poll.is_valid());
        assert_eq!(elsewhere.save().unwrap_err().kind(), ErrorKind::IllegalState);
        assert!(find(&there, &id).is_none() && find(&here, &id).is_none());
        assert_eq!(store.count().unwrap(), 0);
    });
}

#[test]
fn a_session_that_ends_while_it_is_stored_for_the_first_time_is_not_stored() {
    with_stores("ending", |store| {
        let (here, _, _) = nodes(&store);
        let gate = Arc::new(Barrier::new(2));
        *store.gate.lock().unwrap() = Some(gate.clone());
        let request = Request::get("/");
        let session = here.create(&Visit::new(&request)).unwrap();
        let other = session.clone();
        thread::scope(|scope| {
            let finishing = scope.spawn(|| finish(&here, &session));
            gate.wait();
            other.invalidate().unwrap();
            gate.wait();
            assert!(!finishing.join().unwrap(), "it needs no cookie");
        });
        assert_eq!(store.count().unwrap(), 0);
    });
}

#[test]
fn an_access_on_one_node_counts_on_the_other() {
    with_stores("access", |store| {
        let (here, there, clock) = nodes(&store);
        let id = here.new_session().unwrap().id();
        let kept = find(&here, &id).unwrap().clone();
        for _ in 0..5 {
            clock.advance(20 * MINUTE);
            assert!(find(&there, &id).is_some());
        }
        clock.advance(20 * MINUTE);
        // It would be over here, if this node were alone.
        kept.set("a", 1).unwrap();
        kept.access().unwrap();
        clock.advance(20 * MINUTE);
        assert_eq!(find(&there, &id).unwrap().get::<i32>("a").unwrap(), 1);
        clock.advance(30 * MINUTE);
        assert!(!kept.is_valid());
        assert!(find(&there, &id).is_none());
    });
}

#[test]
fn a_session_that_is_used_lasts_until_its_greatest_age() {
    with_stores("greatest", |store| {
        let clock = ManualClock::new();
        let node = || node_builder(&store, &clock).max_lifetime(Some(60 * MINUTE)).build();
        let (here, there) = (node(), node());
        let read = here.new_session().unwrap().id();
        let written = here.new_session().unwrap().id();
        for minute in (5..60).step_by(5) {
            clock.advance(5 * MINUTE);
            there.sweep().unwrap();
            for node in [&here, &there] {
                let session = find(node, &read).unwrap();
                assert!(finish(node, &session) || session.is_valid());
                let session = find(node, &written).unwrap();
                session.set("minute", minute).unwrap();
                finish(node, &session);
            }
            assert_eq!(here.sweep().unwrap().ended, 0);
        }
        clock.advance(5 * MINUTE);
        assert!(find(&there, &read).is_none());
        there.sweep().unwrap();
        assert!(find(&here, &written).is_none());
    });
}

#[test]
fn a_value_that_the_store_can_not_carry_is_refused_when_it_is_set() {
    with_stores("refused", |store| {
        let (here, _, _) = nodes(&store);
        let session = here.new_session().unwrap();
        assert_eq!(session.set("object", Arc::new(5)).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert!(!session.has("object"));
    });
}

#[test]
fn what_is_too_large_is_refused_when_it_is_set() {
    let folder = Folder::new("large");
    let store = Far::new(FileStore::open(&folder.0).unwrap().with_max_record(100));
    let (here, there, _) = nodes(&store);
    let session = here.new_session().unwrap();
    session.set("a", "x".repeat(50)).unwrap();
    assert_eq!(session.set("b", "x".repeat(50)).unwrap_err().kind(), ErrorKind::TooLarge);
    session.set("a", "x".repeat(90)).unwrap();
    session.set("a", "x").unwrap();
    // Two nodes that are both within the limit are refused together, and go on.
    let (a, b) = (find(&here, &session.id()).unwrap(), find(&there, &session.id()).unwrap());
    a.set("b", "x".repeat(60)).unwrap();
    b.set("c", "x".repeat(60)).unwrap();
    finish(&here, &a);
    let error = there.finish(&b, &mut Response::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    drop((a, b));
    let b = find(&there, &session.id()).unwrap();
    assert!(b.has("b") && !b.has("c"));
    b.erase("b").unwrap();
    b.set("c", "x".repeat(60)).unwrap();
    finish(&there, &b);
}

#[test]
fn a_lost_store_is_an_error_that_says_so_and_loses_no_change() {
    with_stores("lost", |store| {
        let (here, there, _) = nodes(&store);
        let id = here.new_session().unwrap().id();
        let session = find(&here, &id).unwrap();
        session.set("a", 1).unwrap();
        store.cut.store(true, SeqCst);
        let error = here.finish(&session, &mut Response::new()).unwrap_err();
        assert_eq!(error.status_hint().map(|status| status.as_u16()), Some(503));
        let mut request = Request::get("/");
        request.headers_mut().set("Cookie", format!("id={id}")).unwrap();
        assert_eq!(there.find(&Visit::new(&request)).unwrap_err().kind(), ErrorKind::Store);
        assert_eq!(here.new_session().unwrap_err().kind(), ErrorKind::Store);
        assert_eq!(session.invalidate().unwrap_err().kind(), ErrorKind::Store);
        assert_eq!(session.rotate_id().unwrap_err().kind(), ErrorKind::Store);
        assert!(here.sweep().is_err());
        assert_eq!(session.id(), id);
        assert!(session.is_valid());

        store.cut.store(false, SeqCst);
        drop(session);
        here.sweep().unwrap();
        assert_eq!(find(&there, &id).unwrap().get::<i32>("a").unwrap(), 1);
    });
}

#[test]
fn sessions_that_could_not_be_stored_do_not_stay_in_memory() {
    with_stores("unstored", |store| {
        let clock = ManualClock::new();
        let ends = Arc::new(Ends::default());
        let here = node_builder(&store, &clock).listener(ends.clone()).build();
        store.cut.store(true, SeqCst);
        let request = Request::get("/");
        let make = || {
            let session = here.create(&Visit::new(&request)).unwrap();
            assert!(here.finish(&session, &mut Response::new()).is_err());
            session
        };
        for at in 0..50 {
            let session = make();
            if at % 2 == 0 {
                assert!(session.set("a", at).is_err());
            }
        }
        let held = make();
        store.calls();
        assert!(here.sweep().is_err());
        assert!(store.calls() < 20, "it is not asked for each of them");
        assert_eq!(here.statistics().active, 51, "the store may be back in a moment");
        clock.advance(MINUTE);
        assert!(here.sweep().is_err());
        assert_eq!(here.statistics().active, 1, "nobody knows their ids");
        assert!(ends.0.lock().unwrap().iter().all(|(reason, _)| *reason == EndReason::Lost));
        assert_eq!(ends.0.lock().unwrap().len(), 50);

        // One that somebody holds is stored as soon as that is possible.
        store.cut.store(false, SeqCst);
        here.sweep().unwrap();
        assert_eq!(store.count().unwrap(), 1);
        assert!(held.is_valid());
    });
}

#[test]
fn a_store_that_lost_its_latest_changes_is_believed() {
    with_stores("restored", |store| {
        let (here, _, _) = nodes(&store);
        let session = here.new_session().unwrap();
        session.set("a", 1).unwrap();
        let key = StoreKey::new("", &session.id());
        let saved = read(&*store, &key);
        let lose_changes = || {
            session.set("a", 2).unwrap();
            session.set("lost", 1).unwrap();
            assert!(store.remove(&key).unwrap());
            assert!(store.create(&key, &saved).unwrap());
        };
        lose_changes();
        let update = session.update("a", |a: Option<i32>| a.map(|a| a + 10)).unwrap();
        assert_eq!(update, Some(11));
        assert!(!session.has("lost"));
        lose_changes();
        let found = find(&here, &session.id()).unwrap();
        assert_eq!(found.get::<i32>("a").unwrap(), 1);
        assert!(!found.has("lost"));
    });
}

#[test]
fn nothing_that_was_acknowledged_is_lost_on_a_bad_wire() {
    with_stores("bad", |store| {
        let (here, there, _) = nodes(&store);
        let id = here.new_session().unwrap().id();
        let handles: Vec<WebSession> =
            [&here, &there].map(|node| find(node, &id).unwrap().clone()).into_iter().collect();
        store.bad.store(true, SeqCst);
        let acknowledged: Vec<(u64, u64)> = thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|number| {
                    let session = &handles[number % 2];
                    scope.spawn(move || {
                        let (mut set, mut counted) = (0, 0);
                        for round in 1..=60 {
                            match session.set(&format!("t{number}"), round) {
                                Ok(_) => set = round,
                                Err(error) => assert_eq!(error.kind(), ErrorKind::Store),
                            }
                            match session.update("n", |n: Option<u64>| Some(n.unwrap_or(0) + 1)) {
                                Ok(_) => counted += 1,
                                Err(error) => assert_eq!(error.kind(), ErrorKind::Store),
                            }
                            if round % 20 == number as u64 {
                                _ = session.rotate_id();
                            }
                        }
                        (set, counted)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        store.bad.store(false, SeqCst);
        here.sweep().unwrap();
        there.sweep().unwrap();
        handles.iter().for_each(|session| session.access().unwrap());
        let id = handles[0].id();
        assert_eq!(handles[1].id(), id);
        for node in [&here, &there] {
            let session = find(node, &id).unwrap();
            for (number, (set, _)) in acknowledged.iter().enumerate() {
                assert!(session.get_or(&format!("t{number}"), 0).unwrap() >= *set, "{number}");
            }
            let counted: u64 = acknowledged.iter().map(|(_, counted)| counted).sum();
            assert_eq!(session.get_or("n", 0).unwrap(), counted);
            assert!((1..360).contains(&counted), "some were, and some were not: {counted}");
        }
        assert_eq!(store.count().unwrap(), 1);
    });
}

#[test]
fn a_request_that_never_came_to_its_end_is_stored_by_the_sweep() {
    with_stores("left", |store| {
        let (here, there, _) = nodes(&store);
        let id = here.new_session().unwrap().id();
        let session = find(&here, &id).unwrap();
        session.set("a", 1).unwrap();
        here.sweep().unwrap();
        assert!(!find(&there, &id).unwrap().has("a"), "it may still come to its end");
        drop(session);
        here.sweep().unwrap();
        assert!(find(&there, &id).unwrap().has("a"));
    });
}

#[test]
fn rotation_reaches_all_nodes() {
    with_stores("rotation", |store| {
        let (here, there, clock) = nodes(&store);
        let old = here.new_session().unwrap().id();
        // Under way there while the user signs in here.
        let running = find(&there, &old).unwrap();
        let user = find(&here, &old).unwrap();
        user.set("user", "Ann").unwrap();
        let new = user.rotate_id().unwrap();
        assert!(finish(&here, &user));
        // What it changes arrives, and its client learns nothing.
        running.set("late", 1).unwrap();
        assert!(!finish(&there, &running));
        for node in [&here, &there] {
            assert!(find(node, &old).is_none());
            let found = find(node, &new).unwrap();
            assert_eq!(found.get::<String>("user").unwrap(), "Ann");
            assert_eq!(found.get::<i32>("late").unwrap(), 1);
        }
        // It hears of the new id when it asks.
        clock.advance(MINUTE);
        running.access().unwrap();
        assert_eq!(running.id(), new);

        // With a grace period, on a node that never saw the new id.
        let user = find(&here, &new).unwrap();
        let newest = user.rotate_id_with_grace(Duration::from_secs(10)).unwrap();
        finish(&here, &user);
        let fresh = node_builder(&store, &clock).build();
        for node in [&here, &there, &fresh] {
            let found = find(node, &new).unwrap();
            assert_eq!(found.id(), newest);
            assert!(!finish(node, &found));
        }
        clock.advance(Duration::from_secs(10));
        for node in [&here, &there, &fresh] {
            assert!(find(node, &new).is_none());
            assert!(find(node, &newest).is_some());
        }
        assert_eq!(store.count().unwrap(), 1);
    });
}

#[test]
fn rotations_on_two_nodes_are_one() {
    with_stores("two", |store| {
        for _ in 0..10 {
            let (here, there, _) = nodes(&store);
            let old = here.new_session().unwrap().id();
            let barrier = Barrier::new(2);
            let rotate = |node: &WebSessionManager| {
                let session = find(node, &old).unwrap();
                barrier.wait();
                session.rotate_id().unwrap()
            };
            let ids: [SessionId; 2] = thread::scope(|scope| {
                let other = scope.spawn(|| rotate(&there));
                [rotate(&here), other.join().unwrap()]
            });
            let found: Vec<bool> = ids.iter().map(|id| find(&here, id).is_some()).collect();
            // Either both are one, or one came after the other.
            assert!(found.iter().any(|found| *found));
            assert!(find(&here, &old).is_none() && find(&there, &old).is_none());
            let alive = ids.iter().rev().find(|id| find(&here, id).is_some()).unwrap();
            find(&there, alive).unwrap().invalidate().unwrap();
            assert_eq!(store.count().unwrap(), 0);
        }
    });
}

/// Counts what it hears.
#[derive(Default)]
struct Ends(Mutex<Vec<(EndReason, Vec<String>)>>);

impl SessionListener for Ends {
    fn session_destroyed(&self, ended: &EndedSession<'_>) {
        let names = ended.iter().map(|(name, _)| name.to_owned()).collect();
        self.0.lock().unwrap().push((ended.reason(), names));
    }
}

/// Does everything with the session that it hears of, up to a number of times.
#[derive(Default)]
struct Meddler(AtomicUsize);

impl Meddler {
    fn meddle(&self, session: &WebSession) {
        if self.0.fetch_add(1, SeqCst) >= 20 {
            return;
        }
        _ = session.save();
        _ = session.set("meddled", 1);
        _ = session.update("count", |n: Option<u64>| Some(n.unwrap_or(0) + 1));
        _ = session.rotate_id();
        _ = session.access();
        _ = session.save();
    }
}

impl SessionListener for Meddler {
    fn session_created(&self, event: &SessionEvent<'_>) {
        self.meddle(event.session());
    }
    fn session_destroyed(&self, ended: &EndedSession<'_>) {
        self.meddle(ended.session());
    }
    fn session_id_changed(&self, event: &SessionEvent<'_>, _: &SessionId) {
        self.meddle(event.session());
    }
}

impl SessionAttributeListener for Meddler {
    fn attribute_added(&self, event: &BindingEvent<'_>) {
        self.meddle(event.session());
    }
    fn attribute_replaced(&self, event: &BindingEvent<'_>) {
        self.meddle(event.session());
    }
    fn attribute_removed(&self, event: &BindingEvent<'_>) {
        self.meddle(event.session());
    }
}

#[test]
fn a_listener_may_use_its_session_whatever_it_hears_of() {
    with_stores("meddled", |store| {
        let clock = ManualClock::new();
        let meddler = Arc::new(Meddler::default());
        let here = node_builder(&store, &clock)
            .listener(meddler.clone())
            .attribute_listener(meddler.clone())
            .build();
        let there = node_builder(&store, &clock).build();
        let (done, wait) = mpsc::channel();
        thread::spawn(move || {
            // By which call it is noticed that another node ended the session.
            for noticed in 0..4 {
                meddler.0.store(0, SeqCst);
                let session = here.new_session().unwrap();
                for change in 0..3 {
                    meddler.0.store(0, SeqCst);
                    match change {
                        0 => _ = session.update("a", |_: Option<i32>| Some(1)).unwrap(),
                        1 => _ = session.set("b", 1).unwrap(),
                        _ => _ = session.rotate_id().unwrap(),
                    }
                }
                there.find_by_id(&session.id()).unwrap().unwrap().invalidate().unwrap();
                meddler.0.store(0, SeqCst);
                let error = match noticed {
                    0 => session.set("c", 1).unwrap_err(),
                    1 => session.update("c", |_: Option<i32>| Some(1)).unwrap_err(),
                    2 => session.rotate_id().unwrap_err(),
                    _ => session.access().unwrap_err(),
                };
                assert_eq!(error.kind(), ErrorKind::IllegalState);
                assert!(meddler.0.load(SeqCst) > 0, "its end was told");
            }
            done.send(()).unwrap();
        });
        wait.recv_timeout(Duration::from_secs(30)).expect("a dead-lock, or what the thread said");
    });
}

#[test]
fn the_end_of_a_session_is_told_once_by_the_node_that_finds_it_over() {
    with_stores("told", |store| {
        let clock = ManualClock::new();
        let ends = Arc::new(Ends::default());
        let node = || node_builder(&store, &clock).listener(ends.clone()).build();
        let (here, there) = (node(), node());
        // Swept by a node that never saw them, found over by a request, swept by its own.
        for swept in [&there, &here] {
            let session = here.new_session().unwrap();
            session.set("a", 1).unwrap();
            clock.advance(30 * MINUTE);
            assert!(swept.sweep().unwrap().ended <= 1);
            here.sweep().unwrap();
            there.sweep().unwrap();
            assert!(find(&here, &session.id()).is_none());
        }
        let session = here.new_session().unwrap();
        session.set("a", 1).unwrap();
        clock.advance(30 * MINUTE);
        assert!(find(&there, &session.id()).is_none());
        assert_eq!(store.count().unwrap(), 0);
        let told = std::mem::take(&mut *ends.0.lock().unwrap());
        // The node that has it in memory tells its own listeners when it learns of the end.
        let expired = told.iter().filter(|(_, names)| *names == ["a"]).count();
        assert!((3..=5).contains(&expired), "{told:?}");
        assert!(told.iter().all(|(reason, _)| *reason == EndReason::Expired), "{told:?}");
    });
}

#[test]
fn all_sessions_of_a_principal_end_on_all_nodes() {
    with_stores("principal", |store| {
        let (here, there, _) = nodes(&store);
        let (a, b, c) =
            (here.new_session().unwrap(), there.new_session().unwrap(), here.new_session().unwrap());
        a.set_principal(Some("ann")).unwrap();
        b.set_principal(Some("ann")).unwrap();
        c.set_principal(Some("bob")).unwrap();
        assert_eq!(here.sessions_of("ann").unwrap().len(), 2);
        assert_eq!(here.end_all_of("ann").unwrap(), 2);
        assert!(!a.is_valid());
        assert!(find(&there, &b.id()).is_none() && find(&here, &a.id()).is_none());
        assert!(find(&there, &c.id()).is_some());
        assert_eq!(here.end_all_of("ann").unwrap(), 0);
    });
}

#[test]
fn whoever_ends_all_sessions_of_a_principal_is_told_of_each_once() {
    with_stores("once", |store| {
        let clock = ManualClock::new();
        let ends = Arc::new(Ends::default());
        let here = node_builder(&store, &clock).listener(ends.clone()).build();
        let there = node_builder(&store, &clock).build();
        let a = here.new_session().unwrap();
        let told = Arc::new(AtomicUsize::new(0));
        let subscriber = told.clone();
        a.on_session_ends(move |_| _ = subscriber.fetch_add(1, SeqCst)).unwrap().keep();
        let b = there.new_session().unwrap();
        let c = here.new_session().unwrap();
        for session in [&a, &b, &c] {
            session.set_principal(Some("ann")).unwrap();
        }
        for session in here.sessions_of("ann").unwrap() {
            if session.id() == c.id() {
                session.invalidate().unwrap();
            }
        }
        assert!(!c.is_valid());
        assert_eq!(ends.0.lock().unwrap().len(), 1);
        assert_eq!(here.end_all_of("ann").unwrap(), 2);
        assert!(!a.is_valid());
        let reasons: Vec<EndReason> = ends.0.lock().unwrap().iter().map(|(reason, _)| *reason).collect();
        assert_eq!(reasons, [EndReason::Invalidated, EndReason::Removed, EndReason::Removed]);
        assert_eq!(told.load(SeqCst), 1);
        assert!(here.session_ids().is_empty());
    });
}

#[test]
fn what_its_store_forgot_ends_here_too_and_listeners_hear_of_it() {
    with_stores("forgotten", |store| {
        let clock = ManualClock::new();
        let ends = Arc::new(Ends::default());
        let here = node_builder(&store, &clock).listener(ends.clone()).build();
        let session = here.new_session().unwrap();
        session.set("a", 1).unwrap();
        let (told, wait) = mpsc::channel();
        session.on_session_ends(move |ended| told.send(ended.reason()).unwrap()).unwrap().keep();
        drop(session);
        clock.advance(30 * MINUTE);
        while !store.store.sweep("", clock.now()).unwrap().is_empty() {}
        assert_eq!(here.sweep().unwrap().ended, 1);
        assert_eq!(wait.try_recv(), Ok(EndReason::Expired));
        assert_eq!(*ends.0.lock().unwrap(), [(EndReason::Expired, vec!["a".to_owned()])]);
        assert!(here.session_ids().is_empty());
    });
}

#[test]
fn a_sweep_leaves_the_sessions_of_other_applications_alone() {
    with_stores("others", |store| {
        if format!("{store:?}").contains("RedisStore") {
            return;
        }
        let clock = ManualClock::new();
        let application = |name: &str| {
            let node = || node_builder(&store, &clock).context(WebContext::new(name));
            // Made on a node that is gone.
            node().build().new_session().unwrap().set("of", name).unwrap();
            let ends = Arc::new(Ends::default());
            (node().listener(ends.clone()).build(), ends)
        };
        let (shop, shop_ends) = application("shop");
        let (blog, blog_ends) = application("blog");
        clock.advance(30 * MINUTE);
        assert_eq!(shop.sweep().unwrap().ended, 1);
        assert_eq!((shop_ends.0.lock().unwrap().len(), blog_ends.0.lock().unwrap().len()), (1, 0));
        assert_eq!(store.count().unwrap(), 1);
        assert_eq!(blog.sweep().unwrap().ended, 1);
        assert_eq!((shop_ends.0.lock().unwrap().len(), blog_ends.0.lock().unwrap().len()), (1, 1));
        assert_eq!(store.count().unwrap(), 0);
    });
}

#[test]
fn a_request_from_a_wrong_address_is_no_access() {
    with_stores("address", |store| {
        let clock = ManualClock::new();
        let node = || node_builder(&store, &clock).address_check(AddressCheck::Exact).build();
        let (here, there) = (node(), node());
        let mut request = Request::get("/");
        let (own, wrong) = ([10, 0, 0, 1].into(), [10, 9, 9, 9].into());
        let session = here.create(&Visit::new(&request).client_address(own)).unwrap();
        finish(&here, &session);
        request.headers_mut().set("Cookie", format!("id={}", session.id())).unwrap();
        drop(session);
        let visit_from = |node: &WebSessionManager, address| {
            let visit = Visit::new(&request).client_address(address);
            node.find(&visit).unwrap().map(|session| finish(node, &session)).is_some()
        };
        for node in [&here, &there] {
            clock.advance(20 * MINUTE);
            assert!(visit_from(node, own));
        }
        for node in [&here, &there] {
            clock.advance(10 * MINUTE);
            assert!(!visit_from(node, wrong));
        }
        clock.advance(10 * MINUTE);
        assert!(!visit_from(&here, own));
    });
}

#[test]
fn applications_in_one_store_do_not_share_sessions() {
    with_stores("applications", |store| {
        let clock = ManualClock::new();
        let shop = node_builder(&store, &clock).context(WebContext::new("shop")).build();
        let blog = node_builder(&store, &clock).context(WebContext::new("blog")).build();
        let session = shop.new_session().unwrap();
        assert!(find(&blog, &session.id()).is_none());
        assert!(find(&shop, &session.id()).is_some());
    });
}

/// A cart that can travel.
struct Cart(String);

static PASSIVATED: AtomicUsize = AtomicUsize::new(0);
static ACTIVATED: AtomicUsize = AtomicUsize::new(0);

impl Portable for Cart {
    const TAG: &'static str = "test.cart";
    fn encode(&self) -> Result<Vec<u8>> {
        Ok(self.0.clone().into_bytes())
    }
    fn decode(bytes: &[u8]) -> Result<Cart> {
        String::from_utf8(bytes.to_vec()).map(Cart).map_err(|_| Error::new(ErrorKind::Decode, "no cart"))
    }
}

impl SessionActivationListener for Cart {
    fn session_will_passivate(&self, event: &SessionEvent<'_>) {
        assert!(event.session().is_valid());
        PASSIVATED.fetch_add(1, SeqCst);
    }
    fn session_did_activate(&self, event: &SessionEvent<'_>) {
        assert_eq!(event.session().get::<Arc<Cart>>("cart").unwrap().0, self.0);
        ACTIVATED.fetch_add(1, SeqCst);
    }
}

#[test]
fn portable_objects_travel_and_hear_of_it() {
    let clock = ManualClock::new();
    let store = Far::new(MemoryStore::new());
    let node = || node_builder(&store, &clock).object_type(|cart: Object<Cart>| cart.activating()).build();
    let (here, there) = (node(), node());
    let session = here.new_session().unwrap();
    session.set_activating("cart", Arc::new(Cart("apple".into()))).unwrap();
    assert_eq!((PASSIVATED.load(SeqCst), ACTIVATED.load(SeqCst)), (0, 0));
    let id = session.id();
    assert_eq!(find(&there, &id).unwrap().get::<Arc<Cart>>("cart").unwrap().0, "apple");
    assert_eq!((PASSIVATED.load(SeqCst), ACTIVATED.load(SeqCst)), (0, 1));

    // Somebody holds it here, so it stays; then it goes.
    clock.advance(2 * MINUTE);
    assert_eq!(here.sweep().unwrap().passivated, 0);
    drop(session);
    assert_eq!(here.sweep().unwrap().passivated, 1);
    assert_eq!((PASSIVATED.load(SeqCst), ACTIVATED.load(SeqCst)), (1, 1));
    assert!(here.session_ids().is_empty());
    assert_eq!(find(&here, &id).unwrap().get::<Arc<Cart>>("cart").unwrap().0, "apple");
    assert_eq!((PASSIVATED.load(SeqCst), ACTIVATED.load(SeqCst)), (1, 2));

    // A node that does not know the type keeps what it can't read.
    let plain = node_builder(&store, &clock).build();
    let session = find(&plain, &id).unwrap();
    assert_eq!(session.get::<Value>("cart").unwrap().kind(), ValueKind::Encoded);
    session.set("a", 1).unwrap();
    finish(&plain, &session);
    assert_eq!(find(&here, &id).unwrap().get::<Arc<Cart>>("cart").unwrap().0, "apple");

    here.close().unwrap();
    assert_eq!(PASSIVATED.load(SeqCst), 2);
    assert!(find(&there, &id).is_some(), "its store outlives the manager");
}

#[test]
fn a_session_that_nobody_uses_here_leaves_the_memory_and_nothing_is_lost() {
    with_stores("leaves", |store| {
        let (here, _, clock) = nodes(&store);
        let ids: Vec<SessionId> = (0..20).map(|_| here.new_session().unwrap().id()).collect();
        for (at, id) in ids.iter().enumerate() {
            let session = find(&here, id).unwrap();
            session.set("at", at).unwrap();
            finish(&here, &session);
        }
        let subscribed = find(&here, &ids[0]).unwrap();
        subscribed.on_session_ends(|_| ()).unwrap().keep();
        drop(subscribed);
        assert_eq!(here.statistics().active, 20);
        clock.advance(MINUTE);
        assert_eq!(here.sweep().unwrap().passivated, 19);
        assert_eq!((here.statistics().active, here.count().unwrap()), (1, 20));
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(find(&here, id).unwrap().get::<usize>("at").unwrap(), at);
        }
    });
}

#[test]
fn a_request_that_takes_long_keeps_its_session_on_other_nodes_too() {
    with_stores("long", |store| {
        let (here, there, clock) = nodes(&store);
        let id = here.new_session().unwrap().id();
        let running = find(&here, &id).unwrap();
        for _ in 0..4 {
            clock.advance(20 * MINUTE);
            here.sweep().unwrap();
            there.sweep().unwrap();
        }
        running.set("a", 1).unwrap();
        finish(&here, &running);
        assert!(find(&there, &id).unwrap().has("a"));
    });
}
