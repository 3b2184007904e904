//! Which proxy a client session goes through, and how.
//!
//! Values and decisions: what is configured, which hosts are exempt, what the environment
//! says. Speaking with the proxy is `tunnel.rs` and `socks.rs`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use zeroize::Zeroizing;

use super::{HTTP_PORT, HTTPS_PORT};
use crate::auth::ProxyAuthentication;
use crate::message::field;
use crate::{Error, Result};

/// How the session speaks with the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// HTTP: absolute-form for `http`, `CONNECT` for `https`.
    #[default]
    Http,
    /// The same over TLS. Needs the feature `tls`.
    Https,
    /// SOCKS 5 (RFC 1928); names are resolved here.
    Socks5,
    /// SOCKS 5; names are resolved by the proxy.
    Socks5h,
}

impl ProxyProtocol {
    /// The scheme of the proxy's URI.
    pub fn as_str(self) -> &'static str {
        match self {
            ProxyProtocol::Http => "http",
            ProxyProtocol::Https => "https",
            ProxyProtocol::Socks5 => "socks5",
            ProxyProtocol::Socks5h => "socks5h",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            ProxyProtocol::Http => HTTP_PORT,
            ProxyProtocol::Https => HTTPS_PORT,
            ProxyProtocol::Socks5 | ProxyProtocol::Socks5h => 1080,
        }
    }

    pub(crate) fn is_socks(self) -> bool {
        matches!(self, ProxyProtocol::Socks5 | ProxyProtocol::Socks5h)
    }
}

impl FromStr for ProxyProtocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<ProxyProtocol> {
        [ProxyProtocol::Http, ProxyProtocol::Https, ProxyProtocol::Socks5, ProxyProtocol::Socks5h]
            .into_iter()
            .find(|protocol| protocol.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| Error::invalid_argument("a proxy speaks http, https, socks5 or socks5h"))
    }
}

/// A proxy, and for which hosts it is not used.
///
/// An empty host is no proxy. A session copies the configuration that is global when it is
/// made ([`set_global`](ProxyConfig::set_global)); [`ClientSession::set_proxy_config`] gives it its
/// own.
///
/// ```
/// use sessile::session::{ProxyConfig, ProxyProtocol};
///
/// let mut proxy: ProxyConfig = "http://user:secret@proxy.local:3128".parse()?;
/// assert_eq!((proxy.host(), proxy.port()), ("proxy.local", 3128));
/// assert_eq!(proxy.protocol(), ProxyProtocol::Http);
/// proxy.set_no_proxy("localhost, .internal, 10.0.0.0/8");
/// assert!(proxy.bypasses("db.internal"));
/// assert!(!proxy.bypasses("example.com"));
/// assert!(!format!("{proxy:?}").contains("secret"));
/// # Ok::<(), sessile::Error>(())
/// ```
///
/// [`ClientSession::set_proxy_config`]: super::ClientSession::set_proxy_config
#[derive(Clone)]
#[doc(alias = "HTTPClientSession::ProxyConfig")]
pub struct ProxyConfig {
    host: String,
    port: u16,
    protocol: ProxyProtocol,
    tunnel: bool,
    username: Zeroizing<String>,
    password: Zeroizing<String>,
    expression: Option<Expression>,
    list: Vec<Exempt>,
    auth_method: ProxyAuthentication,
}

/// The expression over whole host names, and its text.
#[derive(Clone)]
struct Expression {
    text: String,
    regex: Arc<regex_lite::Regex>,
}

/// One entry of a `NO_PROXY` list.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exempt {
    All,
    /// The name itself and everything below it.
    Domain(String),
    Network(IpAddr, u8),
}

static GLOBAL: RwLock<Option<ProxyConfig>> = RwLock::new(None);

impl ProxyConfig {
    /// A proxy that speaks HTTP. An empty host is none.
    pub fn new(host: impl Into<String>, port: u16) -> ProxyConfig {
        ProxyConfig {
            host: host.into(),
            port,
            protocol: ProxyProtocol::Http,
            tunnel: true,
            username: Zeroizing::default(),
            password: Zeroizing::default(),
            expression: None,
            list: Vec::new(),
            auth_method: ProxyAuthentication::Basic,
        }
    }

    /// No proxy.
    pub fn none() -> ProxyConfig {
        ProxyConfig::new("", HTTP_PORT)
    }

    /// The proxy that the environment names for URIs of a scheme: `http_proxy`, `https_proxy`
    /// or `all_proxy`, in lower case first, with the exemptions of `no_proxy`. `HTTP_PROXY` in
    /// capitals is ignored where `REQUEST_METHOD` is set, because there a client can set it.
    pub fn from_env(scheme: &str) -> Result<Option<ProxyConfig>> {
        ProxyConfig::from_variables(scheme, |name| std::env::var(name).ok())
    }

    fn from_variables(
        scheme: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<ProxyConfig>> {
        let either = |name: &str| variable(name).or_else(|| variable(&name.to_ascii_uppercase()));
        let own = match scheme {
            "http" if variable("REQUEST_METHOD").is_some() => variable("http_proxy"),
            "http" => either("http_proxy"),
            _ => either(&format!("{scheme}_proxy")),
        };
        let Some(text) = own.or_else(|| either("all_proxy")).filter(|text| !text.trim().is_empty()) else {
            return Ok(None);
        };
        let mut config: ProxyConfig = text.trim().parse()?;
        if let Some(list) = either("no_proxy") {
            config.set_no_proxy(&list);
        }
        Ok(Some(config))
    }

    /// The configuration that new sessions start with; none by default.
    #[doc(alias = "getGlobalProxyConfig")]
    pub fn global() -> ProxyConfig {
        GLOBAL.read().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_else(ProxyConfig::none)
    }

    /// Sets the configuration that sessions made from now on start with, on all threads.
    #[doc(alias = "setGlobalProxyConfig")]
    pub fn set_global(config: Option<ProxyConfig>) {
        *GLOBAL.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// The proxy's host; empty for no proxy.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Changes the proxy's host.
    pub fn set_host(&mut self, host: impl Into<String>) -> &mut ProxyConfig {
        self.host = host.into();
        self
    }

    /// The proxy's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the proxy's port.
    pub fn set_port(&mut self, port: u16) -> &mut ProxyConfig {
        self.port = port;
        self
    }

    /// What is spoken with the proxy.
    pub fn protocol(&self) -> ProxyProtocol {
        self.protocol
    }

    /// Changes what is spoken with the proxy.
    pub fn set_protocol(&mut self, protocol: ProxyProtocol) -> &mut ProxyConfig {
        self.protocol = protocol;
        self
    }

    /// Whether `https` goes through a tunnel (`CONNECT`). Without one the proxy gets the
    /// request itself, and sees all of it.
    pub fn tunnel(&self) -> bool {
        self.tunnel
    }

    /// Says whether `https` goes through a tunnel. On by default.
    pub fn set_tunnel(&mut self, tunnel: bool) -> &mut ProxyConfig {
        self.tunnel = tunnel;
        self
    }

    /// The user's name; empty for none.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The user's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Sets the user's name and password.
    pub fn set_credentials(
        &mut self,
        username: impl Into<String>,
        password: impl Into<String>,
    ) -> &mut ProxyConfig {
        self.username = Zeroizing::new(username.into());
        self.password = Zeroizing::new(password.into());
        self
    }

    /// How the user is authenticated.
    pub fn auth_method(&self) -> ProxyAuthentication {
        self.auth_method
    }

    /// Says how the user is authenticated: by Basic unless said.
    pub fn set_auth_method(&mut self, method: ProxyAuthentication) -> &mut ProxyConfig {
        self.auth_method = method;
        self
    }

    /// The expression set by [`set_non_proxy_hosts`](ProxyConfig::set_non_proxy_hosts).
    #[doc(alias = "nonProxyHosts")]
    pub fn non_proxy_hosts(&self) -> &str {
        self.expression.as_ref().map_or("", |e| &e.text)
    }

    /// Hosts that match the regular expression as a whole, in any case, go without the proxy.
    /// Empty for none. (Poco reads it when a request is made; here an expression that can't be
    /// read is an error at once.)
    #[doc(alias = "nonProxyHosts")]
    pub fn set_non_proxy_hosts(&mut self, expression: &str) -> Result<&mut ProxyConfig> {
        self.expression = if expression.is_empty() {
            None
        } else {
            let regex = regex_lite::Regex::new(&format!("(?i)^(?:{expression})$")).map_err(|e| {
                Error::invalid_argument("the hosts without proxy are no regular expression").with_source(e)
            })?;
            Some(Expression { text: expression.to_owned(), regex: Arc::new(regex) })
        };
        Ok(self)
    }

    /// Hosts of a `NO_PROXY` list go without the proxy: names with all that is below them, with
    /// or without a leading dot or `*.`, addresses, networks (`10.0.0.0/8`), `*` for all.
    pub fn set_no_proxy(&mut self, list: &str) -> &mut ProxyConfig {
        self.list = list.split([',', ' ']).filter_map(Exempt::parse).collect();
        self
    }

    /// Whether there is a proxy.
    pub fn is_some(&self) -> bool {
        !self.host.is_empty()
    }

    /// Whether a host is reached without the proxy.
    #[doc(alias = "bypassProxy")]
    pub fn bypasses(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.expression.as_ref().is_some_and(|e| e.regex.is_match(host))
            || self.list.iter().any(|exempt| exempt.covers(host))
    }
}

impl Exempt {
    fn parse(entry: &str) -> Option<Exempt> {
        let entry = entry.trim();
        if entry.is_empty() {
            return None;
        }
        if entry == "*" {
            return Some(Exempt::All);
        }
        let (address, bits) = entry.split_once('/').map_or((entry, None), |(a, b)| (a, Some(b)));
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |b| b.parse().ok().filter(|b| *b <= most))?;
            return Some(Exempt::Network(address, bits));
        }
        let name = entry.trim_start_matches("*.").trim_start_matches('.').trim_end_matches('.');
        (!name.is_empty()).then(|| Exempt::Domain(name.to_ascii_lowercase()))
    }

    fn covers(&self, host: &str) -> bool {
        match self {
            Exempt::All => true,
            Exempt::Domain(domain) => {
                let host = host.trim_end_matches('.').to_ascii_lowercase();
                host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Exempt::Network(network, bits) => match (network, host.parse()) {
                (IpAddr::V4(network), Ok(IpAddr::V4(host))) => {
                    let mask = u32::MAX.checked_shl(u32::from(32 - bits)).unwrap_or(0);
                    network.to_bits() & mask == host.to_bits() & mask
                }
                (IpAddr::V6(network), Ok(IpAddr::V6(host))) => {
                    let mask = u128::MAX.checked_shl(u32::from(128 - bits)).unwrap_or(0);
                    network.to_bits() & mask == host.to_bits() & mask
                }
                _ => false,
            },
        }
    }
}

impl FromStr for ProxyConfig {
    type Err = Error;

    /// Reads `[scheme://][user[:password]@]host[:port][/]`; the scheme is `http` unless said.
    fn from_str(text: &str) -> Result<ProxyConfig> {
        let (protocol, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.parse()?, rest),
            None => (ProxyProtocol::Http, text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(Error::invalid_argument("a proxy's URI has no path"));
        }
        let (user_info, address) = match authority.rsplit_once('@') {
            Some((user_info, address)) => (Some(user_info), address),
            None => (None, authority),
        };
        let (host, port) = match address.rsplit_once(':') {
            // The colons of an IPv6 address are inside of brackets.
            Some((host, port)) if !port.contains(']') => {
                let port = port
                    .bytes()
                    .all(|b| b.is_ascii_digit())
                    .then(|| port.parse::<u16>().ok().filter(|&port| port > 0))
                    .flatten()
                    .ok_or_else(|| Error::invalid_argument("the proxy's port is a number from 1 to 65535"))?;
                (host, port)
            }
            _ => (address, protocol.default_port()),
        };
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~:%".contains(&b);
        if host.is_empty() || !host.bytes().all(fits) {
            return Err(Error::invalid_argument("the proxy's URI has no valid host"));
        }
        let mut config = ProxyConfig::new(host, port);
        config.protocol = protocol;
        if let Some(user_info) = user_info {
            let (username, password) = user_info.split_once(':').unwrap_or((user_info, ""));
            let decoded = |text| {
                field::percent_decode(text).ok_or_else(|| {
                    Error::invalid_argument("the proxy's user name or password is not percent-encoded UTF-8")
                })
            };
            config.set_credentials(decoded(username)?, decoded(password)?);
        }
        Ok(config)
    }
}

impl Default for ProxyConfig {
    /// No proxy.
    fn default() -> ProxyConfig {
        ProxyConfig::none()
    }
}

impl fmt::Debug for ProxyConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("protocol", &self.protocol)
            .field("tunnel", &self.tunnel)
            .field("non_proxy_hosts", &self.non_proxy_hosts())
            .field("no_proxy", &self.list)
            .field("auth_method", &self.auth_method)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_read_with_all_its_parts() {
        let proxy: ProxyConfig = "https://us%40er:p%3Ass@[::1]:8443/".parse().unwrap();
        assert_eq!((proxy.host(), proxy.port(), proxy.protocol()), ("::1", 8443, ProxyProtocol::Https));
        assert_eq!((proxy.username(), proxy.password()), ("us@er", "p:ss"));
        for (text, port) in
            [("proxy", 80), ("https://proxy", 443), ("socks5://proxy", 1080), ("proxy:3128", 3128)]
        {
            assert_eq!(text.parse::<ProxyConfig>().unwrap().port(), port, "{text}");
        }
    }

    #[test]
    fn a_uri_that_is_none_is_refused() {
        for text in [
            "",
            "ftp://proxy",
            "http://",
            "http://proxy:",
            "http://proxy:0",
            "http://proxy:65536",
            "http://p:+1",
            "http://proxy/path",
            "http://proxy?x",
            "http://pro xy",
            "http://a\r\nb",
            "http://[::1",
            "http://%zz@proxy",
        ] {
            assert!(text.parse::<ProxyConfig>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn exemptions_are_names_with_what_is_below_them_addresses_and_networks() {
        let mut proxy = ProxyConfig::new("proxy", 80);
        proxy.set_no_proxy("localhost,.example.com, *.example.org 10.0.0.0/8,[::1],192.168.1.1,fd00::/8");
        for host in [
            "localhost",
            "LOCALHOST",
            "example.com",
            "a.b.example.com",
            "example.org",
            "10.1.2.3",
            "::1",
            "[::1]",
            "192.168.1.1",
            "fd12::1",
            "example.com.",
        ] {
            assert!(proxy.bypasses(host), "{host}");
        }
        for host in ["notexample.com", "example.net", "11.0.0.1", "::2", "192.168.1.2", "fe00::1", ""] {
            assert!(!proxy.bypasses(host), "{host}");
        }
        proxy.set_no_proxy("*");
        assert!(proxy.bypasses("anything"));
        proxy.set_no_proxy("1.2.3.4/33, 0.0.0.0/0");
        assert!(proxy.bypasses("9.9.9.9"));
    }

    #[test]
    fn an_expression_matches_whole_hosts_in_any_case_and_bad_ones_are_refused_at_once() {
        let mut proxy = ProxyConfig::new("proxy", 80);
        proxy.set_non_proxy_hosts("localhost|a|ab").unwrap();
        assert!(proxy.bypasses("ab"), "the longest alternative counts, unlike Poco's");
        assert!(proxy.bypasses("LocalHost"));
        assert!(!proxy.bypasses("xlocalhost") && !proxy.bypasses("localhosts"));
        assert!(proxy.set_non_proxy_hosts("(").is_err());
        proxy.set_non_proxy_hosts("").unwrap();
        assert!(!proxy.bypasses("localhost"));
    }

    #[test]
    fn the_environment_names_proxies_by_scheme() {
        let with = |pairs: &'static [(&str, &str)], scheme: &str| {
            let variable = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            ProxyConfig::from_variables(scheme, variable).unwrap()
        };
        let host = |config: Option<ProxyConfig>| config.map(|c| c.host().to_owned());
        assert_eq!(host(with(&[("http_proxy", "http://a:1")], "http")).as_deref(), Some("a"));
        assert_eq!(host(with(&[("http_proxy", "http://a:1")], "https")), None);
        assert_eq!(host(with(&[("HTTPS_PROXY", "b:2")], "https")).as_deref(), Some("b"));
        assert_eq!(host(with(&[("all_proxy", "socks5h://c")], "https")).as_deref(), Some("c"));
        assert_eq!(host(with(&[("http_proxy", " ")], "http")), None);
        assert_eq!(host(with(&[("HTTP_PROXY", "evil"), ("REQUEST_METHOD", "GET")], "http")), None);
        let exempt = with(&[("http_proxy", "a"), ("NO_PROXY", "x")], "http").unwrap();
        assert!(exempt.bypasses("x"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let proxy: ProxyConfig = "http://alice:hunter2@proxy".parse().unwrap();
        let shown = format!("{proxy:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("alice"), "{shown}");
    }
}
