//! GCRA against a list of everybody who was let in, and against the `governor` crate.

use std::num::NonZeroU32;

use governor::clock::FakeRelativeClock;
use governor::{Quota, RateLimiter};
use proptest::prelude::*;

use crate::config::scalar::Rate;

use super::*;

/// The slow reading of a rate: one more is let in unless too many would have come since some earlier one.
///
/// In any time that begins with one who was let in, there are at most `burst` and one for each interval that has passed.
#[derive(Default)]
struct Register {
    let_in: Vec<u64>,
}

impl Register {
    fn ask(&mut self, rule: Pace, now: u64) -> bool {
        let fits = self.let_in.iter().enumerate().all(|(index, then)| {
            let count = (self.let_in.len() - index) as u128 + 1;
            let extra = count.saturating_sub(u128::from(rule.burst));
            extra * u128::from(rule.interval) <= u128::from(now - then)
        });
        if fits {
            self.let_in.push(now);
        }
        fits
    }
}

/// GCRA as a limit uses it.
#[derive(Default)]
struct Limit {
    due: u64,
}

impl Limit {
    fn ask(&mut self, rule: Pace, now: u64) -> bool {
        pace(rule, self.due, now).map(|due| self.due = due).is_ok()
    }
}

fn rules() -> impl Strategy<Value = Pace> {
    let interval = prop_oneof![1..20_u64, 1_000..2_000_000_u64, Just(86_400_000_000_000)];
    (interval, prop_oneof![1..5_u32, 1..60_u32]).prop_map(|(interval, burst)| Pace { interval, burst })
}

/// Pauses between requests: none, fractions and multiples of the interval, to the nanosecond.
fn pauses(rule: Pace) -> impl Strategy<Value = Vec<u64>> {
    let interval = rule.interval;
    let whole = interval.saturating_mul(u64::from(rule.burst));
    let pause = prop_oneof![
        4 => Just(0),
        2 => 0..=interval,
        2 => interval.saturating_sub(1)..=interval + 1,
        1 => 0..=whole + 2,
        1 => whole.saturating_sub(1)..=whole + 1,
    ];
    prop::collection::vec(pause, 1..120)
}

fn schedules() -> impl Strategy<Value = (Pace, Vec<u64>)> {
    rules().prop_flat_map(|rule| (Just(rule), pauses(rule)))
}

/// When requests come, and how long before the first.
fn times(pauses: &[u64]) -> impl Iterator<Item = u64> {
    pauses.iter().scan(0, |now, pause| {
        *now += pause;
        Some(*now)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn it_lets_in_whom_the_list_lets_in((rule, pauses) in schedules()) {
        let (mut limit, mut register) = (Limit::default(), Register::default());
        for now in times(&pauses) {
            prop_assert_eq!(limit.ask(rule, now), register.ask(rule, now), "{:?} at {}", rule, now);
        }
    }

    #[test]
    fn it_lets_in_whom_governor_lets_in((rule, pauses) in schedules()) {
        let period = Duration::from_nanos(rule.interval);
        let quota = Quota::with_period(period).unwrap().allow_burst(NonZeroU32::new(rule.burst).unwrap());
        let clock = FakeRelativeClock::default();
        let oracle = RateLimiter::direct_with_clock(quota, clock.clone());
        let mut limit = Limit::default();
        for (pause, now) in pauses.iter().zip(times(&pauses)) {
            clock.advance(Duration::from_nanos(*pause));
            prop_assert_eq!(limit.ask(rule, now), oracle.check().is_ok(), "{:?} at {}", rule, now);
        }
    }

    // Windows begin and end where somebody is let in: any other holds no more in a longer time.
    #[test]
    fn x3_no_window_holds_more_than_a_burst_and_what_the_rate_gives_in_it((rule, pauses) in schedules()) {
        let mut limit = Limit::default();
        let let_in: Vec<u64> = times(&pauses).filter(|now| limit.ask(rule, *now)).collect();
        for (first, from) in let_in.iter().enumerate() {
            for (last, to) in let_in.iter().enumerate().skip(first) {
                let count = (last - first + 1) as u64;
                prop_assert!(count <= u64::from(rule.burst) + (to - from) / rule.interval, "{:?}: {} to {}", rule, from, to);
            }
        }
    }

    #[test]
    fn x3_what_is_written_as_a_rate_is_never_exceeded(count in 1..3_000_u32, unit in 0..4_usize, burst in 1..40_u32) {
        let (word, seconds) = [("s", 1_u128), ("m", 60), ("h", 3_600), ("day", 86_400)][unit];
        let rate: Rate = format!("{count}/{word}").parse().unwrap();
        let rule = Pace::of(rate, Some(burst));
        // Everybody comes as soon as they can.
        let mut due = 0;
        let mut now = 0;
        for number in 1..200_u128 {
            if let Err(wait) = pace(rule, due, now) {
                now += wait;
            }
            due = pace(rule, due, now).unwrap();
            // number <= burst + rate * time, without dividing.
            let extra = number.saturating_sub(u128::from(burst));
            prop_assert!(extra * seconds * 1_000_000_000 <= u128::from(count) * u128::from(now));
        }
    }

    #[test]
    fn who_waits_as_long_as_was_said_is_let_in_and_nobody_before((rule, pauses) in schedules()) {
        let mut limit = Limit::default();
        for now in times(&pauses) {
            if let Err(wait) = pace(rule, limit.due, now) {
                prop_assert!(wait > 0);
                prop_assert!(pace(rule, limit.due, now + wait).is_ok());
                prop_assert!(pace(rule, limit.due, now + wait - 1).is_err());
            }
            limit.ask(rule, now);
        }
    }

    #[test]
    fn what_is_said_to_remain_is_what_is_let_in((rule, pauses) in schedules()) {
        let mut limit = Limit::default();
        for now in times(&pauses) {
            let standing = standing_of_pace(rule, limit.due, now);
            prop_assert_eq!(standing.total, u64::from(rule.burst));
            prop_assert_eq!(standing.remaining == 0, !standing.wait.is_zero());
            let mut probe = Limit { due: limit.due };
            let let_in = (0..=rule.burst).take_while(|_| probe.ask(rule, now)).count();
            prop_assert_eq!(standing.remaining, let_in as u64);
            let later = now + standing.whole.as_nanos() as u64;
            prop_assert_eq!(standing_of_pace(rule, limit.due, later).remaining, standing.total);
            limit.ask(rule, now);
        }
    }

    #[test]
    fn a_refund_at_once_restores((rule, pauses) in schedules()) {
        let mut limit = Limit::default();
        for now in times(&pauses) {
            let before = standing_of_pace(rule, limit.due, now);
            if let Ok(due) = pace(rule, limit.due, now) {
                let refunded = due - refund_of_pace(rule, due, now);
                prop_assert_eq!(standing_of_pace(rule, refunded, now), before);
            }
            limit.ask(rule, now);
        }
    }

    // One request was let in and went nowhere, which was found out later. The others are no more than without it.
    #[test]
    fn x3_a_late_refund_gives_nothing_twice((rule, pauses) in schedules(), which in 0..120_usize, later in 0..120_usize) {
        let mut limit = Limit::default();
        let mut register = Register::default();
        let mut taken = None;
        for (index, now) in times(&pauses).enumerate() {
            if let Some((due, _)) = taken.take_if(|(_, from)| index >= *from) {
                limit.due -= refund_of_pace(rule, due, now);
            }
            let is_let_in = limit.ask(rule, now);
            if is_let_in && index == which {
                taken = Some((limit.due, which + later));
            } else if is_let_in {
                prop_assert!(register.ask(rule, now), "{:?} at {}", rule, now);
            }
        }
    }
}

#[test]
fn rates_at_the_ends_of_what_can_be_written() {
    let slowest = Pace { interval: 86_400_000_000_000, burst: u32::MAX };
    let mut limit = Limit::default();
    let most = MOST_ROOM / slowest.interval + 1;
    let let_in = (0..most + 10).filter(|_| limit.ask(slowest, 0)).count() as u64;
    assert_eq!(let_in, most, "a burst of a hundred years is no burst without end");
    let fastest = Pace::of("10000000/s".parse().unwrap(), Some(1));
    assert_eq!(fastest.interval, 100);
    assert_eq!(pace(fastest, 0, u64::MAX), Ok(u64::MAX), "after 584 years");
    assert_eq!(pace(Pace { interval: u64::MAX, burst: 1 }, 0, 5), Ok(u64::MAX));
}

proptest! {
    // Whatever somebody owes to another rule that held before.
    #[test]
    fn who_owes_to_a_slower_rule_waits_for_this_one_only(rule in rules(), backlog in any::<u64>(), now in 0..1_u64 << 60) {
        let due = now.saturating_add(backlog);
        let owed = owed(rule, due, now);
        let whole = rule.interval * u64::from(rule.burst);
        prop_assert!(owed <= due && owed - now <= whole);
        prop_assert_eq!(pace(rule, due, now), pace(rule, owed, now));
        prop_assert_eq!(pace(rule, due, now).is_ok(), backlog <= whole - rule.interval, "it lets nobody in");
        if let Err(wait) = pace(rule, due, now) {
            prop_assert!(wait <= rule.interval);
            prop_assert!(pace(rule, owed, now + wait).is_ok());
        }
    }
}

#[test]
fn a_quota_lets_in_while_anything_is_left() {
    assert!(quota(10, 0) && quota(10, 9));
    assert!(!quota(10, 10) && !quota(10, 11) && !quota(0, 0));
}
