//! Web sessions in handlers: found by the request, saved before the head of its response leaves.
//!
//! Where `server` and the manager meet. One request has one session, however often it is
//! asked for; what changed is stored by itself, whoever sends the response and how.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::manager::WebSessionManager;
use super::session::WebSession;
use super::tracking::Visit;
use crate::server::{ServerRequest, ServerResponse};
use crate::{ErrorKind, Result};

/// Who makes a request, as far as web sessions know: the way to the session of a handler's
/// request. See [`WebSessionManager::wrap`].
pub struct Visitor<'a> {
    manager: &'a WebSessionManager,
    session: Arc<Mutex<Option<WebSession>>>,
}

impl Visitor<'_> {
    /// The session of this request, or a new one. Always the same for one request. Fails as
    /// [`WebSessionManager::open`] does; a new one after the head of the response went out
    /// has no cookie.
    #[doc(alias = "getSession")]
    pub fn session(&self, request: &ServerRequest<'_>) -> Result<WebSession> {
        self.remember(|| self.manager.open(&visit(request)).map(Some))
            .and_then(|session| session.map_or_else(|| self.renew(request), Ok))
    }

    /// The session of this request, if it has one.
    pub fn find(&self, request: &ServerRequest<'_>) -> Result<Option<WebSession>> {
        self.remember(|| self.manager.find(&visit(request)))
    }

    /// A new session for this request, whatever it had before: what changed of that is
    /// stored.
    pub fn renew(&self, request: &ServerRequest<'_>) -> Result<WebSession> {
        self.save()?;
        let session = self.manager.create(&visit(request))?;
        let handed_out = session.clone();
        self.keep(session);
        Ok(handed_out)
    }

    /// The sessions of the application.
    pub fn manager(&self) -> &WebSessionManager {
        self.manager
    }

    /// Stores what changed of the session that there is, unless it has ended.
    fn save(&self) -> Result<()> {
        let session = self.slot().clone();
        match session.map(|session| session.save()) {
            Some(Err(error)) if error.kind() != ErrorKind::IllegalState => Err(error),
            _ => Ok(()),
        }
    }

    fn remember(&self, look: impl FnOnce() -> Result<Option<WebSession>>) -> Result<Option<WebSession>> {
        let known = self.slot().clone().filter(WebSession::is_valid);
        if known.is_some() {
            return Ok(known);
        }
        // The lock is not held while a store is asked.
        let found = look()?;
        let handed_out = found.clone();
        if let Some(session) = found {
            self.keep(session);
        }
        Ok(handed_out)
    }

    /// Keeps the handle that makes the session one in use until the request is answered; the
    /// handler gets clones.
    fn keep(&self, session: WebSession) {
        let before = self.slot().replace(session);
        // Not under the lock.
        drop(before);
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<WebSession>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Visitor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").finish_non_exhaustive()
    }
}

impl WebSessionManager {
    /// Makes a handler of a function that knows web sessions. What it changes in the session is
    /// stored, and the cookie set where one is needed, just before the head of the response
    /// goes out; what it changes after that is stored as it is changed.
    ///
    /// A store that fails makes the response a 503, unless the function answers otherwise. Where
    /// the function fails, what it changed before is stored all the same, and no cookie is set.
    ///
    /// ```no_run
    /// use sessile::server::HttpServer;
    /// use sessile::web::{MemoryStore, WebSessionManager};
    ///
    /// let sessions = WebSessionManager::new(MemoryStore::new());
    /// let mut server = HttpServer::bind("127.0.0.1:8080", sessions.wrap(|request, response, visitor| {
    ///     let session = visitor.session(request)?;
    ///     let visits = session.get_or("visits", 0_i64)? + 1;
    ///     session.set("visits", visits)?;
    ///     response.set_content_type("text/plain");
    ///     response.send_buffer(format!("visit {visits}\n").as_bytes())
    /// }))?;
    /// server.run()
    /// # ; Ok::<(), sessile::Error>(())
    /// ```
    pub fn wrap<F>(
        &self,
        handler: F,
    ) -> impl Fn(&mut ServerRequest<'_>, &mut ServerResponse<'_>) -> Result<()> + Send + Sync + use<F>
    where
        F: Fn(&mut ServerRequest<'_>, &mut ServerResponse<'_>, &Visitor<'_>) -> Result<()> + Send + Sync,
    {
        let manager = self.clone();
        move |request, response| manager.serve(request, response, &handler)
    }

    /// Has one request answered by a function that knows web sessions, as
    /// [`wrap`](WebSessionManager::wrap) does all: for handlers that need them for some.
    pub fn serve<T>(
        &self,
        request: &mut ServerRequest<'_>,
        response: &mut ServerResponse<'_>,
        handler: impl FnOnce(&mut ServerRequest<'_>, &mut ServerResponse<'_>, &Visitor<'_>) -> Result<T>,
    ) -> Result<T> {
        let visitor = Visitor { manager: self, session: Arc::default() };
        let (slot, saver) = (visitor.session.clone(), self.clone());
        response.before_head(move |head| {
            let session = slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
            session.map_or(Ok(()), |session| saver.finish(&session, head))
        });
        let answered = handler(request, response, &visitor);
        match &answered {
            // Who sends the error knows nothing of sessions.
            Err(error) if error.kind() != ErrorKind::Store && !response.is_sent() => {
                if let Err(error) = visitor.save() {
                    self.0.core.listeners.report(&error);
                }
            }
            _ => {}
        }
        answered
    }
}

/// What of a request matters for web sessions.
fn visit<'a>(request: &'a ServerRequest<'_>) -> Visit<'a> {
    let visit = Visit::new(request).secure(request.is_secure());
    match request.client_address() {
        Some(address) => visit.client_address(address.ip()),
        None => visit,
    }
}
