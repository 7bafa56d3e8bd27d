//! From a file to what runs, with many routes: load, compile, compare, and a file with mistakes.
//!
//! The goals (docs/benchmarks.md): a check and a reload below 500 ms each. A
//! reload is a load, a comparison and a compilation.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::fmt::Write;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use tollgate::clock::Clock;
use tollgate::config::diff::ConfigDiff;
use tollgate::config::interpolate::Environment;
use tollgate::config::issue::Issues;
use tollgate::config::{Config, Loaded, load_text};
use tollgate::snapshot::Snapshot;
use tollgate::state::State;

use super::measure::Measure;

/// With so many routes.
pub(crate) fn compile(measure: &mut impl Measure, routes: usize) {
    let short = text(routes, |number| format!("  /reports/{number}: {{ pipe: report_{number} }}"));
    let long = text(routes, |number| long(number, "limit"));
    let mistaken = text(routes, long_with_mistakes);
    let crossing = text(routes, |number| match number % 2 {
        0 => format!("  /{{a}}/x{number}: {{ pipe: report_{number} }}"),
        _ => format!("  /x{}/{{b}}: {{ pipe: report_{number} }}", number - 1),
    });
    for (kind, text) in [("short", &short), ("long", &long), ("crossing", &crossing)] {
        measure.each(&format!("load, {kind} routes"), || black_box(read(text).expect("the file is right")));
    }
    measure.each("load and report, 90 mistakes", || {
        black_box(read(&mistaken).expect_err("the file is wrong").to_string())
    });

    let before = config(&long);
    let after = config(&text(routes, long_changed));
    measure.each("compare, half of the routes changed", || black_box(ConfigDiff::between(&before, &after)));
    let (state, config) = (State::new(Clock::system()), Arc::new(after));
    let running = Snapshot::compile(&before, &state);
    measure.each("compile", || black_box(running.compile_next(Arc::clone(&config), &state)));
}

fn long(number: usize, allowed: &str) -> String {
    format!(
        "  /reports/{number}:\n    pipe: report_{number}\n    formats: [json, csv]\n    params:\n      \
         allow: [start_date, end_date, {allowed}]\n      fixed: {{ company: c{number} }}\n      default: {{ limit: 100 }}\n    \
         cors: {{ origins: [\"https://app.example.com\"], max_age: 10m }}"
    )
}

fn long_changed(number: usize) -> String {
    long(number, if number.is_multiple_of(2) { "limit" } else { "offset" })
}

fn long_with_mistakes(number: usize) -> String {
    let route = long(number, "limit");
    match (number % 111, number % 3) {
        (0, 0) => route.replace("pipe:", "pip:"),
        (0, 1) => route.replace("[json, csv]", "[jsn]"),
        (0, _) => route.replace("10m", "10x"),
        _ => route,
    }
}

fn text(routes: usize, route: impl Fn(usize) -> String) -> String {
    let mut text = String::from("upstreams: { one: { url: \"http://127.0.0.1:9\" } }\nroutes:\n");
    (0..routes).for_each(|number| writeln!(text, "{}", route(number)).expect("a string takes all"));
    text
}

fn read(text: &str) -> Result<Loaded, Issues> {
    load_text("bench.yaml", text, PathBuf::new(), &Environment::of([]))
}

fn config(text: &str) -> Config {
    read(text).expect("the file is right").config
}
