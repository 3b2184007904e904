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
