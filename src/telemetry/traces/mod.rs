//! Spans of exchanges, sent to an OpenTelemetry collector off the request path.
//!
//! In: a [`Trace`] with its [`Outcome`]. Out: batches over OTLP/HTTP, by one
//! thread. Not here: which exchanges have spans (`trace`). A full queue drops
//! what is new and counts it: a collector that is slow, or away, must not slow
//! requests. Without the feature `otel` nothing is sent, and `check` says so.

#[cfg(feature = "otel")]
mod export;
#[cfg(feature = "otel")]
mod messages;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use prometheus::IntCounter;
use tokio::sync::{mpsc, watch};

use crate::clock::Clock;
use crate::config::section::log::Log;
use crate::exchange::head::CallerScheme;
use crate::exchange::outcome::Outcome;

use super::metrics::Metrics;
use super::trace::{Sampling, Trace};

/// Exchanges that may wait; some 2 MB.
const QUEUE: usize = 2_048;
/// Between two looks at whether all is sent, and how many of them: three seconds in all.
const FLUSH_POLL: Duration = Duration::from_millis(5);
const FLUSH_POLLS: u32 = 600;

/// A handle to the thread that sends; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Sender>>);

#[derive(Debug)]
struct Sender {
    sampling: Sampling,
    queue: mpsc::Sender<Draft>,
    stop: watch::Sender<bool>,
    ended: Arc<AtomicBool>,
    dropped: IntCounter,
}

/// What becomes spans.
#[derive(Debug)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "nobody sends"))]
struct Draft {
    trace: Trace,
    started: Instant,
    scheme: CallerScheme,
    outcome: Outcome,
}

impl Draft {
    fn spans(&self) -> u64 {
        self.trace.spans().map_or(0, |spans| 1 + spans.tries.len() as u64)
    }
}

/// What the thread works with.
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "nobody sends"))]
struct Work {
    drafts: mpsc::Receiver<Draft>,
    stop: watch::Receiver<bool>,
    ended: Arc<AtomicBool>,
    sent: IntCounter,
    dropped: IntCounter,
    failures: IntCounter,
}

impl Traces {
    /// Starts the thread, if there is a collector.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(section: &Log, metrics: &Metrics, clock: Clock) -> io::Result<Self> {
        let Some(section) = &section.traces else { return Ok(Traces::default()) };
        let [sent, dropped, failures] = metrics.traces();
        let (queue, drafts) = mpsc::channel(QUEUE);
        let (stop, stopped) = watch::channel(false);
        let ended = Arc::new(AtomicBool::new(false));
        let sender = Sender {
            sampling: Sampling::Share(section.sample.ratio()),
            queue,
            stop,
            ended: Arc::clone(&ended),
            dropped: dropped.clone(),
        };
        let work = Work { drafts, stop: stopped, ended, sent, dropped, failures };
        begin(section, work, clock)?;
        Ok(Traces(Some(Arc::new(sender))))
    }

    /// Which exchanges have spans.
    pub fn sampling(&self) -> Sampling {
        self.0.as_ref().map_or(Sampling::Off, |sender| sender.sampling)
    }

    /// Queues the spans of an exchange, if it has any; never waits.
    pub fn record(&self, trace: Trace, (started, scheme): (Instant, CallerScheme), outcome: &Outcome) {
        let Some(sender) = self.0.as_ref().filter(|_| trace.spans().is_some()) else { return };
        let draft = Draft { trace, started, scheme, outcome: outcome.clone() };
        if let Err(refused) = sender.queue.try_send(draft) {
            let (mpsc::error::TrySendError::Full(draft) | mpsc::error::TrySendError::Closed(draft)) = refused;
            sender.dropped.inc_by(draft.spans());
        }
    }

    /// Has what is queued sent, tried once, and waits for that, but not for ever: the collector may be away.
    pub fn flush(&self) {
        let Some(sender) = &self.0 else { return };
        sender.stop.send_replace(true);
        for _ in 0..FLUSH_POLLS {
            if sender.ended.load(Ordering::Acquire) {
                return;
            }
            std::thread::sleep(FLUSH_POLL);
        }
    }
}

#[cfg(feature = "otel")]
fn begin(section: &crate::config::section::log::Traces, work: Work, clock: Clock) -> io::Result<()> {
    let exporter = export::Exporter::new(section, work, clock);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Nobody joins it: a collector that does not answer must not hold the end of the process.
    let run = move || {
        runtime.block_on(exporter.run());
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("traces".to_owned()).spawn(run).map(drop)
}

#[cfg(not(feature = "otel"))]
fn begin(_: &crate::config::section::log::Traces, work: Work, _: Clock) -> io::Result<()> {
    work.ended.store(true, Ordering::Release);
    Err(io::Error::other("this build has no traces"))
}
