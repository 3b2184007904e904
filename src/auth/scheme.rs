//! The names of the schemes that prove a user name and a password.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A scheme by which a user name and a password are proven, the weakest first.
///
/// ```
/// use sessile::auth::AuthScheme;
///
/// assert_eq!("ntlm".parse::<AuthScheme>()?, AuthScheme::Ntlm);
/// assert!(AuthScheme::Digest > AuthScheme::Basic);
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AuthScheme {
    /// Basic: the password itself.
    Basic,
    /// NTLM (feature `ntlm`).
    Ntlm,
    /// Digest (feature `digest`).
    Digest,
}

impl AuthScheme {
    /// All, the weakest first.
    pub(crate) const ALL: [AuthScheme; 3] = [AuthScheme::Basic, AuthScheme::Ntlm, AuthScheme::Digest];

    /// The name in a challenge.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthScheme::Basic => "Basic",
            AuthScheme::Ntlm => "NTLM",
            AuthScheme::Digest => "Digest",
        }
    }
}

impl fmt::Display for AuthScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AuthScheme {
    type Err = Error;

    /// Without regard to case. Fails with [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
    fn from_str(name: &str) -> Result<AuthScheme> {
        AuthScheme::ALL
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| Error::invalid_argument("no such authentication scheme"))
    }
}

/// How a client authenticates itself to its proxy.
///
/// ```
/// use sessile::auth::ProxyAuthentication;
///
/// assert_eq!("digest".parse::<ProxyAuthentication>()?, ProxyAuthentication::Digest);
/// assert_eq!(ProxyAuthentication::default(), ProxyAuthentication::Basic);
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ProxyAuthentication {
    /// Not at all.
    None,
    /// By Basic, with the first request, if there is a user name.
    #[default]
    Basic,
    /// By Digest, when the proxy asks (feature `digest`).
    Digest,
    /// By NTLM, for each connection (feature `ntlm`).
    #[doc(alias = "NTLM")]
    Ntlm,
}

impl ProxyAuthentication {
    /// The scheme, if there is one.
    pub fn scheme(self) -> Option<AuthScheme> {
        match self {
            ProxyAuthentication::None => None,
            ProxyAuthentication::Basic => Some(AuthScheme::Basic),
            ProxyAuthentication::Digest => Some(AuthScheme::Digest),
            ProxyAuthentication::Ntlm => Some(AuthScheme::Ntlm),
        }
    }
}

impl FromStr for ProxyAuthentication {
    type Err = Error;

    /// `none` or the name of a scheme, without regard to case. Fails with
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument).
    fn from_str(name: &str) -> Result<ProxyAuthentication> {
        if name.eq_ignore_ascii_case("none") {
            return Ok(ProxyAuthentication::None);
        }
        Ok(match name.parse()? {
            AuthScheme::Basic => ProxyAuthentication::Basic,
            AuthScheme::Ntlm => ProxyAuthentication::Ntlm,
            AuthScheme::Digest => ProxyAuthentication::Digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_has_a_name() {
        for scheme in AuthScheme::ALL {
            assert_eq!(scheme.to_string().to_lowercase().parse::<AuthScheme>().unwrap(), scheme);
        }
        assert!("negotiate".parse::<AuthScheme>().is_err());
    }

    #[test]
    fn a_proxy_s_authentication_has_a_name() {
        for (name, scheme) in [
            ("none", None),
            ("Basic", Some(AuthScheme::Basic)),
            ("DIGEST", Some(AuthScheme::Digest)),
            ("ntlm", Some(AuthScheme::Ntlm)),
        ] {
            assert_eq!(name.parse::<ProxyAuthentication>().unwrap().scheme(), scheme);
        }
        assert!("".parse::<ProxyAuthentication>().is_err());
    }
}
