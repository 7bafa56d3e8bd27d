//! The program's own log: stderr, as text or JSON.
//!
//! In: records of the `log` crate. Out: lines with control characters escaped;
//! of those that one place repeats, a number in the end (`repeats`). Not here:
//! requests (`access_log`). Pingora is never heard below warnings: its debug
//! messages print whole heads, credentials included.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use env_logger::{Builder, Logger, Target};
use log::{LevelFilter, Log as _, Record};

use crate::clock::Clock;
use crate::config::section::log::{Format, Level, Log};

use super::access_line::{is_obeyed, timestamp, written};
use super::repeats::{LeftOut, Place, Repeats, Verdict, When};

/// The target of what operators did: each line is worth keeping, and only who has the admin token makes them.
const AUDIT: &str = "audit";
/// How often it is looked whether lines were left out.
const LOOK: Duration = Duration::from_secs(5);
/// Characters of the line that stands for those left out.
const EXAMPLE: usize = 300;

/// Whether lines of text have the time; lines of JSON always do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Whoever reads them knows it: the journal, or a person who looks on.
    LeftOut,
    /// They go to a file, or to who keeps them without.
    Written,
}

/// Begins to write. A second call changes nothing: the process has one log.
pub fn start(section: &Log, times: Times) {
    let format = section.format;
    let clock = Clock::system();
    let (began, wall) = (clock.now(), clock.clone());
    let inner = Builder::new()
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
            Format::Json => writeln!(out, "{}", written(&json(record, &timestamp(wall.wall())))),
            Format::Text => {
                let style = out.default_level_style(record.level());
                if times == Times::Written {
                    write!(out, "{} ", timestamp(wall.wall()))?;
                }
                writeln!(out, "{style}{:<5}{style:#} {}", record.level(), printable(&record.args().to_string()))
            }
        })
        .build();
    let log = Arc::new(ProgramLog { inner, repeats: Repeats::new(), clock, began });
    // Only tests start more than one gateway in a process.
    if log::set_boxed_logger(Box::new(Arc::clone(&log))).is_ok() {
        set_level(section.level);
        // What it has to tell can wait for the next start, should there be no thread.
        let _ = std::thread::Builder::new().name("program-log".to_owned()).spawn(move || log.tell_what_is_left_out());
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

/// Writes, but not the same for ever.
struct ProgramLog {
    inner: Logger,
    repeats: Repeats,
    clock: Clock,
    began: Instant,
}

impl ProgramLog {
    /// As long as the program runs.
    fn tell_what_is_left_out(&self) {
        loop {
            std::thread::sleep(LOOK);
            self.tell(When::Over);
        }
    }

    fn tell(&self, when: When) {
        for LeftOut { place, lines, example } in self.repeats.left_out(when, self.now()) {
            let mut record = Record::builder();
            record.level(place.level).target(module_path!());
            let words = format_args!("{lines} more lines like this one were left out: {example}");
            self.inner.log(&record.args(words).build());
        }
    }

    /// Milliseconds since it began.
    fn now(&self) -> u64 {
        let since = self.clock.now().saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl log::Log for ProgramLog {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.inner.matches(record) {
            return;
        }
        let place = record.file_static().zip(record.line()).filter(|_| record.target() != AUDIT);
        let Some((file, line)) = place else { return self.inner.log(record) };
        let place = Place { file, line, level: record.level() };
        match self.repeats.judge(place, self.now()) {
            Verdict::Hold => return,
            Verdict::Say => {}
            Verdict::SayAsExample => {
                self.repeats.keep(place, record.args().to_string().chars().take(EXAMPLE).collect());
            }
        }
        self.inner.log(record);
    }

    /// What was left out is told, too: the program ends.
    fn flush(&self) {
        self.tell(When::Now);
        self.inner.flush();
    }
}

fn json(record: &Record<'_>, time: &str) -> serde_json::Value {
    serde_json::json!({
        "time": time,
        "level": record.level().as_str().to_ascii_lowercase(),
        "target": record.target(),
        "message": record.args().to_string(),
    })
}

/// Line breaks stay, so that a report of several lines can be read.
fn printable(text: &str) -> String {
    let escape = |c: char| c != '\n' && (c.is_control() || is_obeyed(c));
    match text.contains(escape) {
        true => text
            .chars()
            .flat_map(|c| if escape(c) { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
            .collect(),
        false => text.to_owned(),
    }
}
