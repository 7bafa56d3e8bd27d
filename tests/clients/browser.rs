//! Chromium, headless: a page on one origin calls a gateway on another (`page.html`).
//!
//! A page posts what it saw to its own server, which the test waits for: nothing is read from the browser's output.
#![expect(clippy::panic, reason = "a test fails loudly; Clippy exempts only functions that are tests themselves")]

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::SystemTime;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::demo::{Credential, WORKSPACE_ID, sign};

use crate::guarded::{Guarded, PIPE, STATIC_TOKEN};
use crate::{LONGEST_SILENCE, run};

#[test]
fn a_page_of_an_allowed_origin_reads_its_tenants_rows_and_refreshes_on_403() {
    let page = Page::serve("app.localhost", PAGE);
    let guarded = guarded(&page);
    let seen = page.visited(&guarded.gateway());
    assert_eq!(seen["origin"], page.origin.as_str());

    let expired = &seen["expired"];
    assert_eq!((&expired["status"], &expired["body"]["code"]), (&json!(403), &json!("credential_expired")), "{seen:#}");
    assert!(expired["request_id"].as_str().is_some_and(|id| !id.is_empty()), "not exposed: {seen:#}");
    let names = ["rows", "another_tenant", "form", "json", "in_the_query"];
    for name in names {
        let call = &seen[name];
        assert_eq!(call["status"], 200, "{name}: {seen:#}");
        let rows = call["body"]["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(!rows.is_empty(), "{name}: {seen:#}");
        assert!(rows.iter().all(|row| row["product_id"].as_str().unwrap_or_default().starts_with("acme-")), "{name}");
    }
    assert_eq!(
        (&seen["nobody"]["status"], &seen["nobody"]["body"]["code"]),
        (&json!(401), &json!("credential_missing"))
    );
    assert_eq!(seen["asked_for_tokens"], 2, "the expired one, and one instead of it");

    let visits = guarded.visits();
    assert_eq!(visits.len(), names.len(), "what was refused did not arrive: {visits:?}");
    for visit in visits {
        assert_eq!(visit.credential, Credential::Static);
        assert!(!visit.query.contains("token="), "{visit:?}");
        let sent = format!("{}&{}", visit.query, String::from_utf8_lossy(&visit.body));
        assert!(sent.contains("acme") && !sent.contains("beta"), "{visit:?}");
    }
}

#[test]
fn a_page_of_a_third_origin_is_refused_by_the_browser() {
    let (page, stranger) = (Page::serve("app.localhost", PAGE), Page::serve("evil.localhost", PAGE));
    let guarded = guarded(&page);
    let seen = stranger.visited(&guarded.gateway());
    assert_eq!(seen["origin"], stranger.origin.as_str());
    for name in ["expired", "rows", "another_tenant", "form", "json", "in_the_query", "nobody"] {
        assert_eq!(seen[name], json!({ "blocked": "TypeError" }), "{name}: {seen:#}");
    }
    // A call without a preflight is answered to the browser, which keeps it from the page. None with one goes further.
    for visit in guarded.visits() {
        assert!(visit.query.contains("marker=in_the_query"), "{visit:?}");
    }
}

fn guarded(page: &Page) -> Guarded {
    let cors = format!("cors: {{ origins: [\"{}\"] }}\n", page.origin);
    Guarded::start(&format!("token: {STATIC_TOKEN}"), &cors).unwrap_or_else(|problem| panic!("{problem}"))
}

/// A customer's own server: the page, tokens for whoever is signed in there (everybody), and where the page reports.
pub(crate) struct Page {
    origin: String,
    address: SocketAddr,
    reports: Receiver<String>,
}

impl Page {
    /// Under a name that browsers look for on this machine.
    pub(crate) fn serve(name: &str, page: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
        let (sender, reports) = mpsc::sync_channel(16);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                // Chromium opens connections in advance and says nothing on them: none may hold up another.
                thread::spawn(move || serve(stream, page, &sender));
            }
        });
        Self { origin: format!("http://{name}:{}", address.port()), address, reports }
    }

    /// Where it really is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Loads the page in a browser, and waits for what it saw.
    fn visited(&self, gateway: &str) -> Value {
        self.visited_at(&format!("{}/?gateway={gateway}", self.origin), &Surroundings::default())
    }

    /// As [`Page::visited`], where the browser finds it elsewhere.
    pub(crate) fn visited_at(&self, url: &str, surroundings: &Surroundings) -> Value {
        let mut browser = Browser::start(url, surroundings);
        let report = self.reports.recv_timeout(LONGEST_SILENCE).unwrap_or_else(|_| {
            panic!("{} reported nothing for {LONGEST_SILENCE:?}; Chromium said:\n{}", self.address, browser.end())
        });
        serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"))
    }
}

/// One request, one answer, one connection.
fn serve(stream: TcpStream, page: &str, reports: &SyncSender<String>) -> Option<()> {
    stream.set_read_timeout(Some(LONGEST_SILENCE)).ok()?;
    let mut reader = BufReader::new(&stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).ok()?;
    let call = line.clone();
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line).ok()?;
        if let Some((name, value)) =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = value.trim().parse().unwrap_or_else(|_| panic!("{name} {value}"));
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = call.split(' ');
    let target = (words.next()?, words.next()?.split('?').next()?);
    let (status, media, text) = match target {
        ("GET", "/") => ("200 OK", "text/html; charset=utf-8", page.replace("PIPE", PIPE)),
        ("POST", "/expired-token") => ("200 OK", "text/plain", token(-120)),
        ("POST", "/token") => ("200 OK", "text/plain", token(600)),
        ("POST", "/report") => {
            reports.send(String::from_utf8_lossy(&body).into_owned()).ok()?;
            ("200 OK", "text/plain", String::new())
        }
        _ => ("404 Not Found", "text/plain", String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    (&stream).write_all(format!("{head}{text}").as_bytes()).ok()
}

/// For acme, ending that many seconds from now.
fn token(seconds: i64) -> String {
    #[expect(clippy::disallowed_methods, reason = "the gateway under test takes the time from the system, too")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let scopes = json!([{ "type": "PIPES:READ", "resource": PIPE, "fixed_params": { "company_id": "acme" } }]);
    let exp = now.saturating_add_signed(seconds);
    sign(&json!({ "workspace_id": WORKSPACE_ID, "name": "page", "exp": exp, "scopes": scopes }))
}

/// What a browser is told about the world.
#[derive(Default)]
pub(crate) struct Surroundings {
    /// Further switches.
    pub(crate) switches: Vec<String>,
    /// The certificate of an authority that it is to believe, PEM.
    pub(crate) authority: Option<PathBuf>,
}

/// A browser with a profile of its own; ends with the value, and all of its processes with it.
struct Browser {
    child: Child,
    profile: TempDir,
}

impl Browser {
    fn start(url: &str, surroundings: &Surroundings) -> Self {
        let profile = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder for a profile: {error}"));
        if let Some(authority) = &surroundings.authority {
            believe(authority, profile.path());
        }
        for name in NAMES {
            let said = fs::File::create(profile.path().join("said")).unwrap_or_else(|error| panic!("{error}"));
            let mut command = Command::new(name);
            command.args(SWITCHES).args(&surroundings.switches);
            command.arg(format!("--user-data-dir={}", profile.path().display())).arg(url);
            // Neither a desktop nor a proxy of whoever runs the tests may play a part.
            command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", profile.path());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).process_group(0);
            match command.spawn() {
                Ok(child) => return Self { child, profile },
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => panic!("{name} cannot be started: {error}"),
            }
        }
        panic!("none of {NAMES:?} is here: run `make test`, or `.ci/setup clients` once before `cargo test`");
    }

    /// What it said until now; it has ended then.
    fn end(&mut self) -> String {
        // The group is the browser's own: a zygote and its renderers would outlive the first process for a while.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
        fs::read_to_string(self.profile.path().join("said")).unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.end();
    }
}

/// Writes an authority where Chromium looks for a user's own on Linux.
fn believe(authority: &Path, home: &Path) {
    let store = home.join(".pki/nssdb");
    fs::create_dir_all(&store).unwrap_or_else(|error| panic!("{error}"));
    let store = format!("sql:{}", store.display());
    let file = authority.display().to_string();
    for arguments in [
        &["-N", "-d", &store, "--empty-password"][..],
        // Good for signing servers' certificates, and for nothing else.
        &["-A", "-d", &store, "-n", "tests", "-t", "C,,", "-i", &file],
    ] {
        let (is_fine, said) = run(Command::new("certutil").args(arguments)).unwrap_or_else(|problem| {
            panic!("{problem}: run `make test`, or `.ci/setup clients` once before `cargo test`")
        });
        assert!(is_fine, "certutil: {said}");
    }
}

const PAGE: &str = include_str!("page.html");

/// What distributions call it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// No window, no sandbox (containers forbid it, and the page is ours), nothing asked of the network.
const SWITCHES: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
];
