//! The server answers: closures, handlers, factories; requests and responses on the wire.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/server.rs"]
mod support;

use std::io::{BufRead, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use sessile::message::{Method, Request, Response, StatusCode};
use sessile::server::{
    HttpServer, HttpServerParams, RequestHandler, RequestHandlerFactory, ServerRequest, ServerResponse,
};
use sessile::{Error, ErrorKind};
use support::{End, Running};

fn params() -> HttpServerParams {
    HttpServerParams::new()
}

#[test]
fn a_closure_answers_on_a_persistent_connection() {
    let server = Running::with(params(), |request, response| {
        response.set_content_type("text/plain");
        response.send_buffer(format!("{} {}", request.method(), request.target()).as_bytes())
    });
    let mut client = server.connect();
    for path in ["/a", "/b?c=d", "/e"] {
        let answer = client.get(path).answer();
        assert_eq!((answer.status, answer.text()), (200, format!("GET {path}")));
        assert!(answer.header("Date").is_some_and(|date| date.ends_with(" GMT")));
        assert!(!answer.closes());
    }
    assert_eq!(server.handle.total_connections(), 1);
}

struct Shout(String);

impl RequestHandler for Shout {
    fn handle_request(
        &self,
        _: &mut ServerRequest<'_>,
        response: &mut ServerResponse<'_>,
    ) -> sessile::Result<()> {
        response.send_buffer(self.0.to_uppercase().as_bytes())
    }
}

struct Factory;

impl RequestHandlerFactory for Factory {
    fn create_request_handler(&self, request: &Request) -> Option<Box<dyn RequestHandler>> {
        (*request.method() == Method::GET)
            .then(|| Box::new(Shout(request.path().to_owned())) as Box<dyn RequestHandler>)
    }
}

#[test]
fn a_factory_makes_a_handler_for_each_request_and_none_is_501() {
    let server = HttpServer::with_factory(params(), Factory).listen("127.0.0.1:0").unwrap();
    let server = Running::run(server);
    assert_eq!(server.connect().get("/loud").answer().text(), "/LOUD");
    let mut client = server.connect();
    let answer = client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab").answer();
    assert_eq!(answer.status, 501);
    assert!(answer.closes() && answer.header("Date").is_some() && answer.header("Content-Length").is_some());
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn a_handler_that_is_no_closure_answers() {
    let server =
        HttpServer::with_handler(params(), Arc::new(Shout("quiet".into()))).listen("127.0.0.1:0").unwrap();
    assert_eq!(Running::run(server).connect().get("/").answer().text(), "QUIET");
}

#[test]
fn content_is_read_by_length_and_by_chunks_with_trailers() {
    let server = Running::with(params(), |request, response| {
        let mut text = String::new();
        request.read_to_string(&mut text)?;
        let trailer = request.trailers().get("X-Sum").unwrap_or("none").to_owned();
        response.send_buffer(format!("{text} {trailer}").as_bytes())
    });
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.answer().text(), "hello none");
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n");
    assert_eq!(client.answer().text(), "abcde 5");
    assert_eq!(client.get("/").answer().text(), " none");
}

#[test]
fn an_echo_streams_both_ways_at_once() {
    let server = Running::with(params(), |request, response| {
        match request.content_length()? {
            Some(length) => response.set_content_length(length),
            None => response.set_chunked(true),
        };
        let mut out = response.send()?;
        std::io::copy(request, &mut out)?;
        out.finish()
    });
    let mut client = server.connect();
    let data: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut writer = client.stream.try_clone().unwrap();
    let copy = data.clone();
    let sender = std::thread::spawn(move || {
        write!(writer, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", copy.len()).unwrap();
        writer.write_all(&copy).unwrap();
    });
    let answer = client.answer();
    sender.join().unwrap();
    assert!(answer.body == data);
    assert!(!answer.closes());
    assert_eq!(client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").answer().text(), "x");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Running::with(params(), |request, response| response.send_buffer(request.path().as_bytes()));
    let mut client = server.connect();
    let all: String = (0..50).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(all);
    for n in 0..50 {
        assert_eq!(client.answer().text(), format!("/{n}"));
    }
}

#[test]
fn content_that_a_handler_leaves_unread_is_not_the_next_request() {
    let server = Running::with(params(), |request, response| {
        response.send_buffer(format!("{} {}", request.method(), request.path()).as_bytes())
    });
    let mut client = server.connect();
    client.send(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.answer().text(), "POST /a");
    assert_eq!(client.answer().text(), "GET /b");
}

#[test]
fn more_unread_content_than_the_budget_closes_the_connection_and_says_so() {
    let server = Running::with(params().with_drain(1000, Duration::from_secs(1)), |_, response| {
        response.send_buffer(b"no")
    });
    let mut client = server.connect();
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.text(), "no");
    assert!(answer.closes());
    client.try_send(vec![b'x'; 100_000]);
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn unread_content_that_does_not_come_costs_no_more_than_its_time() {
    let server = Running::with(params().with_drain(1000, Duration::from_millis(50)), |_, response| {
        response.send_buffer(b"no")
    });
    let mut client = server.connect();
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n12345");
    assert_eq!(client.answer().text(), "no");
    assert_eq!(client.end_within(Duration::from_secs(3)), End::Closed);
}

#[test]
fn a_response_without_a_length_gets_one_or_is_chunked_or_ends_with_the_connection() {
    let server = Running::with(params(), |request, response| {
        let size: usize = request.path()[1..].parse().map_err(|_| Error::new(ErrorKind::NotFound, "no"))?;
        let mut body = response.send()?;
        for _ in 0..size / 10 {
            body.write_all(b"0123456789")?;
        }
        Ok(())
    });
    let mut client = server.connect();
    let small = client.get("/100").answer();
    assert_eq!((small.header("Content-Length"), small.body.len()), (Some("100"), 100));
    let large = client.get("/100000").answer();
    assert_eq!((large.header("Transfer-Encoding"), large.body.len()), (Some("chunked"), 100_000));
    client.send("GET /100000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let old = client.answer();
    assert_eq!(
        (old.header("Transfer-Encoding"), old.header("Content-Length"), old.body.len()),
        (None, None, 100_000)
    );
}

#[test]
fn head_and_204_and_304_have_no_content_whatever_the_handler_writes() {
    let server = Running::with(params(), |request, response| {
        if let Ok(status) = request.path()[1..].parse() {
            response.set_status(StatusCode::new(status)?);
        }
        if request.query() == Some("chunked") {
            response.set_chunked(true);
        }
        let mut body = response.send()?;
        body.write_all(b"surplus")?;
        body.finish()
    });
    let mut client = server.connect();
    for (method, path) in [
        ("HEAD", "/200"),
        ("HEAD", "/200?chunked"),
        ("GET", "/204"),
        ("GET", "/204?chunked"),
        ("GET", "/304"),
        ("GET", "/304?chunked"),
        ("HEAD", "/404"),
    ] {
        let answer = client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")).answer_to(method);
        assert!(!(answer.status == 204 && answer.header("Transfer-Encoding").is_some()), "{answer:?}");
        // Nothing of the content may stand before the next response.
        assert_eq!(client.get("/").answer().text(), "surplus", "{method} {path}");
    }
}

#[test]
fn head_says_the_length_that_get_would_have() {
    let server = Running::with(params(), |_, response| response.send_buffer(b"Hello, world!"));
    let mut client = server.connect();
    let answer = client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").answer_to("HEAD");
    assert_eq!(answer.header("Content-Length"), Some("13"));
    assert_eq!(client.get("/").answer().text(), "Hello, world!");
}

#[test]
fn a_handler_that_sends_nothing_gives_500() {
    let server = Running::with(params(), |_, _| Ok(()));
    let mut client = server.connect();
    let answer = client.get("/").answer();
    assert_eq!(answer.status, 500);
    assert!(answer.closes() && answer.header("Date").is_some());
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn a_handler_s_error_is_answered_by_its_hint_and_tells_nothing_of_the_inside() {
    let server = Running::with(params(), |request, _| {
        Err(match request.path() {
            "/teapot" => Error::new(ErrorKind::NotFound, "no tea").with_status(StatusCode::new(418)?),
            "/file" => std::fs::File::open("/nonexistent/secret").map(drop).unwrap_err().into(),
            _ => Error::new(ErrorKind::Store, "redis://secret is down"),
        })
    });
    for (path, status) in [("/teapot", 418), ("/file", 500), ("/store", 503)] {
        let answer = server.connect().get(path).answer();
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
}

#[test]
fn a_panic_costs_a_500_and_not_the_server() {
    let server = Running::with(params().with_max_threads(1), |request, response| {
        match request.path() {
            "/before" => panic!("before"),
            "/buffered" => response.send()?.write_all(b"partial")?,
            "/after" => {
                let mut body = response.send()?;
                body.write_all(b"partial")?;
                body.flush()?;
            }
            _ => return response.send_buffer(b"fine"),
        }
        panic!("later");
    });
    for path in ["/before", "/buffered"] {
        let mut client = server.connect();
        let answer = client.get(path).answer();
        assert_eq!((answer.status, answer.closes()), (500, true), "{path}");
        assert_eq!(client.end(), End::Closed);
    }
    let mut client = server.connect();
    client.get("/after");
    assert!(client.try_answer("GET").is_err(), "a response that was cut off must not look whole");
    assert_eq!(server.connect().get("/").answer().text(), "fine");
}

#[test]
fn an_error_behind_the_head_closes_and_the_response_does_not_look_whole() {
    let server = Running::with(params(), |request, response| {
        if request.path() == "/length" {
            response.set_content_length(10);
        }
        let mut body = response.send()?;
        body.write_all(b"123")?;
        body.flush()?;
        Err(Error::new(ErrorKind::Store, "gone"))
    });
    for path in ["/length", "/chunked"] {
        assert!(server.connect().get(path).try_answer("GET").is_err(), "{path}");
    }
}

#[test]
fn less_content_than_promised_closes_and_more_is_an_error() {
    let (report, reports) = mpsc::channel();
    let server = Running::with(params(), move |request, response| {
        response.set_content_length(3);
        let mut body = response.send()?;
        if request.path() == "/short" {
            body.write_all(b"12")?;
        } else {
            report.send(body.write_all(b"123456").is_err()).unwrap();
        }
        Ok(())
    });
    assert!(server.connect().get("/short").try_answer("GET").is_err());
    assert_eq!(server.connect().get("/long").answer().text(), "123");
    assert!(reports.recv().unwrap());
}

#[test]
fn a_response_is_sent_once() {
    let (report, reports) = mpsc::channel();
    let server = Running::with(params(), move |_, response| {
        assert!(!response.is_sent());
        response.send_buffer(b"one")?;
        assert!(response.is_sent());
        report.send(response.send_buffer(b"two").unwrap_err().kind()).unwrap();
        report.send(response.send().unwrap_err().kind()).unwrap();
        report
            .send(response.send_interim(&Response::with_status(StatusCode::EARLY_HINTS)).unwrap_err().kind())
            .unwrap();
        Ok(())
    });
    let mut client = server.connect();
    assert_eq!(client.get("/").answer().text(), "one");
    for _ in 0..3 {
        assert_eq!(reports.recv().unwrap(), ErrorKind::IllegalState);
    }
    assert_eq!(client.get("/").answer().text(), "one");
}

#[test]
fn a_redirect_has_its_location_and_no_other_status() {
    let server = Running::with(params(), |request, response| match request.path() {
        "/found" => response.redirect("/hello"),
        "/see" => response.redirect_with("http://other.test/", StatusCode::SEE_OTHER),
        "/split" => match response.redirect("/a\r\nX-Injected: yes") {
            Err(error) if error.kind() == ErrorKind::InvalidArgument => response.send_buffer(b"refused"),
            _ => Ok(()),
        },
        _ => match response.redirect_with("/", StatusCode::OK) {
            Err(error) if error.kind() == ErrorKind::InvalidArgument => response.send_buffer(b"refused"),
            _ => Ok(()),
        },
    });
    let mut client = server.connect();
    let found = client.get("/found").answer();
    assert_eq!(
        (found.status, found.header("Location"), found.header("Content-Length")),
        (302, Some("/hello"), Some("0"))
    );
    let see = client.get("/see").answer();
    assert_eq!((see.status, see.header("Location")), (303, Some("http://other.test/")));
    let split = client.get("/split").answer();
    assert_eq!((split.text(), split.header("X-Injected")), ("refused".into(), None));
    assert_eq!(client.get("/").answer().text(), "refused");
}

#[test]
fn a_demand_for_credentials_quotes_its_realm() {
    let server = Running::with(params(), |_, response| {
        assert!(response.require_authentication("a\r\nX: y").is_err());
        response.require_authentication("the \"inner\" \\ realm")?;
        response.send_buffer(b"")
    });
    let answer = server.connect().get("/").answer();
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("WWW-Authenticate"), Some("Basic realm=\"the \\\"inner\\\" \\\\ realm\""));
}

#[test]
fn a_hundred_continue_comes_with_the_first_read_and_not_without_one() {
    let server = Running::with(params(), |request, response| {
        let mut text = String::new();
        if request.path() == "/read" {
            request.read_to_string(&mut text)?;
        }
        response.send_buffer(text.as_bytes())
    });
    let mut client = server.connect();
    client.send("POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.send("hello").answer().text(), "hello");
    // Whether content follows a final response, nobody can tell: the connection closes.
    client.send("POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.closes()), (200, true));
    assert_eq!(client.end(), End::Closed);
    // Who does not wait gets no 100, and neither does HTTP/1.0.
    for request in [
        "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi",
        "POST /read HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi",
    ] {
        assert_eq!(server.connect().send(request).answer().text(), "hi");
    }
}

#[test]
fn a_hundred_continue_comes_with_a_large_read_too() {
    let server = Running::with(params(), |request, response| {
        let mut block = vec![0; 100_000];
        request.read_exact(&mut block)?;
        response.send_buffer(&block[..5])
    });
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.send(vec![b'x'; 100_000]).answer().text(), "xxxxx");
}

#[test]
fn interim_responses_go_out_at_once_and_not_to_http_1_0() {
    let server = Running::with(params(), |request, response| {
        let mut hints = Response::with_status(StatusCode::EARLY_HINTS);
        hints.headers_mut().set("Link", "</style.css>; rel=preload")?;
        response.send_interim(&hints)?;
        let mut block = String::new();
        request.read_line(&mut block)?;
        response.send_buffer(block.as_bytes())
    });
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    let hints = client.answer();
    assert_eq!((hints.status, hints.header("Link")), (103, Some("</style.css>; rel=preload")));
    assert_eq!(client.send("yes").answer().text(), "yes");
    let old = server.connect().send("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nno").answer();
    assert_eq!((old.status, old.text()), (200, "no".into()));
}

#[test]
fn trailers_of_the_response_follow_its_last_chunk_and_only_there() {
    let server = Running::with(params(), |request, response| {
        if request.path() == "/trailer" {
            response.set_trailer("X-Sum", "42")?;
        }
        let mut body = response.send()?;
        body.write_all(b"content")?;
        body.finish()
    });
    let mut client = server.connect();
    let answer = client.get("/trailer").answer();
    assert_eq!((answer.text(), answer.trailers.as_str()), ("content".into(), "X-Sum: 42\n"));
    assert_eq!(client.get("/").answer().trailers, "");
    let old = client.send("GET /trailer HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer();
    assert_eq!((old.text(), old.header("Content-Length")), ("content".into(), Some("7")));
    assert_eq!(client.get("/").answer().trailers, "");
}

#[test]
fn connect_is_501_and_options_asterisk_is_about_the_server() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = Running::with(params(), move |request, response| {
        count.fetch_add(1, Ordering::SeqCst);
        response.send_buffer(request.target().as_bytes())
    });
    let mut client = server.connect();
    let answer = client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").answer();
    assert_eq!((answer.status, answer.header("Content-Length")), (200, Some("0")));
    assert_eq!(client.send("OPTIONS /a HTTP/1.1\r\nHost: a\r\n\r\n").answer().text(), "/a");
    assert_eq!(client.send("TRACE /b HTTP/1.1\r\nHost: a\r\n\r\n").answer().text(), "/b");
    let answer = client.send("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n").answer();
    assert_eq!((answer.status, answer.closes()), (501, true));
    assert_eq!(client.end(), End::Closed);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[test]
fn http_1_0_closes_unless_it_asks_not_to() {
    let server = Running::with(params(), |_, response| response.send_buffer(b"hi"));
    let mut client = server.connect();
    let kept = client.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").answer();
    assert_eq!(kept.header("Connection"), Some("keep-alive"));
    let closed = client.send("GET / HTTP/1.0\r\n\r\n").answer();
    assert!(closed.closes());
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn keep_alive_can_be_switched_off_and_counted() {
    let off = Running::with(params().with_keep_alive(false), |_, response| response.send_buffer(b"hi"));
    let mut client = off.connect();
    assert!(client.get("/").answer().closes());
    assert_eq!(client.end(), End::Closed);
    let three =
        Running::with(params().with_max_keep_alive_requests(3), |_, response| response.send_buffer(b"hi"));
    let mut client = three.connect();
    let closes: Vec<bool> = (0..3).map(|_| client.get("/").answer().closes()).collect();
    assert_eq!(closes, [false, false, true]);
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn data_attached_to_a_connection_is_there_for_its_next_request() {
    let server = Running::with(params(), |request, response| {
        let count = request.session_data().and_then(|data| data.downcast_ref::<u32>()).copied().unwrap_or(0);
        request.attach_session_data(count + 1);
        response.send_buffer(count.to_string().as_bytes())
    });
    let mut client = server.connect();
    let counts: Vec<String> = (0..3).map(|_| client.get("/").answer().text()).collect();
    assert_eq!(counts, ["0", "1", "2"]);
    assert_eq!(server.connect().get("/").answer().text(), "0");
}

#[test]
fn a_handler_knows_who_asks_and_whom() {
    let server = Running::with(
        params().with_server_name("name.test:80").with_software_version("soft/1"),
        |request, response| {
            let text = format!(
                "{} {} {} {}",
                request.client_address().unwrap(),
                request.server_address().unwrap(),
                request.is_secure(),
                request.params().server_name()
            );
            response.send_buffer(text.as_bytes())
        },
    );
    let mut client = server.connect();
    let answer = client.get("/").answer();
    let here = client.stream.local_addr().unwrap();
    assert_eq!(answer.text(), format!("{here} {} false name.test:80", server.address));
    assert_eq!(answer.header("Server"), Some("soft/1"));
    let refused = client.send("bad\r\n\r\n").answer();
    assert_eq!((refused.status, refused.header("Server")), (400, Some("soft/1")));
}

#[test]
fn hooks_run_in_order_just_before_the_head_and_may_refuse() {
    let server = Running::with(params(), |request, response| {
        response.before_head(|head| {
            head.headers_mut().append("X-Order", "one")?;
            Ok(())
        });
        response.before_head(|head| {
            let order = head.headers().get("X-Order").unwrap_or("none").to_owned();
            head.headers_mut().append("X-Order", format!("two behind {order}"))?;
            Ok(())
        });
        if request.path() == "/refuse" {
            response.before_head(|_| Err(Error::new(ErrorKind::Store, "the store is away")));
        }
        response.send_buffer(b"hi")
    });
    let answer = server.connect().get("/").answer();
    assert!(answer.head.contains("X-Order: one\r\n") && answer.head.contains("X-Order: two behind one\r\n"));
    let refused = server.connect().get("/refuse").answer();
    assert_eq!((refused.status, refused.header("X-Order")), (503, None));
}

#[test]
fn a_connection_is_detached_with_what_was_read_of_it() {
    let server = Running::with(params(), |request, response| {
        response.set_status(StatusCode::SWITCHING_PROTOCOLS);
        response.headers_mut().set("Connection", "Upgrade")?;
        response.headers_mut().set("Upgrade", "shout")?;
        response.send()?;
        let mut raw = request.detach()?;
        assert_eq!(request.detach().unwrap_err().kind(), ErrorKind::IllegalState);
        let mut line = [0; 5];
        raw.read_exact(&mut line)?;
        raw.write_all(&line.to_ascii_uppercase())?;
        Ok(())
    });
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nhello");
    let answer = client.answer();
    assert_eq!((answer.status, answer.header("Upgrade")), (101, Some("shout")));
    assert_eq!(client.exactly(5).unwrap(), b"HELLO");
    assert_eq!(client.end(), End::Closed);
}

#[test]
fn a_detached_connection_outlives_its_handler() {
    let (give, take) = mpsc::channel();
    let server = Running::with(params(), move |request, _| {
        give.send(request.detach()?).unwrap();
        Ok(())
    });
    let mut client = server.connect();
    client.get("/");
    let mut raw = take.recv().unwrap();
    support::until("the thread is free", || server.handle.current_connections() == 0);
    raw.write_all(b"raw").unwrap();
    let mut bytes = [0; 3];
    client.stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"raw");
}

#[test]
fn a_stop_that_aborts_ends_a_detached_connection_while_its_handler_runs_and_not_later() {
    let (ended, result) = mpsc::channel();
    let (give, take) = mpsc::channel();
    let server = Running::with(params(), move |request, _| {
        let mut raw = request.detach()?;
        if request.path() == "/away" {
            give.send(raw).unwrap();
            return Ok(());
        }
        raw.write_all(b"x")?;
        ended.send(Error::from(raw.read(&mut [0; 1]).unwrap_err()).is_aborted()).unwrap();
        Ok(())
    });
    let mut away = server.connect();
    away.get("/away");
    let mut given = take.recv().unwrap();
    support::until("its thread is free", || server.handle.current_connections() == 0);
    let mut client = server.connect();
    client.get("/");
    assert_eq!(client.exactly(1).unwrap(), b"x");
    server.handle.stop_all(true);
    assert!(result.recv_timeout(Duration::from_secs(10)).unwrap());
    given.write_all(b"raw").unwrap();
    assert_eq!(away.exactly(3).unwrap(), b"raw");
}

#[test]
fn a_server_runs_once_and_not_without_a_listener() {
    let mut none = HttpServer::new(params(), |_, response| response.send_buffer(b""));
    assert_eq!(none.run().unwrap_err().kind(), ErrorKind::IllegalState);
    assert_eq!(none.port(), 0);
    let mut server = HttpServer::bind("127.0.0.1:0", |_, response| response.send_buffer(b"")).unwrap();
    server.start().unwrap();
    assert_eq!(server.start().unwrap_err().kind(), ErrorKind::IllegalState);
    assert_eq!(server.set_connection_filter(|_, _| true).unwrap_err().kind(), ErrorKind::IllegalState);
    server.stop();
    server.wait();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error =
        HttpServer::bind(taken.local_addr().unwrap(), |_, response| response.send_buffer(b"")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn servers_and_handles_go_to_any_thread() {
    fn all<T: Send + Sync>() {}
    fn handle<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send>() {}
    all::<HttpServer>();
    handle::<sessile::server::ServerHandle>();
    sent::<ServerRequest<'_>>();
    sent::<ServerResponse<'_>>();
}
