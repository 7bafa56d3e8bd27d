//! The text of an API key: `PREFIX_ID_SECRET`, with a checksum at its end.
//!
//! In: a text that a caller sent, or randomness. Out: its public parts, its
//! hash, or a new key. Not here: whose key it is (`config::keys`), and whether
//! that one may call (`pipeline::authn`). The checksum keeps no secret: it lets
//! typos and scanners of leaked text do without a list of keys.

use std::fmt;
use std::hint::black_box;
use std::io;
use std::ops::Range;
use std::str::FromStr;

use rand::RngCore;
use rand::rngs::OsRng;
use ring::digest::{SHA256, digest};

/// Digits of numbers and letters of keys.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Characters of an id: two of a million keys have the same one once in six thousand million times.
const ID: usize = 12;
/// Characters of a secret: 256 bits.
const SECRET: usize = 43;
/// Characters of a checksum: 62^6 is more than 2^32.
const CHECKSUM: usize = 6;
/// Bytes of a prefix at least, and at most.
const PREFIX: (usize, usize) = (2, 16);
/// A shorter text is no token.
const SHORTEST_TOKEN: usize = 30;
/// A text with less of a secret than this gives nobody a key.
const TELLING: usize = 16;

/// What a key begins with, so that people and programs see what it is: `tgk`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPrefix(Box<str>);

/// The public name of a key: it stands in the key, in the file and in logs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Box<str>);

/// The SHA-256 of a whole key. The secret has so much entropy that no slower hash is needed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash([u8; 32]);

/// A key that was just made. Its `Debug` does not show it.
pub struct ApiKey {
    text: String,
    id: KeyId,
}

/// What a key says openly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'t> {
    /// What kind of key it is.
    pub prefix: &'t str,
    /// Which record it belongs to.
    pub id: &'t str,
}

/// The open parts of a text that has the form of a key and the right checksum.
pub fn parse(text: &str) -> Option<Parts<'_>> {
    let (front, checksum) = text.split_at_checked(text.len().checked_sub(CHECKSUM)?)?;
    let mut pieces = front.split('_');
    let (prefix, id, secret) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let has_form = pieces.next().is_none() && is_prefix(prefix) && is_base62(id, ID) && is_base62(secret, SECRET);
    (has_form && checksum.as_bytes() == checksum_of(front)).then_some(Parts { prefix, id })
}

/// The SHA-256 of a text, whatever it is.
pub fn hash(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    // Both are 32 bytes long.
    bytes.iter_mut().zip(digest(&SHA256, text.as_bytes()).as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

/// A new key.
///
/// # Errors
/// The system gives no randomness.
pub fn generate(prefix: &KeyPrefix) -> io::Result<ApiKey> {
    // The id begins with a letter: no YAML tool takes it for a number.
    let letter = random(1, |byte| byte.is_ascii_alphabetic())?;
    let id = letter + &random(ID - 1, |_| true)?;
    let front = format!("{}_{id}_{}", prefix.0, random(SECRET, |_| true)?);
    let checksum = String::from_utf8_lossy(&checksum_of(&front)).into_owned();
    Ok(ApiKey { text: front + &checksum, id: KeyId(id.into_boxed_str()) })
}

/// Where a text has something in it that looks like the secret of a key, whole or cut, whatever its checksum says.
pub fn find(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        let key = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        if betrays(key) {
            found.push(start..start + key.len());
        }
        start += word.len();
    }
    found
}

/// As [`find`], and of Tinybird's static tokens and signed tokens, which people paste where something else is meant.
pub fn find_credentials(text: &str) -> Vec<Range<usize>> {
    let mut found = find(text);
    let is_inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut start = 0;
    for word in text.split_inclusive(|c: char| !is_inside(c)) {
        let token = word.trim_end_matches(|c: char| !is_inside(c));
        if is_token(token) {
            found.push(start..start + token.len());
        }
        start += word.len();
    }
    found.sort_by_key(|span| span.start);
    found
}

/// Base64 of `{"` with something signed behind it.
fn is_token(word: &str) -> bool {
    let body = word.strip_prefix("p.").unwrap_or(word);
    body.starts_with("ey") && word.len() >= SHORTEST_TOKEN && body.contains('.')
}

fn betrays(word: &str) -> bool {
    if word.len() < PREFIX.0 + ID + TELLING + 2 {
        return false;
    }
    // Something may stand before it: `KEY_tgk_…`.
    let pieces: Vec<&str> = word.split('_').collect();
    pieces.windows(3).any(|pieces| match pieces {
        [prefix, id, secret] => is_prefix(prefix) && is_base62(id, ID) && is_random(secret),
        _ => false,
    })
}

/// Names of pipes have no capitals in long words.
fn is_random(secret: &str) -> bool {
    let has = |wanted: fn(&u8) -> bool| secret.as_bytes().iter().any(wanted);
    secret.len() >= TELLING && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)
}

fn is_prefix(text: &str) -> bool {
    let is_within = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    (PREFIX.0..=PREFIX.1).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(is_within)
}

fn is_base62(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// CRC-32, which notices every change of one character, as six digits.
fn checksum_of(front: &str) -> [u8; CHECKSUM] {
    let mut crc = flate2::Crc::new();
    crc.update(front.as_bytes());
    let mut rest = crc.sum() as usize;
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62.get(rest % BASE62.len()).copied().unwrap_or(b'0');
        rest /= BASE62.len();
    }
    digits
}

/// Characters that are equally likely among those that are `wanted`.
fn random(length: usize, wanted: impl Fn(u8) -> bool) -> io::Result<String> {
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
        // The six lowest bits; 62 and 63 are no digits, and are drawn again.
        let digits = bytes.iter().filter_map(|byte| BASE62.get(usize::from(byte & 63)).copied());
        text.extend(digits.filter(|digit| wanted(*digit)).take(length - text.len()).map(char::from));
    }
    Ok(text)
}

impl ApiKey {
    /// The key itself: for the one place that shows it to its owner.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Its public name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// What is kept of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.text)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl KeyPrefix {
    /// What keys begin with where nothing else is said.
    pub const DEFAULT: &'static str = "tgk";

    /// The prefix as it stands in a key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for KeyPrefix {
    fn default() -> Self {
        KeyPrefix(KeyPrefix::DEFAULT.into())
    }
}

impl FromStr for KeyPrefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match is_prefix(text) {
            true => Ok(KeyPrefix(text.into())),
            // Not quoted: a whole key may have been put here.
            false => Err("this is not the prefix of keys: write a small letter, and then 1 to 15 small letters and \
                 digits, like tgk"
                .to_owned()),
        }
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyId {
    /// The id as it stands in a key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match is_base62(text, ID) {
            true => Ok(KeyId(text.into())),
            // Not quoted: a whole key may have been put here.
            false => Err("this is not the id of a key: write the 12 letters and digits between the two `_` of the key"
                .to_owned()),
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyHash {
    /// The hash of a key's text.
    pub fn of(text: &str) -> Self {
        KeyHash(hash(text))
    }

    /// The 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are the same, found out in a time that does not depend on where they differ.
    pub fn is_same(&self, other: &KeyHash) -> bool {
        let differing = self.0.iter().zip(&other.0).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        black_box(differing) == 0
    }
}

impl FromStr for KeyHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text is not quoted: it may be the key itself.
        let wrong = "this is not a SHA-256: write its 64 hexadecimal digits, as `tollgate keys create` does";
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong.to_owned());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            let digits = text.get(at..at + 2).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong)?;
        }
        Ok(KeyHash(bytes))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

// Logs have the id; a hash is of use only to who may guess.
impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, ..] = self.0;
        write!(f, "{first:02x}{second:02x}…")
    }
}

super::from_text!(KeyPrefix, "the prefix of keys, like tgk");
super::as_text!(KeyPrefix);
super::from_text!(KeyId, "the id of a key");
super::as_text!(KeyId);
super::from_text!(KeyHash, "64 hexadecimal digits");
super::as_text!(KeyHash);

#[cfg(test)]
#[path = "api_key_tests.rs"]
mod tests;
