//! What goes back to a caller: status, body, and the headers a vendor leaves on everything.
//!
//! In: a body with its type, or a `Failure`. Out: a hyper response.
//! The headers are loud on purpose: a white-labelling gateway must have something to scrub.
//! **Not here**: rendering of rows (`render`), deciding what to answer (`surface`).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;

/// One complete answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    media: &'static str,
    extra: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Answer {
    /// A 200 with a body.
    pub(super) fn ok(media: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, media, extra: Vec::new(), body: body.into() }
    }

    /// A 200 with a JSON document.
    pub(super) fn json(document: &Value) -> Self {
        Self::ok(JSON, document.to_string())
    }

    /// The same with another status.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The response as the wire sees it; `origin` is what absolute links point to.
    pub(super) fn into_response(self, origin: SocketAddr) -> Response<Content> {
        let mut response = Response::new(Content::new(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media));
        decorate(headers, origin);
        for (name, value) in self.extra {
            headers.insert(name, value);
        }
        response
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        let Failure { status, text, exception, retry_after, allow } = failure;
        let mut extra = Vec::new();
        if let Some(code) = exception {
            extra.push((HeaderName::from_static("x-db-exception-code"), HeaderValue::from(code)));
        }
        if let Some(seconds) = retry_after {
            extra.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if let Some(methods) = allow {
            extra.push((header::ALLOW, HeaderValue::from_static(methods)));
        }
        // By hand, because people read it: the sentence comes first.
        let body = format!("{{\"error\":{},\"documentation\":\"{DOCUMENTATION}\"}}", Value::from(text));
        Self { status, media: JSON, extra, body: body.into() }
    }
}

/// A request that is answered with an error.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    text: String,
    exception: Option<u16>,
    retry_after: Option<u32>,
    allow: Option<&'static str>,
}

impl Failure {
    /// An error with a status and a sentence.
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), exception: None, retry_after: None, allow: None }
    }

    /// A 400: the request itself is at fault.
    pub(super) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// A 405 that names what would have been right.
    pub(super) fn method(allow: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed") }
    }

    /// The database's own code, in ClickHouse's numbering.
    pub(super) fn with_exception(self, code: u16) -> Self {
        Self { exception: Some(code), ..self }
    }

    /// How many seconds the caller should wait.
    pub(super) fn with_retry_after(self, seconds: u32) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

/// A body in memory. Small ones carry their length; large ones go out in pieces without one, as a
/// streaming database answers.
#[derive(Debug)]
pub(super) struct Content {
    rest: Bytes,
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    Measured,
    Streamed,
}

impl Content {
    fn new(rest: Bytes) -> Self {
        let framing = if rest.len() > PIECE { Framing::Streamed } else { Framing::Measured };
        Self { rest, framing }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Measured => SizeHint::with_exact(self.rest.len() as u64),
            Framing::Streamed => SizeHint::default(),
        }
    }
}

fn decorate(headers: &mut HeaderMap, origin: SocketAddr) {
    headers.insert(header::SERVER, HeaderValue::from_static("Tinybird-demo"));
    headers.insert(header::VIA, HeaderValue::from_static("1.1 front-1.tinybird-demo.internal"));
    headers.insert(header::SET_COOKIE, HeaderValue::from_static("tb_demo_session=c0ffee; Path=/; HttpOnly"));
    headers.insert("x-db-backend", HeaderValue::from_static("clickhouse-demo-1.internal:9000"));
    headers.insert("x-powered-by", HeaderValue::from_static("SQLite, dressed as ClickHouse"));
    let link = format!("<http://{origin}/v0/pipes/openapi.json>; rel=\"service-desc\"");
    if let Ok(link) = HeaderValue::from_str(&link) {
        headers.insert(header::LINK, link);
    }
}

pub(super) const JSON: &str = "application/json; charset=utf-8";
const DOCUMENTATION: &str = "https://docs.tinybird.co/forward/query-data/api-endpoints";
const PIECE: usize = 64 * 1024;
