//! How often each caller came lately: for `limits.rps` of Tinybird JWTs.
//!
//! In: who, and how many a second are allowed. Out: leave, or how long to wait.
//! Not here: limits that operators set. However many callers come, what is
//! remembered of them is bounded; who is forgotten begins anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use super::fingerprint;
use crate::clock::Clock;

/// Callers that are remembered.
const REMEMBERED: usize = 100_000;
/// What may come at once, in seconds of the rate.
const BURST_SECONDS: f64 = 1.0;

/// When each caller's next request would come if all came evenly (GCRA).
#[derive(Debug)]
pub struct Paces {
    /// Nanoseconds since `began`.
    due: Cache<[u8; 32], Arc<AtomicU64>>,
    began: Instant,
    clock: Clock,
}

impl Paces {
    /// Nobody has come yet.
    pub fn new(clock: Clock) -> Self {
        Paces { due: Cache::new(REMEMBERED), began: clock.now(), clock }
    }

    /// Counts a request of who is made of these words, where `rps` a second are allowed.
    ///
    /// # Errors
    /// How long to wait until one would be let in; then it was not counted.
    pub fn spend(&self, who: &[&str], rps: f64) -> Result<(), Duration> {
        let now = nanos(self.clock.now().saturating_duration_since(self.began));
        let step = (1e9 / rps.max(1e-6)) as u64;
        // At least one may come at once, however slow the rate.
        let room = ((BURST_SECONDS * 1e9) as u64).saturating_sub(step);
        let key = fingerprint::of(who);
        let due = match self.due.get(&key) {
            Some(due) => due,
            None => {
                let fresh = self.due.get_or_insert_with(&key, || Ok::<_, std::convert::Infallible>(Arc::default()));
                fresh.unwrap_or_default()
            }
        };
        let next = |due: u64| due.max(now).saturating_add(step);
        let spend = |due: u64| (due.saturating_sub(now) <= room).then(|| next(due));
        match due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend) {
            Ok(_) => Ok(()),
            Err(due) => Err(Duration::from_nanos(due.saturating_sub(now).saturating_sub(room))),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    #[test]
    fn a_second_of_requests_may_come_at_once_and_then_they_come_evenly() {
        let time = TestClock::new();
        let paces = Paces::new(time.clock());
        for _ in 0..5 {
            assert_eq!(paces.spend(&["w", "n"], 5.0), Ok(()));
        }
        assert_eq!(paces.spend(&["w", "n"], 5.0), Err(Duration::from_millis(200)));
        assert_eq!(paces.spend(&["w", "other"], 5.0), Ok(()), "others are not held up");
        assert_eq!(paces.spend(&["wn", ""], 5.0), Ok(()), "words are not run together");
        time.advance(Duration::from_millis(200));
        assert_eq!(paces.spend(&["w", "n"], 5.0), Ok(()), "who waits as long as was said is let in");
        assert!(paces.spend(&["w", "n"], 5.0).is_err());
    }

    #[test]
    fn d5_however_many_callers_come_few_are_remembered() {
        let paces = Paces::new(TestClock::new().clock());
        for index in 0..2 * REMEMBERED {
            assert_eq!(paces.spend(&[&index.to_string()], 1.0), Ok(()));
        }
        assert!(paces.due.len() <= REMEMBERED, "{}", paces.due.len());
    }

    #[test]
    fn odd_rates_are_no_trouble() {
        let paces = Paces::new(TestClock::new().clock());
        for rps in [f64::MIN_POSITIVE, 1e-300, 1e-9, 0.5, 1.5, 1e12, 1e300, f64::MAX, f64::INFINITY] {
            let who = rps.to_string();
            assert_eq!(paces.spend(&[&who], rps), Ok(()), "{rps}: one may always come");
            assert_eq!(paces.spend(&[&who], rps).is_ok(), rps >= 2.0, "{rps}");
        }
    }

    #[test]
    fn a_slow_rate_lets_one_in() {
        let time = TestClock::new();
        let paces = Paces::new(time.clock());
        assert_eq!(paces.spend(&["slow"], 0.5), Ok(()));
        assert_eq!(paces.spend(&["slow"], 0.5), Err(Duration::from_secs(2)));
        time.advance(Duration::from_secs(2));
        assert_eq!(paces.spend(&["slow"], 0.5), Ok(()));
    }
}
