//! Certificates of callers, and who signs them.
//!
//! In: names and purposes. Out: chains with their keys, and files for `ca`. Not here: connections that show them (`tls_caller`).

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, SanType, SerialNumber,
};

/// Who signs.
pub struct Signer {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its own certificate and those above it, without the root.
    above: Vec<Vec<u8>>,
}

/// What a caller shows: its certificate, those between it and an authority, and its key.
#[derive(Debug)]
pub struct Shown {
    /// DER, the caller's own first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8, DER.
    pub key: Vec<u8>,
}

impl Clone for Shown {
    fn clone(&self) -> Self {
        Shown { chain: self.chain.clone(), key: self.key.clone() }
    }
}

impl Shown {
    /// As PEM, for curl and the command line.
    pub fn write(&self, folder: &Path, stem: &str) {
        let chain: String = self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
        std::fs::write(folder.join(format!("{stem}.pem")), chain).expect("a file");
        std::fs::write(folder.join(format!("{stem}.key")), pem("PRIVATE KEY", &self.key)).expect("a file");
    }

    /// With another key, which does not belong to it.
    #[must_use]
    pub fn with_a_foreign_key(self) -> Self {
        Shown { key: KeyPair::generate().expect("a key").serialize_der(), ..self }
    }

    /// Without what lies between it and the authority.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.chain.truncate(1);
        self
    }
}

impl Signer {
    /// An authority of its own.
    pub fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// The same, as the test wants it.
    pub fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        change(&mut params);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        Signer { issuer, above: Vec::new() }
    }

    /// One that this one vouches for.
    pub fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::signed_by(authority(name), key, &self.issuer).expect("a certificate");
        let above = std::iter::once(issuer.der().to_vec()).chain(self.above.iter().cloned()).collect();
        Signer { issuer, above }
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes its certificate where `ca` can name it.
    pub fn write(&self, file: &Path) {
        std::fs::write(file, self.pem()).expect("a file");
    }

    /// A caller of this organisation.
    pub fn caller(&self, organisation: &str) -> Shown {
        self.caller_with(organisation, |_| {})
    }

    /// The same, as the test wants it.
    pub fn caller_with(&self, organisation: &str, change: impl FnOnce(&mut CertificateParams)) -> Shown {
        let (params, key) = leaf(organisation, change);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let chain = std::iter::once(certificate.der().to_vec()).chain(self.above.iter().cloned()).collect();
        Shown { chain, key: key.serialize_der() }
    }
}

/// A caller who vouches for itself.
pub fn self_signed(organisation: &str) -> Shown {
    let (params, key) = leaf(organisation, |_| {});
    let certificate = params.self_signed(&key).expect("a certificate");
    Shown { chain: vec![certificate.der().to_vec()], key: key.serialize_der() }
}

/// `O` once more: a subject has each kind once, as far as its maker can tell.
pub fn another_o() -> DnType {
    DnType::CustomDnType(vec![2, 5, 4, 10])
}

/// `OU` once more.
pub fn another_ou() -> DnType {
    DnType::CustomDnType(vec![2, 5, 4, 11])
}

/// A subject with these attributes, in this order.
pub fn subject(attributes: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in attributes {
        name.push(kind.clone(), DnValue::Utf8String((*value).to_owned()));
    }
    name
}

/// Names beside the subject.
pub fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("a name"))
}

/// A serial number.
pub fn serial(bytes: &[u8]) -> Option<SerialNumber> {
    Some(SerialNumber::from_slice(bytes))
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&[(DnType::CommonName, name)]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn leaf(organisation: &str, change: impl FnOnce(&mut CertificateParams)) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&[(DnType::OrganizationName, organisation), (DnType::CommonName, "robot 7")]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    (params, KeyPair::generate().expect("a key"))
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
