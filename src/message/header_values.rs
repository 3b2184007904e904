//! What field values say: lists, parameters, weights (RFC 9110, section 5.6), for the fields
//! of a map and for texts.
//!
//! The grammar itself is in `field`; which field has which form is the caller's to know.

use std::borrow::Cow;

use super::{HeaderMap, field};

impl HeaderMap {
    /// The elements of all fields of this name, as if they were one list
    /// (RFC 9110, 5.6.1).
    pub fn tokens<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).flat_map(field::elements)
    }

    /// Whether the lists of this name hold this token, in any case.
    #[doc(alias = "hasToken")]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The weight, in thousandths, that the lists of this name give to a token: its own
    /// `q`, else that of `*`, else `None`. Without a `q` it is 1000; what is 0 is not wanted
    /// (RFC 9110, 12.4.2).
    ///
    /// ```
    /// # use sessile::message::HeaderMap;
    /// let mut headers = HeaderMap::new();
    /// headers.append("Accept-Encoding", "gzip;q=0.5, br, *;q=0")?;
    /// assert_eq!(headers.weight("Accept-Encoding", "gzip"), Some(500));
    /// assert_eq!(headers.weight("Accept-Encoding", "br"), Some(1000));
    /// assert_eq!(headers.weight("Accept-Encoding", "zstd"), Some(0));
    /// # Ok::<(), sessile::Error>(())
    /// ```
    pub fn weight(&self, name: &str, token: &str) -> Option<u16> {
        let mut of_any = None;
        for element in self.tokens(name).filter_map(|element| std::str::from_utf8(element).ok()) {
            let (what, parameters) = element.split_once(';').unwrap_or((element, ""));
            let what = what.trim_end_matches([' ', '\t']);
            let own = what.eq_ignore_ascii_case(token);
            if !own && what != "*" {
                continue;
            }
            let weight = field::parameters(parameters)
                .find(|(name, _)| name.eq_ignore_ascii_case("q"))
                // What can't be read counts as not wanted.
                .map_or(1000, |(_, weight)| field::parse_weight(&weight).unwrap_or(0));
            if own {
                return Some(weight);
            }
            of_any = Some(weight);
        }
        of_any
    }

    /// The first value of this name with its encoded words (RFC 2047) decoded. HTTP does
    /// not use them (RFC 9110, 5.5), so nothing is decoded unasked; mail and the parts of
    /// some multipart bodies do.
    #[doc(alias = "getDecoded")]
    #[doc(alias = "setAutoDecode")]
    #[doc(alias = "getAutoDecode")]
    pub fn decoded(&self, name: &str) -> Option<String> {
        self.get(name).map(HeaderMap::decode_word)
    }

    /// A text with its encoded words (RFC 2047) decoded, as far as they are in UTF-8,
    /// US-ASCII or ISO-8859-1; others stay as they are.
    ///
    /// ```
    /// # use sessile::message::HeaderMap;
    /// assert_eq!(HeaderMap::decode_word("=?ISO-8859-1?Q?Andr=E9?= Pirard"), "André Pirard");
    /// ```
    #[doc(alias = "decodeWord")]
    #[doc(alias = "decodeRFC2047")]
    pub fn decode_word(text: &str) -> String {
        super::encoded_word::decode(text)
    }

    /// The elements of a comma-separated list: trimmed, without empty ones, not cut inside
    /// of quotes. Quotes and escapes stay.
    ///
    /// ```
    /// # use sessile::message::HeaderMap;
    /// assert_eq!(HeaderMap::split_elements(r#"a, "b, c",, d"#), ["a", r#""b, c""#, "d"]);
    /// ```
    #[doc(alias = "splitElements")]
    pub fn split_elements(list: &str) -> Vec<&str> {
        // The elements are cut at ASCII bytes.
        field::elements(list.as_bytes()).filter_map(|element| std::str::from_utf8(element).ok()).collect()
    }

    /// The value and the parameters of `value; name=value; name="value"`, without quotes
    /// and escapes. A parameter without `=` has the empty value.
    ///
    /// ```
    /// # use sessile::message::HeaderMap;
    /// let (value, parameters) = HeaderMap::split_parameters(r#"form-data; name="a \"b\"""#);
    /// assert_eq!(value, "form-data");
    /// assert_eq!(parameters, [("name".to_string(), r#"a "b""#.to_string())]);
    /// ```
    #[doc(alias = "splitParameters")]
    pub fn split_parameters(text: &str) -> (&str, Vec<(String, String)>) {
        let (value, parameters) = text.split_once(';').unwrap_or((text, ""));
        let parameters = field::parameters(parameters)
            .map(|(name, value)| (name.to_owned(), value.into_owned()))
            .collect();
        (value.trim_matches([' ', '\t']), parameters)
    }

    /// The text as it can stand as a parameter's value: as it is, or in quotes and with
    /// escapes if there is anything in it but letters, digits, `.`, `_` and `-` (and blanks
    /// with `allow_space`).
    ///
    /// ```
    /// # use sessile::message::HeaderMap;
    /// assert_eq!(HeaderMap::quote("token", false), "token");
    /// assert_eq!(HeaderMap::quote(r#"say "hi""#, true), r#""say \"hi\"""#);
    /// ```
    pub fn quote(text: &str, allow_space: bool) -> Cow<'_, str> {
        field::quote(text, allow_space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, value).unwrap();
        }
        map
    }

    #[test]
    fn tokens_are_found_in_all_fields_of_a_name() {
        let map = map(&[("Connection", "keep-alive, TE"), ("Other", "x"), ("connection", "Close")]);
        assert!(map.has_token("CONNECTION", "close") && map.has_token("Connection", "te"));
        assert!(!map.has_token("Connection", "x") && !map.has_token("Connection", "keep"));
        assert_eq!(map.tokens("connection").count(), 3);
    }

    #[test]
    fn an_unreadable_weight_is_not_wanted() {
        let map = map(&[("TE", "a;q=high, b ; x=1; Q=0.3"), ("te", "c")]);
        assert_eq!(map.weight("te", "a"), Some(0));
        assert_eq!(map.weight("te", "B"), Some(300));
        assert_eq!(map.weight("te", "c"), Some(1000));
        assert_eq!(map.weight("te", "d"), None);
    }

    #[test]
    fn a_map_decodes_words_only_when_asked() {
        let map = map(&[("Subject", "=?utf-8?Q?=C3=BC?=")]);
        assert_eq!(map.get("subject"), Some("=?utf-8?Q?=C3=BC?="));
        assert_eq!(map.decoded("subject").as_deref(), Some("ü"));
        assert_eq!(map.decoded("none"), None);
    }
}
