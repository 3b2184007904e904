//! What a peer that means harm, a broken one, or a caller in a hurry must not be able to do:
//! have bytes of one message taken for another, have a request made twice, have half an upload
//! look whole, or have a call wait without a limit.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sessile::ErrorKind;
use sessile::message::{Method, Request, Response, StatusCode, Version};
use sessile::net::{Limit, Pipe, Stream, Transport, pair};
use sessile::session::{
    ClientSession, HttpClientSession, HttpServerSession, ProxyConfig, ProxyProtocol, ServerSession,
    ServerSessionParams, Session, Timeouts,
};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

/// Reads a head, byte by byte; nothing behind it is taken. Empty at the end.
fn head(from: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(from.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Serves one connection after the other, each request by the next text of its list; then it closes.
/// Returns how many requests came on each.
fn peer(connections: Vec<Vec<String>>) -> (HttpClientSession, JoinHandle<Vec<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let mut counts = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut count = 0;
            for answer in answers {
                if head(&mut stream).is_empty() {
                    break;
                }
                count += 1;
                stream.write_all(answer.as_bytes()).unwrap();
            }
            counts.push(count);
        }
        counts
    });
    let mut session = HttpClientSession::new("127.0.0.1", port);
    session.set_timeout(Duration::from_secs(5));
    (session, thread)
}

/// A client on one end of a pair, with short limits, and the other end.
fn piped() -> (HttpClientSession, Pipe) {
    let (near, far) = pair();
    let mut session = HttpClientSession::with_stream(Stream::custom(near)).unwrap();
    session.set_timeout(Duration::from_secs(5));
    (session, far)
}

/// A server on one end of a pair whose client has said this.
fn asked(text: &str) -> (HttpServerSession, Pipe) {
    let (near, mut far) = pair();
    far.write_all(text.as_bytes()).unwrap();
    (HttpServerSession::new(Stream::custom(near), ServerSessionParams::default()).unwrap(), far)
}

fn content(session: &mut HttpClientSession) -> sessile::Result<String> {
    let mut text = String::new();
    session.receive_response(&mut Response::new())?.read_to_string(&mut text)?;
    Ok(text)
}

fn get(session: &mut HttpClientSession) -> sessile::Result<String> {
    session.send_request(&Request::get("/"))?;
    content(session)
}

fn chunked(target: &str) -> Request {
    let mut request = Request::post(target);
    request.set_chunked(true);
    request
}

// One message taken for another.

#[test]
fn a_second_answer_in_one_packet_is_not_the_next_response() {
    for first in [ANSWER, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n"] {
        let both = format!("{first}{EVIL}");
        let (mut session, thread) = peer(vec![vec![both], vec![ANSWER.to_owned()]]);
        get(&mut session).unwrap();
        // At once: the connection looks fresh.
        assert_eq!(get(&mut session).unwrap(), "good", "behind {first:?}");
        assert_eq!(thread.join().unwrap(), [1, 1]);
    }
}

#[test]
fn a_second_answer_on_a_stream_of_the_caller_s_is_an_error() {
    let (mut session, mut far) = piped();
    far.write_all(format!("{ANSWER}{EVIL}").as_bytes()).unwrap();
    assert_eq!(get(&mut session).unwrap(), "good");
    assert!(get(&mut session).is_err());
    assert!(!session.is_connected());
}

#[test]
fn a_response_to_head_with_content_is_not_followed_by_another_on_its_connection() {
    let (mut session, thread) = peer(vec![vec![ANSWER.to_owned()], vec![ANSWER.to_owned()]]);
    session.send_request(&Request::head("/")).unwrap();
    assert_eq!(content(&mut session).unwrap(), "");
    assert_eq!(get(&mut session).unwrap(), "good");
    assert_eq!(thread.join().unwrap(), [1, 1]);
}

#[test]
fn a_request_that_asks_for_close_is_the_last_one_of_its_connection() {
    let (mut session, thread) = peer(vec![vec![ANSWER.to_owned()], vec![ANSWER.to_owned()]]);
    let mut request = Request::get("/");
    request.set_keep_alive(false);
    session.send_request(&request).unwrap();
    content(&mut session).unwrap();
    assert!(session.must_reconnect());
    assert_eq!(get(&mut session).unwrap(), "good");
    assert_eq!(thread.join().unwrap(), [1, 1]);
}

#[test]
fn a_request_is_not_put_behind_unread_content_by_send_request_impl() {
    let (mut session, mut far) = piped();
    far.write_all(ANSWER.as_bytes()).unwrap();
    session.send_request(&Request::get("/")).unwrap();
    session.receive_response(&mut Response::new()).unwrap();
    let error = session.send_request_impl(&Request::get("/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IllegalState);
    let mut text = String::new();
    session.connection_mut().body_reader().read_to_string(&mut text).unwrap();
    assert_eq!(text, "good");
    session.send_request_impl(&Request::get("/")).unwrap();
}

#[test]
fn unread_content_is_not_the_next_request_for_who_does_not_ask_whether_there_is_more() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    let (mut session, _far) = asked(&format!(
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{hidden}GET /b HTTP/1.1\r\nHost: h\r\n\r\n",
        hidden.len()
    ));
    let mut request = Request::default();
    for target in ["/a", "/b"] {
        session.receive_request(&mut request).unwrap();
        assert_eq!(request.target(), target);
        let mut response = Response::new();
        response.set_content_length(0);
        session.send_response(&response).unwrap();
    }
}

#[test]
fn nothing_is_received_behind_a_request_that_was_refused() {
    let (mut session, _far) =
        asked("GET / HTTP/1.1\r\nHost : h\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut request = Request::default();
    assert_eq!(session.receive_request(&mut request).unwrap_err().kind(), ErrorKind::Malformed);
    assert_eq!(session.receive_request(&mut request).unwrap_err().kind(), ErrorKind::IllegalState);
}

#[test]
fn nothing_is_received_behind_a_response_that_said_close() {
    let (mut session, _far) = asked(
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    let mut request = Request::default();
    session.receive_request(&mut request).unwrap();
    session.send_response(&Response::new()).unwrap().write_all(b"x").unwrap();
    assert_eq!(session.receive_request(&mut request).unwrap_err().kind(), ErrorKind::IllegalState);
}

#[test]
fn bytes_taken_past_the_session_cost_its_connection_and_never_a_panic() {
    let (mut session, mut far) = piped();
    far.write_all(ANSWER.as_bytes()).unwrap();
    session.send_request(&Request::get("/")).unwrap();
    let mut body = session.receive_response(&mut Response::new()).unwrap();
    assert_eq!(body.fill_buf().unwrap(), b"good");
    let connection = session.connection_mut();
    assert_eq!(connection.get().unwrap(), Some(b'g'));
    let mut byte = [0];
    assert_eq!(connection.read(&mut byte).unwrap(), 1);
    assert_eq!(connection.drain_buffer(), b"od");
    let _ = connection.body_reader().fill_buf();
    assert!(!connection.is_reusable());
    assert!(get(&mut session).is_err());
    assert!(!session.is_connected());
}

#[test]
fn content_left_behind_a_drained_buffer_is_not_the_next_response() {
    let (mut session, mut far) = piped();
    far.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nha").unwrap();
    session.send_request(&Request::get("/")).unwrap();
    session.receive_response(&mut Response::new()).unwrap();
    assert_eq!(session.drain_buffer(), b"ha");
    far.write_all(EVIL.as_bytes()).unwrap();
    assert!(get(&mut session).is_err());
}

// Half a message that looks whole.

#[test]
fn an_upload_that_could_not_be_sent_is_not_ended_as_if_it_was_whole() {
    let (mut session, mut far) = piped();
    let times = Timeouts { send: Duration::from_millis(200), ..session.timeouts() };
    session.set_timeouts(times);
    let mut upload = session.send_request(&chunked("/")).unwrap();
    // Fills the pipe to the brim; what comes next finds no room at all.
    upload.flush().unwrap();
    let mut sent = 0;
    let error = loop {
        match upload.write_all(&[b'x'; 1000]).and_then(|()| upload.flush()) {
            Ok(()) => sent += 1000,
            Err(error) => break sessile::Error::from(error),
        }
    };
    assert!(error.is_timeout() && sent > 0, "{error}");
    assert!(upload.write(b"more").is_err());
    assert!(upload.finish().is_err());
    let answers = thread::spawn(move || {
        let mut taken = Vec::new();
        let mut block = [0; 1 << 16];
        let within = Limit::stall(Duration::from_millis(300));
        far.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
        while let Ok(n @ 1..) = Transport::read(&mut far, &mut block, &within) {
            taken.extend_from_slice(&block[..n]);
        }
        taken
    });
    let mut response = Response::new();
    session.receive_response(&mut response).unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    drop(session);
    assert!(!answers.join().unwrap().ends_with(b"0\r\n\r\n"));
}

#[test]
fn a_response_whose_trailer_can_not_be_sent_is_the_last_one_of_its_connection() {
    let (mut session, mut far) =
        asked("GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut request = Request::default();
    assert!(session.has_more_requests().unwrap());
    session.receive_request(&mut request).unwrap();
    let mut response = Response::new();
    response.set_chunked(true);
    let mut body = session.send_response(&response).unwrap();
    body.write_all(b"x").unwrap();
    assert_eq!(body.set_trailer("Set-Cookie", "a=b").unwrap_err().kind(), ErrorKind::InvalidArgument);
    // Past that check.
    session.response_trailer_mut().set("Set-Cookie", "a=b").unwrap();
    let body = session.connection_mut().body_writer();
    assert_eq!(body.finish().unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(!session.has_more_requests().unwrap_or(false));
    drop(session);
    let mut answer = String::new();
    far.read_to_string(&mut answer).unwrap();
    assert!(!answer.contains("0\r\n\r\n"), "{answer}");
}

#[test]
fn a_request_whose_trailer_can_not_be_sent_is_not_waited_for() {
    let (mut session, _far) = piped();
    let mut body = session.send_request(&chunked("/")).unwrap();
    body.write_all(b"x").unwrap();
    session.request_trailer_mut().set("Content-Length", "1").unwrap();
    assert!(session.request_body().finish().is_err());
    let started = Instant::now();
    assert!(session.receive_response(&mut Response::new()).is_err());
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[test]
fn content_short_of_its_length_stays_an_error_however_often_it_is_ended() {
    let (mut session, _far) = piped();
    let mut request = Request::post("/");
    request.set_content_length(10);
    let mut body = session.send_request(&request).unwrap();
    body.write_all(b"short").unwrap();
    assert_eq!(body.finish().unwrap_err().kind(), ErrorKind::Incomplete);
    let error = session.receive_response(&mut Response::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
}

#[test]
fn a_peeked_response_is_cut_off_whatever_response_is_handed_in_for_it() {
    let (mut session, mut far) = piped();
    let mut request = chunked("/");
    request.headers_mut().set("Expect", "100-continue").unwrap();
    session.send_request(&request).unwrap();
    far.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nshort").unwrap();
    drop(far);
    assert!(!session.peek_response(&mut Response::new()).unwrap());
    let error = content(&mut session).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
}

#[test]
fn trailers_of_one_request_do_not_go_with_the_next() {
    let (mut session, mut far) = piped();
    far.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    let mut request = Request::post("/");
    request.set_content_length(0);
    session.send_request(&request).unwrap();
    session.request_trailer_mut().set("X-Digest", "of-the-first").unwrap();
    session.receive_response(&mut Response::new()).unwrap();
    session.send_request(&chunked("/")).unwrap();
    session.flush_request().unwrap();
    drop(session);
    let mut sent = String::new();
    far.read_to_string(&mut sent).unwrap();
    assert!(sent.ends_with("\r\n\r\n0\r\n\r\n"), "{sent}");
}

#[test]
fn a_205_has_no_content() {
    let (mut session, mut far) = asked("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    session.receive_request(&mut Request::default()).unwrap();
    let response = Response::with_status(StatusCode::RESET_CONTENT);
    session.send_response(&response).unwrap().write_all(b"content").unwrap();
    assert!(session.connection_mut().flush().is_ok());
    drop(session);
    let mut answer = String::new();
    far.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("Content-Length: 0\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

// A request made twice.

#[test]
fn a_request_on_a_connection_made_anew_by_hand_is_not_made_twice() {
    let (mut session, thread) =
        peer(vec![vec![ANSWER.to_owned()], vec![String::new()], vec![ANSWER.to_owned()]]);
    get(&mut session).unwrap();
    session.reconnect().unwrap();
    assert!(get(&mut session).is_err(), "the connection had served nothing");
    session.reset();
    assert_eq!(get(&mut session).unwrap(), "good");
    assert_eq!(thread.join().unwrap(), [1, 1, 1]);
}

#[test]
fn a_request_whose_connection_was_made_anew_has_no_response() {
    let (mut session, thread) = peer(vec![vec![], vec![ANSWER.to_owned()]]);
    session.send_request(&Request::get("/")).unwrap();
    session.reconnect().unwrap();
    let error = session.receive_response(&mut Response::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IllegalState);
    assert_eq!(get(&mut session).unwrap(), "good");
    thread.join().unwrap();
}

// What is sent where it must not go, or can be read in two ways.

#[test]
fn a_target_does_not_name_another_host_to_a_proxy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut session =
        HttpClientSession::with_proxy("example.com", 80, ProxyConfig::new("127.0.0.1", port)).unwrap();
    for target in ["@evil.test/", ".evil.test/", ":81@evil.test/", "?x", "x"] {
        let error = session.send_request(&Request::get(target)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{target}");
    }
}

#[test]
fn framing_that_could_be_read_in_two_ways_is_not_sent() {
    let (mut session, mut far) = piped();
    let lengths = {
        let mut request = Request::post("/");
        request.headers_mut().append("Content-Length", "4").unwrap();
        request.headers_mut().append("Content-Length", "4").unwrap();
        request
    };
    let with_coding = |coding: &str| {
        let mut request = Request::post("/");
        request.headers_mut().append("Transfer-Encoding", coding).unwrap();
        request
    };
    let twice = {
        let mut request = with_coding("chunked");
        request.headers_mut().append("Transfer-Encoding", "chunked").unwrap();
        request
    };
    for request in [lengths, twice, with_coding("gzip, chunked"), with_coding("chunked, chunked")] {
        let error = session.send_request(&request).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{request:?}");
    }
    drop(session);
    let mut sent = Vec::new();
    far.read_to_end(&mut sent).unwrap();
    assert!(sent.is_empty());
}

// Numbers.

#[test]
fn how_much_content_is_to_come_is_counted_once_and_does_not_overflow() {
    for length in [5, u64::MAX] {
        let (mut session, _far) =
            asked(&format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\nhello"));
        let mut body = session.receive_request(&mut Request::default()).unwrap();
        assert_eq!(body.remaining(), Some(length));
        assert_eq!(body.fill_buf().unwrap(), b"hello");
        assert_eq!(body.remaining(), Some(length), "nothing was taken yet");
        body.consume(2);
        assert_eq!(body.remaining(), Some(length - 2));
    }
}

// Waiting.

#[test]
fn a_refusal_that_came_with_an_interim_response_ends_an_exchange() {
    let (mut session, mut far) = piped();
    far.write_all(
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
    )
    .unwrap();
    let started = Instant::now();
    let mut response = Response::new();
    let mut content = std::io::repeat(b'x');
    session.exchange(&chunked("/"), &mut content, &mut response).unwrap();
    assert_eq!(response.status().as_u16(), 413);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_refusal_that_came_with_the_100_ends_an_upload() {
    let (mut session, mut far) = piped();
    let mut request = chunked("/");
    request.headers_mut().set("Expect", "100-continue").unwrap();
    far.write_all(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
    )
    .unwrap();
    session.send_request(&request).unwrap();
    let mut response = Response::new();
    assert!(session.peek_response(&mut response).unwrap());
    let started = Instant::now();
    let mut upload = session.request_body();
    while !upload.is_answered() {
        upload.write_all(&[b'x'; 20_000]).unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    session.receive_response(&mut response).unwrap();
    assert_eq!(response.status().as_u16(), 413);
}

#[test]
fn heads_do_not_pile_up_for_a_client_that_reads_nothing() {
    let (near, mut far) = pair();
    let mut params = ServerSessionParams::default();
    params.timeouts.send = Duration::from_millis(100);
    let mut session = HttpServerSession::new(Stream::custom(near), params).unwrap();
    far.write_all("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100).as_bytes()).unwrap();
    let mut response = Response::new();
    response.headers_mut().set("X-Large", "x".repeat(30_000)).unwrap();
    let mut sent = 0;
    let error = loop {
        assert!(session.has_more_requests().unwrap());
        session.receive_request(&mut Request::default()).unwrap();
        match session.send_response(&response) {
            Ok(_) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_timeout() && sent < 10, "{sent}: {error}");
    drop(far);
}

#[test]
fn the_end_of_an_upload_does_not_dead_lock_with_its_answer() {
    let (mut session, mut far) = piped();
    let server = thread::spawn(move || {
        // More than the pipe holds, before anything is read.
        let content = vec![b'y'; 100 << 10];
        far.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n19000\r\n").unwrap();
        far.write_all(&content).unwrap();
        far.write_all(b"\r\n").unwrap();
        let mut taken = Vec::new();
        let mut block = [0; 1 << 14];
        while !taken.ends_with(b"0\r\n\r\n") {
            match Read::read(&mut far, &mut block) {
                Ok(n @ 1..) => taken.extend_from_slice(&block[..n]),
                _ => return false,
            }
        }
        far.write_all(b"0\r\n\r\n").unwrap();
        true
    });
    let mut upload = session.send_request(&chunked("/")).unwrap();
    // One chunk that, with the head, leaves little room in the pipe of 64 KiB, and one for which
    // there is none.
    upload.write_all(&vec![b'x'; (64 << 10) - 200]).unwrap();
    upload.write_all(&[b'x'; 300]).unwrap();
    let started = Instant::now();
    let mut text = Vec::new();
    let got = session.receive_response(&mut Response::new()).map(|mut body| body.read_to_end(&mut text));
    assert!(got.is_ok(), "{got:?}");
    assert_eq!(text.len(), 100 << 10);
    assert!(started.elapsed() < Duration::from_secs(2));
    assert!(server.join().unwrap());
}

#[test]
fn a_response_that_nobody_takes_is_an_error_and_not_an_idle_connection() {
    let (near, mut far) = pair();
    far.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut params = ServerSessionParams::default();
    params.timeouts.send = Duration::from_millis(100);
    let mut session = HttpServerSession::new(Stream::custom(near), params).unwrap();
    assert!(session.has_more_requests().unwrap());
    session.receive_request(&mut Request::default()).unwrap();
    // Leaves a little more than the pipe of 64 KiB has room for, which waits in the buffer.
    let mut response = Response::new();
    response.set_content_length((64 << 10) + 100);
    let mut body = session.send_response(&response).unwrap();
    body.write_all(&[b'x'; 60 << 10]).unwrap();
    body.write_all(&[b'x'; (4 << 10) + 100]).unwrap();
    let error = session.has_more_requests().unwrap_err();
    assert!(error.is_timeout());
}

#[test]
fn a_socks_proxy_that_says_nothing_is_not_waited_for_without_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut proxy = ProxyConfig::new("127.0.0.1", listener.local_addr().unwrap().port());
    proxy.set_protocol(ProxyProtocol::Socks5h);
    let mut session = HttpClientSession::with_proxy("h.test", 80, proxy).unwrap();
    session.set_timeouts(Timeouts {
        connect: Duration::ZERO,
        receive: Duration::from_millis(200),
        ..Timeouts::default()
    });
    let (said, heard) = mpsc::channel();
    thread::spawn(move || said.send(session.send_request(&Request::get("/")).map(drop)));
    let error = heard.recv_timeout(Duration::from_secs(5)).unwrap().unwrap_err();
    assert!(error.is_timeout(), "{error}");
}

#[test]
fn the_deadline_of_one_exchange_is_none_for_a_tunnel_made_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let serve = |says: &str| {
            let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
            head(&mut stream);
            stream.write_all(says.as_bytes()).unwrap();
            stream
        };
        (serve(ANSWER), serve("HTTP/1.1 200 OK\r\n\r\n"))
    });
    let mut session =
        HttpClientSession::with_proxy("example.com", 80, ProxyConfig::new("127.0.0.1", port)).unwrap();
    session.set_timeouts(Timeouts { total: Some(Duration::from_millis(300)), ..Timeouts::default() });
    get(&mut session).unwrap();
    let sent = Instant::now();
    while sent.elapsed() < Duration::from_millis(320) {
        thread::yield_now();
    }
    session.proxy_connect().unwrap();
    thread.join().unwrap();
}

#[test]
fn a_version_or_option_that_ends_the_connection_is_believed_of_our_own_request() {
    let (mut session, thread) = peer(vec![vec![ANSWER.to_owned()], vec![ANSWER.to_owned()]]);
    let mut request = Request::new(Method::GET, "/");
    request.set_version(Version::Http10);
    request.headers_mut().set("Connection", "TE").unwrap();
    session.send_request(&request).unwrap();
    content(&mut session).unwrap();
    assert_eq!(get(&mut session).unwrap(), "good");
    assert_eq!(thread.join().unwrap(), [1, 1]);
}
