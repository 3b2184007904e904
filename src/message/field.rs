//! The grammar of field names and values (RFC 9110, sections 5.5 and 5.6).
//!
//! Functions over bytes, without allocation where that is possible. They know no field by
//! name and no message.

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
    value.iter().all(|&b| b >= b' ' && b != 0x7f || b == b'\t')
}

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
    digits.iter().try_fold(0u64, |number, &digit| {
        let value = digit.wrapping_sub(b'0');
        if value > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(value))
    })
}

/// Hexadecimal digits only, at most sixteen of them that count.
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
    fn controls_are_no_field_value() {
        assert!(is_field_value(b"plain \t text \xe4\xff"));
        for byte in (0..32).chain([127]).filter(|&b| b != b'\t') {
            assert!(!is_field_value(&[b'a', byte]), "{byte}");
        }
    }
}
