//! A gateway in front of the bundled upstream, set up so that it feeds as many families as it can, and its callers.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::http;
use super::identity_provider::IdentityProvider;
use super::process::Process;

/// What the admin address wants.
pub const ADMIN_TOKEN: &str = "a-token-of-more-than-sixteen-characters";
/// The bundled upstream's.
const TOKEN: &str = "p.token-of-the-upstream";
/// Between two rounds of requests.
const PAUSE: Duration = Duration::from_millis(50);

/// Everything that runs; dropping it ends it.
#[derive(Debug)]
pub struct Stack {
    pub gateway: Process,
    provider: Arc<IdentityProvider>,
    upstream: Upstream,
    _folder: tempfile::TempDir,
}

impl Stack {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let (provider, upstream) = (Arc::new(IdentityProvider::start()), Upstream::start());
        provider.rotate(["es-one"]);
        write_certificate(&folder);
        let text = config(&upstream, &provider, &folder);
        let gateway = Process::start(&text).await;
        Self { gateway, provider, upstream, _folder: folder }
    }

    /// Requests without end: answered, refused, retried, without an upstream, of tenants.
    pub fn traffic(&self) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let (addr, ended, provider) = (self.gateway.addr(), Arc::clone(&stop), Arc::clone(&self.provider));
        let call = move || {
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is later").as_secs();
            let token = |tenant: &str| {
                let claims = serde_json::json!({ "iss": provider.issuer(), "aud": "analytics", "sub": "ada",
                    "tenant": tenant, "exp": now + 600 });
                format!("Authorization: Bearer {}\r\n", provider.sign(&claims, "es-one"))
            };
            let tenants = [token("acme"), token("beta")];
            let mut round = 0_u64;
            while !ended.load(Ordering::Relaxed) {
                round += 1;
                for target in ["/kpis", "/limited", "/tried", "/gone", "/nowhere"] {
                    http::get(addr, target);
                }
                http::get(addr, &format!("/flaky?fail=500&times=1&key=round-{round}"));
                http::post(addr, "/kpis", "{\"date_from\":\"2026-01-01\"}");
                for headers in &tenants {
                    http::get_with(addr, "/mine", headers);
                }
                http::get_with(addr, "/mine", "Authorization: Bearer wrong\r\n");
                std::thread::sleep(PAUSE);
            }
        };
        Traffic { stop, thread: Some(std::thread::spawn(call)) }
    }

    /// The admin address, and whether the upstream still runs.
    pub fn admin(&mut self) -> SocketAddr {
        assert!(self.upstream.child.try_wait().expect("our own child").is_none(), "the upstream has ended");
        self.gateway.admin()
    }
}

/// Callers; dropping this ends them.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// `tollgate demo-upstream`.
#[derive(Debug)]
struct Upstream {
    child: Child,
    port: u16,
}

impl Upstream {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["demo-upstream", "--listen", "127.0.0.1:0", "--token", TOKEN])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let port = lines.find_map(|line| line.ok()?.rsplit_once(':')?.1.trim().parse().ok());
        Self { child, port: port.expect("the upstream says where it listens") }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn write_certificate(folder: &tempfile::TempDir) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("a file");
    let key = File::create(folder.path().join("key.pem")).and_then(|mut file| {
        use std::io::Write as _;
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(made.signing_key.serialize_pem().as_bytes())
    });
    key.expect("a file");
}

fn config(upstream: &Upstream, provider: &IdentityProvider, folder: &tempfile::TempDir) -> String {
    let (port, folder) = (upstream.port, folder.path().display());
    format!(
        "listeners: [{{ address: 127.0.0.1:0 }}, {{ address: 127.0.0.1:0, tls: true }}]
admin: {{ address: 127.0.0.1:0, token: {ADMIN_TOKEN} }}
tls: {{ default: {{ cert: {folder}/cert.pem, key: {folder}/key.pem }} }}
upstreams:
  demo:
    url: http://localhost:{port}
    token: {TOKEN}
    concurrency: {{ max: 8 }}
    retry: {{ base: 1ms, max: 1ms }}
  gone:
    urls: ['http://127.0.0.1:9', 'http://127.0.0.2:9']
    retry: {{ attempts: 1 }}
    eject: {{ after: 1 }}
    health: {{ path: /, every: 1s }}
auth:
  idp: {{ type: jwt, issuer: '{}', jwks: '{}', audience: analytics, tenant: '{{claims.tenant}}' }}
default_auth: public
limits:
  few: {{ by: ip, rate: 10/m }}
  trial: {{ by: ip, rate: 10/m, dry_run: true }}
  month: {{ by: tenant, quota: 1000000/month }}
routes:
  /kpis: {{ pipe: kpis, upstream: demo }}
  /flaky: {{ pipe: flaky, upstream: demo }}
  /limited: {{ pipe: kpis, upstream: demo, limits: [few] }}
  /tried: {{ pipe: kpis, upstream: demo, limits: [trial] }}
  /gone: {{ pipe: kpis, upstream: gone }}
  /mine: {{ pipe: events_list, upstream: demo, auth: idp, limits: [month], params: {{ fixed: {{ tenant_id: '{{tenant}}' }} }} }}
# Nobody listens there: what is kept of traces is dropped in the end, and counted from the first on.
log: {{ access: 'off', traces: {{ url: 'http://127.0.0.1:9', sample: 1% }} }}
",
        provider.issuer(),
        provider.jwks_url(),
    )
}
