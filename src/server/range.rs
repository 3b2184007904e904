//! Which parts of a representation a request asks for (RFC 9110, section 14).
//!
//! A value and numbers in, ranges out. A `Range` that can't be read, or that asks for more work than it
//! can be worth, is ignored, as the RFC allows: the whole is sent then.

use crate::message::field;

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    Whole,
    /// None of the ranges begins inside of the representation: 416.
    Unsatisfiable,
    /// At least one; in the order in which they were asked for.
    Parts(Vec<Part>),
}

/// From `start` on, up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Part {
    pub(crate) fn length(self) -> u64 {
        self.end - self.start
    }
}

/// More ranges than anybody needs who does not mean harm. Apache: 200.
const MOST_PARTS: usize = 50;

/// What the value of `Range` selects of a representation of this length.
pub(crate) fn select(range: &[u8], length: u64) -> Selection {
    let Some(set) = strip_unit(range) else { return Selection::Whole };
    let mut parts = Vec::new();
    let mut any = false;
    for spec in field::elements(set) {
        any = true;
        match read(spec, length) {
            Spec::Part(_) if parts.len() == MOST_PARTS => return Selection::Whole,
            Spec::Part(part) => parts.push(part),
            Spec::Outside => {}
            Spec::Malformed => return Selection::Whole,
        }
    }
    if parts.is_empty() {
        return if any && length > 0 { Selection::Unsatisfiable } else { Selection::Whole };
    }
    // Ranges that overlap so much are not worth their copies.
    let total = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.length()));
    if parts.len() > 1 && total.is_none_or(|total| total > length) {
        return Selection::Whole;
    }
    Selection::Parts(parts)
}

fn strip_unit(range: &[u8]) -> Option<&[u8]> {
    let at = range.iter().position(|&byte| byte == b'=')?;
    range[..at].eq_ignore_ascii_case(b"bytes").then_some(&range[at + 1..])
}

enum Spec {
    Part(Part),
    /// It begins behind the end.
    Outside,
    Malformed,
}

fn read(spec: &[u8], length: u64) -> Spec {
    let Some(dash) = spec.iter().position(|&byte| byte == b'-') else { return Spec::Malformed };
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    match (number(first), number(last)) {
        // The last so many bytes.
        (Some(None), Some(Some(suffix))) => match suffix.min(length) {
            0 => Spec::Outside,
            suffix => Spec::Part(Part { start: length - suffix, end: length }),
        },
        (Some(Some(first)), Some(last)) => {
            if last.is_some_and(|last| last < first) {
                return Spec::Malformed;
            }
            if first >= length {
                return Spec::Outside;
            }
            let end = last.map_or(length, |last| last.saturating_add(1).min(length));
            Spec::Part(Part { start: first, end })
        }
        _ => Spec::Malformed,
    }
}

/// `Some(None)` for nothing, `None` for what is not a number. One that is too large for us is larger than any file.
fn number(digits: &[u8]) -> Option<Option<u64>> {
    if digits.is_empty() {
        return Some(None);
    }
    digits.iter().all(u8::is_ascii_digit).then(|| Some(field::parse_decimal(digits).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(range: &str, length: u64) -> Selection {
        select(range.as_bytes(), length)
    }

    fn some(parts: &[(u64, u64)]) -> Selection {
        Selection::Parts(parts.iter().map(|&(start, end)| Part { start, end }).collect())
    }

    #[test]
    fn the_examples_of_the_rfc_select_what_it_says() {
        assert_eq!(parts("bytes=0-499", 10_000), some(&[(0, 500)]));
        assert_eq!(parts("bytes=500-999", 10_000), some(&[(500, 1000)]));
        assert_eq!(parts("bytes=-500", 10_000), some(&[(9500, 10_000)]));
        assert_eq!(parts("bytes=9500-", 10_000), some(&[(9500, 10_000)]));
        assert_eq!(parts("bytes=0-0,-1", 10_000), some(&[(0, 1), (9999, 10_000)]));
        assert_eq!(
            parts("bytes= 0-999, 4500-5499, -1000", 10_000),
            some(&[(0, 1000), (4500, 5500), (9000, 10_000)])
        );
        assert_eq!(parts("BYTES=1-2,,3-4", 10), some(&[(1, 3), (3, 5)]));
    }

    #[test]
    fn what_reaches_over_the_end_is_cut_there() {
        assert_eq!(parts("bytes=5-100", 10), some(&[(5, 10)]));
        assert_eq!(parts("bytes=-100", 10), some(&[(0, 10)]));
        assert_eq!(parts("bytes=9-99999999999999999999999", 10), some(&[(9, 10)]));
        assert_eq!(parts("bytes=5-18446744073709551615", 10), some(&[(5, 10)]));
    }

    #[test]
    fn what_begins_behind_the_end_is_unsatisfiable_unless_another_part_is_not() {
        for range in
            ["bytes=10-", "bytes=10-20", "bytes=99999999999999999999999-", "bytes=-0", "bytes=10-,20-"]
        {
            assert_eq!(parts(range, 10), Selection::Unsatisfiable, "{range}");
        }
        assert_eq!(parts("bytes=10-,2-3", 10), some(&[(2, 4)]));
    }

    #[test]
    fn nothing_can_be_selected_of_nothing() {
        for range in ["bytes=0-", "bytes=-5", "bytes=0-0"] {
            assert_eq!(parts(range, 0), Selection::Whole, "{range}");
        }
    }

    #[test]
    fn what_can_t_be_read_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-4",
            "bytes=1-2,x",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=1 -2",
            "chunks=0-1",
            "bytes 0-1",
            "bytes=0x1-2",
        ] {
            assert_eq!(parts(range, 10), Selection::Whole, "{range}");
        }
    }

    #[test]
    fn more_work_than_it_can_be_worth_is_ignored() {
        let many =
            |n: u64| format!("bytes={}", (0..n).map(|i| format!("{i}-{i}")).collect::<Vec<_>>().join(","));
        assert!(matches!(parts(&many(50), 1000), Selection::Parts(_)));
        assert_eq!(parts(&many(51), 1000), Selection::Whole);
        assert_eq!(parts("bytes=0-,0-,0-", 1000), Selection::Whole);
        assert_eq!(parts("bytes=0-599,500-999", 1000), Selection::Whole);
    }
}
