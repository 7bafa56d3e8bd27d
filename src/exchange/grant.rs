//! What a caller may do on one route.
//!
//! In: a caller, the route's rules (`pipeline::authz`). Out: a [`Grant`]: whose
//! rows, with which parameters fixed, how often. Not here: proving who calls.

use std::borrow::Cow;
use std::sync::Arc;

use crate::config::scalar::{Part, Template, TenantName};

use super::caller::{Caller, Facts, FixedParams, Identity, PipeScope, TenantOf, scalar};
use super::captures::Captures;
use super::host_labels;

/// What a caller may do on the matched route.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Who asks.
    pub caller: Caller,
    /// Whose rows.
    pub tenant: Option<TenantName>,
    /// Which of the caller's pipes this is, for a Tinybird JWT.
    pub pipe: Option<usize>,
}

/// What a request brings beside its caller.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// What the path's captures matched.
    pub captures: &'a Captures,
    /// The host that is asked, normalised.
    pub host: &'a str,
}

impl Grant {
    /// For a route that is open to everybody.
    pub fn open() -> Self {
        Grant { caller: Caller::Anonymous, tenant: None, pipe: None }
    }

    /// For who may not go on: what is known of it all the same.
    pub fn refused(caller: Caller) -> Self {
        let tenant = match &caller {
            Caller::Anonymous => None,
            Caller::Known(identity) => match &identity.tenant {
                TenantOf::One(tenant) => Some(tenant.clone()),
                TenantOf::Foreign | TenantOf::Missing | TenantOf::Nobody => None,
            },
        };
        Grant { caller, tenant, pipe: None }
    }

    /// The verified credential, where there is one.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match &self.caller {
            Caller::Anonymous => None,
            Caller::Known(identity) => Some(identity),
        }
    }

    /// The parameters that the caller's own token fixes on this route.
    pub fn fixed(&self) -> &[(Box<str>, Box<str>)] {
        self.scope().and_then(|scope| scope.fixed.as_ref()).map_or(&[], |fixed: &FixedParams| fixed)
    }

    /// The template filled; none where a hole has nothing to fill it.
    pub fn fill<'a>(&'a self, template: &'a Template, around: Circumstances<'a>) -> Option<Cow<'a, str>> {
        if let [part] = template.parts() {
            return self.part(part, around);
        }
        let parts = template.parts().iter().map(|part| self.part(part, around));
        parts.collect::<Option<Vec<_>>>().map(|parts| parts.concat().into())
    }

    fn part<'a>(&'a self, part: &'a Part, around: Circumstances<'a>) -> Option<Cow<'a, str>> {
        let some = |text: &'a str| Some(Cow::Borrowed(text)).filter(|text| !text.is_empty());
        match part {
            Part::Literal(text) => Some(Cow::Borrowed(text)),
            Part::Path(name) => some(around.captures.value(name)),
            Part::Host(label) => some(host_labels::label(around.host, *label)?),
            Part::Tenant => some(self.tenant.as_ref()?.as_str()),
            Part::FixedParam(name) => {
                self.fixed().iter().find(|(known, _)| **known == **name).and_then(|(_, value)| some(value))
            }
            Part::Certificate(name) => {
                scalar(self.identity()?.facts.of_certificate(name)?).filter(|text| is_one_value(text)).map(Cow::Owned)
            }
            Part::Claim(name) => {
                scalar(self.identity()?.facts.claim(name)?).filter(|text| is_one_value(text)).map(Cow::Owned)
            }
            Part::KeyTenant => match &self.identity()?.facts {
                Facts::Key { tenant, .. } => some(tenant.as_ref()?.as_str()),
                Facts::Certificate(_) | Facts::Claims(_) => None,
            },
            Part::KeyMeta(name) => match &self.identity()?.facts {
                Facts::Key { meta, .. } => some(meta.get(name)?).filter(|text| is_one_value(text)),
                Facts::Certificate(_) | Facts::Claims(_) => None,
            },
        }
    }

    fn scope(&self) -> Option<&PipeScope> {
        self.identity()?.pipes.get(self.pipe?)
    }
}

/// Whether what a credential says is one value for Tinybird, too: a parameter that is a list is split at commas, and blanks
/// around an item fall away, so that `a,b` would open the rows of both.
fn is_one_value(text: &str) -> bool {
    text.trim() == text && !text.contains(|c: char| c == ',' || c.is_control())
}
