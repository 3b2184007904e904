//! Dates in fields (RFC 9110, section 5.6.7) and in cookies (RFC 6265, section 5.1.1).
//!
//! Dates are values here; nobody looks at a clock.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::field;
use crate::{Error, Result};

/// A time as it is written in fields: `Sun, 06 Nov 1994 08:49:37 GMT`. Times before 1970 and
/// after 9999 can't be written; the nearest that can be is.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use sessile::message::{format_http_date, parse_http_date};
///
/// let time = UNIX_EPOCH + Duration::from_secs(784_111_777);
/// assert_eq!(&format_http_date(time), b"Sun, 06 Nov 1994 08:49:37 GMT");
/// assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT")?, time);
/// # Ok::<(), sessile::Error>(())
/// ```
pub fn format_http_date(time: SystemTime) -> [u8; 29] {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).min(LAST_SECOND);
    let date = httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds));
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    // A slice takes what fits; a date always has this length.
    let _ = write!(&mut text[..], "{date}");
    text
}

/// Reads a date in any of the three forms that RFC 9110 lists.
pub fn parse_http_date(text: &str) -> Result<SystemTime> {
    httpdate::parse_http_date(text).map_err(|_| Error::malformed("the date is in none of the forms of HTTP"))
}

/// Reads the `Expires` of a cookie, by the forgiving rules of RFC 6265, 5.1.1: day, month
/// name, year and time in any order, between anything.
pub(crate) fn parse_cookie_date(text: &str) -> Option<SystemTime> {
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(is_cookie_date_delimiter).filter(|token| !token.is_empty()) {
        let token = token.as_bytes();
        let _ = fill(&mut time, || time_of_day(token))
            || fill(&mut day, || number(token, 1, 2))
            || fill(&mut month, || month_number(token))
            || fill(&mut year, || number(token, 2, 4));
    }
    let (time, day, month) = (time?, day?, month?);
    let year = match year? {
        short @ 0..70 => short + 2000,
        short @ 70..100 => short + 1900,
        year => year,
    };
    if year < 1601 || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + time;
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

/// Fills what is empty, and says whether it did.
fn fill(slot: &mut Option<i64>, find: impl FnOnce() -> Option<i64>) -> bool {
    if slot.is_none() {
        *slot = find();
        return slot.is_some();
    }
    false
}

fn is_cookie_date_delimiter(char: char) -> bool {
    matches!(char, '\t' | ' '..='/' | ';'..='@' | '['..='`' | '{'..='~')
}

/// The digits that a token begins with, if there are so many.
fn number(token: &[u8], least: usize, most: usize) -> Option<i64> {
    let length = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length < least || length > most {
        return None;
    }
    field::parse_decimal(&token[..length]).and_then(|number| i64::try_from(number).ok())
}

/// Seconds since midnight.
fn time_of_day(token: &[u8]) -> Option<i64> {
    let mut parts = token.splitn(3, |&byte| byte == b':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if hours.len() > 2 || minutes.len() > 2 {
        return None;
    }
    let hours = field::parse_decimal(hours).filter(|&hours| hours < 24)?;
    let minutes = field::parse_decimal(minutes).filter(|&minutes| minutes < 60)?;
    let seconds = number(seconds, 1, 2).filter(|&seconds| seconds < 60)?;
    Some((hours * 3600 + minutes * 60) as i64 + seconds)
}

fn month_number(token: &[u8]) -> Option<i64> {
    const NAMES: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let name = token.get(..3)?;
    NAMES.iter().position(|known| name.eq_ignore_ascii_case(*known)).map(|at| at as i64 + 1)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01, in years that begin in March, so that leap days come last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

/// The last second of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn all_three_forms_are_read() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse_http_date(text).unwrap(), at(784_111_777), "{text}");
        }
        for bad in ["", "now", "0", "Sun, 06 Nov 1994 08:49:37", "Mon, 06 Nov 1994 08:49:37 GMT"] {
            assert!(parse_http_date(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for seconds in [0, 1, 951_782_400, 4_102_444_800, LAST_SECOND] {
            let text = format_http_date(at(seconds));
            let text = std::str::from_utf8(&text).unwrap();
            assert_eq!(parse_http_date(text).unwrap(), at(seconds), "{text}");
            assert_eq!(parse_cookie_date(text), Some(at(seconds)), "{text}");
        }
    }

    #[test]
    fn times_out_of_range_are_clamped() {
        assert_eq!(&format_http_date(UNIX_EPOCH - Duration::from_secs(1)), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&format_http_date(at(LAST_SECOND + 1)), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn cookie_dates_are_read_in_any_order() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "1994 November 6 8:49:37",
            "8:49:37abc nov-6x-94",
        ] {
            assert_eq!(parse_cookie_date(text), Some(at(784_111_777)), "{text}");
        }
        assert_eq!(parse_cookie_date("Thu, 01-Jan-1970 00:00:01 GMT"), Some(at(1)));
        assert_eq!(parse_cookie_date("29 Feb 2024 0:0:0"), Some(at(1_709_164_800)));
        assert_eq!(
            parse_cookie_date("1 Jan 1969 00:00:00"),
            Some(UNIX_EPOCH - Duration::from_secs(31_536_000))
        );
    }

    #[test]
    fn a_cookie_date_needs_all_its_parts() {
        for bad in [
            "",
            "Sun, 06 Nov 1994",
            "06 1994 08:49:37",
            "Nov 1994 08:49:37",
            "06 Nov 08:49:37",
            "32 Nov 1994 08:49:37",
            "0 Nov 1994 08:49:37",
            "29 Feb 2023 08:49:37",
            "06 Nov 1600 08:49:37",
            "06 Nov 19945 08:49:37",
            "06 Nov 1994 24:00:00",
            "06 Nov 1994 08:60:00",
            "06 Nov 1994 08:49:60",
            "06 Nov 1994 08:49",
            "06 Nov 1994 008:49:37",
        ] {
            assert_eq!(parse_cookie_date(bad), None, "{bad}");
        }
    }
}
