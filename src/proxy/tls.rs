//! Listeners with TLS.
//!
//! In: what finds certificates. Out: Pingora's settings for a listener; of a
//! connection, the name for which it was opened, and what its caller showed. A connection to a name that
//! gets its certificate on demand waits for that before its handshake, which
//! itself cannot wait. Not here: certificates (`tls`),
//! what a wrong name means (`snapshot::arrival`).

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::http::ResponseHeader;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{PreTlsProcess, TlsAccept};
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::TlsRef;
use pingora::protocols::{GetProxyDigest as _, GetSocketDigest};
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::io::AsyncReadExt as _;

use crate::exchange::head::CallerScheme;
use crate::snapshot::live::Live;
use crate::state::State;
use crate::tls::certificates::{Approval, Certificates};
use crate::tls::domains::Demand;
use crate::tls::hello::{Greeting, Hello, spelled};
use crate::tls::resolver::Handshake;
use crate::x509::Chain;

use super::Running;

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, certificates as `resolver` finds them.
pub(super) fn settings(handshake: &Handshake) -> pingora::Result<TlsSettings> {
    let mut settings = TlsSettings::with_callbacks(Box::new(Handshakes))?;
    settings.set_cert_resolver(Arc::clone(&handshake.finder));
    if let Some(asker) = &handshake.asker {
        settings.set_client_cert_verifier(Arc::clone(asker));
    }
    settings.enable_h2();
    Ok(settings)
}

/// Whether a caller speaks TLS, and the name for which the connection was opened, spelled as hosts are; none if no name was said.
pub(super) fn of(session: &Session) -> (CallerScheme, Option<&str>) {
    match session.digest().and_then(|digest| digest.ssl_digest.as_ref()) {
        None => (CallerScheme::Http, None),
        Some(handshake) => {
            let shown = handshake.extension.get::<Shown>();
            (CallerScheme::Https, shown.and_then(|shown| shown.server_name.as_deref()))
        }
    }
}

/// What the caller showed in the handshake, and proved to hold the key of; nothing else is believed about it.
pub(super) fn certificate(session: &Session) -> Option<&Chain> {
    let handshake = session.digest()?.ssl_digest.as_ref()?;
    handshake.extension.get::<Shown>()?.certificate.as_ref()
}

/// What is kept of a handshake.
#[derive(Debug)]
struct Shown {
    server_name: Option<Box<str>>,
    /// Of a session that is resumed, as of the one before.
    certificate: Option<Chain>,
}

struct Handshakes;

#[async_trait]
impl TlsAccept for Handshakes {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        let certificates = tls.peer_cert_chain_der().unwrap_or_default();
        Some(Arc::new(Shown {
            server_name: tls.server_name().map(|name| spelled(name).into()),
            // The handshake has seen that it can be read.
            certificate: Chain::of(certificates.iter().map(AsRef::as_ref)).ok(),
        }))
    }
}

/// The other end of a connection.
pub(super) fn peer_of(stream: &(impl GetSocketDigest + ?Sized)) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    digest.peer_addr()?.as_inet().map(|address| address.ip())
}

/// Counts connections before their handshakes, and lets some wait for certificates that are got on demand.
pub(super) struct Waiting {
    pub(super) live: Arc<Live<Running>>,
    pub(super) demand: Arc<Demand>,
    pub(super) state: Arc<State>,
}

impl Waiting {
    /// Has a connection counted for as long as it is there.
    fn enter(&self, stream: &mut Stream) -> Result<()> {
        let entry = self.state.load().enter(peer_of(stream));
        let entry = entry.map_err(|full| Error::explain(ErrorType::ConnectProxyFailure, full.as_str()))?;
        // The one place of a connection where something of our own can stand.
        let nothing = ResponseHeader::build_no_case(200, Some(0))?;
        stream.set_proxy_digest(ProxyDigest::new(Box::new(nothing), Some(Box::new(entry))));
        Ok(())
    }

    /// Who says whether this name may have a certificate, if it is one that gets it on demand.
    fn approval(&self, name: &str) -> Option<Approval> {
        match *self.live.load().snapshot.certificates_among(Some(name), self.state.domains()) {
            Certificates::OnDemand(approval) => Some(approval),
            Certificates::Given(_) | Certificates::Internal(_) | Certificates::Issued(_) | Certificates::Refused => {
                None
            }
        }
    }
}

#[async_trait]
impl PreTlsProcess for Waiting {
    async fn process(&self, stream: &mut Stream) -> Result<()> {
        // Handshakes take up to a minute, so that they are counted, too.
        self.enter(stream)?;
        if !self.live.load().snapshot.has_on_demand() && self.state.domains().is_empty() {
            return Ok(());
        }
        let (mut hello, mut piece) = (Hello::default(), [0; 4096]);
        let name = loop {
            let read = stream.read(&mut piece).await;
            let read = read.map_err(|error| Error::because(ErrorType::ReadError, "before the handshake", error))?;
            match hello.read(piece.get(..read).unwrap_or_default()) {
                Greeting::Unfinished => {}
                Greeting::Named(name) => break Some(name),
                Greeting::Nameless => break None,
            }
        };
        stream.rewind(hello.seen());
        if let Some((name, approval)) = name.and_then(|name| self.approval(&name).map(|approval| (name, approval))) {
            self.demand.see_to(&name, approval, peer_of(stream)).await;
        }
        Ok(())
    }
}
