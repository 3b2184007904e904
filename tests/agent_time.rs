//! One deadline over everything that a user agent does: no call outlives it by more than 50 ms.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/origin.rs"]
mod origin;

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use origin::{OK, Origin, redirect, say};
use sessile::client::{AgentResponse, Authentication, Content, RedirectPolicy, UserAgent};
use sessile::net::AbortHandle;
use sessile::session::Timeouts;
use sessile::{Error, Phase, Result};

const TOTAL: Duration = Duration::from_millis(300);
const SLACK: Duration = Duration::from_millis(50);

/// Makes the call until it ends in time: a machine that does other things delays it, now and then.
fn ends_in_time(call: impl Fn() -> Result<()>) -> Error {
    ends_within(TOTAL, call)
}

fn ends_within(total: Duration, call: impl Fn() -> Result<()>) -> Error {
    let mut late = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let error = call().unwrap_err();
        let took = start.elapsed();
        assert!(error.is_timeout(), "{error:?}");
        assert!(took >= total - Duration::from_millis(5), "too early: {took:?}");
        if took <= total + SLACK {
            return error;
        }
        late.push(took);
    }
    panic!("a limit of {total:?} was kept in {late:?}");
}

fn agent() -> UserAgent {
    UserAgent::builder()
        .timeouts(Timeouts { total: Some(TOTAL), ..Timeouts::all(Duration::from_secs(20)) })
        .redirects(RedirectPolicy::limited(1000))
        .build()
        .unwrap()
}

fn read(response: AgentResponse) -> Result<()> {
    response.read_to_vec().map(drop)
}

#[test]
fn over_more_than_ten_redirects_each_of_which_is_quick_enough() {
    let origin = Origin::serving(|asked, stream| {
        thread::sleep(Duration::from_millis(20));
        let n: u32 = asked.target[1..].parse().unwrap();
        redirect(stream, 302, &format!("/{}", n + 1))
    });
    ends_in_time(|| agent().get(origin.url("/0")).send().map(drop));
    assert!(origin.seen().len() > 10);
}

#[test]
fn over_name_resolution() {
    let slow = |_: &str, _: u16| -> std::io::Result<Vec<SocketAddr>> {
        thread::sleep(Duration::from_secs(3));
        Ok(vec![])
    };
    let error = ends_in_time(|| {
        let agent = UserAgent::builder().resolver(Arc::new(slow)).timeout(TOTAL).build().unwrap();
        agent.get("http://slow.test/").send().map(drop)
    });
    assert_eq!(error.phase(), Some(Phase::Resolve));
}

#[test]
fn over_names_and_redirects_together() {
    let origin = Origin::serving(|asked, stream| {
        let n: u32 = asked.target[1..].parse().unwrap();
        let host = asked.field("Host").unwrap().rsplit_once(':').unwrap().1.to_owned();
        redirect(stream, 302, &format!("http://h{}.test:{host}/{}", n + 1, n + 1))
    });
    let slow = |_: &str, port: u16| {
        thread::sleep(Duration::from_millis(40));
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    };
    ends_in_time(|| {
        let agent = UserAgent::builder()
            .resolver(Arc::new(slow))
            .timeout(TOTAL)
            .redirects(RedirectPolicy::limited(100))
            .build()
            .unwrap();
        agent.get(format!("http://h0.test:{}/0", origin.port)).send().map(drop)
    });
}

#[test]
fn over_a_connection_that_is_not_taken() {
    // A full backlog: nobody accepts, and the system answers no more.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _waiting: Vec<_> = (0..300)
        .map_while(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok())
        .collect();
    let error = ends_in_time(|| agent().get(format!("http://{address}/")).send().map(drop));
    assert!(matches!(error.phase(), Some(Phase::Connect | Phase::ReceiveHead)), "{error:?}");
}

#[cfg(feature = "tls")]
#[test]
fn over_a_handshake_and_over_proxies_that_say_nothing() {
    let silent = Origin::raw(|_, stream| drop(std::io::copy(stream, &mut std::io::sink())));
    let error = ends_in_time(|| agent().get(format!("https://127.0.0.1:{silent}/")).send().map(drop));
    assert_eq!(error.phase(), Some(Phase::Handshake));
    for scheme in ["http", "https", "socks5h"] {
        let agent = UserAgent::builder()
            .proxy(format!("{scheme}://127.0.0.1:{silent}").parse().unwrap())
            .timeout(TOTAL)
            .build()
            .unwrap();
        ends_in_time(|| agent.get("https://origin.test/").send().map(drop));
    }
}

#[test]
fn over_a_head_that_does_not_come() {
    let silent = Origin::raw(|_, stream| {
        let _ = stream.read(&mut [0; 1 << 16]);
        let _ = stream.read(&mut [0; 1]);
    });
    let error = ends_in_time(|| agent().get(format!("http://127.0.0.1:{silent}/")).send().map(drop));
    assert_eq!(error.phase(), Some(Phase::ReceiveHead));
}

/// Says something every 20 ms, so that no limit on silence is reached.
fn dripping(head: &'static str, drop: &'static str) -> u16 {
    Origin::raw(move |_, stream| {
        let _ = stream.read(&mut [0; 1 << 16]);
        say(stream, head);
        for _ in 0..500 {
            if !say(stream, drop) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    })
}

#[test]
fn over_a_head_and_over_content_that_come_drop_by_drop() {
    let head = dripping("HTTP/1.1 200 OK\r\n", "X-Drop: 1\r\n");
    ends_in_time(|| agent().get(format!("http://127.0.0.1:{head}/")).send().map(drop));
    for (head, drop) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n", "x"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
        ("HTTP/1.1 200 OK\r\n\r\n", "x"),
    ] {
        let content = dripping(head, drop);
        let error = ends_in_time(|| read(agent().get(format!("http://127.0.0.1:{content}/")).send()?));
        assert_eq!(error.phase(), Some(Phase::ReceiveBody));
    }
}

#[test]
fn over_a_silence_anywhere_in_a_response() {
    const BRIEF: Duration = Duration::from_millis(80);
    for response in [
        "HTTP/1.1 103 Hint\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome text",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nsome\r\n0\r\nX: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nsome text",
    ] {
        for cut in (0..response.len()).step_by(9).chain([response.len() - 1]) {
            let silent = Origin::raw(move |_, stream| {
                let _ = stream.read(&mut [0; 1 << 16]);
                say(stream, &response[..cut]);
                let _ = stream.read(&mut [0; 1]);
            });
            let url = format!("http://127.0.0.1:{silent}/");
            ends_within(BRIEF, || read(agent().get(&url).timeout(BRIEF).send()?));
        }
    }
}

#[test]
fn over_an_upload_that_is_not_taken() {
    let deaf = Origin::raw(|_, _| thread::sleep(Duration::from_secs(10)));
    let error = ends_in_time(|| {
        let zeros = || Ok(Box::new(std::io::repeat(0).take(50_000_000)) as Box<dyn Read + Send>);
        let content = Content::replayable(Some(50_000_000), zeros);
        agent().put(format!("http://127.0.0.1:{deaf}/")).content(content).send().map(drop)
    });
    assert_eq!(error.phase(), Some(Phase::Send));
}

#[test]
fn over_challenges() {
    let origin = Origin::serving(|asked, stream| {
        thread::sleep(Duration::from_millis(200));
        match asked.field("Authorization") {
            Some(_) => say(stream, OK),
            None => {
                say(stream, "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=a\r\nContent-Length: 0\r\n\r\n")
            }
        }
    });
    ends_in_time(|| {
        let user = Authentication::new("u", "p").in_the_clear(true);
        agent().get(origin.url("/")).authentication(user).send().map(drop)
    });
}

#[test]
fn over_a_request_that_is_made_once_more() {
    ends_in_time(|| {
        // Serves one request; loses the second one late; then says nothing at all.
        let origin = Origin::serving(|asked, stream| match (asked.connection, asked.number) {
            (1, 1) => say(stream, OK),
            (1, _) => {
                thread::sleep(Duration::from_millis(200));
                false
            }
            _ => {
                thread::sleep(Duration::from_secs(2));
                false
            }
        });
        let agent = UserAgent::new();
        agent.get(origin.url("/")).send().and_then(read)?;
        agent.get(origin.url("/")).timeout(TOTAL).send().map(drop)
    });
}

#[test]
fn a_call_without_a_limit_of_its_own_has_the_agent_s() {
    let silent = Origin::raw(|_, stream| drop(std::io::copy(stream, &mut std::io::sink())));
    let agent = UserAgent::builder().timeout(Duration::from_secs(30)).build().unwrap();
    ends_in_time(|| agent.get(format!("http://127.0.0.1:{silent}/")).timeout(TOTAL).send().map(drop));
}

#[test]
fn a_limit_that_has_passed_is_an_error_before_anything_is_sent() {
    let origin = Origin::saying(OK);
    let error = UserAgent::new().get(origin.url("/")).timeout(Duration::ZERO).send().unwrap_err();
    assert!(error.is_timeout());
    assert!(origin.seen().is_empty());
}

#[test]
fn an_abort_ends_name_resolution() {
    let slow = |_: &str, _: u16| -> std::io::Result<Vec<SocketAddr>> {
        thread::sleep(Duration::from_secs(3));
        Ok(vec![])
    };
    let agent = UserAgent::builder().resolver(Arc::new(slow)).build().unwrap();
    let abort = AbortHandle::new();
    let call = agent.get("http://slow.test/").abort_handle(&abort);
    let caller = thread::spawn(move || {
        let start = Instant::now();
        (call.send().map(drop), start.elapsed())
    });
    thread::sleep(Duration::from_millis(50)); // the call may be at any point
    abort.abort();
    let (result, took) = caller.join().unwrap();
    assert!(result.unwrap_err().is_aborted());
    assert!(took < Duration::from_secs(1), "{took:?}");
}
