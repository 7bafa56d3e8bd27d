//! Credentials, good and bad: tokens signed with ring, API keys with a checksum of the kit's own.
//!
//! In: what a credential is to say. Out: its text, and lines for the files of keys. Nothing of the gateway is used here,
//! so that a mistake in it is not made twice. Not here: public keys (`identity_provider`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::hmac;
use serde_json::{Value, json};

/// The wall time at which every `TestClock` begins.
pub const NOW: u64 = 1_790_000_000;
/// A workspace's admin token: the key of Tinybird JWTs.
pub const ADMIN: &str = "p.eyJ1IjoiYWRtaW4iLCJpZCI6IjEifQ.the-admin-token-of-the-workspace";
/// The workspace of that token.
pub const WORKSPACE: &str = "9c2a0c2e-0000-4000-8000-000000000001";
/// An issuer with a shared secret.
pub const ISSUER: &str = "https://id.acme.com/";
/// That secret.
pub const SECRET: &str = "a-shared-secret-of-more-than-32-bytes-0123456789";

/// Providers of every kind; `keys.yaml` must be there.
pub const PROVIDERS: &str = r#"auth:
  dashboards: { type: tinybird_jwt, secret: "p.eyJ1IjoiYWRtaW4iLCJpZCI6IjEifQ.the-admin-token-of-the-workspace", workspace_id: 9c2a0c2e-0000-4000-8000-000000000001, tenant: "{fixed_params.company_id}" }
  employees: { type: jwt, issuer: "https://id.acme.com/", audience: analytics, secret: a-shared-secret-of-more-than-32-bytes-0123456789, tenant: "{claims.org_id}" }
  partners: { type: api_key, keys: ./keys.yaml, tenant: "{key.tenant}" }
"#;

/// A compact token of these three parts.
pub fn signed(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let front = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(front.as_bytes());
    format!("{front}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// HMAC with SHA-256.
pub fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

/// A token with exactly this header and payload, signed with HS256.
pub fn hs256(header: &str, claims: &str, key: &str) -> String {
    signed(header, claims, |message| mac(key.as_bytes(), message))
}

/// The payload of a token of [`ISSUER`].
pub fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "analytics", "sub": "ada", "exp": NOW + 600, "org_id": "acme" })
}

/// [`claims`] with some of them otherwise; null takes one away.
pub fn claims_with(changes: &Value) -> Value {
    merged(claims(), changes)
}

/// A token of [`ISSUER`].
pub fn jwt(claims: &Value) -> String {
    hs256(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), SECRET)
}

/// The payload of a Tinybird JWT for one pipe.
pub fn tinybird_claims(pipe: &str, fixed: &Value) -> Value {
    json!({
        "workspace_id": WORKSPACE,
        "name": "frontend",
        "exp": NOW + 600,
        "scopes": [{ "type": "PIPES:READ", "resource": pipe, "fixed_params": fixed }],
    })
}

/// [`tinybird_claims`] for `acme` with some claims otherwise; null takes one away.
pub fn tinybird_with(pipe: &str, changes: &Value) -> Value {
    merged(tinybird_claims(pipe, &json!({ "company_id": "acme" })), changes)
}

/// A Tinybird JWT.
pub fn tinybird(claims: &Value) -> String {
    hs256(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), ADMIN)
}

/// A Tinybird JWT for one pipe and company.
pub fn dashboard(pipe: &str, company: &str) -> String {
    tinybird(&tinybird_claims(pipe, &json!({ "company_id": company })))
}

/// The payload of a token, without looking at its signature.
pub fn payload(token: &str) -> Value {
    let part = token.split('.').nth(1).expect("a payload");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

/// Whether `key` signed the token with HS256.
pub fn is_signed_by(token: &str, key: &str) -> bool {
    let (front, signature) = token.rsplit_once('.').expect("a signature");
    URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| signature == mac(key.as_bytes(), front.as_bytes()))
}

/// An API key with the prefix `tgk`, this id of 12 characters, and a secret made of `seed`.
pub fn api_key(id: &str, seed: &str) -> String {
    prefixed_key("tgk", id, seed)
}

/// As [`api_key`], with another prefix.
pub fn prefixed_key(prefix: &str, id: &str, seed: &str) -> String {
    let secret: String = hex(digest(&SHA256, seed.as_bytes()).as_ref()).chars().take(43).collect();
    let front = format!("{prefix}_{id}_{secret}");
    let sum = checksum(&front);
    front + &sum
}

/// A line of `keys.yaml` for this key; `more` begins with a comma or is empty.
pub fn record(key: &str, more: &str) -> String {
    let id = key.split('_').nth(1).expect("an id");
    format!("- {{ id: {id}, sha256: '{}'{more} }}\n", hex(digest(&SHA256, key.as_bytes()).as_ref()))
}

/// CRC-32 (IEEE), bit by bit, in six digits of base 62.
fn checksum(text: &str) -> String {
    let mut crc = u32::MAX;
    for byte in text.bytes() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    let mut rest = !crc;
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(rest % 62) as usize];
        rest /= 62;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn merged(mut base: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().expect("changes are an object") {
        if value.is_null() {
            drop(base.as_object_mut().expect("an object").remove(name));
        } else {
            base[name] = value.clone();
        }
    }
    base
}
