//! Ids of keys that a source was asked for and did not have.
//!
//! In: ids that callers made up, in any number and of any length. Out: whether
//! one was rejected lately. Not here: when to ask (`keys`). Only a number is
//! kept of each id, and no more than [`MAX`] of them.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use ahash::RandomState;

/// The oldest are forgotten beyond it.
pub(super) const MAX: usize = 1000;
/// Then an id may be asked for again: providers have copies that lag behind.
pub(super) const LASTS: Duration = Duration::from_secs(60);

/// A bounded list, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    // Numbers that no caller can foresee: two ids share one by accident only, and rarely.
    hasher: RandomState,
    order: VecDeque<(u64, Instant)>,
    numbers: HashSet<u64, RandomState>,
}

impl Rejected {
    /// Whether this id was rejected lately.
    pub(super) fn has(&mut self, id: &str, now: Instant) -> bool {
        self.forget_old(now);
        self.numbers.contains(&self.hasher.hash_one(id))
    }

    /// Remembers an id, if it is not remembered yet.
    pub(super) fn add(&mut self, id: &str, now: Instant) {
        self.forget_old(now);
        let number = self.hasher.hash_one(id);
        if !self.numbers.insert(number) {
            return;
        }
        self.order.push_back((number, now));
        if self.order.len() > MAX {
            self.forget_first();
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.numbers.clear();
    }

    fn forget_old(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(_, since)| now.saturating_duration_since(*since) >= LASTS) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((number, _)) = self.order.pop_front() {
            self.numbers.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    #[test]
    fn d5_ten_thousand_made_up_ids_leave_a_thousand_numbers() {
        let now = TestClock::new().clock().now();
        let mut rejected = Rejected::default();
        for index in 0..10_000 {
            rejected.add(&format!("{index}{}", "x".repeat(100)), now);
        }
        assert_eq!((rejected.order.len(), rejected.numbers.len()), (MAX, MAX));
        let last = format!("9999{}", "x".repeat(100));
        assert!(rejected.has(&last, now));
        assert!(!rejected.has(&"x".repeat(100), now));
        rejected.clear();
        assert!(!rejected.has(&last, now));
    }

    #[test]
    fn an_id_may_be_asked_for_again_after_a_while() {
        let time = TestClock::new();
        let clock = time.clock();
        let mut rejected = Rejected::default();
        rejected.add("a", clock.now());
        time.advance(LASTS - Duration::from_secs(1));
        // Who goes on asking does not put it off.
        rejected.add("a", clock.now());
        assert!(rejected.has("a", clock.now()));
        time.advance(Duration::from_secs(1));
        assert!(!rejected.has("a", clock.now()));
        assert!(rejected.order.is_empty() && rejected.numbers.is_empty());
    }
}
