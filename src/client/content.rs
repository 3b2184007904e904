//! What a request carries: nothing, bytes, or what a reader gives.
//!
//! Knows how long it is and whether it can be sent a second time, for a redirect, a challenge or
//! a lost connection.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::message::Form;
use crate::session::Observer;
use crate::{Error, ErrorKind, Result};

/// The content of a request.
///
/// Bytes, files and [`replayable`](Content::replayable) content can be sent again where a redirect
/// or a challenge asks for that; what comes from a reader can't, once some of it was read.
///
/// Content is not always sent to its end: an answer that is whole before it has left, or that
/// refuses it, ends the sending: see [`send`](super::RequestBuilder::send).
///
/// ```
/// use std::io::Cursor;
/// use sessile::client::Content;
///
/// let note = Content::from("hello");
/// assert_eq!((note.length(), note.is_replayable()), (Some(5), true));
/// let stream = Content::from_reader(Cursor::new("hello"));
/// assert_eq!((stream.length(), stream.is_replayable()), (None, false));
/// ```
#[derive(Default)]
pub struct Content(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    None,
    Bytes(Arc<Vec<u8>>),
    Reader {
        /// `None` once it is on its way.
        reader: Option<Box<dyn Read + Send>>,
        length: Option<u64>,
    },
    Replayable {
        open: Arc<Open>,
        length: Option<u64>,
    },
}

type Open = dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync;

impl Content {
    /// None at all.
    pub fn empty() -> Content {
        Content::default()
    }

    /// All that the reader gives, in chunks.
    pub fn from_reader(reader: impl Read + Send + 'static) -> Content {
        Content(Kind::Reader { reader: Some(Box::new(reader)), length: None })
    }

    /// What the reader gives, which must be exactly so many bytes.
    pub fn from_sized_reader(reader: impl Read + Send + 'static, length: u64) -> Content {
        Content(Kind::Reader { reader: Some(Box::new(reader)), length: Some(length) })
    }

    /// The file, opened anew each time that it is sent, up to the length that it has now: what is
    /// added to it later stays behind. Fails if it can't be opened; the request fails if the file has
    /// become shorter.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Content> {
        let path: PathBuf = path.as_ref().to_owned();
        let unreadable =
            |error| Error::new(ErrorKind::Io, format!("{} can't be read", path.display())).with_source(error);
        let metadata = File::open(&path).and_then(|file| file.metadata()).map_err(unreadable)?;
        if !metadata.is_file() {
            // A pipe gives what it has but once.
            return Ok(Content::from_reader(File::open(&path).map_err(unreadable)?));
        }
        let length = metadata.len();
        Ok(Content::replayable(Some(length), move || Ok(Box::new(File::open(&path)?.take(length)))))
    }

    /// What readers give that `open` makes anew each time, of this length, where that is known.
    pub fn replayable(
        length: Option<u64>,
        open: impl Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'static,
    ) -> Content {
        Content(Kind::Replayable { open: Arc::new(open), length })
    }

    /// Whether there is none; content of length 0 is some.
    pub fn is_none(&self) -> bool {
        matches!(self.0, Kind::None)
    }

    /// How long it is, where that is known before it is sent.
    pub fn length(&self) -> Option<u64> {
        match &self.0 {
            Kind::None => Some(0),
            Kind::Bytes(bytes) => Some(bytes.len() as u64),
            Kind::Reader { length, .. } | Kind::Replayable { length, .. } => *length,
        }
    }

    /// Whether it can be sent more than once.
    pub fn is_replayable(&self) -> bool {
        !matches!(self.0, Kind::Reader { .. })
    }

    /// Whether it can be sent now: it is replayable, or nothing was read of it yet.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self.0, Kind::Reader { reader: None, .. })
    }

    /// All of it, where it is in memory.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Kind::None => Some(&[]),
            Kind::Bytes(bytes) => Some(bytes),
            Kind::Reader { .. } | Kind::Replayable { .. } => None,
        }
    }

    /// From its beginning. `Redirect` where it can't be sent again: who asks has asked before.
    pub(super) fn open(&mut self, observer: Option<Arc<dyn Observer>>) -> Result<Flow> {
        let total = self.length();
        let reader: Box<dyn Read + Send> = match &mut self.0 {
            Kind::None => Box::new(io::empty()),
            Kind::Bytes(bytes) => Box::new(Shared { bytes: bytes.clone(), taken: 0 }),
            Kind::Reader { reader, .. } => reader.take().ok_or_else(gone)?,
            Kind::Replayable { open, .. } => open()
                .map_err(|error| Error::new(ErrorKind::Io, "the content can't be read").with_source(error))?,
        };
        Ok(Flow { reader, begun: false, sent: 0, total, observer })
    }

    /// Takes back what was opened, if nothing was read of it.
    pub(super) fn put_back(&mut self, flow: Flow) {
        if let Kind::Reader { reader, .. } = &mut self.0 {
            if !flow.begun {
                *reader = Some(flow.reader);
            }
        }
    }
}

/// The content can't be sent a second time.
pub(super) fn gone() -> Error {
    Error::new(ErrorKind::Redirect, "the content of the request can't be sent again: make it replayable")
}

/// Content on its way.
pub(super) struct Flow {
    reader: Box<dyn Read + Send>,
    begun: bool,
    sent: u64,
    total: Option<u64>,
    observer: Option<Arc<dyn Observer>>,
}

impl Read for Flow {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.begun = true;
        let n = self.reader.read(into)?;
        self.sent += n as u64;
        if let (Some(observer), true) = (&self.observer, n > 0) {
            observer.sent(self.sent, self.total);
        }
        Ok(n)
    }
}

/// Bytes that are read from their beginning, however often.
struct Shared {
    bytes: Arc<Vec<u8>>,
    taken: usize,
}

impl Read for Shared {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = (&self.bytes[self.taken..]).read(into)?;
        self.taken += n;
        Ok(n)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Content {
        Content(Kind::Bytes(Arc::new(bytes)))
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Content {
        Content::from(bytes.to_vec())
    }
}

impl<const N: usize> From<&[u8; N]> for Content {
    fn from(bytes: &[u8; N]) -> Content {
        Content::from(&bytes[..])
    }
}

impl From<Arc<Vec<u8>>> for Content {
    fn from(bytes: Arc<Vec<u8>>) -> Content {
        Content(Kind::Bytes(bytes))
    }
}

impl From<String> for Content {
    fn from(text: String) -> Content {
        Content::from(text.into_bytes())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Content {
        Content::from(text.as_bytes())
    }
}

impl From<&Form> for Content {
    /// As `application/x-www-form-urlencoded`; saying so is the request's part.
    fn from(form: &Form) -> Content {
        Content::from(form.encode())
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content")
            .field("length", &self.length())
            .field("replayable", &self.is_replayable())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(content: &mut Content) -> Result<String> {
        let mut text = String::new();
        content.open(None)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn bytes_files_and_what_is_made_anew_are_sent_as_often_as_needed() {
        let path = std::env::temp_dir().join(format!("sessile-content-{}", std::process::id()));
        std::fs::write(&path, "hello").unwrap();
        let made = Content::replayable(Some(5), || Ok(Box::new(&b"hello"[..])));
        for mut content in [Content::from("hello"), Content::from_file(&path).unwrap(), made] {
            assert_eq!((content.length(), content.is_replayable()), (Some(5), true));
            for _ in 0..2 {
                assert_eq!(read(&mut content).unwrap(), "hello");
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert!(Content::from_file(&path).is_err());
    }

    #[test]
    fn a_file_that_has_grown_is_sent_up_to_the_length_that_was_announced() {
        let path = std::env::temp_dir().join(format!("sessile-growing-{}", std::process::id()));
        std::fs::write(&path, "hello").unwrap();
        let mut content = Content::from_file(&path).unwrap();
        std::fs::write(&path, "hello, hello").unwrap();
        assert_eq!((content.length(), read(&mut content).unwrap()), (Some(5), "hello".to_owned()));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_reader_gives_what_it_has_once_unless_nothing_was_read() {
        let mut content = Content::from_sized_reader(Cursor::new("hello"), 5);
        let flow = content.open(None).unwrap();
        assert!(!content.is_there());
        content.put_back(flow);
        assert!(content.is_there());
        let mut flow = content.open(None).unwrap();
        flow.read_exact(&mut [0; 1]).unwrap();
        content.put_back(flow);
        assert!(!content.is_there());
        assert_eq!(read(&mut content).unwrap_err().kind(), ErrorKind::Redirect);
    }

    #[test]
    fn none_is_not_the_same_as_nothing() {
        assert!(Content::empty().is_none() && !Content::from("").is_none());
        assert!(!format!("{:?}", Content::from("s3cr3t")).contains("s3cr3t"));
    }
}
