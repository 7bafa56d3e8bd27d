//! Redis goes away and comes back: nobody waits, nobody gets a fresh burst, nothing counts twice or not at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tollgate::config::section::state::OnCounterFailure;
use tollgate::state::counters::{Back, Bill, Costs, NotSpent};

use crate::support::asks::{quota, rate, remaining, rows};
use crate::support::server::Server;
use crate::support::slow::Way;
use crate::support::store::Gateway;

/// An hour: nothing of a burst comes back while a test runs.
const LONG: u64 = 3_600_000;

/// Three gateways that know of each other.
async fn three(server: &Server) -> [Gateway; 3] {
    let gateways = [Gateway::up(server).await, Gateway::up(server).await, Gateway::up(server).await];
    for gateway in &gateways {
        gateway.eventually("three gateways", |health| health.gateways == 3).await;
    }
    gateways
}

async fn down(gateways: &[Gateway]) {
    for gateway in gateways {
        gateway.is_down().await;
    }
}

async fn up(gateways: &[Gateway]) {
    for gateway in gateways {
        gateway.is_up().await;
    }
}

#[tokio::test]
async fn what_one_gateway_lets_in_the_others_know() {
    let server = Server::start();
    let [first, second, third] = three(&server).await;
    let (turns, month) = (rate("r", "acme", LONG, 4), quota("q", "acme", 4));
    for ask in [turns, month] {
        assert!(first.admits(&ask).await && second.admits(&ask).await && third.admits(&ask).await);
        assert_eq!(remaining(&second.spend(&ask).await), [0]);
        assert!(!first.admits(&ask).await && !third.admits(&ask).await);
    }
}

#[tokio::test]
async fn a_gateway_starts_without_redis_and_tells_it_later() {
    let mut server = Server::absent(&[]);
    let gateway = Gateway::sharing(&server.url(), OnCounterFailure::Local);
    let (turns, month, scan) = (rate("r", "acme", LONG, 3), quota("q", "acme", 100), rows("s", "acme", 1_000, 10));
    assert_eq!(gateway.admitted(&turns, 5).await, 3, "as if it was the only one");
    assert_eq!(gateway.admitted(&month, 40).await, 40);
    let receipt = gateway.spend(&scan).await.spent.expect("let in");
    gateway.counters.settle(receipt, &Bill::Exactly(Costs { rows_read: Some(700), ..Costs::default() }));
    let receipt = gateway.spend(&month).await.spent.expect("let in");
    gateway.counters.refund(receipt, Back::Everything);

    server.run();
    gateway.is_up().await;
    gateway.has_told().await;
    let other = Gateway::up(&server).await;
    assert_eq!(other.counters.look(&month).await.remaining, 60);
    assert_eq!(other.counters.look(&scan).await.remaining, 300);
    assert!(!gateway.admits(&turns).await, "no fresh burst");
    assert!(!other.admits(&turns).await, "and the other learns that");
}

#[tokio::test]
async fn a_redis_that_lost_everything_learns_what_gateways_know() {
    let mut server = Server::start();
    let gateways = three(&server).await;
    let (turns, month) = (rate("r", "acme", LONG, 9), quota("q", "acme", 90));
    // One after the other: each knows, give or take a request, how things stand.
    for _ in 0..20 {
        for gateway in &gateways {
            gateway.spend(&turns).await;
            assert!(gateway.admits(&month).await);
        }
    }
    server.kill();
    down(&gateways).await;
    // What is left of the quota is shared out: 10 or 11 for each.
    let mut admitted = 0;
    for gateway in &gateways {
        assert_eq!(gateway.admitted(&turns, 3).await, 0, "the burst is used up");
        admitted += gateway.admitted(&month, 5).await;
    }
    assert_eq!(admitted, 15);
    server.run();
    up(&gateways).await;
    for gateway in &gateways {
        gateway.has_told().await;
    }
    for gateway in gateways.iter().rev() {
        assert_eq!(gateway.admitted(&turns, 3).await, 0, "no fresh burst");
    }
    // The last one knew of all 60; all told what they let in since.
    let left = gateways[2].counters.look(&month).await.remaining;
    assert_eq!(left, 15, "of 90, 60 before and 15 meanwhile");
}

#[tokio::test]
async fn each_gateway_gives_its_share_while_redis_is_away() {
    let mut server = Server::start();
    let gateways = three(&server).await;
    server.kill();
    down(&gateways).await;
    let (turns, month) = (rate("r", "acme", LONG, 30), quota("q", "acme", 31));
    for gateway in &gateways {
        assert_eq!(gateway.health().gateways, 3);
        assert_eq!(gateway.admitted(&turns, 40).await, 10);
        assert_eq!(gateway.admitted(&month, 40).await, 11, "a third, rounded up");
    }
    let even = rate("even", "acme", 20, 1);
    let end = Instant::now() + Duration::from_millis(300);
    let mut admitted = 0;
    while Instant::now() < end {
        admitted += usize::from(gateways[0].admits(&even).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // One in 60 ms instead of one in 20.
    assert!((3..=6).contains(&admitted), "{admitted}");
}

#[tokio::test]
async fn a_redis_that_is_emptied_while_it_runs_gives_no_fresh_burst() {
    let server = Server::start();
    let gateway = Gateway::up(&server).await;
    let (turns, month) = (rate("r", "acme", LONG, 2), quota("q", "acme", 10));
    assert_eq!(gateway.admitted(&turns, 3).await, 2);
    assert_eq!(gateway.admitted(&month, 7).await, 7);
    server.ask::<()>(&["FLUSHALL"]);
    server.ask::<()>(&["SCRIPT", "FLUSH"]);
    assert!(!gateway.admits(&turns).await);
    assert_eq!(gateway.admitted(&month, 7).await, 3);
    assert_eq!(gateway.health().failures, 0);
}

#[tokio::test]
async fn a_reset_is_not_undone_by_what_other_gateways_remember() {
    let mut server = Server::start();
    let [first, second, _third] = three(&server).await;
    let (turns, month) = (rate("r", "acme", LONG, 2), quota("q", "acme", 10));
    for ask in [&turns, &month] {
        first.admitted(ask, 10).await;
        second.admitted(ask, 10).await;
        first.counters.reset(ask).await;
    }
    assert_eq!(second.admitted(&turns, 5).await, 2);
    assert_eq!(second.admitted(&month, 4).await, 4);

    // While Redis is away, too: it is told when it is back.
    server.pause();
    first.is_down().await;
    second.is_down().await;
    first.counters.reset(&turns).await;
    server.resume();
    first.is_up().await;
    first.has_told().await;
    second.is_up().await;
    assert_eq!(second.admitted(&turns, 5).await, 2);
    assert_eq!(second.counters.look(&month).await.remaining, 6);
    server.kill();
}

#[tokio::test]
async fn a_redis_that_is_paused_costs_a_few_requests_a_few_milliseconds() {
    let server = Server::start();
    let gateway = Gateway::hasty(&server).await;
    let month = quota("q", "acme", 1_000);
    assert_eq!(gateway.admitted(&month, 100).await, 100);
    server.pause();
    let mut slow = 0;
    let began = Instant::now();
    for _ in 0..200 {
        let before = Instant::now();
        assert!(gateway.admits(&month).await);
        slow += usize::from(before.elapsed() >= Duration::from_millis(9));
    }
    let took = began.elapsed();
    assert!(slow <= 6, "{slow} of 200 requests waited");
    assert!(took < Duration::from_secs(1), "{took:?} for 200 requests");
    gateway.is_down().await;
    // The connection is given up, and with it answers that may still come.
    let failures = gateway.health().failures;
    assert!(failures >= 1);
    gateway.eventually("heartbeats to fail", |health| health.failures > failures + 1).await;

    server.resume();
    gateway.is_up().await;
    // What was sent before and during the pause was read after it: too late to be spent twice.
    gateway.eventually_left(&month, 700).await;
}

#[tokio::test]
async fn many_requests_at_once_wait_no_longer_than_one() {
    let server = Server::start();
    let gateway = Gateway::hasty(&server).await;
    let month = quota("q", "acme", 10_000);
    server.pause();
    let began = Instant::now();
    let mut requests = JoinSet::new();
    for _ in 0..500 {
        let counters = Arc::clone(&gateway.counters);
        requests.spawn(async move { counters.spend(&[quota("q", "acme", 10_000)]).await.spent.is_ok() });
    }
    let admitted = requests.join_all().await;
    let took = began.elapsed();
    assert!(admitted.into_iter().all(|admitted| admitted));
    assert!(took < Duration::from_millis(500), "{took:?} for 500 requests at once");
    server.resume();
    gateway.is_up().await;
    gateway.eventually_left(&month, 9_500).await;
}

#[tokio::test]
async fn a_late_answer_gives_back_what_it_took() {
    let server = Server::start();
    let way = Way::to(server.port).await;
    let gateway = Gateway::sharing(&format!("redis://127.0.0.1:{}", way.port), OnCounterFailure::Local);
    gateway.is_up().await;
    let direct = Gateway::up(&server).await;
    let (month, used_up) = (quota("q", "acme", 100), rate("r", "acme", LONG, 1));
    assert!(gateway.admits(&month).await);
    way.hold_up(Duration::from_millis(60));
    assert!(gateway.admits(&month).await, "decided here, and in Redis as well");
    way.hold_up(Duration::ZERO);
    gateway.is_up().await;
    direct.eventually_left(&month, 98).await;
    gateway.has_told().await;
    assert_eq!(direct.counters.look(&month).await.remaining, 98, "counted once");
    assert!(direct.admits(&used_up).await);
}

#[tokio::test]
async fn who_is_slow_again_and_again_is_not_asked_all_the_time() {
    let server = Server::start();
    let way = Way::to(server.port).await;
    let gateway = Gateway::sharing(&format!("redis://127.0.0.1:{}", way.port), OnCounterFailure::Local);
    gateway.is_up().await;
    way.hold_up(Duration::from_millis(40));
    let ask = rate("r", "acme", 1, 1_000);
    let mut waited = 0;
    let end = Instant::now() + Duration::from_secs(1);
    while Instant::now() < end {
        let before = Instant::now();
        assert!(gateway.admits(&ask).await);
        waited += usize::from(before.elapsed() >= Duration::from_millis(9));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(waited <= 6, "{waited} requests waited for a Redis that is too slow");
}

#[tokio::test]
async fn what_is_let_in_beside_a_slow_redis_the_others_learn() {
    let server = Server::start();
    let way = Way::to(server.port).await;
    let slow = Gateway::sharing(&format!("redis://127.0.0.1:{}", way.port), OnCounterFailure::Local);
    slow.is_up().await;
    let fast = Gateway::up(&server).await;
    slow.eventually("two gateways", |health| health.gateways == 2).await;
    way.hold_up(Duration::from_millis(60));
    let turns = rate("r", "acme", LONG, 20);
    assert_eq!(slow.admitted(&turns, 30).await, 10, "its half");
    fast.eventually_left(&turns, 10).await;
    assert_eq!(fast.admitted(&turns, 30).await, 10, "and no more together");
}

#[tokio::test]
async fn the_operator_can_have_everybody_let_in() {
    let server = Server::absent(&[]);
    let gateway = Gateway::sharing(&server.url(), OnCounterFailure::Allow);
    let month = quota("q", "acme", 5);
    let asks = [rate("r", "acme", LONG, 2), month.clone()];
    for _ in 0..9 {
        assert!(gateway.counters.spend(&asks).await.spent.is_ok());
    }
    let mut server = server;
    server.run();
    gateway.is_up().await;
    gateway.has_told().await;
    assert!(!gateway.admits(&month).await, "it was counted all the same");
}

#[tokio::test]
async fn the_operator_can_have_nobody_let_in() {
    let mut server = Server::start();
    let gateway = Gateway::sharing(&server.url(), OnCounterFailure::Refuse);
    gateway.is_up().await;
    let ask = quota("q", "acme", 5);
    assert!(gateway.admits(&ask).await);
    server.kill();
    gateway.is_down().await;
    let answer = gateway.spend(&ask).await;
    assert_eq!(answer.spent.err(), Some(NotSpent::Unknown));
    assert_eq!(answer.standings.len(), 1);
    server.run();
    gateway.is_up().await;
    assert!(gateway.admits(&ask).await);
}

#[tokio::test]
async fn gateways_that_end_are_not_counted_any_more() {
    let server = Server::start();
    let [first, second, third] = three(&server).await;
    drop((second, third));
    // They live on in Redis for 5 s, and fewer are believed 5 s after they were heard of first: 10 s and a little, without
    // what a busy machine adds.
    first.eventually_in(Duration::from_secs(60), "one gateway", |health| health.gateways == 1).await;
}

#[tokio::test]
async fn how_long_decisions_take() {
    let server = Server::start();
    let gateway = Gateway::up(&server).await;
    let asks = [rate("r", "acme", 1, 1_000_000), quota("q", "acme", 1_000_000)];
    let mut times = Vec::new();
    for _ in 0..3_000 {
        let before = Instant::now();
        assert!(gateway.counters.spend(&asks).await.spent.is_ok());
        times.push(before.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 1_000];
    println!("a decision over two limits in Redis: p50 {:?}, p99 {:?}, p99.9 {:?}", at(500), at(990), at(999));
    // Generous: other tests want the machine as well.
    assert!(at(500) < Duration::from_millis(10), "{:?}", at(500));
}
