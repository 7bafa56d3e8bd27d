//! Who would have been refused, for people and for programs.
//!
//! In: the tallies of a replay. Out: a table, a sentence; JSON. Not here: the
//! sums themselves (`tally`).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::config::Config;
use crate::pipeline::limits::words;

use super::super::{print, say};
use super::order::WINDOW;
use super::plan::Found;
use super::replay::{Replay, Sums};
use super::tally::{Tally, Tenant, Whose};

/// Rows of the table.
const ROWS: usize = 50;
/// Tenants in the sentence.
const NAMED: usize = 5;

/// What came of a replay.
#[derive(Debug)]
pub(super) struct Report<'a> {
    pub(super) log: &'a str,
    pub(super) config: &'a Config,
    pub(super) found: &'a Found,
    /// None where the log has no requests.
    pub(super) replay: Option<&'a Replay<'a>>,
}

impl Report<'_> {
    fn tenants(&self) -> Vec<(&Whose, &Tenant)> {
        self.replay.map(|replay| replay.tallies.tenants().collect()).unwrap_or_default()
    }

    fn sums(&self) -> Sums {
        self.replay.map(|replay| replay.sums).unwrap_or_default()
    }

    /// The name of a limit, and what it lets in.
    fn limit(&self, index: usize) -> (String, String, bool) {
        let name = self.replay.map_or("", |replay| replay.name_of(index));
        let section = self.config.limits.get(name);
        let allows = section.map(words::allows).unwrap_or_default();
        (name.to_owned(), allows, section.is_some_and(|section| section.dry_run))
    }

    /// What bears on how far the answer can be trusted.
    fn notes(&self) -> Vec<String> {
        let Sums { passed_over, late, strangers, unidentified, .. } = self.sums();
        let mut notes = Vec::new();
        let mut note = |what: &str, count: u64| {
            if count > 0 {
                notes.push(format!("{what}: {count}"));
            }
        };
        let minutes = WINDOW.as_secs() / 60;
        note("lines that could not be read", self.found.unread);
        note("requests left out, because no limit was asked about them", passed_over);
        note(
            &format!(
                "requests counted late, because they stand more than {minutes} minutes behind later ones (is the log sorted?)"
            ),
            late,
        );
        note("requests counted by address only, because the file does not have their host or route", strangers);
        note(
            "requests counted by address only, because they were refused before it was known who called",
            unidentified,
        );
        let sample = self.config.log.sample;
        if sample.ratio() < 1.0 {
            notes.push(format!("the log is a sample of {sample}: there were more requests, and more would be refused"));
        }
        if self.config.auth.values().any(|provider| provider.plan.is_some()) {
            notes.push(
                "plans that credentials name are not in the log: who is not under `tenants` has `default_plan`".into(),
            );
        }
        notes
    }

    /// Who would have been refused.
    fn sentence(&self) -> String {
        let Sums { requests, refused, .. } = self.sums();
        let mut hit: Vec<(&Whose, &Tenant)> =
            self.tenants().into_iter().filter(|(_, tenant)| tenant.refused > 0).collect();
        if hit.is_empty() {
            return format!("Nobody would have been refused, in {}.", counted(requests, "request"));
        }
        hit.sort_by_key(|(_, tenant)| std::cmp::Reverse(tenant.refused));
        let named = hit.iter().take(NAMED).map(|(whose, tenant)| {
            let Tenant { requests, refused, .. } = tenant;
            format!("{} ({refused} of {requests}, {})", name(whose), share(*refused, *requests))
        });
        let mut named: Vec<String> = named.collect();
        let more = hit.len().saturating_sub(NAMED);
        if more > 0 {
            named.push(format!("{more} more"));
        }
        let all = format!("{refused} of {} ({})", counted(requests, "request"), share(refused, requests));
        format!("{all} would have been refused: {}.", named.join(", "))
    }
}

/// What was read, on standard error.
pub(super) fn say_before(report: &Report<'_>) {
    let Report { log, found, .. } = report;
    match found.span {
        None => say(&format!("`{log}` has no requests")),
        Some((first, last)) => {
            let requests = counted(found.lines - found.unread, "request");
            say(&format!("{requests} of {log}, from {} to {}", moment(first), moment(last)));
        }
    }
    for (number, why) in &found.named {
        say(&format!("line {number} {why}"));
    }
    report.notes().iter().for_each(|note| say(&format!("note: {note}")));
}

const HEAD: [&str; 10] =
    ["TENANT", "PLAN", "LIMIT", "ALLOWS", "REQUESTS", "REFUSED", "SHARE", "FIRST", "WORST HOUR", "USED AT MOST"];

/// A row for each tenant and limit, the most refused first, and a sentence.
pub(super) fn print_text(report: &Report<'_>) {
    let mut rows: Vec<(&Whose, &Tenant, usize, &Tally)> = Vec::new();
    for (whose, tenant) in report.tenants() {
        rows.extend(tenant.limits.iter().map(|(limit, tally)| (whose, tenant, *limit, tally)));
    }
    rows.sort_by_key(|(.., tally)| std::cmp::Reverse(tally.refused));
    let shown = rows.iter().take(ROWS).map(|(whose, tenant, limit, tally)| {
        let (limit, allows, dry_run) = report.limit(*limit);
        let plan = tenant.plan.as_ref().map_or("-", |(name, _)| name);
        let limit = if dry_run { format!("{limit} (dry run)") } else { limit };
        let [first, worst] =
            [tally.first.map(moment), tally.worst.map(|(hour, count)| format!("{} ({count})", hour_of(hour)))]
                .map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
        let (requests, refused) = (tally.requests.to_string(), tally.refused.to_string());
        let used = format!("{:.0}%", (tally.used * 100.0).ceil());
        let share = share(tally.refused, tally.requests);
        [name(whose), plan.to_owned(), limit, allows, requests, refused, share, first, worst, used]
    });
    let lines: Vec<[String; 10]> = std::iter::once(HEAD.map(str::to_owned)).chain(shown).collect();
    if lines.len() > 1 {
        table(&lines);
    }
    if rows.len() > ROWS {
        print(&format!("... and {} rows more: --format json has them all", rows.len() - ROWS));
    }
    if report.replay.is_some() {
        print(&report.sentence());
    }
}

fn table(lines: &[[String; 10]]) {
    let mut widths = [0; 10];
    for line in lines {
        widths.iter_mut().zip(line).for_each(|(width, cell)| *width = cell.chars().count().max(*width));
    }
    for line in lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        print(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// One object.
pub(super) fn print_json(report: &Report<'_>) {
    let tenants: Vec<Value> =
        report.tenants().into_iter().map(|(whose, tenant)| of_tenant(report, whose, tenant)).collect();
    let Report { found, .. } = report;
    let Sums { requests, refused, passed_over, late, strangers, unidentified } = report.sums();
    let unread: Vec<Value> = found.named.iter().map(|(line, why)| json!({ "line": line, "why": why })).collect();
    let document = json!({
        "from": found.span.map(|(first, _)| moment(first)),
        "to": found.span.map(|(_, last)| moment(last)),
        "lines": found.lines,
        "unread": found.unread,
        "unread_lines": unread,
        "requests": requests,
        "refused": refused,
        "passed_over": passed_over,
        "late": late,
        "unknown_routes": strangers,
        "unidentified": unidentified,
        "tenants": tenants,
        "notes": report.notes(),
        "sentence": report.sentence(),
    });
    print(&document.to_string());
}

fn of_tenant(report: &Report<'_>, whose: &Whose, tenant: &Tenant) -> Value {
    let Tenant { plan, requests, refused, limits } = tenant;
    let limits: Vec<Value> = limits
        .iter()
        .map(|(limit, tally)| {
            let (limit, allows, dry_run) = report.limit(*limit);
            json!({
                "limit": limit,
                "allows": allows,
                "dry_run": dry_run,
                "requests": tally.requests,
                "refused": tally.refused,
                "first": tally.first.map(moment),
                "worst_hour": tally.worst.map(|(hour, count)| json!({ "hour": hour_of(hour), "refused": count })),
                "used_at_most": (tally.used * 10_000.0).round() / 10_000.0,
            })
        })
        .collect();
    json!({
        "tenant": match whose {
            Whose::Named(name) => Value::from(name.as_str()),
            Whose::Nobody => Value::Null,
            Whose::Others => Value::from("__other__"),
        },
        "plan": plan.as_ref().map(|(name, because)| json!({ "name": name, "because": because.word() })),
        "requests": requests,
        "refused": refused,
        "limits": limits,
    })
}

fn name(whose: &Whose) -> String {
    match whose {
        Whose::Named(name) => name.to_string(),
        Whose::Nobody => "(no tenant)".to_owned(),
        Whose::Others => "(others)".to_owned(),
    }
}

fn share(part: u64, whole: u64) -> String {
    format!("{:.1}%", part as f64 * 100.0 / whole.max(1) as f64)
}

fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn moment(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// `2026-11-22T17:00Z`.
fn hour_of(hour: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(hour)).unwrap_or(UNIX_EPOCH);
    DateTime::<Utc>::from(at).format("%Y-%m-%dT%H:%MZ").to_string()
}
