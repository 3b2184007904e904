//! The opening handshake (RFC 6455, section 4), as functions over requests and responses.
//!
//! Nothing here sends or waits. `Connection` and `Upgrade` are lists, in any case; the
//! version, the key and the accept value must stand exactly once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::error::WebSocketErrorKind;
use crate::message::{HeaderMap, Method, Request, Response, StatusCode, Version, field};
use crate::{Error, Result, random};

/// Which pages may connect: browsers say in `Origin` where the script comes from, and send
/// the user's cookies whatever page that is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// Pages of the host that the request is for; under TLS only those of `https`. Requests
    /// without `Origin`, which no browser makes, are let in.
    #[default]
    SameHost,
    /// Pages of these origins, such as `https://example.com`; and requests without `Origin`.
    Listed(Vec<String>),
    /// Every page, for services that do not go by cookies.
    Any,
}

/// What a server takes: origins and subprotocols.
///
/// ```
/// use sessile::message::{Request, Response};
/// use sessile::websocket::{AcceptOptions, ClientHandshake};
///
/// let mut request = Request::get("/chat");
/// request.headers_mut().set("Host", "example.com")?;
/// request.headers_mut().set("Sec-WebSocket-Protocol", "chat.v2, chat.v1")?;
/// let client = ClientHandshake::prepare(&mut request)?;
///
/// let mut response = Response::new();
/// let options = AcceptOptions::new().with_protocol("chat.v1");
/// assert_eq!(options.accept(&request, &mut response)?.as_deref(), Some("chat.v1"));
/// assert_eq!(response.status().as_u16(), 101);
///
/// assert_eq!(client.check(&response)?.as_deref(), Some("chat.v1"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct AcceptOptions {
    origins: Origins,
    protocols: Vec<String>,
}

impl AcceptOptions {
    /// Pages of the same host; no subprotocols.
    pub fn new() -> AcceptOptions {
        AcceptOptions::default()
    }

    /// Sets which pages may connect.
    #[must_use]
    pub fn with_origins(mut self, origins: Origins) -> AcceptOptions {
        self.origins = origins;
        self
    }

    /// Adds a subprotocol. Of those that a client offers, the one is chosen that was added
    /// first; if there is none, the connection has none.
    #[must_use]
    pub fn with_protocol(mut self, protocol: impl Into<String>) -> AcceptOptions {
        self.protocols.push(protocol.into());
        self
    }

    /// Checks a handshake and makes the response that accepts it: 101 and its fields.
    /// Returns the subprotocol that was chosen. A refusal leaves the response as it was:
    /// [`refuse`] fills it in.
    pub fn accept(&self, request: &Request, response: &mut Response) -> Result<Option<String>> {
        self.accept_over(false, request, response)
    }

    /// The same where it is known that the request came under TLS: then its own pages did, too.
    pub(super) fn accept_over(
        &self,
        secure: bool,
        request: &Request,
        response: &mut Response,
    ) -> Result<Option<String>> {
        let key = check_request(request)?;
        self.check_origin(request, secure)?;
        let protocol = self.choose(request.headers());
        response.set_status_and_reason(StatusCode::SWITCHING_PROTOCOLS);
        response.remove_content_length();
        let headers = response.headers_mut();
        headers.remove("Transfer-Encoding");
        headers.set("Upgrade", "websocket")?;
        headers.set("Connection", "Upgrade")?;
        headers.set("Sec-WebSocket-Accept", accept_key(key))?;
        match protocol {
            Some(protocol) => headers.set("Sec-WebSocket-Protocol", protocol)?,
            None => _ = headers.remove("Sec-WebSocket-Protocol"),
        }
        Ok(protocol.map(String::from))
    }

    fn check_origin(&self, request: &Request, secure: bool) -> Result<()> {
        let mut origins = request.headers().get_all("Origin");
        let Some(origin) = origins.next() else { return Ok(()) };
        let allowed = match &self.origins {
            Origins::Any => true,
            Origins::Listed(list) => list.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(origin)),
            Origins::SameHost if secure && !origin.starts_with(b"https://") => false,
            Origins::SameHost => request.host().is_some_and(|host| is_of_host(origin, host.as_bytes())),
        };
        if allowed && origins.next().is_none() {
            return Ok(());
        }
        let error = WebSocketErrorKind::Origin.error("the page that connects is of a foreign origin");
        Err(error.with_status(StatusCode::FORBIDDEN))
    }

    fn choose(&self, headers: &HeaderMap) -> Option<&str> {
        let offered = |protocol: &&String| {
            headers.tokens("Sec-WebSocket-Protocol").any(|token| token == protocol.as_bytes())
        };
        self.protocols.iter().find(offered).map(String::as_str)
    }
}

/// Makes the response that tells a client why it was not accepted: the status of the error,
/// and what the server would take instead.
///
/// ```
/// use sessile::message::{Request, Response};
/// use sessile::websocket::{AcceptOptions, refuse};
///
/// let mut response = Response::new();
/// let error = AcceptOptions::new().accept(&Request::get("/"), &mut response).unwrap_err();
/// refuse(&error, &mut response);
/// assert_eq!(response.status().as_u16(), 426);
/// assert_eq!(response.headers().get("Sec-WebSocket-Version"), Some("13"));
/// ```
pub fn refuse(error: &Error, response: &mut Response) {
    let status = error.status_hint().unwrap_or(StatusCode::BAD_REQUEST);
    response.set_status_and_reason(status);
    if status == StatusCode::UPGRADE_REQUIRED {
        let headers = response.headers_mut();
        headers.set_unchecked("Upgrade", b"websocket");
        headers.set_unchecked("Connection", b"Upgrade");
        headers.set_unchecked("Sec-WebSocket-Version", VERSION);
    }
}

/// The client's side of a handshake: what it sent, to check the answer by.
#[derive(Debug, Clone)]
pub struct ClientHandshake {
    accept: String,
    protocols: Vec<Vec<u8>>,
}

impl ClientHandshake {
    /// Adds to a `GET` request what makes it a handshake, with a new key. Subprotocols are
    /// offered by the request's own `Sec-WebSocket-Protocol`.
    pub fn prepare(request: &mut Request) -> Result<ClientHandshake> {
        if *request.method() != Method::GET || request.version() != Version::Http11 {
            return Err(Error::invalid_argument("a WebSocket handshake is a GET request of HTTP/1.1"));
        }
        let mut key = [0; 16];
        random::fill(&mut key)?;
        let key = STANDARD.encode(key);
        let headers = request.headers_mut();
        headers.set("Connection", "Upgrade")?;
        headers.set("Upgrade", "websocket")?;
        headers.set("Sec-WebSocket-Version", VERSION)?;
        headers.set("Sec-WebSocket-Key", &key)?;
        headers.remove("Sec-WebSocket-Extensions");
        let protocols = headers.tokens("Sec-WebSocket-Protocol").map(<[u8]>::to_vec).collect();
        Ok(ClientHandshake { accept: accept_key(&key), protocols })
    }

    /// Checks the server's answer. Returns the subprotocol that it chose.
    pub fn check(&self, response: &Response) -> Result<Option<String>> {
        let headers = response.headers();
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => {}
            StatusCode::UNAUTHORIZED => {
                return Err(WebSocketErrorKind::Unauthorized.error("the server wants credentials (401)"));
            }
            status => {
                let message = format!("the server does not speak WebSocket here: it answers {status}");
                return Err(WebSocketErrorKind::NoHandshake.error(message));
            }
        }
        if !says_upgrade(headers) {
            return Err(WebSocketErrorKind::NoHandshake.error("the server switched to something else"));
        }
        match only(headers, "Sec-WebSocket-Accept") {
            Some(accept) if accept == self.accept.as_bytes() => {}
            _ => return Err(WebSocketErrorKind::Accept.error("the server's Sec-WebSocket-Accept is wrong")),
        }
        if headers.tokens("Sec-WebSocket-Extensions").next().is_some() {
            return Err(
                WebSocketErrorKind::Negotiation.error("the server uses an extension nobody asked for")
            );
        }
        if !headers.has("Sec-WebSocket-Protocol") {
            return Ok(None);
        }
        let chosen = only(headers, "Sec-WebSocket-Protocol");
        let chosen = chosen.filter(|chosen| self.protocols.iter().any(|offered| offered == chosen));
        match chosen.and_then(|chosen| std::str::from_utf8(chosen).ok()) {
            Some(chosen) => Ok(Some(chosen.into())),
            None => {
                Err(WebSocketErrorKind::Negotiation.error("the server chose a subprotocol nobody offered"))
            }
        }
    }
}

/// The `Sec-WebSocket-Accept` that belongs to a key (RFC 6455, 4.2.2, step 5.4).
///
/// ```
/// let accept = sessile::websocket::accept_key("dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

/// Checks that a request is a handshake and returns its key, in Poco's order of checks.
fn check_request(request: &Request) -> Result<&str> {
    use WebSocketErrorKind::{NoHandshake, NoKey, NoVersion, UnsupportedVersion};
    let upgrade = StatusCode::UPGRADE_REQUIRED;
    let headers = request.headers();
    if *request.method() != Method::GET || request.version() != Version::Http11 || !says_upgrade(headers) {
        return Err(NoHandshake.error("the request is no WebSocket handshake").with_status(upgrade));
    }
    // What is behind the head would be taken for frames.
    if headers.has("Transfer-Encoding") || !matches!(request.content_length(), Ok(None | Some(0))) {
        return Err(NoHandshake.error("a handshake has no content").with_status(StatusCode::BAD_REQUEST));
    }
    if !headers.has("Sec-WebSocket-Version") {
        return Err(NoVersion.error("the handshake names no version").with_status(StatusCode::BAD_REQUEST));
    }
    if only(headers, "Sec-WebSocket-Version") != Some(VERSION) {
        return Err(UnsupportedVersion
            .error("the handshake is of another version than 13")
            .with_status(upgrade));
    }
    let key = only(headers, "Sec-WebSocket-Key").and_then(|key| std::str::from_utf8(key).ok());
    match key {
        Some(key) if STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16) => Ok(key),
        _ => Err(NoKey.error("the handshake has no key of 16 bytes").with_status(StatusCode::BAD_REQUEST)),
    }
}

/// Whether an origin is that of a page on this host. A port that the page's scheme implies may
/// stand in either or not.
fn is_of_host(origin: &[u8], host: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(origin, b"://") else { return false };
    let implied: &[u8] = match &origin[..at] {
        b"http" => b":80",
        b"https" => b":443",
        _ => b"",
    };
    let page = &origin[at + 3..];
    let without =
        |authority: &[u8]| authority.strip_suffix(implied).unwrap_or(authority).to_ascii_lowercase();
    !page.is_empty() && without(page) == without(host)
}

fn says_upgrade(headers: &HeaderMap) -> bool {
    headers.has_token("Connection", "upgrade") && headers.has_token("Upgrade", "websocket")
}

/// The value of a field that stands once.
fn only<'a>(headers: &'a HeaderMap, name: &'a str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    values.next().is_none().then(|| field::trim_ows(value))
}

const VERSION: &[u8] = b"13";
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&str, &str)]) -> Request {
        let mut request = Request::get("/ws");
        for (name, value) in [
            ("Host", "example.com:8080"),
            ("Connection", "keep-alive, Upgrade"),
            ("Upgrade", "WebSocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            request.headers_mut().append(name, value).unwrap();
        }
        for (name, value) in fields {
            match value.strip_prefix('+') {
                Some(more) => request.headers_mut().append(name, more).unwrap(),
                None if value.is_empty() => _ = request.headers_mut().remove(name),
                None => request.headers_mut().set(name, value).unwrap(),
            }
        }
        request
    }

    fn refused(request: &Request) -> (WebSocketErrorKind, u16) {
        let error = AcceptOptions::new().accept(request, &mut Response::new()).unwrap_err();
        let mut response = Response::new();
        refuse(&error, &mut response);
        (WebSocketErrorKind::of(&error).unwrap(), response.status().as_u16())
    }

    #[test]
    fn a_handshake_is_accepted_with_101_and_the_key_s_answer() {
        let mut response = Response::new();
        response.set_content_length(5);
        assert_eq!(AcceptOptions::new().accept(&request(&[]), &mut response).unwrap(), None);
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let fields: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| (name, std::str::from_utf8(value).unwrap()))
            .collect();
        assert_eq!(
            fields,
            [
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ]
        );
    }

    #[test]
    fn what_is_no_handshake_is_refused_with_poco_s_codes() {
        use WebSocketErrorKind::{NoHandshake, NoKey, NoVersion, UnsupportedVersion};
        type Case<'a> = (&'a [(&'a str, &'a str)], WebSocketErrorKind, u16, u16);
        let cases: [Case<'_>; 14] = [
            (&[("Upgrade", "")], NoHandshake, 1, 426),
            (&[("Upgrade", "h2c")], NoHandshake, 1, 426),
            (&[("Connection", "")], NoHandshake, 1, 426),
            (&[("Connection", "close")], NoHandshake, 1, 426),
            (&[("Content-Length", "8"), ("Expect", "100-continue")], NoHandshake, 1, 400),
            (&[("Transfer-Encoding", "chunked")], NoHandshake, 1, 400),
            (&[("Sec-WebSocket-Version", "")], NoVersion, 2, 400),
            (&[("Sec-WebSocket-Version", "8")], UnsupportedVersion, 3, 426),
            (&[("Sec-WebSocket-Version", "13, 8")], UnsupportedVersion, 3, 426),
            (&[("Sec-WebSocket-Version", "+13")], UnsupportedVersion, 3, 426),
            (&[("Sec-WebSocket-Key", "")], NoKey, 4, 400),
            (&[("Sec-WebSocket-Key", "c2hvcnQ=")], NoKey, 4, 400),
            (&[("Sec-WebSocket-Key", "not base64 at all!!!!!!!")], NoKey, 4, 400),
            (&[("Sec-WebSocket-Key", "+dGhlIHNhbXBsZSBub25jZQ==")], NoKey, 4, 400),
        ];
        for (fields, kind, code, status) in cases {
            assert_eq!(refused(&request(fields)), (kind, status), "{fields:?}");
            assert_eq!(kind.code(), Some(code));
        }
        let mut post = request(&[]);
        post.set_method(Method::POST);
        assert_eq!(refused(&post).0, NoHandshake);
        let mut old = request(&[]);
        old.set_version(Version::Http10);
        assert_eq!(refused(&old).0, NoHandshake);
    }

    #[test]
    fn pages_of_other_origins_are_refused_unless_listed() {
        let accepted = |options: AcceptOptions, origin| {
            options.accept(&request(&[("Origin", origin)]), &mut Response::new()).is_ok()
        };
        for origin in ["http://example.com:8080", "https://EXAMPLE.com:8080"] {
            assert!(accepted(AcceptOptions::new(), origin), "{origin}");
        }
        for (origin, host, same) in [
            ("http://a.com", "a.com", true),
            ("http://a.com", "a.com:80", true),
            ("http://a.com:80", "a.com", true),
            ("https://a.com", "a.com:443", true),
            ("https://a.com", "a.com", true),
            ("https://a.com", "a.com:80", false),
            ("http://a.com", "a.com:443", false),
            ("http://[::1]", "[::1]:80", true),
            ("http://[::80]", "[::80]", true),
            ("file://", "a.com", false),
            ("file://", "+", false),
            ("null", "null", false),
        ] {
            let request = request(&[("Host", host), ("Origin", origin)]);
            let accepted = AcceptOptions::new().accept(&request, &mut Response::new()).is_ok();
            assert_eq!(accepted, same, "{origin} {host}");
        }
        let under_tls = |origin| {
            let request = request(&[("Origin", origin)]);
            AcceptOptions::new().accept_over(true, &request, &mut Response::new()).is_ok()
        };
        assert!(under_tls("https://example.com:8080") && !under_tls("http://example.com:8080"));
        for origin in ["http://example.com", "http://evil.com", "null", "http://example.com:8080.evil.com"] {
            assert!(!accepted(AcceptOptions::new(), origin), "{origin}");
            assert!(accepted(AcceptOptions::new().with_origins(Origins::Any), origin));
        }
        let listed = AcceptOptions::new().with_origins(Origins::Listed(vec!["https://a.com".into()]));
        assert!(accepted(listed.clone(), "https://a.com"));
        assert!(!accepted(listed.clone(), "http://example.com:8080"));
        assert!(listed.accept(&request(&[]), &mut Response::new()).is_ok(), "no browser");
        assert_eq!(refused(&request(&[("Origin", "http://evil.com")])), (WebSocketErrorKind::Origin, 403));
        let twice = request(&[("Origin", "http://example.com:8080"), ("Origin", "+http://example.com:8080")]);
        assert_eq!(refused(&twice).0, WebSocketErrorKind::Origin);
    }

    #[test]
    fn the_server_s_first_protocol_that_was_offered_is_chosen() {
        let options = AcceptOptions::new().with_protocol("b").with_protocol("a");
        for (offered, chosen) in [("a, b", Some("b")), ("x,a", Some("a")), ("x", None), ("A", None)] {
            let mut response = Response::new();
            let request = request(&[("Sec-WebSocket-Protocol", offered)]);
            assert_eq!(options.accept(&request, &mut response).unwrap().as_deref(), chosen);
            assert_eq!(response.headers().get("Sec-WebSocket-Protocol"), chosen);
        }
    }

    #[test]
    fn a_client_checks_what_the_server_answers() {
        let mut sent = Request::get("/");
        sent.headers_mut().set("Sec-WebSocket-Protocol", "a").unwrap();
        let client = ClientHandshake::prepare(&mut sent).unwrap();
        let other = sent.headers().get("Sec-WebSocket-Key").unwrap().to_string();
        ClientHandshake::prepare(&mut sent).unwrap();
        assert_ne!(sent.headers().get("Sec-WebSocket-Key"), Some(&other[..]), "a new key each time");

        let answer = |change: fn(&mut HeaderMap)| {
            let mut response = Response::with_status(StatusCode::SWITCHING_PROTOCOLS);
            let headers = response.headers_mut();
            headers.set("Upgrade", "WEBSOCKET").unwrap();
            headers.set("Connection", "keep-alive, upgrade").unwrap();
            headers.set("Sec-WebSocket-Accept", &client.accept).unwrap();
            change(headers);
            client.check(&response).map_err(|error| WebSocketErrorKind::of(&error).unwrap())
        };
        assert_eq!(answer(|_| ()), Ok(None));
        assert_eq!(answer(|h| h.set("Sec-WebSocket-Protocol", "a").unwrap()), Ok(Some("a".into())));
        use WebSocketErrorKind::{Accept, Negotiation, NoHandshake, Unauthorized};
        assert_eq!(answer(|h| h.set("Sec-WebSocket-Protocol", "b").unwrap()), Err(Negotiation));
        assert_eq!(
            answer(|h| h.set("Sec-WebSocket-Extensions", "permessage-deflate").unwrap()),
            Err(Negotiation)
        );
        assert_eq!(answer(|h| _ = h.remove("Connection")), Err(NoHandshake));
        assert_eq!(answer(|h| _ = h.remove("Upgrade")), Err(NoHandshake));
        assert_eq!(answer(|h| _ = h.remove("Sec-WebSocket-Accept")), Err(Accept));
        assert_eq!(
            answer(|h| h.set("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=").unwrap()),
            Err(Accept)
        );
        for (status, kind) in [(200, NoHandshake), (404, NoHandshake), (401, Unauthorized)] {
            let error = client.check(&Response::with_status(StatusCode::new(status).unwrap())).unwrap_err();
            assert_eq!(WebSocketErrorKind::of(&error), Some(kind));
        }
    }

    #[test]
    fn only_a_get_of_http_1_1_can_be_a_handshake() {
        assert!(ClientHandshake::prepare(&mut Request::post("/")).is_err());
        let mut old = Request::get("/");
        old.set_version(Version::Http10);
        assert!(ClientHandshake::prepare(&mut old).is_err());
    }
}
