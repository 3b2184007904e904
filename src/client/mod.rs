//! The client above sessions: a user agent, its pool, and what it does between requests.
//!
//! A [session](crate::session) is one connection that one thread uses. A [`UserAgent`] is for
//! programs that just want something from a URI, from many threads and servers: it keeps sessions
//! and gives each request one, follows [redirects](RedirectPolicy), keeps cookies (feature
//! `cookies`), answers [challenges](Authentication), decodes gzip (feature `gzip`), and holds one
//! deadline over all of that.
//!
//! [`SessionFactory`] and [`StreamFactory`] are Poco's, for those who port.
//!
//! Nothing here knows a socket or a byte of HTTP's syntax; that is the sessions' business.

mod agent;
mod authentication;
mod body;
mod builder;
mod call;
mod content;
#[cfg(feature = "cookies")]
mod cookie_file;
#[cfg(feature = "cookies")]
mod cookie_jar;
mod factory;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(feature = "http")]
mod http_crate;
mod link;
mod pool;
mod redirect;
mod request;
mod response;
mod stream_factory;
mod timings;

pub use agent::UserAgent;
pub use authentication::Authentication;
pub use body::AgentBody;
pub use builder::UserAgentBuilder;
pub use content::Content;
#[cfg(feature = "cookies")]
#[cfg_attr(docsrs, doc(cfg(feature = "cookies")))]
pub use cookie_jar::CookieJar;
#[cfg(feature = "_tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use factory::HttpsSessionInstantiator;
pub use factory::{HttpSessionInstantiator, SessionFactory, SessionInstantiator};
#[cfg(feature = "gzip")]
#[cfg_attr(docsrs, doc(cfg(feature = "gzip")))]
pub use gzip::GzipLimits;
pub use redirect::RedirectPolicy;
pub use request::RequestBuilder;
pub use response::AgentResponse;
pub use stream_factory::StreamFactory;
pub use timings::Timings;
