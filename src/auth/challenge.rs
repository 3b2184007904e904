//! Challenges of servers and proxies, and the credentials that answer them: a scheme with a
//! token68 or with parameters (RFC 9110, section 11).
//!
//! One parser for both. It knows no scheme: what a challenge asks for is the business of the
//! files beside this one.

use std::fmt;

use super::Side;
use super::params::{AuthenticationParams, Cursor};
use super::secret::Secret;
use crate::message::{HeaderMap, Request, Response, StatusCode};
use crate::{Error, ErrorKind, Result};

/// Most challenges of one message. Servers with every scheme that browsers know send four.
pub(crate) const MAX_CHALLENGES: usize = 32;

/// One challenge: what a server or a proxy wants to see before it answers.
///
/// ```
/// use sessile::auth::Challenge;
///
/// let all = Challenge::parse(r#"Negotiate, Digest realm="a, b", nonce="x", Basic realm="c""#)?;
/// assert_eq!(all.len(), 3);
/// assert!(all[1].is("digest"));
/// assert_eq!(all[1].realm(), Some("a, b"));
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone)]
pub struct Challenge {
    scheme: String,
    token: Option<Secret>,
    params: AuthenticationParams,
}

impl Challenge {
    /// Reads the value of a `WWW-Authenticate` or `Proxy-Authenticate` field, which may hold
    /// several challenges.
    ///
    /// Fails with [`Malformed`](ErrorKind::Malformed) where it breaks the grammar, and with
    /// [`TooLarge`](ErrorKind::TooLarge) past 32 challenges or 64 parameters of one.
    pub fn parse(value: &str) -> Result<Vec<Challenge>> {
        parse(value.as_bytes())
    }

    /// The challenges of the origin server, of all `WWW-Authenticate` fields in their order.
    ///
    /// A field that breaks the grammar is passed over if another one is good.
    pub fn of(response: &Response) -> Result<Vec<Challenge>> {
        challenges(response.headers(), Side::Origin.challenge_field())
    }

    /// The challenges of a proxy, of all `Proxy-Authenticate` fields: see
    /// [`of`](Challenge::of).
    pub fn of_proxy(response: &Response) -> Result<Vec<Challenge>> {
        challenges(response.headers(), Side::Proxy.challenge_field())
    }

    /// The name of the scheme, as received.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether this is the scheme; case does not count.
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The token68 that some schemes have instead of parameters (NTLM, Negotiate).
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(Secret::as_str)
    }

    /// The parameters.
    pub fn params(&self) -> &AuthenticationParams {
        &self.params
    }

    /// The realm, where it is given and UTF-8.
    pub fn realm(&self) -> Option<&str> {
        self.params.realm()
    }

    pub(crate) fn into_params(self) -> AuthenticationParams {
        self.params
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Challenge")
            .field("scheme", &self.scheme)
            .field("token", &self.token)
            .field("params", &self.params)
            .finish()
    }
}

/// The challenges of all fields of this name. A malformed field counts only where no other
/// is good: one bad proxy on the way must not lock the user out.
pub(crate) fn challenges(headers: &HeaderMap, field: &str) -> Result<Vec<Challenge>> {
    let mut all = Vec::new();
    let mut first_error = None;
    for value in headers.get_all(field) {
        match parse(value) {
            Ok(found) => all.extend(found),
            Err(error) => first_error = first_error.or(Some(error)),
        }
        if all.len() > MAX_CHALLENGES {
            return Err(Error::too_large("too many authentication challenges"));
        }
    }
    match first_error {
        Some(error) if all.is_empty() => Err(error),
        _ => Ok(all),
    }
}

/// The credentials of a request, which must be of this scheme.
///
/// None, several, or another scheme is [`NotAuthenticated`](ErrorKind::NotAuthenticated).
pub(crate) fn credentials(request: &Request, side: Side, scheme: &str) -> Result<Challenge> {
    let refused =
        |why: &'static str| Err(Error::new(ErrorKind::NotAuthenticated, why).with_status(side.status()));
    let mut fields = request.headers().get_all(side.credentials_field());
    let Some(value) = fields.next() else {
        return refused("the request has no credentials");
    };
    // Which of two a server looks at is anybody's guess.
    if fields.next().is_some() {
        return refused("the request has credentials twice");
    }
    if !has_scheme(value, scheme) {
        return refused("the request's credentials are of another scheme");
    }
    let mut found = parse(value)?;
    match (found.pop(), found.is_empty()) {
        (Some(credentials), true) => Ok(credentials),
        _ => Err(Error::malformed("credentials of more than one scheme in a field")
            .with_status(StatusCode::BAD_REQUEST)),
    }
}

/// Whether a field value begins with this scheme.
pub(crate) fn has_scheme(value: &[u8], scheme: &str) -> bool {
    let mut cursor = Cursor::new(value);
    cursor.skip_separators();
    let found = cursor.token().is_some_and(|token| token.eq_ignore_ascii_case(scheme));
    found && matches!(cursor.peek(), None | Some(b' ' | b'\t' | b','))
}

/// A list of challenges: scheme, and behind at least one blank a token68 or parameters. What
/// follows a comma is a parameter where a `=` follows its first token, else the next challenge.
pub(crate) fn parse(value: &[u8]) -> Result<Vec<Challenge>> {
    let mut cursor = Cursor::new(value);
    let mut all = Vec::new();
    cursor.skip_separators();
    while !cursor.at_end() {
        if all.len() == MAX_CHALLENGES {
            return Err(Error::too_large("too many authentication challenges"));
        }
        all.push(challenge(&mut cursor)?);
    }
    Ok(all)
}

/// One challenge, and the commas behind it.
fn challenge(cursor: &mut Cursor<'_>) -> Result<Challenge> {
    let scheme = cursor.token().ok_or_else(|| Error::malformed("a challenge without a scheme"))?;
    let mut challenge =
        Challenge { scheme: scheme.to_owned(), token: None, params: AuthenticationParams::new() };
    match cursor.peek() {
        None | Some(b' ' | b'\t' | b',') => cursor.skip_blanks(),
        Some(_) => return Err(Error::malformed("a challenge's scheme is not a token")),
    }
    challenge.token = cursor.token68().map(Secret::new);
    if challenge.token.is_some() {
        cursor.separator()?;
        return Ok(challenge);
    }
    if !at_param(cursor) {
        cursor.separator()?;
    }
    while at_param(cursor) {
        challenge.params.read(cursor)?;
        cursor.separator()?;
    }
    Ok(challenge)
}

/// Whether a parameter comes next, rather than a scheme.
fn at_param(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.token().is_some() && {
        ahead.skip_blanks();
        ahead.take(b'=')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was read, written plainly.
    fn shape(value: &str) -> Result<Vec<String>> {
        Ok(Challenge::parse(value)?
            .iter()
            .map(|c| match c.token() {
                Some(token) => format!("{}({token})", c.scheme()),
                None => format!("{}[{}]", c.scheme(), c.params()),
            })
            .collect())
    }

    fn response(fields: &[&str]) -> Response {
        let mut response = Response::new();
        for value in fields {
            response.headers_mut().append("WWW-Authenticate", value).unwrap();
        }
        response
    }

    #[test]
    fn challenges_are_read_in_every_form_of_the_grammar() {
        for (value, expected) in [
            ("", vec![]),
            (" , ,", vec![]),
            ("Negotiate", vec!["Negotiate[]"]),
            ("Negotiate, NTLM", vec!["Negotiate[]", "NTLM[]"]),
            ("NTLM TlRM/+-._~==", vec!["NTLM(TlRM/+-._~==)"]),
            ("NTLM abc=, Basic realm=x", vec!["NTLM(abc=)", "Basic[realm=x]"]),
            ("Basic realm = \"a, Digest b=c\"", vec!["Basic[realm=\"a, Digest b=c\"]"]),
            ("Basic ,, realm=x ,, charset=UTF-8 , ", vec!["Basic[realm=x, charset=UTF-8]"]),
            // RFC 9110, 11.6.1.
            (
                "Basic realm=\"simple\", Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\"",
                vec![
                    "Basic[realm=\"simple\"]",
                    "Newauth[realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\"]",
                ],
            ),
            ("A, B b=c,C  d==,\tE", vec!["A[]", "B[b=c]", "C(d==)", "E[]"]),
            ("A b", vec!["A(b)"]),
            ("A b=", vec!["A(b=)"]),
        ] {
            assert_eq!(shape(value).unwrap(), expected, "{value:?}");
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for bad in [
            "=",
            "\"a\"",
            "A b c",
            "A b, c d e",
            "A b=c d",
            "A b=\"c",
            "A\"b\"",
            "A;b",
            "A b=c, d=",
            "A b=c, B=",
            "A b=c; d=e",
            "A b=c, b=d",
            "A/b",
            "A\u{b}b=c",
            "A b=c,\u{e9}",
            "A b==c",
            "A ==",
        ] {
            assert_eq!(shape(bad).unwrap_err().kind(), ErrorKind::Malformed, "{bad:?}");
        }
    }

    #[test]
    fn there_are_at_most_so_many_challenges() {
        let many = |n: usize| "Basic realm=x,".repeat(n);
        assert_eq!(shape(&many(MAX_CHALLENGES)).unwrap().len(), MAX_CHALLENGES);
        assert_eq!(shape(&many(MAX_CHALLENGES + 1)).unwrap_err().kind(), ErrorKind::TooLarge);
        let fields = vec!["Basic realm=x"; MAX_CHALLENGES + 1];
        assert_eq!(Challenge::of(&response(&fields)).unwrap_err().kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn the_challenges_of_all_fields_are_joined_in_their_order() {
        let response = response(&["Basic realm=a, Digest realm=b", "NTLM"]);
        let schemes: Vec<_> =
            Challenge::of(&response).unwrap().iter().map(|c| c.scheme().to_owned()).collect();
        assert_eq!(schemes, ["Basic", "Digest", "NTLM"]);
        assert!(Challenge::of_proxy(&response).unwrap().is_empty());
    }

    #[test]
    fn a_malformed_field_hides_no_good_one() {
        assert_eq!(Challenge::of(&response(&["A b=\"", "Basic realm=x"])).unwrap().len(), 1);
        assert_eq!(Challenge::of(&response(&["A b=\""])).unwrap_err().kind(), ErrorKind::Malformed);
    }

    #[test]
    fn credentials_are_there_once_and_of_the_scheme_asked_for() {
        let mut request = Request::default();
        let kind = |request: &Request| credentials(request, Side::Origin, "Basic").unwrap_err().kind();
        assert_eq!(kind(&request), ErrorKind::NotAuthenticated);
        request.headers_mut().set("Authorization", "Basics abc").unwrap();
        assert_eq!(kind(&request), ErrorKind::NotAuthenticated);
        request.headers_mut().set("Authorization", "Basic abc, Digest def").unwrap();
        assert_eq!(kind(&request), ErrorKind::Malformed);
        request.headers_mut().set("Authorization", "bAsIc abc").unwrap();
        assert_eq!(credentials(&request, Side::Origin, "Basic").unwrap().token(), Some("abc"));
        assert!(credentials(&request, Side::Proxy, "Basic").is_err());
        request.headers_mut().append("Authorization", "Basic abc").unwrap();
        assert_eq!(kind(&request), ErrorKind::NotAuthenticated);
    }

    #[test]
    fn debug_shows_no_token() {
        let shown = format!("{:?}", Challenge::parse("NTLM abcdef").unwrap());
        assert!(shown.contains("NTLM") && !shown.contains("abcdef"), "{shown}");
    }

    #[test]
    fn nothing_that_is_cut_or_changed_panics() {
        let valid =
            b"Digest realm=\"a, \\\"b\\\"\", nonce=x,qop=\"auth,auth-int\" , Basic realm=y, NTLM abc==, Z";
        super::super::tests::mutations(valid, |value| {
            for challenge in parse(value).unwrap_or_default() {
                // What was read can be written and read again.
                let written = challenge.params.to_field(challenge.scheme());
                let again = parse(&written).unwrap();
                assert_eq!(again[0].params.to_field(challenge.scheme()), written);
            }
        });
    }
}
