//! Counts in this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::Clock;

use super::algorithm;
use super::bucket::{Bucket, Buckets};
use super::calendar;
use super::{Allowance, Answer, Ask, Back, Costs, Entry, Mode, NotSpent, Receipt, Rule, Standing, Taken};

/// Counts of this process alone.
#[derive(Debug)]
pub(super) struct Memory {
    buckets: Buckets,
    kept: Mutex<Kept>,
    began: Instant,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Kept {
    due: HashMap<Bucket, u64, ahash::RandomState>,
    used: HashMap<(Bucket, u64), u64, ahash::RandomState>,
}

impl Memory {
    pub(super) fn new(clock: Clock) -> Self {
        Memory { buckets: Buckets::default(), kept: Mutex::default(), began: clock.now(), clock }
    }

    fn now(&self) -> u64 {
        nanos(self.clock.now().saturating_duration_since(self.began))
    }

    pub(super) fn spend(&self, asks: &[Ask<'_>]) -> Answer {
        let now = self.now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let before: Vec<Standing> = asks.iter().map(|ask| self.standing(&kept, ask, now)).collect();
        let refuses = |(ask, standing): (&Ask<'_>, &Standing)| ask.mode == Mode::Enforced && !standing.passes;
        if asks.iter().zip(&before).any(refuses) {
            return Answer { standings: before.into(), spent: Err(NotSpent::Refused) };
        }
        let mut receipt = Receipt::default();
        let mut standings = smallvec::SmallVec::new();
        for (ask, standing) in asks.iter().zip(before) {
            if !standing.passes {
                standings.push(standing);
                continue;
            }
            let bucket = self.buckets.of(ask);
            let taken = match ask.rule {
                Rule::Rate(rule) => {
                    let due = kept.due.entry(bucket).or_default();
                    *due = algorithm::pace(rule, *due, now).unwrap_or(*due);
                    Taken::Pace(rule)
                }
                Rule::Quota(allowance) => {
                    let (began, _) = calendar::stretch(allowance.window, allowance.anchor, self.clock.wall());
                    *kept.used.entry((bucket, began)).or_default() += ask.reserve;
                    Taken::Quota { allowance, began, units: ask.reserve }
                }
            };
            receipt.entries.push(Entry { bucket, taken });
            standings.push(Standing { passes: true, ..self.standing(&kept, ask, now) });
        }
        Answer { standings, spent: Ok(receipt) }
    }

    pub(super) fn refund(&self, receipt: &Receipt, back: Back) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in &receipt.entries {
            match entry.taken {
                Taken::Pace(_) if back == Back::Quotas => {}
                Taken::Pace(rule) => {
                    let due = kept.due.entry(entry.bucket).or_default();
                    *due = due.saturating_sub(rule.interval);
                }
                Taken::Quota { began, units, .. } => {
                    let used = kept.used.entry((entry.bucket, began)).or_default();
                    *used = used.saturating_sub(units);
                }
            }
        }
    }

    pub(super) fn settle(&self, receipt: &Receipt, costs: &Costs) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in &receipt.entries {
            if let Taken::Quota { allowance: Allowance { cost, .. }, began, units } = entry.taken
                && let Some(actual) = costs.of(cost)
            {
                let used = kept.used.entry((entry.bucket, began)).or_default();
                *used = used.saturating_sub(units).saturating_add(actual);
            }
        }
    }

    pub(super) fn look(&self, ask: &Ask<'_>) -> Standing {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        self.standing(&kept, ask, self.now())
    }

    pub(super) fn reset(&self, ask: &Ask<'_>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = self.buckets.of(ask);
        kept.due.remove(&bucket);
        kept.used.retain(|(known, _), _| *known != bucket);
    }

    fn standing(&self, kept: &Kept, ask: &Ask<'_>, now: u64) -> Standing {
        let bucket = self.buckets.of(ask);
        match ask.rule {
            Rule::Rate(rule) => {
                algorithm::standing_of_pace(rule, kept.due.get(&bucket).copied().unwrap_or_default(), now)
            }
            Rule::Quota(Allowance { amount, window, anchor, .. }) => {
                let wall = self.clock.wall();
                let (began, ends) = calendar::stretch(window, anchor, wall);
                let used = kept.used.get(&(bucket, began)).copied().unwrap_or_default();
                let whole = calendar::until(ends, wall);
                let wait = if algorithm::quota(amount, used) { Duration::ZERO } else { whole };
                Standing { total: amount, remaining: amount.saturating_sub(used), passes: wait.is_zero(), wait, whole }
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
