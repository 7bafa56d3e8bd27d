//! One line per request, written off the request path.
//!
//! In: an [`Outcome`] each. Out: text or JSON lines to stdout or a file, in
//! batches, by one thread. Not here: queries and credentials; an outcome has
//! none. A full queue drops the line and counts it, as does a disk that takes no
//! more: neither may slow requests.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use prometheus::IntCounter;

use crate::config::section::log::{Access, Format, Log};
use crate::exchange::outcome::Outcome;

use super::access_line::append;
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

#[cfg(test)]
#[path = "access_log_tests.rs"]
mod tests;
