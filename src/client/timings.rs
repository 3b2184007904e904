//! How long the parts of a call took.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Phase;
use crate::message::{Response, StatusCode, Uri};
use crate::session::Observer;

/// How long the parts of a call took, its redirects and rounds of authentication added up.
///
/// ```no_run
/// let response = sessile::client::UserAgent::new().get("http://example.com/").send()?;
/// let timings = response.timings();
/// println!("connecting {:?}, waiting {:?}", timings.connect, timings.wait);
/// # Ok::<(), sessile::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Timings {
    /// Name resolution.
    pub resolve: Duration,
    /// Making the connection.
    pub connect: Duration,
    /// Speaking with a proxy before the connection is through.
    pub proxy: Duration,
    /// TLS handshakes.
    pub handshake: Duration,
    /// Writing heads and content.
    pub send: Duration,
    /// Until the head of the response was there; small requests leave at its beginning.
    pub wait: Duration,
    /// Reading the response's content, and what the program did meanwhile.
    pub receive: Duration,
    /// Everything, what is in none of the parts too: from the call until now, or until the content
    /// was read to its end.
    pub total: Duration,
}

/// Takes the times, and hands on what it is told.
pub(super) struct Stopwatch {
    state: Mutex<State>,
    user: Option<Arc<dyn Observer>>,
}

struct State {
    timings: Timings,
    begun: Instant,
    phase: Option<(Phase, Instant)>,
    ended: bool,
}

impl Stopwatch {
    pub(super) fn start(user: Option<Arc<dyn Observer>>) -> Arc<Stopwatch> {
        let state = State { timings: Timings::default(), begun: Instant::now(), phase: None, ended: false };
        Arc::new(Stopwatch { state: Mutex::new(state), user })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn timings(&self) -> Timings {
        let mut state = self.lock();
        if !state.ended {
            state.enter(None);
        }
        state.timings
    }

    /// The content was read to its end.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        if !state.ended {
            state.enter(None);
            state.phase = None;
            state.ended = true;
        }
    }
}

impl State {
    /// Accounts for the time since the last phase began; without a new one, it goes on.
    fn enter(&mut self, next: Option<Phase>) {
        let now = Instant::now();
        self.timings.total = now.saturating_duration_since(self.begun);
        if let Some((phase, since)) = self.phase {
            let spent = now.saturating_duration_since(since);
            let part = match phase {
                Phase::Resolve => &mut self.timings.resolve,
                Phase::Connect => &mut self.timings.connect,
                Phase::Proxy => &mut self.timings.proxy,
                Phase::Handshake => &mut self.timings.handshake,
                Phase::Send => &mut self.timings.send,
                Phase::ReceiveHead => &mut self.timings.wait,
                Phase::ReceiveBody | Phase::Idle => &mut self.timings.receive,
            };
            *part += spent;
        }
        if let Some(phase) = next.or(self.phase.map(|(phase, _)| phase)) {
            self.phase = Some((phase, now));
        }
    }
}

impl Observer for Stopwatch {
    fn phase(&self, phase: Phase) {
        self.lock().enter(Some(phase));
        if let Some(user) = &self.user {
            user.phase(phase);
        }
    }

    fn interim(&self, response: &Response) {
        if let Some(user) = &self.user {
            user.interim(response);
        }
    }

    fn sent(&self, bytes: u64, total: Option<u64>) {
        if let Some(user) = &self.user {
            user.sent(bytes, total);
        }
    }

    fn received(&self, bytes: u64, total: Option<u64>) {
        if let Some(user) = &self.user {
            user.received(bytes, total);
        }
    }

    fn redirected(&self, status: StatusCode, to: &Uri) {
        if let Some(user) = &self.user {
            user.redirected(status, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn each_part_gets_its_time_and_the_total_stands_when_all_is_read() {
        let watch = Stopwatch::start(None);
        let step = Duration::from_millis(2);
        for phase in [Phase::Resolve, Phase::Connect, Phase::Send, Phase::ReceiveHead, Phase::Send] {
            watch.phase(phase);
            pass(step);
        }
        watch.phase(Phase::ReceiveBody);
        watch.end();
        let timings = watch.timings();
        assert!(timings.resolve >= step && timings.connect >= step && timings.wait >= step, "{timings:?}");
        assert!(timings.send >= 2 * step && timings.total >= 5 * step, "{timings:?}");
        assert_eq!((timings.proxy, timings.handshake), (Duration::ZERO, Duration::ZERO));
        pass(step);
        assert_eq!(watch.timings(), timings);
    }
}
