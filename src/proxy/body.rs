//! Request bodies: read whole where they hold parameters, passed on where not.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::exchange::grant::Grant;
use crate::exchange::refusal::Refusal;
use crate::pipeline::params::{MAX_PARAMETER_BODY, ParameterBody, Params};

use super::DECIDED;
use super::ctx::Ctx;

/// For a whole parameter body: 60 KiB in this time is slower than any modem.
const PARAMETER_BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads the parameter body, which there is.
///
/// # Errors
/// Outer: the caller left. Inner: what the caller is told.
pub(super) async fn read_parameters(
    session: &mut Session,
    ctx: &mut Ctx,
) -> Result<Result<Option<ParameterBody>, Refusal>> {
    let request = session.req_header();
    if let Err(refusal) = ParameterBody::expect(&request.method, &request.headers) {
        return Ok(Err(refusal));
    }
    // What is read from here on is kept for the upstream, and for retries.
    session.as_mut().enable_retry_buffering();
    welcome(session).await?;
    let bytes = match tokio::time::timeout(PARAMETER_BODY_TIMEOUT, collect(session, ctx)).await {
        Err(_) => return Ok(Err(Refusal::RequestTimeout)),
        Ok(Err(e)) => return classify(e).map(Err),
        Ok(Ok(None)) => return Ok(Err(Refusal::BodyTooLarge { limit: MAX_PARAMETER_BODY })),
        Ok(Ok(Some(bytes))) => bytes,
    };
    let request = session.req_header();
    Ok(ParameterBody::read(&request.method, &request.headers, bytes))
}

/// Looks at a body that passes as bytes.
///
/// # Errors
/// 415 for a body that reading has no need of, on a route that confines its parameters.
pub(super) fn check_passed(session: &mut Session, params: &Params, grant: &Grant) -> Result<(), Refusal> {
    match session.as_mut().is_body_empty() {
        true => Ok(()),
        false => params.let_body_pass(&session.req_header().method, grant),
    }
}

/// Tells a caller who waits for it that the body may come.
pub(super) async fn welcome(session: &mut Session) -> Result<()> {
    let waits = session
        .req_header()
        .headers
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if waits && !session.as_mut().is_body_empty() {
        Box::pin(session.as_mut().write_continue_response()).await?;
    }
    Ok(())
}

/// A piece of the body on its way to the upstream.
pub(super) fn pass_on(piece: &mut Option<Bytes>, ctx: &mut Ctx) -> Result<()> {
    if let Some(bound) = ctx.permit.as_ref().and_then(|permit| permit.body()) {
        // The bound body replaces the caller's in every attempt, whole and once.
        *piece = match ctx.body.handed_over {
            false => Some(bound.bytes().clone()).filter(|bound| !bound.is_empty()),
            true => Some(Bytes::new()),
        };
        ctx.body.handed_over = true;
        return Ok(());
    }
    let Some(route) = ctx.route() else { return Ok(()) };
    let limit = route.guard.max_body();
    ctx.body.received += piece.as_ref().map_or(0, |piece| piece.len() as u64);
    if ctx.body.received > limit {
        ctx.refusal = Some(Refusal::BodyTooLarge { limit });
        return Err(Error::new_down(DECIDED));
    }
    Ok(())
}

/// The whole body, or none if it is too large.
async fn collect(session: &mut Session, ctx: &mut Ctx) -> Result<Option<Bytes>> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = session.as_mut().read_request_body().await? {
        ctx.body.received += piece.len() as u64;
        if (bytes.len() + piece.len()) as u64 > MAX_PARAMETER_BODY {
            return Ok(None);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes.freeze()))
}

/// A body that could not be read: a caller who is slow or wrong is told, one who left is not.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever else Pingora may find wrong is the caller's framing")]
fn classify(e: Box<Error>) -> Result<Refusal> {
    match e.etype() {
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError => Err(e.into_down()),
        ErrorType::ReadTimedout => Ok(Refusal::RequestTimeout),
        _ => Ok(Refusal::BadRequest("The request body is malformed.")),
    }
}
