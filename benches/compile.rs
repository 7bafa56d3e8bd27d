//! How long it takes from a file of 10 000 routes to what runs: `scenarios/compile.rs`, by criterion.

mod scenarios {
    pub(crate) mod by_time;
    pub(crate) mod compile;
    #[expect(dead_code, reason = "other groups measure in other ways, too")]
    pub(crate) mod measure;
}

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn compile(criterion: &mut Criterion) {
    scenarios::compile::compile(&mut criterion.benchmark_group("compile"), 10_000);
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
