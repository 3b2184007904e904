//! The server as its user holds it: made, given listeners, run.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use super::core::Core;
use super::dispatcher::Job;
use super::handler::{Closure, Handler};
use super::serve::{self, Memory};
use super::slot::Slot;
use super::{
    Exchange, HttpServerParams, Observer, RequestHandler, RequestHandlerFactory, ServerHandle, ServerRequest,
    ServerResponse,
};
#[cfg(feature = "_tls")]
use crate::net::tls::TlsContext;
use crate::net::{Listener, Stream};
use crate::{Error, Result};

/// A server: one thread for each connection that is being served.
///
/// ```
/// use std::io::Read;
/// use sessile::message::{Request, Response};
/// use sessile::server::HttpServer;
/// use sessile::session::{ClientSession, HttpClientSession};
///
/// let mut server = HttpServer::bind("127.0.0.1:0", |request, response| {
///     response.set_content_type("text/plain");
///     response.send_buffer(format!("You asked for {}\n", request.path()).as_bytes())
/// })?;
/// let port = server.port();
/// let handle = server.handle();
/// let running = std::thread::spawn(move || server.run());
///
/// let mut session = HttpClientSession::new("127.0.0.1", port);
/// session.send_request(&Request::get("/tea"))?;
/// let mut response = Response::new();
/// let mut text = String::new();
/// session.receive_response(&mut response)?.read_to_string(&mut text)?;
/// assert_eq!(text, "You asked for /tea\n");
///
/// handle.shutdown(std::time::Duration::from_secs(10));
/// running.join().unwrap()?;
/// # Ok::<(), sessile::Error>(())
/// ```
///
/// Dropping a server that was started stops it, as [`ServerHandle::stop`] does, and ends its idle
/// connections; requests that are being answered are finished in the background. Dropping one that
/// was not closes its listeners.
#[doc(alias = "HTTPServer")]
#[doc(alias = "TCPServer")]
pub struct HttpServer {
    core: Arc<Core>,
    addresses: Vec<SocketAddr>,
    started: bool,
}

/// Listens on the first of the addresses that can be listened on.
fn listener(address: impl ToSocketAddrs) -> Result<Listener> {
    let mut failure = None;
    for address in address.to_socket_addrs()? {
        match Listener::bind(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => {
                failure = Some(
                    Error::new(crate::ErrorKind::Io, format!("can't listen on {address}: {error}"))
                        .with_source(error),
                );
            }
        }
    }
    Err(failure.unwrap_or_else(|| Error::invalid_argument("there is no address to listen on")))
}

impl HttpServer {
    /// Listens on an address, with the default parameters, and has requests answered by a closure.
    /// The first address that can be listened on is taken, where the text stands for several.
    ///
    /// Connections are accepted by the system from now on, and served once the server
    /// [runs](Self::run).
    pub fn bind<F>(address: impl ToSocketAddrs, handler: F) -> Result<HttpServer>
    where
        F: Fn(&mut ServerRequest<'_>, &mut ServerResponse<'_>) -> Result<()> + Send + Sync + 'static,
    {
        HttpServer::new(HttpServerParams::new(), handler).listen(address)
    }

    /// The same with parameters.
    pub fn bind_with<F>(
        address: impl ToSocketAddrs,
        params: HttpServerParams,
        handler: F,
    ) -> Result<HttpServer>
    where
        F: Fn(&mut ServerRequest<'_>, &mut ServerResponse<'_>) -> Result<()> + Send + Sync + 'static,
    {
        HttpServer::new(params, handler).listen(address)
    }

    /// On a listener that was made elsewhere.
    pub fn with_listener<F>(listener: Listener, params: HttpServerParams, handler: F) -> HttpServer
    where
        F: Fn(&mut ServerRequest<'_>, &mut ServerResponse<'_>) -> Result<()> + Send + Sync + 'static,
    {
        HttpServer::new(params, handler).add_listener(listener)
    }

    /// Without a listener yet: give it some by [`listen`](Self::listen) or
    /// [`add_listener`](Self::add_listener).
    pub fn new<F>(params: HttpServerParams, handler: F) -> HttpServer
    where
        F: Fn(&mut ServerRequest<'_>, &mut ServerResponse<'_>) -> Result<()> + Send + Sync + 'static,
    {
        HttpServer::over(params, Handler::One(Box::new(Closure(handler))))
    }

    /// With a handler that is not a closure.
    pub fn with_handler(params: HttpServerParams, handler: impl RequestHandler + 'static) -> HttpServer {
        HttpServer::over(params, Handler::One(Box::new(handler)))
    }

    /// With a factory, which makes a handler for each request.
    pub fn with_factory(
        params: HttpServerParams,
        factory: impl RequestHandlerFactory + 'static,
    ) -> HttpServer {
        HttpServer::over(params, Handler::Factory(Box::new(factory)))
    }

    fn over(params: HttpServerParams, handler: Handler) -> HttpServer {
        HttpServer { core: Arc::new(Core::new(params, handler)), addresses: Vec::new(), started: false }
    }

    /// Listens on this address too: on the first one that can be listened on, where the text stands
    /// for several.
    pub fn listen(self, address: impl ToSocketAddrs) -> Result<HttpServer> {
        Ok(self.add_listener(listener(address)?))
    }

    /// Listens on this address too, for `https`: connections speak TLS with the settings of this
    /// server's context. They can be [reloaded](TlsContext::reload) while the server runs.
    ///
    /// The handshake is made on the connection's own thread, within the context's
    /// [time for it](crate::tls::TlsServerBuilder::handshake_timeout).
    ///
    /// ```no_run
    /// use sessile::server::{HttpServer, HttpServerParams};
    /// use sessile::tls::TlsContext;
    ///
    /// let context = TlsContext::server().certificate_files("chain.pem", "key.pem").build()?;
    /// let mut server = HttpServer::new(HttpServerParams::new(), |request, response| {
    ///     response.send_buffer(format!("secure: {}\n", request.is_secure()).as_bytes())
    /// })
    /// .listen_tls("0.0.0.0:443", &context)?;
    /// server.run()
    /// # ;
    /// # Ok::<(), sessile::Error>(())
    /// ```
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn listen_tls(self, address: impl ToSocketAddrs, context: &TlsContext) -> Result<HttpServer> {
        let listener = listener(address)?.with_tls(context.clone())?;
        Ok(self.add_listener(listener))
    }

    /// Listens here too. There may be several: TCP by IPv4 and IPv6, Unix sockets, some of them
    /// inherited.
    #[must_use]
    pub fn add_listener(mut self, listener: Listener) -> HttpServer {
        self.addresses.extend(listener.local_addr());
        self.core.listeners().push(Arc::new(listener));
        self
    }

    /// Has connections looked at when they were accepted; those for which the filter says `false`
    /// are closed at once. The filter runs on the thread that accepts, so it must not wait; where it
    /// panics, the connection is closed.
    /// `IllegalState` once the server has started, or if there is a filter already.
    #[doc(alias = "setConnectionFilter")]
    pub fn set_connection_filter(
        &mut self,
        filter: impl Fn(&Stream, Option<SocketAddr>) -> bool + Send + Sync + 'static,
    ) -> Result<()> {
        self.set_once(&self.core.filter, Box::new(filter))
    }

    /// Has somebody told what happens in the server. `IllegalState` once the server has started, or if
    /// there is an observer already.
    pub fn set_observer(&mut self, observer: impl Observer + 'static) -> Result<()> {
        self.set_once(&self.core.observer, Box::new(observer))
    }

    /// Has something done for each request that was answered: the text of an exchange is a line of an access
    /// log. `IllegalState` once the server has started, or if there is an access log already.
    ///
    /// ```
    /// use sessile::server::HttpServer;
    ///
    /// let mut server = HttpServer::bind("127.0.0.1:0", |_, response| response.send_buffer(b"hi"))?;
    /// server.set_access_log(|exchange| println!("{exchange}"))?;
    /// # Ok::<(), sessile::Error>(())
    /// ```
    pub fn set_access_log(&mut self, log: impl Fn(&Exchange<'_>) + Send + Sync + 'static) -> Result<()> {
        self.set_once(&self.core.access_log, Box::new(log))
    }

    fn set_once<T>(&self, place: &OnceLock<T>, value: T) -> Result<()> {
        if self.started {
            return Err(Error::illegal_state("the server has started already"));
        }
        place.set(value).map_err(|_| Error::illegal_state("that was set already"))
    }

    /// Serves until the server is stopped by its [handle](Self::handle), then until the last
    /// connection has ended, and returns. The listeners are closed by then. `IllegalState` the
    /// second time, or without a listener.
    pub fn run(&mut self) -> Result<()> {
        let own = self.begin()?;
        let core = self.core.clone();
        core.accept(own);
        self.wait();
        Ok(())
    }

    /// The same in the background: returns at once.
    pub fn start(&mut self) -> Result<()> {
        let own = self.begin()?;
        self.accept_elsewhere(own).inspect_err(|_| {
            self.core.dispatcher.close();
            self.core.stop();
        })
    }

    /// Waits until a server that was started is stopped, and its last connection has ended.
    pub fn wait(&self) {
        if !self.started {
            return;
        }
        self.core.dispatcher.wait_for_threads();
        if let Some(until) = Instant::now().checked_add(self.core.params.drain_time()) {
            self.core.doorman.wait(until);
        }
    }

    /// Starts acceptors for all listeners but one, which is returned.
    fn begin(&mut self) -> Result<Arc<Listener>> {
        if self.started {
            return Err(Error::illegal_state("the server has run already"));
        }
        let mut listeners = self.core.listeners().clone();
        let Some(own) = listeners.pop() else {
            return Err(Error::illegal_state("there is no listener: call listen() or add_listener() first"));
        };
        self.started = true;
        let _ = self.core.name.set(match (self.addresses.first(), own_path(&own)) {
            (Some(address), _) => format!(":{}", address.port()),
            (None, Some(path)) => path,
            (None, None) => String::from("sessile"),
        });
        for _ in 0..=listeners.len() {
            self.core.dispatcher.open();
        }
        // Listeners that came behind a stop were not told.
        if self.core.dispatcher.is_stopping() {
            self.core.stop();
        }
        for (at, listener) in listeners.into_iter().enumerate() {
            if let Err(error) = self.accept_elsewhere(listener) {
                // What was begun ends again.
                let left = self.core.listeners().len().saturating_sub(at + 1);
                (0..=left).for_each(|_| self.core.dispatcher.close());
                self.core.stop();
                return Err(error);
            }
        }
        Ok(own)
    }

    fn accept_elsewhere(&self, listener: Arc<Listener>) -> Result<()> {
        let core = self.core.clone();
        thread::Builder::new()
            .name(format!("{} accept", core.name()))
            .spawn(move || core.accept(listener))
            .map(drop)
            .map_err(Error::from)
    }

    /// Serves one connection on this thread, until it ends: for connections that come from
    /// elsewhere, and for tests over [`pair`](crate::net::pair). It does not count among the
    /// server's connections.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use sessile::net::{Stream, pair};
    /// use sessile::server::{HttpServer, HttpServerParams};
    ///
    /// let server = HttpServer::new(HttpServerParams::new(), |_, response| response.send_buffer(b"hi"));
    /// let (near, mut client) = pair();
    /// client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    /// server.serve(Stream::custom(near));
    /// let mut answer = String::new();
    /// client.read_to_string(&mut answer)?;
    /// assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhi"));
    /// # Ok::<(), sessile::Error>(())
    /// ```
    pub fn serve(&self, stream: Stream) {
        let client = stream.peer_addr();
        let job = Job { stream, client, since: self.core.dispatcher.now(), number: 0 };
        let slot = Slot::new();
        let leaving = serve::serve(&self.core, &slot, job, &mut Memory::default());
        if slot.disconnect() {
            self.core.dispatcher.break_promise();
        }
        if let Some(stream) = leaving {
            self.core.doorman.see_off(stream, None);
        }
    }

    /// A handle to stop the server and to look at its numbers, from any thread.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { core: self.core.clone() }
    }

    /// Stops accepting connections: see [`ServerHandle::stop`].
    pub fn stop(&self) {
        self.handle().stop();
    }

    /// Stops accepting connections and ends those there are: see [`ServerHandle::stop_all`].
    #[doc(alias = "stopAll")]
    pub fn stop_all(&self, abort_current: bool) {
        self.handle().stop_all(abort_current);
    }

    /// What the server obeys.
    pub fn params(&self) -> &HttpServerParams {
        &self.core.params
    }

    /// The address of the first TCP listener, with the port that the system chose.
    #[doc(alias = "socket")]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.addresses.first().copied()
    }

    /// The addresses of all TCP listeners.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The port of the first TCP listener; 0 without one.
    pub fn port(&self) -> u16 {
        self.local_addr().map_or(0, |address| address.port())
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if self.started {
            self.core.stop();
            self.core.dispatcher.drain(Some(Instant::now()), false);
        } else {
            // Handles may live on, and nobody will accept.
            self.core.listeners().clear();
        }
    }
}

fn own_path(listener: &Listener) -> Option<String> {
    #[cfg(unix)]
    return listener.path().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    #[cfg(not(unix))]
    {
        let _ = listener;
        None
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpServer")
            .field("addresses", &self.addresses)
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}
