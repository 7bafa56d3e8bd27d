//! Carries the requests of the ACME protocol over our own client.
//!
//! In: requests of `instant_acme`. Out: their answers; and what an answer says
//! about when to come back, which that crate keeps to itself. Not here: what
//! the answers mean (`trouble`).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use crate::clock::Clock;
use crate::outbound::{Answer, Call, Client, Trust};

/// The largest answer that is read: chains of certificates have a few KiB.
const SIZE: usize = 1 << 20;
/// For one request. Some authorities check a great deal before they answer.
const TIME: Duration = Duration::from_secs(30);
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The client that `instant_acme` is given.
#[derive(Clone)]
pub(super) struct Wire {
    client: Client,
    clock: Clock,
    trust: Trust,
    heard: Arc<Heard>,
}

/// When the last answer asked to be left alone until.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// In seconds since 1970; 0 if it said nothing.
    retry_at: AtomicU64,
}

/// No answer that could be understood, in words.
#[derive(Debug)]
pub(super) struct NoAnswer(pub(super) String);

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoAnswer {}

impl Wire {
    pub(super) fn new(client: Client, clock: Clock, trust: Trust) -> Self {
        Wire { client, clock, trust, heard: Arc::default() }
    }

    pub(super) fn heard(&self) -> Arc<Heard> {
        Arc::clone(&self.heard)
    }

    async fn send(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (head, body) = request.into_parts();
        let target = head.uri.to_string().parse().map_err(|why| no_answer(format!("the authority named {why}")))?;
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        let method = head.method.clone();
        let call = Call {
            method: head.method,
            headers: head.headers,
            body,
            connect_time: CONNECT_TIME,
            size: SIZE,
            trust: self.trust,
            ..Call::get(target).within(TIME)
        };
        let answer = self.client.call(&call).await;
        let answer = answer.map_err(|failure| no_answer(format!("{}: {failure}", call.target.origin())))?;
        self.heard.listen(&answer.headers, self.clock.wall());
        understood(&method, &call, &answer)?;
        let mut response = Response::new(());
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        let (parts, ()) = response.into_parts();
        Ok(BytesResponse { parts, body: Box::new(answer.body) })
    }
}

impl HttpClient for Wire {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().send(request))
    }
}

/// A failure that no authority wrote, as of a proxy before it: `instant_acme` would only say that it is not JSON.
fn understood(method: &Method, call: &Call, answer: &Answer) -> Result<(), Error> {
    let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_problem = kind.contains("json") && *method == Method::POST;
    if answer.status.is_success() || is_problem {
        return Ok(());
    }
    Err(no_answer(format!("{} answers {}", call.target, answer.status.as_u16())))
}

fn no_answer(why: String) -> Error {
    Error::Other(Box::new(NoAnswer(why)))
}

impl Heard {
    /// When to come back, if the last answer said so.
    pub(super) fn retry_at(&self) -> Option<SystemTime> {
        let seconds = self.retry_at.load(Ordering::Relaxed);
        (seconds > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    fn listen(&self, headers: &HeaderMap, now: SystemTime) {
        let at = headers.get(RETRY_AFTER).and_then(|value| retry_at(value.to_str().ok()?, now));
        let since = at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        self.retry_at.store(since.map_or(0, |since| since.as_secs()), Ordering::Relaxed);
    }
}

/// Seconds, or a date.
fn retry_at(text: &str, now: SystemTime) -> Option<SystemTime> {
    let text = text.trim();
    match text.parse::<u32>() {
        Ok(seconds) => Some(now + Duration::from_secs(seconds.into())),
        Err(_) => httpdate::parse_http_date(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_was_said_last_about_coming_back_counts() {
        let heard = Heard::default();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
        let mut headers = HeaderMap::new();
        assert_eq!(heard.retry_at(), None);
        for (text, expected) in [
            ("120", Some(now + Duration::from_secs(120))),
            ("Mon, 21 Sep 2026 14:13:21 GMT", Some(now + Duration::from_secs(1))),
            ("soon", None),
            ("99999999999999999999", None),
        ] {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            heard.listen(&headers, now);
            assert_eq!(heard.retry_at(), expected, "{text}");
        }
        heard.listen(&HeaderMap::new(), now);
        assert_eq!(heard.retry_at(), None);
    }
}
