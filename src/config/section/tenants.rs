//! `tenants`: what the operator says about a tenant, whatever a credential says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One tenant; those that are not listed have the defaults.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tenant {
    /// Whether its callers are served; `false` refuses them with 403 on every route.
    pub enabled: bool,
    /// The plan that it bought, a name from `plans`, whatever a credential says. Left out: as the credential says, or `default_plan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

impl Default for Tenant {
    fn default() -> Self {
        Tenant { enabled: true, plan: None }
    }
}
