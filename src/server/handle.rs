//! Stopping a server and counting what it does, from any thread.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::HttpServerParams;
use super::core::Core;
use super::handler::Handler;
use super::serve;

/// A handle on a server, for any thread: a handler's, one that waits for signals, one that looks
/// at numbers. Copies are the same handle. A handle does not keep a server running.
///
/// All three ways to stop work before the server runs, while it does, and more than once; none can be
/// undone. A connection that the system has accepted before the stop is still served: nobody
/// who was let in is turned away.
///
/// | | new connections | idle connections | running requests | returns |
/// | --- | --- | --- | --- | --- |
/// | [`stop`](Self::stop) | none | end when they time out | are finished | at once |
/// | [`stop_all(false)`](Self::stop_all) | none | end | are finished | when they are |
/// | [`stop_all(true)`](Self::stop_all) | none | end | are cut off | at once |
/// | [`shutdown(drain)`](Self::shutdown) | none | end | have `drain` to finish | when all is over |
#[derive(Clone)]
pub struct ServerHandle {
    pub(crate) core: Arc<Core>,
}

/// What a [`shutdown`](ServerHandle::shutdown) found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Requests that were answered since it began.
    pub finished: usize,
    /// Connections that were cut off, because they were not done in time.
    pub aborted: usize,
    /// Idle connections that were ended.
    pub idle: usize,
    /// How long it took.
    pub elapsed: Duration,
}

/// How long connections that were cut off have to be gone.
const AFTER_ABORT: Duration = Duration::from_millis(500);

impl ServerHandle {
    /// Accepts no more connections than those that the system has accepted already. Those that are
    /// being served go on, and close with their next response. Returns at once.
    pub fn stop(&self) {
        self.core.stop();
    }

    /// Stops, and ends all connections: idle ones at once; running requests are finished, and waited for without
    /// limit, or cut off if `abort_current`. Then the handlers go on until they touch their connection,
    /// and are not waited for.
    ///
    /// A handler that calls it does not wait for its own request.
    #[doc(alias = "stopAll")]
    pub fn stop_all(&self, abort_current: bool) {
        self.core.stop();
        if let Handler::Factory(factory) = &self.core.handler {
            factory.server_stopped(abort_current);
        }
        let own = self.own();
        if abort_current {
            self.core.dispatcher.abort(own.as_ref());
        } else {
            self.core.dispatcher.drain(None, own.is_some());
        }
    }

    /// Stops, ends idle connections, lets running requests finish for at most `drain`, cuts off
    /// what is left, and says what became of it all. Responses that are sent meanwhile close their connection.
    ///
    /// A handler that calls it does not wait for its own request.
    pub fn shutdown(&self, drain: Duration) -> ShutdownReport {
        let begun = Instant::now();
        let dispatcher = &self.core.dispatcher;
        let (finished, idle) = (dispatcher.finished(), dispatcher.ended_idle());
        self.core.stop();
        let own = self.own();
        let mut aborted = 0;
        if !dispatcher.drain(begun.checked_add(drain), own.is_some()) {
            aborted = dispatcher.abort(own.as_ref());
            dispatcher.force(Instant::now().checked_add(AFTER_ABORT), own.is_some());
        }
        let report = ShutdownReport {
            finished: dispatcher.finished() - finished,
            aborted,
            idle: dispatcher.ended_idle() - idle,
            elapsed: begun.elapsed(),
        };
        log::debug!("shut down: {report:?}");
        report
    }

    /// The slot of the calling thread, if it serves this server.
    fn own(&self) -> Option<Arc<super::slot::Slot>> {
        serve::own().filter(|slot| self.core.dispatcher.has(slot))
    }

    /// Whether the server was told to stop.
    pub fn is_stopped(&self) -> bool {
        self.core.dispatcher.is_stopping()
    }

    /// What the server obeys.
    pub fn params(&self) -> &HttpServerParams {
        &self.core.params
    }

    /// Threads that serve connections, or wait for one.
    #[doc(alias = "currentThreads")]
    pub fn current_threads(&self) -> usize {
        self.core.dispatcher.numbers().threads
    }

    /// Threads that serve connections, at most.
    #[doc(alias = "maxThreads")]
    pub fn max_threads(&self) -> usize {
        self.core.params.max_threads()
    }

    /// Connections that were accepted so far, those that were refused included.
    #[doc(alias = "totalConnections")]
    pub fn total_connections(&self) -> u64 {
        self.core.dispatcher.numbers().total
    }

    /// Connections that have a thread now.
    #[doc(alias = "currentConnections")]
    pub fn current_connections(&self) -> usize {
        self.core.dispatcher.numbers().serving
    }

    /// The most connections that had a thread at the same time.
    #[doc(alias = "maxConcurrentConnections")]
    pub fn max_concurrent_connections(&self) -> usize {
        self.core.dispatcher.numbers().most_serving
    }

    /// Connections that wait for a thread now.
    #[doc(alias = "queuedConnections")]
    pub fn queued_connections(&self) -> usize {
        self.core.dispatcher.numbers().queued
    }

    /// Connections for which there was no room so far.
    #[doc(alias = "refusedConnections")]
    pub fn refused_connections(&self) -> u64 {
        self.core.dispatcher.numbers().refused
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.core.dispatcher.numbers();
        f.debug_struct("ServerHandle")
            .field("stopped", &self.is_stopped())
            .field("current_connections", &numbers.serving)
            .field("current_threads", &numbers.threads)
            .finish_non_exhaustive()
    }
}
