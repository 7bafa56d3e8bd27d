//! Callers who take their time, say nothing, or are very many.

use std::process::Command;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::load::canary;
use crate::origin::{Step, say};
use crate::stand::{CANARY, Stand, TOKEN, refusal};
use crate::support::client::{RawClient, Request};
use crate::support::eventually::eventually_async;
use crate::{is_long, sized};

/// `server.keepalive` of these gateways; a head may take twice as long.
const KEEPALIVE: Duration = Duration::from_secs(1);

async fn stand(keepalive: &str) -> Stand {
    let large = [say("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n"), Step::Flood("abcdefgh".into())];
    let sections = format!(
        "server: {{ keepalive: {keepalive}, overload: {{ connections: 20000, connections_per_address: 20000 }} }}
upstreams:
  canary: {{ url: '{{origin}}', token: '{TOKEN}' }}
  t: {{ url: '{{origin}}', token: '{TOKEN}', concurrency: {{ max: 64, queue: 64 }} }}
routes:
  /canary: {{ pipe: canary, upstream: canary }}
  /top: {{ pipe: top, upstream: t }}
  /raw: {{ proxy: /raw, upstream: t, methods: [GET, POST] }}"
    );
    Stand::start(&sections, [("large".to_owned(), large.into())]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_heads_that_do_not_come_end_their_connections() {
    let stand = stand("1s").await;
    let (addr, each) = (stand.addr, sized(100, 1_000));
    let began = Instant::now();
    let mut slow = JoinSet::new();
    for _ in 0..each {
        // Nothing; half a head; less than how HTTP/2 begins; all of that, and then nothing; a head of it
        // without its end.
        for start in ["", "GET /top HTTP/1.1\r\nHost: x\r\nX: ", "PRI * HTTP/2.0", PREFACE, BEGUN] {
            slow.spawn(async move {
                let mut client = RawClient::connect(addr).await;
                client.send(start).await;
                drop(client.read_to_end_raw().await);
            });
        }
        // A byte now and then, from the first one on, and behind a request that was served.
        for is_first in [true, false] {
            slow.spawn(async move {
                let mut client = RawClient::connect(addr).await;
                if !is_first {
                    canary(&mut client, CANARY).await.expect("an answer");
                }
                let head = format!("GET /top HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(200));
                let sent = client.send_slowly(head, Duration::from_millis(100)).await;
                assert!(sent < 200, "{sent} bytes were taken, one after the other");
            });
        }
        // Nothing more, behind a request that was served.
        slow.spawn(async move {
            let mut client = RawClient::connect(addr).await;
            canary(&mut client, CANARY).await.expect("an answer");
            client.wait_closed().await;
        });
    }
    while let Some(ended) = slow.join_next().await {
        ended.expect("every connection is ended by the gateway");
    }
    println!("{} slow connections were ended within {:.1?}", each * 8, began.elapsed());
    assert!(stand.origin.take_requests().is_empty(), "no request came of them");
    stand.until("tollgate_in_flight", 0.0).await;
    assert!(began.elapsed() >= KEEPALIVE, "they had their time");
    stand.end("heads that do not come").await;
}

/// As [`PREFACE`], and a head that is to go on.
const BEGUN: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0\0\0\u{1}\u{1}\u{1}\0\0\0\u{1}\0";

/// How HTTP/2 begins, and settings without any.
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_bodies_that_do_not_come_hold_nobody_up() {
    let stand = stand("60s").await;
    let each = sized(100, 1_000);
    let mut held = Vec::new();
    for _ in 0..each {
        let mut client = RawClient::connect(stand.addr).await;
        client.send(half(Request::post("/top").header("Content-Type", "application/json"))).await;
        held.push(client);
    }
    stand.until("tollgate_in_flight", each as f64).await;
    // A parameter body is read whole before the upstream hears of it, and before it takes a place there.
    assert_eq!(stand.metric(r#"tollgate_upstream_in_flight{upstream="t"}"#).await, 0.0);
    canary(&mut RawClient::connect(stand.addr).await, "/top").await.expect("the upstream has room");
    if is_long() {
        // 30 s for a whole parameter body: longer than the kit's own patience.
        tokio::time::sleep(Duration::from_secs(28)).await;
        for client in &mut held {
            refusal(&client.read_response().await, 408, "request_timeout").unwrap_or_else(|what| panic!("{what}"));
        }
    }
    drop(held);
    stand.until("tollgate_in_flight", 0.0).await;
    assert!(stand.origin.take_requests().is_empty(), "no request came of them");
    stand.end("bodies that do not come").await;
}

/// A head, and half of the body that it announces.
fn half(request: Request) -> Vec<u8> {
    request.header("Content-Length", "1000").raw_body("{\"a\":\"").bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_uploads_that_stop_hold_the_places_of_nobody_once_they_are_given_up() {
    let stand = stand("60s").await;
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut client = RawClient::connect(stand.addr).await;
        client.send(half(Request::post("/raw"))).await;
        held.push(client);
    }
    let places = r#"tollgate_upstream_in_flight{upstream="t"}"#;
    stand.until(places, 64.0).await;
    if is_long() {
        // 30 s between two reads.
        tokio::time::sleep(Duration::from_secs(28)).await;
        for client in &mut held {
            refusal(&client.read_response().await, 408, "request_timeout").unwrap_or_else(|what| panic!("{what}"));
        }
    }
    drop(held);
    stand.until(places, 0.0).await;
    assert!(stand.origin.take_requests().iter().all(|request| !request.is_whole), "half a body is none");
    canary(&mut RawClient::connect(stand.addr).await, "/top").await.expect("the upstream has room");
    stand.end("uploads that stop").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_who_does_not_read_costs_no_more_than_buffers() {
    let stand = stand("60s").await;
    let before = stand.gateway.memory("VmRSS");
    let mut held = Vec::new();
    for _ in 0..32 {
        let mut client = RawClient::connect(stand.addr).await;
        client.send(Request::get("/raw?row=large").bytes()).await;
        // The answer has begun, and nothing more is read.
        client.read_exact(15).await;
        held.push(client);
    }
    stand.until(r#"tollgate_upstream_in_flight{upstream="t"}"#, 32.0).await;
    let grown = stand.gateway.memory("VmHWM").saturating_sub(before);
    println!("32 answers of 50 MB that nobody reads cost {grown} KiB");
    assert!(grown < 128 * 1024, "{grown} KiB");
    if is_long() {
        // 60 s for one write of an answer: longer than the kit's own patience.
        tokio::time::sleep(Duration::from_secs(57)).await;
        stand.until(r#"tollgate_upstream_in_flight{upstream="t"}"#, 0.0).await;
    }
    for client in held {
        client.abort();
    }
    stand.end("callers who do not read").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_thousands_of_idle_connections_leave_room_for_others() {
    let count = sized(2_000, 15_000);
    raise_file_limit(count + 1_000);
    let stand = stand("60s").await;
    let (files, memory) = (stand.metric("process_open_fds").await, stand.gateway.memory("VmRSS"));
    let mut idle = Vec::with_capacity(count);
    let mut opening = JoinSet::new();
    for _ in 0..count {
        if opening.len() >= 50 {
            idle.push(opening.join_next().await.expect("one is there").expect("every connection is served"));
        }
        let addr = stand.addr;
        opening.spawn(async move {
            let mut client = RawClient::connect(addr).await;
            canary(&mut client, CANARY).await.expect("an answer");
            client
        });
    }
    while let Some(opened) = opening.join_next().await {
        idle.push(opened.expect("every connection is served"));
    }
    let open = stand.metric("process_open_fds").await - files;
    assert!(open >= count as f64, "{open} of {count} connections are open");
    let each = stand.gateway.memory("VmRSS").saturating_sub(memory) / count as u64;
    println!("{count} idle connections cost {each} KiB each");
    // Some 20 KiB where it is optimised; with Pingora's own buffer for reading, or while an exchange waits, it is more than 60.
    assert!(each < 50, "{each} KiB for each connection");
    let last = idle.last_mut().expect("there are thousands");
    canary(last, CANARY).await.expect("idle connections serve again");
    stand.assert_serves(CANARY).await.expect("there is room for others");
    drop(idle);
    eventually_async("the gateway to close them, too", || async {
        // Connections to the upstream are kept, and have two each.
        stand.metric("process_open_fds").await < files + 300.0
    })
    .await;
    stand.end(&format!("{count} idle connections")).await;
}

/// Lets this process, and those it starts, open so many files.
fn raise_file_limit(least: usize) {
    let own = std::process::id().to_string();
    let limit = |what: &str| {
        let mut prlimit = Command::new("prlimit");
        let out = prlimit
            .args(["--pid", &own])
            .args(what.split(' '))
            .output()
            .expect("prlimit is there: apt install util-linux");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    let hard = limit("--nofile --raw --noheadings --output HARD");
    limit(&format!("--nofile={hard}:{hard}"));
    let most = hard.parse().unwrap_or(usize::MAX);
    assert!(most >= least, "{least} files must be open at once, and {most} may be: raise `ulimit -Hn`");
}
