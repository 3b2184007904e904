//! A stream with its output buffer: flush before you wait.
//!
//! Output leaves when somebody sends more than is worth copying, on `flush`, and before any
//! read that may block; never byte by byte. Large data goes out vectored and uncopied, in
//! pieces that stay in the processor's cache. Knows nothing of messages.

use std::fs::File;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use crate::net::{Deadline, Limit, Stream};
use crate::{Error, ErrorKind, Result};

/// Most that one system call is given. Below 64 KiB the calls cost, above 256 KiB the data
/// falls out of the second-level cache.
const PIECE: usize = 256 * 1024;

/// Most parts that go out together.
const PARTS: usize = 8;

/// The least rate at which a peer must send or take content, averaged over the time spent
/// waiting for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// How long any rate will do.
    pub(crate) grace: Duration,
    /// Bytes a second after that.
    pub(crate) bytes_per_second: u64,
}

impl Pace {
    /// How long this many bytes may take.
    pub(crate) fn allowance(&self, bytes: u64) -> Duration {
        match bytes.checked_mul(1000).and_then(|b| b.checked_div(self.bytes_per_second)) {
            Some(millis) => self.grace.saturating_add(Duration::from_millis(millis)),
            None => Duration::MAX,
        }
    }

    /// When the peer, which has kept us waiting for so long, must have moved more than `bytes`.
    pub(crate) fn deadline(&self, bytes: u64, waited: Duration, now: Instant) -> Deadline {
        let left = self.allowance(bytes).saturating_sub(waited);
        now.checked_add(left).map_or(Deadline::never(), Deadline::at)
    }
}

/// What to do about a peer that takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stalled {
    /// Nothing has changed.
    Wait,
    /// The peer is alive: it sent something. Start the clock anew.
    Progress,
    /// Sending has become pointless.
    Stop,
}

/// Asked whenever the peer has taken nothing for so long.
pub(crate) type OnStall<'a> = (Duration, &'a mut dyn FnMut(&mut Stream) -> Result<Stalled>);

#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    out: Vec<u8>,
    /// Bytes that left.
    sent: u64,
    /// How fast the peer must take what is sent.
    pace: Option<Pace>,
    waited: Duration,
    paced_from: u64,
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Wire {
        Wire { stream, out: Vec::new(), sent: 0, pace: None, waited: Duration::ZERO, paced_from: 0 }
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(crate) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The stream alone; what was not flushed is lost.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    /// The output buffer: what is appended leaves with the next flush.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// How many bytes have left.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.out.is_empty()
    }

    /// Drops what is buffered.
    pub(crate) fn discard(&mut self) {
        self.out.clear();
    }

    /// Gives back the memory of an empty buffer.
    pub(crate) fn release(&mut self, keep: usize) {
        if self.out.is_empty() && self.out.capacity() > keep {
            self.out = Vec::new();
        }
    }

    /// From here on the peer must take what is sent at this rate.
    pub(crate) fn set_pace(&mut self, pace: Option<Pace>) {
        self.pace = pace;
        self.waited = Duration::ZERO;
        self.paced_from = self.sent;
    }

    /// Reads, flushing first.
    #[inline]
    pub(crate) fn read(&mut self, into: &mut [u8], receive: &Limit, send: &Limit) -> Result<usize> {
        self.flush(send)?;
        self.stream.read(into, receive)
    }

    /// Sends what is buffered: nearly always by one call, for which no clock is read.
    #[inline]
    pub(crate) fn flush(&mut self, limit: &Limit) -> Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        if self.out.len() <= PIECE {
            match self.stream.write_vectored(&[IoSlice::new(&self.out)], limit) {
                Ok(n) if n == self.out.len() => {
                    self.sent += n as u64;
                    self.out.clear();
                    return if self.stream.is_flushed() { Ok(()) } else { self.stream.flush(limit) };
                }
                Ok(n) => {
                    self.sent += n as u64;
                    self.out.drain(..n);
                }
                Err(error) => {
                    self.out.clear();
                    return Err(error);
                }
            }
        }
        self.send(&[], limit, None)
    }

    /// Whether files can be sent without being read.
    pub(crate) fn sends_files(&self) -> bool {
        self.stream.plain_socket().is_some()
    }

    /// Sends a part of a file, by the system where that is possible: see [`sends_files`](Self::sends_files). What is
    /// buffered must have left.
    pub(crate) fn send_file(&mut self, file: &File, offset: u64, length: u64, limit: &Limit) -> Result<()> {
        debug_assert!(self.out.is_empty(), "a file overtakes what is buffered");
        let mut done = 0;
        while done < length {
            let Some(socket) = self.stream.plain_socket() else {
                return Err(Error::illegal_state("the stream does not send files"));
            };
            let started = self.pace.is_some().then(Instant::now);
            let mut this = *limit;
            if let (Some(pace), Some(now)) = (self.pace, started) {
                this = this.until(pace.deadline(self.sent - self.paced_from, self.waited, now));
            }
            let n = socket.send_file(file, offset + done, length - done, &this)?;
            if let Some(started) = started {
                self.waited += started.elapsed();
            }
            if n == 0 {
                return Err(Error::new(ErrorKind::Io, "the file has become shorter while it was sent"));
            }
            done += n;
            self.sent += n;
        }
        Ok(())
    }

    /// Sends what is buffered and the parts behind it, all the way. With `on_stall` the wait is cut into
    /// slices, and the function decides how it goes on. After an error an unknown part of
    /// the data has left, and the rest is gone: nothing more can be sent on this stream.
    pub(crate) fn send(
        &mut self,
        parts: &[&[u8]],
        limit: &Limit,
        mut on_stall: Option<OnStall<'_>>,
    ) -> Result<()> {
        debug_assert!(parts.len() < PARTS, "more parts than go out together");
        let mut sources: [&[u8]; PARTS] = [&[]; PARTS];
        sources[0] = &self.out;
        for (source, part) in sources[1..].iter_mut().zip(parts) {
            *source = part;
        }
        let mut left = &mut sources[..=parts.len().min(PARTS - 1)];
        let mut waiting: Option<Instant> = None;
        let mut first = true;
        let result = loop {
            while left.first().is_some_and(|s| s.is_empty()) {
                left = &mut left[1..];
            }
            // What a stream gathers leaves with the last of it.
            let flushing = left.is_empty();
            if flushing && self.stream.is_flushed() {
                break Ok(());
            }
            // All the time counts, or a peer that takes each of many parts late would be slow for ever.
            let started = (self.pace.is_some() || !first && on_stall.is_some()).then(Instant::now);
            first = false;
            let mut this = *limit;
            if let (Some(pace), Some(now)) = (self.pace, started) {
                this = this.until(pace.deadline(self.sent - self.paced_from, self.waited, now));
            }
            if let Some((slice, _)) = &on_stall {
                this.stall = Some(this.stall.map_or(*slice, |s| s.min(*slice)));
            }
            let written = if flushing {
                self.stream.flush_some(&this).map(|()| 0)
            } else {
                let (slices, n) = gather(left);
                self.stream.write_vectored(&slices[..n], &this)
            };
            if let Some(started) = started {
                self.waited += started.elapsed();
            }
            match written {
                Ok(0) if flushing => waiting = None,
                Ok(0) => break Err(Error::new(ErrorKind::Io, "the stream takes no more data")),
                Ok(n) => {
                    self.sent += n as u64;
                    waiting = None;
                    advance(left, n);
                }
                Err(error) if error.is_timeout() && on_stall.is_some() && !limit.deadline.is_over() => {
                    let Some((slice, ask)) = &mut on_stall else { break Err(error) };
                    match ask(&mut self.stream) {
                        Ok(Stalled::Wait) => {}
                        Ok(Stalled::Progress) => waiting = None,
                        Ok(Stalled::Stop) => break Err(error),
                        Err(error) => break Err(error),
                    }
                    let since = *waiting.get_or_insert_with(Instant::now);
                    if limit.stall.is_some_and(|stall| since.elapsed() + *slice >= stall) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.out.clear();
        result
    }
}

/// The slices of one call, no more than a piece in all.
fn gather<'a>(left: &[&'a [u8]]) -> ([IoSlice<'a>; PARTS], usize) {
    let mut slices: [IoSlice<'a>; PARTS] = std::array::from_fn(|_| IoSlice::new(&[]));
    let mut room = PIECE;
    let mut n = 0;
    for source in left.iter().filter(|s| !s.is_empty()) {
        let take = source.len().min(room);
        slices[n] = IoSlice::new(&source[..take]);
        n += 1;
        room -= take;
        if room == 0 {
            break;
        }
    }
    (slices, n)
}

/// Steps over `n` bytes.
fn advance(left: &mut [&[u8]], mut n: usize) {
    for source in left {
        let step = n.min(source.len());
        *source = &source[step..];
        n -= step;
        if n == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::pair;

    fn within(seconds: u64) -> Limit {
        Limit::stall(Duration::from_secs(seconds))
    }

    fn read_all(stream: &mut Stream, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        let mut at = 0;
        while at < n {
            let step = stream.read(&mut bytes[at..], &within(5)).unwrap();
            assert!(step > 0);
            at += step;
        }
        bytes
    }

    #[test]
    fn the_pace_allows_grace_and_then_a_second_for_each_so_many_bytes() {
        let pace = Pace { grace: Duration::from_secs(5), bytes_per_second: 240 };
        assert_eq!(pace.allowance(0), Duration::from_secs(5));
        assert_eq!(pace.allowance(2400), Duration::from_secs(15));
        assert_eq!(Pace { grace: Duration::ZERO, bytes_per_second: 0 }.allowance(1), Duration::MAX);
        assert_eq!(pace.allowance(u64::MAX), Duration::MAX);
    }

    #[test]
    fn what_is_buffered_leaves_before_the_parts_and_before_a_read() {
        let (near, far) = pair();
        let (mut wire, mut far) = (Wire::new(Stream::custom(near)), Stream::custom(far));
        wire.out().extend_from_slice(b"one ");
        wire.send(&[b"two", b"", b" three"], &within(5), None).unwrap();
        assert_eq!(read_all(&mut far, 13), b"one two three");
        assert_eq!(wire.sent(), 13);

        wire.out().extend_from_slice(b"question");
        far.write_vectored(&[IoSlice::new(b"answer")], &within(5)).unwrap();
        let mut answer = [0; 16];
        assert_eq!(wire.read(&mut answer, &within(5), &within(5)).unwrap(), 6);
        assert!(wire.is_flushed());
        assert_eq!(read_all(&mut far, 8), b"question");
    }

    #[test]
    fn more_than_a_piece_arrives_whole_and_in_order() {
        let (near, far) = pair();
        let (mut wire, mut far) = (Wire::new(Stream::custom(near)), Stream::custom(far));
        let data: Vec<u8> = (0..3 * PIECE + 17).map(|i| (i % 251) as u8).collect();
        let copy = data.clone();
        let reader =
            std::thread::spawn(move || read_all(&mut far, copy.len() + 4) == [b"head", &copy[..]].concat());
        wire.out().extend_from_slice(b"head");
        wire.send(&[&data], &within(5), None).unwrap();
        assert!(reader.join().unwrap());
    }

    #[test]
    fn a_peer_that_takes_nothing_is_a_timeout_in_time() {
        let (near, _far) = pair();
        let mut wire = Wire::new(Stream::custom(near));
        let data = vec![0; 8 << 20];
        let started = Instant::now();
        let error = wire.send(&[&data], &Limit::stall(Duration::from_millis(150)), None).unwrap_err();
        assert!(error.is_timeout());
        assert!((150..400).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    }

    #[test]
    fn a_stall_asks_and_then_ends_in_time() {
        let (near, _far) = pair();
        let mut wire = Wire::new(Stream::custom(near));
        let data = vec![0; 8 << 20];
        let mut asked = 0;
        let started = Instant::now();
        let error = wire
            .send(
                &[&data],
                &Limit::stall(Duration::from_millis(200)),
                Some((Duration::from_millis(20), &mut |_| {
                    asked += 1;
                    Ok(Stalled::Wait)
                })),
            )
            .unwrap_err();
        assert!(error.is_timeout());
        assert!(asked >= 4, "{asked}");
        assert!((150..500).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    }

    /// Holds back what it takes, and lets out a little at a time.
    #[derive(Debug)]
    struct Gathering {
        stream: Stream,
        held: Vec<u8>,
    }

    impl crate::net::Transport for Gathering {
        fn read(&mut self, buf: &mut [u8], limit: &Limit) -> Result<usize> {
            self.stream.read(buf, limit)
        }
        fn write_vectored(&mut self, parts: &[IoSlice<'_>], _limit: &Limit) -> Result<usize> {
            parts.iter().for_each(|part| self.held.extend_from_slice(part));
            Ok(parts.iter().map(|part| part.len()).sum())
        }
        fn is_flushed(&self) -> bool {
            self.held.is_empty()
        }
        fn flush_some(&mut self, limit: &Limit) -> Result<()> {
            let some = &self.held[..self.held.len().min(8 << 10)];
            let n = self.stream.write_vectored(&[IoSlice::new(some)], limit)?;
            self.held.drain(..n);
            Ok(())
        }
        fn peek_nowait(&mut self) -> Result<crate::net::Readiness> {
            self.stream.peek_nowait()
        }
        fn shutdown(&mut self, how: std::net::Shutdown, limit: &Limit) -> Result<()> {
            self.stream.shutdown(how, limit)
        }
        fn attach_abort(&mut self, abort: &crate::net::AbortHandle) -> Result<()> {
            self.stream.attach_abort(abort)
        }
    }

    #[test]
    fn what_a_stream_gathers_leaves_before_a_send_is_done() {
        let (near, far) = pair();
        let near = Gathering { stream: Stream::custom(near), held: Vec::new() };
        let (mut wire, mut far) = (Wire::new(Stream::custom(near)), Stream::custom(far));
        wire.out().extend_from_slice(b"head ");
        wire.send(&[&[7; 20_000]], &within(5), None).unwrap();
        assert_eq!(read_all(&mut far, 20_005).len(), 20_005);
    }

    #[test]
    fn a_gathering_stream_that_moves_slowly_is_not_stalled() {
        let (near, far) = pair();
        let near = Gathering { stream: Stream::custom(near), held: Vec::new() };
        let (mut wire, mut far) = (Wire::new(Stream::custom(near)), Stream::custom(far));
        let (go, gone) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            // Takes some whenever the writer has found itself stalled.
            let mut taken = 0;
            while gone.recv().is_ok() {
                taken += far.read(&mut [0; 8 << 10], &within(5)).unwrap();
            }
            taken + read_all(&mut far, (128 << 10) - taken).len()
        });
        let stall = Limit::stall(Duration::from_millis(100));
        let slice = Duration::from_millis(30);
        wire.send(
            &[&[7; 128 << 10]],
            &stall,
            Some((slice, &mut |_| {
                go.send(()).unwrap();
                Ok(Stalled::Wait)
            })),
        )
        .unwrap();
        drop(go);
        assert_eq!(reader.join().unwrap(), 128 << 10);
    }

    #[test]
    fn a_peer_that_takes_each_of_many_small_parts_late_is_slower_than_the_pace() {
        let (near, far) = pair();
        let (mut wire, mut far) = (Wire::new(Stream::custom(near)), Stream::custom(far));
        wire.set_pace(Some(Pace { grace: Duration::from_millis(100), bytes_per_second: 100_000 }));
        let (full, is_full) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            // What fits into the pipe is no news of the peer.
            is_full.recv().unwrap();
            while matches!(far.read(&mut [0; 1000], &within(5)), Ok(1..)) {
                std::thread::sleep(Duration::from_millis(30)); // the slowness that is noticed
            }
        });
        let started = Instant::now();
        let mut sent = 0;
        let error = loop {
            if sent == 64 {
                full.send(()).unwrap();
            }
            match wire.send(&[&[7; 1000]], &within(30), None) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
            assert!(sent < 1000, "ten times as slow as allowed, and not noticed");
        };
        assert!(error.is_timeout() && started.elapsed() < Duration::from_secs(10), "{error}");
        drop(wire);
        reader.join().unwrap();
    }

    #[test]
    fn a_peer_slower_than_the_pace_is_a_timeout() {
        let (near, far) = pair();
        let (mut wire, mut far) = (Wire::new(Stream::custom(near)), Stream::custom(far));
        wire.set_pace(Some(Pace { grace: Duration::from_millis(100), bytes_per_second: 1 << 40 }));
        let reader = std::thread::spawn(move || {
            // Takes a little at a time, for as long as the writer goes on.
            let mut few = [0; 64];
            while matches!(far.read(&mut few, &within(5)), Ok(1..)) {
                std::thread::yield_now();
            }
        });
        let started = Instant::now();
        let error = wire.send(&[&vec![0; 64 << 20]], &within(30), None).unwrap_err();
        assert!(error.is_timeout());
        assert!(started.elapsed() < Duration::from_secs(5));
        drop(wire);
        reader.join().unwrap();
    }
}
