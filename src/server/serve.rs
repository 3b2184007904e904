//! One connection from its first byte to its last: wait, receive, answer, again.
//!
//! The order is that of the wire: the head is read and judged before a handler is chosen, the handler
//! answers, its response is ended, content that it left is dropped, and only then is the next request
//! looked at. Whatever goes wrong is answered where somebody can read the answer, and ends the connection.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::claim::Offer;
use super::core::Core;
use super::dispatcher::{Job, STOP_GRACE};
use super::handler::{Handler, RequestHandler};
use super::observer::{AccessLog, ConnectionInfo, Exchange, Observer, Timings};
use super::request::About;
use super::slot::{Line, Slot};
use super::{ServerRequest, ServerResponse};
use crate::message::{Method, Request, Response, StatusCode};
use crate::net::{Limit, Readiness, Stream};
use crate::proto::CloseReason;
use crate::session::{HttpServerSession, Session};
use crate::{Error, ErrorKind, Result};

/// What a thread keeps from request to request, so that none of it is allocated anew.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    request: Request,
    response: Response,
}

/// How long an idle connection keeps its buffers. A client that goes on at once finds them; memory
/// is for those that do something.
const KEEPS_BUFFERS: Duration = Duration::from_millis(500);

/// Within which time a client goes on that does not pause. A connection is not idle before that: under load the next
/// request of one that has just been answered is nearly always on its way.
const GOES_ON: Duration = Duration::from_millis(5);

/// How much content is taken in of a request that came as its connection was given up, to see whether it is whole.
const MOST_TAKEN_IN: usize = 64 * 1024;

thread_local! {
    static OWN: RefCell<Weak<Slot>> = const { RefCell::new(Weak::new()) };
}

/// This thread serves the connections of this slot.
pub(crate) fn set_own(slot: &Arc<Slot>) {
    OWN.set(Arc::downgrade(slot));
}

/// The slot that this thread serves, of whatever server.
pub(crate) fn own() -> Option<Arc<Slot>> {
    OWN.with_borrow(Weak::upgrade)
}

/// Serves a connection to its end. Returns the stream if the client may still be sending.
pub(crate) fn serve(core: &Core, slot: &Slot, job: Job, memory: &mut Memory) -> Option<Stream> {
    let mut watch = Watch::new(core, &job);
    let secure = job.stream.is_secure();
    let socket = job.stream.socket().cloned();
    // Looked at where it is: it is large, and what lies on the stack stays resident while a connection is idle.
    let mut session = HttpServerSession::new(job.stream, core.session_params.clone());
    let session = match &mut session {
        Ok(session) => session,
        Err(error) => {
            log::debug!("a connection was gone before it could be served: {error}");
            return None;
        }
    };
    slot.connect(Line { socket, abort: session.abort_handle() });
    if core.dispatcher.is_aborting() {
        slot.abort();
    }
    let about = About { params: &core.params, client: job.client, secure, slot };
    let mut conversation = Conversation {
        core,
        slot,
        session: &mut *session,
        about,
        since: job.since,
        spoke: false,
        evicted: false,
    };
    if let Some(watch) = &watch {
        watch.opened();
    }
    let reason = conversation.run(memory, watch.as_mut());
    log::debug!("connection closed: {reason}");
    if let Some(watch) = &watch {
        watch.closed(reason);
    }
    session.leave()
}

struct Conversation<'a> {
    core: &'a Core,
    slot: &'a Slot,
    session: &'a mut HttpServerSession,
    about: About<'a>,
    since: u64,
    /// A request has come on this connection.
    spoke: bool,
    /// The connection was given up for another one: what has come whole is answered, nothing else.
    evicted: bool,
}

impl Conversation<'_> {
    fn run(&mut self, memory: &mut Memory, mut watch: Option<&mut Watch<'_>>) -> CloseReason {
        loop {
            match self.session.settle() {
                Ok(true) => {}
                Ok(false) => return self.close_reason(),
                Err(error) => {
                    log::warn!("a response could not be ended: {error}");
                    return CloseReason::ContentUnfinished;
                }
            }
            while !self.session.has_input() {
                if let Err(reason) = self.wait(memory) {
                    return reason;
                }
                // Nobody takes the thread from a handshake that has begun; it has its own time.
                if let Err(error) = self.session.handshake() {
                    log::debug!("no TLS: {error}");
                    return CloseReason::from(&error);
                }
            }
            self.session.count_request();
            if let Some(watch) = &mut watch {
                watch.begin(self.session);
            }
            if let Err(error) = self.session.receive_head(&mut memory.request) {
                let reason = self.refuse(&error);
                if let Some(watch) = &mut watch {
                    watch.done(self.session, None);
                }
                return reason;
            }
            if self.evicted {
                if needs_the_client(&memory.request) || !self.session.is_request_whole(MOST_TAKEN_IN) {
                    return CloseReason::Evicted;
                }
                let before = self.core.dispatcher.now().saturating_sub(GOES_ON.as_micros() as u64);
                self.core.dispatcher.hand_on_promise(self.slot, before);
            }
            self.spoke = true;
            if let Some(watch) = &mut watch {
                watch.received();
            }
            self.answer(memory);
            if let Some(watch) = &mut watch {
                watch.done(self.session, Some(&memory.request));
            }
            if !self.session.is_connected() {
                return CloseReason::Upgraded;
            }
            if self.evicted {
                if let Err(error) = self.session.finish_response() {
                    log::warn!("a response could not be ended: {error}");
                }
                return CloseReason::Evicted;
            }
        }
    }

    fn close_reason(&self) -> CloseReason {
        self.session.connection().close_reason().unwrap_or(CloseReason::Closed)
    }

    /// Waits for the next request, on offer to whoever needs the thread. `Err`: it does not come.
    fn wait(&mut self, memory: &mut Memory) -> Result<(), CloseReason> {
        // A slow reader is not idle.
        if let Err(error) = self.session.flush_before_wait() {
            log::debug!("a response could not be sent: {error}");
            return Err(CloseReason::from(&error));
        }
        let params = self.core.params.session_params();
        let whole = if self.spoke { params.keep_alive_timeout } else { params.timeouts.receive };
        let mut whole = if whole.is_zero() { Duration::MAX } else { whole };
        if !self.spoke && self.core.dispatcher.is_stopping() {
            // Nobody looks again at one that was let in behind the stop.
            whole = whole.min(STOP_GRACE);
        }
        // At first a new connection is not on offer: its request is on its way.
        let first = if self.spoke { KEEPS_BUFFERS } else { self.core.params.patience() };
        let mut offer = None;
        if self.spoke {
            offer = Some(self.offer(self.core.dispatcher.now())?);
        }
        let mut outcome = self.session.wait_for_input(&Limit::stall(first.min(whole)));
        if outcome.as_ref().is_err_and(Error::is_timeout) && whole > first {
            if !self.spoke {
                offer = Some(self.offer(self.since)?);
            }
            memory.release();
            let rest = Limit::stall(whole - first);
            outcome = match self.session.wait_released(&rest) {
                Ok(true) if !self.session.has_input() => self.session.wait_for_input(&rest),
                outcome => outcome,
            };
        }
        self.evicted = offer.is_some_and(|offer| !self.slot.claim.reclaim(offer));
        if self.evicted && matches!(outcome, Ok(false)) && offer.is_some_and(|offer| self.goes_on(offer)) {
            outcome = self.session.wait_for_input(&Limit::stall(GOES_ON));
        }
        match outcome {
            // Nothing can have come whole where the handshake is still to be made.
            Ok(true) if self.evicted && self.session.is_handshaking() => Err(CloseReason::Evicted),
            Ok(true) => Ok(()),
            Ok(false) if self.evicted => Err(CloseReason::Evicted),
            Ok(false) => Err(CloseReason::ClosedByPeer),
            Err(error) if error.is_timeout() => Err(CloseReason::IdleTooLong),
            Err(error) => {
                log::debug!("an idle connection failed: {error}");
                Err(CloseReason::from(&error))
            }
        }
    }

    /// Puts the connection on offer. `Err`: there is need for its thread right now.
    fn offer(&mut self, since: u64) -> Result<Offer, CloseReason> {
        let offer = Offer::new(since, self.spoke);
        if self.slot.claim.offer(offer, &self.core.dispatcher.need)
            && self.core.dispatcher.relieve(self.slot, offer)
        {
            if !self.goes_on(offer) {
                return Err(CloseReason::Evicted);
            }
            // As for one that others gave up: nobody waits for what is still to come.
            self.slot.end_input();
        }
        Ok(offer)
    }

    /// The connection is given up: whether its client has sent a request all the same, which is still
    /// answered then. One that goes on at once gets the time to do so.
    fn goes_on(&mut self, offer: Offer) -> bool {
        let idle = Duration::from_micros(self.core.dispatcher.now().saturating_sub(offer.since()));
        thread::sleep(GOES_ON.saturating_sub(idle));
        let stream = self.session.connection_mut().stream_mut();
        stream.is_some_and(|stream| matches!(stream.peek_nowait(), Ok(Readiness::Data)))
    }

    /// The head of a request can't be served.
    #[cold]
    fn refuse(&mut self, error: &Error) -> CloseReason {
        let reason = CloseReason::from(error);
        // Cut off by us, not by the client.
        if self.evicted && matches!(error.kind(), ErrorKind::NoMessage | ErrorKind::Incomplete) {
            return CloseReason::Evicted;
        }
        if error.kind() != ErrorKind::NoMessage {
            log::debug!("a request was refused: {error}");
        }
        if let Err(error) = self.session.send_error(error) {
            log::debug!("the refusal could not be sent: {error}");
        }
        reason
    }

    /// Has the request answered, and sees to it that there is an answer.
    fn answer(&mut self, memory: &mut Memory) {
        let Memory { request, response } = memory;
        response.clear();
        if self.answer_ourselves(request, response) {
            return;
        }
        let core = self.core;
        let (body, sender, data) = self.session.exchange_parts();
        let mut request = ServerRequest {
            head: request,
            body,
            data,
            about: &self.about,
            changed: false,
            given_up: self.evicted,
        };
        let mut response = ServerResponse {
            request: request.head,
            head: response,
            sender,
            need: &core.dispatcher.need,
            hooks: Vec::new(),
            closes: self.evicted.then_some(CloseReason::Evicted),
        };
        let outcome = match &core.handler {
            Handler::One(handler) => handle(&**handler, &mut request, &mut response),
            Handler::Factory(factory) => {
                match catch_unwind(AssertUnwindSafe(|| factory.create_request_handler(request.head))) {
                    Ok(Some(handler)) => handle(&*handler, &mut request, &mut response),
                    Ok(None) => Err(Failure::NoHandler),
                    Err(panic) => Err(Failure::panic(panic)),
                }
            }
        };
        let changed = request.changed;
        drop(response);
        if let Err(failure) = outcome {
            self.fail(failure);
        } else if !self.session.is_answered() && self.session.is_connected() {
            log::warn!("a handler sent no response");
            self.send_status(StatusCode::INTERNAL_SERVER_ERROR);
        }
        if changed {
            self.finish_and_restore();
        }
        if self.session.answered_with().is_some() {
            core.dispatcher.count_answer();
        }
    }

    /// Requests that are not about a resource of the handler's.
    fn answer_ourselves(&mut self, request: &Request, response: &mut Response) -> bool {
        match *request.method() {
            Method::CONNECT if !self.core.params.serves_connect() => {
                // What follows it is meant for somebody else.
                let error = Error::unsupported("this server makes no tunnels");
                if let Err(error) = self.session.send_error(&error) {
                    log::debug!("a CONNECT could not be answered: {error}");
                }
                true
            }
            Method::OPTIONS if request.target() == "*" && self.core.params.answers_options() => {
                response.set_content_length(0);
                let (_, mut sender, _) = self.session.exchange_parts();
                let evicted = self.evicted.then_some(CloseReason::Evicted);
                if let Some(reason) = evicted.or_else(|| self.core.dispatcher.need.reason()) {
                    sender.forbid_keep_alive(reason);
                }
                if let Err(error) = sender.send_whole(response, b"") {
                    log::debug!("a response could not be sent: {error}");
                }
                true
            }
            _ => false,
        }
    }

    /// The handler failed.
    #[cold]
    fn fail(&mut self, failure: Failure) {
        match &failure {
            Failure::NoHandler => {}
            Failure::Error(error) => log::debug!("a handler failed: {error}"),
            Failure::Panic(message) => log::error!("a handler panicked: {message}"),
        }
        if !self.session.is_connected() {
            return;
        }
        // An answer that is whole stands, whatever failed behind it.
        if self.session.is_answered() && !self.session.is_responding() {
            return;
        }
        if self.session.is_answered() && !self.session.take_back_response() {
            self.session.abandon_response();
            return;
        }
        // The time that the exchange had may be what is over.
        self.session.restore_limits();
        match failure {
            Failure::NoHandler => self.send_status(StatusCode::NOT_IMPLEMENTED),
            Failure::Panic(_) => self.send_status(StatusCode::INTERNAL_SERVER_ERROR),
            // What another server has done is not this client's fault, and leaves it there to be answered.
            Failure::Error(error) if self.session.is_foreign(&error) => {
                self.send_status(error.chosen_status().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
            }
            Failure::Error(error) => {
                if let Err(error) = self.session.send_error(&error) {
                    log::debug!("the error could not be answered: {error}");
                }
            }
        }
    }

    #[cold]
    fn send_status(&mut self, status: StatusCode) {
        if let Err(error) = self.session.send_status(status, "") {
            log::debug!("{status} could not be sent: {error}");
        }
    }

    /// The response leaves within the limits that its handler has set; the next request has ours.
    #[cold]
    fn finish_and_restore(&mut self) {
        if self.session.is_connected() {
            if let Err(error) =
                self.session.finish_response().and_then(|()| self.session.connection_mut().flush())
            {
                log::debug!("a response could not be ended: {error}");
                self.session.abandon_response();
            }
            self.session.restore_limits();
        }
    }
}

/// Whether what follows the head is not content but a talk, for which a connection that was given up is of no use.
fn needs_the_client(request: &Request) -> bool {
    *request.method() == Method::CONNECT || request.headers().has("upgrade")
}

/// Takes the times and counts of a connection, for those who want to know.
struct Watch<'a> {
    observer: Option<&'a dyn Observer>,
    access_log: Option<&'a AccessLog>,
    info: ConnectionInfo,
    /// When the phase that is going on began.
    since: Instant,
    timings: Timings,
    sent_before: u64,
}

// Few servers are watched: the loop is to be small without this.
impl<'a> Watch<'a> {
    fn new(core: &'a Core, job: &Job) -> Option<Watch<'a>> {
        let (observer, access_log) = (core.observer.get().map(|observer| &**observer), core.access_log.get());
        if observer.is_none() && access_log.is_none() {
            return None;
        }
        let info = ConnectionInfo {
            number: job.number,
            client_address: job.client,
            server_address: job.stream.local_addr(),
            secure: job.stream.is_secure(),
            requests: 0,
        };
        let since = core.dispatcher.instant(job.since);
        Some(Watch { observer, access_log, info, since, timings: Timings::default(), sent_before: 0 })
    }

    #[inline(never)]
    fn opened(&self) {
        if let Some(observer) = self.observer {
            observer.connection_opened(&self.info);
        }
    }

    #[inline(never)]
    fn closed(&self, reason: CloseReason) {
        if let Some(observer) = self.observer {
            observer.connection_closed(&self.info, reason);
        }
    }

    /// Ends one phase and begins the next one.
    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now.saturating_duration_since(self.since);
        self.since = now;
        lap
    }

    /// The first bytes of a request are there.
    #[inline(never)]
    fn begin(&mut self, session: &mut HttpServerSession) {
        self.info.requests += 1;
        self.sent_before = session.traffic().1;
        self.timings = Timings { idle: self.lap(), ..Timings::default() };
    }

    #[inline(never)]
    fn received(&mut self) {
        self.timings.head = self.lap();
    }

    #[inline(never)]
    fn done(&mut self, session: &mut HttpServerSession, request: Option<&Request>) {
        if request.is_none() && session.answered_with().is_none() {
            return;
        }
        // Otherwise that happens a little later.
        let _ = session.finish_response();
        self.timings.answer = self.lap();
        let (received, sent) = session.traffic();
        let exchange = Exchange {
            connection: &self.info,
            request,
            status: session.answered_with(),
            received,
            sent: sent.saturating_sub(self.sent_before),
            timings: self.timings,
        };
        if let Some(observer) = self.observer {
            observer.request_done(&exchange);
        }
        if let Some(log) = self.access_log {
            log(&exchange);
        }
    }
}

/// Why there is no answer by a handler.
enum Failure {
    /// The factory made none.
    NoHandler,
    Error(Error),
    Panic(String),
}

impl Failure {
    fn panic(payload: Box<dyn Any + Send>) -> Failure {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Failure::Panic(text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default())
    }
}

fn handle(
    handler: &dyn RequestHandler,
    request: &mut ServerRequest<'_>,
    response: &mut ServerResponse<'_>,
) -> Result<(), Failure> {
    // What a panic leaves of the exchange is not used again: the connection closes.
    match catch_unwind(AssertUnwindSafe(|| handler.handle_request(request, response))) {
        Ok(outcome) => outcome.map_err(Failure::Error),
        Err(panic) => Err(Failure::panic(panic)),
    }
}

impl Memory {
    /// Gives back what is large.
    fn release(&mut self) {
        *self = Memory::default();
    }
}
