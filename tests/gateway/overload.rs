//! `upstreams.X.concurrency` and `rate`: how much an upstream gets at once and how often, who waits, and who is refused.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use tollgate::clock::TestClock;

use crate::support::client::{RawClient, Request, Response};
use crate::support::credentials::{PROVIDERS, api_key, dashboard, record, tinybird, tinybird_claims};
use crate::support::eventually::{driven, eventually_async};
use crate::support::gateway::{TOKEN, TestGateway, assert_refused};
use crate::support::h2_client::H2Client;
use crate::support::origin::{Answer, At, Gate, Piece, Then};
use crate::support::unreachable::RefusedPort;

const ROUTES: &str = "routes:
  /a: { pipe: a }
  /b: { pipe: b }
  /p: { proxy: /p, methods: [GET, HEAD, POST] }
";

/// The routes above, in front of an upstream with these further keys.
fn sections(keys: &str) -> String {
    format!("upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}', {keys} }} }}\n{ROUTES}")
}

fn with(keys: &str) -> (TestGateway, TestClock) {
    let time = TestClock::new();
    (TestGateway::with_clock(&sections(keys), &time), time)
}

/// Callers of three tenants, and one of none, in front of an upstream with these keys.
fn with_tenants(keys: &str) -> (TestGateway, TestClock) {
    let time = TestClock::new();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let line = |name: &str| record(&key(name), &format!(", tenant: {name}"));
    let keys_file = ["acme", "beta", "core"].map(line).concat();
    std::fs::write(folder.path().join("keys.yaml"), keys_file).expect("a file");
    let text = format!("{PROVIDERS}default_auth: [partners]\n{}  /open: {{ pipe: a, auth: public }}\n", sections(keys));
    (TestGateway::from_folder(folder, &text, time.clock()), time)
}

fn key(tenant: &str) -> String {
    api_key(&format!("{tenant:0<12}"), tenant)
}

/// Begins a call and does not wait for its end.
fn begin(gw: &TestGateway, request: Request) -> JoinHandle<Response> {
    let addr = gw.addr();
    tokio::spawn(async move { request.send(addr).await })
}

/// A call of this tenant, or of nobody.
fn of(tenant: &str) -> Request {
    match tenant {
        NOBODY => Request::get("/open"),
        tenant => Request::get("/a").bearer(&key(tenant)),
    }
}

const NOBODY: &str = "";

async fn waiting(gw: &TestGateway, count: usize) {
    let what = format!("{count} to wait");
    let is_so = || async { gw.metric(r#"tollgate_upstream_waiting{upstream="t"}"#).await == count as f64 };
    eventually_async(&what, is_so).await;
}

async fn in_flight(gw: &TestGateway, count: usize) {
    let what = format!("{count} to be on their way");
    let is_so = || async { gw.metric(r#"tollgate_upstream_in_flight{upstream="t"}"#).await == count as f64 };
    eventually_async(&what, is_so).await;
}

/// Asserts that an answer is the refusal of an overloaded upstream, with this wait.
fn assert_overloaded(response: &Response, retry_after: u64) {
    assert_refused(response, 429, "overloaded");
    assert_eq!(response.header("retry-after"), Some(retry_after.to_string()), "{}", response.body_text());
    response.assert_strictly_valid();
}

#[tokio::test]
async fn an_upstream_never_has_more_than_its_maximum() {
    let (gw, _) = with("concurrency: { max: 2 }");
    let gate = Gate::new();
    gw.origin.always(Answer::ok().gate(&gate));
    let calls: Vec<_> = ["/a", "/b", "/p", "/a?x=1", "/b"].map(|path| begin(&gw, Request::get(path))).into();
    gate.until_reached(2).await;
    waiting(&gw, 3).await;
    in_flight(&gw, 2).await;
    assert_eq!((gate.reached(), gw.origin.received_count()), (2, 2));
    gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    waiting(&gw, 0).await;
    in_flight(&gw, 0).await;
    assert_eq!(gw.origin.received_count(), 5);
}

#[tokio::test]
async fn who_finds_the_queue_full_is_refused_and_the_upstream_hears_nothing() {
    let (gw, _) = with("concurrency: { max: 1, queue: 1 }");
    let gate = Gate::new();
    gw.origin.script([Answer::ok().gate(&gate)]);
    let first = begin(&gw, Request::get("/a"));
    gate.until_reached(1).await;
    let second = begin(&gw, Request::get("/a"));
    waiting(&gw, 1).await;
    // The connection goes on: a caller that comes again need not open another.
    let mut client = RawClient::connect(gw.addr()).await;
    for request in [Request::get("/b"), Request::post("/b").json(r#"{"x":1}"#), Request::get("/p")] {
        assert_overloaded(&request.send_on(&mut client).await, 1);
    }
    assert_eq!(Request::head("/b").send_on(&mut client).await.status, 429);
    let response = Request::post("/p").typed_body("text/plain", "a line").send(gw.addr()).await;
    assert_overloaded(&response, 1);
    assert_eq!(gw.origin.received_count(), 1);
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(second.await.unwrap().status, 200);
    assert_eq!(Request::get("/b").send_on(&mut client).await.status, 200);
    let log = gw.log(8).await;
    assert_eq!((&log[0]["status"], &log[0]["refusal"]), (&json!(429), &json!("overloaded")), "{:#}", log[0]);
    assert_eq!((&log[0]["attempts"], &log[0]["upstream"]), (&json!(0), &json!("t")), "{:#}", log[0]);
    assert_eq!(log[0]["fault"], "not sent: the queue is full, 1 wait");
    let refused = r#"tollgate_refusals_total{reason="overloaded",route="/b"}"#;
    assert_eq!(gw.metric(refused).await, 3.0);
}

#[tokio::test]
async fn who_waits_is_served_when_a_place_comes_free_and_refused_when_none_does() {
    let (gw, time) = with("concurrency: { max: 1, wait: 2s }");
    let (first, second) = (Gate::new(), Gate::new());
    gw.origin.script([Answer::ok().gate(&first), Answer::ok().gate(&second)]);
    let held = begin(&gw, Request::get("/a"));
    first.until_reached(1).await;
    let served = begin(&gw, Request::get("/a"));
    waiting(&gw, 1).await;
    time.advance(Duration::from_secs(1));
    let refused = begin(&gw, Request::get("/b"));
    waiting(&gw, 2).await;
    first.open();
    assert_eq!(held.await.unwrap().status, 200);
    second.until_reached(1).await;
    time.advance(Duration::from_millis(1_900));
    waiting(&gw, 1).await;
    time.advance(Duration::from_millis(100));
    assert_overloaded(&refused.await.unwrap(), 1);
    second.open();
    assert_eq!(served.await.unwrap().status, 200);
    assert_eq!(gw.origin.received_count(), 2);
    let log = gw.log(3).await;
    let fault = log.iter().find_map(|line| line["fault"].as_str());
    assert_eq!(fault, Some("not sent: waited too long in the queue, 2.0 s"));
}

#[tokio::test]
async fn waiting_ends_with_the_total_time() {
    let (gw, time) = with("concurrency: { max: 1, wait: 1h }, timeouts: { attempt: 2s, total: 3s }");
    let gate = Gate::new();
    gw.origin.script([Answer::ok().pieces([Piece::bytes("x"), Piece::wait(&gate)]).chunked()]);
    let held = begin(&gw, Request::get("/a"));
    gate.until_reached(1).await;
    let call = begin(&gw, Request::get("/a"));
    waiting(&gw, 1).await;
    time.advance(Duration::from_secs(3));
    assert_refused(&call.await.unwrap(), 429, "overloaded");
    gate.open();
    assert_eq!(held.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_tenant_with_fifty_waiting_keeps_nobody_else_out() {
    let (gw, _) = with_tenants("concurrency: { max: 1, queue: 50 }");
    let gates: Vec<_> = (0..4).map(|_| Gate::new()).collect();
    gw.origin.script(gates.iter().map(|gate| Answer::ok().gate(gate)));
    let held = begin(&gw, of("acme"));
    gates[0].until_reached(1).await;
    let many: Vec<_> = (0..50).map(|_| begin(&gw, of("acme"))).collect();
    waiting(&gw, 50).await;
    assert_overloaded(&of("acme").send(gw.addr()).await, 1);
    // Each makes room, and each is served in the first round.
    let others: Vec<_> = ["beta", "core", NOBODY].into_iter().map(|tenant| begin(&gw, of(tenant))).collect();
    gw.log(4).await;
    waiting(&gw, 50).await;
    let log = gw.log(4).await;
    let made_room = "not sent: made room in the full queue for a tenant below its share";
    assert_eq!(log.iter().filter(|line| line["fault"] == made_room && line["tenant"] == "acme").count(), 3, "{log:#?}");
    gates.iter().for_each(Gate::open);
    assert_eq!(held.await.unwrap().status, 200);
    for other in others {
        assert_eq!(other.await.unwrap().status, 200);
    }
    let mut statuses = Vec::new();
    for call in many {
        statuses.push(call.await.unwrap().status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 47);
    let log = gw.log(55).await;
    let served: Vec<_> = log.iter().filter(|line| line["status"] == 200).map(|line| line["tenant"].clone()).collect();
    let last = served.iter().rposition(|tenant| tenant != "acme").expect("others were served");
    assert!(last <= 5, "served {last} places after the first: {served:?}");
}

#[tokio::test]
async fn two_tenants_share_a_queue() {
    let (gw, _) = with_tenants("concurrency: { max: 1, queue: 4 }");
    let gate = Gate::new();
    gw.origin.always(Answer::ok().gate(&gate));
    let _held = begin(&gw, of("acme"));
    gate.until_reached(1).await;
    let _calls: Vec<_> = ["beta", "acme", "acme"].into_iter().map(|tenant| begin(&gw, of(tenant))).collect();
    waiting(&gw, 3).await;
    assert_overloaded(&of("acme").send(gw.addr()).await, 1);
    assert_eq!(
        gw.log(1).await[0]["fault"],
        "not sent: the tenant has its share of the queue already, which is 2",
        "a place is kept for the other"
    );
    let _fourth = begin(&gw, of("beta"));
    waiting(&gw, 4).await;
    gate.open();
}

#[tokio::test]
async fn who_hangs_up_leaves_the_queue() {
    let (gw, _) = with("concurrency: { max: 1, queue: 2 }");
    let gate = Gate::new();
    gw.origin.script([Answer::ok().gate(&gate)]);
    let held = begin(&gw, Request::get("/a"));
    gate.until_reached(1).await;
    let calls = [Request::get("/b"), Request::post("/b").json(r#"{"x":1}"#), Request::get("/p")];
    for (count, call) in calls.iter().enumerate() {
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(call.bytes()).await;
        waiting(&gw, 1).await;
        if count == 0 {
            client.abort()
        } else {
            drop(client)
        }
        waiting(&gw, 0).await;
        let log = gw.log(count + 1).await;
        assert_eq!((&log[count]["status"], &log[count]["attempts"]), (&json!(499), &json!(0)), "{log:#?}");
    }
    let addr = gw.addr();
    let stream = tokio::spawn(async move { H2Client::connect(addr).await.get("/b").await });
    waiting(&gw, 1).await;
    stream.abort();
    waiting(&gw, 0).await;
    gate.open();
    assert_eq!(held.await.unwrap().status, 200);
    assert_eq!(gw.get("/a").await.status, 200);
    assert_eq!(gw.origin.received_count(), 2);
}

#[tokio::test]
async fn a_place_is_held_until_the_body_has_ended() {
    let (gw, _) = with("concurrency: { max: 1, queue: 0 }");
    let gate = Gate::new();
    let streamed = || Answer::ok().pieces([Piece::bytes("begin"), Piece::wait(&gate), Piece::bytes("end")]);
    gw.origin.script([streamed().chunked()]);
    let mut client = RawClient::connect(gw.addr()).await;
    client.send(Request::get("/a").bytes()).await;
    gate.until_reached(1).await;
    assert_overloaded(&gw.get("/b").await, 1);
    gate.open();
    assert_eq!(client.read_response().await.body, b"beginend");
    in_flight(&gw, 0).await;
    assert_eq!(gw.get("/b").await.status, 200);
}

#[tokio::test]
async fn however_an_answer_ends_its_place_is_free() {
    let (gw, _) = with("concurrency: { max: 1, queue: 0 }, retry: { attempts: 1 }");
    let ends = [
        Answer::ok(),
        Answer::status(204),
        Answer::status(304),
        Answer::status(404),
        Answer::json(404, ""),
        Answer::status(500),
        Answer::close(),
        Answer::reset(),
        Answer::switching_protocols(),
        Answer::ok().cut(At::HalfBody, Then::Reset),
        Answer::ok().cut(At::HalfHead, Then::Close),
        Answer::status(404).cut(At::HalfBody, Then::Close),
        Answer::ok().header("X-Leak", TOKEN),
        Answer::raw("no http at all\r\n\r\n"),
    ];
    for end in ends {
        for call in [Request::get("/a"), Request::head("/a"), Request::post("/p").typed_body("text/plain", "x")] {
            gw.origin.script([end.clone()]);
            let mut client = RawClient::connect(gw.addr()).await;
            client.send(call.bytes()).await;
            drop(client.read_some().await);
            in_flight(&gw, 0).await;
        }
    }
    // A caller who leaves in the middle of an answer, or of the wait for one.
    let gate = Gate::new();
    for answer in [Answer::ok().gate(&gate), Answer::ok().pieces([Piece::bytes("begin"), Piece::wait(&gate)]).chunked()]
    {
        gw.origin.script([answer]);
        let reached = gate.reached();
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(Request::get("/a").bytes()).await;
        gate.until_reached(reached + 1).await;
        in_flight(&gw, 1).await;
        client.abort();
        in_flight(&gw, 0).await;
    }
    // A connection that cannot be opened.
    let port = RefusedPort::reserve();
    let upstream = format!("url: '{}', concurrency: {{ max: 1, queue: 0 }}, retry: {{ attempts: 1 }}", port.url());
    let gw = TestGateway::with(&format!("upstreams: {{ t: {{ {upstream} }} }}\n{ROUTES}"));
    for _ in 0..3 {
        assert_refused(&gw.get("/a").await, 502, "upstream_failed");
    }
}

#[tokio::test]
async fn nobody_holds_a_place_while_it_waits_to_try_again() {
    let (gw, time) = with("concurrency: { max: 1, queue: 0 }, retry: { base: 1ms }");
    gw.origin.script_on_path("/v0/pipes/a", [Answer::status(500).header("Retry-After", "5"), Answer::ok()]);
    let call = begin(&gw, Request::get("/a"));
    gw.origin.requests(1).await;
    in_flight(&gw, 0).await;
    assert_eq!(gw.get("/b").await.status, 200);
    time.advance(Duration::from_secs(5));
    assert_eq!(call.await.unwrap().status, 200);
    assert_eq!(gw.origin.received_count(), 3);
}

#[tokio::test]
async fn another_try_that_finds_no_place_is_refused() {
    let (gw, time) = with("concurrency: { max: 1, queue: 0 }, retry: { base: 1ms }");
    let gate = Gate::new();
    gw.origin.script_on_path("/v0/pipes/a", [Answer::status(500).header("Retry-After", "5")]);
    gw.origin.script_on_path("/v0/pipes/b", [Answer::ok().gate(&gate)]);
    let call = begin(&gw, Request::get("/a"));
    gw.origin.requests(1).await;
    in_flight(&gw, 0).await;
    let held = begin(&gw, Request::get("/b"));
    gate.until_reached(1).await;
    time.advance(Duration::from_secs(5));
    assert_overloaded(&call.await.unwrap(), 1);
    let log = gw.log(1).await;
    assert_eq!((&log[0]["attempts"], &log[0]["refusal"]), (&json!(1), &json!("overloaded")), "{:#}", log[0]);
    gate.open();
    assert_eq!(held.await.unwrap().status, 200);
}

/// 429 with this `Retry-After`.
fn slow_down(seconds: u32) -> Answer {
    Answer::status(429).header("Retry-After", seconds.to_string())
}

#[tokio::test]
async fn a_429_with_retry_after_closes_the_tap_for_everybody_until_then() {
    let (gw, time) = with_tenants("concurrency: { max: 8, wait: 2s }, retry: { attempts: 1 }");
    gw.origin.script([slow_down(10)]);
    let response = of("acme").send(gw.addr()).await;
    assert_eq!((response.status, response.header("retry-after").as_deref()), (429, Some("10")));
    assert_ne!(response.json()["code"], "overloaded", "it is the upstream's own answer");
    assert_eq!(gw.metric(r#"tollgate_upstream_tap_closed{upstream="t"}"#).await, 1.0);
    gw.origin.only_request();
    for tenant in ["acme", "beta", NOBODY] {
        assert_overloaded(&of(tenant).send(gw.addr()).await, 10);
    }
    time.advance(Duration::from_millis(7_500));
    assert_overloaded(&of("beta").send(gw.addr()).await, 3);
    // Soon enough to wait for.
    time.advance(Duration::from_millis(500));
    let call = begin(&gw, of("beta"));
    waiting(&gw, 1).await;
    time.advance(Duration::from_millis(1_999));
    waiting(&gw, 1).await;
    gw.origin.only_request();
    time.advance(Duration::from_millis(1));
    assert_eq!(call.await.unwrap().status, 200);
    assert_eq!(of("acme").send(gw.addr()).await.status, 200);
    assert_eq!(gw.metric(r#"tollgate_upstream_tap_closed{upstream="t"}"#).await, 0.0);
    let log = gw.log(2).await;
    assert_eq!(log[1]["fault"], "not sent: the tap is closed for 10.0 s more, as the upstream asked by 429");
}

#[tokio::test]
async fn who_got_the_429_tries_again_when_the_tap_opens() {
    let (gw, time) = with("rate: 100/s, retry: { base: 1ms }");
    let date = httpdate::fmt_http_date(time.clock().wall() + Duration::from_secs(5));
    gw.origin.script_on_path("/v0/pipes/a", [Answer::status(429).header("Retry-After", date)]);
    let call = begin(&gw, Request::get("/a"));
    gw.origin.requests(1).await;
    eventually_async("the tap to close", || async {
        gw.metric(r#"tollgate_upstream_tap_closed{upstream="t"}"#).await == 1.0
    })
    .await;
    assert_overloaded(&gw.get("/b").await, 5);
    time.advance(Duration::from_secs(5));
    assert_eq!(call.await.unwrap().status, 200);
    assert_eq!(gw.get("/b").await.status, 200);
}

#[tokio::test]
async fn no_other_answer_closes_the_tap() {
    let (gw, _) = with("concurrency: { max: 8 }, retry: { attempts: 1 }");
    let answers = [
        Answer::status(429),
        slow_down(0),
        Answer::status(429).header("Retry-After", "soon"),
        Answer::status(500).header("Retry-After", "9"),
        Answer::status(503).header("Retry-After", "9"),
        Answer::ok().header("Retry-After", "9"),
    ];
    for answer in answers {
        gw.origin.script([answer]);
        gw.get("/a").await;
        assert_eq!(gw.get("/b").await.status, 200);
    }
}

#[tokio::test]
async fn a_tap_is_closed_for_a_minute_at_most() {
    let (gw, time) = with("concurrency: { max: 8 }, retry: { attempts: 1 }");
    gw.origin.script([slow_down(86_400)]);
    assert_eq!(gw.get("/a").await.header("retry-after").as_deref(), Some("86400"), "what the upstream said");
    assert_overloaded(&gw.get("/a").await, 60);
    time.advance(Duration::from_secs(60));
    assert_eq!(gw.get("/a").await.status, 200);
}

#[tokio::test]
async fn one_callers_429_closes_nothing_where_callers_bring_their_own_credentials() {
    let time = TestClock::new();
    let text = format!(
        "upstreams: {{ t: {{ url: '{{origin}}', auth: passthrough, concurrency: {{ max: 8 }}, retry: {{ attempts: 1 }} }} }}
{}routes: {{ /a: {{ pipe: a, auth: dashboards }} }}\n",
        PROVIDERS.lines().filter(|line| !line.contains("keys.yaml")).map(|line| format!("{line}\n")).collect::<String>()
    );
    let gw = TestGateway::with_clock(&text, &time);
    gw.origin.script([slow_down(10)]);
    let of = |company: &str| Request::get("/a").bearer(&dashboard("a", company));
    assert_eq!(of("acme").send(gw.addr()).await.status, 429);
    assert_eq!(of("beta").send(gw.addr()).await.status, 200);
}

#[tokio::test]
async fn minted_tokens_are_the_gateways_own() {
    let time = TestClock::new();
    let text = format!(
        "upstreams:
  t:
    url: '{{origin}}'
    auth: mint
    mint: {{ secret: 'p.eyJ1IjoibWludGVyIn0.the-admin-token-of-another-workspace', workspace_id: w }}
    concurrency: {{ max: 8 }}
    retry: {{ attempts: 1 }}
{}routes: {{ /a: {{ pipe: a, auth: dashboards }} }}\n",
        PROVIDERS
            .lines()
            .filter(|line| !line.contains("keys.yaml"))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    );
    let gw = TestGateway::with_clock(&text, &time);
    gw.origin.script([slow_down(10)]);
    let token = |company: &str| tinybird(&tinybird_claims("a", &json!({ "company_id": company })));
    assert_eq!(Request::get("/a").bearer(&token("acme")).send(gw.addr()).await.status, 429);
    assert_overloaded(&Request::get("/a").bearer(&token("beta")).send(gw.addr()).await, 10);
}

#[tokio::test]
async fn a_rate_lets_so_many_through_and_makes_the_others_wait_their_turn() {
    let (gw, time) = with("rate: 2/s");
    for _ in 0..2 {
        assert_eq!(gw.get("/a").await.status, 200);
    }
    // Four turns, half a second apart, are within the 2 s that a request waits; the fifth is not.
    let mut calls = Vec::new();
    for count in 1..=4 {
        calls.push(begin(&gw, Request::get("/a")));
        waiting(&gw, count).await;
    }
    let refused = gw.get("/a").await;
    assert_overloaded(&refused, 3);
    assert_eq!(gw.log(3).await[2]["fault"], "not sent: its turn by `rate` would come later than it may wait");
    for (count, call) in (3..).zip(calls) {
        time.advance(Duration::from_millis(499));
        assert_eq!(gw.origin.received_count(), count - 1);
        time.advance(Duration::from_millis(1));
        assert_eq!(call.await.unwrap().status, 200);
        assert_eq!(gw.origin.received_count(), count);
    }
    // Who was told 3 s, and waited as long, is let in.
    time.advance(Duration::from_secs(1));
    assert_eq!(gw.get("/a").await.status, 200);
}

#[tokio::test]
async fn a_rate_counts_tries_and_not_requests() {
    let (gw, time) = with("rate: 2/s, retry: { base: 1ms, max: 1ms }");
    gw.origin.script([Answer::status(500), Answer::status(500)]);
    let call = begin(&gw, Request::get("/a"));
    let turned = driven(&time, Duration::from_millis(1), async {
        waiting(&gw, 1).await;
        gw.origin.received_count()
    });
    assert_eq!(turned.await, 2, "the third has to wait");
    time.advance(Duration::from_millis(500));
    assert_eq!(call.await.unwrap().status, 200);
    assert_eq!(gw.origin.received_count(), 3);
}

#[tokio::test]
async fn a_rate_serves_tenants_in_turn() {
    let (gw, time) = with_tenants("rate: 1/s, concurrency: { max: 64, wait: 30s }");
    assert_eq!(of("acme").send(gw.addr()).await.status, 200);
    let mut calls = Vec::new();
    for (count, tenant) in (1..).zip(["acme", "acme", "acme", "beta"]) {
        calls.push(begin(&gw, of(tenant)));
        waiting(&gw, count).await;
    }
    for count in 2..=5 {
        time.advance(Duration::from_secs(1));
        gw.log(count).await;
    }
    let tenants: Vec<_> = gw.log(5).await.iter().map(|line| line["tenant"].clone()).collect();
    assert_eq!(tenants, ["acme", "acme", "beta", "acme", "acme"]);
}

#[tokio::test]
async fn a_reload_changes_the_numbers_for_who_is_there_already() {
    let time = TestClock::new();
    let gw = TestGateway::from_file(&sections("concurrency: { max: 1 }"), time.clock());
    let gate = Gate::new();
    gw.origin.always(Answer::ok().gate(&gate));
    let mut calls: Vec<_> = (0..4).map(|_| begin(&gw, Request::get("/a"))).collect();
    waiting(&gw, 3).await;
    gw.rewrite(&sections("concurrency: { max: 3 }"));
    assert_eq!(gw.reload().await.status, 200);
    gate.until_reached(3).await;
    waiting(&gw, 1).await;
    // Fewer: who is there may end, and nobody follows until there is room.
    gw.rewrite(&sections("concurrency: { max: 1, queue: 1 }"));
    assert_eq!(gw.reload().await.status, 200);
    in_flight(&gw, 3).await;
    assert_overloaded(&gw.get("/a").await, 1);
    // Not protected any more.
    gw.rewrite(&sections(""));
    assert_eq!(gw.reload().await.status, 200);
    calls.push(begin(&gw, Request::get("/a")));
    gate.until_reached(5).await;
    gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    eventually_async("the series to go", || async {
        time.advance(Duration::from_secs(2));
        !gw.metrics().await.contains("tollgate_upstream_in_flight{")
    })
    .await;
}

#[tokio::test]
async fn an_upstream_without_these_keys_gets_everything_at_once() {
    let (gw, _) = with("retry: { attempts: 1 }");
    let gate = Gate::new();
    gw.origin.script((0..20).map(|_| Answer::ok().gate(&gate)));
    let calls: Vec<_> = (0..20).map(|_| begin(&gw, Request::get("/a"))).collect();
    gate.until_reached(20).await;
    gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    assert!(!gw.metrics().await.contains("tollgate_upstream_waiting{"));
}

#[tokio::test]
async fn upstreams_have_a_queue_each() {
    let upstream = format!("url: '{{origin}}', token: '{TOKEN}', concurrency: {{ max: 1, queue: 0 }}");
    let gw = TestGateway::with(&format!(
        "upstreams: {{ t: {{ {upstream} }}, u: {{ {upstream} }} }}
routes: {{ /a: {{ pipe: a, upstream: t }}, /b: {{ pipe: b, upstream: u }}, /c: {{ pipe: a, upstream: t }} }}\n"
    ));
    let gate = Gate::new();
    gw.origin.script([Answer::ok().gate(&gate)]);
    let held = begin(&gw, Request::get("/a"));
    gate.until_reached(1).await;
    assert_overloaded(&gw.get("/c").await, 1);
    assert_eq!(gw.get("/b").await.status, 200);
    gate.open();
    assert_eq!(held.await.unwrap().status, 200);
}

#[tokio::test]
async fn an_upstream_that_asks_for_a_pause_gets_it_without_any_key() {
    let time = TestClock::new();
    let gw = TestGateway::with_clock(
        "upstreams: { t: { url: '{origin}', token: 'p.secret-of-the-upstream-0123456789', retry: { attempts: 1 } } }\nroutes: { /a: { pipe: a }, /b: { pipe: b } }\n",
        &time,
    );
    gw.origin.script([Answer::json(429, r#"{"error":"slow down"}"#).header("Retry-After", "20")]);
    assert_eq!(gw.get("/a").await.status, 429);
    assert_eq!(gw.origin.received_count(), 1);
    for path in ["/a", "/b"] {
        let response = gw.get(path).await;
        assert_refused(&response, 429, "overloaded");
        assert_eq!(response.header("retry-after").as_deref(), Some("20"));
    }
    assert_eq!(gw.origin.received_count(), 1, "nobody else is sent there to hear the same");
    assert_eq!(gw.metric(r#"tollgate_upstream_tap_closed{upstream="t"}"#).await, 1.0);
    time.advance(Duration::from_secs(20));
    assert_eq!(gw.get("/b").await.status, 200);
    assert_eq!(gw.metric(r#"tollgate_upstream_tap_closed{upstream="t"}"#).await, 0.0);
}
