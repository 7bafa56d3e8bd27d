//! A real Prometheus, with the rules of the stack, scrapes a real gateway while callers are answered, refused and retried.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tollgate::telemetry::names::{self, Family};

use crate::expression::named;
use crate::families::is_absent;
use crate::files::{DASHBOARDS, queries, recorded};
use crate::support::http;
use crate::support::prometheus::Prometheus;
use crate::support::stack::{ADMIN_TOKEN, Stack};

/// How long series may take to appear: a rate needs two scrapes, and some gauges are set every few seconds.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_real_prometheus_sees_what_a_real_gateway_does() {
    let mut stack = Stack::start().await;
    let traffic = stack.traffic();
    // When the last reload was is there from the first on.
    stack.gateway.signal("HUP");
    let admin = stack.admin();
    let prometheus = Prometheus::start(admin, ADMIN_TOKEN);
    until("the gateway is up", || {
        let samples = prometheus.query("up{job=\"tollgate\"} == 1").unwrap_or_default();
        if samples.len() == 1 { Ok(()) } else { Err(prometheus.ask("targets").to_string()) }
    });
    every_query_has_an_answer(&prometheus);
    every_rule_is_evaluated(&prometheus);
    every_family_is_what_the_table_says(admin);
    promtool_finds_no_fault(admin);
    drop(traffic);
    assert_eq!(last_error(&prometheus), "", "a scrape failed");
}

/// Queries of dashboards and series that are recorded: all that this run can feed return something.
fn every_query_has_an_answer(prometheus: &Prometheus) {
    let panels = DASHBOARDS.iter().flat_map(|name| queries(name)).map(|query| (query.panel, query.expression));
    let series = recorded().into_iter().map(|rule| (format!("what {} is made of", rule.name), rule.name));
    let made_of: BTreeMap<String, String> = recorded().into_iter().map(|rule| (rule.name, rule.expression)).collect();
    let (mut left, mut expected) = (Vec::new(), 0);
    for (place, expression) in panels.chain(series) {
        let filled = filled(&expression);
        let answer = prometheus.query(&filled);
        assert!(answer.is_ok(), "{place}: {filled}: {answer:?}");
        expected += 1;
        if !is_fed(&expression, &made_of) {
            continue;
        }
        left.push((place, filled));
    }
    assert!(left.len() * 2 > expected, "most of {expected} queries are left out");
    until("every query has an answer", || {
        left.retain(|(_, expression)| prometheus.query(expression).unwrap_or_default().is_empty());
        if left.is_empty() { Ok(()) } else { Err(format!("without one: {left:#?}")) }
    });
}

/// Whether this run feeds all that an expression is made of.
fn is_fed(expression: &str, made_of: &BTreeMap<String, String>) -> bool {
    named(expression).series.iter().all(|series| match made_of.get(series) {
        Some(inner) => is_fed(inner, made_of),
        None => !is_absent(series),
    })
}

/// The expression as Grafana asks it, everything chosen.
fn filled(expression: &str) -> String {
    let known = expression.replace("$__rate_interval", "1m").replace("$__range", "1h");
    let variables = ["instance", "tenant", "route", "upstream", "limit"];
    variables.iter().fold(known, |text, name| text.replace(&format!("${name}"), ".*"))
}

fn every_rule_is_evaluated(prometheus: &Prometheus) {
    until("every rule is evaluated", || {
        let rules = prometheus.ask("rules");
        let groups = rules["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules: Vec<Value> =
            groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect();
        let bad: Vec<&Value> = rules.iter().filter(|rule| rule["health"] != "ok").collect();
        if bad.is_empty() && rules.len() > 30 { Ok(()) } else { Err(format!("{bad:#?} of {}", rules.len())) }
    });
}

/// Every family of the table is there, of its kind and with its labels, and no other.
fn every_family_is_what_the_table_says(admin: SocketAddr) {
    let text = scrape(admin, "/metrics");
    let kinds: BTreeMap<&str, &str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for Family { name, kind, labels, .. } in names::ALL.iter().filter(|family| !is_absent(family.name)) {
        assert_eq!(kinds.get(name), Some(&kind.word()), "{name}");
        let wanted: BTreeSet<&str> = labels.iter().copied().collect();
        let mut samples = text.lines().filter(|line| family_of(line, &kinds) == Some(name)).peekable();
        assert!(samples.peek().is_some(), "{name} has no series");
        for sample in samples {
            assert_eq!(labels_of(sample), wanted, "{sample}");
        }
    }
    let known: BTreeSet<&str> =
        names::ALL.iter().map(|family| family.name).chain(names::PROCESS.iter().map(|(name, ..)| *name)).collect();
    let found: BTreeSet<&str> = kinds.keys().copied().collect();
    assert!(found.is_subset(&known), "not in src/telemetry/names.rs: {:?}", found.difference(&known));
}

/// The family that a line is a sample of.
fn family_of<'a>(line: &'a str, kinds: &BTreeMap<&str, &str>) -> Option<&'a str> {
    let name = line.split(['{', ' ']).next().filter(|name| !name.starts_with('#'))?;
    let ends = ["_bucket", "_count", "_sum"];
    let base = ends.iter().find_map(|end| name.strip_suffix(end)).filter(|base| kinds.get(base) == Some(&"histogram"));
    Some(base.unwrap_or(name))
}

/// Names of labels; values have no commas and no quotes in this run.
fn labels_of(sample: &str) -> BTreeSet<&str> {
    let inside = sample.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(inside, _)| inside);
    let names = inside.split("\",").filter_map(|pair| pair.split_once('=')).map(|(name, _)| name);
    names.filter(|name| *name != "le").collect()
}

/// `promtool check metrics` has nothing to say, also of how metrics should be named.
fn promtool_finds_no_fault(admin: SocketAddr) {
    let has_usage = names::ALL.iter().any(|family| family.name == "tollgate_tenant_requests_total");
    if !has_usage {
        // Once the ledger feeds families of tenants, their page is required here without further ado.
        assert_eq!(http::get(admin, "/metrics/usage").0, 404, "the page is there, and its families are in no table");
    }
    let pages: &[&str] = if has_usage { &["/metrics", "/metrics/usage"] } else { &["/metrics"] };
    for page in pages {
        let text = scrape(admin, page);
        let mut child = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool is installed: run .ci/setup stack");
        child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("our own child");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success() && said.is_empty(), "{page}: {}", String::from_utf8_lossy(&said));
    }
}

fn scrape(admin: SocketAddr, page: &str) -> String {
    let (status, text) = http::get(admin, page);
    assert_eq!(status, 200, "{page}: {text}");
    text
}

fn last_error(prometheus: &Prometheus) -> String {
    let targets = prometheus.ask("targets");
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!(target["health"], "up", "{target}");
    target["lastError"].as_str().unwrap_or_default().to_owned()
}

/// Waits until `holds`; panics with what it said last.
fn until(what: &str, mut holds: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + PATIENCE;
    while let Err(why) = holds() {
        assert!(Instant::now() < end, "waited {PATIENCE:?} until {what}: {why}");
        std::thread::sleep(LOOK_EVERY);
    }
}
