//! The whole gateway: `tls: auto` in its file, an authority that asks its listener, callers who get what was issued.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
};
use tollgate::app::App;
use tollgate::clock::Clock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::proxy::server::Signals;
use x509_parser::extensions::GeneralName;

use crate::support::life::eventually;
use crate::support::pebble::Pebble;

/// A gateway whose port 80 is where the authority asks.
fn start(pebble: &Pebble, folder: &Path, hosts: &str) -> App {
    pebble.write_ca(&folder.join("pebble.pem"));
    let text = format!(
        r#"listeners: [{{ address: "127.0.0.1:{}" }}, {{ address: "127.0.0.1:0", tls: true }}]
admin: {{ address: "127.0.0.1:0" }}
upstreams: {{ t: {{ url: "http://127.0.0.1:9" }} }}
routes: {{ /top: {{ pipe: top }} }}
hosts: {{ {hosts} }}
tls: {{ acme: {{ directory: "{}", email: ops@example.com, ca: pebble.pem }} }}
log: {{ access: access.log }}
"#,
        pebble.http_port,
        pebble.url()
    );
    let loaded = load_text("acme.yaml", &text, folder.to_path_buf(), &Environment::of([]));
    let loaded = loaded.unwrap_or_else(|issues| panic!("{issues}\nin\n{text}"));
    App::start(&loaded.config, Clock::system(), Signals::Ignore).unwrap()
}

#[test]
fn hosts_get_their_certificates_and_keep_them_over_a_restart() {
    let (pebble, folder) = (Pebble::start(), tempfile::tempdir().unwrap());
    // The redirect stands behind the answer to the authority.
    let hosts = "one.gateway.example: { tls: auto, redirect_http: true }, two.gateway.example: { tls: auto }";
    let app = start(&pebble, folder.path(), hosts);
    let over_tls = app.addresses()[1];
    let mut served = Vec::new();
    for name in ["one.gateway.example", "two.gateway.example"] {
        eventually_now(&format!("a certificate for {name}"), || names(over_tls, name) == [name]);
        served.push(leaf(over_tls, name).unwrap());
    }
    assert!(leaf(over_tls, "three.gateway.example").is_none());
    let answer = call(over_tls, "one.gateway.example", "/nowhere").unwrap();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let answer = plain(app.addresses()[0], "one.gateway.example", "/.well-known/acme-challenge/unknown");
    assert!(answer.starts_with("HTTP/1.1 308 "), "what nobody asked is as any other address: {answer}");
    // Who asked, and for which name, is in the log.
    let log = || std::fs::read_to_string(folder.path().join("access.log")).unwrap_or_default();
    let asked = |line: &str| line.contains(" 127.0.0.1 GET /.well-known/acme-challenge/") && line.contains(" 200 ");
    let is_logged = || log().lines().any(|line| asked(line) && line.contains("host=two.gateway.example"));
    eventually_now("a line of the authority's question", is_logged);
    drop(app);

    let orders = pebble.count("order-plz");
    let app = start(&pebble, folder.path(), hosts);
    for (name, before) in ["one.gateway.example", "two.gateway.example"].into_iter().zip(served) {
        assert_eq!(leaf(app.addresses()[1], name), Some(before), "it is served from the first moment");
    }
    assert_eq!(pebble.count("order-plz"), orders);
}

#[test]
fn an_authority_that_is_away_keeps_nobody_from_being_served() {
    let (pebble, folder) = (Pebble::stopped(Default::default()), tempfile::tempdir().unwrap());
    let app = start(&pebble, folder.path(), "one.away.example: { tls: auto }, two.away.example: { tls: internal }");
    assert_eq!(leaf(app.addresses()[1], "one.away.example"), None);
    assert!(leaf(app.addresses()[1], "two.away.example").is_some());
    let answer = plain(app.addresses()[0], "one.away.example", "/nowhere");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

pub(crate) fn eventually_now(what: &str, holds: impl Fn() -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(eventually(holds, || what.to_owned()));
}

/// The names in the certificate that a handshake gets.
pub(crate) fn names(address: SocketAddr, name: &str) -> Vec<String> {
    let Some(der) = leaf(address, name) else { return Vec::new() };
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    let found = parsed.subject_alternative_name().unwrap().unwrap();
    let names = found.value.general_names.iter();
    names
        .filter_map(|name| if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None })
        .collect()
}

pub(crate) fn leaf(address: SocketAddr, name: &str) -> Option<Vec<u8>> {
    let mut stream = open(address, name);
    stream.flush().ok()?;
    Some(stream.conn.peer_certificates()?.first()?.to_vec())
}

pub(crate) fn call(address: SocketAddr, name: &str, path: &str) -> Option<String> {
    let mut stream = open(address, name);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    // The end of the connection may come without TLS's own farewell.
    drop(stream.read_to_end(&mut answer));
    String::from_utf8(answer).ok()
}

pub(crate) fn plain(address: SocketAddr, name: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn open(address: SocketAddr, name: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, TcpStream::connect(address).unwrap())
}

/// Pebble makes another root each time it starts, and no one is asked who it is.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
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
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
