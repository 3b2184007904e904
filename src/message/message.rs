//! What requests and responses have in common (Poco's `HTTPMessage`).
//!
//! The members are written once, below, and are there three times: on `Request` and on
//! `Response`, so that nobody has to import anything, and in the trait, for code that takes
//! either.

use super::{HeaderMap, MediaType, Version, field, names};
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
            self.headers_mut().set_unchecked($crate::message::names::CONTENT_LENGTH, digits.as_bytes());
            self
        }

        /// Removes `Content-Length`.
        #[doc(alias = "UNKNOWN_CONTENT_LENGTH")]
        $visibility fn remove_content_length(&mut self) -> &mut Self {
            self.headers_mut().remove($crate::message::names::CONTENT_LENGTH);
            self
        }

        /// Whether there is a `Content-Length`, of whatever value.
        #[doc(alias = "hasContentLength")]
        $visibility fn has_content_length(&self) -> bool {
            self.headers().has($crate::message::names::CONTENT_LENGTH)
        }

        /// The transfer codings, as they are written in the first `Transfer-Encoding`;
        /// `identity` without the field.
        #[doc(alias = "getTransferEncoding")]
        #[doc(alias = "IDENTITY_TRANSFER_ENCODING")]
        $visibility fn transfer_encoding(&self) -> &str {
            self.headers().get_or($crate::message::names::TRANSFER_ENCODING, "identity")
        }

        /// Sets the transfer codings; `identity` and the empty text remove the field. This
        /// crate sends no other coding than `chunked`.
        #[doc(alias = "setTransferEncoding")]
        $visibility fn set_transfer_encoding(&mut self, codings: &str) -> crate::Result<&mut Self> {
            if codings.is_empty() || codings.eq_ignore_ascii_case("identity") {
                self.headers_mut().remove($crate::message::names::TRANSFER_ENCODING);
            } else {
                self.headers_mut().set($crate::message::names::TRANSFER_ENCODING, codings)?;
            }
            Ok(self)
        }

        /// Whether the last transfer coding is `chunked`.
        #[doc(alias = "getChunkedTransferEncoding")]
        #[doc(alias = "CHUNKED_TRANSFER_ENCODING")]
        $visibility fn is_chunked(&self) -> bool {
            self.headers().tokens($crate::message::names::TRANSFER_ENCODING).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"))
        }

        /// Sends the content in chunks, or not.
        #[doc(alias = "setChunkedTransferEncoding")]
        $visibility fn set_chunked(&mut self, chunked: bool) -> &mut Self {
            if chunked {
                self.headers_mut().set_unchecked($crate::message::names::TRANSFER_ENCODING, b"chunked");
            } else {
                self.headers_mut().remove($crate::message::names::TRANSFER_ENCODING);
            }
            self
        }

        /// The `Content-Type`, if there is one.
        #[doc(alias = "getContentType")]
        #[doc(alias = "UNKNOWN_CONTENT_TYPE")]
        $visibility fn content_type(&self) -> Option<&str> {
            self.headers().get($crate::message::names::CONTENT_TYPE)
        }

        /// Sets the `Content-Type`; an empty one removes it. The text is checked when the
        /// message is sent, so that calls can be chained.
        #[doc(alias = "setContentType")]
        $visibility fn set_content_type(&mut self, content_type: impl AsRef<str>) -> &mut Self {
            match content_type.as_ref() {
                "" => _ = self.headers_mut().remove($crate::message::names::CONTENT_TYPE),
                text => self.headers_mut().set_unchecked($crate::message::names::CONTENT_TYPE, text.as_bytes()),
            }
            self
        }

        /// The `Content-Type` in its parts; `None` also where the grammar does not allow what
        /// is there (see [`MediaType::lenient`]).
        $visibility fn media_type(&self) -> Option<MediaType> {
            self.content_type()?.parse().ok()
        }

        /// Sets the `Content-Type`.
        #[doc(alias = "setContentType")]
        $visibility fn set_media_type(&mut self, media_type: &MediaType) -> &mut Self {
            self.set_content_type(media_type.to_string())
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
    for value in headers.get_all(names::CONTENT_LENGTH) {
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
    if !headers.has(names::CONNECTION) {
        return keep;
    }
    for option in headers.tokens(names::CONNECTION) {
        if option.eq_ignore_ascii_case(b"close") {
            return false;
        }
        keep |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    keep
}

pub(crate) fn set_keep_alive(headers: &mut HeaderMap, keep_alive: bool) {
    let option: &[u8] = if keep_alive { b"keep-alive" } else { b"close" };
    if !headers.has(names::CONNECTION) {
        headers.set_unchecked(names::CONNECTION, option);
        return;
    }
    let mut options = Vec::with_capacity(64);
    for other in headers.tokens(names::CONNECTION) {
        if !other.eq_ignore_ascii_case(b"close") && !other.eq_ignore_ascii_case(b"keep-alive") {
            options.extend_from_slice(other);
            options.extend_from_slice(b", ");
        }
    }
    options.extend_from_slice(option);
    headers.set_unchecked(names::CONNECTION, &options);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Request, Response};

    fn with(fields: &[(&str, &str)]) -> Response {
        let mut response = Response::new();
        for (name, value) in fields {
            response.headers_mut().append(name, value).unwrap();
        }
        response
    }

    #[test]
    fn a_content_length_is_digits() {
        assert_eq!(with(&[]).content_length().unwrap(), None);
        assert_eq!(with(&[("content-length", "42")]).content_length().unwrap(), Some(42));
        for bad in ["", "+4", "-5", "4x", "0x4", "4 4", "4, 4", "18446744073709551616"] {
            let response = with(&[("Content-Length", bad)]);
            assert!(response.content_length().is_err() && response.has_content_length(), "{bad:?}");
        }
    }

    #[test]
    fn equal_content_lengths_are_one_and_different_ones_an_error() {
        let length = |other| with(&[("Content-Length", "4"), ("Content-Length", other)]).content_length();
        assert_eq!(length("4").unwrap(), Some(4));
        assert_eq!(length("04").unwrap(), Some(4));
        assert!(length("0").is_err() && length("x").is_err());
    }

    #[test]
    fn a_content_length_is_set_and_removed() {
        let mut response = with(&[("Content-Length", "4"), ("Content-Length", "5")]);
        assert_eq!(response.set_content_length(u64::MAX).content_length().unwrap(), Some(u64::MAX));
        assert_eq!(response.headers().len(), 1);
        assert!(!response.remove_content_length().has_content_length());
    }

    #[test]
    fn chunked_is_the_last_coding() {
        let mut response = Response::new();
        assert_eq!((response.transfer_encoding(), response.is_chunked()), ("identity", false));
        assert!(response.set_chunked(true).is_chunked());
        for (codings, chunked) in
            [("gzip, Chunked", true), ("chunked, gzip", false), ("xchunked", false), ("chunked;a=b", false)]
        {
            assert_eq!(response.set_transfer_encoding(codings).unwrap().is_chunked(), chunked, "{codings}");
        }
        assert!(!response.set_transfer_encoding("Identity").unwrap().headers().has("Transfer-Encoding"));
        assert!(response.set_transfer_encoding("a\r\n").is_err());
        response.set_chunked(true).set_chunked(false);
        assert!(response.headers().is_empty());
        assert!(with(&[("Transfer-Encoding", "gzip"), ("transfer-encoding", "chunked")]).is_chunked());
    }

    #[test]
    fn a_content_type_is_set_and_removed_in_a_chain() {
        let mut request = Request::post("/");
        request.set_content_type("text/plain; charset=utf-8").set_content_length(5);
        assert_eq!(request.media_type().unwrap().parameter("charset"), Some("utf-8"));
        request.set_media_type(&"a/b".parse().unwrap());
        assert_eq!(request.content_type(), Some("a/b"));
        assert_eq!(request.set_content_type("no type").media_type(), None);
        assert_eq!(request.set_content_type("").content_type(), None);
        assert!(request.set_content_type("a/b\r\nX: y").headers().check().is_err());
    }

    #[test]
    fn persistence_is_a_matter_of_version_and_tokens() {
        for (version, connection, keep_alive) in [
            (Version::Http11, None, true),
            (Version::Http11, Some("close"), false),
            (Version::Http11, Some("CLOSE, TE"), false),
            (Version::Http11, Some("foo , close"), false),
            (Version::Http11, Some("keep-alive, close"), false),
            (Version::Http11, Some("closed"), true),
            (Version::Http11, Some("upgrade"), true),
            (Version::Http10, None, false),
            (Version::Http10, Some("upgrade"), false),
            (Version::Http10, Some("TE, Keep-Alive"), true),
            (Version::Http10, Some("keep-alive, close"), false),
        ] {
            let mut response = Response::new();
            response.set_version(version);
            if let Some(connection) = connection {
                response.headers_mut().set("Connection", connection).unwrap();
            }
            assert_eq!(response.keep_alive(), keep_alive, "{version} {connection:?}");
        }
        let mut split = with(&[("Connection", "TE"), ("Connection", "close")]);
        assert!(!split.keep_alive());
        assert!(split.set_keep_alive(true).keep_alive());
    }

    #[test]
    fn other_connection_options_stay() {
        let mut response = with(&[("Connection", "Upgrade, close"), ("connection", "TE")]);
        response.set_keep_alive(true);
        assert!(response.headers().get_all("Connection").eq([b"Upgrade, TE, keep-alive"]));
        response.set_keep_alive(false);
        assert_eq!(response.headers().get("Connection"), Some("Upgrade, TE, close"));
        assert_eq!(Response::new().set_keep_alive(false).headers().get("Connection"), Some("close"));
    }
}
