//! The read buffer: what has come and was not taken yet.
//!
//! Heads are scanned and parsed in it, content is lent from it. It starts with nothing, takes
//! 4 KiB at the first fill and grows by doubling, only after what it has was filled: by bytes that came,
//! never by a number that a peer names. Bytes move only when there is no room behind them.
//! Knows neither streams nor HTTP.

use crate::error::{Error, Result};

/// The most that content is read by at once.
pub(crate) const CONTENT: usize = 64 << 10;

/// What is allocated at the first fill. What is touched stays resident.
const FIRST: usize = 4 << 10;

/// A buffer longer than this goes when it is empty and no longer asked for (a long read-ahead).
const KEPT: usize = 128 << 10;

#[derive(Debug, Default)]
pub(crate) struct ReadBuffer {
    /// All of it may be written to; the unread bytes are `start..end`.
    room: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read took all the room it was given: more is likely waiting.
    was_filled: bool,
}

impl ReadBuffer {
    /// Without memory.
    pub(crate) const fn new() -> ReadBuffer {
        ReadBuffer { room: Vec::new(), start: 0, end: 0, was_filled: false }
    }

    /// With bytes that were read elsewhere.
    pub(crate) fn with_bytes(bytes: Vec<u8>) -> ReadBuffer {
        ReadBuffer { start: 0, end: bytes.len(), room: bytes, was_filled: false }
    }

    /// The unread bytes.
    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        &self.room[self.start..self.end]
    }

    /// How many bytes are unread.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The first `n` unread bytes were taken.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.start = self.end.min(self.start + n);
    }

    /// Has `read` put bytes behind the unread ones, and says how many; 0 is what `read` says at the end
    /// of the stream. The memory grows to at most `most`; unread bytes that take all of that are an error.
    #[inline]
    pub(crate) fn fill(
        &mut self,
        most: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize>,
    ) -> Result<usize> {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        if self.end == self.room.len()
            || self.start == self.end && (self.was_filled || self.room.len() > KEPT)
        {
            self.make_room(most)?;
        }
        let room = &mut self.room[self.end..];
        let n = read(room)?;
        if n > room.len() {
            return Err(Error::illegal_state("more bytes were read than there is room for"));
        }
        self.was_filled = n == room.len();
        self.end += n;
        Ok(n)
    }

    #[cold]
    fn make_room(&mut self, most: usize) -> Result<()> {
        let (has, unread) = (self.room.len(), self.len());
        if unread == 0 && has > most.max(KEPT) {
            self.room = vec![0; most.min(CONTENT)];
        } else if has < most && self.start < has.div_ceil(2).max(1) {
            // Zeroed memory comes cheap; growing in place would touch all of it.
            let mut longer = vec![0; (has * 2).clamp(FIRST, most.max(FIRST))];
            longer[..unread].copy_from_slice(self.filled());
            self.room = longer;
        } else if self.start > 0 {
            self.room.copy_within(self.start..self.end, 0);
        } else if unread > 0 {
            return Err(Error::too_large("more bytes are waiting to be taken than the read buffer may hold"));
        }
        (self.start, self.end) = (0, unread);
        Ok(())
    }

    /// Gives the memory back, if nothing is unread.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            *self = ReadBuffer::new();
        }
    }

    /// Forgets the unread bytes, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Takes the unread bytes out.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(self);
        buffer.room.truncate(buffer.end);
        buffer.room.drain(..buffer.start);
        buffer.room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts `bytes` in as one read, as far as there is room.
    fn put(buffer: &mut ReadBuffer, most: usize, bytes: &[u8]) -> Result<usize> {
        buffer.fill(most, |room| {
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            Ok(n)
        })
    }

    fn numbered(range: std::ops::Range<usize>) -> Vec<u8> {
        range.map(|i| (i * 7 + i / 251) as u8).collect()
    }

    #[test]
    fn nothing_is_allocated_before_the_first_fill_nor_after_a_release() {
        let mut buffer = ReadBuffer::new();
        assert_eq!(buffer.room.capacity(), 0);
        put(&mut buffer, CONTENT, b"abc").unwrap();
        assert_eq!(buffer.room.len(), FIRST);
        buffer.release();
        assert_eq!(buffer.filled(), b"abc");
        buffer.consume(3);
        buffer.release();
        assert_eq!(buffer.room.capacity(), 0);
    }

    #[test]
    fn it_grows_by_what_came_and_not_by_what_may_come() {
        let mut buffer = ReadBuffer::new();
        for _ in 0..100 {
            put(&mut buffer, usize::MAX, b"x").unwrap();
        }
        assert_eq!(buffer.room.len(), FIRST);
        let bytes = numbered(0..FIRST);
        put(&mut buffer, usize::MAX, &bytes).unwrap();
        assert_eq!(buffer.len(), FIRST);
        put(&mut buffer, usize::MAX, b"y").unwrap();
        assert_eq!(buffer.room.len(), 2 * FIRST);
    }

    #[test]
    fn full_reads_of_content_grow_it_to_64_kib_and_no_further() {
        let mut buffer = ReadBuffer::new();
        let bytes = numbered(0..1 << 20);
        let mut sizes = Vec::new();
        for _ in 0..8 {
            let n = put(&mut buffer, CONTENT, &bytes).unwrap();
            assert_eq!(buffer.filled(), &bytes[..n]);
            buffer.consume(n);
            sizes.push(n >> 10);
        }
        assert_eq!(sizes, [4, 8, 16, 32, 64, 64, 64, 64]);
    }

    #[test]
    fn what_is_unread_and_takes_all_that_is_allowed_is_an_error_and_stays_readable() {
        let mut buffer = ReadBuffer::new();
        let bytes = numbered(0..1 << 20);
        while buffer.len() < 10_000 {
            let come = buffer.len();
            put(&mut buffer, 10_000, &bytes[come..]).unwrap();
        }
        assert_eq!(buffer.room.len(), 10_000);
        let error = buffer.fill(10_000, |_| panic!("must not read")).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::TooLarge);
        assert_eq!(buffer.filled(), &bytes[..10_000]);
    }

    #[test]
    fn no_byte_is_lost_or_moved_whatever_is_read_and_taken() {
        let bytes = numbered(0..300_000);
        // A small generator is enough: what counts is that sizes are mixed.
        let mut seed = 12_345_u32;
        let mut random = |most: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % (most + 1)
        };
        for most in [4096, 5000, 9000, CONTENT] {
            let (mut buffer, mut come, mut taken) = (ReadBuffer::new(), 0, 0);
            while taken < bytes.len() {
                if come < bytes.len() && buffer.len() < most {
                    let piece = random(6000).min(bytes.len() - come);
                    come += put(&mut buffer, most, &bytes[come..come + piece]).unwrap();
                }
                assert_eq!(buffer.filled(), &bytes[taken..come]);
                let n = random(buffer.len());
                buffer.consume(n);
                taken += n;
                if come == bytes.len() && random(10) == 0 {
                    assert_eq!(buffer.take(), &bytes[taken..]);
                    taken = bytes.len();
                }
            }
        }
    }

    #[test]
    fn bytes_move_only_where_there_is_no_room_behind_them() {
        let mut buffer = ReadBuffer::new();
        put(&mut buffer, FIRST, &[1; 3000]).unwrap();
        buffer.consume(2999);
        put(&mut buffer, FIRST, &[2; 96]).unwrap();
        assert_eq!(buffer.start, 2999);
        put(&mut buffer, FIRST, &[3; 2000]).unwrap();
        assert_eq!((buffer.start, buffer.end), (2999, FIRST));
        put(&mut buffer, FIRST, &[4; 10]).unwrap();
        assert_eq!((buffer.start, buffer.len()), (0, 1 + 96 + 1000 + 10));
        assert_eq!(buffer.room.len(), FIRST);
    }

    #[test]
    fn a_long_read_ahead_does_not_stay() {
        let mut buffer = ReadBuffer::new();
        let bytes = numbered(0..1 << 20);
        while buffer.len() < bytes.len() {
            let come = buffer.len();
            put(&mut buffer, 8 << 20, &bytes[come..]).unwrap();
        }
        buffer.consume(1 << 20);
        put(&mut buffer, CONTENT, b"x").unwrap();
        assert_eq!((buffer.room.len(), buffer.filled()), (CONTENT, &b"x"[..]));
    }

    #[test]
    fn a_failed_or_lying_read_changes_nothing() {
        let mut buffer = ReadBuffer::with_bytes(b"abc".to_vec());
        assert!(buffer.fill(100, |_| Err(Error::aborted())).is_err());
        assert!(buffer.fill(100, |room| Ok(room.len() + 1)).is_err());
        assert_eq!(buffer.fill(100, |_| Ok(0)).unwrap(), 0);
        assert_eq!(buffer.filled(), b"abc");
        assert_eq!(buffer.take(), b"abc");
        assert!(buffer.is_empty());
    }
}
