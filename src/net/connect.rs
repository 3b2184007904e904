//! Making a connection: which address first, when the next one, and how long (RFC 8305).
//!
//! Attempts do not block, so one thread looks after all of them: it waits on the newest
//! attempt, which is the likeliest to be answered next, and looks at the older ones in
//! between. Every socket is known to the abort handle before it connects.

use std::fmt;
use std::io;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Type};

use crate::error::{Error, ErrorKind, Phase, Result};
use crate::net::abort::AbortHandle;
use crate::net::deadline::{Deadline, Limit};
use crate::net::socket::{Socket, failed};

/// How sockets are made before they connect.
///
/// ```
/// use std::net::TcpListener;
/// use sessile::net::{AbortHandle, ConnectOptions, Deadline, connect};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut options = ConnectOptions::default();
/// options.set_source_address("127.0.0.1:0".parse()?);
/// options.set_hook(|socket| socket2::SockRef::from(socket).set_keepalive(true));
/// let socket = connect(&[listener.local_addr()?], &options, Deadline::never(), &AbortHandle::new())?;
/// assert_eq!(socket.peer_addr(), Some(listener.local_addr()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct ConnectOptions {
    source_v4: Option<SocketAddrV4>,
    source_v6: Option<SocketAddrV6>,
    hook: Option<Arc<Hook>>,
}

type Hook = dyn Fn(&Socket) -> io::Result<()> + Send + Sync;

impl ConnectOptions {
    /// The address (and port, unless 0) to connect from, for targets of the same family.
    #[doc(alias = "setSourceAddress")]
    #[doc(alias = "setSourceAddress4")]
    #[doc(alias = "setSourceAddress6")]
    pub fn set_source_address(&mut self, address: SocketAddr) -> &mut ConnectOptions {
        match address {
            SocketAddr::V4(address) => self.source_v4 = Some(address),
            SocketAddr::V6(address) => self.source_v6 = Some(address),
        }
        self
    }

    /// The address to connect from to IPv4 targets.
    #[doc(alias = "getSourceAddress4")]
    pub fn source_v4(&self) -> Option<SocketAddrV4> {
        self.source_v4
    }

    /// The address to connect from to IPv6 targets.
    #[doc(alias = "getSourceAddress6")]
    pub fn source_v6(&self) -> Option<SocketAddrV6> {
        self.source_v6
    }

    /// Connects from whatever address the system chooses.
    pub fn clear_source_addresses(&mut self) -> &mut ConnectOptions {
        (self.source_v4, self.source_v6) = (None, None);
        self
    }

    /// Has `hook` set options on each socket before it connects. An error of its ends the attempt.
    pub fn set_hook(
        &mut self,
        hook: impl Fn(&Socket) -> io::Result<()> + Send + Sync + 'static,
    ) -> &mut ConnectOptions {
        self.hook = Some(Arc::new(hook));
        self
    }

    fn source_for(&self, target: SocketAddr) -> Option<SocketAddr> {
        match target {
            SocketAddr::V4(_) => self.source_v4.map(SocketAddr::from),
            SocketAddr::V6(_) => self.source_v6.map(SocketAddr::from),
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("source_v4", &self.source_v4)
            .field("source_v6", &self.source_v6)
            .field("hook", &self.hook.as_ref().map(|_| ".."))
            .finish()
    }
}

/// Connects to the first of these addresses that answers, with `TCP_NODELAY`.
///
/// The families take turns, beginning with that of the first address; the next address is tried
/// when one fails, or 250 ms after it was begun, and the earlier ones go on meanwhile (happy
/// eyeballs, RFC 8305). Of a longer list the first 32 are tried.
///
/// The error is [`ErrorKind::Connect`], or `Timeout` or `Aborted` in [`Phase::Connect`].
pub fn connect(
    addresses: &[SocketAddr],
    options: &ConnectOptions,
    deadline: Deadline,
    abort: &AbortHandle,
) -> Result<Socket> {
    race(&interleaved(addresses), options, deadline, abort).map_err(|error| error.with_phase(Phase::Connect))
}

/// The order of the attempts.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut ones, mut others): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for address in addresses {
        if address.is_ipv6() == first_is_v6 { ones.push(*address) } else { others.push(*address) }
    }
    let mut others = others.into_iter();
    let mut order = Vec::with_capacity(addresses.len());
    for one in ones {
        order.push(one);
        order.extend(others.next());
    }
    order.extend(others);
    order.truncate(MOST_ADDRESSES);
    order
}

fn race(
    addresses: &[SocketAddr],
    options: &ConnectOptions,
    deadline: Deadline,
    abort: &AbortHandle,
) -> Result<Socket> {
    let mut untried = addresses.iter().copied();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut failure: Option<(SocketAddr, Error)> = None;
    let mut next_is_due = Instant::now();
    loop {
        abort.check()?;
        let now = Instant::now();
        let left = deadline.remaining().map_err(|_| Error::timeout(Phase::Connect))?;

        if attempts.is_empty() || now >= next_is_due {
            match untried.next().map(|address| (address, begin(address, options, abort))) {
                Some((address, Ok(socket))) => {
                    attempts.push(Attempt { address, socket, begun: now });
                    next_is_due = now + HEAD_START;
                }
                Some((address, Err(error))) => {
                    failure = Some((address, error));
                    continue;
                }
                None if attempts.is_empty() => return Err(explain(failure, addresses.len())),
                None => {}
            }
        }

        let newest = attempts.len() - 1;
        let mut wait = left;
        if untried.len() > 0 {
            wait = shorter(wait, next_is_due.saturating_duration_since(now));
        }
        if newest > 0 {
            wait =
                shorter(wait, (now.duration_since(attempts[newest].begun) / 8).clamp(LOOK_SOON, LOOK_LATE));
        }
        for i in (0..attempts.len()).rev() {
            let Attempt { address, socket, .. } = &attempts[i];
            let outcome = if i < newest {
                socket.is_connected()
            } else {
                match socket.wait_connected(&Limit::from(wait.map_or(Deadline::never(), Deadline::after))) {
                    Err(error) if error.is_timeout() => Ok(false),
                    outcome => outcome.map(|()| true),
                }
            };
            match outcome {
                Ok(true) if is_self(*address, socket) => {
                    failure = Some((*address, failed(io::ErrorKind::ConnectionRefused.into())));
                }
                Ok(true) => return Ok(attempts.swap_remove(i).socket),
                Ok(false) => continue,
                Err(error) if error.is_aborted() => return Err(error),
                Err(error) => failure = Some((*address, error)),
            }
            attempts.remove(i);
            next_is_due = now;
        }
    }
}

struct Attempt {
    address: SocketAddr,
    socket: Socket,
    begun: Instant,
}

/// Makes a socket and has it begin to connect.
fn begin(address: SocketAddr, options: &ConnectOptions, abort: &AbortHandle) -> Result<Socket> {
    let os = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
        .map_err(failed)?;
    os.set_tcp_nodelay(true).map_err(failed)?;
    if let Some(source) = options.source_for(address) {
        if source.port() != 0 {
            os.set_reuse_address(true).map_err(failed)?;
        }
        os.bind(&source.into()).map_err(failed)?;
    }
    let socket = Socket::fresh(os, abort)?;
    if let Some(hook) = &options.hook {
        hook(&socket).map_err(failed)?;
    }
    let target = SockAddr::from(address);
    let begun = socket.begin(|os| {
        os.set_nonblocking(true)?;
        let begun = os.connect(&target);
        os.set_nonblocking(false)?;
        begun
    })?;
    match begun {
        Err(error) if !is_under_way(&error) => Err(failed(error)),
        _ => Ok(socket),
    }
}

pub(crate) fn is_under_way(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
        || error.raw_os_error() == Some(IN_PROGRESS)
}

/// A socket can meet itself, where its own port happens to be the one it asks for and nobody listens there.
fn is_self(target: SocketAddr, socket: &Socket) -> bool {
    target.ip().is_loopback() && target.port() >= 1024 && socket.local_addr() == Some(target)
}

fn shorter(wait: Option<Duration>, other: Duration) -> Option<Duration> {
    Some(wait.map_or(other, |wait| wait.min(other)))
}

/// The last failure, for all of them.
fn explain(failure: Option<(SocketAddr, Error)>, tried: usize) -> Error {
    let Some((address, error)) = failure else {
        return Error::invalid_argument("there is no address to connect to");
    };
    if error.is_aborted() {
        return error;
    }
    let message = match tried {
        1 => format!("no connection to {address}"),
        _ => format!("no connection to any of {tried} addresses, the last one tried being {address}"),
    };
    Error::new(ErrorKind::Connect, message).with_source(cause(&error))
}

/// What the system said.
fn cause(error: &Error) -> io::Error {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    match source.map(|source| (source.raw_os_error(), source.kind())) {
        Some((Some(code), _)) => io::Error::from_raw_os_error(code),
        Some((None, kind)) => io::Error::new(kind, error.to_string()),
        None => io::Error::other(error.to_string()),
    }
}

/// Connects to a Unix domain socket. Of the options only the hook counts.
///
/// The error is [`ErrorKind::Connect`], or `Timeout` or `Aborted` in [`Phase::Connect`].
#[cfg(unix)]
pub fn connect_unix(
    path: &Path,
    options: &ConnectOptions,
    deadline: Deadline,
    abort: &AbortHandle,
) -> Result<Socket> {
    knock(path, options, deadline, abort).map_err(|error| match error.kind() {
        ErrorKind::Io => Error::new(ErrorKind::Connect, format!("no connection to {}", path.display()))
            .with_source(cause(&error))
            .with_phase(Phase::Connect),
        _ => error.with_phase(Phase::Connect),
    })
}

#[cfg(unix)]
fn knock(path: &Path, options: &ConnectOptions, deadline: Deadline, abort: &AbortHandle) -> Result<Socket> {
    abort.check()?;
    let target = SockAddr::unix(path).map_err(failed)?;
    let os = socket2::Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    let socket = Socket::fresh_unix(os, abort)?;
    if let Some(hook) = &options.hook {
        hook(&socket).map_err(failed)?;
    }
    socket.connect_by_turns(&target, &Limit::from(deadline))?;
    Ok(socket)
}

/// How long an attempt is alone before the next one begins: the value RFC 8305, section 5 recommends.
const HEAD_START: Duration = Duration::from_millis(250);

/// How often older attempts are looked at while the newest is waited for: at first, and at last.
const LOOK_SOON: Duration = Duration::from_millis(5);
const LOOK_LATE: Duration = Duration::from_millis(100);

/// The most addresses that are tried of a list that somebody else has made.
const MOST_ADDRESSES: usize = 32;

/// `EINPROGRESS`.
const IN_PROGRESS: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 150 } else { 115 }
} else {
    36
};

#[cfg(test)]
mod tests;
