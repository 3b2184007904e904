//! Status codes and their registered reasons (RFC 9110, section 15, and the IANA registry).
//!
//! A status code is a number from 100 to 999; the registry is the table below.

use std::fmt;

use crate::{Error, Result};

/// The status code of a response.
///
/// ```
/// use sessile::message::StatusCode;
///
/// let status = StatusCode::new(404)?;
/// assert_eq!(status, StatusCode::NOT_FOUND);
/// assert_eq!(status.reason(), "Not Found");
/// assert!(status.is_client_error());
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[doc(alias = "HTTPStatus")]
pub struct StatusCode(u16);

macro_rules! registered {
    ($(($number:literal, $name:ident, $reason:literal, $alias:literal),)*) => {
        impl StatusCode {
            $(
                #[doc = concat!($number, " ", $reason)]
                #[doc(alias = $alias)]
                pub const $name: StatusCode = StatusCode($number);
            )*

            /// The reason phrase in the registry; empty for a number that is not in it.
            #[doc(alias = "getReasonForStatus")]
            pub const fn reason(self) -> &'static str {
                match self.0 {
                    $($number => $reason,)*
                    _ => "",
                }
            }
        }

        #[cfg(test)]
        const REGISTERED: &[(u16, &str)] = &[$(($number, $reason)),*];
    };
}

registered! {
    (100, CONTINUE, "Continue", "HTTP_CONTINUE"),
    (101, SWITCHING_PROTOCOLS, "Switching Protocols", "HTTP_SWITCHING_PROTOCOLS"),
    (102, PROCESSING, "Processing", "HTTP_PROCESSING"),
    (103, EARLY_HINTS, "Early Hints", "HTTP_EARLY_HINTS"),
    (200, OK, "OK", "HTTP_OK"),
    (201, CREATED, "Created", "HTTP_CREATED"),
    (202, ACCEPTED, "Accepted", "HTTP_ACCEPTED"),
    (203, NON_AUTHORITATIVE_INFORMATION, "Non-Authoritative Information", "HTTP_NONAUTHORITATIVE"),
    (204, NO_CONTENT, "No Content", "HTTP_NO_CONTENT"),
    (205, RESET_CONTENT, "Reset Content", "HTTP_RESET_CONTENT"),
    (206, PARTIAL_CONTENT, "Partial Content", "HTTP_PARTIAL_CONTENT"),
    (207, MULTI_STATUS, "Multi-Status", "HTTP_MULTI_STATUS"),
    (208, ALREADY_REPORTED, "Already Reported", "HTTP_ALREADY_REPORTED"),
    (226, IM_USED, "IM Used", "HTTP_IM_USED"),
    (300, MULTIPLE_CHOICES, "Multiple Choices", "HTTP_MULTIPLE_CHOICES"),
    (301, MOVED_PERMANENTLY, "Moved Permanently", "HTTP_MOVED_PERMANENTLY"),
    (302, FOUND, "Found", "HTTP_FOUND"),
    (303, SEE_OTHER, "See Other", "HTTP_SEE_OTHER"),
    (304, NOT_MODIFIED, "Not Modified", "HTTP_NOT_MODIFIED"),
    (305, USE_PROXY, "Use Proxy", "HTTP_USE_PROXY"),
    (307, TEMPORARY_REDIRECT, "Temporary Redirect", "HTTP_TEMPORARY_REDIRECT"),
    (308, PERMANENT_REDIRECT, "Permanent Redirect", "HTTP_PERMANENT_REDIRECT"),
    (400, BAD_REQUEST, "Bad Request", "HTTP_BAD_REQUEST"),
    (401, UNAUTHORIZED, "Unauthorized", "HTTP_UNAUTHORIZED"),
    (402, PAYMENT_REQUIRED, "Payment Required", "HTTP_PAYMENT_REQUIRED"),
    (403, FORBIDDEN, "Forbidden", "HTTP_FORBIDDEN"),
    (404, NOT_FOUND, "Not Found", "HTTP_NOT_FOUND"),
    (405, METHOD_NOT_ALLOWED, "Method Not Allowed", "HTTP_METHOD_NOT_ALLOWED"),
    (406, NOT_ACCEPTABLE, "Not Acceptable", "HTTP_NOT_ACCEPTABLE"),
    (407, PROXY_AUTHENTICATION_REQUIRED, "Proxy Authentication Required", "HTTP_PROXY_AUTHENTICATION_REQUIRED"),
    (408, REQUEST_TIMEOUT, "Request Timeout", "HTTP_REQUEST_TIMEOUT"),
    (409, CONFLICT, "Conflict", "HTTP_CONFLICT"),
    (410, GONE, "Gone", "HTTP_GONE"),
    (411, LENGTH_REQUIRED, "Length Required", "HTTP_LENGTH_REQUIRED"),
    (412, PRECONDITION_FAILED, "Precondition Failed", "HTTP_PRECONDITION_FAILED"),
    (413, CONTENT_TOO_LARGE, "Content Too Large", "HTTP_REQUEST_ENTITY_TOO_LARGE"),
    (414, URI_TOO_LONG, "URI Too Long", "HTTP_REQUEST_URI_TOO_LONG"),
    (415, UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type", "HTTP_UNSUPPORTED_MEDIA_TYPE"),
    (416, RANGE_NOT_SATISFIABLE, "Range Not Satisfiable", "HTTP_REQUESTED_RANGE_NOT_SATISFIABLE"),
    (417, EXPECTATION_FAILED, "Expectation Failed", "HTTP_EXPECTATION_FAILED"),
    (421, MISDIRECTED_REQUEST, "Misdirected Request", "HTTP_MISDIRECTED_REQUEST"),
    (422, UNPROCESSABLE_CONTENT, "Unprocessable Content", "HTTP_UNPROCESSABLE_ENTITY"),
    (423, LOCKED, "Locked", "HTTP_LOCKED"),
    (424, FAILED_DEPENDENCY, "Failed Dependency", "HTTP_FAILED_DEPENDENCY"),
    (425, TOO_EARLY, "Too Early", "HTTP_TOO_EARLY"),
    (426, UPGRADE_REQUIRED, "Upgrade Required", "HTTP_UPGRADE_REQUIRED"),
    (428, PRECONDITION_REQUIRED, "Precondition Required", "HTTP_PRECONDITION_REQUIRED"),
    (429, TOO_MANY_REQUESTS, "Too Many Requests", "HTTP_TOO_MANY_REQUESTS"),
    (431, REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large", "HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE"),
    (451, UNAVAILABLE_FOR_LEGAL_REASONS, "Unavailable For Legal Reasons", "HTTP_UNAVAILABLE_FOR_LEGAL_REASONS"),
    (500, INTERNAL_SERVER_ERROR, "Internal Server Error", "HTTP_INTERNAL_SERVER_ERROR"),
    (501, NOT_IMPLEMENTED, "Not Implemented", "HTTP_NOT_IMPLEMENTED"),
    (502, BAD_GATEWAY, "Bad Gateway", "HTTP_BAD_GATEWAY"),
    (503, SERVICE_UNAVAILABLE, "Service Unavailable", "HTTP_SERVICE_UNAVAILABLE"),
    (504, GATEWAY_TIMEOUT, "Gateway Timeout", "HTTP_GATEWAY_TIMEOUT"),
    (505, HTTP_VERSION_NOT_SUPPORTED, "HTTP Version Not Supported", "HTTP_REASON_VERSION_NOT_SUPPORTED"),
    (506, VARIANT_ALSO_NEGOTIATES, "Variant Also Negotiates", "HTTP_VARIANT_ALSO_NEGOTIATES"),
    (507, INSUFFICIENT_STORAGE, "Insufficient Storage", "HTTP_INSUFFICIENT_STORAGE"),
    (508, LOOP_DETECTED, "Loop Detected", "HTTP_LOOP_DETECTED"),
    (510, NOT_EXTENDED, "Not Extended", "HTTP_NOT_EXTENDED"),
    (511, NETWORK_AUTHENTICATION_REQUIRED, "Network Authentication Required", "HTTP_NETWORK_AUTHENTICATION_REQUIRED"),
}

impl StatusCode {
    /// The status of this number. Fails outside of 100 to 999.
    pub fn new(number: u16) -> Result<StatusCode> {
        match number {
            100..=999 => Ok(StatusCode(number)),
            _ => Err(Error::invalid_argument("a status code has three digits and is not below 100")),
        }
    }

    /// The number.
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    /// 1xx: an interim response; the final one follows.
    pub const fn is_informational(self) -> bool {
        self.0 / 100 == 1
    }

    /// 2xx: the request was understood and done.
    pub const fn is_success(self) -> bool {
        self.0 / 100 == 2
    }

    /// 3xx: the client has to do something more.
    pub const fn is_redirection(self) -> bool {
        self.0 / 100 == 3
    }

    /// 4xx: the request is at fault.
    pub const fn is_client_error(self) -> bool {
        self.0 / 100 == 4
    }

    /// 5xx: the server is at fault.
    pub const fn is_server_error(self) -> bool {
        self.0 / 100 == 5
    }
}

impl Default for StatusCode {
    /// 200 OK.
    fn default() -> StatusCode {
        StatusCode::OK
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<u16> for StatusCode {
    type Error = Error;

    fn try_from(number: u16) -> Result<StatusCode> {
        StatusCode::new(number)
    }
}

impl From<StatusCode> for u16 {
    fn from(status: StatusCode) -> u16 {
        status.0
    }
}

impl PartialEq<u16> for StatusCode {
    fn eq(&self, number: &u16) -> bool {
        self.0 == *number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_digits_are_a_status() {
        for bad in [0, 20, 99, 1000, u16::MAX] {
            assert!(StatusCode::new(bad).is_err(), "{bad}");
        }
        assert_eq!(StatusCode::new(100).unwrap(), StatusCode::CONTINUE);
        assert_eq!(StatusCode::new(999).unwrap().as_u16(), 999);
    }

    #[test]
    fn the_registry_is_complete_and_in_order() {
        assert_eq!(REGISTERED.len(), 62 - 1);
        assert!(REGISTERED.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(REGISTERED.iter().all(|&(number, reason)| StatusCode(number).reason() == reason));
        assert_eq!(StatusCode::PERMANENT_REDIRECT.reason(), "Permanent Redirect");
        assert_eq!(StatusCode::new(499).unwrap().reason(), "");
    }

    #[test]
    fn the_class_is_the_first_digit() {
        assert!(StatusCode::EARLY_HINTS.is_informational());
        assert!(StatusCode::NO_CONTENT.is_success());
        assert!(StatusCode::SEE_OTHER.is_redirection());
        assert!(StatusCode::GONE.is_client_error());
        assert!(StatusCode::BAD_GATEWAY.is_server_error());
        let odd = StatusCode::new(700).unwrap();
        assert!(!odd.is_server_error() && !odd.is_informational());
    }
}
