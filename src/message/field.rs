//! The grammar of field names and values (RFC 9110, sections 5.5 and 5.6).
//!
//! Functions over bytes, without allocation where that is possible. They know no field by
//! name and no message.

use std::borrow::Cow;

/// Whether a byte may stand in a token (RFC 9110, 5.6.2).
pub(crate) const fn is_tchar(byte: u8) -> bool {
    TCHAR[byte as usize]
}

/// Whether this is a token: a field name, a method, a parameter's name.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| is_tchar(b))
}

/// Whether this can be sent as a field value: no controls but HTAB (RFC 9110, 5.5).
/// Blanks at the ends are not looked at.
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    // A tab is rare: only then is every byte looked at.
    all_words(value, |word| !has_below(word, b' ') && !has_byte(word, 0x7f))
        || value.iter().all(|&b| b == b'\t' || b >= b' ' && b != 0x7f)
}

/// Whether `good` holds for words of eight bytes that have all bytes of the text, and no others, in
/// them; some bytes are there twice.
#[inline]
pub(crate) fn all_words(text: &[u8], good: impl Fn(u64) -> bool) -> bool {
    if let Some(&last) = text.last_chunk::<8>() {
        let mut rest = text;
        while let Some((&word, behind)) = rest.split_first_chunk::<8>() {
            if !good(u64::from_ne_bytes(word)) {
                return false;
            }
            rest = behind;
        }
        return rest.is_empty() || good(u64::from_ne_bytes(last));
    }
    if let (Some(&first), Some(&last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let (first, last) = (u32::from_ne_bytes(first), u32::from_ne_bytes(last));
        return good(u64::from(first) << 32 | u64::from(last));
    }
    text.iter().all(|&byte| good(repeat(byte)))
}

const fn repeat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Whether one of eight bytes is this one.
pub(crate) const fn has_byte(word: u64, byte: u8) -> bool {
    has_below(word ^ repeat(byte), 1)
}

/// Whether one of eight bytes is less than this one, which is 0x80 at most: then the first such
/// byte, counted from the low end, borrows from its high bit, and had none.
pub(crate) const fn has_below(word: u64, limit: u8) -> bool {
    word.wrapping_sub(repeat(limit)) & !word & HIGH_BITS != 0
}

/// The bits that ASCII does not have.
pub(crate) const HIGH_BITS: u64 = repeat(0x80);

/// Without the blanks and tabs at both ends.
pub(crate) fn trim_ows(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Digits only, nothing else: no sign, no blanks. `None` also past `u64`.
pub(crate) fn parse_decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut number = 0u64;
    for (at, digit) in digits.iter().enumerate() {
        let value = u64::from(digit.wrapping_sub(b'0'));
        if value > 9 {
            return None;
        }
        // Nineteen digits always have room.
        number = if at < 19 { number * 10 + value } else { number.checked_mul(10)?.checked_add(value)? };
    }
    Some(number)
}

/// Hexadecimal digits only, at most sixteen of them that count.
#[cfg(any(test, feature = "digest"))]
pub(crate) fn parse_hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, &digit| {
        if number >> 60 != 0 {
            return None;
        }
        Some(number << 4 | u64::from(hex_value(digit)?))
    })
}

/// What one hexadecimal digit is worth.
pub(crate) const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The decimal digits of a number, without allocation.
pub(crate) struct Decimal {
    digits: [u8; 20],
    start: usize,
}

impl Decimal {
    pub(crate) fn new(mut number: u64) -> Decimal {
        let mut decimal = Decimal { digits: [b'0'; 20], start: 20 };
        loop {
            decimal.start -= 1;
            decimal.digits[decimal.start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return decimal;
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

/// The elements of a comma-separated list (RFC 9110, 5.6.1), trimmed, without empty ones.
/// A comma inside a quoted-string separates nothing.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split_unquoted(value, b',').filter(|element| !element.is_empty())
}

/// The pieces between separators that are not inside a quoted-string, trimmed.
pub(crate) fn split_unquoted(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = find_unquoted(text, separator);
        rest = end.map(|end| &text[end + 1..]);
        Some(trim_ows(&text[..end.unwrap_or(text.len())]))
    })
}

/// Where a separator stands outside of quoted-strings.
fn find_unquoted(text: &[u8], separator: u8) -> Option<usize> {
    let mut quoted = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            _ if byte == separator && !quoted => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The parameters in `; name=value; name="value"` (RFC 9110, 5.6.6), without quotes and
/// escapes. One without `=` has the empty value; pieces without a name are left out.
pub(crate) fn parameters(text: &str) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
    split_unquoted(text.as_bytes(), b';').filter_map(|piece| {
        // The pieces are cut at ASCII bytes.
        let piece = std::str::from_utf8(piece).ok()?;
        let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
        let name = name.trim_end_matches([' ', '\t']);
        (!name.is_empty()).then(|| (name, unquote(value.trim_start_matches([' ', '\t']))))
    })
}

/// The text inside of a quoted-string, without escapes; other text as it is.
pub(crate) fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inside) = text.strip_prefix('"') else {
        return Cow::Borrowed(text);
    };
    let inside = match inside.strip_suffix('"') {
        Some(shorter) if is_quoted_string(text.as_bytes()) => shorter,
        _ => inside,
    };
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut plain = String::with_capacity(inside.len());
    let mut rest = inside.chars();
    while let Some(char) = rest.next() {
        plain.extend(if char == '\\' { rest.next() } else { Some(char) });
    }
    Cow::Owned(plain)
}

/// Whether this is one whole quoted-string, without controls (RFC 9110, 5.6.4).
pub(crate) fn is_quoted_string(text: &[u8]) -> bool {
    let [b'"', inside @ .., b'"'] = text else {
        return false;
    };
    let mut escaped = false;
    for &byte in inside {
        match byte {
            _ if escaped => escaped = false,
            b'"' => return false,
            b'\\' => escaped = true,
            _ => {}
        }
    }
    !escaped && is_field_value(inside)
}

/// The text as a token or, where it is none, as a quoted-string with escapes. With
/// `allow_space`, blanks alone are no reason for quotes.
pub(crate) fn quote(text: &str, allow_space: bool) -> Cow<'_, str> {
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-') || allow_space && b == b' ';
    if !text.is_empty() && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push('"');
    Cow::Owned(quoted)
}

/// The text with `%XX` decoded; `None` where two hexadecimal digits don't follow a `%`, or
/// where the result is not UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    let mut pieces = text.split('%');
    // What is before the first `%` needs nothing.
    let before = pieces.next()?;
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    if before.len() < text.len()
        && !pieces.map(str::as_bytes).all(|piece| is_hex(piece.first()) && is_hex(piece.get(1)))
    {
        return None;
    }
    percent_encoding::percent_decode_str(text).decode_utf8().ok()
}

/// A weight in thousandths (RFC 9110, 12.4.2): `0`, `1`, and up to three decimals.
pub(crate) fn parse_weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digit = |at: usize| decimals.as_bytes().get(at).map_or(0, |b| u16::from(b - b'0'));
    let thousandths = 100 * digit(0) + 10 * digit(1) + digit(2);
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

const TCHAR: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
                | b'0'..=b'9'
                | b'A'..=b'Z'
                | b'a'..=b'z'
        );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        assert_eq!(parse_decimal(b"0"), Some(0));
        assert_eq!(parse_decimal(b"0042"), Some(42));
        assert_eq!(parse_decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in
            ["", "+4", "-4", " 4", "4 ", "4x", "0x4", "4,4", "18446744073709551616", "99999999999999999999"]
        {
            assert_eq!(parse_decimal(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn hexadecimal_numbers_are_digits_and_nothing_else() {
        assert_eq!(parse_hex(b"1aF"), Some(0x1af));
        assert_eq!(parse_hex(b"ffffffffffffffff"), Some(u64::MAX));
        assert_eq!(parse_hex(b"00000000000000000001"), Some(1));
        for bad in ["", "0x1", "+1", "-1", "g", "1 ", "10000000000000000", "1_0"] {
            assert_eq!(parse_hex(bad.as_bytes()), None, "{bad:?}");
        }
    }

    #[test]
    fn numbers_are_written_without_allocation() {
        for number in [0, 7, 10, 999, 1000, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(Decimal::new(number).as_bytes(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn elements_are_trimmed_and_empty_ones_skipped() {
        let list: Vec<_> = elements(b" a ,, b\t,\"c, d\" , e=\"\\\",\" ,").collect();
        assert_eq!(list, [&b"a"[..], b"b", b"\"c, d\"", b"e=\"\\\",\""]);
        assert_eq!(elements(b" , ,").count(), 0);
    }

    #[test]
    fn parameters_lose_quotes_and_escapes() {
        let found: Vec<_> = parameters(r#"a=1; b = "x;y=\"z\"" ;c;; =d; e="#).collect();
        let expected = [("a", "1"), ("b", "x;y=\"z\""), ("c", ""), ("e", "")];
        assert!(found.iter().map(|(n, v)| (*n, v.as_ref())).eq(expected), "{found:?}");
    }

    #[test]
    fn an_unclosed_quote_ends_with_the_text() {
        assert_eq!(unquote(r#""abc"#), "abc");
        assert_eq!(unquote(r#""abc\""#), "abc\"");
        assert_eq!(unquote(r#"""#), "");
        assert_eq!(unquote(""), "");
    }

    #[test]
    fn quoting_and_unquoting_are_inverse() {
        for text in ["", "token", "two words", "\"", "\\", "a\\\"b", "ü", "a;b=c"] {
            let quoted = quote(text, false);
            assert_eq!(unquote(&quoted), text);
            assert!(quoted == text || is_quoted_string(quoted.as_bytes()), "{text:?}");
        }
        assert_eq!(quote("a b", true), "a b");
        assert_eq!(quote("a b", false), "\"a b\"");
    }

    #[test]
    fn only_whole_quoted_strings_are_quoted_strings() {
        for bad in ["", "\"", "abc", "\"a\"b\"", "\"abc\\\"", "\"a\nb\"", "\"abc", "abc\""] {
            assert!(!is_quoted_string(bad.as_bytes()), "{bad:?}");
        }
        assert!(is_quoted_string(b"\"\"") && is_quoted_string(br#""a\\""#));
    }

    #[test]
    fn weights_have_at_most_three_decimals() {
        assert_eq!(parse_weight("0.125"), Some(125));
        assert_eq!(parse_weight("0.5"), Some(500));
        assert_eq!(parse_weight("1.000"), Some(1000));
        assert_eq!(parse_weight("0."), Some(0));
        for bad in ["", "2", "1.001", "0.1234", ".5", "-0", "+1", "0,5", "1 "] {
            assert_eq!(parse_weight(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn controls_are_no_field_value() {
        assert!(is_field_value(b"plain \t text \xe4\xff"));
        for byte in (0..32).chain([127]).filter(|&b| b != b'\t') {
            assert!(!is_field_value(&[b'a', byte]), "{byte}");
        }
    }
}
