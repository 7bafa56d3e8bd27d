//! Who is asking, once that is proven.
//!
//! In: what a provider verified. Out: a [`Caller`] that steps can trust. Not
//! here: proving it (`pipeline::authn`), what the caller may do ([`super::grant`]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use crate::config::scalar::{Secret, TenantName};

/// Who is asking.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Nobody asked for a name.
    Anonymous,
    /// Somebody with a credential that was verified.
    Known(Arc<Identity>),
}

/// What kind of credential was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerKind {
    /// A key from a file of hashes.
    ApiKey,
    /// A certificate, shown in the handshake of the connection.
    Certificate,
    /// A token of an identity provider.
    Jwt,
    /// A token with Tinybird's claims.
    TinybirdJwt,
}

/// A verified credential, and everything that follows from it alone.
#[derive(Debug)]
pub struct Identity {
    /// What kind of credential.
    pub kind: CallerKind,
    /// The provider that verified it, by its name in the configuration.
    pub provider: Arc<str>,
    /// Who it is, as the credential says: the key's id, `sub` of a token, `name` of a Tinybird JWT, a name in a certificate. Cut; for logs; two may share one.
    pub id: Arc<str>,
    /// As `id`, whole or told apart by a hash: nobody else of this provider and tenant has it. For counting.
    pub bearer: Arc<str>,
    /// The plan that the credential names, where its provider is asked.
    pub plan: Option<Box<str>>,
    /// Whose rows: known from the credential alone, or only with the pipe that is asked for.
    pub tenant: TenantOf,
    /// What it may do; none where the provider does not speak of scopes.
    pub scopes: Option<Box<[Box<str>]>>,
    /// What templates are filled with.
    pub facts: Facts,
    /// The pipes that a Tinybird JWT opens.
    pub pipes: Box<[PipeScope]>,
    /// Requests per second that a Tinybird JWT allows its bearer.
    pub rps: Option<f64>,
    /// The workspace of a Tinybird JWT.
    pub workspace: Option<Box<str>>,
    /// Until when it is good, leeway included.
    pub until: Option<SystemTime>,
    /// The token itself where it may be passed on.
    pub token: Option<Secret>,
}

/// Whose rows a credential opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TenantOf {
    /// Nobody's: the provider says nothing about tenants.
    Nobody,
    /// This tenant's.
    One(TenantName),
    /// The provider should say, and the credential does not.
    Missing,
    /// A tenant that the provider may not speak for.
    Foreign,
}

/// One pipe of a Tinybird JWT (`scopes[]` with `PIPES:READ`).
#[derive(Debug)]
pub struct PipeScope {
    /// The pipe's name or id.
    pub resource: Box<str>,
    /// Parameters that the token fixes, sorted by name; none where one of them has no value that a parameter can have.
    pub fixed: Option<FixedParams>,
    /// Whose rows, where the tenant stands among them.
    pub tenant: TenantOf,
}

/// Names and values, sorted by name.
pub type FixedParams = Box<[(Box<str>, Box<str>)]>;

/// What a credential says of its bearer.
#[derive(Debug)]
pub enum Facts {
    /// What a certificate says: `subject`, `san` and `serial`.
    Certificate(Map<String, Value>),
    /// The payload of a token.
    Claims(Map<String, Value>),
    /// The record of a key.
    Key {
        /// Whose key it is.
        tenant: Option<TenantName>,
        /// What operators wrote beside it.
        meta: BTreeMap<String, String>,
    },
}

impl Facts {
    /// The claim called `name`; dots lead into objects, or stand in the name of a claim, as in those that are URLs. None where
    /// both are there: who may write the one must not change the other.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        look_up(self.claims()?, name)
    }

    /// What a certificate says, as [`Facts::claim`].
    pub fn of_certificate(&self, name: &str) -> Option<&Value> {
        match self {
            Facts::Certificate(says) => look_up(says, name),
            Facts::Claims(_) | Facts::Key { .. } => None,
        }
    }

    /// The payload of a token; none for what is no token.
    pub fn claims(&self) -> Option<&Map<String, Value>> {
        match self {
            Facts::Claims(claims) => Some(claims),
            Facts::Certificate(_) | Facts::Key { .. } => None,
        }
    }
}

/// As [`Facts::claim`], of claims alone.
pub fn look_up<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let mut found = None;
    read(claims, name, &mut found).ok()?;
    found
}

/// A name that leads to two claims.
struct TwoReadings;

/// Every way to read the name, as long as there is one at most.
fn read<'a>(claims: &'a Map<String, Value>, name: &str, found: &mut Option<&'a Value>) -> Result<(), TwoReadings> {
    if let Some(value) = claims.get(name)
        && found.replace(value).is_some()
    {
        return Err(TwoReadings);
    }
    for (at, _) in name.match_indices('.') {
        let (Some(outer), Some(inner)) = (name.get(..at), name.get(at + 1..)) else { continue };
        if let Some(object) = claims.get(outer).and_then(Value::as_object) {
            read(object, inner, found)?;
        }
    }
    Ok(())
}

/// Whole numbers up to here are exact in floating point.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A value that can stand for one parameter: a string, a number or a boolean, with something in it. A number that has lost
/// digits is none: two companies could be one by it.
pub fn scalar(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() && number.as_f64().is_none_or(|number| number.abs() >= EXACT) => {
            return None;
        }
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}

/// Characters of an [`Identity::id`]: it is for logs, and whoever makes tokens chooses it.
const LONGEST_ID: usize = 128;

/// What an identity is called, cut.
pub fn id(text: &str) -> Arc<str> {
    let end = text.char_indices().nth(LONGEST_ID).map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default().into()
}

/// As [`id`], where no two may share one.
pub fn bearer(text: &str) -> Arc<str> {
    let id = id(text);
    match id.len() == text.len() {
        true => id,
        false => {
            let hash = digest(&SHA256, text.as_bytes());
            let hex: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
            // No name of a bearer that is not cut is as long.
            format!("{id}~{hex}").into()
        }
    }
}

/// A value that names somebody or something: a string, or a whole number in digits. Lists, even of one, name nobody.
pub fn name(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(Cow::Owned(number.to_string())),
        Value::Number(_) | Value::Bool(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A [`name`] that can be a tenant's.
pub fn tenant(value: &Value) -> Option<String> {
    name(value).and_then(|_| scalar(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_is_called_is_cut_between_characters() {
        let long = "é".repeat(LONGEST_ID + 1);
        assert_eq!(*id(&long), *"é".repeat(LONGEST_ID));
        for short in ["", "ada", &"é".repeat(LONGEST_ID)] {
            assert_eq!(&*id(short), short);
        }
    }
}
