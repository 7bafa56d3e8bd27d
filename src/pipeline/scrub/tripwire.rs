//! The last line of defence: a configured credential never leaves.
//!
//! In: every configured credential of 16 bytes or more. Out: whether some bytes
//! contain one, plain, percent-encoded or in base64.

use std::borrow::Cow;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode;

/// Shorter credentials would trip on chance.
const MIN_LENGTH: usize = 16;

/// Finds credentials in bytes.
#[derive(Debug)]
pub struct Tripwire(Option<AhoCorasick>);

impl Tripwire {
    /// A wire for these credentials.
    pub fn compile<'a>(credentials: impl Iterator<Item = &'a str>) -> Self {
        let mut needles: Vec<Vec<u8>> =
            credentials.filter(|credential| credential.len() >= MIN_LENGTH).flat_map(spellings).collect();
        needles.sort();
        needles.dedup();
        match needles.is_empty() {
            true => Tripwire(None),
            false => Tripwire(AhoCorasick::builder().ascii_case_insensitive(false).build(needles).ok()),
        }
    }

    /// Whether a credential stands in `bytes`.
    pub fn trips(&self, bytes: &[u8]) -> bool {
        let Some(needles) = self.0.as_ref().filter(|_| bytes.len() >= MIN_LENGTH) else { return false };
        // Which characters an encoder escapes is its own choice, so the text is decoded instead.
        needles.is_match(bytes) || (bytes.contains(&b'%') && needles.is_match(&*Cow::from(percent_decode(bytes))))
    }
}

/// The ways a credential may be written.
fn spellings(credential: &str) -> Vec<Vec<u8>> {
    let quoted = serde_json::Value::from(credential).to_string();
    let mut all = vec![credential.as_bytes().to_vec(), quoted.trim_matches('"').into()];
    for shift in 0..3 {
        all.push(base64_inside(&STANDARD_NO_PAD, credential, shift));
        all.push(base64_inside(&URL_SAFE_NO_PAD, credential, shift));
    }
    all
}

/// The characters of base64 that depend on the credential alone, when it
/// stands `shift` bytes into what was encoded.
fn base64_inside(engine: &impl Engine, credential: &str, shift: usize) -> Vec<u8> {
    let mut padded = vec![0; shift];
    padded.extend_from_slice(credential.as_bytes());
    let encoded = engine.encode(&padded).into_bytes();
    let skip = (shift * 8).div_ceil(6);
    let whole = padded.len() * 8 / 6;
    encoded.get(skip..whole).unwrap_or_default().to_vec()
}
