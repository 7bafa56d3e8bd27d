//! `cors`: which web pages may call, and how they learn it.

use crate::support::client::Request;
use crate::support::client::Response;
use crate::support::gateway::{TestGateway, assert_nothing_betrayed, assert_refused};
use crate::support::origin::Answer;

const APP: &str = "https://app.acme.com";

const LISTED: &str = "cors: { origins: ['https://app.acme.com', 'https://*.customers.example.com'], max_age: 10m }
routes: { /top: { pipe: top }, '/p/*': { proxy: '/{path.rest}', methods: [GET, PUT] } }";

#[tokio::test]
async fn a_preflight_is_answered_by_the_gateway() {
    let gw = TestGateway::with(LISTED);
    let ask = |path: &str, method: &str| {
        Request::preflight(path, APP, method).header("Access-Control-Request-Headers", "authorization,content-type")
    };
    let response = ask("/top", "POST").send(gw.addr()).await;
    assert!([200, 204].contains(&response.status), "{response:?}");
    assert!(response.body.is_empty());
    assert_eq!(response.header("access-control-allow-origin").as_deref(), Some(APP));
    assert_eq!(response.header("access-control-max-age").as_deref(), Some("600"));
    assert_eq!(response.header("access-control-allow-credentials"), None);
    assert!(response.header("x-request-id").is_some());
    let methods = listed(&response, "access-control-allow-methods");
    assert!(methods.contains(&"get".to_owned()) && methods.contains(&"post".to_owned()), "{methods:?}");
    assert!(!methods.contains(&"delete".to_owned()) && !methods.contains(&"*".to_owned()), "{methods:?}");
    let headers = listed(&response, "access-control-allow-headers");
    // `*` does not cover Authorization (Fetch standard).
    assert!(headers.contains(&"authorization".to_owned()), "{headers:?}");
    assert!(headers.contains(&"content-type".to_owned()), "{headers:?}");
    assert_varies(&response);
    assert_nothing_betrayed(&response);

    let methods = listed(&ask("/p/x", "PUT").send(gw.addr()).await, "access-control-allow-methods");
    assert!(methods.contains(&"put".to_owned()) && !methods.contains(&"post".to_owned()), "{methods:?}");
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn answers_name_the_origin_that_asked_and_no_other() {
    let gw = TestGateway::with(LISTED);
    for origin in [APP, "https://a.customers.example.com", "https://a-1.customers.example.com"] {
        let response = Request::get("/top").header("Origin", origin).send(gw.addr()).await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("access-control-allow-origin").as_deref(), Some(origin));
        assert_varies(&response);
        // The upstream has no use for it.
        assert!(!gw.origin.received().iter().any(|seen| seen.contains(origin)));
    }
    for origin in [
        "https://evil.example",
        "http://app.acme.com",
        "https://app.acme.com.evil.example",
        "https://app.acme.com:8443",
        "https://xapp.acme.com",
        "https://acme.com",
        "https://customers.example.com",
        "https://.customers.example.com",
        "https://evilcustomers.example.com",
        "https://a.customers.example.com.evil.example",
        "https://a.customers.example.com:1",
        "https://evil.example/.customers.example.com",
        "https://evil.example?.customers.example.com",
        "https://evil@a.customers.example.com",
        "http://a.customers.example.com",
        "null",
        "*",
        "",
        "https://*.customers.example.com",
        "https://app.acme.com, https://evil.example",
    ] {
        let request = Request::get("/top").header("Origin", origin);
        let response = request.send(gw.addr()).await;
        assert_not_allowed(origin, &response);
        assert_varies(&response);
        let response = Request::preflight("/top", origin, "POST").send(gw.addr()).await;
        assert_not_allowed(origin, &response);
    }
    // Two origins in one request are none.
    let response =
        Request::get("/top").header("Origin", "https://evil.example").header("Origin", APP).send(gw.addr()).await;
    assert_ne!(response.header("access-control-allow-origin").as_deref(), Some("https://evil.example"));
    // Caches must not hand the answer of one origin to another, also where none was named.
    assert_varies(&Request::get("/top").send(gw.addr()).await);
}

#[tokio::test]
async fn refusals_carry_the_headers_too() {
    let gw = TestGateway::with(LISTED);
    for (request, status, code) in [
        (Request::get("/nothing"), 404, "route_not_found"),
        (Request::get("/top?q=1"), 400, "control_parameter"),
        (Request::get("/top/../x"), 400, "bad_request"),
        (Request::new("DELETE", "/top"), 405, "method_not_allowed"),
        (Request::post("/top").typed_body("text/plain", "SELECT 1"), 415, "unsupported_body"),
        (Request::post("/top").form("a".repeat(62_000)), 413, "body_too_large"),
        (Request::get(format!("/top?a={}", "a".repeat(17_000))), 414, "uri_too_long"),
    ] {
        let response = request.header("Origin", APP).send(gw.addr()).await;
        assert_refused(&response, status, code);
        assert_eq!(response.header("access-control-allow-origin").as_deref(), Some(APP), "{status}");
        assert_varies(&response);
    }
    // An upstream that fails is no reason to hide why from the page.
    gw.origin.always(Answer::close());
    let response = Request::get("/top").header("Origin", APP).send(gw.addr()).await;
    assert_refused(&response, 502, "upstream_failed");
    assert_eq!(response.header("access-control-allow-origin").as_deref(), Some(APP));
}

#[tokio::test]
async fn every_origin_and_credentials() {
    let gw = TestGateway::with("cors: { origins: ['*'] }\nroutes: { /top: { pipe: top } }");
    for origin in ["https://any.example", "null"] {
        let response = Request::get("/top").header("Origin", origin).send(gw.addr()).await;
        let allowed = response.header("access-control-allow-origin");
        assert!(allowed.as_deref() == Some("*") || allowed.as_deref() == Some(origin), "{allowed:?}");
        assert_eq!(response.header("access-control-allow-credentials"), None);
    }
    let gw = TestGateway::with(&format!(
        "cors: {{ origins: ['{APP}'], credentials: true }}\nroutes: {{ /top: {{ pipe: top }} }}"
    ));
    for request in [Request::get("/top").header("Origin", APP), Request::preflight("/top", APP, "GET")] {
        let response = request.send(gw.addr()).await;
        assert_eq!(response.header("access-control-allow-origin").as_deref(), Some(APP));
        assert_eq!(response.header("access-control-allow-credentials").as_deref(), Some("true"));
    }
    assert_not_allowed("evil", &Request::get("/top").header("Origin", "https://evil.example").send(gw.addr()).await);
}

#[tokio::test]
async fn a_routes_own_rules_replace_the_outer_ones_whole() {
    let gw = TestGateway::with(
        "cors: { origins: ['https://outer.example'], max_age: 1h }
routes: { /outer: { pipe: top }, /inner: { pipe: top, cors: { origins: ['https://inner.example'] } } }",
    );
    let allows = async |path: &str, origin: &str| {
        let response = Request::get(path).header("Origin", origin).send(gw.addr()).await;
        response.header("access-control-allow-origin").as_deref() == Some(origin)
    };
    assert!(allows("/outer", "https://outer.example").await);
    assert!(!allows("/outer", "https://inner.example").await);
    assert!(allows("/inner", "https://inner.example").await);
    assert!(!allows("/inner", "https://outer.example").await);
    let response = Request::preflight("/inner", "https://inner.example", "GET").send(gw.addr()).await;
    assert_eq!(response.header("access-control-max-age").as_deref(), Some("600"));
}

#[tokio::test]
async fn without_rules_no_page_may_call_whatever_the_upstream_says() {
    for sections in ["routes: { /top: { pipe: top } }", LISTED] {
        let gw = TestGateway::with(sections);
        let answer =
            Answer::ok().header("Access-Control-Allow-Origin", "*").header("Access-Control-Allow-Credentials", "true");
        gw.origin
            .always(answer.header("Access-Control-Expose-Headers", "X-Upstream").header("Timing-Allow-Origin", "*"));
        let response = Request::get("/top").header("Origin", "https://evil.example").send(gw.addr()).await;
        assert_eq!(response.status, 200);
        assert_not_allowed("https://evil.example", &response);
        assert_eq!(response.header("timing-allow-origin"), None);
    }
    let gw = TestGateway::with("routes: { /top: { pipe: top } }");
    let response = Request::preflight("/top", APP, "GET").send(gw.addr()).await;
    assert_refused(&response, 405, "method_not_allowed");
    assert_not_allowed(APP, &response);
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn options_without_a_preflights_headers_is_a_method_like_others() {
    let gw = TestGateway::with(LISTED);
    for request in [Request::new("OPTIONS", "/top"), Request::new("OPTIONS", "/top").header("Origin", APP)] {
        assert_refused(&request.send(gw.addr()).await, 405, "method_not_allowed");
    }
    // Nothing is behind a path that does not exist, for pages either.
    let response = Request::preflight("/nothing", APP, "GET").send(gw.addr()).await;
    assert_refused(&response, 404, "route_not_found");
    gw.origin.assert_untouched();
}

/// The words of a list in lower case.
fn listed(response: &Response, name: &str) -> Vec<String> {
    let list = response.header(name).unwrap_or_default().to_ascii_lowercase();
    list.split(',').map(|word| word.trim().to_owned()).collect()
}

#[track_caller]
fn assert_varies(response: &Response) {
    let vary = response.headers_all("vary").join(&b","[..]).to_ascii_lowercase();
    assert!(String::from_utf8_lossy(&vary).contains("origin"), "no Vary: Origin in {response:?}");
}

#[track_caller]
fn assert_not_allowed(origin: &str, response: &Response) {
    let names = response.header_names();
    let allows: Vec<_> = names.iter().filter(|name| name.starts_with("access-control-")).collect();
    assert!(allows.is_empty(), "{origin}: {response:?}");
}
