//! Requests: method, target, version, fields (RFC 9110, section 6; RFC 9112, section 3).
//!
//! A value that the caller owns and sessions only read. It does not know how it is sent;
//! `proto::head` writes it and refuses what can't be written.

use std::fmt;

use super::message::members;
use super::{HeaderMap, Message, Method, Version};
use crate::{Error, Result};

/// The head of a request.
///
/// A new one is HTTP/1.1. A session adds what it must (`Host`, `Connection`, …) on the
/// wire only; the caller's request is not changed.
///
/// ```
/// use sessile::message::{Method, Request};
///
/// let mut request = Request::new(Method::POST, "/convert?to=pdf");
/// request.set_content_type("text/plain").set_content_length(5);
/// request.headers_mut().set("Accept", "application/pdf")?;
/// assert_eq!(request.path(), "/convert");
/// assert_eq!(request.query(), Some("to=pdf"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "HTTPRequest")]
pub struct Request {
    method: Method,
    target: String,
    version: Version,
    headers: HeaderMap,
}

impl Request {
    /// A request for this target, in HTTP/1.1. The target is checked when the request is
    /// sent; [`set_target`](Request::set_target) checks at once.
    pub fn new(method: Method, target: impl Into<String>) -> Request {
        Request { method, target: target.into(), version: Version::Http11, headers: HeaderMap::new() }
    }

    /// A GET request.
    pub fn get(target: impl Into<String>) -> Request {
        Request::new(Method::GET, target)
    }

    /// A HEAD request.
    pub fn head(target: impl Into<String>) -> Request {
        Request::new(Method::HEAD, target)
    }

    /// A POST request.
    pub fn post(target: impl Into<String>) -> Request {
        Request::new(Method::POST, target)
    }

    /// A PUT request.
    pub fn put(target: impl Into<String>) -> Request {
        Request::new(Method::PUT, target)
    }

    /// A DELETE request.
    pub fn delete(target: impl Into<String>) -> Request {
        Request::new(Method::DELETE, target)
    }

    /// The method.
    #[doc(alias = "getMethod")]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Sets the method.
    #[doc(alias = "setMethod")]
    pub fn set_method(&mut self, method: Method) -> &mut Self {
        self.method = method;
        self
    }

    /// The target, as it is in the request line (RFC 9112, 3.2).
    #[doc(alias = "getURI")]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Sets the target. Fails if it is empty or holds anything but visible ASCII.
    #[doc(alias = "setURI")]
    pub fn set_target(&mut self, target: &str) -> Result<&mut Self> {
        if target.is_empty() || !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::invalid_argument("a request target is visible ASCII, without blanks"));
        }
        self.target.clear();
        self.target.push_str(target);
        Ok(self)
    }

    /// The target, for the parser.
    pub(crate) fn target_mut(&mut self) -> &mut String {
        &mut self.target
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

    /// The target's path: without scheme and authority if it is in absolute-form, and
    /// without the query. `*` and a CONNECT's authority are their own path.
    pub fn path(&self) -> &str {
        let target = self.path_and_query();
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        // An empty path is "/" (RFC 9110, 4.2.3).
        if path.is_empty() { "/" } else { path }
    }

    /// What is behind the first `?` of the target, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query().split_once('?').map(|(_, query)| query)
    }

    fn path_and_query(&self) -> &str {
        if self.target.starts_with('/') {
            return &self.target;
        }
        let Some((_, rest)) = self.target.split_once("://") else {
            return &self.target;
        };
        match rest.find(['/', '?']) {
            Some(at) => &rest[at..],
            None => "",
        }
    }

    /// Back to `GET / HTTP/1.1` without fields, with the memory kept.
    pub fn clear(&mut self) {
        self.method = Method::GET;
        self.target.clear();
        self.target.push('/');
        self.version = Version::Http11;
        self.headers.clear();
    }

    members!(pub fn);
}

impl Message for Request {
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

impl Default for Request {
    /// `GET / HTTP/1.1`.
    fn default() -> Request {
        Request::get("/")
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("target", &self.target)
            .field("version", &self.version)
            .field("headers", &self.headers)
            .finish()
    }
}
