//! One call's abort handle, whichever session the call uses at the moment.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::Result;
use crate::net::{AbortHandle, Interrupt};
use crate::session::ClientSession;

/// Hands an abort of the call on to the session it uses.
#[derive(Debug)]
pub(super) struct Link {
    call: AbortHandle,
    target: Arc<Target>,
}

#[derive(Debug, Default)]
struct Target(Mutex<Option<AbortHandle>>);

impl Link {
    /// Fails if the call was aborted already.
    pub(super) fn new(call: &AbortHandle) -> Result<Link> {
        let target = Arc::new(Target::default());
        call.register(Arc::downgrade(&target) as Weak<dyn Interrupt>)?;
        Ok(Link { call: call.clone(), target })
    }

    /// From now on the call uses this session.
    pub(super) fn attach(&self, session: &dyn ClientSession) -> Result<()> {
        self.target.set(Some(session.abort_handle()));
        // An abort that came before found nobody.
        self.call.check()
    }

    /// The session is not the call's any longer: when this returns, no abort reaches it.
    pub(super) fn release(&self) {
        self.target.set(None);
    }
}

impl Target {
    fn set(&self, session: Option<AbortHandle>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = session;
    }
}

impl Interrupt for Target {
    fn interrupt(&self) {
        // Under the lock, so that the session can't be somebody else's by now.
        if let Some(session) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            session.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{HttpClientSession, Session};

    #[test]
    fn an_abort_reaches_the_session_of_the_moment_and_no_other() {
        let call = AbortHandle::new();
        let link = Link::new(&call).unwrap();
        let (before, now) = (HttpClientSession::new("h", 80), HttpClientSession::new("h", 80));
        link.attach(&before).unwrap();
        link.release();
        link.attach(&now).unwrap();
        call.abort();
        assert!(now.abort_handle().is_aborted() && !before.abort_handle().is_aborted());
        assert!(link.attach(&before).unwrap_err().is_aborted());
        assert!(Link::new(&call).unwrap_err().is_aborted());
    }
}
