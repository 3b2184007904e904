//! The words of RFC 6455: opcodes, flags, close codes, the head of a frame.
//!
//! Values only. The one use of tungstenite: a frame's head, from bytes and to bytes.

use std::fmt;
use std::io::Cursor;
use std::ops::BitOr;

use tungstenite::protocol::frame::{FrameHeader, coding::OpCode};

use super::error::violation;
use crate::{Error, Result};

/// On which side of the connection a WebSocket is: clients mask what they send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The side that accepted the handshake.
    #[doc(alias = "WS_SERVER")]
    Server,
    /// The side that asked for it.
    #[doc(alias = "WS_CLIENT")]
    Client,
}

/// What a frame is for (RFC 6455, 11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "FrameOpcodes")]
pub enum Opcode {
    /// Goes on with the message that an earlier frame started.
    #[doc(alias = "FRAME_OP_CONT")]
    Continuation = 0,
    /// Starts a message of UTF-8 text.
    #[doc(alias = "FRAME_OP_TEXT")]
    Text = 1,
    /// Starts a message of bytes.
    #[doc(alias = "FRAME_OP_BINARY")]
    Binary = 2,
    /// Says that nothing will follow, and why.
    #[doc(alias = "FRAME_OP_CLOSE")]
    Close = 8,
    /// Asks for a pong.
    #[doc(alias = "FRAME_OP_PING")]
    Ping = 9,
    /// Answers a ping.
    #[doc(alias = "FRAME_OP_PONG")]
    Pong = 10,
}

impl Opcode {
    /// The opcode with this number; `None` for those that are reserved.
    pub const fn from_number(number: u8) -> Option<Opcode> {
        Some(match number {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    /// Whether this is a close, a ping or a pong, which may stand between the fragments of a
    /// message.
    pub const fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

/// The first byte of a frame: the opcode, and whether the message ends with this frame.
///
/// ```
/// use sessile::websocket::{FrameFlags, Opcode};
///
/// assert_eq!(FrameFlags::FIN | Opcode::Text, FrameFlags::TEXT);
/// let first_fragment = FrameFlags::from(Opcode::Binary);
/// assert!(!first_fragment.is_final());
/// assert_eq!(FrameFlags::CLOSE.opcode(), Some(Opcode::Close));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "SendFlags")]
#[doc(alias = "FRAME_OP_SETRAW")]
pub struct FrameFlags(u8);

impl FrameFlags {
    /// The message ends with this frame.
    #[doc(alias = "FRAME_FLAG_FIN")]
    pub const FIN: FrameFlags = FrameFlags(0x80);
    /// Reserved for extensions; not sent, and refused when received.
    #[doc(alias = "FRAME_FLAG_RSV1")]
    pub const RSV1: FrameFlags = FrameFlags(0x40);
    /// Reserved for extensions; not sent, and refused when received.
    #[doc(alias = "FRAME_FLAG_RSV2")]
    pub const RSV2: FrameFlags = FrameFlags(0x20);
    /// Reserved for extensions; not sent, and refused when received.
    #[doc(alias = "FRAME_FLAG_RSV3")]
    pub const RSV3: FrameFlags = FrameFlags(0x10);
    /// A text message in one frame.
    #[doc(alias = "FRAME_TEXT")]
    pub const TEXT: FrameFlags = FrameFlags(0x81);
    /// A binary message in one frame.
    #[doc(alias = "FRAME_BINARY")]
    pub const BINARY: FrameFlags = FrameFlags(0x82);
    /// The last fragment of a message.
    pub const LAST: FrameFlags = FrameFlags(0x80);
    /// A close frame.
    pub const CLOSE: FrameFlags = FrameFlags(0x88);
    /// A ping.
    pub const PING: FrameFlags = FrameFlags(0x89);
    /// A pong.
    pub const PONG: FrameFlags = FrameFlags(0x8a);

    /// The flags with these bits.
    pub const fn from_bits(bits: u8) -> FrameFlags {
        FrameFlags(bits)
    }

    /// The bits, as they stand in the first byte of the frame.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The opcode; `None` if it is a reserved one.
    #[doc(alias = "FRAME_OP_BITMASK")]
    pub const fn opcode(self) -> Option<Opcode> {
        Opcode::from_number(self.0 & 0x0f)
    }

    /// Whether the message ends with this frame.
    pub const fn is_final(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// Whether one of the reserved bits is set.
    pub const fn has_reserved(self) -> bool {
        self.0 & 0x70 != 0
    }
}

impl From<Opcode> for FrameFlags {
    /// The opcode without `FIN`: a fragment that others follow.
    fn from(opcode: Opcode) -> FrameFlags {
        FrameFlags(opcode as u8)
    }
}

impl BitOr for FrameFlags {
    type Output = FrameFlags;

    fn bitor(self, other: FrameFlags) -> FrameFlags {
        FrameFlags(self.0 | other.0)
    }
}

impl BitOr<Opcode> for FrameFlags {
    type Output = FrameFlags;

    fn bitor(self, opcode: Opcode) -> FrameFlags {
        self | FrameFlags::from(opcode)
    }
}

impl fmt::Debug for FrameFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FrameFlags({:#04x})", self.0)
    }
}

/// A frame that was received: its flags and how long its payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Opcode and end of message.
    pub flags: FrameFlags,
    /// Bytes of payload.
    pub length: usize,
}

impl Frame {
    /// The opcode. Frames with a reserved one are not received.
    pub fn opcode(&self) -> Opcode {
        self.flags.opcode().unwrap_or(Opcode::Continuation)
    }

    /// Whether the message ends with this frame.
    pub fn is_final(&self) -> bool {
        self.flags.is_final()
    }
}

/// Why a connection is closed (RFC 6455, 7.4).
///
/// ```
/// use sessile::websocket::CloseCode;
///
/// assert_eq!(CloseCode::NORMAL.as_u16(), 1000);
/// assert!(CloseCode::from(4000).is_sendable());
/// assert!(!CloseCode::NO_STATUS.is_sendable());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "StatusCodes")]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    #[doc(alias = "WS_NORMAL_CLOSE")]
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server goes down, or the browser leaves the page.
    #[doc(alias = "WS_ENDPOINT_GOING_AWAY")]
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer broke the protocol.
    #[doc(alias = "WS_PROTOCOL_ERROR")]
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// A kind of message that this side does not take.
    #[doc(alias = "WS_PAYLOAD_NOT_ACCEPTABLE")]
    pub const PAYLOAD_NOT_ACCEPTABLE: CloseCode = CloseCode(1003);
    /// Reserved; never sent.
    #[doc(alias = "WS_RESERVED")]
    pub const RESERVED: CloseCode = CloseCode(1004);
    /// Stands for a close frame without a code; never sent.
    #[doc(alias = "WS_RESERVED_NO_STATUS_CODE")]
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// Stands for an end without a close frame; never sent.
    #[doc(alias = "WS_RESERVED_ABNORMAL_CLOSE")]
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// A payload that is not what it says, such as text that is not UTF-8.
    #[doc(alias = "WS_MALFORMED_PAYLOAD")]
    pub const MALFORMED_PAYLOAD: CloseCode = CloseCode(1007);
    /// Against the rules of this side, without saying which.
    #[doc(alias = "WS_POLICY_VIOLATION")]
    pub const POLICY_VIOLATION: CloseCode = CloseCode(1008);
    /// A message that is too large for this side.
    #[doc(alias = "WS_PAYLOAD_TOO_BIG")]
    pub const PAYLOAD_TOO_BIG: CloseCode = CloseCode(1009);
    /// The client wanted an extension that the server lacks.
    #[doc(alias = "WS_EXTENSION_REQUIRED")]
    pub const EXTENSION_REQUIRED: CloseCode = CloseCode(1010);
    /// The server met something that it did not expect.
    #[doc(alias = "WS_UNEXPECTED_CONDITION")]
    pub const UNEXPECTED_CONDITION: CloseCode = CloseCode(1011);
    /// Stands for a failed TLS handshake; never sent.
    #[doc(alias = "WS_RESERVED_TLS_FAILURE")]
    pub const TLS_FAILURE: CloseCode = CloseCode(1015);

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// Whether a close frame may hold this code: the registered ones, and those from 3000 to
    /// 4999, which are for libraries and applications.
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl From<u16> for CloseCode {
    fn from(number: u16) -> CloseCode {
        CloseCode(number)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({})", self.0)
    }
}

/// What a close frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseFrame {
    /// The code; [`CloseCode::NO_STATUS`] if the frame has none.
    pub code: CloseCode,
    /// The reason, for people.
    pub reason: String,
}

impl CloseFrame {
    /// Reads the payload of a close frame.
    pub(super) fn parse(payload: &[u8]) -> Result<CloseFrame> {
        let (code, reason) = match payload {
            [] => return Ok(CloseFrame { code: CloseCode::NO_STATUS, reason: String::new() }),
            [_] => return Err(violation("a close frame has half a code")),
            [high, low, reason @ ..] => (CloseCode(u16::from_be_bytes([*high, *low])), reason),
        };
        if !code.is_sendable() {
            return Err(violation("a close frame has a code that is never sent"));
        }
        match std::str::from_utf8(reason) {
            Ok(reason) => Ok(CloseFrame { code, reason: reason.into() }),
            Err(_) => Err(super::error::WebSocketErrorKind::Violation(CloseCode::MALFORMED_PAYLOAD)
                .error("the reason in a close frame is not UTF-8")),
        }
    }

    /// The payload of a close frame with this code and reason.
    pub(super) fn payload(code: CloseCode, reason: &str) -> Result<Vec<u8>> {
        if !code.is_sendable() {
            return Err(Error::invalid_argument(format!("the close code {code} must not be sent")));
        }
        if reason.len() > MOST_CONTROL - 2 {
            return Err(Error::invalid_argument("the reason for closing has more than 123 bytes"));
        }
        Ok([&code.as_u16().to_be_bytes(), reason.as_bytes()].concat())
    }
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) flags: FrameFlags,
    pub(super) mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub(super) payload: u64,
    /// Bytes of the head itself.
    pub(super) length: usize,
}

impl Head {
    /// The head at the start of `bytes`, if all of it is there.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Head>> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let flags = FrameFlags(first);
        // At once, not when the rest of the head is there.
        if flags.opcode().is_none() {
            return Err(violation("a frame has a reserved opcode"));
        }
        let mut cursor = Cursor::new(bytes);
        let parsed =
            FrameHeader::parse(&mut cursor).map_err(|_| violation("the head of a frame can't be read"))?;
        let Some((header, payload)) = parsed else { return Ok(None) };
        let length = cursor.position() as usize;
        // RFC 6455, 5.2: "the minimal number of bytes MUST be used".
        if length != header.len(payload) || payload > i64::MAX as u64 {
            return Err(violation("the length of a frame is not written as it must be"));
        }
        Ok(Some(Head { flags, mask: header.mask, payload, length }))
    }

    /// Writes a head for so many bytes of payload.
    pub(super) fn write(
        flags: FrameFlags,
        mask: Option<[u8; 4]>,
        payload: u64,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let header = FrameHeader {
            is_final: flags.is_final(),
            rsv1: false,
            rsv2: false,
            rsv3: false,
            opcode: OpCode::from(flags.bits() & 0x0f),
            mask,
        };
        header
            .format(payload, out)
            .map_err(|_| Error::invalid_argument("the head of a frame can't be written"))
    }
}

/// Masks or unmasks a payload in place (RFC 6455, 5.3). `offset` is where in the payload
/// the bytes stand.
pub(super) fn apply_mask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut wide = [0; 32];
    for (at, byte) in wide.iter_mut().enumerate() {
        *byte = mask[(at + offset) % 4];
    }
    let mut chunks = bytes.chunks_exact_mut(wide.len());
    for chunk in &mut chunks {
        for (byte, mask) in chunk.iter_mut().zip(&wide) {
            *byte ^= mask;
        }
    }
    for (byte, mask) in chunks.into_remainder().iter_mut().zip(&wide) {
        *byte ^= mask;
    }
}

/// The most that a close, a ping or a pong may carry (RFC 6455, 5.5).
pub(super) const MOST_CONTROL: usize = 125;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        for payload in [0, 1, 125, 126, 127, 65535, 65536, 1 << 40] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let mut bytes = Vec::new();
                Head::write(FrameFlags::BINARY, mask, payload, &mut bytes).unwrap();
                for cut in 0..bytes.len() {
                    assert_eq!(Head::parse(&bytes[..cut]).unwrap(), None);
                }
                let length = bytes.len();
                bytes.extend_from_slice(b"payload");
                let head = Head { flags: FrameFlags::BINARY, mask, payload, length };
                assert_eq!(Head::parse(&bytes).unwrap(), Some(head));
            }
        }
    }

    #[test]
    fn a_length_in_more_bytes_than_needed_is_refused() {
        for bytes in [
            &[0x82, 126, 0, 125][..],
            &[0x82, 127, 0, 0, 0, 0, 0, 0, 255, 255],
            &[0x82, 127, 255, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(Head::parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn masking_twice_at_any_offset_changes_nothing() {
        let plain: Vec<u8> = (0..200).collect();
        let mask = [0x11, 0x22, 0x44, 0x88];
        let mut masked = plain.clone();
        apply_mask(&mut masked, mask, 0);
        for (at, byte) in masked.iter().enumerate() {
            assert_eq!(*byte, plain[at] ^ mask[at % 4]);
        }
        for split in 0..plain.len() {
            let mut again = masked.clone();
            apply_mask(&mut again[..split], mask, 0);
            apply_mask(&mut again[split..], mask, split);
            assert_eq!(again, plain, "{split}");
        }
    }
}
