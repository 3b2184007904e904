//! A server that answers as a test says and remembers what it was asked.

#![allow(dead_code)] // each test file uses its part

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Which connection it came on, and which request on that it was; both from 1 on.
    pub(crate) connection: usize,
    pub(crate) number: usize,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) head: String,
    pub(crate) content: Vec<u8>,
}

impl Asked {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, value) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Ends when the process does.
pub(crate) struct Origin {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Origin {
    /// One that answers each request, and goes on with the connection while `true` is returned.
    pub(crate) fn serving(answer: impl Fn(&Asked, &mut TcpStream) -> bool + Send + Sync + 'static) -> Origin {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, remember) = (Arc::new(answer), seen.clone());
        let port = Origin::raw(move |connection, stream| {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            for number in 1.. {
                let Some(mut asked) = head(&mut reader, connection, number) else { return };
                asked.content = content(&mut reader, &asked, stream);
                remember.lock().unwrap().push(asked.clone());
                if !answer(&asked, stream) {
                    return;
                }
            }
        });
        Origin { port, seen }
    }

    /// One that answers everything with this.
    pub(crate) fn saying(text: &'static str) -> Origin {
        Origin::serving(move |_, stream| say(stream, text))
    }

    /// The port of one that does what it wants with each connection.
    pub(crate) fn raw(act: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let act = Arc::new(act);
        thread::spawn(move || {
            for connection in 1.. {
                let Ok((mut stream, _)) = listener.accept() else { return };
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                stream.set_nodelay(true).unwrap();
                let act = act.clone();
                thread::spawn(move || act(connection, &mut stream));
            }
        });
        port
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it was asked so far.
    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().unwrap().clone()
    }
}

pub(crate) fn say(stream: &mut TcpStream, text: &str) -> bool {
    stream.write_all(text.as_bytes()).is_ok()
}

/// Says a whole response with this content.
pub(crate) fn answer(stream: &mut TcpStream, head: &str, content: &[u8]) -> bool {
    let mut bytes = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", content.len()).into_bytes();
    bytes.extend_from_slice(content);
    stream.write_all(&bytes).is_ok()
}

pub(crate) fn redirect(stream: &mut TcpStream, status: u16, location: &str) -> bool {
    answer(stream, &format!("{status} Elsewhere\r\nLocation: {location}"), b"gone")
}

pub(crate) fn head(reader: &mut impl BufRead, connection: usize, number: usize) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut words = head.lines().next()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    Some(Asked { connection, number, method, target, head, content: Vec::new() })
}

fn content(reader: &mut impl BufRead, asked: &Asked, stream: &mut TcpStream) -> Vec<u8> {
    if asked.field("Expect").is_some() {
        say(stream, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    let mut content = Vec::new();
    if let Some(length) = asked.field("Content-Length") {
        reader.take(length.parse().unwrap()).read_to_end(&mut content).unwrap();
    } else if asked.field("Transfer-Encoding").is_some() {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let size = u64::from_str_radix(line.trim(), 16).unwrap();
            reader.take(size).read_to_end(&mut content).unwrap();
            reader.read_line(&mut line).unwrap();
            if size == 0 {
                break;
            }
        }
    }
    content
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
