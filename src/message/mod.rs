//! The vocabulary of HTTP (RFC 9110): methods, status codes, fields, requests, responses.
//!
//! Values only: nothing here reads, writes, waits or looks at a clock.

mod cookie;
mod date;
mod encoded_word;
pub(crate) mod field;
mod form;
mod header_map;
mod header_values;
#[cfg(feature = "http")]
mod http_crate;
mod media_type;
#[allow(clippy::module_inception, reason = "the trait `Message` is in it")]
mod message;
mod method;
pub mod names;
mod request;
mod response;
mod status;
mod uri;
mod version;

pub use cookie::{Cookie, CookieVersion, SameSite};
pub use date::{format_http_date, parse_http_date};
pub use form::{Form, FormLimits};
pub use header_map::{Fields, HeaderMap};
pub use media_type::MediaType;
pub use message::Message;
pub use method::Method;
pub use request::Request;
pub use response::Response;
pub use status::StatusCode;
pub use uri::{Origin, Scheme, Uri};
pub use version::Version;
