//! How many retries an upstream may get: a share of its requests.
//!
//! In: requests and retries as they happen. Out: whether one more retry fits.
//! Not here: when to retry (`pipeline::retry`). Counting takes no lock: one
//! atomic operation per request.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::clock::Clock;

/// Seconds that the budget looks back.
pub const WINDOW: u64 = 10;
/// Retries in one window that are always allowed, so that a quiet gateway heals too.
pub const FLOOR: u64 = 10;

/// Requests and retries of the last ten seconds.
#[derive(Debug)]
pub struct RetryBudget {
    clock: Clock,
    start: Instant,
    requests: Counter,
    retries: Counter,
}

impl RetryBudget {
    /// An unused budget.
    pub fn new(clock: Clock) -> Self {
        let start = clock.now();
        RetryBudget { clock, start, requests: Counter::default(), retries: Counter::default() }
    }

    /// Counts a request, not a retry of one.
    pub fn count_request(&self) {
        self.requests.add(self.second());
    }

    /// Takes one retry, if retries stay within `share` of requests or below the floor.
    pub fn take(&self, share: f64) -> bool {
        let second = self.second();
        let used = self.retries.sum(second);
        let requests = self.requests.sum(second);
        // Two threads may both see the last free place: one retry too many does no harm.
        let allowed = used < FLOOR || (used + 1) as f64 <= requests as f64 * share;
        if allowed {
            self.retries.add(second);
        }
        allowed
    }

    fn second(&self) -> u64 {
        // From 1, so that an untouched bucket (second 0) never counts.
        self.clock.now().saturating_duration_since(self.start).as_secs() + 1
    }
}

/// One bucket per second of the window: the second in the upper half, the count in the lower.
#[derive(Debug, Default)]
struct Counter([AtomicU64; WINDOW as usize]);

impl Counter {
    fn add(&self, second: u64) {
        let Some(bucket) = self.0.get((second % WINDOW) as usize) else { return };
        let tag = second << 32;
        let seen = bucket.load(Ordering::Relaxed);
        if seen >> 32 == second {
            bucket.fetch_add(1, Ordering::Relaxed);
        } else if bucket.compare_exchange(seen, tag | 1, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // Another thread opened this second's bucket meanwhile.
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sum(&self, second: u64) -> u64 {
        self.0
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .filter(|value| (value >> 32) + WINDOW > second && value >> 32 <= second)
            .map(|value| value & 0xffff_ffff)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::TestClock;

    #[test]
    fn ten_retries_are_always_allowed_and_then_a_share() {
        let time = TestClock::new();
        let budget = RetryBudget::new(time.clock());
        assert_eq!((0..20).filter(|_| budget.take(0.2)).count(), 10);
        for _ in 0..100 {
            budget.count_request();
        }
        assert_eq!((0..50).filter(|_| budget.take(0.2)).count(), 10, "20 of 100, ten of them used");
        time.advance(Duration::from_secs(11));
        assert_eq!((0..20).filter(|_| budget.take(0.2)).count(), 10, "the window has passed");
    }

    #[test]
    fn requests_older_than_the_window_do_not_count() {
        let time = TestClock::new();
        let budget = RetryBudget::new(time.clock());
        for _ in 0..1000 {
            budget.count_request();
        }
        time.advance(Duration::from_secs(9));
        assert!((0..50).all(|_| budget.take(0.2)));
        time.advance(Duration::from_secs(2));
        assert!(!budget.take(0.2), "50 used, no requests in the window");
    }
}
