//! A Prometheus of the test's own: deploy/prometheus as it is, but for where the gateway is and how often it is asked.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http;
use crate::files::project;

/// How long it may take to start.
const START: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running server; dropping it kills it.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    addr: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// A server that asks the gateway at `admin`, showing `token`.
    pub fn start(admin: SocketAddr, token: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let config = write_config(folder.path(), admin, token);
        let log = folder.path().join("log");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a file for its log"))
            .spawn()
            .expect("prometheus is installed: run .ci/setup stack");
        let mut started = Self { child, addr: ([127, 0, 0, 1], 0).into(), _folder: folder };
        started.addr = started.listens(&log);
        started
    }

    /// The value of a query: its samples, or why there are none.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let encoded: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let answer = self.ask(&format!("query?query={encoded}"));
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default()),
            _ => Err(answer["error"].as_str().unwrap_or("no answer").to_owned()),
        }
    }

    /// What its API answers.
    pub fn ask(&self, what: &str) -> Value {
        let (_, body) = http::get(self.addr, &format!("/api/v1/{what}"));
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// The address that its log names.
    fn listens(&mut self, log: &Path) -> SocketAddr {
        let end = Instant::now() + START;
        loop {
            let text = std::fs::read_to_string(log).expect("the file of its log");
            let address = text.split("msg=\"Listening on\" address=").nth(1);
            if let Some(address) = address.and_then(|rest| rest.split_whitespace().next()?.parse().ok()) {
                return address;
            }
            let ended = self.child.try_wait().expect("our own child");
            assert!(ended.is_none() && Instant::now() < end, "prometheus does not start: {text}");
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn write_config(folder: &Path, admin: SocketAddr, token: &str) -> PathBuf {
    let text = std::fs::read_to_string(project("deploy/prometheus/prometheus.yml")).expect("the file of the stack");
    let token_file = folder.join("token");
    std::fs::write(&token_file, token).expect("a token");
    let replaced = [
        ("15s", "1s".to_owned()),
        ("rules/*.yml", project("deploy/prometheus/rules/*.yml").display().to_string()),
        ("/run/tollgate/admin.token", token_file.display().to_string()),
        ("tollgate:9901", admin.to_string()),
    ];
    let text = replaced.into_iter().fold(text, |text, (before, after)| {
        assert!(text.contains(before), "deploy/prometheus/prometheus.yml has no {before} any more");
        text.replace(before, &after)
    });
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, text).expect("a configuration");
    file
}
