//! The syntax and framing of HTTP/1.1 (RFC 9112), without any I/O.
//!
//! From bytes to meaning and back, for both roles: [`HeadScanner`] finds the end of a head,
//! [`parse_request`] and [`parse_response`] read it, [`request_framing`] and
//! [`response_framing`] say where its content ends, [`Decoder`] finds that in what comes
//! next. [`write_request_head`], [`write_response_head`], [`Encoder`], [`ChunkHead`] and
//! [`write_last_chunk`] are the way out. [`CloseReason`] says why a connection can't be used
//! again.
//!
//! Nothing here reads, writes, waits, or looks at a clock. The grammar is taken strictly:
//! what could be read in two ways is an error.
//!
//! ```
//! use sessile::message::{HeaderMap, Request};
//! use sessile::proto::{Decoder, HeadKind, HeadScanner, Limits, parse_request, request_framing};
//!
//! let buffer = b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello";
//! let limits = Limits::default();
//! let mut request = Request::default();
//!
//! let head = HeadScanner::new(HeadKind::Request).find_end(buffer, &limits)?.expect("it is whole");
//! parse_request(&buffer[head.start..head.end], &limits, &mut request)?;
//! let mut decoder = Decoder::new(request_framing(&request)?);
//!
//! let content = &buffer[head.end..];
//! let step = decoder.step(content, &limits, &mut HeaderMap::new())?;
//! assert_eq!(&content[step.skip..][..step.data], b"hello");
//! # Ok::<(), sessile::Error>(())
//! ```

mod chunked;
mod decoder;
mod encoder;
mod framing;
mod head;
mod lifecycle;
mod limits;
mod parse;
mod scan;
mod target;

pub(crate) use chunked::is_only_chunked;
pub use chunked::{ChunkHead, is_trailer_field, write_last_chunk};
pub use decoder::{Decoder, Step};
pub use encoder::Encoder;
pub use framing::{Framing, request_framing, response_framing};
pub use head::{
    end_head, write_all_fields, write_content_length, write_field, write_fields, write_number_field,
    write_request_head, write_request_line, write_response_head, write_status_line,
};
pub use lifecycle::{CloseReason, close_after_request, close_after_response};
pub use limits::Limits;
pub use parse::{parse_request, parse_response, parse_trailers, read_request, read_response};
pub use scan::{Head, HeadKind, HeadScanner};
pub(crate) use target::is_host;

#[cfg(test)]
mod tests;
