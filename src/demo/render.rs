//! Rows as bytes, in ClickHouse's formats.
//!
//! In: a `Table`, a `Format`, the time it took. Out: a body. 64-bit integers stay unquoted and
//! slashes are escaped (`\/`), as ClickHouse does by default, so that a gateway which re-serialises
//! bodies is found out.
//! **Not here**: running the query (`query`).

use std::fmt::Write as _;
use std::time::Duration;

use rusqlite::types::Value;

use super::answer::{Answer, JSON};
use super::query::Table;

/// The formats in which rows can leave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// With a header line.
    Csv,
    /// One document with `meta`, `data` and `statistics`.
    Json,
    /// One object per line.
    Ndjson,
}

impl Format {
    /// By the extension of a pipe's URL.
    pub(super) fn from_extension(extension: &str) -> Option<Self> {
        match extension {
            "csv" | "csvwithnames" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "ndjson" => Some(Self::Ndjson),
            _ => None,
        }
    }

    /// By the name in a `FORMAT` clause.
    pub(super) fn from_clause(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "csv" | "csvwithnames" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "jsoneachrow" => Some(Self::Ndjson),
            _ => None,
        }
    }
}

/// Writes a result out.
pub(super) fn render(table: &Table, format: Format, elapsed: Duration) -> Answer {
    match format {
        Format::Csv => Answer::ok("text/csv; charset=utf-8", csv(table)),
        Format::Json => Answer::ok(JSON, json(table, elapsed)),
        Format::Ndjson => Answer::ok("application/x-ndjson", ndjson(table)),
    }
}

fn json(table: &Table, elapsed: Duration) -> String {
    let mut out = String::from("{\n\t\"meta\":\n\t[");
    for (at, column) in table.columns.iter().enumerate() {
        out.push_str(if at == 0 { "\n" } else { ",\n" });
        let _ = write!(
            out,
            "\t\t{{\n\t\t\t\"name\": {},\n\t\t\t\"type\": {}\n\t\t}}",
            quoted(&column.name),
            quoted(column.kind)
        );
    }
    out.push_str("\n\t],\n\n\t\"data\":\n\t[");
    for (at, row) in table.rows.iter().enumerate() {
        out.push_str(if at == 0 { "\n\t\t{\n" } else { ",\n\t\t{\n" });
        members(&mut out, table, row, (",\n", "\t\t\t", ": "));
        out.push_str("\n\t\t}");
    }
    let _ = write!(out, "\n\t],\n\n\t\"rows\": {},\n\n", table.rows.len());
    if let Some(rows) = table.rows_before_limit {
        let _ = write!(out, "\t\"rows_before_limit_at_least\": {rows},\n\n");
    }
    let _ = write!(
        out,
        "\t\"statistics\":\n\t{{\n\t\t\"elapsed\": {:.9},\n\t\t\"rows_read\": {},\n\t\t\"bytes_read\": {}\n\t}}\n}}\n",
        elapsed.as_secs_f64(),
        table.read.rows,
        table.read.bytes
    );
    out
}

fn ndjson(table: &Table) -> String {
    let mut out = String::new();
    for row in &table.rows {
        out.push('{');
        members(&mut out, table, row, (",", "", ":"));
        out.push_str("}\n");
    }
    out
}

/// The members of one row's object; `marks` are what stands between members, before a name, and
/// after it.
fn members(out: &mut String, table: &Table, row: &[Value], marks: (&str, &str, &str)) {
    let (between, before, after) = marks;
    for (at, (column, value)) in table.columns.iter().zip(row).enumerate() {
        out.push_str(if at == 0 { "" } else { between });
        let _ = write!(out, "{before}{}{after}", quoted(&column.name));
        match value {
            Value::Text(text) => out.push_str(&quoted(text)),
            Value::Blob(_) | Value::Integer(_) | Value::Null | Value::Real(_) => out.push_str(&plain(value, "null")),
        }
    }
}

fn csv(table: &Table) -> String {
    let names: Vec<String> = table.columns.iter().map(|column| csv_quoted(&column.name)).collect();
    let mut out = names.join(",");
    out.push('\n');
    for row in &table.rows {
        for (at, value) in row.iter().enumerate() {
            out.push_str(if at == 0 { "" } else { "," });
            match value {
                Value::Text(text) => out.push_str(&csv_quoted(text)),
                Value::Blob(_) | Value::Integer(_) | Value::Null | Value::Real(_) => out.push_str(&plain(value, "\\N")),
            }
        }
        out.push('\n');
    }
    out
}

/// What needs no quotes. A blob can only come from a caller's own SQL and has no place in these
/// formats.
fn plain(value: &Value, null: &str) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Real(number) if number.is_finite() => number.to_string(),
        Value::Blob(_) | Value::Null | Value::Real(_) | Value::Text(_) => null.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('/', "\\/")
}

fn csv_quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
