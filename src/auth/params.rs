//! The parameters of a challenge or of credentials: `name=value, name="value"`
//! (RFC 9110, section 11.2), and the cursor that reads this grammar.
//!
//! Values are kept as the bytes they are: a realm in Latin-1 goes back as it came. Nothing
//! here knows what a parameter means, except which are written in quotes.

use std::fmt;

use zeroize::Zeroizing;

use super::Side;
use super::challenge::{self, challenges};
use crate::message::{Request, Response, field};
use crate::{Error, ErrorKind, Result};

/// Most parameters of one challenge. Digest, the richest scheme, knows eleven.
pub(crate) const MAX_PARAMS: usize = 64;

/// The parameters of one challenge, or of the credentials that answer it.
///
/// An ordered map; names are compared without regard to case. `Display` writes them as they
/// stand in a field, quoted where the schemes demand it. `Debug` shows the names only, but for
/// a few values that are no secret.
///
/// ```
/// use sessile::auth::AuthenticationParams;
///
/// let mut params = AuthenticationParams::from_auth_info(r#"realm="a \"b\"", qop=auth"#)?;
/// assert_eq!(params.realm(), Some(r#"a "b""#));
/// params.set("nonce", "xyz")?;
/// assert_eq!(params.to_string(), r#"realm="a \"b\"", qop=auth, nonce="xyz""#);
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, Default)]
#[doc(alias = "HTTPAuthenticationParams")]
#[doc(alias = "toString")]
pub struct AuthenticationParams {
    params: Vec<Param>,
}

#[derive(Clone)]
struct Param {
    name: String,
    value: Zeroizing<Vec<u8>>,
    quoted: bool,
}

impl AuthenticationParams {
    /// No parameters.
    pub fn new() -> AuthenticationParams {
        AuthenticationParams::default()
    }

    /// Reads parameters, without a scheme before them.
    ///
    /// Fails with [`Malformed`](ErrorKind::Malformed) on anything else, also on a name that
    /// comes twice.
    #[doc(alias = "fromAuthInfo")]
    pub fn from_auth_info(info: &str) -> Result<AuthenticationParams> {
        AuthenticationParams::parse(info.as_bytes())
    }

    /// The parameters of the Digest credentials in the request's `Authorization`.
    ///
    /// Fails with [`NotAuthenticated`](ErrorKind::NotAuthenticated) where there are none.
    #[doc(alias = "fromRequest")]
    pub fn from_request(request: &Request) -> Result<AuthenticationParams> {
        Ok(challenge::credentials(request, Side::Origin, "Digest")?.into_params())
    }

    /// The parameters of the first challenge in the fields of this name (`WWW-Authenticate`
    /// or `Proxy-Authenticate`) that is Basic, Digest or NTLM.
    ///
    /// Fails with [`NotAuthenticated`](ErrorKind::NotAuthenticated) where there is none. To
    /// choose among several, see [`Challenge`](super::Challenge).
    #[doc(alias = "fromResponse")]
    pub fn from_response(response: &Response, field: &str) -> Result<AuthenticationParams> {
        challenges(response.headers(), field)?
            .into_iter()
            .find(|challenge| ["Basic", "Digest", "NTLM"].iter().any(|scheme| challenge.is(scheme)))
            .map(|challenge| challenge.into_params())
            .ok_or_else(|| Error::new(ErrorKind::NotAuthenticated, "no challenge of a known scheme"))
    }

    /// The value of a parameter, where it is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get_bytes(name)?).ok()
    }

    /// The value of a parameter.
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        self.find(name).map(|at| &self.params[at].value[..])
    }

    /// Whether there is such a parameter.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Sets a parameter. Whether it is written in quotes follows from its name, or from a
    /// value that is not a token.
    ///
    /// Fails with [`InvalidArgument`](ErrorKind::InvalidArgument) when the name is not a
    /// token or the value holds a control character.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let quoted =
            QUOTED.iter().any(|n| n.eq_ignore_ascii_case(name)) || !field::is_token(value.as_bytes());
        self.put(name, value.as_bytes(), quoted)
    }

    /// Removes a parameter and says whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.find(name).map(|at| self.params.remove(at)).is_some()
    }

    /// How many parameters there are.
    pub fn len(&self) -> usize {
        self.params.len()
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Names and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.params.iter().map(|param| (param.name.as_str(), &param.value[..]))
    }

    /// The realm, where it is given and UTF-8.
    #[doc(alias = "getRealm")]
    pub fn realm(&self) -> Option<&str> {
        self.get("realm")
    }

    /// Sets the realm: see [`set`](AuthenticationParams::set).
    #[doc(alias = "setRealm")]
    pub fn set_realm(&mut self, realm: &str) -> Result<()> {
        self.set("realm", realm)
    }

    /// Sets a parameter, quoted or not.
    pub(crate) fn put(&mut self, name: &str, value: &[u8], quoted: bool) -> Result<()> {
        if !field::is_token(name.as_bytes()) {
            return Err(Error::invalid_argument("a parameter's name must be a token"));
        }
        if !field::is_field_value(value) {
            return Err(Error::invalid_argument("a parameter's value must not hold control characters"));
        }
        let param = Param { name: name.to_owned(), value: Zeroizing::new(value.to_vec()), quoted };
        match self.find(name) {
            Some(at) => self.params[at] = param,
            None => self.params.push(param),
        }
        Ok(())
    }

    /// Appends the parameters as they stand in a field.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        for (at, param) in self.params.iter().enumerate() {
            out.extend_from_slice(if at == 0 { b"" } else { b", " });
            out.extend_from_slice(param.name.as_bytes());
            out.push(b'=');
            if param.quoted {
                write_quoted(out, &param.value);
            } else {
                out.extend_from_slice(&param.value);
            }
        }
    }

    /// Scheme and parameters as they stand in a field. Allocated once, and wiped.
    #[cfg(any(feature = "digest", test))]
    pub(crate) fn to_field(&self, scheme: &str) -> Zeroizing<Vec<u8>> {
        // Every byte of a value may need a backslash.
        let longest: usize = self.params.iter().map(|p| p.name.len() + 2 * p.value.len() + 5).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(scheme.len() + 1 + longest));
        out.extend_from_slice(scheme.as_bytes());
        out.push(b' ');
        self.write_to(&mut out);
        out
    }

    pub(crate) fn parse(info: &[u8]) -> Result<AuthenticationParams> {
        let mut cursor = Cursor::new(info);
        let mut params = AuthenticationParams::new();
        cursor.skip_separators();
        while !cursor.at_end() {
            params.read(&mut cursor)?;
            cursor.separator()?;
        }
        Ok(params)
    }

    /// Reads one parameter.
    pub(crate) fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let name = cursor.token().ok_or_else(|| Error::malformed("a parameter without a name"))?;
        cursor.skip_blanks();
        if !cursor.take(b'=') {
            return Err(Error::malformed("a parameter without a value"));
        }
        cursor.skip_blanks();
        let (value, quoted) = match cursor.quoted_string()? {
            Some(value) => (value, true),
            None => match cursor.token() {
                Some(value) => (Zeroizing::new(value.as_bytes().to_vec()), false),
                None => {
                    return Err(Error::malformed("a parameter's value is neither token nor quoted string"));
                }
            },
        };
        // RFC 9110, 11.2: a name must not come twice; two readers could differ.
        if self.has(name) {
            return Err(Error::malformed("a parameter is given twice"));
        }
        if self.params.len() == MAX_PARAMS {
            return Err(Error::too_large("too many authentication parameters"));
        }
        self.params.push(Param { name: name.to_owned(), value, quoted });
        Ok(())
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.params.iter().position(|param| param.name.eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for AuthenticationParams {
    /// The parameters as they stand in a field, with their values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Zeroizing::new(Vec::new());
        self.write_to(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

impl fmt::Debug for AuthenticationParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for param in &self.params {
            if PLAIN.iter().any(|name| name.eq_ignore_ascii_case(&param.name)) {
                map.entry(&param.name, &String::from_utf8_lossy(&param.value));
            } else {
                map.entry(&param.name, &format_args!("…"));
            }
        }
        map.finish()
    }
}

/// Reads the pieces of the grammar one after the other.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: text }
    }

    pub(crate) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Takes the byte if it is the next one.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.rest = &self.rest[usize::from(found)..];
        found
    }

    pub(crate) fn skip_blanks(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t'));
    }

    /// Skips commas and blanks: empty elements of a list (RFC 9110, 5.6.1.2).
    pub(crate) fn skip_separators(&mut self) {
        self.take_while(|byte| matches!(byte, b' ' | b'\t' | b','));
    }

    /// What must stand between the elements of a list, and may stand behind the last one.
    pub(crate) fn separator(&mut self) -> Result<()> {
        self.skip_blanks();
        if !self.at_end() && self.peek() != Some(b',') {
            return Err(Error::malformed("no comma between authentication parameters"));
        }
        self.skip_separators();
        Ok(())
    }

    pub(crate) fn token(&mut self) -> Option<&'a str> {
        self.text(|byte| field::is_token(&[byte]))
    }

    /// A token68 (RFC 9110, 11.2) up to the end of its list element.
    pub(crate) fn token68(&mut self) -> Option<&'a str> {
        let start = self.rest;
        let body = self.take_while(
            |b| matches!(b, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'+' | b'/'),
        );
        let padding = self.take_while(|byte| byte == b'=');
        let token = &start[..body.len() + padding.len()];
        let mut behind = self.clone();
        behind.skip_blanks();
        if body.is_empty() || !matches!(behind.peek(), None | Some(b',')) {
            self.rest = start;
            return None;
        }
        std::str::from_utf8(token).ok()
    }

    /// The value of a quoted-string, where one begins here (RFC 9110, 5.6.4).
    pub(crate) fn quoted_string(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>> {
        if !self.take(b'"') {
            return Ok(None);
        }
        let mut end = 0;
        let mut escaped = false;
        while escaped || self.rest.get(end) != Some(&b'"') {
            match self.rest.get(end) {
                Some(&byte) if field::is_field_value(&[byte]) => escaped = byte == b'\\' && !escaped,
                Some(_) => return Err(Error::malformed("a control character in a quoted string")),
                None => return Err(Error::malformed("a quoted string without its end")),
            }
            end += 1;
        }
        // Allocated once, so that no copy stays behind when it is wiped.
        let mut value = Zeroizing::new(Vec::with_capacity(end));
        let mut inside = self.rest[..end].iter();
        while let Some(&byte) = inside.next() {
            value.push(if byte == b'\\' { *inside.next().unwrap_or(&byte) } else { byte });
        }
        self.rest = &self.rest[end + 1..];
        Ok(Some(value))
    }

    fn text(&mut self, part: impl Fn(u8) -> bool) -> Option<&'a str> {
        let text = self.take_while(part);
        if text.is_empty() { None } else { std::str::from_utf8(text).ok() }
    }

    fn take_while(&mut self, part: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|&byte| !part(byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

/// Appends a quoted-string. The value holds no control characters.
pub(crate) fn write_quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for &byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// What is written in quotes also where it is a token (RFC 7616, 3.3 and 3.4).
const QUOTED: [&str; 8] = ["cnonce", "domain", "nonce", "opaque", "realm", "response", "uri", "username"];

/// What `Debug` shows.
const PLAIN: [&str; 7] = ["realm", "algorithm", "qop", "stale", "charset", "userhash", "domain"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AuthenticationParams> {
        AuthenticationParams::from_auth_info(text)
    }

    #[test]
    fn parameters_are_read_in_every_form_of_the_grammar() {
        let params = parse(" , a=b ,\tC = \"d, e=\\\"f\\\"\\\\\" ,, x=\"\",").unwrap();
        let all: Vec<_> = params.iter().collect();
        assert_eq!(all, [("a", &b"b"[..]), ("C", b"d, e=\"f\"\\"), ("x", b"")]);
        assert_eq!(params.get("c"), Some("d, e=\"f\"\\"));
        assert!(params.has("X") && !params.has("y"));
        assert_eq!((params.len(), params.is_empty()), (3, false));
        assert!(parse("").unwrap().is_empty());
        assert!(parse(" ,, ").unwrap().is_empty());
    }

    #[test]
    fn anything_else_is_malformed() {
        for bad in [
            "a",
            "a=",
            "=b",
            "a=,",
            "a=\"",
            "a=\"b",
            "a=\"b\\",
            "a=\"b\\\"",
            "a=b c=d",
            "a=\"b\"c",
            "a=\"b\"c=d",
            "a=b=c",
            "a=b; c=d",
            "\"a\"=b",
            "a=\"\u{1}\"",
            "a=\"\\\u{7f}\"",
            "a=b\n",
            "a=b, A=c",
            "a=ä",
            "ä=b",
            "a=b,c",
        ] {
            assert_eq!(parse(bad).unwrap_err().kind(), ErrorKind::Malformed, "{bad:?}");
        }
    }

    #[test]
    fn there_are_at_most_so_many_parameters() {
        let many = |n: usize| (0..n).map(|i| format!("a{i}=b,")).collect::<String>();
        assert_eq!(parse(&many(MAX_PARAMS)).unwrap().len(), MAX_PARAMS);
        assert_eq!(parse(&many(MAX_PARAMS + 1)).unwrap_err().kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn what_was_read_is_written_in_the_same_form() {
        let text = "realm=\"a\\\"b\\\\c\", qop=auth, algorithm=\"MD5\"";
        assert_eq!(parse(text).unwrap().to_string(), text);
    }

    #[test]
    fn what_is_set_is_quoted_by_its_name_or_its_value() {
        let mut params = AuthenticationParams::new();
        params.set_realm("r").unwrap();
        params.set("qop", "auth").unwrap();
        params.set("title", "a b").unwrap();
        params.set("empty", "").unwrap();
        params.set("REALM", "s").unwrap();
        assert_eq!(params.to_string(), "REALM=\"s\", qop=auth, title=\"a b\", empty=\"\"");
        assert!(params.remove("Qop") && !params.remove("qop"));
        assert_eq!(&params.to_field("X")[..], b"X REALM=\"s\", title=\"a b\", empty=\"\"");
    }

    #[test]
    fn what_can_t_be_written_is_refused() {
        let mut params = AuthenticationParams::new();
        for (name, value) in [("", "a"), ("a b", "a"), ("a", "b\r\nc"), ("a", "\0"), ("a", "\x7f")] {
            assert_eq!(params.set(name, value).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
        assert!(params.is_empty());
    }

    #[test]
    fn bytes_that_are_not_utf_8_stay_as_they_are() {
        let params = AuthenticationParams::parse(b"realm=\"f\xfcr\"").unwrap();
        assert_eq!((params.realm(), params.get_bytes("realm")), (None, Some(&b"f\xfcr"[..])));
        assert_eq!(&params.to_field("X")[..], b"X realm=\"f\xfcr\"");
    }

    #[test]
    fn debug_shows_no_secrets() {
        let shown =
            format!("{:?}", parse("realm=r, response=abc, username=alice, cnonce=def, token=ghi").unwrap());
        assert!(shown.contains("\"r\"") && shown.contains("response"), "{shown}");
        for secret in ["abc", "alice", "def", "ghi"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
