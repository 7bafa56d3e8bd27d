//! One key, and what it may be used for.
//!
//! In: a shared secret or a public key. Out: whether it signed a token. A key
//! is bound to its algorithms when it is made, and secrets and public keys are two
//! kinds: a public key never becomes the secret of an HMAC, whatever a token says.
//! Not here: which key a token names (`keys`), how long a token is good.

use std::fmt;

use jsonwebtoken::DecodingKey;
use ring::hmac;

use super::{Compact, PROVIDER, named_there};
use crate::config::scalar::{Algorithm, Numbers, PublicKey, SHORTEST_SECRET};

/// A key that verifies. Its `Debug` shows what it is for, and nothing of it.
#[derive(Clone)]
pub struct Key {
    algorithms: Vec<Algorithm>,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// One key per algorithm, each with the work done that does not depend on the token. `jsonwebtoken` would copy the
    /// secret and do it again for each request.
    Hmac(Vec<(Algorithm, hmac::Key)>),
    /// Taken apart once: per request, its bytes are only copied.
    Public(Box<DecodingKey>),
}

impl Key {
    /// A shared secret, for those of the algorithms that are HMAC. One below [`SHORTEST_SECRET`] bytes is for none: an
    /// empty one would let everybody in.
    pub fn hmac(secret: &[u8], algorithms: &[Algorithm]) -> Key {
        let usable = if secret.len() < SHORTEST_SECRET { &[] } else { algorithms };
        let keys: Vec<_> = usable
            .iter()
            .filter_map(|algorithm| Some((*algorithm, hmac::Key::new(hash(*algorithm)?, secret))))
            .collect();
        Key { algorithms: keys.iter().map(|(algorithm, _)| *algorithm).collect(), kind: Kind::Hmac(keys) }
    }

    /// A public key, for all algorithms of its kind.
    pub fn public(key: &PublicKey) -> Key {
        let decoding = match key.numbers() {
            Numbers::Ed25519(key) => DecodingKey::from_ed_der(key),
            Numbers::P256(point) | Numbers::P384(point) => DecodingKey::from_ec_der(point),
            Numbers::Rsa { modulus, exponent } => DecodingKey::from_rsa_raw_components(modulus, exponent),
        };
        Key { algorithms: key.algorithms().to_vec(), kind: Kind::Public(Box::new(decoding)) }
    }

    /// The same key for fewer algorithms: those that are `allowed` too.
    #[must_use]
    pub fn restrict(mut self, allowed: &[Algorithm]) -> Key {
        self.algorithms.retain(|algorithm| allowed.contains(algorithm));
        self
    }

    /// What it may be used for.
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Whether this key signed the token, with an algorithm that it is for and that the token names too.
    ///
    /// The bytes of an ECDSA signature can be changed into others that are good as well (r and n-s): that lies in ECDSA, so
    /// a signature is never what tells two tokens apart.
    pub fn verify(&self, algorithm: Algorithm, token: &Compact<'_>) -> bool {
        token.header().algorithm() == Some(algorithm)
            && self.signed(algorithm, token.signed().as_bytes(), token.signature_bytes())
    }

    /// As [`Key::verify`], of tokens whose header may leave the algorithm out, as those of Tinybird do. It may not name
    /// another one.
    pub fn verify_unnamed(&self, algorithm: Algorithm, token: &Compact<'_>) -> bool {
        (token.header().alg.is_none() || token.header().algorithm() == Some(algorithm))
            && self.signed(algorithm, token.signed().as_bytes(), token.signature_bytes())
    }

    /// Whether this key made this signature.
    pub(super) fn signed(&self, algorithm: Algorithm, message: &[u8], signature: &Vec<u8>) -> bool {
        if !self.algorithms.contains(&algorithm) {
            return false;
        }
        match &self.kind {
            Kind::Hmac(keys) => keys
                .iter()
                .find(|(own, _)| *own == algorithm)
                .is_some_and(|(_, key)| hmac::verify(key, message, signature).is_ok()),
            Kind::Public(key) => (PROVIDER.verifier_factory)(&named_there(algorithm), key)
                .is_ok_and(|verifier| verifier.verify(message, signature).is_ok()),
        }
    }
}

fn hash(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::Hs256 => Some(hmac::HMAC_SHA256),
        Algorithm::Hs384 => Some(hmac::HMAC_SHA384),
        Algorithm::Hs512 => Some(hmac::HMAC_SHA512),
        Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::EdDsa
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512
        | Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512 => None,
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Hmac(_) => "secret",
            Kind::Public(_) => "public",
        };
        f.debug_struct("Key").field("kind", &kind).field("algorithms", &self.algorithms).finish()
    }
}
