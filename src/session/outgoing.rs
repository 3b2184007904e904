//! The sending half of a connection: heads and content in, bytes out.
//!
//! Owns the wire with its output buffer and the framing of the message being sent. Output
//! leaves when the buffer is full, on `flush`, and before any read that may block, so that
//! a head, a small body, `100 Continue` and pipelined responses leave together.

use std::fs::File;
use std::net::Shutdown;

use super::incoming::Incoming;
use super::timeouts::Timeouts;
use crate::message::{HeaderMap, Version};
use crate::net::{AbortHandle, Deadline, Limit, Stalled, Wire, read_at};
use crate::proto::{self, ChunkHead, CloseReason, Encoder, Framing};
use crate::{Error, ErrorKind, Phase, Result};

/// Content is held back up to this size: until then a response without a length may still
/// get one, and small writes become one chunk.
const HOLD: usize = 16 * 1024;

/// How long an upload stalls before we look whether the server has answered already.
const STALL_PROBE: std::time::Duration = std::time::Duration::from_millis(50);

/// How much of an answer is taken in while an upload is under way.
pub(crate) const READ_AHEAD: usize = 8 * 1024 * 1024;

/// How much of a file is copied at a time, where it has to be, and how much of it counts as content at a time.
const FILE_BLOCK: usize = 128 * 1024;
const FILE_STRETCH: usize = 64 * 1024 * 1024;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[derive(Debug)]
pub(crate) struct Outgoing {
    /// `None` while there is no connection, and once a handler took it over.
    wire: Option<Wire>,
    encoder: Encoder,
    /// Content that is not framed yet.
    held: Vec<u8>,
    /// The head is in the output buffer but for its last lines: see [`Tail`].
    tail: Option<Tail>,
    /// Where the head of the message begins in the buffer, and how much had left by then.
    head: (usize, u64),
    /// Where content passes through that is read from somewhere to be sent.
    pub(crate) block: Vec<u8>,
    /// A request that can't be sent may be made again: it is idempotent, and its connection had
    /// served another before.
    pub(crate) repeatable: bool,
    /// Sent behind the last chunk.
    pub(crate) trailers: HeaderMap,
    /// The request expects `100 Continue` and nothing was answered yet.
    pub(crate) continue_due: bool,
    /// How much of the message being received is unread, about, where that is known.
    pub(crate) unread: Option<u64>,
    /// The peer has refused the content while it was sent; the rest is dropped.
    answered: bool,
    /// A part of the message was lost on its way: nothing may be sent behind it.
    broken: bool,
    /// The message from the peer could not be read.
    pub(crate) unreadable: bool,
    /// The content that was sent last ends with the connection.
    ends_by_close: bool,
    pub(crate) times: Timeouts,
    /// The end of the whole exchange.
    pub(crate) deadline: Deadline,
    /// Why the connection can't serve another exchange.
    close: Option<CloseReason>,
    /// What stops calls on the wire.
    pub(crate) abort: AbortHandle,
}

/// What the end of a response head depends on while its framing is undecided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    /// The peer's version: 1.0 knows no chunks.
    pub(crate) version: Version,
    /// Whether the connection may persist.
    pub(crate) keep_alive: bool,
}

impl Outgoing {
    pub(crate) fn new(times: Timeouts) -> Outgoing {
        Outgoing {
            wire: None,
            encoder: Encoder::default(),
            held: Vec::new(),
            tail: None,
            head: (0, 0),
            block: Vec::new(),
            repeatable: false,
            trailers: HeaderMap::new(),
            continue_due: false,
            unread: None,
            answered: false,
            broken: false,
            unreadable: false,
            ends_by_close: false,
            times,
            deadline: Deadline::never(),
            close: None,
            abort: AbortHandle::new(),
        }
    }

    /// Takes a new connection's wire; what was under way on the old one is forgotten,
    /// but not the trailers that are set for the message to come.
    pub(crate) fn attach(&mut self, wire: Wire) -> Option<Wire> {
        self.encoder = Encoder::default();
        self.held.clear();
        self.tail = None;
        self.continue_due = false;
        self.answered = false;
        self.broken = false;
        self.unreadable = false;
        self.ends_by_close = false;
        self.close = None;
        self.wire.replace(wire)
    }

    /// Gives the wire away.
    pub(crate) fn detach(&mut self) -> Option<Wire> {
        self.encoder = Encoder::default();
        self.held.clear();
        self.tail = None;
        self.continue_due = false;
        self.answered = false;
        self.broken = false;
        self.wire.take()
    }

    pub(crate) fn wire(&self) -> Option<&Wire> {
        self.wire.as_ref()
    }

    pub(crate) fn wire_mut(&mut self) -> Result<&mut Wire> {
        self.wire.as_mut().ok_or_else(|| Error::illegal_state("there is no connection"))
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.wire.is_some()
    }

    pub(crate) fn close_reason(&self) -> Option<CloseReason> {
        self.close
    }

    /// Records why the connection can't serve another exchange; the first reason stays.
    pub(crate) fn poison(&mut self, reason: CloseReason) {
        self.close.get_or_insert(reason);
    }

    /// Whether a message is being sent and not ended yet.
    pub(crate) fn is_sending(&self) -> bool {
        self.encoder.is_open()
    }

    /// Whether all of the content that was promised was taken.
    pub(crate) fn is_whole(&self) -> bool {
        self.encoder.remaining() == Some(0)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered
    }

    pub(crate) fn mark_answered(&mut self) {
        self.answered = true;
        self.poison(CloseReason::EarlyResponse);
    }

    /// The output buffer, for the writer of heads. With [`begin`](Self::begin) behind it.
    pub(crate) fn buffer(&mut self) -> Result<&mut Vec<u8>> {
        Ok(self.wire_mut()?.out())
    }

    /// The head is in the buffer; content of this framing follows.
    pub(crate) fn begin(&mut self, framing: Framing) {
        self.begin_with(Encoder::new(framing));
    }

    /// The head is in the buffer; content goes through this encoder.
    #[inline]
    pub(crate) fn begin_with(&mut self, encoder: Encoder) {
        self.encoder = encoder;
        self.tail = None;
        self.answered = false;
        self.broken = false;
        self.continue_due = false;
        self.held.clear();
    }

    /// The head is in the buffer but for its last lines, which say how the content is framed:
    /// that is decided when the content ends or outgrows what is held back.
    pub(crate) fn begin_undecided(&mut self, tail: Tail) {
        self.begin(Framing::UntilClose);
        self.tail = Some(tail);
    }

    /// Reads, flushing first.
    pub(crate) fn read(&mut self, into: &mut [u8], limit: &Limit) -> Result<usize> {
        self.flush_before_wait()?;
        let send = self.times.send_limit(self.deadline);
        self.wire_mut()?.read(into, limit, &send)
    }

    /// Lets out all that was taken: nobody waits with what the peer waits for.
    #[inline]
    pub(crate) fn flush_before_wait(&mut self) -> Result<()> {
        self.commit()?;
        let send = self.times.send_limit(self.deadline);
        let flushed = self.wire_mut()?.flush(&send);
        flushed.map_err(|error| self.send_failed(error))
    }

    /// Before content of a request is waited for: says that it may come.
    pub(crate) fn invite_content(&mut self) {
        if self.continue_due {
            self.continue_due = false;
            if let Some(wire) = &mut self.wire {
                wire.out().extend_from_slice(CONTINUE);
            }
        }
    }

    /// Takes content to send. `ahead` is where to put what the peer answers meanwhile.
    /// Returns how much was taken: all, but where the length that was announced ends.
    pub(crate) fn write(&mut self, data: &[u8], ahead: Option<&mut Incoming>) -> Result<usize> {
        if data.is_empty() || self.answered {
            return Ok(data.len());
        }
        if self.tail.is_some() {
            if self.held.len() + data.len() <= HOLD {
                self.held.extend_from_slice(data);
                return Ok(data.len());
            }
            self.decide(None)?;
        }
        if self.broken {
            return Err(lost());
        }
        let accepted = self.encoder.accept(data.len())?;
        let data = &data[..accepted];
        if self.encoder.is_discarding() {
            return Ok(accepted);
        }
        if !self.encoder.is_chunked() {
            self.send(&[data], ahead)?;
        } else if self.held.len() + accepted <= HOLD {
            self.held.extend_from_slice(data);
        } else {
            self.send_chunk(data, ahead)?;
        }
        Ok(accepted)
    }

    /// Takes all of the content at once, and ends the message.
    pub(crate) fn write_whole(&mut self, content: &[u8]) -> Result<()> {
        // The usual case: it is what was announced, and goes behind its head.
        if !content.is_empty() && self.encoder.remaining() == Some(content.len() as u64) {
            return self.send_plain(content);
        }
        self.write(content, None)?;
        self.finish(None)
    }

    /// The head is in the buffer; this is all of the content, which goes as it is and ends the message.
    #[inline]
    pub(crate) fn send_plain(&mut self, content: &[u8]) -> Result<()> {
        self.begin_with(Encoder::default());
        self.trailers.clear();
        let out = self.wire_mut()?.out();
        if out.len() + content.len() <= HOLD {
            out.extend_from_slice(content);
            return Ok(());
        }
        self.send(&[content], None)
    }

    /// Takes a part of a file as content. Where nothing has to be put around it or in between, the system moves
    /// the bytes.
    pub(crate) fn send_file(&mut self, file: &File, offset: u64, length: u64) -> Result<()> {
        let as_it_is = self.tail.is_none()
            && !self.encoder.is_chunked()
            && !self.encoder.is_discarding()
            && self.wire_mut()?.sends_files();
        let mut block = Vec::new();
        let mut done = 0;
        while done < length && !self.answered {
            let left = usize::try_from(length - done).unwrap_or(FILE_STRETCH);
            if !as_it_is {
                block.resize(FILE_BLOCK.min(left), 0);
                let n = read_at(file, &mut block, offset + done)?;
                let taken = self.write(&block[..n], None)?;
                if taken == 0 {
                    return Err(Error::new(ErrorKind::Io, "the file has become shorter while it was sent"));
                }
                done += taken as u64;
                continue;
            }
            let stretch = self.encoder.accept(left.min(FILE_STRETCH))?;
            self.flush(None)?;
            let limit = self.times.send_limit(self.deadline);
            if let Err(error) = self.wire_mut()?.send_file(file, offset + done, stretch as u64, &limit) {
                self.poison(CloseReason::Failed);
                return Err(error.with_phase(Phase::Send));
            }
            done += stretch as u64;
        }
        Ok(())
    }

    /// The trailer fields, for one of this name, if it may be one.
    pub(crate) fn trailers_for(&mut self, name: &str) -> Result<&mut HeaderMap> {
        if !proto::is_trailer_field(name) {
            return Err(Error::invalid_argument(format!("{name} can't be sent behind the content")));
        }
        Ok(&mut self.trailers)
    }

    /// Lets out all that was taken.
    pub(crate) fn flush(&mut self, ahead: Option<&mut Incoming>) -> Result<()> {
        if self.answered {
            return Ok(());
        }
        self.commit()?;
        self.flush_wire(ahead)
    }

    /// Ends the message: content shorter than was announced is an error, and costs the
    /// connection. Nothing is sent yet that still fits in the buffer. After an error the message
    /// is as open as before.
    pub(crate) fn finish(&mut self, ahead: Option<&mut Incoming>) -> Result<()> {
        if !self.encoder.is_open() {
            return if self.broken { Err(lost()) } else { Ok(()) };
        }
        if self.answered {
            self.forget();
            return Ok(());
        }
        if self.tail.is_some() {
            self.decide(Some(self.held.len()))?;
            self.encoder = Encoder::default();
            return self.send_held();
        }
        if self.encoder.is_chunked() {
            if !self.held.is_empty() {
                self.send_chunk(&[], ahead)?;
            }
            let wire = self.wire.as_mut().ok_or_else(|| Error::illegal_state("there is no connection"))?;
            proto::write_last_chunk(wire.out(), &self.trailers)?;
        }
        if self.encoder.is_until_close() {
            self.poison(CloseReason::UntilClose);
            self.ends_by_close = true;
        }
        if let Err(error) = self.encoder.finish() {
            self.end_silently();
            self.poison(CloseReason::ContentUnfinished);
            return Err(error);
        }
        self.trailers.clear();
        Ok(())
    }

    /// The message is not whole, and must not look so: the connection ends without a word.
    fn end_silently(&mut self) {
        if let Some(wire) = &mut self.wire {
            wire.stream_mut().end_silently();
        }
    }

    /// Says that content which ends with the connection has ended: under TLS the client would
    /// otherwise have to take it for cut short. Waits until that can be said, as for content.
    pub(crate) fn end_content(&mut self) -> Result<()> {
        let limit = self.times.send_limit(self.deadline);
        match &mut self.wire {
            Some(wire) if self.ends_by_close && wire.stream().is_secure() => {
                wire.stream_mut().shutdown(Shutdown::Write, &limit)
            }
            _ => Ok(()),
        }
    }

    /// Whether there is a layer below that has bytes of its own.
    pub(crate) fn is_secure(&self) -> bool {
        self.wire.as_ref().is_some_and(|wire| wire.stream().is_secure())
    }

    /// Whether the last read took all there was at that moment, if it took less than it could.
    pub(crate) fn is_drained(&self) -> bool {
        self.wire.as_ref().is_none_or(|wire| wire.stream().is_drained())
    }

    /// Nothing is being sent any more, and nothing of it goes with what is sent next.
    fn forget(&mut self) {
        self.encoder = Encoder::default();
        self.tail = None;
        self.held.clear();
        self.trailers.clear();
    }

    /// Forgets the message being sent; the connection can't be used again.
    pub(crate) fn abandon(&mut self) {
        if self.is_sending() {
            self.end_silently();
            self.forget();
            self.poison(CloseReason::ContentUnfinished);
        }
    }

    /// The head of a message begins here.
    pub(crate) fn mark_head(&mut self, start: usize) {
        self.head = (start, self.wire.as_ref().map_or(0, Wire::sent));
    }

    /// Takes the message back whose head was marked, if nothing of it has left.
    pub(crate) fn take_back(&mut self) -> bool {
        let (start, sent) = self.head;
        match &mut self.wire {
            Some(wire) if self.encoder.is_open() && wire.sent() == sent => {
                wire.out().truncate(start);
                self.forget();
                true
            }
            _ => false,
        }
    }

    /// Drops what was not sent: the peer takes no more.
    pub(crate) fn discard(&mut self) {
        self.mark_answered();
        self.forget();
        if let Some(wire) = &mut self.wire {
            wire.discard();
        }
    }

    /// Gives back the memory of empty buffers: nothing is sent for a while.
    pub(crate) fn release(&mut self) {
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        if let Some(wire) = &mut self.wire {
            wire.release(0);
        }
    }

    /// Frames what is held back, so that all of it can leave.
    fn commit(&mut self) -> Result<()> {
        if self.tail.is_some() {
            self.decide(None)?;
        }
        if !self.held.is_empty() {
            if self.encoder.is_chunked() {
                self.send_chunk(&[], None)?;
            } else {
                self.send_held()?;
            }
        }
        Ok(())
    }

    /// Ends a head whose framing was open: with a length where the content is complete.
    fn decide(&mut self, length: Option<usize>) -> Result<()> {
        let Some(tail) = self.tail.take() else { return Ok(()) };
        let framing = match (length, tail.version) {
            (Some(length), _) => Framing::Length(length as u64),
            (None, Version::Http11) => Framing::Chunked,
            (None, Version::Http10) => Framing::UntilClose,
        };
        let keep_alive = tail.keep_alive && framing != Framing::UntilClose;
        if !keep_alive {
            self.poison(CloseReason::UntilClose);
        }
        let out = self.buffer()?;
        write_connection(out, tail.version, keep_alive);
        write_framing(out, framing);
        proto::end_head(out);
        self.encoder = Encoder::new(framing);
        if length.is_some() || framing == Framing::Chunked {
            return Ok(());
        }
        self.send_held()
    }

    /// Content that was held back goes out as it is.
    fn send_held(&mut self) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        let result = self.send(&[&held], None);
        self.held = held;
        self.held.clear();
        result
    }

    /// What is held back and the data, as one chunk.
    fn send_chunk(&mut self, data: &[u8], ahead: Option<&mut Incoming>) -> Result<()> {
        let Some(size) = ChunkHead::new(self.held.len() + data.len()) else { return Ok(()) };
        let held = std::mem::take(&mut self.held);
        let result = self.send(&[size.as_bytes(), &held, data, ChunkHead::END], ahead);
        self.held = held;
        self.held.clear();
        result
    }

    /// Small parts into the buffer, large ones out behind what is buffered.
    fn send(&mut self, parts: &[&[u8]], ahead: Option<&mut Incoming>) -> Result<()> {
        let total: usize = parts.iter().map(|p| p.len()).sum();
        let wire = self.wire_mut()?;
        if wire.out().len() + total <= HOLD {
            for part in parts {
                wire.out().extend_from_slice(part);
            }
            return Ok(());
        }
        self.transmit(parts, ahead)
    }

    fn flush_wire(&mut self, ahead: Option<&mut Incoming>) -> Result<()> {
        if self.wire_mut()?.is_flushed() {
            return Ok(());
        }
        self.transmit(&[], ahead)
    }

    fn transmit(&mut self, parts: &[&[u8]], ahead: Option<&mut Incoming>) -> Result<()> {
        let limit = self.times.send_limit(self.deadline);
        let wire = self.wire.as_mut().ok_or_else(|| Error::illegal_state("there is no connection"))?;
        let result = match ahead {
            None => wire.send(parts, &limit, None),
            Some(incoming) => {
                let (mut refused, mut looked) = (false, false);
                let result = wire.send(
                    parts,
                    &limit,
                    Some((STALL_PROBE, &mut |stream| {
                        let moved = incoming.read_ahead(stream, READ_AHEAD)?;
                        // It may have come earlier, behind a 100.
                        refused = (moved || !looked) && incoming.refusal_waits();
                        looked = true;
                        Ok(match (refused, moved) {
                            (true, _) => Stalled::Stop,
                            (false, true) => Stalled::Progress,
                            (false, false) => Stalled::Wait,
                        })
                    })),
                );
                match result {
                    Err(_) if refused => {
                        self.mark_answered();
                        return Ok(());
                    }
                    // The server may have answered before it closed: that answer says more.
                    Err(error) if error.kind() == ErrorKind::Io => {
                        while matches!(incoming.read_ahead(wire.stream_mut(), READ_AHEAD), Ok(true)) {}
                        if incoming.has_input() {
                            self.mark_answered();
                            return Ok(());
                        }
                        Err(error)
                    }
                    other => other,
                }
            }
        };
        result.map_err(|error| self.send_failed(error))
    }

    /// An error while sending ends the message where it is, so that it never looks whole. It costs
    /// the connection, and may say that the request can be made again.
    pub(crate) fn send_failed(&mut self, error: Error) -> Error {
        self.poison(CloseReason::Failed);
        self.broken = true;
        self.end_silently();
        self.forget();
        let lost = self.repeatable && error.kind() == ErrorKind::Io;
        let error = if lost { error.retryable() } else { error };
        error.with_phase(Phase::Send)
    }
}

impl Drop for Outgoing {
    /// A message that is not whole does not look so.
    fn drop(&mut self) {
        self.abandon();
    }
}

/// The error for who goes on with a message that could not be sent.
fn lost() -> Error {
    Error::new(ErrorKind::Io, "a part of the message could not be sent").with_phase(Phase::Send)
}

/// `Connection`, where the version does not say it already.
#[inline]
pub(crate) fn write_connection(out: &mut Vec<u8>, version: Version, keep_alive: bool) {
    match (version, keep_alive) {
        (Version::Http11, true) => {}
        (Version::Http10, true) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (_, false) => out.extend_from_slice(b"Connection: close\r\n"),
    }
}

/// The field that says how the content is framed.
#[inline]
pub(crate) fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => proto::write_content_length(out, length),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::None | Framing::UntilClose => {}
    }
}
