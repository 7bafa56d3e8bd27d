//! Tells when certificates end.
//!
//! In: the configuration that runs, and what authorities have issued. Out: a
//! metric for each host of the file; of the many names of a pattern, the first
//! to end. Not here: what is said of one that is over (`tls`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::Config;
use crate::config::section::hosts::Host;
use crate::config::section::tls::{CertificateFiles, HostTls};
use crate::state::domains::Domains;
use crate::telemetry::metrics::Metrics;
use crate::tls::acme::{Engine, NameReport};

/// What `tls.default` is told as: no host is called so.
const DEFAULT: &str = "*";
const FILE: &str = "file";
const ACME: &str = "acme";

/// Host and source, and when the first certificate ends.
type Ends = BTreeMap<(String, &'static str), i64>;

/// What was told so far.
#[derive(Debug)]
pub(super) struct CertificateReport {
    metrics: Metrics,
    engine: Engine,
    /// What the last numbers were made from.
    seen: Option<Arc<Config>>,
    files: Ends,
    told: Ends,
}

impl CertificateReport {
    pub(super) fn new(metrics: Metrics, engine: Engine) -> Self {
        CertificateReport { metrics, engine, seen: None, files: Ends::new(), told: Ends::new() }
    }

    /// Tells about this configuration, and forgets what it does not have.
    pub(super) fn tell(&mut self, config: &Arc<Config>, domains: &Domains) {
        self.metrics.set_acme_failures(self.engine.failures());
        if !self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, config)) {
            self.files = of_files(config);
            self.seen = Some(Arc::clone(config));
        }
        let mut ends = self.files.clone();
        of_authorities(config, domains, &self.engine.report(), &mut ends);
        if ends == self.told {
            return;
        }
        for (host, source) in self.told.keys().filter(|key| !ends.contains_key(*key)) {
            self.metrics.set_certificate(host, source, None);
        }
        for ((host, source), not_after) in &ends {
            self.metrics.set_certificate(host, source, Some(*not_after));
        }
        self.told = ends;
    }
}

fn of_files(config: &Config) -> Ends {
    let first =
        |files: &[CertificateFiles]| files.iter().filter_map(|files| Some(files.pair.as_ref()?.valid().end)).min();
    let of_hosts = config.hosts.iter().filter_map(|(pattern, host)| {
        let end = first(host.tls.as_ref()?.files())?;
        Some(((pattern.to_string(), FILE), end))
    });
    let default = first(config.tls.default.files()).map(|end| ((DEFAULT.to_owned(), FILE), end));
    of_hosts.chain(default).collect()
}

fn of_authorities(config: &Config, domains: &Domains, names: &[NameReport], ends: &mut Ends) {
    let is_issued = |host: &Host| host.tls.as_ref().is_some_and(|tls| matches!(tls, HostTls::Auto | HostTls::OnDemand));
    let issued: Vec<_> = config.hosts.iter().filter(|(_, host)| is_issued(host)).map(|(pattern, _)| pattern).collect();
    let all: Vec<_> = config.hosts.keys().collect();
    for report in names {
        // A customer's own domain counts for the host that it is served as.
        let alias = domains.host_of(&report.name);
        let name = alias.as_deref().unwrap_or(&report.name);
        let among = if alias.is_some() { &all } else { &issued };
        let exact = among.iter().find(|pattern| pattern.as_str() == name);
        let pattern = exact.or_else(|| among.iter().find(|pattern| pattern.covers(name)));
        let (Some(pattern), Some(not_after)) = (pattern, report.not_after) else { continue };
        let since = not_after.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let end = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        let first = ends.entry((pattern.to_string(), ACME)).or_insert(end);
        *first = end.min(*first);
    }
}
