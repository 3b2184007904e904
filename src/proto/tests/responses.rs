//! Response heads: what is taken and what is refused.

use super::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";

/// A response with these field lines and "hello" as content.
fn hello(line: &[u8], fields: &[u8]) -> Vec<u8> {
    [line, b"\r\n", fields, b"Content-Length: 5\r\n\r\nhello"].concat()
}

fn accepted(input: &[u8]) -> Received {
    match whole_response(input) {
        Outcome::Whole(received) => received,
        refused => panic!("{refused:?}: {}", input.escape_ascii()),
    }
}

fn refused_as(kind: ErrorKind, input: &[u8]) {
    assert_eq!(whole_response(input).kind(), Some(kind), "{}", input.escape_ascii());
}

#[test]
fn a_status_line_is_read() {
    for (line, expected) in [
        (&b"HTTP/1.1 200 OK"[..], "HTTP/1.1 200 OK"),
        (b"HTTP/1.1 200 ", "HTTP/1.1 200 "),
        (b"HTTP/1.1 200", "HTTP/1.1 200 "),
        (b"HTTP/1.1 200 Very \t good", "HTTP/1.1 200 Very \t good"),
        (b"HTTP/1.1 200 \xc3\xa9t\xc3\xa9", "HTTP/1.1 200 \u{e9}t\u{e9}"),
        (b"HTTP/1.1 200 \xe9t\xe9", "HTTP/1.1 200 \u{fffd}t\u{fffd}"),
        (b"HTTP/1.0 200 OK", "HTTP/1.0 200 OK"),
        (b"HTTP/1.9 200 OK", "HTTP/1.1 200 OK"),
        (b"HTTP/1.1 299 Odd", "HTTP/1.1 299 Odd"),
        (b"HTTP/1.1 299", "HTTP/1.1 299 "),
        (b"HTTP/1.1 404 Not Found", "HTTP/1.1 404 Not Found"),
        (b"HTTP/1.1 599 Odd", "HTTP/1.1 599 Odd"),
        (b"HTTP/1.1 999 Odd", "HTTP/1.1 999 Odd"),
    ] {
        let received = accepted(&hello(line, b""));
        assert_eq!((received.line.as_str(), &received.content[..]), (expected, &b"hello"[..]));
    }
}

#[test]
fn the_bytes_of_a_reason_are_kept() {
    let mut response = Response::new();
    parse_response(b"HTTP/1.1 200 \xe9t\xe9\r\n\r\n", &Limits::default(), &mut response).unwrap();
    assert_eq!(response.reason_bytes(), b"\xe9t\xe9");
}

#[test]
fn what_is_no_status_line_is_refused() {
    for line in [
        &b"HTP/1.1 200 OK"[..],
        b"HTTPS/1.1 200 OK",
        b"HTTP/3 200 OK",
        b"HTTP/11.1 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 abc OK",
        b"HTTP/1.1200 OK",
        b"HTTP/1.1 -200 OK",
        b"HTTP/1.1 000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 2 OK",
        b"HTTP/1.1 +20 OK",
        b"ICY 200 OK",
        b"RTSP/1.0 200 OK",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"http/1.1 200 OK",
        b"HTTP/1.1 0xC OK",
        b"HTTP/1.1 200\0 OK",
        b"HTTP/1.1 20.0 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200\tOK",
        b" HTTP/1.1 200 OK",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 200 O\0K",
        b"HTTP/1.1 200 O\x7fK",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200 OK\r",
        b"HTTP/1.1 200OK",
        b"HTTP/1. 200 OK",
        b"HTTP/1.10 200 OK",
        b"HTTP/1.1 \xb2\xb0\xb0 OK",
        b"\r\nHTTP/1.1 200 OK",
        b"220 mail.test ESMTP",
        b"",
        b"HTTP/-1.1 200 OK",
        b"HTTP/1.2200 OK",
        b"<html>hello</html>",
    ] {
        refused_as(ErrorKind::Malformed, &hello(line, b""));
    }
    for line in [&b"HTTP/2.0 200 OK"[..], b"HTTP/0.9 200 OK"] {
        refused_as(ErrorKind::Unsupported, &hello(line, b""));
    }
}

#[test]
fn another_protocol_is_noticed_before_it_ends() {
    for input in [
        &b"220 mail"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"<html>hello</html>",
        b"HTTX",
        b"\r\n",
        b"HTTP/1.1\r\n",
    ] {
        refused_as(ErrorKind::Malformed, input);
    }
    let binary: Vec<u8> = (0..=255).collect();
    refused_as(ErrorKind::Malformed, &binary);
    assert_eq!(whole_response(b"").kind(), Some(ErrorKind::NoMessage));
}

#[test]
fn a_malformed_field_is_refused() {
    for fields in [
        &b"X Y: z\r\n"[..],
        b"garbage line\r\n",
        b": v\r\n",
        b"X\0Y: z\r\n",
        b"X\x01: z\r\n",
        b"X(): z\r\n",
        b"X\xc3\xa9: z\r\n",
        b"X : y\r\n",
        b" X: y\r\n",
        b"\tX: y\r\n",
        b"X-F: a\r\n b\r\n",
        b"X-F: a\r\n\tb\r\n",
        b"X-F: a\0b\r\n",
        b"X-F: a\rContent-Length: 0\r\n",
        b"X: y\r\r\n",
        b"X: y\n",
        b"X: y\n\r\n",
        b"X: \x1b\r\n",
        b"X:\r\n \r\n",
    ] {
        refused_as(ErrorKind::Malformed, &hello(b"HTTP/1.1 200 OK", fields));
    }
    refused_as(ErrorKind::Malformed, b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello");
    refused_as(ErrorKind::Malformed, &[OK, b"Content-Length : 5\r\n\r\nhello"].concat());
    refused_as(ErrorKind::Malformed, &[OK, b"X-F: a\rContent-Length: 2\r\n\r\nhello"].concat());
}

#[test]
fn blanks_around_a_value_are_none_of_it() {
    for fields in
        [&b"content-length: \t 5 \t\r\n"[..], b"Content-Length:5\r\n", b"X: \r\nContent-Length: 5\r\n"]
    {
        assert_eq!(accepted(&[OK, fields, b"\r\nhello"].concat()).content, b"hello");
    }
}

#[test]
fn a_cut_head_is_incomplete() {
    for input in [
        &b"HTTP/1.1 20"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r",
        b"H",
    ] {
        refused_as(ErrorKind::Incomplete, input);
    }
}

#[test]
fn an_interim_response_ends_with_its_head() {
    for input in [
        &b"HTTP/1.1 100 Continue\r\n\r\n"[..],
        b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 7\r\n\r\n",
        b"HTTP/1.1 199 Whatever\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\n",
    ] {
        let received = accepted(input);
        assert_eq!((received.framing, received.used), (Some(Framing::None), input.len()));
    }
}

#[test]
fn an_endless_head_is_refused() {
    for (first, piece) in [
        (&b"HTTP/1.1 200 "[..], &b"x"[..]),
        (OK, b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"x"),
        (OK, b"x"),
        (b"HTTP/1.1 200 OK\r\nX-A:", b" "),
    ] {
        refused_as(ErrorKind::TooLarge, &[first, &piece.repeat(70_000)].concat());
    }
    refused_as(ErrorKind::Malformed, &b"x".repeat(64));
}
