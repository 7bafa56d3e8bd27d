//! How often one place of the program may speak in its log.
//!
//! In: the place in the source that a message comes from, and the time. Out:
//! whether it is written; later, how many were not. Places are known when the
//! program is built: whatever callers write into their requests, there are no
//! more of them. Not here: writing (`program_log`).

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use log::Level;

/// Lines of one place in a minute; a list of what changed, or of what is served, has room.
pub(super) const LINES: u32 = 100;
/// Places that are told apart; the program has far fewer, and those beyond share one count.
const PLACES: usize = 512;
const WINDOW_MS: u64 = 60_000;

/// What each place said lately.
#[derive(Debug)]
pub(super) struct Repeats {
    hasher: RandomState,
    slots: Box<[Slot]>,
}

#[derive(Debug, Default)]
struct Slot {
    place: OnceLock<Place>,
    /// The minute that is counted.
    minute: AtomicU64,
    said: AtomicU32,
    held: AtomicU64,
    /// The last line that was written.
    example: ArcSwapOption<String>,
}

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The file of the source.
    pub(super) file: &'static str,
    /// The line there.
    pub(super) line: u32,
    /// How severe it is.
    pub(super) level: Level,
}

/// Whether a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is left out, and counted.
    Hold,
    /// It is written.
    Say,
    /// It is written, and stands for those that follow.
    SayAsExample,
}

/// What was left out of one place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) place: Place,
    pub(super) lines: u64,
    pub(super) example: String,
}

/// Which places are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Those whose minute is over.
    Over,
    /// All: the program ends.
    Now,
}

impl Repeats {
    pub(super) fn new() -> Self {
        Repeats { hasher: RandomState::new(), slots: (0..PLACES).map(|_| Slot::default()).collect() }
    }

    /// Whether a message from `place` is written at this time of the program, in milliseconds.
    pub(super) fn judge(&self, place: Place, now: u64) -> Verdict {
        let Some(slot) = self.slot(place) else { return Verdict::Say };
        let minute = now / WINDOW_MS;
        if slot.minute.swap(minute, Ordering::Relaxed) != minute {
            slot.said.store(0, Ordering::Relaxed);
        }
        // Two threads at the turn of a minute may count one line more, or less: nobody minds.
        match slot.said.fetch_add(1, Ordering::Relaxed).saturating_add(1) {
            said if said < LINES => Verdict::Say,
            LINES => Verdict::SayAsExample,
            _ => {
                slot.said.store(LINES, Ordering::Relaxed);
                slot.held.fetch_add(1, Ordering::Relaxed);
                Verdict::Hold
            }
        }
    }

    /// Keeps the last line of `place` that is written for a while.
    pub(super) fn keep(&self, place: Place, line: String) {
        if let Some(slot) = self.slot(place) {
            slot.example.store(Some(line.into()));
        }
    }

    /// What was left out, each line once.
    pub(super) fn left_out(&self, when: When, now: u64) -> Vec<LeftOut> {
        let is_over = |slot: &&Slot| when == When::Now || slot.minute.load(Ordering::Relaxed) < now / WINDOW_MS;
        let held = |slot: &Slot| {
            let lines = slot.held.swap(0, Ordering::Relaxed);
            let example = slot.example.load().as_deref().cloned().unwrap_or_default();
            slot.place.get().filter(|_| lines > 0).map(|place| LeftOut { place: *place, lines, example })
        };
        self.slots.iter().filter(is_over).filter_map(held).collect()
    }

    /// Its own, or the last one where there are too many.
    fn slot(&self, place: Place) -> Option<&Slot> {
        let first = usize::try_from(self.hasher.hash_one(place)).unwrap_or_default() % PLACES;
        let (before, behind) = self.slots.split_at_checked(first)?;
        let own = |slot: &&Slot| *slot.place.get_or_init(|| place) == place;
        behind.iter().chain(before).find(own).or(self.slots.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { file: "a.rs", line: 7, level: Level::Warn };

    #[test]
    fn a_place_is_heard_so_often_in_a_minute_and_then_counted() {
        let repeats = Repeats::new();
        let verdicts: Vec<Verdict> = (0..10_000).map(|_| repeats.judge(PLACE, 5)).collect();
        let count = |wanted| verdicts.iter().filter(|verdict| **verdict == wanted).count();
        assert_eq!((count(Verdict::Say), count(Verdict::SayAsExample), count(Verdict::Hold)), (99, 1, 9_900));
        repeats.keep(PLACE, "the hundredth".to_owned());
        let other = Place { line: 8, ..PLACE };
        assert_eq!(repeats.judge(other, 5), Verdict::Say, "others are heard");
        assert_eq!(repeats.left_out(When::Over, 59_999), []);
        let left = LeftOut { place: PLACE, lines: 9_900, example: "the hundredth".to_owned() };
        assert_eq!(repeats.left_out(When::Over, 60_000), [left]);
        assert_eq!(repeats.left_out(When::Now, 60_000), []);
        assert_eq!(repeats.judge(PLACE, 60_000), Verdict::Say, "the next minute");
    }

    #[test]
    fn places_without_number_share_one_count() {
        let repeats = Repeats::new();
        let say = |line| repeats.judge(Place { line, ..PLACE }, 0) != Verdict::Hold;
        let said = (0..100_000).filter(|line| say(*line)).count();
        assert!(said <= PLACES + LINES as usize, "{said}");
    }
}
