//! `auth` with API keys: what a wrong one learns, and what it costs to try many.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpSocket;

use tollgate::clock::TestClock;

use crate::support::client::{RawClient, Request, Response};
use crate::support::credentials::{
    NOW, PROVIDERS, api_key, claims, claims_with, dashboard, jwt, prefixed_key, record, tinybird, tinybird_with,
};
use crate::support::gateway::{TestGateway, assert_refused};

const ROUTES: &str = r#"routes:
  /all: { pipe: top, auth: [dashboards, employees, partners], params: { fixed: { company_id: "{tenant}" } } }
  /k: { pipe: top, auth: partners, require: { scopes: [reports.read] }, params: { fixed: { company_id: "{tenant}" } } }
  /plain: { pipe: top, auth: partners, params: { fixed: { company_id: "{tenant}", region: "{key.meta.region}" } } }
  /open: { pipe: open, auth: public }
"#;

fn good() -> String {
    api_key("Good00000001", "good")
}

fn revoked() -> String {
    api_key("Revoked00001", "revoked")
}

fn expired() -> String {
    api_key("Expired00001", "expired")
}

fn gateway() -> (TestGateway, TestClock) {
    let time = TestClock::new();
    let folder = tempfile::tempdir().expect("a folder for the test");
    let lines = [
        record(&good(), ", tenant: acme, scopes: [reports.read, other], meta: { region: eu }"),
        record(&revoked(), ", tenant: acme, enabled: false"),
        record(&expired(), ", tenant: acme, expires: 2020-01-01T00:00:00Z"),
        record(&api_key("Bare00000001", "bare"), ""),
        record(&api_key("Beta00000001", "beta"), ", tenant: beta, scopes: [other]"),
        // 1790000000 is 2026-09-21T14:13:20Z.
        record(&api_key("Soon00000001", "soon"), ", tenant: acme, expires: 2026-09-21T14:14:20Z"),
    ];
    std::fs::write(folder.path().join("keys.yaml"), lines.concat()).expect("a file");
    (TestGateway::from_folder(folder, &format!("{PROVIDERS}{ROUTES}"), time.clock()), time)
}

async fn call(gw: &TestGateway, path: &str, key: &str) -> Response {
    Request::get(path).bearer(key).header("X-Request-Id", "the-same-for-all-of-them").send(gw.addr()).await
}

/// All that arrived, but for the time of day.
fn bytes(response: &Response) -> String {
    let text = String::from_utf8_lossy(&response.raw).into_owned();
    text.lines().filter(|line| !line.to_ascii_lowercase().starts_with("date:")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn k1_every_key_that_is_not_accepted_gets_the_same_answer() {
    let (gw, _) = gateway();
    let wrong_secret = api_key("Good00000001", "another secret");
    let answer = call(&gw, "/k", &api_key("Unknown00001", "unknown")).await;
    assert_refused(&answer, 401, "credential_invalid");
    let checksum = format!("{}000000", &good()[..good().len() - 6]);
    for (what, key) in [
        ("a wrong secret", wrong_secret),
        ("revoked", revoked()),
        ("expired", expired()),
        ("revoked with a wrong secret", api_key("Revoked00001", "x")),
        ("expired with a wrong secret", api_key("Expired00001", "x")),
        ("a wrong checksum", checksum),
        ("no form", "tgk_".to_owned()),
        ("another prefix", prefixed_key("oth", "Good00000001", "good")),
        ("nothing of a key", "hunter2".to_owned()),
        ("a token for somebody else", jwt(&claims())),
    ] {
        assert_eq!(bytes(&call(&gw, "/k", &key).await), bytes(&answer), "{what}");
    }
    gw.origin.assert_untouched();
    assert_eq!(call(&gw, "/k", &good()).await.status, 200);
}

/// The comparison is of hashes of the whole key, so that even a comparison that stops early says nothing about a secret:
/// who changes one character of a key changes half of the bits that are compared. What stays is to see that the code
/// compares them with `subtle` and does the same work for an id that nobody has.
#[test]
fn k1_hashes_are_compared_in_constant_time() {
    let code = include_str!("../../src/pipeline/authn/api_key.rs");
    let verify = code.split("fn verify").nth(1).unwrap().split("\n    }\n").next().unwrap();
    let (hash, lookup) = (verify.find("api_key::hash(").unwrap(), verify.find("records.get(").unwrap());
    assert!(hash < lookup, "the hash is made before it is known whether there is such a key");
    assert!(verify.contains("ct_eq("), "{verify}");
    let before = verify.split("ct_eq(").next().unwrap();
    assert!(!before.contains("enabled") && !before.contains("expires"), "{before}");
    assert!(!verify.contains("== record") && !verify.contains("hash =="), "{verify}");
}

#[tokio::test]
async fn a_key_opens_what_its_record_says() {
    let (gw, time) = gateway();
    assert_eq!(call(&gw, "/k?company_id=beta", &good()).await.status, 200);
    assert_eq!(gw.origin.only_request().target, "/v0/pipes/top.json?company_id=acme");
    gw.origin.forget_requests();
    assert_refused(&call(&gw, "/k", &api_key("Beta00000001", "beta")).await, 403, "forbidden");
    assert_refused(&call(&gw, "/all", &api_key("Bare00000001", "bare")).await, 403, "tenant_missing");
    assert_refused(&call(&gw, "/plain", &api_key("Beta00000001", "beta")).await, 403, "tenant_missing");
    gw.origin.assert_untouched();
    assert_eq!(call(&gw, "/plain", &good()).await.status, 200);
    let seen = gw.origin.only_request();
    assert_eq!(
        (seen.query_values("company_id"), seen.query_values("region")),
        (vec!["acme".into()], vec!["eu".into()])
    );
    gw.origin.forget_requests();
    // It ends with the second that its record names.
    let soon = api_key("Soon00000001", "soon");
    time.advance(Duration::from_millis(59_999));
    assert_eq!(call(&gw, "/all", &soon).await.status, 200);
    time.advance(Duration::from_millis(1));
    assert_refused(&call(&gw, "/all", &soon).await, 401, "credential_invalid");
}

/// From another address of this machine.
async fn from(source: &str, gw: &TestGateway, request: Request) -> Response {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(source.parse().expect("an address"), 0)).expect("an address of this machine");
    let mut client = RawClient::over(socket.connect(gw.addr()).await.expect("the gateway listens"));
    request.send_on(&mut client).await
}

/// A key that nobody has.
fn guess() -> String {
    api_key("Unknown00001", "guess")
}

#[tokio::test]
async fn k2_who_sends_many_wrong_credentials_has_to_wait() {
    let (gw, time) = gateway();
    let mut client = RawClient::connect(gw.addr()).await;
    for index in 0..100 {
        let wrong = match index % 4 {
            0 => api_key("Good00000001", &index.to_string()),
            1 => api_key("Unknown00001", &index.to_string()),
            2 => revoked(),
            _ => expired(),
        };
        let response = Request::get("/all").bearer(&wrong).send_on(&mut client).await;
        assert!([401, 403].contains(&response.status), "{index}: {}", response.status);
    }
    let response = call(&gw, "/all", &api_key("Good00000001", "once more")).await;
    assert_refused(&response, 429, "rate_limited");
    assert_eq!(response.header("retry-after").as_deref(), Some("60"));
    // What was learnt by waiting must not be learnt in another way.
    assert_refused(&call(&gw, "/all", &revoked()).await, 429, "rate_limited");
    assert_refused(&gw.get("/all?token=tgk_guess").await, 429, "rate_limited");
    // What costs nothing is judged as ever: a page behind this address must hear that its token is too old.
    assert_refused(&gw.get("/all?token=guess").await, 401, "credential_invalid");
    let old = tinybird(&tinybird_with("top", &json!({ "exp": NOW - 1 })));
    assert_refused(&call(&gw, "/all", &old).await, 403, "credential_expired");
    assert_refused(&call(&gw, "/all", &jwt(&tinybird_with("top", &json!({})))).await, 403, "credential_invalid");
    assert_refused(&call(&gw, "/all", &tinybird(&claims())).await, 401, "credential_invalid");
    assert_eq!(call(&gw, "/all", &jwt(&claims())).await.status, 200);
    // Whoever has a good one has done nothing.
    assert_eq!(call(&gw, "/all", &good()).await.status, 200);
    assert_eq!(call(&gw, "/all", &dashboard("top", "acme")).await.status, 200);
    assert_eq!(gw.get("/open").await.status, 200);
    assert_refused(&gw.get("/all").await, 401, "credential_missing");
    let elsewhere = from("127.0.0.2", &gw, Request::get("/all").bearer(&guess())).await;
    assert_refused(&elsewhere, 401, "credential_invalid");
    // An address is what the socket says, not what a header says.
    let forged = Request::get("/all").bearer(&guess()).header("X-Forwarded-For", "9.9.9.9").send(gw.addr()).await;
    assert_refused(&forged, 429, "rate_limited");
    time.advance(Duration::from_millis(59_001));
    let response = call(&gw, "/all", &guess()).await;
    assert_refused(&response, 429, "rate_limited");
    assert_eq!(response.header("retry-after").as_deref(), Some("1"));
    time.advance(Duration::from_millis(999));
    assert_refused(&call(&gw, "/all", &guess()).await, 401, "credential_invalid");
}

#[tokio::test]
async fn k2_behind_a_proxy_each_caller_is_counted_alone() {
    let time = TestClock::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.yaml"), record(&good(), ", tenant: acme")).unwrap();
    let text = format!(
        "{PROVIDERS}server: {{ trusted_proxies: [127.0.0.1] }}\nroutes: {{ /all: {{ pipe: top, auth: [dashboards, employees, partners] }} }}\n"
    );
    let gw = TestGateway::from_folder(folder, &text, time.clock());
    let mut client = RawClient::connect(gw.addr()).await;
    let wrong = guess();
    let guess = |from: &str| Request::get("/all").bearer(&wrong).header("X-Forwarded-For", from);
    for index in 0..100 {
        // What stands before the last address was said by the caller.
        let from = format!("192.0.2.{index}, 198.51.100.7");
        assert_eq!(guess(&from).send_on(&mut client).await.status, 401);
    }
    assert_eq!(guess("198.51.100.7").send_on(&mut client).await.status, 429);
    assert_eq!(guess("192.0.2.1, 198.51.100.7").send_on(&mut client).await.status, 429);
    assert_eq!(guess("198.51.100.8").send_on(&mut client).await.status, 401);
    assert_eq!(guess("192.0.2.1").send_on(&mut client).await.status, 401);
    let own = Request::get("/all").bearer(&good()).header("X-Forwarded-For", "198.51.100.7");
    assert_eq!(own.send_on(&mut client).await.status, 200);
}

#[tokio::test]
async fn k2_a_page_that_was_left_open_is_no_guesser() {
    let (gw, _) = gateway();
    let mut client = RawClient::connect(gw.addr()).await;
    let old =
        [tinybird(&tinybird_with("top", &json!({ "exp": NOW - 1 }))), jwt(&claims_with(&json!({ "exp": NOW - 31 })))];
    for index in 0..150 {
        let response = Request::get("/all").bearer(&old[index % 2]).send_on(&mut client).await;
        assert_eq!(response.json()["code"], "credential_expired");
        let response = Request::get("/all").send_on(&mut client).await;
        assert_eq!(response.json()["code"], "credential_missing");
        // A good one for something else is no guess either.
        let response = Request::get("/all").bearer(&dashboard("other", "acme")).send_on(&mut client).await;
        assert_eq!(response.json()["code"], "forbidden");
        for cheap in ["nonsense", &jwt(&tinybird_with("top", &json!({}))), &tinybird(&claims())] {
            let response = Request::get("/all").bearer(cheap).send_on(&mut client).await;
            assert_eq!(response.json()["code"], "credential_invalid");
        }
    }
    assert_refused(&call(&gw, "/all", &guess()).await, 401, "credential_invalid");
    gw.origin.assert_untouched();
}
