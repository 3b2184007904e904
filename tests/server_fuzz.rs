//! A hundred thousand requests with something changed at random, the same on every run: the server
//! never hangs, never dies, and answers 2xx to nothing but what a second reading of the grammar,
//! made here without the crate's parser, takes for a request. What a handler saw is compared too, so
//! that no byte of one message is taken for another.

#![allow(clippy::unwrap_used, clippy::panic)] // in the helpers of tests too

#[path = "support/random.rs"]
mod random;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use random::Random;
use sessile::net::{Limit, Stream, Transport, pair};
use sessile::server::{HttpServer, HttpServerParams, ServerRequest, ServerResponse};

const SEEDS: &[&[u8]] = &[
    b"GET /hello HTTP/1.1\r\nHost: h.test\r\nUser-Agent: fuzz/1.0\r\nAccept: */*\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: h.test\r\nContent-Length: 11\r\nContent-Type: text/plain\r\n\r\nhello world",
    b"POST /b HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n\
      5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-T: v\r\n\r\n",
    b"GET http://h.test/hello?a=b HTTP/1.1\r\nHost: h.test\r\nConnection: keep-alive\r\nCookie: a=b\r\n\r\n",
    b"HEAD /c HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET /d HTTP/1.1\r\nHost: h.test\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
    b"PUT /e HTTP/1.1\r\nHost: h.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc\
      POST /f HTTP/1.1\r\nHost: h.test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
];

const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"chunked",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\xff",
    b"\x80",
    b"%00",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"0\r\n\r\n",
    b"-1",
    b"+",
    b"0x",
    b"99999999999999999999",
    b"Host: x\r\n",
    b"Connection: close\r\n",
    b"\r\n\r\n",
    b"GET /x HTTP/1.1\r\nHost: y\r\n\r\n",
];

impl Random {
    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn mutated(&mut self) -> Vec<u8> {
        let mut data = self.pick(SEEDS).to_vec();
        for _ in 0..self.pick(&[1, 1, 1, 2, 3, 6]) {
            let start = self.below(data.len() + 1);
            let end = data.len().min(start + self.pick(&[1, 1, 2, 5, 20]));
            match self.below(8) {
                0 => drop(data.drain(start..end)),
                1 => data.insert(start, self.next() as u8),
                2 => drop(data.splice(start..start, self.pick(WORDS).iter().copied())),
                3 => drop(data.splice(start..end, self.pick(WORDS).iter().copied())),
                4 => {
                    let piece = data[start..end].to_vec();
                    data.splice(start..start, piece);
                }
                5 => data.truncate(start.max(1)),
                6 => {
                    let more = self.pick(SEEDS);
                    data.extend_from_slice(more);
                }
                _ => {
                    if let Some(byte) = data.get_mut(start) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
        data
    }
}

/// A request, as the second reading has it.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    method: String,
    target: String,
    content: Vec<u8>,
    /// Nothing is served behind it.
    last: bool,
    /// There is nothing about it that might be refused for another reason than its grammar.
    plain: bool,
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn is_value(text: &str) -> bool {
    text.chars().all(|c| c == '\t' || !(c < ' ' || c == '\x7f'))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Up to the end of a line, and where the next one begins. Nothing else may look like the end of a line.
fn line(input: &[u8]) -> Option<(String, usize)> {
    let end = input.windows(2).position(|two| two == b"\r\n")?;
    let text: String = input[..end].iter().map(|&byte| char::from(byte)).collect();
    (!text.contains(['\r', '\n'])).then_some((text, end + 2))
}

fn fields(input: &[u8]) -> Option<(Vec<(String, String)>, usize)> {
    let (mut fields, mut at) = (Vec::new(), 0);
    loop {
        let (text, length) = line(&input[at..])?;
        at += length;
        if text.is_empty() {
            return Some((fields, at));
        }
        let (name, value) = text.split_once(':')?;
        if !is_token(name) || !is_value(value) {
            return None;
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
}

fn chunks(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let (text, length) = line(&input[at..])?;
        at += length;
        let digits = text.bytes().take_while(u8::is_ascii_hexdigit).count();
        let size = u64::from_str_radix(&text[..digits], 16).ok().filter(|_| digits <= 16)?;
        // Extensions: at least, they begin as such and hold no controls.
        let behind = text[digits..].trim_start_matches([' ', '\t']);
        if digits < text.len() && !(behind.starts_with(';') && is_value(behind)) {
            return None;
        }
        if size == 0 {
            let (_, length) = fields(&input[at..])?;
            return Some((content, at + length));
        }
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        content.extend_from_slice(input.get(at..end)?);
        if input.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        at = end + 2;
    }
}

/// The request that the input begins with, and where it ends. `None` if it begins with none, or not with all of it.
fn asked(input: &[u8]) -> Option<(Asked, usize)> {
    let mut at = 0;
    while input[at..].starts_with(b"\r\n") {
        at += 2;
    }
    let (text, length) = line(&input[at..])?;
    at += length;
    let words: Vec<&str> = text.split(' ').collect();
    let [method, target, version] = words[..] else { return None };
    let minor = version.strip_prefix("HTTP/1.").filter(|minor| minor.len() == 1 && is_number(minor))?;
    let old = minor == "0";
    let visible = target.chars().all(|c| c.is_ascii_graphic() && c != '#');
    let form = target.starts_with('/')
        || (target == "*" && method == "OPTIONS")
        || ["http://", "https://"].iter().any(|scheme| {
            target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
                && target.len() > scheme.len()
        });
    if !is_token(method) || !visible || !form || method == "CONNECT" {
        return None;
    }
    let (fields, length) = fields(&input[at..])?;
    at += length;
    let all = |name: &str| -> Vec<&str> {
        fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    };
    let hosts = all("host");
    let host_is_plain = hosts.iter().all(|host| host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'));
    if hosts.len() > 1 || (hosts.is_empty() && !old) {
        return None;
    }
    if hosts.iter().any(|host| host.contains([' ', '\t', '/', '@', ',', '?', '#', '"', '\\'])) {
        return None;
    }
    let expectations = all("expect").join(",");
    let expects =
        expectations.split(',').map(|one| one.trim_matches([' ', '\t'])).filter(|one| !one.is_empty());
    if !old && !expects.clone().all(|one| one.eq_ignore_ascii_case("100-continue")) {
        return None;
    }
    let (codings, lengths) = (all("transfer-encoding"), all("content-length"));
    let (content, length) = match (&codings[..], &lengths[..]) {
        ([], []) => (Vec::new(), 0),
        ([], [number]) if is_number(number) => {
            let length: usize = number.parse().ok()?;
            (input.get(at..at.checked_add(length)?)?.to_vec(), length)
        }
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") && !old => chunks(&input[at..])?,
        _ => return None,
    };
    let options = all("connection").join(",").to_ascii_lowercase();
    let option = |wanted: &str| options.split(',').any(|one| one.trim_matches([' ', '\t']) == wanted);
    let asked = Asked {
        method: method.to_owned(),
        target: target.to_owned(),
        content,
        last: option("close") || (old && !option("keep-alive")),
        plain: host_is_plain && target.starts_with('/') && codings.is_empty() && !input.starts_with(b"\r\n"),
    };
    Some((asked, at + length))
}

/// `OPTIONS *` has its content read and echoed too.
fn params() -> HttpServerParams {
    HttpServerParams::new().with_options_answered(false)
}

/// Sends back what was asked.
fn echo(request: &mut ServerRequest<'_>, response: &mut ServerResponse<'_>) -> sessile::Result<()> {
    let mut echo = format!("{} {} ", request.method(), request.target()).into_bytes();
    request.read_to_end(&mut echo)?;
    response.send_buffer(&echo)
}

/// The final responses of a connection, each with its content; those to HEAD have none.
fn responses(mut answer: &[u8], requests: &[Asked]) -> Vec<(u16, Vec<u8>)> {
    let mut responses = Vec::new();
    while !answer.is_empty() {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head has an end") + 4;
        let head = std::str::from_utf8(&answer[..end]).unwrap();
        let status: u16 = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok()).expect(head);
        answer = &answer[end..];
        if status == 100 {
            continue;
        }
        assert!(head.contains("\r\nDate: "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect(head);
        let to_head = requests.get(responses.len()).is_some_and(|asked| asked.method == "HEAD");
        let length = if to_head { 0 } else { length.parse().unwrap() };
        // A request that was refused may have been one for HEAD: then nothing follows.
        let length = if status >= 300 { length.min(answer.len()) } else { length };
        responses.push((status, answer[..length].to_vec()));
        answer = &answer[length..];
    }
    responses
}

/// What came back for these bytes is right. Says how many requests there were.
fn judge(input: &[u8], answer: &[u8]) -> usize {
    let (mut requests, mut at) = (Vec::new(), 0);
    while let Some((asked, length)) = asked(&input[at..]) {
        at += length;
        let last = asked.last;
        requests.push(asked);
        if last {
            break;
        }
    }
    let responses = responses(answer, &requests);
    for (n, (status, content)) in responses.iter().enumerate() {
        if *status >= 300 {
            assert!((400..600).contains(status), "{status}");
            assert_eq!(n + 1, responses.len(), "nothing is answered behind a refusal");
            assert!(!requests.get(n).is_some_and(|asked| asked.plain), "{:?} was refused", requests[n]);
            break;
        }
        let asked = requests.get(n).expect("no request, and a success");
        let mut echo = format!("{} {} ", asked.method, asked.target).into_bytes();
        echo.extend_from_slice(&asked.content);
        if asked.method != "HEAD" {
            assert_eq!(content.escape_ascii().to_string(), echo.escape_ascii().to_string());
        }
    }
    if requests.first().is_some_and(|asked| asked.plain) {
        assert!(!responses.is_empty(), "a good request was not answered");
    }
    responses.iter().filter(|(status, _)| *status < 300).count()
}

/// Judges what `answer` makes of so many inputs, on threads whose progress is watched.
fn try_all(inputs: usize, answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + Clone + 'static) {
    const THREADS: usize = 2;
    let (done, progress) = mpsc::channel();
    for seed in 1..=THREADS as u64 {
        let (done, answer) = (done.clone(), answer.clone());
        thread::spawn(move || {
            let mut random = Random(0x5e55_11e0 * seed);
            for _ in 0..inputs / THREADS {
                let input = random.mutated();
                let shown = input.escape_ascii().to_string();
                let judged = catch_unwind(AssertUnwindSafe(|| judge(&input, &answer(&input))));
                done.send(judged.map_err(|_| shown)).unwrap();
            }
        });
    }
    drop(done);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..inputs / THREADS * THREADS {
        let judged = progress.recv_timeout(Duration::from_secs(20)).expect("a connection hangs");
        match judged.unwrap_or_else(|input| panic!("b\"{input}\"")) {
            0 => bad += 1,
            _ => good += 1,
        }
    }
    assert!(good > inputs / 10 && bad > inputs / 10, "{good} with an answer, {bad} without");
}

#[test]
fn a_hundred_thousand_changed_requests_are_answered_for_what_they_are() {
    let server = Arc::new(HttpServer::new(params(), echo));
    try_all(100_000, move |input| {
        let (near, mut far) = pair();
        far.write_all(input).unwrap();
        Transport::shutdown(&mut far, Shutdown::Write, &Limit::none()).unwrap();
        server.serve(Stream::custom(near));
        let mut answer = Vec::new();
        far.read_to_end(&mut answer).unwrap();
        answer
    });
}

#[test]
fn over_sockets_they_are_too() {
    let mut server = HttpServer::bind_with("127.0.0.1:0", params(), echo).unwrap();
    server.start().unwrap();
    let address = server.local_addr().unwrap();
    try_all(4000, move |input| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        // The server may have had enough of it before all is sent.
        let _ = stream.write_all(input).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    let handle = server.handle();
    assert_eq!(handle.shutdown(Duration::from_secs(5)).aborted, 0);
    assert_eq!((handle.total_connections(), handle.refused_connections()), (4000, 0));
}
