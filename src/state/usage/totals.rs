//! What each tenant used since the gateway knows it: for dashboards.
//!
//! In: sums. Out: the same by tenant and route, for as many tenants as are told
//! apart. Who has not called for a while makes room for others. Not here: what
//! is written down (`ledger`), and by whom it is read (`telemetry`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::scalar::TenantName;
use crate::exchange::usage::{NONE, OTHER, TenantTotals, UNMATCHED, UsageKey, Used};

/// Who has not called for so long is forgotten here.
const IDLE: Duration = Duration::from_secs(3_600);

/// By tenant and route.
#[derive(Clone, Debug)]
pub struct Totals {
    tenants: BTreeMap<TenantName, Tenant>,
    none: Routes,
    others: Routes,
    unmatched: Arc<str>,
}

type Routes = BTreeMap<Arc<str>, TenantTotals>;

#[derive(Clone, Debug)]
struct Tenant {
    seen: Instant,
    routes: Routes,
}

impl Default for Totals {
    fn default() -> Self {
        let (none, others) = Default::default();
        Totals { tenants: BTreeMap::new(), none, others, unmatched: UNMATCHED.into() }
    }
}

impl Totals {
    /// Adds what was used; `most` tenants are told apart.
    pub(super) fn add(&mut self, key: &UsageKey, used: Used, (most, now): (usize, Instant)) {
        let routes = match &key.tenant {
            None => &mut self.none,
            Some(name) if name.as_str() == OTHER => &mut self.others,
            Some(name) if !self.tenants.contains_key(name) && self.tenants.len() >= most => &mut self.others,
            Some(name) => {
                let new = || Tenant { seen: now, routes: Routes::new() };
                let tenant = self.tenants.entry(name.clone()).or_insert_with(new);
                tenant.seen = now;
                &mut tenant.routes
            }
        };
        let route = key.route.as_ref().unwrap_or(&self.unmatched);
        if let Some(totals) = routes.get_mut(route) {
            totals.add(key.class, used);
        } else {
            routes.entry(Arc::clone(route)).or_default().add(key.class, used);
        }
    }

    /// Forgets who has not called for a while.
    pub(super) fn forget_idle(&mut self, now: Instant) {
        self.tenants.retain(|_, tenant| now.saturating_duration_since(tenant.seen) < IDLE);
    }

    /// Forgets routes that are not served any more.
    pub(super) fn keep_routes(&mut self, is_served: impl Fn(&str) -> bool) {
        let all = self.tenants.values_mut().map(|tenant| &mut tenant.routes);
        let all = all.chain([&mut self.none, &mut self.others]);
        all.for_each(|routes| routes.retain(|route, _| *route == self.unmatched || is_served(route)));
    }

    /// How many tenants are told apart.
    pub fn tenants(&self) -> usize {
        self.tenants.len()
    }

    /// Tenant, route and what was used.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &str, &TenantTotals)> {
        let named = self.tenants.iter().map(|(name, tenant)| (name.as_str(), &tenant.routes));
        let all = named.chain([(NONE, &self.none), (OTHER, &self.others)]);
        all.flat_map(|(tenant, routes)| routes.iter().map(move |(route, totals)| (tenant, &**route, totals)))
    }
}
