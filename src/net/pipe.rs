//! Transports in memory: a pair of connected ends, and one that counts the calls.
//!
//! For tests, ours and users': the whole of a session runs over them without a socket. They
//! keep the rules of a socket: bounded, blocking within limits, ended by the abort flag.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::net::abort::{AbortHandle, Interrupt};
use crate::net::deadline::Limit;
use crate::net::stream::{Readiness, Stream, Transport};

/// Two connected ends in memory. What is written to one is read from the other; each direction holds
/// 64 KiB, and a write to a full one waits.
///
/// ```
/// use std::io::IoSlice;
/// use sessile::net::{Limit, Transport, pair};
///
/// let (mut near, mut far) = pair();
/// near.write_vectored(&[IoSlice::new(b"hello")], &Limit::none())?;
/// drop(near);
/// let mut bytes = [0; 16];
/// assert_eq!(far.read(&mut bytes, &Limit::none())?, 5);
/// assert_eq!(far.read(&mut bytes, &Limit::none())?, 0);
/// # Ok::<(), sessile::Error>(())
/// ```
pub fn pair() -> (Pipe, Pipe) {
    Pipe::pair_holding(64 << 10)
}

/// One end of a [`pair`].
///
/// Dropping it ends both directions, as closing a socket does.
#[derive(Debug)]
pub struct Pipe {
    incoming: Arc<Channel>,
    outgoing: Arc<Channel>,
    abort: AbortHandle,
}

/// One direction.
#[derive(Debug)]
struct Channel {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    /// No more comes; what is there can still be read.
    ended: bool,
    /// Nobody reads any more.
    refused: bool,
}

impl Pipe {
    /// Two connected ends, with so many bytes of room in each direction (at least one).
    pub fn pair_holding(most: usize) -> (Pipe, Pipe) {
        let channel = || {
            let (state, changed) = (Mutex::default(), Condvar::new());
            Arc::new(Channel { state, changed, most: most.max(1) })
        };
        let (there, back) = (channel(), channel());
        let near = Pipe { incoming: back.clone(), outgoing: there.clone(), abort: AbortHandle::new() };
        let far = Pipe { incoming: there, outgoing: back, abort: AbortHandle::new() };
        (near, far)
    }

    fn end(&mut self, how: Shutdown) {
        if how != Shutdown::Write {
            self.incoming.change(|state| {
                state.refused = true;
                state.ended = true;
            });
        }
        if how != Shutdown::Read {
            self.outgoing.change(|state| state.ended = true);
        }
    }
}

/// Blocks without a limit.
impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(Transport::read(self, buf, &Limit::none())?)
    }
}

/// Blocks without a limit.
impl Write for Pipe {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(Transport::write_vectored(self, &[IoSlice::new(data)], &Limit::none())?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Pipe {
    fn read(&mut self, buf: &mut [u8], limit: &Limit) -> Result<usize> {
        let ready = |state: &State| !state.bytes.is_empty() || state.ended;
        let mut state =
            self.incoming.wait(&self.abort, limit, ready, "nothing came from the peer in time")?;
        let n = buf.len().min(state.bytes.len());
        for (to, from) in buf.iter_mut().zip(state.bytes.drain(..n)) {
            *to = from;
        }
        drop(state);
        self.incoming.changed.notify_all();
        Ok(n)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>], limit: &Limit) -> Result<usize> {
        let most = self.outgoing.most;
        let ready = |state: &State| state.bytes.len() < most || state.refused || state.ended;
        let mut state = self.outgoing.wait(&self.abort, limit, ready, "the peer takes no more data")?;
        if state.refused || state.ended {
            return Err(Error::new(ErrorKind::Io, "the pipe is closed")
                .with_source(std::io::Error::from(std::io::ErrorKind::BrokenPipe)));
        }
        let mut taken = 0;
        for part in parts {
            let n = part.len().min(most - state.bytes.len());
            state.bytes.extend(&part[..n]);
            taken += n;
        }
        drop(state);
        self.outgoing.changed.notify_all();
        Ok(taken)
    }

    fn write_nowait(&mut self, bytes: &[u8]) -> Result<usize> {
        self.abort.check()?;
        let mut state = self.outgoing.lock();
        let n = if state.refused || state.ended {
            0
        } else {
            bytes.len().min(self.outgoing.most - state.bytes.len())
        };
        state.bytes.extend(&bytes[..n]);
        drop(state);
        self.outgoing.changed.notify_all();
        Ok(n)
    }

    fn peek_nowait(&mut self) -> Result<Readiness> {
        self.abort.check()?;
        let state = self.incoming.lock();
        Ok(match (state.bytes.is_empty(), state.ended) {
            (false, _) => Readiness::Data,
            (true, true) => Readiness::End,
            (true, false) => Readiness::Nothing,
        })
    }

    fn shutdown(&mut self, how: Shutdown, _limit: &Limit) -> Result<()> {
        self.end(how);
        Ok(())
    }

    fn attach_abort(&mut self, abort: &AbortHandle) -> Result<()> {
        for channel in [&self.incoming, &self.outgoing] {
            let target = Arc::downgrade(channel) as Weak<dyn Interrupt>;
            abort.register(target.clone())?;
            if !self.abort.is(abort) {
                self.abort.unregister(&target);
            }
        }
        self.abort = abort.clone();
        Ok(())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.end(Shutdown::Both);
    }
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait(
        &self,
        abort: &AbortHandle,
        limit: &Limit,
        ready: impl Fn(&State) -> bool,
        late: &'static str,
    ) -> Result<MutexGuard<'_, State>> {
        abort.check()?;
        let late = |_| Error::new(ErrorKind::Timeout, late);
        let end = limit.remaining().map_err(late)?.and_then(|left| Instant::now().checked_add(left));
        let mut state = self.lock();
        loop {
            abort.check()?;
            if ready(&state) {
                return Ok(state);
            }
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(late(crate::net::Elapsed));
            }
            state = match end {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(_) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

impl Interrupt for Channel {
    fn interrupt(&self) {
        // As a socket that is shut down: the peer reads what is there, then an end. The lock makes
        // sure that whoever has looked at the flag is waiting by now.
        self.change(|state| {
            state.ended = true;
            state.refused = true;
        });
    }
}

/// A stream that counts the calls and bytes that pass it.
///
/// A call on a [`Stream`] over a socket is one system call, so this counts what a session costs.
///
/// ```
/// use std::io::IoSlice;
/// use sessile::net::{Counting, Limit, Stream, Transport, pair};
///
/// let (near, _far) = pair();
/// let (mut near, counts) = Counting::new(Stream::custom(near));
/// near.write_vectored(&[IoSlice::new(b"head"), IoSlice::new(b"body")], &Limit::none())?;
/// assert_eq!((counts.writes(), counts.bytes_written()), (1, 8));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug)]
pub struct Counting {
    stream: Stream,
    counts: Counts,
}

/// What a [`Counting`] stream has counted. Clones share the figures.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    reads: AtomicU64,
    writes: AtomicU64,
    peeks: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
}

impl Counting {
    /// Counts what passes this stream, from here on.
    pub fn new(stream: Stream) -> (Counting, Counts) {
        let counts = Counts::default();
        (Counting { stream, counts: counts.clone() }, counts)
    }
}

impl Counts {
    /// How often `read` was called.
    pub fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::Relaxed)
    }

    /// How often `write_vectored` was called.
    pub fn writes(&self) -> u64 {
        self.0.writes.load(Ordering::Relaxed)
    }

    /// How often `peek_nowait` was called.
    pub fn peeks(&self) -> u64 {
        self.0.peeks.load(Ordering::Relaxed)
    }

    /// How many bytes were read.
    pub fn bytes_read(&self) -> u64 {
        self.0.bytes_read.load(Ordering::Relaxed)
    }

    /// How many bytes were written.
    pub fn bytes_written(&self) -> u64 {
        self.0.bytes_written.load(Ordering::Relaxed)
    }
}

impl Transport for Counting {
    fn read(&mut self, buf: &mut [u8], limit: &Limit) -> Result<usize> {
        self.counts.0.reads.fetch_add(1, Ordering::Relaxed);
        let n = self.stream.read(buf, limit)?;
        self.counts.0.bytes_read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>], limit: &Limit) -> Result<usize> {
        self.counts.0.writes.fetch_add(1, Ordering::Relaxed);
        let n = self.stream.write_vectored(parts, limit)?;
        self.counts.0.bytes_written.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn is_flushed(&self) -> bool {
        self.stream.is_flushed()
    }

    fn flush_some(&mut self, limit: &Limit) -> Result<()> {
        self.stream.flush_some(limit)
    }

    fn write_nowait(&mut self, bytes: &[u8]) -> Result<usize> {
        let n = self.stream.write_nowait(bytes)?;
        self.counts.0.bytes_written.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn peek_nowait(&mut self) -> Result<Readiness> {
        self.counts.0.peeks.fetch_add(1, Ordering::Relaxed);
        self.stream.peek_nowait()
    }

    fn has_buffered(&self) -> bool {
        self.stream.has_buffered()
    }

    fn shutdown(&mut self, how: Shutdown, limit: &Limit) -> Result<()> {
        self.stream.shutdown(how, limit)
    }

    fn attach_abort(&mut self, abort: &AbortHandle) -> Result<()> {
        self.stream.attach_abort(abort)
    }

    fn local_addr(&self) -> Option<std::net::SocketAddr> {
        self.stream.local_addr()
    }

    fn peer_addr(&self) -> Option<std::net::SocketAddr> {
        self.stream.peer_addr()
    }

    fn is_secure(&self) -> bool {
        self.stream.is_secure()
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::net::Shutdown;

    use crate::Result;
    use crate::net::testing::{aborted, lasts, millis};
    use crate::net::{AbortHandle, Deadline, Limit, Pipe, Readiness, Transport, pair};

    fn write(pipe: &mut Pipe, bytes: &[u8]) -> Result<usize> {
        pipe.write_vectored(&[IoSlice::new(bytes)], &Limit::stall(millis(100)))
    }

    #[test]
    fn bytes_arrive_in_order_and_a_dropped_end_is_an_end_behind_them() {
        let (mut near, mut far) = Pipe::pair_holding(10);
        let parts = [IoSlice::new(b"abcdef"), IoSlice::new(b""), IoSlice::new(b"ghijkl")];
        assert_eq!(near.write_vectored(&parts, &Limit::none()).unwrap(), 10);
        let mut bytes = [0; 4];
        assert_eq!(far.read(&mut bytes, &Limit::none()).unwrap(), 4);
        assert_eq!(write(&mut near, b"klmnopqr").unwrap(), 4);
        drop(near);
        let mut bytes = [0; 16];
        assert_eq!(far.read(&mut bytes, &Limit::none()).unwrap(), 10);
        assert_eq!(&bytes[..10], b"efghijklmn");
        assert_eq!(far.read(&mut bytes, &Limit::none()).unwrap(), 0);
        let error = write(&mut far, b"x").unwrap_err();
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn limits_hold_in_both_directions() {
        let (mut near, mut far) = Pipe::pair_holding(10);
        let limit = Limit::stall(millis(80));
        assert!(lasts(millis(80), || near.read(&mut [0; 8], &limit)).unwrap_err().is_timeout());
        write(&mut near, &[0; 10]).unwrap();
        let limit = Limit::from(Deadline::after(millis(80)));
        let parts = [IoSlice::new(b"x")];
        assert!(lasts(millis(80), || near.write_vectored(&parts, &limit)).unwrap_err().is_timeout());
        assert!(far.read(&mut [0; 8], &limit).unwrap_err().is_timeout());
    }

    #[test]
    fn an_abort_ends_a_read_and_a_write_and_the_peer_sees_an_end() {
        let (mut near, mut far) = Pipe::pair_holding(10);
        let abort = AbortHandle::new();
        near.attach_abort(&abort).unwrap();
        write(&mut near, b"last").unwrap();
        let outcome = aborted(&abort, move || (near.read(&mut [0; 8], &Limit::none()), near));
        assert!(outcome.0.unwrap_err().is_aborted());
        let mut near = outcome.1;
        assert!(near.peek_nowait().unwrap_err().is_aborted());
        assert_eq!(far.read(&mut [0; 8], &Limit::none()).unwrap(), 4);
        assert_eq!(far.read(&mut [0; 8], &Limit::none()).unwrap(), 0);
        assert!(write(&mut far, b"x").is_err());

        let (mut near, _far) = Pipe::pair_holding(10);
        let abort = AbortHandle::new();
        near.attach_abort(&abort).unwrap();
        write(&mut near, &[0; 10]).unwrap();
        let outcome = aborted(&abort, move || near.write_vectored(&[IoSlice::new(b"x")], &Limit::none()));
        assert!(outcome.unwrap_err().is_aborted());
    }

    #[test]
    fn half_a_close_leaves_the_other_half() {
        let (mut near, mut far) = pair();
        near.shutdown(Shutdown::Write, &Limit::none()).unwrap();
        assert_eq!(far.peek_nowait().unwrap(), Readiness::End);
        assert!(write(&mut near, b"x").is_err());
        write(&mut far, b"answer").unwrap();
        assert_eq!(near.peek_nowait().unwrap(), Readiness::Data);
        assert_eq!(near.read(&mut [0; 16], &Limit::none()).unwrap(), 6);
        assert_eq!(near.peek_nowait().unwrap(), Readiness::Nothing);
    }
}
