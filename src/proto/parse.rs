//! From the bytes of a head to a message (RFC 9112, sections 2 to 5).
//!
//! The only user of httparse. What that takes and this crate does not is refused here: bare
//! line ends, blank lines before a head, targets of the wrong form, a missing, repeated or
//! invalid `Host`; other versions get their own error. A head is read once and its field
//! section copied once; nothing is allocated where the message has room.

use std::mem::MaybeUninit;
use std::ops::Range;

use httparse::{EMPTY_HEADER, Header, Status};

use super::chunked::is_trailer_field;
use super::limits::Limits;
use super::scan::{HeadKind, HeadScanner, section_too_long, start_line_too_long, too_many_fields};
use super::target::{check_target, is_host};
use crate::message::{HeaderMap, Method, Request, Response, StatusCode, Version};
use crate::{Error, Result};

/// Reads a request's head from the start of a buffer, if all of it is there, and says where
/// it ends.
///
/// The same as [`HeadScanner::find_end`] and [`parse_request`]; a head that is there at once
/// is gone over only once. The scanner must be one for requests, and what is said at
/// `find_end` about the buffer holds.
///
/// ```
/// use sessile::message::Request;
/// use sessile::proto::{HeadKind, HeadScanner, Limits, read_request};
///
/// let mut scanner = HeadScanner::new(HeadKind::Request);
/// let (limits, mut request) = (Limits::default(), Request::default());
/// let mut buffer = b"GET /a HTTP/1.1\r\nHost:".to_vec();
/// assert_eq!(read_request(&mut scanner, &buffer, &limits, &mut request)?, None);
/// buffer.extend_from_slice(b" example.com\r\n\r\nmore");
/// assert_eq!(read_request(&mut scanner, &buffer, &limits, &mut request)?, Some(38));
/// assert_eq!(request.headers().get("host"), Some("example.com"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[inline(always)] // See `first_request`.
pub fn read_request(
    scanner: &mut HeadScanner,
    buffer: &[u8],
    limits: &Limits,
    into: &mut Request,
) -> Result<Option<usize>> {
    // The usual case: the head is there at once and has no fault. Whatever else it is, the
    // scanner finds out.
    if scanner.is_fresh() && !buffer.is_empty() {
        if let Ok(Some(end)) = first_request(buffer, limits, into) {
            return Ok(Some(end));
        }
    }
    scan_request(scanner, buffer, limits, into)
}

#[cold] // Most heads come whole.
fn scan_request(
    scanner: &mut HeadScanner,
    buffer: &[u8],
    limits: &Limits,
    into: &mut Request,
) -> Result<Option<usize>> {
    let Some(head) = scanner.find_end(buffer, limits)? else {
        return Ok(None);
    };
    parse_request(&buffer[head.start..head.end], limits, into)?;
    Ok(Some(head.end))
}

/// Reads a response's head from the start of a buffer: see [`read_request`].
pub fn read_response(
    scanner: &mut HeadScanner,
    buffer: &[u8],
    limits: &Limits,
    into: &mut Response,
) -> Result<Option<usize>> {
    if scanner.is_fresh() && !buffer.is_empty() {
        if let Ok(Some(end)) = first_response(buffer, limits, into) {
            return Ok(Some(end));
        }
    }
    let Some(head) = scanner.find_end(buffer, limits)? else {
        return Ok(None);
    };
    parse_response(&buffer[head.start..head.end], limits, into)?;
    Ok(Some(head.end))
}

/// Reads a request's head, as [`HeadScanner`] found it, into a request; what that held
/// before is gone.
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
    match first_request(head, limits, into) {
        Ok(Some(end)) if end == head.len() => Ok(()),
        Ok(_) => Err(no_end()),
        Err(Fault::Syntax(httparse::Error::Version)) => {
            parse_request(&as_http_11(head, request_version(head))?, limits, into)
        }
        Err(fault) => Err(fault.into()),
    }
}

/// Reads a response's head, as [`HeadScanner`] found it, into a response; what that held
/// before is gone.
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
    match first_response(head, limits, into) {
        Ok(Some(end)) if end == head.len() => Ok(()),
        Ok(_) => Err(no_end()),
        Err(Fault::Syntax(httparse::Error::Version)) => {
            parse_response(&as_http_11(head, response_version(head))?, limits, into)
        }
        Err(fault) => Err(fault.into()),
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
            if !has_line_ends(section) || !fields.iter().all(|field| is_line_start(section, field)) {
                return Err(bad_line_end());
            }
            let lines = &section[..end - 2];
            let kept = fields.iter().filter(|field| is_trailer_field(field.name));
            into.load(lines, kept.map(|field| spans(lines, field)));
            Ok(())
        }
        Ok(_) => Err(no_end()),
        Err(error) => Err(Fault::Syntax(error).into()),
    }
}

/// Refuses a start-line, given with its line end, that can't be one.
pub(super) fn check_start_line(kind: HeadKind, line: &[u8]) -> Result<()> {
    let mut fields = [];
    let (result, version) = match kind {
        HeadKind::Response => {
            (httparse::Response::new(&mut fields).parse(line).map(drop), response_version(line))
        }
        _ => {
            let mut request = httparse::Request::new(&mut fields);
            let result = request.parse(line).map(drop);
            if let (Ok(()), Some(method), Some(target)) = (&result, request.method, request.path) {
                check_target(&Method::from_bytes(method.as_bytes())?, target)?;
            }
            (result, request_version(line))
        }
    };
    match result {
        Ok(()) => Ok(()),
        Err(httparse::Error::Version) => as_http_11(line, version).map(|_| ()),
        Err(error) => Err(Fault::Syntax(error).into()),
    }
}

/// Why a head was not read.
enum Fault {
    Syntax(httparse::Error),
    Refused(Error),
}

/// Reads the request head that the input starts with, if it is whole, and says where it
/// ends. Nothing is in the request otherwise.
// The room for the fields is to lie in the frame below which a server's thread also waits and answers: all three then
// touch the same lines of its stack, which are cold again for every one of many threads.
#[inline(always)]
fn first_request(input: &[u8], limits: &Limits, into: &mut Request) -> Result<Option<usize>, Fault> {
    let mut fields = [const { MaybeUninit::uninit() }; COMMON_FIELDS];
    let end = match take_request(input, limits, into, &mut fields[..limits.fields.min(COMMON_FIELDS)]) {
        Err(Fault::Syntax(httparse::Error::TooManyHeaders)) if limits.fields > COMMON_FIELDS => {
            take_long_request(input, limits, into)
        }
        end => end,
    };
    if !matches!(end, Ok(Some(_))) {
        into.clear();
    }
    end
}

/// One with more fields than most have.
#[cold]
#[inline(never)]
fn take_long_request(input: &[u8], limits: &Limits, into: &mut Request) -> Result<Option<usize>, Fault> {
    let (mut many, mut more) = ([const { MaybeUninit::uninit() }; MANY_FIELDS], Vec::new());
    take_request(input, limits, into, room(&mut many, &mut more, input, limits))
}

fn take_request<'head>(
    input: &'head [u8],
    limits: &Limits,
    into: &mut Request,
    fields: &mut [MaybeUninit<Header<'head>>],
) -> Result<Option<usize>, Fault> {
    let mut parsed = httparse::Request::new(&mut []);
    let status = parsed.parse_with_uninit_headers(input, fields)?;
    let (Status::Complete(end), Some(method), Some(target), Some(minor)) =
        (status, parsed.method, parsed.path, parsed.version)
    else {
        return Ok(None);
    };
    let (head, fields) = (&input[..end], &*parsed.headers);
    check_size(head, method.len() + target.len() + VERSION_LEN + 2, limits)?;
    // What is wrong with the line is said before what is wrong behind it.
    let method = Method::from_bytes(method.as_bytes())?;
    check_target(&method, target)?;
    let mut hosts = Hosts::default();
    load(head, fields, into.headers_mut(), |field| hosts.look_at(field))?;
    hosts.check(minor)?;
    into.set_method(method);
    into.target_mut().clear();
    into.target_mut().push_str(target);
    into.set_version(version(minor));
    Ok(Some(end))
}

/// Reads the response head that the input starts with, if it is whole, and says where it
/// ends. Nothing is in the response otherwise.
fn first_response(input: &[u8], limits: &Limits, into: &mut Response) -> Result<Option<usize>, Fault> {
    let end = take_response(input, limits, into);
    if !matches!(end, Ok(Some(_))) {
        into.clear();
    }
    end
}

fn take_response(input: &[u8], limits: &Limits, into: &mut Response) -> Result<Option<usize>, Fault> {
    let (mut many, mut more) = ([const { MaybeUninit::uninit() }; MANY_FIELDS], Vec::new());
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let fields = room(&mut many, &mut more, input, limits);
    let status = config.parse_response_with_uninit_headers(&mut parsed, input, fields)?;
    let (Status::Complete(end), Some(minor), Some(code)) = (status, parsed.version, parsed.code) else {
        return Ok(None);
    };
    let (head, fields) = (&input[..end], &*parsed.headers);
    let line = &head[..line_end(head)];
    check_size(head, line.len(), limits)?;
    load(head, fields, into.headers_mut(), |_| {})?;
    let Ok(status) = StatusCode::new(code) else {
        return Err(Error::malformed("the status code is below 100").into());
    };
    into.set_status(status);
    into.set_version(version(minor));
    // httparse gives no reason that holds bytes above ASCII.
    into.reason_mut().extend_from_slice(line.get(REASON..).unwrap_or_default());
    Ok(Some(end))
}

/// The limits of size, as the scanner has them.
fn check_size(head: &[u8], start_line: usize, limits: &Limits) -> Result<()> {
    if start_line > limits.start_line {
        return Err(start_line_too_long());
    }
    if head.len() > limits.head.saturating_add(2) {
        return Err(section_too_long());
    }
    Ok(())
}

/// Whether a head has no empty line before it, and CR LF at its end: httparse also takes a bare LF.
fn has_line_ends(head: &[u8]) -> bool {
    !matches!(head.first(), Some(b'\r' | b'\n')) && head.ends_with(b"\r\n\r\n")
}

/// Whether the line before a field ends in CR LF. Every line but the first one is a field's, so that line
/// ends are in front of names and at the end, and nowhere else.
#[inline]
fn is_line_start(head: &[u8], field: &Header<'_>) -> bool {
    // There is an LF, or httparse would have seen no name.
    let name = span(head, field.name.as_bytes()).0;
    name == 0 || head.get(name.wrapping_sub(2)) == Some(&b'\r')
}

fn bad_line_end() -> Error {
    Error::malformed("a line is empty, or does not end in CR LF")
}

/// Copies the field section, once, with the places of names and values in it. All that is asked of
/// each field is asked on the way; what was copied is of no use after an error.
#[inline]
fn load<'a>(
    head: &[u8],
    fields: &[Header<'a>],
    into: &mut HeaderMap,
    mut look_at: impl FnMut(&Header<'a>),
) -> Result<()> {
    let start = fields.first().map_or(head.len(), |first| span(head, first.name.as_bytes()).0);
    let section = head.get(start..head.len().saturating_sub(2)).unwrap_or_default();
    if !has_line_ends(head) {
        return Err(bad_line_end());
    }
    if !into.begin_load(section) {
        return Err(too_many_fields());
    }
    for field in fields {
        if !is_line_start(head, field) {
            return Err(bad_line_end());
        }
        look_at(field);
        let name = field.name.as_bytes();
        into.load_field(name, span(section, name).0, span(section, field.value));
    }
    Ok(())
}

fn spans(section: &[u8], field: &Header<'_>) -> ((usize, usize), (usize, usize)) {
    (span(section, field.name.as_bytes()), span(section, field.value))
}

/// Where a part of a text that httparse has lent us is in that text.
fn span(whole: &[u8], part: &[u8]) -> (usize, usize) {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    (start, start + part.len())
}

/// The `Host` fields of a request.
#[derive(Default)]
struct Hosts<'a> {
    first: Option<&'a [u8]>,
    several: bool,
}

impl<'a> Hosts<'a> {
    #[inline]
    fn look_at(&mut self, field: &Header<'a>) {
        if let [b'H' | b'h', b'O' | b'o', b'S' | b's', b'T' | b't'] = field.name.as_bytes() {
            self.several |= self.first.replace(field.value).is_some();
        }
    }

    /// RFC 9112, 3.2: 400 for a request without `Host`, with two, or with an invalid one.
    #[inline]
    fn check(&self, minor: u8) -> Result<()> {
        match self.first {
            Some(_) if self.several => Err(Error::malformed("two Host fields in one request")),
            Some(host) if is_host(host) => Ok(()),
            Some(_) => Err(Error::malformed("the Host field is not a host and port")),
            None if minor == 0 => Ok(()),
            None => Err(Error::malformed("a request of HTTP/1.1 without a Host field")),
        }
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
        _ => Err(Fault::Syntax(httparse::Error::Version).into()),
    }
}

/// The end of the first line.
fn line_end(head: &[u8]) -> usize {
    memchr::memchr(b'\r', head).unwrap_or(head.len())
}

/// Room for as many fields as there may be: on the stack, but for unusual limits.
fn room<'fields, 'head>(
    many: &'fields mut [MaybeUninit<Header<'head>>; MANY_FIELDS],
    more: &'fields mut Vec<MaybeUninit<Header<'head>>>,
    head: &[u8],
    limits: &Limits,
) -> &'fields mut [MaybeUninit<Header<'head>>] {
    let fields = limits.fields.min(head.len() / SHORTEST_FIELD);
    if fields > MANY_FIELDS {
        more.resize_with(fields, MaybeUninit::uninit);
        return more;
    }
    &mut many[..limits.fields.min(MANY_FIELDS)]
}

fn no_end() -> Error {
    Error::malformed("the head of the message has no end")
}

impl From<httparse::Error> for Fault {
    fn from(error: httparse::Error) -> Fault {
        Fault::Syntax(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Refused(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        Error::malformed(match fault {
            Fault::Refused(error) => return error,
            Fault::Syntax(httparse::Error::TooManyHeaders) => return too_many_fields(),
            Fault::Syntax(httparse::Error::Token) => "the request line is malformed",
            Fault::Syntax(httparse::Error::Version) => "the version is not one of HTTP/1",
            Fault::Syntax(httparse::Error::Status) => "the status line is malformed",
            Fault::Syntax(httparse::Error::HeaderName) => "the name of a field is malformed",
            Fault::Syntax(httparse::Error::HeaderValue) => "the value of a field holds a control character",
            Fault::Syntax(httparse::Error::NewLine) => "a line does not end where it should",
        })
    }
}

// More than browsers send. The arrays are not initialised, so their size costs no time; but what lies behind them on
// the stack of a server's thread stays resident while its connection is idle.
const COMMON_FIELDS: usize = 32;
// As many as the default limit.
const MANY_FIELDS: usize = 100;
// Trailer sections are short, and their array is initialised.
const FEW_FIELDS: usize = 16;
// "a:" and a line end.
const SHORTEST_FIELD: usize = 4;
const VERSION_LEN: usize = b"HTTP/1.1".len();
// Where the reason starts.
const REASON: usize = b"HTTP/1.1 200 ".len();
