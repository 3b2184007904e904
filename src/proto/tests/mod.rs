//! Tests of the whole way from bytes to messages: scanner, parser, framing and decoder
//! together, as a session uses them. What one file does alone is tested in that file.

mod chunks;
mod exchanges;
mod framing;
mod limits;
mod oracles;
mod requests;
mod responses;
mod targets;

use super::*;
use crate::message::{HeaderMap, Method, Request, Response};
use crate::{Error, ErrorKind, Result};

/// What a message was, or why it was refused.
#[derive(Debug, PartialEq, Clone)]
pub(super) enum Outcome {
    Whole(Received),
    Refused(ErrorKind, Option<u16>),
}

/// A message that was read to its end.
#[derive(Debug, PartialEq, Clone, Default)]
pub(super) struct Received {
    pub(super) line: String,
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) framing: Option<Framing>,
    pub(super) content: Vec<u8>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
    // Bytes of input that belong to the message.
    pub(super) used: usize,
}

impl Outcome {
    pub(super) fn whole(self) -> Received {
        match self {
            Outcome::Whole(received) => received,
            Outcome::Refused(kind, status) => panic!("refused: {kind:?} {status:?}"),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self, Outcome::Whole(_))
    }

    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Outcome::Whole(_) => None,
            Outcome::Refused(_, status) => *status,
        }
    }

    /// The kind of the error.
    pub(super) fn kind(&self) -> Option<ErrorKind> {
        match self {
            Outcome::Whole(_) => None,
            Outcome::Refused(kind, _) => Some(*kind),
        }
    }

    pub(super) fn is_cut(&self) -> bool {
        matches!(self.kind(), Some(ErrorKind::Incomplete | ErrorKind::NoMessage))
    }
}

/// Whose message is read.
#[derive(Debug, Clone)]
pub(super) enum Role {
    Request,
    /// The response to a request with this method.
    Response(Method),
}

/// Reads one message from pieces of input, as a session does from reads.
struct Reader {
    role: Role,
    limits: Limits,
    buffer: Vec<u8>,
    scanner: HeadScanner,
    decoder: Option<Decoder>,
    trailers: HeaderMap,
    received: Received,
}

impl Reader {
    fn new(role: &Role, limits: &Limits) -> Reader {
        let kind = if matches!(role, Role::Request) { HeadKind::Request } else { HeadKind::Response };
        // What an earlier message has left behind must not be seen.
        let mut trailers = HeaderMap::new();
        trailers.append("Left", "over").unwrap();
        Reader {
            role: role.clone(),
            limits: limits.clone(),
            buffer: Vec::new(),
            scanner: HeadScanner::new(kind),
            decoder: None,
            trailers,
            received: Received::default(),
        }
    }

    /// Whether the message has ended.
    fn feed(&mut self, piece: &[u8]) -> Result<bool> {
        self.buffer.extend_from_slice(piece);
        if self.decoder.is_none() {
            let Some(framing) = self.read_head()? else { return Ok(false) };
            self.received.framing = Some(framing);
            self.decoder = Some(Decoder::new(framing));
        }
        let mut decoder = self.decoder.take().unwrap();
        while !decoder.is_done() {
            let step = decoder.step(&self.buffer, &self.limits, &mut self.trailers)?;
            self.take(step.skip);
            self.received.content.extend_from_slice(&self.buffer[..step.data]);
            self.take(step.data);
            decoder.consume(step.data);
            if step.data == 0 {
                break;
            }
        }
        let done = decoder.is_done();
        self.decoder = Some(decoder);
        Ok(done)
    }

    fn take(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.received.used += bytes;
    }

    fn read_head(&mut self) -> Result<Option<Framing>> {
        let (scanner, received) = (&mut self.scanner, &mut self.received);
        match &self.role {
            Role::Request => {
                let mut request = Request::post("/left/over");
                request.set_content_length(7).headers_mut().append("Left", "over").unwrap();
                let Some(end) = read_request(scanner, &self.buffer, &self.limits, &mut request)? else {
                    return Ok(None);
                };
                received.line = format!("{} {} {}", request.method(), request.target(), request.version());
                received.fields = listed(request.headers());
                self.take(end);
                request_framing(&request).map(Some)
            }
            Role::Response(method) => {
                let mut response = Response::new();
                response.set_reason("left over").unwrap().headers_mut().append("Left", "over").unwrap();
                let Some(end) = read_response(scanner, &self.buffer, &self.limits, &mut response)? else {
                    return Ok(None);
                };
                received.line = format!("{} {} {}", response.version(), response.status(), response.reason());
                received.fields = listed(response.headers());
                let framing = response_framing(method, &response);
                self.take(end);
                framing.map(Some)
            }
        }
    }

    /// The connection was closed.
    fn end(&mut self) -> Result<()> {
        match &mut self.decoder {
            Some(decoder) => decoder.end_of_input(),
            None => Err(self.scanner.end_of_input(&self.buffer)),
        }
    }
}

pub(super) fn listed(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

/// Reads one message that comes in these pieces, and then the end of the connection.
pub(super) fn read_pieces<'a>(
    role: &Role,
    limits: &Limits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut reader = Reader::new(role, limits);
    let run = || -> Result<()> {
        for piece in pieces {
            if reader.feed(piece)? {
                return Ok(());
            }
        }
        reader.end()
    };
    match run() {
        Ok(()) => {
            if reader.received.framing == Some(Framing::Chunked) {
                reader.received.trailers = listed(&reader.trailers);
            }
            Outcome::Whole(reader.received)
        }
        Err(error) => refused(&error),
    }
}

pub(super) fn refused(error: &Error) -> Outcome {
    Outcome::Refused(error.kind(), error.status_hint().map(|status| status.as_u16()))
}

/// Reads a message three ways, which must agree: whole, byte by byte, and with bytes behind
/// it, which must stay where they are.
pub(super) fn read_with(role: &Role, limits: &Limits, input: &[u8]) -> Outcome {
    let whole = read_pieces(role, limits, [input]);
    let bytewise = read_pieces(role, limits, input.chunks(1));
    assert_eq!(whole, bytewise, "byte by byte: {}", input.escape_ascii());

    let until_close = matches!(&whole, Outcome::Whole(r) if r.framing == Some(Framing::UntilClose));
    if !whole.is_cut() && !until_close {
        let behind = [input, b"GET /behind HTTP/1.1\r\n\r\n"].concat();
        let with_behind = read_pieces(role, limits, [&behind[..]]);
        assert_eq!(whole, with_behind, "with bytes behind: {}", input.escape_ascii());
    }
    whole
}

pub(super) fn whole_request(input: &[u8]) -> Outcome {
    read_with(&Role::Request, &Limits::default(), input)
}

pub(super) fn whole_response(input: &[u8]) -> Outcome {
    read_with(&Role::Response(Method::GET), &Limits::default(), input)
}

/// A request with `Host` and these field lines.
pub(super) fn request(line: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    request_with_host(line, Some(b"Host: h.test"), fields)
}

pub(super) fn request_with_host(line: &[u8], host: Option<&[u8]>, fields: &[&[u8]]) -> Vec<u8> {
    let mut bytes = [line, b"\r\n"].concat();
    for field in host.iter().chain(fields) {
        bytes.extend_from_slice(field);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Random numbers that are the same in every run (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below this number.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// The input, cut into pieces of any length.
    pub(super) fn cut<'a>(&mut self, mut input: &'a [u8]) -> Vec<&'a [u8]> {
        let longest = 1 + self.below(input.len().max(1));
        let mut pieces = Vec::new();
        while !input.is_empty() {
            let (piece, rest) = input.split_at(1 + self.below(longest.min(input.len())));
            pieces.push(piece);
            input = rest;
        }
        pieces
    }

    /// The input with a few small changes.
    pub(super) fn change(&mut self, input: &[u8], words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..1 + self.below(3) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] = self.next() as u8,
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 => drop(bytes.drain(at..(at + 1 + self.below(8)).min(bytes.len()))),
                3 => bytes.insert(at, self.next() as u8),
                4 => {
                    let end = (at + 1 + self.below(30)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    drop(bytes.splice(at..at, copy));
                }
                _ => drop(bytes.splice(at..at, self.pick(words).iter().copied())),
            }
        }
        bytes
    }
}
