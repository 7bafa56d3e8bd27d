//! Writes quotas down, so that they survive the process.
//!
//! In: counts that change. Out: the same counts after a restart, at most a
//! moment behind. Not here: SQL (`sqlite`). Requests never wait for it: they mark
//! a count as changed, and a thread of its own writes what is marked twice a
//! second. What cannot be written stays marked, so nothing is lost but with the
//! process, and nothing grows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::state::beat::Beat;
use crate::state::past::Past;
use crate::state::private::{self, Fault};

use super::Writers;
use super::bucket::Named;
use super::memory::{Count, Line, Memory, Quotas};
use super::sqlite::{self, Change, Store, Whose};

/// Between two batches: with the time to write one, the most that the end of the process can take away.
const EVERY: Duration = Duration::from_millis(500);
/// Between two batches while another process counts, too, and learns from them what was counted here; and so many times as
/// long as one takes.
const EVERY_SHARED: Duration = Duration::from_millis(20);
const REST: u32 = 4;
/// Between two looks for stretches that are over; also before the first, so that a clock that is wrong at the start of the
/// machine has time to be set right.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
/// What is written outlives its stretch for so long, in seconds; and so long the wall clock has to go on after a leap before
/// anything is removed by it. There is room on a disk.
const KEPT: u64 = 86_400;

/// The thread that writes. Dropping it writes what is left.
#[derive(Debug)]
pub(super) struct Journal {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and the others share.
#[derive(Debug, Default)]
struct Desk {
    beat: Beat,
    is_failing: AtomicBool,
    /// Whether another process counts in the file, too.
    is_shared: AtomicBool,
}

impl Journal {
    /// Opens the file in `folder`, counts on from what is written there, and begins to write.
    ///
    /// # Errors
    /// In a sentence, why it cannot be used and what to do.
    pub(super) fn open(folder: &Path, memory: &Arc<Memory>, clock: &Clock) -> Result<Journal, String> {
        let path = sqlite::path(folder);
        let store = open(folder, clock, "every quota begins at zero").map_err(|fault| advice(&path, &fault))?;
        restore(&store, memory, seconds(clock)).map_err(|fault| advice(&path, &fault))?;
        memory.quotas().write_down();
        let desk = Arc::<Desk>::default();
        let writer = Writer {
            store: Some(store),
            folder: folder.to_path_buf(),
            memory: Arc::clone(memory),
            kept_back: Vec::new(),
            past: Past::new(clock, KEPT),
            began: clock.now(),
            next_forget: clock.now() + FORGET_EVERY,
            desk: Arc::clone(&desk),
            clock: clock.clone(),
        };
        let thread = std::thread::Builder::new().name("quotas".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|error| advice(&path, &error.into()))?;
        Ok(Journal { desk, thread: Some(thread) })
    }

    /// Waits until everything that was counted before is written, or cannot be.
    pub(super) async fn flush(&self) {
        self.desk.beat.flush().await;
    }

    /// From the next flush on, what another process writes is learned; or is not.
    pub(super) fn written_by(&self, writers: Writers) {
        self.desk.is_shared.store(writers == Writers::Two, Ordering::Release);
    }

    /// Whether the last batch could not be written.
    pub(super) fn is_failing(&self) -> bool {
        self.desk.is_failing.load(Ordering::Relaxed)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.desk.beat.end();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    /// None while the file cannot be used.
    store: Option<Store>,
    folder: PathBuf,
    memory: Arc<Memory>,
    /// Counts that could not be written.
    kept_back: Vec<Arc<Count>>,
    past: Past,
    began: Instant,
    /// By the steady clock.
    next_forget: Instant,
    desk: Arc<Desk>,
    clock: Clock,
}

impl Writer {
    fn run(mut self) {
        let (mut last, mut every) = (0, EVERY);
        loop {
            let (wish, end) = self.desk.beat.next(last, every);
            let began = self.clock.now();
            let written = self.write();
            let took = self.clock.now().saturating_duration_since(began);
            every = if self.is_shared() { EVERY_SHARED.max(took * REST) } else { EVERY };
            self.tell(written.err());
            last = wish;
            self.desk.beat.done(wish);
            if end {
                return;
            }
        }
    }

    /// Writes what has changed.
    fn write(&mut self) -> Result<(), Fault> {
        self.past.compare(seconds(&self.clock), self.steady());
        let mut counts = std::mem::take(&mut self.kept_back);
        counts.extend(self.quotas().take_changed());
        let is_failing = self.desk.is_failing.load(Ordering::Relaxed);
        if counts.is_empty() && !is_failing && !self.is_shared() && self.clock.now() < self.next_forget {
            return Ok(());
        }
        let mut store = match self.store.take().filter(Store::is_in_place) {
            Some(store) => store,
            None => match open(&self.folder, &self.clock, "quotas are written anew from memory") {
                Ok(store) => {
                    counts = self.all();
                    store
                }
                Err(fault) => {
                    self.kept_back = counts;
                    return Err(fault);
                }
            },
        };
        let written = write(&mut store, counts, &mut self.kept_back).and_then(|()| self.forget(&mut store));
        let written = written
            .and_then(|()| if self.is_shared() { learn(&store, &self.memory, seconds(&self.clock)) } else { Ok(()) });
        // What is damaged is opened anew, which moves it aside.
        let is_damaged = matches!(written, Err(Fault::Damaged(_)));
        self.store = Some(store).filter(|_| !is_damaged);
        written
    }

    fn quotas(&self) -> &Quotas {
        self.memory.quotas()
    }

    fn is_shared(&self) -> bool {
        self.desk.is_shared.load(Ordering::Acquire)
    }

    /// Every count, to be written whole: somebody took the file away, and with it what was written there.
    fn all(&self) -> Vec<Arc<Count>> {
        let counts = self.quotas().all();
        let lines = counts.iter().filter_map(|count| count.line());
        lines.for_each(|line| line.is_replaced.store(true, Ordering::Relaxed));
        counts
    }

    fn forget(&mut self, store: &mut Store) -> Result<(), Fault> {
        let now = self.clock.now();
        if now < self.next_forget {
            return Ok(());
        }
        self.next_forget = now + FORGET_EVERY;
        store.forget(self.past.until(seconds(&self.clock), self.steady()).saturating_sub(KEPT))
    }

    /// Seconds since it began.
    fn steady(&self) -> u64 {
        self.clock.now().saturating_duration_since(self.began).as_secs()
    }

    /// Tells what changed, once.
    fn tell(&self, fault: Option<Fault>) {
        let was_failing = self.desk.is_failing.swap(fault.is_some(), Ordering::Relaxed);
        let path = sqlite::path(&self.folder);
        match fault {
            Some(fault) if !was_failing => log::error!(
                "quotas cannot be written to {}: {fault}. They go on in memory, and what is counted from now on is lost if \
                 the gateway ends before it can write again",
                path.display()
            ),
            None if was_failing => log::info!("quotas are written to {} again; nothing was lost", path.display()),
            Some(_) | None => {}
        }
    }
}

/// Writes all of these counts, or none; then those are kept back that are not gathered again by themselves.
fn write(store: &mut Store, mut counts: Vec<Arc<Count>>, kept_back: &mut Vec<Arc<Count>>) -> Result<(), Fault> {
    // Twice in a batch, a change would be written twice.
    counts.sort_unstable_by_key(Arc::as_ptr);
    counts.dedup_by(|one, other| Arc::ptr_eq(one, other));
    let drafts: Vec<Draft<'_>> = counts.iter().filter_map(|count| Draft::of(count)).collect();
    let written = store.write(drafts.iter().map(|draft| (&draft.line.key, draft.change)));
    for Draft { line, used, change } in drafts {
        match (&written, change) {
            (Ok(()), _) => line.units.store(used, Ordering::Relaxed),
            (Err(_), Change::Set(_)) => line.is_replaced.store(true, Ordering::Relaxed),
            (Err(_), Change::Add(_)) => {}
        }
    }
    if written.is_err() {
        counts.retain(|count| count.put_back());
        kept_back.extend(counts);
    }
    written
}

/// What is to be written of a count.
struct Draft<'a> {
    line: &'a Line,
    used: u64,
    change: Change,
}

impl<'a> Draft<'a> {
    fn of(count: &'a Count) -> Option<Self> {
        let line = count.line()?;
        let used = count.take();
        // After it was read: a count that is reset meanwhile changes once more.
        let change = match line.is_replaced.swap(false, Ordering::AcqRel) {
            true => Change::Set(used),
            false => Change::Add(used.cast_signed().saturating_sub(line.units.load(Ordering::Relaxed).cast_signed())),
        };
        Some(Draft { line, used, change })
    }
}

/// Opens the file, another one if it is damaged.
fn open(folder: &Path, clock: &Clock, what_follows: &str) -> Result<Store, Fault> {
    private::open_or_renew(&sqlite::path(folder), clock, what_follows, || Store::open(folder))
}

/// Counts on from what is written of stretches that go on, or would by a clock that is set back a little.
fn restore(store: &Store, memory: &Memory, now: u64) -> Result<(), Fault> {
    let restored = each(store, memory, now, |named, line| memory.restore(named, line))?;
    let known = store.len(now)?;
    if known > restored {
        log::warn!("{known} quotas are written, and only {restored} can be kept: the least used begin at zero");
    }
    Ok(())
}

/// Adds what another process has counted since the last look.
fn learn(store: &Store, memory: &Memory, now: u64) -> Result<(), Fault> {
    each(store, memory, now, |named, line| memory.merge(named, line)).map(drop)
}

/// How many there are.
fn each(store: &Store, memory: &Memory, now: u64, mut each: impl FnMut(&Named, Line)) -> Result<usize, Fault> {
    let most = memory.quotas().most();
    // Apart: addresses, of which anybody may have many, must not crowd the others out.
    let mut counts = store.read(Whose::Others, now, most)?;
    counts.extend(store.read(Whose::Addresses, now, most)?);
    let number = counts.len();
    for (key, units) in counts {
        let strange = || Fault::Unusable(format!("`{}` is no name of a count", key.name));
        let name = key.name.clone();
        let named = Named::read(&name).ok_or_else(strange)?;
        each(&named, Line { key, units: units.into(), is_replaced: AtomicBool::new(false) });
    }
    Ok(number)
}

/// What a person is told at the start.
fn advice(path: &Path, fault: &Fault) -> String {
    let path = path.display();
    match fault {
        Fault::Newer => format!(
            "{path} was written by a newer gateway: start that one, or move the file away, and every quota begins at zero"
        ),
        Fault::Damaged(_) | Fault::Unusable(_) => format!(
            "quotas are kept in {path}, which cannot be used: {fault}. Let the user that runs the gateway write in that \
             folder, or name another one as `state.dir`"
        ),
    }
}

fn seconds(clock: &Clock) -> u64 {
    clock.since_1970().as_secs()
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
