//! More connections than threads: reuse, waiting, refusal, and idle connections that make room.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/server.rs"]
mod support;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use sessile::server::HttpServerParams;
use support::{Client, End, Running, until};

fn params(threads: usize, queued: usize) -> HttpServerParams {
    HttpServerParams::new().with_max_threads(threads).with_max_queued(queued)
}

fn hello(params: HttpServerParams) -> Running {
    Running::with(params, |_, response| response.send_buffer(b"Hello, world!"))
}

/// `/wait` is answered when the test lets it be.
fn waiting(params: HttpServerParams) -> (Running, mpsc::Sender<()>) {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let server = Running::with(params, move |request, response| {
        if request.path() == "/wait" {
            let _ = released.lock().unwrap().recv_timeout(Duration::from_secs(20));
        }
        response.send_buffer(request.target().as_bytes())
    });
    (server, release)
}

#[test]
fn threads_are_used_again() {
    let server = hello(params(64, 64));
    for _ in 0..300 {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").answer();
    }
    assert!(server.handle.current_threads() <= 3, "{}", server.handle.current_threads());
    assert_eq!(server.handle.total_connections(), 300);
}

#[test]
fn a_thread_without_work_ends_in_time_and_another_one_begins_when_there_is_some() {
    let server = hello(params(8, 8).with_thread_idle_time(Duration::from_millis(50)));
    for _ in 0..2 {
        server.connect().get("/").answer();
        assert_eq!(server.handle.current_threads(), 1);
        let started = Instant::now();
        until("the thread has ended", || server.handle.current_threads() == 0);
        assert!(started.elapsed() >= Duration::from_millis(40));
    }
}

#[test]
fn connections_wait_in_line_for_a_thread() {
    let (server, release) = waiting(params(1, 3));
    let mut clients: Vec<Client> = Vec::new();
    for n in 0..4 {
        let mut client = server.connect();
        client.send(format!("GET /wait?{n} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"));
        until("it is there", || server.handle.total_connections() == n + 1);
        clients.push(client);
    }
    assert_eq!((server.handle.current_connections(), server.handle.queued_connections()), (1, 3));
    for (n, client) in clients.iter_mut().enumerate() {
        release.send(()).unwrap();
        assert_eq!(client.answer().text(), format!("/wait?{n}"));
    }
    assert_eq!(server.handle.refused_connections(), 0);
}

#[test]
fn who_is_refused_is_told_so_and_when_to_come_back() {
    let (server, release) = waiting(params(1, 1).with_retry_after(Duration::from_secs(7)));
    let (mut first, mut second) = (server.connect(), server.connect());
    first.get("/wait?1");
    until("the first is served", || server.handle.current_connections() == 1);
    second.get("/wait?2");
    until("the second waits", || server.handle.queued_connections() == 1);
    for _ in 0..5 {
        let mut client = server.connect();
        // Larger than what is read of it: a reset would destroy the answer.
        client.try_send(format!(
            "POST / HTTP/1.1\r\nHost: t\r\nX: {}\r\nContent-Length: 9999\r\n\r\n",
            "x".repeat(5000)
        ));
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("7")));
        assert!(
            answer.closes()
                && answer.header("Date").is_some()
                && answer.header("Content-Length") == Some("0")
        );
        assert_ne!(client.end_within(Duration::from_secs(5)), End::Open);
    }
    assert_eq!(server.handle.refused_connections(), 5);
    for client in [&mut first, &mut second] {
        release.send(()).unwrap();
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(server.connect().get("/").answer().status, 200);
}

#[test]
fn past_the_limit_of_refusals_connections_are_closed_and_the_server_lives() {
    let (server, release) = waiting(params(1, 0).with_max_refusals(2));
    let mut first = server.connect();
    first.get("/wait");
    until("it is served", || server.handle.current_connections() == 1);
    // They stay, so the list of those who are being refused is full.
    let mut refused: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut refused {
        assert_eq!(client.answer().status, 503);
    }
    assert_ne!(server.connect().end(), End::Open);
    release.send(()).unwrap();
    assert_eq!(first.answer().status, 200);
}

#[test]
fn without_a_queue_a_connection_is_served_by_a_thread_that_an_idle_one_gives_up() {
    let server = hello(params(2, 0));
    let mut idle: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut idle {
        client.get("/").answer();
    }
    // Until one of them is idle, a new one is rightly refused.
    until("a new one is served", || server.connect().get("/").answer().status == 200);
}

#[test]
fn the_connection_that_is_idle_for_longest_makes_room() {
    let server = hello(params(4, 8));
    let mut idle: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    for n in [2, 0, 3, 1] {
        idle[n].get("/").answer();
        thread::sleep(Duration::from_millis(3)); // so that they are idle for different times
    }
    for oldest in [2, 0, 3, 1] {
        let started = Instant::now();
        let mut fresh = server.connect();
        assert_eq!(fresh.get("/").answer().status, 200);
        assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
        assert_eq!(idle[oldest].end(), End::Closed);
        drop(fresh);
        until("it has left", || server.handle.current_connections() < 4);
        // The others go on.
        let mut filler = server.connect();
        filler.get("/").answer();
        std::mem::forget(filler.stream.try_clone().unwrap());
    }
}

#[test]
fn connections_that_never_spoke_make_room_too() {
    let server = hello(params(3, 8).with_patience(Duration::from_millis(5)));
    let mut silent: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    until("all have threads", || server.handle.current_connections() == 3);
    for _ in 0..10 {
        assert_eq!(server.connect().get("/").answer().status, 200);
    }
    let ended = silent
        .iter_mut()
        .filter_map(|client| (client.end_within(Duration::from_millis(20)) != End::Open).then_some(()))
        .count();
    assert!(ended >= 1, "{ended}");
}

#[test]
fn silent_connections_in_the_queue_keep_nobody_out() {
    // However patient the server is with those that have a thread.
    let (server, release) = waiting(params(2, 4).with_patience(Duration::from_secs(60)));
    let mut busy: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    busy.iter_mut().for_each(|client| _ = client.get("/wait"));
    until("both are served", || server.handle.current_connections() == 2);
    let mut silent: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    until("the queue is full", || server.handle.queued_connections() == 4);
    let mut speaking = server.connect();
    speaking.get("/spoke");
    assert_eq!(silent[0].end(), End::Closed, "the one that was silent for longest");
    release.send(()).unwrap();
    // It came last and is served first, because it has something to say.
    assert_eq!(speaking.answer().text(), "/spoke");
    assert_eq!(server.handle.refused_connections(), 0);
    release.send(()).unwrap();
    drop(busy);
}

#[test]
fn while_others_wait_a_response_closes_its_connection() {
    let (server, release) = waiting(params(1, 4));
    let mut first = server.connect();
    first.get("/wait");
    until("it is served", || server.handle.current_connections() == 1);
    let mut second = server.connect();
    second.get("/second");
    until("it waits", || server.handle.queued_connections() == 1);
    release.send(()).unwrap();
    assert!(first.answer().closes());
    let answer = second.answer();
    assert_eq!((answer.text(), answer.closes()), ("/second".into(), false));
}

/// Persistent clients send requests at any time, while others force them out. Whatever the race decides, a client gets a
/// whole response or a clean end without one.
#[test]
fn a_request_in_the_very_gap_is_answered_or_not_taken_at_all() {
    let server = hello(params(2, 64));
    let address = server.address;
    let stop = Arc::new(AtomicBool::new(false));
    let (answered, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let newcomers: Vec<_> = (0..2)
        .map(|_| {
            let stop = stop.clone();
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(Client::connect(address).get("/").answer().status, 200);
                }
            })
        })
        .collect();
    let persistent: Vec<_> = (0..2)
        .map(|_| {
            let (stop, answered, ended) = (stop.clone(), answered.clone(), ended.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let mut client = Client::connect(address);
                    let mut first = true;
                    loop {
                        client.try_send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody");
                        match client.try_answer("GET") {
                            Ok(answer) => {
                                assert_eq!((answer.status, answer.text()), (200, "Hello, world!".into()));
                                answered.fetch_add(1, Ordering::SeqCst);
                                if answer.closes() || stop.load(Ordering::SeqCst) {
                                    break;
                                }
                            }
                            Err(_) => {
                                assert!(!first, "a new connection was given up with its request on the way");
                                ended.fetch_add(1, Ordering::SeqCst);
                                break;
                            }
                        }
                        first = false;
                    }
                }
            })
        })
        .collect();
    until("there was enough of it", || answered.load(Ordering::SeqCst) >= 2000);
    stop.store(true, Ordering::SeqCst);
    newcomers.into_iter().chain(persistent).for_each(|thread| thread.join().unwrap());
    println!(
        "{} answered, {} ended in the gap",
        answered.load(Ordering::SeqCst),
        ended.load(Ordering::SeqCst)
    );
}

/// A handler waits at this gate until the test opens it.
struct Gate {
    reached: AtomicBool,
    open: mpsc::Sender<()>,
    opened: Mutex<mpsc::Receiver<()>>,
}

impl Gate {
    fn new() -> Gate {
        let (open, opened) = mpsc::channel();
        Gate { reached: AtomicBool::new(false), open, opened: Mutex::new(opened) }
    }

    fn pass(&self) {
        self.reached.store(true, Ordering::SeqCst);
        let _ = self.opened.lock().unwrap().recv_timeout(Duration::from_secs(20));
    }

    fn wait_for_somebody(&self) {
        until("somebody is at the gate", || self.reached.load(Ordering::SeqCst));
    }
}

/// A server in which a client is in the midst of its response and has sent `next` behind its request, while another
/// client waits for a thread. When the response ends, the connection is given up, with bytes there.
struct Pressed {
    gates: Arc<[Gate; 3]>,
    client: Client,
    newcomer: Client,
    server: Running,
}

const STREAM: usize = 0;
const HOLD: usize = 1;
const LONG: usize = 2;

fn pressed(threads: usize, next: &[u8], before: impl FnOnce(&Running, &[Gate; 3])) -> Pressed {
    let gates = Arc::new([Gate::new(), Gate::new(), Gate::new()]);
    let own = gates.clone();
    let server = Running::with(params(threads, 8), move |request, response| {
        match request.path() {
            "/stream" => {
                let mut body = response.send()?;
                body.write_all(b"begun")?;
                body.flush()?;
                own[STREAM].pass();
                return body.finish();
            }
            "/hold" => own[HOLD].pass(),
            "/long" => own[LONG].pass(),
            "/closed" => {
                let closed = request.peer_closed().to_string();
                return response.send_buffer(closed.as_bytes());
            }
            _ => {}
        }
        let mut content = Vec::new();
        request.read_to_end(&mut content)?;
        response.send_buffer(&content)
    });
    let mut client = server.connect();
    client.get("/stream");
    gates[STREAM].wait_for_somebody();
    client.send(next);
    before(&server, &gates);
    let mut newcomer = server.connect();
    newcomer.get("/");
    until("the newcomer waits", || server.handle.queued_connections() == 1);
    gates[STREAM].open.send(()).unwrap();
    assert_eq!(client.answer().text(), "begun");
    Pressed { gates, client, newcomer, server }
}

#[test]
fn what_has_come_whole_is_answered_on_a_connection_that_is_given_up() {
    let head = "POST /echo HTTP/1.1\r\nHost: t\r\n";
    let long = "x".repeat(20_000);
    for (next, content) in [
        (format!("{head}\r\n"), ""),
        (format!("{head}Content-Length: 20000\r\n\r\n{long}"), &*long),
        (format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "abc"),
    ] {
        let mut pressed = pressed(1, next.as_bytes(), |_, _| {});
        let answer = pressed.client.answer_to("POST");
        assert_eq!((answer.status, answer.text(), answer.closes()), (200, content.into(), true));
        assert_eq!(pressed.newcomer.answer().status, 200);
    }
}

#[test]
fn what_has_not_come_whole_keeps_nobody_waiting() {
    for next in [
        "G",
        "GET / HTTP/1.1\r\nHost: t\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nbody",
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        // Nobody could read what the client says next.
        "GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let started = Instant::now();
        let mut pressed = pressed(1, next.as_bytes(), |_, _| {});
        assert_eq!(pressed.newcomer.answer().status, 200, "{next}");
        assert!(started.elapsed() < Duration::from_secs(5), "{next}: {:?}", started.elapsed());
        assert_ne!(pressed.client.end(), End::Open, "{next}");
    }
}

#[test]
fn a_client_whose_connection_is_given_up_does_not_look_gone() {
    let mut pressed = pressed(1, b"GET /closed HTTP/1.1\r\nHost: t\r\n\r\n", |_, _| {});
    assert_eq!(pressed.client.answer().text(), "false");
    assert_eq!(pressed.newcomer.answer().status, 200);
}

#[test]
fn a_long_request_on_a_connection_that_was_given_up_leaves_the_newcomer_to_whoever_is_done_first() {
    let mut held = None;
    let mut pressed = pressed(2, b"GET /long HTTP/1.1\r\nHost: t\r\n\r\n", |server, gates| {
        held.insert(server.connect()).get("/hold");
        gates[HOLD].wait_for_somebody();
    });
    pressed.gates[LONG].wait_for_somebody();
    assert_eq!(pressed.server.handle.queued_connections(), 1);
    pressed.gates[HOLD].open.send(()).unwrap();
    assert_eq!(held.unwrap().answer().status, 200);
    assert_eq!(pressed.newcomer.answer().status, 200);
    pressed.gates[LONG].open.send(()).unwrap();
    assert!(pressed.client.answer().closes());
}

#[test]
fn when_no_thread_can_be_started_clients_are_told_and_the_server_lives() {
    // No system has this much room for a stack.
    let server = hello(params(8, 8).with_stack_size(Some(1 << 46)));
    for _ in 0..3 {
        let mut client = server.connect();
        assert_eq!(client.get("/").answer().status, 503);
    }
    assert_eq!((server.handle.current_threads(), server.handle.refused_connections()), (0, 3));
    assert!(server.is_running());
}

#[test]
fn a_slow_reader_of_a_response_is_not_idle_and_not_evicted() {
    let server = Running::with(params(1, 4), |request, response| {
        let size = if request.path() == "/large" { 8_000_000 } else { 10 };
        response.send_buffer(&vec![b'x'; size])
    });
    let mut slow = server.connect();
    slow.get("/large");
    until("it is being served", || server.handle.current_connections() == 1);
    let mut other = server.connect();
    other.get("/small");
    until("the other one waits", || server.handle.queued_connections() == 1);
    assert_eq!(slow.answer().body.len(), 8_000_000);
    assert_eq!(other.answer().body.len(), 10);
}
