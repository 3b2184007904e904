//! Responses: version, status, reason, fields (RFC 9110, section 6; RFC 9112, section 4).
//!
//! A value that the caller owns: a client session fills it in place, a server session
//! reads it.

use std::borrow::Cow;

use super::message::members;
use super::{HeaderMap, Message, StatusCode, Version, field};
use crate::{Error, Result};

/// The head of a response.
///
/// ```
/// use sessile::message::{Response, StatusCode};
///
/// let mut response = Response::with_status(StatusCode::NOT_FOUND);
/// response.set_content_type("text/plain").set_content_length(0);
/// assert_eq!(response.reason(), "Not Found");
/// assert_eq!(response.content_length()?, Some(0));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "HTTPResponse")]
pub struct Response {
    version: Version,
    status: StatusCode,
    reason: Vec<u8>,
    headers: HeaderMap,
}

impl Response {
    /// `HTTP/1.1 200 OK`, without fields.
    pub fn new() -> Response {
        Response::with_status(StatusCode::OK)
    }

    /// A response of this status, in HTTP/1.1, without fields.
    pub fn with_status(status: StatusCode) -> Response {
        Response { version: Version::Http11, status, reason: Vec::new(), headers: HeaderMap::new() }
    }

    /// The status code.
    #[doc(alias = "getStatus")]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Sets the status code. A reason that was set by hand or received stays.
    #[doc(alias = "setStatus")]
    pub fn set_status(&mut self, status: StatusCode) -> &mut Self {
        self.status = status;
        self
    }

    /// The reason phrase: the one that was set or received, else the registered one.
    #[doc(alias = "getReason")]
    pub fn reason(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.reason_bytes())
    }

    /// The reason phrase as it is sent: see [`reason`](Response::reason).
    pub fn reason_bytes(&self) -> &[u8] {
        if self.reason.is_empty() { self.status.reason().as_bytes() } else { &self.reason }
    }

    /// Sets the reason phrase; an empty one means the registered one. Fails if it holds
    /// controls.
    #[doc(alias = "setReason")]
    pub fn set_reason(&mut self, reason: &str) -> Result<&mut Self> {
        if !field::is_field_value(reason.as_bytes()) {
            return Err(Error::invalid_argument("a reason phrase holds no control characters"));
        }
        self.reason.clear();
        self.reason.extend_from_slice(reason.as_bytes());
        Ok(self)
    }

    /// Sets the status code and its registered reason.
    #[doc(alias = "setStatusAndReason")]
    pub fn set_status_and_reason(&mut self, status: StatusCode) -> &mut Self {
        self.status = status;
        self.reason.clear();
        self
    }

    /// The reason, for the parser; empty means the registered one.
    pub(crate) fn reason_mut(&mut self) -> &mut Vec<u8> {
        &mut self.reason
    }

    /// The version.
    #[doc(alias = "getVersion")]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Sets the version.
    #[doc(alias = "setVersion")]
    pub fn set_version(&mut self, version: Version) -> &mut Self {
        self.version = version;
        self
    }

    /// The fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The fields, to change them.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// Back to `HTTP/1.1 200 OK` without fields, with the memory kept.
    pub fn clear(&mut self) {
        self.version = Version::Http11;
        self.status = StatusCode::OK;
        self.reason.clear();
        self.headers.clear();
    }

    members!(pub fn);
}

impl Message for Response {
    fn version(&self) -> Version {
        self.version
    }

    fn set_version(&mut self, version: Version) -> &mut Self {
        self.version = version;
        self
    }

    fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }
}

impl Default for Response {
    fn default() -> Response {
        Response::new()
    }
}
