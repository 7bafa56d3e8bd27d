//! The families that there are, and which of them the run of `scrape` does not feed.

use std::collections::BTreeMap;

use tollgate::telemetry::names::{self, Kind};

/// Expected from the ledger: families that rules and dashboards use already, with their labels. One that the gateway has
/// is taken out of here, and is then required of the run like every other.
pub(crate) const EXPECTED_FROM_THE_LEDGER: &[(&str, &[&str])] = &[
    ("tollgate_export_rows_total", &["result"]),
    ("tollgate_export_waiting_rows", &[]),
    ("tollgate_export_failures_total", &[]),
];

/// Families that the run has no series of, and why.
pub(crate) const NOT_FED: &[(&str, &str)] = &[
    ("tollgate_tenant_unmeasured_total", "every answer of the bundled upstream says what it cost"),
    ("tollgate_export_rows_total", "nothing is exported"),
    ("tollgate_export_waiting_rows", "nothing is exported"),
    ("tollgate_export_failures_total", "nothing is exported"),
];

/// Labels that Prometheus itself adds.
pub(crate) const ADDED: [&str; 5] = ["alertname", "alertstate", "instance", "job", "le"];

/// Every series that an expression may name, with its labels.
pub(crate) fn known() -> BTreeMap<String, Vec<String>> {
    let mut known = BTreeMap::new();
    let labels = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
    for family in names::ALL {
        let ends: &[&str] = match family.kind {
            Kind::Counter | Kind::Gauge => &[""],
            Kind::Histogram => &["_bucket", "_count", "_sum"],
        };
        known.extend(ends.iter().map(|end| (format!("{}{end}", family.name), labels(family.labels))));
    }
    known.extend(names::PROCESS.iter().map(|(name, ..)| ((*name).to_owned(), Vec::new())));
    known.extend(EXPECTED_FROM_THE_LEDGER.iter().map(|(name, own)| ((*name).to_owned(), labels(own))));
    known.extend([("up".to_owned(), Vec::new()), ("ALERTS".to_owned(), Vec::new())]);
    known
}

/// Whether the gateway does not have this series yet, or the run does not feed it.
pub(crate) fn is_absent(series: &str) -> bool {
    EXPECTED_FROM_THE_LEDGER.iter().any(|(name, _)| *name == series) || NOT_FED.iter().any(|(name, _)| *name == series)
}

#[test]
fn what_is_expected_is_not_there_yet() {
    for (name, _) in EXPECTED_FROM_THE_LEDGER {
        let is_there = names::ALL.iter().any(|family| family.name == *name);
        assert!(!is_there, "{name} is there: take it out of EXPECTED_FROM_THE_LEDGER, so that the run requires it");
    }
}
