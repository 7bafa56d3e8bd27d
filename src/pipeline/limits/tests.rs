use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::TestClock;
use crate::config::section::limits::By;
use crate::state::counters::{Counters, Receipt};

fn limit(name: &str, by: &str, rest: &str) -> (String, Section) {
    let text = format!("{{\"by\": {by}, {rest}}}");
    (name.to_owned(), serde_json::from_str(&text).unwrap())
}

fn sections() -> BTreeMap<String, Section> {
    BTreeMap::from([
        limit("day", r#""tenant""#, r#""quota": "10/day""#),
        limit("flood", r#"["route", "ip"]"#, r#""rate": "5/s""#),
        limit("mixed", r#"["ip", "caller"]"#, r#""rate": "5/s""#),
        limit("trial", r#""gateway""#, r#""rate": "1/m", "dry_run": true"#),
        limit("wide", r#""gateway""#, r#""rate": "100/m", "burst": 20"#),
    ])
}

fn names(asks: &Asks<'_>) -> Vec<String> {
    asks.asks.iter().map(|ask| ask.name.to_owned()).collect()
}

#[test]
fn a_limit_is_asked_once_at_its_moment_wherever_it_is_attached() {
    let sections = sections();
    let book = Book::compile(&sections);
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let server = book.attach(&list(&["wide", "flood", "wide"]));
    let route = book.attach(&list(&["flood", "mixed", "day", "wide"]));
    let asked = |moment| names(&Asks::of([&server, &route], moment, &Subject::default(), |_| 1));
    assert_eq!(asked(Moment::Arrival), ["flood"]);
    assert_eq!(asked(Moment::Admission), ["wide", "mixed", "day"]);
    assert!(server.any(Moment::Arrival) && route.any(Moment::Admission));
    assert!(!book.attach(&list(&["day"])).any(Moment::Arrival));
    assert_eq!(book.limits().map(|limit| limit.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn only_what_is_known_before_a_credential_is_by_address() {
    for (by, is_by_address) in [
        (r#""ip""#, true),
        (r#"["ip", "route"]"#, true),
        (r#"["host", "ip"]"#, true),
        (r#"["ip", "tenant"]"#, false),
        (r#"["caller", "ip"]"#, false),
        (r#""gateway""#, false),
        (r#""host""#, false),
    ] {
        assert_eq!(serde_json::from_str::<By>(by).unwrap().is_by_address(), is_by_address, "{by}");
    }
}

fn standing(total: u64, remaining: u64, wait: u64) -> Standing {
    let wait = Duration::from_millis(wait);
    Standing { total, remaining, passes: wait.is_zero(), wait, whole: Duration::from_millis(1_500) }
}

fn judged(names: &[&str], standings: &[Standing], spent: Result<Receipt, NotSpent>) -> Judgement {
    let sections = sections();
    let book = Book::compile(&sections);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let place = book.attach(&names);
    let asks = Asks::of([&place], Moment::Admission, &Subject::default(), |_| 1);
    asks.judge(&Answer { standings: standings.iter().copied().collect(), spent })
}

#[test]
fn the_tightest_is_told_and_the_longest_wait() {
    // day 0, wide 4.
    let all = ["day", "wide"];
    let is = |judgement: &Judgement| judgement.report.and_then(|report| report.limit());
    let judgement = judged(&all, &[standing(10, 5, 0), standing(20, 9, 0)], Ok(Receipt::default()));
    assert_eq!((is(&judgement), judgement.refusal.is_none()), (Some(4), true));
    let judgement = judged(&all, &[standing(10, 4, 0), standing(20, 9, 0)], Ok(Receipt::default()));
    assert_eq!(is(&judgement), Some(0));
    let judgement = judged(&all, &[standing(10, 9, 0), standing(20, 0, 700)], Err(NotSpent::Refused));
    assert_eq!((is(&judgement), judgement.refused_by), (Some(4), Some(4)));
    assert_eq!(judgement.refusal, Some(Refusal::RateLimited { retry_after: 1 }));
    let judgement = judged(&all, &[standing(10, 0, 3_000), standing(20, 0, 700)], Err(NotSpent::Refused));
    assert_eq!((judgement.refused_by, judgement.refusal), (Some(0), Some(Refusal::QuotaExhausted { retry_after: 3 })));
}

#[test]
fn a_limit_on_trial_is_never_told_to_callers() {
    let judgement = judged(&["trial", "wide"], &[standing(1, 0, 60_000), standing(20, 19, 0)], Ok(Receipt::default()));
    assert_eq!(judgement.would_refuse.as_slice(), [3]);
    assert_eq!(judgement.report.and_then(|report| report.limit()), Some(4));
    let judgement = judged(&["trial"], &[standing(1, 0, 60_000)], Ok(Receipt::default()));
    assert!(judgement.report.is_none() && judgement.refusal.is_none());
}

#[test]
fn nobody_is_let_in_where_nothing_is_known_and_that_is_wanted() {
    let judgement = judged(&["wide"], &[standing(20, 20, 0)], Err(NotSpent::Unknown));
    assert_eq!(judgement.refusal, Some(Refusal::Overloaded { retry_after: 5 }));
    assert!(judgement.report.is_none() && judgement.refused_by.is_none(), "no limit refused, and none shows room");
}

#[test]
fn headers_are_those_of_the_draft() {
    let sections = sections();
    let book = Book::compile(&sections);
    let text = |name: &str, standing| {
        let limit = book.limits().find(|limit| *limit.name == *name).unwrap();
        let headers = limit.headers(&Report::of(Some(limit.index), standing));
        headers.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
    };
    assert_eq!(
        text("wide", standing(20, 0, 200)),
        [
            r#"ratelimit-policy: "wide";q=20;w=12"#,
            r#"ratelimit: "wide";r=0;t=2"#,
            "x-ratelimit-limit: 20",
            "x-ratelimit-remaining: 0",
            "x-ratelimit-reset: 1",
        ]
    );
    assert_eq!(text("day", standing(10, 3, 0))[0], r#"ratelimit-policy: "day";q=10;w=86400"#);
    let token = Report::of(None, standing(5, 4, 0)).headers_of_token();
    assert_eq!(token.map(|(_, value)| value)[1], r#""token";r=4;t=2"#);
}

proptest! {
    #[test]
    fn who_differs_in_one_thing_that_is_told_apart_has_another_count(
        tenants in prop::array::uniform2(prop::option::of("[a-c]{1,2}")),
        bearers in prop::array::uniform2(prop::option::of("[a-c+/]{0,2}")),
        by in prop::sample::subsequence(vec!["tenant", "caller"], 1..=2),
    ) {
        let by = serde_json::to_string(&by).unwrap();
        let sections = BTreeMap::from([limit("l", &by, r#""rate": "1/day""#)]);
        let book = Book::compile(&sections);
        let place = book.attach(&["l".to_owned()]);
        let counters = Counters::new(TestClock::new().clock());
        let spend = |index: usize| {
            let subject = Subject {
                tenant: tenants[index].as_deref(),
                caller: bearers[index].as_deref().map(|bearer| ("p", bearer)),
                ..Subject::default()
            };
            let asks = Asks::of([&place], Moment::Admission, &subject, |_| 1);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(counters.spend(&asks.asks)).spent.is_ok()
        };
        prop_assert!(spend(0));
        // A caller is told apart from those of other tenants; without one it is nobody in particular.
        let same_tenant = tenants[0] == tenants[1];
        let same_caller = bearers[0] == bearers[1] && (bearers[0].is_none() || same_tenant);
        let same = (!by.contains("tenant") || same_tenant) && (!by.contains("caller") || same_caller);
        prop_assert_eq!(spend(1), !same);
    }
}
