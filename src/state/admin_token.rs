//! The admin token of a gateway whose file has none: made once, kept in a file.
//!
//! In: `state.dir`. Out: the token. Not here: a token that the operator wrote.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rand::RngCore;
use rand::rngs::OsRng;

use crate::config::scalar::Secret;

/// Its name in `state.dir`.
const FILE: &str = "admin.token";
/// 192 bits: nobody guesses it.
const BYTES: usize = 24;
/// Larger files than this hold no token.
pub const MAX: u64 = 4096;

/// Where the token is kept.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

/// The token in `dir`, which is made if there is none; only the gateway's own
/// user may read it.
///
/// # Errors
/// What the system says, or that the file holds no token.
pub fn open(dir: &Path) -> io::Result<Secret> {
    match read(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(dir),
        found => found,
    }
}

/// The token in `dir`.
///
/// # Errors
/// What the system says, or that the file holds no token.
pub fn read(dir: &Path) -> io::Result<Secret> {
    let mut text = String::new();
    let file = File::open(path(dir))?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o007 != 0 {
        let why = format!("everybody may use it (mode {:04o}): chmod 600", mode & 0o777);
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    file.take(MAX).read_to_string(&mut text)?;
    text.trim_end().parse().map_err(|why: String| io::Error::new(io::ErrorKind::InvalidData, why))
}

fn make(dir: &Path) -> io::Result<Secret> {
    let mut bytes = [0; BYTES];
    OsRng.fill_bytes(&mut bytes);
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    // Under another name first: whoever reads the file finds a whole token, and of two gateways that start at once
    // both use the one that was first.
    let fresh = dir.join(format!("{FILE}.{:016x}", OsRng.next_u64()));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&fresh, path(dir));
    std::fs::remove_file(&fresh)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read(dir),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("a/b");
        assert_eq!(read(&dir).unwrap_err().kind(), io::ErrorKind::NotFound);
        let made = open(&dir).unwrap();
        assert_eq!(made.expose().len(), 2 * BYTES);
        assert_eq!(open(&dir).unwrap(), made);
        assert_eq!(read(&dir).unwrap(), made);
        assert_eq!(std::fs::metadata(path(&dir)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing else is left there");
        let other = open(&folder.path().join("c")).unwrap();
        assert_ne!(other, made);
    }

    #[test]
    fn a_token_that_everybody_may_read_is_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(path(folder.path()), "a-token\n").unwrap();
        std::fs::set_permissions(path(folder.path()), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(open(folder.path()).unwrap_err().to_string().contains("chmod 600"));
        std::fs::set_permissions(path(folder.path()), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(open(folder.path()).unwrap().expose(), "a-token");
    }

    #[test]
    fn an_empty_file_is_no_token() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(path(folder.path()), "\n").unwrap();
        std::fs::set_permissions(path(folder.path()), std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(open(folder.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
