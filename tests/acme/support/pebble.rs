//! A real ACME server, Debian's `pebble`: its own process, ports, authority and state.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tollgate::tls::acme::Issuer;

use super::dns::Dns;

use super::ports::free_port;

/// What is different from the usual.
#[derive(Default)]
pub struct Options {
    /// How long certificates are valid, in seconds; 90 days unless it is said.
    pub validity: Option<u64>,
    /// Further variables of its environment.
    pub variables: Vec<(&'static str, &'static str)>,
    /// Keys of external accounts, by their ids; if there are some, every account needs one.
    pub external: Vec<(&'static str, &'static str)>,
}

/// The server. It dies with this.
pub struct Pebble {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
    /// Where it looks for answers.
    pub http_port: u16,
    pub dns: Dns,
    ca: Vec<u8>,
    variables: Vec<(&'static str, &'static str)>,
}

impl Pebble {
    /// One that runs, checks names on 127.0.0.1, and answers requests.
    pub fn start() -> Self {
        Pebble::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let mut pebble = Pebble::stopped(options);
        pebble.run();
        pebble
    }

    /// One that does not run yet.
    pub fn stopped(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (port, http_port) = (free_port(), free_port());
        let ca = certificate(&folder);
        let config = json!({
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": "",
            "certificate": folder.path().join("own.pem"),
            "privateKey": folder.path().join("own.key"),
            "httpPort": http_port,
            "tlsPort": free_port(),
            "certificateValidityPeriod": options.validity.unwrap_or(90 * 86_400),
            "externalAccountBindingRequired": !options.external.is_empty(),
            "externalAccountMACKeys": options.external.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        });
        fs::write(folder.path().join("config.json"), json!({ "pebble": config }).to_string()).expect("a file");
        Pebble { child: None, folder, port, http_port, dns: Dns::start(), ca, variables: options.variables }
    }

    /// Starts it, with nothing of what it knew before.
    pub fn run(&mut self) {
        let log = File::create(self.folder.path().join("log")).expect("a file");
        let child = Command::new("pebble")
            .args(["-strict", "-config"])
            .arg(self.folder.path().join("config.json"))
            .args(["-dnsserver", &self.dns.address().to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            .env("PEBBLE_AUTHZREUSE", "0")
            .envs(self.variables.iter().copied())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("pebble is missing: `.ci/setup acme` installs it");
        self.child = Some(child);
        for _ in 0..1_500 {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("pebble does not start:\n{}", self.log());
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a signal");
            child.wait().expect("an end");
        }
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    pub fn issuer(&self) -> Issuer {
        Issuer { ca: Some(vec![self.ca.clone()]), ..Issuer::new(self.url().parse().expect("a URL")) }
    }

    /// Who signed the certificate of its directory.
    pub fn ca(&self) -> Vec<u8> {
        self.ca.clone()
    }

    /// Writes that where `tls.acme.ca` can name it.
    pub fn write_ca(&self, file: &std::path::Path) {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(&self.ca);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
        fs::write(file, pem).expect("a file");
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// How often its log has this.
    pub fn count(&self, what: &str) -> usize {
        self.log().matches(what).count()
    }

    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes a certificate for 127.0.0.1 and its key; who signed it.
fn certificate(folder: &TempDir) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let own = leaf.signed_by(&key, &authority).expect("a certificate");
    fs::write(folder.path().join("own.pem"), own.pem()).expect("a file");
    fs::write(folder.path().join("own.key"), key.serialize_pem()).expect("a file");
    authority.der().to_vec()
}
