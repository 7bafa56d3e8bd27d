//! The certificate for a handshake.
//!
//! In: the name that a caller asks for (SNI, RFC 6066 section 3), or none. Out:
//! a certificate with its key, or none, and the handshake is refused with an
//! alert. It is asked once for each connection, takes no lock, and finds the
//! host in the table that routes requests. Not here: sockets (`proxy`).

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

use super::asking::Asker;
use super::certificates::{Certificates, suited};
use super::hello::spelled;
use super::internal::Authority;
use super::store::Store;

/// The configured hosts, as they are now.
pub trait Hosts: Send + Sync {
    /// The certificates for a name, spelled as hosts are, or for who names none.
    fn certificates(&self, name: Option<&str>) -> Arc<Certificates>;

    /// Whether some callers are known by certificates, so that they are asked for them.
    fn ask_for_certificates(&self) -> bool;
}

/// What a listener asks for a certificate, whatever finds it.
pub type Finder = Arc<dyn ResolvesServerCert>;

/// What a listener needs for a handshake.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// What finds our own certificate.
    pub finder: Finder,
    /// What asks for the caller's, if that is done there.
    pub asker: Option<Asker>,
}

/// Finds certificates.
pub struct Resolver<H> {
    hosts: H,
    authority: Arc<Authority>,
    store: Arc<Store>,
}

impl<H: Hosts> Resolver<H> {
    /// A resolver for the hosts that are served.
    pub fn new(hosts: H, authority: Arc<Authority>, store: Arc<Store>) -> Self {
        Resolver { hosts, authority, store }
    }
}

impl<H> fmt::Debug for Resolver<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

/// Why there is no certificate. The name was read by rustls, and is one.
fn why(certificates: &Certificates, name: Option<&str>) -> String {
    let Some(name) = name else { return "its caller names no host, and there is no `tls.default`".to_owned() };
    match certificates {
        Certificates::Issued(_) | Certificates::OnDemand(_) => format!("`{name}` has no certificate yet"),
        Certificates::Given(_) | Certificates::Internal(_) => format!("the certificate of `{name}` cannot be used"),
        Certificates::Refused => {
            format!("`{name}` is no host of the file, or one without `tls`, and there is no `tls.default`")
        }
    }
}

impl<H: Hosts> ResolvesServerCert for Resolver<H> {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(spelled);
        let certificates = self.hosts.certificates(name.as_deref());
        let issued = |name: &str| self.store.get(name).map(|issued| Arc::clone(&issued.key));
        let found = match &*certificates {
            Certificates::Given(keys) => suited(keys, hello.signature_schemes()),
            Certificates::Internal(names) => self.authority.certificate(names),
            Certificates::Issued(name) => issued(name),
            Certificates::OnDemand(_) => name.as_deref().and_then(issued),
            Certificates::Refused => None,
        };
        if found.is_none() {
            // Anybody can have as many of these as he likes.
            log::debug!("a handshake is refused: {}", why(&certificates, name.as_deref()));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_handshake_says_what_is_missing() {
        let issued = Certificates::Issued("a.test".into());
        for (certificates, name, words) in [
            (&Certificates::Refused, None, "names no host"),
            (&Certificates::Refused, Some("a.test"), "`a.test` is no host of the file"),
            (&issued, Some("a.test"), "`a.test` has no certificate yet"),
            (&Certificates::Given([].into()), Some("a.test"), "the certificate of `a.test`"),
        ] {
            assert!(why(certificates, name).contains(words), "{words}");
        }
    }
}
