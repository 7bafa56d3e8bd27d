//! Which calls an audit makes: every route, as it is meant and in every way that
//! is refused or fails; and what is no request at all.
//!
//! In: a configuration. Out: requests as bytes. Not here: sending them (`wire`).
//!
//! Nothing here may change anything behind the gateway: routes are called with
//! GET, HEAD and OPTIONS, pipes by POST, too; and with a method that the route
//! does not serve, which never gets further than the gateway.

use std::collections::BTreeSet;

use crate::config::scalar::{HostPattern, PathPattern, Segment};
use crate::config::section::routes::Route;
use crate::config::{Config, RouteSet, ServedPath};
use crate::outbound::Target;

/// Stands for whatever a path or a host captures.
const CAPTURED: &str = "audit";
/// Asked for where every host is served.
const ANY_HOST: &str = "localhost";
/// Parameters of one route that are given a wrong value.
const MAX_PARAMETERS: usize = 8;
/// A page of nobody's.
const ORIGIN: &str = "https://audit.example";

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) kind: Kind,
    pub(super) host: String,
    /// Method and target, for people.
    pub(super) line: String,
    /// What it is for, for people.
    pub(super) about: &'static str,
    /// All of it.
    pub(super) bytes: Vec<u8>,
}

impl Call {
    /// What is called, without parameters.
    pub(super) fn path(&self) -> &str {
        let target = self.line.split(' ').nth(1).unwrap_or_default();
        target.split('?').next().unwrap_or_default()
    }
}

/// Whether a call is to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Meant,
    Provoking,
}

/// Host, method and target.
type At<'a> = (&'a str, &'a str, &'a str);

/// Names and values.
type Headers = [(String, String)];

/// Every call for a configuration. `headers` are those of calls that are to succeed; at a `url` with TLS only its own
/// host can be asked for.
pub(super) fn plan(config: &Config, headers: &Headers, url: Option<&Target>) -> Vec<Call> {
    let only = url.filter(|url| url.origin().starts_with("https:")).map(|url| url.host().to_owned());
    let mut plan = Plan { config, headers, calls: Vec::new() };
    let mut asked = BTreeSet::new();
    for set in config.route_sets() {
        let hosts: Vec<String> = match &only {
            Some(host) => vec![host.clone()],
            None => hosts_of(config, set),
        };
        let served = config.served_in(set);
        for (nth, host) in hosts.iter().enumerate() {
            // The routes of a set are the same on each of its hosts: all of them on the first, one on the others.
            let count = if nth == 0 { served.len() } else { 1 };
            served.iter().take(count).for_each(|path| plan.path(host, path));
            if asked.insert(host.clone()) {
                plan.host(host);
            }
        }
    }
    if !config.hosts.is_empty() && only.is_none() {
        plan.provoke(("audit.invalid", "GET", "/"), "a host that is not served", &[]);
    }
    plan.calls
}

struct Plan<'a> {
    config: &'a Config,
    headers: &'a Headers,
    calls: Vec<Call>,
}

impl Plan<'_> {
    /// Everything about one path of a route.
    fn path(&mut self, host: &str, served: &ServedPath<'_>) {
        let (path, route) = (filled(&served.pattern), served.route.route);
        let methods = route.served_methods();
        if methods.contains(&http::Method::GET) {
            self.meant(host, &path);
        }
        self.send((host, "HEAD", &path), ("as it is meant", Kind::Provoking), self.headers, b"");
        self.parameters(host, &path, route);
        self.conditions(host, &path);
        self.credentials(host, &path);
        let is_served = |method: &&str| methods.iter().any(|served| served.as_str() == *method);
        if let Some(method) = ["DELETE", "PATCH", "PUT", "POST"].into_iter().find(|method| !is_served(method)) {
            self.with_own((host, method, &path), "a method that is not served", &[]);
        }
        self.provoke((host, "OPTIONS", &path), "no preflight", &[]);
        let preflight = [("Origin", ORIGIN), ("Access-Control-Request-Method", "GET")];
        self.provoke((host, "OPTIONS", &path), "a preflight of nobody's page", &preflight);
        if route.pipe.is_some() && methods.contains(&http::Method::POST) {
            self.bodies(host, &path);
        }
    }

    /// As it is meant to be called.
    fn meant(&mut self, host: &str, path: &str) {
        self.send((host, "GET", path), ("as it is meant", Kind::Meant), self.headers, b"");
    }

    fn parameters(&mut self, host: &str, path: &str, route: &Route) {
        self.with_own((host, "GET", &format!("{path}?audit_unknown=1")), "a parameter that there is not", &[]);
        let named = route.params.allow.iter().flatten().chain(route.params.default.keys()).map(String::as_str);
        let mut names: Vec<&str> = named.chain(route.params.fixed.keys().map(String::as_str)).collect();
        if names.is_empty() {
            names.extend(["limit", "page_size", "start_date"]);
        }
        for name in names.into_iter().take(MAX_PARAMETERS) {
            let target = format!("{path}?{}=%27%22%3B%7B%7Baudit", encoded(name));
            self.with_own((host, "GET", &target), "a value that makes no sense", &[]);
        }
        for (query, about) in [
            ("q=SELECT+1", "a control parameter"),
            ("%zz=%", "a query that is not encoded"),
            ("__tb__semver=1.0.0", "a parameter of a vendor's"),
            ("token=audit", "a token in the query"),
        ] {
            self.with_own((host, "GET", &format!("{path}?{query}")), about, &[]);
        }
    }

    fn conditions(&mut self, host: &str, path: &str) {
        for (name, value, about) in [
            ("Accept-Encoding", "gzip", "a compressed answer"),
            ("If-None-Match", "\"audit\"", "a condition"),
            ("Range", "bytes=0-9", "a part"),
            ("Range", "bytes=999999999999-", "a part that there is not"),
            ("Accept", "text/html", "a page"),
        ] {
            self.with_own((host, "GET", path), about, &[(name, value)]);
        }
    }

    fn credentials(&mut self, host: &str, path: &str) {
        self.provoke((host, "GET", path), "no credential", &[]);
        for (value, about) in [
            ("Bearer audit", "a wrong credential"),
            ("Bearer eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJhdWRpdCJ9.YXVkaXQ", "a token that is not signed well"),
            ("Bearer tgk_audit00000001_audit", "a wrong key"),
            ("Basic YXVkaXQ6YXVkaXQ=", "a password"),
        ] {
            self.provoke((host, "GET", path), about, &[("Authorization", value)]);
        }
        let config = self.config;
        let headers: BTreeSet<&str> =
            config.auth.values().filter_map(|provider| Some(provider.header.as_ref()?.as_str())).collect();
        for name in headers {
            self.provoke((host, "GET", path), "a wrong credential", &[(name, "audit")]);
        }
    }

    fn bodies(&mut self, host: &str, path: &str) {
        let large = format!("a={}", "a".repeat(70 << 10));
        for (media, body, about) in [
            ("application/json", "{\"audit\":", "a body that is no JSON"),
            ("application/json", "{\"audit\":{\"a\":[]}}", "a body that is not flat"),
            ("application/json", "{\"limit\":\"audit\"}", "a value that makes no sense"),
            ("text/plain", "SELECT 1", "a body of another type"),
            ("application/x-www-form-urlencoded", large.as_str(), "a body that is too large"),
        ] {
            let headers = self.own(&[("Content-Type", media)]);
            self.send((host, "POST", path), (about, Kind::Provoking), &headers, body.as_bytes());
        }
    }

    /// What does not depend on routes.
    fn host(&mut self, host: &str) {
        for (target, about) in [
            ("/", "the root"),
            ("/audit-of-a-path-that-there-is-not", "a path that there is not"),
            ("/v0/pipes/audit.json", "a path of a vendor's"),
            ("/v0/sql?q=SELECT+1", "a path of a vendor's"),
            ("/a//b", "a path that is refused"),
            ("/%2e%2e/%2e%2e/etc/passwd", "a path that is refused"),
            ("/%zz", "a path that is not encoded"),
            ("http://other.invalid/", "a whole URL"),
            ("*", "no path"),
        ] {
            self.provoke((host, "GET", target), about, &[]);
        }
        let document = self.config.white_label.openapi.as_ref().map(PathPattern::as_str);
        if let Some(path) = document {
            self.meant(host, path);
            self.provoke((host, "GET", path), "no credential", &[]);
            self.provoke((host, "POST", path), "a method that is not served", &[]);
        }
        for method in ["TRACE", "CONNECT", "AUDIT", "get"] {
            self.provoke((host, method, "/"), "a method that nobody serves", &[]);
        }
        let long = format!("/{}", "a".repeat(20 << 10));
        self.provoke((host, "GET", &long), "a path that is too long", &[]);
        self.provoke((host, "GET", "/"), "a head that is too large", &[("X-Audit", &"a".repeat(40 << 10))]);
        self.provoke((host, "GET", "/"), "two hosts", &[("Host", "audit.invalid")]);
        self.provoke(
            (host, "GET", "/"),
            "a protocol that nobody speaks",
            &[("Upgrade", "audit"), ("Connection", "upgrade")],
        );
        self.provoke((host, "POST", "/"), "two lengths", &[("Content-Length", "1"), ("Content-Length", "2")]);
        for (bytes, about) in [
            (format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-A\x01: b\r\n\r\n"), "a control character in a header's name"),
            (format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-A: b\0\r\n\r\n"), "a control character in a header"),
            (format!("GET /\x01 HTTP/1.1\r\nHost: {host}\r\n\r\n"), "a control character in the target"),
            (format!("GET / HTTP/9.9\r\nHost: {host}\r\n\r\n"), "a version that there is not"),
            ("GET / HTTP/1.0\r\n\r\n".to_owned(), "no host, as HTTP/1.0 has it"),
            ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "no host"),
            (format!("GET / HTTP/1.1\r\nHost: {host}\r\n folded\r\n\r\n"), "a folded header"),
            (format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n"), "a tunnel"),
            ("\x16\x03\x01\x02audit\r\n\r\n".to_owned(), "what is no HTTP"),
            ("SSH-2.0-audit\r\n\r\n".to_owned(), "what is no HTTP"),
        ] {
            let line = bytes.lines().next().unwrap_or_default().escape_default().to_string();
            let host = host.to_owned();
            self.calls.push(Call { kind: Kind::Provoking, host, line, about, bytes: bytes.into_bytes() });
        }
    }

    /// Without what a call needs to succeed.
    fn provoke(&mut self, at: At<'_>, about: &'static str, headers: &[(&str, &str)]) {
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.send(at, (about, Kind::Provoking), &headers, b"");
    }

    /// With it, so that the upstream gets it.
    fn with_own(&mut self, at: At<'_>, about: &'static str, headers: &[(&str, &str)]) {
        let headers = self.own(headers);
        self.send(at, (about, Kind::Provoking), &headers, b"");
    }

    fn own(&self, headers: &[(&str, &str)]) -> Vec<(String, String)> {
        let given = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.headers.iter().cloned().chain(given).collect()
    }

    fn send(&mut self, at: At<'_>, (about, kind): (&'static str, Kind), headers: &Headers, body: &[u8]) {
        let (host, method, target) = at;
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        let has = |name: &str| headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        if !has("connection") {
            head.push_str("Connection: close\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let shown: String = target.chars().take(200).collect();
        let more = if shown.len() < target.len() { "..." } else { "" };
        let line = format!("{method} {shown}{more}");
        let bytes = [head.as_bytes(), body].concat();
        self.calls.push(Call { kind, host: host.to_owned(), line, about, bytes });
    }
}

/// A path that the pattern matches.
fn filled(pattern: &PathPattern) -> String {
    let mut path = String::new();
    for segment in pattern.segments() {
        path.push('/');
        match segment {
            Segment::Capture(piece) => {
                path.push_str(&encoded(&piece.prefix));
                path.push_str(CAPTURED);
                path.push_str(&encoded(&piece.suffix));
            }
            Segment::Literal(text) => path.push_str(&encoded(text)),
        }
    }
    if pattern.has_tail() {
        path.push('/');
        path.push_str(CAPTURED);
    }
    path
}

fn encoded(text: &str) -> String {
    crate::exchange::component::encode_component(text.as_bytes()).collect()
}

/// A host for each pattern that serves the routes of a set.
fn hosts_of(config: &Config, set: RouteSet<'_>) -> Vec<String> {
    if config.hosts.is_empty() {
        return vec![ANY_HOST.to_owned()];
    }
    let serves = |pattern: &HostPattern, own: bool| match set.host {
        Some(host) => host == pattern,
        None => !own,
    };
    let each = config.hosts.iter().filter(|(pattern, host)| serves(pattern, host.routes.is_some()));
    each.map(|(pattern, _)| pattern.as_str().replacen('*', CAPTURED, 1)).collect()
}
