//! One line per request, written off the request path.
//!
//! In: an [`Outcome`] each. Out: text or JSON lines to stdout or a file, in
//! batches, by one thread. Not here: queries and credentials; an outcome has
//! none. A full queue drops the line and counts it, as does a disk that takes no
//! more: neither may slow requests.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use prometheus::IntCounter;
use serde::Serialize;

use crate::config::section::log::{Access, Format, Log};
use crate::exchange::outcome::Outcome;
use crate::exchange::statistics::Statistics;

use super::metrics::Metrics;

/// Lines that may wait; about 4 MB at most.
const QUEUE: usize = 8_192;
/// Bytes written at once.
const BATCH: usize = 64 << 10;
/// After a batch that emptied the queue. To wake the thread for each line would cost requests more than the line does; so
/// lines come together meanwhile.
const GATHER: Duration = Duration::from_millis(5);
/// Between two looks at whether all is written, and how many of them: two seconds in all.
const FLUSH_POLL: Duration = Duration::from_millis(5);
const FLUSH_POLLS: u32 = 400;

/// A handle to the log; clones share one thread.
#[derive(Debug)]
pub struct AccessLog {
    queue: Option<SyncSender<Message>>,
    progress: Arc<Progress>,
    dropped: IntCounter,
    sample: f64,
}

/// How many lines there were so far.
#[derive(Debug, Default)]
struct Progress {
    queued: AtomicU64,
    written: AtomicU64,
    /// The file is to be opened again.
    reopen: AtomicBool,
}

/// What the thread is told: a line, or to look at [`Progress::reopen`].
type Message = Option<Outcome>;

impl AccessLog {
    /// Opens the log and starts its thread.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn start(section: &Log, metrics: &Metrics) -> io::Result<Self> {
        let dropped = metrics.log_dropped();
        let sink = match &section.access {
            Access::File(path) => Some(Sink::File(open(path)?, path.clone())),
            Access::Off => None,
            Access::Stdout => Some(Sink::Stdout),
        };
        let sample = section.sample.ratio();
        let progress = Arc::new(Progress::default());
        let Some(sink) = sink else {
            return Ok(AccessLog { queue: None, progress, dropped, sample });
        };
        let (queue, lines) = sync_channel(QUEUE);
        let format = section.format;
        let written = Arc::clone(&progress);
        let writer = Writer { sink, dropped: dropped.clone(), is_torn: false, lost: 0 };
        // It ends with the queue. Nobody joins it: a log that nobody reads must not hold the end of the process.
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&lines, writer, format, &written))?;
        Ok(AccessLog { queue: Some(queue), progress, dropped, sample })
    }

    /// Whether outcomes are wanted at all.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Queues a line; never waits.
    pub fn write(&self, outcome: Outcome) {
        let Some(queue) = &self.queue else { return };
        let sampled = self.sample >= 1.0 || outcome.status >= 500 || rand::random::<f64>() < self.sample;
        if !sampled {
            return;
        }
        match queue.try_send(Some(outcome)) {
            Ok(()) => drop(self.progress.queued.fetch_add(1, Ordering::Release)),
            Err(TrySendError::Full(_)) => self.dropped.inc(),
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Opens the file of the log again, where it goes to one: who rotates logs has given the old one another name.
    pub fn reopen(&self) {
        let Some(queue) = &self.queue else { return };
        self.progress.reopen.store(true, Ordering::Release);
        // Where the queue is full, the thread is awake.
        let _ = queue.try_send(None);
    }

    /// Waits until what is queued is written, but not for ever: whoever reads the log may have stopped.
    pub fn flush(&self) {
        let queued = self.progress.queued.load(Ordering::Acquire);
        for _ in 0..FLUSH_POLLS {
            if self.progress.written.load(Ordering::Acquire) >= queued {
                return;
            }
            std::thread::sleep(FLUSH_POLL);
        }
    }
}

/// Where lines go.
enum Sink {
    /// The file, and where it was opened.
    File(File, PathBuf),
    Stdout,
}

impl Sink {
    /// How many of these bytes are there now, and why the others are not.
    fn write(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        match self {
            Sink::File(file, _) => write_most(file, bytes),
            Sink::Stdout => match io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()) {
                Ok(()) => (bytes.len(), Ok(())),
                Err(error) => (0, Err(error)),
            },
        }
    }

    fn reopen(&mut self) {
        let Sink::File(file, path) = self else { return };
        match open(path) {
            Ok(fresh) => {
                *file = fresh;
                log::info!("the access log {} was opened again", path.display());
            }
            Err(error) => log::error!(
                "the access log {} cannot be opened again: {error}. Lines go on to the file that is open: make the folder, let \
                 the gateway's user write there, and send SIGUSR1 once more",
                path.display()
            ),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// As [`Write::write_all`], which does not say how far it came.
fn write_most(file: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Lines on their way into the sink. A full disk or a closed pipe loses lines, never requests.
struct Writer {
    sink: Sink,
    dropped: IntCounter,
    /// The last line has begun and not ended: the next one must not be taken for the rest of it.
    is_torn: bool,
    /// Lines that are lost since one was last written.
    lost: u64,
}

impl Writer {
    fn write(&mut self, text: &str) {
        let ended;
        let text = match self.is_torn && !text.is_empty() {
            true => {
                ended = format!("\n{text}");
                &ended
            }
            false => text,
        };
        let (written, result) = self.sink.write(text.as_bytes());
        let (there, missing) = text.as_bytes().split_at_checked(written).unwrap_or_default();
        self.is_torn = there.last().map_or(self.is_torn, |last| *last != b'\n');
        match result {
            Ok(()) if self.lost > 0 && !there.is_empty() => {
                log::warn!("the access log is written again; {} lines are lost", self.lost);
                self.lost = 0;
            }
            Ok(()) => {}
            Err(error) => {
                let lines = memchr::memchr_iter(b'\n', missing.trim_ascii_start()).count() as u64;
                if self.lost == 0 {
                    log::error!(
                        "the access log cannot be written: {error}. Its lines are lost and counted in \
                         `tollgate_access_log_dropped_total`; requests are answered as before"
                    );
                }
                self.lost += lines;
                self.dropped.inc_by(lines);
            }
        }
    }
}

fn write_lines(lines: &Receiver<Message>, mut writer: Writer, format: Format, progress: &Progress) {
    let mut text = String::with_capacity(BATCH + 1024);
    loop {
        // Lines appear at once when there are few, and in batches when there are many.
        let mut next = match lines.recv_timeout(Duration::from_secs(1)) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut count = 0;
        while let Some(message) = next {
            if let Some(outcome) = message {
                append(&mut text, &outcome, format);
                count += 1;
            }
            next = if text.len() < BATCH { lines.try_recv().ok() } else { None };
        }
        let is_full = text.len() >= BATCH;
        writer.write(&text);
        text.clear();
        progress.written.fetch_add(count, Ordering::Release);
        // After the lines that were there before.
        if progress.reopen.swap(false, Ordering::AcqRel) {
            writer.sink.reopen();
        }
        if !is_full {
            std::thread::sleep(GATHER);
        }
    }
}

/// Appends one line.
pub fn append(text: &mut String, outcome: &Outcome, format: Format) {
    match format {
        Format::Json => json(text, outcome),
        // Writing to a string does not fail.
        Format::Text => _ = plain(text, outcome),
    }
    text.push('\n');
}

fn plain(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let time = timestamp(outcome.at);
    write!(text, "{time} {} {} ", outcome.client, outcome.method)?;
    escape(text, &outcome.path);
    write!(text, " {} {:.1}ms", outcome.status, millis(outcome.elapsed))?;
    write!(text, " route={}", outcome.route.as_deref().unwrap_or("-"))?;
    if let Some(upstream) = &outcome.upstream {
        write!(
            text,
            " upstream={upstream} upstream_ms={:.1} gateway_ms={:.1} attempts={}",
            millis(outcome.upstream_elapsed),
            millis(rest(outcome)),
            outcome.attempts
        )?;
    }
    if let Some((provider, id)) = &outcome.caller {
        text.push_str(" caller=");
        // Who makes tokens chooses the name.
        word(text, &format!("{provider}:{id}"));
    }
    if let Some(tenant) = &outcome.tenant {
        write!(text, " tenant={tenant}")?;
    }
    write!(text, " in={} out={}", outcome.request_bytes, outcome.response_bytes)?;
    costs(text, outcome)?;
    if let Some(refusal) = outcome.refusal {
        write!(text, " refusal={}", refusal.as_str())?;
    }
    if let Some(limit) = &outcome.limited_by {
        write!(text, " limit={limit}")?;
    }
    if !outcome.would_refuse.is_empty() {
        write!(text, " would_refuse={}", outcome.would_refuse.join(","))?;
    }
    if let Some(fault) = &outcome.fault {
        text.push_str(" fault=\"");
        escape(text, fault);
        text.push('"');
    }
    text.push_str(" host=");
    escape(text, &outcome.host);
    write!(text, " id={}", outcome.request_id)
}

/// What was not spent waiting for the upstream's response headers.
fn rest(outcome: &Outcome) -> Duration {
    outcome.elapsed.saturating_sub(outcome.upstream_elapsed)
}

/// What is known of what the query cost.
fn costs(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let Statistics { rows_read, bytes_read, elapsed } = outcome.statistics;
    for (name, number) in [("unpacked", outcome.unpacked_bytes), ("rows_read", rows_read), ("bytes_read", bytes_read)] {
        if let Some(number) = number {
            write!(text, " {name}={number}")?;
        }
    }
    match elapsed {
        Some(elapsed) => write!(text, " query_ms={:.1}", elapsed.as_secs_f64() * 1000.0),
        None => Ok(()),
    }
}

fn json(text: &mut String, outcome: &Outcome) {
    /// What stands before a value. In one piece: there are thirty of them in each line.
    macro_rules! member {
        ($name:literal) => {
            concat!(",\"", $name, "\":")
        };
    }
    let Statistics { rows_read, bytes_read, elapsed } = outcome.statistics;
    text.push_str("{\"time\":\"");
    text.push_str(&timestamp(outcome.at));
    text.push('"');
    let mut line = Line(text);
    line.text(member!("request_id"), Some(&outcome.request_id));
    line.text(member!("trace_id"), outcome.trace_id.as_deref());
    line.address(member!("client"), outcome.client);
    line.text(member!("provider"), outcome.caller.as_ref().map(|(provider, _)| &**provider));
    line.text(member!("caller"), outcome.caller.as_ref().map(|(_, id)| &**id));
    line.text(member!("tenant"), outcome.tenant.as_ref().map(|tenant| tenant.as_str()));
    line.text(member!("method"), Some(outcome.method.as_str()));
    line.text(member!("host"), Some(&outcome.host));
    line.text(member!("path"), Some(&outcome.path));
    line.text(member!("route"), outcome.route.as_deref());
    line.text(member!("upstream"), outcome.upstream.as_deref());
    line.number(member!("status"), Some(outcome.status.into()));
    line.text(member!("refusal"), outcome.refusal.map(|refusal| refusal.as_str()));
    line.text(member!("limit"), outcome.limited_by.as_deref());
    line.texts(member!("would_refuse"), &outcome.would_refuse);
    line.text(member!("fault"), outcome.fault.as_deref());
    line.number(member!("attempts"), Some(outcome.attempts.into()));
    line.number(member!("bytes_in"), Some(outcome.request_bytes));
    line.number(member!("bytes_out"), Some(outcome.response_bytes));
    line.number(member!("bytes_unpacked"), outcome.unpacked_bytes);
    line.number(member!("rows_read"), rows_read);
    line.number(member!("bytes_read"), bytes_read);
    line.millis(member!("query_ms"), elapsed);
    line.millis(member!("ms"), Some(outcome.elapsed));
    line.millis(member!("upstream_ms"), Some(outcome.upstream_elapsed));
    line.millis(member!("gateway_ms"), Some(rest(outcome)));
    text.push('}');
}

/// A line in JSON, whose members are appended one by one: what serde's way costs is mostly for names, whose every byte it
/// looks at each time.
struct Line<'a>(&'a mut String);

impl Line<'_> {
    fn text(&mut self, member: &str, value: Option<&str>) {
        self.0.push_str(member);
        match value {
            Some(value) => quoted(self.0, value),
            None => self.0.push_str("null"),
        }
    }

    fn texts(&mut self, member: &str, values: &[Arc<str>]) {
        self.0.push_str(member);
        self.0.push('[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.0.push(',');
            }
            quoted(self.0, value);
        }
        self.0.push(']');
    }

    fn address(&mut self, member: &str, address: IpAddr) {
        self.0.push_str(member);
        self.0.push('"');
        match address {
            // Formatting takes as long as half of the line.
            IpAddr::V4(address) => {
                for (index, octet) in address.octets().into_iter().enumerate() {
                    if index > 0 {
                        self.0.push('.');
                    }
                    self.0.push_str(itoa::Buffer::new().format(octet));
                }
            }
            // Writing to a string does not fail.
            IpAddr::V6(address) => _ = write!(self.0, "{address}"),
        }
        self.0.push('"');
    }

    fn number(&mut self, member: &str, value: Option<u64>) {
        self.0.push_str(member);
        match value {
            Some(value) => self.0.push_str(itoa::Buffer::new().format(value)),
            None => self.0.push_str("null"),
        }
    }

    /// To the microsecond, with as few digits as that takes: `12.345`, `11.0`.
    fn millis(&mut self, member: &str, time: Option<Duration>) {
        let Some(time) = time else { return self.number(member, None) };
        // Longer than any request lasts.
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX - 500);
        let micros = (nanos + 500) / 1_000;
        self.number(member, Some(micros / 1_000));
        self.0.push('.');
        let mut rest = micros % 1_000;
        for unit in [100, 10, 1] {
            self.0.push(char::from(b'0' + (rest / unit) as u8));
            rest %= unit;
            if rest == 0 {
                return;
            }
        }
    }
}

/// Appends a text as JSON has it, and so that a terminal shows it as it is.
fn quoted(text: &mut String, raw: &str) {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\');
    // To the end in any case: many bytes are looked at together.
    if raw.bytes().fold(true, |all, byte| all & is_plain(byte)) {
        text.push('"');
        text.push_str(raw);
        text.push('"');
    } else {
        text.push_str(&written(&raw));
    }
}

/// One line of JSON that a terminal shows as it is.
pub(super) fn written(line: &impl Serialize) -> String {
    // Texts, numbers and lists of them always serialise.
    let plain = serde_json::to_string(line).unwrap_or_default();
    if plain.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return plain;
    }
    let mut text = String::with_capacity(plain.len() + 16);
    for c in plain.chars() {
        match is_obeyed(c) {
            true => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => text.push(c),
        }
    }
    text
}

/// What JSON itself lets through though some terminals obey it: controls above ASCII, line ends and changes of direction.
pub(super) fn is_obeyed(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The value of a field: in quotes where it could seem to be more fields than one.
fn word(text: &mut String, raw: &str) {
    let quote = if raw.contains([' ', '=']) { "\"" } else { "" };
    text.push_str(quote);
    escape(text, raw);
    text.push_str(quote);
}

/// One line stays one line, and a terminal obeys nobody: control characters,
/// quotes and what is not ASCII are escaped.
fn escape(text: &mut String, raw: &str) {
    for c in raw.chars() {
        match c {
            '"' | '\\' => {
                text.push('\\');
                text.push(c);
            }
            ' '..='~' => text.push(c),
            _ => text.extend(c.escape_default()),
        }
    }
}

/// `2026-11-22T17:06:18.123Z`.
pub(super) fn timestamp(at: SystemTime) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
