//! `usage`: what is kept of who used how much.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::{Period, Secret};

/// Usage per tenant: in metrics as it happens, and in a file for bills.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Usage {
    /// Whether usage is written to `usage.sqlite` in `state.dir`, or where `state.store` says, by minute, tenant, caller, route and status class.
    pub ledger: bool,
    /// How long it is kept there; after two days by the hour, after two months by the day.
    pub retention: Period,
    /// Whether the answers of pipes are read for the rows and bytes that their queries read. Compressed ones are unpacked for that, and passed on as they are.
    pub measure: bool,
    /// How many tenants have metrics of their own; the others share `__other__`. Who has not called for an hour makes room.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_tenants: u32,
    /// Where the rows of the ledger are sent, minute by minute: a data source of Tinybird. Left out: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<Export>,
}

/// A data source that gets the rows of the ledger through the Events API.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The upstream that takes them: a name under `upstreams`.
    pub upstream: String,
    /// The data source that they are added to; `tollgate usage export --ddl` prints it.
    #[serde(default)]
    pub events: DataSource,
    /// A token that may add to it (scope `DATASOURCES:APPEND`). Left out: the upstream's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

/// The name of a data source, or its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataSource(Box<str>);

impl DataSource {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for DataSource {
    fn default() -> Self {
        DataSource("gateway_usage".into())
    }
}

impl FromStr for DataSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Tinybird, names of resources: they stand in SQL as they are.
        let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if text.len() > 128 || !is_word || text.bytes().next().is_none_or(|first| first.is_ascii_digit()) {
            return Err("this is not the name of a data source: write letters, digits and `_`, not a digit first, \
                        like gateway_usage"
                .to_owned());
        }
        Ok(DataSource(text.into()))
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::config::scalar::from_text!(DataSource, "the name of a data source");
crate::config::scalar::as_text!(DataSource);

/// A day, in milliseconds.
const DAY: u64 = 24 * 60 * 60 * 1_000;

impl Default for Usage {
    fn default() -> Self {
        Usage { ledger: true, retention: Period::of_millis(400 * DAY), measure: true, max_tenants: 1_000, export: None }
    }
}
