//! Telling what becomes of each parameter, for who asks (`tollgate routes test`).
//!
//! In: every decision of the binder, as it is made. Out: calls of a [`Watch`].
//! Not here: decisions. Serving watches with [`Nobody`], which compiles to
//! nothing.

use crate::config::scalar::Template;
use crate::exchange::refusal::Refusal;

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// In a form body.
    Form,
    /// In a JSON body.
    Json,
    /// In the query.
    Query,
}

/// What became of a caller's parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Dropped: a credential is never forwarded.
    Credential,
    /// It goes on as it is.
    Kept,
    /// Dropped for the fixed parameter with this name.
    Overridden {
        /// The name as configured.
        by: String,
    },
    /// It refuses the whole request.
    Refused(Refusal),
    /// Dropped: an allow-list does not have it.
    Unlisted,
}

/// A parameter that the gateway adds to the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addition {
    /// A default, for one that the caller left out.
    Default,
    /// A fixed one.
    Fixed,
}

/// Who looks on while parameters are bound.
pub trait Watch {
    /// A parameter of the caller, decoded in queries and forms, raw in JSON.
    fn given(&mut self, spot: Spot, name: &str, value: &[u8], decision: impl FnOnce() -> Decision);

    /// A parameter that the gateway adds, and the template of its value; none where the caller's token has it.
    fn added(&mut self, addition: Addition, name: &str, value: &str, template: Option<&Template>);
}

/// Nobody looks on.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Watch for Nobody {
    fn given(&mut self, _: Spot, _: &str, _: &[u8], _: impl FnOnce() -> Decision) {}

    fn added(&mut self, _: Addition, _: &str, _: &str, _: Option<&Template>) {}
}
