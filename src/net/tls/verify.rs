//! Who decides about a certificate that the rules refuse: a user's function, and nobody else.
//!
//! The rules themselves are the library's (RFC 5280 and 6125, by webpki, or the system's verifier).
//! What is here is reached by `dangerous()` alone.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError as Refused, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::certificate::Certificate;
use super::error::{CertificateError, CertificateProblem, is_authority_as_server};

/// A certificate that is not accepted, and why: what a handler decides about.
///
/// ```no_run
/// use sessile::tls::{CertificateProblem, TlsContext};
///
/// let context = TlsContext::client()
///     .dangerous()
///     .on_invalid_certificate(|refused| {
///         eprintln!("{}: {}", refused.server_name().unwrap_or_default(), refused.problem());
///         // A device in the cellar whose clock and certificate ran out.
///         refused.problem() == CertificateProblem::Expired
///             && refused.certificate().fingerprint_text().starts_with("5E:6C:6B:")
///     })
///     .build()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug)]
#[doc(alias = "VerificationErrorArgs")]
pub struct InvalidCertificate<'a> {
    error: &'a CertificateError,
    own: &'a [u8],
    others: &'a [CertificateDer<'a>],
    server_name: Option<&'a str>,
}

impl InvalidCertificate<'_> {
    /// Why it is not accepted.
    #[doc(alias = "errorNumber")]
    pub fn problem(&self) -> CertificateProblem {
        self.error.problem()
    }

    /// The same with all particulars.
    #[doc(alias = "errorMessage")]
    pub fn error(&self) -> &CertificateError {
        self.error
    }

    /// The peer's certificate.
    pub fn certificate(&self) -> Certificate {
        Certificate::received(self.own)
    }

    /// The peer's certificate, and those that it sent along.
    pub fn chain(&self) -> Vec<Certificate> {
        let others = self.others.iter().map(|der| Certificate::received(der));
        std::iter::once(self.certificate()).chain(others).collect()
    }

    /// The server that was asked for; `None` on a server, which does not know what a client is
    /// called.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name
    }
}

/// The rules, but for a server whose own certificate was added to the authorities: that one is
/// trusted as it is, though it call itself an authority, as the ones that people make for a test
/// do. It must still be valid, for this use and for this name.
#[derive(Debug)]
pub(super) struct TrustAdded {
    pub(super) rules: Arc<dyn ServerCertVerifier>,
    pub(super) added: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for TrustAdded {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.rules.verify_server_cert(own, others, name, ocsp, now) {
            Err(Error::InvalidCertificate(Refused::Other(why)))
                if is_authority_as_server(&why) && self.added.contains(own) =>
            {
                let certificate = Certificate::received(own);
                match certificate.problem_as_server(name, now) {
                    None => Ok(ServerCertVerified::assertion()),
                    Some(refused) => Err(Error::InvalidCertificate(refused)),
                }
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rules.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rules.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rules.supported_verify_schemes()
    }
}

/// Says whether to accept the certificate all the same.
#[derive(Clone)]
pub(super) struct Handler(pub(super) Arc<dyn Fn(&InvalidCertificate<'_>) -> bool + Send + Sync>);

impl Handler {
    /// The verdict of the rules, or the handler's if that is a refusal.
    fn appeal<T>(
        &self,
        verdict: Result<T, Error>,
        accepted: T,
        (own, others): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        server_name: Option<&str>,
    ) -> Result<T, Error> {
        let Err(Error::InvalidCertificate(refused)) = &verdict else { return verdict };
        let error = CertificateError::new(refused);
        let asked = InvalidCertificate { error: &error, own, others, server_name };
        if (self.0)(&asked) {
            log::warn!("accepting a certificate that is not valid: {}", error.problem());
            return Ok(accepted);
        }
        verdict
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}

/// Asks the handler about servers that the rules refuse.
#[derive(Debug)]
pub(super) struct AskAboutServer {
    pub(super) rules: Arc<dyn ServerCertVerifier>,
    pub(super) handler: Handler,
}

impl ServerCertVerifier for AskAboutServer {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.rules.verify_server_cert(own, others, name, ocsp, now);
        self.handler.appeal(verdict, ServerCertVerified::assertion(), (own, others), Some(&name.to_str()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rules.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rules.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rules.supported_verify_schemes()
    }
}

/// Asks the handler about clients that the rules refuse.
#[derive(Debug)]
pub(super) struct AskAboutClient {
    pub(super) rules: Arc<dyn ClientCertVerifier>,
    pub(super) handler: Handler,
}

impl ClientCertVerifier for AskAboutClient {
    fn offer_client_auth(&self) -> bool {
        self.rules.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.rules.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Who is not issued by one of them may be accepted all the same.
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verdict = self.rules.verify_client_cert(own, others, now);
        self.handler.appeal(verdict, ClientCertVerified::assertion(), (own, others), None)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rules.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rules.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rules.supported_verify_schemes()
    }
}

/// The rules of those who trust no authority at all: every certificate is the handler's to judge.
#[derive(Debug)]
pub(super) struct TrustNobody {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) mandatory: bool,
}

impl TrustNobody {
    fn refuse<T>() -> Result<T, Error> {
        Err(Error::InvalidCertificate(Refused::UnknownIssuer))
    }

    fn tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }
}

impl ServerCertVerifier for TrustNobody {
    fn verify_server_cert(
        &self,
        _own: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        TrustNobody::refuse()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for TrustNobody {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _own: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        TrustNobody::refuse()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.tls13(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
