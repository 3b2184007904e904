//! The fields of a message, in the order and the spelling in which they came
//! (RFC 9110, section 5).
//!
//! One block of bytes and a table of spans into it: two allocations a message, none per
//! field, both kept by `clear`. Names are compared without regard to case, by a scan: for
//! the dozen fields of a message that is faster than hashing. Nothing here knows what a
//! field means, except which values are secret.

use std::fmt;

use super::field;
use crate::{Error, ErrorKind, Result};

/// The fields of a header or trailer section: an ordered multimap from names to values.
///
/// Values are bytes; [`get`](HeaderMap::get) gives those that are UTF-8, as nearly all
/// are. Names and values are checked when they are set: what is in the map can be sent.
/// The values of `Authorization`, `Proxy-Authorization`, `Cookie` and `Set-Cookie` are not
/// shown by `Debug`, and are overwritten when they are removed or dropped.
///
/// ```
/// use sessile::message::HeaderMap;
///
/// let mut headers = HeaderMap::new();
/// headers.append("Accept", "text/html")?;
/// headers.append("accept", "text/plain")?;
/// assert_eq!(headers.get("ACCEPT"), Some("text/html"));
/// assert_eq!(headers.get_all("accept").count(), 2);
///
/// headers.set("Accept", "*/*")?;
/// assert_eq!(headers.len(), 1);
/// assert!(headers.append("X", "a\r\nSet-Cookie: b=c").is_err());
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "MessageHeader")]
#[doc(alias = "NameValueCollection")]
pub struct HeaderMap {
    block: Vec<u8>,
    spans: Vec<Span>,
    // Bytes of the block that belong to no field line any more.
    garbage: usize,
    // The block is the field lines as they are to be sent, in order, and nothing else.
    plain: bool,
    // The block holds secrets: it is overwritten before it is given up.
    secret: bool,
    // A value was stored that can't be sent.
    suspect: bool,
    // A bit for each name that is or was there: most look-ups are for names that are not, and
    // end here. See `bit_of`.
    names: u64,
}

/// Where in the block a field is.
#[derive(Clone, Copy)]
struct Span {
    name: u32,
    name_len: u32,
    value: u32,
    value_len: u32,
}

impl HeaderMap {
    /// An empty map, without any allocation.
    pub const fn new() -> HeaderMap {
        HeaderMap {
            block: Vec::new(),
            spans: Vec::new(),
            garbage: 0,
            plain: true,
            secret: false,
            suspect: false,
            names: 0,
        }
    }

    /// An empty map with room for so many fields and so many bytes of names and values.
    pub fn with_capacity(fields: usize, bytes: usize) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.spans.reserve(fields);
        map.block.reserve(bytes + fields * LINE_EXTRA);
        map
    }

    /// How many fields there are; two of one name are two.
    #[doc(alias = "size")]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no field.
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Removes all fields and keeps the memory. Secret values are overwritten.
    #[inline]
    pub fn clear(&mut self) {
        if self.block.is_empty() {
            return;
        }
        self.wipe();
        self.block.clear();
        self.spans.clear();
        self.garbage = 0;
        self.plain = true;
        self.secret = false;
        self.suspect = false;
        self.names = 0;
    }

    /// The first value of this name, if there is one and it is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get_bytes(name)?).ok()
    }

    /// The first value of this name.
    #[inline]
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        self.find(name).map(|at| self.value(self.spans[at]))
    }

    /// All values of this name, in order.
    #[inline]
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let there = self.names & bit_of(name.as_bytes()) != 0;
        let spans = if there { self.spans.as_slice() } else { &[] };
        spans.iter().filter(move |span| self.is_named(span, name)).map(|&span| self.value(span))
    }

    /// The first value of this name, or the default.
    pub fn get_or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.get(name).unwrap_or(default)
    }

    /// The first value of this name, or an error of the kind
    /// [`NotFound`](ErrorKind::NotFound).
    #[doc(alias = "operator[]")]
    pub fn try_get(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no field {name:?}")))
    }

    /// Whether there is a field of this name.
    #[doc(alias = "contains")]
    #[inline]
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The position of the first field of this name: see [`remove_at`](HeaderMap::remove_at).
    #[inline]
    pub fn find(&self, name: &str) -> Option<usize> {
        if self.names & bit_of(name.as_bytes()) == 0 {
            return None;
        }
        self.scan(name)
    }

    /// Adds a field behind all others. Fails if the name is not a token or the value holds
    /// controls; blanks at the value's ends are dropped.
    #[doc(alias = "add")]
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<()> {
        let value = checked(name, value.as_ref())?;
        self.push(name.as_bytes(), value)
    }

    /// Adds all these fields, until one is refused: see [`append`](HeaderMap::append).
    pub fn try_extend<N, V>(&mut self, fields: impl IntoIterator<Item = (N, V)>) -> Result<()>
    where
        N: AsRef<str>,
        V: AsRef<[u8]>,
    {
        fields.into_iter().try_for_each(|(name, value)| self.append(name.as_ref(), value))
    }

    /// Makes this the only field of the name: it replaces the first one, in its place and
    /// spelling, and the others go. Fails as [`append`](HeaderMap::append) does.
    #[doc(alias = "replace")]
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<()> {
        let value = checked(name, value.as_ref())?;
        self.put(name, value)
    }

    /// Removes all fields of this name and says how many there were.
    #[doc(alias = "erase")]
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.spans.len();
        self.remove_from(0, name);
        before - self.spans.len()
    }

    /// Removes all fields of this name and overwrites their values. What is secret by its
    /// name, [`remove`](HeaderMap::remove) overwrites too.
    #[doc(alias = "secureErase")]
    pub fn secure_erase(&mut self, name: &str) -> usize {
        self.secret |= self.has(name);
        self.remove(name)
    }

    /// Removes all fields and overwrites them; the memory is kept.
    #[doc(alias = "secureClear")]
    pub fn secure_clear(&mut self) {
        overwrite(&mut self.block);
        self.clear();
    }

    /// Removes the field at this position, if there is one, and says whether there was.
    pub fn remove_at(&mut self, position: usize) -> bool {
        if position >= self.spans.len() {
            return false;
        }
        let span = self.spans.remove(position);
        self.forget(span);
        self.compact();
        true
    }

    /// Names and values in the order of arrival.
    #[doc(alias = "begin")]
    #[doc(alias = "end")]
    pub fn iter(&self) -> Fields<'_> {
        Fields { map: self, spans: self.spans.iter() }
    }

    /// Takes a parsed field section over: one copy of the bytes, and where in them each
    /// name and value is (start and end). What was in the map before is gone.
    ///
    /// The caller has checked names and values.
    pub(crate) fn load(
        &mut self,
        section: &[u8],
        spans: impl Iterator<Item = ((usize, usize), (usize, usize))>,
    ) {
        if self.begin_load(section) {
            spans.for_each(|(name, value)| self.load_field(&section[name.0..name.1], name.0, value));
        }
    }

    /// The first half of [`load`](HeaderMap::load): the bytes. `false`, and nothing is there, if they
    /// are too many.
    pub(crate) fn begin_load(&mut self, section: &[u8]) -> bool {
        self.clear();
        if section.len() > LARGEST_BLOCK {
            return false;
        }
        self.block.extend_from_slice(section);
        self.plain = false;
        true
    }

    /// The second half, for each field: its name, where that begins, and where its value is.
    #[inline]
    pub(crate) fn load_field(&mut self, name: &[u8], at: usize, (value, value_end): (usize, usize)) {
        self.secret |= is_secret(name);
        self.names |= bit_of(name);
        self.spans.push(Span {
            name: at as u32,
            name_len: name.len() as u32,
            value: value as u32,
            value_len: (value_end - value) as u32,
        });
    }

    /// Names and values in the order of arrival, the names as bytes.
    pub(crate) fn raw(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans.iter().map(|&span| (self.name(span), self.value(span)))
    }

    /// `Name: value CRLF` for each field.
    #[inline]
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        if self.plain {
            out.extend_from_slice(&self.block);
            return;
        }
        out.reserve(self.block.len() + self.spans.len() * LINE_EXTRA);
        for &span in &self.spans {
            out.extend_from_slice(self.name(span));
            out.extend_from_slice(b": ");
            out.extend_from_slice(self.value(span));
            out.extend_from_slice(b"\r\n");
        }
    }

    /// As [`set`](HeaderMap::set), with the check of the value left to whoever sends the
    /// message: see [`check`](HeaderMap::check). The name must be a token.
    #[inline]
    pub(crate) fn set_unchecked(&mut self, name: &str, value: &[u8]) {
        let value = field::trim_ows(value);
        // It fails at 2 GiB only.
        if self.put(name, value).is_ok() {
            self.suspect |= !field::is_field_value(value);
        }
    }

    /// As [`append`](HeaderMap::append), unchecked like
    /// [`set_unchecked`](HeaderMap::set_unchecked).
    pub(crate) fn append_unchecked(&mut self, name: &str, value: &[u8]) {
        let value = field::trim_ows(value);
        if self.push(name.as_bytes(), value).is_ok() {
            self.suspect |= !field::is_field_value(value);
        }
    }

    /// Replaces the value of the field at this position.
    pub(crate) fn set_unchecked_at(&mut self, position: usize, value: &[u8]) {
        let value = field::trim_ows(value);
        if position < self.spans.len() && self.put_at(position, value).is_ok() {
            self.suspect |= !field::is_field_value(value);
        }
    }

    /// Whether all values can be sent. Free of cost unless a value was set unchecked.
    pub(crate) fn check(&self) -> Result<()> {
        if !self.suspect {
            return Ok(());
        }
        match self.iter().find(|(_, value)| !field::is_field_value(value)) {
            Some((name, _)) => Err(bad_value(name)),
            None => Ok(()),
        }
    }

    #[inline(never)] // Most look-ups end before it.
    fn scan(&self, name: &str) -> Option<usize> {
        self.spans.iter().position(|span| self.is_named(span, name))
    }

    #[inline]
    fn put(&mut self, name: &str, value: &[u8]) -> Result<()> {
        let Some(first) = self.find(name) else {
            return self.push(name.as_bytes(), value);
        };
        self.put_at(first, value)?;
        self.remove_from(first + 1, name);
        Ok(())
    }

    fn put_at(&mut self, position: usize, value: &[u8]) -> Result<()> {
        let span = self.spans[position];
        if span.value_len as usize == value.len() {
            let start = span.value as usize;
            self.block[start..start + value.len()].copy_from_slice(value);
            return Ok(());
        }
        let spelling = span.name as usize..(span.name + span.name_len) as usize;
        self.make_room(spelling.len() + value.len())?;
        let start = self.block.len();
        self.block.extend_from_within(spelling);
        self.spans[position] = self.finish_line(start, value);
        self.forget(span);
        self.compact();
        Ok(())
    }

    // What depends on the name alone is known where the name is a constant.
    #[inline]
    fn push(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        self.push_line(name, value)?;
        self.secret |= is_secret(name);
        self.names |= bit_of(name);
        Ok(())
    }

    fn push_line(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        self.make_room(name.len() + value.len())?;
        let start = self.block.len();
        self.block.extend_from_slice(name);
        let span = self.finish_line(start, value);
        self.spans.push(span);
        Ok(())
    }

    /// Puts the rest of a field line behind the name that starts at `start`.
    #[inline]
    fn finish_line(&mut self, start: usize, value: &[u8]) -> Span {
        let name_len = self.block.len() - start;
        self.block.extend_from_slice(b": ");
        let at = self.block.len();
        self.block.extend_from_slice(value);
        self.block.extend_from_slice(b"\r\n");
        Span {
            name: start as u32,
            name_len: name_len as u32,
            value: at as u32,
            value_len: value.len() as u32,
        }
    }

    /// Room for one more field line. A block with secrets is not left behind unwiped.
    #[inline]
    fn make_room(&mut self, bytes: usize) -> Result<()> {
        let needed = self.block.len() + bytes + LINE_EXTRA;
        if needed > LARGEST_BLOCK {
            return Err(Error::invalid_argument("the fields are larger than 2 GiB"));
        }
        if needed > self.block.capacity() {
            self.grow(needed);
        }
        Ok(())
    }

    #[cold]
    fn grow(&mut self, needed: usize) {
        let mut larger = Vec::with_capacity(needed.max(2 * self.block.capacity()).max(SMALLEST_BLOCK));
        larger.extend_from_slice(&self.block);
        self.wipe();
        self.block = larger;
    }

    /// Removes the fields of this name from this position on.
    fn remove_from(&mut self, start: usize, name: &str) {
        let mut kept = start;
        for at in start..self.spans.len() {
            let span = self.spans[at];
            if self.is_named(&span, name) {
                self.forget(span);
            } else {
                self.spans[kept] = span;
                kept += 1;
            }
        }
        self.spans.truncate(kept);
        self.compact();
    }

    /// Counts a field's bytes as garbage, and overwrites them if they are secret.
    fn forget(&mut self, span: Span) {
        self.plain = false;
        self.garbage += (span.name_len + span.value_len) as usize + LINE_EXTRA;
        if self.secret {
            let start = span.value as usize;
            overwrite(&mut self.block[start..start + span.value_len as usize]);
        }
    }

    /// Writes the block anew when more than half of it is garbage.
    fn compact(&mut self) {
        if self.spans.is_empty() {
            self.clear();
            return;
        }
        if self.garbage * 2 <= self.block.len() {
            return;
        }
        let mut block = Vec::with_capacity(self.block.capacity());
        self.write_to(&mut block);
        let mut start = 0;
        for span in &mut self.spans {
            span.name = start;
            span.value = start + span.name_len + 2;
            start = span.value + span.value_len + 2;
        }
        self.wipe();
        self.block = block;
        self.garbage = 0;
        self.plain = true;
    }

    fn wipe(&mut self) {
        if self.secret {
            overwrite(&mut self.block);
        }
    }

    // Length first: it tells most names apart without a look at the block.
    #[inline]
    fn is_named(&self, span: &Span, name: &str) -> bool {
        span.name_len as usize == name.len() && self.name(*span).eq_ignore_ascii_case(name.as_bytes())
    }

    fn name(&self, span: Span) -> &[u8] {
        &self.block[span.name as usize..(span.name + span.name_len) as usize]
    }

    fn value(&self, span: Span) -> &[u8] {
        &self.block[span.value as usize..(span.value + span.value_len) as usize]
    }
}

/// The bit of a name among 64, in any case of letters: by its length, first and last letter.
///
/// A constant for a constant name: a look-up for a field that is not there costs one test.
#[inline(always)]
const fn bit_of(name: &[u8]) -> u64 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 1 };
    let hash = (*first | 0x20) as usize * 7 + (*last | 0x20) as usize * 3 + name.len();
    1 << (hash % 64)
}

/// Whether the values of this field are kept out of sight.
#[inline]
pub(crate) fn is_secret(name: &[u8]) -> bool {
    let known: &[u8] = match name.len() {
        6 => b"cookie",
        10 => b"set-cookie",
        13 => b"authorization",
        19 => b"proxy-authorization",
        _ => return false,
    };
    name.eq_ignore_ascii_case(known)
}

/// The trimmed value, if name and value can be sent.
fn checked<'a>(name: &str, value: &'a [u8]) -> Result<&'a [u8]> {
    if !field::is_token(name.as_bytes()) {
        return Err(Error::invalid_argument(format!("{name:?} is not a field name")));
    }
    let value = field::trim_ows(value);
    if !field::is_field_value(value) {
        return Err(bad_value(name));
    }
    Ok(value)
}

fn bad_value(name: &str) -> Error {
    Error::invalid_argument(format!("the value for the field {name} holds control characters"))
}

/// Zeroes.
pub(crate) fn overwrite(bytes: &mut [u8]) {
    bytes.fill(0);
    // Keeps the compiler from leaving the stores out before the memory is freed.
    std::hint::black_box(bytes);
}

impl Drop for HeaderMap {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl Default for HeaderMap {
    fn default() -> HeaderMap {
        HeaderMap::new()
    }
}

impl fmt::Debug for HeaderMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self {
            if is_secret(name.as_bytes()) {
                map.entry(&name, &format_args!("…"));
            } else {
                map.entry(&name, &String::from_utf8_lossy(value));
            }
        }
        map.finish()
    }
}

/// Names and values of a [`HeaderMap`], in order: see [`HeaderMap::iter`].
#[derive(Clone)]
pub struct Fields<'a> {
    map: &'a HeaderMap,
    spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<(&'a str, &'a [u8])> {
        let span = *self.spans.next()?;
        // A name is a token, and so it is ASCII.
        Some((std::str::from_utf8(self.map.name(span)).unwrap_or_default(), self.map.value(span)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl ExactSizeIterator for Fields<'_> {}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({} left)", self.spans.len())
    }
}

impl<'a> IntoIterator for &'a HeaderMap {
    type Item = (&'a str, &'a [u8]);
    type IntoIter = Fields<'a>;

    fn into_iter(self) -> Fields<'a> {
        self.iter()
    }
}

/// Colon, blank, CR and LF of a field line.
const LINE_EXTRA: usize = 4;
/// Spans are 32 bits wide. Heads are a thousand times smaller.
const LARGEST_BLOCK: usize = i32::MAX as usize;
/// The first allocation: what a small message needs.
const SMALLEST_BLOCK: usize = 256;

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

    fn list(map: &HeaderMap) -> Vec<(String, String)> {
        map.iter().map(|(n, v)| (n.to_owned(), String::from_utf8_lossy(v).into_owned())).collect()
    }

    fn written(map: &HeaderMap) -> String {
        let mut out = Vec::new();
        map.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// Loads a section of well-formed field lines, as the parser does.
    fn load(map: &mut HeaderMap, section: &str) {
        let mut spans = Vec::new();
        let mut at = 0;
        for line in section.split_inclusive("\r\n") {
            let colon = line.find(':').unwrap();
            let value = line[colon + 1..].trim();
            let start = if value.is_empty() { colon + 1 } else { line.find(value).unwrap() };
            spans.push(((at, at + colon), (at + start, at + start + value.len())));
            at += line.len();
        }
        map.load(section.as_bytes(), spans.into_iter());
    }

    #[test]
    fn order_and_spelling_are_kept() {
        let map = map(&[("B", "1"), ("a", "2"), ("b", "3"), ("A", "4")]);
        assert_eq!(written(&map), "B: 1\r\na: 2\r\nb: 3\r\nA: 4\r\n");
        assert_eq!(map.len(), 4);
        assert_eq!(map.get_all("B").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!(map.find("A"), Some(1));
        assert_eq!(map.find("c"), None);
    }

    #[test]
    fn values_that_are_not_utf8_are_there_as_bytes() {
        let mut map = HeaderMap::new();
        map.append("X", b"\xe4\xf6").unwrap();
        assert_eq!(map.get("x"), None);
        assert!(map.has("X"));
        assert_eq!(map.get_bytes("x"), Some(&b"\xe4\xf6"[..]));
    }

    #[test]
    fn what_could_split_a_message_is_refused() {
        let mut map = HeaderMap::new();
        for bad in ["", "a b", "a:", "a\r\n", "\u{e4}", "a\0", "(a)"] {
            assert!(map.append(bad, "x").is_err() && map.set(bad, "x").is_err(), "{bad:?}");
        }
        for bad in ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\u{7f}", "\u{1b}[0m"] {
            assert!(map.append("x", bad).is_err() && map.set("x", bad).is_err(), "{bad:?}");
        }
        assert!(map.is_empty());
        map.append("X", " \t inner \t blank\t ").unwrap();
        assert_eq!(map.get("X"), Some("inner \t blank"));
    }

    #[test]
    fn set_leaves_one_in_the_first_one_s_place_and_spelling() {
        let mut map = map(&[("a", "1"), ("Name", "short"), ("b", "2"), ("NAME", "other"), ("c", "3")]);
        map.set("name", "a longer value").unwrap();
        assert_eq!(written(&map), "a: 1\r\nName: a longer value\r\nb: 2\r\nc: 3\r\n");
        map.set("name", "x").unwrap();
        map.set("b", "9").unwrap();
        map.set("d", "4").unwrap();
        assert_eq!(written(&map), "a: 1\r\nName: x\r\nb: 9\r\nc: 3\r\nd: 4\r\n");
    }

    #[test]
    fn remove_takes_all_of_a_name() {
        let mut map = map(&[("a", "1"), ("b", "2"), ("A", "3"), ("c", "4")]);
        assert_eq!(map.remove("a"), 2);
        assert_eq!(map.remove("a"), 0);
        assert_eq!(written(&map), "b: 2\r\nc: 4\r\n");
        assert!(map.remove_at(0) && !map.remove_at(1));
        assert_eq!(written(&map), "c: 4\r\n");
        map.remove("C");
        assert!(map.is_empty() && map.block.is_empty());
    }

    #[test]
    fn a_map_is_what_a_list_with_the_same_changes_is() {
        // A model in a few lines, and a few thousand changes from a linear congruence.
        let mut map = HeaderMap::new();
        let mut model: Vec<(String, String)> = Vec::new();
        let mut random = 7u32;
        for step in 0..4000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let name = ["Alpha", "alpha", "Beta", "Cookie", "d"][(random >> 8) as usize % 5];
            let value = "v".repeat((random >> 12) as usize % 40) + &(step % 10).to_string();
            let is_it = |(other, _): &(String, String)| other.eq_ignore_ascii_case(name);
            match (random >> 24) % 7 {
                0 | 1 => {
                    map.append(name, &value).unwrap();
                    model.push((name.into(), value));
                }
                2 | 3 => {
                    map.set(name, &value).unwrap();
                    match model.iter().position(is_it) {
                        Some(first) => {
                            model[first].1 = value;
                            let mut at = 0;
                            model.retain(|entry| {
                                at += 1;
                                at <= first + 1 || !is_it(entry)
                            });
                        }
                        None => model.push((name.into(), value)),
                    }
                }
                4 => {
                    map.remove(name);
                    model.retain(|entry| !is_it(entry));
                }
                5 if !model.is_empty() => {
                    let at = (random >> 4) as usize % model.len();
                    assert!(map.remove_at(at));
                    model.remove(at);
                }
                _ => {
                    let section = written(&map);
                    load(&mut map, &section);
                }
            }
            assert_eq!(list(&map), model, "step {step}");
            let expected: String = model.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
            assert_eq!(written(&map), expected, "step {step}");
            assert!(map.block.len() <= 2 * expected.len() + 64, "garbage is collected");
        }
    }

    #[test]
    fn a_loaded_section_keeps_its_bytes() {
        let mut map = map(&[("old", "gone")]);
        load(&mut map, "HOST:example.com\r\nX:  \r\nAccept: \t*/* \r\n");
        assert_eq!(map.get("Host"), Some("example.com"));
        assert_eq!(map.get("x"), Some(""));
        assert!(!map.has("old"));
        assert_eq!(written(&map), "HOST: example.com\r\nX: \r\nAccept: */*\r\n");
        map.append("New", "one").unwrap();
        assert_eq!(map.len(), 4);
        assert_eq!(map.get("new"), Some("one"));
    }

    #[test]
    fn a_cleared_map_is_filled_again_in_the_same_memory() {
        let mut map = HeaderMap::new();
        let section = "Host: a\r\nCookie: secret\r\n";
        load(&mut map, section);
        map.append("Content-Length", "12345").unwrap();
        let memory = |map: &HeaderMap| (map.block.as_ptr(), map.block.capacity(), map.spans.as_ptr());
        let before = memory(&map);
        for _ in 0..10 {
            load(&mut map, section);
            map.append("Content-Length", "1").unwrap();
            map.set("content-length", "12345").unwrap();
            assert_eq!(map.len(), 3);
            assert_eq!(memory(&map), before);
        }
    }

    #[test]
    fn secrets_are_overwritten_and_never_shown() {
        let mut map = map(&[("Accept", "all"), ("Authorization", "Basic c2VjcmV0"), ("cookie", "id=secret")]);
        let shown = format!("{map:?}");
        assert!(!shown.contains("c2VjcmV0") && !shown.contains("secret"), "{shown}");
        assert!(shown.contains("\"Accept\": \"all\"") && shown.contains("Authorization"), "{shown}");

        map.remove("Authorization");
        assert!(!map.block.windows(4).any(|bytes| bytes == b"c2Vj"));
        map.set("Cookie", "x").unwrap();
        assert!(!map.block.windows(6).any(|bytes| bytes == b"secret"));
        map.clear();
        assert!(!map.secret && map.is_empty());
    }

    #[test]
    fn clearing_overwrites_the_block_where_it_held_a_secret() {
        let mut map = map(&[("Set-Cookie", "id=secret")]);
        assert!(map.secret);
        map.wipe();
        assert!(map.block.iter().all(|&byte| byte == 0));
        let mut plain = super::tests::map(&[("Accept", "all")]);
        assert!(!plain.secret);
        assert_eq!(plain.secure_erase("none"), 0);
        assert!(!plain.secret);
        plain.append("Token", "s3").unwrap();
        assert_eq!(plain.secure_erase("token"), 1);
        assert!(!plain.block.windows(2).any(|bytes| bytes == b"s3"));
        plain.secure_clear();
        assert!(plain.is_empty());
    }

    #[test]
    fn many_fields_are_added_until_one_is_refused() {
        let mut other = HeaderMap::new();
        other.try_extend(&map(&[("a", "1"), ("b", "2")])).unwrap();
        assert!(other.try_extend([("c", "3"), ("d", "\n4\n"), ("e", "5")]).is_err());
        assert_eq!(written(&other), "a: 1\r\nb: 2\r\nc: 3\r\n");
    }

    #[test]
    fn a_missing_field_is_not_found() {
        let map = map(&[("a", "1")]);
        assert_eq!(map.try_get("A").unwrap(), "1");
        assert_eq!(map.try_get("b").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(map.get_or("b", "2"), "2");
    }

    #[test]
    fn an_unchecked_value_is_found_before_it_is_sent() {
        let mut map = map(&[("a", "1")]);
        map.set_unchecked("Content-Type", b"text/plain");
        assert!(map.check().is_ok());
        map.set_unchecked("Content-Type", b"text/plain\r\nX: y");
        assert!(map.check().unwrap_err().to_string().contains("Content-Type"));
        map.set("Content-Type", "text/html").unwrap();
        assert!(map.check().is_ok());
    }
}
