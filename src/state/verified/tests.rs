use serde_json::{Map, Value, json};

use super::*;
use crate::exchange::caller::{CallerKind, Facts, TenantOf};

fn identity(claims: Value) -> Arc<Identity> {
    let Value::Object(claims) = claims else { panic!("claims are an object") };
    Arc::new(Identity {
        kind: CallerKind::Jwt,
        provider: "p".into(),
        id: "ada".into(),
        bearer: Default::default(),
        plan: None,
        tenant: TenantOf::Nobody,
        scopes: None,
        facts: Facts::Claims(claims),
        pipes: Box::default(),
        rps: None,
        workspace: None,
        until: None,
        token: None,
    })
}

/// Payloads of about 12 KiB, and how many pieces of what size each of them is made of.
fn payloads() -> Vec<(&'static str, Value, usize)> {
    let one: Map<String, Value> = [(String::new(), json!(0))].into_iter().collect();
    // The tree of an object has room for eleven members as soon as there is one.
    let leaf = 11 * (size_of::<String>() + size_of::<Value>());
    let texts: Vec<String> = (0..3_000).map(|_| "a".to_owned()).collect();
    let names: Map<String, Value> = (0..1_500).map(|index| (format!("{index:04}"), json!(0))).collect();
    let deep = (0..100).fold(json!(0), |inner, _| json!({ "": [inner] }));
    vec![
        ("one text", json!({ "a": "x".repeat(12_000) }), leaf + 12_000),
        ("tiny objects", json!({ "a": vec![Value::Object(one); 2_000] }), leaf + 2_000 * (leaf + size_of::<Value>())),
        ("tiny texts", json!({ "a": texts }), leaf + 3_000 * (size_of::<Value>() + 24)),
        ("many names", Value::Object(names), 1_500 * (size_of::<String>() + size_of::<Value>() + 24)),
        ("deep ones", json!({ "a": deep }), 101 * leaf + 100 * size_of::<Value>()),
    ]
}

#[test]
fn d5_a_token_weighs_what_is_kept_of_it() {
    for (what, claims, bytes) in payloads() {
        let weight = weight::of(&identity(claims));
        let rest = size_of::<Identity>() + 64;
        assert!(weight >= bytes && weight <= 2 * bytes + rest, "{what}: {weight} for {bytes}");
    }
}

#[test]
fn d5_however_many_tokens_are_sent_few_are_kept() {
    for (what, claims, bytes) in payloads() {
        let identity = identity(claims);
        let verified = Verified::default();
        for index in 0..10_000 {
            verified.keep(Entry::of(&format!("{what} {index}")).under(1, 1), Arc::clone(&identity));
        }
        let most = CAPACITY / bytes as u64;
        assert!(verified.len() as u64 <= most && !verified.is_empty(), "{what}: {} of {most}", verified.len());
    }
}

#[test]
fn a_token_is_found_only_under_who_verified_it_with_the_same_keys() {
    let (verified, identity) = (Verified::default(), identity(json!({})));
    let entry = Entry::of("a.b.c");
    verified.keep(entry.under(1, 7), identity);
    assert!(verified.find(entry.under(1, 7)).is_some());
    for other in [entry.under(2, 7), entry.under(1, 8), entry.under(7, 1), Entry::of("a.b.d").under(1, 7)] {
        assert!(verified.find(other).is_none(), "{other:?}");
    }
}
