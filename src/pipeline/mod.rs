//! What happens to a request: decisions only, one file per step.
//!
//! In: a [`RequestHead`], the parameters a caller sent, and the steps of the
//! route. Out: a [`Permit`], without which nothing goes upstream, or a
//! [`Refusal`]. Not here: sockets (`proxy`), storage (`state`). Steps do not
//! know each other; they meet in this file.

pub mod client;
pub mod cors;
pub mod guard;
pub mod params;
pub mod permit;
pub mod retry;
pub mod rewrite;
pub mod scrub;

use crate::exchange::captures::Captures;
use crate::exchange::head::RequestHead;
use crate::exchange::refusal::Refusal;

use params::watch::{Nobody, Watch};
use params::{ParameterBody, Params};
use permit::Permit;

/// Everything between a matched route and the right to go upstream.
///
/// Sizes, framing and method were looked at before, because a body is read
/// only for a request that could be answered ([`guard`]).
///
/// # Errors
/// The refusal that the caller gets.
pub fn admit(
    params: &Params,
    head: &RequestHead,
    captures: Captures,
    body: Option<ParameterBody>,
) -> Result<Permit, Refusal> {
    admit_watched(params, head, captures, body, &mut Nobody)
}

/// As [`admit`], while `watch` looks on.
///
/// # Errors
/// The refusal that the caller gets.
pub fn admit_watched(
    params: &Params,
    head: &RequestHead,
    captures: Captures,
    body: Option<ParameterBody>,
    watch: &mut impl Watch,
) -> Result<Permit, Refusal> {
    // Here, after everything that costs less and before anything that costs
    // the upstream: forced parameters are what keeps tenants apart.
    let bound = params.bind_watched(&head.query, &captures, body, watch)?;
    Ok(Permit::new(captures, bound))
}
