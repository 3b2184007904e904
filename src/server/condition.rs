//! Whether a request's conditions hold (RFC 9110, section 13), for a resource whose validators are known.
//!
//! Steps carry the numbers of section 13.2.2. Nothing here looks at files or at a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::message::{HeaderMap, Method, Request, field, parse_http_date};

/// What tells one state of a resource from another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Validators {
    /// A strong entity-tag, with its quotes.
    pub(crate) etag: Option<String>,
    /// In whole seconds.
    pub(crate) modified: Option<SystemTime>,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As if there were no condition; `ranges` is whether a `Range` counts.
    Proceed { ranges: bool },
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

pub(crate) fn evaluate(request: &Request, validators: &Validators) -> Verdict {
    let headers = request.headers();
    let reads = *request.method() == Method::GET || *request.method() == Method::HEAD;
    // 1. and 2.
    let holds = if headers.has("if-match") {
        matches(headers, "if-match", validators, false)
    } else {
        date(headers, "if-unmodified-since")
            .is_none_or(|since| validators.modified.is_none_or(|modified| modified <= since))
    };
    if !holds {
        return Verdict::Failed;
    }
    // 3. and 4.
    if headers.has("if-none-match") {
        if matches(headers, "if-none-match", validators, true) {
            return if reads { Verdict::NotModified } else { Verdict::Failed };
        }
    } else if reads {
        if let (Some(since), Some(modified)) = (date(headers, "if-modified-since"), validators.modified) {
            if modified <= since {
                return Verdict::NotModified;
            }
        }
    }
    // 5.
    let ranges = *request.method() == Method::GET && headers.has("range");
    Verdict::Proceed { ranges: ranges && if_range(headers, validators) }
}

/// Whether one of the listed entity-tags is that of the resource, or anything is allowed.
fn matches(headers: &HeaderMap, name: &str, validators: &Validators, weakly: bool) -> bool {
    headers.tokens(name).any(|tag| {
        tag == b"*" || {
            let tag = if weakly { tag.strip_prefix(b"W/").unwrap_or(tag) } else { tag };
            validators.etag.as_ref().is_some_and(|own| own.as_bytes() == tag)
        }
    })
}

/// A date that can't be read, and one of several, counts as none.
fn date(headers: &HeaderMap, name: &str) -> Option<SystemTime> {
    let mut fields = headers.get_all(name);
    let (first, None) = (fields.next()?, fields.next()) else { return None };
    parse_http_date(std::str::from_utf8(first).ok()?).ok()
}

/// The part is wanted only of the state that the client has (13.1.5).
fn if_range(headers: &HeaderMap, validators: &Validators) -> bool {
    let Some(condition) = headers.get_bytes("if-range") else { return true };
    if field::is_quoted_string(condition) {
        return validators.etag.as_ref().is_some_and(|own| own.as_bytes() == condition);
    }
    match (date(headers, "if-range"), validators.modified) {
        (Some(date), Some(modified)) => date == modified,
        _ => false,
    }
}

/// Without the fraction of a second, which dates on the wire do not have.
pub(crate) fn whole_seconds(time: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn verdict(method: Method, fields: &[(&str, &str)]) -> Verdict {
        let mut request = Request::new(method, "/");
        for (name, value) in fields {
            request.headers_mut().append(name, value).unwrap();
        }
        let validators =
            Validators { etag: Some("\"a1\"".into()), modified: Some(parse_http_date(THEN).unwrap()) };
        evaluate(&request, &validators)
    }

    fn get(fields: &[(&str, &str)]) -> Verdict {
        verdict(Method::GET, fields)
    }

    const GO: Verdict = Verdict::Proceed { ranges: false };
    const PART: Verdict = Verdict::Proceed { ranges: true };

    #[test]
    fn if_none_match_compares_weakly_and_anything_matches_the_asterisk() {
        for tags in ["\"a1\"", "W/\"a1\"", "\"x\", \"a1\"", "*", "\"x\",W/\"a1\""] {
            assert_eq!(get(&[("If-None-Match", tags)]), Verdict::NotModified, "{tags}");
            assert_eq!(verdict(Method::HEAD, &[("If-None-Match", tags)]), Verdict::NotModified);
            assert_eq!(verdict(Method::PUT, &[("If-None-Match", tags)]), Verdict::Failed);
        }
        for tags in ["\"a2\"", "a1", "\"\"", "\"A1\""] {
            assert_eq!(get(&[("If-None-Match", tags)]), GO, "{tags}");
        }
    }

    #[test]
    fn if_match_compares_strongly() {
        assert_eq!(get(&[("If-Match", "\"a1\"")]), GO);
        assert_eq!(get(&[("If-Match", "*")]), GO);
        assert_eq!(get(&[("If-Match", "W/\"a1\"")]), Verdict::Failed);
        assert_eq!(get(&[("If-Match", "\"a2\", \"a3\"")]), Verdict::Failed);
    }

    #[test]
    fn dates_are_compared_and_unreadable_ones_ignored() {
        assert_eq!(get(&[("If-Modified-Since", THEN)]), Verdict::NotModified);
        assert_eq!(get(&[("If-Modified-Since", AFTER)]), Verdict::NotModified);
        assert_eq!(get(&[("If-Modified-Since", BEFORE)]), GO);
        assert_eq!(get(&[("If-Modified-Since", "yesterday")]), GO);
        assert_eq!(verdict(Method::POST, &[("If-Modified-Since", THEN)]), GO);
        assert_eq!(get(&[("If-Unmodified-Since", THEN)]), GO);
        assert_eq!(get(&[("If-Unmodified-Since", BEFORE)]), Verdict::Failed);
        assert_eq!(get(&[("If-Unmodified-Since", "?")]), GO);
    }

    #[test]
    fn tags_go_before_dates() {
        assert_eq!(get(&[("If-None-Match", "\"a2\""), ("If-Modified-Since", AFTER)]), GO);
        assert_eq!(get(&[("If-Match", "\"a1\""), ("If-Unmodified-Since", BEFORE)]), GO);
    }

    #[test]
    fn a_range_counts_for_get_and_for_the_state_it_was_asked_of() {
        let range = ("Range", "bytes=0-1");
        assert_eq!(get(&[range]), PART);
        assert_eq!(verdict(Method::HEAD, &[range]), GO);
        for (condition, expected) in [
            ("\"a1\"", PART),
            ("\"a2\"", GO),
            ("W/\"a1\"", GO),
            (THEN, PART),
            (BEFORE, GO),
            (AFTER, GO),
            ("nonsense", GO),
        ] {
            assert_eq!(get(&[range, ("If-Range", condition)]), expected, "{condition}");
        }
        assert_eq!(get(&[range, ("If-None-Match", "\"a1\"")]), Verdict::NotModified);
    }

    #[test]
    fn without_validators_there_is_nothing_to_compare() {
        let mut request = Request::get("/");
        request.headers_mut().set("If-Modified-Since", THEN).unwrap();
        assert_eq!(evaluate(&request, &Validators::default()), GO);
        request.headers_mut().set("If-Match", "\"a\"").unwrap();
        assert_eq!(evaluate(&request, &Validators::default()), Verdict::Failed);
    }
}
