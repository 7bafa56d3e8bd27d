//! The program's own log: stderr, as text or JSON.
//!
//! In: records of the `log` crate. Out: lines with control characters escaped.
//! Not here: requests (`access_log`). Pingora is never heard below warnings:
//! its debug messages print whole heads, credentials included.

use std::io::Write;

use env_logger::{Builder, Target};
use log::{LevelFilter, Record};

use crate::config::section::log::{Format, Level, Log};

/// Begins to write. A second call changes nothing: the process has one log.
pub fn start(section: &Log) {
    let format = section.format;
    let started = Builder::new()
        .target(Target::Stderr)
        .filter_level(LevelFilter::Warn)
        // The level itself is set below, where a reload can set it, too.
        .filter_module("tollgate", LevelFilter::Debug)
        // It quotes the heads that it cannot read, and with them the admin token.
        .filter_module("pingora_core::apps::http_app", LevelFilter::Off)
        // It calls every caller that breaks off an error: a port scan would fill the log. What an operator must know is
        // in the access log, as `fault`, and in the metrics.
        .filter_module("pingora_proxy", LevelFilter::Off)
        // So it does every handshake that fails.
        .filter_module("pingora_core::services::listening", LevelFilter::Off)
        .filter_module("pingora_core::protocols::tls", LevelFilter::Off)
        .format(move |out, record| match format {
            Format::Json => writeln!(out, "{}", json(record)),
            Format::Text => {
                let style = out.default_level_style(record.level());
                writeln!(out, "{style}{:<5}{style:#} {}", record.level(), printable(&record.args().to_string()))
            }
        })
        .try_init();
    // Only tests start more than one gateway in a process.
    if started.is_ok() {
        set_level(section.level);
    }
}

/// From now on this much is written.
pub fn set_level(level: Level) {
    log::set_max_level(match level {
        Level::Debug => LevelFilter::Debug,
        Level::Error => LevelFilter::Error,
        Level::Info => LevelFilter::Info,
        Level::Warn => LevelFilter::Warn,
    });
}

fn json(record: &Record<'_>) -> serde_json::Value {
    serde_json::json!({
        "level": record.level().as_str().to_ascii_lowercase(),
        "target": record.target(),
        "message": record.args().to_string(),
    })
}

/// Line breaks stay, so that a report of several lines can be read.
fn printable(text: &str) -> String {
    let escape = |c: char| c.is_control() && c != '\n';
    match text.contains(escape) {
        true => text
            .chars()
            .flat_map(|c| if escape(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
            .collect(),
        false => text.to_owned(),
    }
}
