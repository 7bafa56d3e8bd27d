//! Public keys that tokens are verified with.
//!
//! In: PEM text (`pem`), or the numbers of a JSON Web Key. Out: a key of a kind
//! that is known here, and not one that is known to be weak. Not here:
//! signatures (`jose`), keys that are fetched (`state`).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{agreement, digest, rand};

use super::{Algorithm, pem};

/// A public key. It is shown as its fingerprint.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Numbers);

/// What a public key is made of. Made by [`PublicKey`] only, which has checked it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// 32 bytes.
    Ed25519(Vec<u8>),
    /// A point: 4, x, y.
    P256(Vec<u8>),
    /// A point: 4, x, y.
    P384(Vec<u8>),
    /// Without zeros in front.
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
}

/// A curve for ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
}

/// Bits of an RSA key. Below, it can be broken; above, checking one signature costs milliseconds.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// The highest exponent that verifiers take, for the same reason.
const HIGHEST_EXPONENT: u64 = (1 << 33) - 1;

impl PublicKey {
    /// The algorithms that its signatures can have.
    pub fn algorithms(&self) -> &'static [Algorithm] {
        match self.0 {
            Numbers::Ed25519(_) => &[Algorithm::EdDsa],
            Numbers::P256(_) => &[Algorithm::Es256],
            Numbers::P384(_) => &[Algorithm::Es384],
            Numbers::Rsa { .. } => &[
                Algorithm::Ps256,
                Algorithm::Ps384,
                Algorithm::Ps512,
                Algorithm::Rs256,
                Algorithm::Rs384,
                Algorithm::Rs512,
            ],
        }
    }

    /// What kind of key, in words.
    pub fn kind(&self) -> &'static str {
        match self.0 {
            Numbers::Ed25519(_) => "Ed25519",
            Numbers::P256(_) => "P-256",
            Numbers::P384(_) => "P-384",
            Numbers::Rsa { .. } => "RSA",
        }
    }

    /// `SHA256:` and the thumbprint of RFC 7638, which many providers also use as the key's id.
    pub fn fingerprint(&self) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = |curve: &str, point: &[u8]| {
            let coordinates = point.get(1..).unwrap_or_default();
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            format!(r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#, encode(x), encode(y))
        };
        let members = match &self.0 {
            Numbers::Ed25519(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(x)),
            Numbers::P256(xy) => point("P-256", xy),
            Numbers::P384(xy) => point("P-384", xy),
            Numbers::Rsa { modulus, exponent } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(exponent), encode(modulus))
            }
        };
        format!("SHA256:{}", encode(digest::digest(&digest::SHA256, members.as_bytes()).as_ref()))
    }

    /// What it is made of.
    pub(crate) fn numbers(&self) -> &Numbers {
        &self.0
    }

    /// An RSA key of these numbers, the most significant byte first.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, String> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let unused = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
        let bits = modulus.len() * 8 - unused;
        if bits < *RSA_BITS.start() {
            return Err(format!(
                "this RSA key has {bits} bits, and one with fewer than 2048 can be broken: make a new one with 2048 or more"
            ));
        }
        if bits > *RSA_BITS.end() {
            return Err(format!("this RSA key has {bits} bits: make a new one with at most 8192"));
        }
        if modulus.last().is_none_or(|last| last % 2 == 0) {
            return Err("this RSA key's modulus is an even number, so it is no RSA key: export it again".to_owned());
        }
        let value = exponent.iter().try_fold(0_u64, |value, byte| Some(value.checked_mul(256)? | u64::from(*byte)));
        match value {
            Some(value) if value < 3 || value % 2 == 0 => Err(format!(
                "this RSA key has the exponent {value}, with which signatures prove nothing: make a new key"
            )),
            Some(value) if value <= HIGHEST_EXPONENT => {
                Ok(PublicKey(Numbers::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() }))
            }
            Some(_) | None => Err("this RSA key has an exponent of more than 33 bits: make a new key".to_owned()),
        }
    }

    /// A key for ECDSA: 4, x, y.
    pub(crate) fn elliptic(curve: Curve, point: &[u8]) -> Result<Self, String> {
        let (name, size, check) = match curve {
            Curve::P256 => ("P-256", 65, &agreement::ECDH_P256),
            Curve::P384 => ("P-384", 97, &agreement::ECDH_P384),
        };
        if matches!(point.first(), Some(2 | 3)) {
            return Err(format!(
                "this {name} key is written in the compressed form: export it again with both of its coordinates"
            ));
        }
        if point.len() != size || !is_on_curve(check, point) {
            return Err(format!("this {name} key is not a point of its curve: export it again"));
        }
        Ok(PublicKey(match curve {
            Curve::P256 => Numbers::P256(point.to_vec()),
            Curve::P384 => Numbers::P384(point.to_vec()),
        }))
    }

    /// A key for `EdDSA` with Ed25519.
    pub(crate) fn ed25519(key: &[u8]) -> Result<Self, String> {
        if key.len() != 32 {
            return Err(format!("this Ed25519 key has {} bytes instead of 32: export it again", key.len()));
        }
        if is_of_small_order(key) {
            return Err("anybody can sign for this Ed25519 key: make a new one".to_owned());
        }
        Ok(PublicKey(Numbers::Ed25519(key.to_vec())))
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The only public door of ring to this check is a key agreement, whose result is thrown away.
fn is_on_curve(curve: &'static agreement::Algorithm, point: &[u8]) -> bool {
    let own = agreement::EphemeralPrivateKey::generate(curve, &rand::SystemRandom::new());
    let agree = |own| agreement::agree_ephemeral(own, &agreement::UnparsedPublicKey::new(curve, point), |_| ());
    own.and_then(agree).is_ok()
}

/// The points whose multiples are few enough to guess a signature, and their second ways of writing. The two that are
/// neither 0 nor ±1 are of order 8.
fn is_of_small_order(key: &[u8]) -> bool {
    const EIGHTH: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    const OTHER_EIGHTH: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    // The highest bit is the sign of x, and no part of y.
    let Some(([lowest, middle @ ..], highest)) = key.split_last().map(|(last, rest)| (rest, last & 0x7f)) else {
        return false;
    };
    let is_eighth = |eighth: &[u8; 32]| {
        eighth.split_last().is_some_and(|(last, rest)| *last == highest && key.get(..31) == Some(rest))
    };
    let is_near_zero = *lowest <= 1 && middle.iter().all(|byte| *byte == 0) && highest == 0;
    let is_near_prime =
        *lowest >= 0xec && *lowest <= 0xee && middle.iter().all(|byte| *byte == 0xff) && highest == 0x7f;
    is_near_zero || is_near_prime || is_eighth(&EIGHTH) || is_eighth(&OTHER_EIGHTH)
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        pem::public_key(text)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.fingerprint())
    }
}

super::from_text!(PublicKey, "a public key in PEM form");
super::as_text!(PublicKey);
