//! How long the calls of a session may take. Values only; `net::socket` applies them.

use std::time::Duration;

use crate::net::{Deadline, Limit};

/// How long connecting, one stalled write, one stalled read and a whole exchange may take.
///
/// `connect`, `send` and `receive` are Poco's three. `send` and `receive` bound how long the
/// peer may do *nothing*; a message's head must besides be complete within `receive` of its
/// first byte. [`Duration::ZERO`] means no limit. `total` bounds an exchange from the call
/// that sends the request to the last byte of the response, name resolution, connecting and
/// a retry included.
///
/// ```
/// use std::time::Duration;
/// use sessile::session::Timeouts;
///
/// let timeouts = Timeouts { total: Some(Duration::from_secs(30)), ..Timeouts::default() };
/// assert_eq!(timeouts.connect, Duration::from_secs(30));
/// assert_eq!(timeouts.receive, Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Name resolution, connecting and the TLS handshake together. 30 s, as Poco.
    #[doc(alias = "setConnectTimeout")]
    #[doc(alias = "HTTP_DEFAULT_CONNECTION_TIMEOUT")]
    pub connect: Duration,
    /// How long the peer may take none of what we send. 60 s, as Poco.
    #[doc(alias = "setSendTimeout")]
    pub send: Duration,
    /// How long the peer may send nothing while we wait for it, in a TLS handshake and as a proxy
    /// too. 60 s, as Poco.
    #[doc(alias = "setReceiveTimeout")]
    #[doc(alias = "HTTP_DEFAULT_TIMEOUT")]
    pub receive: Duration,
    /// The whole exchange; `None` where only progress counts.
    pub total: Option<Duration>,
}

impl Timeouts {
    /// The same limit for connecting, sending and receiving.
    #[doc(alias = "setTimeout")]
    pub fn all(limit: Duration) -> Timeouts {
        Timeouts { connect: limit, send: limit, receive: limit, total: None }
    }

    pub(crate) fn send_limit(&self, deadline: Deadline) -> Limit {
        limit(self.send).until(deadline)
    }

    pub(crate) fn receive_limit(&self, deadline: Deadline) -> Limit {
        limit(self.receive).until(deadline)
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(30),
            send: Duration::from_secs(60),
            receive: Duration::from_secs(60),
            total: None,
        }
    }
}

/// At most so long without progress.
pub(crate) fn limit(stall: Duration) -> Limit {
    limited(stall).map_or(Limit::none(), Limit::stall)
}

/// A limit of zero is none.
pub(crate) fn limited(limit: Duration) -> Option<Duration> {
    (!limit.is_zero()).then_some(limit)
}
