//! `retry`: which failures are healed, how often and after which wait, and what the caller sees when it does not help.

use std::time::{Duration, SystemTime};

use tollgate::clock::TestClock;

use crate::support::client::{RawClient, Request, Response};
use crate::support::eventually::{asleep, driven, eventually};
use crate::support::gateway::{TOKEN, TestGateway, assert_nothing_betrayed, assert_refused};
use crate::support::h2_client::H2Client;
use crate::support::origin::{Answer, Gate, MockOrigin, Received, Then};
use crate::support::unreachable::RefusedPort;

const ROUTES: &str = "routes:
  /a: { pipe: a }
  /b: { pipe: b }
  /fixed: { pipe: fixed, params: { fixed: { company_id: acme } } }
  /p: { proxy: /p, methods: [GET, HEAD, POST, PUT] }
";

/// Waits so short that they need no clock of the test's own.
const QUICK: &str = "retry: { base: 1ms, max: 1ms }";

/// The routes above, in front of an upstream with these further keys.
fn sections(keys: &str) -> String {
    format!("upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}', {keys} }} }}\n{ROUTES}")
}

fn status(status: u16) -> Answer {
    Answer::status(status)
}

fn after(status: u16, seconds: u32) -> Answer {
    Answer::status(status).header("Retry-After", seconds.to_string())
}

/// All values of `company_id` that reached the origin, wherever they stood.
fn tenants(request: &Received) -> Vec<String> {
    let mut values = request.query_values("company_id");
    let json = serde_json::from_slice::<serde_json::Value>(&request.body).ok();
    match json.as_ref().and_then(|json| json.get("company_id")).and_then(|value| value.as_str()) {
        Some(value) => values.push(value.to_owned()),
        None => {
            values.extend(request.form_pairs().into_iter().filter(|pair| pair.0 == "company_id").map(|pair| pair.1))
        }
    }
    values
}

/// All that a try said, but for the trace: each try is a span of its own.
fn said(request: &Received) -> String {
    let fields: Vec<_> = request.headers.iter().filter(|field| field.0 != "traceparent").collect();
    format!("{} {} {fields:?} {}", request.method, request.target, request.raw_body.escape_ascii())
}

#[tokio::test]
async fn a_burst_of_429_and_500_is_healed_with_the_same_bytes_in_every_try() {
    let long = format!("company_id=evil&list={}", "0123456789".repeat(5_900));
    let calls = [
        Request::get("/fixed?limit=5&company_id=evil"),
        Request::head("/fixed?limit=5"),
        Request::post("/fixed?limit=5").form("a=1&b=%20x&company_id=evil"),
        Request::post("/fixed").form(&long),
        Request::post("/fixed?c=2").json(r#"{"id":18446744073709551615,"f":1.50,"company_id":"evil"}"#),
        Request::post("/fixed")
            .chunked([&b"a=1&"[..], b"b=2"])
            .header("Content-Type", "application/x-www-form-urlencoded"),
    ];
    for failure in [429, 500] {
        for call in &calls {
            let gw = TestGateway::with(&sections(QUICK));
            gw.origin.script([status(failure), status(failure)]);
            let response = call.send(gw.addr()).await;
            assert_eq!(response.status, 200, "{call:?} after {failure}");
            response.assert_strictly_valid();
            let tries = gw.origin.received();
            assert_eq!(tries.len(), 3, "{call:?} after {failure}");
            for request in &tries {
                request.assert_strictly_valid();
                assert_eq!(said(request), said(&tries[0]), "the tries differ: {tries:#?}");
                assert_eq!(tenants(request), ["acme"], "{request:#?}");
            }
        }
    }
}

#[tokio::test]
async fn other_statuses_pass_at_once() {
    for failure in [400, 401, 403, 404, 408, 409, 501, 502, 503, 504] {
        let gw = TestGateway::with(&sections(QUICK));
        gw.origin.script([status(failure)]);
        let response = gw.get("/a").await;
        assert_eq!(response.status, failure);
        assert_nothing_betrayed(&response);
        gw.origin.only_request();
    }
}

#[tokio::test]
async fn the_statuses_are_the_operators_choice() {
    let gw = TestGateway::with(&sections("retry: { on: [503], base: 1ms, max: 1ms }"));
    gw.origin.script([status(503), status(503)]);
    assert_eq!(gw.get("/a").await.status, 200);
    assert_eq!(gw.origin.received_count(), 3);
    for unlisted in [429, 500] {
        gw.origin.forget_requests();
        gw.origin.script([status(unlisted)]);
        assert_eq!(gw.get("/a").await.status, unlisted);
        gw.origin.only_request();
    }
}

#[tokio::test]
async fn the_last_answer_passes_when_the_tries_are_spent() {
    let gw = TestGateway::with(&sections(QUICK));
    let last =
        Answer::json(429, r#"{"error":"slow down, see https://www.tinybird.co/docs","documentation":"https://x"}"#);
    gw.origin.script([after(429, 0), status(500), last.header("Retry-After", "9").header("Server", "Tinybird")]);
    let response = gw.get("/a").await;
    assert_eq!(response.status, 429);
    assert_eq!(response.header("retry-after").as_deref(), Some("9"));
    assert_eq!(response.json()["error"], "slow down, see [link]");
    assert_nothing_betrayed(&response);
    response.assert_strictly_valid();
    assert_eq!(gw.origin.received_count(), 3);

    // Until the upstream's pause is over nothing would be sent there.
    let gw = TestGateway::with(&sections(QUICK));
    gw.origin.script([status(500), status(500), Answer::json(500, r#"{"error":"SELECT secret FROM t"}"#)]);
    let response = gw.get("/a").await;
    assert_eq!(response.status, 500);
    assert!(!response.contains("SELECT"), "{response:#?}");
    assert_nothing_betrayed(&response);
    assert_eq!(gw.origin.received_count(), 3);
}

#[tokio::test]
async fn one_attempt_means_no_retry() {
    let gw = TestGateway::with(&sections("retry: { attempts: 1 }"));
    for failure in [429, 500] {
        gw.origin.forget_requests();
        gw.origin.script([status(failure)]);
        assert_eq!(gw.get("/a").await.status, failure);
        gw.origin.only_request();
    }
}

#[tokio::test]
async fn a_body_that_is_sent_again_counts_once() {
    let gw = TestGateway::with(&format!("{}server: {{ max_body: 20KiB }}\n", sections("retry: { base: 1ms }")));
    gw.origin.script([status(500), status(500), Answer::ok()]);
    let body = vec![b'x'; 12 << 10];
    let response = Request::get("/p").typed_body("text/plain", &body).send(gw.addr()).await;
    assert_eq!(response.status, 200, "{}", response.body_text());
    assert!(gw.origin.received().iter().all(|seen| seen.body == body));
    assert_eq!(gw.log(1).await[0]["bytes_in"], body.len());
}

#[tokio::test]
async fn a_write_through_a_proxy_route_is_not_repeated_after_an_answer() {
    let gw = TestGateway::with(&sections(QUICK));
    for failure in [429, 500] {
        for method in ["POST", "PUT"] {
            gw.origin.forget_requests();
            gw.origin.script([status(failure)]);
            let response = Request::new(method, "/p").typed_body("text/plain", "one line").send(gw.addr()).await;
            assert_eq!(response.status, failure, "{method}");
            gw.origin.only_request();
        }
        gw.origin.forget_requests();
        gw.origin.script([status(failure)]);
        assert_eq!(gw.get("/p").await.status, 200, "reading is repeated");
        assert_eq!(gw.origin.received_count(), 2);
    }
}

/// Begins a call that the test turns the clock for.
fn begin(gw: &TestGateway, request: Request) -> tokio::task::JoinHandle<Response> {
    let addr = gw.addr();
    tokio::spawn(async move { request.send(addr).await })
}

#[tokio::test]
async fn retry_after_is_waited_for_to_the_second() {
    let time = TestClock::new();
    let date = httpdate::fmt_http_date(time.clock().wall() + Duration::from_secs(7));
    for retry_after in ["7".to_owned(), date] {
        let time = TestClock::new();
        let gw = TestGateway::with_clock(&sections("retry: { base: 1ms }"), &time);
        gw.origin.script_on_path("/v0/pipes/a", [status(429).header("Retry-After", &retry_after)]);
        let call = begin(&gw, Request::get("/a"));
        asleep(&time, 1).await;
        time.advance(Duration::from_millis(6_900));
        assert_eq!(time.sleepers(), 1, "still waiting");
        assert_eq!(gw.origin.received_count(), 1, "{retry_after}");
        time.advance(Duration::from_millis(100));
        assert_eq!(call.await.unwrap().status, 200);
        assert_eq!(gw.origin.received_count(), 2);
    }
}

#[tokio::test]
async fn a_retry_after_beyond_the_total_time_is_passed_on_at_once() {
    let time = TestClock::new();
    let gw = TestGateway::with_clock(&sections("timeouts: { total: 10s }"), &time);
    gw.origin.script([after(429, 11)]);
    let response = gw.get("/a").await;
    assert_eq!((response.status, response.header("retry-after").as_deref()), (429, Some("11")));
    gw.origin.only_request();

    // What has passed already counts.
    time.advance(Duration::from_secs(11));
    gw.origin.forget_requests();
    gw.origin.script([after(429, 6), after(429, 6)]);
    let call = begin(&gw, Request::get("/a"));
    asleep(&time, 1).await;
    time.advance(Duration::from_secs(6));
    let response = call.await.unwrap();
    assert_eq!((response.status, response.header("retry-after").as_deref()), (429, Some("6")));
    assert_eq!(gw.origin.received_count(), 2);

    // A number or date that no clock reaches is no wait, and nothing breaks.
    for odd in ["99999999999999999999", "-1", "soon", "Fri, 31 Dec 9999 23:59:59 GMT", ""] {
        gw.origin.forget_requests();
        gw.origin.script([status(429).header("Retry-After", odd)]);
        let response = driven(&time, Duration::from_millis(100), gw.get("/a")).await;
        assert!(matches!(response.status, 200 | 429), "{odd}: {response:#?}");
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn back_off_doubles_up_to_its_bound() {
    let time = TestClock::new();
    let keys = "timeouts: { total: 600s, attempt: 600s }, retry: { attempts: 6, base: 1s, max: 3s }";
    let gw = TestGateway::with_clock(&sections(keys), &time);
    for _ in 0..2 {
        gw.origin.forget_requests();
        gw.origin.script((0..5).map(|_| status(500)));
        let call = begin(&gw, Request::get("/a"));
        for (tries, bound) in [1, 2, 3, 3, 3].into_iter().enumerate() {
            gw.origin.requests(tries + 1).await;
            asleep(&time, 1).await;
            time.advance(Duration::from_secs(bound));
        }
        assert_eq!(call.await.unwrap().status, 200);
        assert_eq!(gw.origin.received_count(), 6);
    }
}

#[tokio::test]
async fn back_off_has_full_jitter() {
    let time = TestClock::new();
    let keys = "timeouts: { total: 600s, attempt: 600s }, retry: { attempts: 2, base: 10s, max: 10s, budget: 100% }";
    let gw = TestGateway::with_clock(&sections(keys), &time);
    let calls = 24;
    gw.origin.script((0..calls).map(|_| status(500)));
    let calls: Vec<_> = (0..calls).map(|_| begin(&gw, Request::get("/a"))).collect();
    asleep(&time, calls.len()).await;
    time.advance(Duration::from_secs(5));
    eventually("some to wake", || time.sleepers() < calls.len()).await;
    gw.get("/b").await;
    let waiting = time.sleepers();
    assert!(waiting > 0, "nobody waits longer than half the bound");
    time.advance(Duration::from_secs(5));
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
}

/// Sends `calls` calls that fail, turning the clock by a millisecond for each wait; returns how many tries they made.
async fn failing(gw: &TestGateway, time: &TestClock, path: &str, calls: usize) -> usize {
    let before = gw.origin.received_count();
    for _ in 0..calls {
        let response = driven(time, Duration::from_millis(1), gw.get(path)).await;
        assert_eq!(response.status, 500);
    }
    gw.origin.received_count() - before
}

#[tokio::test]
async fn a_quiet_gateway_has_ten_retries_in_ten_seconds() {
    let time = TestClock::new();
    let upstream = format!("url: '{{origin}}', token: '{TOKEN}', retry: {{ attempts: 2, base: 1ms, max: 1ms }}");
    let text = format!(
        "upstreams: {{ t: {{ {upstream} }}, u: {{ {upstream} }} }}
routes: {{ /a: {{ pipe: a, upstream: t }}, /b: {{ pipe: b, upstream: u }} }}"
    );
    let gw = TestGateway::with_clock(&text, &time);
    gw.origin.always(status(500));
    assert_eq!(failing(&gw, &time, "/a", 15).await, 15 + 10);
    assert_eq!(failing(&gw, &time, "/b", 15).await, 15 + 10, "another upstream has its own");
    time.advance(Duration::from_secs(11));
    assert_eq!(failing(&gw, &time, "/a", 15).await, 15 + 10, "ten seconds later");
}

#[tokio::test]
async fn retries_are_at_most_a_fifth_of_the_requests() {
    let time = TestClock::new();
    let gw = TestGateway::with_clock(&sections("retry: { attempts: 3, base: 1ms, max: 1ms }"), &time);
    let mut client = RawClient::connect(gw.addr()).await;
    for _ in 0..90 {
        assert_eq!(Request::get("/a").send_on(&mut client).await.status, 200);
    }
    gw.origin.always(status(500));
    let tries = failing(&gw, &time, "/a", 40).await;
    assert!((40 + 24..=40 + 26).contains(&tries), "{tries} tries for 40 calls beside 90 good ones");
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_and_then_502() {
    let port = RefusedPort::reserve();
    let upstream = format!("url: '{}', token: '{TOKEN}', retry: {{ base: 1ms, max: 1ms }}", port.url());
    let gw = TestGateway::with(&format!("upstreams: {{ t: {{ {upstream} }} }}\n{ROUTES}"));
    assert_refused(&gw.get("/a").await, 502, "upstream_failed");
    assert_refused(&gw.post("/p", "text/plain", b"x").await, 502, "upstream_failed");
    let log = gw.log(2).await;
    assert_eq!((log[0]["attempts"].as_u64(), log[1]["attempts"].as_u64()), (Some(3), Some(3)), "{log:?}");
    assert_eq!(gw.metric(r#"tollgate_retries_total{reason="connect",upstream="t"}"#).await, 4.0);
    // It comes back where it was.
    let addr = port.addr();
    drop(port);
    let origin = MockOrigin::start_at(addr);
    assert_eq!(gw.get("/a").await.status, 200);
    origin.only_request();
}

#[tokio::test]
async fn a_kept_connection_that_just_closed_is_healed() {
    for then in [Then::CloseOnReuse, Then::ResetOnReuse] {
        let calls = [
            Request::get("/a?x=1"),
            Request::head("/a?x=1"),
            Request::post("/a?x=1").form("a=1"),
            Request::post("/a").json(r#"{"a":1}"#),
            Request::get("/p"),
        ];
        for call in calls {
            let gw = TestGateway::with(&sections(""));
            gw.origin.script([Answer::ok().then(then)]);
            assert_eq!(gw.get("/a").await.status, 200);
            // Its line is written once the connection is kept.
            gw.log(1).await;
            let response = call.send(gw.addr()).await;
            assert_eq!(response.status, 200, "{call:?} {then:?} {:?}", gw.log(2).await[1]);
            let seen = gw.origin.seen();
            assert!(!seen.connections[0].stray.is_empty(), "the kept connection was not used: {seen:#?}");
            assert_eq!((seen.requests.len(), seen.connections.len()), (2, 2), "{seen:#?}");
            assert_eq!(gw.log(2).await[1]["attempts"], 2);
        }
    }
}

#[tokio::test]
async fn a_write_is_sent_at_most_once_when_the_connection_breaks() {
    // On a kept connection.
    for then in [Then::CloseOnReuse, Then::ResetOnReuse] {
        let gw = TestGateway::with(&sections(QUICK));
        gw.origin.script([Answer::ok().then(then)]);
        assert_eq!(gw.get("/p").await.status, 200);
        gw.log(1).await;
        assert_refused(&gw.post("/p", "text/plain", b"one line").await, 502, "upstream_failed");
        gw.get("/a").await;
        let seen = gw.origin.seen();
        let lines = seen.requests.iter().filter(|request| request.method == "POST").count();
        assert_eq!(lines, 0, "{seen:#?}");
        assert!(!seen.connections[0].stray.is_empty());
    }
    // On a fresh one.
    for broken in [Answer::close(), Answer::reset()] {
        let gw = TestGateway::with(&sections(QUICK));
        gw.origin.script([broken]);
        assert_refused(&gw.post("/p", "text/plain", b"one line").await, 502, "upstream_failed");
        gw.origin.only_request();
    }
}

#[tokio::test]
async fn retries_are_visible_in_metrics_and_log() {
    let gw = TestGateway::with(&sections(QUICK));
    gw.origin.script([status(500), status(429), Answer::ok(), Answer::ok()]);
    gw.get("/a").await;
    gw.log(1).await;
    gw.get("/a").await;
    let log = gw.log(2).await;
    assert_eq!((&log[0]["attempts"], &log[1]["attempts"]), (&3.into(), &1.into()));
    assert_eq!((&log[0]["status"], &log[0]["upstream"]), (&200.into(), &"t".into()));
    assert_eq!(gw.metric(r#"tollgate_retries_total{reason="500",upstream="t"}"#).await, 1.0);
    assert_eq!(gw.metric(r#"tollgate_retries_total{reason="429",upstream="t"}"#).await, 1.0);
}

/// A caller who has sent `request` and can hang up.
async fn caller(gw: &TestGateway, request: &Request) -> RawClient {
    let mut client = RawClient::connect(gw.addr()).await;
    client.send(request.bytes()).await;
    client
}

#[tokio::test]
async fn hanging_up_ends_the_back_off() {
    let calls = [
        Request::get("/a"),
        Request::post("/a").form("a=1"),
        Request::post("/a").json(r#"{"a":1}"#),
        Request::post("/a").chunked([&b"a=1"[..]]).header("Content-Type", "application/x-www-form-urlencoded"),
        Request::get("/p"),
    ];
    for call in calls {
        for abort in [false, true] {
            let time = TestClock::new();
            let gw = TestGateway::with_clock(&sections(""), &time);
            gw.origin.script([after(500, 5)]);
            let client = caller(&gw, &call).await;
            asleep(&time, 1).await;
            if abort {
                client.abort()
            } else {
                drop(client)
            }
            eventually("the back-off to end", || time.sleepers() == 0).await;
            time.advance(Duration::from_secs(9));
            let log = gw.log(1).await;
            assert_eq!((&log[0]["status"], &log[0]["attempts"]), (&499.into(), &1.into()), "{call:?} {log:?}");
            gw.get("/b").await;
            let tries = gw.origin.received();
            assert_eq!(tries.len(), 2, "{call:?}: {tries:#?}");
        }
    }
}

#[tokio::test]
async fn hanging_up_over_http2_ends_the_back_off() {
    let time = TestClock::new();
    let gw = TestGateway::with_clock(&sections(""), &time);
    gw.origin.script([after(500, 5)]);
    let addr = gw.addr();
    let call = tokio::spawn(async move { H2Client::connect(addr).await.get("/a").await });
    asleep(&time, 1).await;
    call.abort();
    eventually("the back-off to end", || time.sleepers() == 0).await;
    assert_eq!(gw.log(1).await[0]["status"], 499);
    time.advance(Duration::from_secs(9));
    gw.get("/b").await;
    assert_eq!(gw.origin.received_count(), 2);
}

#[tokio::test]
async fn hanging_up_ends_a_try_under_way() {
    let calls =
        [Request::get("/a"), Request::post("/a").form("a=1"), Request::post("/p").typed_body("text/plain", "x")];
    for call in calls {
        let gw = TestGateway::with(&sections(""));
        let gate = Gate::new();
        gw.origin.script([Answer::ok().gate(&gate)]);
        let client = caller(&gw, &call).await;
        gate.until_reached(1).await;
        drop(client);
        gw.origin.until("the hang-up", |seen| seen.hang_ups() == 1).await;
        let log = gw.log(1).await;
        assert_eq!((&log[0]["status"], &log[0]["attempts"]), (&499.into(), &1.into()), "{call:?} {log:?}");
        gw.origin.only_request();
    }
    let gw = TestGateway::with(&sections(""));
    let gate = Gate::new();
    gw.origin.script([Answer::ok().gate(&gate)]);
    let addr = gw.addr();
    let call = tokio::spawn(async move { H2Client::connect(addr).await.get("/a").await });
    gate.until_reached(1).await;
    call.abort();
    gw.origin.until("the hang-up", |seen| seen.hang_ups() == 1).await;
    assert_eq!(gw.log(1).await[0]["status"], 499);
}

#[tokio::test]
async fn a_retry_after_date_in_the_past_means_now() {
    let time = TestClock::new();
    let gw = TestGateway::with_clock(&sections("retry: { base: 1ms, max: 1ms }"), &time);
    let past = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
    gw.origin.script([status(429).header("Retry-After", past)]);
    assert_eq!(driven(&time, Duration::from_millis(1), gw.get("/a")).await.status, 200);
    assert_eq!(gw.origin.received_count(), 2);
}
