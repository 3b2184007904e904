//! What all handles on one session share, and what all sessions of one manager share.
//!
//! The state word says whether the session is alive (see `state`); everything else that
//! changes is in the body, behind one lock, under which no code of users runs: values go
//! in and out of it, and are dropped outside.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

use super::attributes::Attributes;
use super::clock::{Clock, NEVER, millis};
use super::context::WebContext;
use super::fair_lock::FairLock;
use super::id::SessionId;
use super::listeners::{EndListener, EndReason, Event, Listeners};
use super::remote::Remote;
use super::state::{Entered, State};
use super::statistics::Counters;
use super::store::SessionStore;
use super::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use super::sync::{Mutex, lock};
use super::table::Table;
use super::value::{ObjectTypes, Value};

/// One session. There may be millions: 144 bytes, with the counters of its `Arc`. What each
/// request looks at comes first, so that it is on two cache lines.
#[repr(C)]
pub(crate) struct Shared {
    pub(crate) state: State,
    /// For how many milliseconds it may be idle.
    pub(crate) timeout: AtomicU64,
    /// When it ends even if it is used.
    pub(crate) ends: AtomicU64,
    pub(crate) core: Arc<Core>,
    pub(crate) body: Mutex<Body>,
    /// Whether the client has shown the id.
    pub(crate) joined: AtomicBool,
    pub(crate) client_address: Option<IpAddr>,
    pub(crate) created: u64,
}

/// What of a session is behind its lock.
#[repr(C)]
pub(crate) struct Body {
    pub(crate) attributes: Attributes,
    extra: Option<Box<Extra>>,
    pub(crate) id: SessionId,
}

/// What most sessions in memory don't have.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) csrf_token: Option<Arc<str>>,
    pub(crate) principal: Option<Arc<str>>,
    pub(crate) subscribers: Vec<(u64, EndListener)>,
    next_subscriber: u64,
    pub(crate) lock: Option<Arc<FairLock>>,
    /// What is to be told, and whether somebody is telling.
    events: VecDeque<Event>,
    telling: bool,
    /// Old ids that still find the session.
    pub(crate) aliases: Vec<SessionId>,
    /// The requests that gave it its id, and its end: theirs is the cookie to set.
    pub(crate) rotated_by: u64,
    pub(crate) ended_by: u64,
    /// When the client was last sent a cookie that outlives the browser, and for how long.
    pub(crate) cookie_sent: (u64, u64),
    /// What there is to know for a store beyond the process.
    pub(crate) remote: Option<Box<Remote>>,
}

/// What all sessions of a manager share.
pub(crate) struct Core {
    pub(crate) context: WebContext,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) listeners: Listeners,
    pub(crate) counters: Counters,
    pub(crate) types: ObjectTypes,
    pub(crate) max_attributes: usize,
    pub(crate) max_per_principal: usize,
    pub(crate) table: Weak<Table>,
    /// The store, unless it is the memory of the process.
    pub(crate) store: Option<Box<dyn SessionStore>>,
    pub(crate) principals: Principals,
}

impl Core {
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        millis(self.clock.now())
    }
}

impl Shared {
    pub(crate) fn new(
        core: &Arc<Core>,
        id: SessionId,
        created: u64,
        client_address: Option<IpAddr>,
    ) -> Shared {
        Shared {
            state: State::new(created),
            timeout: AtomicU64::new(NEVER),
            ends: AtomicU64::new(NEVER),
            created,
            core: core.clone(),
            body: Mutex::new(Body { id, attributes: Attributes::default(), extra: None }),
            joined: AtomicBool::new(false),
            client_address,
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        lock(&self.body).id
    }

    /// When the session is over, if this was the last access.
    #[inline]
    pub(crate) fn deadline(&self, accessed: u64) -> u64 {
        accessed.saturating_add(self.timeout.load(Relaxed)).min(self.ends.load(Relaxed))
    }

    pub(crate) fn is_over(&self, now: u64) -> bool {
        now >= self.deadline(self.state.last_accessed())
    }

    /// A request of the client begins: an access, and one more use. While it runs, the
    /// session does not end for being idle, but a greatest age is one.
    #[inline]
    pub(crate) fn enter(&self, now: u64) -> Entered {
        self.state.enter(now, |accessed, in_use| match in_use {
            true => now >= self.ends.load(Relaxed),
            false => now >= self.deadline(accessed),
        })
    }

    /// Ends the session if it is over and not in use; `true` for the one caller who did.
    pub(crate) fn end_if_over(&self, now: u64) -> bool {
        // The lock keeps the time-out from being changed between the look and the end.
        let _body = lock(&self.body);
        self.state.end_idle(|accessed| now >= self.deadline(accessed))
    }

    pub(crate) fn unsubscribe(&self, number: u64) {
        let mut body = lock(&self.body);
        let Some(extra) = body.extra.as_mut() else {
            return;
        };
        let at = extra.subscribers.iter().position(|(other, _)| *other == number);
        let removed = at.map(|at| extra.subscribers.remove(at));
        drop(body);
        drop(removed);
    }

    /// The next change to tell, if nobody else is telling (`first`), or for the one who is.
    pub(crate) fn next_event(&self, first: bool) -> Option<Event> {
        let mut body = lock(&self.body);
        let extra = body.extra.as_mut()?;
        if first && extra.telling {
            return None;
        }
        let event = extra.events.pop_front();
        extra.telling = event.is_some();
        event
    }
}

impl Body {
    #[inline]
    pub(crate) fn extra(&self) -> Option<&Extra> {
        self.extra.as_deref()
    }

    pub(crate) fn extra_mut(&mut self) -> Option<&mut Extra> {
        self.extra.as_deref_mut()
    }

    /// The extra part, made if there is none.
    pub(crate) fn make_extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Attributes and extra part, to change both.
    pub(crate) fn split(&mut self) -> (&mut Attributes, &mut Extra) {
        (&mut self.attributes, self.extra.get_or_insert_default())
    }

    #[inline]
    pub(crate) fn remote(&mut self) -> Option<&mut Remote> {
        self.extra.as_mut()?.remote.as_deref_mut()
    }

    /// Notes that an attribute was set.
    pub(crate) fn push_set(&mut self, name: &str, new: Option<Value>, old: Option<Value>) {
        if let Some(new) = new {
            self.push(Event::Set { name: name.into(), new, old });
        }
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.make_extra().events.push_back(event);
    }
}

impl Extra {
    pub(crate) fn subscribe(&mut self, listener: EndListener) -> u64 {
        self.next_subscriber += 1;
        self.subscribers.push((self.next_subscriber, listener));
        self.next_subscriber
    }

    pub(crate) fn take_subscribers(&mut self) -> Vec<EndListener> {
        self.subscribers.drain(..).map(|(_, listener)| listener).collect()
    }
}

/// A number for a request, which no other one has, and never 0. Each thread counts for
/// itself, so that they don't wait for each other.
pub(crate) fn next_visit() -> u64 {
    static THREADS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    thread_local! {
        static NEXT: Cell<u64> = Cell::new(THREADS.fetch_add(1, Relaxed) << 32);
    }
    NEXT.with(|next| {
        let visit = next.get();
        // A thread that used its numbers up takes the place of a new one.
        let is_last = visit & u64::from(u32::MAX) == u64::from(u32::MAX);
        next.set(if is_last { THREADS.fetch_add(1, Relaxed) << 32 } else { visit + 1 });
        visit
    })
}

/// Whose sessions are which, in memory.
#[derive(Default)]
pub(crate) struct Principals(Mutex<HashMap<Arc<str>, Vec<Weak<Shared>>>>);

impl Principals {
    /// Adds a session, and returns all of this principal, the oldest first.
    pub(crate) fn add(&self, principal: &Arc<str>, session: &Arc<Shared>) -> Vec<Arc<Shared>> {
        let mut index = lock(&self.0);
        let sessions = index.entry(principal.clone()).or_default();
        sessions
            .retain(|other| other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), Arc::as_ptr(session)));
        sessions.push(Arc::downgrade(session));
        sessions.iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn remove(&self, principal: &str, session: &Arc<Shared>) {
        let mut index = lock(&self.0);
        let Some(sessions) = index.get_mut(principal) else {
            return;
        };
        sessions
            .retain(|other| other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), Arc::as_ptr(session)));
        if sessions.is_empty() {
            index.remove(principal);
        }
    }

    pub(crate) fn of(&self, principal: &str) -> Vec<Arc<Shared>> {
        lock(&self.0)
            .get(principal)
            .map_or_else(Vec::new, |sessions| sessions.iter().filter_map(Weak::upgrade).collect())
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("context", &self.context)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl EndReason {
    /// Whether the session's end is news to its store.
    pub(crate) fn is_local(self) -> bool {
        !matches!(self, EndReason::Expired | EndReason::Lost | EndReason::Shutdown)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_session_without_extras_is_small() {
        assert!(size_of::<Shared>() <= 128);
    }

    #[test]
    fn no_two_visits_have_one_number() {
        let numbers = || (0..1000).map(|_| next_visit()).collect::<Vec<_>>();
        let mut all = numbers();
        all.extend(std::thread::spawn(numbers).join().unwrap());
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2000);
        assert_ne!(all[0], 0);
    }
}
