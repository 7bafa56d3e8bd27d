//! What changes from one configuration to another.

use std::fmt;

use serde::Serialize;

use super::Config;

/// Every difference between two configurations.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ConfigDiff {
    changes: Vec<Change>,
}

/// One difference.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Where.
    pub path: String,
    /// Whether only a restart can take it over.
    pub restart: bool,
}

impl ConfigDiff {
    /// What is other in `new`.
    pub fn between(old: &Config, new: &Config) -> Self {
        let mut changes = Vec::new();
        let mut note = |path: &str, same: bool, restart: bool| {
            if !same {
                changes.push(Change { path: path.to_owned(), restart });
            }
        };
        note("listeners", old.listeners == new.listeners, true);
        note("everything", old == new, false);
        ConfigDiff { changes }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What only a restart can take over.
    pub fn needs_restart(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.restart)
    }
}

impl fmt::Display for ConfigDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "~ {}", change.path))
    }
}

/// Takes back what only a restart can change.
pub fn keep_until_restart(new: &mut Config, running: &Config) {
    new.listeners.clone_from(&running.listeners);
}
