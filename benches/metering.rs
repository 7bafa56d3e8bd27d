//! What it costs to know what a query cost: a mebibyte of an answer in pieces as they come from a socket, its end kept
//! and read; and to compress it, which the upstream does otherwise.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tollgate::pipeline::compress::Gzip;
use tollgate::pipeline::statistics::Tail;

/// An answer of about this many bytes.
fn answer(length: usize) -> String {
    let mut rows = String::new();
    for number in 0_u64.. {
        if rows.len() >= length {
            break;
        }
        let comma = if rows.is_empty() { "" } else { ",\n" };
        let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        rows.push_str(&format!(
            "{comma}\t\t{{\n\t\t\t\"product\": \"product-{}\",\n\t\t\t\"visits\": {hash},\n\t\t\t\"share\": 0.{}\n\t\t}}",
            hash % 1000,
            hash % 99_991,
        ));
    }
    format!(
        "{{\n\t\"data\":\n\t[\n{rows}\n\t],\n\n\t\"rows\": 3,\n\n\t\"statistics\":\n\t{{\n\t\t\"elapsed\": 0.0125,\n\t\t\
         \"rows_read\": 100000,\n\t\t\"bytes_read\": 2400000\n\t}}\n}}\n"
    )
}

fn metering(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("metering");
    for (name, length) in [("2KiB", 2 << 10), ("1MiB", 1 << 20)] {
        let answer = answer(length);
        group.throughput(Throughput::Bytes(answer.len() as u64));
        for piece in [1 << 10, 16 << 10, 64 << 10] {
            if piece > length && piece != 64 << 10 {
                continue;
            }
            group.bench_function(BenchmarkId::new(format!("statistics/{name}"), piece), |bencher| {
                bencher.iter(|| {
                    let mut tail = Tail::default();
                    for piece in black_box(&answer).as_bytes().chunks(piece) {
                        tail.push(piece);
                    }
                    assert_eq!(tail.read().rows_read, Some(100_000));
                });
            });
            group.bench_function(BenchmarkId::new(format!("gzip/{name}"), piece), |bencher| {
                bencher.iter(|| {
                    let (mut gzip, mut length) = (Gzip::new(), 0);
                    for piece in black_box(&answer).as_bytes().chunks(piece) {
                        length += gzip.piece(piece).expect("memory takes it").len();
                    }
                    length + gzip.last(&[]).expect("memory takes it").len()
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, metering);
criterion_main!(benches);
