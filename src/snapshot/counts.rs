//! Whose counts there are: every limit that counts somebody, where it is attached, and each count that is theirs.
//!
//! In: a snapshot, and who is meant ([`Whose`]). Out: a [`Held`] for each limit
//! that holds for them. Not here: what was counted (`state::counters`), what a
//! request is asked (`pipeline::limits`).
//!
//! Routes and hosts are known, so that all of them are gone through where none
//! is named. Tenants, callers and addresses are not: who is left out is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::Config;
use crate::config::scalar::PathPattern;
use crate::config::section::auth::Provider;
use crate::config::section::hosts::Host;
use crate::config::section::limits::Dimension;
use crate::pipeline::limits::plans::Plan;
use crate::pipeline::limits::{Limit, Moment, Subject};

use super::Snapshot;
use super::hosts::EVERY_HOST;

/// More counts of one limit than this are not told apart from more.
const MOST_COUNTED: usize = 10_000;

/// Who is meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whose<'a> {
    /// What the tenant bought.
    pub plan: Named<&'a Plan>,
    /// Whose rows are asked for.
    pub tenant: Named<&'a str>,
    /// The provider, and its word for the bearer of a credential.
    pub caller: Named<(&'a str, &'a str)>,
    /// Where requests come from.
    pub client: Option<IpAddr>,
    /// Only this host, as it is configured.
    pub host: Option<&'a str>,
    /// Only the routes with this key.
    pub route: Option<&'a str>,
}

/// What is said of one side of somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Named<T> {
    /// This one.
    Is(T),
    /// Requests without one.
    Nobody,
    /// Nothing.
    #[default]
    Open,
}

impl<T: Copy> Named<T> {
    fn name(&self) -> Option<T> {
        match self {
            Named::Is(name) => Some(*name),
            Named::Nobody | Named::Open => None,
        }
    }

    /// Whether nothing is said.
    pub fn is_open(&self) -> bool {
        matches!(self, Named::Open)
    }

    /// Whether it is not ruled out.
    fn may_be(&self, is_this: impl Fn(T) -> bool) -> bool {
        match self {
            Named::Is(name) => is_this(*name),
            Named::Nobody => false,
            Named::Open => true,
        }
    }
}

/// Where a limit is attached, from the outside in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place<'a> {
    /// `server.limits`.
    Server,
    /// `limits` of a host.
    Host(&'a str),
    /// `limits` of the tenant's plan.
    Plan(&'a str),
    /// `limits` of a route: the host whose own route it is, and its key.
    Route(Option<&'a str>, &'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Server => f.write_str("server"),
            Place::Host(host) => write!(f, "host {host}"),
            Place::Plan(plan) => write!(f, "plan {plan}"),
            Place::Route(None, key) => write!(f, "route {key}"),
            Place::Route(Some(host), key) => write!(f, "route {key} of {host}"),
        }
    }
}

/// A limit that holds for somebody.
#[derive(Debug)]
pub struct Held<'a> {
    /// The limit.
    pub limit: &'a Arc<Limit>,
    /// Where it is attached; never empty.
    pub places: Vec<Place<'a>>,
    /// What must be said first, because it counts such apart; then there are no counts here.
    pub missing: Vec<Dimension>,
    /// Each count.
    pub counts: Vec<Subject<'a>>,
    /// Counts beside these.
    pub more: usize,
    /// Whether there may be more than that.
    pub more_than_that: bool,
}

impl Snapshot {
    /// Every limit that counts `whose` requests, in the order of their names, with `most` counts each.
    pub fn held<'a>(&'a self, whose: &Whose<'a>, most: usize) -> Vec<Held<'a>> {
        let mut places = places(&self.config, whose);
        let held = self.all_limits.iter().filter_map(|limit| {
            let places = places.remove(&*limit.name)?;
            Some(held(&self.config, whose, (limit, places), most))
        });
        held.collect()
    }
}

/// Where each limit is attached, by its name.
fn places<'a>(config: &'a Config, whose: &Whose<'a>) -> BTreeMap<&'a str, Vec<Place<'a>>> {
    let mut places: BTreeMap<&str, Vec<Place<'_>>> = BTreeMap::new();
    let mut attach = |names: &'a [String], place: Place<'a>| {
        for name in names {
            let places = places.entry(name).or_default();
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
    };
    attach(&config.server.limits, Place::Server);
    let mut sets = BTreeSet::new();
    for site in sites(config).filter(|site| site.is_meant(config, whose)) {
        sets.insert(site.set());
        if let Some(section) = site.section {
            attach(&section.limits, Place::Host(site.host));
        }
    }
    for (name, section) in &config.plans {
        if whose.plan.may_be(|plan| *plan.name == **name) {
            attach(&section.limits, Place::Plan(name));
        }
    }
    for written in config.route_sets().flat_map(|set| set.routes()) {
        let (host, key) = (written.host.map(|host| host.as_str()), written.key.as_str());
        if sets.contains(&host) && whose.route.is_none_or(|only| only == key) {
            attach(&written.route.limits, Place::Route(host, key));
        }
    }
    places
}

/// A host and what it serves.
#[derive(Clone, Copy)]
struct Site<'a> {
    host: &'a str,
    section: Option<&'a Host>,
}

/// Every host, or what stands for all of them.
fn sites(config: &Config) -> impl Iterator<Item = Site<'_>> {
    let every = config.hosts.is_empty().then_some(Site { host: EVERY_HOST, section: None });
    let listed = config.hosts.iter().map(|(host, section)| Site { host: host.as_str(), section: Some(section) });
    every.into_iter().chain(listed)
}

impl<'a> Site<'a> {
    /// The host whose own routes are served there: itself; none for those of the top level.
    fn set(&self) -> Option<&'a str> {
        self.section.is_some_and(|section| section.routes.is_some()).then_some(self.host)
    }

    fn keys(&self, config: &'a Config) -> impl Iterator<Item = &'a str> + use<'a> {
        let own = self.section.and_then(|section| section.routes.as_ref());
        own.unwrap_or(&config.routes).keys().map(PathPattern::as_str)
    }

    /// Whether it is the host that is meant, and serves the route that is.
    fn is_meant(&self, config: &'a Config, whose: &Whose<'_>) -> bool {
        whose.host.is_none_or(|only| only == self.host)
            && whose.route.is_none_or(|only| self.keys(config).any(|key| key == only))
    }
}

fn held<'a>(
    config: &'a Config,
    whose: &Whose<'a>,
    (limit, places): (&'a Arc<Limit>, Vec<Place<'a>>),
    most: usize,
) -> Held<'a> {
    let missing = missing(config, whose, limit);
    let mut spots = Spots { seen: BTreeSet::new(), kept: Vec::new(), most, is_full: false };
    if missing.is_empty() {
        Walk { config, whose, limit, places: &places }.through(&mut spots);
    }
    let subject = Subject {
        client: whose.client,
        tenant: whose.tenant.name(),
        caller: whose.caller.name(),
        ..Subject::default()
    };
    let counts: Vec<Subject<'a>> =
        spots.kept.into_iter().map(|spot| Subject { host: spot.host, route: spot.route, ..subject }).collect();
    let more = spots.seen.len().saturating_sub(counts.len());
    Held { limit, places, missing, counts, more, more_than_that: spots.is_full }
}

/// What must be said before it is known which count is meant.
fn missing(config: &Config, whose: &Whose<'_>, limit: &Limit) -> Vec<Dimension> {
    let is_missing = |dimension: &&Dimension| match dimension {
        Dimension::Caller => whose.caller.is_open(),
        Dimension::Gateway | Dimension::Host | Dimension::Route => false,
        Dimension::Ip => whose.client.is_none(),
        Dimension::Tenant => whose.tenant.is_open(),
    };
    let mut missing: Vec<Dimension> = limit.dimensions().iter().filter(is_missing).copied().collect();
    // Two tenants may have given their callers the same name, so that these are counted apart.
    let has_tenant = |(provider, _)| config.auth.get(provider).is_some_and(Provider::speaks_of_tenants);
    if limit.dimensions().contains(&Dimension::Caller)
        && whose.caller.name().is_some_and(has_tenant)
        && whose.tenant.is_open()
        && !missing.contains(&Dimension::Tenant)
    {
        missing.insert(0, Dimension::Tenant);
    }
    missing
}

/// Something that the configuration tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spot<'a> {
    host: Option<&'a str>,
    route: Option<(&'a str, &'a str)>,
}

struct Spots<'a> {
    seen: BTreeSet<Spot<'a>>,
    kept: Vec<Spot<'a>>,
    most: usize,
    is_full: bool,
}

impl<'a> Spots<'a> {
    fn add(&mut self, spot: Spot<'a>) {
        self.is_full |= self.seen.len() >= MOST_COUNTED;
        if !self.is_full && self.seen.insert(spot) && self.kept.len() < self.most {
            self.kept.push(spot);
        }
    }
}

/// Goes through the hosts and routes that a limit tells apart.
struct Walk<'w, 'a> {
    config: &'a Config,
    whose: &'w Whose<'a>,
    limit: &'a Limit,
    places: &'w [Place<'a>],
}

impl<'a> Walk<'_, 'a> {
    fn through(&self, spots: &mut Spots<'a>) {
        let by = |dimension| self.limit.dimensions().contains(&dimension);
        if !by(Dimension::Host) && !by(Dimension::Route) {
            return spots.add(Spot { host: None, route: None });
        }
        for place in self.places {
            let mut sets = BTreeSet::new();
            for site in self.sites(*place) {
                let host = by(Dimension::Host).then_some(site.host);
                // Hosts that share their routes are all the same to a limit that does not tell them apart.
                let is_new = sets.insert(site.set()) || host.is_some();
                if by(Dimension::Route) && is_new {
                    self.routes(*place, site).for_each(|route| spots.add(Spot { host, route }));
                } else if is_new {
                    spots.add(Spot { host, route: None });
                }
                if spots.is_full {
                    return;
                }
            }
            if *place == Place::Server && self.counts_anything() && !self.config.hosts.is_empty() {
                spots.add(Spot { host: None, route: None });
            }
        }
    }

    /// Whether requests are counted that no host and no route is there for.
    fn counts_anything(&self) -> bool {
        self.limit.moment() == Moment::Arrival && self.whose.host.is_none() && self.whose.route.is_none()
    }

    /// The hosts that a place is about.
    fn sites(&self, place: Place<'a>) -> impl Iterator<Item = Site<'a>> {
        let (config, whose) = (self.config, self.whose);
        let is_there = move |site: &Site<'a>| match place {
            Place::Host(host) => host == site.host,
            Place::Plan(_) | Place::Server => true,
            Place::Route(set, _) => set == site.set(),
        };
        sites(config).filter(move |site| is_there(site) && site.is_meant(config, whose))
    }

    /// The routes of a host that a place is about; none among them stands for paths that are not served.
    fn routes(&self, place: Place<'a>, site: Site<'a>) -> impl Iterator<Item = Option<(&'a str, &'a str)>> {
        let only = self.whose.route;
        let keys = site.keys(self.config).filter(move |key| {
            let is_there = match place {
                Place::Host(_) | Place::Plan(_) | Place::Server => true,
                Place::Route(_, place) => place == *key,
            };
            is_there && only.is_none_or(|only| only == *key)
        });
        let unserved = matches!(place, Place::Server | Place::Host(_)) && self.counts_anything();
        let set = site.set().unwrap_or_default();
        keys.map(move |key| Some((set, key))).chain(unserved.then_some(None))
    }
}

#[cfg(test)]
#[path = "counts_tests.rs"]
mod tests;
