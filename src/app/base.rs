//! What everything else in a running gateway stands on.
//!
//! In: a checked configuration. Out: counts, state and logs, and what is made of
//! them for those who serve. Not here: addresses (`claims`), the order of things
//! (`mod`).

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};

use crate::admin::health::Readiness;
use crate::admin::reload::Reloads;
use crate::admin::upgrade::Upgrades;
use crate::admin::{self, Admin};
use crate::clock::Clock;
use crate::config::Config;
use crate::config::scalar::{self, Secret};
use crate::proxy::server::{Address, Stop};
use crate::proxy::sockets::{Gate, Sockets};
use crate::proxy::{self, Proxy, Running};
use crate::snapshot::Snapshot;
use crate::snapshot::live::Live;
use crate::state::State;
use crate::state::counters::Up;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;

use super::apart;
use super::serving::{Parts, watch_of};
use super::tls::Tls;
use super::upgrade::Predecessor;
use super::upkeep::{self, Upkeep};

/// How long shared counters are waited for.
const COUNTERS: Duration = Duration::from_secs(2);

/// What a gateway has, whatever it listens on.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) metrics: Metrics,
    pub(super) records: Records,
    pub(super) state: Arc<State>,
    pub(super) live: Arc<Live<Running>>,
    pub(super) readiness: Arc<Readiness>,
    pub(super) stop: watch::Sender<Option<Stop>>,
    /// Woken when another configuration runs.
    pub(super) replaced: Arc<Notify>,
    /// When the first connection may be accepted.
    pub(super) gate: Gate,
    pub(super) clock: Clock,
}

/// Where operators ask for something.
#[derive(Clone, Debug)]
pub(super) struct Desks {
    pub(super) reloads: Reloads,
    pub(super) upgrades: Upgrades,
    /// The token that the admin address wants.
    pub(super) token: Arc<ArcSwapOption<Secret>>,
}

/// The thread that serves callers.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) thread: JoinHandle<()>,
    /// Set once connections are accepted.
    pub(super) opened: watch::Receiver<bool>,
}

impl Base {
    /// Opens everything. What another gateway is still at, which this one follows, is left to it.
    pub(super) fn lay(config: &Config, clock: &Clock, predecessor: Option<&Predecessor>) -> anyhow::Result<Self> {
        let metrics = Metrics::new().context("metrics")?;
        let records = Records::start(config, &metrics, clock)?;
        let state = Arc::new(State::open(clock.clone(), &config.state));
        let readiness = Arc::new(Readiness::default());
        if predecessor.is_some() {
            state.usage().lend();
            // Whoever is asked from the first moment on is ready, as the one before was.
            readiness.set(true);
        }
        let snapshot = first(config, &state)?;
        let live = Arc::new(Live::new(Running::new(snapshot, &metrics)));
        let gate = predecessor.map_or_else(Gate::open, |_| as_good_as_before(&live, &state, clock));
        let (stop, replaced, clock) = (watch::channel(None).0, Arc::new(Notify::new()), clock.clone());
        Ok(Base { metrics, records, state, live, readiness, stop, replaced, gate, clock })
    }

    /// Identity providers whose callers cannot be judged, because their keys are not there.
    pub(super) fn without_keys(&self) -> Vec<Arc<str>> {
        let running = self.live.load();
        let keys = running.snapshot.provider_keys.iter();
        keys.filter(|(_, keys)| !keys.is_usable()).map(|(provider, _)| Arc::clone(provider)).collect()
    }

    /// What answers operators.
    pub(super) fn admin(&self, tls: &Tls, Desks { reloads, upgrades, token }: Desks) -> Admin {
        Admin::new(admin::Parts {
            demand: tls.demand(),
            readiness: Arc::clone(&self.readiness),
            metrics: self.metrics.clone(),
            current: current(&self.live),
            state: Arc::clone(&self.state),
            reloads,
            upgrades,
            token,
        })
    }

    /// Serves callers.
    pub(super) fn serve(
        &self,
        config: &Config,
        tls: &Tls,
        addresses: Vec<Address>,
        sockets: &Arc<Sockets>,
    ) -> anyhow::Result<Serving> {
        let (open, opened) = watch::channel(false);
        let parts = Parts {
            proxy: self.proxy(tls),
            upkeep: self.upkeep(tls),
            watch: watch_of(&self.stop, &self.readiness),
            server: config.server.clone(),
            addresses,
            sockets: Arc::clone(sockets),
            stop: self.stop.subscribe(),
            gate: self.gate.clone(),
            opened: open,
        };
        let thread = std::thread::Builder::new().name("server".to_owned()).spawn(move || parts.run())?;
        Ok(Serving { thread, opened })
    }

    fn proxy(&self, tls: &Tls) -> Proxy {
        Proxy::new(proxy::Parts {
            live: Arc::clone(&self.live),
            state: Arc::clone(&self.state),
            metrics: self.metrics.clone(),
            access_log: Arc::clone(&self.records.access_log),
            traces: self.records.traces.clone(),
            challenges: tls.challenges(),
            demand: tls.demand(),
        })
    }

    fn upkeep(&self, tls: &Tls) -> Upkeep {
        Upkeep::new(upkeep::Parts {
            live: Arc::clone(&self.live),
            state: Arc::clone(&self.state),
            metrics: self.metrics.clone(),
            replaced: Arc::clone(&self.replaced),
            engine: tls.engine(),
        })
    }
}

/// Nobody is let in who would be refused here, and was served by the process before: the keys of identity providers are
/// there, and shared counters are asked, if they answer at all.
fn as_good_as_before(live: &Arc<Live<Running>>, state: &Arc<State>, clock: &Clock) -> Gate {
    let (live, state, clock) = (Arc::clone(live), Arc::clone(state), clock.clone());
    let began = OnceLock::new();
    Gate::new(move || {
        let now = clock.now();
        let has_keys = live.load().snapshot.provider_keys.iter().all(|(_, keys)| keys.is_usable());
        let is_asked = state.counters().health().is_none_or(|health| health.up == Up::Yes);
        has_keys && (is_asked || now.saturating_duration_since(*began.get_or_init(|| now)) >= COUNTERS)
    })
}

/// Where requests are written down.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) access_log: Arc<AccessLog>,
    pub(super) traces: Traces,
}

impl Records {
    fn start(config: &Config, metrics: &Metrics, clock: &Clock) -> anyhow::Result<Self> {
        let access_log = AccessLog::start(&config.log, metrics)
            .with_context(|| format!("the access log `{}` cannot be opened", config.log.access))?;
        let traces = Traces::start(&config.log, metrics, clock.clone()).context("traces cannot be sent")?;
        Ok(Records { access_log: Arc::new(access_log), traces })
    }
}

/// The snapshot that a gateway begins with, and what it wants of state.
fn first(config: &Config, state: &State) -> anyhow::Result<Snapshot> {
    keep_quotas(config, state).map_err(anyhow::Error::msg)?;
    let snapshot = apart(|| Snapshot::compile(config, state))?;
    snapshot.take_effect(state);
    state.usage().follow(config);
    Ok(snapshot)
}

/// Has quotas kept where there are any; shared counters keep them elsewhere.
///
/// # Errors
/// In a sentence, why that cannot be.
pub(super) fn keep_quotas(config: &Config, state: &State) -> Result<(), String> {
    let has_quota = config.limits.values().any(|limit| limit.quota.is_some());
    if has_quota && config.state.counters == scalar::Counters::Memory {
        state.counters().keep_in(&config.state.folder())?;
    }
    Ok(())
}

/// What runs whenever it is asked.
fn current(live: &Arc<Live<Running>>) -> admin::Current {
    let live = Arc::clone(live);
    Box::new(move || Arc::clone(&live.load().snapshot))
}
