//! From what was written to what runs: pure, no I/O, everything or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::Method;

use crate::clock::Clock;
use crate::config::scalar::{ByteSize, Endpoint, HostPattern, PathPattern, Secret, TenantName};
use crate::config::section::auth::{self, AuthRule, ProviderKind};
use crate::config::section::hosts::Host;
use crate::config::section::params;
use crate::config::section::routes::{self as section, Format};
use crate::config::section::tenants::Tenant;
use crate::config::section::upstreams;
use crate::config::section::white_label::Errors;
use crate::config::{Config, RouteSet, ServedPath, WrittenRoute};
use crate::pipeline::authn::{Authn, Material, Provider};
use crate::pipeline::authz::Authz;
use crate::pipeline::client::TrustedProxies;
use crate::pipeline::cors::Cors;
use crate::pipeline::guard::{HeadGuard, RouteGuard};
use crate::pipeline::limits::plans::Plans;
use crate::pipeline::limits::{Book, Usuals};
use crate::pipeline::params::{MAX_PARAMETER_BODY, Params};
use crate::pipeline::retry::Retry;
use crate::pipeline::rewrite::{Rewrite, Vault};
use crate::pipeline::scrub::{Names, Phrases, Scrub, Tripwire, Wording};
use crate::pipeline::statistics::Meter;
use crate::state::State;
use crate::state::jwks::{Keys, Source};
use crate::state::queue::Terms;
use crate::upstream::Upstream;

use super::hosts::{HostTable, Routes, Served};
use super::meter;
use super::openapi::{Document, Plan};
use super::route::{BodyRule, Route};
use super::{Guarded, Snapshot};

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
            upstreams: _,
            auth,
            default_auth,
            limits: _,
            plans: _,
            default_plan: _,
            tenants: _,
            routes: _,
            tinybird_api: _,
            hosts: _,
            tls: _,
            cors,
            white_label: _,
            usage: _,
            log: _,
            server,
            state: _,
            include: _,
        } = &*config;
        let shared = Shared::of(&config, previous, state);
        let mut routes: Vec<Route> = Vec::new();
        let hosts = shared.hosts(&mut routes);
        Snapshot {
            generation: previous.map_or(1, |previous| previous.generation + 1),
            guard: HeadGuard::compile(server),
            cors: Cors::compile(cors.as_ref()),
            authn: shared.authn(default_auth.as_ref()),
            limits: shared.book.attach(&server.limits),
            all_limits: shared.book.limits().cloned().collect(),
            https_port: https_port(&config),
            keepalive: server.keepalive.duration().as_secs().max(1),
            proxies: TrustedProxies::compile(&server.trusted_proxies),
            upstreams: shared.upstreams.values().cloned().collect(),
            provider_keys: shared.provider_keys(),
            queues: shared.queues.into_values().collect(),
            providers: shared.providers.values().cloned().collect(),
            asks_for_certificates: auth.values().any(|provider| provider.kind == ProviderKind::Mtls),
            phrases: Arc::clone(&shared.phrases),
            hosts,
            routes: routes.into(),
            plans: shared.plans,
            config: Arc::clone(&config),
        }
    }
}

/// What all routes of one configuration share.
struct Shared<'a> {
    config: &'a Config,
    book: Book<'a>,
    plans: Plans,
    state: &'a State,
    upstreams: BTreeMap<&'a str, Arc<Upstream>>,
    queues: BTreeMap<&'a str, Guarded>,
    providers: BTreeMap<&'a str, Arc<Provider>>,
    suspended: Arc<BTreeSet<TenantName>>,
    vault: Vault,
    wording: Arc<Wording>,
    tripwire: Arc<Tripwire>,
    strip: Names,
    phrases: Arc<Phrases>,
}

impl<'a> Shared<'a> {
    fn of(config: &'a Config, previous: Option<&Snapshot>, state: &'a State) -> Self {
        let Config { upstreams, auth, limits, plans, default_plan, tenants, white_label, .. } = config;
        let providers = providers(auth, previous, state);
        let book = Book::compile(limits);
        Shared {
            plans: Plans::compile(plans, tenants, default_plan.as_ref(), &book),
            book,
            config,
            state,
            upstreams: continued(upstreams, previous, state.clock()),
            queues: queues(upstreams, state),
            suspended: suspended(tenants),
            vault: vault(providers.values(), state),
            providers,
            wording: Arc::new(Wording::compile(
                upstreams.values().flat_map(|upstream| upstream.endpoints()).map(Endpoint::host),
            )),
            tripwire: Arc::new(Tripwire::compile(credentials(config).map(Secret::expose))),
            strip: Names::compile(&white_label.strip),
            phrases: Arc::new(Phrases::compile(&white_label.errors, &Errors::new())),
        }
    }
}

impl Shared<'_> {
    /// The hosts with their routes, which are compiled once for all hosts that share them.
    fn hosts(&self, routes: &mut Vec<Route>) -> HostTable {
        let mut top = Arc::default();
        let mut own: BTreeMap<&HostPattern, Arc<Routes>> = BTreeMap::new();
        for set in self.config.route_sets() {
            let compiled = self.routes(set, routes);
            match set.host {
                None => top = compiled,
                Some(host) => _ = own.insert(host, compiled),
            }
        }
        let mut documents = Documents::new(self);
        if self.config.hosts.is_empty() {
            let (limits, document) = (self.book.attach(&self.config.server.limits), documents.of(None));
            let phrases = Arc::clone(&self.phrases);
            return HostTable::any(Served { routes: top, authn: None, limits, document, phrases }, &self.config.tls);
        }
        let routes_of = |host: &HostPattern| own.get(host).unwrap_or(&top);
        let sites = self.config.hosts.iter().map(|(host, section)| {
            let authn = section.auth.as_ref().map(|rule| self.authn(Some(rule)));
            let limits = self.book.attach(self.config.server.limits.iter().chain(&section.limits));
            let document = documents.of(Some((host, section)));
            let phrases = self.phrases_of(section);
            (host, section, Served { routes: Arc::clone(routes_of(host)), authn, limits, document, phrases })
        });
        HostTable::listed(sites, &self.config.tls)
    }

    fn routes(&self, set: RouteSet<'_>, routes: &mut Vec<Route>) -> Arc<Routes> {
        let start = routes.len();
        let mut patterns: Vec<(PathPattern, usize)> = Vec::new();
        let around = meter::of_set(self.config, set);
        for path in self.config.served_in(set) {
            if let Some(route) = self.route(&path, routes.len(), around) {
                patterns.push((path.pattern, routes.len()));
                routes.push(route);
            }
        }
        Routes::compile(&patterns, start..routes.len())
    }

    fn route(&self, path: &ServedPath<'_>, index: usize, around: Meter) -> Option<Route> {
        let WrittenRoute { host, key, route } = path.route;
        let name = self.config.upstream_of(route)?;
        let upstream_section = self.config.upstreams.get(name)?;
        let section::Route {
            pipe,
            proxy: _,
            formats: _,
            upstream: _,
            methods: _,
            pass_headers: _,
            pipe_id: _,
            auth,
            require: _,
            params,
            limits,
            cors,
        } = route;
        let rule = if pipe.is_some() { BodyRule::Parameters } else { BodyRule::PassThrough };
        let max_body = match rule {
            BodyRule::Parameters => ByteSize::of(MAX_PARAMETER_BODY),
            BodyRule::PassThrough => self.config.server.max_body,
        };
        let timeouts = &upstream_section.timeouts;
        let meter = around.or(meter::of_route(self.config, path));
        let rewrite = Rewrite::compile(route, path.format, upstream_section, &self.vault);
        let scrub = self.scrub(path, upstream_section);
        Some(Route {
            index,
            label: path.pattern.as_str().into(),
            key: key.as_str().into(),
            host: host.map(|host| host.as_str().into()),
            guard: RouteGuard::compile(route.served_methods(), max_body),
            authn: auth.as_ref().map(|rule| self.authn(Some(rule))),
            authz: Authz::compile(route, Arc::clone(&self.suspended)),
            cors: cors.as_ref().map(|cors| Cors::compile(Some(cors))),
            body: rule,
            params: Params::compile(params),
            limits: self.book.attach(limits),
            usual: self.usual(path.route),
            rewrite: match (meter, scrub.strips()) {
                (Meter::Statistics, _) | (_, true) => rewrite.for_plain_answers(),
                (Meter::Passing, false) => rewrite.for_answers_in_gzip(),
                (Meter::Off, false) => rewrite,
            },
            meter,
            retry: Retry::compile(&upstream_section.retry, timeouts, self.state.retry_budget(name)),
            scrub,
            queue: self.queues.get(name).map(|guarded| Arc::clone(&guarded.queue)),
            upstream: Arc::clone(self.upstreams.get(name)?),
        })
    }
}

/// The documents of hosts. Those that share routes and callers share theirs.
struct Documents<'a> {
    shared: &'a Shared<'a>,
    path: Option<Arc<str>>,
    known: BTreeMap<(Option<&'a HostPattern>, &'a [String]), Arc<Document>>,
}

impl<'a> Documents<'a> {
    fn new(shared: &'a Shared<'_>) -> Self {
        let path = shared.config.white_label.openapi.as_ref().map(|path| path.as_str().into());
        Documents { shared, path, known: BTreeMap::new() }
    }

    /// The document of one host, or of every host where none are listed.
    fn of(&mut self, host: Option<(&'a HostPattern, &'a Host)>) -> Option<Arc<Document>> {
        let path = Arc::clone(self.path.as_ref()?);
        let Shared { config, suspended, .. } = self.shared;
        let own = host.filter(|(_, section)| section.routes.is_some()).map(|(name, _)| name);
        let outer = host.and_then(|(_, section)| section.auth.as_ref()).or(config.default_auth.as_ref());
        let known = (own, outer.map(AuthRule::names).unwrap_or_default());
        if let Some(document) = self.known.get(&known) {
            return Some(Arc::clone(document));
        }
        let routes = host.and_then(|(_, section)| section.routes.as_ref()).unwrap_or(&config.routes);
        let routes = routes.iter().map(|(key, route)| WrittenRoute { host: own, key, route });
        let rule = config.white_label.openapi_auth.as_ref();
        // It shows nobody's rows: who may read it may do so on a tenant's host.
        let params = params::Params { allow_public_tenant: true, ..Default::default() };
        let document = Arc::new(Document {
            path,
            guard: RouteGuard::compile(vec![Method::GET, Method::HEAD], ByteSize::of(0)),
            authn: rule.map(|rule| self.shared.authn(Some(rule))),
            authz: Authz::compile(&section::Route { params, ..Default::default() }, Arc::clone(suspended)),
            text: Plan { config, outer }.text(routes).into(),
        });
        self.known.insert(known, Arc::clone(&document));
        Some(document)
    }
}

impl Shared<'_> {
    /// What of the answers on a path may leave.
    fn scrub(&self, path: &ServedPath<'_>, upstream: &upstreams::Upstream) -> Scrub {
        let public = (&path.pattern, path.route.route.proxy.as_ref());
        let upstream: Vec<Endpoint> = upstream.endpoints().cloned().collect();
        let (wording, tripwire) = (Arc::clone(&self.wording), Arc::clone(&self.tripwire));
        let scrub = Scrub::compile(self.config.white_label.error_text, &upstream, public, wording, tripwire);
        match path.format == Some(Format::Json) {
            true => scrub.stripping(self.strip.clone()),
            false => scrub,
        }
    }

    /// How a host's errors speak; those that say nothing themselves share one.
    fn phrases_of(&self, host: &Host) -> Arc<Phrases> {
        match host.errors.is_empty() {
            true => Arc::clone(&self.phrases),
            false => Arc::new(Phrases::compile(&self.config.white_label.errors, &host.errors)),
        }
    }

    /// What requests of a route usually cost.
    fn usual(&self, route: WrittenRoute<'_>) -> Usuals {
        let route = format!("{}{}", route.host.map_or("", HostPattern::as_str), route.key);
        Usuals::compile(&self.book, |limit, rule| self.state.counters().usual(limit, rule, &route))
    }

    /// The keys of providers that publish some.
    fn provider_keys(&self) -> Box<[(Arc<str>, Arc<Keys>)]> {
        let each = self.providers.values();
        each.filter_map(|provider| Some((Arc::clone(provider.name()), Arc::clone(provider.keys()?)))).collect()
    }

    /// Who may call by this rule.
    fn authn(&self, rule: Option<&AuthRule>) -> Authn {
        match rule {
            Some(AuthRule::Public) => Authn::public(),
            // Every name leads somewhere, or the file could not be used; what leads nowhere opens nothing.
            Some(AuthRule::Providers(names)) => {
                Authn::of(names.iter().filter_map(|name| self.providers.get(name.as_str()).cloned()).collect())
            }
            None if self.config.auth.is_empty() => Authn::public(),
            None => Authn::of(Vec::new()),
        }
    }
}

/// Where callers reach the gateway with TLS, if that is not where they look by themselves.
fn https_port(config: &Config) -> Option<u16> {
    let first = config.listeners.iter().find(|listener| listener.tls).map(|listener| listener.address.port());
    config.tls.port.or(first).filter(|port| ![0, 443].contains(port))
}

/// What callers' credentials are taken from, and where minted ones are.
fn vault<'a>(providers: impl Iterator<Item = &'a Arc<Provider>>, state: &State) -> Vault {
    let credentials = providers.map(|provider| provider.header().clone()).collect();
    Vault { credentials, minted: Arc::clone(state.minted()) }
}

/// The tenants that are switched off.
fn suspended(tenants: &BTreeMap<TenantName, Tenant>) -> Arc<BTreeSet<TenantName>> {
    Arc::new(tenants.iter().filter(|(_, tenant)| !tenant.enabled).map(|(name, _)| name.clone()).collect())
}

/// The providers; those that stay as they are keep what they verified.
fn providers<'a>(
    sections: &'a BTreeMap<String, auth::Provider>,
    previous: Option<&Snapshot>,
    state: &State,
) -> BTreeMap<&'a str, Arc<Provider>> {
    let before = previous.map_or(&[][..], |previous| &previous.providers);
    let compiled = |(name, section): (&'a String, &auth::Provider)| {
        let known = before.iter().find(|known| **known.name() == **name && known.section() == section);
        let provider = known.cloned().unwrap_or_else(|| {
            let keys = source_of(section).map(|source| state.keys(&source));
            Arc::new(Provider::compile(name, section, Material { keys, epoch: state.next_epoch() }))
        });
        (name.as_str(), provider)
    };
    sections.iter().map(compiled).collect()
}

/// The upstreams; those that stay as they are keep their addresses and connections.
fn continued<'a>(
    sections: &'a BTreeMap<String, upstreams::Upstream>,
    previous: Option<&Snapshot>,
    clock: &Clock,
) -> BTreeMap<&'a str, Arc<Upstream>> {
    let before = previous.map_or(&[][..], |previous| &previous.upstreams);
    let before: BTreeMap<&str, &Arc<Upstream>> = before.iter().map(|upstream| (&**upstream.name(), upstream)).collect();
    let compiled = |(name, section): (&'a String, &upstreams::Upstream)| {
        (name.as_str(), Upstream::compile_after(before.get(name.as_str()).copied(), name, section, clock))
    };
    sections.iter().map(compiled).collect()
}

/// The queues of upstreams that are protected.
fn queues<'a>(sections: &'a BTreeMap<String, upstreams::Upstream>, state: &State) -> BTreeMap<&'a str, Guarded> {
    let guarded = |(name, section): (&'a String, &upstreams::Upstream)| {
        let terms = Terms::compile(section)?;
        Some((name.as_str(), Guarded { upstream: name.as_str().into(), queue: state.queues().of(name), terms }))
    };
    sections.iter().filter_map(guarded).collect()
}

/// Where the keys of a provider are fetched from.
fn source_of(section: &auth::Provider) -> Option<Source> {
    let fetches = section.kind == ProviderKind::Jwt && section.secret.is_none() && section.key.is_none();
    let issuer = section.issuer.as_ref().filter(|_| fetches)?;
    let source = match &section.jwks {
        Some(url) => Source::jwks(url.as_str()),
        None => Source::discovery(issuer),
    };
    Some(source.trusting(section.ca_certificates.clone()))
}

/// Every credential in the configuration.
fn credentials(config: &Config) -> impl Iterator<Item = &Secret> {
    let upstreams =
        config.upstreams.values().flat_map(|upstream| upstream.token.iter().chain(upstream.headers.values()));
    let mints = config.upstreams.values().filter_map(|upstream| upstream.mint.as_ref()).map(|mint| &mint.secret);
    let providers = config.auth.values().filter_map(|provider| provider.secret.as_ref());
    upstreams.chain(mints).chain(providers).chain(config.admin.token.iter())
}
