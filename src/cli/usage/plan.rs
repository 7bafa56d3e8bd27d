//! `tollgate usage plan --replay access.jsonl --with plans.yaml`: who would have been refused.
//!
//! In: an access log in JSON, limits and plans. Out: what these would have made
//! of it. Not here: limits (`pipeline`), counting (`state`): they are the
//! gateway's own. The log may be larger than memory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::interpolate::Environment;
use crate::config::{Loaded, load_trial};
use crate::outbound::wait;

use super::super::{Ending, Form, explain};
use super::line::Line;
use super::order::Order;
use super::replay::{Around, Replay};
use super::report::{Report, print_json, print_text, say_before};

/// Longer lines are no lines of ours: names and paths in them are cut.
const MAX_LINE: u64 = 1 << 20;
/// Lines that cannot be read are named, the first ones.
const NAMED: usize = 5;

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate usage plan --replay access.jsonl --with plans.yaml
  tollgate usage plan --replay access.jsonl --with plans.yaml -c tollgate.yaml
  zcat access.jsonl.*.gz | tollgate usage plan --replay - --with plans.yaml --format json")]
pub(super) struct Arguments {
    /// An access log in JSON (`log.format: json`); `-` is the standard input
    #[arg(long, value_name = "FILE")]
    replay: PathBuf,
    /// Limits and plans to try: a whole configuration, or only `limits`, `plans`, `default_plan` and `tenants`
    #[arg(long, value_name = "FILE")]
    with: PathBuf,
    /// The configuration whose limits and plans these are to replace: its routes and hosts say where limits are attached
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Form of the answer: text for people, json for programs
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

/// What was found in a log.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Lines in all, empty ones left out.
    pub(super) lines: u64,
    /// Those that cannot be read.
    pub(super) unread: u64,
    /// The first of them: their numbers, and why.
    pub(super) named: Vec<(u64, String)>,
    /// When the first request came, and the last.
    pub(super) span: Option<(std::time::SystemTime, std::time::SystemTime)>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let Arguments { replay, with, config, format } = arguments;
    let loaded = match explain(load_trial(with, config.as_deref(), &Environment::of_process()), with) {
        Ok(loaded) => loaded,
        Err(ending) => return Ok(ending),
    };
    let name = replay.display().to_string();
    let log: Box<dyn Read> = match replay == Path::new("-") {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(replay).with_context(|| format!("the log `{name}` cannot be read"))?),
    };
    let (found, replayed) = wait(play(BufReader::with_capacity(1 << 18, log), &loaded))?
        .with_context(|| format!("the log `{name}` cannot be read"))?;
    if let Some((number, why)) = found.named.first().filter(|_| found.lines == found.unread) {
        anyhow::bail!(
            "`{name}` is no access log in JSON: line {number} {why}; `log: {{ format: json }}` makes a gateway write one"
        );
    }
    let report = Report { log: &name, config: &loaded.config, found: &found, replay: replayed.as_ref() };
    say_before(&report);
    match format {
        Form::Text => print_text(&report),
        Form::Json => print_json(&report),
    }
    Ok(Ending::Success)
}

/// Plays a log back.
async fn play(mut log: impl BufRead, loaded: &Loaded) -> io::Result<(Found, Option<Replay<'_>>)> {
    let mut found = Found::default();
    let (mut order, mut replay) = (Order::default(), None);
    let (mut bytes, mut number) = (Vec::new(), 0);
    while next_line(&mut log, &mut bytes)? {
        number += 1;
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        found.lines += 1;
        let line = match bytes.len() as u64 > MAX_LINE {
            true => Err("is longer than 1 MiB".to_owned()),
            false => Line::read(&bytes),
        };
        match line {
            Ok(line) => order.push(line),
            Err(why) => {
                found.unread += 1;
                if found.named.len() < NAMED {
                    found.named.push((number, why));
                }
            }
        }
        while let Some(line) = order.pop() {
            begun(&mut replay, &mut found, (loaded, &line)).play(line).await;
        }
    }
    while let Some(line) = order.pop_last() {
        begun(&mut replay, &mut found, (loaded, &line)).play(line).await;
    }
    if let Some(replay) = &mut replay {
        replay.finish().await;
    }
    Ok((found, replay))
}

/// The replay, which begins with the first line.
fn begun<'r, 'a>(
    replay: &'r mut Option<Replay<'a>>,
    found: &mut Found,
    (loaded, line): (&'a Loaded, &Line),
) -> &'r mut Replay<'a> {
    found.span = match found.span {
        None => Some((line.at, line.at)),
        Some((first, last)) => Some((first.min(line.at), last.max(line.at))),
    };
    let around = match loaded.config.upstreams.is_empty() {
        true => Around::Log,
        false => Around::Gateway,
    };
    replay.get_or_insert_with(|| Replay::new(&loaded.config, around, line.at))
}

/// Reads a line without its end; of one that is too long, no more than says so. False at the end of the log.
fn next_line(log: &mut impl BufRead, bytes: &mut Vec<u8>) -> io::Result<bool> {
    bytes.clear();
    let count = log.by_ref().take(MAX_LINE + 1).read_until(b'\n', bytes)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if bytes.len() as u64 > MAX_LINE {
        skip_line(log)?;
    }
    Ok(count > 0)
}

fn skip_line(log: &mut impl BufRead) -> io::Result<()> {
    loop {
        let piece = log.fill_buf()?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(piece.len(), |end| end + 1);
        let is_over = end.is_some() || piece.is_empty();
        log.consume(length);
        if is_over {
            return Ok(());
        }
    }
}
