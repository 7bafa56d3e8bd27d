//! Asks, as limits make them.

use smallvec::smallvec;
use tollgate::config::scalar::Window;
use tollgate::config::section::limits::Cost;
use tollgate::state::counters::bucket::Value;
use tollgate::state::counters::{Allowance, Answer, Ask, Mode, Pace, Rule};

/// What an ask says of a limit called `name` and of `who`.
pub fn ask<'a>(name: &'a str, who: &'a str, rule: Rule) -> Ask<'a> {
    Ask { name, values: smallvec![Value::word(who)], rule, mode: Mode::Enforced, reserve: 1 }
}

/// One in so many milliseconds, and so many at once.
pub fn rate<'a>(name: &'a str, who: &'a str, millis: u64, burst: u32) -> Ask<'a> {
    ask(name, who, Rule::Rate(Pace { interval: millis * 1_000_000, burst }))
}

/// So much a month, of requests.
pub fn quota<'a>(name: &'a str, who: &'a str, amount: u64) -> Ask<'a> {
    ask(name, who, Rule::Quota(Allowance { amount, window: Window::Month, anchor: None, cost: Cost::One, assumed: 0 }))
}

/// So many rows a month, of which a request usually reads so many.
pub fn rows<'a>(name: &'a str, who: &'a str, amount: u64, reserve: u64) -> Ask<'a> {
    let rule = Rule::Quota(Allowance { amount, window: Window::Month, anchor: None, cost: Cost::RowsRead, assumed: 0 });
    Ask { reserve, ..ask(name, who, rule) }
}

/// The same, on trial.
pub fn on_trial(ask: Ask<'_>) -> Ask<'_> {
    Ask { mode: Mode::DryRun, ..ask }
}

/// How much is left of each.
pub fn remaining(answer: &Answer) -> Vec<u64> {
    answer.standings.iter().map(|standing| standing.remaining).collect()
}
