//! Where the cryptography comes from: always named, never the process's default.
//!
//! Two providers in one program are no conflict here: each context says which one it uses.
//! This is the only file that knows which ones were compiled in.

use std::sync::{Arc, LazyLock};

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

use crate::error::{Error, Result};

/// The library that does the cryptography of a [`TlsContext`](super::TlsContext).
///
/// ```
/// use sessile::tls::{TlsContext, TlsProvider};
///
/// let context = TlsContext::client().provider(TlsProvider::default()).build()?;
/// # assert!(context.is_client());
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsProvider {
    /// [ring](https://docs.rs/ring), with the feature `tls`.
    Ring,
    /// [AWS-LC](https://docs.rs/aws-lc-rs), with the feature `tls-aws-lc-rs`: faster in bulk and
    /// with RSA keys, and able to agree on keys that quantum computers can't find out.
    AwsLcRs,
}

impl Default for TlsProvider {
    /// ring, where it was compiled in.
    fn default() -> TlsProvider {
        if cfg!(feature = "tls") { TlsProvider::Ring } else { TlsProvider::AwsLcRs }
    }
}

impl TlsProvider {
    pub(super) fn crypto(self) -> Result<Arc<CryptoProvider>> {
        match self {
            #[cfg(feature = "tls")]
            TlsProvider::Ring => {
                static RING: LazyLock<Arc<CryptoProvider>> =
                    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
                Ok(RING.clone())
            }
            #[cfg(feature = "tls-aws-lc-rs")]
            TlsProvider::AwsLcRs => {
                static AWS_LC: LazyLock<Arc<CryptoProvider>> =
                    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
                Ok(AWS_LC.clone())
            }
            #[allow(unreachable_patterns, reason = "reachable without one of the features")]
            _ => Err(self.missing()),
        }
    }

    /// A key for tickets, made anew.
    pub(super) fn ticket_key(self) -> Result<Arc<dyn ProducesTickets>> {
        let made = match self {
            #[cfg(feature = "tls")]
            TlsProvider::Ring => rustls::crypto::ring::Ticketer::new(),
            #[cfg(feature = "tls-aws-lc-rs")]
            TlsProvider::AwsLcRs => rustls::crypto::aws_lc_rs::Ticketer::new(),
            #[allow(unreachable_patterns, reason = "reachable without one of the features")]
            _ => return Err(self.missing()),
        };
        made.map_err(|error| super::failed("no key for session tickets could be made").with_source(error))
    }

    fn missing(self) -> Error {
        let feature = match self {
            TlsProvider::Ring => "tls",
            TlsProvider::AwsLcRs => "tls-aws-lc-rs",
        };
        Error::unsupported(format!("this provider needs the feature {feature}"))
    }
}

#[cfg(not(any(feature = "tls", feature = "tls-aws-lc-rs")))]
compile_error!("the feature _tls is not for users: name tls or tls-aws-lc-rs");
