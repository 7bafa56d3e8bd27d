//! Hosts: which names are served, and what differs between them.

use std::time::Duration;

use tollgate::clock::{Clock, TestClock};
use tollgate::exchange::host_labels;

use crate::support::client::{Request, Response};
use crate::support::eventually::{driven, eventually_async};
use crate::support::gateway::{TestGateway, assert_refused};
use crate::support::h2_client::H2Client;
use crate::support::origin::{Answer, Gate};

const APP: &str = "https://app.example.com";

/// Hosts of every kind, each with a route that tells which of them answered.
const SITES: &str = r#"
routes:
  /top: { pipe: top }
  /who: { pipe: shared }
hosts:
  a.example.com: { tenant: acme, routes: { /who: { pipe: exact, params: { allow_public_tenant: true } }, /only-here: { pipe: only, params: { allow_public_tenant: true } } } }
  "*.example.com": { tenant: "{host.1}", routes: { /who: { pipe: star, params: { allow_public_tenant: true } } } }
  "*.b.example.com": { tenant: "b-{host.1}", routes: { /who: { pipe: deep, params: { allow_public_tenant: true } } } }
  shop.test: {}
  127.0.0.1: {}
  "[::1]": {}
"#;

async fn call(gw: &TestGateway, host: &str, path: &str) -> Response {
    Request::get(path).host(host).send(gw.addr()).await
}

/// The pipe that the origin was asked for, for a host.
async fn asked(gw: &TestGateway, host: &str) -> Option<String> {
    let before = gw.origin.received_count();
    let response = call(gw, host, "/who").await;
    match response.status {
        200 => {
            let received = gw.origin.received();
            assert_eq!(received.len(), before + 1);
            Some(received[before].target.replace("/v0/pipes/", "").replace(".json", ""))
        }
        404 => {
            assert_refused(&response, 404, "route_not_found");
            assert_eq!(gw.origin.received_count(), before);
            None
        }
        status => panic!("{host}: {status} {}", response.body_text()),
    }
}

#[tokio::test]
async fn without_hosts_every_host_is_served() {
    let gw = TestGateway::with("routes: { /who: { pipe: shared } }");
    for host in ["localhost", "anything.example", "10.0.0.1:80", "[::1]"] {
        assert_eq!(asked(&gw, host).await.as_deref(), Some("shared"), "{host}");
    }
}

#[tokio::test]
async fn a_host_that_is_not_listed_is_told_nothing() {
    let gw = TestGateway::with(SITES);
    for host in [
        "localhost",
        "evil.test",
        "example.com",
        "x.y.example.com",
        "x.a.example.com",
        "a.example.com.evil.test",
        "aexample.com",
        "shop.test.example",
        "127.0.0.2",
        "[::2]",
    ] {
        for request in [
            Request::get("/top"),
            Request::get("/nowhere"),
            Request::get("/v0/pipes/top.json"),
            Request::new("DELETE", "/top"),
            Request::new("OPTIONS", "/top"),
            Request::preflight("/top", APP, "GET"),
            Request::get("/top?q=1"),
            Request::post("/top").typed_body("text/plain", "SELECT 1"),
        ] {
            let response = request.host(host).send(gw.addr()).await;
            assert_refused(&response, 404, "route_not_found");
            assert_eq!(response.header("allow"), None, "{host}");
        }
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn exact_wins_over_a_star_and_a_star_is_one_label() {
    let gw = TestGateway::with(SITES);
    for (host, expected) in [
        ("a.example.com", Some("exact")),
        ("c.example.com", Some("star")),
        ("b.example.com", Some("star")),
        ("x.b.example.com", Some("deep")),
        ("y.x.b.example.com", None),
        ("example.com", None),
        ("shop.test", Some("shared")),
        ("127.0.0.1", Some("shared")),
        ("[::1]", Some("shared")),
    ] {
        assert_eq!(asked(&gw, host).await.as_deref(), expected, "{host}");
    }
}

#[tokio::test]
async fn hosts_are_compared_without_port_case_and_dot() {
    let gw = TestGateway::with(SITES);
    for (host, expected) in [
        ("A.Example.COM", Some("exact")),
        ("a.example.com:8080", Some("exact")),
        ("a.example.com.", Some("exact")),
        ("A.EXAMPLE.com.:443", Some("exact")),
        ("X.B.example.com:80", Some("deep")),
        ("[::1]:8080", Some("shared")),
        ("[0:0::1]", Some("shared")),
        ("127.0.0.1:9", Some("shared")),
    ] {
        assert_eq!(asked(&gw, host).await.as_deref(), expected, "{host}");
    }
    for host in [
        "a.example.com..",
        "a..example.com",
        ".example.com",
        "a b.example.com",
        "a/b.example.com",
        "a.example.com:x",
        "",
    ] {
        let response = call(&gw, host, "/who").await;
        assert_eq!(response.status, 400, "{host}: {}", response.body_text());
    }
}

#[tokio::test]
async fn what_proxies_say_of_the_host_is_not_asked() {
    let gw = TestGateway::with(&format!("server: {{ trusted_proxies: [127.0.0.1] }}{SITES}"));
    for name in ["X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-Host"] {
        let value = if name == "Forwarded" { "host=a.example.com" } else { "a.example.com" };
        let response = Request::get("/who").host("evil.test").header(name, value).send(gw.addr()).await;
        assert_refused(&response, 404, "route_not_found");
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn http2_names_its_host_otherwise() {
    let gw = TestGateway::with(SITES);
    let client = H2Client::connect(gw.addr()).await;
    for (authority, status) in [("A.example.com:8443", 200), ("z.example.com", 200), ("evil.test", 404)] {
        let request = http::Request::get(format!("http://{authority}/who")).body(()).unwrap();
        assert_eq!(client.request(request, None).await.status, status, "{authority}");
    }
    let targets: Vec<String> = gw.origin.received().into_iter().map(|received| received.target).collect();
    assert_eq!(targets, ["/v0/pipes/exact.json", "/v0/pipes/star.json"]);
}

#[tokio::test]
async fn a_hosts_own_routes_stand_in_the_place_of_the_others() {
    let gw = TestGateway::with(SITES);
    for (host, path, status) in [
        ("a.example.com", "/only-here", 200),
        ("a.example.com", "/top", 404),
        ("c.example.com", "/only-here", 404),
        ("c.example.com", "/top", 404),
        ("shop.test", "/top", 200),
        ("shop.test", "/only-here", 404),
    ] {
        assert_eq!(call(&gw, host, path).await.status, status, "{host}{path}");
    }
}

#[tokio::test]
async fn tinybirds_paths_are_those_of_the_hosts_pipes() {
    let gw = TestGateway::with(
        "tinybird_api: true
routes: { /top: { pipe: top } }
hosts:
  a.test: { routes: { /a: { pipe: top, params: { fixed: { shop: a } } } } }
  b.test: { routes: { /b: { pipe: top, params: { fixed: { shop: b } } } } }
  c.test: {}
",
    );
    for (host, query) in [("a.test", "?shop=a"), ("b.test", "?shop=b"), ("c.test", "")] {
        let before = gw.origin.received_count();
        assert_eq!(call(&gw, host, "/v0/pipes/top.json").await.status, 200, "{host}");
        assert_eq!(gw.origin.received()[before].target, format!("/v0/pipes/top.json{query}"));
    }
    assert_eq!(call(&gw, "d.test", "/v0/pipes/top.json").await.status, 404);
}

#[tokio::test]
async fn the_tenant_of_a_host_is_known() {
    let gw = TestGateway::with(SITES);
    let running = gw.app().running();
    let tenant = |host: &str| {
        let site = running.snapshot.site_of(host).expect("it is served");
        site.tenant.as_ref().map(|tenant| host_labels::fill(tenant, host))
    };
    assert_eq!(tenant("a.example.com"), Some(Some("acme".to_owned())));
    assert_eq!(tenant("beta.example.com"), Some(Some("beta".to_owned())));
    assert_eq!(tenant("x.b.example.com"), Some(Some("b-x".to_owned())));
    assert_eq!(tenant("shop.test"), None);
}

const CORS: &str = "
cors: { origins: ['https://top.example'] }
routes:
  /plain: { pipe: top }
  /own: { pipe: top, cors: { origins: ['https://route.example'] } }
  /closed: { pipe: top, cors: { origins: [] } }
hosts:
  a.test: { cors: { origins: ['https://host.example'], max_age: 1m } }
  b.test: {}
  c.test:
    cors: { origins: ['https://host-c.example'] }
    routes: { /plain: { pipe: top }, /own: { pipe: top, cors: { origins: ['https://route-c.example'] } } }
";

/// The origins of a list that may read the answer.
async fn readers(gw: &TestGateway, host: &str, path: &str) -> Vec<String> {
    let mut readers = Vec::new();
    for name in ["top", "route", "host", "host-c", "route-c"] {
        let origin = format!("https://{name}.example");
        let response = Request::get(path).host(host).header("Origin", &origin).send(gw.addr()).await;
        if response.header("access-control-allow-origin").as_deref() == Some(origin.as_str()) {
            readers.push(name.to_owned());
        }
    }
    readers
}

#[tokio::test]
async fn cross_origin_rules_are_the_routes_else_the_hosts_else_the_top_levels() {
    let gw = TestGateway::with(CORS);
    for (host, path, expected) in [
        ("a.test", "/plain", vec!["host"]),
        ("a.test", "/own", vec!["route"]),
        ("a.test", "/closed", vec![]),
        ("b.test", "/plain", vec!["top"]),
        ("b.test", "/own", vec!["route"]),
        ("b.test", "/closed", vec![]),
        ("c.test", "/plain", vec!["host-c"]),
        ("c.test", "/own", vec!["route-c"]),
        // Refusals of a host that is known, whatever is wrong with the rest.
        ("a.test", "/nowhere", vec!["host"]),
        ("a.test", "/plain?q=1", vec!["host"]),
        ("a.test", "/plain/../x", vec!["host"]),
        ("A.test.:80", "/nowhere", vec!["host"]),
        ("c.test", "/closed", vec!["host-c"]),
        // And of one that is not.
        ("evil.test", "/plain", vec!["top"]),
        ("evil.test", "/own", vec!["top"]),
    ] {
        assert_eq!(readers(&gw, host, path).await, expected, "{host}{path}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_by_the_rules_of_its_host() {
    let gw = TestGateway::with(CORS);
    let preflight = async |host: &str, path: &str, origin: &str| {
        Request::preflight(path, origin, "GET").host(host).send(gw.addr()).await
    };
    let answer = preflight("a.test", "/plain", "https://host.example").await;
    assert_eq!((answer.status, answer.header("access-control-max-age").as_deref()), (204, Some("60")));
    let answer = preflight("a.test", "/plain", "https://top.example").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, None));
    let answer = preflight("b.test", "/plain", "https://top.example").await;
    assert_eq!((answer.status, answer.header("access-control-max-age").as_deref()), (204, Some("600")));
    assert_eq!(preflight("evil.test", "/plain", "https://top.example").await.status, 404);
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn requests_are_counted_by_the_pattern_of_their_host() {
    let gw = TestGateway::with(SITES);
    for (host, path) in [
        ("a.example.com", "/who"),
        ("A.EXAMPLE.com:1", "/who"),
        ("x.example.com", "/who"),
        ("y.example.com", "/who"),
        ("y.example.com", "/nowhere"),
        ("shop.test", "/who"),
        ("evil-1.test", "/who"),
        ("evil-2.test", "/nowhere"),
    ] {
        call(&gw, host, path).await;
    }
    // The log says what was asked for, in one spelling.
    let mut logged: Vec<String> =
        gw.log(8).await.iter().map(|line| line["host"].as_str().unwrap().to_owned()).collect();
    logged.sort_unstable();
    assert_eq!(logged[..4], ["a.example.com", "a.example.com", "evil-1.test", "evil-2.test"]);
    for (series, value) in [
        (r#"{code="200",host="a.example.com",route="/who"}"#, 2.0),
        (r#"{code="200",host="*.example.com",route="/who"}"#, 2.0),
        (r#"{code="404",host="*.example.com",route="__unmatched__"}"#, 1.0),
        (r#"{code="200",host="shop.test",route="/who"}"#, 1.0),
        (r#"{code="404",host="__unmatched__",route="__unmatched__"}"#, 2.0),
    ] {
        let series = format!("tollgate_requests_total{series}");
        assert_eq!(gw.metric(&series).await, value, "{series} in\n{}", gw.metrics().await);
    }
    let text = gw.metrics().await;
    assert!(!text.contains("evil") && !text.contains("y.example.com"), "{text}");
}

#[tokio::test]
async fn d4_more_hosts_and_routes_than_can_be_counted_apart_share_a_name() {
    let mut sections = String::from("routes:\n");
    sections.extend((0..150).map(|at| format!("  /r{at}: {{ pipe: p }}\n")));
    sections.push_str("hosts:\n");
    sections.extend((0..150).map(|at| format!("  h{at}.test: {{}}\n")));
    let gw = TestGateway::with(&sections);
    for at in [0, 70, 149] {
        assert_eq!(call(&gw, &format!("h{at}.test"), &format!("/r{at}")).await.status, 200);
    }
    assert_eq!(call(&gw, "h150.test", "/r1").await.status, 404);
    gw.log(4).await;
    assert_eq!(gw.metric(r#"tollgate_requests_total{code="200",host="__other__",route="/r70"}"#).await, 1.0);
    let unknown = r#"tollgate_requests_total{code="404",host="__unmatched__",route="__unmatched__"}"#;
    assert_eq!(gw.metric(unknown).await, 1.0);
    assert!(!gw.metrics().await.contains("h70.test"));
}

#[tokio::test]
async fn a_reload_adds_and_removes_hosts_and_keeps_requests_whole() {
    let time = TestClock::new();
    let sections = |hosts: &str| format!("routes: {{ /who: {{ pipe: shared }} }}\n{hosts}");
    let gw = TestGateway::from_file(&sections("hosts: { a.test: {}, b.test: {} }\n"), time.clock());
    let gate = Gate::new();
    gw.origin.script([Answer::ok().gate(&gate)]);
    let addr = gw.addr();
    let under_way = tokio::spawn(async move { Request::get("/who").host("b.test").send(addr).await });
    gate.until_reached(1).await;

    gw.rewrite(&sections(
        "hosts: { a.test: { cors: { origins: ['*'] } }, 'c.test': { routes: { /c: { pipe: c } } } }\n",
    ));
    assert_eq!(gw.reload().await.status, 200);
    for (host, path, status) in
        [("a.test", "/who", 200), ("b.test", "/who", 404), ("c.test", "/c", 200), ("c.test", "/who", 404)]
    {
        assert_eq!(call(&gw, host, path).await.status, status, "{host}{path}");
    }
    gate.open();
    assert_eq!(under_way.await.unwrap().status, 200, "what began on a host that is gone ends as it began");

    let series = r#"tollgate_requests_total{code="200",host="b.test""#;
    let gone =
        eventually_async("the series of a host that is gone to go", || async { !gw.metrics().await.contains(series) });
    driven(&time, Duration::from_secs(1), gone).await;
    assert_eq!(gw.metric(r#"tollgate_requests_total{code="200",host="a.test",route="/who"}"#).await, 1.0);

    gw.rewrite(&sections(""));
    assert_eq!(gw.reload().await.status, 200);
    assert_eq!(call(&gw, "b.test", "/who").await.status, 200, "without the section every host is served");
    gw.rewrite(&sections("hosts: {}\n"));
    assert_eq!(gw.reload().await.status, 400);
    assert_eq!(call(&gw, "b.test", "/who").await.status, 200);
}

#[tokio::test]
async fn what_is_explained_is_what_happens() {
    use tollgate::snapshot::explain::{Question, Verdict, explain};
    let gw = TestGateway::start(crate::support::origin::MockOrigin::start(), SITES, Clock::system());
    for (host, path, pattern, served) in [
        ("a.example.com:80", "/who", Some("a.example.com"), true),
        ("q.example.com", "/who", Some("*.example.com"), true),
        ("q.example.com", "/top", Some("*.example.com"), false),
        ("a.exmple.com", "/who", None, false),
        ("evil.test", "/top", None, false),
    ] {
        let response = call(&gw, host, path).await;
        let question = Question::new("GET", &format!("http://{host}{path}"), &[], "", "localhost").unwrap();
        let explanation = explain(&gw.app().running().snapshot, &question, std::time::SystemTime::UNIX_EPOCH);
        let told = explanation.host.as_ref().expect("hosts are listed");
        assert_eq!(told.pattern.as_deref(), pattern, "{host}{path}");
        assert_eq!(matches!(explanation.verdict, Verdict::Upstream), served, "{host}{path}");
        assert_eq!(response.status == 200, served, "{host}{path}");
        // Of a host that is not served, not even its routes are looked for.
        assert_eq!(explanation.nearby.is_some(), pattern.is_some() && !served, "{host}{path}");
    }
}
