//! The Digest scheme (RFC 7616): a hash proves the password without showing it.
//!
//! `algorithm` has the hashes, `compute` the formulas of section 3.4; `terms`, `engine` and
//! `client` answer challenges; `authorization`, `nonces` and `verifier` are the server's part.

mod algorithm;
mod authorization;
mod client;
mod compute;
mod engine;
mod nonces;
mod terms;
mod verifier;

pub use algorithm::{ContentHash, ContentHasher, DigestAlgorithm};
pub use authorization::DigestAuthorization;
pub use client::DigestCredentials;
pub(crate) use engine::Engine;
pub(crate) use terms::best;
pub use verifier::{DigestGrant, DigestOutcome, DigestSecret, DigestVerifier};

use crate::message::Request;

/// The name of the scheme.
pub(crate) const SCHEME: &str = "Digest";

/// Whether content follows the request's head.
fn has_content(request: &Request) -> bool {
    request.headers().has("Transfer-Encoding") || !matches!(request.content_length(), Ok(None | Some(0)))
}
