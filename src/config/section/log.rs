//! `log`: what the gateway writes about itself and about requests.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::{Endpoint, FieldName, Percent, Secret, absolute};

/// The program's own log goes to stderr, the access log where `access` says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Least severe message of the program's own log.
    pub level: Level,
    /// Form of both logs.
    pub format: Format,
    /// `off`, `stdout`, or the path of a file, relative to the configuration's folder.
    pub access: Access,
    /// Share of requests in the access log; answers of 500 and above always appear.
    pub sample: Percent,
    /// Where spans of requests go: a collector that speaks OTLP over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traces: Option<Traces>,
}

/// Spans of requests, for an OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// The collector, like `http://127.0.0.1:4318`; `/v1/traces` is added.
    pub url: Endpoint,
    /// Share of requests that are sent; where the caller's `traceparent` says whether its trace is kept, that decides.
    #[serde(default = "default_share")]
    pub sample: Percent,
    /// Headers for the collector; their values are credentials.
    #[serde(default)]
    pub headers: BTreeMap<FieldName, Secret>,
    /// The name of this gateway in the traces: `service.name`.
    #[serde(default = "default_service")]
    pub service: ServiceName,
}

fn default_share() -> Percent {
    Percent::of(10)
}

fn default_service() -> ServiceName {
    ServiceName("tollgate".into())
}

/// A name that people read in a list of services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName(Box<str>);

impl ServiceName {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
            return Err("this is not a name: write 1 to 128 characters".to_owned());
        }
        Ok(ServiceName(text.into()))
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::config::scalar::from_text!(ServiceName, "a name");
crate::config::scalar::as_text!(ServiceName);

impl Default for Log {
    fn default() -> Self {
        Log { level: Level::Info, format: Format::Text, access: Access::Stdout, sample: Percent::of(100), traces: None }
    }
}

/// Severities, as the `log` crate knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything about connections.
    Debug,
    /// What an operator must act on.
    Error,
    /// Start, stop, and what changed.
    Info,
    /// What may need attention.
    Warn,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "LogFormat")]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Appended to this file.
    File(PathBuf),
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
}

impl FromStr for Access {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" | "false" => Ok(Access::Off),
            "stdout" => Ok(Access::Stdout),
            "" => Err("this is empty: write `off`, `stdout` or the path of a file".to_owned()),
            path => Ok(Access::File(PathBuf::from(path))),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Access::File(path) => f.write_str(&absolute(path)),
            Access::Off => f.write_str("off"),
            Access::Stdout => f.write_str("stdout"),
        }
    }
}

crate::config::scalar::from_text!(Access, "`off`, `stdout` or the path of a file");
crate::config::scalar::as_text!(Access);
