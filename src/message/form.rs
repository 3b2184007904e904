//! Forms in `application/x-www-form-urlencoded` (the URL standard, section 5).
//!
//! Names and values in order, read within limits and written. What browsers send is read;
//! what no browser sends (a bad percent sequence, bytes that are not UTF-8) is an error
//! rather than a guess. Multipart is elsewhere.

use std::fmt;
use std::io::{self, Read, Write};

use super::{Method, Request, StatusCode, field};
use crate::{Error, ErrorKind, Result};

/// The fields of a form: names and values, in order. Case matters, as in browsers.
///
/// ```
/// use sessile::message::Form;
///
/// let mut form = Form::parse("user=jos%C3%A9&colour=red&colour=dark+blue")?;
/// assert_eq!(form.get("user"), Some("josé"));
/// assert!(form.get_all("colour").eq(["red", "dark blue"]));
///
/// form.set("colour", "green & white");
/// assert_eq!(form.encode(), "user=jos%C3%A9&colour=green+%26+white");
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[doc(alias = "HTMLForm")]
pub struct Form {
    pairs: Vec<(String, String)>,
    limits: FormLimits,
}

/// How much of a form is read. More is an error of the kind [`Form`](ErrorKind::Form), with
/// the status 413. Fields set by the program are not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormLimits {
    /// How many fields. Poco's 100; Go has no such limit, PHP has 1000.
    #[doc(alias = "setFieldLimit")]
    #[doc(alias = "getFieldLimit")]
    pub fields: usize,
    /// How many bytes of a name, decoded. Poco's 1024.
    pub name: usize,
    /// How many bytes of a value, decoded. Poco's 256 KiB.
    #[doc(alias = "setValueLengthLimit")]
    #[doc(alias = "getValueLengthLimit")]
    pub value: usize,
    /// How many bytes of the whole form, encoded. Tomcat's 2 MiB.
    pub total: usize,
}

impl Default for FormLimits {
    fn default() -> FormLimits {
        FormLimits { fields: 100, name: 1024, value: 256 * 1024, total: 2 * 1024 * 1024 }
    }
}

impl Form {
    /// The media type of such a form.
    #[doc(alias = "ENCODING_URL")]
    pub const MEDIA_TYPE: &'static str = "application/x-www-form-urlencoded";

    /// An empty form.
    pub fn new() -> Form {
        Form::default()
    }

    /// An empty form that will read within these limits.
    pub fn with_limits(limits: FormLimits) -> Form {
        Form { pairs: Vec::new(), limits }
    }

    /// Reads a query or the content of a form.
    pub fn parse(text: &str) -> Result<Form> {
        let mut form = Form::new();
        form.parse_more(text)?;
        Ok(form)
    }

    /// The fields in the query of a request's target; none if there is no query.
    #[doc(alias = "load")]
    pub fn from_query(request: &Request) -> Result<Form> {
        Form::parse(request.query().unwrap_or_default())
    }

    /// Reads a query or the content of a form and adds its fields.
    #[doc(alias = "read")]
    pub fn parse_more(&mut self, text: &str) -> Result<&mut Self> {
        if text.len() > self.limits.total {
            return Err(too_large("the form is larger than the limit"));
        }
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if self.pairs.len() >= self.limits.fields {
                return Err(too_large("the form has more fields than the limit"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if name.len() > self.limits.name {
                return Err(too_large("a field of the form has a name longer than the limit"));
            }
            if value.len() > self.limits.value {
                return Err(too_large("a field of the form has a value longer than the limit"));
            }
            self.pairs.push((name, value));
        }
        Ok(self)
    }

    /// Reads content to its end and adds its fields. At most [`FormLimits::total`] bytes
    /// are held.
    #[doc(alias = "read")]
    pub fn read_from(&mut self, content: impl Read) -> Result<&mut Self> {
        let mut text = Vec::new();
        content.take((self.limits.total as u64).saturating_add(1)).read_to_end(&mut text)?;
        let text = String::from_utf8(text).map_err(|_| unreadable())?;
        self.parse_more(&text)
    }

    /// The limits for reading.
    pub fn limits(&self) -> FormLimits {
        self.limits
    }

    /// The limits for reading, to change them.
    pub fn limits_mut(&mut self) -> &mut FormLimits {
        &mut self.limits
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// The first value of this name, or the default.
    pub fn get_or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.get(name).unwrap_or(default)
    }

    /// The first value of this name, or an error of the kind
    /// [`NotFound`](ErrorKind::NotFound).
    pub fn try_get(&self, name: &str) -> Result<&str> {
        self.get(name)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("the form has no field {name:?}")))
    }

    /// All values of this name, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Whether there is a field of this name.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds a field behind all others.
    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.pairs.push((name.into(), value.into()));
        self
    }

    /// Makes this the only field of the name, in the first one's place.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        let Some(first) = self.pairs.iter().position(|(n, _)| n == name) else {
            return self.add(name, value);
        };
        self.pairs[first].1 = value.into();
        let mut position = 0;
        self.pairs.retain(|(n, _)| {
            position += 1;
            position <= first + 1 || n != name
        });
        self
    }

    /// Removes all fields of this name and says how many there were.
    #[doc(alias = "erase")]
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.pairs.len();
        self.pairs.retain(|(n, _)| n != name);
        before - self.pairs.len()
    }

    /// Removes all fields.
    pub fn clear(&mut self) {
        self.pairs.clear();
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The form as a query or as content.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.iter() {
            if !text.is_empty() {
                text.push('&');
            }
            text.extend(form_urlencoded::byte_serialize(name.as_bytes()));
            text.push('=');
            text.extend(form_urlencoded::byte_serialize(value.as_bytes()));
        }
        text
    }

    /// How long the encoded form is.
    #[doc(alias = "calculateContentLength")]
    pub fn content_length(&self) -> u64 {
        self.encode().len() as u64
    }

    /// Readies a request for this form. POST, PUT and PATCH: sets `Content-Type` and
    /// `Content-Length`; the content is then written by [`write_to`](Form::write_to). Other
    /// methods: adds the form to the target's query.
    ///
    /// ```
    /// use sessile::message::{Form, Request};
    ///
    /// let form = Form::parse("q=two+words")?;
    /// let mut search = Request::get("/search?lang=en");
    /// form.prepare_submit(&mut search)?;
    /// assert_eq!(search.target(), "/search?lang=en&q=two+words");
    ///
    /// let mut order = Request::post("/order");
    /// form.prepare_submit(&mut order)?;
    /// assert_eq!(order.content_length()?, Some(11));
    /// # Ok::<(), sessile::Error>(())
    /// ```
    #[doc(alias = "prepareSubmit")]
    pub fn prepare_submit(&self, request: &mut Request) -> Result<()> {
        if [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) {
            request
                .set_content_type(Form::MEDIA_TYPE)
                .set_chunked(false)
                .set_content_length(self.content_length());
            return Ok(());
        }
        if self.is_empty() {
            return Ok(());
        }
        let separator = match request.query() {
            None => "?",
            Some("") => "",
            Some(_) => "&",
        };
        let target = format!("{}{separator}{}", request.target(), self.encode());
        request.set_target(&target)?;
        Ok(())
    }

    /// Writes the encoded form.
    #[doc(alias = "write")]
    pub fn write_to(&self, mut out: impl Write) -> io::Result<()> {
        out.write_all(self.encode().as_bytes())
    }
}

fn decode(text: &str) -> Result<String> {
    let decoded = if text.contains('+') {
        field::percent_decode(&text.replace('+', " ")).map(|decoded| decoded.into_owned())
    } else {
        field::percent_decode(text).map(|decoded| decoded.into_owned())
    };
    decoded.ok_or_else(unreadable)
}

fn unreadable() -> Error {
    Error::new(ErrorKind::Form, "the form is not percent-encoded UTF-8")
}

fn too_large(message: &'static str) -> Error {
    Error::new(ErrorKind::Form, message).with_status(StatusCode::CONTENT_TOO_LARGE)
}

impl fmt::Debug for Form {
    /// The names only: values may be passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form")?;
        f.debug_list().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

impl<N: Into<String>, V: Into<String>> Extend<(N, V)> for Form {
    fn extend<T: IntoIterator<Item = (N, V)>>(&mut self, pairs: T) {
        self.pairs.extend(pairs.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Form {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(pairs: T) -> Form {
        let mut form = Form::new();
        form.extend(pairs);
        form
    }
}

impl IntoIterator for Form {
    type Item = (String, String);
    type IntoIter = std::vec::IntoIter<(String, String)>;

    fn into_iter(self) -> Self::IntoIter {
        self.pairs.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        Form::parse(text).unwrap().into_iter().collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn pairs_are_read_in_order() {
        assert_eq!(pairs("b=1&a=2&b=3"), owned(&[("b", "1"), ("a", "2"), ("b", "3")]));
        assert_eq!(pairs("a&=v&&c=d=e&"), owned(&[("a", ""), ("", "v"), ("c", "d=e")]));
        assert_eq!(pairs("a+b=%2B+%26%3D&%C3%BC=ü"), owned(&[("a b", "+ &="), ("ü", "ü")]));
        assert_eq!(pairs(""), []);
    }

    #[test]
    fn what_is_not_encoded_well_is_an_error() {
        for bad in ["a=%", "a=%4", "a=100%25%", "%zz=1", "a=%+1", "a=%ff"] {
            let error = Form::parse(bad).unwrap_err();
            assert_eq!(
                (error.kind(), error.status_hint()),
                (ErrorKind::Form, Some(StatusCode::BAD_REQUEST)),
                "{bad}"
            );
        }
        assert_eq!(Form::new().read_from(&b"a=\xff"[..]).unwrap_err().kind(), ErrorKind::Form);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let form: Form =
            [("", ""), ("a b", "c&d=e+f%"), ("ü", "\r\n\0"), ("-_.*~", "!'()")].into_iter().collect();
        assert_eq!(Form::parse(&form.encode()).unwrap(), form);
        let mut out = Vec::new();
        form.write_to(&mut out).unwrap();
        assert_eq!(out.len() as u64, form.content_length());
        assert!(out.iter().all(u8::is_ascii_graphic));
        assert_eq!(Form::new().read_from(&out[..]).unwrap(), &form);
    }

    #[test]
    fn every_limit_holds_to_the_byte() {
        let limits = FormLimits { fields: 2, name: 3, value: 4, total: 20 };
        let read = |text: &str| Form::with_limits(limits).read_from(text.as_bytes()).map(|form| form.len());
        assert_eq!(read("abc=%31%32%33%34&b=1").unwrap(), 2);
        for bad in ["a=1&b=2&c=3", "abcd=1", "a=12345", "a=%31%32%33%34&bc=123"] {
            let error = read(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Form);
            assert_eq!(error.status_hint(), Some(StatusCode::CONTENT_TOO_LARGE), "{bad}");
        }
        assert!(Form::with_limits(limits).read_from(io::repeat(b'a')).is_err());
    }

    #[test]
    fn reading_adds_to_what_is_there() {
        let mut form = Form::parse("a=1").unwrap();
        form.parse_more("a=2").unwrap().read_from(&b"b=3"[..]).unwrap();
        assert_eq!(form.encode(), "a=1&a=2&b=3");
    }

    #[test]
    fn case_matters_in_names() {
        let mut form = Form::parse("a=1&A=2&a=3&b=4").unwrap();
        assert_eq!(form.get("A"), Some("2"));
        form.set("a", "5").set("c", "6");
        assert_eq!(form.encode(), "a=5&A=2&b=4&c=6");
        assert_eq!((form.remove("A"), form.remove("A")), (1, 0));
        assert!(form.has("b") && !form.has("B"));
        assert_eq!(form.try_get("B").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn an_empty_form_changes_no_target() {
        let mut request = Request::get("/a?");
        Form::new().prepare_submit(&mut request).unwrap();
        assert_eq!(request.target(), "/a?");
        Form::parse("b=c").unwrap().prepare_submit(&mut request).unwrap();
        assert_eq!(request.target(), "/a?b=c");
        assert_eq!(Form::from_query(&request).unwrap().get("b"), Some("c"));
        request.set_target("/a").unwrap();
        assert!(Form::from_query(&request).unwrap().is_empty());
    }

    #[test]
    fn a_submitted_form_has_a_length_and_is_not_chunked() {
        let mut request = Request::post("/");
        request.set_chunked(true);
        Form::parse("a=b").unwrap().prepare_submit(&mut request).unwrap();
        assert_eq!(request.content_type(), Some(Form::MEDIA_TYPE));
        assert_eq!(request.content_length().unwrap(), Some(3));
        assert!(!request.is_chunked());
    }

    #[test]
    fn debug_shows_no_values() {
        let shown = format!("{:?}", Form::parse("user=a&password=s3cr3t").unwrap());
        assert_eq!(shown, "Form[\"user\", \"password\"]");
    }
}
