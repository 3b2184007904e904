//! How a record is written: a magic number, the fields with their lengths, a checksum.
//!
//! What can't be read back exactly is no record: cut off, changed, of another format.
//! Reading allocates no more than what there is to read.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::clock::{NEVER, duration_or_never, millis, span_or_never, time, time_or_never};
use super::store::{Moved, SessionRecord};

/// What a store that is made of files keeps under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    Record(SessionRecord),
    Moved(Moved),
}

impl Kept {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        match self {
            Kept::Record(record) => {
                out.extend_from_slice(RECORD);
                number(&mut out, record.version);
                number(&mut out, millis(record.created));
                number(&mut out, millis(record.last_accessed));
                number(&mut out, span_or_never(record.timeout));
                number(&mut out, record.ends.map_or(NEVER, millis));
                bytes(&mut out, record.application.as_bytes());
                optional(&mut out, record.client_address.map(|address| address.to_string()).as_deref());
                optional(&mut out, record.csrf_token.as_deref());
                optional(&mut out, record.principal.as_deref());
                number(&mut out, record.values.len() as u64);
                for (name, value) in &record.values {
                    bytes(&mut out, name.as_bytes());
                    bytes(&mut out, value);
                }
            }
            Kept::Moved(moved) => {
                out.extend_from_slice(MOVED);
                number(&mut out, millis(moved.at));
                number(&mut out, millis(moved.until));
                number(&mut out, millis(moved.kept));
                bytes(&mut out, moved.to.as_str().as_bytes());
                bytes(&mut out, &moved.seal);
            }
        }
        let sum = checksum(&out);
        number(&mut out, sum);
        out
    }

    pub(crate) fn decode(stored: &[u8]) -> Option<Kept> {
        let (content, sum) = stored.split_at_checked(stored.len().checked_sub(8)?)?;
        if u64::from_le_bytes(sum.try_into().ok()?) != checksum(content) {
            return None;
        }
        let (magic, mut rest) = content.split_at_checked(RECORD.len())?;
        let rest = &mut rest;
        let kept = match magic {
            RECORD => Kept::Record(read_record(rest)?),
            MOVED => {
                let at = time(read_number(rest)?);
                let (until, kept) = (time(read_number(rest)?), time(read_number(rest)?));
                let to = read_text(rest)?.parse().ok()?;
                Kept::Moved(Moved::from_parts(to, at, until, kept, read_bytes(rest)?.try_into().ok()?))
            }
            _ => return None,
        };
        rest.is_empty().then_some(kept)
    }
}

fn read_record(rest: &mut &[u8]) -> Option<SessionRecord> {
    let version = read_number(rest)?;
    let created = time(read_number(rest)?);
    let last_accessed = time(read_number(rest)?);
    let timeout = duration_or_never(read_number(rest)?);
    let ends = time_or_never(read_number(rest)?);
    let mut record = SessionRecord::new(read_text(rest)?, created);
    record.version = version;
    record.last_accessed = last_accessed;
    record.timeout = timeout;
    record.ends = ends;
    record.client_address = match read_optional(rest)? {
        Some(address) => Some(address.parse::<IpAddr>().ok()?),
        None => None,
    };
    record.csrf_token = read_optional(rest)?;
    record.principal = read_optional(rest)?;
    let mut values = BTreeMap::new();
    for _ in 0..read_number(rest)? {
        values.insert(read_text(rest)?.to_owned(), read_bytes(rest)?.to_vec());
    }
    record.values = values;
    Some(record)
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => bytes(out, text.as_bytes()),
        None => number(out, NEVER),
    }
}

fn read_number(rest: &mut &[u8]) -> Option<u64> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_le_bytes(*number))
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = read_number(rest)?.try_into().ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
}

fn read_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(read_bytes(rest)?).ok()
}

fn read_optional(rest: &mut &[u8]) -> Option<Option<String>> {
    if rest.starts_with(&NEVER.to_le_bytes()) {
        return read_number(rest).map(|_| None);
    }
    Some(Some(read_text(rest)?.to_owned()))
}

/// FNV-1a: against damage, not against people, who could as well write a good record.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

const RECORD: &[u8] = b"sessile\x01";
const MOVED: &[u8] = b"sessile\x02";

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::id::{SessionId, StoreKey};
    use super::*;

    fn sample() -> SessionRecord {
        let now = time(millis(SystemTime::now()));
        let mut record = SessionRecord::new("shop", now);
        record.version = 7;
        record.timeout = Some(Duration::from_secs(5));
        record.client_address = Some([127, 0, 0, 1].into());
        record.principal = Some("Ännchen".into());
        record.values.insert("a".into(), b"ti".to_vec());
        record.values.insert(String::new(), vec![0; 300]);
        record
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bare = SessionRecord::new("", time(0));
        let id = SessionId::random().unwrap();
        let moved = Moved::new(StoreKey::new("", &id), &id, &id, 0, 1, 2);
        for kept in [Kept::Record(sample()), Kept::Record(bare), Kept::Moved(moved)] {
            assert_eq!(Kept::decode(&kept.encode()), Some(kept));
        }
    }

    #[test]
    fn no_damage_goes_unnoticed() {
        let good = Kept::Record(sample()).encode();
        for at in 0..good.len() {
            assert_eq!(Kept::decode(&good[..at]), None);
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert_eq!(Kept::decode(&bad), None);
        }
        assert_eq!(Kept::decode(&[good.as_slice(), b"x"].concat()), None);
        assert_eq!(Kept::decode(&[0; 4096]), None);
    }

    #[test]
    fn a_length_that_lies_allocates_nothing() {
        let mut lie = RECORD.to_vec();
        (0..5).for_each(|_| number(&mut lie, 1));
        number(&mut lie, u64::MAX / 2);
        let sum = checksum(&lie);
        number(&mut lie, sum);
        assert_eq!(Kept::decode(&lie), None);
    }
}
