//! What must not be seen: text that is wiped when it is dropped, shown by no `Debug`, and
//! compared in a time that does not depend on it.
//!
//! This file knows nothing of HTTP.

use std::fmt;
use std::hint::black_box;

use zeroize::Zeroizing;

/// Text that is overwritten when it is dropped or replaced, and that `Debug` does not show.
#[derive(Clone, Default)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A user's name and password.
#[derive(Clone, Debug, Default)]
pub(crate) struct Login {
    pub(crate) username: Secret,
    pub(crate) password: Secret,
}

impl Login {
    pub(crate) fn new(username: impl Into<String>, password: impl Into<String>) -> Login {
        Login { username: Secret::new(username), password: Secret::new(password) }
    }

    /// `user:password`, split at the first colon. Without a colon, all of it is the name.
    pub(crate) fn split(text: &str) -> Login {
        let (username, password) = text.split_once(':').unwrap_or((text, ""));
        Login::new(username, password)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.username.is_empty() && self.password.is_empty()
    }
}

/// Whether two texts are the same, in a time that depends on the length of `given` alone:
/// neither the place of the first difference nor the length of the secret can be measured.
pub(crate) fn constant_time_eq(secret: &[u8], given: &[u8]) -> bool {
    // An empty secret is compared with something, so that the loop is the same for it.
    let stand_in = [0];
    let against = if secret.is_empty() { &stand_in[..] } else { secret };
    let mut difference = secret.len() ^ given.len();
    let mut at = 0;
    for &byte in given {
        difference |= usize::from(black_box(against[at] ^ byte));
        at += 1;
        at *= usize::from(black_box(at < against.len()));
    }
    black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let login = Login::new("alice", "wonder");
        let shown = format!("{login:?} {:?}", login.password);
        assert!(!shown.contains("alice") && !shown.contains("wonder"), "{shown}");
    }

    #[test]
    fn only_the_same_text_is_equal() {
        let texts: [&[u8]; 9] = [b"", b"\0", b"\0\0", b"a", b"ab", b"abab", b"b", b"ba", b"abababab"];
        for secret in texts {
            for given in texts {
                assert_eq!(constant_time_eq(secret, given), secret == given, "{secret:?} {given:?}");
            }
        }
    }

    #[test]
    fn a_login_is_split_at_the_first_colon() {
        for (text, username, password) in
            [("", "", ""), ("a", "a", ""), ("a:", "a", ""), (":b", "", "b"), ("a:b:c", "a", "b:c")]
        {
            let login = Login::split(text);
            assert_eq!((login.username.as_str(), login.password.as_str()), (username, password));
        }
    }
}
