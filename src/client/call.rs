//! One call of a user agent, from the first request to the head of the last response.
//!
//! The loops around an exchange: redirects, rounds of authentication, and the one repetition
//! that the session's rule allows, all under one deadline. What is decided in them is decided
//! elsewhere (`redirect.rs`, `authentication.rs`, the session); here it is carried out.

use std::io::Write;
use std::sync::Arc;

use super::agent::Settings;
use super::authentication::Authentication;
use super::body::{AgentBody, Raw};
use super::content::{Content, Flow, gone};
use super::link::Link;
use super::pool::Lease;
use super::redirect::RedirectPolicy;
use super::response::AgentResponse;
use super::timings::Stopwatch;
use crate::auth::{AuthScheme, HttpCredentials, opens_ntlm};
use crate::message::{Method, Origin, Request, Response, Scheme, StatusCode, Uri};
use crate::net::{AbortHandle, Deadline};
use crate::session::{ClientSession, Observer, OwnedResponseStream, RetryPolicy, Timeouts};
use crate::{Error, ErrorKind, Phase, Result};

/// Challenges that are answered before the server is taken to refuse: NTLM makes two, and a
/// stale nonce is one more.
const ROUNDS: usize = 4;

/// Content up to this size leaves with its head, in one write.
const SMALL: usize = 8 * 1024;

/// What a call is to do.
pub(super) struct Order {
    pub(super) uri: Uri,
    /// Without what is added for each hop.
    pub(super) request: Request,
    pub(super) content: Content,
    pub(super) chunked: bool,
    pub(super) timeouts: Timeouts,
    pub(super) redirects: RedirectPolicy,
    pub(super) authentication: Option<Authentication>,
    pub(super) abort: Option<AbortHandle>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) gzip: bool,
}

/// What is known of a call under way.
pub(super) struct Call {
    agent: Arc<Settings>,
    order: Order,
    watch: Arc<Stopwatch>,
    link: Option<Link>,
    deadline: Deadline,
    /// Where the call has been: method, URI and cookies. The same again leads nowhere.
    visited: Vec<(Method, Uri, Option<Vec<u8>>)>,
}

/// What was done to get a response to one request.
#[derive(Default, PartialEq)]
struct Tried {
    /// Challenges of the server that were answered.
    rounds: usize,
    /// The connection was lost.
    repeated: bool,
    /// The proxy has made its challenge.
    proxy_asked: bool,
    /// The server does not know what it is to do with `Expect`.
    unexpected: bool,
}

/// A response whose content is still to be read.
struct Answer {
    lease: Lease,
    response: Response,
    /// Content of the request that is still to be sent while the response is read.
    flow: Option<Flow>,
    /// `Accept-Encoding` was ours.
    may_decode: bool,
}

impl Call {
    pub(super) fn new(agent: Arc<Settings>, order: Order) -> Result<Call> {
        let link = order.abort.as_ref().map(Link::new).transpose()?;
        let deadline = order.timeouts.total.map_or(Deadline::never(), Deadline::after);
        let watch = Stopwatch::start(order.observer.clone());
        Ok(Call { agent, order, watch, link, deadline, visited: Vec::new() })
    }

    /// Makes the call.
    pub(super) fn run(mut self) -> Result<AgentResponse> {
        let answer = self.last_answer()?;
        let Answer { lease, response, flow, may_decode } = answer;
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let pool = self.agent.pool.clone();
        let mut raw = Raw::new(lease, pool, self.link.take(), self.watch, flow);
        if !switched {
            raw.finish_if_empty();
        }
        let decoded = may_decode && !raw.is_finished() && is_gzip(&response);
        let body = if decoded { self.agent.decoder(raw) } else { AgentBody::plain(raw) };
        let redirects = self.visited.into_iter().map(|(_, uri, _)| uri).collect();
        let most = self.agent.max_content;
        Ok(AgentResponse::new(response, self.order.uri, redirects, decoded, most, body))
    }

    /// The same, for who wants the session and nothing else.
    pub(super) fn run_owned(mut self) -> Result<OwnedResponseStream> {
        let Answer { mut lease, response, .. } = self.last_answer()?;
        if let Some(link) = self.link.take() {
            link.release();
        }
        lease.session.connection_mut().set_observer(None);
        Ok(OwnedResponseStream::from_parts(lease.session, response))
    }

    /// The response behind all redirects.
    fn last_answer(&mut self) -> Result<Answer> {
        check_scheme(&self.order.uri)?;
        if self.order.request.method() == &Method::CONNECT {
            return Err(Error::invalid_argument(
                "a tunnel is made by a session with a proxy, not by a CONNECT",
            ));
        }
        if self.order.authentication.is_none() {
            self.order.authentication = Authentication::from_uri(&self.order.uri);
        }
        self.order.uri = self.order.uri.without_userinfo();
        loop {
            let (answer, cookies) = self.answer()?;
            let (uri, status) = (&self.order.uri, answer.response.status());
            let followed = self.visited.len();
            let Some(to) = self.order.redirects.target(uri, &answer.response, followed)? else {
                return Ok(answer);
            };
            self.watch.redirected(status, &to);
            // What is left of this response is dropped when the session is used next.
            let Answer { lease, flow, .. } = answer;
            if flow.is_none() {
                self.release(lease);
            }
            self.follow(status, to, cookies)?;
        }
    }

    fn follow(&mut self, status: StatusCode, to: Uri, cookies: Option<Vec<u8>>) -> Result<()> {
        log::debug!("redirected with {status} to {to}");
        let order = &mut self.order;
        let from = std::mem::replace(&mut order.uri, to);
        let here = (order.request.method().clone(), from, cookies);
        let (from, to) = (&here.1, &order.uri);
        let keeps_content = order.redirects.rewrite(&mut order.request, status, from, to);
        if from.origin() != to.origin() {
            order.authentication = None;
        }
        if !keeps_content {
            order.content = Content::empty();
        } else if !order.content.is_there() {
            return Err(gone());
        }
        self.visited.push(here);
        Ok(())
    }

    /// The response to one request, after the challenges that could be answered. And which
    /// cookies went with it.
    fn answer(&mut self) -> Result<(Answer, Option<Vec<u8>>)> {
        let origin = self.order.uri.origin();
        let user = self.user(&origin);
        let mut lease = self.lease(&origin, user.as_ref())?;
        let mut said: Option<Vec<u8>> = None;
        let mut tried = Tried::default();
        loop {
            let (request, may_decode) = self.request(&lease, user.as_ref(), said.take(), &tried)?;
            let cookies = request.headers().get_bytes("cookie").map(<[u8]>::to_vec);
            if tried == Tried::default() {
                self.refuse_loop(&request, cookies.as_ref())?;
            }
            let mut response = Response::new();
            let flow = match self.exchange(&mut lease, &request, &mut response) {
                Ok(flow) => flow,
                Err(error) if error.is_retryable() && !tried.repeated && self.may_repeat() => {
                    log::debug!(
                        "the reused connection was closed before the response: making the request once more"
                    );
                    tried.repeated = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.agent.keep_cookies(&self.order.uri, &response);
            if let Some(user) = &user {
                if response.status() == StatusCode::UNAUTHORIZED
                    && tried.rounds < ROUNDS
                    && self.order.content.is_there()
                {
                    if let Some(value) = self.respond(user, &mut lease, &request, &response)? {
                        tried.rounds += 1;
                        said = Some(value);
                        continue;
                    }
                }
                #[cfg(feature = "digest")]
                user.check(&origin, &request, &response)?;
            }
            if is_private(&request) && user.is_none() {
                lease.private = true;
            }
            // The session could not send the content again; now it knows what the proxy wants.
            if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED
                && !tried.proxy_asked
                && !self.order.content.is_none()
                && self.order.content.is_there()
                && answers_proxy(&*lease.session)
            {
                tried.proxy_asked = true;
                continue;
            }
            // Who does not know the expectation takes the content without (RFC 9110, 10.1.1).
            if response.status() == StatusCode::EXPECTATION_FAILED
                && request.expect_continue()
                && self.order.content.is_there()
            {
                tried.unexpected = true;
                continue;
            }
            return Ok((Answer { lease, response, flow, may_decode }, cookies));
        }
    }

    /// The user as whom this origin is asked: the call's, or the agent's for this origin.
    fn user(&self, origin: &Origin) -> Option<Authentication> {
        if self.order.request.headers().has("authorization") {
            return None;
        }
        self.order.authentication.clone().or_else(|| self.agent.user(origin))
    }

    /// What answers the server's challenge: the value of `Authorization`.
    fn respond(
        &self,
        user: &Authentication,
        lease: &mut Lease,
        request: &Request,
        response: &Response,
    ) -> Result<Option<Vec<u8>>> {
        let secure = lease.session.is_secure();
        let mut answered = request.clone();
        let scheme = user.answer(&lease.origin, secure, &mut answered, response, &|c| self.hash(c))?;
        if scheme == Some(AuthScheme::Ntlm) {
            lease.user = Some(user.id());
        } else if scheme.is_some() && self.order.content.length().is_none_or(|length| length > SMALL as u64) {
            // Not every server that refuses content reads it, and says that it does not.
            lease.session.connection_mut().close();
        }
        let value = scheme.and_then(|_| answered.headers().get_bytes("authorization").map(<[u8]>::to_vec));
        if scheme == Some(AuthScheme::Ntlm) && value.as_deref().is_some_and(|value| !opens_ntlm(value)) {
            lease.session.connection_mut().settle_patiently();
        }
        Ok(value)
    }

    /// Gives the hash of the content to credentials that protect it.
    fn hash(&self, credentials: &mut HttpCredentials) {
        #[cfg(feature = "digest")]
        if let (Some(algorithm), Some(bytes)) =
            (credentials.content_hash_needed(), self.order.content.bytes())
        {
            credentials.set_content_hash(algorithm.hash_content(bytes));
        }
        #[cfg(not(feature = "digest"))]
        let _ = credentials;
    }

    /// A session for this origin, idle or new.
    fn lease(&self, origin: &Origin, user: Option<&Authentication>) -> Result<Lease> {
        if let Some(lease) = self.agent.pool.take(origin, user.map(Authentication::id)) {
            return Ok(lease);
        }
        let session = self.agent.create_session(&self.order.uri)?;
        Ok(Lease { session, origin: origin.clone(), user: None, private: false })
    }

    fn release(&self, mut lease: Lease) {
        if let Some(link) = &self.link {
            link.release();
        }
        lease.session.connection_mut().set_observer(None);
        self.agent.pool.give_back(lease);
    }

    /// The request as it is sent, and whether a compressed response is to be decoded.
    fn request(
        &self,
        lease: &Lease,
        user: Option<&Authentication>,
        said: Option<Vec<u8>>,
        tried: &Tried,
    ) -> Result<(Request, bool)> {
        let order = &self.order;
        let mut request = order.request.clone();
        request.set_target(order.uri.request_target())?;
        self.agent.add_cookies(&order.uri, &mut request)?;
        let headers = request.headers_mut();
        let decode = order.gzip && !headers.has("accept-encoding") && !headers.has("range");
        if decode {
            headers.set("Accept-Encoding", "gzip")?;
        }
        self.frame(&mut request, said.as_deref());
        let mut may_be_asked = !tried.proxy_asked && answers_proxy(&*lease.session);
        match (user, said) {
            (_, Some(value)) => request.headers_mut().set("Authorization", value)?,
            (Some(user), None) => {
                let said = user.apply(&lease.origin, &mut request, &|c| self.hash(c))?;
                may_be_asked |= !said && lease.user != Some(user.id());
            }
            (None, None) => {}
        }
        // Content that can be sent once only waits to be asked who we are.
        if may_be_asked && !order.content.is_replayable() {
            request.set_expect_continue(true);
        }
        if tried.unexpected {
            request.set_expect_continue(false);
        }
        Ok((request, decode))
    }

    /// Announces the content. The first message of NTLM goes without: the server answers it with
    /// a challenge, whatever comes with it.
    fn frame(&self, request: &mut Request, said: Option<&[u8]>) {
        let content = &self.order.content;
        if content.is_none() {
            return;
        }
        request.set_chunked(false);
        if said.is_some_and(opens_ntlm) {
            request.set_content_length(0).set_expect_continue(false);
            return;
        }
        match content.length() {
            Some(length) if !self.order.chunked => request.set_content_length(length),
            _ => {
                request.remove_content_length();
                request.set_chunked(true)
            }
        };
    }

    fn refuse_loop(&self, request: &Request, cookies: Option<&Vec<u8>>) -> Result<()> {
        let uri = &self.order.uri;
        let again = |(method, before, sent): &(Method, Uri, Option<Vec<u8>>)| {
            method == request.method() && before == uri && sent.as_ref() == cookies
        };
        if self.visited.iter().any(again) {
            return Err(Error::new(
                ErrorKind::Redirect,
                format!("the redirects go round in a circle, by {uri}"),
            ));
        }
        Ok(())
    }

    fn may_repeat(&self) -> bool {
        self.agent.retry != RetryPolicy::Never && self.order.content.is_there()
    }

    /// One request and the head of its response.
    fn exchange(
        &mut self,
        lease: &mut Lease,
        request: &Request,
        response: &mut Response,
    ) -> Result<Option<Flow>> {
        let total = self.deadline.remaining().map_err(|_| {
            Error::new(ErrorKind::Timeout, "the whole call took too long").with_phase(Phase::Send)
        })?;
        let session = &mut *lease.session;
        session.set_timeouts(Timeouts { total, ..self.order.timeouts });
        session.connection_mut().set_observer(Some(self.watch.clone()));
        if let Some(link) = &self.link {
            link.attach(session)?;
        }
        let content = &mut self.order.content;
        if !has_content(request) {
            session.send_request(request)?;
            session.receive_response(response)?;
            return Ok(None);
        }
        match content.bytes() {
            Some(bytes) if bytes.len() <= SMALL && !request.expect_continue() => {
                session.send_request(request)?.write_all(bytes)?;
                self.watch.sent(bytes.len() as u64, Some(bytes.len() as u64));
                session.receive_response(response)?;
                Ok(None)
            }
            _ => {
                let mut flow = content.open(Some(self.watch.clone()))?;
                let going_on = session.exchange(request, &mut flow, response).map(|body| body.is_uploading());
                match going_on {
                    Ok(true) => Ok(Some(flow)),
                    Ok(false) => {
                        content.put_back(flow);
                        Ok(None)
                    }
                    Err(error) => {
                        content.put_back(flow);
                        Err(error)
                    }
                }
            }
        }
    }
}

fn check_scheme(uri: &Uri) -> Result<()> {
    match uri.scheme() {
        Scheme::Http | Scheme::Https | Scheme::HttpUnix => Ok(()),
        Scheme::Ws | Scheme::Wss => {
            Err(Error::invalid_argument(format!("{uri} is a WebSocket's: no response comes from there")))
        }
    }
}

/// Whether the request, as it is, announces content to come.
fn has_content(request: &Request) -> bool {
    request.is_chunked() || matches!(request.content_length(), Ok(Some(1..)))
}

fn is_gzip(response: &Response) -> bool {
    let mut codings = response.headers().tokens("content-encoding");
    let gzip = codings
        .next()
        .is_some_and(|coding| coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip"));
    gzip && codings.next().is_none()
}

/// Whether the request authenticates its connection, by a scheme that is not ours.
fn is_private(request: &Request) -> bool {
    request.headers().get("authorization").is_some_and(|value| {
        let scheme = value.split(' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case("NTLM") || scheme.eq_ignore_ascii_case("Negotiate")
    })
}

/// Whether the session has an answer to a challenge of its proxy's that it could not give, for
/// want of the content. Through a tunnel it is not the proxy that answers requests.
fn answers_proxy(session: &dyn ClientSession) -> bool {
    use crate::auth::ProxyAuthentication;
    let proxy = session.proxy_config();
    !proxy.username().is_empty()
        && !matches!(proxy.auth_method(), ProxyAuthentication::None | ProxyAuthentication::Basic)
        && !proxy.protocol().is_socks()
        && !session.is_secure()
        && !session.bypass_proxy()
}
