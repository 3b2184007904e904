//! Receiving frames: the buffer, and the rules of RFC 6455 for what may come when.
//!
//! A frame is checked by its head as soon as that is there, and lent whole. What the peer
//! names as a length allocates nothing: the buffer grows with what really came. A read that
//! fails leaves everything where it was, so that one that timed out can be repeated.

use std::io::{self, Read};
use std::ops::Range;

use super::error::{WebSocketErrorKind, violation};
use super::frame::{CloseCode, CloseFrame, FrameFlags, Head, MOST_CONTROL, Mode, Opcode, apply_mask};
use super::utf8::Utf8;
use crate::Result;

#[derive(Debug)]
pub(super) struct Incoming {
    mode: Mode,
    buffer: Vec<u8>,
    // Where in the buffer the bytes are that came and were not taken.
    filled: Range<usize>,
    pub(super) max_payload: usize,
    // The head of the frame at the front, once it was read and found good.
    head: Option<Head>,
    // Its payload is there, unmasked and checked.
    whole: bool,
    // The kind of the message whose last fragment is still to come.
    message: Option<Opcode>,
    utf8: Utf8,
    pub(super) close: Option<CloseFrame>,
}

impl Incoming {
    pub(super) fn new(mode: Mode) -> Incoming {
        Incoming {
            mode,
            buffer: Vec::new(),
            filled: 0..0,
            max_payload: DEFAULT_MAX_PAYLOAD,
            head: None,
            whole: false,
            message: None,
            utf8: Utf8::default(),
            close: None,
        }
    }

    /// Bytes that were read from the stream already.
    pub(super) fn preload(&mut self, bytes: Vec<u8>) {
        self.filled = 0..bytes.len();
        self.buffer = bytes;
    }

    /// Waits until the next frame is there, whole and good; it stays at the front until it
    /// is [taken](Incoming::take). `true` the first time that it is given.
    pub(super) fn next<R: Read + ?Sized>(&mut self, stream: &mut R) -> Result<(FrameFlags, bool)> {
        let head = self.next_head(stream)?;
        if self.whole {
            return Ok((head.flags, false));
        }
        let length = head.length + head.payload as usize;
        while self.filled.len() < length {
            self.fill(stream, length)?;
        }
        self.finish(head)?;
        self.whole = true;
        Ok((head.flags, true))
    }

    /// The payload of the frame at the front.
    pub(super) fn payload(&self) -> &[u8] {
        let Some(head) = self.head else { return &[] };
        let start = self.filled.start + head.length;
        &self.buffer[start..start + head.payload as usize]
    }

    /// Whether there is a frame at the front.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Goes on to the next frame.
    pub(super) fn take(&mut self) {
        if let Some(head) = self.head.take() {
            self.filled.start += head.length + head.payload as usize;
            self.whole = false;
        }
        if self.filled.is_empty() {
            self.filled = 0..0;
            if self.buffer.len() > KEPT {
                self.buffer = Vec::new();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    fn next_head<R: Read + ?Sized>(&mut self, stream: &mut R) -> Result<Head> {
        loop {
            if let Some(head) = self.head {
                return Ok(head);
            }
            match Head::parse(&self.buffer[self.filled.clone()])? {
                Some(head) => {
                    self.check(head)?;
                    self.head = Some(head);
                }
                None => self.fill(stream, 0)?,
            }
        }
    }

    /// What can be told from the head.
    fn check(&mut self, head: Head) -> Result<()> {
        let flags = head.flags;
        if flags.has_reserved() {
            return Err(violation("a frame has reserved bits set"));
        }
        if head.mask.is_some() != (self.mode == Mode::Server) {
            return Err(violation(match self.mode {
                Mode::Server => "a frame from a client is not masked",
                Mode::Client => "a frame from a server is masked",
            }));
        }
        let opcode = flags.opcode().ok_or_else(|| violation("a frame has a reserved opcode"))?;
        if opcode.is_control() {
            if !flags.is_final() {
                return Err(violation("a control frame is fragmented"));
            }
            if head.payload > MOST_CONTROL as u64 {
                return Err(violation("a control frame has more than 125 bytes"));
            }
            return Ok(());
        }
        if (opcode == Opcode::Continuation) != self.message.is_some() {
            return Err(violation(match opcode {
                Opcode::Continuation => "a fragment continues no message",
                _ => "a message starts before the last one ended",
            }));
        }
        if head.payload > self.max_payload as u64 {
            let limit = self.max_payload;
            return Err(
                WebSocketErrorKind::PayloadTooBig.error(format!("a frame has more than {limit} bytes"))
            );
        }
        Ok(())
    }

    /// What can be told from the payload.
    fn finish(&mut self, head: Head) -> Result<()> {
        let start = self.filled.start + head.length;
        let payload = &mut self.buffer[start..start + head.payload as usize];
        if let Some(mask) = head.mask {
            apply_mask(payload, mask, 0);
        }
        let last = head.flags.is_final();
        let kind = match head.flags.opcode() {
            Some(Opcode::Close) => {
                self.close = Some(CloseFrame::parse(payload)?);
                return Ok(());
            }
            Some(opcode @ (Opcode::Text | Opcode::Binary)) => opcode,
            Some(Opcode::Continuation) => self.message.unwrap_or(Opcode::Binary),
            _ => return Ok(()),
        };
        if kind == Opcode::Text && !self.utf8.check(payload, last) {
            return Err(
                WebSocketErrorKind::Violation(CloseCode::MALFORMED_PAYLOAD).error("a text is not UTF-8")
            );
        }
        self.message = (!last).then_some(kind);
        Ok(())
    }

    /// One read from the stream, into a buffer on its way to `wanted` bytes.
    fn fill<R: Read + ?Sized>(&mut self, stream: &mut R, wanted: usize) -> Result<()> {
        if self.filled.end == self.buffer.len() || self.filled.start + wanted > self.buffer.len() {
            if self.filled.start > 0 {
                self.buffer.copy_within(self.filled.clone(), 0);
                self.filled = 0..self.filled.len();
            }
            // Doubled while it is half full: never far beyond what really came.
            let most = wanted.max(SMALLEST);
            if self.buffer.len() < most && self.filled.end * 2 >= self.buffer.len() {
                self.buffer.resize((2 * self.buffer.len()).clamp(SMALLEST, most), 0);
            }
        }
        let count = loop {
            match stream.read(&mut self.buffer[self.filled.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.filled.end += count;
        if count > 0 {
            return Ok(());
        }
        Err(match self.filled.is_empty() && self.head.is_none() {
            true => WebSocketErrorKind::NotClosed.error("the peer went away without a close frame"),
            false => WebSocketErrorKind::IncompleteFrame.error("the stream ended inside of a frame"),
        })
    }
}

/// Larger than any message that people type, small enough to have one in memory for each
/// connection. Poco has no limit.
pub(super) const DEFAULT_MAX_PAYLOAD: usize = 16 << 20;
/// What a buffer starts with.
const SMALLEST: usize = 4 << 10;
/// A larger buffer is given back when it is empty.
const KEPT: usize = 256 << 10;
