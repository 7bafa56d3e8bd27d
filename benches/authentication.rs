//! What a token costs that nobody has seen before: taking it apart, and checking its signature.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};
use tollgate::config::scalar::{Algorithm, PublicKey};
use tollgate::jose::{Compact, Key, SigningKey};

const SECRET: &[u8] = b"an admin token of a workspace has more bytes than this";

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../tests/jose/", $name, ".pem"))
    };
}

/// As a dashboard sends it: about 600 bytes in all.
fn claims() -> Value {
    json!({
        "workspace_id": "9c2a0c2e-0000-4000-8000-000000000001",
        "name": "dashboard of acme",
        "exp": 4_000_000_000_u64,
        "scopes": [
            { "type": "PIPES:READ", "resource": "t_1234567890abcdef", "fixed_params": { "company_id": "acme" } },
            { "type": "PIPES:READ", "resource": "t_abcdef1234567890", "fixed_params": { "company_id": "acme" } },
        ],
        "limits": { "rps": 10 },
    })
}

fn authentication(criterion: &mut Criterion) {
    let private = |pem| SigningKey::from_pem(pem).expect("a private key");
    let public = |pem: &str| Key::public(&pem.parse::<PublicKey>().expect("a public key"));
    let secret = SigningKey::secret(SECRET).expect("a secret");
    let mut group = criterion.benchmark_group("authentication");
    for (algorithm, signer, key) in [
        (Algorithm::Hs256, secret, Key::hmac(SECRET, &[Algorithm::Hs256])),
        (Algorithm::Rs256, private(sample!("rsa")), public(sample!("rsa.public"))),
        (Algorithm::Es256, private(sample!("p256")), public(sample!("p256.public"))),
        (Algorithm::EdDsa, private(sample!("ed25519")), public(sample!("ed25519.public"))),
    ] {
        let text =
            signer.sign(algorithm, &json!({ "typ": "JWT", "kid": "2026-01" }), &claims()).expect("its own algorithm");
        group.throughput(Throughput::Bytes(text.len() as u64));
        if algorithm == Algorithm::Hs256 {
            group
                .bench_function("parse", |bencher| bencher.iter(|| Compact::parse(black_box(&text)).expect("a token")));
        }
        group.bench_function(algorithm.name(), |bencher| {
            bencher.iter(|| {
                let token = Compact::parse(black_box(&text)).expect("a token");
                assert!(key.verify(algorithm, &token));
                token
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(800));
    targets = authentication
}
criterion_main!(benches);
