//! Ending blocked calls from another thread: in every phase, within 100 ms, and with the session
//! usable again afterwards.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use sessile::message::{Request, Response};
use sessile::net::Resolve;
use sessile::session::{ClientSession, HttpClientSession, Session};

/// Runs the call, aborts it when the signal comes and it has had time to block, and checks that
/// it ends in time and as aborted.
fn aborted<T>(
    session: &mut HttpClientSession,
    begun: Receiver<()>,
    call: impl FnOnce(&mut HttpClientSession) -> sessile::Result<T>,
) {
    let abort = session.abort_handle();
    let aborter = thread::spawn(move || {
        begun.recv().unwrap();
        // Nothing can be waited for that says "it is blocked now"; the call must end either way.
        thread::sleep(Duration::from_millis(30));
        let at = Instant::now();
        abort.abort();
        at
    });
    let error = call(session).err().expect("it was aborted");
    let took = aborter.join().unwrap().elapsed();
    assert!(error.is_aborted(), "{error:?}");
    assert!(took < Duration::from_millis(100), "{took:?}");
}

/// A server that is good once.
fn good() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    address
}

/// After a reset the session works.
fn works_again(session: &mut HttpClientSession) {
    session.reset();
    let address = good();
    session.set_host("127.0.0.1").unwrap();
    session.set_port(address.port()).unwrap();
    session.send_request(&Request::get("/")).unwrap();
    let mut text = String::new();
    session.receive_response(&mut Response::new()).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "ok");
}

/// Says that it was asked, and answers when it is told to.
struct Stuck(std::sync::Mutex<(Sender<()>, Receiver<()>)>);

impl Resolve for Stuck {
    fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
        let channels = self.0.lock().unwrap();
        channels.0.send(()).unwrap();
        let _ = channels.1.recv();
        Ok(Vec::new())
    }
}

#[test]
fn name_resolution_can_be_aborted() {
    let (asked, begun) = channel();
    let (_release, wait) = channel();
    let mut session = HttpClientSession::new("stuck.test", 80);
    session.set_resolver(Arc::new(Stuck(std::sync::Mutex::new((asked, wait)))));
    aborted(&mut session, begun, |session| session.send_request(&Request::get("/")).map(drop));
    works_again(&mut session);
}

#[test]
fn connecting_can_be_aborted() {
    // A backlog that is full: the next connection waits for an answer.
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let fill: Vec<_> = (0..4)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        })
        .collect();
    let mut session = HttpClientSession::with_address(address);
    let (begin, begun) = channel();
    begin.send(()).unwrap();
    aborted(&mut session, begun, |session| session.send_request(&Request::get("/")).map(drop));
    drop(fill);
    works_again(&mut session);
}

/// A server that reads a head, says the text, and then does nothing until the client is gone.
fn stuck(says: &'static str) -> (HttpClientSession, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let session = HttpClientSession::with_address(listener.local_addr().unwrap());
    let (begin, begun) = channel();
    thread::spawn(move || {
        let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
        let mut byte = [0];
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert_eq!(stream.read(&mut byte).unwrap(), 1);
            head.push(byte[0]);
        }
        stream.write_all(says.as_bytes()).unwrap();
        begin.send(()).unwrap();
        // The client's end is the end; what it uploads stays unread.
        let _ = stream.peek(&mut byte);
        loop {
            thread::park();
        }
    });
    (session, begun)
}

#[test]
fn writing_to_a_full_socket_can_be_aborted() {
    let (mut session, begun) = stuck("");
    aborted(&mut session, begun, |session| {
        let mut request = Request::post("/");
        request.set_chunked(true);
        let mut body = session.send_request(&request)?;
        let block = vec![0; 1 << 20];
        for _ in 0..1000 {
            body.write_all(&block)?;
        }
        Ok(())
    });
    works_again(&mut session);
}

#[test]
fn waiting_for_a_head_and_for_its_rest_can_be_aborted() {
    for says in ["", "HTTP/1.1 200 OK\r\nContent-"] {
        let (mut session, begun) = stuck(says);
        aborted(&mut session, begun, |session| {
            session.send_request(&Request::get("/"))?;
            session.receive_response(&mut Response::new()).map(drop)
        });
        works_again(&mut session);
    }
}

#[test]
fn waiting_for_content_of_each_framing_can_be_aborted() {
    for says in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\n\r\nabc",
    ] {
        let (mut session, begun) = stuck(says);
        aborted(&mut session, begun, |session| {
            session.send_request(&Request::get("/"))?;
            let mut content = Vec::new();
            session.receive_response(&mut Response::new())?.read_to_end(&mut content)?;
            Ok(())
        });
        works_again(&mut session);
    }
}

#[test]
fn a_connection_that_left_its_session_has_a_handle_of_its_own() {
    let mut session = HttpClientSession::with_address(good());
    session.send_request(&Request::get("/")).unwrap();
    let old = session.abort_handle();
    let mut raw = session.detach_socket().unwrap();
    let own = raw.abort_handle();

    // The session's handle stops the session alone, and a reset of that changes nothing here.
    old.abort();
    assert!(session.send_request(&Request::get("/")).unwrap_err().is_aborted());
    let mut text = String::new();
    raw.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("\r\n\r\nok"), "{text}");
    works_again(&mut session);

    own.abort();
    assert!(!session.abort_handle().is_aborted());
    assert!(sessile::Error::from(raw.read(&mut [0; 8]).unwrap_err()).is_aborted());
    session.reset();
    assert!(own.is_aborted());
}

#[test]
fn an_abort_ends_a_detached_connection_if_it_came_before() {
    let mut session = HttpClientSession::with_address(good());
    session.send_request(&Request::get("/")).unwrap();
    session.connection_mut().flush().unwrap();
    session.abort();
    assert!(session.detach_socket().unwrap_err().is_aborted());
    assert!(!session.is_connected());
    works_again(&mut session);
}
