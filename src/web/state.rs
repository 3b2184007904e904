//! The state of a session: one word, changed by one compare-and-swap.
//!
//! In it: when the session was last accessed (48 bits of milliseconds), how many requests
//! it is in use by (15 bits), and whether it has ended (1 bit). So whoever decides that a
//! session is over decides by what he saw: an access in between, or another end, makes the
//! exchange fail. A session ends exactly once, and never under a running request for
//! having been idle.

use super::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire};

pub(crate) struct State(AtomicU64);

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Ended,
    /// At least one request is running with it.
    InUse,
    Idle,
}

/// How an attempt to use a session went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entered {
    /// It is in use, by one more request.
    Yes,
    /// It is alive, but that many requests use it already that they can't be counted.
    Uncounted,
    Ended,
    /// Its time is over; it has not ended yet.
    Over,
}

impl State {
    pub(crate) fn new(accessed: u64) -> State {
        State(AtomicU64::new(accessed.min(TIME)))
    }

    #[inline]
    pub(crate) fn look(&self) -> Look {
        look(self.0.load(Acquire))
    }

    #[inline]
    pub(crate) fn last_accessed(&self) -> u64 {
        self.0.load(Acquire) & TIME
    }

    /// Marks an access and one more use, unless the session has ended or is over. `over`
    /// is asked with the last access and whether the session is in use.
    #[inline]
    pub(crate) fn enter(&self, now: u64, over: impl Fn(u64, bool) -> bool) -> Entered {
        let mut entered = Entered::Yes;
        self.change(|state| {
            entered = match look(state) {
                Look::Ended => Entered::Ended,
                look if over(state & TIME, look == Look::InUse) => Entered::Over,
                _ if state & USES == USES => Entered::Uncounted,
                _ => Entered::Yes,
            };
            match entered {
                Entered::Yes => Some((state & !TIME | now.min(TIME)) + ONE_USE),
                Entered::Uncounted => Some(state & !TIME | now.min(TIME)),
                _ => None,
            }
        });
        entered
    }

    /// One use less.
    #[inline]
    pub(crate) fn leave(&self) {
        self.0.fetch_sub(ONE_USE, AcqRel);
    }

    /// Marks an access, unless the session has ended.
    pub(crate) fn touch(&self, now: u64) -> bool {
        self.change(|state| (state & ENDED == 0).then_some(state & !TIME | now.min(TIME)))
    }

    /// Takes over a later access that another node saw.
    pub(crate) fn raise(&self, accessed: u64) {
        self.change(|state| {
            (accessed.min(TIME) > state & TIME).then_some(state & !TIME | accessed.min(TIME))
        });
    }

    /// Ends the session; `true` for the one caller who did.
    pub(crate) fn end(&self) -> bool {
        self.0.fetch_or(ENDED, AcqRel) & ENDED == 0
    }

    /// Ends the session if it is idle and `over` says so of its last access; `true` for
    /// the one caller who did.
    pub(crate) fn end_idle(&self, over: impl Fn(u64) -> bool) -> bool {
        self.change(|state| (look(state) == Look::Idle && over(state & TIME)).then_some(state | ENDED))
    }

    /// Exchanges the word as `change` says, for as long as it says something.
    #[inline]
    fn change(&self, mut change: impl FnMut(u64) -> Option<u64>) -> bool {
        let mut state = self.0.load(Acquire);
        loop {
            let Some(new) = change(state) else {
                return false;
            };
            match self.0.compare_exchange_weak(state, new, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(changed) => state = changed,
            }
        }
    }
}

#[inline]
fn look(state: u64) -> Look {
    match state {
        _ if state & ENDED != 0 => Look::Ended,
        _ if state & USES != 0 => Look::InUse,
        _ => Look::Idle,
    }
}

const TIME: u64 = (1 << 48) - 1;
const ONE_USE: u64 = 1 << 48;
const ENDED: u64 = 1 << 63;
const USES: u64 = !(ENDED | TIME);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_once() {
        let state = State::new(5);
        assert!(state.end());
        assert!(!state.end());
        assert!(!state.end_idle(|_| true));
        assert!(!state.touch(9));
        assert_eq!(state.enter(9, |_, _| false), Entered::Ended);
        assert_eq!(state.last_accessed(), 5);
    }

    #[test]
    fn a_session_in_use_does_not_end_for_being_idle() {
        let state = State::new(5);
        assert_eq!(state.enter(7, |_, _| false), Entered::Yes);
        assert_eq!(state.enter(8, |_, _| false), Entered::Yes);
        assert!(!state.end_idle(|_| true));
        state.leave();
        assert_eq!(state.look(), Look::InUse);
        state.leave();
        assert_eq!(state.look(), Look::Idle);
        assert!(!state.end_idle(|accessed| accessed < 8));
        assert!(state.end_idle(|accessed| accessed == 8));
    }

    #[test]
    fn leaving_after_the_end_does_not_bring_it_back() {
        let state = State::new(5);
        state.enter(5, |_, _| false);
        assert!(state.end());
        state.leave();
        assert_eq!(state.look(), Look::Ended);
    }

    #[test]
    fn more_uses_than_can_be_counted_end_nothing() {
        let state = State::new(0);
        let counted = (0..40_000).filter(|_| state.enter(1, |_, _| false) == Entered::Yes).count();
        assert_eq!(counted, (1 << 15) - 1);
        (0..counted).for_each(|_| state.leave());
        assert_eq!(state.look(), Look::Idle);
    }
}
