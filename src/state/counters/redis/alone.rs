//! Answers without Redis, as `on_counter_failure` says.
//!
//! In: asks, and what this gateway remembers. Out: its own answer; what it took
//! goes into the outbox, so that Redis learns of it. Not here: when that is so
//! (`breaker`).

use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::config::section::state::OnCounterFailure;
use crate::state::counters::memory::Memory;
use crate::state::counters::{Allowance, Answer, Ask, Mode, NotSpent, Pace, Rule, Taken};

use super::outbox::Change;
use super::{Inner, Kept, nanos, question, signed};

/// A bucket, and what Redis last said of it.
struct Stake {
    key: String,
    floor: u64,
}

type Stakes = SmallVec<[Stake; 4]>;

impl Inner {
    /// An answer without Redis.
    pub(super) fn without(&self, memory: &Memory, asks: &[Ask<'_>]) -> Answer {
        // Before it is spent: what Redis knows is what is left without it.
        let stakes: Stakes = asks.iter().map(|ask| self.stake(memory, ask)).collect();
        let mut answer = match self.on_failure {
            // A limit on trial refuses nobody, whatever happens.
            OnCounterFailure::Refuse if asks.iter().any(|ask| ask.mode == Mode::Enforced) => {
                let standings = asks.iter().map(|ask| memory.look(ask)).collect();
                return Answer { standings, spent: Err(NotSpent::Unknown) };
            }
            OnCounterFailure::Allow | OnCounterFailure::Refuse => {
                let standings = asks.iter().map(|ask| memory.look(ask)).collect();
                Answer { standings, spent: Ok(memory.note(asks)) }
            }
            OnCounterFailure::Local => {
                let shares = asks.iter().zip(&stakes).map(|(ask, stake)| self.share(ask, stake));
                memory.spend(&shares.collect::<SmallVec<[_; 4]>>())
            }
        };
        if let Ok(receipt) = &mut answer.spent {
            // Of trials that let nothing in there is no entry.
            let mut staked = asks.iter().zip(stakes).zip(&answer.standings).enumerate();
            for entry in &mut receipt.entries {
                let own = staked.find(|(index, _)| *index == entry.ask);
                entry.elsewhere = own.and_then(|(_, ((ask, stake), standing))| {
                    self.tell_of(&entry.taken, ask, stake, nanos(standing.whole))
                });
            }
        }
        answer
    }

    fn stake(&self, memory: &Memory, ask: &Ask<'_>) -> Stake {
        let key = self.key(memory, ask);
        let floor = self.floor(memory, ask, &key).value;
        Stake { key, floor }
    }

    /// What this gateway may give of a limit while it knows nothing of the others.
    fn share<'v>(&self, ask: &Ask<'v>, stake: &Stake) -> Ask<'v> {
        let gateways = self.gateways.load(Ordering::Relaxed).max(1);
        let rule = match &ask.rule {
            Rule::Rate(pace) => Rule::Rate(Pace {
                interval: pace.interval.saturating_mul(u64::from(gateways)),
                burst: (pace.burst / gateways).max(1),
            }),
            Rule::Quota(allowance) => {
                let share = allowance.amount.saturating_sub(stake.floor).div_ceil(u64::from(gateways));
                Rule::Quota(Allowance { amount: stake.floor.saturating_add(share).min(allowance.amount), ..*allowance })
            }
        };
        Ask { rule, ..ask.clone() }
    }

    /// Redis is to know what was used without it: of quotas in any case; of rates only if it can be told soon, because later
    /// time has given it back.
    fn tell_of(&self, taken: &Taken, ask: &Ask<'_>, stake: Stake, early: u64) -> Option<Box<Kept>> {
        let Stake { key, floor } = stake;
        let key = key.into_boxed_str();
        let kept = match (taken, &ask.rule) {
            (Taken::Quota { allowance, began, units }, _) => {
                let stretches = question::stretches(allowance, self.clock.wall());
                let ends = stretches.into_iter().find(|moment| moment > began).unwrap_or(*began);
                self.add(&key, (*began, ends), floor, signed(*units));
                Kept::Quota { key, stretch: (*began, ends), floor }
            }
            (Taken::Pace { .. }, Rule::Rate(Pace { interval, .. })) => {
                if !self.heard_lately() {
                    return None;
                }
                let at = self.machine.now();
                self.outbox.put(&key, Change::Rate { added: signed(*interval), at });
                Kept::Rate { key, interval: *interval, early, at }
            }
            (Taken::Pace { .. }, Rule::Quota(_)) => return None,
        };
        Some(Box::new(kept))
    }
}
