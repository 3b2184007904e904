//! Who the user is, for an origin server: what is said before it asks, and what when it asks.
//!
//! Shares the answers to challenges between the requests and threads that use one
//! [`Authentication`], by origin. How a scheme works is `auth`'s business, and on which
//! connection a challenge is answered is `call.rs`'s.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::auth::{AuthScheme, BasicCredentials, BearerCredentials, HttpCredentials};
use crate::message::{Origin, Request, Response, Uri};
use crate::{Error, ErrorKind, Result};

/// A user, and how servers are told who that is.
///
/// A clone is the same user, with the challenges that were answered so far: keep one for all
/// requests, and Digest costs a second round trip with the first request only.
///
/// ```
/// use sessile::client::{Authentication, UserAgent};
///
/// let user = Authentication::new("Aladdin", "open sesame");
/// let agent = UserAgent::builder()
///     .authentication(&"https://example.com/".parse()?, user)
///     .build()?;
///
/// let one_request = agent.get("https://api.example.com/").authentication(Authentication::bearer("mF_9.B5f-4.1JqM"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "HTTPCredentials")]
pub struct Authentication(Arc<User>);

struct User {
    id: u64,
    kind: Kind,
    /// What the challenges of each server set up; the one used last is last.
    servers: Mutex<Vec<(Origin, HttpCredentials)>>,
}

#[derive(Clone)]
enum Kind {
    /// Said before the server asks.
    Basic(BasicCredentials),
    Bearer(BearerCredentials),
    /// Said when the server asks, by one of these schemes.
    Asked {
        credentials: Box<HttpCredentials>,
        schemes: Vec<AuthScheme>,
        open: bool,
    },
}

/// How many servers' challenges one user keeps.
const MOST_SERVERS: usize = 64;

impl Authentication {
    /// By whatever the server asks for: the strongest of Digest, NTLM and Basic that it offers and
    /// the crate's features give. Basic shows the password, so it is answered over TLS alone,
    /// unless [`in_the_clear`](Authentication::in_the_clear) allows more.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Authentication {
        Authentication::asked(
            HttpCredentials::new(username, password),
            &[AuthScheme::Digest, AuthScheme::Ntlm, AuthScheme::Basic],
        )
    }

    /// By Basic, with the first request already; over plain HTTP everybody on the way can read the
    /// password.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Authentication {
        Authentication::of(Kind::Basic(BasicCredentials::new(username, password)))
    }

    /// By Digest only, when the server asks.
    #[cfg(feature = "digest")]
    #[cfg_attr(docsrs, doc(cfg(feature = "digest")))]
    pub fn digest(username: impl Into<String>, password: impl Into<String>) -> Authentication {
        Authentication::asked(HttpCredentials::new(username, password), &[AuthScheme::Digest])
    }

    /// By NTLM only, when the server asks. The connection is the user's from then on, and is used
    /// for nobody else. A user name may be `DOMAIN\user` or `user@domain`.
    #[cfg(feature = "ntlm")]
    #[cfg_attr(docsrs, doc(cfg(feature = "ntlm")))]
    pub fn ntlm(username: impl Into<String>, password: impl Into<String>) -> Authentication {
        Authentication::asked(HttpCredentials::new(username, password), &[AuthScheme::Ntlm])
    }

    /// By a token (RFC 6750), with the first request already; over plain HTTP everybody on the way
    /// can read it.
    pub fn bearer(token: impl Into<String>) -> Authentication {
        Authentication::of(Kind::Bearer(BearerCredentials::new(token)))
    }

    /// The user that a URI names, by whatever the server asks for, in the clear too. `None` where
    /// the URI names none.
    #[doc(alias = "fromURI")]
    pub fn from_uri(uri: &Uri) -> Option<Authentication> {
        uri.username()?;
        let credentials = HttpCredentials::from_uri(uri);
        let schemes = [AuthScheme::Digest, AuthScheme::Ntlm, AuthScheme::Basic];
        Some(Authentication::asked(credentials, &schemes).in_the_clear(true))
    }

    /// Says whether Basic is answered over plain HTTP too, where the server asks for it.
    #[must_use]
    pub fn in_the_clear(self, allow: bool) -> Authentication {
        match &self.0.kind {
            Kind::Asked { credentials, schemes, .. } => Authentication::of(Kind::Asked {
                credentials: credentials.clone(),
                schemes: schemes.clone(),
                open: allow,
            }),
            Kind::Basic(_) | Kind::Bearer(_) => self,
        }
    }

    fn asked(credentials: HttpCredentials, schemes: &[AuthScheme]) -> Authentication {
        let credentials = Box::new(credentials);
        Authentication::of(Kind::Asked { credentials, schemes: schemes.to_vec(), open: false })
    }

    fn of(kind: Kind) -> Authentication {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Authentication(Arc::new(User { id, kind, servers: Mutex::default() }))
    }

    /// What tells this user from others.
    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    /// Sets what can be said before the server asks, and says whether that is likely to be all: it is
    /// not where nothing is known of the server, or where it knows its users by their connections.
    pub(super) fn apply(
        &self,
        origin: &Origin,
        request: &mut Request,
        hash: &dyn Fn(&mut HttpCredentials),
    ) -> Result<bool> {
        match &self.0.kind {
            Kind::Basic(credentials) => credentials.authenticate(request).map(|()| true),
            Kind::Bearer(credentials) => credentials.authenticate(request).map(|()| true),
            Kind::Asked { .. } => match self.servers().iter_mut().find(|(known, _)| known == origin) {
                Some((_, credentials)) => {
                    hash(credentials);
                    match credentials.update_auth_info(request) {
                        Ok(scheme) => Ok(scheme.is_some_and(|scheme| scheme != AuthScheme::Ntlm)),
                        // Nothing can be said of this content; the server will ask, and be told as little.
                        Err(error) if error.kind() == ErrorKind::IllegalState => Ok(false),
                        Err(error) => Err(error),
                    }
                }
                None => Ok(false),
            },
        }
    }

    /// Answers the challenge in the response to a request that was sent as it is here: sets its
    /// `Authorization`. `None`: there is nothing more to say, and the response is the user's.
    pub(super) fn answer(
        &self,
        origin: &Origin,
        secure: bool,
        request: &mut Request,
        response: &Response,
        hash: &dyn Fn(&mut HttpCredentials),
    ) -> Result<Option<AuthScheme>> {
        let Kind::Asked { credentials, schemes, open } = &self.0.kind else { return Ok(None) };
        let mut servers = self.servers();
        let at = servers.iter().position(|(known, _)| known == origin);
        let mut server = match at {
            Some(at) => servers.remove(at),
            None => (origin.clone(), HttpCredentials::clone(credentials)),
        };
        let may = |scheme: &AuthScheme| *scheme != AuthScheme::Basic || secure || *open;
        let allowed: Vec<_> = schemes.iter().copied().filter(may).collect();
        server.1.set_schemes(&allowed);
        server.1.set_time(SystemTime::now());
        let answer = server.1.authenticate(request, response);
        let answer = match answer {
            // Digest that wants the content's hash says with which algorithm only now.
            Err(error) if error.kind() == ErrorKind::IllegalState => {
                hash(&mut server.1);
                server.1.authenticate(request, response)
            }
            other => other,
        };
        // What was refused is not kept, so that it is not said again up front.
        if let Ok(Some(_)) = &answer {
            if servers.len() >= MOST_SERVERS {
                servers.remove(0);
            }
            servers.push(server);
        }
        match answer {
            Err(error) if is_unanswerable(&error) => {
                log::debug!("the challenge of {origin} is not answered: {error}");
                Ok(None)
            }
            other => other,
        }
    }

    /// Looks whether the server proves that it knows the password too (`Authentication-Info`).
    #[cfg(feature = "digest")]
    pub(super) fn check(&self, origin: &Origin, request: &Request, response: &Response) -> Result<()> {
        if !response.headers().has("Authentication-Info") {
            return Ok(());
        }
        match self.servers().iter_mut().find(|(known, _)| known == origin) {
            Some((_, credentials)) => credentials.check_auth_info(request, response, None).map(drop),
            None => Ok(()),
        }
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        self.0.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Servers = Vec<(Origin, HttpCredentials)>;

/// Whether it is the challenge that is to blame, or who made it refuses us, or it wants content
/// protected whose hash nobody knows yet: its response came whole, and is whose request it was.
fn is_unanswerable(error: &Error) -> bool {
    use ErrorKind::{IllegalState, Malformed, NotAuthenticated, Unsupported};
    matches!(error.kind(), NotAuthenticated | Malformed | Unsupported | IllegalState)
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0.kind {
            Kind::Basic(_) => "basic",
            Kind::Bearer(_) => "bearer",
            Kind::Asked { .. } => "asked",
        };
        f.debug_tuple("Authentication").field(&kind).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse::<Uri>().unwrap().origin()
    }

    fn asking(challenge: &str) -> Response {
        let mut response = Response::new();
        response.headers_mut().append("WWW-Authenticate", challenge).unwrap();
        response
    }

    fn answer(user: &Authentication, at: &str, challenge: &str, sent: &mut Request) -> Option<AuthScheme> {
        let secure = at.starts_with("https");
        user.answer(&origin(at), secure, sent, &asking(challenge), &|_| {}).unwrap()
    }

    #[test]
    fn basic_and_bearer_are_said_up_front_and_once() {
        for (user, value) in [
            (Authentication::basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            (Authentication::bearer("token"), "Bearer token"),
        ] {
            let mut request = Request::get("/");
            user.apply(&origin("http://h/"), &mut request, &|_| {}).unwrap();
            assert_eq!(request.headers().get("Authorization"), Some(value));
            assert_eq!(answer(&user, "http://h/", "Basic realm=a", &mut request), None);
        }
    }

    #[test]
    fn basic_is_answered_under_tls_or_where_it_is_allowed() {
        let user = Authentication::new("u", "p");
        assert_eq!(answer(&user, "http://h/", "Basic realm=a", &mut Request::get("/")), None);
        assert_eq!(
            answer(&user, "https://h/", "Basic realm=a", &mut Request::get("/")),
            Some(AuthScheme::Basic)
        );
        let open = user.in_the_clear(true);
        assert_eq!(
            answer(&open, "http://h/", "Basic realm=a", &mut Request::get("/")),
            Some(AuthScheme::Basic)
        );
    }

    #[test]
    fn what_one_server_was_told_no_other_one_is() {
        let user = Authentication::new("u", "p").in_the_clear(true);
        let mut request = Request::get("/");
        assert!(answer(&user, "http://h/", "Basic realm=a", &mut request).is_some());
        let mut next = Request::get("/");
        user.apply(&origin("http://h/"), &mut next, &|_| {}).unwrap();
        assert!(next.headers().has("Authorization"));
        for other in ["http://h:81/", "https://h/", "http://g/"] {
            let mut next = Request::get("/");
            user.apply(&origin(other), &mut next, &|_| {}).unwrap();
            assert!(!next.headers().has("Authorization"), "{other}");
        }
    }

    #[test]
    fn a_refused_answer_is_not_given_again() {
        let user = Authentication::new("u", "p").in_the_clear(true);
        let mut request = Request::get("/");
        assert!(answer(&user, "http://h/", "Basic realm=a", &mut request).is_some());
        assert!(answer(&user, "http://h/", "Basic realm=a", &mut request).is_none());
        let mut next = Request::get("/");
        user.apply(&origin("http://h/"), &mut next, &|_| {}).unwrap();
        assert!(!next.headers().has("Authorization"));
    }

    #[test]
    fn servers_are_kept_up_to_a_limit() {
        let user = Authentication::new("u", "p").in_the_clear(true);
        for n in 0..100 {
            assert!(
                answer(&user, &format!("http://h{n}.x/"), "Basic realm=a", &mut Request::get("/")).is_some()
            );
        }
        assert_eq!(user.servers().len(), MOST_SERVERS);
    }

    #[test]
    fn a_uri_may_name_the_user() {
        assert!(Authentication::from_uri(&"http://h/".parse().unwrap()).is_none());
        let user = Authentication::from_uri(&"http://al:se%3Acret@h/".parse().unwrap()).unwrap();
        let mut request = Request::get("/");
        assert!(answer(&user, "http://h/", "Basic realm=a", &mut request).is_some());
        assert_eq!(request.headers().get("Authorization"), Some("Basic YWw6c2U6Y3JldA=="));
        assert!(!format!("{user:?}").contains("cret"));
    }
}
