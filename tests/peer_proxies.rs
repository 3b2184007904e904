//! `fetch` goes through squid and through microsocks. `tests/peers/install.sh` gets them.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

mod programs;
#[path = "support/tls.rs"]
mod tls;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use programs::{Folder, Serve, fetch, fetched, free_port, pattern, run, wait_for};
use sessile::server::HttpServer;
use tls::Authority;

const SQUID: &str = "
http_port 127.0.0.1:PORT
https_port 127.0.0.1:SECURE tls-cert=FOLDER/server.pem tls-key=FOLDER/server.key
pid_filename none
cache deny all
cache_log FOLDER/cache.log
logformat short %>p %>Hs %un %rm %ru
access_log stdio:FOLDER/access.log logformat=short
netdb_filename none
coredump_dir none
shutdown_lifetime 0 seconds
AUTHENTICATION
";

/// Who may: nobody is asked, or `user` with the password `pass`, whose names are in files.
const OPEN: &str = "http_access allow all";
const BASIC: &str = "auth_param basic program /usr/lib/squid/basic_ncsa_auth FOLDER/users";
const DIGEST: &str = "auth_param digest program /usr/lib/squid/digest_file_auth -c FOLDER/digests
auth_param digest realm proxy";
#[cfg(feature = "ntlm")]
const NTLM: &str = "auth_param ntlm program /usr/bin/python3 FOLDER/ntlm.py pass";
const KNOWN: &str = "acl known proxy_auth REQUIRED
http_access allow known
http_access deny all";

/// A proxy that runs, with a server behind it; both end with this.
struct Proxy {
    child: Child,
    folder: Folder,
    port: u16,
    /// Where it wants TLS.
    secure: u16,
    server: Serve,
}

impl Proxy {
    /// squid in front of `serve`, over plain HTTP or under TLS.
    fn squid(authentication: &[&str], https: bool) -> Proxy {
        let (folder, authority) = (Folder::new(), Authority::new("an authority"));
        let certificate = authority.server(&["127.0.0.1"]);
        let helper = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/ntlm.py");
        let helper = fs::read_to_string(helper).unwrap();
        // squid gives up being root, and must still read and write here.
        open_to_all(&folder);
        for (name, text) in [
            ("ca.pem", authority.pem.as_str()),
            ("server.pem", &certificate.pem),
            ("server.key", &certificate.key),
            // What `htpasswd -m` and `htdigest` make.
            ("users", "user:$apr1$sessile0$Si9Lxc5u24QOCtBzS7AkA.\n"),
            ("ntlm.py", &helper),
            ("digests", "user:proxy:8f6eb92f62e0f04a04bf6d6c33742100\n"),
        ] {
            folder.file(name, text.as_bytes());
        }
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (cert, key) = (path("server.pem"), path("server.key"));
        let secured = ["--tls-cert", cert.as_str(), "--tls-key", &key];
        let server = Serve::start(if https { &secured } else { &[] });
        let (port, secure) = (free_port(), free_port());
        let configuration = SQUID
            .replace("AUTHENTICATION", &authentication.join("\n"))
            .replace("PORT", &port.to_string())
            .replace("SECURE", &secure.to_string())
            .replace("FOLDER", folder.path().to_str().unwrap());
        let child = program("squid")
            // Those of one name share memory.
            .args(["-N", "-n", &format!("squid{port}")])
            .args(["-f", &folder.file("squid.conf", configuration.as_bytes())])
            .spawn()
            .unwrap();
        wait_for(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Proxy { child, folder, port, secure, server }
    }

    /// microsocks, with a password or without.
    fn socks(arguments: &[&str]) -> Proxy {
        let port = free_port();
        let child = program("microsocks")
            .args(["-i", "127.0.0.1", "-p", &port.to_string()])
            .args(arguments)
            .spawn()
            .unwrap();
        wait_for(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Proxy { child, folder: Folder::new(), port, secure: 0, server: Serve::start(&[]) }
    }

    /// Content goes through whole, in all ways in which it can be sent. It is more than a client keeps
    /// to send again, and no more than squid 5 can take at once: that believes the client to be gone
    /// where its own buffer is full (it reads 0 bytes, and gets them).
    fn uploads(&self, through: &[&str]) {
        const LENGTH: usize = 200_000;
        let mut server = HttpServer::bind("127.0.0.1:0", |request, response| {
            let length = io::copy(request, &mut io::sink())?;
            response.send_buffer(length.to_string().as_bytes())
        })
        .unwrap();
        server.start().unwrap();
        let url = format!("http://127.0.0.1:{}/", server.port());
        let content = self.folder.file("content", &pattern(LENGTH));
        for more in [&[][..], &["--chunked"], &["--expect-continue"]] {
            let seen = fetched(&[through, &["-X", "PUT", "--data-file", &content, &url], more].concat());
            assert_eq!(seen, LENGTH.to_string(), "{more:?}");
        }
        // What comes from a pipe can be sent but once.
        let mut fetch = fetch(&[through, &["-X", "PUT", "--data-file", "-", &url]].concat());
        let output = fetch.stdin(fs::File::open(&content).unwrap()).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), LENGTH.to_string());
        server.stop();
    }

    fn at(&self, user: &str) -> String {
        format!("http://{user}127.0.0.1:{}", self.port)
    }

    fn ca(&self) -> String {
        self.folder.path().join("ca.pem").to_str().unwrap().to_owned()
    }

    /// A line for each request, once there are so many: the client's port, status, user, method,
    /// target. squid writes them when it is done with a request, which may be a moment later.
    fn log(&self, requests: usize) -> Vec<Vec<String>> {
        let start = Instant::now();
        loop {
            let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap();
            let lines = log.lines().map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
            // Whoever looked whether squid listens asked for nothing.
            let lines: Vec<_> = lines.filter(|line| line[1] != "0").collect();
            if lines.len() >= requests {
                return lines;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The statuses of the first requests, and who made them.
    fn answers(&self, requests: usize) -> Vec<(String, String)> {
        self.log(requests).into_iter().map(|line| (line[1].clone(), line[2].clone())).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of the system's, which may not be where users look.
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    command.env("PATH", path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn open_to_all(folder: &Folder) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

const HELLO: &str = "Hello, world!";

#[test]
#[ignore = "needs squid"]
fn squid_passes_requests_on_over_one_connection() {
    let proxy = Proxy::squid(&[OPEN], false);
    let url = proxy.server.url("/hello");
    assert_eq!(fetched(&["-x", &proxy.at(""), "--repeat", "3", &url]), HELLO.repeat(3));
    let log = proxy.log(3);
    assert_eq!(log.len(), 3, "{log:?}");
    assert!(log.iter().all(|line| line[0] == log[0][0] && line[4] == url), "{log:?}");
    proxy.uploads(&["-x", &proxy.at("")]);
    let seen = fetched(&["-x", &proxy.at(""), &proxy.server.url("/inspect")]);
    assert!(seen.contains("\"Via\"") && !seen.contains("Proxy-"), "{seen}");
}

#[test]
#[ignore = "needs squid"]
fn squid_knows_the_user_by_basic() {
    let proxy = Proxy::squid(&[BASIC, KNOWN], false);
    let url = proxy.server.url("/hello");
    assert_eq!(fetched(&["-x", &proxy.at("user:pass@"), &url, &url]), HELLO.repeat(2));
    let refused = fetched(&["-i", "-x", &proxy.at("user:wrong@"), &url]);
    assert!(refused.starts_with("HTTP/1.1 407 "), "{refused}");
    let nobody = fetched(&["-i", "-x", &proxy.at(""), &url]);
    assert!(nobody.starts_with("HTTP/1.1 407 "), "{nobody}");
    let answers = proxy.answers(4);
    assert_eq!(answers[..2], pairs(&[("200", "user"), ("200", "user")]), "{answers:?}");
    assert_eq!(answers.len(), 4, "{answers:?}");
}

#[test]
#[ignore = "needs squid"]
fn squid_knows_the_user_by_digest_and_asks_once() {
    let proxy = Proxy::squid(&[DIGEST, KNOWN], false);
    let url = proxy.server.url("/hello");
    let through = ["-x", &proxy.at("user:pass@"), "--proxy-auth", "digest"];
    assert_eq!(fetched(&[&through[..], &["--repeat", "3", &url]].concat()), HELLO.repeat(3));
    assert_eq!(proxy.answers(4), pairs(&[("407", "-"), ("200", "user"), ("200", "user"), ("200", "user")]));
    // It asks before it has taken the content.
    proxy.uploads(&through);
    let wrong = ["-i", "-x", &proxy.at("user:wrong@"), "--proxy-auth", "digest", &url];
    assert!(fetched(&wrong).starts_with("HTTP/1.1 407 "));
}

#[cfg(feature = "ntlm")]
#[test]
#[ignore = "needs squid and python3"]
fn squid_knows_the_connection_by_ntlm() {
    let proxy = Proxy::squid(&[NTLM, KNOWN], false);
    let url = proxy.server.url("/hello");
    let mut seen = 0;
    for user in ["DOMAIN%5Cuser:pass@", "user:pass@", "user%40domain.test:pass@"] {
        let through = ["-x", &proxy.at(user), "--proxy-auth", "ntlm"];
        assert_eq!(fetched(&[&through[..], &["--repeat", "3", &url]].concat()), HELLO.repeat(3));
        let log = proxy.log(seen + 5).split_off(seen);
        let statuses: Vec<_> = log.iter().map(|line| line[1].as_str()).collect();
        assert_eq!(statuses, ["407", "407", "200", "200", "200"], "{log:?}");
        assert!(log[2..].iter().all(|line| line[0] == log[2][0] && line[2] == "user"), "{log:?}");
        assert_eq!(fetched(&[&through[..], &["-d", "small", &proxy.server.url("/echo")]].concat()), "small");
        seen += 5 + 3;
        proxy.log(seen);
    }
    let through = ["-x", &proxy.at("user:pass@"), "--proxy-auth", "ntlm"];
    proxy.uploads(&through);
    let wrong = ["-i", "-x", &proxy.at("user:wrong@"), "--proxy-auth", "ntlm", &url];
    assert!(fetched(&wrong).starts_with("HTTP/1.1 407 "));
}

#[test]
#[ignore = "needs squid"]
fn squid_makes_tunnels_for_those_it_knows() {
    let mut ways =
        vec![(OPEN, "basic", "", 1), (BASIC, "basic", "user:pass@", 1), (DIGEST, "digest", "user:pass@", 2)];
    #[cfg(feature = "ntlm")]
    ways.push((NTLM, "ntlm", "user:pass@", 3));
    for (authentication, method, user, rounds) in ways {
        let rest = if authentication == OPEN { "" } else { KNOWN };
        let proxy = Proxy::squid(&[authentication, rest], true);
        let through = ["--cacert", &proxy.ca(), "-x", &proxy.at(user), "--proxy-auth", method];
        let url = proxy.server.url("/hello");
        assert_eq!(fetched(&[&through[..], &["--repeat", "2", &url]].concat()), HELLO.repeat(2));
        let content = proxy.folder.file("content", &pattern(3_000_000));
        let echo = proxy.server.url("/echo");
        let output = run(fetch(&through).args(["--data-file", &content, &echo]));
        assert!(output.stdout == pattern(3_000_000), "{method}: {:?}", output.status);
        let log = proxy.log(2 * rounds);
        assert!(log.iter().all(|line| line[3] == "CONNECT"), "{log:?}");
        assert_eq!(log.len(), 2 * rounds, "{method}: {log:?}");
        if rounds > 1 {
            let output = run(&mut fetch(&["--cacert", &proxy.ca(), "-x", &proxy.at(""), &url]));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(1) && said.contains("407"), "{said}");
        }
    }
}

#[test]
#[ignore = "needs squid"]
fn squid_is_spoken_with_under_tls_and_tls_goes_through_it() {
    for https in [false, true] {
        let proxy = Proxy::squid(&[BASIC, KNOWN], https);
        let at = format!("https://user:pass@127.0.0.1:{}", proxy.secure);
        let through = ["--cacert", &proxy.ca(), "-x", &at];
        let url = proxy.server.url("/hello");
        assert_eq!(fetched(&[&through[..], &[&url, &url]].concat()), HELLO.repeat(2));
        if https {
            let content = proxy.folder.file("content", &pattern(3_000_000));
            let echo = proxy.server.url("/echo");
            let output = run(fetch(&through).args(["--data-file", &content, &echo]));
            assert!(output.stdout == pattern(3_000_000), "{:?}", output.status);
        } else {
            proxy.uploads(&through);
        }
        let log = proxy.log(2);
        assert!(log.iter().all(|line| (line[3] == "CONNECT") == https), "{log:?}");
        // Nobody vouches for it.
        let output = run(&mut fetch(&["-x", &at, &url]));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
}

#[test]
#[ignore = "needs microsocks"]
fn microsocks_connects_to_names_and_addresses() {
    let proxy = Proxy::socks(&[]);
    let url = proxy.server.url("/hello");
    let named = url.replace("127.0.0.1", "localhost");
    for scheme in ["socks5", "socks5h"] {
        let at = format!("{scheme}://127.0.0.1:{}", proxy.port);
        assert_eq!(fetched(&["-x", &at, "--repeat", "2", &url, &named]), HELLO.repeat(4));
    }
    let content = proxy.folder.file("content", &pattern(3_000_000));
    let at = format!("socks5h://127.0.0.1:{}", proxy.port);
    let output = run(&mut fetch(&["-x", &at, "--data-file", &content, &proxy.server.url("/echo")]));
    assert!(output.stdout == pattern(3_000_000), "{:?}", output.status);
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    let output = run(&mut fetch(&["-x", &at, &nobody]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("SOCKS"), "{said}");
}

#[test]
#[ignore = "needs microsocks"]
fn microsocks_wants_a_password() {
    let proxy = Proxy::socks(&["-u", "user", "-P", "pass"]);
    let url = proxy.server.url("/hello");
    let at = |user: &str| format!("socks5h://{user}127.0.0.1:{}", proxy.port);
    assert_eq!(fetched(&["-x", &at("user:pass@"), &url]), HELLO);
    for wrong in ["", "user:wrong@"] {
        let output = run(&mut fetch(&["-x", &at(wrong), &url]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains("SOCKS"), "{said}");
        assert!(!said.contains("wrong"), "{said}");
    }
}
