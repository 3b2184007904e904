//! The ids of web sessions, and their names in stores.
//!
//! An id is 144 random bits from the operating system, as 24 characters of base64url: 128
//! bits of secret, by which sessions in memory are found, behind 16 bits that are no
//! secret and stay when the id is rotated. Stores beyond the process never see an id: they
//! know a session by its [`StoreKey`], so that a store that leaks gives no usable cookie.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::{Error, Result, random};

/// The id of a web session: the value of its cookie.
///
/// `Display` gives the text, which is a credential: do not log it. `Debug` shows only the
/// part that is no secret.
///
/// ```
/// use sessile::web::SessionId;
///
/// let id: SessionId = "AAECAwQFBgcICQoLDA0ODxAR".parse()?;
/// assert_eq!(id.to_string(), "AAECAwQFBgcICQoLDA0ODxAR");
/// assert_eq!(format!("{id:?}"), "SessionId(AA…)");
/// assert!("no id at all".parse::<SessionId>().is_err());
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId([u8; BYTES]);

impl SessionId {
    /// A new id from the operating system's generator.
    pub(crate) fn random() -> Result<SessionId> {
        let mut bytes = [0; BYTES];
        random::fill(&mut bytes)?;
        Ok(SessionId(bytes))
    }

    /// A new id for the same session: another secret behind the same tag.
    pub(crate) fn rotated(&self) -> Result<SessionId> {
        let mut bytes = self.0;
        random::fill(&mut bytes[TAG..])?;
        Ok(SessionId(bytes))
    }

    /// The id that this text is, if it is one: 24 characters of base64url.
    #[inline]
    pub(crate) fn parse(text: &[u8]) -> Option<SessionId> {
        let text: &[u8; TEXT] = text.try_into().ok()?;
        let mut bytes = [0; BYTES];
        // All of them, whatever they are: one question at the end is faster than 24.
        let mut all = 0;
        for (eight, six) in text.chunks_exact(8).zip(bytes.chunks_exact_mut(6)) {
            let mut group = 0;
            for &c in eight {
                let value = VALUES[usize::from(c)];
                all |= value;
                group = group << 6 | u64::from(value);
            }
            six.copy_from_slice(&group.to_be_bytes()[2..]);
        }
        (all < 64).then_some(SessionId(bytes))
    }

    /// By what sessions in memory are found: the secret.
    #[inline]
    pub(crate) fn key(&self) -> Key {
        let half = |from: usize| {
            let mut half = [0; 8];
            half.copy_from_slice(&self.0[from..from + 8]);
            u64::from_le_bytes(half)
        };
        [half(TAG), half(TAG + 8)]
    }

    fn text(&self) -> [u8; TEXT] {
        let mut text = [0; TEXT];
        for (three, four) in self.0.chunks_exact(3).zip(text.chunks_exact_mut(4)) {
            let group = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
            for (at, c) in four.iter_mut().enumerate() {
                *c = ALPHABET[(group >> (18 - 6 * at)) as usize & 63];
            }
        }
        text
    }
}

impl FromStr for SessionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<SessionId> {
        SessionId::parse(text.as_bytes()).ok_or_else(|| Error::invalid_argument("this is not a session id"))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The alphabet is ASCII.
        f.pad(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:.2}…)", self)
    }
}

/// The secret of an id.
pub(crate) type Key = [u64; 2];

/// The name of a session in a store beyond the process: a tag that stays when the id is
/// rotated, and the SHA-256 of application and id.
///
/// The tag is two random bytes that are no secret. It is there for stores that are spread
/// over nodes: what belongs to one session, under its old and its new id, has one tag.
///
/// ```
/// use sessile::web::{SessionId, StoreKey};
///
/// let id: SessionId = "AAECAwQFBgcICQoLDA0ODxAR".parse()?;
/// let key = StoreKey::new("shop", &id);
/// assert_eq!(key.tag(), "0001");
/// assert_ne!(key, StoreKey::new("blog", &id));
/// assert_eq!(key.to_string().parse::<StoreKey>()?, key);
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreKey(Box<str>);

impl StoreKey {
    /// The name of the session with this id in this application.
    pub fn new(application: &str, id: &SessionId) -> StoreKey {
        let digest = digest(b"key", &[application.as_bytes(), &id.0]);
        let mut text = String::with_capacity(KEY_TEXT);
        hex(&mut text, &id.0[..TAG]);
        text.push('-');
        hex(&mut text, &digest);
        StoreKey(text.into())
    }

    /// The tag: four hexadecimal digits.
    pub fn tag(&self) -> &str {
        &self.0[..2 * TAG]
    }

    /// The whole name: the tag, a dash, and 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Some bytes of the name, for stores that spread by it.
    pub(crate) fn spread(&self) -> u8 {
        u8::from_str_radix(&self.0[2 * TAG + 1..2 * TAG + 3], 16).unwrap_or_default()
    }

    /// An id to show where the real one is not known, as in a sweep of a store. It finds
    /// nothing.
    pub(crate) fn stand_in(&self) -> SessionId {
        let mut bytes = [0; BYTES];
        let digits = self.tag().as_bytes().iter().chain(&self.0.as_bytes()[2 * TAG + 1..]);
        for (at, digit) in digits.take(2 * BYTES).enumerate() {
            bytes[at / 2] = bytes[at / 2] << 4 | char::from(*digit).to_digit(16).unwrap_or(0) as u8;
        }
        SessionId(bytes)
    }
}

impl FromStr for StoreKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<StoreKey> {
        let good = text.len() == KEY_TEXT
            && text.bytes().enumerate().all(|(at, c)| match at {
                DASH => c == b'-',
                _ => matches!(c, b'0'..=b'9' | b'a'..=b'f'),
            });
        if !good {
            return Err(Error::invalid_argument("this is not the name of a session in a store"));
        }
        Ok(StoreKey(text.into()))
    }
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreKey({}…)", &self.0[..DASH + 9])
    }
}

/// What an old id leaves behind for its holders: the new id, readable only with the old
/// one, which the store does not know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal(pub(crate) [u8; SECRET]);

impl Seal {
    pub(crate) fn new(old: &SessionId, new: &SessionId) -> Seal {
        let mut sealed = pad(old);
        for (byte, secret) in sealed.iter_mut().zip(&new.0[TAG..]) {
            *byte ^= secret;
        }
        Seal(sealed)
    }

    pub(crate) fn open(&self, old: &SessionId) -> SessionId {
        let mut bytes = old.0;
        for ((byte, sealed), pad) in bytes[TAG..].iter_mut().zip(&self.0).zip(pad(old)) {
            *byte = sealed ^ pad;
        }
        SessionId(bytes)
    }
}

/// An id is random and used once as a pad, so the pad gives nothing away.
fn pad(old: &SessionId) -> [u8; SECRET] {
    let digest = digest(b"seal", &[&old.0]);
    let mut pad = [0; SECRET];
    pad.copy_from_slice(&digest[..SECRET]);
    pad
}

/// A random text of 128 bits that is no id: for CSRF tokens.
pub(crate) fn random_token() -> Result<String> {
    let mut bytes = [0; BYTES];
    random::fill(&mut bytes)?;
    Ok(SessionId(bytes).to_string())
}

/// The name under which a store may index a principal: no secret, but nobody's business.
#[cfg(feature = "redis")]
pub(crate) fn principal_digest(application: &str, principal: &str) -> String {
    let mut text = String::new();
    hex(&mut text, &digest(b"principal", &[application.as_bytes(), principal.as_bytes()]));
    text
}

/// SHA-256 over a purpose and some parts, none of which can run into the next.
fn digest(purpose: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"sessile web session ");
    hash.update(purpose);
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

pub(crate) fn hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
    }
}

const TAG: usize = 2;
const SECRET: usize = 16;
const BYTES: usize = TAG + SECRET;
const TEXT: usize = BYTES / 3 * 4;
const DASH: usize = 2 * TAG;
const KEY_TEXT: usize = DASH + 1 + 64;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The value of each character of the alphabet, 255 for all others.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut at = 0;
    while at < 64 {
        values[ALPHABET[at] as usize] = at as u8;
        at += 1;
    }
    values
};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_24_characters_of_base64url_and_never_the_same() {
        let ids: std::collections::HashSet<SessionId> =
            (0..1000).map(|_| SessionId::random().unwrap()).collect();
        assert_eq!(ids.len(), 1000);
        for id in &ids {
            assert_eq!(id.to_string().len(), 24);
            assert_eq!(SessionId::parse(id.to_string().as_bytes()), Some(*id));
        }
    }

    #[test]
    fn every_bit_of_the_secret_counts() {
        let id = SessionId([0; BYTES]);
        for bit in 8 * TAG..8 * BYTES {
            let mut bytes = [0; BYTES];
            bytes[bit / 8] = 1 << (bit % 8);
            assert_ne!(SessionId(bytes).key(), id.key());
        }
    }

    #[test]
    fn what_is_not_an_id_is_not_parsed() {
        for text in [
            "",
            "AAECAwQFBgcICQoLDA0ODxA",
            "AAECAwQFBgcICQoLDA0ODxARA",
            "AAECAwQFBgcICQoLDA0ODx+/",
            "ÄÄÄÄÄÄÄÄÄÄÄÄ",
        ] {
            assert_eq!(SessionId::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn rotation_keeps_the_tag_and_nothing_else() {
        let old = SessionId::random().unwrap();
        let new = old.rotated().unwrap();
        assert_ne!(old.key(), new.key());
        assert_eq!(StoreKey::new("", &old).tag(), StoreKey::new("", &new).tag());
        assert_eq!(Seal::new(&old, &new).open(&old), new);
        assert_ne!(Seal::new(&old, &new).open(&new), new);
    }

    #[test]
    fn neither_debug_nor_the_name_in_a_store_holds_the_secret() {
        let id = SessionId::random().unwrap();
        let key = StoreKey::new("app", &id);
        assert!(!format!("{id:?} {key:?} {key}").contains(&id.to_string()[3..]));
        let shown = key.stand_in();
        assert_ne!(shown.key(), id.key());
        assert_ne!(StoreKey::new("app", &shown), key);
    }

    #[test]
    fn application_and_id_do_not_run_into_each_other() {
        let id = SessionId::random().unwrap();
        assert_ne!(StoreKey::new("a", &id), StoreKey::new("", &id));
        assert_ne!(StoreKey::new("a", &id), StoreKey::new("ab", &id));
    }

    #[test]
    fn a_name_in_a_store_is_read_strictly() {
        let key = StoreKey::new("", &SessionId::random().unwrap());
        assert_eq!(key.as_str().parse::<StoreKey>().unwrap(), key);
        for bad in
            ["", "../../etc/passwd", &key.as_str().to_uppercase(), &key.as_str()[1..], &format!("{key}0")]
        {
            assert!(bad.parse::<StoreKey>().is_err() || bad == key.as_str(), "{bad}");
        }
    }
}
