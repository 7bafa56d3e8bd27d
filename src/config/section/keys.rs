//! A record of `keys.yaml`: who has an API key, and what it may do.
//!
//! In: one item of the list. Out: a [`KeyRecord`]. Not here: the file as a whole
//! (`config::keys`), the text of a key (`scalar::api_key`).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::config::scalar::{KeyHash, KeyId, Moment, TenantName};

/// One API key, without the key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Its public name: the 12 characters between the two `_` of the key.
    pub id: KeyId,
    /// SHA-256 of the whole key, in 64 hexadecimal digits.
    pub sha256: KeyHash,
    /// Whose rows it opens; left out: `{key.tenant}` has no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// What routes ask for under `require`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
    /// Values for `{key.meta.NAME}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, Words>,
    /// When it was made; for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Moment>,
    /// From then on it is refused; left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Moment>,
    /// `false` is a key that was revoked.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Who has it; for people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Words>,
}

fn yes() -> bool {
    true
}

/// A permission, as OAuth writes one (RFC 6749): visible ASCII without blanks, `"` and `\`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scope(String);

/// Words for people, or a value for a parameter: one line of text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Words(String);

/// Longer texts than this are none of a line.
const MAX_WORDS: usize = 1_000;

impl Scope {
    /// The permission.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("this scope is empty: write a word like reports.read".to_owned());
        }
        match text.chars().all(|c| c.is_ascii_graphic() && !"\"\\".contains(c)) {
            true => Ok(Scope(text.to_owned())),
            false => Err(format!("`{text}` is not a scope: write a word like reports.read, and each on its own")),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Words {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Words {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("this text is empty: write some words, or leave it out".to_owned());
        }
        match text.len() <= MAX_WORDS && !text.chars().any(char::is_control) {
            true => Ok(Words(text.to_owned())),
            false => Err(format!("this text is no line: write at most {MAX_WORDS} bytes, without line breaks")),
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

crate::config::scalar::from_text!(Scope, "a scope like reports.read");
crate::config::scalar::as_text!(Scope);
crate::config::scalar::from_text!(Words, "one line of text");
crate::config::scalar::as_text!(Words);
