//! Who a server is, and whom it serves: the settings, and what is made of them.
//!
//! The settings keep where everything came from, so that it can be read again while the server
//! runs.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoClientAuth, ResolvesServerCert, ServerConfig, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use super::certificate::{Certificate, SubjectName};
use super::context::TlsContext;
use super::error::failed;
use super::options::{Options, VerificationMode, shared_setters};
use super::pem::{Identity, Source, authorities, revocation_lists};
use super::tickets::{SessionStore, TicketKeys};
use super::verify::{AskAboutClient, Handler, InvalidCertificate, TrustNobody};
use crate::error::Result;

/// The settings of servers. Files are read, and everything is checked, by
/// [`build`](TlsServerBuilder::build) and by [`TlsContext::reload`].
///
/// ```no_run
/// use sessile::tls::{TlsContext, VerificationMode};
///
/// let context = TlsContext::server()
///     .certificate_files("example.com.pem", "example.com.key")
///     .certificate_files("example.org.pem", "example.org.key")
///     .client_ca_file("clients-ca.pem")
///     .verification_mode(VerificationMode::Relaxed)
///     .build()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens until build()"]
pub struct TlsServerBuilder {
    pub(super) options: Options,
    identities: Vec<Identity>,
    client_authorities: Vec<Source>,
    revocation_lists: Vec<Source>,
    require_revocation_status: bool,
    verification: Option<VerificationMode>,
    handler: Option<Handler>,
    prefer_server_ciphers: bool,
    stateless: bool,
    tickets: usize,
    pub(super) handshake_timeout: Duration,
}

/// What the connections of a context are made with.
pub(super) struct ServerState {
    pub(super) settings: TlsServerBuilder,
    pub(super) config: Arc<ServerConfig>,
    pub(super) keys: Option<Arc<TicketKeys>>,
    pub(super) store: Arc<SessionStore>,
}

impl TlsServerBuilder {
    pub(super) fn new() -> TlsServerBuilder {
        TlsServerBuilder {
            options: Options::new(&["http/1.1", "http/1.0"], STORE_SIZE, SESSION_LIFETIME),
            identities: Vec::new(),
            client_authorities: Vec::new(),
            revocation_lists: Vec::new(),
            require_revocation_status: false,
            verification: None,
            handler: None,
            prefer_server_ciphers: false,
            stateless: true,
            tickets: TICKETS,
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }

    shared_setters!();

    /// A certificate, with those that lead to its authority behind it, and its private key: PEM or
    /// DER. The same file may hold both.
    ///
    /// With several certificates, each client is shown the one that is for the name it asks for;
    /// one that asks for another name or none, the first. Of two for the same name it gets the
    /// first one that it can check.
    #[doc(alias = "useCertificate")]
    #[doc(alias = "usePrivateKey")]
    #[doc(alias = "certificateFile")]
    #[doc(alias = "privateKeyFile")]
    pub fn certificate_files(mut self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.identities.push(Identity { chain: vec![Source::file(chain)], key: Source::file(key) });
        self
    }

    /// The same from PEM texts.
    #[doc(alias = "useCertificate")]
    #[doc(alias = "usePrivateKey")]
    pub fn certificate_pem(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.identities.push(Identity { chain: vec![Source::pem(chain)], key: Source::pem(key) });
        self
    }

    /// The same from DER.
    #[doc(alias = "addChainCertificate")]
    pub fn certificate_der<C: AsRef<[u8]>>(
        mut self,
        chain: impl IntoIterator<Item = C>,
        key: impl AsRef<[u8]>,
    ) -> Self {
        let chain = chain.into_iter().map(Source::der).collect();
        self.identities.push(Identity { chain, key: Source::der(key) });
        self
    }

    /// Who issues the certificates of clients: a file, PEM or DER, or a directory of such files.
    /// Clients must have one then, unless
    /// [`verification_mode`](TlsServerBuilder::verification_mode) says otherwise.
    #[doc(alias = "addCertificateAuthority")]
    #[doc(alias = "caLocation")]
    pub fn client_ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.client_authorities.push(Source::file(path));
        self
    }

    /// The same from a PEM text.
    #[doc(alias = "addCertificateAuthority")]
    pub fn client_ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.client_authorities.push(Source::pem(pem));
        self
    }

    /// The same from DER.
    #[doc(alias = "addCertificateAuthority")]
    pub fn client_ca_der(mut self, der: impl AsRef<[u8]>) -> Self {
        self.client_authorities.push(Source::der(der));
        self
    }

    /// Whether clients are asked for a certificate, and must have one.
    pub fn verification_mode(mut self, mode: VerificationMode) -> Self {
        self.verification = Some(mode);
        self
    }

    /// Refuses clients whose certificates the revocation lists in this file name, PEM or DER.
    pub fn client_crl_file(mut self, path: impl AsRef<Path>) -> Self {
        self.revocation_lists.push(Source::file(path));
        self
    }

    /// The same from a PEM text.
    pub fn client_crl_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.revocation_lists.push(Source::pem(pem));
        self
    }

    /// The same from DER.
    pub fn client_crl_der(mut self, der: impl AsRef<[u8]>) -> Self {
        self.revocation_lists.push(Source::der(der));
        self
    }

    /// Refuses also what none of the lists speaks of, and what only lists that are out of date do.
    /// Off, unless set: then only what is listed is refused.
    pub fn require_revocation_status(mut self, require: bool) -> Self {
        self.require_revocation_status = require;
        self
    }

    /// How long a handshake may take, from the first read or write on. 10 s, unless set: as long as
    /// a head may. Zero is no limit.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Chooses ciphers by our order instead of the client's, who knows best what its hardware does
    /// fast. Off, unless set.
    #[doc(alias = "preferServerCiphers")]
    pub fn prefer_server_ciphers(mut self, prefer: bool) -> Self {
        self.prefer_server_ciphers = prefer;
        self
    }

    /// Whether clients keep their sessions themselves, in tickets that only we can read. On, unless
    /// set. Otherwise they are kept here, as many as
    /// [`session_cache_size`](TlsServerBuilder::session_cache_size) says.
    #[doc(alias = "disableStatelessSessionResumption")]
    pub fn stateless_tickets(mut self, stateless: bool) -> Self {
        self.stateless = stateless;
        self
    }

    /// How many tickets a client of TLS 1.3 gets for each connection: 2, unless set, so that it can
    /// make two at a time. With 0, sessions are not taken up again.
    pub fn tickets(mut self, tickets: usize) -> Self {
        self.tickets = tickets;
        self
    }

    /// How many sessions are kept here, for clients that can't keep them: 1024, unless set. With 0,
    /// none are.
    #[doc(alias = "enableSessionCache")]
    #[doc(alias = "setSessionCacheSize")]
    pub fn session_cache_size(mut self, sessions: usize) -> Self {
        self.options.session_cache_size = sessions;
        self
    }

    /// How long a session can be taken up: 12 hours, unless set, and with tickets at most. The key
    /// of tickets changes after half of it.
    #[doc(alias = "setSessionTimeout")]
    pub fn session_timeout(mut self, lifetime: Duration) -> Self {
        self.options.session_timeout = lifetime;
        self
    }

    /// Ways to serve clients that can't be trusted. What follows is spelled out, so that a search
    /// finds it.
    pub fn dangerous(self) -> DangerousTlsServerBuilder {
        DangerousTlsServerBuilder { builder: self }
    }

    /// Reads the files, checks everything, and makes the context. Errors are as with clients:
    /// [`TlsClientBuilder::build`](super::TlsClientBuilder::build).
    #[must_use = "the context is what connections are accepted with"]
    pub fn build(self) -> Result<TlsContext> {
        TlsContext::from_server(self)
    }

    /// Reads everything. Keys of tickets are taken over from the state before, where tickets made
    /// under it may still be believed.
    pub(super) fn state(&self, before: Option<&ServerState>) -> Result<ServerState> {
        if self.identities.is_empty() {
            return Err(failed("a server needs a certificate: certificate_files(..)"));
        }
        let provider = self.options.provider.crypto()?;
        let mut certificates = Certificates::default();
        for identity in &self.identities {
            certificates.add(identity.load(&provider)?);
        }
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.options.versions()?)
            .map_err(|error| failed("the provider can't do these versions").with_source(error))?;
        let mut config = builder
            .with_client_cert_verifier(self.verifier(&provider)?)
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols.clone_from(&self.options.protocols);
        config.ignore_client_order = self.prefer_server_ciphers;
        config.send_tls13_tickets = self.tickets;
        if let Some(key_log) = self.options.key_log()? {
            config.key_log = key_log;
        }
        // A ticket stands for a client that was looked at when it was made: after a change of who
        // is let in, none does.
        let before = before.filter(|before| self.keeps_sessions_of(&before.settings));
        let store = match before {
            Some(before) => before.store.clone(),
            None => {
                Arc::new(SessionStore::new(self.options.session_cache_size, self.options.session_timeout))
            }
        };
        config.session_storage = store.clone();
        let keys = match before.and_then(|before| before.keys.clone()) {
            _ if !self.stateless || self.tickets == 0 => None,
            Some(keys) => Some(keys),
            None => Some(Arc::new(TicketKeys::new(self.options.provider, self.options.session_timeout)?)),
        };
        if let Some(keys) = &keys {
            config.ticketer = keys.clone();
        }
        Ok(ServerState { settings: self.clone(), config: Arc::new(config), keys, store })
    }

    fn keeps_sessions_of(&self, before: &TlsServerBuilder) -> bool {
        let (now, then) = (&self.options, &before.options);
        self.mode() == VerificationMode::None
            && before.mode() == VerificationMode::None
            && now.provider == then.provider
            && now.session_cache_size == then.session_cache_size
            && now.session_timeout == then.session_timeout
    }

    fn mode(&self) -> VerificationMode {
        let unsaid = match (self.client_authorities.is_empty(), &self.handler) {
            (true, None) => VerificationMode::None,
            _ => VerificationMode::Strict,
        };
        self.verification.unwrap_or(unsaid)
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>> {
        let mode = self.mode();
        if mode == VerificationMode::None {
            return Ok(Arc::new(NoClientAuth));
        }
        let mandatory = mode == VerificationMode::Strict;
        let mut rules: Arc<dyn ClientCertVerifier> = match (self.client_authorities.is_empty(), &self.handler)
        {
            (true, None) => {
                return Err(failed(
                    "clients can't be asked for certificates without an authority that issues them: \
                     client_ca_file(..)",
                ));
            }
            (true, Some(_)) => Arc::new(TrustNobody { provider: provider.clone(), mandatory }),
            (false, _) => self.rules(mandatory, provider)?,
        };
        if let Some(handler) = &self.handler {
            rules = Arc::new(AskAboutClient { rules, handler: handler.clone() });
        }
        Ok(rules)
    }

    fn rules(&self, mandatory: bool, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities(&self.client_authorities)?);
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        if !mandatory {
            builder = builder.allow_unauthenticated();
        }
        if !self.revocation_lists.is_empty() {
            builder = builder.with_crls(revocation_lists(&self.revocation_lists)?);
        }
        builder = if self.require_revocation_status {
            builder.enforce_revocation_expiration()
        } else {
            builder.allow_unknown_revocation_status()
        };
        builder
            .build()
            .map_err(|error| failed("a certificate revocation list can't be read").with_source(error))
    }
}

/// Settings that let clients in about whom nothing is known. From [`TlsServerBuilder::dangerous`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens until build()"]
pub struct DangerousTlsServerBuilder {
    builder: TlsServerBuilder,
}

impl DangerousTlsServerBuilder {
    /// Asks this function about each certificate of a client that is not valid, and accepts it if
    /// it says `true`. It is told why, and runs on the connection's thread. It is not asked about
    /// sessions that are taken up again.
    #[doc(alias = "InvalidCertificateHandler")]
    #[doc(alias = "setInvalidCertificateHandler")]
    #[doc(alias = "ClientVerificationError")]
    pub fn on_invalid_certificate(
        mut self,
        accept: impl Fn(&InvalidCertificate<'_>) -> bool + Send + Sync + 'static,
    ) -> TlsServerBuilder {
        self.builder.handler = Some(Handler(Arc::new(accept)));
        self.builder
    }
}

/// Certificates by the names that they are for.
#[derive(Default)]
struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    /// In lower case; `*.example.com` without its star. Positions in `all`, in order.
    exact: HashMap<String, Vec<usize>>,
    of_domain: HashMap<String, Vec<usize>>,
}

impl Certificates {
    fn add(&mut self, identity: Arc<CertifiedKey>) {
        let at = self.all.len();
        if let Some(own) = identity.cert.first() {
            for name in Certificate::received(own).names() {
                let SubjectName::Dns(name) = name else { continue };
                let name = name.to_ascii_lowercase();
                match name.strip_prefix("*.") {
                    Some(domain) => self.of_domain.entry(domain.to_owned()).or_default().push(at),
                    None => self.exact.entry(name).or_default().push(at),
                }
            }
        }
        self.all.push(identity);
    }

    /// The certificates to choose from, in order.
    fn choice(&self, name: Option<&str>) -> Option<&[usize]> {
        let name = name?.to_ascii_lowercase();
        self.exact.get(&name).or_else(|| self.of_domain.get(name.split_once('.')?.1)).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let usable = |identity: &&Arc<CertifiedKey>| identity.key.choose_scheme(schemes).is_some();
        let named = self.choice(hello.server_name());
        named
            .and_then(|named| named.iter().filter_map(|at| self.all.get(*at)).find(usable))
            .or_else(|| self.all.iter().find(usable))
            .cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("count", &self.all.len()).finish_non_exhaustive()
    }
}

/// Sessions of clients that take no tickets are few.
const STORE_SIZE: usize = 1024;

/// Twice the life of a ticket key: see `tickets`.
const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// As OpenSSL: browsers open connections in pairs.
const TICKETS: usize = 2;

/// A handshake is two flights. Who needs longer holds a thread.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
