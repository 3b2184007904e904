//! Responses: version, status, reason, fields (RFC 9110, section 6; RFC 9112, section 4).
//!
//! A value that the caller owns: a client session fills it in place, a server session
//! reads it.

use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;

use super::message::members;
use super::{
    Cookie, HeaderMap, MediaType, Message, StatusCode, Version, field, format_http_date, names,
    parse_http_date,
};
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
#[derive(Clone)]
#[doc(alias = "HTTPResponse")]
pub struct Response {
    version: Version,
    status: StatusCode,
    reason: Vec<u8>,
    /// The reason was set or received, though it may be empty; else it is the registered one.
    has_reason: bool,
    headers: HeaderMap,
}

impl Response {
    /// `HTTP/1.1 200 OK`, without fields.
    pub fn new() -> Response {
        Response::with_status(StatusCode::OK)
    }

    /// A response of this status, in HTTP/1.1, without fields.
    pub fn with_status(status: StatusCode) -> Response {
        Response {
            version: Version::Http11,
            status,
            reason: Vec::new(),
            has_reason: false,
            headers: HeaderMap::new(),
        }
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
        if self.has_reason { &self.reason } else { self.status.reason().as_bytes() }
    }

    /// Whether the status line is the one of most responses.
    #[inline]
    pub(crate) fn is_plain_ok(&self) -> bool {
        self.status == StatusCode::OK && !self.has_reason
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
        self.has_reason = !reason.is_empty();
        Ok(self)
    }

    /// Sets the status code and its registered reason.
    #[doc(alias = "setStatusAndReason")]
    pub fn set_status_and_reason(&mut self, status: StatusCode) -> &mut Self {
        self.status = status;
        self.has_reason = false;
        self
    }

    /// The reason, for the parser: as it came, an empty one too.
    pub(crate) fn reason_mut(&mut self) -> &mut Vec<u8> {
        self.has_reason = true;
        self.reason.clear();
        &mut self.reason
    }

    /// Sets status code and reason phrase. Fails as [`set_reason`](Response::set_reason)
    /// does, and changes nothing then.
    #[doc(alias = "setStatusAndReason")]
    pub fn set_status_with_reason(&mut self, status: StatusCode, reason: &str) -> Result<&mut Self> {
        Ok(self.set_reason(reason)?.set_status(status))
    }

    /// The `Date`. An error of the kind [`NotFound`](crate::ErrorKind::NotFound) without the
    /// field, and [`Malformed`](crate::ErrorKind::Malformed) if it is no date.
    #[doc(alias = "getDate")]
    pub fn date(&self) -> Result<SystemTime> {
        parse_http_date(self.headers.try_get(names::DATE)?)
    }

    /// Sets the `Date`.
    #[doc(alias = "setDate")]
    pub fn set_date(&mut self, time: SystemTime) -> &mut Self {
        self.headers.set_unchecked(names::DATE, &format_http_date(time));
        self
    }

    /// The cookies that the response sets, in order. `Set-Cookie` fields that can't be read
    /// are left out, as user agents do.
    ///
    /// ```
    /// use sessile::message::{Cookie, Response};
    ///
    /// let mut response = Response::new();
    /// response.add_cookie(&Cookie::new("id", "1")?).add_cookie(&Cookie::new("lang", "en")?);
    /// response.replace_cookie(&Cookie::new("id", "2")?);
    /// let values: Vec<_> = response.cookies().iter().map(|cookie| cookie.to_string()).collect();
    /// assert_eq!(values, ["id=2", "lang=en"]);
    /// assert!(response.remove_cookie("id"));
    /// # Ok::<(), sessile::Error>(())
    /// ```
    #[doc(alias = "getCookies")]
    pub fn cookies(&self) -> Vec<Cookie> {
        let fields = self.headers.get_all(names::SET_COOKIE);
        fields.filter_map(|field| Cookie::parse(std::str::from_utf8(field).ok()?).ok()).collect()
    }

    /// Adds a `Set-Cookie` field.
    #[doc(alias = "addCookie")]
    pub fn add_cookie(&mut self, cookie: &Cookie) -> &mut Self {
        self.headers.append_unchecked(names::SET_COOKIE, cookie.to_string().as_bytes());
        self
    }

    /// Puts this cookie in the place of the first one that has its name, or adds it. Case
    /// matters.
    #[doc(alias = "replaceCookie")]
    pub fn replace_cookie(&mut self, cookie: &Cookie) -> &mut Self {
        match self.find_cookie(cookie.name()) {
            Some(position) => self.headers.set_unchecked_at(position, cookie.to_string().as_bytes()),
            None => _ = self.add_cookie(cookie),
        }
        self
    }

    /// Removes the first `Set-Cookie` field for a cookie of this name and says whether there
    /// was one. To remove a cookie from the client, add one with a
    /// [`max_age`](Cookie::set_max_age) of 0.
    #[doc(alias = "removeCookie")]
    pub fn remove_cookie(&mut self, name: &str) -> bool {
        self.find_cookie(name).is_some_and(|position| self.headers.remove_at(position))
    }

    fn find_cookie(&self, name: &str) -> Option<usize> {
        self.headers.iter().position(|(field, value)| {
            field.eq_ignore_ascii_case(names::SET_COOKIE)
                && value.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
        })
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
        self.has_reason = false;
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

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("version", &self.version)
            .field("status", &self.status)
            .field("reason", &self.reason())
            .field("headers", &self.headers)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_reason_that_was_set_stays_and_the_registered_one_follows_the_status() {
        let mut response = Response::new();
        assert_eq!(response.set_status(StatusCode::NOT_FOUND).reason(), "Not Found");
        assert_eq!(response.set_reason("Gone Fishing").unwrap().reason(), "Gone Fishing");
        assert_eq!(response.set_status(StatusCode::GONE).reason(), "Gone Fishing");
        assert_eq!(response.set_status_and_reason(StatusCode::GONE).reason(), "Gone");
        response.set_status_with_reason(StatusCode::OK, "Fine").unwrap();
        assert_eq!(response.reason(), "Fine");
        assert_eq!(response.set_reason("").unwrap().reason_bytes(), b"OK");
        assert!(response.set_reason("a\r\nX: y").is_err() && response.set_reason("a\0").is_err());
        assert_eq!(response.set_status(StatusCode::new(299).unwrap()).reason(), "");
    }

    #[test]
    fn a_received_reason_need_not_be_utf8() {
        let mut response = Response::new();
        response.reason_mut().extend_from_slice(b"tr\xe8s bien");
        assert_eq!(response.reason(), "tr\u{fffd}s bien");
        assert_eq!(response.reason_bytes(), b"tr\xe8s bien");
    }

    #[test]
    fn an_empty_reason_that_was_received_stays_empty() {
        let mut response = Response::new();
        response.reason_mut().clear();
        assert_eq!(response.reason(), "");
        response.clear();
        assert_eq!(response.reason(), "OK");
    }

    #[test]
    fn a_date_is_missing_wrong_or_there() {
        let mut response = Response::new();
        assert_eq!(response.date().unwrap_err().kind(), ErrorKind::NotFound);
        response.headers_mut().set("Date", "today").unwrap();
        assert_eq!(response.date().unwrap_err().kind(), ErrorKind::Malformed);
        let time = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(response.set_date(time).date().unwrap(), time);
        assert_eq!(response.headers().get("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    }

    #[test]
    fn the_first_cookie_of_exactly_this_name_is_replaced_or_removed() {
        let mut response = Response::new();
        for value in ["idx=0", "ID=1", "id=2; Path=/", "id=3"] {
            response.headers_mut().append("set-cookie", value).unwrap();
        }
        response.headers_mut().append("Other", "id=4").unwrap();
        response.replace_cookie(&Cookie::new("id", "new-and-longer-value").unwrap());
        let values: Vec<_> = response.headers().iter().map(|(_, value)| value).collect();
        assert_eq!(values, [&b"idx=0"[..], b"ID=1", b"id=new-and-longer-value", b"id=3", b"id=4"]);
        assert!(
            response.remove_cookie("id") && response.remove_cookie("id") && !response.remove_cookie("id")
        );
        response.replace_cookie(&Cookie::new("id", "5").unwrap());
        assert_eq!(response.cookies().len(), 3);
    }

    #[test]
    fn set_cookie_fields_that_can_t_be_read_are_left_out() {
        let mut response = Response::new();
        for value in [&b"nothing"[..], b"a=\xff", b"b=1; Path=/"] {
            response.headers_mut().append("Set-Cookie", value).unwrap();
        }
        let cookies = response.cookies();
        assert_eq!(cookies.len(), 1);
        assert_eq!((cookies[0].name(), cookies[0].path()), ("b", Some("/")));
    }

    #[test]
    fn a_cleared_response_is_a_new_one() {
        let mut response = Response::with_status(StatusCode::GONE);
        response.set_version(Version::Http10).set_keep_alive(false).set_reason("x").unwrap();
        response.clear();
        assert_eq!((response.version(), response.status()), (Version::Http11, StatusCode::OK));
        assert!(response.headers().is_empty());
        assert_eq!(response.reason(), "OK");
    }

    #[test]
    fn debug_shows_no_cookies() {
        let mut response = Response::new();
        response.add_cookie(&Cookie::new("id", "s3cr3t").unwrap());
        assert!(!format!("{response:?}").contains("s3cr3t"));
    }
}
