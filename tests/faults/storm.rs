//! Upstreams that refuse everything: retries must not make it worse.

use std::time::Instant;

use tokio::task::JoinSet;

use crate::load::canary;
use crate::origin::{Step, say};
use crate::sized;
use crate::stand::{Stand, TOKEN, refusal};
use crate::support::client::{RawClient, Request, Response};
use crate::support::eventually::eventually_async;

const CALLERS: usize = 100;

/// The answer with this status, and what stands in it.
fn refused(status: u16, lines: &str) -> Vec<Step> {
    let body = r#"{"error":"not now"}"#;
    let head = format!("HTTP/1.1 {status} No\r\nContent-Type: application/json\r\n{lines}");
    vec![say(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))]
}

async fn stand() -> Stand {
    let scripts = [("429", refused(429, "")), ("503", refused(503, "")), ("tap", refused(429, "Retry-After: 1\r\n"))];
    let scripts = scripts.map(|(name, steps)| (name.to_owned(), steps));
    let retry = "retry: { attempts: 3, on: [429, 503], base: 1ms, max: 5ms }";
    let upstream = format!("url: '{{origin}}', token: '{TOKEN}'");
    let sections = format!(
        "upstreams:
  canary: {{ {upstream} }}
  storm: {{ {upstream}, {retry} }}
routes:
  /canary: {{ pipe: canary, upstream: canary }}
  /storm: {{ pipe: storm, upstream: storm }}"
    );
    Stand::start(&sections, scripts).await
}

/// All callers at once, each so often; what they got.
async fn storm(stand: &Stand, row: &str, calls: usize) -> Vec<Response> {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (addr, request) = (stand.addr, Request::get(format!("/storm?row={row}")));
        callers.spawn(async move {
            let mut client = RawClient::connect(addr).await;
            let mut responses = Vec::new();
            for _ in 0..calls {
                let response = request.send_on(&mut client).await;
                if response.header("connection").is_some_and(|value| value == "close") {
                    client = RawClient::connect(addr).await;
                }
                responses.push(response);
            }
            responses
        });
    }
    let mut responses = Vec::new();
    while let Some(ended) = callers.join_next().await {
        responses.extend(ended.expect("no caller panics"));
    }
    responses
}

async fn budget_holds(status: u16) {
    let stand = stand().await;
    let (began, row) = (Instant::now(), status.to_string());
    let responses = storm(&stand, &row, sized(10, 100)).await;
    for response in &responses {
        refusal(response, status, "upstream_error").unwrap_or_else(|what| panic!("{what}"));
    }
    let (requests, tries) = (responses.len(), stand.origin.played(&row));
    // Ten in ten seconds are free, whatever the share.
    let free = 10 * (began.elapsed().as_secs() / 10 + 1);
    println!("{requests} requests were {tries} tries, {free} of them free");
    assert!(tries >= requests, "{tries} tries of {requests} requests");
    assert!(tries as f64 <= requests as f64 * 1.2 + free as f64, "{tries} tries of {requests} requests");
    canary(&mut RawClient::connect(stand.addr).await, "/storm").await.expect("the storm is over");
    stand.end(&format!("a storm of {status}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_429_gets_a_fifth_more_tries_at_most() {
    budget_holds(429).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_503_gets_a_fifth_more_tries_at_most() {
    budget_holds(503).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_429_that_says_for_how_long_is_waited_out() {
    let stand = stand().await;
    let began = Instant::now();
    let responses = storm(&stand, "tap", sized(2, 10)).await;
    for response in &responses {
        assert_eq!(response.status, 429, "{response:#?}");
        assert!(response.header("retry-after").is_some(), "{response:#?}");
        let code = &response.json()["code"];
        assert!(code == "overloaded" || code == "upstream_error", "{response:#?}");
    }
    let (requests, tries) = (responses.len(), stand.origin.played("tap"));
    println!("{requests} requests were {tries} tries");
    // Whoever was under way when the first answer came, and then again whenever the tap opens.
    let most = CALLERS * (began.elapsed().as_secs() as usize + 1);
    assert!(tries <= most, "{tries} tries within {:?}", began.elapsed());
    let (addr, path) = (stand.addr, "/storm");
    eventually_async(
        "the tap to open",
        || async move { canary(&mut RawClient::connect(addr).await, path).await.is_ok() },
    )
    .await;
    stand.end("a storm of 429 with Retry-After").await;
}
