//! A certificate with those between it and an authority, as a caller shows them.
//!
//! In: what a handshake showed, or a PEM text. Out: a [`Chain`] of which each
//! certificate can be read, with its hash. Not here: whether it is believed
//! (`authorities`). What cannot be read is refused before anything else looks at
//! it: Pingora would panic.

use std::fmt;
use std::ops::Range;

use ring::digest::{Context, SHA256, digest};
use serde_json::{Map, Value};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;

use super::{facts, twin};

/// Certificates of a chain. Authorities have one or two between themselves and a caller; each more is work that somebody
/// else makes for us.
pub const MOST: usize = 8;
/// Bytes of a chain.
pub const LARGEST: usize = 32 << 10;
/// Characters of a subject in a sentence.
const LONGEST_SUBJECT: usize = 160;

/// What a caller showed, that of the caller first.
#[derive(Clone, PartialEq, Eq)]
pub struct Chain {
    certificates: Box<[CertificateDer<'static>]>,
    /// Who says to have signed each, as it stands there.
    issuers: Box<[Box<[u8]>]>,
    digest: [u8; 32],
    subject: Box<str>,
}

/// Why something is no chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// There is nothing.
    Empty,
    /// One of them is no certificate, or has something behind it.
    Malformed,
    /// There are too many, or too large ones.
    TooLarge,
}

impl Chain {
    /// The chain of these certificates, DER.
    ///
    /// # Errors
    /// Where they are none.
    pub fn of<'a>(certificates: impl Iterator<Item = &'a [u8]> + Clone) -> Result<Self, Unreadable> {
        let (count, bytes) = certificates.clone().fold((0, 0), |(count, bytes), one| (count + 1, bytes + one.len()));
        match count {
            0 => return Err(Unreadable::Empty),
            1..=MOST if bytes <= LARGEST => {}
            _ => return Err(Unreadable::TooLarge),
        }
        let (mut issuers, mut subject, mut hash) = (Vec::with_capacity(count), None, Context::new(&SHA256));
        for one in certificates.clone() {
            let read = read(one).ok_or(Unreadable::Malformed)?;
            issuers.push(read.issuer().as_raw().into());
            subject.get_or_insert_with(|| shown(&read.subject().to_string()));
            // With its length, so that no two chains are one text.
            hash.update(&(one.len() as u64).to_le_bytes());
            hash.update(one);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.finish().as_ref());
        let certificates = certificates.map(|one| CertificateDer::from(one.to_vec())).collect();
        Ok(Chain { certificates, issuers: issuers.into(), digest, subject: subject.unwrap_or_default() })
    }

    /// The chain in a PEM text.
    ///
    /// # Errors
    /// In a sentence, what is wrong with it; the text is not quoted.
    pub fn from_pem(text: &[u8]) -> Result<Self, String> {
        let found: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(text).collect();
        let found = found.map_err(|_| "this PEM text is damaged: export the certificate again".to_owned())?;
        Self::of(found.iter().map(AsRef::as_ref)).map_err(|why| match why {
            Unreadable::Empty => {
                "there is no certificate in it: a PEM text with `BEGIN CERTIFICATE` is wanted".to_owned()
            }
            Unreadable::Malformed | Unreadable::TooLarge => why.to_string(),
        })
    }

    /// A hash of all of it.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// Of whom the first one speaks, in a form that is safe to repeat.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What the first one says: `subject`, `san`, and its `serial` number in hexadecimal digits.
    pub fn facts(&self) -> Map<String, Value> {
        self.leaf().and_then(|leaf| read(leaf)).map(|leaf| facts::of(&leaf)).unwrap_or_default()
    }

    /// SHA-256 of each, in small hexadecimal digits, in every way in which its bearer could write it.
    pub fn fingerprints(&self) -> impl Iterator<Item = String> {
        let twins = self.certificates.iter().filter_map(|one| twin::of(one));
        let each = self.certificates.iter().map(|one| one.to_vec()).chain(twins);
        each.map(|one| facts::hex(digest(&SHA256, &one).as_ref()))
    }

    pub(super) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.certificates.first()
    }

    pub(super) fn intermediates(&self) -> &[CertificateDer<'static>] {
        self.certificates.get(1..).unwrap_or_default()
    }

    pub(super) fn issuers(&self) -> impl Iterator<Item = &[u8]> {
        self.issuers.iter().map(|issuer| &**issuer)
    }
}

/// A certificate, the whole of the bytes.
pub(super) fn read(der: &[u8]) -> Option<X509Certificate<'_>> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Some(certificate),
        Ok(_) | Err(_) => None,
    }
}

/// From when to when a certificate is valid, in seconds since 1970; the end counts.
pub(super) fn valid(certificate: &X509Certificate<'_>) -> Range<i64> {
    let valid = certificate.validity();
    valid.not_before.timestamp()..valid.not_after.timestamp()
}

/// A name as sentences have it: who makes certificates chooses it.
pub(super) fn shown(name: &str) -> Box<str> {
    let clean = |c: char| if c.is_control() || c == '`' { '?' } else { c };
    name.chars().take(LONGEST_SUBJECT).map(clean).collect::<String>().into()
}

// Without the certificates themselves, which are long.
impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chain").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Empty => f.write_str("there is no certificate"),
            Unreadable::Malformed => f.write_str("a certificate cannot be read"),
            Unreadable::TooLarge => {
                write!(f, "more than {MOST} certificates, or {LARGEST} bytes of them, are shown at once")
            }
        }
    }
}
