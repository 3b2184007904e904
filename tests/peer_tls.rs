//! TLS with curl, OpenSSL and nginx, both ways. `tests/peers/install.sh` gets them.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod programs;
#[path = "support/tls.rs"]
mod tls;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Output, Stdio};

use programs::{Folder, Serve, fetch, fetched, free_port, pattern, run, wait_for};
use tls::Authority;

/// An authority with a server's and a client's certificate, in files.
struct Files {
    folder: Folder,
}

impl Files {
    fn new() -> Files {
        let (folder, authority) = (Folder::new(), Authority::new("an authority"));
        let intermediate = authority.intermediate("an intermediate");
        let server = intermediate.server(&["127.0.0.1", "localhost"]);
        let client = authority.client("somebody");
        let stranger = Authority::new("a stranger").client("a stranger");
        for (name, text) in [
            ("ca.pem", &authority.pem),
            ("server.pem", &server.pem),
            ("server.key", &server.key),
            ("client.pem", &client.pem),
            ("client.key", &client.key),
            ("stranger.pem", &stranger.pem),
            ("stranger.key", &stranger.key),
        ] {
            folder.file(name, text.as_bytes());
        }
        Files { folder }
    }

    fn name(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn serve(&self, more: &[&str]) -> Serve {
        let (certificate, key) = (self.name("server.pem"), self.name("server.key"));
        let mut arguments = vec!["--tls-cert", &certificate, "--tls-key", &key];
        arguments.extend(more);
        Serve::start(&arguments)
    }

    /// `fetch` that trusts the authority.
    fn fetched(&self, arguments: &[&str]) -> String {
        fetched(&[&["--cacert", &self.name("ca.pem")], arguments].concat())
    }

    /// `fetch` that must fail; what it says.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = run(fetch(&["--cacert", &self.name("ca.pem")]).args(arguments));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn curl(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--cacert", &self.name("ca.pem")]);
        run(command.args(arguments))
    }
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "needs curl"]
fn curl_gets_and_sends() {
    let files = Files::new();
    let serve = files.serve(&[]);
    for version in ["1.2", "1.3"] {
        let max = ["--tls-max", version];
        assert_eq!(text(&files.curl(&[&max[..], &[&serve.url("/hello")]].concat())), "Hello, world!");
        let large = files.curl(&[&max[..], &[&serve.url("/bytes/20000000")]].concat());
        assert!(large.stdout == pattern(20_000_000), "{:?}", large.status);
        let chunked = files.curl(&[&max[..], &[&serve.url("/chunked/3000000")]].concat());
        assert!(chunked.stdout == pattern(3_000_000), "{:?}", chunked.status);
        let upload = format!("@{}", files.folder.file("upload", &pattern(5_000_000)));
        let echo = files.curl(&[&max[..], &["--data-binary", &upload, &serve.url("/echo")]].concat());
        assert!(echo.stdout == pattern(5_000_000), "{:?}", echo.status);
    }
    let urls = [serve.url("/hello"), serve.url("/hello")];
    let told = files.curl(&["--verbose", "--http2", &urls[0], &urls[1]]);
    let log = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(log.contains("http/1.1"), "agreed on by ALPN: {log}");
    assert!(log.contains("Re-using existing connection"), "{log}");
}

#[test]
#[ignore = "needs curl"]
fn curl_sees_content_that_ends_with_the_connection_end_well() {
    let files = Files::new();
    let serve = files.serve(&[]);
    // HTTP/1.0 knows no chunks: the end of the connection is the end of the content.
    let all = files.curl(&["--http1.0", &serve.url("/chunked/3000000")]);
    assert!(all.status.success() && all.stdout == pattern(3_000_000), "{:?}", all.status);
    assert!(all.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&all.stderr));
}

#[test]
#[ignore = "needs curl"]
fn curl_shows_its_certificate_or_does_not_get_in() {
    let files = Files::new();
    let serve = files.serve(&["--tls-client-ca", &files.name("ca.pem")]);
    let (certificate, key) = (files.name("client.pem"), files.name("client.key"));
    let told = files.curl(&["--cert", &certificate, "--key", &key, &serve.url("/inspect")]);
    assert!(text(&told).contains(r#""client_certificate_subject":"CN=somebody""#), "{told:?}");
    for arguments in [
        vec![],
        vec!["--cert".to_owned(), files.name("stranger.pem"), "--key".to_owned(), files.name("stranger.key")],
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        for version in ["1.2", "1.3"] {
            let refused = files.curl(&[&["--tls-max", version, &serve.url("/")], &arguments[..]].concat());
            let why = String::from_utf8_lossy(&refused.stderr);
            assert!(why.contains("alert"), "curl is told by an alert, not by a reset: {why}");
        }
    }
}

#[test]
#[ignore = "needs curl"]
fn curl_in_plain_http_is_told() {
    let files = Files::new();
    let serve = files.serve(&[]);
    let plain = serve.url("/").replace("https://", "http://");
    let answer = text(&files.curl(&["--include", &plain]));
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.contains("This port speaks HTTPS"), "{answer}");
}

/// `openssl s_client` that sends a request and reads until the end.
fn s_client(serve: &Serve, files: &Files, arguments: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-connect", &serve.address.to_string()])
        .args(["-CAfile", &files.name("ca.pem"), "-verify_return_error"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let request = "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let _ = child.stdin.take().unwrap().write_all(request.as_bytes());
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
#[ignore = "needs openssl"]
fn s_client_agrees_on_versions_and_protocols() {
    let files = Files::new();
    let serve = files.serve(&[]);
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let told = s_client(&serve, &files, &[option, "-alpn", "h2,http/1.1", "-servername", "localhost"]);
        for part in [version, "ALPN protocol: http/1.1", "Verify return code: 0 (ok)", "Hello, world!"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        // The end is announced.
        assert!(told.contains("closed") && !told.contains("unexpected eof"), "{told}");
    }
    for option in ["-tls1", "-tls1_1"] {
        let told = s_client(&serve, &files, &[option, "-cipher", "DEFAULT@SECLEVEL=0"]);
        assert!(!told.contains("Hello") && told.contains("alert"), "{told}");
    }
}

#[test]
#[ignore = "needs openssl"]
fn s_client_takes_its_session_up_again() {
    let files = Files::new();
    let serve = files.serve(&[]);
    for option in ["-tls1_2", "-tls1_3"] {
        let session = files.name("session");
        let told = s_client(&serve, &files, &[option, "-sess_out", &session]);
        assert!(told.contains("New, TLSv1"), "{told}");
        let told = s_client(&serve, &files, &[option, "-sess_in", &session]);
        assert!(told.contains("Reused, TLSv1") && told.contains("Hello, world!"), "{option}: {told}");
    }
}

/// A running server; it ends with this.
struct Peer {
    child: Child,
    address: SocketAddr,
}

impl Peer {
    fn s_server(files: &Files, arguments: &[&str]) -> Peer {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let child = Command::new("openssl")
            .args(["s_server", "-accept", &address.to_string()])
            .args(["-cert", &files.name("server.pem"), "-key", &files.name("server.key")])
            .args(["-cert_chain", &files.name("server.pem"), "-CAfile", &files.name("ca.pem")])
            .args(arguments)
            .current_dir(files.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(address);
        Peer { child, address }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "needs openssl"]
fn s_server_sends_files_and_sees_sessions_taken_up() {
    let files = Files::new();
    files.folder.file("large", &pattern(5_000_000));
    for version in ["-tls1_2", "-tls1_3"] {
        let server = Peer::s_server(&files, &[version, "-WWW"]);
        let output = run(fetch(&["--cacert", &files.name("ca.pem")]).arg(server.url("/large")));
        // It says no length, so that only its goodbye makes the content whole.
        assert!(output.status.success() && output.stdout == pattern(5_000_000), "{:?}", output.status);
        drop(server);
        let server = Peer::s_server(&files, &[version, "-www"]);
        let pages = files.fetched(&["--repeat", "3", &server.url("/")]);
        assert_eq!((pages.matches("New, TLSv1").count(), pages.matches("Reused, TLSv1").count()), (1, 2));
    }
}

#[test]
#[ignore = "needs openssl"]
fn s_server_asks_for_certificates() {
    let files = Files::new();
    let (certificate, key) = (files.name("client.pem"), files.name("client.key"));
    for version in ["-tls1_2", "-tls1_3"] {
        let server = Peer::s_server(&files, &[version, "-www", "-Verify", "3", "-verify_return_error"]);
        let page = files.fetched(&["--cert", &certificate, "--key", &key, &server.url("/")]);
        assert!(page.contains("CN=somebody"), "{page}");
        let error = files.refused(&[&server.url("/")]);
        assert!(error.contains("certificate"), "{error}");
        let (stranger, its_key) = (files.name("stranger.pem"), files.name("stranger.key"));
        let error = files.refused(&["--cert", &stranger, "--key", &its_key, &server.url("/")]);
        assert!(error.contains("the peer has ended TLS"), "{error}");
    }
}

const NGINX: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events { worker_connections 64; }
http {
    log_format tls "$ssl_protocol $ssl_session_reused $connection_requests $ssl_client_verify $uri $status";
    access_log access.log tls;
    client_body_temp_path temp_body;
    proxy_temp_path temp_proxy;
    fastcgi_temp_path temp_fastcgi;
    uwsgi_temp_path temp_uwsgi;
    scgi_temp_path temp_scgi;
    server {
        listen 127.0.0.1:PORT ssl;
        root files;
        ssl_certificate server.pem;
        ssl_certificate_key server.key;
        ssl_protocols VERSION;
        ssl_session_cache builtin;
        ssl_client_certificate ca.pem;
        ssl_verify_client optional;
        ssl_verify_depth 3;
        location /hello { return 200 "Hello, nginx!"; }
        location /closing { keepalive_timeout 0; return 200 "Hello, nginx!"; }
        location /members {
            if ($ssl_client_verify != SUCCESS) { return 403; }
            return 200 "Hello, $ssl_client_s_dn!";
        }
    }
}
"#;

fn nginx(files: &Files, version: &str) -> Peer {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let configuration = NGINX.replace("PORT", &address.port().to_string()).replace("VERSION", version);
    let configuration = files.folder.file("nginx.conf", configuration.as_bytes());
    fs::create_dir_all(files.folder.path().join("files")).unwrap();
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let child = Command::new("nginx")
        .env("PATH", path)
        .args(["-e", "error.log", "-c", &configuration, "-p"])
        .arg(files.folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(address);
    Peer { child, address }
}

#[test]
#[ignore = "needs nginx"]
fn nginx_serves_us_and_knows_us_again() {
    for version in ["TLSv1.2", "TLSv1.3"] {
        let files = Files::new();
        let nginx = nginx(&files, version);
        files.folder.file("files/large", &pattern(30_000_000));
        let output = run(fetch(&["--cacert", &files.name("ca.pem")]).arg(nginx.url("/large")));
        assert!(output.stdout == pattern(30_000_000), "{output:?}");
        assert_eq!(files.fetched(&["--repeat", "3", &nginx.url("/hello")]), "Hello, nginx!".repeat(3));
        assert_eq!(files.fetched(&["--repeat", "3", &nginx.url("/closing")]), "Hello, nginx!".repeat(3));
        // What came before the last request is in the log by then.
        files.fetched(&[&nginx.url("/last")]);
        let log = fs::read_to_string(files.folder.path().join("access.log")).unwrap();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains(" /last ")).collect();
        let expected = [
            ". 1 NONE /large 200",
            ". 1 NONE /hello 200",
            ". 2 NONE /hello 200",
            ". 3 NONE /hello 200",
            ". 1 NONE /closing 200",
            "r 1 NONE /closing 200",
            "r 1 NONE /closing 200",
        ];
        assert_eq!(lines, expected.map(|line| format!("{version} {line}")));
    }
}

#[test]
#[ignore = "needs nginx"]
fn nginx_asks_for_certificates() {
    let files = Files::new();
    let nginx = nginx(&files, "TLSv1.2 TLSv1.3");
    let (certificate, key) = (files.name("client.pem"), files.name("client.key"));
    let members = nginx.url("/members");
    assert_eq!(files.fetched(&["--cert", &certificate, "--key", &key, &members]), "Hello, CN=somebody!");
    assert!(files.fetched(&["-i", &members]).starts_with("HTTP/1.1 403 "));
    let (stranger, its_key) = (files.name("stranger.pem"), files.name("stranger.key"));
    let answer = files.fetched(&["-i", "--cert", &stranger, "--key", &its_key, &members]);
    assert!(answer.starts_with("HTTP/1.1 400 "), "nginx says so in HTTP: {answer}");
}
