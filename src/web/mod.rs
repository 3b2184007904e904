//! What stands on sessions: user sessions, forms, multipart bodies, event streams.

mod event_stream;
mod form;
pub(crate) mod multipart;

pub use event_stream::{Event, EventReader, EventWriter, prepare_event_stream};
pub use form::{MultipartForm, PartHandler};
pub use multipart::{
    BytesPart, ContentDisposition, FilePart, MultipartLimits, MultipartReader, MultipartWriter, Part,
    PartSource, ReaderPart, create_boundary,
};
