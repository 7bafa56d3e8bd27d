//! `server.overload`: how much the gateway takes at once, and what becomes of the rest.

use tollgate::clock::Clock;

use crate::support::client::{RawClient, Request};
use crate::support::eventually::eventually_async;
use crate::support::gateway::{TestGateway, assert_refused};
use crate::support::h2_client::H2Client;
use crate::support::origin::{Answer, Gate};
use crate::support::tls_caller::TlsCaller;
use crate::support::tls_origin::Authority;

const ROUTES: &str = "routes: { /top: { pipe: top } }\n";

fn with(overload: &str) -> TestGateway {
    TestGateway::with(&format!("server: {{ overload: {overload} }}\n{ROUTES}"))
}

async fn connections(gw: &TestGateway, count: usize) {
    let what = format!("{count} connections");
    eventually_async(&what, || async { gw.metric("tollgate_connections").await == count as f64 }).await;
}

async fn refused(gw: &TestGateway, reason: &str, count: usize) {
    let series = format!(r#"tollgate_connections_refused_total{{reason="{reason}"}}"#);
    let what = format!("{series} to be {count}");
    eventually_async(&what, || async { gw.metric(&series).await == count as f64 }).await;
}

/// What a new connection is told.
async fn told(gw: &TestGateway) -> String {
    let mut client = RawClient::connect(gw.addr()).await;
    // As callers do, before anything is said.
    client.send(Request::get("/top").bytes()).await;
    String::from_utf8(client.read_to_end_raw().await).expect("ASCII")
}

#[tokio::test]
async fn who_is_one_too_many_is_told_to_come_again() {
    let gw = with("{ connections: 2, connections_per_address: 2 }");
    let (mut first, mut second) = (RawClient::connect(gw.addr()).await, RawClient::connect(gw.addr()).await);
    for client in [&mut first, &mut second] {
        assert_eq!(Request::get("/top").send_on(client).await.status, 200);
    }
    let answer = told(&gw).await;
    assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer:?}");
    for line in ["Retry-After: 1\r\n", "Connection: close\r\n", "Content-Length: 0\r\n"] {
        assert!(answer.contains(line), "{answer:?}");
    }
    refused(&gw, "connections_per_address", 1).await;
    // Who was there before goes on.
    assert_eq!(Request::get("/top").send_on(&mut first).await.status, 200);
    drop((first, second));
    connections(&gw, 0).await;
    gw.assert_alive().await;
}

#[tokio::test]
async fn where_all_places_are_taken_the_operator_still_comes_in() {
    // A trusted proxy may have any number, so that only the number of all counts.
    let gw = TestGateway::with(&format!(
        "server: {{ trusted_proxies: [127.0.0.1], overload: {{ connections: 2, connections_per_address: 1 }} }}\n{ROUTES}"
    ));
    let mut there = Vec::new();
    for _ in 0..2 {
        let mut client = RawClient::connect(gw.addr()).await;
        assert_eq!(Request::get("/top").send_on(&mut client).await.status, 200);
        there.push(client);
    }
    connections(&gw, 2).await;
    for _ in 0..3 {
        let answer = told(&gw).await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer:?}");
    }
    refused(&gw, "connections", 3).await;
    assert_eq!(Request::get("/readyz").send(gw.admin()).await.status, 200);
    there.pop();
    connections(&gw, 1).await;
    gw.assert_alive().await;
}

#[tokio::test]
async fn a_connection_with_tls_is_counted_before_its_handshake() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().expect("a folder"));
    authority.write_pair(folder.path(), "a", &["a.example.com"]);
    let caller = TlsCaller::trusting(authority.der());
    let sections = format!(
        "listeners: [{{ address: 127.0.0.1:0, tls: true }}]\nhosts: {{ a.example.com: {{ tls: {{ cert: a.pem, key: a.key }} }} }}\n\
         server: {{ overload: {{ connections: 4, connections_per_address: 1 }} }}\n{ROUTES}"
    );
    let gw = TestGateway::from_folder(folder, &sections, Clock::system());
    // It says nothing: a handshake may take a minute.
    let silent = RawClient::connect(gw.addr()).await;
    connections(&gw, 1).await;
    assert!(caller.open(gw.addr(), Some("a.example.com")).await.is_err(), "there was no room");
    refused(&gw, "connections_per_address", 1).await;
    drop(silent);
    connections(&gw, 0).await;
    let tls = caller.tunnel(gw.addr(), Some("a.example.com")).await;
    let mut client = RawClient::connect(tls).await;
    assert_eq!(Request::get("/top").host("a.example.com").send_on(&mut client).await.status, 200);
    connections(&gw, 1).await;
    drop(client);
    connections(&gw, 0).await;
}

#[tokio::test]
async fn one_request_too_many_is_refused_and_the_upstream_does_not_hear_of_it() {
    let gw = with("{ in_flight: 2 }");
    let gate = Gate::new();
    gw.origin.script([Answer::ok().gate(&gate), Answer::ok().gate(&gate)]);
    let addr = gw.addr();
    let calls = [(); 2].map(|()| tokio::spawn(async move { Request::get("/top").send(addr).await }));
    gate.until_reached(2).await;
    let mut client = RawClient::connect(gw.addr()).await;
    for _ in 0..2 {
        let response = Request::get("/top").send_on(&mut client).await;
        assert_refused(&response, 429, "overloaded");
        assert_eq!(response.header("retry-after").as_deref(), Some("1"));
        response.assert_strictly_valid();
    }
    let h2 = H2Client::connect(gw.addr()).await;
    assert_eq!(h2.get("/top").await.status, 429);
    // Nobody can probe the paths either: they cost the same.
    assert_refused(&gw.get("/nothing").await, 429, "overloaded");
    assert_eq!(gw.origin.received_count(), 2);
    assert_eq!(Request::get("/readyz").send(gw.admin()).await.status, 200);
    gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap().status, 200);
    }
    assert_eq!(Request::get("/top").send_on(&mut client).await.status, 200);
    let log = gw.log(7).await;
    let faults: Vec<_> = log.iter().filter_map(|line| line["fault"].as_str()).collect();
    assert_eq!(faults, ["as many requests are on their way as server.overload.in_flight allows"; 4]);
    assert_eq!(log.iter().filter(|line| line["upstream"].is_null()).count(), 4, "no upstream is to blame");
}

#[tokio::test]
async fn while_memory_is_short_requests_are_refused_until_it_is_not() {
    let sections = |overload: &str| format!("server: {{ overload: {{ {overload} }} }}\n{ROUTES}");
    let gw = TestGateway::from_file(&sections(""), Clock::system());
    let mut there = RawClient::connect(gw.addr()).await;
    assert_eq!(Request::get("/top").send_on(&mut there).await.status, 200);
    gw.rewrite(&sections("memory: 1MiB"));
    assert_eq!(gw.reload().await.status, 200);
    eventually_async("connections to be turned away", || async { gw.get("/top").await.status == 503 }).await;
    eventually_async("that to be counted", || async {
        gw.metric(r#"tollgate_connections_refused_total{reason="memory"}"#).await >= 1.0
    })
    .await;
    let response = Request::get("/top").send_on(&mut there).await;
    assert_refused(&response, 429, "overloaded");
    assert_eq!(response.header("connection").as_deref(), Some("close"), "a connection has memory, too");
    assert_eq!(Request::get("/readyz").send(gw.admin()).await.status, 200);
    gw.rewrite(&sections("memory: 1000GiB"));
    assert_eq!(gw.reload().await.status, 200);
    eventually_async("requests to be taken", || async { gw.get("/top").await.status == 200 }).await;
    gw.rewrite(&sections("memory: 1MiB"));
    assert_eq!(gw.reload().await.status, 200);
    eventually_async("connections to be turned away", || async { gw.get("/top").await.status == 503 }).await;
    gw.rewrite(&sections(""));
    assert_eq!(gw.reload().await.status, 200);
    assert_eq!(gw.get("/top").await.status, 200, "that mark is gone");
}
