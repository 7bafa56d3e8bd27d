//! Three gateways, one Redis and three times the load that limits allow: what is let in is what the limits say.
//!
//! Each run counts for 20 s, with `TOLLGATE_LONG=1` for 60 s. Processes of their own, so that nothing is shared but Redis.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test fails loudly, and processes beside it know no clock but the system's"
)]

mod load;
mod support;

use std::time::Duration;

use load::{Load, Outcome};
use support::fleet::Fleet;

/// How long load is made.
fn duration() -> Duration {
    Duration::from_secs(if std::env::var_os("TOLLGATE_LONG").is_some() { 60 } else { 20 })
}

/// What limits say for all requests together, and for one address.
const ONE: Limit = Limit { a_minute: 3_000, burst: 50 };
/// For an address, where there are a thousand.
const RARE: Limit = Limit { a_minute: 12, burst: 3 };
/// For an address, where there are few.
const FREQUENT: Limit = Limit { a_minute: 240, burst: 8 };

#[derive(Clone, Copy, Debug)]
struct Limit {
    a_minute: u32,
    burst: u32,
}

impl Limit {
    /// How many may be let in of those that come within this time; the first and the last come at its ends.
    fn lets_in(self, time: Duration) -> f64 {
        f64::from(self.burst) + time.as_secs_f64() * f64::from(self.a_minute) / 60.0
    }
}

/// Who asks more than `limit` allows, three times as often.
fn greedy(path: &'static str, keys: u32, limit: Limit) -> Load {
    Load { path, keys, every: Duration::from_secs_f64(60.0 / f64::from(3 * limit.a_minute)) }
}

/// What a run said of a path.
#[derive(Clone, Copy, Debug)]
struct Finding {
    path: &'static str,
    let_in: f64,
    /// What the limit says, to when requests came.
    allowed: f64,
}

impl Finding {
    fn of(outcome: &Outcome, path: &'static str, limit: Limit) -> Self {
        let keys = outcome.keys(path);
        let let_in: u32 = keys.iter().map(|key| key.let_in).sum();
        let allowed = keys.iter().map(|key| limit.lets_in(key.last - key.first).floor()).sum();
        Finding { path, let_in: f64::from(let_in), allowed }
    }

    fn off(self) -> f64 {
        (self.let_in - self.allowed) / self.allowed
    }
}

/// What a run said of both paths.
fn findings(name: &str, outcome: &Outcome, paths: [(&'static str, Limit); 2]) -> [Finding; 2] {
    println!("{name}: {}", outcome.summary());
    assert_eq!(outcome.strange(), Vec::<u16>::new(), "answers that are neither 200 nor 429");
    let findings = paths.map(|(path, limit)| Finding::of(outcome, path, limit));
    for finding @ Finding { path, let_in, allowed } in findings {
        println!("{name}: {path}: {let_in} let in, {allowed} allowed: {:+.2} %", finding.off() * 100.0);
    }
    findings
}

fn check(findings: [Finding; 2], tolerance: f64) {
    for finding in findings {
        assert!(finding.off().abs() <= tolerance, "{finding:?} is more than {tolerance} off");
    }
}

/// One after the other: together they would want more than a machine has.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A machine on which answers take this long has no time for Redis either: what it measures is an outage.
const BUSY: Duration = Duration::from_millis(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_let_in_is_exact() {
    let _turn = TURN.lock().await;
    let loads = [greedy("/one", 1, ONE), greedy("/each", 1_000, RARE)];
    for attempt in 1.. {
        let fleet = Fleet::start(RARE, duration()).await;
        let outcome = load::run(&fleet.gateways(), &loads, duration()).await;
        assert_eq!(fleet.upstream.requests(), outcome.let_in(), "what is refused never reaches the upstream");
        let findings = findings("nothing happens", &outcome, [("/one", ONE), ("/each", RARE)]);
        if attempt < 3 && outcome.took(990) > BUSY && findings.iter().any(|finding| finding.off().abs() > 0.01) {
            println!("the machine is busy with something else: once more. Meanwhile\n{}", fleet.said());
            continue;
        }
        return check(findings, 0.01);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_redis_is_no_outage_of_the_gateway() {
    let _turn = TURN.lock().await;
    let (mut killed, paused) = tokio::join!(Fleet::start(FREQUENT, duration()), Fleet::start(FREQUENT, duration()));
    let loads = [greedy("/one", 1, ONE), greedy("/each", 20, FREQUENT)];
    let paths = [("/one", ONE), ("/each", FREQUENT)];
    let (before, away) = (duration() / 4, duration() / 5);
    let gateways = killed.gateways();
    let kill = async {
        tokio::time::sleep(before).await;
        killed.redis.kill();
        tokio::time::sleep(away).await;
        killed.redis.launch();
    };
    let pause = async {
        tokio::time::sleep(before).await;
        paused.redis.pause();
        tokio::time::sleep(away).await;
        paused.redis.resume();
    };
    let others = paused.gateways();
    let loaded =
        async { tokio::join!(load::run(&gateways, &loads, duration()), load::run(&others, &loads, duration())) };
    let ((first, second), (), ()) = tokio::join!(loaded, kill, pause);
    check(findings("Redis is killed and started again", &first, paths), 0.1);
    check(findings("Redis is paused", &second, paths), 0.1);
    killed.is_up().await;
    paused.is_up().await;
}
