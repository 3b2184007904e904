//! What the content of a part comes from.
//!
//! A source knows its content, its type, its file name and, if it can, its length. It does
//! not know the field it is sent as.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use crate::message::HeaderMap;
use crate::{Error, ErrorKind, Result};

/// Something that can be sent as a part of a form: bytes, a file, any reader, or your own.
///
/// ```
/// use std::io::BufRead;
/// use sessile::web::{MultipartForm, PartSource};
///
/// struct Zeros(u64);
///
/// impl PartSource for Zeros {
///     fn reader(&mut self) -> sessile::Result<Box<dyn BufRead + '_>> {
///         Ok(Box::new(std::io::BufReader::new(std::io::Read::take(std::io::repeat(0), self.0))))
///     }
///     fn content_length(&self) -> Option<u64> {
///         Some(self.0)
///     }
/// }
///
/// let mut form = MultipartForm::new()?;
/// form.add_part("nothing", Zeros(1 << 20));
/// # Ok::<(), sessile::Error>(())
/// ```
pub trait PartSource: Send {
    /// The content, from its start: called once whenever the form is written. Its buffer is
    /// written as it is, so that 64 KiB or more of it are sent with few calls.
    #[doc(alias = "stream")]
    fn reader(&mut self) -> Result<Box<dyn BufRead + '_>>;

    /// The part's `Content-Type`.
    #[doc(alias = "mediaType")]
    fn media_type(&self) -> &str {
        OCTETS
    }

    /// The file's name, without a path. A part with one is a file to the receiver.
    #[doc(alias = "filename")]
    fn file_name(&self) -> Option<&str> {
        None
    }

    /// More fields for the part's header. `Content-Disposition` and `Content-Type` among
    /// them are not used.
    fn headers(&self) -> Option<&HeaderMap> {
        None
    }

    /// How many bytes [`reader`](PartSource::reader) gives, if that is known. Then it must
    /// give exactly as many: fewer fail the form, more are not read.
    #[doc(alias = "getContentLength")]
    fn content_length(&self) -> Option<u64> {
        None
    }
}

/// A part made of bytes in memory. It can be sent again and again.
///
/// ```
/// use sessile::web::{BytesPart, PartSource};
///
/// let mut part = BytesPart::new("{}").with_media_type("application/json").with_file_name("a.json");
/// assert_eq!(part.content_length(), Some(2));
/// assert_eq!(std::io::read_to_string(part.reader()?)?, "{}");
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "StringPartSource")]
pub struct BytesPart {
    bytes: Vec<u8>,
    label: Label,
}

impl BytesPart {
    /// These bytes, as `text/plain` until another type is set.
    pub fn new(bytes: impl Into<Vec<u8>>) -> BytesPart {
        BytesPart { bytes: bytes.into(), label: Label::new("text/plain", None) }
    }

    /// Sets the part's `Content-Type`.
    #[must_use]
    pub fn with_media_type(mut self, media_type: impl Into<String>) -> BytesPart {
        self.label.media_type = media_type.into();
        self
    }

    /// Sets the file's name.
    #[must_use]
    pub fn with_file_name(mut self, file_name: impl Into<String>) -> BytesPart {
        self.label.file_name = Some(file_name.into());
        self
    }
}

impl PartSource for BytesPart {
    fn reader(&mut self) -> Result<Box<dyn BufRead + '_>> {
        Ok(Box::new(&self.bytes[..]))
    }

    fn media_type(&self) -> &str {
        &self.label.media_type
    }

    fn file_name(&self) -> Option<&str> {
        self.label.file_name.as_deref()
    }

    fn content_length(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }
}

impl fmt::Debug for BytesPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BytesPart").field("length", &self.bytes.len()).field("label", &self.label).finish()
    }
}

/// A part made of a file, read while it is sent. It can be sent again and again.
///
/// The length is what it was when the file was opened: what is appended later is not sent,
/// and a file that was cut short fails the form.
///
/// ```no_run
/// use sessile::web::{FilePart, MultipartForm};
///
/// let mut form = MultipartForm::new()?;
/// form.add_part("photo", FilePart::open("holiday.jpg")?.with_media_type("image/jpeg"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias = "FilePartSource")]
pub struct FilePart {
    file: File,
    length: Option<u64>,
    label: Label,
}

impl FilePart {
    /// Opens a file, to be sent under the last piece of its path as
    /// `application/octet-stream`.
    pub fn open(path: impl AsRef<Path>) -> Result<FilePart> {
        let path = path.as_ref();
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                _ => ErrorKind::Io,
            };
            Error::new(kind, format!("can't open {}", path.display())).with_source(error)
        })?;
        if metadata.is_dir() {
            return Err(Error::invalid_argument(format!("{} is a folder", path.display())));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        // A pipe or a device has no length.
        let length = metadata.is_file().then_some(metadata.len());
        Ok(FilePart { file, length, label: Label::new(OCTETS, name) })
    }

    /// Sets the part's `Content-Type`.
    #[must_use]
    pub fn with_media_type(mut self, media_type: impl Into<String>) -> FilePart {
        self.label.media_type = media_type.into();
        self
    }

    /// Sets another name for the file.
    #[must_use]
    pub fn with_file_name(mut self, file_name: impl Into<String>) -> FilePart {
        self.label.file_name = Some(file_name.into());
        self
    }
}

impl PartSource for FilePart {
    fn reader(&mut self) -> Result<Box<dyn BufRead + '_>> {
        if self.length.is_some() {
            self.file.rewind()?;
        }
        Ok(Box::new(BufReader::with_capacity(BUFFER, &self.file)))
    }

    fn media_type(&self) -> &str {
        &self.label.media_type
    }

    fn file_name(&self) -> Option<&str> {
        self.label.file_name.as_deref()
    }

    fn content_length(&self) -> Option<u64> {
        self.length
    }
}

/// A part made of any reader. It can be sent once: a second attempt fails.
///
/// ```
/// use sessile::web::{PartSource, ReaderPart};
///
/// let mut part = ReaderPart::new(&b"from anywhere"[..]).with_content_length(13);
/// assert_eq!(std::io::read_to_string(part.reader()?)?, "from anywhere");
/// assert!(part.reader().is_err());
/// # Ok::<(), sessile::Error>(())
/// ```
pub struct ReaderPart<R> {
    reader: Option<R>,
    length: Option<u64>,
    label: Label,
}

impl<R: Read + Send> ReaderPart<R> {
    /// What the reader gives, as `application/octet-stream`, of unknown length.
    pub fn new(reader: R) -> ReaderPart<R> {
        ReaderPart { reader: Some(reader), length: None, label: Label::new(OCTETS, None) }
    }

    /// Says how many bytes the reader gives, so that the form has a `Content-Length`.
    #[must_use]
    pub fn with_content_length(mut self, length: u64) -> ReaderPart<R> {
        self.length = Some(length);
        self
    }

    /// Sets the part's `Content-Type`.
    #[must_use]
    pub fn with_media_type(mut self, media_type: impl Into<String>) -> ReaderPart<R> {
        self.label.media_type = media_type.into();
        self
    }

    /// Sets the file's name.
    #[must_use]
    pub fn with_file_name(mut self, file_name: impl Into<String>) -> ReaderPart<R> {
        self.label.file_name = Some(file_name.into());
        self
    }
}

impl<R: Read + Send> PartSource for ReaderPart<R> {
    fn reader(&mut self) -> Result<Box<dyn BufRead + '_>> {
        let reader = self.reader.take();
        let reader = reader.ok_or_else(|| Error::illegal_state("the part's reader was read already"))?;
        Ok(Box::new(BufReader::with_capacity(BUFFER, reader)))
    }

    fn media_type(&self) -> &str {
        &self.label.media_type
    }

    fn file_name(&self) -> Option<&str> {
        self.label.file_name.as_deref()
    }

    fn content_length(&self) -> Option<u64> {
        self.length
    }
}

impl<R> fmt::Debug for ReaderPart<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderPart")
            .field("length", &self.length)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// What a part is called.
#[derive(Debug, Clone)]
struct Label {
    media_type: String,
    file_name: Option<String>,
}

impl Label {
    fn new(media_type: &str, file_name: Option<String>) -> Label {
        Label { media_type: media_type.into(), file_name }
    }
}

const OCTETS: &str = "application/octet-stream";
/// How much of a file is read at a time: few calls, and still in the cache when it is sent.
const BUFFER: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_part_knows_its_name_and_its_length_and_can_be_read_twice() {
        let path = std::env::temp_dir().join(format!("sessile-part-{}.txt", std::process::id()));
        std::fs::write(&path, "twelve bytes").unwrap();
        let mut part = FilePart::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(part.file_name(), path.file_name().unwrap().to_str());
        assert_eq!(part.content_length(), Some(12));
        for _ in 0..2 {
            assert_eq!(std::io::read_to_string(part.reader().unwrap()).unwrap(), "twelve bytes");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_an_error_that_names_it() {
        let error = FilePart::open("/nowhere/at/all").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("/nowhere/at/all"));
    }
}
