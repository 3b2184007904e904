//! Whole exchanges: cut anywhere they are incomplete, split anyhow they are the same.

use super::chunks::HEAD;
use super::*;

/// Valid messages of every shape whose end can be seen.
fn messages() -> Vec<(Role, Vec<u8>)> {
    let request = |input: &[u8]| (Role::Request, input.to_vec());
    let response = |method: Method, input: &[u8]| (Role::Response(method), input.to_vec());
    vec![
        request(b"GET /hello HTTP/1.1\r\nHost: h.test\r\nUser-Agent: fuzz/1.0\r\nAccept: */*\r\n\r\n"),
        request(b"\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
        request(b"POST /inspect HTTP/1.1\r\nHost: h.test\r\nContent-Length: 11\r\n\r\nhello world"),
        request(
            b"POST /inspect HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n\
            5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-T: v\r\n\r\n",
        ),
        request(b"GET http://h.test/hello?a=b HTTP/1.1\r\nHost: h.test\r\nCookie: a=b; c=d\r\n\r\n"),
        request(b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
        request(b"CONNECT h.test:443 HTTP/1.1\r\nHost: h.test:443\r\n\r\n"),
        response(Method::GET, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        response(Method::GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        response(Method::HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        response(Method::GET, b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n"),
        response(
            Method::GET,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n\
            1\r\na\r\n10;q=\"\\\"\"\r\n0123456789abcdef\r\n0\r\nX-T: v\r\nX-U: w\r\n\r\n",
        ),
        response(Method::POST, b"HTTP/1.0 500 \xc3\xa9t\xe9\r\nContent-Length: 3\r\nX: \xe9\r\n\r\n\0\r\n"),
    ]
}

#[test]
fn every_message_is_read_whole() {
    for (role, input) in messages() {
        let received = read_with(&role, &Limits::default(), &input).whole();
        assert_eq!(received.used, input.len());
    }
}

#[test]
fn every_cut_of_a_message_is_incomplete() {
    for (role, input) in messages() {
        for end in 0..input.len() {
            let outcome = read_with(&role, &Limits::default(), &input[..end]);
            // Nothing, or only empty lines: no message has begun.
            let begun =
                input[..end].iter().any(|byte| !b"\r\n".contains(byte)) || input[..end].ends_with(b"\r");
            let kind = if begun { ErrorKind::Incomplete } else { ErrorKind::NoMessage };
            assert_eq!(outcome.kind(), Some(kind), "{}", input[..end].escape_ascii());
        }
    }
}

#[test]
fn content_until_the_end_of_the_connection_is_whole_wherever_it_ends() {
    let head = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n";
    let input = [&head[..], b"content\r\n0\r\n\r\n"].concat();
    for end in 0..input.len() {
        let outcome = whole_response(&input[..end]);
        assert_eq!(outcome.is_whole(), end >= head.len());
        if outcome.is_whole() {
            assert_eq!(outcome.whole().content, input[head.len()..end]);
        }
    }
}

#[test]
fn every_split_of_a_message_is_the_same_message() {
    let mut random = Random(1);
    for (role, input) in messages() {
        let whole = read_with(&role, &Limits::default(), &input);
        for at in 0..input.len() {
            let (first, second) = input.split_at(at);
            assert_eq!(read_pieces(&role, &Limits::default(), [first, second]), whole);
        }
        for _ in 0..200 {
            let pieces = random.cut(&input);
            assert_eq!(read_pieces(&role, &Limits::default(), pieces), whole);
        }
    }
}

#[test]
fn what_is_made_of_changed_bytes_does_not_depend_on_how_they_come() {
    let words: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"chunked",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\xff",
        b"%00",
        b"HTTP/1.1",
        b"0\r\n\r\n",
        b"-1",
        b"99999999999999999999",
        b"Host: x\r\n",
        b"\r\n\r\n",
    ];
    let mut random = Random(2);
    let messages = messages();
    for _ in 0..20_000 {
        let (role, seed) = &messages[random.below(messages.len())];
        let input = random.change(seed, words);
        let limits = Limits::default();
        let whole = read_pieces(role, &limits, [&input[..]]);
        let pieces = random.cut(&input);
        let split = read_pieces(role, &limits, pieces);
        // Of two faults in one head either may be reported.
        match (&whole, &split) {
            (Outcome::Refused(..), Outcome::Refused(..)) => assert_eq!(whole.is_cut(), split.is_cut()),
            _ => assert_eq!(whole, split, "{}", input.escape_ascii()),
        }
    }
}

#[test]
fn messages_behind_each_other_stay_apart() {
    let mut input = Vec::new();
    let requests: Vec<_> = messages().into_iter().filter(|(role, _)| matches!(role, Role::Request)).collect();
    for (_, bytes) in &requests {
        input.extend_from_slice(bytes);
    }
    let mut rest = &input[..];
    for (role, bytes) in &requests {
        let received = read_pieces(role, &Limits::default(), [rest]).whole();
        assert_eq!(received.used, bytes.len());
        rest = &rest[received.used..];
    }
    assert!(rest.is_empty());
}

#[test]
fn what_is_written_is_read_again() {
    let mut request = Request::post("/a?b=c");
    request.set_content_length(0).headers_mut().append("Host", "h.test:80").unwrap();
    request.headers_mut().append("X-Value", "a \t b").unwrap();
    let mut out = Vec::new();
    write_request_head(&mut out, &request).unwrap();
    let received = whole_request(&out).whole();
    assert_eq!(received.line, "POST /a?b=c HTTP/1.1");
    assert_eq!(received.fields, listed(request.headers()));

    let mut response = Response::with_status(crate::message::StatusCode::CREATED);
    response
        .set_reason("Fertig")
        .unwrap()
        .set_content_length(0)
        .headers_mut()
        .append("ETag", "\"x\"")
        .unwrap();
    let mut out = Vec::new();
    write_response_head(&mut out, &response).unwrap();
    let received = whole_response(&out).whole();
    assert_eq!(received.line, "HTTP/1.1 201 Fertig");
    assert_eq!(received.fields, listed(response.headers()));
}

#[test]
fn bytes_that_were_seen_are_not_looked_at_again() {
    let whole = request(b"GET / HTTP/1.1", &[b"A: b", &[b"X: ", &b"y".repeat(10_000)[..]].concat()]);
    let mut scanner = HeadScanner::new(HeadKind::Request);
    let limits = Limits::default();
    for end in 1..whole.len() {
        assert_eq!(scanner.find_end(&whole[..end], &limits).unwrap(), None);
    }
    // All but the last line end is gone over: a second look would find bare LFs.
    let mut gone_over = b"\n".repeat(whole.len() - 2);
    gone_over.extend_from_slice(b"\r\n");
    let found = scanner.find_end(&gone_over, &limits).unwrap();
    assert_eq!(found, Some(Head { start: 0, end: whole.len() }));
}

#[test]
fn what_is_written_is_read_again_however_it_is_cut() {
    let mut random = Random(7);
    for _ in 0..500 {
        let content: Vec<u8> = (0..random.below(3000)).map(|_| random.next() as u8).collect();
        let mut encoder = Encoder::new(Framing::Chunked);
        let mut out = HEAD.to_vec();
        for piece in random.cut(&content) {
            assert_eq!(encoder.accept(piece.len()).unwrap(), piece.len());
            out.extend_from_slice(ChunkHead::new(piece.len()).unwrap().as_bytes());
            out.extend_from_slice(piece);
            out.extend_from_slice(ChunkHead::END);
        }
        let mut trailers = HeaderMap::new();
        for i in 0..random.below(4) {
            trailers.append("X-Trailer", i.to_string()).unwrap();
        }
        encoder.finish().unwrap();
        write_last_chunk(&mut out, &trailers).unwrap();
        let received = read_pieces(&Role::Request, &Limits::default(), random.cut(&out)).whole();
        assert_eq!(received.content, content);
        assert_eq!(received.trailers, listed(&trailers));
        assert_eq!(received.used, out.len());
    }
}
