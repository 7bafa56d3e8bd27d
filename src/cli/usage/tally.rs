//! What would have become of requests, added up by tenant and limit.
//!
//! In: each limit's word on each request. Out: sums. Not here: asking the
//! limits (`replay`), laying out (`report`).

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::scalar::TenantName;
use crate::pipeline::limits::plans::Because;
use crate::state::counters::Standing;

/// Tenants that are told apart; the rest is added up.
const MOST_TENANTS: usize = 100_000;
const HOUR: u64 = 3_600;

/// Whose requests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    Named(TenantName),
    /// Nobody's: requests without a tenant.
    Nobody,
    /// Those of tenants beyond the first [`MOST_TENANTS`].
    Others,
}

/// All sums.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    tenants: BTreeMap<Whose, Tenant>,
}

/// The sums of one tenant.
#[derive(Debug, Default)]
pub(super) struct Tenant {
    /// Its plan, and who says so.
    pub(super) plan: Option<(String, Because)>,
    /// Requests that limits were asked about.
    pub(super) requests: u64,
    /// Those that at least one would have refused.
    pub(super) refused: u64,
    /// By the index of the limit.
    pub(super) limits: BTreeMap<usize, Tally>,
}

/// The sums of one limit for one tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) refused: u64,
    /// When the first was refused.
    pub(super) first: Option<SystemTime>,
    /// The hour with the most refusals: when it began (seconds since 1970), and how many.
    pub(super) worst: Option<(u64, u64)>,
    /// The largest share of what there is that was used at a time.
    pub(super) used: f64,
    hour: (u64, u64),
}

impl Tallies {
    pub(super) fn tenant(&mut self, tenant: Option<&TenantName>) -> &mut Tenant {
        let whose = match tenant {
            None => Whose::Nobody,
            Some(tenant) => Whose::Named(tenant.clone()),
        };
        let is_full = self.tenants.len() >= MOST_TENANTS && !self.tenants.contains_key(&whose);
        self.tenants.entry(if is_full { Whose::Others } else { whose }).or_default()
    }

    pub(super) fn tenants(&self) -> impl Iterator<Item = (&Whose, &Tenant)> {
        self.tenants.iter()
    }
}

impl Tally {
    /// A limit let a request in.
    pub(super) fn let_in(&mut self, standing: &Standing) {
        self.requests += 1;
        self.note(standing);
    }

    /// A limit refused it, or would have if it were not on trial.
    pub(super) fn refuse(&mut self, standing: &Standing, at: SystemTime) {
        self.requests += 1;
        self.refused += 1;
        self.note(standing);
        self.first.get_or_insert(at);
        let hour = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / HOUR * HOUR;
        let (known, count) = self.hour;
        self.hour = if known == hour { (hour, count + 1) } else { (hour, 1) };
        if self.worst.is_none_or(|(_, worst)| worst < self.hour.1) {
            self.worst = Some(self.hour);
        }
    }

    /// How a limit stood.
    pub(super) fn note(&mut self, standing: &Standing) {
        let used = standing.total.saturating_sub(standing.remaining);
        self.used = self.used.max(used as f64 / standing.total.max(1) as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn standing(total: u64, remaining: u64) -> Standing {
        Standing { total, remaining, passes: remaining > 0, wait: Duration::ZERO, whole: Duration::ZERO }
    }

    #[test]
    fn the_worst_hour_is_the_one_with_the_most_refusals() {
        let mut tally = Tally::default();
        let at = |hour: u64, second: u64| UNIX_EPOCH + Duration::from_secs(hour * HOUR + second);
        tally.let_in(&standing(4, 3));
        for (hour, second) in [(1, 5), (2, 0), (2, 1), (2, 3599), (3, 0), (3, 1)] {
            tally.refuse(&standing(4, 0), at(hour, second));
        }
        assert_eq!((tally.requests, tally.refused, tally.first), (7, 6, Some(at(1, 5))));
        assert_eq!(tally.worst, Some((2 * HOUR, 3)));
        assert!((tally.used - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn tenants_beyond_the_bound_are_added_up() {
        let mut tallies = Tallies::default();
        for number in 0..MOST_TENANTS + 3 {
            tallies.tenant(format!("t{number}").parse().ok().as_ref()).requests += 1;
        }
        tallies.tenant("t7".parse().ok().as_ref()).requests += 1;
        let all = tallies.tenants().map(|(_, tenant)| tenant.requests).sum::<u64>();
        assert_eq!((tallies.tenants().count(), all), (MOST_TENANTS + 1, MOST_TENANTS as u64 + 4));
        assert_eq!(tallies.tenants().last().map(|(whose, tenant)| (whose, tenant.requests)), Some((&Whose::Others, 3)));
    }
}
