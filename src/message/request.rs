//! Requests: method, target, version, fields (RFC 9110, section 6; RFC 9112, section 3).
//!
//! A value that the caller owns and sessions only read. It does not know how it is sent;
//! `proto::head` writes it and refuses what can't be written.

use std::fmt;

use super::header_map::overwrite;
use super::message::members;
use super::{HeaderMap, MediaType, Message, Method, Version, field, names};
use crate::{Error, ErrorKind, Result};

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
    #[inline]
    pub fn path(&self) -> &str {
        let target = self.path_and_query();
        let end = target.bytes().position(|byte| byte == b'?').unwrap_or(target.len());
        let path = &target[..end];
        // An empty path is "/" (RFC 9110, 4.2.3).
        if path.is_empty() { "/" } else { path }
    }

    /// What is behind the first `?` of the target, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.path_and_query().split_once('?').map(|(_, query)| query)
    }

    #[inline]
    fn path_and_query(&self) -> &str {
        if self.target.starts_with('/') { &self.target } else { self.path_of_absolute_form() }
    }

    fn path_of_absolute_form(&self) -> &str {
        let Some((_, rest)) = self.target.split_once("://") else {
            return &self.target;
        };
        match rest.find(['/', '?']) {
            Some(at) => &rest[at..],
            None => "",
        }
    }

    /// Whom the request is for: the authority of a target in absolute-form, which replaces the
    /// `Host` (RFC 9112, 3.2.2), else name and port as they are in that field.
    #[doc(alias = "getHost")]
    pub fn host(&self) -> Option<&str> {
        self.authority().or_else(|| self.headers.get(names::HOST))
    }

    /// The authority of a target in absolute-form.
    fn authority(&self) -> Option<&str> {
        if self.target.starts_with('/') {
            return None;
        }
        let (_, rest) = self.target.split_once("://")?;
        rest.split(['/', '?']).next().filter(|authority| !authority.is_empty())
    }

    /// Sets the `Host`, as it is to be in the field. A session does this for requests that
    /// have none.
    #[doc(alias = "setHost")]
    pub fn set_host(&mut self, host: &str) -> Result<&mut Self> {
        self.headers.set(names::HOST, host)?;
        Ok(self)
    }

    /// Sets the `Host` to this name or address and this port: an IPv6 address goes into
    /// brackets, and the ports 80 and 443 are left out.
    #[doc(alias = "setHost")]
    pub fn set_host_port(&mut self, host: &str, port: u16) -> Result<&mut Self> {
        let mut text = String::with_capacity(host.len() + 8);
        if host.contains(':') && !host.starts_with('[') {
            text.extend(["[", host, "]"]);
        } else {
            text.push_str(host);
        }
        if !matches!(port, 80 | 443) {
            text.push(':');
            text.push_str(&port.to_string());
        }
        self.set_host(&text)
    }

    /// The cookies of all `Cookie` fields, in order; one name may come more than once.
    /// Values are as received, quotes and escapes included; what is not UTF-8 is left out.
    ///
    /// ```
    /// # use sessile::message::Request;
    /// let mut request = Request::get("/");
    /// request.set_cookies([("id", "1"), ("lang", "en")])?.add_cookies([("id", "2")])?;
    /// assert_eq!(request.headers().get("Cookie"), Some("id=1; lang=en; id=2"));
    /// assert_eq!(request.cookie("id"), Some("1"));
    /// assert_eq!(request.cookies().filter(|(name, _)| *name == "id").count(), 2);
    /// # Ok::<(), sessile::Error>(())
    /// ```
    #[doc(alias = "getCookies")]
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        let pieces = self.headers.get_all(names::COOKIE).flat_map(|field| field.split(|&byte| byte == b';'));
        pieces.filter_map(|piece| {
            let piece = std::str::from_utf8(field::trim_ows(piece)).ok()?;
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let blanks = [' ', '\t'];
            (!piece.is_empty()).then(|| (name.trim_end_matches(blanks), value.trim_start_matches(blanks)))
        })
    }

    /// The value of the first cookie of this name. Case matters.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Makes these the cookies of the request, in one field (RFC 6265, 5.4); none remove it.
    /// Fails if a name is not a token, or if there are semicolons or controls in a value.
    #[doc(alias = "setCookies")]
    pub fn set_cookies<N, V>(&mut self, cookies: impl IntoIterator<Item = (N, V)>) -> Result<&mut Self>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut list = String::new();
        append_cookies(&mut list, cookies)?;
        self.put_cookies(list)
    }

    /// Adds these cookies to those that the request has, all in one field. Fails as
    /// [`set_cookies`](Request::set_cookies) does.
    pub fn add_cookies<N, V>(&mut self, cookies: impl IntoIterator<Item = (N, V)>) -> Result<&mut Self>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut list = String::new();
        for (name, value) in self.cookies() {
            push_cookie(&mut list, name, value);
        }
        append_cookies(&mut list, cookies)?;
        self.put_cookies(list)
    }

    fn put_cookies(&mut self, list: String) -> Result<&mut Self> {
        if list.is_empty() {
            self.headers.remove(names::COOKIE);
        } else {
            self.headers.set(names::COOKIE, &list)?;
        }
        overwrite(&mut list.into_bytes());
        Ok(self)
    }

    /// Whether there are credentials for the server.
    #[doc(alias = "hasCredentials")]
    pub fn has_credentials(&self) -> bool {
        self.headers.has(names::AUTHORIZATION)
    }

    /// Scheme and data of the credentials for the server; an error of the kind
    /// [`NotAuthenticated`](ErrorKind::NotAuthenticated) if there are none.
    ///
    /// ```
    /// # use sessile::message::Request;
    /// let mut request = Request::get("/");
    /// request.set_credentials("Bearer", "mF_9.B5f-4.1JqM")?;
    /// assert_eq!(request.credentials()?, ("Bearer", "mF_9.B5f-4.1JqM"));
    /// # Ok::<(), sessile::Error>(())
    /// ```
    #[doc(alias = "getCredentials")]
    pub fn credentials(&self) -> Result<(&str, &str)> {
        credentials(&self.headers, names::AUTHORIZATION)
    }

    /// Sets the credentials for the server. The bytes are overwritten when they are
    /// removed and when the request is cleared or dropped.
    #[doc(alias = "setCredentials")]
    pub fn set_credentials(&mut self, scheme: &str, data: &str) -> Result<&mut Self> {
        set_credentials(&mut self.headers, names::AUTHORIZATION, scheme, data)?;
        Ok(self)
    }

    /// Removes the credentials for the server.
    #[doc(alias = "removeCredentials")]
    pub fn remove_credentials(&mut self) -> &mut Self {
        self.headers.remove(names::AUTHORIZATION);
        self
    }

    /// Whether there are credentials for the proxy.
    #[doc(alias = "hasProxyCredentials")]
    pub fn has_proxy_credentials(&self) -> bool {
        self.headers.has(names::PROXY_AUTHORIZATION)
    }

    /// Scheme and data of the credentials for the proxy: see
    /// [`credentials`](Request::credentials).
    #[doc(alias = "getProxyCredentials")]
    pub fn proxy_credentials(&self) -> Result<(&str, &str)> {
        credentials(&self.headers, names::PROXY_AUTHORIZATION)
    }

    /// Sets the credentials for the proxy: see [`set_credentials`](Request::set_credentials).
    #[doc(alias = "setProxyCredentials")]
    pub fn set_proxy_credentials(&mut self, scheme: &str, data: &str) -> Result<&mut Self> {
        set_credentials(&mut self.headers, names::PROXY_AUTHORIZATION, scheme, data)?;
        Ok(self)
    }

    /// Removes the credentials for the proxy.
    #[doc(alias = "removeProxyCredentials")]
    pub fn remove_proxy_credentials(&mut self) -> &mut Self {
        self.headers.remove(names::PROXY_AUTHORIZATION);
        self
    }

    /// Whether the client waits for `100 Continue` before it sends content
    /// (RFC 9110, 10.1.1).
    #[doc(alias = "getExpectContinue")]
    pub fn expect_continue(&self) -> bool {
        self.headers.has_token(names::EXPECT, "100-continue")
    }

    /// Sets or removes `Expect: 100-continue`.
    #[doc(alias = "setExpectContinue")]
    pub fn set_expect_continue(&mut self, expect: bool) -> &mut Self {
        if expect {
            self.headers.set_unchecked(names::EXPECT, b"100-continue");
        } else {
            self.headers.remove(names::EXPECT);
        }
        self
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

fn append_cookies<N: AsRef<str>, V: AsRef<str>>(
    list: &mut String,
    cookies: impl IntoIterator<Item = (N, V)>,
) -> Result<()> {
    for (name, value) in cookies {
        let (name, value) = (name.as_ref(), value.as_ref());
        if !field::is_token(name.as_bytes())
            || value.contains(';')
            || !field::is_field_value(value.as_bytes())
        {
            return Err(Error::invalid_argument(format!("the cookie {name:?} can't be sent as it is")));
        }
        push_cookie(list, name, value);
    }
    Ok(())
}

fn push_cookie(list: &mut String, name: &str, value: &str) {
    let separator = if list.is_empty() { "" } else { "; " };
    list.extend([separator, name, "=", value]);
}

fn credentials<'a>(headers: &'a HeaderMap, name: &str) -> Result<(&'a str, &'a str)> {
    let missing = || Error::new(ErrorKind::NotAuthenticated, format!("the request has no {name}"));
    let value = headers.get(name).ok_or_else(missing)?;
    let (scheme, data) = value.split_once(' ').unwrap_or((value, ""));
    Ok((scheme, data.trim_start_matches(' ')))
}

fn set_credentials(headers: &mut HeaderMap, name: &str, scheme: &str, data: &str) -> Result<()> {
    if !field::is_token(scheme.as_bytes()) {
        return Err(Error::invalid_argument("an authentication scheme must be a token"));
    }
    let mut value = [scheme, data].join(" ").into_bytes();
    let result = headers.set(name, &value);
    overwrite(&mut value);
    result
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_query_are_found_in_every_form_of_target() {
        for (target, path, query) in [
            ("/", "/", None),
            ("/a/b?c=d?e", "/a/b", Some("c=d?e")),
            ("/a?", "/a", Some("")),
            ("/a://b/c", "/a://b/c", None),
            ("http://h:80/a?b", "/a", Some("b")),
            ("http://h", "/", None),
            ("http://h?b/c", "/", Some("b/c")),
            ("*", "*", None),
            ("example.com:443", "example.com:443", None),
        ] {
            let request = Request::get(target);
            assert_eq!((request.path(), request.query()), (path, query), "{target}");
        }
    }

    #[test]
    fn a_target_that_could_split_the_request_is_refused() {
        let mut request = Request::get("/kept");
        for bad in ["", "/a b", "/a\r\nX: y", "/\0", "/\t", "/\u{e4}", "/\u{7f}"] {
            assert!(request.set_target(bad).is_err(), "{bad:?}");
        }
        assert_eq!(request.target(), "/kept");
    }

    #[test]
    fn a_cleared_request_is_a_new_one_in_the_same_memory() {
        let mut request = Request::put("/a/long/target");
        request.set_version(Version::Http10).set_content_length(5);
        let memory = request.target.as_ptr();
        request.clear();
        assert_eq!(
            (request.method(), request.target(), request.version()),
            (&Method::GET, "/", Version::Http11)
        );
        assert!(request.headers().is_empty());
        request.set_target("/a/long/target").unwrap();
        assert_eq!(request.target.as_ptr(), memory);
    }

    #[test]
    fn host_and_port_are_written_as_in_a_uri() {
        let mut request = Request::default();
        assert_eq!(request.host(), None);
        for (host, port, field) in [
            ("example.com", 80, "example.com"),
            ("example.com", 443, "example.com"),
            ("example.com", 8080, "example.com:8080"),
            ("::1", 80, "[::1]"),
            ("::1", 81, "[::1]:81"),
            ("[::1]", 81, "[::1]:81"),
        ] {
            assert_eq!(request.set_host_port(host, port).unwrap().host(), Some(field));
        }
        assert!(request.set_host("a\r\nb").is_err());
        assert_eq!(request.headers().len(), 1);
    }

    #[test]
    fn a_target_in_absolute_form_says_itself_whom_the_request_is_for() {
        for (target, host) in [
            ("http://a.test:8080/b?c=http://d.test/", "a.test:8080"),
            ("https://a.test", "a.test"),
            ("http://a.test?b/c", "a.test"),
            ("http://[::1]:81/", "[::1]:81"),
            ("/a?b=http://c.test/", "field.test"),
            ("*", "field.test"),
        ] {
            let mut request = Request::get(target);
            assert_eq!(request.set_host("field.test").unwrap().host(), Some(host), "{target}");
            assert_eq!(request.headers().get("Host"), Some("field.test"));
        }
    }

    #[test]
    fn cookies_of_all_fields_are_read() {
        let mut request = Request::default();
        request.headers_mut().append("Cookie", b"a=1; bad=\xff; b = \"x y\" ;; c").unwrap();
        request.headers_mut().append("cookie", "A=2;d==").unwrap();
        let found: Vec<_> = request.cookies().collect();
        assert_eq!(found, [("a", "1"), ("b", "\"x y\""), ("c", ""), ("A", "2"), ("d", "=")]);
        assert_eq!(request.cookie("A"), Some("2"));
        assert_eq!(request.cookie("e"), None);
    }

    #[test]
    fn cookies_are_sent_in_one_field() {
        let mut request = Request::default();
        request.add_cookies([("a", "1")]).unwrap().add_cookies([("b", "2")]).unwrap();
        request.headers_mut().append("Cookie", "c=3").unwrap();
        request.add_cookies([("d", "4")]).unwrap();
        assert!(request.headers().get_all("Cookie").eq([b"a=1; b=2; c=3; d=4"]));
        for (name, value) in [("a b", "1"), ("", "1"), ("a", "1;2"), ("a", "1\r\nX: y")] {
            assert!(request.set_cookies([(name, value)]).is_err());
        }
        assert!(!request.set_cookies::<&str, &str>([]).unwrap().headers().has("Cookie"));
    }

    #[test]
    fn credentials_are_scheme_and_data() {
        let mut request = Request::default();
        assert_eq!(request.credentials().unwrap_err().kind(), ErrorKind::NotAuthenticated);
        request
            .set_credentials("Basic", "YTpi")
            .unwrap()
            .set_proxy_credentials("Digest", "a=\"b\", c=d")
            .unwrap();
        assert_eq!(request.headers().get("Authorization"), Some("Basic YTpi"));
        assert_eq!(request.credentials().unwrap(), ("Basic", "YTpi"));
        assert_eq!(request.proxy_credentials().unwrap(), ("Digest", "a=\"b\", c=d"));
        assert!(request.set_credentials("Ba sic", "x").is_err() && request.set_credentials("", "x").is_err());
        assert!(request.set_credentials("Basic", "a\r\nX: y").is_err());
        assert!(!request.remove_credentials().has_credentials());
        assert!(request.has_proxy_credentials());
        assert!(!request.remove_proxy_credentials().has_proxy_credentials());
        request.set_credentials("Negotiate", "").unwrap();
        assert_eq!(request.credentials().unwrap(), ("Negotiate", ""));
    }

    #[test]
    fn expect_continue_is_found_in_any_case() {
        let mut request = Request::default();
        assert!(request.set_expect_continue(true).expect_continue());
        assert!(!request.set_expect_continue(false).headers().has("Expect"));
        request.headers_mut().set("Expect", "100-Continue").unwrap();
        assert!(request.expect_continue());
        request.headers_mut().set("Expect", "100-continued").unwrap();
        assert!(!request.expect_continue());
    }

    #[test]
    fn debug_shows_no_credentials() {
        let mut request = Request::default();
        request.set_credentials("Basic", "s3cr3t").unwrap().set_cookies([("id", "s3cr3t")]).unwrap();
        assert!(!format!("{request:?}").contains("s3cr3t"));
    }
}
