//! Scenarios by time: a group of criterion measures.

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Throughput};

use super::measure::Measure;

impl Measure for BenchmarkGroup<'_, WallTime> {
    fn bytes(&mut self, count: usize) {
        self.throughput(Throughput::Bytes(count as u64));
    }

    fn each<T>(&mut self, name: &str, mut routine: impl FnMut() -> T) {
        self.bench_function(id(name), |bencher| bencher.iter(&mut routine));
    }

    fn prepared<P, T>(&mut self, name: &str, mut prepare: impl FnMut() -> P, mut routine: impl FnMut(P) -> T) {
        self.bench_function(id(name), |bencher| {
            bencher.iter_batched(&mut prepare, &mut routine, BatchSize::SmallInput);
        });
    }
}

/// `exact/10` is the function `exact` with the parameter `10`: criterion keeps what it measured before in folders of these names.
fn id(name: &str) -> BenchmarkId {
    match name.rsplit_once('/') {
        Some((function, parameter)) => BenchmarkId::new(function, parameter),
        None => BenchmarkId::from_parameter(name),
    }
}
