//! What each layer may not know: a table of folders and the words they may not contain.
//!
//! Comments and tests are left out: they may speak of anything.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

use std::fs;
use std::path::{Path, PathBuf};

/// Sans-IO layers: no sockets, no clock that runs, no threads.
const NO_IO: &[&str] = &[
    "std::net::Tcp",
    "std::net::Udp",
    "std::net::ToSocketAddrs",
    "std::os::",
    "std::thread",
    "std::fs",
    "std::process",
    "Instant",
    "SystemTime::now",
    "socket2",
    "crate::net",
];

/// Layers above, that nobody below may use.
const ABOVE_MESSAGE: &[&str] =
    &["crate::proto", "crate::session", "crate::server", "crate::client", "crate::web", "crate::websocket"];
const ABOVE_PROTO: &[&str] =
    &["crate::session", "crate::server", "crate::client", "crate::web", "crate::websocket"];
const ABOVE_NET: &[&str] = &[
    "crate::proto",
    "crate::message",
    "crate::auth",
    "crate::session",
    "crate::server",
    "crate::client",
    "crate::web",
    "crate::websocket",
    "httparse",
];
const ABOVE_SESSION: &[&str] = &["crate::server", "crate::client", "crate::web", "crate::websocket"];
const ABOVE_SERVER: &[&str] = &["crate::client", "crate::web", "crate::websocket"];

const RULES: &[(&str, &[&[&str]])] = &[
    ("src/message", &[NO_IO, ABOVE_MESSAGE, &["httparse", "crate::auth"]]),
    ("src/auth", &[NO_IO, ABOVE_MESSAGE, &["httparse"]]),
    ("src/proto", &[NO_IO, ABOVE_PROTO]),
    ("src/net", &[ABOVE_NET]),
    ("src/session", &[ABOVE_SESSION, &["httparse"]]),
    ("src/server", &[ABOVE_SERVER, &["httparse"]]),
    ("src/client", &[&["crate::server", "crate::web", "httparse"]]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Folders of tests are tests.
            if path.file_name().is_some_and(|name| name != "tests") {
                found.extend(sources(&path));
            }
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    found
}

/// The lines that are code of the library, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn no_layer_knows_what_it_may_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut breaches = Vec::new();
    let mut seen = 0;
    for (folder, forbidden) in RULES {
        for path in sources(&root.join(folder)) {
            seen += 1;
            let text = fs::read_to_string(&path).unwrap();
            for (number, line) in code(&text) {
                for word in forbidden.iter().flat_map(|words| words.iter()) {
                    if line.contains(word) {
                        let file = path.strip_prefix(root).unwrap().display();
                        breaches.push(format!("{file}:{}: {word}", number + 1));
                    }
                }
            }
        }
    }
    assert!(seen > 20, "the sources were not found");
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn the_parser_has_one_user_and_so_have_the_time_outs_of_sockets() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (word, home) in [
        ("httparse::", "src/proto/parse.rs"),
        ("set_read_timeout", "src/net/socket.rs"),
        ("set_write_timeout", "src/net/socket.rs"),
    ] {
        for path in sources(&root.join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            if code(&text).any(|(_, line)| line.contains(word)) {
                assert_eq!(path, root.join(home), "{word}");
            }
        }
    }
}

#[test]
fn the_library_of_tls_is_known_in_one_folder_and_to_nothing_public() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let home = root.join("src/net/tls");
    for path in sources(&root.join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(path.starts_with(&home) || !code(&text).any(|(_, line)| line.contains("rustls")), "{path:?}");
    }
    // No type that a program can name is one of its parts.
    let parts =
        ["Store", "StoresServerSessions", "ProducesTickets", "Verifier", "ResolvesServerCert", "KeyLog"];
    let known: Vec<String> = sources(&home).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let lines = || known.iter().flat_map(|text| code(text)).map(|(_, line)| line.trim());
    let mut seen = 0;
    for line in lines().filter(|line| line.starts_with("impl ")) {
        let Some((of, name)) = line.split_once(" for ") else { continue };
        if parts.iter().any(|part| of.ends_with(part)) {
            seen += 1;
            let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
            assert!(!lines().any(|line| line.starts_with(&format!("pub struct {name}"))), "{line}");
        }
    }
    assert!(seen > 5, "its parts were not found");
}

#[test]
fn every_file_opens_with_its_law() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in sources(&root.join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} says nothing of itself", path.display());
    }
}
