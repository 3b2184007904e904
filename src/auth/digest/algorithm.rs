//! The hash algorithms of Digest (RFC 7616, sections 3.3 and 6.1).
//!
//! Names, their order of strength, and hashes in hexadecimal. Nothing here knows what is
//! hashed, except that it may be a secret: results are wiped where they are one.

use std::fmt;
use std::io;
use std::str::FromStr;

use md5::Md5;
use sha2::{Digest, Sha256, Sha512_256};
use zeroize::Zeroizing;

use crate::{Error, Result};

/// A hash algorithm of the Digest scheme.
///
/// ```
/// use sessile::auth::DigestAlgorithm;
///
/// let algorithm: DigestAlgorithm = "sha-256-SESS".parse()?;
/// assert_eq!(algorithm, DigestAlgorithm::Sha256Sess);
/// assert_eq!(algorithm.to_string(), "SHA-256-sess");
/// assert!("SHA-1".parse::<DigestAlgorithm>().is_err());
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DigestAlgorithm {
    /// `MD5`, the default where a challenge names none. Only for peers that know no better.
    Md5,
    /// `MD5-sess`.
    Md5Sess,
    /// `SHA-256`.
    Sha256,
    /// `SHA-256-sess`.
    Sha256Sess,
    /// `SHA-512-256`: SHA-512/256 of FIPS 180-4, which has its own initial values. The example
    /// of the RFC is of SHA-512 cut to 256 bits by mistake (erratum 4897), and curl 7.88
    /// sends SHA-256 under this name: it is not understood here.
    Sha512_256,
    /// `SHA-512-256-sess`.
    Sha512_256Sess,
}

/// What hashes, with or without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Strength {
    Md5,
    Sha256,
    Sha512_256,
}

impl DigestAlgorithm {
    const ALL: [DigestAlgorithm; 6] = [
        DigestAlgorithm::Md5,
        DigestAlgorithm::Md5Sess,
        DigestAlgorithm::Sha256,
        DigestAlgorithm::Sha256Sess,
        DigestAlgorithm::Sha512_256,
        DigestAlgorithm::Sha512_256Sess,
    ];

    /// The name, as RFC 7616 spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            DigestAlgorithm::Md5 => "MD5",
            DigestAlgorithm::Md5Sess => "MD5-sess",
            DigestAlgorithm::Sha256 => "SHA-256",
            DigestAlgorithm::Sha256Sess => "SHA-256-sess",
            DigestAlgorithm::Sha512_256 => "SHA-512-256",
            DigestAlgorithm::Sha512_256Sess => "SHA-512-256-sess",
        }
    }

    /// Whether the user's hash goes into a session's hash, with the first nonces of both sides.
    pub fn is_session(self) -> bool {
        matches!(
            self,
            DigestAlgorithm::Md5Sess | DigestAlgorithm::Sha256Sess | DigestAlgorithm::Sha512_256Sess
        )
    }

    /// The hash of a message's content, for the protection `auth-int`.
    pub fn hash_content(self, content: &[u8]) -> ContentHash {
        let mut hasher = self.content_hasher();
        hasher.update(content);
        hasher.finish()
    }

    /// Hashes content that comes in pieces.
    pub fn content_hasher(self) -> ContentHasher {
        ContentHasher { strength: self.strength(), hasher: self.hasher() }
    }

    pub(super) fn strength(self) -> Strength {
        match self {
            DigestAlgorithm::Md5 | DigestAlgorithm::Md5Sess => Strength::Md5,
            DigestAlgorithm::Sha256 | DigestAlgorithm::Sha256Sess => Strength::Sha256,
            DigestAlgorithm::Sha512_256 | DigestAlgorithm::Sha512_256Sess => Strength::Sha512_256,
        }
    }

    /// The hash in hexadecimal of these parts with a colon between each two.
    pub(super) fn hash(self, parts: &[&[u8]]) -> Zeroizing<String> {
        let mut hasher = self.hasher();
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                hasher.update(b":");
            }
            hasher.update(part);
        }
        hasher.finish()
    }

    /// How many hexadecimal digits a hash has.
    pub(super) fn hash_len(self) -> usize {
        if self.strength() == Strength::Md5 { 32 } else { 64 }
    }

    fn hasher(self) -> Hasher {
        match self.strength() {
            Strength::Md5 => Hasher::Md5(Md5::new()),
            Strength::Sha256 => Hasher::Sha256(Sha256::new()),
            Strength::Sha512_256 => Hasher::Sha512_256(Sha512_256::new()),
        }
    }
}

impl FromStr for DigestAlgorithm {
    type Err = Error;

    /// Without regard to case. Fails with [`Unsupported`](crate::ErrorKind::Unsupported).
    fn from_str(name: &str) -> Result<DigestAlgorithm> {
        DigestAlgorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| Error::unsupported("a Digest algorithm that is not known"))
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The hash of a message's content, for the protection `auth-int`.
///
/// ```
/// use sessile::auth::DigestAlgorithm;
///
/// let whole = DigestAlgorithm::Sha256.hash_content(b"hello");
/// let mut hasher = DigestAlgorithm::Sha256.content_hasher();
/// hasher.update(b"hel");
/// hasher.update(b"lo");
/// assert_eq!(hasher.finish(), whole);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentHash {
    strength: Strength,
    hex: String,
}

impl ContentHash {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.hex.as_bytes()
    }

    /// Whether this was made with the algorithm's hash.
    pub(super) fn fits(&self, algorithm: DigestAlgorithm) -> bool {
        self.strength == algorithm.strength()
    }
}

/// Hashes content that comes in pieces, also by [`io::copy`].
///
/// ```
/// use sessile::auth::DigestAlgorithm;
///
/// let mut hasher = DigestAlgorithm::Md5.content_hasher();
/// std::io::copy(&mut &b"hello"[..], &mut hasher)?;
/// assert_eq!(hasher.finish(), DigestAlgorithm::Md5.hash_content(b"hello"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct ContentHasher {
    strength: Strength,
    hasher: Hasher,
}

impl ContentHasher {
    /// Hashes the next piece.
    pub fn update(&mut self, content: &[u8]) {
        self.hasher.update(content);
    }

    /// The hash of all pieces.
    pub fn finish(self) -> ContentHash {
        ContentHash { strength: self.strength, hex: String::clone(&self.hasher.finish()) }
    }
}

impl io::Write for ContentHasher {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        self.update(content);
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentHasher").field("strength", &self.strength).finish_non_exhaustive()
    }
}

#[derive(Clone)]
enum Hasher {
    Md5(Md5),
    Sha256(Sha256),
    Sha512_256(Sha512_256),
}

impl Hasher {
    fn update(&mut self, data: &[u8]) {
        match self {
            Hasher::Md5(hasher) => hasher.update(data),
            Hasher::Sha256(hasher) => hasher.update(data),
            Hasher::Sha512_256(hasher) => hasher.update(data),
        }
    }

    fn finish(self) -> Zeroizing<String> {
        match self {
            Hasher::Md5(hasher) => hex(&hasher.finalize()),
            Hasher::Sha256(hasher) => hex(&hasher.finalize()),
            Hasher::Sha512_256(hasher) => hex(&hasher.finalize()),
        }
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_without_regard_to_case_and_written_as_the_rfc_has_them() {
        for algorithm in DigestAlgorithm::ALL {
            assert_eq!(
                algorithm.as_str().to_ascii_lowercase().parse::<DigestAlgorithm>().unwrap(),
                algorithm
            );
            assert_eq!(algorithm.is_session(), algorithm.to_string().ends_with("-sess"));
        }
        for unknown in ["", "SHA", "SHA-512", "MD5 ", "MD5-SES", "SHA-256-sess-sess"] {
            assert!(unknown.parse::<DigestAlgorithm>().is_err());
        }
    }

    #[test]
    fn the_hashes_are_those_of_their_standards() {
        for (algorithm, expected) in [
            (DigestAlgorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (DigestAlgorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (DigestAlgorithm::Sha512_256, "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"),
        ] {
            assert_eq!(*algorithm.hash(&[b"abc"]), expected);
            assert_eq!(expected.len(), algorithm.hash_len());
        }
    }

    #[test]
    fn parts_are_joined_by_colons() {
        let algorithm = DigestAlgorithm::Sha256Sess;
        assert_eq!(algorithm.hash(&[b"a", b"", b"b"]), algorithm.hash(&[b"a::b"]));
    }

    #[test]
    fn a_hash_of_content_fits_its_algorithm_with_and_without_session() {
        let hash = DigestAlgorithm::Sha256.hash_content(b"");
        assert!(hash.fits(DigestAlgorithm::Sha256Sess) && !hash.fits(DigestAlgorithm::Sha512_256));
    }

    #[test]
    fn stronger_is_greater() {
        assert!(Strength::Md5 < Strength::Sha256 && Strength::Sha256 < Strength::Sha512_256);
    }
}
