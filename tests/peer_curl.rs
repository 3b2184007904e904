//! curl talks to `serve`, and to a server of the library. `tests/peers/install.sh` gets curl.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

mod programs;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::Command;

use programs::{Folder, Serve, fetched, pattern, run};
use sessile::server::HttpServer;

/// What curl prints; it must succeed.
fn curl(arguments: &[&str]) -> String {
    let output =
        run(Command::new("curl").args(["--silent", "--show-error", "--max-time", "20"]).args(arguments));
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs curl"]
fn get() {
    let serve = Serve::start(&[]);
    assert_eq!(curl(&[&serve.url("/hello")]), "Hello, world!");
    let head_and_body = curl(&["--include", &serve.url("/hello")]);
    assert!(head_and_body.starts_with("HTTP/1.1 200 OK\r\n"), "{head_and_body}");
    assert!(head_and_body.contains("\r\nContent-Length: 13\r\n"), "{head_and_body}");
    assert!(head_and_body.contains("\r\nDate: "), "{head_and_body}");
}

#[test]
#[ignore = "needs curl"]
fn head() {
    let serve = Serve::start(&[]);
    let head = curl(&["--head", &serve.url("/bytes/1000000")]);
    assert!(head.contains("\r\nContent-Length: 1000000\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
#[ignore = "needs curl"]
fn downloads_of_both_framings() {
    let serve = Serve::start(&[]);
    let folder = Folder::new();
    for endpoint in ["bytes", "chunked"] {
        let file = folder.file(endpoint, b"");
        curl(&["--output", &file, &serve.url(&format!("/{endpoint}/10000000"))]);
        assert!(fs::read(&file).unwrap() == pattern(10_000_000), "{endpoint}");
    }
}

#[test]
#[ignore = "needs curl"]
fn uploads_of_both_framings() {
    let serve = Serve::start(&[]);
    let folder = Folder::new();
    let file = format!("@{}", folder.file("upload", &pattern(3_000_000)));
    for coding in ["Transfer-Encoding:", "Transfer-Encoding: chunked"] {
        let back = folder.file("back", b"");
        let upload = ["--data-binary", &file, "--header", coding, "--output", &back, &serve.url("/echo")];
        curl(&upload);
        assert!(fs::read(&back).unwrap() == pattern(3_000_000), "{coding}");
    }
    let inspected = curl(&["--data-binary", "hello", &serve.url("/inspect")]);
    assert!(inspected.contains(r#""body_length":5,"body_base64":"aGVsbG8=""#), "{inspected}");
    let inspected =
        curl(&["--data-binary", "hello", "--header", "Transfer-Encoding: chunked", &serve.url("/inspect")]);
    assert!(inspected.contains(r#""body_length":5,"body_base64":"aGVsbG8=""#), "{inspected}");
}

#[test]
#[ignore = "needs curl"]
fn expect_continue_is_answered_when_the_body_is_read() {
    let serve = Serve::start(&[]);
    let all =
        curl(&["--include", "--header", "Expect: 100-continue", "--data", "hello", &serve.url("/echo")]);
    assert!(all.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{all}");
    assert!(all.ends_with("\r\n\r\nhello"), "{all}");
    // A handler that reads nothing invites nothing.
    let all =
        curl(&["--include", "--header", "Expect: 100-continue", "--data", "hello", &serve.url("/nothing")]);
    assert!(all.starts_with("HTTP/1.1 404 "), "{all}");
}

#[test]
#[ignore = "needs curl"]
fn connections_are_kept() {
    let serve = Serve::start(&[]);
    let url = serve.url("/hello");
    let connects = curl(&["--write-out", " %{num_connects}\n", &url, &url, &url]);
    assert_eq!(connects, "Hello, world! 1\nHello, world! 0\nHello, world! 0\n");
}

#[test]
#[ignore = "needs curl"]
fn http_1_0() {
    let serve = Serve::start(&[]);
    let all = curl(&["--http1.0", "--include", &serve.url("/hello")]);
    assert!(all.contains("\r\nConnection: close\r\n") && all.ends_with("Hello, world!"), "{all}");
    // Chunks are unknown to 1.0: the body ends with the connection.
    let all = curl(&["--http1.0", "--include", &serve.url("/chunked/26")]);
    assert!(!all.contains("Transfer-Encoding"), "{all}");
    assert!(all.as_bytes().ends_with(&pattern(26)), "{all}");
    let connects = curl(&[
        "--http1.0",
        "--header",
        "Connection: keep-alive",
        "--write-out",
        " %{num_connects} ",
        &serve.url("/hello"),
        &serve.url("/hello"),
    ]);
    assert_eq!(connects, "Hello, world! 1 Hello, world! 0 ");
}

#[test]
#[ignore = "needs curl"]
fn redirects_are_followed() {
    let serve = Serve::start(&[]);
    assert_eq!(curl(&["--location", &serve.url("/redirect/5")]), "Hello, world!");
}

#[test]
#[ignore = "needs curl"]
fn trailers() {
    let mut server = HttpServer::bind("127.0.0.1:0", |_request, response| {
        response.set_chunked(true);
        let mut body = response.send()?;
        body.write_all(b"hello")?;
        body.set_trailer("Digest", "none")
    })
    .unwrap();
    server.start().unwrap();
    let all = curl(&["--include", &format!("http://127.0.0.1:{}/", server.port())]);
    assert!(all.ends_with("\r\n\r\nhelloDigest: none\r\n"), "{all:?}");
}

/// Sets cookies of all kinds, and says which came.
fn cookies() -> HttpServer {
    HttpServer::bind("127.0.0.1:0", |request, response| {
        let sent = request.headers().get("Cookie").unwrap_or_default().to_owned();
        for cookie in ["id=31d4; Path=/; HttpOnly", "long=1; Path=/; Max-Age=100000", "deep=2; Path=/deep/"] {
            response.headers_mut().append("Set-Cookie", cookie)?;
        }
        response.headers_mut().append("Set-Cookie", "no=3; Max-Age=0")?;
        response.headers_mut().append("Set-Cookie", "foreign=4; Domain=example.com")?;
        response.send_buffer(sent.as_bytes())
    })
    .unwrap()
}

#[cfg(feature = "cookies")]
#[test]
#[ignore = "needs curl"]
fn cookies_that_one_keeps_the_other_sends() {
    let folder = Folder::new();
    let jar = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut server = cookies();
    server.start().unwrap();
    let url = format!("http://127.0.0.1:{}/deep/page", server.port());
    let (of_curl, of_fetch) = (jar("curl"), jar("fetch"));
    assert_eq!(curl(&["--cookie-jar", &of_curl, &url]), "");
    assert_eq!(fetched(&["--cookies", &of_fetch, &url]), "");
    // Of cookies for the same path, curl sends those with longer names first.
    let sent = |field: String| field.split("; ").map(str::to_owned).collect::<BTreeSet<_>>();
    let all = sent("deep=2; id=31d4; long=1".to_owned());
    assert_eq!(sent(fetched(&["--cookies", &of_curl, &url])), all, "curl's file");
    assert_eq!(sent(curl(&["--cookie", &of_fetch, &url])), all, "fetch's file");
    // Each has written what it read of the other's.
    assert_eq!(sent(curl(&["--cookie", &of_curl, "--cookie-jar", &of_curl, &url])), all);
    assert_eq!(sent(fetched(&["--cookies", &of_curl, &url])), all);
    let lines = |path: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(path).unwrap();
        let cookies = text.lines().filter(|line| line.contains('\t'));
        // But for when they end, to the second.
        cookies
            .map(|line| line.split('\t').enumerate().filter(|(n, _)| *n != 4).map(|(_, f)| f).collect())
            .collect()
    };
    assert_eq!(lines(&of_curl), lines(&of_fetch));
    server.stop();
}

#[cfg(feature = "cookies")]
#[test]
#[ignore = "needs curl"]
fn a_web_session_goes_from_curl_to_fetch_and_back() {
    let (serve, folder) = (Serve::start(&[]), Folder::new());
    let jar = folder.path().join("jar").to_str().unwrap().to_owned();
    let url = serve.url("/session");
    curl(&["--cookie-jar", &jar, "--data", "name=curl", &url]);
    let seen = fetched(&["--cookies", &jar, &url]);
    assert!(seen.contains("\"name\":\"curl\"") && seen.contains("\"is_new\":false"), "{seen}");
    fetched(&["--cookies", &jar, "-d", "name=fetch", &url]);
    let seen = curl(&["--cookie", &jar, &url]);
    assert!(seen.contains("\"name\":\"fetch\""), "{seen}");
}

#[test]
#[ignore = "needs curl"]
fn ranges_and_conditions() {
    let folder = Folder::new();
    folder.file("a.bin", &pattern(100_000));
    let serve = Serve::start(&["--root", folder.path().to_str().unwrap()]);
    let url = serve.url("/file/a.bin");
    let back = folder.file("back", b"");
    for (range, start, end) in [("0-0", 0, 1), ("100-60099", 100, 60_100), ("-5", 99_995, 100_000)] {
        curl(&["--range", range, "--output", &back, &url]);
        assert!(fs::read(&back).unwrap() == pattern(100_000)[start..end], "{range}");
    }
    let several = curl(&["--range", "0-1,251-252", &url]);
    assert_eq!(several.matches("\r\nContent-Range: bytes ").count(), 2, "{several}");
    // A download that was cut off goes on where it ended.
    fs::write(&back, &pattern(100_000)[..70_000]).unwrap();
    curl(&["--continue-at", "-", "--output", &back, &url]);
    assert!(fs::read(&back).unwrap() == pattern(100_000));
    let etags = folder.file("etags", b"");
    let status = "%{response_code}";
    let first = curl(&["--etag-save", &etags, "--output", &back, "--write-out", status, &url]);
    let second = curl(&["--etag-compare", &etags, "--output", &back, "--write-out", status, &url]);
    assert_eq!((&*first, &*second), ("200", "304"));
    let since = curl(&["--time-cond", &back, "--output", &back, "--write-out", status, &url]);
    assert_eq!(since, "304");
}
