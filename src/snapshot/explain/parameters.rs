//! What becomes of each parameter, one line each.
//!
//! In: the binder's decisions as it makes them. Out: [`Parameter`]s. Not here:
//! the decisions (`pipeline::params`).

use serde::Serialize;

use crate::config::scalar::{Template, is_credential_name};
use crate::pipeline::params::watch::{Addition, Decision, Spot, Watch};

use super::masked::masked_value;

/// One parameter on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub place: Place,
    /// The caller's value; none where the gateway adds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The value for the upstream; none where it does not get there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// What becomes of it.
    pub fate: ParameterFate,
    /// Why, where the fate does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Where a parameter comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// From a form body.
    Form,
    /// From a JSON body.
    Json,
    /// From the query.
    Query,
    /// From the route; the gateway puts it into the query.
    Route,
}

/// What becomes of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParameterFate {
    /// The gateway adds it, for the caller left it out.
    Defaulted,
    /// It does not reach the upstream.
    Dropped,
    /// The gateway sets it, whatever the caller says.
    Fixed,
    /// It goes on as it is.
    Kept,
    /// It is dropped, for the gateway sets it.
    Overridden,
    /// It refuses the request; what stands behind it was not looked at.
    Refused,
}

/// Writes down what the binder decides.
#[derive(Debug, Default)]
pub(super) struct Trail(Vec<Parameter>);

impl Trail {
    pub(super) fn finish(self) -> Vec<Parameter> {
        self.0
    }
}

impl Watch for Trail {
    fn given(&mut self, spot: Spot, name: &str, value: &[u8], decision: impl FnOnce() -> Decision) {
        let (fate, why) = match decision() {
            Decision::Credential => (ParameterFate::Dropped, Some("a credential is never passed on".to_owned())),
            Decision::Kept => (ParameterFate::Kept, None),
            Decision::Overridden { by } => (ParameterFate::Overridden, Some(format!("`{by}` is fixed"))),
            Decision::Refused(refusal) => (ParameterFate::Refused, Some(refusal.code().as_str().to_owned())),
            Decision::Unlisted => (ParameterFate::Dropped, Some("not in `params.allow`".to_owned())),
        };
        let before = masked_value(name, &String::from_utf8_lossy(value));
        let after = (fate == ParameterFate::Kept).then(|| before.clone());
        self.0.push(Parameter { name: name.to_owned(), place: spot.into(), before: Some(before), after, fate, why });
    }

    fn added(&mut self, addition: Addition, name: &str, value: &str, template: Option<&Template>) {
        let (fate, rule) = match addition {
            Addition::Default => (ParameterFate::Defaulted, "`params.default`"),
            Addition::Fixed => (ParameterFate::Fixed, "`params.fixed`"),
        };
        self.0.push(Parameter {
            name: name.to_owned(),
            place: Place::Route,
            before: None,
            after: Some(masked_value(name, value)),
            fate,
            why: Some(match template.map(|template| (template, template.literal())) {
                None => "`fixed_params` of the caller's own token".to_owned(),
                Some((_, Some(_))) => rule.to_owned(),
                Some((_, None)) if is_credential_name(name) => format!("{rule}, from a template"),
                Some((template, None)) => format!("{rule}, from `{template}`"),
            }),
        });
    }
}

impl From<Spot> for Place {
    fn from(spot: Spot) -> Self {
        match spot {
            Spot::Form => Place::Form,
            Spot::Json => Place::Json,
            Spot::Query => Place::Query,
        }
    }
}
