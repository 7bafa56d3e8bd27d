//! How long it takes to know what a query cost, and to log it: `scenarios/metering.rs`, by criterion.

mod scenarios {
    pub(crate) mod by_time;
    #[expect(dead_code, reason = "other groups measure in other ways, too")]
    pub(crate) mod measure;
    pub(crate) mod metering;
}

use criterion::{Criterion, criterion_group, criterion_main};

fn metering(criterion: &mut Criterion) {
    scenarios::metering::metering(&mut criterion.benchmark_group("metering"));
}

fn logging(criterion: &mut Criterion) {
    scenarios::metering::logging(&mut criterion.benchmark_group("logging"));
}

criterion_group!(benches, metering, logging);
criterion_main!(benches);
