//! What it costs to take `statistics` and `meta` out of a mebibyte of an answer, in pieces as they come from a socket.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;

use bytes::Bytes;
use tollgate::pipeline::scrub::{Names, Strip};

use super::measure::Measure;

/// An answer of about this many bytes, as ClickHouse writes it, or without white space.
fn answer(length: usize, blank: &str) -> String {
    let mut rows = String::new();
    for number in 0_u64.. {
        if rows.len() >= length {
            break;
        }
        let comma = if rows.is_empty() { "" } else { "," };
        let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        rows.push_str(&format!(
            "{comma}{blank}{{{blank}\"product\":\"product-{}\",{blank}\"visits\":{hash},{blank}\"share\":0.{}{blank}}}",
            hash % 1000,
            hash % 99_991,
        ));
    }
    format!(
        "{{{blank}\"meta\":[{{\"name\":\"visits\",\"type\":\"UInt64\"}}],{blank}\"data\":[{rows}],{blank}\"rows\":3,{blank}\"statistics\":\
         {{\"elapsed\":0.0125,\"rows_read\":100000,\"bytes_read\":2400000}}}}"
    )
}

/// From answers of several lengths, in pieces of several lengths.
pub(crate) fn stripping(measure: &mut impl Measure) {
    let keys = ["statistics", "meta"].map(|key| key.parse().expect("a name"));
    let names = Names::compile(&keys);
    for (name, length, blank) in [("2KiB", 2 << 10, "\n\t\t"), ("1MiB", 1 << 20, "\n\t\t"), ("1MiB-dense", 1 << 20, "")]
    {
        let answer = Bytes::from(answer(length, blank));
        measure.bytes(answer.len());
        for piece in [1 << 10, 16 << 10, 64 << 10] {
            if piece > length && piece != 64 << 10 {
                continue;
            }
            let pieces: Vec<Bytes> = (0..answer.len())
                .step_by(piece)
                .map(|start| answer.slice(start..(start + piece).min(answer.len())))
                .collect();
            measure.each(&format!("{name}/{piece}"), || {
                let mut strip = Strip::new(names.clone());
                let left: usize = black_box(&pieces).iter().map(|piece| strip.piece(piece).len()).sum();
                left + strip.end().len()
            });
        }
    }
}
