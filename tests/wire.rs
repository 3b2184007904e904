//! What goes over the wire, row by row of the cases in which Poco's server (W) and client (C) were
//! probed: the request or response, and the answer that is right.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sessile::ErrorKind;
use sessile::message::{Request, Response, StatusCode};
use sessile::server::{
    HttpServer, HttpServerParams, RequestHandler, RequestHandlerFactory, ServerRequest, ServerResponse,
};
use sessile::session::{ClientSession, HttpClientSession, Session};

/// A server that echoes method and target, or what the path asks for; stopped when dropped.
struct Server(HttpServer);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.stop_all(true);
    }
}

impl Server {
    fn start(params: HttpServerParams) -> Server {
        let mut server = HttpServer::bind_with("127.0.0.1:0", params, answer).unwrap();
        server.start().unwrap();
        Server(server)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.0.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// All that is answered to these bytes.
    fn answers(&self, bytes: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }
}

fn answer(request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> sessile::Result<()> {
    match request.path() {
        "/read" => {
            let mut content = Vec::new();
            request.read_to_end(&mut content)?;
            response.send_buffer(&content)
        }
        "/inject" => {
            response.headers_mut().set("X-Value", "b\r\nX-Injected: yes")?;
            response.send_buffer(b"never")
        }
        "/no-content" => {
            response.set_status(StatusCode::NO_CONTENT).set_chunked(true);
            response.send()?.write_all(b"never")?;
            Ok(())
        }
        "/panic" => panic!("a handler that panics"),
        "/long" => {
            response.set_content_length(10);
            response.send()?.write_all(b"abc")?;
            Ok(())
        }
        "/short" => {
            response.set_content_length(3);
            let error = response.send()?.write_all(b"abcdef").unwrap_err();
            assert_eq!(sessile::Error::from(error).kind(), ErrorKind::InvalidArgument);
            Ok(())
        }
        "/stream" => {
            let mut body = response.send()?;
            body.write_all(b"one ")?;
            body.flush()?;
            body.write_all(b"two")?;
            Ok(())
        }
        "/nothing" => Ok(()),
        _ => {
            let text = format!("{} {}", request.method(), request.target());
            response.send_buffer(text.as_bytes())
        }
    }
}

fn server() -> Server {
    Server::start(HttpServerParams::new())
}

fn statuses(answer: &str) -> Vec<u16> {
    answer.split("HTTP/1.1 ").skip(1).filter_map(|r| r[..3].parse().ok()).collect()
}

/// One refusal that says all it should, and nothing behind it.
fn refused(request: &str, status: u16) {
    let answer = server().answers(&format!("{request}GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert_eq!(statuses(&answer), [status], "{request:?}: {answer}");
    for field in ["\r\nDate: ", "\r\nContent-Length: ", "\r\nConnection: close\r\n"] {
        assert!(answer.contains(field), "{field:?} in {answer}");
    }
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn w1_unread_content_is_not_the_next_request() {
    let answer = server().answers(
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbodyGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    assert_eq!(statuses(&answer), [200, 200]);
    assert!(answer.ends_with("GET /b"), "{answer}");
}

#[test]
fn w2_a_length_and_chunked_are_refused() {
    refused(
        "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
        400,
    );
}

#[test]
fn w3_two_lengths_are_refused() {
    refused("POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 0\r\n\r\nabcd", 400);
}

#[test]
fn w4_a_coding_that_is_not_known_is_refused() {
    refused("POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501);
}

#[test]
fn w5_a_blank_before_the_colon_is_refused() {
    refused(
        "POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\nabcd",
        400,
    );
}

#[test]
fn w6_a_negative_length_is_refused() {
    refused("POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n", 400);
}

#[test]
fn w7_lengths_that_are_no_numbers_are_refused() {
    for length in ["4x", "4, 4", "0x4", "", "4 4"] {
        refused(&format!("POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\nabcd"), 400);
    }
}

#[test]
fn w8_a_length_with_a_plus_is_refused() {
    refused("POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\nabcd", 400);
}

#[test]
fn w9_host_comes_exactly_once() {
    refused("GET /a HTTP/1.1\r\n\r\n", 400);
    refused("GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400);
}

#[test]
fn w10_another_major_version_is_refused_in_our_own() {
    refused("GET /a HTTP/9.9\r\nHost: h\r\n\r\n", 505);
}

#[test]
fn w11_http_1_0_persists_only_if_it_says_so() {
    let one = server().answers(&format!("GET /a HTTP/1.0\r\n\r\n{GET}"));
    assert_eq!(statuses(&one), [200]);
    assert!(one.contains("Connection: close\r\n"));
    let kept = server().answers(&format!("GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n{GET}"));
    assert_eq!(statuses(&kept), [200, 200]);
    assert!(kept.contains("Connection: keep-alive\r\n"));
}

#[test]
fn w12_close_is_found_among_other_options() {
    let answer =
        server().answers(&format!("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close, foo\r\n\r\n{GET}"));
    assert_eq!(statuses(&answer), [200]);
    assert!(answer.contains("Connection: close\r\n"));
}

#[test]
fn w13_bare_line_feeds_are_refused() {
    refused("GET /a HTTP/1.1\nHost: h\n\n", 400);
}

#[test]
fn w14_a_line_without_a_colon_is_refused() {
    refused("GET /a HTTP/1.1\r\nHost: h\r\nnothing\r\n\r\n", 400);
}

#[test]
fn w15_a_folded_field_is_refused() {
    refused("GET /a HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400);
}

#[test]
fn w16_empty_lines_before_a_request_are_skipped() {
    assert_eq!(statuses(&server().answers(&format!("\r\n\r\n{GET}"))), [200]);
}

#[test]
fn w17_too_many_fields_are_a_431() {
    let fields: String = (0..101).map(|n| format!("X-{n}: {n}\r\n")).collect();
    refused(&format!("GET /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n"), 431);
}

#[test]
fn w18_a_chunk_size_that_is_none_is_refused() {
    refused("POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", 400);
}

#[test]
fn w19_a_chunk_size_may_have_nine_digits() {
    let answer = server().answers(
        "POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n000000005\r\nhello\r\n0\r\n\r\n",
    );
    assert!(answer.ends_with("hello"), "{answer}");
}

#[test]
fn w20_a_chunk_ends_with_a_line_end() {
    refused("POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n", 400);
}

#[test]
fn w21_content_is_invited_when_it_is_first_read() {
    let server = server();
    let head = |path| {
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    };
    let mut stream = server.connect();
    stream.write_all(head("/read").as_bytes()).unwrap();
    let mut invitation = [0; 25];
    stream.read_exact(&mut invitation).unwrap();
    assert_eq!(&invitation, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hi").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hi"), "{answer}");
    assert_eq!(statuses(&server.answers(&head("/a"))), [200], "nobody reads, nobody invites");
}

#[test]
fn w22_an_expectation_that_is_not_known_is_a_417() {
    refused("GET /a HTTP/1.1\r\nHost: h\r\nExpect: foo\r\n\r\n", 417);
}

#[test]
fn w23_a_value_with_a_line_end_is_never_sent() {
    let answer = server().answers("GET /inject HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(statuses(&answer), [500]);
    assert!(!answer.contains("Injected"), "{answer}");
}

#[test]
fn w24_a_204_has_no_framing_and_no_content() {
    let answer = server().answers(&format!("GET /no-content HTTP/1.1\r\nHost: h\r\n\r\n{GET}"));
    assert_eq!(statuses(&answer), [204, 200]);
    let first = &answer[..answer.find("\r\n\r\n").unwrap()];
    assert!(!first.contains("Transfer-Encoding") && !first.contains("Content-Length"), "{first}");
}

#[test]
fn w25_a_handler_that_panics_is_a_500_and_none_at_all_a_501() {
    let answer = server().answers("GET /panic HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(statuses(&answer), [500]);
    for field in ["\r\nDate: ", "\r\nContent-Length: ", "\r\nConnection: close\r\n"] {
        assert!(answer.contains(field), "{field:?} in {answer}");
    }

    struct None;
    impl RequestHandlerFactory for None {
        fn create_request_handler(&self, _: &Request) -> Option<Box<dyn RequestHandler>> {
            Option::None
        }
    }
    let mut server = HttpServer::with_factory(HttpServerParams::new(), None).listen("127.0.0.1:0").unwrap();
    server.start().unwrap();
    let answer = Server(server).answers(GET);
    assert_eq!(statuses(&answer), [501]);
    assert!(answer.contains("\r\nDate: ") && answer.contains("\r\nContent-Length: "), "{answer}");
}

#[test]
fn w26_content_of_unknown_length_is_chunked_for_1_1_and_ends_with_the_connection_for_1_0() {
    let answer = server().answers(&format!("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n{GET}"));
    assert!(
        answer.contains("Transfer-Encoding: chunked\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\nHTTP/1.1 200"),
        "{answer}"
    );
    let answer = server().answers("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(answer.contains("Connection: close\r\n\r\none two"), "{answer}");
}

#[test]
fn w27_content_shorter_than_its_length_ends_the_connection() {
    let answer = server().answers(&format!("GET /long HTTP/1.1\r\nHost: h\r\n\r\n{GET}"));
    assert!(answer.ends_with("Content-Length: 10\r\n\r\nabc"), "{answer}");
}

#[test]
fn w28_content_beyond_its_length_is_not_sent_and_an_error_for_the_handler() {
    let answer = server().answers(&format!("GET /short HTTP/1.1\r\nHost: h\r\n\r\n{GET}"));
    assert!(answer.contains("Content-Length: 3\r\n\r\nabcHTTP/1.1 200"), "{answer}");
}

#[test]
fn w29_a_handler_that_sends_nothing_is_a_500() {
    assert_eq!(statuses(&server().answers("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n")), [500]);
}

#[test]
fn w30_a_nul_in_a_value_is_refused() {
    refused("GET /a HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 400);
}

#[test]
fn w31_pipelined_requests_are_answered_in_order() {
    let requests: String = (0..3).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    let answer = server().answers(&requests);
    let places: Vec<_> = (0..3).map(|n| answer.find(&format!("GET /{n}"))).collect();
    assert!(places.is_sorted() && places[0].is_some() && statuses(&answer) == [200, 200, 200], "{answer}");
}

#[test]
fn w32_half_a_request_line_is_a_408_in_time() {
    let server = Server::start(HttpServerParams::new().with_head_timeout(Duration::from_millis(200)));
    let mut stream = server.connect();
    stream.write_all(b"GET /a HT").unwrap();
    let started = Instant::now();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(statuses(&answer), [408]);
    assert!((150..800).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

/// A server that takes connections, answers each request with the next of these texts, and
/// closes when they are used up.
fn scripted(connections: Vec<Vec<&'static str>>) -> (HttpClientSession, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut requests = 0;
        for answers in connections {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in answers {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                    head.push(byte[0]);
                }
                requests += usize::from(head.ends_with(b"\r\n\r\n"));
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
        requests
    });
    let mut session = HttpClientSession::with_address(address);
    session.set_timeout(Duration::from_secs(10));
    (session, server)
}

fn fetch(session: &mut HttpClientSession, request: &Request) -> sessile::Result<(u16, String)> {
    session.send_request(request)?;
    let mut response = Response::new();
    let mut text = String::new();
    session.receive_response(&mut response)?.read_to_string(&mut text)?;
    Ok((response.status().as_u16(), text))
}

fn get(session: &mut HttpClientSession) -> sessile::Result<(u16, String)> {
    fetch(session, &Request::get("/"))
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";

#[test]
fn c1_content_that_is_cut_is_an_error() {
    for cut in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let (mut session, server) = scripted(vec![vec![cut]]);
        assert_eq!(get(&mut session).unwrap_err().kind(), ErrorKind::Incomplete, "{cut:?}");
        assert!(!session.connection_mut().is_reusable());
        server.join().unwrap();
    }
}

#[test]
fn c2_an_interim_response_is_not_the_answer() {
    let (mut session, server) = scripted(vec![vec![
        "HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine",
        FINE,
    ]]);
    assert_eq!(get(&mut session).unwrap(), (200, "fine".to_owned()));
    assert_eq!(get(&mut session).unwrap(), (200, "fine".to_owned()), "and not that of the next request");
    server.join().unwrap();
}

#[test]
fn c3_a_100_is_skipped() {
    let (mut session, server) =
        scripted(vec![vec!["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]]);
    assert_eq!(get(&mut session).unwrap().0, 200);
    server.join().unwrap();
}

#[test]
fn c4_a_coding_that_is_not_known_is_an_error_and_not_content() {
    let (mut session, server) = scripted(vec![vec![
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ]]);
    let error = get(&mut session).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Malformed), "{error:?}");
    server.join().unwrap();
}

#[test]
fn c5_a_server_that_closes_after_each_response_costs_no_request() {
    let (mut session, server) = scripted(vec![vec![FINE], vec![FINE], vec![FINE]]);
    for _ in 0..3 {
        assert_eq!(get(&mut session).unwrap(), (200, "fine".to_owned()));
    }
    drop(session);
    assert_eq!(server.join().unwrap(), 3);
}

#[test]
fn c6_a_post_is_not_sent_twice() {
    let (mut session, server) = scripted(vec![vec![FINE, ""]]);
    get(&mut session).unwrap();
    let mut request = Request::post("/");
    request.set_content_length(0);
    let error = fetch(&mut session, &request).unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
    assert_eq!(server.join().unwrap(), 2);
}

#[test]
fn c7_unread_content_is_not_the_next_response() {
    let (mut session, server) =
        scripted(vec![vec!["HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\nHTTP/1.1 500 Evil", FINE]]);
    session.send_request(&Request::get("/")).unwrap();
    session.receive_response(&mut Response::new()).unwrap();
    assert_eq!(get(&mut session).unwrap(), (200, "fine".to_owned()));
    server.join().unwrap();
}

#[test]
fn c8_a_get_is_of_http_1_1_with_its_host_first() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut text = [0; 256];
        let n = stream.read(&mut text).unwrap();
        stream.write_all(FINE.as_bytes()).unwrap();
        String::from_utf8(text[..n].to_vec()).unwrap()
    });
    let mut session = HttpClientSession::with_address(address);
    session.set_keep_alive(false);
    fetch(&mut session, &Request::get("/x")).unwrap();
    assert_eq!(
        server.join().unwrap(),
        format!("GET /x HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
    );
}

#[test]
fn c9_a_status_has_three_digits() {
    for status in ["20", "-12", "1000", "abc", "+20", "099"] {
        let answer: &'static str = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").leak();
        let (mut session, server) = scripted(vec![vec![answer]]);
        assert_eq!(get(&mut session).unwrap_err().kind(), ErrorKind::Malformed, "{status}");
        server.join().unwrap();
    }
}

#[test]
fn c10_an_abort_without_a_connection_and_a_second_one_are_no_errors() {
    let mut session = HttpClientSession::new("127.0.0.1", 9);
    session.abort();
    session.abort();
    assert!(get(&mut session).unwrap_err().is_aborted());
}
