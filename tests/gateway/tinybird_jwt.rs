//! `auth` with Tinybird's JWTs: what Tinybird lets its signers leave out, and what a token opens.

use std::time::Duration;

use serde_json::{Value, json};

use tollgate::clock::TestClock;

use crate::support::client::{Request, Response};
use crate::support::credentials::{
    ADMIN, NOW, PROVIDERS, SECRET, dashboard, hs256, is_signed_by, jwt, tinybird, tinybird_claims, tinybird_with,
};
use crate::support::gateway::{TestGateway, assert_refused};

const ID: &str = "t_0123456789abcdef0123456789abcdef";

const AUTH: &str = r#"auth:
  dashboards: { type: tinybird_jwt, secret: "p.eyJ1IjoiYWRtaW4iLCJpZCI6IjEifQ.the-admin-token-of-the-workspace", workspace_id: 9c2a0c2e-0000-4000-8000-000000000001, tenant: "{fixed_params.company_id}" }
default_auth: dashboards
"#;

const ROUTES: &str = r#"tinybird_api: true
routes:
  /top: { pipe: top, pipe_id: t_0123456789abcdef0123456789abcdef, formats: [json, csv], params: { fixed: { company_id: "{tenant}" } } }
  /reports/{report}: { pipe: "report_{path.report}" }
  /other: { pipe: other }
  /ch/*: { proxy: "/{path.rest}", require: { pipe: top }, methods: [GET, PUT] }
  /ch/{name}/of: { proxy: "/by/{path.name}", require: { pipe: "report_{path.name}" } }
  /scoped: { pipe: scoped, formats: [ndjson], require: { scopes: [reports.read] } }
"#;

fn gateway() -> (TestGateway, TestClock) {
    let time = TestClock::new();
    (TestGateway::with_clock(&format!("{AUTH}{ROUTES}"), &time), time)
}

async fn call(gw: &TestGateway, path: &str, token: &str) -> Response {
    Request::get(path).bearer(token).send(gw.addr()).await
}

async fn assert_opens(gw: &TestGateway, path: &str, token: &str, target: &str) {
    gw.origin.forget_requests();
    let response = call(gw, path, token).await;
    assert_eq!(response.status, 200, "{path}: {}", response.body_text());
    assert_eq!(gw.origin.only_request().target, target);
    gw.origin.forget_requests();
}

#[tokio::test]
async fn what_tinybird_lets_signers_leave_out_may_be_left_out() {
    let (gw, _) = gateway();
    let body = tinybird_with("top", &json!({})).to_string();
    for header in ["{}", r#"{"typ":"JWT"}"#, r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","typ":"JWT","kid":"any"}"#] {
        let token = hs256(header, &body, ADMIN);
        assert!(is_signed_by(&token, ADMIN));
        assert_opens(&gw, "/top", &token, "/v0/pipes/top.json?company_id=acme").await;
    }
    for changes in [
        json!({ "exp": NOW as f64 + 0.25 }),
        json!({ "exp": NOW as f64 + 600.123_456 }),
        json!({ "iat": NOW }),
        json!({ "iat": NOW as f64 + 0.5 }),
        json!({ "limits": {} }),
        json!({ "limits": { "rps": 0 } }),
        json!({ "name": "a b/ü" }),
        json!({ "iss": "anybody", "aud": "anything", "sub": "u" }),
    ] {
        let token = tinybird(&tinybird_with("top", &changes));
        assert_opens(&gw, "/top", &token, "/v0/pipes/top.json?company_id=acme").await;
    }
}

#[tokio::test]
async fn a_fractional_end_is_kept_to_the_millisecond() {
    let (gw, time) = gateway();
    let token = tinybird(&tinybird_with("top", &json!({ "exp": NOW as f64 + 2.5 })));
    let whole = tinybird(&tinybird_with("top", &json!({ "exp": NOW + 3 })));
    time.advance(Duration::from_millis(2_499));
    assert_eq!(call(&gw, "/top", &token).await.status, 200);
    assert_eq!(call(&gw, "/top", &whole).await.status, 200);
    time.advance(Duration::from_millis(1));
    assert_refused(&call(&gw, "/top", &token).await, 403, "credential_expired");
    let fresh = tinybird(&tinybird_with("top", &json!({ "exp": NOW as f64 + 2.5, "name": "not seen before" })));
    assert_refused(&call(&gw, "/top", &fresh).await, 403, "credential_expired");
    // One that was verified before ends with the same moment as one that was not.
    time.advance(Duration::from_millis(500));
    assert_refused(&call(&gw, "/top", &whole).await, 403, "credential_expired");
}

#[tokio::test]
async fn what_tinybird_wants_must_be_there() {
    let (gw, _) = gateway();
    for changes in [
        json!({ "exp": null }),
        json!({ "exp": (NOW + 600).to_string() }),
        json!({ "name": null }),
        json!({ "name": "" }),
        json!({ "name": 1 }),
        json!({ "name": ["a"] }),
        json!({ "scopes": null }),
        json!({ "scopes": {} }),
        json!({ "scopes": "PIPES:READ" }),
        json!({ "scopes": ["PIPES:READ"] }),
        json!({ "scopes": [{ "resource": "top" }] }),
        json!({ "scopes": [{ "type": "PIPES:READ" }] }),
        json!({ "scopes": [{ "type": ["PIPES:READ"], "resource": "top" }] }),
        json!({ "scopes": [{ "type": "PIPES:READ", "resource": ["top"] }] }),
        json!({ "scopes": [{ "type": "PIPES:READ", "resource": { "name": "top" } }] }),
        json!({ "nbf": NOW + 1 }),
    ] {
        let response = call(&gw, "/top", &tinybird(&tinybird_with("top", &changes))).await;
        assert_refused(&response, 403, "credential_invalid");
    }
    // The workspace's key, whole and nothing else.
    let body = tinybird_with("top", &json!({})).to_string();
    for key in [
        "",
        SECRET,
        &ADMIN[2..],
        &ADMIN[..ADMIN.len() - 1],
        &format!("{ADMIN}\n"),
        &ADMIN.to_uppercase(),
        &format!("Bearer {ADMIN}"),
    ] {
        let response = call(&gw, "/top", &hs256(r#"{"alg":"HS256"}"#, &body, key)).await;
        assert_refused(&response, 403, "credential_invalid");
    }
    // The admin token itself opens nothing.
    assert_refused(&call(&gw, "/top", ADMIN).await, 401, "credential_invalid");
    assert_refused(&gw.get(&format!("/top?token={ADMIN}")).await, 401, "credential_invalid");
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn a_token_opens_the_pipes_of_its_scopes_and_no_others() {
    let (gw, _) = gateway();
    let scopes = |scopes: Value| tinybird(&tinybird_with("top", &json!({ "scopes": scopes })));
    let fixed = json!({ "company_id": "acme" });
    for scope in [
        json!({ "type": "DATASOURCES:READ", "resource": "top", "fixed_params": fixed }),
        json!({ "type": "pipes:read", "resource": "top", "fixed_params": fixed }),
        json!({ "type": "PIPES:READ:top", "resource": "top", "fixed_params": fixed }),
        json!({ "type": "ADMIN", "resource": "top", "fixed_params": fixed }),
        json!({ "type": "PIPES:READ", "resource": "Top", "fixed_params": fixed }),
        json!({ "type": "PIPES:READ", "resource": "top ", "fixed_params": fixed }),
        json!({ "type": "PIPES:READ", "resource": "top.json", "fixed_params": fixed }),
        json!({ "type": "PIPES:READ", "resource": "*", "fixed_params": fixed }),
        json!({ "type": "PIPES:READ", "resource": "", "fixed_params": fixed }),
        json!({ "type": "PIPES:READ", "resource": "other", "fixed_params": fixed }),
        json!({ "type": "PIPES:READ", "resource": format!("{ID}0"), "fixed_params": fixed }),
    ] {
        assert_refused(&call(&gw, "/top", &scopes(json!([scope]))).await, 403, "forbidden");
    }
    assert_refused(&call(&gw, "/top", &scopes(json!([]))).await, 403, "forbidden");
    gw.origin.assert_untouched();

    // By its id, where the route has one.
    let by_id = scopes(json!([{ "type": "PIPES:READ", "resource": ID, "fixed_params": fixed }]));
    assert_opens(&gw, "/top", &by_id, "/v0/pipes/top.json?company_id=acme").await;
    assert_refused(&call(&gw, "/other", &by_id).await, 403, "forbidden");
    // Each pipe has the parameters of its own scope.
    let two = scopes(json!([
        { "type": "PIPES:READ", "resource": "other", "fixed_params": { "company_id": "beta", "plan": "free" } },
        { "type": "DATASOURCES:READ", "resource": "top", "filter": "1 = 1" },
        { "type": "PIPES:READ", "resource": "top", "fixed_params": fixed },
        { "type": "FUTURE:KIND", "resource": "anything" },
    ]));
    assert_opens(&gw, "/top", &two, "/v0/pipes/top.json?company_id=acme").await;
    assert_opens(&gw, "/other?plan=pro", &two, "/v0/pipes/other.json?company_id=beta&plan=free").await;
}

#[tokio::test]
async fn scopes_for_one_pipe_must_agree() {
    let (gw, _) = gateway();
    let pair = |one: Value, other: Value| {
        let scope = |(resource, fixed): (&str, Value)| json!({ "type": "PIPES:READ", "resource": resource, "fixed_params": fixed });
        [("top", "top"), ("top", ID), (ID, "top")].map(|(a, b)| {
            tinybird(&tinybird_with("top", &json!({ "scopes": [scope((a, one.clone())), scope((b, other.clone()))] })))
        })
    };
    let acme = json!({ "company_id": "acme" });
    for other in [
        json!({ "company_id": "beta" }),
        json!({}),
        json!(null),
        json!({ "company_id": "acme", "plan": "pro" }),
        json!({ "Company_Id": "acme" }),
        json!({ "company_id": "" }),
        json!({ "company_id": ["acme"] }),
    ] {
        for token in pair(acme.clone(), other.clone()).into_iter().chain(pair(other.clone(), acme.clone())) {
            let response = call(&gw, "/top", &token).await;
            assert_eq!(response.status, 403, "{other}: {}", response.body_text());
            assert!(
                ["tenant_mismatch", "tenant_missing"].contains(&response.json()["code"].as_str().unwrap()),
                "{other}"
            );
        }
    }
    gw.origin.assert_untouched();
    for token in pair(acme.clone(), acme) {
        assert_opens(&gw, "/top", &token, "/v0/pipes/top.json?company_id=acme").await;
    }
}

#[tokio::test]
async fn captures_choose_the_pipe_and_not_the_token() {
    let (gw, _) = gateway();
    let token = tinybird(&tinybird_claims("report_sales", &json!({ "company_id": "acme" })));
    assert_opens(&gw, "/reports/sales", &token, "/v0/pipes/report_sales.json?company_id=acme").await;
    for path in ["/reports/Sales", "/reports/costs", "/reports/sale", "/reports/saless", "/reports/report_sales"] {
        assert_refused(&call(&gw, path, &token).await, 403, "forbidden");
    }
    for path in
        ["/reports/", "/reports/sales.csv", "/reports/sales/x", "/reports/..", "/reports/a%2fb", "/reports/sales%00"]
    {
        let response = call(&gw, path, &token).await;
        assert!([400, 404].contains(&response.status), "{path}: {}", response.status);
    }
    // The template's own text is no pipe.
    for resource in ["report_{path.report}", "report_", "{path.report}"] {
        let odd = tinybird(&tinybird_claims(resource, &json!({ "company_id": "acme" })));
        assert_refused(&call(&gw, "/reports/sales", &odd).await, 403, "forbidden");
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn the_path_of_tinybirds_own_clients_has_the_same_policy() {
    let (gw, _) = gateway();
    let (good, beta) = (dashboard("top", "acme"), dashboard("other", "beta"));
    assert_opens(&gw, "/v0/pipes/top.json?company_id=evil", &good, "/v0/pipes/top.json?company_id=acme").await;
    assert_opens(&gw, &format!("/v0/pipes/top.csv?token={good}"), &good, "/v0/pipes/top.csv?company_id=acme").await;
    assert_refused(&call(&gw, "/v0/pipes/top.json", &beta).await, 403, "forbidden");
    assert_refused(&gw.get("/v0/pipes/top.json").await, 401, "credential_missing");
    gw.origin.assert_untouched();
    for path in [
        "/v0/sql?q=select%201",
        "/v0/pipes",
        "/v0/pipes/",
        "/v0/pipes/top",
        "/v0/pipes/openapi.json",
        "/v0/pipes/elsewhere.json",
        &format!("/v0/pipes/{ID}.json"),
        "/v0/tokens",
        "/v0/datasources",
        "/v0/events?name=x",
        "/v1/workspace",
        "/v0/pipes/top/explain",
        "/v0/pipes/top.parquet",
        "/V0/pipes/top.json",
        "/v0/pipes/TOP.json",
    ] {
        for token in [&good, &beta] {
            assert_refused(&call(&gw, path, token).await, 404, "route_not_found");
        }
        assert_refused(&Request::post(path).bearer(&good).send(gw.addr()).await, 404, "route_not_found");
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn head_and_post_are_judged_as_get_is() {
    let (gw, _) = gateway();
    let (good, wrong, old) =
        (dashboard("top", "acme"), dashboard("other", "acme"), tinybird(&tinybird_with("top", &json!({ "exp": NOW }))));
    for request in
        [Request::head("/top"), Request::post("/top").form("company_id=evil"), Request::post("/top").json("{}")]
    {
        for (token, status) in [(&wrong, 403), (&old, 403)] {
            assert_eq!(request.clone().bearer(token).send(gw.addr()).await.status, status);
        }
        assert_eq!(request.clone().send(gw.addr()).await.status, 401);
        gw.origin.assert_untouched();
        assert_eq!(request.clone().bearer(&good).send(gw.addr()).await.status, 200);
        let seen = gw.origin.only_request();
        assert!(seen.target == "/v0/pipes/top.json?company_id=acme" && !seen.contains("evil"), "{seen:?}");
        gw.origin.forget_requests();
    }
    // A body is not asked for before it is known who sends it.
    let request = Request::post("/top")
        .header("Expect", "100-continue")
        .header("Content-Length", "1000")
        .header("Content-Type", "application/json");
    let response = request.send(gw.addr()).await;
    assert_refused(&response, 401, "credential_missing");
    assert!(response.informational.is_empty(), "{response:?}");
    let response = Request::new("DELETE", "/top").send(gw.addr()).await;
    assert_refused(&response, 405, "method_not_allowed");
}

#[tokio::test]
async fn tokens_open_other_upstreams_than_tinybird() {
    let (gw, _) = gateway();
    let good = dashboard("top", "acme");
    assert_opens(&gw, "/ch/tables/sales?company_id=evil&limit=5", &good, "/tables/sales?limit=5&company_id=acme").await;
    assert_refused(&call(&gw, "/ch/tables/sales", &dashboard("other", "acme")).await, 403, "forbidden");
    // A body that nobody looks into could say what the token fixes, and reading needs none.
    let response = Request::get("/ch/x").bearer(&good).json(r#"{"company_id":"evil"}"#).send(gw.addr()).await;
    assert_eq!(response.status, 415, "{}", response.body_text());
    assert_refused(&call(&gw, "/ch/sales/of", &good).await, 403, "forbidden");
    gw.origin.assert_untouched();
    assert_opens(&gw, "/ch/sales/of", &dashboard("report_sales", "acme"), "/by/sales?company_id=acme").await;
}

#[tokio::test]
async fn the_scope_for_the_pipe_stands_in_for_required_scopes() {
    let (gw, _) = gateway();
    assert_opens(&gw, "/scoped", &dashboard("scoped", "acme"), "/v0/pipes/scoped.ndjson?company_id=acme").await;
    // Unless the provider says where its tokens have such scopes.
    let says = AUTH.replace(" }\ndefault", ", scopes: \"{claims.may}\" }\ndefault");
    let gw = TestGateway::with_clock(&format!("{says}{ROUTES}"), &TestClock::new());
    assert_refused(&call(&gw, "/scoped", &dashboard("scoped", "acme")).await, 403, "forbidden");
    for may in [json!("reports.read"), json!("a reports.read b"), json!(["a", "reports.read"])] {
        let token = tinybird(&tinybird_with("scoped", &json!({ "may": may })));
        assert_eq!(call(&gw, "/scoped", &token).await.status, 200, "{may}");
        let other = tinybird(&tinybird_with("other", &json!({ "may": may })));
        assert_refused(&call(&gw, "/scoped", &other).await, 403, "forbidden");
    }
    for may in [
        json!("reports.readx"),
        json!("Reports.Read"),
        json!("reports"),
        json!({ "reports.read": true }),
        json!(["a b"]),
        json!("a,reports.read"),
    ] {
        let token = tinybird(&tinybird_with("scoped", &json!({ "may": may })));
        assert_refused(&call(&gw, "/scoped", &token).await, 403, "forbidden");
    }
}

#[tokio::test]
async fn required_scopes_are_words_and_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.yaml"), "[]\n").unwrap();
    let routes = "routes: { /r: { pipe: top, auth: [employees, dashboards, partners], require: { scopes: [reports.read, x] } } }\n";
    let gw = TestGateway::from_folder(folder, &format!("{PROVIDERS}{routes}"), TestClock::new().clock());
    let with = |scope: Value| {
        let mut claims = crate::support::credentials::claims();
        claims["scope"] = scope;
        jwt(&claims)
    };
    for scope in [json!("x reports.read"), json!("reports.read x y"), json!(["x", "reports.read"])] {
        assert_eq!(call(&gw, "/r", &with(scope.clone())).await.status, 200, "{scope}");
    }
    gw.origin.forget_requests();
    for scope in [
        json!(""),
        json!("x"),
        json!("reports.read"),
        json!("xreports.read x"),
        json!("reports.read,x"),
        json!(null),
        json!(1),
        json!({}),
        json!([["x", "reports.read"]]),
    ] {
        assert_refused(&call(&gw, "/r", &with(scope)).await, 403, "forbidden");
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn a_clock_that_jumps_by_an_hour_changes_only_what_goes_by_the_time_of_day() {
    let time = TestClock::new();
    let limited = "limits: { few: { by: ip, rate: 3/h, burst: 3 } }\nroutes:\n  /open: { pipe: open, auth: public, limits: [few] }\n";
    let top = "  /top: { pipe: top, params: { fixed: { company_id: \"{tenant}\" } } }\n";
    let gw = TestGateway::with_clock(&format!("{AUTH}{limited}{top}"), &time);
    let token = tinybird(&tinybird_with("top", &json!({ "exp": NOW + 600 })));
    let open = async || Request::get("/open").send(gw.addr()).await;
    for _ in 0..3 {
        assert_eq!(open().await.status, 200);
    }
    for (ahead, is_good) in
        [(0, true), (3_600, false), (0, true), (-3_600, true), (3_600, false), (-3_600, true), (0, true)]
    {
        time.set_wall_ahead(ahead);
        // An hour of the time of day is no hour that has passed.
        assert_refused(&open().await, 429, "rate_limited");
        let response = call(&gw, "/top", &token).await;
        match is_good {
            true => assert_eq!(response.status, 200, "{ahead} s ahead: {}", response.body_text()),
            false => assert_refused(&response, 403, "credential_expired"),
        }
    }
    time.advance(Duration::from_secs(3_600));
    assert_eq!(open().await.status, 200, "now it has passed");
}
