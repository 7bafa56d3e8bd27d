//! `admin`: health, readiness and metrics, for the operator only.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;

use crate::support::client::{self, Request};
use crate::support::gateway::{TOKEN, TestGateway, assert_refused};

const ROUTES: &str = "routes: { /a: { pipe: a } }\n";

#[tokio::test]
async fn health_and_metrics_answer() {
    let gw = TestGateway::with(ROUTES);
    for path in ["/livez", "/readyz", "/metrics"] {
        let response = client::get(gw.admin(), path).await;
        assert_eq!(response.status, 200, "{path}");
        response.assert_strictly_valid();
        let head = Request::head(path).send(gw.admin()).await;
        assert_eq!(head.status, 200, "{path}");
    }
    assert_eq!(client::get(gw.admin(), "/readyz").await.json()["status"], "ready");
    let metrics = client::get(gw.admin(), "/metrics").await;
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"), "{metrics:#?}");
    assert!(metrics.header("access-control-allow-origin").is_none());
}

#[tokio::test]
async fn a1_callers_do_not_reach_it() {
    let gw = TestGateway::with(ROUTES);
    for path in ["/livez", "/readyz", "/metrics", "/metrics/usage"] {
        assert_refused(&client::get(gw.addr(), path).await, 404, "route_not_found");
    }
    assert_eq!(client::get(gw.admin(), "/a").await.status, 404);
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn a1_another_sites_name_is_refused() {
    let gw = TestGateway::with(ROUTES);
    for host in ["evil.example.com", "evil.example.com:9901", "127.0.0.1.evil.com", "localhost.evil.com"] {
        for path in ["/metrics", "/readyz", "/livez"] {
            let response = Request::get(path).host(host).send(gw.admin()).await;
            assert_eq!(response.status, 403, "{host}");
            assert!(!response.contains("tollgate_"), "{host}");
        }
    }
    for host in ["localhost", "127.0.0.1:9901", "[::1]:9901"] {
        assert_eq!(Request::get("/livez").host(host).send(gw.admin()).await.status, 200, "{host}");
    }
}

#[tokio::test]
async fn it_can_only_be_read() {
    let gw = TestGateway::with(ROUTES);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let response = Request::new(method, "/metrics").header("Origin", "https://evil.com").send(gw.admin()).await;
        assert_eq!(response.status, 405, "{method}");
        assert!(response.header("access-control-allow-origin").is_none());
    }
}

#[tokio::test]
async fn a1_metrics_need_the_token_from_elsewhere() {
    let token = "an-admin-token-of-some-length";
    let gw = TestGateway::with(&format!("admin: {{ address: '0.0.0.0:0', token: {token} }}\n{ROUTES}"));
    // Reads on loopback need none.
    let local = SocketAddr::from(([127, 0, 0, 1], gw.admin().port()));
    assert_eq!(client::get(local, "/metrics").await.status, 200);
    let Some(ip) = own_address() else { return };
    let outside = SocketAddr::new(ip, gw.admin().port());
    let call = || Request::get("/metrics");
    let wrong = [
        call(),
        call().bearer("wrong"),
        call().bearer(""),
        call().bearer(token.trim_start_matches('a')),
        call().bearer(&format!("{token}x")),
        call().header("Authorization", token),
        call().header("Authorization", format!("Basic {token}")),
        Request::get(format!("/metrics?token={token}")),
    ];
    for call in wrong {
        let response = call.send(outside).await;
        assert_eq!(response.status, 401, "{call:?}");
        assert!(!response.contains("tollgate_requests") && !response.contains(token), "{call:?}");
    }
    assert_eq!(call().bearer(token).send(outside).await.status, 200);
    assert_eq!(Request::get("/livez").send(outside).await.status, 200);
}

#[test]
fn a1_an_address_that_others_reach_needs_a_token() {
    let text = format!("upstreams: {{ t: {{ url: 'http://127.0.0.1:1', token: '{TOKEN}' }} }}\n{ROUTES}");
    for (admin, accepted) in
        [("0.0.0.0:9901", false), ("'[::]:9901'", false), ("192.0.2.1:9901", false), ("127.0.0.1:9901", true)]
    {
        let text = format!("{text}admin: {{ address: {admin} }}\n");
        let loaded = load_text("test.yaml", &text, std::env::temp_dir(), &Environment::of([]));
        assert_eq!(loaded.is_ok(), accepted, "{admin}");
    }
}

#[tokio::test]
async fn l3_no_answer_holds_a_secret() {
    let gw = TestGateway::with(ROUTES);
    gw.get("/a?token=callers-own").await;
    for path in ["/livez", "/readyz", "/metrics", "/", "/config"] {
        let response = client::get(gw.admin(), path).await;
        assert!(!response.contains(TOKEN) && !response.contains("callers-own"), "{path}");
    }
}

#[tokio::test]
async fn it_is_not_ready_while_no_upstream_has_an_address() {
    let gw = TestGateway::with(&format!(
        "upstreams: {{ t: {{ url: 'http://no-such-host.invalid', token: '{TOKEN}' }} }}\n{ROUTES}"
    ));
    let response = client::get(gw.admin(), "/readyz").await;
    assert_eq!(response.status, 503);
    assert_eq!(response.json()["unresolved_upstreams"], serde_json::json!(["t"]));
    gw.assert_alive().await;
}

/// An address of this machine that is not loopback; nothing is sent to find it. None where there is no network.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}
