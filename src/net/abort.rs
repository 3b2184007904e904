//! Stopping a blocked call from another thread.
//!
//! A flag, and a list of what has to be woken when it is set. The flag goes first: whoever is
//! woken looks at it, and it alone decides that the call was aborted, never what the woken
//! call returned (a socket that is shut down reads as a clean end). Nothing here knows what
//! a socket is.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::{Error, Result};

/// Stops what another thread is doing, in every phase: name resolution, connecting, TLS
/// handshake, reading, writing.
///
/// The blocked call returns [`ErrorKind::Aborted`](crate::ErrorKind::Aborted) at once, and so does
/// every later one, until the owner (a session, by `reset`) starts anew. Copies of a handle are the
/// same handle. A handle keeps no connection open.
///
/// ```
/// use sessile::net::{AbortHandle, Limit, Transport, pair};
///
/// let (mut end, _peer) = pair();
/// let abort = AbortHandle::new();
/// end.attach_abort(&abort)?;
/// let other = abort.clone();
/// let reader = std::thread::spawn(move || end.read(&mut [0; 16], &Limit::none()));
/// other.abort();
/// assert!(reader.join().unwrap().unwrap_err().is_aborted());
/// assert!(abort.is_aborted());
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "abort")]
#[derive(Clone, Default)]
pub struct AbortHandle {
    shared: Arc<Shared>,
}

/// Something that a waiting call can be woken by: a socket to shut down, a condition variable
/// to notify.
pub trait Interrupt: Send + Sync {
    /// Wakes whoever waits. Called by [`AbortHandle::abort`] on its thread, after the handle's
    /// flag was set; must not wait itself, and may be called more than once.
    fn interrupt(&self);
}

#[derive(Default)]
struct Shared {
    aborted: AtomicBool,
    targets: Mutex<Vec<Weak<dyn Interrupt>>>,
}

impl AbortHandle {
    /// A handle that stops nothing yet.
    pub fn new() -> AbortHandle {
        AbortHandle::default()
    }

    /// Ends whatever the owner is waiting for, and all that it would begin from now on. Does
    /// not wait, and does nothing the second time.
    pub fn abort(&self) {
        self.shared.aborted.store(true, Ordering::SeqCst);
        // Collected first: a target may take a lock under which another thread registers.
        let targets: Vec<_> = self.targets().iter().filter_map(Weak::upgrade).collect();
        for target in targets {
            target.interrupt();
        }
    }

    /// Whether [`abort`](AbortHandle::abort) was called.
    #[inline]
    pub fn is_aborted(&self) -> bool {
        self.shared.aborted.load(Ordering::Acquire)
    }

    /// An error if [`abort`](AbortHandle::abort) was called.
    #[inline]
    pub fn check(&self) -> Result<()> {
        if self.is_aborted() { Err(Error::aborted()) } else { Ok(()) }
    }

    /// Has `target` woken by [`abort`](AbortHandle::abort) for as long as it lives. An error if
    /// that was called already.
    ///
    /// For those who write a [`Transport`](crate::net::Transport). Whoever waits looks at
    /// [`is_aborted`](AbortHandle::is_aborted) before each wait and after it, under the lock that
    /// `interrupt` takes.
    pub fn register(&self, target: Weak<dyn Interrupt>) -> Result<()> {
        self.register_and(target, || ())
    }

    /// The same, and does `begin` before `abort` can come in between: an `abort` finds either
    /// nothing begun, or something begun that it can interrupt. `begin` must not wait.
    pub(crate) fn register_and<T>(
        &self,
        target: Weak<dyn Interrupt>,
        begin: impl FnOnce() -> T,
    ) -> Result<T> {
        let mut targets = self.targets();
        self.check()?;
        targets.retain(|known| known.strong_count() > 0 && !known.ptr_eq(&target));
        targets.push(target);
        Ok(begin())
    }

    /// Leaves `target` alone from now on.
    pub fn unregister(&self, target: &Weak<dyn Interrupt>) {
        self.targets().retain(|known| known.strong_count() > 0 && !known.ptr_eq(target));
    }

    /// Whether the two are the same handle.
    pub(crate) fn is(&self, other: &AbortHandle) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Makes the owner usable again.
    pub(crate) fn reset(&self) {
        self.shared.aborted.store(false, Ordering::SeqCst);
    }

    fn targets(&self) -> MutexGuard<'_, Vec<Weak<dyn Interrupt>>> {
        self.shared.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("aborted", &self.is_aborted()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Interrupt for Bell {
        fn interrupt(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn weak(bell: &Arc<Bell>) -> Weak<dyn Interrupt> {
        Arc::downgrade(bell) as Weak<dyn Interrupt>
    }

    #[test]
    fn abort_wakes_what_is_registered_and_refuses_what_comes_later() {
        let (handle, bell, late) = (AbortHandle::new(), Arc::new(Bell::default()), Arc::new(Bell::default()));
        handle.register(weak(&bell)).unwrap();
        handle.clone().abort();
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
        assert!(handle.register(weak(&late)).unwrap_err().is_aborted());
        assert!(handle.register_and(weak(&late), || panic!("must not begin")).is_err());
    }

    #[test]
    fn an_abort_waits_for_what_is_being_begun_and_then_interrupts_it() {
        let (handle, bell) = (AbortHandle::new(), Arc::new(Bell::default()));
        let other = handle.clone();
        let (aborting, heard) = handle
            .register_and(weak(&bell), || {
                let aborting = std::thread::spawn(move || other.abort());
                let start = std::time::Instant::now();
                while !handle.is_aborted() || start.elapsed() < std::time::Duration::from_millis(30) {
                    std::thread::yield_now();
                }
                (aborting, bell.0.load(Ordering::SeqCst))
            })
            .unwrap();
        assert_eq!(heard, 0);
        aborting.join().unwrap();
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn after_a_reset_it_can_be_used_and_aborted_again() {
        let (handle, bell) = (AbortHandle::new(), Arc::new(Bell::default()));
        handle.abort();
        handle.reset();
        handle.check().unwrap();
        handle.register(weak(&bell)).unwrap();
        handle.abort();
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_handle_neither_keeps_alive_nor_collects_what_is_gone() {
        let handle = AbortHandle::new();
        for _ in 0..1000 {
            handle.register(weak(&Arc::new(Bell::default()))).unwrap();
        }
        assert!(handle.targets().len() <= 1);
        handle.abort();
    }

    #[test]
    fn what_is_registered_twice_is_woken_once_and_what_is_unregistered_never() {
        let (handle, bell) = (AbortHandle::new(), Arc::new(Bell::default()));
        handle.register(weak(&bell)).unwrap();
        handle.register(weak(&bell)).unwrap();
        handle.abort();
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
        handle.unregister(&weak(&bell));
        handle.abort();
        assert_eq!(bell.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_handle_goes_to_any_thread() {
        fn all<T: Clone + Send + Sync + 'static>() {}
        all::<AbortHandle>();
    }
}
