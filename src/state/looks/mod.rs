//! Looks that cost something: what they found is known for a minute.
//!
//! In: a name and where its caller is. Out: the answer of a moment ago, or whose
//! turn it is to look. However many come for one name, one look is made. The
//! table is bounded. Not here: the look itself (`tls::domains`).

mod budget;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::clock::Clock;

pub use budget::Rates;

use budget::Budgets;

/// So long an answer holds.
const KEPT: Duration = Duration::from_secs(60);
/// Names that are known at a time; those beyond are refused until there is room.
const NAMES: usize = 10_000;
/// Between two looks for what is over.
const SWEEP: Duration = Duration::from_secs(1);

/// Whether a name may have a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    May,
    /// It may not, or nobody knows.
    #[default]
    MayNot,
}

/// What looks have found of late, and what they cost.
#[derive(Debug)]
pub struct Looks {
    clock: Clock,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    names: HashMap<Box<str>, Known, ahash::RandomState>,
    budgets: Budgets,
    swept: Option<Instant>,
}

#[derive(Debug)]
enum Known {
    Told(Verdict, Instant),
    Looking(watch::Receiver<Option<Verdict>>),
}

/// What the next caller for a name does.
#[derive(Debug)]
pub enum Turn<'a> {
    /// It has been told.
    Known(Verdict),
    /// Somebody looks right now.
    Wait(watch::Receiver<Option<Verdict>>),
    /// To look, and to tell.
    Look(Looking<'a>),
    /// There were too many looks.
    Over,
}

/// A look that is under way. If it is dropped before it told, nobody has looked.
#[derive(Debug)]
pub struct Looking<'a> {
    looks: &'a Looks,
    name: Box<str>,
    told: watch::Sender<Option<Verdict>>,
}

impl Looks {
    /// Nothing is known, and nothing spent.
    pub fn new(clock: Clock) -> Self {
        Looks { clock, table: Mutex::default() }
    }

    /// Whose turn it is.
    pub fn turn(&self, name: &str, from: Option<IpAddr>, rates: Rates) -> Turn<'_> {
        let now = self.clock.now();
        let mut table = self.table();
        match table.names.get(name) {
            Some(Known::Told(verdict, until)) if *until > now => return Turn::Known(*verdict),
            Some(Known::Looking(told)) => return Turn::Wait(told.clone()),
            Some(Known::Told(..)) | None => {}
        }
        if !table.has_room(now) || !table.budgets.spend(from, rates, now) {
            return Turn::Over;
        }
        let (told, hears) = watch::channel(None);
        table.names.insert(name.into(), Known::Looking(hears));
        Turn::Look(Looking { looks: self, name: name.into(), told })
    }

    /// What was told holds no more.
    pub fn forget(&self) {
        self.table().names.retain(|_, known| matches!(known, Known::Looking(_)));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn has_room(&mut self, now: Instant) -> bool {
        let is_time = self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP);
        if self.names.len() >= NAMES && is_time {
            self.names.retain(|_, known| match known {
                Known::Told(_, until) => *until > now,
                Known::Looking(_) => true,
            });
            self.swept = Some(now);
        }
        self.names.len() < NAMES
    }
}

impl Looking<'_> {
    /// Tells everybody who waits, and for a minute who comes.
    pub fn tell(self, verdict: Verdict) {
        let until = self.looks.clock.now() + KEPT;
        self.looks.table().names.insert(self.name.clone(), Known::Told(verdict, until));
        self.told.send_replace(Some(verdict));
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        let mut table = self.looks.table();
        if matches!(table.names.get(&self.name), Some(Known::Looking(_))) {
            table.names.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    fn rates() -> Rates {
        Rates { all: "3/m".parse().unwrap(), per_address: "3/m".parse().unwrap() }
    }

    #[test]
    fn one_look_is_made_for_all_who_come_and_holds_for_a_minute() {
        let time = TestClock::new();
        let looks = Looks::new(time.clock());
        let turn = |name| looks.turn(name, None, rates());
        let Turn::Look(looking) = turn("a.example.com") else { panic!("the first looks") };
        let Turn::Wait(told) = turn("a.example.com") else { panic!("the second waits") };
        looking.tell(Verdict::May);
        assert_eq!(*told.borrow(), Some(Verdict::May));
        assert!(matches!(turn("a.example.com"), Turn::Known(Verdict::May)));
        let Turn::Look(looking) = turn("b.example.com") else { panic!("another name") };
        looking.tell(Verdict::MayNot);
        time.advance(Duration::from_secs(59));
        assert!(matches!(turn("b.example.com"), Turn::Known(Verdict::MayNot)));
        time.advance(Duration::from_secs(1));
        assert!(matches!(turn("b.example.com"), Turn::Look(_)));
    }

    #[test]
    fn a_look_that_is_cut_off_keeps_nobody_waiting() {
        let looks = Looks::new(TestClock::new().clock());
        let Turn::Look(looking) = looks.turn("a.example.com", None, rates()) else { panic!("the first looks") };
        let Turn::Wait(told) = looks.turn("a.example.com", None, rates()) else { panic!("the second waits") };
        drop(looking);
        assert!(told.has_changed().is_err(), "nobody will tell");
        assert!(matches!(looks.turn("a.example.com", None, rates()), Turn::Look(_)));
    }

    #[test]
    fn what_is_known_costs_nothing_and_what_is_not_costs_the_budget() {
        let looks = Looks::new(TestClock::new().clock());
        for name in ["a", "b", "c"] {
            let Turn::Look(looking) = looks.turn(name, None, rates()) else { panic!("{name}") };
            looking.tell(Verdict::MayNot);
        }
        assert!(matches!(looks.turn("d", None, rates()), Turn::Over));
        assert!(matches!(looks.turn("a", None, rates()), Turn::Known(Verdict::MayNot)));
        looks.forget();
        assert!(matches!(looks.turn("a", None, rates()), Turn::Over), "a reload gives nobody a new budget");
    }
}
