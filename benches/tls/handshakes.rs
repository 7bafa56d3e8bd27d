//! The load of `run.py`, and what it needs on disk: full TLS 1.3 handshakes, one after another on several connections.
//!
//! `handshakes certificates FOLDER COUNT`: COUNT certificates, `0.pem`, `0.key`, .., for `h0.bench.test`, ..; P-256, of an
//! authority of its own.
//! `handshakes load ADDRESS NAME FILE CONNECTIONS SECONDS`: opens connections for NAME, which must be answered with the certificate
//! in FILE, without resumption, and closes each when it stands: TLS' own end is sent, and the server's awaited, so that
//! the server has seen the whole handshake. Out: one line, `SAMPLE` and JSON. The chain is compared, and not verified: what
//! that costs would be the load's, not the server's.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program beside the gateway")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme, version};

type Problem = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["certificates", folder, count] => certificates(Path::new(folder), count),
        ["load", address, name, file, connections, seconds] => {
            load(address, name, Path::new(file), (connections, seconds))
        }
        _ => return ExitCode::from(64),
    };
    match done {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            println!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn certificates(folder: &Path, count: &str) -> Result<String, Problem> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let count: usize = count.parse()?;
    for number in 0..count {
        let key = KeyPair::generate()?;
        let leaf = CertificateParams::new(vec![format!("h{number}.bench.test")])?.signed_by(&key, &authority)?;
        std::fs::write(folder.join(format!("{number}.pem")), leaf.pem())?;
        std::fs::write(folder.join(format!("{number}.key")), key.serialize_pem())?;
    }
    Ok(format!("{count} certificates"))
}

fn load(address: &str, name: &str, file: &Path, (connections, seconds): (&str, &str)) -> Result<String, Problem> {
    let address: SocketAddr = address.parse()?;
    let name = ServerName::try_from(name.to_owned())?;
    let connector = TlsConnector::from(Arc::new(client(file)?));
    let (connections, seconds): (usize, u64) = (connections.parse()?, seconds.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begin = Instant::now();
    let end = begin + Duration::from_secs(seconds);
    let done = runtime.block_on(async {
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let (connector, name) = (connector.clone(), name.clone());
            callers.spawn(async move {
                let mut count = 0_u64;
                while Instant::now() < end {
                    once(&connector, address, name.clone()).await?;
                    count += 1;
                }
                Ok::<u64, Problem>(count)
            });
        }
        callers.join_all().await
    });
    let micros = begin.elapsed().as_micros();
    let count = done.into_iter().sum::<Result<u64, Problem>>()?;
    Ok(format!("SAMPLE \"handshakes\": {count}, \"micros\": {micros}"))
}

async fn once(connector: &TlsConnector, address: SocketAddr, name: ServerName<'static>) -> Result<(), Problem> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut stream = connector.connect(name, stream).await?;
    if stream.get_ref().1.handshake_kind() != Some(HandshakeKind::Full) {
        return Err("this was no full handshake".into());
    }
    stream.shutdown().await?;
    // Session tickets lie before the end; servers may leave TLS' own end out.
    match stream.read(&mut [0; 64]).await {
        Ok(0) => Ok(()),
        Ok(_) => Err("somebody answers who was not asked".into()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn client(file: &Path) -> Result<ClientConfig, Problem> {
    let expected = Expected(CertificateDer::from_pem_file(file)?);
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(expected))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Takes one certificate only.
#[derive(Debug)]
struct Expected(CertificateDer<'static>);

impl ServerCertVerifier for Expected {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match *certificate == self.0 {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(Error::General("another certificate than expected".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
