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
    /// Whether callers are asked for a certificate in the handshake, while a provider of `auth` has `type: mtls`; none need have one.
    #[serde(default = "asks", skip_serializing_if = "Clone::clone")]
    pub client_certificates: bool,
}

fn asks() -> bool {
    true
}

impl Listener {
    /// A listener at an address, without TLS.
    pub fn plain(address: SocketAddr) -> Self {
        Listener { address, tls: false, client_certificates: asks() }
    }

    /// Whether a caller can show a certificate here.
    pub fn takes_certificates(&self) -> bool {
        self.tls && self.client_certificates
    }
}

/// Where the gateway listens when `listeners` is left out.
pub fn default_listeners() -> Vec<Listener> {
    vec![Listener::plain(SocketAddr::from(([0, 0, 0, 0], 8080)))]
}
