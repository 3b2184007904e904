//! Encoded words (RFC 2047): text beyond ASCII in the fields of mail, and of some multipart
//! bodies.
//!
//! HTTP's own fields do not use them; nothing in this crate decodes them unasked. Controls
//! that come out of a decoded word are left out: the result may go into a field again.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::field::hex_value;

/// The text with its encoded words decoded. White space between two of them is dropped;
/// what is none, or is in an unknown charset, stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    // How much of `decoded` there was when the last encoded word ended.
    let mut word_end = None;
    while let Some(start) = rest.find("=?") {
        let (before, from_start) = rest.split_at(start);
        let Some((word, length)) = word(from_start) else {
            decoded.push_str(before);
            decoded.push_str("=?");
            rest = &from_start[2..];
            word_end = None;
            continue;
        };
        if word_end.is_none() || !before.trim().is_empty() {
            decoded.push_str(before);
        }
        decoded.extend(word.chars().filter(|char| !char.is_control()));
        word_end = Some(decoded.len());
        rest = &from_start[length..];
    }
    decoded.push_str(rest);
    decoded
}

/// The encoded word at the beginning of the text: what it says and how long it is.
fn word(text: &str) -> Option<(String, usize)> {
    let inside = text.strip_prefix("=?")?;
    let (charset, rest) = inside.split_once('?')?;
    let (encoding, rest) = rest.split_once('?')?;
    let (encoded, rest) = rest.split_once("?=")?;
    if encoded.contains(['?', ' ']) {
        return None;
    }
    let bytes = match encoding {
        "Q" | "q" => decode_q(encoded)?,
        "B" | "b" => STANDARD.decode(encoded).or_else(|_| STANDARD_NO_PAD.decode(encoded)).ok()?,
        _ => return None,
    };
    // A language may follow the charset (RFC 2231, section 5).
    let charset = charset.split_once('*').map_or(charset, |(charset, _)| charset);
    let word = if ["utf-8", "utf8", "us-ascii"].iter().any(|name| charset.eq_ignore_ascii_case(name)) {
        String::from_utf8(bytes).ok()?
    } else if ["iso-8859-1", "latin1"].iter().any(|name| charset.eq_ignore_ascii_case(name)) {
        bytes.into_iter().map(char::from).collect()
    } else {
        return None;
    };
    Some((word, text.len() - rest.len()))
}

fn decode_q(encoded: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'_' => b' ',
            b'=' => hex_value(rest.next()?)? << 4 | hex_value(rest.next()?)?,
            _ => byte,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_come_out() {
        // RFC 2047, section 8.
        assert_eq!(decode("(=?ISO-8859-1?Q?a?=)"), "(a)");
        assert_eq!(decode("(=?ISO-8859-1?Q?a?= b)"), "(a b)");
        assert_eq!(decode("(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)"), "(ab)");
        assert_eq!(decode("(=?ISO-8859-1?Q?a?=  \r\n  =?ISO-8859-1?Q?b?=)"), "(ab)");
        assert_eq!(decode("(=?ISO-8859-1?Q?a_b?=)"), "(a b)");
        assert_eq!(decode("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>"), "Keith Moore <moore@cs.utk.edu>");
        assert_eq!(decode("=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?="), "If you can read this yo");
    }

    #[test]
    fn charsets_and_encodings_are_known_in_any_case() {
        assert_eq!(decode("=?utf-8?b?w7w=?="), "ü");
        assert_eq!(decode("=?UTF-8*de?B?w7w?="), "ü");
        assert_eq!(decode("=?Iso-8859-1?q?=fc?="), "ü");
    }

    #[test]
    fn what_can_t_be_decoded_stays_as_it_is() {
        for text in [
            "plain",
            "=?",
            "=?utf-8?Q?a",
            "=?utf-8?X?a?=",
            "=?koi8-r?Q?a?=",
            "=?utf-8?Q?=ff?=",
            "=?utf-8?Q?=f?=",
            "=?utf-8?B?*?=",
            "=?utf-8?Q?a b?=",
            "a =? b ?= c",
        ] {
            assert_eq!(decode(text), text);
        }
        assert_eq!(decode("=?x =?utf-8?Q?a?="), "=?x a");
    }

    #[test]
    fn a_decoded_word_brings_no_controls() {
        assert_eq!(decode("=?utf-8?Q?a=0D=0AX:=00b?="), "aX:b");
    }
}
