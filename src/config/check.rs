//! Rules that look at more than one value: references, conflicts, risks.
//!
//! In: a decoded [`Config`] and the [`Document`] for places. Out: every issue.
//! Not here: what one value may be (`scalar`, `decode`).

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::issue::{Issue, IssueCode, Issues};
use super::scalar::{OriginPattern, PathPattern, Period, Piece, Scheme, Segment, Template};
use super::section::cors::Cors;
use super::section::log::Access;
use super::section::params::Params;
use super::section::retry::Retry;
use super::section::routes::Route;
use super::section::upstreams::{Timeouts, Upstream};
use super::source::{Document, NodeKind};
use super::{Config, ServedPath, nearest};

/// Tries per request; more would turn one slow answer into a flood.
const MAX_ATTEMPTS: u32 = 10;

/// Reads what the configuration refers to, and makes relative paths absolute.
pub(super) fn read_files(config: &mut Config, document: &Document) -> Issues {
    let mut issues = Issues::default();
    for (name, upstream) in &mut config.upstreams {
        let Some(ca) = &mut upstream.tls.ca else { continue };
        *ca = document.folder.join(&*ca);
        let place = || document.value_place(&["upstreams", name, "tls", "ca"]);
        match std::fs::read(&*ca) {
            Err(error) => issues.push(
                Issue::at(
                    IssueCode::Unreadable,
                    place(),
                    format!("the file `{}` cannot be read: {error}", ca.display()),
                )
                .help("relative paths start at the folder of the file that names them"),
            ),
            Ok(bytes) => {
                upstream.tls.ca_certificates = certificates(&bytes);
                if upstream.tls.ca_certificates.is_empty() {
                    let title = format!("the file `{}` has no certificate in it", ca.display());
                    issues.push(
                        Issue::at(IssueCode::BadValue, place(), title)
                            .help("a PEM file with `BEGIN CERTIFICATE` is wanted"),
                    );
                }
            }
        }
    }
    if let Access::File(path) = &mut config.log.access {
        *path = document.folder.join(&*path);
    }
    issues
}

/// The DER contents of every `CERTIFICATE` block of a PEM file.
fn certificates(pem: &[u8]) -> Vec<Vec<u8>> {
    use base64::Engine;
    let text = String::from_utf8_lossy(pem);
    text.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .filter_map(|block| block.split_once("-----END CERTIFICATE-----"))
        .filter_map(|(body, _)| {
            let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
            base64::engine::general_purpose::STANDARD.decode(body).ok()
        })
        .collect()
}

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

    fn route(&mut self, pattern: &PathPattern, route: &Route) {
        let key = pattern.as_str();
        self.target(key, pattern, route);
        self.upstream_name(key, route);
        self.params(key, pattern, &route.params);
        self.cors(&["routes", key, "cors"], route.cors.as_ref());
        if route.methods.as_ref().is_some_and(Vec::is_empty) {
            self.at_value(
                IssueCode::BadValue,
                &["routes", key, "methods"],
                "`methods` is empty: no request could match".to_owned(),
                "leave it out for the usual ones",
            );
        }
        let sends_body = |route: &Route| {
            route.methods.iter().flatten().any(|method| !matches!(method.0, http::Method::GET | http::Method::HEAD))
        };
        if route.proxy.is_some() && !route.params.fixed.is_empty() && sends_body(route) {
            self.issues.push(
                Issue::at(
                    IssueCode::FixedInQueryOnly,
                    self.document.value_place(&["routes", key, "methods"]),
                    "parameters in a request body are not looked at on a `proxy` route",
                )
                .help("keep to GET and HEAD if the upstream reads these parameters from a body too"),
            );
        }
    }

    fn target(&mut self, key: &str, pattern: &PathPattern, route: &Route) {
        let place = self.document.key_place(&["routes", key]);
        match (&route.pipe, &route.proxy) {
            (Some(pipe), None) => {
                self.pipe(key, pattern, pipe);
                if route
                    .methods
                    .iter()
                    .flatten()
                    .any(|method| !matches!(method.0, http::Method::GET | http::Method::HEAD | http::Method::POST))
                {
                    self.at_value(
                        IssueCode::BadValue,
                        &["routes", key, "methods"],
                        "a pipe is read by GET, HEAD and POST".to_owned(),
                        "remove the others",
                    );
                }
                if route.formats.as_ref().is_some_and(Vec::is_empty) {
                    self.at_value(
                        IssueCode::BadValue,
                        &["routes", key, "formats"],
                        "`formats` is empty".to_owned(),
                        "leave it out for json",
                    );
                } else if let Err(title) = route.paths(pattern) {
                    self.at_value(
                        IssueCode::BadValue,
                        &["routes", key, "formats"],
                        title,
                        "the path's own ending is its format",
                    );
                } else if route.formats.is_some() && pattern.has_tail() {
                    self.at_value(
                        IssueCode::BadValue,
                        &["routes", key, "formats"],
                        "a pipe cannot answer every path under `/*`".to_owned(),
                        "name the path",
                    );
                }
            }
            (None, Some(proxy)) => self.proxy(key, pattern, proxy, route),
            (Some(_), Some(_)) => self.issues.push(
                Issue::at(IssueCode::RouteTarget, place, format!("`{key}` has both `pipe` and `proxy`"))
                    .help("keep one of them"),
            ),
            (None, None) if self.reported(&["routes", key, "pipe"]) || self.reported(&["routes", key, "proxy"]) => {}
            (None, None) => self.issues.push(
                Issue::at(IssueCode::RouteTarget, place, format!("`{key}` leads nowhere"))
                    .help("add `pipe: NAME` for a Tinybird pipe, or `proxy: /PATH` for any HTTP API"),
            ),
        }
    }

    fn pipe(&mut self, key: &str, pattern: &PathPattern, pipe: &Template) {
        let path = ["routes", key, "pipe"];
        let shown = pipe.to_string();
        let literal: String = shown.split(['{', '}']).step_by(2).collect();
        if let Some(wrong) = literal.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '_' && *c != '-') {
            let title = format!("`{shown}` is not the name of a pipe: it has the character {wrong:?}");
            self.at_value(
                IssueCode::BadValue,
                &path,
                title,
                "a pipe's name has letters, digits, `_` and `-`; the format goes into `formats`",
            );
        } else if shown.is_empty() {
            self.at_value(
                IssueCode::BadValue,
                &path,
                "the name of the pipe is empty".to_owned(),
                "write the pipe's name",
            );
        }
        if pattern.has_tail() {
            self.at_value(
                IssueCode::BadValue,
                &path,
                "a pipe cannot answer every path under `/*`".to_owned(),
                "name the path, or use {captures}",
            );
        }
        self.captures(&path, pattern, pipe, &["rest"]);
    }

    fn proxy(&mut self, key: &str, pattern: &PathPattern, proxy: &Template, route: &Route) {
        let path = ["routes", key, "proxy"];
        let shown = proxy.to_string();
        if !shown.starts_with('/') {
            self.at_value(
                IssueCode::BadValue,
                &path,
                format!("`{shown}` is not a path of the upstream"),
                "it begins with `/`",
            );
        }
        let odd = |c: char| c.is_control() || c.is_whitespace() || "?#\\\"<>^`|".contains(c) || !c.is_ascii();
        if shown.chars().any(odd)
            || shown.contains("//")
            || shown.split('/').any(|segment| segment == "." || segment == "..")
        {
            self.at_value(
                IssueCode::BadValue,
                &path,
                format!("`{shown}` is not a clean path"),
                "parameters go into `params.fixed`; other characters are percent-encoded",
            );
        }
        if route.formats.is_some() {
            self.at_value(
                IssueCode::BadValue,
                &["routes", key, "formats"],
                "`formats` belongs to pipes".to_owned(),
                "remove it from a `proxy` route",
            );
        }
        self.captures(&path, pattern, proxy, &[]);
    }

    fn captures(&mut self, path: &[&str], pattern: &PathPattern, template: &Template, refused: &[&str]) {
        let known: Vec<&str> = pattern.captures().filter(|name| !refused.contains(name)).collect();
        for name in template.captures().filter(|name| !known.contains(name)) {
            let title = format!("`{{path.{name}}}` is not in the path `{pattern}`");
            let help = match nearest(name, known.iter().copied()) {
                Some(nearest) => format!("did you mean `{{path.{nearest}}}`?"),
                None if known.is_empty() => format!("write {{{name}}} into the path"),
                None => format!("the path has: {}", known.join(", ")),
            };
            self.at_value(IssueCode::UnknownCapture, path, title, &help);
        }
    }

    fn upstream_name(&mut self, key: &str, route: &Route) {
        let names: Vec<&str> = self.config.upstreams.keys().map(String::as_str).collect();
        match &route.upstream {
            Some(name) if names.contains(&name.as_str()) || self.reported(&["upstreams", name]) => {}
            Some(name) => {
                let help = match nearest(name, names.iter().copied()) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None if names.is_empty() => "no upstream is defined, or none without an error".to_owned(),
                    None => format!("defined under `upstreams`: {}", names.join(", ")),
                };
                self.at_value(
                    IssueCode::UnknownName,
                    &["routes", key, "upstream"],
                    format!("there is no upstream `{name}`"),
                    &help,
                );
            }
            None if names.len() > 1 && !self.reported(&["routes", key, "upstream"]) => self.issues.push(
                Issue::at(
                    IssueCode::MissingKey,
                    self.document.key_place(&["routes", key]),
                    format!("`{key}` does not say which upstream"),
                )
                .help(format!("add `upstream:` with one of {}", names.join(", "))),
            ),
            None => {}
        }
    }

    fn params(&mut self, key: &str, pattern: &PathPattern, params: &Params) {
        let allow = params.allow.iter().flatten().enumerate();
        for (index, name) in allow.filter(|(_, name)| is_token(name)) {
            let index = index.to_string();
            self.at_value(
                IssueCode::ParameterRules,
                &["routes", key, "params", "allow", &index],
                format!("`{name}` never reaches the upstream"),
                "the upstream's own `token` is sent in a header",
            );
        }
        for (name, template) in &params.fixed {
            let path = ["routes", key, "params", "fixed", name.as_str()];
            self.parameter_name(&path, name);
            self.captures(&path, pattern, template, &[]);
            if template.literal() == Some("") {
                self.at_value(
                    IssueCode::BadValue,
                    &path,
                    format!("the fixed value of `{name}` is empty"),
                    "most pipes show every row when such a parameter is empty: write a value",
                );
            }
            if params.default.contains_key(name) {
                self.at_value(
                    IssueCode::ParameterRules,
                    &["routes", key, "params", "default", name],
                    format!("`{name}` is fixed and also has a default"),
                    "a fixed value always wins: remove the default",
                );
            }
            if template.captures().next().is_some() && !params.allow_public_tenant {
                self.at_value(
                    IssueCode::CallerChoosesTenant,
                    &path,
                    format!("anyone who calls `{pattern}` chooses the value of `{name}`"),
                    "if that is meant, write `allow_public_tenant: true` under `params`",
                );
            }
        }
        for (name, template) in &params.default {
            let path = ["routes", key, "params", "default", name.as_str()];
            self.parameter_name(&path, name);
            self.captures(&path, pattern, template, &[]);
        }
    }

    fn parameter_name(&mut self, path: &[&str], name: &str) {
        if name.is_empty() || name.chars().any(char::is_control) || name.trim() != name || name.contains('[') {
            self.at_value(
                IssueCode::BadValue,
                path,
                format!("`{name}` is not the name of a parameter"),
                "write the name as the upstream knows it",
            );
        } else if is_token(name) {
            self.at_value(
                IssueCode::ParameterRules,
                path,
                format!("`{name}` never travels in a URL"),
                "write the credential as the upstream's `token`",
            );
        }
    }

    fn conflicts(&mut self) {
        let served = self.config.served_paths();
        let mut groups: HashMap<String, Vec<&ServedPath<'_>>> = HashMap::new();
        for path in &served {
            let group = groups.entry(skeleton(&path.pattern)).or_default();
            if let Some(other) = group.iter().find(|other| overlap(&other.pattern, &path.pattern)) {
                // Two routes of one pipe are reported by `tinybird_api`.
                if other.route != path.route
                    && !(other.pattern == path.pattern && is_tinybird(path) && is_tinybird(other))
                {
                    let title = match other.pattern == path.pattern {
                        true => format!("two routes serve `{}`", path.pattern),
                        false => format!("`{}` and `{}` can match the same path", path.pattern, other.pattern),
                    };
                    let issue = Issue::at(
                        IssueCode::RouteConflict,
                        self.document.key_place(&["routes", path.route.as_str()]),
                        title,
                    );
                    let first = self.document.key_place(&["routes", other.route.as_str()]);
                    self.issues.push(
                        issue.related(first, "the other route").help("change one of the paths, or its `formats`"),
                    );
                }
            }
            group.push(path);
        }
    }

    fn tinybird_api(&mut self) {
        if !self.config.tinybird_api {
            return;
        }
        let mut seen: BTreeMap<&str, &PathPattern> = BTreeMap::new();
        for (pattern, route) in &self.config.routes {
            let Some(pipe) = route.pipe.as_ref().and_then(Template::literal) else { continue };
            match seen.get(pipe) {
                None => {
                    seen.insert(pipe, pattern);
                }
                Some(first) => {
                    let place = self.document.key_place(&["routes", pattern.as_str()]);
                    let first = self.document.key_place(&["routes", first.as_str()]);
                    self.issues.push(
                        Issue::at(
                            IssueCode::TinybirdApi,
                            place,
                            format!(
                                "the pipe `{pipe}` has two routes, and `tinybird_api` cannot tell whose rules apply"
                            ),
                        )
                        .related(first, "the other route")
                        .help("keep one route per pipe, or turn `tinybird_api` off"),
                    );
                }
            }
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

fn is_token(name: &str) -> bool {
    name.eq_ignore_ascii_case("token")
}

fn is_tinybird(path: &ServedPath<'_>) -> bool {
    path.pattern.as_str().starts_with("/v0/pipes/")
}

fn is_loopback(upstream: &Upstream) -> bool {
    let host = upstream.url.host();
    host == "localhost"
        || host.ends_with(".localhost")
        || upstream.url.address().is_some_and(|address: IpAddr| address.is_loopback())
}

/// What two patterns must share to be able to conflict: the literals, and how
/// much fixed text stands around each capture.
fn skeleton(pattern: &PathPattern) -> String {
    let mut text = String::new();
    for segment in pattern.segments() {
        text.push('/');
        match segment {
            Segment::Capture(Piece { prefix, suffix, .. }) => {
                text.push('{');
                text.push_str(&(prefix.len() + suffix.len()).to_string());
                text.push('}');
            }
            Segment::Literal(literal) => text.push_str(literal),
        }
    }
    if pattern.has_tail() {
        text.push_str("/*");
    }
    text
}

/// Whether two patterns with one skeleton can match the same path.
fn overlap(a: &PathPattern, b: &PathPattern) -> bool {
    a.segments().iter().zip(b.segments()).all(|(a, b)| match (a, b) {
        (Segment::Capture(a), Segment::Capture(b)) => {
            let prefix = a.prefix.starts_with(&b.prefix) || b.prefix.starts_with(&a.prefix);
            prefix && (a.suffix.ends_with(&b.suffix) || b.suffix.ends_with(&a.suffix))
        }
        (Segment::Literal(a), Segment::Literal(b)) => a == b,
        (Segment::Capture(_), Segment::Literal(_)) | (Segment::Literal(_), Segment::Capture(_)) => false,
    })
}
