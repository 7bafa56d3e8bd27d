//! Answers without Redis, as `on_counter_failure` says.
//!
//! In: asks, and what this gateway remembers. Out: its own answer; what it took
//! of quotas goes into the outbox, so that Redis learns of it. Not here: when
//! that is so (`breaker`).

use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use crate::config::section::state::OnCounterFailure;
use crate::state::counters::memory::Memory;
use crate::state::counters::{Allowance, Answer, Ask, NotSpent, Pace, Receipt, Rule, Taken};

use super::{Inner, Kept, question, signed};

impl Inner {
    /// An answer without Redis.
    pub(super) fn without(&self, memory: &Memory, asks: &[Ask<'_>]) -> Answer {
        let mut asks = SmallVec::<[Ask<'_>; 4]>::from(asks);
        for ask in &mut asks {
            match self.on_failure {
                OnCounterFailure::Allow => {}
                OnCounterFailure::Local => ask.rule = self.share(memory, ask),
                OnCounterFailure::Refuse => {
                    let standings = asks.iter().map(|ask| memory.look(ask)).collect();
                    return Answer { standings, spent: Err(NotSpent::Unknown) };
                }
            }
        }
        // Before it is spent: what Redis knows is what is left without it.
        let floors: SmallVec<[u64; 4]> =
            asks.iter().map(|ask| self.floor(memory, ask, &question::key(ask)).value).collect();
        let mut answer = match self.on_failure {
            OnCounterFailure::Local => memory.spend(&asks),
            OnCounterFailure::Allow | OnCounterFailure::Refuse => {
                let standings = asks.iter().map(|ask| memory.look(ask)).collect();
                Answer { standings, spent: Ok(memory.note(&asks)) }
            }
        };
        if let Ok(receipt) = &mut answer.spent {
            self.tell_of(receipt, &asks, &floors);
        }
        answer
    }

    /// What this gateway may give of a limit while it knows nothing of the others.
    fn share(&self, memory: &Memory, ask: &Ask<'_>) -> Rule {
        let gateways = self.gateways.load(Ordering::Relaxed).max(1);
        match &ask.rule {
            Rule::Rate(pace) => Rule::Rate(Pace {
                interval: pace.interval.saturating_mul(u64::from(gateways)),
                burst: (pace.burst / gateways).max(1),
            }),
            Rule::Quota(allowance) => {
                let told = self.floor(memory, ask, &question::key(ask)).value;
                let share = allowance.amount.saturating_sub(told).div_ceil(u64::from(gateways));
                Rule::Quota(Allowance { amount: told.saturating_add(share).min(allowance.amount), ..*allowance })
            }
        }
    }

    /// Redis is to know what quotas were used while it was away. What was taken of rates is forgotten in time anyway.
    fn tell_of(&self, receipt: &mut Receipt, asks: &[Ask<'_>], floors: &[u64]) {
        // Entries stand in the order of the asks; those of dry runs may be left out.
        let mut asks = asks.iter().zip(floors);
        for entry in &mut receipt.entries {
            let Taken::Quota { allowance, began, units } = entry.taken else { continue };
            let is_of = |ask: &Ask<'_>| match &ask.rule {
                Rule::Quota(rule) => *rule == allowance && ask.reserve == units,
                Rule::Rate(_) => false,
            };
            let Some((ask, floor)) = asks.find(|(ask, _)| is_of(ask)) else { continue };
            let stretches = question::stretches(&allowance, self.clock.wall());
            let ends = stretches.into_iter().find(|moment| *moment > began).unwrap_or(began);
            let (key, stretch) = (question::key(ask).into_boxed_str(), (began, ends));
            self.add(&key, stretch, *floor, signed(units));
            entry.elsewhere = Some(Box::new(Kept::Quota { key, stretch, floor: *floor }));
        }
    }
}
