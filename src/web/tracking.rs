//! How a client shows which session is its own: by a cookie, or by choice in URLs
//! (RFC 6265; RFC 3986, 3.3).
//!
//! Reads ids out of a request and writes them into a response; what an id is worth is the
//! manager's business.

use std::net::IpAddr;
use std::time::Duration;

use super::context::WebContext;
use super::id::SessionId;
use crate::Result;
use crate::message::{Cookie, HeaderMap, Request, Response, SameSite};

/// A request, as far as it matters for web sessions.
///
/// ```
/// use sessile::message::{Request, Response};
/// use sessile::web::{MemoryStore, Visit, WebSessionManager};
///
/// let manager = WebSessionManager::new(MemoryStore::new());
/// let request = Request::get("/");
/// let visit = Visit::new(&request).secure(true).client_address([127, 0, 0, 1].into());
/// let session = manager.open(&visit)?;
///
/// let mut response = Response::new();
/// manager.finish(&session, &mut response)?;
/// let cookie = format!("id={}; Path=/; SameSite=Lax; Secure; HttpOnly", session.id());
/// assert_eq!(response.headers().get("Set-Cookie"), Some(cookie.as_str()));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Visit<'a> {
    headers: &'a HeaderMap,
    target: &'a str,
    pub(super) secure: bool,
    pub(super) client_address: Option<IpAddr>,
}

impl<'a> Visit<'a> {
    /// A visit by this request, over a connection without TLS, from an unknown address.
    pub fn new(request: &'a Request) -> Visit<'a> {
        Visit { headers: request.headers(), target: request.target(), secure: false, client_address: None }
    }

    /// Says whether the request came over TLS, to here or to a proxy that is trusted.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Visit<'a> {
        self.secure = secure;
        self
    }

    /// Says from where the request came.
    #[must_use]
    pub fn client_address(mut self, address: IpAddr) -> Visit<'a> {
        self.client_address = Some(address);
        self
    }
}

/// When cookies are for connections with TLS only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SecureCookies {
    /// Those that are set over TLS.
    #[default]
    Auto,
    /// All: for a server behind a proxy that speaks TLS.
    Always,
    /// None.
    Never,
}

#[derive(Debug, Clone)]
pub(crate) struct Tracking {
    pub(crate) name: String,
    pub(crate) host_prefix: bool,
    pub(crate) secure: SecureCookies,
    pub(crate) same_site: SameSite,
    pub(crate) persistent: bool,
    pub(crate) urls: bool,
}

impl Default for Tracking {
    fn default() -> Tracking {
        Tracking {
            name: "id".to_owned(),
            host_prefix: false,
            secure: SecureCookies::Auto,
            same_site: SameSite::Lax,
            persistent: false,
            urls: false,
        }
    }
}

/// An id that a request showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) id: SessionId,
    pub(crate) by_cookie: bool,
}

impl Tracking {
    /// The ids that a request shows: those of all its cookies of the name, in their order;
    /// without any such cookie, and if that is wanted, the one in its target.
    pub(crate) fn ids<'v>(&'v self, visit: &'v Visit<'_>) -> impl Iterator<Item = Shown> {
        let mut cookies = self.cookies(visit).peekable();
        let in_target = (self.urls && cookies.peek().is_none()).then(|| self.id_in(visit.target)).flatten();
        let cookies =
            cookies.filter_map(SessionId::parse).take(MOST_IDS).map(|id| Shown { id, by_cookie: true });
        cookies.chain(in_target.map(|id| Shown { id, by_cookie: false }))
    }

    /// The values of all cookies of the name.
    fn cookies<'v>(&'v self, visit: &'v Visit<'_>) -> impl Iterator<Item = &'v [u8]> {
        let prefix: &[u8] = if self.host_prefix { HOST_PREFIX.as_bytes() } else { b"" };
        let pairs = visit.headers.get_all("Cookie").flat_map(|value| value.split(|&c| c == b';'));
        pairs.filter_map(move |pair| {
            let value = pair.trim_ascii().strip_prefix(prefix)?.strip_prefix(self.name.as_bytes())?;
            let value = value.trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
            Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
        })
    }

    /// The id in the path of a target: `/path;id=…`.
    fn id_in(&self, target: &str) -> Option<SessionId> {
        let path = &target[..target.find(['?', '#']).unwrap_or(target.len())];
        path.split(';').skip(1).find_map(|parameter| {
            let value = parameter.strip_prefix(self.name.as_str())?.strip_prefix('=')?;
            SessionId::parse(value.split('/').next().unwrap_or_default().as_bytes())
        })
    }

    /// Puts the id into a URL, if that leads to where the request went to.
    pub(crate) fn encode_url(&self, visit: &Visit<'_>, id: &SessionId, url: &str) -> String {
        if !self.urls || url.is_empty() || url.starts_with('#') || !leads_here(visit, url) {
            return url.to_owned();
        }
        let end = url.find(['?', '#']).unwrap_or(url.len());
        if self.id_in(url).is_some() {
            return url.to_owned();
        }
        format!("{};{}={id}{}", &url[..end], self.name, &url[end..])
    }

    /// Has the client keep the id, for so long, if cookies are to outlive the browser.
    pub(crate) fn set_cookie(
        &self,
        context: &WebContext,
        response: &mut Response,
        id: &SessionId,
        secure: bool,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let age = timeout.unwrap_or(LONGEST_COOKIE).min(LONGEST_COOKIE);
        let age = self.persistent.then_some(age.as_secs() as i64);
        self.put_cookie(context, response, &id.to_string(), secure, age)
    }

    /// Has the client forget its id.
    pub(crate) fn expire_cookie(
        &self,
        context: &WebContext,
        response: &mut Response,
        secure: bool,
    ) -> Result<()> {
        self.put_cookie(context, response, "", secure, Some(0))
    }

    /// Sets the one cookie that there is of the name, with the attributes by which clients
    /// tell cookies apart always the same, and keeps the response out of caches.
    fn put_cookie(
        &self,
        context: &WebContext,
        response: &mut Response,
        value: &str,
        secure: bool,
        max_age: Option<i64>,
    ) -> Result<()> {
        let name = if self.host_prefix { format!("{HOST_PREFIX}{}", self.name) } else { self.name.clone() };
        let mut cookie = Cookie::new(&name, value)?;
        cookie.set_http_only(true).set_same_site(Some(self.same_site)).set_max_age(max_age);
        match self.host_prefix {
            // Clients take it only like this.
            true => cookie.set_secure(true).set_path("/")?,
            false => {
                cookie.set_path(context.path())?;
                if let Some(domain) = context.domain() {
                    cookie.set_domain(domain)?;
                }
                cookie.set_secure(match self.secure {
                    SecureCookies::Auto => secure,
                    SecureCookies::Always => true,
                    SecureCookies::Never => false,
                })
            }
        };
        let headers = response.headers_mut();
        let is_ours = |(field, value): (&str, &[u8])| {
            field.eq_ignore_ascii_case("Set-Cookie")
                && value.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
        };
        while let Some(position) = headers.iter().position(is_ours) {
            headers.remove_at(position);
        }
        headers.append("Set-Cookie", cookie.to_string())?;
        headers.set("Cache-Control", "no-store")
    }
}

/// Whether a reference leads to the host that the request named.
fn leads_here(visit: &Visit<'_>, url: &str) -> bool {
    let before_path = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
    let rest = match before_path.split_once(':') {
        // What is secret over TLS stays that.
        Some((scheme, _))
            if scheme.eq_ignore_ascii_case("https")
                || (scheme.eq_ignore_ascii_case("http") && !visit.secure) =>
        {
            &url[scheme.len() + 1..]
        }
        // Another scheme, or something that looks like one.
        Some(_) => return false,
        None => url,
    };
    // Clients drop some of these, and what they make of backslashes differs.
    if url.starts_with(' ') || url.contains(|c: char| c.is_ascii_control() || c == '\\') {
        return false;
    }
    let Some(rest) = rest.strip_prefix("//") else {
        return rest.len() == url.len();
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    visit.headers.get("Host").is_some_and(|host| host.eq_ignore_ascii_case(authority))
}

const HOST_PREFIX: &str = "__Host-";
/// Clients send a handful of cookies of one name, one for each path and domain. More than this are
/// an attack: each may cost a question to a store.
const MOST_IDS: usize = 128;
/// Clients keep no cookie for longer (RFC 6265bis, 5.5).
const LONGEST_COOKIE: Duration = Duration::from_secs(400 * 24 * 60 * 60);
