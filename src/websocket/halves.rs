//! The two halves of a connection that left its session: one is read while the other is
//! written.
//!
//! A socket can do that by itself. Any other stream (TLS, a transport of the user's) has one
//! state for both directions and stands behind a lock. Neither half holds it for longer than a
//! moment while it waits: a peer that takes nothing keeps nobody from reading what it says. This
//! is the one file of the module that knows streams.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::net::{AbortHandle, Deadline, Limit, Readiness, Socket, Stream};
use crate::session::{Detached, Timeouts};
use crate::{Phase, Result};

/// What both halves obey, and what stays to be said of the connection.
pub(super) struct Control {
    limits: Mutex<(Timeouts, Deadline)>,
    // Somebody may send while another thread reads.
    concurrent: AtomicBool,
    abort: AbortHandle,
    peer_address: Option<SocketAddr>,
}

impl Control {
    pub(super) fn timeouts(&self) -> Timeouts {
        lock(&self.limits).0
    }

    pub(super) fn set_timeouts(&self, times: Timeouts) {
        lock(&self.limits).0 = times;
    }

    /// Nothing that begins from now on lasts longer than this, whatever the time-outs.
    pub(super) fn set_deadline(&self, deadline: Deadline) {
        lock(&self.limits).1 = deadline;
    }

    pub(super) fn set_concurrent(&self) {
        self.concurrent.store(true, Ordering::Relaxed);
    }

    pub(super) fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }

    pub(super) fn peer_address(&self) -> Option<SocketAddr> {
        self.peer_address
    }

    fn receive_limit(&self) -> Limit {
        let (times, deadline) = *lock(&self.limits);
        times.receive_limit(deadline)
    }

    fn send_limit(&self) -> Limit {
        let (times, deadline) = *lock(&self.limits);
        times.send_limit(deadline)
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("peer_address", &self.peer_address).finish_non_exhaustive()
    }
}

pub(super) struct ReadHalf {
    way: Way,
    control: Arc<Control>,
}

pub(super) struct WriteHalf {
    way: Way,
    control: Arc<Control>,
}

/// Takes a connection apart; the bytes are those that were read from it before.
pub(super) fn split(detached: Detached) -> (ReadHalf, WriteHalf, Arc<Control>, Vec<u8>) {
    let control = Arc::new(Control {
        limits: Mutex::new((detached.timeouts(), Deadline::never())),
        concurrent: AtomicBool::new(false),
        abort: detached.abort_handle(),
        peer_address: detached.peer_address(),
    });
    let (stream, early) = detached.into_parts();
    let way = match stream {
        Stream::Tcp(socket) | Stream::Unix(socket) => Way::Socket(socket),
        stream => {
            let socket = stream.socket().cloned();
            Way::Shared(Arc::new(Shared { socket, stream: Mutex::new(stream), turn: Mutex::new(()) }))
        }
    };
    let read = ReadHalf { way: way.clone(), control: control.clone() };
    let write = WriteHalf { way, control: control.clone() };
    (read, write, control, early)
}

impl Read for ReadHalf {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let limit = self.control.receive_limit();
        let result = match &self.way {
            Way::Socket(socket) => socket.read(into, &limit),
            Way::Shared(shared) if self.control.concurrent.load(Ordering::Relaxed) => {
                shared.read(into, &limit)
            }
            Way::Shared(shared) => lock(&shared.stream).read(into, &limit),
        };
        Ok(result.map_err(|error| error.with_phase(Phase::ReceiveBody))?)
    }
}

impl Write for WriteHalf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let limit = self.control.send_limit();
        let result = match &self.way {
            Way::Socket(socket) => socket.write_vectored(parts, &limit),
            Way::Shared(shared) => shared.write(parts, &limit),
        };
        Ok(result.map_err(|error| error.with_phase(Phase::Send))?)
    }

    fn flush(&mut self) -> io::Result<()> {
        let limit = self.control.send_limit();
        match &self.way {
            Way::Socket(_) => Ok(()),
            Way::Shared(shared) => Ok(shared.flush(&limit).map_err(|error| error.with_phase(Phase::Send))?),
        }
    }
}

#[derive(Clone)]
enum Way {
    Socket(Socket),
    Shared(Arc<Shared>),
}

/// A stream with one state for both directions.
struct Shared {
    stream: Mutex<Stream>,
    // Held while one waits for the stream, so that a reader that comes back again and again
    // keeps no writer away from it.
    turn: Mutex<()>,
    // What the stream stands on, to wait by.
    socket: Option<Socket>,
}

impl Shared {
    fn take_turn(&self) -> MutexGuard<'_, Stream> {
        let _turn = lock(&self.turn);
        lock(&self.stream)
    }

    /// Writes, and lets out what the stream gathers. What can't leave in time is the next call's error.
    fn write(&self, parts: &[IoSlice<'_>], limit: &Limit) -> Result<usize> {
        let n = self.in_turns(limit, |stream, slice| stream.write_vectored(parts, slice))?;
        match self.flush(limit) {
            Err(error) if !error.is_timeout() => Err(error),
            _ => Ok(n),
        }
    }

    fn flush(&self, limit: &Limit) -> Result<()> {
        loop {
            let flushed = self.in_turns(limit, |stream, slice| {
                if !stream.is_flushed() {
                    stream.flush_some(slice)?;
                }
                Ok(stream.is_flushed())
            })?;
            if flushed {
                return Ok(());
            }
        }
    }

    /// Does something that may have to wait, a little at a time, with the stream free in between.
    fn in_turns<T>(&self, limit: &Limit, mut act: impl FnMut(&mut Stream, &Limit) -> Result<T>) -> Result<T> {
        let end = end_of(limit)?;
        loop {
            let result = act(&mut self.take_turn(), &Limit::stall(SLICE));
            match result {
                Err(error) if error.is_timeout() && end.is_none_or(|end| Instant::now() < end) => {}
                result => return result,
            }
        }
    }

    /// Reads, and lets others write while there is nothing to read.
    fn read(&self, into: &mut [u8], limit: &Limit) -> Result<usize> {
        let end = end_of(limit)?;
        let mut looked = false;
        loop {
            {
                let mut stream = self.take_turn();
                // Bytes in the socket need not be enough to read any: of a TLS record they may
                // be half. So this waits a little, and not with the lock for the other half.
                let must_wait = awaits_taking(&mut stream)?;
                let there = looked || stream.has_buffered();
                if self.socket.is_none() || (there && !must_wait) {
                    match stream.read(into, &Limit::stall(SLICE)) {
                        Err(error) if error.is_timeout() && end.is_none_or(|end| Instant::now() < end) => {}
                        result => return result,
                    }
                }
            }
            if let Some(socket) = &self.socket {
                let until = end.map_or(Deadline::never(), Deadline::at);
                socket.wait_readable(&Limit::from(until))?;
                looked = true;
            }
        }
    }
}

/// Whether a read would wait for the peer to take what was written, which may itself be waiting
/// for us to read. What is there to be read is taken in by this, so that no read waits then.
fn awaits_taking(stream: &mut Stream) -> Result<bool> {
    Ok(!stream.is_flushed() && stream.peek_nowait()? == Readiness::Nothing)
}

/// When a call that begins now is to be over; `None` is never.
fn end_of(limit: &Limit) -> Result<Option<Instant>> {
    Ok(limit.remaining()?.and_then(|left| Instant::now().checked_add(left)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long one half may have to wait for the stream while the other waits for the peer.
const SLICE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    /// Halves that share a stream over a socket, as those over TLS do, and the peer.
    fn shared() -> (ReadHalf, WriteHalf, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let stream = Stream::Unix(Socket::from_unix(near).unwrap());
        let detached = Detached::new(stream, Vec::new(), Timeouts::default()).unwrap();
        let (mut read, mut write, control, _) = split(detached);
        control.set_concurrent();
        let Way::Socket(socket) = read.way.clone() else { panic!("a socket needs no lock") };
        let stream = Mutex::new(Stream::Unix(socket.clone()));
        let way = Way::Shared(Arc::new(Shared { stream, turn: Mutex::new(()), socket: Some(socket) }));
        (read.way, write.way) = (way.clone(), way);
        (read, write, far)
    }

    #[test]
    fn one_half_writes_while_the_other_waits() {
        let (mut read, mut write, mut peer) = shared();
        std::thread::scope(|scope| {
            let reading = scope.spawn(move || {
                let mut bytes = [0; 6];
                read.read_exact(&mut bytes).unwrap();
                bytes
            });
            let mut byte = [0];
            for number in 0..100 {
                write.write_all(&[number]).unwrap();
                peer.read_exact(&mut byte).unwrap();
                assert_eq!(byte, [number]);
            }
            peer.write_all(b"answer").unwrap();
            assert_eq!(&reading.join().unwrap(), b"answer");
        });
    }

    #[test]
    fn a_deadline_ends_a_write_that_nobody_takes() {
        let (_read, mut write, _peer) = shared();
        write.control.set_deadline(Deadline::after(Duration::from_millis(60)));
        let start = Instant::now();
        let error = loop {
            if let Err(error) = write.write(&[0; 1 << 16]) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!((60..5000).contains(&start.elapsed().as_millis()));
    }

    #[test]
    fn a_wait_has_its_limit_and_ends_with_an_abort_or_the_end() {
        let (mut read, _write, peer) = shared();
        read.control.set_timeouts(Timeouts::all(Duration::from_millis(60)));
        let start = Instant::now();
        assert_eq!(read.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!((60..5000).contains(&start.elapsed().as_millis()));
        drop(peer);
        assert_eq!(read.read(&mut [0; 8]).unwrap(), 0);

        let (mut read, _write, _peer) = shared();
        let abort = read.control.abort_handle();
        let reading = std::thread::spawn(move || read.read(&mut [0; 8]).unwrap_err());
        abort.abort();
        assert!(crate::Error::from(reading.join().unwrap()).is_aborted());
    }
}
