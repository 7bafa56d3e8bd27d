//! `log.traces`: spans of requests, as a collector gets them.
//!
//! The collector is a [`MockOrigin`]; what it gets is read with OpenTelemetry's own message types.
#![cfg(feature = "otel")]

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;

use crate::support::client::Request;
use crate::support::eventually::{eventually, eventually_async};
use crate::support::gateway::{TOKEN, TestGateway};
use crate::support::origin::{Answer, MockOrigin};
use crate::support::process::Process;
use crate::support::unreachable::RefusedPort;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const ROUTES: &str = "routes:
  /a: { pipe: a, auth: public }
  /kept/{id}: { proxy: '/deep/{path.id}', auth: public }
  /private: { pipe: p, auth: partners }
auth: { partners: { type: tinybird_jwt, secret: a-secret-of-at-least-thirty-two-bytes, workspace_id: w } }
";

fn sections(collector: &str, more: &str) -> String {
    format!(
        "upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}', retry: {{ attempts: 3, base: 20ms }} }} }}
log:
  format: json
  access: access.log
  traces: {{ url: '{collector}', {more} }}
{ROUTES}"
    )
}

/// What collectors answer: an empty message.
fn collector() -> MockOrigin {
    let collector = MockOrigin::start();
    collector.always(Answer::with_body(200, "application/x-protobuf", b""));
    collector
}

/// The messages that came, once they hold `count` spans.
async fn spans(collector: &MockOrigin, count: usize) -> Vec<Span> {
    let all = || -> Vec<Span> { messages(collector).into_iter().flat_map(spans_of).collect() };
    eventually(&format!("{count} spans"), || all().len() >= count).await;
    assert_eq!(all().len(), count, "{:#?}", all());
    all()
}

fn messages(collector: &MockOrigin) -> Vec<ExportTraceServiceRequest> {
    let received = collector.received();
    let decoded = received.iter().map(|seen| ExportTraceServiceRequest::decode(seen.body.as_slice()));
    decoded.map(|decoded| decoded.expect("a message of OTLP")).collect()
}

fn spans_of(message: ExportTraceServiceRequest) -> Vec<Span> {
    let scopes = message.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let shown = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("an attribute of another kind: {other:?}"),
    };
    let pairs = span.attributes.iter().cloned();
    pairs.map(|pair| (pair.key, shown(pair.value.and_then(|any| any.value)))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn of_kind(spans: &[Span], kind: SpanKind) -> Vec<&Span> {
    spans.iter().filter(|span| span.kind == i32::from(kind)).collect()
}

#[tokio::test]
async fn a_request_and_its_tries_are_one_trace() {
    let collector = collector();
    let gw = TestGateway::with(&sections(&collector.url(), "sample: 0%, service: shop, headers: { X-Tenant: dev }"));
    gw.origin.script([Answer::status(500), Answer::ok()]);
    let call = Request::get("/a?secret=value").header("traceparent", format!("00-{TRACE}-{CALLER}-01"));
    let response = call.header("tracestate", "rojo=1").header("tracestate", "congo=2").send(gw.addr()).await;
    assert_eq!(response.status, 200);

    let spans = spans(&collector, 3).await;
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE && span.trace_state == "rojo=1,congo=2"));
    let [exchange] = of_kind(&spans, SpanKind::Server)[..] else { panic!("{spans:#?}") };
    assert_eq!((exchange.name.as_str(), hex(&exchange.parent_span_id).as_str()), ("GET /a", CALLER));
    // Sampled, and its parent came over the wire.
    assert_eq!((exchange.flags, &exchange.status), (0x301, &None));
    let said = attributes(exchange);
    let id = response.header("x-request-id").unwrap();
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/a"),
        ("http.response.status_code", "200"),
        ("url.path", "/a"),
        ("url.scheme", "http"),
        ("server.address", "localhost"),
        ("client.address", "127.0.0.1"),
        ("tollgate.route", "/a"),
        ("tollgate.upstream", "t"),
        ("tollgate.request_id", id.as_str()),
    ] {
        assert_eq!(said.get(key).map(String::as_str), Some(value), "{key} in {said:?}");
    }
    assert!(!said.contains_key("error.type") && !said.contains_key("tollgate.refusal"), "{said:?}");

    let tries = of_kind(&spans, SpanKind::Client);
    let upstream = gw.origin.received();
    assert_eq!((tries.len(), upstream.len()), (2, 2));
    for (tried, seen) in tries.iter().zip(&upstream) {
        assert_eq!((tried.name.as_str(), &tried.parent_span_id, tried.flags), ("GET", &exchange.span_id, 0x101));
        assert_eq!(seen.header("traceparent").unwrap(), format!("00-{TRACE}-{}-01", hex(&tried.span_id)));
        assert_eq!(seen.header("tracestate").unwrap(), "rojo=1,congo=2");
        assert!(exchange.start_time_unix_nano <= tried.start_time_unix_nano);
        assert!(tried.start_time_unix_nano <= tried.end_time_unix_nano);
        assert!(tried.end_time_unix_nano <= exchange.end_time_unix_nano);
    }
    assert!(tries[0].end_time_unix_nano <= tries[1].start_time_unix_nano);
    let (first, second) = (attributes(tries[0]), attributes(tries[1]));
    let url = format!("{}/v0/pipes/a.json", gw.origin.url());
    assert_eq!((&first["url.full"], &first["server.port"]), (&url, &gw.origin.addr().port().to_string()));
    assert_eq!((&*first["http.response.status_code"], &*first["error.type"]), ("500", "500"));
    assert_eq!(tries[0].status.as_ref().unwrap().code, i32::from(StatusCode::Error));
    assert_eq!((&*second["http.response.status_code"], &*second["http.request.resend_count"]), ("200", "1"));
    assert!(second.contains_key("tollgate.wait_ms") && !first.contains_key("tollgate.wait_ms"));
    assert_eq!((second.get("error.type"), &tries[1].status), (None, &None));

    assert_eq!(gw.log(1).await[0]["trace_id"], TRACE);
    let sent = collector.only_request();
    assert_eq!((sent.method.as_str(), sent.target.as_str()), ("POST", "/v1/traces"));
    assert_eq!(sent.header("content-type").unwrap(), "application/x-protobuf");
    assert_eq!(sent.header("x-tenant").unwrap(), "dev");
    let message = messages(&collector).pop().unwrap();
    let resource = message.resource_spans[0].resource.clone().unwrap();
    let resource = attributes(&Span { attributes: resource.attributes, ..Span::default() });
    assert_eq!((&*resource["service.name"], resource["service.instance.id"].len()), ("shop", 32));
    assert_eq!(resource["service.version"], env!("CARGO_PKG_VERSION"));
    let bytes = String::from_utf8_lossy(&sent.body).into_owned();
    assert!(!bytes.contains("secret=value") && !bytes.contains(TOKEN), "no query, no credential");
}

#[tokio::test]
async fn what_fails_says_why() {
    let (collector, port) = (collector(), RefusedPort::reserve());
    let text = sections(&collector.url(), "sample: 100%").replace("{origin}", &port.url());
    let gw = TestGateway::with(&text);
    assert_eq!(gw.get("/a").await.status, 502);
    assert_eq!(gw.get("/private").await.status, 401);
    assert_eq!(gw.get("/nowhere/else").await.status, 404);
    assert_eq!(Request::new("BREW", "/a").send(gw.addr()).await.status, 405);
    let spans = spans(&collector, 7).await;
    let exchanges = of_kind(&spans, SpanKind::Server);
    let mut found: Vec<_> = exchanges
        .iter()
        .map(|span| {
            let said = attributes(span);
            let field = |key: &str| said.get(key).cloned().unwrap_or_default();
            (span.name.clone(), field("tollgate.refusal"), field("error.type"), span.status.is_some())
        })
        .collect();
    found.sort();
    let expected = [
        ("GET", "route_not_found", "", false),
        ("GET /a", "upstream_failed", "upstream_failed", true),
        ("GET /private", "credential_missing", "", false),
        ("HTTP /a", "method_not_allowed", "", false),
    ];
    let expected =
        expected.map(|(name, refusal, error, bad)| (name.to_owned(), refusal.to_owned(), error.to_owned(), bad));
    assert_eq!(found, expected);
    assert!(exchanges.iter().all(|span| span.parent_span_id.is_empty() && span.flags == 0x101));
    for tried in of_kind(&spans, SpanKind::Client) {
        let said = attributes(tried);
        assert_eq!((&*said["error.type"], said.get("http.response.status_code")), ("connection_failed", None));
    }
}

#[tokio::test]
async fn the_caller_decides_and_else_the_share() {
    let collector = collector();
    let gw = TestGateway::with(&sections(&collector.url(), "sample: 100%"));
    let unsampled = format!("00-{TRACE}-{CALLER}-00");
    assert_eq!(Request::get("/a").header("traceparent", &unsampled).send(gw.addr()).await.status, 200);
    assert_eq!(gw.get("/kept/7").await.status, 200);
    let spans = spans(&collector, 2).await;
    assert!(spans.iter().all(|span| hex(&span.trace_id) != TRACE), "{spans:#?}");
    assert_eq!(of_kind(&spans, SpanKind::Server)[0].name, "GET /kept/{id}");
    let flags: Vec<String> =
        gw.origin.received().iter().map(|seen| seen.header("traceparent").unwrap()[53..].to_owned()).collect();
    assert_eq!(flags, ["00", "01"]);
}

#[tokio::test]
async fn a_collector_that_cannot_now_is_asked_again() {
    let collector = collector();
    collector.script([Answer::status(503), Answer::status(429).header("Retry-After", "1")]);
    let gw = TestGateway::with(&sections(&collector.url(), "sample: 100%"));
    assert_eq!(gw.get("/a").await.status, 200);
    let requests = collector.requests(3).await;
    assert!(requests.iter().all(|seen| seen.body == requests[0].body));
    eventually_async("both spans to be counted", || async {
        gw.metric("tollgate_trace_spans_total{result=\"sent\"}").await == 2.0
    })
    .await;
    assert_eq!(gw.metric("tollgate_trace_export_failures_total").await, 2.0);
    assert_eq!(gw.metric("tollgate_trace_spans_total{result=\"dropped\"}").await, 0.0);
}

#[tokio::test]
async fn what_is_rejected_is_counted() {
    let collector = collector();
    let partial = ExportTracePartialSuccess { rejected_spans: 1, error_message: "too old".to_owned() };
    let body = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    collector.script([Answer::with_body(200, "application/x-protobuf", body)]);
    let gw = TestGateway::with(&sections(&collector.url(), "sample: 100%"));
    assert_eq!(gw.get("/a").await.status, 200);
    let counted = || async {
        let sent = gw.metric("tollgate_trace_spans_total{result=\"sent\"}").await;
        (sent, gw.metric("tollgate_trace_spans_total{result=\"dropped\"}").await)
    };
    eventually_async("both spans to be counted", || async { counted().await == (1.0, 1.0) }).await;
    collector.script([Answer::status(400)]);
    assert_eq!(gw.get("/a").await.status, 200);
    eventually_async("two more", || async { counted().await == (1.0, 3.0) }).await;
}

#[tokio::test]
async fn a_collector_that_is_away_costs_no_request_and_is_said_once() {
    let (origin, port) = (MockOrigin::start(), RefusedPort::reserve());
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\n{}",
        sections(&port.url(), "sample: 100%, headers: { Authorization: Bearer-a-credential-for-it }")
            .replace("{origin}", &origin.url())
    );
    let mut process = Process::start(&text).await;
    for _ in 0..3 {
        assert_eq!(Request::get("/a").send(process.addr()).await.status, 200);
    }
    eventually("a word about the collector", || process.stderr().contains("collector of traces")).await;
    process.signal("TERM");
    assert!(process.ended().await.success());
    let said = process.stderr();
    assert_eq!(said.matches("the collector of traces at ").count(), 1, "{said}");
    assert!(said.contains(&format!("{}/v1/traces cannot be reached", port.url())), "{said}");
    assert!(!said.contains("a-credential-for-it"), "{said}");
}

#[tokio::test]
async fn what_waits_is_sent_before_the_end() {
    let (origin, collector) = (MockOrigin::start(), collector());
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nadmin: {{ address: 127.0.0.1:0 }}\n{}",
        sections(&collector.url(), "sample: 100%").replace("{origin}", &origin.url())
    );
    let mut process = Process::start(&text).await;
    for _ in 0..20 {
        assert_eq!(Request::get("/a").send(process.addr()).await.status, 200);
    }
    process.signal("TERM");
    assert!(process.ended().await.success());
    assert_eq!(messages(&collector).into_iter().flat_map(spans_of).count(), 40);
}

#[tokio::test]
async fn without_a_collector_traces_still_pass() {
    let gw = TestGateway::with(&format!("upstreams: {{ t: {{ url: '{{origin}}', token: '{TOKEN}' }} }}\n{ROUTES}"));
    let call = Request::get("/a").header("traceparent", format!("00-{TRACE}-{CALLER}-01")).header("tracestate", "a=1");
    assert_eq!(call.send(gw.addr()).await.status, 200);
    let seen = gw.origin.only_request();
    let given = seen.header("traceparent").unwrap();
    assert!(given.starts_with(&format!("00-{TRACE}-")) && given.ends_with("-01") && !given.contains(CALLER));
    assert_eq!(seen.header("tracestate").unwrap(), "a=1");
    assert_eq!(gw.log(1).await[0]["trace_id"], TRACE);
}

#[tokio::test]
async fn a_trace_state_that_is_not_continued_does_not_travel() {
    let gw = TestGateway::with("routes: { /a: { proxy: /a, pass_headers: [tracestate] } }");
    for (parent, state) in [("evil", "a=1"), ("", "a=1"), (&*format!("00-{TRACE}-{CALLER}-01"), "A=1,=")] {
        let call = Request::get("/a").header("traceparent", parent).header("tracestate", state);
        assert_eq!(call.send(gw.addr()).await.status, 200);
        assert_eq!(gw.origin.received().pop().unwrap().header("tracestate"), None);
    }
}
