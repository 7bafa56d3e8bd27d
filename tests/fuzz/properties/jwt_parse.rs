//! Any text as a token, and any header and claims in one that is signed: it is read in one way, and a change is seen.
//!
//! The input is a token, or two lines, the second of which may have line ends of its own: header and claims as they stand
//! in one, before base64url.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Map, Value};
use tollgate::config::scalar::{Algorithm, PublicKey};
use tollgate::jose::{Compact, Key, KeySet, MAX_TOKEN};

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

/// Tries these bytes.
pub fn holds(bytes: &[u8]) {
    let key = Key::hmac(SECRET, &[Algorithm::Hs256]);
    let _ = KeySet::parse(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<PublicKey>();
        if let Ok(token) = Compact::parse(text) {
            assert!(text.len() <= MAX_TOKEN && text.starts_with(token.signed()));
            assert!(!key.verify(Algorithm::Hs256, &token), "nobody knows the secret");
        }
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (header, claims) = bytes.split_at(end);
    let claims = claims.get(1..).unwrap_or_default();
    let text = signed(header, claims);
    let Ok(token) = Compact::parse(&text) else { return };
    let is_named = token.header().alg.as_deref() == Some("HS256");
    assert_eq!(key.verify(Algorithm::Hs256, &token), is_named, "{text}");
    assert!(!key.verify(Algorithm::Hs512, &token), "the key is for one algorithm");
    // Anybody else who reads the same bytes reads the same.
    assert_eq!(Some(token.claims()), object(claims).as_ref(), "{text}");
    let said = object(header).expect("a header that others can read");
    let named = |name: &str| said.get(name).and_then(Value::as_str).map(str::to_owned);
    assert_eq!((&named("alg"), &named("kid")), (&token.header().alg, &token.header().kid), "{text}");
    assert!(!said.contains_key("crit") && !said.contains_key("zip") && !said.contains_key("b64"), "{text}");
    change(&text, bytes.len(), &key);
}

/// No letter of a token can be another one.
fn change(text: &str, at: usize, key: &Key) {
    let mut changed = text.as_bytes().to_vec();
    let at = at.wrapping_mul(31) % changed.len();
    let Some(byte) = changed.get_mut(at).filter(|byte| **byte != b'.') else { return };
    *byte = if *byte == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("letters");
    if let Ok(token) = Compact::parse(&changed) {
        assert!(!key.verify(Algorithm::Hs256, &token), "{changed} is as good as {text}");
    }
}

fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(bytes).ok()
}

fn signed(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}
