//! Certificates, keys and revocation lists, as files and bytes give them.
//!
//! PEM in any order and with anything between the sections, or DER. Nothing is trusted here and
//! nothing is kept: a source is read whenever a context is built from it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::error::failed;
use crate::error::{Error, ErrorKind, Result};

/// Bytes that are at hand, or a file to read them from each time.
#[derive(Clone)]
pub(super) enum Source {
    File(PathBuf),
    Pem(Arc<[u8]>),
    Der(Arc<[u8]>),
}

/// A chain of certificates, the peer's own first, and the key of that one.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) chain: Vec<Source>,
    pub(super) key: Source,
}

impl Source {
    pub(super) fn file(path: impl AsRef<Path>) -> Source {
        Source::File(path.as_ref().to_owned())
    }

    pub(super) fn pem(bytes: impl AsRef<[u8]>) -> Source {
        Source::Pem(bytes.as_ref().into())
    }

    pub(super) fn der(bytes: impl AsRef<[u8]>) -> Source {
        Source::Der(bytes.as_ref().into())
    }

    /// What the error messages call it.
    fn name(&self) -> String {
        match self {
            Source::File(path) => path.display().to_string(),
            Source::Pem(_) => "the PEM text".to_owned(),
            Source::Der(_) => "the DER bytes".to_owned(),
        }
    }

    /// What the source holds, and whether it is PEM.
    fn load(&self) -> Result<(Arc<[u8]>, bool)> {
        match self {
            Source::File(path) => {
                let bytes: Arc<[u8]> = std::fs::read(path)
                    .map_err(|error| {
                        Error::new(ErrorKind::Io, format!("{} can't be read", path.display()))
                            .with_source(error)
                    })?
                    .into();
                // DER begins with the tag of a SEQUENCE; no text does.
                let is_pem = bytes.first() != Some(&0x30);
                Ok((bytes, is_pem))
            }
            Source::Pem(bytes) => Ok((bytes.clone(), true)),
            Source::Der(bytes) => Ok((bytes.clone(), false)),
        }
    }

    /// All certificates of the source, at least one; of a directory, those of all its files.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        if let Source::File(path) = self {
            if path.is_dir() {
                return certificates_of_folder(path);
            }
        }
        let (bytes, is_pem) = self.load()?;
        if !is_pem {
            return Ok(vec![CertificateDer::from(bytes.to_vec())]);
        }
        let found: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| bad(self, "is no PEM").with_source(error))?;
        if found.is_empty() {
            return Err(bad(self, "holds no certificate"));
        }
        Ok(found)
    }

    fn revocation_lists(&self) -> Result<Vec<CertificateRevocationListDer<'static>>> {
        let (bytes, is_pem) = self.load()?;
        if !is_pem {
            return Ok(vec![CertificateRevocationListDer::from(bytes.to_vec())]);
        }
        let found: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| bad(self, "is no PEM").with_source(error))?;
        if found.is_empty() {
            return Err(bad(self, "holds no certificate revocation list"));
        }
        Ok(found)
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>> {
        let (bytes, is_pem) = self.load()?;
        if !is_pem {
            return PrivateKeyDer::try_from(bytes.to_vec())
                .map_err(|why| bad(self, "is no private key").with_source(why));
        }
        if let Ok(key) = PrivateKeyDer::from_pem_slice(&bytes) {
            return Ok(key);
        }
        let text = String::from_utf8_lossy(&bytes);
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(bad(
                self,
                "holds a private key under a passphrase: store it without one (openssl pkey), and guard the file",
            ));
        }
        let sections: Vec<(SectionKind, Vec<u8>)> =
            PemObject::pem_slice_iter(&bytes).filter_map(Result::ok).collect();
        Err(bad(self, if sections.is_empty() { "is no PEM" } else { "holds no private key" }))
    }
}

impl Identity {
    /// Reads chain and key, and makes sure that they belong together.
    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>> {
        let mut chain = Vec::new();
        for source in &self.chain {
            chain.extend(source.certificates()?);
        }
        let key = provider
            .key_provider
            .load_private_key(self.key.key()?)
            .map_err(|error| bad(&self.key, "holds a private key that can't be used").with_source(error))?;
        let identity = CertifiedKey::new(chain, key);
        match identity.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(error @ rustls::Error::InconsistentKeys(_)) => {
                return Err(failed(format!(
                    "the private key in {} is not that of the first certificate in {}",
                    self.key.name(),
                    self.chain.first().map_or_else(String::new, Source::name),
                ))
                .with_source(error));
            }
            Err(error) => {
                let source = self.chain.first().unwrap_or(&self.key);
                return Err(bad(source, "holds a certificate that can't be read").with_source(error));
            }
        }
        Ok(Arc::new(identity))
    }
}

/// The certificates of authorities in these sources. Bundles have some that were retired and can't
/// be read any more; a source with nothing else is an error.
pub(super) fn authorities(sources: &[Source]) -> Result<Vec<CertificateDer<'static>>> {
    let mut all = Vec::new();
    for source in sources {
        let found = source.certificates()?;
        let (usable, _) = RootCertStore::empty().add_parsable_certificates(found.iter().cloned());
        if usable == 0 {
            return Err(bad(source, "holds no certificate that can be an authority's"));
        }
        all.extend(found);
    }
    Ok(all)
}

pub(super) fn revocation_lists(sources: &[Source]) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    let mut all = Vec::new();
    for source in sources {
        all.extend(source.revocation_lists()?);
    }
    Ok(all)
}

/// The certificates of all files of a folder that are PEM: what `openssl rehash` makes, or whatever
/// was put there.
fn certificates_of_folder(folder: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unreadable =
        |error| Error::new(ErrorKind::Io, format!("{} can't be read", folder.display())).with_source(error);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let mut found: Vec<CertificateDer<'static>> = Vec::new();
    for path in paths {
        for certificate in Source::File(path).certificates().unwrap_or_default() {
            // A rehashed folder has each file under two names.
            if !found.contains(&certificate) {
                found.push(certificate);
            }
        }
    }
    if found.is_empty() {
        return Err(failed(format!("no file in {} holds a certificate", folder.display())));
    }
    Ok(found)
}

fn bad(source: &Source, what: &str) -> Error {
    failed(format!("{} {what}", source.name()))
}

impl fmt::Debug for Source {
    /// Never what it holds: that may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain).field("key", &self.key).finish()
    }
}
