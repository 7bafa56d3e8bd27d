//! Tokens that were made for upstreams, used again while they are good.
//!
//! In: what a token is made of. Out: the token. Not here: making it
//! (`pipeline::rewrite`). How many are kept is bounded.

use std::time::SystemTime;

use http::HeaderValue;
use quick_cache::sync::Cache;

use super::fingerprint;

/// Tokens that are kept.
const KEPT: usize = 10_000;

/// The tokens, by what they are made of.
#[derive(Debug)]
pub struct Minted(Cache<[u8; 32], Coin>);

/// One token as it is sent, and until when it is used.
#[derive(Clone, Debug)]
pub struct Coin {
    /// The value of `Authorization`.
    pub value: HeaderValue,
    /// When another one is made.
    pub until: SystemTime,
}

impl Default for Minted {
    fn default() -> Self {
        Minted(Cache::new(KEPT))
    }
}

impl Minted {
    /// The token made of these words: a kept one, or what `make` makes.
    pub fn get(&self, words: &[&str], now: SystemTime, make: impl FnOnce() -> Option<Coin>) -> Option<HeaderValue> {
        let key = fingerprint::of(words);
        if let Some(coin) = self.0.get(&key).filter(|coin| now < coin.until) {
            return Some(coin.value);
        }
        let coin = make()?;
        self.0.insert(key, coin.clone());
        Some(coin.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d5_however_many_tokens_are_made_few_are_kept() {
        let (minted, now) = (Minted::default(), SystemTime::UNIX_EPOCH);
        let coin = || {
            Some(Coin {
                value: HeaderValue::from_static("Bearer a.b.c"),
                until: now + std::time::Duration::from_secs(1),
            })
        };
        for index in 0..5 * KEPT {
            minted.get(&[&index.to_string()], now, coin);
        }
        assert!(minted.0.len() <= KEPT, "{}", minted.0.len());
    }

    #[test]
    fn words_are_not_run_together() {
        let (minted, now) = (Minted::default(), SystemTime::UNIX_EPOCH);
        let mut made = 0;
        for words in [&["a", "bc"][..], &["ab", "c"], &["abc"], &["", "abc"], &["abc", ""], &["a", "b", "c"]] {
            minted.get(words, now, || {
                made += 1;
                Some(Coin { value: HeaderValue::from_static("x"), until: now + std::time::Duration::from_secs(1) })
            });
        }
        assert_eq!(made, 6);
    }
}
