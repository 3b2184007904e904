//! The formulas of Digest (RFC 7616, section 3.4), the same for client and server.

use zeroize::Zeroizing;

use super::algorithm::{ContentHash, DigestAlgorithm};

/// The quality of protection (RFC 7616, 3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Qop {
    /// The request line is protected.
    Auth,
    /// The content is as well.
    AuthInt,
}

impl Qop {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Qop::Auth => "auth",
            Qop::AuthInt => "auth-int",
        }
    }

    pub(super) fn parse(name: &[u8]) -> Option<Qop> {
        [Qop::Auth, Qop::AuthInt].into_iter().find(|qop| name.eq_ignore_ascii_case(qop.as_str().as_bytes()))
    }
}

/// What is hashed along with the password.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'a> {
    pub(super) algorithm: DigestAlgorithm,
    pub(super) nonce: &'a [u8],
    pub(super) cnonce: &'a [u8],
    /// Eight hexadecimal digits, as they were sent.
    pub(super) nc: &'a [u8],
    /// `None` is the form of RFC 2069, with the challenge's own algorithm.
    pub(super) qop: Option<Qop>,
    /// Empty for a response: see [`Exchange::of_response`].
    pub(super) method: &'a str,
    pub(super) uri: &'a [u8],
    /// Looked at for `auth-int` only.
    pub(super) content: Option<&'a ContentHash>,
}

impl<'a> Exchange<'a> {
    /// The value of `response`, or of `rspauth` (RFC 7616, 3.4.1 and 3.5).
    pub(super) fn response(&self, key: &str) -> Zeroizing<String> {
        let a2 = self.a2();
        match self.qop {
            Some(qop) => self.algorithm.hash(&[
                key.as_bytes(),
                self.nonce,
                self.nc,
                self.cnonce,
                qop.as_str().as_bytes(),
                a2.as_bytes(),
            ]),
            None => self.algorithm.hash(&[key.as_bytes(), self.nonce, a2.as_bytes()]),
        }
    }

    /// H(A2) (RFC 7616, 3.4.3).
    fn a2(&self) -> Zeroizing<String> {
        if self.qop != Some(Qop::AuthInt) {
            return self.algorithm.hash(&[self.method.as_bytes(), self.uri]);
        }
        let empty = self.algorithm.hash_content(b"");
        let content = self.content.unwrap_or(&empty);
        self.algorithm.hash(&[self.method.as_bytes(), self.uri, content.as_bytes()])
    }

    /// The same exchange in the other direction: what the server hashes into `rspauth`.
    pub(super) fn of_response(self, qop: Option<Qop>, content: Option<&'a ContentHash>) -> Exchange<'a> {
        Exchange { method: "", qop, content, ..self }
    }
}

/// H(user:realm:password): what a server keeps instead of the password.
pub(super) fn user_key(
    algorithm: DigestAlgorithm,
    username: &str,
    realm: &[u8],
    password: &str,
) -> Zeroizing<String> {
    algorithm.hash(&[username.as_bytes(), realm, password.as_bytes()])
}

/// H(A1) (RFC 7616, 3.4.2), of what [`user_key`] gave.
pub(super) fn a1(
    algorithm: DigestAlgorithm,
    user_key: Zeroizing<String>,
    nonce: &[u8],
    cnonce: &[u8],
) -> Zeroizing<String> {
    if algorithm.is_session() { algorithm.hash(&[user_key.as_bytes(), nonce, cnonce]) } else { user_key }
}

/// H(user:realm): what stands for the name where it is not to be seen (RFC 7616, 3.4.4).
pub(super) fn userhash(algorithm: DigestAlgorithm, username: &str, realm: &[u8]) -> Zeroizing<String> {
    algorithm.hash(&[username.as_bytes(), realm])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2617, 3.5, which RFC 7616 keeps with other values; the form without qop is that of
    /// RFC 2069, with the figures of its erratum.
    #[test]
    fn the_older_examples_come_out() {
        let exchange = Exchange {
            algorithm: DigestAlgorithm::Md5,
            nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
            cnonce: b"0a4f113b",
            nc: b"00000001",
            qop: Some(Qop::Auth),
            method: "GET",
            uri: b"/dir/index.html",
            content: None,
        };
        let key = user_key(DigestAlgorithm::Md5, "Mufasa", b"testrealm@host.com", "Circle Of Life");
        assert_eq!(*exchange.response(&key), "6629fae49393a05397450978507c4ef1");

        let key = user_key(DigestAlgorithm::Md5, "Mufasa", b"testrealm@host.com", "CircleOfLife");
        assert_eq!(*Exchange { qop: None, ..exchange }.response(&key), "1949323746fe6a43ef61f9606e7febea");
    }

    #[test]
    fn the_content_counts_for_auth_int_only() {
        let content = DigestAlgorithm::Md5.hash_content(b"x");
        let with = |qop, content| {
            let exchange = Exchange {
                algorithm: DigestAlgorithm::Md5,
                nonce: b"n",
                cnonce: b"c",
                nc: b"00000001",
                qop: Some(qop),
                method: "GET",
                uri: b"/",
                content,
            };
            exchange.response("key").to_string()
        };
        assert_eq!(with(Qop::Auth, Some(&content)), with(Qop::Auth, None));
        assert_ne!(with(Qop::AuthInt, Some(&content)), with(Qop::AuthInt, None));
        let empty = DigestAlgorithm::Md5.hash_content(b"");
        assert_eq!(with(Qop::AuthInt, Some(&empty)), with(Qop::AuthInt, None));
    }
}
