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

/// Writes `Content-Length`.
#[inline]
pub fn write_content_length(out: &mut Vec<u8>, length: u64) {
    const NAME: &[u8] = b"Content-Length: ";
    const DIGITS: usize = 20;
    // Filled from its end, for one copy.
    let mut line = [b'\n'; NAME.len() + DIGITS + 2];
    let mut start = NAME.len() + DIGITS;
    line[start] = b'\r';
    let mut left = length;
    loop {
        start -= 1;
        line[start] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    start -= NAME.len();
    line[start..start + NAME.len()].copy_from_slice(NAME);
    out.extend_from_slice(&line[start..]);
}

/// Writes all fields of a map, in their order and spelling, but those whose names are to be
/// skipped. Fails, and writes nothing, if a value that was set unchecked can't be sent.
pub fn write_fields(out: &mut Vec<u8>, headers: &HeaderMap, skip: impl Fn(&[u8]) -> bool) -> Result<()> {
    headers.check()?;
    for (name, value) in headers.raw().filter(|(name, _)| !skip(name)) {
        write_good_field(out, name, value);
    }
    Ok(())
}

/// Writes all fields of a map, as [`write_fields`] does: one copy where the map was filled
/// by us.
#[inline]
pub fn write_all_fields(out: &mut Vec<u8>, headers: &HeaderMap) -> Result<()> {
    headers.check()?;
    headers.write_to(out);
    Ok(())
}

/// Writes the empty line behind the fields.
#[inline]
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
fn write_good_field(out: &mut Vec<u8>, name: impl AsRef<[u8]>, value: &[u8]) {
    let name = name.as_ref();
    out.reserve(name.len() + value.len() + LINE_EXTRA);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

// What a line has beside its variable parts, at most.
const LINE_EXTRA: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    /// Writes behind something, which must stay as it was if that fails.
    fn written(write: impl Fn(&mut Vec<u8>) -> Result<()>) -> Option<String> {
        let mut out = b"before ".to_vec();
        match write(&mut out) {
            Ok(()) => Some(String::from_utf8_lossy(&out[7..]).into_owned()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidArgument);
                assert_eq!(out, b"before ");
                None
            }
        }
    }

    fn status_line(version: Version, number: u16, reason: &[u8]) -> Option<String> {
        written(|out| write_status_line(out, version, StatusCode::new(number).unwrap(), reason))
    }

    fn request_line(method: &str, target: &str) -> Option<String> {
        written(|out| write_request_line(out, &Method::new(method).unwrap(), target, Version::Http10))
    }

    fn field(name: &str, value: &[u8]) -> Option<String> {
        written(|out| write_field(out, name, value))
    }

    #[test]
    fn a_status_line_has_its_blank_even_without_a_reason() {
        let line = |version, number, reason: &str| status_line(version, number, reason.as_bytes()).unwrap();
        assert_eq!(line(Version::Http11, 200, "OK"), "HTTP/1.1 200 OK\r\n");
        assert_eq!(line(Version::Http10, 200, "OK"), "HTTP/1.0 200 OK\r\n");
        assert_eq!(line(Version::Http11, 200, ""), "HTTP/1.1 200 \r\n");
        assert_eq!(line(Version::Http11, 404, "Not Found"), "HTTP/1.1 404 Not Found\r\n");
        assert_eq!(line(Version::Http11, 999, "caf\u{e9}\tx"), "HTTP/1.1 999 caf\u{e9}\tx\r\n");
    }

    #[test]
    fn all_statuses_are_written_with_three_digits() {
        for number in 100..=999 {
            assert_eq!(status_line(Version::Http11, number, b""), Some(format!("HTTP/1.1 {number} \r\n")));
        }
    }

    #[test]
    fn a_request_line_is_written_as_it_is() {
        assert_eq!(request_line("GET", "/a?b"), Some("GET /a?b HTTP/1.0\r\n".to_owned()));
        assert_eq!(request_line("CONNECT", "h:1"), Some("CONNECT h:1 HTTP/1.0\r\n".to_owned()));
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_line() {
        for byte in (0..=b' ').chain([0x7f]) {
            let text = [b'/', byte, b'x'];
            assert_eq!(request_line("GET", std::str::from_utf8(&text).unwrap()), None, "{byte:#x}");
            let good = byte == b' ' || byte == b'\t';
            assert_eq!(status_line(Version::Http11, 200, &text).is_some(), good, "{byte:#x}");
            assert_eq!(field("X", &text).is_some(), good, "{byte:#x}");
            assert_eq!(field(std::str::from_utf8(&[b'X', byte]).unwrap(), b""), None, "{byte:#x}");
        }
        for target in ["", "/\u{e9}", "/a b", " /"] {
            assert_eq!(request_line("GET", target), None);
        }
        for name in ["", "X:", "X Y", "X\u{e9}", "\"X\""] {
            assert_eq!(field(name, b""), None);
        }
        for value in [&b"a\r\nX-Injected: yes"[..], b"a\n", b"\r", b"\0"] {
            assert_eq!(field("X", value), None);
        }
        assert_eq!(field("X", b"caf\xc3\xa9"), Some("X: caf\u{e9}\r\n".to_owned()));
    }

    #[test]
    fn what_was_set_unchecked_is_checked_before_it_is_sent() {
        let mut response = Response::new();
        response.headers_mut().append("X-Fine", "1").unwrap();
        response.set_content_type("text/plain\r\nX-Injected: yes");
        assert_eq!(written(|out| write_response_head(out, &response)), None);
        assert_eq!(written(|out| write_fields(out, response.headers(), |_| false)), None);
        assert_eq!(written(|out| write_all_fields(out, response.headers())), None);
        let mut request = Request::get("/");
        request.set_content_type("a\0b");
        assert_eq!(written(|out| write_request_head(out, &request)), None);
        *request.headers_mut() = HeaderMap::new();
        request.target_mut().push_str(" HTTP/1.1\r\nX: y");
        assert_eq!(written(|out| write_request_head(out, &request)), None);
    }

    #[test]
    fn fields_keep_their_order_and_may_be_skipped() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("b", "1"), ("Skip", "2"), ("A", ""), ("b", "3")] {
            headers.append(name, value).unwrap();
        }
        let some = written(|out| write_fields(out, &headers, |name| name.eq_ignore_ascii_case(b"skip")));
        assert_eq!(some.as_deref(), Some("b: 1\r\nA: \r\nb: 3\r\n"));
        let all = written(|out| write_all_fields(out, &headers));
        assert_eq!(all.as_deref(), Some("b: 1\r\nSkip: 2\r\nA: \r\nb: 3\r\n"));
        headers.remove("skip");
        assert_eq!(written(|out| write_all_fields(out, &headers)), some);
    }

    #[test]
    fn numbers_are_decimal() {
        let number = |value| written(|out| write_number_field(out, "Content-Length", value));
        assert_eq!(number(0).as_deref(), Some("Content-Length: 0\r\n"));
        assert_eq!(number(u64::MAX).as_deref(), Some("Content-Length: 18446744073709551615\r\n"));
    }
}
