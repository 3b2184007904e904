//! The NTLM scheme, version 2 (MS-NLMP): a proof of the password in three messages.
//!
//! It authenticates a connection, not a request: all three messages, and what follows, must
//! go over one connection, whose owner keeps that in mind. Nothing here knows connections, or
//! the time, which the server or the caller gives.

mod hash;
mod message;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use zeroize::Zeroizing;

pub use message::{AuthenticateMessage, ChallengeMessage, NegotiateMessage, flags};

use super::Side;
use super::basic::BASE64;
use super::challenge::{Challenge, challenges, parse};
use super::secret::{Login, Secret};
use crate::message::{HeaderMap, Request, Response};
use crate::{Error, ErrorKind, Result, random};

/// The name of the scheme.
pub(crate) const SCHEME: &str = "NTLM";

/// A user name and a password for NTLM.
///
/// The name may have a domain: `DOMAIN\user` or `user@domain`. Without one, the domain is the
/// one that the server names.
///
/// ```
/// use sessile::auth::NtlmCredentials;
/// use sessile::message::{Request, Response};
///
/// let mut credentials = NtlmCredentials::new("DOMAIN\\user", "secret");
/// let mut request = Request::get("/");
/// let mut response = Response::new();
///
/// // The server asks, the client begins,
/// response.headers_mut().set("WWW-Authenticate", "NTLM")?;
/// credentials.authenticate(&mut request, &response)?;
/// assert!(request.headers().get("Authorization").unwrap().starts_with("NTLM TlRMTVNTUAAB"));
///
/// // and on the same connection the server challenges and the client proves.
/// response.headers_mut().set("Date", "Sun, 06 Nov 1994 08:49:37 GMT")?;
/// response.headers_mut().set(
///     "WWW-Authenticate",
///     "NTLM TlRMTVNTUAACAAAAAAAAAAAAAAABAggAASNFZ4mrze8AAAAAAAAAAAAAAAAAAAAA",
/// )?;
/// credentials.authenticate(&mut request, &response)?;
/// assert!(request.headers().get("Authorization").unwrap().starts_with("NTLM TlRMTVNTUAAD"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, Default)]
#[doc(alias = "HTTPNTLMCredentials")]
#[doc(alias = "NTLMCredentials")]
pub struct NtlmCredentials {
    login: Login,
    engine: Engine,
}

impl NtlmCredentials {
    /// The name of the scheme.
    pub const SCHEME: &'static str = SCHEME;

    /// Credentials of this user.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> NtlmCredentials {
        NtlmCredentials { login: Login::new(username, password), engine: Engine::default() }
    }

    /// The user's name, with its domain if it has one.
    #[doc(alias = "getUsername")]
    pub fn username(&self) -> &str {
        self.login.username.as_str()
    }

    /// Sets the user's name.
    #[doc(alias = "setUsername")]
    pub fn set_username(&mut self, username: impl Into<String>) {
        self.login.username = Secret::new(username);
    }

    /// The password.
    #[doc(alias = "getPassword")]
    pub fn password(&self) -> &str {
        self.login.password.as_str()
    }

    /// Sets the password.
    #[doc(alias = "setPassword")]
    pub fn set_password(&mut self, password: impl Into<String>) {
        self.login.password = Secret::new(password);
    }

    /// The name that the client gives itself; empty unless set.
    #[doc(alias = "getHost")]
    pub fn workstation(&self) -> &str {
        &self.engine.workstation
    }

    /// Sets the name that the client gives itself, for the logs of the server. (Poco's host is
    /// for the single sign-on of Windows, which this crate does not use.)
    #[doc(alias = "setHost")]
    pub fn set_workstation(&mut self, workstation: impl Into<String>) {
        self.engine.workstation = workstation.into();
    }

    /// Says what time it is, for servers that don't: without it, the response's `Date` counts.
    #[doc(alias = "createTimestamp")]
    pub fn set_time(&mut self, now: SystemTime) {
        self.engine.time = Some(now);
    }

    /// Forgets everything but user and password.
    pub fn reset(&mut self) {
        self.engine = Engine::default();
    }

    /// Forgets and wipes everything.
    pub fn clear(&mut self) {
        *self = NtlmCredentials::default();
    }

    /// Whether user name and password are empty.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.login.is_empty()
    }

    /// Sets `Authorization` to the next message: the first one where the response only names
    /// the scheme, the proof where it has a challenge.
    ///
    /// Fails with [`NotAuthenticated`](ErrorKind::NotAuthenticated) where the response has no
    /// NTLM challenge, or where it asks again after the proof: then user name or password are
    /// wrong. Fails with [`Malformed`](ErrorKind::Malformed) where the challenge can't be
    /// read, with [`Unsupported`](ErrorKind::Unsupported) where the server knows version 1
    /// only, and with [`IllegalState`](ErrorKind::IllegalState) where nobody says what time
    /// it is.
    pub fn authenticate(&mut self, request: &mut Request, response: &Response) -> Result<()> {
        self.answer(request, response, Side::Origin)
    }

    /// The same for the token of a challenge that was found already: empty for the first message.
    #[doc(alias = "authenticate")]
    #[doc(alias = "createNTLMMessage")]
    pub fn authenticate_with(&mut self, request: &mut Request, challenge: &str) -> Result<()> {
        let token = Some(challenge).filter(|token| !token.is_empty());
        self.engine.apply(Side::Origin, &self.login, token, None, request)
    }

    /// Removes `Authorization`: it is the connection that is authenticated, and a message
    /// would begin anew.
    #[doc(alias = "updateAuthInfo")]
    pub fn update_auth_info(&mut self, request: &mut Request) {
        request.headers_mut().remove(Side::Origin.credentials_field());
    }

    /// As [`authenticate`](NtlmCredentials::authenticate), from `Proxy-Authenticate` to
    /// `Proxy-Authorization`.
    #[doc(alias = "proxyAuthenticate")]
    pub fn proxy_authenticate(&mut self, request: &mut Request, response: &Response) -> Result<()> {
        self.answer(request, response, Side::Proxy)
    }

    /// As [`authenticate_with`](NtlmCredentials::authenticate_with), for `Proxy-Authorization`.
    #[doc(alias = "proxyAuthenticate")]
    pub fn proxy_authenticate_with(&mut self, request: &mut Request, challenge: &str) -> Result<()> {
        let token = Some(challenge).filter(|token| !token.is_empty());
        self.engine.apply(Side::Proxy, &self.login, token, None, request)
    }

    /// Removes `Proxy-Authorization`: see [`update_auth_info`](NtlmCredentials::update_auth_info).
    #[doc(alias = "updateProxyAuthInfo")]
    pub fn update_proxy_auth_info(&mut self, request: &mut Request) {
        request.headers_mut().remove(Side::Proxy.credentials_field());
    }

    fn answer(&mut self, request: &mut Request, response: &Response, side: Side) -> Result<()> {
        let challenges = challenges(response.headers(), side.challenge_field())?;
        let Some(challenge) = challenges.iter().find(|challenge| challenge.is(SCHEME)) else {
            return Err(Error::new(ErrorKind::NotAuthenticated, "no NTLM challenge"));
        };
        self.engine.answer(side, &self.login, challenge, request, response)
    }
}

impl fmt::Debug for NtlmCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NtlmCredentials").finish_non_exhaustive()
    }
}

/// Name and domain of `DOMAIN\user` or `user@domain`; without a domain it is empty.
///
/// ```
/// use sessile::auth::ntlm::split_username;
///
/// assert_eq!(split_username("DOMAIN\\user"), ("user", "DOMAIN"));
/// assert_eq!(split_username("user@domain"), ("user", "domain"));
/// assert_eq!(split_username("user"), ("user", ""));
/// ```
#[doc(alias = "splitUsername")]
pub fn split_username(name: &str) -> (&str, &str) {
    if let Some((domain, user)) = name.split_once('\\') {
        return (user, domain);
    }
    name.rsplit_once('@').unwrap_or((name, ""))
}

/// What is needed besides name and password. Nothing is kept from one message to the next: the
/// challenge has everything.
#[derive(Clone, Default)]
pub(crate) struct Engine {
    pub(crate) workstation: String,
    pub(crate) time: Option<SystemTime>,
}

impl Engine {
    /// Sets the next message, unless the request had the last one already.
    pub(crate) fn answer(
        &self,
        side: Side,
        login: &Login,
        challenge: &Challenge,
        request: &mut Request,
        response: &Response,
    ) -> Result<()> {
        if challenge.token().is_none() && is_proof(request.headers(), side) {
            return Err(Error::new(ErrorKind::NotAuthenticated, "user name or password were refused"));
        }
        self.apply(side, login, challenge.token(), response.date().ok(), request)
    }

    /// Sets the message that answers this token.
    fn apply(
        &self,
        side: Side,
        login: &Login,
        token: Option<&str>,
        date: Option<SystemTime>,
        request: &mut Request,
    ) -> Result<()> {
        let message = match token {
            None => NegotiateMessage::default().to_bytes()?,
            Some(token) => {
                let mut client_challenge = [0; 8];
                random::fill(&mut client_challenge)?;
                self.prove(login, &read(token)?, client_challenge, date)?.to_bytes()?
            }
        };
        let message = Zeroizing::new(message);
        let mut value = Zeroizing::new(String::with_capacity(5 + message.len().div_ceil(3) * 4));
        value.extend([SCHEME, " "]);
        BASE64.encode_string(&message[..], &mut value);
        request.headers_mut().set(side.credentials_field(), value.as_bytes())
    }

    /// The third message (MS-NLMP, 3.1.5.1.2).
    fn prove(
        &self,
        login: &Login,
        challenge: &ChallengeMessage,
        client_challenge: [u8; 8],
        date: Option<SystemTime>,
    ) -> Result<AuthenticateMessage> {
        if challenge.flags & flags::NTLM2_KEY == 0 {
            return Err(Error::unsupported("the server knows version 1 of NTLM only"));
        }
        let (username, domain) = split_username(login.username.as_str());
        let domain = if domain.is_empty() { challenge.target.as_str() } else { domain };
        let server_time = challenge.timestamp();
        let time = match (server_time, self.time.or(date)) {
            (Some(time), _) => time,
            (None, Some(time)) => file_time(time),
            (None, None) => {
                return Err(Error::illegal_state("NTLM needs the time, which nobody says: set it"));
            }
        };
        let key = hash::user_key(username, domain, login.password.as_str());
        let info = if challenge.target_info.is_empty() { &[0; 4][..] } else { &challenge.target_info };
        let agreed = challenge.flags
            & (message::OFFERED | flags::TARGET_INFO | flags::TARGET_DOMAIN | flags::TARGET_SERVER);
        Ok(AuthenticateMessage {
            // With Unicode, which is the better one, the other goes.
            flags: if agreed & flags::UNICODE == 0 { agreed } else { agreed & !flags::OEM },
            // Where the server says the time, the older response must be empty.
            lm_response: match server_time {
                Some(_) => vec![0; 24],
                None => hash::lm_response(&key, challenge.challenge, client_challenge),
            },
            nt_response: hash::nt_response(&key, challenge.challenge, client_challenge, time, info),
            domain: domain.to_owned(),
            username: username.to_owned(),
            workstation: self.workstation.clone(),
        })
    }
}

/// The challenge in a token.
fn read(token: &str) -> Result<ChallengeMessage> {
    let message =
        BASE64.decode(token).map_err(|_| Error::malformed("an NTLM challenge that is not base64"))?;
    ChallengeMessage::parse(&message)
}

/// Whether the field holds the third message.
fn is_proof(sent: &HeaderMap, side: Side) -> bool {
    let credentials = sent.get_bytes(side.credentials_field()).and_then(|value| parse(value).ok()?.pop());
    credentials.filter(|credentials| credentials.is(SCHEME)).is_some_and(|credentials| {
        let message = credentials.token().and_then(|token| BASE64.decode(token).ok());
        message.is_some_and(|message| message.starts_with(b"NTLMSSP\0\x03"))
    })
}

/// Tenths of a microsecond since 1601, as Windows counts.
fn file_time(time: SystemTime) -> u64 {
    const FROM_1601_TO_1970: Duration = Duration::from_secs(11_644_473_600);
    let since_1601 = match time.duration_since(UNIX_EPOCH) {
        Ok(since_1970) => since_1970.saturating_add(FROM_1601_TO_1970),
        Err(before) => FROM_1601_TO_1970.saturating_sub(before.duration()),
    };
    u64::try_from(since_1601.as_nanos() / 100).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(flags: u32, target: &str, target_info: &[u8]) -> ChallengeMessage {
        let challenge = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        ChallengeMessage { flags, challenge, target: target.to_owned(), target_info: target_info.to_vec() }
    }

    fn login(name: &str) -> Login {
        Login::new(name, "Password")
    }

    fn windows_epoch() -> SystemTime {
        UNIX_EPOCH - Duration::from_secs(11_644_473_600)
    }

    const INFO: &[u8] = b"\x02\0\x0c\0D\0o\0m\0a\0i\0n\0\x01\0\x0c\0S\0e\0r\0v\0e\0r\0\0\0\0\0";
    const FLAGS: u32 = 0xe28a_8233;

    #[test]
    fn the_proof_is_that_of_the_specification() {
        // MS-NLMP, 4.2.4: there with a session key and a version, which are not sent here.
        let engine = Engine { workstation: "COMPUTER".to_owned(), time: Some(windows_epoch()) };
        let proof =
            engine.prove(&login("Domain\\User"), &challenge(FLAGS, "Server", INFO), [0xaa; 8], None).unwrap();
        let bytes = proof.to_bytes().unwrap();
        let responses = b"\x86\xc3\x50\x97\xac\x9c\xec\x10\x25\x54\x76\x4a\x57\xcc\xcc\x19\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\
            \x68\xcd\x0a\xb8\x51\xe5\x1c\x96\xaa\xbc\x92\x7b\xeb\xef\x6a\x1c\
            \x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xaa\xaa\xaa\xaa\xaa\xaa\xaa\xaa\0\0\0\0\
            \x02\0\x0c\0D\0o\0m\0a\0i\0n\0\x01\0\x0c\0S\0e\0r\0v\0e\0r\0\0\0\0\0\0\0\0\0\
            D\0o\0m\0a\0i\0n\0U\0s\0e\0r\0C\0O\0M\0P\0U\0T\0E\0R\0";
        assert_eq!(bytes[64..], *responses);
        assert_eq!(bytes[..12], *b"NTLMSSP\0\x03\0\0\0");
        assert_eq!(proof.flags, 0x008a_8201);
    }

    #[test]
    fn without_a_domain_it_is_the_one_the_server_names() {
        let engine = Engine { time: Some(windows_epoch()), ..Engine::default() };
        let proof = |name: &str| {
            let challenge = challenge(FLAGS, "Domain", INFO);
            let proof = engine.prove(&login(name), &challenge, [0xaa; 8], None).unwrap();
            (proof.domain, proof.username, proof.nt_response)
        };
        assert_eq!(proof("User"), proof("User@Domain"));
        assert_eq!(proof("User"), proof("Domain\\User"));
        assert_ne!(proof("User"), proof("Other\\User"));
        assert_eq!(split_username("a\\b@c"), ("b@c", "a"));
        assert_eq!(split_username("a@b@c"), ("a@b", "c"));
    }

    #[test]
    fn the_server_s_time_goes_before_the_caller_s_and_that_before_the_date() {
        let time_in = |engine: &Engine, info: &[u8], date| {
            let proof = engine.prove(&login("User"), &challenge(FLAGS, "", info), [0; 8], date).unwrap();
            (u64::from_le_bytes(proof.nt_response[24..32].try_into().unwrap()), proof.lm_response == [0; 24])
        };
        let after = |units: u64| windows_epoch() + Duration::from_nanos(units * 100);
        let mut engine = Engine::default();
        assert_eq!(time_in(&engine, INFO, Some(after(3))), (3, false));
        engine.time = Some(after(2));
        assert_eq!(time_in(&engine, INFO, Some(after(3))), (2, false));
        assert_eq!(time_in(&engine, b"", Some(after(3))), (2, false));
        let with_time = b"\x07\0\x08\0\x01\0\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(time_in(&engine, with_time, Some(after(3))), (1, true));

        let error =
            Engine::default().prove(&login("User"), &challenge(FLAGS, "", INFO), [0; 8], None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IllegalState);
    }

    #[test]
    fn time_is_counted_from_1601() {
        assert_eq!(file_time(UNIX_EPOCH), 116_444_736_000_000_000);
        assert_eq!(file_time(windows_epoch()), 0);
        assert_eq!(file_time(windows_epoch() - Duration::from_secs(1)), 0);
    }

    #[test]
    fn a_server_of_version_1_is_not_served() {
        let old = challenge(FLAGS & !flags::NTLM2_KEY, "", INFO);
        let error = Engine::default().prove(&login("User"), &old, [0; 8], None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn the_target_information_ends_also_where_the_server_gives_none() {
        let engine = Engine { time: Some(windows_epoch()), ..Engine::default() };
        let proof = engine.prove(&login("User"), &challenge(FLAGS, "", b""), [0; 8], None).unwrap();
        assert_eq!(proof.nt_response.len(), 16 + 28 + 4 + 4);
    }

    fn asked(value: &str) -> Response {
        let mut response = Response::new();
        response.headers_mut().set("WWW-Authenticate", value).unwrap();
        response.headers_mut().set("Proxy-Authenticate", value).unwrap();
        response
    }

    /// A server that gives its time, so that nothing else is needed.
    fn token() -> String {
        let mut message = b"NTLMSSP\0\x02\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x88\0\x01\x23\x45\x67\x89\xab\xcd\xef\0\0\0\0\0\0\0\0\
            \x10\0\x10\0\x30\0\0\0"
            .to_vec();
        message.extend(b"\x07\0\x08\0\x01\0\0\0\0\0\0\0\0\0\0\0");
        BASE64.encode(message)
    }

    #[test]
    fn three_messages_are_exchanged_and_then_none() {
        for (side, field) in [(Side::Origin, "Authorization"), (Side::Proxy, "Proxy-Authorization")] {
            let mut credentials = NtlmCredentials::new("User", "Password");
            let mut request = Request::default();
            let mut answer = |request: &mut Request, response: &Response| match side {
                Side::Origin => credentials.authenticate(request, response),
                Side::Proxy => credentials.proxy_authenticate(request, response),
            };
            answer(&mut request, &asked("Negotiate, NTLM")).unwrap();
            assert!(request.headers().get(field).unwrap().starts_with("NTLM TlRMTVNTUAAB"));
            answer(&mut request, &asked(&format!("NTLM {}", token()))).unwrap();
            let first = request.headers().get(field).unwrap().to_owned();
            assert!(first.starts_with("NTLM TlRMTVNTUAAD"));
            // Asked again: the password is wrong.
            let error = answer(&mut request, &asked("NTLM")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotAuthenticated);
            // On another connection, with another challenge of the client.
            answer(&mut request, &asked(&format!("NTLM {}", token()))).unwrap();
            assert_ne!(request.headers().get(field).unwrap(), first);
            match side {
                Side::Origin => credentials.update_auth_info(&mut request),
                Side::Proxy => credentials.update_proxy_auth_info(&mut request),
            }
            assert!(!request.headers().has(field));
        }
    }

    #[test]
    fn a_challenge_that_was_found_already_is_answered() {
        let mut credentials = NtlmCredentials::new("User", "Password");
        let mut request = Request::default();
        credentials.authenticate_with(&mut request, "").unwrap();
        credentials.proxy_authenticate_with(&mut request, &token()).unwrap();
        assert!(request.headers().get("Authorization").unwrap().starts_with("NTLM TlRMTVNTUAAB"));
        assert!(request.headers().get("Proxy-Authorization").unwrap().starts_with("NTLM TlRMTVNTUAAD"));
    }

    #[test]
    fn what_is_no_challenge_is_an_error() {
        let mut credentials = NtlmCredentials::new("User", "Password");
        let mut kind = |value: &str| {
            let mut request = Request::default();
            let error = credentials.authenticate(&mut request, &asked(value)).unwrap_err();
            assert!(!request.headers().has("Authorization"));
            error.kind()
        };
        assert_eq!(kind("Basic realm=x"), ErrorKind::NotAuthenticated);
        assert_eq!(kind("NTLM !"), ErrorKind::Malformed);
        assert_eq!(kind("NTLM a-b_"), ErrorKind::Malformed);
        assert_eq!(kind("NTLM TlRMTVNTUAAB"), ErrorKind::Malformed);
    }

    #[test]
    fn members_keep_what_is_set_and_show_nothing() {
        let mut credentials = NtlmCredentials::default();
        assert!(credentials.is_empty());
        credentials.set_username("alice");
        credentials.set_password("wonder");
        credentials.set_workstation("box");
        assert_eq!(
            (credentials.username(), credentials.password(), credentials.workstation()),
            ("alice", "wonder", "box")
        );
        assert!(
            !format!("{credentials:?}").contains("alice") && !format!("{credentials:?}").contains("wonder")
        );
        credentials.reset();
        assert_eq!((credentials.username(), credentials.workstation()), ("alice", ""));
        credentials.clear();
        assert!(credentials.is_empty());
    }
}
