//! The invariants of the fuzz targets, over their seeds and what is made of those at random: the
//! same on every run.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

#[allow(unreachable_pub)] // it is a library for the fuzz targets
#[path = "../fuzz/src/lib.rs"]
mod invariants;
#[path = "support/random.rs"]
mod random;

use random::Random;

const ROUNDS: usize = 20_000;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds
}

fn smoke(target: &str, words: &[&[u8]], holds: fn(&[u8])) {
    let seeds = seeds(target);
    let mut random = Random(0x5e55_11e0);
    for round in 0..seeds.len() + ROUNDS {
        let data = match seeds.get(round) {
            Some(seed) => seed.clone(),
            None => mutated(&seeds, words, &mut random),
        };
        if catch_unwind(AssertUnwindSafe(|| holds(&data))).is_err() {
            panic!("{target}, round {round}: b\"{}\"", data.escape_ascii());
        }
    }
}

/// A seed with a few changes: bytes, words of the grammar, pieces of other seeds.
fn mutated(seeds: &[Vec<u8>], words: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..1 + random.below(4) {
        let start = random.below(data.len() + 1);
        let end = data.len().min(start + random.below(12));
        match random.below(7) {
            0 => drop(data.drain(start..end)),
            1 => data.truncate(start),
            2 => data.insert(start, random.next() as u8),
            3 => drop(data.splice(start..end, words[random.below(words.len())].iter().copied())),
            4 => drop(data.splice(start..start, words[random.below(words.len())].iter().copied())),
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let to = other.len().min(from + random.below(40));
                data.splice(start..end, other[from..to].iter().copied());
            }
            _ => {
                if let Some(byte) = data.get_mut(start) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    data
}

const HEAD: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b": ",
    b" ",
    b"\t",
    b"\0",
    b"\xff",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: a\r\n",
    b"\r\n\r\n",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"1",
    b",",
    b"chunked",
];

#[test]
fn request_heads() {
    smoke("request_head", HEAD, invariants::request_head);
}

#[test]
fn response_heads() {
    smoke("response_head", HEAD, invariants::response_head);
}

#[test]
fn chunked_content() {
    let words: &[&[u8]] = &[
        b"\r\n",
        b"0\r\n\r\n",
        b";a=b",
        b";a=\"\\\"\"",
        b"f",
        b"0",
        b"\n",
        b"\r",
        b"A: b\r\n",
        b" ",
        b"\xff",
    ];
    smoke("chunked", words, invariants::chunked);
}

#[test]
fn multipart_bodies() {
    let words: &[&[u8]] = &[
        b"\r\n--b",
        b"--b\r\n",
        b"--b--",
        b"\r\n",
        b"\r",
        b"\n",
        b"--",
        b"b",
        b"\r\n\r\n",
        b"Content-Disposition: form-data; name=\"a\"\r\n",
        b"; filename*=UTF-8''%e2%82%ac",
        b"\"",
        b" ",
    ];
    smoke("multipart", words, invariants::multipart);
}

#[test]
fn cookies() {
    let words: &[&[u8]] = &[
        b"; ",
        b"=",
        b"\"",
        b"; Path=/",
        b"; Domain=.a.b",
        b"; Max-Age=-1",
        b"; Expires=Wed, 21 Oct 2015 07:28:00 GMT",
        b"; Secure",
        b"; SameSite=None",
        b" ",
        b"\xc3\xa4",
        b",",
    ];
    smoke("cookie", words, invariants::cookie);
}

#[test]
fn uris() {
    let words: &[&[u8]] = &[
        b"\n",
        b"http://",
        b"wss://",
        b"//",
        b"/",
        b"..",
        b"?",
        b"#",
        b"@",
        b":",
        b"%20",
        b"%",
        b"[::1]",
        b":80",
        b"\xc3\xa4",
        b" ",
        b"65536",
    ];
    smoke("uri", words, invariants::uri);
}

#[test]
fn challenges() {
    let words: &[&[u8]] = &[
        b", ",
        b"Basic ",
        b"Digest ",
        b"realm=",
        b"\"a, b\"",
        b"\"\\\"\"",
        b"qop=\"auth,auth-int\"",
        b"algorithm=SHA-256",
        b"nonce=\"x\"",
        b"=",
        b" ",
        b"NTLM ",
        b"QUJD==",
        b"userhash=true",
        b"charset=UTF-8",
        b"\xc3\xa4",
    ];
    smoke("challenge", words, invariants::challenge);
}

#[test]
#[cfg(feature = "websocket")]
fn frames() {
    let words: &[&[u8]] = &[
        b"\x81\x00",
        b"\x81\x80\0\0\0\0",
        b"\x01\x83\0\0\0\0abc",
        b"\x80\x80\0\0\0\0",
        b"\x89\x00",
        b"\x88\x82\0\0\0\0\x03\xe8",
        b"\x8a\x80\0\0\0\0",
        b"\x7e\x00\x7d",
        b"\x7f",
        b"\xff",
        b"\0",
    ];
    smoke("websocket_frame", words, invariants::websocket_frame);
}

#[test]
fn events() {
    let words: &[&[u8]] = &[
        b"\n",
        b"\r",
        b"\r\n",
        b"data:",
        b"data: x\n\n",
        b"id: 1\n",
        b"event:",
        b"retry: 5\n",
        b":",
        b" ",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
    ];
    smoke("events", words, invariants::events);
}
