//! What is over for sure: the wall clock, as far as it can be believed.
//!
//! In: what the wall clock says, and the steady one. Out: before when nothing goes
//! on any more. Not here: what is dropped then. A wall clock that leaps ahead may
//! be set right again, and what was dropped meanwhile would be lost: nothing is
//! taken for over because of a leap until the clock has gone on from there for a
//! while.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::clock::Clock;

/// What is counted outlives its stretch for so long, in seconds: a clock that is set back by an hour finds it again. One that
/// goes ahead by no more than this needs no doubt: what is dropped by it was over before.
pub(in crate::state) const GRACE: u64 = 3_660;

/// Both clocks, compared; all in seconds.
#[derive(Debug)]
pub(in crate::state) struct Past {
    /// What the wall clock said when the steady one began, as far as it is believed.
    origin: AtomicU64,
    doubt: Mutex<Option<Doubt>>,
    patience: u64,
}

/// The wall clock leapt ahead.
#[derive(Debug)]
struct Doubt {
    /// What it would have said when the steady one began.
    origin: u64,
    /// When that was seen, on the steady clock.
    since: u64,
}

impl Past {
    /// The steady clock begins now; a leap is believed after so many seconds.
    pub(in crate::state) fn new(clock: &Clock, patience: u64) -> Self {
        Past { origin: AtomicU64::new(clock.since_1970().as_secs()), doubt: Mutex::default(), patience }
    }

    /// What ended before this is over.
    pub(in crate::state) fn until(&self, wall: u64, steady: u64) -> u64 {
        wall.min(self.origin.load(Ordering::Relaxed).saturating_add(steady))
    }

    /// Compares the clocks; to be done now and then.
    pub(in crate::state) fn compare(&self, wall: u64, steady: u64) {
        let seen = wall.saturating_sub(steady);
        let doubt = &mut *self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        let is_leap = seen > self.origin.load(Ordering::Relaxed).saturating_add(GRACE);
        match doubt {
            Some(Doubt { origin, since }) if is_leap && origin.abs_diff(seen) <= GRACE => {
                if steady.saturating_sub(*since) < self.patience {
                    return;
                }
            }
            Some(_) | None if is_leap => {
                *doubt = Some(Doubt { origin: seen, since: steady });
                return;
            }
            Some(_) | None => {}
        }
        self.origin.store(seen, Ordering::Relaxed);
        *doubt = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WALL: u64 = 1_790_000_000;
    const DAY: u64 = 86_400;

    fn past() -> Past {
        Past { origin: AtomicU64::new(WALL), doubt: Mutex::default(), patience: 600 }
    }

    fn after(past: &Past, wall: u64, steady: u64) -> u64 {
        past.compare(wall, steady);
        past.until(wall, steady)
    }

    #[test]
    fn a_leap_ahead_is_believed_only_when_the_clock_has_gone_on_from_there() {
        let past = past();
        assert_eq!(after(&past, WALL + 10, 10), WALL + 10);
        assert_eq!(after(&past, WALL + 20 + DAY, 20), WALL + 20);
        assert_eq!(after(&past, WALL + 619 + DAY, 619), WALL + 619);
        assert_eq!(after(&past, WALL + 620 + DAY, 620), WALL + 620 + DAY);
    }

    #[test]
    fn another_leap_begins_another_doubt() {
        let past = past();
        assert_eq!(after(&past, WALL + DAY, 0), WALL);
        assert_eq!(after(&past, WALL + 500 + 9 * DAY, 500), WALL + 500);
        assert_eq!(after(&past, WALL + 1000 + 9 * DAY, 1000), WALL + 1000);
        assert_eq!(after(&past, WALL + 1100 + 9 * DAY, 1100), WALL + 1100 + 9 * DAY);
    }

    #[test]
    fn a_leap_that_is_taken_back_leaves_no_trace() {
        let past = past();
        assert_eq!(after(&past, WALL + DAY, 0), WALL);
        assert_eq!(after(&past, WALL + 300, 300), WALL + 300);
        assert_eq!(after(&past, WALL + 700 + DAY, 700), WALL + 700, "doubted anew");
    }

    #[test]
    fn what_the_clock_takes_back_is_not_over() {
        let past = past();
        assert_eq!(past.until(WALL - DAY, 5), WALL - DAY, "even before that is looked at");
        assert_eq!(after(&past, WALL - DAY, 5), WALL - DAY);
        assert_eq!(after(&past, 10, 1000), 10, "a machine that does not know what day it is");
    }

    #[test]
    fn a_little_ahead_is_what_clocks_are() {
        assert_eq!(after(&past(), WALL + 100 + GRACE, 100), WALL + 100 + GRACE);
    }
}
