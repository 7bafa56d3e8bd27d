//! Proof that a request passed admission.
//!
//! Only `pipeline` can make one, and only with one can a request be rewritten
//! towards an upstream: a step that is forgotten does not compile.

use crate::exchange::captures::Captures;
use crate::exchange::grant::Grant;

use super::params::{Bound, ParameterBody};

/// The right to go upstream, with exactly these parameters, for this caller.
#[derive(Debug)]
pub struct Permit {
    captures: Captures,
    grant: Grant,
    bound: Bound,
}

impl Permit {
    pub(in crate::pipeline) fn new(captures: Captures, grant: Grant, bound: Bound) -> Self {
        Permit { captures, grant, bound }
    }

    /// What the path's captures matched.
    pub fn captures(&self) -> &Captures {
        &self.captures
    }

    /// For whom, and as whom.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The parameters that no caller can change, by name.
    pub fn fixed(&self) -> &[(Box<str>, Box<str>)] {
        &self.bound.fixed
    }

    /// The query for the upstream, without `?`; empty for none.
    pub fn query(&self) -> &str {
        &self.bound.query
    }

    /// The parameter body for the upstream; none where the caller's body, if any, is passed as it is.
    pub fn body(&self) -> Option<&ParameterBody> {
        self.bound.body.as_ref()
    }
}
