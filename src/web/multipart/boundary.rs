//! What a boundary is (RFC 2046, section 5.1.1), and new ones.

use crate::{Error, ErrorKind, Result, random};

/// A new boundary that no content will hold: 128 bits from the operating system behind a
/// readable name.
///
/// ```
/// let boundary = sessile::web::create_boundary()?;
/// assert!(boundary.starts_with("MIME_boundary_"));
/// assert_ne!(boundary, sessile::web::create_boundary()?);
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "createBoundary")]
pub fn create_boundary() -> Result<String> {
    let mut bits = [0; 16];
    random::fill(&mut bits)?;
    let mut boundary = String::with_capacity(PREFIX.len() + 2 * bits.len());
    boundary.push_str(PREFIX);
    for byte in bits {
        boundary.push(char::from(HEX[usize::from(byte >> 4)]));
        boundary.push(char::from(HEX[usize::from(byte & 15)]));
    }
    Ok(boundary)
}

/// Whether this can be a boundary: 1 to 70 of the characters that RFC 2046 allows, the last
/// one not a blank.
pub(super) fn is_boundary(text: &[u8]) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.iter().all(|&b| is_bchar(b)) && !text.ends_with(b" ")
}

/// As [`is_boundary`], with the error that says what is wrong.
pub(super) fn check_boundary(text: &str) -> Result<()> {
    if is_boundary(text.as_bytes()) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Form,
        "a boundary has 1 to 70 letters, digits, blanks (not last) and '()+_,-./:=?",
    ))
}

fn is_bchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte)
}

const PREFIX: &str = "MIME_boundary_";
const HEX: &[u8; 16] = b"0123456789abcdef";
pub(super) const LONGEST: usize = 70;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_has_1_to_70_characters_of_a_known_set() {
        for good in ["b", "-", "----WebKitFormBoundaryABC", "a b", "'()+_,-./:=?", &"x".repeat(70)] {
            assert!(check_boundary(good).is_ok(), "{good:?}");
        }
        for bad in ["", " ", "a ", "a\r\n", "a\"b", "a;b", "ä", "a\0", "a*b", &"x".repeat(71)] {
            assert_eq!(check_boundary(bad).unwrap_err().kind(), ErrorKind::Form, "{bad:?}");
        }
    }

    #[test]
    fn a_new_boundary_is_a_boundary_and_new() {
        let first = create_boundary().unwrap();
        assert!(is_boundary(first.as_bytes()));
        assert_ne!(first, create_boundary().unwrap());
    }
}
