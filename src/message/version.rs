//! The protocol version of a message (RFC 9110, section 2.5).
//!
//! Only the two versions that this crate speaks exist; what to answer to others is the
//! parser's business.

use std::fmt;

/// The version of HTTP a message is written in.
///
/// ```
/// use sessile::message::Version;
///
/// assert_eq!(Version::default().to_string(), "HTTP/1.1");
/// assert!(Version::Http10 < Version::Http11);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, not persistent unless asked for.
    #[doc(alias = "HTTP_1_0")]
    Http10,
    /// HTTP/1.1, the version of a new message.
    #[default]
    #[doc(alias = "HTTP_1_1")]
    Http11,
}

impl Version {
    /// The version as it is written in a start-line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
