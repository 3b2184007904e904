//! Where a response sends a request, and as what it arrives there (RFC 9110, 15.4).
//!
//! Decisions only, over values; making the requests is `call.rs`.

use crate::message::{Method, Request, Response, Scheme, StatusCode, Uri};
use crate::{Error, ErrorKind, Result};

/// Which redirects are followed.
///
/// 301, 302, 303, 307 and 308 are, where they name a `Location`; others (300, 304, 305) are
/// responses like any. A `POST` becomes a `GET` at 301 and 302, all but `HEAD` at 303; 307 and
/// 308 change nothing. `Authorization`, `Cookie`, `Host`, all of `Proxy-*` and what
/// [`withholding`](RedirectPolicy::withholding) names are left out from the first redirect to
/// another origin on. From `https` to `http` nothing is followed unless that is
/// [allowed](RedirectPolicy::allow_downgrade), and to a Unix socket only from a Unix socket.
///
/// What is not followed for such a reason is an error of the kind
/// [`Redirect`](ErrorKind::Redirect), as are too many redirects and loops.
///
/// ```
/// use sessile::client::{RedirectPolicy, UserAgent};
///
/// let careful = RedirectPolicy::limited(3).withholding("X-Api-Key");
/// let agent = UserAgent::builder().redirects(careful).build()?;
/// let deaf = UserAgent::builder().redirects(RedirectPolicy::none()).build()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(alias = "MAX_REDIRECTS")]
pub struct RedirectPolicy {
    most: usize,
    downgrade: bool,
    withheld: Vec<String>,
}

impl Default for RedirectPolicy {
    /// Ten at most, as Poco and Go; never from `https` to `http`.
    fn default() -> RedirectPolicy {
        RedirectPolicy::limited(10)
    }
}

impl RedirectPolicy {
    /// Follows none: the caller gets the response.
    pub fn none() -> RedirectPolicy {
        RedirectPolicy::limited(0)
    }

    /// Follows so many; one more is an error. 0 is none.
    pub fn limited(most: usize) -> RedirectPolicy {
        RedirectPolicy { most, downgrade: false, withheld: Vec::new() }
    }

    /// Follows from `https` to `http` too: whoever is on the way can then read the request.
    #[must_use]
    pub fn allow_downgrade(mut self, allow: bool) -> RedirectPolicy {
        self.downgrade = allow;
        self
    }

    /// Leaves this field out as well, where a redirect leads to another origin: one that carries
    /// a key of the user's, say.
    #[must_use]
    pub fn withholding(mut self, name: impl Into<String>) -> RedirectPolicy {
        self.withheld.push(name.into());
        self
    }

    /// Where this response sends the request that came from `from`, if it does and this is
    /// followed. `followed` is how many were before.
    pub(super) fn target(&self, from: &Uri, response: &Response, followed: usize) -> Result<Option<Uri>> {
        if self.most == 0 || !is_redirect(response.status()) {
            return Ok(None);
        }
        let mut locations = response.headers().get_all("Location");
        let Some(location) = locations.next() else { return Ok(None) };
        if locations.any(|other| other != location) {
            return Err(Error::malformed("the redirect names more than one Location"));
        }
        if followed >= self.most {
            return Err(refused(format!("more than {} redirects", self.most)));
        }
        let to = resolve(from, location)?.without_userinfo();
        if !matches!(to.scheme(), Scheme::Http | Scheme::Https | Scheme::HttpUnix) {
            return Err(refused(format!("a redirect to {to} is not followed: no request goes there")));
        }
        if to.scheme() == Scheme::HttpUnix && from.scheme() != Scheme::HttpUnix {
            return Err(refused("a redirect to a Unix socket of this machine is not followed".to_owned()));
        }
        if from.is_secure() && !to.is_secure() && !self.downgrade {
            return Err(refused(format!(
                "a redirect from https to {to} is not followed: allow it, or ask there"
            )));
        }
        Ok(Some(to))
    }

    /// Makes the request fit for where it is redirected to. Says whether its content goes along.
    pub(super) fn rewrite(&self, request: &mut Request, status: StatusCode, from: &Uri, to: &Uri) -> bool {
        if from.origin() != to.origin() {
            self.withhold(request);
        }
        let keeps = keeps_method(status, request.method());
        if !keeps {
            request.set_method(Method::GET);
            for name in OF_CONTENT {
                request.headers_mut().remove(name);
            }
            request.set_chunked(false);
        }
        keeps
    }

    /// Removes what another origin may not see.
    fn withhold(&self, request: &mut Request) {
        let headers = request.headers_mut();
        for name in SECRET.iter().copied().chain(self.withheld.iter().map(String::as_str)) {
            headers.remove(name);
        }
        while let Some(at) = headers
            .iter()
            .position(|(name, _)| name.get(..6).is_some_and(|begin| begin.eq_ignore_ascii_case("proxy-")))
        {
            headers.remove_at(at);
        }
    }
}

/// The fields that are for one origin.
const SECRET: [&str; 5] = ["Authorization", "Cookie", "Cookie2", "Host", "WWW-Authenticate"];

/// The fields that speak of content, which a `GET` has none of (RFC 9110, 15.4).
const OF_CONTENT: [&str; 9] = [
    "Content-Type",
    "Content-Length",
    "Content-Encoding",
    "Content-Language",
    "Content-Location",
    "Content-MD5",
    "Digest",
    "Last-Modified",
    "Expect",
];

/// Use Proxy (305) is none: whoever answers could have all traffic go through it.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn keeps_method(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        303 => [Method::GET, Method::HEAD].contains(method),
        301 | 302 => *method != Method::POST,
        _ => true,
    }
}

/// Resolves a `Location`. Bytes that may not stand in a URI are percent-encoded, as browsers do
/// and servers expect: blanks and UTF-8 are common. Not so a backslash: to browsers it is a slash,
/// so that nobody can tell which host is meant.
fn resolve(from: &Uri, location: &[u8]) -> Result<Uri> {
    let bad = |error: Error| {
        Error::new(ErrorKind::Redirect, "the redirect's Location can't be followed").with_source(error)
    };
    from.resolve(&encoded(location, b"[]")).or_else(|_| from.resolve(&encoded(location, b""))).map_err(bad)
}

/// Encodes all but what may stand in a URI, and the bytes of `more` neither.
fn encoded(location: &[u8], more: &[u8]) -> String {
    let mut text = String::with_capacity(location.len());
    for (at, &byte) in location.iter().enumerate() {
        let is_escape =
            || location.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let stands = match byte {
            b'%' => is_escape(),
            b'\\' => true,
            _ => {
                byte.is_ascii_alphanumeric()
                    || b"-._~:/?#@!$&'()*+,;=".contains(&byte)
                    || more.contains(&byte)
            }
        };
        if stands {
            text.push(char::from(byte));
        } else {
            text.push_str(percent_encoding::percent_encode_byte(byte));
        }
    }
    text
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::Redirect, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    fn answer(status: u16, location: Option<&str>) -> Response {
        let mut response = Response::with_status(StatusCode::new(status).unwrap());
        if let Some(location) = location {
            response.headers_mut().append("Location", location).unwrap();
        }
        response
    }

    fn followed(policy: &RedirectPolicy, from: &str, location: &str) -> Result<String> {
        let target = policy.target(&uri(from), &answer(302, Some(location)), 0)?;
        Ok(target.unwrap().as_str().to_owned())
    }

    #[test]
    fn five_statuses_redirect_where_they_say_where_to() {
        let policy = RedirectPolicy::default();
        for status in [300, 301, 302, 303, 304, 305, 306, 307, 308, 200, 201, 404] {
            let target = policy.target(&uri("http://h/"), &answer(status, Some("/x")), 0).unwrap();
            assert_eq!(target.is_some(), [301, 302, 303, 307, 308].contains(&status), "{status}");
        }
        assert_eq!(policy.target(&uri("http://h/"), &answer(302, None), 0).unwrap(), None);
        assert_eq!(
            RedirectPolicy::none().target(&uri("http://h/"), &answer(302, Some("/")), 0).unwrap(),
            None
        );
    }

    #[test]
    fn a_location_is_resolved_against_where_the_request_went() {
        let policy = RedirectPolicy::default();
        for (location, target) in [
            ("x", "http://h:81/a/x"),
            ("../x?y#z", "http://h:81/x?y"),
            ("?q", "http://h:81/a/b?q"),
            ("//other/", "http://other/"),
            ("https://h:81/", "https://h:81/"),
            ("", "http://h:81/a/b"),
            ("/with blank", "http://h:81/with%20blank"),
            ("/ü", "http://h:81/%C3%BC"),
            ("/100%", "http://h:81/100%25"),
            ("/a%2Fb", "http://h:81/a%2Fb"),
            ("/a[1]|{2}", "http://h:81/a%5B1%5D%7C%7B2%7D"),
            ("http://[::1]/x", "http://[::1]/x"),
            ("http://user:secret@other/", "http://other/"),
        ] {
            assert_eq!(followed(&policy, "http://h:81/a/b", location).unwrap(), target, "{location}");
        }
    }

    #[test]
    fn what_leads_out_of_http_or_into_this_machine_is_refused() {
        let policy = RedirectPolicy::default();
        for location in [
            "ftp://h/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:,x",
            "ws://h/",
            "http+unix://%2Frun%2Fdocker.sock/",
            "http://h\\@evil/",
            "http://",
            "http://h:99999/",
        ] {
            let error = followed(&policy, "http://h/", location).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Redirect, "{location}");
        }
        assert!(followed(&policy, "http+unix://%2Fa/x", "/y").is_ok());
        assert!(followed(&policy, "http+unix://%2Fa/x", "http://h/").is_ok());
    }

    #[test]
    fn https_is_left_for_http_only_where_that_is_allowed() {
        let policy = RedirectPolicy::default();
        assert!(followed(&policy, "http://h/", "https://h/").is_ok());
        assert!(followed(&policy, "https://h/", "https://other/").is_ok());
        assert_eq!(followed(&policy, "https://h/", "http://h/").unwrap_err().kind(), ErrorKind::Redirect);
        assert!(followed(&policy.allow_downgrade(true), "https://h/", "http://h/").is_ok());
    }

    #[test]
    fn there_may_be_so_many_and_one_location_each() {
        let policy = RedirectPolicy::limited(2);
        assert!(policy.target(&uri("http://h/"), &answer(302, Some("/")), 1).unwrap().is_some());
        let error = policy.target(&uri("http://h/"), &answer(302, Some("/")), 2).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Redirect, "more than 2 redirects")
        );
        let mut twice = answer(302, Some("/a"));
        twice.headers_mut().append("location", "/a").unwrap();
        assert!(policy.target(&uri("http://h/"), &twice, 0).unwrap().is_some());
        twice.headers_mut().append("location", "/b").unwrap();
        assert!(policy.target(&uri("http://h/"), &twice, 0).is_err());
    }

    #[test]
    fn methods_and_content_follow_the_rules() {
        for (status, method, kept) in [
            (301, Method::GET, true),
            (301, Method::HEAD, true),
            (301, Method::POST, false),
            (301, Method::PUT, true),
            (302, Method::POST, false),
            (302, Method::DELETE, true),
            (303, Method::POST, false),
            (303, Method::PUT, false),
            (303, Method::HEAD, true),
            (307, Method::POST, true),
            (308, Method::POST, true),
            (308, Method::PATCH, true),
        ] {
            let mut request = Request::new(method.clone(), "/");
            request.set_content_type("a/b").set_chunked(true).set_expect_continue(true);
            request.headers_mut().set("X-Kept", "1").unwrap();
            let (from, to) = (uri("http://h/"), uri("http://h/x"));
            let keeps =
                RedirectPolicy::default().rewrite(&mut request, StatusCode::new(status).unwrap(), &from, &to);
            assert_eq!(keeps, kept, "{status} {method}");
            let names: Vec<_> = request.headers().iter().map(|(name, _)| name.to_owned()).collect();
            if kept {
                assert_eq!((request.method(), names.len()), (&method, 4), "{status} {method}");
            } else {
                assert_eq!((request.method(), names), (&Method::GET, vec!["X-Kept".to_owned()]));
            }
        }
    }

    #[test]
    fn what_is_for_one_origin_is_not_for_another() {
        let policy = RedirectPolicy::default().withholding("X-Api-Key");
        for (to, same) in [
            ("http://h/x", true),
            ("http://h:81/", false),
            ("https://h/", false),
            ("http://www.h/", false),
            ("http://other/", false),
        ] {
            let mut request = Request::get("/");
            for name in [
                "Authorization",
                "Cookie",
                "Host",
                "Proxy-Authorization",
                "proxy-anything",
                "X-Api-Key",
                "Accept",
            ] {
                request.headers_mut().append(name, "v").unwrap();
            }
            policy.rewrite(&mut request, StatusCode::FOUND, &uri("http://h/"), &uri(to));
            let left = request.headers().len();
            assert_eq!(left, if same { 7 } else { 1 }, "{to}");
            assert!(request.headers().has("Accept"));
        }
    }
}
