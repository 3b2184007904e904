//! What stands on sessions: user sessions, forms, multipart bodies, event streams.

pub(crate) mod multipart;

pub use multipart::{
    BytesPart, ContentDisposition, FilePart, MultipartLimits, MultipartReader, MultipartWriter, Part,
    PartSource, ReaderPart, create_boundary,
};
