//! A Postgres of the test's own: on a free port, in its own folder, ended with the test.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::ports::free_port;

/// A server that may be down.
#[derive(Debug)]
pub struct Postgres {
    child: Option<Child>,
    pub port: u16,
    folder: tempfile::TempDir,
    options: Vec<String>,
}

/// The password of the user `tollgate`, who may do everything.
pub const PASSWORD: &str = "S3cr3t-of-tests";
/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// Who runs it where the tests are run by root, whom it refuses: `nobody`.
const NOBODY: u32 = 65_534;

impl Postgres {
    /// A server with a database `tollgate`.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// As [`Postgres::start`], with further options.
    pub fn with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { child: None, port: free_port(), folder, options };
        std::fs::write(server.path("password"), PASSWORD).expect("a file");
        if server.is_root() {
            for path in [server.folder.path().to_owned(), server.path("password")] {
                chown(path, Some(NOBODY), Some(NOBODY)).expect("root may give files away");
            }
        }
        let made = server
            .program("initdb")
            .args(["--no-sync", "-A", "scram-sha-256", "-E", "UTF8", "--locale", "C", "-U", "tollgate"])
            .arg("--pwfile")
            .arg(server.path("password"))
            .arg("-D")
            .arg(server.path("data"))
            .output();
        let made = made.expect("initdb is installed: run .ci/setup stores");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server.run();
        server.sql_in("postgres", "CREATE DATABASE tollgate");
        server
    }

    /// Where a configuration finds it.
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The same behind another port.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgres://tollgate:{PASSWORD}@127.0.0.1:{port}/tollgate")
    }

    /// Starts it, and waits until it answers.
    pub fn run(&mut self) {
        let log = std::fs::File::create(self.path("output")).expect("a file for its output");
        let child = self
            .program("postgres")
            .arg("-D")
            .arg(self.path("data"))
            .args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "fsync=off", "-c", "shared_buffers=16MB"])
            .args(self.options.iter().flat_map(|option| ["-c", option]))
            .stderr(Stdio::from(log))
            .spawn();
        self.child = Some(child.expect("postgres is installed: run .ci/setup stores"));
        let end = Instant::now() + PATIENCE;
        while !self.psql("postgres", "SELECT 1").status.success() {
            let output = || std::fs::read_to_string(self.path("output")).unwrap_or_default();
            assert!(Instant::now() < end, "postgres does not answer: {}", output());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Further options, from its next start on.
    pub fn add(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
    }

    /// Ends it at once, with all connections; what was committed is there when it runs again.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Not killed: it would leave its shared memory behind.
            let sent = Command::new("kill").arg("-QUIT").arg(child.id().to_string()).status();
            assert!(sent.expect("kill exists").success(), "the server takes a signal");
            child.wait().expect("our own child");
        }
    }

    /// What it answers, one line for each row.
    pub fn sql(&self, text: &str) -> String {
        self.sql_in("tollgate", text)
    }

    /// The same in another database.
    pub fn sql_in(&self, database: &str, text: &str) -> String {
        let Output { status, stdout, stderr } = self.psql(database, text);
        assert!(status.success(), "{text}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).expect("text").trim_end().to_owned()
    }

    /// Puts a file where it can read it, and nobody else.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("our own file");
        if self.is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).expect("root may give files away");
        }
        path.to_str().expect("a readable path").to_owned()
    }

    fn psql(&self, database: &str, text: &str) -> Output {
        Command::new("psql")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "tollgate", "-d", database])
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", text])
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::null())
            .output()
            .expect("psql is installed: run .ci/setup stores")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn is_root(&self) -> bool {
        std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
    }

    /// A program of Postgres', run by somebody whom it does not refuse.
    fn program(&self, name: &str) -> Command {
        let mut command = match self.is_root() {
            true => {
                let mut command = Command::new("setpriv");
                let nobody = NOBODY.to_string();
                command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--"]).arg(program(name));
                command
            }
            false => Command::new(program(name)),
        };
        command.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Debian keeps them out of the way, one folder for each version.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = versions.map(|entry| entry.path()).max_by_key(number);
    newest.map(|folder| folder.join("bin").join(name)).filter(|path| path.exists()).unwrap_or_else(|| name.into())
}
