//! Rules that look at more than one value: references, conflicts, risks.
//!
//! In: a decoded [`Config`] and the [`Document`] for places. Out: every issue.
//! Not here: what one value may be (`scalar`, `decode`).

mod conflicts;
mod files;
mod routes;

pub(super) use files::read_files;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Config;
use super::issue::{Issue, IssueCode, Issues};
use super::scalar::{OriginPattern, Period, Scheme};
use super::section::cors::Cors;
use super::section::retry::Retry;
use super::section::upstreams::{Timeouts, Upstream};
use super::source::{Document, NodeKind};

/// Tries per request; more would turn one slow answer into a flood.
const MAX_ATTEMPTS: u32 = 10;

/// Finds everything that is wrong or risky across sections.
pub(super) fn check(config: &Config, document: &Document) -> Issues {
    let mut checker = Checker { config, document, issues: Issues::default() };
    checker.addresses();
    checker.upstreams();
    checker.cors(&["cors"], config.cors.as_ref());
    if config.routes.is_empty() && !checker.reported(&["routes"]) {
        checker.missing("routes", "a gateway without routes answers 404 to everything");
    }
    for (pattern, route) in &config.routes {
        checker.route(pattern, route);
    }
    checker.conflicts();
    checker.tinybird_api();
    checker.unused_upstreams();
    if !config.routes.is_empty() {
        // No `auth` section exists yet in this version, so nothing can say who may call.
        let place = document.key_place(&["routes"]);
        checker.issues.push(
            Issue::at(
                IssueCode::EveryRoutePublic,
                place,
                "every route is public: anyone who reaches a listener may call it",
            )
            .help("put the gateway where only those who may call can reach it"),
        );
    }
    checker.issues
}

struct Checker<'a> {
    config: &'a Config,
    document: &'a Document,
    issues: Issues,
}

impl Checker<'_> {
    /// Whether something at `path`, or above it, was reported before and taken out.
    fn reported(&self, path: &[&str]) -> bool {
        (0..=path.len())
            .filter_map(|length| path.get(..length))
            .any(|path| self.document.node(path).is_some_and(|node| matches!(node.kind, NodeKind::Broken)))
    }

    fn missing(&mut self, key: &str, why: &str) {
        let issue = Issue::at(IssueCode::MissingKey, self.document.place(&(0..0)), format!("the file has no `{key}`"));
        self.issues.push(issue.help(format!("add `{key}:`; {why}")));
    }

    fn at_value(&mut self, code: IssueCode, path: &[&str], title: String, help: &str) {
        self.issues.push(Issue::at(code, self.document.value_place(path), title).help(help));
    }

    fn addresses(&mut self) {
        let mut seen = BTreeMap::new();
        for (index, listener) in self.config.listeners.iter().enumerate() {
            let index = index.to_string();
            let place = self.document.value_place(&["listeners", &index, "address"]);
            if listener.address.port() == 0 {
                continue;
            }
            if let Some(first) = seen.insert(listener.address, place.clone()) {
                let issue =
                    Issue::at(IssueCode::Duplicate, place, format!("`{}` is listened on twice", listener.address));
                self.issues.push(issue.related(first, "first here").help("remove one of them"));
            }
        }
        let admin = &self.config.admin;
        if let Some(first) = seen.get(&admin.address) {
            let place = self.document.value_place(&["admin", "address"]);
            let issue =
                Issue::at(IssueCode::Duplicate, place, format!("`{}` is also a listener of callers", admin.address));
            self.issues
                .push(issue.related(first.clone(), "the listener").help("give the admin address a port of its own"));
        }
        if !admin.address.ip().is_loopback() && admin.token.is_none() && !self.reported(&["admin", "token"]) {
            self.at_value(
                IssueCode::AdminExposed,
                &["admin", "address"],
                format!("`{}` can be reached from other machines, and `admin` has no `token`", admin.address),
                "add `token: ${TOLLGATE_ADMIN_TOKEN}`, or use 127.0.0.1",
            );
        }
    }

    fn upstreams(&mut self) {
        if self.config.upstreams.is_empty()
            && !self.reported(&["upstreams"])
            && self.document.node(&["upstreams"]).is_none()
        {
            self.missing("upstreams", "routes lead to upstreams");
        }
        for (name, upstream) in &self.config.upstreams {
            self.credentials(name, upstream);
            self.timeouts(name, &upstream.timeouts);
            self.retry(name, &upstream.retry);
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
        let secret = upstream.token.is_some() || !upstream.headers.is_empty();
        if secret && upstream.url.scheme() == Scheme::Http && !is_loopback(upstream) {
            self.at_value(
                IssueCode::PlainHttp,
                &["upstreams", name, "url"],
                format!("the credential of `{name}` travels without TLS"),
                "use https:// unless every machine on the way is yours",
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
        for status in retry.on.iter().filter(|status| !(400..=599).contains(*status)) {
            let title = format!("`{status}` is not a status of an error");
            self.at_value(IssueCode::BadValue, &path("on"), title, "write statuses from 400 to 599, like [429, 500]");
        }
        if retry.base > retry.max {
            let title = format!("`base` ({}) is longer than `max` ({})", retry.base, retry.max);
            self.at_value(IssueCode::BadValue, &path("base"), title, "waits grow from `base` to `max`");
        }
    }

    fn cors(&mut self, path: &[&str], cors: Option<&Cors>) {
        let Some(cors) = cors else { return };
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
        for name in self.config.upstreams.keys() {
            let used = self.config.routes.values().any(|route| self.config.upstream_of(route) == Some(name));
            if !used && self.config.upstreams.len() > 1 {
                let place = self.document.key_place(&["upstreams", name]);
                self.issues.push(Issue::at(
                    IssueCode::UnusedUpstream,
                    place,
                    format!("no route uses the upstream `{name}`"),
                ));
            }
        }
    }
}

fn is_loopback(upstream: &Upstream) -> bool {
    let host = upstream.url.host();
    host == "localhost"
        || host.ends_with(".localhost")
        || upstream.url.address().is_some_and(|address: IpAddr| address.is_loopback())
}
