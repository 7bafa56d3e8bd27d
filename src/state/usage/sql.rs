//! The SQL that databases of the ledger have in common.
//!
//! In: which of them it is for. Out: texts, and values as they take them. Not
//! here: connections and tables (`sqlite`,
//! `postgres`), questions (`question`).

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

/// The largest number in a row; more is not counted. What an upstream says of itself may be anything, and sums of many such
/// rows must stay numbers.
const MOST: i64 = 1 << 53;

/// Which database it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "the same texts, whatever is built"))]
pub(super) enum Dialect {
    Postgres,
    Sqlite,
}

impl Dialect {
    /// The table of sums.
    pub(super) fn table(self) -> &'static str {
        match self {
            Dialect::Postgres => "tollgate_usage",
            Dialect::Sqlite => "usage",
        }
    }

    /// Where a value stands.
    pub(super) fn place(self, number: usize) -> String {
        match self {
            Dialect::Postgres => format!("${number}"),
            Dialect::Sqlite => format!("?{number}"),
        }
    }

    /// What rows are told apart by, as one text.
    pub(super) fn side(self, side: Side) -> &'static str {
        match (side, self) {
            (Side::Caller, _) => "CASE WHEN provider = '' THEN '' ELSE provider || ':' || caller END",
            (Side::Class, _) => "class || 'xx'",
            (Side::Day, Dialect::Postgres) => "to_char(to_timestamp(start) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
            (Side::Day, Dialect::Sqlite) => "strftime('%Y-%m-%d', start, 'unixepoch')",
            (Side::Hour, Dialect::Postgres) => {
                r#"to_char(to_timestamp(start) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24":00Z"')"#
            }
            (Side::Hour, Dialect::Sqlite) => "strftime('%Y-%m-%dT%H:00Z', start, 'unixepoch')",
            (Side::Route, _) => "route",
            (Side::Tenant, _) => "tenant",
        }
    }

    /// Many rows' sum.
    pub(super) fn sum(self, name: &str) -> String {
        match self {
            Dialect::Postgres => format!("least(sum({name}), {})::bigint", i64::MAX),
            Dialect::Sqlite => format!("sum({name})"),
        }
    }

    /// Writes what `source` gives: start, span, whose, and the sums. Where there are sums already, these are added.
    pub(super) fn add(self, source: &str) -> String {
        let table = self.table();
        let added = Used::NAMES.map(|sum| match self {
            Dialect::Postgres => format!("{sum} = least({table}.{sum}::numeric + excluded.{sum}, {MOST})::bigint"),
            Dialect::Sqlite => format!("{sum} = min({table}.{sum} + excluded.{sum}, {MOST})"),
        });
        let (names, added) = (Used::NAMES.join(", "), added.join(", "));
        format!(
            "INSERT INTO {table} (start, span, {WHOSE}, {names}) {source} ON CONFLICT (start, span, {WHOSE}) DO UPDATE SET \
             {added}"
        )
    }

    /// Adds up what is old, in the order of the values: to which span, before when, from which span. What was added up goes
    /// at once in Postgres, where others write meanwhile; see [`Dialect::remove_widened`].
    pub(super) fn widen(self) -> String {
        let [span, before, from] = [1, 2, 3].map(|number| self.place(number));
        let (table, sums) = (self.table(), Used::NAMES.map(|sum| self.sum(sum)).join(", "));
        let old = format!("{table} WHERE start < {before} AND span = {from}");
        let (first, source) = match self {
            Dialect::Postgres => (format!("WITH old AS (DELETE FROM {old} RETURNING *) "), "old"),
            Dialect::Sqlite => (String::new(), old.as_str()),
        };
        let wide = format!("start - start % {span}");
        let added = format!("SELECT {wide}, {span}, {WHOSE}, {sums} FROM {source} GROUP BY {wide}, {WHOSE}");
        format!("{first}{}", self.add(&added))
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
    i64::try_from(number).map_or(MOST, |number| number.min(MOST))
}

/// A number that databases kept.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
