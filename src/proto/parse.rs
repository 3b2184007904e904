//! From the bytes of a head to a message (RFC 9112, sections 2 to 5).
//!
//! The only user of httparse. What that takes and this crate does not is refused here:
//! `Host` and the form of the target are checked, other versions get their own error. The
//! scanner has refused bare line ends and leading blank lines before. A head is read once
//! and its field section copied once; nothing is allocated where the message has room.

use std::mem::MaybeUninit;
use std::ops::Range;

use httparse::{EMPTY_HEADER, Header, Status};

use super::chunked::is_trailer_field;
use super::limits::Limits;
use super::scan::{HeadKind, too_many_fields};
use super::target::{check_target, is_host};
use crate::message::{HeaderMap, Method, Request, Response, StatusCode, Version};
use crate::{Error, Result};

/// Reads a request's head, as [`HeadScanner`](super::HeadScanner) found it, into a request;
/// what that held before is gone.
///
/// Also checked is what decides whom the request is for: the form of the target
/// (RFC 9112, 3.2) and that `Host` is there once and valid. A newer minor version is
/// processed as HTTP/1.1 (RFC 9110, 2.5); another major version is refused with 505.
///
/// ```
/// use sessile::message::Request;
/// use sessile::proto::{Limits, parse_request};
///
/// let mut request = Request::default();
/// parse_request(b"GET /a?b HTTP/1.1\r\nHost: example.com\r\n\r\n", &Limits::default(), &mut request)?;
/// assert_eq!(request.target(), "/a?b");
///
/// let error = parse_request(b"GET / HTTP/1.1\r\n\r\n", &Limits::default(), &mut request).unwrap_err();
/// assert_eq!(error.status_hint().map(|status| status.as_u16()), Some(400));
/// # Ok::<(), sessile::Error>(())
/// ```
pub fn parse_request(head: &[u8], limits: &Limits, into: &mut Request) -> Result<()> {
    let mut fields = [const { MaybeUninit::uninit() }; COMMON_FIELDS];
    match read_request(head, &mut fields[..limits.fields.min(COMMON_FIELDS)], into) {
        Ok(()) => Ok(()),
        Err(Fault::Syntax(httparse::Error::TooManyHeaders)) if limits.fields > COMMON_FIELDS => {
            read_request(head, &mut many_fields(head, limits), into).map_err(|fault| fault.describe())
        }
        Err(Fault::Syntax(httparse::Error::Version)) => {
            parse_request(&as_http_11(head, request_version(head))?, limits, into)
        }
        Err(fault) => Err(fault.describe()),
    }
}

/// Reads a response's head, as [`HeadScanner`](super::HeadScanner) found it, into a
/// response; what that held before is gone.
///
/// A missing reason is taken; its bytes are kept as they came. A newer minor version is
/// processed as HTTP/1.1; another major version is
/// [`Unsupported`](crate::ErrorKind::Unsupported).
///
/// ```
/// use sessile::message::Response;
/// use sessile::proto::{Limits, parse_response};
///
/// let mut response = Response::new();
/// parse_response(b"HTTP/1.1 404 Not here\r\nServer: a\r\n\r\n", &Limits::default(), &mut response)?;
/// assert_eq!(response.status().as_u16(), 404);
/// assert_eq!(response.reason(), "Not here");
/// # Ok::<(), sessile::Error>(())
/// ```
pub fn parse_response(head: &[u8], limits: &Limits, into: &mut Response) -> Result<()> {
    let mut fields = [const { MaybeUninit::uninit() }; COMMON_FIELDS];
    match read_response(head, &mut fields[..limits.fields.min(COMMON_FIELDS)], into) {
        Ok(()) => Ok(()),
        Err(Fault::Syntax(httparse::Error::TooManyHeaders)) if limits.fields > COMMON_FIELDS => {
            read_response(head, &mut many_fields(head, limits), into).map_err(|fault| fault.describe())
        }
        Err(Fault::Syntax(httparse::Error::Version)) => {
            parse_response(&as_http_11(head, response_version(head))?, limits, into)
        }
        Err(fault) => Err(fault.describe()),
    }
}

/// Reads a trailer section, up to and with its empty line, into a map; what that held
/// before is gone. Fields that have no business in a trailer section are dropped: see
/// [`is_trailer_field`].
pub fn parse_trailers(section: &[u8], limits: &Limits, into: &mut HeaderMap) -> Result<()> {
    into.clear();
    if section == b"\r\n" {
        return Ok(());
    }
    let mut few = [EMPTY_HEADER; FEW_FIELDS];
    let mut many = Vec::new();
    let parsed = match httparse::parse_headers(section, &mut few[..limits.fields.min(FEW_FIELDS)]) {
        Err(httparse::Error::TooManyHeaders) if limits.fields > FEW_FIELDS => {
            many.resize(limits.fields.min(section.len() / SHORTEST_FIELD), EMPTY_HEADER);
            httparse::parse_headers(section, &mut many)
        }
        parsed => parsed,
    };
    match parsed {
        Ok(Status::Complete((end, fields))) if end == section.len() => {
            let lines = &section[..end - 2];
            let kept = fields.iter().filter(|field| is_trailer_field(field.name));
            into.load(lines, kept.map(|field| spans(lines, field)));
            Ok(())
        }
        Ok(_) => Err(Fault::NotOneHead.describe()),
        Err(error) => Err(Fault::Syntax(error).describe()),
    }
}

/// Refuses a start-line, given with its line end, that can't be one.
pub(super) fn check_start_line(kind: HeadKind, line: &[u8]) -> Result<()> {
    let mut fields = [];
    let (result, version) = match kind {
        HeadKind::Response => (httparse::Response::new(&mut fields).parse(line), response_version(line)),
        _ => (httparse::Request::new(&mut fields).parse(line), request_version(line)),
    };
    match result {
        Ok(_) => Ok(()),
        Err(httparse::Error::Version) => as_http_11(line, version).map(|_| ()),
        Err(error) => Err(Fault::Syntax(error).describe()),
    }
}

/// Why a head was not read.
enum Fault {
    Syntax(httparse::Error),
    NotOneHead,
    Refused(Error),
}

fn read_request<'head>(
    head: &'head [u8],
    fields: &mut [MaybeUninit<Header<'head>>],
    into: &mut Request,
) -> Result<(), Fault> {
    into.clear();
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(head, fields) {
        Ok(Status::Complete(end)) if end == head.len() => {}
        Ok(_) => return Err(Fault::NotOneHead),
        Err(error) => return Err(Fault::Syntax(error)),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Fault::NotOneHead);
    };
    into.set_method(Method::from_bytes(method.as_bytes()).map_err(Fault::Refused)?);
    into.target_mut().clear();
    into.target_mut().push_str(target);
    into.set_version(version(minor));
    load(head, parsed.headers, into.headers_mut())?;
    check_target(into.method(), into.target()).map_err(Fault::Refused)?;
    check_host(into).map_err(Fault::Refused)
}

fn read_response<'head>(
    head: &'head [u8],
    fields: &mut [MaybeUninit<Header<'head>>],
    into: &mut Response,
) -> Result<(), Fault> {
    into.clear();
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, head, fields) {
        Ok(Status::Complete(end)) if end == head.len() => {}
        Ok(_) => return Err(Fault::NotOneHead),
        Err(error) => return Err(Fault::Syntax(error)),
    }
    let (Some(minor), Some(code)) = (parsed.version, parsed.code) else {
        return Err(Fault::NotOneHead);
    };
    let Ok(status) = StatusCode::new(code) else {
        return Err(Fault::Refused(Error::malformed("the status code is below 100")));
    };
    into.set_status(status);
    into.set_version(version(minor));
    // httparse gives no reason that holds bytes above ASCII.
    let line = &head[..line_end(head)];
    into.reason_mut().extend_from_slice(line.get(REASON..).unwrap_or_default());
    load(head, parsed.headers, into.headers_mut())
}

/// Copies the field section, once, with the places of names and values in it.
fn load(head: &[u8], fields: &[Header<'_>], into: &mut HeaderMap) -> Result<(), Fault> {
    let Some(first) = fields.first() else {
        return Ok(());
    };
    let start = span(head, first.name.as_bytes()).0;
    let section = &head[start..head.len() - 2];
    into.load(section, fields.iter().map(|field| spans(section, field)));
    if into.len() == fields.len() { Ok(()) } else { Err(Fault::Refused(too_many_fields())) }
}

fn spans(section: &[u8], field: &Header<'_>) -> ((usize, usize), (usize, usize)) {
    (span(section, field.name.as_bytes()), span(section, field.value))
}

/// Where a part of a text that httparse has lent us is in that text.
fn span(whole: &[u8], part: &[u8]) -> (usize, usize) {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    (start, start + part.len())
}

/// RFC 9112, 3.2: 400 for a request without `Host`, with two, or with an invalid one.
fn check_host(request: &Request) -> Result<()> {
    let mut hosts = request.headers().get_all("Host");
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host) => Ok(()),
        (Some(_), None) => Err(Error::malformed("the Host field is not a host and port")),
        (Some(_), Some(_)) => Err(Error::malformed("two Host fields in one request")),
        (None, _) if request.version() == Version::Http10 => Ok(()),
        (None, _) => Err(Error::malformed("a request of HTTP/1.1 without a Host field")),
    }
}

const fn version(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

/// Where the version is in a request line that has one.
fn request_version(head: &[u8]) -> Option<Range<usize>> {
    let line = &head[..line_end(head)];
    let mut words = line.split(|&byte| byte == b' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(_), Some(_), Some(version), None) => Some(line.len() - version.len()..line.len()),
        _ => None,
    }
}

/// Where the version is in a status line that has one.
fn response_version(head: &[u8]) -> Option<Range<usize>> {
    (head.get(VERSION_LEN) == Some(&b' ')).then_some(0..VERSION_LEN)
}

/// RFC 9110, 2.5: a higher minor version is processed as the highest one we know. The
/// copy says HTTP/1.1 and is equal otherwise. Any other version is refused.
fn as_http_11(head: &[u8], version: Option<Range<usize>>) -> Result<Vec<u8>> {
    let version = version.unwrap_or_default();
    match head[version.clone()] {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => {
            let mut copy = head.to_vec();
            copy[version].copy_from_slice(b"HTTP/1.1");
            Ok(copy)
        }
        [b'H', b'T', b'T', b'P', b'/', b'0' | b'2'..=b'9', b'.', b'0'..=b'9'] => {
            let error = Error::unsupported("the peer speaks another version than HTTP/1");
            Err(error.with_status(StatusCode::HTTP_VERSION_NOT_SUPPORTED))
        }
        _ => Err(Fault::Syntax(httparse::Error::Version).describe()),
    }
}

/// The end of the first line.
fn line_end(head: &[u8]) -> usize {
    memchr::memchr(b'\r', head).unwrap_or(head.len())
}

/// Room for more fields than nearly all messages have.
fn many_fields<'head>(head: &[u8], limits: &Limits) -> Vec<MaybeUninit<Header<'head>>> {
    let fields = limits.fields.min(head.len() / SHORTEST_FIELD);
    std::iter::repeat_with(MaybeUninit::uninit).take(fields).collect()
}

impl Fault {
    fn describe(self) -> Error {
        let message = match self {
            Fault::Refused(error) => return error,
            Fault::Syntax(httparse::Error::TooManyHeaders) => return too_many_fields(),
            Fault::Syntax(httparse::Error::Token) => "the request line is malformed",
            Fault::Syntax(httparse::Error::Version) => "the version is not one of HTTP/1",
            Fault::Syntax(httparse::Error::Status) => "the status line is malformed",
            Fault::Syntax(httparse::Error::HeaderName) => "the name of a field is malformed",
            Fault::Syntax(httparse::Error::HeaderValue) => "the value of a field holds a control character",
            Fault::Syntax(httparse::Error::NewLine) => "a line does not end where it should",
            Fault::NotOneHead => "the head of the message has no end",
        };
        Error::malformed(message)
    }
}

// As many as the default limit. The array is not initialised, so its size costs nothing.
const COMMON_FIELDS: usize = 100;
// Trailer sections are short, and their array is initialised.
const FEW_FIELDS: usize = 16;
// "a:" and a line end.
const SHORTEST_FIELD: usize = 4;
const VERSION_LEN: usize = b"HTTP/1.1".len();
// Where the reason starts.
const REASON: usize = b"HTTP/1.1 200 ".len();
