//! `params`: what callers may say, where they may say it, and what always wins.

use std::fmt;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize as _;
use serde::de::MapAccess;
use serde::de::Visitor;

use crate::support::client::RawClient;
use crate::support::client::Request;
use crate::support::client::Response;
use crate::support::gateway::{TestGateway, assert_nothing_betrayed, assert_refused};
use crate::support::origin::Received;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The most a parameter body may hold.
const LIMIT: usize = 60 * 1024;

/// `/t` and `/strict` fix the tenant, `/strict` has an allow-list, `/free` has no rules.
const ROUTES: &str = "routes: {
  /t: { pipe: t, params: { fixed: { tenant_id: t1 } } },
  /strict: { pipe: t, params: { allow: [limit, q1], fixed: { tenant_id: t1 } } },
  /free: { pipe: t } }";

#[tokio::test]
async fn p1_a_fixed_parameter_reaches_the_upstream_exactly_once() {
    let gw = TestGateway::with(ROUTES);
    for path in ["/t", "/strict"] {
        for query in [
            "",
            "?",
            "?tenant_id",
            "?tenant_id=",
            "?tenant_id=evil",
            "?tenant_id=t1",
            "?tenant_id=t1&tenant_id=evil",
            "?tenant_id=evil&limit=5&tenant_id=evil2",
            "?&&tenant_id=evil&&",
            "?limit=5&tenant_id=evil=evil",
        ] {
            gw.origin.forget_requests();
            let response = gw.get(&format!("{path}{query}")).await;
            assert_eq!(response.status, 200, "{path}{query}");
            let seen = gw.origin.only_request();
            assert_tenant_once(&seen);
            assert_eq!(seen.query_values("limit").len(), usize::from(query.contains("limit")), "{seen:?}");
        }
    }
}

#[tokio::test]
async fn p2_odd_spellings_of_a_fixed_name_are_dropped_or_refused() {
    let gw = TestGateway::with(ROUTES);
    for path in ["/t", "/strict"] {
        for pair in [
            "tenant%5Fid=evil",
            "tenant%5fid=evil",
            "%74enant_id=evil",
            "%74%65%6E%61%6E%74%5F%69%64=evil",
            "tenant_id%00=evil",
            "%00tenant_id=evil",
            "+tenant_id=evil",
            "tenant_id+=evil",
            "%20tenant_id=evil",
            "%09tenant_id=evil",
            "tenant_id%0a=evil",
            "tenant_id[]=evil",
            "tenant_id[0]=evil",
            "tenant_id%5B%5D=evil",
            "tenant_id[a][b]=evil",
            ";tenant_id=evil",
            "a=1;tenant_id=evil",
            "%EF%BB%BFtenant_id=evil",
            "tenant_id%ff=evil",
            "tenant_id%c0%80=evil",
            "%zztenant_id=evil",
        ] {
            for place in [Place::Query, Place::Form] {
                gw.origin.forget_requests();
                let response = place.send(&gw, path, pair).await;
                if response.status != 200 {
                    assert_bad_request(&response);
                    gw.origin.assert_untouched();
                    continue;
                }
                let seen = gw.origin.only_request();
                let named: Vec<_> = everything(&seen).into_iter().filter(|(name, _)| is_like_tenant(name)).collect();
                assert_eq!(named, [("tenant_id".to_owned(), "t1".to_owned())], "{path} {pair} {place:?}: {seen:?}");
                // An upstream that splits on `;` must not find a parameter of its own.
                assert!(!seen.target.contains(';') && !seen.body_text().contains(';'), "{pair}: {seen:?}");
                seen.assert_strictly_valid();
            }
        }
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn p3_another_case_is_not_on_the_allow_list() {
    let gw = TestGateway::with(ROUTES);
    for name in ["Tenant_Id", "TENANT_ID", "tenant_ID", "LIMIT", "unknown"] {
        for place in [Place::Query, Place::Form, Place::Json] {
            gw.origin.forget_requests();
            let response = place.send_pair(&gw, "/strict", name, "evil").await;
            if response.status != 200 {
                assert_bad_request(&response);
                gw.origin.assert_untouched();
                continue;
            }
            let seen = gw.origin.only_request();
            assert!(!seen.contains("evil") && !seen.contains(name), "{name} {place:?}: {seen:?}");
            assert_tenant_once(&seen);
        }
    }
}

#[tokio::test]
async fn p4_a_fixed_parameter_wins_in_form_and_json() {
    let gw = TestGateway::with(ROUTES);
    for path in ["/t", "/strict"] {
        for (content_type, body) in [
            (FORM, "tenant_id=evil"),
            (FORM, "tenant_id=evil&limit=5&tenant_id=evil"),
            (FORM, "ten%61nt_id=evil"),
            (FORM, "tenant_id[]=evil&tenant_id[0]=evil"),
            (FORM, ""),
            ("application/x-www-form-urlencoded; charset=UTF-8", "tenant_id=evil"),
            ("Application/X-WWW-Form-URLencoded", "tenant_id=evil"),
            (JSON, "{}"),
            (JSON, r#"{"tenant_id":"evil"}"#),
            (JSON, r#"{"tenant_id":["evil","evil"]}"#),
            (JSON, r#"{"tenant_id":null}"#),
            (JSON, r#"{"limit":5,"tenant_id":"evil"}"#),
            (JSON, r#"{"\u0074enant_id":"evil"}"#),
            (JSON, r#"{"tenant\u005fid":"evil","limit":5}"#),
            (JSON, r#"{"tenant_id[]":["evil"],"tenant_id[0]":"evil"}"#),
            ("application/json; charset=utf-8", r#"{"tenant_id":"evil"}"#),
            ("APPLICATION/JSON", " \r\n\t{ \"tenant_id\" : \"evil\" } \n"),
        ] {
            gw.origin.forget_requests();
            let response = gw.post(path, content_type, body.as_bytes()).await;
            assert_eq!(response.status, 200, "{content_type}: {body}: {response:?}");
            let seen = gw.origin.only_request();
            assert_eq!(seen.method, "POST");
            assert_tenant_once(&seen);
        }
    }
}

#[tokio::test]
async fn p4_duplicate_json_keys_leave_one_fixed_value() {
    let gw = TestGateway::with(ROUTES);
    for body in [
        r#"{"tenant_id":"evil","tenant_id":"evil2"}"#,
        r#"{"tenant_id":"t1","tenant_id":"evil"}"#,
        r#"{"tenant_id":"evil","limit":5,"\u0074enant_id":"evil"}"#,
    ] {
        gw.origin.forget_requests();
        let response = gw.post("/t", JSON, body.as_bytes()).await;
        // Fixed parameters are removed wherever they occur: duplicates of them are no reason to refuse.
        assert_eq!(response.status, 200, "{body}: {response:?}");
        assert_tenant_once(&gw.origin.only_request());
    }
    // A caller's own duplicate: refused, or passed as it was.
    gw.origin.forget_requests();
    let response = gw.post("/free", JSON, br#"{"a":1,"a":2}"#).await;
    if response.status == 200 {
        let named = |wanted: &str| ("a".to_owned(), wanted.to_owned());
        assert_eq!(everything(&gw.origin.only_request()), [named("1"), named("2")]);
    } else {
        assert_bad_request(&response);
        gw.origin.assert_untouched();
    }
}

#[tokio::test]
async fn p4_other_bodies_are_unsupported() {
    let gw = TestGateway::with(ROUTES);
    let multipart = "--b\r\nContent-Disposition: form-data; name=\"tenant_id\"\r\n\r\nevil\r\n--b--\r\n";
    let utf16: Vec<u8> = "{\"tenant_id\":\"evil\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let bodies: [(Option<&str>, &[u8]); 16] = [
        (None, b"tenant_id=evil"),
        (None, b"{\"tenant_id\":\"evil\"}"),
        (None, b"SELECT * FROM t"),
        (Some("text/plain"), b"SELECT * FROM t"),
        (Some("text/plain"), b"tenant_id=evil"),
        (Some("application/sql"), b"SELECT * FROM t"),
        (Some("multipart/form-data; boundary=b"), multipart.as_bytes()),
        (Some("application/octet-stream"), b"tenant_id=evil"),
        (Some("application/jsonx"), b"{}"),
        (Some("application/x-ndjson"), b"{}\n{}\n"),
        (Some("text/json"), b"{}"),
        (Some(""), b"tenant_id=evil"),
        (Some("application/json, text/plain"), b"{}"),
        (Some("application/json; charset=utf-16"), &utf16),
        (Some("application/json; charset=utf-16le"), &utf16),
        (Some("application/x-www-form-urlencoded; charset=iso-8859-1"), b"tenant_id=evil"),
    ];
    for (content_type, body) in bodies {
        let mut request = Request::post("/t");
        if let Some(content_type) = content_type {
            request = request.header("Content-Type", content_type);
        }
        let response = request.body(body).send(gw.addr()).await;
        assert_refused_for(&format!("{content_type:?}"), &response, 415, "unsupported_body");
    }
    gw.origin.assert_untouched();
    gw.assert_alive().await;
}

#[tokio::test]
async fn p4_two_content_types_are_not_a_choice() {
    let gw = TestGateway::with(ROUTES);
    for (first, second) in [(JSON, FORM), (FORM, JSON), (JSON, "text/plain")] {
        let request = Request::post("/t").header("Content-Type", first).header("Content-Type", second);
        let response = request.body("{\"tenant_id\":\"evil\"}").send(gw.addr()).await;
        assert_body_refused(first, &response);
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn p4_a_body_that_lies_about_its_type_cannot_reach_the_upstream_unread() {
    let gw = TestGateway::with(ROUTES);
    for body in ["tenant_id=evil", "SELECT 1", "\u{feff}{\"tenant_id\":\"evil\"}", "{'tenant_id':'evil'}"] {
        assert_body_refused(body, &gw.post("/t", JSON, body.as_bytes()).await);
    }
    gw.origin.assert_untouched();
    for body in ["{\"tenant_id\":\"evil\"}", "SELECT 1", "SELECT * FROM t WHERE tenant_id='evil' FORMAT JSON"] {
        gw.origin.forget_requests();
        let response = gw.post("/t", FORM, body.as_bytes()).await;
        if response.status != 200 {
            assert_body_refused(body, &response);
            continue;
        }
        let seen = gw.origin.only_request();
        assert_eq!(everything(&seen).iter().filter(|pair| pair.0 == "tenant_id").count(), 1, "{seen:?}");
        // Read by us as a form, so written by us as one.
        assert_eq!(seen.header("content-type").as_deref().unwrap_or(FORM), FORM);
        assert!(!seen.contains(body), "{seen:?}");
    }
}

#[tokio::test]
async fn p4_encoded_bodies_are_unsupported() {
    let gw = TestGateway::with(ROUTES);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"tenant_id=evil").expect("memory takes it");
    let packed = encoder.finish().expect("memory takes it");
    for encoding in ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "gzip, identity", "nonsense"] {
        for content_type in [FORM, JSON] {
            let request = Request::post("/t").header("Content-Encoding", encoding);
            let response = request.typed_body(content_type, &packed).send(gw.addr()).await;
            assert_refused_for(encoding, &response, 415, "unsupported_body");
        }
    }
    // Packed without saying so: no UTF-8.
    assert_body_refused("packed form", &gw.post("/t", FORM, &packed).await);
    assert_body_refused("packed JSON", &gw.post("/t", JSON, &packed).await);
    gw.origin.assert_untouched();
    // `identity` is what an unencoded body is.
    let request = Request::post("/t").header("Content-Encoding", "identity");
    let response = request.typed_body(FORM, "limit=5").send(gw.addr()).await;
    if response.status != 200 {
        assert_refused(&response, 415, "unsupported_body");
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn p4_a_body_on_get_is_unsupported() {
    let gw = TestGateway::with(ROUTES);
    for method in ["GET", "HEAD"] {
        let request = Request::new(method, "/t?limit=1");
        let response = request.clone().form("tenant_id=evil").send(gw.addr()).await;
        assert_eq!(response.status, 415, "{method}");
        let response = request.clone().chunked([b"tenant_id=evil".as_slice()]).send(gw.addr()).await;
        assert_eq!(response.status, 415, "{method}");
    }
    assert_refused(&Request::get("/t").json("{}").send(gw.addr()).await, 415, "unsupported_body");
    gw.origin.assert_untouched();
    // No byte of a body is no body.
    assert_eq!(Request::get("/t").body("").send(gw.addr()).await.status, 200);
    let seen = gw.origin.only_request();
    assert_eq!((seen.method.as_str(), seen.body_length), ("GET", 0));
    seen.assert_strictly_valid();
}

#[tokio::test]
async fn a_json_body_is_one_flat_object() {
    let gw = TestGateway::with(ROUTES);
    let deep = "[".repeat(20_000);
    let nested = format!("{{\"a\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    for body in [
        "",
        " ",
        "[]",
        "[{\"tenant_id\":\"evil\"}]",
        "1",
        "\"a\"",
        "null",
        "{\"a\":{\"b\":1}}",
        "{\"a\":[[1]]}",
        "{\"a\":[{\"b\":1}]}",
        "{\"a\":1",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1}{\"tenant_id\":\"evil\"}",
        "{\"a\":1} x",
        "{\"a\":NaN}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":+1}",
        "{\"a\":0x10}",
        "{a:1}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"\\ud800\":1}",
        "{\"a\":1}\0",
        "/**/{}",
        &deep,
        &nested,
    ] {
        let shown: String = body.chars().take(40).collect();
        let response = gw.post("/free", JSON, body.as_bytes()).await;
        if body.trim().is_empty() && response.status == 200 {
            continue;
        }
        assert_body_refused(&shown, &response);
    }
    assert_body_refused("no UTF-8", &gw.post("/free", JSON, b"{\"a\":\"\xff\"}").await);
    assert_body_refused("overlong", &gw.post("/free", JSON, b"{\"a\":\"\xc0\x80\"}").await);
    assert!(gw.origin.received().iter().all(|seen| everything(seen).is_empty()));
    gw.assert_alive().await;
}

#[tokio::test]
async fn numbers_and_texts_keep_their_bytes() {
    let gw = TestGateway::with(ROUTES);
    let values = [
        ("id", "9007199254740993"),
        ("big", "18446744073709551615"),
        ("huge", "123456789012345678901234567890"),
        ("money", "1.10"),
        ("tiny", "-0.0"),
        ("exp", "1E+400"),
        ("yes", "true"),
        ("nothing", "null"),
    ];
    let body: Vec<String> = values.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    // A lone surrogate is grammar's own, and nobody's to repair.
    let escaped = r#""\u00e9\n\"x\ud800""#;
    for path in ["/free", "/t"] {
        gw.origin.forget_requests();
        let text = format!("{{{},\"list\":[9007199254740993,1.10,\"a\"],\"text\":{escaped}}}", body.join(","));
        let response = gw.post(path, JSON, text.as_bytes()).await;
        assert_eq!(response.status, 200, "{response:?}");
        let seen = gw.origin.only_request();
        for (name, value) in values {
            assert!(seen.body_text().contains(&format!("\"{name}\":{value}")), "{name}: {}", seen.body_text());
        }
        assert!(seen.body_text().contains("[9007199254740993,1.10,\"a\"]"), "{}", seen.body_text());
        assert!(seen.body_text().contains(&format!("\"text\":{escaped}")), "{}", seen.body_text());
        assert_eq!(seen.header("content-type").as_deref(), Some(JSON));
    }
    // In a form and a query everything is text.
    let pairs = "id=9007199254740993&money=1.10&exp=1E%2B400&text=%C3%A9+%26%3D%2B%25%0A&empty=&flag";
    let expected = [
        ("id", "9007199254740993"),
        ("money", "1.10"),
        ("exp", "1E+400"),
        ("text", "\u{e9} &=+%\n"),
        ("empty", ""),
        ("flag", ""),
    ];
    let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for place in [Place::Query, Place::Form] {
        gw.origin.forget_requests();
        assert_eq!(place.send(&gw, "/free", pairs).await.status, 200);
        assert_eq!(everything(&gw.origin.only_request()), expected, "{place:?}");
    }
}

#[tokio::test]
async fn repeated_parameters_of_the_caller_pass_in_order() {
    let gw = TestGateway::with(ROUTES);
    for place in [Place::Query, Place::Form] {
        gw.origin.forget_requests();
        assert_eq!(place.send(&gw, "/strict", "limit=5&q1=a&limit=6").await.status, 200);
        let seen = gw.origin.only_request();
        let limits: Vec<_> =
            everything(&seen).into_iter().filter(|pair| pair.0 == "limit").map(|pair| pair.1).collect();
        assert_eq!(limits, ["5", "6"], "{seen:?}");
        assert_tenant_once(&seen);
    }
}

#[tokio::test]
async fn h5_p6_values_cannot_become_parameters_lines_or_paths() {
    let gw = TestGateway::with(ROUTES);
    for value in [
        "x%26tenant_id%3Devil",
        "x%0d%0aX-Evil:%201",
        "x%0aX-Evil:%201",
        "x%00y",
        "x%23frag%3Ftenant_id%3Devil",
        "x%3Btenant_id%3Devil",
        "x%25%32%36tenant_id=evil",
        "%ff%fe",
        "%",
        "%4",
        "%zz",
        "%u0041",
    ] {
        for place in [Place::Query, Place::Form] {
            gw.origin.forget_requests();
            let response = place.send(&gw, "/t", &format!("limit={value}")).await;
            if response.status != 200 {
                assert_bad_request(&response);
                gw.origin.assert_untouched();
                continue;
            }
            let seen = gw.origin.only_request();
            let tenants: Vec<_> = everything(&seen).into_iter().filter(|pair| pair.0 == "tenant_id").collect();
            assert_eq!(tenants, [("tenant_id".to_owned(), "t1".to_owned())], "{value}: {seen:?}");
            assert_eq!(seen.header("x-evil"), None);
            assert!(!seen.target.contains(';') && !seen.target.contains('#'), "{seen:?}");
            seen.assert_strictly_valid();
        }
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn p6_a_configured_value_is_encoded_too() {
    let gw = TestGateway::with(
        "routes: { /t: { pipe: t, params: { fixed: { tenant_id: 't1&tenant_id=t2 \"\\+%' }, default: { 'a b': 'c&d' } } } }",
    );
    let value = "t1&tenant_id=t2 \"\\+%";
    let all = [("tenant_id", value), ("a b", "c&d")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    for request in
        [Request::get("/t"), Request::post("/t").form("tenant_id=x"), Request::post("/t").json("{\"tenant_id\":1}")]
    {
        gw.origin.forget_requests();
        assert_eq!(request.send(gw.addr()).await.status, 200);
        let seen = gw.origin.only_request();
        let mut pairs = everything(&seen);
        pairs.sort_by(|a, b| b.cmp(a));
        assert_eq!(pairs, all, "{seen:?}");
        seen.assert_strictly_valid();
    }
}

#[tokio::test]
async fn p5_control_parameters_are_refused_wherever_they_stand() {
    let gw = TestGateway::with(ROUTES);
    for name in [
        "q",
        "Q",
        "explain",
        "EXPLAIN",
        "debug",
        "debug_source_tables",
        "debugX",
        "Debug",
        "pipeline",
        "playground",
        "query_id",
        "tag",
        "release_replacements",
        "template_parameters",
        "finalize_aggregations",
        "job_timestamp",
        "output_format_json_quote_64bit_integers",
        "output_format_json_quote_denormals",
        "output_format_parquet_string_as_string",
        "Output_Format_x",
        "format",
        "__tb__semver",
        "__tb__deployment",
        "__TB__client",
        "__tb__",
    ] {
        for path in ["/free", "/t", "/strict"] {
            for place in [Place::Query, Place::Form, Place::Json] {
                let response = place.send_pair(&gw, path, name, "1").await;
                assert_refused_for(&format!("{name} {place:?} {path}"), &response, 400, "control_parameter");
            }
        }
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn p5_encoded_and_array_spellings_of_control_parameters_are_refused() {
    let gw = TestGateway::with(ROUTES);
    for pair in
        ["%71=1", "q", "q=", "%5f%5ftb%5f%5fx=1", "ex%70lain=true", "q[]=1", "q[0]=1", "a=1&q=1", "format%5B%5D=1"]
    {
        for place in [Place::Query, Place::Form] {
            let response = place.send(&gw, "/free", pair).await;
            assert_refused_for(&format!("{pair} {place:?}"), &response, 400, "control_parameter");
        }
    }
    for body in [r#"{"\u0071":"SELECT 1"}"#, r#"{"a":1,"q":null}"#, r#"{"q":["SELECT 1"]}"#, r#"{"q[]":1}"#] {
        assert_refused_for(body, &gw.post("/free", JSON, body.as_bytes()).await, 400, "control_parameter");
    }
    // Once in a place where one looks, once in the other.
    let response = gw.post("/free?q=SELECT+1", JSON, b"{\"a\":1}").await;
    assert_refused(&response, 400, "control_parameter");
    gw.origin.assert_untouched();
    // Blanks and NUL around a name do not make it another name upstream.
    for pair in ["+q=1", "q+=1", "q%00=1", "%00q=1", "q%09=1", "%EF%BB%BFq=1", ";q=1", "a=1;q=1"] {
        let response = gw.get(&format!("/free?{pair}")).await;
        if response.status == 200 {
            let seen = gw.origin.received().pop().expect("it was answered");
            assert!(everything(&seen).iter().all(|pair| pair.0 != "q"), "{seen:?}");
            assert!(!seen.target.contains(';'), "{seen:?}");
        } else {
            assert_bad_request(&response);
        }
    }
}

#[tokio::test]
async fn names_that_only_resemble_control_parameters_pass() {
    let gw = TestGateway::with(ROUTES);
    for name in ["from", "quantity", "qq", "tags", "formats", "output_format", "tb", "_tb_x", "explained", "tokens"] {
        for place in [Place::Query, Place::Form, Place::Json] {
            gw.origin.forget_requests();
            assert_eq!(place.send_pair(&gw, "/free", name, "x").await.status, 200, "{name} {place:?}");
            assert_eq!(everything(&gw.origin.only_request()), [(name.to_owned(), "x".to_owned())]);
        }
    }
}

#[tokio::test]
async fn an_allow_list_opens_control_parameters_by_name() {
    let gw = TestGateway::with("routes: { /sql: { pipe: t, params: { allow: [q, __tb__semver] } } }");
    for place in [Place::Query, Place::Form, Place::Json] {
        gw.origin.forget_requests();
        assert_eq!(place.send_pair(&gw, "/sql", "q", "SELECT 1").await.status, 200, "{place:?}");
        assert_eq!(everything(&gw.origin.only_request()), [("q".to_owned(), "SELECT 1".to_owned())]);
        assert_refused(&place.send_pair(&gw, "/sql", "explain", "1").await, 400, "control_parameter");
    }
    assert_eq!(gw.get("/sql?__tb__semver=1.0.0").await.status, 200);
    assert_refused(&gw.get("/sql?__tb__client=x").await, 400, "control_parameter");
}

#[tokio::test]
async fn l5_a_callers_token_is_stripped_in_every_spelling_and_never_logged() {
    let gw = TestGateway::with(ROUTES);
    let pairs = [
        "token=sesame",
        "TOKEN=sesame",
        "%74oken=sesame",
        "Token=sesame",
        "token=a&token=sesame",
        "tok%65n=sesame",
        "token[]=sesame",
    ];
    let mut count = 0;
    for pair in pairs {
        for place in [Place::Query, Place::Form] {
            gw.origin.forget_requests();
            let response = place.send(&gw, "/free", &format!("{pair}&limit=5")).await;
            assert_eq!(response.status, 200, "{pair} {place:?}: {response:?}");
            assert!(!response.contains("sesame"));
            let seen = gw.origin.only_request();
            assert_eq!(everything(&seen), [("limit".to_owned(), "5".to_owned())], "{pair} {place:?}");
            assert!(!seen.contains("sesame"));
            count += 1;
        }
    }
    for body in [r#"{"token":"sesame","limit":5}"#, r#"{"limit":5,"Token":"sesame","\u0074oken":"sesame"}"#] {
        gw.origin.forget_requests();
        assert_eq!(gw.post("/free", JSON, body.as_bytes()).await.status, 200);
        assert_eq!(everything(&gw.origin.only_request()), [("limit".to_owned(), "5".to_owned())]);
        count += 1;
    }
    // Refused requests are logged as well.
    assert_refused(&gw.get("/nothing?token=sesame").await, 404, "route_not_found");
    assert_refused(&gw.get("/free?q=1&token=sesame").await, 400, "control_parameter");
    for line in gw.log_lines(count + 2).await {
        assert!(!line.contains("sesame"), "{line}");
    }
    assert!(!gw.metrics().await.contains("sesame"));
}

#[tokio::test]
async fn defaults_stand_in_for_what_the_caller_leaves_out() {
    let gw = TestGateway::with(
        "routes: { /t: { pipe: t, params: { allow: [limit, a], fixed: { tenant_id: t1 }, default: { limit: 100 } } } }",
    );
    let own = [
        Request::get("/t"),
        Request::post("/t").form("a=1"),
        Request::post("/t").json("{\"a\":1}"),
        Request::post("/t"),
    ];
    for request in own {
        gw.origin.forget_requests();
        assert_eq!(request.send(gw.addr()).await.status, 200);
        let seen = gw.origin.only_request();
        assert_eq!(values(&seen, "limit"), ["100"], "{seen:?}");
        assert_tenant_once(&seen);
    }
    let said = [
        Request::get("/t?limit=5"),
        Request::get("/t?l%69mit=5"),
        Request::post("/t").form("limit=5"),
        Request::post("/t").json("{\"limit\":5}"),
        Request::post("/t?limit=5").json("{\"a\":1}"),
        Request::post("/t?limit=5").form("a=1"),
        Request::post("/t?a=1").json("{\"limit\":5}"),
    ];
    for request in said {
        gw.origin.forget_requests();
        assert_eq!(request.send(gw.addr()).await.status, 200);
        let seen = gw.origin.only_request();
        assert_eq!(values(&seen, "limit"), ["5"], "{seen:?}");
    }
}

#[tokio::test]
async fn a_conflict_can_be_refused() {
    let gw = TestGateway::with("routes: { /t: { pipe: t, params: { fixed: { tenant_id: t1 }, conflict: refuse } } }");
    for request in [
        Request::get("/t?tenant_id=evil"),
        Request::get("/t?tenant_id=t1&tenant_id=evil"),
        Request::get("/t?%74enant_id=evil"),
        Request::get("/t?tenant_id[]=evil"),
        Request::get("/t?tenant_id="),
        Request::post("/t").form("tenant_id=evil"),
        Request::post("/t").json("{\"tenant_id\":\"evil\"}"),
        Request::post("/t").json("{\"tenant_id\":[\"t1\",\"evil\"]}"),
        Request::post("/t").json("{\"tenant_id\":\"t1\",\"tenant_id\":\"evil\"}"),
        Request::post("/t?tenant_id=t1").json("{\"tenant_id\":\"evil\"}"),
        Request::post("/t?tenant_id=evil").form("tenant_id=t1"),
    ] {
        assert_refused_for(&format!("{request:?}"), &request.send(gw.addr()).await, 400, "bad_parameter");
    }
    gw.origin.assert_untouched();
    for request in [
        Request::get("/t"),
        Request::get("/t?tenant_id=t1"),
        Request::post("/t").form("tenant_id=t1"),
        Request::post("/t").json("{\"tenant_id\":\"t1\"}"),
    ] {
        gw.origin.forget_requests();
        assert_eq!(request.send(gw.addr()).await.status, 200);
        assert_tenant_once(&gw.origin.only_request());
    }
}

#[tokio::test]
async fn a_capture_can_fix_a_parameter() {
    let gw = TestGateway::with(
        "routes: { '/by/{who}': { pipe: t, params: { fixed: { tenant_id: '{path.who}' }, allow_public_tenant: true } } }",
    );
    for request in [
        Request::get("/by/t1?tenant_id=evil"),
        Request::post("/by/t1").form("tenant_id=evil"),
        Request::post("/by/t1?tenant_id=evil").json("{\"tenant_id\":\"evil\"}"),
    ] {
        gw.origin.forget_requests();
        assert_eq!(request.send(gw.addr()).await.status, 200);
        let seen = gw.origin.only_request();
        assert_eq!(seen.path, "/v0/pipes/t.json");
        assert_tenant_once(&seen);
    }
    gw.origin.forget_requests();
    for path in ["/by/t1%26tenant_id%3Devil", "/by/", "/by/t1,evil", "/by/t1%2Cevil", "/by/t1%0aevil", "/by/t1%00"] {
        let response = gw.get(path).await;
        assert!([400, 403, 404].contains(&response.status), "{path}: {response:?}");
        assert_nothing_betrayed(&response);
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn one_call_may_be_split_between_query_and_body() {
    let gw = TestGateway::with(ROUTES);
    for (content_type, body) in
        [(JSON, r#"{"date_from":"2024-01-01","tenant_id":"evil"}"#), (FORM, "date_from=2024-01-01&tenant_id=evil")]
    {
        gw.origin.forget_requests();
        let response = gw.post("/t?limit=5&tenant_id=evil&from=chart&token=evil", content_type, body.as_bytes()).await;
        assert_eq!(response.status, 200, "{response:?}");
        let seen = gw.origin.only_request();
        assert_tenant_once(&seen);
        assert_eq!(values(&seen, "limit"), ["5"]);
        assert_eq!(values(&seen, "from"), ["chart"]);
        assert_eq!(values(&seen, "date_from"), ["2024-01-01"]);
        assert_eq!(seen.method, "POST");
    }
}

#[tokio::test]
async fn a_parameter_body_ends_at_sixty_kibibytes() {
    let gw = TestGateway::with(ROUTES);
    let form = |length: usize| format!("ids={}", "7".repeat(length - 4));
    let json = |length: usize| format!("{{\"ids\":\"{}\"}}", "7".repeat(length - 10));
    for path in ["/free", "/t"] {
        for (content_type, body) in [(FORM, form(LIMIT)), (JSON, json(LIMIT))] {
            assert_eq!(body.len(), LIMIT);
            let value = body.matches('7').count();
            let chunks: Vec<&[u8]> = body.as_bytes().chunks(5_000).collect();
            let typed = Request::post(path).header("Content-Type", content_type);
            for request in [typed.clone().body(&body), typed.chunked(chunks)] {
                gw.origin.forget_requests();
                let response = request.send(gw.addr()).await;
                assert_eq!(response.status, 200, "{response:?}");
                let seen = gw.origin.only_request();
                assert_eq!(values(&seen, "ids"), ["7".repeat(value)]);
                seen.assert_strictly_valid();
            }
        }
    }
    gw.origin.forget_requests();
    for length in [LIMIT + 1, 61 * 1024, 64 * 1024, 65 * 1024, 1024 * 1024] {
        for (content_type, body) in [(FORM, form(length)), (JSON, json(length))] {
            let typed = Request::post("/t").header("Content-Type", content_type);
            let response = typed.clone().body(&body).send(gw.addr()).await;
            assert_refused_for(&length.to_string(), &response, 413, "body_too_large");
            let response = typed.chunked(body.as_bytes().chunks(4_096)).send(gw.addr()).await;
            assert_refused_for(&format!("chunked {length}"), &response, 413, "body_too_large");
        }
    }
    gw.origin.assert_untouched();
    gw.assert_alive().await;
}

#[tokio::test]
async fn d7_a_hundred_thousand_levels_of_json_are_refused() {
    let gw = TestGateway::with(ROUTES);
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        // As deep as a body can be, closed and left open, and deeper than one may be.
        let levels = (LIMIT - 20) / (open.len() + close.len());
        let deepest = format!("{}1{}", open.repeat(levels), close.repeat(levels));
        for body in [deepest.clone(), format!("{{\"a\":{deepest}}}"), open.repeat((LIMIT - 20) / open.len())] {
            assert_body_refused(open, &gw.post("/free", JSON, body.as_bytes()).await);
        }
        let deeper = format!("{{\"a\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
        let response = gw.post("/free", JSON, deeper.as_bytes()).await;
        assert_refused_for(open, &response, 413, "body_too_large");
    }
    gw.origin.assert_untouched();
    gw.assert_alive().await;
}

#[tokio::test]
async fn what_only_fits_because_the_fixed_value_is_added_still_arrives_whole() {
    // The gateway adds to a body that is as large as it may be: nothing may be lost to a buffer's end.
    let long = "v".repeat(3_000);
    let gw =
        TestGateway::with(&format!("routes: {{ /t: {{ pipe: t, params: {{ fixed: {{ tenant_id: '{long}' }} }} }} }}"));
    let body = format!("ids={}", "%2C".repeat((LIMIT - 4) / 3));
    assert_eq!(gw.post("/t", FORM, body.as_bytes()).await.status, 200);
    let seen = gw.origin.only_request();
    assert_eq!(values(&seen, "ids"), [",".repeat((LIMIT - 4) / 3)]);
    assert_eq!(values(&seen, "tenant_id"), [long]);
    // Blanks and letters that grow when they are encoded anew.
    gw.origin.forget_requests();
    let body = format!("ids={}", "\u{e9}".repeat((LIMIT - 4) / 2));
    let response = gw.post("/t", FORM, body.as_bytes()).await;
    if response.status == 200 {
        assert_eq!(values(&gw.origin.only_request(), "ids"), ["\u{e9}".repeat((LIMIT - 4) / 2)]);
    } else {
        assert_body_refused("raw UTF-8 in a form", &response);
    }
}

#[tokio::test]
async fn expect_continue_is_honoured_before_the_body() {
    let gw = TestGateway::with(ROUTES);
    let mut client = RawClient::connect(gw.addr()).await;
    let body = b"limit=5&tenant_id=evil";
    let head = Request::post("/t").header("Content-Type", FORM).header("Expect", "100-continue");
    client.send(head.clone().header("Content-Length", body.len().to_string()).head_bytes()).await;
    let interim = client.read_exact("HTTP/1.1 100".len()).await;
    assert_eq!(interim, b"HTTP/1.1 100");
    gw.origin.assert_untouched();
    client.send(body).await;
    let rest = client.read_until_quiet(std::time::Duration::from_millis(200)).await;
    assert!(String::from_utf8_lossy(&rest).contains("HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    let seen = gw.origin.only_request();
    assert_tenant_once(&seen);
    assert_eq!(values(&seen, "limit"), ["5"]);
    assert_eq!(seen.header("expect"), None);
    // Too large: the answer comes without the body.
    gw.origin.forget_requests();
    let mut client = RawClient::connect(gw.addr()).await;
    client.send(head.header("Content-Length", (61 * 1024).to_string()).head_bytes()).await;
    assert_refused(&client.read_response().await, 413, "body_too_large");
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn a_body_in_pieces_goes_up_whole_and_only_then() {
    let gw = TestGateway::with(ROUTES);
    let mut client = RawClient::connect(gw.addr()).await;
    let request = Request::post("/t").form("limit=5&tenant_id=evil&a=1");
    let bytes = request.bytes();
    let (first, last) = bytes.split_at(bytes.len() - 12);
    client.send(first).await;
    // Another caller is served meanwhile, so the gateway has had its chance to be hasty.
    assert_eq!(gw.get("/free?other=1").await.status, 200);
    assert_eq!(gw.origin.only_request().target, "/v0/pipes/t.json?other=1");
    client.send(last).await;
    assert_eq!(client.read_response().await.status, 200);
    let seen = gw.origin.received().pop().expect("two were received");
    assert_tenant_once(&seen);
    assert_eq!((values(&seen, "limit"), values(&seen, "a")), (vec!["5".to_owned()], vec!["1".to_owned()]));
}

#[tokio::test]
async fn h3_a_body_cut_short_never_goes_up() {
    let gw = TestGateway::with(ROUTES);
    let cut = [
        Request::post("/t").header("Content-Type", FORM).header("Content-Length", "100").raw_body("limit=5"),
        Request::post("/t")
            .header("Content-Type", FORM)
            .header("Transfer-Encoding", "chunked")
            .raw_body("7\r\nlimit=5\r\n"),
        Request::post("/t").header("Content-Type", FORM).header("Transfer-Encoding", "chunked").raw_body("7\r\nlimit"),
        Request::post("/t")
            .header("Content-Type", FORM)
            .header("Transfer-Encoding", "chunked")
            .raw_body("zz\r\nlimit=5\r\n0\r\n\r\n"),
        Request::post("/t").header("Content-Type", JSON).header("Content-Length", "50").raw_body("{\"a\":1}"),
    ];
    for request in &cut {
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(request.bytes()).await;
        client.half_close().await;
        if let Ok(response) = client.try_read_response().await {
            assert!([400, 408].contains(&response.status), "{response:?}");
            assert_nothing_betrayed(&response);
        }
        let mut client = RawClient::connect(gw.addr()).await;
        client.send(request.bytes()).await;
        client.abort();
    }
    assert_eq!(gw.get("/free").await.status, 200);
    assert_eq!(gw.origin.only_request().target, "/v0/pipes/t.json");
    gw.assert_alive().await;
}

#[tokio::test]
async fn a_parameter_body_goes_up_again_on_a_retry() {
    let gw = TestGateway::with(ROUTES);
    gw.origin.script([crate::support::origin::Answer::status(500)]);
    let response = gw.post("/t", FORM, b"limit=5&tenant_id=evil").await;
    assert_eq!(response.status, 200, "{response:?}");
    let seen = gw.origin.received();
    assert_eq!(seen.len(), 2);
    assert_eq!((&seen[0].target, &seen[0].body), (&seen[1].target, &seen[1].body));
    for seen in &seen {
        assert_tenant_once(seen);
        assert_eq!(values(seen, "limit"), ["5"]);
    }
}

#[tokio::test]
async fn a_post_may_have_no_body() {
    let gw = TestGateway::with(ROUTES);
    for request in
        [Request::post("/t?limit=5"), Request::post("/t?limit=5").body(""), Request::post("/t?limit=5").form("")]
    {
        gw.origin.forget_requests();
        assert_eq!(request.send(gw.addr()).await.status, 200, "{request:?}");
        let seen = gw.origin.only_request();
        assert_tenant_once(&seen);
        assert_eq!(values(&seen, "limit"), ["5"]);
        seen.assert_strictly_valid();
    }
}

/// Where a caller puts parameters.
#[derive(Clone, Copy, Debug)]
enum Place {
    Form,
    Json,
    Query,
}

impl Place {
    /// Pairs that are already form-encoded; JSON has no such thing.
    async fn send(self, gw: &TestGateway, path: &str, encoded: &str) -> Response {
        match self {
            Self::Form => gw.post(path, FORM, encoded.as_bytes()).await,
            Self::Query => gw.get(&format!("{path}?{encoded}")).await,
            Self::Json => panic!("an encoded pair is no JSON"),
        }
    }

    /// A pair of plain words.
    async fn send_pair(self, gw: &TestGateway, path: &str, name: &str, value: &str) -> Response {
        match self {
            Self::Form | Self::Query => self.send(gw, path, &format!("{name}={}", value.replace(' ', "+"))).await,
            Self::Json => gw.post(path, JSON, format!("{{\"{name}\":\"{value}\"}}").as_bytes()).await,
        }
    }
}

/// Every parameter the upstream got, duplicates included: those of the query first.
fn everything(seen: &Received) -> Vec<(String, String)> {
    let mut pairs = seen.query_pairs();
    let kind = seen.header("content-type").unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "" => assert_eq!(seen.body_length, 0, "a body of no type: {seen:?}"),
        FORM => pairs.extend(seen.form_pairs()),
        JSON => pairs.extend(json_pairs(seen)),
        other => panic!("the upstream got {other}: {seen:?}"),
    }
    pairs
}

/// The values of one parameter, wherever they stand.
fn values(seen: &Received, name: &str) -> Vec<String> {
    everything(seen).into_iter().filter(|pair| pair.0 == name).map(|pair| pair.1).collect()
}

/// The members of a JSON body in order, duplicates included.
fn json_pairs(seen: &Received) -> Vec<(String, String)> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, serde_json::Value>()? {
                members.push((name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
            }
            Ok(members)
        }
    }
    if seen.body.is_empty() {
        return Vec::new();
    }
    let mut reader = serde_json::Deserializer::from_slice(&seen.body);
    let members = serde::Deserializer::deserialize_map(&mut reader, Members);
    let members = members.unwrap_or_else(|error| panic!("no JSON object at the origin ({error}): {seen:?}"));
    // What follows the object would be read by somebody.
    serde::de::IgnoredAny::deserialize(&mut reader).expect_err("nothing after the object");
    members
}

/// The tenant is `t1`, once, and nothing of what the caller claimed has passed.
#[track_caller]
fn assert_tenant_once(seen: &Received) {
    let tenants: Vec<_> = everything(seen).into_iter().filter(|(name, _)| is_like_tenant(name)).collect();
    assert_eq!(tenants, [("tenant_id".to_owned(), "t1".to_owned())], "{seen:?}");
    assert!(!seen.contains("evil"), "{seen:?}");
    seen.assert_strictly_valid();
}

/// Names that somebody might read as the tenant's.
fn is_like_tenant(name: &str) -> bool {
    name.contains("tenant_id")
}

/// A malformed request or parameter.
#[track_caller]
fn assert_bad_request(response: &Response) {
    let code = response.json()["code"].as_str().unwrap_or_default().to_owned();
    assert!(["bad_request", "bad_parameter"].contains(&code.as_str()), "{response:?}");
    assert_refused(response, 400, &code);
}

/// A body that is malformed, or no parameter body at all.
#[track_caller]
fn assert_body_refused(what: &str, response: &Response) {
    match response.status {
        415 => assert_refused(response, 415, "unsupported_body"),
        400 => assert_bad_request(response),
        other => panic!("{what}: {other}: {response:?}"),
    }
}

/// As `assert_refused`, saying for what.
#[track_caller]
fn assert_refused_for(what: &str, response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{what}: {response:?}");
    assert_eq!(response.json()["code"], code, "{what}");
    assert_refused(response, status, code);
}

#[tokio::test]
async fn a_chunked_body_that_is_empty_needs_no_type() {
    let gw = TestGateway::with("routes: { /a: { pipe: a } }");
    let empty = Request::post("/a?x=1").chunked([]).send(gw.addr()).await;
    assert_eq!(empty.status, 200, "{}", empty.body_text());
    assert_eq!(gw.origin.only_request().target, "/v0/pipes/a.json?x=1");
    let full = Request::post("/a").chunked([b"SELECT 1".as_slice()]).send(gw.addr()).await;
    assert_refused(&full, 415, "unsupported_body");
}

#[tokio::test]
async fn p4_the_upstream_reads_the_body_in_the_type_it_was_built_in() {
    let gw = TestGateway::with("routes: { /a: { pipe: a } }");
    for (given, sent) in [
        ("application/json; charset=UTF-8; charset*=utf-16''", "application/json"),
        ("Application/JSON", "application/json"),
        ("application/x-www-form-urlencoded;charset=utf-8", "application/x-www-form-urlencoded"),
    ] {
        gw.origin.forget_requests();
        let body: &[u8] = if sent.ends_with("json") { b"{\"x\":1}" } else { b"x=1" };
        assert_eq!(gw.post("/a", given, body).await.status, 200, "{given}");
        assert_eq!(gw.origin.only_request().header("content-type").as_deref(), Some(sent), "{given}");
    }
}
