//! The families that there are, and which of them the run of `scrape` does not feed.

use std::collections::BTreeMap;

use tollgate::telemetry::names::{self, Kind};

/// Families that the run has no series of, and why.
pub(crate) const NOT_FED: &[(&str, &str)] =
    &[("tollgate_tenant_unmeasured_total", "every answer of the bundled upstream says what it cost")];

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
    known.extend([("up".to_owned(), Vec::new()), ("ALERTS".to_owned(), Vec::new())]);
    known
}

/// Whether the run does not feed this series.
pub(crate) fn is_absent(series: &str) -> bool {
    NOT_FED.iter().any(|(name, _)| *name == series)
}
