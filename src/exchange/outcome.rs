//! What is known when an exchange ends: for logs and metrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use smallvec::SmallVec;

use crate::config::scalar::TenantName;

use super::refusal::RefusalCode;
use super::statistics::Statistics;

/// One finished exchange. Nothing here is a credential or a query.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When the request arrived.
    pub at: SystemTime,
    /// `X-Request-Id` of the answer.
    pub request_id: Arc<str>,
    /// The caller's address.
    pub client: IpAddr,
    /// Who called, where that was proven: the provider's name and the credential's own word for its bearer.
    pub caller: Option<(Arc<str>, Arc<str>)>,
    /// Whose rows were asked for.
    pub tenant: Option<TenantName>,
    /// The method.
    pub method: http::Method,
    /// The host, as normalised; empty where it could not be.
    pub host: String,
    /// The path as it came, without query.
    pub path: String,
    /// The configured pattern, where one matched.
    pub route: Option<Arc<str>>,
    /// The upstream's name, where one was asked.
    pub upstream: Option<Arc<str>>,
    /// The status that the caller got; 499 where the caller had left before there was one.
    pub status: u16,
    /// Why the gateway answered itself.
    pub refusal: Option<RefusalCode>,
    /// The limit that refused it.
    pub limited_by: Option<Arc<str>>,
    /// Limits on trial that would have refused it.
    pub would_refuse: SmallVec<[Arc<str>; 2]>,
    /// What went wrong, for the operator only.
    pub fault: Option<String>,
    /// Tries towards the upstream.
    pub attempts: u32,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body, as they were sent.
    pub response_bytes: u64,
    /// Bytes of the answer's body before the gateway compressed it, where it did.
    pub unpacked_bytes: Option<u64>,
    /// What the upstream said that the query cost, where it was asked.
    pub statistics: Statistics,
    /// From the first byte of the request to the last of the answer.
    pub elapsed: Duration,
    /// What of that was spent waiting for the upstream's response headers.
    pub upstream_elapsed: Duration,
    /// The trace that the exchange belongs to, 32 hex digits.
    pub trace_id: Option<String>,
}
