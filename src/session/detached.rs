//! A connection that left its session: the stream, and what was already read from it.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use super::timeouts::{Timeouts, limit};
use crate::Result;
use crate::net::{AbortHandle, Deadline, Stream};

/// A connection taken out of its session, for a protocol that is not HTTP: after a `101`,
/// in a `CONNECT` tunnel, or because the caller wants it so.
///
/// Reading gives first the bytes that the session had read already, so that nothing is lost.
/// Reads and writes keep the session's time-outs. The handle that aborts them is
/// [its own](Detached::abort_handle): the session's stops it no more.
///
/// ```
/// use std::io::{Read, Write};
/// use sessile::net::{Stream, pair};
/// use sessile::session::{Detached, Timeouts};
///
/// let (near, mut far) = pair();
/// let mut raw = Detached::new(Stream::custom(near), b"early ".to_vec(), Timeouts::default())?;
/// far.write_all(b"and late")?;
/// drop(far);
/// let mut text = String::new();
/// raw.read_to_string(&mut text)?;
/// assert_eq!(text, "early and late");
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias = "detachSocket")]
pub struct Detached {
    stream: Stream,
    early: Vec<u8>,
    taken: usize,
    times: Timeouts,
    abort: AbortHandle,
}

impl Detached {
    /// A stream, with bytes that were already read from it.
    pub fn new(mut stream: Stream, early: Vec<u8>, times: Timeouts) -> Result<Detached> {
        let abort = AbortHandle::new();
        stream.attach_abort(&abort)?;
        Ok(Detached { stream, early, taken: 0, times, abort })
    }

    /// The bytes that were read before and not taken yet.
    #[doc(alias = "drainBuffer")]
    pub fn buffered(&self) -> &[u8] {
        &self.early[self.taken..]
    }

    /// The stream and the bytes that were read from it and not taken yet.
    pub fn into_parts(mut self) -> (Stream, Vec<u8>) {
        self.early.drain(..self.taken);
        (self.stream, self.early)
    }

    /// The stream itself.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream itself. What is read from it comes behind [`buffered`](Detached::buffered).
    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// How long a read or a write may stall.
    pub fn timeouts(&self) -> Timeouts {
        self.times
    }

    /// Changes how long a read or a write may stall; at once.
    pub fn set_timeouts(&mut self, times: Timeouts) {
        self.times = times;
    }

    /// The peer's address, where it has one.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.stream.peer_addr()
    }

    /// Ends blocked calls from another thread. A new handle, that nobody has yet.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }

    /// One read that waits no longer than `wait`.
    pub fn read_within(&mut self, into: &mut [u8], wait: Duration) -> Result<usize> {
        match self.take_early(into) {
            0 => self.stream.read(into, &limit(wait)),
            n => Ok(n),
        }
    }

    fn take_early(&mut self, into: &mut [u8]) -> usize {
        let early = &self.early[self.taken..];
        let n = early.len().min(into.len());
        into[..n].copy_from_slice(&early[..n]);
        self.taken += n;
        if self.taken == self.early.len() {
            self.early = Vec::new();
            self.taken = 0;
        }
        n
    }
}

impl Read for Detached {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_within(into, self.times.receive)?)
    }
}

impl Write for Detached {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let limit = self.times.send_limit(Deadline::never());
        let n = self.stream.write_vectored(&[io::IoSlice::new(data)], &limit)?;
        // As with a socket, nobody need flush. What can't leave in time is the next call's error.
        match self.stream.flush(&limit) {
            Err(error) if !error.is_timeout() => Err(error.into()),
            _ => Ok(n),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.stream.flush(&self.times.send_limit(Deadline::never()))?)
    }
}
