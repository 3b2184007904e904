//! Every order of what several threads do with one session, tried by loom on the types
//! themselves: `RUSTFLAGS="--cfg loom" cargo test --release --lib web::races`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, UNIX_EPOCH};

use loom::thread;

use super::{EndReason, ManualClock, MemoryStore, SessionId, Value, WebSession, WebSessionManager};
use crate::web::state::Entered;

/// Runs the test in every order, as far as threads lose the processor at most so often.
fn in_every_order(test: impl Fn(Race) + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || test(Race::new()));
}

/// A session that may be idle for 30 seconds, and what was heard of its end.
struct Race {
    manager: WebSessionManager,
    session: WebSession,
    ends: Arc<AtomicUsize>,
    clock: ManualClock,
}

impl Race {
    fn new() -> Race {
        let clock = ManualClock::at(UNIX_EPOCH);
        let manager = WebSessionManager::builder(MemoryStore::new())
            .clock(clock.clone())
            .timeout(Some(Duration::from_secs(30)))
            .sweep_every(None)
            .build();
        let session = manager.new_session().unwrap();
        let ends = Arc::new(AtomicUsize::new(0));
        let count = ends.clone();
        session.on_session_ends(move |_| _ = count.fetch_add(1, SeqCst)).unwrap().keep();
        Race { manager, session, ends, clock }
    }

    fn spawn<T: 'static>(
        &self,
        run: impl FnOnce(WebSession, WebSessionManager) -> T + 'static,
    ) -> thread::JoinHandle<T> {
        let (session, manager) = (self.session.clone(), self.manager.clone());
        thread::spawn(move || run(session, manager))
    }

    fn finds(&self, id: &SessionId) -> bool {
        self.manager
            .0
            .table
            .find(&id.key(), 0)
            .is_some_and(|found| WebSession::plain(found.session).is_valid())
    }

    /// It ended once, and nothing leads to it any more.
    fn assert_ended(&self, ids: &[SessionId]) {
        assert_eq!(self.ends.load(SeqCst), 1);
        assert!(!self.session.is_valid());
        assert_eq!(self.manager.0.table.len(), 0);
        assert_eq!(self.manager.count().unwrap(), 0);
        assert!(ids.iter().all(|id| self.manager.0.table.find(&id.key(), 0).is_none()));
    }
}

#[test]
fn invalidation_against_expiry_against_rotation() {
    in_every_order(|race| {
        let old = race.session.id();
        race.clock.advance(Duration::from_secs(30));
        let invalidate = race.spawn(|session, _| session.invalidate().is_ok());
        let rotate = race.spawn(|session, _| session.rotate_id());
        let expired = race.manager.sweep().unwrap().ended;
        let invalidated = usize::from(invalidate.join().unwrap());
        let rotated = rotate.join().unwrap();
        // Whoever sees that it is over ends it, and that may be the rotation.
        assert!(expired + invalidated <= 1);
        race.assert_ended(&[old]);
        assert!(rotated.is_err());
    });
}

#[test]
fn invalidation_against_rotation_with_grace() {
    in_every_order(|race| {
        let old = race.session.id();
        let rotate = race.spawn(|session, _| session.rotate_id_with_grace(Duration::from_secs(10)));
        race.session.invalidate().unwrap();
        let new = rotate.join().unwrap().unwrap_or(old);
        race.assert_ended(&[old, new]);
    });
}

#[test]
fn rotation_against_rotation() {
    in_every_order(|race| {
        let old = race.session.id();
        let other = race.spawn(|session, _| session.rotate_id().unwrap());
        let one = race.session.rotate_id().unwrap();
        let other = other.join().unwrap();
        let id = race.session.id();
        assert!(id == one || id == other);
        assert!(race.finds(&id) && !race.finds(&old));
        assert!([one, other].iter().all(|made| race.finds(made) == (*made == id)));
        assert_eq!(race.manager.0.table.len(), 1);
        assert_eq!(race.ends.load(SeqCst), 0);
    });
}

#[test]
fn rotation_against_a_request() {
    in_every_order(|race| {
        let old = race.session.id();
        let request = race.spawn(move |_, manager| {
            let found = manager.resume(&old).unwrap();
            found.map(|session| session.set("late", 1).unwrap())
        });
        let new = race.session.rotate_id().unwrap();
        let found = request.join().unwrap().is_some();
        assert_eq!(race.session.has("late"), found);
        assert!(race.finds(&new) && !race.finds(&old));
    });
}

#[test]
fn a_request_against_expiry() {
    in_every_order(|race| {
        // The one comes in time, the other looks 5 seconds after the time is over.
        let request = race.spawn(|session, _| {
            let entered = session.shared.enter(10_000);
            if entered == Entered::Yes {
                session.shared.state.leave();
            }
            entered
        });
        let ended = race.session.end_if_over(35_000);
        match request.join().unwrap() {
            Entered::Yes => assert!(!ended, "it was used 25 seconds before"),
            Entered::Ended => assert!(ended),
            other => panic!("{other:?}"),
        }
        assert_eq!(race.ends.load(SeqCst), usize::from(ended));
    });
}

#[test]
fn a_longer_time_out_against_expiry() {
    in_every_order(|race| {
        race.clock.advance(Duration::from_secs(29));
        let longer = race.spawn(|session, _| {
            session.set_timeout(None);
            session.is_valid()
        });
        let ended = race.session.end_if_over(31_000);
        assert_eq!(longer.join().unwrap(), !ended);
    });
}

#[test]
fn three_ways_to_end_a_session_are_one_end() {
    in_every_order(|race| {
        let session = race.session.clone();
        let remove = race.spawn(|session, manager| {
            manager.remove(&session).unwrap();
        });
        let evict = race.spawn(|session, _| {
            if session.shared.state.end_idle(|accessed| accessed == 0) {
                session.after_end(EndReason::Evicted);
            }
        });
        _ = session.invalidate();
        remove.join().unwrap();
        evict.join().unwrap();
        race.assert_ended(&[]);
    });
}

#[test]
fn an_attribute_that_was_set_is_there_or_was_there_at_the_end() {
    in_every_order(|race| {
        let at_the_end = Arc::new(AtomicUsize::new(0));
        let seen = at_the_end.clone();
        let count = move |ended: &super::EndedSession<'_>| _ = seen.fetch_add(ended.iter().count(), SeqCst);
        race.session.on_session_ends(count).unwrap().keep();
        let set = race.spawn(|session, _| session.set("a", Value::from(1)).is_ok());
        race.session.invalidate().unwrap();
        let set = set.join().unwrap();
        assert_eq!(at_the_end.load(SeqCst), usize::from(set));
        race.assert_ended(&[]);
    });
}

#[test]
fn an_update_against_an_update() {
    in_every_order(|race| {
        let add =
            |session: &WebSession| session.update("n", |n: Option<u64>| Some(n.unwrap_or(0) + 1)).unwrap();
        let other = race.spawn(move |session, _| add(&session));
        add(&race.session);
        other.join().unwrap();
        assert_eq!(race.session.get::<u64>("n").unwrap(), 2);
    });
}
