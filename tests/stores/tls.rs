//! `rediss://`: a Redis behind TLS, whose certificate the system's authorities must have signed.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::ports::free_port;
use crate::support::server::Server;
use crate::support::store::eventually;

/// A server that speaks TLS only, with a certificate for `localhost`; the authority that signed it stands in `ca.pem`.
fn server(folder: &Path) -> (Server, u16) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = leaf.signed_by(&key, &authority).expect("a certificate");
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("a readable path").to_owned()
    };
    let ca = file("ca.pem", pem("CERTIFICATE", authority.der()));
    let own = file("own.pem", pem("CERTIFICATE", certificate.der()));
    let key = file("key.pem", pem("PRIVATE KEY", &key.serialize_der()));
    let port = free_port();
    let tls = ["--tls-port", &port.to_string(), "--tls-auth-clients", "no"].map(str::to_owned);
    let files = ["--tls-ca-cert-file", &ca, "--tls-cert-file", &own, "--tls-key-file", &key].map(str::to_owned);
    let options: Vec<&str> = tls.iter().chain(&files).map(String::as_str).collect();
    (Server::with(&options), port)
}

fn pem(what: &str, der: &[u8]) -> String {
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", STANDARD.encode(der))
}

/// A gateway that counts at `url`, with these authorities as the system's; what it says goes into `said`.
fn gateway(folder: &Path, url: &str, authorities: &Path) -> Child {
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0 }}
upstreams: {{ tinybird: {{ url: http://127.0.0.1:1, token: p.test }} }}
limits: {{ all: {{ by: gateway, rate: 1/s }} }}
routes: {{ /a: {{ pipe: a, limits: [all] }} }}
state: {{ counters: \"{url}\" }}
"
    );
    fs::write(folder.join("test.yaml"), text).expect("a configuration");
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["run", "-c", "test.yaml"])
        .current_dir(folder)
        .env("SSL_CERT_FILE", authorities)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(File::create(folder.join("said")).expect("a file")))
        .spawn()
        .expect("the gateway starts")
}

async fn says(url: &str, port: u16, authorities: &str, words: &str, folder: &Path) {
    let url = url.replace("PORT", &port.to_string());
    let mut child = gateway(folder, &url, &folder.join(authorities));
    let said = || fs::read_to_string(folder.join("said")).unwrap_or_default();
    let waited = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        eventually(&format!("the gateway to say: {words}"), || said().contains(words)).await;
    });
    let came = waited.await;
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    assert!(came.is_ok(), "{words} is not in {}", said());
}

#[tokio::test]
async fn a_certificate_of_the_systems_authorities_is_believed_and_no_other() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let (_server, port) = server(folder.path());
    let up = format!("limits are counted by Redis at rediss://localhost:{port}/0");
    says("rediss://localhost:PORT/0", port, "ca.pem", &up, folder.path()).await;

    let other = tempfile::tempdir().expect("a folder for the test");
    let (_other, _) = server(other.path());
    fs::copy(other.path().join("ca.pem"), folder.path().join("other.pem")).expect("a copy");
    let why = "no TLS: its certificate is not signed by an authority that is trusted here";
    says("rediss://localhost:PORT/0", port, "other.pem", why, folder.path()).await;

    let why = "no TLS: its certificate is for another host name";
    says("rediss://127.0.0.1:PORT/0", port, "ca.pem", why, folder.path()).await;
}
