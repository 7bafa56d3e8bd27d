//! What the ledger can be asked.
//!
//! In: a stretch of time, what to tell apart, whose usage. Out: sums. Not here:
//! writing them (`sqlite`), showing them (`cli`).

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};

use crate::exchange::usage::Used;
use crate::state::private::Fault;

use super::sqlite::{signed, used};

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

    /// In SQL, as one text.
    fn column(self) -> &'static str {
        match self {
            Side::Caller => "CASE WHEN provider = '' THEN '' ELSE provider || ':' || caller END",
            Side::Class => "class || 'xx'",
            Side::Day => "strftime('%Y-%m-%d', start, 'unixepoch')",
            Side::Hour => "strftime('%Y-%m-%dT%H:00Z', start, 'unixepoch')",
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
    /// Asks a database whose sums have these names.
    pub(super) fn ask(&self, connection: &Connection, sums: &[&str]) -> Result<Answer, Fault> {
        let sides: Vec<&str> = self.by.iter().map(|side| side.column()).collect();
        let mut columns: Vec<String> = sides.iter().map(|side| (*side).to_owned()).collect();
        columns.extend(sums.iter().map(|sum| format!("coalesce(sum({sum}), 0)")));
        columns.extend(["min(start)".to_owned(), "max(start + span)".to_owned(), "count(*)".to_owned()]);
        let mut text = format!("SELECT {} FROM usage WHERE start + span > ?1 AND start < ?2", columns.join(", "));
        let (since, until) = (signed(self.since), signed(self.until));
        let mut values: Vec<&dyn ToSql> = vec![&since, &until];
        for (name, value) in [("tenant", &self.tenant), ("route", &self.route)] {
            if let Some(value) = value {
                values.push(value);
                text.push_str(&format!(" AND {name} = ?{}", values.len()));
            }
        }
        if !sides.is_empty() {
            let places = |is_wanted: &dyn Fn(&Side) -> bool| -> Vec<String> {
                let wanted = self.by.iter().enumerate().filter(|(_, side)| is_wanted(side));
                wanted.map(|(index, _)| (index + 1).to_string()).collect()
            };
            let mut order = places(&|side| side.is_time());
            order.push(format!("sum({}) DESC", sums.first().unwrap_or(&"1")));
            order.extend(places(&|side| !side.is_time()));
            text.push_str(&format!(" GROUP BY {} ORDER BY {}", places(&|_| true).join(", "), order.join(", ")));
        }
        let mut statement = connection.prepare(&text)?;
        let found = statement.query_map(values.as_slice(), |row| line(row, sides.len(), sums.len()))?;
        let mut answer = Answer::default();
        for line in found {
            let Line { sides, used, span, count } = line?;
            if count > 0 {
                answer.rows.push((sides, used));
                let (first, last) = answer.span.unwrap_or(span);
                answer.span = Some((first.min(span.0), last.max(span.1)));
            }
        }
        Ok(answer)
    }
}

/// What one line of the database says.
struct Line {
    sides: Vec<String>,
    used: Used,
    span: (u64, u64),
    count: i64,
}

fn line(row: &Row<'_>, sides: usize, sums: usize) -> rusqlite::Result<Line> {
    let number = |index: usize| row.get::<_, Option<i64>>(index).map(|number| number.unwrap_or(0).unsigned_abs());
    Ok(Line {
        sides: (0..sides).map(|index| row.get(index)).collect::<rusqlite::Result<_>>()?,
        used: used(row, sides)?,
        span: (number(sides + sums)?, number(sides + sums + 1)?),
        count: row.get(sides + sums + 2)?,
    })
}
