//! What a caller may do on a route.
//!
//! In: a caller, the route's rules, the host that is asked. Out: a [`Grant`],
//! or a 403 [`Refusal`]. Not here: proving who calls (`authn`), binding values
//! into requests (`params`).
//!
//! Everything here narrows: no rule can open what a credential does not.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::scalar::{Template, TenantName};
use crate::config::section::routes::{Require, Route};
use crate::exchange::caller::{Caller, CallerKind, Identity, TenantOf};
use crate::exchange::captures::Captures;
use crate::exchange::grant::{Circumstances, Grant};
use crate::exchange::host_labels;
use crate::exchange::refusal::Refusal;

/// The compiled rules of a route.
#[derive(Clone, Debug)]
pub struct Authz {
    scopes: Box<[Box<str>]>,
    /// The pipe that a Tinybird JWT must open, by name and by id.
    pipe: Option<Template>,
    pipe_id: Option<Box<str>>,
    /// Whether everybody may choose a tenant by the host that is asked.
    public_tenant: bool,
    suspended: Arc<BTreeSet<TenantName>>,
}

/// Whose host is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The host, normalised.
    pub host: &'a str,
    /// The tenant that the host belongs to; none where it is everybody's.
    pub tenant: Option<&'a Template>,
}

impl Authz {
    /// The rules of `route`; nobody gets anything for a tenant that is suspended.
    pub fn compile(route: &Route, suspended: Arc<BTreeSet<TenantName>>) -> Self {
        let Require { scopes, pipe } = &route.require;
        let is_one_pipe = route.pipe.as_ref().is_some_and(|pipe| pipe.literal().is_some());
        Authz {
            scopes: scopes.iter().map(|scope| scope.as_str().into()).collect(),
            pipe: route.pipe.clone().or_else(|| pipe.clone()),
            // One id is one pipe: a path that can ask for many has none.
            pipe_id: route.pipe_id.as_deref().filter(|_| is_one_pipe).map(Into::into),
            public_tenant: route.params.allow_public_tenant,
            suspended,
        }
    }

    /// What `caller` may do.
    ///
    /// # Errors
    /// 403: no scope for this, no tenant where one is needed, another tenant's host.
    pub fn grant(&self, caller: Caller, captures: &Captures, asked: Asked<'_>) -> Result<Grant, Refusal> {
        let wanted = asked.tenant.map(|template| asked.tenant_of(template)).transpose()?;
        let identity = match caller {
            Caller::Known(identity) => identity,
            Caller::Anonymous => return self.open(wanted),
        };
        let around = Circumstances { captures, host: asked.host };
        let pipe = match identity.kind {
            CallerKind::TinybirdJwt => Some(self.pipe_of(&identity, around)?),
            CallerKind::ApiKey | CallerKind::Certificate | CallerKind::Jwt => {
                self.check_scopes(&identity)?;
                None
            }
        };
        let scope = pipe.and_then(|pipe| identity.pipes.get(pipe));
        let tenant = match scope.map_or(&identity.tenant, |scope| &scope.tenant) {
            TenantOf::Nobody => None,
            TenantOf::One(tenant) => Some(tenant.clone()),
            TenantOf::Missing => return Err(Refusal::TenantMissing),
            TenantOf::Foreign => return Err(Refusal::TenantMismatch),
        };
        // A host's tenant only narrows: it never stands in for a credential's.
        match (&wanted, &tenant) {
            (Some(_), None) => return Err(Refusal::TenantMissing),
            (Some(wanted), Some(tenant)) if wanted != tenant => return Err(Refusal::TenantMismatch),
            (Some(_), Some(_)) | (None, _) => {}
        }
        self.check_suspended(tenant.as_ref())?;
        Ok(Grant { caller: Caller::Known(identity), tenant, pipe })
    }

    /// For who needs no credential.
    fn open(&self, wanted: Option<TenantName>) -> Result<Grant, Refusal> {
        match (wanted, self.public_tenant) {
            // Who has no tenant is not let in at a tenant's host, unless the operator said that everybody may choose.
            (Some(_), false) => Err(Refusal::TenantMissing),
            (None, _) => Ok(Grant::open()),
            (tenant @ Some(_), true) => {
                self.check_suspended(tenant.as_ref())?;
                Ok(Grant { tenant, ..Grant::open() })
            }
        }
    }

    fn check_scopes(&self, identity: &Identity) -> Result<(), Refusal> {
        let Some(own) = &identity.scopes else { return Err(Refusal::Forbidden) };
        match self.scopes.iter().all(|scope| own.contains(scope)) {
            true => Ok(()),
            false => Err(Refusal::Forbidden),
        }
    }

    fn check_suspended(&self, tenant: Option<&TenantName>) -> Result<(), Refusal> {
        match tenant.is_some_and(|tenant| self.suspended.contains(tenant)) {
            true => Err(Refusal::Forbidden),
            false => Ok(()),
        }
    }

    /// The scope of a Tinybird JWT that opens this route's pipe. It stands in for `require.scopes`, unless the provider
    /// says where the token has such scopes, too.
    fn pipe_of(&self, identity: &Identity, around: Circumstances<'_>) -> Result<usize, Refusal> {
        if identity.scopes.is_some() {
            self.check_scopes(identity)?;
        }
        // The pipe's name never comes from the caller's own token.
        let nobody = Grant::open();
        let name = self.pipe.as_ref().and_then(|template| nobody.fill(template, around)).ok_or(Refusal::Forbidden)?;
        let opens = |resource: &str| resource == name || self.pipe_id.as_deref() == Some(resource);
        let mut opening = identity.pipes.iter().enumerate().filter(|(_, scope)| opens(&scope.resource));
        let (first, scope) = opening.next().ok_or(Refusal::Forbidden)?;
        let Some(fixed) = &scope.fixed else { return Err(Refusal::TenantMissing) };
        // Which of two scopes Tinybird would take is nowhere written.
        match opening.all(|(_, other)| other.fixed.as_ref() == Some(fixed)) {
            true => Ok(first),
            false => Err(Refusal::TenantMismatch),
        }
    }
}

impl Asked<'_> {
    fn tenant_of(&self, template: &Template) -> Result<TenantName, Refusal> {
        host_labels::fill(template, self.host).and_then(|text| text.parse().ok()).ok_or(Refusal::TenantMissing)
    }
}
