//! What requests usually cost: reserved until it is known what one did cost.
//!
//! In: costs as they become known. Out: what the next one is likely to cost. Not
//! here: whose quota it is. Learning is one atomic operation; what is learned
//! outlives a reload, and is forgotten with the last route that uses it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::section::limits::Cost;

/// How much of the difference is learned from one request.
const SHARE: f64 = 1.0 / 8.0;

/// What one route's requests usually cost of one limit.
#[derive(Debug)]
pub struct Usual {
    /// The bits of a number that moves on by less than one at a time.
    units: AtomicU64,
}

impl Usual {
    fn new(start: u64) -> Self {
        Usual { units: AtomicU64::new((start as f64).to_bits()) }
    }

    /// What the next request is likely to cost.
    pub fn units(&self) -> u64 {
        f64::from_bits(self.units.load(Ordering::Relaxed)).ceil() as u64
    }

    /// What one did cost.
    pub fn learn(&self, actual: u64) {
        let actual = actual as f64;
        let next = |bits: u64| {
            let known = f64::from_bits(bits);
            // Nothing was assumed: the first that is known is better than nothing.
            let learned = if known == 0.0 { actual } else { known + (actual - known) * SHARE };
            Some(learned.to_bits()).filter(|learned| *learned != bits)
        };
        let _ = self.units.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }
}

/// Those of all limits and routes.
#[derive(Debug, Default)]
pub(super) struct Usuals(Mutex<Known>);

/// The limit and the route; what is counted, and what was assumed of it: rows that were learned are no bytes.
type Key = ([Box<str>; 2], Cost, u64);

#[derive(Debug, Default)]
struct Known {
    usuals: HashMap<Key, Arc<Usual>, ahash::RandomState>,
    /// How many there may be before those are looked for that nobody uses.
    enough: usize,
}

impl Usuals {
    /// What requests cost of a limit on a route (their names); it begins with `start`.
    pub(super) fn find(&self, names: [&str; 2], cost: Cost, start: u64) -> Arc<Usual> {
        let Known { usuals, enough } = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (names.map(Into::into), cost, start);
        if usuals.len() >= *enough && !usuals.contains_key(&key) {
            usuals.retain(|_, usual| Arc::strong_count(usual) > 1);
            *enough = 2 * usuals.len().max(64);
        }
        Arc::clone(usuals.entry(key).or_insert_with(|| Arc::new(Usual::new(start))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_what_requests_cost() {
        let usual = Usual::new(1000);
        assert_eq!(usual.units(), 1000);
        usual.learn(200);
        assert_eq!(usual.units(), 900);
        for _ in 0..100 {
            usual.learn(7);
        }
        assert_eq!(usual.units(), 8, "rounded up");
        for _ in 0..1000 {
            usual.learn(0);
        }
        assert_eq!(usual.units(), 1, "requests that cost nothing");
        usual.learn(u64::MAX);
        assert!(usual.units() > 1 << 60);
    }

    #[test]
    fn where_nothing_was_assumed_the_first_is_taken() {
        let usual = Usual::new(0);
        assert_eq!(usual.units(), 0);
        usual.learn(500);
        assert_eq!(usual.units(), 500);
    }

    #[test]
    fn what_is_learned_outlives_a_reload_and_not_its_routes() {
        let usuals = Usuals::default();
        let find = |limit: &str, route: &str| usuals.find([limit, route], Cost::RowsRead, 5);
        let running = find("scan", "/top");
        running.learn(5000);
        assert_eq!(find("scan", "/top").units(), running.units());
        assert_eq!(find("scan", "/other").units(), 5);
        assert_eq!(find("sca", "n/top").units(), 5, "names are not run together");
        for reload in 0..10_000 {
            find("scan", &format!("/{reload}"));
        }
        assert!(usuals.0.lock().unwrap().usuals.len() < 200);
        assert_eq!(find("scan", "/top").units(), running.units());
    }

    #[test]
    fn what_is_learned_of_one_cost_is_not_taken_for_another() {
        let usuals = Usuals::default();
        let bytes = usuals.find(["scan", "/top"], Cost::BytesRead, 1000);
        bytes.learn(50_000_000);
        assert_eq!(usuals.find(["scan", "/top"], Cost::RowsRead, 1000).units(), 1000, "another unit");
        assert_eq!(usuals.find(["scan", "/top"], Cost::BytesRead, 7).units(), 7, "the operator assumes something else");
        assert_eq!(usuals.find(["scan", "/top"], Cost::BytesRead, 1000).units(), bytes.units());
    }
}
