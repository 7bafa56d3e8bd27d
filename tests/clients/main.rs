//! Real clients through the gateway: Tinybird's own, which must not notice that it is there, and a browser.
//!
//! Each test starts a gateway with the bundled upstream and runs one driver of `tests/clients/` against it. The checks
//! themselves are in the drivers, in the clients' own languages. `make test` installs the clients (`.ci/setup clients`).

mod browser;
mod domain;
mod guarded;
mod jwt;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

#[test]
fn typescript_sdk_works_unchanged() {
    let outcome = beside_the_packages("sdk.mjs").and_then(|driver| drive(&clients("node"), &driver));
    let problem = outcome.err().unwrap_or_default();
    assert!(problem.is_empty(), "{problem}");
}

#[test]
fn verdin_works_unchanged() {
    let outcome =
        installed("venv").and_then(|()| drive(&clients("venv/bin/python"), &project("tests/clients/verdin_client.py")));
    let problem = outcome.err().unwrap_or_default();
    assert!(problem.is_empty(), "{problem}");
}

/// Runs a driver against a demo of its own; an error carries what both of them printed.
fn drive(program: &Path, driver: &Path) -> Result<(), String> {
    let mut demo = Demo::start()?;
    let base_url = demo.base_url.clone();
    pass(program, driver, &[&base_url, CALLERS_OWN_TOKEN])
        .map_err(|said| format!("{said}\nThe demo said:\n{}", demo.said()))
}

/// Runs a driver to its end; an error carries what it printed.
fn pass(program: &Path, driver: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut client = Command::new(program);
    // An empty environment: proxies and the clients' own variables (TINYBIRD_TOKEN, GITHUB_HEAD_REF, ..) must not play a part.
    ended_well(driver, client.arg(driver).args(arguments).env_clear())
}

/// Runs a driver's process to its end; an error carries what it printed.
fn ended_well(driver: &Path, client: &mut Command) -> Result<(), String> {
    let (finished, said) = run(client)?;
    if finished && said.lines().any(|line| line.starts_with("ok ")) {
        return Ok(());
    }
    Err(format!("{} did not pass:\n{said}", driver.display()))
}

/// Node looks for packages upwards from a driver, so the driver has to lie beside them.
fn beside_the_packages(name: &str) -> Result<PathBuf, String> {
    installed("node_modules/@tinybirdco/sdk")?;
    let (source, driver) = (project("tests/clients").join(name), clients(name));
    // Whole or not at all: another test may be reading it.
    let copy = clients(&format!("{name}.{}.tmp", process::id()));
    fs::copy(&source, &copy)
        .and_then(|_| fs::rename(&copy, &driver))
        .map_err(|error| format!("{} cannot be copied: {error}", source.display()))?;
    Ok(driver)
}

/// Runs to the end, or until it falls silent; whether it succeeded, and what it printed.
fn run(command: &mut Command) -> Result<(bool, String), String> {
    let mut process = Process::spawn(command)?;
    let mut said = String::new();
    loop {
        match process.lines.recv_timeout(LONGEST_SILENCE) {
            Ok((_, line)) => said.push_str(&line),
            // Both outputs are closed: it has ended.
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                return Ok((false, format!("{said}(silent for {LONGEST_SILENCE:?}, and not at its end)\n")));
            }
        }
    }
    let status = process.child.wait().map_err(|error| format!("waiting failed: {error}"))?;
    Ok((status.success(), format!("{said}({status})\n")))
}

/// A gateway in front of the demo upstream; ends with the value.
struct Demo {
    process: Process,
    base_url: String,
    said: String,
}

impl Demo {
    fn start() -> Result<Self, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let process = Process::spawn(command.args(["demo", "--listen", "127.0.0.1:0"]))?;
        let mut said = String::new();
        while let Ok((output, line)) = process.lines.recv_timeout(LONGEST_SILENCE) {
            said.push_str(&line);
            // Logs on the other output may name other addresses.
            if let (Output::Stdout, Some(base_url)) = (output, base_url(&line)) {
                return Ok(Self { process, base_url, said });
            }
        }
        Err(format!(
            "`tollgate demo` ended, or was silent for {LONGEST_SILENCE:?}, without naming its base URL; it said:\n{said}"
        ))
    }

    fn said(&mut self) -> &str {
        self.said.extend(self.process.lines.try_iter().map(|(_, line)| line));
        &self.said
    }
}

/// A child process whose output is read all the time, so that it never waits for its reader; killed with the value.
struct Process {
    child: Child,
    lines: Receiver<(Output, String)>,
}

#[derive(Clone, Copy)]
enum Output {
    Stderr,
    Stdout,
}

impl Process {
    fn spawn(command: &mut Command) -> Result<Self, String> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name} cannot be started: {error}"))?;
        let (sender, lines) = mpsc::sync_channel(MOST_LINES);
        let stdout = child.stdout.take().map(|pipe| (Output::Stdout, Box::new(pipe) as Box<dyn Read + Send>));
        let stderr = child.stderr.take().map(|pipe| (Output::Stderr, Box::new(pipe) as Box<dyn Read + Send>));
        for (output, pipe) in stdout.into_iter().chain(stderr) {
            let sender = sender.clone();
            thread::spawn(move || {
                let mut pipe = BufReader::new(pipe);
                let mut line = Vec::new();
                while matches!(pipe.read_until(b'\n', &mut line), Ok(1..)) {
                    // What nobody reads any more, or yet, is dropped; the pipe is emptied all the same.
                    let _ = sender.try_send((output, String::from_utf8_lossy(&line).into_owned()));
                    line.clear();
                }
            });
        }
        Ok(Self { child, lines })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first `http://127.0.0.1:PORT` of a line.
fn base_url(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(LOOPBACK)?;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (!port.is_empty()).then(|| format!("{LOOPBACK}{port}"))
}

fn installed(part: &str) -> Result<(), String> {
    // The stamp is written last: without it an installation broke off.
    let missing = [clients("stamp"), clients(part)].into_iter().find(|path| !path.exists());
    missing.map_or(Ok(()), |path| {
        Err(format!("{} is missing: run `make test`, or `.ci/setup clients` once before `cargo test`", path.display()))
    })
}

fn clients(path: &str) -> PathBuf {
    project(".build/clients").join(path)
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Nothing knows it: a caller's token is neither needed nor passed on.
const CALLERS_OWN_TOKEN: &str = "p.a-token-the-upstream-does-not-know";
const LOOPBACK: &str = "http://127.0.0.1:";
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
const MOST_LINES: usize = 10_000;
