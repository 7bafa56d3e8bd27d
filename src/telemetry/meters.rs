//! The children of families that belong to a route, resolved before they are
//! needed.
//!
//! In: outcomes. Out: counts. Labels are configured patterns and closed sets,
//! never what a caller chose. Not here: the families (`metrics`).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use prometheus::{Histogram, IntCounter};

use crate::exchange::outcome::Outcome;
use crate::exchange::refusal::RefusalCode;

use super::exemplars::Exemplars;
use super::metrics::{BUCKETS, Metrics};
use super::names;

/// Statuses whose counters are resolved once per route; others are looked up.
const COMMON: [u16; 14] = [200, 204, 304, 400, 401, 403, 404, 405, 429, 499, 500, 502, 503, 504];

/// The children of one route.
#[derive(Debug)]
pub struct RouteMeter {
    label: Arc<str>,
    seconds: Histogram,
    exemplars: Arc<Exemplars>,
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

impl RouteMeters {
    /// The children for these routes: label and upstream, in the order of route indexes.
    pub fn of<'a>(
        metrics: &Metrics,
        hosts: HostLabels,
        routes: impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)>,
    ) -> Self {
        // Copied once and not for each route. Two configurations are never compiled at once.
        let mut exemplars = BTreeMap::clone(&metrics.exemplars.load());
        let new = || Arc::new(Exemplars::new(&BUCKETS));
        let mut meter = |label: &Arc<str>, upstream: Option<&Arc<str>>| RouteMeter {
            label: Arc::clone(label),
            seconds: metrics.request_seconds.with_label_values(&[label]),
            exemplars: Arc::clone(exemplars.entry(Arc::clone(label)).or_insert_with(new)),
            upstream_seconds: upstream.map(|upstream| metrics.upstream_seconds.with_label_values(&[upstream])),
            common: Default::default(),
        };
        let routes = routes.map(|(label, upstream)| meter(label, Some(upstream))).collect();
        let unmatched = meter(&names::UNMATCHED.into(), None);
        metrics.exemplars.store(Arc::new(exemplars));
        RouteMeters { metrics: metrics.clone(), hosts, routes, unmatched }
    }

    /// Counts a finished exchange on the site and the route with these indexes.
    pub fn count(&self, site: Option<usize>, route: Option<usize>, outcome: &Outcome) {
        let meter = route.and_then(|index| self.routes.get(index)).unwrap_or(&self.unmatched);
        meter.requests(self.hosts.of(site), outcome.status, &self.metrics);
        let seconds = outcome.elapsed.as_secs_f64();
        meter.seconds.observe(seconds);
        if let Some(trace_id) = &outcome.trace_id {
            meter.exemplars.note(seconds, outcome.at, trace_id);
        }
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
