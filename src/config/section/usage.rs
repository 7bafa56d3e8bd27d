//! `usage`: what is kept of who used how much.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::Period;

/// Usage per tenant: in metrics as it happens, and in a file for bills.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    /// Whether usage is written to `usage.sqlite` in `state.dir`, or where `state.store` says, by minute, tenant, caller, route and status class.
    pub ledger: bool,
    /// How long it is kept there; after two days by the hour, after two months by the day.
    pub retention: Period,
    /// Whether the answers of pipes are read for the rows and bytes that their queries read. Compressed ones are unpacked for that, and passed on as they are.
    pub measure: bool,
    /// How many tenants have metrics of their own; the others share `__other__`. Who has not called for an hour makes room.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_tenants: u32,
}

/// A day, in milliseconds.
const DAY: u64 = 24 * 60 * 60 * 1_000;

impl Default for Usage {
    fn default() -> Self {
        Usage { ledger: true, retention: Period::of_millis(400 * DAY), measure: true, max_tenants: 1_000 }
    }
}
