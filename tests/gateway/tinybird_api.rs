//! `tinybird_api`: configured pipes at the addresses that Tinybird's own clients use.

use crate::support::client::Request;
use crate::support::gateway::{TOKEN, TestGateway, assert_refused};

const SECTIONS: &str = "tinybird_api: true
cors: { origins: ['https://app.acme.com'] }
routes:
  /shop/top: { pipe: top, formats: [json, csv], params: { allow: [limit, cli_version], fixed: { tenant_id: t1 }, default: { limit: 100 } } }
  /read: { pipe: read, methods: [GET], pass_headers: [X-Trace] }
  /odd.csv: { pipe: odd }
  /by/{name}: { pipe: 'p_{path.name}' }
  /raw/*: { proxy: '/{path.rest}' }";

#[tokio::test]
async fn p1_the_policy_of_the_route_applies() {
    let gw = TestGateway::with(SECTIONS);
    for request in [
        Request::get("/v0/pipes/top.json?limit=5&tenant_id=evil&token=evil"),
        Request::get("/v0/pipes/top.csv?tenant_id=evil&unknown=evil"),
        Request::get("/v0/pipes/top.json").bearer("evil"),
        Request::post("/v0/pipes/top.json?token=evil").form("tenant_id=evil&limit=5"),
        Request::post("/v0/pipes/top.json?limit=5").json("{\"tenant_id\":\"evil\"}"),
    ] {
        gw.origin.forget_requests();
        assert_eq!(request.send(gw.addr()).await.status, 200, "{request:?}");
        let seen = gw.origin.only_request();
        assert!(seen.path.starts_with("/v0/pipes/top."), "{seen:?}");
        assert!(!seen.contains("evil"), "{seen:?}");
        let tenants = [seen.query_values("tenant_id"), form_values(&seen.form_pairs())].concat();
        assert_eq!(tenants, ["t1"], "{seen:?}");
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}")));
        seen.assert_strictly_valid();
    }
    gw.origin.forget_requests();
    assert_eq!(gw.get("/v0/pipes/top.json").await.status, 200);
    assert_eq!(gw.origin.only_request().query_values("limit"), ["100"]);
}

#[tokio::test]
async fn p5_control_parameters_methods_and_headers_follow_the_route() {
    let gw = TestGateway::with(SECTIONS);
    assert_refused(&gw.get("/v0/pipes/top.json?q=SELECT%201").await, 400, "control_parameter");
    assert_refused(&gw.get("/v0/pipes/read.json?__tb__semver=1").await, 400, "control_parameter");
    assert_refused(&gw.post("/v0/pipes/top.json", "text/plain", b"SELECT 1").await, 415, "unsupported_body");
    let response = Request::post("/v0/pipes/read.json").form("").send(gw.addr()).await;
    assert_refused(&response, 405, "method_not_allowed");
    gw.origin.assert_untouched();
    let request =
        Request::get("/v0/pipes/read.json?from=ts-sdk").header("X-Trace", "t").header("Origin", "https://app.acme.com");
    let response = request.send(gw.addr()).await;
    assert_eq!(response.header("access-control-allow-origin").as_deref(), Some("https://app.acme.com"));
    let seen = gw.origin.only_request();
    assert_eq!(seen.target, "/v0/pipes/read.json?from=ts-sdk");
    assert_eq!(seen.header("x-trace").as_deref(), Some("t"));
}

#[tokio::test]
async fn a_route_is_there_at_both_of_its_addresses() {
    let gw = TestGateway::with(SECTIONS);
    for (path, upstream) in [
        ("/shop/top", "top.json"),
        ("/shop/top.csv", "top.csv"),
        ("/v0/pipes/top.json", "top.json"),
        ("/v0/pipes/top.csv", "top.csv"),
        ("/read", "read.json"),
        ("/v0/pipes/read.json", "read.json"),
        ("/odd.csv", "odd.csv"),
        ("/v0/pipes/odd.csv", "odd.csv"),
        ("/by/x", "p_x.json"),
    ] {
        gw.origin.forget_requests();
        assert_eq!(gw.get(path).await.status, 200, "{path}");
        assert_eq!(gw.origin.only_request().path, format!("/v0/pipes/{upstream}"), "{path}");
    }
}

#[tokio::test]
async fn r1_r2_nothing_else_is_there() {
    let gw = TestGateway::with(SECTIONS);
    for path in [
        "/v0/pipes/top.ndjson",
        "/v0/pipes/top.parquet",
        "/v0/pipes/top",
        "/v0/pipes/top.json/",
        "/v0/pipes/top.json.csv",
        "/v0/pipes/TOP.json",
        "/v0/pipes/read.csv",
        "/v0/pipes/odd.json",
        "/v0/pipes/p_x.json",
        "/v0/pipes/p_{path.name}.json",
        "/v0/pipes/other.json",
        "/v0/pipes/openapi.json",
        "/v0/pipes/t_0123456789abcdef0123456789abcdef.json",
        "/v0/pipes/top/data",
        "/v0/pipes/top/nodes",
        "/v0/pipes",
        "/v0/sql",
        "/v0/sql?q=SELECT%201",
        "/v0/tokens",
        "/v0/datasources",
        "/v0/events?name=x",
        "/v1/pipes/top.json",
        "/shop/v0/pipes/top.json",
    ] {
        assert_refused(&gw.get(path).await, 404, "route_not_found");
    }
    assert_refused(&gw.post("/v0/sql", "text/plain", b"SELECT 1").await, 404, "route_not_found");
    for path in
        ["/v0/pipes/../sql", "/v0/pipes/top.json%2f..%2f..%2fsql", "/v0//pipes/top.json", "/v0/pipes/%2e%2e/sql"]
    {
        assert_refused(&gw.get(path).await, 400, "bad_request");
    }
    gw.origin.assert_untouched();
    gw.assert_alive().await;
}

#[tokio::test]
async fn without_the_key_the_addresses_do_not_exist() {
    for sections in ["routes: { /top: { pipe: top } }", "tinybird_api: false\nroutes: { /top: { pipe: top } }"] {
        let gw = TestGateway::with(sections);
        assert_refused(&gw.get("/v0/pipes/top.json").await, 404, "route_not_found");
        gw.origin.assert_untouched();
    }
}

fn form_values(pairs: &[(String, String)]) -> Vec<String> {
    pairs.iter().filter(|pair| pair.0 == "tenant_id").map(|pair| pair.1.clone()).collect()
}

#[tokio::test]
async fn p7_a_fixed_value_that_the_path_cannot_fill_refuses() {
    let gw = TestGateway::with(
        "tinybird_api: true
routes:
  /of/{tenant}/a: { pipe: a, params: { fixed: { tenant_id: 'org-{path.tenant}' }, allow_public_tenant: true } }
  /in/*: { proxy: /b, params: { fixed: { folder: 'f-{path.rest}' }, allow_public_tenant: true } }",
    );
    for target in ["/v0/pipes/a.json", "/v0/pipes/a.json?tenant_id=org-acme", "/in/"] {
        assert_refused(&gw.get(target).await, 403, "tenant_missing");
    }
    gw.origin.assert_untouched();
    assert_eq!(gw.get("/of/acme/a").await.status, 200);
    assert_eq!(gw.origin.only_request().query_values("tenant_id"), ["org-acme"]);
}
