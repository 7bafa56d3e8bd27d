//! How long it takes to decide whether a request keeps to its limits: `scenarios/limits.rs`, by criterion.
//!
//! With two threads, which only a clock can judge, a figure is what one decision takes while both decide all the time.

mod scenarios {
    pub(crate) mod by_time;
    pub(crate) mod limits;
    #[expect(dead_code, reason = "other groups measure in other ways, too")]
    pub(crate) mod measure;
}

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use scenarios::limits::{is_let_in, rate};
use tollgate::clock::Clock;
use tollgate::state::counters::Counters;

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("limits");
    scenarios::limits::decisions(&mut group);
    let counters = Counters::new(Clock::system());
    for (what, names) in [("two threads on one tenant", ["acme"; 2]), ("two threads on two tenants", ["acme", "beta"])]
    {
        group.bench_function(what, |bencher| bencher.iter_custom(|times| at_once(&counters, names, times)));
    }
    group.finish();
}

#[expect(clippy::disallowed_methods, reason = "a bench measures by the system's clock")]
fn at_once(counters: &Counters, names: [&str; 2], times: u64) -> Duration {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for name in names {
            scope.spawn(move || {
                let asks = [rate("per_tenant", name)];
                for _ in 0..times {
                    black_box(is_let_in(counters, &asks));
                }
            });
        }
    });
    began.elapsed()
}

criterion_group!(limits, decisions);
criterion_main!(limits);
