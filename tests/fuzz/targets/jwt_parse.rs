//! Any text as a token, and any header and claims in one that is signed: it is read in one way, and a change is seen.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::config::scalar::{Algorithm, PublicKey};
use tollgate::jose::{Compact, Key, KeySet, MAX_TOKEN, sign};

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";

fuzz_target!(|text: &str| {
    let key = Key::hmac(SECRET, &[Algorithm::Hs256]);
    let _ = text.parse::<PublicKey>();
    let _ = KeySet::parse(text.as_bytes());
    if let Ok(token) = Compact::parse(text) {
        assert!(text.len() <= MAX_TOKEN && text.starts_with(token.signed()));
        assert!(!key.verify(Algorithm::Hs256, &token), "nobody knows the secret");
    }
    let Ok(claims) = serde_json::from_str::<serde_json::Value>(text) else { return };
    let signed = sign::hs256(&serde_json::json!({ "alg": "HS256" }), &claims, SECRET);
    if let Ok(token) = Compact::parse(&signed) {
        assert!(key.verify(Algorithm::Hs256, &token));
        assert_eq!(Some(token.claims()), claims.as_object());
    }
});
