//! Whom a request is for: the forms of the target (RFC 9112, section 3.2) and the value of
//! `Host` (RFC 9110, section 7.2).
//!
//! Checks over text only; nothing is resolved or taken apart for good.

use std::net::Ipv6Addr;

use crate::message::Method;
use crate::message::field::{HIGH_BITS, all_words, has_byte};
use crate::{Error, Result};

/// Refuses a target that does not have a form its method may have.
///
/// Characters that RFC 3986 would want encoded, but browsers send as they are, pass: they
/// change neither where the target ends nor whom it is for.
pub(super) fn check_target(method: &Method, target: &str) -> Result<()> {
    let bytes = target.as_bytes();
    if !all_words(bytes, |word| word & HIGH_BITS == 0 && !has_byte(word, b'#')) {
        return Err(Error::malformed("the target holds a fragment, or bytes that are not ASCII"));
    }
    let good = if *method == Method::CONNECT {
        is_authority_form(bytes)
    } else {
        match bytes {
            [b'/', ..] => true,
            b"*" => *method == Method::OPTIONS,
            _ => is_absolute_form(target),
        }
    };
    if good { Ok(()) } else { Err(Error::malformed("the target has none of the forms its method may have")) }
}

/// `uri-host [ ":" port ]`. Empty is valid too: a target without an authority (RFC 9110,
/// 7.2).
pub(crate) fn is_host(value: &[u8]) -> bool {
    // The usual case: a name or an IPv4 address as it is, and maybe a port.
    match behind_name(value) {
        [] => true,
        [b':', port @ ..] if port.len() + 1 < value.len() => port.is_empty() || is_port(port),
        _ => is_authority(value),
    }
}

/// What follows the bytes of a name that the text starts with. Four at a time: a server does this
/// for every request.
fn behind_name(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let [a, b, c, d, behind @ ..] = rest {
        if [a, b, c, d].into_iter().fold(false, |other, &byte| other | !NAME[usize::from(byte)]) {
            break;
        }
        rest = behind;
    }
    let end = rest.iter().position(|&byte| !NAME[usize::from(byte)]).unwrap_or(rest.len());
    &rest[end..]
}

/// An authority with a host that is not empty and without user information: RFC 9110,
/// 4.2.4, wants that treated as an error.
fn is_authority(text: &[u8]) -> bool {
    split_authority(text).is_some_and(|port| port.is_empty() || is_port(port))
}

/// Only CONNECT has this form, and it must name the port (RFC 9110, 9.3.6).
fn is_authority_form(target: &[u8]) -> bool {
    split_authority(target).is_some_and(is_port)
}

fn is_absolute_form(target: &str) -> bool {
    let Some((scheme, rest)) = target.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        && is_authority(authority.as_bytes())
}

/// The port behind a valid host; empty if there is none.
fn split_authority(text: &[u8]) -> Option<&[u8]> {
    let host = match text {
        [b'[', ..] => ip_literal(text)?,
        _ => reg_name(text)?,
    };
    match &text[host..] {
        [] => Some(b""),
        [b':', port @ ..] => Some(port),
        _ => None,
    }
}

fn is_port(text: &[u8]) -> bool {
    let mut digits = text;
    while let [b'0', rest @ ..] = digits {
        digits = rest;
    }
    let mut port = 0;
    for byte in digits.get(..LONGEST_PORT).unwrap_or(digits) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return false;
        }
        port = port * 10 + u32::from(digit);
    }
    !text.is_empty() && digits.len() <= LONGEST_PORT && port <= u32::from(u16::MAX)
}

/// How long the address in brackets is that the text starts with.
fn ip_literal(text: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b']', text)?;
    let address = std::str::from_utf8(&text[1..end]).ok()?;
    address.parse::<Ipv6Addr>().is_ok().then_some(end + 1)
}

/// How long the name is that the text starts with: `reg-name` of RFC 3986, 3.2.2, which
/// IPv4 addresses are too, but never empty, and without the comma: a list of hosts is what a
/// careless proxy makes of two fields.
fn reg_name(text: &[u8]) -> Option<usize> {
    let mut end = text.len() - behind_name(text).len();
    while let [b'%', high, low, ..] = text[end..] {
        if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
            return None;
        }
        end += 3;
        end += text[end..].iter().take_while(|&&byte| NAME[usize::from(byte)]).count();
    }
    (end > 0).then_some(end)
}

/// The digits of 65535.
const LONGEST_PORT: usize = 5;

/// The bytes that may stand in a name as they are.
static NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = matches!(
            byte as u8,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~'
                | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
        );
        byte += 1;
    }
    table
};
