use std::time::{Duration, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair as Generated, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd};

use super::{Fault, KeyPair, Validity};

fn signed(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 4, 1));
    let key = Generated::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn parse((certificate, key): (&str, &str)) -> Result<KeyPair, Fault> {
    KeyPair::parse(certificate.as_bytes(), key.as_bytes())
}

fn fault(certificate: &str, key: &str) -> String {
    match parse((certificate, key)).unwrap_err() {
        Fault::Certificate(words) => format!("certificate: {words}"),
        Fault::Key(words) => format!("key: {words}"),
    }
}

#[test]
fn a_pair_says_for_whom_and_how_long() {
    let (certificate, key) = signed(&["a.example.com", "*.b.example.com", "10.0.0.1"]);
    let pair = parse((&certificate, &key)).unwrap();
    assert_eq!(pair.subject(), "a.example.com and 2 more");
    assert_eq!(pair.names(), ["a.example.com", "*.b.example.com", "10.0.0.1"]);
    assert_eq!(pair.valid_words(), "from 2026-01-01 00:00 UTC to 2026-04-01 00:00 UTC");
    for (pattern, covered) in [
        ("a.example.com", true),
        ("x.b.example.com", true),
        ("*.b.example.com", true),
        ("*.example.com", false),
        ("b.example.com", false),
        ("x.y.b.example.com", false),
        ("10.0.0.1", true),
    ] {
        assert_eq!(pair.covers(pattern), covered, "{pattern}");
    }
}

#[test]
fn validity_goes_from_its_first_second_to_its_last() {
    let (certificate, key) = signed(&["a.test"]);
    let pair = parse((&certificate, &key)).unwrap();
    let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
    let valid = pair.valid().clone();
    assert_eq!(pair.validity(at(valid.start - 1)), Validity::NotYet);
    assert!(matches!(pair.validity(at(valid.start)), Validity::Now { .. }));
    assert_eq!(pair.validity(at(valid.end)), Validity::Now { left: Duration::ZERO });
    assert_eq!(pair.validity(at(valid.end + 1)), Validity::Over);
}

#[test]
fn keys_of_every_kind_are_taken() {
    for kind in [&PKCS_ED25519, &PKCS_ECDSA_P384_SHA384] {
        let key = Generated::generate_for(kind).unwrap();
        let certificate = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
        assert!(parse((&certificate.pem(), &key.serialize_pem())).is_ok());
    }
}

#[test]
fn what_is_wrong_is_said_of_the_right_file_and_nothing_is_quoted() {
    let ((certificate, key), (other, other_key)) = (signed(&["a.test"]), signed(&["b.test"]));
    let (nameless, nameless_key) = signed(&[]);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (certificate, key, expected) in [
        ("", &*key, "certificate: there is no certificate in it"),
        ("hello", &key, "certificate: there is no certificate in it"),
        (&key, &certificate, "certificate: there is a key in it, and no certificate: are the two files swapped?"),
        (&certificate, "", "key: there is no private key in it"),
        (&certificate, &other, "key: there is a certificate in it, and no key: are the two files swapped?"),
        (&certificate, encrypted, "key: this key has a passphrase"),
        (&certificate, &other_key, "key: this key does not belong to the certificate of a.test, valid from 2026-01-01"),
        (certificate.get(..certificate.len() / 2).unwrap(), &key, "certificate: "),
        (&nameless, &nameless_key, "certificate: the certificate of `CN=rcgen self signed cert`"),
    ] {
        let words = fault(certificate, key);
        assert!(words.starts_with(expected), "{words}");
        let secret = other_key.lines().nth(1).unwrap();
        assert!(!words.contains(secret), "{words}");
    }
}

#[test]
fn the_first_certificate_is_that_of_the_host() {
    let ((certificate, key), (above, _)) = (signed(&["a.test"]), signed(&["above.test"]));
    assert_eq!(parse((&format!("{certificate}{above}"), &key)).unwrap().certified().cert.len(), 2);
    assert!(fault(&format!("{above}{certificate}"), &key).contains("put the certificate of this key first"));
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(fault(&format!("{certificate}{damaged}"), &key).starts_with("certificate: this PEM text is damaged"));
}

#[test]
fn pairs_are_the_same_if_certificate_and_key_are() {
    let (one, two) = (signed(&["a.test"]), signed(&["a.test"]));
    let [first, second] = [&one, &two].map(|(certificate, key)| parse((certificate, key)).unwrap());
    assert_eq!(first, parse((&one.0, &one.1)).unwrap());
    assert_ne!(first, second);
    assert!(!format!("{first:?}").contains("PRIVATE"), "{first:?}");
}
