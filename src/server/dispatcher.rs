//! Which thread serves which connection.
//!
//! Threads on demand up to a limit, reused as long as they are not idle for too long; the one that
//! waits for the shortest time is taken first, its stack is warm. When all are taken, connections
//! wait in the lobby, and the connection that is idle for longest is ended for them. Everything
//! here happens when a connection begins or ends, never for a request: a request looks at one
//! word ([`Need`]). Knows connections and threads, and nothing of HTTP.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::claim::{Need, Offer};
use super::lobby::{Guest, Lobby, Look};
use super::slot::Slot;
use crate::net::{Readiness, Stream};

/// A connection to be served.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) stream: Stream,
    pub(crate) client: Option<SocketAddr>,
    /// When it was accepted, in microseconds since the server's beginning.
    pub(crate) since: u64,
    /// The how manyth of the server it is.
    pub(crate) number: u64,
}

impl Guest for Job {
    fn look(&mut self) -> Look {
        match self.stream.peek_nowait() {
            Ok(Readiness::Nothing) => Look::Silent,
            Ok(Readiness::Data) => Look::Spoke,
            Ok(Readiness::End) | Err(_) => Look::Gone,
        }
    }

    fn since(&self) -> u64 {
        self.since
    }
}

/// What a dispatcher obeys.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    pub(crate) max_threads: usize,
    pub(crate) max_queued: usize,
    pub(crate) thread_idle_time: Duration,
    pub(crate) patience: Duration,
}

#[derive(Debug)]
pub(crate) struct Dispatcher {
    bounds: Bounds,
    epoch: Instant,
    state: Mutex<State>,
    /// A connection has ended, once somebody waits for the end.
    changed: Condvar,
    pub(crate) need: Need,
    /// Requests that were answered since the stop.
    finished: AtomicUsize,
    /// All connections are to be cut off, those too that get their thread from now on.
    aborting: AtomicBool,
}

#[derive(Debug)]
struct State {
    lobby: Lobby<Job>,
    /// Threads that wait for a connection; the last one came last.
    free: Vec<Arc<Slot>>,
    /// All threads.
    slots: Vec<Arc<Slot>>,
    /// Threads whose connection was ended for somebody in the lobby, and which have not come for it yet.
    promised: usize,
    /// The connections that are idle for longest, the very longest last. What is not idle any more is found out
    /// when it is tried, and none of the others can be idle for longer by more than the patience with new ones.
    oldest: Vec<(Offer, Arc<Slot>)>,
    serving: usize,
    most_serving: usize,
    total: u64,
    refused: u64,
    /// Starting a thread failed: not again before then.
    no_thread_before: Option<Instant>,
    stopping: bool,
    /// Idle connections that were ended by the stop.
    ended_idle: usize,
    /// Threads that accept connections.
    accepting: usize,
    /// Those of them that wait for a connection to end, so that they can accept one.
    pausing: usize,
    /// Threads of this server that themselves wait for its end.
    stoppers: usize,
    /// What is still running has been cut off, and is not waited for.
    forced: bool,
}

/// What a server counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) threads: usize,
    pub(crate) serving: usize,
    pub(crate) most_serving: usize,
    pub(crate) queued: usize,
    pub(crate) total: u64,
    pub(crate) refused: u64,
}

/// How many of the oldest are remembered at a time.
const REMEMBERED: usize = 64;

/// For how long no thread is started after that failed.
const WITHOUT_THREADS: Duration = Duration::from_millis(200);

/// How long a connection without a request is left alone by a stop, so that a request that is under way arrives.
pub(crate) const STOP_GRACE: Duration = Duration::from_millis(250);

/// How often those that have used up their grace are looked for.
const STOP_ROUND: Duration = Duration::from_millis(20);

impl Dispatcher {
    pub(crate) fn new(bounds: Bounds) -> Dispatcher {
        Dispatcher {
            bounds,
            epoch: Instant::now(),
            state: Mutex::new(State {
                lobby: Lobby::new(),
                free: Vec::new(),
                slots: Vec::new(),
                promised: 0,
                oldest: Vec::new(),
                serving: 0,
                most_serving: 0,
                total: 0,
                refused: 0,
                no_thread_before: None,
                stopping: false,
                ended_idle: 0,
                accepting: 0,
                pausing: 0,
                stoppers: 0,
                forced: false,
            }),
            changed: Condvar::new(),
            need: Need::new(),
            finished: AtomicUsize::new(0),
            aborting: AtomicBool::new(false),
        }
    }

    /// Now, in microseconds since the beginning.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        micros(self.epoch.elapsed())
    }

    /// When it was so many microseconds.
    pub(crate) fn instant(&self, micros: u64) -> Instant {
        self.epoch.checked_add(Duration::from_micros(micros)).unwrap_or(self.epoch)
    }

    /// Finds a thread for a connection, or a place to wait in. Gives back those for which there is neither. `start`
    /// starts a thread that runs [`take_job`](Slot::take_job) and then [`next`](Self::next).
    pub(crate) fn admit(&self, job: Job, start: impl FnOnce(&Arc<Slot>) -> io::Result<()>) -> Vec<Job> {
        let mut job = job;
        let mut state = self.lock();
        state.total += 1;
        job.number = state.total;
        if let Some(slot) = state.free.pop() {
            state.begin();
            drop(state);
            slot.give(job);
            return Vec::new();
        }
        if state.slots.len() < self.bounds.max_threads && state.may_start() {
            let slot = Arc::new(Slot::new());
            state.slots.push(slot.clone());
            state.begin();
            drop(state);
            slot.give(job);
            let Err(error) = start(&slot) else { return Vec::new() };
            state = self.lock();
            state.serving -= 1;
            state.forget(&slot);
            state.no_thread_before = Instant::now().checked_add(WITHOUT_THREADS);
            log::warn!("no thread could be started, {} are running: {error}", state.slots.len());
            let Some(own) = slot.take_job() else { return Vec::new() };
            job = own;
            // Nobody would tell one that became free meanwhile.
            if let Some(slot) = state.free.pop() {
                state.begin();
                drop(state);
                slot.give(job);
                return Vec::new();
            }
            // Others may have come to wait for the thread that there is not.
            if state.slots.is_empty() {
                let mut refused: Vec<Job> = state.lobby.take_all().collect();
                refused.push(job);
                state.refused += refused.len() as u64;
                self.announce(&state);
                return refused;
            }
        }
        let mut gone = None;
        let refused = self.seat(&mut state, job, &mut gone);
        drop(state);
        // Closed behind the lock.
        drop(gone);
        refused.into_iter().collect()
    }

    /// All threads are taken: the connection waits, for one that an idle connection gives up if there is any.
    fn seat(&self, state: &mut State, job: Job, gone: &mut Option<Job>) -> Option<Job> {
        if state.slots.is_empty() {
            state.refused += 1;
            return Some(job);
        }
        if state.lobby.len() >= state.promised {
            state.evict();
        }
        // While the server stops, whoever was let in is served.
        if state.lobby.len() >= self.bounds.max_queued.saturating_add(state.promised) && !state.stopping {
            // However little time the oldest had to speak, the newcomer had less.
            *gone = state.lobby.make_room(u64::MAX);
            if gone.is_none() {
                state.refused += 1;
                return Some(job);
            }
        }
        state.lobby.push(job);
        self.announce(state);
        // Who went idle before that was announced is found now; who does so later sees it.
        if state.needed() > 0 && state.evict() {
            self.announce(state);
        }
        None
    }

    /// A thread that is done with its connection takes the next one, waiting for it for a while. `None`: it is to
    /// end. `taken` is what [`Slot::disconnect`] said.
    pub(crate) fn next(&self, slot: &Arc<Slot>, taken: bool) -> Option<Job> {
        let mut gone = Vec::new();
        let mut state = self.lock();
        state.serving -= 1;
        if taken {
            state.promised = state.promised.saturating_sub(1);
        }
        let next = state.lobby.pop(&mut gone);
        self.announce(&state);
        if next.is_some() {
            state.begin();
        }
        if state.stopping || state.pausing > 0 {
            self.changed.notify_all();
        }
        if next.is_none() {
            if state.is_closed() {
                state.forget(slot);
                return None;
            }
            state.free.push(slot.clone());
        }
        drop(state);
        drop(gone);
        next.or_else(|| self.wait(slot))
    }

    fn wait(&self, slot: &Arc<Slot>) -> Option<Job> {
        let until = Instant::now().checked_add(self.bounds.thread_idle_time);
        loop {
            match until {
                Some(until) => thread::park_timeout(until.saturating_duration_since(Instant::now())),
                None => thread::park(),
            }
            if let Some(job) = slot.take_job() {
                return Some(job);
            }
            let mut state = self.lock();
            let over = state.is_closed() || until.is_some_and(|until| Instant::now() >= until);
            // Whoever is not among the free ones any more is about to be given a job.
            if let Some(at) = state.free.iter().position(|free| Arc::ptr_eq(free, slot)).filter(|_| over) {
                state.free.remove(at);
                state.forget(slot);
                self.changed.notify_all();
                return None;
            }
        }
    }

    /// The owner of an idle connection saw that there is need: gives the connection up if that is still so.
    pub(crate) fn relieve(&self, slot: &Slot, offer: Offer) -> bool {
        let mut state = self.lock();
        let wanted = if state.stopping { offer.spoke() || self.is_over(offer) } else { state.needed() > 0 };
        if !wanted {
            return slot.claim.is_taken();
        }
        if slot.claim.take(offer) {
            state.promised += 1;
            state.ended_idle += usize::from(state.stopping);
            self.announce(&state);
        }
        true
    }

    /// A connection was given up for another one, but its thread is not one of ours and does not come.
    pub(crate) fn break_promise(&self) {
        let mut state = self.lock();
        state.promised = state.promised.saturating_sub(1);
        if state.needed() > 0 {
            state.evict();
        }
        self.announce(&state);
    }

    /// A connection that was given up for another one has a request all the same, and the answer may take long: has
    /// one give way in its place that has been idle since before `before`. Where there is none, whoever is done first
    /// gives way.
    pub(crate) fn hand_on_promise(&self, slot: &Slot, before: u64) {
        let mut state = self.lock();
        if state.stopping || !slot.claim.is_taken() {
            return;
        }
        slot.claim.reset();
        state.promised = state.promised.saturating_sub(1);
        if state.needed() > 0 {
            state.evict_idle_since(before);
        }
        self.announce(&state);
    }

    /// No descriptor is left for a new connection: ends an idle one.
    pub(crate) fn free_descriptor(&self) -> bool {
        let mut state = self.lock();
        if let Some(job) = state.lobby.make_room(self.now().saturating_sub(micros(self.bounds.patience))) {
            drop(state);
            drop(job);
            return true;
        }
        state.evict()
    }

    /// Waits until some connection has ended, but no longer than that.
    pub(crate) fn wait_for_change(&self, most: Duration) {
        let mut state = self.lock();
        state.pausing += 1;
        state = self.changed.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0;
        state.pausing -= 1;
    }

    pub(crate) fn numbers(&self) -> Numbers {
        let state = self.lock();
        Numbers {
            threads: state.slots.len(),
            serving: state.serving,
            most_serving: state.most_serving,
            queued: state.lobby.len(),
            total: state.total,
            refused: state.refused,
        }
    }

    /// From now on every response closes its connection.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        self.announce(&state);
        for slot in &state.free {
            slot.wake();
        }
        self.changed.notify_all();
    }

    /// Somebody begins to accept connections.
    pub(crate) fn open(&self) {
        self.lock().accepting += 1;
    }

    /// Somebody has accepted the last connection. When all have, and the server stops, threads end when
    /// they are free.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.accepting -= 1;
        if state.is_closed() {
            for slot in &state.free {
                slot.wake();
            }
        }
        self.changed.notify_all();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.need.is_stopping()
    }

    /// Ends idle connections until no other is left, or until `until`. `own` is whether the
    /// caller is itself serving a connection. Says whether none is left.
    pub(crate) fn drain(&self, until: Option<Instant>, own: bool) -> bool {
        let mut state = self.lock();
        state.stoppers += usize::from(own);
        self.changed.notify_all();
        let complete = loop {
            let before = self.now().saturating_sub(micros(STOP_GRACE));
            let silent = state.lobby.take_silent(before);
            state.ended_idle += silent.len();
            self.end_idle(&mut state);
            self.announce(&state);
            if state.is_closed() && state.serving <= state.stoppers && state.lobby.len() == 0 {
                break true;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break false;
            }
            let round = left.map_or(STOP_ROUND, |left| left.min(STOP_ROUND));
            state = self.changed.wait_timeout(state, round).unwrap_or_else(PoisonError::into_inner).0;
        };
        state.stoppers -= usize::from(own);
        complete
    }

    fn end_idle(&self, state: &mut State) {
        let mut ended = 0;
        for slot in &state.slots {
            let Some(offer) = slot.claim.offered() else { continue };
            if (offer.spoke() || self.is_over(offer)) && slot.evict(offer) {
                ended += 1;
            }
        }
        state.promised += ended;
        state.ended_idle += ended;
    }

    /// Idle connections that were ended by the stop.
    pub(crate) fn ended_idle(&self) -> usize {
        self.lock().ended_idle
    }

    fn is_over(&self, offer: Offer) -> bool {
        self.now().saturating_sub(offer.since()) >= micros(STOP_GRACE)
    }

    /// Ends every connection but the caller's, now and from now on. Says how many there were.
    pub(crate) fn abort(&self, own: Option<&Arc<Slot>>) -> usize {
        // First: who puts a connection on the line behind the look at the lines sees it.
        self.aborting.store(true, Ordering::SeqCst);
        let mut state = self.lock();
        let waiting: Vec<Job> = state.lobby.take_all().collect();
        let slots = state.slots.clone();
        self.announce(&state);
        drop(state);
        let aborted =
            slots.iter().filter(|slot| own.is_none_or(|own| !Arc::ptr_eq(own, slot)) && slot.abort()).count();
        aborted + waiting.len()
    }

    /// Whether a connection that is on the line now is to be cut off.
    pub(crate) fn is_aborting(&self) -> bool {
        self.aborting.load(Ordering::SeqCst)
    }

    /// Waits for the connections that were cut off to be gone, but for no longer than that: nobody waits for the
    /// others.
    pub(crate) fn force(&self, until: Option<Instant>, own: bool) {
        let mut state = self.lock();
        state.stoppers += usize::from(own);
        while state.serving > state.stoppers {
            let left = until.map_or(STOP_ROUND, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.stoppers -= usize::from(own);
        state.forced = true;
        self.changed.notify_all();
    }

    /// Waits until the last thread has ended, or the others were given up.
    pub(crate) fn wait_for_threads(&self) {
        let mut state = self.lock();
        while !(state.is_closed() && (state.slots.is_empty() || state.forced)) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether this is one of the threads.
    pub(crate) fn has(&self, slot: &Arc<Slot>) -> bool {
        self.lock().slots.iter().any(|known| Arc::ptr_eq(known, slot))
    }

    /// A request was answered.
    #[inline]
    pub(crate) fn count_answer(&self) {
        if self.need.is_stopping() {
            self.finished.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn finished(&self) -> usize {
        self.finished.load(Ordering::Relaxed)
    }

    fn announce(&self, state: &State) {
        self.need.set(state.needed(), state.stopping);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Nothing more will come.
    fn is_closed(&self) -> bool {
        self.stopping && self.accepting == 0
    }

    fn begin(&mut self) {
        self.serving += 1;
        self.most_serving = self.most_serving.max(self.serving);
    }

    fn may_start(&mut self) -> bool {
        if self.no_thread_before.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        self.no_thread_before = None;
        true
    }

    fn forget(&mut self, slot: &Arc<Slot>) {
        if let Some(at) = self.slots.iter().position(|known| Arc::ptr_eq(known, slot)) {
            self.slots.swap_remove(at);
        }
    }

    /// Connections that wait and for which no thread is coming.
    fn needed(&self) -> usize {
        self.lobby.len().saturating_sub(self.promised)
    }

    /// Ends the connection that is idle for longest.
    fn evict(&mut self) -> bool {
        self.evict_idle_since(u64::MAX)
    }

    /// The same, if it is idle since before then.
    fn evict_idle_since(&mut self, before: u64) -> bool {
        // Those that are remembered first; with a fresh look, if they have all gone on.
        for look in [false, true] {
            if look {
                self.oldest.clear();
                self.look_for_the_oldest();
            }
            while let Some((offer, slot)) = self.oldest.pop() {
                if offer.since() >= before {
                    self.oldest.push((offer, slot));
                    break;
                }
                if slot.evict(offer) {
                    self.promised += 1;
                    return true;
                }
            }
        }
        false
    }

    fn look_for_the_oldest(&mut self) {
        let idle = self.slots.iter().filter_map(|slot| slot.claim.offered().map(|offer| (offer, slot)));
        let mut idle: Vec<_> = idle.collect();
        if idle.len() > REMEMBERED {
            idle.select_nth_unstable_by_key(REMEMBERED, |(offer, _)| offer.since());
            idle.truncate(REMEMBERED);
        }
        idle.sort_unstable_by_key(|(offer, _)| std::cmp::Reverse(offer.since()));
        self.oldest.extend(idle.into_iter().map(|(offer, slot)| (offer, slot.clone())));
    }
}

fn micros(time: Duration) -> u64 {
    time.as_secs().wrapping_mul(1_000_000).wrapping_add(u64::from(time.subsec_micros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{AbortHandle, Pipe, pair};
    use crate::server::slot::Line;
    use std::io::Write;

    fn dispatcher(max_threads: usize, max_queued: usize) -> Dispatcher {
        let (thread_idle_time, patience) = (Duration::from_secs(10), Duration::ZERO);
        Dispatcher::new(Bounds { max_threads, max_queued, thread_idle_time, patience })
    }

    /// A connection that has spoken.
    fn job(dispatcher: &Dispatcher) -> (Job, Pipe) {
        let (near, mut far) = pair();
        far.write_all(b"x").unwrap();
        (Job { stream: Stream::custom(near), client: None, since: dispatcher.now(), number: 0 }, far)
    }

    /// Lets a connection in, for whose thread a slot is all there is.
    fn admit(dispatcher: &Dispatcher, slots: &mut Vec<Arc<Slot>>) -> (Vec<Job>, Pipe) {
        let (job, far) = job(dispatcher);
        let start = |slot: &Arc<Slot>| {
            slots.push(slot.clone());
            Ok(())
        };
        (dispatcher.admit(job, start), far)
    }

    fn idle(dispatcher: &Dispatcher, slot: &Slot, since: u64) -> Offer {
        slot.connect(Line { socket: None, abort: AbortHandle::new() });
        let offer = Offer::new(since, true);
        assert!(!slot.claim.offer(offer, &dispatcher.need));
        offer
    }

    #[test]
    fn threads_first_then_places_then_refusal() {
        let (dispatcher, mut slots) = (dispatcher(2, 3), Vec::new());
        let admitted: Vec<_> = (0..6).map(|_| admit(&dispatcher, &mut slots)).collect();
        assert!(admitted[..5].iter().all(|(refused, _)| refused.is_empty()));
        assert_eq!(admitted[5].0.len(), 1);
        let expected = Numbers { threads: 2, serving: 2, most_serving: 2, queued: 3, total: 6, refused: 1 };
        assert_eq!(dispatcher.numbers(), expected);
        assert!(dispatcher.need.is_there());
        for _ in 0..3 {
            assert!(dispatcher.next(&slots[0], false).is_some());
        }
        assert!(!dispatcher.need.is_there());
    }

    #[test]
    fn where_no_thread_can_be_started_the_others_have_to_do() {
        let (dispatcher, mut slots) = (dispatcher(10, 10), Vec::new());
        assert!(admit(&dispatcher, &mut slots).0.is_empty());
        let fails = |_: &Arc<Slot>| Err(io::Error::from(io::ErrorKind::WouldBlock));
        let (second, _far) = job(&dispatcher);
        assert!(dispatcher.admit(second, fails).is_empty(), "it waits");
        assert_eq!((dispatcher.numbers().threads, dispatcher.numbers().queued), (1, 1));
        let (third, _far) = job(&dispatcher);
        let not_again = |_: &Arc<Slot>| panic!("not so soon after a failure");
        assert!(dispatcher.admit(third, not_again).is_empty());
        assert!(dispatcher.next(&slots[0], false).is_some() && dispatcher.next(&slots[0], false).is_some());
    }

    #[test]
    fn without_any_thread_connections_are_refused() {
        let dispatcher = dispatcher(10, 10);
        let (job, _far) = job(&dispatcher);
        assert_eq!(dispatcher.admit(job, |_| Err(io::Error::from(io::ErrorKind::OutOfMemory))).len(), 1);
        assert_eq!(
            dispatcher.numbers(),
            Numbers { total: 1, refused: 1, most_serving: 1, ..Numbers::default() }
        );
    }

    #[test]
    fn who_waits_for_a_thread_that_can_not_be_started_is_refused_with_the_one_it_was_for() {
        let dispatcher = dispatcher(1, 10);
        let ((first, _), (second, _)) = (job(&dispatcher), job(&dispatcher));
        let refused = dispatcher.admit(first, |_| {
            assert!(dispatcher.admit(second, |_| panic!("there is no more than one")).is_empty());
            Err(io::Error::from(io::ErrorKind::OutOfMemory))
        });
        assert_eq!(refused.len(), 2);
        let numbers = dispatcher.numbers();
        assert_eq!((numbers.threads, numbers.queued, numbers.refused), (0, 0, 2));
        assert!(!dispatcher.need.is_there());
    }

    #[test]
    fn who_gets_no_new_thread_gets_one_that_became_free_meanwhile() {
        let (dispatcher, mut slots) = (Arc::new(dispatcher(10, 10)), Vec::new());
        let _first = admit(&dispatcher, &mut slots);
        let (second, _far) = job(&dispatcher);
        let (other, slot) = (dispatcher.clone(), slots[0].clone());
        let mut thread = None;
        let refused = dispatcher.admit(second, |_| {
            thread = Some(thread::spawn(move || {
                slot.settle_in();
                slot.disconnect();
                other.next(&slot, false).is_some()
            }));
            while dispatcher.lock().free.is_empty() {
                thread::yield_now();
            }
            Err(io::Error::from(io::ErrorKind::OutOfMemory))
        });
        assert!(refused.is_empty() && thread.unwrap().join().unwrap());
    }

    #[test]
    fn idle_connections_are_ended_in_the_order_of_their_idleness_one_for_each_that_waits() {
        let (dispatcher, mut slots) = (dispatcher(200, 10), Vec::new());
        let _first: Vec<_> = (0..200).map(|_| admit(&dispatcher, &mut slots)).collect();
        // In some order, and more than are remembered at a time.
        let since = |n: usize| 1000 + (n * 73 % 200) as u64;
        for (n, slot) in slots.iter().enumerate() {
            idle(&dispatcher, slot, since(n));
        }
        let mut by_age: Vec<usize> = (0..200).collect();
        by_age.sort_by_key(|&n| since(n));
        let mut late = Vec::new();
        for &oldest in &by_age {
            late.push(admit(&dispatcher, &mut slots));
            assert!(slots[oldest].claim.is_taken(), "{oldest}");
            assert_eq!(slots.iter().filter(|slot| slot.claim.is_taken()).count(), late.len());
            assert!(!dispatcher.need.is_there(), "a thread is on its way");
        }
        assert!(
            late.iter().all(|(refused, _)| refused.is_empty()),
            "places are lent to those who get a thread"
        );
        assert!(slots.iter().all(|slot| slot.disconnect() && dispatcher.next(slot, true).is_some()));
        assert_eq!(dispatcher.numbers().queued, 0);
    }

    #[test]
    fn one_that_goes_idle_while_others_wait_gives_way_at_once() {
        let (dispatcher, mut slots) = (dispatcher(1, 10), Vec::new());
        let _first = admit(&dispatcher, &mut slots);
        slots[0].connect(Line { socket: None, abort: AbortHandle::new() });
        let _second = admit(&dispatcher, &mut slots);
        let offer = Offer::new(1, true);
        assert!(slots[0].claim.offer(offer, &dispatcher.need));
        assert!(dispatcher.relieve(&slots[0], offer));
        assert!(!dispatcher.need.is_there());
        assert!(slots[0].disconnect());
        assert!(dispatcher.next(&slots[0], true).is_some());
    }

    #[test]
    fn for_one_that_has_a_request_after_all_another_gives_way_that_is_really_idle() {
        let (dispatcher, mut slots) = (dispatcher(3, 10), Vec::new());
        let _first: Vec<_> = (0..3).map(|_| admit(&dispatcher, &mut slots)).collect();
        idle(&dispatcher, &slots[0], 1000);
        idle(&dispatcher, &slots[1], 2000);
        idle(&dispatcher, &slots[2], 3000);
        let _waiting = admit(&dispatcher, &mut slots);
        assert!(slots[0].claim.is_taken());
        dispatcher.hand_on_promise(&slots[0], 2500);
        assert!(!slots[0].claim.is_taken() && slots[1].claim.is_taken() && !slots[2].claim.is_taken());
        assert!(!dispatcher.need.is_there(), "a thread is on its way");
        assert!(slots[1].disconnect());
        assert!(dispatcher.next(&slots[1], true).is_some(), "the one that waited");
        // The first one ends like any other, and takes no promise back.
        assert!(!slots[0].disconnect());
        let _again = admit(&dispatcher, &mut slots);
        assert!(slots[2].claim.is_taken());
    }

    #[test]
    fn where_nobody_has_been_idle_for_long_whoever_is_done_first_gives_way() {
        let (dispatcher, mut slots) = (dispatcher(2, 10), Vec::new());
        let _first: Vec<_> = (0..2).map(|_| admit(&dispatcher, &mut slots)).collect();
        idle(&dispatcher, &slots[0], 1000);
        let offer = idle(&dispatcher, &slots[1], 2000);
        let _waiting = admit(&dispatcher, &mut slots);
        // The other one may be about to go on.
        dispatcher.hand_on_promise(&slots[0], 2000);
        assert!(!slots[0].claim.is_taken() && !slots[1].claim.is_taken());
        assert!(dispatcher.need.is_there());
        assert!(slots[1].claim.reclaim(offer));
        let later = Offer::new(3000, true);
        assert!(slots[1].claim.offer(later, &dispatcher.need) && dispatcher.relieve(&slots[1], later));
        assert!(slots[1].disconnect());
        assert!(dispatcher.next(&slots[1], true).is_some(), "the one that waited");
        // The first one ends like any other, and takes no promise back.
        assert!(!slots[0].disconnect());
        dispatcher.next(&slots[0], false);
        assert!(!dispatcher.need.is_there());
    }

    #[test]
    fn a_connection_given_up_by_a_thread_that_does_not_come_is_made_good_for() {
        let (dispatcher, mut slots) = (dispatcher(1, 10), Vec::new());
        let _first = admit(&dispatcher, &mut slots);
        slots[0].connect(Line { socket: None, abort: AbortHandle::new() });
        let _second = admit(&dispatcher, &mut slots);
        let (elsewhere, offer) = (Slot::new(), Offer::new(1, true));
        assert!(elsewhere.claim.offer(offer, &dispatcher.need));
        assert!(dispatcher.relieve(&elsewhere, offer) && elsewhere.disconnect());
        assert!(!dispatcher.need.is_there());
        dispatcher.break_promise();
        assert!(dispatcher.need.is_there(), "whoever goes idle next gives way");
        assert!(slots[0].claim.offer(offer, &dispatcher.need) && dispatcher.relieve(&slots[0], offer));
    }

    #[test]
    fn nobody_gives_way_to_one_who_has_gone_meanwhile() {
        let (dispatcher, mut slots) = (dispatcher(1, 10), Vec::new());
        let _first = admit(&dispatcher, &mut slots);
        let offer = idle(&dispatcher, &slots[0], 1);
        assert!(!dispatcher.relieve(&slots[0], offer));
        assert!(slots[0].claim.reclaim(offer));
    }
}
