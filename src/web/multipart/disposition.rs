//! `Content-Disposition` of a part: its name and its file name (RFC 7578, section 4.2;
//! RFC 6266; WHATWG HTML, "multipart/form-data encoding algorithm").
//!
//! What is written is what browsers write: UTF-8 in quoted strings, with `%22`, `%0D` and
//! `%0A` for the three bytes that would end the string or the line. What is read is that,
//! the older `\"`, and `filename*` (RFC 8187).

use std::fmt::{self, Write as _};

use percent_encoding::percent_decode;

use crate::message::field;
use crate::{Error, ErrorKind, Result};

/// What a part says of itself: how it is to be taken, the field's name, the file's name.
///
/// ```
/// use sessile::web::ContentDisposition;
///
/// let part = ContentDisposition::parse(br#"form-data; name="photo"; filename="a %22b%22.jpg""#)?;
/// assert_eq!(part.kind(), "form-data");
/// assert_eq!(part.name(), Some("photo"));
/// assert_eq!(part.file_name(), Some("a \"b\".jpg"));
///
/// let part = ContentDisposition::form_data("one\r\ntwo").with_file_name("c.txt");
/// assert_eq!(part.to_string(), r#"form-data; name="one%0D%0Atwo"; filename="c.txt""#);
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentDisposition {
    kind: String,
    name: Option<String>,
    file_name: Option<String>,
}

impl ContentDisposition {
    /// A field of a form, of this name.
    pub fn form_data(name: impl Into<String>) -> ContentDisposition {
        ContentDisposition { kind: "form-data".into(), name: Some(name.into()), file_name: None }
    }

    /// Adds a file name.
    #[must_use]
    pub fn with_file_name(mut self, file_name: impl Into<String>) -> ContentDisposition {
        self.file_name = Some(file_name.into());
        self
    }

    /// Reads a field value. Bytes that are not UTF-8 become U+FFFD; a parameter that stands
    /// twice, a string without its end and other breaches of the grammar are errors.
    pub fn parse(value: &[u8]) -> Result<ContentDisposition> {
        let mut rest = field::trim_ows(value);
        let kind = take_token(&mut rest).ok_or_else(|| malformed("does not start with a word"))?;
        let mut found = ContentDisposition { kind: text(kind).to_ascii_lowercase(), ..Default::default() };
        let mut extended = None;
        loop {
            rest = field::trim_ows(rest);
            match rest {
                [] => break,
                [b';', behind @ ..] => rest = field::trim_ows(behind),
                _ => return Err(malformed("lacks a semicolon between its parameters")),
            }
            // An empty parameter; a semicolon at the end is one.
            if matches!(rest, [] | [b';', ..]) {
                continue;
            }
            let name = take_token(&mut rest).ok_or_else(|| malformed("holds a parameter without a name"))?;
            rest = field::trim_ows(rest);
            rest = rest.strip_prefix(b"=").ok_or_else(|| malformed("holds a parameter without a value"))?;
            rest = field::trim_ows(rest);
            let value = take_value(&mut rest)?;
            let slot = match name.to_ascii_lowercase().as_slice() {
                b"name" => &mut found.name,
                b"filename" => &mut found.file_name,
                b"filename*" => &mut extended,
                _ => continue,
            };
            if slot.is_some() {
                return Err(malformed("holds a parameter twice"));
            }
            *slot = Some(if name.ends_with(b"*") { extended_value(&value)? } else { text(&value) });
        }
        // RFC 6266, 4.3: the extended form is the better one.
        found.file_name = extended.or(found.file_name);
        Ok(found)
    }

    /// `form-data`, `attachment`, `inline`, …, in lower case.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The name of the form's field.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The name of the file, as the sender says it: it may hold a path, `..` or nothing.
    /// Never open a file by it.
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }
}

impl fmt::Display for ContentDisposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        for (name, value) in [("name", &self.name), ("filename", &self.file_name)] {
            let Some(value) = value else { continue };
            write!(f, "; {name}=\"")?;
            for c in value.chars() {
                match c {
                    '"' => f.write_str("%22")?,
                    '\r' => f.write_str("%0D")?,
                    '\n' => f.write_str("%0A")?,
                    c => f.write_char(c)?,
                }
            }
            f.write_char('"')?;
        }
        Ok(())
    }
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Form, format!("a part's Content-Disposition {what}"))
}

fn take_token<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|&b| !field::is_tchar(b)).unwrap_or(rest.len());
    let (token, behind) = rest.split_at(end);
    *rest = behind;
    (!token.is_empty()).then_some(token)
}

/// A quoted string without its quotes and escapes, or all up to the next blank or
/// semicolon: more than a token, for there are senders that quote nothing.
fn take_value(rest: &mut &[u8]) -> Result<Vec<u8>> {
    let Some(string) = rest.strip_prefix(b"\"") else {
        let end = rest.iter().position(|b| b" \t;".contains(b)).unwrap_or(rest.len());
        let (value, behind) = rest.split_at(end);
        if value.is_empty() || value.contains(&b'"') {
            return Err(malformed("holds a parameter without a value"));
        }
        *rest = behind;
        return Ok(value.to_vec());
    };
    let mut value = Vec::new();
    let mut at = 0;
    loop {
        match string[at..] {
            [] => return Err(malformed("holds a string without its end")),
            [b'"', ..] => break,
            // Only these two were ever escaped so; a lone backslash is one of a Windows path.
            [b'\\', escaped @ (b'"' | b'\\'), ..] => {
                value.push(escaped);
                at += 2;
            }
            [b'%', b'2', b'2', ..] => {
                value.push(b'"');
                at += 3;
            }
            [b'%', b'0', digit @ (b'D' | b'A'), ..] => {
                value.push(if digit == b'D' { b'\r' } else { b'\n' });
                at += 3;
            }
            [byte, ..] => {
                value.push(byte);
                at += 1;
            }
        }
    }
    *rest = &string[at + 1..];
    Ok(value)
}

/// `UTF-8'language'percent-encoded` (RFC 8187, 3.2.1).
fn extended_value(value: &[u8]) -> Result<String> {
    let mut pieces = value.splitn(3, |&b| b == b'\'');
    let (Some(charset), Some(_), Some(encoded)) = (pieces.next(), pieces.next(), pieces.next()) else {
        return Err(malformed("holds a filename* without a character set"));
    };
    let bytes: Vec<u8> = percent_decode(encoded).collect();
    if charset.eq_ignore_ascii_case(b"UTF-8") {
        return String::from_utf8(bytes).map_err(|_| malformed("holds a filename* that is not UTF-8"));
    }
    if charset.eq_ignore_ascii_case(b"ISO-8859-1") {
        return Ok(bytes.into_iter().map(char::from).collect());
    }
    Err(malformed("holds a filename* in an unknown character set"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(value: &str) -> (Option<String>, Option<String>) {
        let parsed = ContentDisposition::parse(value.as_bytes()).unwrap();
        (parsed.name, parsed.file_name)
    }

    #[test]
    fn names_are_read_as_browsers_curl_and_python_write_them() {
        let cases = [
            (r#"form-data; name="a""#, "a", None),
            (r#"form-data; name="a"; filename="b.txt""#, "a", Some("b.txt")),
            (r#"form-data; name="a"; filename="""#, "a", Some("")),
            (r#"form-data; name="a%22b"; filename="c%0D%0Ad""#, "a\"b", Some("c\r\nd")),
            (r#"form-data; name="a\"b"; filename="c\\d""#, "a\"b", Some(r"c\d")),
            (r#"form-data; name="a"; filename="C:\new\file.txt""#, "a", Some(r"C:\new\file.txt")),
            (r#"form-data; name="50%"; filename="%41%0d""#, "50%", Some("%41%0d")),
            (r#"form-data; name="a;b=c"; filename="d;e""#, "a;b=c", Some("d;e")),
            ("form-data; name=\"größe\"; filename=\"日本.txt\"", "größe", Some("日本.txt")),
            (r#"FORM-DATA;NAME=a;FileName=b.txt;"#, "a", Some("b.txt")),
            ("form-data ; name = a ; ; x=y; filename\t=\t\"b\" ", "a", Some("b")),
            (r#"form-data; filename*=UTF-8''na%C3%AFve%20%22.txt; name="a""#, "a", Some("naïve \".txt")),
            (r#"form-data; name=a; filename="x"; filename*=iso-8859-1'en'%A3"#, "a", Some("£")),
        ];
        for (value, name, file_name) in cases {
            assert_eq!(names(value), (Some(name.into()), file_name.map(String::from)), "{value}");
        }
        assert_eq!(names("attachment"), (None, None));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for bad in [
            "",
            "; name=a",
            "form-data name=a",
            "form-data; name",
            "form-data; name=",
            "form-data; =a",
            r#"form-data; name="a"#,
            r#"form-data; name="a\""#,
            r#"form-data; name="a"b"#,
            r#"form-data; name=a"b"#,
            r#"form-data; name="a"; name="b""#,
            r#"form-data; filename="a"; FILENAME="b""#,
            "form-data; filename*=nothing",
            "form-data; filename*=UTF-8''%FF",
            "form-data; filename*=KOI8-R''a",
        ] {
            let error = ContentDisposition::parse(bad.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Form, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for name in ["a", "", "a\"b", "a\r\nb", "ä ö; =", "\\", "a\\b", "%", "name=\"x\""] {
            if name.ends_with('\\') {
                continue; // the one that RFC 2616 and WHATWG read differently
            }
            let written = ContentDisposition::form_data(name).with_file_name(name).to_string();
            assert_eq!(names(&written), (Some(name.into()), Some(name.into())), "{written}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf_8_do_not_hide_a_part() {
        let parsed = ContentDisposition::parse(b"form-data; name=\"caf\xe9\"").unwrap();
        assert_eq!(parsed.name(), Some("caf\u{fffd}"));
    }
}
