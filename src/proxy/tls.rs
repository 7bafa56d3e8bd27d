//! Listeners with TLS.
//!
//! In: what finds certificates. Out: Pingora's settings for a listener; of a
//! connection, the name for which it was opened. Not here: certificates (`tls`),
//! what a wrong name means (`snapshot::arrival`).

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::TlsSettings;
use pingora::protocols::tls::TlsRef;
use pingora_proxy::Session;

use crate::exchange::head::CallerScheme;
use crate::tls::resolver::Finder;

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, certificates as `resolver` finds them.
pub(super) fn settings(resolver: Finder) -> pingora::Result<TlsSettings> {
    let mut settings = TlsSettings::with_callbacks(Box::new(Handshakes))?;
    settings.set_cert_resolver(resolver);
    settings.enable_h2();
    Ok(settings)
}

/// Whether a caller speaks TLS, and the name for which the connection was opened, in lower case; none if no name was said.
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
        let name = tls.server_name()?.to_ascii_lowercase();
        Some(Arc::new(ServerName(name.into())))
    }
}
