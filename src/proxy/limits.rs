//! Limits, the edge's part: asks the counters, keeps what they said for the answer, and settles in the end.
//!
//! Here because counters may be in another process; not here: which limits
//! apply, and what follows from an answer (`pipeline::limits`).

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::exchange::grant::Grant;
use crate::exchange::refusal::Refusal;
use crate::pipeline::limits::plans::UnknownPlan;
use crate::pipeline::limits::report::Report;
use crate::pipeline::limits::{Asks, Attached, Moment, NAME_OF_TOKENS_RATE, Subject};
use crate::pipeline::statistics::{End, verdict};
use crate::snapshot::Snapshot;
use crate::snapshot::hosts::Site;
use crate::snapshot::route::Route;
use crate::state::State;
use crate::state::counters::{Back, NotSpent, Receipt};

use super::ctx::Ctx;

/// What limits said to an exchange.
#[derive(Debug, Default)]
pub(super) struct Limited {
    /// How the tightest of them stands.
    report: Option<Report>,
    /// What was taken; it is settled when the exchange ends.
    receipt: Option<Receipt>,
    /// The limit that refused.
    refused_by: Option<Arc<str>>,
    /// Those on trial that would have.
    would_refuse: SmallVec<[Arc<str>; 2]>,
}

/// Where limits are attached, as far as it is known where a request goes.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) site: Option<&'a Site>,
    pub(super) route: Option<&'a Route>,
}

impl<'a> Place<'a> {
    fn of_site(&self) -> &'a Attached {
        self.site.map_or(&self.snapshot.limits, |site| &site.limits)
    }

    fn subject(&self, ctx: &Ctx) -> Subject<'a> {
        Subject {
            client: Some(ctx.client),
            host: self.site.map(|site| &*site.label),
            route: self.route.map(|route| (route.host.as_deref().unwrap_or_default(), &*route.key)),
            ..Subject::default()
        }
    }
}

/// Limits by address: for every request, whatever becomes of it.
///
/// # Errors
/// What its caller is told.
pub(super) async fn arrive(ctx: &mut Ctx, place: Place<'_>, state: &State) -> Result<(), Refusal> {
    let own = place.route.map(|route| &route.limits);
    if !place.of_site().any(Moment::Arrival) && !own.is_some_and(|own| own.any(Moment::Arrival)) {
        return Ok(());
    }
    let subject = place.subject(ctx);
    let places = [Some(place.of_site()), own];
    let asks = Asks::of(places.into_iter().flatten(), Moment::Arrival, &subject, |_| 1);
    // What comes from an address is spent even if the request is refused for another reason.
    Box::pin(ask(ctx, place, asks, state)).await.map(drop)
}

/// All other limits: for a request that could be answered, all or nothing.
///
/// # Errors
/// What its caller is told.
pub(super) async fn admit(ctx: &mut Ctx, place: Place<'_>, grant: &Grant, state: &State) -> Result<(), Refusal> {
    let Some(route) = place.route else { return Ok(()) };
    let plan = match place.snapshot.plans.of(grant) {
        Ok(plan) => plan,
        Err(UnknownPlan(name)) => {
            ctx.fault =
                Some(format!("the credential's plan `{name}` is not configured, and there is no `default_plan`"));
            return Err(Refusal::Forbidden);
        }
    };
    let places = [Some(place.of_site()), plan.map(|plan| &plan.limits), Some(&route.limits)];
    let is_rated = grant.identity().is_some_and(|identity| identity.rps.is_some());
    if !is_rated && !places.iter().flatten().any(|place| place.any(Moment::Admission)) {
        return Ok(());
    }
    let subject = place.subject(ctx).as_granted(grant);
    let reserve = |limit: &_| route.usual.reserve(limit);
    let mut asks = Asks::of(places.into_iter().flatten(), Moment::Admission, &subject, reserve);
    asks.add_rate_of_token(grant);
    ctx.limited.receipt = Box::pin(ask(ctx, place, asks, state)).await?;
    Ok(())
}

async fn ask(ctx: &mut Ctx, place: Place<'_>, asks: Asks<'_>, state: &State) -> Result<Option<Receipt>, Refusal> {
    let answer = state.counters().spend(&asks.asks).await;
    let judgement = asks.judge(&answer);
    if let (Err(NotSpent::Unknown), Some(refusal)) = (&answer.spent, &judgement.refusal) {
        ctx.fault = Some("the shared counters cannot be asked, and `on_counter_failure` is `refuse`".to_owned());
        // What an earlier limit said would look as if there was room.
        ctx.limited.report = None;
        return Err(refusal.clone());
    }
    let before = ctx.limited.report.map(|report| report.standing().wait);
    let name = |index: &usize| place.snapshot.limit(*index).map(|limit| Arc::clone(&limit.name));
    ctx.limited.would_refuse.extend(judgement.would_refuse.iter().filter_map(name));
    ctx.limited.report = match (ctx.limited.report, judgement.report) {
        // Of two that let it in; who is refused is told by what.
        (Some(before), Some(report)) if judgement.refusal.is_none() => Some(before.or_tighter(report)),
        (before, report) => report.or(before),
    };
    match judgement.refusal {
        None => Ok(answer.spent.ok()),
        Some(refusal) => {
            let named = judgement.refused_by.as_ref().and_then(name);
            ctx.limited.refused_by = Some(named.unwrap_or_else(|| NAME_OF_TOKENS_RATE.into()));
            // Limits by address were spent already, and let in who comes again only when they do, too.
            Err(refusal.not_before(before.unwrap_or_default()))
        }
    }
}

/// How many headers [`headers`] gives.
pub(super) fn count_headers(ctx: &Ctx) -> usize {
    if ctx.limited.report.is_some() { 5 } else { 0 }
}

/// What callers are told of the tightest limit.
pub(super) fn headers(ctx: &Ctx) -> Option<[(HeaderName, HeaderValue); 5]> {
    let report = ctx.limited.report?;
    match report.limit() {
        Some(index) => Some(ctx.running.snapshot.limit(index)?.headers(&report)),
        None => Some(report.headers_of_token()),
    }
}

/// The limit that refused, and those on trial that would have.
pub(super) fn take_names(ctx: &mut Ctx) -> (Option<Arc<str>>, SmallVec<[Arc<str>; 2]>) {
    (ctx.limited.refused_by.take(), std::mem::take(&mut ctx.limited.would_refuse))
}

/// Sets right what was taken, now that it is known what the exchange cost.
pub(super) fn settle(ctx: &mut Ctx, end: &End, state: &State) {
    let Some(receipt) = ctx.limited.receipt.take() else { return };
    let counters = state.counters();
    let verdict = verdict(end);
    match (verdict.bill(), &ctx.refusal) {
        // Refused in front of the upstream: it cost nobody anything.
        (None, Some(Refusal::Overloaded { .. })) => counters.refund(receipt, Back::Everything),
        // The upstream could not be reached. Coming often is what a rate counts, and it was often.
        (None, _) => counters.refund(receipt, Back::Quotas),
        (Some(_), _) if !receipt.awaits_costs() => {}
        (Some(bill), _) => {
            if let (Some(route), Some(costs)) = (ctx.route(), verdict.lesson()) {
                route.usual.learn(costs);
            }
            counters.settle(receipt, &bill);
        }
    }
}
