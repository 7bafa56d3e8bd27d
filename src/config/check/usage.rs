//! Rules of `usage`: as many tenants as somebody can look at, and a ledger that outlives a day.
//!
//! In: the `usage` section. Out: issues. Not here: where the ledger is (`state`).

use std::time::Duration;

use crate::config::issue::IssueCode;

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
    }
}
