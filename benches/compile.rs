//! From a file to what runs, with 10 000 routes: load, compile, compare, and a file with mistakes.
//!
//! The goals (docs/benchmarks.md): a check and a reload below 500 ms each. A
//! reload is a load, a comparison and a compilation.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::fmt::Write;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use tollgate::clock::Clock;
use tollgate::config::diff::ConfigDiff;
use tollgate::config::interpolate::Environment;
use tollgate::config::issue::Issues;
use tollgate::config::{Config, Loaded, load_text};
use tollgate::snapshot::Snapshot;
use tollgate::state::State;

const ROUTES: usize = 10_000;

fn compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    let short = text(|number| format!("  /reports/{number}: {{ pipe: report_{number} }}"));
    let long = text(|number| long(number, "limit"));
    let mistaken = text(long_with_mistakes);
    let crossing = text(|number| match number % 2 {
        0 => format!("  /{{a}}/x{number}: {{ pipe: report_{number} }}"),
        _ => format!("  /x{}/{{b}}: {{ pipe: report_{number} }}", number - 1),
    });
    for (kind, text) in [("short", &short), ("long", &long), ("crossing", &crossing)] {
        group.bench_function(format!("load, {kind} routes"), |bencher| {
            bencher.iter(|| black_box(read(text).expect("the file is right")));
        });
    }
    group.bench_function("load and report, 90 mistakes", |bencher| {
        bencher.iter(|| black_box(read(&mistaken).expect_err("the file is wrong").to_string()));
    });

    let before = config(&long);
    let after = config(&text(long_changed));
    group.bench_function("compare, half of the routes changed", |bencher| {
        bencher.iter(|| black_box(ConfigDiff::between(&before, &after)));
    });
    let (state, config) = (State::new(Clock::system()), Arc::new(after));
    let running = Snapshot::compile(&before, &state);
    group.bench_function("compile", |bencher| {
        bencher.iter(|| black_box(running.compile_next(Arc::clone(&config), &state)));
    });
    group.finish();
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

fn text(route: impl Fn(usize) -> String) -> String {
    let mut text = String::from("upstreams: { one: { url: \"http://127.0.0.1:9\" } }\nroutes:\n");
    (0..ROUTES).for_each(|number| writeln!(text, "{}", route(number)).expect("a string takes all"));
    text
}

fn read(text: &str) -> Result<Loaded, Issues> {
    load_text("bench.yaml", text, PathBuf::new(), &Environment::of([]))
}

fn config(text: &str) -> Config {
    read(text).expect("the file is right").config
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(4));
    targets = compile
}
criterion_main!(benches);
