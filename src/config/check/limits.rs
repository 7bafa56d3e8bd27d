//! Rules of limits: each counts one thing, in the unit of that thing.
//!
//! In: the `limits` section. Out: issues. Not here: which names lead where, and
//! who uses them (`plans`), what a limit does (`pipeline::limits`).

use std::time::Duration;

use crate::config::issue::{Issue, IssueCode};
use crate::config::mask::quotable;
use crate::config::scalar::{Amount, Quota, Rate};
use crate::config::section::limits::{Cost, Limit};

use super::Checker;

/// A burst that takes longer to come back is a quota, and its times would not be exact any more.
const LONGEST_REFILL: Duration = Duration::from_secs(30 * 86_400);

/// What belongs to a quota, and to no rate.
const OF_QUOTAS: [&str; 3] = ["anchor", "assume", "cost"];

impl Checker<'_> {
    pub(super) fn limits(&mut self) {
        for (name, limit) in &self.config.limits {
            if self.issues.is_enough() {
                return;
            }
            self.name_for_headers("limit", &["limits", name]);
            match (limit.rate, limit.quota) {
                (Some(_), Some(_)) => {
                    let title = format!("`{name}` has both `rate` and `quota`");
                    let help = "keep one of them; two limits can stand in one list, and then both hold";
                    let keys: [&[&str]; 2] = [&["limits", name, "rate"], &["limits", name, "quota"]];
                    self.two_keys(IssueCode::LimitRules, keys, title, help);
                }
                (Some(rate), None) => self.rate(name, limit, rate),
                (None, Some(quota)) => self.quota(name, limit, quota),
                (None, None) if ["rate", "quota"].iter().any(|key| self.is_reported_in_limit(name, key)) => {}
                (None, None) => {
                    let title = format!("`{name}` limits nothing: it has neither `rate` nor `quota`");
                    let help = "add `rate: 50/s`, or `quota: 100000/day`";
                    self.at_key(IssueCode::LimitRules, &["limits", name], title, help);
                }
            }
        }
    }

    fn is_reported_in_limit(&self, name: &str, key: &str) -> bool {
        self.document.is_reported(&["limits", name], key)
    }

    fn rate(&mut self, name: &str, limit: &Limit, rate: Rate) {
        for key in OF_QUOTAS {
            let path = ["limits", name, key];
            if self.document.node(&path).is_some() && !self.is_reported_in_limit(name, "quota") {
                let title = format!("`{key}` belongs to `quota`, and `{name}` has a `rate`, which counts requests");
                self.at_key(IssueCode::LimitRules, &path, title, "remove it, or write a `quota`");
            }
        }
        let Some(burst) = limit.burst else { return };
        let path = ["limits", name, "burst"];
        if burst == 0 {
            let help = format!("write at least 1; left out, it is {}", rate.count());
            let title = "`burst` is zero: nothing would ever be let in".to_owned();
            self.at_value(IssueCode::BadValue, &path, title, &help);
        } else if rate.interval().checked_mul(burst).is_none_or(|refill| refill > LONGEST_REFILL) {
            let most = LONGEST_REFILL.as_nanos() / rate.interval().as_nanos().max(1);
            let title = format!("a burst of {burst} takes more than 30 days to be there again, at {rate}");
            let help = format!("write {most} or less, or a `quota` with `month`");
            self.at_value(IssueCode::BadValue, &path, title, &help);
        }
    }

    fn quota(&mut self, name: &str, limit: &Limit, quota: Quota) {
        if limit.burst.is_some() && !self.is_reported_in_limit(name, "rate") {
            let title = format!("`burst` belongs to `rate`, and `{name}` has a `quota`, all of which may come at once");
            let help = "remove it; to spread requests, put a limit with `rate` beside this one";
            self.at_key(IssueCode::LimitRules, &["limits", name, "burst"], title, help);
        }
        // Then it is not known what is counted.
        if self.is_reported_in_limit(name, "cost") {
            return;
        }
        if let Some(help) = unfit(quota.amount, limit.cost) {
            let title = format!("`{quota}` is {}, and this quota counts {}", kind(quota.amount), counted(limit.cost));
            let help = help.replace("VALUE", &format!("{}/{}", a_day_of(limit.cost), quota.window.word()));
            self.unit(&["limits", name, "quota"], &["limits", name, "cost"], title, &help);
        }
        self.assumed(name, limit);
    }

    /// What an answer costs that does not say it.
    fn assumed(&mut self, name: &str, limit: &Limit) {
        let path = ["limits", name, "assume"];
        let Some(assume) = limit.assume else {
            if limit.cost.needs_assume() && !self.is_reported_in_limit(name, "assume") {
                let title = format!("`{name}` does not say what an answer costs that has no statistics");
                let help = format!(
                    "add `assume: {}`, what is usual, or more: otherwise such answers would cost nothing",
                    example(limit.cost)
                );
                self.at_key(IssueCode::MissingKey, &["limits", name], title, &help);
            }
            return;
        };
        if matches!(limit.cost, Cost::One | Cost::ResponseBytes) {
            let title =
                format!("`assume` has no meaning with `cost: {}`: what an answer costs is always known", limit.cost);
            self.at_key(IssueCode::LimitRules, &path, title, "remove it");
        } else if let Some(help) = unfit(assume, limit.cost) {
            let title = format!("`{assume}` is {}, and this quota counts {}", kind(assume), counted(limit.cost));
            let help = help.replace("VALUE", example(limit.cost));
            self.unit(&path, &["limits", name, "cost"], title, &help);
        } else if assume.units() == 0 {
            let title = "`assume` is zero: an answer without statistics would cost nothing".to_owned();
            let help = format!("write what is usual, or more, like {}", example(limit.cost));
            self.at_value(IssueCode::BadValue, &path, title, &help);
        }
    }

    /// An amount in a unit that `cost` has nothing to do with.
    fn unit(&mut self, path: &[&str], cost: &[&str], title: String, help: &str) {
        let issue = Issue::at(IssueCode::LimitRules, self.document.value_place(path), title).help(help);
        self.issues.push(match self.document.node(cost) {
            Some(_) => issue.related(self.document.value_place(cost), "what is counted"),
            None => issue,
        });
    }

    /// Names of limits and plans stand in headers and metrics.
    pub(super) fn name_for_headers(&mut self, what: &str, path: &[&str]) {
        let name = path.last().copied().unwrap_or_default();
        let wrong = match name.chars().find(|c| !c.is_ascii_alphanumeric() && !"_-".contains(*c)) {
            Some(c) => format!("it has the character {c:?}"),
            None if name.is_empty() => "it is empty".to_owned(),
            None if name.len() > MAX_NAME => format!("it is longer than {MAX_NAME} characters"),
            None => return,
        };
        let shown = quotable(path).into_owned();
        let title = format!("`{shown}` is not a name for a {what}: {wrong}");
        let help = "a name here is 1 to 64 letters, digits, `_` and `-`: it stands in headers and metrics";
        self.at_key(IssueCode::BadValue, path, title, help);
    }
}

/// The longest name of a limit or a plan.
const MAX_NAME: usize = 64;

/// What to do about an amount of another kind than what is counted; none where it fits.
fn unfit(amount: Amount, cost: Cost) -> Option<&'static str> {
    match (amount, cost) {
        (Amount::Count(_), Cost::One | Cost::RowsRead)
        | (Amount::Bytes(_), Cost::BytesRead | Cost::ResponseBytes)
        | (Amount::Time(_), Cost::Seconds) => None,
        (Amount::Bytes(_), Cost::One) => Some("add `cost: bytes_read` or `cost: response_bytes`, or write VALUE"),
        (Amount::Time(_), Cost::One) => Some("add `cost: seconds`, or write VALUE"),
        (Amount::Bytes(_) | Amount::Count(_) | Amount::Time(_), _) => Some("write it like VALUE"),
    }
}

fn kind(amount: Amount) -> &'static str {
    match amount {
        Amount::Bytes(_) => "a size",
        Amount::Count(_) => "a number",
        Amount::Time(_) => "a time",
    }
}

fn counted(cost: Cost) -> &'static str {
    match cost {
        Cost::BytesRead => "bytes that queries read",
        Cost::One => "requests",
        Cost::ResponseBytes => "bytes of answers",
        Cost::RowsRead => "rows that queries read",
        Cost::Seconds => "time that queries take",
    }
}

/// An amount of what is counted, as somebody may use it up in a day.
fn a_day_of(cost: Cost) -> &'static str {
    match cost {
        Cost::BytesRead | Cost::ResponseBytes => "500GB",
        Cost::One => "100000",
        Cost::RowsRead => "1000000000",
        Cost::Seconds => "1h",
    }
}

/// What one request may cost.
fn example(cost: Cost) -> &'static str {
    match cost {
        Cost::BytesRead | Cost::ResponseBytes => "100MB",
        Cost::One => "100000",
        Cost::RowsRead => "1000000",
        Cost::Seconds => "30s",
    }
}
