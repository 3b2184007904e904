//! Forms beyond names and values: reading either encoding, sending files.
//!
//! [`Form`] has the fields and their urlencoded form; this adds what needs multipart bodies:
//! reading a request's form whatever its encoding, and a form with parts to send. Together
//! they are Poco's `HTMLForm`.

use std::fmt;
use std::io::{self, BufRead, Read, Write};

use super::multipart::{
    ContentDisposition, MultipartReader, MultipartWriter, Part, PartSource, create_boundary,
};
use crate::message::{Form, HeaderMap, MediaType, Method, Request, StatusCode, Version};
use crate::{Error, ErrorKind, Result};

/// Takes the files of a form while it is read.
///
/// A closure is one. What it leaves unread of a part is skipped.
#[doc(alias = "PartStore")]
pub trait PartHandler {
    /// Called for each part that is a file, in order.
    #[doc(alias = "handlePart")]
    fn handle_part(&mut self, part: &mut Part<'_>) -> Result<()>;
}

impl<F: FnMut(&mut Part<'_>) -> Result<()>> PartHandler for F {
    fn handle_part(&mut self, part: &mut Part<'_>) -> Result<()> {
        self(part)
    }
}

/// Reading what a request carries.
impl Form {
    /// Reads a request's form in place of what was there: the fields of its query, then
    /// those of its content, by its `Content-Type`. Files in it are skipped.
    ///
    /// Without a `Content-Type` the content is not looked at. Another one than the two of
    /// forms is an error (415), and so is what goes beyond the [limits](Form::limits) (413).
    ///
    /// ```
    /// use sessile::message::{Form, Request};
    ///
    /// let mut request = Request::post("/search?page=2");
    /// request.set_content_type(Form::MEDIA_TYPE);
    /// let mut form = Form::new();
    /// form.load(&request, &b"words=blue+whale"[..])?;
    /// assert_eq!(form.get("page"), Some("2"));
    /// assert_eq!(form.get("words"), Some("blue whale"));
    /// # Ok::<(), sessile::Error>(())
    /// ```
    #[doc(alias = "NullPartHandler")]
    pub fn load(&mut self, request: &Request, content: impl BufRead) -> Result<()> {
        self.load_parts(request, content, |_: &mut Part<'_>| Ok(()))
    }

    /// As [`load`](Form::load), and gives the files to a handler. A file counts as a field;
    /// its size is limited by whatever limits the content.
    ///
    /// ```
    /// use std::io;
    /// use sessile::message::{Form, Request};
    /// use sessile::web::Part;
    ///
    /// let content = b"--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nHolidays\r\n\
    ///     --b\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a.jpg\"\r\n\r\n...\r\n--b--\r\n";
    /// let mut request = Request::post("/photos");
    /// request.set_content_type("multipart/form-data; boundary=b");
    ///
    /// let mut form = Form::new();
    /// let mut bytes = 0;
    /// form.load_parts(&request, &content[..], |part: &mut Part<'_>| {
    ///     bytes += io::copy(part, &mut io::sink())?;
    ///     Ok(())
    /// })?;
    /// assert_eq!((form.get("title"), bytes), (Some("Holidays"), 3));
    /// # Ok::<(), sessile::Error>(())
    /// ```
    pub fn load_parts(
        &mut self,
        request: &Request,
        content: impl BufRead,
        handler: impl PartHandler,
    ) -> Result<()> {
        self.clear();
        self.parse_more(request.query().unwrap_or_default())?;
        let Some(content_type) = request.content_type() else { return Ok(()) };
        let media_type = MediaType::lenient(content_type);
        if media_type.matches_pair("multipart", "form-data") {
            return self.read_parts(MultipartReader::for_content_type(content, content_type)?, handler);
        }
        if media_type.matches(&MediaType::lenient(Form::MEDIA_TYPE)) {
            self.read_from(content)?;
            return Ok(());
        }
        Err(Error::new(ErrorKind::Form, "the content is no form")
            .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
    }

    /// Adds the fields of a multipart body, and gives the parts that are files to a handler.
    pub fn read_parts(
        &mut self,
        mut reader: MultipartReader<impl BufRead>,
        mut handler: impl PartHandler,
    ) -> Result<()> {
        let limits = self.limits();
        let mut total = 0;
        let mut fields = self.len();
        while let Some(mut part) = reader.next_part()? {
            fields += 1;
            if fields > limits.fields {
                return Err(too_large("the form has more fields than the limit"));
            }
            let name =
                part.name().ok_or_else(|| Error::new(ErrorKind::Form, "a part of the form has no name"))?;
            if name.len() > limits.name {
                return Err(too_large("a field of the form has a name longer than the limit"));
            }
            if part.file_name().is_some() {
                handler.handle_part(&mut part)?;
                continue;
            }
            let name = name.to_owned();
            let left = limits.value.min(limits.total - total);
            let value = part.read_text(left).map_err(|error| match error.kind() {
                ErrorKind::TooLarge => too_large("a field of the form has a value longer than the limit"),
                _ => error,
            })?;
            total += value.len();
            self.add(name, value);
        }
        Ok(())
    }
}

/// A form to be sent as `multipart/form-data`: fields, and parts that are files.
///
/// ```
/// use sessile::message::Request;
/// use sessile::web::{BytesPart, MultipartForm};
///
/// let mut form = MultipartForm::new()?;
/// form.add("title", "Holidays");
/// form.add_part("photo", BytesPart::new("...").with_media_type("image/jpeg").with_file_name("a.jpg"));
///
/// let mut request = Request::post("/photos");
/// form.prepare_submit(&mut request)?;
/// let mut content = Vec::new(); // or session.send_request(&request)?
/// form.write_to(&mut content)?;
/// assert_eq!(request.content_length()?, Some(content.len() as u64));
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTMLForm")]
pub struct MultipartForm {
    boundary: String,
    fields: Form,
    parts: Vec<(String, Box<dyn PartSource>)>,
}

impl MultipartForm {
    /// The media type of a form with parts, without its boundary.
    #[doc(alias = "ENCODING_MULTIPART")]
    pub const MEDIA_TYPE: &'static str = "multipart/form-data";

    /// An empty form with a new boundary. Fails if the operating system has no random
    /// numbers.
    pub fn new() -> Result<MultipartForm> {
        MultipartForm::with_fields(Form::new())
    }

    /// A form with these fields. The type is the encoding: a [`Form`] is urlencoded, this is
    /// multipart.
    #[doc(alias = "setEncoding")]
    #[doc(alias = "getEncoding")]
    pub fn with_fields(fields: Form) -> Result<MultipartForm> {
        Ok(MultipartForm { boundary: create_boundary()?, fields, parts: Vec::new() })
    }

    /// Adds a field.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.fields.add(name, value);
        self
    }

    /// Adds a part. Parts are sent behind the fields, in order.
    #[doc(alias = "addPart")]
    pub fn add_part(&mut self, name: impl Into<String>, source: impl PartSource + 'static) -> &mut Self {
        self.parts.push((name.into(), Box::new(source)));
        self
    }

    /// The fields.
    pub fn fields(&self) -> &Form {
        &self.fields
    }

    /// The fields, to change them.
    pub fn fields_mut(&mut self) -> &mut Form {
        &mut self.fields
    }

    /// The boundary between the parts.
    pub fn boundary(&self) -> &str {
        &self.boundary
    }

    /// How long the content is; `None` if a part does not know its length.
    #[doc(alias = "calculateContentLength")]
    #[doc(alias = "OPT_USE_CONTENT_LENGTH")]
    pub fn content_length(&self) -> Result<Option<u64>> {
        let Some(parts) = self.parts.iter().map(|(_, source)| source.content_length()).sum::<Option<u64>>()
        else {
            return Ok(None);
        };
        let mut writer = MultipartWriter::with_boundary(Count(0), &self.boundary)?;
        self.write_fields(&mut writer)?;
        for (name, source) in &self.parts {
            writer.next_part(&part_headers(name, &**source)?)?;
        }
        writer.close()?;
        Ok(Some(writer.into_inner().0.saturating_add(parts)))
    }

    /// Makes a request one that submits this form: sets its `Content-Type`, and
    /// `Content-Length` if the length of every part is known, else chunked coding. The
    /// content is then written by [`write_to`](MultipartForm::write_to).
    ///
    /// Only requests with content can: `POST`, `PUT`, `PATCH`. To an HTTP/1.0 server the
    /// length must be known.
    #[doc(alias = "prepareSubmit")]
    pub fn prepare_submit(&self, request: &mut Request) -> Result<()> {
        if ![Method::POST, Method::PUT, Method::PATCH].contains(request.method()) {
            return Err(Error::invalid_argument("a form with parts is sent by POST, PUT or PATCH"));
        }
        match self.content_length()? {
            Some(length) => _ = request.set_chunked(false).set_content_length(length),
            None if request.version() == Version::Http10 => {
                return Err(Error::invalid_argument("a part of unknown length can't be sent by HTTP/1.0"));
            }
            None => _ = request.remove_content_length().set_chunked(true),
        }
        request.set_content_type(format!("{}; boundary={}", MultipartForm::MEDIA_TYPE, self.boundary));
        Ok(())
    }

    /// Writes the content. A part that gives fewer bytes than it said is an error: what was
    /// written is then of no use. A form can be written again if all its parts can be.
    #[doc(alias = "write")]
    pub fn write_to(&mut self, out: impl Write) -> Result<()> {
        let mut writer = MultipartWriter::with_boundary(out, &self.boundary)?;
        self.write_fields(&mut writer)?;
        for (name, source) in &mut self.parts {
            writer.next_part(&part_headers(name, &**source)?)?;
            let length = source.content_length();
            let copied = copy(source.reader()?, length, &mut writer)?;
            if let Some(length) = length.filter(|length| copied < *length) {
                let message = format!("the part {name:?} gave {copied} of {length} bytes");
                return Err(Error::incomplete(message));
            }
        }
        writer.close()
    }

    fn write_fields(&self, writer: &mut MultipartWriter<impl Write>) -> Result<()> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.fields.iter() {
            headers.set("Content-Disposition", ContentDisposition::form_data(name).to_string())?;
            writer.next_part(&headers)?;
            writer.write_all(value.as_bytes())?;
        }
        Ok(())
    }
}

impl fmt::Debug for MultipartForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.parts.iter().map(|(name, _)| name).collect();
        f.debug_struct("MultipartForm").field("fields", &self.fields).field("parts", &parts).finish()
    }
}

/// The header of a part.
fn part_headers(name: &str, source: &dyn PartSource) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut disposition = ContentDisposition::form_data(name);
    if let Some(file_name) = source.file_name() {
        disposition = disposition.with_file_name(file_name);
    }
    headers.append("Content-Disposition", disposition.to_string())?;
    headers.append("Content-Type", source.media_type())?;
    for (name, value) in source.headers().iter().flat_map(|headers| headers.iter()) {
        if !headers.has(name) {
            headers.append(name, value)?;
        }
    }
    Ok(headers)
}

/// Copies to the end, or so many bytes, out of the reader's own buffer.
fn copy(mut reader: Box<dyn BufRead + '_>, limit: Option<u64>, out: &mut impl Write) -> Result<u64> {
    let mut reader = (&mut *reader).take(limit.unwrap_or(u64::MAX));
    let mut copied = 0;
    loop {
        let count = match reader.fill_buf() {
            Ok([]) => return Ok(copied),
            Ok(buffer) => {
                out.write_all(buffer)?;
                buffer.len()
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        reader.consume(count);
        copied += count as u64;
    }
}

/// Counts what is written.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn too_large(message: &'static str) -> Error {
    Error::new(ErrorKind::Form, message).with_status(StatusCode::CONTENT_TOO_LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::FormLimits;
    use crate::web::multipart::testing::{Chopped, Random};
    use crate::web::{BytesPart, ReaderPart};

    fn post(content_type: &str) -> Request {
        let mut request = Request::post("/?q=1");
        request.set_content_type(content_type);
        request
    }

    fn submit(form: &mut MultipartForm) -> (Request, Vec<u8>) {
        let mut request = Request::post("/");
        form.prepare_submit(&mut request).unwrap();
        let mut content = Vec::new();
        form.write_to(&mut content).unwrap();
        (request, content)
    }

    #[test]
    fn a_form_with_parts_is_written_as_browsers_write_it() {
        let mut form = MultipartForm::new().unwrap();
        form.add("a \"b\"", "1\r\n2");
        form.add_part(
            "file",
            BytesPart::new("<p>").with_media_type("text/html").with_file_name("ü\n\".html"),
        );
        let b = form.boundary().to_string();
        let (request, content) = submit(&mut form);
        let expected = format!(
            "--{b}\r\nContent-Disposition: form-data; name=\"a %22b%22\"\r\n\r\n1\r\n2\r\n\
             --{b}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"ü%0A%22.html\"\r\n\
             Content-Type: text/html\r\n\r\n<p>\r\n--{b}--\r\n"
        );
        assert_eq!(String::from_utf8(content).unwrap(), expected);
        assert_eq!(request.content_length().unwrap(), Some(expected.len() as u64));
        assert_eq!(request.content_type().unwrap(), format!("multipart/form-data; boundary={b}"));
        assert!(!request.is_chunked());
    }

    #[test]
    fn random_forms_come_back_through_random_splits() {
        let mut random = Random::new(19);
        for _ in 0..200 {
            let mut form = MultipartForm::new().unwrap();
            let mut files = Vec::new();
            let mut fields = Form::new();
            for number in 0..random.below(8) {
                let name = ["", "a", "ä\"", "x\r\ny", "n a;m=e"][random.below(5)];
                let length = random.below(300);
                if random.below(2) == 0 {
                    let value: String =
                        (0..length).map(|_| ['a', '\r', '\n', '-', 'é'][random.below(5)]).collect();
                    fields.add(name, value);
                } else {
                    let bytes = random.bytes(length);
                    files.push((format!("{name}{number}"), bytes.clone()));
                    form.add_part(
                        files[files.len() - 1].0.clone(),
                        BytesPart::new(bytes).with_file_name(name),
                    );
                }
            }
            form.fields_mut().extend(fields.clone());
            let (request, content) = submit(&mut form);
            assert_eq!(request.content_length().unwrap(), Some(content.len() as u64));
            let largest = 1 + random.below(200);
            let input = Chopped::randomly(&content, random.next(), largest);
            let mut got = Form::new();
            let mut got_files = Vec::new();
            got.load_parts(&request, input, |part: &mut Part<'_>| {
                let mut bytes = Vec::new();
                part.read_to_end(&mut bytes)?;
                got_files.push((part.name().unwrap().to_string(), bytes));
                Ok(())
            })
            .unwrap();
            assert_eq!((got, got_files), (fields, files));
        }
    }

    #[test]
    fn a_part_of_unknown_length_is_sent_in_chunks() {
        let mut form = MultipartForm::new().unwrap();
        form.add_part("a", ReaderPart::new(&b"from anywhere"[..]));
        assert_eq!(form.content_length().unwrap(), None);
        let (request, content) = submit(&mut form);
        assert!(request.is_chunked() && !request.has_content_length());
        assert!(memchr::memmem::find(&content, b"\r\n\r\nfrom anywhere\r\n--").is_some());
        let mut old = Request::post("/");
        old.set_version(Version::Http10);
        assert_eq!(form.prepare_submit(&mut old).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert!(form.write_to(Vec::new()).is_err(), "a reader is read once");
    }

    #[test]
    fn a_part_gives_as_many_bytes_as_it_said() {
        let mut form = MultipartForm::new().unwrap();
        form.add_part("long", ReaderPart::new(&b"0123456789"[..]).with_content_length(5));
        let (request, content) = submit(&mut form);
        assert_eq!(request.content_length().unwrap(), Some(content.len() as u64));
        let mut form = MultipartForm::new().unwrap();
        form.add_part("short", ReaderPart::new(&b"0123"[..]).with_content_length(5));
        assert_eq!(form.write_to(Vec::new()).unwrap_err().kind(), ErrorKind::Incomplete);
    }

    #[test]
    fn only_requests_with_content_submit_parts() {
        let form = MultipartForm::new().unwrap();
        let mut request = Request::get("/");
        assert_eq!(form.prepare_submit(&mut request).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert!(request.headers().is_empty());
    }

    #[test]
    fn nothing_in_a_name_or_type_can_split_a_header() {
        for bad in ["text/html\r\nX: y", "a\0"] {
            let mut form = MultipartForm::new().unwrap();
            form.add_part("a", BytesPart::new("").with_media_type(bad));
            assert_eq!(form.write_to(Vec::new()).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
        let mut form = MultipartForm::new().unwrap();
        form.add("a\0", "");
        assert_eq!(
            form.prepare_submit(&mut Request::post("/")).unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
    }

    #[test]
    fn the_encoding_is_told_by_the_content_type_in_any_case() {
        let mut form = Form::new();
        form.load(&post("Application/X-WWW-Form-Urlencoded; charset=UTF-8"), &b"a=2"[..]).unwrap();
        assert!(form.iter().eq([("q", "1"), ("a", "2")]));
        let body = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n2\r\n--b--";
        form.load(&post("Multipart/Form-Data; Boundary=b"), &body[..]).unwrap();
        assert!(form.iter().eq([("q", "1"), ("a", "2")]));
        form.load(&post(""), &b"ignored"[..]).unwrap();
        assert_eq!(form.len(), 1);
        for other in ["text/plain", "multipart/mixed; boundary=b", "application/json"] {
            let error = form.load(&post(other), &b""[..]).unwrap_err();
            assert_eq!(error.status_hint(), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE), "{other}");
        }
        let error = form.load(&post("multipart/form-data"), &b""[..]).unwrap_err();
        assert_eq!(error.status_hint(), Some(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn every_limit_holds_for_parts_as_for_pairs() {
        let mut limits = FormLimits::default();
        (limits.fields, limits.name, limits.value, limits.total) = (3, 3, 4, 6);
        let load = |fields: &[(&str, &str)]| {
            let mut form = MultipartForm::new().unwrap();
            form.fields_mut().extend(fields.iter().copied());
            let (request, content) = submit(&mut form);
            let mut read = Form::with_limits(limits);
            let result = read.load(&request, &content[..]);
            result.map(|()| read.len()).map_err(|error| error.status_hint().unwrap().as_u16())
        };
        assert_eq!(load(&[("abc", "1234"), ("b", "12"), ("c", "")]), Ok(3));
        assert_eq!(load(&[("a", ""), ("b", ""), ("c", ""), ("d", "")]), Err(413));
        assert_eq!(load(&[("abcd", "")]), Err(413));
        assert_eq!(load(&[("a", "12345")]), Err(413));
        assert_eq!(load(&[("a", "1234"), ("b", "123")]), Err(413));
    }

    #[test]
    fn what_a_handler_leaves_is_skipped_and_what_it_fails_with_ends_the_form() {
        let mut form = MultipartForm::new().unwrap();
        form.add_part("one", BytesPart::new(vec![7; 100_000]).with_file_name("1"));
        form.add_part("two", BytesPart::new("2").with_file_name("2"));
        let (request, content) = submit(&mut form);
        let mut seen = Vec::new();
        let mut read = Form::new();
        let handler = |part: &mut Part<'_>| {
            seen.push(part.file_name().unwrap().to_string());
            Ok(())
        };
        read.load_parts(&request, &content[..], handler).unwrap();
        assert_eq!(seen, ["1", "2"]);
        let full = |_: &mut Part<'_>| Err(Error::new(ErrorKind::Store, "the disk is full"));
        assert_eq!(read.load_parts(&request, &content[..], full).unwrap_err().kind(), ErrorKind::Store);
    }

    #[test]
    fn a_part_without_a_name_is_no_field() {
        let body = b"--b\r\nContent-Type: text/plain\r\n\r\n2\r\n--b--";
        let error = Form::new().load(&post("multipart/form-data; boundary=b"), &body[..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Form);
    }

    #[test]
    fn a_cut_form_is_incomplete() {
        let body = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n2\r\n--b--";
        for cut in 0..body.len() {
            let error = Form::new().load(&post("multipart/form-data; boundary=b"), &body[..cut]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Incomplete, "{cut}");
        }
    }
}
