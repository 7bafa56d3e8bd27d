//! `upstreams`: what reaches the caller when an upstream is slow, broken, hostile, large or not there.

use std::time::Duration;

use tokio::time::Instant;
use tollgate::clock::TestClock;

use crate::support::client::{RawClient, Request, Response};
use crate::support::eventually::asleep;
use crate::support::gateway::{TOKEN, TestGateway, assert_nothing_betrayed, assert_refused};
use crate::support::origin::{Answer, At, ChunkFault, Fate, Gate, Piece, Received, Then};
use crate::support::pattern::PatternCheck;
use crate::support::tls_origin::{Authority, TlsOrigin};
use crate::support::unreachable::SilentPort;

const ROUTES: &str = "routes:
  /a: { pipe: a }
  /csv: { pipe: a, formats: [csv] }
  /p: { proxy: /p, methods: [GET, HEAD, POST] }
  /p/cut: { proxy: /cut }
";

fn at(url: &str, keys: &str) -> String {
    format!("upstreams: {{ t: {{ url: '{url}', token: '{TOKEN}', {keys} }} }}\n{ROUTES}")
}

fn sections(keys: &str) -> String {
    at("{origin}", keys)
}

/// One try only, so that each fault is seen as it is.
fn once() -> String {
    sections("retry: { attempts: 1 }")
}

fn assert_cut(response: &Response) {
    assert!(response.truncated, "the caller cannot see that the answer is not whole: {response:#?}");
}

/// Asserts that later callers get their own answers.
async fn assert_no_mix_up(gw: &TestGateway, fault: &str) {
    let own = |request: &Received| Answer::json(200, format!(r#"{{"id":"{}"}}"#, request.query_values("id").join(",")));
    gw.origin.respond_with(own);
    let mut kept = RawClient::connect(gw.addr()).await;
    for id in 0..4 {
        let target = format!("/a?id=canary-{id}");
        let response = if id % 2 == 0 { gw.get(&target).await } else { Request::get(&target).send_on(&mut kept).await };
        assert_eq!(
            (response.status, response.body_text()),
            (200, format!(r#"{{"id":"canary-{id}"}}"#)),
            "after {fault}"
        );
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn connecting_takes_at_most_its_time() {
    let silent = SilentPort::start();
    let gw = TestGateway::with(&at(&silent.url(), "timeouts: { connect: 200ms }, retry: { attempts: 1 }"));
    let began = Instant::now();
    assert_refused(&gw.get("/a").await, 504, "upstream_timeout");
    assert!(began.elapsed() < Duration::from_secs(3));
    // Tries and waits together stay within the total.
    let keys = "timeouts: { connect: 400ms, total: 1s, attempt: 1s }, retry: { attempts: 10, base: 1ms, max: 1ms }";
    let gw = TestGateway::with(&at(&silent.url(), keys));
    let began = Instant::now();
    assert_refused(&gw.get("/a").await, 504, "upstream_timeout");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_that_never_begins_is_given_up() {
    let time = TestClock::new();
    let gw = TestGateway::with_clock(&sections("timeouts: { attempt: 5s }"), &time);
    for call in [Request::get("/a"), Request::post("/a").form("a=1"), Request::post("/p").typed_body("text/plain", "x")]
    {
        gw.origin.forget_requests();
        gw.origin.script([Answer::never()]);
        let addr = gw.addr();
        let call = tokio::spawn(async move { call.send(addr).await });
        gw.origin.requests(1).await;
        time.advance(Duration::from_secs(5));
        assert_refused(&call.await.unwrap(), 504, "upstream_timeout");
        gw.origin.only_request();
    }
}

#[tokio::test]
async fn headers_that_drip_do_not_outlast_an_attempt() {
    let gw = TestGateway::with(&sections("timeouts: { attempt: 300ms }, retry: { attempts: 1 }"));
    let slow = [
        Answer::ok().drip_head(Duration::from_millis(40)),
        // A head that never ends, and heads that are none.
        Answer::ok().informational(103, 1).delay(Duration::from_secs(60)),
        Answer::ok().cut(At::HalfHead, Then::Stall),
    ];
    for answer in slow {
        gw.origin.script([answer.clone()]);
        let began = Instant::now();
        let response = gw.get("/a").await;
        assert_refused(&response, 504, "upstream_timeout");
        assert!(began.elapsed() < Duration::from_secs(3), "{answer:?} took {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn all_tries_together_stay_within_the_total() {
    let time = TestClock::new();
    let keys = "timeouts: { attempt: 8s, total: 10s }, retry: { attempts: 5 }";
    let gw = TestGateway::with_clock(&sections(keys), &time);
    gw.origin.script([Answer::status(500).header("Retry-After", "6"), Answer::never()]);
    let addr = gw.addr();
    let call = tokio::spawn(async move { Request::get("/a").send(addr).await });
    asleep(&time, 1).await;
    time.advance(Duration::from_secs(6));
    gw.origin.requests(2).await;
    time.advance(Duration::from_secs(4));
    assert_refused(&call.await.unwrap(), 504, "upstream_timeout");
    assert_eq!(gw.origin.received_count(), 2);
}

fn paused(pause: Piece) -> Answer {
    Answer::ok().pieces([Piece::bytes("first,"), pause, Piece::bytes("second")])
}

#[tokio::test]
async fn a_pause_in_the_body_may_last_as_long_as_idle() {
    for timeouts in ["attempt: 150ms, total: 200ms, idle: 1500ms", "attempt: 20s, total: 20s, idle: 1500ms"] {
        for chunked in [false, true] {
            let gw = TestGateway::with(&sections(&format!("timeouts: {{ {timeouts} }}")));
            let framed = |answer: Answer| if chunked { answer.chunked() } else { answer };
            gw.origin.script([framed(paused(Piece::Delay(Duration::from_millis(500))))]);
            let response = gw.get("/a").await;
            response.assert_strictly_valid();
            assert_eq!(response.body_text(), "first,second", "{timeouts}");

            gw.origin.script([framed(paused(Piece::wait(&Gate::new())))]);
            let began = Instant::now();
            let response = gw.get("/a").await;
            assert_eq!((response.status, response.body_text()), (200, "first,".to_owned()), "{timeouts}");
            assert_cut(&response);
            assert!(began.elapsed() < Duration::from_secs(6), "{timeouts}: {:?}", began.elapsed());
            gw.origin.until("the hang-up", |seen| seen.hang_ups() == 1).await;
            gw.assert_alive().await;
        }
    }
}

#[tokio::test]
async fn a_body_until_the_end_of_the_connection_that_is_given_up_does_not_look_whole() {
    for timeouts in ["attempt: 150ms, total: 200ms, idle: 500ms", "attempt: 20s, total: 20s, idle: 500ms"] {
        for http10 in [false, true] {
            let gw = TestGateway::with(&sections(&format!("timeouts: {{ {timeouts} }}")));
            let answer = paused(Piece::wait(&Gate::new())).unframed();
            gw.origin.script([if http10 { answer.http10() } else { answer }]);
            let response = gw.get("/a").await;
            assert_eq!((response.status, response.body_text()), (200, "first,".to_owned()), "{timeouts}");
            assert_cut(&response);
        }
    }
}

#[tokio::test]
async fn a_head_that_comes_just_too_late_brings_no_half_body() {
    let gw = TestGateway::with(&sections("timeouts: { attempt: 200ms, total: 200ms }, retry: { attempts: 1 }"));
    for late in 0..40 {
        let pause = Piece::Delay(Duration::from_millis(60));
        let answer = paused(pause).unframed().then(Then::Close).delay(Duration::from_millis(190 + late));
        gw.origin.script([answer]);
        let response = gw.get("/a").await;
        match response.status {
            200 => assert_eq!(response.body_text(), "first,second"),
            _ => assert_refused(&response, 504, "upstream_timeout"),
        }
    }
}

#[tokio::test]
async fn a_pause_of_the_caller_is_none_of_the_upstream() {
    for timeouts in ["attempt: 500ms, total: 500ms, idle: 600ms", "attempt: 20s, total: 20s, idle: 600ms"] {
        let gw = TestGateway::with(&sections(&format!("timeouts: {{ {timeouts} }}")));
        let length = 64 * 1024 * 1024;
        gw.origin.script([Answer::stream(length)]);
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(Request::get("/a").bytes()).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let mut received = 0;
        let response = client.read_response_into(|piece| received += piece.len() as u64).await;
        assert!(!response.truncated, "{timeouts}: after {received} bytes");
        assert_eq!(received, length, "{timeouts}");
    }
}

#[tokio::test]
async fn an_upstream_that_breaks_off_before_an_answer_is_502() {
    let gw = TestGateway::with(&once());
    for place in [At::Start, At::Byte(1), At::HalfHead] {
        for then in [Then::Close, Then::Reset] {
            gw.origin.script([Answer::ok().cut(place, then)]);
            assert_refused(&gw.get("/a").await, 502, "upstream_failed");
            gw.origin.script([Answer::ok().cut(place, then)]);
            assert_refused(&gw.post("/p", "text/plain", b"x").await, 502, "upstream_failed");
        }
    }
    assert_no_mix_up(&gw, "half heads").await;
}

#[tokio::test]
async fn an_answer_cut_at_any_byte_never_looks_whole() {
    let gw = TestGateway::with(&once());
    let body = r#"{"data":[1,2,3]}"#;
    let framed = [Answer::json(200, body), Answer::json(200, body).chunked()];
    for answer in framed {
        for then in [Then::Close, Then::Reset] {
            let mut whole = 0;
            for byte in 0..110 {
                gw.origin.on_path("/cut", answer.clone().cut(At::Byte(byte), then));
                let response = gw.get("/p/cut").await;
                match (response.status, response.truncated) {
                    (502, _) => assert_refused(&response, 502, "upstream_failed"),
                    (200, true) => {}
                    (200, false) => {
                        assert_eq!(response.body_text(), body, "cut at {byte} with {then:?}: {response:#?}");
                        whole += 1;
                    }
                    _ => panic!("cut at {byte} with {then:?}: {response:#?}"),
                }
            }
            assert!(whole > 0, "no cut was behind the end");
        }
    }
    // The connection of the last whole answer was ended behind it, which whoever uses it next may be the first to notice.
    gw.get("/p/settle").await;
    assert_no_mix_up(&gw, "cuts").await;
}

#[tokio::test]
async fn a_body_until_the_end_of_the_connection() {
    let gw = TestGateway::with(&once());
    gw.origin.script([Answer::ok().until_close(), Answer::ok().http10().unframed()]);
    for _ in 0..2 {
        let response = gw.get("/a").await;
        response.assert_strictly_valid();
        assert_eq!(response.body_text(), r#"{"data":[],"rows":0}"#);
    }
    // A reset says that it is not the end.
    let gate = Gate::new();
    let halves = [Piece::bytes("first"), Piece::wait(&gate)];
    gw.origin.script([Answer::ok().pieces(halves).unframed().then(Then::Reset)]);
    let mut client = RawClient::connect(gw.addr()).await;
    client.send(Request::get("/a").bytes()).await;
    gate.until_reached(1).await;
    gate.open();
    let response = client.read_response().await;
    assert!(response.truncated || response.status == 502, "{response:#?}");
}

#[tokio::test]
async fn lying_lengths_never_make_a_wrong_answer() {
    let gw = TestGateway::with(&once());
    gw.origin.script([Answer::ok().declared_length(50)]);
    assert_cut(&gw.get("/a").await);
    gw.origin.script([Answer::ok().declared_length(u64::MAX)]);
    let response = gw.get("/a").await;
    assert!(response.truncated || response.status == 502, "{response:#?}");
    gw.origin.script([Answer::json(200, r#"{"data":[]}{"evil":1}"#).declared_length(11)]);
    let response = gw.get("/a").await;
    assert!(response.status == 502 || response.body_text() == r#"{"data":[]}"#, "{response:#?}");
    assert!(!response.contains("evil"));
    assert_no_mix_up(&gw, "a short length").await;
}

#[tokio::test]
async fn broken_chunks_never_make_a_wrong_answer() {
    let gw = TestGateway::with(&once());
    let body = r#"{"data":[1,2,3]}"#;
    // Pingora reads an empty size as zero, and shows nobody the bytes that would tell.
    for fault in ChunkFault::ALL.into_iter().filter(|fault| *fault != ChunkFault::SizeMissing) {
        gw.origin.script([Answer::json(200, body).broken_chunks(fault)]);
        let response = gw.get("/a").await;
        let right = response.status == 200 && response.body_text() == body && response.violations.is_empty();
        assert!(response.status == 502 || response.truncated || right, "{fault:?}: {response:#?}");
        assert_no_mix_up(&gw, &format!("{fault:?}")).await;
    }
}

#[tokio::test]
async fn u1_bytes_behind_an_answer_reach_nobody() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"evil\":true}";
    let ok = Answer::ok;
    let faults = [
        ("a second answer", Request::get("/a"), ok().extra(evil)),
        ("a second answer behind chunks", Request::get("/a"), ok().chunked().extra(evil)),
        ("a line break", Request::get("/a"), ok().extra("\r\n")),
        ("half a head", Request::get("/a"), ok().extra("HTTP/1.1 200 OK\r\nX: ")),
        ("a body for HEAD", Request::head("/a"), ok().force_body()),
        ("an answer for a body of HEAD", Request::head("/a"), Answer::json(200, evil).force_body()),
        ("a body with 204", Request::get("/a"), Answer::status(204).body(evil).force_body()),
        ("a body with 304", Request::get("/a"), Answer::status(304).body(evil).force_body()),
        ("an answer behind an error", Request::get("/a"), Answer::status(400).extra(evil)),
        ("an answer behind an empty error", Request::get("/a"), Answer::with_body(400, "text/plain", "").extra(evil)),
        ("an answer behind an error to HEAD", Request::head("/a"), Answer::status(400).extra(evil)),
    ];
    for (name, call, answer) in faults {
        for _ in 0..3 {
            let gw = TestGateway::with(&once());
            gw.origin.script([answer.clone()]);
            let response = call.send(gw.addr()).await;
            assert!(!response.contains("evil"), "{name}: {response:#?}");
            assert_no_mix_up(&gw, name).await;
        }
    }
}

#[tokio::test]
async fn u1_bytes_on_an_idle_connection_reach_nobody() {
    for late in ["HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"evil\":true}", "x", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let gw = TestGateway::with(&once());
        let gate = Gate::new();
        gw.origin.script([Answer::ok().extra_when(&gate, late)]);
        assert_eq!(gw.get("/a").await.status, 200);
        gw.log(1).await;
        gate.open();
        gw.origin.until("the late bytes", |seen| seen.requests[0].fate == Fate::Answered).await;
        assert_no_mix_up(&gw, late).await;
    }
}

/// An answer that is refused, or clean.
fn assert_refused_or_clean(response: &Response, name: &str) {
    assert_nothing_betrayed(response);
    if response.status == 502 {
        return assert_refused(response, 502, "upstream_failed");
    }
    if !response.truncated {
        assert!(response.violations.is_empty(), "{name}: {response:#?}");
    }
    assert!(!response.contains("X-Huge") && !response.contains("X-Many"), "{name}: {response:#?}");
}

/// Heads that are many, huge, or unclear about the body's length.
fn unclear_heads() -> Vec<(&'static str, Answer)> {
    let ok = Answer::ok;
    vec![
        ("a thousand early hints", ok().informational(103, 1000)),
        ("a thousand continues", ok().informational(100, 1000)),
        ("a thousand of 102", ok().informational(102, 1000)),
        ("a 101 among hints", ok().informational(101, 1)),
        ("100 KiB of header", ok().huge_header(100)),
        ("900 KiB of header", ok().huge_header(900)),
        ("2 MiB of header", ok().huge_header(2048)),
        ("200 headers", ok().many_headers(200)),
        ("1000 headers", ok().many_headers(1000)),
        ("the same length twice", ok().same_content_length_twice()),
        ("two lengths", ok().second_content_length(5)),
        ("a list of lengths", ok().unframed().header("Content-Length", "20, 20")),
        ("a negative length", ok().unframed().header("Content-Length", "-1")),
        ("a length with a plus", ok().unframed().header("Content-Length", "+20")),
        ("an endless length", ok().unframed().header("Content-Length", "99999999999999999999999").then(Then::Close)),
        ("a length and chunks", ok().length_and_chunked()),
        ("chunks twice", ok().chunked().header("Transfer-Encoding", "chunked")),
        ("an unknown coding", ok().until_close().header("Transfer-Encoding", "gzip")),
        ("identity", ok().until_close().header("Transfer-Encoding", "identity")),
        ("chunks in HTTP/1.0", ok().chunked().http10()),
        ("HTTP/1.0", ok().http10()),
        ("HTTP/1.0 kept alive", ok().http10().header("Connection", "keep-alive")),
    ]
}

/// Answers whose head is no head.
fn broken_heads() -> Vec<(&'static str, Answer)> {
    let ok = Answer::ok;
    vec![
        ("LF alone", ok().bare_lf()),
        ("NUL in a value", ok().header("ETag", b"\"a\0b\"")),
        ("NUL in a name", ok().header(b"X-\0", "v")),
        ("a CR in a value", ok().header("ETag", "\"a\rSet-Cookie: x\"")),
        ("bytes beyond ASCII", ok().header("ETag", b"\"\xff\xfe\"")),
        ("a name with a blank", ok().raw_header_line("ETag : \"a\"")),
        ("no name", ok().raw_header_line(": v")),
        ("no colon", ok().raw_header_line("nonsense")),
        ("a folded line", ok().raw_header_line("ETag: \"a\"").raw_header_line(" Set-Cookie: x")),
        ("no reason", ok().status_line("HTTP/1.1 200")),
        ("a status of two digits", ok().status_line("HTTP/1.1 20 OK")),
        ("a status of four digits", ok().status_line("HTTP/1.1 2000 OK")),
        ("status 000", ok().status_line("HTTP/1.1 000 Nothing")),
        ("status 999", ok().status_line("HTTP/1.1 999 All")),
        ("status words", ok().status_line("HTTP/1.1 OK 200")),
        ("a huge reason", ok().reason(&"r".repeat(100_000))),
        ("another protocol", Answer::raw("SSH-2.0-OpenSSH_9.2\r\n").then(Then::Close)),
        ("HTTP/2", ok().status_line("HTTP/2 200")),
        ("HTTP/9.9", ok().status_line("HTTP/9.9 200 OK")),
        ("HTTP/0.9", Answer::raw("<html>hello</html>").then(Then::Close)),
        ("a leading line break", ok().lead_bytes("\r\n")),
        ("binary", Answer::raw((0..=255).collect::<Vec<u8>>()).then(Then::Close)),
        ("TLS", Answer::raw(b"\x15\x03\x03\x00\x02\x02\x46").then(Then::Close)),
        (
            "an HTTP/2 preface",
            Answer::raw(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64").then(Then::Close),
        ),
        ("trailers", ok().trailer("X-Huge", "v")),
        ("trailers that set cookies", ok().trailer("Set-Cookie", "X-Huge")),
    ]
}

#[tokio::test]
async fn u1_hostile_heads_are_refused_or_cleaned() {
    let gw = TestGateway::with(&sections("retry: { attempts: 1 }, timeouts: { attempt: 5s, idle: 2s }"));
    for (name, answer) in unclear_heads().into_iter().chain(broken_heads()) {
        gw.origin.script([answer]);
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(Request::get("/a").bytes()).await;
        match client.try_read_response().await {
            Ok(response) => assert_refused_or_clean(&response, name),
            Err(missing) => panic!("{name}: no answer at all: {missing:?}"),
        }
        assert_no_mix_up(&gw, name).await;
    }
}

#[tokio::test]
async fn u1_nobody_is_switched_to_a_protocol_they_did_not_ask_for() {
    for upgrade in [false, true] {
        let gw = TestGateway::with(&sections("retry: { attempts: 1 }, timeouts: { attempt: 2s }"));
        gw.origin.script([Answer::switching_protocols()]);
        let call = Request::get("/p");
        let call = match upgrade {
            true => call.header("Connection", "Upgrade").header("Upgrade", "websocket"),
            false => call,
        };
        let response = call.send(gw.addr()).await;
        assert!(matches!(response.status, 502 | 504), "{response:#?}");
        assert!(response.informational.is_empty(), "{response:#?}");
        assert_no_mix_up(&gw, "101").await;
    }
}

#[tokio::test]
async fn a_hundred_mebibytes_pass_unchanged() {
    let length = 100 * 1024 * 1024;
    for answer in [Answer::stream(length), Answer::stream(length).chunked()] {
        let gw = TestGateway::with(&once());
        gw.origin.script([answer]);
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(Request::get("/a").bytes()).await;
        let mut check = PatternCheck::default();
        let response = client.read_response_into(|bytes| check.feed(bytes)).await;
        response.assert_strictly_valid();
        check.assert_whole(length);
    }
}

#[tokio::test]
async fn bodies_pass_as_bytes() {
    let integers =
        r#"{"data":[{"a":18446744073709551615,"b":-9223372036854775808,"c":1.10,"d":1e400,"a":0}],  "rows":1}"#;
    let lines = "{\"n\":9007199254740993}\n{\"n\":2}\r\n\n{\"n\":3}";
    let bodies = [
        Answer::json(200, integers),
        Answer::json(200, integers).chunked(),
        Answer::with_body(200, "application/x-ndjson", lines).chunked(),
        Answer::with_body(200, "text/csv; charset=utf-8", b"a;b\r\n\"\xc3\xa9\";\x00\r\n"),
        Answer::json(200, integers).gzip(),
        Answer::json(200, integers).gzip().chunked(),
        Answer::with_body(200, "application/json", b"\xff\xfe not text").header("Content-Encoding", "br"),
        Answer::with_body(200, "application/json", ""),
    ];
    for answer in bodies {
        let gw = TestGateway::with(&once());
        gw.origin.script([answer.clone(), answer]);
        let straight = Request::get("/").send(gw.origin.addr()).await;
        let through = Request::get("/a").header("Accept-Encoding", "gzip, br").send(gw.addr()).await;
        through.assert_strictly_valid();
        assert_eq!(through.body, straight.body);
        for name in ["content-type", "content-encoding", "content-length"] {
            assert_eq!(through.header(name), straight.header(name), "{name}");
        }
    }
}

#[tokio::test]
async fn an_answer_streams_before_it_is_whole() {
    let gw = TestGateway::with(&once());
    let gate = Gate::new();
    for answer in [paused(Piece::wait(&gate)).chunked(), paused(Piece::wait(&gate)).chunked()] {
        gw.origin.script([answer]);
    }
    let mut client = RawClient::connect(gw.addr()).await;
    client.send(Request::get("/a").bytes()).await;
    let mut head = Vec::new();
    while !head.windows(6).any(|window| window == b"first,") {
        head.extend(client.read_some().await);
    }
    // The origin still waits, or is about to.
    gate.until_reached(1).await;
    gate.open();
}

#[tokio::test]
async fn a_caller_who_reads_slowly_slows_the_upstream_down() {
    let gw = TestGateway::with(&once());
    let length = 256 * 1024 * 1024;
    gw.origin.script([Answer::stream(length)]);
    let mut client = RawClient::connect(gw.addr()).await;
    client.send(Request::get("/a").bytes()).await;
    client.read_exact(1024).await;
    // Another call goes on beside it, and the large answer is still on its way.
    assert_eq!(gw.get("/csv").await.status, 200);
    assert_eq!(gw.origin.received()[0].fate, Fate::Pending);
    drop(client);
    gw.origin.until("the hang-up", |seen| seen.hang_ups() == 1).await;
}

#[tokio::test]
async fn a_host_name_without_address_is_503_and_the_gateway_starts() {
    let gw = TestGateway::with(&format!(
        "upstreams:
  lost: {{ url: 'http://no-such-host.invalid', token: '{TOKEN}' }}
  t: {{ url: '{{origin}}', token: '{TOKEN}' }}
routes: {{ /lost: {{ pipe: a, upstream: lost }}, /a: {{ pipe: a, upstream: t }} }}"
    ));
    let response = gw.get("/lost").await;
    assert_refused(&response, 503, "upstream_unavailable");
    assert!(!response.contains("no-such-host"), "{response:#?}");
    assert_eq!(gw.get("/a").await.status, 200);
    assert_eq!(gw.metric(r#"tollgate_upstream_resolved{upstream="lost"}"#).await, 0.0);
    gw.assert_alive().await;
}

#[tokio::test]
async fn headers_of_an_upstream_are_set_by_nobody_else() {
    let text = "upstreams:
  clickhouse:
    url: '{origin}'
    headers: { X-ClickHouse-User: reader, X-ClickHouse-Key: a-key-that-is-long-enough }
routes:
  /ch/*: { proxy: '/{path.rest}', pass_headers: [X-ClickHouse-User, X-Trace] }
";
    let gw = TestGateway::with(text);
    let call = Request::get("/ch/ping?x=1").header("X-ClickHouse-User", "admin").header("X-Trace", "t").bearer("mine");
    let response = call.send(gw.addr()).await;
    assert_eq!(response.status, 200);
    let seen = gw.origin.only_request();
    assert_eq!(seen.target, "/ping?x=1");
    assert_eq!(seen.header("x-clickhouse-user").as_deref(), Some("reader"));
    assert_eq!(seen.header("x-clickhouse-key").as_deref(), Some("a-key-that-is-long-enough"));
    assert_eq!((seen.header("x-trace").as_deref(), seen.header("authorization")), (Some("t"), None));
    assert!(!response.contains("a-key-that-is-long-enough"));
}

#[tokio::test]
async fn an_early_answer_to_a_long_upload_arrives() {
    let gw = TestGateway::with(&once());
    gw.origin.script([Answer::status(403).before_body().then(Then::Close)]);
    let body = vec![b'x'; 4 * 1024 * 1024];
    let response = Request::post("/p").typed_body("text/plain", &body).send(gw.addr()).await;
    assert!(matches!(response.status, 403 | 502), "{response:#?}");
    assert_no_mix_up(&gw, "an early answer").await;
}

/// What a gateway answers that trusts the authority in `ca` and goes to this URL.
async fn over_tls(url: &str, ca: Option<&std::path::Path>) -> Response {
    let tls = ca.map(|ca| format!("tls: {{ ca: '{}' }},", ca.display())).unwrap_or_default();
    let gw = TestGateway::with(&at(url, &format!("{tls} retry: {{ attempts: 2, base: 1ms, max: 1ms }}")));
    let response = gw.get("/a").await;
    gw.assert_alive().await;
    response
}

#[tokio::test]
async fn t3_the_upstreams_certificate_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, foreign) = (folder.path().join("ours.pem"), folder.path().join("foreign.pem"));
    let authority = Authority::new();
    authority.write(&ours);
    Authority::new().write(&foreign);

    let good = authority.origin("localhost").await;
    let response = over_tls(&good.url("localhost"), Some(&ours)).await;
    assert_eq!((response.status, response.body_text()), (200, r#"{"tls":true}"#.to_owned()));
    assert_eq!(good.requests(), 1);

    let wrong_name = authority.origin("other.example.com").await;
    let itself = TlsOrigin::self_signed("localhost").await;
    let over = authority.origin_until("localhost", (2020, 1, 1)).await;
    let cases = [
        ("unknown to the system", &good, "localhost", None),
        ("another authority", &good, "localhost", Some(&foreign)),
        ("expired", &over, "localhost", Some(&ours)),
        ("another host name", &wrong_name, "localhost", Some(&ours)),
        ("self-signed", &itself, "localhost", Some(&ours)),
        ("self-signed, unknown to the system", &itself, "localhost", None),
    ];
    for (name, origin, host, ca) in cases {
        let before = origin.requests();
        let response = over_tls(&origin.url(host), ca.map(std::path::PathBuf::as_path)).await;
        assert_eq!(response.status, 502, "{name}: {response:#?}");
        assert_refused(&response, 502, "upstream_failed");
        assert_eq!(origin.requests(), before, "{name}: the token went to a stranger");
    }
}

#[tokio::test]
async fn upstreams_do_not_share_connections_that_one_may_not_trust() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, foreign) = (folder.path().join("ours.pem"), folder.path().join("foreign.pem"));
    let authority = Authority::new();
    authority.write(&ours);
    Authority::new().write(&foreign);
    let origin = authority.origin("localhost").await;
    let upstream = |ca: &std::path::Path| {
        format!("{{ url: '{}', token: '{TOKEN}', tls: {{ ca: '{}' }} }}", origin.url("localhost"), ca.display())
    };
    let gw = TestGateway::with(&format!(
        "upstreams: {{ t: {}, u: {} }}\nroutes: {{ /t: {{ pipe: a, upstream: t }}, /u: {{ pipe: a, upstream: u }} }}",
        upstream(&ours),
        upstream(&foreign)
    ));
    for _ in 0..3 {
        assert_eq!(gw.get("/t").await.status, 200);
        assert_refused(&gw.get("/u").await, 502, "upstream_failed");
    }
}

#[tokio::test]
async fn tls_and_no_tls_do_not_meet() {
    // TLS to a port without, which waits for a request that it can read.
    let plain = crate::support::origin::MockOrigin::start();
    let url = format!("https://localhost:{}", plain.addr().port());
    let gw = TestGateway::with(&at(&url, "timeouts: { connect: 300ms }, retry: { attempts: 1 }"));
    assert_refused(&gw.get("/a").await, 504, "upstream_timeout");
    // No TLS to a port with.
    let tls = Authority::new().origin("localhost").await;
    let url = tls.url("localhost").replace("https://", "http://");
    assert_refused(&over_tls(&url, None).await, 502, "upstream_failed");
}

#[tokio::test]
async fn a_slow_upload_is_not_the_upstreams_fault() {
    let gw = TestGateway::with(&sections("timeouts: { attempt: 500ms }, retry: { attempts: 1 }"));
    let mut client = RawClient::connect(gw.addr()).await;
    client.send(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\n").await;
    // Longer in all than a try may take, and never a pause as long.
    assert_eq!(client.send_slowly(b"abcdefghijkl", Duration::from_millis(100)).await, 12);
    assert_eq!(client.read_response().await.status, 200);
    assert_eq!(gw.origin.only_request().body, b"abcdefghijkl");
}

#[tokio::test]
async fn an_http10_caller_gets_no_interim_answers() {
    let gw = TestGateway::with(&once());
    gw.origin.always(Answer::ok().informational(103, 2));
    let old = Request::get("/a").http10().send(gw.addr()).await;
    assert_eq!((old.status, old.informational.len()), (200, 0));
}
