//! What attackers send. Names begin with the row of the threat model.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use ring::hmac;
use serde_json::json;

use super::tests::{SECRET, decoded, encoded, pairs, public, sample};
use super::*;
use crate::config::scalar::SHORTEST_SECRET;

/// A token of exactly this header and these claims.
fn token(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>, secret: &[u8]) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", encoded(tag))
}

fn refusal(text: &str) -> Malformed {
    let refusal = Compact::parse(text).expect_err(text);
    assert!(!refusal.to_string().is_empty());
    refusal
}

/// Whether any key here takes the token, with any algorithm.
fn is_good(text: &str) -> bool {
    let Ok(token) = Compact::parse(text) else { return false };
    let keys = pairs();
    keys.iter().any(|(_, key)| Algorithm::ALL.into_iter().any(|algorithm| key.verify(algorithm, &token)))
}

#[test]
fn j1_a_token_says_how_it_is_signed_or_is_refused() {
    assert!(is_good(&token(r#"{"alg":"HS256"}"#, "{}", SECRET)));
    for alg in
        ["none", "None", "NONE", "nOnE", "", " HS256", "hs256", "HS256\\u0000", "HS256 ", "HS1", "RS256", "ES512"]
    {
        let header = format!(r#"{{"alg":"{alg}"}}"#);
        assert!(!is_good(&token(&header, "{}", SECRET)), "{alg}");
        let unsigned = format!("{}.{}.", encoded(&header), encoded("{}"));
        assert_eq!(refusal(&unsigned), Malformed::Unsigned);
    }
    for header in [r#"{"alg":["HS256"]}"#, r#"{"alg":["none"]}"#, r#"{"alg":null}"#, r#"{"alg":true}"#, r#"{"alg":{}}"#]
    {
        assert_eq!(refusal(&token(header, "{}", SECRET)), Malformed::NotAText("alg"), "{header}");
    }
    let absent = token("{}", "{}", SECRET);
    assert_eq!(Compact::parse(&absent).unwrap().header().algorithm(), None);
    assert!(!is_good(&absent));
    // Two names for what a token is signed with: the second would be the one that counts.
    let twice = token(r#"{"alg":"none","alg":"HS256"}"#, "{}", SECRET);
    assert_eq!(refusal(&twice), Malformed::DuplicateName(Part::Header, "alg".to_owned()));
    let spelled = token(r#"{"alg":"HS256","\u0061lg":"none"}"#, "{}", SECRET);
    assert_eq!(refusal(&spelled), Malformed::DuplicateName(Part::Header, "alg".to_owned()));
}

#[test]
fn j2_a_public_key_is_never_a_secret() {
    for pem in [sample!("rsa.public"), sample!("rsa.pkcs1.public"), sample!("p256.public"), sample!("ed25519.public")] {
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(&body).unwrap();
        // Of an Ed25519 key the bytes themselves, as they stand in a set.
        let secrets = [pem.as_bytes(), pem.trim_end().as_bytes(), body.as_bytes(), &der, &der[der.len() - 32..]];
        for alg in ["HS256", "RS256", "ES256", "EdDSA", "PS256"] {
            for secret in secrets {
                assert!(!is_good(&token(format!(r#"{{"alg":"{alg}"}}"#), "{}", secret)), "{alg}");
            }
        }
        let key = public(pem);
        assert!(key.algorithms().iter().all(|algorithm| !algorithm.is_symmetric()));
        // An allow-list takes away and never adds.
        assert!(key.restrict(&[Algorithm::Hs256]).algorithms().is_empty());
    }
    assert!(Key::hmac(SECRET, &[Algorithm::Rs256, Algorithm::Es256]).algorithms().is_empty());
}

#[test]
fn j3_an_id_is_compared_and_nothing_else_of_a_header_is_used() {
    let jwk = json!({ "kty": "oct", "k": encoded(SECRET), "kid": "mine" });
    let own = [
        json!({ "alg": "HS256", "jwk": jwk }),
        json!({ "alg": "HS256", "jku": "https://attacker.example/jwks.json" }),
        json!({ "alg": "HS256", "x5u": "https://attacker.example/cert.pem" }),
        json!({ "alg": "HS256", "x5c": ["AAAA"], "x5t": "AAAA" }),
    ];
    for header in own {
        let text = token(header.to_string(), "{}", b"the secret of an attacker, long enough");
        // It is read, and the key is still the configured one.
        assert!(Compact::parse(&text).is_ok() && !is_good(&text), "{header}");
        assert!(is_good(&token(header.to_string(), "{}", SECRET)), "{header}");
    }
    let set = KeySet::parse(
        br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"two","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    );
    let set = set.unwrap();
    for id in
        ["../../../../dev/null", "/dev/null", "two' OR '1'='1", "two\0", "two ", "TWO", "*", "", "file:///etc/passwd"]
    {
        let text = token(json!({ "alg": "EdDSA", "kid": id }).to_string(), "{}", b"");
        let token = Compact::parse(&text).unwrap();
        assert_eq!(token.header().kid.as_deref(), Some(id));
        assert!(!set.knows(id) && set.find(Some(id), Algorithm::EdDsa).next().is_none(), "{id}");
    }
    for header in [r#"{"alg":"HS256","kid":["two"]}"#, r#"{"alg":"HS256","kid":0}"#, r#"{"alg":"HS256","kid":null}"#] {
        assert_eq!(refusal(&token(header, "{}", SECRET)), Malformed::NotAText("kid"));
    }
}

#[test]
fn j4_extensions_encryption_and_compression_are_refused() {
    for (header, expected) in [
        (r#"{"alg":"HS256","crit":["exp"],"exp":1}"#, Malformed::Critical),
        (r#"{"alg":"HS256","crit":[]}"#, Malformed::Critical),
        (r#"{"alg":"HS256","crit":null}"#, Malformed::Critical),
        (r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, Malformed::Critical),
        (r#"{"alg":"HS256","b64":false}"#, Malformed::Critical),
        (r#"{"alg":"HS256","b64":true}"#, Malformed::Critical),
        (r#"{"alg":"HS256","zip":"DEF"}"#, Malformed::Compressed),
        (r#"{"alg":"dir","enc":"A256GCM"}"#, Malformed::Encrypted),
        (r#"{"alg":"HS256","typ":1}"#, Malformed::NotAText("typ")),
    ] {
        assert_eq!(refusal(&token(header, "{}", SECRET)), expected, "{header}");
    }
    assert_eq!(refusal("eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aXY.Y2lwaGVy.dGFn"), Malformed::Encrypted);
}

#[test]
fn j5_claims_have_one_reading() {
    let header = r#"{"alg":"HS256"}"#;
    let duplicate = |name: &str| Malformed::DuplicateName(Part::Claims, name.to_owned());
    for (claims, expected) in [
        (r#"{"sub":"a","sub":"b"}"#, duplicate("sub")),
        (r#"{"sub":"a","s\u0075b":"b"}"#, duplicate("sub")),
        (r#"{"fixed_params":{"company_id":"a","company_id":"b"}}"#, duplicate("company_id")),
        (r#"{"scopes":[{"type":1},{"type":1,"type":2}]}"#, duplicate("type")),
        (r#"{"exp":1e999}"#, Malformed::Json(Part::Claims)),
        (r#"{"exp":NaN}"#, Malformed::Json(Part::Claims)),
        (r#"{"exp":01}"#, Malformed::Json(Part::Claims)),
        (r#"{"a":"\ud800"}"#, Malformed::Json(Part::Claims)),
        (r#"{"a":1}{"a":2}"#, Malformed::Json(Part::Claims)),
        (r#"{"a":1,}"#, Malformed::Json(Part::Claims)),
        ("\u{feff}{}", Malformed::Json(Part::Claims)),
        ("[]", Malformed::Json(Part::Claims)),
        ("\"text\"", Malformed::Json(Part::Claims)),
        ("null", Malformed::Json(Part::Claims)),
        ("", Malformed::Json(Part::Claims)),
    ] {
        assert_eq!(refusal(&token(header, claims, SECRET)), expected, "{claims}");
    }
    assert_eq!(refusal(&token(header, b"{\"a\":\"\xff\"}", SECRET)), Malformed::Json(Part::Claims));
    assert_eq!(refusal(&token("[]", "{}", SECRET)), Malformed::Json(Part::Header));
    // What can be read without a doubt is, however odd: judging it is for whoever knows what it means.
    let odd = token(
        header,
        r#"{"exp":1e300,"nbf":-1.5,"iat":340282366920938463463374607431768211456,"big":18446744073709551615,"":1}"#,
        SECRET,
    );
    let claims = Compact::parse(&odd).unwrap().into_claims();
    assert_eq!(claims["big"], u64::MAX);
    assert!(claims["exp"].is_number() && claims["iat"].is_f64() && claims["nbf"].as_f64() == Some(-1.5));
    let repeated = token(header, r#"{"a":{"x":1},"b":{"x":1},"x":[{"x":1}]}"#, SECRET);
    assert!(Compact::parse(&repeated).is_ok());
}

#[test]
fn j6_a_short_secret_lets_nobody_in() {
    for length in [0, 1, SHORTEST_SECRET - 1] {
        let secret = &SECRET[..length];
        let text = token(r#"{"alg":"HS256"}"#, "{}", secret);
        let key = Key::hmac(secret, &Algorithm::ALL);
        assert!(key.algorithms().is_empty() && !key.verify(Algorithm::Hs256, &Compact::parse(&text).unwrap()));
    }
    assert_eq!(Key::hmac(&SECRET[..SHORTEST_SECRET], &Algorithm::ALL).algorithms().len(), 3);
}

/// A good token of each kind with its signature replaced.
fn with_signature(index: usize, change: impl Fn(Vec<u8>) -> Vec<u8>) -> String {
    let (signer, verifier) = &pairs()[index];
    let algorithm = *signer.algorithms().last().unwrap();
    let text = signer.sign(algorithm, &json!({}), &json!({ "sub": "ada" })).unwrap();
    assert!(verifier.verify(algorithm, &Compact::parse(&text).unwrap()));
    let (message, signature) = text.rsplit_once('.').unwrap();
    format!("{message}.{}", encoded(change(decoded(signature))))
}

#[test]
fn j7_a_signature_is_whole_and_in_one_form() {
    for index in 0..5 {
        type Change = fn(Vec<u8>) -> Vec<u8>;
        let changes: [Change; 8] = [
            |signature| vec![0; signature.len()],
            |signature| vec![0xff; signature.len()],
            |signature| signature[..signature.len() - 1].to_vec(),
            |signature| signature[1..].to_vec(),
            |signature| signature[..16].to_vec(),
            |signature| [signature, vec![0]].concat(),
            |signature| [vec![0], signature].concat(),
            |_| vec![0],
        ];
        for (change, of) in changes.iter().zip(0..) {
            assert!(!is_good(&with_signature(index, change)), "key {index}, change {of}");
        }
    }
    for index in [2, 3] {
        // r || s, and what it is in DER, which other programs send.
        assert!(!is_good(&with_signature(index, |signature| in_der(&signature))));
        // One half zero; s above the order.
        let half = |signature: &[u8]| signature.len() / 2;
        assert!(!is_good(&with_signature(index, |mut it| {
            let half = half(&it);
            it[..half].fill(0);
            it
        })));
        assert!(!is_good(&with_signature(index, |mut it| {
            let half = half(&it);
            it[half..].fill(0);
            it
        })));
        assert!(!is_good(&with_signature(index, |mut it| {
            let half = half(&it);
            it[half..].fill(0xff);
            it
        })));
    }
}

fn in_der(signature: &[u8]) -> Vec<u8> {
    let integer = |half: &[u8]| {
        let zeros = half.iter().take_while(|byte| **byte == 0).count();
        let sign = if half[zeros] >= 0x80 { &[0][..] } else { &[] };
        let number = [sign, &half[zeros..]].concat();
        [vec![2, u8::try_from(number.len()).unwrap()], number].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let body = [integer(r), integer(s)].concat();
    [vec![0x30, u8::try_from(body.len()).unwrap()], body].concat()
}

/// S and S + L sign the same, so that one token would have two forms (RFC 8032, 5.1.7).
#[test]
fn j7_ed25519_signatures_are_not_malleable() {
    // The order of the group, its lowest byte first.
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let text = with_signature(4, |mut signature| {
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = (sum & 0xff) as u8;
            carry = sum >> 8;
        }
        signature
    });
    assert!(Compact::parse(&text).is_ok() && !is_good(&text));
}

/// The same lies in ECDSA itself: r and n-s are as good, which nothing here relies on.
#[test]
fn j7_the_second_form_of_an_ecdsa_signature_is_known_of() {
    let order = decoded("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE");
    let text = with_signature(2, |mut signature| {
        let mut borrow = 0;
        for (byte, of) in signature[32..].iter_mut().zip(&order).rev() {
            let difference = i16::from(*of) - i16::from(*byte) - borrow;
            *byte = difference.rem_euclid(256) as u8;
            borrow = i16::from(difference < 0);
        }
        signature
    });
    assert!(is_good(&text));
}

#[test]
fn j7_base64_has_one_form() {
    let good = token(r#"{"alg":"HS256"}"#, r#"{"sub":"ada??>>"}"#, SECRET);
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = [parts[0], parts[1], parts[2]];
    assert!(claims.contains('_') && is_good(&good));
    let plain = claims.replace('-', "+").replace('_', "/");
    for (text, part) in [
        (format!("{header}=.{claims}.{signature}"), Part::Header),
        (format!("{header}.{plain}.{signature}"), Part::Claims),
        (format!("{header}.{claims}.{signature}="), Part::Signature),
        (format!("{header}.{claims}.{signature} "), Part::Signature),
        (format!("{header}.{claims}.{signature}\n"), Part::Signature),
        (format!(" {header}.{claims}.{signature}"), Part::Header),
        (format!("{header}.{claims} .{signature}"), Part::Claims),
        (format!("{header}.{claims}.{}\r\n{}", &signature[..9], &signature[9..]), Part::Signature),
        (format!("{header}.{claims}.{signature}\0"), Part::Signature),
        (format!("{header}.{claims}.ä"), Part::Signature),
        (format!("{header}.{claims}.A"), Part::Signature),
    ] {
        assert_eq!(refusal(&text), Malformed::Base64(part), "{text}");
    }
    // 32 bytes in 43 letters leave two bits, which have to be zero: of the four last letters, one is right.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(signature.chars().last().unwrap()).unwrap();
    for bits in 1..4 {
        let changed = format!("{}{}", &signature[..signature.len() - 1], &alphabet[last + bits..=last + bits]);
        let text = format!("{header}.{claims}.{changed}");
        assert_eq!(refusal(&text), Malformed::Base64(Part::Signature), "{changed}");
    }
    assert!(URL_SAFE.decode(format!("{signature}=")).is_ok(), "padded, it would have been good elsewhere");
    for text in ["", ".", "..", "...", "a", "a.b", "a.b.c.d", "a.b.c.d.e.f"] {
        assert!(Compact::parse(text).is_err(), "{text}");
    }
    for text in ["", "a", "a.b", "a.b.c.d", "a.b.c.d.e.f"] {
        assert_eq!(refusal(text), Malformed::NotThreeParts);
    }
}

#[test]
fn j8_a_token_is_short_and_flat() {
    let header = r#"{"alg":"HS256"}"#;
    // Looked at before the rest: whatever stands in it, and however much.
    assert_eq!(refusal(&"a".repeat(1 << 20)), Malformed::TooLong);
    assert_eq!(refusal(&".".repeat(1 << 20)), Malformed::TooLong);
    let filled = |length: usize| token(header, json!({ "a": "x".repeat(length) }).to_string(), SECRET);
    let fits = (0..).map(|less| filled(12_300 - less)).find(|text| text.len() <= MAX_TOKEN).unwrap();
    assert!(fits.len() > MAX_TOKEN - 4 && is_good(&fits));
    assert_eq!(refusal(&filled(12_300)), Malformed::TooLong);
    for depth in [100, 127] {
        let nested = format!(r#"{{"a":{}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
        assert!(Compact::parse(&token(header, nested, SECRET)).is_ok(), "{depth}");
    }
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for depth in [128, 2_000] {
            let nested = format!(r#"{{"a":{}1{}}}"#, open.repeat(depth), close.repeat(depth));
            assert_eq!(refusal(&token(header, nested, SECRET)), Malformed::Json(Part::Claims));
            let unclosed = format!(r#"{{"a":{}"#, open.repeat(depth));
            assert_eq!(refusal(&token(header, unclosed, SECRET)), Malformed::Json(Part::Claims));
        }
    }
}

#[test]
fn what_is_said_of_a_token_is_short_and_has_no_control_characters() {
    let name = format!("\\u001b[2J{}", "x".repeat(5_000));
    let text = token(r#"{"alg":"HS256"}"#, format!(r#"{{"{name}":1,"{name}":2}}"#), SECRET);
    let said = refusal(&text).to_string();
    assert!(said.len() < 200 && !said.chars().any(char::is_control), "{said}");
}
