//! The usage of a gateway, and what a ledger says of it.

use std::path::Path;
use std::time::Duration;

use tollgate::clock::{Clock, TestClock};
use tollgate::config::Config;
use tollgate::config::scalar::Store;
use tollgate::config::section::state::State;
use tollgate::exchange::usage::{UsageKey, Used};
use tollgate::state::usage::{Answer, Place, Question, Side, Usage, ask};

/// Somebody who is charged.
pub fn key(minute: u32, tenant: &str, caller: &str, route: &str) -> UsageKey {
    UsageKey {
        minute,
        tenant: tenant.parse().ok(),
        caller: Some(("keys".into(), caller.into())).filter(|_| !caller.is_empty()),
        route: Some(route.into()).filter(|_| !route.is_empty()),
        class: 2,
    }
}

/// So many requests, and something of everything else.
pub fn used(requests: u64) -> Used {
    Used { requests, refusals: 1, request_bytes: 7 * requests, rows_read: 100 * requests, ..Used::default() }
}

/// Where the ledger is that a configuration with this `state.store` and this folder has.
pub fn place(store: &str, folder: &Path) -> Place {
    let store = store.parse().expect("a place for the ledger");
    Place::of(&State { store, dir: Some(folder.to_owned()), ..State::default() })
}

/// A gateway that writes there.
pub fn gateway(place: &Place, clock: Clock) -> Usage {
    let usage = Usage::new(clock);
    usage.follow(&config(place));
    usage
}

/// A configuration whose ledger is there, and nothing else.
pub fn config(place: &Place) -> Config {
    let (store, folder) = match place {
        Place::Folder(folder) => (Store::Sqlite, folder),
        Place::Postgres(address, folder) => (Store::Postgres(address.clone()), folder),
    };
    Config { state: State { store, dir: Some(folder.clone()), ..State::default() }, ..Config::default() }
}

/// What is written there.
pub async fn written(place: &Place, by: &[Side]) -> Answer {
    asked(place, Question { by: by.to_vec(), until: u64::MAX, ..Question::default() }).await
}

/// The answer to a question; empty where nothing was ever written.
pub async fn asked(place: &Place, question: Question) -> Answer {
    let place = place.clone();
    let asked = tokio::task::spawn_blocking(move || ask(&place, &question));
    asked.await.expect("it ends").expect("a ledger that can be read").unwrap_or_default()
}

/// How many requests are written.
pub async fn requests(place: &Place) -> u64 {
    written(place, &[]).await.rows.iter().map(|(_, used)| used.requests).sum()
}

/// Waits until everything is written, or cannot be, as a gateway does that ends; and ends it.
pub async fn end(usage: Usage) {
    usage.flush().await;
    tokio::task::spawn_blocking(move || drop(usage)).await.expect("it ends");
}

/// A clock at which minutes of tests are kept by the minute.
pub fn clock() -> TestClock {
    TestClock::new()
}

/// The minute of that clock.
pub fn minute(clock: &TestClock) -> u32 {
    let since = clock.clock().wall().duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u32::try_from(since.as_secs() / 60).expect("a minute")
}
