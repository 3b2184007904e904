//! The Bearer scheme (RFC 6750): a token that whoever holds it may use.
//!
//! What is in the token, and where it comes from, is not known here.

use std::fmt;

use super::Side;
use super::challenge;
use super::params::{AuthenticationParams, Cursor};
use super::secret::{Secret, constant_time_eq};
use crate::message::{Request, StatusCode};
use crate::{Error, Result};

/// A bearer token, on either side.
///
/// ```
/// use sessile::auth::BearerCredentials;
/// use sessile::message::Request;
///
/// let mut request = Request::default();
/// BearerCredentials::new("mF_9.B5f-4.1JqM").authenticate(&mut request)?;
/// assert_eq!(request.headers().get("Authorization"), Some("Bearer mF_9.B5f-4.1JqM"));
/// assert!(BearerCredentials::from_request(&request)?.verify("mF_9.B5f-4.1JqM"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone)]
pub struct BearerCredentials {
    token: Secret,
}

impl BearerCredentials {
    /// The name of the scheme.
    pub const SCHEME: &'static str = "Bearer";

    /// Credentials with this token. Whether it can be sent is checked by
    /// [`authenticate`](BearerCredentials::authenticate).
    pub fn new(token: impl Into<String>) -> BearerCredentials {
        BearerCredentials { token: Secret::new(token) }
    }

    /// The token in the request's `Authorization`.
    ///
    /// Fails with [`NotAuthenticated`](crate::ErrorKind::NotAuthenticated) where there is
    /// none, and with [`Malformed`](crate::ErrorKind::Malformed) where it is not a token.
    pub fn from_request(request: &Request) -> Result<BearerCredentials> {
        let credentials = challenge::credentials(request, Side::Origin, BearerCredentials::SCHEME)?;
        credentials.token().map(BearerCredentials::new).ok_or_else(|| {
            Error::malformed("Bearer credentials without a token").with_status(StatusCode::BAD_REQUEST)
        })
    }

    /// The token.
    pub fn token(&self) -> &str {
        self.token.as_str()
    }

    /// Sets `Authorization`.
    ///
    /// Fails with [`InvalidArgument`](crate::ErrorKind::InvalidArgument) when the token is
    /// empty or has characters that a token must not have (RFC 6750, 2.1).
    pub fn authenticate(&self, request: &mut Request) -> Result<()> {
        self.apply(request, Side::Origin)
    }

    /// Sets `Proxy-Authorization`: see [`authenticate`](BearerCredentials::authenticate).
    pub fn proxy_authenticate(&self, request: &mut Request) -> Result<()> {
        self.apply(request, Side::Proxy)
    }

    /// Whether this is the token expected, in a time that depends neither on where they
    /// differ nor on how long the expected one is.
    #[must_use]
    pub fn verify(&self, token: &str) -> bool {
        constant_time_eq(token.as_bytes(), self.token.as_bytes())
    }

    /// The value of `WWW-Authenticate` with which a server asks for a token.
    ///
    /// Fails with [`InvalidArgument`](crate::ErrorKind::InvalidArgument) on control characters.
    pub fn challenge(realm: &str) -> Result<String> {
        let mut params = AuthenticationParams::new();
        params.set_realm(realm)?;
        Ok(format!("{} {params}", BearerCredentials::SCHEME))
    }

    fn apply(&self, request: &mut Request, side: Side) -> Result<()> {
        let mut cursor = Cursor::new(self.token.as_bytes());
        if cursor.token68().is_none() || !cursor.at_end() {
            return Err(Error::invalid_argument("a bearer token of other characters than a token has"));
        }
        let mut value = zeroize::Zeroizing::new(String::with_capacity(7 + self.token().len()));
        value.extend([BearerCredentials::SCHEME, " ", self.token()]);
        request.headers_mut().set(side.credentials_field(), value.as_bytes())
    }
}

impl fmt::Debug for BearerCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerCredentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_token_goes_over_the_wire() {
        let mut request = Request::default();
        let credentials = BearerCredentials::new("abc/+~==");
        credentials.authenticate(&mut request).unwrap();
        credentials.proxy_authenticate(&mut request).unwrap();
        assert_eq!(request.headers().get("Proxy-Authorization"), Some("Bearer abc/+~=="));
        let received = BearerCredentials::from_request(&request).unwrap();
        assert!(received.verify("abc/+~==") && !received.verify("abc/+~=") && !received.verify(""));
        assert!(!format!("{received:?}").contains("abc"));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for bad in ["", "a b", "a,b", "a,", "a ", "=", "a=b", "a\r\nb", "ä", "a\"b"] {
            let error = BearerCredentials::new(bad).authenticate(&mut Request::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad:?}");
        }
    }

    #[test]
    fn credentials_without_a_token_are_a_bad_request() {
        let mut request = Request::default();
        assert_eq!(
            BearerCredentials::from_request(&request).unwrap_err().kind(),
            ErrorKind::NotAuthenticated
        );
        for value in ["Bearer", "Bearer a=b", "Bearer a b"] {
            request.headers_mut().set("Authorization", value).unwrap();
            let error = BearerCredentials::from_request(&request).unwrap_err();
            assert_eq!(error.status_hint(), Some(StatusCode::BAD_REQUEST), "{value}");
        }
    }

    #[test]
    fn a_challenge_names_the_realm() {
        assert_eq!(BearerCredentials::challenge("api").unwrap(), "Bearer realm=\"api\"");
        assert!(BearerCredentials::challenge("\n").is_err());
    }
}
