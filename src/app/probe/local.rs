//! Tries what the file names on this machine: addresses, the access log, the
//! gateway's own folder.
//!
//! In: a configuration. Out: findings. An address that is in use is no problem:
//! a running gateway uses it. Not here: anything that needs a network.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::app::tls;
use crate::config::Config;
use crate::config::issue::IssueCode;
use crate::config::scalar::Validity;
use crate::config::section::log::Access;
use crate::state::admin_token;

use super::{ENDS_SOON_DAYS, Grade, Problem, Trial, Trials, days};

/// Where something is to be written, for a moment.
const TRIAL_FILE: &str = ".tollgate-check";
/// Rights that the file of a token gives to others. A group may read it: operators are one.
const TOO_OPEN: u32 = 0o027;

pub(super) fn probe(config: &Config, now: SystemTime) -> Trials {
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
    if config.admin.token.is_none() {
        // Only the token that the gateway makes is kept there.
        state(&mut found, &config.state.folder());
    }
    certificates(&mut found, config, now);
    signers(&mut found, config, now);
    config.tls.acme.iter().filter_map(|acme| acme.dns_hook.as_deref()).for_each(|hook| program(&mut found, hook));
    found
}

/// Whether authorities of callers are valid now, and for how long.
fn signers(found: &mut Trials, config: &Config, now: SystemTime) {
    for signer in tls::signers(config) {
        let Some(term) = signer.term() else { continue };
        let (subject, path) = (format!("authority {}", term.subject), ["auth", signer.provider, "ca"]);
        let left = term.end.duration_since(now).map(days).unwrap_or_default();
        let problem = match signer.fault(now) {
            Some(title) => {
                let help = "put another one where it is; a running gateway notices";
                Problem::new(IssueCode::CertificateInvalid, &path, title, help)
            }
            None if left >= ENDS_SOON_DAYS => {
                found.note(&subject, Trial::Tls, Grade::Ok, format!("is valid for {left} days"));
                continue;
            }
            None => {
                let title = format!("the authority `{}` ends in {left} days, and all that it signed", term.subject);
                let help = "add its successor to the same file in time";
                Problem::new(IssueCode::CertificateDue, &path, title, help)
            }
        };
        found.problem(&subject, Trial::Tls, problem);
    }
}

/// Whether certificates are valid now, and for how long.
fn certificates(found: &mut Trials, config: &Config, now: SystemTime) {
    for given in tls::all(config) {
        let subject = format!("certificate of {}", given.pair.subject());
        let left = match given.pair.validity(now) {
            Validity::Now { left } => left,
            Validity::NotYet | Validity::Over => {
                let title = given.fault(now).unwrap_or_default();
                let help = "put another one where it is; a running gateway notices";
                found.problem(
                    &subject,
                    Trial::Tls,
                    Problem::new(IssueCode::CertificateInvalid, &given.path, title, help),
                );
                continue;
            }
        };
        let days = days(left);
        if days >= ENDS_SOON_DAYS {
            found.note(&subject, Trial::Tls, Grade::Ok, format!("is valid for {days} days"));
            continue;
        }
        let (file, valid) = (given.file.display(), given.pair.valid_words());
        let title = format!("the certificate in `{file}` ends in {days} days: it is valid {valid}");
        let help = "look why it was not renewed";
        found.problem(&subject, Trial::Tls, Problem::new(IssueCode::CertificateDue, &given.path, title, help));
    }
}

/// Whether the program that sets records is there. One without a slash is looked for by the system, when it is started.
fn program(found: &mut Trials, hook: &str) {
    let Some(program) = hook.split_ascii_whitespace().next().filter(|program| program.contains('/')) else { return };
    let why = match fs::metadata(program) {
        Ok(there) if there.is_file() && there.permissions().mode() & 0o111 != 0 => {
            return found.note("dns_hook", Trial::Tls, Grade::Ok, format!("{program} can be started"));
        }
        Ok(_) => "it is no program: is it executable?".to_owned(),
        Err(error) => error.to_string(),
    };
    let title = format!("`{program}` cannot be started: {why}");
    let help =
        "relative paths start at the folder of the file that names them; without a slash, it is looked for in PATH";
    found.problem(
        "dns_hook",
        Trial::Tls,
        Problem::new(IssueCode::Unreadable, &["tls", "acme", "dns_hook"], title, help),
    );
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

fn state(found: &mut Trials, folder: &Path) {
    // `a/./data` is how the default is put together, and not how anybody writes.
    let folder: PathBuf = folder.components().collect();
    let subject = "state";
    let mut problem = |title: String, help: String| {
        let problem = Problem::new(IssueCode::StateUnusable, &["state", "dir"], title, help);
        found.problem(subject, Trial::Write, problem);
    };
    let path = admin_token::path(&folder);
    let help = "let the gateway's user write there, or write another `state.dir` or `admin.token`";
    match admin_token::read(&folder) {
        Ok(_) => match mode_of(&path).filter(|mode| mode & TOO_OPEN != 0) {
            None => found.note(subject, Trial::Write, Grade::Ok, format!("{} is there", path.display())),
            Some(mode) => {
                let title = format!("others may read or change the admin token `{}` (mode {mode:04o})", path.display());
                problem(title, format!("chmod {:o} {}", mode & 0o740, path.display()));
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => match can_be_made(&folder) {
            Ok(()) => {
                let words = format!("{} can be written: an admin token will be made there", folder.display());
                found.note(subject, Trial::Write, Grade::Ok, words);
            }
            Err(error) => {
                problem(format!("no admin token can be kept in `{}`: {error}", folder.display()), help.to_owned());
            }
        },
        Err(error) => {
            problem(format!("the admin token `{}` cannot be used: {error}", path.display()), help.to_owned());
        }
    }
}

fn mode_of(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o777)
}

/// Whether a folder can be written, or made where the nearest one above it that is there can be.
fn can_be_made(folder: &Path) -> io::Result<()> {
    let folder = std::path::absolute(folder)?;
    let there = folder.ancestors().find(|above| above.symlink_metadata().is_ok());
    there.map_or(Ok(()), write_in)
}

/// Leaves no trace: a log that is there is opened and not written, one that is not is not made.
fn writable(path: &Path) -> io::Result<()> {
    if path.exists() {
        return fs::OpenOptions::new().append(true).open(path).map(drop);
    }
    write_in(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn write_in(folder: &Path) -> io::Result<()> {
    let trial = folder.join(format!("{TRIAL_FILE}-{:016x}", rand::random::<u64>()));
    fs::OpenOptions::new().write(true).create_new(true).open(&trial)?;
    fs::remove_file(&trial)
}
