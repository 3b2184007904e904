//! A user agent's surroundings: resolvers, sockets, observers, cookies, factories, runtimes.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/origin.rs"]
mod origin;

use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use origin::{OK, Origin, answer, redirect, say};
use sessile::client::{
    Authentication, HttpSessionInstantiator, RedirectPolicy, SessionFactory, StreamFactory, UserAgent,
};
use sessile::message::{Response, StatusCode, Uri};
use sessile::session::{ClientSession, HttpClientSession, Observer, ProxyConfig};
use sessile::{ErrorKind, Phase};

fn text(agent: &UserAgent, url: &str) -> String {
    agent.get(url).send().unwrap().read_to_string().unwrap()
}

#[test]
fn a_host_is_pinned_to_an_address_and_keeps_its_name() {
    let origin = Origin::saying(OK);
    let pinned = |host: &str, port: u16| match host {
        "pinned.test" => Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))]),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let agent = UserAgent::builder().resolver(Arc::new(pinned)).build().unwrap();
    text(&agent, &format!("http://pinned.test:{}/", origin.port));
    let host = format!("pinned.test:{}", origin.port);
    assert_eq!(origin.seen()[0].field("Host"), Some(host.as_str()));
    let error = agent.get("http://other.test/").send().unwrap_err();
    assert_eq!((error.kind(), error.phase()), (ErrorKind::Resolve, Some(Phase::Resolve)));
}

#[test]
fn a_hook_sees_each_socket_before_it_connects() {
    let origin = Origin::saying(OK);
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    let agent = UserAgent::builder()
        .socket_hook(move |socket| {
            seen.fetch_add(1, Ordering::SeqCst);
            socket2::SockRef::from(socket).set_keepalive(true)
        })
        .build()
        .unwrap();
    text(&agent, &origin.url("/"));
    text(&agent, &origin.url("/"));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let refusing = UserAgent::builder()
        .socket_hook(|_| Err(std::io::ErrorKind::PermissionDenied.into()))
        .build()
        .unwrap();
    assert_eq!(refusing.get(origin.url("/")).send().unwrap_err().kind(), ErrorKind::Connect);
}

#[cfg(unix)]
#[test]
fn unix_sockets_have_uris() {
    use std::io::{BufReader, Write};
    use std::os::unix::net::UnixListener;
    let path = std::env::temp_dir().join(format!("sessile agent {}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut heads = Vec::new();
        for answer in [
            "302 Found\r\nLocation: ../there\r\nContent-Length: 0\r\n\r\n",
            "200 OK\r\nContent-Length: 2\r\n\r\nok",
        ] {
            heads.push(origin::head(&mut reader, 1, 1).unwrap());
            write!(stream, "HTTP/1.1 {answer}").unwrap();
        }
        heads
    });
    let encoded: String = path.to_str().unwrap().bytes().map(|b| format!("%{b:02x}")).collect();
    let response = UserAgent::new().get(format!("http+unix://{encoded}/a/b?c")).send().unwrap();
    assert_eq!(response.uri().unix_path().as_deref(), path.to_str());
    assert_eq!(response.uri().path(), "/there");
    assert_eq!(response.read_to_string().unwrap(), "ok");
    let heads = server.join().unwrap();
    assert_eq!((heads[0].target.as_str(), heads[0].field("Host")), ("/a/b?c", Some("localhost")));
    std::fs::remove_file(&path).unwrap();
    let error = UserAgent::new().get(format!("http+unix://{encoded}/")).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
}

#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Observer for Told {
    fn phase(&self, phase: Phase) {
        self.0.lock().unwrap().push(format!("{phase:?}"));
    }
    fn interim(&self, response: &Response) {
        self.0.lock().unwrap().push(response.status().to_string());
    }
    fn sent(&self, bytes: u64, total: Option<u64>) {
        self.0.lock().unwrap().push(format!("sent {bytes} of {total:?}"));
    }
    fn received(&self, bytes: u64, total: Option<u64>) {
        self.0.lock().unwrap().push(format!("received {bytes} of {total:?}"));
    }
    fn redirected(&self, status: StatusCode, to: &Uri) {
        self.0.lock().unwrap().push(format!("{status} to {}", to.path()));
    }
}

#[test]
fn an_observer_is_told_of_phases_progress_and_redirects() {
    let origin = Origin::serving(|asked, stream| match asked.target.as_str() {
        "/a" => redirect(stream, 303, "/b"),
        _ => say(stream, &format!("HTTP/1.1 103 Early Hints\r\n\r\n{OK}")),
    });
    let told = Arc::new(Told::default());
    let agent = UserAgent::builder().observer(told.clone()).build().unwrap();
    let response = agent.post(origin.url("/a")).content("text").send().unwrap();
    let timings = response.timings();
    assert!(timings.connect > Duration::ZERO && timings.wait > Duration::ZERO, "{timings:?}");
    assert!(timings.total >= timings.connect + timings.wait && timings.proxy.is_zero(), "{timings:?}");
    response.read_to_vec().unwrap();
    let expected = [
        "Resolve",
        "Connect",
        "Send",
        "sent 4 of Some(4)",
        "ReceiveHead",
        "ReceiveBody",
        "303 to /b",
        "Send",
        "ReceiveHead",
        "103",
        "ReceiveBody",
        "received 2 of Some(2)",
    ];
    assert_eq!(*told.0.lock().unwrap(), expected);
    let other = Arc::new(Told::default());
    agent.get(origin.url("/b")).observer(other.clone()).send().unwrap();
    assert_eq!(told.0.lock().unwrap().len(), expected.len(), "a call may have its own");
    assert!(!other.0.lock().unwrap().is_empty());
}

#[cfg(feature = "cookies")]
#[test]
fn cookies_are_kept_and_sent_back_over_redirects_too() {
    use sessile::client::CookieJar;
    let origin = Origin::serving(|asked, stream| match asked.target.as_str() {
        "/login" => answer(
            stream,
            "302 Found\r\nLocation: /home\r\nSet-Cookie: id=31d4; Path=/\r\nSet-Cookie: far=1; Path=/far\r\nSet-Cookie: list[0]=a b; Path=/",
            b"",
        ),
        "/round" if asked.field("Cookie").is_none_or(|cookie| !cookie.contains("seen=1")) => {
            answer(stream, "302 Found\r\nLocation: /round\r\nSet-Cookie: seen=1; Path=/", b"")
        }
        _ => say(stream, OK),
    });
    let jar = CookieJar::new();
    let agent = UserAgent::builder().cookies(jar.clone()).build().unwrap();
    text(&agent, &origin.url("/login"));
    agent.get(origin.url("/home")).header("Cookie", "mine=1").send().unwrap();
    text(&agent, &origin.url("/round"));
    let cookies: Vec<_> =
        origin.seen().iter().map(|asked| asked.field("Cookie").map(str::to_owned)).collect();
    let set = "id=31d4; list[0]=a b";
    assert_eq!(cookies[..3], [None, Some(set.to_owned()), Some(format!("mine=1; {set}"))]);
    assert_eq!(cookies[4], Some(format!("{set}; seen=1")), "the same again, with a cookie, is no circle");
    assert_eq!(agent.cookie_jar().unwrap().len(), 4);
    let other = Origin::saying(OK);
    text(&agent, &other.url("/"));
    assert!(other.seen()[0].field("Cookie").is_some(), "ports make no difference to cookies");
    text(&agent, &other.url("/").replace("127.0.0.1", "localhost"));
    assert_eq!(other.seen()[1].field("Cookie"), None);
    let forgetful = UserAgent::new();
    text(&forgetful, &origin.url("/login"));
    assert!(origin.seen().pop().unwrap().field("Cookie").is_none());
}

#[test]
fn sessions_come_from_the_factory() {
    let origin = Origin::saying(OK);
    let port = origin.port;
    let factory = Arc::new(SessionFactory::new());
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    factory.register_protocol(
        "http",
        Arc::new(move |_: &Uri, _: &ProxyConfig| -> sessile::Result<Box<dyn ClientSession>> {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(HttpClientSession::new("127.0.0.1", port)))
        }),
    );
    let agent = UserAgent::builder().session_factory(factory).build().unwrap();
    text(&agent, "http://anywhere.test/");
    text(&agent, "http://anywhere.test/x");
    assert_eq!((made.load(Ordering::SeqCst), origin.seen().len()), (1, 2));
    assert_eq!(agent.get("https://anywhere.test/").send().unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn the_global_factory_is_registered_with_and_gives_sessions() {
    let origin = Origin::saying(OK);
    let uri: Uri = origin.url("/").parse().unwrap();
    assert!(!SessionFactory::global().supports_protocol("http"));
    HttpSessionInstantiator::register();
    let mut session = SessionFactory::global().create_client_session(&uri).unwrap();
    session.send_request(&sessile::message::Request::get("/")).unwrap();
    let mut response = Response::new();
    session.receive_response(&mut response).unwrap();
    assert_eq!(response.status().as_u16(), 200);
    HttpSessionInstantiator::unregister().unwrap();
    assert!(HttpSessionInstantiator::unregister().is_err());
}

#[test]
fn a_stream_is_opened_through_redirects_with_the_user_of_its_uri() {
    let other = Origin::serving(|asked, stream| {
        assert!(asked.field("Authorization").is_none());
        answer(stream, "200 OK", b"far")
    });
    let to = other.url("/");
    let origin =
        Origin::serving(move |asked, stream| match (asked.target.as_str(), asked.field("Authorization")) {
            ("/missing", _) => answer(stream, "404 Not Found", b""),
            ("/partial", _) => answer(stream, "203 Non-Authoritative Information", b"near enough"),
            (_, None) => answer(stream, "401 No\r\nWWW-Authenticate: Basic realm=a", b""),
            ("/far", _) => redirect(stream, 308, &to),
            _ => answer(stream, "200 OK", b"near"),
        });
    let factory = StreamFactory::new();
    let open = |path: &str| -> sessile::Result<String> {
        let uri: Uri = origin.url(path).replace("//", "//user:secret@").parse()?;
        let mut text = String::new();
        factory.open(&uri)?.read_to_string(&mut text)?;
        Ok(text)
    };
    assert_eq!(open("/near").unwrap(), "near");
    assert_eq!(open("/far").unwrap(), "far");
    assert_eq!(open("/partial").unwrap(), "near enough");
    let error = open("/missing").unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Status, Some(StatusCode::NOT_FOUND)));
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn an_agent_works_inside_of_a_runtime_and_can_be_dropped_there() {
    let origin = Origin::saying(OK);
    let url = origin.url("/");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let agent = UserAgent::new();
    let outside = agent.clone();
    runtime.block_on(async move {
        assert_eq!(text(&agent, &url), "ok");
        drop(agent.get(&url).send().unwrap());
        let spawned = agent.clone();
        tokio::task::spawn(async move { assert_eq!(text(&spawned, &url), "ok") }).await.unwrap();
        drop(agent);
    });
    drop(runtime);
    assert_eq!(text(&outside, &origin.url("/")), "ok");
}

#[test]
fn an_agent_goes_to_any_thread_and_shows_no_secrets() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let agent = UserAgent::builder()
        .proxy("http://user:s3cr3t@proxy:1".parse().unwrap())
        .authentication(&"http://h/".parse().unwrap(), Authentication::basic("u", "s3cr3t"))
        .redirects(RedirectPolicy::none())
        .build()
        .unwrap();
    shared(&agent);
    let request = agent.get("http://u:s3cr3t@h/").header("Authorization", "s3cr3t");
    assert!(!format!("{agent:?} {request:?}").contains("s3cr3t"));
}

#[test]
fn requests_go_through_the_proxy_but_for_those_that_are_exempt() {
    let proxy = Origin::serving(|asked, stream| answer(stream, "200 OK", asked.target.as_bytes()));
    let origin = Origin::saying(OK);
    let mut config: ProxyConfig = format!("http://us:er@127.0.0.1:{}", proxy.port).parse().unwrap();
    config.set_no_proxy("127.0.0.1");
    let agent = UserAgent::builder().proxy(config).build().unwrap();
    assert_eq!(text(&agent, "http://origin.test/x?y"), "http://origin.test/x?y");
    assert_eq!(proxy.seen()[0].field("Proxy-Authorization"), Some("Basic dXM6ZXI="));
    assert_eq!(text(&agent, &origin.url("/")), "ok");
    assert_eq!(origin.seen()[0].field("Proxy-Authorization"), None);
}
