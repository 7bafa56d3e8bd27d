//! A caller that speaks TLS: opens connections for a name, or lets the other clients of the kit through one.
//!
//! In: where to, and for which name. Out: what the handshake showed, or why it failed; or an address on which plain
//! bytes go in and out of such connections. Not here: HTTP (`client`, `h2_client`).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::ResolvesClientCert;
use tokio_rustls::rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use tokio_rustls::rustls::{DEFAULT_VERSIONS, version};

use super::caller_certificate::Shown;

/// A caller that believes one authority.
#[derive(Clone, Debug)]
pub struct TlsCaller {
    root: Vec<u8>,
    alpn: Vec<Vec<u8>>,
    versions: &'static [&'static SupportedProtocolVersion],
    only: Option<SignatureScheme>,
    shown: Option<Shown>,
    /// The one configuration of all its connections, so that the second resumes the session of the first.
    shared: Option<Arc<ClientConfig>>,
}

/// What a handshake showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The certificates that were sent, DER.
    pub chain: Vec<Vec<u8>>,
    /// The protocol that was agreed on.
    pub alpn: Option<Vec<u8>>,
    /// The version of TLS.
    pub version: Option<ProtocolVersion>,
}

impl TlsCaller {
    /// One that believes this authority, DER, and speaks HTTP/1.1.
    pub fn trusting(root: Vec<u8>) -> Self {
        Self {
            root,
            alpn: vec![b"http/1.1".to_vec()],
            versions: DEFAULT_VERSIONS,
            only: None,
            shown: None,
            shared: None,
        }
    }

    /// One that offers these protocols.
    #[must_use]
    pub fn offering(self, protocols: &[&str]) -> Self {
        Self { alpn: protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect(), ..self }
    }

    /// One that knows TLS 1.2 only.
    #[must_use]
    pub fn old(self) -> Self {
        static TLS12_ONLY: [&SupportedProtocolVersion; 1] = [&version::TLS12];
        Self { versions: &TLS12_ONLY, ..self }
    }

    /// One that can verify signatures of one kind only.
    #[must_use]
    pub fn verifying(self, scheme: SignatureScheme) -> Self {
        Self { only: Some(scheme), ..self }
    }

    /// One that shows this certificate when it is asked for one, whether the key belongs to it or not.
    #[must_use]
    pub fn showing(self, shown: Shown) -> Self {
        Self { shown: Some(shown), ..self }
    }

    /// One that resumes its sessions; whatever else it does must have been said before.
    #[must_use]
    pub fn resuming(self) -> Self {
        Self { shared: Some(Arc::new(self.config())), ..self }
    }

    /// Opens a connection for a name, or for none, and says what came of it.
    pub async fn open(&self, addr: SocketAddr, name: Option<&str>) -> Result<Peer, String> {
        let stream = self.connect(addr, name).await?;
        let (_, session) = stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default().iter().map(|one| one.to_vec()).collect();
        let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
        Ok(Peer { chain, alpn, version: session.protocol_version() })
    }

    /// An address of this machine; each connection to it goes on as one for `name` to `addr`. It lives on the test's runtime.
    pub async fn tunnel(&self, addr: SocketAddr, name: Option<&str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("the listener is bound");
        let (caller, name) = (self.clone(), name.map(str::to_owned));
        tokio::spawn(async move {
            while let Ok((mut plain, _)) = listener.accept().await {
                let (caller, name) = (caller.clone(), name.clone());
                tokio::spawn(async move {
                    // A handshake that fails ends the plain connection, too.
                    let Ok(mut stream) = caller.connect(addr, name.as_deref()).await else { return };
                    drop(copy_bidirectional(&mut plain, &mut stream).await);
                });
            }
        });
        at
    }

    /// A connection for a name, or for none.
    pub async fn connect(&self, addr: SocketAddr, name: Option<&str>) -> Result<TlsStream<TcpStream>, String> {
        let config = match &self.shared {
            Some(shared) => Arc::clone(shared),
            None => {
                let mut config = self.config();
                config.enable_sni = name.is_some();
                Arc::new(config)
            }
        };
        let name = match name {
            Some(name) => ServerName::try_from(name.to_owned()).expect("a name"),
            None => ServerName::from(std::net::IpAddr::from([127, 0, 0, 1])),
        };
        let stream = TcpStream::connect(addr).await.map_err(|error| error.to_string())?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| error.to_string())
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.root.clone())).expect("an authority");
        let mut provider = ring::default_provider();
        if let Some(only) = self.only {
            provider.signature_verification_algorithms = restricted(&provider, only);
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(self.versions)
            .expect("ring knows them")
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(Showing(self.shown.as_ref().map(certified))));
        config.alpn_protocols.clone_from(&self.alpn);
        config
    }
}

/// Shows the same to everybody who asks, or nothing.
#[derive(Debug)]
struct Showing(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Showing {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

fn certified(shown: &Shown) -> Arc<CertifiedKey> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(shown.key.clone()));
    let key = ring::sign::any_supported_type(&key).expect("a key");
    Arc::new(CertifiedKey::new(shown.chain.iter().cloned().map(CertificateDer::from).collect(), key))
}

/// The chain is still verified by whatever signed it: only handshakes are restricted.
fn restricted(provider: &CryptoProvider, only: SignatureScheme) -> WebPkiSupportedAlgorithms {
    let known = provider.signature_verification_algorithms;
    let at = known.mapping.iter().position(|(scheme, _)| *scheme == only).expect("ring knows it");
    WebPkiSupportedAlgorithms { all: known.all, mapping: &known.mapping[at..=at] }
}
