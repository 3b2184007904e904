//! Writing events: each in one write, flushed at once.

use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use super::{Event, MEDIA_TYPE};
use crate::Result;
use crate::message::Response;

/// Makes a response one that carries events: sets its `Content-Type`, and keeps caches and
/// proxies from holding events back.
///
/// ```
/// use sessile::message::Response;
///
/// let mut response = Response::new();
/// sessile::web::prepare_event_stream(&mut response);
/// assert_eq!(response.content_type(), Some("text/event-stream"));
/// ```
pub fn prepare_event_stream(response: &mut Response) {
    response.set_content_type(MEDIA_TYPE);
    response.headers_mut().set_unchecked("Cache-Control", b"no-store");
    // nginx, and what was made to work behind it.
    response.headers_mut().set_unchecked("X-Accel-Buffering", b"no");
}

/// Writes events to a response's content, or to anything else.
///
/// Every call writes once and flushes. That the client is gone shows as an error of such a
/// call, sooner or later: a [`heartbeat`](EventWriter::heartbeat) now and then finds it out
/// where there is nothing to send, and keeps proxies from thinking that the stream is dead.
///
/// ```
/// use sessile::web::{Event, EventWriter};
///
/// let mut stream = Vec::new();
/// let mut events = EventWriter::new(&mut stream);
/// events.send(&Event::new("two\nlines").with_name("note")?)?;
/// events.send_data("hello")?;
/// events.heartbeat()?;
/// assert_eq!(stream, b"event: note\ndata: two\ndata: lines\n\ndata: hello\n\n:\n\n");
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug)]
pub struct EventWriter<W> {
    out: W,
    text: String,
}

impl<W: Write> EventWriter<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> EventWriter<W> {
        EventWriter { out, text: String::new() }
    }

    /// Sends an event.
    pub fn send(&mut self, event: &Event) -> Result<()> {
        self.field("event", event.name.as_deref());
        self.field("id", event.id.as_deref());
        if let Some(retry) = event.retry {
            self.retry(retry);
        }
        self.data(&event.data);
        self.finish()
    }

    /// Sends an event that is nothing but data.
    pub fn send_data(&mut self, data: &str) -> Result<()> {
        self.data(data);
        self.finish()
    }

    /// Says after how long a client that lost the connection is to come back.
    pub fn send_retry(&mut self, retry: Duration) -> Result<()> {
        self.retry(retry);
        self.finish()
    }

    /// Sends text that clients pass over.
    pub fn comment(&mut self, text: &str) -> Result<()> {
        for line in lines(text) {
            self.line("", line);
        }
        self.finish()
    }

    /// Sends an empty comment, to see whether the client is still there.
    pub fn heartbeat(&mut self) -> Result<()> {
        self.comment("")
    }

    /// What the events are written to.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn data(&mut self, data: &str) {
        for line in lines(data) {
            self.line("data", line);
        }
    }

    fn field(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.line(name, value);
        }
    }

    fn retry(&mut self, retry: Duration) {
        // Writing to a `String` does not fail.
        let _ = writeln!(self.text, "retry: {}", retry.as_millis());
    }

    fn line(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        self.text.push(':');
        if !value.is_empty() {
            self.text.push(' ');
            self.text.push_str(value);
        }
        self.text.push('\n');
    }

    /// The empty line, and off it goes.
    fn finish(&mut self) -> Result<()> {
        self.text.push('\n');
        let result = self.out.write_all(self.text.as_bytes());
        self.text.clear();
        result?;
        self.out.flush()?;
        Ok(())
    }
}

/// The lines of a text, at every end of line that a reader would see; at least one.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else {
            rest = None;
            return Some(text);
        };
        let behind = &text[end..];
        rest = Some(behind.strip_prefix("\r\n").unwrap_or(&behind[1..]));
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(send: impl Fn(&mut EventWriter<&mut Vec<u8>>) -> Result<()>) -> String {
        let mut out = Vec::new();
        send(&mut EventWriter::new(&mut out)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_of_data_is_a_line_of_its_own() {
        let data = |text: &'static str| written(move |events| events.send_data(text));
        assert_eq!(data("one"), "data: one\n\n");
        assert_eq!(data(""), "data:\n\n");
        assert_eq!(
            data("a\nb\rc\r\nd\n\re\n"),
            "data: a\ndata: b\ndata: c\ndata: d\ndata:\ndata: e\ndata:\n\n"
        );
        assert_eq!(data(" a: b"), "data:  a: b\n\n");
    }

    #[test]
    fn an_event_has_its_fields_before_its_data() {
        let event = Event::new("d").with_name("n").unwrap().with_id("").unwrap();
        let event = event.with_retry(Duration::from_millis(1500));
        assert_eq!(written(|events| events.send(&event)), "event: n\nid:\nretry: 1500\ndata: d\n\n");
        assert_eq!(written(|events| events.send_retry(Duration::from_secs(2))), "retry: 2000\n\n");
    }

    #[test]
    fn a_comment_can_smuggle_nothing() {
        assert_eq!(written(|events| events.comment("a\ndata: b\rc")), ": a\n: data: b\n: c\n\n");
    }

    #[test]
    fn every_event_is_one_write_and_one_flush() {
        struct Calls(Vec<&'static str>);
        impl Write for Calls {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.push("write");
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                self.0.push("flush");
                Ok(())
            }
        }
        let mut events = EventWriter::new(Calls(Vec::new()));
        events.send(&Event::new("a\nb").with_id("1").unwrap()).unwrap();
        events.heartbeat().unwrap();
        assert_eq!(events.into_inner().0, ["write", "flush", "write", "flush"]);
    }

    #[test]
    fn what_failed_is_not_sent_again() {
        struct Once(bool, Vec<u8>);
        impl Write for Once {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                if std::mem::take(&mut self.0) {
                    return Err(std::io::ErrorKind::BrokenPipe.into());
                }
                self.1.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut events = EventWriter::new(Once(true, Vec::new()));
        assert!(events.send_data("lost").is_err());
        events.send_data("next").unwrap();
        assert_eq!(events.into_inner().1, b"data: next\n\n");
    }
}
