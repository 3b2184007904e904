//! Request heads: what is taken, what is refused and with which status.

use super::*;

pub(super) const LINE: &[u8] = b"GET /inspect HTTP/1.1";

pub(super) fn accepted(input: &[u8]) -> Received {
    match whole_request(input) {
        Outcome::Whole(received) => {
            assert_eq!(received.used, input.len());
            received
        }
        refused => panic!("{refused:?}: {}", input.escape_ascii()),
    }
}

pub(super) fn refused_with(status: u16, input: &[u8]) {
    assert_eq!(whole_request(input).status(), Some(status), "{}", input.escape_ascii());
}

pub(super) fn line_is(line: &[u8], expected: &str) {
    assert_eq!(accepted(&request(line, &[])).line, expected);
}

fn field_value(field: &[u8], expected: &[u8]) {
    let received = accepted(&request(LINE, &[field]));
    assert_eq!(received.fields[1].1, expected, "{}", field.escape_ascii());
}

#[test]
fn a_simple_request_is_read() {
    let received = accepted(&request(LINE, &[b"Accept: */*", b"X-A:b"]));
    assert_eq!(received.line, "GET /inspect HTTP/1.1");
    let fields = [("Host", "h.test"), ("Accept", "*/*"), ("X-A", "b")];
    assert_eq!(received.fields, fields.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
    assert_eq!(received.framing, Some(Framing::None));
}

#[test]
fn a_request_without_fields_is_read() {
    assert_eq!(accepted(b"GET / HTTP/1.0\r\n\r\n").fields, []);
}

#[test]
fn empty_lines_before_a_request_are_skipped_up_to_a_limit() {
    for lines in 0..=4 {
        let input = [b"\r\n".repeat(lines), request(LINE, &[])].concat();
        assert_eq!(accepted(&input).line, "GET /inspect HTTP/1.1");
    }
    refused_with(400, &[b"\r\n".repeat(5), request(LINE, &[])].concat());
}

#[test]
fn a_request_line_has_exactly_two_blanks() {
    for line in [
        &b" GET /inspect HTTP/1.1"[..],
        b"GET  /inspect HTTP/1.1",
        b"GET /inspect  HTTP/1.1",
        b"GET\t/inspect\tHTTP/1.1",
        b"GET\x0b/inspect\x0bHTTP/1.1",
        b"GET\x0c/inspect HTTP/1.1",
        b"GET /inspect\rHTTP/1.1",
        b"GET /inspect HTTP/1.1 ",
        b"GET /inspect HTTP/1.1 x",
        b"GET /insp ect HTTP/1.1",
        b"GET /inspect",
        b"GET",
        b"GET ",
        b"GET HTTP/1.1",
        b"GET  HTTP/1.1",
        b"\0GET / HTTP/1.1",
        b"\rGET / HTTP/1.1",
        b"\xde\xad\xbe\xef\xff\xfe",
    ] {
        refused_with(400, &request(line, &[]));
    }
}

#[test]
fn bare_line_ends_are_refused() {
    for input in [
        &b"GET /inspect HTTP/1.1\nHost: h.test\n\n"[..],
        b"GET /inspect\nHTTP/1.1\r\nHost: h.test\r\n\r\n",
        b"GET /inspect HTTP/1.1\r\nHost: h.test\n\r\n",
        b"GET /inspect HTTP/1.1\r\nHost: h.test\r\n\n",
        b"GET /inspect HTTP/1.1\rHost: h.test\r\r",
        b"GET /inspect HTTP/1.1\r\nHost: h.test\r\n\rZGET /inspect?smuggled=1: HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\nGET /inspect HTTP/1.1\r\nHost: h.test\r\n\r\n",
        b"\rGET /inspect HTTP/1.1\r\nHost: h.test\r\n\r\n",
    ] {
        refused_with(400, input);
    }
}

#[test]
fn what_is_hopeless_is_refused_before_it_ends() {
    for input in [
        &b"GET /inspect\r\n"[..],
        b"GET /inspect HTTP/1.1 x\r\n",
        b"get\r\n",
        b"\x16\x03\x01\x00\xc8\x01",
        b" ",
        b"\0",
        b"GET / HTTP/1.\r\n",
        b"GET / http/1.1\r\nHost: ",
    ] {
        refused_with(400, input);
    }
    refused_with(505, b"GET / HTTP/2.0\r\nHost:");
    // Nothing wrong so far.
    for input in [&b"GET"[..], b"GET / HTTP/1.1\r\nHost", b"GET / HTTP/1.4\r\n", b"\r\n", b"\r", b"G\r"] {
        assert!(whole_request(input).is_cut(), "{}", input.escape_ascii());
    }
}

#[test]
fn other_protocols_are_refused() {
    refused_with(505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let hello: Vec<u8> =
        b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03".iter().copied().chain(0..189).collect();
    refused_with(400, &hello);
}

#[test]
fn versions_are_taken_exactly() {
    for version in [
        "http/1.1",
        "Http/1.1",
        "HTTP/1.10",
        "HTTP/1.1.1",
        "HTTP/01.1",
        "HTTP/1.01",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/1,1",
        "HTTP/1.a",
        "HTTP/+1.1",
        "HTTP/1.+1",
        "HTTP/ 1.1",
        "HTTP /1.1",
        "HTTP/1.1x",
        "HTTPS/1.1",
        "HTP/1.1",
        "ICE/1.0",
        "RTSP/1.0",
        "HTTP/4294967297.1",
        "HTTP/1.257",
        "HTTP/\r\r1.1",
        "HTTP/1.1\0",
        "HTTP/\u{ff11}.1",
        "HTTP/",
        "HTTP/22.1",
        "HTTP/2",
        "HTTP/1.2 ",
        "HTTP/1.2x",
        "HTTP/-1.1",
    ] {
        refused_with(400, &request(format!("GET /inspect {version}").as_bytes(), &[]));
    }
    for version in ["HTTP/0.0", "HTTP/0.9", "HTTP/2.0", "HTTP/3.0", "HTTP/9.9", "HTTP/2.1"] {
        refused_with(505, &request(format!("GET /inspect {version}").as_bytes(), &[]));
    }
}

#[test]
fn a_higher_minor_version_is_processed_as_1_1() {
    for minor in 2..=9 {
        let input = request(format!("GET /inspect?HTTP/1.2 HTTP/1.{minor}").as_bytes(), &[b"X: HTTP/1.2"]);
        let received = accepted(&input);
        assert_eq!(received.line, "GET /inspect?HTTP/1.2 HTTP/1.1");
        assert_eq!(received.fields[1].1, b"HTTP/1.2");
    }
    // And all rules of HTTP/1.1 hold.
    refused_with(400, &request_with_host(b"GET / HTTP/1.2", None, &[]));
    refused_with(400, &request(b"GET x HTTP/1.2", &[]));
    refused_with(400, &request(b"GET / HTTP/1.2", &[b"X Y: z"]));
}

#[test]
fn a_method_is_a_token() {
    for method in [
        "G@T",
        "GET:",
        "G\0T",
        "G\x7fT",
        "G\x01T",
        "G\u{c9}T",
        "G=\":<>(e),[T];?\"",
        "{GET}",
        "GET/",
        "\rGET",
        "(",
        "\"GET\"",
        "",
    ] {
        refused_with(400, &request(format!("{method} /inspect HTTP/1.1").as_bytes(), &[]));
    }
    for method in
        ["get", "!#$%&'*+-.^_`|~", "M-SEARCH", "PROPFIND", "PATCH", &"X".repeat(64), "GETX", "POSTX"]
    {
        line_is(format!("{method} /inspect HTTP/1.1").as_bytes(), &format!("{method} /inspect HTTP/1.1"));
    }
}

#[test]
fn a_field_name_is_a_token() {
    for name in [
        &b"X@Y"[..],
        b"X Y",
        b"X(Y)",
        b"<X>",
        b"X,Y",
        b"X;Y",
        b"X\\Y",
        b"\"X\"",
        b"X/Y",
        b"[X]",
        b"X?",
        b"X=Y",
        b"{X}",
        b"X\x01Y",
        b"X\x7f",
        b"X\0Y",
        b"X\xc3\xa9",
        b"\xeffoo",
        b"X\x85",
        b"X\x0b",
        b"X\rY",
        b"",
        b"X ",
        b"X\t",
        b" X",
        b"\tX",
    ] {
        refused_with(400, &request(LINE, &[&[name, b": v"].concat()]));
    }
    let name = b"!#$%&'*+-.^_`|~9z";
    let received = accepted(&request(LINE, &[&[&name[..], b": v"].concat()]));
    assert_eq!(received.fields[1].0.as_bytes(), name);
}

#[test]
fn every_byte_is_judged_by_the_grammar_wherever_it_stands() {
    let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let in_value = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte) || byte >= 0x80;
    let in_target = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    let read = |input: &[u8]| read_pieces(&Role::Request, &Limits::default(), [input]).is_whole();
    for byte in 0..=255u8 {
        // Long enough to pass through every way in which a parser may take several at once.
        for at in [0, 1, 7, 8, 15, 16, 31, 32, 40, 62] {
            let mut text = [b'a'; 63];
            text[at] = byte;
            let name = [&text[..], b": v"].concat();
            // A colon ends the name, and the rest is its value.
            let good = tchar(byte) || (byte == b':' && at > 0);
            assert_eq!(read(&request(LINE, &[&name])), good, "name: {byte:#x} at {at}");
            let value = [b"X: ", &text[..]].concat();
            assert_eq!(read(&request(LINE, &[&value])), in_value(byte), "value: {byte:#x} at {at}");
            let line = [b"GET /", &text[..], b" HTTP/1.1"].concat();
            assert_eq!(read(&request(&line, &[])), in_target(byte), "target: {byte:#x} at {at}");
            let line = [&text[..], b" / HTTP/1.1"].concat();
            assert_eq!(read(&request(&line, &[])), tchar(byte), "method: {byte:#x} at {at}");
        }
    }
}

#[test]
fn a_field_line_has_a_colon() {
    for fields in [
        &[&b"X-nothing"[..]][..],
        &[b"X-nothing 10"],
        &[b":", b"X-After: chopped"],
        &[b"X-Fir", b"st: 1"],
        &[b"name\r\n : value"],
        &[b" "],
        &[b"\t"],
    ] {
        refused_with(400, &request(LINE, fields));
    }
}

#[test]
fn folded_lines_are_refused() {
    for field in [&b"X-F: a\r\n b"[..], b"X-F: a\r\n\tb", b"X-F: a\r\n \r\n b", b"X-F:\r\n b", b"X-F: a\r\n "]
    {
        refused_with(400, &request(LINE, &[field]));
    }
    refused_with(400, b"GET /inspect HTTP/1.1\r\n X-Ws: 1\r\nHost: h.test\r\n\r\n");
    refused_with(400, b"GET /inspect HTTP/1.1\r\n\tX-Ws: 1\r\nHost: h.test\r\n\r\n");
    refused_with(400, b"GET /inspect HTTP/1.1\r\n Host: h.test\r\n\r\n");
}

#[test]
fn controls_in_a_value_are_refused() {
    for field in [
        &b"X-V: a\0b"[..],
        b"X-V: a\0",
        b"X-V: a\rb",
        b"X-V: 1\rX-Smuggled: 1",
        b"X-V: a\r",
        b"X-V: a\nX-W: b",
        b"X-V:\n\nGET /inspect?second=1 HTTP/1.1",
        b"X-V: a\x01b",
        b"X-V: \x0bv\x0b",
        b"X-V: \x7f",
        b"X-V: \x1b[31m",
    ] {
        refused_with(400, &request(LINE, &[field]));
    }
}

#[test]
fn a_value_is_kept_as_it_came_but_for_the_blanks_around_it() {
    field_value(b"X-V: \t a b \t ", b"a b");
    field_value(b"X-V:ab", b"ab");
    field_value(b"X-V:", b"");
    field_value(b"X-V: ", b"");
    field_value(b"X-V: a:b::c", b"a:b::c");
    field_value(b"X-V: a\tb", b"a\tb");
    field_value(b"X-V: caf\xe9", b"caf\xe9");
    field_value(b"X-V: \xa0v\xa0", b"\xa0v\xa0");
    field_value(&[b"X-V:", &b" ".repeat(3000)[..], b"v"].concat(), b"v");
    field_value(&[b"Cookie: c=", &b"x".repeat(4090)[..]].concat(), &[b"c=", &b"x".repeat(4090)[..]].concat());
    // An empty value does not eat the next line.
    let received = accepted(&request(LINE, &[b"X-V: ", b"X-W: w"]));
    assert_eq!(received.fields[2], ("X-W".to_owned(), b"w".to_vec()));
}

#[test]
fn fields_keep_their_order_and_spelling() {
    let received = accepted(&request(LINE, &[b"B-b: 1", b"a-A: 2", b"C: 3", b"b-B: 4"]));
    let names: Vec<_> = received.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Host", "B-b", "a-A", "C", "b-B"]);
}

#[test]
fn a_refused_head_says_so_at_the_same_byte_however_it_comes() {
    let input = request(LINE, &[b"X-V: a\rb"]);
    let mut scanner = HeadScanner::new(HeadKind::Request);
    let limits = Limits::default();
    let wrong = input.windows(2).position(|pair| pair == b"\rb").unwrap() + 2;
    assert!(scanner.find_end(&input[..wrong - 1], &limits).unwrap().is_none());
    assert!(scanner.find_end(&input[..wrong], &limits).is_err());
}

#[test]
fn the_parser_alone_is_as_strict_as_with_the_scanner() {
    let limits = Limits::default();
    let request = |head: &[u8]| parse_request(head, &limits, &mut Request::default()).is_ok();
    let response = |head: &[u8]| parse_response(head, &limits, &mut Response::new()).is_ok();
    let trailers = |section: &[u8]| parse_trailers(section, &limits, &mut HeaderMap::new()).is_ok();
    assert!(request(b"GET / HTTP/1.0\r\n\r\n") && response(b"HTTP/1.1 200 OK\r\n\r\n") && trailers(b"\r\n"));
    for (section, good) in [
        (&b"\r\nHost: h\r\n\r\n"[..], true),
        (b"\r\nHost: h\r\n", false),
        (b"\r\nHost: h\r\n\r\nmore", false),
        (b"\nHost: h\r\n\r\n", false),
        (b"\r\nHost: h\n\r\n", false),
        (b"\r\nHost: h\r\n\n", false),
        (b"\r\nHost: h\nX: y\r\n\r\n", false),
        (b"\r\nHost: h \nX: y\r\n\r\n", false),
        (b"\n\n", false),
        (b"\n\r\n", false),
        (b"\r\n\n", false),
    ] {
        let text = section.escape_ascii();
        assert_eq!(request(&[b"GET / HTTP/1.0", section].concat()), good, "{text}");
        assert_eq!(response(&[b"HTTP/1.1 200 OK", section].concat()), good, "{text}");
        assert_eq!(trailers(&[b"A: b", section].concat()), good, "{text}");
        for before in ["\r\n", "\n"] {
            assert!(!request(&[before.as_bytes(), b"GET / HTTP/1.0", section].concat()), "{text}");
            assert!(!response(&[before.as_bytes(), b"HTTP/1.1 200 OK", section].concat()), "{text}");
            assert!(!trailers(&[before.as_bytes(), b"A: b", section].concat()), "{text}");
        }
    }
    for head in [&b""[..], b"\n", b"\r\n\r\n", b"\n\n"] {
        assert!(!request(head) && !response(head) && !trailers(head), "{}", head.escape_ascii());
    }
    for tight in [Limits::default().with_start_line(13), Limits::default().with_head(15)] {
        assert!(parse_request(b"GET / HTTP/1.0\r\n\r\n", &tight, &mut Request::default()).is_err());
    }
}
