//! A stream for a URI, and nothing else: what Poco's stream factories are for.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use super::agent::UserAgent;
use crate::message::{HeaderMap, StatusCode, Uri};
use crate::session::{OwnedResponseStream, ProxyConfig};
use crate::{Error, ErrorKind, Result};

/// Opens URIs as streams.
///
/// One GET each, through redirects as a [`UserAgent`] follows them, with the user that the URI
/// names where the server asks. Anything but success is an error. (Poco follows no 308, takes the
/// user along to other hosts, obeys 305, and goes from `https` to `http`.)
///
/// ```
/// use std::io::Read;
/// use sessile::client::StreamFactory;
/// # use std::io::Write;
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let uri = format!("http://{}/", listener.local_addr()?).parse()?;
/// # let server = std::thread::spawn(move || -> std::io::Result<()> {
/// #     let (mut peer, _) = listener.accept()?;
/// #     let _ = peer.read(&mut [0; 512])?;
/// #     peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
/// # });
///
/// let mut text = String::new();
/// StreamFactory::new().open(&uri)?.read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
/// # server.join().unwrap()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, Default)]
#[doc(alias = "HTTPStreamFactory")]
#[doc(alias = "HTTPSStreamFactory")]
pub struct StreamFactory {
    agent: UserAgent,
    headers: HeaderMap,
}

static GLOBAL: RwLock<Option<StreamFactory>> = RwLock::new(None);

impl StreamFactory {
    /// One with an agent of its own, with all that is default.
    pub fn new() -> StreamFactory {
        StreamFactory::default()
    }

    /// One whose requests go through a proxy.
    pub fn with_proxy(proxy: ProxyConfig) -> StreamFactory {
        StreamFactory::with_agent(UserAgent::builder().proxy(proxy).finish())
    }

    /// One that makes its requests with this agent.
    pub fn with_agent(agent: UserAgent) -> StreamFactory {
        StreamFactory { agent, headers: HeaderMap::new() }
    }

    /// Fields that go with every request.
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.headers
    }

    /// The content of what is there. Blocks until its head was received; the error is of the kind
    /// [`Status`](ErrorKind::Status) where the server answers with anything but success. The stream
    /// has its connection for itself.
    pub fn open(&self, uri: &Uri) -> Result<OwnedResponseStream> {
        let mut request = self.agent.get(uri);
        *request.request_mut().headers_mut() = self.headers.clone();
        let stream = request.open()?;
        let response = stream.response();
        if response.status().is_success() {
            return Ok(stream);
        }
        let status = response.status();
        Err(Error::new(ErrorKind::Status, format!("{uri} answers {status} {}", response.reason()))
            .with_status(StatusCode::new(status.as_u16())?))
    }

    /// Makes this the one that [`StreamFactory::global`] gives.
    #[doc(alias = "registerFactory")]
    pub fn register(self) {
        *GLOBAL.write().unwrap_or_else(PoisonError::into_inner) = Some(self);
    }

    /// Takes the registered one away.
    #[doc(alias = "unregisterFactory")]
    pub fn unregister() {
        *GLOBAL.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The one that was registered, or else a new one.
    #[doc(alias = "URIStreamOpener")]
    pub fn global() -> StreamFactory {
        GLOBAL.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }
}

impl fmt::Debug for StreamFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamFactory").field("agent", &self.agent).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_registered_is_what_all_get() {
        let mut factory = StreamFactory::with_proxy(ProxyConfig::new("proxy", 1));
        factory.headers_mut().set("X-Mine", "1").unwrap();
        factory.register();
        assert!(StreamFactory::global().headers.has("X-Mine"));
        StreamFactory::unregister();
        assert!(!StreamFactory::global().headers.has("X-Mine"));
    }
}
