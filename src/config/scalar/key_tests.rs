use super::*;

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../../tests/jose/", $name, ".pem"))
    };
}

#[test]
fn algorithms_are_named_as_tokens_name_them() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.to_string().parse::<Algorithm>().unwrap(), algorithm);
        assert_eq!(algorithm.is_symmetric(), algorithm.name().starts_with("HS"));
    }
    assert!(Algorithm::ALL.is_sorted());
    assert_eq!("Ed25519".parse(), Ok(Algorithm::EdDsa));
    for (text, said) in [
        ("none", "no signature"),
        ("NoNe", "no signature"),
        ("ES512", "not supported"),
        ("ES256K", "not supported"),
        ("rs256", "write `RS256`"),
        ("RS-256", "write `RS256`"),
        ("eddsa", "write `EdDSA`"),
        ("RS265", "write `RS256`"),
        ("", "write one of ES256"),
        ("RSA", "signature algorithm"),
        ("HS256 ", "write `HS256`"),
    ] {
        let problem = text.parse::<Algorithm>().unwrap_err();
        assert!(problem.contains(said), "{problem}");
    }
}

#[test]
fn public_keys_are_read_from_pem() {
    for (text, kind) in [
        (sample!("rsa.public"), "RSA"),
        (sample!("rsa.pkcs1.public"), "RSA"),
        (sample!("p256.public"), "P-256"),
        (sample!("p256.certificate"), "P-256"),
        (sample!("p384.public"), "P-384"),
        (sample!("ed25519.public"), "Ed25519"),
    ] {
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(key.kind(), kind);
        assert!(key.algorithms().iter().all(|algorithm| !algorithm.is_symmetric()));
        // One trailing newline less, Windows' line ends, words around it.
        for same in [text.trim_end().to_owned(), text.replace('\n', "\r\n"), format!("Key of the provider:\n{text}\n")]
        {
            assert_eq!(same.parse(), Ok(key.clone()));
        }
        assert_eq!(serde_json::to_value(&key).unwrap(), key.fingerprint());
    }
    let key = |text: &str| text.parse::<PublicKey>().unwrap();
    assert_eq!(key(sample!("rsa.public")), key(sample!("rsa.pkcs1.public")));
    assert_eq!(key(sample!("p256.public")), key(sample!("p256.certificate")));
    let chain = [sample!("p256.certificate"), sample!("p256.certificate")].concat();
    assert_eq!(key(&chain), key(sample!("p256.public")));
}

#[test]
fn fingerprints_are_those_of_rfc_7638_and_rfc_8037() {
    use base64::Engine as _;
    let decoded = |text| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap();
    let modulus = decoded(
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    );
    let rsa = PublicKey::rsa(&modulus, &[0, 1, 0, 1]).unwrap();
    assert_eq!(rsa.to_string(), "SHA256:NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let edwards = PublicKey::ed25519(&decoded("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")).unwrap();
    assert_eq!(edwards.to_string(), "SHA256:kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn j6_weak_and_wrong_public_keys_are_refused_and_never_quoted() {
    let two = [sample!("p256.public"), sample!("p384.public")].concat();
    let with_private = [sample!("p256.certificate"), sample!("p256")].concat();
    let one_line = sample!("p256.public").replace('\n', " ");
    let no_end = sample!("p256").replace("-----END PRIVATE KEY-----", "");
    let cut = sample!("p256.public").replacen("MFkw", "MFkx", 1);
    for (text, said) in [
        (sample!("rsa1024.public"), "1024 bits"),
        (sample!("rsapss.public"), "PSS"),
        (sample!("p521.public"), "curve that is not supported"),
        (sample!("secp256k1.public"), "curve that is not supported"),
        (sample!("p256.compressed.public"), "compressed"),
        (sample!("rsa"), "private key"),
        (sample!("rsa.pkcs1"), "private key"),
        (sample!("p256.sec1"), "private key"),
        (sample!("p256.encrypted"), "private key"),
        (&with_private, "private key"),
        (&no_end, "private key"),
        (&two, "several keys"),
        (&one_line, "line breaks"),
        (&cut, "damaged"),
        ("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----", "damaged"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "damaged"),
        ("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----", "neither a public key nor a certificate"),
        ("", "not a public key"),
        ("./provider.pem", "file://PATH"),
        ("/etc/ssl/provider.pem", "file://PATH"),
        (r#"{"kty":"RSA"}"#, "`jwks`"),
        ("ssh-ed25519 AAAA", "ssh-keygen"),
        ("fnord", "-----BEGIN PUBLIC KEY-----"),
    ] {
        let problem = text.parse::<PublicKey>().unwrap_err();
        assert!(problem.contains(said), "{said}: {problem}");
        for line in text.lines().filter(|line| line.len() > 4 && !line.starts_with("-----BEGIN")) {
            assert!(!problem.contains(line), "{problem}");
        }
    }
}

#[test]
fn j6_weak_and_wrong_numbers_are_refused() {
    let odd = |bytes: usize| vec![0xff; bytes];
    assert!(PublicKey::rsa(&odd(256), &[3]).is_ok() && PublicKey::rsa(&odd(1024), &[1, 0, 1]).is_ok());
    let even = [odd(255), vec![0xfe]].concat();
    let just_short = [vec![0x7f], odd(255)].concat();
    for (modulus, exponent, said) in [
        (odd(256), vec![1], "exponent 1"),
        (odd(256), vec![], "exponent 0"),
        (odd(256), vec![1, 0, 0], "exponent 65536"),
        (odd(256), vec![2, 0, 0, 0, 1], "33 bits"),
        (odd(256), vec![0xff; 256], "33 bits"),
        (odd(1025), vec![3], "8200 bits"),
        (just_short, vec![3], "2047 bits"),
        // What stands in front counts for nothing.
        ([vec![0; 200], odd(56)].concat(), vec![3], "448 bits"),
        (vec![], vec![3], "0 bits"),
        (even, vec![3], "even"),
    ] {
        let problem = PublicKey::rsa(&modulus, &exponent).unwrap_err();
        assert!(problem.contains(said), "{said}: {problem}");
    }
    for curve in [Curve::P256, Curve::P384] {
        for point in [&[][..], &[0], &[4; 65], &[4; 97], &[4; 64], &[6; 65], &[2; 33], &[0; 65], &[0; 97]] {
            assert!(PublicKey::elliptic(curve, point).is_err());
        }
    }
    let small = |lowest: u8, middle: u8, highest: u8| [vec![lowest], vec![middle; 30], vec![highest]].concat();
    for weak in [
        small(0, 0, 0),
        small(0, 0, 0x80),
        small(1, 0, 0),
        small(1, 0, 0x80),
        small(0xec, 0xff, 0x7f),
        small(0xec, 0xff, 0xff),
        small(0xed, 0xff, 0x7f),
        small(0xee, 0xff, 0x7f),
        vec![1; 31],
        vec![1; 33],
    ] {
        assert!(PublicKey::ed25519(&weak).is_err(), "{weak:?}");
    }
    assert!(PublicKey::ed25519(&small(2, 0, 0)).is_ok());
}
