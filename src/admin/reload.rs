//! Asking for a reload, and what came of it.
//!
//! In: the wish of an operator. Out: a [`Report`]. Not here: the reload itself
//! (`app`), which this module only knows by a channel: it is one, however many
//! ask at a time.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::config::diff::ConfigDiff;
use crate::config::issue::Issues;

/// Wishes that may wait; more than that is no operator.
const MAX_WAITING: usize = 16;

/// What is wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Take the file over.
    Apply,
    /// Say what taking it over would change.
    Compare,
}

/// What set a reload off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A call on the admin address.
    Admin,
    /// A file that changed.
    File,
    /// SIGHUP.
    Signal,
}

impl Trigger {
    /// The word for it in logs and answers.
    pub fn word(self) -> &'static str {
        match self {
            Trigger::Admin => "admin",
            Trigger::File => "file",
            Trigger::Signal => "signal",
        }
    }
}

/// What came of loading the file again.
#[derive(Debug)]
pub struct Report {
    /// Which configuration is running now.
    pub generation: u64,
    /// What set it off.
    pub trigger: Trigger,
    /// When.
    pub at: SystemTime,
    /// The file, as the gateway was given it.
    pub file: Option<String>,
    /// What was found.
    pub finding: Finding,
    /// What the operator must know besides: an upstream without an address, a token that cannot be had.
    pub notes: Vec<String>,
}

/// What was found in the file.
#[derive(Debug)]
pub enum Finding {
    /// It is running now, but for what needs a restart.
    Applied(ConfigDiff, Issues),
    /// It is fine, and something that it needs cannot be had: this. Nothing changed.
    Blocked(String),
    /// The gateway itself is at fault, and nothing changed.
    Failed,
    /// This is what would change.
    Compared(ConfigDiff, Issues),
    /// It cannot be used, and nothing changed.
    Rejected(Issues),
    /// It says what is running already.
    Unchanged,
    /// The gateway was not started from a file.
    WithoutFile,
}

impl Finding {
    /// The word for it in answers.
    pub fn word(&self) -> &'static str {
        match self {
            Finding::Applied(..) => "applied",
            Finding::Blocked(_) => "blocked",
            Finding::Compared(..) => "compared",
            Finding::Failed => "failed",
            Finding::Rejected(_) => "rejected",
            Finding::Unchanged => "unchanged",
            Finding::WithoutFile => "without_file",
        }
    }

    /// Whether the file is fine.
    pub fn is_good(&self) -> bool {
        match self {
            Finding::Applied(..) | Finding::Compared(..) | Finding::Unchanged => true,
            Finding::Blocked(_) | Finding::Failed | Finding::Rejected(_) | Finding::WithoutFile => false,
        }
    }

    /// The differences, where there are any.
    pub fn diff(&self) -> Option<&ConfigDiff> {
        match self {
            Finding::Applied(diff, _) | Finding::Compared(diff, _) => Some(diff),
            Finding::Blocked(_)
            | Finding::Failed
            | Finding::Rejected(_)
            | Finding::Unchanged
            | Finding::WithoutFile => None,
        }
    }
}

impl Report {
    /// As the admin address answers it.
    pub fn to_json(&self) -> Value {
        let diff = self.finding.diff();
        let issues = match &self.finding {
            Finding::Applied(_, issues) | Finding::Compared(_, issues) | Finding::Rejected(issues) => Some(issues),
            Finding::Blocked(_) | Finding::Failed | Finding::Unchanged | Finding::WithoutFile => None,
        };
        let file = self.file.as_deref().unwrap_or_default();
        json!({
            "result": self.finding.word(),
            "file": self.file,
            "generation": self.generation,
            "changes": diff.map(|diff| &diff.changes),
            "diff": diff.map(ToString::to_string),
            "needs_restart": diff.map(|diff| diff.needs_restart().map(|change| &change.path).collect::<Vec<_>>()),
            "issues": issues.map(|issues| issues.to_json(file)),
            "notes": self.notes,
            "text": self.to_string(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.notes.iter().try_for_each(|note| writeln!(f, "warning: {note}"))?;
        match &self.finding {
            Finding::Failed => {
                let what = "a fault in the gateway itself, see its log";
                writeln!(f, "{what}: nothing was changed, generation {} goes on", self.generation)
            }
            Finding::Blocked(why) => {
                writeln!(f, "{why}: nothing was changed, generation {} goes on", self.generation)
            }
            Finding::Applied(diff, warnings) if diff.needs_restart().count() == diff.changes.len() => {
                writeln!(f, "{warnings}{diff}nothing could be taken over: generation {} goes on", self.generation)
            }
            Finding::Applied(diff, warnings) => {
                writeln!(f, "{warnings}{diff}reloaded: generation {} is running", self.generation)
            }
            Finding::Compared(diff, warnings) => write!(f, "{warnings}{diff}"),
            Finding::Rejected(issues) => {
                writeln!(f, "{issues}{}: nothing was changed, generation {} goes on", issues.count(), self.generation)
            }
            Finding::Unchanged => writeln!(f, "nothing has changed: generation {} goes on", self.generation),
            Finding::WithoutFile => {
                f.write_str("this gateway was not started from a file that could be loaded again\n")
            }
        }
    }
}

/// The operator's end of the channel.
#[derive(Clone, Debug)]
pub struct Reloads {
    asks: mpsc::Sender<Ask>,
    last: Arc<ArcSwapOption<Report>>,
}

/// A wish on its way.
#[derive(Debug)]
pub struct Ask {
    /// What is wished for.
    pub wish: Wish,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Arc<Report>>,
}

impl Reloads {
    /// Both ends.
    pub fn channel() -> (Reloads, mpsc::Receiver<Ask>) {
        let (asks, received) = mpsc::channel(MAX_WAITING);
        (Reloads { asks, last: Arc::default() }, received)
    }

    /// Waits for an answer; none if too many wait already, or nobody is there any more.
    pub(super) async fn ask(&self, wish: Wish) -> Option<Arc<Report>> {
        let (reply, answer) = oneshot::channel();
        self.asks.try_send(Ask { wish, reply }).ok()?;
        answer.await.ok()
    }

    /// What came of the last one.
    pub(super) fn last(&self) -> Option<Arc<Report>> {
        self.last.load_full()
    }

    /// Notes what came of one.
    pub fn note(&self, report: Arc<Report>) {
        self.last.store(Some(report));
    }
}
