//! What is said and told while Redis is away, and how much a gateway may write there.

use std::net::Ipv4Addr;
use std::sync::Arc;

use smallvec::smallvec;
use tollgate::clock::Clock;
use tollgate::config::section::state::{OnCounterFailure, State};
use tollgate::state::counters::bucket::Value;
use tollgate::state::counters::{Ask, Counters, NotSpent, Teller, Up};

use crate::support::asks::{on_trial, quota, rate};
use crate::support::server::Server;
use crate::support::store::{Gateway, eventually};

#[tokio::test]
async fn who_answers_is_told_and_a_reset_waits_for_redis() {
    let mut server = Server::start();
    let (gateway, other) = (Gateway::up(&server).await, Gateway::up(&server).await);
    let month = quota("q", "acme", 10);
    assert_eq!(other.admitted(&month, 6).await, 6);
    let (standing, teller) = gateway.counters.inquire(&month).await;
    assert_eq!((standing.remaining, teller), (4, Teller::Authority));
    assert_eq!(gateway.counters.reset(&quota("q", "beta", 10)).await, Teller::Authority);

    server.pause();
    gateway.is_down().await;
    let (standing, teller) = gateway.counters.inquire(&month).await;
    assert_eq!((standing.remaining, teller), (10, Teller::Substitute), "it never asked for this one");
    assert_eq!(gateway.counters.reset(&month).await, Teller::Substitute);
    assert!(gateway.health().unsent > 0);
    server.resume();
    gateway.is_up().await;
    gateway.has_told().await;
    other.is_up().await;
    assert_eq!(other.counters.inquire(&month).await.0.remaining, 10);
    server.kill();
}

#[tokio::test]
async fn what_is_spent_meanwhile_goes_to_the_quota_that_it_was_spent_of() {
    let mut server = Server::absent(&[]);
    let gateway = Gateway::sharing(&server.url(), OnCounterFailure::Local);
    // Two of the same size: that on trial is used up, and takes nothing of the last request.
    let (trial, real) = (on_trial(quota("trial", "acme", 5)), quota("real", "acme", 5));
    assert_eq!(gateway.admitted(&trial, 5).await, 5);
    assert!(gateway.counters.spend(&[trial.clone(), real.clone()]).await.spent.is_ok());
    server.run();
    gateway.is_up().await;
    gateway.has_told().await;
    let other = Gateway::up(&server).await;
    assert_eq!(other.counters.look(&trial).await.remaining, 0);
    assert_eq!(other.counters.look(&real).await.remaining, 4);
}

#[tokio::test]
async fn what_is_on_trial_refuses_nobody_when_nobody_can_count() {
    let server = Server::absent(&[]);
    let gateway = Gateway::sharing(&server.url(), OnCounterFailure::Refuse);
    let (trial, real) = (on_trial(quota("trial", "acme", 5)), quota("real", "acme", 5));
    assert!(gateway.admits(&trial).await);
    assert_eq!(gateway.counters.spend(&[trial, real]).await.spent.err(), Some(NotSpent::Unknown));
}

#[tokio::test]
async fn who_sprays_addresses_fills_no_redis() {
    let server = Server::start();
    let places = server.url().parse().expect("a place for counters");
    // A quarter of them are for rates by address: 256, as each of 128 shards has at least as many as its part.
    let state = State { counters: places, max_counters: 1_000, ..State::default() };
    let counters = Arc::new(Counters::patient(Clock::system(), &state, std::time::Duration::from_secs(2)));
    let run = tokio::spawn({
        let counters = Arc::clone(&counters);
        async move { counters.run().await }
    });
    eventually("Redis to decide", || counters.health().is_some_and(|health| health.up == Up::Yes)).await;
    let mut refused = 0;
    for number in 0..4_000_u32 {
        let from = Value::network(Ipv4Addr::from_bits(0x0a00_0000 + number).into());
        let ask = Ask { values: smallvec![from], ..rate("flood", "", 3_600_000, 3) };
        refused += usize::from(counters.spend(&[ask]).await.spent.is_err());
    }
    // Those who find room, 128 that the others share, and what gateways say of themselves.
    let keys: usize = server.ask(&["DBSIZE"]);
    assert!((256..=256 + 128 + 8).contains(&keys), "{keys} keys");
    assert!(refused >= 4_000 - 256 - 128 * 3, "newcomers share what there is: {refused} were refused");
    run.abort();
}
