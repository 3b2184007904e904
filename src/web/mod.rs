//! What stands on sessions: web sessions, forms, multipart bodies, event streams.
//!
//! A [`WebSession`] is what the user of a browser has on this server, across requests and
//! connections: attributes under an id that the browser keeps in a cookie. A
//! [`WebSessionManager`] finds and makes them, tells [listeners](SessionListener), and keeps them
//! in a store: in [memory](MemoryStore), in [files](FileStore), in Redis (feature `redis`), or
//! in [one of your own](SessionStore).
//!
//! ```no_run
//! use sessile::server::HttpServer;
//! use sessile::web::{MemoryStore, WebSessionManager};
//!
//! let sessions = WebSessionManager::new(MemoryStore::new());
//! let handler = sessions.wrap(|request, response, visitor| {
//!     let session = visitor.session(request)?;
//!     match request.path() {
//!         "/sign-in" => {
//!             // Look at the password first. Then nobody else may know the id:
//!             session.rotate_id()?;
//!             session.set_principal(Some("ann"))?;
//!             response.redirect("/")
//!         }
//!         "/sign-out" => {
//!             session.invalidate()?;
//!             response.redirect("/")
//!         }
//!         _ => {
//!             let visits = session.update("visits", |n: Option<u64>| Some(n.unwrap_or(0) + 1))?;
//!             response.send_buffer(format!("visit {visits:?}").as_bytes())
//!         }
//!     }
//! });
//! HttpServer::bind("127.0.0.1:8080", handler)?.run()
//! # ; Ok::<(), sessile::Error>(())
//! ```

mod attributes;
mod builder;
mod clock;
mod context;
#[cfg(all(test, not(loom)))]
mod crash;
mod disk;
mod event_stream;
mod fair_lock;
mod file;
mod form;
mod id;
mod id_map;
mod listeners;
mod manager;
mod memory;
pub(crate) mod multipart;
#[cfg(all(test, loom))]
mod races;
mod record;
#[cfg(feature = "redis")]
mod redis;
mod remote;
mod serving;
mod session;
mod shared;
mod state;
mod statistics;
mod store;
mod sweep;
mod sync;
mod table;
mod tracking;
mod value;

#[cfg(feature = "redis")]
#[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
pub use self::redis::RedisStore;
pub use builder::{AddressCheck, WebSessionManagerBuilder, WhenFull};
pub use clock::{Clock, ManualClock, SystemClock};
pub use context::WebContext;
pub use event_stream::{Event, EventReader, EventSource, EventWriter, prepare_event_stream};
pub use file::FileStore;
pub use form::{MultipartForm, PartHandler};
pub use id::{SessionId, StoreKey};
pub use listeners::{
    BindingEvent, EndReason, EndedSession, SessionActivationListener, SessionAttributeListener,
    SessionBindingListener, SessionEvent, SessionListener, Subscription,
};
pub use manager::WebSessionManager;
pub use memory::MemoryStore;
pub use multipart::{
    BytesPart, ContentDisposition, FilePart, MultipartLimits, MultipartReader, MultipartWriter, Part,
    PartSource, ReaderPart, create_boundary,
};
pub use serving::Visitor;
pub use session::{SessionGuard, WebSession};
pub use statistics::Statistics;
pub use store::{Applied, Changes, Moved, Opened, SessionRecord, SessionStore};
pub use sweep::Sweep;
pub use tracking::{SecureCookies, Visit};
pub use value::{FromValue, Object, Portable, Value, ValueKind};
