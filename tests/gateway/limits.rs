//! `limits`, `plans`: who is let in, who is not, and what both are told.

use std::time::Duration;

use serde_json::json;

use tollgate::clock::TestClock;

use tollgate::proxy::server::Stop;

use crate::support::client::{self, Request, Response};
use crate::support::credentials::{PROVIDERS, api_key, claims_with, dashboard, jwt, record, tinybird, tinybird_with};
use crate::support::gateway::{TestGateway, assert_refused};
use crate::support::origin::{Answer, At, Gate, Then};
use crate::support::unreachable::RefusedPort;

/// A gateway on a clock that stands still, with keys of two tenants and of nobody.
pub(crate) fn gateway(sections: &str) -> (TestGateway, TestClock) {
    let time = TestClock::new();
    (gateway_at(sections, &time), time)
}

fn gateway_at(sections: &str, time: &TestClock) -> TestGateway {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let keys = record(&api_key("Nobody000001", "nobody"), "")
        + &record(&api_key("Acme00000001", "acme"), ", tenant: acme, meta: { plan: big }")
        + &record(&api_key("Acme00000002", "acme2"), ", tenant: acme")
        + &record(&api_key("Beta00000001", "beta"), ", tenant: beta");
    std::fs::write(folder.path().join("keys.yaml"), keys).expect("a file");
    TestGateway::from_folder(folder, sections, time.clock())
}

async fn call(gw: &TestGateway, path: &str, token: &str) -> Response {
    Request::get(path).bearer(token).send(gw.addr()).await
}

/// How many of `tries` are let in; the others are refused with this code.
pub(crate) async fn let_in(gw: &TestGateway, tries: usize, code: &str, request: impl Fn(usize) -> Request) -> usize {
    let mut count = 0;
    for index in 0..tries {
        let response = request(index).send(gw.addr()).await;
        match response.status {
            429 => assert_refused(&response, 429, code),
            status => {
                assert_eq!(status, 200, "{}", response.body_text());
                count += 1;
            }
        }
    }
    count
}

fn told(response: &Response) -> [Option<String>; 6] {
    let names = [
        "ratelimit-policy",
        "ratelimit",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "retry-after",
    ];
    names.map(|name| response.header(name))
}

fn words(words: [&str; 6]) -> [Option<String>; 6] {
    words.map(|word| Some(word.to_owned()).filter(|word| !word.is_empty()))
}

const BY_TENANT: &str = r#"limits:
  per_tenant: { by: tenant, rate: 2/s, burst: 3 }
routes:
  /top: { pipe: top, auth: [partners, dashboards, employees], limits: [per_tenant], formats: [json, csv] }
  /other: { pipe: other, auth: partners, limits: [per_tenant] }
  /free: { pipe: free, auth: partners }
"#;

#[tokio::test]
async fn every_answer_says_how_the_limit_stands_and_who_waits_as_long_as_told_is_let_in() {
    let (gw, time) = gateway(&format!("{PROVIDERS}{BY_TENANT}"));
    let acme = api_key("Acme00000001", "acme");
    let policy = r#""per_tenant";q=3;w=2"#;
    for left in [2, 1, 0] {
        let response = call(&gw, "/top", &acme).await;
        assert_eq!(response.status, 200);
        let (current, whole) = (format!(r#""per_tenant";r={left};t={}"#, (3 - left + 1) / 2), left.to_string());
        let wait = if left == 0 { "1" } else { "0" };
        assert_eq!(told(&response), words([policy, &current, "3", &whole, wait, ""]), "{left}");
    }
    let response = call(&gw, "/top", &acme).await;
    assert_refused(&response, 429, "rate_limited");
    assert_eq!(told(&response), words([policy, r#""per_tenant";r=0;t=2"#, "3", "0", "1", "1"]));
    assert_eq!(gw.origin.received_count(), 3, "what is refused is not sent");
    // Refused again and again: it costs nothing, so half a second is enough.
    for _ in 0..5 {
        assert_eq!(call(&gw, "/top", &acme).await.status, 429);
    }
    time.advance(Duration::from_millis(499));
    assert_eq!(call(&gw, "/top", &acme).await.status, 429);
    time.advance(Duration::from_millis(1));
    assert_eq!(call(&gw, "/top", &acme).await.status, 200);
    assert_eq!(call(&gw, "/top", &acme).await.status, 429);
    time.advance(Duration::from_secs(1));
    assert_eq!(call(&gw, "/top", &acme).await.status, 200, "one second is what it was told");
    let response = call(&gw, "/free", &acme).await;
    assert_eq!(told(&response), words([""; 6]), "nothing limits this route");
    let lines = gw.log(14).await;
    assert_eq!(gw.metric(r#"tollgate_limit_refusals_total{limit="per_tenant",mode="enforced"}"#).await, 8.0);
    // Lines of different connections may stand in another order than the answers came in.
    let refused = lines.iter().filter(|line| line["limit"] == "per_tenant").count();
    let others = lines.iter().filter(|line| line["limit"].is_null()).count();
    assert_eq!((refused, others), (8, 6));
}

#[tokio::test]
async fn x2_a_tenant_has_one_count_whatever_key_host_path_or_method_it_uses() {
    let (gw, _) = gateway(&format!("{PROVIDERS}tinybird_api: true\n{BY_TENANT}"));
    let (first, second) = (api_key("Acme00000001", "acme"), api_key("Acme00000002", "acme2"));
    let employee = jwt(&claims_with(&json!({ "org_id": "acme" })));
    let page = dashboard("top", "acme");
    let requests = [
        Request::get("/top").bearer(&first),
        Request::post("/top").bearer(&second).form("a=1"),
        Request::get("/%74op.csv").bearer(&first).host("OTHER.example:80"),
        Request::get("/top").bearer(&employee),
        Request::get("/v0/pipes/top.json").bearer(&page),
        Request::head("/top").bearer(&second),
        Request::get("/other").bearer(&second),
        Request::get("/top?a=2").header("X-API-Key", "x").header("Authorization", format!("Bearer {first}")),
    ];
    let mut count = 0;
    for request in requests {
        let status = request.send(gw.addr()).await.status;
        assert!([200, 429].contains(&status), "{status}");
        count += usize::from(status == 200);
    }
    assert_eq!(count, 3);
    assert_eq!(call(&gw, "/top", &api_key("Beta00000001", "beta")).await.status, 200, "others are not held up");
}

#[tokio::test]
async fn x1_who_writes_addresses_into_headers_has_one_count_all_the_same() {
    let sections =
        "limits: { flood: { by: ip, rate: 10/h } }\nserver: { limits: [flood] }\nroutes: { /a: { pipe: a } }";
    let (gw, _) = gateway(sections);
    let forged = |index: usize| Request::get("/a").header("X-Forwarded-For", format!("10.1.{index}.7"));
    assert_eq!(let_in(&gw, 30, "rate_limited", forged).await, 10);

    let behind = sections.replace("limits: [flood]", "limits: [flood], trusted_proxies: [127.0.0.1/32]");
    let (gw, _) = gateway(&behind);
    // What stands left of what the proxy saw is the caller's own word.
    let forged = |index: usize| Request::get("/a").header("X-Forwarded-For", format!("10.1.{index}.7, 192.0.2.1"));
    assert_eq!(let_in(&gw, 30, "rate_limited", forged).await, 10);
    let others = |index: usize| Request::get("/a").header("X-Forwarded-For", format!("192.0.2.{}", index + 2));
    assert_eq!(let_in(&gw, 30, "rate_limited", others).await, 30, "callers behind a proxy have a count each");
    let network = |index: usize| Request::get("/a").header("X-Forwarded-For", format!("2001:db8:7:7::{index:x}"));
    assert_eq!(let_in(&gw, 30, "rate_limited", network).await, 10, "a /64 is one caller");
    let mapped = |_| Request::get("/a").header("X-Forwarded-For", "::ffff:192.0.2.1");
    assert_eq!(let_in(&gw, 3, "rate_limited", mapped).await, 0, "the same address, written in IPv6");
}

#[tokio::test]
async fn an_address_pays_for_what_is_refused_too() {
    let (gw, _) = gateway(&format!(
        "{PROVIDERS}limits: {{ flood: {{ by: ip, rate: 8/h }} }}\nserver: {{ limits: [flood] }}\ncors: {{ origins: ['https://a.example'] }}\n\
         routes: {{ /a: {{ pipe: a, auth: partners }} }}"
    ));
    let tries = [
        (Request::get("/nowhere"), 404),
        (Request::get("/a"), 401),
        (Request::get("/a").bearer(&api_key("Wrong0000001", "wrong")), 401),
        (Request::get("/a/../b"), 400),
        (Request::preflight("/a", "https://a.example", "GET"), 204),
        (Request::new("DELETE", "/a"), 405),
        (Request::get("/a?q=1").bearer(&api_key("Beta00000001", "beta")), 400),
        (Request::get("/a").bearer(&api_key("Beta00000001", "beta")), 200),
    ];
    for (index, (request, status)) in tries.into_iter().enumerate() {
        let response = request.send(gw.addr()).await;
        assert_eq!(response.status, status, "{index}");
        assert_eq!(response.header("x-ratelimit-remaining"), Some((7 - index).to_string()), "{index}");
    }
    for request in [
        Request::get("/nowhere"),
        Request::preflight("/a", "https://a.example", "GET"),
        Request::get("/a").bearer(&api_key("Beta00000001", "beta")).header("Origin", "https://a.example"),
    ] {
        let response = request.send(gw.addr()).await;
        assert_refused(&response, 429, "rate_limited");
        assert_eq!(response.header("retry-after").as_deref(), Some("450"));
    }
    let refused = Request::get("/a").header("Origin", "https://a.example").send(gw.addr()).await;
    assert_eq!(refused.header("access-control-allow-origin").as_deref(), Some("https://a.example"));
}

#[tokio::test]
async fn several_limits_are_spent_together_or_not_at_all_and_the_tightest_is_told() {
    let (gw, time) = gateway(&format!(
        r#"{PROVIDERS}limits:
  wide: {{ by: gateway, rate: 100/m }}
  host: {{ by: host, rate: 50/m }}
  narrow: {{ by: [tenant, route], rate: 2/m }}
  day: {{ by: tenant, quota: 5/day }}
server: {{ limits: [wide] }}
hosts: {{ "*.example.com": {{ limits: [host, wide] }}, other.test: {{}} }}
routes:
  /a: {{ pipe: a, auth: partners, limits: [narrow, day, wide] }}
  /b: {{ pipe: b, auth: partners, limits: [narrow, day] }}
"#
    ));
    let acme = api_key("Acme00000001", "acme");
    let at = |host: &str, path: &str| Request::get(path).host(host).bearer(&acme);
    for left in ["1", "0"] {
        let response = at("x.example.com", "/a").send(gw.addr()).await;
        assert_eq!((response.status, response.header("x-ratelimit-remaining").as_deref()), (200, Some(left)));
    }
    // Refused by `narrow`: nothing else is spent.
    for _ in 0..10 {
        let response = at("y.example.com", "/a").send(gw.addr()).await;
        assert_refused(&response, 429, "rate_limited");
        assert_eq!(response.header("retry-after").as_deref(), Some("30"));
    }
    for _ in 0..2 {
        let response = at("other.test", "/b").send(gw.addr()).await;
        assert_eq!(response.status, 200, "{}", response.body_text());
    }
    time.advance(Duration::from_secs(60));
    let response = at("other.test", "/b").send(gw.addr()).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("ratelimit-policy").as_deref(), Some(r#""day";q=5;w=86400"#));
    assert_eq!(response.header("x-ratelimit-remaining").as_deref(), Some("0"));
    // Both would let nothing in: who waits for the longer one is let in.
    assert_eq!(at("other.test", "/a").send(gw.addr()).await.status, 429);
    let response = at("other.test", "/b").send(gw.addr()).await;
    assert_refused(&response, 429, "quota_exhausted");
    let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(response.header("x-ratelimit-reset").as_deref(), Some(wait.to_string().as_str()));
    time.advance(Duration::from_secs(wait - 1));
    assert_refused(&at("other.test", "/b").send(gw.addr()).await, 429, "quota_exhausted");
    time.advance(Duration::from_secs(1));
    // Both keys and the key's own time are still good.
    assert_eq!(at("other.test", "/b").send(gw.addr()).await.status, 200);
}

#[tokio::test]
async fn who_is_refused_is_told_by_what_and_waits_for_all_that_was_spent() {
    let (gw, time) = gateway(&format!(
        r#"{PROVIDERS}limits: {{ flood: {{ by: ip, rate: 6/m, burst: 3 }}, narrow: {{ by: tenant, rate: 1/s }} }}
server: {{ limits: [flood] }}
routes: {{ /a: {{ pipe: a, auth: partners, limits: [narrow] }} }}
"#
    ));
    let acme = api_key("Acme00000001", "acme");
    assert_eq!(call(&gw, "/a", &acme).await.status, 200);
    let response = call(&gw, "/a", &acme).await;
    assert_refused(&response, 429, "rate_limited");
    assert_eq!(told(&response), words([r#""narrow";q=1;w=1"#, r#""narrow";r=0;t=1"#, "1", "0", "1", "1"]));
    // The last turn of the address is spent by a request that is refused for another reason: both have to be waited for.
    let response = call(&gw, "/a", &acme).await;
    assert_refused(&response, 429, "rate_limited");
    assert_eq!(response.header("retry-after").as_deref(), Some("10"));
    time.advance(Duration::from_secs(10));
    assert_eq!(call(&gw, "/a", &acme).await.status, 200);
}

#[tokio::test]
async fn what_callers_bring_about_for_nothing_makes_no_query_cheap() {
    let (gw, _) = gateway(
        r#"limits: { scan: { by: gateway, quota: 10000/day, cost: rows_read, assume: 1000 }, sent: { by: gateway, quota: 1GB/day, cost: response_bytes } }
routes: { /a: { pipe: a, limits: [scan] }, /b: { pipe: b, limits: [sent] } }
"#,
    );
    gw.origin.script((0..50).map(|_| Answer::json(400, r#"{"error":"wrong date"}"#)));
    for _ in 0..50 {
        assert_eq!(gw.get("/a").await.status, 400);
    }
    gw.log(50).await;
    let remaining = |response: &Response| response.header("x-ratelimit-remaining").unwrap().parse::<u64>().unwrap();
    gw.origin.script([answer(10, 1).cut(At::HalfBody, Then::Close)]);
    client::raw(gw.addr(), Request::get("/a").close().bytes()).await;
    gw.log(51).await;
    gw.origin.script([answer(10, 1)]);
    assert_eq!(remaining(&gw.get("/a").await), 8000, "what broke off cost what is assumed, and as much is reserved");
    // Who reads all but the end has been sent it all the same.
    let body = vec![b'x'; 300_000];
    gw.origin.script([Answer::with_body(200, "text/csv", body).cut(At::HalfBody, Then::Close)]);
    client::raw(gw.addr(), Request::get("/b").close().bytes()).await;
    gw.log(53).await;
    gw.origin.script([Answer::with_body(200, "text/csv", "a,b\n")]);
    assert!(remaining(&gw.get("/b").await) <= 1_000_000_000 - 100_000);
}

#[tokio::test]
async fn a_limit_on_trial_counts_and_reports_and_refuses_nobody() {
    let (gw, _) = gateway(
        "limits: { trial: { by: gateway, rate: 2/h, dry_run: true }, real: { by: gateway, rate: 100/h } }\n\
         routes: { /a: { pipe: a, limits: [trial, real] } }",
    );
    for index in 0..5 {
        let response = gw.get("/a").await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("ratelimit-policy").as_deref(), Some(r#""real";q=100;w=3600"#), "{index}");
    }
    let lines = gw.log(5).await;
    assert_eq!(gw.metric(r#"tollgate_limit_refusals_total{limit="trial",mode="dry_run"}"#).await, 3.0);
    assert_eq!(lines.iter().filter(|line| line["would_refuse"] == json!(["trial"])).count(), 3);
    assert_eq!(lines.iter().filter(|line| line["would_refuse"] == json!([])).count(), 2);
}

#[tokio::test]
async fn who_has_no_identity_shares_one_count_with_all_who_have_none() {
    let (gw, _) = gateway(&format!(
        r#"{PROVIDERS}limits: {{ t: {{ by: tenant, rate: 2/h }}, c: {{ by: caller, rate: 2/h }} }}
routes:
  /open: {{ pipe: open, auth: public, limits: [t] }}
  /each: {{ pipe: each, auth: [partners, dashboards], limits: [c] }}
  /anybody: {{ pipe: anybody, auth: public, limits: [c] }}
"#
    ));
    let forged = |index: usize| Request::get(format!("/open?tenant=t{index}")).header("X-Tenant-Id", index.to_string());
    assert_eq!(let_in(&gw, 5, "rate_limited", forged).await, 2);
    assert_eq!(let_in(&gw, 5, "rate_limited", |_| Request::get("/anybody")).await, 2);
    for (id, seed) in [("Acme00000001", "acme"), ("Acme00000002", "acme2"), ("Beta00000001", "beta")] {
        let key = api_key(id, seed);
        assert_eq!(let_in(&gw, 5, "rate_limited", |_| Request::get("/each").bearer(&key)).await, 2, "{id}");
    }
    // Names of Tinybird JWTs are not unique: whose rows it is tells apart; a long name is not cut.
    for (company, name) in [("acme", "n".repeat(300)), ("acme", "n".repeat(301)), ("beta", "n".repeat(300))] {
        let mut claims = tinybird_with("each", &json!({ "name": name }));
        claims["scopes"][0]["fixed_params"] = json!({ "company_id": company });
        let token = tinybird(&claims);
        assert_eq!(let_in(&gw, 5, "rate_limited", |_| Request::get("/each").bearer(&token)).await, 2);
    }
}

#[tokio::test]
async fn a_reload_forgets_nothing_that_was_counted() {
    let file = |rate: &str| {
        format!("limits: {{ all: {{ by: gateway, rate: {rate} }} }}\nroutes: {{ /a: {{ pipe: a, limits: [all] }} }}\n")
    };
    let time = TestClock::new();
    let gw = TestGateway::from_file(&file("4/h"), time.clock());
    assert_eq!(let_in(&gw, 4, "rate_limited", |_| Request::get("/a")).await, 4);
    gw.rewrite(&format!("{}  # again\n", file("4/h")));
    assert_eq!(gw.reload().await.status, 200);
    assert_eq!(let_in(&gw, 4, "rate_limited", |_| Request::get("/a")).await, 0);
    gw.rewrite(&file("8/h"));
    assert_eq!(gw.reload().await.status, 200);
    // What was asked counts as the time that it took up; from now on time goes by twice as fast.
    assert_eq!(let_in(&gw, 1, "rate_limited", |_| Request::get("/a")).await, 0);
    time.advance(Duration::from_secs(900));
    assert_eq!(let_in(&gw, 8, "rate_limited", |_| Request::get("/a")).await, 2);
    // Nobody owes more than a whole burst of the rule that holds: this one is back within a second.
    gw.rewrite(&file("1000/s"));
    assert_eq!(gw.reload().await.status, 200);
    assert_eq!(let_in(&gw, 1, "rate_limited", |_| Request::get("/a")).await, 0);
    time.advance(Duration::from_millis(2));
    assert_eq!(let_in(&gw, 4, "rate_limited", |_| Request::get("/a")).await, 2);
}

#[tokio::test]
async fn who_cannot_be_counted_is_refused_without_a_word_of_limits_where_that_is_wanted() {
    let port = RefusedPort::reserve();
    let (gw, _) = gateway(&format!(
        "limits: {{ all: {{ by: gateway, rate: 5/s }} }}\n\
         state: {{ counters: 'redis://{}/0', on_counter_failure: refuse }}\n\
         routes: {{ /a: {{ pipe: a, limits: [all] }} }}\n",
        port.addr()
    ));
    let response = gw.get("/a").await;
    assert_refused(&response, 429, "overloaded");
    assert_eq!(response.header("retry-after").as_deref(), Some("5"));
    for name in ["ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
        assert_eq!(response.header(name), None, "{name} would show room");
    }
    let log = gw.log(1).await;
    assert_eq!(log[0]["limit"], serde_json::Value::Null);
    assert_eq!(log[0]["fault"], "the shared counters cannot be asked, and `on_counter_failure` is `refuse`");
}

#[tokio::test]
async fn a_request_that_never_reached_the_upstream_costs_no_quota() {
    let port = RefusedPort::reserve();
    let closed = port.url();
    let (gw, _) = gateway(&format!(
        "limits: {{ q: {{ by: gateway, quota: 2/day }} }}\n\
         upstreams: {{ gone: {{ url: '{closed}', retry: {{ attempts: 1 }} }}, t: {{ url: '{{origin}}', retry: {{ attempts: 1 }} }} }}\n\
         routes: {{ /gone: {{ pipe: a, upstream: gone, limits: [q] }}, /a: {{ pipe: a, upstream: t, limits: [q] }} }}\n"
    ));
    for _ in 0..3 {
        assert_refused(&gw.get("/gone").await, 502, "upstream_failed");
    }
    gw.log(3).await;
    assert_eq!(let_in(&gw, 3, "quota_exhausted", |_| Request::get("/a")).await, 2);
}

/// An answer that says what its query read.
fn answer(rows: u64, bytes: u64) -> Answer {
    let statistics = format!(r#"{{"elapsed":0.25,"rows_read":{rows},"bytes_read":{bytes}}}"#);
    Answer::json(200, format!(r#"{{"meta":[],"data":[],"rows":0,"statistics":{statistics}}}"#))
}

#[tokio::test]
async fn a_quota_counts_what_queries_really_read() {
    let (gw, time) = gateway(
        r#"limits: { scan: { by: gateway, quota: 1000/day, cost: rows_read, assume: 200 } }
routes: { /a: { pipe: a, limits: [scan], formats: [json, csv] } }
"#,
    );
    let remaining = |response: &Response| -> u64 {
        response.header("x-ratelimit-remaining").expect("a limited answer").parse().expect("a number")
    };
    gw.origin.script([answer(100, 1)]);
    assert_eq!(remaining(&gw.get("/a").await), 800, "what is assumed is reserved while it is not known");
    gw.log(1).await;
    // It cost 100; the usual cost has moved a little towards that.
    gw.origin.script([answer(50, 1)]);
    assert_eq!(remaining(&gw.get("/a").await), 712);
    gw.log(2).await;
    // Nobody can say what this one cost, so it cost what is assumed.
    gw.origin.script([Answer::with_body(200, "text/csv", "a,b\n")]);
    assert_eq!(gw.get("/a.csv").await.status, 200);
    gw.log(3).await;
    gw.origin.script([Answer::json(400, r#"{"error":"wrong date"}"#)]);
    assert_eq!(gw.get("/a").await.status, 400);
    gw.log(4).await;
    gw.origin.script([answer(640, 1)]);
    assert_eq!(gw.get("/a").await.status, 200, "650 are left: what is refused upstream costs nothing");
    gw.log(5).await;
    gw.origin.script([answer(10_000, 1)]);
    assert_eq!(gw.get("/a").await.status, 200, "while anything is left, one may ask, whatever it will cost");
    gw.log(6).await;
    let response = gw.get("/a").await;
    assert_refused(&response, 429, "quota_exhausted");
    let wait: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!(wait <= 86_400, "{wait}");
    time.advance(Duration::from_secs(wait));
    gw.origin.script([answer(1, 1)]);
    assert_eq!(gw.get("/a").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_at_the_same_time_cannot_overrun_a_quota() {
    let (gw, _) = gateway(
        r#"limits: { scan: { by: gateway, quota: 4000/day, cost: rows_read, assume: 1000 } }
routes: { /a: { pipe: a, limits: [scan] } }
"#,
    );
    let gate = Gate::new();
    gw.origin.always(answer(1000, 1).gate(&gate));
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(client::get(gw.addr(), "/a"))).collect();
    gw.origin.wait_for_requests(4);
    gate.open();
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.await.expect("an answer").status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 429, 429, 429, 429, 429, 429]);
}

#[tokio::test]
async fn quotas_outlive_the_process_and_rates_need_not() {
    let sections = "limits: { day: { by: gateway, quota: 5/day }, all: { by: gateway, rate: 1000/h } }\n\
                    routes: { /a: { pipe: a, limits: [day, all] } }\n";
    let time = TestClock::new();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let state = folder.path().join("kept");
    let sections = format!("state: {{ dir: '{}' }}\n{sections}", state.display());
    let gw = TestGateway::with_clock(&sections, &time);
    assert_eq!(let_in(&gw, 3, "quota_exhausted", |_| Request::get("/a")).await, 3);
    let mut gw = gw;
    let app = gw.take_app();
    app.stop(Stop::Drain);
    tokio::task::spawn_blocking(|| app.wait()).await.expect("it ends");
    let gw = TestGateway::with_clock(&sections, &time);
    assert_eq!(let_in(&gw, 5, "quota_exhausted", |_| Request::get("/a")).await, 2);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&state.join("counters.sqlite").metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}
