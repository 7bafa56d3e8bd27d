//! What the ledger can be asked.
//!
//! In: a stretch of time, what to tell apart, whose usage. Out: the SQL that asks
//! for it, and sums. Not here: databases (`sqlite`), showing sums (`cli`).

use crate::exchange::usage::Used;

use super::sql::{Dialect, signed, unsigned};

/// What sums are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The provider and the credential's own word for its bearer.
    Caller,
    /// The first digit of the status.
    Class,
    /// The day, in UTC.
    Day,
    /// The hour, in UTC.
    Hour,
    /// The route.
    Route,
    /// The tenant.
    Tenant,
}

impl Side {
    /// All there are.
    pub const ALL: [Side; 6] = [Side::Caller, Side::Class, Side::Day, Side::Hour, Side::Route, Side::Tenant];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Side::Caller => "caller",
            Side::Class => "class",
            Side::Day => "day",
            Side::Hour => "hour",
            Side::Route => "route",
            Side::Tenant => "tenant",
        }
    }

    fn is_time(self) -> bool {
        matches!(self, Side::Day | Side::Hour)
    }
}

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// What sums are told apart by, in this order; all together where it is empty.
    pub by: Vec<Side>,
    /// Seconds since 1970. What is kept by the hour or the day counts if it ends after that.
    pub since: u64,
    /// Seconds since 1970; what begins then or later does not count.
    pub until: u64,
    /// This tenant's only.
    pub tenant: Option<String>,
    /// This route's only.
    pub route: Option<String>,
}

/// Sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// A text for each side that was asked for, empty where there is nobody or nothing; what was used.
    pub rows: Vec<(Vec<String>, Used)>,
    /// When the earliest of it began and the last ended, in seconds since 1970.
    pub span: Option<(u64, u64)>,
}

impl Question {
    /// Asks for a [`Line`] for each of the answer's: the sides, the sums, when the earliest began and the last ended, and
    /// how many rows of the ledger that is. The most first, but for stretches of time, which come in their order.
    pub(super) fn sql(&self, dialect: Dialect) -> String {
        let mut columns: Vec<String> = self.by.iter().map(|side| dialect.side(*side).to_owned()).collect();
        columns.extend(Used::NAMES.map(|sum| format!("coalesce({}, 0)", dialect.sum(sum))));
        columns.extend(["min(start)", "max(start + span)", "count(*)"].map(str::to_owned));
        let [since, until] = [1, 2].map(|number| dialect.place(number));
        let table = dialect.table();
        let mut text =
            format!("SELECT {} FROM {table} WHERE start + span > {since} AND start < {until}", columns.join(", "));
        let filters =
            [("tenant", &self.tenant), ("route", &self.route)].into_iter().filter(|(_, value)| value.is_some());
        for (index, (name, _)) in filters.enumerate() {
            text.push_str(&format!(" AND {name} = {}", dialect.place(index + 3)));
        }
        if !self.by.is_empty() {
            let places = |is_wanted: &dyn Fn(&Side) -> bool| -> Vec<String> {
                let wanted = self.by.iter().enumerate().filter(|(_, side)| is_wanted(side));
                wanted.map(|(index, _)| (index + 1).to_string()).collect()
            };
            let mut order = places(&|side| side.is_time());
            order.push("sum(requests) DESC".to_owned());
            order.extend(places(&|side| !side.is_time()));
            text.push_str(&format!(" GROUP BY {} ORDER BY {}", places(&|_| true).join(", "), order.join(", ")));
        }
        text
    }

    /// What stands in the first two places of the SQL.
    pub(super) fn times(&self) -> [i64; 2] {
        [signed(self.since), signed(self.until)]
    }

    /// What stands in the others.
    pub(super) fn words(&self) -> impl Iterator<Item = &String> {
        [&self.tenant, &self.route].into_iter().flatten()
    }
}

/// What one line of a database's answer says.
pub(super) struct Line {
    pub(super) sides: Vec<String>,
    pub(super) sums: [i64; 9],
    /// Without rows there is none.
    pub(super) span: (Option<i64>, Option<i64>),
    pub(super) rows: i64,
}

impl Answer {
    /// Adds a line. A sum of nothing is a line, too, and says nothing.
    pub(super) fn add(&mut self, line: Line) {
        let Line { sides, sums, span, rows } = line;
        let (Some(begin), Some(end), true) = (span.0, span.1, rows > 0) else { return };
        let (begin, end) = (unsigned(begin), unsigned(end));
        let (first, last) = self.span.unwrap_or((begin, end));
        self.span = Some((first.min(begin), last.max(end)));
        self.rows.push((sides, Used::of(sums.map(unsigned))));
    }
}
