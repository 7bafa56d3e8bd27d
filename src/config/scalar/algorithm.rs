//! How a token is signed: `RS256`.
//!
//! In: a name of JSON Web Algorithms (RFC 7518). Out: one that a signature can be
//! checked with. Not here: which keys go with it (`public_key`), the check (`jose`).

use std::fmt;
use std::str::FromStr;

/// Bytes that a secret needs at least, for the shortest hash that signs with one. A shorter one can be guessed from a
/// single token, without asking anybody.
pub const SHORTEST_SECRET: usize = 32;

/// A signature algorithm. `none` is not one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519; the newer name `Ed25519` (RFC 9864) reads as this one.
    EdDsa,
    /// HMAC with SHA-256: one secret signs and verifies.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA with PSS padding and SHA-256.
    Ps256,
    /// RSA with PSS padding and SHA-384.
    Ps384,
    /// RSA with PSS padding and SHA-512.
    Ps512,
    /// RSA with PKCS#1 padding and SHA-256.
    Rs256,
    /// RSA with PKCS#1 padding and SHA-384.
    Rs384,
    /// RSA with PKCS#1 padding and SHA-512.
    Rs512,
}

impl Algorithm {
    /// Every one, by name.
    pub const ALL: [Algorithm; 12] = [
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
        Algorithm::Hs256,
        Algorithm::Hs384,
        Algorithm::Hs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
    ];

    /// The name in a token's header.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Hs256 => "HS256",
            Algorithm::Hs384 => "HS384",
            Algorithm::Hs512 => "HS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
        }
    }

    /// The one that a token or a key names, letter for letter.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "Ed25519" => Some(Algorithm::EdDsa),
            _ => Self::ALL.into_iter().find(|algorithm| algorithm.name() == name),
        }
    }

    /// Whether whoever can verify can sign too.
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512)
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::named(text).ok_or_else(|| wrong(text))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn wrong(text: &str) -> String {
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    match plain.as_str() {
        "NONE" => return format!("`{text}` means no signature, so anybody could write such a token: leave it out"),
        "ES512" | "ES256K" | "ED448" => {
            return format!("`{text}` is not supported: let the tokens be signed with ES256, ES384 or EdDSA");
        }
        _ => {}
    }
    let names = || Algorithm::ALL.into_iter().map(Algorithm::name);
    let same = names().find(|name| name.eq_ignore_ascii_case(&plain));
    match same.or_else(|| crate::config::nearest(&plain, names())) {
        Some(name) => format!("`{text}` is not a signature algorithm: write `{name}`"),
        None => {
            format!("`{text}` is not a signature algorithm: write one of {}", names().collect::<Vec<_>>().join(", "))
        }
    }
}

super::from_text!(Algorithm, "a signature algorithm like RS256");
super::as_text!(Algorithm);
