//! Two `serve` behind nginx on one Redis or Valkey, while all of them but nginx are killed and started again:
//! no session is lost or mixed up. `tests/peers/install.sh` gets both.

#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

mod programs;
#[path = "support/redis.rs"]
mod redis;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use programs::{Folder, Nginx, Serve};
use redis::Redis;
use sessile::Result;
use sessile::message::{Cookie, Form, Method, Request, Response};
use sessile::session::{ClientSession, HttpClientSession, Session};

const CONFIGURATION: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path temp_body;
    proxy_temp_path temp_proxy;
    fastcgi_temp_path temp_fastcgi;
    uwsgi_temp_path temp_uwsgi;
    scgi_temp_path temp_scgi;
    upstream sites {
        server ONE max_fails=0;
        server TWO max_fails=0;
        keepalive 8;
    }
    server {
        listen 127.0.0.1:PORT;
        location / {
            proxy_pass http://sites;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }
    }
}
"#;

fn nginx_before(one: SocketAddr, two: SocketAddr) -> Nginx {
    let configuration = CONFIGURATION.replace("ONE", &one.to_string()).replace("TWO", &two.to_string());
    Nginx::start(Folder::new(), &configuration)
}

/// Somebody with a session of his own, who knows what must be in it.
struct Visitor {
    name: usize,
    session: HttpClientSession,
    cookie: Option<String>,
    /// What was acknowledged.
    known: BTreeMap<String, String>,
}

impl Visitor {
    fn new(name: usize, address: SocketAddr) -> Visitor {
        let mut session = HttpClientSession::with_address(address);
        session.set_timeout(Duration::from_secs(20));
        Visitor { name, session, cookie: None, known: BTreeMap::new() }
    }

    fn ask(&mut self, method: Method, target: &str, form: &str) -> Result<(u16, String)> {
        let mut request = Request::new(method, target);
        if let Some(cookie) = &self.cookie {
            request.headers_mut().set("Cookie", format!("id={cookie}"))?;
        }
        if !form.is_empty() {
            request.set_content_type(Form::MEDIA_TYPE).set_content_length(form.len() as u64);
        }
        self.session.send_request(&request)?.write_all(form.as_bytes())?;
        let (mut response, mut text) = (Response::new(), String::new());
        self.session.receive_response(&mut response)?.read_to_string(&mut text)?;
        if let Some(cookie) = response.headers().get("Set-Cookie") {
            assert_eq!(self.cookie, None, "another session than the one there was: {text}");
            self.cookie = Some(Cookie::parse(cookie)?.value().to_owned());
        }
        Ok((response.status().as_u16(), text))
    }

    /// Asks until there is an answer: what is down is started again.
    fn insist(&mut self, method: &Method, target: &str, form: &str) -> String {
        let start = Instant::now();
        loop {
            match self.ask(method.clone(), target, form) {
                Ok((200, text)) => return text,
                // From nginx: nobody was there, or he was killed. From serve: no Redis.
                Ok((502..=504, _)) => {}
                Ok((status, text)) => panic!("{status}: {text}"),
                Err(_) => self.session.reset(),
            }
            assert!(start.elapsed() < Duration::from_secs(60), "nobody answers");
            thread::yield_now();
        }
    }

    fn set(&mut self, round: usize) {
        let (name, value) = (format!("k{}", round % 10), format!("{}.{round}", self.name));
        self.insist(&Method::POST, "/session", &format!("{name}={value}"));
        self.known.insert(name, value);
    }

    /// The session has what was acknowledged, and nothing else.
    fn check(&mut self) {
        let text = self.insist(&Method::GET, "/session", "");
        let expected: Vec<String> =
            self.known.iter().map(|(name, value)| format!(r#""{name}":"{value}""#)).collect();
        let expected = format!(r#""attributes":{{{}}}"#, expected.join(","));
        assert!(text.contains(&expected), "{} is not {expected}", text);
        assert!(text.contains(&format!(r#""id":"{}""#, self.cookie.as_ref().unwrap())), "{text}");
    }
}

/// Ends the visitors, also where the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
#[ignore = "needs redis-server and nginx"]
fn servers_and_redis_may_be_killed_and_no_session_is_lost_or_mixed_up() {
    all_but_nginx_are_killed("redis-server");
}

#[test]
#[ignore = "needs valkey-server and nginx"]
fn servers_and_valkey_may_be_killed_and_no_session_is_lost_or_mixed_up() {
    all_but_nginx_are_killed("valkey-server");
}

fn all_but_nginx_are_killed(program: &str) {
    let mut redis = Redis::start_program(program, &["--appendonly", "yes", "--appendfsync", "always"]);
    let store = redis.url() + "/";
    let start = |address: &str| Serve::start_at(address, &["--session-store", &store]);
    let mut serves: Vec<Serve> = (0..2).map(|_| start("127.0.0.1:0")).collect();
    let addresses: Vec<SocketAddr> = serves.iter().map(|serve| serve.address).collect();
    let nginx = nginx_before(addresses[0], addresses[1]);

    let (over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let rounds_go_on = |what: &str| {
        let before = rounds.load(SeqCst);
        let start = Instant::now();
        while rounds.load(SeqCst) < before + 40 {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing goes on after {what}");
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        let visitors: Vec<_> = (0..8)
            .map(|name| {
                let (over, rounds, address) = (&over, &rounds, nginx.address);
                scope.spawn(move || {
                    let mut visitor = Visitor::new(name, address);
                    let mut round = 0;
                    while !over.load(SeqCst) {
                        visitor.set(round);
                        visitor.check();
                        rounds.fetch_add(1, SeqCst);
                        round += 1;
                    }
                    visitor.cookie.unwrap()
                })
            })
            .collect();
        let end = End(&over);
        rounds_go_on("the start");
        for _ in 0..3 {
            for (serve, address) in serves.iter_mut().zip(&addresses) {
                // Killed, and another one in its place.
                serve.kill();
                rounds_go_on("one of two was killed");
                *serve = start(&address.to_string());
                rounds_go_on("it was started again");
            }
            redis.kill();
            let mut stranger = Visitor::new(99, nginx.address);
            let asked = Instant::now();
            assert_eq!(stranger.ask(Method::GET, "/session", "").unwrap().0, 503);
            assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
            assert_eq!(stranger.ask(Method::GET, "/hello", "").unwrap(), (200, "Hello, world!".to_owned()));
            redis.run();
            rounds_go_on("Redis was started again");
        }
        drop(end);
        let mut cookies: Vec<String> = visitors.into_iter().map(|visitor| visitor.join().unwrap()).collect();
        cookies.sort();
        cookies.dedup();
        assert_eq!(cookies.len(), 8);
    });
}
