//! Public keys in PEM form, as providers and `openssl` write them.
//!
//! In: text with one `PUBLIC KEY`, `RSA PUBLIC KEY`, or certificates, of which
//! the first counts. Out: the key, or a sentence that says what to write and
//! never quotes the text, which may be a private key. Not here: what makes a
//! key weak (`public_key`), until when a certificate is valid: it is only what
//! the key comes in.

use x509_parser::oid_registry::Oid;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::PublicKey;
use super::public_key::Curve;

/// The key in a PEM text.
pub(super) fn public_key(text: &str) -> Result<PublicKey, String> {
    let mut blocks = Vec::new();
    for block in Pem::iter_from_buffer(text.as_bytes()) {
        // The label is known before the lines below it are read.
        blocks.push(block.map_err(|_| if text.contains("PRIVATE KEY-----") { private() } else { broken() })?);
    }
    if blocks.iter().any(|block| block.label.ends_with("PRIVATE KEY")) {
        return Err(private());
    }
    let (Some(first), others) = (blocks.first(), blocks.get(1..).unwrap_or_default()) else {
        return Err(not_pem(text));
    };
    if first.label != "CERTIFICATE" && !others.is_empty() {
        return Err("there are several keys in this text: write one".to_owned());
    }
    match first.label.as_str() {
        "CERTIFICATE" => {
            let (rest, found) = x509_parser::parse_x509_certificate(&first.contents).map_err(|_| broken())?;
            whole(rest)?;
            of_any_kind(&found.tbs_certificate.subject_pki)
        }
        "PUBLIC KEY" => {
            let (rest, found) = SubjectPublicKeyInfo::from_der(&first.contents).map_err(|_| broken())?;
            whole(rest)?;
            of_any_kind(&found)
        }
        "RSA PUBLIC KEY" => rsa(&first.contents),
        _ => Err(
            "this PEM text holds neither a public key nor a certificate: write one that begins with `-----BEGIN PUBLIC KEY-----`"
                .to_owned(),
        ),
    }
}

pub(super) fn of_any_kind(info: &SubjectPublicKeyInfo<'_>) -> Result<PublicKey, String> {
    let bytes = info.subject_public_key.data.as_ref();
    match info.algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => rsa(bytes),
        "1.2.840.10045.2.1" => {
            let named = info.algorithm.parameters.as_ref().and_then(|curve| Oid::try_from(curve.clone()).ok());
            match named.map(|curve| curve.to_id_string()).as_deref() {
                Some("1.2.840.10045.3.1.7") => PublicKey::elliptic(Curve::P256, bytes),
                Some("1.3.132.0.34") => PublicKey::elliptic(Curve::P384, bytes),
                Some(_) | None => Err("this key is on a curve that is not supported: use P-256 or P-384".to_owned()),
            }
        }
        "1.3.101.112" => PublicKey::ed25519(bytes),
        "1.2.840.113549.1.1.10" => {
            Err("this RSA key is marked as one for PSS only, which is not supported: export it as a plain RSA key"
                .to_owned())
        }
        _ => Err("this is a key of a kind that is not supported: use RSA, P-256, P-384 or Ed25519".to_owned()),
    }
}

fn rsa(der: &[u8]) -> Result<PublicKey, String> {
    let (rest, key) = RSAPublicKey::from_der(der).map_err(|_| broken())?;
    whole(rest)?;
    let is_negative = |number: &[u8]| number.first().is_none_or(|first| first & 0x80 != 0);
    if is_negative(key.modulus) || is_negative(key.exponent) {
        return Err(broken());
    }
    PublicKey::rsa(key.modulus, key.exponent)
}

/// What is behind a key, nobody has looked at.
fn whole(rest: &[u8]) -> Result<(), String> {
    if rest.is_empty() { Ok(()) } else { Err(broken()) }
}

fn private() -> String {
    "this is a private key, which only the signer should have: write the public one, which `openssl pkey -in FILE -pubout` prints"
        .to_owned()
}

fn broken() -> String {
    "this PEM text is damaged: export the key again, and keep its line breaks, best as file://PATH".to_owned()
}

/// What else somebody may have written.
fn not_pem(text: &str) -> String {
    let text = text.trim();
    if text.starts_with('{') {
        return "this is a key in JSON (JWK): write it in PEM form, or name the URL of its set in `jwks`".to_owned();
    }
    if text.starts_with("ssh-") || text.starts_with("ecdsa-sha2-") {
        return "this is a key for SSH: write what `ssh-keygen -e -m PKCS8 -f FILE` prints".to_owned();
    }
    if text.starts_with('/') || text.starts_with('.') || text.ends_with(".pem") || text.ends_with(".crt") {
        return "this is not a public key in PEM form, but looks like the path of one: write file://PATH".to_owned();
    }
    "this is not a public key in PEM form: write one that begins with `-----BEGIN PUBLIC KEY-----`, best as file://PATH"
        .to_owned()
}
