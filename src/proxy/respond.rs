//! The one writer of answers that the gateway makes itself.
//!
//! In: a refusal or reply. Out: bytes to the caller, with request id, CORS
//! headers and the JSON body of every error. Pingora's own writer would add its
//! name and skip all of these.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::http::ResponseHeader;
use pingora::{ErrorType, OrErr, Result};
use pingora_proxy::Session;
use serde::Serialize;

use crate::exchange::head::CallerScheme;
use crate::exchange::refusal::{Means, Refusal};
use crate::exchange::reply::Reply;
use crate::pipeline::cors::Cors;

use super::ctx::Ctx;
use super::limits;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(super) const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The body of every refusal (docs/refusals.md).
#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    code: &'a str,
    request_id: &'a str,
}

/// What becomes of the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection {
    /// It ends: what follows on it cannot be trusted or was not read.
    Close,
    /// It may carry the next request.
    Keep,
}

/// Sends a refusal.
pub(super) async fn refuse(
    session: &mut Session,
    ctx: &mut Ctx,
    refusal: Refusal,
    connection: Connection,
) -> Result<()> {
    let own = ctx.told().phrases.of(refusal.code());
    let error = own.map_or_else(|| refusal.public(), Cow::Borrowed);
    let body = Body { error: &error, code: refusal.code().as_str(), request_id: &ctx.request_id };
    // Three strings always serialise. The line break is for people with curl.
    let mut body = serde_json::to_vec(&body).unwrap_or_default();
    body.push(b'\n');
    let mut headers = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    if let Refusal::MethodNotAllowed { allow } = &refusal {
        headers.extend(HeaderValue::from_str(allow).ok().map(|allow| (header::ALLOW, allow)));
    }
    // What was asked may have a credential in its address.
    headers.push((header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")));
    headers.extend(of_credentials(&refusal));
    let reply = Reply { status: refusal.status(), headers, body: Bytes::from(body) };
    ctx.refusal = Some(refusal);
    send(session, ctx, reply, connection).await
}

/// What tells clients what to do about a credential, or about too many requests (RFC 9110 sections 10.2.3 and 11.6.1).
fn of_credentials(refusal: &Refusal) -> Option<(HeaderName, HeaderValue)> {
    let challenge = |text| Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(text)));
    match refusal {
        Refusal::Overloaded { retry_after }
        | Refusal::QuotaExhausted { retry_after }
        | Refusal::RateLimited { retry_after } => Some((header::RETRY_AFTER, HeaderValue::from(*retry_after))),
        Refusal::UpstreamUnavailable { retry_after } => {
            retry_after.map(|seconds| (header::RETRY_AFTER, HeaderValue::from(seconds)))
        }
        Refusal::KeysUnavailable => Some((header::RETRY_AFTER, HeaderValue::from(KEYS_RETRY_AFTER))),
        Refusal::CredentialMissing { header: Some(_) } => challenge("Bearer"),
        // RFC 6750 section 3.1.
        Refusal::CredentialExpired { means: Means::Text, .. }
        | Refusal::CredentialInvalid { means: Means::Text, .. }
            if refusal.status() == 401 =>
        {
            challenge("Bearer error=\"invalid_token\"")
        }
        Refusal::BadParameter { .. }
        | Refusal::BadRequest(_)
        | Refusal::BodyTooLarge { .. }
        | Refusal::ControlParameter { .. }
        | Refusal::CredentialExpired { .. }
        | Refusal::CredentialInvalid { .. }
        | Refusal::CredentialMissing { header: None }
        | Refusal::Forbidden
        | Refusal::HeadersTooLarge { .. }
        | Refusal::MethodNotAllowed { .. }
        | Refusal::Misdirected
        | Refusal::RequestTimeout
        | Refusal::RouteNotFound
        | Refusal::TenantMismatch
        | Refusal::TenantMissing
        | Refusal::UnsupportedBody(_)
        | Refusal::UpstreamFailed
        | Refusal::UpstreamTimeout
        | Refusal::UriTooLong { .. } => None,
    }
}

/// Seconds after which the keys of an identity provider may be there.
const KEYS_RETRY_AFTER: u64 = 5;

/// Sends a reply.
pub(super) async fn send(session: &mut Session, ctx: &Ctx, reply: Reply, connection: Connection) -> Result<()> {
    if connection == Connection::Close {
        session.set_keepalive(None);
    }
    let mut headers = HeaderMap::with_capacity(reply.headers.len() + 12);
    for (name, value) in reply.headers {
        headers.append(name, value);
    }
    if reply.status != http::StatusCode::NO_CONTENT {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    }
    decorate(session, ctx, &mut headers)?;
    let mut head = http::Response::new(()).into_parts().0;
    (head.status, head.headers) = (reply.status, headers);
    let response = ResponseHeader::from(head);
    let bodiless = reply.body.is_empty() || session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(response), bodiless).await?;
    if !bodiless {
        session.write_response_body(Some(reply.body), true).await?;
    }
    Ok(())
}

/// Adds what every answer has: request id, limits, CORS headers, `nosniff`.
pub(super) fn decorate(session: &Session, ctx: &Ctx, headers: &mut HeaderMap) -> Result<()> {
    let id =
        HeaderValue::from_str(&ctx.request_id).or_err(ErrorType::InternalError, "a request id is a header value")?;
    headers.insert(REQUEST_ID, id);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    for (name, value) in limits::headers(ctx).into_iter().flatten() {
        headers.insert(name, value);
    }
    if ctx.scheme == CallerScheme::Https
        && let Some(hsts) = ctx.site().and_then(|site| site.hsts.as_ref())
    {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    for (name, value) in cors(ctx).decorate(&session.req_header().headers) {
        headers.append(name, value);
    }
    Ok(())
}

/// The rules that apply, as far as host and route are known.
pub(super) fn cors(ctx: &Ctx) -> &Cors {
    ctx.running.snapshot.cors_of(ctx.site(), ctx.route())
}
