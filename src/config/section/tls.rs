//! `tls`: certificates, for all hosts; and what a host says about its own.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::scalar::KeyPair;

/// What listeners with TLS do, whatever the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// What callers get who name no host, one that is not served, or one that says nothing about `tls`: `refuse`, `internal`, or certificates from files.
    #[serde(skip_serializing_if = "DefaultCertificate::is_refuse")]
    pub default: DefaultCertificate,
    /// The port that callers reach the gateway on with TLS, for redirects; left out: that of the first listener with TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
}

/// Where the certificate of a host comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostTls {
    /// From files: one, or several with keys of different kinds.
    Files(Vec<CertificateFiles>),
    /// The gateway's own authority signs it: for development.
    Internal,
}

/// What callers get for whose name there is no certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DefaultCertificate {
    /// As [`HostTls::Files`].
    Files(Vec<CertificateFiles>),
    /// As [`HostTls::Internal`], for the name that they ask for.
    Internal,
    /// No connection.
    #[default]
    Refuse,
}

/// A certificate with its key, in PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The file of the certificate, behind it those of the authorities between it and the root.
    #[serde(serialize_with = "absolute")]
    pub cert: PathBuf,
    /// The file of its private key, without a passphrase.
    #[serde(serialize_with = "absolute")]
    pub key: PathBuf,
    /// What is in them, read when the configuration is loaded.
    #[serde(skip)]
    pub pair: Option<KeyPair>,
}

fn absolute<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::config::scalar::absolute(path))
}

impl HostTls {
    /// Its files.
    pub fn files(&self) -> &[CertificateFiles] {
        match self {
            HostTls::Files(files) => files,
            HostTls::Internal => &[],
        }
    }

    pub(in crate::config) fn files_mut(&mut self) -> &mut [CertificateFiles] {
        match self {
            HostTls::Files(files) => files,
            HostTls::Internal => &mut [],
        }
    }
}

impl DefaultCertificate {
    /// Its files.
    pub fn files(&self) -> &[CertificateFiles] {
        match self {
            DefaultCertificate::Files(files) => files,
            DefaultCertificate::Internal | DefaultCertificate::Refuse => &[],
        }
    }

    pub(in crate::config) fn files_mut(&mut self) -> &mut [CertificateFiles] {
        match self {
            DefaultCertificate::Files(files) => files,
            DefaultCertificate::Internal | DefaultCertificate::Refuse => &mut [],
        }
    }

    fn is_refuse(&self) -> bool {
        *self == DefaultCertificate::Refuse
    }
}

const INTERNAL: &str = "internal";
const REFUSE: &str = "refuse";

impl<'de> Deserialize<'de> for HostTls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "`internal`, or files: { cert: FILE, key: FILE }";
        match deserializer.deserialize_any(WordOrFiles { words: &[INTERNAL], expected })? {
            Written::Files(files) => Ok(HostTls::Files(files)),
            Written::Word(_) => Ok(HostTls::Internal),
        }
    }
}

impl<'de> Deserialize<'de> for DefaultCertificate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "`refuse`, `internal`, or files: { cert: FILE, key: FILE }";
        match deserializer.deserialize_any(WordOrFiles { words: &[REFUSE, INTERNAL], expected })? {
            Written::Files(files) => Ok(DefaultCertificate::Files(files)),
            Written::Word(INTERNAL) => Ok(DefaultCertificate::Internal),
            Written::Word(_) => Ok(DefaultCertificate::Refuse),
        }
    }
}

impl Serialize for HostTls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            HostTls::Files(files) => one_or_list(files, serializer),
            HostTls::Internal => serializer.serialize_str(INTERNAL),
        }
    }
}

impl Serialize for DefaultCertificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            DefaultCertificate::Files(files) => one_or_list(files, serializer),
            DefaultCertificate::Internal => serializer.serialize_str(INTERNAL),
            DefaultCertificate::Refuse => serializer.serialize_str(REFUSE),
        }
    }
}

/// As it is usually written, so that what is shown is found again in the file.
fn one_or_list<S: Serializer>(files: &[CertificateFiles], serializer: S) -> Result<S::Ok, S::Error> {
    match files {
        [only] => only.serialize(serializer),
        files => files.serialize(serializer),
    }
}

/// A word, one section of files, or a list of these.
struct WordOrFiles {
    words: &'static [&'static str],
    expected: &'static str,
}

enum Written {
    Files(Vec<CertificateFiles>),
    Word(&'static str),
}

impl<'de> Visitor<'de> for WordOrFiles {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Written, E> {
        let word = self.words.iter().find(|word| **word == text);
        word.map(|word| Written::Word(word)).ok_or_else(|| E::unknown_variant(text, self.words))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
        Ok(Written::Files(vec![CertificateFiles::deserialize(MapAccessDeserializer::new(map))?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Written, A::Error> {
        let mut files = Vec::new();
        while let Some(one) = items.next_element()? {
            files.push(one);
        }
        Ok(Written::Files(files))
    }
}
