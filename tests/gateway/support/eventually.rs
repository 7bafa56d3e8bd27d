//! Bounded waits for what announces itself in no other way.
//!
//! Not here: values of the kit's own, which wake their waiters (`watched`).

use std::time::Duration;

use tollgate::clock::TestClock;

use super::watched::PATIENCE;

const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Waits until `holds` says so; panics after 10 s with `what`.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    assert!(waited.await.is_ok(), "waited {PATIENCE:?} for {what}");
}

/// As [`eventually`], for a question that takes a call to answer.
pub async fn eventually_async<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    assert!(waited.await.is_ok(), "waited {PATIENCE:?} for {what}");
}

/// Waits until `count` tasks sleep on the test's clock.
pub async fn asleep(time: &TestClock, count: usize) {
    eventually(&format!("{count} sleepers"), || time.sleepers() == count).await;
}

/// Drives `call` to its end, turning the clock by `step` as long as somebody sleeps on it.
pub async fn driven<T>(time: &TestClock, step: Duration, call: impl Future<Output = T>) -> T {
    let turning = async {
        loop {
            if time.sleepers() > 0 {
                time.advance(step);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        done = call => done,
        () = turning => unreachable!("it turns for ever"),
    }
}
