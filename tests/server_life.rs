//! How a server begins and ends: listeners, filters, and four ways to stop without losing a request.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/server.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use sessile::net::Listener;
use sessile::server::{HttpServer, HttpServerParams, ServerHandle};
use support::{Client, End, Running, until};

/// Keeps handlers waiting until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.changed.wait(open).unwrap();
        }
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn has(&self, waiting: usize) -> bool {
        self.waiting.load(Ordering::SeqCst) >= waiting
    }
}

/// `/wait` passes the gate first.
fn gated(params: HttpServerParams) -> (Running, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let inner = gate.clone();
    let server = Running::with(params, move |request, response| {
        if request.path() == "/wait" {
            inner.pass();
        }
        response.send_buffer(b"done")
    });
    (server, gate)
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_shutdown_finishes_what_runs_and_ends_what_is_idle() {
    let (mut server, gate) = gated(HttpServerParams::new());
    let mut running: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    running.iter_mut().for_each(|client| _ = client.get("/wait"));
    let mut idle: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    idle.iter_mut().for_each(|client| _ = client.get("/").answer());
    until("four wait", || gate.has(4));
    let handle = server.handle.clone();
    let stopping = thread::spawn(move || handle.shutdown(LONG));
    for client in &mut idle {
        assert_eq!(client.end(), End::Closed);
    }
    assert!(!stopping.is_finished() && server.is_running());
    gate.open();
    for client in &mut running {
        let answer = client.answer();
        assert_eq!((answer.text(), answer.closes()), ("done".into(), true));
        assert_eq!(client.end(), End::Closed);
    }
    let report = stopping.join().unwrap();
    assert_eq!((report.finished, report.aborted, report.idle), (4, 0, 3));
    assert!(report.elapsed < LONG);
    server.join();
    assert!(TcpStream::connect(server.address).is_err(), "nobody listens any more");
}

#[test]
fn a_shutdown_cuts_off_what_is_not_done_in_time() {
    let (outcome, outcomes) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let server = Running::with(HttpServerParams::new(), move |request, response| {
        begin.send(()).unwrap();
        let mut text = String::new();
        let result = request.read_to_string(&mut text).map_err(sessile::Error::from);
        outcome.send(result.as_ref().map_err(|error| error.kind()).copied()).unwrap();
        result?;
        response.send_buffer(b"")
    });
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n123");
    begun.recv().unwrap();
    let started = Instant::now();
    let report = server.handle.shutdown(Duration::from_millis(100));
    assert_eq!((report.finished, report.aborted), (0, 1));
    assert!((100..2000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert_eq!(outcomes.recv().unwrap(), Err(sessile::ErrorKind::Aborted));
    assert_ne!(client.end_of_anything(), End::Open);
}

#[test]
fn an_abort_ends_what_a_handler_waits_for_at_once_in_every_phase() {
    for (request, phase) in [
        ("POST /read HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n123", "content of a length"),
        ("POST /read HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12", "a chunk"),
        ("POST /read HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", "the next chunk"),
        ("GET /write HTTP/1.1\r\nHost: t\r\n\r\n", "a client that takes nothing"),
        ("GET /flush HTTP/1.1\r\nHost: t\r\n\r\n", "a client that takes nothing of many parts"),
        ("GET /detached HTTP/1.1\r\nHost: t\r\n\r\n", "a connection that was taken over"),
    ] {
        // The best of a few: the machine may have other things to do for a moment.
        let fastest = (0..3).map(|_| time_to_abort(request, phase)).min().unwrap();
        assert!(fastest < Duration::from_millis(100), "{phase}: {fastest:?}");
    }
}

/// How long an abort of the server takes to reach a handler that waits.
fn time_to_abort(request: &str, phase: &str) -> Duration {
    let (begin, begun) = mpsc::channel();
    let (outcome, outcomes) = mpsc::channel();
    let server = Running::with(HttpServerParams::new(), move |request, response| {
        begin.send(()).unwrap();
        let result = match request.path() {
            "/read" => std::io::copy(request, &mut std::io::sink()).map(drop),
            "/write" => response.send_buffer(&vec![b'x'; 100_000_000]).map_err(Into::into),
            "/flush" => response.send().map_err(Into::into).and_then(|mut body| {
                loop {
                    body.write_all(&[b'x'; 10_000])?;
                    body.flush()?;
                }
            }),
            _ => request.detach().map_err(Into::into).and_then(|mut raw| raw.read_exact(&mut [0; 1])),
        };
        outcome.send((result.map_err(sessile::Error::from), Instant::now())).unwrap();
        Ok(())
    });
    let mut client = server.connect();
    client.send(request);
    begun.recv_timeout(LONG).unwrap();
    thread::sleep(Duration::from_millis(50)); // nothing tells that it is blocked by now
    let aborted = Instant::now();
    server.handle.stop_all(true);
    let (result, ended) = outcomes.recv_timeout(LONG).unwrap();
    assert!(result.unwrap_err().is_aborted(), "{phase}");
    ended.saturating_duration_since(aborted)
}

#[test]
fn a_handler_that_never_returns_does_not_keep_run_from_returning() {
    let (mut server, gate) = gated(HttpServerParams::new());
    let mut client = server.connect();
    client.get("/wait");
    until("it waits", || gate.has(1));
    let report = server.handle.shutdown(Duration::from_millis(20));
    assert_eq!((report.finished, report.aborted), (0, 1));
    server.join();
    gate.open();
}

#[test]
fn stop_all_ends_idle_connections_and_waits_for_requests() {
    let (mut server, gate) = gated(HttpServerParams::new());
    let mut busy = server.connect();
    busy.get("/wait");
    let mut idle = server.connect();
    idle.get("/").answer();
    until("it waits", || gate.has(1));
    let handle = server.handle.clone();
    let stopping = thread::spawn(move || handle.stop_all(false));
    assert_eq!(idle.end(), End::Closed);
    assert!(!stopping.is_finished());
    gate.open();
    assert_eq!(busy.answer().text(), "done");
    stopping.join().unwrap();
    server.join();
}

#[test]
fn stop_all_with_abort_cuts_connections_at_once() {
    let (mut server, gate) = gated(HttpServerParams::new());
    let mut busy = server.connect();
    busy.get("/wait");
    until("it waits", || gate.has(1));
    server.handle.stop_all(true);
    assert_ne!(busy.end_of_anything(), End::Open);
    assert!(server.is_running(), "the handler goes on until it touches its connection");
    gate.open();
    server.join();
}

#[test]
fn stop_lets_connections_go_on_to_their_next_response() {
    let (mut server, _) = gated(HttpServerParams::new());
    let mut client = server.connect();
    assert!(!client.get("/").answer().closes());
    server.handle.stop();
    assert!(server.handle.is_stopped());
    assert!(client.get("/").answer().closes());
    assert_eq!(client.end(), End::Closed);
    server.join();
}

#[test]
fn a_handler_can_stop_its_own_server_in_every_way() {
    type Stop = fn(&ServerHandle);
    let ways: [Stop; 4] = [
        |handle| handle.stop(),
        |handle| handle.stop_all(false),
        |handle| handle.stop_all(true),
        |handle| _ = handle.shutdown(LONG),
    ];
    for stop in ways {
        let place = Arc::new(Mutex::new(None::<ServerHandle>));
        let inner = place.clone();
        let mut server = Running::with(HttpServerParams::new(), move |_, response| {
            let handle = inner.lock().unwrap().clone().unwrap();
            stop(&handle);
            response.send_buffer(b"stopped")
        });
        *place.lock().unwrap() = Some(server.handle.clone());
        let answer = server.connect().get("/").answer();
        assert_eq!((answer.text(), answer.closes()), ("stopped".into(), true));
        server.join();
        place.lock().unwrap().take();
    }
}

#[test]
fn handlers_that_stop_at_the_same_time_do_not_wait_for_each_other() {
    let place = Arc::new(Mutex::new(None::<ServerHandle>));
    let inner = place.clone();
    let barrier = Arc::new(std::sync::Barrier::new(3));
    let mut server = Running::with(HttpServerParams::new(), move |_, response| {
        barrier.wait();
        let handle = inner.lock().unwrap().clone().unwrap();
        handle.stop_all(false);
        response.send_buffer(b"stopped")
    });
    *place.lock().unwrap() = Some(server.handle.clone());
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| _ = client.get("/"));
    for client in &mut clients {
        assert_eq!(client.answer().text(), "stopped");
    }
    server.join();
    place.lock().unwrap().take();
}

#[test]
fn a_stop_before_the_run_and_a_second_one_do_no_harm() {
    let mut server = HttpServer::bind("127.0.0.1:0", |_, response| response.send_buffer(b"late")).unwrap();
    let (handle, address) = (server.handle(), server.local_addr().unwrap());
    let mut client = Client::connect(address);
    client.get("/");
    for _ in 0..2 {
        let report = handle.shutdown(LONG);
        assert_eq!((report.finished, report.aborted, report.idle), (0, 0, 0));
        assert!(report.elapsed < Duration::from_secs(5));
        handle.stop();
        handle.stop_all(false);
    }
    server.run().unwrap();
    assert_eq!(client.answer().text(), "late", "who had asked before is answered");
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(handle.shutdown(LONG).aborted, 0);
}

#[test]
fn who_is_let_in_behind_a_stop_and_says_nothing_does_not_hold_the_run() {
    for cut_off in [false, true] {
        let mut server =
            HttpServer::bind("127.0.0.1:0", |_, response| response.send_buffer(b"late")).unwrap();
        let (handle, address) = (server.handle(), server.local_addr().unwrap());
        let mut silent = Client::connect(address);
        handle.stop_all(cut_off);
        let started = Instant::now();
        server.run().unwrap();
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert_ne!(silent.end(), End::Open);
    }
}

#[test]
fn an_abort_cuts_off_those_too_that_are_let_in_behind_it() {
    // Waits for longer than anybody has time, unless it is cut off.
    let mut server = HttpServer::bind("127.0.0.1:0", |request, _| {
        request.read_to_end(&mut Vec::new())?;
        Ok(())
    })
    .unwrap();
    let (handle, address) = (server.handle(), server.local_addr().unwrap());
    let mut client = Client::connect(address);
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n");
    handle.stop_all(true);
    let started = Instant::now();
    server.run().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_ne!(client.end_of_anything(), End::Open);
}

#[test]
fn two_shutdowns_at_once_both_return() {
    let (mut server, gate) = gated(HttpServerParams::new());
    let mut client = server.connect();
    client.get("/wait");
    until("it waits", || gate.has(1));
    let both: Vec<_> = (0..2)
        .map(|_| {
            let handle = server.handle.clone();
            thread::spawn(move || handle.shutdown(LONG))
        })
        .collect();
    until("the stop has begun", || server.handle.is_stopped());
    gate.open();
    assert_eq!(client.answer().text(), "done");
    assert!(both.into_iter().all(|stop| stop.join().unwrap().aborted == 0));
    server.join();
}

#[test]
fn requests_sent_before_a_stop_and_not_yet_accepted_are_answered() {
    // More than there are threads and places to wait in.
    let params = HttpServerParams::new().with_max_threads(4).with_max_queued(8);
    let mut server =
        HttpServer::bind_with("127.0.0.1:0", params, |_, response| response.send_buffer(b"served")).unwrap();
    let (handle, address) = (server.handle(), server.local_addr().unwrap());
    let mut clients: Vec<Client> = (0..300).map(|_| Client::connect(address)).collect();
    clients.iter_mut().for_each(|client| _ = client.get("/"));
    handle.stop();
    let running = thread::spawn(move || server.run());
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.answer().text(), "served", "client {n}");
    }
    running.join().unwrap().unwrap();
    assert_eq!((handle.total_connections(), handle.refused_connections()), (300, 0));
}

#[test]
fn a_stop_under_load_loses_nobody_who_was_let_in() {
    for round in 0..3 {
        let params = HttpServerParams::new().with_max_threads(8);
        let mut server = Running::with(params, |_, response| response.send_buffer(&[b'x'; 3000]));
        let (address, answered) = (server.address, Arc::new(AtomicUsize::new(0)));
        let clients: Vec<_> = (0..6)
            .map(|_| {
                let answered = answered.clone();
                thread::spawn(move || {
                    let mut lost = 0;
                    loop {
                        // A connection that is begun behind the stop is never made, and told so.
                        let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) else {
                            return lost;
                        };
                        let mut client = Client::over(stream);
                        let sent = client.try_send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
                        match client.try_answer("GET") {
                            Ok(answer) if answer.body.len() == 3000 => {
                                _ = answered.fetch_add(1, Ordering::SeqCst)
                            }
                            outcome => {
                                eprintln!("sent {sent}: {outcome:?}");
                                lost += 1;
                            }
                        }
                    }
                })
            })
            .collect();
        until("the load is on", || answered.load(Ordering::SeqCst) > 50 * (round + 1));
        let report = server.handle.shutdown(LONG);
        assert_eq!(report.aborted, 0);
        let lost: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        assert_eq!(lost, 0, "round {round}");
        server.join();
    }
}

#[test]
fn a_download_and_an_upload_in_progress_arrive_whole() {
    const SIZE: usize = 8_000_000;
    let mut server = Running::with(HttpServerParams::new(), |request, response| {
        if request.path() == "/up" {
            let n = std::io::copy(request, &mut std::io::sink())?;
            return response.send_buffer(n.to_string().as_bytes());
        }
        response.set_content_length(SIZE as u64);
        let mut body = response.send()?;
        for _ in 0..SIZE / 8000 {
            body.write_all(&[b'x'; 8000])?;
        }
        body.finish()
    });
    let (mut down, mut up) = (server.connect(), server.connect());
    down.get("/down");
    up.send("POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: 20\r\n\r\n0123456789");
    until("both are served", || server.handle.current_connections() == 2);
    let handle = server.handle.clone();
    let stopping = thread::spawn(move || handle.shutdown(LONG));
    until("the stop has begun", || server.handle.is_stopped());
    assert_eq!(down.answer().body.len(), SIZE);
    up.send("0123456789");
    assert_eq!(up.answer().text(), "20");
    assert_eq!(stopping.join().unwrap().aborted, 0);
    server.join();
}

#[test]
fn a_request_that_is_on_its_way_to_a_new_connection_arrives_in_spite_of_the_stop() {
    let (mut server, _) = gated(HttpServerParams::new());
    let mut client = server.connect();
    until("it is accepted", || server.handle.current_connections() == 1);
    let handle = server.handle.clone();
    let stopping = thread::spawn(move || handle.shutdown(LONG));
    until("the stop has begun", || server.handle.is_stopped());
    assert_eq!(client.get("/").answer().text(), "done");
    assert_eq!(stopping.join().unwrap().aborted, 0);
    server.join();
}

#[test]
fn silent_and_half_silent_clients_do_not_hold_a_stop() {
    let params = HttpServerParams::new().with_timeout(Duration::from_millis(300));
    let (mut server, _) = gated(params);
    let _silent: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    let mut slow = server.connect();
    slow.send("GET / HTTP/1.1\r\nHo");
    until("all are accepted", || server.handle.current_connections() == 6);
    let report = server.handle.shutdown(LONG);
    assert!(report.elapsed < Duration::from_secs(5), "{:?}", report.elapsed);
    assert_eq!((report.aborted, report.idle), (0, 5));
    assert_eq!(slow.answer().status, 408);
    server.join();
}

#[test]
fn a_server_that_is_dropped_stops_and_finishes_what_runs() {
    let gate = Arc::new(Gate::default());
    let inner = gate.clone();
    let mut server = HttpServer::bind("127.0.0.1:0", move |_, response| {
        inner.pass();
        response.send_buffer(b"done")
    })
    .unwrap();
    server.start().unwrap();
    let address = server.local_addr().unwrap();
    let mut client = Client::connect(address);
    client.get("/");
    until("it waits", || gate.has(1));
    drop(server);
    until("nobody listens", || TcpStream::connect_timeout(&address, Duration::from_millis(50)).is_err());
    gate.open();
    assert_eq!(client.answer().text(), "done");
}

#[test]
fn several_listeners_are_served_and_closed() {
    let inherited = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = inherited.try_clone().unwrap();
    let mut server = HttpServer::new(HttpServerParams::new(), |request, response| {
        response
            .send_buffer(format!("{:?}", request.server_address().map(|address| address.port())).as_bytes())
    })
    .listen("127.0.0.1:0")
    .unwrap()
    .add_listener(Listener::from_tcp(inherited).unwrap());
    if let Ok(listener) = Listener::bind("[::1]:0".parse().unwrap()) {
        server = server.add_listener(listener);
    }
    let addresses: Vec<SocketAddr> = server.local_addrs().to_vec();
    assert!(addresses.len() >= 2);
    let mut server = Running::run(server);
    for address in &addresses {
        assert_eq!(Client::connect(*address).get("/").answer().text(), format!("Some({})", address.port()));
    }
    server.handle.shutdown(LONG);
    server.join();
    // The one that others hold still listens, for them.
    assert!(TcpStream::connect(addresses[0]).is_err());
    elsewhere.set_nonblocking(false).unwrap();
    let client = TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();
    let (mut accepted, peer) = elsewhere.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    accepted.write_all(b"x").unwrap();
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_served_and_its_file_removed() {
    let path = std::env::temp_dir().join(format!("sessile-life-{}.sock", std::process::id()));
    let mut server = HttpServer::new(HttpServerParams::new(), |request, response| {
        response.send_buffer(format!("{:?}", request.client_address()).as_bytes())
    })
    .add_listener(Listener::bind_unix(&path).unwrap());
    assert_eq!(server.local_addr(), None);
    let handle = server.handle();
    let running = thread::spawn(move || server.run());
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\r\n\r\nNone"), "{answer}");
    assert_eq!(handle.shutdown(LONG).aborted, 0);
    running.join().unwrap().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_filter_closes_what_it_does_not_like() {
    let allowed = Arc::new(AtomicBool::new(false));
    let inner = allowed.clone();
    let mut server = HttpServer::bind("127.0.0.1:0", |_, response| response.send_buffer(b"hi")).unwrap();
    server
        .set_connection_filter(move |stream, client| {
            assert!(stream.socket().is_some() && client.is_some());
            inner.load(Ordering::SeqCst)
        })
        .unwrap();
    let server = Running::run(server);
    assert_ne!(server.connect().end(), End::Open);
    assert_eq!(server.handle.total_connections(), 0);
    allowed.store(true, Ordering::SeqCst);
    assert_eq!(server.connect().get("/").answer().text(), "hi");
}

#[test]
fn a_filter_or_an_observer_that_panics_does_not_end_the_server() {
    struct Bad;
    impl sessile::server::Observer for Bad {
        fn connection_refused(&self, _: Option<SocketAddr>) {
            panic!("as asked for");
        }
    }
    let count = AtomicUsize::new(0);
    let gate = Arc::new(Gate::default());
    let inner = gate.clone();
    let params = HttpServerParams::new().with_max_threads(1).with_max_queued(0);
    let mut server = HttpServer::bind_with("127.0.0.1:0", params, move |_, response| {
        inner.pass();
        response.send_buffer(b"hi")
    })
    .unwrap();
    server
        .set_connection_filter(move |_, _| {
            assert!(count.fetch_add(1, Ordering::SeqCst) >= 3, "as asked for");
            true
        })
        .unwrap();
    server.set_observer(Bad).unwrap();
    let mut server = Running::run(server);
    for _ in 0..3 {
        assert_ne!(server.connect().end(), End::Open);
    }
    let mut first = server.connect();
    first.get("/");
    until("it is served", || gate.has(1));
    for _ in 0..3 {
        assert_eq!(server.connect().answer().status, 503);
    }
    gate.open();
    assert_eq!(first.answer().text(), "hi");
    assert_eq!(server.handle.shutdown(LONG).aborted, 0);
    server.join();
}

#[test]
fn a_listener_that_comes_behind_a_stop_is_stopped_too() {
    let server = HttpServer::new(HttpServerParams::new(), |_, response| response.send_buffer(b"late"));
    server.stop();
    let mut server = server.listen("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let mut client = Client::connect(address);
    client.get("/");
    server.run().unwrap();
    assert_eq!(client.answer().text(), "late", "who was let in is served");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_server_that_was_never_started_frees_its_address_when_it_is_dropped() {
    let server = HttpServer::bind("127.0.0.1:0", |_, response| response.send_buffer(b"")).unwrap();
    let (address, handle) = (server.local_addr().unwrap(), server.handle());
    drop(server);
    assert!(TcpStream::connect(address).is_err());
    assert_eq!(handle.shutdown(LONG).aborted, 0);
}
