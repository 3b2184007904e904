//! TLS on a stream: records in and out, the handshake, and how both ends say that they are done.
//!
//! Plaintext that was written is gathered into full records, which leave together. Limits of time
//! and the abort handle are those of the stream below; what is counted here is only how long a
//! server lets a handshake last. Nothing in `Drop` waits.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, HandshakeKind, ProtocolVersion, ServerConnection};

use super::certificate::Certificate;
use super::context::TlsContext;
use super::error::{explain, failed};
use super::options::{Options, TlsVersion};
use super::session::TlsSession;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::net::abort::AbortHandle;
use crate::net::deadline::{Deadline, Limit};
use crate::net::socket::Socket;
use crate::net::stream::{Readiness, Stream};

/// A stream under TLS, as a client or as a server, on any [`Stream`], another one under TLS
/// included.
///
/// The handshake is made by the first read or write, or by [`handshake`](TlsStream::handshake).
/// Reading gives `Ok(0)` when the peer has said that nothing more comes; a connection that ends
/// without that is [`Incomplete`](ErrorKind::Incomplete), because anybody on the way can end one.
/// What is written leaves by [`flush`](TlsStream::flush), and before a read that waits. Dropping it
/// tells the peer that nothing more comes, if that can be done without waiting.
///
/// ```
/// use std::io::IoSlice;
/// use sessile::net::{Limit, Stream, pair};
/// use sessile::tls::{TlsContext, TlsStream};
///
/// # let made = rcgen::generate_simple_self_signed(["server.example".to_owned()]).unwrap();
/// # let (certificate_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
/// let server = TlsContext::server().certificate_pem(&certificate_pem, &key_pem).build()?;
/// let client = TlsContext::client().only_added_cas().add_ca_pem(&certificate_pem).build()?;
///
/// let (near, far) = pair();
/// let peer = std::thread::spawn(move || -> sessile::Result<()> {
///     let mut stream = TlsStream::server(Stream::custom(far), &server)?;
///     let mut bytes = [0; 64];
///     let n = stream.read(&mut bytes, &Limit::none())?;
///     stream.write_vectored(&[IoSlice::new(&bytes[..n])], &Limit::none())?;
///     stream.flush(&Limit::none())
/// });
///
/// let mut stream = TlsStream::client(Stream::custom(near), "server.example", &client)?;
/// stream.write_vectored(&[IoSlice::new(b"hello")], &Limit::none())?;
/// let mut bytes = [0; 64];
/// assert_eq!(stream.read(&mut bytes, &Limit::none())?, 5);
/// assert_eq!(stream.read(&mut bytes, &Limit::none())?, 0);
/// assert!(stream.peer_certificate().is_some_and(|c| c.verify_name("server.example")));
/// # peer.join().unwrap()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "SecureStreamSocket")]
pub struct TlsStream {
    below: Stream,
    state: State,
    context: TlsContext,
    /// Whom a client asked for.
    server_name: Option<ServerName<'static>>,
    session: Option<TlsSession>,
    /// When a server's handshake must be done, once it has begun.
    handshake_deadline: Option<Deadline>,
    /// Decrypted bytes that wait to be read.
    plaintext: usize,
    /// The first byte that a client sent.
    first: Option<u8>,
    /// The last read below brought less than it could have: nothing was left there.
    drained: bool,
    allow_truncated_close: bool,
    quiet_shutdown: bool,
}

enum State {
    /// Nothing was sent or received yet.
    Client(Box<ClientStart>),
    Server,
    Live(Box<Connection>),
    /// The first error, which all later calls return too. What was decrypted before can still be
    /// read.
    Failed(Error, Option<Box<Connection>>),
}

/// What a client's handshake begins with.
struct ClientStart {
    name: ServerName<'static>,
    port: u16,
    session: Option<TlsSession>,
    send_server_name: Option<bool>,
}

impl TlsStream {
    /// For a client, on a stream that is connected to the server of this name or address. Its
    /// certificate must be for that.
    #[doc(alias = "attach")]
    pub fn client(below: Stream, server_name: &str, context: &TlsContext) -> Result<TlsStream> {
        let (settings, _) = context.for_client()?;
        let name = super::server_name(server_name)?;
        let port = below.peer_addr().map_or(0, |address| address.port());
        let start = ClientStart { name: name.clone(), port, session: None, send_server_name: None };
        let mut stream =
            TlsStream::new(below, State::Client(Box::new(start)), context, &settings.settings.options);
        stream.server_name = Some(name);
        Ok(stream)
    }

    /// For a server, on a stream that a client has connected.
    #[doc(alias = "attach")]
    pub fn server(below: Stream, context: &TlsContext) -> Result<TlsStream> {
        let settings = context.for_server()?;
        Ok(TlsStream::new(below, State::Server, context, &settings.settings.options))
    }

    fn new(below: Stream, state: State, context: &TlsContext, options: &Options) -> TlsStream {
        TlsStream {
            below,
            state,
            context: context.clone(),
            server_name: None,
            session: None,
            handshake_deadline: None,
            plaintext: 0,
            first: None,
            drained: true,
            allow_truncated_close: options.allow_truncated_close,
            quiet_shutdown: options.quiet_shutdown,
        }
    }

    /// Takes up this session, if the server agrees, instead of the one that the context keeps.
    /// Before the handshake.
    #[doc(alias = "useSession")]
    pub fn set_session(&mut self, session: Option<TlsSession>) -> Result<()> {
        match &mut self.state {
            State::Client(start) => {
                start.session = session;
                Ok(())
            }
            _ => Err(Error::illegal_state("a session is taken up by a client, before the handshake")),
        }
    }

    /// Whether the server is told which name is asked for, whatever the context says. Before the
    /// handshake.
    pub fn set_send_server_name(&mut self, send: bool) -> Result<()> {
        match &mut self.state {
            State::Client(start) => {
                start.send_server_name = Some(send);
                Ok(())
            }
            _ => Err(Error::illegal_state("a client tells the name with the handshake, which has begun")),
        }
    }

    /// As what port the server is known among the sessions that are kept.
    pub(crate) fn set_port(&mut self, port: u16) {
        if let State::Client(start) = &mut self.state {
            start.port = port;
        }
    }

    /// Whether a connection that ends without saying so under TLS has ended well:
    /// [`TlsClientBuilder::allow_truncated_close`](super::TlsClientBuilder::allow_truncated_close).
    pub fn set_allow_truncated_close(&mut self, allow: bool) {
        self.allow_truncated_close = allow;
    }

    /// Whether to close without saying so under TLS.
    #[doc(alias = "setQuietShutdown")]
    pub fn set_quiet_shutdown(&mut self, quiet: bool) {
        self.quiet_shutdown = quiet;
    }

    /// Makes the handshake, all of it within the limit. Nothing happens if it was made already. An
    /// error costs the connection, but for one of time, after which the handshake can go on.
    #[doc(alias = "completeHandshake")]
    #[doc(alias = "setLazyHandshake")]
    pub fn handshake(&mut self, limit: &Limit) -> Result<()> {
        // One limit for all of it: a peer that sends a byte now and then gets no more time.
        let whole = match limit.stall {
            Some(stall) if self.is_handshaking() => limit.until(Deadline::after(stall)),
            _ => *limit,
        };
        self.complete_handshake(&whole)?;
        self.flush(&whole)
    }

    /// The same, but what it says last may wait for what is written first, to leave with it.
    pub(crate) fn begin(&mut self, limit: &Limit) -> Result<()> {
        self.complete_handshake(limit)
    }

    /// Whether the handshake is still to be made, or under way.
    #[doc(alias = "getLazyHandshake")]
    pub fn is_handshaking(&self) -> bool {
        match &self.state {
            State::Client(_) | State::Server => true,
            State::Live(tls) => tls.is_handshaking(),
            State::Failed(..) => false,
        }
    }

    fn complete_handshake(&mut self, limit: &Limit) -> Result<()> {
        match &self.state {
            State::Live(tls) if !tls.is_handshaking() => return Ok(()),
            State::Live(_) => {}
            State::Failed(error, _) => return Err(error.duplicate()),
            State::Client(_) | State::Server => self.start()?,
        }
        let own = self.handshake_deadline.unwrap_or(Deadline::never());
        let limit = limit.until(own);
        let result = self.drive_handshake(&limit);
        match result {
            Err(error) if error.is_timeout() => {
                let error = Error::timeout(Phase::Handshake).with_source(error);
                if own.is_over() {
                    return Err(self.fail(error, &limit));
                }
                Err(error)
            }
            Err(error) => Err(self.fail(error.with_phase(Phase::Handshake), &limit)),
            Ok(()) => {
                log::debug!("TLS is up: {}", self.describe());
                Ok(())
            }
        }
    }

    fn drive_handshake(&mut self, limit: &Limit) -> Result<()> {
        let mut heard = self.first.is_some();
        while self.live()?.is_handshaking() {
            while self.live()?.wants_write() {
                self.send_records(limit)?;
            }
            if !self.live()?.is_handshaking() {
                break;
            }
            if self.receive_records(limit)? == 0 {
                return Err(if heard || self.server_name.is_some() {
                    failed("the peer has closed the connection during the TLS handshake")
                } else {
                    Error::new(
                        ErrorKind::NoMessage,
                        "the peer has closed the connection before the TLS handshake",
                    )
                });
            }
            heard = true;
        }
        Ok(())
    }

    /// Makes the connection from what was asked for.
    fn start(&mut self) -> Result<()> {
        let made = match &self.state {
            State::Client(start) => {
                let (state, cache) = self.context.for_client()?;
                let session = match &start.session {
                    Some(given) if given.is_for(&start.name) => given.clone(),
                    _ => cache.session(&start.name, start.port),
                };
                let mut config = state.config.clone();
                config.resumption = Resumption::store(session.store());
                config.enable_sni = start.send_server_name.unwrap_or(config.enable_sni);
                let made = ClientConnection::new(Arc::new(config), start.name.clone());
                self.session = Some(session);
                made.map(Connection::Client)
            }
            State::Server => {
                let state = self.context.for_server()?;
                let timeout = state.settings.handshake_timeout;
                self.handshake_deadline = (!timeout.is_zero()).then(|| Deadline::after(timeout));
                ServerConnection::new(state.config.clone()).map(Connection::Server)
            }
            State::Live(_) | State::Failed(..) => return Ok(()),
        };
        let mut tls = made.map_err(|error| failed("TLS can't begin").with_source(error))?;
        tls.set_buffer_limit(Some(GATHERED));
        self.state = State::Live(Box::new(tls));
        Ok(())
    }

    /// No call succeeds from now on, once what was decrypted before is read. The peer is told why,
    /// if that is known, and given a moment to read it: it may be sending still, and would lose it
    /// to a reset.
    fn fail(&mut self, error: Error, limit: &Limit) -> Error {
        let before = std::mem::replace(&mut self.state, State::Failed(error.duplicate(), None));
        let State::Live(mut tls) = before else { return error };
        if error.kind() == ErrorKind::Tls && tls.wants_write() && !self.peer_spoke_plainly() {
            let limit = Limit::from(limit.deadline.earlier(Deadline::after(LAST_WORDS)));
            let said = tls.write_tls(&mut Outward { below: &mut self.below, limit: &limit }).is_ok();
            if said && self.below.flush(&limit).is_ok() {
                self.below.linger(256 << 10, &limit);
            }
        }
        self.state = State::Failed(error.duplicate(), (self.plaintext > 0).then_some(tls));
        error
    }

    /// Whether the first thing that the peer said is no TLS, but could be text: `GET`, say. Nothing
    /// was answered then; a server can still answer in plain text, on
    /// [`below_mut`](TlsStream::below_mut).
    pub fn peer_spoke_plainly(&self) -> bool {
        self.first.is_some_and(|byte| byte.is_ascii_alphabetic())
    }

    /// The stream below, to answer in plain text on, if that is how the peer began. Once.
    pub(crate) fn take_plain_speaker(&mut self) -> Option<&mut Stream> {
        let spoke_plainly = matches!(self.state, State::Failed(..)) && self.peer_spoke_plainly();
        self.first = None;
        spoke_plainly.then_some(&mut self.below)
    }

    fn live(&mut self) -> Result<&mut Connection> {
        match &mut self.state {
            State::Live(tls) => Ok(tls),
            State::Failed(error, _) => Err(error.duplicate()),
            State::Client(_) | State::Server => Err(Error::illegal_state("TLS has not begun")),
        }
    }

    /// Reads what is there, or waits for it. `Ok(0)` means that the peer has said that nothing more
    /// comes.
    #[doc(alias = "receiveBytes")]
    pub fn read(&mut self, buf: &mut [u8], limit: &Limit) -> Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            if self.plaintext > 0 {
                return self.take_plaintext(buf);
            }
            match self.complete_handshake(limit) {
                Err(error) if error.kind() == ErrorKind::NoMessage => return Ok(0),
                done => done?,
            }
            if self.plaintext > 0 {
                // It came along with the end of the handshake.
                continue;
            }
            let tls = self.live()?;
            match tls.reader().read(buf) {
                // It said goodbye.
                Ok(n) => return Ok(n),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return self.ended_silently(),
                Err(_) => {}
            }
            while !self.is_flushed() {
                self.flush_some(limit)?;
            }
            match self.receive_records(limit) {
                Ok(_) => {}
                Err(error) if error.is_timeout() => return Err(error),
                Err(error) => {
                    let error = self.fail(error, limit);
                    // What came before it is read first.
                    if self.plaintext == 0 {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn take_plaintext(&mut self, buf: &mut [u8]) -> Result<usize> {
        match &mut self.state {
            State::Live(tls) => {
                let n = tls.reader().read(buf)?;
                self.plaintext -= n.min(self.plaintext);
                Ok(n)
            }
            State::Failed(_, Some(tls)) => {
                let n = tls.reader().read(buf)?;
                self.plaintext = plaintext(tls);
                Ok(n)
            }
            _ => Err(Error::illegal_state("nothing was decrypted")),
        }
    }

    fn ended_silently(&self) -> Result<usize> {
        if self.allow_truncated_close {
            return Ok(0);
        }
        Err(Error::incomplete(
            "the connection was closed without the peer saying so under TLS: what it sent may have been cut short",
        ))
    }

    /// One read below, and what it means.
    fn receive_records(&mut self, limit: &Limit) -> Result<usize> {
        let State::Live(tls) = &mut self.state else { return self.live().map(|_| 0) };
        let mut inward = Inward { below: &mut self.below, limit, first: &mut self.first, drained: true };
        let n = tls.read_tls(&mut inward)?;
        self.drained = inward.drained;
        match tls.process_new_packets() {
            Ok(now) => {
                self.plaintext = now.plaintext_bytes_to_read();
                Ok(n)
            }
            Err(error) => {
                self.plaintext = plaintext(tls);
                let name = self.server_name.as_ref().map(|name| name.to_str().into_owned());
                Err(explain(error, name.as_deref()))
            }
        }
    }

    /// One write below, of records that are ready.
    fn send_records(&mut self, limit: &Limit) -> Result<()> {
        let State::Live(tls) = &mut self.state else { return self.live().map(|_| ()) };
        tls.write_tls(&mut Outward { below: &mut self.below, limit })?;
        if !tls.wants_write() && !self.below.is_flushed() {
            self.below.flush(limit)?;
        }
        Ok(())
    }

    /// Encrypts these parts, in their order, and says how much of them that was: all, or as many
    /// full records as are gathered before they leave. Waits, for the handshake or for records to
    /// leave, only while it can take nothing.
    #[doc(alias = "sendBytes")]
    pub fn write_vectored(&mut self, parts: &[IoSlice<'_>], limit: &Limit) -> Result<usize> {
        self.complete_handshake(limit)?;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if total == 0 {
            return Ok(0);
        }
        loop {
            let tls = self.live()?;
            let n = match parts {
                [part] => tls.writer().write(part),
                _ => tls.writer().write_vectored(parts),
            }?;
            if n > 0 {
                return Ok(n);
            }
            self.send_records(limit)?;
        }
    }

    /// Whether everything that was written is on its way.
    pub fn is_flushed(&self) -> bool {
        match &self.state {
            State::Live(tls) => !tls.wants_write() && self.below.is_flushed(),
            _ => true,
        }
    }

    /// Sends what was written. After an error of time the rest leaves with the next flush.
    pub fn flush(&mut self, limit: &Limit) -> Result<()> {
        while !self.is_flushed() {
            self.flush_some(limit)?;
        }
        Ok(())
    }

    pub(crate) fn flush_some(&mut self, limit: &Limit) -> Result<()> {
        match &self.state {
            State::Live(tls) if tls.wants_write() => self.send_records(limit),
            _ => self.below.flush_some(limit),
        }
    }

    pub(crate) fn write_nowait(&mut self, bytes: &[u8]) -> Result<usize> {
        let State::Live(tls) = &mut self.state else { return Ok(0) };
        if tls.is_handshaking() || tls.wants_write() {
            return Ok(0);
        }
        let n = tls.writer().write(bytes)?;
        write_nowait(tls, &mut self.below)?;
        Ok(n)
    }

    /// Looks at what a read would find, without waiting. Tickets and other messages of TLS's own
    /// are taken in by this, and are nothing.
    #[doc(alias = "poll")]
    #[doc(alias = "available")]
    pub fn peek_nowait(&mut self) -> Result<Readiness> {
        loop {
            if self.plaintext > 0 {
                return Ok(Readiness::Data);
            }
            match &mut self.state {
                State::Client(_) | State::Server => return self.below.peek_nowait(),
                State::Failed(error, _) => return Err(error.duplicate()),
                State::Live(tls) => match tls.reader().read(&mut [0]) {
                    Ok(_) => return Ok(Readiness::End),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Readiness::End),
                    Err(_) if tls.is_handshaking() => return self.below.peek_nowait(),
                    Err(_) => {}
                },
            }
            match self.below.peek_nowait()? {
                Readiness::Nothing => return Ok(Readiness::Nothing),
                Readiness::End | Readiness::Data => {
                    // There is something, so that nothing waits here.
                    let limit = Limit::stall(AT_ONCE);
                    if let Err(error) = self.receive_records(&limit) {
                        return Err(if error.is_timeout() { error } else { self.fail(error, &limit) });
                    }
                }
            }
        }
    }

    /// Whether a read would return bytes that were decrypted already.
    pub fn has_buffered(&self) -> bool {
        self.plaintext > 0
    }

    /// Whether nothing is held here, of what came or of what is to leave.
    pub(crate) fn is_idle(&self) -> bool {
        self.plaintext == 0 && self.is_flushed()
    }

    /// Gives back the buffer that the last large record needed. The library does so by itself, but
    /// only when it is about to read; this read finds nothing.
    pub(crate) fn release(&mut self) {
        struct Nothing;
        impl Read for Nothing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
        if let State::Live(tls) = &mut self.state {
            let _ = tls.read_tls(&mut Nothing);
        }
        self.below.release();
    }

    /// Whether the last read left nothing below.
    pub(crate) fn is_drained(&self) -> bool {
        self.plaintext == 0 && self.drained
    }

    /// Ends one side or both. Before the end of the write side the peer is told that nothing more
    /// comes (`close_notify`); nobody waits for it to say the same.
    #[doc(alias = "shutdownSend")]
    pub fn shutdown(&mut self, how: Shutdown, limit: &Limit) -> Result<()> {
        if how != Shutdown::Read && self.says_goodbye() {
            if let State::Live(tls) = &mut self.state {
                tls.send_close_notify();
            }
            let told = self.flush(limit);
            if how == Shutdown::Both {
                // Whoever ends both sides doesn't care.
                return self.below.shutdown(how, limit);
            }
            told?;
        }
        self.below.shutdown(how, limit)
    }

    fn says_goodbye(&self) -> bool {
        matches!(&self.state, State::Live(tls) if !tls.is_handshaking()) && !self.quiet_shutdown
    }

    /// Makes `abort` the handle that stops calls on this stream, in every phase.
    pub fn attach_abort(&mut self, abort: &AbortHandle) -> Result<()> {
        self.below.attach_abort(abort)
    }

    /// The address of this end.
    #[doc(alias = "address")]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.below.local_addr()
    }

    /// The address of the other end.
    #[doc(alias = "peerAddress")]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.below.peer_addr()
    }

    /// The socket under all of it.
    pub fn socket(&self) -> Option<&Socket> {
        self.below.socket()
    }

    /// The stream below.
    pub fn below(&self) -> &Stream {
        &self.below
    }

    /// The stream below. What is read or written there is missing in TLS, which does not survive
    /// it.
    pub fn below_mut(&mut self) -> &mut Stream {
        &mut self.below
    }

    /// The context that this was made with.
    pub fn context(&self) -> &TlsContext {
        &self.context
    }

    fn connection(&self) -> Option<&Connection> {
        match &self.state {
            State::Live(tls) => Some(tls),
            State::Failed(_, tls) => tls.as_deref(),
            State::Client(_) | State::Server => None,
        }
    }

    /// The peer's certificate: the server's, or that of a client which was asked for one and has
    /// it. There after the handshake, and valid, unless
    /// [`dangerous`](super::TlsClientBuilder::dangerous) settings let it through.
    #[doc(alias = "peerCertificate")]
    #[doc(alias = "havePeerCertificate")]
    pub fn peer_certificate(&self) -> Option<Certificate> {
        let der = self.connection()?.peer_certificates()?.first()?;
        (!self.is_handshaking()).then(|| Certificate::received(der))
    }

    /// The peer's certificate, and those that it sent along, towards the authority.
    pub fn peer_chain(&self) -> Vec<Certificate> {
        let chain = self.connection().and_then(|tls| tls.peer_certificates());
        match chain {
            Some(chain) if !self.is_handshaking() => {
                chain.iter().map(|der| Certificate::received(der)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The name that was asked for: by us as a client, by the peer if this is a server's stream.
    #[doc(alias = "getPeerHostName")]
    pub fn server_name(&self) -> Option<String> {
        match (&self.server_name, self.connection()) {
            (Some(name), _) => Some(name.to_str().into_owned()),
            (None, Some(Connection::Server(tls))) => tls.server_name().map(str::to_owned),
            _ => None,
        }
    }

    /// The version that was agreed on.
    pub fn version(&self) -> Option<TlsVersion> {
        match self.connection()?.protocol_version()? {
            ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
            ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
            _ => None,
        }
    }

    /// The cipher suite that was agreed on, as IANA names it.
    pub fn cipher_suite(&self) -> Option<String> {
        let suite = self.connection()?.negotiated_cipher_suite()?.suite();
        suite.as_str().map(|name| name.replacen("TLS13_", "TLS_", 1))
    }

    /// The protocol that was agreed on by ALPN: `http/1.1`, or none.
    pub fn protocol(&self) -> Option<String> {
        self.connection()?.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// The session, to be taken up by another connection; a client's only.
    #[doc(alias = "currentSession")]
    pub fn session(&self) -> Option<TlsSession> {
        self.session.clone()
    }

    /// Whether an earlier session was taken up, instead of a full handshake.
    #[doc(alias = "sessionWasReused")]
    pub fn session_was_reused(&self) -> bool {
        self.connection().and_then(|tls| tls.handshake_kind()) == Some(HandshakeKind::Resumed)
    }

    fn describe(&self) -> String {
        format!(
            "{}, {}{}",
            self.version().map_or_else(String::new, |version| version.to_string()),
            self.cipher_suite().unwrap_or_default(),
            if self.session_was_reused() { ", session taken up" } else { "" },
        )
    }
}

impl Drop for TlsStream {
    /// Tells the peer that nothing more comes, where that takes no waiting.
    fn drop(&mut self) {
        if !self.says_goodbye() {
            return;
        }
        let State::Live(tls) = &mut self.state else { return };
        tls.send_close_notify();
        // The peer may be gone. Nobody is left to tell.
        let _ = write_nowait(tls, &mut self.below);
        if self.server_name.is_some() {
            // Tickets that nobody has read would have the system reset the connection, and what is
            // on its way to the server with it.
            let (mut sink, limit) = ([0; 2048], Limit::stall(AT_ONCE));
            let mut left = 4;
            while left > 0 && matches!(self.below.peek_nowait(), Ok(Readiness::Data)) {
                if self.below.read(&mut sink, &limit).is_err() {
                    break;
                }
                left -= 1;
            }
        }
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("below", &self.below)
            .field("server_name", &self.server_name())
            .field("version", &self.version())
            .field("handshaking", &self.is_handshaking())
            .finish_non_exhaustive()
    }
}

/// The stream below, as the library reads it.
struct Inward<'a> {
    below: &'a mut Stream,
    limit: &'a Limit,
    first: &'a mut Option<u8>,
    drained: bool,
}

impl Read for Inward<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.below.read(buf, self.limit)?;
        self.drained = n < buf.len();
        if self.first.is_none() {
            *self.first = buf[..n].first().copied();
        }
        Ok(n)
    }
}

/// The stream below, as the library writes to it.
struct Outward<'a> {
    below: &'a mut Stream,
    limit: &'a Limit,
}

impl Write for Outward<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(self.below.write_vectored(&[IoSlice::new(buf)], self.limit)?)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(self.below.write_vectored(parts, self.limit)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The stream below, which takes what it can.
struct Hurried<'a>(&'a mut Stream);

impl Write for Hurried<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(self.0.write_nowait(buf)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes as many records as can leave without waiting.
fn write_nowait(tls: &mut Connection, below: &mut Stream) -> Result<()> {
    while tls.wants_write() {
        if tls.write_tls(&mut Hurried(below))? == 0 {
            break;
        }
    }
    Ok(())
}

/// Bytes that were decrypted and can be read at once, after an error too: none if there are none.
fn plaintext(tls: &mut Connection) -> usize {
    tls.reader().into_first_chunk().map_or(0, <[u8]>::len)
}

/// Plaintext that is gathered before it leaves: full records, and no more than fits into one system
/// call of the socket with what they are wrapped in.
const GATHERED: usize = 15 * 16 * 1024;

/// How long a peer may take to read why it was refused.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// For a read of what is there.
const AT_ONCE: Duration = Duration::from_millis(50);
