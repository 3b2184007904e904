//! WebSocket (RFC 6455): the handshake as functions over messages, and the connection
//! behind it, by the members of Poco's `WebSocket`.
//!
//! Frames are read and written by tungstenite's codec; what it leaves open (the order of
//! frames, UTF-8 across fragments, close codes, limits) is checked here. Nothing here knows
//! how a session works: a WebSocket stands on two halves of a stream, one read, one written.
//!
//! # Two threads
//!
//! A [`WebSocket`] is read from one thread. [`WebSocket::sender`] gives handles that send
//! from any thread, also while another one is blocked in reading: whole frames, one after
//! the other. Pings are answered and closes confirmed by the thread that reads.
//!
//! That thread never waits for another one that is sending: the answer to a ping or to a close is
//! then left to the sender. But it may be the one that sends. Two peers that flood each other with
//! messages and pings, until the buffers between them are full both ways, can come to a point where
//! the readers of both are stuck in answering a ping, and nobody reads. The send time-out
//! ([`WebSocket::set_timeouts`]) ends that, with an error on one side. Who must not depend on it
//! has pings answered by another thread: see [`WebSocket::set_answer_pings`].

mod error;
mod frame;
mod halves;
mod handshake;
mod incoming;
mod outgoing;
mod socket;
#[cfg(test)]
mod tests;
mod utf8;

pub use error::WebSocketErrorKind;
pub use frame::{CloseCode, CloseFrame, Frame, FrameFlags, Mode, Opcode};
pub use handshake::{AcceptOptions, ClientHandshake, Origins, accept_key, refuse};
pub use socket::{Message, WebSocket, WebSocketSender};
