//! What happens to a request: decisions only, one file per step.
//!
//! In: a [`RequestHead`], the parameters a caller sent, and the steps of the
//! route. Out: a [`Permit`], without which nothing goes upstream, or a
//! [`Refusal`]. Not here: sockets (`proxy`), storage (`state`). Steps do not
//! know each other; they meet in this file.

pub mod authn;
pub mod authz;
pub mod client;
pub mod compress;
pub mod cors;
pub mod guard;
pub mod limits;
pub mod params;
pub mod permit;
pub mod retry;
pub mod rewrite;
pub mod scrub;
pub mod statistics;
pub mod usage;

use crate::config::scalar::Template;
use crate::exchange::caller::Caller;
use crate::exchange::captures::Captures;
use crate::exchange::grant::{Circumstances, Grant};
use crate::exchange::head::RequestHead;
use crate::exchange::refusal::Refusal;

use authn::{Authn, Desk, Rejection};
use authz::{Asked, Authz};
use params::watch::{Nobody, Watch};
use params::{ParameterBody, Params, Sent};
use permit::Permit;

/// Who may come in at a route, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Entrance<'a> {
    /// Who may call.
    pub authn: &'a Authn,
    /// What each may do.
    pub authz: &'a Authz,
    /// Whose the host is that is asked.
    pub tenant: Option<&'a Template>,
}

/// Why a request did not come in.
#[derive(Clone, Debug)]
pub enum Turned {
    /// Who calls is not known.
    Away(Rejection),
    /// It is known, and may not do this.
    Back {
        /// What the caller is told.
        refusal: Refusal,
        /// Who it is.
        caller: Caller,
    },
}

impl Entrance<'_> {
    /// From a matched route to what its caller may do; before any body is read, so that strangers hold no memory.
    ///
    /// # Errors
    /// Why not.
    pub fn enter(
        &self,
        headers: &http::HeaderMap,
        head: &RequestHead,
        captures: &Captures,
        desk: &Desk<'_>,
    ) -> Result<Grant, Turned> {
        // Who asks: nothing after this could be decided without.
        let caller = self.authn.identify(headers, &head.query, desk).map_err(Turned::Away)?;
        // As whom: forced parameters need the tenant.
        let asked = Asked { host: &head.host, tenant: self.tenant };
        self.authz.grant(caller.clone(), captures, asked).map_err(|refusal| Turned::Back { refusal, caller })
    }
}

/// A request whose caller may come in, with what was read of it.
#[derive(Debug)]
pub struct Case<'a> {
    /// The route's rules for parameters.
    pub params: &'a Params,
    /// Its head.
    pub head: &'a RequestHead,
    /// What the path's captures matched.
    pub captures: Captures,
    /// What its caller may do.
    pub grant: Grant,
    /// Its parameter body, where there is one.
    pub body: Option<ParameterBody>,
}

/// Everything between what a caller may do and the right to go upstream.
///
/// Sizes, framing and method were looked at before, because a body is read
/// only for a request that could be answered ([`guard`]).
///
/// # Errors
/// The refusal that the caller gets.
pub fn admit(case: Case<'_>) -> Result<Permit, Refusal> {
    admit_watched(case, &mut Nobody)
}

/// As [`admit`], while `watch` looks on, and nothing is spent.
///
/// # Errors
/// The refusal that the caller gets.
pub fn admit_watched(case: Case<'_>, watch: &mut impl Watch) -> Result<Permit, Refusal> {
    let Case { params, head, captures, grant, body } = case;
    // Here, after everything that costs less and before anything that costs
    // the upstream: forced parameters are what keeps tenants apart.
    let around = Circumstances { captures: &captures, host: &head.host };
    let bound = params.bind(Sent { query: &head.query, body }, &grant, around, watch)?;
    Ok(Permit::new(captures, grant, bound))
}
