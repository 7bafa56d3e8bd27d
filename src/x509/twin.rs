//! The other way in which the same certificate can be written.
//!
//! Whoever has an ECDSA signature (r, s) has (r, n - s), too, which is as good,
//! and needs no key for that: so the bearer of a certificate can change its bytes,
//! and its fingerprint, and keep all that was signed. What is said of one of the
//! two holds for both. Other signatures can be written in one way only, and what
//! stands around them is compared with what was signed.
//!
//! In: a certificate, DER. Out: its twin. Not here: whether it is believed
//! (`authorities`).

use x509_parser::der_parser::asn1_rs::{BitString, FromDer as _, Integer, Sequence, ToDer as _};
use x509_parser::num_bigint::BigUint;

/// What signatures with ECDSA are called, whatever they hash with.
const ECDSA: &str = "1.2.840.10045.4.3.";
/// How many points P-256 and P-384 have (SEC 2, sections 2.4.2 and 2.5.1).
const P256: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const P384: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0,
    0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];

/// The certificate with the other signature; none where there is only one.
pub(super) fn of(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = super::chain::read(der)?;
    if !certificate.signature_algorithm.algorithm.to_id_string().starts_with(ECDSA) {
        return None;
    }
    let signature = &certificate.signature_value;
    let twin = BitString::new(0, &other(&signature.data)?).to_der_vec().ok()?;
    let (_, whole) = Sequence::from_der(der).ok()?;
    // The signature stands last.
    let old = signature.to_der_vec().ok()?.len();
    let signed = whole.content.get(..whole.content.len().checked_sub(old)?)?;
    Sequence::new([signed, &twin].concat().into()).to_der_vec().ok()
}

/// (r, n - s) of (r, s).
fn other(signature: &[u8]) -> Option<Vec<u8>> {
    let (_, pair) = Sequence::from_der(signature).ok()?;
    let (rest, r) = Integer::from_der(&pair.content).ok()?;
    let (_, s) = Integer::from_der(rest).ok()?;
    // Which curve it is, only the signer's certificate says; but of P-384, one number in 2^128 is as short as those of P-256.
    let is_short = [&r, &s].iter().all(|number| BigUint::from_bytes_be(number.as_ref()).bits() <= 256);
    let points = BigUint::from_bytes_be(if is_short { &P256 } else { &P384 });
    let s = BigUint::from_bytes_be(s.as_ref());
    let twin = if s < points { (points - s).to_bytes_be() } else { return None };
    // What begins with a bit would be negative.
    let is_negative = twin.first().is_some_and(|first| first & 0x80 != 0);
    let twin = if is_negative { [&[0], &*twin].concat() } else { twin };
    let numbers = [r.to_der_vec().ok()?, Integer::new(&twin).to_der_vec().ok()?];
    Sequence::new(numbers.concat().into()).to_der_vec().ok()
}
