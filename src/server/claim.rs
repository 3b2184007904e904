//! Who may act on a connection: the thread that serves it, or one that wants its place.
//!
//! One atomic word. The owner offers the connection while it waits for a request; whoever
//! needs its thread may take it then. Both try by one compare-and-swap and only the winner
//! acts, so that a request is never cut off that the owner has begun to serve, and an ended
//! connection is never served. Knows no sockets and no threads.

#[cfg(all(loom, test))]
use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(not(all(loom, test)))]
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use crate::proto::CloseReason;

/// The state of one connection's place, owned by the thread that serves it.
#[derive(Debug)]
pub(crate) struct Claim(AtomicU64);

/// An offer that was seen: since when the connection is idle, and whether it ever spoke. It can be
/// taken only as long as it is this very one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offer(u64);

const BUSY: u64 = 0;
const OFFERED: u64 = 1;
const TAKEN: u64 = 2;
const STATE: u64 = 3;
const SPOKE: u64 = 4;
const SHIFT: u32 = 3;

impl Offer {
    /// Microseconds since the server's beginning, modulo some tens of thousands of years.
    pub(crate) fn new(since: u64, spoke: bool) -> Offer {
        Offer(since << SHIFT | if spoke { SPOKE } else { 0 } | OFFERED)
    }

    pub(crate) fn since(self) -> u64 {
        self.0 >> SHIFT
    }

    pub(crate) fn spoke(self) -> bool {
        self.0 & SPOKE != 0
    }
}

impl Claim {
    pub(crate) fn new() -> Claim {
        Claim(AtomicU64::new(BUSY))
    }

    /// The owner begins with a connection, or ended one: nothing is offered.
    pub(crate) fn reset(&self) {
        self.0.store(BUSY, Ordering::Release);
    }

    /// The owner is about to wait. Says whether somebody is in need of a thread right now: whoever comes to
    /// need one later sees the offer.
    #[inline]
    pub(crate) fn offer(&self, offer: Offer, need: &Need) -> bool {
        debug_assert!(!self.is_taken(), "a connection that was given up is on offer again");
        self.0.store(offer.0, Ordering::Release);
        // Store, then load of another place: without the fence both this and `Need::set` with the look at the
        // offers behind it could miss each other.
        fence(Ordering::SeqCst);
        need.is_there()
    }

    /// The owner has something to do. `false`: too late, the connection was taken.
    #[inline]
    pub(crate) fn reclaim(&self, offer: Offer) -> bool {
        self.0.compare_exchange(offer.0, BUSY, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// What the owner offers, if it does.
    #[inline]
    pub(crate) fn offered(&self) -> Option<Offer> {
        let word = self.0.load(Ordering::Acquire);
        (word & STATE == OFFERED).then_some(Offer(word))
    }

    /// Somebody else takes what was offered. `false`: the owner was faster.
    pub(crate) fn take(&self, offer: Offer) -> bool {
        let taken = offer.0 & !STATE | TAKEN;
        self.0.compare_exchange(offer.0, taken, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether somebody took the connection.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire) & STATE == TAKEN
    }
}

/// Whether connections wait for a thread that nobody has made free for them, or the server stops: then
/// idle connections are to end, and no connection is to outlast its request.
#[derive(Debug)]
pub(crate) struct Need(AtomicUsize);

const STOPPING: usize = 1 << (usize::BITS - 1);

impl Need {
    pub(crate) fn new() -> Need {
        Need(AtomicUsize::new(0))
    }

    /// Looked at for each request.
    #[inline]
    pub(crate) fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Why a connection is not to outlast its request, if so.
    #[inline]
    pub(crate) fn reason(&self) -> Option<CloseReason> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            need if need & STOPPING != 0 => Some(CloseReason::Stopping),
            _ => Some(CloseReason::Evicted),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.load(Ordering::Relaxed) & STOPPING != 0
    }

    /// Changed under the dispatcher's lock. Offers that are looked at afterwards are seen, or
    /// their owners see this.
    pub(crate) fn set(&self, waiting: usize, stopping: bool) {
        let need = waiting | if stopping { STOPPING } else { 0 };
        if self.0.load(Ordering::Relaxed) != need {
            self.0.store(need, Ordering::Release);
        }
        fence(Ordering::SeqCst);
    }
}

#[cfg(all(loom, test))]
mod model {
    //! All interleavings of an owner and those who want its place. Run by
    //! `RUSTFLAGS="--cfg loom" cargo test --release --lib server::claim`.

    use super::*;
    use loom::sync::{Arc, Mutex};
    use loom::thread;

    #[derive(Debug)]
    struct Place {
        claim: Claim,
        need: Need,
        /// Stands for the connection: what its end does, and what serving it does.
        line: Mutex<Vec<&'static str>>,
    }

    fn place() -> Arc<Place> {
        Arc::new(Place { claim: Claim::new(), need: Need::new(), line: Mutex::new(Vec::new()) })
    }

    /// As `Slot::evict`.
    fn evict(place: &Place) -> bool {
        let Some(offer) = place.claim.offered() else { return false };
        let mut line = place.line.lock().unwrap();
        if !place.claim.take(offer) {
            return false;
        }
        line.push("ended");
        true
    }

    #[test]
    fn a_connection_is_served_or_ended_and_never_both() {
        loom::model(|| {
            let place = place();
            let evictors: Vec<_> = (0..2)
                .map(|_| {
                    let place = place.clone();
                    thread::spawn(move || evict(&place))
                })
                .collect();
            let offer = Offer::new(7, true);
            place.claim.offer(offer, &place.need);
            let served = place.claim.reclaim(offer);
            if served {
                place.line.lock().unwrap().push("served");
            }
            let ended =
                evictors.into_iter().map(|evictor| evictor.join().unwrap()).filter(|ended| *ended).count();
            assert_eq!(ended + usize::from(served), 1);
            assert_eq!(place.line.lock().unwrap().len(), 1);
            assert_eq!(place.claim.is_taken(), !served);
        });
    }

    #[test]
    fn whoever_comes_to_need_a_thread_finds_the_offer_or_its_owner_finds_the_need() {
        loom::model(|| {
            let place = place();
            let other = place.clone();
            let newcomer = thread::spawn(move || {
                other.need.set(1, false);
                evict(&other)
            });
            let offer = Offer::new(7, true);
            let seen = place.claim.offer(offer, &place.need);
            let evicted = newcomer.join().unwrap();
            assert!(seen || evicted, "the newcomer would wait for ever");
        });
    }

    #[test]
    fn an_offer_that_was_withdrawn_cannot_be_taken_by_one_who_saw_it() {
        loom::model(|| {
            let place = place();
            let other = place.clone();
            let first = Offer::new(7, true);
            place.claim.offer(first, &place.need);
            let slow = thread::spawn(move || {
                let seen = other.claim.offered();
                // Much may happen here: the connection serves a request, and is idle again.
                thread::yield_now();
                seen.is_some_and(|offer| other.claim.take(offer) && offer == first)
            });
            if place.claim.reclaim(first) {
                place.line.lock().unwrap().push("served");
                place.claim.offer(Offer::new(8, true), &place.need);
                let took_the_first = slow.join().unwrap();
                assert!(!took_the_first);
            } else {
                assert!(slow.join().unwrap());
            }
        });
    }

    #[test]
    fn the_next_connection_of_a_place_is_not_ended_by_who_wanted_the_one_before() {
        loom::model(|| {
            let place = place();
            let other = place.clone();
            place.claim.offer(Offer::new(7, true), &place.need);
            let evictor = thread::spawn(move || evict(&other));
            // As `Slot::disconnect` and `Slot::connect`: under the lock that the evictor acts under.
            {
                let mut line = place.line.lock().unwrap();
                place.claim.reset();
                *line = vec!["next"];
            }
            evictor.join().unwrap();
            assert_eq!(*place.line.lock().unwrap(), ["next"], "nothing may have been done to it");
        });
    }
}
