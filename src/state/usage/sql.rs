//! The SQL that databases of the ledger have in common.
//!
//! In: which of them it is for. Out: texts, and values as they take them. Not
//! here: connections and tables (`sqlite`), questions (`question`).

use crate::exchange::usage::{UsageKey, Used};

use super::question::Side;

pub(super) const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// For so long minutes are told apart, in seconds: two days, which is also how far an export may fall behind.
const MINUTES_KEPT: i64 = 2 * DAY;
/// For so long hours are: the month before this one can be billed by them.
const HOURS_KEPT: i64 = 62 * DAY;

/// What sums are kept for, but for the time.
pub(super) const WHOSE: &str = "tenant, provider, caller, route, class";

/// Which database it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
}

impl Dialect {
    /// The table of sums.
    pub(super) fn table(self) -> &'static str {
        match self {
            Dialect::Sqlite => "usage",
        }
    }

    /// Where a value stands.
    pub(super) fn place(self, number: usize) -> String {
        match self {
            Dialect::Sqlite => format!("?{number}"),
        }
    }

    /// What rows are told apart by, as one text.
    pub(super) fn side(self, side: Side) -> &'static str {
        match (side, self) {
            (Side::Caller, _) => "CASE WHEN provider = '' THEN '' ELSE provider || ':' || caller END",
            (Side::Class, _) => "class || 'xx'",
            (Side::Day, Dialect::Sqlite) => "strftime('%Y-%m-%d', start, 'unixepoch')",
            (Side::Hour, Dialect::Sqlite) => "strftime('%Y-%m-%dT%H:00Z', start, 'unixepoch')",
            (Side::Route, _) => "route",
            (Side::Tenant, _) => "tenant",
        }
    }

    /// Many rows' sum.
    pub(super) fn sum(self, name: &str) -> String {
        match self {
            Dialect::Sqlite => format!("sum({name})"),
        }
    }

    /// Writes what `source` gives: start, span, whose, and the sums. Where there are sums already, these are added.
    pub(super) fn add(self, source: &str) -> String {
        let table = self.table();
        let added = Used::NAMES.map(|sum| match self {
            Dialect::Sqlite => format!("{sum} = {table}.{sum} + excluded.{sum}"),
        });
        let (names, added) = (Used::NAMES.join(", "), added.join(", "));
        format!(
            "INSERT INTO {table} (start, span, {WHOSE}, {names}) {source} ON CONFLICT (start, span, {WHOSE}) DO UPDATE SET \
             {added}"
        )
    }

    /// Adds up what is old, in the order of the values: to which span, before when, from which span.
    pub(super) fn widen(self) -> String {
        let [span, before, from] = [1, 2, 3].map(|number| self.place(number));
        let (table, sums) = (self.table(), Used::NAMES.map(|sum| self.sum(sum)).join(", "));
        self.add(&format!(
            "SELECT start - start % {span}, {span}, {WHOSE}, {sums} FROM {table} WHERE start < {before} AND span = {from} \
             GROUP BY start - start % {span}, {WHOSE}"
        ))
    }

    /// Removes what was added up: before when, of which span.
    pub(super) fn remove_widened(self) -> String {
        format!("DELETE FROM {} WHERE start < {} AND span = {}", self.table(), self.place(1), self.place(2))
    }

    /// Removes what had ended by then.
    pub(super) fn remove_old(self) -> String {
        format!("DELETE FROM {} WHERE start + span <= {}", self.table(), self.place(1))
    }
}

/// Minutes that become hours, and hours that become days: which span, to which, before when.
pub(super) fn widenings(now: i64) -> [(i64, i64, i64); 2] {
    [(MINUTE, HOUR, now - MINUTES_KEPT), (HOUR, DAY, now - HOURS_KEPT)]
        // Whole ones only, so that none is written twice.
        .map(|(span, wider, before)| (span, wider, before - before.rem_euclid(wider)))
}

/// A key as its columns. Empty texts stand for nobody, and for no route.
pub(super) struct Columns<'a> {
    pub(super) start: i64,
    pub(super) tenant: &'a str,
    pub(super) provider: &'a str,
    pub(super) caller: &'a str,
    pub(super) route: &'a str,
    pub(super) class: u8,
}

impl<'a> From<&'a UsageKey> for Columns<'a> {
    fn from(key: &'a UsageKey) -> Self {
        let UsageKey { minute, tenant, caller, route, class } = key;
        let (provider, caller) = caller.as_ref().map_or(("", ""), |(provider, id)| (provider, id));
        Columns {
            start: i64::from(*minute) * MINUTE,
            tenant: tenant.as_ref().map_or("", |tenant| tenant.as_str()),
            provider,
            caller,
            route: route.as_deref().unwrap_or_default(),
            class: *class,
        }
    }
}

/// A number as databases keep it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that databases kept.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
