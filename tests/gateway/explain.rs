//! `routes test` tells the truth: what it says of a request is what the gateway did with it and what the origin got.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use tollgate::snapshot::explain::{Explanation, Question, Sent, Verdict, explain};

use crate::support::client::{RawClient, Request, Response, raw};
use crate::support::gateway::{TOKEN, TestGateway};
use crate::support::origin::{MockOrigin, Received};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const CHUNKED: (&str, &str) = ("Transfer-Encoding", "chunked");
/// What stands in the place of a credential.
const MASK: &str = "***";
const PAGE: (&str, &str) = ("Origin", "https://app.example.com");

/// Every kind of route, on a gateway that takes this machine for a trusted proxy.
const SECTIONS: &str = r#"
upstreams: { t: { url: '{origin}/base', token: 'p.eyJ1IjoidGVzdCJ9.a-secret-that-must-never-leave', headers: { X-Key: k } } }
server: { max_uri: 1KiB, max_headers: 2KiB, max_body: 1KiB, trusted_proxies: [127.0.0.1, 10.0.0.0/8] }
cors: { origins: ["https://app.example.com"], credentials: true }
tinybird_api: true
routes:
  /top: { pipe: top, formats: [json, csv] }
  /t/{tenant}/trend:
    pipe: "trend_{path.tenant}"
    params: { allow: [limit, from, q], fixed: { tenant_id: "{path.tenant}" }, default: { limit: 10 }, allow_public_tenant: true }
  /strict: { pipe: strict, params: { fixed: { tenant_id: t1 }, conflict: refuse } }
  /open: { pipe: open, cors: { origins: ["*"] } }
  /ch/*: { proxy: "/x/{path.rest}", methods: [GET, POST, PUT], pass_headers: [X-Trace, X-Api-Key] }
  /tail/*: { proxy: /tail, params: { fixed: { scope: "{path.rest}" }, allow_public_tenant: true } }
  /confined: { proxy: /c, methods: [GET, POST], params: { allow: [a], default: { a: 1 } } }
"#;

#[derive(Clone, Debug)]
struct Call {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

fn call(method: &str, target: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Call {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Call { method: method.to_owned(), target: target.to_owned(), headers, body: body.as_ref().to_vec() }
}

impl Call {
    fn explain(&self, gw: &TestGateway) -> Explanation {
        let question = Question::new(&self.method, &self.target, &self.headers, self.body.clone(), "localhost");
        let question = question.unwrap_or_else(|error| panic!("{self:?}: {error}"));
        explain(&gw.app().running().snapshot, &question, std::time::SystemTime::UNIX_EPOCH)
    }

    async fn send(&self, gw: &TestGateway) -> Response {
        let given = |name: &str| self.headers.iter().any(|header| header.0.eq_ignore_ascii_case(name));
        let mut request = Request::new(&self.method, &self.target);
        if given("host") {
            request = request.without_host();
        }
        for (name, value) in self.headers.iter().filter(|header| !header.0.eq_ignore_ascii_case("transfer-encoding")) {
            request = request.header(name, value);
        }
        let request = match (given("transfer-encoding"), given("content-length") || self.body.is_empty()) {
            (true, _) if self.body.is_empty() => request.chunked([]),
            (true, _) => request.chunked([self.body.as_slice()]),
            (false, true) => request.raw_body(&self.body),
            (false, false) => request.body(&self.body),
        };
        request.send(gw.addr()).await
    }
}

/// Asks and does, and compares.
async fn compare(gw: &TestGateway, call: &Call) -> Explanation {
    gw.origin.forget_requests();
    let explanation = call.explain(gw);
    let response = call.send(gw).await;
    let place = format!("{call:?}\n{explanation}\n{response:?}");
    match &explanation.verdict {
        Verdict::Answered { status } => {
            assert_eq!(response.status, *status, "{place}");
            gw.origin.assert_untouched();
        }
        Verdict::Refused { status, code, error, .. } => {
            assert_eq!(response.status, *status, "{place}");
            if call.method != "HEAD" {
                assert_eq!(response.json()["code"], *code, "{place}");
                assert_eq!(response.json()["error"], error.as_str(), "{place}");
            }
            // A body that turns out too long while it passes has begun to pass.
            if explanation.upstream.is_none() {
                gw.origin.assert_untouched();
            }
        }
        Verdict::Unparsed { status, .. } => {
            assert_eq!(response.status, *status, "{place}");
            assert!(response.body.is_empty(), "{place}");
            gw.origin.assert_untouched();
            return explanation;
        }
        Verdict::Upstream => {
            assert_eq!(response.status, 200, "{place}");
            let sent = explanation.upstream.as_ref().unwrap_or_else(|| panic!("no request in {place}"));
            assert_sent(gw, sent, &gw.origin.only_request(), &place);
        }
    }
    assert_cors(&explanation, &response, &place);
    explanation
}

fn assert_sent(gw: &TestGateway, sent: &Sent, received: &Received, place: &str) {
    assert_eq!(sent.method, received.method, "{place}");
    if !sent.url.contains(MASK) {
        assert_eq!(sent.url, format!("{}{}", gw.origin.url(), received.target), "{place}");
    }
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in &sent.headers {
        told.entry(field.name.clone()).or_default().push(field.value.clone());
    }
    let mut names = received.header_names();
    names.sort();
    names.dedup();
    assert_eq!(told.keys().cloned().collect::<Vec<_>>(), names, "{place}\n{received:?}");
    for (name, values) in told {
        let arrived: Vec<String> =
            received.headers_all(&name).iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
        match name.as_str() {
            "authorization" => {
                assert_eq!((values, arrived), (vec![MASK.to_owned()], vec![format!("Bearer {TOKEN}")]), "{place}");
            }
            "x-key" | "x-api-key" => assert!(values.iter().all(|value| value == MASK), "{place}"),
            "traceparent" => assert_eq!(arrived.len(), 1, "{place}"),
            _ => assert_eq!(values, arrived, "{name}: {place}"),
        }
    }
    let body = sent.body.as_ref().map(|body| body.bytes).unwrap_or_default();
    assert_eq!(body, received.body_length, "{place}");
    if let Some(text) = sent.body.as_ref().and_then(|body| body.text.as_ref()).filter(|text| !text.contains(MASK)) {
        assert_eq!(text.as_bytes(), received.body, "{place}");
    }
    received.assert_strictly_valid();
}

fn assert_cors(explanation: &Explanation, response: &Response, place: &str) {
    let is_cors = |name: &str| name.starts_with("access-control-") || name == "vary";
    let mut told: Vec<(String, String)> =
        explanation.cors.headers.iter().map(|field| (field.name.clone(), field.value.clone())).collect();
    let mut arrived: Vec<(String, String)> = response
        .headers
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), String::from_utf8_lossy(value).into_owned()))
        .filter(|(name, _)| is_cors(name))
        .collect();
    told.sort();
    arrived.sort();
    assert_eq!(told, arrived, "{place}");
}

#[tokio::test]
async fn what_goes_upstream_is_told_to_the_byte() {
    let gw = TestGateway::with(SECTIONS);
    let xff = ("X-Forwarded-For", "203.0.113.7, 10.1.2.3");
    for call in [
        call("GET", "/top", &[], ""),
        call("HEAD", "/top.csv?limit=5&a=%20b+c", &[("Accept", "text/csv"), ("Accept-Encoding", "gzip")], ""),
        call("GET", "/v0/pipes/top.json?x=1", &[], ""),
        call("GET", "/top?", &[("Cookie", "a=b"), ("Authorization", "Bearer caller"), ("X-Trace", "1")], ""),
        call("POST", "/top?a=1", &[], ""),
        call("POST", "/top?a=1", &[FORM], "b=2&c=%C3%A9"),
        call("POST", "/top", &[JSON], r#"{"a": 1, "big": 12345678901234567890, "l": [1, "x"]}"#),
        call("POST", "/top", &[JSON, CHUNKED], r#"{"a":1}"#),
        call("POST", "/top", &[FORM, CHUNKED], ""),
        call("POST", "/top", &[CHUNKED], ""),
        call("POST", "/top", &[("Content-Length", "0")], ""),
        call("POST", "/top", &[("Content-Length", "3"), FORM], "a=1&b=2"),
        call("GET", "/top?token=secret&Token[]=x&a=1", &[], ""),
        call("GET", "/t/acme/trend", &[], ""),
        call("GET", "/t/acme/trend?tenant_id=evil&Tenant_Id[]=evil&limit=3&x=1&q=1", &[], ""),
        call("POST", "/t/acme/trend?from=1", &[FORM], "tenant_id=evil&limit=7&token=t&x=1"),
        call("POST", "/t/acme/trend", &[JSON], r#"{"tenant_id":"evil","limit":7,"\u0074oken":"t","x":1}"#),
        call("POST", "/t/acme/trend", &[JSON], r#"{"Limit":7}"#),
        call("GET", "/strict?tenant_id=t1", &[], ""),
        call("POST", "/strict", &[JSON], r#"{"tenant_id":"t1"}"#),
        call("GET", "/%74op", &[("Host", "API.Example.com.:8080")], ""),
        call("GET", "/top", &[xff, ("X-Forwarded-Proto", "https")], ""),
        call("GET", "/top", &[("X-Forwarded-For", "unknown")], ""),
        call("GET", "/open", &[PAGE], ""),
        call("GET", "/top", &[("Origin", "https://evil.example.com")], ""),
        call("GET", "/ch/a/b%20c?x=1&token=t", &[("X-Trace", "1"), ("X-Api-Key", "secret"), ("X-Other", "1")], ""),
        call("GET", "/ch/", &[], ""),
        call("GET", "/ch/a", &[("Connection", "x-trace, Accept"), ("X-Trace", "1"), ("Accept", "*/*")], ""),
        call("GET", "/ch/a", &[("Keep-Alive", "5"), ("TE", "trailers"), ("Upgrade", "websocket")], ""),
        call("PUT", "/ch/a", &[("Content-Type", "text/plain"), ("Content-Encoding", "gzip")], "\x00\x01not gzip"),
        call("PUT", "/ch/a", &[CHUNKED], "chunked body"),
        call("PUT", "/ch/a", &[CHUNKED], ""),
        call("PUT", "/ch/a", &[("Content-Length", "0")], ""),
        call("PUT", "/ch/a", &[], ""),
        call("GET", "/ch/a", &[], "a body of a read"),
        call("GET", "/tail/x", &[], ""),
        call("GET", "/confined?a=2&b=3", &[], ""),
        call("POST", "/confined?b=3", &[], "anything"),
        call("GET", "/top", &[("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")], ""),
    ] {
        let explanation = compare(&gw, &call).await;
        assert_eq!(explanation.verdict, Verdict::Upstream, "{call:?}\n{explanation}");
    }
}

#[tokio::test]
async fn every_backend_that_a_request_may_go_to_is_told() {
    let other = MockOrigin::start();
    let gw = TestGateway::with(&format!(
        "upstreams: {{ t: {{ urls: ['{{origin}}', '{}'], token: '{TOKEN}' }} }}\nroutes: {{ /a: {{ pipe: a }} }}\n",
        other.url()
    ));
    let explanation = call("GET", "/a", &[], "").explain(&gw);
    let sent = explanation.upstream.as_ref().expect("it goes upstream");
    assert_eq!(sent.url, format!("{}/v0/pipes/a.json", gw.origin.url()));
    assert_eq!(sent.or_at, [other.url()]);
    assert!(explanation.to_string().contains(&format!("or at {}", other.url())), "{explanation}");
}

#[tokio::test]
async fn what_is_refused_is_told_in_the_callers_words() {
    let gw = TestGateway::with(SECTIONS);
    let long = "a".repeat(3 << 10);
    let large = "a".repeat(70 << 10);
    let nominations = ["a"; 12].join(",");
    for (code, call) in [
        ("uri_too_long", call("GET", &format!("/top?a={long}"), &[], "")),
        ("headers_too_large", call("GET", "/top", &[("X-A", &long)], "")),
        ("bad_request", call("GET", "/a/../top", &[], "")),
        ("bad_request", call("GET", "/a%2fb", &[PAGE], "")),
        ("bad_request", call("GET", "//top", &[], "")),
        ("bad_request", call("GET", "/%ff", &[], "")),
        ("bad_request", call("GET", "/top", &[("Host", "a b")], "")),
        ("bad_request", call("GET", "/top", &[("Host", "")], "")),
        ("bad_request", call("POST", "/top", &[("Content-Length", "3"), ("Content-Length", "3")], "a=1")),
        ("bad_request", call("POST", "/top", &[("Content-Length", "3, 3")], "a=1")),
        ("bad_request", call("POST", "/top", &[("Content-Length", "3"), CHUNKED], "a=1")),
        ("bad_request", call("GET", "/top", &[("Connection", "X-Forwarded-For")], "")),
        ("bad_request", call("GET", "/top", &[("Connection", "a b")], "")),
        ("bad_request", call("GET", "/top", &[("Connection", &nominations)], "")),
        ("route_not_found", call("GET", "/", &[], "")),
        ("route_not_found", call("GET", "/TOP", &[PAGE], "")),
        ("route_not_found", call("GET", "/top.ndjson", &[], "")),
        ("route_not_found", call("GET", "/t/a.b/trend", &[], "")),
        ("method_not_allowed", call("PUT", "/top", &[PAGE], "")),
        ("method_not_allowed", call("get", "/top", &[], "")),
        ("method_not_allowed", call("OPTIONS", "/top", &[], "")),
        ("method_not_allowed", call("OPTIONS", "/top", &[PAGE], "")),
        ("method_not_allowed", call("DELETE", "/ch/a", &[], "")),
        ("control_parameter", call("GET", "/top?limit=1&q=SELECT", &[], "")),
        ("control_parameter", call("GET", "/top?__TB__x=1", &[PAGE], "")),
        ("control_parameter", call("POST", "/top", &[FORM], "Debug_x=1")),
        ("control_parameter", call("POST", "/top", &[JSON], r#"{"explain":true}"#)),
        ("bad_parameter", call("GET", "/top?a%20b=1", &[], "")),
        ("bad_parameter", call("GET", "/top?a=%00", &[], "")),
        ("bad_parameter", call("GET", "/top?%ff=1", &[], "")),
        ("bad_parameter", call("GET", "/strict?tenant_id=evil", &[], "")),
        ("bad_parameter", call("POST", "/strict", &[JSON], r#"{"tenant_id":["t1"]}"#)),
        ("bad_parameter", call("POST", "/top", &[JSON], r#"{"a":{"b":1}}"#)),
        ("bad_request", call("POST", "/top", &[JSON], r#"{"a":"#)),
        ("unsupported_body", call("POST", "/top", &[JSON], "[1]")),
        ("unsupported_body", call("POST", "/top", &[], "a=1")),
        ("unsupported_body", call("POST", "/top", &[CHUNKED], "a=1")),
        ("unsupported_body", call("POST", "/top", &[("Content-Type", "text/plain")], "a=1")),
        ("unsupported_body", call("POST", "/top", &[FORM, ("Content-Encoding", "gzip")], "a=1")),
        ("unsupported_body", call("POST", "/top", &[FORM], b"a=\xff")),
        ("unsupported_body", call("GET", "/top", &[FORM], "a=1")),
        ("unsupported_body", call("GET", "/confined", &[], "a=1")),
        ("unsupported_body", call("GET", "/confined", &[CHUNKED], "a=1")),
        ("tenant_missing", call("GET", "/tail/", &[], "")),
        ("body_too_large", call("POST", "/top", &[FORM], &large)),
        ("body_too_large", call("POST", "/top", &[FORM, CHUNKED], &large)),
        ("body_too_large", call("PUT", "/ch/a", &[], &long)),
        // The last, because it has begun to pass when it turns out too long: the origin hears of it whenever it may.
        ("body_too_large", call("PUT", "/ch/a", &[CHUNKED], &long)),
    ] {
        let explanation = compare(&gw, &call).await;
        let Verdict::Refused { code: told, .. } = &explanation.verdict else { panic!("{call:?}\n{explanation}") };
        assert_eq!(*told, code, "{call:?}\n{explanation}");
    }
}

#[tokio::test]
async fn what_the_parser_refuses_is_told_as_bare() {
    let gw = TestGateway::with(SECTIONS);
    for call in [
        call("GET", "/top", &[("Host", "a"), ("Host", "b")], ""),
        call("GET", "/top", &[("Host", "u@a")], ""),
        call("POST", "/top", &[("Content-Length", "3"), ("Content-Length", "4")], "a=1"),
        call("POST", "/top", &[("Content-Length", "+3")], "a=1"),
        call("CONNECT", "/top", &[], ""),
        call("CONNECT", "/top<", &[], ""),
        call("CONNECT", "/top", &[("Host", "a"), ("Host", "b")], ""),
        call("CONNECT", "/top", &[("Host", "u@a")], ""),
        call("CONNECT", "/top", &[("Content-Length", "+3")], ""),
        call("GET", "/top<", &[], ""),
        call("GET", "/top^", &[], ""),
        call("GET", "/top?a=\u{e9}", &[], ""),
        call("GET", "/top\\", &[], ""),
    ] {
        compare(&gw, &call).await;
    }
    // The client of these tests frames bodies itself.
    let head = "CONNECT /top HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n";
    let answer = raw(gw.addr(), head).await;
    let told = call("CONNECT", "/top", &[("Transfer-Encoding", "gzip")], "").explain(&gw).verdict;
    assert!(answer.starts_with(b"HTTP/1.1 400 ") && matches!(told, Verdict::Unparsed { status: 400, .. }), "{told:?}");
    let explanation = call("GET", "/top", &[("Host", "a"), ("Host", "b")], "").explain(&gw);
    assert!(matches!(explanation.verdict, Verdict::Unparsed { status: 400, .. }), "{explanation}");
}

#[tokio::test]
async fn a_body_that_passes_and_breaks_off_is_told_with_the_head_that_was_sent() {
    let gw = TestGateway::with(SECTIONS);
    let cut = call("PUT", "/ch/a", &[("Content-Length", "10")], "abc").explain(&gw);
    let Verdict::Refused { status: 408, rule, .. } = &cut.verdict else { panic!("{cut}") };
    assert!(rule.contains("the upstream has the head by then"), "{rule}");
    let sent = cut.upstream.as_ref().expect("it is told what was sent");
    assert_eq!(sent.body.as_ref().and_then(|body| body.text.as_deref()), Some("abc"));
    assert_eq!(cut.retries, None);
    let mut client = RawClient::connect(gw.addr()).await;
    client.send("PUT /ch/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc").await;
    gw.origin.until("the head", |seen| seen.heads == 1).await;

    let long = "a".repeat(3 << 10);
    let chunked = call("PUT", "/ch/a", &[CHUNKED], &long).explain(&gw);
    assert!(chunked.upstream.is_some() && chunked.to_string().contains("the head by then"), "{chunked}");
    // What is read first is refused before anything is sent.
    for early in [
        call("PUT", "/ch/a", &[], &long),
        call("POST", "/top", &[("Content-Length", "10"), FORM], "a=1"),
        call("POST", "/top", &[FORM, CHUNKED], "a".repeat(70 << 10)),
    ] {
        let told = early.explain(&gw);
        assert!(told.verdict.is_refusal() && told.upstream.is_none(), "{told}");
    }
}

#[tokio::test]
async fn preflights_are_told_with_their_headers() {
    let gw = TestGateway::with(SECTIONS);
    let asks = ("Access-Control-Request-Method", "POST");
    for (call, readable) in [
        (call("OPTIONS", "/top", &[PAGE, asks], ""), true),
        (call("OPTIONS", "/top?q=1", &[PAGE, asks, ("Access-Control-Request-Headers", "x-a, x-b")], ""), true),
        (call("OPTIONS", "/top", &[("Origin", "https://evil.example.com"), asks], ""), false),
        (call("OPTIONS", "/open", &[("Origin", "https://evil.example.com"), asks], ""), true),
    ] {
        let explanation = compare(&gw, &call).await;
        assert_eq!(explanation.verdict, Verdict::Answered { status: 204 }, "{call:?}");
        assert_eq!(explanation.cors.readable, readable, "{call:?}");
    }
}

#[tokio::test]
async fn asking_counts_and_sends_nothing() {
    let gw = TestGateway::with(SECTIONS);
    for target in ["/top", "/ch/a", "/top?q=1", "/nothing"] {
        call("GET", target, &[], "").explain(&gw);
    }
    gw.origin.assert_untouched();
    assert_eq!(gw.origin.connections(), 0);
    let metrics = gw.metrics().await;
    let counted = metrics.lines().find(|line| line.starts_with("tollgate_requests_total{") && !line.ends_with(" 0"));
    assert_eq!(counted, None);
}

#[tokio::test]
async fn no_explanation_shows_a_credential() {
    let gw = TestGateway::with(SECTIONS);
    let secrets = [("Authorization", "Bearer hunter2"), ("X-Api-Key", "hunter2"), ("Cookie", "s=hunter2")];
    for call in [
        call("GET", "/top?token=hunter2&%54oken[]=hunter2", &secrets, ""),
        call("GET", "/ch/a&token=hunter2?token=hunter2", &secrets, ""),
        call("GET", "/ch/a%26%74oken%3Dhunter2", &secrets, ""),
        call("GET", "/tail/a&token=hunter2", &secrets, ""),
        call("POST", "/top", &[secrets[0], secrets[1], FORM], "token=hunter2"),
        call("POST", "/top", &[secrets[0], secrets[2], JSON], r#"{"token":"hunter2"}"#),
        call("GET", "/nothing?token=hunter2", &secrets, ""),
        call("GET", "/../x?token=hunter2", &secrets, ""),
    ] {
        let explanation = call.explain(&gw);
        for shown in [
            explanation.to_string(),
            serde_json::to_string(&explanation).expect("it serialises"),
            format!("{explanation:?}"),
        ] {
            assert!(!shown.contains("hunter2") && !shown.contains(TOKEN), "{shown}");
        }
    }
}

#[test]
fn whatever_is_asked_is_what_happens() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let gw = TestGateway::with(SECTIONS);
    let mut runner = TestRunner::new(Cases { cases: 300, ..Cases::default() });
    let ran = runner.run(&any_call(), |call| {
        runtime.block_on(compare(&gw, &call));
        Ok(())
    });
    ran.unwrap_or_else(|error| panic!("{error}"));
}

fn any_call() -> impl Strategy<Value = Call> {
    let method = proptest::sample::select(vec!["GET", "GET", "POST", "POST", "HEAD", "PUT", "OPTIONS", "DELETE", "x"]);
    let path = "(/(top|top\\.csv|t/[a-z.%0-9]{1,4}/trend|strict|open|ch/|ch/[a-zA-Z/%20.;=&+]{0,8}|tail/[a-z]{0,2}|confined|[ -~]{0,6}))";
    let path = path.prop_map(|path| path.replace(['#', ' ', '?'], ""));
    let pair = "(limit|from|tenant_id|Tenant_ID\\[\\]|token|q|Q|a|b|debug|format|[!-~]{0,3})=([a-z0-9%&;+=]{0,4}|t1|[!-~]{0,4})";
    let pairs = proptest::collection::vec(pair, 0..4).prop_map(|pairs| pairs.join("&").replace('#', ""));
    let header = proptest::sample::select(vec![
        FORM,
        JSON,
        PAGE,
        ("Origin", "https://evil.example.com"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "x-a"),
        ("Accept", "text/csv"),
        ("X-Trace", "1"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-For", "1.2.3.4, 10.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("Connection", "x-trace, accept"),
        ("Content-Encoding", "gzip"),
        ("Range", "bytes=0-5"),
        ("If-None-Match", "\"a\""),
        ("Cookie", "a=b"),
        CHUNKED,
    ]);
    let headers = proptest::collection::vec(header, 0..5);
    let body = prop_oneof![
        3 => Just(String::new()),
        2 => pairs.clone(),
        2 => "\\{(\"(limit|tenant_id|a|token|q)\":(1|\"t1\"|\\[1,2\\]|\\{\\}|null),?){0,3}\\}",
        1 => "[ -~]{1,10}",
    ];
    (method, path, pairs, headers, body).prop_map(|(method, path, query, mut headers, body)| {
        headers.dedup();
        let chunked = headers.iter().position(|header| *header == CHUNKED);
        // One coding is enough: what two are taken for is in the tables above.
        let mut index = 0;
        headers.retain(|header| {
            index += 1;
            *header != CHUNKED || chunked == Some(index - 1)
        });
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        call(method, &target, &headers, body)
    })
}
