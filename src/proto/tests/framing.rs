//! Framing as a cross product: methods, versions, statuses and fields, against tables that
//! were written from the text of RFC 9112, section 6.3, and not from the code.

use super::*;
use crate::message::{StatusCode, Version};

/// What a set of `Transfer-Encoding` fields is, in the words of the RFC.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Te {
    Absent,
    Chunked,
    /// chunked is final, and there are others.
    OthersThenChunked,
    /// chunked is not final.
    ChunkedNotFinal,
    /// No list of codings, or chunked twice.
    Nonsense,
}

const TRANSFER_ENCODINGS: &[(Te, &[&str])] = &[
    (Te::Absent, &[]),
    (Te::Chunked, &["chunked"]),
    (Te::Chunked, &["Chunked"]),
    (Te::Chunked, &["CHUNKED"]),
    (Te::Chunked, &["\t chunked \t"]),
    (Te::OthersThenChunked, &["gzip, chunked"]),
    (Te::OthersThenChunked, &["gzip", "chunked"]),
    (Te::OthersThenChunked, &["identity, chunked"]),
    (Te::OthersThenChunked, &["x;q=\"a,b\", chunked"]),
    (Te::OthersThenChunked, &["gzip,\tchunked"]),
    (Te::OthersThenChunked, &["chunked;q=1, chunked"]),
    (Te::ChunkedNotFinal, &["gzip"]),
    (Te::ChunkedNotFinal, &["identity"]),
    (Te::ChunkedNotFinal, &["chunked, gzip"]),
    (Te::ChunkedNotFinal, &["chunked", "identity"]),
    (Te::ChunkedNotFinal, &["chunked;q=1"]),
    (Te::ChunkedNotFinal, &["chunked; a=b"]),
    (Te::ChunkedNotFinal, &["\"chunked\""]),
    (Te::ChunkedNotFinal, &["'chunked'"]),
    (Te::ChunkedNotFinal, &["xchunked"]),
    (Te::ChunkedNotFinal, &["chunkedx"]),
    (Te::ChunkedNotFinal, &["chunked x"]),
    (Te::ChunkedNotFinal, &["chunk"]),
    (Te::ChunkedNotFinal, &["chunked\u{a0}"]),
    (Te::ChunkedNotFinal, &["x chunked"]),
    (Te::ChunkedNotFinal, &["chun ked"]),
    (Te::ChunkedNotFinal, &["cow"]),
    (Te::ChunkedNotFinal, &["x=\", chunked"]),
    (Te::Nonsense, &[""]),
    (Te::Nonsense, &[","]),
    (Te::Nonsense, &["chunked,"]),
    (Te::Nonsense, &[",chunked"]),
    (Te::Nonsense, &["chunked", ""]),
    (Te::Nonsense, &["", "chunked"]),
    (Te::Nonsense, &["chunked, chunked"]),
    (Te::Nonsense, &["chunked", "chunked"]),
    (Te::Nonsense, &["chunked", "Chunked"]),
    (Te::Nonsense, &["chunked, gzip, chunked"]),
];

/// What a set of `Content-Length` fields is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cl {
    Absent,
    One(u64),
    /// The same number several times.
    Repeated(u64),
    Invalid,
}

const CONTENT_LENGTHS: &[(Cl, &[&str])] = &[
    (Cl::Absent, &[]),
    (Cl::One(0), &["0"]),
    (Cl::One(5), &["5"]),
    (Cl::One(5), &["\t5 "]),
    (Cl::One(5), &["0005"]),
    (Cl::One(u64::MAX), &["18446744073709551615"]),
    (Cl::Repeated(5), &["5", "5"]),
    (Cl::Repeated(5), &["5, 5"]),
    (Cl::Repeated(5), &["5,5", "5"]),
    (Cl::Repeated(5), &["5", "05"]),
    (Cl::Repeated(0), &["0", "0", "0"]),
    (Cl::Invalid, &["5", "6"]),
    (Cl::Invalid, &["4", "0"]),
    (Cl::Invalid, &["5, 6"]),
    (Cl::Invalid, &["5", "5, 6"]),
    (Cl::Invalid, &["5", ""]),
    (Cl::Invalid, &["", "5"]),
    (Cl::Invalid, &["5,"]),
    (Cl::Invalid, &[",5"]),
    (Cl::Invalid, &["5", "x"]),
    (Cl::Invalid, &[""]),
    (Cl::Invalid, &["+5"]),
    (Cl::Invalid, &["-5"]),
    (Cl::Invalid, &["-0"]),
    (Cl::Invalid, &["5 5"]),
    (Cl::Invalid, &["5x"]),
    (Cl::Invalid, &["x5"]),
    (Cl::Invalid, &["0x5"]),
    (Cl::Invalid, &["5.0"]),
    (Cl::Invalid, &["5e0"]),
    (Cl::Invalid, &["5_0"]),
    (Cl::Invalid, &["1,000"]),
    (Cl::Invalid, &["\"5\""]),
    (Cl::Invalid, &["5;a=b"]),
    (Cl::Invalid, &["18446744073709551616"]),
    (Cl::Invalid, &["99999999999999999999999"]),
    (Cl::Invalid, &["\u{665}"]),
    (Cl::Invalid, &["five"]),
];

fn fields(transfer_encodings: &[&str], content_lengths: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.append("X-First", "chunked, 5").unwrap();
    for value in content_lengths {
        headers.append("content-length", value).unwrap();
    }
    for value in transfer_encodings {
        headers.append("Transfer-encoding", value).unwrap();
    }
    headers
}

/// Runs a test over all combinations of fields and versions.
fn for_all_fields(mut test: impl FnMut(Te, Cl, Version, HeaderMap)) {
    for &(te, transfer_encodings) in TRANSFER_ENCODINGS {
        for &(cl, content_lengths) in CONTENT_LENGTHS {
            for version in [Version::Http10, Version::Http11] {
                test(te, cl, version, fields(transfer_encodings, content_lengths));
            }
        }
    }
}

#[test]
fn requests_are_framed_as_the_table_says() {
    for_all_fields(|te, cl, version, headers| {
        let expected = match (version, te, cl) {
            (_, Te::Absent, Cl::Absent) => Ok(Framing::None),
            (_, Te::Absent, Cl::One(length)) => Ok(Framing::Length(length)),
            (Version::Http11, Te::Chunked, Cl::Absent) => Ok(Framing::Chunked),
            // "A server that receives a request message with a transfer coding it does not
            // understand SHOULD respond with 501" (6.1).
            (Version::Http11, Te::OthersThenChunked, Cl::Absent) => Err(501),
            _ => Err(400),
        };
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"] {
            let mut request = Request::new(Method::new(method).unwrap(), "/");
            request.set_version(version);
            *request.headers_mut() = headers.clone();
            let framing = request_framing(&request)
                .map_err(|error| error.status_hint().map_or(0, |status| status.as_u16()));
            assert_eq!(framing, expected, "{method} {te:?} {cl:?} {request:?}");
        }
    });
}

#[test]
fn responses_are_framed_as_the_table_says() {
    for_all_fields(|te, cl, version, headers| {
        for status in
            [100, 101, 103, 199, 200, 201, 203, 204, 205, 206, 299, 301, 304, 400, 404, 413, 500, 599, 999]
        {
            for method in ["GET", "HEAD", "POST", "CONNECT", "head"] {
                let bodyless = method == "HEAD" || status < 200 || status == 204 || status == 304;
                let tunnel = method == "CONNECT" && (200..300).contains(&status);
                let expected = match (version, te, cl) {
                    _ if bodyless || tunnel => Some(Framing::None),
                    (_, Te::Absent, Cl::Absent) => Some(Framing::UntilClose),
                    (_, Te::Absent, Cl::One(length) | Cl::Repeated(length)) => Some(Framing::Length(length)),
                    (Version::Http11, Te::Chunked, Cl::Absent) => Some(Framing::Chunked),
                    _ => None,
                };
                let mut response = Response::with_status(StatusCode::new(status).unwrap());
                response.set_version(version);
                *response.headers_mut() = headers.clone();
                let framing = response_framing(&Method::new(method).unwrap(), &response).ok();
                assert_eq!(framing, expected, "{method} {status} {te:?} {cl:?} {response:?}");
            }
        }
    });
}

#[test]
fn refused_framing_is_refused_on_the_way_from_bytes_too() {
    for (fields, status) in [
        (&b"Content-Length: 6\r\nTransfer-Encoding: chunked"[..], 400),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 6", 400),
        (b"Transfer-Encoding: chunked\r\nContent-Length: x", 400),
        (b"Transfer-Encoding: gzip, chunked", 501),
        (b"Transfer-Encoding: gzip", 400),
        (b"Transfer-Encoding : chunked", 400),
        (b"Transfer-Encoding\t: chunked", 400),
        (b"Transfer-Encoding: \x0bchunked", 400),
        (b"Transfer-Encoding: chunked\x0c", 400),
        (b"Transfer-Encoding:\r\n chunked", 400),
        (b"Transfer-Encoding: chunked\0", 400),
        (b"Transfer-Encoding: chun\rked", 400),
        (b"Content-Length: 5\rX: y", 400),
        (b"Content-Length : 5", 400),
        (b"Content-Length: 5\x0b", 400),
        (b"Content-Length: 5\r\n 6", 400),
        (b" Content-Length: 5", 400),
        (b"Content-Length\xa0: 5", 400),
        (b"Content Length: 5", 400),
    ] {
        let input = [&request(b"POST / HTTP/1.1", &[fields])[..], b"0\r\n\r\n"].concat();
        assert_eq!(whole_request(&input).status(), Some(status), "{}", fields.escape_ascii());
    }
    let input = [&request(b"POST / HTTP/1.0", &[b"Transfer-Encoding: chunked"])[..], b"0\r\n\r\n"].concat();
    assert_eq!(whole_request(&input).status(), Some(400));
}

#[test]
fn names_that_only_look_alike_frame_nothing() {
    for field in [
        &b"Content_Length: 5"[..],
        b"Transfer_Encoding: chunked",
        b"XContent-Length: 5",
        b"Content-Length2: 5",
        b"Transfer-Encodin: chunked",
        b"X: Content-Length: 5",
    ] {
        let received = whole_request(&request(b"POST / HTTP/1.1", &[field])).whole();
        assert_eq!(received.framing, Some(Framing::None), "{}", field.escape_ascii());
    }
}
