//! Files: validators, conditions, ranges, and folders that nothing escapes from.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/server.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use sessile::message::StatusCode;
use sessile::server::{FileService, HttpServer, HttpServerParams};
use support::{Answer, Client, End, Running};

/// A folder of its own for each test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("sessile-files-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn serving(root: &Path) -> Running {
    let files = FileService::new(root).unwrap().with_prefix("/file/");
    Running::run(HttpServer::with_handler(HttpServerParams::new(), files).listen("127.0.0.1:0").unwrap())
}

fn ask(client: &mut Client, method: &str, path: &str, fields: &str) -> Answer {
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")).answer_to(method)
}

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

#[test]
fn a_file_comes_with_its_type_its_length_and_its_validators() {
    let folder = Folder::new();
    folder.file("a.html", "<p>hello</p>");
    folder.file("deep/er/b.bin", bytes(300_000));
    let server = serving(&folder.0);
    let mut client = server.connect();
    let page = ask(&mut client, "GET", "/file/a.html", "");
    assert_eq!((page.status, page.text()), (200, "<p>hello</p>".into()));
    assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("Accept-Ranges"), Some("bytes"));
    assert!(page.header("ETag").is_some_and(|tag| tag.starts_with('"') && tag.ends_with('"')));
    assert!(page.header("Last-Modified").is_some_and(|date| date.ends_with("GMT")));
    let large = ask(&mut client, "GET", "/file/deep/er/b.bin", "");
    assert!(large.body == bytes(300_000));
    assert_eq!(large.header("Content-Type"), Some("application/octet-stream"));
    let head = ask(&mut client, "HEAD", "/file/deep/er/b.bin", "");
    assert_eq!(
        (head.status, head.header("Content-Length"), head.header("ETag")),
        (200, Some("300000"), large.header("ETag"))
    );
    let small_head = ask(&mut client, "HEAD", "/file/a.html", "");
    assert_eq!(small_head.header("Content-Length"), Some("12"));
    // The connection is as good as before.
    assert_eq!(ask(&mut client, "GET", "/file/a.html", "").text(), "<p>hello</p>");
}

#[test]
fn an_empty_file_and_one_of_many_megabytes_come_whole() {
    let folder = Folder::new();
    folder.file("empty", "");
    let data = bytes(6_000_000);
    folder.file("large", &data);
    let server = serving(&folder.0);
    let mut client = server.connect();
    let empty = ask(&mut client, "GET", "/file/empty", "");
    assert_eq!((empty.status, empty.header("Content-Length")), (200, Some("0")));
    assert!(ask(&mut client, "GET", "/file/large", "").body == data);
}

#[test]
fn conditions_are_obeyed() {
    let folder = Folder::new();
    folder.file("a.txt", "hello");
    let server = serving(&folder.0);
    let mut client = server.connect();
    let first = ask(&mut client, "GET", "/file/a.txt", "");
    let (tag, date) =
        (first.header("ETag").unwrap().to_owned(), first.header("Last-Modified").unwrap().to_owned());
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (fields, status) in [
        (format!("If-None-Match: {tag}\r\n"), 304),
        (format!("If-None-Match: \"x\", W/{tag}\r\n"), 304),
        ("If-None-Match: *\r\n".into(), 304),
        ("If-None-Match: \"x\"\r\n".into(), 200),
        (format!("If-Modified-Since: {date}\r\n"), 304),
        (format!("If-Modified-Since: {old}\r\n"), 200),
        (format!("If-Match: {tag}\r\n"), 200),
        ("If-Match: \"x\"\r\n".into(), 412),
        (format!("If-Unmodified-Since: {old}\r\n"), 412),
        (format!("If-Unmodified-Since: {date}\r\n"), 200),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {date}\r\n"), 200),
    ] {
        let answer = ask(&mut client, "GET", "/file/a.txt", &fields);
        assert_eq!(answer.status, status, "{fields}");
        if status == 304 {
            assert_eq!(answer.header("ETag"), Some(&*tag));
            assert_eq!((answer.header("Content-Length"), answer.header("Transfer-Encoding")), (None, None));
        }
    }
}

#[test]
fn a_changed_file_has_another_tag_within_the_same_second() {
    let folder = Folder::new();
    let path = folder.file("a.txt", "one");
    let server = serving(&folder.0);
    let mut client = server.connect();
    let time = SystemTime::now() - Duration::from_secs(100);
    let set =
        |time: SystemTime| fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    set(time);
    let one = ask(&mut client, "GET", "/file/a.txt", "").header("ETag").unwrap().to_owned();
    set(time + Duration::from_nanos(1000));
    let two = ask(&mut client, "GET", "/file/a.txt", "").header("ETag").unwrap().to_owned();
    assert_ne!(one, two);
}

#[test]
fn a_file_from_the_future_was_not_modified_later_than_now() {
    let folder = Folder::new();
    let path = folder.file("a.txt", "one");
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(SystemTime::now() + Duration::from_secs(1_000_000))
        .unwrap();
    let server = serving(&folder.0);
    let answer = ask(&mut server.connect(), "GET", "/file/a.txt", "");
    let said = sessile::message::parse_http_date(answer.header("Last-Modified").unwrap()).unwrap();
    assert!(said <= SystemTime::now());
}

#[test]
fn one_range_is_a_206_and_one_behind_the_end_a_416() {
    let folder = Folder::new();
    let data = bytes(100_000);
    folder.file("a.bin", &data);
    let server = serving(&folder.0);
    let mut client = server.connect();
    for (range, start, end) in [
        ("0-0", 0, 1),
        ("10-19", 10, 20),
        ("99990-", 99_990, 100_000),
        ("-5", 99_995, 100_000),
        ("5-9999999", 5, 100_000),
    ] {
        let answer = ask(&mut client, "GET", "/file/a.bin", &format!("Range: bytes={range}\r\n"));
        assert_eq!(answer.status, 206, "{range}");
        let said = format!("bytes {start}-{}/100000", end - 1);
        assert_eq!(answer.header("Content-Range"), Some(&*said));
        assert!(answer.body == data[start..end], "{range}");
    }
    let behind = ask(&mut client, "GET", "/file/a.bin", "Range: bytes=100000-\r\n");
    assert_eq!((behind.status, behind.header("Content-Range")), (416, Some("bytes */100000")));
    for ignored in
        ["Range: lines=1-2\r\n", "Range: bytes=x\r\n", "Range: bytes=0-1\r\nIf-Range: \"other\"\r\n"]
    {
        let answer = ask(&mut client, "GET", "/file/a.bin", ignored);
        assert_eq!((answer.status, answer.body.len()), (200, 100_000), "{ignored}");
    }
    let head = ask(&mut client, "HEAD", "/file/a.bin", "Range: bytes=0-1\r\n");
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("100000")));
}

#[test]
fn a_download_is_resumed_by_its_tag() {
    let folder = Folder::new();
    let data = bytes(50_000);
    folder.file("a.bin", &data);
    let server = serving(&folder.0);
    let mut client = server.connect();
    let tag = ask(&mut client, "HEAD", "/file/a.bin", "").header("ETag").unwrap().to_owned();
    let rest = ask(&mut client, "GET", "/file/a.bin", &format!("Range: bytes=20000-\r\nIf-Range: {tag}\r\n"));
    assert_eq!(rest.status, 206);
    assert!(rest.body == data[20_000..]);
}

#[test]
fn several_ranges_come_in_one_multipart() {
    let folder = Folder::new();
    let data = bytes(200_000);
    folder.file("a.txt", &data);
    let server = serving(&folder.0);
    let mut client = server.connect();
    let answer = ask(&mut client, "GET", "/file/a.txt", "Range: bytes=0-9, 100-100099, -3\r\n");
    assert_eq!(answer.status, 206);
    let boundary = answer
        .header("Content-Type")
        .unwrap()
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap()
        .to_owned();
    let mut expected = Vec::new();
    for (start, end) in [(0, 10), (100, 100_100), (199_997, 200_000)] {
        expected.extend_from_slice(
            format!(
                "\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {start}-{}/200000\r\n\r\n",
                end - 1
            )
            .as_bytes(),
        );
        expected.extend_from_slice(&data[start..end]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(answer.body == expected);
    assert_eq!(answer.header("Content-Range"), None);
    let greedy = ask(&mut client, "GET", "/file/a.txt", "Range: bytes=0-,0-,0-,0-\r\n");
    assert_eq!((greedy.status, greedy.body.len()), (200, 200_000));
}

#[test]
fn nothing_escapes_from_the_folder() {
    let folder = Folder::new();
    folder.file("secret.txt", "secret");
    folder.file("root/a.txt", "inside");
    folder.file("root/sub/b.txt", "inside too");
    folder.file("root-other/c.txt", "secret");
    let root = folder.0.join("root");
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("../secret.txt", root.join("out.txt")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("/etc", root.join("etc")).unwrap();
        symlink(folder.0.join("root-other"), root.join("other")).unwrap();
        symlink("a.txt", root.join("alias.txt")).unwrap();
        symlink("sub", root.join("alias")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
    }
    let server = serving(&root);
    for path in [
        "/file/../secret.txt",
        "/file/%2e%2e/secret.txt",
        "/file/%2E%2e%2Fsecret.txt",
        "/file/..%2fsecret.txt",
        "/file/..%5csecret.txt",
        "/file/..\\secret.txt",
        "/file/sub/../../secret.txt",
        "/file/sub/%2e%2e/%2e%2e/secret.txt",
        "/file//etc/passwd",
        "/file/%2fetc/passwd",
        "/file/out.txt",
        "/file/up/secret.txt",
        "/file/etc/passwd",
        "/file/other/c.txt",
        "/file/a.txt%00.html",
        "/file/%c0%ae%c0%ae/secret.txt",
        "/file/..;/secret.txt",
        "/file/./a.txt",
        "/file/%252e%252e/secret.txt",
        "/file/loop",
        "/file/a.txt/",
        "/file/a.txt/b",
        "/file/nothing",
        "/file/sub",
        "/file/",
        "/file/../root-other/c.txt",
        "/file",
        "/other",
    ] {
        let answer = ask(&mut server.connect(), "GET", path, "");
        assert!(matches!(answer.status, 404 | 400), "{path}: {}", answer.status);
        assert!(!answer.text().contains("secret") || answer.status == 400, "{path}");
    }
    let mut client = server.connect();
    assert_eq!(ask(&mut client, "GET", "/file/a.txt", "").text(), "inside");
    assert_eq!(ask(&mut client, "GET", "/file/%61.txt", "").text(), "inside");
    assert_eq!(ask(&mut client, "GET", "/file/a.txt?x=../..", "").text(), "inside");
    if cfg!(unix) {
        assert_eq!(ask(&mut client, "GET", "/file/alias.txt", "").text(), "inside");
        assert_eq!(ask(&mut client, "GET", "/file/alias/b.txt", "").text(), "inside too");
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_opened() {
    let folder = Folder::new();
    let pipe = folder.0.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        return;
    }
    let _socket = std::os::unix::net::UnixListener::bind(folder.0.join("socket")).unwrap();
    let server = serving(&folder.0);
    for path in ["/file/pipe", "/file/socket"] {
        assert_eq!(ask(&mut server.connect(), "GET", path, "").status, 404, "{path}");
    }
}

#[test]
fn a_folder_is_its_index_page_and_never_a_list() {
    let folder = Folder::new();
    folder.file("with/index.html", "index");
    folder.file("without/a.txt", "a");
    let server = serving(&folder.0);
    let mut client = server.connect();
    assert_eq!(ask(&mut client, "GET", "/file/with/", "").text(), "index");
    let moved = ask(&mut client, "GET", "/file/with", "");
    assert_eq!((moved.status, moved.header("Location")), (301, Some("/file/with/")));
    assert_eq!(ask(&mut client, "GET", "/file/without/", "").status, 404);
    assert_eq!(ask(&mut client, "GET", "/file/without", "").status, 404);
    let plain = FileService::new(&folder.0).unwrap().with_index(None);
    let plain =
        Running::run(HttpServer::with_handler(HttpServerParams::new(), plain).listen("127.0.0.1:0").unwrap());
    assert_eq!(ask(&mut plain.connect(), "GET", "/with/", "").status, 404);
}

#[test]
fn only_get_and_head_are_allowed() {
    let folder = Folder::new();
    folder.file("a.txt", "a");
    let server = serving(&folder.0);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = ask(&mut server.connect(), method, "/file/a.txt", "");
        assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_read_is_403() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let path = folder.file("a.txt", "a");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    if fs::read(&path).is_ok() {
        return; // root may read everything
    }
    let server = serving(&folder.0);
    assert_eq!(ask(&mut server.connect(), "GET", "/file/a.txt", "").status, 403);
}

#[test]
fn a_handler_sends_single_files_with_its_own_type_and_status() {
    let folder = Folder::new();
    let path = folder.file("a.html", "not here");
    let missing = folder.0.join("missing");
    let server = Running::with(HttpServerParams::new(), move |request, response| match request.path() {
        "/404" => {
            response.set_status(StatusCode::NOT_FOUND).set_content_type("text/x-own");
            response.send_file(&path)
        }
        "/folder" => response.send_file(path.parent().unwrap()),
        _ => response.send_file(&missing),
    });
    let own = ask(&mut server.connect(), "GET", "/404", "If-None-Match: *\r\nRange: bytes=0-1\r\n");
    assert_eq!(
        (own.status, own.header("Content-Type"), own.text()),
        (404, Some("text/x-own"), "not here".into())
    );
    for path in ["/missing", "/folder"] {
        let missing = ask(&mut server.connect(), "GET", path, "");
        assert_eq!(missing.status, 404);
        assert!(
            !missing.text().contains("sessile-files"),
            "no path of the server is told: {}",
            missing.text()
        );
    }
}

#[test]
fn a_file_that_shrinks_on_the_way_does_not_look_whole() {
    let folder = Folder::new();
    let path = folder.file("a.bin", bytes(12_000_000));
    let server = serving(&folder.0);
    let mut client = server.connect();
    client.get("/file/a.bin");
    // The head is there, so the file is open; most of it does not fit into the socket.
    let mut byte = [0; 1];
    std::io::Read::read_exact(&mut client.stream, &mut byte).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
    let mut got = 1;
    let mut block = vec![0; 65536];
    while let Ok(n @ 1..) = std::io::Read::read(&mut client.stream, &mut block) {
        got += n;
    }
    assert!(got < 12_000_000, "{got}");
}

#[test]
fn a_slow_reader_gets_the_file_or_loses_its_connection_in_time() {
    let folder = Folder::new();
    folder.file("a.bin", bytes(12_000_000));
    let files = FileService::new(&folder.0).unwrap();
    let params = HttpServerParams::new().with_timeout(Duration::from_millis(200));
    let server = Running::run(HttpServer::with_handler(params, files).listen("127.0.0.1:0").unwrap());
    let mut client = server.connect();
    client.get("/a.bin");
    support::until("the connection is given up", || {
        server.handle.current_connections() == 0 && server.handle.total_connections() == 1
    });
    assert_ne!(client.end_of_anything(), End::Open);
}
