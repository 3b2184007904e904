//! Digest for a client: a user name, a password, and the engine that answers challenges with
//! them (RFC 7616, sections 3.3 to 3.6). It knows no connection.

use std::fmt;

use super::SCHEME;
use super::algorithm::{ContentHash, DigestAlgorithm};
use super::authorization::DigestAuthorization;
use super::compute;
use super::engine::{self, Engine};
use super::terms::best;
use crate::auth::Side;
use crate::auth::challenge::challenges;
use crate::auth::params::AuthenticationParams;
use crate::auth::secret::{Login, Secret};
use crate::message::{Request, Response};
use crate::{Error, ErrorKind, Result};

/// A user name and a password for the Digest scheme, with what the last challenge said.
///
/// After one challenge, [`update_auth_info`](DigestCredentials::update_auth_info) gives
/// credentials for further requests without another round trip. A clone has the same user and
/// no challenge, since two counters on one nonce would look like a replay to the server.
///
/// ```
/// use sessile::auth::DigestCredentials;
/// use sessile::message::{Request, Response};
///
/// let mut challenge = Response::new();
/// challenge.headers_mut().append(
///     "WWW-Authenticate",
///     r#"Digest realm="a", nonce="xyz", qop="auth", algorithm=SHA-256"#,
/// )?;
///
/// let mut credentials = DigestCredentials::new("Mufasa", "Circle of Life");
/// let mut request = Request::get("/index.html");
/// credentials.authenticate(&mut request, &challenge)?;
/// assert!(request.headers().get("Authorization").unwrap().contains("nc=00000001"));
///
/// let mut next = Request::get("/other.html");
/// credentials.update_auth_info(&mut next)?;
/// assert!(next.headers().get("Authorization").unwrap().contains("nc=00000002"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Default)]
#[doc(alias = "HTTPDigestCredentials")]
pub struct DigestCredentials {
    pub(super) login: Login,
    pub(super) engine: Engine,
}

impl DigestCredentials {
    /// The name of the scheme.
    pub const SCHEME: &'static str = SCHEME;

    /// Credentials of this user, without a challenge.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> DigestCredentials {
        DigestCredentials { login: Login::new(username, password), engine: Engine::default() }
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

    /// Forgets the challenges, but not the user.
    pub fn reset(&mut self) {
        self.engine = Engine::default();
    }

    /// Forgets and wipes everything.
    pub fn clear(&mut self) {
        *self = DigestCredentials::default();
    }

    /// Whether user name and password are empty.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.login.is_empty()
    }

    /// Takes the strongest Digest challenge of the response's `WWW-Authenticate` fields, and
    /// sets `Authorization` for it.
    ///
    /// Fails with [`NotAuthenticated`](ErrorKind::NotAuthenticated) where there is none, or
    /// where the request had an answer to it already and the server did not say that only
    /// the nonce was too old: then user name or password are wrong. Fails as
    /// [`update_auth_info`](DigestCredentials::update_auth_info) does.
    pub fn authenticate(&mut self, request: &mut Request, response: &Response) -> Result<()> {
        self.answer(request, response, Side::Origin)
    }

    /// The same for the parameters of a challenge that was chosen already.
    ///
    /// Fails with [`Malformed`](ErrorKind::Malformed) where realm or nonce are not given, and
    /// with [`Unsupported`](ErrorKind::Unsupported) for an algorithm or a quality of
    /// protection that is not known.
    #[doc(alias = "authenticate")]
    pub fn authenticate_with(
        &mut self,
        request: &mut Request,
        challenge: &AuthenticationParams,
    ) -> Result<()> {
        self.engine.accept(Side::Origin, &self.login, challenge)?;
        self.update_auth_info(request)
    }

    /// Sets `Authorization` by the last challenge, with the next count of its nonce.
    ///
    /// Fails with [`IllegalState`](ErrorKind::IllegalState) where there was no challenge, or
    /// where the server wants the content protected as well and its hash was not
    /// [set](DigestCredentials::set_content_hash), and with
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) for control characters in the name.
    #[doc(alias = "updateAuthInfo")]
    pub fn update_auth_info(&mut self, request: &mut Request) -> Result<()> {
        self.engine.apply(Side::Origin, &self.login, request)
    }

    /// As [`authenticate`](DigestCredentials::authenticate), from `Proxy-Authenticate` to
    /// `Proxy-Authorization`.
    #[doc(alias = "proxyAuthenticate")]
    pub fn proxy_authenticate(&mut self, request: &mut Request, response: &Response) -> Result<()> {
        self.answer(request, response, Side::Proxy)
    }

    /// As [`authenticate_with`](DigestCredentials::authenticate_with), for
    /// `Proxy-Authorization`.
    #[doc(alias = "proxyAuthenticate")]
    pub fn proxy_authenticate_with(
        &mut self,
        request: &mut Request,
        challenge: &AuthenticationParams,
    ) -> Result<()> {
        self.engine.accept(Side::Proxy, &self.login, challenge)?;
        self.update_proxy_auth_info(request)
    }

    /// As [`update_auth_info`](DigestCredentials::update_auth_info), for
    /// `Proxy-Authorization`.
    #[doc(alias = "updateProxyAuthInfo")]
    pub fn update_proxy_auth_info(&mut self, request: &mut Request) -> Result<()> {
        self.engine.apply(Side::Proxy, &self.login, request)
    }

    /// With which algorithm the content of the next request must be hashed, because the
    /// origin server takes nothing less than `auth-int`.
    ///
    /// Known after a challenge: [`authenticate`](DigestCredentials::authenticate) has taken
    /// it, also where it fails for want of the hash.
    pub fn content_hash_needed(&self) -> Option<DigestAlgorithm> {
        self.engine.content_hash_needed(Side::Origin)
    }

    /// Gives the hash of the next request's content. Where the server offers `auth-int`, the
    /// next credentials protect the content as well; after them the hash is forgotten.
    pub fn set_content_hash(&mut self, content: ContentHash) {
        self.engine.set_content_hash(content);
    }

    /// The URIs for which the last challenge's credentials are good; none means the whole
    /// server (RFC 7616, 3.3).
    pub fn domain(&self) -> &[String] {
        self.engine.domain(Side::Origin)
    }

    /// Checks the response's `Authentication-Info`: whether the server knows the password as
    /// well, and whether it gives the next nonce, which is taken. The request is the one
    /// sent, with its credentials; `content` is the hash of the response's content, needed
    /// where the server protects that.
    ///
    /// `true` means proven, `false` that nothing was there to check. Fails with
    /// [`NotAuthenticated`](ErrorKind::NotAuthenticated) where the proof is wrong.
    pub fn check_auth_info(
        &mut self,
        request: &Request,
        response: &Response,
        content: Option<&ContentHash>,
    ) -> Result<bool> {
        self.engine.check(Side::Origin, request.headers(), response.headers(), content)
    }

    /// Whether the request's credentials are those of this user, compared in constant time.
    ///
    /// This looks at the hash and at the target alone, not at where the nonce comes from or
    /// whether the request is a replay: a server uses a
    /// [`DigestVerifier`](super::DigestVerifier). Content that the client protects counts as
    /// none. Fails as [`DigestAuthorization::from_request`] does.
    #[doc(alias = "verifyAuthInfo")]
    pub fn verify_auth_info(&self, request: &Request) -> Result<bool> {
        Ok(self.is_proven_by(&DigestAuthorization::from_request(request)?, request))
    }

    /// The same for parameters that were read already.
    #[doc(alias = "verifyAuthParams")]
    pub fn verify_auth_params(&self, request: &Request, params: &AuthenticationParams) -> Result<bool> {
        Ok(self.is_proven_by(&DigestAuthorization::from_params(params)?, request))
    }

    /// Whether this is the name of an algorithm that can be used.
    #[doc(alias = "isAlgorithmSupported")]
    pub fn is_algorithm_supported(name: &str) -> bool {
        name.parse::<DigestAlgorithm>().is_ok()
    }

    /// A text that nobody can foretell: 128 random bits in hexadecimal.
    #[doc(alias = "createNonce")]
    pub fn create_nonce() -> Result<String> {
        engine::create_nonce()
    }

    fn answer(&mut self, request: &mut Request, response: &Response, side: Side) -> Result<()> {
        let challenges = challenges(response.headers(), side.challenge_field())?;
        let Some(challenge) = best(&challenges) else {
            return Err(Error::new(ErrorKind::NotAuthenticated, "no Digest challenge that can be answered"));
        };
        self.engine.answer(side, &self.login, challenge.params(), request)
    }

    fn is_proven_by(&self, authorization: &DigestAuthorization, request: &Request) -> bool {
        let key = compute::user_key(
            authorization.algorithm(),
            self.username(),
            authorization.realm_bytes(),
            self.password(),
        );
        authorization.is_for(request)
            && authorization.is_user(self.username())
            && authorization.is_proven(key, request.method().as_str(), None)
    }
}

impl Clone for DigestCredentials {
    /// The same user, without the challenges.
    fn clone(&self) -> DigestCredentials {
        DigestCredentials { login: self.login.clone(), engine: Engine::default() }
    }
}

impl fmt::Debug for DigestCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestCredentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: &str) -> Response {
        let mut response = Response::new();
        response.headers_mut().set("WWW-Authenticate", value).unwrap();
        response.headers_mut().set("Proxy-Authenticate", value).unwrap();
        response
    }

    fn params(value: &str) -> AuthenticationParams {
        AuthenticationParams::from_auth_info(value).unwrap()
    }

    fn mufasa() -> DigestCredentials {
        DigestCredentials::new("Mufasa", "Circle of Life")
    }

    const EXAMPLE: &str = "realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    #[test]
    fn one_challenge_serves_many_requests() {
        let mut credentials = mufasa();
        let mut request = Request::get("/");
        credentials.authenticate(&mut request, &asked(&format!("Digest {EXAMPLE}"))).unwrap();
        let first = AuthenticationParams::from_request(&request).unwrap();
        for count in 2..=17 {
            let mut next = Request::get(format!("/{count}"));
            credentials.update_auth_info(&mut next).unwrap();
            let sent = AuthenticationParams::from_request(&next).unwrap();
            assert_eq!(sent.get("nc").unwrap(), format!("{count:08x}"));
            assert_eq!(sent.get("cnonce"), first.get("cnonce"));
            assert_ne!(sent.get("response"), first.get("response"));
        }
        assert_eq!(first.get("cnonce").unwrap().len(), 32);
    }

    #[test]
    fn nothing_is_sent_before_a_challenge() {
        let mut request = Request::get("/");
        assert_eq!(mufasa().update_auth_info(&mut request).unwrap_err().kind(), ErrorKind::IllegalState);
        for no_digest in
            ["Basic realm=x", "Digest realm=x", "Digest nonce=x", "Digest realm=x, nonce=y, qop=\"z\""]
        {
            let error = mufasa().authenticate(&mut request, &asked(no_digest)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotAuthenticated, "{no_digest}");
        }
        assert!(!request.headers().has("Authorization"));
    }

    #[test]
    fn a_chosen_challenge_must_be_whole_and_known() {
        let kind = |challenge: &str| {
            mufasa().authenticate_with(&mut Request::get("/"), &params(challenge)).unwrap_err().kind()
        };
        assert_eq!(kind("realm=x"), ErrorKind::Malformed);
        assert_eq!(kind("nonce=x"), ErrorKind::Malformed);
        assert_eq!(kind("realm=x, nonce=y, algorithm=SHA-1"), ErrorKind::Unsupported);
        assert_eq!(kind("realm=x, nonce=y, qop=\"\""), ErrorKind::Unsupported);
        assert_eq!(kind("realm=x, nonce=y, qop=\"auth-conf\""), ErrorKind::Unsupported);
    }

    #[test]
    fn credentials_that_were_refused_are_not_sent_again() {
        let mut credentials = mufasa();
        let mut request = Request::get("/");
        let challenge =
            |nonce: &str, more: &str| asked(&format!("Digest realm=r, nonce={nonce}, qop=\"auth\"{more}"));
        credentials.authenticate(&mut request, &challenge("a", "")).unwrap();
        // Another nonce, but not because the first was too old: the password is wrong.
        let error = credentials.authenticate(&mut request, &challenge("b", "")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAuthenticated);
        let error = credentials.authenticate(&mut request, &challenge("b", ", stale=FALSE")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAuthenticated);
        // Too old.
        credentials.authenticate(&mut request, &challenge("b", ", stale=TRUE")).unwrap();
        assert!(request.headers().get("Authorization").unwrap().contains("nonce=\"b\", nc=00000001"));
        // It served once, so it may be too old though the server does not say so.
        credentials.update_auth_info(&mut request).unwrap();
        credentials.authenticate(&mut request, &challenge("c", "")).unwrap();
        assert!(request.headers().get("Authorization").unwrap().contains("nonce=\"c\", nc=00000001"));
        // Asked with the nonce that was sent.
        credentials.update_auth_info(&mut request).unwrap();
        assert!(credentials.authenticate(&mut request, &challenge("c", "")).is_err());
        // Another realm is another matter, and so is another password.
        credentials.authenticate(&mut request, &asked("Digest realm=s, nonce=d")).unwrap();
        credentials.set_password("other");
        credentials.authenticate(&mut request, &asked("Digest realm=s, nonce=d")).unwrap();
    }

    #[test]
    fn a_nonce_that_comes_again_is_counted_on() {
        let mut credentials = mufasa();
        for count in 1..4 {
            let mut request = Request::get("/");
            credentials.authenticate(&mut request, &asked(&format!("Digest {EXAMPLE}"))).unwrap();
            assert!(request.headers().get("Authorization").unwrap().contains(&format!("nc=0000000{count}")));
        }
    }

    #[test]
    fn a_proxy_has_its_own_fields_and_its_own_nonce() {
        let mut credentials = mufasa();
        let mut request = Request::get("/");
        credentials
            .proxy_authenticate(&mut request, &asked("Digest realm=p, nonce=n, qop=\"auth\""))
            .unwrap();
        assert!(!request.headers().has("Authorization"));
        assert!(credentials.update_auth_info(&mut request).is_err());
        credentials.update_proxy_auth_info(&mut request).unwrap();
        assert!(request.headers().get("Proxy-Authorization").unwrap().contains("nc=00000002"));
        credentials.proxy_authenticate_with(&mut request, &params("realm=q, nonce=n")).unwrap();
        assert!(request.headers().get("Proxy-Authorization").unwrap().contains("realm=\"q\""));
    }

    #[test]
    fn a_realm_that_is_not_utf_8_goes_back_as_it_came() {
        let mut response = Response::new();
        response.headers_mut().set("WWW-Authenticate", b"Digest realm=\"f\xfcr\", nonce=n").unwrap();
        let mut request = Request::get("/");
        mufasa().authenticate(&mut request, &response).unwrap();
        let value = request.headers().get_bytes("Authorization").unwrap();
        assert!(value.windows(11).any(|part| part == b"realm=\"f\xfcr\""));
    }

    #[test]
    fn members_keep_what_is_set_and_show_nothing() {
        let mut credentials = DigestCredentials::default();
        assert!(credentials.is_empty());
        credentials.set_username("alice");
        credentials.set_password("wonder");
        assert_eq!((credentials.username(), credentials.password()), ("alice", "wonder"));
        let shown = format!("{credentials:?}");
        assert!(!shown.contains("alice") && !shown.contains("wonder"), "{shown}");
        credentials.clear();
        assert!(credentials.is_empty());
        assert!(DigestCredentials::is_algorithm_supported("sha-256-sess"));
        assert!(!DigestCredentials::is_algorithm_supported("SHA-512"));
        assert_ne!(DigestCredentials::create_nonce().unwrap(), DigestCredentials::create_nonce().unwrap());
    }
}
