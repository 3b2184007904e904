//! A thread's place: the connection it serves, and the handles by which others may end it.
//!
//! The claim decides who acts; the line is what they act on. Whoever ends a connection from
//! outside does it under the line's lock, and the owner takes its connection off the line under
//! the same lock, so that nobody ever ends the connection that comes after.

use std::net::Shutdown;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use super::claim::{Claim, Offer};
use super::dispatcher::Job;
use crate::net::{AbortHandle, Socket};

#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) claim: Claim,
    line: Mutex<Option<Line>>,
    job: Mutex<Option<Job>>,
    thread: OnceLock<Thread>,
}

/// The handles on a live connection.
#[derive(Debug)]
pub(crate) struct Line {
    /// To wake a read without losing what has come. `None` where there is no socket.
    pub(crate) socket: Option<Socket>,
    /// To stop everything.
    pub(crate) abort: AbortHandle,
}

impl Slot {
    pub(crate) fn new() -> Slot {
        Slot { claim: Claim::new(), line: Mutex::default(), job: Mutex::default(), thread: OnceLock::new() }
    }

    /// The owner is this thread.
    pub(crate) fn settle_in(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    /// Hands the thread a job; it is waiting for one.
    pub(crate) fn give(&self, job: Job) {
        *lock(&self.job) = Some(job);
        self.wake();
    }

    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    pub(crate) fn take_job(&self) -> Option<Job> {
        lock(&self.job).take()
    }

    /// The owner begins with a connection.
    pub(crate) fn connect(&self, line: Line) {
        let mut place = lock(&self.line);
        self.claim.reset();
        *place = Some(line);
    }

    /// The connection left its session, and is stopped by another handle: as long as its handler runs, it is
    /// still the one to end. An abort that hit the old handle hits the new one.
    pub(crate) fn hand_over(&self, abort: AbortHandle) {
        if let Some(line) = lock(&self.line).as_mut() {
            if line.abort.is_aborted() {
                abort.abort();
            }
            line.abort = abort;
        }
    }

    /// The owner is done with its connection. Says whether somebody else had ended it.
    pub(crate) fn disconnect(&self) -> bool {
        let mut place = lock(&self.line);
        *place = None;
        let taken = self.claim.is_taken();
        self.claim.reset();
        taken
    }

    /// Ends the connection if it is still idle as it was seen: its thread reads an end.
    pub(crate) fn evict(&self, offer: Offer) -> bool {
        let place = lock(&self.line);
        let Some(line) = place.as_ref() else { return false };
        if !self.claim.take(offer) {
            return false;
        }
        match &line.socket {
            // What has come in the gap can still be read.
            Some(socket) => drop(socket.shutdown(Shutdown::Read)),
            None => line.abort.abort(),
        }
        true
    }

    /// The owner has given its connection up: nothing more is to come on it than has come already.
    pub(crate) fn end_input(&self) {
        if let Some(socket) = lock(&self.line).as_ref().and_then(|line| line.socket.as_ref()) {
            let _ = socket.shutdown(Shutdown::Read);
        }
    }

    /// Ends the connection, whatever its thread does with it. Says whether there was one.
    pub(crate) fn abort(&self) -> bool {
        let place = lock(&self.line);
        if let Some(line) = place.as_ref() {
            line.abort.abort();
        }
        place.is_some()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
