//! How limits stand, as a person reads it and as programs do.
//!
//! In: [`Row`]s. Out: aligned plain text, JSON. Not here: which rows.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::config::section::limits::Dimension;
use crate::pipeline::limits::{Limit, Subject, words};
use crate::snapshot::counts::Held;
use crate::state::counters::{Mode, Rule, Standing};

/// Places that are named in a cell.
const NAMED: usize = 3;

/// One count, or a limit of which it is not known which count is meant.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) held: &'a Held<'a>,
    /// None where something must be said first.
    pub(super) count: Option<(Subject<'a>, Standing)>,
}

impl Row<'_> {
    fn limit(&self) -> &Limit {
        self.held.limit
    }

    /// Whose count it is.
    pub(super) fn who(&self) -> String {
        match &self.count {
            Some((subject, _)) => words::who(self.limit().dimensions(), subject),
            None => needs(self.held),
        }
    }

    /// How much is left, of how much.
    pub(super) fn left(&self) -> Option<(String, String)> {
        let (_, standing) = self.count.as_ref()?;
        let rule = self.limit().rule();
        Some((words::amount(&rule, standing.remaining), words::amount(&rule, standing.total)))
    }

    /// For programs.
    pub(super) fn json(&self, config: &Config) -> Value {
        let limit = self.limit();
        let mut row = json!({
            "limit": &*limit.name,
            "allows": allows(config, limit),
            "attached": self.held.places.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "by": limit.dimensions().iter().map(|dimension| dimension.word()).collect::<Vec<_>>(),
            "dry_run": limit.mode() == Mode::DryRun,
            "unit": words::unit(&limit.rule()),
        });
        let more = match &self.count {
            None => json!({ "needs": self.held.missing.iter().map(|dimension| flag(*dimension)).collect::<Vec<_>>() }),
            Some((subject, standing)) => json!({
                "counted": counted(limit, subject),
                "remaining": standing.remaining,
                "total": standing.total,
                "wait_ms": millis(standing.wait),
                "whole_ms": millis(standing.whole),
            }),
        };
        if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
            row.extend(more);
        }
        row
    }

    fn cells(&self, config: &Config) -> [String; 8] {
        let limit = self.limit();
        let name = match limit.mode() {
            Mode::DryRun => format!("{} (dry run)", limit.name),
            Mode::Enforced => limit.name.to_string(),
        };
        let (left, total) = self.left().unwrap_or_else(|| ("?".to_owned(), "?".to_owned()));
        let times = self.count.as_ref().map(|(_, standing)| [next(standing), whole(standing, &limit.rule())]);
        let [next, whole] = times.unwrap_or_else(|| ["?".to_owned(), "?".to_owned()]);
        [name, self.who(), allows(config, limit), left, total, next, whole, places(self.held)]
    }
}

fn allows(config: &Config, limit: &Limit) -> String {
    config.limits.get(&*limit.name).map(words::allows).unwrap_or_default()
}

/// What tells a count apart, by dimension; null where requests do not have it.
fn counted(limit: &Limit, subject: &Subject<'_>) -> Value {
    let of = |dimension: &Dimension| (dimension.word().to_owned(), words::value(*dimension, subject).into());
    let apart = limit.dimensions().iter().filter(|dimension| **dimension != Dimension::Gateway);
    Value::Object(apart.map(of).collect::<Map<String, Value>>())
}

/// The option that says which count is meant.
pub(super) fn flag(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Caller => "caller",
        Dimension::Gateway => "limit",
        Dimension::Host => "host",
        Dimension::Ip => "ip",
        Dimension::Route => "route",
        Dimension::Tenant => "tenant",
    }
}

/// What must be said first.
pub(super) fn needs(held: &Held<'_>) -> String {
    let flags = held.missing.iter().map(|dimension| match dimension {
        Dimension::Caller => "--caller PROVIDER:ID",
        Dimension::Gateway => "--limit NAME",
        Dimension::Host => "--host HOST",
        Dimension::Ip => "--ip ADDRESS",
        Dimension::Route => "--route KEY",
        Dimension::Tenant => "--tenant TENANT",
    });
    format!("give {}", flags.collect::<Vec<_>>().join(" and "))
}

fn places(held: &Held<'_>) -> String {
    let mut names: Vec<String> = held.places.iter().take(NAMED).map(ToString::to_string).collect();
    let more = held.places.len().saturating_sub(NAMED);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

fn next(standing: &Standing) -> String {
    match standing.wait.is_zero() {
        true => "now".to_owned(),
        false => format!("in {}", words::span(standing.wait)),
    }
}

fn whole(standing: &Standing, rule: &Rule) -> String {
    // A quota that nobody used is whole, and begins anew all the same.
    let is_whole = match rule {
        Rule::Quota(_) => standing.remaining == standing.total,
        Rule::Rate(_) => standing.whole.is_zero(),
    };
    match is_whole {
        true => "is whole".to_owned(),
        false => format!("in {}", words::span(standing.whole)),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

const HEAD: [&str; 8] = ["LIMIT", "WHOSE", "ALLOWS", "LEFT", "OF", "NEXT", "WHOLE", "ATTACHED TO"];

/// The rows under a head, and how many counts are not shown.
pub(super) fn table(config: &Config, rows: &[Row<'_>]) -> String {
    let mut lines: Vec<[String; 8]> = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| row.cells(config)));
    let mut widths = [0; 8];
    for line in &lines {
        widths.iter_mut().zip(line).for_each(|(width, cell)| *width = cell.chars().count().max(*width));
    }
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}
