//! Digest credentials as a server reads them (RFC 7616, section 3.4).
//!
//! Read strictly, once, into a value that can be checked against a password. Where nonces
//! come from is not known here.

use std::fmt;

use zeroize::Zeroizing;

use super::algorithm::{ContentHash, DigestAlgorithm};
use super::compute::{self, Exchange, Qop};
use super::{SCHEME, has_content};
use crate::auth::Side;
use crate::auth::challenge;
use crate::auth::params::AuthenticationParams;
use crate::auth::secret::{Secret, constant_time_eq};
use crate::message::{Request, StatusCode, field};
use crate::{Error, Result};

/// The Digest credentials of a request: a claim, until it is
/// [verified](super::DigestVerifier::verify).
///
/// ```
/// use sessile::auth::DigestAuthorization;
/// use sessile::message::Request;
///
/// let mut request = Request::get("/");
/// request.headers_mut().set(
///     "Authorization",
///     r#"Digest username="Mufasa", realm="a", uri="/", nonce="xyz", nc=00000001,
///        cnonce="abc", qop=auth, response="0123456789abcdef0123456789abcdef""#.replace('\n', " "),
/// )?;
/// let claim = DigestAuthorization::from_request(&request)?;
/// assert_eq!(claim.username(), Some("Mufasa"));
/// assert!(claim.is_user("Mufasa"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone)]
pub struct DigestAuthorization {
    user: User,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    uri: Vec<u8>,
    response: Vec<u8>,
    algorithm: DigestAlgorithm,
    protection: Option<Qop>,
    cnonce: Vec<u8>,
    nc: Vec<u8>,
    count: u32,
}

#[derive(Clone)]
enum User {
    Name(Secret),
    Hash(String),
}

impl DigestAuthorization {
    /// The Digest credentials in the request's `Authorization`.
    ///
    /// Fails with [`NotAuthenticated`](crate::ErrorKind::NotAuthenticated) where there are
    /// none, with [`Malformed`](crate::ErrorKind::Malformed) where something is missing or
    /// not as it must be, and with [`Unsupported`](crate::ErrorKind::Unsupported) for an
    /// algorithm that is not known; all with the status to answer with.
    pub fn from_request(request: &Request) -> Result<DigestAuthorization> {
        DigestAuthorization::received(request, Side::Origin)
    }

    /// The same of `Proxy-Authorization`.
    pub fn from_proxy_request(request: &Request) -> Result<DigestAuthorization> {
        DigestAuthorization::received(request, Side::Proxy)
    }

    /// The name of the user, unless it is hidden in a hash.
    pub fn username(&self) -> Option<&str> {
        match &self.user {
            User::Name(name) => Some(name.as_str()),
            User::Hash(_) => None,
        }
    }

    /// The hash of user name and realm, where the client hides the name.
    pub fn userhash(&self) -> Option<&str> {
        match &self.user {
            User::Name(_) => None,
            User::Hash(hash) => Some(hash),
        }
    }

    /// Whether this is the user of that name, hidden or not.
    pub fn is_user(&self, username: &str) -> bool {
        match &self.user {
            User::Name(name) => name.as_str() == username,
            User::Hash(hash) => {
                compute::userhash(self.algorithm, username, &self.realm).as_bytes() == hash.as_bytes()
            }
        }
    }

    /// The realm, where it is UTF-8.
    pub fn realm(&self) -> Option<&str> {
        std::str::from_utf8(&self.realm).ok()
    }

    /// The algorithm; MD5 where the client names none.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// With which algorithm the content of the request must be hashed before the credentials
    /// can be verified (`auth-int`).
    pub fn content_hash_needed(&self) -> Option<DigestAlgorithm> {
        (self.protection == Some(Qop::AuthInt)).then_some(self.algorithm)
    }

    pub(super) fn received(request: &Request, side: Side) -> Result<DigestAuthorization> {
        let credentials = challenge::credentials(request, side, SCHEME)?;
        DigestAuthorization::from_params(credentials.params())
            .map_err(|error| error.with_status(StatusCode::BAD_REQUEST))
    }

    pub(super) fn from_params(params: &AuthenticationParams) -> Result<DigestAuthorization> {
        let malformed = |why| Err(Error::malformed(why));
        let needed = |name: &str| match params.get_bytes(name) {
            Some(value) => Ok(value.to_owned()),
            None => Err(Error::malformed("Digest credentials without a parameter that they need")),
        };
        let algorithm = match params.get_bytes("algorithm") {
            Some(name) => String::from_utf8_lossy(name).parse()?,
            None => DigestAlgorithm::Md5,
        };
        let protection = match params.get_bytes("qop") {
            Some(name) => {
                Some(Qop::parse(name).ok_or_else(|| Error::unsupported("an unknown quality of protection"))?)
            }
            None => None,
        };
        let response = needed("response")?;
        if response.len() != algorithm.hash_len() || !response.iter().all(u8::is_ascii_hexdigit) {
            return malformed("a Digest response that is not a hash");
        }
        // Without qop, cnonce serves a session only, and nothing is counted.
        let (cnonce, nc) = match protection {
            Some(_) => (needed("cnonce")?, needed("nc")?),
            None if algorithm.is_session() => (needed("cnonce")?, Vec::new()),
            None => (Vec::new(), Vec::new()),
        };
        let count = match field::parse_hex(&nc) {
            Some(count @ 1..) if nc.len() == 8 => u32::try_from(count).unwrap_or(u32::MAX),
            _ if protection.is_none() => 0,
            _ => return malformed("a nonce count that is not of eight hexadecimal digits"),
        };
        Ok(DigestAuthorization {
            user: User::read(params, algorithm)?,
            realm: needed("realm")?,
            nonce: needed("nonce")?,
            uri: needed("uri")?,
            response,
            algorithm,
            protection,
            cnonce,
            nc,
            count,
        })
    }

    pub(super) fn realm_bytes(&self) -> &[u8] {
        &self.realm
    }

    pub(super) fn nonce(&self) -> &[u8] {
        &self.nonce
    }

    /// How often the client has used the nonce, or 0 where it does not count.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn protection(&self) -> Option<Qop> {
        self.protection
    }

    /// What was hashed along with the password.
    pub(super) fn exchange<'a>(&'a self, method: &'a str, content: Option<&'a ContentHash>) -> Exchange<'a> {
        Exchange {
            algorithm: self.algorithm,
            nonce: &self.nonce,
            cnonce: &self.cnonce,
            nc: &self.nc,
            qop: self.protection,
            method,
            uri: &self.uri,
            content,
        }
    }

    /// Whether the response is right for this user's key, in a time that tells nothing. For
    /// `auth-int`, no hash means no content.
    pub(super) fn is_proven(
        &self,
        user_key: Zeroizing<String>,
        method: &str,
        content: Option<&ContentHash>,
    ) -> bool {
        let key = compute::a1(self.algorithm, user_key, &self.nonce, &self.cnonce);
        let expected = self.exchange(method, content).response(&key);
        constant_time_eq(expected.as_bytes(), &self.response)
    }

    /// Whether these credentials are for the request's target: the same text, or the same
    /// resource once in absolute-form and once in origin-form, as behind a proxy.
    pub(super) fn is_for(&self, request: &Request) -> bool {
        let target = request.target().as_bytes();
        if self.uri == target {
            return true;
        }
        let host = request.headers().get_bytes("Host");
        let same = |absolute, origin: &[u8]| match split_absolute(absolute) {
            Some((authority, path)) => {
                path == origin && host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
            }
            None => false,
        };
        same(&self.uri, target) || same(target, &self.uri)
    }

    /// Whether the hash of the content must be known, and is not.
    pub(super) fn lacks_content(&self, request: &Request, content: Option<&ContentHash>) -> bool {
        let known = content.is_some_and(|content| content.fits(self.algorithm));
        self.protection == Some(Qop::AuthInt) && !known && (content.is_some() || has_content(request))
    }
}

impl fmt::Debug for DigestAuthorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestAuthorization")
            .field("realm", &String::from_utf8_lossy(&self.realm))
            .field("algorithm", &self.algorithm)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl User {
    /// The name in one of its three forms (RFC 7616, 3.4).
    fn read(params: &AuthenticationParams, algorithm: DigestAlgorithm) -> Result<User> {
        let hashed = params.get("userhash").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        match (params.get("username"), params.get_bytes("username*")) {
            (Some(hash), None) if hashed => {
                if hash.len() != algorithm.hash_len() || !hash.bytes().all(|digit| digit.is_ascii_hexdigit())
                {
                    return Err(Error::malformed("a user's hash that is not a hash"));
                }
                Ok(User::Hash(hash.to_ascii_lowercase()))
            }
            (Some(name), None) => Ok(User::Name(Secret::new(name))),
            (None, Some(extended)) if !hashed && !params.has("username") => decode_extended(extended)
                .map(User::Name)
                .ok_or_else(|| Error::malformed("a user name that is not an extended value in UTF-8")),
            _ => Err(Error::malformed("Digest credentials without one user name in UTF-8")),
        }
    }
}

/// An ext-value (RFC 8187, 3.2.1) in UTF-8: charset, language, and text in percent-encoding.
fn decode_extended(value: &[u8]) -> Option<Secret> {
    let mut parts = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case(b"UTF-8") {
        return None;
    }
    field::percent_decode(std::str::from_utf8(text).ok()?).map(Secret::new)
}

/// Authority and origin-form of a target in absolute-form.
fn split_absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let scheme_end = target.windows(3).position(|window| window == b"://")?;
    let (scheme, rest) = (&target[..scheme_end], &target[scheme_end + 3..]);
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return None;
    }
    let path = rest.iter().position(|byte| matches!(byte, b'/' | b'?'))?;
    Some(rest.split_at(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    const CLAIM: &str = "username=\"u\", realm=\"r\", nonce=\"n\", uri=\"/\", qop=auth, nc=0000000a, cnonce=\"c\", \
        response=\"0123456789abcdef0123456789abcdef\"";

    fn read(claim: &str) -> Result<DigestAuthorization> {
        let mut request = Request::get("/");
        request.headers_mut().set("Authorization", format!("Digest {claim}")).unwrap();
        DigestAuthorization::from_request(&request)
    }

    #[test]
    fn a_claim_is_read() {
        let claim = read(CLAIM).unwrap();
        assert_eq!((claim.username(), claim.userhash(), claim.realm()), (Some("u"), None, Some("r")));
        assert_eq!((claim.algorithm(), claim.count()), (DigestAlgorithm::Md5, 10));
        assert!(claim.is_user("u") && !claim.is_user("v"));
        assert_eq!(claim.content_hash_needed(), None);
        // Some clients quote what should not be, and write capitals.
        let quoted = CLAIM.replace("qop=auth", "qop=\"auth-int\", algorithm=\"md5\"").replace("0a", "0A");
        let claim = read(&quoted).unwrap();
        assert_eq!((claim.content_hash_needed(), claim.count()), (Some(DigestAlgorithm::Md5), 10));
    }

    #[test]
    fn a_claim_without_qop_counts_nothing() {
        let claim = read(&CLAIM.replace("qop=auth, nc=0000000a,", "")).unwrap();
        assert_eq!((claim.count(), claim.protection()), (0, None));
    }

    #[test]
    fn a_claim_with_something_missing_is_malformed() {
        for part in CLAIM.split(", ").filter(|part| !part.starts_with("qop")) {
            let error = read(&CLAIM.replace(part, "")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{part}");
            assert_eq!(error.status_hint(), Some(StatusCode::BAD_REQUEST), "{part}");
        }
        let session = CLAIM.replace("qop=auth, nc=0000000a, cnonce=\"c\"", "algorithm=MD5-sess");
        assert_eq!(read(&session).unwrap_err().kind(), ErrorKind::Malformed);
    }

    #[test]
    fn a_claim_with_something_wrong_is_malformed() {
        for (part, wrong) in [
            ("0000000a", "a"),
            ("0000000a", "00000000a"),
            ("0000000a", "0000000g"),
            ("0000000a", "00000000"),
            ("0000000a", "\"+000000a\""),
            ("0123456789abcdef\"", "\""),
            ("0123456789abcdef\"", "0123456789abcdeg\""),
            ("qop=auth", "qop=auth, algorithm=SHA-256"),
            ("username=\"u\"", "username=\"u\", userhash=true"),
            ("username=\"u\"", "username=\"u\", username*=UTF-8''u"),
            ("username=\"u\"", "username*=UTF-8''u, userhash=true"),
            ("username=\"u\"", "username*=UTF-8'u"),
            ("username=\"u\"", "username*=ISO-8859-1''u"),
            ("username=\"u\"", "username*=UTF-8''%f"),
            ("username=\"u\"", "username*=UTF-8''%+f"),
            ("username=\"u\"", "username*=UTF-8''%ff"),
            ("qop=auth", "qop=auth, QOP=auth"),
        ] {
            let error = read(&CLAIM.replacen(part, wrong, 1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{wrong}");
            assert_eq!(error.status_hint(), Some(StatusCode::BAD_REQUEST), "{wrong}");
        }
        for (part, wrong) in [("qop=auth", "qop=auth-conf"), ("qop=auth", "qop=auth, algorithm=SHA")] {
            assert_eq!(read(&CLAIM.replace(part, wrong)).unwrap_err().kind(), ErrorKind::Unsupported);
        }
    }

    #[test]
    fn a_name_is_read_in_each_of_its_forms() {
        let with = |name: &str| read(&CLAIM.replace("username=\"u\"", name)).unwrap();
        let claim = with("username*=utf-8'en'J%c3%A4s!n");
        assert_eq!(claim.username(), Some("Jäs!n"));
        // MD5 of "Mufasa:r".
        let hash = "userhash=true, username=\"B14D34A4B9E1D3D8F1F0C7F2B1A3F0C0\"";
        let claim = with(hash);
        assert_eq!((claim.username(), claim.userhash()), (None, Some("b14d34a4b9e1d3d8f1f0c7f2b1a3f0c0")));
        assert!(!claim.is_user("Mufasa"));
        let right = compute::userhash(DigestAlgorithm::Md5, "Mufasa", b"r");
        assert!(with(&format!("userhash=true, username=\"{}\"", *right)).is_user("Mufasa"));
        assert!(with("userhash=false, username=\"u\"").is_user("u"));
    }

    #[test]
    fn the_target_is_that_of_the_request() {
        let is_for = |uri: &str, target: &str| {
            let claim = read(&CLAIM.replace("uri=\"/\"", &format!("uri=\"{uri}\""))).unwrap();
            let mut request = Request::get(target);
            request.headers_mut().set("Host", "Example.com:8080").unwrap();
            claim.is_for(&request)
        };
        assert!(is_for("/a?b", "/a?b") && is_for("*", "*"));
        assert!(
            is_for("http://example.com:8080/a?b", "/a?b") && is_for("/a?b", "HTTP://example.COM:8080/a?b")
        );
        for (uri, target) in [
            ("/a", "/b"),
            ("/a", "/a?"),
            ("/a", "/A"),
            ("http://example.com/a", "/a"),
            ("http://other:8080/a", "/a"),
            ("ftp://example.com:8080/a", "/a"),
            ("http://example.com:8080", "/"),
            ("http://example.com:8080/a", "http://example.com:8080/b"),
            ("", "/"),
        ] {
            assert!(!is_for(uri, target), "{uri} {target}");
        }
    }

    #[test]
    fn debug_shows_no_name_and_no_response() {
        let shown = format!("{:?}", read(&CLAIM.replace("\"u\"", "\"alice\"")).unwrap());
        assert!(!shown.contains("alice") && !shown.contains("0123456789"), "{shown}");
    }

    #[test]
    fn nothing_that_is_cut_or_changed_panics() {
        let valid = format!(
            "Digest {}, userhash=false, algorithm=MD5-sess",
            CLAIM.replace("username=\"u\"", "username*=UTF-8''%C3%A4")
        );
        crate::auth::tests::mutations(valid.as_bytes(), |value| {
            let mut request = Request::get("/");
            if request.headers_mut().set("Authorization", value).is_ok() {
                let _ = DigestAuthorization::from_request(&request).map(|claim| claim.is_for(&request));
            }
        });
    }
}
