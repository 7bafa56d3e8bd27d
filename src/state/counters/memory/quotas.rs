//! Quotas: how much each bucket used in a stretch of the calendar.
//!
//! In: a bucket, an allowance, what is taken. Out: whether anything was left.
//! Not here: writing it down (`journal`), for which changed counts are gathered
//! here, each once however often it changes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::scalar::Window;
use crate::config::section::limits::Cost;
use crate::state::counters::bucket::{self, Bucket, Buckets};
use crate::state::counters::{Allowance, Ask, Entry, Standing, Taken, algorithm, calendar};
use crate::state::past::GRACE;

use super::Now;
use super::table::{Comer, Counter, Fill, Place, Table};

/// Nobody waits for a sweep that finds nothing more often than so, in seconds.
const PAUSE: u64 = 1;
/// Lists of changed counts, so that cores seldom meet there.
const LISTS: usize = 16;

/// The quotas of all buckets.
#[derive(Debug)]
pub(in crate::state::counters) struct Quotas {
    counts: Table<Arc<Count>>,
    changed: [Mutex<Vec<Arc<Count>>>; LISTS],
    /// Whether somebody writes counts down.
    is_written: AtomicBool,
}

/// What one bucket used in one stretch.
#[derive(Debug)]
pub(in crate::state::counters) struct Count {
    /// How much, and in the highest bit whether it has to be written down and stands in a list for that.
    used: AtomicU64,
    ends: u64,
    line: Option<Line>,
}

/// How a count is written down.
#[derive(Debug)]
pub(in crate::state::counters) struct Line {
    pub(in crate::state::counters) key: Key,
    /// How much is written; only who writes uses this.
    pub(in crate::state::counters) units: AtomicU64,
    /// Whether what is written is to be replaced.
    pub(in crate::state::counters) is_replaced: AtomicBool,
}

/// What every process knows a count by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::state::counters) struct Key {
    /// The name of its bucket.
    pub(in crate::state::counters) name: Box<str>,
    pub(in crate::state::counters) cost: Cost,
    pub(in crate::state::counters) window: Window,
    /// When its stretch began and ends, in seconds since 1970.
    pub(in crate::state::counters) began: u64,
    pub(in crate::state::counters) ends: u64,
}

const CHANGED: u64 = 1 << 63;

/// Who asks for a quota, in the stretch of now.
pub(super) struct Consumer<'a, 'v> {
    buckets: &'a Buckets,
    ask: &'a Ask<'v>,
    allowance: Allowance,
    stretch: (u64, u64),
    bucket: Bucket,
    past: u64,
    is_written: bool,
}

impl Quotas {
    pub(super) fn new(most: usize) -> Self {
        let changed = std::array::from_fn(|_| Mutex::default());
        Quotas { counts: Table::new(most, PAUSE), changed, is_written: AtomicBool::new(false) }
    }

    /// Who asks, and in which stretch.
    pub(super) fn consumer<'a, 'v>(
        &self,
        buckets: &'a Buckets,
        ask: &'a Ask<'v>,
        allowance: Allowance,
        now: &Now,
    ) -> Consumer<'a, 'v> {
        let stretch = calendar::stretch_at(allowance.window, allowance.anchor, now.wall.as_secs());
        let bucket = buckets.of_quota(ask.name, &ask.values, (allowance.cost, allowance.window, stretch.0));
        let is_written = self.is_written.load(Ordering::Relaxed);
        Consumer { buckets, ask, allowance, stretch, bucket, past: now.past, is_written }
    }

    /// Takes what the ask reserves; in which bucket, and how the quota stands then.
    ///
    /// # Errors
    /// Nothing is left, and nothing was taken: how the quota stands.
    pub(super) fn spend(&self, who: &Consumer<'_, '_>, wall: Duration) -> Result<(Bucket, Standing), Standing> {
        let amount = who.allowance.amount;
        let take = |used: u64| algorithm::quota(amount, used).then(|| used.saturating_add(who.ask.reserve));
        match self.count(who, take) {
            (bucket, Ok(used)) => Ok((bucket, Standing { passes: true, ..who.standing(used, wall) })),
            (_, Err(used)) => Err(who.standing(used, wall)),
        }
    }

    /// Takes what the ask reserves, whatever is left.
    pub(super) fn note(&self, who: &Consumer<'_, '_>) -> Bucket {
        self.count(who, |used| Some(used.saturating_add(who.ask.reserve))).0
    }

    /// Keeps what was used, as it is known elsewhere; what was taken if that is with this request.
    pub(super) fn learn(&self, who: &Consumer<'_, '_>, used: u64) -> Entry {
        // Where newcomers share a counter, the one who used most counts.
        let (bucket, most) = self.count(who, |before| (before < used).then_some(used));
        if bucket == who.bucket && most.is_err_and(|most| most != used) {
            self.counts.find(bucket, |count| self.change(count, bucket, &|_| Some(used)).ok());
        }
        who.took(bucket)
    }

    fn count(&self, who: &Consumer<'_, '_>, take: impl Fn(u64) -> Option<u64>) -> (Bucket, Result<u64, u64>) {
        self.counts.count(who, who.past, |count| self.change(count, who.bucket, &take))
    }

    /// Gives back what was taken of a bucket, and takes what it cost instead; nothing if its stretch is over and forgotten.
    pub(super) fn settle(&self, bucket: Bucket, units: u64, actual: u64) {
        let next = |used: u64| Some(used.saturating_sub(units).saturating_add(actual)).filter(|next| *next != used);
        self.counts.find(bucket, |count| self.change(count, bucket, &next).ok());
    }

    /// How a quota stands, the newcomers' where there is no room.
    pub(super) fn look(&self, who: &Consumer<'_, '_>, wall: Duration) -> Standing {
        who.standing(self.counts.look(who, who.past, |count| count.used()).unwrap_or_default(), wall)
    }

    /// How the quota of a bucket of its own stands.
    pub(super) fn recall(&self, who: &Consumer<'_, '_>, wall: Duration) -> Standing {
        who.standing(self.counts.find(who.bucket, |count| count.used()).unwrap_or_default(), wall)
    }

    /// Whether nothing is left.
    pub(super) fn refuses(&self, who: &Consumer<'_, '_>) -> bool {
        let used = self.counts.look(who, who.past, |count| count.used());
        !algorithm::quota(who.allowance.amount, used.unwrap_or_default())
    }

    /// Which of the counters that newcomers share is theirs; none for who has one of their own, or gets it now.
    pub(super) fn overflow(&self, who: &Consumer<'_, '_>, wall: Duration) -> Option<usize> {
        self.counts.overflow(who, wall.as_secs())
    }

    /// Forgets what was counted in the stretch of now.
    pub(super) fn reset(&self, who: &Consumer<'_, '_>) {
        self.counts.look(who, who.past, |count| {
            _ = self.change(count, who.bucket, &|_| Some(0));
            if let Some(line) = &count.line {
                line.is_replaced.store(true, Ordering::Release);
                // Once more: the first change may be written already.
                _ = self.change(count, who.bucket, &Some);
            }
        });
    }

    fn change(&self, count: &Arc<Count>, bucket: Bucket, next: &impl Fn(u64) -> Option<u64>) -> Result<u64, u64> {
        let (before, after) = count.change(next)?;
        let is_news = count.line.is_some() && before & CHANGED == 0;
        if is_news && let Some(list) = self.changed.get(bucket.0 as usize % LISTS) {
            list.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(count));
        }
        Ok(after)
    }

    /// Drops the counts of stretches that ended well before `past`.
    pub(super) fn sweep(&self, past: u64) {
        self.counts.sweep(past);
    }

    pub(super) fn fill(&self) -> Fill {
        self.counts.fill()
    }
}

/// For who writes counts down.
impl Quotas {
    /// From now on counts are gathered that have changed.
    pub(in crate::state::counters) fn write_down(&self) {
        self.is_written.store(true, Ordering::Relaxed);
    }

    /// The counts that have changed since they were taken last.
    pub(in crate::state::counters) fn take_changed(&self) -> Vec<Arc<Count>> {
        let take = |list: &Mutex<Vec<_>>| std::mem::take(&mut *list.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.iter().flat_map(take).collect()
    }

    /// Every count that is written down.
    pub(in crate::state::counters) fn all(&self) -> Vec<Arc<Count>> {
        let mut all = Vec::new();
        self.counts.each(|count| all.extend(count.line.as_ref().map(|_| Arc::clone(count))));
        all
    }

    /// Takes over a count that was written down, whether there is room or not: it must not begin anew.
    pub(super) fn restore(&self, bucket: Bucket, line: Line) {
        let used = line.units.load(Ordering::Relaxed).min(CHANGED - 1);
        let count = Count { used: AtomicU64::new(used), ends: line.key.ends, line: Some(line) };
        self.counts.insert(bucket, Arc::new(count));
    }

    /// Takes over what others have written of a count, beside what is counted here. Only who writes may call this.
    pub(super) fn merge(&self, bucket: Bucket, written: Line) {
        let known = self.counts.find(bucket, Arc::clone);
        let Some(count) = known else { return self.restore(bucket, written) };
        let Some(line) = count.line().filter(|line| !line.is_replaced.load(Ordering::Acquire)) else { return };
        let (before, now) = (line.units.load(Ordering::Relaxed), written.units.load(Ordering::Relaxed));
        if before == now {
            return;
        }
        let news = now.cast_signed().saturating_sub(before.cast_signed());
        line.units.store(now, Ordering::Relaxed);
        _ = self.change(&count, bucket, &|used| Some(used.saturating_add_signed(news)));
    }

    /// How many buckets by address, and how many others, have a count of their own at most.
    pub(in crate::state::counters) fn most(&self) -> usize {
        self.counts.most()
    }
}

impl Count {
    /// How much was used.
    pub(in crate::state::counters) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed) & !CHANGED
    }

    /// How much was used; a change after this is gathered again.
    pub(in crate::state::counters) fn take(&self) -> u64 {
        self.used.fetch_and(!CHANGED, Ordering::AcqRel) & !CHANGED
    }

    /// What was taken could not be written; tells whether nobody has gathered it again since.
    pub(in crate::state::counters) fn put_back(&self) -> bool {
        self.used.fetch_or(CHANGED, Ordering::AcqRel) & CHANGED == 0
    }

    /// How it is written down; none for what newcomers share.
    pub(in crate::state::counters) fn line(&self) -> Option<&Line> {
        self.line.as_ref()
    }

    /// What it was, with the bit for changes, and what is used now.
    ///
    /// # Errors
    /// What is used, and there is no next to it.
    fn change(&self, next: &impl Fn(u64) -> Option<u64>) -> Result<(u64, u64), u64> {
        let next = |used: u64| next(used & !CHANGED).map(|next| next.min(CHANGED - 1));
        let marked = |used: u64| next(used).map(|next| next | CHANGED);
        match self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, marked) {
            Ok(before) => Ok((before, next(before).unwrap_or_default())),
            Err(used) => Err(used & !CHANGED),
        }
    }
}

impl Line {
    fn new(key: Key) -> Self {
        Line { key, units: AtomicU64::new(0), is_replaced: AtomicBool::new(false) }
    }
}

impl Counter for Arc<Count> {
    fn has_lapsed(&self, now: u64) -> bool {
        self.ends.saturating_add(GRACE) <= now
    }
}

impl Comer<Arc<Count>> for Consumer<'_, '_> {
    fn own(&self) -> Bucket {
        self.bucket
    }

    fn shared(&self) -> Bucket {
        let Allowance { cost, window, .. } = self.allowance;
        self.buckets.shared_quota(self.ask.name, (cost, window, self.stretch.0)).beside(self.bucket)
    }

    fn fresh(&self, place: Place) -> Arc<Count> {
        let ((began, ends), Allowance { cost, window, .. }) = (self.stretch, self.allowance);
        // Who shares a count is not among the others of this shard in another process.
        let is_written = self.is_written && place == Place::Own;
        let line =
            is_written.then(|| Line::new(Key { name: bucket::text(self.ask).into(), cost, window, began, ends }));
        Arc::new(Count { used: AtomicU64::new(0), ends, line })
    }
}

impl Consumer<'_, '_> {
    /// The same, in another stretch: clocks may differ about which it is.
    pub(super) fn within(self, stretch: (u64, u64)) -> Self {
        let Allowance { cost, window, .. } = self.allowance;
        let bucket = self.buckets.of_quota(self.ask.name, &self.ask.values, (cost, window, stretch.0));
        Consumer { stretch, bucket, ..self }
    }

    /// What is taken, of this bucket.
    pub(super) fn took(&self, bucket: Bucket) -> Entry {
        let (allowance, (began, _)) = (self.allowance, self.stretch);
        Entry { bucket, taken: Taken::Quota { allowance, began, units: self.ask.reserve }, ask: 0, elsewhere: None }
    }

    fn standing(&self, used: u64, wall: Duration) -> Standing {
        let amount = self.allowance.amount;
        let whole = Duration::from_secs(self.stretch.1).saturating_sub(wall);
        let wait = if algorithm::quota(amount, used) { Duration::ZERO } else { whole };
        Standing { total: amount, remaining: amount.saturating_sub(used), passes: wait.is_zero(), wait, whole }
    }
}
