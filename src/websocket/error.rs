//! What can go wrong with a WebSocket, with the numbers that Poco gives it.

use std::fmt;

use super::frame::CloseCode;
use crate::{Error, ErrorKind};

/// What is wrong with a handshake or a frame: the source of an [`Error`] of this module.
///
/// ```
/// use sessile::message::{Request, Response};
/// use sessile::websocket::{AcceptOptions, WebSocketErrorKind};
///
/// let error = AcceptOptions::new().accept(&Request::get("/"), &mut Response::new()).unwrap_err();
/// let kind = WebSocketErrorKind::of(&error).unwrap();
/// assert_eq!(kind, WebSocketErrorKind::NoHandshake);
/// assert_eq!(kind.code(), Some(1));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[doc(alias = "ErrorCodes")]
pub enum WebSocketErrorKind {
    /// The message is no handshake: `Upgrade` or `Connection` do not say so, or the server
    /// answered with another status than 101.
    #[doc(alias = "WS_ERR_NO_HANDSHAKE")]
    NoHandshake,
    /// The request has no `Sec-WebSocket-Version`.
    #[doc(alias = "WS_ERR_HANDSHAKE_NO_VERSION")]
    NoVersion,
    /// The version is not 13.
    #[doc(alias = "WS_ERR_HANDSHAKE_UNSUPPORTED_VERSION")]
    UnsupportedVersion,
    /// The request has no `Sec-WebSocket-Key`, or one that is not 16 bytes in base64.
    #[doc(alias = "WS_ERR_HANDSHAKE_NO_KEY")]
    NoKey,
    /// The response's `Sec-WebSocket-Accept` is missing or belongs to another key.
    #[doc(alias = "WS_ERR_HANDSHAKE_ACCEPT")]
    Accept,
    /// The server wants credentials (401).
    #[doc(alias = "WS_ERR_UNAUTHORIZED")]
    Unauthorized,
    /// A frame or message is larger than the limit, or than the memory given for it.
    #[doc(alias = "WS_ERR_PAYLOAD_TOO_BIG")]
    PayloadTooBig,
    /// The stream ended inside of a frame.
    #[doc(alias = "WS_ERR_INCOMPLETE_FRAME")]
    IncompleteFrame,
    /// The request comes from a page of another origin (Poco does not look).
    Origin,
    /// The server chose a subprotocol or an extension that was not asked for.
    Negotiation,
    /// The stream ended between two frames without a close frame.
    NotClosed,
    /// A frame breaks RFC 6455; the peer was told so with this code.
    Violation(CloseCode),
}

impl WebSocketErrorKind {
    /// What is wrong according to this error, if it comes from a WebSocket.
    pub fn of(error: &Error) -> Option<WebSocketErrorKind> {
        std::error::Error::source(error)?.downcast_ref().copied()
    }

    /// The number that Poco gives it: 1 to 6, 10 and 11. Poco does not look for the rest.
    pub fn code(self) -> Option<u16> {
        match self {
            WebSocketErrorKind::NoHandshake => Some(1),
            WebSocketErrorKind::NoVersion => Some(2),
            WebSocketErrorKind::UnsupportedVersion => Some(3),
            WebSocketErrorKind::NoKey => Some(4),
            WebSocketErrorKind::Accept => Some(5),
            WebSocketErrorKind::Unauthorized => Some(6),
            WebSocketErrorKind::PayloadTooBig => Some(10),
            WebSocketErrorKind::IncompleteFrame => Some(11),
            _ => None,
        }
    }

    /// With which code the peer is told, where it is the peer's fault.
    pub(super) fn close_code(self) -> Option<CloseCode> {
        match self {
            WebSocketErrorKind::Violation(code) => Some(code),
            WebSocketErrorKind::PayloadTooBig => Some(CloseCode::PAYLOAD_TOO_BIG),
            _ => None,
        }
    }

    /// An error of this kind.
    pub(super) fn error(self, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        let kind = match self {
            WebSocketErrorKind::Unauthorized => ErrorKind::NotAuthenticated,
            WebSocketErrorKind::PayloadTooBig => ErrorKind::TooLarge,
            WebSocketErrorKind::IncompleteFrame | WebSocketErrorKind::NotClosed => ErrorKind::Incomplete,
            _ => ErrorKind::WebSocket,
        };
        Error::new(kind, message).with_source(self)
    }
}

impl fmt::Display for WebSocketErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WebSocketErrorKind::NoHandshake => "no WebSocket handshake",
            WebSocketErrorKind::NoVersion => "no WebSocket version",
            WebSocketErrorKind::UnsupportedVersion => "unsupported WebSocket version",
            WebSocketErrorKind::NoKey => "no WebSocket key",
            WebSocketErrorKind::Accept => "wrong WebSocket accept value",
            WebSocketErrorKind::Unauthorized => "unauthorized",
            WebSocketErrorKind::PayloadTooBig => "payload too big",
            WebSocketErrorKind::IncompleteFrame => "incomplete frame",
            WebSocketErrorKind::Origin => "foreign origin",
            WebSocketErrorKind::Negotiation => "unexpected subprotocol or extension",
            WebSocketErrorKind::NotClosed => "no close frame",
            WebSocketErrorKind::Violation(code) => return write!(f, "protocol violation ({code})"),
        })
    }
}

impl std::error::Error for WebSocketErrorKind {}

/// A frame that breaks the protocol.
pub(super) fn violation(message: &'static str) -> Error {
    WebSocketErrorKind::Violation(CloseCode::PROTOCOL_ERROR).error(message)
}
