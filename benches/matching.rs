//! How long it takes to find a route and a host: `scenarios/matching.rs`, by criterion.

mod scenarios {
    pub(crate) mod by_time;
    pub(crate) mod matching;
    #[expect(dead_code, reason = "other groups measure in other ways, too")]
    pub(crate) mod measure;
}

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn matching(criterion: &mut Criterion) {
    scenarios::matching::matching(&mut criterion.benchmark_group("matching"), &[10, 1_000, 10_000]);
}

fn hosts(criterion: &mut Criterion) {
    scenarios::matching::hosts(&mut criterion.benchmark_group("hosts"), 10_000);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(800));
    targets = matching, hosts
}
criterion_main!(benches);
