//! What a finished exchange adds to somebody's usage.
//!
//! In: an [`Outcome`]. Out: the key it is added up under, and what is added.
//! Not here: adding up and writing down (`state::usage`).

use std::time::{Duration, UNIX_EPOCH};

use crate::exchange::outcome::Outcome;
use crate::exchange::usage::{UsageKeyRef, Used};

/// What is added up for an exchange. Every exchange counts, refused ones too: who pays for what is said where bills are made.
pub fn record(outcome: &Outcome) -> (UsageKeyRef<'_>, Used) {
    let key = UsageKeyRef {
        minute: minute_of(outcome),
        tenant: outcome.tenant.as_ref(),
        caller: outcome.caller.as_ref(),
        route: outcome.route.as_ref(),
        class: u8::try_from(outcome.status / 100).unwrap_or(0),
    };
    let used = Used {
        requests: 1,
        refusals: u64::from(outcome.refusal.is_some()),
        retries: outcome.attempts.saturating_sub(1).into(),
        request_bytes: outcome.request_bytes,
        response_bytes: outcome.response_bytes,
        rows_read: outcome.statistics.rows_read.unwrap_or(0),
        bytes_read: outcome.statistics.bytes_read.unwrap_or(0),
        upstream_micros: micros(outcome.upstream_elapsed),
        unmeasured: u64::from(is_unmeasured(outcome)),
    };
    (key, used)
}

/// The minute in which it ended: an hour of streaming is not added to an hour ago, whose sums may have been sent off.
fn minute_of(outcome: &Outcome) -> u32 {
    let ended = outcome.at.checked_add(outcome.elapsed).unwrap_or(outcome.at);
    let seconds = ended.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    u32::try_from(seconds / 60).unwrap_or(u32::MAX)
}

/// Whether a query was answered without a word about what it read.
fn is_unmeasured(outcome: &Outcome) -> bool {
    let statistics = &outcome.statistics;
    let is_answered = outcome.attempts > 0 && outcome.refusal.is_none() && (200..300).contains(&outcome.status);
    is_answered && statistics.rows_read.is_none() && statistics.bytes_read.is_none()
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
