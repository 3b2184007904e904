//! Media types (RFC 9110, section 8.3.1), and ranges of them (12.5.1).

use std::fmt;
use std::str::FromStr;

use super::field;
use crate::{Error, ErrorKind, Result};

/// A media type: `type/subtype; name=value`.
///
/// Types and names of parameters are compared without regard to case.
///
/// ```
/// use sessile::message::MediaType;
///
/// let mut media_type: MediaType = "text/HTML; charset=\"utf-8\"".parse()?;
/// assert!(media_type.matches_pair("text", "html"));
/// assert_eq!(media_type.parameter("Charset"), Some("utf-8"));
/// media_type.set_parameter("title", "two words")?;
/// assert_eq!(media_type.to_string(), "text/HTML; charset=utf-8; title=\"two words\"");
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct MediaType {
    type_: String,
    subtype: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// A media type without parameters. Fails if one of the two is not a token.
    pub fn new(type_: &str, subtype: &str) -> Result<MediaType> {
        let mut media_type = MediaType::default();
        media_type.set_type(type_)?.set_subtype(subtype)?;
        Ok(media_type)
    }

    /// Whatever can be understood of the text; this never fails, and parts may be empty.
    /// [`parse`](str::parse) takes only what the grammar allows.
    ///
    /// ```
    /// # use sessile::message::MediaType;
    /// let odd = MediaType::lenient("text ; =1; charset");
    /// assert_eq!((odd.type_(), odd.subtype()), ("text", ""));
    /// assert!(odd.has_parameter("charset"));
    /// ```
    pub fn lenient(text: &str) -> MediaType {
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let (type_, subtype) = essence.split_once('/').unwrap_or((essence, ""));
        MediaType {
            type_: type_.trim().to_owned(),
            subtype: subtype.trim().to_owned(),
            parameters: field::parameters(parameters).map(|(n, v)| (n.to_owned(), v.into_owned())).collect(),
        }
    }

    /// The part before the slash.
    #[doc(alias = "getType")]
    pub fn type_(&self) -> &str {
        &self.type_
    }

    /// Sets the part before the slash. Fails if it is not a token.
    #[doc(alias = "setType")]
    pub fn set_type(&mut self, type_: &str) -> Result<&mut Self> {
        self.type_ = token(type_)?;
        Ok(self)
    }

    /// The part behind the slash.
    #[doc(alias = "getSubType")]
    pub fn subtype(&self) -> &str {
        &self.subtype
    }

    /// Sets the part behind the slash. Fails if it is not a token.
    #[doc(alias = "setSubType")]
    pub fn set_subtype(&mut self, subtype: &str) -> Result<&mut Self> {
        self.subtype = token(subtype)?;
        Ok(self)
    }

    /// The value of a parameter, without quotes and escapes.
    #[doc(alias = "getParameter")]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter, or an error of the kind [`NotFound`](ErrorKind::NotFound).
    pub fn try_parameter(&self, name: &str) -> Result<&str> {
        self.parameter(name)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no parameter {name:?}")))
    }

    /// Sets a parameter. Fails if the name is not a token or the value holds controls.
    #[doc(alias = "setParameter")]
    pub fn set_parameter(&mut self, name: &str, value: &str) -> Result<&mut Self> {
        let name = token(name)?;
        if !field::is_field_value(value.as_bytes()) {
            return Err(Error::invalid_argument("a parameter's value holds no control characters"));
        }
        match self.parameters.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(&name)) {
            Some((_, old)) => *old = value.to_owned(),
            None => self.parameters.push((name, value.to_owned())),
        }
        Ok(self)
    }

    /// Whether there is a parameter of this name.
    #[doc(alias = "hasParameter")]
    pub fn has_parameter(&self, name: &str) -> bool {
        self.parameter(name).is_some()
    }

    /// Removes a parameter and says whether it was there.
    #[doc(alias = "removeParameter")]
    pub fn remove_parameter(&mut self, name: &str) -> bool {
        let before = self.parameters.len();
        self.parameters.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.parameters.len() < before
    }

    /// Names and values of the parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether both have the same type and subtype; parameters are not looked at.
    pub fn matches(&self, other: &MediaType) -> bool {
        self.matches_pair(&other.type_, &other.subtype)
    }

    /// Whether the type is this one.
    pub fn matches_type(&self, type_: &str) -> bool {
        self.type_.eq_ignore_ascii_case(type_)
    }

    /// Whether type and subtype are these.
    pub fn matches_pair(&self, type_: &str, subtype: &str) -> bool {
        self.matches_type(type_) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// As [`matches`](MediaType::matches), where a `*` on either side stands for anything.
    #[doc(alias = "matchesRange")]
    pub fn matches_range(&self, range: &MediaType) -> bool {
        self.matches_range_pair(&range.type_, &range.subtype)
    }

    /// As [`matches_type`](MediaType::matches_type), where a `*` on either side stands for
    /// anything.
    pub fn matches_range_type(&self, type_: &str) -> bool {
        in_range(&self.type_, type_)
    }

    /// As [`matches_pair`](MediaType::matches_pair), where a `*` on either side stands for
    /// anything.
    pub fn matches_range_pair(&self, type_: &str, subtype: &str) -> bool {
        in_range(&self.type_, type_) && in_range(&self.subtype, subtype)
    }
}

fn in_range(one: &str, other: &str) -> bool {
    one == "*" || other == "*" || one.eq_ignore_ascii_case(other)
}

fn token(text: &str) -> Result<String> {
    if field::is_token(text.as_bytes()) {
        return Ok(text.to_owned());
    }
    Err(Error::invalid_argument(format!("{text:?} is no part of a media type: it must be a token")))
}

impl FromStr for MediaType {
    type Err = Error;

    /// Takes what the grammar of RFC 9110 allows.
    fn from_str(text: &str) -> Result<MediaType> {
        let bad = || Error::malformed("that is not a media type");
        let mut pieces = field::split_unquoted(text.as_bytes(), b';');
        let essence = pieces.next().unwrap_or_default();
        let slash = essence.iter().position(|&b| b == b'/').ok_or_else(bad)?;
        if !field::is_token(&essence[..slash]) || !field::is_token(&essence[slash + 1..]) {
            return Err(bad());
        }
        for parameter in pieces.filter(|piece| !piece.is_empty()) {
            let equals = parameter.iter().position(|&b| b == b'=').ok_or_else(bad)?;
            let (name, value) = (&parameter[..equals], &parameter[equals + 1..]);
            if !field::is_token(name) || !(field::is_token(value) || field::is_quoted_string(value)) {
                return Err(bad());
            }
        }
        Ok(MediaType::lenient(text))
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.type_, self.subtype)?;
        for (name, value) in self.parameters() {
            write!(f, "; {name}={}", field::quote(value, false))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in
            ["text/plain", "a/b; c=d; e=\"f;g\"", "multipart/form-data; boundary=\"a=b/c\"", "*/*; q=0.5"]
        {
            let media_type: MediaType = text.parse().unwrap();
            assert_eq!(media_type.to_string(), text);
            assert_eq!(media_type.to_string().parse::<MediaType>().unwrap(), media_type);
        }
    }

    #[test]
    fn only_what_the_grammar_allows_is_parsed() {
        for bad in [
            "",
            "text",
            "text/",
            "/plain",
            "text /plain",
            "text/pl ain",
            "a/b; c",
            "a/b; c d=e",
            "a/b; c=\"d",
            "a/b/c",
        ] {
            assert!(bad.parse::<MediaType>().is_err(), "{bad:?}");
        }
        assert!("a/b;".parse::<MediaType>().is_ok() && " a/b ; ;c=d ".parse::<MediaType>().is_ok());
    }

    #[test]
    fn a_lenient_media_type_may_have_empty_parts() {
        assert_eq!(MediaType::lenient(""), MediaType::default());
        let media_type = MediaType::lenient("text/plain;charset=utf-8;x");
        assert_eq!(media_type.parameter("X"), Some(""));
        assert_eq!(media_type.parameters().count(), 2);
    }

    #[test]
    fn parameters_are_set_and_removed_in_any_case() {
        let mut media_type = MediaType::new("text", "plain").unwrap();
        media_type.set_parameter("charset", "a").unwrap().set_parameter("CHARSET", "say \"b\"").unwrap();
        assert_eq!(media_type.to_string(), "text/plain; charset=\"say \\\"b\\\"\"");
        assert!(media_type.remove_parameter("Charset") && !media_type.remove_parameter("charset"));
        assert_eq!(media_type.try_parameter("charset").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_could_split_a_field_is_refused() {
        let mut media_type = MediaType::new("text", "plain").unwrap();
        assert!(MediaType::new("te;xt", "plain").is_err() && MediaType::new("text", "").is_err());
        assert!(media_type.set_parameter("a", "b\r\nX: y").is_err());
        assert!(media_type.set_parameter("a b", "c").is_err());
        assert_eq!(media_type.to_string(), "text/plain");
    }

    #[test]
    fn matching_ignores_case_and_parameters() {
        let one: MediaType = "Text/Plain; a=b".parse().unwrap();
        let other: MediaType = "text/plain".parse().unwrap();
        assert!(one.matches(&other) && one.matches_type("TEXT"));
        assert!(!one.matches_pair("text", "*"));
    }

    #[test]
    fn a_star_on_either_side_matches_a_range() {
        let plain: MediaType = "text/plain".parse().unwrap();
        for range in ["*/*", "text/*", "TEXT/plain"] {
            let range: MediaType = range.parse().unwrap();
            assert!(plain.matches_range(&range) && range.matches_range(&plain));
        }
        assert!(!plain.matches_range(&"image/*".parse().unwrap()));
        assert!(plain.matches_range_type("*") && !plain.matches_range_pair("*", "html"));
    }
}
