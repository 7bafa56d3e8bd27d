//! Files that are there whole, or not at all, whenever the process ends.
//!
//! In: a place, bytes, who may read them. Out: the file; its folder, for its
//! owner only. Every file is written beside its place, synced and renamed. Not
//! here: what is in it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// For the gateway's own user.
pub(super) const PRIVATE: u32 = 0o600;
/// For everybody who gets to the folder.
pub(super) const PUBLIC: u32 = 0o644;

/// Writes a file in place of what is there.
///
/// # Errors
/// What the system says; then what was there is there still.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let Some(folder) = path.parent() else { return Err(io::ErrorKind::InvalidInput.into()) };
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut new = path.to_owned().into_os_string();
    // Another process may write the same place: whoever renames last wins, with a whole file.
    new.push(format!(".{}.tmp", std::process::id()));
    let new = PathBuf::from(new);
    let _ = fs::remove_file(&new);
    let written = write(&new, bytes, mode).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    // The new name of the file is in the folder, which has to reach the disk, too.
    File::open(folder)?.sync_all()
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
