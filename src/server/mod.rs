//! The threaded server: listeners, threads, handlers.
//!
//! One thread for each connection that is being served, started when there is need and reused. A
//! connection goes through four places:
//!
//! ```text
//!   Listener ──accept──> lobby (where no thread is free) ──> a thread: HttpServerSession, handler
//!                          └──no room──> refused: 503        └──client still sending──> seen off
//! ```
//!
//! Made for the open internet: a peer that is slow, silent, greedy or malformed is bounded by a limit that has a name
//! in [`HttpServerParams`], and a connection that is idle is ended when a newer one needs its thread.

mod claim;
mod condition;
mod core;
mod dispatcher;
mod doorman;
mod extension;
mod file;
mod file_service;
mod handle;
mod handler;
mod http_server;
mod lobby;
mod observer;
mod params;
mod range;
mod request;
mod response;
mod serve;
mod slot;

pub use file_service::FileService;
pub use handle::{ServerHandle, ShutdownReport};
pub use handler::{RequestHandler, RequestHandlerFactory};
pub use http_server::HttpServer;
pub use observer::{ConnectionInfo, Exchange, Observer, Timings};
pub use params::HttpServerParams;
pub use request::ServerRequest;
pub use response::ServerResponse;
