//! Writes usage down, for bills.
//!
//! In: what was added up. Out: the same in the ledger, at most a moment behind.
//! What cannot be written is kept and written later. Not here: SQL (`sqlite`,
//! `postgres`), batches (`waiting`), adding up (`tally`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ahash::RandomState;

use crate::clock::Clock;
use crate::exchange::usage::{UsageKey, Used};
use crate::state::beat::Beat;
use crate::state::past::Past;
use crate::state::private::Fault;

use super::brake::{Brake, LAST};
use super::mark::Sending;
use super::place::{Place, Store};
use super::waiting::Waiting;
use super::{Desk, MOST_PENDING};

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
            waiting: Waiting::new(place.spool()),
            failures: 0,
            unkept: None,
            place: place.clone(),
            desk: Arc::clone(desk),
            brake: Brake::of(&beat),
            beat: Arc::clone(&beat),
            past: Past::new(&clock, PATIENCE),
            began: clock.now(),
            next_try: clock.now(),
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
    waiting: Waiting,
    /// Since it was written last.
    failures: u32,
    /// Why what waits is in memory only, where it could be on disk.
    unkept: Option<String>,
    place: Place,
    desk: Arc<Desk>,
    brake: Brake,
    beat: Arc<Beat>,
    past: Past,
    began: Instant,
    /// By the steady clock.
    next_try: Instant,
    /// By the steady clock.
    next_tidy: Instant,
    clock: Clock,
}

/// Whether somebody waits for everything to be written, as the end of the process does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Everything,
    None,
}

impl Writer {
    fn run(mut self) {
        let mut last = 0;
        self.restore();
        loop {
            self.brake.release();
            if self.desk.has_left.swap(false, Ordering::AcqRel) {
                self.restore();
            }
            let (wish, end) = self.beat.next(last, EVERY);
            self.desk.gather();
            let wished = if end || wish != last { Wish::Everything } else { Wish::None };
            if wished == Wish::Everything {
                self.brake.pull();
            }
            if let Some(written) = self.pass(wished) {
                self.tell(written.err());
            }
            if wished == Wish::Everything {
                self.keep_what_is_left();
            }
            self.desk.hold(self.waiting.since(), self.waiting.minute());
            last = wish;
            self.beat.done(wish);
            if end {
                return;
            }
        }
    }

    fn restore(&mut self) {
        if let (Err(error), Some(folder)) = (self.waiting.restore(self.clock.now()), self.waiting.folder()) {
            log::error!("usage that waits in {} cannot be read: {error}", folder.display());
        }
    }

    /// Writes what there is, unless it is too early to try again.
    fn pass(&mut self, wished: Wish) -> Option<Result<(), Fault>> {
        self.past.compare(self.seconds(), self.steady());
        let now = self.clock.now();
        // Who ends does not wait for what did not answer before.
        let is_in_vain = wished == Wish::Everything && self.failures > 0 && self.place.spool().is_some();
        if now < self.next_try || is_in_vain {
            return None;
        }
        // While nothing can be written, sums grow together in the book; not without end where batches can be kept.
        let has_room = self.place.spool().is_some() && self.waiting.sums() < MOST_PENDING;
        if self.waiting.is_empty() || has_room || wished == Wish::Everything {
            self.cut();
        }
        if self.waiting.is_empty() && now < self.next_tidy && self.failures == 0 {
            return None;
        }
        let written = self.write(wished);
        self.failures = if written.is_ok() { 0 } else { self.failures.saturating_add(1) };
        self.next_try = self.clock.now() + self.place.pause(self.failures);
        self.unkept = match &written {
            Ok(()) => None,
            Err(_) => self.waiting.keep().err().map(|(error, _)| error.to_string()),
        };
        Some(written)
    }

    fn cut(&mut self) {
        let (pending, since) = self.desk.take_pending();
        self.waiting.cut(pending, since.unwrap_or_else(|| self.clock.now()));
    }

    fn write(&mut self, wished: Wish) -> Result<(), Fault> {
        let mut store = self.open()?;
        // Before anything is added: what was added must not fail behind it.
        let written = self.tidy(&mut store).and_then(|()| self.add(&mut store, wished));
        // What is damaged is opened anew, which moves it aside.
        self.store = Some(store).filter(|_| !matches!(written, Err(Fault::Damaged(_))));
        written
    }

    fn add(&mut self, store: &mut Store, wished: Wish) -> Result<(), Fault> {
        let end = self.clock.now() + LAST;
        while let Some(batch) = self.waiting.first() {
            store.add(batch, &self.brake)?;
            self.waiting.written();
            let is_late = match wished {
                Wish::Everything => self.clock.now() >= end,
                Wish::None => self.brake.is_pulled(),
            };
            if is_late {
                break;
            }
        }
        Ok(())
    }

    fn open(&mut self) -> Result<Store, Fault> {
        match self.store.take().filter(Store::is_in_place) {
            Some(store) => Ok(store),
            None => self.place.open(&self.clock, &self.brake),
        }
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
        let now = self.past.until(self.seconds(), self.steady());
        let given_up = store.tidy((now, retention), sending, &self.brake)?;
        if given_up > 0 {
            exported.drop_lines(given_up);
            log::error!(
                "{given_up} lines of usage waited for two days to be sent, and are not any more. The ledger still has them, \
                 by the hour: `tollgate usage export --since 3d` prints them"
            );
        }
        Ok(())
    }

    /// What waits for another machine is not lost with the process.
    fn keep_what_is_left(&mut self) {
        if self.failures == 0 && self.waiting.is_empty() {
            return;
        }
        let Some(folder) = self.waiting.folder().map(std::path::Path::to_path_buf) else { return };
        self.cut();
        let requests = self.waiting.requests();
        match self.waiting.keep() {
            _ if requests == 0 => {}
            Ok(()) => log::warn!(
                "the usage of {requests} requests waits in {}: it is written when the gateway runs again",
                folder.display()
            ),
            Err((error, lost)) => log::error!(
                "the usage of {lost} requests is lost when the gateway ends: it cannot be written to {}, nor kept in {}: \
                 {error}",
                self.place,
                folder.display()
            ),
        }
    }

    fn seconds(&self) -> u64 {
        self.clock.since_1970().as_secs()
    }

    /// Seconds since it began.
    fn steady(&self) -> u64 {
        self.clock.now().saturating_duration_since(self.began).as_secs()
    }

    /// Tells what changed, once.
    fn tell(&self, fault: Option<Fault>) {
        let was_failing = self.desk.is_failing.swap(fault.is_some(), Ordering::Relaxed);
        let place = &self.place;
        match (fault, self.waiting.folder()) {
            (Some(fault), None) if !was_failing => log::error!(
                "usage cannot be written to {place}: {fault}. It is kept in memory and written later; what is not written \
                 when the gateway ends is lost. {}",
                place.advice()
            ),
            (Some(fault), Some(folder)) if !was_failing => {
                let folder = folder.display();
                let kept = match &self.unkept {
                    None => format!("kept in {folder}"),
                    Some(why) => format!("kept in memory only, because {folder} cannot be written ({why}),"),
                };
                log::error!(
                    "usage cannot be written to {place}: {fault}. It is {kept} and written later; requests are answered as \
                     before. {}",
                    place.advice()
                );
            }
            (None, _) if was_failing => log::info!("usage is written to {place} again; nothing was lost"),
            (Some(_) | None, _) => {}
        }
    }
}
