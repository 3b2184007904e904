//! The locks and atomics of web sessions, from one place, so that the race tests can run
//! the production types under loom (`RUSTFLAGS="--cfg loom" cargo test --lib web::races`).

#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, atomic};

#[cfg(all(test, loom))]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};

use std::sync::PoisonError;

/// Locks, whatever happened to another holder: no code of users runs under these locks,
/// and each leaves its data whole at every step.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
