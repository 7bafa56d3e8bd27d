//! A place at the upstream for each try, where these are limited.
//!
//! In: a request that may go, or a try that failed. Out: the place in the
//! context, or a refusal. Not here: who gets a place (`state::queue`).

use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::exchange::refusal::Refusal;
use crate::state::queue::Visit;

use super::Proxy;
use super::ctx::Ctx;

/// Whether nobody has to wait for a place.
pub(super) fn is_open(ctx: &Ctx) -> bool {
    let queue = ctx.route().and_then(|route| route.queue.as_ref());
    ctx.attempt.place.is_some() || queue.is_none_or(|queue| queue.is_open())
}

impl Proxy {
    /// Waits for a place, if the upstream has a queue; the refusal is for who gets none.
    pub(super) async fn take_place(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Result<(), Refusal>> {
        let waits = ctx.route().filter(|_| !is_open(ctx)).and_then(|route| Some((route, route.queue.as_ref()?)));
        let Some((route, queue)) = waits else { return Ok(Ok(())) };
        let elapsed = self.state.clock().now().saturating_duration_since(ctx.started);
        let visit = Visit {
            tenant: ctx.grant.as_ref().and_then(|grant| grant.tenant.as_ref()),
            left: route.upstream.timeouts().total.saturating_sub(elapsed),
            counters: self.state.counters(),
        };
        match while_there(session, queue.enter(visit)).await? {
            Ok(place) => {
                ctx.attempt.place = Some(place);
                Ok(Ok(()))
            }
            Err(turned_away) => {
                ctx.fault = Some(turned_away.why.to_string());
                Ok(Err(Refusal::overloaded(turned_away.retry_after)))
            }
        }
    }

    /// The upstream answered 429 and said for how long: nobody else need hear the same.
    pub(super) fn close_tap(&self, ctx: &Ctx, pause: std::time::Duration) {
        let Some((route, queue)) = ctx.route().and_then(|route| Some((route, route.queue.as_ref()?))) else { return };
        if queue.close(pause) {
            log::warn!(
                "upstream {} answered 429 to a request of {} on {} and asks for {} s without requests: until then, but at most \
                 for a minute, they wait or are refused",
                route.upstream.name(),
                ctx.grant
                    .as_ref()
                    .and_then(|grant| grant.tenant.as_ref())
                    .map_or_else(|| "nobody in particular".to_owned(), |tenant| format!("tenant {tenant}")),
                route.label,
                pause.as_secs()
            );
        }
    }
}

/// Does something that takes time; it ends when the caller hangs up.
pub(super) async fn while_there<T>(session: &mut Session, wait: impl Future<Output = T>) -> Result<T> {
    // While a body is still to come, reading would take a byte of it away.
    if !session.as_mut().is_body_done() {
        return Ok(wait.await);
    }
    tokio::select! {
        biased;
        done = wait => Ok(done),
        left = session.as_mut().read_body_or_idle(true) => match left {
            Ok(_) => Err(Error::new_down(ErrorType::ConnectionClosed)),
            Err(e) => Err(e.into_down()),
        },
    }
}
