//! The lock of a session that users hold: first come, first served, and the thread that
//! has it may take it again, so that a listener called under it can't dead-lock.

use std::collections::VecDeque;
use std::thread::ThreadId;

use super::sync::{Condvar, Mutex, lock};

#[derive(Default)]
pub(crate) struct FairLock {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    owner: Option<ThreadId>,
    depth: u32,
    next: u64,
    waiting: VecDeque<u64>,
}

impl FairLock {
    pub(crate) fn acquire(&self) {
        let me = std::thread::current().id();
        let mut state = lock(&self.state);
        if state.owner == Some(me) {
            state.depth += 1;
            return;
        }
        let ticket = state.next;
        state.next += 1;
        state.waiting.push_back(ticket);
        while state.owner.is_some() || state.waiting.front() != Some(&ticket) {
            state = self.moved.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state.waiting.pop_front();
        state.owner = Some(me);
        state.depth = 1;
    }

    /// Takes the lock if nobody has it and nobody waits for it.
    pub(crate) fn try_acquire(&self) -> bool {
        let me = std::thread::current().id();
        let mut state = lock(&self.state);
        if state.owner == Some(me) {
            state.depth += 1;
            return true;
        }
        if state.owner.is_some() || !state.waiting.is_empty() {
            return false;
        }
        state.owner = Some(me);
        state.depth = 1;
        true
    }

    /// By the thread that has it, once for each time it took it.
    pub(crate) fn release(&self) {
        let mut state = lock(&self.state);
        state.depth -= 1;
        if state.depth == 0 {
            state.owner = None;
            drop(state);
            self.moved.notify_all();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    #[test]
    fn one_thread_at_a_time_and_again_for_the_same() {
        let (lock, inside) = (Arc::new(FairLock::default()), Arc::new(AtomicU32::new(0)));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        lock.acquire();
                        lock.acquire();
                        assert_eq!(inside.fetch_add(1, Relaxed), 0);
                        assert_eq!(inside.fetch_sub(1, Relaxed), 1);
                        lock.release();
                        lock.release();
                    }
                });
            }
        });
        assert!(lock.try_acquire());
    }

    #[test]
    fn those_who_wait_are_served_in_their_order() {
        let lock = Arc::new(FairLock::default());
        let order = Mutex::new(Vec::new());
        lock.acquire();
        std::thread::scope(|scope| {
            for number in 0..5u64 {
                let (lock, order) = (&lock, &order);
                scope.spawn(move || {
                    lock.acquire();
                    super::lock(order).push(number);
                    lock.release();
                });
                // Until it stands in the queue.
                while super::lock(&lock.state).waiting.len() as u64 <= number {
                    std::thread::yield_now();
                }
                assert!(!std::thread::scope(|other| other.spawn(|| lock.try_acquire()).join().unwrap()));
            }
            lock.release();
        });
        assert_eq!(*super::lock(&order), [0, 1, 2, 3, 4]);
    }
}
