//! TLS on other ways than straight to the server: through proxies, under WebSockets, on Unix sockets.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/tls.rs"]
mod tls;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sessile::net::{Limit, Listener, Socket, Stream};
use sessile::session::{ClientSession, HttpClientSession, HttpsClientSession, ProxyConfig, Session};
use sessile::tls::TlsContext;
use sessile::{ErrorKind, Phase};
use tls::{Authority, Server, get, problem};

/// A proxy for tunnels, under TLS itself or not, that leads everywhere to one address.
struct Proxy {
    port: u16,
    /// What it was asked for.
    heads: Arc<Mutex<Vec<String>>>,
}

fn proxy(context: Option<TlsContext>, target: SocketAddr) -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (context, seen) = (context.clone(), seen.clone());
            let below = Stream::Tcp(Socket::from_tcp(stream.unwrap()).unwrap());
            thread::spawn(move || {
                let stream = match &context {
                    Some(context) => context.accept(below).unwrap(),
                    None => below,
                };
                relay(stream, target, &seen);
            });
        }
    });
    Proxy { port, heads }
}

fn relay(mut client: Stream, target: SocketAddr, seen: &Mutex<Vec<String>>) {
    let limit = Limit::stall(Duration::from_secs(5));
    let mut head = Vec::new();
    let mut block = [0; 20_000];
    while !head.ends_with(b"\r\n\r\n") {
        match client.read(&mut block[..1], &limit) {
            Ok(1) => head.push(block[0]),
            _ => return,
        }
    }
    seen.lock().unwrap().push(String::from_utf8(head).unwrap());
    let mut origin = TcpStream::connect(target).unwrap();
    origin.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    send(&mut client, b"HTTP/1.1 200 Connection established\r\n\r\n");
    // In turns, on one thread: TLS has one state for both directions.
    loop {
        match client.read(&mut block, &Limit::stall(Duration::from_millis(5))) {
            Ok(0) => return,
            Ok(n) => origin.write_all(&block[..n]).unwrap(),
            Err(error) if error.is_timeout() => {}
            Err(_) => return,
        }
        match origin.read(&mut block) {
            Ok(0) => {
                let _ = client.shutdown(Shutdown::Write, &limit);
                return;
            }
            Ok(n) => send(&mut client, &block[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

fn send(stream: &mut Stream, mut bytes: &[u8]) {
    let limit = Limit::stall(Duration::from_secs(5));
    while !bytes.is_empty() {
        let n = stream.write_vectored(&[io::IoSlice::new(bytes)], &limit).unwrap();
        bytes = &bytes[n..];
    }
    stream.flush(&limit).unwrap();
}

fn through(proxy: &str, context: &TlsContext) -> HttpsClientSession {
    let config: ProxyConfig = proxy.parse().unwrap();
    let mut session = HttpsClientSession::with_proxy("origin.example", 443, config).unwrap();
    session.set_context(context.clone());
    session.set_timeout(Duration::from_secs(10));
    session
}

#[test]
fn https_goes_through_the_tunnel_of_a_proxy() {
    let authority = Authority::new("an authority");
    let origin = Server::answering(&authority.server(&["origin.example"]).serving());
    let proxy = proxy(None, origin.address);
    let mut session =
        through(&format!("http://user:password@127.0.0.1:{}", proxy.port), &authority.trusting());
    for _ in 0..2 {
        let (response, text) = get(&mut session, "/secret").unwrap();
        assert_eq!(text, "/secret");
        assert_eq!(response.headers().get("X-Tls"), Some("false origin.example"));
    }
    assert!(session.is_secure());
    assert!(session.server_certificate().unwrap().verify_name("origin.example"));
    let heads = proxy.heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 1, "one tunnel for both");
    assert!(heads[0].starts_with("CONNECT origin.example:443 HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(heads[0].contains("Proxy-Authorization: Basic "), "{}", heads[0]);
    drop(session);
    // What was resumable stays so: the way there has nothing to do with it.
    let mut again = through(&format!("http://127.0.0.1:{}", proxy.port), &authority.trusting());
    get(&mut again, "/").unwrap();
    assert!(!again.tls_session_was_reused(), "another context");
    again.reset();
    get(&mut again, "/").unwrap();
    assert!(again.tls_session_was_reused());
}

#[test]
fn a_tunnel_proves_nothing() {
    let (authority, stranger) = (Authority::new("an authority"), Authority::new("a stranger"));
    let origin = Server::answering(&stranger.server(&["origin.example"]).serving());
    let proxy = proxy(None, origin.address);
    let mut session = through(&format!("http://127.0.0.1:{}", proxy.port), &authority.trusting());
    let error = get(&mut session, "/").unwrap_err();
    assert!(problem(&error).is_some(), "{error:?}");
    assert_eq!((error.kind(), error.phase()), (ErrorKind::Tls, Some(Phase::Handshake)));
}

#[test]
fn https_goes_through_an_https_proxy_as_tls_in_tls() {
    let authority = Authority::new("an authority");
    let origin = Server::answering(&authority.server(&["origin.example"]).serving());
    let proxy = proxy(Some(authority.server(&["127.0.0.1"]).serving()), origin.address);
    let mut session = through(&format!("https://127.0.0.1:{}", proxy.port), &authority.trusting());
    let long = format!("/{}", "x".repeat(7000));
    for target in ["/one", "/two", &long] {
        assert_eq!(get(&mut session, target).unwrap().1, target);
    }
    assert!(session.server_certificate().unwrap().verify_name("origin.example"), "the inner one");
    assert_eq!(proxy.heads.lock().unwrap().len(), 1);
}

#[test]
fn an_https_proxy_must_prove_its_name_too() {
    let authority = Authority::new("an authority");
    let origin = Server::answering(&authority.server(&["origin.example"]).serving());
    let proxy = proxy(Some(authority.server(&["another.example"]).serving()), origin.address);
    let mut session = through(&format!("https://127.0.0.1:{}", proxy.port), &authority.trusting());
    session.set_server_name(Some("origin.example")).unwrap();
    let error = get(&mut session, "/").unwrap_err();
    assert_eq!(problem(&error), Some(sessile::tls::CertificateProblem::WrongName), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    assert!(proxy.heads.lock().unwrap().is_empty(), "it was told nothing");
}

#[test]
fn without_a_tunnel_an_https_proxy_reads_along() {
    let authority = Authority::new("an authority");
    let proxy = Server::answering(&authority.server(&["127.0.0.1"]).serving());
    let mut session = through(&format!("https://127.0.0.1:{}", proxy.address.port()), &authority.trusting());
    session.set_proxy_tunnel(false).unwrap();
    assert_eq!(get(&mut session, "/a").unwrap().1, "https://origin.example/a");
    assert!(!session.is_secure(), "the origin sees no TLS of ours");
    assert!(session.server_certificate().unwrap().verify_name("127.0.0.1"), "the proxy's");
}

#[test]
fn plain_http_goes_through_an_https_proxy() {
    let authority = Authority::new("an authority");
    let proxy = Server::answering(&authority.server(&["127.0.0.1"]).serving());
    let config: ProxyConfig = format!("https://127.0.0.1:{}", proxy.address.port()).parse().unwrap();
    let mut session = HttpClientSession::with_proxy("origin.example", 80, config).unwrap();
    // The default context trusts no authority of the test's.
    let error = get(&mut session, "/a").unwrap_err();
    assert!(problem(&error).is_some(), "{error:?}");
    assert!(!session.is_secure());
    session.set_proxy_context(authority.trusting());
    assert_eq!(get(&mut session, "/a").unwrap().1, "http://origin.example/a");
    assert!(!session.is_secure(), "the way from the proxy on is open");
}

#[cfg(unix)]
#[test]
fn tls_stands_on_a_unix_socket() {
    let authority = Authority::new("an authority");
    let context = authority.server(&["localhost"]).serving();
    let path = std::env::temp_dir().join(format!("sessile-tls-{}.sock", std::process::id()));
    let listener = Listener::bind_unix(&path).unwrap().with_tls(context).unwrap();
    assert!(listener.is_secure());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap().unwrap();
        let mut block = [0; 1000];
        let n = stream.read(&mut block, &Limit::none()).unwrap();
        send(&mut stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        (n, stream.is_secure())
    });
    let mut session = HttpsClientSession::with_context(path.to_str().unwrap(), 443, authority.trusting());
    assert_eq!(get(&mut session, "/").unwrap().1, "ok");
    let (n, secure) = server.join().unwrap();
    assert!(n > 10 && secure);
}

#[test]
fn a_detached_connection_goes_on_under_tls() {
    let authority = Authority::new("an authority");
    let context = authority.server(&["localhost"]).serving();
    let server = Server::with(move |stream| {
        let mut stream = context.accept(Stream::Tcp(Socket::from_tcp(stream).unwrap())).unwrap();
        let mut block = [0; 1000];
        let _ = stream.read(&mut block, &Limit::none()).unwrap();
        send(&mut stream, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\nwelcome");
        while let Ok(n @ 1..) = stream.read(&mut block, &Limit::none()) {
            let heard = block[..n].to_vec();
            send(&mut stream, &heard);
        }
    });
    let mut session = server.session(&authority.trusting());
    let mut request = sessile::message::Request::get("/");
    request.headers_mut().set("Upgrade", "echo").unwrap();
    session.send_request(&request).unwrap();
    session.receive_response(&mut sessile::message::Response::new()).unwrap();
    let mut raw = session.detach_socket().unwrap();
    assert!(raw.stream().is_secure());
    let mut block = [0; 100];
    let n = raw.read(&mut block).unwrap();
    assert_eq!(&block[..n], b"welcome");
    // No flush is needed: a write is on its way, as with a socket.
    raw.write_all(b"hello").unwrap();
    let n = raw.read(&mut block).unwrap();
    assert_eq!(&block[..n], b"hello");
    // The session makes a connection of its own again, and that one is under TLS too.
    session.send_request(&request).unwrap();
    session.receive_response(&mut sessile::message::Response::new()).unwrap();
    assert!(session.server_certificate().is_some());
}

#[cfg(feature = "websocket")]
#[test]
fn a_web_socket_speaks_and_listens_at_once_under_tls() {
    use sessile::message::{Request, Response};
    use sessile::server::{HttpServer, HttpServerParams};
    use sessile::websocket::{AcceptOptions, Message, WebSocket};
    const MESSAGES: usize = 300;
    let authority = Authority::new("an authority");
    let context = authority.server(&["localhost"]).serving();
    let server = HttpServer::new(HttpServerParams::new(), |request, response| {
        let mut socket = WebSocket::accept(request, response, &AcceptOptions::new())?;
        while let Some(message) = socket.receive_message()? {
            match message {
                Message::Text(text) => socket.send_text(&text)?,
                Message::Binary(bytes) => socket.send_binary(&bytes)?,
            }
        }
        Ok(())
    });
    let mut server = server.listen_tls("127.0.0.1:0", &context).unwrap();
    let (handle, port) = (server.handle(), server.port());
    let running = thread::spawn(move || server.run());
    let mut session = HttpsClientSession::with_context("localhost", port, authority.trusting());
    session.set_resolver(tls::to_loopback());
    let mut socket = WebSocket::connect(&mut session, &mut Request::get("/"), &mut Response::new()).unwrap();
    let sender = socket.sender();
    let sending = thread::spawn(move || {
        for i in 0..MESSAGES {
            sender.send_binary(&vec![i as u8; 1 + i * 100]).unwrap();
        }
    });
    for i in 0..MESSAGES {
        assert_eq!(socket.receive_message().unwrap(), Some(Message::Binary(vec![i as u8; 1 + i * 100])));
    }
    sending.join().unwrap();
    socket.shutdown().unwrap();
    drop(socket);
    handle.shutdown(Duration::from_secs(5));
    running.join().unwrap().unwrap();
}
