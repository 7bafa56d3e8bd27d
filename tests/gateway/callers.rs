//! Callers with credentials: what a refused one is told, what pages learn, and what of a credential is seen by nobody.

use serde_json::json;

use tollgate::clock::TestClock;

use crate::support::client::{Request, Response};
use crate::support::credentials::{
    ADMIN, ISSUER, NOW, PROVIDERS, SECRET, WORKSPACE, api_key, claims, claims_with, dashboard, jwt, record, tinybird,
    tinybird_claims, tinybird_with,
};
use crate::support::gateway::{TOKEN, TestGateway, assert_refused};
use crate::support::h2_client::H2Client;
use crate::support::origin::{Answer, Received};
use crate::support::process::Process;

const APP: &str = "https://app.acme.com";

const ROUTES: &str = r#"routes:
  /top: { pipe: top, auth: [dashboards, employees, partners], params: { fixed: { company_id: "{tenant}" } }, pass_headers: [X-Trace] }
  /j: { pipe: top, auth: employees }
  /p/*: { proxy: "/{path.rest}", auth: [employees], methods: [GET, POST] }
  /open: { pipe: open, auth: public }
"#;

fn key() -> String {
    api_key("Aaaaaaaaaaa1", "acme's key")
}

fn gateway_with(more: &str) -> TestGateway {
    let folder = tempfile::tempdir().expect("a folder for the test");
    std::fs::write(folder.path().join("keys.yaml"), record(&key(), ", tenant: acme")).expect("a file");
    TestGateway::from_folder(folder, &format!("{PROVIDERS}{ROUTES}{more}"), TestClock::new().clock())
}

fn gateway() -> TestGateway {
    gateway_with("")
}

fn assert_names_nobody(response: &Response) {
    for word in [
        "dashboards",
        "employees",
        "partners",
        "keys.yaml",
        "company_id",
        "workspace",
        WORKSPACE,
        ISSUER,
        ADMIN,
        SECRET,
        "id.acme.com",
        "127.0.0.1",
        "HS256",
        "signature",
        "kid",
        "jwks",
    ] {
        assert!(!response.contains(word), "{word} in {response:?}");
    }
}

#[tokio::test]
async fn every_refusal_says_enough_for_clients_and_nothing_for_others() {
    let gw = gateway();
    let limited = {
        let mut claims = tinybird_claims("top", &json!({ "company_id": "acme" }));
        claims["limits"] = json!({ "rps": 1 });
        tinybird(&claims)
    };
    assert_eq!(Request::get("/top").bearer(&limited).send(gw.addr()).await.status, 200);
    let get = |token: &str| Request::get("/top").bearer(token);
    for (request, status, code, challenge) in [
        (Request::get("/top"), 401, "credential_missing", true),
        (Request::head("/top"), 401, "credential_missing", true),
        (Request::post("/top").json("{}"), 401, "credential_missing", true),
        (Request::post("/p/x").typed_body("text/plain", "x"), 401, "credential_missing", true),
        (get("nonsense"), 401, "credential_invalid", true),
        (get(&tinybird(&claims())), 401, "credential_invalid", true),
        (get(&jwt(&claims_with(&json!({ "exp": 1 })))), 401, "credential_expired", true),
        (get(&jwt(&tinybird_with("top", &json!({})))), 403, "credential_invalid", false),
        (get(&tinybird(&tinybird_with("top", &json!({ "exp": 1 })))), 403, "credential_expired", false),
        (get(&dashboard("other", "acme")), 403, "forbidden", false),
        (get(&dashboard("top", "")), 403, "tenant_missing", false),
        (get(&limited), 429, "rate_limited", false),
    ] {
        let response = request.header("Origin", APP).send(gw.addr()).await;
        assert_eq!(response.status, status, "{code}: {}", response.body_text());
        assert_eq!(response.header("www-authenticate").is_some(), challenge, "{code}");
        assert!(response.header("www-authenticate").is_none_or(|challenge| challenge.starts_with("Bearer")), "{code}");
        assert_eq!(response.header("retry-after").is_some(), status == 429, "{code}");
        assert_eq!(response.header("cache-control").as_deref(), Some("no-store"), "{code}");
        assert_names_nobody(&response);
        if !response.body.is_empty() {
            assert_refused(&response, status, code);
        }
        response.assert_strictly_valid();
    }
    let bare = gw.get("/j").await;
    assert_refused(&bare, 401, "credential_missing");
    assert_eq!(bare.header("www-authenticate").as_deref(), Some("Bearer"));
    assert_eq!(gw.get("/open").await.header("www-authenticate"), None);
}

#[tokio::test]
async fn pages_can_read_refusals_and_preflights_need_no_credential() {
    let gw = gateway_with("cors: { origins: ['https://app.acme.com'], credentials: true }\n");
    let preflight = Request::preflight("/top", APP, "GET").header("Access-Control-Request-Headers", "authorization");
    let response = preflight.send(gw.addr()).await;
    assert_eq!(response.status, 204, "{response:?}");
    assert_eq!(response.header("access-control-allow-origin").as_deref(), Some(APP));
    let limited = {
        let mut claims = tinybird_claims("top", &json!({ "company_id": "acme" }));
        claims["limits"] = json!({ "rps": 1 });
        tinybird(&claims)
    };
    assert_eq!(Request::get("/top").bearer(&limited).send(gw.addr()).await.status, 200);
    for (token, status) in [
        (None, 401),
        (Some("nonsense".to_owned()), 401),
        (Some(dashboard("other", "acme")), 403),
        (Some(limited), 429),
        (Some(dashboard("top", "acme")), 200),
    ] {
        for (origin, told) in [(APP, true), ("https://evil.example", false), ("null", false)] {
            let request = Request::get("/top").header("Origin", origin);
            let request = token.iter().fold(request, |request, token| request.bearer(token));
            let response = request.send(gw.addr()).await;
            assert_eq!(response.status, status, "{origin}");
            assert_eq!(
                response.header("access-control-allow-origin").as_deref(),
                told.then_some(APP),
                "{status} {origin}"
            );
            assert_eq!(response.header("access-control-allow-credentials").as_deref(), told.then_some("true"));
            let vary = response.headers_all("vary").concat();
            assert!(String::from_utf8_lossy(&vary).to_lowercase().contains("origin"), "{status} {origin}");
            if told {
                let exposed = response.header("access-control-expose-headers").unwrap().to_lowercase();
                assert!(exposed.contains("x-request-id") && exposed.contains("retry-after"), "{exposed}");
            }
        }
    }
    // Any page, and then without credentials of the browser.
    let gw = gateway_with("cors: { origins: ['*'] }\n");
    for request in [Request::get("/top"), Request::get("/top").bearer(&key()), Request::get("/top").bearer("x")] {
        let response = request.header("Origin", APP).header("Cookie", "a=b").send(gw.addr()).await;
        assert_eq!(response.header("access-control-allow-origin").as_deref(), Some("*"));
        assert_eq!(response.header("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn h2_callers_do_not_say_who_they_are() {
    let gw = gateway();
    let names = [
        "X-Tenant-Id",
        "X-Tenant",
        "X-User",
        "X-User-Id",
        "X-Consumer-Id",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-User",
        "X-Forwarded-Prefix",
        "X-Real-IP",
        "Forwarded",
        "X-Original-URL",
        "X-Authenticated-Scope",
        "X-Tollgate-Tenant",
        "X-Remote-User",
        "X-ClickHouse-User",
        "X-API-Key",
        "Proxy-Authorization",
        "Cookie",
        "From",
    ];
    for (path, token) in
        [("/top", key()), ("/top", dashboard("top", "acme")), ("/p/x", jwt(&claims())), ("/open", key())]
    {
        let mut request = Request::get(path).bearer(&token).header("X-Trace", "passes");
        for name in names {
            request = request.header(name, "evil");
        }
        let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        for name in &lower {
            // As CGI and some frameworks read them: the same name.
            request = request.header(name.replace('-', "_"), "evil");
        }
        request = request.header("Connection", "authorization, x-forwarded-for, host");
        let response = request.send(gw.addr()).await;
        let seen = gw.origin.received();
        if response.status != 200 {
            assert_refused(&response, 400, "bad_request");
            gw.origin.assert_untouched();
            // Names with `_` may be refused as a whole; without them it must pass.
            let mut request = Request::get(path).bearer(&token).header("X-Trace", "passes");
            for name in names {
                request = request.header(name, "evil");
            }
            assert_eq!(request.send(gw.addr()).await.status, 200, "{path}");
        }
        let seen = seen.into_iter().next().unwrap_or_else(|| gw.origin.only_request());
        assert_has_only_ours(&seen, path == "/top");
        assert!(!seen.contains(&token), "{seen:?}");
        gw.origin.forget_requests();
    }
}

fn assert_has_only_ours(seen: &Received, traced: bool) {
    assert!(!seen.contains("evil"), "{seen:?}");
    assert!(!seen.header_names().iter().any(|name| name.contains('_')), "{seen:?}");
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}")), "{seen:?}");
    assert_eq!(seen.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(seen.header("x-forwarded-host").as_deref(), Some("localhost"));
    assert_eq!(seen.header("x-trace").as_deref(), traced.then_some("passes"));
    for name in ["cookie", "x-tenant-id", "x-user", "x-api-key", "forwarded", "x-real-ip", "proxy-authorization"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    seen.assert_strictly_valid();
}

#[tokio::test]
async fn h2_the_same_holds_over_http2() {
    let gw = gateway();
    let token = jwt(&claims());
    let response = H2Client::connect(gw.addr()).await.get(&format!("/j?token={token}&limit=5")).await;
    assert_eq!(response.status, 200);
    let seen = gw.origin.only_request();
    assert_eq!(seen.target, "/v0/pipes/top.json?limit=5");
    assert!(!seen.contains(&token) && seen.header("authorization") == Some(format!("Bearer {TOKEN}")), "{seen:?}");
}

#[tokio::test]
async fn l5_a_token_in_the_query_is_used_and_then_gone() {
    let gw = gateway();
    gw.origin.always(Answer::json(200, "{\"data\":[]}").header("Cache-Control", "public, max-age=60, s-maxage=60"));
    for token in [dashboard("top", "acme"), jwt(&claims()), key()] {
        let encoded: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for query in [
            format!("token={token}"),
            format!("limit=5&token={token}"),
            format!("token={token}&limit=5"),
            format!("%74oken={token}"),
            format!("to%6Ben={encoded}"),
            format!("token={token}&Token=x&TOKEN=y&token[]=z"),
        ] {
            gw.origin.forget_requests();
            let response = gw.get(&format!("/top?{query}")).await;
            assert_eq!(response.status, 200, "{query}: {}", response.body_text());
            let cache = response.header("cache-control").unwrap();
            let directives: Vec<&str> = cache.split(',').map(str::trim).collect();
            assert!(
                directives.contains(&"private") && !cache.contains("public") && !cache.contains("s-maxage"),
                "{cache}"
            );
            assert_eq!(response.header("referrer-policy").as_deref(), Some("no-referrer"));
            let seen = gw.origin.only_request();
            assert!(!seen.target.to_lowercase().contains("token") && !seen.contains(&token), "{seen:?}");
            assert_eq!(seen.query_values("company_id"), ["acme"]);
        }
    }
    // The upstream's errors are no less private.
    for answer in
        [Answer::json(403, r#"{"error":"no"}"#), Answer::status(404), Answer::with_body(400, "text/plain", "x")]
    {
        gw.origin.always(answer);
        let response = gw.get(&format!("/top?token={}", key())).await;
        assert!(response.status >= 400);
        assert!(
            response
                .header("cache-control")
                .is_some_and(|cache| cache.contains("private") || cache.contains("no-store")),
            "{response:?}"
        );
        assert_eq!(response.header("referrer-policy").as_deref(), Some("no-referrer"), "{response:?}");
    }
    gw.origin.always(Answer::ok());
    gw.origin.forget_requests();
    assert_eq!(gw.get(&format!("/p/x?a=1&token={}&b=2", jwt(&claims()))).await.status, 200);
    assert_eq!(gw.origin.only_request().target, "/x?a=1&b=2");
    // Where nobody is asked for one it is dropped all the same.
    gw.origin.forget_requests();
    assert_eq!(gw.get(&format!("/open?token={}&limit=5", key())).await.status, 200);
    assert_eq!(gw.origin.only_request().target, "/v0/pipes/open.json?limit=5");
}

#[tokio::test]
async fn l5_no_log_shows_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.yaml");
    std::fs::write(&file, record(&key(), ", tenant: acme")).unwrap();
    let origin = crate::support::origin::MockOrigin::start();
    let providers = PROVIDERS.replace("./keys.yaml", file.to_str().unwrap());
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\nlog: {{ level: debug, format: json, access: stdout }}\nupstreams: {{ t: {{ url: '{}', token: '{TOKEN}' }} }}\n{providers}{ROUTES}",
        origin.url()
    );
    let process = Process::start(&text).await;
    // Its clock is the system's: far enough in the future for that.
    let later = NOW + 3_000_000_000;
    let good = jwt(&claims_with(&json!({ "exp": later })));
    let forged = jwt(&claims_with(&json!({ "exp": later, "a": 1 })))[..180].to_owned() + "forged-signature";
    let wrong = api_key("Aaaaaaaaaaa1", "a wrong secret");
    let secrets = [
        good.clone(),
        forged.clone(),
        wrong.clone(),
        key(),
        TOKEN.to_owned(),
        ADMIN.to_owned(),
        SECRET.to_owned(),
        "hunter2hunter2".to_owned(),
    ];
    let mut statuses = Vec::new();
    for request in [
        Request::get(format!("/top?token={good}&limit=5")),
        Request::get("/top").bearer(&good),
        Request::get("/top").bearer(&forged),
        Request::get(format!("/top?token={forged}")),
        Request::get(format!("/top?TOKEN={good}")),
        Request::get(format!("/top?%74oken={wrong}")),
        Request::get(format!("/top&token={good}")),
        Request::get(format!("/elsewhere&token={wrong}?token={good}")),
        Request::get("/top").bearer(&wrong),
        Request::get("/top").bearer(&key()),
        Request::get("/top").header("Authorization", "Basic hunter2hunter2"),
        Request::get(format!("/top?token={good}")).bearer(&wrong),
        Request::get(format!("/open?token={good}")),
        Request::get("/open").header("Referer", format!("https://app/?token={good}")).header("User-Agent", &good),
        Request::get(format!("/top?token={good}&q=1")),
        Request::get("/top").bearer("hunter2hunter2"),
    ] {
        statuses.push(request.send(process.addr()).await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5, "{statuses:?}");
    let lines = statuses.len();
    crate::support::eventually::eventually("the access log", || process.stdout().lines().count() >= lines).await;
    let text = process.stdout() + &process.stderr();
    for secret in &secrets {
        // Neither the whole nor what would do for it.
        for part in [&secret[..], &secret[secret.len() - 14..]] {
            assert!(!text.contains(part), "{part} in {text}");
        }
    }
    assert!(text.contains("credential refused"), "{text}");
}
