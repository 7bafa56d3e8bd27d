//! Sends the lines of the ledger to a data source, minute by minute.
//!
//! In: the ledger. Out: batches, by one thread, each at least once: a line that
//! comes twice has the same id, and no smaller sums. Not here: which lines wait
//! (`spool`, `postgres`), what a call says (`delivery`). A receiver that is away
//! is asked again, ever more rarely; what is wrong is said whenever it is
//! something else. Lines wait in the ledger.

mod delivery;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::state::private::Fault;

use super::Desk;
use super::brake::Brake;
use super::mark::{Closing, Turn};
use super::place::{Place, Store};
use super::row::Row;

use delivery::{Delivery, Sent};

pub(super) use delivery::Destination;

/// Lines in one call, and bytes of them before they are compressed.
const BATCH: usize = 10_000;
const BATCH_BYTES: usize = 4 << 20;
/// So long after its end a minute is closed: the ledger has had its sums since then.
const LATE: Duration = Duration::from_secs(5);
const MINUTE: u64 = 60;
/// So long minutes are held open for what cannot be written yet, in seconds; they become hours after two days.
const LONGEST_HOLD: u64 = 36 * 3_600;
/// Gateways do not all send at the same moment.
const SPREAD: Duration = Duration::from_secs(5);
/// Before the first repetition, and the longest wait.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How an export stands; zeros without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines that the receiver has.
    pub sent: u64,
    /// Lines that were given up, or that the receiver could not take.
    pub dropped: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Lines that wait now.
    pub waiting: u64,
}

/// What the thread and those who look share.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) is_wanted: AtomicBool,
    sent: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
    waiting: AtomicU64,
}

impl Progress {
    pub(super) fn told(&self) -> Exported {
        let Progress { is_wanted: _, sent, dropped, failures, waiting } = self;
        let [sent, dropped, failures, waiting] =
            [sent, dropped, failures, waiting].map(|number| number.load(Ordering::Relaxed));
        Exported { sent, dropped, failures, waiting }
    }

    pub(super) fn drop_lines(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }
}

/// The thread that sends. Dropping it ends that; what waits then goes on waiting in the ledger.
#[derive(Debug)]
pub(super) struct Export {
    destination: Destination,
    place: Place,
    desk: Arc<Desk>,
    stop: watch::Sender<u64>,
    thread: Option<JoinHandle<()>>,
}

impl Export {
    /// Begins to send what the ledger has.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(destination: Destination, place: &Place, desk: &Arc<Desk>) -> io::Result<Export> {
        let (stop, stopped) = watch::channel(0);
        let sender = Sender {
            delivery: Delivery::new(destination.clone(), desk.clock.clone()),
            place: place.clone(),
            store: None,
            name: format!("{:016x}", rand::random::<u64>()),
            batch: BATCH,
            desk: Arc::clone(desk),
            brake: Brake::by(stopped.clone()),
            stop: stopped,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            complaint: None,
            has_told: false,
        };
        let thread = std::thread::Builder::new().name("export".to_owned()).spawn(move || sender.run())?;
        desk.exported.is_wanted.store(true, Ordering::Relaxed);
        Ok(Export { destination, place: place.clone(), desk: Arc::clone(desk), stop, thread: Some(thread) })
    }

    /// Where from, and where to.
    pub(super) fn way(&self) -> (&Place, &Destination) {
        (&self.place, &self.destination)
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        self.stop.send_replace(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let Progress { is_wanted, waiting, .. } = &self.desk.exported;
        is_wanted.store(false, Ordering::Relaxed);
        waiting.store(0, Ordering::Relaxed);
    }
}

struct Sender {
    delivery: Delivery,
    place: Place,
    store: Option<Store>,
    /// By which several that send from one ledger are told apart.
    name: String,
    /// Lines in one call; fewer after one that was too large.
    batch: usize,
    desk: Arc<Desk>,
    brake: Brake,
    /// Above zero once it is not wanted any more.
    stop: watch::Receiver<u64>,
    /// For calls and pauses; databases bring their own.
    runtime: Runtime,
    /// What was said to be wrong, and how many lines had been dropped before.
    complaint: Option<(String, u64)>,
    /// Whether it was said that something was taken.
    has_told: bool,
}

/// What stopped a round: what is wrong, and how long to wait at least.
struct Stuck(String, Duration);

impl From<Fault> for Stuck {
    fn from(fault: Fault) -> Self {
        Stuck(format!("cannot be sent what the ledger has, because that cannot be read: {fault}"), Duration::ZERO)
    }
}

/// Whether the gateway wants more of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Ending,
    Running,
}

impl Sender {
    /// Until it is not wanted any more.
    fn run(mut self) {
        let mut wait = FIRST_WAIT;
        loop {
            let pause = match self.round() {
                Ok(()) => {
                    wait = FIRST_WAIT;
                    self.until_next_minute()
                }
                Err(Stuck(why, at_least)) => {
                    self.desk.exported.failures.fetch_add(1, Ordering::Relaxed);
                    self.complain(why);
                    let pause = wait.max(at_least);
                    wait = (wait * 2).min(LONGEST_WAIT);
                    // Gateways that lost the same receiver do not all come back at once.
                    pause.mul_f64(1.0 + rand::random::<f64>() / 2.0)
                }
            };
            if self.pause(pause) == Mood::Ending {
                self.release();
                // A name that is being looked up must not hold the end.
                return self.runtime.shutdown_background();
            }
        }
    }

    /// Sends all that waits.
    fn round(&mut self) -> Result<(), Stuck> {
        let Some(mut store) = self.open()? else { return Ok(()) };
        let sent = self.send_all(&mut store);
        let waiting = match sent {
            // Whose turn it is tells that.
            Ok(Turn::Another) => Ok(0),
            Ok(Turn::Ours) | Err(_) => store.waiting(&self.brake),
        };
        if let Ok(waiting) = waiting {
            self.desk.exported.waiting.store(waiting, Ordering::Relaxed);
        }
        self.store = Some(store);
        if sent.is_err() {
            // Another gateway may have a way that this one has not.
            self.release();
        }
        sent.map(drop)
    }

    fn send_all(&mut self, store: &mut Store) -> Result<Turn, Stuck> {
        loop {
            if store.close(self.closing(), &self.name, &self.brake)? == Turn::Another {
                return Ok(Turn::Another);
            }
            let rows = store.next(self.batch, &self.brake)?;
            let gateway = store.gateway(&self.brake)?;
            let (lines, count) = batch_of(&rows, &gateway);
            let Some(last) = count.checked_sub(1).and_then(|last| rows.get(last)) else { return Ok(Turn::Ours) };
            let Some(sent) = self.send(&lines, count) else { return Ok(Turn::Ours) };
            match sent {
                Sent::Taken(quarantined) => {
                    store.sent(last, &self.brake)?;
                    self.taken(count as u64, quarantined);
                    self.batch = (self.batch * 2).min(BATCH);
                }
                Sent::TooLarge if count > 1 => self.batch = count / 2,
                Sent::TooLarge => return Err(Stuck("answers 413 to a single line".to_owned(), Duration::ZERO)),
                Sent::Later(why, at_least) => return Err(Stuck(why, at_least)),
            }
        }
    }

    /// Lets another gateway send, as far as that can be told to it; else it waits until the turn has run out.
    fn release(&mut self) {
        if let Some(store) = &mut self.store {
            drop(store.release(&self.name, &self.brake));
        }
    }

    /// What became of a batch; none if the gateway ended before that was known.
    fn send(&mut self, lines: &str, count: usize) -> Option<Sent> {
        let Sender { delivery, stop, runtime, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                sent = delivery.send(lines, count as u64) => Some(sent),
                _ = stop.wait_for(|stop| *stop > 0) => None,
            }
        })
    }

    fn taken(&mut self, lines: u64, quarantined: u64) {
        self.desk.exported.sent.fetch_add(lines - quarantined, Ordering::Relaxed);
        let destination = self.delivery.destination();
        match self.complaint.take().map(|(_, before)| self.desk.exported.told().dropped.saturating_sub(before)) {
            Some(0) => log::info!("usage is sent to {destination} again; nothing was lost"),
            Some(lost) => log::warn!("usage is sent to {destination} again; {lost} lines were given up meanwhile"),
            None if !self.has_told => log::info!("usage is sent to {destination}: it has the first {lines} lines"),
            None => {}
        }
        self.has_told = true;
        self.desk.exported.drop_lines(quarantined);
        if quarantined > 0 {
            log::error!(
                "{destination} has no room for {quarantined} of {lines} lines of usage as they are, and put them into its \
                 quarantine: its columns must be those that `tollgate usage export --ddl` prints"
            );
        }
    }

    /// Says what is wrong, whenever that is something else.
    fn complain(&mut self, why: String) {
        let said = self.complaint.take();
        if said.as_ref().is_none_or(|(said, _)| *said != why) {
            log::warn!(
                "{} {why}. Usage waits in the ledger, for two days at most, and is sent when that is over",
                self.delivery.destination()
            );
        }
        let before = said.map_or_else(|| self.desk.exported.told().dropped, |(_, before)| before);
        self.complaint = Some((why, before));
    }

    /// The ledger, once there is one.
    fn open(&mut self) -> Result<Option<Store>, Fault> {
        if let Some(store) = self.store.take().filter(Store::is_in_place) {
            return Ok(Some(store));
        }
        self.place.open_written(&self.desk.clock, &self.brake)
    }

    /// Which minutes may be closed.
    fn closing(&self) -> Closing {
        let over = self.closed_until();
        let written = match self.desk.written_until() {
            // The ledger has not looked yet what waits there.
            0 => 0,
            // What was never written must not hold up the rest until it is given up.
            written => written.max(over.saturating_sub(LONGEST_HOLD)),
        };
        Closing { over, written }
    }

    /// The first minute that is not over, in seconds since 1970.
    fn closed_until(&self) -> u64 {
        let now = self.desk.clock.since_1970().saturating_sub(LATE).as_secs();
        now - now % MINUTE
    }

    fn until_next_minute(&self) -> Duration {
        let next = Duration::from_secs(self.closed_until() + MINUTE) + LATE;
        next.saturating_sub(self.desk.clock.since_1970()) + SPREAD.mul_f64(rand::random())
    }

    fn pause(&mut self, wait: Duration) -> Mood {
        let Sender { desk, stop, runtime, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                () = desk.clock.sleep(wait) => Mood::Running,
                _ = stop.wait_for(|stop| *stop > 0) => Mood::Ending,
            }
        })
    }
}

/// The first of these lines, as many as one call may have, at least one; and how many they are.
fn batch_of(rows: &[Row], gateway: &str) -> (String, usize) {
    let mut lines = String::new();
    for (count, row) in rows.iter().enumerate() {
        let line = row.json(gateway);
        if count > 0 && lines.len() + line.len() > BATCH_BYTES {
            return (lines, count);
        }
        lines.push_str(&line);
    }
    (lines, rows.len())
}
