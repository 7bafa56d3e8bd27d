//! Plays requests back against other limits.
//!
//! In: a configuration, lines in the order of their requests. Out: [`Tallies`].
//! The limits, the plans and the counters are those of a gateway, on a clock
//! that each line turns. Not here: reading the log (`plan`), the sums (`tally`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;

use crate::clock::HandClock;
use crate::config::Config;
use crate::exchange::head::{normalise_host, normalise_path};
use crate::pipeline::limits::plans::Bought;
use crate::pipeline::limits::{Asks, Attached, Book, Limit, Moment, Subject, Usuals};
use crate::pipeline::statistics::verdict;
use crate::snapshot::Snapshot;
use crate::snapshot::hosts::Site;
use crate::snapshot::route::Route;
use crate::state::State;
use crate::state::counters::{Back, Counters, Mode, Receipt};

use super::line::{Fate, Line, is_rate_of_token};
use super::tally::Tallies;

/// Between two looks at what means nothing any more.
const SWEEP: Duration = Duration::from_secs(3_600);

/// What is known of the routes and hosts of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Around {
    /// What the log says: the file has limits and plans only.
    Log,
    /// A whole configuration.
    Gateway,
}

/// Limits that are tried out.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    config: &'a Config,
    around: Around,
    state: State,
    snapshot: Snapshot,
    clock: HandClock,
    /// What requests cost usually, by the log's word for the route.
    usual: HashMap<String, Usuals>,
    under_way: BinaryHeap<Reverse<UnderWay>>,
    next_sweep: SystemTime,
    pub(super) tallies: Tallies,
    pub(super) sums: Sums,
}

/// What is told beside the tallies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Requests that were played back.
    pub(super) requests: u64,
    /// Those that at least one limit would have refused.
    pub(super) refused: u64,
    /// Requests that no limit was asked about, because they were answered or refused before.
    pub(super) passed_over: u64,
    /// Lines that came too late to be counted at their time.
    pub(super) late: u64,
    /// Requests for hosts and routes that the file does not have.
    pub(super) strangers: u64,
    /// Requests that a limit by address had refused, so that nobody knows whose they were.
    pub(super) unidentified: u64,
}

/// Where a request goes: indexes of the snapshot.
#[derive(Clone, Copy, Debug, Default)]
struct Spot {
    site: Option<usize>,
    route: Option<usize>,
}

/// A request that was let in and has not ended.
#[derive(Debug)]
struct UnderWay {
    /// When it ends, and its place among those that end then.
    key: (SystemTime, u64),
    line: Line,
    spot: Spot,
    receipt: Receipt,
    /// Quotas whose cost is known in the end.
    late: SmallVec<[Arc<Limit>; 2]>,
}

impl PartialEq for UnderWay {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for UnderWay {}

impl PartialOrd for UnderWay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for UnderWay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl<'a> Replay<'a> {
    /// Nobody has come yet, and it is `start`.
    pub(super) fn new(config: &'a Config, around: Around, start: SystemTime) -> Self {
        let clock = HandClock::at(start);
        let state = State::new(clock.clock());
        Replay {
            snapshot: Snapshot::compile(config, &state),
            config,
            around,
            state,
            clock,
            usual: HashMap::new(),
            under_way: BinaryHeap::new(),
            next_sweep: start + SWEEP,
            tallies: Tallies::default(),
            sums: Sums::default(),
        }
    }

    /// Plays one request back.
    pub(super) async fn play(&mut self, line: Line) {
        let now = self.clock.clock().wall();
        self.sums.late += u64::from(line.at < now);
        self.settle_until(line.at.max(now)).await;
        self.clock.advance_to(line.at);
        if line.at >= self.next_sweep {
            self.state.counters().sweep();
            self.next_sweep = line.at + SWEEP;
        }
        let spot = self.spot(&line);
        let arrival = self.ask(&line, spot, Moment::Arrival).await;
        let (Passage::Clear | Passage::Open(_), true) = (&arrival, self.is_admitted(&line, spot)) else {
            match arrival {
                Passage::Clear => self.sums.passed_over += 1,
                Passage::Open(_) | Passage::Shut => self.count(&line, &arrival),
            }
            return;
        };
        let admission = self.ask(&line, spot, Moment::Admission).await;
        self.count(&line, &admission);
        if let Passage::Open(receipt) = admission {
            let late = self.late(&line, spot);
            let key = (line.end.max(self.clock.clock().wall()), self.sums.requests);
            self.under_way.push(Reverse(UnderWay { key, line, spot, receipt: *receipt, late }));
        }
    }

    /// The log has ended.
    pub(super) async fn finish(&mut self) {
        while let Some(Reverse(ended)) = self.under_way.pop() {
            self.settle(ended).await;
        }
    }

    /// Asks the limits that are asked at this moment.
    async fn ask(&mut self, line: &Line, spot: Spot, moment: Moment) -> Passage {
        if moment == Moment::Admission {
            self.know_usual(line);
        }
        let place = Place::of((&self.snapshot, self.around), spot);
        let subject = match moment {
            Moment::Admission => place.subject(line),
            Moment::Arrival => Subject { tenant: None, caller: None, ..place.subject(line) },
        };
        let usual = usual(&place, &self.usual, line);
        let reserve = |limit: &Limit| match moment {
            Moment::Admission => usual.map_or(1, |usual| usual.reserve(limit)),
            Moment::Arrival => 1,
        };
        let plan = bought(&self.snapshot, line).filter(|_| moment == Moment::Admission);
        let asks = Asks::of(place.limits(plan.as_ref()), moment, &subject, reserve);
        if let Some(bought) = plan {
            let tenant = self.tallies.tenant(line.tenant.as_ref());
            tenant.plan.get_or_insert_with(|| (bought.plan.name.to_string(), bought.because));
        }
        match asks.is_empty() {
            true => Passage::Clear,
            false => spend(self.state.counters(), &asks, (line, &mut self.tallies)).await,
        }
    }

    /// The quotas that wait for the cost of a request.
    fn late(&self, line: &Line, spot: Spot) -> SmallVec<[Arc<Limit>; 2]> {
        let (place, plan) = (Place::of((&self.snapshot, self.around), spot), bought(&self.snapshot, line));
        let mut late: SmallVec<[Arc<Limit>; 2]> = SmallVec::new();
        for limit in place.limits(plan.as_ref()).flat_map(Attached::iter) {
            if limit.late_cost().is_some() && !late.iter().any(|known| Arc::ptr_eq(known, limit)) {
                late.push(Arc::clone(limit));
            }
        }
        late
    }

    /// Begins to learn what requests of a route cost, where the file has no routes.
    fn know_usual(&mut self, line: &Line) {
        let name = line.route.as_deref().unwrap_or_default();
        if self.around == Around::Log && !self.usual.contains_key(name) {
            let counters = self.state.counters();
            let book = Book::compile(&self.config.limits);
            let usual = Usuals::compile(&book, |limit, rule| counters.usual(limit, rule, name));
            self.usual.insert(name.to_owned(), usual);
        }
    }

    /// Sets right what was taken by requests that have ended by then.
    async fn settle_until(&mut self, now: SystemTime) {
        while self.under_way.peek().is_some_and(|Reverse(first)| first.key.0 <= now) {
            let Some(Reverse(ended)) = self.under_way.pop() else { return };
            self.settle(ended).await;
        }
    }

    async fn settle(&mut self, ended: UnderWay) {
        let UnderWay { key: (at, _), line, spot, receipt, late } = ended;
        self.clock.advance_to(at);
        let place = Place::of((&self.snapshot, self.around), spot);
        let counters = self.state.counters();
        let verdict = verdict(&line.cost);
        match (&line.fate, verdict.bill()) {
            (Fate::Overloaded, _) => counters.refund(receipt, Back::Everything),
            // It was not made then: it would have cost what is usual.
            (Fate::Limited(_), _) => {}
            (_, None) => counters.refund(receipt, Back::Quotas),
            (_, Some(bill)) => {
                if let (Some(usual), Some(costs)) = (usual(&place, &self.usual, &line), verdict.lesson()) {
                    usual.learn(costs);
                }
                counters.settle(receipt, &bill);
            }
        }
        let subject = place.subject(&line);
        for limit in late {
            let standing = counters.look(&limit.ask(&subject, 0)).await;
            let tenant = self.tallies.tenant(line.tenant.as_ref());
            tenant.limits.entry(limit.index).or_default().note(&standing);
        }
    }

    /// Whether limits beside those by address would have been asked.
    fn is_admitted(&mut self, line: &Line, spot: Spot) -> bool {
        if line.fate == Fate::Answered {
            return false;
        }
        if self.around == Around::Gateway && spot.route.is_none() {
            self.sums.strangers += 1;
            return false;
        }
        let Fate::Limited(name) = &line.fate else { return true };
        let known = self.snapshot.all_limits.iter().find(|limit| *limit.name == **name);
        let is_admission = known.is_some_and(|limit| limit.moment() == Moment::Admission);
        let is_identified = line.is_identified() || is_admission || is_rate_of_token(name);
        self.sums.unidentified += u64::from(!is_identified);
        is_identified
    }

    fn spot(&self, line: &Line) -> Spot {
        if self.around == Around::Log {
            return Spot { site: Some(0), route: None };
        }
        let host = normalise_host(&line.host).unwrap_or_default();
        let Some(site) = self.snapshot.site_of(&host) else { return Spot::default() };
        // The pattern of the log is looked for where the path was cut, or has come to lead elsewhere.
        let found = normalise_path(&line.path).ok().and_then(|path| self.snapshot.find(site, &path));
        let by_name = || {
            let name = line.route.as_deref()?;
            self.snapshot.routes_of(site).iter().find(|route| *route.label == *name)
        };
        let route = found.map(|(route, _)| route).or_else(by_name);
        Spot { site: Some(site.index), route: route.map(|route| route.index) }
    }

    fn count(&mut self, line: &Line, passage: &Passage) {
        let refused = match passage {
            Passage::Clear | Passage::Open(_) => 0,
            Passage::Shut => 1,
        };
        self.sums.requests += 1;
        self.sums.refused += refused;
        let tenant = self.tallies.tenant(line.tenant.as_ref());
        tenant.requests += 1;
        tenant.refused += refused;
    }

    /// The name of a limit.
    pub(super) fn name_of(&self, limit: usize) -> &str {
        self.snapshot.limit(limit).map_or("", |limit| &limit.name)
    }
}

/// What limits say to a request.
#[derive(Debug)]
enum Passage {
    /// There are none.
    Clear,
    /// They let it in.
    Open(Box<Receipt>),
    /// They refuse it.
    Shut,
}

/// The plan that a request's tenant would have. What credentials say of plans is not in the log.
fn bought<'a>(snapshot: &'a Snapshot, line: &Line) -> Option<Bought<'a>> {
    let bought = snapshot.plans.bought(line.tenant.as_ref(), None).ok().flatten();
    bought.filter(|_| !snapshot.config.plans.is_empty())
}

/// What requests of a route usually cost.
fn usual<'a>(place: &Place<'a>, of_log: &'a HashMap<String, Usuals>, line: &Line) -> Option<&'a Usuals> {
    let name = line.route.as_deref().unwrap_or_default();
    place.route.map(|route| &route.usual).or_else(|| of_log.get(name))
}

/// Where limits are attached for one request.
#[derive(Clone, Copy)]
struct Place<'a> {
    snapshot: &'a Snapshot,
    around: Around,
    site: Option<&'a Site>,
    route: Option<&'a Route>,
}

impl<'a> Place<'a> {
    fn of((snapshot, around): (&'a Snapshot, Around), spot: Spot) -> Self {
        let site = spot.site.and_then(|site| snapshot.site(site));
        let route = spot.route.and_then(|route| snapshot.route(route));
        Place { snapshot, around, site, route }
    }

    /// The limits of the server, the host, the plan and the route.
    fn limits(&self, plan: Option<&Bought<'a>>) -> impl Iterator<Item = &'a Attached> + use<'a> {
        let of_site = self.site.map_or(&self.snapshot.limits, |site| &site.limits);
        let of_plan = plan.map(|bought| &bought.plan.limits);
        [Some(of_site), of_plan, self.route.map(|route| &route.limits)].into_iter().flatten()
    }

    fn subject(&self, line: &'a Line) -> Subject<'a> {
        let (host, route) = match self.around {
            Around::Gateway => (
                self.site.map(|site| &*site.label),
                self.route.map(|route| (route.host.as_deref().unwrap_or_default(), &*route.key)),
            ),
            Around::Log => (
                Some(line.host.as_str()).filter(|host| !host.is_empty()),
                line.route.as_deref().map(|route| ("", route)),
            ),
        };
        Subject {
            client: Some(line.client),
            host,
            route,
            tenant: line.tenant.as_ref().map(|tenant| tenant.as_str()),
            caller: line.caller.as_ref().map(|(provider, id)| (provider.as_str(), id.as_str())),
        }
    }
}

/// Asks the counters, and adds up what they said.
async fn spend(counters: &Counters, asks: &Asks<'_>, (line, tallies): (&Line, &mut Tallies)) -> Passage {
    let answer = counters.spend(&asks.asks).await;
    let tenant = tallies.tenant(line.tenant.as_ref());
    for (limit, standing) in asks.each(&answer) {
        let tally = tenant.limits.entry(limit.index).or_default();
        let refuses = match limit.mode() {
            Mode::DryRun => !standing.passes,
            Mode::Enforced => answer.spent.is_err() && !standing.passes,
        };
        match refuses {
            true => tally.refuse(standing, line.at),
            false => tally.let_in(standing),
        }
    }
    answer.spent.map_or(Passage::Shut, |receipt| Passage::Open(Box::new(receipt)))
}
