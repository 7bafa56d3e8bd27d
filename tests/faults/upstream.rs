//! Upstreams that misbehave: every row of the table, over HTTP/1.1 and HTTP/2, with healthy callers on the same connections.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::answers::{BODY, Expected, Row, Way, rows};
use crate::load::{canary, canary_h2};
use crate::stand::{BETRAYING, Stand, TOKEN, assert_none_wrong};
use crate::support::client::{RawClient, Request};
use crate::support::eventually::eventually;
use crate::support::h2_client::H2Client;
use crate::support::unreachable::{RefusedPort, SilentPort};

/// Rows that are tried at once; those that wait for a time-out do not wait one after the other.
const LANES: usize = 8;
/// What the gateway may have taken of an answer that has no end, with the buffers of two sockets.
const TAKEN: u64 = 64 * 1024 * 1024;
/// What the whole table may cost in memory, in KiB: a bomb, 10 MiB of headers and endless ones among it.
const MEMORY: u64 = 150 * 1024;

/// What came back for a row, whatever the protocol.
struct Seen {
    status: Option<u16>,
    content_type: Option<String>,
    request_id: Option<String>,
    nosniff: Option<String>,
    has_cookie: bool,
    body: Vec<u8>,
    is_broken: bool,
    /// All of it, to look for what must not be there.
    all: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_whatever_an_upstream_does_reaches_who_asked_as_documented() {
    let (refusing, silent) = (RefusedPort::reserve(), SilentPort::start());
    let rows = rows();
    let scripts = rows.iter().enumerate().map(|(at, row)| (at.to_string(), row.steps.clone()));
    let stand = Arc::new(Stand::start(&config(&refusing.url(), &silent.url()), scripts).await);
    let before = stand.gateway.memory("VmRSS");
    let mut lanes = JoinSet::new();
    // Where an answer comes later than its request, another request would be in its way.
    let is_aside = |row: &Row| matches!(row.way, Way::Aside);
    let (aside, others): (Vec<_>, Vec<_>) = rows.iter().cloned().enumerate().partition(|(_, row)| is_aside(row));
    lanes.spawn(run(Arc::clone(&stand), aside));
    for lane in 0..LANES {
        let rows = others.iter().skip(lane).step_by(LANES).cloned().collect();
        lanes.spawn(run(Arc::clone(&stand), rows));
    }
    let mut wrong = Vec::new();
    while let Some(ended) = lanes.join_next().await {
        wrong.extend(ended.expect("rows have tasks of their own"));
    }
    assert_none_wrong(&wrong);
    let flooded = stand.origin.flooded();
    assert!(flooded < TAKEN, "{flooded} bytes of one answer were taken");
    let grown = stand.gateway.memory("VmHWM").saturating_sub(before);
    println!("{} rows cost {grown} KiB at most, {flooded} bytes were taken of the longest answer", rows.len());
    assert!(grown < MEMORY, "{grown} KiB");
    Arc::into_inner(stand).expect("the lanes have ended").end("faults of upstreams").await;
}

fn config(refusing: &str, silent: &str) -> String {
    let retry = "retry: { attempts: 2, base: 1ms, max: 1ms }";
    let hasty = "timeouts: { connect: 1500ms, attempt: 1500ms, total: 3s, idle: 1s }";
    format!(
        "upstreams:
  shared: {{ url: '{{origin}}', token: '{TOKEN}', {retry} }}
  aside: {{ url: '{{origin}}', token: '{TOKEN}', {retry} }}
  hasty: {{ url: '{{origin}}', token: '{TOKEN}', {retry}, {hasty} }}
  refusing: {{ url: '{refusing}', {retry} }}
  silent: {{ url: '{silent}', retry: {{ attempts: 1 }}, {hasty} }}
routes:
  /canary: {{ pipe: canary, upstream: shared }}
  /shared: {{ pipe: fault, upstream: shared }}
  /aside: {{ pipe: fault, upstream: aside }}
  /hasty: {{ pipe: fault, upstream: hasty }}
  /refusing: {{ pipe: fault, upstream: refusing }}
  /silent: {{ pipe: fault, upstream: silent }}"
    )
}

/// Tries these rows one after the other; what went wrong.
async fn run(stand: Arc<Stand>, rows: Vec<(usize, Row)>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, row) in rows {
        let name = row.name;
        let tried = tokio::spawn(attempt(Arc::clone(&stand), at, row)).await;
        if let Err(what) = tried.unwrap_or_else(|error| Err(error.to_string())) {
            wrong.push(format!("{name}: {what}"));
        }
    }
    wrong
}

async fn attempt(stand: Arc<Stand>, at: usize, row: Row) -> Result<(), String> {
    let target = format!("{}?row={at}", row.path());
    let http1 = async {
        over_http1(&row, &target, stand.addr).await.map_err(|what| format!("HTTP/1.1: {what}"))?;
        recover(&stand, &row, (at, 1)).await.map_err(|what| format!("after HTTP/1.1: {what}"))
    };
    let http2 = async {
        over_http2(&row, &target, stand.addr).await.map_err(|what| format!("HTTP/2: {what}"))?;
        recover(&stand, &row, (at, 2)).await.map_err(|what| format!("after HTTP/2: {what}"))
    };
    match row.way {
        // Each waits for a time-out, and they may as well do so together.
        Way::Hasty | Way::Silent => tokio::try_join!(http1, http2).map(|_| ()),
        Way::Aside | Way::Refusing | Way::Shared => {
            http1.await?;
            http2.await
        }
    }
}

/// The next requests to the same upstream, on the connections that it has left.
async fn recover(stand: &Stand, row: &Row, (at, times): (usize, usize)) -> Result<(), String> {
    match row.way {
        Way::Refusing | Way::Silent => return Ok(()),
        // What comes later has come.
        Way::Aside => eventually("the rest of the answer", || stand.origin.played(at) == times).await,
        Way::Hasty | Way::Shared => {}
    }
    for _ in 0..3 {
        canary(&mut RawClient::connect(stand.addr).await, row.path()).await?;
    }
    Ok(())
}

async fn over_http1(row: &Row, target: &str, addr: SocketAddr) -> Result<(), String> {
    let mut client = RawClient::connect(addr).await;
    client.send(Request::get(target).bytes()).await;
    let response = match client.try_read_response().await {
        Ok(response) => response,
        Err(missing) => return Err(format!("no answer: {missing:?}")),
    };
    if !response.violations.is_empty() && !response.truncated {
        return Err(format!("no valid answer: {response:#?}"));
    }
    let seen = Seen {
        status: Some(response.status),
        content_type: response.header("content-type"),
        request_id: response.header("x-request-id"),
        nosniff: response.header("x-content-type-options"),
        has_cookie: !response.headers_all("set-cookie").is_empty(),
        body: response.body.clone(),
        is_broken: response.truncated,
        all: String::from_utf8_lossy(&response.raw).into_owned(),
    };
    judge(row, &seen)?;
    let closes = response.truncated || response.header("connection").is_some_and(|value| value.contains("close"));
    if closes {
        client.wait_closed().await;
        return Ok(());
    }
    // What is kept must be good for the next request.
    canary(&mut client, "/canary").await
}

async fn over_http2(row: &Row, target: &str, addr: SocketAddr) -> Result<(), String> {
    let client = H2Client::connect(addr).await;
    let seen = match client.try_request(H2Client::build("GET", target), None).await {
        Ok(response) => Seen {
            status: Some(response.status),
            content_type: response.header("content-type"),
            request_id: response.header("x-request-id"),
            nosniff: response.header("x-content-type-options"),
            has_cookie: response.header("set-cookie").is_some(),
            body: response.body.clone(),
            is_broken: response.broken_off.is_some(),
            all: format!("{response:?} {}", response.body_text()),
        },
        // A head that waits to be sent is dropped with the stream.
        Err(error) if error.is_reset() && matches!(row.expected, Expected::Cut) => {
            return canary_h2(&client, "/canary").await;
        }
        Err(error) => return Err(format!("no answer: {error}")),
    };
    judge(row, &seen)?;
    // A stream that is broken off is no reason to end the connection.
    canary_h2(&client, "/canary").await
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_broken { "broken off" } else { "whole" };
        write!(f, "{end}: {}", self.all.chars().take(800).collect::<String>())
    }
}

fn judge(row: &Row, seen: &Seen) -> Result<(), String> {
    for word in BETRAYING.iter().chain(&["evil", "Evil"]) {
        if seen.all.contains(word) {
            return Err(format!("{word} in {seen:?}"));
        }
    }
    if seen.has_cookie || seen.nosniff.as_deref() != Some("nosniff") {
        return Err(format!("a cookie, or no `nosniff`: {seen:?}"));
    }
    let is_whole = seen.status == Some(200) && !seen.is_broken && seen.body == BODY.as_bytes();
    let is_begun = seen.body.starts_with(BODY.as_bytes()) || BODY.as_bytes().starts_with(&seen.body);
    let is_right = match row.expected {
        Expected::Cut => seen.is_broken && is_begun || is_refused(seen, 502, "upstream_failed"),
        Expected::Either => is_whole || is_refused(seen, 502, "upstream_failed"),
        Expected::Refused(status, code) => is_refused(seen, status, code),
        Expected::Replaced(status) => is_refused(seen, status, "upstream_error"),
        Expected::Whole => is_whole,
    };
    if is_right { Ok(()) } else { Err(format!("{:?} was expected: {seen:?}", row.expected)) }
}

/// Whether it is a sentence of the gateway's own, in the form that is promised.
fn is_refused(seen: &Seen, status: u16, code: &str) -> bool {
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&seen.body) else { return false };
    let has_sentence = body["error"].as_str().is_some_and(|sentence| !sentence.is_empty());
    let is_named = body["request_id"].as_str().is_some() && body["request_id"].as_str() == seen.request_id.as_deref();
    let is_json = seen.content_type.as_deref() == Some("application/json");
    seen.status == Some(status) && !seen.is_broken && body["code"] == code && has_sentence && is_named && is_json
}
