//! Being told how an exchange goes while it goes.
//!
//! The trait alone: sessions and what is built on them call it, programs implement it.

use crate::Phase;
use crate::message::{Response, StatusCode, Uri};

/// Is told how exchanges go: for progress bars, timings, logs and metrics.
///
/// Called on the thread that makes the exchange, with no lock held; what takes long here delays
/// the exchange. A session calls [`phase`](Observer::phase) and [`interim`](Observer::interim), a
/// [`UserAgent`](crate::client::UserAgent) all of them.
///
/// ```
/// use std::sync::Mutex;
/// use sessile::Phase;
/// use sessile::session::Observer;
///
/// /// Keeps the phases that an exchange went through.
/// #[derive(Default)]
/// struct Phases(Mutex<Vec<Phase>>);
///
/// impl Observer for Phases {
///     fn phase(&self, phase: Phase) {
///         self.0.lock().unwrap().push(phase);
///     }
/// }
///
/// let phases = Phases::default();
/// phases.phase(Phase::Connect);
/// phases.sent(100, Some(1000)); // not looked at
/// assert_eq!(*phases.0.lock().unwrap(), [Phase::Connect]);
/// ```
pub trait Observer: Send + Sync {
    /// A part of an exchange begins, and the one before is over. A connection that is reused has
    /// neither `Resolve` nor `Connect`; each redirect and each round of authentication goes
    /// through its phases anew.
    fn phase(&self, phase: Phase) {
        let _ = phase;
    }

    /// An interim response was received: `103 Early Hints`, say.
    fn interim(&self, response: &Response) {
        let _ = response;
    }

    /// So much of the request's content was handed over by now, of so much, where that is known.
    fn sent(&self, bytes: u64, total: Option<u64>) {
        let _ = (bytes, total);
    }

    /// So much of the response's content was received by now, of so much, where that is known;
    /// compressed content is counted as it came.
    fn received(&self, bytes: u64, total: Option<u64>) {
        let _ = (bytes, total);
    }

    /// A redirect with this status is about to be followed.
    fn redirected(&self, status: StatusCode, to: &Uri) {
        let _ = (status, to);
    }
}
