//! What is refused: with which status, in what form, and so that the client gets to read it.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/server.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use sessile::message::{Request, Response, StatusCode};
use sessile::net::{Limit, Stream, Transport, pair};
use sessile::server::{HttpServer, HttpServerParams, ServerRequest, ServerResponse};
use sessile::session::{ClientSession, HttpClientSession, Session};
use support::{Answer, End, Running};

fn echo(request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> sessile::Result<()> {
    let mut content = Vec::new();
    request.read_to_end(&mut content)?;
    response.send_buffer(&content)
}

/// What is to be refused, and how.
fn refusals() -> Vec<(u16, String)> {
    let get = |line: &str, fields: &str| format!("{line}\r\nHost: t\r\n{fields}\r\n");
    let chunked =
        |content: &str| format!("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n{content}");
    let many: String = (0..100).map(|n| format!("X-{n}: y\r\n")).collect();
    let long: String = (0..9).map(|n| format!("X-{n}: {}\r\n", "y".repeat(8000))).collect();
    vec![
        (400, get("GET /", "")),
        (400, get("G@T / HTTP/1.1", "")),
        (400, get("GET nowhere HTTP/1.1", "")),
        (400, get("GET / HTTP/1.1", "X Y: z\r\n")),
        (400, "GET / HTTP/1.1\r\n\r\n".into()),
        // What is wrong with the line comes first.
        (400, get("GET nowhere HTTP/1.1", &many)),
        (400, get("POST / HTTP/1.1", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n")),
        (400, chunked("x\r\n")),
        (400, chunked(&format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(300)))),
        (400, chunked(&format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(100)))),
        (413, get("POST / HTTP/1.1", "Content-Length: 100001\r\n")),
        (413, get("POST / HTTP/1.1", "Content-Length: 18446744073709551615\r\n")),
        (413, chunked(&format!("186a1\r\n{}\r\n0\r\n\r\n", "x".repeat(100_001)))),
        (414, get(&format!("GET /{} HTTP/1.1", "x".repeat(17_000)), "")),
        (417, get("POST / HTTP/1.1", "Expect: a-miracle\r\nContent-Length: 1\r\n")),
        (431, get("GET / HTTP/1.1", &many)),
        (431, get("GET / HTTP/1.1", &long)),
        (431, chunked(&format!("0\r\n{long}\r\n"))),
        (501, get("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked\r\n")),
        (501, "CONNECT t:1 HTTP/1.1\r\nHost: t:1\r\n\r\n".into()),
        (505, get("GET / HTTP/2.0", "")),
        (505, get("GET / HTTP/0.9", "")),
    ]
}

fn is_well_formed(answer: &Answer) {
    assert!(answer.header("Date").is_some_and(|date| date.ends_with(" GMT")), "{answer:?}");
    assert_eq!(answer.header("Content-Length"), Some(&*answer.body.len().to_string()), "{answer:?}");
    assert!(answer.closes(), "{answer:?}");
}

#[test]
fn every_limit_and_every_fault_has_its_status_in_a_response_that_is_well_formed_and_the_last() {
    let server = Running::with(HttpServerParams::new().with_max_content(100_000), echo);
    for (status, request) in refusals() {
        let mut client = server.connect();
        client.try_send(format!("{request}GET /hidden HTTP/1.1\r\nHost: t\r\n\r\n"));
        let answer = client.answer();
        let shown = &request[..request.len().min(100)];
        assert_eq!(answer.status, status, "{shown:?}");
        is_well_formed(&answer);
        assert_eq!(client.end(), End::Closed, "{shown:?}");
    }
}

#[test]
fn a_refusal_is_not_lost_to_a_reset_while_the_client_sends_on() {
    let params = HttpServerParams::new().with_drain(256 << 10, Duration::from_secs(10));
    let server = Running::with(params.with_max_content(100_000), echo);
    for (status, request) in refusals() {
        let mut client = server.connect();
        client.send(&request);
        // None of it is read by anybody, and all of it has to be got rid of.
        let sent = (0..30).take_while(|_| client.try_send([b'z'; 10_000])).count();
        let answer = client.answer();
        assert_eq!((answer.status, sent), (status, 30), "{:?}", &request[..request.len().min(100)]);
        assert_eq!(client.end(), End::Closed);
    }
}

#[test]
fn known_content_that_is_too_large_is_refused_before_any_of_it_is_sent() {
    let server = Running::with(HttpServerParams::new().with_max_content(10), echo);
    for expect in ["", "Expect: 100-continue\r\n"] {
        let mut client = server.connect();
        let started = Instant::now();
        client.send(format!("POST / HTTP/1.1\r\nHost: t\r\n{expect}Content-Length: 11\r\n\r\n"));
        assert_eq!(client.answer().status, 413, "and no 100");
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn a_refusal_of_head_has_no_content() {
    let params = HttpServerParams::new().with_head_timeout(Duration::from_millis(50));
    let server = Running::with(params, |_, _| Ok(()));
    for (request, status) in [
        ("HEAD / HTTP/1.1\r\n\r\n", 400),
        ("\r\nHEAD / HTTP/1.1\r\nHost : t\r\n\r\n", 400),
        ("HEAD / HTTP/9.1\r\nHost: t\r\n\r\n", 505),
        ("HEAD / HTTP/1.1\r\nHost: t\r\nExpect: foo\r\n\r\n", 417),
        ("HEAD / HTTP/1.1\r\nHost: t\r\nX", 408),
        ("HEAD / HTTP/1.1\r\nHost: t\r\n\r\n", 500),
    ] {
        let mut client = server.connect();
        let answer = client.send(request).answer_to("HEAD");
        assert_eq!(answer.status, status, "{request:?}");
        assert!(answer.closes() && answer.header("Content-Length").is_some());
        assert_eq!(client.end(), End::Closed, "{request:?}");
    }
}

/// Serves one connection on this thread, over which these bytes come and then their end.
fn served(server: &HttpServer, bytes: &[u8]) -> String {
    let (near, mut far) = pair();
    far.write_all(bytes).unwrap();
    Transport::shutdown(&mut far, Shutdown::Write, &Limit::none()).unwrap();
    server.serve(Stream::custom(near));
    let mut answer = String::new();
    far.read_to_string(&mut answer).unwrap();
    answer
}

fn statuses(answer: &str) -> Vec<u16> {
    answer.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest[..3].parse().ok()).collect()
}

#[test]
fn every_cut_of_a_request_at_every_byte_is_no_request_and_over_at_once() {
    let server = HttpServer::new(HttpServerParams::new(), echo);
    let whole = "GET /a?b HTTP/1.1\r\nHost: t\r\nAccept: */*\r\n\r\n";
    for request in [
        whole,
        "HEAD / HTTP/1.0\r\n\r\n",
        "\r\nOPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello",
        "PUT / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;a=\"b\"\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 5\r\n\r\n",
    ] {
        for cut in 0..request.len() {
            let started = Instant::now();
            let alone = served(&server, &request.as_bytes()[..cut]);
            assert!(
                statuses(&alone).iter().all(|&status| status == 100 || status == 400),
                "{cut} of {request:?}: {alone}"
            );
            // What came before it is answered all the same, and nothing is answered twice.
            let behind = served(&server, &[whole.as_bytes(), &request.as_bytes()[..cut]].concat());
            let all = statuses(&behind);
            assert!(
                all[0] == 200 && all[1..].iter().all(|&status| status == 100 || status == 400),
                "{behind}"
            );
            assert!(started.elapsed() < Duration::from_secs(5));
        }
        assert!(statuses(&served(&server, request.as_bytes())).ends_with(&[200]), "{request:?}");
    }
}

/// Answers one request with these bytes and closes.
fn elsewhere(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        if answer.is_empty() {
            // Silent until the client has gone.
            let _ = stream.read(&mut [0; 1]);
        }
    });
    port
}

#[test]
fn what_went_wrong_with_another_server_is_not_the_client_s_fault_and_is_answered() {
    let server = Running::with(HttpServerParams::new(), |request, response| {
        let port: u16 = request.query().and_then(|port| port.parse().ok()).unwrap_or(0);
        let mut session = HttpClientSession::new("127.0.0.1", port);
        session.set_receive_timeout(Duration::from_millis(100));
        let mut ask = || {
            session.send_request(&Request::get("/"))?;
            let mut text = String::new();
            session.receive_response(&mut Response::new())?.read_to_string(&mut text)?;
            sessile::Result::Ok(text)
        };
        let text = match request.path() {
            "/chosen" => ask().map_err(|error: sessile::Error| error.with_status(StatusCode::BAD_GATEWAY))?,
            _ => ask()?,
        };
        response.send_buffer(text.as_bytes())
    });
    let refuses = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for port in [
        refuses,
        elsewhere(""),
        elsewhere("nonsense\r\n\r\n"),
        elsewhere("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"),
        elsewhere("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx"),
        elsewhere("HTTP/1.1 200 OK\r\nContent-"),
        elsewhere("HTTP/2.0 200 OK\r\n\r\n"),
    ] {
        let mut client = server.connect();
        let answer = client.get(&format!("/?{port}")).answer();
        assert_eq!(answer.status, 500, "{answer:?}");
        is_well_formed(&answer);
    }
    let answer = server.connect().get(&format!("/chosen?{}", elsewhere("nonsense\r\n\r\n"))).answer();
    assert_eq!(answer.status, 502);
    // And what the client did wrong is still its own fault.
    let mut client = server.connect();
    client.send("GET /?x HTTP/1.1\r\nHost : t\r\n\r\n");
    assert_eq!(client.answer().status, 400);
}
