//! Sets of public keys (RFC 7517), as identity providers publish them.

/// The keys of a set that can be used.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<String>);

impl KeySet {
    /// Reads a set; keys that cannot be used are left out.
    ///
    /// # Errors
    /// In a sentence, why there is no set in these bytes.
    pub fn parse(bytes: &[u8]) -> Result<KeySet, String> {
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|_| "it is not JSON".to_owned())?;
        let keys =
            value.get("keys").and_then(|keys| keys.as_array()).ok_or_else(|| "it has no list `keys`".to_owned())?;
        Ok(KeySet(keys.iter().filter_map(|key| key.get("kid")?.as_str().map(str::to_owned)).collect()))
    }

    /// Whether there is a key with this id.
    pub fn knows(&self, id: &str) -> bool {
        self.0.iter().any(|known| known == id)
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
