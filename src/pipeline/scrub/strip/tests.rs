use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn names(keys: &[&str]) -> Names {
    let keys: Vec<AnswerKey> = keys.iter().map(|key| key.parse().unwrap()).collect();
    Names::compile(&keys)
}

/// The document, in pieces that are cut at these places.
fn stripped_in(text: &[u8], cuts: &[usize], keys: &[&str]) -> Vec<u8> {
    let mut strip = Strip::new(names(keys));
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    cuts.push(0);
    cuts.push(text.len());
    cuts.sort_unstable();
    let mut out = Vec::new();
    for pair in cuts.windows(2) {
        out.extend_from_slice(&strip.piece(&Bytes::copy_from_slice(&text[pair[0]..pair[1]])));
    }
    out.extend_from_slice(&strip.end());
    out
}

/// However it is cut, it is the same.
#[track_caller]
fn stripped(text: &str) -> String {
    let whole = stripped_in(text.as_bytes(), &[], &["statistics", "meta"]);
    let bytes: Vec<usize> = (0..text.len()).collect();
    assert_eq!(stripped_in(text.as_bytes(), &bytes, &["statistics", "meta"]), whole, "byte by byte: {text}");
    for cut in 0..text.len() {
        assert_eq!(stripped_in(text.as_bytes(), &[cut], &["statistics", "meta"]), whole, "cut at {cut}: {text}");
    }
    String::from_utf8(whole).unwrap()
}

const ANSWER: &str = r#"{
	"meta":
	[
		{ "name": "n", "type": "UInt64" }
	],

	"data":
	[
		{ "n": 18446744073709551615, "statistics": {"a": [1]}, "meta": "\"}" }
	],

	"rows": 1,

	"statistics":
	{
		"elapsed": 0.0125,
		"rows_read": 100000
	}
}
"#;

#[test]
fn an_answer_of_the_upstream_loses_what_is_named_and_nothing_else() {
    let expected = r#"{

	"data":
	[
		{ "n": 18446744073709551615, "statistics": {"a": [1]}, "meta": "\"}" }
	],

	"rows": 1
}
"#;
    assert_eq!(stripped(ANSWER), expected);
    assert_eq!(stripped_in(ANSWER.as_bytes(), &[7], &["rows_before_limit_at_least"]), ANSWER.as_bytes());
}

#[test]
fn commas_are_right_wherever_it_stands() {
    for (text, expected) in [
        (r#"{"statistics":1}"#, "{}"),
        (r#"{"statistics":1,"meta":2}"#, "{}"),
        (r#"{"statistics":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"a":2,"statistics":1}"#, r#"{"a":2}"#),
        (r#"{"a":2,"statistics":1,"b":3}"#, r#"{"a":2,"b":3}"#),
        (r#"{"statistics":1,"meta":{},"a":2,"meta":[],"b":3,"statistics":"x"}"#, r#"{"a":2,"b":3}"#),
        ("{ \"statistics\" : 1 , \"a\" : 2 }", "{ \"a\" : 2 }"),
        ("{ \"a\" : 2 , \"statistics\" : 1 }", "{ \"a\" : 2  }"),
        (" {} ", " {} "),
        ("\u{feff}{\"meta\":1}", "\u{feff}{}"),
        (r#"{"":1,"meta":2}"#, r#"{"":1}"#),
    ] {
        assert_eq!(stripped(text), expected, "{text}");
    }
}

#[test]
fn a_name_counts_however_it_is_written() {
    for written in [r"stat\u0069stics", r"\u0073\u0074\u0061\u0074\u0069\u0073\u0074\u0069\u0063\u0073"] {
        assert_eq!(stripped(&format!("{{\"a\":1,\"{written}\":{{}}}}")), r#"{"a":1}"#);
    }
    for other in ["Statistics", "statistics ", "statistic", r"statistics\n", r"statistics\", r"\ud800", r"\x", "métas"]
    {
        let text = format!("{{\"a\":1,\"{other}\":{{}}}}");
        assert_eq!(stripped(&text), text);
    }
    let smile = stripped_in(r#"{"\ud83d\ude00":1,"x":2}"#.as_bytes(), &[5], &["😀"]);
    assert_eq!(smile, br#"{"x":2}"#);
}

#[test]
fn values_of_every_kind_go_whole() {
    for value in [
        "0",
        "-1.5e+10",
        "true",
        "null",
        r#""}\",\\""#,
        "[]",
        "[[{}],[\"]\"]]",
        r#"{"a":{"statistics":[]},"b":"{"}"#,
        "18446744073709551616",
    ] {
        assert_eq!(stripped(&format!("{{\"meta\":{value},\"a\":1}}")), r#"{"a":1}"#);
        assert_eq!(stripped(&format!("{{\"a\":1,\"meta\" : {value} }}")), r#"{"a":1 }"#);
        let kept = format!("{{\"a\":{value}}}");
        assert_eq!(stripped(&kept), kept);
    }
}

#[test]
fn what_is_no_object_passes() {
    for text in [
        "",
        " ",
        "[{\"meta\":1}]",
        "\"meta\"",
        "12",
        "null",
        "a,b\n\"meta\",2\n",
        "<html>",
        "{\"a\":1}\n{\"meta\":1}\n",
    ] {
        assert_eq!(stripped(text), text);
    }
}

#[test]
fn from_where_it_is_broken_everything_passes() {
    for (text, expected) in [
        (r#"{"meta":1"#, r#"{"#),
        (r#"{"a":1,"statis"#, r#"{"a":1,"statis"#),
        (r#"{"meta":1,"statis"#, r#"{"statis"#),
        (r#"{"meta":1,,"statistics":2}"#, r#"{,"statistics":2}"#),
        (r#"{"meta":1 "statistics":2}"#, r#"{ "statistics":2}"#),
        (r#"{"a" 1,"meta":2}"#, r#"{"a" 1,"meta":2}"#),
        (r#"{"a":[}],"meta":2}"#, r#"{"a":[}],"meta":2}"#),
        (r#"{"meta":[}],"a":2}"#, r#"{}],"a":2}"#),
        (r#"{"a":1}}{"meta":2}"#, r#"{"a":1}}{"meta":2}"#),
        (r#"{"a":1,}"#, r#"{"a":1,}"#),
        (r#"{,"meta":1}"#, r#"{,"meta":1}"#),
        (r#"{"a":1"meta":2}"#, r#"{"a":1"meta":2}"#),
        (r#"{'meta':1}"#, r#"{'meta':1}"#),
    ] {
        assert_eq!(stripped(text), expected, "{text}");
    }
}

#[test]
fn nothing_grows_with_what_is_sent() {
    let blank = " ".repeat(10 * MAX_BLANK);
    for (text, expected) in [
        (format!("{{\"a\":1,{blank}\"b\":2}}"), json!({ "a": 1, "b": 2 })),
        (format!("{{\"a\":1,{blank}\"meta\":2}}"), json!({ "a": 1 })),
        (format!("{{\"meta\":1,{blank}\"a\":2}}"), json!({ "a": 2 })),
        (format!("{{\"meta\":1{blank},{blank}\"meta\":2{blank}}}"), json!({})),
        (format!("{{{blank}\"meta\"{blank}:{blank}1{blank},\"a\":2{blank}}}"), json!({ "a": 2 })),
    ] {
        let mut strip = Strip::new(names(&["meta"]));
        let mut out = Vec::new();
        for piece in text.as_bytes().chunks(7) {
            out.extend_from_slice(&strip.piece(&Bytes::copy_from_slice(piece)));
            assert!(strip.held.len() <= MAX_BLANK + 64 && strip.name.len() <= 64, "{}", strip.held.len());
        }
        out.extend_from_slice(&strip.end());
        assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
    }
    let long = format!("{{\"{}\":1,\"meta\":2}}", "n".repeat(100_000));
    let cuts: Vec<usize> = (0..100).map(|cut| cut * 997).collect();
    assert_eq!(stripped_in(long.as_bytes(), &cuts, &["meta"]), long.replace(",\"meta\":2", "").as_bytes());
    let deep = format!("{{\"a\":{}{},\"meta\":2}}", "[".repeat(50_000), "]".repeat(50_000));
    assert_eq!(stripped_in(deep.as_bytes(), &cuts, &["meta"]), deep.replace(",\"meta\":2", "").as_bytes());
}

#[test]
fn what_stays_is_not_copied() {
    let rows = Bytes::from(format!("{{\"data\":[{}1]", "{\"n\":1},".repeat(1000)));
    let mut strip = Strip::new(names(&["meta"]));
    let out = strip.piece(&rows);
    assert_eq!((out.as_ptr(), out.len()), (rows.as_ptr(), rows.len()));
}

/// Documents in every writing: order, white space, escapes and numbers as they come.
fn value(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<u64>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        text(),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    prop_oneof![
        4 => leaf,
        1 => (proptest::collection::vec(value(depth - 1), 0..4), blank())
            .prop_map(|(items, blank)| format!("[{blank}{}{blank}]", items.join(&format!("{blank},")))),
        2 => object(depth - 1),
    ]
    .boxed()
}

fn object(depth: u32) -> BoxedStrategy<String> {
    let member = (name(), value(depth), blank(), blank())
        .prop_map(|(name, value, before, behind)| format!("{before}{name}{behind}:{before}{value}{behind}"));
    (proptest::collection::vec(member, 0..6), blank())
        .prop_map(|(members, blank)| match members.is_empty() {
            true => format!("{{{blank}}}"),
            false => format!("{{{}}}", members.join(",")),
        })
        .boxed()
}

fn name() -> BoxedStrategy<String> {
    prop_oneof![
        Just("\"statistics\"".to_owned()),
        Just("\"meta\"".to_owned()),
        Just(r#""stat\u0069stics""#.to_owned()),
        Just(r#""\u006deta""#.to_owned()),
        Just(r#""meta\"""#.to_owned()),
        text(),
    ]
    .boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        "[a-z{}\\[\\],: ]{0,8}".prop_map(|text| Value::from(text).to_string()),
        "(\\\\\\\\|\\\\\"|\\\\u00e9|x){0,4}".prop_map(|inner| format!("\"{inner}\"")),
    ]
    .boxed()
}

fn blank() -> BoxedStrategy<String> {
    prop_oneof![3 => Just(String::new()), 1 => "[ \n\r\t]{0,4}"].boxed()
}

/// The slow and obvious reading: the members of the document with their values as they are written.
fn members(text: &[u8]) -> Option<Vec<(String, String)>> {
    struct Members(Vec<(String, String)>);
    impl<'de> serde::Deserialize<'de> for Members {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Members;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                    let mut members = Vec::new();
                    while let Some((name, value)) = map.next_entry::<String, Box<serde_json::value::RawValue>>()? {
                        members.push((name, value.get().to_owned()));
                    }
                    Ok(Members(members))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    serde_json::from_slice::<Members>(text).ok().map(|members| members.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn of_any_document_the_other_members_stay_as_they_are_written(
        text in object(3),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let keys = ["statistics", "meta"];
        let out = stripped_in(text.as_bytes(), &cuts, &keys);
        let mut expected = members(text.as_bytes()).expect("what is made here is JSON");
        let before = expected.len();
        expected.retain(|(name, _)| !keys.contains(&name.as_str()));
        let left = members(&out);
        prop_assert_eq!(left.as_ref(), Some(&expected), "{}", String::from_utf8_lossy(&out));
        if before == expected.len() {
            prop_assert_eq!(&out, text.as_bytes());
        }
        prop_assert!(stripped_in(&out, &[], &keys) == out, "twice is once");
    }

    #[test]
    fn what_is_no_json_is_cut_alike_everywhere_and_never_grows(
        text in proptest::collection::vec(prop_oneof![
            Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just(":"), Just("\""), Just("\\"), Just(" "),
            Just("\"meta\""), Just("\"meta\":1"), Just("\"a\""), Just("1"), Just("x"), Just("\u{e9}"),
        ], 0..24),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let text = text.concat();
        let whole = stripped_in(text.as_bytes(), &[], &["meta"]);
        prop_assert_eq!(&stripped_in(text.as_bytes(), &cuts, &["meta"]), &whole);
        prop_assert!(whole.len() <= text.len());
        let mut rest = text.bytes();
        prop_assert!(whole.iter().all(|byte| rest.any(|other| other == *byte)), "only taken from");
        if !text.contains("\"meta\"") {
            prop_assert_eq!(whole, text.as_bytes());
        }
    }

    #[test]
    fn a_broken_off_document_is_the_beginning_of_the_whole_one(text in object(3), end in any::<prop::sample::Index>()) {
        let keys = ["statistics", "meta"];
        let part = &text.as_bytes()[..end.index(text.len() + 1)];
        let mut strip = Strip::new(names(&keys));
        let sure = strip.piece(&Bytes::copy_from_slice(part));
        let whole = stripped_in(text.as_bytes(), &[], &keys);
        prop_assert!(whole.starts_with(&sure), "nothing leaves before it is known that it may");
    }
}

#[test]
fn an_object_of_serde_is_found_again() {
    let mut object: Map<String, Value> = Map::new();
    object.insert("data".to_owned(), json!([{ "meta": 1 }]));
    let plain = Value::Object(object.clone()).to_string();
    object.insert("meta".to_owned(), json!({ "data": [] }));
    object.insert("statistics".to_owned(), json!([null]));
    assert_eq!(stripped(&Value::Object(object).to_string()), plain);
}
