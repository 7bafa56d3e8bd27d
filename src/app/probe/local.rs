//! Tries what the file names on this machine: addresses and the access log.
//!
//! In: a configuration. Out: findings. An address that is in use is no problem:
//! a running gateway uses it. Not here: anything that needs a network.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use crate::config::Config;
use crate::config::issue::IssueCode;
use crate::config::section::log::Access;

use super::{Grade, Problem, Trial, Trials};

/// Beside the access log, for a moment.
const TRIAL_FILE: &str = ".tollgate-check";

pub(super) fn probe(config: &Config) -> Trials {
    let mut found = Trials::default();
    for (index, listener) in config.listeners.iter().enumerate() {
        let path = ["listeners", &index.to_string(), "address"];
        address(&mut found, &format!("listener {}", listener.address), &path, listener.address);
    }
    let admin = config.admin.address;
    address(&mut found, &format!("admin {admin}"), &["admin", "address"], admin);
    if let Access::File(path) = &config.log.access {
        access_log(&mut found, path);
    }
    found
}

fn address(found: &mut Trials, subject: &str, path: &[&str], address: SocketAddr) {
    let mut note = |grade, words: &str| found.note(subject, Trial::Address, grade, words);
    match TcpListener::bind(address) {
        Ok(_) if address.port() == 0 => note(Grade::Ok, "takes a free port"),
        Ok(_) => note(Grade::Ok, "is free"),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            note(Grade::Note, "is in use: by the running gateway, or by another program");
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            note(Grade::Note, "is not for this user to listen on: ports below 1024 want a permission");
        }
        Err(error) => {
            let title = format!("`{address}` cannot be listened on: {error}");
            let help = "write an address of this machine, or 0.0.0.0 for all of them";
            found.problem(subject, Trial::Address, Problem::new(IssueCode::AddressUnusable, path, title, help));
        }
    }
}

fn access_log(found: &mut Trials, path: &Path) {
    let subject = format!("access log {}", path.display());
    match writable(path) {
        Ok(()) => found.note(&subject, Trial::Write, Grade::Ok, "can be written"),
        Err(error) => {
            let title = format!("the access log `{}` cannot be written: {error}", path.display());
            let help = "make its folder, and let the gateway's user write there";
            let problem = Problem::new(IssueCode::LogUnwritable, &["log", "access"], title, help);
            found.problem(&subject, Trial::Write, problem);
        }
    }
}

/// Leaves no trace: a log that is there is opened and not written, one that is not is not made.
fn writable(path: &Path) -> io::Result<()> {
    if path.exists() {
        return fs::OpenOptions::new().append(true).open(path).map(drop);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let trial = folder.join(format!("{TRIAL_FILE}-{}", std::process::id()));
    fs::OpenOptions::new().write(true).create_new(true).open(&trial)?;
    fs::remove_file(&trial)
}
