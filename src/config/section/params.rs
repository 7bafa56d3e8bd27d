//! `params` of a route: which parameters reach the upstream, and with what values.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::Template;

/// Rules for the parameters of a call, wherever the caller puts them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Names that callers may use; left out: any but control parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// Values that always win over the caller's; an empty one refuses the request.
    pub fixed: BTreeMap<String, Template>,
    /// Values for parameters that the caller leaves out.
    pub default: BTreeMap<String, Template>,
    /// What happens when a caller sends another value for a fixed parameter.
    pub conflict: Conflict,
    /// Accepts that callers of different tenants are not kept apart here: a public route takes a fixed value from the caller's path or host, or rows are everybody's.
    pub allow_public_tenant: bool,
}

/// What happens when a caller contradicts a fixed parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Conflict {
    /// The fixed value is used and the caller's is dropped, as Tinybird does.
    #[default]
    Override,
    /// The request is refused with 400.
    Refuse,
}
