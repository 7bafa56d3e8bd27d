//! `upstreams.auth`: whose credential reaches the upstream, and who never sees it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use tollgate::clock::TestClock;

use crate::support::client::{Request, Response};
use crate::support::credentials::{
    ADMIN, NOW, PROVIDERS, WORKSPACE, api_key, claims, claims_with, dashboard, is_signed_by, jwt, payload, record,
    tinybird, tinybird_claims, tinybird_with,
};
use crate::support::eventually::driven;
use crate::support::gateway::{TestGateway, assert_nothing_betrayed, assert_refused};
use crate::support::origin::{Answer, MockOrigin, Received};

/// What signs minted tokens: another workspace's.
const MINTER: &str = "p.eyJ1IjoibWludGVyIn0.the-admin-token-of-another-workspace";
const OTHER: &str = "11111111-0000-4000-8000-000000000002";

const PASSED: &str = r#"upstreams: { t: { url: '{origin}', auth: passthrough } }
auth:
  dashboards: { type: tinybird_jwt, secret: "p.eyJ1IjoiYWRtaW4iLCJpZCI6IjEifQ.the-admin-token-of-the-workspace", workspace_id: 9c2a0c2e-0000-4000-8000-000000000001, tenant: "{fixed_params.company_id}" }
default_auth: dashboards
routes:
  /top: { pipe: top, params: { fixed: { company_id: "{tenant}", region: eu } } }
  /p/*: { proxy: "/{path.rest}", require: { pipe: top } }
"#;

const MINTED: &str = r#"upstreams: { t: { url: '{origin}', auth: mint, mint: { secret: "p.eyJ1IjoibWludGVyIn0.the-admin-token-of-another-workspace", workspace_id: 11111111-0000-4000-8000-000000000002, ttl: TTL } } }
routes:
  /top: { pipe: top, auth: [dashboards, employees, partners], params: { fixed: { company_id: "{tenant}", region: eu } } }
  /r/{name}: { pipe: "report_{path.name}", auth: [employees], params: { fixed: { company_id: "{tenant}", part: "{path.name}" } } }
  /open: { pipe: open, auth: public }
  /unfixed: { pipe: unfixed, auth: [employees] }
"#;

fn minted() -> String {
    format!("{PROVIDERS}{}", MINTED.replace("TTL", "10m"))
}

fn gateway(sections: &str) -> (TestGateway, TestClock) {
    let time = TestClock::new();
    let folder = tempfile::tempdir().expect("a folder for the test");
    std::fs::write(folder.path().join("keys.yaml"), record(&api_key("Aaaaaaaaaaa1", "key"), ", tenant: acme"))
        .expect("a file");
    let origin = MockOrigin::start();
    let sections = sections.replace("{origin}", &origin.url());
    // The kit starts an origin of its own, which nobody calls.
    let mut gw = TestGateway::from_folder(folder, &sections, time.clock());
    gw.origin = origin;
    (gw, time)
}

async fn call(gw: &TestGateway, path: &str, token: &str) -> Response {
    Request::get(path).bearer(token).send(gw.addr()).await
}

/// The token of a request at the origin; there is one, in one place.
fn bearer(seen: &Received) -> String {
    assert!(!seen.target.contains("token"), "{seen:?}");
    seen.header("authorization").expect("a credential").strip_prefix("Bearer ").expect("a token").to_owned()
}

#[tokio::test]
async fn a_callers_own_token_is_passed_on_and_nothing_else_of_it() {
    let (gw, _) = gateway(PASSED);
    let token = dashboard("top", "acme");
    for request in [
        Request::get("/top?limit=5&company_id=evil").bearer(&token),
        Request::get(format!("/top?token={token}&limit=5")),
        Request::get(format!("/top?limit=5&token={token}")).bearer(&token),
    ] {
        gw.origin.forget_requests();
        assert_eq!(request.header("X-API-Key", "own").send(gw.addr()).await.status, 200);
        let seen = gw.origin.only_request();
        assert_eq!(bearer(&seen), token);
        assert_eq!(seen.target, "/v0/pipes/top.json?limit=5&company_id=acme&region=eu");
        assert!(!seen.contains("X-API-Key") && !seen.contains(ADMIN));
    }
    gw.origin.forget_requests();
    assert_eq!(call(&gw, "/p/x?a=1", &token).await.status, 200);
    assert_eq!(bearer(&gw.origin.only_request()), token);
    gw.origin.forget_requests();
    for token in [
        tinybird(&tinybird_with("top", &json!({ "exp": 1 }))),
        dashboard("other", "acme"),
        dashboard("top", ""),
        format!("{token}x"),
    ] {
        assert!([401, 403].contains(&call(&gw, "/top", &token).await.status));
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn what_the_upstream_says_against_a_token_passes_scrubbed() {
    for sections in [PASSED.to_owned(), minted()] {
        let (gw, _) = gateway(&sections);
        let token = dashboard("top", "acme");
        gw.origin.respond_with(|seen| {
            let own = seen.header("authorization").unwrap_or_default();
            Answer::json(403, format!(r#"{{"error":"invalid Tinybird token {own}, see https://api.tinybird.co/x?token=abc","documentation":"https://docs.tinybird.co"}}"#))
                .header("WWW-Authenticate", "Bearer realm=tinybird")
        });
        let response = call(&gw, "/top", &token).await;
        assert_eq!(response.status, 403);
        assert_nothing_betrayed(&response);
        let sent = bearer(&gw.origin.only_request());
        assert!(!response.contains(&sent) && !response.contains(&sent[..sent.rfind('.').unwrap()]), "{response:?}");
        assert!(response.json()["error"].is_string() && response.json().get("documentation").is_none(), "{response:?}");
        assert_eq!(response.header("x-request-id").as_deref(), response.json()["request_id"].as_str());
        // Bodyless, too, and none of it for a cache.
        gw.origin.always(Answer::status(401));
        let response = call(&gw, "/top", &token).await;
        assert_eq!(response.status, 401);
        assert!(
            response
                .header("cache-control")
                .is_some_and(|cache| cache.contains("private") || cache.contains("no-store")),
            "{response:?}"
        );
    }
}

#[tokio::test]
async fn minted_tokens_say_who_asks_for_what_and_no_more() {
    let (gw, time) = gateway(&minted());
    time.advance(Duration::from_millis(500));
    for (path, token, name, pipe, fixed) in [
        (
            "/top?company_id=evil&limit=5",
            jwt(&claims()),
            "acme",
            "top",
            json!({ "company_id": "acme", "region": "eu" }),
        ),
        ("/top", api_key("Aaaaaaaaaaa1", "key"), "acme", "top", json!({ "company_id": "acme", "region": "eu" })),
        (
            "/top",
            tinybird(&tinybird_claims("top", &json!({ "company_id": "beta", "plan": "pro" }))),
            "beta",
            "top",
            json!({ "company_id": "beta", "region": "eu", "plan": "pro" }),
        ),
        (
            "/r/sales",
            jwt(&claims_with(&json!({ "org_id": "gamma" }))),
            "gamma",
            "report_sales",
            json!({ "company_id": "gamma", "part": "sales" }),
        ),
    ] {
        gw.origin.forget_requests();
        assert_eq!(call(&gw, path, &token).await.status, 200, "{path}");
        let seen = gw.origin.only_request();
        let sent = bearer(&seen);
        assert!(is_signed_by(&sent, MINTER) && !is_signed_by(&sent, ADMIN), "{sent}");
        assert!(!seen.contains(&token) && !seen.contains(MINTER), "{seen:?}");
        let claims = payload(&sent);
        assert_eq!((&claims["workspace_id"], &claims["name"]), (&json!(OTHER), &json!(name)), "{claims}");
        assert_eq!(
            claims["scopes"],
            json!([{ "type": "PIPES:READ", "resource": pipe, "fixed_params": fixed }]),
            "{claims}"
        );
        let exp = claims["exp"].as_u64().unwrap();
        assert!((NOW + 599..=NOW + 601).contains(&exp), "{exp}");
        assert!(claims.get("limits").is_none() && claims.get("org_id").is_none(), "{claims}");
        assert_ne!(WORKSPACE, OTHER);
    }
    // Nobody's pipes are still one pipe.
    gw.origin.forget_requests();
    assert_eq!(gw.get("/open").await.status, 200);
    let claims = payload(&bearer(&gw.origin.only_request()));
    assert_eq!(claims["scopes"].as_array().map(Vec::len), Some(1));
    assert_eq!(claims["scopes"][0]["resource"], "open");
    assert!(claims["name"].as_str().is_some_and(|name| !name.is_empty()), "Tinybird wants one: {claims}");
}

#[tokio::test]
async fn a_minted_token_is_used_for_four_fifths_of_its_life() {
    let (gw, time) = gateway(&minted());
    let acme = jwt(&claims_with(&json!({ "exp": NOW + 10_000 })));
    let sent = async |path: &str, token: &str| {
        gw.origin.forget_requests();
        assert_eq!(call(&gw, path, token).await.status, 200);
        bearer(&gw.origin.only_request())
    };
    let first = sent("/top", &acme).await;
    assert_eq!(sent("/top?limit=6", &acme).await, first, "what callers say is no part of it");
    assert_eq!(sent("/top", &api_key("Aaaaaaaaaaa1", "key")).await, first, "one tenant, whoever asks");
    time.advance(Duration::from_millis(479_999));
    assert_eq!(sent("/top", &acme).await, first);
    time.advance(Duration::from_millis(1));
    let second = sent("/top", &acme).await;
    assert_ne!(second, first);
    assert_eq!(payload(&second)["exp"], NOW + 480 + 600);
    // Each tenant, pipe and set of fixed parameters has one of its own.
    let beta = jwt(&claims_with(&json!({ "exp": NOW + 10_000, "org_id": "beta" })));
    let mut all = BTreeSet::from([second]);
    for (path, token) in
        [("/top", &beta), ("/r/a", &acme), ("/r/b", &acme), ("/r/a", &beta), ("/unfixed", &acme), ("/unfixed", &beta)]
    {
        assert!(all.insert(sent(path, token).await), "{path}");
    }
    let plan = tinybird(&tinybird_with(
        "top",
        &json!({ "exp": NOW + 10_000, "scopes": [{ "type": "PIPES:READ", "resource": "top", "fixed_params": { "company_id": "acme", "plan": "pro" } }] }),
    ));
    assert!(all.insert(sent("/top", &plan).await));
    // Another key, another life: at once.
    for change in [
        minted().replace("ttl: 10m", "ttl: 1m"),
        minted().replace("the-admin-token-of-another-workspace", "the-admin-token-of-another-workspace-2"),
        minted().replace(OTHER, "22222222-0000-4000-8000-000000000003"),
    ] {
        gw.rewrite(&change.replace("{origin}", &gw.origin.url()));
        assert_eq!(gw.reload().await.status, 200);
        assert!(all.insert(sent("/top", &acme).await));
    }
}

#[tokio::test]
async fn tries_of_one_request_carry_one_token() {
    for (sections, passed) in [(PASSED.to_owned(), true), (minted(), false)] {
        let (gw, time) = gateway(&sections);
        gw.origin.script([Answer::status(500), Answer::status(429), Answer::ok()]);
        let token = dashboard("top", "acme");
        let response = driven(&time, Duration::from_millis(100), call(&gw, "/top", &token)).await;
        assert_eq!(response.status, 200);
        let sent: BTreeSet<String> = gw.origin.requests(3).await.iter().map(bearer).collect();
        assert_eq!(sent.len(), 1, "{sent:?}");
        assert_eq!(sent.contains(&token), passed);
    }
}

#[tokio::test]
async fn no_log_and_no_metric_shows_what_was_minted() {
    let (gw, _) = gateway(&minted());
    gw.origin.script([Answer::ok(), Answer::status(403), Answer::reset(), Answer::ok()]);
    let mut sent = Vec::new();
    for tenant in ["acme", "beta", "gamma"] {
        call(&gw, "/top", &jwt(&claims_with(&json!({ "org_id": tenant })))).await;
        sent.push(bearer(gw.origin.received().last().unwrap()));
    }
    let text = gw.log_lines(3).await.join("\n") + &gw.metrics().await;
    for token in sent {
        assert!(!text.contains(&token) && !text.contains(token.rsplit('.').next().unwrap()), "{text}");
    }
    assert!(!text.contains(MINTER) && !text.contains(ADMIN));
}

#[tokio::test]
async fn refusals_come_before_anything_is_minted() {
    let (gw, _) = gateway(&minted());
    for token in [jwt(&claims_with(&json!({ "org_id": "" }))), jwt(&claims_with(&json!({ "org_id": "a,b" })))] {
        assert_refused(&call(&gw, "/top", &token).await, 403, "tenant_missing");
        assert_refused(&call(&gw, "/unfixed", &token).await, 403, "tenant_missing");
    }
    gw.origin.assert_untouched();
}
