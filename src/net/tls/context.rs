//! The settings of many connections, made once and shared: by a client with its sessions, by a
//! server that can be told new ones while it runs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::client::{ClientState, TlsClientBuilder};
use super::server::{ServerState, TlsServerBuilder};
use super::session::SessionCache;
use super::stream::TlsStream;
use crate::error::{Error, Result};
use crate::net::stream::Stream;

/// How connections are encrypted, who is trusted, and who we are; for clients or for a server.
///
/// Made by [`client`](TlsContext::client) or [`server`](TlsContext::server), and shared by as many
/// connections and threads as there are: clones are the same context. A client's context also keeps
/// the [sessions](super::TlsSession) that servers gave, so that the next connection takes less
/// work.
///
/// ```
/// use sessile::tls::TlsContext;
///
/// # let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
/// # let (certificate_pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
/// let server = TlsContext::server().certificate_pem(&certificate_pem, &key_pem).build()?;
/// let client = TlsContext::client().only_added_cas().add_ca_pem(&certificate_pem).build()?;
/// assert!(client.is_client() && !server.is_client());
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "Context")]
#[derive(Clone)]
pub struct TlsContext {
    inner: Arc<Inner>,
}

enum Inner {
    Client { state: RwLock<Arc<ClientState>>, cache: SessionCache },
    Server { state: RwLock<Arc<ServerState>> },
}

/// What clients use that name no context of their own.
static DEFAULT_CLIENT: Mutex<Option<TlsContext>> = Mutex::new(None);

impl TlsContext {
    /// Settings for clients; [`build`](TlsClientBuilder::build) makes the context.
    #[doc(alias = "CLIENT_USE")]
    pub fn client() -> TlsClientBuilder {
        TlsClientBuilder::new()
    }

    /// Settings for a server; [`build`](TlsServerBuilder::build) makes the context.
    #[doc(alias = "SERVER_USE")]
    pub fn server() -> TlsServerBuilder {
        TlsServerBuilder::new()
    }

    pub(super) fn from_client(settings: TlsClientBuilder) -> Result<TlsContext> {
        let state = RwLock::new(Arc::new(settings.state()?));
        let cache = SessionCache::new(settings.options.session_cache_size, settings.options.session_timeout);
        Ok(TlsContext { inner: Arc::new(Inner::Client { state, cache }) })
    }

    pub(super) fn from_server(settings: TlsServerBuilder) -> Result<TlsContext> {
        let state = RwLock::new(Arc::new(settings.state(None)?));
        Ok(TlsContext { inner: Arc::new(Inner::Server { state }) })
    }

    /// The context of clients that name none: the one that was
    /// [set](TlsContext::set_default_client), or one with all settings as they are, which is then
    /// the default.
    #[doc(alias = "defaultClientContext")]
    #[doc(alias = "SSLManager")]
    pub fn default_client() -> Result<TlsContext> {
        let mut default = DEFAULT_CLIENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(context) = &*default {
            return Ok(context.clone());
        }
        let context = TlsContext::client().build()?;
        *default = Some(context.clone());
        Ok(context)
    }

    /// Makes this the context of clients that name none, from their next connection on. With
    /// `None`, all settings are as they are again.
    #[doc(alias = "initializeClient")]
    pub fn set_default_client(context: Option<TlsContext>) -> Result<()> {
        if context.as_ref().is_some_and(|context| !context.is_client()) {
            return Err(Error::invalid_argument("this context is a server's"));
        }
        *DEFAULT_CLIENT.lock().unwrap_or_else(PoisonError::into_inner) = context;
        Ok(())
    }

    /// Whether this is for clients.
    #[doc(alias = "isForServerUse")]
    #[doc(alias = "usage")]
    pub fn is_client(&self) -> bool {
        matches!(*self.inner, Inner::Client { .. })
    }

    /// Reads the files again that the context was made from, certificates, keys, authorities and
    /// revocation lists, and uses what they hold now for all handshakes that begin from here on.
    /// Connections that are there are left alone. After an error nothing has changed.
    ///
    /// Sessions can be taken up again afterwards, but for those of a server that asks clients for
    /// certificates: who is let in may have changed, so their tickets are not read any more.
    pub fn reload(&self) -> Result<()> {
        match &*self.inner {
            Inner::Client { state, .. } => {
                let settings = current(state).settings.clone();
                replace(state, settings.state()?);
            }
            Inner::Server { state } => {
                let before = current(state);
                replace(state, before.settings.state(Some(&before))?);
            }
        }
        Ok(())
    }

    /// The same with new settings, those of another context for the same side. The other one can go
    /// on being used.
    pub fn reload_from(&self, other: &TlsContext) -> Result<()> {
        match (&*self.inner, &*other.inner) {
            (Inner::Client { state, .. }, Inner::Client { state: other, .. }) => {
                let settings = current(other).settings.clone();
                replace(state, settings.state()?);
            }
            (Inner::Server { state }, Inner::Server { state: other }) => {
                let before = current(state);
                replace(state, current(other).settings.state(Some(&before))?);
            }
            _ => {
                return Err(Error::invalid_argument(
                    "a client's context takes over from a client's, a server's from a server's",
                ));
            }
        }
        Ok(())
    }

    /// Puts TLS on a stream that is connected to the server of this name or address. The handshake
    /// is made with the first read or write, or by [`TlsStream::handshake`].
    #[doc(alias = "SecureStreamSocket")]
    #[doc(alias = "attach")]
    pub fn connect(&self, stream: Stream, server_name: &str) -> Result<Stream> {
        Ok(Stream::Tls(Box::new(TlsStream::client(stream, server_name, self)?)))
    }

    /// Puts TLS on a stream that a client has connected. The handshake is made with the first read
    /// or write, or by [`TlsStream::handshake`], on whatever thread does that.
    #[doc(alias = "SecureServerSocket")]
    #[doc(alias = "acceptConnection")]
    pub fn accept(&self, stream: Stream) -> Result<Stream> {
        Ok(Stream::Tls(Box::new(TlsStream::server(stream, self)?)))
    }

    /// For how many servers a client keeps sessions, or how many sessions a server keeps.
    #[doc(alias = "getSessionCacheSize")]
    pub fn session_cache_size(&self) -> usize {
        match &*self.inner {
            Inner::Client { cache, .. } => cache.size(),
            Inner::Server { state } => current(state).settings.options.session_cache_size,
        }
    }

    /// Whether sessions can be taken up again.
    #[doc(alias = "sessionCacheEnabled")]
    pub fn keeps_sessions(&self) -> bool {
        match &*self.inner {
            Inner::Client { cache, .. } => cache.size() > 0,
            Inner::Server { state } => current(state).keys.is_some() || self.session_cache_size() > 0,
        }
    }

    /// How long a session can be taken up at most.
    #[doc(alias = "getSessionTimeout")]
    pub fn session_timeout(&self) -> Duration {
        match &*self.inner {
            Inner::Client { cache, .. } => cache.lifetime(),
            Inner::Server { state } => current(state).settings.options.session_timeout,
        }
    }

    /// Forgets all sessions. A server reads none of the tickets any more that it has given.
    #[doc(alias = "flushSessionCache")]
    pub fn flush_session_cache(&self) -> Result<()> {
        match &*self.inner {
            Inner::Client { cache, .. } => cache.clear(),
            Inner::Server { state } => {
                let state = current(state);
                state.store.clear();
                if let Some(keys) = &state.keys {
                    keys.forget()?;
                }
            }
        }
        Ok(())
    }

    /// Makes a new key for tickets; those made under the one before are still read. It changes by
    /// itself after half of the [session time-out](TlsContext::session_timeout). Nothing to do for
    /// a client.
    pub fn rotate_ticket_keys(&self) -> Result<()> {
        match &*self.inner {
            Inner::Client { .. } => Ok(()),
            Inner::Server { state } => current(state).keys.as_ref().map_or(Ok(()), |keys| keys.rotate()),
        }
    }

    /// What a client's next connection is made with.
    pub(super) fn for_client(&self) -> Result<(Arc<ClientState>, &SessionCache)> {
        match &*self.inner {
            Inner::Client { state, cache } => Ok((current(state), cache)),
            Inner::Server { .. } => Err(Error::invalid_argument("this context is a server's")),
        }
    }

    /// What a server's next connection is made with.
    pub(super) fn for_server(&self) -> Result<Arc<ServerState>> {
        match &*self.inner {
            Inner::Server { state } => Ok(current(state)),
            Inner::Client { .. } => Err(Error::invalid_argument("this context is a client's")),
        }
    }
}

fn current<T>(state: &RwLock<Arc<T>>) -> Arc<T> {
    state.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn replace<T>(state: &RwLock<Arc<T>>, new: T) {
    *state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
}

impl fmt::Debug for TlsContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.inner {
            Inner::Client { state, .. } => {
                f.debug_tuple("TlsContext").field(&current(state).settings).finish()
            }
            Inner::Server { state } => f.debug_tuple("TlsContext").field(&current(state).settings).finish(),
        }
    }
}
