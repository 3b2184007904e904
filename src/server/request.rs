//! What a handler sees of a request: its head, its content, and the connection it came on.

use std::any::Any;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use super::HttpServerParams;
use super::slot::Slot;
use crate::Result;
use crate::message::{HeaderMap, Request};
use crate::net::Pace;
#[cfg(feature = "_tls")]
use crate::net::tls::{Certificate, TlsStream};
use crate::session::{BodyReader, Detached, Timeouts};

/// A request that is being answered: the head by [`Deref`], the content by [`Read`] and [`BufRead`].
///
/// Content is read from the connection as the handler asks for it; a `100 Continue` that the client
/// waits for leaves before the first read that has to wait. What the handler leaves unread is
/// dropped behind the response, within a budget; where there is more, the connection closes.
///
/// ```
/// use std::io::Read;
/// use sessile::server::HttpServer;
///
/// let server = HttpServer::bind("127.0.0.1:0", |request, response| {
///     let mut text = String::new();
///     request.read_to_string(&mut text)?;
///     let answer = format!("{} {}: {} bytes", request.method(), request.path(), text.len());
///     response.send_buffer(answer.as_bytes())
/// })?;
/// # let _ = server;
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HTTPServerRequest")]
#[doc(alias = "HTTPServerRequestImpl")]
pub struct ServerRequest<'a> {
    pub(crate) head: &'a Request,
    pub(crate) body: BodyReader<'a>,
    pub(crate) data: &'a mut Option<Box<dyn Any + Send>>,
    pub(crate) about: &'a About<'a>,
    /// The handler has changed limits, which are to be restored for the next request.
    pub(crate) changed: bool,
    /// The connection was given up for another one, and its reading side ended by us.
    pub(crate) given_up: bool,
}

/// What does not change from request to request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) params: &'a HttpServerParams,
    pub(crate) client: Option<SocketAddr>,
    pub(crate) secure: bool,
    pub(crate) slot: &'a Slot,
}

impl<'a> ServerRequest<'a> {
    /// The head of the request; also by [`Deref`].
    pub fn head(&self) -> &'a Request {
        self.head
    }

    /// The content of the request. Reading the request itself is the same.
    #[doc(alias = "stream")]
    pub fn body(&mut self) -> &mut BodyReader<'a> {
        &mut self.body
    }

    /// The trailer fields of the request, once its content was read to its end.
    #[doc(alias = "requestTrailer")]
    pub fn trailers(&self) -> &HeaderMap {
        self.body.trailers()
    }

    /// The address of the client; `None` on a Unix socket.
    #[doc(alias = "clientAddress")]
    pub fn client_address(&self) -> Option<SocketAddr> {
        self.about.client
    }

    /// The address that the client connected to; `None` on a Unix socket, and once the
    /// connection is [detached](Self::detach).
    #[doc(alias = "serverAddress")]
    pub fn server_address(&self) -> Option<SocketAddr> {
        self.body.of_stream(|stream| stream.local_addr()).flatten()
    }

    /// What the server obeys.
    #[doc(alias = "serverParams")]
    pub fn params(&self) -> &'a HttpServerParams {
        self.about.params
    }

    /// Whether the connection is under TLS.
    #[doc(alias = "secure")]
    pub fn is_secure(&self) -> bool {
        self.about.secure
    }

    /// The certificate that the client has shown and that was found valid, where the server's
    /// [`TlsContext`](crate::tls::TlsContext) asks for one. `None` once the connection is
    /// [detached](Self::detach).
    #[doc(alias = "clientCertificate")]
    #[doc(alias = "peerCertificate")]
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn client_certificate(&self) -> Option<Certificate> {
        self.with_tls(TlsStream::peer_certificate).flatten()
    }

    /// Looks at the TLS of the connection, if there is any: the version, the name that was asked
    /// for, the client's chain.
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn with_tls<T>(&self, look: impl FnOnce(&TlsStream) -> T) -> Option<T> {
        self.body.of_stream(|stream| stream.tls().map(look)).flatten()
    }

    /// What was attached to this connection by a handler of an earlier request on it.
    #[doc(alias = "sessionData")]
    pub fn session_data(&self) -> Option<&(dyn Any + Send)> {
        self.data.as_deref()
    }

    /// The same, to be changed.
    #[doc(alias = "sessionData")]
    pub fn session_data_mut(&mut self) -> Option<&mut (dyn Any + Send)> {
        self.data.as_deref_mut()
    }

    /// Attaches any value to the connection: the next request on it finds it there.
    #[doc(alias = "attachSessionData")]
    pub fn attach_session_data(&mut self, data: impl Any + Send) {
        *self.data = Some(Box::new(data));
    }

    /// Whether the client has closed its side of the connection, so that work for it may be in vain.
    /// Looks without waiting. A client that only half-closes, and still reads, looks the same; one
    /// whose bytes were not read yet does not look closed, nor does one whose connection the server ends behind
    /// this response to make room for another.
    pub fn peer_closed(&mut self) -> bool {
        !self.given_up && self.body.peer_closed()
    }

    /// How long calls of this exchange may take.
    pub fn timeouts(&self) -> Timeouts {
        self.body.timeouts()
    }

    /// Changes how long calls of this exchange may take, for a stream of events or a long upload.
    /// `total` counts from now. The next request has the server's limits again.
    #[doc(alias = "setTimeout")]
    pub fn set_timeouts(&mut self, timeouts: Timeouts) {
        self.changed = true;
        self.body.set_timeouts(timeouts);
    }

    /// Changes how fast the client must send the rest of this request and take the response: so
    /// many bytes a second, averaged over the time spent waiting from now on, after a grace. 0 is no limit. The
    /// next request has the server's limits again.
    pub fn set_min_rate(&mut self, bytes_per_second: u64, grace: Duration) {
        self.changed = true;
        self.body.set_pace((bytes_per_second > 0).then_some(Pace { grace, bytes_per_second }));
    }

    /// Takes the connection over, for another protocol: behind a `101`, or in a tunnel behind a
    /// 2xx to `CONNECT`. What was written goes out first; what was read of the connection and
    /// belongs to nobody yet comes along. The request has no content from then on, and no response can be sent.
    /// `IllegalState` the second time.
    ///
    /// The handler may keep it and return, giving it to another thread: it then takes none
    /// of the server's threads, and a stop of the server leaves it alone. As long as the handler
    /// runs, a stop that aborts ends it.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use sessile::message::StatusCode;
    /// use sessile::server::HttpServer;
    ///
    /// let server = HttpServer::bind("127.0.0.1:0", |request, response| {
    ///     response.set_status(StatusCode::SWITCHING_PROTOCOLS);
    ///     response.headers_mut().set("Connection", "Upgrade")?;
    ///     response.headers_mut().set("Upgrade", "echo")?;
    ///     response.send()?;
    ///     let mut raw = request.detach()?;
    ///     let mut block = [0; 1024];
    ///     loop {
    ///         match raw.read(&mut block)? {
    ///             0 => return Ok(()),
    ///             n => raw.write_all(&block[..n])?,
    ///         }
    ///     }
    /// })?;
    /// # let _ = server;
    /// # Ok::<(), sessile::Error>(())
    /// ```
    #[doc(alias = "detachSocket")]
    #[doc(alias = "socket")]
    pub fn detach(&mut self) -> Result<Detached> {
        let detached = self.body.detach()?;
        self.about.slot.hand_over(detached.abort_handle());
        Ok(detached)
    }
}

impl Deref for ServerRequest<'_> {
    type Target = Request;

    fn deref(&self) -> &Request {
        self.head
    }
}

impl Read for ServerRequest<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.body.read(into)
    }
}

impl BufRead for ServerRequest<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.body.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.body.consume(n);
    }
}

impl fmt::Debug for ServerRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerRequest")
            .field("head", &self.head)
            .field("client_address", &self.client_address())
            .finish_non_exhaustive()
    }
}
