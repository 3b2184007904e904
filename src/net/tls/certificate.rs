//! X.509 certificates: whom they name, who says so, and for how long (RFC 5280).
//!
//! For people to look at and programs to decide by; whether one is trusted is decided elsewhere, on
//! the same bytes. What can't be read reads as empty and was never valid.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::CertificateError as Refused;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use sha2::Digest as _;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::DB;
use x509_cert::der::{Decode, Encode, Tag, Tagged};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectAltName};
use x509_cert::name::Name;

use super::error::failed;
use super::pem::Source;
use super::provider::TlsProvider;
use crate::error::{Error, ErrorKind, Result};

/// A certificate, as the peer sent it or as a file has it.
///
/// Two certificates are equal if they are the same bytes. Clones share them.
///
/// ```
/// use sessile::tls::Certificate;
///
/// # let made = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
/// # let pem = made.cert.pem();
/// let certificate = Certificate::from_pem(&pem)?;
/// assert!(certificate.verify_name("example.com"));
/// assert!(!certificate.verify_name("example.org"));
/// assert_eq!(certificate.dns_names().collect::<Vec<_>>(), ["example.com"]);
/// assert_eq!(certificate.fingerprint_text().len(), "12:34".len() * 16 + 15);
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "X509Certificate")]
#[derive(Clone)]
pub struct Certificate {
    der: Arc<[u8]>,
    fields: Option<Arc<x509_cert::Certificate>>,
}

/// One of the names that a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SubjectName {
    /// A host, or all hosts of a domain (`*.example.com`).
    Dns(String),
    /// An address.
    Ip(IpAddr),
    /// A mailbox.
    Email(String),
    /// A resource, as SPIFFE has it for services.
    Uri(String),
}

impl Certificate {
    /// From DER.
    pub fn from_der(der: impl AsRef<[u8]>) -> Result<Certificate> {
        let certificate = Certificate::received(der.as_ref());
        if certificate.fields.is_none() {
            return Err(failed("the bytes are no certificate that can be read"));
        }
        Ok(certificate)
    }

    /// The first certificate in a PEM text.
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Certificate> {
        Certificate::first_of(&Source::pem(pem))
    }

    /// The first certificate in a file, PEM or DER.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Certificate> {
        Certificate::first_of(&Source::file(path))
    }

    /// All certificates in a PEM text, in their order; at least one.
    #[doc(alias = "readPEM")]
    pub fn all_from_pem(pem: impl AsRef<[u8]>) -> Result<Vec<Certificate>> {
        Source::pem(pem).certificates()?.iter().map(Certificate::from_der).collect()
    }

    fn first_of(source: &Source) -> Result<Certificate> {
        match source.certificates()?.first() {
            Some(der) => Certificate::from_der(der),
            None => Err(failed("there is no certificate")),
        }
    }

    /// What a peer sent. It was trusted, or will not be, on other grounds than that it can be read
    /// here.
    pub(super) fn received(der: &[u8]) -> Certificate {
        Certificate { der: der.into(), fields: x509_cert::Certificate::from_der(der).ok().map(Arc::new) }
    }

    /// The bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The bytes as PEM text.
    pub fn to_pem(&self) -> String {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(&self.der);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, more) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = more;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }

    /// Writes the certificate into a file, as PEM; an older file is replaced.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        std::fs::File::create(path).and_then(|mut file| file.write_all(self.to_pem().as_bytes())).map_err(
            |error| {
                Error::new(ErrorKind::Io, format!("{} can't be written", path.display())).with_source(error)
            },
        )
    }

    /// The version of X.509: 3, nearly always.
    pub fn version(&self) -> u32 {
        self.fields.as_ref().map_or(0, |fields| fields.tbs_certificate().version() as u32 + 1)
    }

    /// The number that the issuer gave it, in hexadecimal digits.
    #[doc(alias = "serialNumber")]
    pub fn serial_number(&self) -> String {
        self.fields
            .as_ref()
            .map_or_else(String::new, |fields| hex(fields.tbs_certificate().serial_number().as_bytes(), ""))
    }

    /// Whom it names, as RFC 4514 has it: `CN=example.com,O=Example`. Who is connected to is
    /// decided by the [`names`](Certificate::names) alone (RFC 9110, 4.3.4).
    #[doc(alias = "subjectName")]
    pub fn subject(&self) -> String {
        self.fields.as_ref().map_or_else(String::new, |fields| fields.tbs_certificate().subject().to_string())
    }

    /// Who issued it.
    #[doc(alias = "issuerName")]
    pub fn issuer(&self) -> String {
        self.fields.as_ref().map_or_else(String::new, |fields| fields.tbs_certificate().issuer().to_string())
    }

    /// One part of the subject: `CN`, `O`, `OU`, `C`, `ST`, `L`, or an object identifier. The first
    /// one, if there are several.
    #[doc(alias = "subjectName")]
    pub fn subject_part(&self, kind: &str) -> Option<String> {
        self.fields.as_ref().and_then(|fields| part(fields.tbs_certificate().subject(), kind))
    }

    /// One part of the issuer: see [`subject_part`](Certificate::subject_part).
    #[doc(alias = "issuerName")]
    pub fn issuer_part(&self, kind: &str) -> Option<String> {
        self.fields.as_ref().and_then(|fields| part(fields.tbs_certificate().issuer(), kind))
    }

    /// The subject's common name: for people to read. It is not looked at when a server's name is
    /// checked.
    #[doc(alias = "commonName")]
    pub fn common_name(&self) -> Option<String> {
        self.subject_part("CN")
    }

    /// The names that it is for.
    #[doc(alias = "extractNames")]
    pub fn names(&self) -> Vec<SubjectName> {
        let alternative = self
            .fields
            .as_ref()
            .and_then(|fields| fields.tbs_certificate().get_extension::<SubjectAltName>().ok().flatten());
        let Some((_critical, SubjectAltName(names))) = alternative else { return Vec::new() };
        names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DnsName(name) => Some(SubjectName::Dns(name.as_str().to_owned())),
                GeneralName::Rfc822Name(name) => Some(SubjectName::Email(name.as_str().to_owned())),
                GeneralName::UniformResourceIdentifier(uri) => {
                    Some(SubjectName::Uri(uri.as_str().to_owned()))
                }
                GeneralName::IpAddress(bytes) => match bytes.as_bytes().len() {
                    4 => <[u8; 4]>::try_from(bytes.as_bytes()).ok().map(|b| SubjectName::Ip(b.into())),
                    _ => <[u8; 16]>::try_from(bytes.as_bytes()).ok().map(|b| SubjectName::Ip(b.into())),
                },
                _ => None,
            })
            .collect()
    }

    /// The hosts that it is for.
    #[doc(alias = "extractNames")]
    pub fn dns_names(&self) -> impl Iterator<Item = String> + use<> {
        self.names().into_iter().filter_map(|name| match name {
            SubjectName::Dns(name) => Some(name),
            _ => None,
        })
    }

    /// From when on it is valid.
    #[doc(alias = "validFrom")]
    pub fn valid_from(&self) -> SystemTime {
        self.validity().0
    }

    /// Until when it is valid.
    #[doc(alias = "expiresOn")]
    pub fn expires_on(&self) -> SystemTime {
        self.validity().1
    }

    /// Whether it is valid at this time.
    pub fn is_valid_at(&self, time: SystemTime) -> bool {
        let (from, to) = self.validity();
        from <= time && time <= to
    }

    fn validity(&self) -> (SystemTime, SystemTime) {
        self.fields.as_ref().map_or((SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH), |fields| {
            let validity = fields.tbs_certificate().validity();
            (validity.not_before.to_system_time(), validity.not_after.to_system_time())
        })
    }

    /// Whether it may issue others.
    pub fn is_authority(&self) -> bool {
        self.fields
            .as_ref()
            .and_then(|fields| fields.tbs_certificate().get_extension::<BasicConstraints>().ok().flatten())
            .is_some_and(|(_critical, constraints)| constraints.ca)
    }

    /// Whether it names itself as its issuer.
    pub fn is_self_issued(&self) -> bool {
        self.fields.as_ref().is_some_and(|fields| {
            let body = fields.tbs_certificate();
            body.subject() == body.issuer()
        })
    }

    /// How it was signed: `ecdsa-with-SHA256`, say; an object identifier where that has no name.
    #[doc(alias = "signatureAlgorithm")]
    pub fn signature_algorithm(&self) -> String {
        self.fields.as_ref().map_or_else(String::new, |fields| {
            let oid = fields.signature_algorithm().oid;
            DB.by_oid(&oid).map_or_else(|| oid.to_string(), str::to_owned)
        })
    }

    /// The SHA-256 hash of its bytes: what to know it again by.
    pub fn fingerprint(&self) -> [u8; 32] {
        sha2::Sha256::digest(&self.der).into()
    }

    /// The SHA-1 hash, which older lists have. Two certificates can be made to share it.
    #[doc(alias = "fingerprint")]
    pub fn fingerprint_sha1(&self) -> [u8; 20] {
        sha1::Sha1::digest(&self.der).into()
    }

    /// The SHA-256 hash as tools print it: `AB:CD:…`.
    pub fn fingerprint_text(&self) -> String {
        hex(&self.fingerprint(), ":").to_ascii_uppercase()
    }

    /// Whether the other certificate's key has signed this one, under the name that this one says.
    /// No word about whether either is valid or may do so.
    #[doc(alias = "issuedBy")]
    pub fn issued_by(&self, issuer: &Certificate) -> bool {
        self.signed_by(issuer).unwrap_or(false)
    }

    fn signed_by(&self, issuer: &Certificate) -> Option<bool> {
        let (this, issuer) = (self.fields.as_ref()?, issuer.fields.as_ref()?);
        let (body, issuer) = (this.tbs_certificate(), issuer.tbs_certificate());
        if body.issuer() != issuer.subject() {
            return Some(false);
        }
        let signed = body.to_der().ok()?;
        let signature = this.signature().as_bytes()?;
        let key = issuer.subject_public_key_info();
        let (algorithm, key_algorithm) =
            (content(&this.signature_algorithm().to_der().ok()?)?, content(&key.algorithm.to_der().ok()?)?);
        let key = key.subject_public_key.as_bytes()?;
        let provider = TlsProvider::default().crypto().ok()?;
        Some(provider.signature_verification_algorithms.all.iter().any(|known| {
            known.signature_alg_id().as_ref() == algorithm
                && known.public_key_alg_id().as_ref() == key_algorithm
                && known.verify_signature(key, &signed, signature).is_ok()
        }))
    }

    /// Whether it is for this host name or address: by its [`names`](Certificate::names), with `*`
    /// for one whole label at the left.
    #[doc(alias = "verify")]
    pub fn verify_name(&self, host: &str) -> bool {
        let Ok(name) = super::server_name(host) else { return false };
        self.is_for(&name)
    }

    /// What is wrong with it for a server of this name, whoever issued it.
    pub(super) fn problem_as_server(&self, name: &ServerName<'_>, now: UnixTime) -> Option<Refused> {
        let Some(fields) = &self.fields else { return Some(Refused::BadEncoding) };
        let (from, to) = self.validity();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        let for_servers = match fields.tbs_certificate().get_extension::<ExtendedKeyUsage>() {
            Ok(None) => true,
            Ok(Some((_critical, usage))) => usage.0.contains(&SERVER_AUTH),
            Err(_) => return Some(Refused::BadEncoding),
        };
        if now < from {
            Some(Refused::NotValidYet)
        } else if now > to {
            Some(Refused::Expired)
        } else if !for_servers {
            Some(Refused::InvalidPurpose)
        } else if !self.is_for(name) {
            Some(Refused::NotValidForName)
        } else {
            None
        }
    }

    fn is_for(&self, name: &ServerName<'_>) -> bool {
        let der = CertificateDer::from(&*self.der);
        ParsedCertificate::try_from(&der)
            .is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, name).is_ok())
    }
}

/// `id-kp-serverAuth`.
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

/// The part of a name that is of this kind.
fn part(name: &Name, kind: &str) -> Option<String> {
    let oid = DB.by_name(kind).copied().or_else(|| kind.parse().ok())?;
    name.iter().find(|part| part.oid == oid).and_then(text)
}

fn text(part: &AttributeTypeAndValue) -> Option<String> {
    let value = &part.value;
    match value.tag() {
        Tag::PrintableString => PrintableStringRef::try_from(value).ok().map(|s| s.as_str().to_owned()),
        Tag::Utf8String => Utf8StringRef::try_from(value).ok().map(|s| s.as_str().to_owned()),
        Tag::Ia5String => Ia5StringRef::try_from(value).ok().map(|s| s.as_str().to_owned()),
        Tag::TeletexString => TeletexStringRef::try_from(value).ok().map(|s| s.as_str().to_owned()),
        _ => None,
    }
}

/// What is inside a DER value with a short length.
fn content(der: &[u8]) -> Option<Vec<u8>> {
    let (&length, content) = der.get(1..)?.split_first()?;
    (usize::from(length) == content.len()).then(|| content.to_vec())
}

fn hex(bytes: &[u8], between: &str) -> String {
    let mut text = String::with_capacity(bytes.len() * (2 + between.len()));
    for (i, byte) in bytes.iter().enumerate() {
        if i > 0 {
            text.push_str(between);
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text
}

impl PartialEq for Certificate {
    #[doc(alias = "equals")]
    fn eq(&self, other: &Certificate) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl Hash for Certificate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.der.hash(state);
    }
}

impl AsRef<[u8]> for Certificate {
    fn as_ref(&self) -> &[u8] {
        &self.der
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("subject", &self.subject())
            .field("issuer", &self.issuer())
            .field("names", &self.names())
            .field("valid_from", &self.valid_from())
            .field("expires_on", &self.expires_on())
            .finish_non_exhaustive()
    }
}
