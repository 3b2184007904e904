//! Message framing: where the content of a message ends (RFC 9112, section 6.3).
//!
//! Pure functions from heads to [`Framing`]; the steps carry the numbers of the RFC. What
//! could be read in two ways is refused, here and nowhere else: it is what requests are
//! smuggled with. Nothing here reads, writes or waits.

use crate::message::field::{parse_decimal, split_unquoted};
use crate::message::{HeaderMap, Method, Request, Response, StatusCode, Version};
use crate::{Error, Result};

/// How the end of a message's content is found.
///
/// ```
/// use sessile::message::Request;
/// use sessile::proto::{Framing, request_framing};
///
/// let mut request = Request::post("/");
/// assert_eq!(request_framing(&request)?, Framing::None);
/// request.set_content_length(5);
/// assert_eq!(request_framing(&request)?, Framing::Length(5));
///
/// request.headers_mut().append("Transfer-Encoding", "chunked")?;
/// assert!(request_framing(&request).is_err());
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no content.
    None,
    /// So many bytes.
    #[doc(alias = "HTTPFixedLengthStreamBuf")]
    Length(u64),
    /// Chunks, up to the one of size 0, and a trailer section.
    #[doc(alias = "HTTPChunkedStreamBuf")]
    Chunked,
    /// All that comes until the connection is closed.
    #[doc(alias = "HTTPStreamBuf")]
    UntilClose,
}

/// How the content of a request ends.
///
/// Stricter than the RFC asks for where that is allowed: `Transfer-Encoding` beside
/// `Content-Length`, a repeated `Content-Length` and any coding but one `chunked` are errors.
/// They are answered with 400, codings in front of `chunked` with 501; either way the
/// connection must be closed.
pub fn request_framing(request: &Request) -> Result<Framing> {
    let headers = request.headers();
    // 7. Neither field, as in most requests.
    if !headers.has("Transfer-Encoding") && !headers.has("Content-Length") {
        return Ok(Framing::None);
    }
    announced_framing(headers, request.version())
}

/// How the content ends that a request announces.
#[inline(never)] // Most announce none.
fn announced_framing(headers: &HeaderMap, version: Version) -> Result<Framing> {
    match (transfer_coding(headers, version)?, content_length(headers, Repeated::Refused)?) {
        // 3. Both fields: "ought to be handled as an error".
        (Some(_), Some(_)) => Err(both()),
        // 4. Transfer-Encoding.
        (Some(Coding::Chunked), None) => Ok(Framing::Chunked),
        (Some(Coding::OthersAndChunked), None) => {
            let error = Error::unsupported("the request has a transfer coding other than chunked");
            Err(error.with_status(StatusCode::NOT_IMPLEMENTED))
        }
        (Some(Coding::NotFinallyChunked), None) => {
            Err(Error::malformed("the final transfer coding of the request is not chunked"))
        }
        // 6. A valid Content-Length (an invalid one, step 5, was refused when it was read).
        (None, Some(length)) => Ok(Framing::Length(length)),
        // 7. Neither.
        (None, None) => Ok(Framing::None),
    }
}

/// How the content of the response to a request with this method ends.
///
/// After a response to `CONNECT` with a status of 2xx, and after 101, the connection is no
/// longer one of HTTP/1.1: the framing is [`Framing::None`], and what follows belongs to
/// whoever asked for it. Equal repeated lengths are taken as one.
pub fn response_framing(method: &Method, response: &Response) -> Result<Framing> {
    let status = response.status();
    // 1. These never have content, whatever the fields say.
    if *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
    {
        return Ok(Framing::None);
    }
    // 2. The connection becomes a tunnel; the fields are ignored.
    if *method == Method::CONNECT && status.is_success() {
        return Ok(Framing::None);
    }
    let headers = response.headers();
    match (transfer_coding(headers, response.version())?, content_length(headers, Repeated::TakenIfEqual)?) {
        // 3. Both fields: "ought to be handled as an error".
        (Some(_), Some(_)) => Err(both()),
        // 4. Transfer-Encoding. Without a final chunked the content would end with the
        // connection, but could not be decoded.
        (Some(Coding::Chunked), None) => Ok(Framing::Chunked),
        (Some(_), None) => Err(Error::unsupported("the response has a transfer coding other than chunked")),
        // 6. A valid Content-Length.
        (None, Some(length)) => Ok(Framing::Length(length)),
        // 8. Neither.
        (None, None) => Ok(Framing::UntilClose),
    }
}

/// What the `Transfer-Encoding` fields say.
enum Coding {
    /// Just `chunked`, once.
    Chunked,
    /// Codings we do not know, with `chunked` around them.
    OthersAndChunked,
    /// Codings of which the last is not `chunked`: the end can't be found.
    NotFinallyChunked,
}

fn transfer_coding(headers: &HeaderMap, version: Version) -> Result<Option<Coding>> {
    let mut fields = headers.get_all("Transfer-Encoding").peekable();
    let Some(first) = fields.peek() else {
        return Ok(None);
    };
    // RFC 9112, 6.1: no sender of HTTP/1.0 knows this field, so the framing is faulty.
    if version == Version::Http10 {
        return Err(Error::malformed("Transfer-Encoding in a message of HTTP/1.0"));
    }
    if first.eq_ignore_ascii_case(b"chunked") && headers.get_all("Transfer-Encoding").nth(1).is_none() {
        return Ok(Some(Coding::Chunked));
    }
    let (mut chunked, mut last_is_chunked) = (0, false);
    for coding in fields.flat_map(|field| split_unquoted(field, b',')) {
        last_is_chunked = coding.eq_ignore_ascii_case(b"chunked");
        chunked += u32::from(last_is_chunked);
        // Only a sender's mistake, or a trick, puts chunked twice or nothing into this list.
        if chunked > 1 || coding.is_empty() {
            return Err(Error::malformed("the transfer codings can't be read"));
        }
    }
    Ok(Some(if last_is_chunked { Coding::OthersAndChunked } else { Coding::NotFinallyChunked }))
}

/// What to do with a length that is said twice, in one field or in two.
#[derive(PartialEq)]
enum Repeated {
    Refused,
    TakenIfEqual,
}

fn content_length(headers: &HeaderMap, repeated: Repeated) -> Result<Option<u64>> {
    let mut fields = headers.get_all("Content-Length");
    let Some(first) = fields.next() else {
        return Ok(None);
    };
    if let (Some(length), None) = (parse_decimal(first), fields.next()) {
        return Ok(Some(length));
    }
    if repeated == Repeated::Refused {
        return Err(Error::malformed("the Content-Length is not one decimal number"));
    }
    // 5. "unless the field value can be successfully parsed as a comma-separated list, all
    // values in the list are valid, and all values in the list are the same".
    let mut lengths =
        headers.get_all("Content-Length").flat_map(|field| split_unquoted(field, b',')).map(parse_decimal);
    match lengths.next() {
        Some(Some(length)) if lengths.all(|other| other == Some(length)) => Ok(Some(length)),
        _ => Err(Error::malformed("the Content-Length is not one decimal number")),
    }
}

fn both() -> Error {
    Error::malformed("Transfer-Encoding and Content-Length in one message")
}
