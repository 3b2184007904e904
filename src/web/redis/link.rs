//! One connection to Redis: the `redis` crate's commands and answers over a stream of ours,
//! so that every wait ends at the operation's deadline, and TLS is the crate's own.

use std::io::{self, IoSlice, Read};
use std::path::PathBuf;
use std::sync::Arc;

use ::redis::{ConnectionLike, Parser, RedisResult, Value, cmd};
use percent_encoding::percent_decode_str;

use super::super::store::store_error;
use super::failed;
use crate::net::{
    self, AbortHandle, ConnectOptions, Deadline, Limit, Readiness, Resolve, Stream, SystemResolver,
};
use crate::{Error, Result};

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// How to speak with it.
#[derive(Clone, Default)]
pub(super) struct Login {
    user: Option<String>,
    password: Option<String>,
    database: u32,
    tls: bool,
    /// Whom to trust and who we are under TLS; without one: as all clients.
    #[cfg(feature = "_tls")]
    pub(super) context: Option<crate::net::tls::TlsContext>,
}

/// What a URL says.
pub(super) fn parse_url(text: &str) -> Result<(Address, Login)> {
    let invalid = || Error::invalid_argument("this is not the URL of a Redis server");
    let url = ::redis::parse_redis_url(text).ok_or_else(invalid)?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| invalid());
    let optional = |text: &str| if text.is_empty() { Ok(None) } else { decode(text).map(Some) };
    let mut login = Login::default();
    if matches!(url.scheme(), "unix" | "redis+unix" | "valkey+unix") {
        for (name, value) in url.query_pairs() {
            match &*name {
                "db" => login.database = value.parse().map_err(|_| invalid())?,
                "user" => login.user = Some(value.into_owned()),
                "pass" => login.password = Some(value.into_owned()),
                _ => {}
            }
        }
        return Ok((Address::Unix(decode(url.path())?.into()), login));
    }
    login.tls = matches!(url.scheme(), "rediss" | "valkeys");
    if login.tls && !cfg!(feature = "_tls") {
        return Err(Error::unsupported("Redis with TLS needs the feature `tls`"));
    }
    login.user = optional(url.username())?;
    login.password = url.password().map(optional).transpose()?.flatten();
    login.database = match url.path().trim_matches('/') {
        "" => 0,
        number => number.parse().map_err(|_| invalid())?,
    };
    let host = decode(url.host_str().filter(|host| !host.is_empty()).ok_or_else(invalid)?)?;
    Ok((Address::Tcp { host, port: url.port().unwrap_or(6379) }, login))
}

/// A connection.
pub(super) struct Link {
    wire: Wire,
    parser: Parser,
    /// An answer may be missing, or half of one be there.
    broken: bool,
}

struct Wire {
    stream: Stream,
    limit: Limit,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.stream.read(buffer, &self.limit)?)
    }
}

impl Link {
    pub(super) fn connect(address: &Address, login: &Login, deadline: Deadline) -> Result<Link> {
        let abort = AbortHandle::new();
        let options = ConnectOptions::default();
        let lost = |error: Error| store_error("Redis can't be reached", error);
        let stream = match address {
            Address::Tcp { host, port } => {
                let resolver: Arc<dyn Resolve> = Arc::new(SystemResolver);
                let addresses = net::resolve(host, *port, &resolver, deadline, &abort).map_err(lost)?;
                Stream::Tcp(net::connect(&addresses, &options, deadline, &abort).map_err(lost)?)
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                Stream::Unix(net::connect_unix(path, &options, deadline, &abort).map_err(lost)?)
            }
            #[cfg(not(unix))]
            Address::Unix(_) => return Err(Error::unsupported("there are no such sockets on this system")),
        };
        let stream = protect(stream, address, login).map_err(lost)?;
        let wire = Wire { stream, limit: Limit::from(deadline) };
        let mut link = Link { wire, parser: Parser::new(), broken: false };
        if let Some(password) = &login.password {
            let mut auth = cmd("AUTH");
            auth.arg(&login.user).arg(password);
            auth.query::<()>(&mut link).map_err(failed)?;
        }
        if login.database != 0 {
            cmd("SELECT").arg(login.database).query::<()>(&mut link).map_err(failed)?;
        }
        Ok(link)
    }

    /// What is done next ends then.
    pub(super) fn set_deadline(&mut self, deadline: Deadline) {
        self.wire.limit = Limit::from(deadline);
    }

    /// Whether it can be used again: nothing came that nobody asked for, not even the end.
    pub(super) fn is_quiet(&mut self) -> bool {
        !self.broken && matches!(self.wire.stream.peek_nowait(), Ok(Readiness::Nothing))
    }

    /// Whether it can't be used any more.
    pub(super) fn is_lost(&self) -> bool {
        self.broken
    }

    /// Has it not be used any more.
    pub(super) fn give_up(&mut self) {
        self.broken = true;
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let n = self.wire.stream.write_vectored(&[IoSlice::new(rest)], &self.wire.limit)?;
            rest = &rest[n..];
        }
        Ok(self.wire.stream.flush(&self.wire.limit)?)
    }

    fn receive(&mut self) -> RedisResult<Value> {
        self.parser.parse_value(&mut self.wire)
    }
}

impl ConnectionLike for Link {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        self.broken = true;
        self.send(command)?;
        let answer = self.receive()?;
        self.broken = false;
        answer.extract_error()
    }

    fn req_packed_commands(
        &mut self,
        commands: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.broken = true;
        self.send(commands)?;
        let answers = (0..offset + count).map(|_| self.receive()).collect::<RedisResult<Vec<Value>>>()?;
        self.broken = false;
        Ok(answers.into_iter().skip(offset).collect())
    }

    fn get_db(&self) -> i64 {
        0
    }

    fn check_connection(&mut self) -> bool {
        cmd("PING").query::<String>(self).is_ok()
    }

    fn is_open(&self) -> bool {
        !self.broken
    }
}

/// Puts TLS on the stream, where the URL asks for it. The handshake comes with the first
/// command, within its time.
#[cfg(feature = "_tls")]
fn protect(stream: Stream, address: &Address, login: &Login) -> Result<Stream> {
    match address {
        Address::Tcp { host, .. } if login.tls => {
            let context = match &login.context {
                Some(context) => context.clone(),
                None => crate::net::tls::TlsContext::default_client()?,
            };
            let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            context.connect(stream, bare)
        }
        _ => Ok(stream),
    }
}

#[cfg(not(feature = "_tls"))]
fn protect(stream: Stream, _: &Address, _: &Login) -> Result<Stream> {
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_and_how() {
        let (address, login) = parse_url("redis://us%40er:pass%2Fword@example.com:7000/3").unwrap();
        assert_eq!(address, Address::Tcp { host: "example.com".into(), port: 7000 });
        assert_eq!((login.user.as_deref(), login.password.as_deref()), (Some("us@er"), Some("pass/word")));
        assert_eq!((login.database, login.tls), (3, false));

        let (address, login) = parse_url("valkey://:secret@[::1]").unwrap();
        assert_eq!(address, Address::Tcp { host: "[::1]".into(), port: 6379 });
        assert_eq!((login.user, login.password.as_deref(), login.database), (None, Some("secret"), 0));

        let (address, login) = parse_url("redis+unix:///run/redis.sock?db=2&pass=x").unwrap();
        assert_eq!(address, Address::Unix("/run/redis.sock".into()));
        assert_eq!((login.database, login.password.as_deref()), (2, Some("x")));

        for bad in ["", "localhost:6379", "http://localhost", "redis://", "redis://localhost/x"] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }
}
