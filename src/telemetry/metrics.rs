//! Prometheus families, their children resolved before they are needed.
//!
//! In: outcomes. Out: the text format on demand. Labels are configured
//! patterns and closed sets, never what a caller chose.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::exchange::outcome::Outcome;
use crate::exchange::refusal::RefusalCode;

use super::names::{self, Family};

/// Bucket bounds in seconds: from a cached answer to a query at its limit.
const BUCKETS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Statuses whose counters are resolved once per route; others are looked up.
const COMMON: [u16; 12] = [200, 204, 304, 400, 403, 404, 405, 429, 500, 502, 503, 504];

/// All families.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    upstream_seconds: HistogramVec,
    retries: IntCounterVec,
    refusals: IntCounterVec,
    limit_refusals: IntCounterVec,
    limit_counts: IntGaugeVec,
    limit_shared: IntGaugeVec,
    quotas_kept: IntGauge,
    counters_up: IntGauge,
    counters_gateways: IntGauge,
    counters_failures: IntCounter,
    upstream_resolved: IntGaugeVec,
    upstream_in_flight: IntGaugeVec,
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
    config_ok: IntGauge,
    config_time: IntGauge,
}

/// One exchange in the count of those under way, until it is dropped.
#[derive(Debug)]
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The children of one route.
#[derive(Debug)]
pub struct RouteMeter {
    label: Arc<str>,
    seconds: Histogram,
    upstream_seconds: Option<Histogram>,
    common: [OnceLock<IntCounter>; COMMON.len()],
}

/// Which hosts are told apart.
#[derive(Clone, Debug)]
pub enum HostLabels {
    /// None: every host is served alike.
    Any,
    /// These, by index.
    Listed(Box<[Arc<str>]>),
    /// None of them: with their routes they would be too many series.
    TooMany,
}

impl HostLabels {
    /// The label of a host, by its index where it is served; whether all that are served have the same.
    fn of(&self, site: Option<usize>) -> (&str, Sharing) {
        match (self, site) {
            (HostLabels::Any, _) => (names::ANY_HOST, Sharing::All),
            (HostLabels::Listed(_) | HostLabels::TooMany, None) => (names::UNMATCHED_HOST, Sharing::Single),
            (HostLabels::Listed(labels), Some(index)) => {
                (labels.get(index).map_or(names::UNMATCHED_HOST, |label| label), Sharing::Single)
            }
            (HostLabels::TooMany, Some(_)) => (names::OTHER_HOST, Sharing::All),
        }
    }
}

/// Whether all hosts that are served have one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    All,
    Single,
}

/// The children of every route of a configuration.
#[derive(Debug)]
pub struct RouteMeters {
    metrics: Metrics,
    hosts: HostLabels,
    routes: Box<[RouteMeter]>,
    unmatched: RouteMeter,
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
            log_dropped: IntCounter::with_opts(opts(names::LOG_DROPPED))?,
            config_ok: IntGauge::with_opts(opts(names::CONFIG_OK))?,
            config_time: IntGauge::with_opts(opts(names::CONFIG_TIME))?,
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
        registry.register(Box::new(self.log_dropped.clone()))?;
        let build = gauges(names::BUILD_INFO)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        // A gateway that runs has loaded its file.
        self.config_ok.set(1);
        registry.register(Box::new(self.config_ok.clone()))?;
        registry.register(Box::new(self.config_time.clone()))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(())
    }

    /// The children for these routes: label and upstream, in the order of route indexes.
    pub fn meters<'a>(
        &self,
        hosts: HostLabels,
        routes: impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)>,
    ) -> RouteMeters {
        let meter = |label: &Arc<str>, upstream: Option<&Arc<str>>| RouteMeter {
            label: Arc::clone(label),
            seconds: self.request_seconds.with_label_values(&[label]),
            upstream_seconds: upstream.map(|upstream| self.upstream_seconds.with_label_values(&[upstream])),
            common: Default::default(),
        };
        RouteMeters {
            metrics: self.clone(),
            hosts,
            routes: routes.map(|(label, upstream)| meter(label, Some(upstream))).collect(),
            unmatched: meter(&names::UNMATCHED.into(), None),
        }
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

    /// Counts an answer that the tripwire held back.
    pub fn count_trip(&self) {
        self.tripwire.inc();
    }

    /// The counter of lines that the access log had to drop.
    pub(super) fn log_dropped(&self) -> IntCounter {
        self.log_dropped.clone()
    }

    /// Counts a retry.
    pub fn count_retry(&self, upstream: &str, reason: &str) {
        self.retries.with_label_values(&[upstream, reason]).inc();
    }

    /// Notes whether a host name could be looked up.
    pub fn set_resolved(&self, upstream: &str, resolved: i64) {
        self.upstream_resolved.with_label_values(&[upstream]).set(resolved);
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

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// What the encoder says.
    pub fn encode(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
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

impl RouteMeters {
    /// Counts a finished exchange on the site and the route with these indexes.
    pub fn count(&self, site: Option<usize>, route: Option<usize>, outcome: &Outcome) {
        let meter = route.and_then(|index| self.routes.get(index)).unwrap_or(&self.unmatched);
        meter.requests(self.hosts.of(site), outcome.status, &self.metrics);
        meter.seconds.observe(outcome.elapsed.as_secs_f64());
        if outcome.attempts > 0
            && let Some(seconds) = &meter.upstream_seconds
        {
            seconds.observe(outcome.upstream_elapsed.as_secs_f64());
        }
        for (limits, mode) in [(outcome.limited_by.as_slice(), "enforced"), (&outcome.would_refuse, "dry_run")] {
            for limit in limits {
                self.metrics.limit_refusals.with_label_values(&[limit, mode]).inc();
            }
        }
        if let Some(refusal) = outcome.refusal {
            meter.refusal(refusal, &self.metrics);
        }
    }
}

impl RouteMeter {
    fn requests(&self, (host, sharing): (&str, Sharing), status: u16, metrics: &Metrics) {
        let resolve = || metrics.requests.with_label_values(&[host, &self.label, &status.to_string()]);
        let position = || COMMON.iter().position(|common| *common == status);
        let slot = match sharing {
            Sharing::All => position().and_then(|index| self.common.get(index)),
            // Resolved each time: children of every route for every host would take far more memory than is used.
            Sharing::Single => None,
        };
        match slot {
            Some(slot) => slot.get_or_init(resolve).inc(),
            None => resolve().inc(),
        }
    }

    fn refusal(&self, code: RefusalCode, metrics: &Metrics) {
        metrics.refusals.with_label_values(&[&self.label, code.as_str()]).inc();
    }
}
