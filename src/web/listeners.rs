//! Who hears of what happens to sessions, and in which order.
//!
//! A notification is sent after the change it tells of, and with no lock held. The
//! notifications of one session are sent one after the other, in the order of its changes:
//! a change that is made while another one is being told (by another thread, or by the
//! listener itself) is told next, by whoever is telling. So nobody waits for a listener
//! but the thread it runs on, and a listener may call everything. One that panics is
//! reported, and the others go on.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use super::attributes::Attributes;
use super::id::SessionId;
use super::session::WebSession;
use super::shared::Shared;
use super::value::{FromValue, Value};
use crate::{Error, ErrorKind};

/// Hears of all sessions of a manager: that one was made, has ended, has a new id.
///
/// ```
/// use std::sync::Arc;
/// use sessile::web::{EndedSession, MemoryStore, SessionListener, WebSessionManager};
///
/// struct Farewell;
///
/// impl SessionListener for Farewell {
///     fn session_destroyed(&self, ended: &EndedSession<'_>) {
///         // What was in it can still be read.
///         let user: Option<String> = ended.attribute("user");
///         println!("{} left: {:?}", user.unwrap_or_default(), ended.reason());
///     }
/// }
///
/// let manager = WebSessionManager::new(MemoryStore::new());
/// manager.add_listener(Arc::new(Farewell));
/// manager.new_session()?.invalidate()?;
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HttpSessionListener")]
pub trait SessionListener: Send + Sync {
    /// A session was made.
    #[doc(alias = "sessionCreated")]
    fn session_created(&self, event: &SessionEvent<'_>) {
        _ = event;
    }

    /// A session has ended.
    #[doc(alias = "sessionDestroyed")]
    #[doc(alias = "sessionEnds")]
    fn session_destroyed(&self, ended: &EndedSession<'_>) {
        _ = ended;
    }

    /// A session has another id; the old one is given.
    #[doc(alias = "sessionIdChanged")]
    fn session_id_changed(&self, event: &SessionEvent<'_>, old: &SessionId) {
        _ = (event, old);
    }
}

/// Hears of the attributes of all sessions of a manager.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use sessile::web::{BindingEvent, MemoryStore, SessionAttributeListener, WebSessionManager};
///
/// #[derive(Default)]
/// struct Count(AtomicUsize);
///
/// impl SessionAttributeListener for Count {
///     fn attribute_added(&self, _event: &BindingEvent<'_>) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
/// }
///
/// let manager = WebSessionManager::new(MemoryStore::new());
/// let count = Arc::new(Count::default());
/// manager.add_attribute_listener(count.clone());
/// manager.new_session()?.set("user", "Ann")?;
/// assert_eq!(count.0.load(Ordering::Relaxed), 1);
/// # Ok::<(), sessile::Error>(())
/// ```
#[doc(alias = "HttpSessionAttributeListener")]
pub trait SessionAttributeListener: Send + Sync {
    /// A name that was unused has a value.
    #[doc(alias = "attributeAdded")]
    fn attribute_added(&self, event: &BindingEvent<'_>) {
        _ = event;
    }

    /// An attribute was taken out, or its session has ended. The event has the value that
    /// was there.
    #[doc(alias = "attributeRemoved")]
    fn attribute_removed(&self, event: &BindingEvent<'_>) {
        _ = event;
    }

    /// An attribute has another value. The event has the one that was there before.
    #[doc(alias = "attributeReplaced")]
    fn attribute_replaced(&self, event: &BindingEvent<'_>) {
        _ = event;
    }
}

/// Implemented by a value that wants to hear when it is put into a session and taken out:
/// see [`Object::bound`](super::Object::bound), where there is an example.
#[doc(alias = "HttpSessionBindingListener")]
pub trait SessionBindingListener: Send + Sync {
    /// This object is an attribute now.
    #[doc(alias = "valueBound")]
    fn value_bound(&self, event: &BindingEvent<'_>) {
        _ = event;
    }

    /// This object is not that attribute any more: it was replaced or removed, or the
    /// session has ended.
    #[doc(alias = "valueUnbound")]
    fn value_unbound(&self, event: &BindingEvent<'_>) {
        _ = event;
    }
}

/// Implemented by a value that wants to hear when its session leaves the memory of this
/// process, to live on in a store, and when it is back: see
/// [`Object::activating`](super::Object::activating).
///
/// Such a value is [portable](super::Portable) too, or the store could not keep it.
#[doc(alias = "HttpSessionActivationListener")]
pub trait SessionActivationListener: Send + Sync {
    /// The session is about to be only in its store.
    #[doc(alias = "sessionWillPassivate")]
    fn session_will_passivate(&self, event: &SessionEvent<'_>) {
        _ = event;
    }

    /// The session was read from its store.
    #[doc(alias = "sessionDidActivate")]
    fn session_did_activate(&self, event: &SessionEvent<'_>) {
        _ = event;
    }
}

/// Something happened to this session.
#[derive(Debug)]
#[doc(alias = "HttpSessionEvent")]
pub struct SessionEvent<'a> {
    session: &'a WebSession,
}

impl SessionEvent<'_> {
    /// The session.
    #[doc(alias = "getSession")]
    pub fn session(&self) -> &WebSession {
        self.session
    }
}

/// Something happened to this attribute of this session.
#[derive(Debug)]
#[doc(alias = "HttpSessionBindingEvent")]
pub struct BindingEvent<'a> {
    session: &'a WebSession,
    name: &'a str,
    value: &'a Value,
}

impl BindingEvent<'_> {
    /// The session. Where it has ended, its attributes can't be read through it any more.
    #[doc(alias = "getSession")]
    pub fn session(&self) -> &WebSession {
        self.session
    }

    /// The name of the attribute.
    #[doc(alias = "getName")]
    pub fn name(&self) -> &str {
        self.name
    }

    /// The value that was bound or unbound; the old one where it was replaced.
    #[doc(alias = "getValue")]
    pub fn value(&self) -> &Value {
        self.value
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// [`WebSession::invalidate`].
    Invalidated,
    /// Nobody used it for too long, or it reached its greatest age.
    Expired,
    /// The manager was told to remove it, or all sessions of its principal.
    Removed,
    /// There were too many sessions.
    Evicted,
    /// The manager was closed, and there is no store that would keep it.
    Shutdown,
    /// The store does not have it: another node ended it, it was lost there, or it could never
    /// be stored.
    Lost,
}

/// A session that has ended, with the attributes it had: what listeners are given.
#[derive(Debug)]
pub struct EndedSession<'a> {
    session: &'a WebSession,
    attributes: &'a Attributes,
    reason: EndReason,
}

impl EndedSession<'_> {
    /// The session itself, through which attributes can't be read any more.
    pub fn session(&self) -> &WebSession {
        self.session
    }

    /// Its last id. Where a session was found over by sweeping a store beyond the process,
    /// which knows no ids, this is a stand-in.
    pub fn id(&self) -> SessionId {
        self.session.id()
    }

    /// Why it ended.
    pub fn reason(&self) -> EndReason {
        self.reason
    }

    /// The attribute of this name, if it was there and is of this type.
    pub fn attribute<T: FromValue>(&self, name: &str) -> Option<T> {
        T::from_value(self.attributes.get(name)?.clone())
    }

    /// The attributes it had, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.attributes.iter()
    }
}

/// Keeps a listener of one session subscribed; dropping it ends the subscription.
///
/// ```
/// use sessile::web::{MemoryStore, WebSessionManager};
///
/// let manager = WebSessionManager::new(MemoryStore::new());
/// let session = manager.new_session()?;
/// let subscription = session.on_session_ends(|_| panic!("not any more"))?;
/// drop(subscription);
/// session.on_session_ends(|ended| println!("{:?}", ended.reason()))?.keep();
/// # Ok::<(), sessile::Error>(())
/// ```
#[must_use = "dropping it ends the subscription; `keep` leaves it to the session"]
pub struct Subscription {
    pub(super) session: Weak<Shared>,
    pub(super) number: u64,
}

impl Subscription {
    /// Leaves the listener subscribed until the session ends.
    pub fn keep(mut self) {
        self.session = Weak::new();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(session) = self.session.upgrade() {
            session.unsubscribe(self.number);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({})", self.number)
    }
}

/// A listener of one session's end.
pub(crate) type EndListener = Arc<dyn Fn(&EndedSession<'_>) + Send + Sync>;

/// Is told what no caller can be told.
pub(crate) type OnError = Box<dyn Fn(&Error) + Send + Sync>;

/// A change that is to be told.
pub(crate) enum Event {
    Created,
    Set { name: Box<str>, new: Value, old: Option<Value> },
    Removed { name: Box<str>, old: Value },
    IdChanged { old: SessionId },
    Ended { reason: EndReason, attributes: Attributes, subscribers: Vec<EndListener> },
    WillPassivate { values: Vec<Value> },
    DidActivate { values: Vec<Value> },
}

/// The listeners of a manager.
#[derive(Default)]
pub(crate) struct Listeners {
    sessions: Group<dyn SessionListener>,
    attributes: Group<dyn SessionAttributeListener>,
    on_error: Option<OnError>,
}

struct Group<L: ?Sized> {
    // So that sessions with nobody to tell take no lock.
    any: AtomicBool,
    list: RwLock<Arc<[Arc<L>]>>,
}

impl<L: ?Sized> Default for Group<L> {
    fn default() -> Group<L> {
        Group { any: AtomicBool::new(false), list: RwLock::new(Arc::from([])) }
    }
}

impl<L: ?Sized> Group<L> {
    fn add(&self, listener: Arc<L>) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        *list = list.iter().cloned().chain([listener]).collect();
        self.any.store(true, Release);
    }

    fn any(&self) -> bool {
        self.any.load(Acquire)
    }

    fn list(&self) -> Arc<[Arc<L>]> {
        if !self.any() {
            return Arc::from([]);
        }
        self.list.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Listeners {
    pub(crate) fn set_on_error(&mut self, on_error: OnError) {
        self.on_error = Some(on_error);
    }

    pub(crate) fn add(&self, listener: Arc<dyn SessionListener>) {
        self.sessions.add(listener);
    }

    pub(crate) fn add_attribute_listener(&self, listener: Arc<dyn SessionAttributeListener>) {
        self.attributes.add(listener);
    }

    /// Whether anybody hears of sessions as a whole.
    pub(crate) fn hear_sessions(&self) -> bool {
        self.sessions.any()
    }

    /// Whether anybody hears of attributes.
    pub(crate) fn hear_attributes(&self) -> bool {
        self.attributes.any()
    }

    /// Says something that no caller can be told.
    pub(crate) fn report(&self, error: &Error) {
        log::warn!(target: "sessile::web", "{error}");
        if let Some(on_error) = &self.on_error {
            // There is nobody left to tell of a panic in here.
            _ = catch_unwind(AssertUnwindSafe(|| on_error(error)));
        }
    }

    /// Tells one change, to everybody it concerns, in the order that the module's
    /// documentation promises, and drops it.
    pub(crate) fn tell(&self, session: &WebSession, event: Event) {
        match &event {
            Event::Created => {
                self.tell_sessions(|listener| listener.session_created(&SessionEvent { session }))
            }
            Event::IdChanged { old } => {
                self.tell_sessions(|listener| listener.session_id_changed(&SessionEvent { session }, old));
            }
            Event::Set { name, new, old } => self.tell_set(session, name, new, old.as_ref()),
            Event::Removed { name, old } => self.tell_removed(session, name, old),
            Event::Ended { reason, attributes, subscribers } => {
                let ended = EndedSession { session, attributes, reason: *reason };
                for subscriber in subscribers {
                    self.call(|| subscriber(&ended));
                }
                self.tell_sessions(|listener| listener.session_destroyed(&ended));
                for (name, value) in attributes.iter() {
                    self.tell_removed(session, name, value);
                }
            }
            Event::WillPassivate { values } => {
                for listener in values.iter().filter_map(Value::activation) {
                    self.call(|| listener.session_will_passivate(&SessionEvent { session }));
                }
            }
            Event::DidActivate { values } => {
                for listener in values.iter().filter_map(Value::activation) {
                    self.call(|| listener.session_did_activate(&SessionEvent { session }));
                }
            }
        }
        self.call(move || drop(event));
    }

    fn tell_set(&self, session: &WebSession, name: &str, new: &Value, old: Option<&Value>) {
        let Some(old) = old else {
            let event = BindingEvent { session, name, value: new };
            self.tell_bound(&event);
            return self.tell_attributes(|listener| listener.attribute_added(&event));
        };
        let event = BindingEvent { session, name, value: old };
        // The same object again: it was bound all the time.
        if !(old.any().is_some() && old.same(new)) {
            self.tell_bound(&BindingEvent { session, name, value: new });
            self.tell_unbound(&event);
        }
        self.tell_attributes(|listener| listener.attribute_replaced(&event));
    }

    fn tell_removed(&self, session: &WebSession, name: &str, old: &Value) {
        let event = BindingEvent { session, name, value: old };
        self.tell_unbound(&event);
        self.tell_attributes(|listener| listener.attribute_removed(&event));
    }

    fn tell_bound(&self, event: &BindingEvent<'_>) {
        if let Some(listener) = event.value.binding() {
            self.call(|| listener.value_bound(event));
        }
    }

    fn tell_unbound(&self, event: &BindingEvent<'_>) {
        if let Some(listener) = event.value.binding() {
            self.call(|| listener.value_unbound(event));
        }
    }

    fn tell_sessions(&self, tell: impl Fn(&dyn SessionListener)) {
        for listener in self.sessions.list().iter() {
            self.call(|| tell(&**listener));
        }
    }

    fn tell_attributes(&self, tell: impl Fn(&dyn SessionAttributeListener)) {
        for listener in self.attributes.list().iter() {
            self.call(|| tell(&**listener));
        }
    }

    /// Calls code of users. A panic in it is reported and goes no further.
    fn call(&self, call: impl FnOnce()) {
        // What a panic leaves behind is the user's own: nothing of ours is borrowed mutably.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
            let error = Error::new(ErrorKind::IllegalState, "a listener of web sessions panicked");
            self.report(&error.with_source(text_of(&*panic)));
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listeners({} + {})", self.sessions.list().len(), self.attributes.list().len())
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a panic without a message".to_owned(),
    }
}
