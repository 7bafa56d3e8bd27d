//! Prometheus families, their children resolved before they are needed.
//!
//! In: outcomes. Out: the text format on demand. Labels are configured
//! patterns and closed sets, never what a caller chose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::exemplars::Exemplars;
use super::names::{self, Family};
use super::open_metrics;
use super::usage::Exposition;

/// Bucket bounds in seconds: from a cached answer to a query at its limit.
pub(super) static BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// All families.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    pub(super) requests: IntCounterVec,
    pub(super) request_seconds: HistogramVec,
    pub(super) upstream_seconds: HistogramVec,
    retries: IntCounterVec,
    pub(super) refusals: IntCounterVec,
    pub(super) limit_refusals: IntCounterVec,
    limit_counts: IntGaugeVec,
    limit_shared: IntGaugeVec,
    quotas_kept: IntGauge,
    counters_up: IntGauge,
    counters_gateways: IntGauge,
    counters_failures: IntCounter,
    upstream_resolved: IntGaugeVec,
    backend_up: IntGaugeVec,
    backend_ejections: IntCounterVec,
    health_checks: IntCounterVec,
    all_out: IntCounterVec,
    upstream_in_flight: IntGaugeVec,
    connections: IntGauge,
    connections_refused: IntCounterVec,
    upstream_waiting: IntGaugeVec,
    upstream_tap_closed: IntGaugeVec,
    certificate_not_after: IntGaugeVec,
    acme_failures: IntCounter,
    jwks_age: IntGaugeVec,
    jwks_keys: IntGaugeVec,
    jwks_fetches: IntCounterVec,
    tripwire: IntCounter,
    in_flight: IntGauge,
    log_dropped: IntCounter,
    trace_spans: IntCounterVec,
    trace_failures: IntCounter,
    config_ok: IntGauge,
    config_time: IntGauge,
    usage_kept: IntGaugeVec,
    usage_behind: IntGauge,
    usage_lost: IntCounter,
    export_rows: IntCounterVec,
    export_failures: IntCounter,
    export_waiting: IntGauge,
    tenants: IntGauge,
    pub(super) exemplars: Arc<ArcSwap<BTreeMap<Arc<str>, Arc<Exemplars>>>>,
}

/// One exchange in the count of those under way, until it is dropped.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers every family.
    ///
    /// # Errors
    /// A family whose name is malformed or taken: a mistake in this program.
    pub fn new() -> prometheus::Result<Self> {
        let metrics = Metrics {
            registry: Registry::new(),
            requests: counters(names::REQUESTS)?,
            request_seconds: histograms(names::REQUEST_SECONDS)?,
            upstream_seconds: histograms(names::UPSTREAM_SECONDS)?,
            retries: counters(names::RETRIES)?,
            refusals: counters(names::REFUSALS)?,
            limit_refusals: counters(names::LIMIT_REFUSALS)?,
            limit_counts: gauges(names::LIMIT_COUNTS)?,
            limit_shared: gauges(names::LIMIT_SHARED)?,
            quotas_kept: IntGauge::with_opts(opts(names::QUOTAS_KEPT))?,
            counters_up: IntGauge::with_opts(opts(names::COUNTERS_UP))?,
            counters_gateways: IntGauge::with_opts(opts(names::COUNTERS_GATEWAYS))?,
            counters_failures: IntCounter::with_opts(opts(names::COUNTERS_FAILURES))?,
            upstream_resolved: gauges(names::UPSTREAM_RESOLVED)?,
            backend_up: gauges(names::BACKEND_UP)?,
            backend_ejections: counters(names::BACKEND_EJECTIONS)?,
            health_checks: counters(names::HEALTH_CHECKS)?,
            all_out: counters(names::ALL_OUT)?,
            upstream_in_flight: gauges(names::UPSTREAM_IN_FLIGHT)?,
            upstream_waiting: gauges(names::UPSTREAM_WAITING)?,
            upstream_tap_closed: gauges(names::UPSTREAM_TAP_CLOSED)?,
            certificate_not_after: gauges(names::CERTIFICATE_NOT_AFTER)?,
            acme_failures: IntCounter::with_opts(opts(names::ACME_FAILURES))?,
            jwks_age: gauges(names::JWKS_AGE)?,
            jwks_keys: gauges(names::JWKS_KEYS)?,
            jwks_fetches: counters(names::JWKS_FETCHES)?,
            tripwire: IntCounter::with_opts(opts(names::TRIPWIRE))?,
            in_flight: IntGauge::with_opts(opts(names::IN_FLIGHT))?,
            connections: IntGauge::with_opts(opts(names::CONNECTIONS))?,
            connections_refused: counters(names::CONNECTIONS_REFUSED)?,
            log_dropped: IntCounter::with_opts(opts(names::LOG_DROPPED))?,
            trace_spans: counters(names::TRACE_SPANS)?,
            trace_failures: IntCounter::with_opts(opts(names::TRACE_FAILURES))?,
            config_ok: IntGauge::with_opts(opts(names::CONFIG_OK))?,
            config_time: IntGauge::with_opts(opts(names::CONFIG_TIME))?,
            usage_kept: gauges(names::USAGE_KEPT)?,
            usage_behind: IntGauge::with_opts(opts(names::USAGE_BEHIND))?,
            usage_lost: IntCounter::with_opts(opts(names::USAGE_LOST))?,
            export_rows: counters(names::EXPORT_ROWS)?,
            export_failures: IntCounter::with_opts(opts(names::EXPORT_FAILURES))?,
            export_waiting: IntGauge::with_opts(opts(names::EXPORT_WAITING))?,
            tenants: IntGauge::with_opts(opts(names::TENANTS))?,
            exemplars: Arc::default(),
        };
        metrics.register()?;
        Ok(metrics)
    }

    fn register(&self) -> prometheus::Result<()> {
        let registry = &self.registry;
        registry.register(Box::new(self.requests.clone()))?;
        registry.register(Box::new(self.request_seconds.clone()))?;
        registry.register(Box::new(self.upstream_seconds.clone()))?;
        registry.register(Box::new(self.retries.clone()))?;
        registry.register(Box::new(self.refusals.clone()))?;
        registry.register(Box::new(self.limit_refusals.clone()))?;
        registry.register(Box::new(self.limit_counts.clone()))?;
        registry.register(Box::new(self.limit_shared.clone()))?;
        registry.register(Box::new(self.quotas_kept.clone()))?;
        registry.register(Box::new(self.counters_up.clone()))?;
        registry.register(Box::new(self.counters_gateways.clone()))?;
        registry.register(Box::new(self.counters_failures.clone()))?;
        registry.register(Box::new(self.upstream_resolved.clone()))?;
        registry.register(Box::new(self.backend_up.clone()))?;
        registry.register(Box::new(self.backend_ejections.clone()))?;
        registry.register(Box::new(self.health_checks.clone()))?;
        registry.register(Box::new(self.all_out.clone()))?;
        registry.register(Box::new(self.upstream_in_flight.clone()))?;
        registry.register(Box::new(self.upstream_waiting.clone()))?;
        registry.register(Box::new(self.upstream_tap_closed.clone()))?;
        registry.register(Box::new(self.certificate_not_after.clone()))?;
        registry.register(Box::new(self.acme_failures.clone()))?;
        registry.register(Box::new(self.jwks_age.clone()))?;
        registry.register(Box::new(self.jwks_keys.clone()))?;
        registry.register(Box::new(self.jwks_fetches.clone()))?;
        registry.register(Box::new(self.tripwire.clone()))?;
        registry.register(Box::new(self.in_flight.clone()))?;
        registry.register(Box::new(self.connections.clone()))?;
        registry.register(Box::new(self.connections_refused.clone()))?;
        registry.register(Box::new(self.log_dropped.clone()))?;
        registry.register(Box::new(self.trace_spans.clone()))?;
        registry.register(Box::new(self.trace_failures.clone()))?;
        let build = gauges(names::BUILD_INFO)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        // A gateway that runs has loaded its file.
        self.config_ok.set(1);
        registry.register(Box::new(self.config_ok.clone()))?;
        registry.register(Box::new(self.config_time.clone()))?;
        registry.register(Box::new(self.usage_kept.clone()))?;
        registry.register(Box::new(self.usage_behind.clone()))?;
        registry.register(Box::new(self.usage_lost.clone()))?;
        for result in ["sent", "dropped"] {
            // Who alerts on an increase needs to have seen zero.
            self.export_rows.with_label_values(&[result]);
        }
        registry.register(Box::new(self.export_rows.clone()))?;
        registry.register(Box::new(self.export_failures.clone()))?;
        registry.register(Box::new(self.export_waiting.clone()))?;
        registry.register(Box::new(self.tenants.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(())
    }

    /// Counts an exchange as under way.
    pub fn begin_exchange(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// How many exchanges are under way.
    pub fn in_flight(&self) -> i64 {
        self.in_flight.get()
    }

    /// Notes how many connections callers have.
    pub fn set_connections(&self, connections: u64) {
        self.connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
    }

    /// Notes how many connections were turned away for a reason so far.
    pub fn set_connections_refused(&self, reason: &str, connections: u64) {
        let counter = self.connections_refused.with_label_values(&[reason]);
        counter.inc_by(connections.saturating_sub(counter.get()));
    }

    /// Counts an answer that the tripwire held back.
    pub fn count_trip(&self) {
        self.tripwire.inc();
    }

    /// The counter of lines that the access log had to drop.
    pub(super) fn log_dropped(&self) -> IntCounter {
        self.log_dropped.clone()
    }

    /// The counters of spans that were sent, that were given up, and of calls that failed.
    pub(super) fn traces(&self) -> [IntCounter; 3] {
        let spans = |result: &str| self.trace_spans.with_label_values(&[result]);
        [spans("sent"), spans("dropped"), self.trace_failures.clone()]
    }

    /// Counts a retry.
    pub fn count_retry(&self, upstream: &str, reason: &str) {
        self.retries.with_label_values(&[upstream, reason]).inc();
    }

    /// Notes whether a host name could be looked up.
    pub fn set_resolved(&self, upstream: &str, resolved: i64) {
        self.upstream_resolved.with_label_values(&[upstream]).set(resolved);
    }

    /// Notes whether a backend gets requests.
    pub fn set_backend_up(&self, upstream: &str, backend: &str, up: i64) {
        self.backend_up.with_label_values(&[upstream, backend]).set(up);
    }

    /// Forgets a backend that is not asked any more.
    pub fn forget_backend(&self, upstream: &str, backend: &str) {
        let _ = self.backend_up.remove_label_values(&[upstream, backend]);
    }

    /// Counts that a backend was left out after failures of requests.
    pub fn count_ejection(&self, upstream: &str, backend: &str) {
        self.backend_ejections.with_label_values(&[upstream, backend]).inc();
    }

    /// Counts a health check.
    pub fn count_health_check(&self, upstream: &str, backend: &str, result: &str) {
        self.health_checks.with_label_values(&[upstream, backend, result]).inc();
    }

    /// Counts a try that found every backend left out.
    pub fn count_all_out(&self, upstream: &str) {
        self.all_out.with_label_values(&[upstream]).inc();
    }

    /// Notes how many requests an upstream has, and how many wait for it.
    pub fn set_load(&self, upstream: &str, in_flight: u32, waiting: usize) {
        self.upstream_in_flight.with_label_values(&[upstream]).set(in_flight.into());
        self.upstream_waiting.with_label_values(&[upstream]).set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Notes whether an upstream asked for a pause.
    pub fn set_tap_closed(&self, upstream: &str, closed: i64) {
        self.upstream_tap_closed.with_label_values(&[upstream]).set(closed);
    }

    /// Notes how many counts limits keep of a kind, and how many of those several callers share.
    pub fn set_counts(&self, kind: &str, own: usize, shared: usize) {
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.limit_counts.with_label_values(&[kind]).set(gauge(own));
        self.limit_shared.with_label_values(&[kind]).set(gauge(shared));
    }

    /// Notes whether what is used of quotas can be written down.
    pub fn set_quotas_kept(&self, kept: i64) {
        self.quotas_kept.set(kept);
    }

    /// Notes whether limits are counted where they should be, by how many gateways, and how many calls failed so far.
    pub fn set_counters(&self, up: i64, gateways: u32, failures: u64) {
        self.counters_up.set(up);
        self.counters_gateways.set(i64::from(gateways));
        self.counters_failures.inc_by(failures.saturating_sub(self.counters_failures.get()));
    }

    /// Notes when the certificate of a host ends; none if it has none any more.
    pub fn set_certificate(&self, host: &str, source: &str, not_after: Option<i64>) {
        match not_after {
            Some(not_after) => self.certificate_not_after.with_label_values(&[host, source]).set(not_after),
            // Zero would be a date. It may not have been there.
            None => drop(self.certificate_not_after.remove_label_values(&[host, source])),
        }
    }

    /// Notes how many orders for certificates have failed.
    pub fn set_acme_failures(&self, failures: u64) {
        self.acme_failures.inc_by(failures.saturating_sub(self.acme_failures.get()));
    }

    /// Notes how many keys of an identity provider there are, and how old they are, if they ever came.
    pub fn set_keys(&self, provider: &str, keys: usize, age: Option<Duration>) {
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.jwks_keys.with_label_values(&[provider]).set(gauge(keys as u64));
        match age {
            Some(age) => self.jwks_age.with_label_values(&[provider]).set(gauge(age.as_secs())),
            // Zero would be the best of ages. It may not have been there.
            None => drop(self.jwks_age.remove_label_values(&[provider])),
        }
    }

    /// Counts tries to fetch the keys of an identity provider.
    pub fn count_key_fetches(&self, provider: &str, ok: u64, failed: u64) {
        // Also where there are none yet: a rate begins at zero.
        self.jwks_fetches.with_label_values(&[provider, "ok"]).inc_by(ok);
        self.jwks_fetches.with_label_values(&[provider, "failed"]).inc_by(failed);
    }

    /// Notes how an attempt to load the configuration at that time of day went.
    pub fn set_reload(&self, is_good: bool, at: SystemTime) {
        self.config_ok.set(i64::from(is_good));
        if is_good {
            let seconds = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            self.config_time.set(i64::try_from(seconds).unwrap_or(i64::MAX));
        }
    }

    /// Forgets the children of hosts, routes and upstreams that are not among these:
    /// a gateway that is reloaded for months must not remember every route it had.
    pub fn keep(&self, kept: &Kept) {
        let is_host =
            |label: &str| [names::UNMATCHED_HOST, names::OTHER_HOST].contains(&label) || kept.hosts.contains(label);
        let is_route = |label: &str| label == names::UNMATCHED || kept.routes.contains(label);
        let is_upstream = |label: &str| kept.upstreams.contains(label);
        forget(&self.requests, &["host", "route", "code"], ("host", is_host));
        forget(&self.requests, &["host", "route", "code"], ("route", is_route));
        forget(&self.request_seconds, &["route"], ("route", is_route));
        forget(&self.refusals, &["route", "reason"], ("route", is_route));
        self.exemplars.rcu(|known| {
            let kept = known.iter().filter(|(label, _)| is_route(label));
            kept.map(|(label, exemplars)| (Arc::clone(label), Arc::clone(exemplars))).collect::<BTreeMap<_, _>>()
        });
        forget(&self.upstream_seconds, &["upstream"], ("upstream", is_upstream));
        forget(&self.retries, &["upstream", "reason"], ("upstream", is_upstream));
        forget(&self.upstream_resolved, &["upstream"], ("upstream", is_upstream));
        let is_limit = |label: &str| label == names::LIMIT_OF_TOKEN || kept.limits.contains(label);
        forget(&self.limit_refusals, &["limit", "mode"], ("limit", is_limit));
        let is_protected = |label: &str| kept.protected.contains(label);
        forget(&self.upstream_tap_closed, &["upstream"], ("upstream", is_upstream));
        for family in [&self.upstream_in_flight, &self.upstream_waiting] {
            forget(family, &["upstream"], ("upstream", is_protected));
        }
        let is_provider = |label: &str| kept.providers.contains(label);
        forget(&self.jwks_age, &["provider"], ("provider", is_provider));
        forget(&self.jwks_keys, &["provider"], ("provider", is_provider));
        forget(&self.jwks_fetches, &["provider", "result"], ("provider", is_provider));
    }

    /// Notes how the ledger of usage stands: whether it is written, if it is kept at all; how far it is behind, how many
    /// requests it gave up, and how many tenants are told apart.
    pub fn set_usage(&self, is_written: Option<bool>, behind: Duration, lost: u64, tenants: usize) {
        match is_written {
            Some(is_written) => self.usage_kept.with_label_values::<&str>(&[]).set(i64::from(is_written)),
            // It may not have been there.
            None => drop(self.usage_kept.remove_label_values::<&str>(&[])),
        }
        self.usage_behind.set(i64::try_from(behind.as_secs()).unwrap_or(i64::MAX));
        self.usage_lost.inc_by(lost.saturating_sub(self.usage_lost.get()));
        self.tenants.set(i64::try_from(tenants).unwrap_or(i64::MAX));
    }

    /// Notes how the export of usage stands: lines that were sent and that were dropped, calls that failed, lines that wait.
    pub fn set_export(&self, (sent, dropped): (u64, u64), failures: u64, waiting: u64) {
        for (result, lines) in [("sent", sent), ("dropped", dropped)] {
            let counter = self.export_rows.with_label_values(&[result]);
            counter.inc_by(lines.saturating_sub(counter.get()));
        }
        self.export_failures.inc_by(failures.saturating_sub(self.export_failures.get()));
        self.export_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Every family but those of tenants, without an end.
    ///
    /// # Errors
    /// What the encoder says.
    pub fn encode(&self, exposition: Exposition) -> prometheus::Result<Vec<u8>> {
        let families = self.registry.gather();
        match exposition {
            Exposition::OpenMetrics => {
                let (known, mut text) = (self.exemplars.load(), String::new());
                open_metrics::append(&mut text, &families, &|family, labels, bucket| {
                    let route = labels.iter().find(|label| label.name() == "route")?;
                    let is_known = family == names::REQUEST_SECONDS.name;
                    known.get(route.value()).filter(|_| is_known)?.written(bucket)
                });
                Ok(text.into_bytes())
            }
            Exposition::Text => {
                let mut text = Vec::new();
                TextEncoder::new().encode(&families, &mut text)?;
                Ok(text)
            }
        }
    }
}

fn opts(family: Family) -> Opts {
    Opts::new(family.name, family.help)
}

fn counters(family: Family) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(opts(family), family.labels)
}

fn gauges(family: Family) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(opts(family), family.labels)
}

fn histograms(family: Family) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::new(family.name, family.help).buckets(BUCKETS.to_vec());
    HistogramVec::new(opts, family.labels)
}

/// What is in use, by label.
#[derive(Debug, Default)]
pub struct Kept {
    /// Patterns of hosts.
    pub hosts: BTreeSet<Arc<str>>,
    /// Patterns of routes.
    pub routes: BTreeSet<Arc<str>>,
    /// Names of limits.
    pub limits: BTreeSet<Arc<str>>,
    /// Names of providers.
    pub providers: BTreeSet<Arc<str>>,
    /// Names of upstreams that have a queue.
    pub protected: BTreeSet<Arc<str>>,
    /// Names of upstreams.
    pub upstreams: BTreeSet<Arc<str>>,
}

/// Removes the children of a family that are not kept for the label named. `labels` are its labels in their own order.
fn forget<B: MetricVecBuilder>(family: &MetricVec<B>, labels: &[&str], (by, is_kept): (&str, impl Fn(&str) -> bool))
where
    MetricVec<B>: Collector,
{
    for metric in family.collect().iter().flat_map(|family| family.get_metric()) {
        // The library hands them out sorted by name.
        let pairs = metric.get_label();
        let value = |label: &&str| pairs.iter().find(|pair| pair.name() == *label).map(|pair| pair.value());
        if let (Some(named), Some(values)) = (value(&by), labels.iter().map(value).collect::<Option<Vec<_>>>())
            && !is_kept(named)
        {
            // It is there: it was collected just now.
            let _ = family.remove_label_values(&values);
        }
    }
}
