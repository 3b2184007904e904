//! Files as responses: validators, conditions, ranges, and the quickest way out for the bytes.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::ServerResponse;
use super::condition::{Validators, Verdict, evaluate, whole_seconds};
use super::extension::media_type;
use super::range::{Part, Selection, select};
use crate::message::{Method, StatusCode, format_http_date};
use crate::net::read_at;
use crate::{Error, ErrorKind, Result, random};

/// Up to this size a file is read, and leaves together with the head. Above it the system sends it by itself.
const SMALL: u64 = 16 * 1024;

impl ServerResponse<'_> {
    /// Sends a file. `Content-Type` follows from the name, unless it is set already; `Last-Modified` and `ETag` from
    /// what the system says of the file.
    ///
    /// Conditions of the request (`If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`, `If-Range`)
    /// and its `Range`, single or multiple, are obeyed: the response may become a 206, 304, 412 or 416. Where the status was set
    /// to something else than 200, they are not looked at. The bytes go from the file to the socket without being
    /// read, where there is no TLS.
    ///
    /// [`ErrorKind::NotFound`], with 404 as the status hint, if there is no such file or it is something else than a
    /// file; an error that hints at 403 if it may not be read. Nothing was sent then.
    ///
    /// ```
    /// use sessile::server::HttpServer;
    ///
    /// let server = HttpServer::bind("127.0.0.1:0", |request, response| match request.path() {
    ///     "/manual.pdf" => response.send_file("/usr/share/doc/example/manual.pdf"),
    ///     _ => response.redirect("/manual.pdf"),
    /// })?;
    /// # let _ = server;
    /// # Ok::<(), sessile::Error>(())
    /// ```
    #[doc(alias = "sendFile")]
    pub fn send_file(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        if self.content_type().is_none() {
            self.set_content_type(media_type(path));
        }
        let file = open(path)?;
        self.send_open_file(&file)
    }

    /// Sends a file that is open already, from its beginning; the rest is as in [`send_file`](Self::send_file). The type
    /// must be set.
    pub fn send_open_file(&mut self, file: &File) -> Result<()> {
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(not_found());
        }
        let length = meta.len();
        let validators = validators(meta.modified().ok(), length);
        if let Some(etag) = &validators.etag {
            self.headers_mut().set("ETag", etag)?;
        }
        if let Some(modified) = validators.modified {
            self.headers_mut().set("Last-Modified", format_http_date(modified))?;
        }
        let selection = if self.status() == StatusCode::OK {
            self.headers_mut().set("Accept-Ranges", "bytes")?;
            match evaluate(self.request, &validators) {
                Verdict::NotModified => return self.send_without_content(StatusCode::NOT_MODIFIED),
                Verdict::Failed => return self.send_without_content(StatusCode::PRECONDITION_FAILED),
                Verdict::Proceed { ranges: false } => Selection::Whole,
                Verdict::Proceed { ranges: true } => {
                    select(self.request.headers().get_bytes("range").unwrap_or_default(), length)
                }
            }
        } else {
            Selection::Whole
        };
        match selection {
            Selection::Whole => self.send_part(file, Part { start: 0, end: length }),
            Selection::Unsatisfiable => {
                self.headers_mut().set("Content-Range", format!("bytes */{length}"))?;
                self.send_without_content(StatusCode::RANGE_NOT_SATISFIABLE)
            }
            Selection::Parts(parts) if parts.len() == 1 => {
                self.set_status(StatusCode::PARTIAL_CONTENT);
                self.headers_mut().set("Content-Range", content_range(parts[0], length))?;
                self.send_part(file, parts[0])
            }
            Selection::Parts(parts) => {
                self.set_status(StatusCode::PARTIAL_CONTENT);
                self.send_parts(file, &parts, length)
            }
        }
    }

    /// A 304 keeps the validators, and says no length: that of the whole is not known to be meant.
    fn send_without_content(&mut self, status: StatusCode) -> Result<()> {
        self.set_status(status);
        self.headers_mut().remove("Content-Type");
        if status == StatusCode::NOT_MODIFIED {
            self.send()?;
            return Ok(());
        }
        self.send_buffer(b"")
    }

    fn send_part(&mut self, file: &File, part: Part) -> Result<()> {
        let is_head = *self.request.method() == Method::HEAD;
        if part.length() <= SMALL && !is_head {
            let content = read_part(file, part)?;
            return self.send_buffer(&content);
        }
        self.set_chunked(false).set_content_length(part.length());
        self.prepare()?;
        let mut body = self.sender.send(self.head)?;
        if is_head {
            return Ok(());
        }
        body.send_file(file, part.start, part.length())?;
        body.finish()
    }

    /// Several parts in one `multipart/byteranges` (RFC 9110, 14.6).
    fn send_parts(&mut self, file: &File, parts: &[Part], length: u64) -> Result<()> {
        let boundary = boundary()?;
        let media_type = self.content_type().unwrap_or("application/octet-stream").to_owned();
        let heads: Vec<String> = parts
            .iter()
            .map(|&part| {
                let range = content_range(part, length);
                format!("\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {range}\r\n\r\n")
            })
            .collect();
        let end = format!("\r\n--{boundary}--\r\n");
        let total: u64 = heads.iter().map(|head| head.len() as u64).sum::<u64>()
            + parts.iter().map(|part| part.length()).sum::<u64>()
            + end.len() as u64;
        self.set_content_type(format!("multipart/byteranges; boundary={boundary}"));
        self.set_chunked(false).set_content_length(total);
        self.prepare()?;
        let mut body = self.sender.send(self.head)?;
        for (head, &part) in heads.iter().zip(parts) {
            body.write_all(head.as_bytes())?;
            if part.length() <= SMALL {
                body.write_all(&read_part(file, part)?)?;
            } else {
                body.send_file(file, part.start, part.length())?;
            }
        }
        body.write_all(end.as_bytes())?;
        body.finish()
    }
}

/// Opens what is a file, and nothing that would keep us waiting, as a pipe without a writer does.
pub(crate) fn open(path: &Path) -> Result<File> {
    let forbidden = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Err(not_found()),
        Err(error) if forbidden(&error) => return Err(not_allowed(error)),
        Err(error) => return Err(not_found().with_source(error)),
    }
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => not_found().with_source(error),
        _ if forbidden(&error) => not_allowed(error),
        _ => Error::from(error),
    })
}

fn not_allowed(error: io::Error) -> Error {
    Error::new(ErrorKind::Io, "the file may not be read")
        .with_status(StatusCode::FORBIDDEN)
        .with_source(error)
}

pub(crate) fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "there is no such file").with_status(StatusCode::NOT_FOUND)
}

/// The time of the last change is never in the future (RFC 9110, 8.8.2.1). The tag has its fraction of a second too.
fn validators(modified: Option<SystemTime>, length: u64) -> Validators {
    let Some(modified) = modified else { return Validators::default() };
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let etag = format!("\"{:x}.{:x}-{length:x}\"", since.as_secs(), since.subsec_nanos());
    Validators { etag: Some(etag), modified: Some(whole_seconds(modified.min(SystemTime::now()))) }
}

fn content_range(part: Part, length: u64) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end - 1)
}

/// Leaves the file's position alone: others may be sending it too.
fn read_part(file: &File, part: Part) -> Result<Vec<u8>> {
    let mut content = vec![0; usize::try_from(part.length()).unwrap_or(0)];
    let mut at = 0;
    while at < content.len() {
        match read_at(file, &mut content[at..], part.start + at as u64)? {
            0 => return Err(Error::new(ErrorKind::Io, "the file has become shorter while it was read")),
            n => at += n,
        }
    }
    Ok(content)
}

fn boundary() -> Result<String> {
    let mut bytes = [0; 12];
    random::fill(&mut bytes)?;
    Ok(bytes.iter().fold(String::from("part-"), |text, byte| format!("{text}{byte:02x}")))
}
