//! Writing a multipart body (RFC 2046, section 5.1.1).
//!
//! Owns boundaries and line ends, and nothing else: what a part is made of is the caller's.

use std::fmt;
use std::io::{self, Write};

use super::boundary::{check_boundary, create_boundary};
use crate::message::HeaderMap;
use crate::{Error, Result};

/// Writes a multipart body part by part to anything that can be written to.
///
/// [`next_part`](MultipartWriter::next_part) starts a part, the writer itself takes its
/// content, [`close`](MultipartWriter::close) writes the last boundary. A body that was not
/// closed is no body: dropping the writer writes nothing.
///
/// ```
/// use std::io::Write;
/// use sessile::message::HeaderMap;
/// use sessile::web::{ContentDisposition, MultipartWriter};
///
/// let mut writer = MultipartWriter::with_boundary(Vec::new(), "xyz")?;
/// let mut headers = HeaderMap::new();
/// headers.set("Content-Disposition", ContentDisposition::form_data("greeting").to_string())?;
/// writer.next_part(&headers)?;
/// writer.write_all(b"hello")?;
/// writer.close()?;
/// assert_eq!(
///     writer.into_inner(),
///     b"--xyz\r\nContent-Disposition: form-data; name=\"greeting\"\r\n\r\nhello\r\n--xyz--\r\n"
/// );
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "stream")]
pub struct MultipartWriter<W> {
    out: W,
    boundary: String,
    state: State,
    head: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Part,
    Closed,
}

impl<W: Write> MultipartWriter<W> {
    /// A writer with a new boundary: see [`create_boundary`].
    pub fn new(out: W) -> Result<MultipartWriter<W>> {
        MultipartWriter::with_boundary(out, &create_boundary()?)
    }

    /// A writer with this boundary, which the content must not hold.
    pub fn with_boundary(out: W, boundary: &str) -> Result<MultipartWriter<W>> {
        check_boundary(boundary)?;
        Ok(MultipartWriter { out, boundary: boundary.into(), state: State::Empty, head: Vec::new() })
    }

    /// The boundary, without dashes, as it belongs into `Content-Type`.
    pub fn boundary(&self) -> &str {
        &self.boundary
    }

    /// Ends the present part, if there is one, and starts the next with these fields.
    #[doc(alias = "nextPart")]
    pub fn next_part(&mut self, headers: &HeaderMap) -> Result<()> {
        self.start_boundary()?;
        self.head.extend_from_slice(b"\r\n");
        for (name, value) in headers.iter() {
            self.head.extend_from_slice(name.as_bytes());
            self.head.extend_from_slice(b": ");
            self.head.extend_from_slice(value);
            self.head.extend_from_slice(b"\r\n");
        }
        self.head.extend_from_slice(b"\r\n");
        self.state = State::Part;
        self.out.write_all(&self.head)?;
        Ok(())
    }

    /// Ends the body. Nothing can be written behind that.
    pub fn close(&mut self) -> Result<()> {
        self.start_boundary()?;
        self.head.extend_from_slice(b"--\r\n");
        self.state = State::Closed;
        self.out.write_all(&self.head)?;
        Ok(())
    }

    /// Where the body was written to.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn start_boundary(&mut self) -> Result<()> {
        self.head.clear();
        match self.state {
            State::Empty => {}
            State::Part => self.head.extend_from_slice(b"\r\n"),
            State::Closed => return Err(Error::illegal_state("the multipart body was closed")),
        }
        self.head.extend_from_slice(b"--");
        self.head.extend_from_slice(self.boundary.as_bytes());
        Ok(())
    }
}

impl<W: Write> Write for MultipartWriter<W> {
    /// Content of the present part.
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        match self.state {
            State::Part => self.out.write(content),
            State::Empty => Err(Error::illegal_state("content needs a part: call next_part first").into()),
            State::Closed => Err(Error::illegal_state("the multipart body was closed").into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W> fmt::Debug for MultipartWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultipartWriter")
            .field("boundary", &self.boundary)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value).unwrap();
        }
        headers
    }

    #[test]
    fn parts_are_separated_and_closed_as_the_rfc_says() {
        let mut writer = MultipartWriter::with_boundary(Vec::new(), "b").unwrap();
        writer.next_part(&headers(&[("A", "1"), ("B", "2")])).unwrap();
        writer.write_all(b"x").unwrap();
        writer.next_part(&headers(&[])).unwrap();
        writer.close().unwrap();
        assert_eq!(writer.into_inner(), b"--b\r\nA: 1\r\nB: 2\r\n\r\nx\r\n--b\r\n\r\n\r\n--b--\r\n");
    }

    #[test]
    fn a_body_without_parts_is_its_last_boundary() {
        let mut writer = MultipartWriter::with_boundary(Vec::new(), "b").unwrap();
        writer.close().unwrap();
        assert_eq!(writer.into_inner(), b"--b--\r\n");
    }

    #[test]
    fn content_outside_of_a_part_is_an_error() {
        let mut writer = MultipartWriter::with_boundary(Vec::new(), "b").unwrap();
        let error = Error::from(writer.write_all(b"x").unwrap_err());
        assert_eq!(error.kind(), ErrorKind::IllegalState);
        writer.close().unwrap();
        assert!(writer.write_all(b"x").is_err());
        assert!(writer.close().is_err());
        assert!(writer.next_part(&HeaderMap::new()).is_err());
        assert_eq!(writer.into_inner(), b"--b--\r\n");
    }
}
