//! Gateways that follow each other: the first is our child, the others are started by those before them.
//!
//! Not here: what calls them (`calls`).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::eventually::eventually;

/// The gateways of one test; dropping it kills what is left of them.
#[derive(Debug)]
pub struct Line {
    first: Child,
    later: BTreeSet<u32>,
    folder: tempfile::TempDir,
}

impl Line {
    /// The first, from this configuration, once it listens.
    pub async fn start(text: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), text, &[]).await
    }

    /// As [`Line::start`], in a folder where something lies already, with these variables.
    pub async fn start_in(folder: tempfile::TempDir, text: &str, environment: &[(&str, &OsStr)]) -> Self {
        let program = folder.path().join("tollgate");
        // A file of the test's own, which it may replace. A link will do: the gateway is started by what it was called.
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_tollgate"), &program).expect("a link");
        std::fs::write(folder.path().join("test.yaml"), text).expect("a configuration");
        let output = |name: &str| Stdio::from(File::create(folder.path().join(name)).expect("a file"));
        let first = Command::new(&program)
            .args(["run", "-c", "test.yaml"])
            .envs(environment.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .expect("the binary starts");
        let line = Line { first, later: BTreeSet::new(), folder };
        eventually("the gateway to say where it listens", || line.said().contains("health and metrics on")).await;
        line
    }

    /// A file of the folder in which all of them work.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What all of them said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.file("stderr")).expect("the file of stderr")
    }

    /// The address behind these words, as the last one has it.
    pub fn address(&self, words: &str) -> SocketAddr {
        let said = self.said();
        let (_, rest) = said.rsplit_once(words).unwrap_or_else(|| panic!("no {words}: {said}"));
        rest.split([' ', ',', '\n']).next().and_then(|address| address.parse().ok()).expect("an address")
    }

    pub fn first(&self) -> u32 {
        self.first.id()
    }

    /// `tollgate ...` at the gateway that answers: port 0 of its file says nothing.
    pub fn asking(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let url = format!("http://{}", self.address("health and metrics on http://"));
        command.args(arguments).args(["--admin-url", &url, "--token-file"]).arg(self.file("data/admin.token"));
        command.stdin(Stdio::null());
        command
    }

    /// Asks for an upgrade, with these arguments besides.
    pub async fn upgrade(&mut self, arguments: &[&str]) -> (Option<i32>, Value) {
        let mut command = self.asking(&["upgrade", "--format", "json"]);
        command.args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs");
        let answer = self.note(&output);
        (output.status.code(), answer)
    }

    /// The answer of an upgrade; its process is killed with the others.
    pub fn note(&mut self, output: &Output) -> Value {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {said}"));
        self.later.extend(answer["pid"].as_u64().map(|pid| u32::try_from(pid).expect("a number of a process")));
        answer
    }

    /// The metrics of the gateway that answers.
    pub fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.address("health and metrics on http://")).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text
    }

    /// Whether a process listens nowhere any more.
    pub fn is_quiet(&self, pid: u32) -> bool {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a running process");
        let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let ours: BTreeSet<String> = links.map(|link| link.display().to_string()).collect();
        let sockets = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("sockets");
        let listens = sockets.lines().skip(1).filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            (columns[3] == "0A").then(|| format!("socket:[{}]", columns[9]))
        });
        listens.into_iter().all(|socket| !ours.contains(&socket))
    }

    /// Looks whether the first has ended, and with which code.
    pub fn first_ended(&mut self) -> Option<i32> {
        self.first.try_wait().expect("our child").and_then(|status| status.code())
    }

    pub fn signal(pid: u32, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
        assert!(sent.expect("kill exists").success(), "the process takes a signal");
    }

    /// Waits until a process has ended, our child or not.
    pub async fn ended(&mut self, pid: u32) {
        eventually("the process to end", || {
            if pid == self.first.id() { self.first_ended().is_some() } else { !is_running(pid) }
        })
        .await;
    }
}

/// Whether a process runs, as the system sees it: who has ended and is not waited for does not.
pub fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

impl Drop for Line {
    fn drop(&mut self) {
        drop(self.first.kill());
        drop(self.first.wait());
        // One that was not told of: in the log it is.
        for pid in
            self.said().split("upgraded: process ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse().ok())
        {
            self.later.insert(pid);
        }
        for pid in &self.later {
            if is_running(*pid) {
                drop(Command::new("kill").arg("-KILL").arg(pid.to_string()).status());
            }
        }
    }
}
