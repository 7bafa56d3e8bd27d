//! Tinybird's JSON Web Tokens (Tinybird's documentation, "JSON Web Tokens").
//!
//! In: a token, the workspace and its admin token. Out: facts, and the pipes
//! that the token opens. HS256 always: Tinybird does not read `alg`, which may
//! be missing; one that says otherwise is refused here. Not here: whether a
//! pipe is the route's (`authz`).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use crate::config::scalar::{Algorithm, Secret};
use crate::exchange::caller::{FixedParams, scalar, tenant};
use crate::jose::compact::Compact;
use crate::jose::key::Key;

use super::numeric_date;
use super::rejection::Finding;

/// Scopes that are read; a token with more is none that anybody needs.
const MAX_SCOPES: usize = 1_000;
/// The one kind of scope that opens a pipe.
const READ: &str = "PIPES:READ";

/// The workspace whose tokens are judged.
#[derive(Debug)]
pub(super) struct TinybirdJwt {
    pub(super) workspace: Box<str>,
    key: Key,
}

/// What a good token says.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) name: Box<str>,
    pub(super) until: SystemTime,
    /// In the token's order.
    pub(super) pipes: Vec<Pipe>,
    pub(super) rps: Option<f64>,
}

/// A pipe that a token opens, and what it fixes there.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Its name or id.
    pub(super) resource: Box<str>,
    /// None where one of them has no value that a parameter can have.
    pub(super) fixed: Option<FixedParams>,
    /// Those of them that can name a tenant.
    pub(super) names: FixedParams,
}

impl TinybirdJwt {
    pub(super) fn compile(workspace: &str, secret: &Secret) -> Self {
        // The whole text of the workspace's admin token is the key.
        let key = Key::hmac(secret.expose().as_bytes(), &[Algorithm::Hs256]);
        TinybirdJwt { workspace: workspace.into(), key }
    }

    pub(super) fn verify(&self, token: &Compact<'_>, now: SystemTime) -> Result<Verified, Finding> {
        let named = token.header().alg.as_deref();
        if named.is_some_and(|named| named != "HS256") {
            return Err(Finding::Algorithm(named.map(str::to_owned)));
        }
        if !self.key.verify_unnamed(Algorithm::Hs256, token) {
            return Err(Finding::Signature(Algorithm::Hs256));
        }
        let claims = token.claims();
        let until = numeric_date::check(claims, now, Duration::ZERO)?;
        if claims.get("workspace_id").and_then(Value::as_str) != Some(&*self.workspace) {
            return Err(Finding::Claim("its `workspace_id` is another one"));
        }
        let name = claims.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let name = name.ok_or(Finding::Claim("it has no `name`"))?.into();
        Ok(Verified { name, until, pipes: pipes(claims)?, rps: rps(claims)? })
    }
}

fn pipes(claims: &Map<String, Value>) -> Result<Vec<Pipe>, Finding> {
    const WRONG: Finding = Finding::Claim("its `scopes` are not a list of { type, resource }");
    let scopes = claims.get("scopes").and_then(Value::as_array).ok_or(Finding::Claim("it has no `scopes`"))?;
    if scopes.len() > MAX_SCOPES {
        return Err(Finding::Claim("it has more than 1000 scopes"));
    }
    let mut pipes = Vec::with_capacity(scopes.len());
    for scope in scopes {
        let scope = scope.as_object().ok_or(WRONG)?;
        let kind = scope.get("type").and_then(Value::as_str).ok_or(WRONG)?;
        let resource = scope.get("resource").and_then(Value::as_str).ok_or(WRONG)?;
        if kind == READ {
            let params = scope.get("fixed_params");
            pipes.push(Pipe { resource: resource.into(), fixed: fixed(params), names: names(params) });
        }
    }
    Ok(pipes)
}

/// The parameters of a scope; none where one of them has no value: passing it on without would show everybody's rows.
fn fixed(params: Option<&Value>) -> Option<FixedParams> {
    let params = match params {
        None | Some(Value::Null) => return Some(Box::default()),
        Some(params) => params.as_object()?,
    };
    let mut pairs = BTreeMap::new();
    for (name, value) in params {
        pairs.insert(name.as_str(), scalar(value)?);
    }
    Some(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
}

fn names(params: Option<&Value>) -> FixedParams {
    let params = params.and_then(Value::as_object).into_iter().flatten();
    params.filter_map(|(name, value)| Some((name.as_str().into(), tenant(value)?.into()))).collect()
}

/// Requests per second; zero and less mean as many as one likes.
fn rps(claims: &Map<String, Value>) -> Result<Option<f64>, Finding> {
    let Some(rps) = claims.get("limits").and_then(|limits| limits.get("rps")).filter(|rps| !rps.is_null()) else {
        return Ok(None);
    };
    let rps = rps.as_f64().ok_or(Finding::Claim("its `limits.rps` is not a number"))?;
    Ok(Some(rps).filter(|rps| *rps > 0.0))
}
