//! A `redis-server` of the test's own: on a free port, in its own folder, ended with the test.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Connection, FromRedisValue};

use super::ports::free_port;

/// A server that may be down.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    pub port: u16,
    folder: tempfile::TempDir,
    options: Vec<String>,
}

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Server {
    /// A server that keeps nothing on disk.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// As [`Server::start`], with further options.
    pub fn with(options: &[&str]) -> Self {
        // Somebody else may take the port before it does, or the one that a cluster wants besides.
        for _ in 0..4 {
            let mut server = Self::absent(options);
            server.launch();
            if server.is_up() {
                return server;
            }
        }
        let mut server = Self::absent(options);
        server.run();
        server
    }

    /// A server that is not started yet.
    pub fn absent(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self { child: None, port: free_port(), folder, options }
    }

    /// Where a configuration finds it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Where it keeps its things.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    /// Further options, from its next start on.
    pub fn add(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
    }

    /// Starts it, and waits until it answers.
    pub fn run(&mut self) {
        self.launch();
        assert!(self.is_up(), "redis-server ended at once: {}", self.output());
    }

    /// Waits until it answers; false if it has ended instead.
    fn is_up(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while !self.answers() {
            if self.child.as_mut().is_some_and(|child| child.try_wait().expect("our own child").is_some()) {
                return false;
            }
            assert!(Instant::now() < end, "redis-server does not answer: {}", self.output());
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Starts it, and does not wait.
    pub fn launch(&mut self) {
        let log = std::fs::File::create(self.log()).expect("a file for its output");
        let start = |program: &str| {
            Command::new(program)
                .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--daemonize", "no"])
                .arg("--dir")
                .arg(self.folder.path())
                .args(&self.options)
                .stdin(Stdio::null())
                .stdout(Stdio::from(log.try_clone().expect("a file for its output")))
                .stderr(Stdio::null())
                .spawn()
        };
        let child = start("redis-server").or_else(|_| start("valkey-server"));
        self.child = Some(child.expect("redis-server or valkey-server is installed: run .ci/setup stores"));
    }

    /// Ends it as a crash would, with all that it knew.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
        }
    }

    /// It stops where it stands: connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// It goes on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// What it answers to a command.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_ask(words).expect("an answer")
    }

    /// As [`Server::ask`], where it may not answer.
    pub fn try_ask<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(*word));
        command.query(&mut self.connection()?)
    }

    /// A connection of the test's own.
    pub fn connection(&self) -> redis::RedisResult<Connection> {
        let client = redis::Client::open(self.url()).expect("a URL");
        let connection = client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok(connection)
    }

    fn answers(&self) -> bool {
        let login = self.try_ask::<String>(&["PING"]);
        // One that wants a password answers as well.
        login.is_ok_and(|answer| answer == "PONG") || self.output().contains("Ready to accept connections")
    }

    fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("it runs");
        let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
        assert!(sent.expect("kill exists").success(), "the server takes a signal");
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("output")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // One that is paused ends as well; an error means that it has ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
