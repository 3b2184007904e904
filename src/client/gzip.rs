//! Content coded with gzip (RFC 1952; RFC 9110, 8.4.1.3), decoded as it is read.
//!
//! Bounds how much comes out, because a small response can stand for a very large one. What
//! the decoder is fed with, and from where, is not known here.

use std::fmt;
use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

use crate::{Error, ErrorKind, Result};

/// How much compressed content may grow.
///
/// ```
/// use sessile::client::{GzipLimits, UserAgent};
///
/// let mut limits = GzipLimits::default();
/// limits.size = Some(100 << 20);
/// let agent = UserAgent::builder().gzip(true).gzip_limits(limits).build()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GzipLimits {
    /// How large content may be when it is decoded. `None` by default: it is read as a stream.
    pub size: Option<u64>,
    /// How many times larger than what came it may be, once it is larger than
    /// [`grace`](GzipLimits::grace). 200: text becomes 3 to 20 times smaller, logs and tables
    /// perhaps 100 times; deflate can't do more than 1,032.
    pub ratio: u64,
    /// How much any ratio will do for: 32 MiB, which is no harm to a program that reads a stream.
    pub grace: u64,
}

impl Default for GzipLimits {
    fn default() -> GzipLimits {
        GzipLimits { size: None, ratio: 200, grace: 32 << 20 }
    }
}

/// How much is decoded at a time for who reads by the buffer.
const BLOCK: usize = 32 * 1024;

/// How much may be taken in before something comes out: 1 MiB. Heads have up to 64 KiB of names and
/// comments, and a stream is kept alive by 5 bytes now and then, but nobody has a use for empty
/// members or blocks without end.
const MOST_FOR_NOTHING: u64 = 1 << 20;

/// The decoded content of a source.
pub(super) struct Gzip<R> {
    coded: Coded<R>,
    limits: GzipLimits,
    produced: u64,
    /// Room for decoded bytes, how much of it is filled, and how much of that was taken.
    block: Vec<u8>,
    filled: usize,
    taken: usize,
    /// Nothing at all came, or all of it did.
    ended: bool,
    failure: Option<Error>,
}

/// The decoder reads as soon as it is made, so it is made when somebody reads.
enum Coded<R> {
    Untouched(Box<Counted<R>>),
    Begun(Box<MultiGzDecoder<Counted<R>>>),
    /// While it changes from one to the other.
    Changing,
}

impl<R: BufRead> Gzip<R> {
    pub(super) fn new(source: R, limits: GzipLimits) -> Gzip<R> {
        let coded = Coded::Untouched(Box::new(Counted { source, consumed: 0, for_nothing: 0 }));
        Gzip {
            coded,
            limits,
            produced: 0,
            block: Vec::new(),
            filled: 0,
            taken: 0,
            ended: false,
            failure: None,
        }
    }

    pub(super) fn source(&self) -> Option<&R> {
        match &self.coded {
            Coded::Untouched(counted) => Some(&counted.source),
            Coded::Begun(decoder) => Some(&decoder.get_ref().source),
            Coded::Changing => None,
        }
    }

    pub(super) fn into_source(self) -> Option<R> {
        match self.coded {
            Coded::Untouched(counted) => Some(counted.source),
            Coded::Begun(decoder) => Some(decoder.into_inner().source),
            Coded::Changing => None,
        }
    }

    fn decode(&mut self, into: &mut [u8]) -> Result<usize> {
        if let Some(failure) = &self.failure {
            return Err(failure.duplicate());
        }
        if self.ended || into.is_empty() {
            return Ok(0);
        }
        let result = self.decode_some(into);
        if let Err(failure) = &result {
            self.failure = Some(failure.duplicate());
        }
        result
    }

    fn decode_some(&mut self, into: &mut [u8]) -> Result<usize> {
        if let Coded::Untouched(counted) = &mut self.coded {
            // Nothing at all stands for nothing: servers send it with a status of its own.
            if counted.fill_buf()?.is_empty() {
                self.ended = true;
                return Ok(0);
            }
            if let Coded::Untouched(counted) = std::mem::replace(&mut self.coded, Coded::Changing) {
                self.coded = Coded::Begun(Box::new(MultiGzDecoder::new(*counted)));
            }
        }
        let Coded::Begun(decoder) = &mut self.coded else {
            return Err(Error::illegal_state("the content is being decoded already"));
        };
        let n = loop {
            match decoder.read(into) {
                Ok(n) => break n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(explain(error)),
            }
        };
        self.ended = n == 0;
        self.produced += n as u64;
        decoder.get_mut().for_nothing = 0;
        let consumed = decoder.get_ref().consumed;
        if self.limits.size.is_some_and(|most| self.produced > most) {
            return Err(Error::too_large("the content is larger, decoded, than the limit"));
        }
        if self.produced > self.limits.grace && self.produced / self.limits.ratio.max(1) > consumed {
            return Err(Error::too_large(format!(
                "the content is more than {} times larger, decoded, than what was sent",
                self.limits.ratio
            )));
        }
        Ok(n)
    }
}

/// What the source says is passed on; the rest is the decoder's.
fn explain(error: io::Error) -> Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        return Error::from(error);
    }
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "the compressed content is cut off",
        _ => "the compressed content is corrupt",
    };
    Error::new(ErrorKind::Decode, what).with_source(error)
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.filled && into.len() >= BLOCK {
            return Ok(self.decode(into)?);
        }
        let block = self.fill_buf()?;
        let n = block.len().min(into.len());
        into[..n].copy_from_slice(&block[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Gzip<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
            let mut block = std::mem::take(&mut self.block);
            block.resize(BLOCK, 0);
            let result = self.decode(&mut block);
            self.block = block;
            self.filled = result?;
        }
        Ok(&self.block[self.taken..self.filled])
    }

    fn consume(&mut self, n: usize) {
        self.taken = (self.taken + n).min(self.filled);
    }
}

impl<R> fmt::Debug for Gzip<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gzip").field("produced", &self.produced).finish_non_exhaustive()
    }
}

/// Counts what the decoder takes.
struct Counted<R> {
    source: R,
    consumed: u64,
    /// Since something came out.
    for_nothing: u64,
}

impl<R> Counted<R> {
    fn count(&mut self, n: usize) {
        self.consumed += n as u64;
        self.for_nothing += n as u64;
    }

    /// The decoder goes on by itself until something comes out.
    fn check(&self) -> Result<()> {
        if self.for_nothing > MOST_FOR_NOTHING {
            return Err(Error::too_large("too much compressed content stands for nothing"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let n = self.source.read(into)?;
        self.count(n);
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.check()?;
        self.source.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.count(n);
        self.source.consume(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded_within(bytes: &[u8], limits: GzipLimits, step: usize) -> Result<Vec<u8>> {
        let mut gzip = Gzip::new(BufReader::with_capacity(step, bytes), limits);
        let mut out = Vec::new();
        gzip.read_to_end(&mut out)?;
        Ok(out)
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<u8>> {
        decoded_within(bytes, GzipLimits::default(), 4096)
    }

    fn text() -> Vec<u8> {
        (0..5_000).flat_map(|n: u32| format!("{n} ").into_bytes()).collect()
    }

    #[test]
    fn content_comes_out_as_it_went_in_however_it_arrives_and_is_read() {
        let (text, coded) = (text(), gzip(&text()));
        for step in [1, 7, 4096, 1 << 20] {
            assert_eq!(decoded_within(&coded, GzipLimits::default(), step).unwrap(), text, "{step}");
        }
        let mut gzip = Gzip::new(&coded[..], GzipLimits::default());
        let (mut out, mut large) = (Vec::new(), vec![0; 100_000]);
        loop {
            let n = gzip.read(&mut large).unwrap();
            out.extend_from_slice(&large[..n]);
            let block = gzip.fill_buf().unwrap();
            let m = block.len().min(10);
            out.extend_from_slice(&block[..m]);
            gzip.consume(m);
            if n == 0 && m == 0 {
                break;
            }
        }
        assert!(out == text);
    }

    #[test]
    fn members_follow_one_another_and_nothing_is_nothing() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(decoded(&two).unwrap(), b"one two");
        assert_eq!(decoded(b"").unwrap(), b"");
        assert_eq!(decoded(&gzip(b"")).unwrap(), b"");
    }

    #[test]
    fn what_is_cut_anywhere_is_an_error() {
        let coded = gzip(b"some text, and some text, and more of it");
        for cut in 1..coded.len() {
            assert_eq!(decoded(&coded[..cut]).unwrap_err().kind(), ErrorKind::Decode, "{cut}");
        }
    }

    #[test]
    fn what_is_changed_anywhere_past_the_head_is_an_error() {
        let text = b"some text, and some text, and more of it";
        let coded = gzip(text);
        for at in 10..coded.len() {
            let mut changed = coded.clone();
            changed[at] ^= 0x10;
            // The last byte of the deflate stream has bits that mean nothing.
            let harmless = decoded(&changed).is_ok_and(|out| out == text);
            assert!(harmless || decoded(&changed).is_err(), "{at}");
        }
        for bad in [&b"not gzip at all"[..], b"\x1f", b"\x1f\x8b\x07", &[coded.as_slice(), b"tail"].concat()]
        {
            assert_eq!(decoded(bad).unwrap_err().kind(), ErrorKind::Decode);
        }
    }

    #[test]
    fn an_error_stays() {
        let coded = gzip(&text());
        let mut gzip = Gzip::new(&coded[..coded.len() / 2], GzipLimits::default());
        assert!(gzip.read_to_end(&mut Vec::new()).is_err());
        assert!(gzip.read(&mut [0; 10]).is_err(), "never an end");
        assert!(gzip.fill_buf().is_err());
    }

    #[test]
    fn growth_has_limits() {
        let bomb = gzip(&vec![0; 4 << 20]);
        let limits = |size, ratio, grace| GzipLimits { size, ratio, grace };
        assert_eq!(decoded(&bomb).unwrap().len(), 4 << 20, "within the grace");
        for tight in [limits(Some(1 << 20), u64::MAX, 0), limits(None, 200, 1 << 20)] {
            let error = decoded_within(&bomb, tight, 512).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{tight:?}");
        }
        assert!(decoded_within(&gzip(&text()), limits(None, 200, 0), 512).is_ok());
        assert!(decoded_within(&bomb, limits(Some(4 << 20), 2000, 0), 512).is_ok());
    }

    #[test]
    fn what_stands_for_nothing_has_a_limit_too() {
        let member = gzip(b"");
        let some = [member.repeat(20_000), gzip(b"text")].concat();
        assert_eq!(decoded(&some.repeat(3)).unwrap(), b"texttexttext");
        assert_eq!(decoded(&member.repeat(100_000)).unwrap_err().kind(), ErrorKind::TooLarge);
        let mut blocks = member[..10].to_vec();
        blocks.extend([0, 0, 0, 0xFF, 0xFF].repeat(400_000));
        assert_eq!(decoded(&blocks).unwrap_err().kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn what_the_source_says_is_passed_on() {
        struct Broken(Vec<u8>);
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(Error::incomplete("cut").into())
            }
        }
        impl BufRead for Broken {
            fn fill_buf(&mut self) -> io::Result<&[u8]> {
                if self.0.is_empty() { Err(Error::incomplete("cut").into()) } else { Ok(&self.0) }
            }
            fn consume(&mut self, n: usize) {
                self.0.drain(..n);
            }
        }
        let coded = gzip(&text());
        for have in [0, 1, 5, 10, 100] {
            let mut gzip = Gzip::new(Broken(coded[..have].to_vec()), GzipLimits::default());
            let error = Error::from(gzip.read_to_end(&mut Vec::new()).unwrap_err());
            assert_eq!(error.kind(), ErrorKind::Incomplete, "{have}");
        }
    }
}
