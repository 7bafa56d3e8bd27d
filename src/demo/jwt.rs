//! The vendor's JWTs: reading one, and what it allows; signing one.
//!
//! In: the text of a token, the time; or the order of a new one. Out: `Claims`, or the sentence
//! that says what is wrong with it; a signed token.
//! Written from the vendor's public documentation alone: whoever checks tokens in front of this
//! upstream is then checked by a second reading. HS256 with the whole admin token as key; the
//! header's `alg` is not read, and may be missing.
//! **Not here**: other credentials (`keyring`), counting calls (`rates`).

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use ring::hmac;
use serde_json::{Map, Value, json};

use super::answer::Failure;
use super::pipes::Pipe;
use super::received::Received;

/// The workspace's admin token: the key of its JWTs. It opens bundled data only, and is no secret.
pub const ADMIN_TOKEN: &str =
    "p.eyJ1IjoiZGVtbyIsImlkIjoiYWRtaW4iLCJob3N0IjoibG9jYWwifQ.tollgate-demo-workspace-admin-token";

/// The workspace that JWTs have to name.
pub const WORKSPACE_ID: &str = "00000000-0000-4000-8000-0000000000d3";

/// What a JWT says, once its signature, workspace and time have been found right.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// Whose calls are counted together.
    pub name: String,
    /// The whole payload, as it was signed.
    pub payload: Value,
    scopes: Vec<Scope>,
    most_per_second: Option<f64>,
}

/// One pipe that a JWT opens.
#[derive(Clone, Debug, PartialEq)]
struct Scope {
    resource: String,
    fixed: Vec<(String, String)>,
}

impl Claims {
    /// Reads a token; an error is what its bearer is told.
    pub(super) fn read(token: &str, now: SystemTime) -> Result<Self, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = signed.split_once('.').ok_or(MALFORMED)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| MALFORMED)?;
        hmac::verify(&key(), signed.as_bytes(), &signature).map_err(|_| "Invalid token: wrong signature")?;
        object(header)?;
        let payload = object(payload)?;
        let lasts_until = payload.get("exp").and_then(Value::as_f64).ok_or("Invalid token: it has no 'exp'")?;
        if lasts_until <= seconds(now) {
            return Err("Invalid token: it has expired");
        }
        if payload.get("workspace_id").and_then(Value::as_str) != Some(WORKSPACE_ID) {
            return Err("Invalid token: it is of another workspace");
        }
        let name = payload.get("name").and_then(Value::as_str).ok_or("Invalid token: it has no 'name'")?.to_owned();
        let scopes = payload.get("scopes").and_then(Value::as_array).ok_or("Invalid token: it has no 'scopes'")?;
        let scopes = scopes.iter().filter_map(|scope| Scope::read(scope).transpose()).collect::<Result<_, _>>()?;
        let most_per_second = payload.get("limits").and_then(|limits| limits.get("rps")).and_then(Value::as_f64);
        Ok(Self { name, scopes, most_per_second, payload: Value::Object(payload) })
    }

    /// The parameters that are fixed for a pipe; `None` if the token does not open it.
    /// What the vendor makes of two scopes for one pipe is not documented; here the last counts.
    pub(super) fn fixed_for(&self, pipe: &Pipe) -> Option<&[(String, String)]> {
        let opens = |scope: &&Scope| scope.resource == pipe.name || scope.resource == pipe.id();
        self.scopes.iter().rfind(opens).map(|scope| scope.fixed.as_slice())
    }

    /// Calls per second for all tokens of this name; the vendor takes zero and less as no limit.
    pub(super) fn most_per_second(&self) -> Option<f64> {
        self.most_per_second.filter(|most| *most > 0.0)
    }
}

impl Scope {
    /// `None` for scopes of other things than pipes, which open nothing here.
    fn read(scope: &Value) -> Result<Option<Self>, &'static str> {
        let text = |key| scope.get(key).and_then(Value::as_str);
        let kind = text("type").ok_or("Invalid token: a scope has no 'type'")?;
        let resource = text("resource").ok_or("Invalid token: a scope has no 'resource'")?.to_owned();
        if kind != "PIPES:READ" {
            return Ok(None);
        }
        let fixed = match scope.get("fixed_params") {
            None => Vec::new(),
            Some(fixed) => {
                let fixed = fixed.as_object().ok_or("Invalid token: 'fixed_params' is not an object")?;
                fixed
                    .iter()
                    .map(|(name, value)| plain(value).map(|value| (name.clone(), value)))
                    .collect::<Result<_, _>>()?
            }
        };
        Ok(Some(Self { resource, fixed }))
    }
}

/// Answers `POST /v0/tokens/`, by which the vendor's SDKs have their JWTs signed.
pub(super) fn issue(query: &str, body: &[u8]) -> Result<Value, Failure> {
    let query = Received::collect(query, None, &[])?;
    let order: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("The body must be a JSON object: {error}")))?;
    let expires: Option<u64> = query.text("expiration_time").and_then(|text| text.parse().ok());
    let expires = expires.ok_or_else(|| Failure::bad_request("'expiration_time' must be Unix seconds"))?;
    let name = query.text("name").or_else(|| order.get("name").and_then(Value::as_str).map(str::to_owned));
    let name = name.ok_or_else(|| Failure::bad_request("'name' is missing"))?;
    let scopes = order.get("scopes").filter(|scopes| scopes.is_array());
    let scopes = scopes.ok_or_else(|| Failure::bad_request("'scopes' must be a list"))?;
    let mut payload = json!({ "workspace_id": WORKSPACE_ID, "name": name, "exp": expires, "scopes": scopes });
    if let (Some(payload), Some(limits)) = (payload.as_object_mut(), order.get("limits")) {
        payload.insert("limits".to_owned(), limits.clone());
    }
    Ok(json!({ "name": name, "token": sign(&payload) }))
}

/// Signs a payload as it is.
pub fn sign(payload: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(&json!({ "alg": "HS256", "typ": "JWT" })), encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key(), signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// What a bearer who may not do something is told.
pub(super) fn forbidden() -> Failure {
    Failure::new(StatusCode::FORBIDDEN, "The token lacks the scope this needs")
}

fn key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, ADMIN_TOKEN.as_bytes())
}

fn object(part: &str) -> Result<Map<String, Value>, &'static str> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| MALFORMED)?;
    serde_json::from_slice(&bytes).map_err(|_| MALFORMED)
}

/// The text a query string would have carried.
fn plain(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Null | Value::Object(_) => {
            Err("Invalid token: 'fixed_params' takes strings, numbers and booleans")
        }
    }
}

/// Seconds since 1970, with fractions: `exp` may have some.
fn seconds(now: SystemTime) -> f64 {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

const MALFORMED: &str = "Invalid token";

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
