//! A customer's own domain over TLS, as clients see it that believe its authority: curl, Chromium, Tinybird's SDK.
//!
//! All hosts have one certificate, `*.acme.test`. A browser that has opened a connection for one of them would use it for
//! the others, too, which the gateway refuses with 421: that it asks again is part of what is shown here.
#![expect(clippy::panic, reason = "a test fails loudly; Clippy exempts only functions that are tests themselves")]

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tollgate::app::App;
use tollgate::clock::Clock;
use tollgate::config::interpolate::Environment;
use tollgate::config::load_text;
use tollgate::demo::{Demo, DemoOptions};
use tollgate::proxy::server::Signals;

use crate::browser::{Page, Surroundings};
use crate::guarded::STATIC_TOKEN;
use crate::{CALLERS_OWN_TOKEN, beside_the_packages, clients, ended_well, project, run};

#[test]
fn curl_believes_the_authority_and_nobody_else() {
    let domain = Domain::start("http://127.0.0.1:9");
    let url = domain.url("data.acme.test", "/top-10-products?limit=3");
    for (options, version) in [(&[][..], "2"), (&["--http1.1"], "1.1"), (&["--tls-max", "1.2"], "2")] {
        let (is_fine, said) = domain.curl(&url, &[&["--cacert", &domain.authority()], options].concat());
        assert!(is_fine, "{options:?}: {said}");
        let (body, rest) = said.split_once("\nversion ").unwrap_or_else(|| panic!("{said}"));
        let answer: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
        assert_eq!(answer["data"].as_array().map(Vec::len), Some(3), "{said}");
        assert!(rest.starts_with(&format!("{version} status 200 verified 0\n")), "{options:?}: {said}");
    }
    // 60: the certificate cannot be verified. 35: the handshake failed.
    let unknown = domain.url("other.acme.test", "/top-10-products");
    let trusted = ["--cacert", &domain.authority()];
    let old = [&trusted[..], &["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"]].concat();
    for (what, url, options, code) in [
        ("a stranger", &url, &[][..], 60),
        ("a host that is not served", &unknown, &trusted, 35),
        ("TLS 1.1", &url, &old, 35),
    ] {
        let (is_fine, said) = domain.curl(url, options);
        assert!(!is_fine && said.contains(&format!("exit status: {code}")), "{what}: {said}");
    }
}

#[test]
fn a_page_on_one_host_reads_rows_of_another() {
    let page = Page::serve("app.acme.test", PAGE);
    let domain = Domain::start(&page.url());
    let seen = page.visited_at("https://app.acme.test/?gateway=https://data.acme.test", &domain.surroundings());
    assert_eq!((&seen["origin"], &seen["secure"]), (&json!("https://app.acme.test"), &json!(true)), "{seen:#}");
    for (name, rows) in [("simple", 3), ("asked_first", 2), ("shared", 1)] {
        assert_eq!(seen[name]["status"], 200, "{name}: {seen:#}");
        assert_eq!(seen[name]["body"]["data"].as_array().map(Vec::len), Some(rows), "{name}: {seen:#}");
        assert!(seen[name]["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{name}: {seen:#}");
    }
    assert_eq!(
        (&seen["refused"]["status"], &seen["refused"]["body"]["code"]),
        (&json!(404), &json!("route_not_found"))
    );
    // The connection of the page was taken for the other host, refused there, and another one opened.
    domain.wait_for_log("\"refusal\":\"misdirected\"");
    // The timing of other origins is not shown to pages: what can be told is that nothing older was spoken.
    assert!(seen["protocols"].as_array().is_some_and(|all| all.iter().all(|name| name == "h2")), "{seen:#}");
}

#[test]
fn a_page_on_a_host_that_is_not_allowed_reads_nothing() {
    let page = Page::serve("evil.acme.test", PAGE);
    let domain = Domain::start(&page.url());
    let seen = page.visited_at("https://evil.acme.test/?gateway=https://data.acme.test", &domain.surroundings());
    assert_eq!(seen["origin"], "https://evil.acme.test");
    for name in ["simple", "asked_first", "refused"] {
        assert_eq!(seen[name], json!({ "blocked": "TypeError" }), "{name}: {seen:#}");
    }
}

#[test]
fn typescript_sdk_works_unchanged_on_a_custom_domain() {
    let domain = Domain::start("http://127.0.0.1:9");
    let driver = beside_the_packages("sdk.mjs").unwrap_or_else(|problem| panic!("{problem}"));
    let base_url = domain.url("data.acme.test", "");
    let sdk = || {
        let mut command = Command::new(clients("node"));
        command.arg("--require").arg(project("tests/clients/resolve.cjs")).arg(&driver);
        command.args([base_url.as_str(), CALLERS_OWN_TOKEN]).env_clear();
        command
    };
    let outcome = ended_well(&driver, sdk().env("NODE_EXTRA_CA_CERTS", domain.authority()));
    let problem = outcome.err().unwrap_or_default();
    assert!(problem.is_empty(), "{problem}");
}

/// A gateway with TLS in front of the bundled upstream and a page, and the authority of its certificate.
struct Domain {
    at: SocketAddr,
    folder: TempDir,
    // Fields end in this order: the gateway before what it calls, and that before its runtime.
    _app: App,
    _demo: Demo,
    _runtime: Runtime,
}

impl Domain {
    fn start(page: &str) -> Self {
        Self::try_start(page).unwrap_or_else(|error| panic!("{error}"))
    }

    fn try_start(page: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        write_certificates(&folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = DemoOptions { address, token: STATIC_TOKEN.to_owned(), clock: Clock::system() };
        let demo = runtime.block_on(Demo::start(options))?;
        let url = format!("http://{}", demo.address());
        let environment = Environment::of([("UPSTREAM", url.as_str()), ("TOKEN", STATIC_TOKEN), ("PAGE", page)]);
        let loaded = load_text("domain.yaml", CONFIG, folder.path().to_path_buf(), &environment)
            .map_err(|issues| issues.to_string())?;
        let app = App::start(&loaded.config, Clock::system(), Signals::Ignore).map_err(|error| format!("{error:#}"))?;
        let at = *app.addresses().first().ok_or("the gateway listens nowhere")?;
        Ok(Self { at, folder, _app: app, _demo: demo, _runtime: runtime })
    }

    fn url(&self, host: &str, target: &str) -> String {
        format!("https://{host}:{}{target}", self.at.port())
    }

    fn authority_file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    fn authority(&self) -> String {
        self.authority_file().display().to_string()
    }

    /// Everything below acme.test is here, and its authority is believed.
    fn surroundings(&self) -> Surroundings {
        Surroundings {
            switches: vec![format!("--host-resolver-rules=MAP *.acme.test:443 127.0.0.1:{}", self.at.port())],
            authority: Some(self.authority_file()),
        }
    }

    /// Waits until this stands in the access log, which is written behind the requests.
    fn wait_for_log(&self, words: &str) {
        let file = self.folder.path().join("access.log");
        let said = || fs::read_to_string(&file).unwrap_or_default();
        for _ in 0..LOOKS {
            if said().contains(words) {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
        panic!("{words} does not come up in {}", said());
    }

    /// Whether curl was content, and what it said.
    fn curl(&self, url: &str, options: &[&str]) -> (bool, String) {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--disable", "--noproxy", "*"]).args(options);
        for host in ["data", "other"] {
            curl.arg("--resolve").arg(format!("{host}.acme.test:{}:127.0.0.1", self.at.port()));
        }
        curl.arg("--write-out").arg("\nversion %{http_version} status %{http_code} verified %{ssl_verify_result}\n");
        run(curl.arg(url)).unwrap_or_else(|problem| panic!("{problem}"))
    }
}

/// An authority that nobody believes unless told, and the hosts' certificate by it.
fn write_certificates(folder: &TempDir) -> Result<(), Box<dyn std::error::Error>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "Authority of the tests");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["*.acme.test".to_owned()])?.signed_by(&key, &authority)?;
    fs::write(folder.path().join("authority.pem"), authority.pem())?;
    fs::write(folder.path().join("acme.pem"), leaf.pem())?;
    fs::write(folder.path().join("acme.key"), key.serialize_pem())?;
    Ok(())
}

const LOOKS: u32 = 2000;
const LOOK_EVERY: Duration = Duration::from_millis(5);

const PAGE: &str = include_str!("domain.html");

const CONFIG: &str = r#"
listeners: [{ address: "127.0.0.1:0", tls: true }]
admin: { address: "127.0.0.1:0" }
log: { access: access.log, format: json }
upstreams:
  tinybird: { url: "${UPSTREAM}", token: "${TOKEN}" }
  page: { url: "${PAGE}" }
tinybird_api: true
default_auth: public
hosts:
  data.acme.test:
    tls: { cert: acme.pem, key: acme.key }
    hsts: 180d
    cors: { origins: ["https://app.acme.test"], credentials: true }
  app.acme.test:
    tls: { cert: acme.pem, key: acme.key }
    routes:
      /: { proxy: /, upstream: page }
      /report: { proxy: /report, upstream: page, methods: [POST] }
  evil.acme.test:
    tls: { cert: acme.pem, key: acme.key }
    routes:
      /: { proxy: /, upstream: page }
      /report: { proxy: /report, upstream: page, methods: [POST] }
routes:
  /top-10-products: { pipe: top-10-products, upstream: tinybird }
  /sales: { pipe: sales_by_products, upstream: tinybird }
  /required: { pipe: required-demo, upstream: tinybird }
  /echo: { pipe: echo-params, upstream: tinybird }
  /flaky: { pipe: flaky, upstream: tinybird }
  /kpis: { pipe: kpis, upstream: tinybird }
  /top-pages: { pipe: top_pages, upstream: tinybird }
"#;
