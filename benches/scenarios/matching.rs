//! Finding the route for a path among many routes, and the site for a host among many hosts.
//!
//! Each figure is one `Snapshot::find`, or `Snapshot::site_of` and `find`, on a configuration that was read,
//! checked and compiled as the program does it; half of the routes are exact,
//! a quarter has captures and a quarter a tail.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::fmt::Write;
use std::hint::black_box;
use std::path::PathBuf;

use tollgate::clock::Clock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::snapshot::Snapshot;
use tollgate::state::State;

use super::measure::Measure;

/// Among so many routes, one number after the other.
pub(crate) fn matching(measure: &mut impl Measure, numbers: &[usize]) {
    for &routes in numbers {
        let snapshot = snapshot(&routes_of(routes));
        let site = snapshot.site_of("localhost").expect("every host is served");
        // From the middle, so that no order of search is favoured.
        let number = routes / 2 / 4 * 4;
        let capture = number + 2;
        let tail = number + 3;
        for (kind, path, expected) in [
            ("exact", format!("/team-{}/report-{number}", number % 10), true),
            ("capture", format!("/team-{}/{capture}/acme-corp/trend-2026.csv", capture % 10), true),
            ("tail", format!("/files-{tail}/a/b/c.csv"), true),
            ("miss", format!("/team-{}/report-{number}X", number % 10), false),
        ] {
            assert_eq!(snapshot.find(site, &path).is_some(), expected, "{path} among {routes}");
            measure.each(&format!("{kind}/{routes}"), || black_box(snapshot.find(site, black_box(&path))).is_some());
        }
    }
}

/// So many customers with a host each, who share a tenth as many routes.
pub(crate) fn hosts(measure: &mut impl Measure, hosts: usize) {
    let mut text = routes_of(hosts / 10);
    text.push_str("hosts:\n");
    for number in 0..hosts {
        let host = match number % 10 {
            0 => format!("\"*.group-{number}.example.com\": {{ tenant: \"{{host.1}}\" }}"),
            _ => format!("analytics.customer-{number}.example: {{ tenant: customer-{number} }}"),
        };
        writeln!(text, "  {host}").expect("a string takes all");
    }
    let snapshot = snapshot(&text);
    let middle = hosts / 2;
    let path = format!("/team-0/report-{}", middle / 10);
    for (kind, host, expected) in [
        ("exact", format!("analytics.customer-{}.example", middle + 1), true),
        ("wildcard", format!("acme.group-{middle}.example.com"), true),
        ("miss", format!("analytics.customer-{}.example", middle * 10 + 10), false),
    ] {
        let find =
            |host: &str| snapshot.site_of(host).is_some_and(|site| snapshot.find(site, black_box(&path)).is_some());
        assert_eq!(find(&host), expected, "{host}");
        measure.each(&format!("{kind}/{hosts}"), || black_box(find(black_box(&host))));
    }
}

fn routes_of(routes: usize) -> String {
    let mut text = String::from("upstreams: { one: { url: \"http://127.0.0.1:9\" } }\nroutes:\n");
    for number in 0..routes {
        let team = number % 10;
        let route = match number % 4 {
            0 | 1 => format!("/team-{team}/report-{number}: {{ pipe: report_{number} }}"),
            2 => format!("/team-{team}/{number}/{{tenant}}/trend-{{day}}.csv: {{ pipe: trend, formats: [csv] }}"),
            _ => format!("/files-{number}/*: {{ proxy: \"/files/{{path.rest}}\" }}"),
        };
        writeln!(text, "  {route}").expect("a string takes all");
    }
    text
}

fn snapshot(text: &str) -> Snapshot {
    let loaded = load_text("bench.yaml", text, PathBuf::new(), &Environment::of([])).expect("the file is right");
    Snapshot::compile(&loaded.config, &State::new(Clock::system()))
}
