//! What is running now: everything a request needs, compiled from one `Config`.
//!
//! In: a checked configuration and handles to state. Out: a [`Snapshot`] that
//! never changes. Not here: reading files (`config`), counters (`state`).
//! Nothing is looked up by a configured name while serving.

pub mod arrival;
mod compile;
pub mod explain;
pub mod live;
pub mod route;
mod table;

use std::sync::Arc;

use crate::config::Config;
use crate::pipeline::client::TrustedProxies;
use crate::pipeline::cors::Cors;
use crate::pipeline::guard::HeadGuard;
use crate::state::jwks::Keys;
use crate::upstream::Upstream;

use route::Route;
use table::PathTable;

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
    /// Cross-origin rules for answers to requests that no route matches.
    pub cors: Cors,
    /// How long an idle connection of a caller stays open, in seconds.
    pub keepalive: u64,
    /// Proxies whose word about the caller counts.
    pub proxies: TrustedProxies,
    /// Every upstream.
    pub upstreams: Box<[Arc<Upstream>]>,
    /// The keys of every identity provider that publishes some, by the provider's name.
    pub provider_keys: Box<[(Arc<str>, Arc<Keys>)]>,
    routes: Box<[Route]>,
    table: PathTable,
}

impl Snapshot {
    /// The most specific route for a normalised path.
    pub fn find(&self, path: &str) -> Option<(&Route, Match)> {
        let found = self.table.find(path)?;
        Some((self.routes.get(found.route)?, found))
    }

    /// Every route for a normalised path with what its captures match, the most specific first.
    pub fn find_all(&self, path: &str) -> Vec<(&Route, Match)> {
        let found = self.table.find_all(path).into_iter();
        found.filter_map(|found| Some((self.routes.get(found.route)?, found))).collect()
    }

    /// Every route, in the order of their indexes.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The route with this index.
    pub fn route(&self, index: usize) -> Option<&Route> {
        self.routes.get(index)
    }
}
