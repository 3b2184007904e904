//! Reading events, as the WHATWG says that a stream is interpreted.
//!
//! A line ends with CR, LF or both; an event is complete at the byte that ends its empty
//! line, and is given then, without waiting for what may follow a CR.

use std::fmt;
use std::io::{self, BufRead};
use std::time::Duration;

use memchr::memchr2;

use super::Event;
use crate::message::field;
use crate::{Error, Result};

/// Reads events from a response's content, or from anything else.
///
/// Bytes that are not UTF-8 become U+FFFD. An event that the end of the stream cuts off is
/// dropped, as the standard says. An error of the input, such as a time-out, loses nothing:
/// the call can be repeated.
///
/// ```
/// use sessile::web::EventReader;
///
/// let stream = b": welcome\nretry: 3000\n\nid: 7\nevent: note\ndata: two\ndata: lines\n\n";
/// let mut events = EventReader::new(&stream[..]);
/// let event = events.next_event()?.unwrap();
/// assert_eq!((event.name(), event.data(), event.id()), ("note", "two\nlines", Some("7")));
/// assert_eq!(events.last_event_id(), "7");
/// assert_eq!(events.retry().map(|retry| retry.as_secs()), Some(3));
/// assert!(events.next_event()?.is_none());
/// # Ok::<(), sessile::Error>(())
/// ```
pub struct EventReader<R> {
    input: R,
    limit: usize,
    // The line that is being read, where it did not come in one piece.
    line: Vec<u8>,
    // The event that is being read; its data has an LF behind each line.
    event: Event,
    // The id that becomes the last one with the next empty line.
    id: String,
    last_id: String,
    retry: Option<Duration>,
    // The last line ended with CR: an LF now belongs to it.
    after_cr: bool,
    // Nothing was read yet: there may be a byte order mark.
    fresh: bool,
}

impl<R: BufRead> EventReader<R> {
    /// Reads from `input`.
    pub fn new(input: R) -> EventReader<R> {
        EventReader {
            input,
            limit: LARGEST,
            line: Vec::new(),
            event: Event::default(),
            id: String::new(),
            last_id: String::new(),
            retry: None,
            after_cr: false,
            fresh: true,
        }
    }

    /// Sets how many bytes a line, and the data of an event, may have: 1 MiB unless set.
    #[must_use]
    pub fn with_limit(mut self, bytes: usize) -> EventReader<R> {
        self.limit = bytes;
        self
    }

    /// Sets the last id, for a stream that goes on with an earlier one.
    #[must_use]
    pub fn with_last_event_id(mut self, id: impl Into<String>) -> EventReader<R> {
        self.id = id.into();
        self.last_id.clone_from(&self.id);
        self
    }

    /// The id to send as `Last-Event-ID` when asking again; empty if there is none.
    pub fn last_event_id(&self) -> &str {
        &self.last_id
    }

    /// How long to wait before asking again, if the server said so.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The next event; blocks until there is one. `None` at the end of the stream.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        loop {
            let (end, used) = {
                let buffer = match self.input.fill_buf() {
                    Ok(buffer) => buffer,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error.into()),
                };
                if buffer.is_empty() {
                    return Ok(None);
                }
                let start = usize::from(std::mem::take(&mut self.after_cr) && buffer[0] == b'\n');
                let rest = &buffer[start..];
                let end = memchr2(b'\r', b'\n', rest);
                let piece = &rest[..end.unwrap_or(rest.len())];
                if piece.len() > self.limit - self.line.len().min(self.limit) {
                    return Err(too_large(self.limit));
                }
                self.line.extend_from_slice(piece);
                self.after_cr = end.is_some_and(|end| rest[end] == b'\r');
                (end.is_some(), start + piece.len() + usize::from(end.is_some()))
            };
            self.input.consume(used);
            if !end {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let event = self.take_line(&line);
            self.line = line;
            self.line.clear();
            if let Some(event) = event? {
                return Ok(Some(event));
            }
        }
    }

    /// The input, wherever the reader is in it.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn take_line(&mut self, mut line: &[u8]) -> Result<Option<Event>> {
        if std::mem::take(&mut self.fresh) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return Ok(self.finish());
        }
        let (name, value) = match memchr::memchr(b':', line) {
            Some(0) => return Ok(None),
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if value.len() >= self.limit - self.event.data.len().min(self.limit) {
                    return Err(too_large(self.limit));
                }
                self.event.data.push_str(&String::from_utf8_lossy(value));
                self.event.data.push('\n');
            }
            b"event" => self.event.name = Some(text(value)),
            b"id" if !value.contains(&0) => {
                self.id = text(value);
                self.event.id = Some(self.id.clone());
            }
            b"retry" => {
                if let Some(milliseconds) = field::parse_decimal(value) {
                    self.retry = Some(Duration::from_millis(milliseconds));
                    self.event.retry = self.retry;
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// At an empty line: an event without data is none, but its id counts.
    fn finish(&mut self) -> Option<Event> {
        self.last_id.clone_from(&self.id);
        let mut event = std::mem::take(&mut self.event);
        event.data.pop()?;
        Some(event)
    }
}

impl<R: BufRead> Iterator for EventReader<R> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        self.next_event().transpose()
    }
}

impl<R> fmt::Debug for EventReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventReader")
            .field("last_id", &self.last_id)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn too_large(limit: usize) -> Error {
    Error::too_large(format!("a line or the data of an event has more than {limit} bytes"))
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Larger than any event should be; a stream without line ends must stop somewhere.
const LARGEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::web::EventWriter;
    use crate::web::multipart::testing::{Chopped, Random};

    type Seen = Vec<(String, String, Option<String>)>;

    fn events(input: impl BufRead) -> Seen {
        let events = EventReader::new(input);
        events
            .map(|event| event.unwrap())
            .map(|event| (event.name().to_string(), event.data().to_string(), event.id().map(String::from)))
            .collect()
    }

    fn data(stream: &[u8]) -> Vec<String> {
        events(stream).into_iter().map(|(_, data, _)| data).collect()
    }

    #[test]
    fn the_examples_of_the_standard_are_read_as_it_says() {
        assert_eq!(data(b"data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
        let stream =
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
        let expected: Seen = [("first event", Some("1")), ("second event", Some("")), (" third event", None)]
            .iter()
            .map(|(data, id)| ("message".into(), (*data).into(), id.map(String::from)))
            .collect();
        assert_eq!(events(&stream[..]), expected);
        assert_eq!(data(b"data\n\ndata\ndata\n\ndata:"), ["", "\n"]);
        assert_eq!(data(b"data:test\n\ndata: test\n\n"), ["test", "test"]);
    }

    #[test]
    fn every_end_of_line_through_every_split_gives_the_same() {
        let plain = "\u{feff}event: a\ndata: 1\ndata: 2\n\n: no\ndata: ü\nid: x\nretry: 10\n\nevent: only\n\ndata: 3\n\n";
        let expected = events(plain.as_bytes());
        assert_eq!(expected.len(), 3);
        for end in ["\n", "\r", "\r\n"] {
            let stream = plain.replace('\n', end);
            for size in 1..stream.len() {
                assert_eq!(events(Chopped::every(stream.as_bytes(), size)), expected, "{end:?} {size}");
            }
            for at in 0..stream.len() {
                assert_eq!(events(Chopped::at(stream.as_bytes(), at)), expected, "{end:?} {at}");
            }
        }
        assert_eq!(data(b"data: a\rdata: b\ndata: c\r\n\r\rdata: d\n\r"), ["a\nb\nc", "d"]);
    }

    #[test]
    fn an_event_is_given_at_its_last_byte() {
        struct Endless<'a>(&'a [u8]);
        impl io::Read for Endless<'_> {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                unreachable!()
            }
        }
        impl BufRead for Endless<'_> {
            fn fill_buf(&mut self) -> io::Result<&[u8]> {
                if self.0.is_empty() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(&self.0[..1]) }
            }
            fn consume(&mut self, count: usize) {
                self.0 = &self.0[count..];
            }
        }
        for stream in ["data: a\n\n", "data: a\r\r", "data: a\r\n\r"] {
            let mut reader = EventReader::new(Endless(stream.as_bytes()));
            assert_eq!(reader.next_event().unwrap().unwrap().data(), "a", "{stream:?}");
            assert!(reader.next_event().unwrap_err().is_timeout());
        }
    }

    #[test]
    fn a_time_out_loses_nothing() {
        struct Stutter<'a>(&'a [u8], bool);
        impl io::Read for Stutter<'_> {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                unreachable!()
            }
        }
        impl BufRead for Stutter<'_> {
            fn fill_buf(&mut self) -> io::Result<&[u8]> {
                self.1 = !self.1;
                if self.1 { Err(io::ErrorKind::TimedOut.into()) } else { Ok(&self.0[..self.0.len().min(1)]) }
            }
            fn consume(&mut self, count: usize) {
                self.0 = &self.0[count..];
            }
        }
        let mut reader = EventReader::new(Stutter(b"data: a\r\ndata: b\r\n\r\nid: 1\r\n\r\n", false));
        let mut seen = Vec::new();
        loop {
            match reader.next_event() {
                Ok(Some(event)) => seen.push(event.into_data()),
                Ok(None) => break,
                Err(error) => assert!(error.is_timeout()),
            }
        }
        assert_eq!((seen, reader.last_event_id()), (vec!["a\nb".to_string()], "1"));
    }

    #[test]
    fn what_the_end_cuts_off_is_dropped() {
        assert!(data(b"data: a\n").is_empty());
        let mut reader = EventReader::new(&b"id: 1\n\nid: 2\ndata: x"[..]);
        assert!(reader.next_event().unwrap().is_none());
        assert_eq!(reader.last_event_id(), "1", "an id counts with its empty line");
    }

    #[test]
    fn ids_stay_and_those_with_nul_are_ignored() {
        let mut reader =
            EventReader::new(&b"id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid\ndata: d\n\n"[..]);
        let mut ids = Vec::new();
        while let Some(event) = reader.next_event().unwrap() {
            ids.push((event.id().map(String::from), reader.last_event_id().to_string()));
        }
        let id = |id: &str| Some(id.to_string());
        assert_eq!(ids, [(id("1"), "1".into()), (None, "1".into()), (None, "1".into()), (id(""), "".into())]);
        let again = EventReader::new(&b""[..]).with_last_event_id("9");
        assert_eq!(again.last_event_id(), "9");
    }

    #[test]
    fn retry_is_digits_and_nothing_else() {
        let retry = |value: &str| {
            let stream = format!("retry:{value}\n\n");
            let mut reader = EventReader::new(stream.as_bytes());
            assert!(reader.next_event().unwrap().is_none());
            reader.retry().map(|retry| retry.as_millis())
        };
        assert_eq!(retry("100"), Some(100));
        assert_eq!(retry(" 0"), Some(0));
        for bad in ["", " ", "+1", "-1", "1.5", "1 ", "  1", "abc", "99999999999999999999"] {
            assert_eq!(retry(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn unknown_fields_and_names_in_another_case_are_ignored() {
        assert_eq!(data(b"Data: a\ndata : b\n data: c\nfoo: d\nbar\ndata: e\n\n"), ["e"]);
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_replaced() {
        assert_eq!(data(b"data: a\xffb\n\n"), ["a\u{fffd}b"]);
    }

    #[test]
    fn lines_and_events_have_a_limit() {
        let kind = |stream: &[u8]| EventReader::new(stream).with_limit(10).next_event().map_err(|e| e.kind());
        assert!(kind(b"data:12345\n\n").is_ok());
        assert_eq!(kind(b"data:123456\n\n"), Err(ErrorKind::TooLarge));
        assert_eq!(kind(b"data:1234\ndata:1234\n\n").unwrap().unwrap().data(), "1234\n1234");
        assert_eq!(kind(b"data:1234\ndata:1234\ndata\n\n"), Err(ErrorKind::TooLarge));
        let endless = io::BufReader::new(io::repeat(b'x'));
        assert_eq!(EventReader::new(endless).next_event().unwrap_err().kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut random = Random::new(23);
        for _ in 0..300 {
            let mut stream = Vec::new();
            let mut writer = EventWriter::new(&mut stream);
            let mut expected = Vec::new();
            for _ in 0..random.below(6) {
                let data: String = (0..random.below(20))
                    .map(|_| ['a', ' ', ':', '\n', 'ü', '\0'][random.below(6)])
                    .collect();
                let mut event = Event::new(data);
                if random.below(2) == 0 {
                    event = event.with_name([" n", "x:y", "data"][random.below(3)]).unwrap();
                }
                if random.below(2) == 0 {
                    event = event.with_id(["", "1", " 2"][random.below(3)]).unwrap();
                }
                if random.below(4) == 0 {
                    event = event.with_retry(Duration::from_millis(random.next() >> 20));
                }
                writer.send(&event).unwrap();
                if random.below(3) == 0 {
                    writer.comment("between").unwrap();
                }
                expected.push(event);
            }
            let largest = 1 + random.below(30);
            let input = Chopped::randomly(&stream, random.next(), largest);
            let got: Vec<_> = EventReader::new(input).map(|event| event.unwrap()).collect();
            assert_eq!(got, expected);
        }
    }
}
