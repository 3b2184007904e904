//! Cookies as servers set them (RFC 6265, sections 4.1 and 5.2).
//!
//! One cookie and its attributes, read and written. Nothing here looks at a clock, keeps
//! cookies or decides who may have them: that is a jar's business.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{date, field};
use crate::{Error, Result};

/// A cookie: the value of a `Set-Cookie` field.
///
/// ```
/// use sessile::message::{Cookie, SameSite};
///
/// let mut cookie = Cookie::new("id", "31d4d96e407aad42")?;
/// cookie.set_path("/")?.set_same_site(Some(SameSite::Lax)).set_http_only(true);
/// assert_eq!(cookie.to_string(), "id=31d4d96e407aad42; Path=/; SameSite=Lax; HttpOnly");
///
/// let cookie = Cookie::parse("lang=en; Max-Age=3600; Domain=.Example.com")?;
/// assert_eq!(cookie.domain(), Some("example.com"));
/// assert_eq!(cookie.max_age(), Some(3600));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
#[doc(alias = "HTTPCookie")]
pub struct Cookie {
    name: String,
    value: String,
    domain: Option<String>,
    path: Option<String>,
    priority: Option<String>,
    comment: Option<String>,
    expires: Option<SystemTime>,
    max_age: Option<i64>,
    same_site: Option<SameSite>,
    secure: bool,
    http_only: bool,
    version: CookieVersion,
}

/// Which requests from other sites carry a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// All. Browsers demand `Secure` with it, so it is written with `Secure`.
    #[doc(alias = "SAME_SITE_NONE")]
    None,
    /// Only when the user follows a link.
    #[doc(alias = "SAME_SITE_LAX")]
    Lax,
    /// None.
    #[doc(alias = "SAME_SITE_STRICT")]
    Strict,
}

/// The specification by which a cookie is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CookieVersion {
    /// RFC 6265, Poco's version 0: the one to use.
    #[default]
    Rfc6265,
    /// RFC 2109, Poco's version 1: obsolete since 2000.
    Rfc2109,
}

impl Cookie {
    /// A cookie for the session. Fails if the name is not a token, or if there is anything
    /// in the value that RFC 6265 does not allow there: blanks, quotes, commas, semicolons,
    /// backslashes, controls and all beyond ASCII. [`escape`](Cookie::escape) makes any
    /// text fit.
    pub fn new(name: &str, value: &str) -> Result<Cookie> {
        let mut cookie = Cookie::default();
        cookie.set_name(name)?.set_value(value)?;
        Ok(cookie)
    }

    /// Reads the value of a `Set-Cookie` field as user agents do (RFC 6265, 5.2): the first
    /// pair is the cookie, unknown attributes and those that can't be read are ignored, of
    /// equal ones the last counts. Fails if there is no name or there are controls.
    pub fn parse(set_cookie: &str) -> Result<Cookie> {
        if !field::is_field_value(set_cookie.as_bytes()) {
            return Err(Error::malformed("a Set-Cookie field holds control characters"));
        }
        let mut pieces = set_cookie.split(';');
        let (name, value) = pieces.next().and_then(|pair| pair.split_once('=')).unwrap_or_default();
        let (name, value) = (trim(name), trim(value));
        if name.is_empty() {
            return Err(Error::malformed("a Set-Cookie field names no cookie"));
        }
        let mut cookie = Cookie { name: name.to_owned(), value: value.to_owned(), ..Cookie::default() };
        for attribute in pieces {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            cookie.take_attribute(trim(name), trim(value));
        }
        Ok(cookie)
    }

    fn take_attribute(&mut self, name: &str, value: &str) {
        match name.to_ascii_lowercase().as_str() {
            "expires" => self.expires = date::parse_cookie_date(value).or(self.expires),
            "max-age" => self.max_age = parse_max_age(value).or(self.max_age),
            "domain" if !value.is_empty() => {
                // A dot alone names no domain (RFC 6265, 5.3, step 6).
                let domain = value.strip_prefix('.').unwrap_or(value);
                self.domain = (!domain.is_empty()).then(|| domain.to_ascii_lowercase());
            }
            // Anything else means the default path, which depends on the request.
            "path" => self.path = value.starts_with('/').then(|| value.to_owned()),
            "secure" => self.secure = true,
            "httponly" => self.http_only = true,
            "samesite" => self.same_site = SameSite::parse(value),
            "priority" if !value.is_empty() => self.priority = Some(value.to_owned()),
            "comment" if !value.is_empty() => self.comment = Some(field::unquote(value).into_owned()),
            _ => {}
        }
    }

    /// The name. Case matters.
    #[doc(alias = "getName")]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets the name. Fails if it is not a token.
    #[doc(alias = "setName")]
    pub fn set_name(&mut self, name: &str) -> Result<&mut Self> {
        if !field::is_token(name.as_bytes()) {
            return Err(Error::invalid_argument("the name of a cookie must be a token"));
        }
        self.name = name.to_owned();
        Ok(self)
    }

    /// The value, as it was received or set: quotes and escapes are part of it.
    #[doc(alias = "getValue")]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Sets the value. Fails as [`new`](Cookie::new) does.
    #[doc(alias = "setValue")]
    pub fn set_value(&mut self, value: &str) -> Result<&mut Self> {
        let inside = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        if !inside.bytes().all(is_cookie_octet) {
            return Err(Error::invalid_argument("the value of a cookie needs escaping: see Cookie::escape"));
        }
        self.value = value.to_owned();
        Ok(self)
    }

    /// The domain for whose hosts the cookie is, without a leading dot; `None`: only for the
    /// host that set it.
    #[doc(alias = "getDomain")]
    pub fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// Sets the domain; an empty one removes it. Fails on controls and semicolons.
    #[doc(alias = "setDomain")]
    pub fn set_domain(&mut self, domain: &str) -> Result<&mut Self> {
        self.domain = attribute_text(domain)?;
        Ok(self)
    }

    /// The path below which the cookie is sent; `None`: the directory of the request.
    #[doc(alias = "getPath")]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Sets the path; an empty one removes it. Fails on controls and semicolons.
    #[doc(alias = "setPath")]
    pub fn set_path(&mut self, path: &str) -> Result<&mut Self> {
        self.path = attribute_text(path)?;
        Ok(self)
    }

    /// The priority (`Low`, `Medium`, `High`), which some browsers know.
    #[doc(alias = "getPriority")]
    pub fn priority(&self) -> Option<&str> {
        self.priority.as_deref()
    }

    /// Sets the priority; an empty one removes it. Fails on controls and semicolons.
    #[doc(alias = "setPriority")]
    pub fn set_priority(&mut self, priority: &str) -> Result<&mut Self> {
        self.priority = attribute_text(priority)?;
        Ok(self)
    }

    /// The comment of an RFC 2109 cookie.
    #[doc(alias = "getComment")]
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// Sets the comment, which only RFC 2109 cookies show; an empty one removes it. Fails on
    /// controls and semicolons.
    #[doc(alias = "setComment")]
    pub fn set_comment(&mut self, comment: &str) -> Result<&mut Self> {
        self.comment = attribute_text(comment)?;
        Ok(self)
    }

    /// How many seconds the cookie lives; `None`: see [`expires`](Cookie::expires).
    #[doc(alias = "getMaxAge")]
    pub fn max_age(&self) -> Option<i64> {
        self.max_age
    }

    /// Sets how many seconds the cookie lives. Zero and less end it at once; with `None` it
    /// lives as long as [`expires`](Cookie::expires) says.
    #[doc(alias = "setMaxAge")]
    pub fn set_max_age(&mut self, seconds: Option<i64>) -> &mut Self {
        self.max_age = seconds;
        self
    }

    /// When the cookie ends, unless there is a [`max_age`](Cookie::max_age), which has
    /// precedence. Without both it ends with the session of the browser.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Sets when the cookie ends. Only ancient browsers need it beside a `Max-Age`.
    pub fn set_expires(&mut self, expires: Option<SystemTime>) -> &mut Self {
        self.expires = expires;
        self
    }

    /// When the cookie ends if it was received at this time: by `Max-Age`, else by
    /// `Expires`; `None` with the session.
    pub fn expires_at(&self, received: SystemTime) -> Option<SystemTime> {
        match self.max_age {
            None => self.expires,
            Some(..=0) => Some(UNIX_EPOCH),
            Some(seconds) => {
                let end = received.checked_add(Duration::from_secs(seconds.unsigned_abs()));
                Some(end.unwrap_or(UNIX_EPOCH + Duration::from_secs(FAR_FUTURE)))
            }
        }
    }

    /// Whether the cookie is sent over TLS only.
    #[doc(alias = "getSecure")]
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// Sets whether the cookie is sent over TLS only.
    #[doc(alias = "setSecure")]
    pub fn set_secure(&mut self, secure: bool) -> &mut Self {
        self.secure = secure;
        self
    }

    /// Whether the cookie is kept from scripts.
    #[doc(alias = "getHttpOnly")]
    pub fn http_only(&self) -> bool {
        self.http_only
    }

    /// Sets whether the cookie is kept from scripts.
    #[doc(alias = "setHttpOnly")]
    pub fn set_http_only(&mut self, http_only: bool) -> &mut Self {
        self.http_only = http_only;
        self
    }

    /// Which requests from other sites carry the cookie; `None` if it is not said.
    #[doc(alias = "getSameSite")]
    pub fn same_site(&self) -> Option<SameSite> {
        self.same_site
    }

    /// Sets which requests from other sites carry the cookie.
    #[doc(alias = "setSameSite")]
    #[doc(alias = "SAME_SITE_NOT_SPECIFIED")]
    pub fn set_same_site(&mut self, same_site: Option<SameSite>) -> &mut Self {
        self.same_site = same_site;
        self
    }

    /// The specification by which the cookie is written.
    #[doc(alias = "getVersion")]
    pub fn version(&self) -> CookieVersion {
        self.version
    }

    /// Sets the specification by which the cookie is written.
    #[doc(alias = "setVersion")]
    pub fn set_version(&mut self, version: CookieVersion) -> &mut Self {
        self.version = version;
        self
    }

    /// Percent-encodes all but letters, digits and `-_.~@:=&+#?`.
    ///
    /// ```
    /// # use sessile::message::Cookie;
    /// assert_eq!(Cookie::escape("50 %; ü"), "50%20%25%3B%20%C3%BC");
    /// assert_eq!(Cookie::unescape("50%20%25%3B%20%C3%BC")?, "50 %; ü");
    /// # Ok::<(), sessile::Error>(())
    /// ```
    pub fn escape(text: &str) -> Cow<'_, str> {
        percent_encoding::utf8_percent_encode(text, ESCAPED).into()
    }

    /// Undoes [`escape`](Cookie::escape). Fails on a `%` that two hexadecimal digits don't
    /// follow, and where the result is not UTF-8.
    pub fn unescape(text: &str) -> Result<Cow<'_, str>> {
        field::percent_decode(text).ok_or_else(|| Error::malformed("the text is not percent-encoded UTF-8"))
    }

    fn fmt_rfc6265(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)?;
        write_attribute(f, "Domain", self.domain())?;
        write_attribute(f, "Path", self.path())?;
        write_attribute(f, "Priority", self.priority())?;
        // A cookie that is to go needs no clock to say so to browsers without Max-Age.
        let expires = if self.max_age.is_some_and(|age| age <= 0) { Some(UNIX_EPOCH) } else { self.expires };
        if let Some(expires) = expires {
            let text = date::format_http_date(expires);
            write_attribute(f, "Expires", std::str::from_utf8(&text).ok())?;
        }
        if let Some(age) = self.max_age {
            write!(f, "; Max-Age={}", age.max(0))?;
        }
        self.fmt_flags(f)
    }

    fn fmt_rfc2109(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside =
            self.value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&self.value);
        write!(f, "{}=\"{inside}\"", self.name)?;
        for (name, value) in [
            ("Comment", self.comment()),
            ("Domain", self.domain()),
            ("Path", self.path()),
            ("Priority", self.priority()),
        ] {
            if let Some(value) = value {
                write!(f, "; {name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))?;
            }
        }
        if let Some(age) = self.max_age {
            write!(f, "; Max-Age=\"{}\"", age.max(0))?;
        }
        self.fmt_flags(f)?;
        f.write_str("; Version=\"1\"")
    }

    fn fmt_flags(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_attribute(f, "SameSite", self.same_site.map(SameSite::as_str))?;
        if self.secure || self.same_site == Some(SameSite::None) {
            f.write_str("; Secure")?;
        }
        if self.http_only {
            f.write_str("; HttpOnly")?;
        }
        Ok(())
    }
}

impl SameSite {
    /// The word in the attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            SameSite::None => "None",
            SameSite::Lax => "Lax",
            SameSite::Strict => "Strict",
        }
    }

    fn parse(word: &str) -> Option<SameSite> {
        [SameSite::None, SameSite::Lax, SameSite::Strict]
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(word))
    }
}

fn write_attribute(f: &mut fmt::Formatter<'_>, name: &str, value: Option<&str>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, "; {name}={value}"))
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Seconds, perhaps with a minus; more than fit are as many as fit.
fn parse_max_age(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds =
        field::parse_decimal(digits.as_bytes()).and_then(|n| i64::try_from(n).ok()).unwrap_or(i64::MAX);
    Some(if negative { -seconds } else { seconds })
}

fn attribute_text(text: &str) -> Result<Option<String>> {
    if text.contains(';') || !field::is_field_value(text.as_bytes()) {
        return Err(Error::invalid_argument("a cookie's attribute holds neither semicolons nor controls"));
    }
    Ok(Some(trim(text).to_owned()).filter(|text| !text.is_empty()))
}

/// RFC 6265, 4.1.1.
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

impl fmt::Display for Cookie {
    /// The value of the `Set-Cookie` field.
    #[doc(alias = "toString")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            CookieVersion::Rfc6265 => self.fmt_rfc6265(f),
            CookieVersion::Rfc2109 => self.fmt_rfc2109(f),
        }
    }
}

impl fmt::Debug for Cookie {
    /// Everything but the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cookie")
            .field("name", &self.name)
            .field("domain", &self.domain)
            .field("path", &self.path)
            .field("expires", &self.expires)
            .field("max_age", &self.max_age)
            .field("same_site", &self.same_site)
            .field("secure", &self.secure)
            .field("http_only", &self.http_only)
            .finish_non_exhaustive()
    }
}

/// What [`Cookie::escape`] encodes.
const ESCAPED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'@')
    .remove(b':')
    .remove(b'=')
    .remove(b'&')
    .remove(b'+')
    .remove(b'#')
    .remove(b'?');

/// The last second of the year 9999: for ages that no clock reaches.
const FAR_FUTURE: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_pair_is_the_cookie_whatever_it_is_called() {
        let cookie = Cookie::parse("path=a=b; Path=/x; id=2").unwrap();
        assert_eq!((cookie.name(), cookie.value(), cookie.path()), ("path", "a=b", Some("/x")));
        let quoted = Cookie::parse(" id = \"a b\" ;secure").unwrap();
        assert_eq!((quoted.name(), quoted.value(), quoted.secure()), ("id", "\"a b\"", true));
        assert_eq!(Cookie::parse("empty=").unwrap().value(), "");
    }

    #[test]
    fn what_names_no_cookie_is_refused() {
        for bad in ["", "=value", "; Path=/", "name", "name; Path=/", "a=b\r\nX: y", "a=b\0", "a\u{7f}=b"] {
            assert!(Cookie::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn attributes_are_known_in_any_case_and_the_last_counts() {
        let cookie = Cookie::parse(
            "a=b; DOMAIN=.Example.COM; path=/one; Path=/two; SECURE=no; httponly; samesite=strict; Priority=High; x=y",
        )
        .unwrap();
        assert_eq!(cookie.domain(), Some("example.com"));
        for nowhere in ["a=b; Domain=.", "a=b; Domain=", "a=b; Domain=c.d; Domain=."] {
            assert_eq!(Cookie::parse(nowhere).unwrap().domain(), None, "{nowhere}");
        }
        assert_eq!(cookie.path(), Some("/two"));
        assert!(cookie.secure() && cookie.http_only());
        assert_eq!(cookie.same_site(), Some(SameSite::Strict));
        assert_eq!(cookie.priority(), Some("High"));
    }

    #[test]
    fn attributes_that_can_t_be_read_are_ignored() {
        let cookie =
            Cookie::parse("a=b; Max-Age=1h; Expires=soon; Domain=; Path=x; SameSite=maybe; Max-Age=")
                .unwrap();
        assert_eq!(cookie, Cookie::parse("a=b").unwrap());
        assert_eq!(Cookie::parse("a=b; Max-Age=+5").unwrap().max_age(), None);
        assert_eq!(Cookie::parse("a=b; Max-Age=-5").unwrap().max_age(), Some(-5));
        assert_eq!(Cookie::parse("a=b; Max-Age=99999999999999999999").unwrap().max_age(), Some(i64::MAX));
    }

    #[test]
    fn max_age_has_precedence_over_expires() {
        for text in [
            "a=b; Max-Age=60; Expires=Sun, 06 Nov 1994 08:49:37 GMT",
            "a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT; max-age=60",
        ] {
            let cookie = Cookie::parse(text).unwrap();
            assert_eq!(cookie.expires(), Some(at(784_111_777)));
            assert_eq!(cookie.expires_at(at(1000)), Some(at(1060)));
        }
        let cookie = Cookie::parse("a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(cookie.expires_at(at(1000)), Some(at(784_111_777)));
        assert_eq!(Cookie::parse("a=b").unwrap().expires_at(at(1000)), None);
        assert!(Cookie::parse("a=b; Max-Age=0").unwrap().expires_at(at(1000)) < Some(at(1000)));
        assert!(Cookie::parse("a=b; Max-Age=9223372036854775807").unwrap().expires_at(at(9)) > Some(at(9)));
    }

    #[test]
    fn attributes_are_written_in_poco_s_order() {
        let mut cookie = Cookie::new("name", "value").unwrap();
        cookie.set_domain("example.com").unwrap().set_path("/p").unwrap().set_priority("Low").unwrap();
        cookie.set_comment("not shown").unwrap();
        cookie.set_max_age(Some(60)).set_expires(Some(at(784_111_777)));
        cookie.set_same_site(Some(SameSite::Lax)).set_secure(true).set_http_only(true);
        assert_eq!(
            cookie.to_string(),
            "name=value; Domain=example.com; Path=/p; Priority=Low; Expires=Sun, 06 Nov 1994 08:49:37 GMT; \
             Max-Age=60; SameSite=Lax; Secure; HttpOnly"
        );
        let mut again = Cookie::parse(&cookie.to_string()).unwrap();
        again.set_comment("not shown").unwrap();
        assert_eq!(again, cookie);
    }

    #[test]
    fn an_rfc_2109_cookie_is_quoted_and_ends_with_its_version() {
        let mut cookie = Cookie::new("name", "value").unwrap();
        cookie.set_version(CookieVersion::Rfc2109).set_max_age(Some(60)).set_http_only(true);
        cookie.set_comment("a \"comment\"").unwrap().set_path("/").unwrap();
        assert_eq!(
            cookie.to_string(),
            "name=\"value\"; Comment=\"a \\\"comment\\\"\"; Path=\"/\"; Max-Age=\"60\"; HttpOnly; Version=\"1\""
        );
    }

    #[test]
    fn a_cookie_that_is_to_go_says_so_twice() {
        let mut cookie = Cookie::new("id", "").unwrap();
        cookie.set_max_age(Some(-7));
        assert_eq!(cookie.to_string(), "id=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0");
    }

    #[test]
    fn same_site_none_is_written_with_secure() {
        let mut cookie = Cookie::new("id", "1").unwrap();
        cookie.set_same_site(Some(SameSite::None));
        assert_eq!(cookie.to_string(), "id=1; SameSite=None; Secure");
    }

    #[test]
    fn what_could_add_attributes_is_refused() {
        for bad in ["b;c", "b c", "b,c", "b\"c", "b\\c", "b\r\nc", "\u{fc}", "\"", "\"b;c\""] {
            assert!(Cookie::new("a", bad).is_err(), "{bad:?}");
        }
        for bad in ["", "a=b", "a b", "a;b", "$\u{0}"] {
            assert!(Cookie::new(bad, "v").is_err(), "{bad:?}");
        }
        let mut cookie = Cookie::new("a", "\"quoted\"").unwrap();
        assert!(cookie.set_path("/;x").is_err() && cookie.set_domain("a\r\nb").is_err());
        assert_eq!(cookie.to_string(), "a=\"quoted\"");
    }

    #[test]
    fn escaping_makes_any_text_fit_and_comes_back() {
        for text in ["", "plain", "a b;c,d\"e\\f", "%41", "ü€", "\r\n\0", "@:=&+#?-_.~", "!*()$[]/|`'{}<>^"]
        {
            let escaped = Cookie::escape(text);
            assert!(Cookie::new("a", &escaped).is_ok(), "{escaped}");
            assert_eq!(Cookie::unescape(&escaped).unwrap(), text);
        }
        assert_eq!(Cookie::escape("@:=&+#?-_.~"), "@:=&+#?-_.~");
        assert_eq!(Cookie::unescape("a+b").unwrap(), "a+b");
        for bad in ["%", "%4", "%zz", "a%", "%+1", "%ff"] {
            assert!(Cookie::unescape(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_value() {
        let cookie = Cookie::new("id", "s3cr3t").unwrap();
        assert!(!format!("{cookie:?}").contains("s3cr3t"));
    }
}
