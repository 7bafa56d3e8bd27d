//! Names of buckets: each has its own, and can be read again.

use proptest::prelude::*;

use crate::state::counters::{Mode, Pace, Rule};

use super::*;

fn ask<'a>(name: &'a str, values: Values<'a>) -> Ask<'a> {
    Ask { name, values, rule: Rule::Rate(Pace { interval: 1, burst: 1 }), mode: Mode::Enforced, reserve: 1 }
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9/+~%\\[\\].:-]{0,4}", ".{0,3}", Just("10.0.0.1".to_owned()), Just("[10.0.0.1]".to_owned())]
}

fn values() -> impl Strategy<Value = Vec<OwnValue>> {
    let value = prop_oneof![
        Just(OwnValue::Missing),
        any::<IpAddr>().prop_map(OwnValue::Network),
        Just(OwnValue::Network(IpAddr::V4([10, 0, 0, 1].into()))),
        [words(), words(), words()].prop_map(OwnValue::Text),
    ];
    prop::collection::vec(value, 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    // What can be read again cannot be the name of another bucket.
    #[test]
    fn a_name_says_which_bucket_it_is(name in words(), values in values()) {
        let named = Named { name, values };
        let text = text(&ask(named.name(), named.values()));
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{}", text);
        prop_assert_eq!(Named::read(&text), Some(named), "{}", text);
    }

    #[test]
    fn any_text_is_read_without_a_fault(text in ".{0,40}") {
        _ = Named::read(&text);
    }

    #[test]
    fn different_asks_are_different_buckets(one in (words(), values()), other in (words(), values())) {
        let (one, other) = (Named { name: one.0, values: one.1 }, Named { name: other.0, values: other.1 });
        let buckets = Buckets::default();
        let of = |named: &Named| buckets.of_rate(named.name(), &named.values());
        prop_assert_eq!(of(&one) == of(&other), one == other);
    }
}

#[test]
fn names_can_be_read_by_people() {
    let of = |values: Values<'_>| text(&ask("per_tenant", values));
    assert_eq!(of([Value::word("acme")].into_iter().collect()), "per_tenant/acme");
    assert_eq!(of([Value::Missing, Value::word("")].into_iter().collect()), "per_tenant/~/");
    assert_eq!(of([Value::word("~")].into_iter().collect()), "per_tenant/%7E");
    assert_eq!(of([Value::Text(["idp", "", "user 1"])].into_iter().collect()), "per_tenant/idp++user%201");
    assert_eq!(of([Value::network([10, 0, 0, 1].into())].into_iter().collect()), "per_tenant/[10.0.0.1]");
    assert_eq!(of(Values::new()), "per_tenant");
}

#[test]
fn one_caller_has_a_whole_network_of_ipv6() {
    let of = |address: &str| Value::network(address.parse().unwrap());
    assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff:ffff:ffff:ffff"));
    assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"), "an IPv4 address in other words");
    assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
}

#[test]
fn what_is_missing_is_unlike_any_text() {
    let buckets = Buckets::default();
    let of = |value: Value<'static>| buckets.of_rate("r", &[value].into_iter().collect());
    for word in ["", "~", "Missing", "\0"] {
        assert_ne!(of(Value::Missing), of(Value::word(word)), "{word:?}");
    }
}
