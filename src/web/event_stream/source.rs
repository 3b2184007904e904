//! A client of events that comes back (WHATWG HTML, section 9.2): it asks again when the
//! connection is lost, with the id of the last event it had.
//!
//! Owns when to ask again, and after how long. Asking is the user agent's, with its sessions,
//! redirects, cookies and credentials; what an event is, the reader's.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::{Event, EventReader, MEDIA_TYPE};
use crate::client::{AgentResponse, UserAgent};
use crate::message::{MediaType, Request, StatusCode, Uri};
use crate::net::{AbortHandle, Interrupt};
use crate::session::Timeouts;
use crate::{Error, ErrorKind, Result};

/// Events from a server, over as many connections as it takes.
///
/// The first call of [`next_event`](EventSource::next_event) asks the server. When the stream
/// ends or is lost, it waits for as long as the server said (`retry`), asks again with
/// `Last-Event-ID`, and goes on with what comes then. A stream on which nothing comes for the
/// receive time-out is lost: servers send comments to keep it, as
/// [`EventWriter::heartbeat`](super::EventWriter::heartbeat) does.
///
/// ```
/// use sessile::client::UserAgent;
/// use sessile::web::EventSource;
/// # use std::io::{Read, Write};
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let uri = format!("http://{}/temperatures", listener.local_addr()?);
/// # let server = std::thread::spawn(move || -> std::io::Result<()> {
/// #     let type_ = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
/// #     for answer in [&format!("{type_}retry: 1\nid: 7\ndata: 42\n\n"), "HTTP/1.1 204 Enough\r\n\r\n"] {
/// #         let (mut peer, _) = listener.accept()?;
/// #         let _ = peer.read(&mut [0; 1024])?;
/// #         peer.write_all(answer.as_bytes())?;
/// #     }
/// #     Ok(())
/// # });
///
/// let mut events = EventSource::new(&UserAgent::new(), &uri)?;
/// while let Some(event) = events.next_event()? {
///     println!("{} degrees", event.data());
/// }
/// assert_eq!(events.last_event_id(), "7");
/// # server.join().unwrap()?;
/// # Ok::<(), sessile::Error>(())
/// ```
pub struct EventSource {
    agent: UserAgent,
    uri: Uri,
    request: Request,
    timeouts: Timeouts,
    abort: AbortHandle,
    limit: Option<usize>,
    attempts: u32,
    stream: Option<EventReader<AgentResponse>>,
    last_id: String,
    retry: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The server was not asked yet.
    New,
    /// The next question must wait; so many in a row found no server.
    Lost { failures: u32 },
    /// The server wants no more questions.
    Over,
}

impl EventSource {
    /// Events from this URI, asked for by this agent.
    pub fn new<U>(agent: &UserAgent, uri: U) -> Result<EventSource>
    where
        U: TryInto<Uri>,
        U::Error: Into<Error>,
    {
        let mut request = Request::get("/");
        request.headers_mut().set("Accept", MEDIA_TYPE)?;
        request.headers_mut().set("Cache-Control", "no-store")?;
        Ok(EventSource {
            agent: agent.clone(),
            uri: uri.try_into().map_err(Into::into)?,
            request,
            timeouts: Timeouts::default(),
            abort: AbortHandle::new(),
            limit: None,
            attempts: ATTEMPTS,
            stream: None,
            last_id: String::new(),
            retry: RETRY,
            state: State::New,
        })
    }

    /// Adds a field to every request.
    pub fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<EventSource> {
        self.request.headers_mut().append(name, value)?;
        Ok(self)
    }

    /// Goes on behind the event with this id, which an earlier program had.
    #[must_use]
    pub fn with_last_event_id(mut self, id: impl Into<String>) -> EventSource {
        self.last_id = id.into();
        self
    }

    /// Sets how long to wait before asking again, until the server says otherwise: 3 s unless set.
    #[must_use]
    pub fn with_retry(mut self, retry: Duration) -> EventSource {
        self.retry = retry;
        self
    }

    /// Sets how many questions in a row may find no server before that is an error: 10 unless
    /// set. From one to the next the wait doubles, up to 30 s. The very first one is not repeated:
    /// a wrong address is told at once.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> EventSource {
        self.attempts = attempts;
        self
    }

    /// Sets how long connecting and silence may last: 60 s each unless set. A limit for the total
    /// would end every stream, and is left out.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> EventSource {
        self.timeouts = Timeouts { total: None, ..timeouts };
        self
    }

    /// Sets how many bytes a line, and the data of an event, may have: 1 MiB unless set.
    #[must_use]
    pub fn with_limit(mut self, bytes: usize) -> EventSource {
        self.limit = Some(bytes);
        self
    }

    /// The next event; blocks until there is one, over lost connections. `None` once the server
    /// has said that no more will come (204).
    ///
    /// An error is what asking again does not help against: an answer that is no stream of events
    /// ([`Status`](ErrorKind::Status), [`Unsupported`](ErrorKind::Unsupported)), an event beyond the
    /// limit, no server for too many [attempts](EventSource::with_attempts), an abort. Another call
    /// waits and asks again nevertheless, but after an abort.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        loop {
            self.abort.check()?;
            let Some(stream) = &mut self.stream else {
                if !self.ask()? {
                    return Ok(None);
                }
                continue;
            };
            let read = stream.next_event();
            self.last_id.clear();
            self.last_id.push_str(stream.last_event_id());
            self.retry = stream.retry().unwrap_or(self.retry);
            match read {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) => log::debug!("a stream of events has ended"),
                Err(error) if is_loss(&error) => log::debug!("a stream of events was lost: {error}"),
                Err(error) => {
                    self.stream = None;
                    return Err(error);
                }
            }
            self.stream = None;
        }
    }

    /// The id that is sent as `Last-Event-ID` when asking again; empty if there is none.
    pub fn last_event_id(&self) -> &str {
        &self.last_id
    }

    /// How long it waits before it asks again.
    pub fn retry(&self) -> Duration {
        self.retry
    }

    /// Whether there is a stream now, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// What is asked, before redirects.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Ends a blocked call from another thread, whatever it waits for, and every later one.
    #[doc(alias = "abort")]
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }

    /// Asks the server, when it is time to. `false`: it wants no more questions.
    fn ask(&mut self) -> Result<bool> {
        let failures = match self.state {
            State::Over => return Ok(false),
            State::New => None,
            State::Lost { failures } => {
                pause(&self.abort, delay(self.retry, failures))?;
                Some(failures)
            }
        };
        let response = match self.request() {
            Ok(response) => response,
            Err(error) => {
                let failures = failures.map_or(self.attempts, |failures| failures + 1);
                let again = failures < self.attempts && is_loss(&error);
                self.state = State::Lost { failures: if again { failures } else { 0 } };
                if again {
                    log::debug!("asking for events failed: {error}");
                    return Ok(true);
                }
                return Err(error);
            }
        };
        self.state = State::Lost { failures: 0 };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NO_CONTENT => {
                self.state = State::Over;
                return Ok(false);
            }
            status => {
                let message = format!("{} answered {status}, and no events", response.uri().origin());
                return Err(Error::new(ErrorKind::Status, message).with_status(status));
            }
        }
        let content_type = response.response().content_type().unwrap_or_default();
        if !MediaType::lenient(content_type).matches_pair("text", "event-stream") {
            return Err(Error::unsupported(format!("{content_type:?} is no stream of events")));
        }
        let mut stream = EventReader::new(response).with_last_event_id(&*self.last_id);
        if let Some(limit) = self.limit {
            stream = stream.with_limit(limit);
        }
        self.stream = Some(stream);
        Ok(true)
    }

    fn request(&self) -> Result<AgentResponse> {
        let mut request = self.request.clone();
        // An id may hold what a field can't: then it is as if there were none.
        if !self.last_id.is_empty() && request.headers_mut().set("Last-Event-ID", &self.last_id).is_err() {
            log::debug!("the id of the last event can't be sent");
        }
        let builder = self.agent.with_request(self.uri.clone(), request);
        // Compression holds events back.
        #[cfg(feature = "gzip")]
        let builder = builder.gzip(false);
        builder.timeouts(self.timeouts).abort_handle(&self.abort).send()
    }
}

/// Ends with an error that asking again does not help against, and with the server's word that no
/// more will come.
impl Iterator for EventSource {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        self.next_event().transpose()
    }
}

impl fmt::Debug for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSource")
            .field("uri", &self.uri)
            .field("last_id", &self.last_id)
            .field("retry", &self.retry)
            .field("is_connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

/// Whether asking again may help: the connection failed, not the server's answer.
fn is_loss(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Resolve
            | ErrorKind::Connect
            | ErrorKind::Tls
            | ErrorKind::Proxy
            | ErrorKind::Timeout
            | ErrorKind::NoMessage
            | ErrorKind::Incomplete
            | ErrorKind::Malformed
            | ErrorKind::Io
    )
}

/// How long to wait after so many failures in a row.
fn delay(retry: Duration, failures: u32) -> Duration {
    let retry = retry.max(SHORTEST);
    let doubled = retry.saturating_mul(2_u32.saturating_pow(failures));
    doubled.min(LONGEST.max(retry))
}

/// Waits, and is ended by an abort.
fn pause(abort: &AbortHandle, time: Duration) -> Result<()> {
    #[derive(Default)]
    struct Bell(Mutex<()>, Condvar);
    impl Interrupt for Bell {
        fn interrupt(&self) {
            let _held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.1.notify_all();
        }
    }

    let bell = Arc::new(Bell::default());
    abort.register(Arc::downgrade(&bell) as Weak<dyn Interrupt>)?;
    let held = bell.0.lock().unwrap_or_else(PoisonError::into_inner);
    let _held = bell.1.wait_timeout_while(held, time, |()| !abort.is_aborted());
    abort.check()
}

/// "A few seconds", says the standard; it is what browsers wait.
const RETRY: Duration = Duration::from_secs(3);
/// The shortest wait, whatever the server wants: one that ends each stream at once is not asked
/// without a pause.
const SHORTEST: Duration = Duration::from_millis(10);
/// With the waits between them some three minutes: a server may be restarted.
const ATTEMPTS: u32 = 10;
/// The longest wait, unless the server wants a longer one.
const LONGEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_that_the_server_may_pass() {
        let seconds = |retry, failures| delay(Duration::from_secs(retry), failures).as_secs();
        assert_eq!([0, 1, 2, 3, 4, 99].map(|failures| seconds(3, failures)), [3, 6, 12, 24, 30, 30]);
        assert_eq!([seconds(100, 0), seconds(100, 5), seconds(0, 5)], [100, 100, 0]);
    }
}
