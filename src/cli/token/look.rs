//! What a credential says openly, whether it is right or wrong.
//!
//! In: its text. Out: which kind it looks like, and what everybody can read in
//! it; never a signature or the secret of a key. Not here: whether it is good.
//! More is read here than a gateway would: what is wrong with it is the question.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::config::scalar::{Algorithm, api_key};

use super::age::{distance, moment, span};
use super::shown;

/// Later than any time in seconds: what is above counts milliseconds.
const FIRST_MILLIS: f64 = 1e11;
/// Longer than tokens should live.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// What a text looks like.
pub(super) enum Look {
    ApiKey {
        prefix: String,
        id: String,
        checksum: Checksum,
    },
    Encrypted,
    Jwt(Jwt),
    /// A token of Tinybird that is not a JWT.
    Static(Map<String, Value>),
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    Right,
    Wrong,
}

pub(super) struct Jwt {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
}

impl Look {
    pub(super) fn at(text: &str) -> Self {
        if let Some(parts) = api_key::parse(text) {
            return Look::ApiKey { prefix: parts.prefix.into(), id: parts.id.into(), checksum: Checksum::Right };
        }
        let words: Vec<&str> = text.split('_').collect();
        if let ([prefix, id, _], false) = (words.as_slice(), api_key::find(text).is_empty()) {
            return Look::ApiKey { prefix: shown(prefix), id: shown(id), checksum: Checksum::Wrong };
        }
        let parts: Vec<&str> = text.split('.').collect();
        match parts.as_slice() {
            ["p", says, _] => object(says).map_or(Look::Unknown, Look::Static),
            [header, claims, _] => match (object(header), object(claims)) {
                (Some(header), Some(claims)) => Look::Jwt(Jwt { header, claims }),
                (Some(_) | None, _) => Look::Unknown,
            },
            [_, _, _, _, _] => Look::Encrypted,
            _ => Look::Unknown,
        }
    }

    /// The claims, of a token.
    pub(super) fn claims(&self) -> Option<&Map<String, Value>> {
        match self {
            Look::Jwt(jwt) => Some(&jwt.claims),
            Look::ApiKey { .. } | Look::Encrypted | Look::Static(_) | Look::Unknown => None,
        }
    }

    /// What it is, in words.
    pub(super) fn kind(&self) -> String {
        match self {
            Look::ApiKey { prefix, id, checksum } => {
                let checksum = match checksum {
                    Checksum::Right => "right",
                    Checksum::Wrong => "wrong: some of it is missing or mistyped",
                };
                format!("an API key with the prefix `{prefix}` and the id `{id}`; its checksum is {checksum}")
            }
            Look::Encrypted => "an encrypted token (JWE): only signed ones can be read".to_owned(),
            Look::Jwt(jwt) => jwt.kind(),
            Look::Static(_) => {
                "a static token of Tinybird, which is for upstreams: no provider accepts it from callers".to_owned()
            }
            Look::Unknown => "nothing that is known here: no JWT, no API key, no token of Tinybird".to_owned(),
        }
    }

    /// Whom it names, and until when: what helps to see why it is refused.
    pub(super) fn facts(&self, now: SystemTime) -> Vec<(&'static str, String)> {
        match self {
            Look::ApiKey { prefix, id, .. } => vec![("prefix", prefix.clone()), ("id", id.clone())],
            Look::Jwt(jwt) => jwt.facts(now),
            Look::Encrypted | Look::Static(_) | Look::Unknown => Vec::new(),
        }
    }
}

impl Jwt {
    fn kind(&self) -> String {
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str);
        match (text("workspace_id"), text("iss")) {
            (Some(workspace), None) if self.claims.contains_key("scopes") => {
                format!("a Tinybird JWT for the workspace `{}`", shown(workspace))
            }
            (_, Some(issuer)) => format!("a JWT of the issuer `{}`", shown(issuer)),
            (_, None) => "a JWT that names no issuer (`iss`)".to_owned(),
        }
    }

    fn facts(&self, now: SystemTime) -> Vec<(&'static str, String)> {
        let from = |members: &Map<String, Value>, name: &str| members.get(name).map(plain);
        let mut facts: Vec<(&'static str, String)> = Vec::new();
        let header = ["alg", "kid"].into_iter().filter_map(|name| Some((name, from(&self.header, name)?)));
        facts.extend(header);
        let claims = ["iss", "aud", "workspace_id", "name"];
        facts.extend(claims.into_iter().filter_map(|name| Some((name, from(&self.claims, name)?))));
        if let Some(value) = self.claims.get("exp") {
            let words = match self.time("exp") {
                Some(at) => format!("{} ({})", moment(at), distance(at, now)),
                None => plain(value),
            };
            facts.push(("exp", words));
        }
        facts
    }

    /// The time that a claim holds.
    pub(super) fn time(&self, name: &str) -> Option<SystemTime> {
        let seconds = self.claims.get(name)?.as_f64().filter(|seconds| (0.0..FIRST_MILLIS).contains(seconds))?;
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs_f64(seconds))
    }

    /// What its times say.
    pub(super) fn times(&self, now: SystemTime) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(made) = self.time("iat") {
            lines.push(format!("made {} ({})", distance(made, now), moment(made)));
        }
        if let Some(begins) = self.time("nbf").filter(|begins| *begins > now) {
            lines.push(format!("not good yet: begins {} ({})", distance(begins, now), moment(begins)));
        }
        if let Some(ends) = self.time("exp") {
            let verb = if ends <= now { "expired" } else { "expires" };
            lines.push(format!("{verb} {} ({})", distance(ends, now), moment(ends)));
        }
        lines
    }

    /// What should not be so, whoever accepts it.
    pub(super) fn warnings(&self, now: SystemTime) -> Vec<String> {
        let mut warnings = Vec::new();
        match self.header.get("alg").and_then(Value::as_str) {
            Some(alg) if alg.eq_ignore_ascii_case("none") => {
                warnings.push("`alg` is `none`: nobody signed it, and no gateway accepts it".to_owned());
            }
            Some(alg) if alg.parse::<Algorithm>().is_err() => {
                warnings.push(format!("`alg` is `{}`, which is not supported", shown(alg)));
            }
            Some(_) | None => {}
        }
        match self.claims.get("exp").map(Value::as_f64) {
            None => warnings.push("it has no `exp`, so that it would never end: it is refused".to_owned()),
            Some(Some(ends)) if ends >= FIRST_MILLIS => {
                warnings.push("`exp` looks like milliseconds: seconds since 1970 are wanted".to_owned());
            }
            Some(None) => warnings.push("`exp` is not a number: seconds since 1970 are wanted".to_owned()),
            Some(Some(_)) => {}
        }
        let lives = self.time("exp").and_then(|ends| ends.duration_since(self.time("iat").unwrap_or(now)).ok());
        if let Some(lives) = lives.filter(|lives| *lives > LONG) {
            warnings
                .push(format!("it is good for {}: who finds it has it for as long; minutes are enough", span(lives)));
        }
        warnings
    }
}

/// A value in one line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => shown(text),
        Value::Array(_) | Value::Bool(_) | Value::Null | Value::Number(_) | Value::Object(_) => {
            shown(&value.to_string())
        }
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(members) => Some(members),
        Value::Array(_) | Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => None,
    }
}
