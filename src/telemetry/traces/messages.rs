//! What stands in a span.
//!
//! In: drafts. Out: the message that collectors take, in the words of
//! OpenTelemetry's semantic conventions for HTTP (1.37), and `tollgate.*` for
//! what they have no word for. Not here: queries, bodies and credentials; an
//! outcome has none.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::Method;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, SpanFlags, Status};

use crate::telemetry::trace::{Spans, Trace, Try, random_hex};

use super::Draft;

/// The version of the conventions.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";
/// How operators know a caller who left before there was an answer.
const CALLER_LEFT: u16 = 499;
/// Methods that a label may have.
const KNOWN: [Method; 9] = [
    Method::CONNECT,
    Method::DELETE,
    Method::GET,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::POST,
    Method::PUT,
    Method::TRACE,
];

/// Who sends.
#[derive(Debug)]
pub(super) struct Origin {
    resource: Resource,
    scope: InstrumentationScope,
}

impl Origin {
    pub(super) fn new(service: &str) -> Self {
        let instance: [u8; 32] = random_hex();
        let version = env!("CARGO_PKG_VERSION");
        let attributes = vec![
            text("service.name", service),
            text("service.version", version),
            // Of this process: several gateways have one name.
            text("service.instance.id", std::str::from_utf8(&instance).unwrap_or_default()),
        ];
        let scope = InstrumentationScope { name: "tollgate".into(), version: version.into(), ..Default::default() };
        Origin { resource: Resource { attributes, ..Resource::default() }, scope }
    }

    pub(super) fn request(&self, drafts: impl Iterator<Item = Draft>) -> ExportTraceServiceRequest {
        let mut spans = Vec::new();
        for draft in drafts {
            if let Some(recorded) = draft.trace.spans() {
                spans.push(exchange(&draft, recorded));
                spans.extend((0..).zip(&recorded.tries).map(|tried| attempt(&draft, recorded, tried)));
            }
        }
        let scope_spans = vec![ScopeSpans { scope: Some(self.scope.clone()), spans, schema_url: SCHEMA.to_owned() }];
        let resource = Some(self.resource.clone());
        let resource_spans = vec![ResourceSpans { resource, scope_spans, schema_url: SCHEMA.to_owned() }];
        ExportTraceServiceRequest { resource_spans }
    }
}

/// The span of the exchange, as the caller's call sees it.
fn exchange(draft: &Draft, recorded: &Spans) -> Span {
    let Draft { outcome, scheme, .. } = draft;
    let (method, original) = named(&outcome.method);
    let mut attributes = vec![
        text("http.request.method", method),
        text("url.scheme", scheme.as_str()),
        text("url.path", &*outcome.path),
        text("client.address", outcome.client.to_string()),
        text("tollgate.request_id", &*outcome.request_id),
        number("http.request.body.size", outcome.request_bytes),
        number("http.response.body.size", outcome.response_bytes),
    ];
    attributes.extend(original.map(|original| text("http.request.method_original", original)));
    attributes.extend((!outcome.host.is_empty()).then(|| text("server.address", &*outcome.host)));
    let refusal = outcome.refusal.map(|refusal| refusal.as_str());
    let said = [
        ("http.route", outcome.route.as_deref()),
        ("tollgate.route", outcome.route.as_deref()),
        ("tollgate.upstream", outcome.upstream.as_deref()),
        ("tollgate.tenant", outcome.tenant.as_ref().map(|tenant| tenant.as_str())),
        ("tollgate.refusal", refusal),
        ("tollgate.limit", outcome.limited_by.as_deref()),
    ];
    attributes.extend(said.into_iter().filter_map(|(key, value)| Some(text(key, value?))));
    let (costs, code) = (&outcome.statistics, outcome.status.to_string());
    let costs = [("tollgate.rows_read", costs.rows_read), ("tollgate.bytes_read", costs.bytes_read)];
    attributes.extend(costs.into_iter().filter_map(|(key, value)| Some(number(key, value?))));
    let error = match outcome.status {
        CALLER_LEFT => Some("client_closed_request"),
        500.. => Some(refusal.unwrap_or(&code)),
        _ => None,
    };
    if outcome.status != CALLER_LEFT {
        attributes.push(number("http.response.status_code", outcome.status));
    }
    attributes.extend(error.map(|error| text("error.type", error)));
    // What callers did wrong is no error of a server (4xx).
    let status = (outcome.status >= 500).then(|| failed(outcome.fault.clone().unwrap_or_default()));
    let verb = if original.is_some() { "HTTP" } else { method };
    Span {
        name: outcome.route.as_ref().map_or_else(|| verb.to_owned(), |route| format!("{verb} {route}")),
        kind: SpanKind::Server.into(),
        span_id: id(&recorded.own),
        parent_span_id: recorded.parent.as_ref().map(|parent| id(parent)).unwrap_or_default(),
        start_time_unix_nano: nanos(outcome.at),
        end_time_unix_nano: nanos(outcome.at + outcome.elapsed),
        attributes,
        status,
        flags: flags(&draft.trace, if recorded.parent.is_some() { SpanFlags::ContextIsRemoteMask as u32 } else { 0 }),
        ..of(&draft.trace)
    }
}

/// The span of one try, as the upstream's own spans see their parent.
fn attempt(draft: &Draft, recorded: &Spans, (index, tried): (usize, &Try)) -> Span {
    let outcome = &draft.outcome;
    let (method, _) = named(&outcome.method);
    let ended = tried.ended.unwrap_or(draft.started + outcome.elapsed).max(tried.began);
    let (address, port) = server(&tried.url);
    let mut attributes =
        vec![text("http.request.method", method), text("url.full", &*tried.url), text("server.address", address)];
    attributes.extend(port.map(|port| number("server.port", port)));
    attributes.extend(outcome.upstream.as_deref().map(|name| text("tollgate.upstream", name)));
    let before = index.checked_sub(1).and_then(|before| recorded.tries.get(before)?.ended);
    if index > 0 {
        let waited = tried.began.saturating_duration_since(before.unwrap_or(tried.began));
        attributes.push(number("http.request.resend_count", index as u64));
        attributes.push(number("tollgate.wait_ms", u64::try_from(waited.as_millis()).unwrap_or(u64::MAX)));
    }
    attributes.extend(tried.status.map(|status| number("http.response.status_code", status)));
    let code = tried.status.unwrap_or_default();
    let error = match tried.failure {
        Some(failure) => Some(failure.as_str().to_owned()),
        None if code >= 400 => Some(code.to_string()),
        // Nothing came: the caller left, or the gateway gave up.
        None if code == 0 => Some("cancelled".to_owned()),
        None => None,
    };
    let status = error.as_ref().map(|_| failed(String::new()));
    attributes.extend(error.map(|error| text("error.type", error)));
    Span {
        name: method.to_owned(),
        kind: SpanKind::Client.into(),
        span_id: id(&tried.span),
        parent_span_id: id(&recorded.own),
        start_time_unix_nano: nanos(wall(draft, tried.began)),
        end_time_unix_nano: nanos(wall(draft, ended)),
        attributes,
        status,
        flags: flags(&draft.trace, 0),
        ..of(&draft.trace)
    }
}

/// What all spans of a trace have in common.
fn of(trace: &Trace) -> Span {
    let state = trace.state().and_then(|state| state.to_str().ok()).unwrap_or_default();
    Span { trace_id: id(trace.id().as_bytes()), trace_state: state.to_owned(), ..Span::default() }
}

fn flags(trace: &Trace, remote: u32) -> u32 {
    u32::from(trace.flags()) | SpanFlags::ContextHasIsRemoteMask as u32 | remote
}

fn failed(message: String) -> Status {
    Status { message, code: StatusCode::Error.into() }
}

/// A method as a label has it, and as it came where that is another one: callers may invent any number of them.
fn named(method: &Method) -> (&str, Option<&str>) {
    if KNOWN.contains(method) { (method.as_str(), None) } else { ("_OTHER", Some(method.as_str())) }
}

/// Host and port of a URL that we put together ourselves.
fn server(url: &str) -> (String, Option<u16>) {
    let Ok(url) = url.parse::<http::Uri>() else { return (String::new(), None) };
    let port = url.port_u16().or_else(|| Some(if url.scheme_str() == Some("https") { 443 } else { 80 }));
    (url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned(), port)
}

/// The time of day of a moment of the exchange.
fn wall(draft: &Draft, moment: Instant) -> SystemTime {
    draft.outcome.at + moment.saturating_duration_since(draft.started)
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The bytes of hex digits.
fn id(digits: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default();
    digits.as_chunks::<2>().0.iter().map(|[high, low]| digit(*high) << 4 | digit(*low)).collect()
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: impl Into<u64>) -> KeyValue {
    attribute(key, Value::IntValue(i64::try_from(value.into()).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}
