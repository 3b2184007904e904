//! curl talks to `serve`, and to a server of the library. `tests/peers/install.sh` gets curl.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

mod programs;

use std::fs;
use std::io::Write;
use std::process::Command;

use programs::{Folder, Serve, pattern, run};
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
