//! Whom a request is for: targets and `Host`.

use super::requests::{LINE, accepted, line_is, refused_with};
use super::*;

#[test]
fn a_target_has_the_form_its_method_wants() {
    for line in [
        "GET /",
        "GET /inspect?a=1&b=2",
        "GET /?",
        "GET /?a?b",
        "GET /?/../x",
        "GET /?%41%00%ff",
        "GET //",
        "GET http://h.test/inspect",
        "GET http://h.test:8080/inspect?q=1",
        "GET HTTP://h.test/",
        "GET http://h.test",
        "GET https://h.test/",
        "GET http://h.test?x=1",
        "GET http://h.test:/",
        "GET http://[::1]:80/x",
        "OPTIONS *",
        "OPTIONS /",
        "OPTIONS http://h.test",
        "CONNECT h.test:443",
        "CONNECT [::1]:443",
        "CONNECT 127.0.0.1:1",
        "GET /a:b@c//d",
        "GET /http://x/",
        // Not of RFC 3986, but sent by browsers.
        "GET /inspect{}|^`",
        "GET /inspect\"<>",
        "GET /%zz",
        "GET /%",
        "GET /a\\b",
    ] {
        line_is(format!("{line} HTTP/1.1").as_bytes(), &format!("{line} HTTP/1.1"));
    }
    for line in [
        "GET http:///inspect",
        "GET http://:80/inspect",
        "GET h.test:80",
        "GET inspect",
        "GET !",
        "GET ?x=1",
        "GET *",
        "GET */inspect",
        "GET /inspect\x01",
        "GET /inspect\x7f",
        "GET /inspect\0x",
        "GET /inspect#frag",
        "GET /#",
        "GET http://h.test:99999999/inspect",
        "GET http://h%20t:x/inspect",
        "OPTIONS *foo",
        "OPTIONS **",
        "GET http://u@h.test/",
        "GET http://u:p@h.test/",
        "GET ftp://h.test/",
        "GET http:/x",
        "GET http:x",
        "GET ://h/",
        "GET http://h.test:65536/",
        "GET http://[::1/",
        "GET http://[::1]x/",
        "GET http://a,b/",
        "GET http://h.test#x",
        "GET mailto:x",
        "CONNECT /",
        "CONNECT h.test",
        "CONNECT h.test:",
        "CONNECT :443",
        "CONNECT h.test:443/",
        "CONNECT http://h.test:443",
        "CONNECT *",
        "CONNECT h.test:99999",
        "CONNECT u@h.test:443",
        "GET \\inspect",
        "POST *",
        "HEAD *",
    ] {
        refused_with(400, &request(format!("{line} HTTP/1.1").as_bytes(), &[]));
    }
    for line in
        [&b"GET /inspect\xc3\xa9 HTTP/1.1"[..], b"GET /\xff\xfe HTTP/1.1", b"GET \xef\xbb\xbf/ HTTP/1.1"]
    {
        refused_with(400, &request(line, &[]));
    }
}

#[test]
fn a_target_of_8000_bytes_is_taken() {
    let line = format!("GET /inspect?{} HTTP/1.1", "a".repeat(7960));
    line_is(line.as_bytes(), &line);
}

#[test]
fn host_is_there_once() {
    assert_eq!(accepted(&request_with_host(b"GET / HTTP/1.0", None, &[])).fields, []);
    refused_with(400, &request_with_host(LINE, None, &[]));
    refused_with(400, &request_with_host(b"GET http://h.test/ HTTP/1.1", None, &[]));
    for again in [&b"Host: h.test"[..], b"Host: evil.test", b"hOST: evil.test", b"Host:"] {
        refused_with(400, &request(LINE, &[again]));
        refused_with(400, &request(LINE, &[b"X: y", again]));
        refused_with(400, &request(b"GET / HTTP/1.0", &[again]));
    }
}

#[test]
fn host_is_a_host_and_port() {
    for host in [
        "h.test",
        "h.test:8080",
        "h.test:",
        "[::1]",
        "[2001:db8::1]:8080",
        "127.0.0.1:80",
        "h.test.",
        "a_b",
        "H.TEST",
        "xn--bcher-kva.example",
        "a!b$c",
        "a%20b",
        "",
        " \t h.test \t",
        "h.test:65535",
        "h.test:0",
        "[::ffff:1.2.3.4]",
    ] {
        accepted(&request_with_host(LINE, Some(format!("Host: {host}").as_bytes()), &[]));
    }
    for host in [
        "###",
        "a b",
        "a/b",
        "a,b",
        "a, b",
        "u@h.test",
        "[::1",
        "[::1]x",
        "[::zz]",
        "h.test:ab",
        "h.test:-1",
        "h.test:99999999",
        "h.test:65536",
        "h.test:80:80",
        "http://h.test",
        "h\"x",
        "h<x>",
        "h\\x",
        "h?x",
        "h\0x",
        "h\x01x",
        "h\x7f",
        "h%zz",
        "h%4",
        "h%",
        "h|x",
        "h^x",
        ":80",
        ":",
        "[]",
        "[]:80",
        "[v1.x]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "::1",
        "h]",
        "[",
        "h\u{e9}",
        "h.test:+80",
        "h.test: 80",
        "h`x",
        "h{x}",
        "\u{ff48}",
        "h.test:18446744073709551617",
        "1.2.3.4/24",
        "a\tb",
    ] {
        refused_with(400, &request_with_host(LINE, Some(format!("Host: {host}").as_bytes()), &[]));
    }
    refused_with(400, &request_with_host(LINE, Some(b"Host: h.test\r\n x"), &[]));
    refused_with(400, &request_with_host(LINE, Some(b"Host : h.test"), &[]));
    refused_with(400, &request_with_host(LINE, Some(b"Host: \xff"), &[]));
    // Of HTTP/1.0 too, where it is there.
    refused_with(400, &request_with_host(b"GET / HTTP/1.0", Some(b"Host: a b"), &[]));
}
