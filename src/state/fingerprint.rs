//! One short key for several words.
//!
//! In: words that somebody outside may have chosen. Out: 32 bytes that no other
//! words have. Not here: what is kept under them.

use ring::digest::{Context, SHA256};

/// The fingerprint of these words, in this order.
pub(super) fn of(words: &[&str]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for word in words {
        // With its length, so that no two lists of words are one text.
        context.update(&(word.len() as u64).to_le_bytes());
        context.update(word.as_bytes());
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}
