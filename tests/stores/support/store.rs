//! Counters of a gateway, in memory or in a Redis.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tollgate::clock::Clock;
use tollgate::config::section::state::{OnCounterFailure, State};
use tollgate::state::counters::{Answer, Ask, Counters, Health, Up};

use super::server::Server;

/// The counters of one gateway.
#[derive(Debug)]
pub struct Gateway {
    pub counters: Arc<Counters>,
    run: JoinHandle<()>,
}

/// How long anything may take to become so.
const PATIENCE: Duration = Duration::from_secs(10);

impl Gateway {
    /// In memory.
    pub fn alone() -> Self {
        Self::of(&State::default())
    }

    /// Sharing this Redis, whether it is there or not.
    pub fn sharing(url: &str, on_counter_failure: OnCounterFailure) -> Self {
        let counters = url.parse().expect("a place for counters");
        Self::of(&State { counters, on_counter_failure, ..State::default() })
    }

    /// As [`Gateway::sharing`], once Redis decides. It waits for decisions longer than usual, so that a machine that is
    /// busy with other tests changes nothing.
    pub async fn up(server: &Server) -> Self {
        let counters = server.url().parse().expect("a place for counters");
        let gateway = Self::patient(&State { counters, ..State::default() }, Duration::from_secs(2));
        gateway.is_up().await;
        gateway
    }

    /// As [`Gateway::up`], with the deadline of every day.
    pub async fn hasty(server: &Server) -> Self {
        let gateway = Self::sharing(&server.url(), OnCounterFailure::Local);
        gateway.is_up().await;
        gateway
    }

    fn of(state: &State) -> Self {
        Self::patient(state, Duration::from_millis(10))
    }

    fn patient(state: &State, deadline: Duration) -> Self {
        let counters = Arc::new(Counters::patient(Clock::system(), state, deadline));
        let run = {
            let counters = Arc::clone(&counters);
            tokio::spawn(async move { counters.run().await })
        };
        Self { counters, run }
    }

    /// Spends one ask.
    pub async fn spend(&self, ask: &Ask<'_>) -> Answer {
        self.counters.spend(std::slice::from_ref(ask)).await
    }

    /// Whether one ask is let in.
    pub async fn admits(&self, ask: &Ask<'_>) -> bool {
        self.spend(ask).await.spent.is_ok()
    }

    /// How many of these are let in, one after the other.
    pub async fn admitted(&self, ask: &Ask<'_>, times: usize) -> usize {
        let mut admitted = 0;
        for _ in 0..times {
            admitted += usize::from(self.admits(ask).await);
        }
        admitted
    }

    pub fn health(&self) -> Health {
        self.counters.health().expect("shared counters")
    }

    /// Waits until Redis decides.
    pub async fn is_up(&self) {
        self.eventually("Redis to decide", |health| health.up == Up::Yes).await;
    }

    /// Waits until it does not.
    pub async fn is_down(&self) {
        self.eventually("Redis to be given up", |health| health.up == Up::No).await;
    }

    /// Waits until Redis was told everything.
    pub async fn has_told(&self) {
        self.eventually("Redis to be told everything", |health| health.unsent == 0).await;
    }

    pub async fn eventually(&self, what: &str, holds: impl Fn(Health) -> bool) {
        self.eventually_in(PATIENCE, what, holds).await;
    }

    /// As [`Gateway::eventually`], for what takes its time.
    pub async fn eventually_in(&self, patience: Duration, what: &str, holds: impl Fn(Health) -> bool) {
        eventually_in(patience, what, || holds(self.health())).await;
    }

    /// What is left of a quota, once that is so.
    pub async fn eventually_left(&self, ask: &Ask<'_>, left: u64) {
        let mut last = None;
        let waited = tokio::time::timeout(PATIENCE, async {
            while last != Some(left) {
                last = Some(self.counters.look(ask).await.remaining);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        assert!(waited.await.is_ok(), "{left} should be left, and {last:?} are");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.run.abort();
    }
}

/// Waits until something is so.
pub async fn eventually(what: &str, holds: impl FnMut() -> bool) {
    eventually_in(PATIENCE, what, holds).await;
}

async fn eventually_in(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(patience, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited {patience:?} for {what}");
}
