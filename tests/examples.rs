//! The example programs, seen from outside: what their options and endpoints promise.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

mod programs;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use programs::{Folder, Serve, example, fetch, fetched, free_port, pattern, peak_memory, run};

const MIB: usize = 1 << 20;

/// Sends these bytes and returns all that comes until the server closes.
fn raw(serve: &Serve, request: &[u8]) -> String {
    let mut stream = serve.connect();
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

fn status_of(serve: &Serve, method: &str, path: &str) -> String {
    let all = fetched(&["-i", "-X", method, &serve.url(path)]);
    all.split(' ').nth(1).unwrap().to_owned()
}

fn error_line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.matches('\n').count(), 1, "{text:?}");
    text.trim_end().to_owned()
}

#[test]
fn hello_has_a_length_and_a_type() {
    let serve = Serve::start(&[]);
    let all = fetched(&["-i", &serve.url("/hello")]);
    let (head, body) = all.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain"), "{head}");
    assert!(head.contains("\r\nContent-Length: 13"), "{head}");
    assert_eq!(body, "Hello, world!");
}

#[test]
fn percent_encoding_names_the_same_path() {
    let serve = Serve::start(&[]);
    assert_eq!(fetched(&[&serve.url("/h%65llo")]), "Hello, world!");
    assert_eq!(status_of(&serve, "GET", "/%ff"), "404");
    assert_eq!(status_of(&serve, "GET", "/bytes%2F3"), "404");
}

#[test]
fn inspect_says_what_was_parsed() {
    let serve = Serve::start(&[]);
    let answer = raw(
        &serve,
        b"POST /inspect?q=\"1\"&r HTTP/1.1\r\nHost: h\r\nX-b: caf\xe9 \\ \"q\"\r\nx-A: 1\r\n\
          Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\nX-T: t\r\n\r\n",
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nContent-Type: application/json\r\n"), "{head}");
    let (before, after) = body.split_once(r#""client_address":"#).unwrap();
    assert_eq!(
        before,
        concat!(
            r#"{"method":"POST","target":"/inspect?q=\"1\"&r","path":"/inspect","query":"q=\"1\"&r","#,
            r#""version":"HTTP/1.1","headers":[["Host","h"],["X-b","café \\ \"q\""],["x-A","1"],"#,
            r#"["Transfer-Encoding","chunked"],["Connection","close"]],"trailers":[["X-T","t"]],"#,
            r#""body_length":5,"body_base64":"aGVsbG8=","#
        )
    );
    assert!(after.starts_with("\"127.0.0.1:"), "{after}");
    assert!(after.ends_with(r#"","secure":false,"client_certificate_subject":null}"#), "{after}");
}

#[test]
fn inspect_takes_any_method() {
    let serve = Serve::start(&[]);
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get", "M-SEARCH"] {
        let json = fetched(&["-X", method, &serve.url("/inspect")]);
        assert!(json.starts_with(&format!(r#"{{"method":"{method}","#)), "{json}");
    }
}

#[test]
fn bytes_are_the_pattern_in_both_framings() {
    let serve = Serve::start(&[]);
    let folder = Folder::new();
    for length in [0, 1, 250, 251, 252, 65_536, 1_000_003] {
        for (endpoint, framing) in [("bytes", "Content-Length: "), ("chunked", "Transfer-Encoding: chunked")]
        {
            let file = folder.file("body", b"");
            let head = fetched(&["-i", "-o", &file, &serve.url(&format!("/{endpoint}/{length}"))]);
            assert!(head.contains(framing), "{head}");
            assert!(fs::read(&file).unwrap() == pattern(length), "{endpoint} {length}");
        }
    }
    assert_eq!(status_of(&serve, "GET", "/bytes/+1"), "404");
    assert_eq!(status_of(&serve, "GET", "/bytes/99999999999999999999"), "404");
    assert_eq!(status_of(&serve, "GET", "/bytes/"), "404");
}

#[test]
fn head_is_get_without_the_body() {
    let serve = Serve::start(&[]);
    for path in ["/", "/hello", "/bytes/100000000000", "/chunked/100000000000", "/sleep/1", "/missing"] {
        let get = if path.contains("000") {
            "HTTP/1.1 200 OK".to_owned()
        } else {
            fetched(&["-i", &serve.url(path)])
        };
        let head = fetched(&["-i", "-X", "HEAD", &serve.url(path)]);
        assert_eq!(head.lines().next(), get.lines().next(), "{path}");
        assert!(head.ends_with("\r\n\r\n"), "{path}: {head}");
    }
}

#[test]
fn echo_keeps_type_framing_and_trailers() {
    let serve = Serve::start(&[]);
    let all = fetched(&["-i", "-H", "Content-Type: text/x", "-d", "hello", &serve.url("/echo")]);
    assert!(
        all.contains("\r\nContent-Type: text/x\r\n") && all.contains("\r\nContent-Length: 5\r\n"),
        "{all}"
    );
    let all = fetched(&["-i", "--chunked", "-d", "hello", &serve.url("/echo")]);
    assert!(all.contains("\r\nTransfer-Encoding: chunked\r\n") && all.ends_with("\r\n\r\nhello"), "{all}");
    let answer = raw(
        &serve,
        b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
          5\r\nhello\r\n0\r\nX-One: 1\r\nX-Two: 2\r\nx-one: 3\r\n\r\n",
    );
    assert!(answer.ends_with("5\r\nhello\r\n0\r\nX-One: 1\r\nX-Two: 2\r\nx-one: 3\r\n\r\n"), "{answer}");
}

#[test]
fn echo_answers_while_the_request_goes_on() {
    let serve = Serve::start(&[]);
    let mut stream = serve.connect();
    stream.write_all(b"POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    for word in ["first", "second", "third"] {
        write!(stream, "{:x}\r\n{word}\r\n", word.len()).unwrap();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&seen).contains(word) {
            let n = stream.read(&mut buffer).unwrap();
            assert!(n > 0, "closed after {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..n]);
        }
    }
}

#[test]
fn upload_says_what_the_parts_were() {
    let serve = Serve::start(&[]);
    let form = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n\
        --b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\n\
        \r\n--b--\r\n";
    let answer =
        fetched(&["-H", "Content-Type: multipart/form-data; boundary=b", "-d", form, &serve.url("/upload")]);
    assert_eq!(
        answer,
        concat!(
            r#"[{"name":"a","filename":null,"content_type":null,"length":1,"#,
            r#""sha256":"4c94485e0c21ae6c41ce1dfe7b6bfaceea5ab68e40a2476f50208e526f506080"},"#,
            r#"{"name":"f","filename":"x.txt","content_type":"text/plain","length":0,"#,
            r#""sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]"#
        )
    );
    assert_eq!(status_of(&serve, "GET", "/upload"), "405");
    let cut = &form[..form.len() - 4];
    let answer = fetched(&[
        "-i",
        "-H",
        "Content-Type: multipart/form-data; boundary=b",
        "-d",
        cut,
        &serve.url("/upload"),
    ]);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[test]
#[cfg(feature = "websocket")]
fn the_web_socket_sends_every_message_back() {
    use sessile::message::{Request, Response};
    use sessile::session::HttpClientSession;
    use sessile::websocket::{Message, WebSocket};

    let serve = Serve::start(&[]);
    let mut session = HttpClientSession::with_address(serve.address);
    let mut socket =
        WebSocket::connect(&mut session, &mut Request::get("/ws"), &mut Response::new()).unwrap();
    socket.send_text("hällo").unwrap();
    assert_eq!(socket.receive_message().unwrap(), Some(Message::Text("hällo".to_owned())));
    socket.send_binary(&[0, 255]).unwrap();
    assert_eq!(socket.receive_message().unwrap(), Some(Message::Binary(vec![0, 255])));
    assert_eq!(status_of(&serve, "GET", "/ws"), "426");
}

#[test]
#[cfg(feature = "websocket")]
fn a_web_socket_whose_client_takes_nothing_holds_up_no_stop() {
    let mut serve = Serve::start(&[]);
    let mut stream = serve.connect();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let handshake = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).unwrap();
    // Messages whose echoes nobody reads, until nothing more goes.
    let mut message = vec![0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];
    message.resize(message.len() + MIB, 7);
    while stream.write_all(&message).is_ok() {}

    let start = Instant::now();
    serve.tell("TERM");
    while std::net::TcpStream::connect(serve.address).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(10), "it goes on accepting");
        thread::yield_now();
    }
    // The second signal waits for nobody.
    assert_eq!(serve.signal("TERM").code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
#[cfg(not(feature = "websocket"))]
fn what_needs_a_feature_names_it() {
    let serve = Serve::start(&[]);
    let all = fetched(&["-i", &serve.url("/ws")]);
    assert!(
        all.starts_with("HTTP/1.1 501 ") && all.ends_with("\r\n\r\nthis build lacks the feature websocket\n"),
        "{all}"
    );
}

#[test]
fn statuses_and_redirects() {
    let serve = Serve::start(&[]);
    for status in ["200", "204", "304", "404", "418", "500", "599"] {
        let all = fetched(&["-i", &serve.url(&format!("/status/{status}"))]);
        assert!(all.starts_with(&format!("HTTP/1.1 {status} ")) && all.ends_with("\r\n\r\n"), "{all}");
    }
    assert_eq!(status_of(&serve, "GET", "/status/100"), "400");
    assert_eq!(status_of(&serve, "GET", "/status/600"), "400");
    assert_eq!(status_of(&serve, "GET", "/status/abc"), "404");

    let all = fetched(&["-i", &serve.url("/redirect/2")]);
    assert!(
        all.starts_with("HTTP/1.1 302 Found\r\n") && all.contains("\r\nLocation: /redirect/1\r\n"),
        "{all}"
    );
    assert_eq!(fetched(&["-L", &serve.url("/redirect/19")]), "Hello, world!");
    let output = run(&mut fetch(&["-L", &serve.url("/redirect/20")]));
    assert_eq!(output.status.code(), Some(1));
    assert!(error_line(&output).ends_with("/redirect/20: more than 20 redirects"), "{output:?}");
}

#[test]
fn what_is_not_there_is_404_and_the_wrong_method_405() {
    let serve = Serve::start(&[]);
    let all = fetched(&["-i", &serve.url("/missing")]);
    assert!(all.starts_with("HTTP/1.1 404 Not Found\r\n"), "{all}");
    assert!(all.contains("\r\nContent-Type: text/plain"), "{all}");
    let all = fetched(&["-i", "-d", "x", &serve.url("/hello")]);
    assert!(all.starts_with("HTTP/1.1 405 ") && all.contains("\r\nAllow: GET, HEAD\r\n"), "{all}");
    assert_eq!(status_of(&serve, "GET", "/file/a"), "404");
}

#[test]
fn sleep_takes_its_time() {
    let serve = Serve::start(&[]);
    let start = Instant::now();
    assert_eq!(fetched(&[&serve.url("/sleep/300")]), "ok");
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn larger_bodies_than_allowed_are_413() {
    let serve = Serve::start(&["--max-body", "10"]);
    let url = serve.url("/inspect");
    for arguments in [&["-i", "-d", "eleven char", &url][..], &["-i", "-d", "eleven char", &url, "--chunked"]]
    {
        assert!(fetched(arguments).starts_with("HTTP/1.1 413 "), "{arguments:?}");
    }
    assert!(fetched(&["-d", "ten charac", &url]).contains(r#""body_length":10"#));
}

#[test]
fn connections_are_kept_as_the_options_say() {
    for (options, close) in [
        (&[][..], [false, false, false]),
        (&["--no-keep-alive"], [true, true, true]),
        (&["--max-keep-alive-requests=2"], [false, true, false]),
        (&["--max-keep-alive-requests", "0"], [false, false, false]),
    ] {
        let serve = Serve::start(options);
        let url = serve.url("/hello");
        let all = fetched(&["-i", "--repeat", "3", &url]);
        let heads: Vec<_> =
            all.split("HTTP/1.1 200 OK").skip(1).map(|h| h.contains("\r\nConnection: close\r\n")).collect();
        assert_eq!(heads, close, "{options:?}");
    }
}

#[test]
fn one_connection_serves_all_urls_of_an_origin() {
    let serve = Serve::start(&[]);
    let (inspect, bytes) = (serve.url("/inspect"), serve.url("/chunked/200"));
    let output = run(&mut fetch(&["--repeat", "2", &inspect, &bytes, &inspect]));
    let all = String::from_utf8_lossy(&output.stdout);
    let clients: Vec<_> =
        all.split(r#""client_address":""#).skip(1).map(|rest| rest.split('"').next()).collect();
    assert_eq!(clients.len(), 4);
    assert!(clients.iter().all(|client| *client == clients[0]), "{clients:?}");
}

#[test]
fn all_options_of_serve_are_accepted_or_named() {
    drop(Serve::start(&[
        "--max-threads=8",
        "--max-queued=8",
        "--timeout=2.5",
        "--keep-alive-timeout=0.5",
        "--session-timeout=60",
        "--root=/tmp",
        "--session-store=memory:",
    ]));
}

#[test]
fn a_signal_stops_serve_when_its_requests_are_done() {
    for signal in ["TERM", "INT"] {
        let mut serve = Serve::start(&[]);
        let mut stream = serve.connect();
        stream.write_all(b"GET /sleep/500 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        thread::sleep(Duration::from_millis(100));
        assert_eq!(serve.signal(signal).code(), Some(0), "{signal}");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nok"), "{signal}: {answer}");
    }
}

#[test]
fn fetch_says_what_happened_in_one_line() {
    let url = format!("http://127.0.0.1:{}/", free_port());
    let output = run(&mut fetch(&[&url]));
    assert_eq!(output.status.code(), Some(1));
    assert!(error_line(&output).starts_with(&format!("fetch: {url}: ")), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn fetch_goes_on_after_an_error() {
    let serve = Serve::start(&[]);
    let output = run(&mut fetch(&[&format!("http://127.0.0.1:{}/", free_port()), &serve.url("/hello")]));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"Hello, world!");
}

#[test]
fn a_cut_response_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").unwrap();
    });
    let output = run(&mut fetch(&[&url]));
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"hello");
    error_line(&output);
}

#[test]
fn wrong_command_lines_end_with_2() {
    for arguments in [
        &[][..],
        &["--no-such-option", "http://h/"],
        &["-X"],
        &["-X", "G T", "http://h/"],
        &["-H", "no colon", "http://h/"],
        &["-H", "a b: c", "http://h/"],
        &["--timeout", "-1", "http://h/"],
        &["--timeout", "soon", "http://h/"],
        &["--repeat=", "http://h/"],
        &["-L=yes", "http://h/"],
        &["--chunked=yes", "http://h/"],
        &["not a url"],
        &["ftp://127.0.0.1/"],
        &["--data-file", "-", "http://h/", "http://h/"],
    ] {
        assert_eq!(run(&mut fetch(arguments)).status.code(), Some(2), "{arguments:?}");
    }
    for url in [
        "http://u:s3cret@h:99999/",
        "ftp://u:s3cret@h/",
        "http://u:s3cret@h/a\nb",
        "http://u:a@s3cret@h/",
        "ws://u:s3cret@h/",
        "wss://u:s3cret@h/",
    ] {
        let output = run(&mut fetch(&[url]));
        assert_eq!(output.status.code(), Some(2), "{url}");
        let said = error_line(&output);
        assert!(!said.contains("s3cret"), "{said}");
    }
    for arguments in [
        &["--listen", "127.0.0.1"][..],
        &["--listen", "h:99999"],
        &["--session-store", "cloud:"],
        &["--max-threads", "many"],
        &["word"],
        &["--no-such\noption"],
    ] {
        let output = run(Command::new(example("serve")).args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{arguments:?}");
    }
    let output = run(Command::new(example("serve")).args(["--root", "/no/such/folder"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/folder"));
}

#[cfg(unix)]
#[test]
#[ignore = "needs script"]
fn a_long_download_shows_a_bar_to_a_terminal_and_to_nobody_else() {
    let (serve, folder) = (Serve::start(&[]), Folder::new());
    let (file, url) = (folder.file("file", b""), serve.url("/bytes/5000000"));
    let fetch = fetch(&["-o", &file, &url]);
    let line = format!("'{}' -o '{file}' '{url}'", fetch.get_program().to_str().unwrap());
    let shown = run(Command::new("script").args(["--quiet", "--return", "--command", &line, "/dev/null"]));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(&format!("[{}] 100%", "#".repeat(40))) && shown.contains("MiB/s"), "{shown:?}");
    assert!(fs::read(&file).unwrap() == pattern(5_000_000));
    let output = run(&mut programs::fetch(&["-o", &file, &url]));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_reader_that_leaves_is_no_error_to_speak_of() {
    let serve = Serve::start(&[]);
    let mut child = fetch(&[&serve.url("/bytes/100000000")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 1000]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_stalled_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let start = Instant::now();
    let output = run(&mut fetch(&["--timeout", "0.3", &url]));
    assert_eq!(output.status.code(), Some(1));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_redirect_changes_the_request_as_the_rfc_says() {
    // One connection for each request, so that the answers can be written down here.
    let cases = [
        ("301", "POST", "GET", ""),
        ("302", "PUT", "PUT", "data"),
        ("303", "PUT", "GET", ""),
        ("303", "HEAD", "HEAD", ""),
        ("307", "POST", "POST", "data"),
        ("308", "PATCH", "PATCH", "data"),
    ];
    for (status, method, then, content) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/from/here", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let mut answers = [
                format!("HTTP/1.1 {status} Go\r\nLocation: ../to?there\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
                "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned(),
            ]
            .into_iter();
            answers
                .by_ref()
                .map(|answer| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut request = Vec::new();
                    let whole =
                        |r: &[u8]| r.ends_with(b"data") || r.ends_with(b"\r\n\r\n") && !r.starts_with(b"P");
                    while !whole(&request) {
                        let mut byte = [0];
                        assert_eq!(stream.read(&mut byte).unwrap(), 1);
                        request.push(byte[0]);
                    }
                    stream.write_all(answer.as_bytes()).unwrap();
                    String::from_utf8(request).unwrap()
                })
                .collect::<Vec<_>>()
        });
        let data = if method == "HEAD" { &[][..] } else { &["-d", "data"] };
        fetched(&[&["-L", "-X", method, &url], data].concat());
        let requests = server.join().unwrap();
        assert!(
            requests[1].starts_with(&format!("{then} /to?there HTTP/1.1\r\n")),
            "{status} {method}: {}",
            requests[1]
        );
        assert!(requests[1].ends_with(&format!("\r\n\r\n{content}")), "{status} {method}: {}", requests[1]);
        assert_eq!(
            requests[1].contains("Content-Type"),
            !content.is_empty(),
            "{status} {method}: {}",
            requests[1]
        );
    }
}

#[test]
fn credentials_stay_with_their_origin() {
    let serve = Serve::start(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let target = serve.url("/inspect");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let n = stream.read(&mut request).unwrap();
        write!(stream, "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8(request[..n].to_vec()).unwrap()
    });
    let seen =
        fetched(&["-L", "-H", "Authorization: Basic eDp5", "-H", "Cookie: a=b", "-H", "X-Kept: yes", &url]);
    let first = server.join().unwrap();
    assert!(first.contains("Authorization") && first.contains("Cookie"), "{first}");
    assert!(seen.contains("X-Kept") && !seen.contains("Authorization") && !seen.contains("Cookie"), "{seen}");
}

/// `fetch` sends so many bytes from standard input through `/echo` and prints them again; on
/// neither side may they pile up.
fn echoes_in_constant_memory(length: usize) {
    let serve = Serve::start(&["--max-body", &length.to_string()]);
    let mut child = fetch(&["--chunked", "--data-file", "-", &serve.url("/echo")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let block = pattern(251 * 4096);
    let feeder = thread::spawn({
        let block = block.clone();
        move || {
            let mut left = length;
            while left > 0 {
                let n = left.min(block.len());
                stdin.write_all(&block[..n]).unwrap();
                left -= n;
            }
        }
    });
    let mut stdout = child.stdout.take().unwrap();
    let mut got = vec![0; block.len()];
    let mut left = length;
    let mut memory = 0;
    while left > 0 {
        let n = left.min(block.len());
        stdout.read_exact(&mut got[..n]).unwrap();
        assert!(got[..n] == block[..n], "differs {left} bytes before the end");
        left -= n;
        // More is to come than a pipe holds, so it is still running.
        if left > MIB {
            memory = peak_memory(&child);
        }
    }
    feeder.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(memory < 20 * MIB as u64, "fetch had {} KiB resident", memory / 1024);
    let memory = serve.peak_memory();
    assert!(memory < 20 * MIB as u64, "serve had {} KiB resident", memory / 1024);
}

#[test]
fn sixty_four_mebibytes_pass_through_echo_in_constant_memory() {
    echoes_in_constant_memory(64 * MIB);
}

#[test]
#[ignore = "takes a while: 1 GiB"]
fn a_gibibyte_passes_through_echo_in_constant_memory() {
    echoes_in_constant_memory(1024 * MIB);
}
