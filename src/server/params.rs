//! What a server obeys. Values only; the defaults are what a server on the open internet needs.
//!
//! Everything that bounds a peer is on by default, has a name, and a reason beside it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::Limits;
use crate::session::{ServerSessionParams, Timeouts};

/// The parameters of an [`HttpServer`](super::HttpServer): threads, queue, limits of time and size.
///
/// ```
/// use std::time::Duration;
/// use sessile::server::HttpServerParams;
///
/// let params = HttpServerParams::new()
///     .with_max_threads(64)
///     .with_keep_alive_timeout(Duration::from_secs(5))
///     .with_max_content(10 << 20)
///     .with_software_version("example/1.0");
/// assert_eq!(params.max_threads(), 64);
/// assert_eq!(params.timeout(), Duration::from_secs(60));
/// ```
#[derive(Debug, Clone)]
#[doc(alias = "HTTPServerParams")]
#[doc(alias = "TCPServerParams")]
pub struct HttpServerParams {
    session: ServerSessionParams,
    max_threads: usize,
    max_queued: usize,
    thread_idle_time: Duration,
    stack_size: Option<usize>,
    server_name: String,
    max_refusals: usize,
    retry_after: Duration,
    patience: Duration,
    serves_connect: bool,
    answers_options: bool,
}

impl HttpServerParams {
    /// The defaults.
    pub fn new() -> HttpServerParams {
        HttpServerParams {
            session: ServerSessionParams { max_content: 1 << 30, ..ServerSessionParams::default() },
            max_threads: 1024,
            max_queued: 1024,
            thread_idle_time: Duration::from_secs(10),
            stack_size: None,
            server_name: String::new(),
            max_refusals: 256,
            retry_after: Duration::from_secs(1),
            patience: Duration::from_millis(20),
            serves_connect: false,
            answers_options: true,
        }
    }

    /// Threads that serve connections, at most. 1,024 (Poco: those of a pool, 16): a thread costs
    /// little while it waits, and each connection that is being served has one. At least 1.
    #[doc(alias = "setMaxThreads")]
    #[must_use]
    pub fn with_max_threads(self, threads: usize) -> Self {
        HttpServerParams { max_threads: threads.max(1), ..self }
    }

    /// Threads that serve connections, at most.
    #[doc(alias = "getMaxThreads")]
    pub fn max_threads(&self) -> usize {
        self.max_threads
    }

    /// Accepted connections that may wait for a thread. 1,024 (Poco: 64). Past it the one that has
    /// waited for longest without a word is ended for the new one; where all of them have sent
    /// requests, the new one is refused with `503`. With 0 only a connection is served for which there is a thread, or
    /// one can be started or taken from an idle connection.
    #[doc(alias = "setMaxQueued")]
    #[must_use]
    pub fn with_max_queued(self, connections: usize) -> Self {
        HttpServerParams { max_queued: connections, ..self }
    }

    /// Accepted connections that may wait for a thread.
    #[doc(alias = "getMaxQueued")]
    pub fn max_queued(&self) -> usize {
        self.max_queued
    }

    /// How long a thread without a connection waits for one before it ends. 10 s, as Poco.
    #[doc(alias = "setThreadIdleTime")]
    #[must_use]
    pub fn with_thread_idle_time(self, time: Duration) -> Self {
        HttpServerParams { thread_idle_time: time, ..self }
    }

    /// How long a thread without a connection waits for one before it ends.
    #[doc(alias = "getThreadIdleTime")]
    pub fn thread_idle_time(&self) -> Duration {
        self.thread_idle_time
    }

    /// The stack of a connection's thread, in bytes; `None` is what the standard library takes
    /// (2 MiB). A small one saves up to 4 KiB of page tables for each thread; a handler that overflows it
    /// aborts the whole process.
    #[must_use]
    pub fn with_stack_size(self, bytes: Option<usize>) -> Self {
        HttpServerParams { stack_size: bytes, ..self }
    }

    /// The stack of a connection's thread.
    pub fn stack_size(&self) -> Option<usize> {
        self.stack_size
    }

    /// The server's name and port, for handlers that make absolute URIs. The server itself does
    /// not use it.
    #[doc(alias = "setServerName")]
    #[must_use]
    pub fn with_server_name(self, name: impl Into<String>) -> Self {
        HttpServerParams { server_name: name.into(), ..self }
    }

    /// The server's name and port; empty unless set.
    #[doc(alias = "getServerName")]
    pub fn server_name(&self) -> &str {
        &self.server_name
    }

    /// What responses say in `Server`, unless they say it themselves. Empty (the default): nothing.
    #[doc(alias = "setSoftwareVersion")]
    #[must_use]
    pub fn with_software_version(mut self, software: &str) -> Self {
        self.session.software = (!software.is_empty()).then(|| Arc::from(software));
        self
    }

    /// What responses say in `Server`; empty unless set.
    #[doc(alias = "getSoftwareVersion")]
    pub fn software_version(&self) -> &str {
        self.session.software.as_deref().unwrap_or_default()
    }

    /// How long the first request of a connection may take to begin, and how long one read or
    /// write may make no progress at all. 60 s, as Poco; zero is no limit.
    #[doc(alias = "setTimeout")]
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.session.timeouts.send = timeout;
        self.session.timeouts.receive = timeout;
        self
    }

    /// How long the first request may take to begin, and a read to make progress.
    #[doc(alias = "getTimeout")]
    pub fn timeout(&self) -> Duration {
        self.session.timeouts.receive
    }

    /// The same limits one by one. `total` is for each exchange, from the end of the request's
    /// head on; `connect` means nothing here.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.session.timeouts = timeouts;
        self
    }

    /// How long reads and writes may stall, and an exchange take.
    pub fn timeouts(&self) -> Timeouts {
        self.session.timeouts
    }

    /// Whether a connection may serve several requests. On, as in Poco.
    #[doc(alias = "setKeepAlive")]
    #[must_use]
    pub fn with_keep_alive(mut self, keep_alive: bool) -> Self {
        self.session.keep_alive = keep_alive;
        self
    }

    /// Whether a connection may serve several requests.
    #[doc(alias = "getKeepAlive")]
    pub fn keep_alive(&self) -> bool {
        self.session.keep_alive
    }

    /// How long the next request on a persistent connection may take to begin. 15 s, as Poco.
    /// While no thread is free for a newer connection, it is less: the connection that was idle
    /// for longest is ended for it.
    #[doc(alias = "setKeepAliveTimeout")]
    #[must_use]
    pub fn with_keep_alive_timeout(mut self, timeout: Duration) -> Self {
        self.session.keep_alive_timeout = timeout;
        self
    }

    /// How long the next request on a persistent connection may take to begin.
    #[doc(alias = "getKeepAliveTimeout")]
    pub fn keep_alive_timeout(&self) -> Duration {
        self.session.keep_alive_timeout
    }

    /// Requests for each connection; 0 (the default, as in Poco) is no limit.
    #[doc(alias = "setMaxKeepAliveRequests")]
    #[must_use]
    pub fn with_max_keep_alive_requests(mut self, requests: u32) -> Self {
        self.session.max_keep_alive_requests = NonZeroU32::new(requests);
        self
    }

    /// Requests for each connection; 0 is no limit.
    #[doc(alias = "getMaxKeepAliveRequests")]
    pub fn max_keep_alive_requests(&self) -> u32 {
        self.session.max_keep_alive_requests.map_or(0, NonZeroU32::get)
    }

    /// How long a whole head may take from its first byte, however steadily it comes. 10 s (and no
    /// more than the [timeout](Self::with_timeout)): past it 408. A client that sends a byte a
    /// second to hold a thread does not get further.
    #[must_use]
    pub fn with_head_timeout(mut self, timeout: Duration) -> Self {
        self.session.head_timeout = timeout;
        self
    }

    /// How long a whole head may take from its first byte.
    pub fn head_timeout(&self) -> Duration {
        self.session.head_timeout
    }

    /// The least rate, in bytes a second averaged over the time spent waiting, at which a client
    /// must send content and take responses, after a grace. 240 after 5 s, as Kestrel and IIS: slower
    /// than a modem of the last century. 0 is no limit.
    #[must_use]
    pub fn with_min_rate(mut self, bytes_per_second: u64, grace: Duration) -> Self {
        self.session.min_rate = bytes_per_second;
        self.session.rate_grace = grace;
        self
    }

    /// The least rate at which a client must send content and take responses.
    pub fn min_rate(&self) -> u64 {
        self.session.min_rate
    }

    /// How long any rate will do.
    pub fn rate_grace(&self) -> Duration {
        self.session.rate_grace
    }

    /// Largest content of a request. 1 GiB: content is streamed, so this bounds a transfer and not
    /// memory. More is refused with 413, before any of it is read where its length is known.
    #[must_use]
    pub fn with_max_content(mut self, bytes: u64) -> Self {
        self.session.max_content = bytes;
        self
    }

    /// Largest content of a request.
    pub fn max_content(&self) -> u64 {
        self.session.max_content
    }

    /// Limits on the start-line, the head, fields, chunk extensions and trailers, answered with
    /// 414, 431 and 400.
    #[doc(alias = "setFieldLimit")]
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.session.limits = limits;
        self
    }

    /// Limits on heads, chunks and trailers.
    pub fn limits(&self) -> &Limits {
        &self.session.limits
    }

    /// How much content that a handler left unread is read and dropped, and for how long, so that
    /// the connection can serve the next request. 256 KiB (as Go) within a second; where there
    /// is more, the connection is closed behind the response.
    #[must_use]
    pub fn with_drain(mut self, bytes: u64, time: Duration) -> Self {
        self.session.drain = bytes;
        self.session.drain_time = time;
        self
    }

    /// How much unread content is dropped.
    pub fn drain(&self) -> u64 {
        self.session.drain
    }

    /// For how long unread content is dropped, and how long a closed connection lingers.
    pub fn drain_time(&self) -> Duration {
        self.session.drain_time
    }

    /// Connections that are being refused at the same time. 256: each gets a `503` and a
    /// second to read it. Past it a connection is closed without a word.
    #[must_use]
    pub fn with_max_refusals(self, connections: usize) -> Self {
        HttpServerParams { max_refusals: connections, ..self }
    }

    /// Connections that are being refused at the same time.
    pub fn max_refusals(&self) -> usize {
        self.max_refusals
    }

    /// What a `503` says in `Retry-After`. 1 s.
    #[must_use]
    pub fn with_retry_after(self, time: Duration) -> Self {
        HttpServerParams { retry_after: time, ..self }
    }

    /// What a `503` says in `Retry-After`.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// How long a new connection may be silent on its thread before it counts as idle, and may be
    /// ended for another one that waits. 20 ms: a request follows its connection at once, but not in
    /// the same microsecond.
    #[must_use]
    pub fn with_patience(self, time: Duration) -> Self {
        HttpServerParams { patience: time, ..self }
    }

    /// How long a new connection may be silent before it counts as idle.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether `CONNECT` goes to the handler. Off: it is answered with 501, as origin servers do
    /// (RFC 9110, 9.3.6), because a 2xx to it makes a tunnel of the connection.
    #[must_use]
    pub fn with_connect(self, serves: bool) -> Self {
        HttpServerParams { serves_connect: serves, ..self }
    }

    /// Whether `CONNECT` goes to the handler.
    pub fn serves_connect(&self) -> bool {
        self.serves_connect
    }

    /// Whether the server itself answers `OPTIONS *`, which asks about the server and not about a
    /// resource. On: with 200 and no content.
    #[must_use]
    pub fn with_options_answered(self, answers: bool) -> Self {
        HttpServerParams { answers_options: answers, ..self }
    }

    /// Whether the server itself answers `OPTIONS *`.
    pub fn answers_options(&self) -> bool {
        self.answers_options
    }

    /// The part that each connection's session obeys.
    pub fn session_params(&self) -> &ServerSessionParams {
        &self.session
    }
}

impl Default for HttpServerParams {
    fn default() -> HttpServerParams {
        HttpServerParams::new()
    }
}
