//! Where a head ends (RFC 9112, section 2.2).
//!
//! Looks for the line ends and nothing else, from where it stopped the last time: a peer
//! that sends byte by byte costs no more than one that sends at once. A line ends in CR LF;
//! a bare CR or LF is an error, wherever it stands. What a line says is parse.rs's matter.

use memchr::memchr2;

use super::limits::Limits;
use super::parse;
use crate::message::StatusCode;
use crate::message::field::is_tchar;
use crate::{Error, ErrorKind, Result};

/// What kind of head is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadKind {
    /// A request's; empty lines before it are skipped.
    Request,
    /// A response's.
    Response,
    /// The trailer section behind chunked content, which has no start-line.
    Trailers,
}

/// Where a head is in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Where it starts: behind the empty lines that were skipped.
    pub start: usize,
    /// Where it ends: behind its empty line.
    pub end: usize,
}

/// Finds the end of a head in a buffer that grows.
///
/// ```
/// use sessile::proto::{HeadKind, HeadScanner, Limits};
///
/// let mut scanner = HeadScanner::new(HeadKind::Request);
/// let limits = Limits::default();
/// assert!(scanner.find_end(b"GET / HTTP/1.1\r\nHost: a\r\n", &limits)?.is_none());
///
/// let head = scanner.find_end(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nmore", &limits)?;
/// assert_eq!(head.map(|head| head.end), Some(27));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "HTTPHeaderInputStream")]
#[doc(alias = "HTTPHeaderStreamBuf")]
pub struct HeadScanner {
    kind: HeadKind,
    // Everything before this byte was looked at.
    at: usize,
    // Where the head starts.
    start: usize,
    // Where the line that is being looked at starts.
    line: usize,
    // Where the start-line ends; 0 before that is known.
    start_line_end: usize,
    // Field lines that have ended.
    fields: usize,
    empty_lines: usize,
}

impl HeadScanner {
    /// A scanner at the start of a head.
    pub const fn new(kind: HeadKind) -> HeadScanner {
        HeadScanner { kind, at: 0, start: 0, line: 0, start_line_end: 0, fields: 0, empty_lines: 0 }
    }

    /// Back to the start of a head.
    pub fn reset(&mut self) {
        *self = HeadScanner::new(self.kind);
    }

    /// Whether nothing of the head was seen yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.at == 0
    }

    /// Where the head ends, or `None` if more bytes are needed.
    ///
    /// The buffer must start with the same byte from call to call and only grow, until a
    /// head was found; then the scanner starts afresh. What can't become a head is refused
    /// as early as that is known: a bare CR or LF, a line or a head past its limit, a
    /// start-line that is none. After an error the connection is of no use.
    pub fn find_end(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<Head>> {
        while let Some(end) = self.next_line_end(buffer, limits)? {
            let line = std::mem::replace(&mut self.line, end + 2);
            self.at = self.line;
            if self.is_leading() {
                self.end_leading_line(line, end, limits)?;
                if self.start_line_end > 0 {
                    // What is wrong with it is said before what is wrong behind it.
                    parse::check_start_line(self.kind, &buffer[self.start..self.line])?;
                }
            } else if end == line {
                let head = Head { start: self.start, end: end + 2 };
                self.reset();
                return Ok(Some(head));
            } else {
                self.fields += 1;
                if self.fields > limits.fields {
                    return Err(too_many_fields());
                }
            }
        }
        self.check_beginning(buffer)?;
        Ok(None)
    }

    /// The error for a connection that ended here, with these bytes in the buffer:
    /// [`NoMessage`](ErrorKind::NoMessage) if not even a head had begun.
    pub fn end_of_input(&self, buffer: &[u8]) -> Error {
        if self.kind != HeadKind::Trailers && buffer.len() <= self.start {
            return Error::new(ErrorKind::NoMessage, "the peer closed the connection before a message");
        }
        Error::incomplete("the peer closed the connection inside of the head of a message")
    }

    /// Whether there was no start-line yet.
    fn is_leading(&self) -> bool {
        self.start_line_end == 0 && self.kind != HeadKind::Trailers
    }

    /// Where the line ends that is being looked at.
    ///
    /// No end is looked for behind the limit, so that what is refused does not depend on how
    /// the bytes were cut into reads.
    fn next_line_end(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<usize>> {
        let size = match self.kind {
            _ if self.is_leading() => limits.start_line,
            HeadKind::Trailers => limits.trailers,
            HeadKind::Request | HeadKind::Response => limits.head,
        };
        let limit = self.start.saturating_add(size);
        let window = &buffer[..buffer.len().min(limit.saturating_add(1))];
        let Some(found) = memchr2(b'\r', b'\n', window.get(self.at..).unwrap_or_default()) else {
            if buffer.len() > limit {
                let too_long = if self.is_leading() { start_line_too_long } else { section_too_long };
                return Err(too_long());
            }
            self.at = buffer.len();
            return Ok(None);
        };
        self.at += found;
        match buffer[self.at..] {
            [b'\r', b'\n', ..] => Ok(Some(self.at)),
            [b'\r'] => Ok(None),
            [b'\r', ..] => Err(Error::malformed("a bare CR in the head of a message")),
            _ => Err(Error::malformed("a bare LF in the head of a message")),
        }
    }

    /// A line has ended before there was a start-line: it is that, or empty.
    fn end_leading_line(&mut self, line: usize, end: usize, limits: &Limits) -> Result<()> {
        if end > line {
            self.start_line_end = end;
            return Ok(());
        }
        self.empty_lines += 1;
        if self.kind == HeadKind::Response || self.empty_lines > limits.empty_lines {
            return Err(Error::malformed("an empty line where a message should start"));
        }
        self.start = self.line;
        Ok(())
    }

    /// More is needed: unless the start-line shows already that there is no hope. Clients of TLS or
    /// of another protocol would wait for an answer for the whole time limit.
    fn check_beginning(&self, buffer: &[u8]) -> Result<()> {
        if !self.is_leading() {
            return Ok(());
        }
        let line = &buffer[self.start..self.at];
        let hopeless = match self.kind {
            HeadKind::Response => line.iter().zip(b"HTTP/").any(|(byte, expected)| byte != expected),
            _ => line.first().is_some_and(|&byte| !is_tchar(byte)),
        };
        if hopeless {
            return Err(Error::malformed("what the peer sent does not start like a message of HTTP/1.1"));
        }
        Ok(())
    }
}

pub(super) fn start_line_too_long() -> Error {
    Error::too_large("the start-line is longer than the limit").with_status(StatusCode::URI_TOO_LONG)
}

pub(super) fn section_too_long() -> Error {
    let error = Error::too_large("the field section is longer than the limit");
    error.with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
}

pub(super) fn too_many_fields() -> Error {
    Error::too_large("more fields than the limit").with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
}
