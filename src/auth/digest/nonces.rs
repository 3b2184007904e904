//! The nonces of a Digest server: made so that only this server could have made them, good
//! for a time, and each count of a nonce only once (RFC 7616, sections 3.3 and 5.4).
//!
//! A nonce is the time, random bytes, and a hash of both with a key, so that one that was
//! only handed out takes no memory. Time is a counter that the caller gives.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha512_256};
use zeroize::Zeroizing;

use crate::auth::secret::constant_time_eq;
use crate::{Result, random};

/// How long a nonce serves. Apache has 5 minutes as well, Squid 30.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);

/// How many nonces in use are remembered: 64 bytes each, one for each client that is active
/// within a lifetime.
pub(super) const MAX_NONCES: usize = 16_384;

/// Makes nonces and remembers which counts of them were used.
pub(super) struct Nonces {
    key: Zeroizing<[u8; 32]>,
    lifetime: Duration,
    max: usize,
    used: Mutex<Used>,
}

impl Nonces {
    pub(super) fn new() -> Result<Nonces> {
        let mut key = Zeroizing::new([0; 32]);
        random::fill(&mut key[..])?;
        Ok(Nonces { key, lifetime: LIFETIME, max: MAX_NONCES, used: Mutex::default() })
    }

    pub(super) fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime;
    }

    pub(super) fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// A new nonce.
    pub(super) fn make(&self, now: Duration) -> Result<String> {
        let mut id = Id { issued: millis(now), random: [0; 16] };
        random::fill(&mut id.random)?;
        let mut bytes = [0; LEN];
        bytes[..ID_LEN].copy_from_slice(&id.to_bytes());
        bytes[ID_LEN..].copy_from_slice(&self.tag(&id));
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Whether the nonce was made here, is not too old, and was not used with this count. If
    /// so, it is from now on.
    ///
    /// To be asked only about credentials that are right otherwise: others can't use a nonce
    /// up, or fill the memory.
    pub(super) fn use_once(&self, nonce: &[u8], count: u32, now: Duration) -> bool {
        let Some(id) = self.read(nonce) else {
            return false;
        };
        let oldest = millis(now).saturating_sub(millis(self.lifetime));
        let mut used = self.used();
        used.drop_before(oldest);
        id.issued >= oldest && used.note(id, count, self.max)
    }

    /// How many nonces are remembered.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.used().counts.len()
    }

    fn read(&self, nonce: &[u8]) -> Option<Id> {
        let mut bytes = [0; LEN];
        if URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes).ok()? != LEN {
            return None;
        }
        let (id, tag) = bytes.split_at(ID_LEN);
        let id = Id::from_bytes(id)?;
        constant_time_eq(&self.tag(&id), tag).then_some(id)
    }

    /// A hash with the key in front is safe with SHA-512/256, which shows only a part of
    /// its state.
    fn tag(&self, id: &Id) -> [u8; TAG_LEN] {
        let hash = Sha512_256::new().chain_update(&self.key[..]).chain_update(id.to_bytes()).finalize();
        let mut tag = [0; TAG_LEN];
        tag.copy_from_slice(&hash[..TAG_LEN]);
        tag
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces")
            .field("lifetime", &self.lifetime)
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

/// What tells one nonce from another, the oldest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    issued: u64,
    random: [u8; 16],
}

impl Id {
    fn to_bytes(self) -> [u8; ID_LEN] {
        let mut bytes = [0; ID_LEN];
        bytes[..8].copy_from_slice(&self.issued.to_be_bytes());
        bytes[8..].copy_from_slice(&self.random);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Id> {
        let (issued, random) = bytes.split_at_checked(8)?;
        Some(Id { issued: u64::from_be_bytes(issued.try_into().ok()?), random: random.try_into().ok()? })
    }
}

/// The nonces in use.
#[derive(Default)]
struct Used {
    counts: BTreeMap<Id, Counts>,
    /// Nonces up to this time that are not remembered may have been forgotten, for want of
    /// room or because another thread's clock was ahead: they are refused.
    forgotten: Option<u64>,
}

impl Used {
    fn drop_before(&mut self, oldest: u64) {
        while self.counts.first_key_value().is_some_and(|(id, _)| id.issued < oldest) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let first = self.counts.pop_first().map(|(id, _)| id.issued);
        self.forgotten = self.forgotten.max(first);
    }

    fn note(&mut self, id: Id, count: u32, max: usize) -> bool {
        if let Some(counts) = self.counts.get_mut(&id) {
            return counts.note(count);
        }
        if self.forgotten.is_some_and(|forgotten| id.issued <= forgotten) {
            return false;
        }
        let mut counts = Counts::default();
        let fresh = counts.note(count);
        self.counts.insert(id, counts);
        while self.counts.len() > max {
            self.forget_first();
        }
        fresh
    }
}

/// Which counts of a nonce were used: the highest, and the 64 below it, since requests on
/// several connections may overtake each other.
#[derive(Default)]
struct Counts {
    highest: u32,
    /// Bit 0 is the highest itself.
    below: u64,
}

impl Counts {
    fn note(&mut self, count: u32) -> bool {
        if count > self.highest {
            self.below = self.below.checked_shl(count - self.highest).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let bit = 1u64.checked_shl(self.highest - count).unwrap_or(0);
        let fresh = bit != 0 && self.below & bit == 0;
        self.below |= bit;
        fresh
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const ID_LEN: usize = 24;
const TAG_LEN: usize = 16;
const LEN: usize = ID_LEN + TAG_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn used(nonces: &Nonces, nonce: &str, count: u32, now: Duration) -> bool {
        nonces.use_once(nonce.as_bytes(), count, now)
    }

    #[test]
    fn each_count_of_a_nonce_is_good_once() {
        let nonces = Nonces::new().unwrap();
        let nonce = nonces.make(START).unwrap();
        for (count, fresh) in [(1, true), (1, false), (3, true), (2, true), (2, false), (3, false), (4, true)]
        {
            assert_eq!(used(&nonces, &nonce, count, START), fresh, "{count}");
        }
    }

    #[test]
    fn counts_may_overtake_each_other_by_63_and_no_more() {
        let mut counts = Counts::default();
        assert!(counts.note(100));
        assert!(counts.note(37) && !counts.note(37));
        assert!(!counts.note(36), "too far back to be remembered");
        assert!(counts.note(u32::MAX) && !counts.note(100) && !counts.note(u32::MAX));
        assert!(counts.note(u32::MAX - 1));
    }

    #[test]
    fn a_nonce_has_its_time() {
        let nonces = Nonces::new().unwrap();
        let nonce = nonces.make(START).unwrap();
        assert!(used(&nonces, &nonce, 1, START + LIFETIME));
        assert!(!used(&nonces, &nonce, 2, START + LIFETIME + Duration::from_millis(1)));
        assert_eq!(nonces.len(), 0);
        // A thread that looked at the clock earlier opens no gap.
        assert!(!used(&nonces, &nonce, 1, START + LIFETIME));
        let nonces = Nonces::new().unwrap();
        let early = nonces.make(Duration::ZERO).unwrap();
        assert!(used(&nonces, &early, 1, Duration::ZERO));
        assert!(used(&nonces, &nonces.make(Duration::MAX).unwrap(), 1, Duration::MAX));
    }

    #[test]
    fn a_nonce_that_was_made_elsewhere_or_changed_is_refused() {
        let (here, there) = (Nonces::new().unwrap(), Nonces::new().unwrap());
        let nonce = here.make(START).unwrap();
        assert!(!used(&there, &nonce, 1, START));
        for at in 0..nonce.len() {
            let mut changed = nonce.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(!here.use_once(&changed, 1, START), "{at}");
            assert!(!used(&here, &nonce[..at], 1, START));
        }
        assert!(!used(&here, &(nonce.clone() + "A"), 1, START));
        assert!(!used(&here, &"A".repeat(100_000), 1, START));
        assert_eq!(here.len(), 0);
        assert!(used(&here, &nonce, 1, START));
    }

    #[test]
    fn a_nonce_that_was_forgotten_for_want_of_room_can_t_be_replayed() {
        let mut nonces = Nonces::new().unwrap();
        nonces.set_max(2);
        let at = |second| START + Duration::from_secs(second);
        let made: Vec<_> = (0..4).map(|second| nonces.make(at(second)).unwrap()).collect();
        for nonce in &made[..3] {
            assert!(used(&nonces, nonce, 1, at(4)));
        }
        assert_eq!(nonces.len(), 2);
        assert!(!used(&nonces, &made[0], 1, at(4)), "forgotten, so it may be a replay");
        assert!(!used(&nonces, &made[0], 2, at(4)));
        assert!(used(&nonces, &made[1], 2, at(4)) && used(&nonces, &made[3], 1, at(4)));
    }

    #[test]
    fn nonces_differ() {
        let nonces = Nonces::new().unwrap();
        assert_ne!(nonces.make(START).unwrap(), nonces.make(START).unwrap());
    }
}
