//! What is kept on disk: accounts, certificates with their keys, orders that are
//! under way.
//!
//! In: bytes and the place they belong to. Out: the same bytes, whole or not at
//! all, whenever the process ends: every file is written beside its place,
//! synced and renamed. Folders are for their owner only, and so are files. Not
//! here: what is in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::tls::whole_file::{self, PRIVATE};

use super::name::Name;

/// Files that a process left half written are older than this.
const LEFT: Duration = Duration::from_secs(600);

/// The folder of everything.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
}

/// What a file is for; each authority has its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// The account.
    Account,
    /// A certificate and its key, in one file: the two belong together at any time.
    Certificate(&'a Name),
    /// An order that is under way.
    Order(&'a Name),
}

/// A file that could not be read or written.
#[derive(Debug)]
pub(super) struct Fault {
    path: PathBuf,
    error: io::Error,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Files { folder }
    }

    /// Where a file stands.
    pub(super) fn path(&self, authority: &str, place: Place<'_>) -> PathBuf {
        let folder = self.folder.join(authority);
        match place {
            Place::Account => folder.join("account.json"),
            Place::Certificate(name) => folder.join("certificates").join(format!("{}.pem", name.file_stem())),
            Place::Order(name) => folder.join("orders").join(format!("{}.json", name.file_stem())),
        }
    }

    /// What is there, if anything.
    pub(super) fn read(&self, authority: &str, place: Place<'_>) -> Result<Option<Vec<u8>>, Fault> {
        let path = self.path(authority, place);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Fault { path, error }),
        }
    }

    /// The names of all certificates of an authority.
    pub(super) fn names(&self, authority: &str) -> Vec<Name> {
        let entries = fs::read_dir(self.folder.join(authority).join("certificates")).into_iter().flatten().flatten();
        let named = |file: std::ffi::OsString| Name::parse(file.to_str()?.strip_suffix(".pem")?);
        entries.filter_map(|entry| named(entry.file_name())).collect()
    }

    pub(super) fn write(&self, authority: &str, place: Place<'_>, bytes: &[u8]) -> Result<(), Fault> {
        let path = self.path(authority, place);
        whole_file::replace(&path, bytes, PRIVATE).map_err(|error| Fault { path, error })
    }

    /// Removes a file; that it is not there is fine, and that it stays does no harm.
    pub(super) fn remove(&self, authority: &str, place: Place<'_>) {
        let path = self.path(authority, place);
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => log::warn!("{} cannot be removed: {error}", path.display()),
        }
    }

    /// Moves a file that cannot be used out of the way, for somebody to look at; where it is now.
    pub(super) fn set_aside(&self, authority: &str, place: Place<'_>, now: SystemTime) -> PathBuf {
        let path = self.path(authority, place);
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut aside = path.clone().into_os_string();
        aside.push(format!(".unusable-{seconds}"));
        match fs::rename(&path, &aside) {
            Ok(()) => aside.into(),
            Err(_) => path,
        }
    }

    /// Removes what processes that were killed had begun to write.
    pub(super) fn tidy(&self, now: SystemTime) {
        for folder in folders(&self.folder).into_iter().flat_map(|folder| {
            let inner = folders(&folder);
            std::iter::once(folder).chain(inner)
        }) {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let is_left = entry.path().extension().is_some_and(|end| end == "tmp");
                let changed = entry.metadata().and_then(|about| about.modified());
                // A younger one may be that of a process that is just about to hand over to this one.
                let is_old = changed.is_ok_and(|changed| now.duration_since(changed).is_ok_and(|age| age > LEFT));
                if is_left && is_old {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_for_their_owner_and_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().join("tls/acme"));
        let name = Name::parse("*.example.com").unwrap();
        let place = Place::Certificate(&name);
        assert!(files.read("ca", place).unwrap().is_none());
        files.write("ca", place, b"one").unwrap();
        files.write("ca", place, b"two").unwrap();
        assert_eq!(files.read("ca", place).unwrap().as_deref(), Some(&b"two"[..]));
        let path = files.path("ca", place);
        assert!(path.ends_with("tls/acme/ca/certificates/_.example.com.pem"));
        assert_eq!(mode(&path), 0o600);
        for up in path.ancestors().skip(1).take(3) {
            assert_eq!(mode(up), 0o700, "{}", up.display());
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
        files.remove("ca", place);
        files.remove("ca", place);
        assert!(files.read("ca", place).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_used_is_kept_and_what_was_half_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().to_owned());
        files.write("ca", Place::Account, b"{").unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        let aside = files.set_aside("ca", Place::Account, now);
        assert!(aside.ends_with("ca/account.json.unusable-7") && aside.is_file());
        assert!(files.read("ca", Place::Account).unwrap().is_none());

        let half = folder.path().join("ca/account.json.1.tmp");
        fs::write(&half, "{").unwrap();
        let written = fs::metadata(&half).unwrap().modified().unwrap();
        files.tidy(written);
        assert!(half.exists(), "somebody may be writing it");
        files.tidy(written + LEFT * 2);
        assert!(!half.exists() && aside.is_file());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca"), "a file").unwrap();
        let fault = Files::new(folder.path().to_owned()).write("ca", Place::Account, b"x").unwrap_err();
        assert!(fault.to_string().contains("ca/account.json: "), "{fault}");
    }
}
