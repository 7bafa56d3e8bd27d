//! `admin`: the operator's own address.

use std::net::SocketAddr;

use serde::Deserialize;

use crate::config::scalar::Secret;

/// Health, readiness and metrics; never on a listener of callers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address and port, `127.0.0.1:9901` when left out.
    pub address: SocketAddr,
    /// Needed for `/metrics` from other machines (`Authorization: Bearer`).
    pub token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { address: SocketAddr::from(([127, 0, 0, 1], 9901)), token: None }
    }
}
