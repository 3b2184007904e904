//! Points in time until which, and lengths of time for which, a call may wait.
//!
//! Values only: nothing here waits or touches a socket. A deadline that has passed is an
//! error at once, never rounded up to a short wait.

use std::fmt;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};

/// A point in time by which something must be done, or none.
///
/// One deadline goes through every phase of an exchange, its redirects and its repetition, so
/// that their times add up to no more than what was asked for.
///
/// ```
/// use std::time::Duration;
/// use sessile::net::Deadline;
///
/// let total = Deadline::after(Duration::from_secs(30));
/// let connect = total.earlier(Deadline::after(Duration::from_secs(5)));
/// assert!(connect.remaining().unwrap() <= Some(Duration::from_secs(5)));
/// assert_eq!(Deadline::never().remaining(), Ok(None));
/// assert!(Deadline::after(Duration::ZERO).is_over());
/// ```
#[doc(alias = "Timespan")]
#[doc(alias = "Timestamp")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No limit.
    pub const fn never() -> Deadline {
        Deadline(None)
    }

    /// This moment.
    pub const fn at(moment: Instant) -> Deadline {
        Deadline(Some(moment))
    }

    /// So long from now. A length that the clock can't count up to is no limit.
    pub fn after(length: Duration) -> Deadline {
        Deadline(Instant::now().checked_add(length))
    }

    /// The moment, if there is one.
    pub const fn instant(self) -> Option<Instant> {
        self.0
    }

    /// How long there is still to go: `None` without a limit, an error when the moment has
    /// passed. Never zero.
    pub fn remaining(self) -> Result<Option<Duration>, Elapsed> {
        let Some(moment) = self.0 else { return Ok(None) };
        match moment.checked_duration_since(Instant::now()) {
            None | Some(Duration::ZERO) => Err(Elapsed),
            left => Ok(left),
        }
    }

    /// Whether the moment has passed.
    pub fn is_over(self) -> bool {
        self.remaining().is_err()
    }

    /// The one of the two that comes first.
    #[must_use]
    pub fn earlier(self, other: Deadline) -> Deadline {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Deadline(Some(a.min(b))),
            (one, None) | (None, one) => Deadline(one),
        }
    }
}

/// What one call that waits is allowed: at most `stall` without any progress, and nothing past
/// `deadline`.
///
/// Both may be absent. Without a deadline a call looks at no clock.
///
/// ```
/// use std::time::Duration;
/// use sessile::net::{Deadline, Limit};
///
/// let patient = Limit::none();
/// let brief = Limit::stall(Duration::from_millis(50));
/// let within_the_exchange = brief.until(Deadline::after(Duration::from_secs(30)));
/// assert_eq!(patient.remaining(), Ok(None));
/// assert_eq!(within_the_exchange.remaining(), Ok(Some(Duration::from_millis(50))));
/// ```
#[doc(alias = "setReceiveTimeout")]
#[doc(alias = "setSendTimeout")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// How long nothing at all may happen. `None` is no limit; zero is over at once.
    ///
    /// The operating system keeps this time, without the clock being read before each call.
    /// Linux rounds long waits up: a second by up to 32 ms, a minute by up to two seconds. A
    /// deadline is kept to a few milliseconds, however far away it is.
    pub stall: Option<Duration>,
    /// When it must be over, whatever happens.
    pub deadline: Deadline,
}

impl Limit {
    /// No limit.
    pub const fn none() -> Limit {
        Limit { stall: None, deadline: Deadline::never() }
    }

    /// At most this long without progress.
    pub const fn stall(length: Duration) -> Limit {
        Limit { stall: Some(length), deadline: Deadline::never() }
    }

    /// The same, and nothing past this deadline either.
    #[must_use]
    pub fn until(self, deadline: Deadline) -> Limit {
        Limit { deadline: self.deadline.earlier(deadline), ..self }
    }

    /// How long a wait that begins now may last: the smaller one of `stall` and what is left
    /// until the deadline.
    pub fn remaining(&self) -> Result<Option<Duration>, Elapsed> {
        let left = self.deadline.remaining()?;
        match (self.stall, left) {
            (Some(Duration::ZERO), _) => Err(Elapsed),
            (Some(stall), Some(left)) => Ok(Some(stall.min(left))),
            (one, None) | (None, one) => Ok(one),
        }
    }
}

impl From<Deadline> for Limit {
    fn from(deadline: Deadline) -> Limit {
        Limit { stall: None, deadline }
    }
}

/// The time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the limit of time has passed")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for Error {
    /// [`ErrorKind::Timeout`], without a phase.
    fn from(elapsed: Elapsed) -> Error {
        Error::new(ErrorKind::Timeout, elapsed.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_in_the_past_is_over_and_never_rounded_up() {
        let now = Instant::now();
        assert_eq!(Deadline::at(now).remaining(), Err(Elapsed));
        assert!(Deadline::at(now).is_over());
        let limit = Limit::stall(Duration::from_secs(1)).until(Deadline::at(now));
        assert_eq!(limit.remaining(), Err(Elapsed));
        assert_eq!(Limit::stall(Duration::ZERO).remaining(), Err(Elapsed));
    }

    #[test]
    fn a_length_without_end_is_no_limit() {
        assert_eq!(Deadline::after(Duration::MAX), Deadline::never());
    }

    #[test]
    fn the_earlier_of_two_wins_in_either_order() {
        let (soon, late) = (Deadline::after(Duration::from_secs(1)), Deadline::after(Duration::from_secs(2)));
        for (a, b, first) in [
            (soon, late, soon),
            (late, soon, soon),
            (soon, Deadline::never(), soon),
            (Deadline::never(), late, late),
        ] {
            assert_eq!(a.earlier(b), first);
        }
        assert_eq!(Limit::from(late).until(soon).deadline, soon);
        assert_eq!(Limit::from(soon).until(late).deadline, soon);
    }

    #[test]
    fn the_error_is_a_timeout_that_names_no_phase() {
        let error = Error::from(Elapsed);
        assert!(error.is_timeout());
        assert_eq!(error.phase(), None);
    }
}
