//! A connected socket of the operating system, and the one place where limits of time are applied.
//!
//! Blocking calls under `SO_RCVTIMEO` and `SO_SNDTIMEO`; nothing polls before it reads. The
//! kernel's timer is set only when what it is set to is too long for this call, and a wake-up
//! before the true end sets it anew and goes on. So a call on the fast path is one system call
//! and, without a deadline, reads no clock. Knows nothing of buffers, TLS or HTTP.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};
use crate::net::abort::{AbortHandle, Interrupt};
use crate::net::deadline::{Elapsed, Limit};
use crate::net::stream::Readiness;
use crate::net::timer::{FOREVER, Wait, micros};

/// A connected TCP or Unix stream socket, whose calls obey a [`Limit`] and an [`AbortHandle`].
///
/// Clones are the same socket, as copies of Poco's `StreamSocket` are: no second descriptor is
/// made, and the last one to go closes it. One thread may read while another writes; two that
/// read (or write) at once may wait for each other's limits.
///
/// Options that have no method here can be set through the descriptor:
/// `socket2::SockRef::from(&socket)`. Leave it blocking, and leave its two time-outs alone.
///
/// ```
/// use std::io::IoSlice;
/// use std::net::{TcpListener, TcpStream};
/// use std::time::Duration;
/// use sessile::net::{Limit, Socket};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let socket = Socket::from_tcp(TcpStream::connect(listener.local_addr()?)?)?;
/// let (peer, _) = listener.accept()?;
/// let peer = Socket::from_tcp(peer)?;
///
/// let limit = Limit::stall(Duration::from_millis(20));
/// assert!(socket.read(&mut [0; 8], &limit).unwrap_err().is_timeout());
/// peer.write_vectored(&[IoSlice::new(b"hello, "), IoSlice::new(b"world")], &limit)?;
/// let mut bytes = [0; 64];
/// let n = socket.read(&mut bytes, &limit)?;
/// assert_eq!(&bytes[..n], b"hello, world");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "StreamSocket")]
#[doc(alias = "StreamSocketImpl")]
#[derive(Clone)]
pub struct Socket {
    inner: Arc<Inner>,
    abort: AbortHandle,
}

/// What clones share, and what an abort finds.
struct Inner {
    os: socket2::Socket,
    /// What the kernel's two timers are set to, in microseconds.
    receive_timer: AtomicU64,
    send_timer: AtomicU64,
    /// The most that one system call is given to write.
    piece: usize,
    /// The descriptor does not block just now, because a file is being sent.
    sending_file: AtomicBool,
    #[cfg(test)]
    settings: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Receive,
    Send,
}

impl Socket {
    /// Takes over a connected TCP stream: it blocks from now on, and small writes leave at once
    /// (`TCP_NODELAY`).
    pub fn from_tcp(stream: TcpStream) -> Result<Socket> {
        let os = socket2::Socket::from(stream);
        os.set_tcp_nodelay(true).map_err(failed)?;
        Socket::adopt(os, PIECE)
    }

    /// Takes over a connected Unix stream: it blocks from now on.
    #[cfg(unix)]
    pub fn from_unix(stream: std::os::unix::net::UnixStream) -> Result<Socket> {
        Socket::adopt(socket2::Socket::from(stream), UNIX_PIECE)
    }

    fn adopt(os: socket2::Socket, piece: usize) -> Result<Socket> {
        os.set_nonblocking(false).map_err(failed)?;
        os.set_read_timeout(None).map_err(failed)?;
        os.set_write_timeout(None).map_err(failed)?;
        Socket::over(os, &AbortHandle::new(), piece)
    }

    /// A TCP socket whose timers were never set, and which blocks.
    pub(crate) fn fresh(os: socket2::Socket, abort: &AbortHandle) -> Result<Socket> {
        Socket::over(os, abort, PIECE)
    }

    /// A Unix socket whose timers were never set, and which blocks.
    #[cfg(unix)]
    pub(crate) fn fresh_unix(os: socket2::Socket, abort: &AbortHandle) -> Result<Socket> {
        Socket::over(os, abort, UNIX_PIECE)
    }

    fn over(os: socket2::Socket, abort: &AbortHandle, piece: usize) -> Result<Socket> {
        let inner = Inner {
            os,
            receive_timer: AtomicU64::new(FOREVER),
            send_timer: AtomicU64::new(FOREVER),
            piece,
            sending_file: AtomicBool::new(false),
            #[cfg(test)]
            settings: AtomicU64::new(0),
        };
        let socket = Socket { inner: Arc::new(inner), abort: abort.clone() };
        abort.register(socket.target())?;
        Ok(socket)
    }

    /// Has `begin` start to connect the socket, without waiting. An abort comes before that, or
    /// finds the socket connecting; a socket that does neither could not be stopped.
    pub(crate) fn begin<T>(&self, begin: impl FnOnce(&socket2::Socket) -> T) -> Result<T> {
        self.abort.register_and(self.target(), || begin(&self.inner.os))
    }

    /// Reads what is there, or waits for it. `Ok(0)` means that the peer has ended its side.
    #[doc(alias = "receiveBytes")]
    #[inline]
    pub fn read(&self, buf: &mut [u8], limit: &Limit) -> Result<usize> {
        self.run(Way::Receive, limit, |mut os| os.read(buf))
    }

    /// Writes of these parts, in their order and without copying them together, what the
    /// system takes within the limit, and says how much that was. Takes at most 256 KiB, so that limits
    /// are looked at in between.
    #[doc(alias = "sendBytes")]
    #[inline]
    pub fn write_vectored(&self, parts: &[IoSlice<'_>], limit: &Limit) -> Result<usize> {
        if let [part] = parts {
            let part = &part[..part.len().min(self.inner.piece)];
            return self.run(Way::Send, limit, |os| os.send_with_flags(part, SILENT));
        }
        let mut clipped = [IoSlice::new(&[]); MOST_PARTS];
        let parts = clip(parts, self.inner.piece, &mut clipped);
        self.run(Way::Send, limit, |os| os.send_vectored_with_flags(parts, SILENT))
    }

    /// Sends a part of a file, from `offset` on and at most `length` bytes, by `sendfile` where
    /// there is one, in pieces of at most 256 KiB. Returns after what the system takes without waiting,
    /// or after 4 MiB; waits only while it takes nothing. `Ok(0)` means that the file has ended.
    ///
    /// Leaves the file's own position alone.
    pub fn send_file(&self, file: &File, offset: u64, length: u64, limit: &Limit) -> Result<u64> {
        limit.remaining()?;
        self.abort.check()?;
        let sent = self.send_file_at_once(file, offset, length.min(FILE_STRETCH), limit)?;
        if sent > 0 || length == 0 {
            return Ok(sent);
        }
        // Either nothing fits, or this file can't be sent so. One block is copied: the wait for
        // room is then a `send`, whose time the kernel keeps. A `sendfile` that waits takes the limit anew
        // for each page or so that goes.
        let mut block = vec![0; FILE_BLOCK.min(usize::try_from(length).unwrap_or(FILE_BLOCK))];
        let n = read_at(file, &mut block, offset).map_err(failed)?;
        if n == 0 {
            return Ok(0);
        }
        self.write_vectored(&[IoSlice::new(&block[..n])], limit).map(|n| n as u64)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn send_file_at_once(&self, file: &File, offset: u64, length: u64, limit: &Limit) -> Result<u64> {
        self.inner.sending_file.store(true, Ordering::Release);
        let sent = self.inner.os.set_nonblocking(true).map_err(failed).and_then(|()| {
            let mut sent = 0;
            while let Some(piece) = NonZeroUsize::new((length - sent).min(PIECE as u64) as usize) {
                let Ok(from) = usize::try_from(offset + sent) else { break };
                match self.inner.os.sendfile(file, from, Some(piece)) {
                    Ok(0) => break,
                    Ok(n) => sent += n as u64,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::WouldBlock
                                | io::ErrorKind::InvalidInput
                                | io::ErrorKind::Unsupported
                        ) =>
                    {
                        break;
                    }
                    Err(error) => return Err(failed(error)),
                }
                if self.abort.is_aborted() || limit.deadline.is_over() {
                    break;
                }
            }
            Ok(sent)
        });
        let blocking = self.inner.os.set_nonblocking(false);
        self.inner.sending_file.store(false, Ordering::Release);
        self.abort.check()?;
        blocking.map_err(failed)?;
        sent
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn send_file_at_once(&self, _file: &File, _offset: u64, _length: u64, _limit: &Limit) -> Result<u64> {
        Ok(0)
    }

    /// Looks at what a read would find, without waiting and without taking it.
    #[doc(alias = "poll")]
    #[doc(alias = "available")]
    pub fn peek_nowait(&self) -> Result<Readiness> {
        self.abort.check()?;
        loop {
            let seen = self.peek_byte();
            return match seen {
                Ok(0) => self.abort.check().map(|()| Readiness::End),
                Ok(_) => Ok(Readiness::Data),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Readiness::Nothing),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => self.abort.check().and(Err(failed(error))),
            };
        }
    }

    /// Waits until there is something to read, and leaves it there.
    pub(crate) fn wait_readable(&self, limit: &Limit) -> Result<Readiness> {
        let mut byte = [MaybeUninit::uninit()];
        let n = self.run(Way::Receive, limit, |os| os.recv_with_flags(&mut byte, PEEK))?;
        Ok(if n == 0 { Readiness::End } else { Readiness::Data })
    }

    fn peek_byte(&self) -> io::Result<usize> {
        let mut byte = [MaybeUninit::uninit()];
        if let Some(dont_wait) = DONT_WAIT {
            return self.inner.os.recv_with_flags(&mut byte, PEEK | dont_wait);
        }
        self.inner.os.set_nonblocking(true)?;
        let seen = self.inner.os.peek(&mut byte);
        self.inner.os.set_nonblocking(false)?;
        seen
    }

    /// Writes what the system takes without waiting, and says how much that was.
    #[cfg_attr(not(feature = "_tls"), allow(dead_code, reason = "TLS says goodbye with it"))]
    pub(crate) fn write_nowait(&self, bytes: &[u8]) -> Result<usize> {
        self.abort.check()?;
        match self.send_nowait(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            sent => sent.map_err(failed),
        }
    }

    fn send_nowait(&self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(dont_wait) = DONT_WAIT {
            return self.inner.os.send_with_flags(bytes, SILENT | dont_wait);
        }
        self.inner.os.set_nonblocking(true)?;
        let sent = self.inner.os.send_with_flags(bytes, SILENT);
        self.inner.os.set_nonblocking(false)?;
        sent
    }

    /// Ends one side or both: the peer reads an end, a thread that waits here is woken. A
    /// socket whose connection is gone already is no error.
    #[doc(alias = "shutdownSend")]
    #[doc(alias = "shutdownReceive")]
    pub fn shutdown(&self, how: Shutdown) -> Result<()> {
        match self.inner.os.shutdown(how) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// The address of this end; `None` on a Unix socket.
    #[doc(alias = "address")]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.inner.os.local_addr().ok()?.as_socket()
    }

    /// The address of the other end; `None` on a Unix socket, or without a connection.
    #[doc(alias = "peerAddress")]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.inner.os.peer_addr().ok()?.as_socket()
    }

    /// Whether small writes leave at once. On, unless somebody turned it off.
    #[doc(alias = "setNoDelay")]
    pub fn set_nodelay(&self, on: bool) -> Result<()> {
        self.inner.os.set_tcp_nodelay(on).map_err(failed)
    }

    /// The handle that stops calls on this socket.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }

    /// Makes `abort` the handle that stops calls on this socket, in place of the one before.
    /// Clones made earlier keep theirs. An error if it was used already.
    pub fn attach_abort(&mut self, abort: &AbortHandle) -> Result<()> {
        abort.register(self.target())?;
        if !self.abort.is(abort) {
            self.abort.unregister(&self.target());
            self.abort = abort.clone();
        }
        Ok(())
    }

    /// The stream as the standard library has it, without limits of time. As long as there are clones of
    /// this socket, it is a second descriptor for the same connection.
    pub fn into_tcp_stream(self) -> Result<TcpStream> {
        self.release().map(TcpStream::from)
    }

    /// The stream as the standard library has it, without limits of time. As long as there are clones of
    /// this socket, it is a second descriptor for the same connection.
    #[cfg(unix)]
    pub fn into_unix_stream(self) -> Result<std::os::unix::net::UnixStream> {
        self.release().map(std::os::unix::net::UnixStream::from)
    }

    fn release(self) -> Result<socket2::Socket> {
        self.abort.unregister(&self.target());
        let os = match Arc::try_unwrap(self.inner) {
            Ok(inner) => inner.os,
            Err(shared) => shared.os.try_clone().map_err(failed)?,
        };
        os.set_read_timeout(None).map_err(failed)?;
        os.set_write_timeout(None).map_err(failed)?;
        Ok(os)
    }

    fn target(&self) -> Weak<dyn Interrupt> {
        Arc::downgrade(&self.inner) as Weak<dyn Interrupt>
    }

    /// Waits until a connection that was begun is made. What failed is the error's source; a
    /// time-out leaves it going on.
    pub(crate) fn wait_connected(&self, limit: &Limit) -> Result<()> {
        if WAITS_BY_SENDING {
            // On a socket that is connecting, a `send` of nothing waits until it is connected.
            return self.run(Way::Send, limit, |os| os.send_with_flags(&[], SILENT)).map(drop);
        }
        self.watch_connecting(limit)
    }

    /// Connects to an address whose listener may be busy, where the wait for it can't be
    /// interrupted: in short turns, between which the limit and the abort flag are looked at.
    #[cfg(unix)]
    pub(crate) fn connect_by_turns(&self, target: &socket2::SockAddr, limit: &Limit) -> Result<()> {
        let end = limit.remaining()?.and_then(|left| Instant::now().checked_add(left));
        loop {
            self.abort.check()?;
            let left = end.map_or(TURN, |end| end.saturating_duration_since(Instant::now()).min(TURN));
            if left.is_zero() {
                return Err(timed_out(Way::Send));
            }
            self.set_timer(Way::Send, micros(left))?;
            match self.inner.os.connect(target) {
                Ok(()) => return Ok(()),
                Err(error) if is_wake_up(&error) || error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.abort.check().and(Err(failed(error))),
            }
        }
    }

    /// Whether a connection that was begun is made.
    pub(crate) fn is_connected(&self) -> Result<bool> {
        self.abort.check()?;
        match self.inner.os.take_error() {
            Ok(None) => Ok(self.inner.os.peer_addr().is_ok()),
            Ok(Some(error)) | Err(error) => Err(failed(error)),
        }
    }

    /// [`wait_connected`](Socket::wait_connected) where the system offers nothing to wait by.
    pub(crate) fn watch_connecting(&self, limit: &Limit) -> Result<()> {
        let end = limit.remaining()?.and_then(|left| Instant::now().checked_add(left));
        while !self.is_connected()? {
            let left = end.map_or(LOOK_AGAIN, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(timed_out(Way::Send));
            }
            thread::sleep(left.min(LOOK_AGAIN));
        }
        Ok(())
    }

    /// Does `act`, which waits no longer than the kernel's timer says, within `limit`.
    #[inline]
    fn run(
        &self,
        way: Way,
        limit: &Limit,
        mut act: impl FnMut(&socket2::Socket) -> io::Result<usize>,
    ) -> Result<usize> {
        self.abort.check()?;
        let mut wait = Wait::begin(limit).map_err(|_| timed_out(way))?;
        if let Some(best) = wait.needs(self.timer(way).load(Ordering::Relaxed)) {
            self.set_timer(way, best)?;
        }
        loop {
            match act(&self.inner.os) {
                Ok(0) => return self.abort.check().map(|()| 0),
                Ok(n) => return Ok(n),
                Err(error) => self.woken(way, error, limit, &mut wait)?,
            }
        }
    }

    /// The system call came back without having done anything. Decides whether to go on.
    #[cold]
    fn woken(&self, way: Way, error: io::Error, limit: &Limit, wait: &mut Wait) -> Result<()> {
        self.abort.check()?;
        let set = self.timer(way).load(Ordering::Relaxed);
        let ran = if !is_wake_up(&error) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(failed(error));
            }
            None
        } else if self.inner.sending_file.load(Ordering::Acquire) {
            // Another thread sends a file just now.
            thread::yield_now();
            None
        } else {
            Some(set)
        };
        match wait.goes_on(limit, set, ran) {
            Ok(Some(best)) => self.set_timer(way, best),
            Ok(None) => Ok(()),
            Err(Elapsed) => Err(timed_out(way)),
        }
    }

    fn timer(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::Receive => &self.inner.receive_timer,
            Way::Send => &self.inner.send_timer,
        }
    }

    #[cold]
    fn set_timer(&self, way: Way, micros: u64) -> Result<()> {
        let length = (micros != FOREVER).then(|| Duration::from_micros(micros));
        match way {
            Way::Receive => self.inner.os.set_read_timeout(length),
            Way::Send => self.inner.os.set_write_timeout(length),
        }
        .map_err(failed)?;
        self.timer(way).store(micros, Ordering::Relaxed);
        #[cfg(test)]
        self.inner.settings.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Interrupt for Inner {
    fn interrupt(&self) {
        // Not connected is the only failure, and then nobody waits.
        let _ = self.os.shutdown(Shutdown::Both);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("local", &self.local_addr())
            .field("peer", &self.peer_addr())
            .finish_non_exhaustive()
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.inner.os.as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Socket {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.inner.os.as_socket()
    }
}

/// As many of the parts, and as much of the last one, as one piece may hold.
fn clip<'a>(
    parts: &'a [IoSlice<'a>],
    mut room: usize,
    into: &'a mut [IoSlice<'a>; MOST_PARTS],
) -> &'a [IoSlice<'a>] {
    let mut used = 0;
    for part in parts.iter().filter(|part| !part.is_empty()).take(MOST_PARTS) {
        let length = part.len().min(room);
        into[used] = IoSlice::new(&part[..length]);
        used += 1;
        room -= length;
        if room == 0 {
            break;
        }
    }
    &into[..used]
}

pub(crate) fn read_at(file: &File, block: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        #[cfg(unix)]
        let outcome = std::os::unix::fs::FileExt::read_at(file, block, offset);
        #[cfg(windows)]
        let outcome = std::os::windows::fs::FileExt::seek_read(file, block, offset);
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Whether a call ended because the kernel's timer ran out.
fn is_wake_up(error: &io::Error) -> bool {
    // Elsewhere than on Windows, `TimedOut` means that TCP has given the peer up.
    error.kind() == io::ErrorKind::WouldBlock || (cfg!(windows) && error.kind() == io::ErrorKind::TimedOut)
}

/// What the system said, as an error of kind `Io` even where it says that TCP timed out: no
/// limit of ours did.
pub(crate) fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Io, error.to_string()).with_source(error)
}

#[cold]
fn timed_out(way: Way) -> Error {
    let what = match way {
        Way::Receive => "nothing came from the peer in time",
        Way::Send => "the peer takes no more data",
    };
    Error::new(ErrorKind::Timeout, what)
}

/// The most that one system call is given to write. Blocks above 256 KiB fall out of the
/// second-level cache, and a call that takes long can't look at its limits.
const PIECE: usize = 256 << 10;

/// The same for Unix sockets. Linux takes a write apart into blocks of this size, and the timer begins
/// anew for each.
#[cfg(unix)]
const UNIX_PIECE: usize = 32 << 10;

/// The most parts of one vectored write. More than any caller has; the system's limit is 1024.
const MOST_PARTS: usize = 16;

/// The most of a file that is sent before the caller may look at the rate.
const FILE_STRETCH: u64 = 4 << 20;

/// What is copied of a file while the socket is full.
const FILE_BLOCK: usize = 64 << 10;

/// How often a connection in the making is looked at where nothing can wait for it.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How long a `connect` may last that nothing interrupts.
const TURN: Duration = Duration::from_millis(50);

const WAITS_BY_SENDING: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// `MSG_PEEK`, the same everywhere.
const PEEK: i32 = 2;

/// `MSG_DONTWAIT`.
const DONT_WAIT: Option<i32> = if cfg!(any(target_os = "linux", target_os = "android")) {
    Some(0x40)
} else if cfg!(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "openbsd",
    target_os = "netbsd"
)) {
    Some(0x80)
} else {
    None
};

/// `MSG_NOSIGNAL`: a peer that is gone is an error, not a signal, whatever program this is part of.
const SILENT: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    0x4000
} else if cfg!(target_os = "freebsd") {
    0x20000
} else {
    0
};

#[cfg(test)]
mod tests;
