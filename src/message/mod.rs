//! The vocabulary of HTTP (RFC 9110): methods, status codes, fields, requests, responses.
//!
//! Values only: nothing here reads, writes, waits or looks at a clock.

pub(crate) mod field;
mod header_map;
#[allow(clippy::module_inception)]
mod message;
mod method;
mod request;
mod response;
mod status;
mod version;

pub use header_map::{Fields, HeaderMap};
pub use message::Message;
pub use method::Method;
pub use request::Request;
pub use response::Response;
pub use status::StatusCode;
pub use version::Version;
