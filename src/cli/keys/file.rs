//! Changes a file of keys: one change at a time, all of it or nothing.
//!
//! In: a path and what to make of the text. Out: the file under its old name,
//! mode and owner. A lock lets several calls wait for each other; the new text
//! is moved over the old, so that neither a crash nor a reader sees half of it.
//! Not here: what the text becomes (`config::keys`).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::issue::Issues;
use crate::config::keys::KeyFile;

use super::super::{Ending, ending_for, say, show};

/// Whether a file that is not there is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Fails,
    IsMade,
}

/// What is to become of a file.
pub(super) enum Change<T> {
    /// Nothing.
    Leave(T),
    /// This is its text from now on.
    Write(String, T),
}

/// Changes the file at `path`.
///
/// # Errors
/// It cannot be read or written; in the inner result, how to end because of what is wrong in it.
pub(super) fn change<T>(
    path: &Path,
    missing: Missing,
    decide: impl FnOnce(&KeyFile) -> anyhow::Result<Change<T>>,
) -> anyhow::Result<Result<T, Ending>> {
    let mut locked = lock(path, missing).with_context(|| format!("the file {} cannot be opened", path.display()))?;
    let mut bytes = Vec::new();
    locked.file.read_to_end(&mut bytes).with_context(|| format!("the file {} cannot be read", path.display()))?;
    let keys = match KeyFile::of_bytes(path, bytes) {
        Ok(keys) => keys,
        Err(issues) => return Ok(Err(explain(&issues, path))),
    };
    match decide(&keys)? {
        Change::Leave(said) => Ok(Ok(said)),
        Change::Write(text, said) => {
            replace(&locked, &text).with_context(|| {
                format!(
                    "the file {} cannot be replaced; nothing was changed (its folder must be writable, and a container \
                     needs the folder mounted, not the file)",
                    path.display()
                )
            })?;
            Ok(Ok(said))
        }
    }
}

/// Shows what is wrong in a file of keys.
pub(super) fn explain(issues: &Issues, path: &Path) -> Ending {
    show(issues);
    say(&format!("{}: {}", path.display(), issues.count()));
    ending_for(issues)
}

/// A file that no other call changes meanwhile.
struct Locked {
    /// Itself, whatever links lead to it.
    path: PathBuf,
    file: File,
}

fn lock(path: &Path, missing: Missing) -> io::Result<Locked> {
    loop {
        let is_made = missing == Missing::IsMade;
        let file = File::options().read(true).append(true).create(is_made).mode(0o600).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        file.lock()?;
        // Whoever held the lock before may have put another file in its place.
        let path = fs::canonicalize(path)?;
        let (ours, theirs) = (file.metadata()?, fs::metadata(&path)?);
        if (ours.dev(), ours.ino()) == (theirs.dev(), theirs.ino()) {
            return Ok(Locked { path, file });
        }
    }
}

fn replace(locked: &Locked, text: &str) -> io::Result<()> {
    let name = locked.path.file_name().unwrap_or_default().to_string_lossy();
    let new = locked.path.with_file_name(format!(".{name}.new"));
    // Left behind by a crash: whoever writes it has the lock.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) | Ok(()) => {}
    }
    let replaced = write(locked, &new, text).and_then(|()| fs::rename(&new, &locked.path));
    if replaced.is_err() {
        // What is left of it helps nobody; that it cannot be removed either is not the news.
        let _ = fs::remove_file(&new);
        return replaced;
    }
    // So that the name, too, is there after the power went.
    match locked.path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn write(locked: &Locked, new: &Path, text: &str) -> io::Result<()> {
    let old = locked.file.metadata()?;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(new)?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
        // A gateway that runs as somebody else must go on reading it.
        fchown(&file, Some(old.uid()), Some(old.gid()))
            .map_err(|error| io::Error::new(error.kind(), format!("it belongs to another user: {error}")))?;
    }
    file.set_permissions(fs::Permissions::from_mode(old.permissions().mode() & 0o7777))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
