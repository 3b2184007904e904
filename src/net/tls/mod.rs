//! TLS (RFC 8446, RFC 5246) on any stream: contexts, certificates, sessions that are taken up
//! again.
//!
//! Moves bytes, and knows no HTTP. The limits of time and the abort handle are those of the stream
//! below. The library that does it appears in no signature.
//!
//! ```text
//!   TlsContext::client().…build() ─┐                       ┌─ server_certificate, session, version
//!                                  ├─> TlsStream on Stream ┤
//!   TlsContext::server().…build() ─┘                       └─ read, write, handshake
//! ```
//!
//! A client session does this by itself: see
//! [`HttpsClientSession`](crate::session::HttpsClientSession). A server is given a context.

mod certificate;
mod client;
mod context;
mod error;
mod options;
mod pem;
mod provider;
mod server;
mod session;
mod stream;
mod tickets;
mod verify;

pub use certificate::{Certificate, SubjectName};
pub use client::{DangerousTlsClientBuilder, TlsClientBuilder};
pub use context::TlsContext;
pub use error::{CertificateError, CertificateProblem};
pub use options::{TlsVersion, VerificationMode};
pub use provider::TlsProvider;
pub use server::{DangerousTlsServerBuilder, TlsServerBuilder};
pub use session::TlsSession;
pub use stream::TlsStream;
pub use verify::InvalidCertificate;

pub(crate) use error::failed;

use rustls::pki_types::{IpAddr, ServerName};

use crate::error::{Error, Result};

/// The name to ask a server for: a host name or an address, as a URI has it.
pub(crate) fn server_name(host: &str) -> Result<ServerName<'static>> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<std::net::IpAddr>() {
        return Ok(ServerName::IpAddress(IpAddr::from(address)));
    }
    // The dot of a complete name is not part of what is sent (RFC 6066, section 3).
    let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    ServerName::try_from(name).map_err(|error| {
        Error::invalid_argument(format!("{host:?} is no name that a server can have under TLS"))
            .with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_s_name_is_a_host_or_an_address() {
        for (host, name) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("under_score.example", "under_score.example"),
        ] {
            assert_eq!(server_name(host).unwrap().to_str(), name, "{host}");
        }
        assert!(matches!(server_name("[::1]").unwrap(), ServerName::IpAddress(_)));
    }

    #[test]
    fn what_can_t_be_a_name_is_refused() {
        for host in
            ["", ".", "a b", "exämple.com", "-a.example", "a..example", "[a]b", "fe80::1%eth0", "x\0y"]
        {
            let refused = server_name(host).unwrap_err();
            assert_eq!(refused.kind(), crate::ErrorKind::InvalidArgument, "{host}");
        }
    }
}
