//! Whether a connection can be used again, and why not (RFC 9112, section 9).
//!
//! Decisions over messages and errors, for both roles; what is done about them, and when, is
//! the session's matter. The reason is a value, so that it can be logged and asserted.

use std::fmt;

use super::framing::Framing;
use crate::message::{Message, Method, Request, Response, StatusCode, Version};
use crate::{Error, ErrorKind};

/// Why a connection is not used for another exchange.
///
/// ```
/// use sessile::message::Request;
/// use sessile::proto::{CloseReason, close_after_request};
///
/// let mut request = Request::get("/");
/// assert_eq!(close_after_request(&request), None);
/// request.set_keep_alive(false);
/// assert_eq!(close_after_request(&request), Some(CloseReason::AskedByClient));
/// println!("closing: {}", CloseReason::AskedByClient);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The request said `Connection: close`.
    AskedByClient,
    /// The response said `Connection: close`.
    AskedByServer,
    /// One side speaks HTTP/1.0 and did not say `keep-alive`.
    Http10,
    /// The content of the response lasts until the connection is closed.
    UntilClose,
    /// The connection has become a tunnel, or speaks another protocol.
    Upgraded,
    /// Received content was not read, and is more than is worth draining.
    ContentUnread,
    /// A message was not sent to its end.
    ContentUnfinished,
    /// The server has answered before it had all of the request.
    EarlyResponse,
    /// The peer sent what is not HTTP/1.1, or could be read in two ways.
    Malformed,
    /// The peer passed a limit of size.
    TooLarge,
    /// The peer asked for what this crate does not do.
    Unsupported,
    /// A limit of time ran out inside of an exchange.
    Timeout,
    /// Another thread ended the connection.
    Aborted,
    /// The connection was idle for longer than it may be.
    IdleTooLong,
    /// An idle connection was given up for a newer one.
    Evicted,
    /// As many exchanges took place as may on one connection.
    ExchangesUsedUp,
    /// The server is stopping.
    Stopping,
    /// The peer closed the connection between two messages.
    ClosedByPeer,
    /// The peer closed the connection inside of a message.
    Incomplete,
    /// The peer sent bytes that nobody had asked for.
    Unexpected,
    /// The connection failed.
    Failed,
    /// Whoever uses the session wanted it closed.
    Closed,
}

impl CloseReason {
    /// The reason in words, to be put behind "closing: ".
    pub const fn explain(self) -> &'static str {
        match self {
            CloseReason::AskedByClient => "the client asked for it",
            CloseReason::AskedByServer => "the server asked for it",
            CloseReason::Http10 => "a message of HTTP/1.0 without keep-alive",
            CloseReason::UntilClose => "the response is delimited by close",
            CloseReason::Upgraded => "the connection is no longer one of HTTP/1.1",
            CloseReason::ContentUnread => "received content was not read",
            CloseReason::ContentUnfinished => "a message was not sent to its end",
            CloseReason::EarlyResponse => "the response came before the end of the request",
            CloseReason::Malformed => "the peer sent a malformed message",
            CloseReason::TooLarge => "the peer passed a limit of size",
            CloseReason::Unsupported => "the peer asked for what is not supported",
            CloseReason::Timeout => "a limit of time ran out",
            CloseReason::Aborted => "aborted from another thread",
            CloseReason::IdleTooLong => "idle for too long",
            CloseReason::Evicted => "idle, and given up for a newer connection",
            CloseReason::ExchangesUsedUp => "as many exchanges as may be took place",
            CloseReason::Stopping => "the server is stopping",
            CloseReason::ClosedByPeer => "the peer closed the connection",
            CloseReason::Incomplete => "the peer closed the connection inside of a message",
            CloseReason::Unexpected => "the peer sent bytes that nobody had asked for",
            CloseReason::Failed => "the connection failed",
            CloseReason::Closed => "closed by its user",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.explain())
    }
}

impl From<&Error> for CloseReason {
    /// The reason for closing a connection on which this error arose.
    fn from(error: &Error) -> CloseReason {
        match error.kind() {
            ErrorKind::Malformed => CloseReason::Malformed,
            ErrorKind::TooLarge => CloseReason::TooLarge,
            ErrorKind::Unsupported => CloseReason::Unsupported,
            ErrorKind::Timeout => CloseReason::Timeout,
            ErrorKind::Aborted => CloseReason::Aborted,
            ErrorKind::NoMessage => CloseReason::ClosedByPeer,
            ErrorKind::Incomplete => CloseReason::Incomplete,
            _ => CloseReason::Failed,
        }
    }
}

/// Why there can't be another request behind this one, if so (RFC 9112, 9.3).
pub fn close_after_request(request: &Request) -> Option<CloseReason> {
    (!request.keep_alive()).then(|| reason(request, CloseReason::AskedByClient))
}

/// Why there can't be another exchange behind this response to a request with this method,
/// if so (RFC 9112, 9.3). Interim responses decide nothing, but 101 does.
pub fn close_after_response(method: &Method, response: &Response, framing: Framing) -> Option<CloseReason> {
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS || (*method == Method::CONNECT && status.is_success()) {
        return Some(CloseReason::Upgraded);
    }
    if status.is_informational() {
        return None;
    }
    if framing == Framing::UntilClose {
        return Some(CloseReason::UntilClose);
    }
    (!response.keep_alive()).then(|| reason(response, CloseReason::AskedByServer))
}

/// `close` was asked for, or it is HTTP/1.0 without `keep-alive`.
fn reason(message: &impl Message, asked: CloseReason) -> CloseReason {
    if message.version() == Version::Http10 && !message.headers().has_token("Connection", "close") {
        return CloseReason::Http10;
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9112, 9.3, for a version and a value of `Connection`: whether the connection
    /// persists.
    const PERSISTENCE: &[(Version, &str, bool)] = &[
        (Version::Http11, "", true),
        (Version::Http11, "close", false),
        (Version::Http11, "Close", false),
        (Version::Http11, "close, foo", false),
        (Version::Http11, "foo,\tCLOSE", false),
        (Version::Http11, "keep-alive", true),
        (Version::Http11, "keep-alive, close", false),
        (Version::Http11, "closed", true),
        (Version::Http11, "\"close\"", true),
        (Version::Http11, "upgrade", true),
        (Version::Http10, "", false),
        (Version::Http10, "keep-alive", true),
        (Version::Http10, "Keep-Alive", true),
        (Version::Http10, "foo, keep-alive", true),
        (Version::Http10, "close", false),
        (Version::Http10, "keep-alive, close", false),
        (Version::Http10, "upgrade", false),
    ];

    #[test]
    fn persistence_follows_the_table() {
        for &(version, options, persists) in PERSISTENCE {
            let (mut request, mut response) = (Request::get("/"), Response::new());
            request.set_version(version);
            response.set_version(version);
            if !options.is_empty() {
                request.headers_mut().append("Connection", options).unwrap();
                response.headers_mut().append("connection", options).unwrap();
            }
            let by_client = close_after_request(&request);
            let by_server = close_after_response(&Method::GET, &response, Framing::Length(0));
            assert_eq!(
                (by_client.is_none(), by_server.is_none()),
                (persists, persists),
                "{version} {options}"
            );
        }
    }

    #[test]
    fn the_reason_says_who_or_what_it_was() {
        let mut request = Request::get("/");
        request.set_version(Version::Http10);
        assert_eq!(close_after_request(&request), Some(CloseReason::Http10));
        request.set_keep_alive(false);
        assert_eq!(close_after_request(&request), Some(CloseReason::AskedByClient));
        let mut response = Response::new();
        response.set_keep_alive(false);
        let close = |response: &Response, framing| close_after_response(&Method::GET, response, framing);
        assert_eq!(close(&response, Framing::None), Some(CloseReason::AskedByServer));
        assert_eq!(close(&response, Framing::UntilClose), Some(CloseReason::UntilClose));
    }

    #[test]
    fn two_lines_of_options_are_one_list() {
        let mut response = Response::new();
        response.headers_mut().append("Connection", "keep-alive").unwrap();
        response.headers_mut().append("Connection", "x, close").unwrap();
        let reason = close_after_response(&Method::GET, &response, Framing::Chunked);
        assert_eq!(reason, Some(CloseReason::AskedByServer));
    }

    #[test]
    fn tunnels_and_other_protocols_are_not_used_again_and_interim_responses_decide_nothing() {
        let status = |number| Response::with_status(StatusCode::new(number).unwrap());
        let close =
            |method: &Method, response: &Response| close_after_response(method, response, Framing::None);
        assert_eq!(close(&Method::GET, &status(101)), Some(CloseReason::Upgraded));
        assert_eq!(close(&Method::CONNECT, &status(200)), Some(CloseReason::Upgraded));
        assert_eq!(close(&Method::CONNECT, &status(407)), None);
        let mut interim = status(103);
        interim.set_keep_alive(false);
        assert_eq!(close(&Method::GET, &interim), None);
    }

    #[test]
    fn every_error_is_a_reason_to_close() {
        assert_eq!(CloseReason::from(&Error::malformed("x")), CloseReason::Malformed);
        assert_eq!(CloseReason::from(&Error::new(ErrorKind::Io, "x")), CloseReason::Failed);
        assert_eq!(CloseReason::from(&Error::incomplete("x")).to_string(), CloseReason::Incomplete.explain());
    }
}
