//! Counters by bucket: as many as are wanted at a time, and never more than fit.
//!
//! In: buckets. Out: the counter of each. Not here: what a counter counts.
//!
//! The table is cut into shards, so that cores meet only at a key that they
//! share: finding a counter takes its shard's lock for reading, and counting is
//! one atomic operation. Only counters that have lapsed are ever dropped. Where a
//! shard is full of others, newcomers of one limit share a counter: whoever
//! sprays keys gains no room, no fresh counter and no memory by it. Buckets that
//! tell addresses apart have shards of their own, every other one, so that who
//! has many addresses takes no room from tenants and callers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::state::counters::bucket::{Bucket, PARTS};

/// A power of two, many times as many as there are cores; the lowest bit of a bucket tells its part.
const SHARDS: usize = 128 * PARTS;
/// A sweep that frees less than this share of a full shard is not worth another one at once.
const WORTH_IT: usize = 16;

/// What a table keeps.
pub(super) trait Counter {
    /// Whether it means nothing any more at `now`, on the clock of its table.
    fn has_lapsed(&self, now: u64) -> bool;
}

/// Somebody to be counted.
pub(super) trait Comer<C> {
    /// Their own bucket.
    fn own(&self) -> Bucket;
    /// The bucket that they share with others of the same limit where no room is left.
    fn shared(&self) -> Bucket;
    /// Their counter, before anything is counted.
    fn fresh(&self, place: Place) -> C;
}

/// Whose counter it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One bucket's.
    Own,
    /// That of all newcomers of a limit.
    Shared,
}

/// The counters.
#[derive(Debug)]
pub(super) struct Table<C> {
    shards: Box<[Shard<C>]>,
    /// Counters in a shard, those that are shared not among them.
    most: usize,
    /// How long a full shard is not swept again after a sweep that freed little.
    pause: u64,
}

// Two lines of the cache, which processors fetch together: a core that works in one shard does not slow the next one down.
#[derive(Debug)]
#[repr(align(128))]
struct Shard<C>(RwLock<Kept<C>>);

#[derive(Debug)]
struct Kept<C> {
    own: HashMap<Bucket, C, Random>,
    shared: HashMap<Bucket, C, Random>,
    next_sweep: u64,
}

/// How full a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Counters of one bucket.
    pub own: usize,
    /// Counters that newcomers share because there is no room.
    pub shared: usize,
    /// Bytes that the table takes, without what counters point to.
    pub bytes: usize,
}

impl<C: Counter> Table<C> {
    /// A table of at most `most` counters, and few more that are shared.
    pub(super) fn new(most: usize, pause: u64) -> Self {
        let shards = (0..SHARDS).map(|_| Shard(RwLock::default())).collect();
        Table { shards, most: most.div_ceil(SHARDS).max(1), pause }
    }

    /// Counts with the counter of `comer`, which is made if there is none; tells in which bucket that was.
    pub(super) fn count<T>(&self, comer: &impl Comer<C>, now: u64, count: impl Fn(&C) -> T) -> (Bucket, T) {
        let bucket = comer.own();
        let Some(shard) = self.shard(bucket) else { return (bucket, count(&comer.fresh(Place::Shared))) };
        {
            let kept = shard.read();
            if let Some(counter) = kept.own.get(&bucket) {
                return (bucket, count(counter));
            }
            if self.is_full(&kept, now)
                && let shared = comer.shared()
                && let Some(counter) = kept.shared.get(&shared)
            {
                return (shared, count(counter));
            }
        }
        let kept = &mut *shard.write();
        if kept.own.len() >= self.most && !self.is_full(kept, now) && !kept.own.contains_key(&bucket) {
            let freed = kept.sweep(now);
            kept.next_sweep = if freed < self.most.div_ceil(WORTH_IT) { now.saturating_add(self.pause) } else { 0 };
        }
        if kept.own.len() < self.most || kept.own.contains_key(&bucket) {
            return (bucket, count(kept.own.entry(bucket).or_insert_with(|| comer.fresh(Place::Own))));
        }
        let shared = comer.shared();
        (shared, count(kept.shared.entry(shared).or_insert_with(|| comer.fresh(Place::Shared))))
    }

    /// Reads a counter that was counted with, if it is still there.
    pub(super) fn find<T>(&self, bucket: Bucket, read: impl FnOnce(&C) -> T) -> Option<T> {
        let kept = self.shard(bucket)?.read();
        kept.own.get(&bucket).or_else(|| kept.shared.get(&bucket)).map(read)
    }

    /// Reads the counter that `comer` would be counted with, if there is one.
    pub(super) fn look<T>(&self, comer: &impl Comer<C>, now: u64, read: impl FnOnce(&C) -> T) -> Option<T> {
        let bucket = comer.own();
        let kept = self.shard(bucket)?.read();
        let shared = || if self.is_full(&kept, now) { kept.shared.get(&comer.shared()) } else { None };
        kept.own.get(&bucket).or_else(shared).map(read)
    }

    /// Which of the counters that newcomers share `comer` has, where there is no room for one of their own, which is made
    /// otherwise.
    pub(super) fn overflow(&self, comer: &impl Comer<C>, now: u64) -> Option<usize> {
        let (bucket, ()) = self.count(comer, now, |_| ());
        (bucket != comer.own()).then_some(bucket.1 as usize % SHARDS)
    }

    /// Makes a counter unless it is there, whether there is room or not.
    pub(super) fn insert(&self, bucket: Bucket, counter: C) {
        if let Some(shard) = self.shard(bucket) {
            shard.write().own.entry(bucket).or_insert(counter);
        }
    }

    /// How many buckets of one part have a counter of their own at most.
    pub(super) fn most(&self) -> usize {
        self.most * SHARDS / PARTS
    }

    /// Takes away what has lapsed, and gives memory back that is not needed any more.
    pub(super) fn sweep(&self, now: u64) {
        for shard in &self.shards {
            let kept = &mut *shard.write();
            kept.sweep(now);
            if kept.own.capacity() > 4 * kept.own.len() {
                kept.own.shrink_to(2 * kept.own.len());
                kept.shared.shrink_to_fit();
            }
        }
    }

    /// Visits every counter.
    pub(super) fn each(&self, mut visit: impl FnMut(&C)) {
        for shard in &self.shards {
            let kept = shard.read();
            kept.own.values().chain(kept.shared.values()).for_each(&mut visit);
        }
    }

    pub(super) fn fill(&self) -> Fill {
        // A slot of the map is the pair and a byte that says what is in it, and at most seven of eight are used.
        let bytes = |capacity: usize| capacity * 8 / 7 * (size_of::<(Bucket, C)>() + 1);
        self.shards.iter().map(Shard::read).fold(Fill::default(), |sum, kept| Fill {
            own: sum.own + kept.own.len(),
            shared: sum.shared + kept.shared.len(),
            bytes: sum.bytes + bytes(kept.own.capacity()) + bytes(kept.shared.capacity()),
        })
    }

    /// Whether no room is left, and no sweep can be expected to make some. One that is further off than a pause was put off
    /// by a clock that was set back since.
    fn is_full(&self, kept: &Kept<C>, now: u64) -> bool {
        let until_sweep = kept.next_sweep.saturating_sub(now);
        kept.own.len() >= self.most && until_sweep > 0 && until_sweep <= self.pause
    }

    fn shard(&self, bucket: Bucket) -> Option<&Shard<C>> {
        self.shards.get(bucket.1 as usize % SHARDS)
    }
}

impl Bucket {
    /// This bucket, in the shard of `other`.
    pub(super) fn beside(self, other: Bucket) -> Bucket {
        let shards = SHARDS as u64;
        Bucket(self.0, self.1 - self.1 % shards + other.1 % shards)
    }
}

impl<C> Shard<C> {
    fn read(&self) -> RwLockReadGuard<'_, Kept<C>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Kept<C>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Counter> Kept<C> {
    /// How many were taken away.
    fn sweep(&mut self, now: u64) -> usize {
        let before = self.own.len();
        self.own.retain(|_, counter| !counter.has_lapsed(now));
        self.shared.retain(|_, counter| !counter.has_lapsed(now));
        before - self.own.len()
    }
}

impl<C> Default for Kept<C> {
    fn default() -> Self {
        Kept { own: HashMap::default(), shared: HashMap::default(), next_sweep: 0 }
    }
}

/// Buckets are random already.
type Random = BuildHasherDefault<First>;

/// The first word that is hashed.
#[derive(Debug, Default)]
struct First(u64);

impl Hasher for First {
    fn write_u64(&mut self, word: u64) {
        if self.0 == 0 {
            self.0 = word;
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
