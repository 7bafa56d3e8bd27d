//! `tollgate keys list -f keys.yaml`: who has a key.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::keys::KeyFile;
use crate::config::scalar::Moment;
use crate::config::section::keys::KeyRecord;

use super::super::{Ending, Form, print, say};
use super::Which;
use super::file::explain;

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate keys list -f keys.yaml
  tollgate keys list -c tollgate.yaml
  tollgate keys list -f keys.yaml --format json")]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Form of the answer: text for people, json (one object a line) for programs
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let chosen = match arguments.which.choose() {
        Ok(chosen) => chosen,
        Err(ending) => return Ok(ending),
    };
    let file = chosen.file.as_path();
    let keys = match KeyFile::read(file) {
        Ok(keys) => keys,
        Err(issues) => return Ok(explain(&issues, file)),
    };
    let now = Clock::system().wall();
    if arguments.format == Form::Json {
        for record in keys.records() {
            let mut line = as_json(record);
            if let Some(members) = line.as_object_mut() {
                members.insert("state".to_owned(), state(record, now).into());
            }
            print(&line.to_string());
        }
        return Ok(Ending::Success);
    }
    if keys.records().is_empty() {
        say(&format!("{} has no keys yet.", file.display()));
        return Ok(Ending::Success);
    }
    table(keys.records().iter().map(|record| row(record, now)).collect());
    Ok(Ending::Success)
}

/// What a record says openly.
pub(super) fn as_json(record: &KeyRecord) -> Value {
    let KeyRecord { id, sha256: _, tenant, scopes, meta, created, expires, enabled: _, name } = record;
    json!({
        "id": id,
        "name": name,
        "tenant": tenant,
        "scopes": scopes,
        "meta": meta,
        "created": created,
        "expires": expires,
    })
}

/// Whether a key counts.
fn state(record: &KeyRecord, now: SystemTime) -> &'static str {
    match record.expires {
        _ if !record.enabled => "revoked",
        Some(expires) if expires.is_past(now) => "expired",
        Some(_) | None => "active",
    }
}

const HEAD: [&str; 7] = ["ID", "STATE", "TENANT", "CREATED", "EXPIRES", "SCOPES", "NAME"];

fn row(record: &KeyRecord, now: SystemTime) -> [String; 7] {
    let scopes: Vec<&str> = record.scopes.iter().map(|scope| scope.as_str()).collect();
    let moment = |moment: Option<Moment>| moment.map(|moment| moment.to_string());
    [
        Some(record.id.to_string()),
        Some(state(record, now).to_owned()),
        record.tenant.as_ref().map(ToString::to_string),
        moment(record.created),
        moment(record.expires),
        Some(scopes.join(",")).filter(|scopes| !scopes.is_empty()),
        record.name.as_ref().map(ToString::to_string),
    ]
    .map(|cell| cell.unwrap_or_else(|| "-".to_owned()))
}

fn table(rows: Vec<[String; 7]>) {
    let mut widths = HEAD.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in std::iter::once(HEAD.map(str::to_owned)).chain(rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        print(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
