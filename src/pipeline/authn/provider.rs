//! One provider: how it judges a credential, and what it makes of a good one.
//!
//! In: a section of `auth`, the keys it names. Out: an [`Identity`] with tenant
//! and scopes, which follow from the credential alone. Not here: choosing the
//! provider (`super`), what the identity may do (`authz`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderName, StatusCode, header};
use serde_json::{Map, Value};

use crate::config::scalar::{Part, Secret, Template, TenantName};
use crate::config::section::auth::{Provider as Section, ProviderKind};
use crate::config::section::keys::KeyRecord;
use crate::config::section::revoked::Revoked;
use crate::exchange::caller::{
    self, CallerKind, Facts, FixedParams, Identity, PipeScope, TenantOf, look_up, tenant as tenant_value,
};
use crate::jose::compact::Compact;
use crate::state::jwks::Keys;
use crate::state::verified::{CacheKey, Entry};
use crate::x509::{Authorities, Chain};

use super::Desk;
use super::api_key::ApiKeys;
use super::certificate;
use super::jwt::{Jwt, Signed, is_revoked};
use super::rejection::{Finding, Rejection, UnbelievedCertificate, WrongCertificate};
use super::tinybird_jwt::{Pipe, TinybirdJwt};

/// A compiled provider.
#[derive(Debug)]
pub struct Provider {
    naming: Naming,
    judge: Judge,
    header: HeaderName,
    status: StatusCode,
    revoked: Box<[Revoked]>,
    epoch: u64,
    section: Section,
}

/// What a provider gets beside its section.
#[derive(Debug)]
pub struct Material {
    /// The fetched keys, where the section names a place to fetch them from.
    pub keys: Option<Arc<Keys>>,
    /// A number that no provider had before: what was verified under another is not found under this one.
    pub epoch: u64,
}

#[derive(Debug)]
enum Judge {
    ApiKey(ApiKeys),
    Jwt(Jwt),
    Mtls(Authorities),
    /// Its section was an issue of the file: it accepts nothing.
    Nothing,
    TinybirdJwt(TinybirdJwt),
}

/// What a good credential says, in the operator's terms.
#[derive(Clone, Debug)]
struct Naming {
    provider: Arc<str>,
    tenant: Option<Template>,
    tenants: Option<BTreeSet<TenantName>>,
    scopes: Option<Template>,
    plan: Option<Template>,
}

impl Provider {
    /// The provider called `name`.
    pub fn compile(name: &str, section: &Section, material: Material) -> Self {
        let naming = Naming {
            provider: name.into(),
            tenant: section.tenant.clone(),
            tenants: section.tenants.as_ref().map(|tenants| tenants.iter().cloned().collect()),
            scopes: section.scopes.clone(),
            plan: section.plan.clone(),
        };
        let judge = match section.kind {
            ProviderKind::ApiKey => {
                Some(Judge::ApiKey(ApiKeys::compile(section.key_prefix(), &section.key_records, |record| {
                    naming.of_key(record)
                })))
            }
            ProviderKind::Jwt => Jwt::compile(section, material.keys).map(Judge::Jwt),
            ProviderKind::Mtls => Some(Judge::Mtls(Authorities::compile(&section.ca_certificates))),
            ProviderKind::TinybirdJwt => section
                .workspace_id
                .as_deref()
                .zip(section.secret.as_ref())
                .map(|(workspace, secret)| Judge::TinybirdJwt(TinybirdJwt::compile(workspace, secret))),
        };
        Provider {
            judge: judge.unwrap_or(Judge::Nothing),
            naming,
            header: section.header.as_ref().map_or(header::AUTHORIZATION, |header| header.name()),
            status: StatusCode::from_u16(section.status_of_refusals()).unwrap_or(StatusCode::UNAUTHORIZED),
            revoked: section.revocations.as_slice().into(),
            epoch: material.epoch,
            section: section.clone(),
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.naming.provider
    }

    /// What it was compiled from.
    pub fn section(&self) -> &Section {
        &self.section
    }

    /// The header that carries its credentials.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// Its public keys, where they are fetched.
    pub fn keys(&self) -> Option<&Arc<Keys>> {
        match &self.judge {
            Judge::Jwt(jwt) => jwt.fetched(),
            Judge::ApiKey(_) | Judge::Mtls(_) | Judge::Nothing | Judge::TinybirdJwt(_) => None,
        }
    }

    /// Looks at what a token says and not at its signature, for who has no keys: nothing is proven by it.
    ///
    /// # Errors
    /// Why it would be refused even if it were signed well.
    pub fn check_unproven(&self, token: &Compact<'_>, now: SystemTime) -> Result<(), Rejection> {
        match &self.judge {
            Judge::Jwt(jwt) => match jwt.check_claims(token.claims(), &self.revoked, now) {
                Ok(_) => Ok(()),
                Err(finding) => Err(self.refused(finding)),
            },
            Judge::ApiKey(_) | Judge::Mtls(_) | Judge::Nothing | Judge::TinybirdJwt(_) => Ok(()),
        }
    }

    pub(super) fn has_prefix_of(&self, text: &str) -> bool {
        matches!(&self.judge, Judge::ApiKey(keys) if keys.has_prefix_of(text))
    }

    pub(super) fn is_for_tokens(&self) -> bool {
        matches!(self.judge, Judge::Jwt(_) | Judge::TinybirdJwt(_))
    }

    pub(super) fn is_issuer_of(&self, claims: &Map<String, Value>) -> bool {
        matches!(&self.judge, Judge::Jwt(jwt) if says(claims, "iss", &jwt.issuer))
    }

    pub(super) fn is_workspace_of(&self, claims: &Map<String, Value>) -> bool {
        matches!(&self.judge, Judge::TinybirdJwt(jwt) if says(claims, "workspace_id", &jwt.workspace))
    }

    /// Under what a verified token is kept; none where nothing is, or where the keys are too old to be believed.
    pub(super) fn cached_under(&self, entry: &Entry) -> Option<CacheKey> {
        let version = match &self.judge {
            Judge::ApiKey(_) | Judge::Nothing => return None,
            Judge::Jwt(jwt) => jwt.version()?,
            Judge::Mtls(_) | Judge::TinybirdJwt(_) => 0,
        };
        Some(entry.under(self.epoch, version))
    }

    pub(super) fn judge_key(&self, text: &str, now: SystemTime) -> Result<Arc<Identity>, Rejection> {
        match &self.judge {
            Judge::ApiKey(keys) => keys.verify(text, now).cloned().map_err(|finding| self.refused(finding)),
            Judge::Jwt(_) | Judge::Mtls(_) | Judge::Nothing | Judge::TinybirdJwt(_) => Err(Rejection::Unrecognised),
        }
    }

    pub(super) fn judge_token(&self, text: &str, token: Compact<'_>, desk: &Desk<'_>) -> Result<Identity, Rejection> {
        match &self.judge {
            Judge::ApiKey(_) | Judge::Mtls(_) | Judge::Nothing => Err(Rejection::Unrecognised),
            Judge::Jwt(jwt) => {
                match jwt.check_signature(&token, desk).map_err(|finding| self.refused(finding))? {
                    Signed::ByNewerKey(keys, kid) => {
                        return Err(Rejection::NewerKeys { keys, kid, status: self.status });
                    }
                    Signed::NotLookedAt(wait) => return Err(Rejection::MustWait(wait)),
                    Signed::Well => {}
                }
                let until = jwt.check_claims(token.claims(), &self.revoked, desk.now);
                let until = until.map_err(|finding| self.refused(finding))?;
                Ok(self.naming.of_token(token.into_claims(), until))
            }
            Judge::TinybirdJwt(jwt) => {
                let verified = jwt.verify(&token, desk.now).map_err(|finding| self.refused(finding))?;
                if self.revoked.iter().any(|entry| is_revoked(entry, &jwt.workspace, token.claims())) {
                    return Err(self.refused(Finding::Revoked));
                }
                let claims = token.into_claims();
                Ok(Identity {
                    kind: CallerKind::TinybirdJwt,
                    id: caller::id(&verified.name),
                    bearer: caller::bearer(&verified.name),
                    plan: self.naming.plan_of(|part| claim_part(part, &claims, None)),
                    tenant: TenantOf::Nobody,
                    pipes: verified.pipes.into_iter().map(|pipe| self.naming.of_pipe(pipe, &claims)).collect(),
                    rps: verified.rps,
                    workspace: Some(jwt.workspace.clone()),
                    until: Some(verified.until),
                    token: text.parse::<Secret>().ok(),
                    scopes: self.naming.scopes.is_some().then(|| self.naming.words(&claims, &[])),
                    facts: Facts::Claims(claims),
                    provider: Arc::clone(&self.naming.provider),
                })
            }
        }
    }

    /// Who signs the certificates that it judges, if it judges any.
    pub(super) fn authorities(&self) -> Option<&Authorities> {
        match &self.judge {
            Judge::Mtls(authorities) => Some(authorities),
            Judge::ApiKey(_) | Judge::Jwt(_) | Judge::Nothing | Judge::TinybirdJwt(_) => None,
        }
    }

    /// What comes of a certificate that is believed until a time.
    pub(super) fn take_certificate(&self, chain: &Chain, until: SystemTime) -> Result<Identity, Rejection> {
        let says = chain.facts();
        match self.revoked.iter().any(|entry| certificate::is_revoked(entry, chain, &says)) {
            true => Err(self.unbelieved(chain, WrongCertificate::Revoked)),
            false => Ok(self.naming.of_certificate(says, until)),
        }
    }

    /// A refusal of a certificate.
    pub(super) fn unbelieved(&self, chain: &Chain, why: WrongCertificate) -> Rejection {
        let authorities = self.authorities().map(Authorities::names).unwrap_or_default();
        let wrong = UnbelievedCertificate { subject: chain.subject().into(), authorities, why };
        self.refused(Finding::Certificate(Box::new(wrong)))
    }

    pub(super) fn refused(&self, finding: Finding) -> Rejection {
        Rejection::Judged(finding, self.status)
    }
}

impl Naming {
    fn of_key(&self, record: &KeyRecord) -> Identity {
        let facts = Facts::Key { tenant: record.tenant.clone(), meta: meta(record) };
        let tenant = match (&self.tenant, &record.tenant) {
            (Some(template), _) => self.tenant_of(Some(template), |part| key_part(part, record)),
            // A key that belongs to somebody does so whether the provider repeats it or not.
            (None, Some(own)) => self.confined(own.as_str()),
            // Nobody's key is not one of those that the provider may speak for.
            (None, None) if self.tenants.is_some() => TenantOf::Missing,
            (None, None) => TenantOf::Nobody,
        };
        Identity {
            kind: CallerKind::ApiKey,
            provider: Arc::clone(&self.provider),
            id: caller::id(record.id.as_str()),
            bearer: caller::bearer(record.id.as_str()),
            plan: self.plan_of(|part| key_part(part, record)),
            tenant,
            scopes: Some(record.scopes.iter().map(|scope| scope.as_str().into()).collect()),
            facts,
            pipes: Box::default(),
            rps: None,
            workspace: None,
            until: record.expires.as_ref().map(|expires| expires.time()),
            token: None,
        }
    }

    fn of_token(&self, claims: Map<String, Value>, until: SystemTime) -> Identity {
        let subject = claims.get("sub").and_then(caller::name).unwrap_or_default();
        let (id, bearer) = (caller::id(&subject), caller::bearer(&subject));
        let tenant = self.tenant_of(self.tenant.as_ref(), |part| claim_part(part, &claims, None));
        let scopes = Some(self.words(&claims, &["scope", "scp"]));
        Identity {
            kind: CallerKind::Jwt,
            provider: Arc::clone(&self.provider),
            id,
            bearer,
            plan: self.plan_of(|part| claim_part(part, &claims, None)),
            tenant,
            scopes,
            facts: Facts::Claims(claims),
            pipes: Box::default(),
            rps: None,
            workspace: None,
            until: Some(until),
            token: None,
        }
    }

    fn of_certificate(&self, says: Map<String, Value>, until: SystemTime) -> Identity {
        let name = certificate::name(&says);
        let tenant = self.tenant_of(self.tenant.as_ref(), |part| certificate_part(part, &says));
        let scopes = match self.scopes.as_ref().map(Template::parts) {
            None => Box::default(),
            Some([Part::Certificate(name)]) => look_up(&says, name).map(words).unwrap_or_default(),
            Some(parts) => {
                let text: Option<String> = parts.iter().map(|part| certificate_part(part, &says)).collect();
                text.map(|text| words(&Value::String(text))).unwrap_or_default()
            }
        };
        Identity {
            kind: CallerKind::Certificate,
            provider: Arc::clone(&self.provider),
            id: caller::id(&name),
            bearer: caller::bearer(&name),
            plan: self.plan_of(|part| certificate_part(part, &says)),
            tenant,
            scopes: Some(scopes),
            facts: Facts::Certificate(says),
            pipes: Box::default(),
            rps: None,
            workspace: None,
            until: Some(until),
            token: None,
        }
    }

    fn of_pipe(&self, pipe: Pipe, claims: &Map<String, Value>) -> PipeScope {
        let tenant = self.tenant_of(self.tenant.as_ref(), |part| claim_part(part, claims, Some(&pipe.names)));
        PipeScope { resource: pipe.resource, fixed: pipe.fixed, tenant }
    }

    fn tenant_of(&self, template: Option<&Template>, fill: impl Fn(&Part) -> Option<String>) -> TenantOf {
        let Some(template) = template else { return TenantOf::Nobody };
        match template.parts().iter().map(fill).collect::<Option<String>>() {
            Some(text) => self.confined(&text),
            None => TenantOf::Missing,
        }
    }

    fn plan_of(&self, fill: impl Fn(&Part) -> Option<String>) -> Option<Box<str>> {
        let parts = self.plan.as_ref()?.parts().iter().map(fill);
        parts.collect::<Option<String>>().map(Into::into)
    }

    fn confined(&self, text: &str) -> TenantOf {
        match text.parse::<TenantName>() {
            Err(_) => TenantOf::Missing,
            Ok(name) if self.tenants.as_ref().is_some_and(|tenants| !tenants.contains(&name)) => TenantOf::Foreign,
            Ok(name) => TenantOf::One(name),
        }
    }

    /// The words of the template's claim, or of the first of `usual` that is there.
    fn words(&self, claims: &Map<String, Value>, usual: &[&str]) -> Box<[Box<str>]> {
        match self.scopes.as_ref().map(Template::parts) {
            None => usual.iter().find_map(|name| claims.get(*name)).map(words).unwrap_or_default(),
            Some([Part::Claim(name)]) => look_up(claims, name).map(words).unwrap_or_default(),
            Some(parts) => {
                let text: Option<String> = parts.iter().map(|part| claim_part(part, claims, None)).collect();
                text.map(|text| words(&Value::String(text))).unwrap_or_default()
            }
        }
    }
}

fn meta(record: &KeyRecord) -> BTreeMap<String, String> {
    record.meta.iter().map(|(name, text)| (name.clone(), text.to_string())).collect()
}

/// Words between blanks (RFC 8693 section 4.2), or a list of them.
fn words(value: &Value) -> Box<[Box<str>]> {
    match value {
        Value::String(text) => text.split_whitespace().map(Box::from).collect(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(Box::from).collect(),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::Object(_) => Box::default(),
    }
}

fn claim_part(part: &Part, claims: &Map<String, Value>, fixed: Option<&FixedParams>) -> Option<String> {
    match part {
        Part::Literal(text) => Some(text.clone()),
        Part::Claim(name) => tenant_value(look_up(claims, name)?),
        Part::FixedParam(name) => {
            fixed?.iter().find(|(known, _)| **known == **name).map(|(_, value)| value.to_string())
        }
        Part::Certificate(_) | Part::Host(_) | Part::KeyMeta(_) | Part::KeyTenant | Part::Path(_) | Part::Tenant => {
            None
        }
    }
}

fn certificate_part(part: &Part, says: &Map<String, Value>) -> Option<String> {
    match part {
        Part::Literal(text) => Some(text.clone()),
        Part::Certificate(name) => tenant_value(look_up(says, name)?),
        Part::Claim(_)
        | Part::FixedParam(_)
        | Part::Host(_)
        | Part::KeyMeta(_)
        | Part::KeyTenant
        | Part::Path(_)
        | Part::Tenant => None,
    }
}

fn key_part(part: &Part, record: &KeyRecord) -> Option<String> {
    match part {
        Part::Literal(text) => Some(text.clone()),
        Part::KeyTenant => record.tenant.as_ref().map(ToString::to_string),
        Part::KeyMeta(name) => record.meta.get(name).map(ToString::to_string),
        Part::Certificate(_) | Part::Claim(_) | Part::FixedParam(_) | Part::Host(_) | Part::Path(_) | Part::Tenant => {
            None
        }
    }
}

fn says(claims: &Map<String, Value>, name: &str, wanted: &str) -> bool {
    claims.get(name).and_then(Value::as_str) == Some(wanted)
}
