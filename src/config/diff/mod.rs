//! What changes from one configuration to another.
//!
//! In: two [`Config`]s, so that order, comments, quotes and written defaults do
//! not count. Out: a [`ConfigDiff`], in the order of the file's sections, that
//! never shows a credential. Not here: applying a configuration (`app`).

mod compare;
mod values;

use std::fmt;

use serde::Serialize;

use super::Config;
use super::scalar::MASK;
use compare::{Compare, Walk};

/// Every change, in a stable order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ConfigDiff {
    /// One entry for each value, route or upstream that differs.
    pub changes: Vec<Change>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The keys that lead to it: `upstreams.tinybird.timeouts.attempt`.
    pub path: String,
    /// What kind of difference.
    pub kind: Kind,
    /// What it was, as it may be shown; none for what is new.
    pub before: Option<String>,
    /// What it will be, as it may be shown; none for what goes.
    pub after: Option<String>,
    /// When a running gateway takes it.
    pub takes: Takes,
}

/// What kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It was not there before.
    Added,
    /// It has another value.
    Changed,
    /// The file that it names, or the credential, is another one, and cannot be shown.
    ContentChanged,
    /// It is not there any more.
    Removed,
}

/// When a running gateway takes a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// With a reload.
    AtOnce,
    /// Only when the gateway starts.
    Restart,
}

impl ConfigDiff {
    /// What changes from `old` to `new`.
    pub fn between(old: &Config, new: &Config) -> ConfigDiff {
        let mut walk = Walk::new(old, new);
        old.compare(new, &mut walk);
        ConfigDiff { changes: walk.into_changes() }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What a reload leaves as it is.
    pub fn needs_restart(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.takes == Takes::Restart)
    }
}

impl fmt::Display for ConfigDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))?;
        let restart: Vec<&str> = self.needs_restart().map(|change| change.path.as_str()).collect();
        match restart.as_slice() {
            [] => Ok(()),
            paths => writeln!(f, "needs a restart: {}", paths.join(", ")),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { path, kind, before, after, takes: _ } = self;
        let (before, after) = (before.as_deref().unwrap_or_default(), after.as_deref().unwrap_or_default());
        match kind {
            Kind::Added => write!(f, "+ {path}: {after}"),
            Kind::Changed => write!(f, "~ {path}: {before} -> {after}"),
            Kind::ContentChanged if after == MASK => write!(f, "~ {path}: {MASK} (changed)"),
            Kind::ContentChanged => write!(f, "~ {path}: content changed"),
            Kind::Removed => write!(f, "- {path}"),
        }
    }
}

/// Gives `new` the values of `running` that only a start can change.
pub fn keep_until_restart(new: &mut Config, running: &Config) {
    for setting in &UNTIL_RESTART {
        (setting.keep)(new, running);
    }
}

/// A key that is only read when the gateway starts.
struct Setting {
    path: &'static [&'static str],
    /// Takes its value over from a running configuration.
    keep: fn(&mut Config, &Config),
}

/// The one list of what a reload cannot change.
const UNTIL_RESTART: [Setting; 10] = [
    Setting { path: &["listeners"], keep: |new, running| new.listeners.clone_from(&running.listeners) },
    Setting { path: &["admin", "address"], keep: |new, running| new.admin.address = running.admin.address },
    Setting { path: &["log", "format"], keep: |new, running| new.log.format = running.log.format },
    Setting { path: &["log", "access"], keep: |new, running| new.log.access.clone_from(&running.log.access) },
    Setting { path: &["log", "sample"], keep: |new, running| new.log.sample = running.log.sample },
    Setting { path: &["log", "traces"], keep: |new, running| new.log.traces.clone_from(&running.log.traces) },
    Setting { path: &["server", "threads"], keep: |new, running| new.server.threads = running.server.threads },
    Setting { path: &["server", "drain"], keep: |new, running| new.server.drain = running.server.drain },
    Setting { path: &["server", "keepalive"], keep: |new, running| new.server.keepalive = running.server.keepalive },
    Setting { path: &["state"], keep: |new, running| new.state.clone_from(&running.state) },
];

fn takes(path: &[&str]) -> Takes {
    let covers = |setting: &Setting| {
        path.len() >= setting.path.len() && path.iter().zip(setting.path).all(|(step, wanted)| step == wanted)
    };
    if UNTIL_RESTART.iter().any(covers) { Takes::Restart } else { Takes::AtOnce }
}
