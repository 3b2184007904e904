//! Where content lies in what was received (RFC 9112, sections 6 and 7).
//!
//! Answers with ranges and copies nothing: so many bytes to drop, so many of content behind
//! them. Holds the state between reads and knows neither the buffer nor the connection.
//! Content that ends early is an error, never an end.

use super::chunked::SizeLine;
use super::framing::Framing;
use super::limits::Limits;
use super::parse::parse_trailers;
use super::scan::{HeadKind, HeadScanner};
use crate::message::HeaderMap;
use crate::{Error, Result};

/// Finds the content of one message after the other in a buffer.
///
/// ```
/// use sessile::message::HeaderMap;
/// use sessile::proto::{Decoder, Framing, Limits};
///
/// let mut decoder = Decoder::new(Framing::Chunked);
/// let (limits, mut trailers) = (Limits::default(), HeaderMap::new());
/// let mut buffer = &b"5\r\nhello\r\n0\r\n\r\nnext"[..];
/// let mut content = Vec::new();
/// while !decoder.is_done() {
///     let step = decoder.step(buffer, &limits, &mut trailers)?;
///     buffer = &buffer[step.skip..];
///     content.extend_from_slice(&buffer[..step.data]);
///     buffer = &buffer[step.data..];
///     decoder.consume(step.data);
/// }
/// assert_eq!((&content[..], buffer), (&b"hello"[..], &b"next"[..]));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "HTTPChunkedInputStream")]
#[doc(alias = "HTTPFixedLengthInputStream")]
#[doc(alias = "HTTPInputStream")]
pub struct Decoder {
    framing: Framing,
    state: State,
    // Bytes of content that were consumed.
    received: u64,
    line: SizeLine,
    // Bytes of chunk extensions so far.
    extensions: usize,
    trailers: HeadScanner,
}

/// What [`Decoder::step`] found at the start of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// So many bytes are framing: to be dropped before the next step.
    pub skip: usize,
    /// So many bytes behind them are content: to be used or left, and reported to
    /// [`Decoder::consume`] as they are taken from the buffer. If it is 0 and the decoder
    /// is not done, more input is needed.
    pub data: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Done,
    Length { left: u64 },
    UntilClose,
    SizeLine,
    ChunkData { left: u64 },
    ChunkEnd,
    Trailers,
    Failed,
}

impl Decoder {
    /// A decoder for content that is framed like this. [`Framing::None`] makes one that is
    /// done.
    pub fn new(framing: Framing) -> Decoder {
        Decoder {
            framing,
            state: match framing {
                Framing::None | Framing::Length(0) => State::Done,
                Framing::Length(left) => State::Length { left },
                Framing::Chunked => State::SizeLine,
                Framing::UntilClose => State::UntilClose,
            },
            received: 0,
            line: SizeLine::new(),
            extensions: 0,
            trailers: HeadScanner::new(HeadKind::Trailers),
        }
    }

    /// Starts on the content of the next message.
    pub fn set(&mut self, framing: Framing) {
        *self = Decoder::new(framing);
    }

    /// Looks at what the buffer starts with.
    ///
    /// Every step that says neither to skip nor to use anything needs more input; the rest
    /// of an incomplete line may have to stay in the buffer. Trailer fields are put into
    /// `trailers` before the decoder is done; only chunked content touches that map. After
    /// an error every step fails.
    pub fn step(&mut self, input: &[u8], limits: &Limits, trailers: &mut HeaderMap) -> Result<Step> {
        match self.state {
            State::Done => Ok(Step::default()),
            State::Length { left } | State::ChunkData { left } => {
                Ok(Step { skip: 0, data: at_most(left, input) })
            }
            State::UntilClose => Ok(Step { skip: 0, data: input.len() }),
            State::Failed => Err(Error::malformed("the content was refused before")),
            State::SizeLine | State::ChunkEnd | State::Trailers => {
                let step = self.read_framing(input, limits, trailers);
                if step.is_err() {
                    self.state = State::Failed;
                }
                step
            }
        }
    }

    /// So many bytes of content were taken from the buffer, or read past it: see
    /// [`contiguous`](Decoder::contiguous).
    pub fn consume(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        debug_assert!(bytes <= self.contiguous(), "more was consumed than there is");
        self.received += bytes;
        match &mut self.state {
            State::Length { left } | State::ChunkData { left } => *left = left.saturating_sub(bytes),
            _ => return,
        }
        match self.state {
            State::Length { left: 0 } => self.state = State::Done,
            State::ChunkData { left: 0 } => self.state = State::ChunkEnd,
            _ => {}
        }
    }

    /// How many bytes of content come next without any framing between them, so that they
    /// may be read past the buffer.
    pub fn contiguous(&self) -> u64 {
        match self.state {
            State::Length { left } | State::ChunkData { left } => left,
            State::UntilClose => u64::MAX,
            _ => 0,
        }
    }

    /// Whether the message has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How much content is to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length { left } => Some(left),
            _ => None,
        }
    }

    /// How much content was consumed.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// How the content is framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The peer has closed the connection. That ends content which lasts until then; any
    /// other that is not done is [`Incomplete`](crate::ErrorKind::Incomplete).
    pub fn end_of_input(&mut self) -> Result<()> {
        let received = self.received;
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Length { left } => {
                let whole = received + left;
                Err(Error::incomplete(format!("the content ended after {received} of {whole} bytes")))
            }
            State::Trailers => Err(Error::incomplete("the content ended inside of its trailer section")),
            _ => Err(Error::incomplete(format!(
                "the content ended after {received} bytes, before its last chunk"
            ))),
        }
    }

    /// Steps over lines, up to the next data, to the end, or to where input is missing.
    fn read_framing(&mut self, input: &[u8], limits: &Limits, trailers: &mut HeaderMap) -> Result<Step> {
        let mut skip = 0;
        loop {
            let rest = &input[skip..];
            match self.state {
                State::ChunkEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        skip += 2;
                        self.state = State::SizeLine;
                    }
                    [] | [b'\r'] => return Ok(Step { skip, data: 0 }),
                    _ => {
                        return Err(Error::malformed("the data of a chunk does not end where its size says"));
                    }
                },
                State::SizeLine => {
                    let (taken, size) = self.line.read(rest, limits, &mut self.extensions)?;
                    skip += taken;
                    self.state = match size {
                        None => return Ok(Step { skip, data: 0 }),
                        Some(0) => State::Trailers,
                        Some(left) => State::ChunkData { left },
                    };
                }
                State::Trailers => {
                    if let Some(section) = self.trailers.find_end(rest, limits)? {
                        parse_trailers(&rest[..section.end], limits, trailers)?;
                        skip += section.end;
                        self.state = State::Done;
                    }
                    return Ok(Step { skip, data: 0 });
                }
                State::ChunkData { left } => return Ok(Step { skip, data: at_most(left, rest) }),
                State::Done | State::Length { .. } | State::UntilClose | State::Failed => {
                    return Ok(Step { skip, data: 0 });
                }
            }
        }
    }
}

impl Default for Decoder {
    /// A decoder that is done.
    fn default() -> Decoder {
        Decoder::new(Framing::None)
    }
}

fn at_most(left: u64, input: &[u8]) -> usize {
    usize::try_from(left).map_or(input.len(), |left| left.min(input.len()))
}
