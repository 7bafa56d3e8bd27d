//! The binary as a process of its own, for what only a whole process shows: signals, exit codes, stderr.
//!
//! Not here: a gateway inside the test (`gateway`), which is quicker.

use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::eventually::eventually;

/// A running `tollgate run`; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    folder: tempfile::TempDir,
}

impl Process {
    /// Runs this configuration, whatever becomes of it. Relative paths in it start in [`Process::folder`].
    pub fn run(text: &str) -> Self {
        Self::run_in(text, [])
    }

    /// As [`Process::run`], with these variables in its environment.
    pub fn run_in<const N: usize>(text: &str, environment: [(&str, &OsStr); N]) -> Self {
        Self::begin(tempfile::tempdir().expect("a folder for the test"), &[], text, environment)
    }

    /// As [`Process::run`], by this command, which becomes the gateway: `env`, `setpriv`.
    pub fn run_under(wrapper: &[&str], text: &str) -> Self {
        Self::begin(tempfile::tempdir().expect("a folder for the test"), wrapper, text, [])
    }

    fn begin<const N: usize>(
        folder: tempfile::TempDir,
        wrapper: &[&str],
        text: &str,
        environment: [(&str, &OsStr); N],
    ) -> Self {
        let file = folder.path().join("test.yaml");
        std::fs::write(&file, text).expect("a configuration");
        let output = |name: &str| Stdio::from(File::create(folder.path().join(name)).expect("a file for output"));
        let program = env!("CARGO_BIN_EXE_tollgate");
        let words = [wrapper, &[program]].concat();
        let child = Command::new(words.first().expect("the program, if nothing else"))
            .args(words.iter().skip(1))
            .arg("run")
            .arg("-c")
            .arg(&file)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .expect("the binary starts");
        Self { child, folder }
    }

    /// As [`Process::run`], once it listens.
    pub async fn start(text: &str) -> Self {
        Self::run(text).listening().await
    }

    /// As [`Process::start`], with a folder of this name beside the file.
    pub async fn start_in(text: &str, inner: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        std::fs::create_dir(folder.path().join(inner)).expect("a folder in it");
        Self::begin(folder, &[], text, []).listening().await
    }

    /// The same process, once it listens.
    pub async fn listening(self) -> Self {
        let process = self;
        eventually("the gateway to say where it listens", || process.stderr().contains("health and metrics on")).await;
        process
    }

    /// Where callers connect.
    pub fn addr(&self) -> SocketAddr {
        self.said("listening on http://")
    }

    /// Where the operator connects.
    pub fn admin(&self) -> SocketAddr {
        self.said("health and metrics on http://")
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A folder of the test's own.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    /// What was written to standard error so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).expect("the file of stderr")
    }

    /// What was written to standard output so far.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stdout")).expect("the file of stdout")
    }

    /// Whether it hears this signal, by number: without that, the signal ends it.
    pub fn hears(&self, signal: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running process");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a mask of signals");
        let caught = u64::from_str_radix(caught.trim(), 16).expect("a hexadecimal number");
        caught & (1 << (signal - 1)) != 0
    }

    /// A line of `/proc/PID/status` in KiB, such as `VmHWM`.
    pub fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running process");
        let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
        let number = value.and_then(|value| value.trim().strip_suffix("kB")?.trim().parse().ok());
        number.expect("a number of KiB")
    }

    /// Sends this signal: `TERM`, `INT`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(sent.expect("kill exists").success(), "the process takes a signal");
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the process to end", || {
            status = self.child.try_wait().expect("our own child");
            status.is_some()
        })
        .await;
        status.expect("it has ended")
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    fn said(&self, before: &str) -> SocketAddr {
        let stderr = self.stderr();
        let address = stderr.split_once(before).and_then(|(_, rest)| rest.split([' ', ',', '"', '\n']).next());
        address
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("no address after {before}: {stderr}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
