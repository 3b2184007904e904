//! The Basic scheme (RFC 7617): user name and password in base64, in UTF-8.
//!
//! It hides nothing: who sees the request sees the password. Whether it may be used on this
//! connection is the caller's decision.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::Side;
use super::challenge;
use super::params::AuthenticationParams;
use super::secret::{Login, Secret, constant_time_eq};
use crate::message::{Request, StatusCode};
use crate::{Error, ErrorKind, Result};

/// A user name and a password for the Basic scheme, on either side.
///
/// ```
/// use sessile::auth::BasicCredentials;
/// use sessile::message::Request;
///
/// // A client:
/// let mut request = Request::default();
/// BasicCredentials::new("Aladdin", "open sesame").authenticate(&mut request)?;
/// assert_eq!(request.headers().get("Authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
///
/// // A server:
/// let credentials = BasicCredentials::from_request(&request)?;
/// assert!(credentials.verify("Aladdin", "open sesame"));
/// assert!(!credentials.verify("Aladdin", "sesame"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, Default)]
#[doc(alias = "HTTPBasicCredentials")]
pub struct BasicCredentials {
    login: Login,
}

impl BasicCredentials {
    /// The name of the scheme.
    pub const SCHEME: &'static str = "Basic";

    /// Credentials of this user. Whether they can be sent is checked by
    /// [`authenticate`](BasicCredentials::authenticate).
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> BasicCredentials {
        BasicCredentials { login: Login::new(username, password) }
    }

    /// The credentials in the request's `Authorization`.
    ///
    /// Fails with [`NotAuthenticated`](ErrorKind::NotAuthenticated) where there are none, or
    /// of another scheme, and with [`Malformed`](ErrorKind::Malformed) where they are not
    /// base64, not UTF-8, or have no colon.
    pub fn from_request(request: &Request) -> Result<BasicCredentials> {
        BasicCredentials::received(request, Side::Origin)
    }

    /// The same of `Proxy-Authorization`.
    pub fn from_proxy_request(request: &Request) -> Result<BasicCredentials> {
        BasicCredentials::received(request, Side::Proxy)
    }

    /// The credentials in what stands behind the scheme: `user:password` in base64, split at
    /// the first colon.
    #[doc(alias = "parseAuthInfo")]
    pub fn from_auth_info(info: &str) -> Result<BasicCredentials> {
        let malformed = |why| Err(Error::malformed(why));
        let mut decoded = Zeroizing::new(Vec::with_capacity(info.len()));
        if BASE64.decode_vec(info, &mut decoded).is_err() {
            return malformed("Basic credentials that are not base64");
        }
        let Ok(text) = std::str::from_utf8(&decoded) else {
            return malformed("Basic credentials that are not UTF-8");
        };
        if !text.contains(':') {
            return malformed("Basic credentials without a colon");
        }
        Ok(BasicCredentials { login: Login::split(text) })
    }

    /// The user's name.
    #[doc(alias = "getUsername")]
    pub fn username(&self) -> &str {
        self.login.username.as_str()
    }

    /// Sets the user's name.
    #[doc(alias = "setUsername")]
    pub fn set_username(&mut self, username: impl Into<String>) {
        self.login.username = Secret::new(username);
    }

    /// The password.
    #[doc(alias = "getPassword")]
    pub fn password(&self) -> &str {
        self.login.password.as_str()
    }

    /// Sets the password.
    #[doc(alias = "setPassword")]
    pub fn set_password(&mut self, password: impl Into<String>) {
        self.login.password = Secret::new(password);
    }

    /// Forgets and wipes both.
    pub fn clear(&mut self) {
        self.login = Login::default();
    }

    /// Whether both are empty.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.login.is_empty()
    }

    /// Sets `Authorization`. Without a user name it does nothing.
    ///
    /// Fails with [`InvalidArgument`](ErrorKind::InvalidArgument) when the user name has a
    /// colon, which would be read as the end of it, or either holds control characters.
    pub fn authenticate(&self, request: &mut Request) -> Result<()> {
        apply(&self.login, request, Side::Origin).map(|_| ())
    }

    /// Sets `Proxy-Authorization`: see [`authenticate`](BasicCredentials::authenticate).
    #[doc(alias = "proxyAuthenticate")]
    pub fn proxy_authenticate(&self, request: &mut Request) -> Result<()> {
        apply(&self.login, request, Side::Proxy).map(|_| ())
    }

    /// Whether these are the name and the password expected, in a time that depends neither
    /// on where they differ nor on how long the expected ones are.
    #[must_use]
    pub fn verify(&self, username: &str, password: &str) -> bool {
        // Both always, so that the time does not tell which one was wrong.
        constant_time_eq(username.as_bytes(), self.login.username.as_bytes())
            & constant_time_eq(password.as_bytes(), self.login.password.as_bytes())
    }

    /// The value of `WWW-Authenticate` with which a server asks for such credentials.
    ///
    /// Fails with [`InvalidArgument`](ErrorKind::InvalidArgument) on control characters.
    pub fn challenge(realm: &str) -> Result<String> {
        let mut params = AuthenticationParams::new();
        params.set_realm(realm)?;
        params.put("charset", b"UTF-8", true)?;
        Ok(format!("{} {params}", BasicCredentials::SCHEME))
    }

    fn received(request: &Request, side: Side) -> Result<BasicCredentials> {
        let credentials = challenge::credentials(request, side, BasicCredentials::SCHEME)?;
        let info =
            credentials.token().ok_or_else(|| Error::malformed("Basic credentials that are not base64"));
        info.and_then(BasicCredentials::from_auth_info)
            .map_err(|error| error.with_status(StatusCode::BAD_REQUEST))
    }
}

impl fmt::Debug for BasicCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicCredentials").finish_non_exhaustive()
    }
}

/// Sets the field, and says whether there was something to set.
pub(crate) fn apply(login: &Login, request: &mut Request, side: Side) -> Result<bool> {
    if login.username.is_empty() {
        return Ok(false);
    }
    request.headers_mut().set(side.credentials_field(), field_value(login)?.as_bytes())?;
    Ok(true)
}

/// `Basic` and the credentials in base64.
pub(crate) fn field_value(login: &Login) -> Result<Zeroizing<String>> {
    let (username, password) = (login.username.as_str(), login.password.as_str());
    if username.contains(':') {
        return Err(Error::invalid_argument("a user name for Basic must not have a colon"));
    }
    if username.contains(char::is_control) || password.contains(char::is_control) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "a user name and a password for Basic must not have control characters",
        ));
    }
    let mut plain = Zeroizing::new(String::with_capacity(username.len() + password.len() + 1));
    plain.extend([username, ":", password]);
    // Allocated once, so that no copy stays behind when it is wiped.
    let mut value = Zeroizing::new(String::with_capacity(6 + plain.len().div_ceil(3) * 4));
    value.push_str("Basic ");
    BASE64.encode_string(plain.as_bytes(), &mut value);
    Ok(value)
}

/// Padded when written; read also without padding, which some clients leave out.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(username: &str, password: &str) -> Result<String> {
        let mut request = Request::default();
        BasicCredentials::new(username, password).authenticate(&mut request)?;
        Ok(request.headers().get_or("Authorization", "nothing").to_owned())
    }

    fn received(value: &str) -> Result<(String, String)> {
        let mut request = Request::default();
        request.headers_mut().set("Authorization", value).unwrap();
        let credentials = BasicCredentials::from_request(&request)?;
        Ok((credentials.username().to_owned(), credentials.password().to_owned()))
    }

    #[test]
    fn the_examples_of_the_rfc_are_sent() {
        assert_eq!(sent("Aladdin", "open sesame").unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(sent("test", "123£").unwrap(), "Basic dGVzdDoxMjPCow==");
        assert_eq!(sent("u", "").unwrap(), "Basic dTo=");
    }

    #[test]
    fn nothing_is_sent_without_a_user_name() {
        assert_eq!(sent("", "").unwrap(), "nothing");
        assert_eq!(sent("", "secret").unwrap(), "nothing");
    }

    #[test]
    fn what_would_be_read_differently_is_refused() {
        for (username, password) in
            [("a:b", "c"), ("a\n", "c"), ("a", "c\0"), ("a\u{7f}", ""), ("a\u{85}", "")]
        {
            let error = sent(username, password).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(!format!("{error} {error:?}").contains("a:b"));
        }
    }

    #[test]
    fn what_is_sent_is_received() {
        for (username, password) in [("a", "b:c:"), ("ä", "€"), ("a b", " "), ("x", "")] {
            let value = sent(username, password).unwrap();
            assert_eq!(received(&value).unwrap(), (username.to_owned(), password.to_owned()));
        }
        assert_eq!(received("basic  Og==").unwrap(), (String::new(), String::new()));
        // Without its padding.
        assert_eq!(received("Basic dTo").unwrap(), ("u".to_owned(), String::new()));
    }

    #[test]
    fn what_is_not_basic_is_not_authenticated() {
        for value in ["Digest a=b", "Basics dTo=", "Bearer dTo="] {
            let error = received(value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotAuthenticated);
            assert_eq!(error.status_hint(), Some(StatusCode::UNAUTHORIZED));
        }
        let error = BasicCredentials::from_proxy_request(&Request::default()).unwrap_err();
        assert_eq!(error.status_hint(), Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED));
    }

    #[test]
    fn what_is_broken_is_a_bad_request() {
        for value in
            ["Basic", "Basic dTo=x", "Basic d-o_", "Basic realm=x", "Basic dQ==", "Basic /zo=", "Basic a b"]
        {
            let error = received(value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{value}");
            assert_eq!(error.status_hint(), Some(StatusCode::BAD_REQUEST), "{value}");
        }
    }

    #[test]
    fn only_the_right_name_with_the_right_password_is_verified() {
        let credentials = BasicCredentials::new("user", "pass");
        assert!(credentials.verify("user", "pass"));
        for (username, password) in
            [("user", "pas"), ("use", "pass"), ("user", "passpass"), ("", ""), ("userpass", "")]
        {
            assert!(!credentials.verify(username, password));
        }
        assert!(BasicCredentials::default().verify("", ""));
    }

    #[test]
    fn a_proxy_has_its_own_field() {
        let mut request = Request::default();
        BasicCredentials::new("u", "").proxy_authenticate(&mut request).unwrap();
        assert_eq!(request.headers().get("Proxy-Authorization"), Some("Basic dTo="));
        assert!(!request.headers().has("Authorization"));
        assert_eq!(BasicCredentials::from_proxy_request(&request).unwrap().username(), "u");
    }

    #[test]
    fn a_challenge_names_realm_and_charset() {
        let value = BasicCredentials::challenge("a \"b\"").unwrap();
        assert_eq!(value, "Basic realm=\"a \\\"b\\\"\", charset=\"UTF-8\"");
        assert!(BasicCredentials::challenge("a\r\nb").is_err());
    }

    #[test]
    fn what_is_cleared_is_empty() {
        let mut credentials = BasicCredentials::default();
        assert!(credentials.is_empty());
        credentials.set_username("u");
        credentials.set_password("p");
        assert!(!credentials.is_empty());
        assert!(!format!("{credentials:?}").contains("\"u\""));
        credentials.clear();
        assert!(credentials.is_empty());
    }

    #[test]
    fn nothing_that_is_cut_or_changed_panics() {
        super::super::tests::mutations(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", |value| {
            let mut request = Request::default();
            if request.headers_mut().set("Authorization", value).is_ok() {
                let _ = BasicCredentials::from_request(&request);
            }
        });
    }
}
