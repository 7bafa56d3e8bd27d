//! `upstreams.X.urls`: several backends that answer alike, of which some fail, all do, or come back.

use std::time::Duration;

use tollgate::clock::TestClock;

use crate::support::client::{RawClient, Request, Response};
use crate::support::eventually::{driven, eventually_async};
use crate::support::gateway::{TOKEN, TestGateway, assert_refused};
use crate::support::origin::{Answer, Gate, MockOrigin};
use crate::support::tls_origin::Authority;
use crate::support::unreachable::{RefusedPort, SilentPort};

const ROUTES: &str = "routes:
  /a: { pipe: a }
  /p: { proxy: /p, methods: [GET, POST] }
";

/// Waits so short that they need no clock of the test's own.
const QUICK: &str = "retry: { base: 1ms, max: 1ms }";
/// One try each, so that every failure shows.
const ONCE: &str = "retry: { attempts: 1 }";

/// An upstream with the gateway's own origin and these others, and further keys.
fn sections(others: &[&str], keys: &str) -> String {
    let others: String = others.iter().map(|url| format!(", '{url}'")).collect();
    format!("upstreams: {{ t: {{ urls: ['{{origin}}'{others}], token: '{TOKEN}', {keys} }} }}\n{ROUTES}")
}

fn up(backend: &str) -> String {
    format!("tollgate_upstream_backend_up{{backend=\"{backend}\",upstream=\"t\"}}")
}

fn ejections(backend: &str) -> String {
    format!("tollgate_upstream_ejections_total{{backend=\"{backend}\",upstream=\"t\"}}")
}

async fn statuses(gw: &TestGateway, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(gw.get("/a").await.status);
    }
    statuses
}

#[tokio::test]
async fn requests_take_the_backends_in_turn_each_with_its_own_host() {
    let [b, c] = [MockOrigin::start(), MockOrigin::start()];
    let gw = TestGateway::with(&sections(&[&b.url(), &c.url()], QUICK));
    assert_eq!(statuses(&gw, 30).await, [200; 30]);
    for origin in [&gw.origin, &b, &c] {
        let received = origin.received();
        assert_eq!(received.len(), 10, "each has its share");
        for request in received {
            assert_eq!(request.header("host"), Some(origin.addr().to_string()), "{request:?}");
            assert_eq!(request.header("authorization"), Some(format!("Bearer {TOKEN}")));
        }
    }
}

#[tokio::test]
async fn who_is_busy_gets_less() {
    let slow = MockOrigin::start();
    let gw = TestGateway::with(&sections(&[&slow.url()], QUICK));
    let gate = Gate::new();
    slow.always(Answer::ok().gate(&gate));
    let mut waiting = Vec::new();
    // Of two in a row, one goes there, and waits.
    for _ in 0..2 {
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        waiting.push(client);
    }
    slow.until("one request", |seen| seen.requests.len() == 1).await;
    assert_eq!(statuses(&gw, 20).await, [200; 20]);
    assert_eq!(slow.received_count(), 1, "who has one under way is passed over while the other has none");
    gate.open();
}

#[tokio::test]
async fn a_retry_goes_to_another_backend() {
    let b = MockOrigin::start();
    for failure in [Answer::status(500), Answer::status(429)] {
        let gw = TestGateway::with(&sections(&[&b.url()], QUICK));
        b.forget_requests();
        gw.origin.always(failure);
        assert_eq!(statuses(&gw, 10).await, [200; 10]);
        assert_eq!(gw.origin.received_count(), 5);
        assert_eq!(b.received_count(), 10, "its own five, and five that failed elsewhere");
        assert_eq!(gw.metric(&ejections(&gw.origin.addr().to_string())).await, 0.0, "429 and 500 are the API's own");
    }
}

#[tokio::test]
async fn one_that_refuses_is_passed_over_and_then_left_alone() {
    let time = TestClock::new();
    let dead = RefusedPort::reserve();
    let gw = TestGateway::with_clock(&sections(&[&dead.url()], "retry: { base: 1ms, max: 1ms }"), &time);
    let call = async { statuses(&gw, 40).await };
    assert_eq!(driven(&time, Duration::from_millis(1), call).await, [200; 40], "nobody notices");
    let dead = dead.addr().to_string();
    assert_eq!(gw.metric(&ejections(&dead)).await, 1.0);
    assert_eq!(gw.metric(&up(&dead)).await, 0.0);
    let well = up(&gw.origin.addr().to_string());
    eventually_async("the other to be told", || async { gw.metric(&well).await == 1.0 }).await;
    let retries = gw.metric("tollgate_retries_total{reason=\"connect\",upstream=\"t\"}").await;
    assert_eq!(retries, 5.0, "after five failures nobody tries it any more");
}

#[tokio::test]
async fn one_that_cannot_be_trusted_is_passed_over_and_then_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    let authority = Authority::new();
    authority.write(&ca);
    let right = authority.origin("localhost").await;
    for wrong in [
        authority.origin_until("localhost", (2020, 1, 1)).await,
        authority.origin("other.example.com").await,
        Authority::new().origin("localhost").await,
    ] {
        let [good, bad] = [&right, &wrong].map(|origin| origin.url("localhost"));
        let before = right.requests();
        let gw = TestGateway::with(&format!(
            "upstreams: {{ t: {{ urls: ['{good}', '{bad}'], token: '{TOKEN}', tls: {{ ca: '{}' }}, {QUICK} }} }}\n{ROUTES}",
            ca.display()
        ));
        found(&gw, 1.0).await;
        assert_eq!(statuses(&gw, 40).await, [200; 40], "nobody notices");
        assert_eq!((right.requests() - before, wrong.requests()), (40, 0), "nothing is said to whom nobody knows");
        let bad = bad.trim_start_matches("https://");
        assert_eq!(gw.metric(&ejections(bad)).await, 1.0);
        assert_eq!(gw.metric(&up(bad)).await, 0.0);
        let retries = gw.metric("tollgate_retries_total{reason=\"connect\",upstream=\"t\"}").await;
        assert_eq!(retries, 5.0, "after five failures nobody tries it any more");
    }
}

#[tokio::test]
async fn one_without_an_address_is_never_tried() {
    let gw = TestGateway::with(&sections(&["http://nowhere.invalid"], QUICK));
    found(&gw, 0.0).await;
    assert_eq!(statuses(&gw, 40).await, [200; 40]);
    assert_eq!(gw.metric("tollgate_retries_total{reason=\"connect\",upstream=\"t\"}").await, 0.0);
    assert_eq!(gw.origin.received_count(), 40);
}

/// Waits until the names of the upstream's backends have been looked up, with this result.
async fn found(gw: &TestGateway, result: f64) {
    eventually_async("names to be looked up", || async {
        gw.metrics().await.contains(&format!("tollgate_upstream_resolved{{upstream=\"t\"}} {result}"))
    })
    .await;
}

#[tokio::test]
async fn a_dead_backend_of_two_costs_one_request_in_each_interval() {
    let time = TestClock::new();
    let silent = SilentPort::start();
    let keys = "retry: { attempts: 1 }, timeouts: { connect: 50ms }, eject: { after: 3, for: 10s, max: 20s }";
    let gw = TestGateway::with_clock(&sections(&[&silent.url()], keys), &time);
    let failed = |statuses: &[u16]| statuses.iter().filter(|status| **status == 504).count();
    assert_eq!(failed(&statuses(&gw, 30).await), 3, "until it is known to be dead");
    for (interval, seconds) in [10, 20, 20].into_iter().enumerate() {
        time.advance(Duration::from_secs(seconds - 1));
        assert_eq!(failed(&statuses(&gw, 10).await), 0, "nobody goes there early in interval {interval}");
        time.advance(Duration::from_secs(1));
        assert_eq!(failed(&statuses(&gw, 20).await), 1, "one finds out in interval {interval}");
    }
    assert_eq!(gw.metric(&ejections(&silent.addr().to_string())).await, 4.0);
}

#[tokio::test]
async fn one_request_finds_out_whether_a_backend_is_well_again() {
    let time = TestClock::new();
    let b = MockOrigin::start();
    let keys = format!("{ONCE}, eject: {{ after: 2, for: 10s }}");
    let gw = TestGateway::with_clock(&sections(&[&b.url()], &keys), &time);
    b.always(Answer::status(503));
    let first = statuses(&gw, 10).await;
    assert_eq!(first.iter().filter(|status| **status == 503).count(), 2);
    assert_eq!(b.received_count(), 2);
    let gate = Gate::new();
    b.always(Answer::ok().gate(&gate));
    time.advance(Duration::from_secs(10));
    // One of these finds out, and waits for that. Nobody else goes there.
    let probe = tokio::spawn({
        let address = gw.addr();
        async move {
            let mut calls = Vec::new();
            for _ in 0..2 {
                calls.push(tokio::spawn(async move { Request::get("/a").send(address).await.status }));
            }
            let mut statuses = Vec::new();
            for call in calls {
                statuses.push(call.await.expect("an answer"));
            }
            statuses
        }
    });
    gate.until_reached(1).await;
    assert_eq!(statuses(&gw, 20).await, [200; 20]);
    assert_eq!(b.received_count(), 3, "one alone finds out");
    assert_eq!(gw.metric(&up(&b.addr().to_string())).await, 0.0);
    gate.open();
    assert_eq!(probe.await.expect("answers"), [200; 2]);
    assert_eq!(gw.metric(&up(&b.addr().to_string())).await, 1.0);
    assert_eq!(statuses(&gw, 10).await, [200; 10]);
    assert_eq!(b.received_count(), 8, "half of the requests again");
}

#[tokio::test]
async fn a_caller_who_leaves_while_finding_out_holds_nobody_up() {
    let time = TestClock::new();
    let b = MockOrigin::start();
    let keys = format!("{ONCE}, eject: {{ after: 1, for: 10s }}");
    let gw = TestGateway::with_clock(&sections(&[&b.url()], &keys), &time);
    b.always(Answer::reset());
    statuses(&gw, 4).await;
    assert_eq!(b.received_count(), 1);
    b.always(Answer::never());
    time.advance(Duration::from_secs(10));
    // Two, since every second one finds out.
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        clients.push(client);
    }
    b.until("the one that finds out", |seen| seen.requests.len() == 2).await;
    drop(clients);
    b.wait_for_hang_ups(1);
    b.always(Answer::ok());
    assert_eq!(statuses(&gw, 4).await, [200; 4], "nobody goes there at once");
    assert_eq!(b.received_count(), 2);
    time.advance(Duration::from_secs(10));
    assert_eq!(statuses(&gw, 10).await, [200; 10]);
    assert!(b.received_count() > 3, "it is found out, and it is back");
}

#[tokio::test]
async fn while_none_is_well_all_are_tried() {
    let time = TestClock::new();
    let b = MockOrigin::start();
    let keys = format!("{ONCE}, eject: {{ after: 1, for: 60s }}");
    let gw = TestGateway::with_clock(&sections(&[&b.url()], &keys), &time);
    gw.origin.always(Answer::status(502));
    b.always(Answer::status(504));
    let answers = statuses(&gw, 10).await;
    assert!(answers.iter().all(|status| matches!(status, 502 | 504)), "{answers:?}");
    assert_eq!((gw.origin.received_count(), b.received_count()), (5, 5));
    assert_eq!(gw.metric("tollgate_upstream_all_out_total{upstream=\"t\"}").await, 8.0);
    b.always(Answer::ok());
    // The first that comes to it takes it back, before its time.
    assert!(statuses(&gw, 2).await.contains(&200));
    assert_eq!(gw.metric(&up(&b.addr().to_string())).await, 1.0);
    assert_eq!(statuses(&gw, 10).await, [200; 10]);
}

#[tokio::test]
async fn a_breaker_refuses_at_once_and_says_for_how_long() {
    let time = TestClock::new();
    let keys = format!("{ONCE}, eject: {{ after: 2, for: 10s, all_out: refuse }}");
    let gw = TestGateway::with_clock(
        &format!("upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}', {keys} }} }}\n{ROUTES}"),
        &time,
    );
    gw.origin.always(Answer::reset());
    assert_eq!(statuses(&gw, 2).await, [502, 502]);
    time.advance(Duration::from_secs(3));
    for _ in 0..5 {
        let response = gw.get("/a").await;
        assert_refused(&response, 503, "upstream_unavailable");
        assert_eq!(response.header("retry-after").as_deref(), Some("7"));
    }
    assert_eq!(gw.origin.received_count(), 2);
    gw.origin.always(Answer::ok());
    time.advance(Duration::from_secs(7));
    assert_eq!(statuses(&gw, 5).await, [200; 5]);
}

#[tokio::test]
async fn one_url_alone_is_always_tried() {
    let gw =
        TestGateway::with(&format!("upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}', {ONCE} }} }}\n{ROUTES}"));
    gw.origin.always(Answer::status(503));
    assert_eq!(statuses(&gw, 20).await, [503; 20]);
    assert_eq!(gw.origin.received_count(), 20);
    assert!(!gw.metrics().await.contains("tollgate_upstream_backend_up{"), "nobody watches it");
}

#[tokio::test]
async fn what_cannot_be_repeated_is_sent_once() {
    let b = MockOrigin::start();
    let gw = TestGateway::with(&sections(&[&b.url()], QUICK));
    for origin in [&gw.origin, &b] {
        origin.always(Answer::status(500));
    }
    let post = || Request::post("/p").header("Content-Type", "text/plain").body("once");
    assert_eq!(post().send(gw.addr()).await.status, 500);
    assert_eq!(gw.origin.received_count() + b.received_count(), 1);
    for origin in [&gw.origin, &b] {
        origin.always(Answer::reset());
    }
    assert_eq!(post().send(gw.addr()).await.status, 502);
    assert_eq!(gw.origin.received_count() + b.received_count(), 2);
}

#[tokio::test]
async fn nothing_was_sent_to_one_that_refuses_so_anything_goes_to_another() {
    let dead = RefusedPort::reserve();
    let gw = TestGateway::with(&sections(&[&dead.url()], QUICK));
    for number in 1..=6 {
        let response = Request::post("/p").header("Content-Type", "text/plain").body("once").send(gw.addr()).await;
        assert_eq!(response.status, 200);
        assert_eq!(gw.origin.received_count(), number);
        assert_eq!(gw.origin.received()[number - 1].body, b"once");
    }
}

#[tokio::test]
async fn a_reload_forgets_nothing_of_a_backend_that_stays() {
    let time = TestClock::new();
    let [b, c] = [MockOrigin::start(), MockOrigin::start()];
    let keys = |attempts| format!("retry: {{ attempts: {attempts} }}, eject: {{ after: 1, for: 60s }}");
    let gw = TestGateway::from_file(&sections(&[&b.url()], &keys(1)), time.clock());
    b.always(Answer::status(503));
    statuses(&gw, 4).await;
    assert_eq!(b.received_count(), 1);
    gw.rewrite(&sections(&[&c.url(), &b.url()], &keys(2)));
    let report = gw.reload().await;
    assert_eq!(report.status, 200, "{}", report.body_text());
    assert_eq!(statuses(&gw, 10).await, [200; 10]);
    assert_eq!(b.received_count(), 1, "it is still left out");
    assert!((4..=6).contains(&c.received_count()), "the new one is not, and the two share: {}", c.received_count());
    gw.rewrite(&sections(&[&c.url()], &keys(2)));
    assert_eq!(gw.reload().await.status, 200);
    assert_eq!(statuses(&gw, 10).await, [200; 10]);
    let gone = up(&b.addr().to_string());
    eventually_async("the backend to be gone", || async { !gw.metrics().await.contains(&gone) }).await;
}

#[tokio::test]
async fn nobody_learns_where_the_backends_are() {
    let [b, dead] = [MockOrigin::start(), MockOrigin::start()];
    let gw = TestGateway::with(&sections(&[&b.url()], ONCE));
    let text = format!(r#"{{"error":"ask {} or {} instead"}}"#, b.addr(), gw.origin.addr());
    for origin in [&gw.origin, &b] {
        origin.always(Answer::json(400, &text));
    }
    drop(dead);
    for _ in 0..2 {
        let response: Response = gw.get("/a").await;
        assert_eq!(response.status, 400);
        assert!(!response.body_text().contains(&b.addr().to_string()), "{}", response.body_text());
        assert!(!response.body_text().contains(&gw.origin.addr().to_string()), "{}", response.body_text());
    }
    // A redirect to another backend stays on the route, or leads nowhere.
    gw.origin.always(Answer::redirect(&format!("{}/elsewhere", b.url())));
    b.always(Answer::redirect(&format!("{}/elsewhere", gw.origin.url())));
    for _ in 0..2 {
        assert_eq!(gw.get("/a").await.header("location"), None);
    }
}

#[tokio::test]
async fn a_backend_that_never_answers_counts_as_failed() {
    let time = TestClock::new();
    let b = MockOrigin::start();
    let keys = format!("{ONCE}, timeouts: {{ attempt: 1s }}, eject: {{ after: 1, for: 60s }}");
    let gw = TestGateway::with_clock(&sections(&[&b.url()], &keys), &time);
    b.always(Answer::never());
    let address = gw.addr();
    let calls = [(); 2].map(|()| tokio::spawn(async move { Request::get("/a").send(address).await.status }));
    b.until("one of the two", |seen| seen.requests.len() == 1).await;
    time.advance(Duration::from_secs(1));
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.expect("an answer"));
    }
    answers.sort_unstable();
    assert_eq!(answers, [200, 504]);
    assert_eq!(gw.metric(&ejections(&b.addr().to_string())).await, 1.0);
    assert_eq!(gw.metric(&up(&b.addr().to_string())).await, 0.0);
}

/// Turns the clock until `holds` says so: health checks and their waits go by it.
async fn turning<F: Future<Output = bool>>(time: &TestClock, what: &str, mut holds: impl FnMut() -> F) {
    eventually_async(what, || {
        time.advance(Duration::from_secs(1));
        holds()
    })
    .await;
}

fn asked(origin: &MockOrigin, path: &str) -> usize {
    origin.received().iter().filter(|request| request.target == path).count()
}

#[tokio::test]
async fn who_fails_its_health_checks_gets_no_requests_until_it_passes_them() {
    for ill in [Answer::status(503), Answer::status(404), Answer::redirect("/"), Answer::reset(), Answer::never()] {
        let time = TestClock::new();
        let b = MockOrigin::start();
        b.on_path("/health", ill);
        let keys = format!("{ONCE}, health: {{ path: '/health?deep=1', every: 5s }}");
        let gw = TestGateway::with_clock(&sections(&[&b.url()], &keys), &time);
        let up = up(&b.addr().to_string());
        eventually_async("the first word of it", || async { gw.metrics().await.contains(&up) }).await;
        turning(&time, "it to be out", || async { gw.metric(&up).await == 0.0 }).await;
        assert!(asked(&b, "/health?deep=1") >= 3, "not after the first");
        let before = asked(&b, "/v0/pipes/a.json");
        assert_eq!(statuses(&gw, 10).await, [200; 10]);
        assert_eq!(asked(&b, "/v0/pipes/a.json"), before);
        b.on_path("/health", Answer::ok());
        turning(&time, "it to be back", || async { gw.metric(&up).await == 1.0 }).await;
        assert_eq!(statuses(&gw, 10).await, [200; 10]);
        assert!(asked(&b, "/v0/pipes/a.json") > before);
        let checks = |result: &str| {
            let backend = b.addr();
            format!("tollgate_upstream_health_checks_total{{backend=\"{backend}\",result=\"{result}\",upstream=\"t\"}}")
        };
        assert!(gw.metric(&checks("ok")).await >= 2.0);
        assert!(gw.metric(&checks("failed")).await >= 3.0);
    }
}

#[tokio::test]
async fn a_health_check_carries_no_credential_unless_that_is_wanted() {
    for (further, token) in [("", None), (", authorized: true", Some(format!("Bearer {TOKEN}")))] {
        let gw = TestGateway::with(&format!(
            "upstreams: {{ t: {{ url: '{{origin}}/base', token: '{TOKEN}', health: {{ path: /ping{further} }} }} }}\n{ROUTES}"
        ));
        let request = gw.origin.requests(1).await.remove(0);
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/base/ping"));
        assert_eq!(request.header("authorization"), token);
        assert_eq!(request.header("host"), Some(gw.origin.addr().to_string()));
    }
}

#[tokio::test]
async fn while_all_fail_their_health_checks_all_are_tried() {
    let time = TestClock::new();
    let b = MockOrigin::start();
    let keys = format!("{ONCE}, health: {{ path: /health, down_after: 1 }}");
    let origin = MockOrigin::start();
    for origin in [&origin, &b] {
        origin.on_path("/health", Answer::status(500));
    }
    let gw = TestGateway::start(origin, &sections(&[&b.url()], &keys), time.clock());
    for origin in [&gw.origin, &b] {
        let up = up(&origin.addr().to_string());
        let told = || async { gw.metrics().await.contains(&format!("{up} 0")) };
        turning(&time, "it to be out", told).await;
    }
    assert_eq!(statuses(&gw, 10).await, [200; 10]);
    assert_eq!(gw.metric("tollgate_upstream_all_out_total{upstream=\"t\"}").await, 10.0);
}

#[tokio::test]
async fn without_health_checks_nothing_of_them_is_held_against_a_backend() {
    let time = TestClock::new();
    let b = MockOrigin::start();
    b.on_path("/health", Answer::status(500));
    let gw = TestGateway::from_file(&sections(&[&b.url()], "health: { path: /health, down_after: 1 }"), time.clock());
    let up = up(&b.addr().to_string());
    turning(&time, "it to be out", || async { gw.metrics().await.contains(&format!("{up} 0")) }).await;
    gw.rewrite(&sections(&[&b.url()], ONCE));
    let report = gw.reload().await;
    assert_eq!(report.status, 200, "{}", report.body_text());
    assert_eq!(statuses(&gw, 10).await, [200; 10]);
    assert!(asked(&b, "/v0/pipes/a.json") >= 4);
    turning(&time, "the gauge to follow", || async { gw.metric(&up).await == 1.0 }).await;
    eventually_async("nobody to ask any more", || async {
        let before = asked(&b, "/health");
        time.advance(Duration::from_secs(60));
        statuses(&gw, 10).await;
        asked(&b, "/health") == before
    })
    .await;
}
