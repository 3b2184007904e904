//! What both sides of TLS can be told: provider, versions, protocols, sessions, key log.

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::{KeyLog, SupportedProtocolVersion};

use super::provider::TlsProvider;
use crate::error::{Error, ErrorKind, Result};

/// A version of TLS. Older ones are broken and not spoken (RFC 8996).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2, RFC 5246.
    Tls12,
    /// TLS 1.3, RFC 8446.
    Tls13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsVersion::Tls12 => "TLS 1.2",
            TlsVersion::Tls13 => "TLS 1.3",
        })
    }
}

/// How much is asked of the peer's certificate, in Poco's words.
///
/// A client always asks for a valid certificate that is for the server's name, however this is
/// set; [`None`](VerificationMode::None) has to be spelled out as
/// [`dangerous()`](super::TlsClientBuilder::dangerous).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[doc(alias = "Context::VerificationMode")]
pub enum VerificationMode {
    /// A server asks for no certificate.
    #[doc(alias = "VERIFY_NONE")]
    None,
    /// A server asks for one. Who has none is served too, who has one that is not valid is not.
    #[doc(alias = "VERIFY_RELAXED")]
    Relaxed,
    /// A server serves only those who have a valid certificate.
    #[doc(alias = "VERIFY_STRICT")]
    Strict,
    /// As [`Relaxed`](VerificationMode::Relaxed): asked for once in any case, because nothing is
    /// renegotiated.
    #[doc(alias = "VERIFY_ONCE")]
    Once,
}

#[derive(Clone)]
pub(super) struct Options {
    pub(super) provider: TlsProvider,
    pub(super) min_version: TlsVersion,
    pub(super) max_version: TlsVersion,
    pub(super) protocols: Vec<Vec<u8>>,
    pub(super) key_log: Option<KeyLogTo>,
    pub(super) session_cache_size: usize,
    pub(super) session_timeout: Duration,
    pub(super) allow_truncated_close: bool,
    pub(super) quiet_shutdown: bool,
}

impl Options {
    pub(super) fn new(protocols: &[&str], session_cache_size: usize, session_timeout: Duration) -> Options {
        Options {
            provider: TlsProvider::default(),
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            protocols: protocols.iter().map(|name| name.as_bytes().to_vec()).collect(),
            key_log: None,
            session_cache_size,
            session_timeout,
            allow_truncated_close: false,
            quiet_shutdown: false,
        }
    }

    pub(super) fn versions(&self) -> Result<&'static [&'static SupportedProtocolVersion]> {
        static ALL: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
        match (self.min_version, self.max_version) {
            (TlsVersion::Tls12, TlsVersion::Tls13) => Ok(&ALL),
            (TlsVersion::Tls13, TlsVersion::Tls13) => Ok(&ALL[..1]),
            (TlsVersion::Tls12, TlsVersion::Tls12) => Ok(&ALL[1..]),
            (TlsVersion::Tls13, TlsVersion::Tls12) => {
                Err(Error::invalid_argument("the oldest version that is spoken is newer than the newest"))
            }
        }
    }

    pub(super) fn key_log(&self) -> Result<Option<Arc<dyn KeyLog>>> {
        Ok(match &self.key_log {
            None => None,
            Some(KeyLogTo::File(path)) => {
                let mut how = OpenOptions::new();
                how.create(true).append(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut how, 0o600);
                let file = how.open(path).map_err(|error| {
                    Error::new(ErrorKind::Io, format!("the key log {} can't be opened", path.display()))
                        .with_source(error)
                })?;
                let file = Mutex::new(file);
                Some(Arc::new(KeyLines(Arc::new(move |line: &str| {
                    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Err(error) = writeln!(file, "{line}") {
                        log::warn!("the key log can't be written: {error}");
                    }
                }))))
            }
            Some(KeyLogTo::Function(write)) => Some(Arc::new(KeyLines(write.clone()))),
        })
    }
}

#[derive(Clone)]
pub(super) enum KeyLogTo {
    File(PathBuf),
    Function(Arc<dyn Fn(&str) + Send + Sync>),
}

impl KeyLogTo {
    pub(super) fn file(path: impl AsRef<Path>) -> KeyLogTo {
        KeyLogTo::File(path.as_ref().to_owned())
    }
}

/// Lines as Wireshark and others read them (`SSLKEYLOGFILE`).
struct KeyLines(Arc<dyn Fn(&str) + Send + Sync>);

impl KeyLog for KeyLines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = String::with_capacity(label.len() + 2 * (client_random.len() + secret.len()) + 2);
        line.push_str(label);
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                line.push_str(&format!("{byte:02x}"));
            }
        }
        (self.0)(&line);
    }
}

impl fmt::Debug for KeyLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyLines")
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("provider", &self.provider)
            .field("min_version", &self.min_version)
            .field("key_log", &self.key_log.is_some())
            .finish_non_exhaustive()
    }
}

/// The setters that both builders have.
macro_rules! shared_setters {
    () => {
        /// Which library does the cryptography.
        pub fn provider(mut self, provider: crate::net::tls::TlsProvider) -> Self {
            self.options.provider = provider;
            self
        }

        /// The oldest version that is spoken: TLS 1.2, unless set.
        #[doc(alias = "requireMinimumProtocol")]
        pub fn min_version(mut self, version: crate::net::tls::TlsVersion) -> Self {
            self.options.min_version = version;
            self
        }

        /// The newest version that is spoken: TLS 1.3, unless set.
        #[doc(alias = "disableProtocols")]
        pub fn max_version(mut self, version: crate::net::tls::TlsVersion) -> Self {
            self.options.max_version = version;
            self
        }

        /// The protocols that are agreed on by ALPN (RFC 7301), the preferred one first:
        /// `http/1.1`, unless set, and on a server `http/1.0` behind it. None: ALPN is not spoken.
        pub fn protocols<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
            self.options.protocols = protocols.into_iter().map(|p| p.as_ref().to_vec()).collect();
            self
        }

        /// Appends the keys of all connections to this file, so that Wireshark can read what was
        /// recorded of them. Whoever has the file can read them too. Never done unless asked for
        /// here.
        pub fn key_log_file(mut self, path: impl AsRef<std::path::Path>) -> Self {
            self.options.key_log = Some(super::options::KeyLogTo::file(path));
            self
        }

        /// Hands the keys of all connections to this function, in lines as `SSLKEYLOGFILE` has
        /// them.
        pub fn key_log(mut self, write: impl Fn(&str) + Send + Sync + 'static) -> Self {
            self.options.key_log = Some(super::options::KeyLogTo::Function(std::sync::Arc::new(write)));
            self
        }

        /// Takes a connection that ends without saying so under TLS (`close_notify`) for one that
        /// has ended well, as Poco does. Somebody on the way can then cut content short that has no
        /// length of its own, unnoticed.
        #[doc(alias = "ignoreUnexpectedEof")]
        pub fn allow_truncated_close(mut self, allow: bool) -> Self {
            self.options.allow_truncated_close = allow;
            self
        }

        /// Closes connections without saying so under TLS (`close_notify`). The peer can't tell
        /// then whether what it received is complete.
        #[doc(alias = "setQuietShutdown")]
        pub fn quiet_shutdown(mut self, quiet: bool) -> Self {
            self.options.quiet_shutdown = quiet;
            self
        }
    };
}

pub(super) use shared_setters;
