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
        if let Some(plan) = grant.tenant.as_ref().and_then(|tenant| self.by_tenant.get(tenant)) {
            return Ok(Some(plan));
        }
        let claimed = grant.identity().and_then(|identity| identity.plan.as_deref());
        let found = claimed.map(|name| self.by_name.get(name).ok_or(name));
        match (found, &self.default) {
            (Some(Ok(plan)), _) | (None | Some(Err(_)), Some(plan)) => Ok(Some(plan)),
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
