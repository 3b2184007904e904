//! What the kernel's timer of a socket must be set to, so that a call ends within its limit.
//!
//! Arithmetic only. Setting the timer is a system call of its own, and reading the clock takes time too, so
//! both are avoided: the timer is set where it is too long for this call, and the clock is
//! read where there is a deadline. A timer that is shorter than needed costs one wake-up, after
//! which the call goes on.

use std::time::{Duration, Instant};

use crate::net::deadline::{Elapsed, Limit};

/// How long one call may still wait, and what that means for the timer. Settings are in microseconds.
pub(super) struct Wait {
    /// When it is over. Not known without a deadline, until the first wake-up.
    end: Option<Instant>,
    /// The longest setting that will do.
    longest: u64,
    /// What to set it to where it is longer.
    best: u64,
}

impl Wait {
    #[inline]
    pub(super) fn begin(limit: &Limit) -> Result<Wait, Elapsed> {
        match (limit.stall, limit.deadline.instant()) {
            (Some(Duration::ZERO), _) => Err(Elapsed),
            (stall, None) => Ok(Wait::without_clock(stall)),
            (stall, Some(deadline)) => Wait::until(stall, deadline, Instant::now()),
        }
    }

    #[inline]
    fn without_clock(stall: Option<Duration>) -> Wait {
        let longest = allowed(stall.map_or(FOREVER, micros));
        Wait { end: None, longest, best: longest }
    }

    #[inline(never)]
    fn until(stall: Option<Duration>, deadline: Instant, now: Instant) -> Result<Wait, Elapsed> {
        let to_deadline = deadline.saturating_duration_since(now);
        let left = stall.map_or(to_deadline, |stall| stall.min(to_deadline));
        if left.is_zero() {
            return Err(Elapsed);
        }
        let mut wait = Wait { end: Some(now + left), longest: FOREVER, best: FOREVER };
        wait.last(left, left > to_deadline / 2);
        Ok(wait)
    }

    /// What to set the timer to before the wait, if it is too long now.
    #[inline]
    pub(super) fn needs(&self, set: u64) -> Option<u64> {
        (set > self.longest).then_some(self.best)
    }

    /// The wait was ended by the timer, which was set to `ran`, or by something else that is not
    /// what was waited for. What to set the timer to, if it does not suit any more, or that the
    /// time is over.
    #[cold]
    pub(super) fn goes_on(
        &mut self,
        limit: &Limit,
        set: u64,
        ran: Option<u64>,
    ) -> Result<Option<u64>, Elapsed> {
        self.goes_on_at(limit, set, ran, Instant::now())
    }

    fn goes_on_at(
        &mut self,
        limit: &Limit,
        set: u64,
        ran: Option<u64>,
        now: Instant,
    ) -> Result<Option<u64>, Elapsed> {
        if self.end.is_none() {
            // No clock was read when the call began. If the timer ran out, it has waited for as
            // long as that was set to; otherwise the time counts from here.
            let Some(stall) = limit.stall else { return Ok(self.replaces(set)) };
            let left = stall.saturating_sub(ran.map_or(Duration::ZERO, Duration::from_micros));
            if left < Duration::from_micros(1) {
                return Err(Elapsed);
            }
            self.end = now.checked_add(left);
        }
        let Some(end) = self.end else { return Ok(self.replaces(set)) };
        let left = end.saturating_duration_since(now);
        if left.is_zero() {
            return Err(Elapsed);
        }
        self.last(left, true);
        Ok(self.replaces(set))
    }

    /// After a wake-up a timer that is far too short is worth a system call as well.
    fn replaces(&self, set: u64) -> Option<u64> {
        (set > self.longest || set < self.best / 2).then_some(self.best)
    }

    /// Bounds for a wait that lasts this long.
    ///
    /// A timer may run an eighth longer than it is set to (Linux keeps timers in wheels, the longer
    /// the coarser). One that must be `exact` is set to half of what is left, again and again
    /// until little is left. That is also what spares a system call for each read on the way to
    /// a deadline: half the time passes before the timer is too long.
    #[inline]
    fn last(&mut self, left: Duration, exact: bool) {
        let left = micros(left);
        (self.longest, self.best) =
            if exact && left > LITTLE { (left / 8 * 7, left / 2) } else { (left, left) };
        (self.longest, self.best) = (allowed(self.longest), allowed(self.best));
    }
}

/// At least one, since zero would set no limit.
#[inline]
pub(super) fn micros(length: Duration) -> u64 {
    length.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(length.subsec_micros())).max(1)
}

/// On Windows a `shutdown` does not wake every call, so that the abort flag has to be looked at
/// now and then.
fn allowed(setting: u64) -> u64 {
    if cfg!(windows) { setting.min(100_000) } else { setting }
}

/// The timer is not set.
pub(super) const FOREVER: u64 = u64::MAX;

/// What a timer is exact enough for as it is.
const LITTLE: u64 = 32_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Deadline;

    const SECOND: u64 = 1_000_000;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn without_a_deadline_the_timer_is_set_once_and_no_clock_is_read() {
        let limit = Limit::stall(seconds(60));
        let first = Wait::begin(&limit).unwrap();
        assert_eq!((first.end, first.needs(FOREVER)), (None, Some(60 * SECOND)));
        let second = Wait::begin(&limit).unwrap();
        assert_eq!(second.needs(60 * SECOND), None);
        assert_eq!(second.needs(SECOND), None);
        assert_eq!(Wait::begin(&Limit::none()).unwrap().needs(FOREVER), None);
    }

    #[test]
    fn on_the_way_to_a_deadline_the_timer_is_set_a_few_times_and_never_too_long() {
        let start = Instant::now();
        let end = start + seconds(30);
        let (mut set, mut settings) = (FOREVER, 0);
        for millis in 0..29_990 {
            let now = start + Duration::from_millis(millis);
            let wait = Wait::until(None, end, now).unwrap();
            if let Some(best) = wait.needs(set) {
                set = best;
                settings += 1;
            }
            // However coarse the kernel's timer is, this wait ends in time.
            assert!(now + Duration::from_micros(set + set / 8) <= end + Duration::from_millis(5));
        }
        assert!(settings < 40, "{settings}");
    }

    #[test]
    fn a_timer_that_runs_out_too_early_goes_on_and_ends_in_time() {
        // The timer is as long as it was set, and an eighth late, as on Linux.
        for (limit, begun) in
            [(seconds(10), 3 * SECOND), (seconds(10), 1), (Duration::from_millis(40), 5_000)]
        {
            let start = Instant::now();
            let limit = Limit::stall(limit);
            let mut wait = Wait::begin(&limit).unwrap();
            let (mut now, mut set) = (start, begun);
            let mut wakes = 0;
            loop {
                now += Duration::from_micros(set);
                wakes += 1;
                match wait.goes_on_at(&limit, set, Some(set), now) {
                    Ok(best) => set = best.unwrap_or(set),
                    Err(Elapsed) => break,
                }
                now += Duration::from_micros(set / 8);
            }
            let lasted = now - start;
            let stall = limit.stall.unwrap();
            assert!(lasted >= stall, "{lasted:?} of {stall:?}");
            assert!(lasted < stall + Duration::from_millis(10), "{lasted:?} of {stall:?}");
            assert!(wakes < 15, "{wakes}");
        }
    }

    #[test]
    fn a_timer_as_long_as_the_limit_ends_it_at_the_first_wake_up() {
        let limit = Limit::stall(Duration::from_nanos(1_500_000_123));
        let mut wait = Wait::begin(&limit).unwrap();
        let set = wait.needs(FOREVER).unwrap();
        assert!(wait.goes_on_at(&limit, set, Some(set), Instant::now()).is_err());
    }

    #[test]
    fn signals_do_not_prolong_a_wait_for_ever() {
        let limit = Limit::stall(seconds(1));
        let mut wait = Wait::begin(&limit).unwrap();
        let first = Instant::now();
        wait.goes_on_at(&limit, SECOND, None, first).unwrap();
        wait.goes_on_at(&limit, SECOND, None, first + Duration::from_millis(900)).unwrap();
        assert!(wait.goes_on_at(&limit, SECOND, None, first + seconds(1)).is_err());
    }

    #[test]
    fn without_any_limit_a_wake_up_unsets_the_timer() {
        let mut wait = Wait::begin(&Limit::none()).unwrap();
        assert_eq!(wait.goes_on_at(&Limit::none(), SECOND, Some(SECOND), Instant::now()), Ok(Some(FOREVER)));
    }

    #[test]
    fn the_shorter_of_the_two_limits_counts() {
        let start = Instant::now();
        let both = |stall, end| Wait::until(Some(seconds(stall)), start + seconds(end), start).unwrap();
        assert_eq!(both(5, 100).needs(FOREVER), Some(5 * SECOND));
        assert_eq!(both(100, 8).needs(FOREVER), Some(4 * SECOND));
        assert_eq!(both(100, 8).needs(6 * SECOND), None);
    }

    #[test]
    fn what_is_over_is_over_at_once() {
        let now = Instant::now();
        for limit in [
            Limit::from(Deadline::at(now)),
            Limit::stall(Duration::ZERO),
            Limit::stall(Duration::ZERO).until(Deadline::at(now + seconds(5))),
            Limit::stall(seconds(5)).until(Deadline::at(now - Duration::from_nanos(1))),
        ] {
            assert!(Wait::begin(&limit).is_err());
        }
        assert_eq!(micros(Duration::from_nanos(1)), 1);
    }
}
