//! `log`: what the gateway writes about itself and about requests.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::{Percent, absolute};

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
}

impl Default for Log {
    fn default() -> Self {
        Log { level: Level::Info, format: Format::Text, access: Access::Stdout, sample: Percent::of(100) }
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
