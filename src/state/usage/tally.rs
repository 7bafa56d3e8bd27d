//! Adds up as requests end.
//!
//! In: keys and sums, from every thread. Out: all of them at once, now and then.
//! Threads do not wait for each other: each adds to a part of its own, which
//! whoever takes the sums holds for a moment. Not here: what becomes of the sums
//! (`book`).

use std::mem;
use std::sync::{Mutex, PoisonError};

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::exchange::usage::{OTHER, UsageKey, UsageKeyRef, Used};

/// More than there are processors, so that threads rarely meet.
const PARTS: usize = 64;
/// Keys in a part before callers are not told apart any more; twice as many, and tenants are not either. The sums stay
/// right, and memory stays bounded however many callers there are between two takings.
const MOST: usize = 8_192;

/// Sums since they were last taken.
#[derive(Debug)]
pub(super) struct Tally {
    parts: Box<[Part]>,
    hasher: RandomState,
}

/// Its own cache line: neighbours that are written by other threads would slow it down.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(Mutex<HashTable<(UsageKey, Used)>>);

impl Default for Tally {
    fn default() -> Self {
        Tally { parts: (0..PARTS).map(|_| Part::default()).collect(), hasher: RandomState::new() }
    }
}

impl Tally {
    /// Adds what one exchange used.
    pub(super) fn add(&self, key: UsageKeyRef<'_>, used: Used) {
        let thread = self.hasher.hash_one(std::thread::current().id()) as usize;
        let Some(part) = self.parts.get(thread % self.parts.len().max(1)) else { return };
        let table = &mut *part.0.lock().unwrap_or_else(PoisonError::into_inner);
        add(table, &self.hasher, key, used);
    }

    /// Everything that was added since.
    pub(super) fn take(&self) -> impl Iterator<Item = (UsageKey, Used)> + '_ {
        self.parts.iter().flat_map(|part| {
            let table = &mut *part.0.lock().unwrap_or_else(PoisonError::into_inner);
            // As large as it has been: growing costs whoever adds.
            let empty = HashTable::with_capacity(table.len());
            mem::replace(table, empty)
        })
    }
}

fn add(table: &mut HashTable<(UsageKey, Used)>, hasher: &RandomState, key: UsageKeyRef<'_>, used: Used) {
    let hash = hasher.hash_one(key);
    let is_it = |(known, _): &(UsageKey, Used)| known.borrowed() == key;
    if let Some((_, sum)) = table.find_mut(hash, is_it) {
        *sum += used;
        return;
    }
    let key = crowded(key, table.len(), MOST);
    let hash = hasher.hash_one(&key);
    match table.entry(hash, |(known, _)| *known == key, |(known, _)| hasher.hash_one(known)) {
        Entry::Occupied(mut known) => known.get_mut().1 += used,
        Entry::Vacant(place) => drop(place.insert((key, used))),
    }
}

/// The key for one who comes when there are `known` already.
pub(super) fn crowded(key: UsageKeyRef<'_>, known: usize, most: usize) -> UsageKey {
    let mut key = key.to_owned();
    if known >= most {
        key.caller = key.caller.map(|(provider, _)| (provider, OTHER.into()));
    }
    if known >= most * 2 {
        key.caller = None;
        key.tenant = key.tenant.and_then(|_| OTHER.parse().ok());
    }
    key
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn used(requests: u64) -> Used {
        Used { requests, ..Used::default() }
    }

    fn key(tenant: &str, caller: usize) -> UsageKey {
        UsageKey {
            minute: 7,
            tenant: tenant.parse().ok(),
            caller: Some(("p".into(), caller.to_string().into())),
            route: Some("/r".into()),
            class: 2,
        }
    }

    #[test]
    fn every_thread_is_counted_and_nothing_twice() {
        let tally = Arc::new(Tally::default());
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let tally = Arc::clone(&tally);
                std::thread::spawn(move || {
                    for number in 0..1_000 {
                        tally.add(key("acme", number % 3 + thread % 2).borrowed(), used(1));
                    }
                })
            })
            .collect();
        let mut sum = Used::default();
        while !threads.iter().all(std::thread::JoinHandle::is_finished) {
            tally.take().for_each(|(_, used)| sum += used);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        tally.take().for_each(|(_, used)| sum += used);
        assert_eq!(sum.requests, 8_000);
        assert_eq!(tally.take().count(), 0);
    }

    #[test]
    fn a_flood_of_callers_takes_bounded_memory_and_loses_nothing() {
        let tally = Tally::default();
        let many = MOST * 3;
        for number in 0..many {
            tally.add(key(&format!("t{}", number % 5), number).borrowed(), used(1));
        }
        let taken: Vec<_> = tally.take().collect();
        assert!(taken.len() <= MOST + 10, "{}", taken.len());
        assert_eq!(taken.iter().map(|(_, used)| used.requests).sum::<u64>(), many as u64);
        let of = |tenant: &str| {
            let own = taken.iter().filter(|(key, _)| key.tenant.as_ref().is_some_and(|name| name.as_str() == tenant));
            own.map(|(_, used)| used.requests).sum::<u64>()
        };
        assert_eq!(of("t3"), many as u64 / 5, "tenants are told apart for longer than callers");
    }
}
