//! `auth` against forged, odd and doubled credentials: what is refused, with which status, and that nothing goes upstream.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use tollgate::clock::TestClock;

use crate::support::client::{Request, Response};
use crate::support::credentials::{
    ADMIN, ISSUER, NOW, PROVIDERS, SECRET, WORKSPACE, api_key, claims, claims_with, dashboard, hs256, jwt, mac, record,
    signed, tinybird, tinybird_with,
};
use crate::support::eventually::eventually_async;
use crate::support::gateway::{TestGateway, assert_refused};
use crate::support::h2_client::H2Client;
use crate::support::identity_provider::{IdentityProvider, Lie};

const HS: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

/// `/top` for all, and a route for each provider alone.
const ROUTES: &str = r#"routes:
  /top: { pipe: top, auth: [dashboards, employees, partners], params: { fixed: { company_id: "{tenant}" } } }
  /t: { pipe: top, auth: dashboards, params: { fixed: { company_id: "{tenant}" } } }
  /j: { pipe: top, auth: employees, params: { fixed: { company_id: "{tenant}" } } }
  /k: { pipe: top, auth: partners, params: { fixed: { company_id: "{tenant}" } } }
"#;

fn key() -> String {
    api_key("Aaaaaaaaaaa1", "acme's key")
}

fn gateway() -> (TestGateway, TestClock) {
    let time = TestClock::new();
    let folder = tempfile::tempdir().expect("a folder for the test");
    std::fs::write(folder.path().join("keys.yaml"), record(&key(), ", tenant: acme")).expect("a file");
    let gw = TestGateway::from_folder(folder, &format!("{PROVIDERS}{ROUTES}"), time.clock());
    (gw, time)
}

async fn call(gw: &TestGateway, path: &str, token: &str) -> Response {
    Request::get(path).bearer(token).send(gw.addr()).await
}

/// A minute later: what was refused so far is not counted against the address any more.
fn next_minute(time: &TestClock) {
    time.advance(Duration::from_secs(61));
}

async fn assert_rejected(gw: &TestGateway, path: &str, token: &str, status: u16) {
    let response = call(gw, path, token).await;
    assert_refused(&response, status, "credential_invalid");
    assert_eq!(response.header("www-authenticate").is_some(), status == 401, "{path} {token}");
    assert!(!response.contains(token), "{token}");
    for word in ["acme", "dashboards", "employees", "partners", "keys.yaml", WORKSPACE, ISSUER] {
        assert!(!response.contains(word), "{word} in {}", response.body_text());
    }
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn good_credentials_of_every_kind_open_the_tenants_rows() {
    let (gw, _) = gateway();
    for (path, token) in [
        ("/top", dashboard("top", "acme")),
        ("/top", jwt(&claims())),
        ("/top", key()),
        ("/t", dashboard("top", "acme")),
        ("/j", jwt(&claims())),
        ("/k", key()),
    ] {
        gw.origin.forget_requests();
        let response = call(&gw, &format!("{path}?company_id=beta&limit=5"), &token).await;
        assert_eq!(response.status, 200, "{path}: {}", response.body_text());
        let seen = gw.origin.only_request();
        assert_eq!(seen.target, "/v0/pipes/top.json?limit=5&company_id=acme", "{path}");
        assert!(!seen.contains(&token), "{path}");
    }
}

#[tokio::test]
async fn j1_unsigned_tokens_and_other_algorithms_are_refused() {
    let (gw, time) = gateway();
    let later = json!({ "exp": NOW + 100_000 });
    let (body, own) = (claims_with(&later).to_string(), tinybird_with("top", &later).to_string());
    for alg in [
        r#""none""#,
        r#""None""#,
        r#""NONE""#,
        r#""nOnE""#,
        r#""""#,
        "null",
        "[]",
        r#"["HS256"]"#,
        r#"["none","HS256"]"#,
        "256",
        "true",
        r#"{"alg":"HS256"}"#,
        r#""hs256""#,
        r#""HS256 ""#,
        r#""HS384""#,
        r#""HS512""#,
        r#""RS256""#,
        r#""ES256""#,
        r#""HS256\u0000""#,
    ] {
        let header = format!(r#"{{"alg":{alg},"typ":"JWT"}}"#);
        let front = |claims: &str| format!("{}.{}", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(claims));
        for token in
            [hs256(&header, &body, SECRET), hs256(&header, &body, ""), format!("{}.", front(&body)), front(&body)]
        {
            assert_rejected(&gw, "/j", &token, 401).await;
        }
        // A header that can be read, of a workspace that is known: that provider's word. Else nobody's.
        for token in [hs256(&header, &own, ADMIN), hs256(&header, &own, "")] {
            let response = call(&gw, "/t", &token).await;
            let readable = alg.starts_with('"');
            assert_refused(&response, if readable { 403 } else { 401 }, "credential_invalid");
        }
        for token in [format!("{}.", front(&own)), front(&own)] {
            assert_rejected(&gw, "/t", &token, 401).await;
        }
        gw.origin.assert_untouched();
        next_minute(&time);
    }
    // Only a Tinybird JWT may leave it out.
    assert_rejected(&gw, "/j", &hs256(r#"{"typ":"JWT"}"#, &body, SECRET), 401).await;
    assert_rejected(&gw, "/j", &hs256("{}", &body, SECRET), 401).await;
    // One token twice in its header: which of them counts?
    assert_rejected(&gw, "/j", &hs256(r#"{"alg":"none","alg":"HS256"}"#, &body, SECRET), 401).await;
    assert_rejected(&gw, "/j", &hs256(r#"{"alg":"HS256","\u0061lg":"none"}"#, &body, SECRET), 401).await;
    assert_eq!(call(&gw, "/t", &hs256("{}", &own, ADMIN)).await.status, 200);
}

/// Providers whose public keys are written, fetched or both.
fn public_keys(provider: &IdentityProvider) -> String {
    let rsa = include_str!("../jose/rsa.public.pem").replace('\n', "\n      ");
    format!(
        r#"auth:
  fetched: {{ type: jwt, issuer: "{issuer}", jwks: "{jwks}", audience: analytics, tenant: "{{claims.org_id}}" }}
  written:
    type: jwt
    issuer: https://written.example/
    audience: analytics
    tenant: "{{claims.org_id}}"
    key: |
      {rsa}
routes:
  /f: {{ pipe: top, auth: [fetched, written], params: {{ fixed: {{ company_id: "{{tenant}}" }} }} }}
"#,
        issuer = provider.issuer(),
        jwks = provider.jwks_url(),
    )
}

async fn with_public_keys(provider: &IdentityProvider) -> (TestGateway, TestClock) {
    let time = TestClock::new();
    let gw = TestGateway::with_clock(&public_keys(provider), &time);
    let good = provider.sign(&claims_with(&json!({ "iss": provider.issuer() })), "es-1");
    eventually_async("the first keys", async || call(&gw, "/f", &good).await.status == 200).await;
    gw.origin.forget_requests();
    (gw, time)
}

#[tokio::test]
async fn j2_public_keys_are_never_secrets() {
    let provider = IdentityProvider::start();
    provider.rotate(["rs-1", "es-1", "ed-1"]);
    let (gw, time) = with_public_keys(&provider).await;
    let pem = include_str!("../jose/rsa.public.pem");
    let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap();
    let written = claims_with(&json!({ "iss": "https://written.example/" })).to_string();
    let secrets: [&[u8]; 5] = [pem.as_bytes(), pem.trim_end().as_bytes(), &der, b"", b"public"];
    for secret in secrets {
        for alg in ["HS256", "HS384", "HS512", "none", "RS256"] {
            let header = format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
            assert_rejected(&gw, "/f", &signed(&header, &written, |message| mac(secret, message)), 401).await;
        }
    }
    next_minute(&time);
    let fetched = claims_with(&json!({ "iss": provider.issuer() })).to_string();
    for id in ["rs-1", "es-1", "ed-1"] {
        let key = provider.public_key(id);
        let member = |name: &str| key[name].as_str().map(|text| URL_SAFE_NO_PAD.decode(text).unwrap());
        let secrets = [Some(key.to_string().into_bytes()), member("n"), member("x"), Some(Vec::new())];
        for secret in secrets.into_iter().flatten() {
            for header in [json!({ "alg": "HS256", "kid": id }), json!({ "alg": "HS256" })] {
                let token = signed(&header.to_string(), &fetched, |message| mac(&secret, message));
                assert_rejected(&gw, "/f", &token, 401).await;
            }
        }
        // A key for one algorithm is not one for another of its family.
        for alg in ["RS384", "PS256", "ES384", "EdDSA", "RS256", "ES256"] {
            if key["alg"] != alg {
                let token =
                    provider.sign_as(&json!({ "alg": alg, "kid": id }), &serde_json::from_str(&fetched).unwrap(), id);
                assert_rejected(&gw, "/f", &token, 401).await;
            }
        }
    }
    gw.assert_alive().await;
}

#[tokio::test]
async fn j2_a_secret_that_a_provider_publishes_signs_nothing() {
    let provider = IdentityProvider::start();
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA";
    let set = json!({ "keys": [
        { "kty": "oct", "k": secret, "kid": "oct-1", "alg": "HS256", "use": "sig" },
        provider.public_key("es-1"),
    ] });
    provider.lie(Lie::Says(set.to_string()));
    let (gw, _) = with_public_keys(&provider).await;
    let claims = claims_with(&json!({ "iss": provider.issuer() })).to_string();
    for key in [URL_SAFE_NO_PAD.decode(secret).unwrap(), secret.as_bytes().to_vec()] {
        for header in [
            json!({ "alg": "HS256", "kid": "oct-1" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "HS256", "kid": "es-1" }),
        ] {
            let token = signed(&header.to_string(), &claims, |message| mac(&key, message));
            assert_rejected(&gw, "/f", &token, 401).await;
        }
    }
}

#[tokio::test]
async fn j3_nothing_that_a_header_brings_along_is_believed_or_fetched() {
    let provider = IdentityProvider::start();
    let thief = IdentityProvider::start();
    let (gw, time) = with_public_keys(&provider).await;
    let before = provider.paths().len();
    let claims = claims_with(&json!({ "iss": provider.issuer() }));
    let elsewhere = thief.jwks_url();
    let own = thief.public_key("es-1");
    let headers = [
        json!({ "jku": elsewhere }),
        json!({ "x5u": elsewhere }),
        json!({ "jwk": own }),
        json!({ "x5c": ["MIIB"] }),
        json!({ "jku": elsewhere, "jwk": own, "x5u": elsewhere, "x5t": "a", "x5t#S256": "b" }),
        json!({ "jku": "file:///etc/passwd" }),
        json!({ "jwk": { "kty": "oct", "k": "" } }),
    ];
    for more in headers {
        for kid in [Some("es-1"), None] {
            let mut header = json!({ "alg": "ES256", "typ": "JWT" });
            header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            if let Some(kid) = kid {
                header["kid"] = kid.into();
            }
            assert_rejected(&gw, "/f", &thief.sign_as(&header, &claims, "es-1"), 401).await;
            // The same words in a token with a good signature mean nothing.
            let good = call(&gw, "/f", &provider.sign_as(&header, &claims, "es-1")).await;
            assert_eq!(good.status, 200, "{header}");
            gw.origin.requests(1).await;
            gw.origin.forget_requests();
        }
    }
    for kid in [
        "../../../../etc/passwd",
        "/dev/null",
        "' OR 1=1 --",
        "es-1' UNION SELECT 'a",
        "es-1\u{0}",
        "$(id)",
        "es-1 ",
        "ES-1",
        "\u{202e}es-1",
        "{}",
        "",
        "%65s-1",
        "http://127.0.0.1/",
        "a\r\nX: y",
    ] {
        let token = thief.sign_as(&json!({ "alg": "ES256", "kid": kid }), &claims, "es-1");
        assert_rejected(&gw, "/f", &token, 401).await;
        let token = hs256(&json!({ "alg": "HS256", "kid": kid }).to_string(), &claims.to_string(), "");
        assert_rejected(&gw, "/f", &token, 401).await;
    }
    for kid in [json!(null), json!(1), json!(["es-1"]), json!({ "a": 1 })] {
        let token = provider.sign_as(&json!({ "alg": "ES256", "kid": kid }), &claims, "es-1");
        assert_rejected(&gw, "/f", &token, 401).await;
    }
    assert_eq!(thief.paths(), Vec::<String>::new(), "nobody went where a token pointed");
    assert_eq!(provider.paths().len(), before, "and the clock stands still, so nobody asked again");
    drop((gw, time));
}

#[tokio::test]
async fn j4_extensions_that_are_not_understood_are_refused() {
    let (gw, _) = gateway();
    for more in [
        r#""crit":["exp"]"#,
        r#""crit":[]"#,
        r#""crit":["b64"],"b64":false"#,
        r#""b64":false"#,
        r#""b64":true"#,
        r#""zip":"DEF""#,
        r#""enc":"A128GCM""#,
        r#""crit":["x"],"x":1"#,
        r#""crit":null"#,
        r#""typ":1"#,
    ] {
        let header = format!(r#"{{"alg":"HS256",{more}}}"#);
        assert_rejected(&gw, "/j", &hs256(&header, &claims().to_string(), SECRET), 401).await;
        let token = hs256(&header, &tinybird_with("top", &json!({})).to_string(), ADMIN);
        let response = call(&gw, "/t", &token).await;
        assert!([401, 403].contains(&response.status), "{more}: {}", response.status);
        assert_eq!(response.json()["code"], "credential_invalid");
    }
    // An encrypted token has five parts.
    let good = jwt(&claims());
    for token in
        [format!("{good}.a.b"), format!("{good}."), format!(".{good}"), format!("{good}.a"), good.replace('.', "..")]
    {
        assert_rejected(&gw, "/j", &token, 401).await;
    }
    for typ in ["secevent+jwt", "dpop+jwt", "logout+jwt", "application/logout+jwt", "JWE"] {
        let header = json!({ "alg": "HS256", "typ": typ }).to_string();
        assert_rejected(&gw, "/j", &hs256(&header, &claims().to_string(), SECRET), 401).await;
    }
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        let header = json!({ "alg": "HS256", "typ": typ }).to_string();
        assert_eq!(call(&gw, "/j", &hs256(&header, &claims().to_string(), SECRET)).await.status, 200, "{typ}");
    }
}

#[tokio::test]
async fn j5_claims_that_are_wrong_odd_or_missing_are_refused() {
    let (gw, _) = gateway();
    let max = u64::MAX;
    for changes in [
        json!({ "exp": null }),
        json!({ "exp": NOW.to_string() }),
        json!({ "exp": [NOW + 600] }),
        json!({ "exp": true }),
        json!({ "exp": -1 }),
        json!({ "exp": max }),
        json!({ "exp": 1e300 }),
        json!({ "nbf": NOW + 31 }),
        json!({ "nbf": "soon" }),
        json!({ "nbf": max }),
        json!({ "aud": null }),
        json!({ "aud": "other" }),
        json!({ "aud": "" }),
        json!({ "aud": [] }),
        json!({ "aud": ["other"] }),
        json!({ "aud": ["other", ["analytics"]] }),
        json!({ "aud": { "analytics": true } }),
        json!({ "aud": "analytics2" }),
        json!({ "aud": "Analytics" }),
        json!({ "iss": null }),
        json!({ "iss": "https://id.acme.com" }),
        json!({ "iss": "https://id.acme.com/evil" }),
        json!({ "iss": "HTTPS://ID.ACME.COM/" }),
        json!({ "iss": "https://id.acme.com/ " }),
        json!({ "iss": [ISSUER] }),
    ] {
        assert_rejected(&gw, "/j", &jwt(&claims_with(&changes)), 401).await;
    }
}

#[tokio::test]
async fn j5_payloads_with_two_readings_are_refused_and_right_ones_are_not() {
    let (gw, time) = gateway();
    next_minute(&time);
    let at = NOW + 61;
    for odd in [
        format!(r#"{{"iss":"{ISSUER}","aud":"analytics","exp":1,"exp":{},"org_id":"acme"}}"#, at + 600),
        format!(r#"{{"iss":"{ISSUER}","aud":"analytics","exp":{},"org_id":"acme","org_id":"beta"}}"#, at + 600),
        format!(r#"{{"iss":"{ISSUER}","aud":"analytics","exp":{},"org_id":"acme","org\u005fid":"beta"}}"#, at + 600),
        format!(r#"{{"iss":"{ISSUER}","aud":"analytics","exp":1{},"org_id":"acme"}}"#, "0".repeat(400)),
        format!(r#"{{"iss":"{ISSUER}","aud":"analytics","exp":1e999,"org_id":"acme"}}"#),
        format!(r#"{{"iss":"{ISSUER}","aud":"analytics","exp":NaN,"org_id":"acme"}}"#),
        format!(r#"[{{"iss":"{ISSUER}","aud":"analytics","exp":{},"org_id":"acme"}}]"#, at + 600),
        format!(r#"{{"iss":"{ISSUER}","aud":"analytics","exp":{},"org_id":"acme"}}x"#, at + 600),
        "\"text\"".to_owned(),
        "null".to_owned(),
        String::new(),
        "{".to_owned(),
    ] {
        assert_rejected(&gw, "/j", &hs256(HS, &odd, SECRET), 401).await;
    }
    for nobody in [json!({ "sub": ["a"] }), json!({ "sub": { "id": 1 } }), json!({ "jti": true })] {
        let mut claims = claims_with(&json!({ "exp": at + 600 })).as_object().unwrap().clone();
        claims.extend(nobody.as_object().unwrap().clone());
        assert_rejected(&gw, "/j", &jwt(&Value::Object(claims)), 401).await;
    }
    for fine in [
        json!({ "exp": at as f64 + 0.5 }),
        json!({ "exp": at - 29 }),
        json!({ "nbf": at + 30 }),
        json!({ "nbf": at as f64 + 29.9 }),
        json!({ "aud": ["other", "analytics"] }),
        json!({ "iat": at + 1000 }),
        json!({ "sub": null }),
    ] {
        let base = claims_with(&json!({ "exp": at + 600 }));
        let mut claims = base.as_object().unwrap().clone();
        claims.extend(fine.as_object().unwrap().clone());
        let response = call(&gw, "/j", &jwt(&Value::Object(claims))).await;
        assert_eq!(response.status, 200, "{fine}: {}", response.body_text());
    }
    let expired = call(&gw, "/j", &jwt(&claims_with(&json!({ "exp": at - 30 })))).await;
    assert_refused(&expired, 401, "credential_expired");
    assert!(expired.header("www-authenticate").is_some());
    let expired = call(&gw, "/t", &tinybird(&tinybird_with("top", &json!({ "exp": at })))).await;
    assert_refused(&expired, 403, "credential_expired");
}

#[tokio::test]
async fn j7_signatures_have_one_form_and_are_not_zero() {
    let provider = IdentityProvider::start();
    provider.rotate(["es-1", "ed-1", "rs-1"]);
    let (gw, time) = with_public_keys(&provider).await;
    let claims = claims_with(&json!({ "iss": provider.issuer() }));
    for id in ["es-1", "ed-1", "rs-1"] {
        let good = provider.sign(&claims, id);
        assert_eq!(call(&gw, "/f", &good).await.status, 200);
        gw.origin.forget_requests();
        let (front, signature) = good.rsplit_once('.').unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = bytes.clone();
            change(&mut bytes);
            format!("{front}.{}", URL_SAFE_NO_PAD.encode(bytes))
        };
        let half = bytes.len() / 2;
        let mut forged = vec![
            changed(&|bytes| bytes.fill(0)),
            changed(&|bytes| bytes.fill(0xff)),
            changed(&|bytes| bytes[..half].fill(0)),
            changed(&|bytes| bytes[half..].fill(0)),
            changed(&|bytes| bytes.truncate(half)),
            changed(&|bytes| bytes.push(0)),
            changed(&|bytes| bytes.insert(0, 0)),
            changed(&|bytes| bytes[0] ^= 1),
            changed(&|bytes| *bytes.last_mut().unwrap() ^= 1),
            changed(&|bytes| bytes.rotate_left(half)),
            format!("{front}."),
            format!("{front}.{signature}="),
            format!("{front}.{signature}=="),
            format!("{front}.{}", URL_SAFE.encode(&bytes).replace('=', "%3D")),
            format!("{front}.{}", STANDARD.encode(&bytes)),
            format!("{front}.{signature}A"),
            format!("{}.{signature}", front.replace('.', "=.")),
            format!("{front} .{signature}"),
            format!("{front}.{} {}", &signature[..10], &signature[10..]),
            format!("{front}.{signature}\t"),
        ];
        if id == "es-1" {
            forged.push(changed(&|bytes| *bytes = der(bytes)));
        }
        if id == "ed-1" {
            forged.push(changed(&|bytes| add_order(&mut bytes[32..])));
        }
        // Bits behind the last byte: a second way to write the same token, past a list of revoked ones.
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        if !bytes.len().is_multiple_of(3) {
            let last = signature.chars().last().unwrap();
            let next = alphabet.chars().nth(alphabet.find(last).unwrap() ^ 1).unwrap();
            forged.push(format!("{front}.{}{next}", &signature[..signature.len() - 1]));
        }
        for token in &forged {
            // A blank at the end is the header's, not the token's.
            if token.ends_with('\t') {
                continue;
            }
            assert_rejected(&gw, "/f", token, 401).await;
        }
        next_minute(&time);
    }
}

/// An ECDSA signature as X.509 writes it.
fn der(fixed: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let mut bytes = bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<u8>>();
        if bytes[0] >= 0x80 {
            bytes.insert(0, 0);
        }
        [vec![2, bytes.len() as u8], bytes].concat()
    };
    let (r, s) = fixed.split_at(fixed.len() / 2);
    let body = [integer(r), integer(s)].concat();
    [vec![0x30, body.len() as u8], body].concat()
}

/// S + L: the same equation, another signature (RFC 8032 section 5.1.7).
fn add_order(s: &mut [u8]) {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, other) in s.iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(other) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
}

#[tokio::test]
async fn j8_long_and_deep_tokens_cost_nothing_and_open_nothing() {
    let (gw, time) = gateway();
    let huge = jwt(&claims_with(&json!({ "pad": "a".repeat(1 << 20) })));
    let response = call(&gw, "/j", &huge).await;
    // Pingora's own parser may be first, and closes (behaviour.md, "requests that Pingora's parser refuses").
    assert!([400, 431].contains(&response.status), "{}", response.status);
    let within = jwt(&claims_with(&json!({ "pad": "a".repeat(25 << 10) })));
    assert_refused(&call(&gw, "/j", &within).await, 431, "headers_too_large");
    assert_refused(&gw.get(&format!("/j?token={within}")).await, 414, "uri_too_long");
    let response = Request::get(format!("/j?token={huge}")).send(gw.addr()).await;
    assert!([400, 414].contains(&response.status), "{}", response.status);
    gw.origin.assert_untouched();

    let began = tokio::time::Instant::now();
    let wide = |text: &str| text.repeat(11_000 / text.len());
    for (index, payload) in [
        "[".repeat(11_000),
        format!("{}{}", "[".repeat(5_500), "]".repeat(5_500)),
        r#"{"a":"#.repeat(2_000) + "1" + &"}".repeat(2_000),
        format!(r#"{{"iss":"{ISSUER}","a":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000)),
        format!("{{{}\"iss\":\"{ISSUER}\"}}", wide("\"a\":1,")),
        format!(r#"{{"iss":"{ISSUER}","exp":{}}}"#, "9".repeat(10_000)),
        wide("\\u0000"),
        wide("\u{0}"),
    ]
    .iter()
    .enumerate()
    {
        for token in [hs256(HS, payload, SECRET), hs256(payload, &claims().to_string(), SECRET)] {
            let response = call(&gw, "/j", &token).await;
            assert!([401, 431].contains(&response.status), "{index}: {}", response.status);
        }
    }
    for text in [wide("."), wide("a."), "a".repeat(11_000), wide("eyJ."), "=".repeat(1_000), "\u{7f}".to_owned() + "a"]
    {
        let response = call(&gw, "/j", &text).await;
        assert!([400, 401].contains(&response.status), "{}", response.status);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    gw.origin.assert_untouched();
    gw.assert_alive().await;
    next_minute(&time);
    assert_eq!(call(&gw, "/k", &key()).await.status, 200);
}

const TWO_HEADERS: &str = r#"auth:
  employees: { type: jwt, issuer: "https://id.acme.com/", audience: analytics, secret: a-shared-secret-of-more-than-32-bytes-0123456789, tenant: "{claims.org_id}" }
  partners: { type: api_key, keys: ./keys.yaml, tenant: "{key.tenant}", header: X-API-Key }
routes: { /both: { pipe: top, auth: [employees, partners], params: { fixed: { company_id: "{tenant}" } } } }
"#;

#[tokio::test]
async fn j9_two_credentials_in_one_request_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.yaml"), record(&key(), ", tenant: beta")).unwrap();
    let gw = TestGateway::from_folder(folder, TWO_HEADERS, TestClock::new().clock());
    let (one, other) = (jwt(&claims()), jwt(&claims_with(&json!({ "org_id": "beta" }))));
    let api = key();
    for (what, request) in [
        ("header and query", Request::get(format!("/both?token={other}")).bearer(&one)),
        (
            "header and query, the same tenant",
            Request::get(format!("/both?token={}", jwt(&claims_with(&json!({ "a": 1 }))))).bearer(&one),
        ),
        ("a good one and a bad one", Request::get("/both?token=nonsense").bearer(&one)),
        ("a bad one and a good one", Request::get(format!("/both?token={one}")).bearer("nonsense")),
        ("twice in the query", Request::get(format!("/both?token={one}&token={other}"))),
        ("twice, encoded", Request::get(format!("/both?token={one}&%74oken={other}"))),
        ("two Authorization", Request::get("/both").bearer(&one).bearer(&other)),
        ("Authorization and X-API-Key", Request::get("/both").bearer(&one).header("X-API-Key", &api)),
        ("X-API-Key twice", Request::get("/both").header("X-API-Key", &api).header("X-API-Key", "x")),
        ("X-API-Key and query", Request::get(format!("/both?token={one}")).header("X-API-Key", &api)),
        ("POST", Request::post(format!("/both?token={other}")).bearer(&one).form("limit=5")),
    ] {
        let response = request.send(gw.addr()).await;
        assert_eq!(response.status, 400, "{what}: {}", response.body_text());
        assert_refused(&response, 400, "bad_request");
        gw.origin.assert_untouched();
    }
    for (what, request, tenant) in [
        ("the same in header and query", Request::get(format!("/both?token={one}")).bearer(&one), "acme"),
        ("the same twice in the query", Request::get(format!("/both?token={one}&token={one}")), "acme"),
        ("query alone", Request::get(format!("/both?token={other}")), "beta"),
        ("a key in its header", Request::get("/both").header("X-API-Key", &api), "beta"),
        ("a key in the query", Request::get(format!("/both?token={api}")), "beta"),
        ("bearer in another case", Request::get("/both").header("Authorization", format!("bEaReR {one}")), "acme"),
        ("empty in the query", Request::get("/both?token=").bearer(&one), "acme"),
    ] {
        gw.origin.forget_requests();
        let response = request.send(gw.addr()).await;
        assert_eq!(response.status, 200, "{what}: {}", response.body_text());
        assert_eq!(gw.origin.only_request().target, format!("/v0/pipes/top.json?company_id={tenant}"), "{what}");
    }
    gw.origin.forget_requests();
    // A key where tokens stand, and a token where keys stand.
    assert_refused(&call(&gw, "/both", &api).await, 401, "credential_invalid");
    assert_refused(&Request::get("/both").header("X-API-Key", &one).send(gw.addr()).await, 401, "credential_invalid");
    for odd in ["Basic YTpi", "Bearer", "Bearer ", "Token x", "", "Bearer a b", "Bearer\u{a0}x"] {
        let response = Request::get("/both").header("Authorization", odd).send(gw.addr()).await;
        assert_eq!(response.status, 401, "{odd}: {}", response.body_text());
    }
    // A form is no place for credentials.
    let response = gw.post("/both", "application/x-www-form-urlencoded", format!("token={one}").as_bytes()).await;
    assert_refused(&response, 401, "credential_missing");
    gw.origin.assert_untouched();
}

#[tokio::test]
async fn j9_two_credentials_over_http2_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.yaml"), record(&key(), ", tenant: beta")).unwrap();
    let gw = TestGateway::from_folder(folder, TWO_HEADERS, TestClock::new().clock());
    let (one, other) = (jwt(&claims()), jwt(&claims_with(&json!({ "org_id": "beta" }))));
    let client = H2Client::connect(gw.addr()).await;
    let bearer = |token: &str| format!("Bearer {token}").parse::<http::HeaderValue>().unwrap();
    for (path, headers) in [
        ("/both".to_owned(), vec![("authorization", bearer(&one)), ("authorization", bearer(&other))]),
        (format!("/both?token={other}"), vec![("authorization", bearer(&one))]),
        ("/both".to_owned(), vec![("authorization", bearer(&one)), ("x-api-key", key().parse().unwrap())]),
    ] {
        let mut request = H2Client::build("GET", &path);
        for (name, value) in headers {
            request.headers_mut().append(name, value);
        }
        let response = client.request(request, None).await;
        assert_eq!(response.status, 400, "{path}");
        gw.origin.assert_untouched();
    }
    let mut request = H2Client::build("GET", "/both");
    request.headers_mut().insert("authorization", bearer(&one));
    assert_eq!(client.request(request, None).await.status, 200);
    assert_eq!(gw.origin.only_request().target, "/v0/pipes/top.json?company_id=acme");
}

#[tokio::test]
async fn rule_6_the_shape_chooses_the_judge_and_nobody_else_is_asked() {
    let provider = IdentityProvider::start();
    let time = TestClock::new();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.yaml"), record(&key(), ", tenant: acme")).unwrap();
    let sections = format!(
        r#"{PROVIDERS}  others: {{ type: jwt, issuer: "{}", jwks: "{}", audience: analytics, tenant: "{{claims.org_id}}", refused_status: 403 }}
routes:
  /all: {{ pipe: top, auth: [dashboards, employees, partners, others], params: {{ fixed: {{ company_id: "{{tenant}}" }} }} }}
"#,
        provider.issuer(),
        provider.jwks_url()
    );
    let gw = TestGateway::from_folder(folder, &sections, time.clock());
    let others = claims_with(&json!({ "iss": provider.issuer() }));
    let good = provider.sign(&others, "es-1");
    eventually_async("the first keys", async || call(&gw, "/all", &good).await.status == 200).await;
    gw.origin.forget_requests();

    // Signed by one, and says to be of another.
    assert_rejected(&gw, "/all", &jwt(&others), 403).await;
    assert_rejected(&gw, "/all", &provider.sign(&claims(), "es-1"), 401).await;
    let own = tinybird_with("top", &json!({}));
    assert_rejected(&gw, "/all", &jwt(&own), 403).await;
    assert_rejected(&gw, "/all", &tinybird(&claims()), 401).await;
    // `iss` comes before `workspace_id`.
    let both = tinybird_with("top", &json!({ "iss": ISSUER, "aud": "analytics", "org_id": "beta" }));
    assert_rejected(&gw, "/all", &tinybird(&both), 401).await;
    let response = call(&gw, "/all", &jwt(&both)).await;
    assert_eq!(response.status, 200, "the issuer's word: {}", response.body_text());
    assert_eq!(gw.origin.only_request().target, "/v0/pipes/top.json?company_id=beta");
    gw.origin.forget_requests();
    // An unknown issuer with a known workspace is that workspace's.
    let foreign = tinybird_with("top", &json!({ "iss": "https://elsewhere.example/" }));
    assert_eq!(call(&gw, "/all", &tinybird(&foreign)).await.status, 200);
    gw.origin.forget_requests();
    // Nobody's.
    for claims in [
        claims_with(&json!({ "iss": "https://evil.example/" })),
        tinybird_with("top", &json!({ "workspace_id": "00000000-0000-4000-8000-000000000000" })),
        tinybird_with("top", &json!({ "workspace_id": [WORKSPACE] })),
        json!({}),
    ] {
        assert_rejected(&gw, "/all", &tinybird(&claims), 401).await;
        assert_rejected(&gw, "/all", &jwt(&claims), 401).await;
    }
    // The prefix alone makes it a key, whatever is behind it.
    let wrong = key().replace("tgk_A", "tgk_B");
    for text in [wrong, format!("tgk_{good}"), format!("{}.{good}", key()), "tgk_".to_owned(), format!("{}x", key())] {
        assert_rejected(&gw, "/all", &text, 401).await;
    }
    for text in [format!("TGK{}", &key()[3..]), format!(" {good}x"), key()[4..].to_owned()] {
        assert_rejected(&gw, "/all", &text, 401).await;
    }
}

#[tokio::test]
async fn rule_6_a_token_that_was_verified_elsewhere_is_chosen_by_its_shape_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("keys.yaml"), record(&key(), ", tenant: acme")).unwrap();
    let sections = format!(
        r#"{PROVIDERS}routes:
  /t: {{ pipe: top, auth: dashboards, params: {{ fixed: {{ company_id: "{{tenant}}" }} }} }}
  /both: {{ pipe: top, auth: [dashboards, employees], params: {{ fixed: {{ company_id: "{{tenant}}" }} }} }}
"#
    );
    let gw = TestGateway::from_folder(folder, &sections, TestClock::new().clock());
    // Good for the workspace; where the issuer is known, too, it is the one to judge.
    let token = tinybird(&tinybird_with("top", &json!({ "iss": ISSUER, "aud": "analytics", "org_id": "beta" })));
    for _ in 0..2 {
        assert_refused(&call(&gw, "/both", &token).await, 401, "credential_invalid");
        assert_eq!(call(&gw, "/t", &token).await.status, 200);
    }
    assert_eq!(call(&gw, "/both", &tinybird(&tinybird_with("top", &json!({})))).await.status, 200);
}

/// Calls with this token from an address that a proxy names.
async fn call_from(gw: &TestGateway, from: &str, token: &str) -> Response {
    Request::get("/f").bearer(token).header("X-Forwarded-For", from).send(gw.addr()).await
}

#[tokio::test]
async fn k2_forged_signatures_by_public_keys_are_looked_at_a_hundred_times_a_minute() {
    const WRITTEN: &str = "https://written.example/";
    let provider = IdentityProvider::start();
    provider.rotate(["rs-1", "es-1"]);
    let time = TestClock::new();
    let sections = public_keys(&provider)
        .replace("routes:", "server: { trusted_proxies: [127.0.0.1] }\nroutes:")
        .replace("auth: [fetched, written]", "auth: [fetched, written, shared]")
        .replace("  written:\n", &format!("  shared: {{ type: jwt, issuer: '{ISSUER}', audience: analytics, secret: {SECRET}, tenant: '{{claims.org_id}}' }}\n  written:\n"));
    let gw = TestGateway::with_clock(&sections, &time);
    let of = |issuer: &str, jti: u32| claims_with(&json!({ "iss": issuer, "jti": jti.to_string() }));
    let good = |jti: u32| provider.sign(&of(&provider.issuer(), jti), "es-1");
    let known = good(0);
    eventually_async("the first keys", async || call_from(&gw, "192.0.2.1", &known).await.status == 200).await;
    // What costs nothing is never counted.
    for index in 0..150 {
        let cheap = match index % 5 {
            0 => provider.sign(&claims_with(&json!({ "iss": provider.issuer(), "exp": NOW - 31 })), "es-1"),
            1 => provider.sign(&claims_with(&json!({ "iss": provider.issuer(), "aud": "other" })), "rs-1"),
            2 => provider.sign(&of(&provider.issuer(), index), "es-9"),
            3 => hs256(r#"{"alg":"HS256"}"#, &claims().to_string(), "another-secret-of-more-than-32-bytes"),
            _ => "nonsense".to_owned(),
        };
        assert_eq!(call_from(&gw, "192.0.2.1", &cheap).await.status, 401, "{index}");
    }
    let other = IdentityProvider::start();
    for index in 0..100 {
        let forged = match index % 3 {
            0 => other.sign(&of(&provider.issuer(), index), "es-1"),
            1 => other.sign_as(&json!({ "alg": "RS256" }), &of(&provider.issuer(), index), "rs-2"),
            _ => other.sign_as(&json!({ "alg": "RS256" }), &of(WRITTEN, index), "rs-2"),
        };
        assert_refused(&call_from(&gw, "192.0.2.1", &forged).await, 401, "credential_invalid");
    }
    // Good ones among them: nobody looked.
    for token in [good(1), other.sign(&of(&provider.issuer(), 1), "es-1"), other.sign(&of(WRITTEN, 1), "rs-2")] {
        let response = call_from(&gw, "192.0.2.1", &token).await;
        assert_refused(&response, 429, "rate_limited");
        assert_eq!(response.header("retry-after").as_deref(), Some("60"));
    }
    gw.origin.forget_requests();
    assert_eq!(call_from(&gw, "192.0.2.1", &known).await.status, 200, "it was verified before");
    assert_eq!(call_from(&gw, "192.0.2.1", &jwt(&claims())).await.status, 200, "an HMAC costs little");
    assert_refused(&call_from(&gw, "192.0.2.1", "nonsense").await, 401, "credential_invalid");
    assert_eq!(call_from(&gw, "192.0.2.2", &good(2)).await.status, 200, "another address");
    next_minute(&time);
    assert_eq!(call_from(&gw, "192.0.2.1", &good(1)).await.status, 200);
}

#[tokio::test]
async fn k2_of_keys_without_a_name_three_are_tried() {
    let provider = IdentityProvider::start();
    provider.rotate(["es-1", "es-2", "es-3", "es-4"]);
    let (gw, _) = with_public_keys(&provider).await;
    let claims = claims_with(&json!({ "iss": provider.issuer() }));
    for (id, status) in [("es-1", 200), ("es-3", 200), ("es-4", 401)] {
        let token = provider.sign_as(&json!({ "alg": "ES256" }), &claims, id);
        assert_eq!(call(&gw, "/f", &token).await.status, status, "{id}");
    }
    assert_eq!(call(&gw, "/f", &provider.sign(&claims, "es-4")).await.status, 200, "by its name");
}
