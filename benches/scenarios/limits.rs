//! Deciding whether a request keeps to its limits, in this process.
//!
//! Each is one decision: the asks are there, and are spent all or none. The clock is the system's.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use smallvec::smallvec;
use tollgate::clock::Clock;
use tollgate::config::scalar::Window;
use tollgate::config::section::limits::Cost;
use tollgate::state::counters::bucket::Value;
use tollgate::state::counters::{Allowance, Ask, Counters, Mode, Pace, Rule};

use super::measure::Measure;

/// One caller who decides alone.
pub(crate) fn decisions(measure: &mut impl Measure) {
    let counters = Counters::new(Clock::system());
    let spend = |asks: &[Ask<'_>]| is_let_in(&counters, asks);
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
        measure.each(what, || spend(&asks));
    }
    let names: Vec<String> = (0..100_000).map(|number| format!("tenant-{number}")).collect();
    let mut next = names.iter().cycle();
    measure.each("one rate, of 100 000 tenants in turn", || {
        spend(&[rate("per_tenant", next.next().expect("it never ends"))])
    });
}

/// Counting in this process never waits: no runtime is needed, whose own costs would be measured, too.
pub(crate) fn is_let_in(counters: &Counters, asks: &[Ask<'_>]) -> bool {
    let decision = pin!(counters.spend(black_box(asks)));
    match decision.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.spent.is_ok(),
        Poll::Pending => false,
    }
}

/// A rate that lets everything in.
pub(crate) fn rate<'a>(name: &'a str, who: &'a str) -> Ask<'a> {
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
