//! A certificate with its private key, from two PEM texts.
//!
//! In: the text of the certificate and those above it, the text of its key.
//! Out: a [`KeyPair`] whose key signs what its certificate says, or a sentence
//! that says what to do. Not here: reading files (`check::files`), whether the
//! certificate is still valid, for which a clock is needed.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use tokio_rustls::rustls::SignatureAlgorithm;
use tokio_rustls::rustls::crypto::ring::sign::any_supported_type;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// Kinds of PEM text that say what is wrong with a file of keys.
const ENCRYPTED: [&str; 2] = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];

/// A certificate that can be served: the key belongs to it, and it says for which names it is.
#[derive(Clone)]
pub struct KeyPair {
    key: Arc<CertifiedKey>,
    /// Only compared: keys of crates do not say whether they are the same.
    private: Arc<PrivateKeyDer<'static>>,
    names: Arc<[String]>,
    subject: Arc<str>,
    valid: Range<i64>,
}

/// Which of the two files a problem is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The certificate's.
    Certificate(String),
    /// The key's.
    Key(String),
}

impl KeyPair {
    /// A pair of a certificate (behind it those between it and the root) and its key.
    ///
    /// # Errors
    /// What is wrong with which of them; the sentence quotes neither.
    pub fn parse(certificate: &[u8], key: &[u8]) -> Result<Self, Fault> {
        let chain = chain(certificate).map_err(Fault::Certificate)?;
        let private = private_key(key).map_err(Fault::Key)?;
        let facts = Facts::of(chain.first()).map_err(Fault::Certificate)?;
        let signing = any_supported_type(&private).map_err(|_| Fault::Key(UNSUPPORTED.to_owned()))?;
        let key = CertifiedKey::new(chain, signing);
        if key.keys_match().is_err() {
            let Facts { subject, .. } = &facts;
            let when = facts.valid_words();
            let words = format!(
                "this key does not belong to the certificate of {subject}, valid {when}: name both files of one pair, or put the certificate of this key first in its file"
            );
            return Err(Fault::Key(words));
        }
        let Facts { names, subject, valid } = facts;
        Ok(KeyPair {
            key: Arc::new(key),
            private: Arc::new(private),
            names: names.into(),
            subject: subject.into(),
            valid,
        })
    }

    /// What a TLS server needs.
    pub fn certified(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// For whom it was issued, as its names say, else its subject.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// From when to when it is valid, in seconds since 1970; the end counts.
    pub fn valid(&self) -> &Range<i64> {
        &self.valid
    }

    /// From when to when it is valid, for people.
    pub fn valid_words(&self) -> String {
        words_of(&self.valid)
    }

    /// Whether it is for all that `pattern` names: a host, or `*.` and a domain (RFC 9525 section 6.3).
    pub fn covers(&self, pattern: &str) -> bool {
        let above = pattern.split_once('.').map(|(_, above)| above);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => above == Some(domain),
            None => name == pattern,
        })
    }

    /// The names that it is for.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What kind of key it has.
    pub fn kind(&self) -> KeyKind {
        match self.key.key.algorithm() {
            SignatureAlgorithm::RSA => KeyKind::Rsa,
            SignatureAlgorithm::ECDSA => KeyKind::Ecdsa,
            // Of the rest, it is the only one that a `KeyPair` can hold.
            SignatureAlgorithm::Anonymous
            | SignatureAlgorithm::DSA
            | SignatureAlgorithm::ED25519
            | SignatureAlgorithm::ED448
            | SignatureAlgorithm::Unknown(_)
            | _ => KeyKind::Ed25519,
        }
    }

    /// Whether it is valid at a time.
    pub fn validity(&self, now: SystemTime) -> Validity {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        match () {
            () if now < self.valid.start => Validity::NotYet,
            () if now > self.valid.end => Validity::Over,
            () => Validity::Now { left: Duration::from_secs((self.valid.end - now).unsigned_abs()) },
        }
    }
}

/// A kind of key: callers may know only some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// On one of the curves P-256 and P-384.
    Ecdsa,
    /// Of RFC 8032.
    Ed25519,
    /// Of 2048 bits or more.
    Rsa,
}

impl KeyKind {
    /// As people write it.
    pub fn word(self) -> &'static str {
        match self {
            KeyKind::Ecdsa => "ECDSA",
            KeyKind::Ed25519 => "Ed25519",
            KeyKind::Rsa => "RSA",
        }
    }
}

/// Whether a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It will be.
    NotYet,
    /// It is.
    Now {
        /// For how long.
        left: Duration,
    },
    /// It was.
    Over,
}

impl PartialEq for KeyPair {
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert && self.private == other.private
    }
}

impl Eq for KeyPair {}

// Without the key.
impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("subject", &self.subject).field("valid", &self.valid).finish_non_exhaustive()
    }
}

/// What a certificate says.
struct Facts {
    names: Vec<String>,
    subject: String,
    valid: Range<i64>,
}

impl Facts {
    fn of(certificate: Option<&CertificateDer<'_>>) -> Result<Self, String> {
        let der = certificate.ok_or(NO_CERTIFICATE)?;
        let (_, parsed) = x509_parser::parse_x509_certificate(der).map_err(|_| BROKEN)?;
        let names = names(&parsed);
        let valid = parsed.validity().not_before.timestamp()..parsed.validity().not_after.timestamp();
        let subject = match names.as_slice() {
            [] => parsed.subject().to_string(),
            [one] => one.clone(),
            [one, others @ ..] => format!("{one} and {} more", others.len()),
        };
        let facts = Facts { names, subject, valid };
        if facts.names.is_empty() {
            let Facts { subject, .. } = &facts;
            let when = facts.valid_words();
            return Err(format!(
                "the certificate of `{subject}`, valid {when}, names no host: clients read `subjectAltName` only"
            ));
        }
        Ok(facts)
    }

    fn valid_words(&self) -> String {
        words_of(&self.valid)
    }
}

fn words_of(valid: &Range<i64>) -> String {
    let day = |seconds| DateTime::from_timestamp(seconds, 0).map(|time| time.format("%Y-%m-%d %H:%M UTC").to_string());
    let day = |seconds| day(seconds).unwrap_or_else(|| "a time that nobody can say".to_owned());
    format!("from {} to {}", day(valid.start), day(valid.end))
}

/// The names of hosts, in lower case, and addresses as hosts write them.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(found)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name {
            return Some(name.trim_end_matches('.').to_ascii_lowercase());
        }
        if let GeneralName::IPAddress(bytes) = name { address(bytes) } else { None }
    };
    found.value.general_names.iter().filter_map(name).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(four), _) => Some(std::net::Ipv4Addr::from(four).to_string()),
        (_, Ok(sixteen)) => Some(format!("[{}]", std::net::Ipv6Addr::from(sixteen))),
        (Err(_), Err(_)) => None,
    }
}

const NO_CERTIFICATE: &str = "there is no certificate in it: a PEM text with `BEGIN CERTIFICATE` is wanted";
/// What DER begins with, and PEM never does.
const SEQUENCE: u8 = 0x30;
const DER_CERTIFICATE: &str =
    "it looks like DER, which is not read: write it as PEM, by `openssl x509 -inform DER -in FILE -out NEW`";
const BROKEN: &str = "this PEM text is damaged: export the certificate again, and keep its line breaks";
const UNSUPPORTED: &str =
    "this key is of a kind that is not supported: use RSA of 2048 bits or more, P-256, P-384 or Ed25519";

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| BROKEN)?;
    if chain.iter().any(|one| !matches!(x509_parser::parse_x509_certificate(one), Ok(([], _)))) {
        return Err(BROKEN.to_owned());
    }
    if !chain.is_empty() {
        return Ok(chain);
    }
    Err(match () {
        () if pem.first() == Some(&SEQUENCE) => DER_CERTIFICATE,
        () if PrivateKeyDer::from_pem_slice(pem).is_ok() => {
            "there is a key in it, and no certificate: are the two files swapped?"
        }
        () => NO_CERTIFICATE,
    }
    .to_owned())
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    let text = String::from_utf8_lossy(pem);
    if ENCRYPTED.iter().any(|mark| text.contains(mark)) {
        return Err("this key has a passphrase, and nobody is there to type it: write it without, by `openssl pkey -in FILE -out NEW`, and keep others from reading it".to_owned());
    }
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if text.contains("BEGIN CERTIFICATE") => {
            Err("there is a certificate in it, and no key: are the two files swapped?".to_owned())
        }
        Err(pem::Error::NoItemsFound) if pem.first() == Some(&SEQUENCE) => Err(
            "it looks like DER, which is not read: write it as PEM, by `openssl pkey -inform DER -in FILE -out NEW`"
                .to_owned(),
        ),
        Err(pem::Error::NoItemsFound) => {
            Err("there is no private key in it: a PEM text with `BEGIN PRIVATE KEY` is wanted".to_owned())
        }
        Err(_) => Err("this PEM text is damaged: export the key again, and keep its line breaks".to_owned()),
    }
}

#[cfg(test)]
#[path = "key_pair_tests.rs"]
mod tests;
