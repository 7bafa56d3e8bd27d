//! Listeners with TLS.
//!
//! In: what finds certificates. Out: Pingora's settings for a listener; of a
//! connection, the name for which it was opened. A connection to a name that
//! gets its certificate on demand waits for that before its handshake, which
//! itself cannot wait. Not here: certificates (`tls`),
//! what a wrong name means (`snapshot::arrival`).

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::listeners::{PreTlsProcess, TlsAccept};
use pingora::protocols::GetSocketDigest as _;
use pingora::protocols::l4::stream::Stream;
use pingora::protocols::tls::TlsRef;
use pingora::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::io::AsyncReadExt as _;

use crate::exchange::head::CallerScheme;
use crate::snapshot::live::Live;
use crate::state::State;
use crate::tls::certificates::{Approval, Certificates};
use crate::tls::domains::Demand;
use crate::tls::hello::{Greeting, Hello, spelled};
use crate::tls::resolver::Finder;

use super::Running;

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, certificates as `resolver` finds them.
pub(super) fn settings(resolver: Finder) -> pingora::Result<TlsSettings> {
    let mut settings = TlsSettings::with_callbacks(Box::new(Handshakes))?;
    settings.set_cert_resolver(resolver);
    settings.enable_h2();
    Ok(settings)
}

/// Whether a caller speaks TLS, and the name for which the connection was opened, spelled as hosts are; none if no name was said.
pub(super) fn of(session: &Session) -> (CallerScheme, Option<&str>) {
    match session.digest().and_then(|digest| digest.ssl_digest.as_ref()) {
        None => (CallerScheme::Http, None),
        Some(handshake) => {
            (CallerScheme::Https, handshake.extension.get::<ServerName>().map(|ServerName(name)| &**name))
        }
    }
}

/// What is kept of a handshake.
#[derive(Debug)]
struct ServerName(Box<str>);

struct Handshakes;

#[async_trait]
impl TlsAccept for Handshakes {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(Arc::new(ServerName(spelled(tls.server_name()?).into())))
    }
}

/// Lets connections wait for certificates that are got on demand.
pub(super) struct Waiting {
    pub(super) live: Arc<Live<Running>>,
    pub(super) demand: Arc<Demand>,
    pub(super) state: Arc<State>,
}

impl Waiting {
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
            let digest = stream.get_socket_digest();
            let peer = digest.as_ref().and_then(|digest| digest.peer_addr()?.as_inet().map(|address| address.ip()));
            self.demand.see_to(&name, approval, peer).await;
        }
        Ok(())
    }
}
