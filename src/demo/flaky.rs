//! Failing on demand, so that retries can be watched.
//!
//! In: the bound parameters of the `flaky` pipe. Out: the attempt number that succeeds, or the
//! failure that was ordered.
//! Each key fails `times` times, then succeeds and is forgotten: the same command shows the same
//! sequence again.
//! **Not here**: what the pipe answers once it succeeds (its SQL).

use std::collections::VecDeque;

use http::StatusCode;
use rusqlite::types::Value;

use super::answer::Failure;
use super::parameter::{Bound, bound};

/// How often each key has been asked for since it last succeeded.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Oldest first; a list is quick enough at this size and keeps the order of eviction.
    counts: VecDeque<(String, i64)>,
}

impl Attempts {
    /// Counts one attempt and says how it ends.
    pub(super) fn judge(&mut self, values: &Bound) -> Result<i64, Failure> {
        let order = Order::read(values)?;
        let made = self.counts.iter().position(|(key, _)| *key == order.key).and_then(|at| self.counts.remove(at));
        let attempt = made.map_or(0, |(_, count)| count) + 1;
        if attempt > order.times {
            return Ok(attempt);
        }
        if self.counts.len() >= MOST_KEYS {
            self.counts.pop_front();
        }
        let failure = order.failure();
        self.counts.push_back((order.key, attempt));
        Err(failure)
    }
}

struct Order {
    key: String,
    status: StatusCode,
    times: i64,
    retry_after: u32,
}

impl Order {
    fn read(values: &Bound) -> Result<Self, Failure> {
        let status = match integer(values, "fail") {
            429 => StatusCode::TOO_MANY_REQUESTS,
            500 => StatusCode::INTERNAL_SERVER_ERROR,
            _ => {
                return Err(Failure::bad_request("[Error] Parameter 'fail' (Int32) must be 429 or 500"));
            }
        };
        let times = integer(values, "times");
        if !(0..=100).contains(&times) {
            return Err(Failure::bad_request("[Error] Parameter 'times' (Int32) must be between 0 and 100"));
        }
        let retry_after = match u32::try_from(integer(values, "retry_after")) {
            Ok(seconds) if seconds <= 3_600 => seconds,
            _ => {
                return Err(Failure::bad_request("[Error] Parameter 'retry_after' (Int32) must be between 0 and 3600"));
            }
        };
        let key = match bound(values, "key") {
            Some(Value::Text(key)) if key.len() <= LONGEST_KEY => key.clone(),
            _ => {
                return Err(Failure::bad_request("[Error] Parameter 'key' (String) must not be longer than 128 bytes"));
            }
        };
        Ok(Self { key, status, times, retry_after })
    }

    fn failure(&self) -> Failure {
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            let text = "[Error] Too many requests: the demo's rate limit was ordered to say so";
            return Failure::new(self.status, text).with_retry_after(self.retry_after);
        }
        // Deliberately ugly: SQL, values and a host, none of which may reach a gateway's caller.
        let text = format!(
            "DB::Exception: Received from clickhouse-demo-1.internal:9000. DB::Exception: Memory limit (for query) exceeded: would use 9.32 GiB, \
             maximum: 9.31 GiB.: While executing AggregatingTransform: SELECT visitor_hash, count() FROM d_demo.t_analytics_events WHERE \
             tenant_id = 'acme' AND email = 'jane.doe@acme.example' AND key = '{}' GROUP BY visitor_hash. (MEMORY_LIMIT_EXCEEDED)",
            self.key
        );
        Failure::new(self.status, text).with_exception(241)
    }
}

fn integer(values: &Bound, name: &str) -> i64 {
    match bound(values, name) {
        Some(Value::Integer(number)) => *number,
        _ => 0,
    }
}

const MOST_KEYS: usize = 1_024;
const LONGEST_KEY: usize = 128;
