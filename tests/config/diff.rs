//! `config diff`: what changes, what that means for a running gateway, and that nothing is missed.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use tollgate::config::diff::{Change, ConfigDiff, Kind, Takes, keep_until_restart};
use tollgate::config::{Config, load, load_text};

use crate::environment;

/// What a gateway takes only when it starts.
const UNTIL_RESTART: [&str; 13] = [
    "admin.address",
    "listeners",
    "log.access",
    "log.format",
    "log.sample",
    "server.drain",
    "server.keepalive",
    "server.threads",
    "state.counters",
    "state.dir",
    "state.max_counters",
    "state.on_counter_failure",
    "state.store",
];

const BASE: &str = "\
upstreams:
  tinybird: { url: https://api.tinybird.co, token: \"${TOKEN}\" }
  other: { url: https://other.example.com, headers: { X-Key: one } }
routes:
  /a: { pipe: a, upstream: tinybird }
  /b: { proxy: /b, upstream: other }
";

fn config(text: &str) -> Config {
    load_text("t.yaml", text, PathBuf::new(), &environment()).unwrap_or_else(|issues| panic!("{issues}\n{text}")).config
}

fn between(old: &str, new: &str) -> String {
    ConfigDiff::between(&config(old), &config(new)).to_string()
}

#[test]
fn every_kind_of_change_reads_well() {
    let new = "\
listeners: [{ address: 127.0.0.1:9090 }]
admin: { token: one }
upstreams:
  tinybird: { url: https://api.tinybird.co, token: another, timeouts: { attempt: 20s } }
  third: { url: https://third.example.com, headers: { X-Key: two } }
routes:
  /a: { pipe: a, upstream: tinybird, formats: [json, csv], params: { fixed: { company: acme } } }
  /c: { proxy: \"/c\", upstream: third }
  \"/é/{x}\": { pipe: \"p_{path.x}\", upstream: third }
tinybird_api: true
cors: { origins: [\"*\"] }
log: { level: debug }
server: { threads: 4 }
";
    let expected = "\
~ listeners: [0.0.0.0:8080] -> [127.0.0.1:9090]
+ admin.token: ***
- upstreams.other
+ upstreams.third: https://third.example.com
~ upstreams.tinybird.token: *** (changed)
~ upstreams.tinybird.timeouts.attempt: 35s -> 20s
+ routes./a.formats: [json, csv]
+ routes./a.params.fixed.company: acme
- routes./b
+ routes./c: proxy /c
+ routes./é/{x}: pipe p_{path.x}
~ tinybird_api: false -> true
+ cors: { origins: [\"*\"], credentials: false, max_age: 10m }
~ log.level: info -> debug
~ server.threads: auto -> 4
needs a restart: listeners, server.threads
";
    assert_eq!(between(BASE, new), expected);
}

#[test]
fn changes_of_hosts_read_well() {
    let hosts = |hosts: &str| format!("{BASE}hosts:\n{hosts}");
    let old = hosts("  a.example.com: { tenant: a }\n  b.example.com: {}\n  c.example.com: {}\n");
    let new = hosts(
        "  B.Example.com: { cors: { origins: ['*'] }, routes: { /b: { pipe: b, upstream: other } } }\n  \
         a.example.com: { tenant: acme }\n  '*.d.example.com': { tenant: '{host.1}' }\n  e.example.com: {}\n",
    );
    let expected = "\
+ hosts.\"*.d.example.com\": tenant {host.1}
~ hosts.a.example.com.tenant: a -> acme
+ hosts.b.example.com.cors: { origins: [\"*\"], credentials: false, max_age: 10m }
+ hosts.b.example.com.routes: pipe b
- hosts.c.example.com
+ hosts.e.example.com: {}
";
    assert_eq!(between(&old, &new), expected);
    assert_eq!(between(&old, &hosts("  C.example.com: {}\n  A.example.com: { tenant: a }\n  b.EXAMPLE.com: {}\n")), "");
}

#[test]
fn changes_of_backends_read_well() {
    let file = |upstream: &str| format!("upstreams: {{ t: {{ {upstream} }} }}\nroutes: {{ /a: {{ proxy: /a }} }}\n");
    let one = file("url: 'https://a.example.com'");
    let two = file("urls: ['https://a.example.com', 'https://b.example.com']");
    let turned = file("urls: ['https://b.example.com', 'https://a.example.com'], health: { path: /ping }");
    let strict = file("urls: ['https://a.example.com', 'https://c.example.com'], eject: { for: 5s, all_out: refuse }");
    let expected = "\
- upstreams.t.url
+ upstreams.t.urls: [https://a.example.com, https://b.example.com]
";
    assert_eq!(between(&one, &two), expected);
    let expected = "\
+ upstreams.t.health: { path: /ping, every: 10s, timeout: 2s, down_after: 3, up_after: 2 }
";
    assert_eq!(between(&two, &turned), expected, "their order means nothing");
    let expected = "\
~ upstreams.t.urls: [https://a.example.com, https://b.example.com] -> [https://a.example.com, https://c.example.com]
+ upstreams.t.eject: { after: 5, for: 5s, max: 1m, all_out: refuse }
";
    assert_eq!(between(&two, &strict), expected);
}

#[test]
fn how_a_file_is_written_is_no_change() {
    let same = "\
# Another order, other quotes, defaults written out.
routes:
  \"/b\": { upstream: other, proxy: '/b', methods: [HEAD, GET] }
  /a: { upstream: \"tinybird\", methods: [POST, GET, HEAD], pipe: 'a', pass_headers: [], params: { conflict: override } }
log: { level: info, sample: 100% }
listeners:
  - address: 0.0.0.0:8080
server: { keepalive: 1m, max_body: 10240KiB }
upstreams:
  other: { headers: { x-key: one }, url: https://OTHER.example.com/, retry: { on: [500, 429] } }
  tinybird: { token: hunter2-from-a-variable, url: https://api.tinybird.co:443, timeouts: { total: 60000ms } }
";
    assert_eq!(between(BASE, same), "");
    assert_eq!(between(same, BASE), "");
    let one = "upstreams: { a: { url: https://a.example.com } }\nroutes: { /x: { pipe: x } }\n";
    assert_eq!(between(one, &one.replace("pipe: x", "pipe: x, upstream: a")), "", "the only upstream is meant anyway");
}

#[test]
fn the_order_of_formats_counts() {
    let first = BASE.replace("pipe: a,", "pipe: a, formats: [json, csv],");
    let second = first.replace("[json, csv]", "[csv, json]");
    assert_eq!(between(&first, &second), "~ routes./a.formats: [json, csv] -> [csv, json]\n");
}

#[test]
fn what_an_authority_file_holds_is_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificate = std::fs::read("tests/config/cases/files/ca.pem").expect("a certificate");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &certificate).expect("it can be written");
    let text = format!(
        "upstreams: {{ a: {{ url: https://a.example.com, tls: {{ ca: '{}' }} }} }}\nroutes: {{ /x: {{ pipe: x }} }}\n",
        file.display()
    );
    let old = config(&text);
    std::fs::write(&file, certificate.repeat(2)).expect("it can be written");
    let diff = ConfigDiff::between(&old, &config(&text));
    assert_eq!(diff.to_string(), "~ upstreams.a.tls.ca: content changed\n");
    assert_eq!(diff.changes.first().map(|change| change.kind), Some(Kind::ContentChanged));
}

#[test]
fn limits_and_counters_read_well() {
    let old = "\
limits:
  daily: { by: gateway, quota: 100000/day }
  flood: { by: ip, rate: 20/s, burst: 40 }
  old: { by: gateway, rate: 5/s }
plans: { free: { limits: [daily] } }
default_plan: free
server: { limits: [flood, old] }
state: { counters: \"rediss://:one@counters.example.com\" }
";
    let new = "\
limits:
  daily: { by: [route, host], quota: 0.1GB/day, cost: response_bytes }
  flood: { by: [ip], rate: 1200/m }
  scan: { by: gateway, quota: 500GB/month, cost: bytes_read, assume: 100MB }
plans: { free: { limits: [daily] }, pro: { limits: [scan] } }
default_plan: pro
tenants: { acme: { plan: free } }
server: { limits: [flood] }
state: { counters: \"rediss://:two@counters.example.com\", max_counters: 5000 }
"
    .replace("0.1GB", "100MB");
    let expected = "\
~ limits.daily.by: gateway -> [route, host]
~ limits.daily.quota: 100000/day -> 100MB/day
~ limits.daily.cost: \"1\" -> response_bytes
~ limits.flood.rate: 20/s -> 1200/m
- limits.flood.burst
- limits.old
+ limits.scan: { by: gateway, quota: 500GB/month, cost: bytes_read, assume: 100MB }
+ plans.pro: { limits: [scan] }
~ default_plan: free -> pro
+ tenants.acme: { enabled: true, plan: free }
~ server.limits: [flood, old] -> [flood]
~ state.counters: *** (changed)
~ state.max_counters: 1000000 -> 5000
needs a restart: state.counters, state.max_counters
";
    let with = |text: &str| format!("{BASE}{text}");
    assert_eq!(between(&with(old), &with(&new)), expected);
    let elsewhere = old.replace("counters.example.com", "u.example.com:1/2");
    assert_eq!(
        between(&with(old), &with(&elsewhere)),
        "~ state.counters: rediss://:***@counters.example.com:6379/0 -> rediss://:***@u.example.com:1/2\nneeds a restart: state.counters\n"
    );
    let (one, other) = ("postgres://u:one@h/d", "postgres://u:two@h/d");
    let store = |url: &str| with(&format!("state: {{ store: \"{url}\" }}\n"));
    assert_eq!(between(&store(one), &store(other)), "~ state.store: *** (changed)\nneeds a restart: state.store\n");
    assert_eq!(
        between(&with(""), &store("postgres://u:one@localhost/d")),
        "~ state.store: sqlite -> postgres://***:***@localhost:5432/d?sslmode=disable\nneeds a restart: state.store\n"
    );
    // The order of names, and what is written that holds anyway, say nothing.
    let same = old.replace("[flood, old]", "[old, flood]").replace("example.com\"", "example.com:6379/0\"");
    assert_eq!(between(&with(old), &with(&same)), "");
}

#[test]
fn programs_read_the_same() {
    let diff = ConfigDiff::between(&config(BASE), &config(&format!("{BASE}server: {{ threads: 2 }}\n")));
    assert_eq!(
        serde_json::to_value(&diff).expect("it is JSON"),
        serde_json::json!({ "changes": [{
            "path": "server.threads", "kind": "changed", "before": "auto", "after": "2", "takes": "restart",
        }] })
    );
}

/// Every value of a full configuration is changed in turn: each is seen, alone, and what a restart needs is told apart.
#[test]
fn no_key_is_missed_and_only_some_need_a_restart() {
    let full = load(Path::new("tests/config/cases/good/every_key.yaml"), &environment()).expect("it is good").config;
    let tree = serde_json::to_value(&full).expect("it is JSON");
    let running = read_back(&tree);
    let mut needing = std::collections::BTreeSet::new();
    let mut leaves = Vec::new();
    collect(&tree, &mut Vec::new(), &mut leaves);
    for path in &leaves {
        let mut tree = tree.clone();
        let place = path.iter().try_fold(&mut tree, |node, step| match step.parse::<usize>() {
            Ok(index) => node.get_mut(index),
            Err(_) => node.get_mut(step),
        });
        let place = place.expect("it was found before");
        let Some(other) = other(path, place) else { continue };
        *place = other;
        let changed = read_back(&tree);
        let diff = ConfigDiff::between(&running, &changed);
        let [Change { path: found, takes, .. }] = diff.changes.as_slice() else {
            panic!("{path:?} is not one change: {diff:?}")
        };
        let joined = path.join(".");
        assert!(joined.starts_with(&found.replace('"', "")), "{joined} was reported as {found}");
        let mut kept = changed.clone();
        keep_until_restart(&mut kept, &running);
        match takes {
            Takes::AtOnce => assert_eq!(kept, changed, "{joined} is taken at once, and was kept back"),
            Takes::Restart => {
                assert_eq!(kept, running, "{joined} needs a restart, and was not kept back");
                needing.insert(found.clone());
            }
        }
    }
    assert!(leaves.len() > 60, "{leaves:?}");
    assert_eq!(needing.into_iter().collect::<Vec<_>>(), UNTIL_RESTART);
}

fn read_back(tree: &Value) -> Config {
    let mut tree = tree.clone();
    // A public key shows itself as its fingerprint.
    if let Some(key) = tree.pointer_mut("/auth/machine/key").filter(|key| !key.to_string().contains("BEGIN")) {
        *key = std::fs::read_to_string("tests/config/cases/files/rsa.public.pem").expect("the key can be read").into();
    }
    serde_json::from_value(tree.clone()).unwrap_or_else(|error| panic!("{error} in {tree:#}"))
}

fn collect(node: &Value, path: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) {
    let children: Vec<(String, &Value)> = match node {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, item)| (at.to_string(), item)).collect(),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => return leaves.push(path.clone()),
    };
    for (step, child) in children {
        path.push(step);
        collect(child, path, leaves);
        path.pop();
    }
}

/// Another value that is possible there; none where there is only one.
fn other(path: &[String], value: &Value) -> Option<Value> {
    let key = path.iter().rfind(|step| step.parse::<usize>().is_err()).map(String::as_str).unwrap_or_default();
    Some(match (key, value) {
        (_, Value::Bool(value)) => Value::from(!value),
        (_, Value::Number(number)) => Value::from(number.as_u64().unwrap_or_default() + 1),
        ("auth", value) if path.first().is_some_and(|section| section == "upstreams") => {
            if value == "token" { "passthrough" } else { "token" }.into()
        }
        ("algorithms", _) => "PS256".into(),
        ("anchor", _) => "2026-02-03".into(),
        ("assume", _) => "7KB".into(),
        ("by", _) => "host".into(),
        ("cost", _) => "response_bytes".into(),
        ("counters", _) => "memory".into(),
        ("on_counter_failure", _) => "allow".into(),
        ("store", _) => "sqlite".into(),
        ("quota", _) => "7KB/hour".into(),
        ("rate", _) => "7/h".into(),
        ("access", _) => "stdout".into(),
        ("address", _) => "127.0.0.1:7777".into(),
        (
            "attempt" | "base" | "connect" | "drain" | "idle" | "keepalive" | "leeway" | "max" | "max_age"
            | "retention" | "total" | "ttl" | "wait",
            _,
        ) => "7s".into(),
        ("budget" | "sample", _) => "7%".into(),
        ("conflict", value) => if value == "override" { "refuse" } else { "override" }.into(),
        ("error_text", _) => "all".into(),
        ("format", _) => "text".into(),
        ("formats", _) => "parquet".into(),
        ("header", _) => "x-other".into(),
        ("key", _) => std::fs::read_to_string("tests/config/cases/files/p256.public.pem").expect("the key").into(),
        ("level", _) => "debug".into(),
        ("max_body" | "max_headers" | "max_uri" | "memory", _) => "7KiB".into(),
        ("methods", _) => "PUT".into(),
        ("openapi", _) => "/another.json".into(),
        ("origins", _) => "https://other.example.com".into(),
        ("trusted_proxies", _) => "192.0.2.0/24".into(),
        ("upstream", value) => if value == "tinybird" { "clickhouse" } else { "tinybird" }.into(),
        ("type", value) => if value == "jwt" { "api_key" } else { "jwt" }.into(),
        ("jwks" | "url", _) => "https://other.example.com".into(),
        (_, Value::String(_)) => "another".into(),
        (_, Value::Array(_) | Value::Null | Value::Object(_)) => panic!("no value: {path:?}"),
    })
}

/// What may be written for one route and one upstream.
fn written() -> impl Strategy<Value = String> {
    let route = (prop::sample::select(vec!["a", "b"]), 0..3_u8, any::<bool>());
    (prop::collection::btree_map("/[a-c]", route, 1..4), 1..4_u8, 1..3_u8, any::<bool>()).prop_map(
        |(routes, attempts, threads, tinybird)| {
            let mut text = format!(
                "upstreams:\n  t: {{ url: https://t.example.com, token: t{attempts}, retry: {{ attempts: {attempts} }} }}\nserver: {{ threads: {threads} }}\n"
            );
            if tinybird {
                text.push_str("log: { level: warn, format: json }\n");
            }
            text.push_str("routes:\n");
            for (path, (pipe, fixed, formats)) in routes {
                let formats = if formats { ", formats: [json]" } else { "" };
                text.push_str(&format!("  {path}: {{ pipe: {pipe}{formats}, params: {{ default: {{ x: {fixed} }} }} }}\n"));
            }
            text
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn there_is_a_difference_exactly_where_two_are_not_equal(old in written(), new in written()) {
        let (old, new) = (config(&old), config(&new));
        let there = ConfigDiff::between(&old, &new);
        prop_assert_eq!(there.is_empty(), old == new);
        let back = ConfigDiff::between(&new, &old);
        let paths = |diff: &ConfigDiff| diff.changes.iter().map(|change| change.path.clone()).collect::<Vec<_>>();
        prop_assert_eq!(paths(&there), paths(&back));
        let mut kept = new.clone();
        keep_until_restart(&mut kept, &old);
        let left = ConfigDiff::between(&old, &kept);
        prop_assert_eq!(left.needs_restart().count(), 0);
        prop_assert_eq!(left.changes.len(), there.changes.len() - there.needs_restart().count());
    }
}
