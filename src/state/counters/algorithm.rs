//! The arithmetic of limits: GCRA for rates, sums for quotas. Pure.
//!
//! In: what is kept of a bucket, and the time. Out: what is to be kept, or how
//! long to wait. Redis computes the same in Lua: times are whole nanoseconds
//! here, and there pairs of whole numbers below 2^53. Not here: where it is kept.
//!
//! GCRA: each request that is let in is due one interval after the one before;
//! one may be early by (burst - 1) intervals. `due` is when the next would come
//! if all came evenly.

use std::time::Duration;

use super::{Pace, Standing};

/// Nobody may be early by more: 146 years. Beyond what a number holds, sums would stand still, and let everybody in.
const MOST_ROOM: u64 = u64::MAX / 4;

/// When the next is due as far as this rule goes: nobody owes it more than a whole burst. Who owed more to another rule,
/// which has been raised since, is helped at once. A whole burst that is owed still refuses, so that this lets nobody in.
pub fn owed(rule: Pace, due: u64, now: u64) -> u64 {
    due.min(now.saturating_add(rule.interval.saturating_mul(u64::from(rule.burst))))
}

/// What becomes of a request that comes at `now`, where the next is due at `due` (both nanoseconds of one clock).
///
/// # Errors
/// How long to wait, in nanoseconds; then nothing is to be kept but what is [`owed`].
pub fn pace(rule: Pace, due: u64, now: u64) -> Result<u64, u64> {
    let room = rule.interval.saturating_mul(u64::from(rule.burst.saturating_sub(1))).min(MOST_ROOM);
    let due = owed(rule, due, now);
    match due.saturating_sub(now) {
        early if early <= room => Ok(due.max(now).saturating_add(rule.interval)),
        early => Err(early - room),
    }
}

/// What can be given back of a turn at `now`, where the next was due at `due` after it: a whole interval, or what of it is
/// still to come. The rest has been given to others already, simply because time has passed.
pub fn refund_of_pace(rule: Pace, due: u64, now: u64) -> u64 {
    due.saturating_sub(now).min(rule.interval)
}

/// How a rate stands where the next is due at `due`.
pub fn standing_of_pace(rule: Pace, due: u64, now: u64) -> Standing {
    let early = owed(rule, due, now).saturating_sub(now);
    let whole = rule.interval.saturating_mul(u64::from(rule.burst));
    let left = whole.saturating_sub(early) / rule.interval.max(1);
    let wait = pace(rule, due, now).err().unwrap_or_default();
    Standing {
        total: u64::from(rule.burst),
        remaining: left,
        passes: wait == 0,
        wait: Duration::from_nanos(wait),
        whole: Duration::from_nanos(early),
    }
}

/// Whether a quota lets one more in: while anything is left, because what the next costs is not known.
pub fn quota(amount: u64, used: u64) -> bool {
    used < amount
}

#[cfg(test)]
#[path = "algorithm_tests.rs"]
mod tests;
