//! From what was written to what runs: pure, no I/O, everything or nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::scalar::{ByteSize, PathPattern, Secret};
use crate::config::section::routes as section;
use crate::config::{Config, ServedPath};
use crate::pipeline::client::TrustedProxies;
use crate::pipeline::cors::Cors;
use crate::pipeline::guard::{HeadGuard, RouteGuard};
use crate::pipeline::params::{MAX_PARAMETER_BODY, Params};
use crate::pipeline::retry::Retry;
use crate::pipeline::rewrite::Rewrite;
use crate::pipeline::scrub::{Scrub, Tripwire, Wording};
use crate::state::State;
use crate::upstream::Upstream;

use super::Snapshot;
use super::route::{BodyRule, Route};
use super::table::PathTable;

impl Snapshot {
    /// Compiles a checked configuration. Total: a name that leads nowhere was
    /// an issue of the file, and its route is not there.
    pub fn compile(config: &Config, state: &State) -> Snapshot {
        Self::compile_after(None, Arc::new(config.clone()), state)
    }

    /// As [`Snapshot::compile`], for what is to run after this one: upstreams
    /// that stay as they are keep their addresses and connections.
    pub fn compile_next(&self, config: Arc<Config>, state: &State) -> Snapshot {
        Self::compile_after(Some(self), config, state)
    }

    fn compile_after(previous: Option<&Snapshot>, config: Arc<Config>, state: &State) -> Snapshot {
        // No `..`: a key that nobody compiles must not build.
        let Config {
            listeners: _,
            admin: _,
            upstreams,
            routes: _,
            tinybird_api: _,
            cors,
            white_label: _,
            log: _,
            server,
            state: _,
            include: _,
        } = &*config;
        let before = previous.map_or(&[][..], |previous| &previous.upstreams);
        let before: BTreeMap<&str, &Arc<Upstream>> =
            before.iter().map(|upstream| (&**upstream.name(), upstream)).collect();
        let known = |name: &str| before.get(name).copied();
        let shared = Shared {
            config: &config,
            state,
            upstreams: upstreams
                .iter()
                .map(|(name, section)| (name.as_str(), Upstream::compile_after(known(name), name, section)))
                .collect(),
            wording: Arc::new(Wording::compile(upstreams.values().map(|upstream| upstream.url.host()))),
            tripwire: Arc::new(Tripwire::compile(credentials(&config).map(Secret::expose))),
        };
        let served = config.served_paths();
        let mut routes: Vec<Route> = Vec::with_capacity(served.len());
        let mut patterns: Vec<(&PathPattern, usize)> = Vec::with_capacity(served.len());
        for path in &served {
            if let Some(route) = shared.route(path, routes.len()) {
                patterns.push((&path.pattern, routes.len()));
                routes.push(route);
            }
        }
        Snapshot {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            guard: HeadGuard::compile(server),
            cors: Cors::compile(cors.as_ref()),
            keepalive: server.keepalive.duration().as_secs().max(1),
            proxies: TrustedProxies::compile(&server.trusted_proxies),
            upstreams: shared.upstreams.values().cloned().collect(),
            provider_keys: Box::default(),
            table: PathTable::compile(patterns.into_iter()),
            routes: routes.into(),
            config: Arc::clone(&config),
        }
    }
}

/// What all routes of one configuration share.
struct Shared<'a> {
    config: &'a Config,
    state: &'a State,
    upstreams: BTreeMap<&'a str, Arc<Upstream>>,
    wording: Arc<Wording>,
    tripwire: Arc<Tripwire>,
}

impl Shared<'_> {
    fn route(&self, path: &ServedPath<'_>, index: usize) -> Option<Route> {
        let route = self.config.routes.get(path.route)?;
        let name = self.config.upstream_of(route)?;
        let upstream_section = self.config.upstreams.get(name)?;
        let section::Route { pipe, proxy, formats: _, upstream: _, methods: _, pass_headers: _, params, cors } = route;
        let rule = if pipe.is_some() { BodyRule::Parameters } else { BodyRule::PassThrough };
        let max_body = match rule {
            BodyRule::Parameters => ByteSize::of(MAX_PARAMETER_BODY),
            BodyRule::PassThrough => self.config.server.max_body,
        };
        let timeouts = &upstream_section.timeouts;
        Some(Route {
            index,
            label: path.pattern.as_str().into(),
            key: path.route.as_str().into(),
            guard: RouteGuard::compile(route.served_methods(), max_body),
            cors: Cors::compile(cors.as_ref().or(self.config.cors.as_ref())),
            body: rule,
            params: Params::compile(params),
            rewrite: Rewrite::compile(route, path.format, upstream_section),
            retry: Retry::compile(&upstream_section.retry, timeouts, self.state.retry_budget(name)),
            scrub: Scrub::compile(
                self.config.white_label.error_text,
                &upstream_section.url,
                (&path.pattern, proxy.as_ref()),
                Arc::clone(&self.wording),
                Arc::clone(&self.tripwire),
            ),
            upstream: Arc::clone(self.upstreams.get(name)?),
        })
    }
}

/// Every credential in the configuration.
fn credentials(config: &Config) -> impl Iterator<Item = &Secret> {
    let upstreams =
        config.upstreams.values().flat_map(|upstream| upstream.token.iter().chain(upstream.headers.values()));
    upstreams.chain(config.admin.token.iter())
}
