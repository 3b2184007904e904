//! Sessions in Redis or Valkey: a hash for each, one script for each operation.
//!
//! A script is atomic, and fails where its key is gone, so nothing brings an ended session
//! back. Everything of one session, under its old keys and its new one, has the session's
//! tag in braces, so that a cluster keeps it together. Redis itself removes sessions whose
//! time is over.
//!
//! The fields of a session: `v` version, `c` made, `a` accessed, `t` time-out, `e` greatest
//! age, `n` application, `i` address, `k` token, `p` principal, `z` size of the attributes;
//! and each attribute under its name with `=` before it. Of one that moved: `m` where to,
//! `s` seal, `d` when, `u` and `f` until when.

mod link;
mod pool;
mod scripts;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use std::{fmt, str};

use ::redis::{FromRedisValue, Value, cmd};

use self::pool::{Nodes, Retry};
use self::scripts::Scripts;
use super::clock::{NEVER, millis, span_or_never, time, time_or_never};
use super::id::{StoreKey, principal_digest};
use super::remote::MOVES;
use super::store::{
    Applied, Changes, Moved, Opened, SessionRecord, SessionStore, record_too_large, store_error,
};
use crate::{Error, ErrorKind, Result};

/// Keeps sessions in Redis or Valkey, for several processes on several machines.
///
/// Looking for a session takes one round trip, which is its access too, and storing what
/// changed takes one. Connections are made when they are needed and kept; each operation,
/// with all that it waits for, ends within the [time-out](RedisStore::with_timeout). While
/// the server can't be reached, operations fail with [`Store`](ErrorKind::Store), which a
/// server answers with 503, and when it is back, they work again. What of a session's
/// changes is safe when the server stops is the server's business (`appendonly`).
///
/// Redis removes sessions whose time is over by itself, and tells nobody: listeners hear of
/// it only if the session is in the memory of their process, or a request comes within a
/// minute after.
///
/// ```no_run
/// use sessile::web::{RedisStore, WebSessionManager};
///
/// let store = RedisStore::open("redis://:password@localhost:6379/1")?.with_prefix("shop:");
/// let manager = WebSessionManager::new(store);
/// # Ok::<(), sessile::Error>(())
/// ```
pub struct RedisStore {
    nodes: Nodes,
    scripts: Scripts,
    prefix: String,
    max_record: usize,
}

impl RedisStore {
    /// Keeps sessions in the server at this URL: `redis://[[user]:password@]host[:port][/database]`,
    /// `rediss://…` for TLS, `redis+unix:///path[?db=N&user=…&pass=…]` for a socket of the
    /// system's; `valkey` instead of `redis` is the same. Nothing is connected yet.
    ///
    /// `InvalidArgument` if this is not such a URL, `Unsupported` if it asks for TLS and the
    /// feature `tls` is off.
    pub fn open(url: &str) -> Result<RedisStore> {
        RedisStore::cluster([url])
    }

    /// Keeps sessions in a cluster, some of whose nodes have these URLs. The others are found
    /// through them; all have the same user, password and protection.
    pub fn cluster<'u>(urls: impl IntoIterator<Item = &'u str>) -> Result<RedisStore> {
        Ok(RedisStore {
            nodes: Nodes::new(urls)?,
            scripts: Scripts::new(),
            prefix: PREFIX.to_owned(),
            max_record: MAX_RECORD,
        })
    }

    /// Begins all keys with this text: `sessile:` unless set.
    #[must_use]
    pub fn with_prefix(mut self, prefix: &str) -> RedisStore {
        self.prefix = prefix.to_owned();
        self
    }

    /// How long one operation may take, connecting included. 2 seconds unless set: whoever
    /// waits for it is a user before a page.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> RedisStore {
        self.nodes.timeout = timeout;
        self
    }

    /// Whom to trust, and who this client is, where a URL says `rediss`. Unless set, that is
    /// [`TlsContext::default_client`](crate::tls::TlsContext::default_client).
    #[cfg(feature = "_tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    #[must_use]
    pub fn with_tls(mut self, context: crate::tls::TlsContext) -> RedisStore {
        self.nodes.login.context = Some(context);
        self
    }

    /// How many connections to each server there may be. 16 unless set: an operation takes a
    /// fraction of a millisecond.
    #[must_use]
    pub fn with_max_connections(mut self, connections: usize) -> RedisStore {
        self.nodes.max_connections = connections.max(1);
        self
    }

    /// Refuses records that are [larger](SessionRecord::size) than so many bytes. A MiB
    /// unless set.
    #[must_use]
    pub fn with_max_record(mut self, bytes: usize) -> RedisStore {
        self.max_record = bytes;
        self
    }

    fn name(&self, key: &StoreKey) -> String {
        format!("{}{{{}}}:{}", self.prefix, key.tag(), &key.as_str()[key.tag().len() + 1..])
    }

    fn index_name(&self, application: &str, principal: &str) -> String {
        format!("{}p:{{{}}}", self.prefix, principal_digest(application, principal))
    }

    /// Notes that a session is a principal's, before it is: "log out everywhere" must miss
    /// none. Members that are not, or not any more, do no harm: whoever reads the index looks.
    fn index(&self, name: &str, key: &StoreKey) -> Result<()> {
        let now = millis(SystemTime::now());
        let mut add = cmd("ZADD");
        add.arg(name).arg(now).arg(key.as_str());
        let added: i64 = self.nodes.run(name, Retry::Yes, |link| add.query(link))?;
        let members: usize = match added {
            0 => 0,
            _ => self.nodes.run(name, Retry::Yes, |link| cmd("ZCARD").arg(name).query(link))?,
        };
        if members > 0 && members % PRUNE_EVERY == 0 {
            // Those that were noted just now may be sessions in a moment.
            let settled = now.saturating_sub(LINGER);
            let mut oldest = cmd("ZRANGEBYSCORE");
            oldest.arg(name).arg("-inf").arg(settled).arg("LIMIT").arg(0).arg(PRUNED_AT_A_TIME);
            let members: Vec<String> = self.nodes.run(name, Retry::Yes, |link| oldest.query(link))?;
            for member in members {
                let lives = matches!(member.parse(), Ok(key) if self.holder(&key)?.is_some());
                let mut note = cmd(if lives { "ZADD" } else { "ZREM" });
                note.arg(name);
                if lives {
                    // Next time it is the turn of others.
                    note.arg("XX").arg(now);
                }
                note.arg(&member);
                self.nodes.run(name, Retry::Yes, |link| note.query::<i64>(link))?;
            }
        }
        Ok(())
    }

    /// Application and principal of a session, if it is there.
    fn holder(&self, key: &StoreKey) -> Result<Option<[Option<String>; 2]>> {
        let name = self.name(key);
        let fields = self
            .nodes
            .run(&name, Retry::Yes, |link| cmd("HMGET").arg(&name).arg(&["v", "n", "p"]).query(link))?;
        let [version, application, principal] = texts(fields)?;
        Ok(version.map(|_| [application, principal]))
    }
}

impl SessionStore for RedisStore {
    fn create(&self, key: &StoreKey, record: &SessionRecord) -> Result<bool> {
        if record.size() > self.max_record {
            return Err(record_too_large());
        }
        if let Some(principal) = &record.principal {
            self.index(&self.index_name(&record.application, principal), key)?;
        }
        let mut fields = vec![
            pair("v", record.version),
            pair("c", millis(record.created)),
            pair("a", millis(record.last_accessed)),
            pair("t", number(span_or_never(record.timeout))),
            pair("e", number(record.ends.map_or(NEVER, millis))),
            pair("n", &record.application),
            pair("z", record.size()),
        ];
        fields.extend(record.client_address.map(|address| pair("i", address)));
        fields.extend(record.csrf_token.as_ref().map(|token| pair("k", token)));
        fields.extend(record.principal.as_ref().map(|principal| pair("p", principal)));
        fields.extend(record.values.iter().map(|(name, value)| (attribute(name), value.clone())));
        let name = self.name(key);
        let made: i64 = self.nodes.run(&name, Retry::No, |link| {
            let mut script = self.scripts.create.key(&name);
            script.arg(ttl(record));
            for (field, value) in &fields {
                script.arg(field).arg(value);
            }
            script.invoke(link)
        })?;
        Ok(made == 1)
    }

    fn open(&self, key: &StoreKey, known: u64, now: SystemTime, access: bool) -> Result<Opened> {
        let name = self.name(key);
        let found: Value = self.nodes.run(&name, Retry::Yes, |link| {
            self.scripts
                .open
                .key(&name)
                .arg(known)
                .arg(millis(now))
                .arg(i32::from(access))
                .arg(LINGER)
                .invoke(link)
        })?;
        // What can't be read is a session that is lost.
        Ok(read_opened(found).unwrap_or_else(|| {
            log::warn!(target: "sessile::web", "{key:?} can't be read in Redis: the session is lost");
            Opened::Missing
        }))
    }

    fn apply(&self, key: &StoreKey, changes: &Changes) -> Result<Applied> {
        let mut key = key.clone();
        for _ in 0..MOVES {
            if let Some(Some(principal)) = &changes.principal {
                let application = self.field(&key, "n")?.unwrap_or_default();
                self.index(&self.index_name(&application, principal), &key)?;
            }
            let name = self.name(&key);
            let applied: Value =
                self.nodes.run(&name, Retry::No, |link| self.change(&name, changes).invoke(link))?;
            match applied {
                Value::Int(GONE) => return Ok(Applied::Gone),
                Value::Int(CONFLICT) => return Ok(Applied::Conflict),
                Value::Int(TOO_LARGE) => return Err(record_too_large()),
                Value::Int(version) => return Ok(Applied::Done(version as u64)),
                moved => key = moved_to(moved)?,
            }
        }
        Ok(Applied::Gone)
    }

    fn rename(&self, from: &StoreKey, to: &StoreKey, moved: &Moved) -> Result<bool> {
        let index = match self.field(from, "p")? {
            Some(principal) => Some(self.index_name(&self.field(from, "n")?.unwrap_or_default(), &principal)),
            None => None,
        };
        if let Some(index) = &index {
            self.index(index, to)?;
        }
        let (old, new) = (self.name(from), self.name(to));
        let renamed: i64 = self.nodes.run(&old, Retry::No, |link| {
            let mut script = self.scripts.rename.key(&old);
            script.key(&new).arg(moved.to.as_str()).arg(&moved.seal[..]);
            script.arg(millis(moved.at)).arg(millis(moved.until)).arg(millis(moved.kept)).invoke(link)
        })?;
        Ok(renamed == 1)
    }

    fn remove(&self, key: &StoreKey) -> Result<bool> {
        let mut key = key.clone();
        for _ in 0..MOVES {
            let name = self.name(&key);
            match self.nodes.run(&name, Retry::Yes, |link| self.scripts.remove.key(&name).invoke(link))? {
                Value::Int(removed) => return Ok(removed == 1),
                moved => key = moved_to(moved)?,
            }
        }
        Ok(false)
    }

    fn count(&self) -> Result<usize> {
        // Only sessions have a brace right behind the prefix.
        let pattern = format!("{}{{*", escape(&self.prefix));
        self.nodes.run_everywhere(|link| {
            let (mut cursor, mut count) = (0u64, 0);
            loop {
                let (next, found): (u64, Vec<String>) =
                    cmd("SCAN").arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(1000).query(link)?;
                for name in found {
                    let there: bool = cmd("HEXISTS").arg(&name).arg("v").query(link)?;
                    count += usize::from(there);
                }
                cursor = next;
                if cursor == 0 {
                    return Ok(count);
                }
            }
        })
    }

    fn of_principal(&self, application: &str, principal: &str) -> Result<Vec<StoreKey>> {
        let name = self.index_name(application, principal);
        let members = self.nodes.run(&name, Retry::Yes, |link| {
            cmd("ZRANGE").arg(&name).arg(0).arg(-1).query::<Vec<String>>(link)
        })?;
        let mut keys = Vec::new();
        for key in members.iter().filter_map(|member| member.parse().ok()) {
            if let Some([of, whose]) = self.holder(&key)? {
                if of.as_deref() == Some(application) && whose.as_deref() == Some(principal) {
                    keys.push(key);
                }
            }
        }
        Ok(keys)
    }

    fn max_record(&self) -> usize {
        self.max_record
    }
}

impl RedisStore {
    fn field(&self, key: &StoreKey, field: &str) -> Result<Option<String>> {
        let name = self.name(key);
        self.nodes.run(&name, Retry::Yes, |link| cmd("HGET").arg(&name).arg(field).query(link))
    }

    /// The call of the script that makes these changes.
    fn change<'s>(&'s self, name: &str, changes: &Changes) -> ::redis::ScriptInvocation<'s> {
        let mut set: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut removed = Vec::new();
        set.extend(changes.timeout.map(|timeout| pair("t", number(span_or_never(timeout)))));
        set.extend(changes.ends.map(|ends| pair("e", number(ends.map_or(NEVER, millis)))));
        set.extend(changes.csrf_token.as_ref().map(|token| pair("k", token)));
        match &changes.principal {
            Some(Some(principal)) => set.push(pair("p", principal)),
            Some(None) => removed.push(b"p".to_vec()),
            None => {}
        }
        for (name, value) in &changes.values {
            match value {
                Some(value) => set.push((attribute(name), value.clone())),
                None => removed.push(attribute(name)),
            }
        }
        let mut script = self.scripts.apply.key(name);
        script.arg(changes.expected.map_or(-1, |expected| expected as i64));
        script.arg(i32::from(changes.clear)).arg(self.max_record).arg(LINGER);
        script.arg(i32::from(changes.timeout.is_some() || changes.ends.is_some()));
        script.arg(set.len()).arg(removed.len());
        for (field, value) in &set {
            script.arg(field).arg(value);
        }
        for field in &removed {
            script.arg(field);
        }
        script
    }
}

impl fmt::Debug for RedisStore {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("nodes", &self.nodes)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

fn pair(field: &str, value: impl fmt::Display) -> (Vec<u8>, Vec<u8>) {
    (field.as_bytes().to_vec(), value.to_string().into_bytes())
}

fn attribute(name: &str) -> Vec<u8> {
    [b"=", name.as_bytes()].concat()
}

/// Milliseconds as the scripts read them: -1 is never.
fn number(millis: u64) -> i64 {
    if millis == NEVER { -1 } else { millis as i64 }
}

/// For how many milliseconds Redis keeps a record, counted from its latest access.
fn ttl(record: &SessionRecord) -> i64 {
    match record.deadline() {
        NEVER => -1,
        deadline => deadline.saturating_sub(millis(record.last_accessed)).saturating_add(LINGER) as i64,
    }
}

/// What the script `open` returned.
fn read_opened(found: Value) -> Option<Opened> {
    let Value::Array(found) = found else {
        return None;
    };
    let mut found = found.into_iter();
    let Some(kind) = found.next() else {
        return Some(Opened::Missing);
    };
    let rest = found.next()?;
    Some(match &*Vec::<u8>::from_redis_value(kind).ok()? {
        b"u" => Opened::Unchanged { last_accessed: time(u64::from_redis_value(rest).ok()?) },
        b"r" => Opened::Record(read_record(rest)?),
        b"x" => Opened::Expired(read_record(rest)?),
        b"m" => {
            let (to, seal, at, until, kept): (String, Vec<u8>, u64, u64, u64) =
                FromRedisValue::from_redis_value(rest).ok()?;
            let seal = seal.try_into().ok()?;
            Opened::Moved(Moved::from_parts(to.parse().ok()?, time(at), time(until), time(kept), seal))
        }
        _ => return None,
    })
}

fn read_record(fields: Value) -> Option<SessionRecord> {
    let mut fields: BTreeMap<Vec<u8>, Vec<u8>> = FromRedisValue::from_redis_value(fields).ok()?;
    let mut take = |name: &str| {
        let value = fields.remove(name.as_bytes())?;
        String::from_utf8(value).ok()
    };
    let mut record = SessionRecord::new(&take("n")?, time(take("c")?.parse().ok()?));
    record.version = take("v")?.parse().ok()?;
    record.last_accessed = time(take("a")?.parse().ok()?);
    let mut number =
        |name: &str| take(name)?.parse::<i64>().ok().map(|number| u64::try_from(number).unwrap_or(NEVER));
    record.timeout = super::clock::duration_or_never(number("t")?);
    record.ends = time_or_never(number("e")?);
    record.client_address = match take("i") {
        Some(address) => Some(address.parse().ok()?),
        None => None,
    };
    record.csrf_token = take("k");
    record.principal = take("p");
    for (field, value) in fields {
        if let Some(name) = field.strip_prefix(b"=") {
            record.values.insert(str::from_utf8(name).ok()?.to_owned(), value);
        }
    }
    Some(record)
}

/// So many fields, each of which may be missing.
fn texts<const N: usize>(fields: Value) -> Result<[Option<String>; N]> {
    let fields = Vec::<Option<String>>::from_redis_value(fields).ok();
    fields.and_then(|fields| fields.try_into().ok()).ok_or_else(strange)
}

/// The key that a script gives in place of a number.
fn moved_to(value: Value) -> Result<StoreKey> {
    let text = String::from_redis_value(value).map_err(|_| strange())?;
    text.parse().map_err(|_| strange())
}

fn strange() -> Error {
    Error::new(ErrorKind::Store, "Redis answered something strange")
}

fn failed(error: ::redis::RedisError) -> Error {
    store_error("Redis can't be used", error)
}

/// A pattern that matches exactly this.
fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| matches!(c, '*' | '?' | '[' | ']' | '\\').then_some('\\').into_iter().chain([c]))
        .collect()
}

const PREFIX: &str = "sessile:";
const MAX_RECORD: usize = 1024 * 1024;
/// For how many milliseconds Redis keeps a session whose time is over: so long, a request
/// that takes long may go on with it, and one that comes finds out what it was.
const LINGER: u64 = 60 * 1000;
/// How often an index is looked through for sessions that are no more.
const PRUNE_EVERY: usize = 16;
/// How many of them are looked at then: whoever signs in waits for it.
const PRUNED_AT_A_TIME: usize = 128;
const GONE: i64 = -1;
const CONFLICT: i64 = -2;
const TOO_LARGE: i64 = -3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_a_session_together_and_tell_no_id() {
        let store = RedisStore::open("redis://localhost").unwrap().with_prefix("a:");
        let id: crate::web::SessionId = "AAECAwQFBgcICQoLDA0ODxAR".parse().unwrap();
        let name = store.name(&StoreKey::new("", &id));
        assert!(name.starts_with("a:{0001}:"), "{name}");
        assert_eq!(name.len(), "a:{0001}:".len() + 64);
        assert!(store.index_name("", "ann@example.com").starts_with("a:p:{"));
    }

    #[test]
    fn what_redis_can_not_have_meant_is_a_lost_session() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        assert_eq!(read_opened(Value::Array(vec![])), Some(Opened::Missing));
        for strange in [
            Value::Nil,
            Value::Array(vec![text("r")]),
            Value::Array(vec![text("q"), text("")]),
            Value::Array(vec![text("u"), text("x")]),
            Value::Array(vec![text("m"), Value::Array(vec![text("x"), text(""), text("1"), text("1")])]),
            Value::Array(vec![text("r"), Value::Array(vec![text("v"), text("1")])]),
        ] {
            assert_eq!(read_opened(strange), None);
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let store = RedisStore::open("redis://user:hunter2@localhost").unwrap();
        assert!(!format!("{store:?}").contains("hunter2"));
        assert!(!format!("{store:?}").contains("user"));
    }
}
