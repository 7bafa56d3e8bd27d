//! A gateway in this process, in front of a [`MockOrigin`].
//!
//! `let gw = TestGateway::with("routes: { /a: { pipe: a } }");` and then calls to
//! `gw.addr()`. The text is a whole configuration but for what every test would
//! repeat: `listeners`, `admin`, `log` and, unless it is written, `upstreams`
//! with the one upstream `t` and the token [`TOKEN`]. `{origin}` stands for the
//! origin's URL.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate::app::{App, Origin, Supervisor};
use tollgate::clock::{Clock, TestClock};
use tollgate::config::interpolate::Environment;
use tollgate::config::{ConfigFile, load_text};
use tollgate::proxy::server::Signals;

use super::client::{self, Response};
use super::origin::MockOrigin;
use super::watched::PATIENCE;

/// The credential that only the upstream may see.
pub const TOKEN: &str = "p.eyJ1IjoidGVzdCJ9.a-secret-that-must-never-leave";

/// The name of the gateway's file in its folder.
const FILE: &str = "test.yaml";

/// A running gateway; dropping it ends it.
pub struct TestGateway {
    app: Option<App>,
    /// What stands behind it.
    pub origin: MockOrigin,
    folder: tempfile::TempDir,
}

impl TestGateway {
    /// A gateway with these sections, on the system's clock.
    pub fn with(sections: &str) -> Self {
        Self::start(MockOrigin::start(), sections, Clock::system())
    }

    /// As [`TestGateway::with`], on a clock that stands still until the test turns it:
    /// back-off, budgets, attempt and total time-outs follow it.
    pub fn with_clock(sections: &str, time: &TestClock) -> Self {
        Self::start(MockOrigin::start(), sections, time.clock())
    }

    /// As [`TestGateway::with`], in front of an origin that the test made.
    pub fn start(origin: MockOrigin, sections: &str, clock: Clock) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let text = Self::text(sections, &origin.url(), folder.path());
        let loaded = load_text("test.yaml", &text, folder.path().to_path_buf(), &Environment::of([]));
        let loaded = loaded.unwrap_or_else(|issues| panic!("{issues}\nin\n{text}"));
        let app = App::start(&loaded.config, clock, Signals::Ignore).unwrap_or_else(|error| panic!("{error:#}"));
        TestGateway { app: Some(app), origin, folder }
    }

    /// As [`TestGateway::with`], from a file that the test can write again: see [`TestGateway::rewrite`].
    pub fn from_file(sections: &str, clock: Clock) -> Self {
        Self::from_folder(tempfile::tempdir().expect("a folder for the test"), sections, clock)
    }

    /// As [`TestGateway::from_file`], in a folder where something lies already.
    pub fn from_folder(folder: tempfile::TempDir, sections: &str, clock: Clock) -> Self {
        Self::open(MockOrigin::start(), folder, sections, clock)
    }

    /// As [`TestGateway::from_file`], in front of an origin that the test made.
    pub fn from_file_at(origin: MockOrigin, sections: &str, clock: Clock) -> Self {
        Self::open(origin, tempfile::tempdir().expect("a folder for the test"), sections, clock)
    }

    fn open(origin: MockOrigin, folder: tempfile::TempDir, sections: &str, clock: Clock) -> Self {
        let path = folder.path().join(FILE);
        std::fs::write(&path, Self::text(sections, &origin.url(), folder.path())).expect("a file");
        let file = ConfigFile::new(path, Environment::of([]));
        let (loaded, touched) = file.load();
        let config = loaded.unwrap_or_else(|issues| panic!("{issues}")).config;
        let origin_of_config = Some(Origin { file, touched });
        let app = App::start_from(origin_of_config, &config, clock, Signals::Ignore, Supervisor::none());
        TestGateway { app: Some(app.unwrap_or_else(|error| panic!("{error:#}"))), origin, folder }
    }

    /// Writes the gateway's file again, as an editor does: under another name first.
    pub fn rewrite(&self, sections: &str) {
        let fresh = self.folder.path().join("fresh");
        std::fs::write(&fresh, Self::text(sections, &self.origin.url(), self.folder.path())).expect("a file");
        std::fs::rename(fresh, self.folder.path().join(FILE)).expect("a file");
    }

    /// `POST /reload` with the token that the gateway made.
    pub async fn reload(&self) -> Response {
        self.reload_with(&self.admin_token()).await
    }

    /// `POST /reload` with this token.
    pub async fn reload_with(&self, token: &str) -> Response {
        let request = client::Request::post("/reload").bearer(token).header("Content-Type", "application/json");
        request.send(self.admin()).await
    }

    /// The token that the gateway made.
    pub fn admin_token(&self) -> String {
        let path = self.folder.path().join("data/admin.token");
        std::fs::read_to_string(path).expect("the gateway made a token").trim_end().to_owned()
    }

    fn text(sections: &str, origin: &str, folder: &Path) -> String {
        let mut text = sections.replace("{origin}", origin);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let has = |key: &str| text.lines().any(|line| line.starts_with(key));
        let mut rest = String::new();
        if !has("listeners:") {
            rest.push_str("listeners: [{ address: 127.0.0.1:0 }]\n");
        }
        if !has("admin:") {
            rest.push_str("admin: { address: 127.0.0.1:0 }\n");
        }
        if !has("upstreams:") {
            rest.push_str(&format!("upstreams: {{ t: {{ url: '{origin}', token: '{TOKEN}' }} }}\n"));
        }
        if !has("log:") {
            let file = folder.join("access.log");
            rest.push_str(&format!("log: {{ format: json, access: '{}' }}\n", file.display()));
        }
        text + &rest
    }

    /// Where callers connect.
    pub fn addr(&self) -> SocketAddr {
        self.app().addresses()[0]
    }

    /// Where the operator connects.
    pub fn admin(&self) -> SocketAddr {
        self.app().admin_address()
    }

    /// The running application.
    pub fn app(&self) -> &App {
        self.app.as_ref().expect("the gateway runs")
    }

    /// Takes the application out, for tests of its end.
    pub fn take_app(&mut self) -> App {
        self.app.take().expect("the gateway runs")
    }

    /// A folder of the test's own, where relative paths of the configuration start.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    /// GET with a plain head.
    pub async fn get(&self, target: &str) -> Response {
        client::get(self.addr(), target).await
    }

    /// POST with a body of this type.
    pub async fn post(&self, target: &str, content_type: &str, body: &[u8]) -> Response {
        client::request(self.addr(), "POST", target, &[("Content-Type", content_type)], body).await
    }

    /// Everything on `/metrics`.
    pub async fn metrics(&self) -> String {
        client::get(self.admin(), "/metrics").await.body_text()
    }

    /// The value of one line of `/metrics`, written with its labels; 0 if it is not there.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// The access log, once it has `count` lines.
    pub async fn log_lines(&self, count: usize) -> Vec<String> {
        let file = self.folder.path().join("access.log");
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let text = std::fs::read_to_string(&file).unwrap_or_default();
                let lines: Vec<String> = text.lines().map(str::to_owned).collect();
                if lines.len() >= count && text.ends_with('\n') {
                    return lines;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        waited.await.unwrap_or_else(|_| panic!("the access log never had {count} lines"))
    }

    /// As [`TestGateway::log_lines`], parsed.
    pub async fn log(&self, count: usize) -> Vec<serde_json::Value> {
        let lines = self.log_lines(count).await;
        lines.iter().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    /// Asserts that the gateway still answers.
    pub async fn assert_alive(&self) {
        let response = client::get(self.admin(), "/livez").await;
        assert_eq!(response.status, 200);
    }
}

/// Asserts that an answer is a refusal of this kind, in the documented shape, and betrays nothing.
pub fn assert_refused(response: &Response, status: u16, code: &str) {
    assert_eq!(response.status, status, "{}", response.body_text());
    assert_eq!(response.header("content-type").as_deref(), Some("application/json"));
    let body = response.json();
    assert_eq!(body["code"], code, "{body}");
    assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    assert_eq!(body["request_id"].as_str(), response.header("x-request-id").as_deref(), "{body}");
    assert_nothing_betrayed(response);
}

/// Asserts that neither the token nor the upstream's identity is anywhere in an answer.
pub fn assert_nothing_betrayed(response: &Response) {
    for word in
        [TOKEN, "tinybird", "Tinybird", "clickhouse", "ClickHouse", "tollgate", "Tollgate", "pingora", "Pingora"]
    {
        assert!(!response.contains(word), "{word} in {}", String::from_utf8_lossy(&response.raw));
    }
    for name in ["server", "via", "x-powered-by", "set-cookie"] {
        assert_eq!(response.header(name), None, "{name}");
    }
}
