//! `state`: what outlives a configuration, and where it is kept.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The gateway's own memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// The folder of what the gateway keeps: the admin token that it makes where none is written.
    #[serde(serialize_with = "crate::config::scalar::absolute_folder")]
    pub dir: PathBuf,
}

impl Default for State {
    fn default() -> Self {
        State { dir: PathBuf::from("./data") }
    }
}
