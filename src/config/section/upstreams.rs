//! `upstreams`: the APIs behind the gateway.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::retry::Retry;
use crate::config::scalar::{Endpoint, FieldName, Period, Rate, Scheme, Secret};

/// One API behind the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its base URL: `https://api.tinybird.co`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Endpoint>,
    /// Instead of `url`: the base URLs of several backends that answer alike. Requests are shared out among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<Endpoint>>,
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
    /// When a backend that fails is left out. With `urls` this is on unless `after` is 0; with `url` it is off unless it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eject: Option<Eject>,
    /// Asks each backend now and then whether it is well. Left out: nothing is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

impl Upstream {
    /// Its backends, in the order of the file; one at least, unless the file is wrong.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> + Clone {
        self.url.iter().chain(self.urls.iter().flatten())
    }

    /// Plain or TLS, as all its backends; none where the file is wrong.
    pub fn scheme(&self) -> Option<Scheme> {
        self.endpoints().next().map(Endpoint::scheme)
    }

    /// What stands before every path, at all its backends.
    pub fn base_path(&self) -> &str {
        self.endpoints().next().map_or("", Endpoint::base_path)
    }

    /// Its URLs as they are written, for people.
    pub fn places(&self) -> String {
        self.endpoints().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// When its backends are left out; none if they never are.
    pub fn ejection(&self) -> Option<&Eject> {
        let eject = match &self.eject {
            Some(eject) => eject,
            None if self.endpoints().nth(1).is_some() => &USUAL_EJECT,
            None => return None,
        };
        (eject.after > 0).then_some(eject)
    }

    /// The key that its URLs stand under.
    pub fn url_key(&self) -> &'static str {
        if self.urls.is_some() { "urls" } else { "url" }
    }
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

/// When a backend that fails is left out: after failures in a row, which are no connection, no answer in time, a broken connection, and the statuses 502, 503 and 504.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Eject {
    /// How many failures in a row it takes. 0: none is left out.
    pub after: u32,
    /// How long it is left out the first time; each further time is twice as long. Then one request finds out whether it is well again.
    #[serde(rename = "for")]
    pub time: Period,
    /// No time is longer.
    pub max: Period,
    /// What happens while all are left out: `try` (they are tried all the same) or `refuse` (503 at once).
    pub all_out: AllOut,
}

static USUAL_EJECT: Eject =
    Eject { after: 5, time: Period::of_millis(10_000), max: Period::of_millis(60_000), all_out: AllOut::Try };

impl Default for Eject {
    fn default() -> Self {
        USUAL_EJECT.clone()
    }
}

/// What happens while all backends are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AllOut {
    /// Requests are refused with 503 at once.
    Refuse,
    /// They are tried all the same.
    #[default]
    Try,
}

/// How backends are asked whether they are well: a GET that is to answer with a status from 200 to 299.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What is asked for, behind the path of the URL: `/health`.
    pub path: String,
    /// The time from an answer to the next question.
    #[serde(default = "default_every")]
    pub every: Period,
    /// How long an answer may take.
    #[serde(default = "default_answer")]
    pub timeout: Period,
    /// So many failures in a row, and the backend gets no requests.
    #[serde(default = "default_down_after")]
    #[schemars(range(min = 1))]
    pub down_after: u32,
    /// So many good answers in a row, and it gets requests again.
    #[serde(default = "default_up_after")]
    #[schemars(range(min = 1))]
    pub up_after: u32,
    /// Whether `token` and `headers` are sent along.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub authorized: bool,
}

fn default_every() -> Period {
    Period::of_millis(10_000)
}

fn default_answer() -> Period {
    Period::of_millis(2_000)
}

fn default_down_after() -> u32 {
    3
}

fn default_up_after() -> u32 {
    2
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
