//! `state`: what outlives a configuration, and where it is kept.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the gateway keeps things if it is not told, relative to its file.
const DIR: &str = "./data";

/// The gateway's own memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// The folder of what the gateway keeps, `./data` when left out: the admin token that it makes where none is written.
    #[serde(serialize_with = "written")]
    pub dir: Option<PathBuf>,
    /// Where `./data` is: the folder of the file, or what the system gives the service.
    #[serde(skip)]
    pub beside: PathBuf,
}

impl State {
    /// Makes what is written and what is left out the same where they mean the same.
    pub(in crate::config) fn settle(&mut self) {
        let default = crate::config::scalar::absolute(&self.beside.join(DIR));
        self.dir = self.dir.take().filter(|dir| crate::config::scalar::absolute(dir) != default);
    }

    /// The folder of what the gateway keeps.
    pub fn folder(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| self.beside.join(DIR))
    }
}

// What is left out means another folder for each file, so it is not written as one of them.
fn written<S: serde::Serializer>(dir: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let dir = dir.as_deref().map(crate::config::scalar::absolute);
    serializer.serialize_str(dir.as_deref().unwrap_or(DIR))
}
