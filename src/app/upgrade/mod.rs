//! Another process goes on with the sockets of this one, and nobody notices.
//!
//! In: the wish for it. Out: a process that serves, and this one drains; or this
//! one goes on as if nothing had happened. Not here: what state the two share
//! meanwhile (`state`), the wish itself (`admin::upgrade`).

mod predecessor;
mod successor;
mod wire;

pub use predecessor::Predecessor;
pub use successor::Recipe;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{Notify, mpsc, watch};

use crate::admin::upgrade::{Ask, BUSY, Outcome, Upgrades, Wish};
use crate::clock::Clock;
use crate::proxy::Running;
use crate::proxy::server::Stop;
use crate::snapshot::live::Live;
use crate::state::State;
use crate::state::counters::Writers;

use super::base::Base;
use super::supervisor::Supervisor;
pub(super) use successor::Estate;
use successor::{Failure, Successor, may_be_run};

/// In the environment of a process whose standard input is a gateway that it is to follow.
pub const VARIABLE: &str = "TOLLGATE_UPGRADE";
/// How long the next process may take until it could serve: it reads its file and everything that this names.
const PREPARE: Duration = Duration::from_secs(60);
/// How long it may take from then on.
const SERVE: Duration = Duration::from_secs(15);
/// How long a look at what the other one has counted may take.
const SETTLE: Duration = Duration::from_secs(5);

/// What an upgrade needs.
pub(super) struct Upgrader {
    /// None where it is not known how this process was started.
    pub(super) recipe: Option<Recipe>,
    pub(super) estate: Estate,
    pub(super) upgrades: Upgrades,
    pub(super) state: Arc<State>,
    pub(super) live: Arc<Live<Running>>,
    pub(super) stop: watch::Sender<Option<Stop>>,
    pub(super) told: Supervisor,
    pub(super) clock: Clock,
}

impl Upgrader {
    /// Starts the thread that hands over. Nobody waits for its end: it outlives an upgrade.
    pub(super) fn start(self, asks: mpsc::Receiver<Ask>, signal: Arc<Notify>) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || runtime.block_on(self.run(asks, signal));
        std::thread::Builder::new().name("upgrade".to_owned()).spawn(run)?;
        Ok(())
    }

    /// Works until the gateway is asked to end.
    async fn run(self, mut asks: mpsc::Receiver<Ask>, signal: Arc<Notify>) {
        let mut stopping = self.stop.subscribe();
        loop {
            let (wish, reply) = tokio::select! {
                _ = stopping.wait_for(Option::is_some) => return,
                Some(ask) = asks.recv() => (ask.wish, Some(ask.reply)),
                () = signal.notified() => (Wish::default(), None),
            };
            if reply.is_none() && !self.upgrades.begin() {
                log::error!("upgrade: {BUSY}");
                continue;
            }
            let done = self.upgrade(wish).await.and_then(|(successor, version)| self.retire(successor, version));
            let outcome = match &done {
                Ok((_, outcome)) | Err(outcome) => outcome.clone(),
            };
            tell(&outcome);
            // Who asked may have gone.
            reply.into_iter().for_each(|reply| drop(reply.send(outcome.clone())));
            match done {
                Ok((successor, _)) => successor.outlive(),
                Err(_) => self.upgrades.end(),
            }
        }
    }

    /// This gateway ends, and the other one goes on; unless both were to end meanwhile.
    fn retire(&self, successor: Successor, version: String) -> Result<(Successor, Outcome), Outcome> {
        let pid = successor.pid();
        let retire = |stop: &mut Option<Stop>| {
            let is_first = stop.is_none();
            stop.get_or_insert(Stop::HandOver);
            is_first
        };
        if !self.stop.send_if_modified(retire) {
            return Err(outcome(successor.dismissed()));
        }
        self.told.followed_by(pid);
        Ok((successor, Outcome::Done { pid, version }))
    }

    async fn upgrade(&self, wish: Wish) -> Result<(Successor, String), Outcome> {
        let recipe = self.recipe(wish).map_err(Outcome::Refused)?;
        let is_stopping = || self.stop.borrow().is_some();
        log::warn!("upgrade: {} is started and gets the sockets of this process", recipe.program.display());
        let successor = Successor::start(&recipe, &self.estate, &self.clock);
        let (successor, version) =
            successor.and_then(|successor| successor.prepared(PREPARE, is_stopping)).map_err(outcome)?;
        // From here on both count, and each learns what the other one counted.
        self.state.usage().lend();
        self.state.counters().written_by(Writers::Two);
        self.state.counters().flush().await;
        successor.go(SERVE).map(|successor| (successor, version)).map_err(|failure| {
            self.state.counters().written_by(Writers::One);
            self.state.usage().take_back();
            self.state.usage().follow(&self.live.load().snapshot.config);
            outcome(failure)
        })
    }

    fn recipe(&self, wish: Wish) -> Result<Recipe, String> {
        let Some(recipe) = self.recipe.clone() else {
            return Err("this gateway was not started from a file that could be loaded again: restart it".to_owned());
        };
        if std::process::id() == 1 {
            return Err(
                "this gateway is the first process of its container, which ends with it: start a container of the \
                        new image, and stop this one when that one is ready"
                    .to_owned(),
            );
        }
        match wish.binary {
            None => Ok(recipe),
            Some(program) => may_be_run(&program).map(|()| Recipe { program, ..recipe }),
        }
    }
}

/// Says that this gateway could serve, and waits until it shall.
///
/// # Errors
/// It is not wanted any more.
pub(super) fn wait_for_turn(predecessor: &mut Predecessor, state: &State) -> anyhow::Result<()> {
    // What the other one counts from now on is known here before the first request comes.
    state.counters().written_by(Writers::Two);
    predecessor.prepared()?;
    settle(state)
}

/// Says that this gateway serves; when the other one has ended, everything is this one's.
///
/// # Errors
/// It is not wanted any more.
pub(super) fn follow(predecessor: Predecessor, upgrades: Upgrades, base: &Base) -> anyhow::Result<()> {
    // Three would not know what the others count.
    upgrades.begin();
    predecessor.serving()?;
    let (state, live) = (Arc::clone(&base.state), Arc::clone(&base.live));
    let follow = move || {
        predecessor.wait_for_end();
        // What it wrote last is learned with the last look.
        let settled = settle(&state);
        state.counters().written_by(Writers::One);
        state.usage().take_back();
        state.usage().follow(&live.load().snapshot.config);
        upgrades.end();
        match settled {
            Ok(()) => log::info!("the process that this one follows has ended"),
            Err(error) => log::error!("what the process before this one counted last may be missing: {error:#}"),
        }
    };
    std::thread::Builder::new().name("predecessor".to_owned()).spawn(follow)?;
    Ok(())
}

/// Waits until what is counted here is written, and what others have written is known here.
fn settle(state: &State) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let flush = async { tokio::time::timeout(SETTLE, state.counters().flush()).await };
    runtime.block_on(flush).context("the file of quotas is slow")
}

fn outcome(failure: Failure) -> Outcome {
    match failure {
        Failure::Stopping => Outcome::Failed("the gateway was told to stop meanwhile".to_owned()),
        Failure::Told(why) => Outcome::Failed(why),
    }
}

fn tell(outcome: &Outcome) {
    match outcome {
        Outcome::Done { .. } => log::warn!("{}", outcome.text()),
        Outcome::Failed(_) | Outcome::Refused(_) => log::error!("upgrade: {}", outcome.text()),
    }
}
