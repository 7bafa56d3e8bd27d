//! What is running now: everything a request needs, compiled from one `Config`.
//!
//! In: a checked configuration and handles to state. Out: a [`Snapshot`] that
//! never changes. Not here: reading files (`config`), counters (`state`).
//! Nothing is looked up by a configured name while serving.

pub mod arrival;
mod compile;
pub mod counts;
pub mod explain;
pub mod hosts;
pub mod live;
mod meter;
pub mod openapi;
pub mod route;
mod table;

use std::sync::Arc;

use crate::config::Config;
use crate::pipeline::Entrance;
use crate::pipeline::authn::{Authn, Provider};
use crate::pipeline::client::TrustedProxies;
use crate::pipeline::cors::Cors;
use crate::pipeline::guard::HeadGuard;
use crate::pipeline::limits::plans::Plans;
use crate::pipeline::limits::{Attached, Limit};
use crate::pipeline::scrub::Phrases;
use crate::state::State;
use crate::state::domains::Domains;
use crate::state::jwks::Keys;
use crate::state::queue::{Queue, Terms};
use crate::tls::certificates::{Approval, Certificates};
use crate::upstream::Upstream;

use hosts::{HostTable, Site};
use openapi::Document;
use route::Route;

pub use table::Match;

/// One compiled configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// The how-manieth of this process, from 1.
    pub generation: u64,
    /// What it was compiled from.
    pub config: Arc<Config>,
    /// Limits for every request.
    pub guard: HeadGuard,
    /// Cross-origin rules of the top level, for what no route and no host has rules for.
    pub cors: Cors,
    /// Who may call routes that say nothing.
    pub authn: Authn,
    /// Limits for every request, also for hosts and paths that are not served.
    pub limits: Attached,
    /// Every limit, in the order of their indexes.
    pub all_limits: Box<[Arc<Limit>]>,
    /// Who bought what.
    pub plans: Plans,
    /// The port of `https` addresses, where they have to name it.
    pub https_port: Option<u16>,
    /// How long an idle connection of a caller stays open, in seconds.
    pub keepalive: u64,
    /// Proxies whose word about the caller counts.
    pub proxies: TrustedProxies,
    /// Every upstream.
    pub upstreams: Box<[Arc<Upstream>]>,
    /// The keys of every identity provider that publishes some, by the provider's name.
    pub provider_keys: Box<[(Arc<str>, Arc<Keys>)]>,
    /// The queues of upstreams that are protected, and their terms: see [`Snapshot::take_effect`].
    pub queues: Box<[Guarded]>,
    /// Every provider of `auth`.
    pub providers: Box<[Arc<Provider>]>,
    /// Whether one of them knows callers by certificates.
    pub asks_for_certificates: bool,
    phrases: Arc<Phrases>,
    routes: Box<[Route]>,
    hosts: HostTable,
}

/// An upstream that is protected, be it by its own word alone.
#[derive(Debug)]
pub struct Guarded {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// What stands in front of it.
    pub queue: Arc<Queue>,
    terms: Terms,
}

impl Guarded {
    /// Whether requests to it are limited by the configuration.
    pub fn is_limited(&self) -> bool {
        self.terms.is_limited()
    }
}

impl Snapshot {
    /// Tells what outlives configurations that this is the one that runs.
    pub fn take_effect(&self, state: &State) {
        state.queues().set(self.queues.iter().map(|guarded| (&*guarded.upstream, &guarded.terms)));
        state.load().follow(&self.config.server);
    }

    /// The site that serves a normalised host.
    pub fn site_of(&self, host: &str) -> Option<&Site> {
        self.hosts.find(host)
    }

    /// The certificates for who opens a connection to a name, spelled as hosts are, or to none.
    pub fn certificates(&self, name: Option<&str>) -> &Arc<Certificates> {
        self.hosts.certificates(name)
    }

    /// As [`Snapshot::certificates`], where the name may be a customer's own domain, too.
    pub fn certificates_among(&self, name: Option<&str>, domains: &Domains) -> Arc<Certificates> {
        let domain = name.filter(|name| self.site_of(name).is_none());
        let host = domain.and_then(|domain| domains.host_of(domain));
        match host.and_then(|host| self.site_of(&host)) {
            // Who verified it has approved of it.
            Some(_) => Arc::new(Certificates::OnDemand(Approval::Given)),
            None => Arc::clone(self.certificates(name)),
        }
    }

    /// Whether some hosts get their certificates when callers ask for them.
    pub fn has_on_demand(&self) -> bool {
        self.hosts.has_on_demand()
    }

    /// Whether hosts are listed, so that others are not served.
    pub fn lists_hosts(&self) -> bool {
        self.hosts.is_listed()
    }

    /// Every site, in the order of their indexes.
    pub fn sites(&self) -> &[Site] {
        self.hosts.sites()
    }

    /// The site with this index.
    pub fn site(&self, index: usize) -> Option<&Site> {
        self.sites().get(index)
    }

    /// The most specific route of a site for a normalised path.
    pub fn find(&self, site: &Site, path: &str) -> Option<(&Route, Match)> {
        let found = site.routes.table.find(path)?;
        Some((self.routes.get(found.route)?, found))
    }

    /// Every route of a site for a normalised path with what its captures match, the most specific first.
    pub fn find_all(&self, site: &Site, path: &str) -> Vec<(&Route, Match)> {
        let found = site.routes.table.find_all(path).into_iter();
        found.filter_map(|found| Some((self.routes.get(found.route)?, found))).collect()
    }

    /// The routes of a site.
    pub fn routes_of(&self, site: &Site) -> &[Route] {
        self.routes.get(site.routes.indexes.clone()).unwrap_or_default()
    }

    /// The cross-origin rules that apply: the route's, else the host's, else those of the top level.
    pub fn cors_of<'a>(&'a self, site: Option<&'a Site>, route: Option<&'a Route>) -> &'a Cors {
        let inner = route.and_then(|route| route.cors.as_ref());
        inner.or_else(|| site.and_then(|site| site.cors.as_ref())).unwrap_or(&self.cors)
    }

    /// How errors speak: as the site says, else as is said in general, also of hosts that are not served.
    pub fn phrases_of<'a>(&'a self, site: Option<&'a Site>) -> &'a Phrases {
        site.map_or(&self.phrases, |site| &site.phrases)
    }

    /// Every route, in the order of their indexes.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Who may come in at a route: as it says itself, else as its site says, else as the top level.
    pub fn entrance<'a>(&'a self, site: Option<&'a Site>, route: &'a Route) -> Entrance<'a> {
        let inner = route.authn.as_ref().or_else(|| site.and_then(|site| site.authn.as_ref()));
        Entrance {
            authn: inner.unwrap_or(&self.authn),
            authz: &route.authz,
            tenant: site.and_then(|site| site.tenant.as_ref()),
        }
    }

    /// Who may read the document of a site.
    pub fn entrance_to<'a>(&'a self, site: Option<&'a Site>, document: &'a Document) -> Entrance<'a> {
        let inner = document.authn.as_ref().or_else(|| site.and_then(|site| site.authn.as_ref()));
        Entrance {
            authn: inner.unwrap_or(&self.authn),
            authz: &document.authz,
            tenant: site.and_then(|site| site.tenant.as_ref()),
        }
    }

    /// The limit with this index.
    pub fn limit(&self, index: usize) -> Option<&Arc<Limit>> {
        self.all_limits.get(index)
    }

    /// The route with this index.
    pub fn route(&self, index: usize) -> Option<&Route> {
        self.routes.get(index)
    }
}
