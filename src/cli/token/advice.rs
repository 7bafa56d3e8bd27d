//! What to do about a credential that is refused.
//!
//! In: why, the provider that judged, the credential's own words. Out: one
//! sentence. Not here: the reason itself (`pipeline::authn`).

use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::config::section::auth::{Audience, Provider, ProviderKind};
use crate::config::section::routes::Route;
use crate::exchange::refusal::Refusal;
use crate::pipeline::authn::{Finding, Rejection};

use super::age::distance;
use super::look::Look;
use super::shown;

/// What is known of a refused credential.
pub(super) struct Refused<'a> {
    pub(super) look: &'a Look,
    /// Who judged it.
    pub(super) provider: Option<&'a Provider>,
    /// Those who might have.
    pub(super) known: Vec<(&'a str, &'a Provider)>,
    pub(super) now: SystemTime,
}

impl Refused<'_> {
    /// For who is not known.
    pub(super) fn on(&self, rejection: &Rejection) -> Option<String> {
        match rejection {
            Rejection::Judged(finding, _) => self.on_finding(finding),
            Rejection::Malformed(_) => Some(format!("this looks like {}", self.look.kind())),
            Rejection::NotBearer => Some("write `Authorization: Bearer ` before it".to_owned()),
            Rejection::Unrecognised => Some(self.on_unrecognised()),
            Rejection::Ambiguous(_) | Rejection::Missing(_) | Rejection::MustWait(_) | Rejection::NewerKeys { .. } => {
                None
            }
        }
    }

    fn on_finding(&self, finding: &Finding) -> Option<String> {
        Some(match finding {
            Finding::Algorithm(_) => {
                let possible = self.algorithms();
                format!("sign it with {possible}, or look at `algorithms` of the provider")
            }
            Finding::Audience => {
                let wanted = match self.provider.and_then(|provider| provider.audience.as_ref()) {
                    Some(Audience::Of(names)) => format!("`{}`", names.join("`, `")),
                    Some(Audience::Any) | None => "any".to_owned(),
                };
                format!("its `aud` is {}; the provider wants {wanted}", self.claim("aud"))
            }
            Finding::Certificate(_) | Finding::Claim(_) => return None,
            Finding::Expired(at) => format!("it expired {}: sign a new one", distance(*at, self.now)),
            Finding::KeyCut | Finding::KeyExpired(_) | Finding::KeyRevoked(_) | Finding::KeyUnknown => {
                let keys = self.provider.and_then(|provider| provider.keys.as_ref());
                let file = keys.map_or_else(|| "FILE".to_owned(), |keys| keys.display().to_string());
                format!("`tollgate keys list -f {file}` shows the keys that there are")
            }
            Finding::KeysUnavailable => "--online fetches them, --jwks FILE reads them from a file".to_owned(),
            Finding::NoSuchKey => "the issuer may have replaced its keys since it was signed, or somebody else \
                                   signed it: sign a new one"
                .to_owned(),
            Finding::NotYet(at) => {
                format!("it begins {}: look at the clocks of both machines, or raise `leeway`", distance(*at, self.now))
            }
            Finding::Revoked => {
                let list = self.provider.and_then(|provider| provider.revoked.as_ref());
                format!("see {}", list.map_or_else(|| "`revoked`".to_owned(), |list| list.display().to_string()))
            }
            Finding::Signature(_) => self.on_signature().to_owned(),
            Finding::Type(_) => "take the access token or the identity token that the issuer gives out".to_owned(),
        })
    }

    fn on_signature(&self) -> &'static str {
        match self.provider.map(|provider| (provider.kind, provider.secret.is_some())) {
            Some((ProviderKind::TinybirdJwt, _)) => {
                "the key is the whole admin token of the workspace, with its `p.`: compare it with the provider's `secret`"
            }
            Some((ProviderKind::Jwt, true)) => "it was signed with another secret than the provider's `secret`",
            Some((ProviderKind::ApiKey | ProviderKind::Jwt | ProviderKind::Mtls, _)) | None => {
                "it was changed on its way, or signed with the key of another issuer"
            }
        }
    }

    fn algorithms(&self) -> String {
        let Some(provider) = self.provider else { return "an algorithm of its keys".to_owned() };
        let names = |algorithms: &[crate::config::scalar::Algorithm]| {
            algorithms.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ")
        };
        match (provider.kind, &provider.algorithms, &provider.key, &provider.secret) {
            (ProviderKind::TinybirdJwt, ..) => "HS256".to_owned(),
            (_, Some(allowed), ..) => names(allowed),
            (_, None, Some(key), _) => names(key.algorithms()),
            (_, None, None, Some(_)) => "HS256, HS384, HS512".to_owned(),
            (_, None, None, None) => "the algorithm of the issuer's keys".to_owned(),
        }
    }

    fn on_unrecognised(&self) -> String {
        let wanted: Vec<String> = self
            .known
            .iter()
            .map(|(name, provider)| match provider.kind {
                ProviderKind::ApiKey => format!("{name}: keys that begin with `{}_`", provider.key_prefix()),
                ProviderKind::Jwt => format!("{name}: `iss` {}", provider.issuer.as_deref().unwrap_or_default()),
                ProviderKind::Mtls => format!("{name}: client certificates, which are no text"),
                ProviderKind::TinybirdJwt => {
                    format!("{name}: `workspace_id` {}", provider.workspace_id.as_deref().unwrap_or_default())
                }
            })
            .collect();
        format!("this is {}; wanted is one of {}", self.look.kind(), wanted.join("; "))
    }

    /// For who is known, and may not do this.
    pub(super) fn on_refusal(&self, refusal: &Refusal, route: Option<&Route>) -> Option<String> {
        let template = self.provider.and_then(|provider| provider.tenant.as_ref());
        match refusal {
            Refusal::Forbidden => Some(self.on_forbidden(route)),
            Refusal::TenantMissing => Some(match template {
                Some(template) => {
                    format!("a value is missing: the provider's `tenant` is `{template}`, and `params.fixed` of the route may need more")
                }
                None => "its provider has no `tenant`, and the host or `params.fixed` of the route needs one".to_owned(),
            }),
            Refusal::TenantMismatch => Some(
                "compare its tenant with that of the host, with `tenants` of the provider, and its `fixed_params` with \
                 `params.fixed` of the route"
                    .to_owned(),
            ),
            Refusal::BadParameter { .. }
            | Refusal::BadRequest(_)
            | Refusal::BodyTooLarge { .. }
            | Refusal::ControlParameter { .. }
            | Refusal::CredentialExpired { .. }
            | Refusal::CredentialInvalid { .. }
            | Refusal::CredentialMissing { .. }
            | Refusal::HeadersTooLarge { .. }
            | Refusal::KeysUnavailable
            | Refusal::MethodNotAllowed { .. }
            | Refusal::Misdirected
            | Refusal::Overloaded { .. }
            | Refusal::QuotaExhausted { .. }
            | Refusal::RateLimited { .. }
            | Refusal::RequestTimeout
            | Refusal::RouteNotFound
            | Refusal::UnsupportedBody(_)
            | Refusal::UpstreamFailed
            | Refusal::UpstreamTimeout
            | Refusal::UpstreamUnavailable { .. }
            | Refusal::UriTooLong { .. } => None,
        }
    }

    fn on_forbidden(&self, route: Option<&Route>) -> String {
        if self.provider.is_some_and(|provider| provider.kind == ProviderKind::TinybirdJwt) {
            let pipe = route.and_then(|route| route.pipe.as_ref().or(route.require.pipe.as_ref()));
            let pipe = pipe.map(|pipe| format!("; the route serves `{pipe}`")).unwrap_or_default();
            return format!("it opens {}{pipe}", self.pipes());
        }
        let wanted = route.map(|route| route.require.scopes.join("`, `")).unwrap_or_default();
        match wanted.is_empty() {
            true => "its tenant is switched off (`tenants`)".to_owned(),
            false => {
                format!("the route requires the scopes `{wanted}`; `tenants` may have switched its tenant off, too")
            }
        }
    }

    fn pipes(&self) -> String {
        let scopes = self.look.claims().and_then(|claims| claims.get("scopes")).and_then(Value::as_array);
        let pipes = scopes.into_iter().flatten().filter_map(|scope| scope.get("resource").and_then(Value::as_str));
        let pipes: Vec<String> = pipes.map(|pipe| format!("`{}`", shown(pipe))).collect();
        if pipes.is_empty() { "no pipe".to_owned() } else { pipes.join(", ") }
    }

    fn claim(&self, name: &str) -> String {
        let value = self.look.claims().and_then(|claims: &Map<String, Value>| claims.get(name));
        value.map_or_else(|| "missing".to_owned(), |value| format!("`{}`", shown(value.to_string().trim_matches('"'))))
    }
}
