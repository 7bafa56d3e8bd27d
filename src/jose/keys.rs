//! Sets of public keys (JWKS, RFC 7517), as identity providers publish them.
//!
//! In: the bytes of a set. Out: the keys that can be used, by id, and why the
//! others cannot. Not here: fetching a set, and when to (`state::jwks`); what
//! makes a single key unusable (`jwk`).

use serde_json::Value;

use super::{Key, jwk};
use crate::config::scalar::Algorithm;

/// Bytes of the longest set.
pub const MAX_SET: usize = 256 << 10;
/// Keys in the largest set: without ids, each of them is tried for a token.
pub const MAX_KEYS: usize = 100;

/// The keys of a set that can be used.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    /// A list, as ids can stand twice and sets are short.
    keys: Vec<(Option<String>, Key)>,
    left_out: Vec<String>,
}

impl KeySet {
    /// Reads a set; keys that cannot be used are left out.
    ///
    /// # Errors
    /// In a sentence, why there is no set in these bytes.
    pub fn parse(bytes: &[u8]) -> Result<KeySet, String> {
        if bytes.len() > MAX_SET {
            return Err(format!("the set of keys is longer than {} KiB", MAX_SET >> 10));
        }
        let set: Value = serde_json::from_slice(bytes).map_err(|_| "this is not JSON, so it is no set of keys")?;
        let Some(Value::Array(members)) = set.get("keys") else {
            return Err("this is no set of keys: it has no list `keys`".to_owned());
        };
        if members.len() > MAX_KEYS {
            return Err(format!("the set has {} keys, at most {MAX_KEYS} are read", members.len()));
        }
        let mut found = KeySet::default();
        for (number, member) in members.iter().enumerate() {
            match jwk::read(member) {
                Ok(published) => found.keys.push((published.id, published.key)),
                Err(reason) => found.left_out.push(format!("{}: {reason}", called(number, member))),
            }
        }
        Ok(found)
    }

    /// Whether there is a key with this id.
    pub fn knows(&self, id: &str) -> bool {
        self.keys.iter().any(|(own, _)| own.as_deref() == Some(id))
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that may have signed a token: with this id, or any where the token has none, and with this algorithm. The
    /// id is compared and nothing else is done with it.
    pub fn find<'a>(&'a self, id: Option<&'a str>, algorithm: Algorithm) -> impl Iterator<Item = &'a Key> {
        self.keys
            .iter()
            .filter(move |(own, _)| id.is_none() || own.as_deref() == id)
            .map(|(_, key)| key)
            .filter(move |key| key.algorithms().contains(&algorithm))
    }

    /// For each key that cannot be used, which and why.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }
}

/// How a key is named towards an operator: what the provider calls it is not to be trusted with control characters.
fn called(number: usize, member: &Value) -> String {
    match member.get("kid").and_then(Value::as_str) {
        Some(id) => format!("key {:?}", id.chars().take(64).collect::<String>()),
        None => format!("key number {}", number + 1),
    }
}
