//! The end of an exchange: one outcome for metrics and the access log.

use pingora_proxy::Session;

use crate::exchange::outcome::Outcome;
use crate::exchange::refusal::Refusal;
use crate::pipeline::usage;

use super::Proxy;
use super::ctx::Ctx;
use super::limits;
use super::measure;
use super::request::logged_path;

impl Proxy {
    /// Counts and logs what happened.
    pub(super) fn account(&self, session: &Session, ctx: &mut Ctx) {
        // Answers without a body have no piece that is the last one.
        ctx.attempt.leave();
        // An answer has begun with its final head, not with a `100 Continue`.
        let answer = session.response_written().filter(|response| !response.status.is_informational());
        let status = answer.map_or(0, |response| response.status.as_u16());
        let elapsed = self.state.clock().now().saturating_duration_since(ctx.started);
        let end = measure::end(ctx);
        limits::settle(ctx, &end, &self.state);
        let (limited_by, would_refuse) = limits::take_names(ctx);
        let is_read = self.access_log.is_on() || ctx.trace.as_ref().is_some_and(|trace| trace.spans().is_some());
        // For whoever reads it.
        let path = if is_read { logged_path(session.req_header()) } else { String::new() };
        let fault = ctx.fault.take();
        let host = ctx.head.take().map(|head| head.host).unwrap_or_default();
        let grant = ctx.grant.take();
        let route = ctx.route();
        let outcome = Outcome {
            at: ctx.started_wall,
            request_id: std::sync::Arc::clone(&ctx.request_id),
            client: ctx.client,
            caller: grant
                .as_ref()
                .and_then(|grant| grant.identity())
                .map(|identity| (std::sync::Arc::clone(&identity.provider), std::sync::Arc::clone(&identity.id))),
            tenant: grant.as_ref().and_then(|grant| grant.tenant.clone()),
            method: session.req_header().method.clone(),
            host,
            path,
            route: route.map(|route| std::sync::Arc::clone(&route.label)),
            upstream: route
                // Without a right to go there it did not find its queue full.
                .filter(|_| {
                    let is_overloaded = matches!(ctx.refusal, Some(Refusal::Overloaded { .. }));
                    ctx.attempt.number > 0 || (is_overloaded && ctx.permit.is_some())
                })
                .map(|route| std::sync::Arc::clone(route.upstream.name())),
            // 499 as operators know it: the caller closed before there was an answer.
            status: if status == 0 { 499 } else { status },
            refusal: ctx.refusal.as_ref().map(|refusal| refusal.code()),
            limited_by,
            would_refuse,
            fault,
            attempts: ctx.attempt.number,
            request_bytes: ctx.body.received,
            response_bytes: session.body_bytes_sent() as u64,
            unpacked_bytes: ctx.measured.unpacked_bytes(),
            statistics: end.statistics,
            elapsed,
            upstream_elapsed: ctx.attempt.spent,
            trace_id: ctx.trace.as_ref().map(|trace| trace.id().to_owned()),
        };
        ctx.running.meters.count(ctx.site, ctx.route, &outcome);
        let (key, used) = usage::record(&outcome);
        self.state.usage().count(key, used);
        if let Some(trace) = ctx.trace.take() {
            self.traces.record(trace, (ctx.started, ctx.scheme), &outcome);
        }
        if self.access_log.is_on() {
            self.access_log.write(outcome);
        }
    }
}
