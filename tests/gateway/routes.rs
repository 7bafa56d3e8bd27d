//! `routes`: which paths exist, and what each leads to.

use crate::support::gateway::{TOKEN, TestGateway, assert_nothing_betrayed, assert_refused};

#[tokio::test]
async fn a_pipe_answers_on_its_own_path_with_the_token_hidden() {
    let gw = TestGateway::with("routes: { /top: { pipe: top-10-products } }");
    let response = gw.get("/top?limit=5").await;
    assert_eq!(response.status, 200);
    assert_nothing_betrayed(&response);
    let seen = gw.origin.only_request();
    assert_eq!(seen.target, "/v0/pipes/top-10-products.json?limit=5");
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}")));
    assert_eq!(seen.header("host"), Some(gw.origin.addr().to_string()));
    seen.assert_strictly_valid();
}

#[tokio::test]
async fn r2_only_configured_pipes_exist() {
    let gw = TestGateway::with("tinybird_api: true\nroutes: { /top: { pipe: top } }");
    for path in [
        "/v0/pipes/openapi.json",
        "/v0/pipes/top",
        "/v0/pipes",
        "/v0/sql",
        "/v0/tokens",
        "/v0/pipes/other.json",
        "/v0/pipes/top.csv",
        "/topX",
        "/top/",
        "/",
    ] {
        assert_refused(&gw.get(path).await, 404, "route_not_found");
    }
    gw.origin.assert_untouched();
    assert_eq!(gw.get("/v0/pipes/top.json").await.status, 200);
}
