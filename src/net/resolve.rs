//! From a host's name to addresses, within a limit of time.
//!
//! The system's lookup can be neither limited nor interrupted, so it runs on a thread of its
//! own, which is left behind when the time is over or somebody aborts. How many are left
//! behind at once is limited. A host that is an address already needs no thread.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Phase, Result};
use crate::net::abort::{AbortHandle, Interrupt};
use crate::net::deadline::Deadline;

/// Finds the addresses of a host.
///
/// [`SystemResolver`] asks the operating system; another one may pin hosts to addresses, cache, or ask a
/// server of its own. Closures are resolvers.
///
/// ```
/// use std::io;
/// use std::net::SocketAddr;
/// use std::sync::Arc;
/// use sessile::net::{AbortHandle, Deadline, Resolve, resolve};
///
/// let pinned: Arc<dyn Resolve> = Arc::new(|host: &str, port: u16| -> io::Result<Vec<SocketAddr>> {
///     match host {
///         "example.com" => Ok(vec![([192, 0, 2, 1], port).into()]),
///         _ => Err(io::ErrorKind::NotFound.into()),
///     }
/// });
/// let found = resolve("example.com", 80, &pinned, Deadline::never(), &AbortHandle::new())?;
/// assert_eq!(found, ["192.0.2.1:80".parse().unwrap()]);
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "DNS")]
#[doc(alias = "HostEntry")]
pub trait Resolve: Send + Sync {
    /// The addresses of `host`, best first, each with `port`. May block: it is called on a thread of its own,
    /// and left behind there when the caller can't wait any longer.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

impl<F: Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync> Resolve for F {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self(host, port)
    }
}

impl fmt::Debug for dyn Resolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dyn Resolve")
    }
}

/// Asks the operating system (`getaddrinfo`).
///
/// ```
/// use sessile::net::{Resolve, SystemResolver};
///
/// let found = SystemResolver.resolve("127.0.0.1", 8080)?;
/// assert_eq!(found, ["127.0.0.1:8080".parse().unwrap()]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Iterator::collect)
    }
}

/// The addresses of `host`, at least one, by `resolver`; a host that is an address (an IPv6 one may stand in
/// brackets) is returned as it is.
///
/// The error is [`ErrorKind::Resolve`], or `Timeout` or `Aborted` in [`Phase::Resolve`]. The resolver
/// may then go on for a while on its thread; when 64 of them do, no more are started.
#[doc(alias = "hostByName")]
pub fn resolve(
    host: &str,
    port: u16,
    resolver: &Arc<dyn Resolve>,
    deadline: Deadline,
    abort: &AbortHandle,
) -> Result<Vec<SocketAddr>> {
    static ABANDONED: AtomicUsize = AtomicUsize::new(0);
    resolve_counting(&ABANDONED, host, port, resolver, deadline, abort)
        .map_err(|e| e.with_phase(Phase::Resolve))
}

fn resolve_counting(
    abandoned: &'static AtomicUsize,
    host: &str,
    port: u16,
    resolver: &Arc<dyn Resolve>,
    deadline: Deadline,
    abort: &AbortHandle,
) -> Result<Vec<SocketAddr>> {
    abort.check()?;
    let late = |_| Error::timeout(Phase::Resolve);
    deadline.remaining().map_err(late)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    if abandoned.load(Ordering::Relaxed) >= MOST_ABANDONED {
        return Err(Error::new(ErrorKind::Resolve, "too many earlier name lookups have not come back yet"));
    }

    let lookup = Arc::new(Lookup { state: Mutex::default(), changed: Condvar::new(), abandoned });
    abort.register(Arc::downgrade(&lookup) as Weak<dyn Interrupt>)?;
    let helper = Helper(lookup.clone());
    let (name, resolver) = (bare.to_owned(), resolver.clone());
    thread::Builder::new()
        .name("sessile-resolve".into())
        .spawn(move || helper.deliver(resolver.resolve(&name, port)))
        .map_err(|error| {
            Error::new(ErrorKind::Resolve, "no thread for the name lookup").with_source(error)
        })?;

    let outcome = lookup.wait(deadline, abort)?;
    match outcome {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::new(ErrorKind::Resolve, format!("{bare} has no address"))),
        Err(error) => {
            Err(Error::new(ErrorKind::Resolve, format!("{bare} has no known address")).with_source(error))
        }
    }
}

/// One question, between the thread that asks and its helper.
struct Lookup {
    state: Mutex<State>,
    changed: Condvar,
    abandoned: &'static AtomicUsize,
}

#[derive(Default)]
enum State {
    #[default]
    Asked,
    Answered(io::Result<Vec<SocketAddr>>),
    /// Nobody waits for the answer, and the helper is counted.
    Abandoned,
}

impl Lookup {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, deadline: Deadline, abort: &AbortHandle) -> Result<io::Result<Vec<SocketAddr>>> {
        let mut state = self.lock();
        loop {
            let over = match (abort.check(), deadline.instant()) {
                (Err(aborted), _) => Err(aborted),
                (Ok(()), None) => Ok(None),
                (Ok(()), Some(end)) => match end.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => Err(Error::timeout(Phase::Resolve)),
                    left => Ok(Some(left)),
                },
            };
            // An answer that is there is taken, however late it is looked at; an abort comes first.
            match std::mem::take(&mut *state) {
                State::Answered(answer) if !abort.is_aborted() => return Ok(answer),
                was => *state = was,
            }
            let left = over.inspect_err(|_| {
                if matches!(*state, State::Asked) {
                    *state = State::Abandoned;
                    self.abandoned.fetch_add(1, Ordering::Relaxed);
                }
            })?;
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Interrupt for Lookup {
    fn interrupt(&self) {
        // The lock makes sure that whoever has looked at the flag is waiting by now.
        drop(self.lock());
        self.changed.notify_all();
    }
}

/// The side of the helper thread. A resolver that panics is an answer too.
struct Helper(Arc<Lookup>);

impl Helper {
    fn deliver(&self, answer: io::Result<Vec<SocketAddr>>) {
        let mut state = self.0.lock();
        match *state {
            State::Asked => *state = State::Answered(answer),
            State::Answered(_) => return,
            State::Abandoned => {
                self.0.abandoned.fetch_sub(1, Ordering::Relaxed);
                *state = State::Answered(answer);
            }
        }
        self.0.changed.notify_all();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.deliver(Err(io::Error::other("the resolver panicked")));
    }
}

/// The most helpers that may be left behind at once. Each holds a thread until the system's own time-out,
/// some 30 seconds by default.
const MOST_ABANDONED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{aborted, lasts, millis};
    use std::sync::mpsc;

    fn counter() -> &'static AtomicUsize {
        Box::leak(Box::default())
    }

    fn ask(host: &str, resolver: impl Resolve + 'static, deadline: Deadline) -> Result<Vec<SocketAddr>> {
        resolve(host, 80, &(Arc::new(resolver) as Arc<dyn Resolve>), deadline, &AbortHandle::new())
    }

    fn never_asked(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        panic!("nobody must be asked")
    }

    /// Blocks until the sender is dropped.
    fn blocking() -> (mpsc::Sender<()>, Arc<dyn Resolve>) {
        let (sender, receiver) = mpsc::channel();
        let receiver = Mutex::new(receiver);
        let resolver = move |_: &str, _: u16| -> io::Result<Vec<SocketAddr>> {
            let _ = receiver.lock().unwrap().recv();
            Err(io::ErrorKind::NotFound.into())
        };
        (sender, Arc::new(resolver))
    }

    #[track_caller]
    fn wait_for(counter: &AtomicUsize, n: usize) {
        let start = Instant::now();
        while counter.load(Ordering::Relaxed) != n {
            assert!(start.elapsed() < Duration::from_secs(5), "still {}", counter.load(Ordering::Relaxed));
            thread::yield_now();
        }
    }

    #[test]
    fn an_address_needs_no_resolver() {
        for (host, address) in [
            ("127.0.0.1", "127.0.0.1:80"),
            ("::1", "[::1]:80"),
            ("[::1]", "[::1]:80"),
            ("[2001:db8::7]", "[2001:db8::7]:80"),
        ] {
            assert_eq!(ask(host, never_asked, Deadline::never()).unwrap(), [address.parse().unwrap()]);
        }
    }

    #[test]
    fn the_system_knows_this_host() {
        let found = ask("localhost", SystemResolver, Deadline::after(millis(5000))).unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
    }

    #[test]
    fn a_failure_says_which_name_and_why() {
        let unknown =
            |_: &str, _: u16| -> io::Result<Vec<SocketAddr>> { Err(io::ErrorKind::NotFound.into()) };
        let error = ask("nowhere.invalid", unknown, Deadline::never()).unwrap_err();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Resolve, Some(Phase::Resolve)));
        assert!(error.to_string().contains("nowhere.invalid"));
        assert!(std::error::Error::source(&error).is_some());

        let empty = |_: &str, _: u16| -> io::Result<Vec<SocketAddr>> { Ok(Vec::new()) };
        assert_eq!(ask("empty.invalid", empty, Deadline::never()).unwrap_err().kind(), ErrorKind::Resolve);
    }

    #[test]
    fn a_resolver_that_panics_is_an_error_and_no_wait_without_end() {
        let panics =
            |_: &str, _: u16| -> io::Result<Vec<SocketAddr>> { std::panic::resume_unwind(Box::new(())) };
        assert_eq!(ask("a.invalid", panics, Deadline::never()).unwrap_err().kind(), ErrorKind::Resolve);
    }

    #[test]
    fn a_lookup_ends_at_its_deadline_and_one_in_the_past_is_over_at_once() {
        let (hold, resolver) = blocking();
        let deadline = Deadline::after(millis(150));
        let outcome = lasts(millis(150), || {
            resolve_counting(counter(), "a.invalid", 80, &resolver, deadline, &AbortHandle::new())
        });
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Timeout, Some(Phase::Resolve)));
        drop(hold);
        for host in ["a.invalid", "127.0.0.1"] {
            let past = Deadline::at(Instant::now());
            assert!(lasts(Duration::ZERO, || ask(host, never_asked, past)).unwrap_err().is_timeout());
        }
    }

    #[test]
    fn an_abort_ends_a_lookup_that_blocks() {
        let (_hold, resolver) = blocking();
        let abort = AbortHandle::new();
        let handle = abort.clone();
        let outcome =
            aborted(&abort, move || resolve("a.invalid", 80, &resolver, Deadline::never(), &handle));
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Aborted, Some(Phase::Resolve)));
        let again =
            resolve("127.0.0.1", 80, &(Arc::new(never_asked) as Arc<dyn Resolve>), Deadline::never(), &abort);
        assert!(again.unwrap_err().is_aborted());
    }

    #[test]
    fn helpers_that_are_left_behind_are_counted_until_they_end_and_limited() {
        let counter = counter();
        let (hold, resolver) = blocking();
        let ask = |millis_left| {
            let deadline = Deadline::after(millis(millis_left));
            resolve_counting(counter, "a.invalid", 80, &resolver, deadline, &AbortHandle::new()).unwrap_err()
        };
        for n in 1..=MOST_ABANDONED {
            assert!(ask(1).is_timeout());
            assert_eq!(counter.load(Ordering::Relaxed), n);
        }
        let error = lasts(Duration::ZERO, || ask(10_000));
        assert_eq!(error.kind(), ErrorKind::Resolve);
        drop(hold);
        wait_for(counter, 0);
        assert_eq!(ask(10_000).kind(), ErrorKind::Resolve);
        assert_eq!(counter.load(Ordering::Relaxed), 0);
    }
}
