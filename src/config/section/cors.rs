//! `cors`: which web pages may call from a browser.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::{OriginPattern, Period};

/// Cross-origin rules, at the top level, on a host or on a route; the inner replaces the outer whole.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins that may read answers: exact, `https://*.acme.com`, or `*`.
    pub origins: Vec<OriginPattern>,
    /// Whether pages may send cookies and TLS client certificates; not with `*`.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser may remember a preflight answer.
    #[serde(default = "default_max_age")]
    pub max_age: Period,
}

fn default_max_age() -> Period {
    Period::of_millis(600_000)
}
