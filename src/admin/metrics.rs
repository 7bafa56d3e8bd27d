//! `/metrics` and `/metrics/usage`.
//!
//! In: what is counted, and who asks. Out: it, in the format that is asked for.
//! Not here: counting (`telemetry`, `state::usage`).

use http::{HeaderMap, Response, StatusCode, header};

use crate::snapshot::Snapshot;
use crate::state::State;
use crate::state::queue::Load;
use crate::state::usage::{Exported, Standing, Totals};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::open_metrics;
use crate::telemetry::usage::{Exposition, append};

use super::access::Asker;
use super::{answer, text};

/// The name of the older format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The format that is asked for: OpenMetrics only for who names it, as Prometheus does.
pub(super) fn wanted(asker: &Asker<'_>) -> Exposition {
    let headers: &HeaderMap = asker.headers;
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    match accepted.any(|value| value.contains("application/openmetrics-text")) {
        true => Exposition::OpenMetrics,
        false => Exposition::Text,
    }
}

/// Everything that is counted.
pub(super) fn all(metrics: &Metrics, running: &Snapshot, state: &State, exposition: Exposition) -> Response<Vec<u8>> {
    for guarded in &running.queues {
        let Load { in_flight, waiting, is_tap_closed } = guarded.queue.load();
        if guarded.is_limited() {
            metrics.set_load(&guarded.upstream, in_flight, waiting);
        }
        metrics.set_tap_closed(&guarded.upstream, i64::from(is_tap_closed));
    }
    let Standing { is_written, behind, lost, tenants, exported } = state.usage().standing();
    metrics.set_usage(is_written, behind, lost, tenants);
    let Exported { sent, dropped, failures, waiting } = exported;
    metrics.set_export((sent, dropped), failures, waiting);
    match metrics.encode(exposition) {
        Ok(written) => finished(written, state, exposition),
        Err(error) => {
            log::error!("metrics cannot be written: {error}");
            text(StatusCode::INTERNAL_SERVER_ERROR, "see the log\n")
        }
    }
}

/// The families of tenants.
pub(super) fn of_usage(state: &State, exposition: Exposition) -> Response<Vec<u8>> {
    finished(Vec::new(), state, exposition)
}

fn finished(mut written: Vec<u8>, state: &State, exposition: Exposition) -> Response<Vec<u8>> {
    // A copy: while so much text is made, the ledger goes on.
    let totals = state.usage().totals(Totals::clone);
    append(&mut written, totals.rows(), exposition);
    match exposition {
        Exposition::OpenMetrics => {
            written.extend_from_slice(open_metrics::EOF.as_bytes());
            answer(StatusCode::OK, open_metrics::CONTENT_TYPE, written)
        }
        Exposition::Text => answer(StatusCode::OK, TEXT, written),
    }
}
