//! The head of a request as it goes on the wire: the caller's, and what a session adds.

use std::borrow::Cow;
use std::time::Duration;

use crate::message::{HeaderMap, Method, Request, Version};
use crate::proto::{self, Framing};
use crate::{Error, Result};

/// What a session adds to a request.
pub(super) struct Additions<'a> {
    /// The value of `Host`, for requests without one.
    pub(super) host: &'a str,
    /// What comes before the target for a proxy: `http://host:port`.
    pub(super) prefix: &'a str,
    /// The value of `Proxy-Authorization`.
    pub(super) proxy_authorization: Option<&'a [u8]>,
    pub(super) keep_alive: bool,
}

/// How the content of a request to be sent is framed.
pub(super) fn request_framing(request: &Request) -> Result<Framing> {
    if !request.headers().has("transfer-encoding") {
        let length = request.content_length().map_err(|e| Error::invalid_argument(e.to_string()))?;
        let Some(length) = length else { return Ok(Framing::None) };
        if request.headers().get_all("content-length").nth(1).is_some() {
            return Err(Error::invalid_argument("a request has one Content-Length"));
        }
        return Ok(Framing::Length(length));
    }
    if request.has_content_length() {
        return Err(Error::invalid_argument(
            "a request has a Content-Length or a Transfer-Encoding, not both",
        ));
    }
    if request.version() == Version::Http10 {
        return Err(Error::invalid_argument("HTTP/1.0 has no Transfer-Encoding: set a Content-Length"));
    }
    if !proto::is_only_chunked(request.headers()) {
        return Err(Error::invalid_argument("the only Transfer-Encoding that is sent is chunked"));
    }
    Ok(Framing::Chunked)
}

/// Writes the head, or nothing and an error.
pub(super) fn write_head(
    out: &mut Vec<u8>,
    request: &Request,
    framing: Framing,
    additions: &Additions<'_>,
) -> Result<()> {
    let start = out.len();
    let result = write(out, request, framing, additions);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn write(out: &mut Vec<u8>, request: &Request, framing: Framing, additions: &Additions<'_>) -> Result<()> {
    let headers = request.headers();
    let version = request.version();
    proto::write_request_line(out, request.method(), &sent_target(request, additions.prefix)?, version)?;
    if !headers.has("host") {
        proto::write_field(out, "Host", additions.host.as_bytes())?;
    } else if headers.get_all("host").count() > 1 || !headers.get_bytes("host").is_some_and(proto::is_host) {
        return Err(Error::invalid_argument("the Host field is not one host, with its port or without"));
    }
    let close = !additions.keep_alive && !headers.has_token("connection", "close");
    let keep = additions.keep_alive && version == Version::Http10 && !headers.has("connection");
    // Expect without content is forbidden (RFC 9110, 10.1.1).
    let no_expect = matches!(framing, Framing::None | Framing::Length(0));
    proto::write_fields(out, headers, |name| no_expect && name.eq_ignore_ascii_case(b"expect"))?;
    if let Some(value) = additions.proxy_authorization {
        if !headers.has("proxy-authorization") {
            proto::write_field(out, "Proxy-Authorization", value)?;
        }
    }
    if close {
        proto::write_field(out, "Connection", b"close")?;
    } else if keep {
        proto::write_field(out, "Connection", b"keep-alive")?;
    }
    // Methods that say what their content means announce that there is none (RFC 9110, 8.6).
    if framing == Framing::None && [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) {
        proto::write_field(out, "Content-Length", b"0")?;
    }
    proto::end_head(out);
    Ok(())
}

/// The target as it is sent, with this prefix for a proxy or none. What proves a password is for this one.
pub(super) fn sent_target<'a>(request: &'a Request, prefix: &str) -> Result<Cow<'a, str>> {
    let target = request.target();
    if prefix.is_empty() || is_absolute(target) || *request.method() == Method::CONNECT {
        return Ok(Cow::Borrowed(target));
    }
    let path = match target {
        // Of a server as a whole, the absolute-form has no path (RFC 9112, 3.2.4).
        "*" => "",
        path if path.starts_with('/') => path,
        // Behind the authority it would make another one: `http://example.com` + `@evil`.
        _ => return Err(Error::invalid_argument("a proxy needs a target that begins with a slash")),
    };
    Ok(Cow::Owned(format!("{prefix}{path}")))
}

fn is_absolute(target: &str) -> bool {
    let begins = |scheme: &str| target.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme));
    begins("http://") || begins("https://")
}

/// A host as it stands in a URI or in `Host`: an IPv6 address is put in brackets.
pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

/// `host:port`, as `CONNECT` has it.
pub(super) fn host_with_port(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

/// The value of `Host`: without a port that the scheme implies.
pub(super) fn host_field(host: &str, port: u16, default_port: u16) -> String {
    if port == default_port { bracketed(host) } else { host_with_port(host, port) }
}

/// `Keep-Alive: timeout=n`, less a second for the way.
pub(super) fn keep_alive_hint(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("keep-alive")?;
    let seconds = value.split(',').find_map(|p| p.trim().strip_prefix("timeout="))?;
    let seconds = crate::message::field::parse_decimal(seconds.trim().as_bytes())?;
    Some(Duration::from_secs(seconds).saturating_sub(Duration::from_secs(1)))
}

/// The head and what follows it, with a field of this name replaced or added.
pub(super) fn with_field(message: &[u8], name: &str, value: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(message.len() + name.len() + value.len() + 4);
    let mut rest = message;
    // Up to the empty line, which every head has.
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        let (line, behind) = rest.split_at(end + 2);
        if end == 0 {
            break;
        }
        let named = line.get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes()));
        if !(named && line.get(name.len()) == Some(&b':')) {
            out.extend_from_slice(line);
        }
        rest = behind;
    }
    proto::write_field(&mut out, name, value)?;
    out.extend_from_slice(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_added_to_a_head_or_replaced_in_it() {
        let message = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nbody\r\n\r\n";
        let with = with_field(message, "X-A", b"1").unwrap();
        assert_eq!(with, b"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\nbody\r\n\r\n");
        let again = with_field(&with, "x-a", b"2").unwrap();
        assert_eq!(again, b"GET / HTTP/1.1\r\nHost: h\r\nx-a: 2\r\n\r\nbody\r\n\r\n");
        assert!(with_field(message, "X-A", b"1\r\n2").is_err());
    }

    #[test]
    fn a_request_has_one_host_or_is_not_sent() {
        let additions = Additions { host: "h", prefix: "", proxy_authorization: None, keep_alive: true };
        for (hosts, good) in [
            (&[][..], true),
            (&["other:8080"], true),
            (&[""], true),
            (&["a", "a"], false),
            (&["a b"], false),
            (&["a/b"], false),
            (&["u@a"], false),
        ] {
            let mut request = Request::get("/");
            for host in hosts {
                request.headers_mut().append("Host", host).unwrap();
            }
            let mut out = b"before".to_vec();
            let written = write_head(&mut out, &request, Framing::None, &additions);
            assert_eq!(written.is_ok(), good, "{hosts:?}");
            assert_eq!(out == b"before", !good);
        }
    }

    #[test]
    fn the_host_field_has_brackets_and_a_port_where_they_are_needed() {
        assert_eq!(host_field("h", 80, 80), "h");
        assert_eq!(host_field("h", 443, 80), "h:443", "http on 443 says so");
        assert_eq!(host_field("::1", 80, 80), "[::1]");
        assert_eq!(host_field("[::1]", 8080, 80), "[::1]:8080");
        assert_eq!(host_with_port("::1", 443), "[::1]:443");
    }
}
