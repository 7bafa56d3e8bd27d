//! Tries towards the upstream: waiting, sending again, giving up.
//!
//! Here is the bookkeeping that Pingora's retry loop needs; whether and when to
//! try again is `pipeline::retry`'s to say.

use http::{StatusCode, header};
use pingora::ErrorType::WriteError;
use pingora::http::ResponseHeader;
use pingora::protocols::Digest;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;
use rand::Rng;

use crate::exchange::refusal::Refusal;
use crate::pipeline::retry::{Failure, Verdict, retry_after};
use crate::state::deadlines::{Armed, Passed};
use crate::telemetry::trace::{Trace, TryFailure};
use crate::upstream::{Nowhere, Pick, Seeker, Visit, socket_of};

use super::backend::BackendFailure;
use super::ctx::{Attempt, Ctx};
use super::measure::Measured;
use super::queue::while_there;
use super::request::is_repeatable;
use super::{DECIDED, Proxy};

/// The answer had a status that is tried again.
const RETRYABLE: ErrorType = ErrorType::new("RetryableStatus");

impl Proxy {
    /// Waits if this is not the first try, and chooses where to go.
    pub(super) async fn begin_attempt(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        self.back_off(session, ctx).await?;
        if let Err(refusal) = self.take_place(session, ctx).await? {
            ctx.refusal = Some(refusal);
            return Err(Error::new_up(DECIDED));
        }
        ctx.attempt.number += 1;
        ctx.attempt.answered = false;
        ctx.attempt.deadline = None;
        ctx.attempt.visit = None;
        ctx.body.handed_over = false;
        if ctx.permit.as_ref().is_some_and(|permit| permit.body().is_none()) {
            // A body that passes as bytes is counted as it passes, in each try from its beginning.
            ctx.body.received = 0;
        }
        ctx.error_body = None;
        ctx.measured = Measured::default();
        let now = self.state.clock().now();
        ctx.attempt.began = Some(now);
        if let Some(trace) = &mut ctx.trace {
            trace.begin_try(now);
        }
        let Some(route) = ctx.route() else { return Err(Error::new_in(DECIDED)) };
        let upstream = &route.upstream;
        if ctx.attempt.number == 1 {
            route.retry.count_request();
        }
        if now.saturating_duration_since(ctx.started) >= upstream.timeouts().total {
            ctx.refusal = Some(Refusal::UpstreamTimeout);
            return Err(Error::new_up(DECIDED));
        }
        let Attempt { first, number, tried, .. } = ctx.attempt;
        match upstream.pick(&Seeker { first, number, tried, now }) {
            Ok(Pick { backend, peer, visit }) => {
                if visit.as_ref().is_some_and(Visit::is_desperate) {
                    self.metrics.count_all_out(upstream.name());
                }
                ctx.attempt.backend = backend;
                ctx.attempt.tried.add(backend);
                ctx.attempt.visit = visit;
                Ok(peer)
            }
            Err(nowhere) => {
                let (fault, refusal) = match nowhere {
                    Nowhere::AllOut(wait) => {
                        self.metrics.count_all_out(upstream.name());
                        ("every backend of the upstream is left out", Refusal::upstream_unavailable(wait))
                    }
                    Nowhere::Unresolved => (
                        "the host name of the upstream has no address yet",
                        Refusal::UpstreamUnavailable { retry_after: None },
                    ),
                };
                ctx.fault = Some(fault.to_owned());
                ctx.refusal = Some(refusal);
                Err(Error::new_up(DECIDED))
            }
        }
    }

    /// The wait before another try; it ends when the caller hangs up.
    async fn back_off(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        let Some(wait) = ctx.attempt.wait.take() else { return Ok(()) };
        while_there(session, self.state.clock().sleep(wait)).await
    }

    /// Sets the deadline of a try on its connection.
    pub(super) fn arm(&self, digest: Option<&Digest>, ctx: &mut Ctx) {
        let Some(socket) = digest.and_then(socket_of) else { return };
        let Some((timeouts, began)) = ctx.route().map(|route| route.upstream.timeouts()).zip(ctx.attempt.began) else {
            return;
        };
        let at = (began + timeouts.attempt).min(ctx.started + timeouts.total);
        ctx.attempt.deadline = Some(self.state.deadlines().arm(std::sync::Arc::clone(socket), at));
    }

    /// Decides whether the upstream's answer is the answer.
    pub(super) fn judge_answer(&self, session: &Session, response: &ResponseHeader, ctx: &mut Ctx) -> Result<()> {
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody was let ask for it, and what follows would be no HTTP.
            self.backend_failed(ctx, BackendFailure::Try(TryFailure::Broken));
            ctx.fault = Some("the upstream switched protocols unasked".to_owned());
            ctx.refusal = Some(Refusal::UpstreamFailed);
            return Err(Error::new_up(DECIDED));
        }
        if response.status.is_informational() {
            return Ok(());
        }
        self.end_wait(ctx);
        let status = response.status.as_u16();
        if let Some(tried) = ctx.trace.as_mut().and_then(Trace::current_try) {
            tried.status = Some(status);
        }
        match status {
            // What stands before an API says so of it, or it does itself.
            502..=504 => self.backend_failed(ctx, BackendFailure::Status(status)),
            _ => self.backend_answers(ctx),
        }
        let Some(route) = ctx.route() else { return Err(Error::new_in(DECIDED)) };
        let timeouts = route.upstream.timeouts();
        let after = response.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = after.and_then(|value| retry_after(value, self.state.clock().wall()));
        if let (StatusCode::TOO_MANY_REQUESTS, Some(pause)) = (response.status, retry_after) {
            self.close_tap(ctx, pause);
        }
        if route.retry.is_failure(status)
            && is_repeatable(session, ctx)
            && self.tries_again(ctx, Failure::Status { status, retry_after })
        {
            // Its handle would keep the connection open through the wait.
            ctx.attempt.deadline = None;
            self.end_try(ctx, TryEnd::Answered);
            let mut e = Error::new_up(RETRYABLE);
            e.set_retry(true);
            return Err(e);
        }
        // From here the time between two reads counts. Pingora's own time-out keeps it, unless it is the shorter one.
        let passed = match timeouts.idle < timeouts.attempt {
            true => self.extend_deadline(ctx),
            false => ctx.attempt.deadline.take().map_or(Passed::No, Armed::disarm),
        };
        if passed == Passed::Yes {
            // The head just made it, and the connection behind it is shut down.
            return Err(late(ctx));
        }
        ctx.attempt.answered = true;
        ctx.attempt.until_close = !response.headers.contains_key(header::CONTENT_LENGTH)
            && !response.headers.contains_key(header::TRANSFER_ENCODING);
        Ok(())
    }

    /// A piece of a passed body is on its way: the try's time begins when the upstream has all of it.
    pub(super) fn upload_goes_on(&self, ctx: &Ctx) {
        if let (Some(route), Some(deadline), false) = (ctx.route(), &ctx.attempt.deadline, ctx.attempt.answered) {
            deadline.postpone(self.state.clock().now() + route.upstream.timeouts().attempt);
        }
    }

    /// Another piece of the body has come, or its end.
    pub(super) fn piece_has_come(&self, end: bool, ctx: &Ctx) -> Result<()> {
        // Where the end of the connection is the end of the body, ours looks like the upstream's.
        match self.extend_deadline(ctx) {
            Passed::Yes if end && ctx.attempt.until_close => Err(late(ctx)),
            Passed::No | Passed::Yes => Ok(()),
        }
    }

    fn extend_deadline(&self, ctx: &Ctx) -> Passed {
        match (ctx.route(), &ctx.attempt.deadline) {
            (Some(route), Some(deadline)) => deadline.extend(self.state.clock().now() + route.upstream.timeouts().idle),
            (None, _) | (_, None) => Passed::No,
        }
    }

    /// A connection that could not be opened: nothing was sent, so any request may try again.
    pub(super) fn judge_connect(&self, ctx: &mut Ctx, mut e: Box<Error>) -> Box<Error> {
        self.end_wait(ctx);
        let failure = connect_failure(&e);
        self.end_try(ctx, TryEnd::Failed(failure));
        self.backend_failed(ctx, BackendFailure::Try(failure));
        let again = self.tries_again(ctx, Failure::Connect);
        e.set_retry(again);
        e
    }

    /// A connection that broke.
    pub(super) fn judge_failure(
        &self,
        session: &Session,
        ctx: &mut Ctx,
        mut e: Box<Error>,
        reused: bool,
    ) -> Box<Error> {
        if *e.etype() == RETRYABLE {
            return e;
        }
        let answered = ctx.attempt.answered;
        if !answered {
            self.end_wait(ctx);
        }
        let is_late = ctx.attempt.deadline.take().is_some_and(|deadline| deadline.disarm() == Passed::Yes);
        if *e.esource() == ErrorSource::Upstream {
            let timed_out = is_late || matches!(e.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
            let failure = if timed_out { TryFailure::Timeout } else { TryFailure::Broken };
            self.end_try(ctx, TryEnd::Failed(failure));
            // A connection that nobody used for a while may close at any time.
            if timed_out || answered || !reused {
                self.backend_failed(ctx, BackendFailure::Try(failure));
            }
        }
        if is_late {
            // The shut-down connection looks closed by the upstream; it was out of time.
            return late(ctx);
        }
        // Pingora marks what died before an answer began; undecided marks panic later.
        e.retry.decide_reuse(reused);
        // It leaves out the request body that met a reset, though the connection died of the same.
        let cut_while_sending =
            reused && !answered && *e.esource() == ErrorSource::Upstream && *e.etype() == WriteError;
        let died = e.retry() || cut_while_sending;
        let again = died && is_repeatable(session, ctx) && self.tries_again(ctx, Failure::Reused);
        e.set_retry(again);
        e
    }

    fn tries_again(&self, ctx: &mut Ctx, failure: Failure) -> bool {
        let Some(route) = ctx.route() else { return false };
        let elapsed = self.state.clock().now().saturating_duration_since(ctx.started);
        let random = rand::thread_rng().gen_range(0.0..1.0);
        match route.retry.judge(failure, ctx.attempt.number, elapsed, random) {
            Verdict::GiveUp => false,
            Verdict::Wait(wait) => {
                self.metrics.count_retry(route.upstream.name(), failure.reason());
                ctx.attempt.wait = Some(wait);
                // Others may go while this one waits.
                ctx.attempt.leave();
                true
            }
        }
    }

    /// Notes for the trace how a try ended whose answer is not the caller's.
    fn end_try(&self, ctx: &mut Ctx, end: TryEnd) {
        let Some(tried) = ctx.trace.as_mut().and_then(Trace::current_try) else { return };
        tried.ended = Some(self.state.clock().now());
        match end {
            TryEnd::Answered => {}
            TryEnd::Failed(failure) => tried.failure = Some(failure),
        }
    }

    fn end_wait(&self, ctx: &mut Ctx) {
        if let Some(began) = ctx.attempt.began.take() {
            ctx.attempt.spent += self.state.clock().now().saturating_duration_since(began);
        }
    }
}

/// How a try ended.
#[derive(Clone, Copy, Debug)]
enum TryEnd {
    Answered,
    Failed(TryFailure),
}

fn connect_failure(e: &Error) -> TryFailure {
    let is_late = matches!(e.etype(), ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout);
    if is_late { TryFailure::Timeout } else { TryFailure::Connect }
}

/// The upstream was out of time.
fn late(ctx: &Ctx) -> Box<Error> {
    let what = if ctx.attempt.answered { "a pause in the response body" } else { "waiting for response headers" };
    Error::explain(ErrorType::ReadTimedout, what).into_up()
}
