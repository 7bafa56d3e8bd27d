//! Tokens and the keys behind them: rotation, floods, dead providers, revocation, and what was verified before.

use std::time::Duration;

use serde_json::json;

use tollgate::clock::TestClock;

use crate::support::client::{RawClient, Request, Response};
use crate::support::credentials::{
    ADMIN, NOW, SECRET, WORKSPACE, api_key, claims, claims_with, dashboard, hs256, jwt, record, tinybird, tinybird_with,
};
use crate::support::eventually::{eventually, eventually_async};
use crate::support::gateway::{TestGateway, assert_refused};
use crate::support::identity_provider::{IdentityProvider, Lie};

const DAY: u64 = 24 * 3600;

fn sections(provider: &IdentityProvider) -> String {
    format!(
        r#"auth: {{ employees: {{ type: jwt, issuer: "{}", jwks: "{}", audience: analytics, tenant: "{{claims.org_id}}" }} }}
routes: {{ /top: {{ pipe: top, auth: employees, params: {{ fixed: {{ company_id: "{{tenant}}" }} }} }} }}
"#,
        provider.issuer(),
        provider.jwks_url()
    )
}

/// A token that lives for years.
fn token(provider: &IdentityProvider, kid: &str, org: &str) -> String {
    provider.sign(&claims_with(&json!({ "iss": provider.issuer(), "org_id": org, "exp": NOW + 1000 * DAY })), kid)
}

async fn call(gw: &TestGateway, token: &str) -> Response {
    Request::get("/top").bearer(token).send(gw.addr()).await
}

async fn started(provider: &IdentityProvider) -> (TestGateway, TestClock) {
    let time = TestClock::new();
    let gw = TestGateway::with_clock(&sections(provider), &time);
    let first = token(provider, "es-1", "acme");
    eventually_async("the first keys", async || call(&gw, &first).await.status == 200).await;
    gw.origin.forget_requests();
    (gw, time)
}

#[tokio::test]
async fn a_new_key_is_accepted_with_the_first_request_that_uses_it() {
    let provider = IdentityProvider::start();
    let (gw, time) = started(&provider).await;
    time.advance(Duration::from_secs(31));
    provider.rotate(["es-2"]);
    let before = provider.fetches();
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let (addr, token) = (gw.addr(), token(&provider, "es-2", "acme"));
            tokio::spawn(async move { Request::get("/top").bearer(&token).send(addr).await.status })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(provider.fetches(), before + 1, "they all waited for one");
    // What was signed with the key that is gone is refused from then on, though it was verified before.
    assert_refused(&call(&gw, &token(&provider, "es-1", "acme")).await, 401, "credential_invalid");
}

#[tokio::test]
async fn d5_a_flood_of_unknown_ids_causes_one_fetch_in_half_a_minute() {
    let provider = IdentityProvider::start();
    let (gw, time) = started(&provider).await;
    let good = token(&provider, "es-1", "acme");
    let before = provider.fetches();
    let mut sent = 0;
    for round in 0..4_u64 {
        let floods: Vec<_> = (0..4)
            .map(|part| {
                let (addr, provider_issuer) = (gw.addr(), provider.issuer());
                tokio::spawn(async move {
                    let mut client = RawClient::connect(addr).await;
                    let mut open = 0;
                    for index in 0..625 {
                        let kid = format!("k-{round}-{part}-{index}");
                        let claims = claims_with(&json!({ "iss": provider_issuer }));
                        let header = json!({ "alg": "ES256", "kid": kid }).to_string();
                        let token = hs256(&header, &claims.to_string(), "x");
                        let response = Request::get("/top").bearer(&token).send_on(&mut client).await;
                        open += usize::from(![401, 429].contains(&response.status));
                    }
                    open
                })
            })
            .collect();
        for flood in floods {
            assert_eq!(flood.await.unwrap(), 0);
            sent += 625;
        }
        assert_eq!(call(&gw, &good).await.status, 200, "others go on");
        assert!(provider.fetches() <= before + usize::try_from(round).unwrap(), "{round}: {}", provider.fetches());
        time.advance(Duration::from_secs(30));
    }
    assert_eq!(sent, 10_000);
    gw.assert_alive().await;
}

#[tokio::test]
async fn a_provider_that_is_dead_at_the_start_is_not_the_callers_fault() {
    let provider = IdentityProvider::start();
    provider.die();
    let time = TestClock::new();
    let gw = TestGateway::with_clock(&sections(&provider), &time);
    eventually("the first try", || provider.fetches() == 1).await;
    let good = token(&provider, "es-1", "acme");
    let response = call(&gw, &good).await;
    assert_refused(&response, 503, "keys_unavailable");
    assert!(response.header("retry-after").is_some_and(|wait| wait.parse::<u64>().unwrap() >= 1), "{response:?}");
    for _ in 0..150 {
        assert_eq!(call(&gw, &good).await.status, 503, "nor is it a guess");
    }
    gw.origin.assert_untouched();
    provider.recover();
    eventually_async("keys", async || {
        time.advance(Duration::from_secs(1));
        call(&gw, &good).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn keys_outlive_their_provider_for_a_day_and_no_longer() {
    let provider = IdentityProvider::start();
    let (gw, time) = started(&provider).await;
    let (seen, fresh) = (token(&provider, "es-1", "acme"), token(&provider, "es-1", "beta"));
    assert_eq!(call(&gw, &seen).await.status, 200);
    provider.lie(Lie::Status(500));
    for _ in 0..23 {
        time.advance(Duration::from_secs(3600));
        assert_eq!(call(&gw, &seen).await.status, 200);
    }
    assert_eq!(call(&gw, &fresh).await.status, 200);
    time.advance(Duration::from_secs(2 * 3600));
    for token in [&fresh, &seen, &token(&provider, "es-1", "gamma")] {
        assert_refused(&call(&gw, token).await, 503, "keys_unavailable");
    }
    provider.recover();
    eventually_async("keys again", async || {
        time.advance(Duration::from_secs(30));
        call(&gw, &fresh).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn s1_keys_behind_a_redirect_open_nothing() {
    let provider = IdentityProvider::start();
    provider.lie(Lie::Redirect(provider.elsewhere()));
    let time = TestClock::new();
    let gw = TestGateway::with_clock(&sections(&provider), &time);
    eventually("the first try", || provider.fetches() == 1).await;
    for _ in 0..5 {
        assert_refused(&call(&gw, &token(&provider, "es-1", "acme")).await, 503, "keys_unavailable");
        time.advance(Duration::from_secs(61));
    }
    assert!(provider.paths().iter().all(|path| path == "/jwks"), "{:?}", provider.paths());
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn a_verified_token_ends_with_its_life() {
    let provider = IdentityProvider::start();
    let (gw, time) = started(&provider).await;
    let short = provider.sign(&claims_with(&json!({ "iss": provider.issuer(), "exp": NOW + 100 })), "es-1");
    time.advance(Duration::from_millis(129_999));
    assert_eq!(call(&gw, &short).await.status, 200, "leeway is 30 s");
    assert_eq!(call(&gw, &short).await.status, 200);
    time.advance(Duration::from_millis(1));
    assert_refused(&call(&gw, &short).await, 401, "credential_expired");
    assert_refused(&call(&gw, &short).await, 401, "credential_expired");
}

/// Providers with written secrets and lists of revoked tokens.
fn written(secret: &str, admin: &str) -> String {
    format!(
        r#"auth:
  dashboards: {{ type: tinybird_jwt, secret: "{admin}", workspace_id: {WORKSPACE}, tenant: "{{fixed_params.company_id}}", revoked: ./revoked.yaml }}
  employees: {{ type: jwt, issuer: "https://id.acme.com/", audience: analytics, secret: {secret}, tenant: "{{claims.org_id}}", revoked: ./revoked.yaml }}
  partners: {{ type: api_key, keys: ./keys.yaml, tenant: "{{key.tenant}}" }}
routes:
  /top: {{ pipe: top, auth: [dashboards, employees, partners], params: {{ fixed: {{ company_id: "{{tenant}}" }} }} }}
"#
    )
}

fn with_files() -> TestGateway {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let key = api_key("Aaaaaaaaaaa1", "acme's key");
    std::fs::write(folder.path().join("keys.yaml"), record(&key, ", tenant: acme")).expect("a file");
    std::fs::write(folder.path().join("revoked.yaml"), "[]\n").expect("a file");
    TestGateway::from_folder(folder, &written(SECRET, ADMIN), TestClock::new().clock())
}

async fn reloaded(gw: &TestGateway) {
    let reply = gw.reload().await;
    assert_eq!((reply.status, reply.json()["result"].as_str()), (200, Some("applied")), "{}", reply.body_text());
}

#[tokio::test]
async fn other_keys_count_from_the_next_request_on() {
    let gw = with_files();
    let (token, dashboard, key) = (jwt(&claims()), dashboard("top", "acme"), api_key("Aaaaaaaaaaa1", "acme's key"));
    for _ in 0..2 {
        for credential in [&token, &dashboard, &key] {
            assert_eq!(call(&gw, credential).await.status, 200);
        }
    }
    let (secret, admin) = (format!("{SECRET}2"), format!("{ADMIN}2"));
    gw.rewrite(&written(&secret, ADMIN));
    reloaded(&gw).await;
    assert_refused(&call(&gw, &token).await, 401, "credential_invalid");
    assert_eq!(call(&gw, &hs256(r#"{"alg":"HS256"}"#, &claims().to_string(), &secret)).await.status, 200);
    assert_eq!(call(&gw, &dashboard).await.status, 200, "another provider's");
    gw.rewrite(&written(&secret, &admin));
    reloaded(&gw).await;
    assert_refused(&call(&gw, &dashboard).await, 403, "credential_invalid");
    std::fs::write(gw.folder().join("keys.yaml"), record(&key, ", tenant: acme, enabled: false")).unwrap();
    reloaded(&gw).await;
    assert_refused(&call(&gw, &key).await, 401, "credential_invalid");
    std::fs::write(gw.folder().join("keys.yaml"), record(&key, ", tenant: beta")).unwrap();
    gw.rewrite(&written(SECRET, ADMIN));
    reloaded(&gw).await;
    gw.origin.forget_requests();
    for (credential, company) in [(&token, "acme"), (&dashboard, "acme"), (&key, "beta")] {
        assert_eq!(call(&gw, credential).await.status, 200);
        assert_eq!(gw.origin.only_request().query_values("company_id"), [company]);
        gw.origin.forget_requests();
    }
}

#[tokio::test]
async fn other_rules_of_a_provider_count_for_tokens_that_were_verified() {
    let gw = with_files();
    let token = jwt(&claims_with(&json!({ "aud": ["analytics", "second"], "group": "beta" })));
    assert_eq!(call(&gw, &token).await.status, 200);
    let base = written(SECRET, ADMIN);
    for (change, status, code) in [
        (base.replace("audience: analytics", "audience: other"), 401, "credential_invalid"),
        (base.replace("audience: analytics", "audience: second"), 200, ""),
        (base.replace("https://id.acme.com/", "https://id.acme.com/2"), 401, "credential_invalid"),
        (base.replace("{claims.org_id}\"", "{claims.org_id}\", tenants: [gamma]"), 403, "tenant_mismatch"),
        (base.replace("{claims.org_id}\"", "{claims.nobody}\""), 403, "tenant_missing"),
        (base.replace("{claims.org_id}\"", "{claims.org_id}\", algorithms: [HS384]"), 401, "credential_invalid"),
        (
            base.replace("auth: [dashboards, employees, partners]", "auth: [dashboards, partners]")
                + "  /e: { pipe: e, auth: employees }\n",
            401,
            "credential_invalid",
        ),
        (base.clone(), 200, ""),
    ] {
        gw.rewrite(&change);
        reloaded(&gw).await;
        let response = call(&gw, &token).await;
        assert_eq!(response.status, status, "{change}\n{}", response.body_text());
        if status != 200 {
            assert_refused(&response, status, code);
        }
    }
    gw.rewrite(&base.replace("{claims.org_id}", "{claims.group}"));
    reloaded(&gw).await;
    gw.origin.forget_requests();
    assert_eq!(call(&gw, &token).await.status, 200);
    assert_eq!(gw.origin.only_request().query_values("company_id"), ["beta"]);
}

#[tokio::test]
async fn what_is_revoked_is_refused_from_the_next_request_on() {
    let gw = with_files();
    let revoke = async |list: &str| {
        std::fs::write(gw.folder().join("revoked.yaml"), list).unwrap();
        reloaded(&gw).await;
    };
    let with = |changes: serde_json::Value| jwt(&claims_with(&changes));
    let one = with(json!({ "jti": "one", "iat": NOW - 10 }));
    let two = with(json!({ "jti": "two", "iat": NOW - 10 }));
    let late = with(json!({ "jti": "three", "iat": NOW + 10 }));
    let undated = with(json!({ "jti": "four" }));
    let bob = with(json!({ "sub": "bob", "iat": NOW - 10 }));
    let page = tinybird(&tinybird_with("top", &json!({ "name": "ada", "jti": "one" })));
    let all = [&one, &two, &late, &undated, &bob, &page];
    let statuses = async || {
        let mut statuses = Vec::new();
        for token in all {
            statuses.push(call(&gw, token).await.status);
        }
        statuses
    };
    assert_eq!(statuses().await, [200, 200, 200, 200, 200, 200]);
    revoke("- { jti: one, issuer: 'https://id.acme.com/' }\n").await;
    assert_eq!(statuses().await, [401, 200, 200, 200, 200, 200]);
    assert_refused(&call(&gw, &one).await, 401, "credential_invalid");
    revoke("- { jti: one }\n- { jti: On }\n").await;
    assert_eq!(statuses().await, [401, 200, 200, 200, 200, 403]);
    // 1790000000.
    revoke("- { sub: ada, before: 2026-09-21T14:13:20Z, issuer: 'https://id.acme.com/' }\n").await;
    assert_eq!(statuses().await, [401, 401, 200, 401, 200, 200]);
    revoke("- { sub: ada, issuer: 'https://elsewhere.example/' }\n- { sub: Ada }\n").await;
    assert_eq!(statuses().await, [200, 200, 200, 200, 200, 200]);
    revoke("- { sub: ada }\n").await;
    assert_eq!(statuses().await, [401, 401, 401, 401, 200, 403]);
    revoke("[]\n").await;
    assert_eq!(statuses().await, [200, 200, 200, 200, 200, 200]);
}

#[tokio::test]
async fn a_number_is_revoked_by_its_digits() {
    let gw = with_files();
    let with = |more: &str| {
        let body = claims_with(&json!({ "sub": null })).to_string();
        hs256(r#"{"alg":"HS256"}"#, &body.replacen('{', &format!("{{{more},"), 1), SECRET)
    };
    let own = |more: &str| {
        let body = tinybird_with("top", &json!({})).to_string();
        hs256(r#"{"alg":"HS256"}"#, &body.replacen('{', &format!("{{{more},"), 1), ADMIN)
    };
    let all = [
        with(r#""sub":42"#),
        with(r#""jti":42"#),
        with(r#""sub":"42""#),
        with(r#""sub":42.0"#),
        with(r#""sub":-7"#),
        with(r#""jti":123456789012345678901234567890"#),
        own(r#""sub":42"#),
    ];
    for (list, expected) in [
        ("[]\n", [200; 7]),
        ("- { sub: 42 }\n", [401, 200, 401, 401, 200, 200, 403]),
        ("- { sub: '42', issuer: 'https://id.acme.com/' }\n", [401, 200, 401, 401, 200, 200, 200]),
        ("- { jti: 42 }\n", [200, 401, 200, 200, 200, 200, 200]),
        ("- { sub: -7 }\n- { sub: 4 }\n", [200, 200, 200, 200, 401, 200, 200]),
        ("- { jti: '123456789012345678901234567890' }\n", [200, 200, 200, 200, 200, 401, 200]),
    ] {
        std::fs::write(gw.folder().join("revoked.yaml"), list).unwrap();
        if list != "[]\n" {
            reloaded(&gw).await;
        }
        for (token, status) in all.iter().zip(expected) {
            assert_eq!(call(&gw, token).await.status, status, "{list} {token}");
        }
    }
}

#[tokio::test]
async fn a_reload_of_something_else_keeps_keys_and_tokens() {
    let provider = IdentityProvider::start();
    let time = TestClock::new();
    let gw = TestGateway::from_file(&sections(&provider), time.clock());
    let good = token(&provider, "es-1", "acme");
    eventually_async("the first keys", async || call(&gw, &good).await.status == 200).await;
    let before = provider.fetches();
    provider.die();
    gw.rewrite(&sections(&provider).replace("/top:", "/other: { pipe: other, auth: employees }, /top:"));
    reloaded(&gw).await;
    assert_eq!(call(&gw, &good).await.status, 200);
    assert_eq!(call(&gw, &token(&provider, "es-1", "beta")).await.status, 200);
    assert_eq!(provider.fetches(), before);
    // Another provider of the same keys begins with them, too.
    gw.rewrite(&sections(&provider).replace("audience: analytics", "audience: other"));
    reloaded(&gw).await;
    assert_refused(&call(&gw, &good).await, 401, "credential_invalid");
}
