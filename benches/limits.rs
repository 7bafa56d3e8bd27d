//! Deciding whether a request keeps to its limits, in this process.
//!
//! Each figure is one decision: the asks are there, and are spent all or none. The clock is the system's. With two
//! threads, a figure is what one decision takes while both decide all the time.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use smallvec::smallvec;
use tollgate::clock::Clock;
use tollgate::config::scalar::Window;
use tollgate::config::section::limits::Cost;
use tollgate::state::counters::bucket::Value;
use tollgate::state::counters::{Allowance, Ask, Counters, Mode, Pace, Rule};

fn decisions(criterion: &mut Criterion) {
    let counters = Counters::new(Clock::system());
    let spend = |asks: &[Ask<'_>]| is_let_in(&counters, asks);
    let mut group = criterion.benchmark_group("limits");
    for (what, asks) in [
        ("one rate", vec![rate("per_tenant", "acme")]),
        ("a rate that refuses", vec![tight("tight", "acme")]),
        ("a quota of a day", vec![quota("daily", "acme", Window::Day)]),
        ("a quota of a month", vec![quota("monthly", "acme", Window::Month)]),
        ("two rates", vec![rate("per_tenant", "acme"), rate("flood", "10.0.0.1")]),
        ("a rate and a quota", vec![rate("per_tenant", "acme"), quota("daily", "acme", Window::Day)]),
        (
            "two rates and two quotas",
            vec![
                rate("per_tenant", "acme"),
                rate("flood", "10.0.0.1"),
                quota("daily", "acme", Window::Day),
                quota("monthly", "acme", Window::Month),
            ],
        ),
    ] {
        spend(&asks);
        group.bench_function(what, |bencher| bencher.iter(|| spend(&asks)));
    }
    let names: Vec<String> = (0..100_000).map(|number| format!("tenant-{number}")).collect();
    let mut next = names.iter().cycle();
    group.bench_function("one rate, of 100 000 tenants in turn", |bencher| {
        bencher.iter(|| spend(&[rate("per_tenant", next.next().expect("it never ends"))]));
    });
    for (what, names) in [("two threads on one tenant", ["acme"; 2]), ("two threads on two tenants", ["acme", "beta"])]
    {
        group.bench_function(what, |bencher| bencher.iter_custom(|times| at_once(&counters, names, times)));
    }
    group.finish();
}

#[expect(clippy::disallowed_methods, reason = "a bench measures by the system's clock")]
fn at_once(counters: &Counters, names: [&str; 2], times: u64) -> Duration {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for name in names {
            scope.spawn(move || {
                let asks = [rate("per_tenant", name)];
                for _ in 0..times {
                    black_box(is_let_in(counters, &asks));
                }
            });
        }
    });
    began.elapsed()
}

/// Counting in this process never waits: no runtime is needed, whose own costs would be measured, too.
fn is_let_in(counters: &Counters, asks: &[Ask<'_>]) -> bool {
    let decision = pin!(counters.spend(black_box(asks)));
    match decision.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.spent.is_ok(),
        Poll::Pending => false,
    }
}

fn rate<'a>(name: &'a str, who: &'a str) -> Ask<'a> {
    paced(name, who, Pace { interval: 1, burst: u32::MAX })
}

fn tight<'a>(name: &'a str, who: &'a str) -> Ask<'a> {
    paced(name, who, Pace { interval: 1 << 50, burst: 1 })
}

fn paced<'a>(name: &'a str, who: &'a str, pace: Pace) -> Ask<'a> {
    let values = smallvec![Value::word(who)];
    Ask { name, values, rule: Rule::Rate(pace), mode: Mode::Enforced, reserve: 1 }
}

fn quota<'a>(name: &'a str, who: &'a str, window: Window) -> Ask<'a> {
    let allowance = Allowance { amount: 1 << 52, window, anchor: None, cost: Cost::One, assumed: 0 };
    let values = smallvec![Value::word(who)];
    Ask { name, values, rule: Rule::Quota(allowance), mode: Mode::Enforced, reserve: 1 }
}

criterion_group!(limits, decisions);
criterion_main!(limits);
