//! Whatever a caller sends, the upstream sees the tenant's value once: against a reading that takes every spelling for the
//! same name, as some upstream may.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, header};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::watch::Nobody;
use super::*;
use crate::config::scalar::TenantName;
use crate::exchange::caller::{Caller, CallerKind, Facts, Identity, PipeScope, TenantOf};
use crate::exchange::captures::Captures;

/// A verified credential of `acme`, whose token fixes these parameters.
fn grant(fixed: &[(&str, &str)]) -> Grant {
    let tenant: TenantName = "acme".parse().unwrap();
    let fixed = fixed.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let scope = PipeScope { resource: "top".into(), fixed: Some(fixed), tenant: TenantOf::One(tenant.clone()) };
    let identity = Identity {
        kind: CallerKind::TinybirdJwt,
        provider: "dashboards".into(),
        id: "page".into(),
        bearer: Default::default(),
        plan: None,
        tenant: TenantOf::Nobody,
        scopes: None,
        facts: Facts::Claims(serde_json::Map::new()),
        pipes: Box::new([scope]),
        rps: None,
        workspace: None,
        until: None,
        token: None,
    };
    Grant { caller: Caller::Known(Arc::new(identity)), tenant: Some(tenant), pipe: Some(0) }
}

fn rules(json: serde_json::Value) -> Params {
    Params::compile(&serde_json::from_value(json).unwrap())
}

/// What keeps tenants apart, in each of the places where it can be said.
fn policies() -> Vec<(Params, Grant)> {
    let route = serde_json::json!({ "fixed": { "company_id": "{tenant}" } });
    let listed = serde_json::json!({ "fixed": { "company_id": "{tenant}" }, "allow": ["a", "limit"] });
    let suggested = serde_json::json!({ "default": { "company_id": "everybody", "Company_Id": "all" } });
    vec![
        (rules(route.clone()), grant(&[])),
        (rules(listed), grant(&[])),
        (rules(route), grant(&[("Company_Id", "acme")])),
        (rules(suggested), grant(&[("company_id", "acme")])),
        (rules(serde_json::json!({})), grant(&[("company_id", "acme")])),
    ]
}

/// The name as the most generous upstream understands it: decoded again and again, without case, blanks, array suffixes
/// and control characters.
fn understood(name: &str) -> String {
    let mut name = name.to_owned();
    for _ in 0..3 {
        name = percent_decode_str(&name).decode_utf8_lossy().replace('+', " ");
    }
    let bare = name.split(['[', ']']).next().unwrap_or_default();
    let visible = bare.chars().filter(|c| !c.is_whitespace() && !c.is_control() && *c != '\u{feff}');
    visible.collect::<String>().to_lowercase()
}

/// Names and values of a query or a form, separated by `&` and by `;`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let each = text.split(['&', ';']).filter(|pair| !pair.is_empty());
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    each.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (understood(name), decoded(value)))
        .collect()
}

/// The names of an object, duplicates included.
struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut keys = Vec::new();
        while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            keys.push(key);
        }
        Ok(keys)
    }
}

/// Every value for the company that the upstream can find.
fn companies(bound: &Bound) -> Vec<String> {
    let mut found = pairs(&bound.query);
    match &bound.body {
        None => {}
        Some(ParameterBody::Form(bytes)) => found.extend(pairs(std::str::from_utf8(bytes).unwrap())),
        Some(ParameterBody::Json(bytes)) => {
            let keys = serde_json::Deserializer::from_slice(bytes).deserialize_map(Keys).unwrap();
            found.extend(keys.iter().map(|key| (understood(key), "in the body".to_owned())));
        }
    }
    found.into_iter().filter(|(name, _)| name == "company_id").map(|(_, value)| value).collect()
}

fn spelling() -> impl Strategy<Value = String> {
    let letters = prop::sample::select(vec![
        "company_id",
        "Company_Id",
        "COMPANY_ID",
        "company%5Fid",
        "%63ompany_id",
        "c%6Fmpany%5fid",
    ]);
    let odd = prop::sample::select(vec![
        "company%255fid",
        "company_id%00",
        "%00company_id",
        "+company_id",
        "company_id+",
        "%20company_id",
        "company_id%20",
        "company_id%0d%0a",
        "%EF%BB%BFcompany_id",
        "company_id%C2%A0",
        "company_id%ff",
        "%c3%83ompany_id",
        "company_id\u{0}",
        "company\u{ff3f}id",
        "ｃompany_id",
        "x;company_id",
        ";company_id",
        "company_id;x",
        "&company_id",
        "company_id&x",
        "company_id%3D",
        "=company_id",
    ]);
    let suffix =
        prop::sample::select(vec!["", "", "", "[]", "[0]", "%5B%5D", "[a][b]", "[", "]", ".x", "%5b0%5D", "[]%20"]);
    prop_oneof![4 => letters, 3 => odd]
        .prop_flat_map(move |name| suffix.clone().prop_map(move |suffix| format!("{name}{suffix}")))
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec!["evil", "", "acme", "evil,acme", "%65vil", "evil+acme", "1;company_id=evil", "1%26company_id%3Devil", "=", "%", "%zz"])
            .prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ]
}

fn form() -> impl Strategy<Value = String> {
    let other = prop::sample::select(vec!["a", "limit", "b[]", "token", "A", "from", "company", "company_id2"])
        .prop_map(str::to_owned);
    let pair =
        (prop_oneof![3 => spelling(), 2 => other], value(), prop::sample::select(vec!["=", "=", "=", "", "==", "%3D"]));
    let pair = pair.prop_map(|(name, value, equals)| format!("{name}{equals}{value}"));
    let joined = (prop::collection::vec(pair, 0..5), prop::sample::select(vec!["&", "&", "&&", ";", "&;"]));
    joined.prop_map(|(pairs, separator)| pairs.join(separator))
}

fn json() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "company_id",
        "Company_Id",
        "company\\u005fid",
        "\\u0063ompany_id",
        "company_id[]",
        "company_id[0]",
        "company_id ",
        "company_id\\u0000",
        "\\ufeffcompany_id",
        "company%5fid",
        "a",
        "limit",
        "token",
        "\\ud83d",
        "",
        "company_id\\n",
    ]);
    let value = prop::sample::select(vec![
        "\"evil\"",
        "null",
        "1",
        "true",
        "[\"evil\"]",
        "[]",
        "{\"company_id\":\"evil\"}",
        "[[\"evil\"]]",
        "\"\"",
        "\"a\\u0026company_id=evil\"",
        "1e999",
        "-0",
    ]);
    let member = (key, value).prop_map(|(key, value)| format!("\"{key}\":{value}"));
    let ends = prop::sample::select(vec![
        ("{", "}"),
        ("{", "}"),
        ("{", "}"),
        (" {\n", "\t}\n"),
        ("[{", "}]"),
        ("{", "}{}"),
        ("\u{feff}{", "}"),
    ]);
    (prop::collection::vec(member, 0..5), ends)
        .prop_map(|(members, (begin, end))| format!("{begin}{}{end}", members.join(",")))
}

fn body() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let kinds = prop::sample::select(vec![
        "application/x-www-form-urlencoded",
        "application/json",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "application/json;charset=utf-16",
        "application/x-www-form-urlencoded; charset=utf-7",
        "APPLICATION/JSON",
        "text/plain",
        "",
        "application/json, text/plain",
        "multipart/form-data; boundary=x",
        "application/x-ndjson",
        "application/json; charset=\"utf-8\"",
    ]);
    let text = prop_oneof![
        3 => form().prop_map(String::into_bytes),
        3 => json().prop_map(String::into_bytes),
        1 => form().prop_map(|text| text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        1 => Just(b"--x\r\nContent-Disposition: form-data; name=\"company_id\"\r\n\r\nevil\r\n--x--\r\n".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    (kinds, text)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn p1_p2_p3_p4_the_tenants_value_reaches_the_upstream_once(query in form(), body in prop::option::of(body())) {
        let mut headers = HeaderMap::new();
        let read = match body {
            None => Ok(None),
            Some((kind, bytes)) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
                ParameterBody::read(&Method::POST, &headers, Bytes::from(bytes))
            }
        };
        let Ok(body) = read else { return Ok(()) };
        let captures = Captures::default();
        for (rules, grant) in policies() {
            let around = Circumstances { captures: &captures, host: "a.example" };
            let bound = rules.bind(Sent { query: &query, body: body.clone() }, &grant, around, &mut Nobody);
            if let Ok(bound) = bound {
                prop_assert_eq!(companies(&bound), ["acme"], "{:?} of {:?} {:?}", bound, query, body);
            }
        }
    }
}

#[test]
fn p1_requests_that_are_right_are_not_refused() {
    for (rules, grant) in policies() {
        let captures = Captures::default();
        let around = Circumstances { captures: &captures, host: "a.example" };
        let body = Some(ParameterBody::Json(Bytes::from_static(br#"{"a":1,"company_id":"evil"}"#)));
        let bound = rules.bind(Sent { query: "limit=5&Company_Id=evil", body }, &grant, around, &mut Nobody).unwrap();
        assert_eq!(companies(&bound), ["acme"], "{bound:?}");
        assert!(bound.query.starts_with("limit=5"), "{bound:?}");
    }
}
