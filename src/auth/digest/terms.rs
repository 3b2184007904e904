//! What a challenge of the Digest scheme says (RFC 7616, section 3.3), and which of several is
//! the strongest.

use super::SCHEME;
use super::algorithm::{DigestAlgorithm, Strength};
use super::compute::Qop;
use crate::auth::challenge::Challenge;
use crate::auth::params::AuthenticationParams;
use crate::message::field;
use crate::{Error, Result};

/// The strongest Digest challenge that can be answered; of equals the first.
pub(crate) fn best(challenges: &[Challenge]) -> Option<&Challenge> {
    let mut best: Option<(&Challenge, Strength)> = None;
    for challenge in challenges.iter().filter(|challenge| challenge.is(SCHEME)) {
        let Ok(terms) = Terms::read(challenge.params()) else {
            continue;
        };
        let strength = terms.algorithm.strength();
        if best.is_none_or(|(_, known)| strength > known) {
            best = Some((challenge, strength));
        }
    }
    best.map(|(challenge, _)| challenge)
}

/// What a challenge says (RFC 7616, 3.3).
#[derive(PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) algorithm: DigestAlgorithm,
    /// The algorithm's name, if the server gave one, as it spelled it.
    pub(super) algorithm_name: Option<String>,
    pub(super) realm: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    pub(super) opaque: Option<Vec<u8>>,
    /// Empty means the form of RFC 2069.
    pub(super) qop: Vec<Qop>,
    pub(super) userhash: bool,
}

impl Terms {
    pub(super) fn read(challenge: &AuthenticationParams) -> Result<Terms> {
        let (Some(realm), Some(nonce)) = (challenge.get_bytes("realm"), challenge.get_bytes("nonce")) else {
            return Err(Error::malformed("a Digest challenge without realm or nonce"));
        };
        let algorithm_name = challenge.get("algorithm").map(str::to_owned);
        let algorithm = match &algorithm_name {
            Some(name) => name.parse()?,
            None if challenge.has("algorithm") => {
                return Err(Error::malformed("an algorithm that is not a token"));
            }
            None => DigestAlgorithm::Md5,
        };
        let qop: Vec<Qop> = field::elements(challenge.get_bytes("qop").unwrap_or_default())
            .filter_map(Qop::parse)
            .take(2)
            .collect();
        if qop.is_empty() && challenge.has("qop") {
            return Err(Error::unsupported("no quality of protection that is known"));
        }
        Ok(Terms {
            algorithm,
            algorithm_name,
            realm: realm.to_owned(),
            nonce: nonce.to_owned(),
            opaque: challenge.get_bytes("opaque").map(<[u8]>::to_owned),
            qop,
            userhash: challenge.get("userhash").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }

    pub(super) fn offers(&self, qop: Qop) -> bool {
        self.qop.contains(&qop)
    }
}

/// The URIs of `domain`, between blanks.
pub(super) fn domain(challenge: &AuthenticationParams) -> Vec<String> {
    challenge.get("domain").unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn chosen(value: &str) -> Option<String> {
        let challenges = Challenge::parse(value).unwrap();
        best(&challenges).map(|challenge| challenge.params().get("nonce").unwrap().to_owned())
    }

    fn read(params: &str) -> Result<Terms> {
        Terms::read(&AuthenticationParams::from_auth_info(params).unwrap())
    }

    #[test]
    fn the_strongest_challenge_is_chosen_and_of_equals_the_first() {
        let with =
            |nonce: u8, algorithm: &str| format!("Digest realm=r, nonce={nonce}, algorithm={algorithm}");
        let all = |algorithms: &[&str]| {
            let each: Vec<_> =
                (1..).zip(algorithms).map(|(nonce, algorithm)| with(nonce, algorithm)).collect();
            chosen(&each.join(", "))
        };
        assert_eq!(all(&["MD5", "SHA-256", "SHA-512-256"]).as_deref(), Some("3"));
        assert_eq!(all(&["SHA-512-256-sess", "SHA-512-256", "MD5"]).as_deref(), Some("1"));
        assert_eq!(all(&["SHA-1", "md5", "SHA-512", "\"MD5\""]).as_deref(), Some("2"));
        assert_eq!(all(&["SHA-1"]), None);
        assert_eq!(chosen("Basic nonce=1, realm=r"), None);
    }

    #[test]
    fn what_a_challenge_does_not_say_has_its_default() {
        let terms = read("realm=r, nonce=n").unwrap();
        assert_eq!((terms.algorithm, terms.algorithm_name), (DigestAlgorithm::Md5, None));
        assert!(terms.qop.is_empty() && !terms.userhash && terms.opaque.is_none());
    }

    #[test]
    fn the_protections_are_a_list() {
        let qop = |value: &str| read(&format!("realm=r, nonce=n, qop=\"{value}\"")).map(|terms| terms.qop);
        assert_eq!(qop("auth").unwrap(), [Qop::Auth]);
        assert_eq!(qop(" AUTH-int ,, x, auth").unwrap(), [Qop::AuthInt, Qop::Auth]);
        assert_eq!(qop("auth-conf").unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn an_algorithm_that_is_no_text_is_malformed() {
        let params = AuthenticationParams::parse(b"realm=r, nonce=n, algorithm=\"\xff\"").unwrap();
        assert_eq!(Terms::read(&params).err().unwrap().kind(), ErrorKind::Malformed);
    }
}
