//! The files of the stack, read.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Dashboards, in the order of their page.
pub(crate) const DASHBOARDS: [&str; 4] = ["overview", "tenants", "upstreams", "limits"];

/// A file of the project.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(project(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One query of a panel.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) panel: String,
    pub(crate) expression: String,
}

/// A dashboard's file.
pub(crate) fn dashboard(name: &str) -> Value {
    let text = read(&format!("deploy/grafana/dashboards/{name}.json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every query of a dashboard, in order.
pub(crate) fn queries(name: &str) -> Vec<Query> {
    let dashboard = dashboard(name);
    let panels = dashboard["panels"].as_array().expect("panels");
    let of_panel = |panel: &Value| -> Vec<Query> {
        let title = panel["title"].as_str().expect("a title").to_owned();
        let targets = panel["targets"].as_array().expect("targets").iter();
        let expression = |target: &Value| target["expr"].as_str().expect("a query").to_owned();
        targets.map(|target| Query { panel: title.clone(), expression: expression(target) }).collect()
    };
    panels.iter().flat_map(of_panel).collect()
}

/// An alert or a recorded expression.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The name of the alert, or of the series that is recorded.
    pub(crate) name: String,
    /// On one line.
    pub(crate) expression: String,
    /// How long it must hold, as written.
    pub(crate) holds: String,
    pub(crate) severity: String,
    pub(crate) annotations: Value,
}

pub(crate) fn alerts() -> Vec<Rule> {
    rules("alerts", "alert")
}

pub(crate) fn recorded() -> Vec<Rule> {
    rules("recording", "record")
}

fn rules(file: &str, kind: &str) -> Vec<Rule> {
    let value = yaml(&format!("deploy/prometheus/rules/{file}.yml"));
    let groups = value["groups"].as_array().expect("groups");
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules").clone());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rule = |rule: Value| Rule {
        name: text(&rule[kind]),
        expression: text(&rule["expr"]).split_whitespace().collect::<Vec<_>>().join(" "),
        holds: text(&rule["for"]),
        severity: text(&rule["labels"]["severity"]),
        annotations: rule["annotations"].clone(),
    };
    rules.map(rule).collect()
}

/// A YAML file as JSON has it.
pub(crate) fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
