use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use super::*;
use crate::exchange::refusal::RefusalCode;
use crate::exchange::statistics::Statistics;
use crate::telemetry::access_line::is_obeyed;

fn outcome() -> Outcome {
    Outcome {
        caller: None,
        tenant: None,
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_367_178_123),
        request_id: "id-12345".into(),
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        method: http::Method::GET,
        host: "a.example.com".into(),
        path: "/top".into(),
        route: Some("/top".into()),
        upstream: Some("tinybird".into()),
        status: 200,
        refusal: None,
        limited_by: None,
        would_refuse: Default::default(),
        fault: None,
        attempts: 2,
        request_bytes: 0,
        response_bytes: 42,
        unpacked_bytes: None,
        statistics: Statistics::default(),
        elapsed: Duration::from_micros(12_345),
        upstream_elapsed: Duration::from_micros(11_000),
        trace_id: None,
    }
}

fn line(outcome: &Outcome, format: Format) -> String {
    let mut text = String::new();
    append(&mut text, outcome, format);
    text
}

#[test]
fn text_lines_are_for_people() {
    assert_eq!(
        line(&outcome(), Format::Text),
        "2026-11-22T17:06:18.123Z 127.0.0.1 GET /top 200 12.3ms route=/top upstream=tinybird upstream_ms=11.0 \
         gateway_ms=1.3 attempts=2 in=0 out=42 host=a.example.com id=id-12345\n"
    );
}

#[test]
fn json_lines_are_for_programs() {
    let text = line(&outcome(), Format::Json);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["ms"], 12.345);
    assert_eq!((&value["upstream_ms"], &value["gateway_ms"]), (&11.0.into(), &1.345.into()));
    assert_eq!(value["attempts"], 2);
}

#[test]
fn a_line_in_json_is_what_a_library_would_write() {
    let text = line(&outcome(), Format::Json);
    assert_eq!(
        text,
        "{\"time\":\"2026-11-22T17:06:18.123Z\",\"request_id\":\"id-12345\",\"trace_id\":null,\"client\":\"127.0.0.1\",\
         \"provider\":null,\"caller\":null,\"tenant\":null,\"method\":\"GET\",\"host\":\"a.example.com\",\"path\":\"/top\",\
         \"route\":\"/top\",\"upstream\":\"tinybird\",\"status\":200,\"refusal\":null,\"limit\":null,\"would_refuse\":[],\
         \"fault\":null,\"attempts\":2,\"bytes_in\":0,\"bytes_out\":42,\"bytes_unpacked\":null,\"rows_read\":null,\
         \"bytes_read\":null,\"query_ms\":null,\"ms\":12.345,\"upstream_ms\":11.0,\"gateway_ms\":1.345}\n"
    );
    // Every text is escaped, whatever stands in it, and every time is the number that it is.
    let nasty = "\"\\\u{7}\u{1f600}\u{202e}é";
    let micros = [0, 1, 10, 99, 100, 999, 1_000, 1_001, 1_010, 1_100, 60_000_000, 3_600_000_001];
    for micros in micros {
        let told = Outcome {
            request_id: nasty.into(),
            caller: Some((nasty.into(), nasty.into())),
            host: nasty.into(),
            route: Some(nasty.into()),
            limited_by: Some(nasty.into()),
            would_refuse: [nasty.into(), "b".into()].into_iter().collect(),
            fault: Some(nasty.into()),
            elapsed: Duration::from_nanos(micros * 1_000 + 499),
            upstream_elapsed: Duration::ZERO,
            ..outcome()
        };
        let value: serde_json::Value = serde_json::from_str(&line(&told, Format::Json)).unwrap();
        for name in ["request_id", "provider", "caller", "host", "route", "limit", "fault"] {
            assert_eq!(value[name], nasty, "{name}");
        }
        assert_eq!(value["would_refuse"], serde_json::json!([nasty, "b"]));
        assert_eq!(value["ms"], serde_json::json!(micros as f64 / 1_000.0), "{value}");
    }
}

#[test]
fn costs_appear_where_they_are_known() {
    let statistics =
        Statistics { rows_read: Some(7), bytes_read: Some(0), elapsed: Some(Duration::from_nanos(1_234_567)) };
    let known = Outcome { unpacked_bytes: Some(99), statistics, ..outcome() };
    let text = line(&known, Format::Text);
    assert!(text.contains(" out=42 unpacked=99 rows_read=7 bytes_read=0 query_ms=1.2 host="), "{text}");
    let value: serde_json::Value = serde_json::from_str(&line(&known, Format::Json)).unwrap();
    assert_eq!((&value["rows_read"], &value["bytes_read"]), (&7.into(), &0.into()));
    assert_eq!((&value["query_ms"], &value["bytes_unpacked"]), (&1.235.into(), &99.into()));
    let value: serde_json::Value = serde_json::from_str(&line(&outcome(), Format::Json)).unwrap();
    for name in ["rows_read", "bytes_read", "query_ms", "bytes_unpacked"] {
        assert_eq!(value.get(name), Some(&serde_json::Value::Null), "{name}");
    }
}

#[test]
fn g1_nobody_can_forge_a_line_or_move_the_cursor() {
    let nasty = "/a\n{\"status\":200}\r\u{1b}[2J\u{9b}\u{7f}\u{2028}\u{202e}\u{200f}\u{2069}\"\\é";
    let bad = Outcome { path: nasty.into(), host: nasty.into(), refusal: Some(RefusalCode::BadRequest), ..outcome() };
    for format in [Format::Json, Format::Text] {
        let text = line(&bad, format);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(text.ends_with('\n'));
        assert!(!text.trim_end().chars().any(|c| c.is_control() || is_obeyed(c)), "{text:?}");
    }
    let value: serde_json::Value = serde_json::from_str(&line(&bad, Format::Json)).unwrap();
    assert_eq!(value["path"], nasty);
}

#[test]
fn g1_the_name_of_a_caller_cannot_begin_a_field() {
    let called = |id: &str| {
        let text = line(&Outcome { caller: Some(("idp".into(), id.into())), ..outcome() }, Format::Text);
        text.split(" attempts=2 ").nth(1).unwrap().split(" in=0").next().unwrap().to_owned()
    };
    assert_eq!(called("ada"), "caller=idp:ada");
    assert_eq!(called(""), "caller=idp:");
    assert_eq!(called("joe tenant=acme"), r#"caller="idp:joe tenant=acme""#);
    assert_eq!(called(r#"joe" tenant=acme "#), r#"caller="idp:joe\" tenant=acme ""#);
    assert_eq!(called("joe\\\" tenant=acme"), r#"caller="idp:joe\\\" tenant=acme""#);
    assert_eq!(called("joe\ntenant=acme"), r#"caller="idp:joe\ntenant=acme""#);
    assert_eq!(called("a=b"), r#"caller="idp:a=b""#);
    assert_eq!(called(r#"a"b"#), r#"caller=idp:a\"b"#);
}

#[test]
fn what_was_queued_is_written_before_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let section = Log { access: Access::File(path.clone()), ..Log::default() };
    let metrics = Metrics::new().unwrap();
    let log = AccessLog::start(&section, &metrics).unwrap();
    for _ in 0..1000 {
        log.write(outcome());
    }
    log.flush();
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1000);
    assert_eq!(metrics.log_dropped().get(), 0);
}

/// Takes so many bytes, and then none.
struct Disk {
    has: Vec<u8>,
    room: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.room - self.has.len());
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.has.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn how_far_a_full_disk_let_it_come_is_known() {
    let mut disk = Disk { has: Vec::new(), room: 5 };
    let (written, result) = write_most(&mut disk, b"one\ntwo\n");
    assert_eq!((written, result.unwrap_err().kind()), (5, io::ErrorKind::StorageFull));
    disk.room = 100;
    assert_eq!(write_most(&mut disk, b"").0, 0);
    assert_eq!(write_most(&mut disk, b"x\n").0, 2);
    assert_eq!(disk.has, b"one\ntx\n");
}

#[test]
fn a_full_disk_loses_lines_that_are_counted_and_tears_none_of_the_next() {
    let dropped = IntCounter::new("dropped", "dropped").unwrap();
    let path = tempfile::tempdir().unwrap().keep().join("access.log");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut writer = Writer { sink: Sink::File(full, path.clone()), dropped: dropped.clone(), is_torn: false, lost: 0 };
    writer.write("one\ntwo\n");
    writer.write("three\n");
    writer.write("");
    assert_eq!((dropped.get(), writer.lost, writer.is_torn), (3, 3, false));
    // Half a line had gone out when it was full; then there is room again.
    std::fs::write(&path, "{\"half").unwrap();
    writer.is_torn = true;
    writer.write("four\n");
    assert_eq!((dropped.get(), writer.is_torn), (4, true));
    writer.sink.reopen();
    writer.write("five\n");
    writer.write("six\n");
    assert_eq!((dropped.get(), writer.lost, writer.is_torn), (4, 0, false));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"half\nfive\nsix\n");
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}
