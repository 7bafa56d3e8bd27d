//! Writes usage down, for bills.
//!
//! In: what was added up. Out: the same on disk, at most a moment behind. What
//! cannot be written is kept and written later. Not here: SQL (`sqlite`), adding
//! up (`tally`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, UNIX_EPOCH};

use ahash::RandomState;

use crate::clock::Clock;
use crate::exchange::usage::{UsageKey, Used};
use crate::state::beat::Beat;
use crate::state::past::Past;
use crate::state::private::Fault;

use super::Desk;
use super::place::{Place, Sending, Store};

/// Between two batches: with the time to write one, the most that the end of the process can take away.
const EVERY: Duration = Duration::from_millis(500);
/// Between two looks for what is old; also before the first, so that a clock that is wrong at the start of the machine has
/// time to be set right.
const TIDY_EVERY: Duration = Duration::from_secs(3_600);
/// So long the wall clock has to go on after a leap before anything is removed by it, in seconds.
const PATIENCE: u64 = 86_400;

/// Sums that are not written yet.
pub(super) type Pending = HashMap<UsageKey, Used, RandomState>;

/// The thread that writes. Dropping it writes what is left.
#[derive(Debug)]
pub(super) struct Ledger {
    beat: Arc<Beat>,
    thread: Option<JoinHandle<()>>,
    place: Place,
}

impl Ledger {
    /// Begins to write to `place`, which is opened when there is something to write.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(place: &Place, desk: &Arc<Desk>) -> std::io::Result<Ledger> {
        let beat = Arc::<Beat>::default();
        let clock = desk.clock.clone();
        let writer = Writer {
            store: None,
            place: place.clone(),
            desk: Arc::clone(desk),
            beat: Arc::clone(&beat),
            past: Past::new(&clock, PATIENCE),
            began: clock.now(),
            next_tidy: clock.now() + TIDY_EVERY,
            clock,
        };
        let thread = std::thread::Builder::new().name("usage".to_owned()).spawn(move || writer.run())?;
        Ok(Ledger { beat, thread: Some(thread), place: place.clone() })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn beat(&self) -> &Arc<Beat> {
        &self.beat
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.beat.end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    /// None while there is nothing to write, or it cannot be used.
    store: Option<Store>,
    place: Place,
    desk: Arc<Desk>,
    beat: Arc<Beat>,
    past: Past,
    began: Instant,
    /// By the steady clock.
    next_tidy: Instant,
    clock: Clock,
}

impl Writer {
    fn run(mut self) {
        let mut last = 0;
        loop {
            let (wish, end) = self.beat.next(last, EVERY);
            self.desk.gather();
            let written = self.write();
            self.tell(written.err());
            last = wish;
            self.beat.done(wish);
            if end {
                return;
            }
        }
    }

    fn write(&mut self) -> Result<(), Fault> {
        self.past.compare(self.seconds(), self.steady());
        let pending = self.desk.take_pending();
        let is_time = self.clock.now() >= self.next_tidy;
        if pending.is_empty() && !is_time {
            return Ok(());
        }
        let written = self.open().and_then(|mut store| {
            // Last, because what was added once must not be put back.
            let written = self.tidy(&mut store).and_then(|()| store.add(pending.iter()));
            // What is damaged is opened anew, which moves it aside.
            self.store = Some(store).filter(|_| !matches!(written, Err(Fault::Damaged(_))));
            written
        });
        if written.is_err() {
            self.desk.put_back(pending);
        }
        written
    }

    fn open(&mut self) -> Result<Store, Fault> {
        if let Some(store) = self.store.take().filter(Store::is_in_place) {
            return Ok(store);
        }
        self.place.open(&self.clock)
    }

    fn tidy(&mut self, store: &mut Store) -> Result<(), Fault> {
        let now = self.clock.now();
        if now < self.next_tidy {
            return Ok(());
        }
        self.next_tidy = now + TIDY_EVERY;
        let retention = self.desk.retention.load(Ordering::Relaxed);
        let exported = &self.desk.exported;
        let sending = if exported.is_wanted.load(Ordering::Relaxed) { Sending::Wanted } else { Sending::Unwanted };
        let given_up = store.tidy(self.past.until(self.seconds(), self.steady()), retention, sending)?;
        if given_up > 0 {
            exported.drop_lines(given_up);
            log::error!(
                "{given_up} lines of usage waited for two days to be sent, and are not any more. The ledger still has them, \
                 by the hour: `tollgate usage export --since 3d` prints them"
            );
        }
        Ok(())
    }

    fn seconds(&self) -> u64 {
        self.clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// Seconds since it began.
    fn steady(&self) -> u64 {
        self.clock.now().saturating_duration_since(self.began).as_secs()
    }

    /// Tells what changed, once.
    fn tell(&self, fault: Option<Fault>) {
        let was_failing = self.desk.is_failing.swap(fault.is_some(), Ordering::Relaxed);
        let place = &self.place;
        match fault {
            Some(fault) if !was_failing => log::error!(
                "usage cannot be written to {place}: {fault}. It is kept in memory and written later; what is not written \
                 when the gateway ends is lost. {}",
                place.advice()
            ),
            None if was_failing => log::info!("usage is written to {place} again; nothing was lost"),
            Some(_) | None => {}
        }
    }
}
