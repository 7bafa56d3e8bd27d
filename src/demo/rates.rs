//! Calls per second of each name that JWTs carry.
//!
//! In: a name, the most it may, the time. Out: nothing, or a 429 that says when to come back.
//! The vendor counts by name, not by token: whoever gives two tenants one name lets one of them use
//! up the other's calls.
//! **Not here**: where the limit comes from (`jwt`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::answer::Failure;

/// One second's calls of each name.
#[derive(Debug, Default)]
pub(super) struct Rates {
    windows: BTreeMap<String, Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    calls: u32,
}

impl Rates {
    /// Counts one call and says whether it is one too many.
    pub(super) fn judge(&mut self, name: &str, most: f64, now: Instant) -> Result<(), Failure> {
        // Names come from whoever can sign tokens: what is past need not be kept.
        self.windows.retain(|_, window| now.saturating_duration_since(window.began) < SECOND);
        let window = self.windows.entry(name.to_owned()).or_insert(Window { began: now, calls: 0 });
        window.calls = window.calls.saturating_add(1);
        if f64::from(window.calls) <= most.max(1.0) {
            return Ok(());
        }
        let text = "Too many requests: the limit of this token's name is used up";
        Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, text).with_retry_after(1))
    }
}

const SECOND: Duration = Duration::from_secs(1);
