//! Server-sent events (WHATWG HTML, section 9.2, "Server-sent events"): what an event is.
//!
//! How events are written and read is the format alone, over anything; `source` asks for them
//! again when the connection is lost.

mod reader;
mod source;
mod writer;

use std::time::Duration;

pub use reader::EventReader;
pub use source::EventSource;
pub use writer::{EventWriter, prepare_event_stream};

use crate::{Error, Result};

/// One event: its data, and what may come with it.
///
/// ```
/// use sessile::web::Event;
///
/// let event = Event::new("42 degrees").with_name("temperature")?.with_id("1007")?;
/// assert_eq!(event.name(), "temperature");
/// assert_eq!(Event::new("").name(), "message");
/// assert!(Event::new("").with_id("two\nlines").is_err());
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    data: String,
    name: Option<String>,
    id: Option<String>,
    retry: Option<Duration>,
}

impl Event {
    /// An event of the default name. Each end of line in the data arrives as one LF.
    pub fn new(data: impl Into<String>) -> Event {
        Event { data: data.into(), ..Event::default() }
    }

    /// Sets the name, by which scripts listen. It is one line.
    pub fn with_name(mut self, name: impl Into<String>) -> Result<Event> {
        self.name = Some(one_line(name.into())?);
        Ok(self)
    }

    /// Sets the id. A client that comes back sends the last one as `Last-Event-ID`. It is
    /// one line without NUL, and may be empty: that forgets the last one.
    pub fn with_id(mut self, id: impl Into<String>) -> Result<Event> {
        let id = one_line(id.into())?;
        if id.contains('\0') {
            return Err(Error::invalid_argument("the id of an event holds no NUL"));
        }
        self.id = Some(id);
        Ok(self)
    }

    /// Says after how long a client that lost the connection is to come back. It is counted
    /// in whole milliseconds.
    #[must_use]
    pub fn with_retry(mut self, retry: Duration) -> Event {
        self.retry = Some(retry);
        self
    }

    /// The data.
    pub fn data(&self) -> &str {
        &self.data
    }

    /// The name; `message` if none was set.
    pub fn name(&self) -> &str {
        match self.name.as_deref() {
            None | Some("") => "message",
            Some(name) => name,
        }
    }

    /// The id that came with this event.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The delay that came with this event.
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The data alone.
    pub fn into_data(self) -> String {
        self.data
    }
}

fn one_line(text: String) -> Result<String> {
    if text.contains(['\r', '\n']) {
        return Err(Error::invalid_argument("the name and the id of an event are one line each"));
    }
    Ok(text)
}

/// `Content-Type` of a stream of events.
pub(crate) const MEDIA_TYPE: &str = "text/event-stream";
