//! Takes a changed file over while requests go on.
//!
//! In: SIGHUP, wishes of the admin address, files that changed. Out: another
//! [`Running`] in the one cell, or nothing at all, and a [`Report`]. Everything
//! that can fail or take long happens before the swap. Not here: what is wrong
//! with a file (`config`), what differs (`config::diff`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::admin::reload::{Ask, Finding, Reloads, Report, Trigger, Wish};
use crate::clock::Clock;
use crate::config::diff::{ConfigDiff, keep_until_restart};
use crate::config::issue::Issues;
use crate::config::scalar::Secret;
use crate::config::{Config, ConfigFile, Loaded, Touched};
use crate::proxy::Running;
use crate::proxy::server::{Signals, Stop};
use crate::snapshot::live::Live;
use crate::state::{State, admin_token};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::program_log;
use crate::upstream::Upstream;

use super::apart;
use super::upkeep::look_up;

/// Between looks at the files.
const POLL: Duration = Duration::from_secs(1);
/// A file that has changed must stay as it is for so long: half of it may be written.
const SETTLE: Duration = Duration::from_millis(250);
/// Looks at a file that does not come to rest, before it is read as it is.
const MAX_SETTLE: u32 = 20;
/// For looking up the hosts of new upstreams before requests go there.
const LOOK_UP: Duration = Duration::from_secs(3);
/// Changes that the log names one by one.
const LOGGED_CHANGES: usize = 50;

/// Where the configuration came from, if it can be loaded again.
#[derive(Debug)]
pub struct Origin {
    /// The file.
    pub file: ConfigFile,
    /// What was read when it was loaded.
    pub touched: Touched,
}

/// What the reloader works with.
pub(super) struct Reloader {
    pub(super) origin: Option<Origin>,
    pub(super) live: Arc<Live<Running>>,
    pub(super) state: Arc<State>,
    pub(super) metrics: Metrics,
    /// The token that the admin address wants.
    pub(super) token: Arc<ArcSwapOption<Secret>>,
    pub(super) reloads: Reloads,
    /// Configurations that requests may still be using.
    pub(super) retired: Vec<Arc<Running>>,
    pub(super) clock: Clock,
}

impl Reloader {
    /// Works until the gateway is asked to end. `armed` is called once signals are heard.
    pub(super) async fn run(
        mut self,
        mut asks: mpsc::Receiver<Ask>,
        signals: Signals,
        stop: watch::Sender<Option<Stop>>,
        armed: impl FnOnce(),
    ) {
        // SIGHUP means a reload only where there is something to load: elsewhere it is a terminal that closes.
        let mut hangup = match (signals, &self.origin) {
            (Signals::Heed, Some(_)) => signal(SignalKind::hangup()).ok(),
            (Signals::Heed | Signals::Ignore, _) => None,
        };
        armed();
        let mut stopping = stop.subscribe();
        loop {
            tokio::select! {
                _ = stopping.wait_for(Option::is_some) => return,
                Some(ask) = asks.recv() => self.grant(ask).await,
                () = heard(&mut hangup) => {
                    self.apply(Trigger::Signal).await;
                }
                () = self.a_change() => {
                    self.apply(Trigger::File).await;
                }
            }
        }
    }

    async fn grant(&mut self, ask: Ask) {
        let report = match ask.wish {
            Wish::Apply => self.apply(Trigger::Admin).await,
            Wish::Compare => Arc::new(self.compare()),
        };
        // Who asked may have gone.
        let _ = ask.reply.send(report);
    }

    /// Waits until a file has changed and come to rest. Nothing is lost if the wait is given up.
    async fn a_change(&mut self) {
        loop {
            match &self.origin {
                // What is retired was retired by a reload.
                None => std::future::pending().await,
                Some(_) => self.clock.sleep(POLL).await,
            }
            self.bury();
            let Some(origin) = &mut self.origin else { continue };
            if !origin.touched.is_changed(self.clock.wall()) {
                continue;
            }
            let mut seen = origin.touched.fingerprint();
            for _ in 0..MAX_SETTLE {
                self.clock.sleep(SETTLE).await;
                let before = std::mem::replace(&mut seen, origin.touched.fingerprint());
                if before == seen {
                    break;
                }
            }
            if origin.touched.is_changed(self.clock.wall()) {
                return;
            }
        }
    }

    /// What loading the file would change.
    fn compare(&mut self) -> Report {
        let running = self.live.load();
        let finding = match &self.origin {
            None => Finding::WithoutFile,
            Some(origin) => match load(&origin.file).0 {
                Err(issues) => Finding::Rejected(issues),
                Ok((config, warnings)) => {
                    Finding::Compared(ConfigDiff::between(&running.snapshot.config, &config), warnings)
                }
            },
        };
        self.report(Trigger::Admin, finding)
    }

    /// Loads the file and runs what it says; all or nothing.
    async fn apply(&mut self, trigger: Trigger) -> Arc<Report> {
        let finding = match &mut self.origin {
            None => Finding::WithoutFile,
            Some(origin) => {
                let (loaded, touched) = load(&origin.file);
                // Also of a file that cannot be used: it is being mended.
                origin.touched = touched;
                match loaded {
                    Err(issues) => Finding::Rejected(issues),
                    Ok((config, warnings)) => self.take_over(config, warnings).await,
                }
            }
        };
        let report = Arc::new(self.report(trigger, finding));
        if self.origin.is_some() {
            self.metrics.set_reload(report.finding.is_good(), report.at);
            self.reloads.note(Arc::clone(&report));
        }
        tell(&report);
        self.bury();
        report
    }

    async fn take_over(&mut self, mut config: Config, warnings: Issues) -> Finding {
        let running = self.live.load();
        let old = &running.snapshot.config;
        let diff = ConfigDiff::between(old, &config);
        if diff.is_empty() {
            return Finding::Unchanged;
        }
        keep_until_restart(&mut config, old);
        if config == **old {
            return Finding::Applied(diff, warnings);
        }
        let snapshot = apart(|| running.snapshot.compile_next(Arc::new(config), &self.state));
        self.find(&snapshot.upstreams).await;
        let config = Arc::clone(&snapshot.config);
        let meters = self.metrics.meters(snapshot.routes().iter().map(|route| (&route.label, route.upstream.name())));
        drop(running);
        self.retired.push(self.live.replace(Running { snapshot: Arc::new(snapshot), meters }));
        self.token.store(token(&config).map(Arc::new));
        program_log::set_level(config.log.level);
        self.state.keep_upstreams(config.upstreams.keys().map(String::as_str));
        Finding::Applied(diff, warnings)
    }

    /// Looks up the hosts of upstreams that have no address yet; those that fail are looked up again and again later.
    async fn find(&self, upstreams: &[Arc<Upstream>]) {
        let new = upstreams.iter().filter(|upstream| upstream.needs_resolving() && !upstream.is_resolved());
        if tokio::time::timeout(LOOK_UP, look_up(new)).await.is_err() {
            log::warn!("looking up the new upstreams takes long; going on without");
        }
    }

    /// Frees configurations that no request uses any more. Here, because
    /// freeing a large one takes longer than a request should wait.
    fn bury(&mut self) {
        let (dead, alive): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.retired).into_iter().partition(|running| Arc::strong_count(running) == 1);
        self.retired = alive;
        if dead.is_empty() {
            return;
        }
        let current = self.live.load();
        let in_use = self.retired.iter().chain([&current]);
        let (mut routes, mut upstreams) = (BTreeSet::new(), BTreeSet::new());
        for snapshot in in_use.map(|running| &running.snapshot) {
            routes.extend(snapshot.routes().iter().map(|route| Arc::clone(&route.label)));
            upstreams.extend(snapshot.upstreams.iter().map(|upstream| Arc::clone(upstream.name())));
        }
        self.metrics.keep(&routes, &upstreams);
    }

    fn report(&self, trigger: Trigger, finding: Finding) -> Report {
        Report { generation: self.live.load().snapshot.generation, trigger, at: self.clock.wall(), finding }
    }
}

/// What a file says, without the text and the tree that it was read from.
fn load(file: &ConfigFile) -> (Result<(Config, Issues), Issues>, Touched) {
    apart(|| {
        let (loaded, touched) = file.load();
        (loaded.map(|Loaded { config, warnings, .. }| (config, warnings)), touched)
    })
}

/// The token that the admin address wants: the one that was written, or the gateway's own.
pub(super) fn token(config: &Config) -> Option<Secret> {
    if let Some(token) = &config.admin.token {
        return Some(token.clone());
    }
    let dir = &config.state.folder();
    match admin_token::open(dir) {
        Ok(token) => Some(token),
        Err(error) => {
            let path = admin_token::path(dir);
            log::warn!(
                "no admin token: {} cannot be used: {error}. Write `admin.token` or `state.dir`; until then `tollgate \
                 reload` is refused, and SIGHUP and changed files still reload",
                path.display()
            );
            None
        }
    }
}

async fn heard(hangup: &mut Option<Signal>) {
    let heard = match hangup {
        Some(hangup) => hangup.recv().await,
        None => None,
    };
    if heard.is_none() {
        std::future::pending().await
    }
}

/// The operator's log has the same text as `check`.
fn tell(report: &Report) {
    let by = report.trigger.word();
    match &report.finding {
        Finding::Applied(diff, warnings) => {
            for warning in warnings.iter() {
                log::warn!("{}", warning.summary());
            }
            for change in diff.changes.iter().take(LOGGED_CHANGES) {
                log::info!("{change}");
            }
            let more = diff.changes.len().saturating_sub(LOGGED_CHANGES);
            if more > 0 {
                log::info!("and {more} more changes");
            }
            for change in diff.needs_restart() {
                log::warn!("{} keeps its old value until a restart", change.path);
            }
            log::info!("reloaded (by {by}): generation {} is running", report.generation);
        }
        Finding::Rejected(_) => log::error!("reload (by {by}) failed:\n{report}"),
        Finding::Unchanged | Finding::WithoutFile => log::info!("reload (by {by}): {}", report.to_string().trim_end()),
        Finding::Compared(..) => {}
    }
}
