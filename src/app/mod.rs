//! The composition root: the only file that knows everybody.
//!
//! In: a checked configuration. Out: a running gateway. Not here: reading the
//! file and telling the operator (`cli`).

pub mod probe;

mod backend_report;
mod base;
mod certificate_report;
mod claims;
mod health;
mod key_report;
mod load_report;
mod operators;
mod reload;
mod serving;
mod supervisor;
mod tls;
mod upgrade;
mod upkeep;

pub use reload::Origin;
pub use supervisor::Supervisor;
pub use upgrade::{Predecessor, Recipe, VARIABLE};

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};

use crate::admin::reload::Reloads;
use crate::admin::upgrade::Upgrades;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::scalar::Secret;
use crate::proxy::Running;
use crate::proxy::server::{COURTESY, Signals, Stop, Wakes, hear_signals};
use crate::proxy::sockets::Sockets;
use crate::state::State;
use crate::state::load::raise_open_files;
use crate::telemetry::metrics::Metrics;

use base::{Base, Desks, Serving};
use claims::Claims;
use operators::Operators;
use reload::Reloader;
use tls::Tls;
use upgrade::{Estate, Upgrader};

/// How long listeners may take to open.
const START: Duration = Duration::from_secs(10);
/// How long the end waits for what is left to be written.
const LAST_WRITE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// A running gateway. Dropping it ends it at once.
#[derive(Debug)]
pub struct App {
    base: Base,
    addresses: Vec<SocketAddr>,
    admin_address: SocketAddr,
    server: Option<JoinHandle<()>>,
    sockets: Arc<Sockets>,
    /// Set once connections are accepted.
    opened: watch::Receiver<bool>,
    operators: Operators,
    drain: Duration,
    told: Supervisor,
}

impl App {
    /// Starts a gateway and returns when it accepts connections.
    ///
    /// # Errors
    /// A port that is taken, a log file that cannot be opened, and the like.
    pub fn start(config: &Config, clock: Clock, signals: Signals) -> anyhow::Result<App> {
        App::start_from(None, config, clock, signals, Supervisor::none())
    }

    /// As [`App::start`]; what `origin` is loaded from is watched, and loaded again when it changes, and the supervisor
    /// is told what becomes of the gateway.
    ///
    /// # Errors
    /// As for [`App::start`].
    pub fn start_from(
        origin: Option<Origin>,
        config: &Config,
        clock: Clock,
        signals: Signals,
        told: Supervisor,
    ) -> anyhow::Result<App> {
        App::begin(Circumstances { origin, signals, told, recipe: None, predecessor: None }, config, clock)
    }

    /// As [`App::start_from`], under these circumstances.
    ///
    /// # Errors
    /// As for [`App::start`]; or the gateway that was to be followed goes on itself.
    pub fn begin(circumstances: Circumstances, config: &Config, clock: Clock) -> anyhow::Result<App> {
        let Circumstances { mut origin, signals, told, recipe, mut predecessor } = circumstances;
        raise_open_files();
        let claims = Claims::stake(config, predecessor.as_mut())?;
        let (addresses, admin_address) = claims.addresses();
        let base = Base::lay(config, &clock, predecessor.as_ref())?;
        let wakes = Wakes { reload: Arc::new(Notify::new()), upgrade: Arc::new(Notify::new()) };
        if signals == Signals::Heed {
            // SIGHUP means a reload only where there is something to load: elsewhere it is a terminal that closes.
            let wakes = origin.as_ref().map(|_| wakes.clone());
            hear_signals(base.stop.clone(), wakes, &base.records.access_log).context("signals cannot be heard")?;
        }
        let token = Arc::new(ArcSwapOption::new(admin_token(origin.as_ref(), config).map(Arc::new)));
        origin.iter_mut().for_each(|origin| origin.watch_token(config));
        let ((reloads, asks), (upgrades, wishes)) = (Reloads::channel(), Upgrades::channel());
        let desks = Desks { reloads, upgrades, token };
        let tls = Tls::start(config, &base.live, &base.state);
        let admin = base.admin(&tls, desks.clone());
        let listening = tls.listening(config, &addresses);
        if let Some(predecessor) = &mut predecessor {
            upgrade::wait_for_turn(predecessor, &base.state)?;
        }
        let (sockets, admin_sockets) = claims.listen()?;
        let estate = Estate::of(config, &sockets, &admin_sockets);
        let operators =
            Operators::start(admin, admin_address, admin_sockets, base.stop.subscribe(), base.gate.clone())?;
        let Serving { thread, opened } = base.serve(config, &tls, listening, &sockets)?;
        let (server, drain) = (Some(thread), config.server.drain.duration());
        let mut app = App { base, addresses, admin_address, server, sockets, opened, operators, drain, told };
        app.wait_until_open()?;
        let recipe = recipe.filter(|_| origin.is_some());
        app.upgrader(recipe, estate, &desks).start(wishes, wakes.upgrade)?;
        let upgrades = desks.upgrades.clone();
        app.reloader(origin, tls, desks).start(asks, wakes.reload, app.base.stop.clone())?;
        app.base.readiness.set(true);
        match predecessor {
            None => app.told.ready("Serving"),
            // Who is told by the other one which process is the service's.
            Some(predecessor) => upgrade::follow(predecessor, upgrades, &app.base)?,
        }
        Ok(app)
    }

    fn upgrader(&self, recipe: Option<Recipe>, estate: Estate, desks: &Desks) -> Upgrader {
        Upgrader {
            recipe,
            estate,
            upgrades: desks.upgrades.clone(),
            state: Arc::clone(&self.base.state),
            live: Arc::clone(&self.base.live),
            stop: self.base.stop.clone(),
            told: self.told.clone(),
            clock: self.base.clock.clone(),
        }
    }

    fn reloader(&self, origin: Option<Origin>, tls: Tls, desks: Desks) -> Reloader {
        let Desks { reloads, upgrades: _, token } = desks;
        Reloader {
            origin,
            live: Arc::clone(&self.base.live),
            state: Arc::clone(&self.base.state),
            tls,
            metrics: self.base.metrics.clone(),
            token,
            reloads,
            retired: Vec::new(),
            replaced: Arc::clone(&self.base.replaced),
            next_look: self.base.clock.now(),
            clock: self.base.clock.clone(),
            told: self.told.clone(),
        }
    }

    /// Where callers connect, port 0 replaced by the real one.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the operator connects.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.base.metrics
    }

    /// What outlives a configuration.
    pub fn state(&self) -> &Arc<State> {
        &self.base.state
    }

    /// What is running now.
    pub fn running(&self) -> Arc<Running> {
        self.base.live.load()
    }

    /// Asks the gateway to end.
    pub fn stop(&self, how: Stop) {
        self.base.stop.send_replace(Some(how));
    }

    /// Waits until someone asks the gateway to end, then until nothing is
    /// under way, at most for `server.drain`.
    pub fn wait(self) -> Stop {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let how = runtime.map_or(Stop::Now, |runtime| runtime.block_on(self.end()));
        // What is queued is written before the process ends; the server, which may sleep on, holds log and counters open.
        self.base.records.access_log.flush();
        self.base.records.traces.flush();
        how
    }

    async fn end(&self) -> Stop {
        let mut asked = self.base.stop.subscribe();
        // The sender is ours, so the wait cannot fail.
        let how = asked.wait_for(Option::is_some).await.ok().and_then(|stop| *stop).unwrap_or(Stop::Now);
        match how {
            Stop::Now => self.told.stopping(),
            Stop::Drain => {
                self.told.stopping();
                self.base.readiness.set(false);
                self.drained().await;
            }
            // The supervisor hears of the other process only.
            Stop::HandOver => {
                tokio::time::sleep(COURTESY.min(self.drain)).await;
                self.drained().await;
            }
        }
        // What the last requests spent is kept before the process ends; a disk that hangs does not hold it.
        let counters = tokio::time::timeout(LAST_WRITE, self.base.state.counters().flush());
        let usage = tokio::time::timeout(LAST_WRITE, self.base.state.usage().flush());
        let (counters, usage) = tokio::join!(counters, usage);
        for (written, what) in [(counters, "what the last requests spent of their quotas"), (usage, "the last usage")] {
            if written.is_err() {
                log::warn!("{what} is not written after {LAST_WRITE:?}");
            }
        }
        how
    }

    /// Pingora would sleep the whole grace period; this ends with the last request.
    async fn drained(&self) {
        let end = self.base.clock.now() + self.drain;
        // Requests whose head has just arrived become visible within a moment.
        let mut quiet = 0;
        while quiet < 4 && self.base.clock.now() < end {
            quiet = if self.base.metrics.in_flight() == 0 { quiet + 1 } else { 0 };
            tokio::time::sleep(POLL).await;
        }
        let left = self.base.metrics.in_flight();
        if left > 0 {
            log::warn!("{left} requests were still under way after {:?} and are cut", self.drain);
        }
    }

    fn wait_until_open(&mut self) -> anyhow::Result<()> {
        let end = self.base.clock.now() + START;
        let opened =
            [(&self.addresses[..], &self.opened), (std::slice::from_ref(&self.admin_address), &self.operators.opened)];
        for (addresses, opened) in opened {
            while !*opened.borrow() {
                // Asked to end already: it need not open any more.
                if self.base.stop.borrow().is_some() {
                    return Ok(());
                }
                if self.server.as_ref().is_some_and(JoinHandle::is_finished) || self.base.clock.now() > end {
                    let missing = self.base.without_keys();
                    if !missing.is_empty() && addresses == self.addresses {
                        bail!("the keys of {} cannot be had: their callers would be refused", missing.join(", "));
                    }
                    bail!("the gateway does not listen on {addresses:?}: see the messages above");
                }
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // A server that drains sleeps its whole grace period; the end of the process is the end of it.
        if matches!(*self.base.stop.borrow(), Some(Stop::Drain | Stop::HandOver)) {
            return;
        }
        self.base.stop.send_replace(Some(Stop::Now));
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
        self.sockets.close();
    }
}

/// Does work that takes much memory for a moment on a thread of its own: what a thread that goes on has freed
/// stays with it, and what it left behind for others is given back only when it allocates again.
///
/// # Errors
/// The work panicked, and nothing else did.
pub(crate) fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join())
        .map_err(|_| anyhow!("a fault in the gateway itself, see above"))
}

/// How a gateway comes into being.
#[derive(Debug)]
pub struct Circumstances {
    /// Where its configuration came from, if it can be loaded again.
    pub origin: Option<Origin>,
    /// Whether the signals of the process mean it.
    pub signals: Signals,
    /// Who is told what becomes of it.
    pub told: Supervisor,
    /// How the process was started, if another one may be started like it.
    pub recipe: Option<Recipe>,
    /// The gateway that it follows, if there is one.
    pub predecessor: Option<Predecessor>,
}

/// The token that the admin address wants, if there is one.
fn admin_token(origin: Option<&Origin>, config: &Config) -> Option<Secret> {
    if origin.is_none() {
        // Nobody could reload, so none is made.
        return config.admin.token.clone();
    }
    match reload::token(config) {
        Ok(token) => Some(token),
        Err(why) => {
            log::warn!("{why}. Until then `tollgate reload` is refused; SIGHUP and changed files still reload");
            None
        }
    }
}
