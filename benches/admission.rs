//! How long it takes from a matched route to the head that goes upstream: `scenarios/admission.rs`, by criterion.

mod scenarios {
    pub(crate) mod admission;
    pub(crate) mod by_time;
    #[expect(dead_code, reason = "other groups measure in other ways, too")]
    pub(crate) mod measure;
}

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn admission(criterion: &mut Criterion) {
    scenarios::admission::admission(&mut criterion.benchmark_group("admission"));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(800));
    targets = admission
}
criterion_main!(benches);
