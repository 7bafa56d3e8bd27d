//! `upstreams`: the APIs behind the gateway.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::retry::Retry;
use crate::config::scalar::{Endpoint, FieldName, Period, Secret};

/// One API behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its base URL: `https://api.tinybird.co`.
    pub url: Endpoint,
    /// The credential that the gateway sends as `Authorization: Bearer`; callers never see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Whose credential reaches the upstream.
    #[serde(default)]
    pub auth: UpstreamAuth,
    /// Further headers that the gateway sets; their values are credentials.
    #[serde(default)]
    pub headers: BTreeMap<FieldName, Secret>,
    /// How long each stage may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Which failures are tried again.
    #[serde(default)]
    pub retry: Retry,
    /// TLS towards the upstream; always verified.
    #[serde(default)]
    pub tls: UpstreamTls,
}

/// Whose credential reaches the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamAuth {
    /// The upstream's own `token`.
    #[default]
    Token,
}

/// Time-outs towards an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Period,
    /// For one try, until its response headers are complete.
    pub attempt: Period,
    /// For all tries and the waits between them, until response headers.
    pub total: Period,
    /// Between two reads of a response body, and between two writes.
    pub idle: Period,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Period::of_millis(2_000),
            attempt: Period::of_millis(35_000),
            total: Period::of_millis(60_000),
            idle: Period::of_millis(60_000),
        }
    }
}

/// TLS towards an upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTls {
    /// A PEM file of authorities to trust instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::config::scalar::absolute_path")]
    pub ca: Option<PathBuf>,
    /// The certificates of that file, DER, read when the configuration is loaded.
    #[serde(skip)]
    pub ca_certificates: Vec<Vec<u8>>,
}
