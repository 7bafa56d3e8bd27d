//! How long it takes to know who calls: `scenarios/authentication.rs`, by criterion.

mod scenarios {
    pub(crate) mod authentication;
    pub(crate) mod by_time;
    pub(crate) mod measure;
}

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn signatures(criterion: &mut Criterion) {
    scenarios::authentication::signatures(&mut criterion.benchmark_group("signatures"));
}

fn entrance(criterion: &mut Criterion) {
    scenarios::authentication::entrance(&mut criterion.benchmark_group("entrance"));
}

fn known_callers(criterion: &mut Criterion) {
    scenarios::authentication::known_callers(&mut criterion.benchmark_group("known callers"));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(800));
    targets = signatures, entrance, known_callers
}
criterion_main!(benches);
