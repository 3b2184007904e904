//! The one error of the crate.
//!
//! An [`Error`] says what happened ([`ErrorKind`]), in which part of an exchange
//! ([`Phase`]) and why ([`source`](std::error::Error::source)). It fits in one word and
//! survives a round trip through [`std::io::Error`], so that `?` behind `io::copy` yields
//! what the session reported. It knows nothing of connections: what state one is in after
//! an error is said where the error arises.

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::io;

use crate::message::StatusCode;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and why.
///
/// `Display` prints this level only; [`source`](StdError::source) leads to the rest.
///
/// ```
/// use sessile::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::InvalidArgument, "a port is needed");
/// let through_io: std::io::Error = error.into();
/// let back = Error::from(through_io);
/// assert_eq!(back.kind(), ErrorKind::InvalidArgument);
/// ```
#[doc(alias = "NetException")]
#[doc(alias = "HTTPException")]
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    phase: Option<Phase>,
    message: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    status: Option<StatusCode>,
    retryable: bool,
}

/// The kinds of error, for a program to decide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The host's name could not be turned into an address.
    #[doc(alias = "HostNotFoundException")]
    #[doc(alias = "DNSException")]
    Resolve,
    /// No connection could be made.
    #[doc(alias = "ConnectionRefusedException")]
    Connect,
    /// TLS: the handshake, a certificate, a broken record.
    #[doc(alias = "SSLException")]
    #[doc(alias = "CertificateValidationException")]
    Tls,
    /// A proxy refused or could not be understood.
    Proxy,
    /// A limit of time ran out; [`Error::phase`] says which.
    #[doc(alias = "TimeoutException")]
    Timeout,
    /// Somebody called [`AbortHandle::abort`](crate::net::AbortHandle::abort).
    Aborted,
    /// The peer closed the connection before the first byte of a message.
    #[doc(alias = "NoMessageException")]
    NoMessage,
    /// A message ended before its end.
    #[doc(alias = "SSLConnectionUnexpectedlyClosedException")]
    Incomplete,
    /// The peer sent something that is not HTTP/1.1, or that could be read in two ways.
    #[doc(alias = "MessageException")]
    #[doc(alias = "SyntaxException")]
    Malformed,
    /// The peer asked for something that HTTP allows and this crate does not do.
    #[doc(alias = "NotImplementedException")]
    Unsupported,
    /// A limit of size was passed; the message says which.
    TooLarge,
    /// The call does not fit the state of the object.
    #[doc(alias = "IllegalStateException")]
    #[doc(alias = "InvalidSocketException")]
    IllegalState,
    /// An argument is outside of what the call takes.
    #[doc(alias = "InvalidArgumentException")]
    #[doc(alias = "UnknownURISchemeException")]
    InvalidArgument,
    /// What was asked for is not there.
    #[doc(alias = "NotFoundException")]
    NotFound,
    /// A value has another type than the one asked for.
    #[doc(alias = "BadCastException")]
    BadCast,
    /// Credentials are missing, refused, or can't be computed.
    #[doc(alias = "NotAuthenticatedException")]
    NotAuthenticated,
    /// A redirect that policy does not follow.
    #[doc(alias = "UnsupportedRedirectException")]
    Redirect,
    /// The response's status was asked to be an error (`error_for_status`).
    Status,
    /// A form or a multipart body that can't be read.
    #[doc(alias = "HTMLFormException")]
    #[doc(alias = "MultipartException")]
    Form,
    /// A WebSocket handshake or frame.
    #[doc(alias = "WebSocketException")]
    WebSocket,
    /// A store of web sessions can't be reached or failed.
    Store,
    /// Content that can't be decoded: compression, a character set, JSON.
    Decode,
    /// Any other failure of the operating system.
    #[doc(alias = "IOException")]
    Io,
}

/// The part of an exchange in which an error arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Name resolution.
    Resolve,
    /// Making the connection.
    Connect,
    /// Speaking with a proxy before the connection is through.
    Proxy,
    /// The TLS handshake.
    Handshake,
    /// Sending a head or content.
    Send,
    /// Waiting for, or inside of, a message's head.
    ReceiveHead,
    /// Inside of a message's content.
    ReceiveBody,
    /// Waiting for the next request on a persistent connection.
    Idle,
}

impl Error {
    /// An error of this kind. The message says what happened and what to do, without a
    /// final full stop, and never holds content, credentials or cookies.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
        Error(Box::new(Inner {
            kind,
            phase: None,
            message: message.into(),
            source: None,
            status: None,
            retryable: false,
        }))
    }

    /// Adds the cause.
    #[must_use]
    #[cold]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// Says in which phase, unless that is known already.
    #[must_use]
    #[cold]
    pub fn with_phase(mut self, phase: Phase) -> Error {
        self.0.phase.get_or_insert(phase);
        self
    }

    /// Says with which status a server should answer.
    #[must_use]
    #[cold]
    pub fn with_status(mut self, status: StatusCode) -> Error {
        self.0.status = Some(status);
        self
    }

    /// Says nothing of a status.
    #[must_use]
    #[cold]
    pub(crate) fn without_status(mut self) -> Error {
        self.0.status = None;
        self
    }

    /// The status that [`with_status`](Error::with_status) has set, if one was.
    pub(crate) fn chosen_status(&self) -> Option<StatusCode> {
        self.0.status.filter(|_| self.0.kind != ErrorKind::Status)
    }

    /// Marks an error after which the request may be made again: see
    /// [`is_retryable`](Error::is_retryable).
    #[must_use]
    #[cold]
    pub(crate) fn retryable(mut self) -> Error {
        self.0.retryable = true;
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// In which phase of an exchange it arose, where it arose in one.
    pub fn phase(&self) -> Option<Phase> {
        self.0.phase
    }

    /// Whether a limit of time ran out.
    pub fn is_timeout(&self) -> bool {
        self.0.kind == ErrorKind::Timeout
    }

    /// Whether another thread ended the call by an [`AbortHandle`](crate::net::AbortHandle).
    pub fn is_aborted(&self) -> bool {
        self.0.kind == ErrorKind::Aborted
    }

    /// Whether the request certainly was not acted upon, or is idempotent and was lost on a
    /// reused connection before any byte of the response (RFC 9110, 9.2.2): making it again
    /// is then safe.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The status of the response that was asked to be an error
    /// ([`error_for_status`](crate::client::AgentResponse::error_for_status)).
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status.filter(|_| self.0.kind == ErrorKind::Status)
    }

    /// The status with which a server should answer the peer that caused this error: 400,
    /// 408, 413, 414, 417, 431, 501, 505 and so on; `None` where it was not the peer.
    pub fn status_hint(&self) -> Option<StatusCode> {
        // What another server said of our request is not what we say of this one.
        self.chosen_status().or(match self.0.kind {
            ErrorKind::Malformed | ErrorKind::Incomplete | ErrorKind::Form => Some(StatusCode::BAD_REQUEST),
            ErrorKind::TooLarge => Some(StatusCode::CONTENT_TOO_LARGE),
            ErrorKind::Unsupported => Some(StatusCode::NOT_IMPLEMENTED),
            ErrorKind::Timeout if matches!(self.0.phase, Some(Phase::ReceiveHead | Phase::ReceiveBody)) => {
                Some(StatusCode::REQUEST_TIMEOUT)
            }
            ErrorKind::Store => Some(StatusCode::SERVICE_UNAVAILABLE),
            _ => None,
        })
    }

    /// A second error that says the same, for those who must keep one and return one. The
    /// source goes along as its text.
    #[cold]
    pub(crate) fn duplicate(&self) -> Error {
        let inner = &self.0;
        Error(Box::new(Inner {
            kind: inner.kind,
            phase: inner.phase,
            message: inner.message.clone(),
            source: inner.source.as_ref().map(|s| s.to_string().into()),
            status: inner.status,
            retryable: inner.retryable,
        }))
    }

    #[cold]
    pub(crate) fn malformed(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Malformed, message)
    }

    #[cold]
    pub(crate) fn too_large(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::TooLarge, message)
    }

    #[cold]
    pub(crate) fn incomplete(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Incomplete, message)
    }

    #[cold]
    pub(crate) fn unsupported(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Unsupported, message)
    }

    #[cold]
    pub(crate) fn illegal_state(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::IllegalState, message)
    }

    #[cold]
    pub(crate) fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::InvalidArgument, message)
    }

    #[cold]
    pub(crate) fn timeout(phase: Phase) -> Error {
        let what = match phase {
            Phase::Resolve => "name resolution took too long",
            Phase::Connect => "connecting took too long",
            Phase::Proxy => "the proxy took too long",
            Phase::Handshake => "the TLS handshake took too long",
            Phase::Send => "the peer takes no more data",
            Phase::ReceiveHead => "the head of the message did not come in time",
            Phase::ReceiveBody => "the content of the message did not come in time",
            Phase::Idle => "no request came in time",
        };
        Error::new(ErrorKind::Timeout, what).with_phase(phase)
    }

    #[cold]
    pub(crate) fn aborted() -> Error {
        Error::new(ErrorKind::Aborted, "aborted from another thread")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_struct("Error");
        d.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some(phase) = self.0.phase {
            d.field("phase", &phase);
        }
        if let Some(source) = &self.0.source {
            d.field("source", source);
        }
        d.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}

impl From<io::Error> for Error {
    /// Gives back the [`Error`] that was put into the `io::Error`, or wraps what the
    /// operating system said.
    #[cold]
    fn from(error: io::Error) -> Error {
        let error = match error.downcast::<Error>() {
            Ok(inside) => return inside,
            Err(error) => error,
        };
        let kind = match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorKind::Timeout,
            io::ErrorKind::UnexpectedEof => ErrorKind::Incomplete,
            _ => ErrorKind::Io,
        };
        Error::new(kind, error.to_string()).with_source(error)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Error {
        match never {}
    }
}

impl From<Error> for io::Error {
    /// The whole error goes into the `io::Error`. Its kind is never `Interrupted`, which
    /// the standard library would retry.
    fn from(error: Error) -> io::Error {
        let kind = match error.kind() {
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            ErrorKind::Aborted => io::ErrorKind::ConnectionAborted,
            ErrorKind::NoMessage | ErrorKind::Incomplete => io::ErrorKind::UnexpectedEof,
            ErrorKind::Malformed | ErrorKind::TooLarge | ErrorKind::Decode | ErrorKind::Form => {
                io::ErrorKind::InvalidData
            }
            ErrorKind::InvalidArgument => io::ErrorKind::InvalidInput,
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::NotAuthenticated => io::ErrorKind::PermissionDenied,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            _ => match error.0.source.as_ref().and_then(|s| s.downcast_ref::<io::Error>()) {
                Some(source) if source.kind() != io::ErrorKind::Interrupted => source.kind(),
                _ => io::ErrorKind::Other,
            },
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn an_error_survives_the_way_through_io() {
        let error = Error::timeout(Phase::ReceiveBody).with_source("deep");
        let back = Error::from(io::Error::from(error));
        assert_eq!(back.kind(), ErrorKind::Timeout);
        assert_eq!(back.phase(), Some(Phase::ReceiveBody));
        assert_eq!(back.source().map(ToString::to_string).as_deref(), Some("deep"));
    }

    #[test]
    fn the_system_s_kind_is_kept_and_interrupted_is_not() {
        let reset = io::Error::from(Error::from(io::Error::from(io::ErrorKind::ConnectionReset)));
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
        let interrupted = io::Error::from(Error::from(io::Error::from(io::ErrorKind::Interrupted)));
        assert_eq!(interrupted.kind(), io::ErrorKind::Other);
    }

    #[test]
    fn the_first_phase_stays() {
        let error = Error::timeout(Phase::Resolve).with_phase(Phase::Send);
        assert_eq!(error.phase(), Some(Phase::Resolve));
    }
}
