//! How heads are written (RFC 9112, sections 3, 4 and 5): the only writer of syntax.
//!
//! Whatever would let a value become a second field or a second message (CR, LF, NUL, any
//! other control) is refused here, whoever put it there; then nothing is written. What
//! fields a message needs is not known here.

use crate::message::field::{Decimal, is_field_value, is_token};
use crate::message::{HeaderMap, Method, Request, Response, StatusCode, Version};
use crate::{Error, Result};

/// Writes a request's head as it is: line, fields and the empty line.
///
/// ```
/// use sessile::message::Request;
/// use sessile::proto::write_request_head;
///
/// let mut request = Request::get("/a");
/// request.headers_mut().append("Host", "example.com")?;
/// let mut out = Vec::new();
/// write_request_head(&mut out, &request)?;
/// assert_eq!(out, b"GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n");
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPHeaderOutputStream")]
pub fn write_request_head(out: &mut Vec<u8>, request: &Request) -> Result<()> {
    let start = out.len();
    write_request_line(out, request.method(), request.target(), request.version())?;
    finish_head(out, start, request.headers())
}

/// Writes a response's head as it is: line, fields and the empty line.
///
/// ```
/// use sessile::message::{Response, StatusCode};
/// use sessile::proto::write_response_head;
///
/// let mut out = Vec::new();
/// write_response_head(&mut out, &Response::with_status(StatusCode::NO_CONTENT))?;
/// assert_eq!(out, b"HTTP/1.1 204 No Content\r\n\r\n");
/// # Ok::<(), sessile::Error>(())
/// ```
pub fn write_response_head(out: &mut Vec<u8>, response: &Response) -> Result<()> {
    let start = out.len();
    write_status_line(out, response.version(), response.status(), response.reason_bytes())?;
    finish_head(out, start, response.headers())
}

/// Writes a request line. Fails if the target is empty or holds anything but visible ASCII.
pub fn write_request_line(out: &mut Vec<u8>, method: &Method, target: &str, version: Version) -> Result<()> {
    if target.is_empty() || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::invalid_argument("the target of a request must be visible ASCII, and not empty"));
    }
    let method = method.as_str();
    out.reserve(method.len() + target.len() + LINE_EXTRA);
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(match version {
        Version::Http10 => b" HTTP/1.0\r\n",
        Version::Http11 => b" HTTP/1.1\r\n",
    });
    Ok(())
}

/// Writes a status line. An empty reason stays empty. Fails if the reason holds controls.
pub fn write_status_line(
    out: &mut Vec<u8>,
    version: Version,
    status: StatusCode,
    reason: &[u8],
) -> Result<()> {
    if let (StatusCode::OK, Version::Http11, b"OK") = (status, version, reason) {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return Ok(());
    }
    if !is_field_value(reason) {
        return Err(Error::invalid_argument("the reason of a response holds control characters"));
    }
    let number = status.as_u16();
    let digit = |value: u16| b'0' + (value % 10) as u8;
    out.reserve(reason.len() + LINE_EXTRA);
    out.extend_from_slice(match version {
        Version::Http10 => b"HTTP/1.0 ",
        Version::Http11 => b"HTTP/1.1 ",
    });
    out.extend_from_slice(&[digit(number / 100), digit(number / 10), digit(number), b' ']);
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes a field line. Fails if the name is not a token or the value holds controls.
pub fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<()> {
    if !is_token(name.as_bytes()) {
        return Err(Error::invalid_argument(format!("{name:?} is not a field name")));
    }
    if !is_field_value(value) {
        return Err(Error::invalid_argument(format!(
            "the value for the field {name} holds control characters"
        )));
    }
    write_good_field(out, name, value);
    Ok(())
}

/// Writes a field line with a number. Fails if the name is not a token.
pub fn write_number_field(out: &mut Vec<u8>, name: &str, value: u64) -> Result<()> {
    write_field(out, name, Decimal::new(value).as_bytes())
}

/// Writes all fields of a map, in their order and spelling, but those whose names are to be
/// skipped. Fails, and writes nothing, if a value that was set unchecked can't be sent.
pub fn write_fields(out: &mut Vec<u8>, headers: &HeaderMap, skip: impl Fn(&str) -> bool) -> Result<()> {
    headers.check()?;
    for (name, value) in headers.iter().filter(|(name, _)| !skip(name)) {
        write_good_field(out, name, value);
    }
    Ok(())
}

/// Writes all fields of a map, as [`write_fields`] does: one copy where the map was filled
/// by us.
pub fn write_all_fields(out: &mut Vec<u8>, headers: &HeaderMap) -> Result<()> {
    headers.check()?;
    headers.write_to(out);
    Ok(())
}

/// Writes the empty line behind the fields.
pub fn end_head(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

fn finish_head(out: &mut Vec<u8>, start: usize, headers: &HeaderMap) -> Result<()> {
    if let Err(error) = write_all_fields(out, headers) {
        out.truncate(start);
        return Err(error);
    }
    end_head(out);
    Ok(())
}

/// Writes a field whose name and value were checked, when they were put into their map.
fn write_good_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + LINE_EXTRA);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

// What a line has beside its variable parts, at most.
const LINE_EXTRA: usize = 16;
