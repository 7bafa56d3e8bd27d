//! Counts in this process: exactly, and in bounded memory.
//!
//! In: asks. Out: answers. Not here: which limits there are.
//!
//! Asks are spent one after the other, without a lock around them all: what was
//! spent is given back if a later one refuses. That is rare, because all are
//! looked at first; a request that loses such a race may hold another off for
//! less than a microsecond, and never lets one in.

mod quotas;
mod rates;
mod table;

use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::clock::Clock;

use super::bucket::{Buckets, Named};
use super::{Answer, Ask, Back, Bill, Entry, Mode, NotSpent, Pace, Receipt, Rule, Standing, Taken};
use crate::state::past::Past;

pub(super) use quotas::{Count, Key, Line, Quotas};
pub use table::Fill;

use quotas::Consumer;
use rates::{Rates, Requester};
use table::Comer as _;

/// Counts of this process alone.
#[derive(Debug)]
pub(super) struct Memory {
    buckets: Buckets,
    rates: Rates,
    quotas: Arc<Quotas>,
    past: Past,
    ticker: Ticker,
}

/// A clock in nanoseconds.
#[derive(Clone, Debug)]
struct Ticker {
    began: Instant,
    clock: Clock,
}

/// When something is decided.
struct Now {
    nanos: u64,
    /// Since 1970; only quotas need it.
    wall: Duration,
    /// What ended before this is over for sure; in seconds since 1970, for quotas alone.
    past: u64,
}

/// For how long the wall clock has to go on as it does after a leap before counts are dropped by it.
const PATIENCE: u64 = 3_600;

/// What is known of a bucket elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    /// Of a quota: its stretch, and what was used in it.
    Quota { stretch: (u64, u64), used: u64 },
    /// Of a rate: how early the next request would be, in nanoseconds.
    Rate { early: u64 },
}

/// An ask, and where it is counted.
enum Party<'a, 'v> {
    Quota(Consumer<'a, 'v>),
    Rate(Requester<'a, 'v>, Pace),
}

type Parties<'a, 'v> = SmallVec<[Party<'a, 'v>; 4]>;
type Standings = SmallVec<[Standing; 4]>;

impl Memory {
    /// At most `most` counters: half of them of rates, half of quotas, so that neither crowds the other out, nor those by
    /// address, which have half of each, the others.
    pub(super) fn new(clock: Clock, most: usize) -> Self {
        let half = most.div_ceil(2);
        let ticker = Ticker { began: clock.now(), clock };
        Memory {
            buckets: Buckets::default(),
            rates: Rates::new(half, ticker.clone()),
            quotas: Arc::new(Quotas::new(half)),
            past: Past::new(&ticker.clock, PATIENCE),
            ticker,
        }
    }

    /// Spends all asks, or none.
    pub(super) fn spend(&self, asks: &[Ask<'_>]) -> Answer {
        let now = self.now(asks);
        let parties = self.parties(asks, &now);
        let refuses =
            |(ask, party): (&Ask<'_>, &Party<'_, '_>)| ask.mode == Mode::Enforced && self.refuses(party, &now);
        if asks.len() > 1 && asks.iter().zip(&parties).any(refuses) {
            return Answer { standings: self.standings(&parties, &now), spent: Err(NotSpent::Refused) };
        }
        let (mut receipt, mut standings) = (Receipt::default(), Standings::new());
        for (index, (ask, party)) in asks.iter().zip(&parties).enumerate() {
            match self.spend_one(party, &now) {
                Ok((entry, standing)) => {
                    receipt.entries.push(Entry { ask: index, ..entry });
                    standings.push(standing);
                }
                Err(standing) if ask.mode == Mode::Enforced => {
                    self.refund(&receipt, Back::Everything);
                    let refused = standings.len();
                    standings = self.standings(&parties, &now);
                    standings.get_mut(refused).into_iter().for_each(|known| *known = standing);
                    return Answer { standings, spent: Err(NotSpent::Refused) };
                }
                Err(standing) => standings.push(standing),
            }
        }
        Answer { standings, spent: Ok(receipt) }
    }

    /// Spends all asks, whatever there is: for a copy of what is counted elsewhere.
    pub(super) fn note(&self, asks: &[Ask<'_>]) -> Receipt {
        let now = self.now(asks);
        let parties = self.parties(asks, &now);
        let entries = parties.iter().enumerate().map(|(index, party)| {
            let entry = match party {
                Party::Rate(who, rule) => self.rates.note(who, *rule, now.nanos),
                Party::Quota(who) => who.took(self.quotas.note(who)),
            };
            Entry { ask: index, ..entry }
        });
        Receipt { entries: entries.collect() }
    }

    /// Keeps what is known elsewhere instead of what was kept; what a request took that was let in there.
    pub(super) fn learn(&self, ask: &Ask<'_>, known: Known) -> Entry {
        let now = self.now(std::slice::from_ref(ask));
        match (self.party(ask, &now), known) {
            (Party::Rate(who, rule), Known::Rate { early }) => self.rates.learn(&who, rule, now.nanos, early),
            (Party::Quota(who), Known::Quota { stretch, used }) => self.quotas.learn(&who.within(stretch), used),
            // Nobody knows a backlog of a quota, or a sum of a rate.
            (Party::Rate(who, rule), Known::Quota { .. }) => self.rates.learn(&who, rule, now.nanos, 0),
            (Party::Quota(who), Known::Rate { .. }) => who.took(who.own()),
        }
    }

    /// How a limit stands as far as this bucket alone is known: not by a counter that newcomers share.
    pub(super) fn recall(&self, ask: &Ask<'_>) -> Standing {
        let now = self.now(std::slice::from_ref(ask));
        match self.party(ask, &now) {
            Party::Rate(who, rule) => self.rates.recall(&who, rule, now.nanos),
            Party::Quota(who) => self.quotas.recall(&who, now.wall),
        }
    }

    /// Which of the counters that newcomers share is that of an ask; none where it has one of its own, or gets it now.
    pub(super) fn overflow(&self, ask: &Ask<'_>) -> Option<usize> {
        let now = self.now(std::slice::from_ref(ask));
        match self.party(ask, &now) {
            Party::Rate(who, _) => self.rates.overflow(&who, now.nanos),
            Party::Quota(who) => self.quotas.overflow(&who, now.wall),
        }
    }

    /// Gives back what was taken.
    pub(super) fn refund(&self, receipt: &Receipt, back: Back) {
        for Entry { bucket, taken, .. } in &receipt.entries {
            match *taken {
                Taken::Pace { .. } if back == Back::Quotas => {}
                Taken::Pace { rule, due } => {
                    self.rates.refund(*bucket, rule, due, self.nanos());
                }
                Taken::Quota { units, .. } => self.quotas.settle(*bucket, units, 0),
            }
        }
    }

    /// Sets right what was taken before the costs were known.
    pub(super) fn settle(&self, receipt: &Receipt, bill: &Bill) {
        for Entry { bucket, taken, .. } in &receipt.entries {
            if let Taken::Quota { allowance, units, .. } = *taken {
                self.quotas.settle(*bucket, units, bill.units(&allowance, units));
            }
        }
    }

    /// How a limit stands.
    pub(super) fn look(&self, ask: &Ask<'_>) -> Standing {
        let now = self.now(std::slice::from_ref(ask));
        self.standing(&self.party(ask, &now), &now)
    }

    /// Forgets what was counted.
    pub(super) fn reset(&self, ask: &Ask<'_>) {
        let now = self.now(std::slice::from_ref(ask));
        match self.party(ask, &now) {
            Party::Rate(who, _) => self.rates.reset(&who, now.nanos),
            Party::Quota(who) => self.quotas.reset(&who),
        }
    }

    /// Takes away what has lapsed.
    pub(super) fn sweep(&self) {
        self.rates.sweep(self.nanos());
        let (wall, steady) = (self.wall().as_secs(), self.nanos() / NANOS);
        self.past.compare(wall, steady);
        self.quotas.sweep(self.past.until(wall, steady));
    }

    /// How full it is: of rates, and of quotas.
    pub(super) fn fill(&self) -> [Fill; 2] {
        [self.rates.fill(), self.quotas.fill()]
    }

    /// What has to be written down.
    pub(super) fn quotas(&self) -> &Arc<Quotas> {
        &self.quotas
    }

    /// Takes over what was written down.
    pub(super) fn restore(&self, named: &Named, line: Line) {
        let Key { cost, window, began, .. } = line.key;
        let bucket = self.buckets.of_quota(named.name(), &named.values(), (cost, window, began));
        self.quotas.restore(bucket, line);
    }

    /// Adds what another process has counted: the difference of what is written to what is known to be.
    pub(super) fn merge(&self, named: &Named, line: Line) {
        let Key { cost, window, began, .. } = line.key;
        let bucket = self.buckets.of_quota(named.name(), &named.values(), (cost, window, began));
        self.quotas.merge(bucket, line);
    }

    fn parties<'a, 'v>(&'a self, asks: &'a [Ask<'v>], now: &Now) -> Parties<'a, 'v> {
        asks.iter().map(|ask| self.party(ask, now)).collect()
    }

    fn party<'a, 'v>(&'a self, ask: &'a Ask<'v>, now: &Now) -> Party<'a, 'v> {
        match ask.rule {
            Rule::Rate(rule) => {
                let bucket = self.buckets.of_rate(ask.name, &ask.values);
                Party::Rate(Requester { buckets: &self.buckets, ask, bucket }, rule)
            }
            Rule::Quota(allowance) => Party::Quota(self.quotas.consumer(&self.buckets, ask, allowance, now)),
        }
    }

    fn spend_one(&self, party: &Party<'_, '_>, now: &Now) -> Result<(Entry, Standing), Standing> {
        match party {
            Party::Rate(who, rule) => self.rates.spend(who, *rule, now.nanos),
            Party::Quota(who) => {
                let (bucket, standing) = self.quotas.spend(who, now.wall)?;
                Ok((who.took(bucket), standing))
            }
        }
    }

    fn refuses(&self, party: &Party<'_, '_>, now: &Now) -> bool {
        match party {
            Party::Rate(who, rule) => self.rates.refuses(who, *rule, now.nanos),
            Party::Quota(who) => self.quotas.refuses(who),
        }
    }

    fn standings(&self, parties: &Parties<'_, '_>, now: &Now) -> Standings {
        parties.iter().map(|party| self.standing(party, now)).collect()
    }

    fn standing(&self, party: &Party<'_, '_>, now: &Now) -> Standing {
        match party {
            Party::Rate(who, rule) => self.rates.look(who, *rule, now.nanos),
            Party::Quota(who) => self.quotas.look(who, now.wall),
        }
    }

    fn now(&self, asks: &[Ask<'_>]) -> Now {
        let has_quota = asks.iter().any(|ask| matches!(ask.rule, Rule::Quota(_)));
        let wall = if has_quota { self.wall() } else { Duration::ZERO };
        let nanos = self.nanos();
        Now { nanos, wall, past: self.past.until(wall.as_secs(), nanos / NANOS) }
    }

    fn wall(&self) -> Duration {
        self.ticker.clock.since_1970()
    }

    fn nanos(&self) -> u64 {
        self.ticker.nanos()
    }
}

impl Ticker {
    fn nanos(&self) -> u64 {
        nanos(self.clock.now().saturating_duration_since(self.began))
    }
}

/// In a second.
const NANOS: u64 = 1_000_000_000;

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
