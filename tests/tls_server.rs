//! A server of HTTPS: handshakes on threads of their own, several certificates, new ones while it
//! runs.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/server.rs"]
mod server;
#[path = "support/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use server::Running;
use sessile::message::{Request, Response};
use sessile::net::Listener;
use sessile::server::{HttpServer, HttpServerParams, ServerRequest, ServerResponse};
use sessile::session::{ClientSession, HttpsClientSession, Session};
use sessile::tls::{Certificate, TlsContext, VerificationMode};
use sessile::{ErrorKind, Result};
use tls::{Authority, Issued, get, to_loopback};

/// Answers with what it knows of the connection.
fn tell(request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    let client = request.client_certificate().map_or_else(|| "nobody".to_owned(), |c| c.subject());
    let name = request.with_tls(|tls| tls.server_name().unwrap_or_default()).unwrap_or_default();
    response.send_buffer(format!("{} {client} {name}", request.is_secure()).as_bytes())
}

fn serving(context: &TlsContext, params: HttpServerParams) -> Running {
    Running::run(HttpServer::new(params, tell).listen_tls("127.0.0.1:0", context).unwrap())
}

fn session(server: &Running, context: &TlsContext) -> HttpsClientSession {
    let mut session = HttpsClientSession::with_context("localhost", server.address.port(), context.clone());
    session.set_resolver(to_loopback());
    session.set_timeout(Duration::from_secs(10));
    session
}

#[test]
fn a_handler_sees_that_it_is_secure_and_who_asks() {
    let authority = Authority::new("an authority");
    let issued = authority.server(&["localhost"]);
    let context = TlsContext::server()
        .certificate_pem(&issued.pem, &issued.key)
        .client_ca_pem(&authority.pem)
        .verification_mode(VerificationMode::Relaxed)
        .build()
        .unwrap();
    let server = serving(&context, HttpServerParams::new());
    assert_eq!(get(&mut session(&server, &authority.trusting()), "/").unwrap().1, "true nobody localhost");
    let somebody = authority.client("somebody");
    let client = TlsContext::client().only_added_cas().add_ca_pem(&authority.pem);
    let client = client.certificate_pem(&somebody.pem, &somebody.key).build().unwrap();
    let mut session = session(&server, &client);
    for _ in 0..2 {
        assert_eq!(get(&mut session, "/").unwrap().1, "true CN=somebody localhost");
    }
}

#[test]
fn one_server_listens_with_tls_and_without() {
    let authority = Authority::new("an authority");
    let context = authority.server(&["localhost"]).serving();
    let plain = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let plain_port = plain.local_addr().unwrap().port();
    let secure = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap().with_tls(context).unwrap();
    assert!(secure.is_secure() && !plain.is_secure());
    let server = HttpServer::new(HttpServerParams::new(), tell).add_listener(secure).add_listener(plain);
    let server = Running::run(server);
    assert!(get(&mut session(&server, &authority.trusting()), "/").unwrap().1.starts_with("true"));
    let mut plain = sessile::session::HttpClientSession::new("127.0.0.1", plain_port);
    assert!(get(&mut plain, "/").unwrap().1.starts_with("false"));
    let clients = authority.trusting();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    assert_eq!(listener.with_tls(clients).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn plain_http_gets_a_plain_400_and_the_connection_closes() {
    let context = Authority::new("an authority").server(&["localhost"]).serving();
    let server = serving(&context, HttpServerParams::new());
    for request in
        ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        // More than is read at once, so that a close would be a reset.
        stream.write_all(&[b'x'; 30_000]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
        assert!(answer.ends_with("This port speaks HTTPS: the request came in plain HTTP.\n"), "{answer}");
    }
}

#[test]
fn what_is_neither_gets_an_alert() {
    let context = Authority::new("an authority").server(&["localhost"]).serving();
    let server = serving(&context, HttpServerParams::new());
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(&[0; 100]).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
}

#[test]
fn a_slow_handshake_blocks_nobody_else() {
    let authority = Authority::new("an authority");
    let issued = authority.server(&["localhost"]);
    let context = TlsContext::server().certificate_pem(&issued.pem, &issued.key);
    let context = context.handshake_timeout(Duration::from_millis(800)).build().unwrap();
    let server = serving(&context, HttpServerParams::new());
    let slow: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.write_all(&[22, 3, 1, 1, 0, 1]).unwrap();
            stream
        })
        .collect();
    let started = Instant::now();
    for _ in 0..5 {
        get(&mut session(&server, &authority.trusting()), "/").unwrap();
    }
    assert!(started.elapsed() < Duration::from_millis(700), "{:?}", started.elapsed());
    for mut stream in slow {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    assert!(started.elapsed() < Duration::from_secs(3), "they have their time, and no more");
}

#[test]
fn who_does_not_begin_gives_way_and_who_has_begun_does_not() {
    let authority = Authority::new("an authority");
    let context = authority.server(&["localhost"]).serving();
    let server = serving(&context, HttpServerParams::new().with_max_threads(1));
    // Never says anything.
    let silent = TcpStream::connect(server.address).unwrap();
    let mut first = session(&server, &authority.trusting());
    get(&mut first, "/").unwrap();
    // Idle after an exchange.
    let mut second = session(&server, &authority.trusting());
    get(&mut second, "/").unwrap();
    // In the middle of a handshake: waited for.
    drop(second);
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.write_all(&[22, 3, 1, 1, 0, 1]).unwrap();
    let waiting = thread::spawn({
        let mut third = session(&server, &authority.trusting());
        move || get(&mut third, "/").map(|_| Instant::now())
    });
    slow.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let still_there = slow.read(&mut [0; 10]).unwrap_err();
    assert_eq!(
        still_there.kind(),
        std::io::ErrorKind::WouldBlock,
        "a handshake that has begun is left alone"
    );
    let ended = Instant::now();
    drop(slow);
    assert!(waiting.join().unwrap().unwrap() > ended);
    drop(silent);
}

#[test]
fn a_connection_that_is_refused_costs_no_handshake() {
    let authority = Authority::new("an authority");
    let context = authority.server(&["localhost"]).serving();
    let busy = Arc::new(AtomicBool::new(true));
    let wait = busy.clone();
    let handler = move |_: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>| {
        while wait.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        response.send_buffer(b"done")
    };
    let params = HttpServerParams::new().with_max_threads(1).with_max_queued(0);
    let server = HttpServer::new(params, handler).listen_tls("127.0.0.1:0", &context).unwrap();
    let server = Running::run(server);
    let mut first = session(&server, &authority.trusting());
    let first = thread::spawn(move || get(&mut first, "/").unwrap().1);
    while server.handle.current_connections() == 0 {
        thread::yield_now();
    }
    let mut refused = session(&server, &authority.trusting());
    let error = get(&mut refused, "/").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tls | ErrorKind::Io), "{error:?}");
    assert_eq!(server.handle.refused_connections(), 1);
    busy.store(false, Ordering::SeqCst);
    assert_eq!(first.join().unwrap(), "done");
}

// Certificates.

fn shown(server: &Running, context: &TlsContext, host: &str) -> Option<Certificate> {
    let mut session = session(server, context);
    session.set_host(host).unwrap();
    get(&mut session, "/").ok()?;
    session.server_certificate()
}

#[test]
fn each_client_is_shown_the_certificate_for_the_name_it_asks_for() {
    let authority = Authority::new("an authority");
    let one = authority.server(&["one.example"]);
    let two = authority.server(&["two.example", "*.two.example"]);
    let context = TlsContext::server()
        .certificate_pem(&one.pem, &one.key)
        .certificate_pem(&two.pem, &two.key)
        .build()
        .unwrap();
    let server = serving(&context, HttpServerParams::new());
    let lenient = TlsContext::client().dangerous().accept_invalid_certificates().build().unwrap();
    let names = |host: &str, context: &TlsContext| -> Vec<String> {
        shown(&server, context, host).unwrap().dns_names().collect()
    };
    let trusting = authority.trusting();
    assert_eq!(names("one.example", &trusting), ["one.example"]);
    assert_eq!(names("two.example", &trusting), ["two.example", "*.two.example"]);
    assert_eq!(names("a.TWO.example", &trusting), ["two.example", "*.two.example"]);
    for other in ["three.example", "a.b.two.example", "127.0.0.1"] {
        assert_eq!(names(other, &lenient), ["one.example"], "{other}: the first is for everybody else");
    }
}

/// Files that a context is made from.
struct Files {
    folder: std::path::PathBuf,
}

impl Files {
    fn new(name: &str) -> Files {
        let folder = std::env::temp_dir().join(format!("sessile-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Files { folder }
    }

    fn write(&self, issued: &Issued) {
        // One file, so that nobody can read half of the change.
        let fresh = self.folder.join("fresh.pem");
        std::fs::write(&fresh, format!("{}{}", issued.pem, issued.key)).unwrap();
        std::fs::rename(fresh, self.path()).unwrap();
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.join("server.pem")
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn certificates_are_reloaded_and_connections_stay() {
    let authority = Authority::new("an authority");
    let (old, new) = (authority.server(&["localhost"]), authority.server(&["localhost"]));
    let fingerprint = |issued: &Issued| Certificate::from_pem(&issued.pem).unwrap().fingerprint();
    let files = Files::new("reload");
    files.write(&old);
    let context = TlsContext::server().certificate_files(files.path(), files.path()).build().unwrap();
    let server = serving(&context, HttpServerParams::new());
    let mut kept = session(&server, &authority.trusting());
    get(&mut kept, "/").unwrap();

    std::fs::write(files.path(), "not yet written").unwrap();
    assert_eq!(context.reload().unwrap_err().kind(), ErrorKind::Tls);
    let seen = || shown(&server, &authority.trusting(), "localhost").unwrap().fingerprint();
    assert_eq!(seen(), fingerprint(&old), "nothing has changed");

    files.write(&new);
    context.reload().unwrap();
    assert_eq!(seen(), fingerprint(&new));
    let before = kept.connection().local_address();
    get(&mut kept, "/").unwrap();
    assert_eq!(kept.connection().local_address(), before, "the connection stayed");
    assert_eq!(kept.server_certificate().unwrap().fingerprint(), fingerprint(&old));

    let third = authority.server(&["localhost"]);
    context.reload_from(&third.serving()).unwrap();
    assert_eq!(seen(), fingerprint(&third));
}

#[test]
fn reloading_under_load_costs_nobody_an_exchange() {
    let authority = Authority::new("an authority");
    let certificates = [authority.server(&["localhost"]), authority.server(&["localhost"])];
    let files = Files::new("load");
    files.write(&certificates[0]);
    let context = TlsContext::server().certificate_files(files.path(), files.path()).build().unwrap();
    let server = serving(&context, HttpServerParams::new());
    let (ends, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for worker in 0..4 {
            let (server, ends, served, client) = (&server, &ends, &served, authority.trusting());
            scope.spawn(move || {
                let mut session = session(server, &client);
                while !ends.load(Ordering::SeqCst) {
                    get(&mut session, "/").unwrap_or_else(|error| panic!("{error:?}"));
                    served.fetch_add(1, Ordering::SeqCst);
                    // Two of them make a new connection each time, half of those in full.
                    if worker < 2 {
                        session.reset();
                    }
                    if worker == 0 {
                        client.flush_session_cache().unwrap();
                    }
                }
            });
        }
        for round in 0..50 {
            files.write(&certificates[round % 2]);
            context.reload().unwrap();
            let before = served.load(Ordering::SeqCst);
            while served.load(Ordering::SeqCst) < before + 8 {
                thread::yield_now();
            }
        }
        ends.store(true, Ordering::SeqCst);
    });
    assert!(served.load(Ordering::SeqCst) >= 400);
}

#[test]
fn sessions_outlive_a_reload_but_not_a_change_of_who_is_let_in() {
    let authority = Authority::new("an authority");
    let issued = authority.server(&["localhost"]);
    let context = issued.serving();
    let server = serving(&context, HttpServerParams::new());
    let client = authority.trusting();
    let reused = |client: &TlsContext| {
        let mut session = session(&server, client);
        get(&mut session, "/").unwrap();
        session.tls_session_was_reused()
    };
    assert!(!reused(&client));
    context.reload().unwrap();
    assert!(reused(&client), "only certificates can have changed");

    let asking = |authority: &Authority| {
        let context = TlsContext::server().certificate_pem(&issued.pem, &issued.key);
        context.client_ca_pem(&authority.pem).build().unwrap()
    };
    let somebody = authority.client("somebody");
    let known = TlsContext::client().only_added_cas().add_ca_pem(&authority.pem);
    let known = known.certificate_pem(&somebody.pem, &somebody.key).build().unwrap();
    context.reload_from(&asking(&authority)).unwrap();
    assert!(!reused(&known));
    assert!(reused(&known));
    // The authority has fallen out of favour: a ticket must not let its clients in.
    context.reload_from(&asking(&Authority::new("another"))).unwrap();
    let error = get(&mut session(&server, &known), "/").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
}

// The life of a server.

#[test]
fn a_graceful_stop_finishes_what_is_answered() {
    let authority = Authority::new("an authority");
    let context = authority.server(&["localhost"]).serving();
    let going = Arc::new(AtomicBool::new(false));
    let (begun, wait) = (Arc::new(AtomicBool::new(false)), going.clone());
    let begins = begun.clone();
    let handler = move |_: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>| {
        begins.store(true, Ordering::SeqCst);
        while !wait.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        response.send_buffer(b"done")
    };
    let server = HttpServer::new(HttpServerParams::new(), handler).listen_tls("127.0.0.1:0", &context);
    let mut server = Running::run(server.unwrap());
    let mut busy = session(&server, &authority.trusting());
    let busy = thread::spawn(move || get(&mut busy, "/").map(|(_, text)| text));
    while !begun.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    server.handle.stop();
    going.store(true, Ordering::SeqCst);
    assert_eq!(busy.join().unwrap().unwrap(), "done");
    server.join();
}

#[test]
fn an_idle_connection_is_told_that_it_ends() {
    let authority = Authority::new("an authority");
    let context = authority.server(&["localhost"]).serving();
    let params = HttpServerParams::new().with_keep_alive_timeout(Duration::from_millis(100));
    let server = serving(&context, params);
    let mut session = session(&server, &authority.trusting());
    session.send_request(&Request::get("/")).unwrap();
    let mut response = Response::new();
    session.receive_response(&mut response).unwrap().skip().unwrap();
    // Under TLS an end that was not announced would be an error.
    assert_eq!(session.connection_mut().receive(&mut [0; 10]).unwrap(), 0);
}

#[test]
fn idle_connections_keep_no_large_buffers() {
    let authority = Authority::new("an authority");
    let context = authority.server(&["localhost"]).serving();
    let server = serving(&context, HttpServerParams::new());
    let mut session = session(&server, &authority.trusting());
    let mut request = Request::post("/");
    request.set_content_length(100_000);
    session.send_request(&request).unwrap().write_all(&[7; 100_000]).unwrap();
    session.receive_response(&mut Response::new()).unwrap().skip().unwrap();
    // Longer than buffers are kept: the server has let go of them and waits on the bare socket.
    session.connection_mut().set_timeouts(sessile::session::Timeouts::all(Duration::from_millis(700)));
    assert!(session.connection_mut().receive(&mut [0; 10]).unwrap_err().is_timeout());
    session.set_timeout(Duration::from_secs(10));
    get(&mut session, "/").unwrap();
}
