//! Tokens that were verified: one signature for a browser that asks again and again.
//!
//! In: the text of a token, who verified it. Out: the identity that came of it.
//! Not here: whether it is still good (its `until` says), verifying. What is
//! kept under a provider's epoch and its keys' version is not found under
//! another, so that new keys and a new revocation list empty it.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use ring::digest::{SHA256, digest};

use crate::exchange::caller::Identity;

/// Tokens that are expected; more fit where they are short.
const EXPECTED: usize = 10_000;
/// Bytes of tokens, and of what is kept of them.
const CAPACITY: u64 = 32 << 20;
/// What an identity takes beside its claims.
const OVERHEAD: u64 = 512;

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
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
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

    /// Keeps what was made of a token with a text of this length. Its claims take several times that.
    pub fn keep(&self, key: CacheKey, length: usize, identity: Arc<Identity>) {
        let weight = OVERHEAD + 4 * length as u64;
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
mod tests {
    use super::*;
    use crate::exchange::caller::{CallerKind, Facts, TenantOf};

    fn identity() -> Arc<Identity> {
        Arc::new(Identity {
            kind: CallerKind::Jwt,
            provider: "p".into(),
            id: "ada".into(),
            tenant: TenantOf::Nobody,
            scopes: None,
            facts: Facts::Claims(serde_json::Map::new()),
            pipes: Box::default(),
            rps: None,
            workspace: None,
            until: None,
            token: None,
        })
    }

    #[test]
    fn d5_however_many_tokens_are_sent_few_are_kept() {
        let identity = identity();
        for length in [1_000, 16 << 10] {
            let verified = Verified::default();
            for index in 0..50_000 {
                let key = Entry::of(&format!("{length} {index}")).under(1, 1);
                verified.keep(key, length, Arc::clone(&identity));
            }
            let most = CAPACITY / (OVERHEAD + 4 * length as u64);
            assert!(verified.len() as u64 <= most && !verified.is_empty(), "{} of {most}", verified.len());
        }
    }

    #[test]
    fn a_token_is_found_only_under_who_verified_it_with_the_same_keys() {
        let (verified, identity) = (Verified::default(), identity());
        let entry = Entry::of("a.b.c");
        verified.keep(entry.under(1, 7), 5, identity);
        assert!(verified.find(entry.under(1, 7)).is_some());
        for other in [entry.under(2, 7), entry.under(1, 8), entry.under(7, 1), Entry::of("a.b.d").under(1, 7)] {
            assert!(verified.find(other).is_none(), "{other:?}");
        }
    }
}
