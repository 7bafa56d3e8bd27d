//! Any query and body of parameters: what is fixed goes upstream once, with its own value, whoever reads it; and what goes
//! upstream stays what it is when it is read again.
//!
//! The input is a line, the query; a line, the `Content-Type` of the body; and the body, none where it is empty.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use percent_encoding::percent_decode_str;
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::json;
use tollgate::config::scalar::TenantName;
use tollgate::exchange::caller::{Caller, CallerKind, Facts, Identity, PipeScope, TenantOf};
use tollgate::exchange::captures::Captures;
use tollgate::exchange::grant::{Circumstances, Grant};
use tollgate::exchange::refusal::Refusal;
use tollgate::pipeline::params::watch::Nobody;
use tollgate::pipeline::params::{Bound, ParameterBody, Params, Sent, is_control_name};

/// Tries these bytes.
pub fn holds(bytes: &[u8]) {
    static POLICIES: OnceLock<Vec<(Params, Grant)>> = OnceLock::new();
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (query, media, body) = (line(), line(), line());
    let Ok(query) = std::str::from_utf8(query) else { return };
    let mut headers = HeaderMap::new();
    if let Ok(media) = HeaderValue::from_bytes(media) {
        headers.insert(header::CONTENT_TYPE, media);
    }
    let Ok(body) = ParameterBody::read(&Method::POST, &headers, Bytes::copy_from_slice(body)) else { return };
    for (rules, grant) in POLICIES.get_or_init(policies) {
        let sent = Sent { query, body: body.clone() };
        if let Ok(bound) = bind(rules, grant, sent) {
            judge(&bound);
            let again = Sent { query: &bound.query, body: bound.body.clone() };
            assert_eq!(bind(rules, grant, again).as_ref(), Ok(&bound), "it is not read as it was written");
        }
    }
}

fn bind(rules: &Params, grant: &Grant, sent: Sent<'_>) -> Result<Bound, Refusal> {
    let captures = Captures::default();
    rules.bind(sent, grant, Circumstances { captures: &captures, host: "a.example" }, &mut Nobody)
}

/// What keeps tenants apart, in each of the places where it can be said; each fixes the company to `acme`.
fn policies() -> Vec<(Params, Grant)> {
    let rules = |section| Params::compile(&serde_json::from_value(section).expect("a section of parameters"));
    let fixed = json!({ "company_id": "{tenant}" });
    vec![
        (rules(json!({ "fixed": fixed })), grant(&[])),
        (rules(json!({ "fixed": fixed, "allow": ["a", "limit"], "default": { "limit": "5" } })), grant(&[])),
        (rules(json!({ "fixed": fixed, "conflict": "refuse" })), grant(&[("Company_Id", "acme")])),
        (rules(json!({ "default": { "company_id": "everybody", "a": "b&c" } })), grant(&[("company_id", "acme")])),
        (rules(json!({})), grant(&[("company_id", "acme")])),
    ]
}

/// A verified credential of `acme`, whose token fixes these parameters.
fn grant(fixed: &[(&str, &str)]) -> Grant {
    let tenant: TenantName = "acme".parse().expect("a name");
    let fixed = fixed.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let scope = PipeScope { resource: "top".into(), fixed: Some(fixed), tenant: TenantOf::One(tenant.clone()) };
    let identity = Identity {
        kind: CallerKind::TinybirdJwt,
        provider: "dashboards".into(),
        id: "page".into(),
        bearer: "page".into(),
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

fn judge(bound: &Bound) {
    let mut found = pairs(&bound.query);
    match &bound.body {
        None => {}
        Some(ParameterBody::Form(bytes)) => found.extend(pairs(std::str::from_utf8(bytes).expect("UTF-8"))),
        Some(ParameterBody::Json(bytes)) => {
            let keys = serde_json::Deserializer::from_slice(bytes).deserialize_map(Keys).expect("an object");
            found.extend(keys.iter().map(|key| (understood(key), "in the body".to_owned())));
        }
    }
    let companies = found.iter().filter(|(name, _)| name == "company_id").map(|(_, value)| value);
    assert_eq!(companies.collect::<Vec<_>>(), ["acme"], "{bound:?}");
    for (name, _) in &found {
        assert!(!is_control_name(name), "{name} in {bound:?}");
    }
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
