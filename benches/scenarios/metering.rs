//! What it costs to know what a query cost: a mebibyte of an answer in pieces as they come from a socket, its end kept
//! and read; and to compress it, which the upstream does otherwise. And what a line of the access log costs.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use smallvec::SmallVec;
use tollgate::config::section::log::Format;
use tollgate::exchange::outcome::Outcome;
use tollgate::exchange::statistics::Statistics;
use tollgate::pipeline::compress::Gzip;
use tollgate::pipeline::statistics::Tail;
use tollgate::telemetry::access_line::append;

use super::measure::Measure;

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

/// Reading what an answer cost, and compressing it.
pub(crate) fn metering(measure: &mut impl Measure) {
    for (name, length) in [("2KiB", 2 << 10), ("1MiB", 1 << 20)] {
        let answer = Bytes::from(answer(length));
        measure.bytes(answer.len());
        for piece in [1 << 10, 16 << 10, 64 << 10] {
            if piece > length && piece != 64 << 10 {
                continue;
            }
            measure.each(&format!("statistics/{name}/{piece}"), || {
                let mut tail = Tail::default();
                for begin in (0..answer.len()).step_by(piece) {
                    tail.push_piece(&black_box(&answer).slice(begin..answer.len().min(begin + piece)));
                }
                assert_eq!(tail.read().rows_read, Some(100_000));
            });
            measure.each(&format!("gzip/{name}/{piece}"), || {
                let (mut gzip, mut length) = (Gzip::new(), 0);
                for piece in black_box(&answer).chunks(piece) {
                    length += gzip.piece(piece).expect("memory takes it").len();
                }
                length + gzip.last(&[]).expect("memory takes it").len()
            });
        }
    }
}

/// A line of the access log.
pub(crate) fn logging(measure: &mut impl Measure) {
    let outcome = Outcome {
        at: UNIX_EPOCH + Duration::from_millis(1_795_367_178_123),
        request_id: "5f8c2a0c2e4d4b1f9a7700112233abcd".into(),
        client: [192, 0, 2, 7].into(),
        caller: Some(("partners".into(), "k7GqPz3mXw9A".into())),
        tenant: "acme".parse().ok(),
        method: http::Method::GET,
        host: "api.example.com".to_owned(),
        path: "/top-pages".to_owned(),
        route: Some("/top-pages".into()),
        upstream: Some("tinybird".into()),
        status: 200,
        refusal: None,
        limited_by: None,
        would_refuse: SmallVec::new(),
        fault: None,
        attempts: 1,
        request_bytes: 0,
        response_bytes: 1_351,
        unpacked_bytes: None,
        statistics: Statistics {
            rows_read: Some(48_213),
            bytes_read: Some(1_928_520),
            elapsed: Some(Duration::from_micros(4_181)),
        },
        elapsed: Duration::from_micros(12_345),
        upstream_elapsed: Duration::from_micros(11_000),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
    };
    for (name, format) in [("json", Format::Json), ("text", Format::Text)] {
        let mut text = String::new();
        measure.each(name, || {
            text.clear();
            append(&mut text, black_box(&outcome), format);
            text.len()
        });
    }
}
