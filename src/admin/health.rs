//! Whether the gateway lives, and whether it wants requests.
//!
//! In: readiness, upstreams, the last reload. Out: the answer of `/readyz`.
//! Not here: who may read it (`access`).

use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use serde_json::{Value, json};

use crate::snapshot::Snapshot;

use super::reload::Report;

/// Whether the gateway wants requests.
#[derive(Debug, Default)]
pub struct Readiness {
    ready: AtomicBool,
}

impl Readiness {
    /// From now on it does, or not.
    pub fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

/// The answer of `/readyz`. A reload that failed is told and changes nothing:
/// the gateway serves what it served before.
pub(super) fn ready(readiness: &Readiness, snapshot: &Snapshot, last_reload: Option<Value>) -> (StatusCode, Value) {
    let upstreams = &snapshot.upstreams;
    let unresolved: Vec<&str> =
        upstreams.iter().filter(|upstream| !upstream.is_resolved()).map(|upstream| upstream.name().as_ref()).collect();
    let wanted = readiness.is_set();
    let reachable = upstreams.is_empty() || unresolved.len() < upstreams.len();
    let status = match (wanted, reachable) {
        (false, _) => "stopping or not started",
        (true, false) => "no upstream has an address",
        (true, true) => "ready",
    };
    let mut config = json!({ "generation": snapshot.generation });
    if let (Some(config), Some(last_reload)) = (config.as_object_mut(), last_reload) {
        config.insert("last_reload".to_owned(), last_reload);
    }
    let code = if wanted && reachable { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, json!({ "status": status, "unresolved_upstreams": unresolved, "config": config }))
}

/// What `/readyz` says of the last reload; what was wrong, only to those who may know.
pub(super) fn of_reload(report: &Report, is_trusted: bool) -> Value {
    let mut told = json!({
        "result": report.finding.word(),
        "at": httpdate::fmt_http_date(report.at),
        "by": report.trigger.word(),
    });
    if let (Some(told), true) = (told.as_object_mut(), is_trusted) {
        told.insert("text".to_owned(), report.to_string().into());
    }
    told
}
