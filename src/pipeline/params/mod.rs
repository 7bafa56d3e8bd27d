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

use bytes::Bytes;
use http::HeaderValue;

use crate::config::scalar::Template;
use crate::config::section::params::{Conflict, Params as Section};
use crate::exchange::captures::Captures;
use crate::exchange::refusal::Refusal;

use name::{Fate, Names};
use watch::{Addition, Decision, Nobody, Spot, Watch};

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
    pub fn confines(&self) -> bool {
        !self.fixed.is_empty() || self.names.is_closed()
    }

    /// Builds what the upstream gets.
    ///
    /// # Errors
    /// 400 for control parameters, malformed names and contradictions (where
    /// the route refuses them), 403 for a fixed parameter without a value,
    /// 415 for a body that is not flat.
    pub fn bind(&self, query: &str, captures: &Captures, body: Option<ParameterBody>) -> Result<Bound, Refusal> {
        self.bind_watched(query, captures, body, &mut Nobody)
    }

    /// As [`Params::bind`], while `watch` looks on.
    ///
    /// # Errors
    /// As for [`Params::bind`].
    pub fn bind_watched(
        &self,
        query: &str,
        captures: &Captures,
        body: Option<ParameterBody>,
        watch: &mut impl Watch,
    ) -> Result<Bound, Refusal> {
        let fixed = self.fixed_values(captures)?;
        let supplied = vec![false; self.default.len()];
        let mut binding = Binding { params: self, fixed: &fixed, supplied, spot: Spot::Query, watch };
        let mut bound = Bound { query: String::with_capacity(query.len()), body: None };
        form::rewrite(query, &mut binding, &mut bound.query)?;
        bound.body = match body {
            None => None,
            Some(ParameterBody::Form(bytes)) => Some(ParameterBody::Form(form::rewrite_body(&bytes, &mut binding)?)),
            Some(ParameterBody::Json(bytes)) => Some(ParameterBody::Json(json::rewrite_body(&bytes, &mut binding)?)),
        };
        let Binding { supplied, watch, .. } = binding;
        for ((name, template), _) in self.default.iter().zip(supplied).filter(|(_, supplied)| !supplied) {
            let value = captures.fill(template);
            watch.added(Addition::Default, name, &value, template);
            form::append(&mut bound.query, name, &value);
        }
        for ((name, value), (_, template)) in fixed.iter().zip(&self.fixed) {
            watch.added(Addition::Fixed, name, value, template);
            form::append(&mut bound.query, name, value);
        }
        Ok(bound)
    }

    fn fixed_values(&self, captures: &Captures) -> Result<Vec<(&str, String)>, Refusal> {
        self.fixed
            .iter()
            .map(|(name, template)| match captures.fill(template) {
                // A hole that nothing fills counts, whatever stands around it: `org-` is nobody's name.
                value if value.is_empty() || captures.misses_any(template) => Err(Refusal::TenantMissing),
                value => Ok((name.as_ref(), value.into_owned())),
            })
            .collect()
    }
}

/// The state of one request's binding, shared by query and body.
struct Binding<'a, W> {
    params: &'a Params,
    fixed: &'a [(&'a str, String)],
    supplied: Vec<bool>,
    /// Where the parameters stand that are bound now.
    spot: Spot,
    watch: &'a mut W,
}

impl<W: Watch> Binding<'_, W> {
    /// Whether the caller's parameter goes on. `same` tells whether its value is the given one.
    fn keeps(&mut self, name: &str, value: &[u8], same: impl Fn(&str) -> bool) -> Result<bool, Refusal> {
        let fate = self.params.names.fate(name).and_then(|fate| self.settle(name, fate, same));
        let fixed = self.fixed;
        self.watch.given(self.spot, name, value, || match &fate {
            Err(refusal) => Decision::Refused(refusal.clone()),
            Ok(Fate::Credential) => Decision::Credential,
            Ok(Fate::Fixed(index)) => {
                Decision::Overridden { by: fixed.get(*index).map(|(by, _)| (*by).to_owned()).unwrap_or_default() }
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
                let agrees = self.fixed.get(index).is_some_and(|(_, value)| same(value));
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
mod tests;
