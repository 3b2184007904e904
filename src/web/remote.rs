//! A session whose store is beyond the process: what of it is not stored yet, and the
//! talks with the store.
//!
//! The handles of a process share one session, as they do in memory. What they change is
//! noted and sent as changes: at the end of the request (before its head goes out), or at
//! once where there is none. What comes back from the store replaces what is here, except
//! what is not stored yet. Saves of one session follow one another (`saving`), and no code
//! of users runs during one but the store's own: what there is to tell is told when the turn
//! is over, for listeners may save too. The other lock is never held during a talk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::attributes::Attributes;
use super::clock::{NEVER, millis, span, span_or_never, time, time_or_never};
use super::id::{SessionId, StoreKey};
use super::listeners::{EndReason, Event};
use super::session::{WebSession, ended};
use super::shared::{Body, Core, Shared};
use super::state::Look;
use super::store::{Applied, Changes, Moved, Opened, SessionRecord, SessionStore, record_too_large};
use super::sync::{Mutex, lock};
use super::value::Value;
use crate::{ErrorKind, Result};

pub(crate) struct Remote {
    /// The name in the store.
    pub(crate) key: StoreKey,
    /// Whether the store has it.
    pub(crate) stored: bool,
    /// The version that the attributes here are of, apart from what is not stored yet; 0:
    /// of none that can be told.
    pub(crate) version: u64,
    /// What is not stored yet, and what is on its way.
    pub(crate) pending: Changes,
    in_flight: Option<Arc<Changes>>,
    /// The requests whose changes wait until the response's head goes out.
    pub(crate) deferred: Vec<u64>,
    /// It is getting another key.
    moving: bool,
    saving: Arc<Mutex<()>>,
    /// The bytes of each attribute, and of all.
    sizes: BTreeMap<Box<str>, usize>,
    size: usize,
    max_size: usize,
    /// When somebody last asked for it here.
    pub(crate) used: u64,
}

impl Remote {
    fn new(key: StoreKey, max_size: usize) -> Remote {
        Remote {
            key,
            stored: false,
            version: 0,
            pending: Changes::default(),
            in_flight: None,
            deferred: Vec::new(),
            moving: false,
            saving: Arc::default(),
            sizes: BTreeMap::new(),
            size: 0,
            max_size,
            used: 0,
        }
    }

    /// Whether an attribute can be set.
    pub(crate) fn has_room(&self, name: &str, encoded: &[u8]) -> Result<()> {
        let others = self.size - self.sizes.get(name).copied().unwrap_or(0);
        match others + name.len() + encoded.len() > self.max_size {
            true => Err(record_too_large()),
            false => Ok(()),
        }
    }

    /// Notes that an attribute is set.
    pub(crate) fn put(&mut self, name: &str, encoded: Vec<u8>) {
        let size = name.len() + encoded.len();
        self.size += size;
        self.size -= self.sizes.insert(name.into(), size).unwrap_or(0);
        self.pending.values.insert(name.to_owned(), Some(encoded));
    }

    /// Notes that an attribute is removed.
    pub(crate) fn pull(&mut self, name: &str) {
        self.size -= self.sizes.remove(name).unwrap_or(0);
        self.pending.values.insert(name.to_owned(), None);
    }

    /// Notes that all attributes are removed.
    pub(crate) fn clear(&mut self) {
        self.sizes.clear();
        self.size = 0;
        self.pending.values.clear();
        self.pending.clear = true;
    }

    /// Whether it could not be stored, and no request is at it: nobody was told its id.
    pub(crate) fn is_forlorn(&self) -> bool {
        !self.stored && self.in_flight.is_none() && self.deferred.is_empty()
    }

    /// Whether there is nothing of it that is not in the store.
    pub(crate) fn is_settled(&self) -> bool {
        self.stored
            && !self.moving
            && self.in_flight.is_none()
            && self.pending.is_empty()
            && self.deferred.is_empty()
    }

    /// Whether this attribute is what it is because of something that is not stored yet.
    fn overrides(&self, name: &str) -> bool {
        self.pending.touches(name) || self.in_flight.as_ref().is_some_and(|changes| changes.touches(name))
    }

    /// Whether a change of this kind is not stored yet.
    fn waits(&self, changed: impl Fn(&Changes) -> bool) -> bool {
        changed(&self.pending) || self.in_flight.as_deref().is_some_and(changed)
    }
}

impl Core {
    pub(crate) fn store_key(&self, id: &SessionId) -> StoreKey {
        StoreKey::new(self.context.name(), id)
    }

    /// Makes a session one that is to be kept by the store.
    pub(crate) fn make_remote(&self, session: &Shared, key: impl FnOnce() -> StoreKey) {
        if let Some(store) = &self.store {
            let mut remote = Remote::new(key(), store.max_record());
            remote.used = self.now();
            lock(&session.body).make_extra().remote = Some(Box::new(remote));
        }
    }

    /// The session that a record is of.
    pub(crate) fn session_of(
        self: &Arc<Core>,
        id: SessionId,
        key: StoreKey,
        record: SessionRecord,
    ) -> WebSession {
        let session = self.shell_of(id, key, &record);
        session.merge(record);
        session
    }

    /// The session that a record is of, with nothing in it: for [`WebSession::merge`].
    pub(crate) fn shell_of(
        self: &Arc<Core>,
        id: SessionId,
        key: StoreKey,
        record: &SessionRecord,
    ) -> WebSession {
        let session = Shared::new(self, id, millis(record.created), record.client_address);
        session.joined.store(true, Relaxed);
        session.state.touch(millis(record.last_accessed));
        self.make_remote(&session, || key);
        if let Some(remote) = lock(&session.body).remote() {
            remote.stored = true;
        }
        WebSession::plain(Arc::new(session))
    }
}

impl WebSession {
    /// Sends what is not stored yet to the store, if the session has one beyond the process.
    /// `IllegalState` if the session has ended, here or there;
    /// [`Store`](crate::ErrorKind::Store) where the store can't be reached: the changes are
    /// kept, to be sent again, and win then over what was set elsewhere meanwhile.
    ///
    /// The manager does this by itself before the head of a response goes out; changes that
    /// are made later, or outside of a request, are stored as they are made.
    pub fn save(&self) -> Result<()> {
        let Some(store) = &self.shared.core.store else {
            return Ok(());
        };
        let Some(saving) = self.with_remote(|remote| remote.saving.clone()) else {
            return Ok(());
        };
        let turn = lock(&saving);
        let mut body = self.body()?;
        let Some(remote) = body.remote() else {
            return Ok(());
        };
        if remote.stored && remote.pending.is_empty() {
            return Ok(());
        }
        let changes = Arc::new(std::mem::take(&mut remote.pending));
        remote.in_flight = Some(changes.clone());
        let (key, stored) = (remote.key.clone(), remote.stored);
        drop(body);

        let applied = match stored {
            true => store.apply(&key, &changes),
            false => self.create_in(&**store, &key, &changes),
        };

        let mut body = lock(&self.shared.body);
        let Some(remote) = body.remote() else {
            return Ok(());
        };
        remote.in_flight = None;
        match applied {
            Ok(Applied::Done(version)) => {
                remote.stored = true;
                // Otherwise others made changes in between: the next look at the store gets them.
                if version == remote.version + 1 {
                    remote.version = version;
                }
                if !stored && self.shared.state.look() == Look::Ended {
                    // Whoever ended it found nothing in the store to remove.
                    let key = remote.key.clone();
                    drop(body);
                    store.remove(&key)?;
                    return Err(ended());
                }
                Ok(())
            }
            Ok(Applied::Gone | Applied::Conflict) => {
                drop(body);
                drop(turn);
                self.end(EndReason::Lost);
                Err(ended())
            }
            Err(error) if error.kind() == ErrorKind::TooLarge => {
                // Together with what another node set it is too much, and it would be each
                // time. The next look at the store shows what is left.
                remote.version = 0;
                Err(error)
            }
            Err(error) => {
                let later = std::mem::replace(&mut remote.pending, (*changes).clone());
                remote.pending.then(later);
                Err(error)
            }
        }
    }

    fn create_in(&self, store: &dyn SessionStore, key: &StoreKey, changes: &Changes) -> Result<Applied> {
        let shared = &self.shared;
        let mut record = SessionRecord::new(shared.core.context.name(), time(shared.created));
        record.last_accessed = self.last_accessed();
        record.timeout = self.timeout();
        record.ends = time_or_never(shared.ends.load(Relaxed));
        record.client_address = shared.client_address;
        record.apply(changes, store.max_record())?;
        Ok(match store.create(key, &record)? {
            true => Applied::Done(record.version),
            false => Applied::Gone,
        })
    }

    /// Saves, unless this is a request whose response's head has not gone out.
    pub(super) fn write_through(&self) -> Result<()> {
        if self.shared.core.store.is_none() {
            return Ok(());
        }
        match self.with_remote(|remote| remote.deferred.contains(&self.visit)) {
            Some(false) => self.save(),
            _ => Ok(()),
        }
    }

    /// From now on, changes of this request wait for its response's head.
    pub(super) fn defer(&self) {
        self.with_remote(|remote| remote.deferred.push(self.visit));
    }

    /// From now on, they don't.
    pub(super) fn leave_visit(&self) {
        if self.shared.core.store.is_some() {
            self.with_remote(|remote| remote.deferred.retain(|visit| *visit != self.visit));
        }
    }

    /// The form of a value for the store, if there is one beyond the process.
    pub(super) fn encode(&self, value: &Value) -> Result<Option<Vec<u8>>> {
        self.shared.core.store.as_ref().map(|_| value.encode()).transpose()
    }

    /// Tells the store of an access that no request tells it of.
    pub(super) fn touch_store(&self) -> Result<()> {
        match self.shared.core.store.is_some() && !self.reopen(true)? {
            true => Err(ended()),
            false => Ok(()),
        }
    }

    /// Whether a session whose time is over here was used on another node.
    pub(super) fn lives_on_elsewhere(&self, now: u64) -> Result<bool> {
        Ok(self.shared.core.store.is_some() && self.reopen(false)? && !self.shared.is_over(now))
    }

    /// Ends the session in the store, where it does not know of the end by itself. `false`
    /// where it is not stored: it may be on its way there.
    pub(super) fn remove_from_store(&self, reason: EndReason) -> Result<bool> {
        let Some(store) = self.shared.core.store.as_ref().filter(|_| reason.is_local()) else {
            return Ok(true);
        };
        match self.with_remote(|remote| remote.stored.then(|| remote.key.clone())).flatten() {
            Some(key) => store.remove(&key).map(|_| true),
            None => Ok(false),
        }
    }

    /// Exchanges one attribute in the store, if the session is of this version there and the
    /// attribute is still what it was here. `false`: look again.
    pub(super) fn update_store(
        &self,
        name: &str,
        version: u64,
        old: Option<&Value>,
        new: Option<&Value>,
        encoded: Option<Vec<u8>>,
    ) -> Result<bool> {
        let (Some(store), Some(saving)) =
            (&self.shared.core.store, self.with_remote(|remote| remote.saving.clone()))
        else {
            return Ok(false);
        };
        let turn = lock(&saving);
        let mut body = self.body()?;
        self.has_room(&mut body, name, encoded.as_deref())?;
        let unchanged = Value::same_option(body.attributes.get(name), old);
        let Some(remote) = body.remote().filter(|remote| unchanged && remote.version == version) else {
            return Ok(false);
        };
        let key = remote.key.clone();
        drop(body);

        let mut changes = Changes { expected: Some(version), ..Changes::default() };
        changes.values.insert(name.to_owned(), encoded.clone());
        match store.apply(&key, &changes)? {
            Applied::Done(version) => {
                let mut body = self.body()?;
                // Whoever set it here in the meantime comes after this change.
                let mut replaced = None;
                if Value::same_option(body.attributes.get(name), old) {
                    replaced = match new {
                        Some(new) => self.put(&mut body, name, new.clone(), encoded),
                        None => self.pull(&mut body, name),
                    };
                    // Where all attributes are yet to be removed, it has to come back after that.
                    if let Some(remote) = body.remote().filter(|remote| !remote.pending.clear) {
                        remote.pending.values.remove(name);
                    }
                }
                if let Some(remote) = body.remote().filter(|remote| version == remote.version + 1) {
                    remote.version = version;
                }
                drop(body);
                drop(turn);
                drop(replaced);
                self.tell();
                Ok(true)
            }
            Applied::Conflict => {
                drop(turn);
                // Whatever the store has now is the one to go on with, even an older one.
                self.with_remote(|remote| remote.version = 0);
                match self.reopen(false)? {
                    true => Ok(false),
                    false => Err(ended()),
                }
            }
            Applied::Gone => {
                drop(turn);
                self.end(EndReason::Lost);
                Err(ended())
            }
        }
    }

    /// Gives the session another key in the store, then calls `switch`, which gives it its
    /// new id here. Returns the id it has in the end.
    pub(super) fn move_in_store(
        &self,
        old: &SessionId,
        new: &SessionId,
        grace: Option<Duration>,
        switch: impl FnOnce() -> Result<SessionId>,
    ) -> Result<SessionId> {
        let core = &self.shared.core;
        let (Some(store), Some(saving)) = (&core.store, self.with_remote(|remote| remote.saving.clone()))
        else {
            return switch();
        };
        let turn = lock(&saving);
        let mut body = self.body()?;
        let id = body.id;
        let Some(remote) = body.remote().filter(|_| id == *old) else {
            return Ok(id);
        };
        remote.moving = true;
        let (key, stored) = (remote.key.clone(), remote.stored);
        drop(body);

        let now = core.now();
        let to = core.store_key(new);
        let until = now.saturating_add(grace.map_or(0, span));
        let kept = now.saturating_add(span_or_never(self.timeout()).clamp(MARKER_KEPT, MARKER_KEPT_AT_MOST));
        let moved = Moved::new(to.clone(), old, new, now, until, kept.max(until));
        let renamed = if stored { store.rename(&key, &to, &moved) } else { Ok(true) };
        let done = match renamed {
            Ok(true) => {
                self.with_remote(|remote| remote.key = to);
                switch().map(Some)
            }
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        };
        self.with_remote(|remote| remote.moving = false);
        drop(turn);
        match done? {
            Some(id) => Ok(id),
            // Another node was faster: what it made of the session is what this gets.
            None if self.reopen(false)? => Ok(self.id()),
            None => Err(ended()),
        }
    }

    /// Looks what the store has of this session, and takes it over. Says whether the session
    /// is alive; if not, it has ended here too.
    pub(super) fn reopen(&self, access: bool) -> Result<bool> {
        let core = &self.shared.core;
        let Some(store) = &core.store else {
            return Ok(true);
        };
        for _ in 0..MOVES {
            let now = core.now();
            let Some((key, known)) = self
                .with_remote(|remote| remote.stored.then(|| (remote.key.clone(), remote.version)))
                .flatten()
            else {
                return Ok(true);
            };
            match store.open(&key, known, time(now), access)? {
                Opened::Unchanged { last_accessed } => {
                    self.shared.state.raise(millis(last_accessed));
                    return Ok(true);
                }
                Opened::Record(record) => {
                    self.take_over(record, known);
                    return Ok(true);
                }
                Opened::Expired(_) => {
                    self.end(EndReason::Expired);
                    return Ok(false);
                }
                // It is on its way there, by a thread of ours.
                Opened::Moved(_) if self.with_remote(|remote| remote.moving) == Some(true) => {
                    return Ok(true);
                }
                Opened::Moved(moved) => self.adopt(&key, &moved),
                Opened::Missing => {
                    if !self.is_missing(&key, now) {
                        return Ok(self.shared.state.look() != Look::Ended);
                    }
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The store has nothing under this key: ends the session, unless it just gets or got
    /// another one. Says whether it ended.
    pub(super) fn is_missing(&self, key: &StoreKey, now: u64) -> bool {
        let elsewhere = self.with_remote(|remote| remote.moving || !remote.stored || remote.key != *key);
        if elsewhere == Some(true) {
            return false;
        }
        self.end(match self.shared.is_over(now) {
            true => EndReason::Expired,
            false => EndReason::Lost,
        });
        true
    }

    /// Another node gave the session another id: it is the one here, too.
    fn adopt(&self, from: &StoreKey, moved: &Moved) {
        let core = &self.shared.core;
        let table = core.table.upgrade();
        let mut body = lock(&self.shared.body);
        let old = body.id;
        let Some(remote) = body.remote().filter(|remote| remote.key == *from && !remote.moving) else {
            return;
        };
        remote.key = moved.to.clone();
        let new = moved.new_id(&old);
        body.id = new;
        if core.listeners.hear_sessions() {
            body.push(Event::IdChanged { old });
        }
        drop(body);
        if let Some(table) = table {
            // There may be another one under the new id already: both talk to the store.
            table.insert(&new, self.shared.clone());
            table.retire(&old, &self.shared, None);
            if self.shared.state.look() == Look::Ended {
                table.remove(&new);
            }
        }
        self.tell();
    }

    /// Takes over what the store has, when it was asked for anything but this version. An
    /// older one means that the store lost its latest changes, as one that was restored did.
    pub(super) fn take_over(&self, record: SessionRecord, known: u64) {
        if record.version < known {
            self.with_remote(|remote| {
                if remote.version == known {
                    remote.version = 0;
                }
            });
        }
        self.merge(record);
    }

    /// Takes over what the store has, if it is newer, except what is not stored yet.
    pub(super) fn merge(&self, record: SessionRecord) {
        let core = &self.shared.core;
        let accessed = millis(record.last_accessed);
        // May run code of users, and is not needed for what is known.
        if self.with_remote(|remote| record.version <= remote.version) != Some(false) {
            self.shared.state.raise(accessed);
            return;
        }
        let mut attributes = Attributes::default();
        let mut sizes = BTreeMap::new();
        for (name, value) in &record.values {
            match Value::decode(value, &core.types) {
                Some(decoded) => _ = attributes.set(name, decoded),
                None => {
                    log::warn!(target: "sessile::web", "an attribute in the store can't be read, and is left out")
                }
            }
            sizes.insert(name.as_str().into(), name.len() + value.len());
        }
        let Ok(mut body) = self.body() else {
            return;
        };
        let replaced = self.replace(&mut body, attributes, sizes, &record);
        drop(body);
        drop(replaced);
        self.shared.state.raise(accessed);
        self.tell();
    }

    /// The part of [`merge`](WebSession::merge) under the lock; returns what is to be dropped.
    fn replace(
        &self,
        body: &mut Body,
        mut attributes: Attributes,
        mut sizes: BTreeMap<Box<str>, usize>,
        record: &SessionRecord,
    ) -> Option<(Attributes, Vec<Value>)> {
        let (current, extra) = body.split();
        let remote = extra.remote.as_deref_mut()?;
        let mut dropped = Vec::new();
        if record.version <= remote.version {
            return Some((attributes, dropped));
        }
        let names: Vec<String> = attributes.iter().map(|(name, _)| name.to_owned()).collect();
        for name in names.iter().filter(|name| remote.overrides(name)) {
            dropped.extend(attributes.remove(name));
            sizes.remove(name.as_str());
        }
        let activated: Vec<Value> = activating(&attributes);
        for (name, value) in current.iter().filter(|(name, _)| remote.overrides(name)) {
            dropped.extend(attributes.set(name, value.clone()));
            if let Some(&size) = remote.sizes.get(name) {
                sizes.insert(name.into(), size);
            }
        }
        remote.version = record.version;
        remote.size = sizes.values().sum();
        remote.sizes = sizes;
        if !remote.waits(|changes| changes.timeout.is_some()) {
            self.shared.timeout.store(span_or_never(record.timeout), Relaxed);
        }
        if !remote.waits(|changes| changes.ends.is_some()) {
            self.shared.ends.store(record.ends.map_or(NEVER, millis), Relaxed);
        }
        if !remote.waits(|changes| changes.principal.is_some()) {
            extra.principal = record.principal.as_deref().map(Into::into);
        }
        if !remote.waits(|changes| changes.csrf_token.is_some()) {
            extra.csrf_token = record.csrf_token.as_deref().map(Into::into);
        }
        let local = std::mem::replace(current, attributes);
        if !activated.is_empty() {
            body.push(Event::DidActivate { values: activated });
        }
        Some((local, dropped))
    }

    /// The session leaves memory, and is in its store only.
    pub(super) fn passivate(&self) {
        let mut body = lock(&self.shared.body);
        let values = activating(&body.attributes);
        if !values.is_empty() {
            body.push(Event::WillPassivate { values });
        }
        drop(body);
        self.tell();
    }

    pub(super) fn with_remote<T>(&self, look: impl FnOnce(&mut Remote) -> T) -> Option<T> {
        lock(&self.shared.body).remote().map(look)
    }
}

fn activating(attributes: &Attributes) -> Vec<Value> {
    attributes
        .iter()
        .filter(|(_, value)| value.activation().is_some())
        .map(|(_, value)| value.clone())
        .collect()
}

/// How often a session may have moved on while it was looked for.
pub(crate) const MOVES: usize = 8;
/// For how long changes of requests on other nodes find a session that moved, at least
/// and at most, in milliseconds. In between, for as long as they could wait without ending.
const MARKER_KEPT: u64 = 60 * 1000;
const MARKER_KEPT_AT_MOST: u64 = 24 * 60 * 60 * 1000;
