//! Which limits a request must keep, and what its caller is told of them.
//!
//! In: the limits attached to the server, a host, a plan and a route; who asks,
//! from where. Out: [`Asks`] for `state::counters`, and from its answer a
//! refusal or none, and the [`Report`] for the headers. Not here: counting.
//!
//! Levels add up, so that an inner one can never take protection away; a limit
//! that is attached twice is asked once.

pub mod plans;
pub mod report;
pub mod words;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::config::scalar::{Amount, TenantName};
use crate::config::section::limits::{Dimension, Limit as Section};
use crate::exchange::caller::Caller;
use crate::exchange::grant::Grant;
use crate::exchange::refusal::Refusal;
use crate::state::counters::bucket::Value;
use crate::state::counters::usual::Usual;
use crate::state::counters::{Allowance, Answer, Ask, Costs, Mode, NotSpent, Pace, Rule, Standing, Values};

use report::{Report, Wording};

/// A compiled limit.
#[derive(Debug)]
pub struct Limit {
    /// Position among all limits: the key of per-limit metrics.
    pub index: usize,
    /// Its name in the configuration.
    pub name: Arc<str>,
    dimensions: Box<[Dimension]>,
    rule: Rule,
    mode: Mode,
    moment: Moment,
    wording: Wording,
}

/// The limits that hold at one place.
#[derive(Clone, Debug, Default)]
pub struct Attached(Box<[Arc<Limit>]>);

/// Every limit of a configuration, by name.
#[derive(Debug, Default)]
pub struct Book<'a>(BTreeMap<&'a str, Arc<Limit>>);

impl<'a> Book<'a> {
    /// Compiles every limit; those without rate and quota were an issue of the file, and are not there.
    pub fn compile(sections: &'a BTreeMap<String, Section>) -> Self {
        let counting = sections.iter().filter(|(_, section)| section.rate.is_some() || section.quota.is_some());
        let compiled = counting.enumerate().filter_map(|(index, (name, section))| {
            Some((name.as_str(), Arc::new(Limit::compile(index, name, section)?)))
        });
        Book(compiled.collect())
    }

    /// The limits with these names, each once. Every name leads somewhere, or the file could not be used.
    pub fn attach<'b>(&self, names: impl IntoIterator<Item = &'b String>) -> Attached {
        let mut limits: Vec<Arc<Limit>> = Vec::new();
        for limit in names.into_iter().filter_map(|name| self.0.get(name.as_str())) {
            if !limits.iter().any(|known| Arc::ptr_eq(known, limit)) {
                limits.push(Arc::clone(limit));
            }
        }
        Attached(limits.into())
    }

    /// Every limit, in the order of their indexes.
    pub fn limits(&self) -> impl Iterator<Item = &Arc<Limit>> {
        self.0.values()
    }
}

impl Attached {
    /// Each limit.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Limit>> {
        self.0.iter()
    }

    /// Whether anything holds here that is asked at this moment.
    pub fn any(&self, moment: Moment) -> bool {
        self.0.iter().any(|limit| limit.moment() == moment)
    }
}

impl Limit {
    fn compile(index: usize, name: &str, section: &Section) -> Option<Self> {
        let Section { by, rate, burst, quota, anchor, cost, assume, dry_run } = section;
        let rule = match (rate, quota) {
            (Some(rate), _) => Rule::Rate(Pace::of(*rate, *burst)),
            (None, Some(quota)) => Rule::Quota(Allowance {
                amount: quota.amount.units(),
                window: quota.window,
                anchor: *anchor,
                cost: *cost,
                assumed: assume.map_or(0, Amount::units),
            }),
            (None, None) => return None,
        };
        Some(Limit {
            index,
            name: name.into(),
            dimensions: by.dimensions().into(),
            rule,
            mode: if *dry_run { Mode::DryRun } else { Mode::Enforced },
            // What a request costs is known only of one that went somewhere.
            moment: match by.is_by_address() && cost.is_one() {
                true => Moment::Arrival,
                false => Moment::Admission,
            },
            wording: Wording::of(name, &rule),
        })
    }

    /// Who is counted apart.
    pub fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// How it counts.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Whether it refuses.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// When it is asked.
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// What callers are told, where this is the tightest limit.
    pub fn headers(&self, report: &Report) -> [(HeaderName, HeaderValue); 5] {
        report.headers(&self.wording)
    }

    /// The quota, where its cost is known only in the end.
    pub fn late_cost(&self) -> Option<Allowance> {
        match self.rule {
            Rule::Quota(allowance) if !allowance.cost.is_one() => Some(allowance),
            Rule::Quota(_) | Rule::Rate(_) => None,
        }
    }

    /// What this limit asks of a request.
    pub fn ask<'a>(&'a self, subject: &Subject<'a>, reserve: u64) -> Ask<'a> {
        let values = self.dimensions.iter().map(|dimension| subject.value(*dimension)).collect();
        Ask { name: &self.name, values, rule: self.rule, mode: self.mode, reserve }
    }
}

/// What requests of one route usually cost, by quota.
#[derive(Debug, Default)]
pub struct Usuals(Box<[UsualCost]>);

/// One request reserves at most this part of a quota.
const MOST_RESERVED: u64 = 4;

/// What they usually cost by one quota.
#[derive(Debug)]
pub struct UsualCost {
    limit: Arc<Limit>,
    usual: Arc<Usual>,
}

impl Usuals {
    /// One for every quota whose cost is known in the end: any may come to hold by a plan. `usual` says where each begins.
    pub fn compile(book: &Book<'_>, usual: impl Fn(&str, &Allowance) -> Arc<Usual>) -> Self {
        let late = book.limits().filter_map(|limit| {
            let usual = usual(&limit.name, &limit.late_cost()?);
            Some(UsualCost { limit: Arc::clone(limit), usual })
        });
        Usuals(late.collect())
    }

    /// What a limit takes before the cost of a request is known.
    pub fn reserve(&self, limit: &Limit) -> u64 {
        match limit.late_cost() {
            None => 1,
            // One heavy query of another tenant must not lock out who has little.
            Some(Allowance { amount, .. }) => {
                let known = self.0.iter().find(|known| known.limit.index == limit.index);
                known.map_or(0, |known| known.usual.units()).min((amount / MOST_RESERVED).max(1))
            }
        }
    }

    /// Another request has shown what it cost.
    pub fn learn(&self, costs: &Costs) {
        for UsualCost { limit, usual } in &self.0 {
            if let Some(actual) = limit.late_cost().and_then(|Allowance { cost, .. }| costs.of(cost)) {
                usual.learn(actual);
            }
        }
    }
}

/// Whom a request is counted for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// Where it comes from.
    pub client: Option<IpAddr>,
    /// The host as it is written in the configuration; none for hosts that are not served.
    pub host: Option<&'a str>,
    /// The route: its host and its key; none where nothing matched.
    pub route: Option<(&'a str, &'a str)>,
    /// Whose rows are asked for; none while that is not known.
    pub tenant: Option<&'a str>,
    /// Whose credential it is: the provider and its word for the bearer.
    pub caller: Option<(&'a str, &'a str)>,
}

impl<'a> Subject<'a> {
    /// The same, now that it is known who asks.
    #[must_use]
    pub fn as_granted(self, grant: &'a Grant) -> Self {
        let caller = match &grant.caller {
            Caller::Anonymous => None,
            Caller::Known(identity) => Some((&*identity.provider, &*identity.bearer)),
        };
        Subject { tenant: grant.tenant.as_ref().map(TenantName::as_str), caller, ..self }
    }

    fn value(&self, dimension: Dimension) -> Value<'a> {
        let value = match dimension {
            Dimension::Gateway => return Value::word("all"),
            Dimension::Host => self.host.map(Value::word),
            Dimension::Route => self.route.map(|(host, key)| Value::Text([key, host, ""])),
            Dimension::Tenant => self.tenant.map(Value::word),
            // Two tenants may have given their callers the same name.
            Dimension::Caller => {
                self.caller.map(|(provider, bearer)| Value::Text([provider, bearer, self.tenant.unwrap_or_default()]))
            }
            Dimension::Ip => self.client.map(Value::network),
        };
        value.unwrap_or(Value::Missing)
    }
}

/// Whether the limits by address are meant, or all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it is known who calls, whatever becomes of the request.
    Arrival,
    /// Once it is known who calls, and that the request can be answered.
    Admission,
}

/// What a request is asked.
#[derive(Debug, Default)]
pub struct Asks<'a> {
    /// What the counters are asked.
    pub asks: SmallVec<[Ask<'a>; 4]>,
    /// By which limits; none is the rate of a token.
    limits: SmallVec<[Option<&'a Arc<Limit>>; 4]>,
}

/// The name of the rate of a token: no limit of the configuration can have it.
pub const NAME_OF_TOKENS_RATE: &str = "limits.rps";

impl<'a> Asks<'a> {
    /// The limits of these places that are asked at this moment. `reserve` says what a quota takes for now.
    pub fn of(
        places: impl IntoIterator<Item = &'a Attached>,
        moment: Moment,
        subject: &Subject<'a>,
        reserve: impl Fn(&Limit) -> u64,
    ) -> Self {
        let mut asks = Asks::default();
        for limit in places.into_iter().flat_map(|place| place.iter()) {
            let is_known = || asks.limits.iter().flatten().any(|known| Arc::ptr_eq(known, limit));
            if limit.moment() == moment && !is_known() {
                asks.asks.push(limit.ask(subject, reserve(limit)));
                asks.limits.push(Some(limit));
            }
        }
        asks
    }

    /// Adds what a Tinybird JWT allows its bearer (`limits.rps`). By tenant as well as by name: Tinybird counts by the name
    /// alone, which two tenants may share.
    pub fn add_rate_of_token(&mut self, grant: &'a Grant) {
        let Some((identity, rps)) = grant.identity().and_then(|identity| Some((identity, identity.rps?))) else {
            return;
        };
        let workspace = identity.workspace.as_deref().unwrap_or_default();
        let tenant = grant.tenant.as_ref().map_or("", |tenant| tenant.as_str());
        self.asks.push(Ask {
            name: NAME_OF_TOKENS_RATE,
            values: Values::from_slice(&[Value::Text([workspace, &identity.bearer, tenant])]),
            rule: Rule::Rate(Pace::per_second(rps)),
            mode: Mode::Enforced,
            reserve: 1,
        });
        self.limits.push(None);
    }

    /// Each limit of the configuration, with what it answered.
    pub fn each<'b>(&'b self, answer: &'b Answer) -> impl Iterator<Item = (&'a Arc<Limit>, &'b Standing)> {
        self.limits.iter().zip(&answer.standings).filter_map(|(limit, standing)| Some(((*limit)?, standing)))
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }

    /// What follows from the answer.
    pub fn judge(&self, answer: &Answer) -> Judgement {
        if let Err(NotSpent::Unknown) = answer.spent {
            // No limit refuses, and nobody knows how one stands.
            let refusal = Some(Refusal::overloaded(WITHOUT_COUNTERS));
            return Judgement { refusal, ..Judgement::default() };
        }
        let each = || self.limits.iter().zip(&self.asks).zip(&answer.standings);
        let would_refuse = each().filter(|((_, ask), standing)| ask.mode == Mode::DryRun && !standing.passes);
        let would_refuse = would_refuse.filter_map(|((limit, _), _)| limit.map(|limit| limit.index)).collect();
        let enforced = || each().filter(|((_, ask), _)| ask.mode == Mode::Enforced);
        let tightest = match answer.spent {
            Ok(_) => enforced().min_by(|a, b| by_share_left(a.1, b.1)),
            Err(_) => enforced().max_by_key(|(_, standing)| standing.wait),
        };
        let report = tightest.map(|((limit, _), standing)| Report::of(limit.map(|limit| limit.index), *standing));
        let refusal = match (&answer.spent, tightest) {
            (Ok(_), _) => None,
            (Err(NotSpent::Refused), Some(((_, Ask { rule: Rule::Quota(_), .. }), standing))) => {
                Some(Refusal::quota_exhausted(standing.wait))
            }
            (Err(NotSpent::Refused), Some((_, standing))) => Some(Refusal::rate_limited(standing.wait)),
            (Err(NotSpent::Refused | NotSpent::Unknown), None) | (Err(NotSpent::Unknown), Some(_)) => {
                Some(Refusal::overloaded(WITHOUT_COUNTERS))
            }
        };
        let refused_by = refusal.is_some().then(|| tightest.and_then(|((limit, _), _)| limit.map(|limit| limit.index)));
        Judgement { refusal, refused_by: refused_by.flatten(), would_refuse, report }
    }
}

/// After which a caller may try again whom nobody could count: an outage of Redis is seldom over at once.
const WITHOUT_COUNTERS: Duration = Duration::from_secs(5);

/// The smaller share of what there is at most; without division, which would lose the difference of large numbers.
fn by_share_left(a: &Standing, b: &Standing) -> std::cmp::Ordering {
    let share = |one: &Standing, other: &Standing| u128::from(one.remaining) * u128::from(other.total);
    share(a, b).cmp(&share(b, a))
}

/// What the limits say to a request.
#[derive(Debug, Default)]
pub struct Judgement {
    /// What its caller is told, where it does not go on.
    pub refusal: Option<Refusal>,
    /// The limit that refuses; none for that of a token, and where counters could not be asked.
    pub refused_by: Option<usize>,
    /// Limits that would refuse if they were not on trial.
    pub would_refuse: SmallVec<[usize; 2]>,
    /// How the tightest limit stands.
    pub report: Option<Report>,
}

#[cfg(test)]
mod tests;
