//! `listeners`: where callers connect.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One address that callers connect to, HTTP/1.1 and HTTP/2.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port, like `0.0.0.0:8080`; port 0 takes a free one.
    #[schemars(with = "crate::config::schema::ListenAddress")]
    pub address: SocketAddr,
    /// Whether callers speak TLS here; the certificates are those of `hosts` and `tls`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
}

/// Where the gateway listens when `listeners` is left out.
pub fn default_listeners() -> Vec<Listener> {
    vec![Listener { address: SocketAddr::from(([0, 0, 0, 0], 8080)), tls: false }]
}
