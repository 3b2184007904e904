//! How much content may be sent, and whether what was promised was sent (RFC 9112,
//! section 6).
//!
//! Counts bytes and holds none. How a chunk is written is said in chunked.rs.

use super::framing::Framing;
use crate::message::StatusCode;
use crate::{Error, Result};

/// Watches over the content of one message after the other.
///
/// ```
/// use sessile::proto::{Encoder, Framing};
///
/// let mut encoder = Encoder::new(Framing::Length(5));
/// assert_eq!(encoder.accept(3)?, 3);
/// assert!(encoder.finish().is_err(), "a promise is a promise");
/// assert_eq!(encoder.accept(9)?, 2, "the part that was promised");
/// assert!(encoder.accept(7).is_err());
/// encoder.finish()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
#[doc(alias = "HTTPChunkedOutputStream")]
#[doc(alias = "HTTPFixedLengthOutputStream")]
#[doc(alias = "HTTPOutputStream")]
pub struct Encoder {
    state: State,
    sent: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum State {
    /// No message has begun, or the last one is finished.
    #[default]
    Idle,
    None,
    Discard,
    Length {
        left: u64,
    },
    Chunked,
    UntilClose,
}

impl Encoder {
    /// An encoder for content that is framed like this.
    pub fn new(framing: Framing) -> Encoder {
        let state = match framing {
            Framing::None => State::None,
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Chunked,
            Framing::UntilClose => State::UntilClose,
        };
        Encoder { state, sent: 0 }
    }

    /// An encoder that takes any content and lets none of it be sent: for responses to
    /// `HEAD`, and with a status that has no content.
    pub fn discarding() -> Encoder {
        Encoder { state: State::Discard, sent: 0 }
    }

    /// Starts on the content of the next message.
    pub fn set(&mut self, framing: Framing) {
        *self = Encoder::new(framing);
    }

    /// How many of so many bytes of content may be sent now; they count as sent.
    ///
    /// It is fewer where the message's length is reached, and the next call is an error
    /// then. See [`is_discarding`](Encoder::is_discarding).
    pub fn accept(&mut self, bytes: usize) -> Result<usize> {
        let accepted = match &mut self.state {
            _ if bytes == 0 => 0,
            State::Chunked | State::UntilClose | State::Discard => bytes,
            State::Length { left: 0 } => {
                let sent = self.sent;
                return Err(Error::invalid_argument(format!("more content than its length of {sent} bytes")));
            }
            State::Length { left } => {
                let accepted = usize::try_from(*left).map_or(bytes, |left| left.min(bytes));
                *left -= accepted as u64;
                accepted
            }
            State::None => return Err(Error::invalid_argument("this message has no content")),
            State::Idle => {
                return Err(Error::illegal_state("no message has begun, or it is finished already"));
            }
        };
        self.sent += accepted as u64;
        Ok(accepted)
    }

    /// Ends the message. Fails, and ends nothing, if less was sent than was promised.
    ///
    /// Where [`is_chunked`](Encoder::is_chunked) was true before, the last chunk is to be
    /// written.
    pub fn finish(&mut self) -> Result<()> {
        if let State::Length { left: left @ 1.. } = self.state {
            let (sent, whole) = (self.sent, self.sent + left);
            let error = Error::incomplete(format!("the content ended after {sent} of {whole} bytes"));
            return Err(error.with_status(StatusCode::INTERNAL_SERVER_ERROR));
        }
        self.state = State::Idle;
        Ok(())
    }

    /// Whether a message has begun and is not finished.
    pub fn is_open(&self) -> bool {
        self.state != State::Idle
    }

    /// Whether all content that may be sent was sent: [`finish`](Encoder::finish) is then a
    /// formality.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Idle | State::None | State::Discard | State::Length { left: 0 })
    }

    /// Whether content goes out in chunks.
    pub fn is_chunked(&self) -> bool {
        self.state == State::Chunked
    }

    /// Whether content ends with the connection.
    pub fn is_until_close(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Whether what is accepted must not be sent.
    pub fn is_discarding(&self) -> bool {
        self.state == State::Discard
    }

    /// How much more was promised, where a length was.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length { left } => Some(left),
            State::Idle | State::None => Some(0),
            State::Discard | State::Chunked | State::UntilClose => None,
        }
    }

    /// How much was accepted.
    pub fn sent(&self) -> u64 {
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn content_without_a_length_is_taken_without_a_limit() {
        for framing in [Framing::Chunked, Framing::UntilClose] {
            let mut encoder = Encoder::new(framing);
            assert_eq!(encoder.accept(usize::MAX).unwrap(), usize::MAX);
            assert_eq!(encoder.accept(0).unwrap(), 0);
            assert!(!encoder.is_complete());
            encoder.finish().unwrap();
            assert!(!encoder.is_open() && !encoder.is_chunked() && !encoder.is_until_close());
        }
    }

    #[test]
    fn a_length_is_kept_to_the_byte() {
        let mut encoder = Encoder::new(Framing::Length(10));
        assert_eq!((encoder.accept(4).unwrap(), encoder.remaining()), (4, Some(6)));
        let error = encoder.finish().unwrap_err();
        assert_eq!(error.to_string(), "the content ended after 4 of 10 bytes");
        assert_eq!(error.kind(), ErrorKind::Incomplete);
        assert_eq!(error.status_hint(), Some(StatusCode::INTERNAL_SERVER_ERROR), "our fault, not the peer's");
        assert!(encoder.is_open(), "the rest may still be sent");
        assert_eq!(encoder.accept(5).unwrap(), 5);
        assert_eq!(kind(encoder.finish()), ErrorKind::Incomplete, "one byte is missing");
        assert_eq!(encoder.accept(100).unwrap(), 1);
        assert!(encoder.is_complete());
        assert_eq!(kind(encoder.accept(1)), ErrorKind::InvalidArgument);
        assert_eq!(encoder.accept(0).unwrap(), 0, "to write nothing is never wrong");
        encoder.finish().unwrap();
        assert_eq!(encoder.sent(), 10);
    }

    #[test]
    fn a_message_without_content_takes_none() {
        let mut encoder = Encoder::new(Framing::None);
        assert_eq!(kind(encoder.accept(1)), ErrorKind::InvalidArgument);
        assert!(encoder.is_complete());
        encoder.finish().unwrap();
        let mut encoder = Encoder::new(Framing::Length(0));
        assert_eq!(kind(encoder.accept(1)), ErrorKind::InvalidArgument);
        encoder.finish().unwrap();
    }

    #[test]
    fn content_that_must_not_be_sent_is_taken_all_the_same() {
        let mut encoder = Encoder::discarding();
        assert_eq!(encoder.accept(1000).unwrap(), 1000);
        assert!(encoder.is_discarding() && encoder.is_complete());
        encoder.finish().unwrap();
    }

    #[test]
    fn nothing_is_taken_before_or_behind_a_message() {
        let mut encoder = Encoder::default();
        assert_eq!(kind(encoder.accept(1)), ErrorKind::IllegalState);
        encoder.set(Framing::Chunked);
        assert_eq!(encoder.accept(1).unwrap(), 1);
        encoder.finish().unwrap();
        assert_eq!(kind(encoder.accept(1)), ErrorKind::IllegalState);
        encoder.finish().unwrap();
    }
}
