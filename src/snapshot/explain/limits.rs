//! Which limits a request is asked by, and whom it is counted for.
//!
//! In: where a request goes, and what its caller may do. Out: plain facts
//! without any credential. Not here: how the limits stand (`admin`): that
//! changes with every request, and a file has nobody to ask. Nothing is spent.

use std::net::IpAddr;

use serde::Serialize;

use crate::config::section::limits::Dimension;
use crate::exchange::grant::Grant;
use crate::pipeline::limits::plans::{Bought, UnknownPlan};
use crate::pipeline::limits::{Attached, Limit, Moment, NAME_OF_TOKENS_RATE, Subject, words};
use crate::snapshot::Snapshot;
use crate::snapshot::counts::Place;
use crate::snapshot::hosts::Site;
use crate::snapshot::route::Route;
use crate::state::counters::Mode;

use super::callers::Known;

/// What a tenant bought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Who says so: `tenants`, `credential` or `default_plan`.
    pub because: &'static str,
    #[serde(skip)]
    pub(super) sentence: &'static str,
}

/// A limit that asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Asking {
    /// Its name; `limits.rps` for what a Tinybird JWT says of itself.
    pub limit: String,
    /// What it lets in.
    pub allows: String,
    /// Whose count it is.
    pub counts: String,
    /// Where it is attached.
    pub attached: Vec<String>,
    /// Whether it counts and refuses nobody.
    pub dry_run: bool,
}

/// Where a request goes, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) site: Option<&'a Site>,
    pub(super) route: Option<&'a Route>,
}

impl<'a> Spot<'a> {
    /// The limits by address, which ask whatever becomes of a request.
    pub(super) fn on_arrival(&self, client: IpAddr) -> Vec<Asking> {
        self.asking(Moment::Arrival, &self.subject(client), None)
    }

    /// The plan, and all other limits.
    ///
    /// # Errors
    /// The credential's plan is none.
    pub(super) fn on_admission(
        &self,
        client: IpAddr,
        grant: &Grant,
    ) -> Result<(Option<Plan>, Vec<Asking>), UnknownPlan> {
        let claimed = grant.identity().and_then(|identity| identity.plan.as_deref());
        let bought = match self.snapshot.config.plans.is_empty() {
            true => None,
            false => self.snapshot.plans.bought(grant.tenant.as_ref(), claimed)?,
        };
        // The name of a caller as it may be shown.
        let known = Known::new(grant);
        let caller = known.as_ref().map(|known| (known.provider.as_str(), known.id.as_str()));
        let subject =
            Subject { tenant: grant.tenant.as_ref().map(|tenant| tenant.as_str()), caller, ..self.subject(client) };
        let mut asking = self.asking(Moment::Admission, &subject, bought.as_ref());
        if let Some(rps) = grant.identity().and_then(|identity| identity.rps) {
            asking.push(Asking {
                limit: NAME_OF_TOKENS_RATE.to_owned(),
                allows: format!("{rps}/s"),
                counts: words::who(&[Dimension::Caller], &subject),
                attached: vec!["the token itself".to_owned()],
                dry_run: false,
            });
        }
        let plan = bought.map(|bought| Plan {
            name: bought.plan.name.to_string(),
            because: bought.because.word(),
            sentence: bought.because.sentence(),
        });
        Ok((plan, asking))
    }

    fn subject(&self, client: IpAddr) -> Subject<'a> {
        Subject {
            client: Some(client),
            host: self.site.map(|site| &*site.label),
            route: self.route.map(|route| (route.host.as_deref().unwrap_or_default(), &*route.key)),
            ..Subject::default()
        }
    }

    fn asking(&self, moment: Moment, subject: &Subject<'_>, bought: Option<&Bought<'_>>) -> Vec<Asking> {
        let Spot { snapshot, site, route } = self;
        let has = |attached: Option<&Attached>, limit: &Limit| {
            attached.is_some_and(|attached| attached.iter().any(|known| known.index == limit.index))
        };
        let asking = snapshot.all_limits.iter().filter(|limit| limit.moment() == moment).filter_map(|limit| {
            let is_of_server = has(Some(&snapshot.limits), limit);
            let of_host = site.filter(|site| has(Some(&site.limits), limit) && !is_of_server);
            let of_plan = bought.filter(|bought| has(Some(&bought.plan.limits), limit));
            let of_route = route.filter(|route| has(Some(&route.limits), limit));
            let places = [
                is_of_server.then_some(Place::Server),
                of_host.map(|site| Place::Host(&site.label)),
                of_plan.map(|bought| Place::Plan(&bought.plan.name)),
                of_route.map(|route| Place::Route(route.host.as_deref(), &route.key)),
            ];
            let attached: Vec<String> = places.iter().flatten().map(ToString::to_string).collect();
            (!attached.is_empty()).then(|| Asking {
                limit: limit.name.to_string(),
                allows: snapshot.config.limits.get(&*limit.name).map(words::allows).unwrap_or_default(),
                counts: words::who(limit.dimensions(), subject),
                attached,
                dry_run: limit.mode() == Mode::DryRun,
            })
        });
        asking.collect()
    }
}
