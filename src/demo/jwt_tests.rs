use super::*;

#[test]
fn a_token_signed_elsewhere_is_read() {
    // Python's hmac and base64; no `alg`, no `iat`, fractions of a second.
    let claims = Claims::read(ELSEWHERE, at(1_790_000_000.5)).unwrap();
    assert_eq!(claims.name, "ann");
    assert_eq!(claims.payload["workspace_id"], WORKSPACE_ID);
    let fixed = [("debug", "false"), ("limit", "3"), ("tenant_id", "acme")];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut found = claims.fixed_for(pipe("top_pages")).unwrap().to_vec();
    found.sort();
    assert_eq!(found, fixed);
    assert_eq!(claims.fixed_for(pipe("kpis")), None);
    assert_eq!(Claims::read(ELSEWHERE, at(1_790_000_000.75)), Err("Invalid token: it has expired"));
}

#[test]
fn alg_is_not_read() {
    for header in ["{}", r#"{"alg":"none"}"#, r#"{"alg":"RS256","kid":"x"}"#, r#"{"alg":7}"#] {
        let token = sealed(header, &payload().to_string(), ADMIN_TOKEN);
        assert!(Claims::read(&token, at(0.0)).is_ok(), "{header}");
    }
}

#[test]
fn the_whole_admin_token_is_the_key() {
    let payload = payload().to_string();
    let last = ADMIN_TOKEN.rsplit_once('.').unwrap().1;
    for key in [last, "", "p.another", ADMIN_TOKEN.strip_prefix("p.").unwrap()] {
        let token = sealed("{}", &payload, key);
        assert_eq!(Claims::read(&token, at(0.0)), Err("Invalid token: wrong signature"), "{key}");
    }
}

#[test]
fn a_payload_that_lacks_something_opens_nothing() {
    let wrong: [(&str, Value); 14] = [
        ("exp", Value::Null),
        ("exp", json!("1790000000")),
        ("exp", json!(99)),
        ("exp", json!(100.0)),
        ("workspace_id", Value::Null),
        ("workspace_id", json!("11111111-0000-4000-8000-0000000000d3")),
        ("name", Value::Null),
        ("name", json!(7)),
        ("scopes", Value::Null),
        ("scopes", json!({ "type": "PIPES:READ", "resource": "kpis" })),
        ("scopes", json!([{ "type": "PIPES:READ" }])),
        ("scopes", json!([{ "resource": "kpis" }])),
        ("scopes", json!([{ "type": "PIPES:READ", "resource": "kpis", "fixed_params": [] }])),
        ("scopes", json!([{ "type": "PIPES:READ", "resource": "kpis", "fixed_params": { "tenant_id": ["acme"] } }])),
    ];
    for (name, value) in wrong {
        let mut payload = payload();
        payload[name] = value.clone();
        let said = Claims::read(&sign(&payload), at(100.0)).unwrap_err();
        assert!(said.starts_with("Invalid token: "), "{name}: {value}: {said}");
    }
}

#[test]
fn what_is_not_a_token_is_refused() {
    let token = sign(&payload());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    for wrong in [
        "",
        ".",
        "..",
        "a.b.c",
        signed,
        &format!("{token}."),
        &format!(".{token}"),
        &format!("{token}="),
        &format!("{signed}.x.{signature}"),
        &format!("{signed}x.{signature}"),
        &sealed("[]", "{}", ADMIN_TOKEN),
        &sealed("{}", "[]", ADMIN_TOKEN),
        &sealed("{}", "{", ADMIN_TOKEN),
    ] {
        assert!(Claims::read(wrong, at(0.0)).unwrap_err().starts_with("Invalid token"), "{wrong}");
    }
}

#[test]
fn scopes_name_pipes_by_name_or_id_and_the_last_counts() {
    let scope = |kind: &str, resource: &str, tenant: &str| json!({ "type": kind, "resource": resource, "fixed_params": { "tenant_id": tenant } });
    let mut payload = payload();
    payload["scopes"] = json!([
        scope("PIPES:READ", "kpis", "acme"),
        scope("PIPES:READ", &pipe("kpis").id(), "beta"),
        scope("DATASOURCES:READ", "trend", "acme"),
        scope("PIPES:READ", "TOP_PAGES", "acme"),
    ]);
    let claims = Claims::read(&sign(&payload), at(0.0)).unwrap();
    assert_eq!(claims.fixed_for(pipe("kpis")), Some(&[("tenant_id".to_owned(), "beta".to_owned())][..]));
    assert_eq!(claims.fixed_for(pipe("trend")), None);
    assert_eq!(claims.fixed_for(pipe("top_pages")), None);
}

#[test]
fn zero_and_less_are_no_limit() {
    for (limits, most) in [
        (json!({ "rps": 10 }), Some(10.0)),
        (json!({ "rps": 0.5 }), Some(0.5)),
        (json!({ "rps": 0 }), None),
        (json!({ "rps": -1 }), None),
        (json!({}), None),
        (Value::Null, None),
    ] {
        let mut payload = payload();
        payload["limits"] = limits;
        assert_eq!(Claims::read(&sign(&payload), at(0.0)).unwrap().most_per_second(), most);
    }
}

#[test]
fn an_order_becomes_a_token_that_can_be_read() {
    let body = json!({ "name": "ann", "scopes": payload()["scopes"], "limits": { "rps": 3 } }).to_string();
    let issued = issue("expiration_time=200", body.as_bytes()).unwrap();
    let claims = Claims::read(issued["token"].as_str().unwrap(), at(199.9)).unwrap();
    assert_eq!((claims.name.as_str(), claims.most_per_second()), ("ann", Some(3.0)));
    assert!(issue("", body.as_bytes()).is_err());
    assert!(issue("expiration_time=200", b"{}").is_err());
    assert!(issue("expiration_time=200", b"[]").is_err());
    let named = issue("expiration_time=200&name=bob", b"{\"scopes\":[]}").unwrap();
    assert_eq!(named["name"], "bob");
}

#[test]
fn the_admin_token_is_long_enough_to_be_a_key() {
    assert!(ADMIN_TOKEN.len() >= 32);
}

fn payload() -> Value {
    let scopes = json!([{ "type": "PIPES:READ", "resource": "kpis", "fixed_params": { "tenant_id": "acme" } }]);
    json!({ "workspace_id": WORKSPACE_ID, "name": "tests", "exp": 1_000, "scopes": scopes })
}

/// A token from texts, so that they need not be what they should.
fn sealed(header: &str, payload: &str, key: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
}

fn pipe(name: &str) -> &'static Pipe {
    Pipe::find(name).unwrap()
}

fn at(seconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

const ELSEWHERE: &str = "eyJ0eXAiOiJKV1QifQ.eyJ3b3Jrc3BhY2VfaWQiOiIwMDAwMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwZDMiLCJuYW1lIjoiYW5uIiwiZXhwIjoxNzkwMDAwMDAwLjc1LCJzY29wZXMiOlt7InR5cGUiOiJQSVBFUzpSRUFEIiwicmVzb3VyY2UiOiJ0b3BfcGFnZXMiLCJmaXhlZF9wYXJhbXMiOnsidGVuYW50X2lkIjoiYWNtZSIsImxpbWl0IjozLCJkZWJ1ZyI6ZmFsc2V9fV19.L5vHDPSebbfkz7T1Xi5i8fofUBI1C6f9yTDVaCOk8Co";
