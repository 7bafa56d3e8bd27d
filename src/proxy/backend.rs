//! What tries tell of the backend that they went to.
//!
//! In: how a try went. Out: a line in the log and a count where that changes
//! something. A backend that answers at all is well, whatever it says: 429 and
//! 500 are the API's own. Not here: when it is left out (`upstream::condition`).

use crate::telemetry::trace::TryFailure;
use crate::upstream::Change;

use super::Proxy;
use super::ctx::Ctx;

/// What a backend did wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum BackendFailure {
    /// It answered with this status.
    Status(u16),
    /// There was no answer.
    Try(TryFailure),
}

impl BackendFailure {
    fn words(self) -> String {
        match self {
            BackendFailure::Status(status) => format!("it answered {status}"),
            BackendFailure::Try(TryFailure::Broken) => "it broke the connection".to_owned(),
            BackendFailure::Try(TryFailure::Connect) => "no connection could be opened".to_owned(),
            BackendFailure::Try(TryFailure::Timeout) => "it did not answer in time".to_owned(),
        }
    }
}

impl Proxy {
    /// The backend of the current try answers.
    pub(super) fn backend_answers(&self, ctx: &mut Ctx) {
        let Some(visit) = &mut ctx.attempt.visit else { return };
        if let Some(change) = visit.went_well(self.state.clock().now()) {
            self.tell(ctx, change, None);
        }
    }

    /// The backend of the current try failed.
    pub(super) fn backend_failed(&self, ctx: &mut Ctx, failure: BackendFailure) {
        let Some(visit) = &mut ctx.attempt.visit else { return };
        if let Some(change) = visit.failed(self.state.clock().now()) {
            self.tell(ctx, change, Some(failure));
        }
    }

    /// Rare: a backend changes sides a few times an hour, not with each request.
    fn tell(&self, ctx: &Ctx, change: Change, failure: Option<BackendFailure>) {
        let Some(upstream) = ctx.route().map(|route| &route.upstream) else { return };
        let Some(backend) = upstream.backend(ctx.attempt.backend) else { return };
        let (name, label) = (upstream.name(), backend.label());
        let why = failure.map(BackendFailure::words).unwrap_or_default();
        match change {
            Change::Ejected { time, failures } => {
                self.metrics.count_ejection(name, label);
                let then = upstream.who_is_left(self.state.clock().now());
                log::warn!(
                    "backend {label} of upstream {name} is left out for {time:?} after {failures} failures in a row, the last: {why}; {then}"
                );
            }
            Change::Returned => log::info!("backend {label} of upstream {name} is well again and gets requests"),
            Change::StillOut { time } => {
                self.metrics.count_ejection(name, label);
                log::debug!("backend {label} of upstream {name} is left out for another {time:?}: {why}");
            }
        }
        self.metrics.set_backend_up(name, label, i64::from(change == Change::Returned));
    }
}
