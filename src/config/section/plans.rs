//! `plans`: what tenants can buy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Names from `limits` that hold for the tenants of the plan, on every route.
    pub limits: Vec<String>,
}
