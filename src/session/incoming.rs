//! The receiving half of a connection: bytes in, heads and content out.
//!
//! Owns the read buffer and what is known of the message in it. Knows nothing of roles,
//! and gets the wire handed in for each call, because whoever waits must flush first.

use std::time::{Duration, Instant};

use super::outgoing::Outgoing;
use crate::message::{HeaderMap, Request, Response};
use crate::net::{Deadline, Limit, Pace, ReadBuffer, Readiness, Stream};
use crate::proto::{Decoder, Framing, HeadKind, HeadScanner, Limits, parse_response};
use crate::proto::{read_request, read_response};
use crate::{Error, ErrorKind, Phase, Result};

/// Reads of at least this many bytes go straight into the caller's memory. Smaller ones (those of
/// `io::copy` have 8 KiB) are cheaper out of the buffer, which is filled by 64 KiB.
const DIRECT_READ: usize = 32 * 1024;

/// How much memory is taken for the first bytes that come. A response has content; a request is small, and of
/// thousands of clients who send one and stay, each leaves a gap of this size behind when it is idle.
const FIRST: usize = 4 * 1024;
const FIRST_OF_REQUESTS: usize = 1024;

#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) buffer: ReadBuffer,
    scanner: HeadScanner,
    decoder: Decoder,
    /// Trailer fields of the message whose content was read last.
    pub(crate) trailers: HeaderMap,
    pub(crate) limits: Limits,
    /// Content bytes at the front of the buffer that the decoder has released.
    ready: usize,
    /// Content received of this message.
    received: u64,
    /// Largest content of one message.
    pub(crate) max_content: u64,
    pub(crate) pace: Option<Pace>,
    /// Time spent waiting for this message's content.
    waited: Duration,
    /// The last read took less than there was room for: the socket was empty then.
    pub(crate) drained: bool,
    /// Whether `last_read` is kept.
    pub(crate) track_reads: bool,
    pub(crate) last_read: Option<Instant>,
}

impl Incoming {
    pub(crate) fn new(kind: HeadKind, limits: Limits) -> Incoming {
        Incoming {
            buffer: ReadBuffer::new(if kind == HeadKind::Request { FIRST_OF_REQUESTS } else { FIRST }),
            scanner: HeadScanner::new(kind),
            decoder: Decoder::new(Framing::None),
            trailers: HeaderMap::new(),
            limits,
            ready: 0,
            received: 0,
            max_content: u64::MAX,
            pace: None,
            waited: Duration::ZERO,
            drained: true,
            track_reads: false,
            last_read: None,
        }
    }

    /// Forgets everything received: for a new connection.
    pub(crate) fn reset(&mut self) {
        self.buffer.clear();
        self.scanner.reset();
        self.set_framing(Framing::None);
        self.trailers.clear();
        self.drained = true;
    }

    /// Says how the content behind the head that was just read is framed.
    pub(crate) fn set_framing(&mut self, framing: Framing) {
        self.decoder.set(framing);
        self.ready = 0;
        self.received = 0;
        self.waited = Duration::ZERO;
    }

    /// Whether the content was taken to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.ready == 0 && self.decoder.is_done()
    }

    /// Content still to come, where that is known.
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    /// Content that was received of this message.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Whether bytes are buffered that belong to no content taken so far.
    pub(crate) fn has_input(&self) -> bool {
        !self.buffer.filled().is_empty()
    }

    /// Whether a request that could not be read begins with these bytes.
    pub(crate) fn begins_with(&self, bytes: &[u8]) -> bool {
        let line = self.buffer.filled();
        let empty = line.iter().take_while(|&&byte| byte == b'\r' || byte == b'\n').count();
        line[empty..].starts_with(bytes)
    }

    /// Gives back the memory of an empty buffer: nothing is expected for a while.
    pub(crate) fn release(&mut self) {
        self.buffer.release();
    }

    /// Waits for the first byte of a head, which stays in the buffer; `false` is the end.
    pub(crate) fn wait_for_head(&mut self, out: &mut Outgoing, limit: &Limit) -> Result<bool> {
        Ok(self.fill_or_end(out, limit).map_err(|e| e.with_phase(Phase::Idle))? > 0)
    }

    /// Parses the head that is buffered into `request`, if all of it is there.
    #[inline(always)] // For `read_request`.
    pub(crate) fn buffered_request(&mut self, request: &mut Request) -> Result<bool> {
        let Some(end) = read_request(&mut self.scanner, self.buffer.filled(), &self.limits, request)? else {
            return Ok(false);
        };
        self.buffer.consume(end);
        Ok(true)
    }

    /// Reads one head and parses it into `request`. `first` is how long its first byte may
    /// take, `whole` how long all of it may take from then on.
    pub(crate) fn receive_request(
        &mut self,
        out: &mut Outgoing,
        first: &Limit,
        whole: Option<Duration>,
        request: &mut Request,
    ) -> Result<()> {
        self.receive_head(out, first, whole, Phase::Idle, |scanner, input, limits| {
            read_request(scanner, input, limits, request)
        })
    }

    /// The same for a response.
    pub(crate) fn receive_response(
        &mut self,
        out: &mut Outgoing,
        first: &Limit,
        whole: Option<Duration>,
        response: &mut Response,
    ) -> Result<()> {
        // How a server would answer is nothing to say of what a server has answered.
        self.receive_head(out, first, whole, Phase::ReceiveHead, |scanner, input, limits| {
            read_response(scanner, input, limits, response)
        })
        .map_err(|error| error.without_status().with_phase(Phase::ReceiveHead))
    }

    fn receive_head(
        &mut self,
        out: &mut Outgoing,
        first: &Limit,
        whole: Option<Duration>,
        waiting: Phase,
        mut read: impl FnMut(&mut HeadScanner, &[u8], &Limits) -> Result<Option<usize>>,
    ) -> Result<()> {
        let mut limit = *first;
        let mut begun = false;
        loop {
            if let Some(end) = read(&mut self.scanner, self.buffer.filled(), &self.limits)? {
                self.buffer.consume(end);
                return Ok(());
            }
            // The clock of the head starts with its first byte, and only if one read is not enough.
            if !begun && self.has_input() {
                begun = true;
                limit = within(first, whole);
            }
            let phase = if begun { Phase::ReceiveHead } else { waiting };
            if self.fill_or_end(out, &limit).map_err(|e| e.with_phase(phase))? == 0 {
                return Err(self.scanner.end_of_input(self.buffer.filled()).with_phase(phase));
            }
        }
    }

    /// Whether content, or its end, is there without reading more.
    pub(crate) fn has_content(&mut self) -> Result<bool> {
        if self.ready == 0 && !self.decoder.is_done() && self.has_input() {
            self.step()?;
        }
        Ok(self.ready > 0 || self.decoder.is_done())
    }

    /// Makes content available at the front of the buffer, reading where none is; `Ok` with
    /// nothing there means that the content has ended.
    pub(crate) fn fill_content(&mut self, out: &mut Outgoing) -> Result<()> {
        while self.ready == 0 && !self.decoder.is_done() {
            self.step()?;
            if self.ready > 0 || self.decoder.is_done() {
                break;
            }
            self.wait_for_content(out)?;
        }
        Ok(())
    }

    /// The content that [`fill_content`](Self::fill_content) made available.
    pub(crate) fn content(&self) -> &[u8] {
        &self.buffer.filled()[..self.ready]
    }

    /// Takes back what was made available.
    pub(crate) fn withdraw_content(&mut self) {
        self.ready = 0;
    }

    /// Takes `n` bytes of it away.
    pub(crate) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.ready, "more consumed than was lent");
        let n = n.min(self.ready);
        self.buffer.consume(n);
        self.decoder.consume(n);
        self.ready -= n;
    }

    /// Reads content into the caller's memory: past the buffer, where nothing is buffered
    /// and the caller's memory is large.
    pub(crate) fn read_content(&mut self, out: &mut Outgoing, into: &mut [u8]) -> Result<usize> {
        if self.ready == 0 && into.len() >= DIRECT_READ && !self.has_input() {
            let contiguous = self.decoder.contiguous();
            if contiguous >= DIRECT_READ as u64 && self.room() >= DIRECT_READ as u64 {
                return self.read_past_the_buffer(out, into, contiguous.min(self.room()));
            }
        }
        self.fill_content(out)?;
        let n = self.ready.min(into.len());
        into[..n].copy_from_slice(&self.buffer.filled()[..n]);
        self.consume(n);
        Ok(n)
    }

    fn read_past_the_buffer(&mut self, out: &mut Outgoing, into: &mut [u8], at_most: u64) -> Result<usize> {
        let room = usize::try_from(at_most).map_or(into.len(), |m| m.min(into.len()));
        out.invite_content();
        let started = self.pace.map(|_| Instant::now());
        let limit = self.content_limit(out, started);
        let read = out.read(&mut into[..room], &limit);
        let n = read.map_err(|e| self.cut_short(e).with_phase(Phase::ReceiveBody))?;
        self.account(started);
        self.note_read();
        self.drained = n < room && out.is_drained();
        if n == 0 {
            self.decoder.end_of_input().map_err(|e| e.with_phase(Phase::ReceiveBody))?;
        }
        self.decoder.consume(n);
        self.received += n as u64;
        Ok(n)
    }

    /// Lets the decoder look at what is buffered.
    fn step(&mut self) -> Result<()> {
        let step = self
            .decoder
            .step(self.buffer.filled(), &self.limits, &mut self.trailers)
            .map_err(|e| e.with_phase(Phase::ReceiveBody))?;
        self.buffer.consume(step.skip);
        self.ready = step.data;
        self.received += step.data as u64;
        if self.received > self.max_content {
            return Err(Error::too_large(format!("the content is larger than {} bytes", self.max_content))
                .with_phase(Phase::ReceiveBody));
        }
        Ok(())
    }

    /// How much more content may come.
    fn room(&self) -> u64 {
        self.max_content.saturating_sub(self.received)
    }

    fn wait_for_content(&mut self, out: &mut Outgoing) -> Result<()> {
        self.buffer.expect_content(self.decoder.remaining());
        out.invite_content();
        let started = self.pace.map(|_| Instant::now());
        let limit = self.content_limit(out, started);
        let n = self.fill(out, &limit).map_err(|e| self.cut_short(e).with_phase(Phase::ReceiveBody))?;
        self.account(started);
        if n == 0 {
            self.decoder.end_of_input().map_err(|e| e.with_phase(Phase::ReceiveBody))?;
        }
        Ok(())
    }

    /// How long the next read for content may take: the stall limit, the exchange's deadline
    /// and what the least rate leaves.
    fn content_limit(&self, out: &Outgoing, started: Option<Instant>) -> Limit {
        let limit = out.times.receive_limit(out.deadline);
        match (self.pace, started) {
            (Some(pace), Some(now)) => limit.until(pace.deadline(self.received, self.waited, now)),
            _ => limit,
        }
    }

    fn account(&mut self, started: Option<Instant>) {
        if let Some(started) = started {
            self.waited += started.elapsed();
        }
    }

    fn note_read(&mut self) {
        if self.track_reads {
            self.last_read = Some(Instant::now());
        }
    }

    /// One read into the buffer, which flushes first. 0 is the end of the stream.
    fn fill(&mut self, out: &mut Outgoing, limit: &Limit) -> Result<usize> {
        let drained = &mut self.drained;
        let n = self.buffer.fill(|room| {
            let n = out.read(room, limit)?;
            *drained = n < room.len() && out.is_drained();
            Ok(n)
        })?;
        self.note_read();
        Ok(n)
    }

    /// The same where no content is due: a connection that ends without saying so under TLS is
    /// one that has ended. What is missing then is missing for all to see.
    fn fill_or_end(&mut self, out: &mut Outgoing, limit: &Limit) -> Result<usize> {
        // Bytes of a record are none of a head, so that they win no time by trickling in.
        let mut limit = *limit;
        if let (Some(stall), true) = (limit.stall, out.is_secure()) {
            limit = limit.until(Deadline::after(stall));
        }
        match self.fill(out, &limit) {
            Err(error) if error.kind() == ErrorKind::Incomplete => Ok(0),
            filled => filled,
        }
    }

    /// The stream has ended in a way that may be a cut. Where the framing says how much is
    /// missing, that is what to report.
    fn cut_short(&mut self, error: Error) -> Error {
        if error.kind() != ErrorKind::Incomplete || self.decoder.contiguous() == u64::MAX {
            return error;
        }
        match self.decoder.end_of_input() {
            Err(missing) => missing.with_source(error),
            Ok(()) => error,
        }
    }

    /// Takes what has arrived, without waiting, up to `at_most` buffered bytes. Says whether
    /// anything came.
    pub(crate) fn read_ahead(&mut self, stream: &mut Stream, at_most: usize) -> Result<bool> {
        if self.buffer.filled().len() >= at_most {
            return Err(Error::too_large(
                "the peer answers faster than the answer is read, and waits for that: use exchange()",
            ));
        }
        match stream.peek_nowait()? {
            Readiness::Nothing => Ok(false),
            Readiness::End | Readiness::Data => {
                self.buffer.expect_content(None);
                let limit = Limit::stall(Duration::from_millis(50));
                let n = match self.buffer.fill(|room| stream.read(room, &limit)) {
                    // What is there is no whole record of the layer below, or the layer's end, which
                    // may be a cut: whoever reads on will see.
                    Err(error) if error.is_timeout() || error.kind() == ErrorKind::Incomplete => 0,
                    read => read?,
                };
                if n > 0 {
                    self.note_read();
                    self.drained = false;
                }
                Ok(n > 0)
            }
        }
    }

    /// Whether all content of the message has arrived. No more is taken in once `most` bytes are buffered.
    /// Does not wait, but for the rest of a TLS record.
    pub(crate) fn has_arrived(&mut self, stream: &mut Stream, most: usize) -> bool {
        loop {
            if self.is_all_buffered() {
                return true;
            }
            if !matches!(self.read_ahead(stream, most), Ok(true)) {
                return false;
            }
        }
    }

    /// Whether the buffer holds the content to its end, or to where it is wrong.
    fn is_all_buffered(&self) -> bool {
        let mut input = self.buffer.filled();
        if let Some(left) = self.remaining() {
            return left <= input.len() as u64;
        }
        let (mut decoder, mut trailers) = (self.decoder.clone(), HeaderMap::new());
        while !decoder.is_done() {
            match decoder.step(input, &self.limits, &mut trailers) {
                Ok(step) if step.skip + step.data > 0 => {
                    decoder.consume(step.data);
                    input = &input[step.skip + step.data..];
                }
                Ok(_) => return false,
                Err(_) => return true,
            }
        }
        true
    }

    /// Reads and drops what of the content has arrived, without waiting, up to `budget` bytes. Says
    /// whether the content has come to its end by that.
    pub(crate) fn drop_arrived(&mut self, stream: &mut Stream, mut budget: usize) -> Result<bool> {
        loop {
            if !self.has_content()? {
                if !self.read_ahead(stream, usize::MAX)? {
                    return Ok(false);
                }
                continue;
            }
            let n = self.ready;
            if n == 0 {
                return Ok(true);
            }
            if n > budget {
                return Ok(false);
            }
            budget -= n;
            self.consume(n);
        }
    }

    /// Whether the buffered bytes begin with the head of a final response that is an error:
    /// then the peer does not want the rest of what we send (RFC 9112, 9.5).
    pub(crate) fn refusal_waits(&mut self) -> bool {
        let mut response = Response::new();
        let mut at = 0;
        loop {
            let mut scanner = HeadScanner::new(HeadKind::Response);
            let buffered = &self.buffer.filled()[at..];
            let Ok(Some(head)) = scanner.find_end(buffered, &self.limits) else { return false };
            if parse_response(&buffered[head.start..head.end], &self.limits, &mut response).is_err() {
                return false;
            }
            if !response.status().is_informational() {
                return response.status().as_u16() >= 300;
            }
            at += head.end;
        }
    }

    /// Reads and drops the rest of the content, if that takes no more than so many bytes and
    /// so long. Says whether the content has come to its end.
    pub(crate) fn drain(&mut self, out: &mut Outgoing, mut budget: u64, within: Duration) -> Result<bool> {
        if self.is_done() {
            return Ok(true);
        }
        if self.remaining().is_some_and(|r| r > budget) {
            return Ok(false);
        }
        let saved = (out.times, out.deadline);
        out.deadline = out.deadline.earlier(Deadline::after(within));
        let result = loop {
            if let Err(error) = self.fill_content(out) {
                break Err(error);
            }
            let n = self.ready;
            if n == 0 {
                break Ok(true);
            }
            if n as u64 > budget {
                break Ok(false);
            }
            budget -= n as u64;
            self.consume(n);
        };
        (out.times, out.deadline) = saved;
        result
    }
}

/// The limit for the rest of a head whose first byte is there.
fn within(first: &Limit, whole: Option<Duration>) -> Limit {
    match whole {
        Some(whole) => Limit::none().until(first.deadline).until(Deadline::after(whole)),
        None => *first,
    }
}
