//! A tunnel through an HTTP proxy: `CONNECT` (RFC 9110, 9.3.6), authenticated where the
//! proxy asks for it.

use std::io::IoSlice;
use std::net::{Shutdown, SocketAddr};
use std::time::SystemTime;

use super::{ClientSession, HttpClientSession, Observer, ProxyConfig, Session, Timeouts};
use crate::auth::{BasicCredentials, HttpCredentials, ProxyAuthentication};
use crate::message::{Method, Request, Response, StatusCode};
use crate::net::{AbortHandle, Deadline, Limit, Readiness, Stream, Transport};
use crate::{Error, ErrorKind, Phase, Result};

/// Challenges that are answered before the proxy is taken to refuse: NTLM needs two, and a
/// stale nonce one more.
pub(super) const ROUNDS: usize = 4;

/// What a tunnel is made within.
pub(super) struct Within<'a> {
    pub(super) timeouts: Timeouts,
    pub(super) deadline: Deadline,
    pub(super) abort: &'a AbortHandle,
    pub(super) observer: Option<&'a dyn Observer>,
}

impl Within<'_> {
    /// The time-outs of an exchange with the proxy that begins now.
    fn timeouts(&self) -> Result<Timeouts> {
        let total = self.deadline.remaining().map_err(|_| Error::timeout(Phase::Proxy))?;
        Ok(Timeouts { total, ..self.timeouts })
    }

    /// For a peer on the way that is waited for: what it may stall, and the time for all of it.
    pub(super) fn limit(&self) -> Limit {
        self.timeouts.receive_limit(self.deadline)
    }

    /// A part of the way begins.
    pub(super) fn observe(&self, phase: Phase) {
        if let Some(observer) = self.observer {
            observer.phase(phase);
        }
    }
}

/// The credentials that answer a proxy's challenges; none where there is no user, or where
/// nothing is waited for (Basic).
pub(super) fn credentials(proxy: &ProxyConfig) -> Option<HttpCredentials> {
    let scheme = proxy.auth_method().scheme()?;
    if proxy.username().is_empty() {
        return None;
    }
    let mut credentials = HttpCredentials::new(proxy.username(), proxy.password());
    credentials.set_schemes(&[scheme]);
    Some(credentials)
}

/// Adds what can be said before the proxy asks: Basic, or an answer to an earlier challenge.
pub(super) fn pre_authenticate(
    proxy: &ProxyConfig,
    credentials: Option<&mut HttpCredentials>,
    request: &mut Request,
) -> Result<()> {
    if proxy.auth_method() == ProxyAuthentication::Basic && !proxy.username().is_empty() {
        return BasicCredentials::new(proxy.username(), proxy.password()).proxy_authenticate(request);
    }
    match credentials {
        Some(credentials) => credentials.update_proxy_auth_info(request).map(drop),
        None => Ok(()),
    }
}

/// Asks the proxy for a tunnel to `authority` (`host:port`). `dial` makes a connection to the
/// proxy: the first, and another where the proxy closes after a challenge.
pub(super) fn open(
    dial: &mut dyn FnMut() -> Result<Stream>,
    authority: &str,
    proxy: &ProxyConfig,
    mut credentials: Option<&mut HttpCredentials>,
    within: &Within<'_>,
) -> Result<Stream> {
    let mut request = Request::new(Method::CONNECT, authority);
    request.headers_mut().set("Host", authority)?;
    pre_authenticate(proxy, credentials.as_deref_mut(), &mut request)?;
    let mut session = HttpClientSession::to_proxy(dial()?, within.abort)?;
    let mut response = Response::new();
    let mut reused = false;
    for _ in 0..ROUNDS {
        if !session.is_connected() || session.must_reconnect() {
            session = HttpClientSession::to_proxy(dial()?, within.abort)?;
            reused = false;
        }
        // Each round has what the ones before have left.
        session.set_timeouts(within.timeouts()?);
        match ask(&mut session, &request, &mut response) {
            // It closed behind its challenge without saying so.
            Err(error) if reused && error.kind() == ErrorKind::NoMessage => {
                session.connection_mut().close();
                continue;
            }
            asked => asked.map_err(proxy_error)?,
        }
        reused = true;
        if response.status().is_success() {
            #[cfg(feature = "digest")]
            if let Some(credentials) = credentials {
                credentials.check_proxy_auth_info(&request, &response, None)?;
            }
            let (mut stream, early) = session.detach_socket()?.into_parts();
            stream.attach_abort(within.abort)?;
            return Ok(if early.is_empty() {
                stream
            } else {
                Stream::custom(Early { early, taken: 0, stream })
            });
        }
        let answered = match &mut credentials {
            Some(credentials) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                credentials.set_time(SystemTime::now());
                match credentials.proxy_authenticate(&mut request, &response) {
                    Ok(scheme) => scheme.is_some(),
                    Err(error) => {
                        log::debug!("the proxy's challenge is not answered: {error}");
                        false
                    }
                }
            }
            _ => false,
        };
        if !answered {
            break;
        }
        // A page without end is not read to it: then another connection is made.
        session.connection_mut().settle_patiently();
    }
    Err(refusal(&response))
}

fn ask(session: &mut HttpClientSession, request: &Request, response: &mut Response) -> Result<()> {
    session.send_request(request)?;
    session.receive_response(response).map(drop)
}

/// The error for a proxy that answers a `CONNECT` with this.
fn refusal(response: &Response) -> Error {
    let status = response.status();
    let hint = if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        ": set credentials that it knows, and the method that it asks for"
    } else {
        ""
    };
    Error::new(
        ErrorKind::Proxy,
        format!("the proxy refused the tunnel: {status} {}{hint}", response.reason()),
    )
    .with_phase(Phase::Proxy)
}

fn proxy_error(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Timeout | ErrorKind::Aborted => error,
        _ => Error::new(ErrorKind::Proxy, "the proxy broke off").with_source(error).with_phase(Phase::Proxy),
    }
}

/// A stream some of whose bytes were read already.
#[derive(Debug)]
struct Early {
    early: Vec<u8>,
    taken: usize,
    stream: Stream,
}

impl Transport for Early {
    fn read(&mut self, buf: &mut [u8], limit: &Limit) -> Result<usize> {
        let early = &self.early[self.taken..];
        if early.is_empty() {
            return self.stream.read(buf, limit);
        }
        let n = early.len().min(buf.len());
        buf[..n].copy_from_slice(&early[..n]);
        self.taken += n;
        Ok(n)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>], limit: &Limit) -> Result<usize> {
        self.stream.write_vectored(parts, limit)
    }

    fn is_flushed(&self) -> bool {
        self.stream.is_flushed()
    }

    fn flush_some(&mut self, limit: &Limit) -> Result<()> {
        self.stream.flush_some(limit)
    }

    fn write_nowait(&mut self, bytes: &[u8]) -> Result<usize> {
        self.stream.write_nowait(bytes)
    }

    fn peek_nowait(&mut self) -> Result<Readiness> {
        if self.has_buffered() { Ok(Readiness::Data) } else { self.stream.peek_nowait() }
    }

    fn has_buffered(&self) -> bool {
        self.taken < self.early.len() || self.stream.has_buffered()
    }

    fn shutdown(&mut self, how: Shutdown, limit: &Limit) -> Result<()> {
        self.stream.shutdown(how, limit)
    }

    fn attach_abort(&mut self, abort: &AbortHandle) -> Result<()> {
        self.stream.attach_abort(abort)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr()
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        self.stream.peer_addr()
    }

    fn is_secure(&self) -> bool {
        self.stream.is_secure()
    }
}
