//! `tollgate usage --by tenant --since 24h`: who used how much.
//!
//! In: the ledger that a gateway writes, whether it runs or not. Out: a table,
//! CSV or JSON. Not here: adding up (`state::usage`).

use std::time::UNIX_EPOCH;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};

use crate::config::scalar::Moment;
use crate::exchange::usage::Used;
use crate::state::usage::{Answer, Place, Question, Side, ask};

use super::super::{Ending, print, say};
use super::source::{Source, no_ledger, quoted};

pub(super) const EXAMPLES: &str = "\
Examples:
  tollgate usage -c tollgate.yaml                               the last 24 hours, by tenant
  tollgate usage -c tollgate.yaml --by tenant,route --since 7d
  tollgate usage -c tollgate.yaml --by caller --tenant acme --since 1h
  tollgate usage -c tollgate.yaml --by tenant --since 2026-10-01 --until 2026-11-01 --csv";

#[derive(Debug, clap::Args)]
#[group(id = "sums")]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// What is told apart: one or several
    #[arg(long, value_parser = sides(), value_delimiter = ',', default_value = "tenant")]
    by: Vec<Side>,
    /// Only this tenant's; '' for requests without a tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Only of this route: its key under `routes`
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Exact numbers for spreadsheets
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Exact numbers for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let place = arguments.source.place()?;
    let (since, until) = arguments.source.stretch()?;
    let sides = &arguments.by;
    let question =
        Question { by: sides.clone(), since, until, tenant: arguments.tenant.clone(), route: arguments.route.clone() };
    let answer = ask(&place, &question).map_err(anyhow::Error::msg)?.ok_or_else(|| no_ledger(&place))?;
    match (arguments.csv, arguments.json) {
        (true, _) => print_csv(sides, &answer),
        (_, true) => print(&document(sides, &question, &answer).to_string()),
        (false, false) => print_text(sides, &answer, &place),
    }
    Ok(Ending::Success)
}

/// What can be told apart, as it is written.
fn sides() -> impl TypedValueParser<Value = Side> {
    let side = |word: String| Side::ALL.into_iter().find(|side| side.word() == word).ok_or("not a word for this");
    PossibleValuesParser::new(Side::ALL.map(Side::word)).try_map(side)
}

fn print_csv(sides: &[Side], answer: &Answer) {
    let names = sides.iter().map(|side| side.word()).chain(Used::NAMES);
    print(&names.collect::<Vec<_>>().join(","));
    for (words, used) in &answer.rows {
        let words = words.iter().map(|word| quoted(word));
        print(&words.chain(used.sums().map(|sum| sum.to_string())).collect::<Vec<_>>().join(","));
    }
}

fn document(sides: &[Side], question: &Question, answer: &Answer) -> Value {
    let rows = answer.rows.iter().map(|(words, used)| {
        let mut row = serde_json::Map::new();
        for (side, word) in sides.iter().zip(words) {
            // Nobody is no name.
            let word = if word.is_empty() { Value::Null } else { word.as_str().into() };
            row.insert(side.word().to_owned(), word);
        }
        row.extend(Used::NAMES.into_iter().zip(used.sums()).map(|(name, sum)| (name.to_owned(), sum.into())));
        Value::Object(row)
    });
    let rows: Vec<Value> = rows.collect();
    json!({
        "since": moment(question.since),
        "until": moment(question.until),
        "from": answer.span.and_then(|(first, _)| moment(first)),
        "to": answer.span.and_then(|(_, last)| moment(last)),
        "usage": rows,
    })
}

fn print_text(sides: &[Side], answer: &Answer, place: &Place) {
    let Some((first, last)) = answer.span else {
        return say(&format!("nothing was used in that time, says {place}"));
    };
    let heads = COLUMNS.map(|(head, _)| head.to_owned());
    let mut lines: Vec<Vec<String>> = Vec::new();
    lines.push(sides.iter().map(|side| side.word().to_uppercase()).chain(heads).collect());
    let mut total = Used::default();
    for (words, used) in &answer.rows {
        total += *used;
        let words = sides.iter().zip(words).map(|(side, word)| named(*side, word));
        lines.push(words.chain(cells(used)).collect());
    }
    if answer.rows.len() > 1 {
        let first = if sides.is_empty() { None } else { Some("(all)".to_owned()) };
        let words = first.into_iter().chain(sides.iter().skip(1).map(|_| String::new()));
        lines.push(words.chain(cells(&total)).collect());
    }
    table(&lines, sides.len());
    let time = |seconds: u64| moment(seconds).unwrap_or_default();
    say(&format!("from {} to {}", time(first), time(last)));
}

fn named(side: Side, word: &str) -> String {
    match (word, side) {
        ("", Side::Tenant) => "(no tenant)".to_owned(),
        ("", Side::Caller) => "(nobody)".to_owned(),
        ("", Side::Route) => "(no route)".to_owned(),
        // Whoever makes tokens chooses names: a terminal obeys nobody.
        (word, _) => {
            word.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
        }
    }
}

/// A column of sums for people: its head, and how a number is shown.
type Column = (&'static str, fn(u64) -> String);

/// In the order of [`Used::sums`].
const COLUMNS: [Column; Used::NAMES.len()] = [
    ("REQUESTS", count),
    ("REFUSED", count),
    ("RETRIES", count),
    ("IN", bytes),
    ("OUT", bytes),
    ("ROWS READ", count),
    ("BYTES READ", bytes),
    ("UPSTREAM", seconds),
    ("UNMEASURED", count),
];

fn cells(used: &Used) -> impl Iterator<Item = String> {
    COLUMNS.iter().zip(used.sums()).map(|((_, shown), sum)| shown(sum))
}

fn count(number: u64) -> String {
    number.to_string()
}

/// Of microseconds.
fn seconds(micros: u64) -> String {
    format!("{:.1}s", micros as f64 / 1e6)
}

/// With three digits: `1.23 MB`.
fn bytes(number: u64) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut size, mut unit) = (number as f64, "B");
    for next in units {
        if size < 999.5 {
            break;
        }
        (size, unit) = (size / 1000.0, next);
    }
    match (unit, size) {
        ("B", _) => format!("{number} B"),
        (_, size) if size < 9.995 => format!("{size:.2} {unit}"),
        (_, size) if size < 99.95 => format!("{size:.1} {unit}"),
        _ => format!("{size:.0} {unit}"),
    }
}

/// Words to the left, numbers to the right.
fn table(lines: &[Vec<String>], words: usize) {
    let mut widths = vec![0; lines.first().map_or(0, Vec::len)];
    for line in lines {
        widths.iter_mut().zip(line).for_each(|(width, cell)| *width = cell.chars().count().max(*width));
    }
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(index, (cell, width))| match index < words {
            true => format!("{cell:width$}"),
            false => format!("{cell:>width$}"),
        });
        print(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn moment(seconds: u64) -> Option<String> {
    let time = UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))?;
    Moment::of(time).map(|moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_995, "10.0 kB"),
            (99_949, "99.9 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (5_000_000_000_000, "5.00 TB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
