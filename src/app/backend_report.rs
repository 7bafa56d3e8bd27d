//! Tells which backends get requests.
//!
//! In: the upstreams of the configuration that runs, again and again. Out: a
//! metric for each backend that is watched. Not here: the line in the log when
//! one is left out (`proxy`), health checks (`health`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;

/// What was told so far.
#[derive(Debug)]
pub(super) struct BackendReport {
    metrics: Metrics,
    /// Upstreams and backends.
    told: BTreeSet<(Arc<str>, Arc<str>)>,
}

impl BackendReport {
    pub(super) fn new(metrics: Metrics) -> Self {
        BackendReport { metrics, told: BTreeSet::new() }
    }

    /// Tells how the backends of these upstreams are, and forgets all others.
    pub(super) fn tell(&mut self, upstreams: &[Arc<Upstream>], now: Instant) {
        let mut watched = BTreeSet::new();
        for upstream in upstreams.iter().filter(|upstream| upstream.is_watched()) {
            for backend in upstream.backends() {
                let up = i64::from(upstream.gets_requests(backend, now));
                self.metrics.set_backend_up(upstream.name(), backend.label(), up);
                watched.insert((Arc::clone(upstream.name()), Arc::clone(backend.label())));
            }
        }
        for (upstream, backend) in self.told.difference(&watched) {
            self.metrics.forget_backend(upstream, backend);
        }
        self.told = watched;
    }
}
