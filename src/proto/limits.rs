//! Limits of size on what a peer sends, each with its reason.
//!
//! They bound what one message can make us hold or count before anybody has looked at it.
//! How large content may be is not said here: content is never held.

/// How much of a message's head, chunk framing and trailers is taken from a peer.
///
/// Passing a limit is an error of the kind [`TooLarge`](crate::ErrorKind::TooLarge), as
/// soon as it is known, and ends the connection.
///
/// ```
/// use sessile::proto::Limits;
///
/// let limits = Limits::default().with_head(128 * 1024).with_fields(200);
/// assert_eq!(limits.fields, 200);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the request line or status line: 16 KiB; past it a request gets 414.
    /// RFC 9112, section 3, recommends 8,000 at least; Apache and nginx take 8 KiB.
    pub start_line: usize,
    /// Bytes of the whole head: 64 KiB; past it a request gets 431. nginx takes 4 times
    /// 8 KiB, Apache 100 lines of 8 KiB, Go 1 MiB; a cookie of 4,096 bytes must fit.
    pub head: usize,
    /// Field lines in a header or trailer section: 100, as Apache, hyper and Poco have it;
    /// past it a request gets 431.
    #[doc(alias = "setMaxFieldCount")]
    pub fields: usize,
    /// Bytes of extensions behind one chunk-size: 256. Nobody reads them.
    pub chunk_line: usize,
    /// Bytes of chunk extensions in all of a message: 16 KiB, as hyper has it. A peer can
    /// make us read many bytes for little content with them.
    pub chunk_extensions: usize,
    /// Bytes of the trailer section: 16 KiB, as hyper has it.
    pub trailers: usize,
    /// Interim responses (1xx) before a final one: 32. Nothing else bounds their number.
    pub interim: usize,
    /// Empty lines before a request line: 4. RFC 9112, section 2.2, wants one ignored at
    /// least, for clients that send one too many behind content.
    pub empty_lines: usize,
}

impl Limits {
    /// As given, with another limit on the start-line.
    #[must_use]
    pub fn with_start_line(self, bytes: usize) -> Limits {
        Limits { start_line: bytes, ..self }
    }

    /// As given, with another limit on the head.
    #[must_use]
    pub fn with_head(self, bytes: usize) -> Limits {
        Limits { head: bytes, ..self }
    }

    /// As given, with another limit on the number of field lines.
    #[must_use]
    pub fn with_fields(self, fields: usize) -> Limits {
        Limits { fields, ..self }
    }

    /// As given, with another limit on the extensions of one chunk.
    #[must_use]
    pub fn with_chunk_line(self, bytes: usize) -> Limits {
        Limits { chunk_line: bytes, ..self }
    }

    /// As given, with another limit on the chunk extensions of one message.
    #[must_use]
    pub fn with_chunk_extensions(self, bytes: usize) -> Limits {
        Limits { chunk_extensions: bytes, ..self }
    }

    /// As given, with another limit on the trailer section.
    #[must_use]
    pub fn with_trailers(self, bytes: usize) -> Limits {
        Limits { trailers: bytes, ..self }
    }

    /// As given, with another limit on the number of interim responses.
    #[must_use]
    pub fn with_interim(self, responses: usize) -> Limits {
        Limits { interim: responses, ..self }
    }

    /// As given, with another limit on empty lines before a request line.
    #[must_use]
    pub fn with_empty_lines(self, lines: usize) -> Limits {
        Limits { empty_lines: lines, ..self }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            start_line: 16 * 1024,
            head: 64 * 1024,
            fields: 100,
            chunk_line: 256,
            chunk_extensions: 16 * 1024,
            trailers: 16 * 1024,
            interim: 32,
            empty_lines: 4,
        }
    }
}
