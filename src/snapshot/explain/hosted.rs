//! What the host of a request is to a configuration that lists hosts.
//!
//! In: the site that serves it, if one does. Out: its pattern and its tenant,
//! or the patterns that come near. Not here: finding the site (`hosts`).

use serde::Serialize;

use crate::exchange::host_labels;
use crate::snapshot::Snapshot;
use crate::snapshot::hosts::Site;

/// Patterns that are shown, at most.
const SHOWN: usize = 3;
/// Patterns that are compared, at most.
const COMPARED: usize = 10_000;

/// What a host is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hosted {
    /// The pattern under `hosts` that it matches; none where it is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Whose host it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Where it is not served: patterns that are and come near, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
}

impl Hosted {
    pub(super) fn new(snapshot: &Snapshot, site: Option<&Site>, host: &str) -> Self {
        let tenant = site.and_then(|site| site.tenant.as_ref());
        Hosted {
            pattern: site.map(|site| site.label.to_string()),
            tenant: tenant.and_then(|tenant| host_labels::fill(tenant, host)),
            near: if site.is_none() { near(snapshot, host) } else { Vec::new() },
        }
    }
}

fn near(snapshot: &Snapshot, host: &str) -> Vec<String> {
    let behind = host.split_once('.').map_or("", |(_, behind)| behind);
    let distance = |pattern: &str| match pattern.strip_prefix("*.") {
        // Its first label may be anything, or be forgotten.
        Some(suffix) => [behind, host].map(|given| strsim::damerau_levenshtein(suffix, given)).into_iter().min(),
        None => Some(strsim::damerau_levenshtein(pattern, host)),
    };
    let labels = snapshot.sites().iter().take(COMPARED).map(|site| &site.label);
    let mut near: Vec<(usize, &str)> = labels
        .filter_map(|label| Some((distance(label)?, &**label)))
        .filter(|(distance, label)| *distance <= (label.len() / 4).max(1))
        .collect();
    near.sort_unstable();
    near.into_iter().take(SHOWN).map(|(_, label)| label.to_owned()).collect()
}
