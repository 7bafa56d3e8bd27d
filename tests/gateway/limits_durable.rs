//! Quotas that outlive the gateway: where they are kept, and what happens where they cannot be.

use std::os::unix::fs::PermissionsExt;

use tollgate::clock::Clock;

use crate::support::gateway::{TOKEN, TestGateway};
use crate::support::process::Process;

const RATE: &str = "limits: { calm: { by: gateway, rate: 1000/s } }\nroutes: { /a: { pipe: a, limits: [calm] } }\n";
const QUOTA: &str =
    "limits: { daily: { by: gateway, quota: 1000/day } }\nroutes: { /a: { pipe: a, limits: [daily] } }\n";

#[tokio::test]
async fn the_file_is_there_where_a_limit_has_a_quota() {
    let gw = TestGateway::from_file(RATE, Clock::system());
    let file = gw.folder().join("data/counters.sqlite");
    assert!(!file.exists(), "rates are not kept");
    gw.rewrite(QUOTA);
    assert_eq!(gw.reload().await.json()["result"], "applied");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_start_that_cannot_keep_quotas_fails_and_says_what_to_do() {
    let mut process = Process::run(&format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
upstreams: {{ t: {{ url: 'http://127.0.0.1:9', token: '{TOKEN}' }} }}
state: {{ dir: test.yaml/data }}
{QUOTA}"
    ));
    assert_eq!(process.ended().await.code(), Some(1));
    let said = process.stderr();
    assert!(said.contains("test.yaml/data/counters.sqlite") && said.contains("`state.dir`"), "{said}");
}

#[tokio::test]
async fn a_reload_that_cannot_keep_quotas_is_refused() {
    let gw = TestGateway::from_file(RATE, Clock::system());
    let file = gw.folder().join("data/counters.sqlite");
    std::fs::create_dir(&file).unwrap();
    gw.rewrite(QUOTA);
    let reply = gw.reload().await;
    assert_eq!((reply.status, &reply.json()["result"]), (503, &"blocked".into()), "{}", reply.body_text());
    let text = reply.json()["text"].as_str().unwrap().to_owned();
    assert!(text.contains("counters.sqlite") && text.contains("`state.dir`"), "{text}");
    assert!(text.contains("nothing was changed, generation 1 goes on"), "{text}");
    assert_eq!(gw.get("/a").await.status, 200);
    std::fs::remove_dir(&file).unwrap();
    let reply = gw.reload().await;
    assert_eq!((reply.status, &reply.json()["result"]), (200, &"applied".into()), "{}", reply.body_text());
}
