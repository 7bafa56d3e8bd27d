//! Alerts and recorded expressions: promtool finds no fault, each alert fires and is quiet where it should, and everything
//! that is named exists.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use tollgate::telemetry::names;

use crate::expression::{Named, named};
use crate::families::{ADDED, known};
use crate::files::{DASHBOARDS, alerts, dashboard, project, queries, read, recorded, yaml};

/// Runs promtool on files of the project.
fn promtool(arguments: &[&str]) -> String {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(project("deploy/prometheus"))
        .stdin(Stdio::null())
        .output()
        .expect("promtool is installed: run .ci/setup stack");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}:\n{text}");
    text
}

#[test]
fn promtool_finds_no_fault_in_the_configuration() {
    // Without the token, which the stack makes when it starts.
    promtool(&["check", "config", "--syntax-only", "prometheus.yml"]);
    promtool(&["check", "rules", "rules/recording.yml", "rules/alerts.yml"]);
}

#[test]
fn every_alert_fires_and_is_quiet_where_it_should() {
    promtool(&["test", "rules", "tests.yml"]);
    // That each has both cases, promtool does not ask.
    let cases = yaml("deploy/prometheus/tests.yml");
    let cases = cases["tests"].as_array().expect("tests");
    for alert in alerts() {
        let name = alert.name;
        let case = cases.iter().find(|case| case["name"] == name.as_str());
        let case = case.unwrap_or_else(|| panic!("deploy/prometheus/tests.yml has no case called {name}"));
        let expected = case["promql_expr_test"].as_array().expect("expectations");
        let samples = |with: bool| {
            let asks = |text: &str| text.starts_with(&format!("ALERTS{{alertname=\"{name}\""));
            expected.iter().any(|expected| {
                let count = expected["exp_samples"].as_array().map_or(0, Vec::len);
                asks(expected["expr"].as_str().expect("an expression")) && (count > 0) == with
            })
        };
        assert!(samples(true), "{name} is never expected to fire");
        assert!(samples(false), "{name} is never expected to be quiet");
    }
}

#[test]
fn every_alert_says_what_to_do_and_where_more_of_it_stands() {
    let page = read("docs/observability.md");
    for alert in alerts() {
        let text = |key: &str| alert.annotations[key].as_str().unwrap_or_default().to_owned();
        let name = &alert.name;
        assert!(["critical", "warning"].contains(&alert.severity.as_str()), "{name}: {}", alert.severity);
        assert!(!text("summary").is_empty() && text("description").len() > 60, "{name} says too little");
        assert_eq!(text("runbook"), format!("docs/observability.md#{}", name.to_lowercase()));
        assert!(page.contains(&format!("\n### {name}\n")), "docs/observability.md has no chapter on {name}");
    }
    let names: BTreeSet<String> = alerts().into_iter().map(|alert| alert.name).collect();
    for chapter in page.lines().filter_map(|line| line.strip_prefix("### Tollgate")) {
        assert!(names.contains(&format!("Tollgate{chapter}")), "there is no alert Tollgate{chapter} any more");
    }
}

#[test]
fn every_series_and_label_that_is_named_exists() {
    let mut known = known();
    for rule in recorded() {
        // level:metric:operation, and the level names the labels.
        let level = rule.name.split(':').next().expect("a level").replace("job_", "job,");
        known.insert(rule.name, level.split(',').map(str::to_owned).collect());
    }
    let of_rules = recorded().into_iter().chain(alerts()).map(|rule| (rule.name, rule.expression));
    let of_panels = DASHBOARDS.iter().flat_map(|name| queries(name));
    let of_panels = of_panels.map(|query| (query.panel, query.expression));
    let mut used = BTreeSet::new();
    for (place, expression) in of_rules.chain(of_panels) {
        let Named { series, labels } = named(&expression);
        assert!(!series.is_empty(), "{place}: {expression}");
        let mut possible: BTreeSet<&str> = ADDED.into();
        for name in &series {
            let own = known.get(name).unwrap_or_else(|| panic!("{place}: there is no series {name}"));
            possible.extend(own.iter().map(String::as_str));
        }
        for label in &labels {
            assert!(possible.contains(label.as_str()), "{place}: {series:?} have no label {label}");
        }
        used.extend(series);
    }
    // And nothing that the gateway counts is seen by nobody.
    for family in names::ALL {
        assert!(used.iter().any(|name| name.starts_with(family.name)), "no panel and no rule shows {}", family.name);
    }
}

#[test]
fn dashboards_are_whole() {
    let mut ids = BTreeSet::new();
    for name in DASHBOARDS {
        let dashboard = dashboard(name);
        assert_eq!(dashboard["uid"], format!("tollgate-{name}"));
        let variables: Vec<&str> = dashboard["templating"]["list"]
            .as_array()
            .expect("variables")
            .iter()
            .filter_map(|v| v["name"].as_str())
            .collect();
        for query in queries(name) {
            for variable in query.expression.split('$').skip(1) {
                let variable: String = variable.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let is_known =
                    variables.contains(&variable.as_str()) || ["__rate_interval", "__range"].contains(&&*variable);
                assert!(is_known, "{name}: {} uses ${variable}, which nobody sets", query.panel);
            }
        }
        let panels = dashboard["panels"].as_array().expect("panels");
        for panel in panels {
            assert!(ids.insert((name, panel["id"].as_u64())), "{name}: two panels have the number {}", panel["id"]);
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}: {}", panel["title"]);
        }
    }
    // What is provisioned is what is in the folder.
    let folder = std::fs::read_dir(project("deploy/grafana/dashboards")).expect("a folder");
    assert_eq!(folder.count(), DASHBOARDS.len());
}
