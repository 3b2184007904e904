//! What challenges have set up, and credentials made from it (RFC 7616, sections 3.4 and 3.5).
//!
//! One engine holds a nonce and its count for the origin server and for a proxy. The user's
//! name and password are given to it with each call; it keeps their hash, and wipes it.

use zeroize::Zeroizing;

use super::algorithm::{ContentHash, DigestAlgorithm, hex};
use super::authorization::DigestAuthorization;
use super::compute::{self, Exchange, Qop};
use super::terms::Terms;
use super::{SCHEME, has_content};
use crate::auth::Side;
use crate::auth::challenge::parse;
use crate::auth::params::AuthenticationParams;
use crate::auth::secret::{Login, constant_time_eq};
use crate::message::{HeaderMap, Request};
use crate::{Error, ErrorKind, Result, random};

/// What the challenges of the origin server and of a proxy have set up.
#[derive(Default)]
pub(crate) struct Engine {
    origin: Option<Protection>,
    proxy: Option<Protection>,
    content: Option<ContentHash>,
}

impl Engine {
    /// Takes the challenge and sets the credentials, unless the request had them already.
    pub(crate) fn answer(
        &mut self,
        side: Side,
        login: &Login,
        challenge: &AuthenticationParams,
        request: &mut Request,
    ) -> Result<()> {
        if self.is_refusal(side, challenge, request.headers()) {
            return Err(Error::new(ErrorKind::NotAuthenticated, "user name or password were refused"));
        }
        self.accept(side, login, challenge)?;
        self.apply(side, login, request)
    }

    /// Takes the challenge.
    pub(crate) fn accept(
        &mut self,
        side: Side,
        login: &Login,
        challenge: &AuthenticationParams,
    ) -> Result<()> {
        self.accept_with(side, login, challenge, create_nonce()?)
    }

    /// Sets the credentials by the last challenge.
    pub(crate) fn apply(&mut self, side: Side, login: &Login, request: &mut Request) -> Result<()> {
        let content = self.content.take();
        let Some(protection) = self.get_mut(side) else {
            return Err(Error::illegal_state("no Digest challenge was received yet"));
        };
        let value = protection.credentials(login, request, content)?;
        request.headers_mut().set(side.credentials_field(), &value[..])
    }

    /// Whether a challenge was taken.
    pub(crate) fn is_ready(&self, side: Side) -> bool {
        self.get(side).is_some()
    }

    pub(crate) fn content_hash_needed(&self, side: Side) -> Option<DigestAlgorithm> {
        let terms = &self.get(side)?.terms;
        (terms.offers(Qop::AuthInt) && !terms.offers(Qop::Auth)).then_some(terms.algorithm)
    }

    pub(super) fn domain(&self, side: Side) -> &[String] {
        self.get(side).map_or(&[], |protection| &protection.domain)
    }

    pub(crate) fn set_content_hash(&mut self, content: ContentHash) {
        self.content = Some(content);
    }

    /// Checks `Authentication-Info` (RFC 7616, 3.5).
    pub(crate) fn check(
        &mut self,
        side: Side,
        sent: &HeaderMap,
        received: &HeaderMap,
        content: Option<&ContentHash>,
    ) -> Result<bool> {
        let (Some(protection), Some(sent)) = (self.get_mut(side), sent_params(sent, side)) else {
            return Ok(false);
        };
        let Some(info) = received.get_bytes(side.info_field()) else {
            return Ok(false);
        };
        let info = AuthenticationParams::parse(info)?;
        let proven = protection.check(&DigestAuthorization::from_params(&sent)?, &info, content)?;
        if let Some(nonce) = info.get_bytes("nextnonce") {
            protection.renew(nonce);
        }
        Ok(proven)
    }

    pub(super) fn accept_with(
        &mut self,
        side: Side,
        login: &Login,
        challenge: &AuthenticationParams,
        cnonce: String,
    ) -> Result<()> {
        let terms = Terms::read(challenge)?;
        let place = match side {
            Side::Origin => &mut self.origin,
            Side::Proxy => &mut self.proxy,
        };
        // A server may ask again with the same nonce: its count goes on.
        if place.as_ref().is_some_and(|known| known.terms == terms) {
            return Ok(());
        }
        let key = compute::user_key(
            terms.algorithm,
            login.username.as_str(),
            &terms.realm,
            login.password.as_str(),
        );
        *place = Some(Protection {
            key: compute::a1(terms.algorithm, key, &terms.nonce, cnonce.as_bytes()),
            nonce: terms.nonce.clone(),
            cnonce,
            count: 0,
            domain: super::terms::domain(challenge),
            terms,
        });
        Ok(())
    }

    /// Whether the challenge answers credentials that the request has, and not because of an
    /// old nonce only. A nonce that served before may be too old also where nobody says so.
    fn is_refusal(&self, side: Side, challenge: &AuthenticationParams, sent: &HeaderMap) -> bool {
        let (Some(protection), Some(sent)) = (self.get(side), sent_params(sent, side)) else {
            return false;
        };
        let nonce = sent.get_bytes("nonce");
        let stale = challenge.get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
        let same_nonce = nonce == challenge.get_bytes("nonce");
        let first_use = sent.get("nc").is_none_or(|nc| nc == "00000001");
        nonce == Some(&protection.nonce[..])
            && sent.get_bytes("realm") == challenge.get_bytes("realm")
            && !stale
            && (same_nonce || first_use)
    }

    fn get(&self, side: Side) -> Option<&Protection> {
        match side {
            Side::Origin => self.origin.as_ref(),
            Side::Proxy => self.proxy.as_ref(),
        }
    }

    fn get_mut(&mut self, side: Side) -> Option<&mut Protection> {
        match side {
            Side::Origin => self.origin.as_mut(),
            Side::Proxy => self.proxy.as_mut(),
        }
    }
}

/// What a challenge and a password give: enough for any number of requests.
struct Protection {
    terms: Terms,
    domain: Vec<String>,
    /// H(A1). For a session it stays when the server gives the next nonce (RFC 7616, 3.4.2).
    key: Zeroizing<String>,
    /// The challenge's nonce, or the next one.
    nonce: Vec<u8>,
    cnonce: String,
    count: u32,
}

impl Protection {
    /// The field value for one request.
    fn credentials(
        &mut self,
        login: &Login,
        request: &Request,
        content: Option<ContentHash>,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let algorithm = self.terms.algorithm;
        let content = content.filter(|content| content.fits(algorithm));
        let qop = self.qop(request, content.is_some())?;
        self.count = self.count.checked_add(1).ok_or_else(|| Error::illegal_state("the nonce is used up"))?;
        let nc = format!("{:08x}", self.count);
        let exchange = Exchange {
            algorithm,
            nonce: &self.nonce,
            cnonce: self.cnonce.as_bytes(),
            nc: nc.as_bytes(),
            qop,
            method: request.method().as_str(),
            uri: request.target().as_bytes(),
            content: content.as_ref(),
        };
        let response = exchange.response(&self.key);

        let mut params = AuthenticationParams::new();
        self.put_username(&mut params, login.username.as_str())?;
        params.put("realm", &self.terms.realm, true)?;
        params.put("uri", exchange.uri, true)?;
        if let Some(name) = &self.terms.algorithm_name {
            params.put("algorithm", name.as_bytes(), false)?;
        }
        params.put("nonce", &self.nonce, true)?;
        if let Some(qop) = qop {
            params.put("nc", exchange.nc, false)?;
            params.put("qop", qop.as_str().as_bytes(), false)?;
        }
        if qop.is_some() || algorithm.is_session() {
            params.put("cnonce", exchange.cnonce, true)?;
        }
        params.put("response", response.as_bytes(), true)?;
        if let Some(opaque) = &self.terms.opaque {
            params.put("opaque", opaque, true)?;
        }
        if self.terms.userhash {
            params.put("userhash", b"true", false)?;
        }
        Ok(params.to_field(SCHEME))
    }

    /// The content is protected where the caller gave its hash and where the server insists.
    fn qop(&self, request: &Request, hashed: bool) -> Result<Option<Qop>> {
        let terms = &self.terms;
        if terms.qop.is_empty() {
            return Ok(None);
        }
        if terms.offers(Qop::AuthInt) && hashed {
            return Ok(Some(Qop::AuthInt));
        }
        if terms.offers(Qop::Auth) {
            return Ok(Some(Qop::Auth));
        }
        if has_content(request) {
            return Err(Error::illegal_state("the server wants the content protected: its hash is not set"));
        }
        Ok(Some(Qop::AuthInt))
    }

    /// The name as it is, as its hash, or in the form for other characters than ASCII
    /// (RFC 7616, 3.4 and 3.4.4).
    fn put_username(&self, params: &mut AuthenticationParams, username: &str) -> Result<()> {
        if username.contains(char::is_control) {
            return Err(Error::invalid_argument("a user name must not have control characters"));
        }
        if self.terms.userhash {
            let hash = compute::userhash(self.terms.algorithm, username, &self.terms.realm);
            return params.put("username", hash.as_bytes(), true);
        }
        if username.is_ascii() {
            return params.put("username", username.as_bytes(), true);
        }
        let mut extended = Zeroizing::new(String::with_capacity(7 + 3 * username.len()));
        extended.push_str("UTF-8''");
        extended.extend(percent_encoding::utf8_percent_encode(username, NO_ATTR_CHAR));
        params.put("username*", extended.as_bytes(), false)
    }

    /// Whether `rspauth` proves that the server knows the password.
    fn check(
        &self,
        sent: &DigestAuthorization,
        info: &AuthenticationParams,
        content: Option<&ContentHash>,
    ) -> Result<bool> {
        let Some(rspauth) = info.get_bytes("rspauth") else {
            return Ok(false);
        };
        let exchange = sent.exchange("", None);
        let of_another =
            |name: &str, expected: &[u8]| info.get_bytes(name).is_some_and(|value| value != expected);
        if of_another("cnonce", exchange.cnonce) || of_another("nc", exchange.nc) {
            return Err(Error::new(ErrorKind::NotAuthenticated, "Authentication-Info is of another request"));
        }
        // The answer to a challenge before this one.
        if sent.algorithm() != self.terms.algorithm
            || sent.realm_bytes() != self.terms.realm
            || exchange.qop.is_some() && exchange.cnonce != self.cnonce.as_bytes()
        {
            return Ok(false);
        }
        let qop = match info.get_bytes("qop") {
            Some(name) => Qop::parse(name),
            None => exchange.qop,
        };
        let content = content.filter(|content| content.fits(sent.algorithm()));
        if qop == Some(Qop::AuthInt) && content.is_none() {
            return Ok(false);
        }
        let expected = exchange.of_response(qop, content).response(&self.key);
        if constant_time_eq(expected.as_bytes(), rspauth) {
            return Ok(true);
        }
        Err(Error::new(ErrorKind::NotAuthenticated, "the server does not prove that it knows the password"))
    }

    /// Goes on with the nonce that the server gave for the next request.
    fn renew(&mut self, nonce: &[u8]) {
        if self.nonce != nonce {
            self.nonce = nonce.to_owned();
            self.count = 0;
        }
    }
}

/// A text that nobody can foretell: 128 random bits in hexadecimal.
pub(super) fn create_nonce() -> Result<String> {
    let mut bytes = [0; 16];
    random::fill(&mut bytes)?;
    Ok(String::clone(&hex(&bytes)))
}

/// The Digest credentials among the fields that were sent.
fn sent_params(sent: &HeaderMap, side: Side) -> Option<AuthenticationParams> {
    let credentials = parse(sent.get_bytes(side.credentials_field())?).ok()?.pop()?;
    credentials.is(SCHEME).then(|| credentials.into_params())
}

/// All but the attr-char of RFC 8187.
const NO_ATTR_CHAR: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::DigestCredentials;
    use crate::message::Response;

    fn params(value: &str) -> AuthenticationParams {
        AuthenticationParams::from_auth_info(value).unwrap()
    }

    /// What is sent for a challenge, with this cnonce.
    fn answer(
        credentials: &mut DigestCredentials,
        request: &mut Request,
        challenge: &str,
        cnonce: &str,
    ) -> Result<AuthenticationParams> {
        let DigestCredentials { login, engine } = credentials;
        engine.accept_with(Side::Origin, login, &params(challenge), cnonce.to_owned())?;
        credentials.update_auth_info(request)?;
        AuthenticationParams::from_request(request)
    }

    fn mufasa() -> DigestCredentials {
        DigestCredentials::new("Mufasa", "Circle of Life")
    }

    const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    const EXAMPLE: &str = "realm=\"http-auth@example.org\", qop=\"auth, auth-int\", \
        nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
        opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    #[test]
    fn the_first_example_of_the_rfc_comes_out() {
        // RFC 7616, 3.9.1.
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let mut request = Request::get("/dir/index.html");
            let challenge = format!("{EXAMPLE}, algorithm={algorithm}");
            let sent = answer(&mut mufasa(), &mut request, &challenge, CNONCE).unwrap();
            assert_eq!(sent.get("response"), Some(expected));
            assert_eq!(
                request.headers().get("Authorization").unwrap(),
                format!(
                    "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
                     algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", \
                     nc=00000001, qop=auth, cnonce=\"{CNONCE}\", response=\"{expected}\", \
                     opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
                )
            );
        }
    }

    #[test]
    fn the_second_example_of_the_rfc_comes_out_with_its_erratum() {
        // RFC 7616, 3.9.2, with the values of erratum 4897.
        let mut credentials = DigestCredentials::new("Jäsøn Doe", "Secret, or not?");
        let challenge = "realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, \
            nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", \
            opaque=\"HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS\", charset=UTF-8, userhash=true";
        let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v";
        let sent = answer(&mut credentials, &mut Request::get("/doe.json"), challenge, cnonce).unwrap();
        assert_eq!(
            sent.get("username"),
            Some("793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b")
        );
        assert_eq!(
            sent.get("response"),
            Some("3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5")
        );
        assert_eq!(sent.get("userhash"), Some("true"));
    }

    #[test]
    fn every_algorithm_comes_out_with_every_protection() {
        // Computed apart from this crate, with Python's hashlib.
        for (algorithm, auth, auth_int) in [
            ("MD5", "6f31d8ff6361bb27783b6ac62b999535", "23fef4d928a3e9fa6e0b0de51288c997"),
            ("MD5-sess", "9e3465d402d672d7b3c6a659201e5672", "1f00ae1cf4fdcb90e9cfc3b1e22118b7"),
            (
                "SHA-256",
                "b85bfcaae378db6f6d75b1706062ac3d66fec2dd3d0082d77885522866488dac",
                "c98b95dbdb463c4483e324bced57d591946a6f84098142757b1333c52c47d62e",
            ),
            (
                "SHA-256-sess",
                "0e658dc13b25b342e9281bdff874ea276afc02b18423b0b6e6d4db12ef338586",
                "b097196f9caf274775b76c5e5ad2221bdf75111e71e6598a385b951f12032e65",
            ),
            (
                "SHA-512-256",
                "bd4311c37b3890a2df44699789473e744efafb31f8d789781eac66741224f782",
                "94b85dbcbbb97c3bda2751c7e160fe6604eccca585f3cbff75d2a23f0085ed70",
            ),
            (
                "sha-512-256-SESS",
                "6a367200f8f86e5ed33f8efa29ba094aa97a9c411b3a57823e11563a89748060",
                "6188aa2d1c4d7adbdd32cdee6db3f0f8c107c0e7a45887aecb01647b05eda860",
            ),
        ] {
            let challenge = format!("{EXAMPLE}, algorithm={algorithm}");
            let mut request = Request::post("/dir/index.html");
            let sent = answer(&mut mufasa(), &mut request, &challenge, CNONCE).unwrap();
            assert_eq!((sent.get("qop"), sent.get("response")), (Some("auth"), Some(auth)), "{algorithm}");
            assert_eq!(sent.get("algorithm"), Some(algorithm), "as the server spells it");

            let mut credentials = mufasa();
            let known: DigestAlgorithm = algorithm.parse().unwrap();
            credentials.set_content_hash(known.hash_content(b"hello"));
            let sent = answer(&mut credentials, &mut request, &challenge, CNONCE).unwrap();
            assert_eq!(
                (sent.get("qop"), sent.get("response")),
                (Some("auth-int"), Some(auth_int)),
                "{algorithm}"
            );
            // The next request has other content, whose hash is not known.
            credentials.update_auth_info(&mut request).unwrap();
            assert_eq!(AuthenticationParams::from_request(&request).unwrap().get("qop"), Some("auth"));
        }
    }

    #[test]
    fn without_qop_the_form_is_that_of_rfc_2069_with_the_algorithm_named() {
        let mut request = Request::get("/dir/index.html");
        let challenge = "realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let mut credentials = DigestCredentials::new("Mufasa", "CircleOfLife");
        let sent = answer(&mut credentials, &mut request, challenge, "c").unwrap();
        assert_eq!(sent.get("response"), Some("1949323746fe6a43ef61f9606e7febea"));
        for absent in ["qop", "nc", "cnonce", "algorithm", "opaque", "userhash"] {
            assert!(!sent.has(absent), "{absent}");
        }
        let challenge = format!("{challenge}, algorithm=SHA-256");
        let sent = answer(&mut credentials, &mut request, &challenge, "c").unwrap();
        assert_eq!(sent.get("response").unwrap().len(), 64);
    }

    #[test]
    fn a_nonce_that_is_used_up_is_an_error() {
        let mut credentials = mufasa();
        let mut request = Request::get("/");
        answer(&mut credentials, &mut request, EXAMPLE, "c").unwrap();
        credentials.engine.origin.as_mut().unwrap().count = u32::MAX - 1;
        credentials.update_auth_info(&mut request).unwrap();
        assert!(request.headers().get("Authorization").unwrap().contains("nc=ffffffff"));
        assert_eq!(credentials.update_auth_info(&mut request).unwrap_err().kind(), ErrorKind::IllegalState);
    }

    #[test]
    fn a_clone_starts_without_a_challenge() {
        let mut credentials = mufasa();
        answer(&mut credentials, &mut Request::get("/"), EXAMPLE, "c").unwrap();
        let mut clone = credentials.clone();
        assert_eq!((clone.username(), clone.password()), ("Mufasa", "Circle of Life"));
        assert!(clone.update_auth_info(&mut Request::get("/")).is_err());
    }

    #[test]
    fn the_server_s_insistence_on_content_is_met_or_an_error() {
        let challenge = "realm=r, nonce=n, qop=\"auth-int\", algorithm=SHA-256";
        let mut credentials = mufasa();
        assert_eq!(credentials.content_hash_needed(), None);
        // Without content there is nothing to be given.
        let sent = answer(&mut credentials, &mut Request::get("/"), challenge, "c").unwrap();
        assert_eq!(sent.get("qop"), Some("auth-int"));
        let mut request = Request::post("/");
        request.set_chunked(true);
        assert_eq!(credentials.update_auth_info(&mut request).unwrap_err().kind(), ErrorKind::IllegalState);
        assert_eq!(credentials.content_hash_needed(), Some(DigestAlgorithm::Sha256));
        // The hash of another algorithm is none.
        credentials.set_content_hash(DigestAlgorithm::Md5.hash_content(b"x"));
        assert!(credentials.update_auth_info(&mut request).is_err());
        credentials.set_content_hash(DigestAlgorithm::Sha256.hash_content(b"x"));
        credentials.update_auth_info(&mut request).unwrap();
    }

    #[test]
    fn names_and_realms_are_quoted_and_escaped() {
        let mut credentials = DigestCredentials::new("DOMAIN\\a \"b\"", "p");
        let mut request = Request::get("/?a=\"b\"");
        answer(&mut credentials, &mut request, "realm=\"a\\\\\\\"b\", nonce=n", "c").unwrap();
        let value = request.headers().get("Authorization").unwrap();
        assert!(value.starts_with(
            "Digest username=\"DOMAIN\\\\a \\\"b\\\"\", realm=\"a\\\\\\\"b\", uri=\"/?a=\\\"b\\\"\""
        ));
        assert!(credentials.verify_auth_info(&request).unwrap());
    }

    #[test]
    fn a_name_that_is_not_ascii_is_extended() {
        let mut credentials = DigestCredentials::new("Jäsøn Doe'*%", "p");
        let mut request = Request::get("/");
        let sent = answer(&mut credentials, &mut request, "realm=r, nonce=n", "c").unwrap();
        assert_eq!(sent.get("username*"), Some("UTF-8''J%C3%A4s%C3%B8n%20Doe%27%2A%25"));
        assert!(!sent.has("username"));
        assert!(credentials.verify_auth_info(&request).unwrap());
    }

    #[test]
    fn a_name_with_control_characters_is_refused() {
        for name in ["a\r\nb", "a\0", "ä\u{85}"] {
            let mut credentials = DigestCredentials::new(name, "p");
            let mut request = Request::get("/");
            let error = answer(&mut credentials, &mut request, "realm=r, nonce=n", "c").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(!request.headers().has("Authorization"));
        }
    }

    #[test]
    fn the_domain_is_a_list_of_uris() {
        let mut credentials = mufasa();
        assert!(credentials.domain().is_empty());
        let challenge = "realm=r, nonce=n, domain=\" /a  http://b/c \"";
        answer(&mut credentials, &mut Request::get("/"), challenge, "c").unwrap();
        assert_eq!(credentials.domain(), ["/a", "http://b/c"]);
    }

    /// A request that was answered with these parameters of `Authentication-Info`.
    fn checked(credentials: &mut DigestCredentials, info: &str, content: Option<&[u8]>) -> Result<bool> {
        let mut request = Request::get("/dir/index.html");
        answer(credentials, &mut request, &format!("{EXAMPLE}, algorithm=SHA-256"), CNONCE)?;
        let mut response = Response::new();
        response.headers_mut().set("Authentication-Info", info)?;
        let content = content.map(|content| DigestAlgorithm::Sha256.hash_content(content));
        credentials.check_auth_info(&request, &response, content.as_ref())
    }

    // Computed apart from this crate, for nc=00000001.
    const RSPAUTH: &str = "86d3b25618d41854ca5039a5d7e53ff6355d5134a9b1fb088a78ac3c462195a0";
    const RSPAUTH_INT: &str = "321792e3b6d15d49cb353cdc72f9cb50758a6673121eaeac0d7c912dae40bc19";

    #[test]
    fn the_server_s_proof_is_checked() {
        let good = format!("rspauth=\"{RSPAUTH}\", cnonce=\"{CNONCE}\", nc=00000001, qop=auth");
        assert!(checked(&mut mufasa(), &good, None).unwrap());
        assert!(checked(&mut mufasa(), &format!("rspauth=\"{RSPAUTH}\""), None).unwrap());
        for bad in [
            good.replace(RSPAUTH, &RSPAUTH.replace('a', "b")),
            good.replace("nc=00000001", "nc=00000002"),
            good.replace(CNONCE, "x"),
            "rspauth=\"\"".to_owned(),
            format!("rspauth=\"{RSPAUTH_INT}\", qop=auth"),
        ] {
            assert_eq!(
                checked(&mut mufasa(), &bad, None).unwrap_err().kind(),
                ErrorKind::NotAuthenticated,
                "{bad}"
            );
        }
        assert_eq!(checked(&mut mufasa(), "rspauth", None).unwrap_err().kind(), ErrorKind::Malformed);
    }

    #[test]
    fn the_server_s_proof_of_its_content_needs_the_content() {
        let info = format!("rspauth=\"{RSPAUTH_INT}\", cnonce=\"{CNONCE}\", nc=00000001, qop=auth-int");
        assert!(checked(&mut mufasa(), &info, Some(b"hello")).unwrap());
        assert!(checked(&mut mufasa(), &info, Some(b"other")).is_err());
        assert!(!checked(&mut mufasa(), &info, None).unwrap());
    }

    #[test]
    fn without_a_proof_nothing_is_checked() {
        let mut credentials = mufasa();
        assert!(!checked(&mut credentials, "", None).unwrap());
        let (request, response) = (Request::get("/"), Response::new());
        assert!(!mufasa().check_auth_info(&request, &response, None).unwrap());
        assert!(!credentials.check_auth_info(&request, &response, None).unwrap());
        // Of credentials that belong to an older challenge.
        let mut request = Request::get("/");
        answer(&mut credentials, &mut request, "realm=r, nonce=n, qop=\"auth\"", "c").unwrap();
        answer(&mut credentials, &mut Request::get("/"), "realm=s, nonce=n, qop=\"auth\"", "d").unwrap();
        let mut response = Response::new();
        response.headers_mut().set("Authentication-Info", "rspauth=\"x\"").unwrap();
        assert!(!credentials.check_auth_info(&request, &response, None).unwrap());
    }

    #[test]
    fn the_next_nonce_is_taken_unless_the_proof_is_wrong() {
        let mut credentials = mufasa();
        let mut next = Request::get("/");
        assert!(checked(&mut credentials, "nextnonce=\"new\", rspauth=\"x\"", None).is_err());
        credentials.update_auth_info(&mut next).unwrap();
        assert!(next.headers().get("Authorization").unwrap().contains("nc=00000002"));

        let mut credentials = mufasa();
        assert!(!checked(&mut credentials, "nextnonce=\"new\"", None).unwrap());
        credentials.update_auth_info(&mut next).unwrap();
        let value = next.headers().get("Authorization").unwrap();
        assert!(value.contains("nonce=\"new\", nc=00000001"), "{value}");
    }

    #[test]
    fn a_session_s_key_stays_when_the_nonce_changes() {
        let mut credentials = mufasa();
        let mut request = Request::get("/");
        answer(&mut credentials, &mut request, "realm=r, nonce=n, qop=\"auth\", algorithm=MD5-sess", "c")
            .unwrap();
        let key =
            |credentials: &DigestCredentials| credentials.engine.origin.as_ref().unwrap().key.to_string();
        let before = key(&credentials);
        let mut response = Response::new();
        response.headers_mut().set("Authentication-Info", "nextnonce=\"m\"").unwrap();
        credentials.check_auth_info(&request, &response, None).unwrap();
        credentials.update_auth_info(&mut request).unwrap();
        assert_eq!(key(&credentials), before);
    }

    #[test]
    fn a_request_of_the_user_is_recognized() {
        let mut request = Request::get("/dir/index.html");
        answer(&mut mufasa(), &mut request, EXAMPLE, CNONCE).unwrap();
        let params = AuthenticationParams::from_request(&request).unwrap();
        assert!(mufasa().verify_auth_info(&request).unwrap());
        assert!(mufasa().verify_auth_params(&request, &params).unwrap());
        for (username, password) in [("Mufasa", "Circle of life"), ("Simba", "Circle of Life"), ("", "")] {
            assert!(!DigestCredentials::new(username, password).verify_auth_info(&request).unwrap());
        }
        request.set_target("/other").unwrap();
        assert!(!mufasa().verify_auth_info(&request).unwrap());
        assert!(mufasa().verify_auth_info(&Request::get("/")).is_err());
    }
}
