//! Rates: for each bucket, when its next request is due.
//!
//! In: a bucket, a pace, the time. Out: whether it is let in, and how it stands.
//! Not here: the arithmetic (`algorithm`). Times are nanoseconds of one clock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::state::counters::algorithm;
use crate::state::counters::bucket::{Bucket, Buckets};
use crate::state::counters::{Ask, Entry, Pace, Standing, Taken};

use super::Ticker;
use super::table::{Comer, Counter, Fill, Place, Table};

/// Nobody waits for a sweep that finds nothing more often than so.
const PAUSE: u64 = 100_000_000;

/// The rates of all buckets.
#[derive(Debug)]
pub(super) struct Rates {
    table: Table<Due>,
    ticker: Ticker,
}

#[derive(Debug, Default)]
struct Due(AtomicU64);

/// Who asks for a rate.
pub(super) struct Requester<'a, 'v> {
    pub(super) buckets: &'a Buckets,
    pub(super) ask: &'a Ask<'v>,
    pub(super) bucket: Bucket,
}

impl Rates {
    pub(super) fn new(most: usize, ticker: Ticker) -> Self {
        Rates { table: Table::new(most, PAUSE), ticker }
    }

    /// Takes one request; how the rate stands then.
    ///
    /// # Errors
    /// It is not let in, and nothing was taken: how the rate stands.
    pub(super) fn spend(&self, who: &Requester<'_, '_>, rule: Pace, now: u64) -> Result<(Entry, Standing), Standing> {
        let (bucket, spent) = self.table.count(who, now, |Due(due)| {
            let spent =
                due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| algorithm::pace(rule, due, now).ok());
            spent.inspect_err(|_| _ = self.owed(due, rule, now))
        });
        match spent {
            Ok(before) => {
                let due = before.max(now).saturating_add(rule.interval);
                let standing = algorithm::standing_of_pace(rule, due, now);
                Ok((
                    Entry { bucket, taken: Taken::Pace { rule, due }, ask: 0, elsewhere: None },
                    Standing { passes: true, ..standing },
                ))
            }
            Err(due) => Err(algorithm::standing_of_pace(rule, due, now)),
        }
    }

    /// Takes one request, whatever there is; nobody owes more than a whole burst.
    pub(super) fn note(&self, who: &Requester<'_, '_>, rule: Pace, now: u64) -> Entry {
        let most = now.saturating_add(rule.interval.saturating_mul(u64::from(rule.burst)));
        // Who owes more already, by another rule, keeps that.
        let next = |due: u64| due.max(now).saturating_add(rule.interval).min(most).max(due);
        let (bucket, before) = self.table.count(who, now, |Due(due)| {
            due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| Some(next(due))).unwrap_or_else(|due| due)
        });
        let due = next(before);
        // Only what was taken can be given back.
        let rule = Pace { interval: rule.interval.min(due - before.min(due)), ..rule };
        Entry { bucket, taken: Taken::Pace { rule, due }, ask: 0, elsewhere: None }
    }

    /// Keeps how early the next request would be, as it is known elsewhere; what was taken if that is with this request.
    pub(super) fn learn(&self, who: &Requester<'_, '_>, rule: Pace, now: u64, early: u64) -> Entry {
        let due = now.saturating_add(early);
        let (bucket, before) = self.table.count(who, now, |Due(kept)| kept.fetch_max(due, Ordering::Relaxed));
        // Where newcomers share a counter, the one who owes most counts.
        if bucket == who.bucket && before > due {
            self.table.find(bucket, |Due(kept)| kept.store(due, Ordering::Relaxed));
        }
        Entry { bucket, taken: Taken::Pace { rule, due }, ask: 0, elsewhere: None }
    }

    /// Gives back what was taken, after which the next was due then, as far as time has not done so already.
    pub(super) fn refund(&self, bucket: Bucket, rule: Pace, due: u64, now: u64) {
        let back = algorithm::refund_of_pace(rule, due, now);
        let give = |due: u64| (back > 0).then(|| due.saturating_sub(back));
        self.table.find(bucket, |Due(due)| due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give));
    }

    /// How a rate stands, the newcomers' where there is no room.
    pub(super) fn look(&self, who: &Requester<'_, '_>, rule: Pace, now: u64) -> Standing {
        let due = self.table.look(who, now, |Due(due)| self.owed(due, rule, now));
        algorithm::standing_of_pace(rule, due.unwrap_or_default(), now)
    }

    /// When the next is due. Who owes more than this rule can ask for owes only that from now on, or waiting would not help.
    fn owed(&self, kept: &AtomicU64, rule: Pace, now: u64) -> u64 {
        let due = kept.load(Ordering::Relaxed);
        if algorithm::owed(rule, due, now) < due {
            // By a later clock than that of whoever spent last: a thread that was held up must not give anything back.
            let less = |due| Some(algorithm::owed(rule, due, self.ticker.nanos())).filter(|owed| *owed < due);
            let _ = kept.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
        due
    }

    /// How the rate of a bucket of its own stands.
    pub(super) fn recall(&self, who: &Requester<'_, '_>, rule: Pace, now: u64) -> Standing {
        let due = self.table.find(who.bucket, |Due(due)| due.load(Ordering::Relaxed));
        algorithm::standing_of_pace(rule, due.unwrap_or_default(), now)
    }

    /// Whether one would not be let in now.
    pub(super) fn refuses(&self, who: &Requester<'_, '_>, rule: Pace, now: u64) -> bool {
        let due = self.table.look(who, now, |Due(due)| due.load(Ordering::Relaxed));
        due.is_some_and(|due| algorithm::pace(rule, due, now).is_err())
    }

    /// Which of the counters that newcomers share is theirs; none for who has one of their own, or gets it now.
    pub(super) fn overflow(&self, who: &Requester<'_, '_>, now: u64) -> Option<usize> {
        self.table.overflow(who, now)
    }

    /// Forgets what was counted.
    pub(super) fn reset(&self, who: &Requester<'_, '_>, now: u64) {
        self.table.look(who, now, |Due(due)| due.store(0, Ordering::Relaxed));
    }

    pub(super) fn sweep(&self, now: u64) {
        self.table.sweep(now);
    }

    pub(super) fn fill(&self) -> Fill {
        self.table.fill()
    }
}

impl Counter for Due {
    fn has_lapsed(&self, now: u64) -> bool {
        self.0.load(Ordering::Relaxed) <= now
    }
}

impl Comer<Due> for Requester<'_, '_> {
    fn own(&self) -> Bucket {
        self.bucket
    }

    fn shared(&self) -> Bucket {
        self.buckets.shared(self.ask.name).beside(self.bucket)
    }

    fn fresh(&self, _: Place) -> Due {
        Due::default()
    }
}
