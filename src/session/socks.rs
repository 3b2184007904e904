//! The client's side of SOCKS 5 (RFC 1928), with user name and password (RFC 1929).
//!
//! Speaks on a stream that is connected to the proxy, and leaves it connected to the target.
//! Every message has a known length, so nothing is read that belongs to the target.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};

use zeroize::Zeroizing;

use crate::net::{Limit, Stream};
use crate::{Error, ErrorKind, Phase, Result};

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const PASSWORD: u8 = 2;
const CONNECT: u8 = 1;

/// What the proxy is asked to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target<'a> {
    Address(SocketAddr),
    /// A name that the proxy resolves.
    Name(&'a str, u16),
}

/// Has the proxy connect to the target.
pub(super) fn connect(
    stream: &mut Stream,
    target: Target<'_>,
    login: Option<(&str, &str)>,
    limit: &Limit,
) -> Result<()> {
    handshake(stream, target, login, limit).map_err(|error| error.with_phase(Phase::Proxy))
}

fn handshake(
    stream: &mut Stream,
    target: Target<'_>,
    login: Option<(&str, &str)>,
    limit: &Limit,
) -> Result<()> {
    let greeting: &[u8] = match login {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    say(stream, greeting, limit)?;
    match (hear::<2>(stream, limit)?, login) {
        ([VERSION, NO_AUTHENTICATION], _) => {}
        ([VERSION, PASSWORD], Some((username, password))) => authenticate(stream, username, password, limit)?,
        ([VERSION, _], None) => return Err(refused("it wants a user name and password")),
        ([VERSION, _], Some(_)) => {
            return Err(refused("it offers no way to authenticate that is known here"));
        }
        _ => return Err(Error::new(ErrorKind::Proxy, "the proxy does not speak SOCKS 5")),
    }
    say(stream, &request(target)?, limit)?;
    match hear::<4>(stream, limit)? {
        // The address that the proxy connected from follows; nobody needs it.
        [VERSION, 0, 0, 1] => hear::<6>(stream, limit).map(drop),
        [VERSION, 0, 0, 4] => hear::<18>(stream, limit).map(drop),
        [VERSION, 0, 0, 3] => {
            let [length] = hear::<1>(stream, limit)?;
            for _ in 0..usize::from(length) + 2 {
                hear::<1>(stream, limit)?;
            }
            Ok(())
        }
        [VERSION, code, ..] if code != 0 => Err(refused(reason(code))),
        _ => Err(Error::new(ErrorKind::Proxy, "the proxy's answer is not one of SOCKS 5")),
    }
}

fn authenticate(stream: &mut Stream, username: &str, password: &str, limit: &Limit) -> Result<()> {
    let too_long = || Error::invalid_argument("SOCKS takes user names and passwords of 1 to 255 bytes");
    let mut message = Zeroizing::new(vec![1]);
    for text in [username, password] {
        let length = u8::try_from(text.len()).ok().filter(|&n| n > 0).ok_or_else(too_long)?;
        message.push(length);
        message.extend_from_slice(text.as_bytes());
    }
    say(stream, &message, limit)?;
    match hear::<2>(stream, limit)? {
        [_, 0] => Ok(()),
        _ => Err(refused("it knows no such user name and password")),
    }
}

fn request(target: Target<'_>) -> Result<Vec<u8>> {
    let mut message = vec![VERSION, CONNECT, 0];
    let port = match target {
        Target::Address(address) => {
            match address.ip() {
                IpAddr::V4(ip) => {
                    message.push(1);
                    message.extend_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    message.push(4);
                    message.extend_from_slice(&ip.octets());
                }
            }
            address.port()
        }
        Target::Name(name, port) => {
            let length = u8::try_from(name.len())
                .map_err(|_| Error::invalid_argument("SOCKS takes host names of up to 255 bytes"))?;
            message.extend_from_slice(&[3, length]);
            message.extend_from_slice(name.as_bytes());
            port
        }
    };
    message.extend_from_slice(&port.to_be_bytes());
    Ok(message)
}

/// What the codes of section 6 mean.
fn reason(code: u8) -> &'static str {
    match code {
        1 => "general failure",
        2 => "its rules forbid the connection",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "it took too long",
        7 => "it does not know the command",
        8 => "it does not know this kind of address",
        _ => "for a reason that is not known",
    }
}

fn refused(why: &str) -> Error {
    Error::new(ErrorKind::Proxy, format!("the SOCKS proxy refused: {why}"))
}

fn say(stream: &mut Stream, mut message: &[u8], limit: &Limit) -> Result<()> {
    while !message.is_empty() {
        let n = stream.write_vectored(&[IoSlice::new(message)], limit)?;
        message = &message[n..];
    }
    Ok(())
}

fn hear<const N: usize>(stream: &mut Stream, limit: &Limit) -> Result<[u8; N]> {
    let mut message = [0; N];
    let mut at = 0;
    while at < N {
        match stream.read(&mut message[at..], limit)? {
            0 => return Err(Error::new(ErrorKind::Proxy, "the SOCKS proxy closed the connection")),
            n => at += n,
        }
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::pair;
    use std::io::{Read, Write};
    use std::time::Duration;

    /// Runs the handshake against a proxy that says these bytes; what it was told.
    fn against(
        says: &[u8],
        target: Target<'_>,
        login: Option<(&str, &str)>,
    ) -> (Result<()>, Vec<u8>, Vec<u8>) {
        let (near, mut far) = pair();
        far.write_all(says).unwrap();
        far.write_all(b"behind").unwrap();
        let mut stream = Stream::custom(near);
        let limit = Limit::stall(Duration::from_secs(5));
        let result = connect(&mut stream, target, login, &limit);
        let mut rest = Vec::new();
        if result.is_ok() {
            rest = hear::<6>(&mut stream, &limit).unwrap().to_vec();
        }
        drop(stream);
        let mut told = Vec::new();
        far.read_to_end(&mut told).unwrap();
        (result, told, rest)
    }

    #[test]
    fn a_name_an_address_and_a_password_are_said_as_the_rfcs_have_it() {
        let ok = [5, 0, 5, 0, 0, 1, 1, 2, 3, 4, 0, 80];
        let (result, told, rest) = against(&ok, Target::Name("ab.c", 443), None);
        result.unwrap();
        assert_eq!(told, b"\x05\x01\x00\x05\x01\x00\x03\x04ab.c\x01\xbb");
        assert_eq!(rest, b"behind", "nothing behind the answer is eaten");

        let ok = [5, 2, 1, 0, 5, 0, 0, 3, 2, b'h', b'i', 0, 80];
        let address = Target::Address("[::1]:80".parse().unwrap());
        let (result, told, rest) = against(&ok, address, Some(("me", "pw")));
        result.unwrap();
        assert!(told.starts_with(b"\x05\x02\x00\x02\x01\x02me\x02pw\x05\x01\x00\x04\0\0"), "{told:?}");
        assert_eq!(rest, b"behind");
    }

    #[test]
    fn refusals_and_nonsense_are_errors_of_the_proxy() {
        for says in [
            &[5, 0xFF][..],
            &[4, 0],
            &[5, 2],
            b"HTTP/1.1 400",
            &[5, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0],
            &[5, 0, 5, 0, 0, 9],
            &[5, 0, 4, 0, 0, 1],
        ] {
            let (result, ..) = against(says, Target::Name("h", 1), None);
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.phase()), (ErrorKind::Proxy, Some(Phase::Proxy)), "{says:?}");
        }
        let (result, ..) = against(&[5, 2, 1, 1], Target::Name("h", 1), Some(("me", "bad")));
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Proxy);
        let long = "x".repeat(256);
        let (result, ..) = against(&[5, 0], Target::Name(&long, 1), None);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn every_cut_of_the_handshake_is_an_error() {
        let ok = [5, 2, 1, 0, 5, 0, 0, 1, 1, 2, 3, 4, 0, 80];
        for cut in 0..ok.len() {
            let (near, mut far) = pair();
            far.write_all(&ok[..cut]).unwrap();
            let reader = std::thread::spawn(move || {
                crate::net::Transport::shutdown(&mut far, std::net::Shutdown::Write, &Limit::none()).unwrap();
                let _ = far.read_to_end(&mut Vec::new());
            });
            let mut stream = Stream::custom(near);
            let limit = Limit::stall(Duration::from_secs(5));
            assert!(connect(&mut stream, Target::Name("h", 1), Some(("a", "b")), &limit).is_err(), "{cut}");
            drop(stream);
            reader.join().unwrap();
        }
    }
}
