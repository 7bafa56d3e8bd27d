//! What is counted, under many keys and on many threads.

use std::sync::atomic::{AtomicU32, Ordering};

use smallvec::smallvec;

use crate::clock::TestClock;
use crate::config::scalar::Window;
use crate::config::section::limits::Cost;

use super::super::bucket::{Bucket, Value};
use super::*;
use crate::state::counters::{Allowance, Costs};

/// Counters of which few are wanted.
const MOST: usize = 1 << 13;

fn ask<'a>(name: &'a str, who: &'a str, rule: Rule) -> Ask<'a> {
    Ask { name, values: smallvec![Value::word(who)], rule, mode: Mode::Enforced, reserve: 1 }
}

/// So many at once, and one each second.
fn rate<'a>(name: &'a str, who: &'a str, burst: u32) -> Ask<'a> {
    ask(name, who, Rule::Rate(Pace { interval: 1_000_000_000, burst }))
}

fn quota<'a>(name: &'a str, who: &'a str, amount: u64) -> Ask<'a> {
    costly(name, who, amount, Cost::One)
}

fn costly<'a>(name: &'a str, who: &'a str, amount: u64, cost: Cost) -> Ask<'a> {
    ask(name, who, Rule::Quota(Allowance { amount, window: Window::Day, anchor: None, cost, assumed: 7 }))
}

fn memory() -> (TestClock, Memory) {
    let time = TestClock::new();
    let memory = Memory::new(time.clock(), MOST);
    (time, memory)
}

fn is_let_in(memory: &Memory, ask: &Ask<'_>) -> bool {
    memory.spend(std::slice::from_ref(ask)).spent.is_ok()
}

fn remaining(answer: &Answer) -> Vec<u64> {
    answer.standings.iter().map(|standing| standing.remaining).collect()
}

#[test]
fn a_burst_comes_at_once_and_then_one_after_the_other() {
    let (time, memory) = memory();
    let ask = rate("r", "acme", 3);
    for left in [2, 1, 0] {
        let answer = memory.spend(std::slice::from_ref(&ask));
        assert!(answer.spent.is_ok());
        assert_eq!(remaining(&answer), [left]);
        assert!(answer.standings[0].passes);
        let next = Duration::from_secs(u64::from(left == 0));
        assert_eq!(answer.standings[0].wait, next, "until the next is let in");
    }
    let answer = memory.spend(std::slice::from_ref(&ask));
    assert_eq!(answer.spent.unwrap_err(), NotSpent::Refused);
    assert_eq!(answer.standings[0].wait, Duration::from_secs(1));
    assert_eq!(answer.standings[0].whole, Duration::from_secs(3));
    assert!(is_let_in(&memory, &rate("r", "beta", 3)), "others are not held up");
    assert!(is_let_in(&memory, &rate("other", "acme", 3)), "nor is another limit used up");
    time.advance(answer.standings[0].wait);
    assert!(is_let_in(&memory, &ask), "who waits as long as was said is let in");
    assert!(!is_let_in(&memory, &ask));
}

#[test]
fn a_quota_ends_with_its_stretch() {
    let (time, memory) = memory();
    let ask = quota("q", "acme", 2);
    assert!(is_let_in(&memory, &ask) && is_let_in(&memory, &ask));
    let answer = memory.spend(std::slice::from_ref(&ask));
    assert_eq!(answer.spent.unwrap_err(), NotSpent::Refused);
    time.advance(answer.standings[0].wait - Duration::from_nanos(1));
    assert!(!is_let_in(&memory, &ask));
    time.advance(Duration::from_nanos(1));
    assert!(is_let_in(&memory, &ask), "who waits as long as was said is let in");
    assert_eq!(memory.look(&ask).remaining, 1);
}

#[test]
fn all_are_spent_or_none_and_every_one_is_told() {
    let (_, memory) = memory();
    let asks = [rate("wide", "acme", 10), rate("tight", "acme", 1), quota("q", "acme", 5)];
    assert_eq!(remaining(&memory.spend(&asks)), [9, 0, 4]);
    let answer = memory.spend(&asks);
    assert!(answer.spent.is_err());
    assert_eq!(remaining(&answer), [9, 0, 4], "a refused request spends nothing");
    let waits: Vec<bool> = answer.standings.iter().map(|standing| standing.wait.is_zero()).collect();
    assert_eq!(waits, [true, false, true]);
    assert_eq!(memory.look(&asks[0]).remaining, 9);
    assert_eq!(memory.look(&asks[2]).remaining, 4);
}

#[test]
fn the_longest_wait_is_known_where_several_refuse() {
    let (_, memory) = memory();
    let asks = [rate("short", "acme", 1), quota("long", "acme", 1)];
    assert!(memory.spend(&asks).spent.is_ok());
    let answer = memory.spend(&asks);
    assert!(answer.spent.is_err());
    assert_eq!(answer.standings[0].wait, Duration::from_secs(1));
    assert!(answer.standings[1].wait > Duration::from_secs(60));
}

#[test]
fn a_dry_run_counts_as_if_it_refused_and_refuses_nobody() {
    let (time, memory) = memory();
    let dry = Ask { mode: Mode::DryRun, ..rate("dry", "acme", 1) };
    let asks = [dry, rate("wet", "acme", 3)];
    assert!(memory.spend(&asks).spent.is_ok());
    let second = memory.spend(&asks);
    assert!(!second.standings[0].wait.is_zero(), "it says what it would do");
    assert!(second.spent.is_ok());
    time.advance(Duration::from_secs(1));
    assert!(memory.look(&asks[0]).wait.is_zero(), "who would have been refused took nothing");
    memory.refund(&second.spent.unwrap(), Back::Everything);
    assert_eq!(memory.look(&asks[0]).remaining, 1, "and gives nothing back");
    while memory.spend(&asks[1..]).spent.is_ok() {}
    assert!(memory.spend(&asks).spent.is_err());
    assert_eq!(memory.look(&asks[0]).remaining, 1, "a request that another limit refuses takes nothing of it");
}

#[test]
fn what_is_refunded_can_be_spent_again() {
    let (_, memory) = memory();
    let asks = [rate("r", "acme", 2), quota("q", "acme", 2)];
    let receipt = memory.spend(&asks).spent.unwrap();
    assert_eq!([memory.look(&asks[0]).remaining, memory.look(&asks[1]).remaining], [1, 1]);
    memory.refund(&receipt, Back::Everything);
    assert_eq!([memory.look(&asks[0]).remaining, memory.look(&asks[1]).remaining], [2, 2]);
}

#[test]
fn x3_what_time_has_given_back_is_not_given_back_again() {
    let (time, memory) = memory();
    let ask = rate("r", "acme", 1);
    let receipt = memory.spend(std::slice::from_ref(&ask)).spent.unwrap();
    time.advance(Duration::from_secs(1));
    assert!(is_let_in(&memory, &ask));
    memory.refund(&receipt, Back::Everything);
    assert!(!is_let_in(&memory, &ask), "two at once, of a limit of one a second");
}

#[test]
fn costs_replace_what_was_reserved() {
    let (time, memory) = memory();
    let ask = Ask { reserve: 100, ..costly("scan", "acme", 1000, Cost::RowsRead) };
    let spend = || memory.spend(std::slice::from_ref(&ask)).spent.unwrap();
    let used = || 1000 - memory.look(&ask).remaining;
    let receipt = spend();
    assert_eq!(used(), 100);
    assert!(receipt.awaits_costs());
    memory.settle(&receipt, &Bill::Exactly(Costs { rows_read: Some(30), ..Costs::default() }));
    assert_eq!(used(), 30);
    memory.settle(&spend(), &Bill::Exactly(Costs { bytes_read: Some(1), ..Costs::default() }));
    assert_eq!(used(), 37, "where the answer does not say what it cost, it cost what is assumed");
    let late = spend();
    time.advance(Duration::from_secs(86_400));
    memory.sweep();
    memory.settle(&late, &Bill::Exactly(Costs { rows_read: Some(900), ..Costs::default() }));
    assert_eq!(used(), 0, "what began yesterday is not charged today");
    assert_eq!(memory.fill()[1].own, 0, "nor does it bring yesterday back");
}

#[test]
fn a_request_in_flight_counts_before_it_is_known_what_it_costs() {
    let (_, memory) = memory();
    let ask = Ask { reserve: 400, ..costly("scan", "acme", 1000, Cost::RowsRead) };
    let let_in = (0..10).filter(|_| is_let_in(&memory, &ask)).count();
    assert_eq!(let_in, 3, "as many as are needed to use it up");
}

#[test]
fn a_limit_that_counts_something_else_begins_anew() {
    let (_, memory) = memory();
    let rows = Ask { reserve: 1 << 40, ..costly("scan", "acme", 1 << 41, Cost::RowsRead) };
    assert!(is_let_in(&memory, &rows));
    assert_eq!(memory.look(&quota("scan", "acme", 100)).remaining, 100);
}

#[test]
fn a_reset_is_of_one_bucket() {
    let (_, memory) = memory();
    let asks = [rate("r", "acme", 1), quota("q", "acme", 1)];
    let others = [rate("r", "beta", 1), quota("q", "beta", 1)];
    assert!(memory.spend(&asks).spent.is_ok() && memory.spend(&others).spent.is_ok());
    asks.iter().for_each(|ask| memory.reset(ask));
    assert!(memory.spend(&others).spent.is_err());
    assert!(memory.spend(&asks).spent.is_ok());
}

#[test]
fn a_copy_is_as_full_as_what_it_follows_and_no_fuller() {
    let (time, memory) = memory();
    let asks = [rate("r", "acme", 3), quota("q", "acme", 5)];
    for _ in 0..10 {
        memory.note(&asks);
    }
    assert_eq!(memory.look(&asks[0]).remaining, 0, "no fresh burst");
    assert_eq!(memory.look(&asks[1]).remaining, 0);
    time.advance(Duration::from_secs(1));
    assert!(is_let_in(&memory, &asks[0]), "nobody owes more than a burst");
    let receipt = memory.note(&asks[..1]);
    memory.refund(&receipt, Back::Everything);
    assert!(!is_let_in(&memory, &asks[0]));
}

#[test]
fn x4_a_million_keys_grow_nothing_and_reset_nothing() {
    let (_, memory) = memory();
    let hot = [rate("r", "hot", 5), quota("q", "hot", 5)];
    assert_eq!((0..10).filter(|_| memory.spend(&hot).spent.is_ok()).count(), 5);
    let mut let_in = 0;
    for number in 0..1_000_000 {
        let who = format!("sprayed-{number}");
        let_in += usize::from(memory.spend(&[rate("r", &who, 2), quota("q", &who, 2)]).spent.is_ok());
        if number % 1000 == 0 {
            assert!(memory.spend(&hot).spent.is_err(), "after {number} keys");
        }
    }
    let newcomer = [rate("r", "a newcomer", 2), quota("q", "a newcomer", 2)];
    let answer = memory.spend(&newcomer);
    assert!(answer.spent.is_err() && answer.standings.iter().all(|standing| !standing.wait.is_zero()));
    assert_eq!(memory.look(&newcomer[0]).remaining, 0, "what is told is what is shared");
    let [rates, quotas] = memory.fill();
    for (what, fill) in [("rates", rates), ("quotas", quotas)] {
        assert!(fill.own <= MOST / 4 && fill.own >= MOST / 8, "{what}: {fill:?}");
        assert!((1..=128).contains(&fill.shared), "{what}: one for each limit and shard: {fill:?}");
        assert!(fill.bytes < 200 * MOST, "{what}: {fill:?}");
    }
    assert!(let_in <= MOST / 2 + 2 * 128, "a key that is new and has no room gets no burst of its own: {let_in}");
}

/// By address, which needs no credential.
fn from_address<'a>(number: u32, rule: Rule) -> Ask<'a> {
    let values = smallvec![Value::network(std::net::Ipv4Addr::from(number).into())];
    Ask { name: "flood", values, rule, mode: Mode::Enforced, reserve: 1 }
}

#[test]
fn x4_spraying_addresses_takes_no_room_from_tenants() {
    let (time, memory) = memory();
    let (pace, allowance) = (rate("", "", 2).rule, quota("", "", 2).rule);
    for number in 0..4 * MOST as u32 {
        _ = memory.spend(&[from_address(number, pace), from_address(number, allowance)]);
    }
    let sprayed = memory.fill();
    assert!(sprayed.iter().all(|fill| fill.shared > 0 && fill.own <= MOST / 4), "{sprayed:?}");
    for number in 0..100 {
        let who = format!("tenant-{number}");
        let asks = [rate("r", &who, 2), quota("q", &who, 2)];
        for left in [1, 0] {
            assert_eq!(remaining(&memory.spend(&asks)), [left; 2], "{who} has counters of its own");
        }
        assert!(memory.spend(&asks).spent.is_err());
    }
    assert_eq!(memory.fill().map(|fill| fill.own), sprayed.map(|fill| fill.own + 100));
    let mut named = rate("flood", "acme", 2);
    named.values.push(from_address(1 << 30, pace).values[0]);
    assert!(!is_let_in(&memory, &named), "who is told apart by an address, too, is among the addresses");
    time.advance(Duration::from_secs(3 * 86_400));
    memory.sweep();
    assert_eq!(memory.fill().map(|fill| (fill.own, fill.shared)), [(0, 0); 2]);
}

#[test]
fn what_is_taken_of_an_address_can_be_given_back() {
    let (_, memory) = memory();
    let asks = [from_address(1, rate("", "", 2).rule), from_address(1, quota("", "", 2).rule)];
    let receipt = memory.spend(&asks).spent.unwrap();
    memory.refund(&receipt, Back::Everything);
    assert_eq!([memory.look(&asks[0]).remaining, memory.look(&asks[1]).remaining], [2, 2]);
    assert!(memory.spend(&asks).spent.is_ok());
    asks.iter().for_each(|ask| memory.reset(ask));
    assert_eq!([memory.look(&asks[0]).remaining, memory.look(&asks[1]).remaining], [2, 2]);
}

#[test]
fn a_wall_clock_that_leaps_ahead_and_is_set_right_erases_nothing() {
    let (time, memory) = memory();
    let ask = quota("q", "acme", 5);
    assert!(is_let_in(&memory, &ask));
    time.set_wall_ahead(3 * 86_400);
    for _ in 0..5 {
        memory.sweep();
        time.advance(Duration::from_secs(600));
    }
    assert_eq!(memory.look(&ask).remaining, 5, "another day, as far as anybody knows");
    time.set_wall_ahead(0);
    memory.sweep();
    assert_eq!(memory.look(&ask).remaining, 4);
    time.set_wall_ahead(3 * 86_400);
    memory.sweep();
    time.advance(Duration::from_secs(3_600));
    memory.sweep();
    assert_eq!(memory.fill()[1].own, 0, "a clock that goes on from there is right");
}

#[test]
fn a_full_table_drops_nothing_by_a_leap_either() {
    let (time, memory) = memory();
    let hot = quota("q", "hot", 1);
    assert!(is_let_in(&memory, &hot));
    time.set_wall_ahead(3 * 86_400);
    for number in 0..MOST {
        is_let_in(&memory, &quota("q", &format!("sprayed-{number}"), 1));
    }
    time.set_wall_ahead(0);
    assert!(!is_let_in(&memory, &hot));
}

#[test]
fn a_clock_that_is_set_back_by_an_hour_loses_nothing_and_refuses_nobody() {
    let (time, memory) = memory();
    let (spent, ample) = (quota("q", "spent", 1), quota("q", "ample", 3));
    let both = |asks: &[Ask<'_>]| asks.iter().for_each(|ask| assert!(is_let_in(&memory, ask)));
    both(&[spent.clone(), ample.clone(), rate("r", "acme", 2)]);
    time.set_wall_ahead(-3_600);
    memory.sweep();
    assert!(!is_let_in(&memory, &spent));
    assert_eq!(memory.look(&ample).remaining, 2);
    both(&[ample.clone(), rate("r", "acme", 2)]);
    time.set_wall_ahead(0);
    // Half an hour into the next day.
    time.advance(memory.look(&spent).wait + Duration::from_secs(1_800));
    memory.sweep();
    both(&[spent.clone(), ample.clone()]);
    time.set_wall_ahead(-3_600);
    memory.sweep();
    assert!(!is_let_in(&memory, &spent), "what was used of the day before is known");
    assert_eq!(memory.look(&ample).remaining, 1);
    assert!(memory.look(&spent).wait <= Duration::from_secs(1_800), "until the day begins by this clock");
    time.set_wall_ahead(0);
    memory.sweep();
    assert_eq!(memory.look(&ample).remaining, 2);
}

struct Until(u64);

impl table::Counter for Until {
    fn has_lapsed(&self, now: u64) -> bool {
        self.0 <= now
    }
}

/// A number, all in one shard, and until when it counts.
struct Guest(u64, u64);

impl table::Comer<Until> for Guest {
    fn own(&self) -> Bucket {
        Bucket(self.0, 0)
    }

    fn shared(&self) -> Bucket {
        Bucket(u64::MAX, 0)
    }

    fn fresh(&self, _: table::Place) -> Until {
        Until(self.1)
    }
}

#[test]
fn x4_a_full_table_is_swept_though_the_clock_was_set_back() {
    let table = table::Table::new(64 * 256, 10);
    let has_own = |guest: Guest, now: u64| table.count(&guest, now, |_| ()).0 == guest.own();
    for number in 0..64 {
        assert!(has_own(Guest(number, if number < 3 { 90_000 } else { 1_000_000 }), 80_000));
    }
    // Little is freed, so the next sweep is put off; then the clock is set back.
    assert!(has_own(Guest(100, 1_000_000), 90_000));
    assert!(has_own(Guest(101, 50_100), 50_000) && has_own(Guest(102, 50_100), 50_000));
    assert!(!has_own(Guest(103, 60_000), 50_001));
    assert!(!has_own(Guest(104, 60_000), 50_002));
    assert!(has_own(Guest(105, 60_000), 50_100), "there is room again, long before the clock comes where it was");
}

#[test]
fn x4_room_comes_back_when_the_spraying_ends() {
    let (time, memory) = memory();
    for number in 0..3 * MOST {
        is_let_in(&memory, &rate("r", &format!("sprayed-{number}"), 1));
    }
    assert!(memory.fill()[0].shared > 0);
    let before = memory.fill()[0].bytes;
    time.advance(Duration::from_secs(1));
    let somebody = rate("r", "somebody", 2);
    assert!(is_let_in(&memory, &somebody) && is_let_in(&memory, &somebody), "a counter of their own");
    memory.sweep();
    let fill = memory.fill()[0];
    assert_eq!((fill.own, fill.shared), (1, 0));
    assert!(fill.bytes < before / 10, "memory is given back");
}

#[test]
fn x4_a_full_table_is_not_searched_at_every_request() {
    let (time, memory) = memory();
    let slow = |who: &str| is_let_in(&memory, &rate("r", who, 1));
    for number in 0..MOST {
        slow(&format!("sprayed-{number}"));
    }
    let full = memory.fill()[0].own;
    // Half of it lapses, and a shard is looked at only after a while.
    time.advance(Duration::from_millis(99));
    slow("newcomer");
    assert_eq!(memory.fill()[0].own, full);
}

#[test]
fn threads_that_meet_let_in_exactly_what_there_is() {
    let (_, memory) = memory();
    let (wide, tight, sum) = (500, 300, 200);
    let let_in = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (memory, let_in) = (&memory, &let_in);
            scope.spawn(move || {
                let mut asks = [rate("wide", "acme", wide), rate("tight", "acme", tight), quota("sum", "acme", sum)];
                // The order must not matter.
                asks.rotate_left(number % 3);
                for _ in 0..1000 {
                    let_in.fetch_add(u32::from(memory.spend(&asks).spent.is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(u64::from(let_in.into_inner()), sum);
    assert_eq!(memory.look(&rate("wide", "acme", wide)).remaining, 300, "who was refused gave everything back");
    assert_eq!(memory.look(&rate("tight", "acme", tight)).remaining, 100);
}

#[test]
fn a_raised_rate_helps_at_once_whoever_else_refuses() {
    let clock = TestClock::new();
    let memory = Memory::new(clock.clock(), MOST);
    let pace = |name, interval, burst| ask(name, "acme", Rule::Rate(Pace { interval, burst }));
    let slow = [pace("a", 720_000_000_000, 5), pace("b", 720_000_000_000, 5)];
    for _ in 0..5 {
        assert!(memory.spend(&slow).spent.is_ok());
    }
    let fast = [pace("a", 1_000_000, 1_000), pace("b", 1_000_000, 1_000)];
    let wait = memory.spend(&fast).standings.iter().map(|standing| standing.wait).max();
    assert_eq!(wait, Some(Duration::from_millis(1)));
    clock.advance(Duration::from_millis(1));
    assert!(memory.spend(&fast).spent.is_ok(), "who waited as told");
    assert!(memory.spend(&fast).spent.is_err(), "and no burst is given away");
    clock.advance(Duration::from_secs(1));
    assert_eq!(memory.look(&fast[1]).remaining, 1_000);
}
