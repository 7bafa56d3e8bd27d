//! Who calls, and what they may do: the edge's part of it.
//!
//! In: a matched route, what outlives configurations. Out: a grant, or a
//! refusal with the reason in the operator's log. Here because it may wait for
//! keys; not here: deciding (`pipeline`).

use std::net::IpAddr;

use pingora_proxy::Session;

use crate::exchange::captures::Captures;
use crate::exchange::grant::Grant;
use crate::exchange::head::RequestHead;
use crate::exchange::refusal::Refusal;
use crate::pipeline::authn::{Desk, Rejection};
use crate::pipeline::{Entrance, Turned};
use crate::state::State;

use super::ctx::Ctx;
use super::tls;

/// What the caller may do that comes in here.
///
/// # Errors
/// What it is told.
pub(super) async fn enter(
    session: &Session,
    ctx: &mut Ctx,
    (entrance, captures): (Entrance<'_>, &Captures),
    state: &State,
) -> Result<Grant, Refusal> {
    let Some(head) = &ctx.head else { return Err(Refusal::RouteNotFound) };
    let door = Door { entrance, session, head, captures, client: ctx.client, state };
    let turned = match door.enter() {
        Ok(grant) => return Ok(grant),
        Err(Turned::Away(Rejection::NewerKeys { keys, kid, .. })) => {
            // Rare, and its future is large: it must not be a part of every request's.
            let refreshed = Box::pin(keys.refreshed());
            refreshed.await;
            if !keys.current().knows(&kid) {
                keys.reject(&kid);
            }
            match door.enter() {
                Ok(grant) => return Ok(grant),
                Err(turned) => turned,
            }
        }
        Err(turned) => turned,
    };
    match turned {
        Turned::Back { refusal, caller } => {
            // For the log: whose rows it could have asked for says why it may not ask for these.
            ctx.grant = Some(Grant::refused(caller));
            Err(refusal)
        }
        Turned::Away(rejection) => {
            let refusal = slowed_down(&rejection, ctx, state).unwrap_or_else(|| rejection.refusal());
            if !matches!(rejection, Rejection::Missing(_)) {
                ctx.fault = Some(format!("credential refused: {rejection}"));
            }
            Err(refusal)
        }
    }
}

/// One try to come in.
struct Door<'a> {
    entrance: Entrance<'a>,
    session: &'a Session,
    head: &'a RequestHead,
    captures: &'a Captures,
    client: IpAddr,
    state: &'a State,
}

impl Door<'_> {
    fn enter(&self) -> Result<Grant, Turned> {
        let desk = Desk {
            now: self.state.clock().wall(),
            verified: Some(self.state.verified()),
            guessers: Some((self.state.guessers(), self.client)),
            certificate: tls::certificate(self.session),
        };
        self.entrance.enter(&self.session.req_header().headers, self.head, self.captures, &desk)
    }
}

/// Who sends many wrong credentials is told to wait. Who sends a good one that costs little to judge is let in all the
/// same: others behind the same address have done nothing, and a good one cannot be guessed.
fn slowed_down(rejection: &Rejection, ctx: &Ctx, state: &State) -> Option<Refusal> {
    if !rejection.may_be_a_guess() {
        return None;
    }
    let wait = state.guessers().must_wait(Some(ctx.client));
    if wait.is_none() {
        state.guessers().count(Some(ctx.client));
    }
    wait.map(Refusal::rate_limited)
}
