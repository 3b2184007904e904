//! The sessions that a user agent keeps: when they are used again, when not, and what is made once more.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/origin.rs"]
mod origin;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use origin::{OK, Origin, answer, head, say};
use sessile::ErrorKind;
use sessile::client::UserAgent;
use sessile::message::Method;
use sessile::net::AbortHandle;
use sessile::session::RetryPolicy;

fn text(agent: &UserAgent, url: &str) -> String {
    agent.get(url).send().unwrap().read_to_string().unwrap()
}

fn connections(origin: &Origin) -> Vec<usize> {
    origin.seen().iter().map(|asked| asked.connection).collect()
}

#[test]
fn a_connection_serves_one_request_after_another_and_is_kept_between_them() {
    let origin = Origin::saying(OK);
    let agent = UserAgent::new();
    for _ in 0..3 {
        assert_eq!(text(&agent, &origin.url("/")), "ok");
        assert_eq!(agent.idle_sessions(), 1);
    }
    assert_eq!(connections(&origin), [1, 1, 1]);
    agent.close_idle();
    assert_eq!(agent.idle_sessions(), 0);
    text(&agent.clone(), &origin.url("/"));
    assert_eq!(connections(&origin), [1, 1, 1, 2]);
}

#[test]
fn a_response_without_content_gives_its_session_back_at_once() {
    let origin = Origin::saying("HTTP/1.1 204 No Content\r\n\r\n");
    let agent = UserAgent::new();
    let response = agent.get(origin.url("/")).send().unwrap();
    assert_eq!(agent.idle_sessions(), 1);
    assert!(response.into_session().is_err(), "it has gone back");
}

#[test]
fn the_last_byte_gives_the_session_back_and_not_one_before() {
    let origin = Origin::saying(OK);
    let agent = UserAgent::new();
    let mut response = agent.get(origin.url("/")).send().unwrap();
    let mut byte = [0];
    response.read_exact(&mut byte).unwrap();
    assert_eq!((agent.idle_sessions(), response.remaining()), (0, Some(1)));
    response.read_exact(&mut byte).unwrap();
    assert_eq!((agent.idle_sessions(), response.remaining()), (1, Some(0)));
    assert_eq!(response.read(&mut byte).unwrap(), 0);
}

#[test]
fn what_is_left_unread_is_dropped_if_it_is_little_and_costs_the_connection_if_not() {
    let origin = Origin::serving(|asked, stream| {
        let length = asked.target[1..].parse().unwrap();
        answer(stream, "200 OK", &vec![b'x'; length])
    });
    let agent = UserAgent::new();
    drop(agent.get(origin.url("/1000")).send().unwrap());
    assert_eq!(agent.idle_sessions(), 1);
    drop(agent.get(origin.url("/1000000")).send().unwrap());
    assert_eq!(agent.idle_sessions(), 0);
    text(&agent, &origin.url("/2"));
    assert_eq!(connections(&origin), [1, 1, 2]);
}

#[test]
fn content_without_a_near_end_ends_with_the_response_that_is_dropped() {
    let (ended, told) = mpsc::channel();
    let events = Origin::raw(move |_, stream| {
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        head(&mut reader, 1, 1).unwrap();
        say(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n");
        // Nothing more comes, until the client goes.
        ended.send(reader.read(&mut [0; 1]).map_or(true, |n| n == 0)).unwrap();
    });
    let agent = UserAgent::new();
    let mut response = agent.get(format!("http://127.0.0.1:{events}/")).send().unwrap();
    response.read_exact(&mut [0; 4]).unwrap();
    let start = Instant::now();
    drop(response);
    assert!(start.elapsed() < Duration::from_millis(500), "nothing is waited for");
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(true), "the server sees that nobody listens");
    assert_eq!(agent.idle_sessions(), 0);
    // The end is there: the connection serves on.
    let whole = Origin::saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    drop(agent.get(whole.url("/")).send().unwrap());
    assert_eq!(agent.idle_sessions(), 1);
    text(&agent, &whole.url("/"));
    assert_eq!(connections(&whole), [1, 1]);
}

#[test]
fn a_server_that_closes_is_believed() {
    let origin = Origin::saying("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    let agent = UserAgent::new();
    text(&agent, &origin.url("/"));
    assert_eq!(agent.idle_sessions(), 0);
}

#[test]
fn an_error_in_the_content_costs_the_connection() {
    let origin = Origin::serving(|_, stream| {
        say(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nno chunk\r\n")
    });
    let agent = UserAgent::new();
    let error = agent.get(origin.url("/")).send().unwrap().read_to_vec().unwrap_err();
    assert_eq!((error.kind(), agent.idle_sessions()), (ErrorKind::Malformed, 0));
}

#[test]
fn age_and_caps_are_heeded() {
    let origin = Origin::saying(OK);
    let short = UserAgent::builder().max_idle_age(Duration::from_millis(1)).build().unwrap();
    text(&short, &origin.url("/"));
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(5) {
        std::thread::yield_now();
    }
    text(&short, &origin.url("/"));
    assert_eq!(connections(&origin), [1, 2], "the first was too old");
    for none in [UserAgent::builder().max_idle(0), UserAgent::builder().max_idle_per_origin(0)] {
        let none = none.build().unwrap();
        text(&none, &origin.url("/"));
        assert_eq!(none.idle_sessions(), 0);
    }
    let two = UserAgent::builder().max_idle_per_origin(2).build().unwrap();
    let open: Vec<_> = (0..4).map(|_| two.get(origin.url("/")).send().unwrap()).collect();
    drop(open);
    assert_eq!(two.idle_sessions(), 2);
}

/// Serves the first request of each connection with a response, and what comes second by `second`.
fn stale(second: fn(&mut TcpStream)) -> (Origin, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let origin = Origin::serving(move |request, stream| {
        count.fetch_add(1, Ordering::SeqCst);
        if request.connection == 1 && request.number == 2 {
            second(stream);
            return false;
        }
        say(stream, OK)
    });
    (origin, asked)
}

#[test]
fn an_idempotent_request_lost_on_a_connection_that_had_served_is_made_once_more() {
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        for length in [0, 100, 1_000_000] {
            let (origin, asked) = stale(|_| {});
            let agent = UserAgent::new();
            text(&agent, &origin.url("/"));
            let mut request = agent.request(method.clone(), origin.url("/"));
            if length > 0 {
                request = request.content(vec![b'x'; length]);
            }
            assert_eq!(request.send().unwrap().status().as_u16(), 200, "{method} {length}");
            assert_eq!(asked.load(Ordering::SeqCst), 3, "{method} {length}");
            let last = origin.seen().pop().unwrap();
            assert_eq!((last.connection, last.content.len()), (2, length));
        }
    }
}

#[test]
fn a_post_is_not_sent_twice() {
    for content in [None, Some("x".to_owned()), Some("x".repeat(1_000_000))] {
        let (origin, asked) = stale(|_| {});
        let agent = UserAgent::new();
        text(&agent, &origin.url("/"));
        let mut request = agent.post(origin.url("/"));
        if let Some(content) = content {
            request = request.content(content);
        }
        let error = request.send().unwrap_err();
        assert!(!error.is_retryable(), "{error:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn a_post_is_made_once_more_where_the_program_says_that_this_does_no_harm() {
    for content in [None, Some("x".to_owned()), Some("x".repeat(1_000_000))] {
        let (origin, asked) = stale(|_| {});
        let agent = UserAgent::builder().retry(RetryPolicy::Always).build().unwrap();
        text(&agent, &origin.url("/"));
        let mut request = agent.post(origin.url("/"));
        let length = content.as_ref().map_or(0, String::len);
        if let Some(content) = content {
            request = request.content(content);
        }
        assert_eq!(request.send().unwrap().status().as_u16(), 200);
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        assert_eq!(origin.seen().pop().unwrap().content.len(), length);
    }
}

#[test]
fn nothing_is_made_once_more_that_got_a_byte_or_was_new_or_that_can_t_be_read_again() {
    // A byte of the response came.
    let (origin, asked) = stale(|stream| assert!(say(stream, "H")));
    let agent = UserAgent::new();
    text(&agent, &origin.url("/"));
    assert_eq!(agent.get(origin.url("/")).send().unwrap_err().kind(), ErrorKind::Incomplete);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // The connection is new.
    let new = Origin::serving(|_, _| false);
    assert!(UserAgent::new().get(new.url("/")).send().is_err());
    assert_eq!(new.seen().len(), 1);
    // The content has gone.
    let (origin, asked) = stale(|_| {});
    let agent = UserAgent::new();
    text(&agent, &origin.url("/"));
    let content = std::io::repeat(b'x').take(1_000_000);
    let error = agent.put(origin.url("/")).content_from(content).send().unwrap_err();
    assert!(error.is_retryable(), "the caller may: {error:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // It is forbidden.
    let (origin, asked) = stale(|_| {});
    let agent = UserAgent::builder().retry(RetryPolicy::Never).build().unwrap();
    text(&agent, &origin.url("/"));
    assert!(agent.put(origin.url("/")).content(vec![0; 1_000_000]).send().is_err());
    assert!(asked.load(Ordering::SeqCst) <= 2);
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_noticed_before_anything_is_sent() {
    let (closed, told) = mpsc::channel();
    let origin = Origin::serving(move |asked, stream| {
        say(stream, OK);
        if asked.connection == 1 {
            stream.shutdown(std::net::Shutdown::Both).unwrap();
            closed.send(()).unwrap();
        }
        asked.connection > 1
    });
    let agent = UserAgent::new();
    text(&agent, &origin.url("/"));
    told.recv().unwrap();
    std::thread::sleep(Duration::from_millis(20)); // past the time for which nobody looks
    assert_eq!(agent.post(origin.url("/")).content("x").send().unwrap().status().as_u16(), 200);
    assert_eq!(connections(&origin), [1, 2]);
}

#[test]
fn an_aborted_call_ends_at_once_and_its_session_is_nobody_else_s() {
    let (arrived, told) = mpsc::channel();
    let origin = Origin::serving(move |asked, stream| {
        if asked.target == "/wait" {
            arrived.send(()).unwrap();
            return stream.read(&mut [0; 1]).is_ok_and(|n| n > 0);
        }
        say(stream, OK)
    });
    let agent = UserAgent::new();
    text(&agent, &origin.url("/"));
    let abort = AbortHandle::new();
    let call = agent.get(origin.url("/wait")).abort_handle(&abort);
    let caller = std::thread::spawn(move || call.send().map(drop));
    told.recv().unwrap();
    let start = Instant::now();
    abort.abort();
    let error = caller.join().unwrap().unwrap_err();
    assert!(error.is_aborted() && start.elapsed() < Duration::from_secs(5), "{error:?}");
    assert_eq!(agent.idle_sessions(), 0);
    assert!(agent.get(origin.url("/")).abort_handle(&abort).send().unwrap_err().is_aborted());
    assert_eq!(text(&agent, &origin.url("/")), "ok");
}

#[test]
fn an_abort_ends_the_reading_of_content_and_one_that_comes_late_ends_nobody() {
    let origin = Origin::serving(|asked, stream| match asked.target.as_str() {
        "/long" => {
            say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin");
            stream.read(&mut [0; 1]).is_ok_and(|n| n > 0)
        }
        _ => say(stream, OK),
    });
    let agent = UserAgent::new();
    let abort = AbortHandle::new();
    let mut response = agent.get(origin.url("/long")).abort_handle(&abort).send().unwrap();
    response.read_exact(&mut [0; 5]).unwrap();
    let reader = std::thread::spawn(move || response.read(&mut [0; 100]));
    abort.abort();
    let error = sessile::Error::from(reader.join().unwrap().unwrap_err());
    assert!(error.is_aborted(), "{error:?}");
    // The call is over: its session is in the pool, and may be somebody else's.
    let abort = AbortHandle::new();
    let response = agent.get(origin.url("/")).abort_handle(&abort).send().unwrap();
    assert_eq!(response.read_to_string().unwrap(), "ok");
    abort.abort();
    assert_eq!(agent.idle_sessions(), 1);
    assert_eq!(text(&agent, &origin.url("/")), "ok");
    assert_eq!(origin.seen().last().unwrap().number, 2, "on the same connection");
}

#[test]
fn sixty_four_threads_use_one_agent_at_once() {
    const THREADS: usize = 64;
    const CALLS: usize = 25;
    let origins: Vec<_> = (0..3)
        .map(|_| {
            Origin::serving(|asked, stream| {
                let content = asked.target.repeat(50);
                match asked.target.len() % 3 {
                    0 => {
                        let mut chunked =
                            String::from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                        for piece in content.as_bytes().chunks(97) {
                            chunked +=
                                &format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece));
                        }
                        say(stream, &(chunked + "0\r\n\r\n"))
                    }
                    _ => answer(stream, "200 OK", content.as_bytes()),
                }
            })
        })
        .collect();
    let urls: Vec<_> = origins.iter().map(|origin| origin.url("")).collect();
    let agent = UserAgent::new();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (agent, urls) = (agent.clone(), &urls);
            scope.spawn(move || {
                for call in 0..CALLS {
                    let target = format!("/{thread}/{call}/{}", "y".repeat(call % 4));
                    let url = format!("{}{target}", urls[(thread + call) % 3]);
                    let text = agent.get(url).send().unwrap().read_to_string().unwrap();
                    assert_eq!(text, target.repeat(50));
                }
            });
        }
    });
    let seen: usize = origins.iter().map(|origin| origin.seen().len()).sum();
    assert_eq!(seen, THREADS * CALLS);
    assert!(agent.idle_sessions() <= 96, "{}", agent.idle_sessions());
    for origin in &origins {
        let connections = connections(origin).into_iter().max().unwrap();
        assert!(connections <= 200, "{connections} connections for {} requests", THREADS * CALLS / 3);
    }
}

#[test]
fn a_session_taken_out_with_its_response_is_not_the_pool_s() {
    let port = Origin::raw(|_, stream| {
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        let Some(_) = head(&mut reader, 1, 1) else { return };
        say(stream, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nearly ");
        let mut block = [0; 64];
        while let Ok(n @ 1..) = stream.read(&mut block) {
            stream.write_all(&block[..n]).unwrap();
        }
    });
    let agent = UserAgent::new();
    let response = agent
        .get(format!("http://127.0.0.1:{port}/"))
        .header("Upgrade", "echo")
        .header("Connection", "Upgrade")
        .send()
        .unwrap();
    assert_eq!((response.status().as_u16(), agent.idle_sessions()), (101, 0));
    let mut raw = response.into_session().unwrap().detach_socket().unwrap();
    raw.write_all(b"and late").unwrap();
    let mut text = [0; 14];
    raw.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"early and late");
}
