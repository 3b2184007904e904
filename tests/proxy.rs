//! Client sessions through scripted proxies.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sessile::ErrorKind;
use sessile::message::{Request, Response};
use sessile::session::{ClientSession, HttpClientSession, ProxyConfig, Session, Timeouts};

/// A proxy that runs a script on each connection.
struct Proxy {
    port: u16,
    thread: JoinHandle<()>,
}

type Act = Box<dyn FnOnce(&mut TcpStream) + Send>;

fn act(f: impl FnOnce(&mut TcpStream) + Send + 'static) -> Act {
    Box::new(f)
}

fn proxy(acts: Vec<Act>) -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for act in acts {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            act(&mut stream);
        }
    });
    Proxy { port, thread }
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the client went away: {head:?}");
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn say(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn through(proxy: &Proxy, user: &str) -> HttpClientSession {
    let config: ProxyConfig = format!("http://{user}127.0.0.1:{}", proxy.port).parse().unwrap();
    let mut session = HttpClientSession::with_proxy("origin.test", 8080, config).unwrap();
    session.set_timeout(Duration::from_secs(10));
    session
}

fn get(session: &mut HttpClientSession, target: &str) -> sessile::Result<(u16, String)> {
    session.send_request(&Request::get(target))?;
    let mut response = Response::new();
    let mut text = String::new();
    session.receive_response(&mut response)?.read_to_string(&mut text)?;
    Ok((response.status().as_u16(), text))
}

#[test]
fn plain_requests_go_in_absolute_form_with_the_origin_s_host() {
    let proxy = proxy(vec![act(|stream| {
        let first = head(stream);
        assert!(
            first.starts_with("GET http://origin.test:8080/a?b HTTP/1.1\r\nHost: origin.test:8080\r\n"),
            "{first}"
        );
        assert!(!first.to_lowercase().contains("proxy-"), "no Proxy-Connection, and no user: {first}");
        say(stream, OK);
        assert!(head(stream).starts_with("OPTIONS http://origin.test:8080 HTTP/1.1\r\n"));
        say(stream, OK);
        assert!(head(stream).starts_with("GET http://elsewhere/ HTTP/1.1\r\n"), "absolute already");
        say(stream, OK);
    })]);
    let mut session = through(&proxy, "");
    assert_eq!(get(&mut session, "/a?b").unwrap(), (200, "ok".to_owned()));
    session.send_request(&Request::new(sessile::message::Method::OPTIONS, "*")).unwrap();
    session.receive_response(&mut Response::new()).unwrap();
    get(&mut session, "http://elsewhere/").unwrap();
    drop(session);
    proxy.thread.join().unwrap();
}

#[test]
fn basic_credentials_go_with_every_request_and_only_with_a_user_name() {
    let proxy = proxy(vec![act(|stream| {
        for _ in 0..2 {
            let head = head(stream);
            assert!(head.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), "{head}");
            say(stream, OK);
        }
    })]);
    let mut session = through(&proxy, "user:pass@");
    get(&mut session, "/1").unwrap();
    get(&mut session, "/2").unwrap();
    drop(session);
    proxy.thread.join().unwrap();
}

#[test]
fn hosts_that_are_exempt_are_reached_directly() {
    let origin = proxy(vec![act(|stream| {
        assert!(head(stream).starts_with("GET /x HTTP/1.1\r\n"));
        say(stream, OK);
    })]);
    let mut config = ProxyConfig::new("127.0.0.1", 1);
    config.set_no_proxy("127.0.0.0/8");
    let mut session = HttpClientSession::with_proxy("127.0.0.1", origin.port, config).unwrap();
    assert!(session.bypass_proxy());
    get(&mut session, "/x").unwrap();
    drop(session);
    origin.thread.join().unwrap();
}

#[test]
fn setters_fail_on_a_connected_session_but_for_credentials() {
    let proxy = proxy(vec![act(|stream| {
        head(stream);
        say(stream, OK);
        assert!(head(stream).contains("Proxy-Authorization: Basic bmV3OnB3\r\n"));
        say(stream, OK);
    })]);
    let mut session = through(&proxy, "");
    get(&mut session, "/").unwrap();
    for error in [
        session.set_proxy("other", 1).unwrap_err(),
        session.set_proxy_host("other").unwrap_err(),
        session.set_proxy_port(1).unwrap_err(),
        session.set_proxy_tunnel(false).unwrap_err(),
        session.set_proxy_protocol(sessile::session::ProxyProtocol::Socks5).unwrap_err(),
        session.set_proxy_config(ProxyConfig::none()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::IllegalState);
    }
    session.set_proxy_credentials("new", "pw");
    get(&mut session, "/").unwrap();
    session.reset();
    session.set_proxy("other", 1).unwrap();
    drop(session);
    proxy.thread.join().unwrap();
}

#[test]
fn a_tunnel_keeps_the_bytes_behind_its_head() {
    let proxy = proxy(vec![act(|stream| {
        let head = head(stream);
        assert!(
            head.starts_with("CONNECT origin.test:8080 HTTP/1.1\r\nHost: origin.test:8080\r\n"),
            "{head}"
        );
        assert!(head.contains("Proxy-Authorization: Basic dTpw\r\n"), "{head}");
        say(stream, "HTTP/1.1 204 Fine\r\nX: y\r\n\r\nearly");
        let mut ping = [0; 4];
        stream.read_exact(&mut ping).unwrap();
        assert_eq!(&ping, b"ping");
    })]);
    let mut session = through(&proxy, "u:p@");
    session.proxy_tunnel().unwrap();
    let connection = session.connection_mut();
    let mut early = [0; 5];
    assert_eq!(connection.read(&mut early).unwrap(), 5);
    assert_eq!(&early, b"early");
    connection.write(b"ping").unwrap();
    drop(session);
    proxy.thread.join().unwrap();
}

#[test]
fn a_request_for_another_protocol_goes_through_a_tunnel_and_the_next_one_as_before() {
    let proxy = proxy(vec![
        act(|stream| {
            assert!(head(stream).starts_with("GET http://origin.test:8080/before HTTP/1.1\r\n"));
            say(stream, OK);
        }),
        act(|stream| {
            let first = head(stream);
            assert!(first.starts_with("CONNECT origin.test:8080 HTTP/1.1\r\n"), "{first}");
            assert!(first.contains("\r\nProxy-Authorization: Basic dTpw\r\n"), "{first}");
            say(stream, "HTTP/1.1 200 OK\r\n\r\n");
            // Refused at first: the tunnel serves another request.
            let refused = head(stream);
            assert!(
                refused.starts_with("GET /chat HTTP/1.1\r\nHost: origin.test:8080\r\n"),
                "as if there were no proxy: {refused}"
            );
            assert!(!refused.contains("Proxy-Authorization"), "{refused}");
            say(stream, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
            assert!(head(stream).starts_with("GET /chat HTTP/1.1\r\n"));
            say(stream, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw");
        }),
        act(|stream| {
            assert!(head(stream).starts_with("GET http://origin.test:8080/after HTTP/1.1\r\n"));
            say(stream, OK);
        }),
    ]);
    let mut session = through(&proxy, "u:p@");
    assert_eq!(get(&mut session, "/before").unwrap(), (200, "ok".into()));
    let mut upgrade = Request::get("/chat");
    upgrade.headers_mut().set("Connection", "upgrade").unwrap();
    upgrade.headers_mut().set("Upgrade", "x").unwrap();
    for status in [426, 101] {
        session.send_request(&upgrade).unwrap();
        let mut response = Response::new();
        session.receive_response(&mut response).unwrap();
        assert_eq!(response.status().as_u16(), status);
    }
    let mut raw = session.detach_socket().unwrap();
    let mut text = String::new();
    raw.read_to_string(&mut text).unwrap();
    assert_eq!(text, "raw");
    assert_eq!(get(&mut session, "/after").unwrap(), (200, "ok".into()));
    proxy.thread.join().unwrap();
}

#[test]
fn a_tunnel_that_is_made_once_more_has_what_is_left_of_the_total_time() {
    let proxy = proxy(vec![
        act(|stream| {
            head(stream);
            say(stream, "HTTP/1.1 200 OK\r\n\r\n");
            head(stream);
            say(stream, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
            head(stream);
            // A good part of the time is over when the connection is lost.
            std::thread::sleep(Duration::from_secs(1));
        }),
        act(|stream| {
            assert!(head(stream).starts_with("CONNECT "));
            let _ = stream.read(&mut [0; 1]);
        }),
    ]);
    let mut session = through(&proxy, "");
    session.set_timeouts(Timeouts { total: Some(Duration::from_secs(2)), ..Timeouts::default() });
    let mut upgrade = Request::get("/chat");
    upgrade.headers_mut().set("Connection", "upgrade").unwrap();
    upgrade.headers_mut().set("Upgrade", "x").unwrap();
    session.send_request(&upgrade).unwrap();
    let mut response = Response::new();
    session.receive_response(&mut response).unwrap().skip().unwrap();
    let started = Instant::now();
    session.send_request(&upgrade).unwrap();
    let error = session.receive_response(&mut response).map(drop).unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert!((1995..2800).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    proxy.thread.join().unwrap();
}

#[test]
fn a_tunnel_that_is_refused_is_an_error_of_the_proxy_that_names_the_status() {
    for (answer, says) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "403"),
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
            "407",
        ),
        ("HTTP/1.1 302 Found\r\nLocation: http://evil/\r\nContent-Length: 0\r\n\r\n", "302"),
    ] {
        let proxy = proxy(vec![act(move |stream| {
            head(stream);
            say(stream, answer);
        })]);
        let error = through(&proxy, "u:p@").proxy_connect().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Proxy);
        assert!(error.to_string().contains(says), "{error}");
        proxy.thread.join().unwrap();
    }
    let silent = proxy(vec![act(|stream| assert!(!head(stream).is_empty()))]);
    assert_eq!(through(&silent, "").proxy_connect().unwrap_err().kind(), ErrorKind::Proxy);
    silent.thread.join().unwrap();
}

#[cfg(feature = "digest")]
const CHALLENGE: &str = "HTTP/1.1 407 Proxy Authentication Required\r\n\
    Proxy-Authenticate: Digest realm=\"r\", nonce=\"n1\", qop=\"auth\", algorithm=MD5\r\nContent-Length: 4\r\n\r\nauth";

#[cfg(feature = "digest")]
fn digesting(proxy: &Proxy) -> HttpClientSession {
    let mut session = through(proxy, "user:pass@");
    let mut config = session.proxy_config().clone();
    config.set_auth_method(sessile::auth::ProxyAuthentication::Digest);
    session.set_proxy_config(config).unwrap();
    session
}

#[cfg(feature = "digest")]
#[test]
fn a_digest_challenge_is_answered_once_and_its_nonce_serves_the_next_request() {
    let proxy = proxy(vec![act(|stream| {
        let first = head(stream);
        assert!(!first.contains("Proxy-Authorization"), "{first}");
        say(stream, CHALLENGE);
        let second = head(stream);
        assert!(second.contains("Proxy-Authorization: Digest "), "{second}");
        assert!(
            second.contains("uri=\"http://origin.test:8080/1\"") && second.contains("nc=00000001"),
            "{second}"
        );
        say(stream, OK);
        let third = head(stream);
        assert!(
            third.contains("uri=\"http://origin.test:8080/2\"") && third.contains("nc=00000002"),
            "{third}"
        );
        say(stream, OK);
    })]);
    let mut session = digesting(&proxy);
    assert_eq!(get(&mut session, "/1").unwrap(), (200, "ok".to_owned()));
    assert_eq!(get(&mut session, "/2").unwrap(), (200, "ok".to_owned()));
    drop(session);
    proxy.thread.join().unwrap();
}

#[cfg(feature = "digest")]
#[test]
fn what_is_proved_is_for_the_target_that_is_sent() {
    use sessile::message::Method;
    let proxy = proxy(vec![act(|stream| {
        head(stream);
        say(stream, CHALLENGE);
        for target in [
            "http://origin.test:8080/",
            "http://other.test/x",
            "HTTP://other.test/y",
            "http://origin.test:8080",
        ] {
            let asked = head(stream);
            let line = asked.lines().next().unwrap();
            assert_eq!(line.split(' ').nth(1), Some(target));
            assert!(asked.contains(&format!("uri=\"{target}\"")), "{asked}");
            // Said before it is asked for, and then again when it is.
            say(stream, &CHALLENGE.replace("qop", "stale=true, qop"));
            assert!(head(stream).contains(&format!("uri=\"{target}\"")), "{asked}");
            say(stream, OK);
        }
    })]);
    let mut session = digesting(&proxy);
    for (method, target) in [
        (Method::GET, "/"),
        (Method::GET, "http://other.test/x"),
        (Method::GET, "HTTP://other.test/y"),
        (Method::OPTIONS, "*"),
    ] {
        session.send_request(&Request::new(method, target)).unwrap();
        let mut response = Response::new();
        session.receive_response(&mut response).unwrap().skip().unwrap();
        assert_eq!(response.status().as_u16(), 200);
    }
    drop(session);
    proxy.thread.join().unwrap();
}

#[cfg(feature = "digest")]
#[test]
fn small_content_is_sent_again_with_the_answer_and_large_content_is_not() {
    let small = proxy(vec![act(|stream| {
        let mut content = [0; 3];
        head(stream);
        stream.read_exact(&mut content).unwrap();
        say(stream, CHALLENGE);
        assert!(head(stream).contains("Proxy-Authorization: Digest "));
        stream.read_exact(&mut content).unwrap();
        assert_eq!(&content, b"abc");
        say(stream, OK);
    })]);
    let mut session = digesting(&small);
    let mut request = Request::post("/");
    request.set_content_length(3);
    session.send_request(&request).unwrap().write_all(b"abc").unwrap();
    let mut response = Response::new();
    session.receive_response(&mut response).unwrap();
    assert_eq!(response.status().as_u16(), 200);
    drop(session);
    small.thread.join().unwrap();

    let large = proxy(vec![
        act(|stream| {
            head(stream);
            stream.read_exact(&mut vec![0; 200_000]).unwrap();
            say(stream, CHALLENGE);
        }),
        // Not every proxy that says that it keeps the connection has read the content.
        act(|stream| {
            let next = head(stream);
            assert!(next.contains("Proxy-Authorization: Digest "), "the next one is authenticated: {next}");
            say(stream, OK);
        }),
    ]);
    let mut session = digesting(&large);
    request.set_content_length(200_000);
    session.send_request(&request).unwrap().write_all(&vec![b'x'; 200_000]).unwrap();
    session.receive_response(&mut response).unwrap().skip().unwrap();
    assert_eq!(response.status().as_u16(), 407, "the content is gone: the caller decides");
    get(&mut session, "/").unwrap();
    drop(session);
    large.thread.join().unwrap();
}

#[cfg(feature = "digest")]
#[test]
fn a_refused_answer_is_given_to_the_caller() {
    let proxy = proxy(vec![act(|stream| {
        for _ in 0..2 {
            head(stream);
            say(stream, CHALLENGE);
        }
    })]);
    let mut session = digesting(&proxy);
    assert_eq!(get(&mut session, "/").unwrap(), (407, "auth".to_owned()));
    drop(session);
    proxy.thread.join().unwrap();
}

#[cfg(feature = "digest")]
#[test]
fn a_tunnel_answers_a_challenge_on_the_same_connection_or_a_new_one() {
    // Whether the proxy closes behind its challenge, and says so.
    for (closes, says) in [(false, ""), (true, "Connection: close\r\n"), (true, "")] {
        let answer = |stream: &mut TcpStream| {
            let head = head(stream);
            assert!(head.contains("uri=\"origin.test:8080\""), "{head}");
            say(stream, "HTTP/1.1 200 Connected\r\n\r\n");
        };
        let acts = if closes {
            vec![
                act(move |stream| {
                    head(stream);
                    say(stream, &CHALLENGE.replace("Content-Length", &format!("{says}Content-Length")));
                }),
                act(answer),
            ]
        } else {
            vec![act(move |stream| {
                head(stream);
                say(stream, CHALLENGE);
                answer(stream);
            })]
        };
        let proxy = proxy(acts);
        digesting(&proxy).proxy_connect().unwrap();
        proxy.thread.join().unwrap();
    }
}

#[test]
fn socks_connects_to_the_name_and_then_it_is_as_without_a_proxy() {
    let proxy = proxy(vec![act(|stream| {
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).unwrap();
        stream.write_all(&[5, 0]).unwrap();
        let mut request = [0; 4 + 1 + 11 + 2];
        stream.read_exact(&mut request).unwrap();
        assert_eq!(&request[..5], [5, 1, 0, 3, 11]);
        assert_eq!(&request[5..16], b"origin.test");
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        let head = head(stream);
        assert!(head.starts_with("GET /x HTTP/1.1\r\nHost: origin.test:8080\r\n"), "{head}");
        say(stream, OK);
    })]);
    let config: ProxyConfig = format!("socks5h://127.0.0.1:{}", proxy.port).parse().unwrap();
    let mut session = HttpClientSession::with_proxy("origin.test", 8080, config).unwrap();
    assert_eq!(get(&mut session, "/x").unwrap().0, 200);
    drop(session);
    proxy.thread.join().unwrap();
}

#[cfg(feature = "digest")]
#[test]
fn a_page_without_end_around_a_challenge_costs_its_connection() {
    let proxy = proxy(vec![
        act(|stream| {
            head(stream);
            say(stream, &CHALLENGE.replace("Content-Length: 4", "Content-Length: 1000000000"));
            // As much as the client takes.
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        }),
        act(|stream| {
            assert!(head(stream).contains("Proxy-Authorization: Digest "));
            say(stream, "HTTP/1.1 200 Connected\r\n\r\n");
        }),
    ]);
    digesting(&proxy).proxy_connect().unwrap();
    proxy.thread.join().unwrap();
}

#[cfg(feature = "digest")]
#[test]
fn a_proxy_gives_the_next_nonce_and_proves_that_it_knows_the_password() {
    let proxy = proxy(vec![act(|stream| {
        head(stream);
        say(stream, CHALLENGE);
        assert!(head(stream).contains("nonce=\"n1\""));
        say(stream, &OK.replace("\r\n\r\n", "\r\nProxy-Authentication-Info: nextnonce=\"n2\"\r\n\r\n"));
        let next = head(stream);
        assert!(next.contains("nonce=\"n2\"") && next.contains("nc=00000001"), "{next}");
        let wrong = "6629fae49393a05397450978507c4ef1";
        let info = format!("\r\nProxy-Authentication-Info: qop=auth, rspauth=\"{wrong}\"\r\n\r\n");
        say(stream, &OK.replace("\r\n\r\n", &info));
    })]);
    let mut session = digesting(&proxy);
    get(&mut session, "/1").unwrap();
    assert_eq!(get(&mut session, "/2").unwrap_err().kind(), ErrorKind::NotAuthenticated);
    proxy.thread.join().unwrap();
}

#[test]
fn the_global_proxy_is_for_sessions_made_afterwards_but_not_for_the_way_to_itself() {
    let proxy = proxy(vec![act(|stream| {
        let head = head(stream);
        assert!(head.starts_with("CONNECT [::1]:8080 HTTP/1.1\r\nHost: [::1]:8080\r\n"), "{head}");
        say(stream, "HTTP/1.1 200 OK\r\n\r\n");
    })]);
    // All other sessions of these tests have a proxy of their own.
    ProxyConfig::set_global(Some(ProxyConfig::new("127.0.0.1", proxy.port)));
    let session = HttpClientSession::new("::1", 8080);
    ProxyConfig::set_global(None);
    let mut session = session;
    session.set_timeout(Duration::from_secs(10));
    session.proxy_tunnel().unwrap();
    proxy.thread.join().unwrap();
}

/// A SOCKS proxy that wants a password, and says to what it was asked to connect.
fn socks(address_length: usize) -> (Proxy, std::sync::mpsc::Receiver<Vec<u8>>) {
    let (told, asked) = std::sync::mpsc::channel();
    let proxy = proxy(vec![act(move |stream| {
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(greeting, [5, 2, 0, 2]);
        stream.write_all(&[5, 2]).unwrap();
        let mut login = [0; 7];
        stream.read_exact(&mut login).unwrap();
        assert_eq!(&login, b"\x01\x02me\x02pw");
        stream.write_all(&[1, 0]).unwrap();
        let mut request = vec![0; 4 + address_length + 2];
        stream.read_exact(&mut request).unwrap();
        told.send(request).unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        head(stream);
        say(stream, OK);
    })]);
    (proxy, asked)
}

#[test]
fn socks_has_the_name_resolved_here_unless_the_proxy_is_to() {
    for (host, length, expected) in [
        ("origin.test", 4, &b"\x05\x01\0\x01\xc0\0\x02\x01\x1f\x90"[..]),
        ("[::1]", 16, b"\x05\x01\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x1f\x90"),
    ] {
        let (proxy, asked) = socks(length);
        let config: ProxyConfig = format!("socks5://me:pw@127.0.0.1:{}", proxy.port).parse().unwrap();
        let mut session = HttpClientSession::with_proxy(host, 8080, config).unwrap();
        session.set_resolver(std::sync::Arc::new(|_: &str, port: u16| {
            Ok(vec![std::net::SocketAddr::from(([192, 0, 2, 1], port))])
        }));
        assert_eq!(get(&mut session, "/").unwrap().0, 200);
        assert_eq!(asked.recv().unwrap(), expected);
        drop(session);
        proxy.thread.join().unwrap();
    }
}

#[test]
fn a_proxy_that_stalls_can_be_left() {
    for scheme in ["http", "socks5h"] {
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let (reached, told) = std::sync::mpsc::channel();
        let proxy = proxy(vec![act(move |stream| {
            stream.read_exact(&mut [0; 3]).unwrap();
            reached.send(()).unwrap();
            let _ = wait.recv();
        })]);
        let config: ProxyConfig = format!("{scheme}://127.0.0.1:{}", proxy.port).parse().unwrap();
        let mut session = HttpClientSession::with_proxy("origin.test", 8080, config).unwrap();
        let abort = session.abort_handle();
        let caller = std::thread::spawn(move || session.proxy_connect().map(drop));
        told.recv().unwrap();
        let started = std::time::Instant::now();
        abort.abort();
        assert!(caller.join().unwrap().unwrap_err().is_aborted(), "{scheme}");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        drop(done);
        proxy.thread.join().unwrap();
    }
}

#[test]
fn a_proxy_that_stalls_is_a_timeout_in_time() {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let proxy = proxy(vec![act(move |stream| {
        head(stream);
        let _ = wait.recv();
    })]);
    let mut session = through(&proxy, "");
    session.set_timeout(Duration::from_millis(200));
    let started = std::time::Instant::now();
    assert!(session.proxy_connect().unwrap_err().is_timeout());
    assert!((190..600).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    drop(done);
    proxy.thread.join().unwrap();
}
