//! Signed tokens (JOSE): what a token says, which key signed it.
//!
//! In: a compact token (RFC 7515), keys (RFC 7517, PEM, shared secrets). Out:
//! parts that are read in one way only, and whether a signature is good. Not
//! here: whether what a token says is enough (`pipeline::authn`), fetching keys
//! (`state`). A token's header never chooses the algorithm: the key does.

pub mod compact;
pub mod key;
pub mod keys;
pub mod sign;

mod jwk;
mod object;

pub use compact::{Compact, Header, MAX_TOKEN, Malformed, Part};
pub use key::Key;
pub use keys::KeySet;
pub use sign::SigningKey;

use jsonwebtoken::crypto::{CryptoProvider, aws_lc};

use crate::config::scalar::Algorithm;

/// What computes the signatures of public keys. Named, instead of the process's default: that one is found at its first
/// use, and panics there as soon as any package in the tree switches a second one on.
static PROVIDER: &CryptoProvider = &aws_lc::DEFAULT_PROVIDER;

/// The name that `jsonwebtoken` has for it.
fn named_there(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Hs384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::Hs512 => jsonwebtoken::Algorithm::HS512,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
    }
}

#[cfg(test)]
mod attack_tests;
#[cfg(test)]
mod tests;
