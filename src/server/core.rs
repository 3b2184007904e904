//! What all threads of a server share, and the loop of each kind of thread.
//!
//! Acceptors accept, and nothing else: what a connection has to say is read on its own thread.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use super::dispatcher::{Bounds, Dispatcher, Job};
use super::doorman::Doorman;
use super::handler::Handler;
use super::observer::{AccessLog, Observer};
use super::params::HttpServerParams;
use super::serve::{self, Memory};
use super::slot::Slot;
use crate::message::{Response, StatusCode};
use crate::net::{Listener, Stream, is_short_of_descriptors};
use crate::proto;
use crate::session::{ServerSessionParams, http_date};

/// Whether to serve a connection at all.
pub(crate) type Filter = Box<dyn Fn(&Stream, Option<SocketAddr>) -> bool + Send + Sync>;

pub(crate) struct Core {
    pub(crate) params: HttpServerParams,
    /// Those of every session.
    pub(crate) session_params: Arc<ServerSessionParams>,
    pub(crate) handler: Handler,
    pub(crate) filter: OnceLock<Filter>,
    pub(crate) observer: OnceLock<Box<dyn Observer>>,
    pub(crate) access_log: OnceLock<AccessLog>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) doorman: Arc<Doorman>,
    /// Those that are listening.
    pub(crate) listeners: Mutex<Vec<Arc<Listener>>>,
    /// What threads are named after.
    pub(crate) name: OnceLock<String>,
}

/// How long the client's side of a handshake may take that has begun before a stop.
const HANDSHAKE: Duration = Duration::from_millis(20);

/// How long an acceptor pauses when the system can't give it a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

impl Core {
    pub(crate) fn new(params: HttpServerParams, handler: Handler) -> Core {
        let dispatcher = Dispatcher::new(Bounds {
            max_threads: params.max_threads(),
            max_queued: params.max_queued(),
            thread_idle_time: params.thread_idle_time(),
            patience: params.patience(),
        });
        let doorman = Doorman::new(params.max_refusals(), params.drain_time());
        Core {
            session_params: Arc::new(params.session_params().clone()),
            params,
            handler,
            filter: OnceLock::new(),
            observer: OnceLock::new(),
            access_log: OnceLock::new(),
            dispatcher,
            doorman,
            listeners: Mutex::default(),
            name: OnceLock::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.name.get().map_or("sessile", String::as_str)
    }

    pub(crate) fn listeners(&self) -> MutexGuard<'_, Vec<Arc<Listener>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts connections until the server stops, then those that are left, and closes the listener.
    pub(crate) fn accept(self: &Arc<Self>, listener: Arc<Listener>) {
        let mut troubled = false;
        loop {
            match listener.accept() {
                Ok(Some((stream, client))) => {
                    troubled = false;
                    self.admit(stream, client);
                }
                Ok(None) => break,
                Err(error) => self.survive(&error, &mut troubled),
            }
        }
        // Whoever was let in before the stop is served; a handshake that is going on may end.
        listener.shut_door();
        self.accept_rest(&listener, &mut troubled);
        thread::sleep(HANDSHAKE);
        self.accept_rest(&listener, &mut troubled);
        self.listeners().retain(|known| !Arc::ptr_eq(known, &listener));
        if let Some(Err(error)) = Arc::into_inner(listener).map(Listener::close) {
            log::warn!("a listener could not be closed: {error}");
        }
        self.dispatcher.close();
    }

    /// Accepts what waits to be accepted.
    fn accept_rest(self: &Arc<Self>, listener: &Listener, troubled: &mut bool) {
        loop {
            match listener.accept_nowait() {
                Ok(Some((stream, client))) => self.admit(stream, client),
                Ok(None) => return,
                Err(error) if is_about_one_connection(&error) => {}
                // Connections end meanwhile, and give their descriptors back.
                Err(error) if is_short_of_descriptors(&error) && self.dispatcher.numbers().serving > 0 => {
                    self.survive(&error, troubled);
                }
                Err(error) => {
                    log::warn!("connections that wait can't be accepted: {error}");
                    return;
                }
            }
        }
    }

    /// No error ends the acceptor. Those of one connection are no reason to pause, all others are.
    fn survive(&self, error: &io::Error, troubled: &mut bool) {
        if is_about_one_connection(error) {
            return;
        }
        if !*troubled {
            log::warn!("no connection can be accepted: {error}");
            *troubled = true;
        }
        if is_short_of_descriptors(error) {
            self.dispatcher.free_descriptor();
        }
        self.dispatcher.wait_for_change(ACCEPT_PAUSE);
    }

    /// Whatever panics in what its users have put into the server, it goes on accepting.
    fn admit(self: &Arc<Self>, stream: Stream, client: Option<SocketAddr>) {
        if catch_unwind(AssertUnwindSafe(|| self.let_in(stream, client))).is_err() {
            log::error!("the filter of connections, or an observer, panicked");
        }
    }

    fn let_in(self: &Arc<Self>, stream: Stream, client: Option<SocketAddr>) {
        if self.filter.get().is_some_and(|accepts| !accepts(&stream, client)) {
            log::debug!("a connection was filtered out");
            return;
        }
        let job = Job { stream, client, since: self.dispatcher.now(), number: 0 };
        for refused in self.dispatcher.admit(job, |slot| self.start_thread(slot)) {
            self.refuse(refused.stream);
            if let Some(observer) = self.observer.get() {
                observer.connection_refused(refused.client);
            }
        }
    }

    fn start_thread(self: &Arc<Self>, slot: &Arc<Slot>) -> io::Result<()> {
        let mut builder = thread::Builder::new().name(format!("{} serve", self.name()));
        if let Some(size) = self.params.stack_size() {
            builder = builder.stack_size(size);
        }
        let (core, slot) = (self.clone(), slot.clone());
        builder.spawn(move || core.work(&slot)).map(drop)
    }

    /// Serves one connection after the other.
    fn work(self: &Arc<Self>, slot: &Arc<Slot>) {
        slot.settle_in();
        serve::set_own(slot);
        let mut memory = Memory::default();
        let mut next = slot.take_job();
        while let Some(job) = next {
            // Handlers' panics are caught closer to them; this is for our own.
            let served = catch_unwind(AssertUnwindSafe(|| serve::serve(self, slot, job, &mut memory)));
            let taken = slot.disconnect();
            match served {
                Ok(leaving) => {
                    if let Some(stream) = leaving {
                        self.doorman.see_off(stream, None);
                    }
                }
                Err(_) => {
                    log::error!("a connection's thread panicked");
                    memory = Memory::default();
                }
            }
            next = self.dispatcher.next(slot, taken);
        }
    }

    /// Tells a client that there is no room for it. Under TLS nothing can be said without a handshake.
    fn refuse(&self, stream: Stream) {
        log::debug!("a connection was refused: all threads and places are taken");
        let words = (!stream.is_secure()).then(|| self.refusal());
        self.doorman.see_off(stream, words);
    }

    fn refusal(&self) -> Arc<[u8]> {
        let mut response = Response::with_status(StatusCode::SERVICE_UNAVAILABLE);
        response.set_content_length(0).set_keep_alive(false);
        let headers = response.headers_mut();
        let seconds = self.params.retry_after().as_secs().max(1);
        let software = self.params.software_version();
        let _ = headers.set("Date", http_date());
        let _ = headers.set("Retry-After", seconds.to_string());
        if !software.is_empty() {
            let _ = headers.set("Server", software);
        }
        let mut words = Vec::with_capacity(256);
        let _ = proto::write_response_head(&mut words, &response);
        words.into()
    }

    /// Has the acceptors end, without waiting for them.
    pub(crate) fn stop(&self) {
        self.dispatcher.stop();
        for listener in self.listeners().iter() {
            listener.stop_with(|| _ = self.dispatcher.free_descriptor());
        }
    }
}

/// The connection was gone before it was accepted.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("params", &self.params)
            .field("handler", &self.handler)
            .field("dispatcher", &self.dispatcher)
            .finish_non_exhaustive()
    }
}
