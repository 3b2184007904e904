//! The example programs over TLS, seen from outside.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod programs;
#[path = "support/tls.rs"]
mod tls;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use programs::{Folder, Serve, fetch, fetched, pattern, run};
use tls::{Authority, Issued, self_signed};

/// An authority, and files in a folder.
struct Files {
    folder: Folder,
    authority: Authority,
}

impl Files {
    fn new() -> Files {
        let files = Files { folder: Folder::new(), authority: Authority::new("an authority") };
        files.write("ca.pem", &files.authority.pem);
        files.save("server", &files.authority.server(&["127.0.0.1", "localhost"]));
        files.save("client", &files.authority.client("somebody"));
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn save(&self, name: &str, issued: &Issued) {
        self.write(&format!("{name}.pem"), &issued.pem);
        self.write(&format!("{name}.key"), &issued.key);
    }

    fn serve(&self, more: &[&str]) -> Serve {
        let (certificate, key) = (self.name("server.pem"), self.name("server.key"));
        let mut arguments = vec!["--tls-cert", &certificate, "--tls-key", &key];
        arguments.extend(more);
        Serve::start(&arguments)
    }
}

fn refused(arguments: &[&str]) -> String {
    let output = run(&mut fetch(arguments));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn serve_and_fetch_talk_https() {
    let files = Files::new();
    let serve = files.serve(&[]);
    assert!(serve.url("/").starts_with("https://"));
    let ca = files.name("ca.pem");
    let trusting = ["--cacert", &ca];
    assert_eq!(fetched(&[&trusting[..], &[&serve.url("/hello")]].concat()), "Hello, world!");
    let told = fetched(&[&trusting[..], &[&serve.url("/inspect")]].concat());
    assert!(told.ends_with(r#""secure":true,"client_certificate_subject":null}"#), "{told}");
    let large = run(fetch(&trusting).arg(serve.url("/bytes/3000000")));
    assert_eq!(large.stdout, pattern(3_000_000));
    let upload = files.path("upload");
    fs::write(&upload, pattern(2_000_000)).unwrap();
    let upload = upload.to_str().unwrap().to_owned();
    let echo = run(fetch(&trusting).args(["--data-file", &upload, &serve.url("/echo")]));
    assert_eq!(echo.stdout, pattern(2_000_000));
    let twice = fetched(&[&trusting[..], &["-L", "--repeat", "2", &serve.url("/redirect/3")]].concat());
    assert_eq!(twice, "Hello, world!Hello, world!");
}

#[test]
fn fetch_trusts_nobody_by_itself() {
    let files = Files::new();
    let serve = files.serve(&[]);
    let error = refused(&[&serve.url("/hello")]);
    assert!(error.contains("no authority that is trusted has issued it"), "{error}");
    assert_eq!(error.matches('\n').count(), 1, "{error}");
    assert_eq!(fetched(&["--insecure", &serve.url("/hello")]), "Hello, world!");
    let other = Files::new();
    let error = refused(&["--cacert", &other.name("ca.pem"), &serve.url("/hello")]);
    assert!(error.contains("is not accepted"), "{error}");
    let own = self_signed(&["127.0.0.1"]);
    files.save("server", &own);
    let serve = files.serve(&[]);
    assert_eq!(fetched(&["--cacert", &files.name("server.pem"), &serve.url("/hello")]), "Hello, world!");
}

#[test]
fn clients_are_asked_for_certificates() {
    let files = Files::new();
    let serve = files.serve(&["--tls-client-ca", &files.name("ca.pem")]);
    let (ca, certificate, key) = (files.name("ca.pem"), files.name("client.pem"), files.name("client.key"));
    let told = fetched(&["--cacert", &ca, "--cert", &certificate, "--key", &key, &serve.url("/inspect")]);
    assert!(told.ends_with(r#""secure":true,"client_certificate_subject":"CN=somebody"}"#), "{told}");
    let error = refused(&["--cacert", &ca, &serve.url("/hello")]);
    assert!(error.contains("requires a certificate of the client"), "{error}");
    let stranger = Files::new();
    let (certificate, key) = (stranger.name("client.pem"), stranger.name("client.key"));
    refused(&["--cacert", &ca, "--cert", &certificate, "--key", &key, &serve.url("/hello")]);
}

#[test]
fn serve_reads_its_certificates_again() {
    let files = Files::new();
    let serve = files.serve(&[]);
    let old = files.name("ca.pem");
    assert_eq!(fetched(&["--cacert", &old, &serve.url("/hello")]), "Hello, world!");
    let authority = Authority::new("a new authority");
    files.write("new-ca.pem", &authority.pem);
    files.save("server", &authority.server(&["127.0.0.1"]));
    let new = files.name("new-ca.pem");
    serve.tell("HUP");
    let started = Instant::now();
    while !run(&mut fetch(&["--cacert", &new, &serve.url("/hello")])).status.success() {
        assert!(started.elapsed() < Duration::from_secs(10), "the new certificate is not shown");
    }
    refused(&["--cacert", &old, &serve.url("/hello")]);
}

#[test]
fn wrong_options_end_with_2() {
    let files = Files::new();
    for arguments in [
        vec!["--cacert".to_owned(), files.name("server.key"), "https://127.0.0.1/".to_owned()],
        vec!["--cacert".to_owned(), "/no/such/file".to_owned(), "https://127.0.0.1/".to_owned()],
        vec!["--key".to_owned(), files.name("client.key"), "https://127.0.0.1/".to_owned()],
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = run(&mut fetch(&arguments));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap().matches('\n').count(), 1);
    }
}
