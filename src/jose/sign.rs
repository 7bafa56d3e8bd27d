//! Making tokens: those that go upstream, and those that an operator tries.
//!
//! In: header, claims, and a secret or a private key. Out: a compact token.
//! Not here: what belongs into the claims, and how long it holds.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use ring::hmac;
use serde_json::Value;
use x509_parser::pem::Pem;

use super::{PROVIDER, named_there};
use crate::config::scalar::{Algorithm, SHORTEST_SECRET};

/// A token signed with HMAC and SHA-256. The header is taken as it is: it should say `HS256`.
pub fn hs256(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let message = message(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    joined(&message, tag.as_ref())
}

/// A key that signs. Its `Debug` shows what it is for, and nothing of it.
#[derive(Clone)]
pub struct SigningKey {
    algorithms: Vec<Algorithm>,
    key: EncodingKey,
}

impl SigningKey {
    /// A shared secret.
    ///
    /// # Errors
    /// If it is too short to keep anybody from guessing it.
    pub fn secret(secret: &[u8]) -> Result<SigningKey, String> {
        if secret.len() < SHORTEST_SECRET {
            return Err(format!(
                "this secret has {} bytes, and one with fewer than {SHORTEST_SECRET} can be guessed: `openssl rand -hex 32` makes one",
                secret.len()
            ));
        }
        let algorithms = Algorithm::ALL.into_iter().filter(|algorithm| algorithm.is_symmetric()).collect();
        Ok(SigningKey { algorithms, key: EncodingKey::from_secret(secret) })
    }

    /// A private key in PEM form: RSA, P-256, P-384 or Ed25519.
    ///
    /// # Errors
    /// In a sentence that does not quote the text.
    pub fn from_pem(text: &str) -> Result<SigningKey, String> {
        let blocks: Result<Vec<_>, _> = Pem::iter_from_buffer(text.as_bytes()).collect();
        let blocks = blocks.map_err(|_| "this PEM text is damaged: export the key again, and keep its line breaks")?;
        let Some(block) = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")) else {
            return Err(
                "this is not a private key in PEM form, which begins with `-----BEGIN PRIVATE KEY-----`".to_owned()
            );
        };
        let der = block.contents.as_slice();
        match block.label.as_str() {
            // Which kind it is, is found by trying: each signer accepts its own kind only.
            "PRIVATE KEY" => SigningKey::tried(&[Algorithm::Es256], EncodingKey::from_ec_der(der))
                .or_else(|_| SigningKey::tried(&[Algorithm::Es384], EncodingKey::from_ec_der(der)))
                .or_else(|_| SigningKey::tried(&[Algorithm::EdDsa], EncodingKey::from_ed_der(der)))
                .or_else(|_| {
                    let key = EncodingKey::from_rsa_pem(text.as_bytes()).map_err(|_| UNUSABLE.to_owned())?;
                    SigningKey::tried(&RSA_ALGORITHMS, key)
                }),
            "RSA PRIVATE KEY" => SigningKey::tried(&RSA_ALGORITHMS, EncodingKey::from_rsa_der(der)),
            "ENCRYPTED PRIVATE KEY" => {
                Err("this private key has a passphrase: `openssl pkey -in FILE` takes it off".to_owned())
            }
            _ => {
                Err("this private key is in an older form: write what `openssl pkcs8 -topk8 -nocrypt -in FILE` prints"
                    .to_owned())
            }
        }
    }

    /// What it can sign with.
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// A signed token. The header says how it is signed, whatever stood there.
    ///
    /// # Errors
    /// If the key is not one for this algorithm.
    pub fn sign(&self, algorithm: Algorithm, header: &Value, claims: &Value) -> Result<String, String> {
        if !self.algorithms.contains(&algorithm) {
            let own: Vec<_> = self.algorithms.iter().map(|algorithm| algorithm.name()).collect();
            return Err(format!("this key cannot sign with {algorithm}: it is one for {}", own.join(", ")));
        }
        let mut header = header.clone();
        let members = header.as_object_mut().ok_or("the header of a token is a JSON object")?;
        members.insert("alg".to_owned(), Value::from(algorithm.name()));
        let message = message(&header, claims);
        Ok(joined(&message, &self.signature(algorithm, message.as_bytes())?))
    }

    fn signature(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, String> {
        let signer = (PROVIDER.signer_factory)(&named_there(algorithm), &self.key).map_err(|_| UNUSABLE)?;
        Ok(signer.try_sign(message).map_err(|_| UNUSABLE)?)
    }

    /// Used once, so that a key that exists can sign.
    fn tried(algorithms: &[Algorithm], key: EncodingKey) -> Result<SigningKey, String> {
        let key = SigningKey { algorithms: algorithms.to_vec(), key };
        for algorithm in algorithms.iter().take(1) {
            key.signature(*algorithm, b"")?;
        }
        Ok(key)
    }
}

const UNUSABLE: &str =
    "this private key cannot be used: export it again, as RSA (2048 bits or more), P-256, P-384 or Ed25519";

const RSA_ALGORITHMS: [Algorithm; 6] =
    [Algorithm::Ps256, Algorithm::Ps384, Algorithm::Ps512, Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512];

fn message(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

fn joined(message: &str, signature: &[u8]) -> String {
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}
