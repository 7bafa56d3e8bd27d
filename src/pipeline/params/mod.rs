//! Which parameters reach the upstream, and with what values.
//!
//! In: the caller's query and parameter body, what the path captured, and the
//! route's rules. Out: a query and a body built from scratch, in which fixed
//! parameters stand exactly once. Not here: reading bodies (`proxy::body`).
//!
//! Most pipes show every tenant's rows when the tenant parameter is missing or
//! empty, and an upstream may let the first, the last or all of several values
//! win: so a fixed name is removed in every spelling, everywhere, first.

mod form;
mod json;
mod media;
mod name;
pub mod watch;

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;

use crate::config::scalar::Template;
use crate::config::section::params::{Conflict, Params as Section};
use crate::exchange::caller::FixedParams;
use crate::exchange::grant::{Circumstances, Grant};
use crate::exchange::refusal::Refusal;

use name::{Fate, Names, folds_to};
use watch::{Addition, Decision, Spot, Watch};

pub use name::{is_control_name, is_possible_name};

/// Largest parameter body, in bytes: what Pingora replays on a retry is 64 KiB.
pub const MAX_PARAMETER_BODY: u64 = 60 << 10;

/// The compiled rules of a route.
#[derive(Clone, Debug)]
pub struct Params {
    names: Names,
    fixed: Box<[(Box<str>, Template)]>,
    default: Box<[(Box<str>, Template)]>,
    conflict: Conflict,
}

/// A body that parameters are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterBody {
    /// `application/x-www-form-urlencoded`.
    Form(Bytes),
    /// `application/json`.
    Json(Bytes),
}

impl ParameterBody {
    /// The body as it travels.
    pub fn bytes(&self) -> &Bytes {
        match self {
            ParameterBody::Form(bytes) | ParameterBody::Json(bytes) => bytes,
        }
    }

    /// Its media type, without parameters: a body built afresh is UTF-8, whatever the caller called it.
    pub fn media_type(&self) -> HeaderValue {
        HeaderValue::from_static(match self {
            ParameterBody::Form(_) => "application/x-www-form-urlencoded",
            ParameterBody::Json(_) => "application/json",
        })
    }
}

/// Parameters as the upstream gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The query without `?`.
    pub query: String,
    /// The body, in the media type that the caller used.
    pub body: Option<ParameterBody>,
    /// The fixed parameters among them.
    pub fixed: FixedParams,
}

/// What a caller sent, apart from the head.
#[derive(Clone, Debug)]
pub struct Sent<'a> {
    /// The query as it came, without `?`.
    pub query: &'a str,
    /// The parameter body, where there is one.
    pub body: Option<ParameterBody>,
}

/// A parameter with the value that it has in this request.
#[derive(Debug)]
struct Fixed<'a> {
    name: &'a str,
    value: Cow<'a, str>,
    /// What the route says; none where it is the caller's own token that fixes it.
    origin: Option<&'a Template>,
}

impl Params {
    /// The rules of a section.
    pub fn compile(section: &Section) -> Self {
        let Section { allow, fixed, default, conflict, allow_public_tenant: _ } = section;
        let pairs = |map: &std::collections::BTreeMap<String, Template>| {
            map.iter().map(|(name, template)| (name.as_str().into(), template.clone())).collect()
        };
        Params {
            names: Names::compile(allow.as_deref(), fixed.keys()),
            fixed: pairs(fixed),
            default: pairs(default),
            conflict: *conflict,
        }
    }

    /// Whether the route decides what callers may say, so that a body nobody looks at must not say more.
    pub fn confines(&self, grant: &Grant) -> bool {
        !self.fixed.is_empty() || !grant.fixed().is_empty() || self.names.is_closed()
    }

    /// Builds what the upstream gets from what the caller sent, while `watch` looks on.
    ///
    /// # Errors
    /// 400 for control parameters, malformed names and contradictions (where
    /// the route refuses them), 403 for a fixed parameter without a value or
    /// with two, 415 for a body that is not flat.
    pub fn bind(
        &self,
        sent: Sent<'_>,
        grant: &Grant,
        around: Circumstances<'_>,
        watch: &mut impl Watch,
    ) -> Result<Bound, Refusal> {
        let Sent { query, body } = sent;
        let fixed = self.fixed_values(grant, around)?;
        let supplied = vec![false; self.default.len()];
        let mut binding = Binding { params: self, fixed: &fixed, supplied, spot: Spot::Query, watch };
        let mut bound = Bound { query: String::with_capacity(query.len()), body: None, fixed: Box::default() };
        form::rewrite(query, &mut binding, &mut bound.query)?;
        bound.body = match body {
            None => None,
            Some(ParameterBody::Form(bytes)) => Some(ParameterBody::Form(form::rewrite_body(&bytes, &mut binding)?)),
            Some(ParameterBody::Json(bytes)) => Some(ParameterBody::Json(json::rewrite_body(&bytes, &mut binding)?)),
        };
        let Binding { supplied, watch, .. } = binding;
        for ((name, template), _) in self.default.iter().zip(supplied).filter(|(_, supplied)| !supplied) {
            // A token may fix what the route only suggests: beside it, an upstream might take the suggestion.
            if fixed.iter().any(|fixed| folds_to(fixed.name, name)) {
                continue;
            }
            // What nobody says need not be said.
            let Some(value) = grant.fill(template, around) else { continue };
            watch.added(Addition::Default, name, &value, Some(template));
            form::append(&mut bound.query, name, &value);
        }
        for Fixed { name, value, origin } in &fixed {
            watch.added(Addition::Fixed, name, value, *origin);
            form::append(&mut bound.query, name, value);
        }
        bound.fixed = fixed.into_iter().map(|Fixed { name, value, .. }| (name.into(), value.into())).collect();
        Ok(bound)
    }

    /// The route's fixed parameters, then those of the caller's token (config.md rule 8).
    fn fixed_values<'a>(&'a self, grant: &'a Grant, around: Circumstances<'a>) -> Result<Vec<Fixed<'a>>, Refusal> {
        let own = grant.fixed();
        let mut fixed: Vec<Fixed<'a>> = Vec::with_capacity(self.fixed.len() + own.len());
        for (name, template) in &self.fixed {
            // A hole that nothing fills counts, whatever stands around it: `org-` is nobody's name.
            let value = grant.fill(template, around).filter(|value| !value.trim().is_empty());
            let value = value.ok_or(Refusal::TenantMissing)?;
            fixed.push(Fixed { name, value, origin: Some(template) });
        }
        for (name, value) in own {
            if !is_possible_name(name) || folds_to(name, "token") || value.trim().is_empty() {
                return Err(Refusal::TenantMissing);
            }
            match fixed.iter().find(|other| folds_to(name, other.name)) {
                Some(other) if other.value == **value => {}
                Some(_) => return Err(Refusal::TenantMismatch),
                None => fixed.push(Fixed { name, value: Cow::Borrowed(value), origin: None }),
            }
        }
        Ok(fixed)
    }
}

/// The state of one request's binding, shared by query and body.
struct Binding<'a, W> {
    params: &'a Params,
    fixed: &'a [Fixed<'a>],
    supplied: Vec<bool>,
    /// Where the parameters stand that are bound now.
    spot: Spot,
    watch: &'a mut W,
}

impl<W: Watch> Binding<'_, W> {
    /// Whether the caller's parameter goes on. `same` tells whether its value is the given one.
    fn keeps(&mut self, name: &str, value: &[u8], same: impl Fn(&str) -> bool) -> Result<bool, Refusal> {
        let fate = self.params.names.fate(name, self.fixed).and_then(|fate| self.settle(name, fate, same));
        let fixed = self.fixed;
        self.watch.given(self.spot, name, value, || match &fate {
            Err(refusal) => Decision::Refused(refusal.clone()),
            Ok(Fate::Credential) => Decision::Credential,
            Ok(Fate::Fixed(index)) => {
                Decision::Overridden { by: fixed.get(*index).map(|fixed| fixed.name.to_owned()).unwrap_or_default() }
            }
            Ok(Fate::Keep) => Decision::Kept,
            Ok(Fate::Unlisted) => Decision::Unlisted,
        });
        Ok(fate? == Fate::Keep)
    }

    /// A parameter that is refused for what it says, whatever its name.
    fn refuse(&mut self, name: &str, value: &[u8], refusal: Refusal) -> Refusal {
        self.watch.given(self.spot, name, value, || Decision::Refused(refusal.clone()));
        refusal
    }

    /// What a name's fate comes to with this value.
    fn settle(&mut self, name: &str, fate: Fate, same: impl Fn(&str) -> bool) -> Result<Fate, Refusal> {
        match fate {
            Fate::Credential | Fate::Unlisted => {}
            Fate::Fixed(index) => {
                let agrees = self.fixed.get(index).is_some_and(|fixed| same(&fixed.value));
                match self.params.conflict {
                    Conflict::Refuse if !agrees => {
                        return Err(Refusal::bad_parameter(name, "is set by the server and cannot be changed"));
                    }
                    Conflict::Override | Conflict::Refuse => {}
                }
            }
            Fate::Keep => {
                for ((default, _), supplied) in self.params.default.iter().zip(&mut self.supplied) {
                    *supplied |= default.as_ref() == name;
                }
            }
        }
        Ok(fate)
    }
}

#[cfg(test)]
mod tenant_tests;
#[cfg(test)]
mod tests;
