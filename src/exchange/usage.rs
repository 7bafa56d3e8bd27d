//! What somebody used: what is added up for dashboards and for bills.
//!
//! In: what is known of finished exchanges. Out: keys to add up under, and sums.
//! Not here: adding up (`state::usage`), which exchanges count how
//! (`pipeline::usage`).

use std::hash::{Hash, Hasher};
use std::ops::AddAssign;
use std::sync::Arc;

use serde::Serialize;

use crate::config::scalar::TenantName;

/// Who called, where that was proven: the provider's name, and the credential's own word for its bearer.
pub type CallerName = (Arc<str>, Arc<str>);

/// Stands for tenants and callers that are too many to be told apart.
pub const OTHER: &str = "__other__";

/// What sums are kept for: all that a bill or a chart could ask about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsageKey {
    /// The minute in which the exchange ended, since 1970.
    pub minute: u32,
    /// Whose rows were asked for.
    pub tenant: Option<TenantName>,
    /// Who asked.
    pub caller: Option<CallerName>,
    /// The configured pattern, where one matched.
    pub route: Option<Arc<str>>,
    /// The first digit of the answer's status.
    pub class: u8,
}

/// A [`UsageKey`] whose parts stand elsewhere: most exchanges need no other.
#[derive(Clone, Copy, Debug)]
pub struct UsageKeyRef<'a> {
    /// As in [`UsageKey`].
    pub minute: u32,
    /// As in [`UsageKey`].
    pub tenant: Option<&'a TenantName>,
    /// As in [`UsageKey`].
    pub caller: Option<&'a CallerName>,
    /// As in [`UsageKey`].
    pub route: Option<&'a Arc<str>>,
    /// As in [`UsageKey`].
    pub class: u8,
}

impl UsageKey {
    /// The same, borrowed.
    pub fn borrowed(&self) -> UsageKeyRef<'_> {
        let UsageKey { minute, tenant, caller, route, class } = self;
        UsageKeyRef {
            minute: *minute,
            tenant: tenant.as_ref(),
            caller: caller.as_ref(),
            route: route.as_ref(),
            class: *class,
        }
    }
}

impl UsageKeyRef<'_> {
    /// The same, to be kept.
    pub fn to_owned(self) -> UsageKey {
        let UsageKeyRef { minute, tenant, caller, route, class } = self;
        UsageKey { minute, tenant: tenant.cloned(), caller: caller.cloned(), route: route.cloned(), class }
    }
}

impl PartialEq for UsageKeyRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        // The minute last: it is nearly always the same.
        self.class == other.class
            && self.route == other.route
            && self.tenant == other.tenant
            && self.caller == other.caller
            && self.minute == other.minute
    }
}

impl Eq for UsageKeyRef<'_> {}

impl Hash for UsageKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let UsageKeyRef { minute, tenant, caller, route, class } = self;
        (minute, class, tenant, caller, route).hash(state);
    }
}

impl Hash for UsageKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

/// What was used. Sums that would overflow stop at the largest number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Requests.
    pub requests: u64,
    /// Those of them that the gateway refused.
    pub refusals: u64,
    /// Tries after the first.
    pub retries: u64,
    /// Bytes of the requests' bodies.
    pub request_bytes: u64,
    /// Bytes of the answers' bodies, as they were sent.
    pub response_bytes: u64,
    /// Rows that queries read.
    pub rows_read: u64,
    /// Bytes that queries read.
    pub bytes_read: u64,
    /// Waiting for upstreams' response headers, in microseconds.
    pub upstream_micros: u64,
    /// Answers of upstreams that did not say what they cost.
    pub unmeasured: u64,
}

impl Used {
    /// What each of [`Used::sums`] is called, wherever it has a name.
    pub const NAMES: [&str; 9] = [
        "requests",
        "refusals",
        "retries",
        "request_bytes",
        "response_bytes",
        "rows_read",
        "bytes_read",
        "upstream_micros",
        "unmeasured",
    ];

    /// All of it, in the order of [`Used::NAMES`].
    pub fn sums(self) -> [u64; 9] {
        let Used {
            requests,
            refusals,
            retries,
            request_bytes,
            response_bytes,
            rows_read,
            bytes_read,
            upstream_micros,
            unmeasured,
        } = self;
        [requests, refusals, retries, request_bytes, response_bytes, rows_read, bytes_read, upstream_micros, unmeasured]
    }

    /// What has these sums.
    pub fn of(sums: [u64; 9]) -> Self {
        let [
            requests,
            refusals,
            retries,
            request_bytes,
            response_bytes,
            rows_read,
            bytes_read,
            upstream_micros,
            unmeasured,
        ] = sums;
        Used {
            requests,
            refusals,
            retries,
            request_bytes,
            response_bytes,
            rows_read,
            bytes_read,
            upstream_micros,
            unmeasured,
        }
    }
}

impl AddAssign for Used {
    fn add_assign(&mut self, other: Self) {
        let mut sums = self.sums();
        sums.iter_mut().zip(other.sums()).for_each(|(sum, number)| *sum = sum.saturating_add(number));
        *self = Used::of(sums);
    }
}

/// What a tenant used on a route since the gateway knows both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantTotals {
    /// Requests by the first digit of their answers' status.
    pub classes: [u64; 6],
    /// All of them together.
    pub used: Used,
}

impl TenantTotals {
    /// Adds what was used with answers of a class.
    pub fn add(&mut self, class: u8, used: Used) {
        if let Some(requests) = self.classes.get_mut(usize::from(class)) {
            *requests = requests.saturating_add(used.requests);
        }
        self.used += used;
    }
}

/// The route of requests that no route matched, where there has to be a name.
pub const UNMATCHED: &str = "__unmatched__";
/// The tenant of requests that have none, where there has to be a name.
pub const NONE: &str = "__none__";
