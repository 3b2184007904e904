//! Where a head ends (RFC 9112, section 2.2).
//!
//! Looks for the line ends and nothing else, from where it stopped the last time: a peer
//! that sends byte by byte costs no more than one that sends at once. A line ends in CR LF;
//! a bare CR or LF is an error, wherever it stands. What a line says is parse.rs's matter.

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
    // Whether the start-line of an incomplete head was looked at.
    checked: bool,
}

impl HeadScanner {
    /// A scanner at the start of a head.
    pub const fn new(kind: HeadKind) -> HeadScanner {
        HeadScanner {
            kind,
            at: 0,
            start: 0,
            line: 0,
            start_line_end: 0,
            fields: 0,
            empty_lines: 0,
            checked: false,
        }
    }

    /// Back to the start of a head.
    pub fn reset(&mut self) {
        *self = HeadScanner::new(self.kind);
    }

    /// Where the head ends, or `None` if more bytes are needed.
    ///
    /// The buffer must start with the same byte from call to call and only grow, until a
    /// head was found; then the scanner starts afresh. What can't become a head is refused
    /// as early as that is known: a bare CR or LF, a line or a head past its limit, a
    /// start-line that is none. After an error the connection is of no use.
    pub fn find_end(&mut self, buffer: &[u8], limits: &Limits) -> Result<Option<Head>> {
        if self.is_leading() && !self.find_start_line(buffer, limits)? {
            self.check_beginning(buffer)?;
            return Ok(None);
        }
        let size = if self.kind == HeadKind::Trailers { limits.trailers } else { limits.head };
        let (mut line, mut fields) = (self.line, self.fields);
        let found = go_over_lines(buffer, self.at, self.start.saturating_add(size), |end| {
            if end == line || fields == limits.fields {
                return true;
            }
            fields += 1;
            line = end + 2;
            false
        });
        match found {
            Found::Line(end) if end == line => {
                let head = Head { start: self.start, end: end + 2 };
                self.reset();
                Ok(Some(head))
            }
            Found::Line(_) => Err(too_many_fields()),
            Found::End(at) => {
                (self.at, self.line, self.fields) = (at, line, fields);
                self.check_beginning(buffer)?;
                Ok(None)
            }
            Found::TooLong => {
                let error = Error::too_large("the field section is longer than the limit");
                Err(error.with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE))
            }
            Found::BareCr => Err(bare_cr()),
            Found::BareLf => Err(bare_lf()),
        }
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

    /// Steps over empty lines and the start-line, and says whether that has ended.
    fn find_start_line(&mut self, buffer: &[u8], limits: &Limits) -> Result<bool> {
        loop {
            let limit = self.start.saturating_add(limits.start_line);
            match go_over_lines(buffer, self.at, limit, |_| true) {
                Found::Line(end) => {
                    self.at = end + 2;
                    self.line = self.at;
                    if end > self.start {
                        self.start_line_end = end;
                        return Ok(true);
                    }
                    self.empty_lines += 1;
                    if self.kind == HeadKind::Response || self.empty_lines > limits.empty_lines {
                        return Err(Error::malformed("an empty line where a message should start"));
                    }
                    self.start = self.at;
                }
                Found::End(at) => {
                    self.at = at;
                    return Ok(false);
                }
                Found::TooLong => {
                    let error = Error::too_large("the start-line is longer than the limit");
                    return Err(error.with_status(StatusCode::URI_TOO_LONG));
                }
                Found::BareCr => return Err(bare_cr()),
                Found::BareLf => return Err(bare_lf()),
            }
        }
    }

    /// More is needed: unless the start-line shows already that there is no hope.
    ///
    /// Clients of HTTP/0.9, of TLS or of another protocol wait for an answer behind their
    /// first line; they would wait for the whole time limit.
    fn check_beginning(&mut self, buffer: &[u8]) -> Result<()> {
        if self.checked || self.kind == HeadKind::Trailers {
            return Ok(());
        }
        if self.start_line_end > 0 {
            self.checked = true;
            return parse::check_start_line(self.kind, &buffer[self.start..self.start_line_end + 2]);
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

/// What was found at a line end, or for want of one.
enum Found {
    /// The line end to stop at.
    Line(usize),
    /// Everything before this place was looked at.
    End(usize),
    TooLong,
    BareCr,
    BareLf,
}

/// Goes from line end to line end, from `at` on, until it is told to stop.
///
/// None is looked for behind the limit, so that what is refused does not depend on how the
/// bytes were cut into reads. Sixteen bytes are looked at in one comparison; most of a head
/// is not looked at more closely.
#[inline]
fn go_over_lines(buffer: &[u8], at: usize, limit: usize, mut stop: impl FnMut(usize) -> bool) -> Found {
    let window = &buffer[..buffer.len().min(limit.saturating_add(1))];
    let mut start = at;
    while start < window.len() {
        let rest = &window[start..];
        let block = match rest.first_chunk() {
            Some(block) => *block,
            None => padded(rest),
        };
        let mut low = low_bytes(block);
        while low != 0 {
            let place = start + low.trailing_zeros() as usize / 8;
            low &= low - 1;
            match buffer[place..] {
                [b'\r', b'\n', ..] if stop(place) => return Found::Line(place),
                [b'\r', b'\n', ..] => {}
                [b'\r'] => return Found::End(place),
                [b'\r', ..] => return Found::BareCr,
                [b'\n', ..] if place == 0 || buffer[place - 1] != b'\r' => return Found::BareLf,
                _ => {}
            }
        }
        start += BLOCK;
    }
    if buffer.len() > limit { Found::TooLong } else { Found::End(window.len()) }
}

/// The high bit of each byte that is not above CR.
fn low_bytes(block: [u8; BLOCK]) -> u128 {
    // No early exit: the compiler makes one comparison of it.
    if !block.iter().fold(false, |low, &byte| low | (byte <= b'\r')) {
        return 0;
    }
    const ONES: u128 = u128::MAX / 0xff;
    const HIGH: u128 = ONES * 0x80;
    let block = u128::from_le_bytes(block);
    !(((block & !HIGH) + ONES * (0x80 - FIRST_AFTER_CR)) | block) & HIGH
}

fn padded(rest: &[u8]) -> [u8; BLOCK] {
    let mut block = [0xff; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    block
}

fn bare_cr() -> Error {
    Error::malformed("a bare CR in the head of a message")
}

fn bare_lf() -> Error {
    Error::malformed("a bare LF in the head of a message")
}

pub(super) fn too_many_fields() -> Error {
    Error::too_large("more fields than the limit").with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
}

const BLOCK: usize = 16;

const FIRST_AFTER_CR: u128 = b'\r' as u128 + 1;
