//! `fetch` talks to nginx, and nginx as a reverse proxy to `serve`. `tests/peers/install.sh` gets nginx.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

mod programs;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use programs::{Folder, Serve, fetch, fetched, free_port, pattern, run};

const CONFIGURATION: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events { worker_connections 64; }
http {
    access_log access.log combined;
    log_format connections "$connection $connection_requests $request_method $uri $status";
    access_log connections.log connections;
    client_body_temp_path temp_body;
    proxy_temp_path temp_proxy;
    fastcgi_temp_path temp_fastcgi;
    uwsgi_temp_path temp_uwsgi;
    scgi_temp_path temp_scgi;
    client_max_body_size 1m;
    keepalive_requests 3;
    server {
        listen 127.0.0.1:PORT;
        root files;
        location /hello { return 200 "Hello, nginx!"; }
        location /moved/ { return 302 /hello; }
        location /kept/ { return 307 /hello; }
        location /nothing { return 204; }
        location /included/ { ssi on; ssi_types *; }
        location /private/ { auth_basic "cave"; auth_basic_user_file users; }
        location /to-private { return 302 /private/page; }
        location /away { return 307 http://127.0.0.1:OTHER/; }
        location /stored/ { dav_methods PUT; create_full_put_path on; }
SITE
    }
    server {
        listen 127.0.0.1:OTHER;
        location / { return 200 "user: $http_authorization, cookie: $http_cookie."; }
    }
UPSTREAM
}
"#;

/// In front of `serve`, over persistent connections; below `/straight/` it holds nothing back.
const SITE: &str = r#"
        location /served/ {
            proxy_pass http://serve/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
        location /straight/ {
            proxy_pass http://serve/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_request_buffering off;
            proxy_buffering off;
        }
        location /old/ { proxy_pass http://serve/; }
"#;

struct Nginx(programs::Nginx);

impl Nginx {
    fn start() -> Nginx {
        Nginx::with("", "")
    }

    fn in_front_of(serve: &Serve) -> Nginx {
        Nginx::with(SITE, &format!("upstream serve {{ server {}; keepalive 4; }}", serve.address))
    }

    fn with(site: &str, upstream: &str) -> Nginx {
        let folder = Folder::new();
        // `user` with the password `pass`, as `htpasswd` writes it.
        folder.file("users", b"user:$apr1$sessile0$Si9Lxc5u24QOCtBzS7AkA.\n");
        fs::create_dir_all(folder.path().join("files/included")).unwrap();
        fs::create_dir_all(folder.path().join("files/private")).unwrap();
        let configuration = CONFIGURATION
            .replace("OTHER", &free_port().to_string())
            .replace("SITE", site)
            .replace("UPSTREAM", upstream);
        Nginx(programs::Nginx::start(folder, &configuration))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.0.address)
    }

    fn serves(&self, name: &str, content: &[u8]) -> String {
        self.0.folder.file(&format!("files/{name}"), content);
        self.url(&format!("/{name}"))
    }

    /// One line for each request: connection, its requests so far, method, path, status.
    fn log(&self) -> Vec<String> {
        // nginx writes it when a response has left; before it takes the next request, it has.
        let mut next = TcpStream::connect(self.0.address).unwrap();
        next.write_all(b"GET /next HTTP/1.0\r\n\r\n").unwrap();
        next.read_to_end(&mut Vec::new()).unwrap();
        let log = fs::read_to_string(self.0.folder.path().join("connections.log")).unwrap();
        log.lines().filter(|line| !line.contains(" /next ")).map(str::to_owned).collect()
    }
}

#[test]
#[ignore = "needs nginx"]
fn get_and_head() {
    let nginx = Nginx::start();
    assert_eq!(fetched(&[&nginx.url("/hello")]), "Hello, nginx!");
    let head = fetched(&["-i", "-X", "HEAD", &nginx.url("/hello")]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nServer: nginx"), "{head}");
    assert!(head.contains("\r\nContent-Length: 13\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let missing = fetched(&["-i", &nginx.url("/missing")]);
    assert!(missing.starts_with("HTTP/1.1 404 Not Found\r\n"), "{missing}");
    let nothing = fetched(&["-i", &nginx.url("/nothing")]);
    assert!(nothing.starts_with("HTTP/1.1 204 No Content\r\n") && nothing.ends_with("\r\n\r\n"), "{nothing}");
}

#[test]
#[ignore = "needs nginx"]
fn a_large_file() {
    let nginx = Nginx::start();
    let url = nginx.serves("large", &pattern(30_000_000));
    let file = nginx.0.folder.file("fetched", b"");
    fetched(&["-o", &file, &url]);
    assert!(fs::read(&file).unwrap() == pattern(30_000_000));
}

#[test]
#[ignore = "needs nginx"]
fn a_chunked_response() {
    let nginx = Nginx::start();
    nginx.serves("included/part", &pattern(100_000));
    let url = nginx.serves("included/whole", b"<<!--# include file=\"part\" -->>");
    let output = run(&mut fetch(&["-i", &url]));
    assert!(output.status.success(), "{output:?}");
    let at = output.stdout.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let (head, body) = output.stdout.split_at(at);
    assert!(String::from_utf8_lossy(head).contains("\r\nTransfer-Encoding: chunked\r\n"));
    assert!(body.starts_with(b"<") && body.ends_with(b">") && body[1..body.len() - 1] == pattern(100_000));
}

#[test]
#[ignore = "needs nginx"]
fn connections_are_used_until_nginx_closes_them() {
    let nginx = Nginx::start();
    assert_eq!(fetched(&["--repeat", "7", &nginx.url("/hello")]), "Hello, nginx!".repeat(7));
    let log = nginx.log();
    let place = |line: &str| {
        let mut words = line.split(' ');
        words.next();
        words.next().map(str::to_owned)
    };
    let places: Vec<_> =
        log.iter().skip_while(|line| !line.ends_with("/hello 200")).filter_map(|l| place(l)).collect();
    assert_eq!(places, ["1", "2", "3", "1", "2", "3", "1"], "{log:?}");
}

#[test]
#[ignore = "needs nginx"]
fn redirects() {
    let nginx = Nginx::start();
    assert_eq!(fetched(&["-L", &nginx.url("/moved/a")]), "Hello, nginx!");
    assert!(fetched(&["-i", &nginx.url("/moved/a")]).starts_with("HTTP/1.1 302 "));
    fetched(&["-L", "-d", "content", &nginx.url("/moved/b")]);
    fetched(&["-L", "-d", "content", &nginx.url("/kept/c")]);
    let log = nginx.log();
    let methods: Vec<_> = log.iter().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(methods, ["GET", "GET", "GET", "POST", "GET", "POST", "POST"], "{log:?}");
}

#[test]
#[ignore = "needs nginx"]
fn basic_with_redirects() {
    let nginx = Nginx::start();
    let page = nginx.serves("private/page", b"for members");
    assert!(fetched(&["-i", &page]).starts_with("HTTP/1.1 401 "));
    assert_eq!(fetched(&["-u", "user:pass", &page, &page]), "for members".repeat(2));
    assert_eq!(fetched(&["-u", "user:pass", "--auth", "basic", &page]), "for members");
    assert!(fetched(&["-i", "-u", "user:wrong", &page]).starts_with("HTTP/1.1 401 "));
    assert_eq!(fetched(&[&page.replace("//", "//user:pass@")]), "for members");
    assert_eq!(fetched(&["-L", "-u", "user:pass", &nginx.url("/to-private")]), "for members");
    let statuses: Vec<_> = nginx
        .log()
        .iter()
        .filter(|line| line.contains("/private/"))
        .map(|l| l[l.len() - 3..].to_owned())
        .collect();
    assert_eq!(
        statuses,
        ["401", "401", "200", "200", "200", "401", "401", "401", "200", "401", "200"],
        "asked first, but for the second page and where it is said at once"
    );
    // Another port is another server, and learns nothing.
    let away = ["-L", "-H", "Cookie: a=b", &nginx.url("/away")];
    for more in [&["-u", "user:pass"][..], &["-u", "user:pass", "--auth", "basic"]] {
        assert_eq!(fetched(&[&away[..], more].concat()), "user: , cookie: .");
    }
    let own = ["-L", "-H", "Authorization: Bearer token", &nginx.url("/away")];
    assert_eq!(fetched(&own), "user: , cookie: .");
}

#[test]
#[ignore = "needs nginx"]
fn uploads() {
    let nginx = Nginx::start();
    let content = nginx.0.folder.file("content", &pattern(900_000));
    for (name, more) in [("length", &[][..]), ("chunked", &["--chunked"]), ("expect", &["--expect-continue"])]
    {
        let url = nginx.url(&format!("/stored/{name}"));
        let answer = fetched(&[&["-i", "-X", "PUT", "--data-file", &content, &url], more].concat());
        assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{name}: {answer}");
        let stored = fs::read(nginx.0.folder.path().join("files/stored").join(name)).unwrap();
        assert!(stored == pattern(900_000), "{name}");
    }
}

#[test]
#[ignore = "needs nginx"]
fn a_refused_upload_is_answered() {
    let nginx = Nginx::start();
    let content = nginx.0.folder.file("content", &pattern(20_000_000));
    for more in [&[][..], &["--chunked"], &["--expect-continue"]] {
        let url = nginx.url("/stored/refused");
        let answer = fetched(&[&["-i", "-X", "PUT", "--data-file", &content, &url], more].concat());
        assert!(answer.starts_with("HTTP/1.1 413 "), "{more:?}: {answer}");
    }
}

#[test]
#[ignore = "needs nginx"]
fn nginx_in_front_of_serve_passes_everything_on() {
    let serve = Serve::start(&[]);
    let nginx = Nginx::in_front_of(&serve);
    for place in ["served", "straight", "old"] {
        let url = |path: &str| nginx.url(&format!("/{place}/{path}"));
        assert_eq!(fetched(&[&url("hello")]), "Hello, world!", "{place}");
        let head = fetched(&["-i", "-X", "HEAD", &url("bytes/1000000")]);
        assert!(head.contains("\r\nContent-Length: 1000000\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        for status in ["204", "304", "404", "503"] {
            let all = fetched(&["-i", &url(&format!("status/{status}"))]);
            assert!(all.starts_with(&format!("HTTP/1.1 {status} ")) && all.ends_with("\r\n\r\n"), "{all}");
        }
        let file = nginx.0.folder.file("fetched", b"");
        for endpoint in ["bytes", "chunked"] {
            fetched(&["-o", &file, &url(&format!("{endpoint}/5000000"))]);
            assert!(fs::read(&file).unwrap() == pattern(5_000_000), "{place} {endpoint}");
        }
        let content = nginx.0.folder.file("content", &pattern(900_000));
        for more in [&[][..], &["--chunked"], &["--expect-continue"]] {
            fetched(&[&["-o", &file, "--data-file", &content, &url("echo")], more].concat());
            assert!(fs::read(&file).unwrap() == pattern(900_000), "{place} {more:?}");
        }
    }
}

#[test]
#[ignore = "needs nginx"]
fn nginx_in_front_of_serve_uses_its_connections_again_and_survives_their_end() {
    let serve = Serve::start(&["--keep-alive-timeout", "0.3"]);
    let nginx = Nginx::in_front_of(&serve);
    let client = || {
        let inspected = fetched(&[&nginx.url("/served/inspect")]);
        let address = inspected.split(r#""client_address":""#).nth(1).unwrap();
        address.split('"').next().unwrap().to_owned()
    };
    let first = client();
    assert!((0..5).all(|_| client() == first), "one connection for all");
    std::thread::sleep(std::time::Duration::from_millis(600)); // longer than it is kept
    assert_ne!(client(), first);
}

#[test]
#[ignore = "needs nginx"]
fn nginx_in_front_of_serve_passes_files_ranges_and_conditions_on() {
    let folder = Folder::new();
    folder.file("a.bin", &pattern(100_000));
    let serve = Serve::start(&["--root", folder.path().to_str().unwrap()]);
    let nginx = Nginx::in_front_of(&serve);
    let url = nginx.url("/served/file/a.bin");
    let part = fetched(&["-i", "-H", "Range: bytes=251-260", &url]);
    assert!(part.starts_with("HTTP/1.1 206 ") && part.contains("bytes 251-260/100000"), "{part}");
    assert!(part.as_bytes().ends_with(&pattern(10)), "{part}");
    let tag = part.split("\r\nETag: ").nth(1).unwrap().split('\r').next().unwrap();
    let same = fetched(&["-i", "-H", &format!("If-None-Match: {tag}"), &url]);
    assert!(same.starts_with("HTTP/1.1 304 ") && same.ends_with("\r\n\r\n"), "{same}");
    let behind = fetched(&["-i", "-H", "Range: bytes=100000-", &url]);
    assert!(behind.starts_with("HTTP/1.1 416 "), "{behind}");
}
