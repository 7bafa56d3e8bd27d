//! What goes on beside requests: looking up names, asking backends, fetching keys, ending what is late, forgetting what is over.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::outbound::Client;
use crate::proxy::Running;
use crate::snapshot::live::Live;
use crate::state::State;
use crate::state::counters::{Keeping, Up};
use crate::telemetry::metrics::Metrics;
use crate::tls::acme::Engine;
use crate::upstream::Upstream;

use super::backend_report::BackendReport;
use super::certificate_report::CertificateReport;
use super::health::HealthChecks;
use super::key_report::KeyReport;
use super::load_report::LoadReport;

/// For the first look-up of upstreams; after it the gateway starts without them.
const FIRST_LOOK_UP: Duration = Duration::from_secs(3);
/// Between look-ups of a host name that has addresses.
const LOOK_UP_EVERY: Duration = Duration::from_secs(15);
/// Between look-ups of one that has none.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(1);
/// How often it is told how the keys of identity providers are.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How often deadlines are looked at: what a time-out may be late by.
const SWEEP_EVERY: Duration = Duration::from_millis(25);
/// How often counters are taken away that mean nothing any more; where room is short, that happens at once.
const SWEEP_COUNTERS_EVERY: Duration = Duration::from_secs(5);

/// The background service.
pub(super) struct Upkeep {
    live: Arc<Live<Running>>,
    state: Arc<State>,
    metrics: Metrics,
    /// Woken when another configuration runs.
    replaced: Arc<Notify>,
    engine: Engine,
    /// The upstreams whose first look-up failed and was reported.
    failing: BTreeSet<Arc<str>>,
}

/// What it works with.
pub(super) struct Parts {
    pub(super) live: Arc<Live<Running>>,
    pub(super) state: Arc<State>,
    pub(super) metrics: Metrics,
    /// Woken when another configuration runs.
    pub(super) replaced: Arc<Notify>,
    pub(super) engine: Engine,
}

impl Upkeep {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { live, state, metrics, replaced, engine } = parts;
        Upkeep { live, state, metrics, replaced, engine, failing: BTreeSet::new() }
    }

    pub(super) fn look_up_first(&mut self) {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        let mut failing = BTreeSet::new();
        let looked_up =
            runtime.block_on(async { tokio::time::timeout(FIRST_LOOK_UP, self.look_up(&mut failing)).await });
        self.failing = failing;
        if looked_up.is_err() {
            log::warn!("looking up the upstreams takes long; starting without");
        }
        // A look-up that hangs must not hold the start.
        runtime.shutdown_background();
    }

    /// Looks every name up; true if all have addresses. `failing` remembers
    /// what was reported, so that an outage is one line and not one a second.
    async fn look_up(&self, failing: &mut BTreeSet<Arc<str>>) -> bool {
        let running = self.live.load();
        let upstreams = &running.snapshot.upstreams;
        // A reload may have taken one away.
        failing.retain(|name| upstreams.iter().any(|upstream| upstream.name() == name));
        let mut all = true;
        for (upstream, result) in look_up(upstreams.iter()).await {
            all &= self.report(&upstream, result, failing);
        }
        all
    }

    fn tell_counters(&self) {
        let counters = self.state.counters();
        for (kind, fill) in ["rate", "quota"].into_iter().zip(counters.fill()) {
            self.metrics.set_counts(kind, fill.own, fill.shared);
        }
        self.metrics.set_quotas_kept(i64::from(counters.keeping() != Keeping::Failing));
        match counters.health() {
            None => self.metrics.set_counters(1, 1, 0),
            Some(health) => {
                self.metrics.set_counters(i64::from(health.up == Up::Yes), health.gateways, health.failures);
            }
        }
    }

    /// Tells how a look-up went; true if the upstream has addresses.
    fn report(&self, upstream: &Upstream, result: io::Result<()>, failing: &mut BTreeSet<Arc<str>>) -> bool {
        match result {
            Ok(()) => {
                self.metrics.set_resolved(upstream.name(), 1);
                if failing.remove(upstream.name()) {
                    log::info!("the host of upstream {} can be looked up again", upstream.name());
                }
                true
            }
            Err(error) => {
                self.metrics.set_resolved(upstream.name(), 0);
                if failing.insert(Arc::clone(upstream.name())) {
                    let kept = match (upstream.lacks_addresses(), upstream.is_resolved()) {
                        (false, _) => "its last addresses are kept",
                        (true, true) => "requests go to its other backends",
                        (true, false) => "requests to it answer 503",
                    };
                    log::warn!("the host of upstream {} cannot be looked up, {kept}: {error}", upstream.name());
                }
                !upstream.lacks_addresses()
            }
        }
    }
}

/// Looks these upstreams' hosts up, and tells what came of each; of several, the first that failed.
pub(super) async fn look_up<'a>(
    upstreams: impl Iterator<Item = &'a Arc<Upstream>>,
) -> Vec<(Arc<Upstream>, io::Result<()>)> {
    let mut look_ups = JoinSet::new();
    // At the same time: a name server that does not answer holds up nobody else's name.
    for upstream in upstreams {
        for (index, _) in upstream.backends().iter().enumerate().filter(|(_, backend)| backend.needs_resolving()) {
            let upstream = Arc::clone(upstream);
            look_ups.spawn(async move { (Arc::clone(&upstream), upstream.resolve(index).await) });
        }
    }
    let mut results: Vec<(Arc<Upstream>, io::Result<()>)> = Vec::new();
    while let Some(looked_up) = look_ups.join_next().await {
        let Ok((upstream, result)) = looked_up else { continue };
        match results.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &upstream)) {
            Some((_, known)) if known.is_ok() => *known = result,
            Some(_) => {}
            None => results.push((upstream, result)),
        }
    }
    results
}

#[async_trait]
impl BackgroundService for Upkeep {
    async fn start(&self, _shutdown: ShutdownWatch) {
        let mut failing = self.failing.clone();
        let names = async {
            loop {
                let pause = if self.look_up(&mut failing).await { LOOK_UP_EVERY } else { LOOK_UP_AGAIN };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // Its upstreams may have no addresses yet.
                    () = self.replaced.notified() => {}
                }
            }
        };
        let deadlines = async {
            let mut tick = tokio::time::interval(SWEEP_EVERY);
            loop {
                tick.tick().await;
                self.state.deadlines().sweep(self.state.clock().now());
            }
        };
        let counters = async {
            let mut tick = tokio::time::interval(SWEEP_COUNTERS_EVERY);
            loop {
                tick.tick().await;
                self.state.counters().sweep();
            }
        };
        let keys = self.state.key_sources().run(Client::direct(self.state.clock().clone()));
        let telling = async {
            let mut report = KeyReport::new(self.metrics.clone());
            let mut backends = BackendReport::new(self.metrics.clone());
            let mut certificates = CertificateReport::new(self.metrics.clone(), self.engine.clone());
            let mut load = LoadReport::new(self.metrics.clone(), self.state.load());
            let mut tick = tokio::time::interval(TELL_EVERY);
            loop {
                tick.tick().await;
                load.tell();
                let running = self.live.load();
                report.tell(&running.snapshot.provider_keys);
                backends.tell(&running.snapshot.upstreams, self.state.clock().now());
                certificates.tell(&running.snapshot.config, self.state.domains());
                self.tell_counters();
            }
        };
        let clock = self.state.clock().clone();
        let health = HealthChecks::new(Arc::clone(&self.live), self.metrics.clone(), clock);
        // Requests that drain have deadlines too, so only the end of the process ends this.
        tokio::join!(
            names,
            deadlines,
            counters,
            keys,
            telling,
            health.run(),
            self.state.counters().run(),
            self.engine.run()
        );
    }
}
