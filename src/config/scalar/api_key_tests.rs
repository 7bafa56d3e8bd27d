use proptest::prelude::*;

use super::*;

fn fresh() -> ApiKey {
    generate(&KeyPrefix::default()).unwrap()
}

#[test]
fn a_key_is_what_the_documentation_says() {
    let key = fresh();
    assert_eq!(key.expose().len(), "tgk_".len() + ID + 1 + SECRET + CHECKSUM);
    let parts = parse(key.expose()).unwrap();
    assert_eq!(parts, Parts { prefix: "tgk", id: key.id().as_str() });
    assert!(!format!("{key:?}").contains(key.expose()), "its secret is not shown");
    assert!(key.id().as_str().starts_with(|c: char| c.is_ascii_alphabetic()));
    // From the definition, with zlib's CRC-32 and `sha256sum`: keys that exist must go on working.
    let known = "tgk_k7GqAAAAAAAA_0000000000000000000000000000000000000000000";
    let digits = String::from_utf8(checksum_of(known).to_vec()).unwrap();
    assert_eq!(digits, KNOWN_CHECKSUM);
    let known = format!("{known}{digits}");
    assert_eq!(parse(&known), Some(Parts { prefix: "tgk", id: "k7GqAAAAAAAA" }));
    assert_eq!(KeyHash::of(&known).to_string(), KNOWN_HASH);
}

const KNOWN_CHECKSUM: &str = "2fsDeq";
const KNOWN_HASH: &str = "f5aec81564853cc3dc7f6d35891b70b2648db851c62fe37bea634f37c7c905a5";

#[test]
fn two_keys_are_never_the_same_and_use_every_character() {
    let keys: Vec<ApiKey> = (0..200).map(|_| fresh()).collect();
    let mut ids: Vec<&str> = keys.iter().map(|key| key.id().as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), keys.len());
    let secrets: String = keys.iter().filter_map(|key| key.expose().get(17..60)).collect();
    for digit in BASE62 {
        // 139 are expected of each; fewer than 60 or more than 240 happen once in many billion runs.
        let count = secrets.bytes().filter(|byte| byte == digit).count();
        assert!((60..240).contains(&count), "{} occurs {count} times", char::from(*digit));
    }
}

#[test]
fn what_is_no_key_has_no_parts() {
    let key = fresh();
    let text = key.expose();
    for bad in [
        "",
        "_",
        "tgk_",
        "ééé_ééé_ééé",
        &text.to_uppercase(),
        &format!("{text}0"),
        &format!(" {text}"),
        &text.replacen("tgk", "t", 1),
        &text.replacen("tgk", "Tgk", 1),
        &text.replacen("tgk", "tg_k", 1),
        text.get(1..).unwrap(),
        text.get(..text.len() - 1).unwrap(),
    ] {
        assert_eq!(parse(bad), None, "{bad}");
    }
}

#[test]
fn hashes_are_compared_whole() {
    let (a, b) = (KeyHash::of("a"), KeyHash::of("b"));
    assert!(a.is_same(&KeyHash::of("a")) && !a.is_same(&b));
    for at in 0..32 {
        let mut other = a;
        other.0[at] ^= 1;
        assert!(!a.is_same(&other), "byte {at}");
    }
    assert_eq!(a.to_string().to_uppercase().parse::<KeyHash>().unwrap(), a);
    assert!(!format!("{a:?}").contains(&a.to_string()));
    for bad in ["", "ab", &"g".repeat(64), &"é".repeat(32), &format!("+{}", "a".repeat(63))] {
        assert!(bad.parse::<KeyHash>().is_err(), "{bad}");
    }
}

#[test]
fn secrets_are_found_in_text() {
    let key = fresh();
    let text = key.expose();
    for (before, after) in [("", ""), ("key: \"", "\""), ("# KEY=", " x"), ("a_", "…")] {
        let line = format!("{before}{text}{after}");
        let found = find(&line);
        assert_eq!(found.len(), 1, "{line}");
        assert!(line.get(found[0].clone()).unwrap().contains(text));
    }
    assert_eq!(find(&format!("{text}, {text}")).len(), 2);
    assert_eq!(find(text.get(..40).unwrap()).len(), 1, "a part of it");
    for innocent in [
        key.id().as_str(),
        &key.hash().to_string(),
        "tgk_k7GqAAAAAAAA_…",
        "report_transactions_bycustomerandregion",
        "",
    ] {
        assert!(find(innocent).is_empty(), "{innocent}");
    }
}

#[test]
fn prefixes_and_ids_are_checked() {
    for good in ["tgk", "ab", "a1", "abcdefghijklmnop"] {
        assert!(good.parse::<KeyPrefix>().is_ok(), "{good}");
    }
    for bad in ["", "a", "1a", "A1", "a_b", "abcdefghijklmnopq", "é1"] {
        assert!(bad.parse::<KeyPrefix>().is_err(), "{bad}");
    }
    assert!("k7GqAAAAAAAA".parse::<KeyId>().is_ok());
    for bad in ["", "k7Gq", "k7GqAAAAAAAAA", "k7Gq_AAAAAAA"] {
        assert!(bad.parse::<KeyId>().is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn a_key_reads_back(prefix in "[a-z][a-z0-9]{1,15}") {
        let key = generate(&prefix.parse().unwrap()).unwrap();
        prop_assert_eq!(parse(key.expose()), Some(Parts { prefix: &prefix, id: key.id().as_str() }));
        prop_assert_eq!(key.hash().to_string().parse::<KeyHash>().unwrap(), key.hash());
        prop_assert_eq!(KeyHash::of(key.expose()), key.hash());
    }

    #[test]
    fn one_other_character_is_always_noticed(at in 0_usize..66, other in proptest::char::any()) {
        let key = fresh();
        let mut characters: Vec<char> = key.expose().chars().collect();
        prop_assume!(characters[at] != other);
        characters[at] = other;
        let changed: String = characters.into_iter().collect();
        prop_assert_eq!(parse(&changed), None);
    }

    #[test]
    fn two_neighbours_that_changed_places_are_always_noticed(at in 0_usize..65) {
        let key = fresh();
        let mut characters: Vec<char> = key.expose().chars().collect();
        // Between the secret and its checksum that is only very likely.
        prop_assume!(at != 59 && characters[at] != characters[at + 1]);
        characters.swap(at, at + 1);
        let changed: String = characters.into_iter().collect();
        prop_assert_eq!(parse(&changed), None);
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,100}|[a-z0-9_]{0,100}") {
        let _ = (parse(&text), find(&text), text.parse::<KeyHash>(), text.parse::<KeyId>(), text.parse::<KeyPrefix>());
    }
}
