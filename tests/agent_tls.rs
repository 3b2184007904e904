//! A user agent and `https`: whom it trusts, where it goes from there, and what it says in the clear.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/origin.rs"]
mod origin;
#[path = "support/server.rs"]
mod server;
#[path = "support/tls.rs"]
mod tls;

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::thread;

use origin::{OK, Origin};
use server::Running;
use sessile::client::{Authentication, RedirectPolicy, SessionFactory, UserAgent, UserAgentBuilder};
use sessile::message::StatusCode;
use sessile::server::{HttpServer, HttpServerParams, ServerRequest, ServerResponse};
use sessile::session::ProxyConfig;
use sessile::{ErrorKind, Result};
use tls::{Authority, to_loopback};

/// `/to/URI` redirects there, `/user` wants Basic credentials, `/set` sets a cookie, `/cookie` shows
/// them, anything else shows the authorization.
fn serve(request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    let authorization = request.headers().get("Authorization").unwrap_or("nobody").to_owned();
    if let Some(uri) = request.target().strip_prefix("/to/") {
        response.set_status(StatusCode::FOUND);
        response.headers_mut().set("Location", uri)?;
    } else if request.target() == "/user" && authorization == "nobody" {
        response.set_status(StatusCode::UNAUTHORIZED);
        response.headers_mut().set("WWW-Authenticate", "Basic realm=a")?;
    } else if request.target() == "/set" {
        response.headers_mut().set("Set-Cookie", "id=1; Secure; Path=/")?;
    } else if request.target() == "/cookie" {
        let cookies = request.headers().get("Cookie").unwrap_or("none").to_owned();
        return response.send_buffer(cookies.as_bytes());
    }
    response.send_buffer(authorization.as_bytes())
}

struct Site {
    server: Running,
    authority: Authority,
}

impl Site {
    fn start() -> Site {
        let authority = Authority::new("an authority");
        let context = authority.server(&["localhost", "site.test"]).serving();
        let server = Running::run(
            HttpServer::new(HttpServerParams::new(), serve).listen_tls("127.0.0.1:0", &context).unwrap(),
        );
        Site { server, authority }
    }

    fn url(&self, path: &str) -> String {
        format!("https://site.test:{}{path}", self.server.address.port())
    }

    fn agent(&self) -> UserAgentBuilder {
        UserAgent::builder().tls(self.authority.trusting()).resolver(to_loopback())
    }
}

fn text(agent: &UserAgent, url: &str) -> String {
    agent.get(url).send().unwrap().read_to_string().unwrap()
}

#[test]
fn a_connection_under_tls_is_used_again_and_a_stranger_is_not_trusted() {
    let site = Site::start();
    let agent = site.agent().build().unwrap();
    for _ in 0..2 {
        assert_eq!(text(&agent, &site.url("/")), "nobody");
        assert_eq!(agent.idle_sessions(), 1);
    }
    let stranger = Authority::new("another authority");
    let agent = UserAgent::builder().tls(stranger.trusting()).resolver(to_loopback()).build().unwrap();
    let error = agent.get(site.url("/")).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    assert_eq!(agent.idle_sessions(), 0);
}

#[test]
fn http_leads_to_https_and_https_to_http_only_where_that_is_allowed() {
    let site = Site::start();
    let to = site.url("/");
    let plain = Origin::serving(move |asked, stream| match asked.target.as_str() {
        "/up" => origin::redirect(stream, 301, &to),
        _ => origin::say(stream, OK),
    });
    let agent = site.agent().build().unwrap();
    let response = agent.get(plain.url("/up")).header("Authorization", "key").send().unwrap();
    assert!(response.uri().is_secure());
    assert_eq!(response.read_to_string().unwrap(), "nobody", "https is another origin");
    let down = site.url(&format!("/to/{}", plain.url("/")));
    let error = agent.get(&down).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Redirect);
    assert_eq!(plain.seen().len(), 1);
    let careless = RedirectPolicy::default().allow_downgrade(true);
    let response = agent.get(&down).header("Authorization", "key").redirects(careless).send().unwrap();
    assert_eq!((response.uri().is_secure(), response.read_to_string().unwrap().as_str()), (false, "ok"));
    assert_eq!(plain.seen()[1].field("Authorization"), None);
}

#[test]
fn basic_is_answered_under_tls() {
    let site = Site::start();
    let agent = site.agent().build().unwrap();
    let user = Authentication::new("Aladdin", "open sesame");
    let response = agent.get(site.url("/user")).authentication(user).send().unwrap();
    assert_eq!(response.read_to_string().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
}

#[cfg(feature = "cookies")]
#[test]
fn secure_cookies_stay_under_tls() {
    let site = Site::start();
    let plain = Origin::saying(OK);
    let agent = site.agent().cookies(sessile::client::CookieJar::new()).build().unwrap();
    text(&agent, &site.url("/set"));
    assert_eq!(text(&agent, &site.url("/cookie")), "id=1");
    text(&agent, &format!("http://site.test:{}/", plain.port));
    assert_eq!(plain.seen()[0].field("Cookie"), None);
}

#[test]
fn a_tunnel_keeps_the_proxy_s_secrets_from_the_server_and_the_server_s_from_the_proxy() {
    let site = Site::start();
    let heads = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = heads.clone();
    let proxy = Origin::raw(move |connection, stream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let asked = origin::head(&mut reader, connection, 1).unwrap();
        let port = asked.target.rsplit_once(':').unwrap().1.parse::<u16>().unwrap();
        kept.lock().unwrap().push(asked);
        let mut there = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"HTTP/1.1 200 Go\r\n\r\n").unwrap();
        let (mut back, mut here) = (there.try_clone().unwrap(), stream.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut back, &mut here).map(drop));
        let _ = std::io::copy(&mut reader, &mut there);
    });
    let config: ProxyConfig = format!("http://us:er@127.0.0.1:{proxy}").parse().unwrap();
    let agent = site.agent().proxy(config).build().unwrap();
    let user = Authentication::basic("u", "p");
    for new in [true, false] {
        let response = agent.get(site.url("/")).authentication(user.clone()).send().unwrap();
        let timings = response.timings();
        let parts = [timings.resolve, timings.connect, timings.proxy, timings.handshake];
        assert!(parts.iter().skip(1).all(|part| part.is_zero() != new), "{timings:?}");
        assert_eq!(response.read_to_string().unwrap(), "Basic dTpw");
    }
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 1, "one tunnel for both");
    assert_eq!(heads[0].method, "CONNECT");
    assert_eq!(heads[0].field("Proxy-Authorization"), Some("Basic dXM6ZXI="));
    assert_eq!(heads[0].field("Authorization"), None);
}

#[test]
fn a_proxy_under_tls_is_trusted_as_servers_are() {
    let authority = Authority::new("an authority");
    let proxy = tls::Server::answering(&authority.server(&["127.0.0.1"]).serving());
    let config: ProxyConfig = format!("https://127.0.0.1:{}", proxy.address.port()).parse().unwrap();
    let agent = UserAgent::builder().tls(authority.trusting()).proxy(config.clone()).build().unwrap();
    assert_eq!(text(&agent, "http://origin.test/a"), "http://origin.test/a");
    let stranger = UserAgent::builder().proxy(config).build().unwrap();
    assert_eq!(stranger.get("http://origin.test/a").send().unwrap_err().kind(), ErrorKind::Tls);
}

#[test]
fn a_factory_makes_sessions_under_tls() {
    use sessile::client::HttpsSessionInstantiator;
    let site = Site::start();
    let factory = SessionFactory::new();
    factory.register_protocol(
        "https",
        std::sync::Arc::new(HttpsSessionInstantiator::with_context(site.authority.trusting())),
    );
    let mut session = factory
        .create_client_session(&site.url("/").replace("site.test", "localhost").parse().unwrap())
        .unwrap();
    assert!(session.is_secure());
    let (response, text) = tls::get(&mut *session, "/").unwrap();
    assert_eq!((response.status().as_u16(), text.as_str()), (200, "nobody"));
}

/// The content that belongs to a target, and to no other.
fn content_of(target: &str) -> Vec<u8> {
    let number = target.bytes().fold(7_usize, |n, byte| (n * 31 + usize::from(byte)) % 99_991);
    target.bytes().cycle().take(number).collect()
}

const REDIRECTS: usize = 3;

/// How the server answers: from 7 on, not with all of the content.
fn way_of(target: &str) -> usize {
    content_of(target).len() / 7 % 9
}

/// Answers in a way that the target decides: whole, in chunks, until the end of the connection, cut,
/// before the request was read or behind it, or with a redirect to another target.
fn answer_somehow(request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> Result<()> {
    let target = request.target().to_owned();
    let content = content_of(&target);
    let way = way_of(&target);
    if way < 4 {
        std::io::copy(request, &mut std::io::sink())?;
    }
    match way {
        0 | 4 => return response.send_buffer(&content),
        1 | 5 => {
            response.set_chunked(true);
        }
        2 | 6 => {
            response.set_content_length(content.len() as u64).set_keep_alive(false);
        }
        REDIRECTS => {
            response.set_status(StatusCode::TEMPORARY_REDIRECT);
            response.headers_mut().set("Location", format!("{target}r"))?;
            return response.send_buffer(b"elsewhere");
        }
        _ => {
            response.set_chunked(way == 7);
            if way == 8 {
                response.set_content_length(content.len() as u64 + 1);
            }
        }
    }
    let mut body = response.send()?;
    for piece in content.chunks(3000) {
        body.write_all(piece)?;
        body.flush()?;
    }
    if way < 7 { Ok(()) } else { Err(std::io::Error::other("it ends here").into()) }
}

#[test]
fn whatever_a_handler_does_each_call_gets_its_own_content_or_an_error() {
    const THREADS: usize = 6;
    const CALLS: usize = 60;
    let authority = Authority::new("an authority");
    let context = authority.server(&["site.test"]).serving();
    let server = HttpServer::new(HttpServerParams::new(), answer_somehow);
    let server = Running::run(server.listen_tls("127.0.0.1:0", &context).unwrap());
    let agent = UserAgent::builder().tls(authority.trusting()).resolver(to_loopback()).build().unwrap();
    let failed = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (agent, server, failed) = (agent.clone(), &server, &failed);
            scope.spawn(move || {
                for call in 0..CALLS {
                    let target = format!("/{thread}/{call}");
                    let url = format!("https://site.test:{}{target}", server.address.port());
                    let request = match call % 3 {
                        0 => agent.get(url),
                        1 => agent.put(url).content(vec![b'x'; 100]),
                        _ => agent.put(url).content(vec![b'x'; 200_000]),
                    };
                    let result = request.send().and_then(|response| {
                        let target = response.uri().request_target().to_owned();
                        Ok((target, response.read_to_vec()?))
                    });
                    match result {
                        Ok((target, content)) => assert!(content == content_of(&target), "{target}"),
                        Err(error) => {
                            let mut last = target.clone();
                            while way_of(&last) == REDIRECTS {
                                last.push('r');
                            }
                            assert!(way_of(&last) >= 7, "{last} was answered whole: {error:?}");
                            assert!(!error.is_timeout(), "{target}: {error:?}");
                            failed.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert!(failed > 0 && failed < THREADS * CALLS / 2, "{failed} of {} failed", THREADS * CALLS);
}
