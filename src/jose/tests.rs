//! Published examples, and what is read and refused.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::scalar::PublicKey;

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../tests/jose/", $name, ".pem"))
    };
}
pub(super) use sample;

/// A secret that is long enough.
pub(super) const SECRET: &[u8] = b"p.eyJ1IjogImZha2UtYWRtaW4tdG9rZW4ifQ.0123456789";

pub(super) fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub(super) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The only key of a set.
pub(super) fn published(jwk: &Value) -> Key {
    let set = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
    assert_eq!(set.left_out(), &[] as &[String]);
    Algorithm::ALL.into_iter().find_map(|algorithm| set.find(None, algorithm).next()).unwrap().clone()
}

pub(super) fn public(pem: &str) -> Key {
    Key::public(&pem.parse::<PublicKey>().unwrap())
}

/// One of each kind: what signs, what verifies.
pub(super) fn pairs() -> &'static [(SigningKey, Key)] {
    static PAIRS: LazyLock<Vec<(SigningKey, Key)>> = LazyLock::new(|| {
        let signer = |pem| SigningKey::from_pem(pem).unwrap();
        vec![
            (SigningKey::secret(SECRET).unwrap(), Key::hmac(SECRET, &Algorithm::ALL)),
            (signer(sample!("rsa")), public(sample!("rsa.public"))),
            (signer(sample!("p256")), public(sample!("p256.public"))),
            (signer(sample!("p384")), public(sample!("p384.public"))),
            (signer(sample!("ed25519")), public(sample!("ed25519.public"))),
        ]
    });
    &PAIRS
}

/// RFC 7515, appendix A: the claims are those of all three.
const A_CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
pub(super) const A1_SECRET: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
const A2_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const A2_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const A3_SIGNATURE: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

#[test]
fn the_examples_of_rfc_7515_are_verified() {
    let a1 = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{A_CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let a2 = format!("eyJhbGciOiJSUzI1NiJ9.{A_CLAIMS}.{A2_SIGNATURE}");
    let a3 = format!("eyJhbGciOiJFUzI1NiJ9.{A_CLAIMS}.{A3_SIGNATURE}");
    let rsa = published(&json!({ "kty": "RSA", "n": A2_MODULUS, "e": "AQAB" }));
    let curve = published(&json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }));
    for (text, algorithm, key) in [
        (&a1, Algorithm::Hs256, Key::hmac(&decoded(A1_SECRET), &[Algorithm::Hs256])),
        (&a2, Algorithm::Rs256, rsa),
        (&a3, Algorithm::Es256, curve),
    ] {
        let token = Compact::parse(text).unwrap();
        assert_eq!(token.header().algorithm(), Some(algorithm));
        assert_eq!(token.claims()["iss"], "joe");
        assert_eq!(token.claims()["exp"], 1_300_819_380);
        assert_eq!(token.signed(), text.rsplit_once('.').unwrap().0);
        assert!(key.verify(algorithm, &token), "{algorithm}");
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            assert!(!key.verify(other, &token), "{algorithm} as {other}");
        }
    }
    assert_eq!(Compact::parse(&a1).unwrap().header().typ.as_deref(), Some("JWT"));
}

/// A.4: the payload is the word `Payload`, and nothing here knows P-521. A.5: no signature at all.
#[test]
fn what_rfc_7515_has_and_is_not_supported_is_refused() {
    assert_eq!(Compact::parse("eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwM").unwrap_err(), Malformed::Json(Part::Claims));
    let with_claims = format!("eyJhbGciOiJFUzUxMiJ9.{A_CLAIMS}.AdwM");
    assert_eq!(Compact::parse(&with_claims).unwrap().header().algorithm(), None);
    let a5 = format!("eyJhbGciOiJub25lIn0.{A_CLAIMS}.");
    assert_eq!(Compact::parse(&a5).unwrap_err(), Malformed::Unsigned);
}

/// Their payloads are sentences and no claims, so that only the signature is looked at: 4.1, 4.2, 4.4. (4.3 is ES512; the
/// others are not in the compact form.)
#[test]
fn the_examples_of_rfc_7520_are_verified() {
    let payload = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";
    let rsa = published(&json!({
        "kty": "RSA",
        "kid": "bilbo.baggins@hobbiton.example",
        "use": "sig",
        "n": "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw",
        "e": "AQAB",
    }));
    let secret = Key::hmac(&decoded("hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"), &[Algorithm::Hs256]);
    for (algorithm, key, header, signature) in [
        (
            Algorithm::Rs256,
            &rsa,
            "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
            "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg",
        ),
        (
            Algorithm::Ps384,
            &rsa,
            "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
            "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw",
        ),
        (
            Algorithm::Hs256,
            &secret,
            "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9",
            "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
        ),
    ] {
        let message = format!("{header}.{payload}");
        assert!(key.signed(algorithm, message.as_bytes(), &decoded(signature)), "{algorithm}");
        assert!(!key.signed(algorithm, format!("{message}A").as_bytes(), &decoded(signature)), "{algorithm}");
        let text = format!("{message}.{signature}");
        assert_eq!(Compact::parse(&text).unwrap_err(), Malformed::Json(Part::Claims));
    }
}

#[test]
fn the_example_of_rfc_8037_is_verified() {
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = decoded("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    assert!(published(&jwk).signed(Algorithm::EdDsa, message, &signature));
}

#[test]
fn what_is_signed_here_is_verified_here_and_by_no_other_key() {
    let pairs = pairs();
    let claims = json!({ "sub": "ada", "exp": 4_000_000_000_u64 });
    for (index, (signer, verifier)) in pairs.iter().enumerate() {
        assert_eq!(signer.algorithms(), verifier.algorithms());
        for algorithm in signer.algorithms() {
            let text = signer.sign(*algorithm, &json!({ "typ": "JWT", "alg": "none" }), &claims).unwrap();
            let token = Compact::parse(&text).unwrap();
            assert_eq!(token.header().algorithm(), Some(*algorithm));
            assert!(verifier.verify(*algorithm, &token), "{algorithm}");
            for (_, other) in pairs.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, pair)| pair) {
                assert!(!other.verify(*algorithm, &token), "{algorithm}");
            }
            assert!(!verifier.clone().restrict(&[]).verify(*algorithm, &token));
            assert_eq!(token.into_claims()["sub"], "ada");
        }
    }
    let text = sign::hs256(&json!({ "alg": "HS256" }), &claims, SECRET);
    assert!(Key::hmac(SECRET, &[Algorithm::Hs256]).verify(Algorithm::Hs256, &Compact::parse(&text).unwrap()));
}

#[test]
fn private_keys_are_read_or_say_what_to_write() {
    let key = SigningKey::from_pem(sample!("rsa.pkcs1")).unwrap();
    let text = key.sign(Algorithm::Rs256, &json!({}), &json!({})).unwrap();
    assert!(public(sample!("rsa.pkcs1.public")).verify(Algorithm::Rs256, &Compact::parse(&text).unwrap()));
    for (text, said) in [
        (sample!("p256.sec1"), "openssl pkcs8 -topk8"),
        (sample!("p256.encrypted"), "passphrase"),
        (sample!("p256.public"), "not a private key"),
        ("", "not a private key"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "cannot be used"),
        ("-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----", "damaged"),
    ] {
        let problem = SigningKey::from_pem(text).unwrap_err();
        assert!(problem.contains(said), "{problem}");
    }
    let problem = key.sign(Algorithm::Es256, &json!({}), &json!({})).unwrap_err();
    assert!(problem.contains("PS256, PS384"), "{problem}");
    assert!(SigningKey::secret(b"short").unwrap_err().contains("5 bytes"));
}

#[test]
fn nothing_of_a_key_or_a_token_is_shown() {
    let secret = "S3cr3t".repeat(8);
    let text = sign::hs256(&json!({ "alg": "HS256" }), &json!({ "sub": "S3cr3t" }), secret.as_bytes());
    let shown = format!(
        "{:?} {:?} {:?} {:?}",
        Key::hmac(secret.as_bytes(), &Algorithm::ALL),
        SigningKey::secret(secret.as_bytes()).unwrap(),
        Compact::parse(&text).unwrap(),
        public(sample!("p256.public"))
    );
    let bytes = format!("{:?}", secret.as_bytes());
    for hidden in ["S3cr3t", bytes.trim_matches(['[', ']']), text.rsplit_once('.').unwrap().1] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

#[test]
fn sets_are_read_and_say_what_is_left_out() {
    let elliptic = json!({ "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" });
    let with = |changes: Value| {
        let mut key = elliptic.clone();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    };
    let rsa = |n: &str, e: &str| json!({ "kty": "RSA", "n": n, "e": e });
    for (key, said) in [
        (with(json!({ "use": "enc" })), "not for signatures"),
        (with(json!({ "use": 5 })), "`use` is not a text"),
        (with(json!({ "key_ops": ["sign"] })), "not for verifying"),
        (with(json!({ "key_ops": "verify" })), "not for verifying"),
        (with(json!({ "kty": "oct", "k": "AAAA" })), "nobody's secret"),
        (with(json!({ "kty": "PQC" })), "`kty`) is not supported"),
        (with(json!({ "kty": "OKP", "crv": "X25519" })), "`crv`) is not supported"),
        (with(json!({ "crv": "P-521" })), "`crv`) is not supported"),
        (with(json!({ "crv": "secp256k1" })), "`crv`) is not supported"),
        (with(json!({ "crv": "P-384" })), "32 and 32 bytes instead of 48"),
        (with(json!({ "d": "AAAA" })), "private key"),
        (with(json!({ "alg": "RS256" })), "`alg`) is not supported, or not one for such a key"),
        (with(json!({ "alg": "none" })), "`alg`) is not supported"),
        (with(json!({ "x": "AAAA" })), "3 and 32 bytes instead of 32"),
        (with(json!({ "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1" })), "`y` is not base64url"),
        (with(json!({ "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5aw" })), "not a point of its curve"),
        (with(json!({ "kid": 7 })), "`kid` is not a text"),
        (rsa(A2_MODULUS, "AQ"), "exponent 1"),
        (rsa(A2_MODULUS, "Ag"), "exponent 2"),
        (rsa("AQAB", "AQAB"), "17 bits"),
        (rsa(A2_MODULUS.trim_end_matches('Q'), "AQAB"), "`n` is not base64url"),
        (json!({ "kty": "RSA", "e": "AQAB" }), "no `n`"),
        (json!({}), "no `kty`"),
        (json!("key"), "not a JSON object"),
    ] {
        let set = KeySet::parse(json!({ "keys": [elliptic, key] }).to_string().as_bytes()).unwrap();
        assert_eq!((set.len(), set.left_out().len()), (1, 1), "{key}");
        assert!(set.left_out()[0].contains(said) && set.left_out()[0].starts_with("key "), "{:?}", set.left_out());
    }
    for (bytes, said) in [
        (&b""[..], "not JSON"),
        (b"<html>", "not JSON"),
        (b"[]", "no list `keys`"),
        (br#"{"keys":{}}"#, "no list `keys`"),
        (&vec![b' '; (256 << 10) + 1], "256 KiB"),
        (json!({ "keys": vec![0; 101] }).to_string().as_bytes(), "101 keys"),
        ("[".repeat(10_000).as_bytes(), "not JSON"),
    ] {
        let problem = KeySet::parse(bytes).unwrap_err();
        assert!(problem.contains(said), "{problem}");
    }
    assert!(KeySet::parse(br#"{"keys":[]}"#).unwrap().is_empty());
}

#[test]
fn keys_of_a_set_are_found_by_id_and_algorithm() {
    let rsa = json!({ "kty": "RSA", "n": A2_MODULUS, "e": "AQAB" });
    let with = |changes: Value| {
        let mut key = rsa.clone();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    };
    let set = json!({ "keys": [
        with(json!({ "kid": "one", "alg": "RS256", "use": "sig", "key_ops": ["verify"], "x5u": "https://x.example" })),
        with(json!({ "kid": "one" })),
        with(json!({})),
        { "kty": "OKP", "crv": "Ed25519", "kid": "two", "alg": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" },
    ] });
    let set = KeySet::parse(set.to_string().as_bytes()).unwrap();
    assert_eq!((set.len(), set.left_out()), (4, &[] as &[String]));
    assert!(set.knows("one") && set.knows("two") && !set.knows("") && !set.knows("ONE"));
    let found = |id, algorithm| set.find(id, algorithm).count();
    assert_eq!(found(Some("one"), Algorithm::Rs256), 2);
    assert_eq!(found(Some("one"), Algorithm::Ps256), 1);
    assert_eq!(found(None, Algorithm::Rs256), 3);
    assert_eq!(found(Some("two"), Algorithm::Rs256), 0);
    assert_eq!(found(Some("two"), Algorithm::EdDsa), 1);
    assert_eq!(found(None, Algorithm::Hs256), 0);
    // Neither an empty id nor an unknown one means any.
    assert_eq!(found(Some(""), Algorithm::Rs256) + found(Some("three"), Algorithm::Rs256), 0);
}

proptest! {
    #[test]
    fn no_text_makes_parsing_panic(text in any::<String>(), parts in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
        let _ = Compact::parse(&text);
        let _ = KeySet::parse(text.as_bytes());
        let _ = text.parse::<PublicKey>();
        let parts: Vec<_> = parts.iter().map(encoded).collect();
        let _ = Compact::parse(&parts.join("."));
    }

    #[test]
    fn a_changed_token_never_verifies(index in 0_usize..5, at in any::<prop::sample::Index>(), byte in 0_u8..128) {
        let (signer, verifier) = &pairs()[index];
        let algorithm = signer.algorithms()[0];
        let text = signer.sign(algorithm, &json!({ "typ": "JWT" }), &json!({ "sub": "ada", "n": 1.5 })).unwrap();
        let mut changed = text.clone().into_bytes();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        let changed = String::from_utf8(changed).unwrap();
        let is_good = |text: &str| Compact::parse(text).is_ok_and(|token| verifier.verify(algorithm, &token));
        prop_assert!(is_good(&text));
        prop_assert!(!is_good(&changed), "{changed}");
    }
}
