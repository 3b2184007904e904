//! Whether text that comes in pieces is UTF-8.

/// A check that goes on from one piece to the next; a character may be split between them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Utf8 {
    // The start of a character that the last piece ended with.
    started: [u8; 4],
    length: usize,
}

impl Utf8 {
    /// Whether all so far can be UTF-8; with `last`, whether it is.
    pub(super) fn check(&mut self, mut piece: &[u8], last: bool) -> bool {
        while self.length > 0 && !piece.is_empty() {
            self.started[self.length] = piece[0];
            self.length += 1;
            piece = &piece[1..];
            match std::str::from_utf8(&self.started[..self.length]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_some() => return false,
                Err(_) => {}
            }
        }
        if let Err(error) = std::str::from_utf8(piece) {
            if error.error_len().is_some() {
                return false;
            }
            let rest = &piece[error.valid_up_to()..];
            self.started[..rest.len()].copy_from_slice(rest);
            self.length = rest.len();
        }
        !last || self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], pieces: impl Iterator<Item = usize>) -> bool {
        let mut utf8 = Utf8::default();
        let mut start = 0;
        for end in pieces {
            if !utf8.check(&text[start..end], false) {
                return false;
            }
            start = end;
        }
        utf8.check(&text[start..], true)
    }

    #[test]
    fn text_is_the_same_in_any_pieces() {
        let cases: [&[u8]; 14] = [
            b"",
            b"Hello",
            "κόσμε".as_bytes(),
            "\u{10ffff}a\u{800}".as_bytes(),
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xc0\xaf",
            b"\xfe",
            b"a\x80",
            b"\xce",
            b"\xf0\x9f\x98",
            b"\xe2\x82\xac\xe2",
            b"\xf8\x88\x80\x80\x80",
            b"\xe2\x28\xa1",
        ];
        for text in cases {
            let whole = std::str::from_utf8(text).is_ok();
            for at in 0..=text.len() {
                for second in at..=text.len() {
                    assert_eq!(check(text, [at, second].into_iter()), whole, "{text:?} {at} {second}");
                }
            }
            assert_eq!(check(text, 0..=text.len()), whole);
        }
    }

    #[test]
    fn what_no_further_byte_can_save_is_refused_at_once() {
        let mut utf8 = Utf8::default();
        assert!(utf8.check(b"\xf4", false));
        assert!(!utf8.check(b"\x90", false));
    }
}
