//! docs/observability.md shows every query, alert and recorded expression: its tables are written from the files.

use std::fmt::Write as _;

use crate::files::{DASHBOARDS, alerts, dashboard, project, queries, read, recorded};

const PAGE: &str = "docs/observability.md";
const END: &str = "\n<!-- End of what a test writes. -->\n";

#[test]
fn the_page_shows_every_query() {
    let mut text = String::new();
    for name in DASHBOARDS {
        let title = dashboard(name)["title"].as_str().expect("a title").replace("Tollgate: ", "Panels: ");
        let _ = write!(text, "### {title}\n\n| Panel | Query |\n| --- | --- |\n");
        for query in queries(name) {
            let _ = writeln!(text, "| {} | {} |", query.panel, code(&query.expression));
        }
        text.push('\n');
    }
    assert_written("deploy/grafana/dashboards", text.trim_end());
}

#[test]
fn the_page_shows_every_alert() {
    let mut text = "| Alert | Severity | For | Fires when |\n| --- | --- | --- | --- |\n".to_owned();
    for alert in alerts() {
        let (name, anchor) = (&alert.name, alert.name.to_lowercase());
        let holds = if alert.holds.is_empty() { "at once" } else { &alert.holds };
        let _ = writeln!(text, "| [{name}](#{anchor}) | {} | {holds} | {} |", alert.severity, code(&alert.expression));
    }
    assert_written("deploy/prometheus/rules/alerts.yml", text.trim_end());
}

#[test]
fn the_page_shows_every_recorded_expression() {
    let mut text = "| Series | Expression |\n| --- | --- |\n".to_owned();
    for rule in recorded() {
        let _ = writeln!(text, "| `{}` | {} |", rule.name, code(&rule.expression));
    }
    assert_written("deploy/prometheus/rules/recording.yml", text.trim_end());
}

/// A cell of a table ends at a bar, also in code.
fn code(expression: &str) -> String {
    format!("`{}`", expression.replace('|', "\\|"))
}

/// What stands behind the mark that names the source is `wanted`.
fn assert_written(source: &str, wanted: &str) {
    let start =
        format!("<!-- Written by a test, from {source}: UPDATE_EXPECT=1 cargo test --test observability -->\n\n");
    let _one_at_a_time = WRITING.lock();
    let text = read(PAGE);
    let (before, rest) = text.split_once(&start).unwrap_or_else(|| panic!("{PAGE} has lost its mark: {start}"));
    let (found, behind) = rest.split_at(rest.find(END).unwrap_or_else(|| panic!("{PAGE}: no {END:?}")));
    let wanted = format!("{wanted}\n");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(project(PAGE), format!("{before}{start}{wanted}{behind}")).expect("the page");
        return;
    }
    assert!(found == wanted, "{PAGE} is not what {source} says: UPDATE_EXPECT=1 cargo test --test observability");
}

/// Tests run side by side, and the page is one file.
static WRITING: std::sync::Mutex<()> = std::sync::Mutex::new(());
