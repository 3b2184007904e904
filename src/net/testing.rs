//! What the tests of this module share: connected sockets, full ones, and time asserted from both sides.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Type};

use crate::net::{AbortHandle, Socket};

pub(crate) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn tcp_pair() -> (Socket, Socket) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    (Socket::from_tcp(near).unwrap(), Socket::from_tcp(far).unwrap())
}

#[cfg(unix)]
pub(crate) fn unix_pair() -> (Socket, Socket) {
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    (Socket::from_unix(near).unwrap(), Socket::from_unix(far).unwrap())
}

/// Writes until nothing more fits, for the next 100 ms at least: later TCP finds out that a little more
/// does. Leaves the timers alone.
pub(crate) fn fill(socket: &Socket) {
    let os = socket2::SockRef::from(socket);
    os.set_nonblocking(true).unwrap();
    // An acknowledgement that was delayed by 40 ms makes room again.
    let mut full = 0;
    while full < 11 {
        full = if os.send(&[b'x'; 1 << 16]).is_ok() { 0 } else { full + 1 };
        thread::sleep(millis(if full > 0 { 5 } else { 0 }));
    }
    os.set_nonblocking(false).unwrap();
}

/// A listener that answers nobody: its backlog is full. Whoever connects waits.
pub(crate) struct Busy {
    pub(crate) address: SocketAddr,
    listener: socket2::Socket,
    clients: Vec<socket2::Socket>,
}

impl Busy {
    pub(crate) fn bind(address: &str) -> Busy {
        let address: SocketAddr = address.parse().unwrap();
        let listener = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::from(address)).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut clients = Vec::new();
        // One more than fits, for the first one takes a moment to arrive.
        for _ in 0..3 {
            let client =
                socket2::Socket::new(Domain::for_address(address.as_socket().unwrap()), Type::STREAM, None)
                    .unwrap();
            let _ = client.connect_timeout(&address, millis(30));
            clients.push(client);
        }
        Busy { address: address.as_socket().unwrap(), listener, clients }
    }
}

impl Busy {
    /// Takes all that waits out of the backlog.
    pub(crate) fn make_room(&mut self) {
        self.clients.clear();
        self.listener.set_nonblocking(true).unwrap();
        while self.listener.accept().is_ok() {}
    }
}

/// A port on which nobody listens.
pub(crate) fn dead() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Does `act` and sees that it lasts as long as that, and at most 100 ms more.
#[track_caller]
pub(crate) fn lasts<T>(length: Duration, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let outcome = act();
    let lasted = start.elapsed();
    assert!(lasted >= length, "{lasted:?} is less than {length:?}");
    assert!(lasted <= length + millis(100), "{lasted:?} is more than {length:?}");
    outcome
}

/// Has `act` block on a thread of its own, aborts it from here, and sees that it ends within 100 ms.
#[track_caller]
pub(crate) fn aborted<T: Send + 'static>(abort: &AbortHandle, act: impl FnOnce() -> T + Send + 'static) -> T {
    interrupted(|| abort.abort(), act)
}

/// The same by other means than an abort.
#[track_caller]
pub(crate) fn interrupted<T: Send + 'static>(
    stop: impl FnOnce(),
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(thread_path()).unwrap();
        let outcome = act();
        (outcome, Instant::now())
    });
    wait_until_blocked(&told.recv().unwrap());
    let start = Instant::now();
    stop();
    let (outcome, end) = thread.join().unwrap();
    let lasted = end.saturating_duration_since(start);
    assert!(lasted <= millis(100), "{lasted:?} after it was stopped");
    outcome
}

fn thread_path() -> Option<std::path::PathBuf> {
    std::fs::read_link("/proc/thread-self").ok()
}

/// Until that thread has been asleep at a few looks in a row.
fn wait_until_blocked(path: &Option<std::path::PathBuf>) {
    let Some(path) = path else { return thread::sleep(millis(100)) };
    let path = std::path::Path::new("/proc").join(path).join("stat");
    let mut asleep = 0;
    while asleep < 5 {
        let stat = std::fs::read_to_string(&path).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        asleep = if state == Some('S') { asleep + 1 } else { 0 };
        thread::sleep(millis(1));
    }
}
