//! What stands on sessions: user sessions, forms, multipart bodies, event streams.

mod form;
pub(crate) mod multipart;

pub use form::{MultipartForm, PartHandler};
pub use multipart::{
    BytesPart, ContentDisposition, FilePart, MultipartLimits, MultipartReader, MultipartWriter, Part,
    PartSource, ReaderPart, create_boundary,
};
