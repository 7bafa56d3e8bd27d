//! Tokens and certificates that were verified: one signature for a browser that asks again and again.
//!
//! In: the text of a token or the hash of a certificate, who verified it. Out: the identity that came of it.
//! Not here: whether it is still good (its `until` says), verifying. What is
//! kept under a provider's epoch and its keys' version is not found under
//! another, so that new keys and a new revocation list empty it.

mod weight;

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::fingerprint;
use crate::exchange::caller::Identity;

/// Tokens that are expected; more fit where they are short.
const EXPECTED: usize = 10_000;
/// Bytes of tokens, and of what is kept of them.
const CAPACITY: u64 = 32 << 20;
/// What a token takes beside its identity: its place in the cache.
const OVERHEAD: usize = 256;

/// Verified tokens, as many as there is room for.
#[derive(Debug)]
pub struct Verified(Cache<CacheKey, Kept, Weights>);

/// A token, by the hash of its whole text.
#[derive(Clone, Copy, Debug)]
pub struct Entry([u8; 32]);

/// A token that one provider verified with the keys of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey {
    hash: [u8; 32],
    epoch: u64,
    version: u64,
}

#[derive(Clone, Debug)]
struct Kept {
    identity: Arc<Identity>,
    weight: u64,
}

#[derive(Clone, Debug)]
struct Weights;

impl Weighter<CacheKey, Kept> for Weights {
    fn weight(&self, _: &CacheKey, kept: &Kept) -> u64 {
        kept.weight
    }
}

impl Entry {
    /// The entry of a token. SHA-256, because callers choose the text: two that meet would be one caller.
    pub fn of(text: &str) -> Self {
        Entry(fingerprint::of(&[text]))
    }

    /// The entry of what has this hash already, SHA-256 of the whole of it. What providers judge is either text or not, so
    /// that no text is found as one of these.
    pub fn of_hash(hash: [u8; 32]) -> Self {
        Entry(hash)
    }

    /// As a provider with this epoch and keys of this version verifies it.
    pub fn under(&self, epoch: u64, version: u64) -> CacheKey {
        CacheKey { hash: self.0, epoch, version }
    }
}

impl Default for Verified {
    fn default() -> Self {
        Verified(Cache::with_weighter(EXPECTED, CAPACITY, Weights))
    }
}

impl Verified {
    /// What was made of a token before.
    pub fn find(&self, key: CacheKey) -> Option<Arc<Identity>> {
        self.0.get(&key).map(|kept| kept.identity)
    }

    /// Keeps what was made of a token.
    pub fn keep(&self, key: CacheKey, identity: Arc<Identity>) {
        let weight = (OVERHEAD + weight::of(&identity)) as u64;
        self.0.insert(key, Kept { identity, weight });
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none are kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
