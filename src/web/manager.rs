//! Finds the session of a request, makes new ones, and ends those it is told to.
//!
//! A manager is one web application's: an id of another one's session finds nothing here.
//! An id that the manager does not know is never taken over from a client: a new session
//! gets a new id, always. What is due now and then is in `sweep`.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Once};
use std::time::Duration;

use super::builder::{AddressCheck, Settings, WebSessionManagerBuilder, WhenFull};
use super::clock::{NEVER, millis, span, span_or_never, time};
use super::context::WebContext;
use super::id::{SessionId, StoreKey};
use super::listeners::{EndReason, Event, SessionAttributeListener, SessionListener};
use super::remote::MOVES;
use super::session::{VisitIs, WebSession};
use super::shared::{Core, Shared, next_visit};
use super::state::Entered;
use super::statistics::Statistics;
use super::store::{Opened, SessionStore};
use super::sweep::{Evictor, Sweeper};
use super::sync::lock;
use super::table::Table;
use super::tracking::{Shown, Visit};
use crate::message::Response;
use crate::{Error, ErrorKind, Result};

/// The web sessions of an application.
///
/// A handle: clones are the same manager. When the last one is dropped, sessions that are
/// in memory only end, with [`EndReason::Shutdown`].
///
/// A server asks it for the session of a request, by [`find`](WebSessionManager::find),
/// [`open`](WebSessionManager::open) or [`create`](WebSessionManager::create), and before
/// the head of the response goes out tells it so, by [`finish`](WebSessionManager::finish):
/// then what changed is stored, and the cookie set if it is needed.
///
/// ```
/// use sessile::message::{Request, Response};
/// use sessile::web::{MemoryStore, Visit, WebSessionManager};
///
/// let manager = WebSessionManager::new(MemoryStore::new());
///
/// // The first request comes without a cookie.
/// let request = Request::get("/");
/// let session = manager.open(&Visit::new(&request))?;
/// assert!(session.is_new()?);
/// session.set("user", "Ann")?;
/// let mut response = Response::new();
/// manager.finish(&session, &mut response)?;
/// assert!(response.headers().has("Set-Cookie"));
///
/// // The next one brings it.
/// let mut request = Request::get("/");
/// request.headers_mut().set("Cookie", format!("id={}", session.id()))?;
/// let session = manager.find(&Visit::new(&request))?.unwrap();
/// assert!(!session.is_new()?);
/// assert_eq!(session.get::<String>("user")?, "Ann");
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Clone)]
#[doc(alias = "WebSessionService")]
#[doc(alias = "HttpSessionContext")]
pub struct WebSessionManager(pub(super) Arc<Manager>);

pub(crate) struct Manager {
    pub(super) core: Arc<Core>,
    pub(super) table: Arc<Table>,
    pub(super) settings: Settings,
    pub(super) evictor: Evictor,
    sweeper: Sweeper,
    sweeping: Once,
    made: u64,
    closed: AtomicBool,
}

impl WebSessionManager {
    /// A manager with the default settings, which keeps its sessions in this store.
    pub fn new(store: impl SessionStore) -> WebSessionManager {
        WebSessionManager::builder(store).build()
    }

    /// A manager to be set up.
    pub fn builder(store: impl SessionStore) -> WebSessionManagerBuilder {
        WebSessionManagerBuilder::new(Box::new(store))
    }

    pub(super) fn from_parts(core: Arc<Core>, table: Arc<Table>, settings: Settings) -> WebSessionManager {
        let made = core.now();
        WebSessionManager(Arc::new(Manager {
            core,
            table,
            settings,
            evictor: Evictor::default(),
            sweeper: Sweeper::default(),
            sweeping: Once::new(),
            made,
            closed: AtomicBool::new(false),
        }))
    }

    /// The session that the request shows the id of, if there is one: a request of its
    /// client. All ids that it shows are tried. [`Store`](ErrorKind::Store) where the store
    /// can't be asked.
    #[doc(alias = "getSession")]
    pub fn find(&self, visit: &Visit<'_>) -> Result<Option<WebSession>> {
        for shown in self.0.settings.tracking.ids(visit) {
            if let Some(session) = self.find_shown(Some(visit), shown)? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// The session with an id that a client showed by other means than a cookie or the
    /// target of a request, in a WebSocket's first message, say: a request of its client,
    /// as for [`find`](WebSessionManager::find).
    pub fn resume(&self, id: &SessionId) -> Result<Option<WebSession>> {
        self.find_shown(None, Shown { id: *id, by_cookie: false })
    }

    /// The session that the request shows the id of, or a new one. Fails as
    /// [`find`](WebSessionManager::find) and [`create`](WebSessionManager::create) do.
    #[doc(alias = "get")]
    #[doc(alias = "getSession")]
    pub fn open(&self, visit: &Visit<'_>) -> Result<WebSession> {
        match self.find(visit)? {
            Some(session) => Ok(session),
            None => self.create(visit),
        }
    }

    /// A new session for the client of this request, whatever id it shows. Fails where there
    /// are too many: see [`max_sessions`](WebSessionManagerBuilder::max_sessions).
    pub fn create(&self, visit: &Visit<'_>) -> Result<WebSession> {
        let mut session = self.make(visit.client_address)?;
        // However short its time is, it lasts for this request.
        let state = &session.shared.state;
        let counted = state.enter(session.shared.created, |_, _| false) == Entered::Yes;
        session.visit = next_visit();
        session.visit_is = VisitIs::MAKER.with(VisitIs::COUNTED, counted).with(VisitIs::SECURE, visit.secure);
        session.defer();
        self.announce(&session);
        Ok(session)
    }

    /// A new session without a request: whoever asked for it brings its
    /// [id](WebSession::id) to the client. Fails as [`create`](WebSessionManager::create) does.
    pub fn new_session(&self) -> Result<WebSession> {
        let session = self.make(None)?;
        self.announce(&session);
        session.save()?;
        Ok(session)
    }

    /// To be called with the handle that was returned for a request, before the head of the
    /// response goes out: stores what changed, and sets the cookie where the session was
    /// made, or its id rotated, by this request; where it was ended by it, the client is
    /// told to forget it.
    ///
    /// A response that sets the cookie gets `Cache-Control: no-store`. What is changed from
    /// here on is stored as it is changed. It may be called again, as long as the head has
    /// not gone out.
    pub fn finish(&self, session: &WebSession, response: &mut Response) -> Result<()> {
        let saved = session.save();
        session.leave_visit();
        match saved {
            // It ended, here or on another node: there is nothing to save.
            Err(error) if error.kind() == ErrorKind::IllegalState => {}
            saved => saved?,
        }
        let (manager, is) = (&*self.0, session.visit_is);
        let (tracking, context) = (&manager.settings.tracking, &manager.core.context);
        let (rotated_by, ended_by) = session.with_extra(|extra| (extra.rotated_by, extra.ended_by));
        if !session.is_valid() {
            return match is.has(VisitIs::BY_COOKIE) && session.visit != 0 && ended_by == session.visit {
                true => tracking.expire_cookie(context, response, is.has(VisitIs::SECURE)),
                false => Ok(()),
            };
        }
        let ours = is.has(VisitIs::MAKER) || (session.visit != 0 && rotated_by == session.visit);
        let timeout = session.timeout();
        if self.is_cookie_due(session, ours, timeout) {
            tracking.set_cookie(context, response, &session.id(), is.has(VisitIs::SECURE), timeout)?;
        }
        Ok(())
    }

    /// Whether the client has to be sent the cookie: it does not know the id (`ours`), or the
    /// cookie outlives the browser, and the client's copy is a good deal older than the
    /// session's latest access, or is for another time.
    fn is_cookie_due(&self, session: &WebSession, ours: bool, timeout: Option<Duration>) -> bool {
        let is = session.visit_is;
        if !self.0.settings.tracking.persistent {
            return ours;
        }
        if !ours && (!is.has(VisitIs::BY_COOKIE) || is.has(VisitIs::BY_ALIAS)) {
            return false;
        }
        let (now, age) = (self.0.core.now(), span_or_never(timeout));
        let often = timeout.map_or(COOKIE_AGE, |timeout| span(timeout) / 10);
        let mut body = lock(&session.shared.body);
        let (sent, sent_for) = &mut body.make_extra().cookie_sent;
        let due = ours || now.saturating_sub(*sent) >= often || *sent_for != age;
        if due {
            (*sent, *sent_for) = (now, age);
        }
        due
    }

    /// Puts the id of the request's session into a URL, as `;id=…`, where that is
    /// [wanted](WebSessionManagerBuilder::url_rewriting), the client has not shown it in a
    /// cookie, and the URL leads back to this host; otherwise returns the URL as it is.
    #[doc(alias = "encodeURL")]
    #[doc(alias = "encodeRedirectURL")]
    pub fn encode_url(&self, session: &WebSession, visit: &Visit<'_>, url: &str) -> String {
        match session.visit_is.has(VisitIs::BY_COOKIE)
            || session.visit_is.has(VisitIs::BY_ALIAS)
            || !session.is_valid()
        {
            true => url.to_owned(),
            false => self.0.settings.tracking.encode_url(visit, &session.id(), url),
        }
    }

    /// Ends a session, if it has not ended. [`Store`](ErrorKind::Store) where the store can't
    /// be told.
    pub fn remove(&self, session: &WebSession) -> Result<()> {
        match session.end_with(EndReason::Removed) {
            Err(error) if error.kind() != ErrorKind::IllegalState => Err(error),
            _ => Ok(()),
        }
    }

    /// The session with this id, for whoever administers sessions: this is no access, and
    /// the client has not shown the id.
    #[doc(alias = "findById")]
    pub fn find_by_id(&self, id: &SessionId) -> Result<Option<WebSession>> {
        let found = match self.0.core.store {
            Some(_) => self.find_in_store(*id, false)?.map(|(session, _)| session),
            None => self.0.find_in_memory(*id, self.0.core.now()).map(|(session, _)| session),
        };
        Ok(found.map(WebSession::plain).filter(WebSession::is_valid))
    }

    /// The ids of the sessions in memory, for whoever administers sessions. Those of other
    /// nodes are not among them.
    #[doc(alias = "getIds")]
    pub fn session_ids(&self) -> Vec<SessionId> {
        let mut ids = Vec::with_capacity(self.0.table.len());
        self.0.table.walk(|session| self.0.is_mine(session), |session| ids.push(session.id()));
        ids
    }

    /// How many sessions there are; where the store is beyond the process, in it.
    #[doc(alias = "countSessions")]
    pub fn count(&self) -> Result<usize> {
        match &self.0.core.store {
            Some(store) => store.count(),
            None => Ok(self.0.in_memory()),
        }
    }

    /// The sessions of a principal: see [`WebSession::set_principal`]. Where the store is
    /// beyond the process, it knows no ids, and those of the handles are stand-ins, but for
    /// sessions that are in memory here.
    #[doc(alias = "sessionsByValue")]
    pub fn sessions_of(&self, principal: &str) -> Result<Vec<WebSession>> {
        let core = &self.0.core;
        let Some(store) = &core.store else {
            let sessions = core.principals.of(principal).into_iter().map(WebSession::plain);
            // One that two threads gave to two principals at a time may be in the index of both.
            let is_theirs = |session: &WebSession| {
                session.is_valid() && session.principal().as_deref() == Some(principal)
            };
            return Ok(sessions.filter(is_theirs).collect());
        };
        let keys = store.of_principal(core.context.name(), principal)?;
        // Those who use one here hear of its end at once, and nobody hears of it twice.
        let mut held = if keys.is_empty() { HashMap::new() } else { self.0.held() };
        let mut sessions = Vec::new();
        for key in keys {
            let live = held.remove(&key);
            let known = live.as_ref().and_then(|live| live.with_remote(|remote| remote.version));
            let known = known.unwrap_or(0);
            match (store.open(&key, known, time(core.now()), false)?, live) {
                (Opened::Record(record), Some(live)) => {
                    live.take_over(record, known);
                    sessions.push(live);
                }
                (Opened::Record(record), None) => {
                    sessions.push(core.session_of(key.stand_in(), key, record));
                }
                (Opened::Unchanged { .. }, Some(live)) => sessions.push(live),
                (Opened::Expired(record), live) => {
                    let over = live.unwrap_or_else(|| core.session_of(key.stand_in(), key, record));
                    over.end(EndReason::Expired);
                }
                _ => {}
            }
        }
        Ok(sessions)
    }

    /// Ends all sessions of a principal ("log out everywhere"), and says how many.
    ///
    /// ```
    /// use sessile::web::{MemoryStore, WebSessionManager};
    ///
    /// let manager = WebSessionManager::new(MemoryStore::new());
    /// manager.new_session()?.set_principal(Some("ann"))?;
    /// manager.new_session()?.set_principal(Some("ann"))?;
    /// manager.new_session()?.set_principal(Some("bob"))?;
    /// assert_eq!(manager.end_all_of("ann")?, 2);
    /// assert_eq!(manager.count()?, 1);
    /// # Ok::<(), sessile::Error>(())
    /// ```
    #[doc(alias = "removeForUser")]
    pub fn end_all_of(&self, principal: &str) -> Result<usize> {
        let mut ended = 0;
        for session in self.sessions_of(principal)? {
            match session.end_with(EndReason::Removed) {
                Ok(()) => ended += 1,
                Err(error) if error.kind() == ErrorKind::IllegalState => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }

    /// The owner of the objects in the application's sessions goes away (a plug-in is
    /// unloaded): removes all attributes of all sessions. The sessions stay.
    #[doc(alias = "onBundleStopping")]
    pub fn owner_stopping(&self) {
        let context = self.0.core.context.clone();
        self.0.table.walk(|_| true, |session| WebSession::plain(session).on_owner_stopping(&context));
    }

    /// Adds somebody who hears of all sessions.
    pub fn add_listener(&self, listener: Arc<dyn SessionListener>) {
        self.0.core.listeners.add(listener);
    }

    /// Adds somebody who hears of the attributes of all sessions.
    pub fn add_attribute_listener(&self, listener: Arc<dyn SessionAttributeListener>) {
        self.0.core.listeners.add_attribute_listener(listener);
    }

    /// What the manager has seen.
    pub fn statistics(&self) -> Statistics {
        let core = &self.0.core;
        core.counters.read(self.0.in_memory(), core.now().saturating_sub(self.0.made))
    }

    /// The web application whose sessions these are.
    pub fn context(&self) -> &WebContext {
        &self.0.core.context
    }

    /// Ends the manager: sessions that are in memory only end, with
    /// [`EndReason::Shutdown`]; what is not stored yet is stored; there are no new ones from
    /// now on.
    pub fn close(&self) -> Result<()> {
        self.0.closed.store(true, Relaxed);
        self.0.sweeper.stop();
        self.0.close()
    }

    fn find_shown(&self, visit: Option<&Visit<'_>>, shown: Shown) -> Result<Option<WebSession>> {
        let (manager, core) = (&*self.0, &self.0.core);
        let now = core.now();
        let comes_from = visit.map(|visit| visit.client_address);
        // What comes from a wrong address is no access.
        let is_checked = comes_from.is_some() && manager.settings.address_check != AddressCheck::Off;
        let found = match core.store {
            Some(_) => self.find_in_store(shown.id, !is_checked)?,
            None => manager.find_in_memory(shown.id, now),
        };
        let Some((shared, by_alias)) = found else {
            return Ok(None);
        };
        if comes_from.is_some_and(|from| !manager.settings.address_check.allows(shared.client_address, from))
        {
            if manager.settings.remove_on_mismatch {
                self.remove(&WebSession::plain(shared))?;
            }
            return Ok(None);
        }
        if is_checked && core.store.is_some() && !WebSession::plain(shared.clone()).reopen(true)? {
            return Ok(None);
        }
        let counted = loop {
            match shared.enter(now) {
                Entered::Yes => break true,
                Entered::Uncounted => break false,
                Entered::Ended => return Ok(None),
                Entered::Over if WebSession::plain(shared.clone()).end_if_over(now) => return Ok(None),
                // In use by another request up to its greatest age, or it got more time just now.
                Entered::Over if shared.is_over(now) => return Ok(None),
                Entered::Over => {}
            }
        };
        if !shared.joined.load(Relaxed) {
            shared.joined.store(true, Relaxed);
        }
        let secure = visit.is_some_and(|visit| visit.secure);
        let visit_is = VisitIs::default()
            .with(VisitIs::COUNTED, counted)
            .with(VisitIs::SECURE, secure)
            .with(VisitIs::BY_COOKIE, shown.by_cookie)
            .with(VisitIs::BY_ALIAS, by_alias);
        let session = WebSession { visit: next_visit(), shared, visit_is };
        // Who is not counted does not say either that the request is over.
        if counted && core.store.is_some() {
            session.defer();
        }
        Ok(Some(session))
    }

    /// Asks the store for the session with this id, and takes over what it has. Says whether
    /// the id is an old one.
    fn find_in_store(&self, id: SessionId, access: bool) -> Result<Option<(Arc<Shared>, bool)>> {
        let (manager, core) = (&*self.0, &self.0.core);
        let Some(store) = &core.store else {
            return Ok(None);
        };
        let (mut id, mut by_alias) = (id, false);
        for _ in 0..MOVES {
            let now = core.now();
            let found = manager.table.find(&id.key(), now).filter(|found| !found.by_alias);
            let live = found.map(|found| WebSession::plain(found.session));
            let known =
                live.as_ref().and_then(|live| live.with_remote(|remote| (remote.stored, remote.version)));
            if let (Some(live), Some((false, _))) = (&live, known) {
                // Made here, and not stored yet.
                return Ok(Some((live.shared.clone(), by_alias)));
            }
            let known = known.map_or(0, |(_, version)| version);
            let key = core.store_key(&id);
            match store.open(&key, known, time(now), access)? {
                Opened::Unchanged { last_accessed } => {
                    let Some(live) = live else {
                        return Ok(None);
                    };
                    live.shared.state.raise(millis(last_accessed));
                    live.with_remote(|remote| remote.used = now);
                    return Ok(Some((live.shared.clone(), by_alias)));
                }
                Opened::Record(record) => {
                    let live = live.unwrap_or_else(|| self.keep(id, core.shell_of(id, key, &record)));
                    live.take_over(record, known);
                    live.with_remote(|remote| remote.used = now);
                    return Ok(Some((live.shared.clone(), by_alias)));
                }
                Opened::Expired(record) => {
                    let over = live.unwrap_or_else(|| core.session_of(id, key, record));
                    over.end(EndReason::Expired);
                    return Ok(None);
                }
                Opened::Moved(moved) if millis(moved.until) > now => {
                    id = moved.new_id(&id);
                    by_alias = true;
                }
                Opened::Moved(_) => return Ok(None),
                Opened::Missing => {
                    if let Some(live) = live {
                        live.is_missing(&key, now);
                    }
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// Keeps a session that was read from the store in memory, unless another thread was
    /// faster: then that one's is the session.
    fn keep(&self, id: SessionId, session: WebSession) -> WebSession {
        let kept = self.0.table.insert_or_get(&id, session.shared.clone());
        if Arc::ptr_eq(&kept, &session.shared) {
            self.0.core.counters.seen(self.0.table.len());
            self.start_sweeping();
        }
        WebSession::plain(kept)
    }

    /// A new session in the table.
    fn make(&self, client_address: Option<IpAddr>) -> Result<WebSession> {
        let (manager, core) = (&*self.0, &self.0.core);
        if manager.closed.load(Relaxed) {
            return Err(Error::illegal_state("the manager of web sessions is closed"));
        }
        self.start_sweeping();
        if core.store.is_none() {
            self.reserve()?;
        }
        let now = core.now();
        let made = SessionId::random().map(|mut id| {
            loop {
                let shared = Shared::new(core, id, now, client_address);
                shared.timeout.store(span_or_never(manager.settings.timeout), Relaxed);
                let ends = manager.settings.max_lifetime.map_or(NEVER, |age| now.saturating_add(span(age)));
                shared.ends.store(ends, Relaxed);
                let shared = Arc::new(shared);
                core.make_remote(&shared, || core.store_key(&id));
                if manager.table.insert(&id, shared.clone()) {
                    core.counters.created();
                    core.counters.seen(manager.table.len());
                    return Ok(WebSession::plain(shared));
                }
                id = SessionId::random()?;
            }
        });
        made.and_then(|made| made).inspect_err(|_| {
            if core.store.is_none() {
                core.counters.leave();
            }
        })
    }

    /// Room for one more session in memory.
    fn reserve(&self) -> Result<()> {
        let (manager, core) = (&*self.0, &self.0.core);
        if core.counters.enter() <= manager.settings.max_sessions as u64 {
            return Ok(());
        }
        if manager.settings.when_full == WhenFull::Evict && manager.evictor.evict(&manager.table, core) {
            return Ok(());
        }
        core.counters.leave();
        core.counters.refused();
        Err(Error::new(ErrorKind::Store, "there are too many web sessions"))
    }

    fn announce(&self, session: &WebSession) {
        if self.0.core.listeners.hear_sessions() {
            lock(&session.shared.body).push(Event::Created);
            session.tell();
        }
    }

    /// Has a thread sweep from now on, if that is wanted.
    pub(super) fn start_sweeping(&self) {
        let Some(every) = self.0.settings.sweep_every else {
            return;
        };
        self.0.sweeping.call_once(|| self.0.sweeper.start(Arc::downgrade(&self.0), every));
    }
}

impl Manager {
    /// The session with this id, and whether that is an old one.
    fn find_in_memory(&self, id: SessionId, now: u64) -> Option<(Arc<Shared>, bool)> {
        let found = self.table.find(&id.key(), now)?;
        self.is_mine(&found.session).then_some((found.session, found.by_alias))
    }

    /// Two applications may share a store in memory: each has its own sessions.
    fn is_mine(&self, session: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&session.core, &self.core) || session.core.context == self.core.context
    }

    fn in_memory(&self) -> usize {
        match self.core.store {
            Some(_) => self.table.len(),
            None => self.core.counters.active() as usize,
        }
    }

    /// The sessions that are in memory and in a store beyond the process, by their keys there.
    pub(super) fn held(&self) -> HashMap<StoreKey, WebSession> {
        let mut held = HashMap::new();
        if self.core.store.is_some() {
            let keep = |shared| {
                let session = WebSession::plain(shared);
                if let Some(key) = session.with_remote(|remote| remote.key.clone()) {
                    held.insert(key, session);
                }
            };
            self.table.walk(|_| true, keep);
        }
        held
    }

    pub(super) fn close(&self) -> Result<()> {
        let mut result = Ok(());
        // Others may take some out meanwhile, and a walk then miss some.
        for _ in 0..MOST_WALKS {
            // First all of them, for what is taken out moves those that stay.
            let mut ours = Vec::new();
            self.table.walk(|shared| Arc::ptr_eq(&shared.core, &self.core), |shared| ours.push(shared));
            if ours.is_empty() {
                break;
            }
            for session in ours.into_iter().map(WebSession::plain) {
                if self.core.store.is_none() {
                    session.end(EndReason::Shutdown);
                    continue;
                }
                match session.save() {
                    Err(error) if error.kind() != ErrorKind::IllegalState => result = Err(error),
                    _ => {}
                }
                session.passivate();
                self.table.remove(&session.id());
            }
        }
        result
    }
}

impl Drop for Manager {
    /// What is in memory only ends here. Nothing is written: see
    /// [`close`](WebSessionManager::close).
    fn drop(&mut self) {
        self.sweeper.stop();
        if self.core.store.is_none() {
            _ = self.close();
        }
    }
}

impl fmt::Debug for WebSessionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manager = &*self.0;
        f.debug_struct("WebSessionManager")
            .field("context", &manager.core.context)
            .field("store", &manager.core.store)
            .field("sessions", &manager.table.len())
            .finish_non_exhaustive()
    }
}

/// How often the end of a manager looks for sessions that are left: requests may still bring
/// some back from a store.
const MOST_WALKS: usize = 8;
/// How often a cookie without end is sent anew, in milliseconds.
const COOKIE_AGE: u64 = Duration::from_secs(24 * 60 * 60).as_millis() as u64;
