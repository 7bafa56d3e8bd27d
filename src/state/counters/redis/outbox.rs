//! What Redis has yet to be told: costs, what is given back, what was spent while it was away, resets.
//!
//! In: changes, added up by bucket. Out: letters of some of them; one that is
//! not answered is sent again, under the same number, so that it counts once.
//! Not here: sending (`post`). Bounded: when it is full, changes to buckets that
//! are not in it yet are lost, and counted. Resets never are.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

/// Buckets that may wait: those of quotas in use during an outage.
const MOST: usize = 100_000;
/// Buckets in a letter: Redis does nothing else while it reads one.
const LETTER: usize = 128;

/// A change to one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// To a quota: what is added, or taken away.
    Quota { stretch: (u64, u64), added: i64, floor: u64 },
    /// To a rate: the backlog that is added, or taken away, in nanoseconds, and since when that waits.
    Rate { added: i64, at: Instant },
}

/// Somebody resets a bucket: how long that must be remembered, in milliseconds, and the stretches around (0 for rates).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forget {
    pub(super) life: u64,
    pub(super) stretches: [u64; 4],
}

/// What waits for a bucket: first it is forgotten, then changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) forget: Option<Forget>,
    pub(super) change: Option<Change>,
}

impl Waiting {
    /// Whether Redis learns of a quota by it.
    pub(super) fn is_of_quota(&self) -> bool {
        matches!(self.change, Some(Change::Quota { .. }))
    }
}

/// Some changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) number: u64,
    pub(super) changes: Vec<(Box<str>, Waiting)>,
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    kept: Mutex<Kept>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    waiting: HashMap<Box<str>, Waiting, ahash::RandomState>,
    sent: Option<Letter>,
    letters: u64,
    lost: u64,
}

impl Outbox {
    /// Adds a change.
    pub(super) fn put(&self, key: &str, change: Change) {
        let mut kept = self.lock();
        if let Some(waiting) = kept.waiting.get_mut(key) {
            waiting.change = Some(waiting.change.map_or(change, |before| before.and(change)));
            return;
        }
        if kept.waiting.len() >= MOST {
            kept.lost += 1;
            return;
        }
        kept.waiting.insert(key.into(), Waiting { forget: None, change: Some(change) });
        drop(kept);
        self.more.notify_one();
    }

    /// Adds a reset: what waits for the bucket is of no use any more.
    pub(super) fn forget(&self, key: &str, forget: Forget) {
        // Whether there is room or not: an operator was told that it will be done, and there are few.
        self.lock().waiting.insert(key.into(), Waiting { forget: Some(forget), change: None });
        self.more.notify_one();
    }

    /// Whether Redis has yet to be told of a reset.
    pub(super) fn has_to_forget(&self, key: &str) -> bool {
        let kept = self.lock();
        let mut sent = kept.sent.iter().flat_map(|letter| &letter.changes);
        kept.waiting.get(key).is_some_and(|waiting| waiting.forget.is_some())
            || sent.any(|(known, waiting)| **known == *key && waiting.forget.is_some())
    }

    /// What was used that Redis does not know yet: of a quota in the stretch that began then, or of a rate (0).
    pub(super) fn unknown(&self, key: &str, began: u64) -> i64 {
        let kept = self.lock();
        let sent = kept.sent.iter().flat_map(|letter| &letter.changes);
        let sent = sent.filter(|(known, _)| **known == *key).map(|(_, waiting)| waiting);
        let added = |waiting: &Waiting| match waiting.change {
            Some(Change::Quota { stretch, added, .. }) if stretch.0 == began => added,
            Some(Change::Rate { added, .. }) => added.max(0),
            Some(Change::Quota { .. }) | None => 0,
        };
        sent.chain(kept.waiting.get(key)).map(added).fold(0, i64::saturating_add)
    }

    /// Forgets backlogs: what is new of them is soon told otherwise.
    pub(super) fn drop_rates(&self) {
        let mut kept = self.lock();
        kept.waiting.retain(|_, waiting| {
            waiting.change = waiting.change.filter(|change| matches!(change, Change::Quota { .. }));
            waiting.change.is_some() || waiting.forget.is_some()
        });
    }

    /// Something to send: what was sent and not answered, or some of what waits.
    pub(super) fn letter(&self) -> Option<Letter> {
        let mut kept = self.lock();
        if kept.sent.is_none() && !kept.waiting.is_empty() {
            let keys: Vec<Box<str>> = kept.waiting.keys().take(LETTER).cloned().collect();
            let changes = keys.into_iter().filter_map(|key| kept.waiting.remove_entry(&key)).collect();
            kept.letters += 1;
            kept.sent = Some(Letter { number: kept.letters, changes });
        }
        kept.sent.clone()
    }

    /// The letter that was sent was answered.
    pub(super) fn answered(&self) {
        self.lock().sent = None;
    }

    /// Waits until there may be something to send.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }

    /// How many buckets wait, and how many changes were lost because too many did.
    pub(super) fn fill(&self) -> (usize, u64) {
        let kept = self.lock();
        (kept.waiting.len() + kept.sent.as_ref().map_or(0, |letter| letter.changes.len()), kept.lost)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Change {
    /// Both, one after the other; of two stretches the later.
    fn and(self, next: Change) -> Change {
        match (self, next) {
            (Change::Rate { added, at }, Change::Rate { added: more, .. }) => {
                Change::Rate { added: added.saturating_add(more), at }
            }
            (
                Change::Quota { stretch, added, floor },
                Change::Quota { stretch: other, added: more, floor: other_floor },
            ) => match stretch.0.cmp(&other.0) {
                std::cmp::Ordering::Less => next,
                std::cmp::Ordering::Equal => {
                    Change::Quota { stretch, added: added.saturating_add(more), floor: floor.max(other_floor) }
                }
                std::cmp::Ordering::Greater => self,
            },
            // Keys of rates and of quotas differ.
            (Change::Rate { .. }, Change::Quota { .. }) | (Change::Quota { .. }, Change::Rate { .. }) => next,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::clock::TestClock;

    use super::*;

    fn quota(began: u64, added: i64) -> Change {
        Change::Quota { stretch: (began, began + 3_600), added, floor: 0 }
    }

    #[test]
    fn changes_to_a_bucket_add_up() {
        let outbox = Outbox::default();
        outbox.put("a", quota(3_600, 10));
        outbox.put("a", quota(3_600, -3));
        assert_eq!(outbox.unknown("a", 3_600), 7);
        assert_eq!(outbox.unknown("a", 0), 0);
        assert_eq!(outbox.fill(), (1, 0));
    }

    #[test]
    fn a_letter_stays_the_same_until_it_is_answered() {
        let outbox = Outbox::default();
        outbox.put("a", quota(3_600, 10));
        let letter = outbox.letter();
        outbox.put("a", quota(3_600, 5));
        assert_eq!(outbox.letter(), letter);
        assert_eq!(outbox.unknown("a", 3_600), 15);
        outbox.answered();
        assert_eq!(outbox.unknown("a", 3_600), 5);
        let next = outbox.letter().expect("there is more");
        assert_eq!(next.number, letter.expect("there was one").number + 1);
        outbox.answered();
        assert_eq!(outbox.letter(), None);
    }

    #[test]
    fn backlogs_wait_together_since_the_first_and_can_be_dropped() {
        let (outbox, clock) = (Outbox::default(), TestClock::new());
        let first = clock.clock().now();
        outbox.put("a", Change::Rate { added: 1_000, at: first });
        clock.advance(Duration::from_nanos(400));
        outbox.put("a", Change::Rate { added: 500, at: clock.clock().now() });
        assert_eq!(outbox.unknown("a", 0), 1_500);
        outbox.put("b", Change::Rate { added: -300, at: first });
        assert_eq!(outbox.unknown("b", 0), 0, "what is given back is no reason to think less of it");
        outbox.put("c", quota(3_600, 1));
        outbox.drop_rates();
        assert_eq!((outbox.unknown("a", 0), outbox.fill()), (0, (1, 0)));
        outbox.put("a", Change::Rate { added: 2, at: first });
        outbox.put("a", Change::Rate { added: 1, at: clock.clock().now() });
        let letter = outbox.letter().expect("there is something");
        assert!(letter.changes.iter().any(|(_, waiting)| waiting.change == Some(Change::Rate { added: 3, at: first })));
    }

    #[test]
    fn what_is_of_a_stretch_that_is_over_gives_way() {
        let outbox = Outbox::default();
        outbox.put("a", quota(3_600, 10));
        outbox.put("a", quota(7_200, 1));
        outbox.put("a", quota(3_600, 10));
        assert_eq!((outbox.unknown("a", 3_600), outbox.unknown("a", 7_200)), (0, 1));
    }

    #[test]
    fn a_reset_forgets_what_waits() {
        let outbox = Outbox::default();
        outbox.put("a", quota(3_600, 10));
        outbox.forget("a", Forget { life: 1, stretches: [0; 4] });
        assert_eq!(outbox.unknown("a", 3_600), 0);
        outbox.put("a", quota(3_600, 1));
        let letter = outbox.letter().expect("there is something");
        assert_eq!(letter.changes.len(), 1);
        assert!(letter.changes[0].1.forget.is_some() && letter.changes[0].1.change == Some(quota(3_600, 1)));
    }

    #[test]
    fn it_is_bounded_and_counts_what_is_lost() {
        let outbox = Outbox::default();
        for number in 0..MOST + 7 {
            outbox.put(&number.to_string(), quota(3_600, 1));
        }
        assert_eq!(outbox.fill(), (MOST, 7));
        outbox.put("0", quota(3_600, 1));
        assert_eq!(outbox.unknown("0", 3_600), 2);
        outbox.forget("reset", Forget { life: 1, stretches: [0; 4] });
        assert!(outbox.has_to_forget("reset") && !outbox.has_to_forget("0"));
        assert_eq!(outbox.fill(), (MOST + 1, 7));
    }
}
