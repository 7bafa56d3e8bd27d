//! Rules of `usage`: as many tenants as somebody can look at, a ledger that outlives a day, an export that can be sent.
//!
//! In: the `usage` section. Out: issues. Not here: where the ledger is (`state`).

use std::time::Duration;

use crate::config::issue::IssueCode;
use crate::config::section::usage::Export;

use super::Checker;

/// Each has a dozen series on each of its routes.
const MOST_TENANTS: u32 = 100_000;
/// What is kept for less would be gone before anybody looked.
const LEAST_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

impl Checker<'_> {
    pub(super) fn usage(&mut self) {
        let usage = &self.config.usage;
        if !(1..=MOST_TENANTS).contains(&usage.max_tenants) {
            let title = format!("`max_tenants` is {}", usage.max_tenants);
            let help = format!(
                "write 1 to {MOST_TENANTS}; left out, it is 1000. The ledger tells all tenants apart whatever it is"
            );
            self.at_value(IssueCode::BadValue, &["usage", "max_tenants"], title, &help);
        }
        if usage.retention.duration() < LEAST_RETENTION {
            let title = format!("`retention` is {}: usage would be gone before anybody looks", usage.retention);
            let help = "write 1d or more, or `ledger: false` if none is to be kept";
            self.at_value(IssueCode::BadValue, &["usage", "retention"], title, help);
        }
        let is_written = |key| self.document.node(&["usage", key]).is_some();
        if !usage.ledger && is_written("retention") {
            let title = "`retention` has no effect: there is no ledger".to_owned();
            self.at_key(IssueCode::NoEffect, &["usage", "retention"], title, "remove it, or `ledger: false`");
        }
        if let Some(export) = &usage.export {
            self.export(export, usage.ledger);
        }
    }

    fn export(&mut self, export: &Export, has_ledger: bool) {
        if !has_ledger {
            let title = "there is nothing to export: rows wait in the ledger until they are sent".to_owned();
            let help = "remove `ledger: false`, or remove `export`";
            self.at_key(IssueCode::BadValue, &["usage", "export"], title, help);
        }
        let name = &export.upstream;
        let upstreams = &self.config.upstreams;
        // Where there are none, or this one could not be read, that is reported.
        if upstreams.is_empty() || self.reported(&["upstreams", name]) {
            return;
        }
        let Some(upstream) = upstreams.get(name) else {
            return self.unknown_name("upstream", (&["usage", "export", "upstream"], name), upstreams.keys());
        };
        if export.token.is_none() && upstream.token.is_none() {
            let title = format!("nothing says with which token rows are sent to `{name}`: it has none of its own");
            let help = "add `token:` with one that has the scope DATASOURCES:APPEND for the data source";
            self.at_key(IssueCode::MissingKey, &["usage", "export"], title, help);
        }
    }
}
