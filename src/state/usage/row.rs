//! A line of the ledger, as others get it.
//!
//! In: what the ledger holds. Out: JSON or CSV with an id, by which who gets a
//! line twice knows that it is the same. Not here: reading it (`sqlite`).

use std::fmt::Write as _;

use chrono::DateTime;
use ring::digest::{Context, SHA256};
use serde::Serialize;
use serde_json::Value;

use crate::exchange::usage::Used;

/// Bytes of an id: two lines of a billion gateways in a billion minutes are told apart.
const ID: usize = 16;

/// What was used in a stretch of time, by one caller on one route with answers of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// When the stretch began, in seconds since 1970.
    pub start: u64,
    /// How long it is, in seconds: a minute, an hour or a day.
    pub span: u64,
    /// Whose rows were asked for; empty without a tenant.
    pub tenant: String,
    /// The provider of the caller's credential; empty for nobody.
    pub provider: String,
    /// Who asked; empty for nobody.
    pub caller: String,
    /// The configured pattern; empty where none matched.
    pub route: String,
    /// The first digit of the answers' status.
    pub class: u8,
    /// The sums.
    pub used: Used,
}

/// The columns of a [`Row`] for others, in their order.
pub const COLUMNS: [&str; 18] = [
    "id",
    "gateway",
    "start",
    "seconds",
    "tenant",
    "provider",
    "caller",
    "route",
    "class",
    "requests",
    "refusals",
    "retries",
    "request_bytes",
    "response_bytes",
    "rows_read",
    "bytes_read",
    "upstream_micros",
    "unmeasured",
];

/// As [`COLUMNS`], with the types that JSON has.
#[derive(Serialize)]
struct Line<'a> {
    id: String,
    gateway: &'a str,
    start: String,
    seconds: u64,
    tenant: &'a str,
    provider: &'a str,
    caller: &'a str,
    route: &'a str,
    class: u8,
    #[serde(flatten)]
    used: Used,
}

impl Row {
    /// The same for the same line of the same ledger, whatever its sums are.
    pub fn id(&self, gateway: &str) -> String {
        let Row { start, span, tenant, provider, caller, route, class, used: _ } = self;
        let mut context = Context::new(&SHA256);
        for text in [gateway, tenant, provider, caller, route] {
            // With its length: `a` and `bc` are not `ab` and `c`.
            context.update(&text.len().to_le_bytes());
            context.update(text.as_bytes());
        }
        context.update(&start.to_le_bytes());
        context.update(&span.to_le_bytes());
        context.update(&[*class]);
        let digest = context.finish();
        digest.as_ref().iter().take(ID).fold(String::with_capacity(2 * ID), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// One line of NDJSON, with its end.
    pub fn json(&self, gateway: &str) -> String {
        // Texts and numbers can always be written.
        let mut text = serde_json::to_string(&self.line(gateway)).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The cells of a line of CSV, in the order of [`COLUMNS`].
    pub fn cells(&self, gateway: &str) -> [String; COLUMNS.len()] {
        let line = serde_json::to_value(self.line(gateway)).unwrap_or_default();
        COLUMNS.map(|column| match line.get(column) {
            Some(Value::String(text)) => text.clone(),
            Some(number) => number.to_string(),
            None => String::new(),
        })
    }

    fn line<'a>(&'a self, gateway: &'a str) -> Line<'a> {
        let Row { start, span, tenant, provider, caller, route, class, used } = self;
        Line {
            id: self.id(gateway),
            gateway,
            start: moment(*start),
            seconds: *span,
            tenant,
            provider,
            caller,
            route,
            class: *class,
            used: *used,
        }
    }
}

/// As ClickHouse reads a `DateTime`, in UTC.
fn moment(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.unwrap_or_default().format("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        Row {
            start: 1_795_435_200,
            span: 60,
            tenant: "acme".to_owned(),
            provider: "keys".to_owned(),
            caller: "k\"1,\n".to_owned(),
            route: "/top".to_owned(),
            class: 2,
            used: Used { requests: 3, upstream_micros: u64::MAX, ..Used::default() },
        }
    }

    #[test]
    fn json_has_every_column_and_no_other() {
        let text = row().json("g");
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
        let mut columns = COLUMNS.to_vec();
        columns.sort_unstable();
        assert_eq!(line.keys().map(String::as_str).collect::<Vec<_>>(), columns);
        assert_eq!(line["start"], "2026-11-23 12:00:00");
        assert_eq!(line["upstream_micros"], u64::MAX);
    }

    #[test]
    fn cells_say_what_json_says() {
        let cells = row().cells("g");
        let at = |column: &str| &cells[COLUMNS.iter().position(|name| *name == column).unwrap()];
        assert_eq!([at("gateway"), at("caller"), at("requests"), at("class")], ["g", "k\"1,\n", "3", "2"]);
        assert_eq!(at("id"), &row().id("g"));
    }

    #[test]
    fn an_id_is_of_a_line_and_not_of_its_sums() {
        let id = row().id("g");
        assert_eq!(id.len(), 32);
        assert_eq!(Row { used: Used::default(), ..row() }.id("g"), id);
        let others = [
            Row { start: 0, ..row() },
            Row { span: 3_600, ..row() },
            Row { class: 4, ..row() },
            Row { tenant: String::new(), ..row() },
            Row { tenant: "acm".to_owned(), provider: "ekeys".to_owned(), ..row() },
            Row { route: "/to".to_owned(), ..row() },
        ];
        for other in others {
            assert_ne!(other.id("g"), id, "{other:?}");
        }
        assert_ne!(row().id("h"), id);
    }
}
