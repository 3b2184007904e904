//! Sending frames: masking, and the rules of RFC 6455 for what may be sent when.
//!
//! A frame goes out in one write where it is small, and never in part without the
//! connection being given up: behind half a frame nothing makes sense.

use std::io::{self, IoSlice, Write};

use super::frame::{CloseFrame, FrameFlags, Head, MOST_CONTROL, Mode, Opcode, apply_mask};
use super::utf8::Utf8;
use crate::{Error, Result, random};

#[derive(Debug)]
pub(super) struct Outgoing {
    mode: Mode,
    out: Vec<u8>,
    masks: Masks,
    // The kind of the message whose last fragment is still to be sent.
    message: Option<Opcode>,
    utf8: Utf8,
    close_sent: bool,
    broken: bool,
}

impl Outgoing {
    pub(super) fn new(mode: Mode) -> Outgoing {
        Outgoing {
            mode,
            out: Vec::new(),
            masks: Masks::default(),
            message: None,
            utf8: Utf8::default(),
            close_sent: false,
            broken: false,
        }
    }

    pub(super) fn close_sent(&self) -> bool {
        self.close_sent
    }

    /// Sends one frame and flushes the stream.
    pub(super) fn send<W: Write + ?Sized>(
        &mut self,
        stream: &mut W,
        payload: &[u8],
        flags: FrameFlags,
    ) -> Result<()> {
        if self.broken {
            return Err(Error::illegal_state("an earlier frame could not be sent whole"));
        }
        if self.close_sent {
            return Err(Error::illegal_state("a close frame was sent: nothing may follow it"));
        }
        self.check(payload, flags)?;
        self.broken = true;
        self.write(stream, payload, flags)?;
        self.broken = false;
        self.close_sent = flags.opcode() == Some(Opcode::Close);
        Ok(())
    }

    fn check(&mut self, payload: &[u8], flags: FrameFlags) -> Result<()> {
        let opcode = flags.opcode().filter(|_| !flags.has_reserved());
        let opcode =
            opcode.ok_or_else(|| Error::invalid_argument("reserved opcodes and bits are not sent"))?;
        if opcode.is_control() {
            if !flags.is_final() || payload.len() > MOST_CONTROL {
                return Err(Error::invalid_argument("a control frame has 125 bytes at most, in one piece"));
            }
            if opcode == Opcode::Close {
                CloseFrame::parse(payload).map_err(|error| Error::invalid_argument(error.to_string()))?;
            }
            return Ok(());
        }
        if (opcode == Opcode::Continuation) != self.message.is_some() {
            return Err(Error::illegal_state(match opcode {
                Opcode::Continuation => "there is no message to continue",
                _ => "the last fragment of a message is still to be sent",
            }));
        }
        let kind = self.message.unwrap_or(opcode);
        let mut utf8 = self.utf8;
        if kind == Opcode::Text && !utf8.check(payload, flags.is_final()) {
            return Err(Error::invalid_argument("a text message must be UTF-8"));
        }
        self.utf8 = utf8;
        self.message = (!flags.is_final()).then_some(kind);
        Ok(())
    }

    fn write<W: Write + ?Sized>(&mut self, stream: &mut W, payload: &[u8], flags: FrameFlags) -> Result<()> {
        let mask = match self.mode {
            Mode::Server => None,
            Mode::Client => Some(self.masks.next()?),
        };
        self.out.clear();
        Head::write(flags, mask, payload.len() as u64, &mut self.out)?;
        match mask {
            None if payload.len() > COPIED => write_both(stream, &self.out, payload)?,
            None => {
                self.out.extend_from_slice(payload);
                stream.write_all(&self.out)?;
            }
            Some(mask) => {
                let mut sent = 0;
                loop {
                    let start = self.out.len();
                    let end = payload.len().min(sent + PIECE);
                    self.out.extend_from_slice(&payload[sent..end]);
                    apply_mask(&mut self.out[start..], mask, sent);
                    stream.write_all(&self.out)?;
                    sent = end;
                    if sent == payload.len() {
                        break;
                    }
                    self.out.clear();
                }
            }
        }
        stream.flush()?;
        Ok(())
    }
}

/// Both, without copying them together.
fn write_both<W: Write + ?Sized>(stream: &mut W, mut head: &[u8], mut payload: &[u8]) -> io::Result<()> {
    while !head.is_empty() {
        let count = match stream.write_vectored(&[IoSlice::new(head), IoSlice::new(payload)]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let of_head = count.min(head.len());
        head = &head[of_head..];
        payload = &payload[count - of_head..];
    }
    stream.write_all(payload)
}

/// Masks nobody can foresee (RFC 6455, 10.3), fetched from the system many at a time.
#[derive(Default)]
struct Masks {
    bytes: Vec<u8>,
}

impl Masks {
    fn next(&mut self) -> Result<[u8; 4]> {
        if self.bytes.is_empty() {
            let mut fresh = vec![0; 256];
            random::fill(&mut fresh)?;
            self.bytes = fresh;
        }
        let rest = self.bytes.len().saturating_sub(4);
        let mut mask = [0; 4];
        mask.copy_from_slice(&self.bytes[rest..]);
        self.bytes.truncate(rest);
        Ok(mask)
    }
}

impl std::fmt::Debug for Masks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masks")
    }
}

/// A larger payload is not copied behind its head.
const COPIED: usize = 16 << 10;
/// So much is masked and sent at a time.
const PIECE: usize = 64 << 10;
