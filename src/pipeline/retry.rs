//! May this attempt be repeated, and when.
//!
//! In: what went wrong, how often it was tried, how much time is left. Out: a
//! wait, or the end. Not here: sleeping and sending again (`proxy::attempt`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::section::retry as section;
use crate::config::section::upstreams::Timeouts;
use crate::state::retry_budget::RetryBudget;

/// The compiled policy of a route's upstream.
#[derive(Clone, Debug)]
pub struct Retry {
    attempts: u32,
    statuses: Box<[u16]>,
    base: Duration,
    max: Duration,
    total: Duration,
    share: f64,
    budget: Arc<RetryBudget>,
}

/// What a policy allows, in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Tries in all.
    pub attempts: u32,
    /// Statuses that are tried again.
    pub statuses: Vec<u16>,
    /// The longest wait before the second try, the third, and so on.
    pub waits: Vec<Duration>,
    /// Retries may be this share of the upstream's requests.
    pub share: f64,
}

/// What went wrong with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// A kept-alive connection turned out to be closed before an answer began.
    Reused,
    /// The upstream answered with this status.
    Status {
        /// The status.
        status: u16,
        /// What its `Retry-After` asks for.
        retry_after: Option<Duration>,
    },
}

impl Failure {
    /// The name in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Failure::Connect => "connect",
            Failure::Reused => "reused_connection",
            Failure::Status { status: 429, .. } => "429",
            Failure::Status { status: 500, .. } => "500",
            Failure::Status { .. } => "other_status",
        }
    }
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The failure is the answer.
    GiveUp,
    /// Try again after this long.
    Wait(Duration),
}

impl Retry {
    /// The policy of an upstream.
    pub fn compile(section: &section::Retry, timeouts: &Timeouts, budget: Arc<RetryBudget>) -> Self {
        let section::Retry { attempts, on, base, max, budget: share } = section;
        Retry {
            attempts: *attempts,
            statuses: on.clone().into(),
            base: base.duration(),
            max: max.duration(),
            total: timeouts.total.duration(),
            share: share.ratio(),
            budget,
        }
    }

    /// What it allows, for people.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            attempts: self.attempts,
            statuses: self.statuses.to_vec(),
            waits: (1..self.attempts).map(|attempt| self.jitter(attempt, 1.0)).collect(),
            share: self.share,
        }
    }

    /// Counts a request that goes upstream for the first time.
    pub fn count_request(&self) {
        self.budget.count_request();
    }

    /// Whether a status is one that is tried again.
    pub fn is_failure(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }

    /// Decides after the attempt with this number (from 1), `elapsed` into the request.
    ///
    /// `random` is uniform in 0..1. The wait is full jitter: a random time up
    /// to the exponential bound, so that callers who failed together do not
    /// return together.
    pub fn judge(&self, failure: Failure, attempt: u32, elapsed: Duration, random: f64) -> Verdict {
        if attempt >= self.attempts {
            return Verdict::GiveUp;
        }
        let wait = match failure {
            // Nothing was wrong with the upstream, only with an old connection.
            Failure::Reused => Duration::ZERO,
            Failure::Connect => self.jitter(attempt, random),
            Failure::Status { retry_after, .. } => {
                self.jitter(attempt, random).max(retry_after.unwrap_or(Duration::ZERO))
            }
        };
        // A wait that leaves no time for an answer helps nobody.
        if elapsed.saturating_add(wait) >= self.total || !self.budget.take(self.share) {
            return Verdict::GiveUp;
        }
        Verdict::Wait(wait)
    }

    fn jitter(&self, attempt: u32, random: f64) -> Duration {
        let doubled = self.base.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        doubled.min(self.max).mul_f64(random.clamp(0.0, 1.0))
    }
}

/// Reads `Retry-After`: seconds, or an HTTP date (RFC 9110 section 10.2.3).
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::TestClock;

    fn policy() -> Retry {
        let clock = TestClock::new().clock();
        Retry::compile(&section::Retry::default(), &Timeouts::default(), Arc::new(RetryBudget::new(clock)))
    }

    const STATUS: Failure = Failure::Status { status: 500, retry_after: None };

    #[test]
    fn waits_grow_and_are_bounded() {
        let retry = policy();
        assert_eq!(retry.judge(STATUS, 1, Duration::ZERO, 1.0), Verdict::Wait(Duration::from_millis(100)));
        assert_eq!(retry.judge(STATUS, 2, Duration::ZERO, 1.0), Verdict::Wait(Duration::from_millis(200)));
        assert_eq!(retry.judge(STATUS, 3, Duration::ZERO, 1.0), Verdict::GiveUp, "three tries in all");
    }

    #[test]
    fn retry_after_is_respected_while_it_fits() {
        let retry = policy();
        let asks = |seconds| Failure::Status { status: 429, retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(retry.judge(asks(7), 1, Duration::ZERO, 0.0), Verdict::Wait(Duration::from_secs(7)));
        assert_eq!(retry.judge(asks(61), 1, Duration::ZERO, 0.0), Verdict::GiveUp, "longer than the total");
        assert_eq!(retry.judge(asks(7), 1, Duration::from_secs(55), 0.0), Verdict::GiveUp);
    }

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after(" 3 ", now), Some(Duration::from_secs(3)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:27 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }

    proptest! {
        #[test]
        fn a_wait_never_exceeds_its_bound(attempt in 1_u32..40, random in -1.0_f64..2.0) {
            let wait = policy().jitter(attempt, random);
            prop_assert!(wait <= Duration::from_secs(5));
        }
    }
}
