use proptest::prelude::*;

use super::watch::Nobody;
use super::*;
use crate::exchange::captures::Captures;

fn params(yaml: &str) -> Params {
    let text = format!(
        "upstreams: {{t: {{url: 'http://127.0.0.1:1'}}}}\nroutes:\n  /x/{{who}}:\n    pipe: p\n    params: {yaml}\n"
    );
    let environment = crate::config::interpolate::Environment::of([]);
    let loaded = crate::config::load_text("t.yaml", &text, Default::default(), &environment);
    let config = loaded.unwrap_or_else(|issues| panic!("{issues}")).config;
    Params::compile(&config.routes.values().next().unwrap().params)
}

fn captures() -> Captures {
    Captures(vec![("who".into(), "t1".into())])
}

fn bind(rules: &Params, query: &str, captures: &Captures, body: Option<ParameterBody>) -> Result<Bound, Refusal> {
    let around = Circumstances { captures, host: "a.example" };
    rules.bind(Sent { query, body }, &Grant::open(), around, &mut Nobody)
}

fn query(rules: &Params, query: &str) -> Result<String, Refusal> {
    bind(rules, query, &captures(), None).map(|bound| bound.query)
}

fn json(rules: &Params, body: &str) -> Result<String, Refusal> {
    let bound = bind(rules, "", &captures(), Some(ParameterBody::Json(Bytes::copy_from_slice(body.as_bytes()))))?;
    Ok(String::from_utf8(bound.body.unwrap().bytes().to_vec()).unwrap())
}

fn fixed() -> Params {
    params("{fixed: {tenant_id: '{path.who}'}, allow_public_tenant: true}")
}

#[test]
fn p1_a_fixed_parameter_stands_exactly_once() {
    for given in ["tenant_id=x", "tenant_id=t1&tenant_id=x", "tenant_id", "a=1&tenant_id=x&tenant_id=y"] {
        let bound = query(&fixed(), given).unwrap();
        assert_eq!(bound.matches("tenant_id").count(), 1, "{given} -> {bound}");
        assert!(bound.ends_with("tenant_id=t1"), "{bound}");
    }
}

#[test]
fn p2_p3_odd_spellings_fall_or_are_refused() {
    for given in [
        "tenant%5Fid=x",
        "%74enant_id=x",
        "tenant_id%00=x",
        "+tenant_id=x",
        "tenant_id[]=x",
        "tenant_id[0]=x",
        ";tenant_id=x",
        "%EF%BB%BFtenant_id=x",
        "Tenant_Id=x",
        "TENANT_ID=x",
        "tenant_id%5B%5D=x",
        "a=1;tenant_id=x",
        "%ff=1",
        "tenant_id%0d%0a=x",
    ] {
        if let Ok(bound) = query(&fixed(), given) {
            assert_eq!(bound.to_lowercase().matches("tenant_id=").count(), 1, "{given} -> {bound}");
            assert!(bound.ends_with("tenant_id=t1"), "{bound}");
        }
    }
}

#[test]
fn p5_control_parameters_are_refused_and_tokens_dropped() {
    let free = params("{}");
    for given in [
        "q=1",
        "Q=1",
        "%71=1",
        "explain=true",
        "debug_source_tables=1",
        "__tb__deployment=x",
        "output_format_x=1",
        "template_parameters=1",
        "format=csv",
        "q[]=1",
    ] {
        assert!(matches!(query(&free, given), Err(Refusal::ControlParameter { .. })), "{given}");
    }
    for given in ["token=x", "TOKEN=x", "%74oken=x", "token[]=x"] {
        assert_eq!(query(&free, given).unwrap(), "", "{given}");
    }
    assert_eq!(query(&params("{allow: [query_id]}"), "query_id=1&other=2").unwrap(), "query_id=1");
    assert!(query(&params("{allow: [query_id]}"), "Query_Id=1").is_err(), "the allow-list is exact");
    assert_eq!(query(&free, "from=ts-sdk").unwrap(), "from=ts-sdk");
}

#[test]
fn p6_values_cannot_become_structure() {
    let rules = params("{fixed: {t: 'a&b=c d'}}");
    assert_eq!(query(&rules, "x=1%262").unwrap(), "x=1%262&t=a%26b%3Dc%20d");
    assert!(query(&params("{}"), "x=%00").is_err());
}

#[test]
fn values_keep_their_bytes() {
    let free = params("{}");
    assert_eq!(
        query(&free, "a=1,2&b=%2C&c=a+b&d=%20&e=caf%C3%A9&f=%ff").unwrap(),
        "a=1,2&b=,&c=a%20b&d=%20&e=caf%C3%A9&f=%FF"
    );
    assert_eq!(query(&free, "limit=5&limit=6").unwrap(), "limit=5&limit=6", "repeated keys are arrays");
    assert_eq!(query(&free, "&&a=&b").unwrap(), "a=&b=");
    let body = r#"{"n": 18446744073709551615, "f": 1.10, "e": 1e400, "s": "\u00e9\n", "l": [1, "a", null]}"#;
    assert_eq!(
        json(&free, body).unwrap(),
        r#"{"n":18446744073709551615,"f":1.10,"e":1e400,"s":"\u00e9\n","l":[1, "a", null]}"#
    );
}

#[test]
fn p4_fixed_parameters_fall_out_of_bodies() {
    for body in [
        r#"{"tenant_id":"x","a":1}"#,
        r#"{"a":1,"tenant_id":"x","tenant_id":"y"}"#,
        r#"{"TENANT_ID":"x","a":1}"#,
        r#"{"tenant\u005fid":"x","a":1}"#,
        r#"{"tenant_id[]":["x"],"a":1}"#,
    ] {
        assert_eq!(json(&fixed(), body).unwrap(), r#"{"a":1}"#, "{body}");
    }
    let form = ParameterBody::Form(Bytes::from_static(b"tenant_id=x&a=1&tenant%5fid=y"));
    let bound = bind(&fixed(), "tenant_id=z", &captures(), Some(form)).unwrap();
    assert_eq!((bound.query.as_str(), bound.body.unwrap().bytes().as_ref()), ("tenant_id=t1", b"a=1".as_ref()));
}

#[test]
fn json_bodies_must_be_flat_objects() {
    for body in ["[]", "1", "\"q\"", "", "SELECT 1", "null"] {
        assert!(matches!(json(&params("{}"), body), Err(Refusal::UnsupportedBody(_))), "{body}");
    }
    for body in ["{", "{\"a\":}", "{\"a\":1}x", "{\"a\":1,}", r#"{"a":{}}"#, r#"{"a":[[1]]}"#, r#"{"a":[{}]}"#] {
        assert!(json(&params("{}"), body).is_err(), "{body}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert!(json(&params("{}"), &deep).is_err(), "depth does not overflow the stack");
}

#[test]
fn defaults_fill_in_only_what_is_missing() {
    let rules = params("{default: {limit: 100}}");
    assert_eq!(query(&rules, "").unwrap(), "limit=100");
    assert_eq!(query(&rules, "limit=5").unwrap(), "limit=5");
    let body = ParameterBody::Json(Bytes::from_static(br#"{"limit":7}"#));
    assert_eq!(bind(&rules, "", &captures(), Some(body)).unwrap().query, "");
}

#[test]
fn conflicts_can_be_refused() {
    let rules = params("{fixed: {t: '5'}, conflict: refuse}");
    assert_eq!(query(&rules, "t=5").unwrap(), "t=5");
    assert!(matches!(query(&rules, "t=6"), Err(Refusal::BadParameter { .. })));
    assert!(json(&rules, r#"{"t":5}"#).is_ok());
    assert!(json(&rules, r#"{"t":"6"}"#).is_err());
}

#[test]
fn p7_a_fixed_parameter_without_a_value_refuses() {
    let rules = fixed();
    assert_eq!(bind(&rules, "", &Captures::default(), None), Err(Refusal::TenantMissing));
}

proptest! {
    #[test]
    fn p1_p2_p3_no_query_changes_a_fixed_parameter(given in "([a-zA-Z_&=;+\\[\\]]|tenant_id|%74|%00|%5[Ff]|%5[bB]|Tenant|=x|\\PC){0,24}") {
        if let Ok(bound) = query(&fixed(), &given) {
            let decoded: Vec<(String, String)> = form_urlencoded::parse(bound.as_bytes()).into_owned().collect();
            let tenants: Vec<&str> = decoded
                .iter()
                .filter(|(name, _)| {
                    // Other names may begin so, the name itself twice among them.
                    let name = name.trim().to_lowercase();
                    name.strip_prefix("tenant_id")
                        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || "_-.$:@~!*()/".contains(c)))
                })
                .map(|(_, value)| value.as_str())
                .collect();
            prop_assert_eq!(tenants, vec!["t1"], "{}", bound);
        }
    }

    #[test]
    fn no_body_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        let _ = bind(&fixed(), "", &captures(), Some(ParameterBody::Json(bytes.clone())));
        let _ = bind(&fixed(), "", &captures(), Some(ParameterBody::Form(bytes)));
    }
}
