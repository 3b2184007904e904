//! Multipart bodies (RFC 2046, section 5.1; RFC 7578): reading and writing them as streams.
//!
//! Owns boundaries, the headers of parts and what a form says in `Content-Disposition`;
//! knows nothing of sessions, sockets and requests: a reader stands on any [`BufRead`], a
//! writer on any [`Write`].
//!
//! [`BufRead`]: std::io::BufRead
//! [`Write`]: std::io::Write

mod boundary;
mod disposition;
mod reader;
mod scanner;
mod source;
#[cfg(test)]
pub(crate) mod testing;
mod writer;

pub use boundary::create_boundary;
pub use disposition::ContentDisposition;
pub use reader::{MultipartLimits, MultipartReader, Part};
pub use source::{BytesPart, FilePart, PartSource, ReaderPart};
pub use writer::MultipartWriter;
