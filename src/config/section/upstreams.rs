//! `upstreams`: the APIs behind the gateway.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::retry::Retry;
use crate::config::scalar::{Endpoint, FieldName, Period, Rate, Secret};

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
    /// With `auth: mint`: what the tokens are made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mint: Option<Mint>,
    /// Further headers that the gateway sets; their values are credentials.
    #[serde(default)]
    pub headers: BTreeMap<FieldName, Secret>,
    /// How long each stage may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Which failures are tried again.
    #[serde(default)]
    pub retry: Retry,
    /// How many requests it gets at once, and how many may wait for that. Left out: as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<Concurrency>,
    /// How many requests it gets in a second, minute, hour or day, retries included: what its own plan allows. Left out: as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// TLS towards the upstream; always verified.
    #[serde(default)]
    pub tls: UpstreamTls,
}

/// Whose credential reaches the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamAuth {
    /// A Tinybird JWT that the gateway makes for each tenant.
    Mint,
    /// The caller's own verified Tinybird JWT.
    Passthrough,
    /// The upstream's own `token`.
    #[default]
    Token,
}

/// How Tinybird JWTs are made for an upstream with `auth: mint`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mint {
    /// The workspace's admin token, which signs.
    pub secret: Secret,
    /// The workspace that the tokens are for.
    pub workspace_id: String,
    /// How long each is good; it is used for 80 % of that.
    #[serde(default = "default_ttl")]
    pub ttl: Period,
}

fn default_ttl() -> Period {
    Period::of_millis(600_000)
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

/// How many requests an upstream gets at once. Who waits is served in turn by tenant, and no tenant holds more than its share of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Concurrency {
    /// Requests that may be on their way at once.
    #[schemars(range(min = 1))]
    pub max: u32,
    /// Requests that may wait; one more is refused with 429.
    #[serde(default = "default_queue")]
    pub queue: u32,
    /// How long a request waits; then it is refused with 429.
    #[serde(default = "default_wait")]
    pub wait: Period,
}

impl Concurrency {
    /// Where requests wait for the sake of `rate` alone.
    pub fn unlimited() -> Self {
        Concurrency { max: u32::MAX, queue: default_queue(), wait: default_wait() }
    }
}

fn default_queue() -> u32 {
    256
}

fn default_wait() -> Period {
    Period::of_millis(2_000)
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
