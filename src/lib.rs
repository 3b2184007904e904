//! Blocking HTTP/1.1: client sessions, server sessions, a threaded server and web sessions.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod random;

pub mod auth;
pub mod message;
pub mod net;
pub mod proto;
pub mod session;
pub mod web;
#[cfg(feature = "websocket")]
#[cfg_attr(docsrs, doc(cfg(feature = "websocket")))]
pub mod websocket;

pub use error::{Error, ErrorKind, Phase, Result};
