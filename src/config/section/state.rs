//! `state`: what outlives a configuration, and where it is kept.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::scalar::{Counters, Store};

/// Where the gateway keeps things if it is not told, relative to its file.
const DIR: &str = "./data";

/// The gateway's own memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// The folder of what the gateway keeps, `./data` when left out: the admin token that it makes where none is written.
    #[serde(serialize_with = "written")]
    pub dir: Option<PathBuf>,
    /// Where limits are counted: `memory`, or a Redis or Valkey that several gateways share: `redis://user:password@host:6379/0`, `rediss://` with TLS.
    pub counters: Counters,
    /// How many counts are kept in memory at once, each some 100 bytes. Beyond that, who is new shares one count per limit with others who are.
    #[schemars(range(min = 1000))]
    pub max_counters: u32,
    /// What happens while that Redis cannot be asked: each gateway counts for itself (`local`), or every request is let in (`allow`), or none (`refuse`).
    pub on_counter_failure: OnCounterFailure,
    /// Where the ledger of `usage` is kept: `sqlite`, a file in `dir`, or a Postgres that several gateways share: `postgres://user:password@host:5432/database`, with TLS unless it says `?sslmode=disable` or is on this machine.
    pub store: Store,
    /// Where `./data` is: the folder of the file, or what the system gives the service.
    #[serde(skip)]
    pub beside: PathBuf,
}

/// What a million callers need: some 100 MB.
const MAX_COUNTERS: u32 = 1_000_000;

impl Default for State {
    fn default() -> Self {
        State {
            dir: None,
            counters: Counters::default(),
            max_counters: MAX_COUNTERS,
            on_counter_failure: OnCounterFailure::default(),
            store: Store::default(),
            beside: PathBuf::new(),
        }
    }
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

/// What happens while shared counters cannot be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnCounterFailure {
    /// Limits that are shared let everybody in.
    Allow,
    /// Each gateway counts for itself, and gives its share of every limit.
    #[default]
    Local,
    /// Limits that are shared let nobody in.
    Refuse,
}

// What is left out means another folder for each file, so it is not written as one of them.
fn written<S: serde::Serializer>(dir: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    let dir = dir.as_deref().map(crate::config::scalar::absolute);
    serializer.serialize_str(dir.as_deref().unwrap_or(DIR))
}
