//! An upstream behind TLS, with a certificate of the test's own.
//!
//! Not here: misbehaviour above TLS (`origin`).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority that nobody trusts unless told.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A running origin; answers every request with 200 and `{"tls":true}`. It lives on the test's runtime.
#[derive(Debug)]
pub struct TlsOrigin {
    addr: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its certificate, DER.
    pub fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// Writes its certificate where `tls.ca` can name it.
    pub fn write(&self, file: &Path) {
        let text = STANDARD.encode(self.0.der());
        let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        std::fs::write(file, pem).expect("a file for the certificate");
    }

    /// Writes a certificate for these names and its key, as `STEM.pem` and `STEM.key`.
    pub fn write_pair(&self, folder: &Path, stem: &str, names: &[&str]) -> Vec<u8> {
        self.write_pair_with(folder, stem, names, KeyPair::generate().expect("a key"))
    }

    /// As [`Authority::write_pair`], with a key of another kind.
    pub fn write_pair_with(&self, folder: &Path, stem: &str, names: &[&str], key: KeyPair) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        std::fs::write(folder.join(format!("{stem}.key")), key.serialize_pem()).expect("a file");
        std::fs::write(folder.join(format!("{stem}.pem")), certificate.pem()).expect("a file");
        certificate.der().to_vec()
    }

    /// As [`Authority::write_pair`], valid until midnight of this day (UTC).
    pub fn write_pair_until(&self, folder: &Path, stem: &str, name: &str, (year, month, day): (i32, u8, u8)) {
        let (mut params, key) = leaf(name);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        std::fs::write(folder.join(format!("{stem}.key")), key.serialize_pem()).expect("a file");
        std::fs::write(folder.join(format!("{stem}.pem")), certificate.pem()).expect("a file");
    }

    /// An origin whose certificate it signed, for this host name or address.
    pub async fn origin(&self, name: &str) -> TlsOrigin {
        let (params, key) = leaf(name);
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        TlsOrigin::start(certificate.der().clone(), &key).await
    }

    /// As [`Authority::origin`], with a certificate that is good until midnight of this day (UTC).
    pub async fn origin_until(&self, name: &str, (year, month, day): (i32, u8, u8)) -> TlsOrigin {
        let (mut params, key) = leaf(name);
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        TlsOrigin::start(certificate.der().clone(), &key).await
    }
}

impl TlsOrigin {
    /// An origin whose certificate nobody signed but itself.
    pub async fn self_signed(name: &str) -> Self {
        let (params, key) = leaf(name);
        let certificate = params.self_signed(&key).expect("a certificate");
        Self::start(certificate.der().clone(), &key).await
    }

    /// `https://NAME:PORT`.
    pub fn url(&self, name: &str) -> String {
        format!("https://{name}:{}", self.addr.port())
    }

    /// How many requests came through TLS.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }

    async fn start(certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring knows them")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a certificate with its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("the listener is bound");
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&count)));
            }
        });
        Self { addr, requests }
    }
}

/// One request, which is all that a test of certificates needs.
async fn serve(acceptor: TlsAcceptor, stream: TcpStream, requests: Arc<AtomicUsize>) {
    // A peer that does not trust us ends it here.
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut head).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    requests.fetch_add(1, Ordering::AcqRel);
    let answer =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"tls\":true}";
    // The peer may be gone.
    drop(stream.write_all(answer).await);
    drop(stream.shutdown().await);
}

fn leaf(name: &str) -> (CertificateParams, KeyPair) {
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    (params, KeyPair::generate().expect("a key"))
}
