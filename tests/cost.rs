//! What an exchange costs: system calls on the wire and allocations, counted.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::io::Read;
use std::sync::mpsc;
use std::thread;

use sessile::message::{Request, Response};
use sessile::net::{Counting, Counts, Stream, pair};
use sessile::session::{
    ClientSession, HttpClientSession, HttpServerSession, ServerSession, ServerSessionParams,
};

/// A client session whose calls are counted, and a server session that answers `/hello`
/// requests on the other end, counted too.
fn connected() -> (HttpClientSession, Counts, Counts, thread::JoinHandle<()>) {
    let (near, far) = pair();
    let (near, near_counts) = Counting::new(Stream::custom(near));
    let (far, far_counts) = Counting::new(Stream::custom(far));
    let client = HttpClientSession::with_stream(Stream::custom(near)).unwrap();
    let server = thread::spawn(move || {
        let mut session =
            HttpServerSession::new(Stream::custom(far), ServerSessionParams::default()).unwrap();
        let mut request = Request::default();
        let mut response = Response::new();
        response.set_content_type("text/plain").set_content_length(13);
        while session.has_more_requests().unwrap() {
            session.receive_request(&mut request).unwrap();
            std::io::Write::write_all(&mut session.send_response(&response).unwrap(), b"Hello, world!")
                .unwrap();
        }
    });
    (client, near_counts, far_counts, server)
}

fn get(client: &mut HttpClientSession, request: &Request, response: &mut Response, text: &mut [u8]) {
    client.send_request(request).unwrap();
    let mut body = client.receive_response(response).unwrap();
    body.read_exact(text).unwrap();
    assert_eq!(body.read(text).unwrap(), 0);
}

#[test]
fn a_small_exchange_is_one_read_and_one_write_on_each_side() {
    let (mut client, near, far, server) = connected();
    let mut request = Request::get("/hello");
    request.headers_mut().set("Host", "example.com").unwrap();
    let mut response = Response::new();
    get(&mut client, &request, &mut response, &mut [0; 13]);
    let before = [near.reads(), near.writes(), far.reads(), far.writes()];
    const N: u64 = 100;
    for _ in 0..N {
        get(&mut client, &request, &mut response, &mut [0; 13]);
    }
    let after = [near.reads(), near.writes(), far.reads(), far.writes()];
    // Before and after, the server is waiting for the next request or is about to: that read is
    // counted, or not yet. So it may be one more, or one less.
    for (what, (before, after)) in ["client reads", "client writes", "server reads", "server writes"]
        .iter()
        .zip(before.iter().zip(after))
    {
        let calls = after - before;
        assert!((N - 1..=N + 1).contains(&calls), "{calls} {what} for {N} exchanges");
    }
    drop(client);
    server.join().unwrap();
}

#[test]
fn an_exchange_allocates_nothing_where_request_and_response_are_reused() {
    let (mut client, _, _, server) = connected();
    let mut request = Request::get("/hello");
    request.headers_mut().set("Host", "example.com").unwrap();
    request.headers_mut().set("Accept", "text/plain").unwrap();
    let mut response = Response::new();
    for _ in 0..3 {
        get(&mut client, &request, &mut response, &mut [0; 13]);
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            get(&mut client, &request, &mut response, &mut [0; 13]);
        }
    });
    assert_eq!(counted.count_total, 0);
    drop(client);
    server.join().unwrap();
}

#[test]
fn the_server_s_side_allocates_nothing_either() {
    let (near, far) = pair();
    let (said, heard) = mpsc::channel();
    let server = thread::spawn(move || {
        let mut session =
            HttpServerSession::new(Stream::custom(far), ServerSessionParams::default()).unwrap();
        let mut request = Request::default();
        let mut response = Response::new();
        response.set_content_type("text/plain").set_content_length(2);
        let mut serve = |n: usize| {
            for _ in 0..n {
                assert!(session.has_more_requests().unwrap());
                session.receive_request(&mut request).unwrap();
                std::io::Write::write_all(&mut session.send_response(&response).unwrap(), b"hi").unwrap();
            }
        };
        serve(3);
        let counted = allocation_counter::measure(|| serve(100));
        said.send(counted.count_total).unwrap();
        serve(1);
        session.close();
    });
    let mut client = HttpClientSession::with_stream(Stream::custom(near)).unwrap();
    let mut request = Request::get("/hello");
    request.headers_mut().set("Host", "example.com").unwrap();
    for n in 0..30 {
        request.headers_mut().append(&format!("X-Field-{n}"), "some value").unwrap();
    }
    let mut response = Response::new();
    for _ in 0..104 {
        get(&mut client, &request, &mut response, &mut [0; 2]);
    }
    assert_eq!(heard.recv().unwrap(), 0, "with 31 fields in each request");
    drop(client);
    server.join().unwrap();
}

#[test]
fn an_exchange_with_new_messages_allocates_at_most_four_times() {
    let (mut client, _, _, server) = connected();
    let mut once = || {
        let mut request = Request::get("/hello");
        request.headers_mut().set("Host", "example.com").unwrap();
        get(&mut client, &request, &mut Response::new(), &mut [0; 13]);
    };
    once();
    let making = allocation_counter::measure(|| {
        let mut request = Request::get("/hello");
        request.headers_mut().set("Host", "example.com").unwrap();
    });
    let counted = allocation_counter::measure(&mut once);
    let exchange = counted.count_total - making.count_total;
    assert!(exchange <= 4, "{exchange} allocations besides the {} of making the request", making.count_total);
    drop(client);
    server.join().unwrap();
}
