//! What must hold for any bytes: one function for each parser of what peers send.
//!
//! Each takes bytes and panics where something does not hold: the same bytes in other pieces
//! mean something else, or what was read means something else once it is written and read
//! again. By the public API alone. The targets of `cargo fuzz` call these with what the fuzzer
//! finds, `tests/fuzz_smoke.rs` with the seeds and with what is made of them.

use std::fmt;
use std::io::{self, BufRead, Read, Write};

use sessile::auth::{Challenge, HttpCredentials};
use sessile::message::{Cookie, HeaderMap, Method, Request, Response, SameSite, StatusCode, Uri};
use sessile::proto::{
    ChunkHead, Decoder, Framing, HeadKind, HeadScanner, Limits, Step, parse_request, parse_response,
    read_request, read_response, request_framing, response_framing, write_last_chunk, write_request_head,
    write_response_head,
};
use sessile::web::{EventReader, EventWriter, MultipartReader, MultipartWriter};
use sessile::{ErrorKind, Result};

/// A request's head means the same however it comes, and once it is written again.
pub fn request_head(data: &[u8]) {
    let mut request = Request::default();
    let read = |scanner: &mut HeadScanner, buffer: &[u8], request: &mut Request| {
        read_request(scanner, buffer, &Limits::default(), request)
    };
    let end = grown(HeadKind::Request, data, &mut request, read);
    let mut whole = Request::default();
    let at_once = read(&mut HeadScanner::new(HeadKind::Request), data, &mut whole);
    assert_eq!(outcome(&end), outcome(&at_once));
    if !matches!(end, Ok(Some(_))) {
        return;
    }
    assert_eq!(of_request(&request), of_request(&whole));
    let mut written = Vec::new();
    write_request_head(&mut written, &request).expect("what was read can be written");
    let mut again = Request::default();
    parse_request(&written, &Limits::default(), &mut again).expect("what was written can be read");
    assert_eq!(of_request(&again), of_request(&request));
    assert_eq!(request_framing(&again).ok(), request_framing(&request).ok());
}

/// A response's head means the same however it comes, and once it is written again.
pub fn response_head(data: &[u8]) {
    let mut response = Response::new();
    let read = |scanner: &mut HeadScanner, buffer: &[u8], response: &mut Response| {
        read_response(scanner, buffer, &Limits::default(), response)
    };
    let end = grown(HeadKind::Response, data, &mut response, read);
    let mut whole = Response::new();
    let at_once = read(&mut HeadScanner::new(HeadKind::Response), data, &mut whole);
    assert_eq!(outcome(&end), outcome(&at_once));
    if !matches!(end, Ok(Some(_))) {
        return;
    }
    assert_eq!(of_response(&response), of_response(&whole));
    let mut written = Vec::new();
    write_response_head(&mut written, &response).expect("what was read can be written");
    let mut again = Response::new();
    parse_response(&written, &Limits::default(), &mut again).expect("what was written can be read");
    assert_eq!(of_response(&again), of_response(&response));
    for method in [Method::GET, Method::HEAD, Method::CONNECT] {
        assert_eq!(response_framing(&method, &again).ok(), response_framing(&method, &response).ok());
    }
}

/// Chunked content is the same in whatever pieces it comes, and once it is chunked again.
pub fn chunked(data: &[u8]) {
    let whole = decoded(data, data.len());
    for size in sizes(data) {
        assert_eq!(decoded(data, size), whole, "pieces of {size}");
    }
    let Ok(Some(found)) = whole else { return };
    let mut written = Vec::new();
    for piece in found.content.chunks(7) {
        written.extend_from_slice(ChunkHead::new(piece.len()).expect("it is not empty").as_bytes());
        written.extend_from_slice(piece);
        written.extend_from_slice(b"\r\n");
    }
    write_last_chunk(&mut written, &found.trailers).expect("trailers that were read can be written");
    let again = decoded(&written, 3).unwrap().expect("what was written is whole");
    assert_eq!(again, Chunked { used: written.len(), ..found });
}

/// A multipart body with the boundary `b` has the same parts in whatever pieces it comes, and
/// once it is written again.
pub fn multipart(data: &[u8]) {
    let whole = parts(data, data.len());
    for size in sizes(data) {
        assert_eq!(parts(data, size), whole, "pieces of {size}");
    }
    let Ok(found) = whole else { return };
    let mut writer = MultipartWriter::with_boundary(Vec::new(), "b").unwrap();
    for (headers, content) in &found {
        let mut fields = HeaderMap::new();
        for (name, value) in headers {
            fields.append(name, value).expect("a field that was read can be written");
        }
        writer.next_part(&fields).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.close().unwrap();
    assert_eq!(parts(&writer.into_inner(), 5), Ok(found));
}

/// A cookie that was read and is written is read as the same.
pub fn cookie(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(cookie) = Cookie::parse(text) {
        let written = cookie.to_string();
        let again = Cookie::parse(&written).expect("what was written can be read");
        let same = |cookie: &Cookie| {
            let name = (cookie.name().to_owned(), cookie.value().to_owned());
            // One dot in front counts for nothing; with more than that it is the domain of no host.
            let domain = cookie.domain().map(|domain| domain.trim_start_matches(['.', ' ', '\t']).to_owned());
            let place = (domain.filter(|domain| !domain.is_empty()), cookie.path().map(str::to_owned));
            // Every age below 0 is 0, and `None` needs `Secure`. A comment is not written any more.
            let age = cookie.max_age().map(|age| age.max(0));
            let secure = cookie.secure() || cookie.same_site() == Some(SameSite::None);
            (name, place, age, secure, cookie.http_only(), cookie.same_site())
        };
        assert_eq!(same(&again), same(&cookie), "{written:?}");
        if cookie.max_age().is_none() {
            assert_eq!(again.expires(), cookie.expires(), "{written:?}");
        }
    }
    let mut request = Request::get("/");
    if request.headers_mut().set("Cookie", text).is_ok() {
        for (name, value) in request.cookies() {
            assert!(text.contains(name) && text.contains(value));
        }
    }
}

/// A URI that was read is one that can be read and requested; so is what a reference leads to.
/// The input is both, a line each.
pub fn uri(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (base, reference) = text.split_once('\n').unwrap_or((text, "../a?b#c"));
    let Ok(base) = Uri::parse(base) else { return };
    good_uri(&base);
    assert_eq!(base.without_userinfo().username(), None);
    if let Ok(target) = base.resolve(reference) {
        good_uri(&target);
    }
}

/// Challenges that were read and are written are read as the same, and an answer to them can be
/// sent.
pub fn challenge(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(all) = Challenge::parse(text) {
        let written: Vec<String> = all.iter().map(written_challenge).collect();
        let again = Challenge::parse(&written.join(", ")).expect("what was written can be read");
        assert_eq!(again.len(), all.len());
        for (one, other) in again.iter().zip(&all) {
            assert_eq!((one.scheme(), one.token()), (other.scheme(), other.token()));
            assert!(one.params().iter().eq(other.params().iter()), "{written:?}");
        }
    }
    let mut response = Response::with_status(StatusCode::UNAUTHORIZED);
    if response.headers_mut().set("WWW-Authenticate", text).is_err() {
        return;
    }
    let mut request = Request::get("/");
    let mut credentials = HttpCredentials::new("user \"name\"", "pass\\word");
    if let Ok(Some(_)) = credentials.authenticate(&mut request, &response) {
        let mut head = Vec::new();
        write_request_head(&mut head, &request).expect("the answer can be sent");
        let answer = request.headers().get("Authorization").expect("there is an answer");
        assert_eq!(Challenge::parse(answer).expect("the answer can be read").len(), 1);
    }
}

/// Frames are the same messages in whatever pieces they come, and what is answered is what the
/// other side takes.
#[cfg(feature = "websocket")]
pub fn websocket_frame(data: &[u8]) {
    use sessile::websocket::{Mode, WebSocket, WebSocketErrorKind};

    for (mode, peer) in [(Mode::Server, Mode::Client), (Mode::Client, Mode::Server)] {
        let whole = spoken(data, data.len(), mode);
        for size in sizes(data).step_by(2) {
            let pieces = spoken(data, size, mode);
            // A client masks its answers, each time otherwise.
            assert_eq!((&pieces.0, pieces.1), (&whole.0, whole.1), "pieces of {size}");
            assert_eq!(pieces.2.len(), whole.2.len());
        }
        let mut other = WebSocket::from_halves(io::Cursor::new(whole.2), io::sink(), peer);
        let end = match other.receive_message() {
            Ok(Some(_)) => panic!("nothing but pongs and a close is answered"),
            Ok(None) => None,
            Err(error) => WebSocketErrorKind::of(&error),
        };
        assert!(matches!(end, None | Some(WebSocketErrorKind::NotClosed)), "{end:?}");
    }
}

/// Events are the same in whatever pieces they come, and once they are written again.
pub fn events(data: &[u8]) {
    let whole = heard(data, data.len());
    for size in sizes(data) {
        assert_eq!(heard(data, size), whole, "pieces of {size}");
    }
    let mut written = Vec::new();
    let mut writer = EventWriter::new(&mut written);
    for event in EventReader::new(data).map_while(Result::ok) {
        writer.send(&event).unwrap();
    }
    // A byte order mark at the start of all is none of the first event.
    let again = heard(&written, 4);
    assert_eq!(again.0, whole.0);
}

/// Reads a head from a buffer that grows.
fn grown<T>(
    kind: HeadKind,
    data: &[u8],
    into: &mut T,
    read: impl Fn(&mut HeadScanner, &[u8], &mut T) -> Result<Option<usize>>,
) -> Result<Option<usize>> {
    let mut scanner = HeadScanner::new(kind);
    let step = 1 + data.len() / 64;
    let mut end = data.first().map_or(0, |&byte| usize::from(byte) % step);
    loop {
        let found = read(&mut scanner, &data[..end], into);
        if end == data.len() || !matches!(found, Ok(None)) {
            return found;
        }
        end = data.len().min(end + step);
    }
}

/// What a result means. Of two faults the one that is seen first depends on what has come.
fn outcome<T: Copy>(result: &Result<T>) -> Option<T> {
    result.as_ref().ok().copied()
}

type Fields = Vec<(String, Vec<u8>)>;

fn fields(headers: &HeaderMap) -> Fields {
    headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

fn of_request(request: &Request) -> impl PartialEq + fmt::Debug {
    (
        request.method().as_str().to_owned(),
        request.target().to_owned(),
        request.version(),
        fields(request.headers()),
    )
}

fn of_response(response: &Response) -> impl PartialEq + fmt::Debug {
    (response.version(), response.status(), response.reason_bytes().to_vec(), fields(response.headers()))
}

#[derive(Debug)]
struct Chunked {
    content: Vec<u8>,
    trailers: HeaderMap,
    used: usize,
}

impl PartialEq for Chunked {
    fn eq(&self, other: &Chunked) -> bool {
        (&self.content, self.used, fields(&self.trailers))
            == (&other.content, other.used, fields(&other.trailers))
    }
}

/// Chunked content that comes in pieces of this size; `None` if its end is missing.
fn decoded(data: &[u8], size: usize) -> std::result::Result<Option<Chunked>, ErrorKind> {
    let limits = Limits::default();
    let mut decoder = Decoder::new(Framing::Chunked);
    let (mut content, mut trailers) = (Vec::new(), HeaderMap::new());
    let (mut start, mut end) = (0, 0);
    while !decoder.is_done() {
        let buffer = &data[start..end];
        let step = decoder.step(buffer, &limits, &mut trailers).map_err(|error| error.kind())?;
        content.extend_from_slice(&buffer[step.skip..][..step.data]);
        start += step.skip + step.data;
        decoder.consume(step.data);
        if step == Step::default() && !decoder.is_done() {
            if end == data.len() {
                return Ok(None);
            }
            end = data.len().min(end + size);
        }
    }
    Ok(Some(Chunked { content, trailers, used: start }))
}

/// The parts of a multipart body that comes in pieces of this size.
fn parts(data: &[u8], size: usize) -> std::result::Result<Vec<(Fields, Vec<u8>)>, ErrorKind> {
    let mut reader = MultipartReader::new(Pieces::new(data, size), "b").unwrap();
    let mut parts = Vec::new();
    while let Some(mut part) = reader.next_part().map_err(|error| error.kind())? {
        let mut content = Vec::new();
        part.read_to_end(&mut content).map_err(|error| sessile::Error::from(error).kind())?;
        parts.push((fields(part.headers()), content));
    }
    Ok(parts)
}

fn written_challenge(challenge: &Challenge) -> String {
    match challenge.token() {
        Some(token) => format!("{} {token}", challenge.scheme()),
        None => format!("{} {}", challenge.scheme(), challenge.params()).trim_end().to_owned(),
    }
}

fn good_uri(uri: &Uri) {
    let again = Uri::parse(uri.as_str()).expect("it can be read again");
    assert_eq!(again.as_str(), uri.as_str());
    assert_eq!(again.origin(), uri.origin());
    let mut head = Vec::new();
    let mut request = Request::get(uri.request_target());
    request.headers_mut().set("Host", uri.authority()).expect("the host is a field value");
    write_request_head(&mut head, &request).expect("it can be requested");
    parse_request(&head, &Limits::default(), &mut request).expect("a server takes the request");
    assert_eq!(request.target(), uri.request_target());
}

/// What is received and answered where the peer's bytes come in pieces of this size.
#[cfg(feature = "websocket")]
#[allow(clippy::type_complexity)] // messages, the error at the end, what was sent
fn spoken(
    data: &[u8],
    size: usize,
    mode: sessile::websocket::Mode,
) -> (Vec<sessile::websocket::Message>, Option<ErrorKind>, Vec<u8>) {
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sent(Arc<Mutex<Vec<u8>>>);
    impl Write for Sent {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    struct Owned(io::Cursor<Vec<u8>>, usize);
    impl Read for Owned {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let size = self.1.min(into.len());
            self.0.read(&mut into[..size])
        }
    }

    let sent = Sent::default();
    let reader = Owned(io::Cursor::new(data.to_vec()), size);
    let mut socket = sessile::websocket::WebSocket::from_halves(reader, sent.clone(), mode);
    let mut messages = Vec::new();
    let end = loop {
        match socket.receive_message() {
            Ok(Some(message)) => messages.push(message),
            Ok(None) => break None,
            Err(error) => break Some(error.kind()),
        }
    };
    drop(socket);
    let sent = std::mem::take(&mut *sent.0.lock().unwrap());
    (messages, end, sent)
}

type Heard = (Vec<(String, String, Option<String>)>, String, Option<std::time::Duration>);

/// The events of a stream that comes in pieces of this size, the last id, the delay.
fn heard(data: &[u8], size: usize) -> Heard {
    let mut reader = EventReader::new(Pieces::new(data, size));
    let mut events = Vec::new();
    while let Ok(Some(event)) = reader.next_event() {
        events.push((event.name().to_owned(), event.data().to_owned(), event.id().map(str::to_owned)));
    }
    (events, reader.last_event_id().to_owned(), reader.retry())
}

/// Sizes of pieces to try: small ones, and one that depends on the input.
fn sizes(data: &[u8]) -> impl Iterator<Item = usize> {
    let odd = data.first().map_or(1, |&byte| 1 + usize::from(byte) % data.len());
    [1, 2, 3, 7, odd].into_iter()
}

/// An input whose buffer never holds more than a piece.
struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
    buffered: usize,
}

impl<'a> Pieces<'a> {
    fn new(rest: &'a [u8], size: usize) -> Pieces<'a> {
        Pieces { rest, size: size.max(1), buffered: 0 }
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.buffered == 0 {
            self.buffered = self.size.min(self.rest.len());
        }
        Ok(&self.rest[..self.buffered])
    }

    fn consume(&mut self, count: usize) {
        assert!(count <= self.buffered, "more is taken than there is");
        self.buffered -= count;
        self.rest = &self.rest[count..];
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = self.fill_buf()?;
        let count = buffer.read(into)?;
        self.consume(count);
        Ok(count)
    }
}
