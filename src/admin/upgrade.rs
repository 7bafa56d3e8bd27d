//! Asking for an upgrade: another process that goes on with the sockets of this
//! one.
//!
//! In: the wish of an operator. Out: an [`Outcome`]. Not here: the upgrade itself
//! (`app`), which this module only knows by a channel.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// Why a second one is refused.
pub const BUSY: &str =
    "an upgrade is under way, or the process before this one still finishes its requests: wait until that has ended";

/// What is wished for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wish {
    /// Which program is to go on; left out: the file that this process was started from, as it is now.
    pub binary: Option<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This process goes on.
    Done {
        /// Its number.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// The other process did not come up; this one serves as before.
    Failed(String),
    /// Nothing was begun.
    Refused(String),
}

impl Outcome {
    /// The word for it in answers.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Done { .. } => "upgraded",
            Outcome::Failed(_) => "failed",
            Outcome::Refused(_) => "refused",
        }
    }

    /// For a person.
    pub fn text(&self) -> String {
        let ours = std::process::id();
        match self {
            Outcome::Done { pid, version } => format!(
                "upgraded: process {pid} (tollgate {version}) serves, process {ours} finishes the requests that it has"
            ),
            Outcome::Failed(why) => format!("{why}\nnothing was changed: process {ours} serves as before"),
            Outcome::Refused(why) => why.clone(),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Outcome::Done { .. } => StatusCode::OK,
            Outcome::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Outcome::Refused(_) => StatusCode::CONFLICT,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let (pid, version) = match self {
            Outcome::Done { pid, version } => (Some(pid), Some(version)),
            Outcome::Failed(_) | Outcome::Refused(_) => (None, None),
        };
        json!({ "result": self.word(), "pid": pid, "version": version, "text": self.text() })
    }
}

/// The operator's end of the channel.
#[derive(Clone, Debug)]
pub struct Upgrades {
    asks: mpsc::Sender<Ask>,
    is_under_way: Arc<AtomicBool>,
}

/// A wish on its way.
#[derive(Debug)]
pub struct Ask {
    /// What is wished for.
    pub wish: Wish,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Outcome>,
}

impl Upgrades {
    /// Both ends.
    pub fn channel() -> (Upgrades, mpsc::Receiver<Ask>) {
        let (asks, received) = mpsc::channel(1);
        (Upgrades { asks, is_under_way: Arc::default() }, received)
    }

    /// Notes that one begins; false if one is under way.
    pub fn begin(&self) -> bool {
        !self.is_under_way.swap(true, Ordering::AcqRel)
    }

    /// Notes that none is under way any more.
    pub fn end(&self) {
        self.is_under_way.store(false, Ordering::Release);
    }

    /// Whether one is under way: then nothing is to be changed that the other process has read already.
    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way.load(Ordering::Acquire)
    }

    pub(super) async fn ask(&self, wish: Wish) -> Outcome {
        let stopping = || Outcome::Refused("the gateway is stopping: there is nothing to hand over".to_owned());
        if self.asks.is_closed() {
            return stopping();
        }
        if !self.begin() {
            return Outcome::Refused(BUSY.to_owned());
        }
        let (reply, answer) = oneshot::channel();
        let asked = self.asks.try_send(Ask { wish, reply });
        let outcome = match asked {
            Ok(()) => answer.await.ok(),
            Err(_) => None,
        };
        outcome.unwrap_or_else(|| {
            self.end();
            stopping()
        })
    }
}
