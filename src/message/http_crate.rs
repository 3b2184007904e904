//! To and from the types of the `http` crate, for programs that use both.
//!
//! That crate has names in lower case and fields of one name together; the order among names that
//! differ is lost on the way there, and case is.

use super::header_map::is_secret;
use super::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use crate::{Error, Result};

fn unfit(what: &'static str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::invalid_argument(what).with_source(error)
}

impl TryFrom<&http::Method> for Method {
    type Error = Error;

    fn try_from(method: &http::Method) -> Result<Method> {
        Method::new(method.as_str())
    }
}

impl TryFrom<&Method> for http::Method {
    type Error = Error;

    fn try_from(method: &Method) -> Result<http::Method> {
        http::Method::from_bytes(method.as_str().as_bytes())
            .map_err(|e| unfit("the http crate does not know such a method", e))
    }
}

impl TryFrom<http::StatusCode> for StatusCode {
    type Error = Error;

    fn try_from(status: http::StatusCode) -> Result<StatusCode> {
        StatusCode::new(status.as_u16())
    }
}

impl TryFrom<StatusCode> for http::StatusCode {
    type Error = Error;

    fn try_from(status: StatusCode) -> Result<http::StatusCode> {
        http::StatusCode::from_u16(status.as_u16())
            .map_err(|e| unfit("the http crate does not know such a status", e))
    }
}

impl TryFrom<http::Version> for Version {
    type Error = Error;

    /// Fails for all but 1.0 and 1.1.
    fn try_from(version: http::Version) -> Result<Version> {
        match version {
            http::Version::HTTP_10 => Ok(Version::Http10),
            http::Version::HTTP_11 => Ok(Version::Http11),
            other => Err(Error::unsupported(format!("this is HTTP/1.1, not {other:?}"))),
        }
    }
}

impl From<Version> for http::Version {
    fn from(version: Version) -> http::Version {
        match version {
            Version::Http10 => http::Version::HTTP_10,
            Version::Http11 => http::Version::HTTP_11,
        }
    }
}

impl TryFrom<&http::HeaderMap> for HeaderMap {
    type Error = Error;

    fn try_from(fields: &http::HeaderMap) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.as_str(), value.as_bytes())?;
        }
        Ok(headers)
    }
}

impl TryFrom<&HeaderMap> for http::HeaderMap {
    type Error = Error;

    /// Credentials and cookies are marked as sensitive.
    fn try_from(headers: &HeaderMap) -> Result<http::HeaderMap> {
        let mut fields = http::HeaderMap::with_capacity(headers.len());
        for (name, value) in headers.iter() {
            let secret = is_secret(name.as_bytes());
            let name = http::HeaderName::from_bytes(name.as_bytes())
                .map_err(|e| unfit("the http crate does not take such a field", e))?;
            let mut value = http::HeaderValue::from_bytes(value)
                .map_err(|e| unfit("the http crate does not take such a value", e))?;
            value.set_sensitive(secret);
            fields.append(name, value);
        }
        Ok(fields)
    }
}

impl TryFrom<&http::Uri> for Uri {
    type Error = Error;

    /// Fails where the URI is not absolute.
    fn try_from(uri: &http::Uri) -> Result<Uri> {
        Uri::parse(&uri.to_string())
    }
}

impl TryFrom<http::Uri> for Uri {
    type Error = Error;

    fn try_from(uri: http::Uri) -> Result<Uri> {
        Uri::try_from(&uri)
    }
}

impl TryFrom<&Uri> for http::Uri {
    type Error = Error;

    fn try_from(uri: &Uri) -> Result<http::Uri> {
        uri.as_str().parse().map_err(|e: http::uri::InvalidUri| unfit("the http crate takes no such URI", e))
    }
}

impl<T> TryFrom<&http::Request<T>> for Request {
    type Error = Error;

    /// The target is path and query of the URI. Its host becomes no `Host`: sessions know where
    /// they go.
    ///
    /// ```
    /// use sessile::message::Request;
    ///
    /// let theirs = http::Request::post("http://example.com/notes?new").header("Accept", "*/*").body(())?;
    /// let ours = Request::try_from(&theirs)?;
    /// assert_eq!((ours.method().as_str(), ours.target()), ("POST", "/notes?new"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn try_from(theirs: &http::Request<T>) -> Result<Request> {
        let mut request = Request::new(Method::try_from(theirs.method())?, "/");
        if let Some(target) = theirs.uri().path_and_query().map(http::uri::PathAndQuery::as_str) {
            let rooted = if target.starts_with(['/', '*']) { target } else { &format!("/{target}") };
            request.set_target(rooted)?;
        }
        request.set_version(Version::try_from(theirs.version())?);
        *request.headers_mut() = HeaderMap::try_from(theirs.headers())?;
        Ok(request)
    }
}

impl TryFrom<&Request> for http::Request<()> {
    type Error = Error;

    fn try_from(ours: &Request) -> Result<http::Request<()>> {
        let mut request = http::Request::new(());
        *request.method_mut() = ours.method().try_into()?;
        *request.uri_mut() = ours
            .target()
            .parse()
            .map_err(|e: http::uri::InvalidUri| unfit("the http crate takes no such target", e))?;
        *request.version_mut() = ours.version().into();
        *request.headers_mut() = ours.headers().try_into()?;
        Ok(request)
    }
}

impl<T> TryFrom<&http::Response<T>> for Response {
    type Error = Error;

    fn try_from(theirs: &http::Response<T>) -> Result<Response> {
        let mut response = Response::with_status(theirs.status().try_into()?);
        response.set_version(theirs.version().try_into()?);
        *response.headers_mut() = theirs.headers().try_into()?;
        Ok(response)
    }
}

impl TryFrom<&Response> for http::Response<()> {
    type Error = Error;

    /// A reason of the server's own is lost: that crate has none.
    fn try_from(ours: &Response) -> Result<http::Response<()>> {
        let mut response = http::Response::new(());
        *response.status_mut() = ours.status().try_into()?;
        *response.version_mut() = ours.version().into();
        *response.headers_mut() = ours.headers().try_into()?;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_there_and_back() {
        let mut request = Request::new(Method::new("PURGE").unwrap(), "/a?b=c");
        request.set_version(Version::Http10);
        for (name, value) in [("X-Twice", "1"), ("Authorization", "secret"), ("X-Twice", "2")] {
            request.headers_mut().append(name, value).unwrap();
        }
        let theirs = http::Request::try_from(&request).unwrap();
        assert_eq!((theirs.method().as_str(), theirs.uri().to_string().as_str()), ("PURGE", "/a?b=c"));
        assert!(
            theirs.headers()["authorization"].is_sensitive() && !theirs.headers()["x-twice"].is_sensitive()
        );
        let back = Request::try_from(&theirs).unwrap();
        assert_eq!(
            (back.method(), back.target(), back.version()),
            (request.method(), "/a?b=c", Version::Http10)
        );
        let twice: Vec<_> = back.headers().get_all("X-Twice").collect();
        assert_eq!(twice, [b"1", b"2"]);
    }

    #[test]
    fn a_response_goes_there_and_back() {
        let mut response = Response::with_status(StatusCode::new(799).unwrap());
        response.headers_mut().append("X", b"\xfc").unwrap();
        let theirs = http::Response::try_from(&response).unwrap();
        let back = Response::try_from(&theirs).unwrap();
        assert_eq!((back.status().as_u16(), back.headers().get_bytes("x")), (799, Some(&b"\xfc"[..])));
    }

    #[test]
    fn uris_and_versions_are_those_that_both_know() {
        let uri: Uri = "http://u:p@h:81/a?b".parse().unwrap();
        let theirs = http::Uri::try_from(&uri).unwrap();
        assert_eq!(Uri::try_from(theirs).unwrap(), uri);
        assert!(Uri::try_from(&http::Uri::from_static("/a")).is_err());
        assert!(Version::try_from(http::Version::HTTP_2).is_err());
        let theirs = http::Request::get("http://h?q").body(()).unwrap();
        assert_eq!(Request::try_from(&theirs).unwrap().target(), "/?q");
    }
}
