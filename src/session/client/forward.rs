//! Speaking with a proxy that gets the requests themselves, and being known to it (RFC 9110, 11.7).
//!
//! What a request is told on its way to the proxy, and what is done about a challenge: answered with
//! this request where it can be sent again, or else with the next one. Tunnels are `tunnel.rs`'s.

use std::time::SystemTime;

use zeroize::Zeroizing;

use super::super::proxy::ProxyConfig;
use super::super::timeouts::limited;
use super::super::{ClientSession, tunnel};
use super::head::{host_field, sent_target, with_field};
use super::{DRAIN, DRAIN_TIME, HttpClientSession, Peer, State};
use crate::auth::{AuthScheme, ProxyAuthentication, opens_ntlm};
use crate::message::{Method, Request, Response, StatusCode};
use crate::net::{Deadline, Stream};
use crate::proto::{CloseReason, Framing};
use crate::{Error, ErrorKind, Phase, Result};

/// How far a proxy that knows its users by their connections (NTLM) knows this one.
#[derive(Debug, Default)]
pub(super) struct Introduction {
    /// It has asked, on this connection or on one before.
    pub(super) wanted: bool,
    /// It has let a request pass on this connection.
    pub(super) done: bool,
    /// The last message, which goes with the next request.
    pub(super) proof: Option<Zeroizing<Vec<u8>>>,
}

impl HttpClientSession {
    /// What comes before the target of a request to the proxy: `http://host`, and the port
    /// unless the scheme implies it. Empty where there is no proxy, or a tunnel.
    #[doc(alias = "proxyRequestPrefix")]
    pub fn proxy_request_prefix(&self) -> String {
        if !self.forwards() {
            return String::new();
        }
        let scheme = if self.dialer.layer.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", host_field(&self.host, self.port, self.dialer.default_port()))
    }

    /// Adds to a request what the proxy is told of the user before it asks: with Basic the
    /// credentials, with Digest the answer to an earlier challenge. Nothing where the proxy
    /// does not get the request itself, or where there is no user name.
    #[doc(alias = "proxyAuthenticate")]
    pub fn proxy_authenticate(&mut self, request: &mut Request) -> Result<()> {
        if !self.forwards() {
            return Ok(());
        }
        let proxy = self.dialer.proxy.clone();
        self.proxy_authenticate_impl(request, &proxy)
    }

    /// The same by a configuration other than the session's, whatever the way to the server.
    #[doc(alias = "proxyAuthenticateImpl")]
    pub fn proxy_authenticate_impl(&mut self, request: &mut Request, proxy: &ProxyConfig) -> Result<()> {
        tunnel::pre_authenticate(proxy, self.dialer.proxy_credentials.as_mut(), request)
    }

    /// Answers the proxy's Digest challenge for a request: the one it made last, or else the one
    /// it makes to [`send_challenge_request`](Self::send_challenge_request). `NotAuthenticated`
    /// if the proxy makes none that can be answered.
    #[doc(alias = "proxyAuthenticateDigest")]
    pub fn proxy_authenticate_digest(&mut self, request: &mut Request) -> Result<()> {
        self.proxy_authenticate_by(ProxyAuthentication::Digest, request)
    }

    /// The same for NTLM, whose challenge is good for the connection that it came on.
    #[doc(alias = "proxyAuthenticateNTLM")]
    pub fn proxy_authenticate_ntlm(&mut self, request: &mut Request) -> Result<()> {
        self.proxy_authenticate_by(ProxyAuthentication::Ntlm, request)
    }

    fn proxy_authenticate_by(&mut self, method: ProxyAuthentication, request: &mut Request) -> Result<()> {
        let mut proxy = self.dialer.proxy.clone();
        if self.dialer.proxy_credentials.is_none() || proxy.auth_method() != method {
            proxy.set_auth_method(method);
            self.assign_proxy(proxy);
        }
        let unanswered =
            || Error::new(ErrorKind::NotAuthenticated, "the proxy makes no challenge that can be answered");
        if let Some(credentials) = &mut self.dialer.proxy_credentials {
            if credentials.update_proxy_auth_info(request)?.is_some() {
                return Ok(());
            }
        }
        let mut response = Response::new();
        self.send_challenge_request(request, &mut response)?;
        let credentials = self.dialer.proxy_credentials.as_mut().ok_or_else(unanswered)?;
        credentials.set_time(SystemTime::now());
        match credentials.proxy_authenticate(request, &response)? {
            Some(_) => Ok(()),
            None => Err(unanswered()),
        }
    }

    /// Sends a copy of the request without content, and reads the response to its end: to have
    /// the proxy make its challenge. A proxy that makes none acts upon the request, so only
    /// requests that do no harm are fit for it.
    #[doc(alias = "sendChallengeRequest")]
    pub fn send_challenge_request(&mut self, request: &Request, response: &mut Response) -> Result<()> {
        let mut copy = request.clone();
        copy.set_chunked(false);
        copy.set_content_length(0);
        self.send_request(&copy)?;
        self.receive_response(response)?.skip().map(drop)
    }

    /// A connection through the proxy to the session's host, whatever its scheme, for a protocol
    /// that is not HTTP. The session stays as it is.
    #[doc(alias = "proxyConnect")]
    pub fn proxy_connect(&mut self) -> Result<Stream> {
        self.connect_through(self.own_deadline())
    }

    /// For what is no part of an exchange: the total time-out from now on.
    fn own_deadline(&self) -> Deadline {
        self.connection.timeouts().total.map_or(Deadline::never(), Deadline::after)
    }

    fn connect_through(&mut self, deadline: Deadline) -> Result<Stream> {
        let (timeouts, abort) = (self.connection.timeouts(), self.connection.abort_handle());
        let observer = self.connection.observer().map(|observer| &**observer);
        let limit = limited(timeouts.connect).map_or(Deadline::never(), Deadline::after);
        let deadline = deadline.earlier(limit);
        let within = tunnel::Within { timeouts, deadline, abort: &abort, observer };
        if !self.dialer.proxy.is_some() {
            return Err(Error::illegal_state("the session has no proxy: call set_proxy() first"));
        }
        self.dialer.tunnel(&self.host, self.port, &within)
    }

    /// Goes through the proxy to the session's host, and speaks with the host from then on.
    #[doc(alias = "proxyTunnel")]
    pub fn proxy_tunnel(&mut self) -> Result<()> {
        self.tunnel_within(self.own_deadline())
    }

    pub(super) fn tunnel_within(&mut self, deadline: Deadline) -> Result<()> {
        let limit = limited(self.connection.timeouts().connect).map_or(Deadline::never(), Deadline::after);
        let deadline = deadline.earlier(limit);
        let mut stream = self.connect_through(deadline)?;
        self.exchange.state = State::Idle;
        if let Some(layer) = &self.dialer.layer {
            let peer = Peer { host: &self.host, port: self.port, is_proxy: false };
            let limit = self.connection.timeouts().receive_limit(deadline);
            stream = layer.establish(stream, peer, &limit)?;
        }
        self.connection.attach_socket(stream)?;
        self.tunnelled = true;
        Ok(())
    }

    /// The value of `Proxy-Authorization` that a request goes with.
    pub(super) fn proxy_authorization(&mut self, request: &Request) -> Result<Option<Vec<u8>>> {
        if self.dialer.proxy.username().is_empty() {
            return Ok(None);
        }
        if let Some(proof) = self.introduction.proof.take() {
            return Ok(Some(proof.to_vec()));
        }
        let prefix = self.proxy_request_prefix();
        let mut bare = Request::new(request.method().clone(), sent_target(request, &prefix)?);
        self.proxy_authenticate(&mut bare)?;
        Ok(bare.headers().get_bytes("proxy-authorization").map(<[u8]>::to_vec))
    }

    /// Takes in a challenge of the proxy's, and says whether there is an answer to it. What could
    /// not be answered with this request is answered with the next one.
    pub(super) fn take_challenge(&mut self, response: &Response) -> bool {
        if response.status() != StatusCode::PROXY_AUTHENTICATION_REQUIRED || self.exchange.challenges == 0 {
            return false;
        }
        self.exchange.challenges -= 1;
        let Some(credentials) = &mut self.dialer.proxy_credentials else { return false };
        credentials.set_time(SystemTime::now());
        match credentials.proxy_authenticate(&mut self.exchange.asked, response) {
            Ok(scheme) => {
                self.introduction.wanted = scheme == Some(AuthScheme::Ntlm);
                scheme.is_some()
            }
            // The proxy knows no such user, or makes no challenge that can be read: its response, which
            // came whole, is the caller's.
            Err(error) => {
                log::debug!("the proxy's challenge is not answered: {error}");
                false
            }
        }
    }

    /// Says to the proxy who comes, before content is sent that it would only refuse: by a request
    /// that does no harm, if it passes that on. The answer to its challenge goes with the request.
    pub(super) fn introduce(&mut self, request: &Request) -> Result<()> {
        let mut first = Request::new(Method::HEAD, request.target());
        if let Some(host) = request.headers().get_bytes("host") {
            first.headers_mut().set("Host", host)?;
        }
        let mut response = Response::with_status(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        response.headers_mut().set("Proxy-Authenticate", AuthScheme::Ntlm.as_str())?;
        let Some(credentials) = &mut self.dialer.proxy_credentials else { return Ok(()) };
        credentials.proxy_authenticate(&mut first, &response)?;
        self.connection.observe(Phase::Proxy);
        self.write_request(&first, Framing::None)?;
        self.exchange.reused = false;
        self.end_request()?;
        let limit = self.head_limit();
        self.final_head(&limit, &mut response)?;
        let answered = self.take_challenge(&response);
        self.accept(&response)?;
        self.exchange.state = State::Idle;
        if !self.connection.settle(DRAIN, DRAIN_TIME) {
            return self.connect();
        }
        let proof = self.exchange.asked.headers().get_bytes("proxy-authorization");
        self.introduction.proof = proof.filter(|_| answered).map(|proof| Zeroizing::new(proof.to_vec()));
        Ok(())
    }

    /// Whether the proxy proves that it knows the password too, where it says something to that end.
    #[cfg(feature = "digest")]
    pub(super) fn check_proxy(&mut self, response: &Response) -> Result<()> {
        let challenged = response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        if challenged || self.exchange.challenges == 0 || !response.headers().has("Proxy-Authentication-Info")
        {
            return Ok(());
        }
        match &mut self.dialer.proxy_credentials {
            Some(credentials) => {
                credentials.check_proxy_auth_info(&self.exchange.asked, response, None).map(drop)
            }
            None => Ok(()),
        }
    }

    /// Whether the response was a challenge of the proxy's that could be answered: then the
    /// request was sent again. A request whose content is gone can't be; its response goes to
    /// the caller, and the next request is authenticated.
    pub(super) fn answer_challenge(&mut self, response: &Response) -> Result<bool> {
        if !self.take_challenge(response) {
            return Ok(false);
        }
        let value = self.exchange.asked.headers().get_bytes("proxy-authorization");
        let (Some(value), false) = (value, self.exchange.replay.is_empty()) else {
            // The proxy may never read what is on its way to it: squid 5 doesn't, nor what comes next.
            self.connection.out_mut().poison(CloseReason::EarlyResponse);
            return Ok(false);
        };
        let bound = value.starts_with(b"NTLM ") && !opens_ntlm(value);
        self.exchange.replay = with_field(&self.exchange.replay, "Proxy-Authorization", value)?;
        self.accept(response)?;
        self.exchange.state = State::Requested;
        let settled = if bound {
            self.connection.settle_patiently()
        } else {
            self.connection.settle(DRAIN, DRAIN_TIME)
        };
        if !settled || !self.connection.is_reusable() {
            self.connect()?;
        }
        self.exchange.reused = false;
        self.send_replay()?;
        Ok(true)
    }
}
