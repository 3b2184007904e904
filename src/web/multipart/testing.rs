//! What the tests of streams share: inputs cut in any way, and numbers from a seed.

use std::io::{self, BufRead, Read};

/// An input whose buffer holds a little at a time.
pub(crate) struct Chopped<'a> {
    rest: &'a [u8],
    // What the next buffers hold at most; the last one goes on for ever.
    sizes: Vec<usize>,
    random: Option<(Random, usize)>,
    // What is left in the present buffer.
    buffered: usize,
}

impl<'a> Chopped<'a> {
    /// Buffers of this size.
    pub(crate) fn every(bytes: &'a [u8], size: usize) -> Chopped<'a> {
        Chopped { rest: bytes, sizes: vec![size], random: None, buffered: 0 }
    }

    /// Two buffers, split here.
    pub(crate) fn at(bytes: &'a [u8], at: usize) -> Chopped<'a> {
        let sizes = if at == 0 { vec![usize::MAX] } else { vec![usize::MAX, at] };
        Chopped { rest: bytes, sizes, random: None, buffered: 0 }
    }

    /// Buffers of 1 to `largest` bytes.
    pub(crate) fn randomly(bytes: &'a [u8], seed: u64, largest: usize) -> Chopped<'a> {
        Chopped { rest: bytes, sizes: vec![], random: Some((Random::new(seed), largest)), buffered: 0 }
    }

    fn next_size(&mut self) -> usize {
        match &mut self.random {
            Some((random, largest)) => 1 + random.below(*largest),
            None if self.sizes.len() > 1 => self.sizes.pop().unwrap(),
            None => self.sizes[0],
        }
    }
}

impl BufRead for Chopped<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.buffered == 0 {
            self.buffered = self.next_size().min(self.rest.len());
        }
        Ok(&self.rest[..self.buffered])
    }

    fn consume(&mut self, count: usize) {
        assert!(count <= self.buffered);
        self.buffered -= count;
        self.rest = &self.rest[count..];
    }
}

impl Read for Chopped<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = {
            let buffer = self.fill_buf()?;
            let count = buffer.len().min(into.len());
            into[..count].copy_from_slice(&buffer[..count]);
            count
        };
        self.consume(count);
        Ok(count)
    }
}

/// xorshift64*: good enough to cut inputs, the same on every run.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 40) as u8).collect()
    }
}
