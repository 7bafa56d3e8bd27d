//! `tls`: certificates, for all hosts; and what a host says about its own.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::scalar::{AcmeDirectory, KeyPair, Rate, Secret, WebAddress};

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
    /// The authorities that certificates of hosts with `tls: auto` are asked of, tried in this order; left out: Let's Encrypt.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_several")]
    #[schemars(with = "OneOrSeveral")]
    pub acme: Vec<Acme>,
    /// Who may get a certificate on a host with `tls: on_demand`, and how many names are looked at.
    #[serde(skip_serializing_if = "OnDemand::is_default")]
    pub on_demand: OnDemand,
}

/// What holds for hosts with `tls: on_demand`, whose callers say for which names certificates are needed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OnDemand {
    /// A URL of yours that says who may have a certificate: it is called with `domain=NAME` added to its query. Status 200 means yes; everything else, and no answer, means no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask: Option<WebAddress>,
    /// How many new names are looked at, whoever asks: 10/m.
    pub rate: Rate,
    /// How many new names are looked at for one caller's address, for IPv6 its /64: 3/m.
    pub rate_per_address: Rate,
    /// An `http://` proxy outside, through which the gateway looks whether a name leads to it; left out: it calls the name itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<WebAddress>,
}

impl Default for OnDemand {
    fn default() -> Self {
        OnDemand { ask: None, rate: Rate::a_minute(10), rate_per_address: Rate::a_minute(3), via: None }
    }
}

impl OnDemand {
    fn is_default(&self) -> bool {
        *self == OnDemand::default()
    }
}

/// An authority that speaks ACME (RFC 8555). Who names one agrees to its terms of service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Acme {
    /// Its directory: `letsencrypt`, `letsencrypt-staging`, or a URL.
    pub directory: AcmeDirectory,
    /// Where the authority may write to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The account at the authority's own site, where it wants one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eab: Option<Eab>,
    /// A PEM file with who signs the certificate of the directory itself; left out: the system's authorities.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "crate::config::scalar::absolute_path")]
    pub ca: Option<PathBuf>,
    /// A program that sets records in DNS, and its first words: it is called with `present` or `cleanup`, a name and a value. Needed for hosts with `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns_hook: Option<String>,
    /// The certificates of `ca`, DER, read when the configuration is loaded.
    #[serde(skip)]
    pub ca_certificates: Vec<Vec<u8>>,
}

/// What binds an ACME account to one at the authority's own site (RFC 8555 section 7.3.4).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Eab {
    /// Its name.
    pub key_id: String,
    /// Its key, as the authority shows it.
    pub hmac_key: Secret,
}

/// One section, or a list of them.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrSeveral {
    One(Acme),
    Several(Vec<Acme>),
}

mod one_or_several {
    use std::fmt;

    use serde::de::value::MapAccessDeserializer;
    use serde::de::{MapAccess, SeqAccess, Visitor};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Acme;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Acme>, D::Error> {
        deserializer.deserialize_any(Sections)
    }

    pub(super) fn serialize<S: Serializer>(all: &[Acme], serializer: S) -> Result<S::Ok, S::Error> {
        match all {
            [only] => only.serialize(serializer),
            all => all.serialize(serializer),
        }
    }

    struct Sections;

    impl<'de> Visitor<'de> for Sections {
        type Value = Vec<Acme>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a section like { directory: letsencrypt }, or a list of them")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            Ok(vec![Acme::deserialize(MapAccessDeserializer::new(map))?])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = items.next_element()? {
                all.push(one);
            }
            Ok(all)
        }
    }
}

/// Where the certificate of a host comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostTls {
    /// An authority that everybody believes issues it (ACME).
    Auto,
    /// From files: one, or several with keys of different kinds.
    Files(Vec<CertificateFiles>),
    /// The gateway's own authority signs it: for development.
    Internal,
    /// As [`HostTls::Auto`], for each name that callers ask for, when they do.
    OnDemand,
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
            HostTls::Auto | HostTls::Internal | HostTls::OnDemand => &[],
        }
    }

    pub(in crate::config) fn files_mut(&mut self) -> &mut [CertificateFiles] {
        match self {
            HostTls::Files(files) => files,
            HostTls::Auto | HostTls::Internal | HostTls::OnDemand => &mut [],
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

const AUTO: &str = "auto";
const INTERNAL: &str = "internal";
const ON_DEMAND: &str = "on_demand";
const REFUSE: &str = "refuse";

impl<'de> Deserialize<'de> for HostTls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "`auto`, `on_demand`, `internal`, or files: { cert: FILE, key: FILE }";
        match deserializer.deserialize_any(WordOrFiles { words: &[AUTO, INTERNAL, ON_DEMAND], expected })? {
            Written::Files(files) => Ok(HostTls::Files(files)),
            Written::Word(AUTO) => Ok(HostTls::Auto),
            Written::Word(ON_DEMAND) => Ok(HostTls::OnDemand),
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
            HostTls::Auto => serializer.serialize_str(AUTO),
            HostTls::Files(files) => one_or_list(files, serializer),
            HostTls::Internal => serializer.serialize_str(INTERNAL),
            HostTls::OnDemand => serializer.serialize_str(ON_DEMAND),
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

/// How files of certificates and keys end.
const FILES: [&str; 4] = [".cer", ".crt", ".key", ".pem"];

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
        if FILES.iter().any(|end| text.ends_with(end)) {
            return Err(E::custom("this is one file, and two are wanted: write { cert: FILE, key: FILE }"));
        }
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
