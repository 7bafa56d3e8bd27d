//! Asks callers for a certificate in the handshake.
//!
//! In: whether somebody is known by one. Out: a chain, whatever it is worth,
//! whose key its caller holds: that is proven here, by a signature. Not here:
//! whether the chain is believed, which each request is asked anew
//! (`pipeline::authn`), so that a reload counts at once for open connections and
//! resumed sessions, and a bad certificate is answered in words.

use std::fmt;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use crate::x509::{Chain, Unreadable};

use super::resolver::Hosts;

/// What a listener asks with, whatever it is.
pub type Asker = Arc<dyn ClientCertVerifier>;

/// Asks while the configuration that runs wants it.
pub struct Asking<H> {
    hosts: H,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<H: Hosts> Asking<H> {
    /// One that asks for these hosts.
    pub fn new(hosts: H) -> Self {
        Asking { hosts, algorithms: ring::default_provider().signature_verification_algorithms }
    }
}

impl<H: Hosts> ClientCertVerifier for Asking<H> {
    fn offer_client_auth(&self) -> bool {
        self.hosts.ask_for_certificates()
    }

    // Which route is asked is not known yet, and it may be a public one.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    // None: callers send what they have. With some, everybody could read whose certificates open something here.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Takes what can be read. What cannot, Pingora would panic at.
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).map(AsRef::as_ref);
        let unreadable = match Chain::of(chain) {
            Ok(_) => return Ok(ClientCertVerified::assertion()),
            Err(unreadable) => unreadable,
        };
        refused(&unreadable);
        Err(Error::InvalidCertificate(match unreadable {
            Unreadable::Empty | Unreadable::Malformed => CertificateError::BadEncoding,
            Unreadable::TooLarge => CertificateError::ApplicationVerificationFailure,
        }))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms).inspect_err(unproven)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms).inspect_err(unproven)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn unproven(error: &Error) {
    refused(&format!("{error}; it must be of version 3, and its caller must hold its key"));
}

// The caller gets an alert, which says little. Anybody can have as many of these lines as he likes.
fn refused(why: &impl fmt::Display) {
    log::debug!("a caller's certificate is refused in the handshake: {why}");
}

impl<H> fmt::Debug for Asking<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").finish_non_exhaustive()
    }
}
