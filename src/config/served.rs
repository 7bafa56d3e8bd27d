//! Which routes there are, and which paths they open on which hosts.
//!
//! In: a [`Config`]. Out: [`RouteSet`]s (the routes of the top level, and those
//! of each host that has its own), [`WrittenRoute`]s with the keys that lead to
//! them, and [`ServedPath`]s. Not here: whether they are right (`check`).

use std::collections::BTreeMap;

use super::Config;
use super::scalar::{HostPattern, PathPattern};
use super::section::auth::AuthRule;
use super::section::hosts::Host;
use super::section::routes::{Format, Route};

/// Routes among which the most specific wins: no host has two of these.
#[derive(Clone, Copy, Debug)]
pub struct RouteSet<'a> {
    /// The host whose own routes they are; none for the top level's.
    pub host: Option<&'a HostPattern>,
    routes: &'a BTreeMap<PathPattern, Route>,
}

/// A route and where it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenRoute<'a> {
    /// The host whose own route it is; none for the top level's.
    pub host: Option<&'a HostPattern>,
    /// Its key under `routes`.
    pub key: &'a PathPattern,
    /// What stands there.
    pub route: &'a Route,
}

/// One path that the gateway serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedPath<'a> {
    /// The pattern that requests are matched against.
    pub pattern: PathPattern,
    /// The route that it comes from.
    pub route: WrittenRoute<'a>,
    /// The format a pipe answers in; none for a proxy.
    pub format: Option<Format>,
}

impl Config {
    /// Everything that says who may call.
    pub fn every_auth_rule(&self) -> Vec<&AuthRule> {
        let routes = self.all_routes().filter_map(|route| route.route.auth.as_ref());
        let hosts = self.hosts.values().filter_map(|host| host.auth.as_ref());
        routes.chain(hosts).chain(&self.default_auth).chain(&self.white_label.openapi_auth).collect()
    }

    /// Every route that is written, those of the top level first.
    pub fn all_routes(&self) -> impl Iterator<Item = WrittenRoute<'_>> {
        let top = std::iter::once(RouteSet { host: None, routes: &self.routes });
        top.chain(self.own_routes()).flat_map(RouteSet::routes)
    }

    /// The routes that some host serves, in sets: the top level's, unless every host has its own, then those.
    pub fn route_sets(&self) -> impl Iterator<Item = RouteSet<'_>> {
        let top = RouteSet { host: None, routes: &self.routes };
        std::iter::once(top).filter(|_| self.serves_top_level()).chain(self.own_routes())
    }

    /// Whether any host serves the routes of the top level.
    pub fn serves_top_level(&self) -> bool {
        self.hosts.is_empty() || self.hosts.values().any(|host| host.routes.is_none())
    }

    /// Who may call a route on each host that serves it: as the route says, else the host, else the top level; none where
    /// nobody says anything. Where hosts are not listed, there is one rule, of no host.
    pub fn callers_of<'a>(&'a self, at: WrittenRoute<'a>) -> Vec<(Option<&'a HostPattern>, Option<&'a AuthRule>)> {
        let rule = |host: Option<&'a Host>| {
            let outer = host.and_then(|host| host.auth.as_ref()).or(self.default_auth.as_ref());
            at.route.auth.as_ref().or(outer)
        };
        if let Some(host) = at.host {
            return vec![(Some(host), rule(self.hosts.get(host)))];
        }
        if self.hosts.is_empty() {
            return vec![(None, rule(None))];
        }
        let sharing = self.hosts.iter().filter(|(_, host)| host.routes.is_none());
        sharing.map(|(name, host)| (Some(name), rule(Some(host)))).collect()
    }

    /// Every path that is served, those of `tinybird_api` included; those of a set stand together.
    pub fn served_paths(&self) -> Vec<ServedPath<'_>> {
        self.route_sets().flat_map(|set| self.served_in(set)).collect()
    }

    /// Every path that the routes of a set open.
    pub fn served_in<'a>(&self, set: RouteSet<'a>) -> Vec<ServedPath<'a>> {
        let mut served = Vec::new();
        for route in set.routes() {
            // A path that cannot be opened was reported when the file was checked.
            let paths = route.route.paths(route.key).unwrap_or_default();
            served.extend(paths.into_iter().map(|(pattern, format)| ServedPath { pattern, route, format }));
        }
        if self.tinybird_api {
            served.extend(set.routes().flat_map(tinybird_paths));
        }
        served
    }

    fn own_routes(&self) -> impl Iterator<Item = RouteSet<'_>> {
        self.hosts
            .iter()
            .filter_map(|(host, section)| Some(RouteSet { host: Some(host), routes: section.routes.as_ref()? }))
    }
}

fn tinybird_paths(route: WrittenRoute<'_>) -> Vec<ServedPath<'_>> {
    let Some(pipe) = route.route.pipe.as_ref().and_then(|pipe| pipe.literal()) else { return Vec::new() };
    let mut formats: Vec<Format> =
        route.route.paths(route.key).unwrap_or_default().into_iter().filter_map(|(_, format)| format).collect();
    formats.sort_unstable();
    formats.dedup();
    formats
        .into_iter()
        .filter_map(|format| {
            let pattern = format!("/v0/pipes/{pipe}.{}", format.extension()).parse().ok()?;
            Some(ServedPath { pattern, route, format: Some(format) })
        })
        .collect()
}

impl<'a> RouteSet<'a> {
    /// The routes in the order of their keys.
    pub fn routes(self) -> impl Iterator<Item = WrittenRoute<'a>> {
        let RouteSet { host, routes } = self;
        routes.iter().map(move |(key, route)| WrittenRoute { host, key, route })
    }

    /// The keys that lead to the set, and to `inner` below it.
    pub fn path<'b>(&self, inner: &[&'b str]) -> Vec<&'b str>
    where
        'a: 'b,
    {
        path(self.host, inner)
    }
}

impl<'a> WrittenRoute<'a> {
    /// The keys that lead to the route, and to `inner` below it.
    pub fn path<'b>(&self, inner: &[&'b str]) -> Vec<&'b str>
    where
        'a: 'b,
    {
        let mut below: Vec<&'b str> = vec![self.key.as_str()];
        below.extend(inner);
        path(self.host, &below)
    }

    /// Whether both are the same entry of the file.
    pub fn is(&self, other: &WrittenRoute<'_>) -> bool {
        self.host == other.host && self.key == other.key
    }
}

fn path<'b>(host: Option<&'b HostPattern>, inner: &[&'b str]) -> Vec<&'b str> {
    let mut path = match host {
        None => vec!["routes"],
        Some(host) => vec!["hosts", host.as_str(), "routes"],
    };
    path.extend(inner);
    path
}
