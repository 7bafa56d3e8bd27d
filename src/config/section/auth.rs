//! `auth`: who may call, by name; routes, hosts and `default_auth` use the names.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::scalar::{
    Algorithm, FieldName, KeyPrefix, Period, PublicKey, Secret, Template, TenantName, WebAddress,
};
use crate::config::section::keys::KeyRecord;
use crate::config::section::revoked::Revoked;

/// One kind of credential, and who it says is calling. Which keys it takes depends on `type`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// The kind of credential.
    #[serde(rename = "type")]
    pub kind: ProviderKind,
    /// The key that tokens are signed with. `tinybird_jwt`: the workspace's admin token; `jwt`: a secret of at least 32 bytes, for HS256, HS384 and HS512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Secret>,
    /// `tinybird_jwt`: the workspace that tokens must be for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace_id: Option<String>,
    /// `jwt`: who signs the tokens; compared with `iss` byte for byte. Without `jwks`, `key` and `secret` it is also where the keys are found (OIDC discovery).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// `jwt`: whom the tokens are for: a name or a list of names, one of which must stand in `aud`; `any` if it is not to be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<Audience>,
    /// `jwt`: signature algorithms that are accepted; left out: those that the keys are made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<Algorithm>>,
    /// `jwt`: how far clocks may differ, at most 60 s; left out: 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leeway: Option<Period>,
    /// `jwt`: where the issuer publishes its public keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<WebAddress>,
    /// `mtls`: a PEM file with the authorities that sign the certificates of callers. `jwt`: one with those that sign the certificate of who publishes the keys; left out: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "crate::config::scalar::absolute_path")]
    pub ca: Option<PathBuf>,
    /// `jwt`: the issuer's public key, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
    /// `api_key`: the file of keys that `tollgate keys create` writes.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "crate::config::scalar::absolute_path")]
    pub keys: Option<PathBuf>,
    /// `api_key`: the header that carries the key; left out: `Authorization`, as a Bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<FieldName>,
    /// `api_key`: what the keys of this provider begin with; left out: `tgk`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<KeyPrefix>,
    /// Whose rows the caller may see: `{claims.org_id}`, `{fixed_params.company_id}`, `{key.tenant}`, `{certificate.subject.o}`. A credential that gives no value is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Template>,
    /// The only tenants that this provider may speak for; left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenants: Option<Vec<TenantName>>,
    /// The plan that the caller's tenant bought, as the credential says: `{claims.plan}`, `{key.meta.plan}`. Left out: a credential says nothing about plans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Template>,
    /// What the caller may do, for `require.scopes`: a claim with words between blanks, or a list. Left out: `api_key` uses the key's own scopes, `jwt` the claim `scope`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Template>,
    /// The status of a refused credential. Left out: 403 for `tinybird_jwt`, as Tinybird answers, else 401.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_status: Option<u16>,
    /// `jwt`, `tinybird_jwt`, `mtls`: a file of tokens and certificates that are not accepted any more.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "crate::config::scalar::absolute_path")]
    pub revoked: Option<PathBuf>,
    /// The keys of that file, read when the configuration is loaded.
    #[serde(skip)]
    pub key_records: Vec<KeyRecord>,
    /// The tokens of that file, read when the configuration is loaded.
    #[serde(skip)]
    pub revocations: Vec<Revoked>,
    /// The certificates of `ca`, DER, read when the configuration is loaded.
    #[serde(skip)]
    pub ca_certificates: Vec<Vec<u8>>,
}

/// A kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// A key from a file of hashes.
    ApiKey,
    /// A token of any identity provider.
    Jwt,
    /// A certificate that the caller shows when it opens a connection with TLS.
    Mtls,
    /// A token with Tinybird's claims.
    TinybirdJwt,
}

impl ProviderKind {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            ProviderKind::ApiKey => "api_key",
            ProviderKind::Jwt => "jwt",
            ProviderKind::Mtls => "mtls",
            ProviderKind::TinybirdJwt => "tinybird_jwt",
        }
    }
}

impl Provider {
    /// The prefix of its keys.
    pub fn key_prefix(&self) -> &str {
        self.prefix.as_ref().map_or(KeyPrefix::DEFAULT, KeyPrefix::as_str)
    }

    /// Whether its credentials can say whose rows they open: keys do by themselves.
    pub fn speaks_of_tenants(&self) -> bool {
        self.tenant.is_some() || self.kind == ProviderKind::ApiKey
    }

    /// The status of a refused credential.
    pub fn status_of_refusals(&self) -> u16 {
        self.refused_status.unwrap_or(match self.kind {
            ProviderKind::TinybirdJwt => 403,
            ProviderKind::ApiKey | ProviderKind::Jwt | ProviderKind::Mtls => 401,
        })
    }
}

/// Whom tokens must be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Whomever: a token for another application of the same issuer is accepted, too.
    Any,
    /// One of these.
    Of(Vec<String>),
}

/// Who may call a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthRule {
    /// Whoever has a credential for one of these providers.
    Providers(Vec<String>),
    /// Anyone.
    Public,
}

impl AuthRule {
    /// The names of the providers.
    pub fn names(&self) -> &[String] {
        match self {
            AuthRule::Providers(names) => names,
            AuthRule::Public => &[],
        }
    }
}

/// The word for everybody.
const PUBLIC: &str = "public";

impl<'de> Deserialize<'de> for AuthRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = deserializer.deserialize_any(Words("`public`, a provider or a list of providers"))?;
        match names.as_slice() {
            [only] if only == PUBLIC => Ok(AuthRule::Public),
            _ if names.iter().any(|name| name == PUBLIC) => Err(serde::de::Error::custom(
                "`public` stands beside providers, and lets everybody in: leave out one or the other",
            )),
            _ => Ok(AuthRule::Providers(once_each(names))),
        }
    }
}

impl Serialize for AuthRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            AuthRule::Providers(names) => one_or_list(names, serializer),
            AuthRule::Public => serializer.serialize_str(PUBLIC),
        }
    }
}

/// The word for any audience.
const ANY: &str = "any";

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = deserializer.deserialize_any(Words("an audience, a list of audiences or `any`"))?;
        match names.as_slice() {
            [only] if only == ANY => Ok(Audience::Any),
            _ if names.iter().all(String::is_empty) => Err(serde::de::Error::custom(
                "an audience is empty: write the name that tokens have in `aud`, or `any`",
            )),
            _ => Ok(Audience::Of(once_each(names))),
        }
    }
}

impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Audience::Any => serializer.serialize_str(ANY),
            Audience::Of(names) => one_or_list(names, serializer),
        }
    }
}

/// As it is usually written, so that what is shown is found again in the file.
fn one_or_list<S: Serializer>(names: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match names {
        [only] => serializer.serialize_str(only),
        names => names.serialize(serializer),
    }
}

fn once_each(names: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

/// One of a list of words.
struct Word(String);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.is_empty() {
            true => Err(serde::de::Error::custom("a name is empty: write it, or leave it out")),
            false => Ok(Word(text)),
        }
    }
}

/// One word or a list of words.
struct Words(&'static str);

impl<'de> Visitor<'de> for Words {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some(Word(name)) = items.next_element()? {
            names.push(name);
        }
        Ok(names)
    }
}
