//! The connections there are, to each server of a cluster, and which one a key is on.
//!
//! A connection is used by one operation at a time, and looked at before it is used again. A
//! server that did not answer in time is left alone for a moment, so that not every request
//! waits for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::redis::{ErrorKind as RedisKind, RedisError, RedisResult, ServerErrorKind, cmd};

use super::failed;
use super::link::{Address, Link, Login, parse_url};
use crate::net::Deadline;
use crate::{Error, ErrorKind, Result};

/// Whether an operation may be done a second time, where it can't be told whether it was
/// done.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    Yes,
    No,
}

pub(super) struct Nodes {
    seeds: Vec<Address>,
    pub(super) login: Login,
    pub(super) timeout: Duration,
    pub(super) max_connections: usize,
    pools: Mutex<HashMap<Address, Arc<Pool>>>,
    /// The servers of slots that the first seed sent us away for.
    slots: Mutex<HashMap<u16, Address>>,
}

impl Nodes {
    pub(super) fn new<'u>(urls: impl IntoIterator<Item = &'u str>) -> Result<Nodes> {
        let mut seeds = Vec::new();
        let mut login = Login::default();
        for url in urls {
            let (address, of_it) = parse_url(url)?;
            login = of_it;
            seeds.push(address);
        }
        if seeds.is_empty() {
            return Err(Error::invalid_argument("a Redis cluster has a node"));
        }
        Ok(Nodes {
            seeds,
            login,
            timeout: TIMEOUT,
            max_connections: MAX_CONNECTIONS,
            pools: Mutex::default(),
            slots: Mutex::default(),
        })
    }

    /// Does something with the key of this name, where that is.
    pub(super) fn run<T>(
        &self,
        name: &str,
        retry: Retry,
        mut command: impl FnMut(&mut Link) -> RedisResult<T>,
    ) -> Result<T> {
        let deadline = Deadline::after(self.timeout);
        let slot = slot_of(name);
        let mut ask = None;
        let mut failures = 0;
        for _ in 0..REDIRECTIONS {
            let known = ask.clone().or_else(|| lock(&self.slots).get(&slot).cloned());
            let address = known.clone().unwrap_or_else(|| self.seeds[failures % self.seeds.len()].clone());
            let error = match self.run_on(&address, ask.is_some(), deadline, &mut command) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            ask = None;
            match error {
                Failure::Redis(error) => match (error.kind(), error.redirect_node()) {
                    (RedisKind::Server(ServerErrorKind::Moved), Some((node, _))) => {
                        lock(&self.slots).insert(slot, self.node(node, &address)?);
                    }
                    (RedisKind::Server(ServerErrorKind::Ask), Some((node, _))) => {
                        ask = Some(self.node(node, &address)?)
                    }
                    _ => return Err(failed(error)),
                },
                // The servers of the cluster may have changed: ask a seed.
                Failure::Connect(error) => {
                    lock(&self.slots).remove(&slot);
                    failures += usize::from(known.is_none());
                    if failures >= self.seeds.len() || deadline.is_over() {
                        return Err(error);
                    }
                }
                Failure::Lost { error, reused } => {
                    lock(&self.slots).remove(&slot);
                    // An old connection may have been closed just now.
                    if !reused || retry == Retry::No || deadline.is_over() {
                        return Err(failed(error));
                    }
                }
            }
        }
        Err(Error::new(ErrorKind::Store, "Redis sends us from server to server"))
    }

    /// Does something on all masters, and adds up what comes out.
    pub(super) fn run_everywhere(
        &self,
        mut command: impl FnMut(&mut Link) -> RedisResult<usize>,
    ) -> Result<usize> {
        let deadline = Deadline::after(self.timeout.saturating_mul(10));
        let seed = self.seeds[0].clone();
        let masters = self.run_on(&seed, false, deadline, &mut |link| {
            let nodes: String = match cmd("CLUSTER").arg("NODES").query(link) {
                Ok(nodes) => nodes,
                // It is no cluster.
                Err(error) if !error.is_io_error() => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            Ok(nodes.lines().filter_map(master_of).collect())
        });
        let mut masters = masters
            .map_err(Failure::into_error)?
            .into_iter()
            .map(|node| self.node(&node, &seed))
            .collect::<Result<Vec<_>>>()?;
        if masters.is_empty() {
            masters.push(seed);
        }
        let mut sum = 0;
        for master in masters {
            sum += self.run_on(&master, false, deadline, &mut command).map_err(Failure::into_error)?;
        }
        Ok(sum)
    }

    fn run_on<T>(
        &self,
        address: &Address,
        asking: bool,
        deadline: Deadline,
        command: &mut impl FnMut(&mut Link) -> RedisResult<T>,
    ) -> Result<T, Failure> {
        let pool = lock(&self.pools).entry(address.clone()).or_default().clone();
        let (mut link, reused) =
            pool.take(address, &self.login, self.max_connections, deadline).map_err(Failure::Connect)?;
        link.set_deadline(deadline);
        let mut run = || {
            if asking {
                cmd("ASKING").query::<()>(&mut link)?;
            }
            command(&mut link)
        };
        let done = run();
        let lost = link.is_lost();
        if done.as_ref().is_err_and(is_of_a_replica) {
            // By its name there may be another server now.
            link.give_up();
        }
        pool.give_back(link);
        match done {
            Ok(value) => Ok(value),
            Err(error) if lost => {
                if error.is_timeout() || deadline.is_over() {
                    pool.pause();
                }
                Err(Failure::Lost { error, reused })
            }
            Err(error) => Err(Failure::Redis(error)),
        }
    }

    /// The address that a server of the cluster gave, `host:port`; without a host it is that
    /// of the server that was asked.
    fn node(&self, node: &str, asked: &Address) -> Result<Address> {
        let (host, port) = node.rsplit_once(':').unwrap_or_default();
        let port =
            port.parse().map_err(|_| Error::new(ErrorKind::Store, "Redis named a server strangely"))?;
        let host = match (host, asked) {
            ("" | "?", Address::Tcp { host, .. }) => host.clone(),
            (host, _) => host.to_owned(),
        };
        Ok(Address::Tcp { host, port })
    }
}

/// Whether the server says that it is the master no more.
fn is_of_a_replica(error: &RedisError) -> bool {
    use ServerErrorKind::{MasterDown, ReadOnly};
    matches!(error.kind(), RedisKind::Server(ReadOnly | MasterDown))
}

/// Why an operation failed on a server.
enum Failure {
    /// There is no connection.
    Connect(Error),
    /// The connection broke.
    Lost { error: RedisError, reused: bool },
    /// The server said no.
    Redis(RedisError),
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Failure::Connect(error) => error,
            Failure::Lost { error, .. } | Failure::Redis(error) => failed(error),
        }
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.seeds).finish()
    }
}

/// The connections to one server.
#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Link>,
    /// Idle or in use.
    open: usize,
    /// Nobody tries until then.
    paused: Option<Instant>,
}

impl Pool {
    /// A connection, and whether it was used before.
    fn take(
        &self,
        address: &Address,
        login: &Login,
        most: usize,
        deadline: Deadline,
    ) -> Result<(Link, bool)> {
        let mut state = lock(&self.state);
        loop {
            if state.paused.is_some_and(|until| Instant::now() < until) {
                return Err(Error::new(ErrorKind::Store, "Redis did not answer in time a moment ago"));
            }
            if let Some(mut link) = state.idle.pop() {
                if link.is_quiet() {
                    return Ok((link, true));
                }
                state.open -= 1;
                continue;
            }
            if state.open < most {
                state.open += 1;
                drop(state);
                return match Link::connect(address, login, deadline) {
                    Ok(link) => Ok((link, false)),
                    Err(error) => {
                        lock(&self.state).open -= 1;
                        self.freed.notify_one();
                        if deadline.is_over() {
                            self.pause();
                        }
                        Err(error)
                    }
                };
            }
            let late = |_| Error::new(ErrorKind::Store, "all connections to Redis are in use for too long");
            let left = deadline.remaining().map_err(late)?.unwrap_or(Duration::MAX);
            state = self.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn give_back(&self, link: Link) {
        let mut state = lock(&self.state);
        if link.is_lost() {
            state.open -= 1;
        } else {
            state.idle.push(link);
            state.paused = None;
        }
        drop(state);
        self.freed.notify_one();
    }

    fn pause(&self) {
        let mut state = lock(&self.state);
        state.paused = Some(Instant::now() + PAUSE);
        drop(state);
        self.freed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address in a line of `CLUSTER NODES`, if it is that of a master that is there:
/// `id host:port@bus[,name] flags …`.
fn master_of(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let address = words.nth(1)?.split(['@', ',']).next()?;
    let flags: Vec<&str> = words.next()?.split(',').collect();
    (flags.contains(&"master") && !flags.contains(&"fail") && !flags.contains(&"noaddr"))
        .then(|| address.to_owned())
}

/// The slot of a key: by what stands in its first braces.
fn slot_of(name: &str) -> u16 {
    let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(name).as_bytes()) % 16384
}

/// CRC-16/XMODEM, as clusters use it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(
            crc ^ u16::from(byte) << 8,
            |crc, _| if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 },
        )
    })
}

const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_CONNECTIONS: usize = 16;
/// For how long a server that did not answer is left alone.
const PAUSE: Duration = Duration::from_millis(250);
/// A key is where the second server says, unless it moves just now.
const REDIRECTIONS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of("foo{bar}{zap}"), slot_of("bar"));
        assert_eq!(slot_of("a:{0001}:x"), slot_of("b:{0001}:y"));
        assert_eq!(slot_of("foo{}{bar}"), crc16(b"foo{}{bar}") % 16384);
    }

    #[test]
    fn masters_are_found_among_the_nodes() {
        let master = "07c3 127.0.0.1:30004@31004,host master - 0 1426238317239 4 connected 0-5460";
        assert_eq!(master_of(master).as_deref(), Some("127.0.0.1:30004"));
        assert_eq!(master_of("07c3 :7000@17000 myself,master - 0 0 1 connected").as_deref(), Some(":7000"));
        assert_eq!(master_of("07c3 127.0.0.1:1@2 slave e7d1 0 1 4 connected"), None);
        assert_eq!(master_of("07c3 127.0.0.1:1@2 master,fail - 0 1 4 connected"), None);
        assert_eq!(master_of(""), None);
    }
}
