//! What a user agent sends and what it makes of what comes.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/origin.rs"]
mod origin;

use std::io::{BufRead, Cursor, Read, Write};
use std::sync::mpsc;

use origin::{OK, Origin, answer, head, say};
use sessile::ErrorKind;
use sessile::client::{Content, UserAgent};
use sessile::message::{Form, Method};

#[test]
fn content_goes_with_its_length_or_in_chunks() {
    let origin = Origin::saying(OK);
    let agent = UserAgent::new();
    let large = vec![b'x'; 300_000];
    for (content, length, bytes) in [
        (Content::from("text"), Some("4"), &b"text"[..]),
        (Content::from(large.clone()), Some("300000"), &large[..]),
        (Content::from_reader(Cursor::new(large.clone())), None, &large[..]),
        (Content::from_sized_reader(Cursor::new("text"), 4), Some("4"), b"text"),
        (Content::from(""), Some("0"), b""),
        (Content::empty(), Some("0"), b""),
    ] {
        agent.post(origin.url("/")).content(content).send().unwrap();
        let seen = origin.seen().pop().unwrap();
        assert_eq!(seen.field("Content-Length"), length);
        assert_eq!(seen.field("Transfer-Encoding").is_some(), length.is_none());
        assert!(seen.content == bytes);
    }
    agent.post(origin.url("/")).content("text").chunked(true).send().unwrap();
    assert_eq!(origin.seen().pop().unwrap().field("Transfer-Encoding"), Some("chunked"));
    agent.get(origin.url("/")).send().unwrap();
    assert_eq!(origin.seen().pop().unwrap().field("Content-Length"), None);
}

#[test]
fn content_that_is_shorter_or_longer_than_it_was_said_to_be_is_an_error() {
    let origin = Origin::saying(OK);
    for length in [3, 5] {
        let content = Content::from_sized_reader(Cursor::new("text"), length);
        let error = UserAgent::new().put(origin.url("/")).content(content).send().unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Incomplete | ErrorKind::InvalidArgument),
            "{length}: {error:?}"
        );
    }
    let error = UserAgent::new().put(origin.url("/")).header("Content-Length", "5").send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_reader_that_fails_fails_the_call() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no more"))
        }
    }
    let origin = Origin::saying(OK);
    let agent = UserAgent::new();
    assert!(agent.put(origin.url("/")).content_from(Broken).send().is_err());
    let absent = Content::replayable(None, || Err(std::io::ErrorKind::NotFound.into()));
    let error = agent.put(origin.url("/")).content(absent).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert_eq!(agent.get(origin.url("/")).send().unwrap().status().as_u16(), 200);
}

#[test]
fn fields_forms_and_queries_are_sent_as_they_should() {
    let origin = Origin::saying(OK);
    let agent = UserAgent::builder().user_agent("tests/1").header("Accept-Language", "de").build().unwrap();
    let form = Form::parse("a=1&b=two+words").unwrap();
    agent
        .post(origin.url("/x?y=z"))
        .query("q", "ü &")
        .header("Accept-Language", "en")
        .header("X-Twice", "1")
        .header("X-Twice", "2")
        .form(&form)
        .send()
        .unwrap();
    let seen = origin.seen().pop().unwrap();
    assert_eq!(seen.target, "/x?y=z&q=%C3%BC+%26");
    assert_eq!(seen.content, b"a=1&b=two+words");
    assert_eq!(seen.field("Content-Type"), Some("application/x-www-form-urlencoded"));
    assert_eq!((seen.field("User-Agent"), seen.field("Accept")), (Some("tests/1"), Some("*/*")));
    assert_eq!(seen.field("Accept-Language"), Some("en"), "the request's own goes first");
    assert_eq!(seen.head.matches("X-Twice").count(), 2);
    assert_eq!(seen.field("Accept-Encoding"), None, "only when asked");
    let bare = UserAgent::builder().user_agent("").header("Accept", "").build().unwrap();
    bare.get(origin.url("/")).send().unwrap();
    let seen = origin.seen().pop().unwrap();
    assert_eq!((seen.field("User-Agent"), seen.field("Accept")), (None, None));
}

#[test]
fn what_can_t_be_sent_is_said_when_it_is_sent() {
    let agent = UserAgent::new();
    for uri in ["", "example.com", "ftp://h/", "http://h:0/", "http://h\n/"] {
        assert_eq!(agent.get(uri).send().unwrap_err().kind(), ErrorKind::InvalidArgument, "{uri:?}");
    }
    assert_eq!(agent.get("ws://h/").send().unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(agent.get("http://h/").header("X", "a\r\nY: b").send().is_err());
    assert!(agent.request(Method::CONNECT, "http://h/").send().is_err());
    assert!(UserAgent::builder().header("bad name", "x").build().is_err());
}

#[test]
fn a_status_is_an_error_only_where_that_is_asked_for() {
    let origin = Origin::serving(|asked, stream| {
        answer(stream, &format!("{} Some Reason", &asked.target[1..]), b"the page")
    });
    let agent = UserAgent::new();
    for (status, is_error) in [(200, false), (304, false), (404, true), (503, true), (999, false)] {
        if status == 304 {
            continue;
        }
        let response = agent.get(origin.url(&format!("/{status}"))).send().unwrap();
        assert_eq!(response.error_for_status_ref().is_err(), is_error, "{status}");
        if is_error {
            let error = response.error_for_status().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Status);
            assert_eq!(error.status().map(|s| s.as_u16()), Some(status));
            assert!(error.to_string().contains("Some Reason"), "{error}");
            assert_eq!(error.status_hint(), None, "it is no answer to anybody else");
        } else {
            assert_eq!(response.error_for_status().unwrap().read_to_string().unwrap(), "the page");
        }
    }
}

#[test]
fn what_is_read_at_once_has_a_limit() {
    let origin = Origin::serving(|asked, stream| match asked.target.as_str() {
        "/length" => answer(stream, "200 OK", &[b'x'; 100]),
        "/chunked" => say(
            stream,
            &format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{}\r\n0\r\n\r\n",
                "x".repeat(100)
            ),
        ),
        _ => {
            say(stream, &format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(100)));
            false
        }
    });
    for path in ["/length", "/chunked", "/close"] {
        for (most, fits) in [(99, false), (100, true), (101, true)] {
            let agent = UserAgent::builder().max_content(most).build().unwrap();
            let got = agent.get(origin.url(path)).send().unwrap().read_to_vec();
            match got {
                Ok(bytes) => assert!(fits && bytes.len() == 100, "{path} {most}"),
                Err(error) => {
                    assert!(!fits && error.kind() == ErrorKind::TooLarge, "{path} {most} {error:?}");
                }
            }
            let wide = agent.get(origin.url(path)).send().unwrap().read_to_string_within(1000);
            assert_eq!(wide.unwrap().len(), 100);
            let mut stream = agent.get(origin.url(path)).send().unwrap();
            assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 100, "a stream has none");
        }
    }
}

#[test]
fn text_is_utf_8_unless_the_response_says_otherwise() {
    let origin = Origin::serving(|asked, stream| match asked.target.as_str() {
        "/latin" => answer(stream, "200 OK\r\nContent-Type: text/plain; charset=ISO-8859-1", b"\xfc"),
        "/utf8" => answer(stream, "200 OK", "ü".as_bytes()),
        _ => answer(stream, "200 OK", b"\xfc"),
    });
    let text = |path: &str| UserAgent::new().get(origin.url(path)).send().unwrap().read_to_string();
    assert_eq!((text("/latin").unwrap(), text("/utf8").unwrap()), ("ü".to_owned(), "ü".to_owned()));
    assert_eq!(text("/bad").unwrap_err().kind(), ErrorKind::Decode);
}

#[test]
fn trailers_are_there_at_the_end() {
    let origin = Origin::saying(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    let mut response = UserAgent::new().get(origin.url("/")).send().unwrap();
    assert!(response.trailers().is_empty());
    let mut text = String::new();
    Read::read_to_string(&mut response, &mut text).unwrap();
    assert_eq!((text.as_str(), response.trailers().get("X-Sum")), ("ok", Some("42")));
}

#[test]
fn lines_are_read_from_a_response_and_it_goes_to_another_thread() {
    let origin = Origin::serving(|_, stream| answer(stream, "200 OK", b"one\ntwo\n"));
    let body = UserAgent::new().get(origin.url("/")).send().unwrap().into_body();
    let lines: Vec<_> =
        std::thread::spawn(move || body.lines().map(Result::unwrap).collect()).join().unwrap();
    let lines: Vec<String> = lines;
    assert_eq!(lines, ["one", "two"]);
}

#[test]
fn cut_content_is_incomplete_and_never_an_end() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let origin = Origin::serving(move |_, stream| {
            say(stream, text);
            false
        });
        let error = UserAgent::new().get(origin.url("/")).send().unwrap().read_to_vec().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incomplete);
    }
}

#[test]
fn an_upload_goes_on_while_its_answer_is_read() {
    // Sends back what it gets, as it gets it: neither side can wait for the other.
    let port = Origin::raw(|connection, stream| {
        let mut reader = std::io::BufReader::with_capacity(1 << 16, stream.try_clone().unwrap());
        let asked = head(&mut reader, connection, 1).unwrap();
        let length: u64 = asked.field("Content-Length").unwrap().parse().unwrap();
        say(stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
        std::io::copy(&mut reader.take(length), stream).unwrap();
    });
    let length = 64_000_000;
    let content = Content::from_sized_reader(std::io::repeat(b'x').take(length), length);
    let agent = UserAgent::new();
    let response = agent.put(format!("http://127.0.0.1:{port}/")).content(content).send().unwrap();
    let echoed = response.copy_to(std::io::sink()).unwrap();
    assert_eq!((echoed, agent.idle_sessions()), (length, 1));
}

#[test]
fn an_answer_that_is_left_while_the_upload_goes_on_costs_the_connection() {
    let port = Origin::raw(|connection, stream| {
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        head(&mut reader, connection, 1).unwrap();
        say(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    });
    let agent = UserAgent::new();
    let content = std::io::repeat(b'x').take(1 << 40);
    let response = agent.put(format!("http://127.0.0.1:{port}/")).content_from(content).send().unwrap();
    drop(response);
    assert_eq!(agent.idle_sessions(), 0);
}

#[test]
fn expectations_are_waited_for() {
    let (invited, told) = mpsc::channel();
    let port = Origin::raw(move |connection, stream| {
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        let Some(asked) = head(&mut reader, connection, 1) else { return };
        if asked.target == "/refused" && asked.field("Expect").is_none() {
            let mut content = [0; 4];
            reader.read_exact(&mut content).unwrap();
            answer(stream, "200 OK", &content);
            return;
        }
        assert_eq!(asked.field("Expect"), Some("100-continue"));
        if asked.target == "/refused" {
            answer(stream, "417 Expectation Failed", b"");
            return;
        }
        invited.send(()).unwrap();
        say(stream, "HTTP/1.1 100 Continue\r\n\r\n");
        let mut content = [0; 4];
        reader.read_exact(&mut content).unwrap();
        answer(stream, "200 OK", &content);
    });
    let put = |path: &str| {
        let request = UserAgent::new().put(format!("http://127.0.0.1:{port}{path}"));
        request.expect_continue(true).content("text").send().unwrap()
    };
    let response = put("/wanted");
    told.recv().unwrap();
    assert_eq!(response.read_to_string().unwrap(), "text");
    assert_eq!(put("/refused").read_to_string().unwrap(), "text", "made again without");
}

#[cfg(feature = "serde")]
#[test]
fn values_travel_as_json() {
    use std::collections::BTreeMap;
    let origin = Origin::serving(|asked, stream| match asked.target.as_str() {
        "/echo" => answer(stream, "200 OK", &asked.content),
        _ => answer(stream, "200 OK", b"{\"a\": }"),
    });
    let agent = UserAgent::new();
    let value = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
    let response = agent.post(origin.url("/echo")).json(&value).send().unwrap();
    assert_eq!(response.json::<BTreeMap<String, i32>>().unwrap(), value);
    assert_eq!(origin.seen()[0].field("Content-Type"), Some("application/json"));
    let error = agent.get(origin.url("/bad")).send().unwrap().json::<BTreeMap<String, i32>>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    let no_json = BTreeMap::from([(vec![1], 1)]);
    assert_eq!(agent.post("http://h/").json(&no_json).send().unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[cfg(feature = "gzip")]
mod gzip {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use sessile::client::GzipLimits;

    fn coded(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn text() -> String {
        (0..20_000).map(|n| format!("{n} ")).collect()
    }

    /// Says everything compressed, whether asked or not.
    fn pressing() -> Origin {
        Origin::serving(|asked, stream| {
            let (head, content) = match asked.target.as_str() {
                "/cut" => ("200 OK\r\nContent-Encoding: gzip", coded(text().as_bytes())[..1000].to_vec()),
                "/corrupt" => ("200 OK\r\nContent-Encoding: gzip", b"this is no gzip".to_vec()),
                "/bomb" => ("200 OK\r\nContent-Encoding: gzip", coded(&vec![0; 2 << 20])),
                "/other" => ("200 OK\r\nContent-Encoding: br", b"something".to_vec()),
                "/both" => ("200 OK\r\nContent-Encoding: deflate, gzip", b"something".to_vec()),
                "/plain" => ("200 OK\r\nContent-Encoding: identity", b"something".to_vec()),
                "/nothing" => ("200 OK\r\nContent-Encoding: gzip", Vec::new()),
                "/old" => ("200 OK\r\nContent-Encoding: x-gzip", coded(b"something")),
                _ => ("200 OK\r\nContent-Encoding: gzip\r\nETag: \"x\"", coded(text().as_bytes())),
            };
            if asked.method == "HEAD" {
                return say(stream, &format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", content.len()));
            }
            answer(stream, head, &content)
        })
    }

    fn asking() -> UserAgent {
        UserAgent::builder().gzip(true).build().unwrap()
    }

    #[test]
    fn compressed_content_is_decoded_where_it_was_asked_for() {
        let origin = pressing();
        let agent = asking();
        let response = agent.get(origin.url("/")).send().unwrap();
        assert!(response.is_decoded());
        assert!(response.headers().has("Content-Length"), "the head is as it came");
        assert_eq!(response.headers().get("Content-Encoding"), Some("gzip"));
        assert_eq!((response.headers().get("ETag"), response.remaining()), (Some("\"x\""), None));
        assert_eq!(response.read_to_string().unwrap(), text());
        #[cfg(feature = "http")]
        {
            let response = agent.get(origin.url("/")).send().unwrap().into_http().unwrap();
            assert!(!response.headers().contains_key("Content-Length"), "it is not that of the body");
            assert!(!response.headers().contains_key("Content-Encoding"));
        }
        assert_eq!(agent.idle_sessions(), 1, "read to its end");
        assert_eq!(origin.seen()[0].field("Accept-Encoding"), Some("gzip"));
        assert_eq!(agent.get(origin.url("/old")).send().unwrap().read_to_string().unwrap(), "something");
        assert_eq!(agent.get(origin.url("/nothing")).send().unwrap().read_to_string().unwrap(), "");
    }

    #[test]
    fn what_was_not_asked_for_stays_as_it_came() {
        let origin = pressing();
        for request in [
            UserAgent::new().get(origin.url("/")),
            asking().get(origin.url("/")).gzip(false),
            asking().get(origin.url("/")).header("Accept-Encoding", "gzip, br"),
            asking().get(origin.url("/")).header("Range", "bytes=0-9"),
        ] {
            let response = request.send().unwrap();
            assert!(!response.is_decoded());
            assert_eq!(response.headers().get("Content-Encoding"), Some("gzip"));
            assert_eq!(response.read_to_vec().unwrap(), coded(text().as_bytes()));
        }
        for path in ["/other", "/both", "/plain"] {
            let response = asking().get(origin.url(path)).send().unwrap();
            assert!(!response.is_decoded() && response.headers().has("Content-Length"), "{path}");
            assert_eq!(response.read_to_string().unwrap(), "something");
        }
        let response = asking().head(origin.url("/")).send().unwrap();
        assert!(!response.is_decoded() && response.headers().has("Content-Length"));
    }

    #[test]
    fn cut_and_corrupt_content_is_an_error() {
        let origin = pressing();
        for path in ["/cut", "/corrupt"] {
            let error = asking().get(origin.url(path)).send().unwrap().read_to_vec().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode, "{path}");
        }
    }

    #[test]
    fn growth_is_limited() {
        let origin = pressing();
        let bomb = |change: fn(&mut GzipLimits), most: u64| {
            let mut limits = GzipLimits::default();
            change(&mut limits);
            let agent =
                UserAgent::builder().gzip(true).gzip_limits(limits).max_content(most).build().unwrap();
            agent.get(origin.url("/bomb")).send().unwrap()
        };
        let by: [fn(&mut GzipLimits); 2] =
            [|limits| limits.grace = 1 << 20, |limits| limits.size = Some(1 << 20)];
        for change in by {
            let error = bomb(change, 0).copy_to(std::io::sink()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
        let error = bomb(|_| {}, 1 << 20).read_to_vec().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "by what is read at once");
        assert_eq!(bomb(|_| {}, 2 << 20).read_to_vec().unwrap().len(), 2 << 20, "small bombs harm nobody");
    }
}
