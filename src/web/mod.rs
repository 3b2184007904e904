//! What stands on sessions: user sessions, forms, multipart bodies, event streams.

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
pub use event_stream::{Event, EventReader, EventWriter, prepare_event_stream};
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
