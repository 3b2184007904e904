//! Limits on heads: exact, and the same however the bytes come.

use super::requests::{LINE, accepted, refused_with};
use super::*;

#[test]
fn the_number_of_fields_is_limited() {
    let many = |count: usize| -> Vec<u8> {
        let lines: Vec<_> = (1..count).map(|i| format!("X-{i}: {i}").into_bytes()).collect();
        request(LINE, &lines.iter().map(|line| &line[..]).collect::<Vec<_>>())
    };
    assert_eq!(accepted(&many(80)).fields.len(), 80);
    assert_eq!(accepted(&many(100)).fields.len(), 100);
    refused_with(431, &many(101));
    refused_with(431, &many(5000));
    // A larger limit than usual, and a smaller one.
    let limits = Limits::default().with_fields(500);
    let received = read_with(&Role::Request, &limits, &many(500)).whole();
    assert_eq!((received.fields.len(), &received.fields[499].1[..]), (500, &b"499"[..]));
    assert_eq!(read_with(&Role::Request, &limits, &many(501)).status(), Some(431));
    let limits = Limits::default().with_fields(2);
    assert!(read_with(&Role::Request, &limits, &many(2)).is_whole());
    assert_eq!(read_with(&Role::Request, &limits, &many(3)).status(), Some(431));
}

#[test]
fn sizes_are_limited() {
    refused_with(414, &request(&[&b"A".repeat(100_000)[..], b" / HTTP/1.1"].concat(), &[]));
    refused_with(414, &request(&[b"GET /", &b"a".repeat(100_000)[..], b" HTTP/1.1"].concat(), &[]));
    refused_with(431, &request(LINE, &[&[b"X-V: ", &b"x".repeat(100_000)[..]].concat()]));
    refused_with(431, &request(LINE, &[&[&b"x".repeat(100_000)[..], b": v"].concat()]));
    refused_with(431, &request(LINE, &[&[b"X-V:", &b" ".repeat(100_000)[..]].concat()]));
    let folds = b"X: a\r\n b\r\n".repeat(10_000);
    refused_with(431, &request(LINE, &[&folds]));
    // Refused although no line has ended yet.
    refused_with(414, &b"A".repeat(20_000));
    refused_with(414, &[b"GET /", &b"a".repeat(20_000)[..]].concat());
}

#[test]
fn limits_are_exact() {
    let line = b"GET /0123456789 HTTP/1.1";
    let input = request(line, &[b"X: y"]);
    let limits = Limits::default().with_start_line(line.len());
    assert!(read_with(&Role::Request, &limits, &input).is_whole());
    let limits = Limits::default().with_start_line(line.len() - 1);
    assert_eq!(read_with(&Role::Request, &limits, &input).status(), Some(414));
    // The empty line at the end does not count.
    let limits = Limits::default().with_head(input.len() - 2);
    assert!(read_with(&Role::Request, &limits, &input).is_whole());
    let limits = Limits::default().with_head(input.len() - 3);
    assert_eq!(read_with(&Role::Request, &limits, &input).status(), Some(431));
}

#[test]
fn a_part_past_its_limit_is_refused_with_its_first_byte_too_many() {
    let limits = Limits::default().with_start_line(20).with_head(40);
    let scan = |input: &[u8]| HeadScanner::new(HeadKind::Request).find_end(input, &limits);
    let line = b"GET /012345 HTTP/1.1";
    assert!(scan(line).unwrap().is_none());
    assert!(scan(&[line, &b"\r"[..]].concat()).unwrap().is_none());
    assert!(scan(&[line, &b"x"[..]].concat()).is_err());
    assert!(scan(b"GET /0123456 HTTP/1.1\r\n").is_err());

    let fields = [line, &b"\r\nX: 012345678901234"[..]].concat();
    assert_eq!(fields.len(), 40);
    assert!(scan(&fields).unwrap().is_none());
    assert!(scan(&[&fields[..], b"\r"].concat()).unwrap().is_none());
    assert!(scan(&[&fields[..], b"x"].concat()).is_err());
    // An empty line would be past the limit.
    assert!(scan(&[&fields[..], b"\r\n"].concat()).is_err());
}
