//! The three messages of NTLM (MS-NLMP, section 2.2.1), written and read.
//!
//! A message is a fixed part with descriptors (length, room, offset), and behind it what they
//! describe. When one is read, every length and offset is checked before it is used. Nothing
//! here knows a password.

use std::fmt;

use super::hash::utf16;
use crate::{Error, Result};

/// What begins every message.
pub(super) const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";

/// Flags that client and server agree upon (MS-NLMP, 2.2.2.5).
pub mod flags {
    /// Text is in UTF-16.
    #[doc(alias = "NTLM_FLAG_NEGOTIATE_UNICODE")]
    pub const UNICODE: u32 = 0x0000_0001;
    /// Text may be in the server's own character set.
    #[doc(alias = "NTLM_FLAG_NEGOTIATE_OEM")]
    pub const OEM: u32 = 0x0000_0002;
    /// The challenge must name its target.
    #[doc(alias = "NTLM_FLAG_REQUEST_TARGET")]
    pub const REQUEST_TARGET: u32 = 0x0000_0004;
    /// NTLM itself.
    #[doc(alias = "NTLM_FLAG_NEGOTIATE_NTLM")]
    pub const NTLM: u32 = 0x0000_0200;
    /// The negotiate message has a domain.
    #[doc(alias = "NTLM_FLAG_DOMAIN_SUPPLIED")]
    pub const DOMAIN_SUPPLIED: u32 = 0x0000_1000;
    /// The negotiate message has a workstation.
    #[doc(alias = "NTLM_FLAG_WORKST_SUPPLIED")]
    pub const WORKSTATION_SUPPLIED: u32 = 0x0000_2000;
    /// Server and client are the same machine.
    #[doc(alias = "NTLM_FLAG_NEGOTIATE_LOCAL")]
    pub const LOCAL: u32 = 0x0000_4000;
    /// A signature comes with every message, if only for show.
    #[doc(alias = "NTLM_FLAG_NEGOTIATE_ALWAYS_SIGN")]
    pub const ALWAYS_SIGN: u32 = 0x0000_8000;
    /// The target is a domain.
    #[doc(alias = "NTLM_FLAG_TARGET_DOMAIN")]
    pub const TARGET_DOMAIN: u32 = 0x0001_0000;
    /// The target is a server.
    #[doc(alias = "NTLM_FLAG_TARGET_SERVER")]
    pub const TARGET_SERVER: u32 = 0x0002_0000;
    /// The target is a share.
    #[doc(alias = "NTLM_FLAG_TARGET_SHARE")]
    pub const TARGET_SHARE: u32 = 0x0004_0000;
    /// Extended session security, without which a server knows version 1 only.
    #[doc(alias = "NTLM_FLAG_NEGOTIATE_NTLM2_KEY")]
    pub const NTLM2_KEY: u32 = 0x0008_0000;
    /// The challenge has target information.
    #[doc(alias = "NTLM_FLAG_NEGOTIATE_TARGET")]
    pub const TARGET_INFO: u32 = 0x0080_0000;
    /// Messages name a version of Windows.
    pub const VERSION: u32 = 0x0200_0000;
    /// Keys of 128 bits.
    #[doc(alias = "NTLM_FLAG_NEGOTIATE_128")]
    pub const KEY_128: u32 = 0x2000_0000;
    /// Keys of 56 bits.
    #[doc(alias = "NTLM_FLAG_NEGOTIATE_56")]
    pub const KEY_56: u32 = 0x8000_0000;
}

/// Message 1: the client begins.
///
/// ```
/// use sessile::auth::ntlm::NegotiateMessage;
///
/// assert!(NegotiateMessage::default().to_bytes()?.starts_with(b"NTLMSSP\0\x01\0\0\0"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NegotiateMessage {
    /// What the client can do. The flags that say whether the two names are there are set by
    /// [`to_bytes`](NegotiateMessage::to_bytes).
    pub flags: u32,
    /// The client's domain, ASCII only. Best left empty: nobody needs it.
    pub domain: String,
    /// The client's name, ASCII only. Best left empty.
    pub workstation: String,
}

impl Default for NegotiateMessage {
    /// What this crate can do, and no names.
    fn default() -> NegotiateMessage {
        NegotiateMessage { flags: OFFERED, domain: String::new(), workstation: String::new() }
    }
}

impl NegotiateMessage {
    /// The message as it is sent.
    ///
    /// Fails with [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for names of other
    /// characters than ASCII, or of more than 65,535 bytes.
    #[doc(alias = "formatNegotiateMessage")]
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut flags = self.flags & !(flags::DOMAIN_SUPPLIED | flags::WORKSTATION_SUPPLIED);
        for (name, flag) in
            [(&self.domain, flags::DOMAIN_SUPPLIED), (&self.workstation, flags::WORKSTATION_SUPPLIED)]
        {
            flags |= if name.is_empty() { 0 } else { flag };
        }
        let mut writer = Writer::new(1, 32);
        writer.number(flags);
        writer.descriptor(&encode(&self.domain, false)?)?;
        writer.descriptor(&encode(&self.workstation, false)?)?;
        Ok(writer.finish())
    }
}

/// Message 2: the server's challenge.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ChallengeMessage {
    /// What both can do.
    pub flags: u32,
    /// What the client must use in its proof.
    pub challenge: [u8; 8],
    /// The name of the domain or the server that asks.
    pub target: String,
    /// What else the server says of itself, as it stands in the message, up to and with the
    /// entry that ends it. Empty where it says nothing.
    pub target_info: Vec<u8>,
}

impl ChallengeMessage {
    /// Reads the message.
    ///
    /// Fails with [`Malformed`](crate::ErrorKind::Malformed) where it is cut, or a length or
    /// an offset points out of it.
    ///
    /// ```
    /// use sessile::auth::ntlm::ChallengeMessage;
    ///
    /// let mut message = b"NTLMSSP\0\x02\0\0\0".to_vec();
    /// message.extend([0; 36]);
    /// assert_eq!(ChallengeMessage::parse(&message)?.target, "");
    /// assert!(ChallengeMessage::parse(&message[..20]).is_err());
    /// # Ok::<(), sessile::Error>(())
    /// ```
    #[doc(alias = "parseChallengeMessage")]
    pub fn parse(message: &[u8]) -> Result<ChallengeMessage> {
        let reader = Reader(message);
        if reader.array::<8>(0)? != *SIGNATURE || reader.number(8)? != 2 {
            return Err(Error::malformed("not an NTLM challenge message"));
        }
        let flags = reader.number(20)?;
        let challenge = reader.array(24)?;
        let target = decode(reader.described(12)?, flags & flags::UNICODE != 0)?;
        // The oldest servers end here.
        let target_info = match flags & flags::TARGET_INFO {
            0 => &[],
            _ => reader.described(40)?,
        };
        let target_info = target_info[..attributes_len(target_info)?].to_vec();
        Ok(ChallengeMessage { flags, challenge, target, target_info })
    }

    /// The server's time, in tenths of a microsecond since 1601, where it says it.
    pub fn timestamp(&self) -> Option<u64> {
        let mut rest = &self.target_info[..];
        while let Some((id, value, behind)) = attribute(rest) {
            if id == TIMESTAMP {
                return value.try_into().ok().map(u64::from_le_bytes);
            }
            rest = behind;
        }
        None
    }
}

impl fmt::Debug for ChallengeMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeMessage")
            .field("flags", &format_args!("{:#010x}", self.flags))
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Message 3: the client's proof. `Debug` shows its flags only.
///
/// ```
/// use sessile::auth::ntlm::AuthenticateMessage;
///
/// let message = AuthenticateMessage { username: "User".into(), ..AuthenticateMessage::default() };
/// assert!(message.to_bytes()?.starts_with(b"NTLMSSP\0\x03\0\0\0"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct AuthenticateMessage {
    /// What was agreed upon.
    pub flags: u32,
    /// The LMv2 response.
    pub lm_response: Vec<u8>,
    /// The NTLMv2 response.
    pub nt_response: Vec<u8>,
    /// The domain of the user.
    #[doc(alias = "target")]
    pub domain: String,
    /// The name of the user.
    pub username: String,
    /// The name of the client.
    pub workstation: String,
}

impl AuthenticateMessage {
    /// The message as it is sent, without a session key and without a MIC.
    ///
    /// Fails with [`InvalidArgument`](crate::ErrorKind::InvalidArgument) where something is
    /// longer than 65,535 bytes, or not ASCII though the server does not take Unicode.
    #[doc(alias = "formatAuthenticateMessage")]
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let unicode = self.flags & flags::UNICODE != 0;
        let mut writer = Writer::new(3, 64);
        writer.descriptor(&self.lm_response)?;
        writer.descriptor(&self.nt_response)?;
        writer.descriptor(&encode(&self.domain, unicode)?)?;
        writer.descriptor(&encode(&self.username, unicode)?)?;
        writer.descriptor(&encode(&self.workstation, unicode)?)?;
        writer.descriptor(&[])?;
        writer.number(self.flags);
        Ok(writer.finish())
    }
}

impl fmt::Debug for AuthenticateMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateMessage")
            .field("flags", &format_args!("{:#010x}", self.flags))
            .finish_non_exhaustive()
    }
}

/// What this crate can do.
pub(super) const OFFERED: u32 =
    flags::UNICODE | flags::OEM | flags::REQUEST_TARGET | flags::NTLM | flags::ALWAYS_SIGN | flags::NTLM2_KEY;

/// Reads at offsets that the message gives.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        self.0
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .ok_or_else(|| Error::malformed("an NTLM message that is cut"))
    }

    fn number(&self, at: usize) -> Result<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// What the descriptor at this place describes. It must not reach into the fixed part.
    fn described(&self, at: usize) -> Result<&'a [u8]> {
        let len = usize::from(u16::from_le_bytes(self.array(at)?));
        let start = usize::try_from(self.number(at + 4)?).unwrap_or(usize::MAX);
        if len == 0 {
            return Ok(&[]);
        }
        if start < FIXED {
            return Err(Error::malformed("an NTLM message with an offset into its fixed part"));
        }
        start
            .checked_add(len)
            .and_then(|end| self.0.get(start..end))
            .ok_or_else(|| Error::malformed("an NTLM message with an offset out of it"))
    }
}

/// The shortest fixed part of a challenge message.
const FIXED: usize = 32;

/// Writes the fixed part and, apart from it, what its descriptors describe.
struct Writer {
    fixed: Vec<u8>,
    fixed_len: usize,
    described: Vec<u8>,
}

impl Writer {
    fn new(kind: u32, fixed_len: usize) -> Writer {
        let mut writer = Writer { fixed: SIGNATURE.to_vec(), fixed_len, described: Vec::new() };
        writer.number(kind);
        writer
    }

    fn number(&mut self, number: u32) {
        self.fixed.extend_from_slice(&number.to_le_bytes());
    }

    fn descriptor(&mut self, content: &[u8]) -> Result<()> {
        let too_long = |_| Error::invalid_argument("a name too long for an NTLM message");
        let len = u16::try_from(content.len()).map_err(too_long)?;
        let start = u32::try_from(self.fixed_len + self.described.len()).map_err(too_long)?;
        self.fixed.extend_from_slice(&len.to_le_bytes());
        self.fixed.extend_from_slice(&len.to_le_bytes());
        self.number(start);
        self.described.extend_from_slice(content);
        Ok(())
    }

    fn finish(mut self) -> Vec<u8> {
        debug_assert_eq!(self.fixed.len(), self.fixed_len);
        self.fixed.append(&mut self.described);
        self.fixed
    }
}

/// The first attribute of target information (MS-NLMP, 2.2.2.1) and what is behind it.
fn attribute(info: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let ([id_low, id_high, len_low, len_high], rest) = info.split_first_chunk()?;
    let len = usize::from(u16::from_le_bytes([*len_low, *len_high]));
    let (value, rest) = rest.split_at_checked(len)?;
    Some((u16::from_le_bytes([*id_low, *id_high]), value, rest))
}

/// How long the attributes are, with the one that ends them.
fn attributes_len(info: &[u8]) -> Result<usize> {
    let mut rest = info;
    while !rest.is_empty() {
        let Some((id, value, behind)) = attribute(rest) else {
            break;
        };
        rest = behind;
        if id == END && value.is_empty() {
            return Ok(info.len() - rest.len());
        }
    }
    if info.is_empty() {
        return Ok(0);
    }
    Err(Error::malformed("NTLM target information without its end"))
}

/// The attribute that ends the others.
const END: u16 = 0;
/// The attribute with the server's time.
const TIMESTAMP: u16 = 7;

/// Text as it stands in a message.
fn encode(text: &str, unicode: bool) -> Result<Vec<u8>> {
    if unicode {
        return Ok(utf16(text).to_vec());
    }
    if !text.is_ascii() {
        return Err(Error::invalid_argument(
            "a name that is not ASCII, for a server that does not take Unicode",
        ));
    }
    Ok(text.as_bytes().to_vec())
}

fn decode(bytes: &[u8], unicode: bool) -> Result<String> {
    if !unicode {
        return Ok(String::from_utf8_lossy(bytes).into_owned());
    }
    if bytes.len() % 2 != 0 {
        return Err(Error::malformed("half a character in an NTLM message"));
    }
    let units = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    char::decode_utf16(units)
        .collect::<Result<_, _>>()
        .map_err(|_| Error::malformed("text in an NTLM message that is not UTF-16"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    /// MS-NLMP, 4.2.4.3.
    pub(crate) const CHALLENGE: &[u8] = b"NTLMSSP\0\x02\0\0\0\x0c\0\x0c\0\x38\0\0\0\x33\x82\x8a\xe2\
        \x01\x23\x45\x67\x89\xab\xcd\xef\0\0\0\0\0\0\0\0\x24\0\x24\0\x44\0\0\0\x06\0\x70\x17\0\0\0\x0f\
        S\0e\0r\0v\0e\0r\0\x02\0\x0c\0D\0o\0m\0a\0i\0n\0\x01\0\x0c\0S\0e\0r\0v\0e\0r\0\0\0\0\0";

    fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut message = CHALLENGE.to_vec();
        message[at..at + bytes.len()].copy_from_slice(bytes);
        message
    }

    #[test]
    fn the_challenge_of_the_specification_is_read() {
        let message = ChallengeMessage::parse(CHALLENGE).unwrap();
        assert_eq!(message.flags, 0xe28a_8233);
        assert_eq!(message.challenge, [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        assert_eq!(message.target, "Server");
        assert_eq!(message.target_info, CHALLENGE[0x44..]);
        assert_eq!(message.timestamp(), None);
    }

    #[test]
    fn every_cut_of_a_challenge_is_malformed() {
        for len in 0..CHALLENGE.len() {
            let error = ChallengeMessage::parse(&CHALLENGE[..len]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{len}");
        }
        assert!(ChallengeMessage::parse(&[CHALLENGE, b"more"].concat()).is_ok());
    }

    #[test]
    fn no_changed_challenge_panics_or_takes_memory_by_its_lengths() {
        for at in 0..CHALLENGE.len() {
            for byte in 0..=255 {
                if let Ok(message) = ChallengeMessage::parse(&changed(at, &[byte])) {
                    assert!(message.target_info.len() <= CHALLENGE.len());
                    message.timestamp();
                }
            }
        }
    }

    #[test]
    fn lengths_and_offsets_must_stay_inside() {
        for (at, bytes) in [
            // Another signature, another kind.
            (0, &b"X"[..]),
            (8, b"\x03"),
            // The target: longer than the message; offsets out of it, into the fixed part, past u32.
            (12, b"\xff\xff"),
            (16, b"\xff\xff\xff\xff"),
            (16, b"\x67"),
            (16, b"\x1f"),
            // Half a character.
            (12, b"\x0b"),
            // Target information: the same.
            (40, b"\xff\xff"),
            (44, b"\xf0\xff\xff\xff"),
            // Without its end, and with an attribute that reaches behind it.
            (40, b"\x20"),
            (0x46, b"\xff"),
            // An end with a value.
            (0x66, b"\x01"),
        ] {
            let error = ChallengeMessage::parse(&changed(at, bytes)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Malformed, "{at} {bytes:?}");
        }
        // A length of nothing may point anywhere.
        assert!(ChallengeMessage::parse(&changed(12, b"\0\0\0\0\xff\xff\xff\xff")).is_ok());
    }

    #[test]
    fn a_challenge_of_the_oldest_kind_has_no_target_information() {
        let mut message = CHALLENGE[..32].to_vec();
        message[12..24].copy_from_slice(b"\0\0\0\0\0\0\0\0\x02\x02\0\0");
        let read = ChallengeMessage::parse(&message).unwrap();
        assert!(read.target.is_empty() && read.target_info.is_empty());
    }

    #[test]
    fn a_target_in_the_server_s_own_characters_is_read() {
        let message = [&changed(20, b"\x32")[..56], b"SERVERSERVER", &CHALLENGE[0x44..]].concat();
        assert_eq!(ChallengeMessage::parse(&message).unwrap().target, "SERVERSERVER");
    }

    #[test]
    fn the_server_s_time_is_found() {
        let with =
            |info: &[u8]| ChallengeMessage { target_info: info.to_vec(), ..Default::default() }.timestamp();
        assert_eq!(
            with(b"\x01\0\x02\0S\0\x07\0\x08\0\x01\x02\0\0\0\0\0\x80\0\0\0\0"),
            Some(0x8000_0000_0000_0201)
        );
        assert_eq!(with(b"\x07\0\x04\0\x01\x02\0\0\0\0\0\0"), None);
        assert_eq!(with(b"\x07\0\x08\0\x01"), None);
        assert_eq!(with(b""), None);
    }

    #[test]
    fn a_negotiate_message_has_only_the_names_that_are_given() {
        let bare = NegotiateMessage::default().to_bytes().unwrap();
        assert_eq!(bare, *b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\0\0\0\0\0\x20\0\0\0\0\0\0\0\x20\0\0\0");
        let named = NegotiateMessage { domain: "DOM".into(), workstation: "WS".into(), ..Default::default() };
        let named = named.to_bytes().unwrap();
        assert_eq!(named[12..16], *b"\x07\xb2\x08\0");
        assert_eq!(named[16..], *b"\x03\0\x03\0\x20\0\0\0\x02\0\x02\0\x23\0\0\0DOMWS");
    }

    #[test]
    fn what_does_not_fit_a_message_is_refused() {
        let domain = NegotiateMessage { domain: "ä".into(), ..Default::default() };
        assert_eq!(domain.to_bytes().unwrap_err().kind(), ErrorKind::InvalidArgument);
        let long =
            AuthenticateMessage { username: "x".repeat(32_768), flags: flags::UNICODE, ..Default::default() };
        assert_eq!(long.to_bytes().unwrap_err().kind(), ErrorKind::InvalidArgument);
        let ascii = AuthenticateMessage { username: "ä".into(), ..Default::default() };
        assert_eq!(ascii.to_bytes().unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn an_authenticate_message_describes_each_of_its_parts() {
        let message = AuthenticateMessage {
            flags: flags::UNICODE,
            lm_response: vec![1; 24],
            nt_response: vec![2; 50],
            domain: "D".into(),
            username: "Us".into(),
            workstation: "C".into(),
        };
        let bytes = message.to_bytes().unwrap();
        let part = |at: usize| {
            let number = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
            assert_eq!(number(at), number(at + 2));
            bytes[number(at + 4)..][..number(at)].to_vec()
        };
        assert_eq!((part(12), part(20)), (message.lm_response.clone(), message.nt_response.clone()));
        assert_eq!((part(28), part(36), part(44)), (b"D\0".to_vec(), b"U\0s\0".to_vec(), b"C\0".to_vec()));
        assert!(part(52).is_empty());
        assert_eq!(bytes[60..64], flags::UNICODE.to_le_bytes());
        assert_eq!(bytes.len(), 64 + 24 + 50 + 2 + 4 + 2);
        assert!(!format!("{message:?}").contains("Us"));
    }
}
