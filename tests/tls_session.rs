//! Sessions over TLS: taking sessions up again, endings, limits of time, and what goes wrong on the
//! way.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/tls.rs"]
mod tls;

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sessile::message::{Method, Request, Response, StatusCode};
use sessile::net::{AbortHandle, Counting, Limit, Pipe, Readiness, Socket, Stream, Transport, pair};
use sessile::session::{
    ClientSession, HttpServerSession, HttpsClientSession, ServerSession, ServerSessionParams, Session,
    Timeouts,
};
use sessile::tls::{TlsContext, TlsProvider, TlsStream, TlsVersion};
use sessile::{Error, ErrorKind, Phase, Result};
use tls::{Authority, Server, get, within};

/// An authority, a server's context and a client's.
struct Ends {
    authority: Authority,
    server: TlsContext,
    client: TlsContext,
}

fn ends() -> Ends {
    let authority = Authority::new("an authority");
    let server = authority.server(&["localhost"]).serving();
    let client = authority.trusting();
    Ends { authority, server, client }
}

impl Ends {
    /// The same with one version of TLS only.
    fn speaking(version: TlsVersion) -> Ends {
        let authority = Authority::new("an authority");
        let issued = authority.server(&["localhost"]);
        let server = TlsContext::server().certificate_pem(&issued.pem, &issued.key).min_version(version);
        let client = TlsContext::client().only_added_cas().add_ca_pem(&authority.pem).max_version(version);
        let (server, client) = (server.build().unwrap(), client.build().unwrap());
        Ends { authority, server, client }
    }

    /// Both ends of a connection in memory, with the server's on another thread.
    fn in_memory<T: Send + 'static>(
        &self,
        serve: impl FnOnce(TlsStream) -> T + Send + 'static,
    ) -> (TlsStream, thread::JoinHandle<T>) {
        let (near, far) = pair();
        let server = TlsStream::server(Stream::custom(far), &self.server).unwrap();
        let peer = thread::spawn(move || serve(server));
        (TlsStream::client(Stream::custom(near), "localhost", &self.client).unwrap(), peer)
    }

    /// A client session over a stream in memory, and a server that answers one request with these
    /// bytes, as they are, and then does something.
    fn answering(
        &self,
        answer: impl Into<Vec<u8>>,
        then: impl FnOnce(TlsStream) + Send + 'static,
    ) -> HttpsClientSession {
        let answer = answer.into();
        let (near, far) = pair();
        let mut server = TlsStream::server(Stream::custom(far), &self.server).unwrap();
        thread::spawn(move || {
            read_head(&mut server);
            write_all(&mut server, &answer);
            then(server);
        });
        let near = self.client.connect(Stream::custom(near), "localhost").unwrap();
        HttpsClientSession::with_stream(near, "localhost", 443).unwrap()
    }
}

fn read_head(stream: &mut TlsStream) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte, &within(10)).unwrap(), 1, "the client went away: {head:?}");
        head.push(byte[0]);
    }
    head
}

fn write_all(stream: &mut TlsStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let n = stream.write_vectored(&[IoSlice::new(bytes)], &within(10)).unwrap();
        bytes = &bytes[n..];
    }
    stream.flush(&within(10)).unwrap();
}

fn read_to_end(stream: &mut TlsStream) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut block = [0; 4096];
    loop {
        match stream.read(&mut block, &within(10))? {
            0 => return Ok(all),
            n => all.extend_from_slice(&block[..n]),
        }
    }
}

/// Whether the server says that this exchange came over a session that was taken up.
fn reused(session: &mut HttpsClientSession) -> bool {
    let (response, _) = get(session, "/").unwrap();
    let by_server = response.headers().get("X-Tls").unwrap().starts_with("true");
    assert_eq!(by_server, session.tls_session_was_reused(), "both sides say the same");
    by_server
}

// Sessions that are taken up again.

#[test]
fn a_context_takes_its_sessions_up_again_in_both_versions() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let ends = Ends::speaking(version);
        let server = Server::answering(&ends.server);
        let taken: Vec<bool> = (0..4)
            .map(|_| {
                let mut session = server.session(&ends.client);
                let taken = reused(&mut session);
                assert_eq!(session.with_tls(|tls| tls.version()).unwrap(), Some(version));
                taken
            })
            .collect();
        assert_eq!(taken, [false, true, true, true], "{version}");
    }
}

#[test]
fn a_session_takes_its_own_up_again_after_a_reset() {
    let ends = ends();
    let server = Server::answering(&ends.server);
    let mut session = server.session(&ends.client);
    assert!(!session.tls_session_was_reused());
    assert!(session.tls_session().is_none(), "there was no connection yet");
    assert!(!reused(&mut session));
    session.reset();
    assert!(reused(&mut session));
}

#[test]
fn two_connections_at_a_time_can_take_a_session_up() {
    let ends = ends();
    let server = Server::answering(&ends.server);
    assert!(!reused(&mut server.session(&ends.client)));
    let (mut one, mut other) = (server.session(&ends.client), server.session(&ends.client));
    assert!(reused(&mut one) && reused(&mut other), "the server gives two tickets");
}

#[test]
fn a_session_can_be_handed_to_another_one() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let ends = Ends::speaking(version);
        let server = Server::answering(&ends.server);
        let forgetful = TlsContext::client()
            .only_added_cas()
            .add_ca_pem(&ends.authority.pem)
            .max_version(version)
            .session_cache_size(0)
            .build()
            .unwrap();
        assert!(!forgetful.keeps_sessions());
        let mut first = server.session(&forgetful);
        assert!(!reused(&mut first));
        let session = first.tls_session().unwrap();
        assert!(session.is_resumable());
        assert_eq!(session.server_name(), "localhost");
        assert!(!reused(&mut server.session(&forgetful)), "nothing is kept");
        let port = server.address.port();
        let mut second = HttpsClientSession::with_context_and_session(
            "localhost",
            port,
            forgetful.clone(),
            Some(session.clone()),
        );
        second.set_resolver(tls::to_loopback());
        assert!(reused(&mut second), "{version}");
        session.clear();
        assert!(!session.is_resumable());
    }
}

#[test]
fn a_session_of_another_server_or_another_context_is_left_aside() {
    let authority = Authority::new("an authority");
    let server = Server::answering(&authority.server(&["one.example", "two.example"]).serving());
    let (context, other) = (authority.trusting(), authority.trusting());
    let mut first = server.session(&context);
    first.set_host("one.example").unwrap();
    assert!(!reused(&mut first));
    let mut second = server.session(&context);
    second.set_host("two.example").unwrap();
    second.set_tls_session(first.tls_session());
    assert!(!reused(&mut second), "that would spare two.example the proof of its name");
    let mut third = server.session(&other);
    third.set_host("one.example").unwrap();
    third.set_tls_session(first.tls_session());
    assert!(!reused(&mut third), "the other context may trust less");
}

#[test]
fn a_session_is_not_taken_up_when_it_is_too_old_or_was_forgotten() {
    let ends = ends();
    let server = Server::answering(&ends.server);
    let brief = TlsContext::client()
        .only_added_cas()
        .add_ca_pem(&ends.authority.pem)
        .session_timeout(Duration::ZERO)
        .build()
        .unwrap();
    assert!(!reused(&mut server.session(&brief)));
    assert!(!reused(&mut server.session(&brief)));

    assert!(!reused(&mut server.session(&ends.client)));
    ends.client.flush_session_cache().unwrap();
    assert!(!reused(&mut server.session(&ends.client)));
    assert!(reused(&mut server.session(&ends.client)));
    assert_eq!(ends.client.session_cache_size(), 256);
}

#[test]
fn a_server_s_tickets_survive_one_change_of_its_key_and_not_two() {
    let ends = ends();
    let server = Server::answering(&ends.server);
    assert!(!reused(&mut server.session(&ends.client)));
    ends.server.rotate_ticket_keys().unwrap();
    assert!(reused(&mut server.session(&ends.client)));
    ends.server.rotate_ticket_keys().unwrap();
    ends.server.rotate_ticket_keys().unwrap();
    assert!(!reused(&mut server.session(&ends.client)));
    ends.server.flush_session_cache().unwrap();
    assert!(!reused(&mut server.session(&ends.client)));
}

#[test]
fn a_server_can_keep_sessions_itself_or_none() {
    let authority = Authority::new("an authority");
    let issued = authority.server(&["localhost"]);
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let server = || TlsContext::server().certificate_pem(&issued.pem, &issued.key).max_version(version);
        let here = server().stateless_tickets(false).build().unwrap();
        assert!(here.keeps_sessions());
        let none = server().stateless_tickets(false).session_cache_size(0).build().unwrap();
        assert!(!none.keeps_sessions());
        for (context, keeps) in [(here, true), (none, false)] {
            let server = Server::answering(&context);
            let client = authority.trusting();
            assert!(!reused(&mut server.session(&client)));
            assert_eq!(reused(&mut server.session(&client)), keeps, "{version}");
            context.flush_session_cache().unwrap();
            assert!(!reused(&mut server.session(&client)), "{version}");
        }
    }
}

#[test]
fn without_tickets_a_session_of_tls_1_3_is_not_taken_up() {
    let authority = Authority::new("an authority");
    let issued = authority.server(&["localhost"]);
    let context = TlsContext::server().certificate_pem(&issued.pem, &issued.key).tickets(0).build().unwrap();
    let (server, client) = (Server::answering(&context), authority.trusting());
    assert!(!reused(&mut server.session(&client)));
    assert!(!reused(&mut server.session(&client)));
}

// Endings.

const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome content";

#[test]
fn content_that_ends_with_a_goodbye_is_whole() {
    let mut session = ends().answering(UNTIL_CLOSE, drop);
    assert_eq!(get(&mut session, "/").unwrap().1, "some content");
}

#[test]
fn content_that_ends_without_a_goodbye_is_incomplete() {
    let mut session = ends().answering(UNTIL_CLOSE, |mut server| server.set_quiet_shutdown(true));
    let error = get(&mut session, "/").unwrap_err();
    assert_eq!((error.kind(), error.phase()), (ErrorKind::Incomplete, Some(Phase::ReceiveBody)));
    assert!(error.to_string().contains("without the peer saying so under TLS"), "{error}");
    assert_eq!(session.last_error().map(Error::kind), None, "a body's error is the reader's");
}

#[test]
fn poco_s_laxity_is_a_choice() {
    let ends = ends();
    let quiet = |mut server: TlsStream| server.set_quiet_shutdown(true);
    let mut session = ends.answering(UNTIL_CLOSE, quiet);
    session.set_allow_truncated_close(true);
    assert_eq!(get(&mut session, "/").unwrap().1, "some content");
    let lax =
        TlsContext::client().only_added_cas().add_ca_pem(&ends.authority.pem).allow_truncated_close(true);
    let ends = Ends { client: lax.build().unwrap(), ..ends };
    assert_eq!(get(&mut ends.answering(UNTIL_CLOSE, quiet), "/").unwrap().1, "some content");
}

#[test]
fn a_message_that_says_how_long_it_is_needs_no_goodbye() {
    let ends = ends();
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nsome content",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc\r\nsome content\r\n0\r\n\r\n",
    ] {
        let mut session = ends.answering(answer, |mut server| server.set_quiet_shutdown(true));
        assert_eq!(get(&mut session, "/").unwrap().1, "some content");
    }
}

#[test]
fn a_message_that_is_cut_says_how_much_is_missing() {
    let mut session = ends().answering("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nsome", |mut server| {
        server.set_quiet_shutdown(true);
    });
    let error = get(&mut session, "/").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    assert!(error.to_string().contains("20"), "{error}");
}

#[test]
fn a_goodbye_does_not_make_a_cut_message_whole() {
    let ends = ends();
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nsome",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nsome",
        "HTTP/1.1 200 OK\r\nContent-Le",
    ] {
        let error = get(&mut ends.answering(answer, drop), "/").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incomplete, "{answer}");
    }
}

#[test]
fn an_idle_connection_that_ends_without_a_goodbye_is_made_anew() {
    let ends = ends();
    let context = ends.server.clone();
    // Each connection serves one request and is then cut.
    let server = Server::with(move |stream| {
        let socket = Socket::from_tcp(stream).unwrap();
        let mut tls = TlsStream::server(Stream::Tcp(socket), &context).unwrap();
        tls.set_quiet_shutdown(true);
        read_head(&mut tls);
        write_all(&mut tls, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let _ = tls.below_mut().shutdown(Shutdown::Write, &Limit::none());
        // Whatever comes now is lost.
        let _ = read_to_end(&mut tls);
    });
    let mut session = server.session(&ends.client);
    for _ in 0..3 {
        assert_eq!(get(&mut session, "/").unwrap().1, "ok");
    }
}

#[test]
fn content_that_ends_with_the_connection_ends_with_a_goodbye() {
    let ends = ends();
    let context = ends.server.clone();
    let server = Server::with(move |stream| {
        let stream = context.accept(Stream::Tcp(Socket::from_tcp(stream).unwrap())).unwrap();
        let mut session = HttpServerSession::new(stream, ServerSessionParams::default()).unwrap();
        let mut request = Request::default();
        while session.has_more_requests().unwrap() {
            session.receive_request(&mut request).unwrap();
            let mut body = session.send_response(&Response::new()).unwrap();
            body.write_all(&[b'x'; 100_000]).unwrap();
            if request.target() == "/fails" {
                return;
            }
        }
    });
    // HTTP/1.0 knows no chunks, so that content without a length ends with the connection.
    let mut request = Request::get("/");
    request.set_version(sessile::message::Version::Http10);
    let mut fails = request.clone();
    fails.set_target("/fails").unwrap();
    for (request, whole) in [(request, true), (fails, false)] {
        let mut session = server.session(&ends.client);
        session.send_request(&request).unwrap();
        let mut content = Vec::new();
        let read = session.receive_response(&mut Response::new()).unwrap().read_to_end(&mut content);
        assert_eq!(read.is_ok(), whole, "content that was not ended does not look so");
    }
}

#[test]
fn a_dropped_stream_says_goodbye() {
    let (mut client, server) = ends().in_memory(|mut server| {
        write_all(&mut server, b"hello");
    });
    assert_eq!(read_to_end(&mut client).unwrap(), b"hello");
    server.join().unwrap();
    let (mut client, server) = ends().in_memory(|mut server| read_to_end(&mut server).unwrap());
    write_all(&mut client, b"hello");
    drop(client);
    assert_eq!(server.join().unwrap(), b"hello");
}

#[test]
fn a_goodbye_is_never_waited_with_nor_for() {
    let ends = ends();
    let context = ends.server.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let stopped = Arc::new(Mutex::new(stopped));
    let server = Server::with(move |stream| {
        let mut tls = TlsStream::server(Stream::Tcp(Socket::from_tcp(stream).unwrap()), &context).unwrap();
        tls.handshake(&within(10)).unwrap();
        // Takes nothing, says nothing, does not close.
        let _ = stopped.lock().unwrap().recv();
    });
    let mut client = TlsStream::client(server.connect(), "localhost", &ends.client).unwrap();
    client.handshake(&within(10)).unwrap();
    let full = loop {
        let wrote = client
            .write_vectored(&[IoSlice::new(&[0; 100_000])], &Limit::stall(Duration::from_millis(50)))
            .and_then(|_| client.flush(&Limit::stall(Duration::from_millis(50))));
        if let Err(error) = wrote {
            break error;
        }
    };
    assert!(full.is_timeout());
    let started = Instant::now();
    drop(client);
    assert!(started.elapsed() < Duration::from_millis(50), "{:?}", started.elapsed());
    drop(stop);
}

#[test]
fn after_a_half_close_the_other_half_goes_on() {
    let (mut client, server) = ends().in_memory(|mut server| {
        let all = read_to_end(&mut server).unwrap();
        write_all(&mut server, &all);
    });
    write_all(&mut client, b"hello");
    client.shutdown(Shutdown::Write, &within(10)).unwrap();
    assert_eq!(read_to_end(&mut client).unwrap(), b"hello");
    server.join().unwrap();
}

// What the peer sends beside content.

/// A server by hand, on the library itself, for what ours never does.
fn raw_server(authority: &Authority) -> (rustls::ServerConnection, Pipe, Pipe) {
    let issued = authority.server(&["localhost"]);
    use rustls::pki_types::pem::PemObject;
    let chain = rustls::pki_types::CertificateDer::pem_slice_iter(issued.pem.as_bytes());
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.collect::<std::result::Result<_, _>>().unwrap(), key)
            .unwrap();
    let (near, far) = pair();
    (rustls::ServerConnection::new(Arc::new(config)).unwrap(), far, near)
}

#[test]
fn what_tls_says_for_itself_does_not_spoil_an_idle_connection_and_plaintext_does() {
    let authority = Authority::new("an authority");
    let (mut server, mut far, near) = raw_server(&authority);
    let (asks, asked) = std::sync::mpsc::channel::<&str>();
    let (did, done) = std::sync::mpsc::channel::<()>();
    let peer = thread::spawn(move || {
        while server.is_handshaking() {
            server.complete_io(&mut far).unwrap();
        }
        let mut block = [0; 1000];
        let answer = |server: &mut rustls::ServerConnection, far: &mut Pipe| {
            server.writer().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            server.complete_io(far).unwrap();
        };
        while server.reader().read(&mut block).is_err() {
            server.complete_io(&mut far).unwrap();
        }
        answer(&mut server, &mut far);
        for ask in asked {
            match ask {
                "new keys" => server.refresh_traffic_keys().unwrap(),
                _ => server.writer().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap(),
            }
            while server.wants_write() {
                server.write_tls(&mut far).unwrap();
            }
            did.send(()).unwrap();
        }
    });
    let stream = authority.trusting().connect(Stream::custom(near), "localhost").unwrap();
    let mut session = HttpsClientSession::with_stream(stream, "localhost", 443).unwrap();
    assert_eq!(get(&mut session, "/").unwrap().1, "ok");
    assert!(session.connection_mut().is_reusable());
    asks.send("new keys").unwrap();
    done.recv().unwrap();
    assert!(session.connection_mut().is_reusable(), "new keys are nothing to us");
    asks.send("something that nobody asked for").unwrap();
    done.recv().unwrap();
    assert!(!session.connection_mut().is_reusable());
    drop(asks);
    peer.join().unwrap();
}

#[test]
fn what_was_decrypted_already_is_seen_by_everybody_who_looks() {
    let ends = ends();
    let (near, far) = pair();
    let server = ends.server.accept(Stream::custom(far)).unwrap();
    let mut client = TlsStream::client(Stream::custom(near), "localhost", &ends.client).unwrap();
    let peer = thread::spawn(move || {
        let mut session = HttpServerSession::new(server, ServerSessionParams::default()).unwrap();
        let mut request = Request::default();
        let mut targets = Vec::new();
        while session.has_more_requests().unwrap() {
            session.receive_request(&mut request).unwrap();
            targets.push(request.target().to_owned());
            let mut response = Response::new();
            response.set_content_length(0);
            session.send_response(&response).unwrap();
        }
        targets
    });
    // One record with several requests, the last of them in two.
    write_all(&mut client, b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HT");
    write_all(&mut client, b"TP/1.1\r\nHost: a\r\n\r\n");
    client.shutdown(Shutdown::Write, &within(10)).unwrap();
    let answers = String::from_utf8(read_to_end(&mut client).unwrap()).unwrap();
    assert_eq!(answers.matches("200 OK").count(), 3);
    assert_eq!(peer.join().unwrap(), ["/1", "/2", "/3"]);

    let (mut client, server) = ends.in_memory(|mut server| {
        write_all(&mut server, b"hello");
        server.read(&mut [0; 1], &within(10)).unwrap()
    });
    assert_eq!(client.read(&mut [0; 2], &within(10)).unwrap(), 2);
    assert!(client.has_buffered());
    assert_eq!(client.peek_nowait().unwrap(), Readiness::Data);
    assert_eq!(client.read(&mut [0; 20], &within(10)).unwrap(), 3);
    assert!(!client.has_buffered());
    assert_eq!(client.peek_nowait().unwrap(), Readiness::Nothing);
    drop(client);
    assert_eq!(server.join().unwrap(), 0);
}

// Cuts and garbage.

/// Where a connection is cut: at or in a record, counted from 0.
#[derive(Clone, Copy, Debug)]
struct Knife {
    record: usize,
    /// How much of it still comes: so many bytes, or all but so many, or half.
    part: Part,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    First(usize),
    AllBut(usize),
    Half,
}

/// A stream that ends where it is cut.
#[derive(Debug)]
struct Cut {
    stream: Stream,
    knife: Option<Knife>,
    records: Arc<AtomicUsize>,
    ready: Vec<u8>,
    ended: bool,
}

impl Cut {
    fn next_record(&mut self, limit: &Limit) -> Result<()> {
        let mut record = Vec::new();
        let mut whole = 5;
        while record.len() < whole {
            let mut block = vec![0; whole - record.len()];
            match self.stream.read(&mut block, limit)? {
                0 => {
                    self.ended = true;
                    break;
                }
                n => record.extend_from_slice(&block[..n]),
            }
            if record.len() == 5 {
                whole = 5 + usize::from(u16::from_be_bytes([record[3], record[4]]));
            }
        }
        if !record.is_empty() {
            let index = self.records.fetch_add(1, Ordering::SeqCst);
            if let Some(knife) = self.knife.filter(|knife| knife.record == index) {
                record.truncate(match knife.part {
                    Part::First(n) => n,
                    Part::AllBut(n) => record.len() - n,
                    Part::Half => record.len() / 2,
                });
                self.ended = true;
            }
        }
        self.ready = record;
        Ok(())
    }
}

impl Transport for Cut {
    fn read(&mut self, buf: &mut [u8], limit: &Limit) -> Result<usize> {
        if self.ready.is_empty() && !self.ended {
            self.next_record(limit)?;
        }
        let n = self.ready.len().min(buf.len());
        buf[..n].copy_from_slice(&self.ready[..n]);
        self.ready.drain(..n);
        Ok(n)
    }
    fn write_vectored(&mut self, parts: &[IoSlice<'_>], limit: &Limit) -> Result<usize> {
        self.stream.write_vectored(parts, limit)
    }
    fn peek_nowait(&mut self) -> Result<Readiness> {
        match (self.ready.is_empty(), self.ended) {
            (false, _) => Ok(Readiness::Data),
            (true, true) => Ok(Readiness::End),
            (true, false) => self.stream.peek_nowait(),
        }
    }
    fn shutdown(&mut self, how: Shutdown, limit: &Limit) -> Result<()> {
        self.stream.shutdown(how, limit)
    }
    fn attach_abort(&mut self, abort: &AbortHandle) -> Result<()> {
        self.stream.attach_abort(abort)
    }
}

/// What a client makes of a response of ten records that is cut, and how many records came.
fn cut(ends: &Ends, knife: Option<Knife>) -> (Result<String>, usize) {
    let (near, far) = pair();
    let server = ends.server.clone();
    let peer = thread::spawn(move || {
        let mut tls = TlsStream::server(Stream::custom(far), &server)?;
        let mut head = [0; 1000];
        let n = tls.read(&mut head, &within(5))?;
        if n == 0 {
            return Ok(());
        }
        tls.write_vectored(&[IoSlice::new(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")], &within(5))?;
        for _ in 0..10 {
            tls.write_vectored(&[IoSlice::new(b"a part of it ")], &within(5))?;
            tls.flush(&within(5))?;
        }
        Ok::<_, Error>(())
    });
    let records = Arc::new(AtomicUsize::new(0));
    let (ready, ended) = (Vec::new(), false);
    let cut = Cut { stream: Stream::custom(near), knife, records: records.clone(), ready, ended };
    let stream = ends.client.connect(Stream::custom(cut), "localhost").unwrap();
    let mut session = HttpsClientSession::with_stream(stream, "localhost", 443).unwrap();
    session.set_timeout(Duration::from_secs(5));
    let result = get(&mut session, "/").map(|(_, text)| text);
    drop(session);
    let _ = peer.join().unwrap();
    (result, records.load(Ordering::SeqCst))
}

#[test]
fn a_cut_at_every_record_and_within_is_an_error_in_time() {
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let ends = Ends::speaking(version);
        // Full handshakes all the time.
        let client = TlsContext::client()
            .only_added_cas()
            .add_ca_pem(&ends.authority.pem)
            .max_version(version)
            .session_cache_size(0);
        let ends = Ends { client: client.build().unwrap(), ..ends };
        let (whole, records) = cut(&ends, None);
        assert_eq!(whole.unwrap(), "a part of it ".repeat(10));
        assert!(records > 12, "{version}: {records}");
        // The last record is the goodbye; all that is before it is not enough.
        for record in 0..records {
            for part in [Part::First(0), Part::First(1), Part::First(5), Part::Half, Part::AllBut(1)] {
                let knife = Knife { record, part };
                let started = Instant::now();
                let error = cut(&ends, Some(knife)).0.unwrap_err();
                assert!(
                    matches!(error.kind(), ErrorKind::Incomplete | ErrorKind::NoMessage | ErrorKind::Tls),
                    "{version} {knife:?}: {error:?}"
                );
                assert!(started.elapsed() < Duration::from_secs(4), "{version} {knife:?}");
            }
        }
    }
}

#[test]
fn a_record_that_was_changed_is_an_error_behind_what_came_before_it() {
    #[derive(Debug)]
    struct Changing(Stream, usize);
    impl Transport for Changing {
        fn read(&mut self, buf: &mut [u8], limit: &Limit) -> Result<usize> {
            self.0.read(buf, limit)
        }
        fn write_vectored(&mut self, parts: &[IoSlice<'_>], limit: &Limit) -> Result<usize> {
            self.1 += 1;
            let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
            if bytes.len() == 22 + 6 {
                bytes[10] ^= 1;
            }
            let whole = self.0.write_vectored(&[IoSlice::new(&bytes)], limit)?;
            assert_eq!(whole, bytes.len());
            Ok(whole)
        }
        fn peek_nowait(&mut self) -> Result<Readiness> {
            self.0.peek_nowait()
        }
        fn shutdown(&mut self, how: Shutdown, limit: &Limit) -> Result<()> {
            self.0.shutdown(how, limit)
        }
        fn attach_abort(&mut self, abort: &AbortHandle) -> Result<()> {
            self.0.attach_abort(abort)
        }
    }
    let ends = ends();
    let (near, far) = pair();
    let server = ends.server.clone();
    let peer = thread::spawn(move || {
        let mut tls = TlsStream::server(Stream::custom(Changing(Stream::custom(far), 0)), &server).unwrap();
        tls.handshake(&within(10)).unwrap();
        write_all(&mut tls, b"untouched");
        write_all(&mut tls, b"change");
        tls.read(&mut [0; 10], &within(10)).unwrap_err()
    });
    let mut client = TlsStream::client(Stream::custom(near), "localhost", &ends.client).unwrap();
    let mut block = [0; 100];
    client.handshake(&within(10)).unwrap();
    let n = client.read(&mut block, &within(10)).unwrap();
    assert_eq!(&block[..n], b"untouched");
    let error = client.read(&mut block, &within(10)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert!(error.to_string().contains("changed on its way"), "{error}");
    assert_eq!(client.read(&mut block, &within(10)).unwrap_err().kind(), ErrorKind::Tls, "and stays so");
    assert!(peer.join().unwrap().to_string().contains("BadRecordMac"), "the server is told");
}

#[test]
fn a_server_that_speaks_no_tls_is_an_error_that_says_so() {
    let ends = ends();
    for garbage in ["HTTP/1.1 400 Bad Request\r\n\r\n", "220 mail.example ESMTP\r\n", "\0\0\0\0\0\0\0\0"] {
        let server = Server::with(move |mut stream| {
            stream.write_all(garbage.as_bytes()).unwrap();
            let _ = stream.read(&mut [0; 1000]);
        });
        let mut session = server.session(&ends.client);
        let error = get(&mut session, "/").unwrap_err();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Tls, Some(Phase::Handshake)));
        assert_eq!(error.to_string(), "the peer does not speak TLS here");
        assert!(!session.is_connected());
    }
}

#[test]
fn garbage_in_a_handshake_is_an_error_and_no_panic() {
    let ends = ends();
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..200 {
        let (near, mut far) = pair();
        let mut garbage = vec![22, 3, 3];
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let length = (seed % 300) as u16;
        garbage.extend(length.to_be_bytes());
        for i in 0..length {
            garbage.push((seed.rotate_left(u32::from(i) % 64) ^ u64::from(i)) as u8);
        }
        garbage.extend([22, 3, 3, 0, 4, (seed >> 5) as u8 % 25, 0, 0, 0]);
        far.write_all(&garbage).unwrap();
        far.shutdown(Shutdown::Write, &Limit::none()).unwrap();
        let mut tls = if seed % 2 == 0 {
            TlsStream::client(Stream::custom(near), "localhost", &ends.client).unwrap()
        } else {
            TlsStream::server(Stream::custom(near), &ends.server).unwrap()
        };
        assert_eq!(tls.handshake(&within(5)).unwrap_err().kind(), ErrorKind::Tls);
        assert!(tls.write_vectored(&[IoSlice::new(b"x")], &within(5)).is_err());
    }
}

#[test]
fn older_versions_are_refused_by_a_server() {
    let ends = ends();
    let server = Server::answering(&ends.server);
    for minor in [1, 2] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        // ClientHello of TLS 1.0 or 1.1: no extensions, an RSA suite with AES.
        let mut body = vec![3, minor];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0, 0x2F, 1, 0]);
        let mut hello = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
        hello.extend(body);
        stream.write_all(&hello).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        // An alert, fatal: protocol_version, or handshake_failure for want of what only 1.2 has.
        assert!(matches!(answer[..], [21, 3, _, 0, 2, 2, 40 | 70]), "3.{minor}: {answer:?}");
    }
}

#[test]
fn older_versions_are_refused_by_a_client() {
    let ends = ends();
    for minor in [1, 2] {
        let server = Server::with(move |mut stream| {
            let _ = stream.read(&mut [0; 4000]).unwrap();
            let mut body = vec![3, minor];
            body.extend([7; 32]);
            body.extend([0, 0, 0x2F, 0]);
            let mut hello = vec![22, 3, minor, 0, body.len() as u8 + 4, 2, 0, 0, body.len() as u8];
            hello.extend(body);
            stream.write_all(&hello).unwrap();
            let mut alert = Vec::new();
            let _ = stream.read_to_end(&mut alert);
            assert_eq!(&alert[alert.len() - 2..], [2, 70], "{alert:?}");
        });
        let error = get(&mut server.session(&ends.client), "/").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls);
        assert!(error.to_string().contains("speaks no version of TLS that is allowed"), "{error}");
    }
}

#[test]
fn two_sides_without_a_version_in_common_are_told() {
    let authority = Authority::new("an authority");
    let issued = authority.server(&["localhost"]);
    let server = TlsContext::server().certificate_pem(&issued.pem, &issued.key);
    let server = Server::answering(&server.max_version(TlsVersion::Tls12).build().unwrap());
    let client = TlsContext::client().only_added_cas().add_ca_pem(&authority.pem);
    let error =
        get(&mut server.session(&client.min_version(TlsVersion::Tls13).build().unwrap()), "/").unwrap_err();
    assert!(error.to_string().contains("version of TLS"), "{error}");
    let upside_down = TlsContext::client().min_version(TlsVersion::Tls13).max_version(TlsVersion::Tls12);
    assert_eq!(upside_down.build().unwrap_err().kind(), ErrorKind::InvalidArgument);
}

// Time and aborts.

fn silent() -> Server {
    Server::with(|mut stream| {
        let _ = io::copy(&mut stream, &mut io::sink());
    })
}

#[test]
fn a_handshake_that_stalls_is_over_in_the_connect_time_out() {
    let server = silent();
    let mut session = server.session(&ends().client);
    session.set_connect_timeout(Duration::from_millis(200));
    let started = Instant::now();
    let error = get(&mut session, "/").unwrap_err();
    assert_eq!((error.kind(), error.phase()), (ErrorKind::Timeout, Some(Phase::Handshake)));
    assert_eq!(error.to_string(), "the TLS handshake took too long");
    assert!((195..600).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    session.reset();
    session.set_timeouts(Timeouts { total: Some(Duration::from_millis(150)), ..Timeouts::default() });
    let started = Instant::now();
    assert!(get(&mut session, "/").unwrap_err().is_timeout());
    assert!((145..600).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    // No read may stall for longer than any other may.
    session.reset();
    session.set_timeouts(Timeouts { receive: Duration::from_millis(150), ..Timeouts::default() });
    let started = Instant::now();
    assert!(get(&mut session, "/").unwrap_err().is_timeout());
    assert!((145..600).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

/// A way to the server that lets so many records through in each direction, and then nothing. Says
/// when the server's are through, or can't be any more.
fn held_up(
    server: SocketAddr,
    from_client: usize,
    from_server: usize,
) -> (Server, std::sync::mpsc::Receiver<()>) {
    let (through, told) = std::sync::mpsc::channel();
    let between = Server::with(move |client| {
        let server = TcpStream::connect(server).unwrap();
        let (back, to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let through = through.clone();
        thread::spawn(move || {
            pass(back, to_client, from_server, || through.send(()).unwrap_or_default());
        });
        pass(client, server, from_client, || {});
    });
    (between, told)
}

fn pass(mut from: TcpStream, mut to: TcpStream, records: usize, held: impl FnOnce()) {
    for _ in 0..records {
        let mut record = vec![0; 5];
        if from.read_exact(&mut record).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            return held();
        }
        record.resize(5 + usize::from(u16::from_be_bytes([record[3], record[4]])), 0);
        if from.read_exact(&mut record[5..]).is_err() || to.write_all(&record).is_err() {
            return held();
        }
    }
    held();
    let _ = io::copy(&mut from, &mut io::sink());
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn a_handshake_that_stalls_anywhere_ends_in_time_and_by_an_abort() {
    for (version, least) in [(TlsVersion::Tls12, 4), (TlsVersion::Tls13, 3)] {
        let ends = Ends::speaking(version);
        let server = Server::answering(&ends.server);
        let mut stalled = 0;
        for records in 0.. {
            let (between, held) = held_up(server.address, usize::MAX, records);
            let mut session = between.session(&ends.client);
            session.set_connect_timeout(Duration::from_millis(100));
            session.set_receive_timeout(Duration::from_millis(100));
            let started = Instant::now();
            let Err(error) = get(&mut session, "/") else { break };
            assert!(error.is_timeout(), "{version} {records}: {error:?}");
            assert!((95..800).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
            if error.phase() != Some(Phase::Handshake) {
                break;
            }
            stalled += 1;
            held.recv().unwrap();
            let mut session = between.session(&ends.client);
            let abort = session.abort_handle();
            let caller = thread::spawn(move || get(&mut session, "/").map(drop));
            held.recv().unwrap();
            let started = Instant::now();
            abort.abort();
            // A machine that is slow lets the last record through behind the time-out above.
            let aborted =
                caller.join().unwrap().map_or_else(|error| error.is_aborted(), |()| stalled > least);
            assert!(aborted, "{version} {records}");
            assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        }
        assert!(stalled >= least, "{version}: {stalled}");
    }
}

#[test]
fn a_server_waits_for_a_client_that_stalls_anywhere_for_its_own_time() {
    for (version, least) in [(TlsVersion::Tls12, 3), (TlsVersion::Tls13, 2)] {
        let authority = Authority::new("an authority");
        let issued = authority.server(&["localhost"]);
        let context = TlsContext::server()
            .certificate_pem(&issued.pem, &issued.key)
            .min_version(version)
            .handshake_timeout(Duration::from_millis(100))
            .build()
            .unwrap();
        let client = TlsContext::client().only_added_cas().add_ca_pem(&authority.pem).max_version(version);
        let client = client.build().unwrap();
        let (ended, endings) = std::sync::mpsc::channel();
        let server = Server::with(move |stream| {
            let mut stream = context.accept(Stream::Tcp(Socket::from_tcp(stream).unwrap())).unwrap();
            let started = Instant::now();
            let read = Limit::stall(Duration::from_millis(300));
            let ending = stream.read(&mut [0; 10], &read).map_err(|error| error.phase());
            ended.send((ending, started.elapsed())).unwrap();
        });
        let mut stalled = 0;
        for records in 0.. {
            let (between, _) = held_up(server.address, records, usize::MAX);
            let mut session = between.session(&client);
            thread::spawn(move || get(&mut session, "/").map(drop));
            let (ending, took) = endings.recv().unwrap();
            if ending != Err(Some(Phase::Handshake)) {
                break;
            }
            assert!((95..800).contains(&took.as_millis()), "{version} {records}: {took:?}");
            stalled += 1;
        }
        assert!(stalled >= least, "{version}: {stalled}");
    }
}

fn dribbling() -> Server {
    Server::with(|mut stream| {
        let record = [22, 3, 3, 0x3F, 0xFF];
        for byte in record.into_iter().chain(std::iter::repeat(0)) {
            if stream.write_all(&[byte]).is_err() {
                break;
            }
            let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
            let _ = stream.read(&mut [0; 1000]);
        }
    })
}

#[test]
fn a_handshake_that_dribbles_gets_no_more_time() {
    let server = dribbling();
    let mut session = server.session(&ends().client);
    session.set_connect_timeout(Duration::from_millis(300));
    let started = Instant::now();
    assert!(get(&mut session, "/").unwrap_err().is_timeout());
    assert!((295..700).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

#[test]
fn a_handshake_on_a_given_stream_has_the_time_of_connecting_too() {
    let server = dribbling();
    for (connect, total) in [(300, None), (30_000, Some(Duration::from_millis(300)))] {
        let stream = Stream::Tcp(Socket::from_tcp(TcpStream::connect(server.address).unwrap()).unwrap());
        let mut session = HttpsClientSession::with_stream(stream, "localhost", 443).unwrap();
        session.set_timeouts(Timeouts {
            connect: Duration::from_millis(connect),
            total,
            ..Timeouts::default()
        });
        let started = Instant::now();
        let error = get(&mut session, "/").unwrap_err();
        assert_eq!((error.kind(), error.phase()), (ErrorKind::Timeout, Some(Phase::Handshake)));
        assert!((295..1000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    }
}

#[test]
fn a_handshake_can_be_aborted() {
    let server = silent();
    let mut session = server.session(&ends().client);
    let abort = session.abort_handle();
    let (waits, waiting) = std::sync::mpsc::channel();
    let aborter = thread::spawn(move || {
        waiting.recv().unwrap();
        // Now it is in the handshake, or will be.
        thread::yield_now();
        abort.abort();
        Instant::now()
    });
    #[derive(Debug)]
    struct Telling(Mutex<std::sync::mpsc::Sender<()>>);
    impl sessile::session::Observer for Telling {
        fn phase(&self, phase: Phase) {
            if phase == Phase::Handshake {
                self.0.lock().unwrap().send(()).unwrap();
            }
        }
    }
    session.connection_mut().set_observer(Some(Arc::new(Telling(Mutex::new(waits)))));
    let error = get(&mut session, "/").unwrap_err();
    let aborted_at = aborter.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::Aborted);
    assert!(aborted_at.elapsed() < Duration::from_secs(1));
    assert!(get(&mut session, "/").unwrap_err().is_aborted(), "until it is reset");
    session.reset();
    assert!(!session.is_connected());
}

#[test]
fn an_abort_ends_reads_and_writes_under_tls() {
    let ends = ends();
    let (mut client, server) = ends.in_memory(|mut server| {
        server.handshake(&within(10)).unwrap();
        server
    });
    client.handshake(&within(10)).unwrap();
    let _server = server.join().unwrap();
    let abort = AbortHandle::new();
    client.attach_abort(&abort).unwrap();
    let reader = thread::spawn(move || {
        let error = client.read(&mut [0; 10], &Limit::none()).unwrap_err();
        (client, error)
    });
    abort.abort();
    let (mut client, error) = reader.join().unwrap();
    assert!(error.is_aborted(), "{error:?}");
    assert!(client.write_vectored(&[IoSlice::new(b"x")], &Limit::none()).unwrap_err().is_aborted());
}

#[test]
fn a_handshake_goes_on_after_a_limit_of_the_caller_s() {
    let ends = ends();
    let (near, far) = pair();
    let mut client = TlsStream::client(Stream::custom(near), "localhost", &ends.client).unwrap();
    let brief = Limit::stall(Duration::from_millis(20));
    assert!(client.handshake(&brief).unwrap_err().is_timeout());
    assert!(client.is_handshaking());
    let server = ends.server.clone();
    let peer = thread::spawn(move || {
        let mut server = TlsStream::server(Stream::custom(far), &server).unwrap();
        server.handshake(&within(10)).unwrap();
    });
    client.handshake(&within(10)).unwrap();
    assert!(!client.is_handshaking());
    peer.join().unwrap();
}

#[test]
fn a_server_s_handshake_has_a_time_of_its_own() {
    let issued = Authority::new("an authority").server(&["localhost"]);
    let context = TlsContext::server()
        .certificate_pem(&issued.pem, &issued.key)
        .handshake_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let (near, mut far) = pair();
    let mut server = TlsStream::server(Stream::custom(near), &context).unwrap();
    far.write_all(&[22, 3, 1]).unwrap();
    let started = Instant::now();
    let error = server.read(&mut [0; 10], &within(10)).unwrap_err();
    assert_eq!((error.kind(), error.phase()), (ErrorKind::Timeout, Some(Phase::Handshake)));
    assert!((195..600).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    assert!(server.read(&mut [0; 10], &within(10)).unwrap_err().is_timeout(), "it is over");
}

#[test]
fn a_record_that_dribbles_in_wins_no_time_for_a_head() {
    let ends = ends();
    let context = ends.server.clone();
    let server = Server::with(move |stream| {
        let stream = context.accept(Stream::Tcp(Socket::from_tcp(stream).unwrap())).unwrap();
        let mut params = ServerSessionParams::default();
        params.keep_alive_timeout = Duration::from_millis(200);
        let mut session = HttpServerSession::new(stream, params).unwrap();
        let mut request = Request::default();
        while session.has_more_requests().unwrap() {
            session.receive_request(&mut request).unwrap();
            let mut response = Response::new();
            response.set_content_length(0);
            session.send_response(&response).unwrap();
        }
        session.close();
    });
    let mut client = TlsStream::client(server.connect(), "localhost", &ends.client).unwrap();
    write_all(&mut client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.read(&mut [0; 1000], &within(10)).unwrap() > 0);
    // A record of 16 KiB, a byte at a time, each well within the time-out.
    let started = Instant::now();
    let below = client.below_mut();
    for byte in [23, 3, 3, 0x40, 0].into_iter().chain(std::iter::repeat(0)) {
        if below.write_vectored(&[IoSlice::new(&[byte])], &within(10)).is_err() {
            break;
        }
        let gone = below.read(&mut [0; 1000], &Limit::stall(Duration::from_millis(20)));
        if !gone.is_err_and(|error| error.is_timeout()) {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "the server waits on");
    }
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

// Volume.

#[test]
fn large_content_goes_in_full_records_and_few_writes() {
    const SIZE: usize = 4 << 20;
    let ends = ends();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client =
        Stream::Tcp(Socket::from_tcp(TcpStream::connect(listener.local_addr().unwrap()).unwrap()).unwrap());
    let (peer, _) = listener.accept().unwrap();
    let context = ends.server.clone();
    let peer = thread::spawn(move || {
        let mut server = TlsStream::server(Stream::Tcp(Socket::from_tcp(peer).unwrap()), &context).unwrap();
        read_to_end(&mut server).unwrap().len()
    });
    let (counting, counts) = Counting::new(client);
    let mut client = TlsStream::client(Stream::custom(counting), "localhost", &ends.client).unwrap();
    client.handshake(&within(10)).unwrap();
    let (writes, bytes) = (counts.writes(), counts.bytes_written());
    let data = vec![7; SIZE];
    let mut rest = &data[..];
    while !rest.is_empty() {
        let n =
            client.write_vectored(&[IoSlice::new(&rest[..rest.len().min(256 << 10)])], &within(10)).unwrap();
        rest = &rest[n..];
    }
    client.flush(&within(10)).unwrap();
    let records = SIZE.div_ceil(16 << 10) as u64 + 2;
    let overhead = counts.bytes_written() - bytes - SIZE as u64;
    assert!(overhead <= records * 22, "{overhead} bytes around {records} records");
    assert!(counts.writes() - writes <= 20, "{} writes", counts.writes() - writes);
    drop(client);
    assert_eq!(peer.join().unwrap(), SIZE);
}

#[test]
fn a_small_exchange_is_one_write_and_one_read() {
    let ends = ends();
    let server = Server::answering(&ends.server);
    let (counting, counts) = Counting::new(server.connect());
    let stream = ends.client.connect(Stream::custom(counting), "localhost").unwrap();
    let mut session = HttpsClientSession::with_stream(stream, "localhost", 443).unwrap();
    get(&mut session, "/").unwrap();
    assert_eq!(counts.writes(), 2, "a hello, and then the end of the handshake with the request");
    let (writes, reads) = (counts.writes(), counts.reads());
    for _ in 0..10 {
        get(&mut session, "/").unwrap();
    }
    assert_eq!((counts.writes() - writes, counts.reads() - reads), (10, 10));
}

#[test]
fn an_upload_and_its_echo_go_both_ways_at_once() {
    const SIZE: u64 = 16 << 20;
    let ends = ends();
    let context = ends.server.clone();
    let server = Server::with(move |stream| {
        let stream = context.accept(Stream::Tcp(Socket::from_tcp(stream).unwrap())).unwrap();
        let mut session = HttpServerSession::new(stream, ServerSessionParams::default()).unwrap();
        let mut request = Request::default();
        while session.has_more_requests().unwrap() {
            let mut body = session.receive_request(&mut request).unwrap();
            let mut content = Vec::new();
            body.read_to_end(&mut content).unwrap();
            let mut response = Response::new();
            response.set_chunked(true);
            let mut out = session.send_response(&response).unwrap();
            for part in content.chunks(50_000) {
                out.write_all(part).unwrap();
            }
        }
    });
    let mut session = server.session(&ends.client);
    for chunked in [false, true] {
        let mut request = Request::new(Method::POST, "/echo");
        if chunked {
            request.set_chunked(true);
        } else {
            request.set_content_length(SIZE);
        }
        let mut content = io::repeat(b'x').take(SIZE);
        let mut response = Response::new();
        let mut body = session.exchange(&request, &mut content, &mut response).unwrap();
        assert_eq!(io::copy(&mut body, &mut io::sink()).unwrap(), SIZE);
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[test]
fn tls_stands_on_tls() {
    let (outer, inner) = (ends(), ends());
    let (near, far) = pair();
    let (outer_server, inner_server) = (outer.server.clone(), inner.server.clone());
    let peer = thread::spawn(move || {
        let below = outer_server.accept(Stream::custom(far)).unwrap();
        let mut server = TlsStream::server(below, &inner_server).unwrap();
        let all = read_to_end(&mut server).unwrap();
        write_all(&mut server, &all);
    });
    let below = outer.client.connect(Stream::custom(near), "localhost").unwrap();
    let mut client = TlsStream::client(below, "localhost", &inner.client).unwrap();
    let data: Vec<u8> = (0..1_000_000).map(|i| (i % 251) as u8).collect();
    let writer = data.clone();
    // In turns: the peer answers at the end.
    write_all(&mut client, &writer);
    client.shutdown(Shutdown::Write, &within(10)).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(read_to_end(&mut client).unwrap(), data);
    peer.join().unwrap();
}

// Settings.

#[test]
fn both_sides_agree_on_http_1_1() {
    let ends = ends();
    let server = Server::answering(&ends.server);
    let mut session = server.session(&ends.client);
    get(&mut session, "/").unwrap();
    let (protocol, suite) = session.with_tls(|tls| (tls.protocol(), tls.cipher_suite())).unwrap();
    assert_eq!(protocol.as_deref(), Some("http/1.1"));
    assert!(suite.unwrap().starts_with("TLS_"), "as IANA has it");

    let other = TlsContext::client().only_added_cas().add_ca_pem(&ends.authority.pem).protocols(["h2"]);
    let error = get(&mut server.session(&other.build().unwrap()), "/").unwrap_err();
    assert!(error.to_string().contains("does not speak HTTP/1.1"), "{error}");
    let none = TlsContext::client().only_added_cas().add_ca_pem(&ends.authority.pem).protocols([""; 0]);
    let mut session = server.session(&none.build().unwrap());
    get(&mut session, "/").unwrap();
    assert_eq!(session.with_tls(|tls| tls.protocol()), Some(None));
}

#[test]
fn keys_are_logged_where_that_is_asked_for_and_nowhere_else() {
    let ends = ends();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = lines.clone();
    let path = std::env::temp_dir().join(format!("sessile-keys-{}", std::process::id()));
    let client = TlsContext::client()
        .only_added_cas()
        .add_ca_pem(&ends.authority.pem)
        .key_log(move |line| log.lock().unwrap().push(line.to_owned()));
    let issued = ends.authority.server(&["localhost"]);
    let server = TlsContext::server().certificate_pem(&issued.pem, &issued.key).key_log_file(&path);
    let server = Server::answering(&server.build().unwrap());
    get(&mut server.session(&client.build().unwrap()), "/").unwrap();
    let mut by_client = lines.lock().unwrap().clone();
    let mut by_server: Vec<String> =
        std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions()) & 0o777,
        0o600
    );
    std::fs::remove_file(&path).unwrap();
    by_client.sort();
    by_server.sort();
    assert_eq!(by_client, by_server);
    assert!(by_client.iter().any(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0 ")), "{by_client:?}");
    assert!(by_client.iter().all(|line| line.split(' ').count() == 3));
}

#[test]
fn each_context_names_its_provider() {
    let ends = ends();
    let server = Server::answering(&ends.server);
    let client = |provider| {
        let client = TlsContext::client().only_added_cas().add_ca_pem(&ends.authority.pem);
        client.provider(provider).build()
    };
    get(&mut server.session(&client(TlsProvider::Ring).unwrap()), "/").unwrap();
    assert_eq!(TlsProvider::default(), TlsProvider::Ring, "whatever else was compiled in");
    match client(TlsProvider::AwsLcRs) {
        Ok(context) if cfg!(feature = "tls-aws-lc-rs") => {
            get(&mut server.session(&context), "/").unwrap();
            let issued = ends.authority.server(&["localhost"]);
            let other = TlsContext::server().certificate_pem(&issued.pem, &issued.key);
            let other = Server::answering(&other.provider(TlsProvider::AwsLcRs).build().unwrap());
            assert!(!reused(&mut other.session(&ends.client)));
            assert!(reused(&mut other.session(&ends.client)));
        }
        Ok(_) => panic!("it was not compiled in"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("tls-aws-lc-rs"), "{error}");
        }
    }
}

#[test]
fn the_system_s_verifier_is_asked_where_it_was_compiled_in() {
    let ends = ends();
    let server = Server::answering(&ends.server);
    match TlsContext::client().platform_verifier().build() {
        Ok(context) => {
            let error = get(&mut server.session(&context), "/").unwrap_err();
            assert_eq!(tls::problem(&error), Some(sessile::tls::CertificateProblem::UnknownIssuer));
            let added = TlsContext::client().platform_verifier().add_ca_pem(&ends.authority.pem);
            get(&mut server.session(&added.build().unwrap()), "/").unwrap();
        }
        Err(error) => assert!(
            error.to_string().contains("platform-verifier") || cfg!(feature = "platform-verifier"),
            "{error:?}"
        ),
    }
}

#[test]
fn a_context_is_for_one_side() {
    let ends = ends();
    let (near, _far) = pair();
    let wrong = ends.server.connect(Stream::custom(near), "localhost").unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::InvalidArgument);
    let (near, _far) = pair();
    assert_eq!(ends.client.accept(Stream::custom(near)).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(ends.client.reload_from(&ends.server).is_err());
    assert!(TlsContext::set_default_client(Some(ends.server.clone())).is_err());
    assert!(TlsContext::default_client().unwrap().is_client());
}

#[test]
fn a_client_s_context_can_be_told_whom_else_to_trust() {
    let (one, other) = (Authority::new("one"), Authority::new("other"));
    let server = Server::answering(&other.server(&["localhost"]).serving());
    let context = one.trusting();
    assert!(get(&mut server.session(&context), "/").is_err());
    context.reload_from(&other.trusting()).unwrap();
    get(&mut server.session(&context), "/").unwrap();
    context.reload().unwrap();
    get(&mut server.session(&context), "/").unwrap();
}

#[test]
fn nothing_secret_is_in_what_debug_prints() {
    let authority = Authority::new("an authority");
    let issued = authority.server(&["localhost"]);
    let context = TlsContext::server().certificate_pem(&issued.pem, &issued.key);
    let secret = issued.key.lines().nth(1).unwrap();
    for text in [format!("{context:?}"), format!("{:?}", context.clone().build().unwrap())] {
        assert!(!text.contains(secret) && !text.contains("BEGIN"), "{text}");
    }
    let ends = ends();
    let server = Server::answering(&ends.server);
    let mut session = server.session(&ends.client);
    get(&mut session, "/").unwrap();
    assert!(format!("{:?}", session.tls_session()).contains("localhost"));
    assert!(format!("{session:?}").contains("HttpsClientSession"));
}

#[test]
fn what_can_be_shared_is_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn moved<T: Send + 'static>() {}
    shared::<TlsContext>();
    shared::<sessile::tls::TlsSession>();
    shared::<sessile::tls::Certificate>();
    moved::<TlsStream>();
    moved::<HttpsClientSession>();
}
