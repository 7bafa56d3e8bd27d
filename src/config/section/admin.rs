//! `admin`: the operator's own address.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::Secret;

/// Health, readiness, metrics, reload; never on a listener of callers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port, `127.0.0.1:9901` when left out.
    #[schemars(with = "crate::config::schema::ListenAddress")]
    pub address: SocketAddr,
    /// Needed for a reload, and for `/metrics` from other machines (`Authorization: Bearer`); made by the gateway when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { address: SocketAddr::from(([127, 0, 0, 1], 9901)), token: None }
    }
}
