//! What requests and responses have in common (Poco's `HTTPMessage`).
//!
//! The members are written once, below, and are there three times: on `Request` and on
//! `Response`, so that nobody has to import anything, and in the trait, for code that takes
//! either.

use super::{HeaderMap, Version, field};
use crate::{Error, Result};

/// The members of `Message` that are made of its four required ones.
macro_rules! members {
    ($visibility:vis fn) => {
        /// The length announced by `Content-Length`; `None` without the field. An error
        /// where it is not a number (digits, nothing else) or there are several that differ.
        #[doc(alias = "getContentLength")]
        #[doc(alias = "getContentLength64")]
        $visibility fn content_length(&self) -> crate::Result<Option<u64>> {
            $crate::message::message::content_length(self.headers())
        }

        /// Announces the length of the content.
        #[doc(alias = "setContentLength")]
        #[doc(alias = "setContentLength64")]
        $visibility fn set_content_length(&mut self, length: u64) -> &mut Self {
            let digits = $crate::message::field::Decimal::new(length);
            self.headers_mut().set_unchecked("Content-Length", digits.as_bytes());
            self
        }

        /// Removes `Content-Length`.
        #[doc(alias = "UNKNOWN_CONTENT_LENGTH")]
        $visibility fn remove_content_length(&mut self) -> &mut Self {
            self.headers_mut().remove("Content-Length");
            self
        }

        /// Whether there is a `Content-Length`, of whatever value.
        #[doc(alias = "hasContentLength")]
        $visibility fn has_content_length(&self) -> bool {
            self.headers().has("Content-Length")
        }

        /// The transfer codings, as they are written in the first `Transfer-Encoding`;
        /// `identity` without the field.
        #[doc(alias = "getTransferEncoding")]
        #[doc(alias = "IDENTITY_TRANSFER_ENCODING")]
        $visibility fn transfer_encoding(&self) -> &str {
            self.headers().get_or("Transfer-Encoding", "identity")
        }

        /// Sets the transfer codings; `identity` and the empty text remove the field. This
        /// crate sends no other coding than `chunked`.
        #[doc(alias = "setTransferEncoding")]
        $visibility fn set_transfer_encoding(&mut self, codings: &str) -> crate::Result<&mut Self> {
            if codings.is_empty() || codings.eq_ignore_ascii_case("identity") {
                self.headers_mut().remove("Transfer-Encoding");
            } else {
                self.headers_mut().set("Transfer-Encoding", codings)?;
            }
            Ok(self)
        }

        /// Whether the last transfer coding is `chunked`.
        #[doc(alias = "getChunkedTransferEncoding")]
        #[doc(alias = "CHUNKED_TRANSFER_ENCODING")]
        $visibility fn is_chunked(&self) -> bool {
            self.headers().tokens("Transfer-Encoding").last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"))
        }

        /// Sends the content in chunks, or not.
        #[doc(alias = "setChunkedTransferEncoding")]
        $visibility fn set_chunked(&mut self, chunked: bool) -> &mut Self {
            if chunked {
                self.headers_mut().set_unchecked("Transfer-Encoding", b"chunked");
            } else {
                self.headers_mut().remove("Transfer-Encoding");
            }
            self
        }

        /// The `Content-Type`, if there is one.
        #[doc(alias = "getContentType")]
        #[doc(alias = "UNKNOWN_CONTENT_TYPE")]
        $visibility fn content_type(&self) -> Option<&str> {
            self.headers().get("Content-Type")
        }

        /// Sets the `Content-Type`; an empty one removes it. The text is checked when the
        /// message is sent, so that calls can be chained.
        #[doc(alias = "setContentType")]
        $visibility fn set_content_type(&mut self, content_type: impl AsRef<str>) -> &mut Self {
            match content_type.as_ref() {
                "" => _ = self.headers_mut().remove("Content-Type"),
                text => self.headers_mut().set_unchecked("Content-Type", text.as_bytes()),
            }
            self
        }

        /// Whether the sender of this message is ready for another one on the same
        /// connection (RFC 9112, 9.3): in HTTP/1.1 unless it says `close`, in HTTP/1.0 only
        /// if it says `keep-alive`.
        #[doc(alias = "getKeepAlive")]
        $visibility fn keep_alive(&self) -> bool {
            $crate::message::message::keep_alive(self.version(), self.headers())
        }

        /// Says `keep-alive` or `close`. Other connection options stay.
        #[doc(alias = "setKeepAlive")]
        #[doc(alias = "CONNECTION_KEEP_ALIVE")]
        #[doc(alias = "CONNECTION_CLOSE")]
        $visibility fn set_keep_alive(&mut self, keep_alive: bool) -> &mut Self {
            $crate::message::message::set_keep_alive(self.headers_mut(), keep_alive);
            self
        }
    };
}
/// A request or a response, for code that takes either.
///
/// [`Request`](super::Request) and [`Response`](super::Response) have all of this as their
/// own methods.
///
/// ```
/// use sessile::message::{Message, Request, Response};
///
/// fn announce_json(message: &mut impl Message) {
///     message.set_content_type("application/json").set_chunked(true);
/// }
///
/// let mut request = Request::post("/");
/// let mut response = Response::new();
/// announce_json(&mut request);
/// announce_json(&mut response);
/// assert_eq!(request.content_type(), response.content_type());
/// ```
#[doc(alias = "HTTPMessage")]
pub trait Message {
    /// The version.
    #[doc(alias = "getVersion")]
    fn version(&self) -> Version;

    /// Sets the version.
    #[doc(alias = "setVersion")]
    fn set_version(&mut self, version: Version) -> &mut Self;

    /// The fields.
    fn headers(&self) -> &HeaderMap;

    /// The fields, to change them.
    fn headers_mut(&mut self) -> &mut HeaderMap;

    members!(fn);
}

pub(crate) use members;

pub(crate) fn content_length(headers: &HeaderMap) -> Result<Option<u64>> {
    let mut length = None;
    for value in headers.get_all("Content-Length") {
        let number = field::parse_decimal(value)
            .ok_or_else(|| Error::malformed("Content-Length is not a number that can be"))?;
        if length.is_some_and(|other| other != number) {
            return Err(Error::malformed("there are two Content-Length fields that differ"));
        }
        length = Some(number);
    }
    Ok(length)
}

pub(crate) fn keep_alive(version: Version, headers: &HeaderMap) -> bool {
    let mut keep = version >= Version::Http11;
    for option in headers.tokens("Connection") {
        if option.eq_ignore_ascii_case(b"close") {
            return false;
        }
        keep |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    keep
}

pub(crate) fn set_keep_alive(headers: &mut HeaderMap, keep_alive: bool) {
    let option: &[u8] = if keep_alive { b"keep-alive" } else { b"close" };
    if !headers.has("Connection") {
        headers.set_unchecked("Connection", option);
        return;
    }
    let mut options = Vec::with_capacity(64);
    for other in headers.tokens("Connection") {
        if !other.eq_ignore_ascii_case(b"close") && !other.eq_ignore_ascii_case(b"keep-alive") {
            options.extend_from_slice(other);
            options.extend_from_slice(b", ");
        }
    }
    options.extend_from_slice(option);
    headers.set_unchecked("Connection", &options);
}
