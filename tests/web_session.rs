//! Web sessions through their public interface: attributes, times, ends, notifications,
//! limits.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use sessile::ErrorKind;
use sessile::message::{Request, Response};
use sessile::web::{
    BindingEvent, EndReason, EndedSession, ManualClock, MemoryStore, Object, SessionAttributeListener,
    SessionBindingListener, SessionEvent, SessionId, SessionListener, Value, ValueKind, Visit, WebContext,
    WebSession, WebSessionManager, WebSessionManagerBuilder, WhenFull,
};

fn builder() -> (WebSessionManagerBuilder, ManualClock) {
    let clock = ManualClock::new();
    (WebSessionManager::builder(MemoryStore::new()).clock(clock.clone()).sweep_every(None), clock)
}

fn manager() -> (WebSessionManager, ManualClock) {
    let (builder, clock) = builder();
    (builder.build(), clock)
}

/// A request that shows this id in a cookie.
fn request_of(id: &SessionId) -> Request {
    let mut request = Request::get("/");
    request.headers_mut().set("Cookie", format!("id={id}")).unwrap();
    request
}

fn find(manager: &WebSessionManager, id: &SessionId) -> Option<WebSession> {
    manager.find(&Visit::new(&request_of(id))).unwrap()
}

fn kind<T: std::fmt::Debug>(result: sessile::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

const MINUTE: Duration = Duration::from_secs(60);

// Attributes.

#[test]
fn attributes_are_set_read_replaced_removed_and_named_in_order() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    assert_eq!(session.set("b", "1").unwrap(), None);
    assert_eq!(session.set("b", 2).unwrap(), Some("1".into()));
    session.set("a", true).unwrap();
    session.set("c", [1u8, 2].as_slice()).unwrap();
    session.set("d", 0.5).unwrap();
    assert_eq!(session.get::<i32>("b").unwrap(), 2);
    assert!(session.get::<bool>("a").unwrap());
    assert_eq!(session.get::<Vec<u8>>("c").unwrap(), [1, 2]);
    assert_eq!(session.get::<f64>("d").unwrap(), 0.5);
    assert_eq!(session.attribute_names().unwrap(), ["a", "b", "c", "d"]);
    assert!(session.has("a") && session.has_attribute("b") && !session.has("z"));
    assert!(session.erase("a").unwrap());
    assert!(!session.erase("a").unwrap());
    session.remove_attribute("a").unwrap();
    assert_eq!(session.attribute::<bool>("a").unwrap(), None);
    assert_eq!(session.get_or("a", 7).unwrap(), 7);
    session.clear().unwrap();
    assert!(session.attribute_names().unwrap().is_empty());
    assert!(session.is_valid());
}

#[test]
fn a_missing_attribute_is_not_found_and_a_wrong_type_is_a_bad_cast() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    assert_eq!(kind(session.get::<String>("user")), ErrorKind::NotFound);
    session.set("user", "Ann").unwrap();
    assert_eq!(kind(session.get::<u64>("user")), ErrorKind::BadCast);
    assert_eq!(kind(session.attribute::<Arc<String>>("user")), ErrorKind::BadCast);
    session.set("object", Arc::new(5u8)).unwrap();
    assert_eq!(kind(session.get::<Arc<u16>>("object")), ErrorKind::BadCast);
    assert_eq!(*session.get::<Arc<u8>>("object").unwrap(), 5);
}

#[test]
fn any_send_and_sync_object_can_be_an_attribute_and_is_shared() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    let list = Arc::new(Mutex::new(vec![1]));
    session.set("list", list.clone()).unwrap();
    session.get::<Arc<Mutex<Vec<i32>>>>("list").unwrap().lock().unwrap().push(2);
    assert_eq!(*list.lock().unwrap(), [1, 2]);
    assert_eq!(session.get::<Value>("list").unwrap().kind(), ValueKind::Object);
}

#[test]
fn no_value_removes() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    session.set_attribute("a", Some(1.into())).unwrap();
    assert_eq!(session.set_attribute("a", None).unwrap(), Some(1.into()));
    assert!(!session.has("a"));
    assert_eq!(session.set_attribute("a", None).unwrap(), None);
}

#[cfg(feature = "serde")]
#[test]
fn whatever_serde_takes_can_be_an_attribute() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    session.set_json("cart", &vec![("apple", 2), ("pear", 1)]).unwrap();
    let cart: Vec<(String, u32)> = session.json("cart").unwrap().unwrap();
    assert_eq!(cart, [("apple".to_owned(), 2), ("pear".to_owned(), 1)]);
    assert_eq!(session.json::<String>("none").unwrap(), None);
    assert_eq!(kind(session.json::<String>("cart")), ErrorKind::BadCast);
    assert_eq!(kind(session.get::<String>("cart")), ErrorKind::BadCast);
}

#[test]
fn what_one_handle_sets_the_others_see_at_once() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    let other = find(&manager, &session.id()).unwrap();
    session.set("a", 1).unwrap();
    assert_eq!(other.get::<i32>("a").unwrap(), 1);
    assert_eq!(session, other);
}

#[test]
fn a_snapshot_is_not_changed_by_those_who_write_meanwhile() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    for name in ["c", "a", "b"] {
        session.set(name, name).unwrap();
    }
    let snapshot = session.iter().unwrap();
    let writer = session.clone();
    thread::spawn(move || {
        writer.clear().unwrap();
        writer.set("z", 1).unwrap();
    })
    .join()
    .unwrap();
    let names: Vec<String> = snapshot.map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let mut seen = 0;
    session
        .for_each(|name, _| {
            // The session can be used in here.
            session.set("y", name).unwrap();
            seen += 1;
        })
        .unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn sixty_four_threads_on_one_session_lose_no_update() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    let barrier = Arc::new(Barrier::new(64));
    thread::scope(|scope| {
        for number in 0..64 {
            let (session, barrier) = (session.clone(), barrier.clone());
            scope.spawn(move || {
                barrier.wait();
                for _ in 0..100 {
                    session.update("n", |n: Option<u64>| Some(n.unwrap_or(0) + 1)).unwrap();
                    let locked = session.lock().unwrap();
                    let n = locked.get_or("m", 0u64).unwrap();
                    locked.set("m", n + 1).unwrap();
                }
                session.set(&format!("own {number}"), number).unwrap();
            });
        }
    });
    assert_eq!(session.get::<u64>("n").unwrap(), 6400);
    assert_eq!(session.get::<u64>("m").unwrap(), 6400);
    assert_eq!(session.attribute_names().unwrap().len(), 66);
}

#[test]
fn update_makes_changes_and_removes() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    assert_eq!(session.update("n", |n: Option<u32>| n).unwrap(), None);
    assert_eq!(session.update("n", |_: Option<u32>| Some(1)).unwrap(), Some(1));
    assert_eq!(session.update("n", |n: Option<u32>| n.map(|n| n + 1)).unwrap(), Some(2));
    assert_eq!(session.update("n", |_: Option<u32>| None).unwrap(), None);
    assert!(!session.has("n"));
    session.set("n", "text").unwrap();
    assert_eq!(kind(session.update("n", |n: Option<u32>| n)), ErrorKind::BadCast);
    // The function may use the session.
    session.update("m", |_: Option<u32>| session.set("other", 1).ok().map(|_| 5)).unwrap();
    assert_eq!(session.get::<u32>("m").unwrap(), 5);
}

#[test]
fn a_locked_session_keeps_out_those_who_lock_and_nobody_else() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    let guard = session.lock().unwrap();
    // The same thread gets it again.
    drop(session.lock().unwrap());
    let other = session.clone();
    thread::spawn(move || {
        assert!(other.try_lock().unwrap().is_none());
        other.set("a", 1).unwrap();
    })
    .join()
    .unwrap();
    assert_eq!(guard.get::<i32>("a").unwrap(), 1);
    session.invalidate().unwrap();
    drop(guard);
    assert_eq!(kind(session.lock().map(drop)), ErrorKind::IllegalState);
}

// Times.

#[test]
fn times_are_those_of_the_requests() {
    let (manager, clock) = manager();
    let session = manager.new_session().unwrap();
    let made = session.created();
    assert_eq!(session.creation_time().unwrap(), made);
    assert_eq!(session.last_accessed_time().unwrap(), made);
    assert_eq!(session.max_inactive_interval(), 1800);
    assert_eq!(session.expiration(), Some(made + 30 * MINUTE));

    clock.advance(MINUTE);
    session.set("a", 1).unwrap();
    session.get::<i32>("a").unwrap();
    assert_eq!(session.last_accessed(), made);

    let found = find(&manager, &session.id()).unwrap();
    assert_eq!(found.last_accessed_time().unwrap(), made + MINUTE);
    assert_eq!(session.expiration(), Some(made + 31 * MINUTE));
    assert_eq!(session.created(), made);

    clock.advance(MINUTE);
    session.access().unwrap();
    assert_eq!(session.last_accessed(), made + 2 * MINUTE);
}

#[test]
fn a_session_expires_when_it_is_looked_up_swept_or_not() {
    let (manager, clock) = manager();
    let session = manager.new_session().unwrap();
    clock.advance(30 * MINUTE - Duration::from_millis(1));
    assert!(find(&manager, &session.id()).is_some());
    clock.advance(30 * MINUTE);
    assert!(find(&manager, &session.id()).is_none());
    assert!(!session.is_valid());
    assert_eq!(manager.count().unwrap(), 0);
    assert_eq!(manager.statistics().expired, 1);
}

#[test]
fn using_attributes_does_not_prolong_and_every_method_notices_the_end() {
    let (manager, clock) = manager();
    let session = manager.new_session().unwrap();
    session.set("a", 1).unwrap();
    clock.advance(20 * MINUTE);
    session.set("a", 2).unwrap();
    assert_eq!(session.get::<i32>("a").unwrap(), 2);
    clock.advance(10 * MINUTE);
    assert_eq!(kind(session.get::<i32>("a")), ErrorKind::IllegalState);
    assert_eq!(kind(session.access()), ErrorKind::IllegalState);
    assert_eq!(kind(session.invalidate()), ErrorKind::IllegalState);
}

#[test]
fn a_negative_interval_never_expires() {
    let (manager, clock) = manager();
    let (session, other) = (manager.new_session().unwrap(), manager.new_session().unwrap());
    session.set_max_inactive_interval(-1);
    other.set_max_inactive_interval(0);
    assert_eq!((session.max_inactive_interval(), session.timeout(), session.expiration()), (-1, None, None));
    clock.advance(Duration::from_secs(100 * 365 * 24 * 3600));
    assert!(session.is_valid() && other.is_valid());
    assert_eq!(manager.sweep().unwrap().ended, 0);
    assert!(find(&manager, &session.id()).is_some());
}

#[test]
fn an_interval_counts_from_the_latest_access_at_once() {
    let (manager, clock) = manager();
    let session = manager.new_session().unwrap();
    clock.advance(10 * MINUTE);
    session.set_max_inactive_interval(11 * 60);
    assert!(session.is_valid());
    clock.advance(MINUTE);
    assert!(!session.is_valid());
    // It does not come back.
    session.set_max_inactive_interval(3600);
    session.set_timeout(None);
    assert!(!session.is_valid());

    let session = manager.new_session().unwrap();
    clock.advance(10 * MINUTE);
    session.set_max_inactive_interval(9 * 60);
    assert!(!session.is_valid());
}

#[test]
fn a_greatest_age_ends_a_session_that_is_used_all_the_time() {
    let (builder, clock) = builder();
    let manager = builder.max_lifetime(Some(60 * MINUTE)).build();
    let session = manager.new_session().unwrap();
    for _ in 0..5 {
        clock.advance(10 * MINUTE);
        assert!(find(&manager, &session.id()).is_some());
    }
    assert_eq!(session.expiration(), Some(session.created() + 60 * MINUTE));
    // Not even a request that is running makes it older.
    let running = find(&manager, &session.id()).unwrap();
    clock.advance(10 * MINUTE);
    assert!(find(&manager, &session.id()).is_none());
    assert!(running.is_valid());
    drop(running);
    assert!(!session.is_valid());

    let session = manager.new_session().unwrap();
    session.set_max_lifetime(None);
    session.set_timeout(None);
    clock.advance(1000 * MINUTE);
    assert!(session.is_valid());
}

#[test]
fn a_session_does_not_expire_under_a_running_request() {
    let (manager, clock) = manager();
    let session = manager.new_session().unwrap();
    let running = find(&manager, &session.id()).unwrap();
    clock.advance(60 * MINUTE);
    assert_eq!(manager.sweep().unwrap().ended, 0);
    running.set("a", 1).unwrap();
    assert!(session.is_valid());
    // Neither for another one, which is an access.
    let parallel = find(&manager, &session.id()).unwrap();
    drop(running);
    drop(parallel);
    assert!(session.is_valid());

    // The interval counts from the access, not from the end of the request.
    let running = find(&manager, &session.id()).unwrap();
    clock.advance(30 * MINUTE);
    drop(running);
    assert!(!session.is_valid());
}

#[test]
fn a_timeout_of_zero_ends_the_session_with_the_request() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    let running = find(&manager, &session.id()).unwrap();
    running.set_timeout(Some(Duration::ZERO));
    running.set("a", 1).unwrap();
    drop(running);
    assert!(find(&manager, &session.id()).is_none());

    let (builder, _) = builder();
    let manager = builder.timeout(Some(Duration::ZERO)).build();
    let request = Request::get("/");
    let session = manager.create(&Visit::new(&request)).unwrap();
    session.set("a", 1).unwrap();
    manager.finish(&session, &mut Response::new()).unwrap();
    let id = session.id();
    drop(session);
    assert!(find(&manager, &id).is_none());
}

#[test]
fn a_clone_in_another_thread_does_not_keep_the_session_alive() {
    let (manager, clock) = manager();
    let request = Request::get("/");
    let session = manager.create(&Visit::new(&request)).unwrap();
    let elsewhere = session.clone();
    drop(session);
    elsewhere.set("a", 1).unwrap();
    clock.advance(29 * MINUTE);
    elsewhere.access().unwrap();
    clock.advance(29 * MINUTE);
    assert!(elsewhere.is_valid());
    clock.advance(MINUTE);
    assert!(!elsewhere.is_valid());
}

// The end.

#[test]
fn after_the_end_calls_fail_where_the_documentation_says_so() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    session.set("a", 1).unwrap();
    let (id, created) = (session.id(), session.created());
    session.invalidate().unwrap();

    // Page 004: IllegalStateException.
    assert_eq!(kind(session.attribute::<i32>("a")), ErrorKind::IllegalState);
    assert_eq!(kind(session.attribute_names()), ErrorKind::IllegalState);
    assert_eq!(kind(session.creation_time()), ErrorKind::IllegalState);
    assert_eq!(kind(session.last_accessed_time()), ErrorKind::IllegalState);
    assert_eq!(kind(session.invalidate()), ErrorKind::IllegalState);
    assert_eq!(kind(session.is_new()), ErrorKind::IllegalState);
    assert_eq!(kind(session.remove_attribute("a")), ErrorKind::IllegalState);
    assert_eq!(kind(session.set("a", 1)), ErrorKind::IllegalState);
    assert_eq!(kind(session.set_attribute("a", None)), ErrorKind::IllegalState);
    // What it leaves open.
    assert_eq!(kind(session.get::<i32>("a")), ErrorKind::IllegalState);
    assert_eq!(kind(session.clear()), ErrorKind::IllegalState);
    assert_eq!(kind(session.access()), ErrorKind::IllegalState);
    assert_eq!(kind(session.rotate_id()), ErrorKind::IllegalState);
    assert_eq!(kind(session.iter()), ErrorKind::IllegalState);
    assert_eq!(kind(session.csrf_token()), ErrorKind::IllegalState);
    assert_eq!(kind(session.update("a", |a: Option<i32>| a)), ErrorKind::IllegalState);
    assert_eq!(kind(session.on_session_ends(|_| ())), ErrorKind::IllegalState);
    assert_eq!(kind(session.set_principal(None)), ErrorKind::IllegalState);
    // Page 004 has no exception for these, page 003 for none; an id is needed for logs.
    assert_eq!(session.id(), id);
    assert_eq!(session.created(), created);
    assert_eq!(session.max_inactive_interval(), 1800);
    session.set_max_inactive_interval(5);
    assert!(!session.has("a"));
    assert_eq!(session.context().name(), "");
    assert!(!session.is_valid());
    assert!(session.expiration().is_some());
    assert_eq!(session.client_address(), None);
}

#[test]
fn an_ended_session_is_not_found_and_can_be_removed_again() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    let other = manager.new_session().unwrap();
    session.invalidate().unwrap();
    assert!(find(&manager, &session.id()).is_none());
    assert!(manager.find_by_id(&session.id()).unwrap().is_none());
    manager.remove(&session).unwrap();
    manager.remove(&other).unwrap();
    assert!(!other.is_valid());
    assert_eq!(manager.count().unwrap(), 0);
}

#[test]
fn a_session_ends_once_however_many_end_it() {
    let (manager, clock) = manager();
    for round in 0..20 {
        let session = manager.new_session().unwrap();
        let (ends, winners) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let count = ends.clone();
        session.on_session_ends(move |_| _ = count.fetch_add(1, SeqCst)).unwrap().keep();
        if round % 2 == 0 {
            clock.advance(60 * MINUTE);
        }
        let barrier = Barrier::new(100);
        thread::scope(|scope| {
            for number in 0..100 {
                let (session, manager, barrier, winners) = (&session, &manager, &barrier, &winners);
                scope.spawn(move || {
                    barrier.wait();
                    match number % 4 {
                        0 => _ = manager.sweep(),
                        1 => _ = session.is_valid(),
                        2 => _ = session.rotate_id(),
                        _ => _ = session.invalidate().is_ok().then(|| winners.fetch_add(1, SeqCst)),
                    }
                });
            }
        });
        assert_eq!(ends.load(SeqCst), 1);
        assert!(winners.load(SeqCst) <= 1);
        assert_eq!(manager.count().unwrap(), 0);
        assert!(find(&manager, &session.id()).is_none());
    }
}

#[test]
fn the_last_manager_ends_its_sessions() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    let reason = Arc::new(Mutex::new(None));
    let seen = reason.clone();
    session.on_session_ends(move |ended| *seen.lock().unwrap() = Some(ended.reason())).unwrap().keep();
    let other = manager.clone();
    drop(manager);
    assert!(session.is_valid());
    drop(other);
    assert!(!session.is_valid());
    assert_eq!(*reason.lock().unwrap(), Some(EndReason::Shutdown));
}

/// Which sessions have ended, each once.
#[derive(Default)]
struct Ended(Mutex<HashSet<SessionId>>);

impl SessionListener for Ended {
    fn session_destroyed(&self, ended: &EndedSession<'_>) {
        assert_eq!(ended.reason(), EndReason::Shutdown);
        assert!(self.0.lock().unwrap().insert(ended.session().id()), "told twice");
    }
}

#[test]
fn however_many_sessions_there_are_the_end_of_the_manager_is_the_end_of_each() {
    for close in [true, false] {
        let ended = Arc::new(Ended::default());
        let manager = builder().0.listener(ended.clone()).build();
        for _ in 0..300_000 {
            manager.new_session().unwrap();
        }
        if close {
            manager.close().unwrap();
            assert_eq!(manager.count().unwrap(), 0);
        }
        drop(manager);
        assert_eq!(ended.0.lock().unwrap().len(), 300_000);
    }
}

#[test]
fn a_closed_manager_makes_no_sessions() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    manager.close().unwrap();
    assert!(!session.is_valid());
    assert_eq!(kind(manager.new_session()), ErrorKind::IllegalState);
}

// Ids.

#[test]
fn rotation_keeps_everything_and_the_old_id_is_dead_at_once() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    session.set("a", 1).unwrap();
    let old = session.id();
    let new = session.rotate_id().unwrap();
    assert_ne!(old, new);
    assert_eq!(session.id(), new);
    assert!(find(&manager, &old).is_none());
    let found = find(&manager, &new).unwrap();
    assert_eq!(found, session);
    assert_eq!(found.get::<i32>("a").unwrap(), 1);
    assert_eq!(manager.count().unwrap(), 1);
}

#[test]
fn within_its_grace_an_old_id_finds_the_session() {
    let (manager, clock) = manager();
    let session = manager.new_session().unwrap();
    let old = session.id();
    session.rotate_id_with_grace(Duration::from_secs(10)).unwrap();
    clock.advance(Duration::from_secs(9));
    let found = find(&manager, &old).unwrap();
    assert_eq!(found, session);
    clock.advance(Duration::from_secs(1));
    assert!(find(&manager, &old).is_none());
    manager.sweep().unwrap();
    assert!(find(&manager, &session.id()).is_some());

    // It does not outlive the session.
    let old = session.id();
    session.rotate_id_with_grace(MINUTE).unwrap();
    session.invalidate().unwrap();
    assert!(find(&manager, &old).is_none());
}

#[test]
fn rotations_at_the_same_time_are_one() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    for _ in 0..50 {
        let before = session.id();
        let barrier = Barrier::new(4);
        let ids: Vec<SessionId> = thread::scope(|scope| {
            let rotate = || {
                barrier.wait();
                session.rotate_id().unwrap()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(rotate)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.contains(&session.id()));
        assert!(find(&manager, &before).is_none());
        assert_eq!(ids.iter().filter(|id| find(&manager, id).is_some()).count(), {
            ids.iter().filter(|id| **id == session.id()).count()
        });
        assert_eq!(manager.session_ids(), [session.id()]);
    }
}

// Notifications.

/// Writes down everything there is to hear.
#[derive(Default)]
struct Record(Mutex<Vec<String>>);

impl Record {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn text(value: &Value) -> String {
    match value.object::<Bound>() {
        Some(bound) => bound.name.to_owned(),
        None => value.as_str().unwrap_or("?").to_owned(),
    }
}

impl SessionListener for Record {
    fn session_created(&self, event: &SessionEvent<'_>) {
        assert!(event.session().is_valid());
        self.note("created".into());
    }

    fn session_destroyed(&self, ended: &EndedSession<'_>) {
        assert!(!ended.session().is_valid());
        let names: Vec<&str> = ended.iter().map(|(name, _)| name).collect();
        self.note(format!("destroyed {:?} {}", ended.reason(), names.join(",")));
    }

    fn session_id_changed(&self, event: &SessionEvent<'_>, old: &SessionId) {
        assert_ne!(event.session().id(), *old);
        self.note("id changed".into());
    }
}

impl SessionAttributeListener for Record {
    fn attribute_added(&self, event: &BindingEvent<'_>) {
        assert!(event.session().has(event.name()));
        self.note(format!("added {}={}", event.name(), text(event.value())));
    }

    fn attribute_removed(&self, event: &BindingEvent<'_>) {
        assert!(!event.session().has(event.name()));
        self.note(format!("removed {}={}", event.name(), text(event.value())));
    }

    fn attribute_replaced(&self, event: &BindingEvent<'_>) {
        self.note(format!("replaced {}={}", event.name(), text(event.value())));
    }
}

struct Bound {
    name: &'static str,
    record: Arc<Record>,
}

impl SessionBindingListener for Bound {
    fn value_bound(&self, event: &BindingEvent<'_>) {
        assert_eq!(text(event.value()), self.name);
        self.record.note(format!("bound {}={}", event.name(), self.name));
    }

    fn value_unbound(&self, event: &BindingEvent<'_>) {
        if !event.session().is_valid() {
            assert_eq!(kind(event.session().attribute_names()), ErrorKind::IllegalState);
        }
        self.record.note(format!("unbound {}={}", event.name(), self.name));
    }
}

fn recorded() -> (WebSessionManager, ManualClock, Arc<Record>) {
    let (builder, clock) = builder();
    let record = Arc::new(Record::default());
    let manager = builder.listener(record.clone()).attribute_listener(record.clone()).build();
    (manager, clock, record)
}

fn bound(name: &'static str, record: &Arc<Record>) -> Arc<Bound> {
    Arc::new(Bound { name, record: record.clone() })
}

#[test]
fn notifications_come_in_the_documented_order() {
    let (manager, _, record) = recorded();
    let session = manager.new_session().unwrap();
    assert_eq!(record.take(), ["created"]);

    // 1. A name that was unused.
    session.set_bound("k", bound("one", &record)).unwrap();
    assert_eq!(record.take(), ["bound k=one", "added k=one"]);
    // 2. One that was used.
    session.set_bound("k", bound("two", &record)).unwrap();
    assert_eq!(record.take(), ["bound k=two", "unbound k=one", "replaced k=one"]);
    // The same object again: bound it was all the time.
    let two: Arc<Bound> = session.get("k").unwrap();
    session.set("k", Object::<Bound>::new(two).bound()).unwrap();
    assert_eq!(record.take(), ["replaced k=two"]);
    session.set("k", "text").unwrap();
    assert_eq!(record.take(), ["unbound k=two", "replaced k=two"]);
    session.set("k", "text").unwrap();
    assert_eq!(record.take(), ["replaced k=text"]);
    // 3. Taken out.
    session.set_bound("j", bound("three", &record)).unwrap();
    session.erase("j").unwrap();
    session.erase("j").unwrap();
    session.set_attribute("j", None).unwrap();
    assert_eq!(record.take(), ["bound j=three", "added j=three", "unbound j=three", "removed j=three"]);
    // 4. All taken out.
    session.set_bound("b", bound("four", &record)).unwrap();
    session.set("a", "x").unwrap();
    record.take();
    session.clear().unwrap();
    assert_eq!(record.take(), ["removed a=x", "unbound b=four", "removed b=four", "removed k=text"]);
    session.set("a", "x").unwrap();
    manager.owner_stopping();
    session.on_owner_stopping(&WebContext::new("another one"));
    assert_eq!(record.take(), ["added a=x", "removed a=x"]);
    // The id.
    session.rotate_id().unwrap();
    assert_eq!(record.take(), ["id changed"]);
    // update.
    session.update("u", |_: Option<String>| Some("1".to_owned())).unwrap();
    session.update("u", |_: Option<String>| Some("2".to_owned())).unwrap();
    session.update("u", |_: Option<String>| None).unwrap();
    assert_eq!(record.take(), ["added u=1", "replaced u=1", "removed u=2"]);
    // 5. The end.
    session.set_bound("z", bound("five", &record)).unwrap();
    session.set("a", "x").unwrap();
    let note = record.clone();
    session
        .on_session_ends(move |ended| {
            let a: Option<String> = ended.attribute("a");
            note.note(format!("ends {}", a.unwrap_or_default()));
        })
        .unwrap()
        .keep();
    record.take();
    session.invalidate().unwrap();
    let end = ["ends x", "destroyed Invalidated a,z", "removed a=x", "unbound z=five", "removed z=five"];
    assert_eq!(record.take(), end);
    assert!(session.invalidate().is_err());
    drop(manager);
    assert!(record.take().is_empty());
}

#[test]
fn expiry_tells_as_invalidation_does() {
    let (manager, clock, record) = recorded();
    for find_it in [true, false] {
        let session = manager.new_session().unwrap();
        session.set_bound("z", bound("one", &record)).unwrap();
        record.take();
        clock.advance(60 * MINUTE);
        match find_it {
            true => assert!(find(&manager, &session.id()).is_none()),
            false => assert_eq!(manager.sweep().unwrap().ended, 1),
        }
        assert_eq!(record.take(), ["destroyed Expired z", "unbound z=one", "removed z=one"]);
    }
}

#[test]
fn a_subscription_ends_when_it_is_dropped() {
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let (a, b) = (count.clone(), count.clone());
    let dropped = session.on_session_ends(move |_| _ = a.fetch_add(1, SeqCst)).unwrap();
    let kept = session.on_session_ends(move |_| _ = b.fetch_add(10, SeqCst)).unwrap();
    drop(dropped);
    session.invalidate().unwrap();
    assert_eq!(count.load(SeqCst), 10);
    drop(kept);
}

/// Does everything that a listener should not need to do.
struct Meddler(Mutex<Option<WebSessionManager>>, AtomicUsize);

impl Meddler {
    fn meddle(&self, session: &WebSession) {
        if self.1.fetch_add(1, SeqCst) > 100 {
            return;
        }
        let manager = self.0.lock().unwrap().clone();
        _ = session.lock().map(|locked| locked.set("meddled", 1));
        _ = session.update("count", |n: Option<u64>| Some(n.unwrap_or(0) + 1));
        _ = session.clear();
        _ = session.rotate_id();
        _ = session.on_session_ends(|_| ()).map(|subscription| subscription.keep());
        if let Some(manager) = manager {
            _ = find(&manager, &session.id());
            _ = manager.new_session();
            _ = manager.sweep();
            _ = manager.count();
            _ = manager.statistics();
            _ = manager.remove(session);
        }
        _ = session.invalidate();
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
    fn attribute_removed(&self, event: &BindingEvent<'_>) {
        self.meddle(event.session());
    }
}

#[test]
fn a_listener_may_call_everything() {
    let (builder, _) = builder();
    let meddler = Arc::new(Meddler(Mutex::new(None), AtomicUsize::new(0)));
    let manager = builder.listener(meddler.clone()).attribute_listener(meddler.clone()).build();
    *meddler.0.lock().unwrap() = Some(manager.clone());
    let (done, wait) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for _ in 0..5 {
            if let Ok(session) = manager.new_session() {
                _ = session.set("a", 1);
                _ = session.invalidate();
            }
        }
        done.send(()).unwrap();
    });
    wait.recv_timeout(Duration::from_secs(20)).expect("a dead-lock");
    *meddler.0.lock().unwrap() = None;
}

struct Panics;
impl SessionListener for Panics {
    fn session_created(&self, _: &SessionEvent<'_>) {
        panic!("created");
    }
    fn session_destroyed(&self, _: &EndedSession<'_>) {
        panic!("destroyed");
    }
}
impl SessionAttributeListener for Panics {
    fn attribute_added(&self, _: &BindingEvent<'_>) {
        panic!("added");
    }
}
impl SessionBindingListener for Panics {
    fn value_unbound(&self, _: &BindingEvent<'_>) {
        panic!("unbound");
    }
}
impl Drop for Panics {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("dropped");
        }
    }
}

#[test]
fn a_listener_that_panics_harms_nobody() {
    let (builder, _) = builder();
    let record = Arc::new(Record::default());
    let errors = Arc::new(Mutex::new(Vec::new()));
    let seen = errors.clone();
    // Never dropped: it panics then, too.
    let panics = std::mem::ManuallyDrop::new(Arc::new(Panics));
    let manager = builder
        .on_error(move |error| {
            let source = std::error::Error::source(error).map(ToString::to_string);
            seen.lock().unwrap().push(source.unwrap_or_default());
        })
        .listener((*panics).clone())
        .attribute_listener((*panics).clone())
        .listener(record.clone())
        .attribute_listener(record.clone())
        .build();
    let session = manager.new_session().unwrap();
    session.set("a", Object::new(Panics).bound()).unwrap();
    session.invalidate().unwrap();
    assert_eq!(record.take(), ["created", "added a=?", "destroyed Invalidated a", "removed a=?"]);
    assert_eq!(*errors.lock().unwrap(), ["created", "added", "destroyed", "unbound", "dropped"]);
    assert!(manager.new_session().is_ok());
    std::mem::forget(manager);
}

/// Uses the session when it is dropped.
struct Grave(Mutex<Option<(WebSessionManager, WebSession)>>);

impl Drop for Grave {
    fn drop(&mut self) {
        if let Some((manager, session)) = self.0.lock().unwrap().take() {
            _ = session.set("from the grave", 1);
            _ = session.attribute_names();
            _ = manager.new_session();
            _ = manager.sweep();
        }
    }
}

#[test]
fn no_lock_is_held_when_a_value_is_dropped() {
    let (builder, _) = builder();
    let manager = builder.max_attributes(8).build();
    let (done, wait) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let session = manager.new_session().unwrap();
        let grave = || Arc::new(Grave(Mutex::new(Some((manager.clone(), session.clone())))));
        session.set("a", grave()).unwrap();
        session.set("a", grave()).unwrap();
        session.erase("a").unwrap();
        session.set("a", grave()).unwrap();
        session.clear().unwrap();
        session.set("a", grave()).unwrap();
        session.update("a", |_: Option<Value>| None).unwrap();
        for name in 0..8 {
            session.set(&name.to_string(), 0).unwrap_or_default();
        }
        // Refused, and dropped.
        assert_eq!(kind(session.set("one too many", grave())), ErrorKind::TooLarge);
        session.set("1", grave()).unwrap();
        session.invalidate().unwrap();
        done.send(()).unwrap();
    });
    wait.recv_timeout(Duration::from_secs(20)).expect("a dead-lock");
}

// Limits.

#[test]
fn too_many_sessions_are_refused_or_the_idlest_one_ends() {
    let (limited, _) = builder();
    let manager = limited.max_sessions(2, WhenFull::Refuse).build();
    let session = manager.new_session().unwrap();
    manager.new_session().unwrap();
    let error = manager.new_session().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    assert_eq!(error.status_hint().map(|status| status.as_u16()), Some(503));
    session.invalidate().unwrap();
    manager.new_session().unwrap();
    assert_eq!(manager.statistics().refused, 1);

    let (builder, clock) = builder();
    let manager = builder.max_sessions(3, WhenFull::Evict).build();
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(manager.new_session().unwrap());
        clock.advance(MINUTE);
    }
    // The oldest was used since, so the second one goes.
    sessions[0].access().unwrap();
    let in_use = find(&manager, &sessions[1].id()).unwrap();
    manager.new_session().unwrap();
    let alive: Vec<bool> = sessions.iter().map(WebSession::is_valid).collect();
    assert_eq!(alive, [true, true, false]);
    drop(in_use);
    assert_eq!(manager.statistics().evicted, 1);
    assert_eq!(manager.count().unwrap(), 3);

    // One whose client never came back goes before one that was idle for longer.
    drop(find(&manager, &sessions[0].id()));
    drop(find(&manager, &sessions[1].id()));
    clock.advance(MINUTE);
    let stranger = manager.new_session().unwrap();
    assert!(sessions[0].is_valid() && sessions[1].is_valid());
    clock.advance(MINUTE);
    manager.new_session().unwrap();
    assert!(sessions[0].is_valid() && sessions[1].is_valid() && !stranger.is_valid());

    // Sessions in use are not ended.
    let all: Vec<WebSession> = manager.session_ids().iter().map(|id| find(&manager, id).unwrap()).collect();
    assert_eq!(kind(manager.new_session()), ErrorKind::Store);
    drop(all);
}

#[test]
fn eviction_goes_by_idle_time_among_many() {
    let (builder, clock) = builder();
    let manager = builder.max_sessions(10_000, WhenFull::Evict).build();
    let mut sessions = Vec::new();
    for _ in 0..10_000 {
        sessions.push(manager.new_session().unwrap());
        clock.advance(Duration::from_millis(1));
    }
    for _ in 0..1_000 {
        manager.new_session().unwrap();
    }
    assert_eq!(manager.count().unwrap(), 10_000);
    let ended: Vec<usize> = (0..10_000).filter(|&at| !sessions[at].is_valid()).collect();
    assert_eq!(ended.len(), 1_000);
    // Not exact, but none that was made lately.
    assert!(ended.iter().all(|&at| at < 4_000), "{:?}", ended.iter().max());
}

#[test]
fn racing_makers_do_not_pass_the_limit() {
    let (builder, _) = builder();
    let manager = builder.max_sessions(50, WhenFull::Refuse).build();
    let made = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    made.fetch_add(usize::from(manager.new_session().is_ok()), SeqCst);
                }
            });
        }
    });
    assert_eq!((made.load(SeqCst), manager.count().unwrap()), (50, 50));
    let statistics = manager.statistics();
    assert_eq!((statistics.created, statistics.refused, statistics.peak), (50, 350, 50));
}

#[test]
fn too_many_attributes_are_refused() {
    let (builder, _) = builder();
    let manager = builder.max_attributes(2).build();
    let session = manager.new_session().unwrap();
    session.set("a", 1).unwrap();
    session.set("b", 1).unwrap();
    assert_eq!(kind(session.set("c", 1)), ErrorKind::TooLarge);
    session.set("b", 2).unwrap();
    session.erase("a").unwrap();
    session.set("c", 1).unwrap();
}

#[test]
fn a_million_sessions_are_swept_without_stopping_the_world() {
    let (manager, clock) = manager();
    for at in 0..1_000_000 {
        let session = manager.new_session().unwrap();
        if at % 2 == 0 {
            session.set_timeout(None);
        }
    }
    assert_eq!(manager.count().unwrap(), 1_000_000);
    let sweep = manager.sweep().unwrap();
    assert_eq!((sweep.seen, sweep.ended), (1_000_000, 0));
    assert!(sweep.longest_hold <= 4_096, "{sweep:?}");
    clock.advance(60 * MINUTE);
    let sweep = manager.sweep().unwrap();
    // What moves in a shard while others are ended may be missed once.
    assert!(sweep.longest_hold <= 4_096, "{sweep:?}");
    assert_eq!(sweep.ended + manager.sweep().unwrap().ended, 500_000);
    assert_eq!(manager.count().unwrap(), 500_000);
}

#[test]
fn the_sweeper_sweeps_by_itself() {
    let clock = ManualClock::new();
    let manager = WebSessionManager::builder(MemoryStore::new())
        .clock(clock.clone())
        .sweep_every(Some(Duration::from_millis(5)))
        .build();
    let (told, wait) = std::sync::mpsc::channel();
    let session = manager.new_session().unwrap();
    session.on_session_ends(move |ended| told.send(ended.reason()).unwrap()).unwrap().keep();
    clock.advance(60 * MINUTE);
    assert_eq!(wait.recv_timeout(Duration::from_secs(20)), Ok(EndReason::Expired));
}

// Whose.

#[test]
fn all_sessions_of_a_principal_are_found_and_ended() {
    let (manager, _) = manager();
    let sessions: Vec<WebSession> = (0..4).map(|_| manager.new_session().unwrap()).collect();
    for session in &sessions[..3] {
        session.set_principal(Some("ann")).unwrap();
    }
    sessions[3].set_principal(Some("bob")).unwrap();
    assert_eq!(sessions[0].principal().as_deref(), Some("ann"));
    sessions[2].set_principal(Some("bob")).unwrap();
    assert_eq!(manager.sessions_of("ann").unwrap().len(), 2);
    sessions[1].invalidate().unwrap();
    assert_eq!(manager.sessions_of("ann").unwrap(), [sessions[0].clone()]);
    assert_eq!(manager.end_all_of("bob").unwrap(), 2);
    assert_eq!(manager.end_all_of("bob").unwrap(), 0);
    sessions[0].set_principal(None).unwrap();
    assert!(manager.sessions_of("ann").unwrap().is_empty());
    assert!(sessions[0].is_valid());
}

#[test]
fn a_principal_has_so_many_sessions_and_no_more() {
    let (builder, _) = builder();
    let manager = builder.max_per_principal(2).build();
    let sessions: Vec<WebSession> = (0..4).map(|_| manager.new_session().unwrap()).collect();
    for session in &sessions {
        session.set_principal(Some("ann")).unwrap();
    }
    let alive: Vec<bool> = sessions.iter().map(WebSession::is_valid).collect();
    assert_eq!(alive, [false, false, true, true]);
}

#[test]
fn the_csrf_token_is_the_session_s_own() {
    let (manager, _) = manager();
    let (session, other) = (manager.new_session().unwrap(), manager.new_session().unwrap());
    assert!(!session.verify_csrf(""));
    let token = session.csrf_token().unwrap();
    assert!(token.len() >= 22 && *token != *session.id().to_string());
    assert_eq!(session.csrf_token().unwrap(), token);
    assert!(session.verify_csrf(&token));
    assert!(!session.verify_csrf(&token[1..]));
    assert!(!session.verify_csrf(&format!("{token}x")));
    assert!(!session.verify_csrf(""));
    assert!(!other.verify_csrf(&token));
    assert_ne!(other.csrf_token().unwrap(), token);
    session.rotate_id().unwrap();
    assert!(session.verify_csrf(&token));
    session.invalidate().unwrap();
    assert!(!session.verify_csrf(&token));
}

#[test]
fn applications_that_share_a_store_do_not_share_sessions() {
    let store = Arc::new(MemoryStore::new());
    let manager = |name: &str| {
        let clock = ManualClock::new();
        WebSessionManager::builder(store.clone()).context(WebContext::new(name)).clock(clock).build()
    };
    let (shop, blog, shop_again) = (manager("shop"), manager("blog"), manager("shop"));
    let session = shop.new_session().unwrap();
    assert_eq!(session.context().name(), "shop");
    assert!(find(&blog, &session.id()).is_none());
    assert!(blog.find_by_id(&session.id()).unwrap().is_none());
    assert!(find(&shop_again, &session.id()).is_some());
    drop(blog);
    assert!(session.is_valid());
}

#[test]
fn handles_are_send_sync_and_clone_and_debug_tells_no_secret() {
    fn check<T: Send + Sync + Clone + std::fmt::Debug>(_: &T) {}
    let (manager, _) = manager();
    let session = manager.new_session().unwrap();
    session.set("password", "hunter2").unwrap();
    check(&manager);
    check(&session);
    let shown = format!("{session:?} {manager:?} {:?}", session.lock().unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains(&session.id().to_string()), "{shown}");
    let mut response = Response::new();
    manager.finish(&session, &mut response).unwrap();
    // It was made without a request: nobody is to be sent its cookie.
    assert!(!response.headers().has("Set-Cookie"));
}
