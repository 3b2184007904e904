//! Authentication (RFC 9110, section 11): from a challenge and credentials to a field value,
//! and on a server from a field value to a user.
//!
//! Values only: nothing here reads, writes, waits or looks at a clock. Where time matters
//! (the age of a nonce, the time stamp in NTLM) the caller gives it.
//!
//! | scheme | client | server |
//! | --- | --- | --- |
//! | Basic (RFC 7617) | [`BasicCredentials::authenticate`] | [`BasicCredentials::from_request`] and [`verify`](BasicCredentials::verify) |
//! | Bearer (RFC 6750) | [`BearerCredentials::authenticate`] | [`BearerCredentials::from_request`] and [`verify`](BearerCredentials::verify) |
#![cfg_attr(feature = "digest", doc = "| Digest (RFC 7616) | [`DigestCredentials`] | [`DigestVerifier`] |")]
#![cfg_attr(feature = "ntlm", doc = "| NTLM (MS-NLMP, version 2) | [`NtlmCredentials`] | |")]
//!
//! [`HttpCredentials`] is the front of all of them for a client: it has a user name and a
//! password, and answers the strongest challenge. Secrets are wiped when they are dropped, are
//! in no `Debug` and in no error, and are compared in constant time.

mod basic;
mod bearer;
mod challenge;
mod credentials;
#[cfg(feature = "digest")]
mod digest;
#[cfg(feature = "ntlm")]
#[cfg_attr(docsrs, doc(cfg(feature = "ntlm")))]
pub mod ntlm;
mod params;
mod scheme;
mod secret;

pub use basic::BasicCredentials;
pub use bearer::BearerCredentials;
pub use challenge::Challenge;
pub use credentials::HttpCredentials;
#[cfg(feature = "digest")]
#[cfg_attr(docsrs, doc(cfg(feature = "digest")))]
pub use digest::{
    ContentHash, ContentHasher, DigestAlgorithm, DigestAuthorization, DigestCredentials, DigestGrant,
    DigestOutcome, DigestSecret, DigestVerifier,
};
#[cfg(feature = "ntlm")]
#[cfg_attr(docsrs, doc(cfg(feature = "ntlm")))]
pub use ntlm::NtlmCredentials;
pub use params::AuthenticationParams;
pub use scheme::{AuthScheme, ProxyAuthentication};

use crate::message::{StatusCode, names};

/// Who asks for credentials: each has its own fields and its own status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The origin server.
    Origin,
    /// A proxy.
    Proxy,
}

impl Side {
    pub(crate) fn challenge_field(self) -> &'static str {
        match self {
            Side::Origin => "WWW-Authenticate",
            Side::Proxy => "Proxy-Authenticate",
        }
    }

    pub(crate) fn credentials_field(self) -> &'static str {
        match self {
            Side::Origin => names::AUTHORIZATION,
            Side::Proxy => names::PROXY_AUTHORIZATION,
        }
    }

    /// With what a challenge is sent.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Side::Origin => StatusCode::UNAUTHORIZED,
            Side::Proxy => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        }
    }

    #[cfg(feature = "digest")]
    pub(crate) fn info_field(self) -> &'static str {
        match self {
            Side::Origin => "Authentication-Info",
            Side::Proxy => "Proxy-Authentication-Info",
        }
    }
}

/// The first message of NTLM: `NTLMSSP`, zero, one. What answers the challenge to it must go on the
/// connection that the challenge came on.
pub(crate) fn opens_ntlm(credentials: &[u8]) -> bool {
    credentials.starts_with(b"NTLM TlRMTVNTUAAB")
}

#[cfg(test)]
pub(crate) mod tests {
    /// Every cut of the text, and every byte replaced by, and preceded by, those that matter
    /// to the grammar.
    pub(crate) fn mutations(text: &[u8], mut check: impl FnMut(&[u8])) {
        for at in 0..=text.len() {
            check(&text[..at]);
            check(&text[at..]);
            for byte in *b"\"\\,= \t\0\x7f\xffaZ0:;%" {
                let mut changed = text.to_vec();
                changed.insert(at, byte);
                check(&changed);
                if at < text.len() {
                    changed.remove(at + 1);
                    check(&changed);
                }
            }
        }
    }
}
