//! Blocking HTTP/1.1: client sessions, server sessions, a threaded server and web sessions,
//! without an async runtime.
//!
//! ```text
//!    web      websocket      client          users of sessions
//!      \          |            /
//!       \      server         /              acceptor, threads, handlers
//!        \________|__________/
//!              session                       one connection, and the exchanges on it
//!              /      \
//!          proto      net                    bytes -> meaning, no I/O    sockets, TLS, time
//!              \
//!           auth, message                    values: no I/O, no clock
//! ```
//!
//! A [`session`] is one connection that one thread uses: a client sends a request on it, writes
//! its content, receives the response and reads that. Connections persist, and what is left
//! of one exchange never gets into the next.
//!
//! ```
//! use std::io::Read;
//! use sessile::message::{Request, Response};
//! use sessile::session::{ClientSession, HttpClientSession};
//! # use std::io::Write;
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let port = listener.local_addr()?.port();
//! # let server = std::thread::spawn(move || -> std::io::Result<()> {
//! #     let (mut peer, _) = listener.accept()?;
//! #     let _ = peer.read(&mut [0; 512])?;
//! #     peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
//! # });
//!
//! let mut session = HttpClientSession::new("127.0.0.1", port);
//! session.send_request(&Request::get("/hello"))?;
//! let mut response = Response::new();
//! let mut text = String::new();
//! session.receive_response(&mut response)?.read_to_string(&mut text)?;
//! assert_eq!((response.status().as_u16(), text.as_str()), (200, "hello"));
//! # server.join().unwrap()?;
//! # Ok::<(), sessile::Error>(())
//! ```
//!
//! A [`client::UserAgent`] keeps such sessions for programs that just want something from a URI,
//! from many threads and servers.
//!
//! Everything has a limit by default: time ([`session::Timeouts`]), sizes
//! ([`proto::Limits`]). Every blocked call can be ended from another thread
//! ([`net::AbortHandle`]). There is one error type, [`Error`]; a response with status 400 or
//! above is not an error.
//!
//! The classes are those of Poco's `HTTPSession` family: search for a C++ name to find its
//! counterpart.
//!
//! # Out of scope
//!
//! Async, reactors, HTTP/2 and HTTP/3, templates, a web framework.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod random;

pub mod auth;
pub mod client;
pub mod message;
pub mod net;
pub mod proto;
pub mod server;
pub mod session;
pub mod web;
#[cfg(feature = "websocket")]
#[cfg_attr(docsrs, doc(cfg(feature = "websocket")))]
pub mod websocket;

#[cfg(feature = "_tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
#[doc(no_inline)]
pub use net::tls;

pub use error::{Error, ErrorKind, Phase, Result};

/// The programs in the README compile.
#[cfg(all(doctest, feature = "_tls"))]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
