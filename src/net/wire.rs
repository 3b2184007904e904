//! A stream with the output that has not left yet: flush before you wait.
//!
//! Output leaves when there is much of it, on a flush, and before any read that may block: no other rule.
//! So a head and its small content, `100 Continue` and pipelined responses coalesce by
//! themselves, and nobody waits for the peer while holding bytes that it waits for. Knows
//! nothing of what the bytes mean.

use std::fs::File;
use std::io::IoSlice;
use std::net::Shutdown;

use log::debug;

use crate::error::{Error, ErrorKind, Result};
use crate::net::deadline::Limit;
use crate::net::socket::{failed, read_at};
use crate::net::stream::Stream;

#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    output: Output,
    /// How much output is held back at most.
    hold: usize,
    /// For the flush before a read.
    send_limit: Limit,
    /// Why nothing can be sent any more.
    broken: Option<Error>,
}

/// Bytes on their way out.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    /// So many of them have left.
    gone: usize,
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Wire {
        Wire { stream, output: Output::default(), hold: HOLD, send_limit: Limit::none(), broken: None }
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// For what neither reads nor writes.
    pub(crate) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The stream, and what did not leave.
    pub(crate) fn into_parts(mut self) -> (Stream, Vec<u8>) {
        let mut rest = std::mem::take(&mut self.output.bytes);
        rest.drain(..std::mem::take(&mut self.output.gone));
        (self.stream, rest)
    }

    /// How long each write may take that is made without a limit of its own.
    pub(crate) fn set_send_limit(&mut self, limit: Limit) {
        self.send_limit = limit;
    }

    pub(crate) fn send_limit(&self) -> Limit {
        self.send_limit
    }

    /// How many bytes have not left yet.
    #[inline]
    pub(crate) fn unsent(&self) -> usize {
        self.output.bytes.len() - self.output.gone
    }

    /// Why nothing can be sent any more, if so. What was not sent stays unsent; reading goes on, for the peer may have
    /// answered before it stopped listening.
    pub(crate) fn send_error(&self) -> Option<&Error> {
        self.broken.as_ref()
    }

    /// Sends what is held back, then reads.
    #[inline]
    pub(crate) fn read(&mut self, buf: &mut [u8], limit: &Limit) -> Result<usize> {
        if self.unsent() > 0 && self.broken.is_none() {
            self.flush()?;
        }
        self.stream.read(buf, limit)
    }

    /// Where to append output that is not large. It leaves with the next flush, read or large write.
    #[inline]
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        if self.output.bytes.capacity() == 0 {
            self.output.bytes.reserve(FIRST);
        }
        &mut self.output.bytes
    }

    /// Sends all that is held back.
    #[inline]
    pub(crate) fn flush(&mut self) -> Result<()> {
        let limit = self.send_limit;
        self.flush_within(&limit)
    }

    /// The same. After a time-out what was not sent is still held back, and can be tried again.
    #[inline]
    pub(crate) fn flush_within(&mut self, limit: &Limit) -> Result<()> {
        self.check_sending()?;
        while self.unsent() > 0 {
            let sent = self.stream.write_vectored(&[IoSlice::new(self.output.rest())], limit);
            let sent = self.progress(sent)?;
            self.output.advance(sent);
        }
        Ok(())
    }

    /// Sends these parts, or holds them back if they are small.
    pub(crate) fn write(&mut self, parts: &[&[u8]]) -> Result<()> {
        let limit = self.send_limit;
        self.write_from(parts, &mut 0, &limit)
    }

    /// The same, beginning behind the first `done` bytes. After a time-out `done` says how far it came; going on
    /// means calling again with the same parts.
    ///
    /// What is large is not copied: it leaves from where it is, together with what was held back.
    pub(crate) fn write_from(&mut self, parts: &[&[u8]], done: &mut usize, limit: &Limit) -> Result<()> {
        self.check_sending()?;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if self.unsent() + (total - *done) > self.hold {
            if total < self.hold {
                // Many small writes: larger blocks save system calls.
                self.hold = (self.hold * 2).min(MOST_HELD);
            }
            // A small rest (the end of a chunk) waits for what comes next.
            while self.unsent() > 0 || total - *done > TAIL {
                let sent = {
                    let mut slices = [IoSlice::new(&[]); SLICES];
                    let used = gather(self.output.rest(), parts, *done, &mut slices);
                    self.stream.write_vectored(&slices[..used], limit)
                };
                let mut sent = self.progress(sent)?;
                let held = sent.min(self.unsent());
                self.output.advance(held);
                sent -= held;
                *done += sent;
            }
        }
        let mut before = *done;
        for part in parts {
            let skipped = before.min(part.len());
            before -= skipped;
            self.out().extend_from_slice(&part[skipped..]);
        }
        *done = total;
        Ok(())
    }

    /// Sends a part of a file, or holds it back if it is small. Says how many of its bytes were taken; `Ok(0)`
    /// means that it has ended. Not more than a few MiB at once, so that the caller can look at the rate.
    pub(crate) fn send_file(&mut self, file: &File, offset: u64, length: u64, limit: &Limit) -> Result<u64> {
        let small = self.unsent() as u64 + length <= self.hold as u64;
        if !small {
            self.flush_within(limit)?;
            if let Some(socket) = self.stream.plain_socket() {
                let sent = socket.send_file(file, offset, length, limit);
                return sent.map_err(|error| self.note(error));
            }
        }
        self.check_sending()?;
        let block = usize::try_from(length).map_or(MOST_HELD, |length| length.min(MOST_HELD));
        let out = self.out();
        let before = out.len();
        out.resize(before + block, 0);
        let outcome = read_at(file, &mut out[before..], offset);
        out.truncate(before + *outcome.as_ref().unwrap_or(&0));
        outcome.map(|n| n as u64).map_err(failed)
    }

    /// Sends what is held back and ends the write side: the peer reads an end.
    pub(crate) fn finish(&mut self, limit: &Limit) -> Result<()> {
        self.flush_within(limit)?;
        self.stream.shutdown(Shutdown::Write, limit)
    }

    /// Gives memory back, if nothing is held back. For connections that are idle.
    pub(crate) fn release(&mut self) {
        if self.unsent() == 0 {
            self.output = Output::default();
            self.hold = HOLD;
        }
    }

    fn check_sending(&self) -> Result<()> {
        self.broken.as_ref().map_or(Ok(()), |error| Err(error.duplicate()))
    }

    /// How far a write came. A time-out may be tried again; after any other error nothing is sent any more.
    #[inline]
    fn progress(&mut self, outcome: Result<usize>) -> Result<usize> {
        match outcome {
            Ok(n) if n > 0 => Ok(n),
            Ok(_) => Err(self.note(Error::new(ErrorKind::Io, "the stream takes no bytes"))),
            Err(error) => Err(self.note(error)),
        }
    }

    #[cold]
    fn note(&mut self, error: Error) -> Error {
        if !error.is_timeout() && self.broken.is_none() {
            debug!("sending failed with {} bytes unsent: {error}", self.unsent());
            self.broken = Some(error.duplicate());
        }
        error
    }
}

impl Output {
    #[inline]
    fn rest(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    #[inline]
    fn advance(&mut self, n: usize) {
        self.gone += n;
        if self.gone == self.bytes.len() {
            self.bytes.clear();
            self.gone = 0;
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.gone < self.bytes.len() {
            debug!(
                "dropping a connection with {} bytes that were never flushed",
                self.bytes.len() - self.gone
            );
        }
    }
}

impl std::fmt::Debug for Output {
    /// Without the bytes, which may be credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes.len() - self.gone)
    }
}

/// What is held back, then the parts behind their first `done` bytes, as far as there are slices.
fn gather<'a>(held: &'a [u8], parts: &[&'a [u8]], done: usize, into: &mut [IoSlice<'a>; SLICES]) -> usize {
    let mut used = 0;
    let mut before = done;
    for part in std::iter::once(held).chain(parts.iter().map(|part| {
        let skipped = before.min(part.len());
        before -= skipped;
        &part[skipped..]
    })) {
        if !part.is_empty() && used < SLICES {
            into[used] = IoSlice::new(part);
            used += 1;
        }
    }
    used
}

/// What is held back before many small writes have shown that larger blocks pay.
const HOLD: usize = 16 << 10;

/// The most that is held back. Writes of 8 KiB cost three to nine times the processor time of these.
const MOST_HELD: usize = 128 << 10;

/// The end of a large write that is not worth a system call of its own.
const TAIL: usize = 1 << 10;

/// What a small head needs.
const FIRST: usize = 1 << 10;

/// A chunk has three parts, and something may be held back.
const SLICES: usize = 8;
