//! For each bucket of a histogram, a request that fell into it: from a chart to
//! a trace in one click.
//!
//! In: durations with their traces. Out: one of them, at most a second old
//! when it was followed by others. Not here: the histogram.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;

use super::open_metrics::number;

/// One request.
#[derive(Debug)]
struct Exemplar {
    trace_id: String,
    seconds: f64,
    at: SystemTime,
}

/// The last request of a bucket, as far as somebody looked.
#[derive(Debug, Default)]
struct Slot {
    /// When it was taken, in seconds since 1970.
    taken: AtomicU64,
    exemplar: ArcSwapOption<Exemplar>,
}

/// One for each bucket, that of all above the highest bound among them.
#[derive(Debug)]
pub(super) struct Exemplars {
    bounds: &'static [f64],
    slots: Box<[Slot]>,
}

impl Exemplars {
    /// None yet.
    pub(super) fn new(bounds: &'static [f64]) -> Self {
        Exemplars { bounds, slots: (0..=bounds.len()).map(|_| Slot::default()).collect() }
    }

    /// Remembers a request, unless its bucket has one of the same second: more often nobody looks, and it would cost.
    pub(super) fn note(&self, seconds: f64, at: SystemTime, trace_id: &str) {
        let index = self.bounds.iter().position(|bound| seconds <= *bound).unwrap_or(self.bounds.len());
        let Some(slot) = self.slots.get(index) else { return };
        let now = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if slot.taken.swap(now, Ordering::Relaxed) != now {
            slot.exemplar.store(Some(Arc::new(Exemplar { trace_id: trace_id.to_owned(), seconds, at })));
        }
    }

    /// The exemplar of a bucket, as OpenMetrics writes it.
    pub(super) fn written(&self, bucket: usize) -> Option<String> {
        let exemplar = self.slots.get(bucket)?.exemplar.load();
        let Exemplar { trace_id, seconds, at } = &**exemplar.as_ref()?;
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Some(format!(" # {{trace_id=\"{trace_id}\"}} {} {}.{:03}", number(*seconds), at / 1_000, at % 1_000))
    }
}
