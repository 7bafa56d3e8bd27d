//! What a request's tenant bought.
//!
//! In: `plans`, `tenants`, `default_plan`, and what a credential says of its
//! plan. Out: the limits of the plan. The configuration's own word for a tenant
//! wins over any credential's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::config::scalar::TenantName;
use crate::config::section::plans::Plan as Section;
use crate::config::section::tenants::Tenant;
use crate::exchange::grant::Grant;

use super::{Attached, Book};

/// A compiled plan.
#[derive(Debug)]
pub struct Plan {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// What holds for its tenants.
    pub limits: Attached,
}

/// Who has which plan.
#[derive(Debug, Default)]
pub struct Plans {
    by_name: BTreeMap<Box<str>, Arc<Plan>>,
    by_tenant: HashMap<TenantName, Arc<Plan>, ahash::RandomState>,
    default: Option<Arc<Plan>>,
}

/// The plan that holds for a tenant.
#[derive(Clone, Copy, Debug)]
pub struct Bought<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Who says so.
    pub because: Because,
}

/// Who says which plan a tenant has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The credential.
    Credential,
    /// Nobody else: `default_plan`.
    Default,
    /// `tenants` of the configuration.
    Tenants,
}

impl Because {
    /// The key, or the word, that says so.
    pub fn word(self) -> &'static str {
        match self {
            Because::Credential => "credential",
            Because::Default => "default_plan",
            Because::Tenants => "tenants",
        }
    }

    /// As half a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Because::Credential => "as its credential says",
            Because::Default => "the `default_plan`",
            Because::Tenants => "as `tenants` says",
        }
    }
}

/// A credential names a plan that is not configured, and there is none for who has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPlan(pub Box<str>);

impl Plans {
    /// The plans of a configuration.
    pub fn compile(
        plans: &BTreeMap<String, Section>,
        tenants: &BTreeMap<TenantName, Tenant>,
        default: Option<&String>,
        book: &Book<'_>,
    ) -> Self {
        let compiled = |(name, section): (&String, &Section)| {
            let Section { limits } = section;
            let plan = Plan { name: name.as_str().into(), limits: book.attach(limits) };
            (Box::from(name.as_str()), Arc::new(plan))
        };
        let by_name: BTreeMap<Box<str>, Arc<Plan>> = plans.iter().map(compiled).collect();
        let named = |name: &String| by_name.get(name.as_str()).map(Arc::clone);
        let by_tenant = tenants
            .iter()
            .filter_map(|(tenant, section)| Some((tenant.clone(), named(section.plan.as_ref()?)?)))
            .collect();
        Plans { by_tenant, default: default.and_then(named), by_name }
    }

    /// The plan of who asks.
    ///
    /// # Errors
    /// The credential's plan does not exist; nobody said what holds then.
    pub fn of(&self, grant: &Grant) -> Result<Option<&Plan>, UnknownPlan> {
        if self.by_name.is_empty() {
            return Ok(None);
        }
        let claimed = grant.identity().and_then(|identity| identity.plan.as_deref());
        Ok(self.bought(grant.tenant.as_ref(), claimed)?.map(|bought| bought.plan))
    }

    /// The plan of a tenant whose credential names this one, and who says so.
    ///
    /// # Errors
    /// As for [`Plans::of`].
    pub fn bought(
        &self,
        tenant: Option<&TenantName>,
        claimed: Option<&str>,
    ) -> Result<Option<Bought<'_>>, UnknownPlan> {
        if let Some(plan) = tenant.and_then(|tenant| self.by_tenant.get(tenant)) {
            return Ok(Some(Bought { plan, because: Because::Tenants }));
        }
        let found = claimed.map(|name| self.by_name.get(name).ok_or(name));
        match (found, &self.default) {
            (Some(Ok(plan)), _) => Ok(Some(Bought { plan, because: Because::Credential })),
            (None | Some(Err(_)), Some(plan)) => Ok(Some(Bought { plan, because: Because::Default })),
            (Some(Err(name)), None) => Err(UnknownPlan(name.into())),
            (None, None) => Ok(None),
        }
    }

    /// The plan with this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Plan>> {
        self.by_name.get(name)
    }

    /// Every plan.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Plan>> {
        self.by_name.values()
    }
}
