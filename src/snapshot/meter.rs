//! On which routes it matters what answers say about their cost.
//!
//! In: a configuration. Out: a [`Meter`] for each set of routes, and for each
//! route. A limit that might apply to one request is reason enough.

use crate::config::{Config, RouteSet, ServedPath};
use crate::pipeline::statistics::Meter;

/// What holds for all routes of a set: limits of the server, of hosts that serve it, and of any plan.
pub(super) fn of_set(config: &Config, set: RouteSet<'_>) -> Meter {
    let hosts = config.hosts.iter().filter(|(name, host)| match set.host {
        Some(own) => *name == own,
        None => host.routes.is_none(),
    });
    let hosts = hosts.flat_map(|(_, host)| &host.limits);
    let plans = config.plans.values().flat_map(|plan| &plan.limits);
    compile(config, config.server.limits.iter().chain(plans).chain(hosts))
}

/// What holds for one path beside that.
pub(super) fn of_route(config: &Config, path: &ServedPath<'_>) -> Meter {
    let usage = Meter::of_usage(&config.usage, path.route.route, path.format);
    compile(config, path.route.route.limits.iter()).or(usage)
}

fn compile<'a>(config: &'a Config, names: impl Iterator<Item = &'a String>) -> Meter {
    Meter::compile(names.filter_map(|name| config.limits.get(name)))
}
