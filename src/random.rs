//! Random bytes from the operating system: what secrets, ids and masks are made of.

use crate::{Error, ErrorKind, Result};

/// Fills the buffer with bytes that nobody can foretell.
pub(crate) fn fill(buffer: &mut [u8]) -> Result<()> {
    getrandom::fill(buffer).map_err(|error| {
        Error::new(ErrorKind::Io, "the operating system gave no random bytes").with_source(error.to_string())
    })
}
