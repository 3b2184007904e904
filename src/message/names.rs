//! The names of fields that Poco's message classes have as constants.
//!
//! Field names are compared without regard to case; these are their usual spelling.

/// RFC 9110, 11.6.2.
pub const AUTHORIZATION: &str = "Authorization";
/// RFC 9110, 7.6.1.
pub const CONNECTION: &str = "Connection";
/// RFC 9110, 8.6.
pub const CONTENT_LENGTH: &str = "Content-Length";
/// RFC 9110, 8.3.
pub const CONTENT_TYPE: &str = "Content-Type";
/// RFC 6265, 5.4.
pub const COOKIE: &str = "Cookie";
/// RFC 9110, 6.6.1.
pub const DATE: &str = "Date";
/// RFC 9110, 10.1.1.
pub const EXPECT: &str = "Expect";
/// RFC 9110, 7.2.
pub const HOST: &str = "Host";
/// RFC 9110, 11.7.2.
pub const PROXY_AUTHORIZATION: &str = "Proxy-Authorization";
/// RFC 6265, 4.1.
pub const SET_COOKIE: &str = "Set-Cookie";
/// RFC 9112, 6.1.
pub const TRANSFER_ENCODING: &str = "Transfer-Encoding";
/// RFC 9110, 7.8.
pub const UPGRADE: &str = "Upgrade";
