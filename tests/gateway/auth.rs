//! Auth: which providers judge on which route, and that the outcome of one is final.

use crate::support::client::{Request, Response};
use crate::support::credentials::{PROVIDERS, api_key, dashboard, record};
use crate::support::gateway::{TestGateway, assert_refused};
use tollgate::clock::TestClock;

/// One route for each level that can say who may call.
const LEVELS: &str = r#"default_auth: partners
hosts:
  localhost: {}
  api.test: { auth: dashboards }
  open.test: { auth: public }
routes:
  /own: { pipe: top, auth: dashboards }
  /inherited: { pipe: top }
  /both: { pipe: top, auth: [partners, dashboards] }
  /open: { pipe: top, auth: public }
"#;

fn key() -> String {
    api_key("Acme00000001", "acme")
}

fn gateway() -> TestGateway {
    let folder = tempfile::tempdir().expect("a folder for the test");
    std::fs::write(folder.path().join("keys.yaml"), record(&key(), ", tenant: acme")).expect("a file");
    TestGateway::from_folder(folder, &format!("{PROVIDERS}{LEVELS}"), TestClock::new().clock())
}

async fn call(gw: &TestGateway, host: &str, path: &str, credential: Option<&str>) -> Response {
    let request = Request::get(path).host(host);
    match credential {
        Some(credential) => request.bearer(credential).send(gw.addr()).await,
        None => request.send(gw.addr()).await,
    }
}

#[tokio::test]
async fn the_innermost_level_says_who_may_call() {
    let gw = gateway();
    let (key, token) = (key(), dashboard("top", "acme"));
    // Host, path, and the status for nobody, for the key, for the token.
    for (host, path, statuses) in [
        ("localhost", "/own", [401, 401, 200]),
        ("localhost", "/inherited", [401, 200, 401]),
        ("localhost", "/both", [401, 200, 200]),
        ("localhost", "/open", [200, 200, 200]),
        ("api.test", "/inherited", [401, 401, 200]),
        ("api.test", "/own", [401, 401, 200]),
        ("api.test", "/open", [200, 200, 200]),
        ("open.test", "/inherited", [200, 200, 200]),
        ("open.test", "/own", [401, 401, 200]),
    ] {
        for (credential, status) in [None, Some(key.as_str()), Some(token.as_str())].into_iter().zip(statuses) {
            let response = call(&gw, host, path, credential).await;
            assert_eq!(response.status, status, "{host}{path} with {credential:?}: {}", response.body_text());
        }
    }
}

#[tokio::test]
async fn what_is_refused_never_reaches_the_upstream() {
    let gw = gateway();
    let key = key();
    assert_refused(&call(&gw, "localhost", "/own", None).await, 401, "credential_missing");
    assert_refused(&call(&gw, "localhost", "/own", Some(&key)).await, 401, "credential_invalid");
    assert_refused(&call(&gw, "localhost", "/nothing-here", Some(&key)).await, 404, "route_not_found");
    assert_eq!(gw.origin.received_count(), 0);
}

#[tokio::test]
async fn a_credential_of_a_caller_never_reaches_the_upstream() {
    let gw = gateway();
    let (key, token) = (key(), dashboard("top", "acme"));
    for (path, credential) in [("/both", &key), ("/both", &token), ("/open", &key)] {
        gw.origin.forget_requests();
        assert_eq!(call(&gw, "localhost", path, Some(credential)).await.status, 200);
        let received = gw.origin.only_request();
        assert!(!format!("{received:?}").contains(credential.as_str()), "{path}");
    }
}
