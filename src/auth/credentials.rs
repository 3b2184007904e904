//! The front of all schemes for a client: it has a user name and a password, and answers the
//! strongest challenge that it can.
//!
//! Which scheme answers is decided here, how it answers in the files beside this one. Whether
//! there is a challenge to answer, and on which connection, is the session's business.

use std::fmt;
use std::time::SystemTime;

use super::Side;
use super::basic;
use super::challenge::{Challenge, challenges, has_scheme};
#[cfg(feature = "digest")]
use super::digest::{self, ContentHash, DigestAlgorithm};
#[cfg(feature = "ntlm")]
use super::ntlm;
use super::scheme::AuthScheme;
use super::secret::{Login, Secret};
use crate::message::{Request, Response, Uri};
use crate::{Error, ErrorKind, Result};

/// A user name and a password for whatever scheme the peer asks for.
///
/// The strongest challenge is answered: Digest with SHA-512-256, with SHA-256, with MD5, then
/// NTLM, then Basic; those of other schemes are passed over. Where Basic would show the
/// password to the network, [`set_schemes`](HttpCredentials::set_schemes) leaves it out.
///
/// One object serves one origin server and one proxy. It keeps what their challenges said, so
/// that [`update_auth_info`](HttpCredentials::update_auth_info) gives credentials for later
/// requests without another round trip. A clone has the same user and no challenges.
///
/// ```
/// use sessile::auth::{AuthScheme, HttpCredentials};
/// use sessile::message::{Request, Response};
///
/// let mut response = Response::new();
/// response.headers_mut().append("WWW-Authenticate", r#"Newest abc, Basic realm="a""#)?;
///
/// let mut credentials = HttpCredentials::new("Aladdin", "open sesame");
/// let mut request = Request::get("/");
/// let scheme = credentials.authenticate(&mut request, &response)?;
/// assert_eq!(scheme, Some(AuthScheme::Basic));
/// assert!(HttpCredentials::has_basic_credentials(&request));
///
/// let mut next = Request::get("/other");
/// credentials.update_auth_info(&mut next)?;
/// assert!(HttpCredentials::has_basic_credentials(&next));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Default)]
#[doc(alias = "HTTPCredentials")]
pub struct HttpCredentials {
    login: Login,
    /// `None` means all.
    schemes: Option<Vec<AuthScheme>>,
    workstation: String,
    time: Option<SystemTime>,
    /// What answered the last challenge of the origin server and of the proxy.
    origin: Option<AuthScheme>,
    proxy: Option<AuthScheme>,
    #[cfg(feature = "digest")]
    digest: digest::Engine,
}

impl HttpCredentials {
    /// Credentials of this user.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> HttpCredentials {
        HttpCredentials { login: Login::new(username, password), ..HttpCredentials::default() }
    }

    /// Credentials from `user:password`, split at the first colon and taken as it is.
    #[doc(alias = "fromUserInfo")]
    pub fn from_user_info(user_info: &str) -> HttpCredentials {
        HttpCredentials { login: Login::split(user_info), ..HttpCredentials::default() }
    }

    /// Credentials from the user information of a URI, decoded; empty ones where it has none.
    ///
    /// ```
    /// use sessile::auth::HttpCredentials;
    ///
    /// let credentials = HttpCredentials::from_uri(&"http://al%40home:se%3Acret@example.com/".parse()?);
    /// assert_eq!((credentials.username(), credentials.password()), ("al@home", "se:cret"));
    /// assert!(HttpCredentials::from_uri(&"http://example.com/@".parse()?).is_empty());
    /// # Ok::<(), sessile::Error>(())
    /// ```
    #[doc(alias = "fromURI")]
    pub fn from_uri(uri: &Uri) -> HttpCredentials {
        let (username, password) = HttpCredentials::extract_uri_credentials(uri).unwrap_or_default();
        HttpCredentials::new(username, password)
    }

    /// Name and password of `user:password`: see
    /// [`from_user_info`](HttpCredentials::from_user_info). Nothing wipes what this gives.
    #[doc(alias = "extractCredentials")]
    pub fn extract_credentials(user_info: &str) -> (String, String) {
        let login = Login::split(user_info);
        (login.username.as_str().to_owned(), login.password.as_str().to_owned())
    }

    /// Name and password in a URI, decoded, if it has them. Nothing wipes what this gives.
    #[doc(alias = "extractCredentials")]
    pub fn extract_uri_credentials(uri: &Uri) -> Option<(String, String)> {
        Some((uri.username()?.into_owned(), uri.password().unwrap_or_default().into_owned()))
    }

    /// The user's name.
    #[doc(alias = "getUsername")]
    pub fn username(&self) -> &str {
        self.login.username.as_str()
    }

    /// Sets the user's name, and forgets the challenges.
    #[doc(alias = "setUsername")]
    pub fn set_username(&mut self, username: impl Into<String>) {
        self.login.username = Secret::new(username);
        self.reset();
    }

    /// The password.
    #[doc(alias = "getPassword")]
    pub fn password(&self) -> &str {
        self.login.password.as_str()
    }

    /// Sets the password, and forgets the challenges.
    #[doc(alias = "setPassword")]
    pub fn set_password(&mut self, password: impl Into<String>) {
        self.login.password = Secret::new(password);
        self.reset();
    }

    /// The name that the client gives itself in NTLM; empty unless set.
    #[doc(alias = "getHost")]
    pub fn workstation(&self) -> &str {
        &self.workstation
    }

    /// Sets the name that the client gives itself in NTLM. (Poco's host is for the single
    /// sign-on of Windows, which this crate does not use.)
    #[doc(alias = "setHost")]
    pub fn set_workstation(&mut self, workstation: impl Into<String>) {
        self.workstation = workstation.into();
    }

    /// Says what time it is, for NTLM servers that don't: without it, the response's `Date`
    /// counts.
    pub fn set_time(&mut self, now: SystemTime) {
        self.time = Some(now);
    }

    /// Answers these schemes only. All that the crate's features give are answered unless
    /// this is set.
    pub fn set_schemes(&mut self, schemes: &[AuthScheme]) {
        self.schemes = Some(schemes.to_vec());
    }

    /// Forgets the challenges, but not the user.
    pub fn reset(&mut self) {
        (self.origin, self.proxy) = (None, None);
        #[cfg(feature = "digest")]
        {
            self.digest = digest::Engine::default();
        }
    }

    /// Forgets and wipes everything.
    pub fn clear(&mut self) {
        *self = HttpCredentials::default();
    }

    /// Whether user name and password are empty.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.login.is_empty()
    }

    /// Sets `Authorization` by the strongest challenge among the response's
    /// `WWW-Authenticate` fields, and says by which scheme. Without a user name, or without
    /// such fields, it does nothing and gives `None`.
    ///
    /// The request is the one that was sent, with the credentials it had. Fails with
    /// [`NotAuthenticated`](ErrorKind::NotAuthenticated) where no challenge can be answered,
    /// or where those credentials were the answer to it already: then user name or password
    /// are wrong. Fails also as the schemes do, for instance with
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for a user name that Basic can't carry.
    pub fn authenticate(&mut self, request: &mut Request, response: &Response) -> Result<Option<AuthScheme>> {
        self.answer(request, response, Side::Origin)
    }

    /// Sets `Authorization` anew for a further request, by the last challenge, and says by
    /// which scheme. Before a challenge, credentials that the request has are renewed, and
    /// where it has none, nothing is done.
    ///
    /// For NTLM the field is removed: it is the connection that is authenticated. On a new
    /// one the server will ask again.
    #[doc(alias = "updateAuthInfo")]
    pub fn update_auth_info(&mut self, request: &mut Request) -> Result<Option<AuthScheme>> {
        self.update(request, Side::Origin)
    }

    /// As [`authenticate`](HttpCredentials::authenticate), from `Proxy-Authenticate` to
    /// `Proxy-Authorization`.
    #[doc(alias = "proxyAuthenticate")]
    pub fn proxy_authenticate(
        &mut self,
        request: &mut Request,
        response: &Response,
    ) -> Result<Option<AuthScheme>> {
        self.answer(request, response, Side::Proxy)
    }

    /// As [`update_auth_info`](HttpCredentials::update_auth_info), for `Proxy-Authorization`.
    #[doc(alias = "updateProxyAuthInfo")]
    pub fn update_proxy_auth_info(&mut self, request: &mut Request) -> Result<Option<AuthScheme>> {
        self.update(request, Side::Proxy)
    }

    /// Checks the server's `Authentication-Info`, and takes the nonce it gives for the next
    /// request: see [`DigestCredentials`](super::DigestCredentials::check_auth_info).
    #[cfg(feature = "digest")]
    #[cfg_attr(docsrs, doc(cfg(feature = "digest")))]
    pub fn check_auth_info(
        &mut self,
        request: &Request,
        response: &Response,
        content: Option<&ContentHash>,
    ) -> Result<bool> {
        self.digest.check(Side::Origin, request.headers(), response.headers(), content)
    }

    /// The same of a proxy's `Proxy-Authentication-Info`.
    #[cfg(feature = "digest")]
    #[cfg_attr(docsrs, doc(cfg(feature = "digest")))]
    pub fn check_proxy_auth_info(
        &mut self,
        request: &Request,
        response: &Response,
        content: Option<&ContentHash>,
    ) -> Result<bool> {
        self.digest.check(Side::Proxy, request.headers(), response.headers(), content)
    }

    /// With which algorithm the content of the next request must be hashed: see
    /// [`DigestCredentials`](super::DigestCredentials::content_hash_needed).
    #[cfg(feature = "digest")]
    #[cfg_attr(docsrs, doc(cfg(feature = "digest")))]
    pub fn content_hash_needed(&self) -> Option<DigestAlgorithm> {
        self.digest.content_hash_needed(Side::Origin)
    }

    /// Gives the hash of the next request's content: see
    /// [`DigestCredentials`](super::DigestCredentials::set_content_hash).
    #[cfg(feature = "digest")]
    #[cfg_attr(docsrs, doc(cfg(feature = "digest")))]
    pub fn set_content_hash(&mut self, content: ContentHash) {
        self.digest.set_content_hash(content);
    }

    /// Whether this field value is of the scheme Basic.
    #[doc(alias = "isBasicCredentials")]
    pub fn is_basic_credentials(value: &str) -> bool {
        has_scheme(value.as_bytes(), AuthScheme::Basic.as_str())
    }

    /// Whether this field value is of the scheme Digest.
    #[doc(alias = "isDigestCredentials")]
    pub fn is_digest_credentials(value: &str) -> bool {
        has_scheme(value.as_bytes(), AuthScheme::Digest.as_str())
    }

    /// Whether this field value is of the scheme NTLM.
    #[doc(alias = "isNTLMCredentials")]
    pub fn is_ntlm_credentials(value: &str) -> bool {
        has_scheme(value.as_bytes(), AuthScheme::Ntlm.as_str())
    }

    /// Whether the request has Basic credentials.
    #[doc(alias = "hasBasicCredentials")]
    pub fn has_basic_credentials(request: &Request) -> bool {
        sent_scheme(request, Side::Origin) == Some(AuthScheme::Basic)
    }

    /// Whether the request has Digest credentials.
    #[doc(alias = "hasDigestCredentials")]
    pub fn has_digest_credentials(request: &Request) -> bool {
        sent_scheme(request, Side::Origin) == Some(AuthScheme::Digest)
    }

    /// Whether the request has an NTLM message.
    #[doc(alias = "hasNTLMCredentials")]
    pub fn has_ntlm_credentials(request: &Request) -> bool {
        sent_scheme(request, Side::Origin) == Some(AuthScheme::Ntlm)
    }

    /// Whether the request has Basic credentials for a proxy.
    #[doc(alias = "hasProxyBasicCredentials")]
    pub fn has_proxy_basic_credentials(request: &Request) -> bool {
        sent_scheme(request, Side::Proxy) == Some(AuthScheme::Basic)
    }

    /// Whether the request has Digest credentials for a proxy.
    #[doc(alias = "hasProxyDigestCredentials")]
    pub fn has_proxy_digest_credentials(request: &Request) -> bool {
        sent_scheme(request, Side::Proxy) == Some(AuthScheme::Digest)
    }

    /// Whether the request has an NTLM message for a proxy.
    #[doc(alias = "hasProxyNTLMCredentials")]
    pub fn has_proxy_ntlm_credentials(request: &Request) -> bool {
        sent_scheme(request, Side::Proxy) == Some(AuthScheme::Ntlm)
    }

    fn answer(
        &mut self,
        request: &mut Request,
        response: &Response,
        side: Side,
    ) -> Result<Option<AuthScheme>> {
        if self.login.username.is_empty() || !response.headers().has(side.challenge_field()) {
            return Ok(None);
        }
        let challenges = challenges(response.headers(), side.challenge_field())?;
        let Some((scheme, challenge)) = self.strongest(&challenges) else {
            return Err(Error::new(ErrorKind::NotAuthenticated, "no challenge that can be answered"));
        };
        match scheme {
            AuthScheme::Basic => self.answer_basic(side, request)?,
            AuthScheme::Digest => self.answer_digest(side, challenge, request)?,
            AuthScheme::Ntlm => self.answer_ntlm(side, challenge, request, response)?,
        }
        *self.chosen(side) = Some(scheme);
        Ok(Some(scheme))
    }

    /// The strongest challenge that can and may be answered; of equals the first.
    fn strongest<'a>(&self, challenges: &'a [Challenge]) -> Option<(AuthScheme, &'a Challenge)> {
        let first = |scheme: AuthScheme| challenges.iter().find(|challenge| challenge.is(scheme.as_str()));
        let allowed = |scheme| self.schemes.as_ref().is_none_or(|schemes| schemes.contains(&scheme));
        AuthScheme::ALL.into_iter().rev().filter(|&scheme| allowed(scheme)).find_map(|scheme| {
            let challenge = match scheme {
                AuthScheme::Basic => first(scheme),
                #[cfg(feature = "ntlm")]
                AuthScheme::Ntlm => first(scheme),
                #[cfg(feature = "digest")]
                AuthScheme::Digest => digest::best(challenges),
                #[cfg(not(all(feature = "digest", feature = "ntlm")))]
                _ => None,
            };
            Some((scheme, challenge?))
        })
    }

    fn update(&mut self, request: &mut Request, side: Side) -> Result<Option<AuthScheme>> {
        let scheme = (*self.chosen(side)).or_else(|| sent_scheme(request, side));
        match scheme {
            Some(AuthScheme::Basic) => {
                Ok(basic::apply(&self.login, request, side)?.then_some(AuthScheme::Basic))
            }
            #[cfg(feature = "digest")]
            Some(AuthScheme::Digest) if self.digest.is_ready(side) => {
                self.digest.apply(side, &self.login, request)?;
                Ok(scheme)
            }
            Some(AuthScheme::Ntlm) => {
                request.headers_mut().remove(side.credentials_field());
                Ok(scheme)
            }
            _ => Ok(None),
        }
    }

    fn answer_basic(&self, side: Side, request: &mut Request) -> Result<()> {
        let value = basic::field_value(&self.login)?;
        if request.headers().get(side.credentials_field()) == Some(value.as_str()) {
            return Err(Error::new(ErrorKind::NotAuthenticated, "user name or password were refused"));
        }
        request.headers_mut().set(side.credentials_field(), value.as_bytes())
    }

    #[cfg(feature = "digest")]
    fn answer_digest(&mut self, side: Side, challenge: &Challenge, request: &mut Request) -> Result<()> {
        self.digest.answer(side, &self.login, challenge.params(), request)
    }

    #[cfg(not(feature = "digest"))]
    fn answer_digest(&mut self, _: Side, _: &Challenge, _: &mut Request) -> Result<()> {
        Err(Error::unsupported("Digest needs the feature `digest`"))
    }

    #[cfg(feature = "ntlm")]
    fn answer_ntlm(
        &self,
        side: Side,
        challenge: &Challenge,
        request: &mut Request,
        response: &Response,
    ) -> Result<()> {
        let engine = ntlm::Engine { workstation: self.workstation.clone(), time: self.time };
        engine.answer(side, &self.login, challenge, request, response)
    }

    #[cfg(not(feature = "ntlm"))]
    fn answer_ntlm(&self, _: Side, _: &Challenge, _: &mut Request, _: &Response) -> Result<()> {
        Err(Error::unsupported("NTLM needs the feature `ntlm`"))
    }

    fn chosen(&mut self, side: Side) -> &mut Option<AuthScheme> {
        match side {
            Side::Origin => &mut self.origin,
            Side::Proxy => &mut self.proxy,
        }
    }
}

impl Clone for HttpCredentials {
    /// The same user and settings, without the challenges.
    fn clone(&self) -> HttpCredentials {
        HttpCredentials {
            login: self.login.clone(),
            schemes: self.schemes.clone(),
            workstation: self.workstation.clone(),
            time: self.time,
            ..HttpCredentials::default()
        }
    }
}

impl fmt::Debug for HttpCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCredentials")
            .field("origin", &self.origin)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

/// The scheme of the credentials that a request has.
fn sent_scheme(request: &Request, side: Side) -> Option<AuthScheme> {
    let value = request.headers().get_bytes(side.credentials_field())?;
    AuthScheme::ALL.into_iter().find(|scheme| has_scheme(value, scheme.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(values: &[&str]) -> Response {
        let mut response = Response::new();
        for value in values {
            response.headers_mut().append("WWW-Authenticate", value).unwrap();
            response.headers_mut().append("Proxy-Authenticate", value).unwrap();
        }
        response
    }

    fn user() -> HttpCredentials {
        HttpCredentials::new("user", "secret")
    }

    const BASIC: &str = "Basic dXNlcjpzZWNyZXQ=";

    #[test]
    fn nothing_is_done_without_a_challenge_or_without_a_user() {
        let mut request = Request::default();
        assert_eq!(user().authenticate(&mut request, &Response::new()).unwrap(), None);
        assert_eq!(user().update_auth_info(&mut request).unwrap(), None);
        for mut nobody in [HttpCredentials::default(), HttpCredentials::new("", "secret")] {
            assert_eq!(nobody.authenticate(&mut request, &asked(&["Basic realm=a"])).unwrap(), None);
        }
        assert!(request.headers().is_empty());
    }

    #[test]
    fn only_the_challenge_fields_are_looked_at() {
        let mut response = Response::new();
        response.headers_mut().set("X-Note", "Basic realm=a").unwrap();
        response.headers_mut().set("Proxy-Authenticate", "Basic realm=a").unwrap();
        assert_eq!(user().authenticate(&mut Request::default(), &response).unwrap(), None);
    }

    #[test]
    fn unknown_schemes_are_passed_over_and_may_leave_nothing() {
        let mut request = Request::default();
        let scheme =
            user().authenticate(&mut request, &asked(&["Negotiate abc==, X a=b", "Basic realm=a"])).unwrap();
        assert_eq!(scheme, Some(AuthScheme::Basic));
        assert_eq!(request.headers().get("Authorization"), Some(BASIC));
        for values in [&["Negotiate"][..], &["Digest realm=a"], &["Digest realm=a, nonce=b, algorithm=X"]] {
            let error = user().authenticate(&mut Request::default(), &asked(values)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotAuthenticated);
        }
        let error = user().authenticate(&mut Request::default(), &asked(&["Basic \""])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
    }

    #[test]
    fn a_scheme_that_is_not_allowed_is_not_answered() {
        let mut careful = user();
        careful.set_schemes(&[AuthScheme::Digest, AuthScheme::Ntlm]);
        let error = careful.authenticate(&mut Request::default(), &asked(&["Basic realm=a"])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAuthenticated);
    }

    #[cfg(all(feature = "digest", feature = "ntlm"))]
    #[test]
    fn the_strongest_challenge_is_answered_in_whatever_order_they_come() {
        let all = [
            "Basic realm=r",
            "NTLM",
            "Digest realm=r, nonce=1, qop=\"auth\"",
            "Digest realm=r, nonce=2, qop=\"auth\", algorithm=SHA-256",
            "Digest realm=r, nonce=3, qop=\"auth\", algorithm=SHA-512-256",
        ];
        for strongest in 0..all.len() {
            let mut values = all[..=strongest].to_vec();
            for _ in 0..values.len() {
                values.rotate_left(1);
                for response in [asked(&values), asked(&[&values.join(", ")])] {
                    let mut request = Request::default();
                    let scheme = user().authenticate(&mut request, &response).unwrap();
                    let sent = request.headers().get("Authorization").unwrap();
                    let (expected, part) = match strongest {
                        0 => (AuthScheme::Basic, BASIC),
                        1 => (AuthScheme::Ntlm, "NTLM "),
                        2 => (AuthScheme::Digest, "nonce=\"1\""),
                        3 => (AuthScheme::Digest, "nonce=\"2\""),
                        _ => (AuthScheme::Digest, "nonce=\"3\""),
                    };
                    assert_eq!(scheme, Some(expected), "{values:?}");
                    assert!(sent.contains(part), "{values:?}: {sent}");
                }
            }
        }
    }

    #[test]
    fn the_same_credentials_are_not_sent_twice() {
        let mut credentials = user();
        let mut request = Request::default();
        credentials.authenticate(&mut request, &asked(&["Basic realm=a"])).unwrap();
        let error = credentials.authenticate(&mut request, &asked(&["Basic realm=a"])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAuthenticated);
        credentials.set_password("other");
        assert!(credentials.authenticate(&mut request, &asked(&["Basic realm=a"])).is_ok());
    }

    #[test]
    fn after_one_challenge_later_requests_need_none() {
        let mut credentials = user();
        credentials.authenticate(&mut Request::default(), &asked(&["Basic realm=a"])).unwrap();
        let mut next = Request::default();
        assert_eq!(credentials.update_auth_info(&mut next).unwrap(), Some(AuthScheme::Basic));
        assert_eq!(next.headers().get("Authorization"), Some(BASIC));
        // But not at the proxy, and not for a clone.
        assert_eq!(credentials.update_proxy_auth_info(&mut next).unwrap(), None);
        assert_eq!(credentials.clone().update_auth_info(&mut Request::default()).unwrap(), None);
        credentials.reset();
        assert_eq!(credentials.update_auth_info(&mut Request::default()).unwrap(), None);
    }

    #[test]
    fn credentials_that_a_request_has_are_renewed() {
        let mut request = Request::default();
        request.headers_mut().set("Authorization", "Basic b2xkOm9sZA==").unwrap();
        assert_eq!(user().update_auth_info(&mut request).unwrap(), Some(AuthScheme::Basic));
        assert_eq!(request.headers().get("Authorization"), Some(BASIC));
        request.headers_mut().set("Authorization", "NTLM abc").unwrap();
        assert_eq!(user().update_auth_info(&mut request).unwrap(), Some(AuthScheme::Ntlm));
        assert!(!request.headers().has("Authorization"));
        request.headers_mut().set("Authorization", "Digest a=b").unwrap();
        assert_eq!(user().update_auth_info(&mut request).unwrap(), None);
    }

    #[test]
    fn a_proxy_has_its_own_fields() {
        let mut credentials = user();
        let mut request = Request::default();
        credentials.proxy_authenticate(&mut request, &asked(&["Basic realm=a"])).unwrap();
        assert_eq!(request.headers().get("Proxy-Authorization"), Some(BASIC));
        assert!(!request.headers().has("Authorization"));
        let mut next = Request::default();
        assert_eq!(credentials.update_proxy_auth_info(&mut next).unwrap(), Some(AuthScheme::Basic));
        assert!(HttpCredentials::has_proxy_basic_credentials(&next));
    }

    #[cfg(feature = "digest")]
    #[test]
    fn digest_counts_for_origin_and_proxy_apart() {
        let mut credentials = user();
        let challenge = asked(&["Digest realm=r, nonce=n, qop=\"auth\""]);
        let mut request = Request::default();
        credentials.authenticate(&mut request, &challenge).unwrap();
        credentials.update_auth_info(&mut request).unwrap();
        credentials.proxy_authenticate(&mut request, &challenge).unwrap();
        assert!(HttpCredentials::has_digest_credentials(&request));
        assert!(HttpCredentials::has_proxy_digest_credentials(&request));
        assert!(request.headers().get("Authorization").unwrap().contains("nc=00000002"));
        assert!(request.headers().get("Proxy-Authorization").unwrap().contains("nc=00000001"));
        assert!(!credentials.check_auth_info(&request, &Response::new(), None).unwrap());
        assert!(!credentials.check_proxy_auth_info(&request, &Response::new(), None).unwrap());
    }

    #[cfg(feature = "digest")]
    #[test]
    fn content_is_protected_where_the_server_insists() {
        let mut credentials = user();
        let mut request = Request::post("/");
        request.set_content_length(5);
        let challenge = asked(&["Digest realm=r, nonce=n, qop=\"auth-int\""]);
        let error = credentials.authenticate(&mut request, &challenge).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IllegalState);
        let algorithm = credentials.content_hash_needed().unwrap();
        credentials.set_content_hash(algorithm.hash_content(b"hello"));
        assert_eq!(credentials.authenticate(&mut request, &challenge).unwrap(), Some(AuthScheme::Digest));
        assert!(request.headers().get("Authorization").unwrap().contains("qop=auth-int"));
    }

    #[cfg(feature = "ntlm")]
    #[test]
    fn ntlm_uses_the_time_and_the_name_that_are_set() {
        let mut credentials = user();
        credentials.set_workstation("BOX");
        assert_eq!(credentials.workstation(), "BOX");
        let mut request = Request::default();
        let challenge = asked(&["NTLM TlRMTVNTUAACAAAAAAAAAAAAAAABAggAASNFZ4mrze8AAAAAAAAAAAAAAAAAAAAA"]);
        let error = credentials.authenticate(&mut request, &challenge).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IllegalState);
        credentials.set_time(SystemTime::UNIX_EPOCH);
        assert_eq!(credentials.authenticate(&mut request, &challenge).unwrap(), Some(AuthScheme::Ntlm));
        assert!(HttpCredentials::has_ntlm_credentials(&request));
        let mut next = Request::default();
        assert_eq!(credentials.update_auth_info(&mut next).unwrap(), Some(AuthScheme::Ntlm));
        assert!(next.headers().is_empty());
        credentials.proxy_authenticate(&mut next, &asked(&["NTLM"])).unwrap();
        assert!(HttpCredentials::has_proxy_ntlm_credentials(&next));
    }

    #[test]
    fn user_information_is_split_at_the_first_colon() {
        let credentials = HttpCredentials::from_user_info("a%40:b:c");
        assert_eq!((credentials.username(), credentials.password()), ("a%40", "b:c"));
        assert_eq!(HttpCredentials::extract_credentials("a"), ("a".to_owned(), String::new()));
    }

    #[test]
    fn user_information_of_a_uri_is_decoded() {
        for (uri, expected) in [
            ("http://a:b@host/", Some(("a", "b"))),
            ("http://a@host", Some(("a", ""))),
            ("http://a%3Ab:c%40%2F%C3%A4:@host?x=y@z", Some(("a:b", "c@/ä:"))),
            ("http://host/a:b@c", None),
        ] {
            let expected = expected.map(|(username, password)| (username.to_owned(), password.to_owned()));
            assert_eq!(HttpCredentials::extract_uri_credentials(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[test]
    fn schemes_are_told_by_their_first_word() {
        assert!(HttpCredentials::is_basic_credentials("bAsIc abc"));
        assert!(HttpCredentials::is_digest_credentials("Digest a=b"));
        assert!(HttpCredentials::is_ntlm_credentials("NTLM"));
        for other in ["", "Basics abc", "XBasic", "Basic\"", "Basic=", "\"Basic\""] {
            assert!(!HttpCredentials::is_basic_credentials(other), "{other}");
        }
    }

    #[test]
    fn members_keep_what_is_set_and_show_nothing() {
        let mut credentials = HttpCredentials::default();
        assert!(credentials.is_empty());
        credentials.set_username("alice");
        credentials.set_password("wonder");
        assert_eq!((credentials.username(), credentials.password()), ("alice", "wonder"));
        let shown = format!("{credentials:?}");
        assert!(!shown.contains("alice") && !shown.contains("wonder"), "{shown}");
        credentials.clear();
        assert!(credentials.is_empty());
    }

    #[test]
    fn no_response_panics_whatever_it_asks() {
        let valid = b"Digest realm=\"a\", nonce=x, qop=\"auth,auth-int\", algorithm=SHA-256, domain=\"/ /b\", NTLM TlRMTVNTUAACAAAA, Basic realm=y";
        super::super::tests::mutations(valid, |value| {
            let mut response = Response::new();
            if response.headers_mut().set("WWW-Authenticate", value).is_ok() {
                let mut request = Request::default();
                let _ = user().authenticate(&mut request, &response);
            }
        });
    }
}
