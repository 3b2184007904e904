//! Where the content of a part ends: the search for `CRLF "--" boundary` (RFC 2046, 5.1.1).
//!
//! Owns the search and what it must remember from one buffer of the input to the next;
//! knows nothing of headers, limits and nesting. What it lends are ranges of the input's
//! own buffer, so that content is neither copied nor looked at twice.

use std::io::{self, BufRead};
use std::ops::Range;

use memchr::{memmem, memrchr};

use crate::Error;

/// The search through one multipart body.
///
/// A boundary holds no CR, so the delimiter has its only CR in front. Two things follow.
/// What an input's buffer may end with of a delimiter starts at its last CR; and where a
/// started delimiter goes wrong, all of it was content, for no other one can have started
/// inside. Those bytes, taken from the input already, are lent from the delimiter itself.
#[derive(Debug)]
pub(super) struct Scanner {
    delimiter: Vec<u8>,
    finder: memmem::Finder<'static>,
    // So many bytes of the delimiter were taken from the input; more must follow.
    held: usize,
    // So many of the held ones never stood in the input.
    imagined: usize,
    // The part of the delimiter that proved to be content and is not consumed yet.
    owed: Range<usize>,
    // So many bytes at the front of the input's buffer are content.
    ready: usize,
    found: bool,
}

impl Scanner {
    pub(super) fn new(boundary: &str) -> Scanner {
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        let finder = memmem::Finder::new(&delimiter).into_owned();
        let mut scanner =
            Scanner { delimiter, finder, held: 0, imagined: 0, owed: 0..0, ready: 0, found: false };
        scanner.start();
        scanner
    }

    /// Starts behind a line end: of a part's header, or at the start of everything. The
    /// delimiter may follow at once, as if that line end were its own.
    pub(super) fn start(&mut self) {
        self.held = 2;
        self.imagined = 2;
        self.owed = 0..0;
        self.ready = 0;
        self.found = false;
    }

    /// Content; empty once the delimiter was found and taken from the input. The end of
    /// the input is an error: the delimiter is still to come.
    pub(super) fn fill<'a, R: BufRead + ?Sized>(&'a mut self, input: &'a mut R) -> io::Result<&'a [u8]> {
        self.advance(input)?;
        if !self.owed.is_empty() {
            return Ok(&self.delimiter[self.owed.clone()]);
        }
        if self.ready == 0 {
            return Ok(&[]);
        }
        // The input has these bytes in its buffer: asking again reads nothing.
        let buffer = input.fill_buf()?;
        Ok(&buffer[..self.ready.min(buffer.len())])
    }

    /// Takes so many of the bytes that `fill` lent.
    pub(super) fn consume<R: BufRead + ?Sized>(&mut self, input: &mut R, count: usize) {
        if !self.owed.is_empty() {
            self.owed.start += count.min(self.owed.len());
            return;
        }
        let count = count.min(self.ready);
        self.ready -= count;
        input.consume(count);
    }

    /// Goes on until there is content to lend or the delimiter is found.
    fn advance<R: BufRead + ?Sized>(&mut self, input: &mut R) -> io::Result<()> {
        while self.owed.is_empty() && self.ready == 0 && !self.found {
            let buffer = match input.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Err(Error::incomplete("the multipart body ends before its last boundary").into());
            }
            let taken = match self.held {
                0 => self.search(buffer),
                _ => self.go_on(buffer),
            };
            input.consume(taken);
        }
        Ok(())
    }

    /// Looks through a fresh buffer; returns how much of it to take away.
    fn search(&mut self, buffer: &[u8]) -> usize {
        match self.finder.find(buffer) {
            Some(0) => {
                self.found = true;
                return self.delimiter.len();
            }
            Some(at) => self.ready = at,
            None => {
                let started = self.started(buffer);
                self.ready = buffer.len() - started;
                if self.ready == 0 {
                    self.held = started;
                    return started;
                }
            }
        }
        0
    }

    /// Goes on with a delimiter that started in an earlier buffer.
    fn go_on(&mut self, buffer: &[u8]) -> usize {
        let wanted = &self.delimiter[self.held..];
        let same = wanted.iter().zip(buffer).take_while(|(a, b)| a == b).count();
        self.held += same;
        if same == wanted.len() {
            self.found = true;
            self.held = 0;
        } else if same < buffer.len() {
            self.owed = self.imagined..self.held;
            self.held = 0;
        } else {
            return same;
        }
        self.imagined = 0;
        same
    }

    /// How many bytes at the end of the buffer may be the start of a delimiter.
    fn started(&self, buffer: &[u8]) -> usize {
        let tail = &buffer[buffer.len().saturating_sub(self.delimiter.len() - 1)..];
        match memrchr(b'\r', tail) {
            Some(at) if self.delimiter.starts_with(&tail[at..]) => tail.len() - at,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::multipart::testing::{Chopped, Random};

    /// The content up to the delimiter and what is left of the input behind it.
    fn split(input: &mut impl BufRead, boundary: &str) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut scanner = Scanner::new(boundary);
        let mut content = Vec::new();
        loop {
            let lent = scanner.fill(input)?;
            if lent.is_empty() {
                break;
            }
            let count = lent.len();
            content.extend_from_slice(lent);
            scanner.consume(input, count);
        }
        let mut rest = Vec::new();
        input.read_to_end(&mut rest)?;
        Ok((content, rest))
    }

    #[test]
    fn a_delimiter_is_found_across_any_split_of_the_buffer() {
        let body = b"some\r\n--bo\r\r\n--b\r\n\r\n--boundar\r\n--boundary\r\nrest";
        for size in 1..=body.len() {
            let (content, rest) = split(&mut Chopped::every(body, size), "boundary").unwrap();
            assert_eq!(content, b"some\r\n--bo\r\r\n--b\r\n\r\n--boundar", "{size}");
            assert_eq!(rest, b"\r\nrest", "{size}");
        }
        for at in 0..=body.len() {
            let (content, rest) = split(&mut Chopped::at(body, at), "boundary").unwrap();
            assert_eq!((content.len(), rest.len()), (29, 6), "{at}");
        }
    }

    #[test]
    fn random_content_made_of_delimiter_pieces_comes_through_any_split() {
        let mut random = Random::new(7);
        for round in 0..3000 {
            let boundary = ["b", "-", "--", "aab", "a-a-a-"][random.below(5)];
            let pieces: [&[u8]; 8] = [
                b"\r",
                b"\n",
                b"-",
                b"--",
                b"\r\n",
                b"\r\n--",
                b"a",
                &boundary.as_bytes()[..boundary.len() - 1],
            ];
            let mut content = Vec::new();
            for _ in 0..random.below(12) {
                content.extend_from_slice(pieces[random.below(pieces.len())]);
            }
            let delimiter = format!("\r\n--{boundary}");
            let body = [&content[..], delimiter.as_bytes(), b"end"].concat();
            // The first delimiter may stand earlier than ours, and at the very start without its line end.
            let seen = [b"\r\n", &body[..]].concat();
            let at = memmem::find(&seen, delimiter.as_bytes()).unwrap();
            let expected = (&seen[2.min(at)..at], &seen[at + delimiter.len()..]);
            let size = 1 + random.below(9);
            let (got, rest) = split(&mut Chopped::randomly(&body, random.next(), size), boundary).unwrap();
            assert_eq!((&got[..], &rest[..]), (expected.0, expected.1), "round {round}: {body:?}");
        }
    }

    #[test]
    fn a_cut_anywhere_is_incomplete() {
        let body = b"content\r\n--boundary";
        for end in 0..body.len() {
            for size in 1..=end.max(1) {
                let error = split(&mut Chopped::every(&body[..end], size), "boundary").unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end} {size}");
            }
        }
    }
}
