//! Request methods (RFC 9110, section 9).
//!
//! A method is any token, and case matters. The nine registered by RFC 9110 and RFC 5789
//! take no allocation.

use std::fmt;
use std::str::FromStr;

use super::field;
use crate::{Error, Result};

/// The method of a request.
///
/// ```
/// use sessile::message::Method;
///
/// assert_eq!(Method::new("GET")?, Method::GET);
/// assert_eq!(Method::new("PROPFIND")?, "PROPFIND");
/// assert!(Method::new("GE T").is_err());
/// assert!(Method::PUT.is_idempotent() && !Method::PUT.is_safe());
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Method(Inner);

// `Other` never holds the name of another variant, so that the derived comparison is right.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Inner {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    Other(Box<str>),
}

impl Method {
    /// Transfer a current representation of the target.
    #[doc(alias = "HTTP_GET")]
    pub const GET: Method = Method(Inner::Get);
    /// The same as GET, without the content.
    #[doc(alias = "HTTP_HEAD")]
    pub const HEAD: Method = Method(Inner::Head);
    /// Let the target process the content.
    #[doc(alias = "HTTP_POST")]
    pub const POST: Method = Method(Inner::Post);
    /// Replace what the target is by the content.
    #[doc(alias = "HTTP_PUT")]
    pub const PUT: Method = Method(Inner::Put);
    /// Remove the target.
    #[doc(alias = "HTTP_DELETE")]
    pub const DELETE: Method = Method(Inner::Delete);
    /// Make a tunnel to the target.
    #[doc(alias = "HTTP_CONNECT")]
    pub const CONNECT: Method = Method(Inner::Connect);
    /// Say what can be done with the target.
    #[doc(alias = "HTTP_OPTIONS")]
    pub const OPTIONS: Method = Method(Inner::Options);
    /// Send the request back as it arrived.
    #[doc(alias = "HTTP_TRACE")]
    pub const TRACE: Method = Method(Inner::Trace);
    /// Change the target as the content says (RFC 5789).
    #[doc(alias = "HTTP_PATCH")]
    pub const PATCH: Method = Method(Inner::Patch);

    /// The method of this name. Fails if the name is not a token.
    pub fn new(name: &str) -> Result<Method> {
        Method::from_bytes(name.as_bytes())
    }

    /// The method of this name, as it stands in a request line.
    #[inline]
    pub fn from_bytes(name: &[u8]) -> Result<Method> {
        Ok(Method(match name {
            b"GET" => Inner::Get,
            b"POST" => Inner::Post,
            b"HEAD" => Inner::Head,
            b"PUT" => Inner::Put,
            b"DELETE" => Inner::Delete,
            b"CONNECT" => Inner::Connect,
            b"OPTIONS" => Inner::Options,
            b"TRACE" => Inner::Trace,
            b"PATCH" => Inner::Patch,
            _ => return Method::other(name),
        }))
    }

    #[cold]
    fn other(name: &[u8]) -> Result<Method> {
        match std::str::from_utf8(name) {
            Ok(text) if field::is_token(name) => Ok(Method(Inner::Other(text.into()))),
            _ => Err(Error::invalid_argument("a method must be a token")),
        }
    }

    /// The name, as it is written in a request line.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Inner::Get => "GET",
            Inner::Head => "HEAD",
            Inner::Post => "POST",
            Inner::Put => "PUT",
            Inner::Delete => "DELETE",
            Inner::Connect => "CONNECT",
            Inner::Options => "OPTIONS",
            Inner::Trace => "TRACE",
            Inner::Patch => "PATCH",
            Inner::Other(name) => name,
        }
    }

    /// Whether the method only reads (RFC 9110, 9.2.1). Unregistered methods are taken to
    /// be unsafe.
    pub fn is_safe(&self) -> bool {
        matches!(self.0, Inner::Get | Inner::Head | Inner::Options | Inner::Trace)
    }

    /// Whether asking twice is the same as asking once (RFC 9110, 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        self.is_safe() || matches!(self.0, Inner::Put | Inner::Delete)
    }
}

impl Default for Method {
    fn default() -> Method {
        Method::GET
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl AsRef<str> for Method {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Method> {
        Method::new(name)
    }
}

impl TryFrom<&str> for Method {
    type Error = Error;

    fn try_from(name: &str) -> Result<Method> {
        Method::new(name)
    }
}

impl PartialEq<str> for Method {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Method {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_names_become_the_constants() {
        for method in [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::CONNECT,
            Method::OPTIONS,
            Method::TRACE,
            Method::PATCH,
        ] {
            let again = Method::new(method.as_str()).unwrap();
            assert_eq!(again, method);
            assert!(!matches!(again.0, Inner::Other(_)));
        }
    }

    #[test]
    fn case_matters() {
        assert_ne!(Method::new("get").unwrap(), Method::GET);
        assert_eq!(Method::new("get").unwrap(), "get");
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        for bad in ["", " ", "GET ", "GE\tT", "G(T", "GET\r\n", "GÉT", "A/B"] {
            assert!(Method::new(bad).is_err(), "{bad:?}");
        }
        assert!(Method::from_bytes(b"G\xffT").is_err());
    }

    #[test]
    fn safety_and_idempotence_follow_the_rfc() {
        assert!(Method::OPTIONS.is_safe() && Method::OPTIONS.is_idempotent());
        assert!(!Method::DELETE.is_safe() && Method::DELETE.is_idempotent());
        for method in [Method::POST, Method::PATCH, Method::CONNECT, Method::new("COPY").unwrap()] {
            assert!(!method.is_safe() && !method.is_idempotent(), "{method}");
        }
    }
}
