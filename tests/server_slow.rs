//! Peers that are slow, silent or gone: each is bounded by its own limit, on by default, and nobody
//! else waits for it.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/server.rs"]
mod support;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use sessile::server::HttpServerParams;
use sessile::session::Timeouts;
use support::{Client, End, Running, until};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Reads all of the content and says how much it was.
fn counting(params: HttpServerParams) -> Running {
    Running::with(params, |request, response| {
        let n = std::io::copy(request, &mut std::io::sink())?;
        response.send_buffer(n.to_string().as_bytes())
    })
}

/// Sends a piece again and again, until the server has answered or closed.
fn dribble(client: &Client, piece: &'static [u8], each: Duration) -> Arc<AtomicBool> {
    let mut stream = client.stream.try_clone().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    thread::spawn(move || {
        while !stopped.load(Ordering::SeqCst) && stream.write_all(piece).is_ok() {
            thread::sleep(each); // the slowness that is tested
        }
    });
    stop
}

#[test]
fn the_limits_are_on_by_default() {
    let params = HttpServerParams::new();
    assert_eq!((params.timeout(), params.keep_alive_timeout()), (ms(60_000), ms(15_000)));
    assert_eq!((params.head_timeout(), params.drain_time()), (ms(10_000), ms(1000)));
    assert_eq!((params.min_rate(), params.rate_grace()), (240, ms(5000)));
    assert_eq!((params.max_content(), params.drain()), (1 << 30, 256 << 10));
}

#[test]
fn a_head_has_a_time_of_its_own_however_steadily_it_comes() {
    let server = counting(HttpServerParams::new().with_head_timeout(ms(300)));
    for beginning in ["GET", "GET / HTTP/1.1\r\nHost: t\r\nX: ", "\r\n\r\nGET / HTTP/1.1\r\nHost: t"] {
        let mut client = server.connect();
        let started = Instant::now();
        client.send(beginning);
        let stop = dribble(&client, b"x", ms(30));
        let answer = client.answer();
        stop.store(true, Ordering::SeqCst);
        assert_eq!((answer.status, answer.closes()), (408, true), "{beginning:?}");
        assert!((280..3000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    }
}

#[test]
fn content_that_stops_coming_is_a_408() {
    let server = counting(HttpServerParams::new().with_timeout(ms(200)));
    for framing in ["Content-Length: 100\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n5\r\nab"] {
        let mut client = server.connect();
        let started = Instant::now();
        client.send(format!("POST / HTTP/1.1\r\nHost: t\r\n{framing}"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.closes()), (408, true), "{framing:?}");
        assert!((180..3000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    }
}

#[test]
fn content_must_come_at_the_least_rate_once_the_grace_is_over() {
    let server = counting(HttpServerParams::new().with_min_rate(10_000, ms(300)));
    for head in ["Content-Length: 99999", "Transfer-Encoding: chunked"] {
        let mut client = server.connect();
        let started = Instant::now();
        client.send(format!("POST / HTTP/1.1\r\nHost: t\r\n{head}\r\n\r\n"));
        // Never silent, and far too slow.
        let stop = dribble(&client, b"1\r\nx\r\n", ms(20));
        let answer = client.answer();
        stop.store(true, Ordering::SeqCst);
        assert_eq!((answer.status, answer.closes()), (408, true), "{head}");
        assert!((280..5000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    }
}

#[test]
fn content_that_comes_at_the_least_rate_may_take_as_long_as_it_takes() {
    let server = counting(HttpServerParams::new().with_min_rate(200, ms(100)).with_timeout(ms(400)));
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2000\r\n\r\n");
    for _ in 0..20 {
        client.send([b'x'; 100]);
        thread::sleep(ms(50)); // slower than any limit but the rate's
    }
    assert_eq!(client.answer().text(), "2000");
}

/// A client that takes a little at a time until the server gives it up, which must be in time.
fn takes_slowly(server: &Running, path: &str, block: usize, each: Duration) {
    let mut client = server.connect();
    socket2::SockRef::from(&client.stream).set_recv_buffer_size(4096).unwrap();
    client.get(path);
    until("it is being served", || server.handle.current_connections() == 1);
    let started = Instant::now();
    while server.handle.current_connections() == 1 {
        let _ = client.stream.read(&mut vec![0; block]);
        assert!(started.elapsed() < ms(15_000), "{path}: the client is still being served");
        thread::sleep(each); // the slowness that is tested
    }
    assert!(started.elapsed() > ms(150), "{path}: given up after {:?}", started.elapsed());
}

#[test]
fn a_response_must_be_taken_at_the_least_rate() {
    let params = HttpServerParams::new().with_min_rate(4_000_000, ms(300));
    let server = Running::with(params, |request, response| {
        match request.path() {
            "/whole" => response.send_buffer(&vec![b'x'; 50_000_000]),
            "/parts" => {
                let mut body = response.send()?;
                for _ in 0..50_000 {
                    body.write_all(&[b'x'; 1000])?;
                }
                Ok(())
            }
            // Each flush may find some room, and still all of it is slow.
            _ => {
                let mut body = response.send()?;
                for _ in 0..50_000 {
                    body.write_all(&[b'x'; 1000])?;
                    body.flush()?;
                }
                Ok(())
            }
        }
    });
    for path in ["/whole", "/parts", "/flushed"] {
        takes_slowly(&server, path, 4096, ms(20));
    }
}

#[test]
fn a_response_that_nobody_takes_is_given_up_at_the_limit_of_a_stall() {
    let params = HttpServerParams::new().with_timeout(ms(300)).with_min_rate(0, Duration::ZERO);
    let server = Running::with(params, |request, response| {
        if request.path() == "/chunked" {
            let mut body = response.send()?;
            loop {
                body.write_all(&[b'x'; 10_000])?;
            }
        }
        response.send_buffer(&vec![b'x'; 50_000_000])
    });
    for path in ["/whole", "/chunked"] {
        let mut client = server.connect();
        client.get(path);
        until("it is being served", || server.handle.current_connections() == 1);
        let started = Instant::now();
        until("it is given up", || server.handle.current_connections() == 0);
        assert!((200..5000).contains(&started.elapsed().as_millis()), "{path}: {:?}", started.elapsed());
    }
}

#[test]
fn an_idle_connection_has_another_limit_than_a_new_one() {
    let params = HttpServerParams::new().with_timeout(ms(700)).with_keep_alive_timeout(ms(150));
    let server = counting(params);
    let mut new = server.connect();
    let started = Instant::now();
    let mut used = server.connect();
    used.get("/").answer();
    assert_eq!(used.end(), End::Closed, "without a word");
    assert!((130..650).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert_eq!(new.end_within(ms(1)), End::Open);
    assert_eq!(new.end(), End::Closed, "without a word");
    assert!((650..5000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

#[test]
fn an_exchange_has_a_limit_in_all_if_one_is_set() {
    let timeouts = Timeouts { total: Some(ms(300)), ..Timeouts::default() };
    let server = counting(HttpServerParams::new().with_timeouts(timeouts));
    let mut client = server.connect();
    client.get("/").answer();
    thread::sleep(ms(350)); // idle: no exchange
    let started = Instant::now();
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 99999\r\n\r\n");
    let stop = dribble(&client, &[b'x'; 50], ms(20));
    assert_eq!(client.answer().status, 408);
    stop.store(true, Ordering::SeqCst);
    assert!((280..3000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

#[test]
fn a_handler_changes_the_limits_of_its_exchange_and_of_no_other() {
    let params = HttpServerParams::new().with_timeout(ms(500)).with_min_rate(100_000, ms(500));
    let server = Running::with(params, |request, response| {
        if request.path() == "/patient" {
            assert_eq!(request.timeouts().receive, ms(500));
            request.set_timeouts(Timeouts::all(ms(10_000)));
            request.set_min_rate(0, Duration::ZERO);
        }
        if request.path() == "/brief" {
            request.set_timeouts(Timeouts { total: Some(ms(20)), ..request.timeouts() });
        }
        let n = std::io::copy(request, &mut std::io::sink())?;
        response.send_buffer(n.to_string().as_bytes())
    });
    let half = |path| format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n01234");
    let mut client = server.connect();
    for _ in 0..2 {
        client.send(half("/patient"));
        thread::sleep(ms(800)); // longer than the server's limits
        assert_eq!(client.send("56789").answer().text(), "10");
    }
    let started = Instant::now();
    assert_eq!(client.send(half("/")).answer().status, 408);
    assert!((450..5000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    let mut client = server.connect();
    let started = Instant::now();
    assert_eq!(client.send(half("/brief")).answer().status, 408);
    assert!((15..400).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

#[test]
fn a_handler_that_works_for_long_sees_that_its_client_has_gone() {
    let (seen, sees) = mpsc::channel();
    let server = Running::with(HttpServerParams::new(), move |request, response| {
        assert!(!request.peer_closed());
        seen.send(()).unwrap();
        let started = Instant::now();
        while !request.peer_closed() {
            assert!(started.elapsed() < ms(10_000), "nothing was seen");
            thread::sleep(ms(1)); // work
        }
        seen.send(()).unwrap();
        response.send_buffer(b"in vain")
    });
    for reset in [false, true] {
        let mut client = server.connect();
        client.get("/");
        sees.recv().unwrap();
        if reset {
            socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(client);
        sees.recv_timeout(ms(10_000)).unwrap();
    }
}

/// Clients in the middle of a head, and in the middle of content.
fn slow_clients(server: &Running, heads: usize, bodies: usize) -> Vec<Client> {
    let mut slow: Vec<Client> = (0..heads + bodies).map(|_| server.connect()).collect();
    for (n, client) in slow.iter_mut().enumerate() {
        client.try_send(if n < heads {
            "GET / HTTP/1.1\r\nHost: t\r\nX-"
        } else {
            "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9999\r\n\r\nx"
        });
    }
    slow
}

#[test]
fn three_hundred_slow_heads_and_as_many_slow_bodies_delay_nobody() {
    let server = counting(HttpServerParams::new());
    let mut slow = slow_clients(&server, 300, 300);
    until("all are being served", || server.handle.current_connections() == 600);
    for round in 0..20 {
        slow.iter_mut().for_each(|client| _ = client.try_send("x"));
        let started = Instant::now();
        assert_eq!(server.connect().get("/").answer().status, 200);
        assert!(started.elapsed() < ms(1000), "round {round}: {:?}", started.elapsed());
    }
    until("they are still at it", || server.handle.current_connections() == 600);
}

#[test]
fn more_slow_clients_than_threads_are_over_in_time_and_others_are_served() {
    let params = HttpServerParams::new()
        .with_max_threads(16)
        .with_head_timeout(ms(300))
        .with_timeout(ms(300))
        .with_max_queued(64);
    let server = counting(params);
    let slow = slow_clients(&server, 24, 24);
    let started = Instant::now();
    let answer = server.connect().get("/").answer();
    assert_eq!(answer.status, 200);
    // Three turns of those before it.
    assert!(started.elapsed() < ms(5000), "{:?}", started.elapsed());
    until("they are all gone", || server.handle.current_connections() == 0);
    for (n, mut client) in slow.into_iter().enumerate() {
        assert_eq!(client.answer().status, 408, "client {n}");
    }
}
