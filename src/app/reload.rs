//! Takes a changed file over while requests go on.
//!
//! In: SIGHUP, wishes of the admin address, files that changed. Out: another
//! [`Running`] in the one cell, or nothing at all, and a [`Report`]. Everything
//! that can fail or take long happens before the swap. Not here: what is wrong
//! with a file (`config`), what differs (`config::diff`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, mpsc, watch};

use crate::admin::reload::{Ask, Finding, Reloads, Report, Trigger, Wish};
use crate::clock::Clock;
use crate::config::diff::{ConfigDiff, keep_until_restart};
use crate::config::issue::Issues;
use crate::config::scalar::Secret;
use crate::config::{Config, ConfigFile, Loaded, Touched};
use crate::proxy::Running;
use crate::proxy::server::Stop;
use crate::snapshot::live::Live;
use crate::state::{State, admin_token};
use crate::telemetry::metrics::{Kept, Metrics};
use crate::telemetry::program_log;
use crate::upstream::Upstream;

use super::apart;
use super::base::keep_quotas;
use super::supervisor::Supervisor;
use super::tls::{self, Tls};
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

impl Origin {
    /// From now on the token that the gateway made counts among its files: it may be taken away so that another is made.
    pub(super) fn watch_token(&mut self, config: &Config) {
        self.touched.watch(&admin_token::path(&config.state.folder()), admin_token::MAX);
    }
}

/// What the reloader works with.
pub(super) struct Reloader {
    pub(super) origin: Option<Origin>,
    pub(super) live: Arc<Live<Running>>,
    pub(super) state: Arc<State>,
    pub(super) tls: Tls,
    pub(super) metrics: Metrics,
    /// The token that the admin address wants.
    pub(super) token: Arc<ArcSwapOption<Secret>>,
    pub(super) reloads: Reloads,
    /// Configurations that requests may still be using.
    pub(super) retired: Vec<Arc<Running>>,
    /// Woken when another configuration runs.
    pub(super) replaced: Arc<Notify>,
    /// When the files are looked at next.
    pub(super) next_look: Instant,
    pub(super) clock: Clock,
    /// Who started the process.
    pub(super) told: Supervisor,
}

impl Reloader {
    /// Starts the thread that reloads. Nobody waits for its end: it may be reading from a disk that hangs.
    pub(super) fn start(
        self,
        asks: mpsc::Receiver<Ask>,
        hangup: Arc<Notify>,
        stop: watch::Sender<Option<Stop>>,
    ) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(self.run(asks, hangup, stop));
            // A name that is being looked up must not hold the end.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("reload".to_owned()).spawn(run)?;
        Ok(())
    }

    /// Works until the gateway is asked to end.
    async fn run(mut self, mut asks: mpsc::Receiver<Ask>, hangup: Arc<Notify>, stop: watch::Sender<Option<Stop>>) {
        let mut stopping = stop.subscribe();
        loop {
            tokio::select! {
                _ = stopping.wait_for(Option::is_some) => return,
                Some(ask) = asks.recv() => self.grant(ask).await,
                () = hangup.notified() => {
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

    /// Waits until a file has changed and come to rest. Nothing is lost if the wait is given up, and the next one goes on
    /// where it was: who asks all the time does not keep a change from being noticed.
    async fn a_change(&mut self) {
        loop {
            if self.origin.is_none() {
                // What is retired was retired by a reload.
                std::future::pending::<()>().await;
            }
            let now = self.clock.now();
            self.clock.sleep(self.next_look.saturating_duration_since(now)).await;
            self.next_look = self.clock.now() + POLL;
            self.bury();
            let Some(origin) = &mut self.origin else { continue };
            if !origin.touched.is_changed(self.clock.wall()) {
                continue;
            }
            // Looked at again at once if this is given up here.
            self.next_look = now;
            let mut seen = origin.touched.fingerprint();
            for _ in 0..MAX_SETTLE {
                self.clock.sleep(SETTLE).await;
                let before = std::mem::replace(&mut seen, origin.touched.fingerprint());
                if before == seen {
                    break;
                }
            }
            self.next_look = self.clock.now() + POLL;
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
            Some(origin) => match load(&origin.file) {
                Err(_) => Finding::Failed,
                Ok((Err(issues), _)) => Finding::Rejected(issues),
                Ok((Ok((config, warnings)), _)) => {
                    Finding::Compared(ConfigDiff::between(&running.snapshot.config, &config), warnings)
                }
            },
        };
        self.report(Trigger::Admin, finding)
    }

    /// Loads the file and runs what it says; all or nothing.
    async fn apply(&mut self, trigger: Trigger) -> Arc<Report> {
        let mut notes = Vec::new();
        self.told.reloading(&self.clock);
        let finding = match self.load() {
            None => Finding::WithoutFile,
            Some(Err(finding)) => finding,
            Some(Ok((config, warnings))) => self.take_over(config, warnings, &mut notes).await,
        };
        if let Some(origin) = &mut self.origin {
            origin.watch_token(&self.live.load().snapshot.config);
        }
        let report = Arc::new(Report { notes, ..self.report(trigger, finding) });
        if self.origin.is_some() {
            self.metrics.set_reload(report.finding.is_good(), report.at);
            self.reloads.note(Arc::clone(&report));
        }
        tell(&report);
        self.told.ready(status(&report.finding));
        self.bury();
        report
    }

    /// What the file says now; none without a file. Also of one that cannot be
    /// used, what it is made of is watched: it is being mended.
    fn load(&mut self) -> Option<Result<(Config, Issues), Finding>> {
        let origin = self.origin.as_mut()?;
        Some(match load(&origin.file) {
            Ok((loaded, touched)) => {
                origin.touched = touched;
                loaded.map_err(Finding::Rejected)
            }
            Err(_) => Err(Finding::Failed),
        })
    }

    async fn take_over(&mut self, mut config: Config, warnings: Issues, notes: &mut Vec<String>) -> Finding {
        let running = self.live.load();
        let old = &running.snapshot.config;
        let diff = ConfigDiff::between(old, &config);
        keep_until_restart(&mut config, old);
        // Before anything changes, because it may fail; what failed is told, and the token stays what it was.
        let token = match token(&config) {
            Ok(token) => Some(Arc::new(token)),
            Err(why) => {
                notes.push(format!("{why}; the token stays what it was"));
                self.token.load_full()
            }
        };
        if diff.is_empty() || config == **old {
            self.token.store(token);
            return if diff.is_empty() { Finding::Unchanged } else { Finding::Applied(diff, warnings) };
        }
        if let Some(why) = tls::refusal(old, &config, self.clock.wall()) {
            return Finding::Blocked(why);
        }
        notes.extend(self.tls.prepare(&config));
        match apart(|| keep_quotas(&config, &self.state)) {
            Err(_) => return Finding::Failed,
            Ok(Err(why)) => return Finding::Blocked(why),
            Ok(Ok(())) => {}
        }
        let compiled = apart(|| running.snapshot.compile_next(Arc::new(config), &self.state));
        let Ok(snapshot) = compiled else { return Finding::Failed };
        notes.extend(self.find(&snapshot.upstreams).await);
        let config = Arc::clone(&snapshot.config);
        drop(running);
        snapshot.take_effect(&self.state);
        self.retired.push(self.live.replace(Running::new(snapshot, &self.metrics)));
        self.tls.take_over(&config);
        self.state.usage().follow(&config);
        self.token.store(token);
        program_log::set_level(config.log.level);
        self.state.keep_upstreams(config.upstreams.keys().map(String::as_str));
        let current = self.live.load();
        self.state.key_sources().keep(current.snapshot.provider_keys.iter().map(|(_, keys)| keys.source()));
        self.replaced.notify_one();
        Finding::Applied(diff, warnings)
    }

    /// Looks up the hosts of upstreams that have no address yet, and tells which have none then; they are looked up again
    /// and again later.
    async fn find(&self, upstreams: &[Arc<Upstream>]) -> Vec<String> {
        let new = || upstreams.iter().filter(|upstream| upstream.lacks_addresses());
        let looked_up = tokio::time::timeout(LOOK_UP, look_up(new())).await.unwrap_or_default();
        let why = |name: &str| {
            let failed = looked_up.iter().find(|(upstream, _)| upstream.name().as_ref() == name);
            failed.and_then(|(_, result)| result.as_ref().err()).map_or("it takes long".to_owned(), ToString::to_string)
        };
        let mut notes = Vec::new();
        for upstream in upstreams.iter().filter(|upstream| upstream.needs_resolving()) {
            let name = upstream.name();
            self.metrics.set_resolved(name, i64::from(!upstream.lacks_addresses()));
            if upstream.lacks_addresses() {
                let why = why(name);
                let then = if upstream.is_resolved() { "go to its other backends" } else { "to it answer 503" };
                notes.push(format!("the host of upstream {name} cannot be looked up ({why}): requests {then}"));
            }
        }
        notes
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
        let mut kept = Kept::default();
        for snapshot in in_use.map(|running| &running.snapshot) {
            kept.hosts.extend(snapshot.sites().iter().map(|site| Arc::clone(&site.label)));
            kept.routes.extend(snapshot.routes().iter().map(|route| Arc::clone(&route.label)));
            kept.upstreams.extend(snapshot.upstreams.iter().map(|upstream| Arc::clone(upstream.name())));
            kept.limits.extend(snapshot.all_limits.iter().map(|limit| Arc::clone(&limit.name)));
            kept.protected.extend(
                snapshot
                    .queues
                    .iter()
                    .filter(|guarded| guarded.is_limited())
                    .map(|guarded| Arc::clone(&guarded.upstream)),
            );
            kept.providers.extend(snapshot.provider_keys.iter().map(|(provider, _)| Arc::clone(provider)));
        }
        self.metrics.keep(&kept);
        self.state.usage().keep_routes(|route| kept.routes.contains(route));
    }

    fn report(&self, trigger: Trigger, finding: Finding) -> Report {
        let file = self.origin.as_ref().map(|origin| origin.file.path().display().to_string());
        let generation = self.live.load().snapshot.generation;
        Report { generation, trigger, at: self.clock.wall(), file, finding, notes: Vec::new() }
    }
}

/// What a file says, without the text and the tree that it was read from, and what was read.
type Said = (Result<(Config, Issues), Issues>, Touched);

/// What a file says now; a fault in loading it must not be the last thing that the caller's thread does.
fn load(file: &ConfigFile) -> anyhow::Result<Said> {
    apart(|| {
        let (loaded, touched) = file.load();
        (loaded.map(|Loaded { config, warnings, .. }| (config, warnings)), touched)
    })
}

/// The token that the admin address wants: the one that was written, or the gateway's own.
///
/// # Errors
/// In a sentence, that there is none and what follows from it.
pub(super) fn token(config: &Config) -> Result<Secret, String> {
    if let Some(token) = &config.admin.token {
        return Ok(token.clone());
    }
    let dir = config.state.folder();
    admin_token::open(&dir).map_err(|error| {
        let path = admin_token::path(&dir);
        format!("no admin token: {} cannot be used: {error}. Write `admin.token` or `state.dir`", path.display())
    })
}

/// What `systemctl status` shows after a reload.
fn status(finding: &Finding) -> &'static str {
    match finding {
        Finding::Applied(..) | Finding::Compared(..) | Finding::Unchanged | Finding::WithoutFile => "Serving",
        Finding::Blocked(_) | Finding::Failed | Finding::Rejected(_) => {
            "Serving the configuration from before the last reload, which failed: see the log"
        }
    }
}

/// The operator's log has the same text as `check`.
fn tell(report: &Report) {
    let by = report.trigger.word();
    for note in &report.notes {
        log::warn!("{note}");
    }
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
            if diff.needs_restart().count() == diff.changes.len() {
                log::info!("reload (by {by}): nothing could be taken over, generation {} goes on", report.generation);
            } else {
                log::info!("reloaded (by {by}): generation {} is running", report.generation);
            }
        }
        Finding::Blocked(_) | Finding::Failed | Finding::Rejected(_) => {
            log::error!("reload (by {by}) failed:\n{report}")
        }
        Finding::Unchanged | Finding::WithoutFile => log::info!("reload (by {by}): {}", report.to_string().trim_end()),
        Finding::Compared(..) => {}
    }
}
