//! What went wrong with TLS, in words that say what to do about it.
//!
//! Turns the library's errors into the crate's. A certificate that was refused has a reason that a
//! program can decide by; everything else is text.

use std::fmt;

use rustls::{AlertDescription, CertificateError as Refused, InvalidMessage, OtherError, PeerIncompatible};

use crate::error::{Error, ErrorKind};

/// Why a certificate is not accepted.
///
/// ```
/// use std::error::Error as _;
/// use sessile::tls::{CertificateError, CertificateProblem};
///
/// fn is_out_of_date(error: &sessile::Error) -> bool {
///     error
///         .source()
///         .and_then(|source| source.downcast_ref::<CertificateError>())
///         .is_some_and(|error| error.problem() == CertificateProblem::Expired)
/// }
/// # let _ = is_out_of_date;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// Its time is over.
    Expired,
    /// Its time has not begun: often a clock that is wrong.
    NotYetValid,
    /// It is for other names than the one that was asked for.
    WrongName,
    /// Nobody who is trusted has issued it; it may have [issued
    /// itself](super::Certificate::is_self_issued).
    UnknownIssuer,
    /// Its issuer has taken it back.
    Revoked,
    /// Nobody said whether its issuer has taken it back, and that was asked for.
    UnknownRevocationStatus,
    /// It is meant for something else: a client's for a server, or an authority's for either.
    WrongUsage,
    /// Its signature is not its issuer's.
    BadSignature,
    /// It was signed by an algorithm that is not accepted (any more): SHA-1, say.
    UnsupportedSignature,
    /// It can't be read.
    Malformed,
    /// Any other reason.
    Other,
}

impl CertificateProblem {
    fn of(error: &Refused) -> CertificateProblem {
        match error {
            Refused::Expired | Refused::ExpiredContext { .. } => CertificateProblem::Expired,
            Refused::NotValidYet | Refused::NotValidYetContext { .. } => CertificateProblem::NotYetValid,
            Refused::NotValidForName | Refused::NotValidForNameContext { .. } => {
                CertificateProblem::WrongName
            }
            Refused::UnknownIssuer => CertificateProblem::UnknownIssuer,
            Refused::Revoked => CertificateProblem::Revoked,
            Refused::UnknownRevocationStatus
            | Refused::ExpiredRevocationList
            | Refused::ExpiredRevocationListContext { .. } => CertificateProblem::UnknownRevocationStatus,
            Refused::InvalidPurpose | Refused::InvalidPurposeContext { .. } => CertificateProblem::WrongUsage,
            Refused::BadSignature => CertificateProblem::BadSignature,
            Refused::UnsupportedSignatureAlgorithmContext { .. }
            | Refused::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                CertificateProblem::UnsupportedSignature
            }
            Refused::BadEncoding => CertificateProblem::Malformed,
            Refused::Other(other) if is_authority_as_server(other) => CertificateProblem::WrongUsage,
            _ => CertificateProblem::Other,
        }
    }
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertificateProblem::Expired => "it has expired",
            CertificateProblem::NotYetValid => "it is not valid yet",
            CertificateProblem::WrongName => "it is for another name",
            CertificateProblem::UnknownIssuer => "no authority that is trusted has issued it",
            CertificateProblem::Revoked => "its issuer has revoked it",
            CertificateProblem::UnknownRevocationStatus => "whether it was revoked is not known",
            CertificateProblem::WrongUsage => "it is meant for something else",
            CertificateProblem::BadSignature => "its signature is not its issuer's",
            CertificateProblem::UnsupportedSignature => "it is signed by an algorithm that is not accepted",
            CertificateProblem::Malformed => "it can't be read",
            CertificateProblem::Other => "it breaks a rule",
        })
    }
}

/// Whether this says that the certificate of an authority was shown as a server's or a client's
/// own. The verifier has no name for that, and says it in words.
pub(super) fn is_authority_as_server(error: &OtherError) -> bool {
    error.to_string() == "CaUsedAsEndEntity"
}

/// A certificate that was not accepted: the source of an [`Error`] of kind
/// [`Tls`](ErrorKind::Tls).
///
/// See [`CertificateProblem`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias = "InvalidCertificateException")]
#[doc(alias = "CertificateValidationException")]
pub struct CertificateError {
    problem: CertificateProblem,
    detail: String,
}

impl CertificateError {
    pub(super) fn new(error: &Refused) -> CertificateError {
        CertificateError { problem: CertificateProblem::of(error), detail: error.to_string() }
    }

    /// Why it was not accepted.
    pub fn problem(&self) -> CertificateProblem {
        self.problem
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for CertificateError {}

pub(crate) fn failed(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Tls, message)
}

/// The error of a connection, which a client has asked for under this name.
pub(super) fn explain(error: rustls::Error, server_name: Option<&str>) -> Error {
    match &error {
        rustls::Error::InvalidCertificate(refused) => refusal(refused, server_name),
        rustls::Error::NoCertificatesPresented => failed("the client has sent no certificate, which is required"),
        rustls::Error::AlertReceived(alert) => failed(alert_text(*alert, server_name)).with_source(error),
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            failed("the peer does not speak TLS here").with_source(error)
        }
        rustls::Error::InvalidMessage(_)
        | rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. }
        | rustls::Error::PeerMisbehaved(_) => failed("the peer breaks the rules of TLS").with_source(error),
        rustls::Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => failed("the peer speaks no version of TLS that is allowed here: 1.2 and 1.3 are safe, older ones are not")
            .with_source(error),
        rustls::Error::PeerIncompatible(_) => {
            failed("the peer and we have nothing in common to encrypt by").with_source(error)
        }
        rustls::Error::DecryptError => failed("a record was changed on its way").with_source(error),
        rustls::Error::PeerSentOversizedRecord => {
            failed("a record is larger than TLS allows").with_source(error)
        }
        rustls::Error::NoApplicationProtocol => {
            failed("the peer does not speak HTTP/1.1: it offers other protocols").with_source(error)
        }
        _ => failed(error.to_string()).with_source(error),
    }
}

fn refusal(refused: &Refused, server_name: Option<&str>) -> Error {
    let source = CertificateError::new(refused);
    let whose = match server_name {
        Some(name) => format!("the certificate of {name}"),
        None => "the client's certificate".to_owned(),
    };
    let mut text = format!("{whose} is not accepted: {}", source.problem());
    if source.problem() == CertificateProblem::UnknownIssuer && server_name.is_some() {
        text.push_str(WAYS_OUT);
    }
    if matches!(refused, Refused::Other(other) if is_authority_as_server(other)) {
        text.push_str(
            ": it is the certificate of an authority (CA:TRUE), which servers and clients can't have",
        );
    }
    failed(text).with_source(source)
}

/// The roots of Mozilla are compiled in; many networks have their own beside them.
const WAYS_OUT: &str = ". If you trust it, say so: TlsContext::client().add_ca_file(..) trusts an authority of your own, \
     add_ca_from_env() those of SSL_CERT_FILE and SSL_CERT_DIR, platform_verifier() (feature platform-verifier) \
     those of this system; dangerous() accepts without trust";

fn alert_text(alert: AlertDescription, server_name: Option<&str>) -> String {
    let why = match alert {
        AlertDescription::CertificateRequired => "it requires a certificate of the client, and got none",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown => "it does not accept our certificate",
        AlertDescription::UnknownCA => "it does not trust who issued our certificate",
        AlertDescription::AccessDenied => "access is denied",
        AlertDescription::ProtocolVersion => "it speaks no version of TLS that we do",
        // Some say so for want of a client's certificate in TLS 1.2.
        AlertDescription::HandshakeFailure => {
            "it has nothing in common with us to encrypt by, or requires a certificate of the client"
        }
        AlertDescription::UnrecognisedName => match server_name {
            Some(name) => return format!("the peer has ended TLS: it does not know the name {name}"),
            None => "it does not know the name",
        },
        AlertDescription::NoApplicationProtocol => "it does not speak HTTP/1.1",
        other => return format!("the peer has ended TLS: it says {other:?}"),
    };
    format!("the peer has ended TLS: {why}")
}
