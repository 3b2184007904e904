//! What a server tells of itself: connections that come and go, requests that were answered.
//!
//! Values for those who log or count. Nothing here is made unless somebody observes.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::message::{Request, StatusCode};
use crate::proto::CloseReason;

/// Is told what happens in a server, on the thread on which it happens. What takes long here delays the
/// connection, or all that come behind it where it was refused; what panics ends it.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use sessile::server::{Exchange, HttpServer, Observer};
///
/// #[derive(Default)]
/// struct Traffic {
///     requests: AtomicU64,
///     failures: AtomicU64,
/// }
///
/// impl Observer for Traffic {
///     fn request_done(&self, exchange: &Exchange<'_>) {
///         self.requests.fetch_add(1, Ordering::Relaxed);
///         if exchange.status().is_some_and(|status| status.is_server_error()) {
///             self.failures.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let mut server = HttpServer::bind("127.0.0.1:0", |_, response| response.send_buffer(b"hi"))?;
/// server.set_observer(Traffic::default())?;
/// # Ok::<(), sessile::Error>(())
/// ```
pub trait Observer: Send + Sync {
    /// A connection has got a thread. One that has said nothing, and is ended for others while it waits for a thread,
    /// is not told of.
    fn connection_opened(&self, connection: &ConnectionInfo) {
        let _ = connection;
    }

    /// A connection has ended, or was taken over by its handler.
    fn connection_closed(&self, connection: &ConnectionInfo, reason: CloseReason) {
        let _ = (connection, reason);
    }

    /// A connection was refused, because there was neither a thread nor a place to wait for it.
    fn connection_refused(&self, client: Option<SocketAddr>) {
        let _ = client;
    }

    /// A request was answered, by its handler or by the server itself. The response may still be on its way.
    fn request_done(&self, exchange: &Exchange<'_>) {
        let _ = exchange;
    }
}

/// A connection, as an [`Observer`] sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The how manyth connection of the server it is, from 1.
    pub number: u64,
    /// The address of the client; `None` on a Unix socket.
    pub client_address: Option<SocketAddr>,
    /// The address that the client connected to; `None` on a Unix socket.
    pub server_address: Option<SocketAddr>,
    /// Whether it is under TLS.
    pub secure: bool,
    /// Requests that have begun to come on it so far.
    pub requests: u64,
}

/// A request and what became of it.
///
/// Its text is the line of an access log in the Common Log Format:
/// `127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] "GET /a HTTP/1.1" 200 1234`.
#[derive(Debug)]
pub struct Exchange<'a> {
    pub(crate) connection: &'a ConnectionInfo,
    pub(crate) request: Option<&'a Request>,
    pub(crate) status: Option<StatusCode>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) timings: Timings,
}

/// How long the phases of an exchange took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Until the first byte of the request came: from the beginning of the connection, with the time in the queue, or
    /// from the end of the response before.
    pub idle: Duration,
    /// From the first byte of the head to its last.
    pub head: Duration,
    /// From there to the end of the response, the handler and the content of both messages included.
    pub answer: Duration,
}

impl<'a> Exchange<'a> {
    /// The connection it took place on.
    pub fn connection(&self) -> &'a ConnectionInfo {
        self.connection
    }

    /// The head of the request; `None` where what came was not one.
    pub fn request(&self) -> Option<&'a Request> {
        self.request
    }

    /// The status of the final response; `None` where there was none, because the connection was gone or taken over.
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Bytes of content that were received, without their framing.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes of the response, its head included.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How long its phases took.
    pub fn timings(&self) -> Timings {
        self.timings
    }
}

impl fmt::Display for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.connection.client_address {
            Some(address) => write!(f, "{}", address.ip())?,
            None => f.write_str("-")?,
        }
        write!(f, " - - [{}] \"", Stamp(SystemTime::now()))?;
        match self.request {
            // A target has no blanks and no controls.
            Some(request) => {
                let target = request.target().replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "{} {target} {}", request.method(), request.version())?;
            }
            None => f.write_str("-")?,
        }
        match self.status {
            Some(status) => write!(f, "\" {status} {}", self.sent),
            None => write!(f, "\" - {}", self.sent),
        }
    }
}

/// `06/Nov/1994:08:49:37 +0000`, made of the date of HTTP.
struct Stamp(SystemTime);

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = crate::message::format_http_date(self.0);
        let part = |from: usize, to: usize| std::str::from_utf8(&date[from..to]).unwrap_or_default();
        write!(f, "{}/{}/{}:{} +0000", part(5, 7), part(8, 11), part(12, 16), part(17, 25))
    }
}

/// Called for each request that was answered.
pub(crate) type AccessLog = Box<dyn Fn(&Exchange<'_>) + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Method;
    use std::time::UNIX_EPOCH;

    #[test]
    fn an_exchange_is_a_line_of_an_access_log() {
        assert_eq!(
            Stamp(UNIX_EPOCH + Duration::from_secs(784_111_777)).to_string(),
            "06/Nov/1994:08:49:37 +0000"
        );
        let connection = ConnectionInfo {
            number: 1,
            client_address: Some("10.1.2.3:4567".parse().unwrap()),
            server_address: None,
            secure: false,
            requests: 1,
        };
        let request = Request::new(Method::GET, "/a\"b\\c?d");
        let mut exchange = Exchange {
            connection: &connection,
            request: Some(&request),
            status: Some(StatusCode::OK),
            received: 0,
            sent: 1234,
            timings: Timings::default(),
        };
        let line = exchange.to_string();
        assert!(line.starts_with("10.1.2.3 - - ["), "{line}");
        assert!(line.ends_with("] \"GET /a\\\"b\\\\c?d HTTP/1.1\" 200 1234"), "{line}");
        (exchange.request, exchange.status) = (None, None);
        assert!(exchange.to_string().ends_with("\"-\" - 1234"), "{exchange}");
    }
}
