//! Chunked content: its exact grammar, limits and trailers.

use super::*;

pub(super) const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: Chunked\r\n\r\n";

fn read(content: &[u8]) -> Outcome {
    whole_request(&[HEAD, content].concat())
}

fn content_is(input: &[u8], expected: &[u8]) {
    let received = read(input).whole();
    assert_eq!(received.content.escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(received.used, HEAD.len() + input.len(), "{}", input.escape_ascii());
}

fn malformed(input: &[u8]) {
    let expected = Outcome::Refused(ErrorKind::Malformed, Some(400));
    assert_eq!(read(input), expected, "{}", input.escape_ascii());
}

fn too_large(status: u16, input: &[u8]) {
    assert_eq!(read(input), Outcome::Refused(ErrorKind::TooLarge, Some(status)));
}

#[test]
fn chunks_are_joined() {
    content_is(b"0\r\n\r\n", b"");
    content_is(b"5\r\nhello\r\n0\r\n\r\n", b"hello");
    content_is(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world");
    content_is(b"1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n", b"\r\n");
    content_is(b"7\r\n0\r\n\r\nXY\r\n0\r\n\r\n", b"0\r\n\r\nXY");
}

#[test]
fn a_size_has_one_to_sixteen_hexadecimal_digits() {
    content_is(b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789");
    content_is(b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789");
    content_is(b"0A\r\n0123456789\r\n0\r\n\r\n", b"0123456789");
    content_is(b"000000000000000A\r\n0123456789\r\n0000000000000000\r\n\r\n", b"0123456789");
    content_is(&[b"1F\r\n", &[b'x'; 31][..], b"\r\n000\r\n\r\n"].concat(), &[b'x'; 31]);
    for size in [
        "",
        " ",
        "\t",
        ";",
        ";x",
        ";x=y",
        "g",
        "x",
        "-1",
        "+1",
        "-0",
        "0x5",
        "0X5",
        "5h",
        "5 5",
        "5.0",
        "5_0",
        "5,",
        "$5",
        " 5",
        "\t5",
        "\x0b5",
        "5 ",
        "5\t",
        "5\x0b",
        "5\0",
        "\x005",
        "5\x0c",
        "5:",
        "5=",
        "5\"",
        "5\u{a0}",
        "\u{ff15}",
        "00000000000000005",
        "10000000000000000",
        "FFFFFFFFFFFFFFFFF",
        "\"5\"",
        "5/",
        "5@",
        "5`",
        "5G",
    ] {
        malformed(format!("{size}\r\nhello\r\n0\r\n\r\n").as_bytes());
    }
    malformed(b"\r\n5\r\nhello\r\n0\r\n\r\n");
    malformed(b"\r\n\r\n");
    malformed(b"5\r\nhello\r\n \r\n\r\n");
    malformed(b"5\r\nhello\r\n\r\n0\r\n\r\n");
    malformed(&[b'0'; 64]);
}

#[test]
fn the_largest_size_is_no_overflow() {
    for size in ["FFFFFFFFFFFFFFFF", "ffffffffffffffff", "8000000000000000", "7FFFFFFFFFFFFFFF", "100000005"]
    {
        let outcome = read(format!("{size}\r\nhello\r\n0\r\n\r\n").as_bytes());
        assert_eq!(outcome.kind(), Some(ErrorKind::Incomplete), "{size}");
    }
}

#[test]
fn lines_end_in_cr_lf() {
    malformed(b"5\nhello\r\n0\r\n\r\n");
    malformed(b"5\r\nhello\n0\r\n\r\n");
    malformed(b"5\r\nhello\r0\r\n\r\n");
    malformed(b"5\r\nhello0\r\n\r\n");
    malformed(b"5\rhello\r\n0\r\n\r\n");
    malformed(b"5\r\rhello\r\n0\r\n\r\n");
    malformed(b"5\r\r\nhello\r\n0\r\n\r\n");
    malformed(b"5\r\nhello\r\r\n0\r\n\r\n");
    malformed(b"5\r\nhello\r\n0\n\r\n");
    malformed(b"5\r\nhello\r\n0\r\n\n");
    malformed(b"5\r\nhello\r\n0\r\n\rX");
    malformed(b"5\r\nhello\r\n0\n\n");
    malformed(b"5;a\nhello\r\n0\r\n\r\n");
    malformed(b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n");
    malformed(b"5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n");
    malformed(b"5;a\r0;b\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn data_is_as_long_as_its_size_says() {
    malformed(b"5\r\nhell\r\n0\r\n\r\n");
    malformed(b"5\r\nhello!\r\n0\r\n\r\n");
    malformed(b"4\r\nhello\r\n0\r\n\r\n");
    malformed(b"0\r\nhello\r\n\r\n");
}

#[test]
fn extensions_follow_the_grammar() {
    for extension in [
        ";a",
        ";a=b",
        ";a=\"b\"",
        ";a;b",
        ";a=b;c=d",
        " ;a",
        "\t;\ta",
        ";a =b",
        ";a= b",
        ";a = \"b c\"",
        ";a=\"\"",
        ";a=\"\\\"\"",
        ";a=\"b\\\\\";c",
        ";a=\";\\\r\"",
        ";!#$%&'*+-.^_`|~9=z",
        ";a=\"\u{e9}\t\" ;b",
        ";a ;b",
        ";a=b ; c",
    ] {
        let good = !extension.contains('\r');
        let input = format!("5{extension}\r\nhello\r\n0{extension}\r\n\r\n");
        if good {
            content_is(input.as_bytes(), b"hello");
        } else {
            malformed(input.as_bytes());
        }
    }
    for extension in [
        ";",
        ";;",
        "; ",
        ";a;",
        ";a=",
        ";a= ",
        ";a=b;",
        ";=b",
        ";a==b",
        ";a=b=c",
        ";a=b c",
        ";a b",
        ";a=\"b",
        ";a=b\"",
        ";a=\"b\"c",
        ";a=\"b\\\"",
        ";a=\"\x01\"",
        ";a=\x01",
        ";a\0",
        ";a=\"\0\"",
        ";a=\"\\\x01\"",
        ";a=\x7f",
        ";a=\"\x7f\"",
        ";\u{e9}",
        ";a=\u{e9}",
        ";a,b",
        ";a=b,c",
        ";(a)",
        ";a=[b]",
        ";a/b",
        " ",
        ";a ",
        ";a=b ",
        ";a=\"b\" ",
        "\x0b;a",
        ";a=\"b\";",
        " a",
        "=a",
        ",a",
        ";a:b",
        ";a\x0b",
        ";a\r",
    ] {
        malformed(format!("5{extension}\r\nhello\r\n0\r\n\r\n").as_bytes());
    }
}

#[test]
fn extensions_are_limited() {
    let with = |length: usize| format!("5;{}\r\nhello\r\n", "a".repeat(length - 1));
    content_is(format!("{}0\r\n\r\n", with(256)).as_bytes(), b"hello");
    too_large(400, format!("{}0\r\n\r\n", with(257)).as_bytes());
    // Refused before the line ends.
    too_large(400, &[b"5;", &[b'a'; 300][..]].concat());
    too_large(400, &[b"5", &[b' '; 300][..]].concat());
    too_large(400, &[b"5;a=\"", &[b' '; 300][..]].concat());
    // All of a message's together.
    content_is(format!("{}0\r\n\r\n", with(256).repeat(64)).as_bytes(), &b"hello".repeat(64));
    too_large(400, format!("{}5;\r\n", with(256).repeat(64)).as_bytes());
}

#[test]
fn extensions_are_counted_per_message() {
    let mut decoder = Decoder::new(Framing::Chunked);
    let limits = Limits::default().with_chunk_extensions(4);
    for _ in 0..3 {
        let step = decoder.step(b"0;abc\r\n\r\n", &limits, &mut HeaderMap::new()).unwrap();
        assert_eq!(step, Step { skip: 9, data: 0 });
        assert!(decoder.is_done());
        decoder.set(Framing::Chunked);
    }
}

#[test]
fn trailers_are_read_with_the_grammar_of_headers() {
    let received = read(b"5\r\nhello\r\n0\r\nX-T: v\r\nx-u:\t w \r\nX-T: v2\r\n\r\n").whole();
    let trailers: Vec<_> =
        received.trailers.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
    assert_eq!(trailers, [("X-T", &b"v"[..]), ("x-u", b"w"), ("X-T", b"v2")]);
    // They are no part of the header section.
    assert_eq!(received.fields.len(), 2);
    for section in [
        &b"X T: v\r\n\r\n"[..],
        b"X-T : v\r\n\r\n",
        b"X-T\r\n\r\n",
        b": v\r\n\r\n",
        b" X-T: v\r\n\r\n",
        b"X-T: v\r\n w\r\n\r\n",
        b"X-T: v\n\r\n",
        b"X-T: v\r\r\n\r\n",
        b"X-T: \0\r\n\r\n",
        b"X-T: v\r\n\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"X-T: v\rX-U: w\r\n\r\n",
        b"\0\r\n\r\n",
    ] {
        malformed(&[b"5\r\nhello\r\n0\r\n", section].concat());
    }
}

#[test]
fn trailers_are_empty_when_there_are_none() {
    assert_eq!(read(b"5\r\nhello\r\n0\r\n\r\n").whole().trailers, []);
}

#[test]
fn fields_that_belong_in_the_head_are_dropped_from_trailers() {
    let input = b"0\r\nContent-Length: 7\r\nX-A: 1\r\ntransfer-encoding: chunked\r\nHOST: evil.test\r\n\
        Authorization: x\r\nCookie: a=b\r\nSet-Cookie: c=d\r\nContent-Type: text/html\r\nConnection: close\r\n\
        Trailer: X\r\nX-B: 2\r\nExpect: 100-continue\r\nLocation: /\r\n\r\n";
    let received = read(input).whole();
    let names: Vec<_> = received.trailers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["X-A", "X-B"]);
}

#[test]
fn trailers_are_limited() {
    let lines = |count: usize| [b"0\r\n", &b"X-T: v\r\n".repeat(count)[..], b"\r\n"].concat();
    assert_eq!(read(&lines(16)).whole().trailers.len(), 16);
    assert_eq!(read(&lines(17)).whole().trailers.len(), 17);
    assert_eq!(read(&lines(100)).whole().trailers.len(), 100);
    too_large(431, &lines(101));
    too_large(431, &[b"0\r\nX: ", &b"y".repeat(17_000)[..]].concat());
    too_large(431, &[b"0\r\n", &b"y".repeat(17_000)[..]].concat());
}

#[test]
fn a_decoder_that_failed_stays_so() {
    let mut decoder = Decoder::new(Framing::Chunked);
    let (limits, mut trailers) = (Limits::default(), HeaderMap::new());
    assert!(decoder.step(b"x", &limits, &mut trailers).is_err());
    assert!(decoder.step(b"0\r\n\r\n", &limits, &mut trailers).is_err());
    assert!(decoder.end_of_input().is_err());
    assert!(!decoder.is_done());
    decoder.set(Framing::Length(3));
    assert_eq!(decoder.step(b"abcd", &limits, &mut trailers).unwrap(), Step { skip: 0, data: 3 });
}

#[test]
fn a_decoder_says_what_may_be_read_past_the_buffer() {
    let mut decoder = Decoder::new(Framing::Chunked);
    let (limits, mut trailers) = (Limits::default(), HeaderMap::new());
    assert_eq!((decoder.contiguous(), decoder.remaining()), (0, None));
    assert_eq!(decoder.step(b"64\r\nabc", &limits, &mut trailers).unwrap(), Step { skip: 4, data: 3 });
    assert_eq!(decoder.contiguous(), 100);
    decoder.consume(3);
    decoder.consume(97);
    assert_eq!((decoder.contiguous(), decoder.received()), (0, 100));
    assert_eq!(decoder.step(b"\r", &limits, &mut trailers).unwrap(), Step::default());
    assert_eq!(decoder.step(b"\r\n0\r\n\r\n", &limits, &mut trailers).unwrap(), Step { skip: 7, data: 0 });
    assert_eq!((decoder.is_done(), decoder.remaining()), (true, Some(0)));

    decoder.set(Framing::Length(10));
    assert_eq!((decoder.contiguous(), decoder.remaining()), (10, Some(10)));
    decoder.consume(10);
    assert!(decoder.is_done());
    decoder.set(Framing::UntilClose);
    assert_eq!((decoder.contiguous(), decoder.remaining()), (u64::MAX, None));
    decoder.consume(1000);
    assert!(!decoder.is_done());
    decoder.end_of_input().unwrap();
    assert!(decoder.is_done());
}

#[test]
fn content_that_ends_early_is_incomplete_and_says_how_much_came() {
    let mut decoder = Decoder::new(Framing::Length(10));
    decoder.consume(4);
    let error = decoder.end_of_input().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    assert_eq!(error.to_string(), "the content ended after 4 of 10 bytes");
    let error = Decoder::new(Framing::Chunked).end_of_input().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
}
