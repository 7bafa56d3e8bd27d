//! Compares two configurations, key by key.
//!
//! In: two values of one type. Out: changes, with the keys that lead to them.
//! Equal parts cost one comparison; text is made only of what differs.
//! Not here: what a change means for a running gateway.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::Serialize;

use super::{Change, Kind, takes};
use crate::config::Config;
use crate::config::decode::encode;
use crate::config::mask::is_credential;
use crate::config::scalar::MASK;
use crate::config::section::admin::Admin;
use crate::config::section::auth::Provider;
use crate::config::section::cors::Cors;
use crate::config::section::hosts::Host;
use crate::config::section::limits::Limit;
use crate::config::section::log::{Log, Traces};
use crate::config::section::params::Params;
use crate::config::section::plans::Plan;
use crate::config::section::retry::Retry;
use crate::config::section::routes::{Method, Require, Route};
use crate::config::section::server::{Overload, Server};
use crate::config::section::state::State;
use crate::config::section::tenants::Tenant;
use crate::config::section::tls::{Acme, Eab, OnDemand, Tls};
use crate::config::section::upstreams::{Concurrency, Eject, Health, Mint, Timeouts, Upstream, UpstreamTls};
use crate::config::section::usage::{Export, Usage};
use crate::config::section::white_label::WhiteLabel;
use crate::config::show::{key_of, one_line};

/// Where the comparison is, and what it found.
pub(super) struct Walk<'a> {
    old: &'a Config,
    new: &'a Config,
    path: Vec<Cow<'static, str>>,
    changes: Vec<Change>,
}

/// What can be told apart, and be said in a few words.
pub(super) trait Compare {
    /// Reports how `new` differs.
    fn compare(&self, new: &Self, walk: &mut Walk<'_>);

    /// What is said about it where it is added as a whole.
    fn summary(&self) -> String;
}

impl<'a> Walk<'a> {
    pub(super) fn new(old: &'a Config, new: &'a Config) -> Self {
        Walk { old, new, path: Vec::new(), changes: Vec::new() }
    }

    pub(super) fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    pub(super) fn at(&mut self, key: impl Into<Cow<'static, str>>, act: impl FnOnce(&mut Self)) {
        self.path.push(key.into());
        act(self);
        self.path.pop();
    }

    pub(super) fn changed(&mut self, before: String, after: String) {
        // A path may be written in two ways, and be the same.
        if before != after {
            self.push(Kind::Changed, Some(before), Some(after));
        }
    }

    pub(super) fn push(&mut self, kind: Kind, before: Option<String>, after: Option<String>) {
        let steps: Vec<&str> = self.path.iter().map(AsRef::as_ref).collect();
        let hidden = is_credential(&steps);
        let masked = |text: Option<String>| text.map(|text| if hidden { MASK.to_owned() } else { text });
        let kind = if hidden && kind == Kind::Changed { Kind::ContentChanged } else { kind };
        let path = steps.iter().map(|step| key_of(step)).collect::<Vec<_>>().join(".");
        let takes = takes(&steps);
        self.changes.push(Change { path, kind, before: masked(before), after: masked(after), takes });
    }
}

/// In one line, as YAML would have it.
pub(super) fn text(value: &impl Serialize) -> String {
    one_line(&encode(value).value)
}

/// Sections, without `..`: a key that is not compared does not build.
macro_rules! sections {
    ($($section:ident { $($key:ident),* $(,)? })*) => {
        $(impl Compare for $section {
            fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
                let $section { $($key),* } = self;
                $(walk.at(stringify!($key), |walk| $key.compare(&new.$key, walk));)*
            }

            fn summary(&self) -> String {
                text(self)
            }
        })*
    };
}

sections! {
    Admin { address, token }
    Cors { origins, credentials, max_age }
    Mint { secret, workspace_id, ttl }
    Log { level, format, access, sample, traces }
    Traces { url, sample, headers, service }
    Concurrency { max, queue, wait }
    Health { path, every, timeout, down_after, up_after, authorized }
    Limit { by, rate, burst, quota, anchor, cost, assume, dry_run }
    Params { allow, fixed, default, conflict, allow_public_tenant }
    Plan { limits }
    Require { scopes, pipe }
    Retry { attempts, on, base, max, budget }
    Overload { connections, connections_per_address, in_flight, memory }
    Server { threads, drain, max_uri, max_headers, max_body, keepalive, trusted_proxies, limits, overload }
    Tenant { enabled, plan }
    Eab { key_id, hmac_key }
    OnDemand { ask, rate, rate_per_address, via }
    Tls { default, port, acme, on_demand }
    Timeouts { connect, attempt, total, idle }
    Usage { ledger, retention, measure, max_tenants, export }
    Export { upstream, events, token }
    WhiteLabel { error_text, strip, openapi, openapi_auth, errors }
}

impl Compare for Config {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        // What included files hold stands in the other sections.
        let Config {
            listeners,
            admin,
            upstreams,
            auth,
            default_auth,
            limits,
            plans,
            default_plan,
            tenants,
            routes,
            tinybird_api,
            hosts,
            tls,
            cors,
            white_label,
            usage,
            log,
            server,
            state,
            include: _,
        } = self;
        walk.at("listeners", |walk| listeners.compare(&new.listeners, walk));
        walk.at("admin", |walk| admin.compare(&new.admin, walk));
        walk.at("upstreams", |walk| upstreams.compare(&new.upstreams, walk));
        walk.at("auth", |walk| auth.compare(&new.auth, walk));
        walk.at("default_auth", |walk| default_auth.compare(&new.default_auth, walk));
        walk.at("limits", |walk| limits.compare(&new.limits, walk));
        walk.at("plans", |walk| plans.compare(&new.plans, walk));
        walk.at("default_plan", |walk| default_plan.compare(&new.default_plan, walk));
        walk.at("tenants", |walk| tenants.compare(&new.tenants, walk));
        walk.at("routes", |walk| routes.compare(&new.routes, walk));
        walk.at("tinybird_api", |walk| tinybird_api.compare(&new.tinybird_api, walk));
        walk.at("hosts", |walk| hosts.compare(&new.hosts, walk));
        walk.at("tls", |walk| tls.compare(&new.tls, walk));
        walk.at("cors", |walk| cors.compare(&new.cors, walk));
        walk.at("white_label", |walk| white_label.compare(&new.white_label, walk));
        walk.at("usage", |walk| usage.compare(&new.usage, walk));
        walk.at("log", |walk| log.compare(&new.log, walk));
        walk.at("server", |walk| server.compare(&new.server, walk));
        walk.at("state", |walk| state.compare(&new.state, walk));
    }

    fn summary(&self) -> String {
        text(self)
    }
}

impl Compare for State {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        let State { dir: _, counters, max_counters, on_counter_failure, store, beside: _ } = self;
        walk.at("dir", |walk| walk.changed(self.summary(), new.summary()));
        walk.at("counters", |walk| counters.compare(&new.counters, walk));
        walk.at("max_counters", |walk| max_counters.compare(&new.max_counters, walk));
        walk.at("on_counter_failure", |walk| on_counter_failure.compare(&new.on_counter_failure, walk));
        walk.at("store", |walk| store.compare(&new.store, walk));
    }

    fn summary(&self) -> String {
        let dir = |dir: &std::path::PathBuf| crate::config::scalar::absolute(dir);
        self.dir.as_ref().map_or_else(|| "./data".to_owned(), dir)
    }
}

impl Compare for Upstream {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        let Upstream { url, urls, token, auth, mint, headers, timeouts, retry, concurrency, rate, tls, eject, health } =
            self;
        walk.at("url", |walk| url.compare(&new.url, walk));
        walk.at("urls", |walk| urls.compare(&new.urls, walk));
        walk.at("token", |walk| token.compare(&new.token, walk));
        walk.at("auth", |walk| auth.compare(&new.auth, walk));
        walk.at("mint", |walk| mint.compare(&new.mint, walk));
        walk.at("headers", |walk| headers.compare(&new.headers, walk));
        walk.at("timeouts", |walk| timeouts.compare(&new.timeouts, walk));
        walk.at("retry", |walk| retry.compare(&new.retry, walk));
        walk.at("concurrency", |walk| concurrency.compare(&new.concurrency, walk));
        walk.at("rate", |walk| rate.compare(&new.rate, walk));
        walk.at("tls", |walk| tls.compare(&new.tls, walk));
        walk.at("eject", |walk| eject.compare(&new.eject, walk));
        walk.at("health", |walk| health.compare(&new.health, walk));
    }

    fn summary(&self) -> String {
        self.places()
    }
}

impl Compare for Eject {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        let Eject { after, time, max, all_out } = self;
        walk.at("after", |walk| after.compare(&new.after, walk));
        walk.at("for", |walk| time.compare(&new.time, walk));
        walk.at("max", |walk| max.compare(&new.max, walk));
        walk.at("all_out", |walk| all_out.compare(&new.all_out, walk));
    }

    fn summary(&self) -> String {
        text(self)
    }
}

impl Compare for Provider {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        let Provider {
            kind,
            secret,
            workspace_id,
            issuer,
            audience,
            algorithms,
            leeway,
            jwks,
            ca,
            key,
            keys,
            header,
            prefix,
            tenant,
            tenants,
            plan,
            scopes,
            refused_status,
            revoked,
            key_records,
            revocations,
            ca_certificates,
        } = self;
        walk.at("type", |walk| kind.compare(&new.kind, walk));
        walk.at("secret", |walk| secret.compare(&new.secret, walk));
        walk.at("workspace_id", |walk| workspace_id.compare(&new.workspace_id, walk));
        walk.at("issuer", |walk| issuer.compare(&new.issuer, walk));
        walk.at("audience", |walk| audience.compare(&new.audience, walk));
        walk.at("algorithms", |walk| algorithms.compare(&new.algorithms, walk));
        walk.at("leeway", |walk| leeway.compare(&new.leeway, walk));
        walk.at("jwks", |walk| jwks.compare(&new.jwks, walk));
        walk.at("ca", |walk| file(walk, (ca, &new.ca), *ca_certificates == new.ca_certificates));
        walk.at("key", |walk| key.compare(&new.key, walk));
        walk.at("keys", |walk| file(walk, (keys, &new.keys), *key_records == new.key_records));
        walk.at("header", |walk| header.compare(&new.header, walk));
        walk.at("prefix", |walk| prefix.compare(&new.prefix, walk));
        walk.at("tenant", |walk| tenant.compare(&new.tenant, walk));
        walk.at("tenants", |walk| tenants.compare(&new.tenants, walk));
        walk.at("plan", |walk| plan.compare(&new.plan, walk));
        walk.at("scopes", |walk| scopes.compare(&new.scopes, walk));
        walk.at("refused_status", |walk| refused_status.compare(&new.refused_status, walk));
        walk.at("revoked", |walk| file(walk, (revoked, &new.revoked), *revocations == new.revocations));
    }

    fn summary(&self) -> String {
        self.kind.word().to_owned()
    }
}

/// A file that is named, and whether its contents are the same.
fn file(walk: &mut Walk<'_>, (old, new): (&Option<PathBuf>, &Option<PathBuf>), is_same: bool) {
    let path = |path: &PathBuf| crate::config::scalar::absolute(path);
    match (old.as_ref().map(path), new.as_ref().map(path)) {
        (Some(before), Some(after)) if before != after => walk.changed(before, after),
        (before @ Some(_), after @ Some(_)) if !is_same => walk.push(Kind::ContentChanged, before, after),
        (before @ Some(_), None) => walk.push(Kind::Removed, before, None),
        (None, after @ Some(_)) => walk.push(Kind::Added, None, after),
        (Some(_), Some(_)) | (None, None) => {}
    }
}

impl Compare for UpstreamTls {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        let UpstreamTls { ca, ca_certificates } = self;
        walk.at("ca", |walk| file(walk, (ca, &new.ca), *ca_certificates == new.ca_certificates));
    }

    fn summary(&self) -> String {
        text(self)
    }
}

impl Compare for Acme {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        let Acme { directory, email, eab, ca, dns_hook, ca_certificates } = self;
        walk.at("directory", |walk| directory.compare(&new.directory, walk));
        walk.at("email", |walk| email.compare(&new.email, walk));
        walk.at("eab", |walk| eab.compare(&new.eab, walk));
        walk.at("ca", |walk| file(walk, (ca, &new.ca), *ca_certificates == new.ca_certificates));
        walk.at("dns_hook", |walk| dns_hook.compare(&new.dns_hook, walk));
    }

    fn summary(&self) -> String {
        self.directory.to_string()
    }
}

impl Compare for Route {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        let Route {
            pipe,
            proxy,
            formats,
            upstream: _,
            methods: _,
            pass_headers,
            pipe_id,
            auth,
            require,
            params,
            limits,
            cors,
        } = self;
        walk.at("pipe", |walk| pipe.compare(&new.pipe, walk));
        walk.at("proxy", |walk| proxy.compare(&new.proxy, walk));
        walk.at("formats", |walk| formats.compare(&new.formats, walk));
        // Written or not, what takes effect is compared.
        let upstreams = (walk.old.upstream_of(self), walk.new.upstream_of(new));
        if let (Some(before), Some(after)) = upstreams
            && before != after
        {
            walk.at("upstream", |walk| walk.changed(before.to_owned(), after.to_owned()));
        }
        let methods = (methods(self), methods(new));
        if methods.0 != methods.1 {
            walk.at("methods", |walk| walk.changed(text(&methods.0), text(&methods.1)));
        }
        walk.at("pass_headers", |walk| pass_headers.compare(&new.pass_headers, walk));
        walk.at("pipe_id", |walk| pipe_id.compare(&new.pipe_id, walk));
        walk.at("auth", |walk| auth.compare(&new.auth, walk));
        walk.at("require", |walk| require.compare(&new.require, walk));
        walk.at("params", |walk| params.compare(&new.params, walk));
        walk.at("limits", |walk| limits.compare(&new.limits, walk));
        walk.at("cors", |walk| cors.compare(&new.cors, walk));
    }

    fn summary(&self) -> String {
        match (&self.pipe, &self.proxy) {
            (Some(pipe), _) => format!("pipe {pipe}"),
            (None, Some(proxy)) => format!("proxy {proxy}"),
            (None, None) => String::new(),
        }
    }
}

impl Compare for Host {
    fn compare(&self, new: &Self, walk: &mut Walk<'_>) {
        let Host { tenant, tls, redirect_http, hsts, auth, limits, cors, errors, routes } = self;
        walk.at("tenant", |walk| tenant.compare(&new.tenant, walk));
        walk.at("tls", |walk| tls.compare(&new.tls, walk));
        walk.at("redirect_http", |walk| redirect_http.compare(&new.redirect_http, walk));
        walk.at("hsts", |walk| hsts.compare(&new.hsts, walk));
        walk.at("auth", |walk| auth.compare(&new.auth, walk));
        walk.at("limits", |walk| limits.compare(&new.limits, walk));
        walk.at("cors", |walk| cors.compare(&new.cors, walk));
        walk.at("errors", |walk| errors.compare(&new.errors, walk));
        walk.at("routes", |walk| routes.compare(&new.routes, walk));
    }

    fn summary(&self) -> String {
        let Host { tenant, tls, redirect_http: _, hsts: _, auth, limits, cors, errors: _, routes } = self;
        let tls = tls.as_ref().map(|tls| format!("tls {}", tls.summary()));
        let tenant = tenant.as_ref().map(|tenant| format!("tenant {tenant}"));
        let auth = auth.as_ref().map(|auth| format!("auth {}", auth.summary()));
        let limits = (!limits.is_empty()).then(|| format!("limits {}", limits.summary()));
        let cors = cors.as_ref().map(|_| "cors of its own".to_owned());
        let routes = routes.as_ref().map(|routes| format!("routes of its own: {}", routes.summary()));
        let parts: Vec<String> =
            tenant.into_iter().chain(tls).chain(auth).chain(limits).chain(cors).chain(routes).collect();
        if parts.is_empty() { "{}".to_owned() } else { parts.join(", ") }
    }
}

/// In an order of their own: theirs means nothing.
fn methods(route: &Route) -> Vec<Method> {
    let mut served: Vec<Method> = route.served_methods().into_iter().map(Method).collect();
    served.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    served
}
