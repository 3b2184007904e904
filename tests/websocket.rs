//! WebSockets over sessions: the handshake on a connection, and what comes behind it.

#![cfg(feature = "websocket")]
#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/server.rs"]
mod support;
#[cfg(feature = "tls")]
#[path = "support/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use sessile::auth::HttpCredentials;
use sessile::message::{Request, Response, StatusCode};
use sessile::net::{Socket, Stream, pair};
use sessile::server::HttpServerParams;
use sessile::session::{
    HttpClientSession, HttpServerSession, ProxyConfig, ServerSession, ServerSessionParams, Session, Timeouts,
};
#[cfg(feature = "tls")]
use sessile::tls::TlsStream;
use sessile::websocket::{AcceptOptions, Message, Mode, WebSocket, WebSocketErrorKind, refuse};
use sessile::{ErrorKind, Result};
use support::Running;

/// What a WebSocket stands on.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A socket, whose directions have nothing to do with each other.
    Tcp,
    /// One state for both directions, without a socket to wait on.
    Memory,
    /// One state for both directions, over a socket.
    #[cfg(feature = "tls")]
    Tls,
    /// The same without a socket.
    #[cfg(feature = "tls")]
    TlsMemory,
}

const KINDS: &[Kind] = &[
    Kind::Tcp,
    Kind::Memory,
    #[cfg(feature = "tls")]
    Kind::Tls,
    #[cfg(feature = "tls")]
    Kind::TlsMemory,
];

/// Two connected streams.
fn streams(kind: Kind) -> (Stream, Stream) {
    let (near, far) = match kind {
        Kind::Memory => memory(),
        #[cfg(feature = "tls")]
        Kind::TlsMemory => memory(),
        _ => sockets(),
    };
    #[cfg(feature = "tls")]
    if let Kind::Tls | Kind::TlsMemory = kind {
        let authority = tls::Authority::new("an authority");
        let serving = authority.server(&["localhost"]).serving();
        let near = TlsStream::client(near, "localhost", &authority.trusting()).unwrap();
        let far = TlsStream::server(far, &serving).unwrap();
        return (Stream::Tls(Box::new(near)), Stream::Tls(Box::new(far)));
    }
    (near, far)
}

fn memory() -> (Stream, Stream) {
    let (near, far) = pair();
    (Stream::custom(near), Stream::custom(far))
}

fn sockets() -> (Stream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    (Stream::Tcp(Socket::from_tcp(near).unwrap()), Stream::Tcp(Socket::from_tcp(far).unwrap()))
}

/// Accepts a WebSocket on a server session.
fn accept(stream: Stream, options: &AcceptOptions) -> Result<WebSocket> {
    let mut session = HttpServerSession::new(stream, ServerSessionParams::default())?;
    assert!(session.has_more_requests()?);
    let mut request = Request::default();
    session.receive_request(&mut request)?;
    let mut response = Response::new();
    match options.accept(&request, &mut response) {
        Ok(protocol) => {
            session.send_response(&response)?.flush()?;
            Ok(WebSocket::new(session.detach_socket()?, Mode::Server).with_protocol(protocol))
        }
        Err(error) => {
            refuse(&error, &mut response);
            session.send_response(&response)?.finish()?;
            session.connection_mut().flush()?;
            Err(error)
        }
    }
}

/// A client and a server that are connected.
fn connected(kind: Kind) -> (WebSocket, WebSocket) {
    let (near, far) = streams(kind);
    let server = thread::spawn(move || accept(far, &AcceptOptions::new().with_protocol("chat")).unwrap());
    let mut session = HttpClientSession::with_stream(near).unwrap();
    let mut request = Request::get("/chat");
    request.headers_mut().set("Sec-WebSocket-Protocol", "other, chat").unwrap();
    let mut response = Response::new();
    let client = WebSocket::connect(&mut session, &mut request, &mut response).unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(client.protocol(), Some("chat"));
    assert!(!session.is_connected());
    (client, server.join().unwrap())
}

fn text(text: &str) -> Message {
    Message::Text(text.into())
}

#[test]
fn client_and_server_speak_over_their_sessions() {
    for &kind in KINDS {
        let (mut client, mut server) = connected(kind);
        assert_eq!(
            (client.mode(), server.mode(), server.protocol()),
            (Mode::Client, Mode::Server, Some("chat"))
        );
        client.send_text("question").unwrap();
        assert_eq!(server.receive_message().unwrap(), Some(text("question")));
        server.send_binary(&[7; 100_000][..50_000]).unwrap();
        assert_eq!(client.receive_message().unwrap().unwrap().as_bytes().len(), 50_000);
        server.shutdown().unwrap();
        assert_eq!(client.receive_message().unwrap(), None);
        assert_eq!(server.receive_message().unwrap(), None);
        let limit = Duration::from_secs(10);
        client.close_handshake(limit).unwrap();
        server.close_handshake(limit).unwrap();
    }
}

#[test]
fn frames_right_behind_the_handshake_are_kept() {
    let (near, mut far) = streams(Kind::Tcp);
    let mut session = HttpClientSession::with_stream(near).unwrap();
    let server = thread::spawn(move || {
        let limit = sessile::net::Limit::none();
        let mut head = vec![0; 4096];
        let mut length = 0;
        while !head[..length].ends_with(b"\r\n\r\n") {
            length += far.read(&mut head[length..], &limit).unwrap();
        }
        let head = String::from_utf8(head[..length].to_vec()).unwrap();
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let accept = sessile::websocket::accept_key(key);
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n\x01\x03Hel\0\x02lo"
        );
        far.write_vectored(&[std::io::IoSlice::new(answer.as_bytes())], &limit).unwrap();
        far.write_vectored(&[std::io::IoSlice::new(b"\x80\x01!")], &limit).unwrap();
        far
    });
    let mut client = WebSocket::connect(&mut session, &mut Request::get("/"), &mut Response::new()).unwrap();
    assert_eq!(client.receive_message().unwrap(), Some(text("Hello!")));
    drop(server.join().unwrap());
}

#[test]
fn a_refusal_is_an_error_with_its_code_and_the_response() {
    let (near, far) = streams(Kind::Memory);
    let server = thread::spawn(move || accept(far, &AcceptOptions::new()).unwrap_err());
    let mut session = HttpClientSession::with_stream(near).unwrap();
    let mut request = Request::get("/");
    request.headers_mut().set("Origin", "https://elsewhere.example").unwrap();
    let mut response = Response::new();
    let error = WebSocket::connect(&mut session, &mut request, &mut response).unwrap_err();
    assert_eq!(WebSocketErrorKind::of(&error), Some(WebSocketErrorKind::NoHandshake));
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(WebSocketErrorKind::of(&server.join().unwrap()), Some(WebSocketErrorKind::Origin));
}

#[test]
fn a_challenge_is_answered_with_credentials_once_and_a_refusal_is_code_6() {
    let server = Running::with(HttpServerParams::new(), |request, response| {
        if request.headers().get("Authorization") != Some("Basic YTpi") {
            response.set_status_and_reason(StatusCode::UNAUTHORIZED);
            response.headers_mut().set("WWW-Authenticate", "Basic realm=\"chat\"")?;
            return response.send_buffer(b"who?");
        }
        let socket = WebSocket::accept(request, response, &AcceptOptions::new())?;
        socket.send_text("welcome")
    });
    let mut session = HttpClientSession::new("127.0.0.1", server.address.port());
    let (mut request, mut response) = (Request::get("/"), Response::new());
    let error = WebSocket::connect(&mut session, &mut request, &mut response).unwrap_err();
    assert_eq!((error.kind(), response.status().as_u16()), (ErrorKind::NotAuthenticated, 401));
    assert_eq!(WebSocketErrorKind::of(&error).unwrap().code(), Some(6));

    let mut wrong = HttpCredentials::new("a", "wrong");
    let error =
        WebSocket::connect_with_credentials(&mut session, &mut Request::get("/"), &mut response, &mut wrong);
    assert_eq!(WebSocketErrorKind::of(&error.unwrap_err()), Some(WebSocketErrorKind::Unauthorized));

    let mut right = HttpCredentials::new("a", "b");
    for _ in 0..2 {
        let mut request = Request::get("/");
        let mut socket =
            WebSocket::connect_with_credentials(&mut session, &mut request, &mut response, &mut right)
                .unwrap();
        assert_eq!(socket.receive_message().unwrap(), Some(text("welcome")));
    }
}

#[test]
fn a_session_and_its_handle_to_abort_are_free_of_the_web_socket() {
    let server = echo();
    let mut session = HttpClientSession::new("127.0.0.1", server.address.port());
    let old = session.abort_handle();
    let mut socket = WebSocket::connect(&mut session, &mut Request::get("/"), &mut Response::new()).unwrap();
    old.abort();
    socket.send_text("still there?").unwrap();
    assert_eq!(socket.receive_message().unwrap(), Some(text("still there?")));
    socket.abort_handle().unwrap().abort();
    assert!(socket.receive_message().unwrap_err().is_aborted());
}

#[test]
fn an_idle_peer_answers_a_ping_and_one_that_is_gone_does_not() {
    let (mut client, mut server) = connected(Kind::Memory);
    server.set_timeouts(Timeouts::all(Duration::from_millis(50)));
    assert!(server.receive_message().unwrap_err().is_timeout());
    assert!(!server.awaits_pong());
    server.send_ping(b"there?").unwrap();
    assert!(server.awaits_pong());
    client.set_timeouts(Timeouts::all(Duration::from_millis(50)));
    assert!(client.receive_message().unwrap_err().is_timeout(), "it has answered the ping");
    assert!(server.receive_message().unwrap_err().is_timeout());
    assert!(!server.awaits_pong());
    server.sender().send_ping(b"and now?").unwrap();
    assert!(server.receive_message().unwrap_err().is_timeout());
    assert!(server.awaits_pong());
}

#[test]
fn pings_whose_answers_nobody_reads_hold_the_reader_no_longer_than_the_send_time_out() {
    for answer in [true, false] {
        let (client, mut server) = connected(Kind::Memory);
        server.set_timeouts(Timeouts::all(Duration::from_millis(200)));
        server.set_answer_pings(answer);
        let flood = thread::spawn(move || {
            // More than the stream holds, and nothing is read: the answers back up.
            let sent = (0..5000).try_for_each(|_| client.send_ping(&[0; 125]));
            let _ = sent.and_then(|()| client.send_text("done"));
            client
        });
        let start = Instant::now();
        let received = server.receive_message();
        assert!(start.elapsed() < Duration::from_secs(10));
        if answer {
            assert!(received.unwrap_err().is_timeout());
            assert!(start.elapsed() >= Duration::from_millis(200));
            assert!(server.send_text("x").is_err(), "a pong was sent in part");
        } else {
            assert_eq!(received.unwrap(), Some(text("done")));
        }
        drop(server);
        flood.join().unwrap();
    }
}

#[test]
fn one_thread_sends_while_another_waits_for_a_message() {
    for &kind in KINDS {
        let (mut client, mut server) = connected(kind);
        let sender = server.sender();
        let start = Instant::now();
        thread::scope(|scope| {
            let reading = scope.spawn(move || server.receive_message().unwrap());
            for _ in 0..20 {
                sender.send_text("unasked").unwrap();
                assert_eq!(client.receive_message().unwrap(), Some(text("unasked")));
            }
            client.send_text("answer").unwrap();
            assert_eq!(reading.join().unwrap(), Some(text("answer")));
        });
        assert!(start.elapsed() < Duration::from_secs(10), "{kind:?}");
    }
}

#[test]
fn both_sides_send_more_than_the_connection_holds_and_read_at_the_same_time() {
    const MESSAGES: usize = 16;
    const LENGTH: usize = 1 << 20;
    for &kind in KINDS {
        let (client, server) = connected(kind);
        let start = Instant::now();
        thread::scope(|scope| {
            for mut socket in [client, server] {
                socket.set_timeouts(Timeouts::all(Duration::from_secs(20)));
                let sender = socket.sender();
                let sending = scope.spawn(move || {
                    for number in 0..MESSAGES {
                        sender.send_binary(&vec![number as u8; LENGTH]).unwrap();
                    }
                });
                scope.spawn(move || {
                    for number in 0..MESSAGES {
                        let Some(Message::Binary(bytes)) = socket.receive_message().unwrap() else {
                            panic!("{kind:?}: no message {number}")
                        };
                        assert!(bytes == vec![number as u8; LENGTH], "{kind:?} {number}");
                    }
                    // Nothing can be sent behind a close.
                    sending.join().unwrap();
                    socket.close_handshake(Duration::from_secs(20)).unwrap();
                });
            }
        });
        assert!(start.elapsed() < Duration::from_secs(15), "{kind:?}: {:?}", start.elapsed());
    }
}

#[test]
fn an_abort_ends_a_wait_and_a_time_out_loses_nothing() {
    for &kind in KINDS {
        let (client, mut server) = connected(kind);
        let _senders = server.sender();
        server.set_timeouts(Timeouts::all(Duration::from_millis(50)));
        let start = Instant::now();
        assert!(server.receive_message().unwrap_err().is_timeout());
        assert!(start.elapsed() >= Duration::from_millis(50));
        client.send_text("late").unwrap();
        assert_eq!(server.receive_message().unwrap(), Some(text("late")));

        server.set_timeouts(Timeouts::all(Duration::ZERO));
        let abort = server.abort_handle().unwrap();
        let (waiting, waits) = std::sync::mpsc::channel();
        let reading = thread::spawn(move || {
            waiting.send(()).unwrap();
            server.receive_message().unwrap_err().kind()
        });
        waits.recv().unwrap();
        abort.abort();
        assert_eq!(reading.join().unwrap(), ErrorKind::Aborted);
    }
}

#[test]
fn the_close_handshake_keeps_its_limit() {
    for &kind in KINDS {
        let (mut client, server) = connected(kind);
        let start = Instant::now();
        assert!(client.close_handshake(Duration::from_millis(80)).unwrap_err().is_timeout());
        let lasted = start.elapsed();
        assert!((80..5000).contains(&lasted.as_millis()), "{lasted:?}");
        drop(server);
    }
}

#[test]
fn a_dropped_web_socket_closes_the_connection() {
    let (client, mut server) = connected(Kind::Tcp);
    let sender = client.sender();
    drop(client);
    let error = server.receive_message().unwrap_err();
    assert_eq!(WebSocketErrorKind::of(&error), Some(WebSocketErrorKind::NotClosed));
    assert!(sender.send_text("x").is_err());
}

/// A server that echoes messages.
fn echo() -> Running {
    Running::with(HttpServerParams::new(), |request, response| {
        let mut socket = WebSocket::accept(request, response, &AcceptOptions::new())?;
        while let Some(message) = socket.receive_message()? {
            match message {
                Message::Text(text) => socket.send_text(&text)?,
                Message::Binary(bytes) => socket.send_binary(&bytes)?,
            }
        }
        Ok(())
    })
}

#[test]
fn a_handler_echoes_until_the_client_closes() {
    let server = echo();
    let mut session = HttpClientSession::new("127.0.0.1", server.address.port());
    for _ in 0..2 {
        let mut socket =
            WebSocket::connect(&mut session, &mut Request::get("/"), &mut Response::new()).unwrap();
        for number in 0..50 {
            socket.send_text(&number.to_string()).unwrap();
            assert_eq!(socket.receive_message().unwrap(), Some(text(&number.to_string())));
        }
        socket.close_handshake(Duration::from_secs(10)).unwrap();
    }
}

/// A proxy that opens one tunnel, wherever it is asked to.
fn tunnel() -> (u16, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy = thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            near.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut far = TcpStream::connect(head.split(' ').nth(1).unwrap()).unwrap();
        near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let (mut from, mut to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        let forth = thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let _ = std::io::copy(&mut far, &mut near);
        let _ = near.shutdown(Shutdown::Write);
        forth.join().unwrap();
        head
    });
    (port, proxy)
}

#[test]
fn through_a_proxy_it_speaks_in_a_tunnel() {
    let server = echo();
    let (port, proxy) = tunnel();
    let config: ProxyConfig = format!("http://127.0.0.1:{port}").parse().unwrap();
    let address = server.address;
    let mut session = HttpClientSession::with_proxy("127.0.0.1", address.port(), config).unwrap();
    let mut socket =
        WebSocket::connect(&mut session, &mut Request::get("/ws"), &mut Response::new()).unwrap();
    socket.send_text("through").unwrap();
    assert_eq!(socket.receive_message().unwrap(), Some(text("through")));
    socket.close_handshake(Duration::from_secs(10)).unwrap();
    drop(socket);
    let asked = proxy.join().unwrap();
    assert!(asked.starts_with(&format!("CONNECT {address} HTTP/1.1\r\n")), "{asked}");
    assert!(!asked.to_lowercase().contains("websocket"), "that is for the server: {asked}");
}

#[test]
fn frames_of_a_client_that_does_not_wait_for_the_answer_are_kept() {
    let server = echo();
    let mut client = TcpStream::connect(server.address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    // "Hello", as in RFC 6455, 5.7; then a close frame.
    bytes.extend_from_slice(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x88\x80\0\0\0\0");
    client.write_all(&bytes).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{answer:?}");
    assert!(answer.ends_with(b"\r\n\r\n\x81\x05Hello\x88\x00"), "{answer:?}");
}

#[test]
fn a_handler_may_give_the_web_socket_away_and_return() {
    let (give, given) = std::sync::mpsc::channel();
    let server = Running::with(HttpServerParams::new(), move |request, response| {
        give.send(WebSocket::accept(request, response, &AcceptOptions::new())?).unwrap();
        Ok(())
    });
    let mut session = HttpClientSession::new("127.0.0.1", server.address.port());
    let mut client = WebSocket::connect(&mut session, &mut Request::get("/"), &mut Response::new()).unwrap();
    let mut kept = given.recv().unwrap();
    client.send_text("still there?").unwrap();
    assert_eq!(kept.receive_message().unwrap(), Some(text("still there?")));
    kept.send_text("yes").unwrap();
    assert_eq!(client.receive_message().unwrap(), Some(text("yes")));
}

#[test]
fn what_is_no_handshake_gets_its_status_and_says_what_would_do() {
    let server = echo();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let cases = [
        (426, String::new()),
        (400, format!("{upgrade}{key}")),
        (426, format!("{upgrade}{key}Sec-WebSocket-Version: 8\r\n")),
        (400, format!("{upgrade}Sec-WebSocket-Version: 13\r\n")),
        (403, format!("{upgrade}{key}Sec-WebSocket-Version: 13\r\nOrigin: http://b\r\n")),
    ];
    // One after the other on one connection: a refusal is an answer like others.
    let mut client = server.connect();
    for (status, fields) in cases {
        let answer = client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).answer();
        assert_eq!(answer.status, status, "{fields}");
        assert_eq!(answer.header("Sec-WebSocket-Version"), (status == 426).then_some("13"));
    }
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{upgrade}{key}Sec-WebSocket-Version: 13\r\n\r\n"));
    let mut head = [0; 129];
    client.stream.read_exact(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head).to_lowercase();
    assert!(head.starts_with("http/1.1 101 switching protocols\r\n"), "{head}");
}

#[test]
fn a_text_that_is_not_utf_8_ends_the_connection_with_1007() {
    let server = echo();
    let mut session = HttpClientSession::new("127.0.0.1", server.address.port());
    let mut request = Request::get("/");
    sessile::websocket::ClientHandshake::prepare(&mut request).unwrap();
    use sessile::session::ClientSession;
    session.send_request(&request).unwrap();
    let mut response = Response::new();
    session.receive_response(&mut response).unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut raw = session.detach_socket().unwrap();
    raw.write_all(b"\x81\x81\0\0\0\0\xff").unwrap();
    let mut answer = Vec::new();
    raw.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [0x88, 2, 0x03, 0xef]);
}
