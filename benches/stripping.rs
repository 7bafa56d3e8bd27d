//! How long it takes to take members out of an answer: `scenarios/stripping.rs`, by criterion.

mod scenarios {
    pub(crate) mod by_time;
    #[expect(dead_code, reason = "other groups measure in other ways, too")]
    pub(crate) mod measure;
    pub(crate) mod stripping;
}

use criterion::{Criterion, criterion_group, criterion_main};

fn stripping(criterion: &mut Criterion) {
    scenarios::stripping::stripping(&mut criterion.benchmark_group("stripping"));
}

criterion_group!(benches, stripping);
criterion_main!(benches);
