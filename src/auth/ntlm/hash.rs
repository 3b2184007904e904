//! The hashes of NTLM version 2 (MS-NLMP, section 3.3.2).
//!
//! Pure functions; results are wiped when they are dropped, since with them one can log in as
//! well as with the password.

use hmac::{Hmac, Mac};
use md4::{Digest, Md4};
use md5::Md5;
use zeroize::Zeroizing;

/// A hash that serves as a key.
pub(super) type Key = Zeroizing<[u8; 16]>;

/// NTOWFv1: the hash of the password that Windows keeps.
pub(super) fn password_hash(password: &str) -> Key {
    Zeroizing::new(Md4::digest(&utf16(password)[..]).into())
}

/// NTOWFv2: the key of a user in a domain.
pub(super) fn user_key(username: &str, domain: &str, password: &str) -> Key {
    let mut name = utf16(&uppercase(username));
    let domain = utf16(domain);
    name.extend_from_slice(&domain);
    hmac(&password_hash(password)[..], &[&name])
}

/// The LMv2 response: the proof over both challenges, and the client's challenge.
pub(super) fn lm_response(key: &Key, server_challenge: [u8; 8], client_challenge: [u8; 8]) -> Vec<u8> {
    let mut response = hmac(&key[..], &[&server_challenge, &client_challenge]).to_vec();
    response.extend_from_slice(&client_challenge);
    response
}

/// The NTLMv2 response: the proof over the server's challenge and the rest of the response,
/// which is time, client challenge and what the server said of itself.
pub(super) fn nt_response(
    key: &Key,
    server_challenge: [u8; 8],
    client_challenge: [u8; 8],
    time: u64,
    target_info: &[u8],
) -> Vec<u8> {
    let mut rest = Vec::with_capacity(32 + target_info.len());
    rest.extend_from_slice(&[1, 1, 0, 0, 0, 0, 0, 0]);
    rest.extend_from_slice(&time.to_le_bytes());
    rest.extend_from_slice(&client_challenge);
    rest.extend_from_slice(&[0; 4]);
    rest.extend_from_slice(target_info);
    rest.extend_from_slice(&[0; 4]);
    let mut response = hmac(&key[..], &[&server_challenge, &rest]).to_vec();
    response.append(&mut rest);
    response
}

/// Text in UTF-16, little-endian, allocated once.
pub(super) fn utf16(text: &str) -> Zeroizing<Vec<u8>> {
    // No character takes more than twice its bytes in UTF-8.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() * 2));
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes
}

/// In capitals as Windows makes them: character by character, so that `ß` stays.
fn uppercase(text: &str) -> Zeroizing<String> {
    let capital = |letter: char| {
        let mut capitals = letter.to_uppercase();
        match (capitals.next(), capitals.next()) {
            (Some(capital), None) => capital,
            _ => letter,
        }
    };
    // No capital takes more than twice the bytes of its letter.
    let mut capitals = Zeroizing::new(String::with_capacity(text.len() * 2));
    capitals.extend(text.chars().map(capital));
    capitals
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
    const CLIENT: [u8; 8] = [0xaa; 8];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_keys_are_those_of_the_specification() {
        // MS-NLMP, 4.2.2.1.2 and 4.2.4.1.1.
        assert_eq!(hex(&password_hash("Password")[..]), "a4f49c406510bdcab6824ee7c30fd852");
        assert_eq!(hex(&user_key("User", "Domain", "Password")[..]), "0c868a403bfd7a93a3001ef22ef02e3f");
    }

    #[test]
    fn the_lm_response_is_that_of_the_specification() {
        // MS-NLMP, 4.2.4.2.1.
        let key = user_key("User", "Domain", "Password");
        assert_eq!(
            hex(&lm_response(&key, SERVER, CLIENT)),
            "86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa"
        );
    }

    #[test]
    fn the_nt_response_is_that_of_the_specification() {
        // MS-NLMP, 4.2.4.1.3 and 4.2.4.2.2.
        let key = user_key("User", "Domain", "Password");
        let info = b"\x02\0\x0c\0D\0o\0m\0a\0i\0n\0\x01\0\x0c\0S\0e\0r\0v\0e\0r\0\0\0\0\0";
        let response = nt_response(&key, SERVER, CLIENT, 0, info);
        assert_eq!(hex(&response[..16]), "68cd0ab851e51c96aabc927bebef6a1c");
        assert_eq!(hex(&response[16..44]), "01010000000000000000000000000000aaaaaaaaaaaaaaaa00000000");
        assert_eq!(&response[44..], [&info[..], &[0; 4]].concat());
    }

    #[test]
    fn the_name_counts_in_capitals_and_the_domain_as_it_is() {
        let key = |username, domain| user_key(username, domain, "x");
        assert_eq!(key("user", "d"), key("USER", "d"));
        assert_ne!(key("user", "d"), key("user", "D"));
        assert_eq!(*uppercase("straße é ǆ"), "STRAßE É Ǆ");
    }

    #[test]
    fn text_goes_in_units_of_16_bits() {
        assert_eq!(&utf16("aé😀")[..], b"a\0\xe9\0\x3d\xd8\0\xde");
    }
}
