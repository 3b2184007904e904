//! Absolute URIs of the schemes `http`, `https`, `ws` and `wss` (RFC 3986; RFC 9110, section
//! 4.2; RFC 6455, section 3), and of `http+unix`, which names a Unix socket in place of a host.
//!
//! What exists as a `Uri` has a host that can be connected to and nothing that two readers
//! could read in two ways. Names are not resolved here.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use iri_string::format::ToDedicatedString;
use iri_string::types::{UriAbsoluteStr, UriReferenceStr, UriStr};

use super::field;
use crate::{Error, Result};

/// An absolute URI that names a host.
///
/// Scheme and host are in lower case, a port that is the scheme's own is left out, an empty
/// path is `/`, and the fragment is gone: it never leaves the client. `Display` and `Debug`
/// show `***` for a password; [`as_str`](Uri::as_str) has all.
///
/// ```
/// use sessile::message::Uri;
///
/// let uri: Uri = "HTTP://user:p%40ss@Example.com:8080/a/b?c=d#e".parse()?;
/// assert_eq!((uri.host(), uri.port()), ("example.com", 8080));
/// assert_eq!(uri.request_target(), "/a/b?c=d");
/// assert_eq!(uri.password().as_deref(), Some("p@ss"));
/// assert_eq!(uri.to_string(), "http://user:***@example.com:8080/a/b?c=d");
///
/// let next = uri.resolve("../x?y")?;
/// assert_eq!(next.as_str(), "http://example.com:8080/x?y");
///
/// let socket: Uri = "http+unix://%2Frun%2Fapp.sock/status".parse()?;
/// assert_eq!(socket.unix_path().as_deref(), Some("/run/app.sock"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "URI")]
pub struct Uri {
    text: String,
    scheme: Scheme,
    // Where the host begins: behind the "@", if there is one. Then host, port, path.
    host: usize,
    host_end: usize,
    path: usize,
    // Where the path ends: at the "?" or at the end.
    path_end: usize,
    port: u16,
}

/// The scheme of a [`Uri`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// A WebSocket over plain HTTP.
    Ws,
    /// A WebSocket over HTTP and TLS.
    Wss,
    /// Plain HTTP over a Unix socket, whose path stands percent-encoded where others have a host.
    HttpUnix,
}

/// What two URIs share that a browser lets see each other's data: scheme, host and port
/// (RFC 6454).
///
/// ```
/// use sessile::message::Uri;
///
/// let one: Uri = "https://example.com/a".parse()?;
/// let other: Uri = "https://user@EXAMPLE.com:443/b".parse()?;
/// assert_eq!(one.origin(), other.origin());
/// assert_eq!(one.origin().to_string(), "https://example.com");
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Uri {
    /// Reads an absolute URI. Fails if the grammar of RFC 3986 does not allow it, if its
    /// scheme is none of the five, or if its host or port can't be connected to.
    pub fn parse(text: &str) -> Result<Uri> {
        let uri = UriStr::new(text)
            .map_err(|error| bad("that is not an absolute URI").with_source(error.to_string()))?;
        let scheme = Scheme::parse(uri.scheme_str())?;
        let authority = uri.authority_components().ok_or_else(|| bad("the URI names no host"))?;
        let host = match scheme {
            Scheme::HttpUnix => checked_socket(authority.host())?,
            _ => checked_host(authority.host())?,
        };
        let port = match authority.port() {
            Some(_) if scheme == Scheme::HttpUnix => return Err(bad("a Unix socket has no port")),
            None | Some("") => scheme.default_port(),
            Some(digits) => field::parse_decimal(digits.as_bytes())
                .and_then(|port| u16::try_from(port).ok())
                .filter(|&port| port != 0)
                .ok_or_else(|| bad("the port of the URI is not in the range 1 to 65535"))?,
        };
        let userinfo = authority.userinfo().filter(|userinfo| !userinfo.is_empty());
        if userinfo.is_some_and(|userinfo| field::percent_decode(userinfo).is_none()) {
            return Err(bad("the user information of the URI is not UTF-8"));
        }
        Ok(Uri::assemble(scheme, userinfo, &host, port, uri.path_str(), uri.query_str()))
    }

    /// From parts that were checked.
    fn assemble(
        scheme: Scheme,
        userinfo: Option<&str>,
        host: &str,
        port: u16,
        path: &str,
        query: Option<&str>,
    ) -> Uri {
        let mut text = String::with_capacity(32 + host.len() + path.len() + query.map_or(0, str::len));
        text.push_str(scheme.as_str());
        text.push_str("://");
        if let Some(userinfo) = userinfo {
            text.push_str(userinfo);
            text.push('@');
        }
        let host_start = text.len();
        text.push_str(host);
        let host_end = text.len();
        if port != scheme.default_port() {
            text.push(':');
            text.push_str(&port.to_string());
        }
        let path_start = text.len();
        text.push_str(if path.is_empty() { "/" } else { path });
        let path_end = text.len();
        if let Some(query) = query {
            text.push('?');
            text.push_str(query);
        }
        Uri { text, scheme, host: host_start, host_end, path: path_start, path_end, port }
    }

    /// The whole URI, a password included.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme.
    #[doc(alias = "getScheme")]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether the scheme asks for TLS.
    pub fn is_secure(&self) -> bool {
        self.scheme.is_secure()
    }

    /// The host in lower case; an IPv6 address without brackets. The path of a Unix socket is
    /// percent-encoded: see [`unix_path`](Uri::unix_path).
    #[doc(alias = "getHost")]
    pub fn host(&self) -> &str {
        let host = &self.text[self.host..self.host_end];
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The path of the Unix socket to connect to, where the scheme is `http+unix`.
    pub fn unix_path(&self) -> Option<Cow<'_, str>> {
        if self.scheme == Scheme::HttpUnix { field::percent_decode(self.host()) } else { None }
    }

    /// The port: the one in the URI, else the scheme's.
    #[doc(alias = "getPort")]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as they stand in the `Host` field: an IPv6 address in brackets, and no
    /// port that is the scheme's own. Without user information. `localhost` for a Unix socket.
    #[doc(alias = "getAuthority")]
    pub fn authority(&self) -> &str {
        if self.scheme == Scheme::HttpUnix { "localhost" } else { &self.text[self.host..self.path] }
    }

    /// The path; never empty. It is not decoded.
    #[doc(alias = "getPath")]
    pub fn path(&self) -> &str {
        &self.text[self.path..self.path_end]
    }

    /// The query, without the question mark. It is not decoded.
    #[doc(alias = "getRawQuery")]
    pub fn query(&self) -> Option<&str> {
        self.text[self.path_end..].strip_prefix('?')
    }

    /// Path and query: the target of a request to the host itself.
    #[doc(alias = "getPathAndQuery")]
    pub fn request_target(&self) -> &str {
        &self.text[self.path..]
    }

    /// The target of a request to a proxy: everything but the user information.
    pub fn absolute_target(&self) -> String {
        format!("{}://{}", self.scheme, &self.text[self.host..])
    }

    /// The user's name, decoded. Empty if there is but a password.
    #[doc(alias = "getUserInfo")]
    pub fn username(&self) -> Option<Cow<'_, str>> {
        let userinfo = self.userinfo()?;
        field::percent_decode(userinfo.split_once(':').map_or(userinfo, |(name, _)| name))
    }

    /// The password, decoded.
    pub fn password(&self) -> Option<Cow<'_, str>> {
        field::percent_decode(self.userinfo()?.split_once(':')?.1)
    }

    /// The same URI without user information.
    pub fn without_userinfo(&self) -> Uri {
        let host = &self.text[self.host..self.host_end];
        Uri::assemble(self.scheme, None, host, self.port, self.path(), self.query())
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> Origin {
        Origin { scheme: self.scheme, host: self.host().to_owned(), port: self.port }
    }

    /// What a reference (a `Location`, a link) means here (RFC 3986, section 5). User
    /// information is not handed on: a reference that brings none has none. Fails as
    /// [`parse`](Uri::parse) does.
    pub fn resolve(&self, reference: &str) -> Result<Uri> {
        let reference = UriReferenceStr::new(reference)
            .map_err(|error| bad("that is not a reference to a URI").with_source(error.to_string()))?;
        let base = self.absolute_target();
        let base = UriAbsoluteStr::new(&base)
            .map_err(|error| bad("nothing can be resolved here").with_source(error.to_string()))?;
        let resolved = reference.resolve_against(base);
        resolved
            .ensure_rfc3986_normalizable()
            .map_err(|error| bad("the reference leads nowhere").with_source(error.to_string()))?;
        Uri::parse(resolved.to_dedicated_string().as_str())
    }

    fn userinfo(&self) -> Option<&str> {
        let start = self.scheme.as_str().len() + "://".len();
        self.text[start..self.host].strip_suffix('@')
    }
}

impl Scheme {
    /// The scheme as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
            Scheme::HttpUnix => "http+unix",
        }
    }

    /// Whether the scheme asks for TLS.
    pub const fn is_secure(self) -> bool {
        matches!(self, Scheme::Https | Scheme::Wss)
    }

    /// The port where none is given.
    #[doc(alias = "HTTP_PORT")]
    #[doc(alias = "HTTPS_PORT")]
    #[doc(alias = "getWellKnownPort")]
    pub const fn default_port(self) -> u16 {
        if self.is_secure() { 443 } else { 80 }
    }

    fn parse(text: &str) -> Result<Scheme> {
        [Scheme::Http, Scheme::Https, Scheme::Ws, Scheme::Wss, Scheme::HttpUnix]
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| bad("the scheme of the URI is none of http, https, http+unix, ws and wss"))
    }
}

impl Origin {
    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host in lower case; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// The host in lower case, if it is an IPv6 address in brackets, an IPv4 address in its one
/// strict form, or a name as the DNS has them.
fn checked_host(host: &str) -> Result<String> {
    // The grammar has checked addresses in brackets; those of the future start with a "v".
    let is_v6 = host.starts_with('[') && !host.starts_with("[v") && !host.starts_with("[V");
    if is_v6 || is_ipv4(host) || is_name(host) {
        return Ok(host.to_ascii_lowercase());
    }
    Err(bad("the host of the URI is neither a name in ASCII nor an address"))
}

/// The path of a socket, encoded in one way: two spellings are one origin.
fn checked_socket(host: &str) -> Result<String> {
    let path = field::percent_decode(host)
        .filter(|path| path.starts_with('/') && !path.contains('\0'))
        .ok_or_else(|| bad("http+unix needs the percent-encoded path of a socket, from the root on"))?;
    Ok(percent_encoding::utf8_percent_encode(&path, SOCKET).to_string())
}

fn is_ipv4(host: &str) -> bool {
    let is_octet = |part: &str| {
        part.len() <= 3
            && (part == "0" || !part.starts_with('0'))
            && field::parse_decimal(part.as_bytes()).is_some_and(|number| number < 256)
    };
    host.split('.').count() == 4 && host.split('.').all(is_octet)
}

fn is_name(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        matches!(label.len(), 1..=63)
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    // `127.1`, `0x7f.1` and `2130706433` are addresses to the resolvers of C libraries, and
    // names to others.
    let ends_in_a_number = name.rsplit('.').next().is_some_and(|label| {
        let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
        label.bytes().all(|b| b.is_ascii_digit())
            || hex.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    });
    name.len() <= 253 && name.split('.').all(is_label) && !ends_in_a_number
}

fn bad(message: &'static str) -> Error {
    Error::invalid_argument(message)
}

/// What is encoded of a socket's path: all but the unreserved characters.
const SOCKET: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl FromStr for Uri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Uri> {
        Uri::parse(text)
    }
}

impl TryFrom<&str> for Uri {
    type Error = Error;

    fn try_from(text: &str) -> Result<Uri> {
        Uri::parse(text)
    }
}

impl TryFrom<String> for Uri {
    type Error = Error;

    fn try_from(text: String) -> Result<Uri> {
        Uri::parse(&text)
    }
}

impl TryFrom<&String> for Uri {
    type Error = Error;

    fn try_from(text: &String) -> Result<Uri> {
        Uri::parse(text)
    }
}

impl From<&Uri> for Uri {
    fn from(uri: &Uri) -> Uri {
        uri.clone()
    }
}

impl PartialEq for Uri {
    fn eq(&self, other: &Uri) -> bool {
        self.text == other.text
    }
}

impl Eq for Uri {}

impl Hash for Uri {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if let Some(userinfo) = self.userinfo() {
            match userinfo.split_once(':') {
                Some((name, _)) => write!(f, "{name}:***@")?,
                None => write!(f, "{userinfo}@")?,
            }
        }
        f.write_str(&self.text[self.host..])
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({self})")
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Origin {
    /// As in an `Origin` field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        Uri::parse(text).unwrap()
    }

    #[test]
    fn a_uri_is_normal_when_it_exists() {
        for (text, normal) in [
            ("http://h", "http://h/"),
            ("http://h?q", "http://h/?q"),
            ("http://h#f", "http://h/"),
            ("http://h/#", "http://h/"),
            ("HTTPS://Example.COM:443/A?B#C", "https://example.com/A?B"),
            ("http://h:/", "http://h/"),
            ("http://h:080/", "http://h/"),
            ("https://h:80/", "https://h:80/"),
            ("http://h./", "http://h./"),
            ("ws://h:80/s", "ws://h/s"),
            ("wss://h:444/s?", "wss://h:444/s?"),
            ("http://[::1]:8080", "http://[::1]:8080/"),
            ("http://[2001:DB8::1]", "http://[2001:db8::1]/"),
            ("http://127.0.0.1:1/", "http://127.0.0.1:1/"),
            ("http://@h/", "http://h/"),
            ("http://under_score.x-y.z0/", "http://under_score.x-y.z0/"),
            ("http://h//a/./b/../c", "http://h//a/./b/../c"),
        ] {
            assert_eq!(uri(text).as_str(), normal, "{text}");
            assert_eq!(uri(normal).as_str(), normal, "{text}");
        }
    }

    #[test]
    fn parts_are_found() {
        let uri = uri("https://a%3Ab:c%2Fd:e@[::1]:8443/p/q%20r?s=t?u/v#w");
        assert_eq!((uri.scheme(), uri.host(), uri.port()), (Scheme::Https, "::1", 8443));
        assert_eq!((uri.username().as_deref(), uri.password().as_deref()), (Some("a:b"), Some("c/d:e")));
        assert_eq!((uri.path(), uri.query()), ("/p/q%20r", Some("s=t?u/v")));
        assert_eq!((uri.authority(), uri.request_target()), ("[::1]:8443", "/p/q%20r?s=t?u/v"));
        assert_eq!(uri.absolute_target(), "https://[::1]:8443/p/q%20r?s=t?u/v");
        assert_eq!(uri.without_userinfo().as_str(), uri.absolute_target());
        assert!(uri.is_secure());
    }

    #[test]
    fn user_information_may_be_a_name_alone() {
        assert_eq!(uri("http://me@h/").username().as_deref(), Some("me"));
        assert_eq!(uri("http://me@h/").password(), None);
        assert_eq!(uri("http://me:@h/").password().as_deref(), Some(""));
        assert_eq!(uri("http://:pw@h/").username().as_deref(), Some(""));
        assert_eq!(uri("http://h/").username(), None);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for bad in [
            "",
            "h",
            "/path",
            "//h/path",
            "http:",
            "http:/h",
            "http:///path",
            "http://",
            "http://?q",
            "http://:80/",
            "http://user@/",
            "http://user@:80/",
            "http://a@b@c/",
            "http://h\\@evil/",
            "http://h\\evil/",
            "http://h /",
            " http://h/",
            "http://h/ ",
            "http://h/a b",
            "http://h/\r\nX: y",
            "http://h/\0",
            "http://h\t/",
            "http://h/ü",
            "http://ü/",
            "http://h%2ecom/",
            "http://%68/",
            "http://h%00/",
            "http://h$/",
            "http://h,i/",
            "http://a..b/",
            "http://.a/",
            "http://./",
            "http://h:port/",
            "http://h:-1/",
            "http://h:+80/",
            "http://h:0/",
            "http://h:65536/",
            "http://h:99999999999999999999/",
            "http://h:80:80/",
            "http://user:pa/ss@h/",
            "http://user:pa#ss@h/",
            "http://%ff@h/",
            "http://%zz@h/",
            "http://::1/",
            "http://[::1/",
            "http://[::1]x/",
            "http://[::g]/",
            "http://[1::2::3]/",
            "http://[::1%25eth0]/",
            "http://[v1.a]/",
            "http://[127.0.0.1]/",
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://1.2.3.4.5/",
            "http://256.0.0.1/",
            "http://a.0x1/",
            "http://1.2.3.4./",
            "ftp://h/",
            "mailto:a@h",
            "http://h/%zz",
            "http://h/[",
            "http://h/\"",
        ] {
            assert!(Uri::parse(bad).is_err(), "{bad:?}");
        }
        let long = "a".repeat(64);
        assert!(Uri::parse(&format!("http://{long}/")).is_err());
        assert!(Uri::parse(&format!("http://{}/", "a.".repeat(126) + "ab")).is_err());
        assert!(Uri::parse(&format!("http://{}/", "a.".repeat(126) + "a")).is_ok());
    }

    #[test]
    fn references_are_resolved_as_the_rfc_says() {
        // RFC 3986, section 5.4, in a scheme of ours.
        let base = uri("http://a/b/c/d;p?q");
        for (reference, target) in [
            ("http://g:h@x", "http://g:h@x/"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://x/..", "https://x/"),
        ] {
            assert_eq!(base.resolve(reference).unwrap().as_str(), target, "{reference}");
        }
    }

    #[test]
    fn a_reference_can_t_leave_what_is_allowed() {
        let base = uri("http://user:pw@h:81/a/b");
        for bad in [
            "ftp://x/",
            "mailto:x",
            "javascript:alert(1)",
            "http:g",
            "//",
            "//x:0/",
            "a b",
            "a\r\nb",
            "\\x",
            "///x",
        ] {
            assert!(base.resolve(bad).is_err(), "{bad}");
        }
        assert_eq!(base.resolve("c").unwrap().as_str(), "http://h:81/a/c");
        assert_eq!(base.resolve("//x").unwrap().as_str(), "http://x/");
    }

    #[test]
    fn a_password_is_never_shown() {
        let uri = uri("http://me:s3cr3t@h/p");
        assert_eq!(uri.to_string(), "http://me:***@h/p");
        assert_eq!(format!("{uri:?}"), "Uri(http://me:***@h/p)");
        assert!(!format!("{:?}", Uri::parse("http://me:s3cr3t@h:0/")).contains("s3cr3t"));
        assert!(!format!("{:?}", Uri::parse("http://me:s3cr3t@h /")).contains("s3cr3t"));
    }

    #[test]
    fn a_unix_socket_stands_for_a_host_in_one_spelling_and_keeps_its_case() {
        let socket = uri("HTTP+unix://%2fRun%2F%61pp.sock/status?x");
        assert_eq!(socket.as_str(), "http+unix://%2FRun%2Fapp.sock/status?x");
        assert_eq!(socket.unix_path().as_deref(), Some("/Run/app.sock"));
        assert_eq!((socket.authority(), socket.request_target()), ("localhost", "/status?x"));
        assert_eq!(socket.resolve("../y").unwrap().as_str(), "http+unix://%2FRun%2Fapp.sock/y");
        assert_ne!(socket.origin(), uri("http+unix://%2Frun%2Fapp.sock/").origin());
        assert_eq!(uri("http://run/").unix_path(), None);
        for bad in ["http+unix://run/", "http+unix://%2Frun:80/", "http+unix:///run", "http+unix://%2F%00/"] {
            assert!(Uri::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(uri("http://A:80/x").origin(), uri("http://u:p@a/y").origin());
        assert_ne!(uri("http://a/").origin(), uri("https://a/").origin());
        assert_ne!(uri("http://a/").origin(), uri("http://a:81/").origin());
        assert_eq!(uri("http://[::1]:81/").origin().to_string(), "http://[::1]:81");
    }
}
