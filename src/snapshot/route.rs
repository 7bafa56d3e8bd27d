//! A compiled path rule: one field per step, in pipeline order.

use std::sync::Arc;

use http::Method;

use crate::pipeline::authn::Authn;
use crate::pipeline::authz::Authz;
use crate::pipeline::cors::Cors;
use crate::pipeline::guard::RouteGuard;
use crate::pipeline::limits::{Attached, Usuals};
use crate::pipeline::params::Params;
use crate::pipeline::retry::Retry;
use crate::pipeline::rewrite::Rewrite;
use crate::pipeline::scrub::Scrub;
use crate::pipeline::statistics::Meter;
use crate::state::queue::Queue;
use crate::upstream::Upstream;

/// What happens to requests for one path.
#[derive(Debug)]
pub struct Route {
    /// Position among all routes: the key of per-route metrics.
    pub index: usize,
    /// The configured pattern: the label in logs and metrics.
    pub label: Arc<str>,
    /// The key under `routes` that it comes from.
    pub key: Arc<str>,
    /// The host under whose `routes` that key stands; none for the top level's.
    pub host: Option<Arc<str>>,
    /// Methods and sizes.
    pub guard: RouteGuard,
    /// Pages that may call, where the route says so itself: see `Snapshot::cors_of`.
    pub cors: Option<Cors>,
    /// Who may call; none where the host, or the top level, says.
    pub authn: Option<Authn>,
    /// What each caller may do.
    pub authz: Authz,
    /// How the request's body is treated.
    pub body: BodyRule,
    /// Parameters.
    pub params: Params,
    /// What its requests must keep, beside what holds for host, server and plan.
    pub limits: Attached,
    /// What its requests usually cost, by quota.
    pub usual: Usuals,
    /// Path, headers and credential towards the upstream.
    pub rewrite: Rewrite,
    /// Which failures are tried again.
    pub retry: Retry,
    /// Whether answers are read for what they cost.
    pub meter: Meter,
    /// What of answers may leave.
    pub scrub: Scrub,
    /// What stands in front of the upstream, where that is protected.
    pub queue: Option<Arc<Queue>>,
    /// Where it goes.
    pub upstream: Arc<Upstream>,
}

impl Route {
    /// Whether a request with this method may be sent a second time after it began.
    pub fn repeats(&self, method: &Method) -> bool {
        match self.body {
            // Reading a pipe by POST changes nothing.
            BodyRule::Parameters => true,
            BodyRule::PassThrough => matches!(*method, Method::GET | Method::HEAD),
        }
    }
}

/// How a request's body is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyRule {
    /// It holds parameters of a pipe; reading a pipe by POST may be repeated.
    Parameters,
    /// It passes as bytes and is sent once.
    PassThrough,
}
