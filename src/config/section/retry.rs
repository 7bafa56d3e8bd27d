//! `retry` of an upstream: which failures are tried again, and when.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::{Percent, Period};

/// Retries with exponential backoff and full jitter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Tries in all, 1 to 10; 1 means no retry.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,
    /// Statuses of the upstream that are tried again.
    #[schemars(inner(range(min = 400, max = 599)))]
    pub on: Vec<u16>,
    /// The first wait is a random time up to this.
    pub base: Period,
    /// No wait is longer, unless the upstream's `Retry-After` asks for it.
    pub max: Period,
    /// Retries may be this share of the upstream's requests over the last 10 s; 10 in 10 s are always allowed.
    pub budget: Percent,
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: 3,
            on: vec![429, 500],
            base: Period::of_millis(100),
            max: Period::of_millis(5_000),
            budget: Percent::of(20),
        }
    }
}
