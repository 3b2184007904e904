//! `serve` under siege: crowds that stay, crowds that come and go, no descriptors left; and what a
//! connection costs while it does nothing.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

mod programs;

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use programs::{Serve, limited};
use sessile::server::HttpServerParams;

/// Waits for something that another process does.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(15);
    while !holds() {
        assert!(Instant::now() < end, "{what} did not come about");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Asks for a greeting on a connection and reads it.
fn ask(stream: &mut TcpStream) -> io::Result<()> {
    say(stream)?;
    hear(stream)
}

fn say(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(b"GET /hello HTTP/1.1\r\nHost: t\r\n\r\n")
}

fn hear(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(15)))?;
    let mut answer = Vec::new();
    let mut block = [0; 1024];
    while !answer.ends_with(b"Hello, world!") {
        match stream.read(&mut block)? {
            0 => return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned())),
            n => answer.extend_from_slice(&block[..n]),
        }
    }
    Ok(())
}

/// A new client.
struct Fresh {
    /// How long it took it to say what it wants, from the beginning of its connection.
    spoke: Duration,
    /// When it had its answer.
    answered: io::Result<Duration>,
}

fn fresh(address: SocketAddr) -> Fresh {
    let started = Instant::now();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).unwrap();
    let said = say(&mut stream);
    let spoke = started.elapsed();
    let answered = said.and_then(|()| hear(&mut stream)).map(|()| started.elapsed());
    Fresh { spoke, answered }
}

/// How long a new client has to wait for its answer.
fn waits(address: SocketAddr) -> Duration {
    fresh(address).answered.unwrap()
}

/// Many clients in a process of their own, which has descriptors for them; they go with this.
struct Crowd(Child);

impl Crowd {
    /// So many clients come one after the other, say something (and hear the answer) or nothing, and stay.
    fn come(address: SocketAddr, count: usize, speaks: bool) -> Crowd {
        let mut child = limited(count + 100, &env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "a_crowd_for_the_other_tests"])
            .env("SESSILE_CROWD", format!("{address} {count} {speaks}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.any(|line| line.unwrap().ends_with("all are there"));
        assert!(ready, "the crowd did not come: are there enough descriptors for a process?");
        Crowd(child)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "is a part of the other tests of this file"]
fn a_crowd_for_the_other_tests() {
    let Ok(orders) = env::var("SESSILE_CROWD") else { return };
    let words: Vec<&str> = orders.split(' ').collect();
    let address: SocketAddr = words[0].parse().unwrap();
    let clients: Vec<TcpStream> = (0..words[1].parse().unwrap())
        .map(|n: usize| {
            // Few to each address of this machine: looking for a free port among many takes long.
            let place = Ipv4Addr::new(127, 0, 1, (n / 500) as u8 + 1);
            let mut stream = TcpStream::connect((place, address.port())).unwrap();
            if words[2] == "true" {
                ask(&mut stream).unwrap();
            }
            stream
        })
        .collect();
    println!("all are there");
    // Until the end of whoever wants them.
    let _ = io::stdin().read(&mut [0]);
    drop(clients);
}

#[test]
#[ignore = "needs 10,000 descriptors for a process, and time"]
fn ten_thousand_idle_clients_and_ten_thousand_silent_ones_keep_no_new_one_waiting() {
    let serve = Serve::with_descriptors(4096, &["--max-threads", "16"]);
    let (address, stop) = (serve.address, Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let newcomers = thread::spawn(move || {
        let mut clients = Vec::new();
        while !stopped.load(Ordering::SeqCst) {
            clients.push(fresh(address));
            thread::sleep(Duration::from_millis(2));
        }
        clients
    });
    let idle = Crowd::come(address, 10_000, true);
    let silent = Crowd::come(address, 10_000, false);
    thread::sleep(Duration::from_millis(500)); // they stay for a while
    stop.store(true, Ordering::SeqCst);
    let clients = newcomers.join().unwrap();
    let patience = HttpServerParams::new().patience();
    let (mut waits, mut late) = (Vec::new(), 0);
    for client in &clients {
        match &client.answered {
            Ok(wait) => waits.push(*wait),
            // One that was kept from speaking for that long, by the crowds, is one of the silent.
            Err(error) => assert!(client.spoke >= patience, "{error}, it spoke after {:?}", client.spoke),
        }
        late += usize::from(!matches!(client.answered, Ok(wait) if wait < Duration::from_millis(100)));
    }
    waits.sort();
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("{} new clients, the median waited {median:?}, the longest {longest:?}", clients.len());
    // None at all, where nothing else goes on; a processor that others have takes longer to come back.
    assert!(clients.len() > 100 && late * 100 <= clients.len(), "{late} of {} were late", clients.len());
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    drop((idle, silent));
    assert!(self::waits(address) < Duration::from_secs(1));
}

#[test]
fn twenty_thousand_clients_that_come_and_go_leave_nothing_behind() {
    let serve = Serve::start(&[]);
    let address = serve.address;
    waits(address);
    let (descriptors, memory) = (serve.descriptors(), serve.memory());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                for n in 0..5000 {
                    let stream = TcpStream::connect(address).unwrap();
                    if n % 2 == 0 {
                        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    }
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|clients| clients.join().unwrap());
    assert!(waits(address) < Duration::from_secs(5));
    until("all are gone", || serve.descriptors() <= descriptors + 2);
    let more = serve.memory().saturating_sub(memory);
    assert!(more < 32 << 20, "{} KiB more than before", more >> 10);
}

#[test]
fn without_descriptors_the_server_ends_idle_connections_and_neither_spins_nor_dies() {
    let serve = Serve::with_descriptors(64, &["--max-threads=500", "--max-queued=500"]);
    waits(serve.address);
    let silent: Vec<TcpStream> =
        (0..150).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, serve.address.port())).unwrap()).collect();
    // There is always one that can be given up for somebody who has something to say.
    for _ in 0..20 {
        assert!(waits(serve.address) < Duration::from_secs(5));
    }
    let used = serve.processor_time();
    thread::sleep(Duration::from_secs(1)); // the time in which nothing is to be done
    let spun = serve.processor_time() - used;
    assert!(spun < Duration::from_millis(400), "{spun:?} of processor time in a second");
    drop(silent);
    assert!(waits(serve.address) < Duration::from_secs(5));
}

#[test]
fn without_descriptors_the_server_waits_for_busy_ones_to_end_and_recovers() {
    let serve = Serve::with_descriptors(64, &["--max-threads=500", "--timeout=1.5"]);
    waits(serve.address);
    let mut busy: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, serve.address.port())).unwrap()).collect();
    busy.iter_mut().for_each(|stream| stream.write_all(b"GET / HTTP/1.1\r\nX").unwrap());
    let used = serve.processor_time();
    let waited = waits(serve.address);
    assert!(waited < Duration::from_secs(12), "{waited:?}");
    let spun = serve.processor_time() - used;
    assert!(spun < Duration::from_secs(1), "{spun:?} of processor time in {waited:?}");
    drop(busy);
    assert!(waits(serve.address) < Duration::from_secs(5));
}

#[test]
#[ignore = "needs 6,000 descriptors for a process, and an optimised build"]
fn an_idle_connection_costs_about_16_kib() {
    for count in [1000, 5000] {
        let serve = Serve::with_descriptors(6000, &["--max-threads", "5500", "--keep-alive-timeout", "60"]);
        waits(serve.address);
        let before = serve.memory();
        let crowd = Crowd::come(serve.address, count, true);
        assert!(serve.threads() >= count, "each of them has its thread");
        let each = || serve.memory().saturating_sub(before) / count as u64;
        // What allocators keep is not the same on every run, and unoptimised code needs more stack.
        let most = if cfg!(debug_assertions) { 40 << 10 } else { 17 << 10 };
        until("buffers are given back", || each() <= most);
        println!("{count} idle connections: {} bytes each", each());
        drop(crowd);
    }
}
