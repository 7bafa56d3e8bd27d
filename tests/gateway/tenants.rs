//! Tenants: where a credential's tenant comes from, what it is held against, and that nothing stands in for it.

use std::time::Duration;

use serde_json::{Value, json};

use tollgate::clock::TestClock;

use crate::support::client::{Request, Response};
use crate::support::credentials::{
    PROVIDERS, api_key, claims, claims_with, dashboard, jwt, record, tinybird, tinybird_claims, tinybird_with,
};
use crate::support::gateway::{TestGateway, assert_refused};

const ROUTES: &str = r#"routes:
  /top: { pipe: top, auth: [dashboards, employees, partners], params: { fixed: { company_id: "{tenant}" } } }
  /claim: { pipe: top, auth: employees, params: { fixed: { company_id: "{claims.org_id}" } } }
  /fixed: { pipe: top, auth: dashboards, params: { fixed: { company_id: "{fixed_params.company_id}" } } }
  /literal: { pipe: top, auth: dashboards, params: { fixed: { Company_Id: acme, region: eu }, default: { limit: 100 } } }
  /free: { pipe: top, auth: dashboards, params: { default: { company_id: everybody } } }
  /refuse: { pipe: top, auth: dashboards, params: { conflict: refuse } }
"#;

/// A key without a tenant, then one for each of these.
fn keys() -> String {
    record(&api_key("Nobody000001", "nobody"), "")
        + &record(&api_key("Acme00000001", "acme"), ", tenant: acme")
        + &record(&api_key("Beta00000001", "beta"), ", tenant: beta")
}

fn gateway_with(sections: &str) -> (TestGateway, TestClock) {
    let time = TestClock::new();
    let folder = tempfile::tempdir().expect("a folder for the test");
    std::fs::write(folder.path().join("keys.yaml"), keys()).expect("a file");
    (TestGateway::from_folder(folder, sections, time.clock()), time)
}

fn gateway() -> (TestGateway, TestClock) {
    gateway_with(&format!("{PROVIDERS}{ROUTES}"))
}

async fn call(gw: &TestGateway, path: &str, token: &str) -> Response {
    Request::get(path).bearer(token).send(gw.addr()).await
}

async fn at(gw: &TestGateway, host: &str, path: &str, token: &str) -> Response {
    Request::get(path).host(host).bearer(token).send(gw.addr()).await
}

async fn assert_asks(gw: &TestGateway, path: &str, token: &str, target: &str) {
    gw.origin.forget_requests();
    let response = call(gw, path, token).await;
    assert_eq!(response.status, 200, "{path}: {}", response.body_text());
    assert_eq!(gw.origin.only_request().target, target, "{path}");
    gw.origin.forget_requests();
}

/// What names no tenant, wherever it stands.
fn nobody() -> Vec<Value> {
    vec![
        json!(""),
        Value::Null,
        json!([]),
        json!({}),
        json!(["acme"]),
        json!(["acme", "beta"]),
        json!({ "id": "acme" }),
        json!(1.5),
        json!(1e300),
        json!("a".repeat(129)),
        json!("acme,beta"),
        json!(","),
        json!("acme\r\nX-Evil: 1"),
        json!("acme\n"),
        json!("acme\u{0}"),
        json!(" "),
        json!(" acme"),
        json!("acme "),
        json!("\t"),
        json!("\u{a0}"),
        json!("acme/beta"),
        json!("acme&company_id=beta"),
        json!("acmé"),
        json!("%61cme"),
        json!("*"),
        json!("acme'"),
        json!(true),
        json!(false),
    ]
}

#[tokio::test]
async fn p7_a_claim_that_names_no_tenant_refuses_the_request() {
    let (gw, _) = gateway();
    let mut claims: Vec<Value> = nobody()
        .iter()
        .map(|value| {
            let mut all = claims_with(&json!({}));
            all["org_id"] = value.clone();
            all
        })
        .collect();
    claims.push(claims_with(&json!({ "org_id": null })));
    // Another spelling is another claim.
    claims.push(claims_with(&json!({ "org_id": null, "Org_Id": "acme", "ORG_ID": "acme", "org": { "id": "acme" } })));
    for claims in claims {
        for path in ["/top", "/top?company_id=acme"] {
            assert_refused(&call(&gw, path, &jwt(&claims)).await, 403, "tenant_missing");
        }
        gw.origin.assert_untouched();
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn p7_a_tinybird_token_without_a_tenant_refuses_the_request() {
    let (gw, _) = gateway();
    let mut all: Vec<Value> =
        nobody().iter().map(|value| tinybird_claims("top", &json!({ "company_id": value }))).collect();
    for fixed in [
        json!({}),
        json!(null),
        json!([]),
        json!("acme"),
        json!([{ "company_id": "acme" }]),
        json!({ "Company_Id": "acme" }),
    ] {
        all.push(tinybird_claims("top", &fixed));
    }
    // Elsewhere than in the scope of this pipe.
    all.push(tinybird_with(
        "top",
        &json!({ "fixed_params": { "company_id": "acme" }, "company_id": "acme", "scopes": [
        { "type": "PIPES:READ", "resource": "top" },
        { "type": "PIPES:READ", "resource": "other", "fixed_params": { "company_id": "acme" } },
    ] }),
    ));
    for claims in all {
        for path in ["/top", "/top?company_id=acme"] {
            let response = call(&gw, path, &tinybird(&claims)).await;
            assert_refused(&response, 403, "tenant_missing");
        }
        gw.origin.assert_untouched();
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn p7_values_of_fixed_parameters_are_scalars_with_something_in_them() {
    let (gw, _) = gateway();
    for value in [
        json!(""),
        json!(null),
        json!([]),
        json!({}),
        json!(["acme"]),
        json!("a\r\nb"),
        json!("a\u{0}"),
        json!("  "),
        json!("\t"),
    ] {
        let mut claims = claims_with(&json!({ "org_id": "acme" }));
        claims["org_id"] = value.clone();
        // The tenant fails first here; `/claim` asks for it without a tenant template below.
        assert_refused(&call(&gw, "/claim", &jwt(&claims)).await, 403, "tenant_missing");
        // One more parameter of the token without a value: passing on the others would be less than what was signed.
        let token = tinybird(&tinybird_claims("top", &json!({ "company_id": "acme", "region": value })));
        for path in ["/top", "/free", "/fixed"] {
            assert_refused(&call(&gw, path, &token).await, 403, "tenant_missing");
        }
        gw.origin.assert_untouched();
    }
    for name in ["", "a b", "a&b", "a=b", "a\r\nb", "é", "token", "Token"] {
        let token = tinybird(&tinybird_claims("top", &json!({ "company_id": "acme", name: "x" })));
        let response = call(&gw, "/top", &token).await;
        assert_eq!(response.status, 403, "{name}");
        gw.origin.assert_untouched();
    }
}

#[tokio::test]
async fn p7_a_key_without_a_tenant_refuses_the_request() {
    let (gw, _) = gateway_with(
        r#"auth:
  partners: { type: api_key, keys: ./keys.yaml, tenant: "{key.tenant}" }
  metas: { type: api_key, keys: ./meta.yaml, prefix: met, tenant: "{key.meta.org}" }
routes: { /top: { pipe: top, auth: [partners], params: { fixed: { company_id: "{tenant}" } } } }
"#
        .replace("  metas: { type: api_key, keys: ./meta.yaml, prefix: met, tenant: \"{key.meta.org}\" }\n", "")
        .as_str(),
    );
    for path in ["/top", "/top?company_id=acme", "/top?tenant=acme"] {
        let response = call(&gw, path, &api_key("Nobody000001", "nobody")).await;
        assert_refused(&response, 403, "tenant_missing");
    }
    gw.origin.assert_untouched();
    assert_asks(&gw, "/top?company_id=beta", &api_key("Acme00000001", "acme"), "/v0/pipes/top.json?company_id=acme")
        .await;

    let folder = tempfile::tempdir().unwrap();
    let odd = [
        ("Comma0000001", "'acme,beta'"),
        ("Blank0000001", "'a b'"),
        ("Long00000001", &format!("'{}'", "a".repeat(129))),
    ];
    let mut lines: String =
        odd.iter().map(|(id, org)| record(&api_key(id, id), &format!(", meta: {{ org: {org} }}"))).collect();
    lines += &record(&api_key("None00000001", "None00000001"), ", tenant: acme, meta: { other: acme }");
    std::fs::write(folder.path().join("keys.yaml"), lines).unwrap();
    let gw = TestGateway::from_folder(
        folder,
        r#"auth: { partners: { type: api_key, keys: ./keys.yaml, tenant: "{key.meta.org}" } }
routes: { /top: { pipe: top, auth: [partners], params: { fixed: { company_id: "{tenant}" } } } }
"#,
        TestClock::new().clock(),
    );
    for id in ["Comma0000001", "Blank0000001", "Long00000001", "None00000001"] {
        assert_refused(&call(&gw, "/top", &api_key(id, id)).await, 403, "tenant_missing");
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn p6_values_of_claims_cannot_become_parameters_or_lines() {
    let (gw, _) = gateway_with(
        r#"auth: { employees: { type: jwt, issuer: "https://id.acme.com/", audience: analytics, secret: a-shared-secret-of-more-than-32-bytes-0123456789 } }
routes: { /claim: { pipe: top, auth: employees, params: { fixed: { company_id: "{claims.org_id}" } } } }
"#,
    );
    for (value, encoded) in [
        (json!("t1&company_id=t2"), "t1%26company_id%3Dt2"),
        (json!("a;b#c?d/e%20f+g"), ""),
        (json!("é"), "%C3%A9"),
        (json!(42), "42"),
        (json!(u64::MAX), "18446744073709551615"),
    ] {
        let response = call(&gw, "/claim?company_id=evil", &jwt(&claims_with(&json!({ "org_id": value })))).await;
        assert_eq!(response.status, 200, "{value}");
        let seen = gw.origin.only_request();
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(seen.query_pairs(), [("company_id".to_owned(), text)], "{}", seen.target);
        assert!(seen.target.contains(encoded) && !seen.contains("evil"), "{}", seen.target);
        seen.assert_strictly_valid();
        gw.origin.forget_requests();
    }
    for value in [
        json!("a\r\nX-Evil: 1"),
        json!("a\u{0}"),
        json!("a\u{7f}"),
        json!("a\u{85}b"),
        // A list, for Tinybird: the rows of two.
        json!("a,b"),
        json!(","),
        json!(" a"),
        json!("a\u{a0}"),
        json!(" "),
        json!(["a"]),
        json!({ "a": "b" }),
        json!(""),
    ] {
        let response = call(&gw, "/claim", &jwt(&claims_with(&json!({ "org_id": value })))).await;
        assert_refused(&response, 403, "tenant_missing");
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn p6_values_of_keys_are_one_value_and_those_of_tinybird_tokens_are_tinybirds() {
    let folder = tempfile::tempdir().unwrap();
    let orgs =
        [("Good00000001", "'a b'"), ("Comma0000001", "'a,b'"), ("Front0000001", "' a'"), ("Back00000001", "'a '")];
    let lines: String =
        orgs.iter().map(|(id, org)| record(&api_key(id, id), &format!(", meta: {{ org: {org} }}"))).collect();
    std::fs::write(folder.path().join("keys.yaml"), lines).unwrap();
    let gw = TestGateway::from_folder(
        folder,
        r#"auth: { partners: { type: api_key, keys: ./keys.yaml } }
routes: { /top: { pipe: top, auth: partners, params: { fixed: { company_id: "x-{key.meta.org}" } } } }
"#,
        TestClock::new().clock(),
    );
    assert_asks(&gw, "/top", &api_key("Good00000001", "Good00000001"), "/v0/pipes/top.json?company_id=x-a%20b").await;
    for (id, _) in orgs.iter().skip(1) {
        assert_refused(&call(&gw, "/top", &api_key(id, id)).await, 403, "tenant_missing");
    }
    gw.origin.assert_untouched();

    let (gw, _) = gateway();
    let token = tinybird(&tinybird_claims("top", &json!({ "company_id": "acme", "list": "a,b" })));
    assert_asks(&gw, "/top", &token, "/v0/pipes/top.json?company_id=acme&list=a,b").await;
}

#[tokio::test]
async fn p7_a_claim_with_two_readings_names_nobody() {
    let (gw, _) = gateway_with(
        r#"auth: { employees: { type: jwt, issuer: "https://id.acme.com/", audience: analytics, secret: a-shared-secret-of-more-than-32-bytes-0123456789, tenant: "{claims.org.id}" } }
routes:
  /top: { pipe: top, auth: employees, params: { fixed: { company_id: "{tenant}" } } }
  /fixed: { pipe: top, auth: employees, params: { fixed: { company_id: "{claims.a.b.c}" } } }
"#,
    );
    let with = |more: serde_json::Value| jwt(&claims_with(&more));
    for (path, one, company) in [
        ("/top", json!({ "org": { "id": "acme" } }), "acme"),
        ("/top", json!({ "org.id": "beta" }), "beta"),
        ("/top", json!({ "org": { "name": "acme" }, "org.id": "beta" }), "beta"),
        ("/fixed", json!({ "org.id": "beta", "a.b": { "c": "one" }, "a": { "b": 1 } }), "one"),
        ("/fixed", json!({ "org.id": "beta", "a": { "b.c": "two" } }), "two"),
    ] {
        assert_asks(&gw, path, &with(one), &format!("/v0/pipes/top.json?company_id={company}")).await;
    }
    for (path, two) in [
        ("/top", json!({ "org": { "id": "acme" }, "org.id": "beta" })),
        ("/top", json!({ "org": { "id": "acme" }, "org.id": "acme" })),
        ("/top", json!({ "org": { "id": [] }, "org.id": "acme" })),
        ("/fixed", json!({ "org.id": "beta", "a.b": { "c": "one" }, "a": { "b": { "c": "two" } } })),
        ("/fixed", json!({ "org.id": "beta", "a": { "b": { "c": "two" }, "b.c": "one" } })),
    ] {
        assert_refused(&call(&gw, path, &with(two)).await, 403, "tenant_missing");
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn numbers_that_lose_digits_name_nobody() {
    let (gw, _) = gateway();
    // Two companies whose numbers are one in the arithmetic of floating point.
    for number in [
        "18446744073709551616",
        "18446744073709551617",
        "-9223372036854775809",
        "1e20",
        "9007199254740993.0",
        "123456789012345678901234567890",
    ] {
        let text = tinybird_claims("top", &json!({ "company_id": "acme", "n": "PLACE" }))
            .to_string()
            .replace("\"PLACE\"", number);
        let token = crate::support::credentials::hs256(r#"{"alg":"HS256"}"#, &text, crate::support::credentials::ADMIN);
        let response = call(&gw, "/top", &token).await;
        assert_refused(&response, 403, "tenant_missing");
        gw.origin.assert_untouched();
    }
    for (number, text) in [
        ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1.5", "1.5"),
        ("true", "true"),
    ] {
        let claims = tinybird_claims("top", &json!({ "company_id": "acme", "n": "PLACE" }))
            .to_string()
            .replace("\"PLACE\"", number);
        let token =
            crate::support::credentials::hs256(r#"{"alg":"HS256"}"#, &claims, crate::support::credentials::ADMIN);
        assert_asks(&gw, "/top", &token, &format!("/v0/pipes/top.json?company_id=acme&n={text}")).await;
    }
}

#[tokio::test]
async fn rule_7_tenants_are_compared_byte_for_byte() {
    let (gw, _) = gateway_with(&format!(
        "{PROVIDERS}{ROUTES}hosts: {{ a.test: {{ tenant: acme }}, '*.up.test': {{ tenant: '{{host.1}}' }}, everybody.test: {{}} }}\n"
    ));
    for (org, status) in [("acme", 200), ("Acme", 403), ("ACME", 403), ("acme.", 403), ("acm", 403), ("acmee", 403)] {
        let token = jwt(&claims_with(&json!({ "org_id": org })));
        let response = at(&gw, "a.test", "/top", &token).await;
        assert_eq!(response.status, status, "{org}");
        let response = at(&gw, "ACME.Up.Test:80", "/top", &token).await;
        assert_eq!(response.status, status, "{org}");
        let response = at(&gw, "everybody.test", "/top", &token).await;
        assert_eq!(response.status, 200, "{org}");
    }
    // Every character that a tenant may have, and the longest name.
    for org in ["A.b_c:d@e-1", &"a".repeat(128), "-", "0"] {
        gw.origin.forget_requests();
        assert_eq!(at(&gw, "everybody.test", "/top", &jwt(&claims_with(&json!({ "org_id": org })))).await.status, 200);
        assert_eq!(gw.origin.only_request().query_values("company_id"), [org]);
    }
    gw.origin.forget_requests();
    // A whole number names a tenant, by its digits.
    assert_eq!(at(&gw, "everybody.test", "/top", &jwt(&claims_with(&json!({ "org_id": 42 })))).await.status, 200);
    assert_eq!(gw.origin.only_request().query_values("company_id"), ["42"]);
}

#[tokio::test]
async fn rule_7_a_provider_speaks_only_for_its_tenants() {
    let confined = PROVIDERS.replace(" }\n", ", tenants: [acme, gamma] }\n");
    let (gw, _) = gateway_with(&format!("{confined}{ROUTES}"));
    let beta = api_key("Beta00000001", "beta");
    for token in
        [dashboard("top", "beta"), jwt(&claims_with(&json!({ "org_id": "beta" }))), beta, dashboard("top", "Acme")]
    {
        assert_refused(&call(&gw, "/top", &token).await, 403, "tenant_mismatch");
    }
    gw.origin.assert_untouched();
    for token in [dashboard("top", "acme"), jwt(&claims()), api_key("Acme00000001", "acme"), dashboard("top", "gamma")]
    {
        assert_eq!(call(&gw, "/top", &token).await.status, 200);
    }
}

#[tokio::test]
async fn rule_7_a_key_of_nobody_is_none_of_a_few_tenants() {
    let confined = "auth: { partners: { type: api_key, keys: ./keys.yaml, tenants: [acme] } }\n";
    let (gw, _) = gateway_with(&format!("{confined}routes: {{ /top: {{ pipe: top, auth: partners }} }}\n"));
    assert_refused(&call(&gw, "/top", &api_key("Nobody000001", "nobody")).await, 403, "tenant_missing");
    assert_refused(&call(&gw, "/top", &api_key("Beta00000001", "beta")).await, 403, "tenant_mismatch");
    gw.origin.assert_untouched();
    assert_eq!(call(&gw, "/top", &api_key("Acme00000001", "acme")).await.status, 200);
}

#[tokio::test]
async fn rule_8_fixed_parameters_of_token_and_route_are_joined() {
    let (gw, _) = gateway();
    let with = |fixed: Value| tinybird(&tinybird_claims("top", &fixed));
    // What either says alone, both get; what both say must be the same.
    assert_asks(
        &gw,
        "/literal?region=us&Region=us",
        &with(json!({ "company_id": "acme", "plan": "pro" })),
        "/v0/pipes/top.json?limit=100&Company_Id=acme&region=eu&plan=pro",
    )
    .await;
    assert_asks(
        &gw,
        "/literal?limit=5",
        &with(json!({ "COMPANY_ID": "acme", "company_id": "acme" })),
        "/v0/pipes/top.json?limit=5&Company_Id=acme&region=eu",
    )
    .await;
    for fixed in [
        json!({ "company_id": "beta" }),
        json!({ "company_id": "Acme" }),
        json!({ "company_id": "acme", "region": "us" }),
        json!({ "company_id": "acme", "REGION": "us" }),
        json!({ "company_id": "acme", "region[]": "us" }),
        json!({ "company_id": "acme", "Company_Id": "beta" }),
        json!({ "company_id": "acme", "plan": "pro", "PLAN": "free" }),
    ] {
        for path in ["/literal", "/literal?company_id=acme", "/literal?company_id=beta"] {
            assert_refused(&call(&gw, path, &with(fixed.clone())).await, 403, "tenant_mismatch");
        }
        gw.origin.assert_untouched();
    }
    // The caller's own words never count, whatever their spelling.
    for query in [
        "company_id=evil",
        "Company_Id=evil",
        "COMPANY_ID[]=evil",
        "company%5fid=evil&company_id=evil",
        "plan=evil",
        "Plan[0]=evil",
    ] {
        assert_asks(
            &gw,
            &format!("/top?{query}"),
            &with(json!({ "company_id": "acme", "plan": "pro" })),
            "/v0/pipes/top.json?company_id=acme&plan=pro",
        )
        .await;
    }
    // Nor does what the route says where nobody says anything.
    assert_asks(&gw, "/free", &with(json!({ "company_id": "acme" })), "/v0/pipes/top.json?company_id=acme").await;
    // Where a contradiction is to be refused, one with the token's parameters is refused, too.
    let token = with(json!({ "company_id": "acme" }));
    assert_refused(&call(&gw, "/refuse?company_id=beta", &token).await, 400, "bad_parameter");
    assert_refused(&call(&gw, "/refuse?Company_Id=beta", &token).await, 400, "bad_parameter");
    assert_asks(&gw, "/refuse?company_id=acme", &token, "/v0/pipes/top.json?company_id=acme").await;
}

#[tokio::test]
async fn rule_8_the_fixed_parameters_of_a_token_win_in_every_place() {
    let (gw, _) = gateway();
    let token = dashboard("top", "acme");
    for (content_type, body) in [
        ("application/x-www-form-urlencoded", "company_id=evil&limit=5"),
        ("application/x-www-form-urlencoded", "limit=5&COMPANY_ID%5B%5D=evil&company_id=evil"),
        ("application/json", r#"{"company_id":"evil","limit":5,"company_id":"evil2"}"#),
        ("application/json", r#"{"limit":5,"Company\u005fId":["evil"]}"#),
    ] {
        for path in ["/top", "/free", "/fixed"] {
            gw.origin.forget_requests();
            let request =
                Request::post(format!("{path}?company_id=evil")).bearer(&token).typed_body(content_type, body);
            assert_eq!(request.send(gw.addr()).await.status, 200, "{path} {body}");
            let seen = gw.origin.only_request();
            assert!(!seen.contains("evil") && seen.contains("5"), "{seen:?}");
            let text = format!("{}{}", seen.target, seen.body_text()).to_lowercase();
            assert_eq!(text.matches("company_id").count(), 1, "{seen:?}");
            assert_eq!(seen.query_values("company_id"), ["acme"], "{seen:?}");
        }
    }
}

#[tokio::test]
async fn rule_8_requests_a_second_of_a_token_are_kept() {
    let (gw, time) = gateway();
    let limited = |company: &str, name: &str, rps: f64| {
        let mut claims = tinybird_claims("top", &json!({ "company_id": company }));
        claims["limits"] = json!({ "rps": rps });
        claims["name"] = name.into();
        tinybird(&claims)
    };
    let token = limited("acme", "page", 2.0);
    for _ in 0..2 {
        assert_eq!(call(&gw, "/top", &token).await.status, 200);
    }
    let response = call(&gw, "/top", &token).await;
    assert_refused(&response, 429, "rate_limited");
    assert_eq!(response.header("retry-after").as_deref(), Some("1"));
    // Another token of the same name and tenant is the same caller; another tenant or name is not.
    assert_refused(&call(&gw, "/top?a=1", &limited("acme", "page", 2.0).clone()).await, 429, "rate_limited");
    assert_refused(&call(&gw, "/free", &token).await, 429, "rate_limited");
    assert_eq!(call(&gw, "/top", &limited("beta", "page", 2.0)).await.status, 200);
    assert_eq!(call(&gw, "/top", &limited("acme", "other", 2.0)).await.status, 200);
    assert_eq!(call(&gw, "/top", &dashboard("top", "acme")).await.status, 200, "no limit of its own");
    for _ in 0..20 {
        assert_eq!(call(&gw, "/top", &limited("acme", "free", 0.0)).await.status, 200, "zero is no limit");
        assert_eq!(call(&gw, "/top", &limited("acme", "free", -1.0)).await.status, 200, "less is none either");
    }
    time.advance(Duration::from_millis(499));
    assert_refused(&call(&gw, "/top", &token).await, 429, "rate_limited");
    time.advance(Duration::from_millis(1));
    assert_eq!(call(&gw, "/top", &token).await.status, 200, "half a second for each of two");
    assert_refused(&call(&gw, "/top", &token).await, 429, "rate_limited");

    let slow = limited("acme", "slow", 0.1);
    assert_eq!(call(&gw, "/top", &slow).await.status, 200);
    let response = call(&gw, "/top", &slow).await;
    assert_refused(&response, 429, "rate_limited");
    assert_eq!(response.header("retry-after").as_deref(), Some("10"));
    time.advance(Duration::from_millis(9_999));
    let response = call(&gw, "/top", &slow).await;
    assert_eq!((response.status, response.header("retry-after").as_deref()), (429, Some("1")));
    time.advance(Duration::from_millis(1));
    assert_eq!(call(&gw, "/top", &slow).await.status, 200, "who waits as long as was said is let in");
    // What is refused for another reason costs nothing.
    let once = limited("acme", "once", 1.0);
    assert_eq!(call(&gw, "/top?q=1", &once).await.status, 400);
    assert_eq!(call(&gw, "/elsewhere", &once).await.status, 404);
    assert_eq!(call(&gw, "/top", &once).await.status, 200);
    for wrong in [json!("2"), json!([]), json!(true)] {
        let token = tinybird(&tinybird_with("top", &json!({ "limits": { "rps": wrong } })));
        assert_refused(&call(&gw, "/top", &token).await, 403, "credential_invalid");
    }
}

#[tokio::test]
async fn a_hosts_tenant_only_narrows() {
    let (gw, _) = gateway_with(&format!(
        r#"{PROVIDERS}  anybody: {{ type: jwt, issuer: "https://any.example/", audience: any, secret: a-shared-secret-of-more-than-32-bytes-0123456789 }}
default_auth: [dashboards, employees, partners, anybody]
routes:
  /top: {{ pipe: top }}
  /fixed: {{ pipe: top, params: {{ fixed: {{ company_id: "{{host.1}}" }} }} }}
  /public: {{ pipe: open, auth: public }}
  /chosen: {{ pipe: open, auth: public, params: {{ allow_public_tenant: true, fixed: {{ company_id: "{{tenant}}" }} }} }}
hosts:
  acme.test: {{ tenant: acme, auth: [employees, partners, anybody] }}
  "*.customers.test": {{ tenant: "{{host.1}}" }}
  open.test: {{ auth: public, routes: {{ /top: {{ pipe: top }}, /own: {{ pipe: top, auth: partners }} }} }}
"#
    ));
    let (acme, beta) = (jwt(&claims()), jwt(&claims_with(&json!({ "org_id": "beta" }))));
    let anybody = jwt(&claims_with(&json!({ "iss": "https://any.example/" })));
    for path in ["/top", "/top?company_id=acme", "/fixed"] {
        assert_refused(&at(&gw, "acme.test", path, &beta).await, 403, "tenant_mismatch");
        assert_refused(&at(&gw, "acme.customers.test", path, &beta).await, 403, "tenant_mismatch");
        assert_refused(&at(&gw, "acme.test", path, &api_key("Beta00000001", "beta")).await, 403, "tenant_mismatch");
        assert_refused(&at(&gw, "acme.test", path, &anybody).await, 403, "tenant_missing");
        assert_refused(&at(&gw, "acme.customers.test", path, &anybody).await, 403, "tenant_missing");
        assert_refused(&at(&gw, "acme.test", path, &api_key("Nobody000001", "nobody")).await, 403, "tenant_missing");
    }
    assert_refused(&at(&gw, "a_b.customers.test", "/top", &acme).await, 403, "tenant_mismatch");
    // The host's list of providers counts, not the one of those that say nothing.
    assert_refused(&at(&gw, "acme.test", "/top", &dashboard("top", "acme")).await, 401, "credential_invalid");
    assert_refused(&at(&gw, "acme.customers.test", "/top", &dashboard("top", "beta")).await, 403, "tenant_mismatch");
    // Everybody could choose a tenant by calling its host.
    for host in ["acme.test", "acme.customers.test"] {
        for request in [Request::get("/public"), Request::get("/public").bearer(&acme)] {
            assert_refused(&request.host(host).send(gw.addr()).await, 403, "tenant_missing");
        }
    }
    gw.origin.assert_untouched();
    assert_eq!(at(&gw, "acme.test", "/top", &acme).await.status, 200);
    assert_eq!(at(&gw, "acme.customers.test", "/top", &dashboard("top", "acme")).await.status, 200);
    gw.origin.forget_requests();
    assert_eq!(Request::get("/chosen?company_id=evil").host("acme.test").send(gw.addr()).await.status, 200);
    assert_eq!(gw.origin.only_request().target, "/v0/pipes/open.json?company_id=acme");
    // A host says who may call what says nothing; a route says it first.
    assert_eq!(Request::get("/top").host("open.test").send(gw.addr()).await.status, 200);
    assert_refused(&Request::get("/own").host("open.test").send(gw.addr()).await, 401, "credential_missing");
    assert_refused(&Request::get("/top").host("acme.customers.test").send(gw.addr()).await, 401, "credential_missing");
    assert_refused(&at(&gw, "elsewhere.test", "/top", &acme).await, 404, "route_not_found");
}

#[tokio::test]
async fn a_tenant_that_is_switched_off_is_refused_whoever_asks() {
    let open = r#"hosts: { a.test: {}, acme.test: { tenant: acme, routes: { /open: { pipe: open, auth: public, params: { allow_public_tenant: true } } } } }
"#;
    let (gw, _) = gateway_with(&format!("{PROVIDERS}{ROUTES}{open}"));
    let credentials = |tenant: &str| {
        [
            dashboard("top", tenant),
            jwt(&claims_with(&json!({ "org_id": tenant }))),
            api_key(if tenant == "acme" { "Acme00000001" } else { "Beta00000001" }, tenant),
        ]
    };
    for token in credentials("acme").iter().chain(&credentials("beta")) {
        assert_eq!(at(&gw, "a.test", "/top", token).await.status, 200);
    }
    assert_eq!(Request::get("/open").host("acme.test").send(gw.addr()).await.status, 200);
    gw.rewrite(&format!("{PROVIDERS}{ROUTES}{open}tenants: {{ acme: {{ enabled: false }} }}\n"));
    assert_eq!(gw.reload().await.status, 200);
    gw.origin.forget_requests();
    for token in credentials("acme") {
        assert_refused(&at(&gw, "a.test", "/top", &token).await, 403, "forbidden");
    }
    assert_refused(&Request::get("/open").host("acme.test").send(gw.addr()).await, 403, "forbidden");
    gw.origin.assert_untouched();
    for token in credentials("beta") {
        assert_eq!(at(&gw, "a.test", "/top", &token).await.status, 200);
    }
    gw.rewrite(&format!("{PROVIDERS}{ROUTES}{open}tenants: {{ acme: {{ enabled: true }} }}\n"));
    assert_eq!(gw.reload().await.status, 200);
    for token in credentials("acme") {
        assert_eq!(at(&gw, "a.test", "/top", &token).await.status, 200);
    }
}
