//! What time it is for web sessions.
//!
//! Sessions are kept beyond the process and shared with other nodes, so their times are
//! times of day, in milliseconds since 1970 inside. The clock is a value, so that tests of
//! expiry need no sleep.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source of the time of day: see
/// [`WebSessionManagerBuilder::clock`](super::WebSessionManagerBuilder::clock).
///
/// ```
/// use sessile::web::{Clock, SystemClock};
///
/// assert!(SystemClock.now() <= std::time::SystemTime::now());
/// ```
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// The clock of the operating system.
///
/// ```
/// use sessile::web::{MemoryStore, SystemClock, WebSessionManager};
///
/// // This is the default.
/// let manager = WebSessionManager::builder(MemoryStore::new()).clock(SystemClock).build();
/// # drop(manager);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that stands still until it is told to go on, for tests. Clones share the time.
///
/// ```
/// use std::time::Duration;
/// use sessile::web::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), before + Duration::from_secs(60));
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that starts at the present time, in whole milliseconds.
    pub fn new() -> ManualClock {
        ManualClock::at(SystemTime::now())
    }

    /// A clock that starts at this time, in whole milliseconds.
    pub fn at(time: SystemTime) -> ManualClock {
        ManualClock(Arc::new(AtomicU64::new(millis(time))))
    }

    /// Lets time pass, in whole milliseconds.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(span(by), Relaxed);
    }
}

impl Default for ManualClock {
    fn default() -> ManualClock {
        ManualClock::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        time(self.0.load(Relaxed))
    }
}

/// No point in time: never.
pub(crate) const NEVER: u64 = u64::MAX;

/// Milliseconds since 1970. Times before that are its start.
#[inline]
pub(crate) fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs().saturating_mul(1000) + u64::from(d.subsec_millis()))
}

/// The time of so many milliseconds since 1970; the far future where it can't be told.
pub(crate) fn time(millis: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH + FAR)
}

/// A point in time that may be never.
pub(crate) fn time_or_never(millis: u64) -> Option<SystemTime> {
    (millis != NEVER).then(|| time(millis))
}

/// Milliseconds, rounded up: nothing ends early. Never reaches [`NEVER`].
pub(crate) fn span(duration: Duration) -> u64 {
    let rest = u64::from(duration.subsec_nanos().div_ceil(1_000_000));
    duration.as_secs().saturating_mul(1000).saturating_add(rest).min(LONGEST)
}

/// Milliseconds of a duration that may be without end.
pub(crate) fn span_or_never(duration: Option<Duration>) -> u64 {
    duration.map_or(NEVER, span)
}

/// The inverse of [`span_or_never`].
pub(crate) fn duration_or_never(millis: u64) -> Option<Duration> {
    (millis != NEVER).then(|| Duration::from_millis(millis))
}

/// The year 5000 and something, which every system can tell.
const FAR: Duration = Duration::from_secs(100_000_000_000);
/// Longer ones are cut: a duration and a time of day together must not overflow.
const LONGEST: u64 = u64::MAX / 4;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up_and_never_overflow() {
        assert_eq!(span(Duration::ZERO), 0);
        assert_eq!(span(Duration::from_nanos(1)), 1);
        assert_eq!(span(Duration::from_millis(5)), 5);
        assert_eq!(span(Duration::MAX), LONGEST);
        assert_eq!(duration_or_never(span_or_never(None)), None);
    }

    #[test]
    fn times_survive_the_way_through_milliseconds() {
        let now = time(millis(SystemTime::now()));
        assert_eq!(time(millis(now)), now);
        assert_eq!(millis(UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(time_or_never(NEVER), None);
    }
}
