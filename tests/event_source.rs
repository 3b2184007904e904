//! Server-sent events over connections that are lost.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/server.rs"]
mod support;

use std::net::TcpListener;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use sessile::client::UserAgent;
use sessile::message::StatusCode;
use sessile::server::{HttpServerParams, ServerRequest, ServerResponse};
use sessile::session::Timeouts;
use sessile::web::{Event, EventSource, EventWriter, prepare_event_stream};
use sessile::{ErrorKind, Result};
use support::Running;

type Answer = fn(&mut ServerResponse<'_>) -> Result<()>;

/// Gives these answers, one to each request, and says what `Last-Event-ID` was asked with.
fn answering(answers: Vec<Answer>) -> (Running, mpsc::Receiver<Option<String>>) {
    let (asked, ids) = mpsc::channel();
    let answers = Mutex::new(answers.into_iter());
    let handler = move |request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>| {
        assert_eq!(request.headers().get("Accept"), Some("text/event-stream"));
        asked.send(request.headers().get("Last-Event-ID").map(String::from)).unwrap();
        let answer = answers.lock().unwrap().next().unwrap_or(enough);
        answer(response)
    };
    (Running::with(HttpServerParams::new(), handler), ids)
}

/// Events with these ids, and what else is to be sent.
fn stream(response: &mut ServerResponse<'_>, ids: &[u32], rest: &str) -> Result<()> {
    use std::io::Write;

    prepare_event_stream(response);
    let mut events = EventWriter::new(response.send()?);
    events.send_retry(Duration::from_millis(1))?;
    for id in ids {
        events.send(&Event::new(format!("event {id}")).with_id(id.to_string())?)?;
    }
    let mut body = events.into_inner();
    body.write_all(rest.as_bytes())?;
    body.flush()?;
    Ok(())
}

fn enough(response: &mut ServerResponse<'_>) -> Result<()> {
    response.set_status_and_reason(StatusCode::NO_CONTENT);
    response.send()?.finish()
}

fn source(server: &Running) -> EventSource {
    let times = Timeouts::all(Duration::from_secs(10));
    EventSource::new(&UserAgent::new(), format!("http://{}/", server.address)).unwrap().with_timeouts(times)
}

fn data(events: &mut EventSource) -> Vec<String> {
    events.map(|event| event.unwrap().into_data()).collect()
}

#[test]
fn a_lost_stream_goes_on_behind_the_last_event_that_came_whole() {
    let (server, ids) = answering(vec![
        |response| stream(response, &[1, 2], ""),
        // An id counts with its empty line, and an event that is cut off does not come.
        |response| stream(response, &[3], "id: 4\ndata: cut"),
        // The connection breaks off inside of a chunk.
        |response| {
            stream(response, &[4], "")?;
            Err(sessile::Error::new(sessile::ErrorKind::IllegalState, "the handler fails"))
        },
        |response| stream(response, &[5], "id\n\n"),
    ]);
    let mut events = source(&server);
    assert_eq!(data(&mut events), ["event 1", "event 2", "event 3", "event 4", "event 5"]);
    assert_eq!(events.last_event_id(), "", "the server took the last id back");
    assert!(!events.is_connected());
    let asked: Vec<_> = ids.try_iter().collect();
    assert_eq!(asked, [None, Some("2".into()), Some("3".into()), Some("4".into()), None]);
    assert!(events.next_event().unwrap().is_none(), "and it is not asked again");
    assert!(ids.try_recv().is_err());
}

#[test]
fn the_server_says_how_long_to_wait() {
    let (server, _ids) = answering(vec![|response| stream(response, &[1], "retry: 80\n\n"), |response| {
        stream(response, &[2], "retry: x\n\n")
    }]);
    let mut events = source(&server).with_retry(Duration::from_secs(60));
    assert_eq!(events.retry(), Duration::from_secs(60));
    events.next_event().unwrap();
    let start = Instant::now();
    assert_eq!(events.next_event().unwrap().unwrap().data(), "event 2");
    let waited = start.elapsed();
    assert!((80..5000).contains(&waited.as_millis()), "{waited:?}");
}

#[test]
fn a_stream_can_go_on_where_an_earlier_program_was() {
    let (server, ids) = answering(vec![|response| stream(response, &[8], "")]);
    let mut events = source(&server).with_last_event_id("grün 7").with_header("X-Who", "me").unwrap();
    assert_eq!(data(&mut events), ["event 8"]);
    assert_eq!(ids.try_iter().collect::<Vec<_>>(), [Some("grün 7".into()), Some("8".into())]);
}

#[test]
fn silence_for_the_receive_time_out_is_a_loss_and_heartbeats_prevent_it() {
    let (server, ids) = answering(vec![
        |response| {
            prepare_event_stream(response);
            let mut events = EventWriter::new(response.send()?);
            events.send_retry(Duration::from_millis(1))?;
            // Three times as long as the client bears silence.
            for _ in 0..30 {
                thread::sleep(Duration::from_millis(20));
                events.heartbeat()?;
            }
            events.send_data("alive")?;
            // Silent, until the client has gone.
            thread::sleep(Duration::from_millis(400));
            Ok(())
        },
        |response| stream(response, &[1], ""),
    ]);
    let mut events = source(&server).with_timeouts(Timeouts::all(Duration::from_millis(200)));
    assert_eq!(events.next_event().unwrap().unwrap().data(), "alive");
    assert_eq!(ids.try_iter().count(), 1);
    assert_eq!(events.next_event().unwrap().unwrap().data(), "event 1");
    assert_eq!(ids.try_iter().count(), 1);
}

#[test]
fn answers_that_are_no_events_are_errors_and_the_next_call_asks_again() {
    let (server, ids) = answering(vec![
        |response| {
            response.set_status_and_reason(StatusCode::SERVICE_UNAVAILABLE);
            response.send_buffer(b"later")
        },
        |response| {
            response.set_content_type("text/html");
            response.send_buffer(b"data: no\n\n")
        },
        |response| {
            response.set_content_type("Text/Event-Stream; charset=utf-8");
            response.send_buffer(b"data: yes\n\n")
        },
        |response| stream(response, &[1], "data: 0123456789012345678901234567890123456789\n\n"),
    ]);
    let mut events = source(&server).with_retry(Duration::from_millis(20)).with_limit(30);
    let start = Instant::now();
    let error = events.next_event().unwrap_err();
    assert_eq!((error.kind(), error.status()), (ErrorKind::Status, Some(StatusCode::SERVICE_UNAVAILABLE)));
    assert_eq!(events.next_event().unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(events.next_event().unwrap().unwrap().data(), "yes");
    assert!(start.elapsed() >= Duration::from_millis(40), "it waits before it asks again");
    assert_eq!(events.next_event().unwrap().unwrap().data(), "event 1");
    assert_eq!(events.next_event().unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(ids.try_iter().count(), 4);
}

#[test]
fn a_redirect_is_followed_each_time() {
    let (server, ids) = answering(vec![
        |response| response.redirect("/elsewhere"),
        |response| stream(response, &[1], ""),
        |response| response.redirect("/elsewhere"),
        |response| stream(response, &[2], ""),
    ]);
    assert_eq!(data(&mut source(&server)), ["event 1", "event 2"]);
    let asked: Vec<_> = ids.try_iter().collect();
    assert_eq!(asked, [None, None, Some("1".into()), Some("1".into()), Some("2".into())]);
}

#[test]
fn a_server_that_is_not_there_is_an_error_at_once_and_later_after_so_many_attempts() {
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("http://{}/", nowhere.local_addr().unwrap());
    drop(nowhere);
    let mut events = EventSource::new(&UserAgent::new(), &uri).unwrap();
    let start = Instant::now();
    assert_eq!(events.next_event().unwrap_err().kind(), ErrorKind::Connect);
    assert!(start.elapsed() < Duration::from_secs(2), "a wrong address is told at once");

    let (server, _ids) = answering(vec![|response| stream(response, &[1], "retry: 20\n\n")]);
    let mut events = source(&server).with_attempts(4);
    events.next_event().unwrap();
    drop(server);
    let start = Instant::now();
    assert_eq!(events.next_event().unwrap_err().kind(), ErrorKind::Connect);
    let lasted = start.elapsed();
    // 20 ms, 40 ms, 80 ms, 160 ms.
    assert!((300..5000).contains(&lasted.as_millis()), "{lasted:?}");
    assert_eq!(events.last_event_id(), "1");
}

#[test]
fn an_abort_ends_the_wait_for_an_event_and_the_wait_before_asking_again() {
    let (server, _ids) = answering(vec![|response| stream(response, &[1], "retry: 60000\n\n"), |response| {
        stream(response, &[2], "")
    }]);
    let mut events = source(&server);
    assert_eq!(events.next_event().unwrap().unwrap().data(), "event 1");
    aborted(events);

    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let server = Running::with(HttpServerParams::new(), move |_, response| {
        stream(response, &[1], "")?;
        let _ = held.lock().unwrap().recv();
        Ok(())
    });
    let mut events = source(&server);
    assert_eq!(events.next_event().unwrap().unwrap().data(), "event 1");
    assert!(events.is_connected());
    aborted(events);
    drop(hold);
}

fn aborted(mut events: EventSource) {
    let abort = events.abort_handle();
    let (begin, begun) = mpsc::channel();
    let waiting = thread::spawn(move || {
        begin.send(()).unwrap();
        let first = events.next_event().unwrap_err();
        (first, events.next_event().unwrap_err())
    });
    begun.recv().unwrap();
    // Nothing can be waited for that says "it is blocked now"; the call must end either way.
    thread::sleep(Duration::from_millis(30));
    let start = Instant::now();
    abort.abort();
    let (first, again) = waiting.join().unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(first.is_aborted() && again.is_aborted(), "{first:?} {again:?}");
}
