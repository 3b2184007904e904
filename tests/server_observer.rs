//! The server seen from outside: observers, access log, numbers, names of threads.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/server.rs"]
mod support;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use sessile::message::StatusCode;
use sessile::proto::CloseReason;
use sessile::server::{ConnectionInfo, Exchange, HttpServer, HttpServerParams, Observer, Timings};
use sessile::{Error, ErrorKind};
use support::{Running, until};

#[derive(Debug, Clone, PartialEq)]
enum Event {
    Opened(ConnectionInfo),
    Closed(u64, CloseReason, u64),
    Refused(Option<SocketAddr>),
    Done { target: Option<String>, status: Option<StatusCode>, received: u64, sent: u64, timings: Timings },
}

struct Recorder(Mutex<mpsc::Sender<Event>>);

impl Recorder {
    fn tell(&self, event: Event) {
        let _ = self.0.lock().unwrap().send(event);
    }
}

impl Observer for Recorder {
    fn connection_opened(&self, connection: &ConnectionInfo) {
        self.tell(Event::Opened(*connection));
    }
    fn connection_closed(&self, connection: &ConnectionInfo, reason: CloseReason) {
        self.tell(Event::Closed(connection.number, reason, connection.requests));
    }
    fn connection_refused(&self, client: Option<SocketAddr>) {
        self.tell(Event::Refused(client));
    }
    fn request_done(&self, exchange: &Exchange<'_>) {
        self.tell(Event::Done {
            target: exchange.request().map(|request| request.target().to_owned()),
            status: exchange.status(),
            received: exchange.received(),
            sent: exchange.sent(),
            timings: exchange.timings(),
        });
    }
}

fn observed(params: HttpServerParams) -> (Running, mpsc::Receiver<Event>) {
    let (sender, events) = mpsc::channel();
    let mut server = HttpServer::bind_with("127.0.0.1:0", params, |request, response| match request.path() {
        "/fail" => Err(Error::new(ErrorKind::Store, "away")),
        "/wait" => {
            std::thread::sleep(Duration::from_millis(30)); // the time that is measured
            response.send_buffer(b"waited")
        }
        "/take" => request.detach().map(drop),
        _ => {
            std::io::copy(request, &mut std::io::sink())?;
            response.send_buffer(b"hello")
        }
    })
    .unwrap();
    server.set_observer(Recorder(Mutex::new(sender))).unwrap();
    (Running::run(server), events)
}

fn next(events: &mpsc::Receiver<Event>) -> Event {
    events.recv_timeout(Duration::from_secs(10)).unwrap()
}

#[test]
fn an_observer_sees_a_connection_from_its_opening_to_its_reason_to_close() {
    let (server, events) = observed(HttpServerParams::new());
    let mut client = server.connect();
    let here = client.stream.local_addr().unwrap();
    client.send("POST /a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let answer = client.answer();
    client.send("GET /b HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").answer();
    let Event::Opened(info) = next(&events) else { panic!("not opened") };
    assert_eq!(
        (info.number, info.client_address, info.server_address),
        (1, Some(here), Some(server.address))
    );
    assert!(!info.secure && info.requests == 0);
    let Event::Done { target, status, received, sent, .. } = next(&events) else { panic!("not done") };
    assert_eq!((target.as_deref(), status, received), (Some("/a"), Some(StatusCode::OK), 3));
    assert_eq!(sent, (answer.head.len() + 5) as u64);
    assert!(matches!(next(&events), Event::Done { target: Some(target), .. } if target == "/b"));
    assert_eq!(next(&events), Event::Closed(1, CloseReason::AskedByClient, 2));
}

#[test]
fn every_end_of_a_connection_has_its_reason() {
    let (server, events) = observed(
        HttpServerParams::new()
            .with_max_keep_alive_requests(2)
            .with_keep_alive_timeout(Duration::from_millis(50)),
    );
    let reason_of = |act: &dyn Fn(&mut support::Client)| {
        let mut client = server.connect();
        act(&mut client);
        loop {
            if let Event::Closed(_, reason, _) = next(&events) {
                return reason;
            }
        }
    };
    assert_eq!(reason_of(&|client| _ = client.half_close()), CloseReason::ClosedByPeer);
    assert_eq!(reason_of(&|client| _ = client.get("/").answer()), CloseReason::IdleTooLong);
    assert_eq!(
        reason_of(&|client| {
            client.get("/").answer();
            client.get("/").answer();
        }),
        CloseReason::ExchangesUsedUp
    );
    assert_eq!(
        reason_of(&|client| drop(client.send("GET / HTTP/1.0\r\n\r\n").answer())),
        CloseReason::Http10
    );
    assert_eq!(reason_of(&|client| _ = client.send("nonsense\r\n\r\n").answer()), CloseReason::Malformed);
    assert_eq!(reason_of(&|client| _ = client.send("GET / HT").half_close()), CloseReason::Incomplete);
    assert_eq!(reason_of(&|client| _ = client.get("/take").try_answer("GET")), CloseReason::Upgraded);
}

#[test]
fn what_the_server_answers_by_itself_is_seen_too() {
    let (server, events) = observed(HttpServerParams::new());
    let mut statuses = Vec::new();
    for request in [
        "nonsense\r\n\r\n",
        "GET /fail HTTP/1.1\r\nHost: t\r\n\r\n",
        "CONNECT t:1 HTTP/1.1\r\nHost: t:1\r\n\r\n",
    ] {
        server.connect().send(request).answer();
        loop {
            if let Event::Done { target, status, .. } = next(&events) {
                statuses.push((target.is_some(), status.unwrap().as_u16()));
                break;
            }
        }
    }
    assert_eq!(statuses, [(false, 400), (true, 503), (true, 501)]);
}

#[test]
fn the_phases_of_an_exchange_are_timed() {
    let (server, events) = observed(HttpServerParams::new());
    let mut client = server.connect();
    client.get("/").answer();
    std::thread::sleep(Duration::from_millis(40)); // the time that is measured
    client.send("GET /wait HTTP/1.1\r\n");
    std::thread::sleep(Duration::from_millis(35)); // the time that is measured
    client.send("Host: t\r\n\r\n").answer();
    let timings: Vec<Timings> = events
        .iter()
        .filter_map(|event| match event {
            Event::Done { timings, .. } => Some(timings),
            _ => None,
        })
        .take(2)
        .collect();
    let ms = |n| Duration::from_millis(n);
    assert!(timings[1].idle >= ms(40), "{timings:?}");
    assert!(timings[1].head >= ms(35), "{timings:?}");
    assert!(timings[1].answer >= ms(30) && timings[1].answer < ms(5000), "{timings:?}");
    assert!(timings[0].head < ms(5000));
}

#[test]
fn refused_connections_are_seen_and_counted() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let (sender, events) = mpsc::channel();
    let params = HttpServerParams::new().with_max_threads(1).with_max_queued(0);
    let mut server = HttpServer::bind_with("127.0.0.1:0", params, move |_, response| {
        released.lock().unwrap().recv().unwrap();
        response.send_buffer(b"")
    })
    .unwrap();
    server.set_observer(Recorder(Mutex::new(sender))).unwrap();
    let server = Running::run(server);
    let mut first = server.connect();
    first.get("/");
    until("the first is served", || server.handle.current_connections() == 1);
    let second = server.connect();
    let here = second.stream.local_addr().unwrap();
    let refused = events.iter().find_map(|event| match event {
        Event::Refused(client) => Some(client),
        _ => None,
    });
    assert_eq!(refused, Some(Some(here)));
    assert_eq!((server.handle.refused_connections(), server.handle.total_connections()), (1, 2));
    release.send(()).unwrap();
    assert_eq!(first.answer().status, 200);
}

#[test]
fn an_access_log_has_a_line_for_each_request() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = lines.clone();
    let mut server = HttpServer::bind("127.0.0.1:0", |_, response| response.send_buffer(b"hello")).unwrap();
    server.set_access_log(move |exchange| log.lock().unwrap().push(exchange.to_string())).unwrap();
    assert_eq!(server.set_access_log(|_| ()).unwrap_err().kind(), ErrorKind::IllegalState);
    let server = Running::run(server);
    let mut client = server.connect();
    client.get("/a?b=c").answer();
    client.send("x\r\n\r\n").answer();
    until("both are logged", || lines.lock().unwrap().len() == 2);
    let lines = lines.lock().unwrap();
    assert!(lines[0].starts_with("127.0.0.1 - - ["), "{}", lines[0]);
    assert!(lines[0].contains("] \"GET /a?b=c HTTP/1.1\" 200 "), "{}", lines[0]);
    assert!(lines[1].contains("] \"-\" 400 "), "{}", lines[1]);
}

#[test]
fn numbers_are_counted_as_in_poco() {
    let server =
        Running::with(HttpServerParams::new().with_max_threads(7), |_, response| response.send_buffer(b""));
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.get("/").answer();
    }
    let handle = &server.handle;
    assert_eq!((handle.max_threads(), handle.current_threads(), handle.current_connections()), (7, 3, 3));
    assert_eq!((handle.total_connections(), handle.max_concurrent_connections()), (3, 3));
    assert_eq!((handle.queued_connections(), handle.refused_connections()), (0, 0));
    clients.truncate(1);
    until("two have left", || handle.current_connections() == 1);
    assert_eq!((handle.total_connections(), handle.max_concurrent_connections()), (3, 3));
}

#[test]
fn threads_are_named_after_what_they_serve() {
    let (name, names) = mpsc::channel();
    let server = Running::with(HttpServerParams::new(), move |_, response| {
        name.send(std::thread::current().name().map(str::to_owned)).unwrap();
        response.send_buffer(b"")
    });
    server.connect().get("/").answer();
    assert_eq!(names.recv().unwrap(), Some(format!(":{} serve", server.address.port())));
}

#[test]
fn an_observer_that_panics_costs_its_connection_and_not_the_server() {
    struct Bad;
    impl Observer for Bad {
        fn request_done(&self, exchange: &Exchange<'_>) {
            assert!(exchange.request().is_none_or(|request| request.target() != "/bad"), "as asked for");
        }
    }
    let params = HttpServerParams::new().with_max_threads(1);
    let mut server =
        HttpServer::bind_with("127.0.0.1:0", params, |_, response| response.send_buffer(b"hi")).unwrap();
    server.set_observer(Bad).unwrap();
    let server = Running::run(server);
    for _ in 0..3 {
        let _ = server.connect().get("/bad").try_answer("GET");
        assert_eq!(server.connect().get("/good").answer().text(), "hi");
    }
    assert_eq!(server.handle.current_threads(), 1);
}
