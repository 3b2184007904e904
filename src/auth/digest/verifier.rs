//! Digest for a server: challenges, and credentials verified against a password
//! (RFC 7616, sections 3.3 to 3.5).
//!
//! It keeps the nonces and nothing of the users. Time is a counter that the caller gives.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use super::SCHEME;
use super::algorithm::{ContentHash, DigestAlgorithm, hex};
use super::authorization::DigestAuthorization;
use super::compute::{self, Qop};
use super::nonces::Nonces;
use crate::auth::Side;
use crate::auth::params::AuthenticationParams;
use crate::auth::secret::Secret;
use crate::message::{Request, Response, StatusCode};
use crate::{Error, ErrorKind, Result, random};

/// Verifies Digest credentials, and makes the challenges for them.
///
/// It is `Sync`: one serves all threads of a server. Every `now` is the time since any moment
/// that stays the same, as of a clock that never goes back; nonces last for five minutes of it.
///
/// A response is compared in constant time; the target in the credentials must be that of
/// the request; the nonce must have been made here; and each count of a nonce is good once.
///
/// ```
/// use sessile::auth::{DigestCredentials, DigestOutcome, DigestSecret, DigestVerifier};
/// use sessile::message::{Request, Response};
/// use std::time::Instant;
///
/// let started = Instant::now();
/// let verifier = DigestVerifier::new("members")?;
/// let password_of = |name: Option<&str>| match name {
///     Some("Mufasa") => Some(DigestSecret::new("Mufasa", "Circle of Life")),
///     _ => None,
/// };
///
/// // A request without credentials gets a challenge,
/// let mut request = Request::get("/index.html");
/// let outcome = verifier.verify(&request, started.elapsed(), |claim| password_of(claim.username()))?;
/// assert!(matches!(outcome, DigestOutcome::Denied));
/// let mut response = Response::new();
/// verifier.challenge(&mut response, started.elapsed(), &outcome)?;
/// assert_eq!(response.status().as_u16(), 401);
///
/// // which a client answers.
/// DigestCredentials::new("Mufasa", "Circle of Life").authenticate(&mut request, &response)?;
/// let outcome = verifier.verify(&request, started.elapsed(), |claim| password_of(claim.username()))?;
/// assert_eq!(outcome.granted().unwrap().username(), "Mufasa");
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug)]
pub struct DigestVerifier {
    realm: String,
    side: Side,
    algorithms: Vec<DigestAlgorithm>,
    auth_int: bool,
    userhash: bool,
    nonces: Nonces,
    /// Stands for the key of users that don't exist.
    decoy: Decoy,
}

impl DigestVerifier {
    /// A verifier for this realm, which browsers show to the user, with the algorithms SHA-256
    /// and, for clients that know no better, MD5.
    ///
    /// Fails with [`InvalidArgument`](ErrorKind::InvalidArgument) on control characters, and
    /// where the operating system gives no random bytes.
    pub fn new(realm: impl Into<String>) -> Result<DigestVerifier> {
        let realm = realm.into();
        AuthenticationParams::new().set_realm(&realm)?;
        let mut decoy = Zeroizing::new([0; 32]);
        random::fill(&mut decoy[..])?;
        Ok(DigestVerifier {
            realm,
            side: Side::Origin,
            algorithms: vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
            auth_int: false,
            userhash: false,
            nonces: Nonces::new()?,
            decoy: Decoy(hex(&decoy[..])),
        })
    }

    /// Makes it the verifier of a proxy: 407 and `Proxy-…` fields instead of 401.
    #[must_use]
    pub fn for_proxy(mut self) -> DigestVerifier {
        self.side = Side::Proxy;
        self
    }

    /// Sets the algorithms, the best one first. Others are not accepted.
    pub fn set_algorithms(&mut self, algorithms: &[DigestAlgorithm]) -> &mut Self {
        self.algorithms = algorithms.to_vec();
        self
    }

    /// Whether clients may protect their content as well, which then has to be hashed: see
    /// [`verify_content`](DigestVerifier::verify_content). Off unless set.
    pub fn set_auth_int(&mut self, offered: bool) -> &mut Self {
        self.auth_int = offered;
        self
    }

    /// Whether clients are asked to hide the user's name in a hash: the secret is then looked
    /// up by [`DigestAuthorization::is_user`]. Off unless set.
    pub fn set_userhash(&mut self, hashed: bool) -> &mut Self {
        self.userhash = hashed;
        self
    }

    /// For how long a nonce serves: five minutes unless set. After that a client needs one
    /// more round trip, without asking the user again.
    pub fn set_nonce_lifetime(&mut self, lifetime: Duration) -> &mut Self {
        self.nonces.set_lifetime(lifetime);
        self
    }

    /// How many nonces in use are remembered: 16,384 unless set. Past it the oldest go, and
    /// count as too old.
    pub fn set_max_nonces(&mut self, max: usize) -> &mut Self {
        self.nonces.set_max(max);
        self
    }

    /// Turns the response into a challenge: status 401 and a `WWW-Authenticate` field for
    /// each algorithm (for a proxy, 407 and `Proxy-Authenticate`). After
    /// [`Stale`](DigestOutcome::Stale), it says that only the nonce was too old.
    pub fn challenge(&self, response: &mut Response, now: Duration, outcome: &DigestOutcome) -> Result<()> {
        let field = self.side.challenge_field();
        response.headers_mut().remove(field);
        let nonce = self.nonces.make(now)?;
        for algorithm in &self.algorithms {
            let mut params = AuthenticationParams::new();
            params.put("realm", self.realm.as_bytes(), true)?;
            params.put("qop", if self.auth_int { b"auth, auth-int" } else { b"auth" }, true)?;
            params.put("algorithm", algorithm.as_str().as_bytes(), false)?;
            params.put("nonce", nonce.as_bytes(), true)?;
            params.put("charset", b"UTF-8", false)?;
            if self.userhash {
                params.put("userhash", b"true", false)?;
            }
            if matches!(outcome, DigestOutcome::Stale) {
                params.put("stale", b"true", false)?;
            }
            response.headers_mut().append(field, &params.to_field(SCHEME)[..])?;
        }
        response.set_status_and_reason(self.side.status());
        Ok(())
    }

    /// Verifies the credentials of a request. `secret_of` looks up the secret of the user who
    /// is claimed; it is not called where the claim can't be right.
    ///
    /// Fails with [`Malformed`](ErrorKind::Malformed) or
    /// [`Unsupported`](ErrorKind::Unsupported), and the status 400, where the credentials
    /// can't be read or are for another target, and with
    /// [`IllegalState`](ErrorKind::IllegalState) where the client protects content whose hash
    /// is not known: see [`verify_content`](DigestVerifier::verify_content).
    pub fn verify(
        &self,
        request: &Request,
        now: Duration,
        secret_of: impl FnOnce(&DigestAuthorization) -> Option<DigestSecret>,
    ) -> Result<DigestOutcome> {
        self.decide(request, None, now, secret_of)
    }

    /// The same with the hash of the request's content, which is looked at where the client
    /// protects it: [`DigestAuthorization::content_hash_needed`] says so before.
    pub fn verify_content(
        &self,
        request: &Request,
        content: &ContentHash,
        now: Duration,
        secret_of: impl FnOnce(&DigestAuthorization) -> Option<DigestSecret>,
    ) -> Result<DigestOutcome> {
        self.decide(request, Some(content), now, secret_of)
    }

    fn decide(
        &self,
        request: &Request,
        content: Option<&ContentHash>,
        now: Duration,
        secret_of: impl FnOnce(&DigestAuthorization) -> Option<DigestSecret>,
    ) -> Result<DigestOutcome> {
        let claim = match DigestAuthorization::received(request, self.side) {
            Err(error) if error.kind() == ErrorKind::NotAuthenticated => return Ok(DigestOutcome::Denied),
            claim => claim?,
        };
        if !self.accepts(&claim) {
            return Ok(DigestOutcome::Denied);
        }
        if !claim.is_for(request) {
            // RFC 7616, 3.4.6: the credentials may have been taken from another request.
            return Err(Error::malformed("Digest credentials for another target")
                .with_status(StatusCode::BAD_REQUEST));
        }
        if claim.lacks_content(request, content) {
            return Err(Error::illegal_state("the client protects its content, whose hash is not given"));
        }
        let known = secret_of(&claim)
            .filter(|secret| claim.is_user(&secret.username))
            .and_then(|secret| Some((secret.key(claim.algorithm(), &self.realm)?, secret.username)));
        // Without a user the same is computed, so that the time does not tell who exists.
        let key = known.as_ref().map_or(&self.decoy.0, |(key, _)| key);
        let proven = claim.is_proven(key.clone(), request.method().as_str(), content);
        let Some((key, username)) = known.filter(|_| proven) else {
            return Ok(DigestOutcome::Denied);
        };
        if !self.nonces.use_once(claim.nonce(), claim.count(), now) {
            return Ok(DigestOutcome::Stale);
        }
        Ok(DigestOutcome::Granted(DigestGrant { username, key, claim: Box::new(claim), side: self.side }))
    }

    /// Whether these are an answer to one of the challenges. The form of RFC 2069, without
    /// qop, counts nothing and so can't be told from a replay.
    fn accepts(&self, claim: &DigestAuthorization) -> bool {
        let protected = match claim.protection() {
            Some(Qop::Auth) => true,
            Some(Qop::AuthInt) => self.auth_int,
            None => false,
        };
        protected
            && self.algorithms.contains(&claim.algorithm())
            && claim.realm_bytes() == self.realm.as_bytes()
    }
}

/// What a [`DigestVerifier`] says of a request.
///
/// ```
/// use sessile::auth::{DigestOutcome, DigestVerifier};
/// use sessile::message::Request;
/// use std::time::Duration;
///
/// let outcome = DigestVerifier::new("a")?.verify(&Request::get("/"), Duration::ZERO, |_| None)?;
/// let answer = match &outcome {
///     DigestOutcome::Granted(grant) => format!("hello, {}", grant.username()),
///     DigestOutcome::Stale | DigestOutcome::Denied => "a challenge".to_owned(),
/// };
/// assert_eq!(answer, "a challenge");
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub enum DigestOutcome {
    /// The credentials are right.
    Granted(DigestGrant),
    /// They are right but for the nonce, which is too old, was not made here, or was used with
    /// this count before: the client should try again with a new one.
    Stale,
    /// There are none, or they are wrong.
    Denied,
}

impl DigestOutcome {
    /// The grant, if there is one.
    pub fn granted(self) -> Option<DigestGrant> {
        match self {
            DigestOutcome::Granted(grant) => Some(grant),
            DigestOutcome::Stale | DigestOutcome::Denied => None,
        }
    }
}

/// Credentials that were right: who it is, and how to prove to the client that the server
/// knows the password as well.
///
/// ```
/// use sessile::auth::DigestGrant;
/// use sessile::message::Response;
///
/// fn greet(grant: &DigestGrant, response: &mut Response) -> sessile::Result<String> {
///     grant.prove(response, None)?;
///     Ok(format!("hello, {}", grant.username()))
/// }
/// ```
pub struct DigestGrant {
    username: String,
    key: Zeroizing<String>,
    claim: Box<DigestAuthorization>,
    side: Side,
}

impl DigestGrant {
    /// The name of the user.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Sets `Authentication-Info` (for a proxy, `Proxy-Authentication-Info`), by which the
    /// client can check the server (RFC 7616, 3.5).
    ///
    /// With the hash of the response's content, made with the
    /// [algorithm](DigestGrant::algorithm), the content is protected as well.
    pub fn prove(&self, response: &mut Response, content: Option<&ContentHash>) -> Result<()> {
        let algorithm = self.claim.algorithm();
        if content.is_some_and(|content| !content.fits(algorithm)) {
            return Err(Error::invalid_argument("the content's hash is of another algorithm"));
        }
        let qop = if content.is_some() { Qop::AuthInt } else { Qop::Auth };
        let exchange = self.claim.exchange("", None).of_response(Some(qop), content);
        let key = compute::a1(algorithm, self.key.clone(), exchange.nonce, exchange.cnonce);
        let mut params = AuthenticationParams::new();
        params.put("rspauth", exchange.response(&key).as_bytes(), true)?;
        params.put("cnonce", exchange.cnonce, true)?;
        params.put("nc", exchange.nc, false)?;
        params.put("qop", qop.as_str().as_bytes(), false)?;
        response.headers_mut().set(self.side.info_field(), params.to_string())
    }

    /// The algorithm that the client chose.
    pub fn algorithm(&self) -> DigestAlgorithm {
        self.claim.algorithm()
    }
}

impl fmt::Debug for DigestGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestGrant").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

/// What a server knows of a user: the password, or the hash that stands for it.
///
/// ```
/// use sessile::auth::{DigestAlgorithm, DigestSecret};
///
/// let secret = DigestSecret::new("Mufasa", "Circle of Life");
/// // As in a file that htdigest made, without the password.
/// let kept = DigestSecret::hashed("Mufasa", DigestAlgorithm::Md5, "939e7578ed9e3c518a452acee763bce9");
/// # let _ = (secret, kept);
/// ```
pub struct DigestSecret {
    username: String,
    known: Known,
}

enum Known {
    Password(Secret),
    Hash(DigestAlgorithm, Secret),
}

impl DigestSecret {
    /// A user and the password.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> DigestSecret {
        DigestSecret { username: username.into(), known: Known::Password(Secret::new(password)) }
    }

    /// A user and the hash of `user:realm:password` in hexadecimal. It serves for its algorithm
    /// only, with and without session, and for its realm only.
    pub fn hashed(
        username: impl Into<String>,
        algorithm: DigestAlgorithm,
        hash: impl Into<String>,
    ) -> DigestSecret {
        let mut hash = hash.into();
        hash.make_ascii_lowercase();
        DigestSecret { username: username.into(), known: Known::Hash(algorithm, Secret::new(hash)) }
    }

    /// H(user:realm:password), unless it is known for another algorithm only.
    fn key(&self, algorithm: DigestAlgorithm, realm: &str) -> Option<Zeroizing<String>> {
        match &self.known {
            Known::Password(password) => {
                Some(compute::user_key(algorithm, &self.username, realm.as_bytes(), password.as_str()))
            }
            Known::Hash(of, hash) => {
                (of.strength() == algorithm.strength()).then(|| Zeroizing::new(hash.as_str().to_owned()))
            }
        }
    }
}

impl fmt::Debug for DigestSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestSecret").finish_non_exhaustive()
    }
}

struct Decoy(Zeroizing<String>);

impl fmt::Debug for Decoy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::DigestCredentials;

    const NOW: Duration = Duration::from_secs(1000);

    fn verifier() -> DigestVerifier {
        DigestVerifier::new("a \"realm\"").unwrap()
    }

    fn mufasa() -> DigestCredentials {
        DigestCredentials::new("Mufasa", "Circle of Life")
    }

    fn secret_of(claim: &DigestAuthorization) -> Option<DigestSecret> {
        claim.is_user("Mufasa").then(|| DigestSecret::new("Mufasa", "Circle of Life"))
    }

    fn challenge(verifier: &DigestVerifier, outcome: &DigestOutcome) -> Response {
        let mut response = Response::new();
        verifier.challenge(&mut response, NOW, outcome).unwrap();
        response
    }

    /// A request that was answered with a challenge and now has credentials.
    fn answered(verifier: &DigestVerifier, credentials: &mut DigestCredentials) -> Request {
        let mut request = Request::get("/dir/index.html");
        credentials.authenticate(&mut request, &challenge(verifier, &DigestOutcome::Denied)).unwrap();
        request
    }

    /// `G`ranted, `S`tale or `D`enied.
    fn verdict(verifier: &DigestVerifier, request: &Request, now: Duration) -> char {
        match verifier.verify(request, now, secret_of).unwrap() {
            DigestOutcome::Granted(grant) => {
                assert_eq!(grant.username(), "Mufasa");
                'G'
            }
            DigestOutcome::Stale => 'S',
            DigestOutcome::Denied => 'D',
        }
    }

    /// The request with a part of its credentials changed.
    fn changed(request: &Request, from: &str, to: &str) -> Request {
        let value = request.headers().get("Authorization").unwrap();
        assert!(value.contains(from), "{value}");
        let value = value.replace(from, to);
        let mut request = request.clone();
        request.headers_mut().set("Authorization", value).unwrap();
        request
    }

    #[test]
    fn a_challenge_has_a_field_for_each_algorithm() {
        let mut verifier = verifier();
        verifier.set_auth_int(true).set_userhash(true);
        let response = challenge(&verifier, &DigestOutcome::Stale);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let fields: Vec<_> =
            response.headers().get_all("WWW-Authenticate").map(String::from_utf8_lossy).collect();
        assert_eq!(fields.len(), 2);
        for (field, algorithm) in fields.iter().zip(["SHA-256", "MD5"]) {
            let start = format!(
                "Digest realm=\"a \\\"realm\\\"\", qop=\"auth, auth-int\", algorithm={algorithm}, nonce=\""
            );
            assert!(field.starts_with(&start), "{field}");
            assert!(field.ends_with("\", charset=UTF-8, userhash=true, stale=true"), "{field}");
        }
        let response = challenge(&verifier, &DigestOutcome::Denied);
        assert!(!response.headers().get("WWW-Authenticate").unwrap().contains("stale"));
        assert!(DigestVerifier::new("a\nb").is_err());
    }

    #[test]
    fn the_right_user_is_granted_with_every_algorithm_and_protection() {
        for algorithm in ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"] {
            let algorithm: DigestAlgorithm = algorithm.parse().unwrap();
            for (auth_int, userhash) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut verifier = verifier();
                verifier.set_algorithms(&[algorithm]).set_auth_int(auth_int).set_userhash(userhash);
                let mut credentials = mufasa();
                let mut request = answered(&verifier, &mut credentials);
                for _ in 0..3 {
                    assert_eq!(verdict(&verifier, &request, NOW), 'G', "{algorithm}");
                    assert_eq!(verdict(&verifier, &request, NOW), 'S', "a replay");
                    credentials.update_auth_info(&mut request).unwrap();
                }
            }
        }
    }

    #[test]
    fn the_wrong_user_is_denied() {
        let verifier = verifier();
        for (username, password) in [("Mufasa", "circle of life"), ("Simba", "Circle of Life"), ("Scar", "")]
        {
            let request = answered(&verifier, &mut DigestCredentials::new(username, password));
            assert_eq!(verdict(&verifier, &request, NOW), 'D');
        }
        assert_eq!(verdict(&verifier, &Request::get("/"), NOW), 'D');
        let mut basic = Request::get("/");
        basic.headers_mut().set("Authorization", "Basic dTo=").unwrap();
        assert_eq!(verdict(&verifier, &basic, NOW), 'D');
    }

    #[test]
    fn a_secret_serves_its_own_user_only() {
        let verifier = verifier();
        let request = answered(&verifier, &mut DigestCredentials::new("Simba", "Circle of Life"));
        let outcome =
            verifier.verify(&request, NOW, |_| Some(DigestSecret::new("Mufasa", "Circle of Life"))).unwrap();
        assert!(matches!(outcome, DigestOutcome::Denied));
    }

    #[test]
    fn a_kept_hash_serves_for_its_algorithm_only() {
        let verifier = verifier();
        let request = answered(&verifier, &mut mufasa());
        let hash = compute::user_key(DigestAlgorithm::Sha256, "Mufasa", b"a \"realm\"", "Circle of Life");
        let with = |algorithm| {
            let secret = DigestSecret::hashed("Mufasa", algorithm, hash.to_ascii_uppercase());
            assert!(!format!("{secret:?}").contains("Mufasa"));
            verifier.verify(&request, NOW, |_| Some(secret)).unwrap()
        };
        assert!(matches!(with(DigestAlgorithm::Md5), DigestOutcome::Denied));
        assert!(with(DigestAlgorithm::Sha256Sess).granted().is_some());
    }

    #[test]
    fn no_key_that_anybody_could_compute_opens_anything() {
        // Credentials made with an empty key, and with that of an empty password.
        let verifier = verifier();
        let request = answered(&verifier, &mut DigestCredentials::new("Nobody", ""));
        assert_eq!(verdict(&verifier, &request, NOW), 'D');
        let outcome = verifier
            .verify(&request, NOW, |_| Some(DigestSecret::hashed("Nobody", DigestAlgorithm::Sha512_256, "")));
        assert!(matches!(outcome.unwrap(), DigestOutcome::Denied));
    }

    #[test]
    fn a_nonce_that_is_too_old_or_not_from_here_is_stale() {
        let verifier = verifier();
        let mut credentials = mufasa();
        let request = answered(&verifier, &mut credentials);
        assert_eq!(verdict(&verifier, &request, NOW + Duration::from_secs(301)), 'S');
        assert_eq!(verdict(&super::tests::verifier(), &request, NOW), 'S');
        // But with the wrong password it is denied.
        let wrong = answered(&verifier, &mut DigestCredentials::new("Mufasa", "x"));
        assert_eq!(verdict(&verifier, &wrong, NOW + Duration::from_secs(301)), 'D');
        // A client that is told so comes back.
        let mut request = request;
        credentials.authenticate(&mut request, &challenge(&verifier, &DigestOutcome::Stale)).unwrap();
        assert_eq!(verdict(&verifier, &request, NOW), 'G');
    }

    #[test]
    fn times_and_numbers_can_be_set() {
        let mut verifier = verifier();
        verifier.set_nonce_lifetime(Duration::from_secs(1)).set_max_nonces(1);
        let request = answered(&verifier, &mut mufasa());
        assert_eq!(verdict(&verifier, &request, NOW + Duration::from_millis(1001)), 'S');
        assert_eq!(verdict(&verifier, &request, NOW), 'G');
        assert_eq!(
            verdict(&verifier, &answered(&verifier, &mut mufasa()), NOW),
            'G',
            "the first one is forgotten"
        );
        assert_eq!(verdict(&verifier, &request, NOW), 'S');
    }

    #[test]
    fn credentials_for_another_target_or_method_are_not_taken() {
        let verifier = verifier();
        let mut request = answered(&verifier, &mut mufasa());
        request.set_target("/other").unwrap();
        let error = verifier.verify(&request, NOW, secret_of).unwrap_err();
        assert_eq!(error.status_hint(), Some(StatusCode::BAD_REQUEST));
        let moved = changed(&request, "/dir/index.html", "/other");
        assert_eq!(verdict(&verifier, &moved, NOW), 'D');
        let mut request = answered(&verifier, &mut mufasa());
        request.set_method(crate::message::Method::DELETE);
        assert_eq!(verdict(&verifier, &request, NOW), 'D');
    }

    #[test]
    fn what_was_not_offered_is_denied() {
        let verifier = verifier();
        let request = answered(&verifier, &mut mufasa());
        for (from, to) in [
            ("algorithm=SHA-256", "algorithm=SHA-512-256"),
            ("qop=auth", "qop=auth-int"),
            ("realm=\"a ", "realm=\"b "),
            // The older form, which counts nothing.
            ("qop=auth", "x=y"),
        ] {
            assert_eq!(verdict(&verifier, &changed(&request, from, to), NOW), 'D', "{to}");
        }
        let error = verifier.verify(&changed(&request, "nc=", "nc=x"), NOW, secret_of).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed);
    }

    #[test]
    fn every_part_of_the_credentials_is_proven() {
        let verifier = verifier();
        let request = answered(&verifier, &mut mufasa());
        for (from, to) in
            [("nc=00000001", "nc=00000002"), ("cnonce=\"", "cnonce=\"x"), ("nonce=\"", "nonce=\"x")]
        {
            assert_eq!(verdict(&verifier, &changed(&request, from, to), NOW), 'D', "{to}");
        }
        assert_eq!(verdict(&verifier, &request, NOW), 'G', "the forgeries have used nothing up");
    }

    #[test]
    fn protected_content_must_be_the_content() {
        let mut verifier = verifier();
        verifier.set_auth_int(true);
        let mut credentials = mufasa();
        let hash = |content: &[u8]| DigestAlgorithm::Sha256.hash_content(content);
        let mut request = Request::post("/");
        request.set_content_length(5);
        credentials.set_content_hash(hash(b"hello"));
        credentials.authenticate(&mut request, &challenge(&verifier, &DigestOutcome::Denied)).unwrap();
        let claim = DigestAuthorization::from_request(&request).unwrap();
        assert_eq!(claim.content_hash_needed(), Some(DigestAlgorithm::Sha256));

        assert_eq!(verifier.verify(&request, NOW, secret_of).unwrap_err().kind(), ErrorKind::IllegalState);
        let of_another = DigestAlgorithm::Md5.hash_content(b"hello");
        assert!(verifier.verify_content(&request, &of_another, NOW, secret_of).is_err());
        let wrong = verifier.verify_content(&request, &hash(b"jello"), NOW, secret_of).unwrap();
        assert!(matches!(wrong, DigestOutcome::Denied));
        assert!(
            verifier.verify_content(&request, &hash(b"hello"), NOW, secret_of).unwrap().granted().is_some()
        );
    }

    #[test]
    fn client_and_server_prove_themselves_to_each_other() {
        for algorithm in [DigestAlgorithm::Md5, DigestAlgorithm::Sha256Sess, DigestAlgorithm::Sha512_256] {
            let mut verifier = verifier();
            verifier.set_algorithms(&[algorithm]);
            let mut credentials = mufasa();
            let request = answered(&verifier, &mut credentials);
            let grant = verifier.verify(&request, NOW, secret_of).unwrap().granted().unwrap();
            assert!(!format!("{grant:?}").contains("Mufasa"));
            let content = algorithm.hash_content(b"answer");
            let mut response = Response::new();
            grant.prove(&mut response, None).unwrap();
            assert!(credentials.check_auth_info(&request, &response, None).unwrap());
            grant.prove(&mut response, Some(&content)).unwrap();
            assert!(credentials.check_auth_info(&request, &response, Some(&content)).unwrap());
            let other = algorithm.hash_content(b"other");
            assert!(credentials.check_auth_info(&request, &response, Some(&other)).is_err());
        }
        let verifier = verifier();
        let request = answered(&verifier, &mut mufasa());
        let grant = verifier.verify(&request, NOW, secret_of).unwrap().granted().unwrap();
        let of_another = DigestAlgorithm::Md5.hash_content(b"");
        assert!(grant.prove(&mut Response::new(), Some(&of_another)).is_err());
    }

    #[test]
    fn a_proxy_has_its_own_status_and_fields() {
        let verifier = DigestVerifier::new("p").unwrap().for_proxy();
        let mut response = challenge(&verifier, &DigestOutcome::Denied);
        assert_eq!(response.status(), StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        let mut request = Request::get("http://a/b");
        mufasa().proxy_authenticate(&mut request, &response).unwrap();
        assert!(DigestAuthorization::from_proxy_request(&request).is_ok());
        let grant = verifier.verify(&request, NOW, secret_of).unwrap().granted().unwrap();
        grant.prove(&mut response, None).unwrap();
        assert!(response.headers().has("Proxy-Authentication-Info"));
    }

    #[test]
    fn one_verifier_serves_many_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&verifier());
        assert!(!format!("{:?}", verifier()).contains("key"));
    }
}
