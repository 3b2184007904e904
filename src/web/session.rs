//! A handle on a web session: what the user of a browser has on this server, across
//! requests.
//!
//! All methods take `&self`. Each is a few instructions under the session's own lock, and
//! no code of users (listeners, closures, destructors of values) runs under it. What has to
//! do with stores beyond the process is in `remote`.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::attributes::Attributes;
use super::clock::{duration_or_never, span, span_or_never, time, time_or_never};
use super::context::WebContext;
use super::fair_lock::FairLock;
use super::id::{SessionId, random_token};
use super::listeners::{EndReason, EndedSession, Event, Subscription};
use super::shared::{Body, Extra, Shared};
use super::state::Look;
use super::sync::atomic::Ordering::Relaxed;
use super::sync::lock;
use super::value::{FromValue, Object, Portable, Value};
use super::{SessionActivationListener, SessionBindingListener};
use crate::{Error, ErrorKind, Result};

/// A web session: attributes, kept on the server, of whoever comes with its id.
///
/// This is a handle: its clones, and the handles that other requests get, are on one and
/// the same session, from any thread. What one sets in memory the others see at once. Two
/// requests of one session run side by side; [`update`](WebSession::update) changes one
/// attribute atomically, and [`lock`](WebSession::lock) is there for more.
///
/// A session ends by [`invalidate`](WebSession::invalidate), or when nobody asked for it for
/// longer than its [`timeout`](WebSession::timeout), or at its greatest age. From then on,
/// most methods fail with [`IllegalState`](ErrorKind::IllegalState); each says so. The
/// handle that a manager returned for a request also says that the session is in use: until
/// that handle is dropped, the session does not end for being idle. Its clones don't: one
/// can be kept in another thread, a WebSocket's say, for as long as that lasts, with
/// [`access`](WebSession::access) called when the client did something.
///
/// ```
/// use sessile::web::{MemoryStore, WebSessionManager};
///
/// let manager = WebSessionManager::new(MemoryStore::new());
/// let session = manager.new_session()?;
/// session.set("user", "Ann")?;
/// session.update("visits", |visits: Option<u64>| Some(visits.unwrap_or(0) + 1))?;
/// assert_eq!(session.get::<String>("user")?, "Ann");
/// assert_eq!(session.get::<u64>("visits")?, 1);
///
/// session.invalidate()?;
/// assert!(session.get::<String>("user").is_err());
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HttpSession")]
#[doc(alias = "WebSession::Ptr")]
#[doc(alias = "Ptr")]
pub struct WebSession {
    pub(super) shared: Arc<Shared>,
    /// The number of the request it was opened for, 0 without one.
    pub(super) visit: u64,
    pub(super) visit_is: VisitIs,
}

/// What there is to know of the request that a handle was opened for. A set of flags in one
/// word: handles are moved from hand to hand, which goes fastest in whole words.
#[derive(Clone, Copy, Default)]
pub(crate) struct VisitIs(u64);

impl VisitIs {
    /// This handle counts as a use of the session.
    pub(crate) const COUNTED: VisitIs = VisitIs(1);
    /// It came over TLS.
    pub(crate) const SECURE: VisitIs = VisitIs(2);
    /// It made the session.
    pub(crate) const MAKER: VisitIs = VisitIs(4);
    /// It showed the id in a cookie.
    pub(crate) const BY_COOKIE: VisitIs = VisitIs(8);
    /// It showed an old id.
    pub(crate) const BY_ALIAS: VisitIs = VisitIs(16);

    pub(crate) fn has(self, flag: VisitIs) -> bool {
        self.0 & flag.0 != 0
    }

    #[must_use]
    pub(crate) fn with(self, flag: VisitIs, on: bool) -> VisitIs {
        VisitIs(if on { self.0 | flag.0 } else { self.0 & !flag.0 })
    }
}

impl WebSession {
    /// A handle that belongs to no request.
    pub(crate) fn plain(shared: Arc<Shared>) -> WebSession {
        WebSession { shared, visit: 0, visit_is: VisitIs::default() }
    }

    /// The id, which is the value of the cookie. It works after the end, too.
    #[doc(alias = "getId")]
    pub fn id(&self) -> SessionId {
        self.shared.id()
    }

    /// When the session was made. It works after the end, too.
    pub fn created(&self) -> SystemTime {
        time(self.shared.created)
    }

    /// When the session was made; `IllegalState` after the end.
    #[doc(alias = "getCreationTime")]
    pub fn creation_time(&self) -> Result<SystemTime> {
        self.check_alive()?;
        Ok(self.created())
    }

    /// When the latest request with this session came, the present one included. Reading
    /// and changing attributes is no access. It works after the end, too.
    pub fn last_accessed(&self) -> SystemTime {
        time(self.shared.state.last_accessed())
    }

    /// As [`last_accessed`](WebSession::last_accessed); `IllegalState` after the end.
    #[doc(alias = "getLastAccessedTime")]
    pub fn last_accessed_time(&self) -> Result<SystemTime> {
        self.check_alive()?;
        Ok(self.last_accessed())
    }

    /// Says that the client did something, as a request does: the time until the session
    /// ends starts anew. For use outside of a request, where nobody else says it.
    /// `IllegalState` after the end.
    pub fn access(&self) -> Result<()> {
        self.check_alive()?;
        self.touch_store()?;
        match self.shared.state.touch(self.shared.core.now()) {
            true => Ok(()),
            false => Err(ended()),
        }
    }

    /// For how long the session may be idle; `None`: for ever. It works after the end, too.
    pub fn timeout(&self) -> Option<Duration> {
        duration_or_never(self.shared.timeout.load(Relaxed))
    }

    /// Sets for how long the session may be idle, counted from the latest access, from now
    /// on. Zero ends it when no request is using it any more. It does nothing to a session
    /// that has ended.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.change(|shared, body| {
            shared.timeout.store(span_or_never(timeout), Relaxed);
            if let Some(remote) = body.remote() {
                remote.pending.timeout = Some(timeout);
            }
        });
    }

    /// For how many seconds the session may be idle; negative: for ever. It works after the
    /// end, too.
    #[doc(alias = "getMaxInactiveInterval")]
    pub fn max_inactive_interval(&self) -> i64 {
        self.timeout().map_or(-1, |timeout| timeout.as_secs().try_into().unwrap_or(i64::MAX))
    }

    /// Sets for how many seconds the session may be idle, as
    /// [`set_timeout`](WebSession::set_timeout) does; negative or zero: for ever.
    #[doc(alias = "setMaxInactiveInterval")]
    pub fn set_max_inactive_interval(&self, seconds: i64) {
        self.set_timeout(u64::try_from(seconds).ok().filter(|&seconds| seconds > 0).map(Duration::from_secs));
    }

    /// Sets the session's greatest age, counted from its making: it ends then, even if it
    /// is used all the time. It does nothing to a session that has ended.
    pub fn set_max_lifetime(&self, lifetime: Option<Duration>) {
        self.change(|shared, body| {
            let ends = lifetime.map(|lifetime| shared.created.saturating_add(span(lifetime)));
            shared.ends.store(ends.unwrap_or(super::clock::NEVER), Relaxed);
            if let Some(remote) = body.remote() {
                remote.pending.ends = Some(ends.map(time));
            }
        });
    }

    /// When the session ends if nobody asks for it; `None`: never. It works after the end,
    /// too.
    #[doc(alias = "getExpiration")]
    pub fn expiration(&self) -> Option<SystemTime> {
        time_or_never(self.shared.deadline(self.shared.state.last_accessed()))
    }

    /// The address of the client whose request made the session. It works after the end,
    /// too.
    #[doc(alias = "clientAddress")]
    pub fn client_address(&self) -> Option<IpAddr> {
        self.shared.client_address
    }

    /// The web application the session belongs to. It works after the end, too.
    #[doc(alias = "getServletContext")]
    pub fn context(&self) -> &WebContext {
        &self.shared.core.context
    }

    /// Whether the client has not shown the id yet: it was just made, or the client takes
    /// no cookies. `IllegalState` after the end.
    #[doc(alias = "isNew")]
    pub fn is_new(&self) -> Result<bool> {
        self.check_alive()?;
        Ok(!self.shared.joined.load(Relaxed))
    }

    /// Whether the session has not ended.
    pub fn is_valid(&self) -> bool {
        self.check_alive().is_ok()
    }

    /// The attribute of this name, as a [type that it has](FromValue). `NotFound` where
    /// there is none, `BadCast` where it is of another type, `IllegalState` after the end.
    pub fn get<T: FromValue>(&self, name: &str) -> Result<T> {
        self.attribute(name)?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the web session has no attribute {name:?}"))
        })
    }

    /// The attribute of this name, or `None`. `BadCast` where it is of another type,
    /// `IllegalState` after the end.
    #[doc(alias = "getAttribute")]
    pub fn attribute<T: FromValue>(&self, name: &str) -> Result<Option<T>> {
        self.check_alive()?;
        let body = self.body()?;
        let Some(value) = body.attributes.get(name) else {
            return Ok(None);
        };
        let value = value.clone();
        drop(body);
        cast(name, value).map(Some)
    }

    /// The attribute of this name, or this default. `BadCast` where it is of another type,
    /// `IllegalState` after the end.
    pub fn get_or<T: FromValue>(&self, name: &str, default: T) -> Result<T> {
        Ok(self.attribute(name)?.unwrap_or(default))
    }

    /// Sets an attribute and gives back the value it had. `IllegalState` after the end;
    /// `InvalidArgument` where the session's store can't carry the value; `TooLarge` past
    /// the limits of manager or store.
    ///
    /// Text, numbers, truth values and bytes are given as they are, objects as an `Arc`, or
    /// as an [`Object`] if they want to hear of it.
    #[doc(alias = "setAttribute")]
    pub fn set(&self, name: &str, value: impl Into<Value>) -> Result<Option<Value>> {
        self.set_value(name, value.into())
    }

    /// As [`set`](WebSession::set), and without a value as [`erase`](WebSession::erase).
    #[doc(alias = "setAttribute")]
    pub fn set_attribute(&self, name: &str, value: Option<Value>) -> Result<Option<Value>> {
        match value {
            Some(value) => self.set_value(name, value),
            None => self.take(name),
        }
    }

    /// Sets an object that hears when it is bound and unbound.
    pub fn set_bound<T>(&self, name: &str, value: Arc<T>) -> Result<Option<Value>>
    where
        T: SessionBindingListener + 'static,
    {
        self.set_value(name, Object::<T>::new(value).bound().into())
    }

    /// Sets an object that hears when its session leaves memory, for its store, and when it
    /// is back.
    pub fn set_activating<T>(&self, name: &str, value: Arc<T>) -> Result<Option<Value>>
    where
        T: SessionActivationListener + Portable,
    {
        self.set_value(name, Object::<T>::new(value).activating().portable().into())
    }

    /// Sets an attribute to whatever serde can turn into JSON, so that every store can
    /// carry it. Fails as [`set`](WebSession::set) does, and with `InvalidArgument` where
    /// there is no JSON for the value.
    #[cfg(feature = "serde")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
    pub fn set_json<T: serde::Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<Option<Value>> {
        let text = serde_json::to_string(value).map_err(|error| {
            Error::invalid_argument(format!("the value for {name:?} can't be serialised")).with_source(error)
        })?;
        self.set_value(name, Value::json(text))
    }

    /// The attribute that [`set_json`](WebSession::set_json) set, or `None`. `BadCast` where
    /// it is something else, `IllegalState` after the end.
    #[cfg(feature = "serde")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
    pub fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let Some(value) = self.attribute::<Value>(name)? else {
            return Ok(None);
        };
        let text = value.as_json().ok_or_else(|| bad_cast::<T>(name))?;
        serde_json::from_str(text).map(Some).map_err(|error| bad_cast::<T>(name).with_source(error))
    }

    /// Changes an attribute atomically: from what it is, or `None`, to what the function
    /// makes of it, where `None` removes it. Returns the new value. Fails as
    /// [`set`](WebSession::set) does, and with `BadCast` where the attribute is of another
    /// type.
    ///
    /// The function runs without any lock; where another thread changed the attribute
    /// meanwhile, it is called again, with the new value. With a store beyond the process,
    /// the change is atomic towards other nodes too, and is stored when this returns.
    pub fn update<T>(&self, name: &str, mut change: impl FnMut(Option<T>) -> Option<T>) -> Result<Option<T>>
    where
        T: FromValue + Into<Value>,
    {
        let new = self.update_value(name, &mut |old| {
            let old = old.map(|old| cast(name, old.clone())).transpose()?;
            Ok(change(old).map(Into::into))
        })?;
        new.map(|new| cast(name, new)).transpose()
    }

    /// Removes an attribute, and says whether there was one. `IllegalState` after the end.
    pub fn erase(&self, name: &str) -> Result<bool> {
        Ok(self.take(name)?.is_some())
    }

    /// Removes an attribute, if there is one. `IllegalState` after the end.
    #[doc(alias = "removeAttribute")]
    pub fn remove_attribute(&self, name: &str) -> Result<()> {
        self.take(name).map(drop)
    }

    /// Whether there is an attribute of this name; `false` after the end.
    #[doc(alias = "find")]
    pub fn has(&self, name: &str) -> bool {
        self.check_alive().is_ok() && self.body().is_ok_and(|body| body.attributes.get(name).is_some())
    }

    /// As [`has`](WebSession::has).
    #[doc(alias = "hasAttribute")]
    pub fn has_attribute(&self, name: &str) -> bool {
        self.has(name)
    }

    /// The names of the attributes, in order. `IllegalState` after the end.
    #[doc(alias = "getAttributeNames")]
    pub fn attribute_names(&self) -> Result<Vec<String>> {
        self.check_alive()?;
        Ok(self.body()?.attributes.iter().map(|(name, _)| name.to_owned()).collect())
    }

    /// The attributes as they are now, in the order of their names: what happens to the
    /// session later does not show. `IllegalState` after the end.
    #[doc(alias = "begin")]
    #[doc(alias = "end")]
    #[doc(alias = "Attributes")]
    pub fn iter(&self) -> Result<std::vec::IntoIter<(String, Value)>> {
        Ok(self.snapshot()?.into_vec().into_iter())
    }

    /// Calls the function with each attribute of such a snapshot. `IllegalState` after the
    /// end.
    pub fn for_each(&self, mut each: impl FnMut(&str, &Value)) -> Result<()> {
        self.snapshot()?.iter().for_each(|(name, value)| each(name, value));
        Ok(())
    }

    /// Removes all attributes. `IllegalState` after the end.
    pub fn clear(&self) -> Result<()> {
        self.check_alive()?;
        let mut body = self.body()?;
        let attributes = body.attributes.take();
        if let Some(remote) = body.remote() {
            remote.clear();
        }
        let heard = self.shared.core.listeners.hear_attributes();
        let mut dropped = Vec::new();
        for (name, old) in attributes.into_vec() {
            match heard || old.is_listener() {
                true => body.push(Event::Removed { name: name.into(), old }),
                false => dropped.push(old),
            }
        }
        drop(body);
        drop(dropped);
        self.tell();
        self.write_through()
    }

    /// The owner of the session's objects goes away: removes all attributes, while their
    /// destructors are still there. The session stays. Nothing is done where the owner is
    /// not the session's application, or the session has ended.
    #[doc(alias = "onBundleStopping")]
    pub fn on_owner_stopping(&self, owner: &WebContext) {
        if self.context() == owner {
            if let Err(error) = self.clear() {
                if error.kind() != ErrorKind::IllegalState {
                    self.shared.core.listeners.report(&error);
                }
            }
        }
    }

    /// Calls the function when the session has ended, once, with what was in it.
    /// `IllegalState` after the end.
    #[doc(alias = "sessionEnds")]
    pub fn on_session_ends(
        &self,
        listener: impl Fn(&EndedSession<'_>) + Send + Sync + 'static,
    ) -> Result<Subscription> {
        self.check_alive()?;
        let mut body = self.body()?;
        let number = body.make_extra().subscribe(Arc::new(listener));
        Ok(Subscription { session: Arc::downgrade(&self.shared), number })
    }

    /// Ends the session, then unbinds what is bound to it. `IllegalState` if it has ended.
    ///
    /// Its id finds nothing from then on, and the client is told to forget the cookie where
    /// this is called during a request. Where the store can't be told, this fails with
    /// [`Store`](ErrorKind::Store), and the session has not ended.
    pub fn invalidate(&self) -> Result<()> {
        self.end_with(EndReason::Invalidated)
    }

    /// Gives the session a new id, as everybody should who logs a user in: the old one,
    /// which somebody else may know, finds nothing any more. All else stays.
    /// `IllegalState` after the end.
    ///
    /// Where this is called during a request, its response sets the cookie. Of several
    /// threads that rotate at the same time one does; the others return its id.
    #[doc(alias = "changeSessionId")]
    pub fn rotate_id(&self) -> Result<SessionId> {
        self.rotate(None)
    }

    /// As [`rotate_id`](WebSession::rotate_id), but the old id finds the session for a while
    /// longer: for pages that send several requests at a time. It is not sent to the client
    /// again, and requests that come with it are not told the new one.
    pub fn rotate_id_with_grace(&self, grace: Duration) -> Result<SessionId> {
        self.rotate(Some(grace))
    }

    /// A second secret of the session, to be put into forms and compared when they come
    /// back: other sites don't know it. Made when it is first asked for. `IllegalState` after
    /// the end.
    #[doc(alias = "csrfToken")]
    pub fn csrf_token(&self) -> Result<Arc<str>> {
        self.check_alive()?;
        if let Some(token) = self.body()?.extra().and_then(|extra| extra.csrf_token.clone()) {
            return Ok(token);
        }
        let token: Arc<str> = random_token()?.into();
        let mut body = self.body()?;
        let extra = body.make_extra();
        let token = extra.csrf_token.get_or_insert(token).clone();
        if let Some(remote) = &mut extra.remote {
            remote.pending.csrf_token = Some(token.to_string());
        }
        drop(body);
        self.write_through()?;
        Ok(token)
    }

    /// Whether this is the [`csrf_token`](WebSession::csrf_token). How long it takes does not
    /// tell how much of it is right.
    pub fn verify_csrf(&self, token: &str) -> bool {
        if self.check_alive().is_err() {
            return false;
        }
        let known = self.body().ok().and_then(|body| body.extra()?.csrf_token.clone());
        known.is_some_and(|known| {
            let difference =
                known.bytes().zip(token.bytes()).fold(0, |sum, (a, b)| std::hint::black_box(sum | (a ^ b)));
            known.len() == token.len() && difference == 0
        })
    }

    /// Whose session this is, if that was set; `None` after the end.
    pub fn principal(&self) -> Option<Arc<str>> {
        self.body().ok()?.extra()?.principal.clone()
    }

    /// Says whose session this is, so that all of somebody's sessions can be found and
    /// ended: see [`WebSessionManager::end_all_of`](super::WebSessionManager::end_all_of).
    /// `IllegalState` after the end.
    pub fn set_principal(&self, principal: Option<&str>) -> Result<()> {
        self.check_alive()?;
        let principal: Option<Arc<str>> = principal.map(Into::into);
        let mut body = self.body()?;
        let extra = body.make_extra();
        let old = std::mem::replace(&mut extra.principal, principal.clone());
        if let Some(remote) = &mut extra.remote {
            remote.pending.principal = Some(principal.as_deref().map(str::to_owned));
        }
        drop(body);
        let core = &self.shared.core;
        if let Some(old) = old.filter(|old| Some(old) != principal.as_ref()) {
            core.principals.remove(&old, &self.shared);
        }
        if let Some(principal) = principal.filter(|_| core.store.is_none()) {
            let all = core.principals.add(&principal, &self.shared);
            if self.shared.state.look() == Look::Ended {
                // It ended in between, and nobody else will take it out.
                core.principals.remove(&principal, &self.shared);
            }
            let too_many = all.len().saturating_sub(core.max_per_principal);
            for other in all.into_iter().take(too_many) {
                // The session that was just logged in is the last of them. An end that
                // fails was made by somebody else, or is reported by the store's sweep.
                _ = WebSession::plain(other).end_with(EndReason::Evicted);
            }
        }
        self.write_through()
    }

    /// Waits until no other thread has the session locked, and locks it, for the thread, as
    /// long as the guard lives: for changes that read several attributes and write several.
    /// `IllegalState` after the end.
    ///
    /// It keeps out those who lock too, and nobody else: every single method is safe
    /// without. Who waited longest is next, and a thread that has the lock gets it again.
    /// Other processes are not kept out: [`update`](WebSession::update) is atomic for them too.
    pub fn lock(&self) -> Result<SessionGuard<'_>> {
        let lock = self.fair_lock()?;
        lock.acquire();
        let guard = SessionGuard { session: self, lock, not_send: PhantomData };
        self.check_alive()?;
        Ok(guard)
    }

    /// As [`lock`](WebSession::lock), but returns `None` where it would have to wait.
    pub fn try_lock(&self) -> Result<Option<SessionGuard<'_>>> {
        let lock = self.fair_lock()?;
        if !lock.try_acquire() {
            return Ok(None);
        }
        let guard = SessionGuard { session: self, lock, not_send: PhantomData };
        self.check_alive()?;
        Ok(Some(guard))
    }

    fn fair_lock(&self) -> Result<Arc<FairLock>> {
        self.check_alive()?;
        Ok(self.body()?.make_extra().lock.get_or_insert_default().clone())
    }

    /// The body, unless the session has ended. Looking at it under the lock makes sure that
    /// what is put into it is found by whoever ends the session.
    #[inline]
    pub(super) fn body(&self) -> Result<super::sync::MutexGuard<'_, Body>> {
        let body = lock(&self.shared.body);
        match self.shared.state.look() {
            Look::Ended => Err(ended()),
            _ => Ok(body),
        }
    }

    /// Fails if the session has ended, or is over, which ends it.
    #[inline]
    pub(super) fn check_alive(&self) -> Result<()> {
        match self.shared.state.look() {
            Look::InUse => Ok(()),
            look => self.check_idle(look),
        }
    }

    fn check_idle(&self, look: Look) -> Result<()> {
        match look {
            Look::Ended => Err(ended()),
            Look::InUse => Ok(()),
            Look::Idle if self.shared.ends.load(Relaxed) == u64::MAX && self.timeout().is_none() => Ok(()),
            Look::Idle => {
                let now = self.shared.core.now();
                if !self.shared.is_over(now) || self.lives_on_elsewhere(now)? {
                    return Ok(());
                }
                match self.end_if_over(now) || self.shared.state.look() == Look::Ended {
                    true => Err(ended()),
                    // A request came in between.
                    false => Ok(()),
                }
            }
        }
    }

    /// Ends the session if it is over, not in use, and this caller is the first.
    pub(super) fn end_if_over(&self, now: u64) -> bool {
        let first = self.shared.end_if_over(now);
        if first {
            self.after_end(EndReason::Expired);
        }
        first
    }

    /// Ends the session, in its store too; `IllegalState` if it has ended.
    pub(super) fn end_with(&self, reason: EndReason) -> Result<()> {
        self.check_alive()?;
        let told = self.remove_from_store(reason)?;
        if !self.end(reason) {
            return Err(ended());
        }
        if !told {
            // It may have been stored in between.
            if let Err(error) = self.remove_from_store(reason) {
                self.shared.core.listeners.report(&error);
            }
        }
        Ok(())
    }

    /// Ends the session in this process, if this caller is the first.
    pub(super) fn end(&self, reason: EndReason) -> bool {
        let first = self.shared.state.end();
        if first {
            self.after_end(reason);
        }
        first
    }

    /// What follows the end, done by the one who ended it: out of the table, then tell.
    pub(super) fn after_end(&self, reason: EndReason) {
        let core = &self.shared.core;
        let mut body = lock(&self.shared.body);
        let id = body.id;
        let attributes = body.attributes.take();
        let (aliases, principal, subscribers) = match body.extra_mut() {
            Some(extra) => {
                (std::mem::take(&mut extra.aliases), extra.principal.take(), extra.take_subscribers())
            }
            None => Default::default(),
        };
        if self.visit != 0 && reason.is_local() {
            body.make_extra().ended_by = self.visit;
        }
        drop(body);
        if let Some(table) = core.table.upgrade() {
            aliases.iter().chain([&id]).for_each(|id| table.remove(id));
        }
        if let Some(principal) = principal {
            core.principals.remove(&principal, &self.shared);
        }
        if core.store.is_none() {
            core.counters.leave();
        }
        core.counters.ended(reason, core.now().saturating_sub(self.shared.created));
        let heard = core.listeners.hear_sessions()
            || core.listeners.hear_attributes()
            || !subscribers.is_empty()
            || attributes.iter().any(|(_, value)| value.is_listener());
        if heard {
            lock(&self.shared.body).push(Event::Ended { reason, attributes, subscribers });
            self.tell();
        }
    }

    /// Tells what there is to tell, unless somebody is at it.
    pub(super) fn tell(&self) {
        let mut first = true;
        while let Some(event) = self.shared.next_event(first) {
            first = false;
            self.shared.core.listeners.tell(self, event);
        }
    }

    fn snapshot(&self) -> Result<Attributes> {
        self.check_alive()?;
        Ok(self.body()?.attributes.clone())
    }

    fn set_value(&self, name: &str, value: Value) -> Result<Option<Value>> {
        self.check_alive()?;
        let encoded = self.encode(&value)?;
        let mut body = self.body()?;
        self.has_room(&mut body, name, encoded.as_deref())?;
        let old = self.put(&mut body, name, value, encoded);
        let told = body.extra().is_some();
        drop(body);
        if told {
            self.tell();
            self.write_through()?;
        }
        Ok(old)
    }

    fn take(&self, name: &str) -> Result<Option<Value>> {
        self.check_alive()?;
        let mut body = self.body()?;
        let old = self.pull(&mut body, name);
        drop(body);
        self.tell();
        self.write_through()?;
        Ok(old)
    }

    /// Whether an attribute can be put in.
    #[inline]
    pub(super) fn has_room(&self, body: &mut Body, name: &str, encoded: Option<&[u8]>) -> Result<()> {
        let full = body.attributes.len() >= self.shared.core.max_attributes;
        if full && body.attributes.get(name).is_none() {
            return Err(Error::too_large("the web session has too many attributes"));
        }
        match (body.remote(), encoded) {
            (Some(remote), Some(encoded)) => remote.has_room(name, encoded),
            _ => Ok(()),
        }
    }

    /// Puts an attribute in, for which there is room, and notes what has to be told and
    /// stored.
    #[inline]
    pub(super) fn put(
        &self,
        body: &mut Body,
        name: &str,
        value: Value,
        encoded: Option<Vec<u8>>,
    ) -> Option<Value> {
        if let Some(encoded) = encoded {
            if let Some(remote) = body.remote() {
                remote.put(name, encoded);
            }
        }
        if !self.shared.core.listeners.hear_attributes() && !value.is_listener() {
            let old = body.attributes.set(name, value)?;
            if old.is_listener() {
                let new = body.attributes.get(name).cloned();
                body.push_set(name, new, Some(old.clone()));
            }
            return Some(old);
        }
        let old = body.attributes.set(name, value.clone());
        body.push_set(name, Some(value), old.clone());
        old
    }

    /// Takes an attribute out, and notes what has to be told and stored.
    pub(super) fn pull(&self, body: &mut Body, name: &str) -> Option<Value> {
        let old = body.attributes.remove(name)?;
        if let Some(remote) = body.remote() {
            remote.pull(name);
        }
        if self.shared.core.listeners.hear_attributes() || old.is_listener() {
            body.push(Event::Removed { name: name.into(), old: old.clone() });
        }
        Some(old)
    }

    /// One attempt after the other to exchange a value for the one made of it.
    fn update_value(
        &self,
        name: &str,
        change: &mut dyn FnMut(Option<&Value>) -> Result<Option<Value>>,
    ) -> Result<Option<Value>> {
        loop {
            self.check_alive()?;
            let (old, version) = {
                let mut body = self.body()?;
                let version = body.remote().and_then(|remote| remote.stored.then_some(remote.version));
                (body.attributes.get(name).cloned(), version)
            };
            let new = change(old.as_ref())?;
            let encoded = new.as_ref().map(|new| self.encode(new)).transpose()?.flatten();
            if let Some(version) = version {
                match self.update_store(name, version, old.as_ref(), new.as_ref(), encoded)? {
                    true => return Ok(new),
                    false => continue,
                }
            }
            let mut body = self.body()?;
            if !Value::same_option(body.attributes.get(name), old.as_ref()) {
                continue;
            }
            let replaced = match &new {
                Some(new) => {
                    self.has_room(&mut body, name, encoded.as_deref())?;
                    self.put(&mut body, name, new.clone(), encoded)
                }
                None => self.pull(&mut body, name),
            };
            drop(body);
            drop(replaced);
            self.tell();
            self.write_through()?;
            return Ok(new);
        }
    }

    /// Changes something about the session's times, unless it has ended or is over.
    fn change(&self, change: impl FnOnce(&Shared, &mut Body)) {
        if self.check_alive().is_err() {
            return;
        }
        let Ok(mut body) = self.body() else {
            return;
        };
        change(&self.shared, &mut body);
        drop(body);
        if let Err(error) = self.write_through() {
            // It is saved later: the change is still pending.
            self.shared.core.listeners.report(&error);
        }
    }

    fn rotate(&self, grace: Option<Duration>) -> Result<SessionId> {
        self.check_alive()?;
        let old = self.id();
        let core = &self.shared.core;
        let table = core.table.upgrade();
        loop {
            let new = old.rotated()?;
            if table.as_ref().is_some_and(|table| !table.insert(&new, self.shared.clone())) {
                continue;
            }
            let done = self.switch_id(&old, &new, grace);
            let until = grace.map(|grace| core.now().saturating_add(span(grace)));
            if let Some(table) = &table {
                match done {
                    Ok(id) if id == new => table.retire(&old, &self.shared, until),
                    _ => table.remove(&new),
                }
                if self.shared.state.look() == Look::Ended {
                    // It ended in between: whoever ended it did not see this one.
                    table.remove(&old);
                }
            }
            self.tell();
            return done;
        }
    }

    /// Makes the new id the session's, in its store and here, if the old one still is, and
    /// returns what it is then.
    fn switch_id(&self, old: &SessionId, new: &SessionId, grace: Option<Duration>) -> Result<SessionId> {
        self.move_in_store(old, new, grace, || {
            let mut body = self.body()?;
            if body.id != *old {
                return Ok(body.id);
            }
            body.id = *new;
            let heard = self.shared.core.listeners.hear_sessions();
            let extra = body.make_extra();
            extra.rotated_by = self.visit;
            if grace.is_some() {
                extra.aliases.push(*old);
                let too_many = extra.aliases.len().saturating_sub(MAX_ALIASES);
                extra.aliases.drain(..too_many);
            }
            if heard {
                body.push(Event::IdChanged { old: *old });
            }
            Ok(*new)
        })
    }

    /// The extra part, for a look.
    pub(super) fn with_extra<T: Default>(&self, look: impl FnOnce(&mut Extra) -> T) -> T {
        lock(&self.shared.body).extra_mut().map_or_else(T::default, look)
    }
}

#[inline]
fn cast<T: FromValue>(name: &str, value: Value) -> Result<T> {
    T::from_value(value).ok_or_else(|| bad_cast::<T>(name))
}

fn bad_cast<T>(name: &str) -> Error {
    let wanted = std::any::type_name::<T>();
    Error::new(ErrorKind::BadCast, format!("the attribute {name:?} of the web session is no {wanted}"))
}

pub(super) fn ended() -> Error {
    Error::illegal_state("the web session has ended")
}

impl Clone for WebSession {
    /// Another handle on the same session, for the same request, that does not count as a
    /// use.
    fn clone(&self) -> WebSession {
        let visit_is = self.visit_is.with(VisitIs::COUNTED, false);
        WebSession { shared: self.shared.clone(), visit: self.visit, visit_is }
    }
}

impl Drop for WebSession {
    fn drop(&mut self) {
        if self.visit_is.has(VisitIs::COUNTED) {
            self.leave_visit();
            self.shared.state.leave();
        }
    }
}

impl PartialEq for WebSession {
    /// Whether both are handles on one session.
    fn eq(&self, other: &WebSession) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for WebSession {}

impl fmt::Debug for WebSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSession")
            .field("id", &self.id())
            .field("state", &self.shared.state.look())
            .finish_non_exhaustive()
    }
}

/// Keeps a session locked, for the thread: see [`WebSession::lock`].
///
/// ```
/// use sessile::web::{MemoryStore, WebSessionManager};
///
/// let manager = WebSessionManager::new(MemoryStore::new());
/// let session = manager.new_session()?;
/// let locked = session.lock()?;
/// let total = locked.get_or("a", 1)? + locked.get_or("b", 2)?;
/// locked.set("total", total)?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[must_use = "the session is locked as long as the guard lives"]
pub struct SessionGuard<'a> {
    session: &'a WebSession,
    lock: Arc<FairLock>,
    /// The lock belongs to the thread.
    not_send: PhantomData<*const ()>,
}

impl Deref for SessionGuard<'_> {
    type Target = WebSession;

    fn deref(&self) -> &WebSession {
        self.session
    }
}

impl Drop for SessionGuard<'_> {
    fn drop(&mut self) {
        self.lock.release();
    }
}

impl fmt::Debug for SessionGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionGuard").field(&self.session).finish()
    }
}

/// More rotations than that within a grace period are not those of a page.
const MAX_ALIASES: usize = 8;
