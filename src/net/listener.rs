//! Where connections come in: TCP and Unix domain sockets, bound here or handed over.
//!
//! Waking and draining, but never a `shutdown` of a listening socket that others may share:
//! that resets clients who are in the backlog already and ends an inherited socket for good.
//! Knows nothing of threads or sessions; which accept errors matter is the acceptor's business.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Type};

use crate::net::abort::AbortHandle;
use crate::net::connect::is_under_way;
use crate::net::socket::Socket;
use crate::net::stream::Stream;
#[cfg(feature = "_tls")]
use crate::net::tls::TlsContext;
#[cfg(feature = "_tls")]
use crate::{Error, Result};

/// A listening socket.
///
/// ```
/// use std::net::TcpStream;
/// use sessile::net::{Limit, Listener};
///
/// let listener = Listener::bind("127.0.0.1:0".parse()?)?;
/// let client = TcpStream::connect(listener.local_addr().unwrap())?;
/// let (mut stream, peer) = listener.accept()?.expect("nobody stops this listener");
/// assert_eq!(peer, Some(client.local_addr()?));
/// drop(client);
/// assert_eq!(stream.read(&mut [0; 8], &Limit::none())?, 0);
///
/// listener.stop();
/// assert!(listener.accept()?.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "ServerSocket")]
pub struct Listener {
    os: socket2::Socket,
    /// A path in the file system instead of an address.
    is_unix: bool,
    /// What [`bind_unix`](Listener::bind_unix) made and [`close`](Listener::close) removes.
    #[cfg(unix)]
    made: Option<Made>,
    /// Made elsewhere: somebody else may listen on it too.
    inherited: bool,
    stopped: AtomicBool,
    /// The connection that [`stop`](Listener::stop) makes to wake the acceptor comes from here.
    waker: Mutex<Option<SocketAddr>>,
    #[cfg(feature = "_tls")]
    tls: Option<TlsContext>,
}

/// The file of a Unix socket, to know it again by.
#[cfg(unix)]
#[derive(PartialEq, Eq)]
struct Made {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// A connection that came in, and from where; a Unix socket has no address.
#[doc(alias = "SocketAddress")]
pub type Incoming = (Stream, Option<SocketAddr>);

impl Listener {
    /// Listens on this address; port 0 takes a free one. On Unix the address can be taken again at once
    /// after a restart (`SO_REUSEADDR`). The IPv6 wildcard serves IPv4 too where the system does so.
    #[doc(alias = "listen")]
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        let os = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if cfg!(unix) {
            os.set_reuse_address(true)?;
        }
        os.bind(&address.into())?;
        os.listen(BACKLOG)?;
        Listener::over(os, false)
    }

    /// Takes over a listening socket that was made elsewhere, handed over by a supervisor for instance.
    pub fn from_tcp(listener: TcpListener) -> io::Result<Listener> {
        Listener::over(listener.into(), true)
    }

    /// Listens on a Unix domain socket at this path. One that a dead process has left there is replaced; any
    /// other file, and a socket on which somebody listens, is an error.
    #[cfg(unix)]
    pub fn bind_unix(path: impl AsRef<Path>) -> io::Result<Listener> {
        let path = path.as_ref();
        let address = SockAddr::unix(path)?;
        let os = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        match os.bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path, &address)? => {
                std::fs::remove_file(path)?;
                os.bind(&address)?;
            }
            bound => bound?,
        }
        os.listen(BACKLOG)?;
        let made = Made::at(path)?;
        Ok(Listener { made: Some(made), ..Listener::over(os, false)? })
    }

    /// Takes over a listening socket that was made elsewhere.
    #[cfg(unix)]
    pub fn from_unix(listener: std::os::unix::net::UnixListener) -> io::Result<Listener> {
        Listener::over(listener.into(), true)
    }

    fn over(os: socket2::Socket, inherited: bool) -> io::Result<Listener> {
        os.set_nonblocking(false)?;
        let is_unix = os.local_addr()?.as_socket().is_none();
        if !is_unix {
            // On Linux accepted sockets have this from the listener.
            os.set_tcp_nodelay(true)?;
        }
        Ok(Listener {
            os,
            is_unix,
            #[cfg(unix)]
            made: None,
            inherited,
            stopped: AtomicBool::new(false),
            waker: Mutex::default(),
            #[cfg(feature = "_tls")]
            tls: None,
        })
    }

    /// Has every connection that comes in speak TLS, with the settings of this server's context.
    /// Nothing of it happens here: the handshake is made by whoever reads or writes first.
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    #[doc(alias = "SecureServerSocket")]
    pub fn with_tls(mut self, context: TlsContext) -> Result<Listener> {
        if context.is_client() {
            return Err(Error::invalid_argument("this context is a client's"));
        }
        self.tls = Some(context);
        Ok(self)
    }

    /// Whether connections that come in speak TLS.
    #[doc(alias = "secure")]
    pub fn is_secure(&self) -> bool {
        #[cfg(feature = "_tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "_tls"))]
        false
    }

    /// Waits for the next connection. `None` after [`stop`](Listener::stop).
    ///
    /// Errors are the system's own, for the caller to tell those of one connection from those that
    /// call for a pause (no descriptors left).
    #[doc(alias = "acceptConnection")]
    pub fn accept(&self) -> io::Result<Option<Incoming>> {
        loop {
            if self.is_stopped() {
                return Ok(None);
            }
            match self.os.accept() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if self.is_stopped() => return Ok(None),
                Err(error) => return Err(error),
                Ok(accepted) => {
                    if let Some(incoming) = self.receive(accepted)? {
                        return Ok(Some(incoming));
                    }
                }
            }
        }
    }

    /// The next connection that waits to be accepted, if there is one: what is left to do after
    /// [`stop`](Listener::stop), so that nobody who was let in is turned away.
    pub fn accept_nowait(&self) -> io::Result<Option<Incoming>> {
        loop {
            self.os.set_nonblocking(true)?;
            let accepted = self.os.accept();
            self.os.set_nonblocking(false)?;
            match accepted {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(accepted) => {
                    if let Some(incoming) = self.receive(accepted)? {
                        return Ok(Some(incoming));
                    }
                }
            }
        }
    }

    /// The accepted connection, unless it is our own.
    fn receive(&self, (os, peer): (socket2::Socket, SockAddr)) -> io::Result<Option<Incoming>> {
        let peer = peer.as_socket();
        if self.is_stopped() && peer.is_some() && peer == *self.waker() {
            return Ok(None);
        }
        if !self.is_unix && !cfg!(any(target_os = "linux", target_os = "android")) {
            os.set_tcp_nodelay(true)?;
        }
        #[cfg(unix)]
        if self.is_unix {
            let stream = Stream::Unix(Socket::fresh_unix(os, &AbortHandle::new())?);
            return Ok(Some((self.secured(stream)?, None)));
        }
        let stream = Stream::Tcp(Socket::fresh(os, &AbortHandle::new())?);
        Ok(Some((self.secured(stream)?, peer)))
    }

    #[cfg(feature = "_tls")]
    fn secured(&self, stream: Stream) -> io::Result<Stream> {
        match &self.tls {
            Some(context) => Ok(context.accept(stream)?),
            None => Ok(stream),
        }
    }

    #[cfg(not(feature = "_tls"))]
    fn secured(&self, stream: Stream) -> io::Result<Stream> {
        Ok(stream)
    }

    /// Has [`accept`](Listener::accept) return `None` from now on, on whatever thread it waits. The
    /// socket goes on listening: take what is left with [`accept_nowait`](Listener::accept_nowait),
    /// then [`close`](Listener::close).
    ///
    /// The acceptor is woken by a connection to ourselves. Where that is impossible (the path of a
    /// Unix socket was removed), a socket that was bound here is shut down; one that was made
    /// elsewhere wakes with the next connection.
    pub fn stop(&self) {
        self.stop_with(|| ());
    }

    /// The same. `make_room` is called where there was no descriptor for that connection: then it is tried again
    /// for a while, because a shutdown would reset those who wait to be accepted.
    pub(crate) fn stop_with(&self, mut make_room: impl FnMut()) {
        if self.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        for _ in 0..WAKE_TRIES {
            match self.wake() {
                Ok(()) => return,
                Err(error) if is_short_of_descriptors(&error) => {
                    make_room();
                    thread::sleep(WAKE_PAUSE);
                }
                Err(_) => break,
            }
        }
        if !self.inherited {
            // A listener that can't be reached has no clients to lose.
            let _ = self.os.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Lets nobody in any more who does not already stand in the door: connections that the system has completed, or
    /// is about to, can still be accepted; new ones are not begun. Between the last look for a connection and
    /// the closing of the socket none is then made that the closing would reset.
    ///
    /// A socket that was made elsewhere is left alone, as others may listen on it. On other systems than Linux nothing
    /// can be done for TCP.
    pub(crate) fn shut_door(&self) {
        if self.inherited {
            return;
        }
        if let Err(error) = self.remove_file() {
            log::debug!("the file of a socket could not be removed: {error}");
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if !self.is_unix {
            if let Err(error) = self.os.attach_filter(&NO_NEW_CONNECTIONS) {
                log::debug!("new connections can't be kept out: {error}");
            }
        }
    }

    /// Whether [`stop`](Listener::stop) was called.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn wake(&self) -> io::Result<()> {
        let address = self.os.local_addr()?;
        let (os, target) = match address.as_socket() {
            Some(mut target) => {
                if target.ip().is_unspecified() {
                    target.set_ip(match target.ip() {
                        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                    });
                }
                let os =
                    socket2::Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP))?;
                // Bound first, so that it is known before it can be accepted.
                let mut source = target;
                source.set_port(0);
                os.bind(&source.into())?;
                *self.waker() = os.local_addr()?.as_socket();
                (os, target.into())
            }
            None => (socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?, address),
        };
        os.set_nonblocking(true)?;
        match os.connect(&target) {
            // Under way, or the backlog is full: then the acceptor has something to wake it.
            Err(error) if is_under_way(&error) => Ok(()),
            outcome => outcome,
        }
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<SocketAddr>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops listening, and removes the file of a Unix socket that was bound here, unless another
    /// process has put its own in that place.
    pub fn close(self) -> io::Result<()> {
        self.remove_file()
    }

    #[cfg(unix)]
    fn remove_file(&self) -> io::Result<()> {
        match &self.made {
            Some(made) if Made::at(&made.path).is_ok_and(|now| now == *made) => {
                std::fs::remove_file(&made.path)
            }
            _ => Ok(()),
        }
    }

    #[cfg(not(unix))]
    fn remove_file(&self) -> io::Result<()> {
        Ok(())
    }

    /// The address, with the port that the system chose; `None` for a Unix socket.
    #[doc(alias = "address")]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.os.local_addr().ok()?.as_socket()
    }

    /// The path of a Unix socket.
    #[cfg(unix)]
    pub fn path(&self) -> Option<PathBuf> {
        self.os.local_addr().ok()?.as_pathname().map(Path::to_owned)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_struct("Listener");
        match self.local_addr() {
            Some(address) => d.field("address", &address),
            #[cfg(unix)]
            None => d.field("path", &self.path()),
            #[cfg(not(unix))]
            None => &mut d,
        };
        d.field("stopped", &self.is_stopped()).finish()
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Listener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.os.as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Listener {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.os.as_socket()
    }
}

#[cfg(unix)]
impl Made {
    fn at(path: &Path) -> io::Result<Made> {
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::symlink_metadata(path)?;
        Ok(Made { path: path.to_owned(), device: meta.dev(), inode: meta.ino() })
    }
}

/// Whether there is a socket at this path on which nobody listens.
#[cfg(unix)]
fn is_left_over(path: &Path, address: &SockAddr) -> io::Result<bool> {
    use std::os::unix::fs::FileTypeExt;
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let probe = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    Ok(probe.connect(address).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// The descriptors of the process, or of the system, are used up: `EMFILE` and `ENFILE` on all Unixes, and
/// `WSAEMFILE`.
pub(crate) fn is_short_of_descriptors(error: &io::Error) -> bool {
    match error.raw_os_error() {
        Some(code) if cfg!(windows) => code == 10024,
        Some(code) => matches!(code, 23 | 24),
        None => false,
    }
}

/// Drops the first packet of every connection (`SYN` without `ACK`), and nothing else: load the flags, mask, compare.
/// A listening socket hands its filter on to the connections that it makes.
#[cfg(any(target_os = "linux", target_os = "android"))]
static NO_NEW_CONNECTIONS: [socket2::SockFilter; 5] = [
    socket2::SockFilter::new(0x30, 0, 0, 13),
    socket2::SockFilter::new(0x54, 0, 0, 0x12),
    socket2::SockFilter::new(0x15, 0, 1, 0x02),
    socket2::SockFilter::new(0x06, 0, 0, 0),
    socket2::SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// How often, and how far apart, it is tried to wake an acceptor for which there is no descriptor.
const WAKE_TRIES: usize = 50;
const WAKE_PAUSE: Duration = Duration::from_millis(10);

/// Connections that the system completes before they are accepted. What it allows at most is the smaller one
/// (Linux: `net.core.somaxconn`, 4096).
const BACKLOG: i32 = 4096;

#[cfg(test)]
mod tests;
