//! JSON Web Tokens of any identity provider (RFC 7519, RFC 8725).
//!
//! In: a token, the issuer's keys and what it must say. Out: until when it is
//! good. The key and the provider decide which algorithm is right; the header
//! is only asked which one it claims. Not here: tenant and scopes (`provider`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::config::scalar::Algorithm;
use crate::config::section::auth::{Audience, Provider as Section};
use crate::config::section::revoked::{Revoked, RevokedCredentials};
use crate::exchange::caller;
use crate::jose::compact::Compact;
use crate::jose::key::Key;
use crate::state::jwks::Keys;

use super::Desk;
use super::numeric_date;
use super::rejection::Finding;

/// Keys that are tried where the token names none: each costs time, and whoever has no key can have them all tried.
const MAX_TRIED: usize = 3;
const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);

/// The issuer whose tokens are judged.
#[derive(Debug)]
pub(super) struct Jwt {
    pub(super) issuer: Box<str>,
    audience: Audience,
    allowed: Option<Box<[Algorithm]>>,
    leeway: Duration,
    keys: Source,
}

#[derive(Debug)]
enum Source {
    /// Fetched in the background.
    Fetched(Arc<Keys>),
    /// Written in the configuration.
    Written(Key),
}

/// What comes of looking for a good signature.
pub(super) enum Signed {
    /// There is one.
    Well,
    /// The key is not known, and may be among newer ones.
    ByNewerKey(Arc<Keys>, String),
    /// Looking costs time, and this caller has cost enough of it: how long that holds.
    NotLookedAt(Duration),
}

impl Jwt {
    /// None where the section says nothing about keys that can be used, which was an issue of the file.
    pub(super) fn compile(section: &Section, fetched: Option<Arc<Keys>>) -> Option<Self> {
        let allowed: Option<Box<[Algorithm]>> = section.algorithms.as_deref().map(Into::into);
        let written = match (&section.secret, &section.key) {
            (Some(secret), _) => {
                let all = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];
                Some(Key::hmac(secret.expose().as_bytes(), allowed.as_deref().unwrap_or(&all)))
            }
            (None, Some(key)) => Some(Key::public(key)),
            (None, None) => None,
        };
        Some(Jwt {
            issuer: section.issuer.as_deref()?.into(),
            audience: section.audience.clone()?,
            allowed,
            leeway: section.leeway.map_or(DEFAULT_LEEWAY, |leeway| leeway.duration()),
            keys: written.map(Source::Written).or(fetched.map(Source::Fetched))?,
        })
    }

    pub(super) fn fetched(&self) -> Option<&Arc<Keys>> {
        match &self.keys {
            Source::Fetched(keys) => Some(keys),
            Source::Written(_) => None,
        }
    }

    /// Grows with every change of the keys; none while these are too old to be believed.
    pub(super) fn version(&self) -> Option<u64> {
        match &self.keys {
            Source::Fetched(keys) => keys.is_usable().then(|| keys.version()),
            Source::Written(_) => Some(0),
        }
    }

    /// Looks at signature and type.
    pub(super) fn check_signature(&self, token: &Compact<'_>, desk: &Desk<'_>) -> Result<Signed, Finding> {
        let header = token.header();
        check_type(header.typ.as_deref())?;
        let named = header.alg.as_deref();
        let algorithm = named
            .and_then(|named| named.parse::<Algorithm>().ok())
            .filter(|algorithm| self.allowed.as_ref().is_none_or(|allowed| allowed.contains(algorithm)))
            .ok_or_else(|| Finding::Algorithm(named.map(str::to_owned)))?;
        let keys = match &self.keys {
            Source::Written(key) => return check_with(key, algorithm, token, desk),
            Source::Fetched(keys) => keys,
        };
        if algorithm.is_symmetric() {
            // A published key is nobody's secret.
            return Err(Finding::Algorithm(named.map(str::to_owned)));
        }
        let kid = header.kid.as_deref();
        let set = keys.current();
        if let Some(kid) = kid.filter(|kid| !set.knows(kid)) {
            return match keys.may_be_newer(kid) {
                true => Ok(Signed::ByNewerKey(Arc::clone(keys), kid.to_owned())),
                false if keys.is_usable() => Err(Finding::NoSuchKey),
                false => Err(Finding::KeysUnavailable),
            };
        }
        if !keys.is_usable() {
            return Err(Finding::KeysUnavailable);
        }
        let mut tried = set.find(kid, algorithm).take(MAX_TRIED).peekable();
        if tried.peek().is_none() {
            return Err(Finding::Algorithm(named.map(str::to_owned)));
        }
        if let Some(wait) = desk.must_wait() {
            return Ok(Signed::NotLookedAt(wait));
        }
        match tried.any(|key| key.verify(algorithm, token)) {
            true => Ok(Signed::Well),
            false => Err(Finding::Signature(algorithm)),
        }
    }

    /// Looks at what a well-signed token says.
    pub(super) fn check_claims(
        &self,
        claims: &Map<String, Value>,
        revoked: &[Revoked],
        now: SystemTime,
    ) -> Result<SystemTime, Finding> {
        let until = numeric_date::check(claims, now, self.leeway)?;
        if claims.get("iss").and_then(Value::as_str) != Some(&*self.issuer) {
            return Err(Finding::Claim("its `iss` is not the provider's `issuer`"));
        }
        self.check_audience(claims.get("aud"))?;
        // RFC 7519: both are texts. What is not even a number could not be revoked by its name.
        let names_nobody = |value: &Value| matches!(value, Value::Bool(_) | Value::Array(_) | Value::Object(_));
        if ["sub", "jti"].iter().filter_map(|claim| claims.get(*claim)).any(names_nobody) {
            return Err(Finding::Claim("its `sub` or `jti` is neither text nor a number"));
        }
        match revoked.iter().any(|entry| is_revoked(entry, &self.issuer, claims)) {
            true => Err(Finding::Revoked),
            false => Ok(until),
        }
    }

    /// RFC 7519 section 4.1.3: one name or a list of names.
    fn check_audience(&self, aud: Option<&Value>) -> Result<(), Finding> {
        let Audience::Of(wanted) = &self.audience else { return Ok(()) };
        let is_wanted = |value: &Value| value.as_str().is_some_and(|name| wanted.iter().any(|wanted| wanted == name));
        let found = match aud {
            Some(Value::Array(names)) => names.iter().all(Value::is_string) && names.iter().any(is_wanted),
            Some(name) => is_wanted(name),
            None => false,
        };
        if found { Ok(()) } else { Err(Finding::Audience) }
    }
}

fn check_with(key: &Key, algorithm: Algorithm, token: &Compact<'_>, desk: &Desk<'_>) -> Result<Signed, Finding> {
    if !key.algorithms().contains(&algorithm) {
        return Err(Finding::Algorithm(token.header().alg.clone()));
    }
    // An HMAC costs less than asking.
    if let Some(wait) = (!algorithm.is_symmetric()).then(|| desk.must_wait()).flatten() {
        return Ok(Signed::NotLookedAt(wait));
    }
    match key.verify(algorithm, token) {
        true => Ok(Signed::Well),
        false => Err(Finding::Signature(algorithm)),
    }
}

/// Tokens for other purposes are signed with the same keys (RFC 8725 section 3.11).
fn check_type(typ: Option<&str>) -> Result<(), Finding> {
    let Some(typ) = typ else { return Ok(()) };
    let short = typ.get(..12).filter(|start| start.eq_ignore_ascii_case("application/")).and_then(|_| typ.get(12..));
    match short.unwrap_or(typ).to_ascii_lowercase().as_str() {
        "jwt" | "at+jwt" => Ok(()),
        _ => Err(Finding::Type(typ.to_owned())),
    }
}

/// Whether a claim is what the list has. The list is text, and some issuers count their bearers: a number is compared by
/// its digits, and one that has lost some of them by what is left, because it may be the one that is meant.
fn is_named(value: &Value, wanted: &str) -> bool {
    match caller::name(value) {
        Some(name) => name == wanted,
        None => value.as_f64().is_some_and(|value| wanted.parse() == Ok(value)),
    }
}

/// Whether an entry of the list means this token.
pub(super) fn is_revoked(entry: &Revoked, issuer: &str, claims: &Map<String, Value>) -> bool {
    let says = |name: &str, wanted: &str| claims.get(name).is_some_and(|value| is_named(value, wanted));
    if entry.issuer.as_deref().is_some_and(|wanted| wanted != issuer) {
        return false;
    }
    let (sub, before) = match &entry.what {
        RevokedCredentials::Fingerprint { .. } | RevokedCredentials::Serial { .. } => return false,
        RevokedCredentials::One { jti } => return says("jti", jti),
        RevokedCredentials::OfSubject { sub, before } => (sub, before),
    };
    // A Tinybird JWT names its bearer by `name`.
    if !says("sub", sub) && (claims.contains_key("sub") || !says("name", sub)) {
        return false;
    }
    let Some(before) = before else { return true };
    // Who does not say when it was made may have made it before.
    let made = numeric_date::read(claims, "iat", Finding::Revoked).ok().flatten();
    made.is_none_or(|made| made < before.time())
}
