//! The read buffer: heads are parsed in it and content is lent from it.
//!
//! Operations: append what one read brings, look at all that is there, drop bytes from the
//! front. All are O(1) but for moving what is left to the front, which happens only when
//! there is no room behind it. Starts without memory, takes little for the first bytes, and
//! grows by doubling, never by what a peer names: those who read on bound it.

use crate::Result;

/// Enough for nearly every head, and for content that is as small.
const MODEST: usize = 4 * 1024;

/// Reads of this size cost least for each byte.
const CONTENT: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct ReadBuffer {
    bytes: Vec<u8>,
    /// How much memory it takes for the first bytes.
    first: usize,
    /// `start..end` is filled.
    start: usize,
    end: usize,
}

impl ReadBuffer {
    pub(crate) fn new(first: usize) -> ReadBuffer {
        ReadBuffer { bytes: Vec::new(), first, start: 0, end: 0 }
    }

    /// What was read and not consumed.
    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Drops `n` bytes from the front.
    #[inline]
    pub(crate) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.end - self.start, "more consumed than is there");
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Takes everything that was not consumed; the memory goes along.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.truncate(self.end);
        bytes.drain(..self.start);
        self.clear();
        bytes
    }

    /// Appends what one read brings, and says how much that was. There is always room.
    #[inline]
    pub(crate) fn fill(&mut self, read: impl FnOnce(&mut [u8]) -> Result<usize>) -> Result<usize> {
        if self.end == self.bytes.len() {
            self.make_room();
        }
        let room = &mut self.bytes[self.end..];
        let most = room.len();
        let n = read(room)?.min(most);
        self.end += n;
        Ok(n)
    }

    /// Content follows: so much of it, where that is known. Grows to what reads it best: little content
    /// did not come with its head, and the next will.
    pub(crate) fn expect_content(&mut self, remaining: Option<u64>) {
        let wanted = remaining.map_or(CONTENT, |r| usize::try_from(r).unwrap_or(CONTENT).min(CONTENT));
        if wanted > self.bytes.len() || self.bytes.len() < MODEST {
            self.compact();
            self.bytes.resize(if wanted > MODEST { CONTENT } else { MODEST }, 0);
        }
    }

    /// Gives back the memory if nothing is in it.
    pub(crate) fn release(&mut self) {
        if self.start == self.end {
            self.bytes = Vec::new();
            self.clear();
        }
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.compact();
        }
        if self.end == self.bytes.len() {
            self.bytes.resize((self.bytes.len() * 2).max(self.first), 0);
        }
    }

    fn compact(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: usize = 1024;

    fn bring(buffer: &mut ReadBuffer, data: &[u8]) -> usize {
        buffer
            .fill(|room| {
                let n = data.len().min(room.len());
                room[..n].copy_from_slice(&data[..n]);
                Ok(n)
            })
            .unwrap()
    }

    #[test]
    fn it_has_no_memory_before_the_first_byte_and_little_for_it() {
        let mut buffer = ReadBuffer::new(FIRST);
        assert_eq!(buffer.bytes.capacity(), 0);
        bring(&mut buffer, b"x");
        assert_eq!(buffer.bytes.len(), FIRST);
    }

    #[test]
    fn nothing_is_lost_whatever_is_read_and_consumed() {
        let mut buffer = ReadBuffer::new(FIRST);
        let (mut written, mut read) = (0_u64, 0_u64);
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let size = (seed >> 33) as usize % 5000;
            if seed & 1 == 0 {
                let data: Vec<u8> = (0..size as u64).map(|i| ((written + i) % 251) as u8).collect();
                written += bring(&mut buffer, &data) as u64;
            } else {
                let n = size.min(buffer.filled().len());
                for &byte in &buffer.filled()[..n] {
                    assert_eq!(u64::from(byte), read % 251);
                    read += 1;
                }
                buffer.consume(n);
            }
            assert_eq!(buffer.filled().len() as u64, written - read);
        }
    }

    #[test]
    fn content_gets_a_large_buffer_only_where_there_is_much_of_it() {
        let mut buffer = ReadBuffer::new(FIRST);
        bring(&mut buffer, b"ab");
        buffer.expect_content(Some(10));
        assert_eq!(buffer.bytes.len(), MODEST);
        buffer.expect_content(Some(4096));
        assert_eq!(buffer.bytes.len(), MODEST);
        buffer.expect_content(Some(1 << 40));
        assert_eq!(buffer.bytes.len(), CONTENT);
        assert_eq!(buffer.filled(), b"ab");
        buffer.release();
        assert_eq!(buffer.filled(), b"ab");
        buffer.consume(2);
        buffer.release();
        assert_eq!(buffer.bytes.capacity(), 0);
        assert_eq!(bring(&mut buffer, b"c"), 1);
    }

    #[test]
    fn what_is_taken_is_what_was_not_consumed() {
        let mut buffer = ReadBuffer::new(FIRST);
        bring(&mut buffer, b"abcdef");
        buffer.consume(2);
        assert_eq!(buffer.take(), b"cdef");
        assert!(buffer.filled().is_empty());
        bring(&mut buffer, b"g");
        assert_eq!(buffer.filled(), b"g");
    }
}
