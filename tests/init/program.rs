//! The binary as a child: run to its end, or beside a test.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};

/// A process that does not outlive its test.
pub(crate) struct Running {
    child: Child,
    /// What it says besides, held open so that it can.
    rest: Option<Box<dyn BufRead>>,
}

impl Running {
    pub(crate) fn demo_upstream(token: &str) -> (Self, SocketAddr) {
        let mut command = command(&["demo-upstream", "--listen", "127.0.0.1:0", "--token", token]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut running = Running { child, rest: None };
        let said = BufReader::new(running.child.stdout.take().unwrap());
        let address = running.address_after("http://", said);
        (running, address)
    }

    /// A gateway whose first listener is at the address.
    pub(crate) fn gateway(command: &mut Command) -> (Self, SocketAddr) {
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Running { child, rest: None };
        let said = BufReader::new(running.child.stderr.take().unwrap());
        let address = running.address_after("listening on http://", said);
        (running, address)
    }

    fn address_after(&mut self, words: &str, mut said: impl BufRead + 'static) -> SocketAddr {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended before it said {words}");
        }
        self.rest = Some(Box::new(said));
        let (_, rest) = line.split_once(words).unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn get(address: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).env("TINYBIRD_TOKEN", "p.a-token-of-tests").stdin(Stdio::null());
    for name in ["CLICOLOR_FORCE", "RUST_LOG", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"] {
        command.env_remove(name);
    }
    command
}

/// Runs to the end.
pub(crate) fn tollgate(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
