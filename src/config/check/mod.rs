//! Rules that look at more than one value: references, conflicts, risks.
//!
//! In: a decoded [`Config`] and the [`Document`] for places. Out: every issue.
//! Not here: what one value may be (`scalar`, `decode`).

mod auth;
mod backends;
mod conflicts;
mod files;
mod hosts;
mod limits;
mod log;
mod overlap;
mod plans;
mod providers;
mod risks;
mod routes;
mod secrets;
mod state;
mod tenancy;
mod tls;
mod traps;
mod usage;
mod white_label;

pub(super) use files::read_files;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::Config;
use super::document::{self, Document, Key, Node, NodeKind};
use super::issue::{Issue, IssueCode, Issues, Place};
use super::mask::quotable;
use super::scalar::{ByteSize, OriginPattern, Period, is_this_machine};
use super::section::auth::AuthRule;
use super::section::cors::Cors;
use super::section::retry::Retry;
use super::section::routes::Route;
use super::section::upstreams::{Concurrency, Timeouts, Upstream};

/// Tries per request; more would turn one slow answer into a flood.
const MAX_ATTEMPTS: u32 = 10;

/// A shorter token can be guessed by who may try for long.
const MIN_TOKEN: usize = 16;

/// A smaller head has no room for what every program sends.
const MIN_HEADERS: ByteSize = ByteSize::of(1 << 10);

/// Names below which anybody has a host of their own are one label, but for these.
const PRIVATE_SUFFIXES: [&str; 8] = ["corp", "example", "home", "internal", "lan", "local", "localhost", "test"];

/// More than this nobody needs, and each is compared with each.
const MAX_LISTENERS: usize = 1_000;

/// Finds everything that is wrong or risky across sections.
pub(super) fn check(config: &Config, document: &Document) -> Issues {
    let pipes = config.all_routes().map(|at| at.route).filter(|route| route.pipe.is_some());
    let with_pipes = pipes.filter_map(|route| config.upstream_of(route)).collect();
    let mut checker = Checker::new(config, document, with_pipes);
    checker.addresses();
    checker.sizes();
    checker.auth();
    checker.upstreams();
    checker.cors(&["cors"], config.cors.as_ref(), Outer::Nothing);
    if config.serves_top_level() && !checker.is_a_host_reported() {
        checker.present("routes", "a gateway without routes answers 404 to everything");
    }
    checker.hosts();
    checker.tls();
    checker.limits();
    checker.plans();
    checker.state();
    checker.usage();
    checker.log();
    checker.white_label();
    for route in config.all_routes() {
        if checker.issues.is_enough() {
            checker.issues.cut();
            break;
        }
        checker.route(route);
        checker.callers_of_a_route(route);
        checker.limits_of_a_route(route);
        checker.risks_of_a_route(route);
        checker.tenancy_of_a_route(route);
    }
    checker.secrets();
    checker.traps();
    if checker.issues.is_enough() {
        // What follows compares every path with every other, which takes memory that a file of mistakes is not worth.
        return checker.issues;
    }
    let (overlaps, mut conflicts) = (Cell::new(0), 0);
    for set in config.route_sets() {
        let served = config.served_in(set);
        checker.overlaps(set, &served, &overlaps);
        checker.conflicts(set, &served, &mut conflicts);
        checker.hidden_by_document(set, &served);
        drop(served);
        checker.tinybird_api(set);
    }
    checker.unused_upstreams();
    checker.unused_limits();
    checker.issues
}

/// As [`check`], for limits, plans and tenants that stand alone: who calls, and how that is known, is said elsewhere.
pub(super) fn plans_alone(config: &Config, document: &Document) -> Issues {
    let mut checker = Checker::new(config, document, BTreeSet::new());
    checker.limits();
    checker.plans();
    checker.unused_limits();
    let mut issues = Issues::default();
    let of_callers = |issue: &&Issue| issue.code != IssueCode::SharedCount;
    checker.issues.iter().filter(of_callers).cloned().for_each(|issue| issues.push(issue));
    issues
}

/// What anyone may do.
pub(super) fn openness(config: &Config, document: &Document) -> Issues {
    let mut issues = Issues::default();
    // Once there is `auth`, every route says who may call it.
    // Who may read the document of the routes says nothing of the routes.
    let rules = config.every_auth_rule().len() - usize::from(config.white_label.openapi_auth.is_some());
    let says_nothing = config.auth.is_empty() && rules == 0;
    if let Some(first) = config.all_routes().next().filter(|_| says_nothing) {
        let title = "every route is public: anyone who reaches a listener may call it";
        issues.push(
            Issue::at(
                IssueCode::EveryRoutePublic,
                document.key_place(if first.host.is_none() { &["routes"] } else { &["hosts"] }),
                title,
            )
            .help("add `auth` with a provider of credentials; if this is meant, write `default_auth: public`"),
        );
    }
    issues
}

struct Checker<'a> {
    config: &'a Config,
    document: &'a Document,
    /// The upstreams that routes with pipes lead to.
    with_pipes: BTreeSet<&'a str>,
    sharing: Sharing<'a>,
    /// Whether callers of several tenants get to the routes of the top level, by what those say about who may call.
    many_tenants: BTreeMap<Option<AuthRule>, bool>,
    issues: Issues,
}

impl<'a> Checker<'a> {
    fn new(config: &'a Config, document: &'a Document, with_pipes: BTreeSet<&'a str>) -> Self {
        let (many_tenants, issues) = (BTreeMap::new(), Issues::default());
        Checker { config, document, with_pipes, sharing: Sharing::of(config), many_tenants, issues }
    }
}

/// The hosts that serve the routes of the top level: what is the same for each of these routes, and takes a look at every
/// host.
struct Sharing<'a> {
    /// Whether one has cross-origin rules of its own.
    has_cors: bool,
    /// Whether any host has a tenant, also one that has routes of its own.
    has_tenant: bool,
    /// The most labels that one has; none where every host is served.
    labels: Option<usize>,
    /// Who may call a route that does not say it itself, each rule once.
    rules: Vec<Option<&'a AuthRule>>,
}

impl<'a> Sharing<'a> {
    fn of(config: &'a Config) -> Self {
        let sharing = || config.hosts.iter().filter(|(_, host)| host.routes.is_none());
        let outer = config.default_auth.as_ref();
        let mut rules = Vec::new();
        for (_, host) in sharing() {
            let rule = host.auth.as_ref().or(outer);
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        if config.hosts.is_empty() {
            rules.push(outer);
        }
        Sharing {
            rules,
            has_cors: sharing().any(|(_, host)| host.cors.is_some()),
            has_tenant: config.hosts.values().any(|host| host.tenant.is_some()),
            labels: sharing().map(|(pattern, _)| pattern.labels()).max(),
        }
    }
}

/// Whether there are rules around a section that it takes away by being there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outer {
    Nothing,
    Rules,
}

impl Checker<'_> {
    /// Whether something at `path`, or above it, was reported before and taken out.
    fn reported(&self, path: &[&str]) -> bool {
        (0..=path.len())
            .filter_map(|length| path.get(..length))
            .any(|path| self.document.node(path).is_some_and(|node| matches!(node.kind, NodeKind::Broken)))
    }

    /// Reports a section that is not there, or has nothing in it.
    fn present(&mut self, key: &str, why: &str) {
        let Document { root, .. } = self.document;
        if matches!(root.kind, NodeKind::Broken) || root.child(key).is_some_and(|section| !section.is_empty()) {
            return;
        }
        if !self.document.is_reported(&[], key) {
            let title = match root.key(key) {
                Some(_) => format!("`{key}` is empty"),
                None => format!("the file has no `{key}`"),
            };
            let place = self.document.key_place(&[key]);
            self.issues.push(Issue::at(IssueCode::MissingKey, place, title).help(format!("fill in `{key}:`; {why}")));
        }
    }

    /// Whether a list was written without anything in it; one whose items were reported is not.
    fn is_empty_list(&self, path: &[&str]) -> bool {
        self.document.node(path).is_some_and(document::Node::is_empty)
    }

    fn at_key(&mut self, code: IssueCode, path: &[&str], title: String, help: &str) {
        self.issues.push(Issue::at(code, self.document.key_place(path), title).help(help));
    }

    /// Reports two keys that contradict each other, at the later one.
    fn two_keys(&mut self, code: IssueCode, paths: [&[&str]; 2], title: String, help: &str) {
        let [first, second] = paths.map(|path| self.document.key_place(path));
        let position = |place: &Place| (place.listing.order, place.span.start);
        let (earlier, later) = if position(&first) <= position(&second) { (first, second) } else { (second, first) };
        self.issues.push(Issue::at(code, later, title).related(earlier, "the other one").help(help));
    }

    fn at_value(&mut self, code: IssueCode, path: &[&str], title: String, help: &str) {
        self.issues.push(Issue::at(code, self.document.value_place(path), title).help(help));
    }

    fn addresses(&mut self) {
        if self.is_empty_list(&["listeners"]) {
            let help = "leave it out for one on 0.0.0.0:8080";
            self.at_key(IssueCode::BadValue, &["listeners"], "`listeners` is empty".to_owned(), help);
        }
        if self.config.listeners.len() > MAX_LISTENERS {
            let title = format!("there are more than {MAX_LISTENERS} listeners");
            self.at_key(IssueCode::TooLarge, &["listeners"], title, "one listener on 0.0.0.0 takes every address");
            return;
        }
        let mut seen: Vec<(SocketAddr, Place)> = Vec::new();
        for (index, listener) in self.config.listeners.iter().enumerate() {
            let place = self.document.value_place(&["listeners", &index.to_string(), "address"]);
            if let Some((_, first)) = seen.iter().find(|(other, _)| collide(*other, listener.address)) {
                let title = format!("`{}` is listened on twice", listener.address);
                let issue = Issue::at(IssueCode::Duplicate, place.clone(), title);
                self.issues.push(issue.related(first.clone(), "first here").help("remove one of them"));
            }
            seen.push((listener.address, place));
        }
        let admin = &self.config.admin;
        let is_written = self.document.node(&["admin", "address"]).is_some();
        if let Some((_, listener)) = seen.into_iter().find(|(other, _)| collide(*other, admin.address)) {
            let title = format!("`{}` is also where health and metrics are", admin.address);
            let issue = Issue::at(IssueCode::Duplicate, listener, title);
            self.issues.push(match is_written {
                true => issue
                    .related(self.document.value_place(&["admin", "address"]), "the admin address")
                    .help("give one of them another port"),
                false => issue.help("take another port, or write `admin: { address: 127.0.0.1:PORT }`"),
            });
        }
        if !admin.address.ip().is_loopback() && admin.token.is_none() && !self.document.is_reported(&["admin"], "token")
        {
            self.at_value(
                IssueCode::AdminExposed,
                &["admin", "address"],
                format!("`{}` can be reached from other machines, and `admin` has no `token`", admin.address),
                "add `token: ${TOLLGATE_ADMIN_TOKEN}`, or use 127.0.0.1",
            );
        }
        self.admin_token();
    }

    fn admin_token(&mut self) {
        let admin = &self.config.admin;
        let Some(token) = &admin.token else { return };
        let path = ["admin", "token"];
        let help = "make one with `openssl rand -hex 32`";
        if token.expose().contains([' ', '\t']) {
            let title = "`token`: this credential has a blank in it".to_owned();
            self.at_value(IssueCode::EmptyCredential, &path, title, help);
        } else if !admin.address.ip().is_loopback() && token.expose().len() < MIN_TOKEN {
            let title = format!(
                "`{}` can be reached from other machines, and `token` has fewer than {MIN_TOKEN} characters",
                admin.address
            );
            self.at_value(IssueCode::AdminExposed, &path, title, help);
        }
    }

    fn sizes(&mut self) {
        let server = &self.config.server;
        if server.max_headers < MIN_HEADERS {
            let title = format!("`max_headers` is {}: almost every request would be refused", server.max_headers);
            let help = format!("write {MIN_HEADERS} or more; left out, it is 32KiB");
            self.at_value(IssueCode::BadValue, &["server", "max_headers"], title, &help);
        }
        if server.max_body == ByteSize::of(0) {
            let title = "`max_body` is zero: every body would be refused".to_owned();
            let help = "write a size like 10MiB; a route whose `methods` are GET and HEAD takes no body";
            self.at_value(IssueCode::BadValue, &["server", "max_body"], title, help);
        }
    }

    fn upstreams(&mut self) {
        self.present("upstreams", "routes lead to upstreams");
        for (name, upstream) in &self.config.upstreams {
            self.backends(name, upstream);
            self.ejection(name, upstream);
            self.health(name, upstream);
            self.header_names(name);
            self.credentials(name, upstream);
            self.upstream_auth(name, upstream);
            self.timeouts(name, &upstream.timeouts);
            self.retry(name, &upstream.retry);
            self.concurrency(name, upstream);
            self.risks_of_an_upstream(name, upstream);
        }
    }

    /// Names of headers know no case, so two keys may be one header.
    fn header_names(&mut self, upstream: &str) {
        let Some(headers) = self.document.node(&["upstreams", upstream, "headers"]) else { return };
        let mut seen: BTreeMap<String, &Key> = BTreeMap::new();
        for key in headers.keys() {
            if let Some(first) = seen.insert(key.text.to_ascii_lowercase(), key) {
                let names =
                    [first, key].map(|key| quotable(&["upstreams", upstream, "headers", &key.text]).into_owned());
                let title = format!("`{}` are the same header", names.join("` and `"));
                let issue = Issue::at(IssueCode::Duplicate, self.document.place(&key.span), title);
                let first = self.document.place(&first.span);
                self.issues.push(issue.related(first, "first defined here").help("keep one of them"));
            }
        }
    }

    fn credentials(&mut self, name: &str, upstream: &Upstream) {
        let authorization = upstream.headers.keys().any(|header| header.as_str() == "authorization");
        if authorization && upstream.token.is_some() {
            self.at_value(
                IssueCode::ParameterRules,
                &["upstreams", name, "headers"],
                "`Authorization` is set twice: by `headers` and by `token`".to_owned(),
                "keep one of them",
            );
        }
    }

    fn timeouts(&mut self, name: &str, timeouts: &Timeouts) {
        let Timeouts { connect, attempt, total, idle } = timeouts;
        for (key, period) in [("connect", connect), ("attempt", attempt), ("total", total), ("idle", idle)] {
            if *period == Period::of_millis(0) {
                let path = ["upstreams", name, "timeouts", key];
                self.at_value(
                    IssueCode::BadValue,
                    &path,
                    format!("`{key}` is zero: every request would fail"),
                    "write a time like 35s",
                );
            }
        }
    }

    fn retry(&mut self, name: &str, retry: &Retry) {
        let path = |key| ["upstreams", name, "retry", key];
        if !(1..=MAX_ATTEMPTS).contains(&retry.attempts) {
            let title = format!("`attempts` is {}", retry.attempts);
            self.at_value(
                IssueCode::BadValue,
                &path("attempts"),
                title,
                "write 1 (no retry) to 10: it counts all tries",
            );
        }
        for (index, status) in retry.on.iter().enumerate().filter(|(_, status)| !(400..=599).contains(*status)) {
            let title = format!("`{status}` is not a status of an error");
            let path = ["upstreams", name, "retry", "on", &index.to_string()];
            self.at_value(IssueCode::BadValue, &path, title, "write statuses from 400 to 599, like [429, 500]");
        }
        if retry.base > retry.max {
            let title = format!("`base` ({}) is longer than `max` ({})", retry.base, retry.max);
            self.at_value(IssueCode::BadValue, &path("base"), title, "waits grow from `base` to `max`");
        }
    }

    fn concurrency(&mut self, name: &str, upstream: &Upstream) {
        let Some(Concurrency { max, queue, wait }) = &upstream.concurrency else { return };
        let path = |key| ["upstreams", name, "concurrency", key];
        if *max == 0 {
            let title = "`max` is zero: every request would be refused".to_owned();
            self.at_value(IssueCode::BadValue, &path("max"), title, "write how many requests it can take at once");
        }
        if *wait == Period::of_millis(0) && *queue > 0 {
            let title = "`wait` is zero: nobody would get out of the queue in time".to_owned();
            self.at_value(IssueCode::BadValue, &path("wait"), title, "write a time like 2s, or `queue: 0`");
        }
    }

    fn cors(&mut self, path: &[&str], cors: Option<&Cors>, outer: Outer) {
        let Some(cors) = cors else { return };
        let mut origins = path.to_vec();
        origins.push("origins");
        // One that is missing was reported, and what stands in its place stands nowhere.
        let is_written = self.document.node(&origins).is_some_and(|node| !node.span.is_empty());
        // Further in it takes the outer rules away, which nothing else can.
        if is_written && outer == Outer::Nothing && self.is_empty_list(&origins) {
            let title = "`origins` is empty: no page could read an answer".to_owned();
            self.at_value(IssueCode::BadValue, &origins, title, "name the origins, or leave `cors` out");
        }
        for (index, origin) in cors.origins.iter().enumerate().filter(|_| cors.credentials) {
            if let Some(suffix) = public_suffix(origin) {
                let title =
                    format!("anybody can have a host under `{suffix}`, and its pages would act for visitors here");
                let index = index.to_string();
                let mut item = origins.clone();
                item.push(&index);
                let help = "name your own domain, like https://*.example.com, or leave `credentials` out";
                self.at_value(IssueCode::CorsCredentials, &item, title, help);
            }
        }
        if cors.credentials && cors.origins.contains(&OriginPattern::Any) {
            self.at_value(
                IssueCode::CorsCredentials,
                path,
                "`credentials` has no effect together with the origin `*`".to_owned(),
                "name the origins whose pages may send cookies",
            );
        }
    }

    fn unused_upstreams(&mut self) {
        // Where it is not clear what a route uses, that is reported, and no upstream is known to be unused.
        let known =
            |route: &Route| self.config.upstream_of(route).is_some_and(|name| self.config.upstreams.contains_key(name));
        let of_hosts = self.document.root.child("hosts").into_iter().flat_map(Node::children);
        let sections = of_hosts.filter_map(|host| host.child("routes")).chain(self.document.root.child("routes"));
        let written: usize = sections.map(|routes| routes.keys().count()).sum();
        let hosts = self.document.root.child("hosts").map_or(0, |hosts| hosts.keys().count());
        let is_whole = written == self.config.all_routes().count() && hosts == self.config.hosts.len();
        if !is_whole || !self.config.all_routes().all(|at| known(at.route)) {
            return;
        }
        let by_export = self.config.usage.export.as_ref().map(|export| export.upstream.as_str());
        let used: BTreeSet<&str> =
            self.config.all_routes().filter_map(|at| self.config.upstream_of(at.route)).chain(by_export).collect();
        for name in self.config.upstreams.keys() {
            if !used.contains(name.as_str()) && self.config.upstreams.len() > 1 {
                let place = self.document.key_place(&["upstreams", name]);
                let title = format!("no route uses the upstream `{name}`");
                self.issues
                    .push(Issue::at(IssueCode::UnusedUpstream, place, title).help("name it in a route, or remove it"));
            }
        }
    }
}

/// The one label that all hosts of a pattern end in, where these belong to anybody: `.com`.
fn public_suffix(origin: &OriginPattern) -> Option<&str> {
    let OriginPattern::Subdomains { suffix, .. } = origin else { return None };
    let label = suffix.split(':').next().unwrap_or_default().trim_start_matches('.').trim_end_matches('.');
    let is_public = !label.contains('.') && !PRIVATE_SUFFIXES.contains(&label);
    is_public.then_some(suffix.as_str())
}

/// Whether one machine cannot listen on both.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    // An IPv6 listener on every address takes IPv4 connections, too.
    let covers = |wide: IpAddr, other: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || other.is_ipv4());
    a.port() == b.port() && a.port() != 0 && (a.ip() == b.ip() || covers(a.ip(), b.ip()) || covers(b.ip(), a.ip()))
}

fn is_loopback(upstream: &Upstream) -> bool {
    upstream.endpoints().all(|endpoint| is_this_machine(endpoint.host()))
}
