//! Reading a multipart body as a stream of parts (RFC 2046, 5.1; RFC 7578).
//!
//! Owns the order of things (preamble, boundary, header, content, epilogue), the limits and
//! what a part is. Content comes from the [`Scanner`]; a part's own `Content-Length` is
//! never looked at (RFC 7578, 4.8).

use std::fmt;
use std::io::{self, BufRead, Read};

use super::boundary::{LONGEST, check_boundary, is_boundary};
use super::disposition::ContentDisposition;
use super::scanner::Scanner;
use crate::message::{HeaderMap, MediaType, StatusCode};
use crate::{Error, ErrorKind, Result};

/// What a multipart body may cost its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MultipartLimits {
    /// Parts in one body. 1,000, as in Go and PHP: each costs work without costing bytes.
    pub parts: usize,
    /// Bytes of one part's header. 8 KiB: a name and a file name of 1,024 bytes, escaped,
    /// fit in with room to spare.
    pub header: usize,
    /// Fields of one part's header. 32: forms send two.
    pub fields: usize,
    /// Bytes of one part's content. No limit: the session has one on the whole body.
    pub content: u64,
    /// Bytes before the first boundary, and behind the last one. 64 KiB each: both are
    /// notes for people that nobody sends any more.
    pub around: u64,
    /// Multipart bodies inside of one another, this one counted. 3: RFC 7578 has no more
    /// than one, mail has two.
    pub nesting: usize,
}

impl Default for MultipartLimits {
    fn default() -> MultipartLimits {
        MultipartLimits {
            parts: 1000,
            header: 8 * 1024,
            fields: 32,
            content: u64::MAX,
            around: 64 * 1024,
            nesting: 3,
        }
    }
}

/// Reads a multipart body part by part, in constant memory, from anything that can be read.
///
/// Parts come in order. What was not read of a part is skipped when the next one is asked
/// for. A body that ends before its last boundary is an error of the kind
/// [`Incomplete`](ErrorKind::Incomplete), never a short part. An error of the input inside
/// of content (a time-out) leaves the reader where it was; any other error is given again
/// by every later call.
///
/// ```
/// use std::io::Read;
/// use sessile::web::MultipartReader;
///
/// let body = b"--xyz\r\n\
///     Content-Disposition: form-data; name=\"greeting\"\r\n\r\n\
///     hello\r\n\
///     --xyz--\r\n";
/// let mut reader = MultipartReader::new(&body[..], "xyz")?;
/// while let Some(mut part) = reader.next_part()? {
///     assert_eq!(part.name(), Some("greeting"));
///     let mut content = String::new();
///     part.read_to_string(&mut content)?;
///     assert_eq!(content, "hello");
/// }
/// # Ok::<(), sessile::Error>(())
/// ```
pub struct MultipartReader<R> {
    input: R,
    core: Core,
}

impl<R: BufRead> MultipartReader<R> {
    /// Reads from `input`, up to the last of these boundaries. Fails if it is none.
    pub fn new(input: R, boundary: &str) -> Result<MultipartReader<R>> {
        check_boundary(boundary)?;
        Ok(MultipartReader { input, core: Core::new(boundary, State::Preamble) })
    }

    /// Reads a body of this `Content-Type`: any `multipart/…` with a boundary.
    pub fn for_content_type(input: R, content_type: &str) -> Result<MultipartReader<R>> {
        MultipartReader::new(input, &boundary_of(content_type)?)
    }

    /// Reads a body whose boundary is not known: its first line, without the two dashes, is
    /// taken for it. For bodies from files; a `Content-Type` says it better.
    pub fn guess(mut input: R) -> Result<MultipartReader<R>> {
        let mut line = Vec::new();
        read_line(&mut input, &mut line, 2 + LONGEST + 2)?;
        let boundary = line.strip_prefix(b"--").and_then(|line| line.strip_suffix(b"\r\n"));
        let boundary = boundary.filter(|boundary| is_boundary(boundary));
        match boundary.and_then(|boundary| std::str::from_utf8(boundary).ok()) {
            Some(boundary) => Ok(MultipartReader { input, core: Core::new(boundary, State::Header) }),
            None => Err(Error::new(ErrorKind::Form, "the first line of the multipart body is no boundary")),
        }
    }

    /// The limits of this body. Those of bodies inside of it are the same.
    #[must_use]
    pub fn with_limits(mut self, limits: MultipartLimits) -> MultipartReader<R> {
        self.core.limits = limits;
        self.core.around_left = limits.around;
        self
    }

    /// The boundary, without dashes.
    pub fn boundary(&self) -> &str {
        &self.core.boundary
    }

    /// Whether there is one more part. Skips what is left of the present one.
    #[doc(alias = "hasNextPart")]
    pub fn has_next_part(&mut self) -> Result<bool> {
        self.core.has_next_part(&mut self.input)
    }

    /// The next part, or `None` behind the last one: then the input was read to its end.
    #[doc(alias = "nextPart")]
    pub fn next_part(&mut self) -> Result<Option<Part<'_>>>
    where
        R: Sized,
    {
        if !self.core.next_part(&mut self.input)? {
            return Ok(None);
        }
        Ok(Some(Part { input: &mut self.input, core: &mut self.core }))
    }

    /// The input, wherever the reader is in it.
    pub fn into_inner(self) -> R {
        self.input
    }
}

impl<R> fmt::Debug for MultipartReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultipartReader").field("core", &self.core).finish_non_exhaustive()
    }
}

/// One part of a multipart body: its header, and its content to be read.
///
/// A part may be left unread, in whole or in part. Its end is where the next boundary
/// stands; if the body ends before that, reading fails.
#[doc(alias = "stream")]
pub struct Part<'a> {
    input: &'a mut dyn BufRead,
    core: &'a mut Core,
}

impl Part<'_> {
    /// The fields of the part's header.
    pub fn headers(&self) -> &HeaderMap {
        &self.core.headers
    }

    /// What the part says of itself in `Content-Disposition`, if it does.
    pub fn disposition(&self) -> Option<&ContentDisposition> {
        self.core.disposition.as_ref()
    }

    /// The name of the form's field.
    pub fn name(&self) -> Option<&str> {
        self.disposition()?.name()
    }

    /// The file's name, as the sender says it. A part with a file name is a file, even
    /// where the name is empty (a field of a form in which no file was chosen). It may be a
    /// path or hold `..`: never open a file by it.
    #[doc(alias = "filename")]
    pub fn file_name(&self) -> Option<&str> {
        self.disposition()?.file_name()
    }

    /// The `Content-Type`, if the part has one; `text/plain` is meant where it has none.
    pub fn content_type(&self) -> Option<&str> {
        self.core.headers.get("Content-Type")
    }

    /// The content as text, if it is UTF-8 and has no more than so many bytes.
    pub fn read_text(&mut self, limit: usize) -> Result<String> {
        let mut bytes = Vec::new();
        loop {
            let lent = self.fill_buf()?;
            if lent.is_empty() {
                break;
            }
            let count = lent.len();
            if count > limit - bytes.len() {
                return Err(Error::too_large(format!("a field of the form has more than {limit} bytes")));
            }
            bytes.extend_from_slice(lent);
            self.consume(count);
        }
        String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::Form, "a field of the form is not UTF-8"))
    }

    /// A reader of the multipart body that this part is. It counts against the limit of
    /// nesting.
    pub fn multipart(&mut self) -> Result<MultipartReader<&mut dyn BufRead>> {
        let boundary = boundary_of(self.content_type().unwrap_or_default())?;
        check_boundary(&boundary)?;
        let limits = self.core.limits;
        if limits.nesting < 2 {
            return Err(Error::too_large("multipart bodies are nested too deep"));
        }
        let input: &mut dyn BufRead = self;
        let inner = MultipartReader { input, core: Core::new(&boundary, State::Preamble) };
        Ok(inner.with_limits(MultipartLimits { nesting: limits.nesting - 1, ..limits }))
    }
}

impl BufRead for Part<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.core.fill(&mut *self.input)
    }

    fn consume(&mut self, count: usize) {
        self.core.consume(&mut *self.input, count);
    }
}

impl Read for Part<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let lent = self.fill_buf()?;
        let count = lent.len().min(into.len());
        into[..count].copy_from_slice(&lent[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("headers", &self.core.headers).finish_non_exhaustive()
    }
}

/// A reader without its input, so that parts need not be generic.
#[derive(Debug)]
struct Core {
    boundary: String,
    scanner: Scanner,
    limits: MultipartLimits,
    state: State,
    parts: usize,
    headers: HeaderMap,
    disposition: Option<ContentDisposition>,
    line: Vec<u8>,
    content_left: u64,
    around_left: u64,
}

#[derive(Debug)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// Inside of a part's content, or at the boundary behind it.
    Content,
    /// Behind a boundary and its line end: a part follows.
    Header,
    /// Behind the last boundary.
    Epilogue,
    /// Behind everything.
    Ended,
    /// The body can't be read any further.
    Failed(Error),
}

impl Core {
    fn new(boundary: &str, state: State) -> Core {
        let limits = MultipartLimits::default();
        Core {
            boundary: boundary.into(),
            scanner: Scanner::new(boundary),
            limits,
            state,
            parts: 0,
            headers: HeaderMap::new(),
            disposition: None,
            line: Vec::new(),
            content_left: 0,
            around_left: limits.around,
        }
    }

    fn next_part<R: BufRead + ?Sized>(&mut self, input: &mut R) -> Result<bool> {
        if !self.has_next_part(input)? {
            return Ok(false);
        }
        let result = self.read_header(input);
        self.remember(result)?;
        self.scanner.start();
        self.content_left = self.limits.content;
        self.state = State::Content;
        Ok(true)
    }

    /// Content of the present part; empty at its end.
    fn fill<'a, R: BufRead + ?Sized>(&'a mut self, input: &'a mut R) -> io::Result<&'a [u8]> {
        match &self.state {
            State::Content => {}
            State::Failed(error) => return Err(error.duplicate().into()),
            _ => return Ok(&[]),
        }
        let lent = self.scanner.fill(input)?;
        if !lent.is_empty() && self.content_left == 0 {
            let limit = self.limits.content;
            return Err(Error::too_large(format!("a part has more than {limit} bytes")).into());
        }
        let allowed = usize::try_from(self.content_left).unwrap_or(usize::MAX);
        Ok(&lent[..lent.len().min(allowed)])
    }

    fn consume<R: BufRead + ?Sized>(&mut self, input: &mut R, count: usize) {
        self.scanner.consume(input, count);
        self.content_left = self.content_left.saturating_sub(count as u64);
    }

    /// Goes on to the next part's header, or to the end of everything.
    fn has_next_part<R: BufRead + ?Sized>(&mut self, input: &mut R) -> Result<bool> {
        loop {
            match &self.state {
                State::Preamble | State::Content => {
                    self.skip(input)?;
                    let behind = end_of_boundary(input);
                    self.state = self.remember(behind)?;
                }
                State::Header => return Ok(true),
                State::Epilogue => {
                    skip_epilogue(input, &mut self.around_left)?;
                    self.state = State::Ended;
                }
                State::Ended => return Ok(false),
                State::Failed(error) => return Err(error.duplicate()),
            }
        }
    }

    /// To behind the next boundary.
    fn skip<R: BufRead + ?Sized>(&mut self, input: &mut R) -> Result<()> {
        loop {
            let count = self.scanner.fill(input)?.len();
            if count == 0 {
                self.around_left = self.limits.around;
                return Ok(());
            }
            if matches!(self.state, State::Preamble) {
                spend(&mut self.around_left, count)?;
            }
            self.scanner.consume(input, count);
        }
    }

    fn read_header<R: BufRead + ?Sized>(&mut self, input: &mut R) -> Result<()> {
        if self.parts >= self.limits.parts {
            return Err(Error::too_large(format!("there are more than {} parts", self.limits.parts)));
        }
        self.parts += 1;
        self.headers.clear();
        self.disposition = None;
        let mut left = self.limits.header;
        loop {
            self.line.clear();
            read_line(input, &mut self.line, left)
                .map_err(|error| past_limit(error, "the header of a part", self.limits.header))?;
            left -= self.line.len();
            let Some(line) = self.line.strip_suffix(b"\r\n") else {
                return Err(Error::new(ErrorKind::Form, "a line in the header of a part ends without CR"));
            };
            if line.is_empty() {
                break;
            }
            if self.headers.len() >= self.limits.fields {
                return Err(Error::too_large(format!(
                    "the header of a part has more than {} fields",
                    self.limits.fields
                )));
            }
            append_field(&mut self.headers, line)?;
        }
        let mut dispositions = self.headers.get_all("Content-Disposition");
        if let Some(value) = dispositions.next() {
            self.disposition = Some(ContentDisposition::parse(value)?);
        }
        if dispositions.next().is_some() {
            return Err(Error::new(ErrorKind::Form, "a part has more than one Content-Disposition"));
        }
        Ok(())
    }

    /// After an error between two parts nobody knows where the reader stands.
    fn remember<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.state = State::Failed(error.duplicate());
        }
        result
    }
}

/// What stands behind a boundary: two dashes if it was the last one, else blanks and a line
/// end. Anything else is refused: it may be content to one reader and a boundary to another.
fn end_of_boundary<R: BufRead + ?Sized>(input: &mut R) -> Result<State> {
    let mut byte = next_byte(input)?;
    if byte == b'-' && next_byte(input)? == b'-' {
        return Ok(State::Epilogue);
    }
    for _ in 0..LONGEST_PADDING {
        match byte {
            b' ' | b'\t' => byte = next_byte(input)?,
            b'\r' if next_byte(input)? == b'\n' => return Ok(State::Header),
            _ => break,
        }
    }
    Err(Error::new(ErrorKind::Form, "a boundary is followed by something that is no line end"))
}

/// Reads the input to its end, so that what carries the body can go on behind it.
fn skip_epilogue<R: BufRead + ?Sized>(input: &mut R, left: &mut u64) -> Result<()> {
    loop {
        let count = match input.fill_buf() {
            Ok(buffer) => buffer.len(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if count == 0 {
            return Ok(());
        }
        spend(left, count)?;
        input.consume(count);
    }
}

fn spend(left: &mut u64, count: usize) -> Result<()> {
    match left.checked_sub(count as u64) {
        Some(rest) => *left = rest,
        None => {
            return Err(Error::too_large("there is too much before or behind the parts of a multipart body"));
        }
    }
    Ok(())
}

/// One field of a part's header.
fn append_field(headers: &mut HeaderMap, line: &[u8]) -> Result<()> {
    let malformed = || Error::new(ErrorKind::Form, "a line in the header of a part is no field");
    let colon = memchr::memchr(b':', line).ok_or_else(malformed)?;
    let name = std::str::from_utf8(&line[..colon]).map_err(|_| malformed())?;
    headers.append(name, &line[colon + 1..]).map_err(|_| malformed())
}

/// One line with its end, appended; too large if it has more than `limit` bytes.
fn read_line<R: BufRead + ?Sized>(input: &mut R, line: &mut Vec<u8>, limit: usize) -> Result<()> {
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if buffer.is_empty() {
            return Err(Error::incomplete("the multipart body ends inside of a part's header"));
        }
        let end = memchr::memchr(b'\n', buffer);
        let count = end.map_or(buffer.len(), |end| end + 1);
        if count > limit.saturating_sub(line.len()) {
            return Err(Error::too_large("a line is too long"));
        }
        line.extend_from_slice(&buffer[..count]);
        input.consume(count);
        if end.is_some() {
            return Ok(());
        }
    }
}

fn past_limit(error: Error, what: &str, limit: usize) -> Error {
    match error.kind() {
        ErrorKind::TooLarge => Error::too_large(format!("{what} has more than {limit} bytes")),
        _ => error,
    }
}

fn next_byte<R: BufRead + ?Sized>(input: &mut R) -> Result<u8> {
    loop {
        match input.fill_buf() {
            Ok([]) => return Err(Error::incomplete("the multipart body ends inside of a boundary")),
            Ok(&[byte, ..]) => {
                input.consume(1);
                return Ok(byte);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The boundary that a `Content-Type` names.
fn boundary_of(content_type: &str) -> Result<String> {
    // Leniently: there are senders that quote no boundary, whatever is in it.
    let media_type = MediaType::lenient(content_type);
    if !media_type.matches_type("multipart") {
        return Err(Error::new(ErrorKind::Form, "the content is not multipart")
            .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let mut boundaries = media_type.parameters().filter(|(name, _)| name.eq_ignore_ascii_case("boundary"));
    match (boundaries.next(), boundaries.next()) {
        (Some((_, boundary)), None) => Ok(boundary.into()),
        _ => Err(Error::new(ErrorKind::Form, "the Content-Type does not name one boundary")),
    }
}

/// Blanks behind a boundary; more is no transport's doing.
const LONGEST_PADDING: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::multipart::testing::{Chopped, Random};

    const FORM: &[u8] = b"note for people\r\n\
        --b \t \r\n\
        Content-Disposition: form-data; name=\"one\"\r\n\
        \r\n\
        1\r\n\
        --b\r\n\
        content-disposition: form-data; name=\"two\"; filename=\"2.bin\"\r\n\
        Content-Type: application/octet-stream\r\n\
        Content-Length: 1\r\n\
        \r\n\
        \r\n-\r\n--\r\n--a\r\r\n\r\n\
        --b\r\n\
        \r\n\
        \r\n\
        --b--\r\nepilogue --b\r\n--b\r\n";

    fn reader(body: &[u8]) -> MultipartReader<&[u8]> {
        MultipartReader::new(body, "b").unwrap()
    }

    fn read_all(reader: &mut MultipartReader<impl BufRead>) -> Result<Vec<(String, Vec<u8>)>> {
        let mut parts = Vec::new();
        while let Some(mut part) = reader.next_part()? {
            let name = part.name().unwrap_or_default().to_string();
            let mut content = Vec::new();
            part.read_to_end(&mut content)?;
            parts.push((name, content));
        }
        Ok(parts)
    }

    fn kind<T: fmt::Debug>(result: Result<T>) -> ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn parts_come_whole_through_every_split_of_the_input() {
        let expected = [
            ("one".to_string(), b"1".to_vec()),
            ("two".to_string(), b"\r\n-\r\n--\r\n--a\r\r\n".to_vec()),
            (String::new(), b"".to_vec()),
        ];
        for at in 0..=FORM.len() {
            let mut reader = MultipartReader::new(Chopped::at(FORM, at), "b").unwrap();
            assert_eq!(read_all(&mut reader).unwrap(), expected, "split at {at}");
        }
        for size in 1..=FORM.len() {
            let mut reader = MultipartReader::new(Chopped::every(FORM, size), "b").unwrap();
            assert_eq!(read_all(&mut reader).unwrap(), expected, "buffers of {size}");
        }
    }

    #[test]
    fn a_cut_anywhere_before_the_last_boundary_is_incomplete() {
        let end = FORM.windows(5).position(|bytes| bytes == b"--b--").unwrap() + 5;
        for cut in 0..end {
            for size in [1, 7, cut.max(1)] {
                let mut reader = MultipartReader::new(Chopped::every(&FORM[..cut], size), "b").unwrap();
                assert_eq!(kind(read_all(&mut reader)), ErrorKind::Incomplete, "cut at {cut}");
            }
        }
        assert_eq!(read_all(&mut reader(&FORM[..end])).unwrap().len(), 3);
    }

    #[test]
    fn random_parts_come_back_through_random_splits() {
        let mut random = Random::new(11);
        for round in 0..400 {
            let boundary = ["b", "--x", "a-b", "MIME_boundary_0123456789abcdef"][random.below(4)];
            let pieces: [&[u8]; 7] =
                [b"\r\n", b"--", b"\r", b"\n--", b"text", &boundary.as_bytes()[1..], b"\0\xff"];
            let parts: Vec<Vec<u8>> = (0..random.below(6))
                .map(|_| (0..random.below(20)).flat_map(|_| pieces[random.below(7)].to_vec()).collect())
                .filter(|part: &Vec<u8>| {
                    let seen = [b"\r\n", &part[..], b"\r\n"].concat();
                    memchr::memmem::find(&seen, format!("\r\n--{boundary}").as_bytes()).is_none()
                })
                .collect();
            let mut writer = super::super::MultipartWriter::with_boundary(Vec::new(), boundary).unwrap();
            for part in &parts {
                let mut headers = HeaderMap::new();
                headers.append("X", "y").unwrap();
                writer.next_part(&headers).unwrap();
                io::Write::write_all(&mut writer, part).unwrap();
            }
            writer.close().unwrap();
            let body = writer.into_inner();
            let largest = 1 + random.below(40);
            let input = Chopped::randomly(&body, random.next(), largest);
            let mut reader = MultipartReader::new(input, boundary).unwrap();
            let got: Vec<_> =
                read_all(&mut reader).unwrap().into_iter().map(|(_, content)| content).collect();
            assert_eq!(got, parts, "round {round}");
        }
    }

    #[test]
    fn unread_parts_are_skipped() {
        let mut reader = reader(FORM);
        assert_eq!(reader.next_part().unwrap().unwrap().name(), Some("one"));
        let mut part = reader.next_part().unwrap().unwrap();
        assert_eq!(part.file_name(), Some("2.bin"));
        part.read_exact(&mut [0; 3]).unwrap();
        assert!(reader.has_next_part().unwrap());
        assert!(reader.has_next_part().unwrap());
        assert!(reader.next_part().unwrap().unwrap().headers().is_empty());
        assert!(!reader.has_next_part().unwrap());
        assert!(reader.next_part().unwrap().is_none());
        assert!(reader.next_part().unwrap().is_none());
        assert!(reader.into_inner().is_empty(), "the epilogue was read");
    }

    #[test]
    fn the_end_of_a_part_is_an_end_that_stays() {
        let mut reader = reader(FORM);
        let mut part = reader.next_part().unwrap().unwrap();
        assert_eq!(part.read_text(10).unwrap(), "1");
        for _ in 0..3 {
            assert_eq!(part.read(&mut [0; 8]).unwrap(), 0);
        }
    }

    #[test]
    fn a_form_without_parts_is_its_last_boundary() {
        for body in [&b"--b--"[..], b"--b--\r\n", b"\r\n--b--\r\n", b"x\r\n--b--"] {
            assert!(reader(body).next_part().unwrap().is_none(), "{body:?}");
        }
        assert_eq!(kind(reader(b"").next_part()), ErrorKind::Incomplete);
    }

    #[test]
    fn a_part_may_have_no_content_and_no_header() {
        // The grammar's body-part without `CRLF *OCTET`: the blank line is the delimiter's.
        let body = b"--b\r\nA: 1\r\n\r\n--b\r\n\r\n--b\r\n\r\n\r\n--b--";
        assert_eq!(read_all(&mut reader(body)).unwrap(), vec![(String::new(), vec![]); 3]);
    }

    #[test]
    fn a_boundary_followed_by_something_else_is_refused() {
        for body in [&b"--bx\r\n\r\n--b--"[..], b"--b\n\r\n", b"--b-\r\n", b"--b\rx", b"--b x\r\n"] {
            let mut reader = reader(body);
            assert_eq!(kind(reader.next_part()), ErrorKind::Form, "{body:?}");
            assert_eq!(kind(reader.has_next_part()), ErrorKind::Form, "and stays so");
        }
        let padded = [b"--b", &b" ".repeat(1000)[..], b"\r\n\r\n\r\n--b--"].concat();
        assert_eq!(kind(reader(&padded).next_part()), ErrorKind::Form);
    }

    #[test]
    fn a_header_that_is_none_is_refused() {
        for header in [
            "no colon",
            " folded: x",
            "A : x",
            ": x",
            "A: x\n",
            "A: \0",
            "A: x\r\n folded",
            "Content-Disposition: form-data; name=\"a",
            "Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b",
        ] {
            let body = format!("--b\r\n{header}\r\n\r\nx\r\n--b--");
            let mut reader = reader(body.as_bytes());
            assert_eq!(kind(reader.next_part()), ErrorKind::Form, "{header:?}");
            assert_eq!(kind(reader.next_part()), ErrorKind::Form, "and stays so");
        }
    }

    #[test]
    fn each_limit_has_its_error() {
        let with = |body: &'static [u8], change: fn(&mut MultipartLimits)| {
            let mut limits = MultipartLimits::default();
            change(&mut limits);
            reader(body).with_limits(limits)
        };
        assert_eq!(kind(read_all(&mut with(FORM, |l| l.parts = 2))), ErrorKind::TooLarge);
        assert!(read_all(&mut with(FORM, |l| l.parts = 3)).is_ok());
        assert_eq!(kind(read_all(&mut with(FORM, |l| l.fields = 2))), ErrorKind::TooLarge);
        assert!(read_all(&mut with(FORM, |l| l.fields = 3)).is_ok());
        assert_eq!(kind(read_all(&mut with(FORM, |l| l.header = 122))), ErrorKind::TooLarge);
        assert!(read_all(&mut with(FORM, |l| l.header = 123)).is_ok());
        assert_eq!(kind(read_all(&mut with(FORM, |l| l.content = 14))), ErrorKind::TooLarge);
        assert!(read_all(&mut with(FORM, |l| l.content = 15)).is_ok());
        assert_eq!(kind(read_all(&mut with(FORM, |l| l.around = 14))), ErrorKind::TooLarge);
        assert!(read_all(&mut with(FORM, |l| l.around = 30)).is_ok());
    }

    #[test]
    fn a_part_that_is_too_large_can_be_skipped() {
        let limits = MultipartLimits { content: 5, ..MultipartLimits::default() };
        let mut reader = reader(FORM).with_limits(limits);
        reader.next_part().unwrap();
        let mut part = reader.next_part().unwrap().unwrap();
        let mut content = Vec::new();
        assert_eq!(Error::from(part.read_to_end(&mut content).unwrap_err()).kind(), ErrorKind::TooLarge);
        assert_eq!(content, b"\r\n-\r\n");
        assert!(reader.next_part().unwrap().is_some());
    }

    #[test]
    fn text_is_utf_8_and_no_longer_than_asked_for() {
        let body = b"--b\r\n\r\nabc\r\n--b\r\n\r\n\xff\r\n--b--";
        let mut reader = reader(body);
        assert_eq!(kind(reader.next_part().unwrap().unwrap().read_text(2)), ErrorKind::TooLarge);
        assert_eq!(kind(reader.next_part().unwrap().unwrap().read_text(2)), ErrorKind::Form);
    }

    #[test]
    fn a_multipart_part_is_read_as_one_up_to_a_depth() {
        let inner = "--in\r\n\r\nx\r\n--in\r\n\r\ny\r\n--in--\r\n";
        let body = format!(
            "--b\r\nContent-Type: multipart/mixed; boundary=\"in\"\r\n\r\n{inner}\r\n--b\r\n\r\nz\r\n--b--"
        );
        let mut outer = reader(body.as_bytes());
        {
            let mut part = outer.next_part().unwrap().unwrap();
            let mut inside = part.multipart().unwrap();
            let contents: Vec<_> = read_all(&mut inside).unwrap().into_iter().map(|part| part.1).collect();
            assert_eq!(contents, [b"x", b"y"]);
        }
        assert_eq!(outer.next_part().unwrap().unwrap().read_text(9).unwrap(), "z");

        fn deepest(reader: &mut MultipartReader<&mut dyn BufRead>) -> Result<usize> {
            match reader.next_part()? {
                Some(mut part) if part.content_type().is_some() => Ok(1 + deepest(&mut part.multipart()?)?),
                _ => Ok(1),
            }
        }
        let endless: String = (0..9)
            .map(|n| format!("--{n}\r\nContent-Type: multipart/mixed; boundary={}\r\n\r\n", n + 1))
            .collect();
        let mut input = endless.as_bytes();
        let mut reader = MultipartReader::new(&mut input as &mut dyn BufRead, "0").unwrap();
        assert_eq!(kind(deepest(&mut reader)), ErrorKind::TooLarge);
    }

    #[test]
    fn a_part_that_is_no_multipart_is_not_read_as_one() {
        let mut reader = reader(FORM);
        let error = reader.next_part().unwrap().unwrap().multipart().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Form);
    }

    #[test]
    fn the_boundary_comes_from_the_content_type_in_any_case() {
        for good in ["multipart/form-data; boundary=b=?", "Multipart/Mixed;Boundary=\"b=?\"; charset=x"] {
            assert_eq!(MultipartReader::for_content_type(&b""[..], good).unwrap().boundary(), "b=?");
        }
        for bad in [
            "text/plain; boundary=b",
            "multipart/form-data",
            "multipart/form-data; boundary=\"\"",
            "",
            "multipart/mixed; boundary=a; boundary=b",
        ] {
            assert_eq!(kind(MultipartReader::for_content_type(&b""[..], bad)), ErrorKind::Form, "{bad}");
        }
    }

    #[test]
    fn the_boundary_is_guessed_from_the_first_line() {
        let mut guessed = MultipartReader::guess(&b"--a b\r\nA: 1\r\n\r\nx\r\n--a b--"[..]).unwrap();
        assert_eq!(guessed.boundary(), "a b");
        assert_eq!(guessed.next_part().unwrap().unwrap().headers().get("A"), Some("1"));
        assert!(guessed.next_part().unwrap().is_none());
        for bad in [&b"preamble\r\n--b\r\n"[..], b"--\r\n", b"--b\n", b"--\0\r\n"] {
            assert_eq!(kind(MultipartReader::guess(bad)), ErrorKind::Form, "{bad:?}");
        }
        assert_eq!(kind(MultipartReader::guess(&b"x".repeat(1000)[..])), ErrorKind::TooLarge);
        assert_eq!(kind(MultipartReader::guess(&b"--b"[..])), ErrorKind::Incomplete);
    }

    /// Fails once at each byte before it gives it.
    struct Stuttering<'a>(&'a [u8], bool);

    impl Read for Stuttering<'_> {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            unreachable!()
        }
    }

    impl BufRead for Stuttering<'_> {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(&self.0[..self.0.len().min(1)]) }
        }

        fn consume(&mut self, count: usize) {
            self.0 = &self.0[count..];
        }
    }

    #[test]
    fn a_time_out_inside_of_content_loses_nothing() {
        let mut reader = reader(FORM);
        reader.next_part().unwrap();
        reader.next_part().unwrap();
        let core = reader.core;
        let mut reader = MultipartReader { input: Stuttering(reader.input, false), core };
        let mut part = Part { input: &mut reader.input, core: &mut reader.core };
        let mut content = Vec::new();
        loop {
            let mut byte = [0];
            match part.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => content.push(byte[0]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            }
        }
        assert_eq!(content, b"\r\n-\r\n--\r\n--a\r\r\n");
    }
}
