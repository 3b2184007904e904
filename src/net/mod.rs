//! Moving bytes in time: sockets, limits of time, and the means to stop a call from another thread.
//!
//! Nothing here knows HTTP. Every call that can wait takes a [`Limit`] and belongs to an
//! [`AbortHandle`]; where bytes pass through a socket of the operating system, the limit is
//! applied in one place ([`Socket`]), under TLS and under every buffer.
//!
//! ```text
//!   resolve ──> connect ──> Socket ──┐
//!                                    ├── Stream: Tcp, Unix, Custom (any Transport)
//!   Listener ──> Socket ─────────────┘       └── Tls on any of them (module tls)
//! ```
//!
//! Sessions do all of this by themselves. This module is for those who bring their own
//! transport, resolver or listener, who set options on sockets, or who write a session.

mod abort;
mod buffer;
mod connect;
mod deadline;
mod listener;
mod pipe;
mod resolve;
mod socket;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
mod timer;
#[cfg(feature = "_tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub mod tls;
mod wire;

pub use abort::{AbortHandle, Interrupt};
#[cfg(unix)]
pub use connect::connect_unix;
pub use connect::{ConnectOptions, connect};
pub use deadline::{Deadline, Elapsed, Limit};
pub use listener::{Incoming, Listener};
pub use pipe::{Counting, Counts, Pipe, pair};
pub use resolve::{Resolve, SystemResolver, resolve};
pub use socket::Socket;
pub use stream::{Readiness, Stream, Transport};

pub(crate) use buffer::ReadBuffer;
pub(crate) use listener::is_short_of_descriptors;
pub(crate) use socket::read_at;
pub(crate) use wire::{Pace, Stalled, Wire};
