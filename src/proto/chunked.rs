//! The chunked transfer coding: size lines, chunk extensions and the trailer section
//! (RFC 9112, section 7.1).
//!
//! The grammar is exact. A size of no digits, a bare LF, blanks around a size or a missing
//! CR LF behind data are what messages are hidden with, so each is an error. Where content
//! lies between the lines is the decoder's matter.

use super::head::write_all_fields;
use super::limits::Limits;
use crate::message::HeaderMap;
use crate::message::StatusCode;
use crate::message::field::{hex_value, is_tchar};
use crate::{Error, Result};

/// The size line in front of a chunk's data, as it is sent.
///
/// A chunk is this line, the data and [`ChunkHead::END`]; content ends with
/// [`write_last_chunk`].
///
/// ```
/// use sessile::proto::ChunkHead;
///
/// let head = ChunkHead::new(5000).unwrap();
/// assert_eq!(head.as_bytes(), b"1388\r\n");
/// assert!(ChunkHead::new(0).is_none());
/// ```
#[derive(Debug, Clone, Copy)]
#[doc(alias = "HTTPChunkedOutputStream")]
pub struct ChunkHead {
    line: [u8; 18],
    start: u8,
}

impl ChunkHead {
    /// What follows a chunk's data.
    pub const END: &'static [u8; 2] = b"\r\n";

    /// The line for a chunk of this size; `None` for an empty one, which would end the
    /// content.
    pub fn new(size: usize) -> Option<ChunkHead> {
        let mut head = ChunkHead { line: *b"0000000000000000\r\n", start: 16 };
        let mut left = size;
        while left > 0 {
            head.start -= 1;
            head.line[usize::from(head.start)] = HEX_DIGITS[left & 0xf];
            left >>= 4;
        }
        (size > 0).then_some(head)
    }

    /// The line, with its line end.
    pub fn as_bytes(&self) -> &[u8] {
        &self.line[usize::from(self.start)..]
    }
}

/// Writes what ends chunked content: the last chunk and a trailer section.
///
/// Fails, and writes nothing, if a field has no business there ([`is_trailer_field`]) or
/// can't be sent.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: &HeaderMap) -> Result<()> {
    if let Some((name, _)) = trailers.iter().find(|(name, _)| !is_trailer_field(name)) {
        return Err(Error::invalid_argument(format!("{name} can't be sent behind the content")));
    }
    let start = out.len();
    out.extend_from_slice(b"0\r\n");
    if let Err(error) = write_all_fields(out, trailers) {
        out.truncate(start);
        return Err(error);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Whether the transfer codings are `chunked`, once: the only ones that are sent.
pub(crate) fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all("Transfer-Encoding");
    codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}

/// Whether a field of this name may come behind the content (RFC 9110, 6.5.1): not if it
/// says how the message is framed, routed, authenticated, modified or decoded, for then it
/// comes too late or contradicts what the head said.
pub fn is_trailer_field(name: &str) -> bool {
    !HEAD_ONLY.iter().any(|other| name.eq_ignore_ascii_case(other))
}

/// Reads the line in front of a chunk's data. Bytes are taken as they come, and none is
/// looked at twice.
#[derive(Debug, Clone)]
pub(super) struct SizeLine {
    size: u64,
    digits: u8,
    // Bytes behind the size in this line.
    extensions: usize,
    place: Place,
}

/// Where in a size line we are. The grammar is `chunk-size [ chunk-ext ] CRLF` with
/// `chunk-ext = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Size,
    /// In blanks that must be followed by a semicolon.
    BeforeSemicolon,
    /// Behind a semicolon.
    BeforeName,
    Name,
    /// In blanks that must be followed by an equals sign or a semicolon.
    BehindName,
    BeforeValue,
    Value,
    Quoted,
    /// Behind a backslash in a quoted-string.
    Escaped,
    /// Behind a quoted-string.
    BehindQuoted,
    /// Behind the CR.
    LineFeed,
}

impl SizeLine {
    pub(super) const fn new() -> SizeLine {
        SizeLine { size: 0, digits: 0, extensions: 0, place: Place::Size }
    }

    /// Reads on. Gives how many bytes were taken and, where they end the line, the size;
    /// then the next line can be read. `total` counts the extensions of the message.
    pub(super) fn read(
        &mut self,
        input: &[u8],
        limits: &Limits,
        total: &mut usize,
    ) -> Result<(usize, Option<u64>)> {
        let mut taken = 0;
        if self.place == Place::Size {
            taken = self.read_size(input)?;
            // Nearly all lines are over here.
            if let [b'\r', b'\n', ..] = input[taken..] {
                let size = self.size;
                *self = SizeLine::new();
                return Ok((taken + 2, Some(size)));
            }
        }
        while let Some(&byte) = input.get(taken) {
            taken += 1;
            if self.place == Place::LineFeed {
                if byte != b'\n' {
                    return Err(Error::malformed("a bare CR in a chunk-size line"));
                }
                let size = self.size;
                *self = SizeLine::new();
                return Ok((taken, Some(size)));
            }
            let Some(place) = self.place.behind(byte) else {
                return Err(Error::malformed("a chunk-size line is malformed"));
            };
            self.place = place;
            if place != Place::LineFeed {
                self.extensions += 1;
                *total += 1;
                if self.extensions > limits.chunk_line || *total > limits.chunk_extensions {
                    let error = Error::too_large("more chunk extensions than the limit");
                    return Err(error.with_status(StatusCode::BAD_REQUEST));
                }
            }
        }
        Ok((taken, None))
    }

    /// Reads digits on, and says how many. Where something else follows, there must have
    /// been one.
    fn read_size(&mut self, input: &[u8]) -> Result<usize> {
        let mut taken = 0;
        while let Some(digit) = input.get(taken).copied().and_then(hex_value) {
            if self.digits == MOST_DIGITS {
                return Err(Error::malformed("a chunk-size has more than 16 digits"));
            }
            self.digits += 1;
            self.size = self.size << 4 | u64::from(digit);
            taken += 1;
        }
        if self.digits == 0 && taken < input.len() {
            return Err(Error::malformed("a chunk-size does not start with a hexadecimal digit"));
        }
        Ok(taken)
    }
}

impl Place {
    /// Where this byte leads from here, if it is allowed.
    const fn behind(self, byte: u8) -> Option<Place> {
        use Place::*;
        Some(match (self, byte) {
            (Size | BeforeSemicolon | Name | BehindName | Value | BehindQuoted, b';') => BeforeName,
            (Size | Name | Value | BehindQuoted, b'\r') => LineFeed,
            (Size | Value | BehindQuoted | BeforeSemicolon, b' ' | b'\t') => BeforeSemicolon,
            (BeforeName, b' ' | b'\t') => BeforeName,
            (BeforeName | Name, _) if is_tchar(byte) => Name,
            (Name | BehindName, b' ' | b'\t') => BehindName,
            (Name | BehindName, b'=') => BeforeValue,
            (BeforeValue, b' ' | b'\t') => BeforeValue,
            (BeforeValue, b'"') => Quoted,
            (BeforeValue | Value, _) if is_tchar(byte) => Value,
            (Quoted, b'"') => BehindQuoted,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, b'\t' | b' '..=b'~' | 0x80..) => Quoted,
            _ => return None,
        })
    }
}

// u64::MAX has sixteen; more would only be zeros, without end.
const MOST_DIGITS: u8 = 16;

const HEX_DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// RFC 9110, 6.5.1, and the list of RFC 7230, 4.1.2, that it stands on.
const HEAD_ONLY: &[&str] = &[
    // Framing and connection.
    "Content-Length",
    "Transfer-Encoding",
    "Trailer",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Upgrade",
    "TE",
    // Routing.
    "Host",
    "Forwarded",
    // Modifiers of the request.
    "Cache-Control",
    "Expect",
    "Max-Forwards",
    "Pragma",
    "Range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
    // Authentication and state.
    "Authorization",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
    // Control data of the response.
    "Age",
    "Date",
    "Expires",
    "Location",
    "Retry-After",
    "Vary",
    "Warning",
    // How to process the content.
    "Content-Encoding",
    "Content-Type",
    "Content-Range",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_without_zeros_in_front() {
        for size in [1, 9, 10, 15, 16, 255, 256, 4096, 65_535, 0x1234_abcd, usize::MAX] {
            let head = ChunkHead::new(size).unwrap();
            assert_eq!(head.as_bytes(), format!("{size:X}\r\n").as_bytes());
        }
    }

    #[test]
    fn an_empty_chunk_is_none() {
        assert!(ChunkHead::new(0).is_none(), "it would end the content");
    }

    #[test]
    fn the_last_chunk_carries_the_trailers() {
        let mut out = b"before".to_vec();
        write_last_chunk(&mut out, &HeaderMap::new()).unwrap();
        assert_eq!(out, b"before0\r\n\r\n");

        let mut trailers = HeaderMap::new();
        trailers.append("Digest", "x").unwrap();
        trailers.append("X-Time", "5 ms").unwrap();
        out.clear();
        write_last_chunk(&mut out, &trailers).unwrap();
        assert_eq!(out, b"0\r\nDigest: x\r\nX-Time: 5 ms\r\n\r\n");
    }

    #[test]
    fn trailers_that_belong_in_the_head_or_hold_controls_are_not_sent() {
        for name in HEAD_ONLY {
            assert!(!is_trailer_field(name) && !is_trailer_field(&name.to_lowercase()), "{name}");
            let mut trailers = HeaderMap::new();
            trailers.append("X-Fine", "1").unwrap();
            trailers.append(name, "1").unwrap();
            let mut out = b"before".to_vec();
            assert!(write_last_chunk(&mut out, &trailers).is_err(), "{name}");
            assert_eq!(out, b"before");
        }
        let mut trailers = HeaderMap::new();
        trailers.set_unchecked("X-Evil", b"a\r\nb: c");
        let mut out = b"before".to_vec();
        assert!(write_last_chunk(&mut out, &trailers).is_err());
        assert_eq!(out, b"before");
        for name in ["ETag", "Digest", "Server-Timing", "X-Checksum", "Authentication-Info", "Hosts"] {
            assert!(is_trailer_field(name), "{name}");
        }
    }
}
