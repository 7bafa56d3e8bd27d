//! How often somebody may look: for all callers together, and for each network.
//!
//! In: two rates, where a caller is, the time. Out: whether there may be a look,
//! which is counted then. However many networks there are, what is kept of them
//! is bounded. Not here: what is known already (`mod`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::config::scalar::Rate;
use crate::state::counters::{Pace, algorithm};
use crate::state::network::network;

/// Networks that are counted apart; beyond them all count together.
const NETWORKS: usize = 65_536;
/// Between two looks for what is over: a full table is not searched for every caller.
const SWEEP: Duration = Duration::from_secs(1);

/// How often.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// All callers together.
    pub all: Rate,
    /// Those of one network.
    pub per_address: Rate,
}

/// What was spent. Each number is the time from which on nothing is spent any more (GCRA).
#[derive(Debug, Default)]
pub(super) struct Budgets {
    all: Option<Instant>,
    networks: HashMap<Option<IpAddr>, Instant, ahash::RandomState>,
    swept: Option<Instant>,
}

impl Budgets {
    /// Spends one look, if both budgets have one: who has none of his own left takes none from the others.
    pub(super) fn spend(&mut self, from: Option<IpAddr>, rates: Rates, now: Instant) -> bool {
        let network = self.known(from.map(network), now);
        let own = next(self.networks.get(&network).copied(), rates.per_address, now);
        let all = next(self.all, rates.all, now);
        let (Some(own), Some(all)) = (own, all) else { return false };
        self.networks.insert(network, own);
        self.all = Some(all);
        true
    }

    /// The network, or none where there is no room for its own count.
    fn known(&mut self, network: Option<IpAddr>, now: Instant) -> Option<IpAddr> {
        if self.networks.len() >= NETWORKS
            && self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP)
        {
            self.networks.retain(|_, until| *until > now);
            self.swept = Some(now);
        }
        network.filter(|_| self.networks.len() < NETWORKS || self.networks.contains_key(&network))
    }
}

/// The time after one more is spent; none if there is none left.
fn next(until: Option<Instant>, rate: Rate, now: Instant) -> Option<Instant> {
    let due = until.map(|until| until.saturating_duration_since(now)).unwrap_or_default();
    let due = u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
    let next = algorithm::pace(Pace::of(rate, None), due, 0).ok()?;
    Some(now + Duration::from_nanos(next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn rates(all: &str, per_address: &str) -> Rates {
        Rates { all: all.parse().unwrap(), per_address: per_address.parse().unwrap() }
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn both_budgets_hold_and_come_back_evenly() {
        let (mut budgets, now) = (Budgets::default(), Clock::system().now());
        let rates = rates("5/m", "3/m");
        let mut spent = |from: &str, after: u64| budgets.spend(ip(from), rates, now + Duration::from_secs(after));
        assert_eq!([0; 4].map(|after| spent("10.0.0.1", after)), [true, true, true, false]);
        assert_eq!([0; 3].map(|after| spent("10.0.0.2", after)), [true, true, false], "all have five");
        assert!(!spent("10.0.0.2", 11));
        assert!(spent("10.0.0.2", 12), "one of all five is back");
        assert!(!spent("10.0.0.1", 19));
        assert!(spent("10.0.0.3", 24));
    }

    #[test]
    fn who_has_spent_his_own_takes_none_from_the_others() {
        let (mut budgets, now) = (Budgets::default(), Clock::system().now());
        let rates = rates("4/m", "1/h");
        assert!(budgets.spend(ip("2001:db8::1"), rates, now));
        for host in 2..50 {
            assert!(!budgets.spend(ip(&format!("2001:db8::{host}")), rates, now), "the same /64");
        }
        assert!(!budgets.spend(ip("2001:db8::ffff"), rates, now));
        assert!(budgets.spend(ip("2001:db8:0:1::1"), rates, now));
        assert!(budgets.spend(ip("::ffff:10.0.0.1"), rates, now));
        assert!(!budgets.spend(ip("10.0.0.1"), rates, now), "one address in two spellings");
        assert!(budgets.spend(None, rates, now));
    }

    #[test]
    fn however_many_networks_there_are_the_table_is_bounded() {
        let (mut budgets, now) = (Budgets::default(), Clock::system().now());
        let rates = rates("10000000/s", "1/h");
        for number in 0..70_000u32 {
            budgets.spend(Some(IpAddr::V4(number.into())), rates, now);
        }
        assert!(budgets.networks.len() <= NETWORKS + 1, "{}", budgets.networks.len());
        assert!(!budgets.spend(Some(IpAddr::V4(80_000.into())), rates, now), "the rest count together");
        assert!(budgets.spend(Some(IpAddr::V4(80_000.into())), rates, now + Duration::from_secs(3_601)));
    }
}
