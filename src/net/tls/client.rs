//! What a client trusts, and who it is: the settings, and what is made of them.
//!
//! Everything is checked when the context is built; a connection that is made later finds nothing
//! left to fail on but the peer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ClientConfig, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::SingleCertAndKey;

use super::context::TlsContext;
use super::error::failed;
use super::options::{Options, VerificationMode, shared_setters};
use super::pem::{Identity, Source, authorities, revocation_lists};
use super::verify::{AskAboutServer, Handler, InvalidCertificate, TrustAdded, TrustNobody};
use crate::error::{Error, Result};

/// The settings of clients. Files are read, and everything is checked, by
/// [`build`](TlsClientBuilder::build).
///
/// Unless told otherwise, the authorities are those that Mozilla trusts, as of the release of the
/// crate `webpki-roots` that was compiled in. A server's certificate must be valid, for this use,
/// and for the name that was asked for; nothing but [`dangerous`](TlsClientBuilder::dangerous)
/// changes that.
///
/// ```no_run
/// use sessile::tls::TlsContext;
///
/// let context = TlsContext::client()
///     .add_ca_file("corporate-ca.pem")
///     .certificate_files("client.pem", "client.key")
///     .build()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens until build()"]
pub struct TlsClientBuilder {
    pub(super) options: Options,
    roots: Roots,
    extra: Vec<Source>,
    from_env: bool,
    revocation_lists: Vec<Source>,
    require_revocation_status: bool,
    identity: Option<Identity>,
    send_server_name: bool,
    verification: VerificationMode,
    handler: Option<Handler>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Roots {
    /// Those that were compiled in.
    Mozilla,
    /// Only those that were added.
    None,
    /// The system decides.
    Platform,
}

/// What the connections of a context are made with.
pub(super) struct ClientState {
    pub(super) settings: TlsClientBuilder,
    pub(super) config: ClientConfig,
}

impl TlsClientBuilder {
    pub(super) fn new() -> TlsClientBuilder {
        TlsClientBuilder {
            options: Options::new(&["http/1.1"], CACHE_SIZE, SESSION_LIFETIME),
            roots: Roots::Mozilla,
            extra: Vec::new(),
            from_env: false,
            revocation_lists: Vec::new(),
            require_revocation_status: false,
            identity: None,
            send_server_name: true,
            verification: VerificationMode::Strict,
            handler: None,
        }
    }

    shared_setters!();

    /// Trusts the authorities in this file too, PEM or DER; of a directory, those in all its files.
    #[doc(alias = "addCertificateAuthority")]
    #[doc(alias = "caLocation")]
    pub fn add_ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.extra.push(Source::file(path));
        self
    }

    /// Trusts the authorities in this PEM text too.
    #[doc(alias = "addCertificateAuthority")]
    pub fn add_ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.extra.push(Source::pem(pem));
        self
    }

    /// Trusts this authority too.
    #[doc(alias = "addCertificateAuthority")]
    pub fn add_ca_der(mut self, der: impl AsRef<[u8]>) -> Self {
        self.extra.push(Source::der(der));
        self
    }

    /// Trusts the authorities in the file that the environment variable `SSL_CERT_FILE` names, and
    /// those in the directory that `SSL_CERT_DIR` names, as OpenSSL does. Without them nothing
    /// changes.
    pub fn add_ca_from_env(mut self) -> Self {
        self.from_env = true;
        self
    }

    /// Trusts only the authorities that were added.
    #[doc(alias = "loadDefaultCAs")]
    pub fn only_added_cas(mut self) -> Self {
        self.roots = Roots::None;
        self
    }

    /// Leaves it to the operating system which servers are trusted, as browsers do: with the
    /// authorities that were installed there, and by its own rules. Those that were added here are
    /// trusted too. Needs the feature `platform-verifier`.
    pub fn platform_verifier(mut self) -> Self {
        self.roots = Roots::Platform;
        self
    }

    /// Refuses what the certificate revocation lists in this file name, PEM or DER.
    pub fn add_crl_file(mut self, path: impl AsRef<Path>) -> Self {
        self.revocation_lists.push(Source::file(path));
        self
    }

    /// Refuses what the certificate revocation lists in this PEM text name.
    pub fn add_crl_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.revocation_lists.push(Source::pem(pem));
        self
    }

    /// Refuses what this certificate revocation list names.
    pub fn add_crl_der(mut self, der: impl AsRef<[u8]>) -> Self {
        self.revocation_lists.push(Source::der(der));
        self
    }

    /// Refuses also what none of the lists speaks of, and what only lists that are out of date do.
    /// Off, unless set: then only what is listed is refused.
    pub fn require_revocation_status(mut self, require: bool) -> Self {
        self.require_revocation_status = require;
        self
    }

    /// The certificate to show to servers that ask for one, with those that lead to its authority
    /// behind it, and its private key: PEM or DER. The same file may hold both.
    #[doc(alias = "useCertificate")]
    #[doc(alias = "usePrivateKey")]
    #[doc(alias = "certificateFile")]
    pub fn certificate_files(mut self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.identity = Some(Identity { chain: vec![Source::file(chain)], key: Source::file(key) });
        self
    }

    /// The same from PEM texts.
    #[doc(alias = "useCertificate")]
    #[doc(alias = "usePrivateKey")]
    pub fn certificate_pem(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.identity = Some(Identity { chain: vec![Source::pem(chain)], key: Source::pem(key) });
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
        self.identity = Some(Identity { chain, key: Source::der(key) });
        self
    }

    /// Whether servers are told which name is asked for (SNI, RFC 6066). On, unless set; an address
    /// is never told.
    pub fn send_server_name(mut self, send: bool) -> Self {
        self.send_server_name = send;
        self
    }

    /// Poco's verification mode. All but [`VerificationMode::None`] mean the same to a client, and
    /// that one is refused here: see [`dangerous`](TlsClientBuilder::dangerous).
    pub fn verification_mode(mut self, mode: VerificationMode) -> Self {
        self.verification = mode;
        self
    }

    /// For how many servers sessions are kept, to be taken up again: 256, unless set. With 0, none
    /// are.
    #[doc(alias = "enableSessionCache")]
    #[doc(alias = "setSessionCacheSize")]
    pub fn session_cache_size(mut self, servers: usize) -> Self {
        self.options.session_cache_size = servers;
        self
    }

    /// How long a session is kept at most: a day, unless set. Servers say less, as a rule.
    #[doc(alias = "setSessionTimeout")]
    pub fn session_timeout(mut self, lifetime: Duration) -> Self {
        self.options.session_timeout = lifetime;
        self
    }

    /// Ways to connect to servers that can't be trusted. What follows is spelled out, so that a
    /// search finds it.
    pub fn dangerous(self) -> DangerousTlsClientBuilder {
        DangerousTlsClientBuilder { builder: self }
    }

    /// Reads the files, checks everything, and makes the context.
    ///
    /// A file that can't be read is an error of kind [`Io`](crate::ErrorKind::Io); one that does
    /// not hold what it should, a key that is not the certificate's, or no authority at all, one of
    /// kind [`Tls`](crate::ErrorKind::Tls).
    #[must_use = "the context is what connections are made with"]
    pub fn build(self) -> Result<TlsContext> {
        TlsContext::from_client(self)
    }

    pub(super) fn state(&self) -> Result<ClientState> {
        if self.verification == VerificationMode::None && self.handler.is_none() {
            return Err(Error::invalid_argument(
                "a client that does not look at certificates is made by dangerous().accept_invalid_certificates()",
            ));
        }
        let provider = self.options.provider.crypto()?;
        let mut verifier = self.verifier(&provider)?;
        if let Some(handler) = &self.handler {
            verifier = Arc::new(AskAboutServer { rules: verifier, handler: handler.clone() });
        }
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(self.options.versions()?)
            .map_err(|error| failed("the provider can't do these versions").with_source(error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.load(&provider)?)))
            }
        };
        config.alpn_protocols.clone_from(&self.options.protocols);
        config.enable_sni = self.send_server_name;
        config.resumption = Resumption::disabled();
        if let Some(key_log) = self.options.key_log()? {
            config.key_log = key_log;
        }
        Ok(ClientState { settings: self.clone(), config })
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
        let added = self.added_authorities()?;
        if self.roots == Roots::Platform {
            return self.platform(added, provider);
        }
        let mut roots = RootCertStore::empty();
        if self.roots == Roots::Mozilla {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        roots.add_parsable_certificates(added.iter().cloned());
        if roots.is_empty() {
            if self.handler.is_some() {
                return Ok(Arc::new(TrustNobody { provider: provider.clone(), mandatory: true }));
            }
            return Err(failed("no authority is trusted: add one, or leave those of Mozilla in"));
        }
        let mut builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        if !self.revocation_lists.is_empty() {
            builder = builder.with_crls(revocation_lists(&self.revocation_lists)?);
        }
        builder = if self.require_revocation_status {
            builder.enforce_revocation_expiration()
        } else {
            builder.allow_unknown_revocation_status()
        };
        let rules = builder
            .build()
            .map_err(|error| failed("a certificate revocation list can't be read").with_source(error))?;
        Ok(Arc::new(TrustAdded { rules, added }))
    }

    fn added_authorities(&self) -> Result<Vec<CertificateDer<'static>>> {
        let mut sources = self.extra.clone();
        if self.from_env {
            for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
                if let Some(value) = std::env::var_os(variable).filter(|value| !value.is_empty()) {
                    sources.extend(std::env::split_paths(&value).map(Source::File));
                }
            }
        }
        authorities(&sources)
    }

    #[cfg(all(feature = "platform-verifier", not(target_os = "android")))]
    fn platform(
        &self,
        added: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>> {
        if !self.revocation_lists.is_empty() {
            return Err(Error::unsupported(
                "the system's verifier takes no revocation lists: it has its own ways to ask",
            ));
        }
        match rustls_platform_verifier::Verifier::new_with_extra_roots(added, provider.clone()) {
            Ok(verifier) => Ok(Arc::new(verifier)),
            Err(error) => Err(failed("the system's verifier can't be used").with_source(error)),
        }
    }

    #[cfg(not(all(feature = "platform-verifier", not(target_os = "android"))))]
    fn platform(
        &self,
        _added: Vec<CertificateDer<'static>>,
        _provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>> {
        Err(Error::unsupported("the system's verifier needs the feature platform-verifier"))
    }
}

/// Settings that let connections be made to who knows whom. From [`TlsClientBuilder::dangerous`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens until build()"]
pub struct DangerousTlsClientBuilder {
    builder: TlsClientBuilder,
}

impl DangerousTlsClientBuilder {
    /// Asks this function about each certificate that is not valid, and accepts it if it says
    /// `true`.
    ///
    /// It is told why, and runs on the connection's thread, within the time for the handshake. It
    /// is not asked about sessions that are taken up again: those were accepted before.
    #[doc(alias = "InvalidCertificateHandler")]
    #[doc(alias = "setInvalidCertificateHandler")]
    #[doc(alias = "onInvalidCertificate")]
    #[doc(alias = "ServerVerificationError")]
    pub fn on_invalid_certificate(
        mut self,
        accept: impl Fn(&InvalidCertificate<'_>) -> bool + Send + Sync + 'static,
    ) -> TlsClientBuilder {
        self.builder.handler = Some(Handler(Arc::new(accept)));
        self.builder
    }

    /// Accepts every certificate. What is sent can be read and changed by anybody who puts
    /// himself in between.
    #[doc(alias = "AcceptCertificateHandler")]
    #[doc(alias = "VERIFY_NONE")]
    pub fn accept_invalid_certificates(self) -> TlsClientBuilder {
        self.on_invalid_certificate(|_| true)
    }
}

/// Servers to remember. A program that talks to more has connections of its own to keep.
const CACHE_SIZE: usize = 256;

/// RFC 8446 allows a week. What is kept can open what was recorded, so less is better.
const SESSION_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
