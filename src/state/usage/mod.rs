//! Who used how much: for dashboards as it happens, and for bills on disk.
//!
//! In: what each exchange used. Out: totals by tenant and route; a file of sums
//! by minute, tenant, caller, route and class. One addition per request, under a
//! lock that nobody else wants; all else happens beside requests. Not here: what
//! counts as used (`pipeline::usage`).

mod brake;
mod export;
mod ledger;
mod mark;
mod place;
#[cfg(feature = "postgres")]
mod postgres;
mod question;
mod row;
mod spool;
mod sql;
mod sqlite;
mod tally;
mod totals;
mod waiting;

pub use export::Exported;
pub use place::Place;
pub use question::{Answer, Question, Side};
pub use row::{COLUMNS, Row};
pub use totals::Totals;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::config::Config;
use crate::config::section::usage::Usage as Section;
use crate::exchange::usage::{UsageKeyRef, Used};

use brake::Brake;
use export::{Destination, Export, Progress};
use ledger::{Ledger, Pending};
use place::Store;
use tally::{Tally, crowded};

/// Sums that wait to be written, at most, before callers are not told apart any more: some 40 MB.
const MOST_PENDING: usize = 200_000;
/// Between two looks for tenants that do not call any more.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// What was used.
#[derive(Debug)]
pub struct Usage {
    desk: Arc<Desk>,
    ledger: Mutex<Option<Ledger>>,
    export: Mutex<Option<Export>>,
    /// Whether sending is another process' affair, for as long as it and this one share the ledger.
    is_lent: AtomicBool,
}

/// What requests, the thread that writes and those who look share.
#[derive(Debug)]
struct Desk {
    tally: Tally,
    book: Mutex<Book>,
    clock: Clock,
    most_tenants: AtomicUsize,
    /// In seconds.
    retention: AtomicU64,
    is_kept: AtomicBool,
    is_failing: AtomicBool,
    /// Whether another process has ended that may have left something to be written.
    has_left: AtomicBool,
    exported: Progress,
}

#[derive(Debug)]
struct Book {
    totals: Totals,
    pending: Pending,
    /// Since when something waits.
    since: Option<Instant>,
    /// Since when something waits that was taken to be written.
    held: Option<Instant>,
    /// The earliest minute of what waits, and of what was taken; of the latter all are, before it is known.
    minute: u32,
    held_minute: u32,
    /// Requests whose usage was given up, because nothing could be written for too long.
    lost: u64,
    next_forget: Instant,
}

/// How the ledger stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether usage is written down, or would be if there were some; none where nobody wants that.
    pub is_written: Option<bool>,
    /// The age of the oldest that is not written.
    pub behind: Duration,
    /// Requests whose usage was given up.
    pub lost: u64,
    /// Tenants that are told apart.
    pub tenants: usize,
    /// What became of lines that are sent elsewhere.
    pub exported: Exported,
}

impl Usage {
    /// Nothing yet, and nothing is written down: see [`Usage::follow`].
    pub fn new(clock: Clock) -> Self {
        let Section { retention, max_tenants, .. } = Section::default();
        let book = Book {
            totals: Totals::default(),
            pending: Pending::default(),
            since: None,
            held: None,
            minute: u32::MAX,
            held_minute: 0,
            lost: 0,
            next_forget: clock.now() + FORGET_EVERY,
        };
        let desk = Desk {
            tally: Tally::default(),
            book: Mutex::new(book),
            clock,
            most_tenants: AtomicUsize::new(max_tenants as usize),
            retention: AtomicU64::new(retention.duration().as_secs()),
            is_kept: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
            exported: Progress::default(),
        };
        Usage {
            desk: Arc::new(desk),
            ledger: Mutex::default(),
            export: Mutex::default(),
            is_lent: AtomicBool::new(false),
        }
    }

    /// Adds what an exchange used.
    pub fn count(&self, key: UsageKeyRef<'_>, used: Used) {
        self.desk.tally.add(key, used);
    }

    /// Does from now on what the configuration says.
    pub fn follow(&self, config: &Config) {
        let Section { ledger, retention, max_tenants, measure: _, export: _ } = &config.usage;
        self.desk.most_tenants.store(*max_tenants as usize, Ordering::Relaxed);
        self.desk.retention.store(retention.duration().as_secs(), Ordering::Relaxed);
        let place = Place::of(&config.state);
        self.write_to(ledger.then_some(&place));
        let is_ours = *ledger && !self.is_lent.load(Ordering::Acquire);
        self.send_to(Destination::of(config).filter(|_| is_ours), &place);
    }

    /// Leaves it to another process to send lines, until [`Usage::take_back`]: two would send the same ones.
    pub fn lend(&self) {
        self.is_lent.store(true, Ordering::Release);
        *self.export.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Writes what the other process left, and sends lines from the next [`Usage::follow`] on.
    pub fn take_back(&self) {
        self.desk.has_left.store(true, Ordering::Release);
        self.is_lent.store(false, Ordering::Release);
    }

    /// Has usage written down somewhere, or not at all.
    fn write_to(&self, place: Option<&Place>) {
        let current = &mut *self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().map(Ledger::place) == place {
            return;
        }
        // It writes what is left first.
        *current = None;
        self.desk.is_kept.store(place.is_some(), Ordering::Relaxed);
        self.desk.is_failing.store(false, Ordering::Relaxed);
        let Some(place) = place else { return };
        self.desk.book().held_minute = 0;
        match Ledger::start(place, &self.desk) {
            Ok(started) => *current = Some(started),
            Err(error) => log::error!("usage is not written down: no thread can be started: {error}"),
        }
    }

    /// Has what is written somewhere sent elsewhere, or nowhere.
    fn send_to(&self, destination: Option<Destination>, place: &Place) {
        let current = &mut *self.export.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().map(Export::way) == destination.as_ref().map(|destination| (place, destination)) {
            return;
        }
        *current = None;
        let Some(destination) = destination else { return };
        match Export::start(destination, place, &self.desk) {
            Ok(started) => *current = Some(started),
            Err(error) => log::error!("usage is not exported: no thread can be started: {error}"),
        }
    }

    /// Waits until everything that was used before is written, or cannot be.
    pub async fn flush(&self) {
        let beat = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|it| Arc::clone(it.beat()));
        if let Some(beat) = beat {
            beat.flush().await;
        }
    }

    /// Forgets totals of routes that are not served any more.
    pub fn keep_routes(&self, is_served: impl Fn(&str) -> bool) {
        self.desk.gather();
        self.desk.book().totals.keep_routes(is_served);
    }

    /// Looks at the totals, which are up to date.
    pub fn totals<T>(&self, look: impl FnOnce(&Totals) -> T) -> T {
        self.desk.gather();
        look(&self.desk.book().totals)
    }

    /// How the ledger stands.
    pub fn standing(&self) -> Standing {
        self.desk.gather();
        let is_kept = self.desk.is_kept.load(Ordering::Relaxed);
        let is_failing = self.desk.is_failing.load(Ordering::Relaxed);
        let book = self.desk.book();
        let now = self.desk.clock.now();
        Standing {
            is_written: is_kept.then_some(!is_failing),
            behind: book.held.or(book.since).map_or(Duration::ZERO, |since| now.saturating_duration_since(since)),
            lost: book.lost,
            tenants: book.totals.tenants(),
            exported: self.desk.exported.told(),
        }
    }
}

impl Desk {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings what was added up by requests into the book.
    fn gather(&self) {
        let (now, most) = (self.clock.now(), self.most_tenants.load(Ordering::Relaxed));
        let is_kept = self.is_kept.load(Ordering::Relaxed);
        let book = &mut *self.book();
        for (key, used) in self.tally.take() {
            book.totals.add(&key, used, (most, now));
            if is_kept {
                book.add(key.borrowed(), used, now);
            }
        }
        if now >= book.next_forget {
            book.next_forget = now + FORGET_EVERY;
            book.totals.forget_idle(now);
        }
    }

    /// The first minute, in seconds since 1970, of which something may not be written yet.
    fn written_until(&self) -> u64 {
        let book = self.book();
        u64::from(book.minute.min(book.held_minute)) * 60
    }

    /// What is not written yet, and since when the oldest of it is there.
    fn take_pending(&self) -> (Pending, Option<Instant>) {
        let book = &mut *self.book();
        book.held_minute = book.held_minute.min(std::mem::replace(&mut book.minute, u32::MAX));
        let since = book.since.take();
        // Until it is written, see [`Desk::hold`].
        book.held = book.held.or(since);
        (std::mem::take(&mut book.pending), since)
    }

    /// Since when that waits which was taken, and the earliest minute of it.
    fn hold(&self, since: Option<Instant>, minute: Option<u32>) {
        let book = &mut *self.book();
        (book.held, book.held_minute) = (since, minute.unwrap_or(u32::MAX));
    }
}

impl Book {
    fn add(&mut self, key: UsageKeyRef<'_>, used: Used, now: Instant) {
        self.since.get_or_insert(now);
        self.minute = self.minute.min(key.minute);
        let known = self.pending.len();
        let key = key.to_owned();
        if known >= MOST_PENDING && !self.pending.contains_key(&key) {
            if known >= MOST_PENDING * 4 {
                self.lost = self.lost.saturating_add(used.requests);
                return;
            }
            *self.pending.entry(crowded(key.borrowed(), known, MOST_PENDING)).or_default() += used;
            return;
        }
        *self.pending.entry(key).or_default() += used;
    }
}

/// Asks the ledger of a gateway that runs or not; none if nothing was ever written.
///
/// # Errors
/// In a sentence, why it cannot be read.
pub fn ask(place: &Place, question: &Question) -> Result<Option<Answer>, String> {
    let asked = place.look().and_then(|store| match store {
        Some(mut store) => store.answer(question).map(Some),
        None => Ok(None),
    });
    asked.map_err(|fault| format!("{place} cannot be read: {fault}"))
}

/// Reads every line of a ledger that ends and begins between two times (in seconds since 1970), in the order of time, with
/// the ledger's name; how many they are, none if nothing was ever written.
///
/// # Errors
/// In a sentence, why it cannot be read.
pub fn lines(
    place: &Place,
    (since, until): (u64, u64),
    mut each: impl FnMut(&str, &Row),
) -> Result<Option<u64>, String> {
    let read = |mut store: Store| {
        let (gateway, mut count) = (store.gateway(&Brake::none())?, 0);
        store.read(since, until, &mut |row| {
            count += 1;
            each(&gateway, row);
        })?;
        Ok(count)
    };
    place
        .look()
        .and_then(|store| store.map(read).transpose())
        .map_err(|fault| format!("{place} cannot be read: {fault}"))
}
