//! The thread that sees connections off: those that are refused, and those that end while their
//! client may still be sending.
//!
//! A connection that is closed with unread bytes is reset, and the reset destroys the response on its way
//! (RFC 9112, 9.6). So: say what there is to say, half-close, read and drop for a moment,
//! close. One thread does that for all of them, because none may hold a thread that serves; it
//! never waits for any of them. The list is bounded; past it, connections are just closed.

use std::io::IoSlice;
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::net::{Limit, Readiness, Stream};

#[derive(Debug)]
pub(crate) struct Doorman {
    state: Mutex<State>,
    arrived: Condvar,
    most: usize,
    linger: Duration,
}

#[derive(Debug, Default)]
struct State {
    arrivals: Vec<Leaving>,
    /// All that are being seen off, the arrivals included.
    count: usize,
    running: bool,
}

#[derive(Debug)]
struct Leaving {
    stream: Stream,
    words: Option<Arc<[u8]>>,
    until: Option<Instant>,
    /// How much more is read of it.
    left: usize,
}

/// What is read of one connection at most, in all and at a time.
const BUDGET: usize = 1 << 20;
const BLOCK: usize = 64 << 10;

/// How often connections are looked at.
const ROUND: Duration = Duration::from_millis(10);

/// How long the thread waits for more before it ends.
const IDLE: Duration = Duration::from_secs(2);

impl Doorman {
    pub(crate) fn new(most: usize, linger: Duration) -> Arc<Doorman> {
        let (state, arrived) = (Mutex::default(), Condvar::new());
        Arc::new(Doorman { state, arrived, most, linger })
    }

    /// Sees a connection off; `words` are sent first. Closes it where there are too many already.
    pub(crate) fn see_off(self: &Arc<Self>, stream: Stream, words: Option<Arc<[u8]>>) {
        let mut state = self.lock();
        if state.count >= self.most || self.linger.is_zero() {
            drop(state);
            log::debug!("too many connections are being refused: closing one without a word");
            return;
        }
        if !state.running {
            let doorman = self.clone();
            let builder = thread::Builder::new().name(String::from("http refusals"));
            if let Err(error) = builder.spawn(move || doorman.run()) {
                log::warn!("no thread could be started to refuse connections: {error}");
                return;
            }
            state.running = true;
        }
        state.count += 1;
        let until = Instant::now().checked_add(self.linger);
        state.arrivals.push(Leaving { stream, words, until, left: BUDGET });
        drop(state);
        self.arrived.notify_one();
    }

    /// How many are being seen off.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.lock().count
    }

    /// Waits until nobody is left.
    pub(crate) fn wait(&self, until: Instant) {
        let mut state = self.lock();
        while state.count > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state =
                self.arrived.wait_timeout(state, left.min(ROUND)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn run(&self) {
        let mut all: Vec<Leaving> = Vec::new();
        let mut sink = Vec::new();
        loop {
            let mut state = self.lock();
            if state.arrivals.is_empty() {
                let wait = if all.is_empty() { IDLE } else { ROUND };
                state = self.arrived.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
            }
            if state.arrivals.is_empty() && all.is_empty() {
                state.running = false;
                return;
            }
            let known = all.len();
            all.append(&mut state.arrivals);
            drop(state);
            let before = all.len();
            // A user's transport that panics ends nobody's connection but its own.
            for leaving in &mut all[known..] {
                if catch_unwind(AssertUnwindSafe(|| leaving.part())).is_err() {
                    leaving.left = 0;
                }
            }
            if sink.is_empty() {
                sink.resize(BLOCK, 0);
            }
            all.retain_mut(|leaving| {
                catch_unwind(AssertUnwindSafe(|| leaving.stays(&mut sink))).unwrap_or(false)
            });
            self.lock().count -= before - all.len();
            if all.is_empty() {
                sink = Vec::new();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leaving {
    /// Says what there is to say. The little that is fits into the empty buffer of the socket.
    fn part(&mut self) {
        let brief = Limit::stall(ROUND);
        let said = match self.words.take() {
            Some(words) => self.stream.write_vectored(&[IoSlice::new(&words)], &brief).map(drop),
            None => Ok(()),
        };
        if said.and_then(|()| self.stream.shutdown(Shutdown::Write, &brief)).is_err() {
            self.left = 0;
        }
    }

    /// Reads what is there. `false`: the connection is to be closed.
    fn stays(&mut self, sink: &mut [u8]) -> bool {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return false;
        }
        // Nobody makes a handshake, or decrypts, for what is dropped.
        let stream = self.stream.bottom_mut();
        while self.left > 0 {
            match stream.peek_nowait() {
                Ok(Readiness::Nothing) => return true,
                Ok(Readiness::End) | Err(_) => return false,
                Ok(Readiness::Data) => {}
            }
            match stream.read(sink, &Limit::stall(ROUND)) {
                Ok(n @ 1..) => self.left = self.left.saturating_sub(n),
                _ => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Result;
    use crate::net::{AbortHandle, Transport, pair};

    fn doorman(most: usize, linger: Duration) -> Arc<Doorman> {
        Doorman::new(most, linger)
    }

    fn read_all(stream: &mut Stream) -> Vec<u8> {
        let mut all = Vec::new();
        let mut block = [0; 1024];
        loop {
            match stream.read(&mut block, &Limit::stall(Duration::from_secs(5))).unwrap() {
                0 => return all,
                n => all.extend_from_slice(&block[..n]),
            }
        }
    }

    #[test]
    fn the_words_arrive_while_the_client_still_sends() {
        let doorman = doorman(8, Duration::from_secs(5));
        let (near, far) = pair();
        let mut far = Stream::custom(far);
        far.write_vectored(&[IoSlice::new(&[b'x'; 5000])], &Limit::none()).unwrap();
        doorman.see_off(Stream::custom(near), Some(Arc::from(&b"go away"[..])));
        assert_eq!(read_all(&mut far), b"go away");
        far.write_vectored(&[IoSlice::new(&[b'x'; 5000])], &Limit::none()).unwrap();
        drop(far);
        doorman.wait(Instant::now() + Duration::from_secs(4));
        assert_eq!(doorman.count(), 0);
    }

    #[test]
    fn a_client_that_never_leaves_is_shown_out_in_time() {
        let doorman = doorman(8, Duration::from_millis(50));
        let (near, far) = pair();
        let started = Instant::now();
        doorman.see_off(Stream::custom(near), None);
        doorman.wait(started + Duration::from_secs(5));
        assert_eq!(doorman.count(), 0);
        assert!((50..1000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        drop(far);
    }

    /// Panics when it is looked at, or already when it is written to.
    #[derive(Debug)]
    struct Panicking(&'static str);

    impl Transport for Panicking {
        fn read(&mut self, _: &mut [u8], _: &Limit) -> Result<usize> {
            Ok(0)
        }
        fn write_vectored(&mut self, parts: &[IoSlice<'_>], _: &Limit) -> Result<usize> {
            assert_ne!(self.0, "written to");
            Ok(parts.iter().map(|part| part.len()).sum())
        }
        fn peek_nowait(&mut self) -> Result<Readiness> {
            panic!("looked at");
        }
        fn shutdown(&mut self, _: Shutdown, _: &Limit) -> Result<()> {
            Ok(())
        }
        fn attach_abort(&mut self, _: &AbortHandle) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_transport_that_panics_keeps_nobody_else_from_being_seen_off() {
        let doorman = doorman(8, Duration::from_secs(5));
        for when in ["written to", "looked at"] {
            doorman.see_off(Stream::custom(Panicking(when)), Some(Arc::from(&b"busy"[..])));
            let (near, far) = pair();
            doorman.see_off(Stream::custom(near), Some(Arc::from(&b"busy"[..])));
            assert_eq!(read_all(&mut Stream::custom(far)), b"busy");
        }
        doorman.wait(Instant::now() + Duration::from_secs(5));
        assert_eq!(doorman.count(), 0);
    }

    #[test]
    fn past_the_limit_connections_are_closed_at_once() {
        let doorman = doorman(2, Duration::from_secs(5));
        let mut clients = Vec::new();
        for _ in 0..3 {
            let (near, far) = pair();
            clients.push(Stream::custom(far));
            doorman.see_off(Stream::custom(near), Some(Arc::from(&b"busy"[..])));
        }
        assert_eq!(read_all(&mut clients[2]), b"");
        assert_eq!(read_all(&mut clients[0]), b"busy");
    }
}
