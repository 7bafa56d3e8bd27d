//! Who may call a route, and as whom this request comes.
//!
//! In: the rule of the route, what came of asking it. Out: plain facts without
//! any credential. Not here: deciding (`pipeline::authn`, `pipeline::authz`).

use serde::Serialize;

use crate::exchange::caller::{CallerKind, Facts, Identity};
use crate::exchange::grant::Grant;
use crate::pipeline::Turned;
use crate::pipeline::authn::Authn;

use super::masked::masked_text;

/// Who may call a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Callers {
    /// Who has a credential of one of these.
    Of(Providers),
    /// Anyone.
    Public,
}

/// The providers of a route, and what they make of this request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Providers {
    /// Their names.
    pub providers: Vec<String>,
    /// Who calls, once one of them said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Known>,
    /// Why it is not known who calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// A caller whose credential was verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// Who verified it.
    pub provider: String,
    /// The kind of credential.
    pub kind: &'static str,
    /// Who it is, as the credential says.
    pub id: String,
    /// Whose rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// What it may do, where the provider speaks of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
}

impl Callers {
    pub(super) fn new(authn: &Authn, entered: Option<&Result<Grant, Turned>>) -> Self {
        if authn.is_public() {
            return Callers::Public;
        }
        let providers = authn.providers().iter().map(|provider| provider.name().to_string()).collect();
        let why_not = match entered {
            Some(Err(Turned::Away(rejection))) => Some(rejection.to_string()),
            Some(Ok(_) | Err(Turned::Back { .. })) | None => None,
        };
        let caller = entered.and_then(|entered| match entered {
            Ok(grant) => Known::new(grant),
            Err(Turned::Back { caller, .. }) => Known::new(&Grant::refused(caller.clone())),
            Err(Turned::Away(_)) => None,
        });
        Callers::Of(Providers { providers, caller, why_not })
    }
}

impl Known {
    pub(super) fn new(grant: &Grant) -> Option<Self> {
        let identity: &Identity = grant.identity()?;
        let shown = |text: &str| masked_text(text).into_owned();
        Some(Known {
            provider: identity.provider.to_string(),
            kind: match identity.kind {
                CallerKind::ApiKey => "api_key",
                CallerKind::Certificate => "mtls",
                CallerKind::Jwt => "jwt",
                CallerKind::TinybirdJwt => "tinybird_jwt",
            },
            id: match &identity.facts {
                Facts::Certificate(_) | Facts::Claims(_) => shown(&identity.id),
                // The public part of a key; it looks like a secret and is none.
                Facts::Key { .. } => identity.id.to_string(),
            },
            tenant: grant.tenant.as_ref().map(ToString::to_string),
            scopes: identity.scopes.as_ref().map(|scopes| scopes.iter().map(|scope| shown(scope)).collect()),
        })
    }
}
