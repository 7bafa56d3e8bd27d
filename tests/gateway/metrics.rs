//! Metrics: the families that a gateway feeds, and labels that no caller chooses.

use std::collections::BTreeSet;

use crate::support::client::{RawClient, Request};
use crate::support::eventually::eventually_async;
use crate::support::gateway::{TOKEN, TestGateway};
use crate::support::h2_client::H2Client;
use crate::support::origin::{Answer, At, Gate, Then};

const ROUTES: &str = "routes:
  /a: { pipe: a }
  /r/{name}: { pipe: 'r_{path.name}' }
  /p/*: { proxy: '/{path.rest}', methods: [GET, POST] }
";

fn gateway() -> TestGateway {
    TestGateway::with(&format!(
        "upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}', retry: {{ base: 1ms, max: 1ms }} }} }}\n{ROUTES}"
    ))
}

#[tokio::test]
async fn requests_are_counted_by_configured_names() {
    let gw = gateway();
    gw.get("/a?x=1").await;
    gw.get("/r/one").await;
    gw.get("/r/two").await;
    gw.get("/p/deep/down").await;
    gw.get("/nowhere").await;
    gw.get("/a?q=1").await;
    Request::new("DELETE", "/a").send(gw.addr()).await;
    gw.origin.script([Answer::status(500), Answer::status(404), Answer::close()]);
    gw.get("/a").await;
    gw.post("/p/x", "text/plain", b"x").await;
    gw.log(9).await;
    let expected = [
        (r#"tollgate_requests_total{code="200",host="*",route="/a"}"#, 1.0),
        (r#"tollgate_requests_total{code="404",host="*",route="/a"}"#, 1.0),
        (r#"tollgate_requests_total{code="400",host="*",route="/a"}"#, 1.0),
        (r#"tollgate_requests_total{code="405",host="*",route="/a"}"#, 1.0),
        (r#"tollgate_requests_total{code="200",host="*",route="/r/{name}"}"#, 2.0),
        (r#"tollgate_requests_total{code="200",host="*",route="/p/*"}"#, 1.0),
        (r#"tollgate_requests_total{code="502",host="*",route="/p/*"}"#, 1.0),
        (r#"tollgate_refusals_total{reason="control_parameter",route="/a"}"#, 1.0),
        (r#"tollgate_refusals_total{reason="method_not_allowed",route="/a"}"#, 1.0),
        (r#"tollgate_refusals_total{reason="upstream_failed",route="/p/*"}"#, 1.0),
        (r#"tollgate_retries_total{reason="500",upstream="t"}"#, 1.0),
        (r#"tollgate_request_seconds_count{route="/a"}"#, 4.0),
        (r#"tollgate_upstream_seconds_count{upstream="t"}"#, 6.0),
        ("tollgate_config_last_reload_successful", 1.0),
        ("tollgate_tripwire_total", 0.0),
        ("tollgate_in_flight", 0.0),
    ];
    for (series, value) in expected {
        assert_eq!(gw.metric(series).await, value, "{series} in\n{}", gw.metrics().await);
    }
    let text = gw.metrics().await;
    assert!(text.contains(r#"tollgate_refusals_total{reason="route_not_found""#), "{text}");
    for family in
        ["tollgate_build_info", "process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"]
    {
        assert!(text.lines().any(|line| line.starts_with(family)), "{family} in\n{text}");
    }
}

/// The names and labels of all series.
async fn series(gw: &TestGateway) -> BTreeSet<String> {
    let text = gw.metrics().await;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.rsplit_once(' ')).map(|(series, _)| series.to_owned()).collect()
}

#[tokio::test]
async fn d4_ten_thousand_paths_make_no_series() {
    let gw = gateway();
    for target in ["/nowhere", "/r/x", "/p/x"] {
        gw.get(target).await;
    }
    Request::new("BREW", "/nowhere").send(gw.addr()).await;
    gw.log(4).await;
    let before = series(&gw).await;
    let addr = gw.addr();
    let callers = (0..8).map(|caller| {
        tokio::spawn(async move {
            let mut client = RawClient::connect(addr).await;
            for turn in 0..1_250 {
                let name = format!("{caller}-{turn}");
                let call = match turn % 4 {
                    0 if turn % 16 == 0 => Request::get(format!("/r/mark{name}")),
                    1 if turn % 16 == 1 => Request::get(format!("/p/mark{name}?mark{name}=1")),
                    2 => Request::new(&format!("MARK{turn}"), format!("/mark{name}")),
                    _ => Request::get(format!("/mark{name}")).header("X-Request-Id", format!("mark{name}")),
                };
                let response = call.host(format!("mark{name}.example.com")).send_on(&mut client).await;
                assert!(response.status < 500, "{response:#?}");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let after = series(&gw).await;
    let new: Vec<_> = after.difference(&before).collect();
    assert!(new.is_empty(), "{new:#?}");
    assert!(!gw.metrics().await.to_lowercase().contains("mark"));
}

#[tokio::test]
async fn nothing_is_in_flight_when_all_is_over() {
    let gw = gateway();
    let gate = Gate::new();
    gw.origin.script([Answer::ok().gate(&gate), Answer::ok().gate(&gate), Answer::ok().gate(&gate)]);
    let left = RawClient::connect(gw.addr()).await;
    let mut left = left;
    left.send(Request::get("/a").bytes()).await;
    let mut reset = RawClient::connect(gw.addr()).await;
    reset.send(Request::get("/p/x").bytes()).await;
    let addr = gw.addr();
    let stream = tokio::spawn(async move { H2Client::connect(addr).await.get("/a").await });
    gate.until_reached(3).await;
    assert_eq!(gw.metric("tollgate_in_flight").await, 3.0);
    drop(left);
    reset.abort();
    stream.abort();
    gw.origin.until("the hang-ups", |seen| seen.hang_ups() == 3).await;

    let faults = [
        Answer::close(),
        Answer::reset(),
        Answer::ok().cut(At::HalfBody, Then::Reset),
        Answer::ok().cut(At::HalfHead, Then::Close),
        Answer::switching_protocols(),
        Answer::status(404).cut(At::HalfBody, Then::Close),
    ];
    for fault in faults {
        gw.origin.script([fault]);
        // An answer that is cut may also be none.
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(Request::get("/p/x").bytes()).await;
        drop(client.try_read_response().await);
    }
    // A caller who leaves in the middle of a body.
    let mut half = RawClient::connect(gw.addr()).await;
    half.send("POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
        .await;
    drop(half);
    let mut half = RawClient::connect(gw.addr()).await;
    half.send("POST /p/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{").await;
    half.abort();
    gw.log(11).await;
    eventually_async("nothing in flight", || async { gw.metric("tollgate_in_flight").await == 0.0 }).await;
    gw.assert_alive().await;
}
