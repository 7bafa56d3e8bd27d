//! `tollgate usage --by tenant --since 24h`: who used how much.
//!
//! In: the ledger that a gateway writes, whether it runs or not. Out: a table,
//! CSV or JSON. Not here: adding up (`state::usage`).

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::interpolate::Environment;
use crate::config::scalar::{Moment, Period};
use crate::config::{AdminOf, Known, admin_of};
use crate::exchange::usage::Used;
use crate::state::usage::{Answer, Place, Question, Side, ask};

use super::super::{Ending, print, say, show};

pub(super) const EXAMPLES: &str = "\
Examples:
  tollgate usage -c tollgate.yaml                               the last 24 hours, by tenant
  tollgate usage -c tollgate.yaml --by tenant,route --since 7d
  tollgate usage -c tollgate.yaml --by caller --tenant acme --since 1h
  tollgate usage -c tollgate.yaml --by tenant --since 2026-10-01 --until 2026-11-01 --csv";

#[derive(Debug, clap::Args)]
#[group(id = "sums")]
pub(super) struct Arguments {
    /// The configuration of the gateway: its `state.dir` has the ledger
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder that has the ledger, where there is no configuration at hand
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    dir: Option<PathBuf>,
    /// What is told apart: one or several
    #[arg(long, value_parser = sides(), value_delimiter = ',', default_value = "tenant")]
    by: Vec<Side>,
    /// From when on: so long ago (24h, 30d), a day, or a time
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: When,
    /// Until when; left out: now
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
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

/// A time, or how long ago it was.
#[derive(Clone, Copy, Debug)]
enum When {
    Ago(Period),
    At(Moment),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ago = text.parse().map(When::Ago);
        ago.or_else(|_| text.parse().map(When::At)).map_err(|_| {
            "write how long ago, like 24h or 30d, a day like 2026-11-22, or a time like 2026-11-22T10:00:00Z".to_owned()
        })
    }
}

impl When {
    /// In seconds since 1970.
    fn seconds(self, now: SystemTime) -> u64 {
        match self {
            When::Ago(period) => seconds(now.checked_sub(period.duration()).unwrap_or(UNIX_EPOCH)),
            When::At(moment) => moment.unix_seconds(),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let place = place_of(arguments)?;
    let now = Clock::system().wall();
    let sides = &arguments.by;
    let question = Question {
        by: sides.clone(),
        since: arguments.since.seconds(now),
        until: arguments.until.map_or(u64::MAX, |until| until.seconds(now)),
        tenant: arguments.tenant.clone(),
        route: arguments.route.clone(),
    };
    if question.since >= question.until {
        bail!("there is no time between --since and --until");
    }
    let Some(answer) = ask(&place, &question).map_err(anyhow::Error::msg)? else {
        bail!(
            "there is no ledger at {place}: it is made with the first request, unless the file says `usage: {{ ledger: false }}`"
        );
    };
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

fn place_of(arguments: &Arguments) -> anyhow::Result<Place> {
    match (&arguments.dir, &arguments.config) {
        (Some(dir), _) => Ok(Place::Folder(dir.clone())),
        (None, Some(config)) => {
            std::fs::metadata(config).with_context(|| format!("`{}`", config.display()))?;
            let AdminOf { state, store, issues, .. } = admin_of(config, &Environment::of_process());
            if store == Known::Unknown {
                // Another ledger must not be taken for this one.
                show(&issues);
                bail!("where the ledger is cannot be told from the file: give --dir FOLDER for one in a file");
            }
            Ok(Place::of(&state))
        }
        (None, None) => bail!("whose usage? Give the file that the gateway runs: -c FILE"),
    }
}

fn print_csv(sides: &[Side], answer: &Answer) {
    let names = sides.iter().map(|side| side.word()).chain(Used::NAMES);
    print(&names.collect::<Vec<_>>().join(","));
    for (words, used) in &answer.rows {
        let words = words.iter().map(|word| quoted(word));
        print(&words.chain(used.sums().map(|sum| sum.to_string())).collect::<Vec<_>>().join(","));
    }
}

/// RFC 4180, section 2.
fn quoted(word: &str) -> String {
    match word.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", word.replace('"', "\"\"")),
        false => word.to_owned(),
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
    let heads = ["REQUESTS", "REFUSED", "RETRIES", "IN", "OUT", "ROWS READ", "BYTES READ", "UPSTREAM", "UNMEASURED"];
    let mut lines: Vec<Vec<String>> = Vec::new();
    lines.push(sides.iter().map(|side| side.word().to_uppercase()).chain(heads.map(str::to_owned)).collect());
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

fn cells(used: &Used) -> [String; 9] {
    let [
        requests,
        refusals,
        retries,
        request_bytes,
        response_bytes,
        rows_read,
        bytes_read,
        upstream_micros,
        unmeasured,
    ] = used.sums();
    [
        requests.to_string(),
        refusals.to_string(),
        retries.to_string(),
        bytes(request_bytes),
        bytes(response_bytes),
        rows_read.to_string(),
        bytes(bytes_read),
        format!("{:.1}s", upstream_micros as f64 / 1e6),
        unmeasured.to_string(),
    ]
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

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
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

    #[test]
    fn cells_of_spreadsheets_are_quoted_where_they_must_be() {
        assert_eq!([quoted("a"), quoted("a,b"), quoted("a\"b\n")], ["a", "\"a,b\"", "\"a\"\"b\n\""]);
    }
}
