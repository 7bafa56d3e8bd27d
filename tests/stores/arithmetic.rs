//! The arithmetic in Lua is that of this process: the same schedules, decision by decision.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use tollgate::clock::TestClock;
use tollgate::config::scalar::Window;
use tollgate::config::section::limits::Cost;
use tollgate::state::counters::{Allowance, Ask, Counters, Mode, Pace, Rule, algorithm, calendar};

use crate::support::asks::ask;
use crate::support::server::Server;

/// The script that decides, as the gateway sends it.
const SCRIPT: &str = concat!(
    include_str!("../../src/state/counters/redis/bucket.lua"),
    include_str!("../../src/state/counters/redis/decide.lua")
);

thread_local! {
    /// One server for all cases of a test, which is a thread: it ends with that.
    static SERVER: (Server, RefCell<redis::Connection>) = {
        let server = Server::start();
        let connection = server.connection().expect("a connection");
        (server, RefCell::new(connection))
    };
}

/// Asks Redis as the gateway does, but at this time.
fn decide(case: u64, asks: &[Ask<'_>], now: SystemTime) -> Vec<i64> {
    let mut command = redis::cmd("EVAL");
    command.arg(SCRIPT).arg(asks.len());
    for ask in asks {
        command.arg(format!("{{tollgate}}:{case}:{}", ask.name));
    }
    let micros = u64::try_from(now.duration_since(UNIX_EPOCH).expect("after 1970").as_micros()).expect("a number");
    command.arg("spend").arg(micros).arg(0);
    for ask in asks {
        let mode = if ask.mode == Mode::Enforced { "enforced" } else { "dry_run" };
        match ask.rule {
            Rule::Rate(pace) => {
                command.arg(&["rate", mode]).arg(pace.interval).arg(pace.burst).arg(0).arg("redis");
            }
            Rule::Quota(Allowance { amount, window, anchor, .. }) => {
                let (began, ends) = calendar::stretch(window, anchor, now);
                let (_, after) = calendar::stretch(window, anchor, UNIX_EPOCH + Duration::from_secs(ends));
                let (before, _) = calendar::stretch(window, anchor, UNIX_EPOCH + Duration::from_secs(began - 1));
                command.arg(&["quota", mode]).arg(amount).arg(ask.reserve).arg(0).arg("redis").arg(0);
                command.arg(&[before, began, ends, after]);
            }
        }
    }
    SERVER.with(|(_, connection)| command.query(&mut *connection.borrow_mut()).expect("an answer"))
}

/// A limit, by the number of its name.
fn rule() -> impl Strategy<Value = Rule> {
    // From the fastest that is allowed to one a month, and what lies between.
    let interval = prop_oneof![100..2_000_u64, 1_000_000..50_000_000_u64, 1_000_000_000..2_592_000_000_000_000_u64];
    let rate = (interval, 1..40_u32).prop_map(|(interval, burst)| {
        let burst = burst.min(u32::try_from(2_592_000_000_000_000 / interval).unwrap_or(u32::MAX)).max(1);
        Rule::Rate(Pace { interval, burst })
    });
    let amount = prop_oneof![1..30_u64, 1_000..2_000_u64, Just(1_u64 << 52)];
    let window = prop_oneof![Just(Window::Hour), Just(Window::Day), Just(Window::Month)];
    let quota = (amount, window).prop_map(|(amount, window)| {
        Rule::Quota(Allowance { amount, window, anchor: None, cost: Cost::RowsRead, assumed: 0 })
    });
    prop_oneof![3 => rate, 2 => quota]
}

/// The same limit after a reload: a rate so many times as fast.
fn changed(rule: Rule, faster: u64) -> Rule {
    match rule {
        Rule::Rate(Pace { interval, burst }) => Rule::Rate(Pace { interval: (interval / faster).max(100), burst }),
        Rule::Quota(_) => rule,
    }
}

#[derive(Clone, Debug)]
struct Step {
    /// How much later, in microseconds.
    later: u64,
    /// Which limits, by bits, and which of them are on trial.
    limits: u8,
    trials: u8,
    reserve: u64,
}

fn step() -> impl Strategy<Value = Step> {
    let later = prop_oneof![4 => Just(0), 4 => 1..50_u64, 4 => 1_000..60_000_u64, 2 => 1_000_000..4_000_000_000_u64];
    let reserve = prop_oneof![Just(1_u64), Just(0), 1..700_u64];
    (later, 1..16_u8, any::<u8>(), reserve).prop_map(|(later, limits, trials, reserve)| Step {
        later,
        limits,
        trials: trials & 0b1000,
        reserve,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn redis_and_memory_decide_the_same(
        rules in prop::collection::vec(rule(), 4),
        steps in prop::collection::vec(step(), 1..80),
        faster in 1..100_u64,
    ) {
        static CASES: AtomicU64 = AtomicU64::new(0);
        let case = CASES.fetch_add(1, Ordering::Relaxed);
        let time = TestClock::new();
        let memory = Counters::new(time.clock());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut rules = rules;
        let half = steps.len() / 2;
        for (number, step) in steps.into_iter().enumerate() {
            if number == half {
                rules.iter_mut().for_each(|rule| *rule = changed(*rule, faster));
            }
            time.advance(Duration::from_micros(step.later));
            let mut asks = Vec::new();
            for (index, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
                if step.limits & (1 << index) != 0 {
                    let mode = if step.trials & (1 << index) != 0 { Mode::DryRun } else { Mode::Enforced };
                    asks.push(Ask { mode, reserve: step.reserve, ..ask(name, "acme", rules[index]) });
                }
            }
            let here = runtime.block_on(memory.spend(&asks));
            let there = decide(case, &asks, time.clock().wall());
            prop_assert_eq!(here.spent.is_ok(), there[1] == 1, "{:?} {:?}", here, there);
            for ((ask, standing), shown) in asks.iter().zip(&here.standings).zip(there[2..].chunks(4)) {
                let value = u64::try_from(shown[0]).expect("not below 0");
                let (remaining, whole) = match ask.rule {
                    Rule::Rate(pace) => {
                        let standing = algorithm::standing_of_pace(pace, value, 0);
                        (standing.remaining, standing.whole)
                    }
                    Rule::Quota(allowance) => {
                        let ends = u64::try_from(shown[3]).expect("not below 0");
                        (allowance.amount.saturating_sub(value), calendar::until(ends, time.clock().wall()))
                    }
                };
                prop_assert_eq!((standing.remaining, standing.whole), (remaining, whole), "{:?} {:?}", ask, shown);
                if here.spent.is_ok() {
                    prop_assert_eq!(standing.passes, shown[1] == 1, "{:?} {:?}", ask, shown);
                }
            }
        }
    }
}
