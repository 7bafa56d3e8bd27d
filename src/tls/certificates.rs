//! What answers a handshake: certificates of a host, compiled.
//!
//! In: what a host, or `tls.default`, says. Out: [`Certificates`], from which
//! each handshake takes the one that the caller can verify. Not here: which host
//! is meant (`resolver`, by the table that routes requests too).

use std::sync::Arc;

use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{SignatureAlgorithm, SignatureScheme};

use crate::config::section::tls::{CertificateFiles, DefaultCertificate, HostTls};

/// Names that a development machine calls itself.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Where the certificates of a host are.
#[derive(Clone, Debug)]
pub enum Certificates {
    /// Here; the one to prefer first.
    Given(Box<[Arc<CertifiedKey>]>),
    /// In the store, once an authority has issued it for this host, or for `*.` and its domain.
    Issued(Box<str>),
    /// The gateway's own authority makes one for these names.
    Internal(Box<[String]>),
    /// In the store, once an authority has issued one for the name that the caller asks for.
    OnDemand(Approval),
    /// There are none: the connection is refused.
    Refused,
}

/// Who says that a name may have a certificate on demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// The operator has, by naming the host or adding the domain.
    Given,
    /// Whoever is asked: the file has a pattern that callers fill.
    Asked,
}

impl Certificates {
    /// Those of the host `pattern`.
    pub fn of_host(pattern: &str, tls: &HostTls) -> Self {
        match tls {
            HostTls::Auto => Certificates::Issued(pattern.into()),
            HostTls::Files(files) => Self::given(files),
            HostTls::Internal => Certificates::Internal([pattern.to_owned()].into()),
            HostTls::OnDemand if pattern.starts_with("*.") => Certificates::OnDemand(Approval::Asked),
            HostTls::OnDemand => Certificates::OnDemand(Approval::Given),
        }
    }

    /// Those of whoever has none.
    pub fn by_default(default: &DefaultCertificate) -> Self {
        match default {
            DefaultCertificate::Files(files) => Self::given(files),
            DefaultCertificate::Internal => Certificates::Internal(LOCAL.map(str::to_owned).into()),
            DefaultCertificate::Refuse => Certificates::Refused,
        }
    }

    fn given(files: &[CertificateFiles]) -> Self {
        let mut keys: Vec<_> =
            files.iter().filter_map(|files| Some(Arc::clone(files.pair.as_ref()?.certified()))).collect();
        // An RSA signature costs the server some twenty times as much.
        keys.sort_by_key(|key| key.key.algorithm() == SignatureAlgorithm::RSA);
        Certificates::Given(keys.into())
    }
}

/// The first whose signatures the caller can verify; the first of all where none is, so that the handshake says why it fails.
pub(super) fn suited(keys: &[Arc<CertifiedKey>], offered: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
    let suited = keys.iter().find(|key| key.key.choose_scheme(offered).is_some());
    suited.or(keys.first()).cloned()
}
