//! Errors of Pingora, told to the caller as refusals and to the operator as faults.

use http::{StatusCode, header};
use pingora::{Error, ErrorSource, ErrorType};
use pingora_proxy::{FailToProxy, Session};

use crate::exchange::refusal::Refusal;
use crate::exchange::reply::Reply;

use super::ctx::Ctx;
use super::respond::{self, Connection};
use super::{DECIDED, Proxy};

impl Proxy {
    /// Answers an exchange that cannot go on.
    pub(super) async fn answer_failure(&self, session: &mut Session, e: &Error, ctx: &mut Ctx) -> FailToProxy {
        let mut result = FailToProxy { error_code: 0, can_reuse_downstream: false };
        ctx.attempt.leave();
        if *e.etype() != DECIDED {
            ctx.fault.get_or_insert_with(|| describe(e));
        }
        let begun = session.response_written().is_some_and(|response| !response.status.is_informational());
        if let Some(replaced) = ctx.replaced.take().filter(|_| !begun) {
            result.error_code = replaced.status.as_u16();
            let body = ctx.route().map(|route| route.scrub.bare_error_body(replaced.status, ctx.told()));
            let kept = replaced.headers.iter().filter(|(name, _)| **name != header::TRANSFER_ENCODING);
            let reply = Reply {
                status: replaced.status,
                headers: kept.map(|(name, value)| (name.clone(), value.clone())).collect(),
                body: body.unwrap_or_default().into(),
            };
            // A caller who has left by now is nobody to tell.
            let _ = respond::send(session, ctx, reply, Connection::Close).await;
            return result;
        }
        let Some(refusal) = ctx.refusal.take().or_else(|| refusal_for(e)) else {
            return result;
        };
        if begun {
            // The answer is under way: cutting the connection is how the caller learns that it is not whole.
            ctx.refusal = Some(refusal);
            return result;
        }
        result.error_code = refusal.status().as_u16();
        let _ = respond::refuse(session, ctx, refusal, Connection::Close).await;
        result
    }
}

/// What the caller is told; none where the caller has left.
fn refusal_for(e: &Error) -> Option<Refusal> {
    use ErrorType::{
        ConnectTimedout, ConnectionClosed, HTTPStatus, ReadError, ReadTimedout, TLSHandshakeTimedout, WriteError,
        WriteTimedout,
    };
    match (e.esource(), e.etype()) {
        (ErrorSource::Downstream, ConnectionClosed | ReadError | WriteError | WriteTimedout) => None,
        // Data behind the end of a request on a connection that does not take it.
        (ErrorSource::Downstream, ErrorType::ConnectError) => None,
        (ErrorSource::Downstream, ReadTimedout) => Some(Refusal::RequestTimeout),
        (ErrorSource::Downstream, HTTPStatus(code)) if *code == StatusCode::PAYLOAD_TOO_LARGE => {
            Some(Refusal::BodyTooLarge { limit: 0 })
        }
        (ErrorSource::Downstream, _) => Some(Refusal::BadRequest("The request is malformed.")),
        (_, ConnectTimedout | ReadTimedout | WriteTimedout | TLSHandshakeTimedout) => Some(Refusal::UpstreamTimeout),
        _ => Some(Refusal::UpstreamFailed),
    }
}

/// The fault in words that quote neither side: contexts of Pingora's errors hold raw bytes.
fn describe(e: &Error) -> String {
    let source = e.esource().as_str();
    let kind = e.etype().as_str();
    let cause = match e.root_etype() {
        root if root != e.etype() => format!(" ({})", root.as_str()),
        _ => String::new(),
    };
    let io = e.root_cause().downcast_ref::<std::io::Error>().map(|io| format!(": {io}")).unwrap_or_default();
    format!("{source} {kind}{cause}{io}").trim().to_owned()
}
