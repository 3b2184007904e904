//! Cookies that servers set, kept and sent back (RFC 6265, section 5; draft rfc6265bis).
//!
//! Decides who gets which cookie. Reading one from a field is `message::Cookie`'s part, files are
//! `cookie_file.rs`'s.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::message::{Cookie, Response, Uri, field};

/// Cookies of all servers; a clone is the same jar.
///
/// A cookie goes to the host that set it, or to a domain that the host is in; never to a public
/// suffix such as `com`, or with the feature `psl`, `co.uk` or `github.io`. `Secure` cookies are set
/// and sent over TLS only, and nothing else replaces them; the prefixes `__Secure-` and `__Host-`
/// mean what they say. Ports make no difference. There are limits: 4 KiB for a cookie, 180 cookies
/// of a domain, 3,000 in all; past them, the one used longest ago goes.
///
/// ```
/// use sessile::client::{CookieJar, UserAgent};
/// use sessile::message::{Cookie, Uri};
///
/// let jar = CookieJar::new();
/// let shop: Uri = "https://shop.example.com/cart/".parse()?;
/// jar.store(&shop, &Cookie::parse("id=31d4; Path=/; Secure")?);
/// jar.store(&shop, &Cookie::parse("lang=en; Domain=example.com; Path=/")?);
/// assert_eq!(jar.cookies(&shop).len(), 2);
/// assert_eq!(jar.get(&"https://www.example.com/".parse()?, "lang").as_deref(), Some("en"));
/// assert_eq!(jar.get(&"https://www.example.com/".parse()?, "id"), None);
///
/// let agent = UserAgent::builder().cookies(jar.clone()).build()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct CookieJar(Arc<Mutex<Store>>);

#[derive(Default)]
pub(super) struct Store {
    /// By domain: that of the cookie, or the host that it is for alone.
    domains: HashMap<String, Vec<Kept>>,
    count: usize,
    /// Goes up with every cookie kept or used.
    clock: u64,
}

/// A cookie with whom it is for.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) path: String,
    /// For the host alone.
    pub(super) host_only: bool,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    /// `None`: until the program ends; files keep it all the same, as curl's do.
    pub(super) expires: Option<SystemTime>,
    pub(super) created: u64,
    used: u64,
}

/// Name and value together, as browsers have it (rfc6265bis, 5.7).
const MOST_BYTES: usize = 4096;

/// Attributes (rfc6265bis, 5.6).
const MOST_PATH: usize = 1024;

/// Chrome keeps 180 of a domain and 3,300 in all; RFC 6265, 6.1 asks for 50 and 3,000.
const MOST_OF_DOMAIN: usize = 180;
const MOST: usize = 3000;

impl CookieJar {
    /// An empty jar.
    pub fn new() -> CookieJar {
        CookieJar::default()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a cookie that the server of this URI set, or does what it says of one that is there.
    /// Says whether it is kept: it is not where the server may not set it, or where it is to go.
    pub fn store(&self, uri: &Uri, cookie: &Cookie) -> bool {
        self.lock().set(uri, cookie, SystemTime::now())
    }

    /// Keeps the cookies of all `Set-Cookie` fields in the response of this URI.
    pub fn store_response(&self, uri: &Uri, response: &Response) {
        for field in response.headers().get_all("Set-Cookie") {
            let cookie = std::str::from_utf8(field).ok().and_then(|field| Cookie::parse(field).ok());
            if !cookie.is_some_and(|cookie| self.store(uri, &cookie)) {
                log::debug!("a cookie of {} is not kept", uri.origin());
            }
        }
    }

    /// Names and values of the cookies that go to this URI, in the order in which they are sent:
    /// longer paths first, then those that were set first.
    #[doc(alias = "getCookies")]
    pub fn cookies(&self, uri: &Uri) -> Vec<(String, String)> {
        self.lock().matching(uri, SystemTime::now())
    }

    /// The value of the cookie of this name that goes to this URI.
    pub fn get(&self, uri: &Uri, name: &str) -> Option<String> {
        self.cookies(uri).into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// How many there are, those included whose time is over and that nobody asked for since.
    pub fn len(&self) -> usize {
        self.lock().count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all.
    pub fn clear(&self) {
        *self.lock() = Store::default();
    }

    /// Forgets those without an end of their own, as a browser does when it is closed.
    pub fn clear_session_cookies(&self) {
        self.lock().retain(|kept| kept.expires.is_some());
    }
}

impl Store {
    /// RFC 6265, 5.3.
    fn set(&mut self, uri: &Uri, cookie: &Cookie, now: SystemTime) -> bool {
        let host = uri.host();
        let Some((domain, host_only)) = whose(host, cookie.domain()) else { return false };
        let path = match cookie.path() {
            Some(path) if path.len() <= MOST_PATH => path,
            _ => default_path(uri.path()),
        };
        let kept = Kept {
            name: cookie.name().to_owned(),
            value: cookie.value().to_owned(),
            path: path.to_owned(),
            host_only,
            secure: cookie.secure(),
            http_only: cookie.http_only(),
            expires: cookie.expires_at(now),
            created: 0,
            used: 0,
        };
        if !fits(&kept) || !keeps_its_prefix(&kept, cookie, uri) {
            return false;
        }
        if !uri.is_secure() && (kept.secure || self.would_hide_a_secure_one(&domain, &kept)) {
            return false;
        }
        self.put(domain, kept, now)
    }

    /// Puts a cookie in the place of the one of its name, domain and path; takes that away where the
    /// new one's time is over.
    pub(super) fn put(&mut self, domain: String, mut kept: Kept, now: SystemTime) -> bool {
        self.clock += 1;
        (kept.created, kept.used) = (self.clock, self.clock);
        let cookies = self.domains.entry(domain.clone()).or_default();
        let same = |other: &Kept| {
            other.name == kept.name && other.path == kept.path && other.host_only == kept.host_only
        };
        if let Some(at) = cookies.iter().position(same) {
            kept.created = cookies[at].created;
            cookies.remove(at);
            self.count -= 1;
        }
        if kept.expires.is_some_and(|end| end <= now) {
            if cookies.is_empty() {
                self.domains.remove(&domain);
            }
            return false;
        }
        cookies.push(kept);
        self.count += 1;
        if cookies.len() > MOST_OF_DOMAIN {
            self.count -= usize::from(remove_one(cookies, now));
        }
        if self.count > MOST {
            self.make_room(now);
        }
        true
    }

    /// A cookie of this name that only TLS may set, for the same place (rfc6265bis, 5.7).
    fn would_hide_a_secure_one(&self, domain: &str, new: &Kept) -> bool {
        self.domains.iter().any(|(known, cookies)| {
            (is_within(domain, known) || is_within(known, domain))
                && cookies
                    .iter()
                    .any(|kept| kept.secure && kept.name == new.name && path_matches(&new.path, &kept.path))
        })
    }

    /// RFC 6265, 5.4.
    fn matching(&mut self, uri: &Uri, now: SystemTime) -> Vec<(String, String)> {
        self.clock += 1;
        let (host, path, clock) = (uri.host(), uri.path(), self.clock);
        let mut found: Vec<&Kept> = Vec::new();
        let mut expired = false;
        for domain in names_of(host) {
            let Some(cookies) = self.domains.get_mut(domain) else { continue };
            for kept in cookies.iter_mut() {
                if kept.expires.is_some_and(|end| end <= now) {
                    expired = true;
                } else if (!kept.host_only || domain == host)
                    && (!kept.secure || uri.is_secure())
                    && path_matches(path, &kept.path)
                {
                    kept.used = clock;
                }
            }
        }
        for domain in names_of(host) {
            found.extend(self.domains.get(domain).into_iter().flatten().filter(|kept| kept.used == clock));
        }
        found.sort_by(|a, b| b.path.len().cmp(&a.path.len()).then(a.created.cmp(&b.created)));
        let cookies = found.into_iter().map(|kept| (kept.name.clone(), kept.value.clone())).collect();
        if expired {
            self.retain(|kept| kept.expires.is_none_or(|end| end > now));
        }
        cookies
    }

    fn retain(&mut self, keep: impl Fn(&Kept) -> bool) {
        self.domains.retain(|_, cookies| {
            cookies.retain(&keep);
            !cookies.is_empty()
        });
        self.count = self.domains.values().map(Vec::len).sum();
    }

    /// Forgets what is over, and where that is not enough, a tenth: those used longest ago.
    fn make_room(&mut self, now: SystemTime) {
        self.retain(|kept| kept.expires.is_none_or(|end| end > now));
        if self.count <= MOST {
            return;
        }
        let mut uses: Vec<_> = self.domains.values().flatten().map(|kept| kept.used).collect();
        let (_, &mut last, _) = uses.select_nth_unstable(MOST / 10);
        self.retain(|kept| kept.used > last);
    }

    /// All whose time is not over, with their domains, in the order in which they were set.
    pub(super) fn all(&self, now: SystemTime) -> Vec<(&str, &Kept)> {
        let mut all: Vec<_> = self
            .domains
            .iter()
            .flat_map(|(domain, cookies)| cookies.iter().map(move |kept| (domain.as_str(), kept)))
            .filter(|(_, kept)| kept.expires.is_none_or(|end| end > now))
            .collect();
        all.sort_by_key(|(_, kept)| kept.created);
        all
    }
}

/// Removes one that is over, or else the one used longest ago.
fn remove_one(cookies: &mut Vec<Kept>, now: SystemTime) -> bool {
    let over = cookies.iter().position(|kept| kept.expires.is_some_and(|end| end <= now));
    let oldest = || cookies.iter().enumerate().min_by_key(|(_, kept)| kept.used).map(|(at, _)| at);
    let Some(at) = over.or_else(oldest) else { return false };
    cookies.remove(at);
    true
}

/// The domain for which a host sets a cookie, and whether it is for the host alone. `None` where the
/// host may not.
fn whose(host: &str, domain: Option<&str>) -> Option<(String, bool)> {
    let Some(domain) = domain.filter(|domain| !domain.is_empty()) else {
        return Some((host.to_owned(), true));
    };
    if domain == host && (is_public(domain) || stands_alone(host)) {
        return Some((host.to_owned(), true));
    }
    let allowed = is_within(host, domain)
        && !is_public(domain)
        && !reaches_strangers(host, domain)
        && !stands_alone(host);
    allowed.then(|| (domain.to_owned(), false))
}

/// Whether a domain that the host is in has a public suffix between them: `amazonaws.com` is none,
/// but `s3.amazonaws.com` is, and others have their names under it.
#[cfg_attr(not(feature = "psl"), allow(unused_variables, reason = "there is no list then"))]
fn reaches_strangers(host: &str, domain: &str) -> bool {
    #[cfg(feature = "psl")]
    {
        let suffix = psl::suffix(host.as_bytes()).map_or(0, |suffix| suffix.as_bytes().len());
        suffix > domain.len()
    }
    #[cfg(not(feature = "psl"))]
    {
        false
    }
}

/// Whether this is a domain under which strangers have theirs: `com`, `co.uk`, `github.io`.
fn is_public(domain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    #[cfg(feature = "psl")]
    {
        psl::suffix(domain.as_bytes()).is_some_and(|suffix| suffix == domain.as_bytes())
    }
    #[cfg(not(feature = "psl"))]
    {
        !domain.contains('.')
    }
}

/// Whether a host is in no domain: an address, or a Unix socket, whose path is percent-encoded.
fn stands_alone(host: &str) -> bool {
    host.starts_with('%') || host.parse::<IpAddr>().is_ok()
}

/// Whether a host is this domain or in it (RFC 6265, 5.1.3).
fn is_within(host: &str, domain: &str) -> bool {
    match host.strip_suffix(domain) {
        Some("") => true,
        Some(rest) => rest.ends_with('.') && !stands_alone(host),
        None => false,
    }
}

/// The host and the domains that it is in; of an address, itself alone.
fn names_of(host: &str) -> impl Iterator<Item = &str> {
    let is_address = stands_alone(host);
    std::iter::successors(Some(host), move |name| {
        if is_address { None } else { name.split_once('.').map(|(_, rest)| rest) }
    })
}

/// RFC 6265, 5.1.4: the folder of the request's path.
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

fn path_matches(path: &str, cookie: &str) -> bool {
    match path.strip_prefix(cookie) {
        Some(rest) => rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// Whether it can be sent, and written to a file, as it is.
fn fits(kept: &Kept) -> bool {
    let stands = |text: &str, without: &[char]| {
        field::is_field_value(text.as_bytes()) && !text.contains('\t') && !text.contains(without)
    };
    kept.name.len() + kept.value.len() <= MOST_BYTES
        && !kept.name.is_empty()
        && stands(&kept.name, &[';', '='])
        && stands(&kept.value, &[';'])
        && stands(&kept.path, &[])
        && kept.path.starts_with('/')
}

/// The names that say what a cookie is (rfc6265bis, 4.1.3), in any case, so that none looks like one.
fn keeps_its_prefix(kept: &Kept, cookie: &Cookie, uri: &Uri) -> bool {
    let begins = |prefix: &str| kept.name.get(..prefix.len()).is_some_and(|n| n.eq_ignore_ascii_case(prefix));
    let secure = kept.secure && uri.is_secure();
    if begins("__Host-") {
        return secure && kept.host_only && cookie.domain().is_none() && cookie.path() == Some("/");
    }
    !begins("__Secure-") || secure
}

impl fmt::Debug for CookieJar {
    /// How many, and of whom; no values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = self.lock();
        f.debug_struct("CookieJar")
            .field("count", &store.count)
            .field("domains", &store.domains.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// A cookie from a file.
pub(super) struct FromFile {
    pub(super) domain: String,
    pub(super) kept: Kept,
}

impl Kept {
    pub(super) fn new(name: &str, value: &str, path: &str) -> Kept {
        Kept {
            name: name.to_owned(),
            value: value.to_owned(),
            path: path.to_owned(),
            host_only: true,
            secure: false,
            http_only: false,
            expires: None,
            created: 0,
            used: 0,
        }
    }
}

impl Store {
    /// Keeps a cookie that a file brings, by the rules for those of servers.
    pub(super) fn take_from_file(&mut self, cookie: FromFile, now: SystemTime) -> bool {
        let FromFile { domain, kept } = cookie;
        let is_address = stands_alone(&domain);
        let possible = !domain.is_empty() && (kept.host_only || !(is_public(&domain) || is_address));
        let over = kept.expires.is_some_and(|end| end <= now);
        possible && fits(&kept) && !over && self.put(domain, kept, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    fn set(store: &mut Store, at: &str, cookie: &str) -> bool {
        store.set(&uri(at), &Cookie::parse(cookie).unwrap(), now())
    }

    /// What is sent there, as it stands in the field.
    fn sent(store: &mut Store, to: &str) -> String {
        let pairs: Vec<_> = store
            .matching(&uri(to), now())
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    #[test]
    fn a_cookie_goes_back_to_its_host_and_below_its_path() {
        let mut store = Store::default();
        assert!(set(&mut store, "http://h.example/a/b", "x=1"));
        for (to, cookie) in [
            ("http://h.example/a/b", "x=1"),
            ("http://h.example/a", "x=1"),
            ("http://h.example/a/", "x=1"),
            ("http://h.example:81/a/c", "x=1"),
            ("https://h.example/a/c", "x=1"),
            ("http://h.example/ab", ""),
            ("http://h.example/", ""),
            ("http://www.h.example/a/", ""),
            ("http://example/a/", ""),
            ("http://xh.example/a/", ""),
        ] {
            assert_eq!(sent(&mut store, to), cookie, "{to}");
        }
    }

    #[test]
    fn a_domain_is_one_that_the_host_is_in_and_no_public_one() {
        for (host, domain, to) in [
            (
                "a.b.example.com",
                "b.example.com",
                &["b.example.com", "c.b.example.com", "a.b.example.com"][..],
            ),
            ("a.b.example.com", ".example.com", &["example.com", "x.example.com"]),
            ("example.com", "example.com", &["example.com", "www.example.com"]),
            ("localhost", "localhost", &["localhost"]),
            ("127.0.0.1", "127.0.0.1", &["127.0.0.1"]),
        ] {
            let mut store = Store::default();
            assert!(set(&mut store, &format!("http://{host}/"), &format!("x=1; Domain={domain}")));
            for to in to {
                assert_eq!(sent(&mut store, &format!("http://{to}/")), "x=1", "{host} {domain} {to}");
            }
            assert_eq!(sent(&mut store, "http://notexample.com/"), "");
            assert_eq!(sent(&mut store, "http://x.localhost/"), "");
        }
        for (host, domain) in [
            ("a.example.com", "b.example.com"),
            ("example.com", "a.example.com"),
            ("example.com", "com"),
            ("example.com", "ample.com"),
            ("127.0.0.1", "0.0.1"),
            ("127.0.0.1", "1"),
        ] {
            let cookie = format!("x=1; Domain={domain}");
            assert!(!set(&mut Store::default(), &format!("http://{host}/"), &cookie), "{host} {domain}");
        }
    }

    #[test]
    fn a_unix_socket_is_in_no_domain() {
        let mut store = Store::default();
        let socket = "http+unix://%2Frun%2Fa.b.sock/";
        assert!(!set(&mut store, socket, "x=1; Domain=b.sock"));
        assert!(set(&mut store, socket, "y=1"));
        assert_eq!(sent(&mut store, socket), "y=1");
        assert!(set(&mut store, "http://b.sock/", "z=1; Domain=b.sock"));
        assert_eq!(sent(&mut store, socket), "y=1");
    }

    #[cfg(feature = "psl")]
    #[test]
    fn public_suffixes_of_any_depth_have_no_cookies() {
        for (host, domain) in [
            ("shop.co.uk", "co.uk"),
            ("me.github.io", "github.io"),
            ("a.b.kawasaki.jp", "b.kawasaki.jp"),
            ("a.b.kawasaki.jp", "kawasaki.jp"),
            ("b.kawasaki.jp", "kawasaki.jp"),
            ("mine.s3.amazonaws.com", "amazonaws.com"),
        ] {
            let (at, cookie) = (format!("http://{host}/"), format!("x=1; Domain={domain}"));
            assert!(!set(&mut Store::default(), &at, &cookie), "{domain}");
        }
        let mut store = Store::default();
        assert!(set(&mut store, "http://github.io/", "x=1; Domain=github.io"), "the suffix itself is a host");
        assert_eq!(sent(&mut store, "http://me.github.io/"), "");
        assert!(set(&mut store, "http://a.shop.co.uk/", "x=1; Domain=shop.co.uk"));
    }

    #[test]
    fn secure_cookies_stay_under_tls_and_nothing_else_replaces_them() {
        let mut store = Store::default();
        assert!(!set(&mut store, "http://h.example/", "x=1; Secure"));
        assert!(set(&mut store, "https://h.example/", "x=1; Secure; Path=/"));
        assert_eq!(sent(&mut store, "http://h.example/"), "");
        assert_eq!(sent(&mut store, "https://h.example/"), "x=1");
        assert!(!set(&mut store, "http://h.example/", "x=2; Path=/"));
        assert!(!set(&mut store, "http://h.example/", "x=2; Path=/; Max-Age=0"));
        assert!(!set(&mut store, "http://a.h.example/", "x=2; Domain=h.example; Path=/deep"));
        assert_eq!(sent(&mut store, "https://h.example/"), "x=1");
        assert!(set(&mut store, "http://h.example/", "y=2; Path=/"));
    }

    #[test]
    fn prefixes_mean_what_they_say() {
        for (at, cookie, kept) in [
            ("https://h.example/", "__Secure-x=1; Secure", true),
            ("https://h.example/", "__Secure-x=1", false),
            ("https://h.example/", "__SECURE-x=1", false),
            ("https://h.example/", "__Host-x=1; Secure; Path=/", true),
            ("https://h.example/", "__Host-x=1; Secure", false),
            ("https://h.example/", "__Host-x=1; Secure; Path=/; Domain=h.example", false),
            ("http://h.example/", "__Host-x=1; Path=/", false),
        ] {
            assert_eq!(set(&mut Store::default(), at, cookie), kept, "{at} {cookie}");
        }
    }

    #[test]
    fn time_ends_cookies_and_servers_do() {
        let mut store = Store::default();
        set(&mut store, "http://h/", "a=1; Max-Age=60");
        set(&mut store, "http://h/", "b=1");
        set(&mut store, "http://h/", "c=1; Expires=Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(sent(&mut store, "http://h/"), "a=1; b=1");
        let later = store.matching(&uri("http://h/"), now() + Duration::from_secs(61));
        assert_eq!(later, [("b".to_owned(), "1".to_owned())]);
        assert_eq!(store.count, 1);
        assert!(!set(&mut store, "http://h/", "b=; Max-Age=0"));
        assert_eq!((sent(&mut store, "http://h/"), store.count), (String::new(), 0));
        assert!(store.domains.is_empty(), "nothing is left of the host");
    }

    #[test]
    fn longer_paths_come_first_then_older_cookies_and_a_new_value_keeps_the_place() {
        let mut store = Store::default();
        for cookie in ["a=1; Path=/", "b=1; Path=/x/y", "c=1; Path=/", "a=2; Path=/"] {
            assert!(set(&mut store, "http://h/x/y/", cookie));
        }
        assert_eq!(sent(&mut store, "http://h/x/y/"), "b=1; a=2; c=1");
        assert!(set(&mut store, "http://h/x/y/", "a=3; Path=/x"));
        assert_eq!(sent(&mut store, "http://h/x/y/"), "b=1; a=3; a=2; c=1");
    }

    #[test]
    fn a_jar_does_not_grow_without_end() {
        let mut store = Store::default();
        for n in 0..1000 {
            set(&mut store, "http://h/", &format!("c{n}=1"));
        }
        assert_eq!(store.count, MOST_OF_DOMAIN);
        assert!(sent(&mut store, "http://h/").contains("c999=1"));
        for n in 0..5000 {
            set(&mut store, &format!("http://h{n}/"), "c=1");
        }
        assert!(store.count <= MOST && store.count > MOST * 8 / 10, "{}", store.count);
        assert_eq!(store.count, store.domains.values().map(Vec::len).sum::<usize>());
        assert_eq!(sent(&mut store, "http://h4999/"), "c=1");
        let large = format!("x={}", "v".repeat(MOST_BYTES));
        assert!(!set(&mut store, "http://h/", &large));
    }

    #[test]
    fn what_can_t_be_sent_or_written_is_not_kept() {
        let mut store = Store::default();
        assert!(!set(&mut store, "http://h/", "a=b\tc"));
        assert!(set(&mut store, "http://h/", "list[0]=\"quoted\"; Path=/"), "as browsers do");
        assert_eq!(sent(&mut store, "http://h/"), "list[0]=\"quoted\"");
    }

    #[test]
    fn a_jar_is_shared_and_shows_no_values() {
        let jar = CookieJar::new();
        let at = uri("http://h/");
        assert!(jar.store(&at, &Cookie::parse("x=s3cr3t").unwrap()));
        jar.clone().store(&at, &Cookie::parse("y=1; Max-Age=100").unwrap());
        assert_eq!((jar.len(), jar.get(&at, "x").as_deref()), (2, Some("s3cr3t")));
        assert!(!format!("{jar:?}").contains("s3cr3t"));
        jar.clear_session_cookies();
        assert_eq!((jar.len(), jar.get(&at, "x")), (1, None));
        jar.clear();
        assert!(jar.is_empty());
    }
}
