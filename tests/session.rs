//! Sessions against each other and against scripted peers, over TCP on loopback.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::io::{self, BufRead, IoSlice, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sessile::message::{Method, Request, Response, StatusCode};
use sessile::net::{AbortHandle, Limit, Readiness, Socket, Stream, Transport, pair};
use sessile::session::{
    ClientSession, HttpClientSession, HttpServerSession, Observer, RetryPolicy, ServerSession,
    ServerSessionParams, Session,
};
use sessile::{ErrorKind, Phase};

/// A peer that runs a script on each connection; ends when the script list does.
struct Script {
    port: u16,
    thread: JoinHandle<()>,
}

type Act = Box<dyn FnOnce(&mut Peer) + Send>;

struct Peer {
    stream: TcpStream,
}

impl Peer {
    /// Reads a head, and returns it.
    fn head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            assert_eq!(self.stream.read(&mut byte).unwrap(), 1, "the client went away: {head:?}");
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    fn content(&mut self, n: usize) -> Vec<u8> {
        let mut content = vec![0; n];
        self.stream.read_exact(&mut content).unwrap();
        content
    }

    fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// Whether the client closed, sending nothing more.
    fn is_left(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 1]), Ok(0) | Err(_))
    }
}

fn script(acts: Vec<Act>) -> Script {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for act in acts {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            act(&mut Peer { stream });
        }
    });
    Script { port, thread }
}

fn act(f: impl FnOnce(&mut Peer) + Send + 'static) -> Act {
    Box::new(f)
}

fn answering(text: &'static str) -> Act {
    act(move |peer| {
        peer.head();
        peer.say(text);
    })
}

fn client(script: &Script) -> HttpClientSession {
    let mut session = HttpClientSession::new("127.0.0.1", script.port);
    session.set_timeout(Duration::from_secs(10));
    session
}

fn get(session: &mut HttpClientSession, target: &str) -> sessile::Result<(Response, Vec<u8>)> {
    session.send_request(&Request::get(target))?;
    receive(session)
}

fn receive(session: &mut HttpClientSession) -> sessile::Result<(Response, Vec<u8>)> {
    let mut response = Response::new();
    let mut content = Vec::new();
    session.receive_response(&mut response)?.read_to_end(&mut content)?;
    Ok((response, content))
}

#[test]
fn a_get_is_sent_as_it_should_be() {
    let script = script(vec![act(|peer| {
        let head = peer.head();
        assert!(head.starts_with("GET /x HTTP/1.1\r\nHost: 127.0.0.1:"), "{head}");
        assert!(!head.to_lowercase().contains("connection:"), "{head}");
        assert!(!head.to_lowercase().contains("content-length"), "{head}");
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    })]);
    let (response, content) = get(&mut client(&script), "/x").unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(content, b"hello");
    script.thread.join().unwrap();
}

#[test]
fn two_requests_share_a_connection() {
    let script = script(vec![act(|peer| {
        for n in 0..2 {
            assert!(peer.head().starts_with(&format!("GET /{n} ")));
            peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: v\r\n\r\n");
        }
    })]);
    let mut session = client(&script);
    for n in 0..2 {
        let (_, content) = get(&mut session, &format!("/{n}")).unwrap();
        assert_eq!(content, b"abc");
        assert_eq!(session.response_trailer().get("x-t"), Some("v"));
    }
    script.thread.join().unwrap();
}

#[test]
fn an_idempotent_request_lost_on_a_reused_connection_is_made_once_more() {
    let script = script(vec![
        act(|peer| {
            peer.head();
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
            // Takes the second request and closes without a word.
            peer.head();
        }),
        answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"),
    ]);
    let mut session = client(&script);
    assert_eq!(get(&mut session, "/").unwrap().1, b"1");
    assert_eq!(get(&mut session, "/").unwrap().1, b"2");
    script.thread.join().unwrap();
}

#[test]
fn a_post_lost_on_a_reused_connection_is_not_sent_twice() {
    let script = script(vec![act(|peer| {
        peer.head();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
        peer.head();
    })]);
    let mut session = client(&script);
    get(&mut session, "/").unwrap();
    session.send_request(&Request::post("/")).unwrap();
    let error = receive(&mut session).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoMessage | ErrorKind::Io), "{error:?}");
    assert!(!error.is_retryable());
    assert!(!session.is_connected());
    script.thread.join().unwrap();
}

#[test]
fn nothing_is_retried_on_a_new_connection_or_when_forbidden() {
    let fresh = script(vec![act(|peer| assert!(!peer.head().is_empty()))]);
    let error = get(&mut client(&fresh), "/").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoMessage);
    fresh.thread.join().unwrap();

    let never = script(vec![act(|peer| {
        peer.head();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
        peer.head();
    })]);
    let mut session = client(&never);
    session.set_retry_policy(RetryPolicy::Never);
    get(&mut session, "/").unwrap();
    let error = get(&mut session, "/").unwrap_err();
    assert!(error.is_retryable(), "a GET may be made again, says the error");
    never.thread.join().unwrap();
}

#[test]
fn a_connection_that_the_server_closed_while_idle_is_not_used() {
    let (said, heard) = std::sync::mpsc::channel();
    let script = script(vec![
        act(move |peer| {
            peer.head();
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
            peer.stream.shutdown(std::net::Shutdown::Both).unwrap();
            said.send(()).unwrap();
        }),
        act(|peer| {
            assert!(peer.head().starts_with("POST "));
            assert_eq!(peer.content(2), b"hi");
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
        }),
    ]);
    let mut session = client(&script);
    get(&mut session, "/").unwrap();
    heard.recv().unwrap();
    // Which is looked at for every request that could not be made again.
    let mut request = Request::post("/");
    request.set_content_length(2);
    session.send_request(&request).unwrap().write_all(b"hi").unwrap();
    assert_eq!(receive(&mut session).unwrap().1, b"2");
    script.thread.join().unwrap();
}

#[test]
fn what_nobody_asked_for_is_the_answer_to_nothing() {
    let (said, heard) = std::sync::mpsc::channel();
    let script = script(vec![
        act(move |peer| {
            peer.head();
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1");
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
            said.send(()).unwrap();
        }),
        answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"),
    ]);
    let mut session = client(&script);
    get(&mut session, "/").unwrap();
    heard.recv().unwrap();
    session.send_request(&Request::post("/")).unwrap();
    assert_eq!(receive(&mut session).unwrap().1, b"2");
    script.thread.join().unwrap();
}

/// Says when something was read from it.
#[derive(Debug)]
struct Telling(Stream, std::sync::mpsc::Sender<()>);

impl Transport for Telling {
    fn read(&mut self, buf: &mut [u8], limit: &Limit) -> sessile::Result<usize> {
        let n = self.0.read(buf, limit)?;
        let _ = self.1.send(());
        Ok(n)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>], limit: &Limit) -> sessile::Result<usize> {
        self.0.write_vectored(parts, limit)
    }

    fn peek_nowait(&mut self) -> sessile::Result<Readiness> {
        self.0.peek_nowait()
    }

    fn shutdown(&mut self, how: Shutdown, limit: &Limit) -> sessile::Result<()> {
        self.0.shutdown(how, limit)
    }

    fn attach_abort(&mut self, abort: &AbortHandle) -> sessile::Result<()> {
        self.0.attach_abort(abort)
    }
}

#[test]
fn what_nobody_asked_for_is_seen_behind_a_response_that_came_during_an_upload() {
    const LENGTH: usize = 256 << 10; // more than the pair holds
    let (near, mut far) = pair();
    let (said, heard) = std::sync::mpsc::channel();
    let (taken, read) = std::sync::mpsc::channel();
    let peer = std::thread::spawn(move || {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            far.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        // Only who sends still, and gets on no further, reads now.
        read.recv().unwrap();
        far.read_exact(&mut vec![0; LENGTH]).unwrap();
        far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil").unwrap();
        said.send(()).unwrap();
        assert!(far.read_exact(&mut byte).is_err(), "nothing more is asked here");
    });
    let script = script(vec![answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2")]);
    let mut session = client(&script);
    session.connection_mut().attach_socket(Stream::custom(Telling(Stream::custom(near), taken))).unwrap();
    let mut request = Request::post("/");
    request.set_content_length(LENGTH as u64);
    session.send_request(&request).unwrap().write_all(&vec![b'x'; LENGTH]).unwrap();
    assert_eq!(receive(&mut session).unwrap().1, b"ok");
    heard.recv().unwrap();
    assert_eq!(get(&mut session, "/").unwrap().1, b"2");
    script.thread.join().unwrap();
    peer.join().unwrap();
}

#[test]
fn every_cut_of_a_response_is_an_error_in_time() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    ] {
        for cut in 0..response.len() {
            let script = script(vec![answering(&response[..cut])]);
            let error = get(&mut client(&script), "/").unwrap_err();
            let expected = [ErrorKind::Incomplete, ErrorKind::NoMessage];
            assert!(expected.contains(&error.kind()), "{cut}: {error:?}");
            script.thread.join().unwrap();
        }
    }
}

#[test]
fn an_unread_remainder_is_dropped_if_small_and_closes_if_large() {
    let small = script(vec![act(|peer| {
        peer.head();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world");
        peer.head();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
    })]);
    let mut session = client(&small);
    session.send_request(&Request::get("/")).unwrap();
    let mut response = Response::new();
    session.receive_response(&mut response).unwrap().read_exact(&mut [0; 3]).unwrap();
    assert_eq!(get(&mut session, "/").unwrap().1, b"2");
    small.thread.join().unwrap();

    let large = script(vec![
        act(|peer| {
            peer.head();
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello");
            assert!(peer.is_left());
        }),
        answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"),
    ]);
    let mut session = client(&large);
    session.send_request(&Request::get("/")).unwrap();
    session.receive_response(&mut response).unwrap();
    assert_eq!(get(&mut session, "/").unwrap().1, b"2");
    large.thread.join().unwrap();
}

#[test]
fn interim_responses_are_seen_and_skipped() {
    let script = script(vec![answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    )]);
    let mut session = client(&script);
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = seen.clone();
    session.on_interim(move |response| sink.lock().unwrap().push(response.status().as_u16()));
    let (response, content) = get(&mut session, "/").unwrap();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert!(content.is_empty());
    assert_eq!(*seen.lock().unwrap(), [100, 103]);
    script.thread.join().unwrap();
}

#[test]
fn a_101_that_nobody_asked_for_is_an_error_and_one_that_was_is_an_answer() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw";
    let unasked = script(vec![answering(switch)]);
    assert_eq!(get(&mut client(&unasked), "/").unwrap_err().kind(), ErrorKind::Malformed);
    unasked.thread.join().unwrap();

    let asked = script(vec![act(move |peer| {
        peer.head();
        peer.say(switch);
        assert_eq!(peer.content(4), b"ping");
        peer.say(" pong");
    })]);
    let mut session = client(&asked);
    let mut request = Request::get("/");
    request.headers_mut().set("Upgrade", "x").unwrap();
    request.headers_mut().set("Connection", "upgrade").unwrap();
    session.send_request(&request).unwrap();
    let mut response = Response::new();
    session.receive_response(&mut response).unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut raw = session.detach_socket().unwrap();
    assert_eq!(raw.buffered(), b"raw");
    raw.write_all(b"ping").unwrap();
    let mut text = String::new();
    raw.read_to_string(&mut text).unwrap();
    assert_eq!(text, "raw pong");
    asked.thread.join().unwrap();
}

#[test]
fn expect_continue_waits_and_goes_on_without_an_answer() {
    let script = script(vec![act(|peer| {
        let head = peer.head();
        assert!(head.contains("Expect: 100-continue\r\n"), "{head}");
        assert_eq!(peer.content(5), b"hello");
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    })]);
    let mut session = client(&script);
    session.set_expect_continue_timeout(Duration::from_millis(100));
    let mut request = Request::post("/");
    request.set_content_length(5);
    request.headers_mut().set("Expect", "100-continue").unwrap();
    let started = Instant::now();
    session.send_request(&request).unwrap();
    let mut response = Response::new();
    assert!(session.peek_response(&mut response).unwrap());
    let waited = started.elapsed();
    assert!((90..600).contains(&waited.as_millis()), "{waited:?}");
    session.request_body().write_all(b"hello").unwrap();
    session.receive_response(&mut response).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    script.thread.join().unwrap();
}

#[test]
fn a_final_answer_instead_of_100_ends_the_upload_and_the_connection() {
    let script = script(vec![
        act(|peer| {
            peer.head();
            peer.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
            assert!(peer.is_left());
        }),
        answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"),
    ]);
    let mut session = client(&script);
    let mut request = Request::post("/");
    request.set_content_length(5);
    request.headers_mut().set("Expect", "100-continue").unwrap();
    session.send_request(&request).unwrap();
    let mut response = Response::new();
    assert!(!session.peek_response(&mut response).unwrap());
    assert!(!session.peek_response(&mut response).unwrap(), "and again");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let mut content = String::new();
    session.receive_response(&mut response).unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "no");
    assert_eq!(get(&mut session, "/").unwrap().1, b"2");
    script.thread.join().unwrap();
}

#[test]
fn content_beyond_or_short_of_its_length_is_an_error() {
    let script = script(vec![
        act(|peer| {
            peer.head();
            assert_eq!(peer.content(3), b"abc");
            peer.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }),
        act(|peer| assert!(peer.is_left())),
    ]);
    let mut session = client(&script);
    let mut request = Request::new(Method::PUT, "/");
    request.set_content_length(3);
    let mut writer = session.send_request(&request).unwrap();
    let error = writer.write_all(b"abcdef").unwrap_err();
    assert_eq!(sessile::Error::from(error).kind(), ErrorKind::InvalidArgument);
    session.receive_response(&mut Response::new()).unwrap();
    session.reset();

    session.send_request(&request).unwrap().write_all(b"a").unwrap();
    assert_eq!(session.receive_response(&mut Response::new()).unwrap_err().kind(), ErrorKind::Incomplete);
    assert!(!session.is_connected());
    script.thread.join().unwrap();
}

#[test]
fn content_without_an_announcement_is_an_error() {
    let script = script(vec![act(|peer| assert!(peer.is_left()))]);
    let mut session = client(&script);
    let mut writer = session.send_request(&Request::post("/")).unwrap();
    assert!(writer.write_all(b"x").is_err());
    drop(session);
    script.thread.join().unwrap();
}

#[test]
fn an_upload_that_is_cut_costs_its_connection() {
    let script = script(vec![
        act(|peer| {
            peer.head();
            assert!(peer.is_left());
        }),
        answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"),
    ]);
    let mut session = client(&script);
    let mut request = Request::post("/");
    request.set_chunked(true);
    session.send_request(&request).unwrap().flush().unwrap();
    assert_eq!(get(&mut session, "/").unwrap().1, b"2");
    script.thread.join().unwrap();
}

#[test]
fn trailers_of_an_upload_that_is_cut_go_with_no_other_request() {
    let (received, told) = std::sync::mpsc::channel::<()>();
    let refusing = act(move |peer| {
        peer.head();
        peer.say("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
        assert!(told.recv().is_err(), "nothing is sent by this");
    });
    let leaving = act(|peer| drop(peer.head()));
    let taking = act(|peer| {
        peer.head();
        assert!(peer.is_left());
    });
    type Cut = Box<dyn FnOnce(&mut HttpClientSession)>;
    let refused: Cut = Box::new(move |session| {
        session.request_body().write_all(&vec![b'x'; 16 << 20]).unwrap();
        assert_eq!(receive(session).unwrap().0.status(), StatusCode::FORBIDDEN);
        drop(received);
    });
    let lost: Cut = Box::new(|session| while session.request_body().write_all(&[b'x'; 65536]).is_ok() {});
    let given_up: Cut = Box::new(|_| {});
    for (first, cut) in [(refusing, refused), (leaving, lost), (taking, given_up)] {
        let script = script(vec![
            first,
            act(|peer| {
                peer.head();
                assert_eq!(peer.content(5), b"0\r\n\r\n");
                peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2");
            }),
        ]);
        let mut session = client(&script);
        let mut request = Request::post("/");
        request.set_chunked(true);
        session.send_request(&request).unwrap().flush().unwrap();
        session.request_trailer_mut().append("X-Sum", "1").unwrap();
        cut(&mut session);
        session.send_request(&request).unwrap();
        assert_eq!(receive(&mut session).unwrap().1, b"2");
        script.thread.join().unwrap();
    }
}

/// Takes requests and echoes their content as it comes.
fn echo_server(connections: usize) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = io::BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            // The request is chunked, and so is the answer: the bytes are the same.
            let _ = io::copy(&mut reader, &mut stream);
        }
    });
    (port, thread)
}

#[test]
fn an_upload_that_is_answered_meanwhile_does_not_dead_lock() {
    let (port, server) = echo_server(1);
    let mut session = HttpClientSession::new("127.0.0.1", port);
    session.set_timeout(Duration::from_secs(10));
    let mut request = Request::post("/echo");
    request.set_chunked(true);
    let block = vec![b'x'; 100_000];
    let total = 60 * block.len();
    let mut upload = session.send_request(&request).unwrap();
    for _ in 0..60 {
        upload.write_all(&block).unwrap();
    }
    let mut response = Response::new();
    let n = io::copy(&mut session.receive_response(&mut response).unwrap(), &mut io::sink()).unwrap();
    assert_eq!(n, total as u64);
    drop(session);
    server.join().unwrap();
}

#[test]
fn an_exchange_streams_any_volume_both_ways() {
    let (port, server) = echo_server(1);
    let mut session = HttpClientSession::new("127.0.0.1", port);
    session.set_timeout(Duration::from_secs(10));
    let mut request = Request::post("/echo");
    request.set_chunked(true);
    let total: u64 = 64 << 20;
    let mut content = io::repeat(b'y').take(total);
    let mut response = Response::new();
    let mut body = session.exchange(&request, &mut content, &mut response).unwrap();
    assert_eq!(io::copy(&mut body, &mut io::sink()).unwrap(), total);
    drop(session);
    server.join().unwrap();
}

#[test]
fn an_exchange_goes_on_after_an_interim_response() {
    let script = script(vec![act(|peer| {
        peer.head();
        peer.say("HTTP/1.1 103 Early Hints\r\n\r\n");
        assert_eq!(peer.content(300_000), vec![b'z'; 300_000]);
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    })]);
    let mut session = client(&script);
    let mut request = Request::post("/");
    request.set_content_length(300_000);
    let mut content = io::repeat(b'z').take(300_000);
    let mut response = Response::new();
    let mut text = String::new();
    session.exchange(&request, &mut content, &mut response).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!((response.status(), text.as_str()), (StatusCode::OK, "ok"));
    script.thread.join().unwrap();
}

#[test]
fn an_early_refusal_ends_the_upload_and_is_delivered() {
    for closes_hard in [false, true] {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let script = script(vec![act(move |peer| {
            peer.head();
            peer.say("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig");
            if !closes_hard {
                let _ = wait.recv();
            }
        })]);
        let mut session = client(&script);
        let mut request = Request::post("/");
        request.set_content_length(50_000_000);
        let mut upload = session.send_request(&request).unwrap();
        let started = Instant::now();
        io::copy(&mut io::repeat(0).take(50_000_000), &mut upload).unwrap();
        assert!(upload.is_answered());
        assert!(started.elapsed() < Duration::from_secs(5));
        let (response, content) = receive(&mut session).unwrap();
        assert_eq!(response.status().as_u16(), 413);
        assert_eq!(content, b"big");
        drop(done);
        drop(session);
        script.thread.join().unwrap();
    }
}

#[test]
fn a_stalled_head_and_a_stalled_body_time_out_in_their_phase() {
    for (said, phase) in [
        ("", Phase::ReceiveHead),
        ("HTTP/1.1 2", Phase::ReceiveHead),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", Phase::ReceiveBody),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", Phase::ReceiveBody),
        ("HTTP/1.1 200 OK\r\n\r\nabc", Phase::ReceiveBody),
    ] {
        let script = script(vec![act(move |peer| {
            peer.head();
            peer.say(said);
            assert!(peer.is_left());
        })]);
        let mut session = client(&script);
        session.set_receive_timeout(Duration::from_millis(150));
        let started = Instant::now();
        let error = get(&mut session, "/").unwrap_err();
        let took = started.elapsed();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Timeout, Some(phase)), "{said:?}");
        assert!((140..600).contains(&took.as_millis()), "{took:?}");
        drop(session);
        script.thread.join().unwrap();
    }
}

#[test]
fn a_total_deadline_holds_over_a_dribbling_body() {
    let script = script(vec![act(|peer| {
        peer.head();
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while peer.stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(5)); // the slowness is under test
        }
    })]);
    let mut session = client(&script);
    let mut timeouts = session.timeouts();
    timeouts.total = Some(Duration::from_millis(200));
    session.set_timeouts(timeouts);
    let started = Instant::now();
    let error = get(&mut session, "/").unwrap_err();
    assert!(error.is_timeout());
    let took = started.elapsed();
    assert!((190..500).contains(&took.as_millis()), "{took:?}");
    drop(session);
    script.thread.join().unwrap();
}

#[test]
fn an_abort_ends_a_blocked_read_and_reset_makes_the_session_usable() {
    let (head_is_here, go) = std::sync::mpsc::channel();
    let script = script(vec![
        act(move |peer| {
            peer.head();
            peer.say("HTTP/1.1 200 OK\r\n\r\nno end");
            head_is_here.send(()).unwrap();
            assert!(peer.is_left());
        }),
        answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"),
    ]);
    let mut session = client(&script);
    let abort = session.abort_handle();
    let aborter = std::thread::spawn(move || {
        go.recv().unwrap();
        abort.abort();
        Instant::now()
    });
    let error = get(&mut session, "/").unwrap_err();
    let late = Instant::now().saturating_duration_since(aborter.join().unwrap());
    assert!(error.is_aborted(), "{error:?}");
    assert!(late < Duration::from_millis(100), "{late:?}");
    assert!(get(&mut session, "/").unwrap_err().is_aborted(), "until reset");
    session.reset();
    assert_eq!(get(&mut session, "/").unwrap().1, b"2");
    script.thread.join().unwrap();
}

/// One connection, served by a session; the function answers each request.
fn serve(
    params: ServerSessionParams,
    answer: impl Fn(&mut HttpServerSession, &Request) -> sessile::Result<()> + Send + 'static,
) -> (TcpStream, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let thread = std::thread::spawn(move || {
        let stream = Stream::Tcp(Socket::from_tcp(stream).unwrap());
        let mut session = HttpServerSession::new(stream, params).unwrap();
        let mut request = Request::default();
        while session.has_more_requests().unwrap_or(false) {
            let result = session.receive_request(&mut request).map(drop);
            if let Err(error) = result.and_then(|()| answer(&mut session, &request)) {
                let _ = session.send_error(&error);
            }
        }
        session.close();
    });
    (client, thread)
}

fn ok(session: &mut HttpServerSession, _: &Request) -> sessile::Result<()> {
    Ok(session.send_response(Response::new().set_content_length(2))?.write_all(b"ok")?)
}

/// Sends, half-closes, and reads all there is to read.
fn talk(mut client: TcpStream, bytes: &[u8]) -> String {
    client.write_all(bytes).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn statuses(answer: &str) -> Vec<u16> {
    answer.split("HTTP/1.1 ").skip(1).filter_map(|r| r[..3].parse().ok()).collect()
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (client, server) = serve(ServerSessionParams::default(), |session, request| {
        let text = request.target().to_owned();
        Ok(session.send_response(&Response::new())?.write_all(text.as_bytes())?)
    });
    let answer = talk(client, "GET /0 HTTP/1.1\r\nHost: h\r\n\r\nGET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n".as_bytes());
    assert_eq!(statuses(&answer), [200, 200, 200]);
    let order: Vec<_> =
        ["/0", "/1", "/2"].iter().map(|t| answer.find(&format!("Content-Length: 2\r\n\r\n{t}"))).collect();
    assert!(order.is_sorted() && order[0].is_some(), "{answer}");
    server.join().unwrap();
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused_and_nothing_behind_them_is_read() {
    let next = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for (request, status) in [
        (
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 0\r\n\r\nabcd", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\nabcd", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4x\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x4\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\nHost: h\r\n\r\n", 505),
        ("GET / HTTP/1.1\nHost: h\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nnothing\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nExpect: foo\r\n\r\n", 417),
    ] {
        let (client, server) = serve(ServerSessionParams::default(), ok);
        let answer = talk(client, format!("{request}{next}").as_bytes());
        assert_eq!(statuses(&answer), [status], "{request:?}: {answer}");
        for field in ["\r\nDate: ", "\r\nContent-Length: ", "\r\nConnection: close\r\n"] {
            assert!(answer.contains(field), "{field:?} in {answer}");
        }
        server.join().unwrap();
    }
}

#[test]
fn bad_chunks_are_refused_when_they_are_read() {
    for chunks in
        ["ZZ\r\n", "5\r\nhelloX", "+5\r\nhello\r\n0\r\n\r\n", "11111111111111111\r\n", "\r\n", "5\nhello\r\n"]
    {
        let (client, server) = serve(ServerSessionParams::default(), |session, request| {
            session.connection_mut().body_reader().skip()?;
            ok(session, request)
        });
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        assert_eq!(statuses(&talk(client, request.as_bytes())), [400], "{chunks:?}");
        server.join().unwrap();
    }
    let (client, server) = serve(ServerSessionParams::default(), |session, request| {
        assert_eq!(session.connection_mut().body_reader().skip()?, 5);
        ok(session, request)
    });
    let request =
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n000000005\r\nhello\r\n0\r\n\r\n";
    assert_eq!(statuses(&talk(client, request.as_bytes())), [200], "nine digits are fine");
    server.join().unwrap();
}

#[test]
fn unread_content_is_never_taken_for_a_request() {
    for (length, expected) in [(4_usize, &[200, 200][..]), (1_000_000, &[200])] {
        let (client, server) = serve(ServerSessionParams::default(), ok);
        let mut bytes =
            format!("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        bytes.resize(bytes.len() + length, b'b');
        bytes.extend_from_slice(b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(statuses(&talk(client, &bytes)), expected);
        server.join().unwrap();
    }
}

#[test]
fn persistence_follows_version_and_options() {
    for (head, closes, says) in [
        ("GET / HTTP/1.0\r\n\r\n", true, "Connection: close"),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, "Connection: keep-alive"),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: close, foo\r\n\r\n", true, "Connection: close"),
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", false, ""),
    ] {
        let (client, server) = serve(ServerSessionParams::default(), ok);
        let answer = talk(client, format!("{head}GET / HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        assert_eq!(statuses(&answer).len(), if closes { 1 } else { 2 }, "{head:?}");
        assert!(answer.contains(says), "{answer}");
        server.join().unwrap();
    }
}

#[test]
fn a_response_without_a_length_gets_one_or_is_chunked_or_closes() {
    let of = |n: usize| {
        move |session: &mut HttpServerSession, _: &Request| -> sessile::Result<()> {
            Ok(session.send_response(&Response::new())?.write_all(&vec![b'x'; n])?)
        }
    };
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let (client, server) = serve(ServerSessionParams::default(), of(100));
    assert!(talk(client, get.as_bytes()).contains("Content-Length: 100\r\n\r\nxxx"));
    server.join().unwrap();
    let (client, server) = serve(ServerSessionParams::default(), of(100_000));
    let answer = talk(client, get.as_bytes());
    assert!(answer.contains("Transfer-Encoding: chunked\r\n\r\n"), "{}", &answer[..200]);
    assert!(answer.ends_with("\r\n0\r\n\r\n"));
    server.join().unwrap();
    let (client, server) = serve(ServerSessionParams::default(), of(100_000));
    let answer = talk(client, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(answer.contains("Connection: close\r\n\r\nxxx"), "{}", &answer[..200]);
    assert_eq!(answer.matches('x').count(), 100_000);
    server.join().unwrap();
}

#[test]
fn head_204_and_304_have_no_content() {
    for (method, status, says) in [("HEAD", 200, "Content-Length: 2"), ("GET", 204, ""), ("GET", 304, "")] {
        let (client, server) = serve(ServerSessionParams::default(), move |session, _| {
            let mut response = Response::with_status(StatusCode::new(status)?);
            response.set_content_length(2);
            Ok(session.send_response(&response)?.write_all(b"ok")?)
        });
        let one = format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n");
        let answer = talk(client, format!("{one}{one}").as_bytes());
        assert_eq!(statuses(&answer), [status, status]);
        assert!(!answer.contains("ok"), "{answer}");
        assert!(answer.contains(says), "{answer}");
        if status == 204 {
            assert!(!answer.contains("Content-Length"), "{answer}");
        }
        server.join().unwrap();
    }
}

#[test]
fn a_response_shorter_than_announced_closes_the_connection() {
    let (client, server) = serve(ServerSessionParams::default(), |session, _| {
        Ok(session.send_response(Response::new().set_content_length(10))?.write_all(b"abc")?)
    });
    let get = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let answer = talk(client, format!("{get}{get}").as_bytes());
    assert_eq!(statuses(&answer), [200]);
    assert!(answer.ends_with("abc"));
    server.join().unwrap();
}

#[test]
fn continue_is_sent_when_the_content_is_first_read_and_never_otherwise() {
    let request = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let (mut client, server) = serve(ServerSessionParams::default(), |session, request| {
        let mut content = Vec::new();
        session.connection_mut().body_reader().read_to_end(&mut content)?;
        assert_eq!(content, b"hi");
        ok(session, request)
    });
    client.write_all(request.as_bytes()).unwrap();
    let mut line = [0; 25];
    client.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(statuses(&talk(client, b"hi")), [200]);
    server.join().unwrap();

    let (client, server) = serve(ServerSessionParams::default(), ok);
    let answer = talk(client, request.as_bytes());
    assert_eq!(statuses(&answer), [200], "no 100, and no second answer: {answer}");
    server.join().unwrap();
}

#[test]
fn a_head_that_does_not_come_in_time_is_a_408() {
    let mut params = ServerSessionParams::default();
    params.head_timeout = Duration::from_millis(150);
    let (mut client, server) = serve(params, ok);
    client.write_all(b"GET / HT").unwrap();
    let started = Instant::now();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(statuses(&answer), [408]);
    assert!((140..700).contains(&started.elapsed().as_millis()));
    server.join().unwrap();
}

#[test]
fn content_past_the_limit_is_a_413_before_it_is_read() {
    let mut params = ServerSessionParams::default();
    params.max_content = 10;
    for request in [
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
    ] {
        let (client, server) = serve(params.clone(), |session, request| {
            session.connection_mut().body_reader().skip()?;
            ok(session, request)
        });
        assert_eq!(statuses(&talk(client, request.as_bytes())), [413]);
        server.join().unwrap();
    }
}

#[test]
fn every_cut_of_a_request_gets_no_success() {
    let request = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for cut in 0..request.len() {
        let (client, server) = serve(ServerSessionParams::default(), |session, request| {
            session.connection_mut().body_reader().skip()?;
            ok(session, request)
        });
        let answer = talk(client, &request.as_bytes()[..cut]);
        assert!(statuses(&answer).iter().all(|&s| s >= 400), "{cut}: {answer}");
        server.join().unwrap();
    }
}

#[test]
fn bodies_can_be_sent_to_other_threads() {
    fn is_send<T: Send>() {}
    is_send::<sessile::session::BodyReader<'static>>();
    is_send::<sessile::session::BodyWriter<'static>>();
    is_send::<HttpClientSession>();
    is_send::<HttpServerSession>();
    is_send::<Box<dyn ClientSession>>();
    is_send::<sessile::session::OwnedResponseStream>();
    is_send::<sessile::session::Detached>();
}

#[test]
fn an_observer_is_told_of_the_phases_in_their_order_and_of_interim_responses() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);
    impl Observer for Seen {
        fn phase(&self, phase: Phase) {
            self.0.lock().unwrap().push(format!("{phase:?}"));
        }
        fn interim(&self, response: &Response) {
            self.0.lock().unwrap().push(response.status().to_string());
        }
    }
    let script = script(vec![act(|peer| {
        peer.head();
        peer.say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
        peer.head();
        peer.say("HTTP/1.1 204 No Content\r\n\r\n");
    })]);
    let seen = Arc::new(Seen::default());
    let mut session = client(&script);
    session.connection_mut().set_observer(Some(seen.clone()));
    let mut told = Vec::new();
    for _ in 0..2 {
        session.send_request(&Request::get("/")).unwrap();
        session.receive_response(&mut Response::new()).unwrap();
        told.push(std::mem::take(&mut *seen.0.lock().unwrap()));
    }
    assert_eq!(told[0], ["Resolve", "Connect", "Send", "ReceiveHead", "103", "ReceiveBody"]);
    assert_eq!(told[1], ["Send", "ReceiveHead", "ReceiveBody"], "the connection was there");
    drop(session);
    script.thread.join().unwrap();
}

#[test]
fn an_idempotent_upload_lost_on_a_reused_connection_says_that_it_may_be_made_again() {
    for (method, retryable) in [(Method::PUT, true), (Method::POST, false)] {
        let script = script(vec![act(|peer| {
            peer.head();
            peer.say("HTTP/1.1 204 No Content\r\n\r\n");
            peer.head();
        })]);
        let mut session = client(&script);
        session.send_request(&Request::get("/")).unwrap();
        session.receive_response(&mut Response::new()).unwrap();
        let mut request = Request::new(method.clone(), "/");
        request.set_content_length(100_000_000);
        let mut content = io::repeat(b'x').take(100_000_000);
        let error = session.exchange(&request, &mut content, &mut Response::new()).unwrap_err();
        assert_eq!(error.is_retryable(), retryable, "{method}: {error:?}");
        drop(session);
        script.thread.join().unwrap();
    }
}

#[test]
fn what_remains_of_content_counts_every_byte_once() {
    let script = script(vec![answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")]);
    let mut session = client(&script);
    session.send_request(&Request::get("/")).unwrap();
    let mut response = Response::new();
    let mut body = session.receive_response(&mut response).unwrap();
    assert_eq!(body.remaining(), Some(5));
    body.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(body.remaining(), Some(3));
    assert_eq!(body.fill_buf().unwrap(), b"llo");
    assert_eq!(body.remaining(), Some(3));
    drop(session);
    script.thread.join().unwrap();
}
