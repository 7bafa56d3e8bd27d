use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::tail::{KEPT, MAX_TRIES};
use super::{Body, End, Meter, Reach, Reading, Tail, Verdict, verdict};
use crate::config::section::limits::Limit;
use crate::exchange::statistics::Statistics;
use crate::state::counters::Costs;

const SOME: Statistics =
    Statistics { rows_read: Some(12), bytes_read: Some(345), elapsed: Some(Duration::from_millis(6)) };
const NOTHING: Statistics = Statistics { rows_read: None, bytes_read: None, elapsed: None };

fn read(pieces: &[&[u8]]) -> Statistics {
    let mut tail = Tail::default();
    for piece in pieces {
        tail.push(piece);
    }
    let mut of_pieces = Tail::default();
    for piece in pieces {
        of_pieces.push_piece(&Bytes::copy_from_slice(piece));
    }
    assert_eq!(of_pieces.read(), tail.read(), "the first piece may be the only one");
    tail.read()
}

fn said(text: &str) -> Statistics {
    read(&[text.as_bytes()])
}

/// A document as ClickHouse writes it, with about this many bytes of rows.
fn document(rows: usize) -> String {
    let row = "\t\t{\n\t\t\t\"name\": \"\\\"statistics\\\":{\\\"rows_read\\\":9}\",\n\t\t\t\"n\": 18446744073709551615\n\t\t}";
    let rows = vec![row; 1 + rows / row.len()].join(",\n");
    format!(
        "{{\n\t\"meta\":\n\t[],\n\n\t\"data\":\n\t[\n{rows}\n\t],\n\n\t\"rows\": 3,\n\n\t\"statistics\":\n\t{{\n\t\t\"elapsed\": 0.006,\n\t\t\
         \"rows_read\": 12,\n\t\t\"bytes_read\": 345\n\t}}\n}}\n"
    )
}

#[test]
fn the_end_of_a_document_says_what_it_cost() {
    for rows in [0, 100, KEPT, 2 * KEPT, 10 * KEPT, 100 * KEPT] {
        assert_eq!(said(&document(rows)), SOME, "{rows} bytes of rows");
    }
}

#[test]
fn where_pieces_end_does_not_matter() {
    for text in [document(0), document(2 * KEPT)] {
        let bytes = text.as_bytes();
        for at in 0..=bytes.len() {
            let (left, right) = bytes.split_at(at);
            assert_eq!(read(&[left, right]), SOME, "at {at}");
            assert_eq!(read(&[left, b"", right]), SOME, "at {at}");
        }
        for size in [1, 2, 3, 7, 100, KEPT - 1, KEPT, KEPT + 1, 2 * KEPT, 2 * KEPT + 1] {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(read(&pieces), SOME, "pieces of {size}");
        }
    }
}

#[test]
fn what_is_kept_stays_small() {
    let mut tail = Tail::default();
    for size in [1, 10, KEPT - 1, KEPT, KEPT + 1, 1 << 20].into_iter().cycle().take(60) {
        tail.push(&vec![b'x'; size]);
        assert!(format!("{tail:?}").matches("120").count() <= 2 * KEPT);
    }
}

#[test]
fn numbers_come_in_several_shapes() {
    let of = |rows: &str| said(&format!("{{\"statistics\":{{\"rows_read\":{rows}}}}}")).rows_read;
    for (text, number) in [
        ("0", Some(0)),
        ("12", Some(12)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", Some(u64::MAX)),
        ("1e300", Some(u64::MAX)),
        ("12.0", Some(12)),
        ("1.2e1", Some(12)),
        ("0.1", Some(1)),
        ("\"12\"", Some(12)),
        ("\"18446744073709551615\"", Some(u64::MAX)),
        ("\"18446744073709551616\"", None),
        ("\"\"", None),
        ("\"-1\"", None),
        ("\"twelve\"", None),
        ("-1", None),
        ("-0.5", None),
        ("null", None),
        ("true", None),
        ("[12]", None),
        ("{\"rows_read\":12}", None),
    ] {
        assert_eq!(of(text), number, "{text}");
    }
    let of = |elapsed: &str| said(&format!("{{\"statistics\":{{\"elapsed\":{elapsed}}}}}")).elapsed;
    for (text, micros) in [
        ("0", Some(0)),
        ("1", Some(1_000_000)),
        ("0.001234", Some(1_234)),
        ("\"0.5\"", Some(500_000)),
        ("1e300", None),
        ("\"inf\"", None),
        ("\"NaN\"", None),
        ("-1", None),
        ("null", None),
    ] {
        assert_eq!(of(text), micros.map(Duration::from_micros), "{text}");
    }
}

#[test]
fn members_that_are_missing_are_unknown() {
    assert_eq!(said(r#"{"statistics":{"bytes_read":345}}"#), Statistics { bytes_read: Some(345), ..NOTHING });
    for text in [
        r#"{"statistics":{}}"#,
        r#"{"statistics":null}"#,
        r#"{"statistics":[1]}"#,
        r#"{"statistics":12}"#,
        r#"{"data":[]}"#,
        "{}",
        "",
    ] {
        assert_eq!(said(text), NOTHING, "{text}");
    }
}

#[test]
fn nothing_poses_as_statistics() {
    let fake = r#""statistics":{"rows_read":12,"bytes_read":345,"elapsed":0.006}"#;
    let escaped = fake.replace('"', "\\\"");
    for text in [
        // Deeper in the document.
        format!("{{\"a\":{{{fake}}}}}"),
        format!("{{\"data\":[{{\"x\":1,{fake}}}]}}"),
        format!("{{\"data\":[{{\"x\":1,{fake}}}],\"rows\":1}}"),
        // In strings and in names.
        format!("{{\"a\":\"{escaped}\"}}"),
        format!("{{\"a\":\",{escaped}}}\"}}"),
        r#"{"a":1,",\"statistics":{"rows_read":12}}"#.to_owned(),
        r#"{"a":1,"x\\\"statistics":{"rows_read":12}}"#.to_owned(),
        r#"{"a":1,"my statistics":{"rows_read":12}}"#.to_owned(),
        r#"{"a":1,"Statistics":{"rows_read":12}}"#.to_owned(),
        r#"{"a":["x","statistics"],"rows_read":12}"#.to_owned(),
        // Other things than one whole document.
        format!("[{{{fake}}}]"),
        format!("{{\"a\":1}}\n{{{fake}}}\n"),
        format!("{{\"x\":1,{fake}}}\n{{\"x\":1,{fake}}}"),
        format!("{{\"x\":1,{fake}}}\r\n{{\"x\":1,{fake}}}\r\n"),
        format!("{{\"a\":1,{fake}"),
        format!("{{\"a\":1,{fake}}}}}"),
        format!("{{\"a\":1,{fake}}},"),
        format!("{{\"a\":1,{fake}}}\nCode: 241. DB::Exception: Memory limit"),
        format!("name,{fake}}}"),
        format!("\u{1f}\u{8b}{fake}"),
    ] {
        assert_eq!(said(&text), NOTHING, "{text}");
        // The same behind more than is kept.
        let (first, rest) = text.split_at(1);
        let long = format!("{first}{}{rest}", " ".repeat(3 * KEPT));
        assert_eq!(said(&long), NOTHING, "{text} behind white space");
        let long = format!("{first}\"filler\":[{}1],{rest}", "1,".repeat(3 * KEPT));
        assert_eq!(said(&long), NOTHING, "{text} behind a long array");
    }
}

#[test]
fn the_last_of_several_counts() {
    let text = format!(
        r#"{{"statistics":{{"rows_read":1}},"a":[{}1],"statistics":{{"rows_read":2}},"b":{{"statistics":3}}}}"#,
        "1,".repeat(3 * KEPT)
    );
    assert_eq!(said(&text).rows_read, Some(2));
    assert_eq!(said(r#"{"statistics":{"rows_read":1},"statistics":{"rows_read":2}}"#).rows_read, Some(2));
}

#[test]
fn what_looks_like_it_a_thousand_times_is_given_up() {
    let many = vec![r#"{"a":1,"statistics":1}"#; 1000].join(",");
    assert_eq!(said(&format!(r#"{{"statistics":{{"rows_read":1}},"data":[{many}]}}"#)), NOTHING);
    let deep = format!("{{\"a\":0{}", ",\"statistics\":{\"a\":0".repeat(1000));
    assert_eq!(said(&format!("{deep}{}", "}".repeat(1001))), NOTHING);
}

/// JSON that tries to be taken for something else.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(r#","statistics":{"rows_read":9}}"#)),
        Just(json!("statistics")),
        Just(json!("\\\"")),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        Just(Value::Null),
        Just(json!({ "rows_read": 1, "bytes_read": "2", "elapsed": 0.5 })),
        Just(json!({ "rows_read": 7.0, "bytes_read": null })),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            members(inner).prop_map(|members| parsed(&text(&members))),
        ]
    })
}

fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<(String, Value)>> {
    let key = prop_oneof![
        4 => Just("statistics".to_owned()),
        2 => Just(r#"","statistics"#.to_owned()),
        2 => Just(r#"\"statistics"#.to_owned()),
        2 => ".{0,10}",
    ];
    let statistics = json!({ "rows_read": 4, "bytes_read": 5 });
    prop::collection::vec((key, prop_oneof![value, Just(statistics)]), 0..6)
}

fn text(members: &[(String, Value)]) -> String {
    let members: Vec<String> = members.iter().map(|(key, value)| format!("{}:{value}", json!(key))).collect();
    format!("{{{}}}", members.join(","))
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

proptest! {
    #[test]
    fn the_tail_says_what_the_whole_document_says(
        front in members(value()),
        filler in 0..5 * KEPT,
        back in members(value()),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let filler = ("filler".to_owned(), json!("x".repeat(filler)));
        let members = [front, vec![filler], back.clone()].concat();
        let text = text(&members);
        let whole = said(&json!({ "statistics": parsed(&text)["statistics"] }).to_string());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();
        let found = read(&pieces);
        // Of what stands further from the end than what is kept, or behind much that looks like it, nothing may be said.
        let near = text.len() <= KEPT || back.iter().any(|(key, _)| key == "statistics") && self::text(&back).len() < KEPT;
        let near = near && text.matches("statistics").count() <= MAX_TRIES;
        prop_assert!(found == whole || (!near && found == NOTHING), "{found:?} instead of {whole:?}");
    }

    #[test]
    fn any_bytes_are_borne(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..20)) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let _ = read(&pieces);
    }

    #[test]
    fn any_bytes_around_the_key_are_borne(
        parts in prop::collection::vec(prop::sample::select(vec!["\"statistics\"", "\"", "\\", "{", "}", ",", ":", "[", "]", "1", " ", "\n"]), 0..3000),
    ) {
        let text = parts.concat();
        let whole: Result<Value, _> = serde_json::from_str(&text);
        if whole.is_err() && text.len() <= KEPT {
            prop_assert_eq!(said(&text), NOTHING);
        }
    }
}

#[test]
fn what_only_the_answer_tells_is_metered() {
    let limits: Vec<Limit> = [
        json!({ "by": "tenant", "rate": "5/s" }),
        json!({ "by": "tenant", "quota": "5/day" }),
        json!({ "by": "tenant", "quota": "5GB/day", "cost": "response_bytes" }),
        json!({ "by": "tenant", "quota": "5GB/day", "cost": "bytes_read", "dry_run": true }),
        json!({ "by": "tenant", "quota": "5/day", "cost": "rows_read" }),
        json!({ "by": "tenant", "quota": "5m/day", "cost": "seconds" }),
    ]
    .into_iter()
    .map(|limit| serde_json::from_value(limit).unwrap())
    .collect();
    let (plain, costly) = limits.split_at(2);
    assert_eq!(Meter::compile([].iter()), Meter::Off);
    assert_eq!(Meter::compile(plain.iter()), Meter::Off);
    for limit in costly {
        assert_eq!(Meter::compile(plain.iter().chain([limit])), Meter::Statistics, "{limit:?}");
    }
    assert_eq!(Meter::Off.or(Meter::Off), Meter::Off);
    assert_eq!(Meter::Off.or(Meter::Statistics), Meter::Statistics);
    assert_eq!(Meter::Statistics.or(Meter::Off), Meter::Statistics);
    assert_eq!(Meter::Passing.or(Meter::Statistics), Meter::Statistics, "what limits need comes first");
    assert_eq!(Meter::Off.or(Meter::Passing), Meter::Passing);
    assert_eq!(Meter::Passing.or(Meter::Off), Meter::Passing);
}

#[test]
fn only_whole_plain_documents_are_read() {
    let head = |fields: &[(header::HeaderName, &'static str)]| -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    };
    let json = || head(&[(header::CONTENT_TYPE, "application/json; charset=utf-8")]);
    assert!(Meter::Statistics.reading(StatusCode::OK, &json()).is_some());
    assert!(Meter::Off.reading(StatusCode::OK, &json()).is_none());
    for status in [StatusCode::PARTIAL_CONTENT, StatusCode::NOT_MODIFIED, StatusCode::BAD_REQUEST] {
        assert!(Meter::Statistics.reading(status, &json()).is_none(), "{status}");
    }
    for media in ["application/x-ndjson", "text/csv", "application/problem+json", ""] {
        let head = head(&[(header::CONTENT_TYPE, media)]);
        assert!(Meter::Statistics.reading(StatusCode::OK, &head).is_none(), "{media}");
    }
    for (coding, is_read) in
        [("gzip", true), ("X-Gzip", true), ("br", false), ("identity, gzip", false), ("Identity", true)]
    {
        let head = head(&[(header::CONTENT_TYPE, "Application/JSON"), (header::CONTENT_ENCODING, coding)]);
        assert_eq!(Meter::Statistics.reading(StatusCode::OK, &head).is_some(), is_read, "{coding}");
    }
}

#[test]
fn what_an_end_costs() {
    let known = |rows_read, bytes_read, response_bytes, micros| {
        Verdict::Known(Costs { rows_read, bytes_read, response_bytes: Some(response_bytes), micros: Some(micros) })
    };
    let ended = |status: u16, body| End {
        reach: Reach::Upstream,
        answered: StatusCode::from_u16(status).ok(),
        body,
        statistics: SOME,
        response_bytes: 1000,
        waited: Duration::from_millis(50),
    };
    let whole = |status| ended(status, Body::Whole);
    let silent = |status| End { statistics: NOTHING, ..whole(status) };
    let nothing = Verdict::Nothing;
    let at_least = |response_bytes, micros| {
        Verdict::AtLeast(Costs { response_bytes: Some(response_bytes), micros: Some(micros), ..Costs::default() })
    };
    let unasked = at_least(0, 0);
    let at_least = at_least(1000, 50_000);
    for (name, end, expected) in [
        ("nobody was asked", End::default(), Verdict::Refund),
        ("asked, no answer", End { reach: Reach::Upstream, ..End::default() }, unasked),
        ("200", whole(200), known(Some(12), Some(345), 1000, 6_000)),
        ("202", whole(202), known(Some(12), Some(345), 1000, 6_000)),
        ("200 that does not say", silent(200), known(None, None, 1000, 50_000)),
        ("206", silent(206), known(None, None, 1000, 50_000)),
        ("304", End { response_bytes: 0, ..silent(304) }, known(None, None, 0, 50_000)),
        ("200 that broke off", ended(200, Body::Broken), at_least),
        ("400", whole(400), nothing),
        ("403 that broke off", ended(403, Body::Broken), nothing),
        ("404", whole(404), nothing),
        ("429", whole(429), nothing),
        ("499", whole(499), nothing),
        ("408", whole(408), at_least),
        ("500", whole(500), at_least),
        ("503 that broke off", ended(503, Body::Broken), at_least),
        ("599", whole(599), at_least),
    ] {
        assert_eq!(verdict(&end), expected, "{name}");
    }
}

#[test]
fn what_is_compressed_is_read_as_it_passes() {
    let packed = |plain: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut encoder, plain).unwrap();
        encoder.finish().unwrap()
    };
    let row = "{\"product\":\"p\",\"n\":1},";
    for rows in [0, 10, 100_000] {
        let rows = row.repeat(rows);
        let rows = rows.trim_end_matches(',');
        let document = format!(r#"{{"data":[{rows}],"statistics":{{"elapsed":0.5,"rows_read":7,"bytes_read":9}}}}"#);
        let body = packed(document.as_bytes());
        for piece in [1, 7, 4096, body.len()] {
            let mut reading = Reading::packed();
            body.chunks(piece).for_each(|piece| reading.push(&Bytes::copy_from_slice(piece)));
            assert_eq!(reading.read().rows_read, Some(7), "{piece}");
        }
        let mut cut = Reading::packed();
        cut.push(&Bytes::copy_from_slice(&body[..body.len() - 1]));
        assert_eq!(cut.read(), Statistics::default(), "its end is missing");
    }
    let mut bomb = Reading::packed();
    bomb.push(&packed(&vec![b' '; 64 << 20]).into());
    assert!(matches!(bomb, Reading::GivenUp), "64 MiB of nothing");
    let mut noise = Reading::packed();
    noise.push(&Bytes::from_static(b"not compressed at all"));
    assert_eq!(noise.read(), Statistics::default());
}
