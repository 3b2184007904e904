//! Server-sent events from a handler to a client session.

#![allow(clippy::unwrap_used)] // in the helpers of tests too

#[path = "support/server.rs"]
mod support;

use std::sync::mpsc;
use std::time::Duration;

use sessile::message::{Request, Response};
use sessile::server::HttpServerParams;
use sessile::session::{ClientSession, HttpClientSession};
use sessile::web::{Event, EventReader, EventWriter, prepare_event_stream};
use support::Running;

#[test]
fn each_event_arrives_when_it_is_sent() {
    let (more, wanted) = mpsc::channel::<()>();
    let wanted = std::sync::Mutex::new(wanted);
    let server = Running::with(HttpServerParams::new(), move |_, response| {
        prepare_event_stream(response);
        let mut events = EventWriter::new(response.send()?);
        events.send_retry(Duration::from_millis(20))?;
        for number in 0.. {
            events.send(&Event::new(format!("number\n{number}")).with_id(number.to_string())?)?;
            events.heartbeat()?;
            // The client asks for the next one when it has this one.
            if wanted.lock().unwrap().recv().is_err() {
                break;
            }
        }
        events.into_inner().finish()
    });
    let mut session = HttpClientSession::new("127.0.0.1", server.address.port());
    session.send_request(&Request::get("/")).unwrap();
    let mut response = Response::new();
    let mut events = EventReader::new(session.receive_response(&mut response).unwrap());
    assert_eq!(response.content_type(), Some("text/event-stream"));
    for number in 0..5 {
        let event = events.next_event().unwrap().unwrap();
        assert_eq!((event.data(), event.id()), (&*format!("number\n{number}"), Some(&*number.to_string())));
        more.send(()).unwrap();
    }
    assert_eq!(events.retry(), Some(Duration::from_millis(20)));
    drop(more);
    assert_eq!(events.next_event().unwrap().unwrap().id(), Some("5"));
    assert!(events.next_event().unwrap().is_none());
    assert_eq!(events.last_event_id(), "5");
}

#[test]
fn a_handler_notices_that_the_client_left() {
    let (gone, noticed) = mpsc::channel();
    let server = Running::with(HttpServerParams::new(), move |_, response| {
        prepare_event_stream(response);
        let mut events = EventWriter::new(response.send()?);
        events.send_data("hello")?;
        loop {
            if let Err(error) = events.heartbeat() {
                gone.send(()).unwrap();
                return Err(error);
            }
        }
    });
    let mut session = HttpClientSession::new("127.0.0.1", server.address.port());
    session.send_request(&Request::get("/")).unwrap();
    let mut response = Response::new();
    let mut events = EventReader::new(session.receive_response(&mut response).unwrap());
    assert_eq!(events.next_event().unwrap().unwrap().data(), "hello");
    drop(session);
    noticed.recv_timeout(Duration::from_secs(10)).unwrap();
}
