//! The vendor's JWTs at the demo upstream: what they open, what they fix, and what is remembered of them.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::clock::TestClock;
use tollgate::demo::{ADMIN_TOKEN, Credential, Demo, DemoOptions, PIPES, WORKSPACE_ID, sign};

use super::{Answer, FORM, JSON, TEXT, TOKEN, exchange};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_token_shows_its_tenants_rows_only_wherever_another_is_asked_for() {
    let (demo, _) = start().await;
    let path = "/v0/pipes/events_list.json";
    let bare = token(&[scope("events_list", &json!({}))]);
    let all = tenants(&get(&demo, &format!("{path}?limit=20000"), &bare));
    assert_eq!(all, ["acme", "beta", "gamma"], "a pipe that nobody filters shows everybody's rows");

    let acme = token(&[scope("events_list", &json!({ "tenant_id": "acme", "limit": 20_000, "with_payload": false }))]);
    for target in [
        path.to_owned(),
        format!("{path}?tenant_id=beta"),
        format!("{path}?tenant_id=&tenant_id=beta&tenant%5Fid=gamma"),
        format!("/v0/pipes/{}.json?tenant_id=beta", id("events_list")),
    ] {
        let answer = get(&demo, &target, &acme);
        assert_eq!(tenants(&answer), ["acme"], "{target}");
        assert!(answer.document()["data"].as_array().unwrap().iter().all(|row| row["payload"] == ""), "{target}");
    }
    for (media, body) in [
        (FORM, "tenant_id=beta&tenant_id="),
        (JSON, r#"{"tenant_id":"beta"}"#),
        (JSON, r#"{"tenant_id":["beta","gamma"],"limit":1}"#),
        (TEXT, "SELECT DISTINCT tenant_id FROM _"),
    ] {
        assert_eq!(tenants(&post(&demo, path, &acme, (media, body))), ["acme"], "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn each_scope_fixes_its_own_pipe_and_may_name_it_by_id() {
    let (demo, _) = start().await;
    let both = token(&[
        scope(&id("events_list"), &json!({ "tenant_id": "beta" })),
        scope("top-10-products", &json!({ "company_id": "gamma" })),
    ]);
    assert_eq!(tenants(&get(&demo, "/v0/pipes/events_list.json", &both)), ["beta"]);
    let products = get(&demo, "/v0/pipes/top-10-products.json?company_id=acme", &both).document();
    let products = products["data"].as_array().unwrap().clone();
    assert!(!products.is_empty());
    assert!(products.iter().all(|row| row["product_id"].as_str().unwrap().starts_with("gamma-")));
    // The empty value is no filter: the danger that a gateway keeps away.
    let empty = token(&[scope("events_list", &json!({ "tenant_id": "" }))]);
    assert_eq!(tenants(&get(&demo, "/v0/pipes/events_list.json?limit=20000", &empty)).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_token_opens_nothing_else() {
    let (demo, _) = start().await;
    let kpis = token(&[scope("kpis", &json!({ "tenant_id": "acme" }))]);
    assert_eq!(get(&demo, "/v0/pipes/kpis.csv", &kpis).status, 200);
    assert_eq!(get(&demo, "/v0/pipes/kpis.parquet", &kpis).status, 400);
    for path in [
        "/v0/pipes/top_pages.json",
        "/v0/pipes/unknown.json",
        "/v0/pipes/kpis",
        "/v0/pipes",
        "/v0/pipes/openapi.json",
        "/v0/sql?q=SELECT%201",
        "/v0/tokens",
        "/v0/datasources",
    ] {
        let refused = get(&demo, path, &kpis);
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.document()["error"].is_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_token_travels_in_the_header_or_the_query_and_lasts_until_exp() {
    let (demo, clock) = start().await;
    let token = token(&[scope("kpis", &json!({}))]);
    assert_eq!(get(&demo, "/v0/pipes/kpis.json", &token).status, 200);
    assert_eq!(bare(&demo, &format!("/v0/pipes/kpis.json?token={token}")).status, 200);
    // Half a second before and half a second after `exp`, which has a fraction.
    clock.advance(Duration::from_secs(600));
    assert_eq!(get(&demo, "/v0/pipes/kpis.json", &token).status, 200);
    clock.advance(Duration::from_secs(1));
    for refused in
        [get(&demo, "/v0/pipes/kpis.json", &token), bare(&demo, &format!("/v0/pipes/kpis.json?token={token}"))]
    {
        assert_eq!(refused.status, 403);
        assert_eq!(refused.document()["error"], "Invalid token: it has expired");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn calls_are_counted_by_name() {
    let (demo, clock) = start().await;
    let named = |name: &str, resource: &str| {
        let mut payload = payload(&[scope(resource, &json!({}))]);
        payload["name"] = name.into();
        payload["limits"] = json!({ "rps": 2 });
        sign(&payload)
    };
    let statuses = |token: &str, path: &str| [(); 3].map(|()| get(&demo, path, token).status);
    assert_eq!(statuses(&named("ann", "kpis"), "/v0/pipes/kpis.json"), [200, 200, 429]);
    let another = get(&demo, "/v0/pipes/trend.json", &named("ann", "trend"));
    assert_eq!((another.status, another.header("retry-after").as_str()), (429, "1"), "the name is the same");
    assert!(another.document()["error"].is_string());
    assert_eq!(statuses(&named("bob", "kpis"), "/v0/pipes/kpis.json"), [200, 200, 429]);
    clock.advance(Duration::from_secs(1));
    assert_eq!(statuses(&named("ann", "kpis"), "/v0/pipes/kpis.json"), [200, 200, 429]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_admin_token_has_tokens_signed_and_nobody_else() {
    let (demo, _) = start().await;
    let order = json!({ "name": "ann", "scopes": [scope("events_list", &json!({ "tenant_id": "beta" }))] }).to_string();
    let path = "/v0/tokens/?expiration_time=1790000600";
    let issued = post(&demo, path, ADMIN_TOKEN, (JSON, &order));
    assert_eq!(issued.status, 200, "{}", issued.body);
    let document = issued.document();
    assert_eq!(tenants(&get(&demo, "/v0/pipes/events_list.json", document["token"].as_str().unwrap())), ["beta"]);
    let jwt = token(&[scope("kpis", &json!({}))]);
    for token in [TOKEN, &jwt] {
        assert_eq!(post(&demo, path, token, (JSON, &order)).status, 403);
    }
    assert_eq!(get(&demo, path, ADMIN_TOKEN).status, 405);
    assert_eq!(post(&demo, "/v0/tokens/", ADMIN_TOKEN, (JSON, &order)).status, 400);
    assert_eq!(get(&demo, "/v0/pipes", ADMIN_TOKEN).status, 200, "it opens everything");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_came_is_remembered_without_the_tokens() {
    let (demo, _) = start().await;
    let token = token(&[scope("kpis", &json!({ "tenant_id": "acme" }))]);
    post(&demo, "/v0/pipes/kpis.json?from=x", &token, (FORM, "tenant_id=beta"));
    bare(&demo, &format!("/v0/pipes/kpis.json?a=1&token={token}&b=2"));
    bare(&demo, &format!("/v0/pipes/kpis.json?tok%65n={token}"));
    get(&demo, "/v0/pipes/kpis.json", TOKEN);
    get(&demo, "/v0/pipes/kpis.json", ADMIN_TOKEN);
    get(&demo, "/v0/pipes/kpis.json", "p.wrong");
    get(&demo, "/v0/pipes/kpis.json", "a.b.c");
    bare(&demo, "/v0/regions");
    let visits = demo.visits();
    let queries: Vec<_> = visits.iter().map(|visit| visit.query.as_str()).collect();
    assert_eq!(queries, ["from=x", "a=1&token=***&b=2", "token=***", "", "", "", "", ""]);
    let Credential::Jwt(claims) = &visits[0].credential else { panic!("{:?}", visits[0]) };
    assert_eq!(claims.name, "tests");
    assert_eq!(claims.payload["scopes"][0]["fixed_params"], json!({ "tenant_id": "acme" }));
    assert_eq!((visits[0].path.as_str(), visits[0].method.as_str()), ("/v0/pipes/kpis.json", "POST"));
    assert_eq!(visits[0].body, "tenant_id=beta");
    assert_eq!(visits[1].credential, visits[0].credential);
    let others: Vec<_> = visits[3..].iter().map(|visit| visit.credential.clone()).collect();
    let refused = Credential::Refused("Invalid token");
    assert_eq!(others, [Credential::Static, Credential::Admin, refused.clone(), refused, Credential::Absent]);
    let shown = format!("{visits:?}");
    let signature = token.rsplit_once('.').unwrap().1;
    assert!(!shown.contains(signature) && !shown.contains(TOKEN) && !shown.contains("p.wrong"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_oldest_visits_are_forgotten() {
    let (demo, _) = start().await;
    for number in 0..260 {
        bare(&demo, &format!("/v0/regions?{number}"));
    }
    let visits = demo.visits();
    assert_eq!((visits.len(), visits[0].query.as_str(), visits[255].query.as_str()), (256, "4", "259"));
}

async fn start() -> (Demo, TestClock) {
    let clock = TestClock::new();
    let address = "127.0.0.1:0".parse().unwrap();
    let options = DemoOptions { address, token: TOKEN.to_owned(), clock: clock.clock() };
    (Demo::start(options).await.unwrap(), clock)
}

fn token(scopes: &[Value]) -> String {
    sign(&payload(scopes))
}

/// Ends ten minutes and a half second after the test clock's beginning.
fn payload(scopes: &[Value]) -> Value {
    json!({ "workspace_id": WORKSPACE_ID, "name": "tests", "exp": 1_790_000_600.5, "scopes": scopes })
}

fn scope(resource: &str, fixed: &Value) -> Value {
    json!({ "type": "PIPES:READ", "resource": resource, "fixed_params": fixed })
}

fn id(name: &str) -> String {
    PIPES.iter().find(|pipe| pipe.name == name).unwrap().id()
}

fn tenants(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let document = answer.document();
    let rows = document["data"].as_array().unwrap().iter();
    let mut found: Vec<_> = rows.map(|row| row["tenant_id"].as_str().unwrap().to_owned()).collect();
    found.sort();
    found.dedup();
    found
}

fn bare(demo: &Demo, target: &str) -> Answer {
    exchange(demo.address(), &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
}

fn get(demo: &Demo, target: &str, token: &str) -> Answer {
    let head = format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
    exchange(demo.address(), &format!("{head}Connection: close\r\n\r\n"))
}

fn post(demo: &Demo, target: &str, token: &str, (media, body): (&str, &str)) -> Answer {
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: {media}\r\n");
    exchange(demo.address(), &format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()))
}
