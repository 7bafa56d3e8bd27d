//! SQLite files that only the gateway's own user may read.
//!
//! In: a folder and the name of a file in it. Out: the open file, both made if
//! they were not there; its tables. Not here: what the tables hold.

use std::fmt;
use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::clock::Clock;

/// Opens a database; another process may hold it for `busy`.
///
/// # Errors
/// What the system says, or SQLite.
pub(in crate::state) fn open<E: From<io::Error> + From<rusqlite::Error>>(
    folder: &Path,
    name: &str,
    busy: Duration,
) -> Result<(Connection, File), E> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join(name);
    // Made here, because of its mode, which what SQLite puts beside it takes over.
    let file = File::options().read(true).append(true).create(true).mode(0o600).open(&path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags)?;
    connection.busy_timeout(busy)?;
    Ok((connection, file))
}

/// Opens a database that more than one process may use at once, and with which nothing waits for the disk: what is written
/// survives the end of the process, however it ends, and the last of it may be lost if the machine loses power. Also which
/// file it is: another may take its name.
///
/// # Errors
/// It is damaged, as far as that shows at once, or cannot be used.
pub(in crate::state) fn open_shared(folder: &Path, name: &str, busy: Duration) -> Result<(Connection, u64), Fault> {
    let (connection, file) = open::<Fault>(folder, name, busy)?;
    let inode = file.metadata()?.ino();
    // Another mode is slower and as safe: a file system may have no shared memory, or another gateway is opening the file.
    match connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(Fault::from) {
        Err(fault @ Fault::Damaged(_)) => return Err(fault),
        Err(Fault::Newer | Fault::Unusable(_)) | Ok(()) => {}
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    Ok((connection, inode))
}

/// Whether the file at this place is still the one that was opened.
pub(in crate::state) fn is_in_place(path: &Path, inode: u64) -> bool {
    std::fs::metadata(path).as_ref().map(Metadata::ino).is_ok_and(|found| found == inode)
}

/// Opens a file; another one if it is damaged, which is moved aside and told, and `what_follows` from that.
///
/// # Errors
/// As `open` says of the new one.
pub(in crate::state) fn open_or_renew<S>(
    path: &Path,
    clock: &Clock,
    what_follows: &str,
    open: impl Fn() -> Result<S, Fault>,
) -> Result<S, Fault> {
    let why = match open() {
        Err(Fault::Damaged(why)) => why,
        opened => return opened,
    };
    let time = DateTime::<Utc>::from(clock.wall()).format("%Y%m%dT%H%M%SZ");
    let aside = move_aside(path, &time.to_string())?;
    log::error!("{} is damaged ({why}): it was moved to {}, and {what_follows}", path.display(), aside.display());
    open()
}

/// Which gateway wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::state) enum Version {
    /// One that knew no more than this one; the tables are there.
    Known,
    /// One that knew more: nothing was changed.
    Newer,
}

/// Makes the tables of this version, where they are not there.
///
/// # Errors
/// What SQLite says.
pub(in crate::state) fn make_tables(
    connection: &mut Connection,
    tables: &str,
    version: i64,
) -> rusqlite::Result<Version> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > version {
        return Ok(Version::Newer);
    }
    transaction.execute_batch(tables)?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()?;
    Ok(Version::Known)
}

/// Why the file cannot be used.
#[derive(Debug)]
pub(in crate::state) enum Fault {
    /// It is no such file, or not a whole one.
    Damaged(String),
    /// It was written by a gateway that knows more.
    Newer,
    /// What the system says.
    Unusable(String),
}

/// Moves a damaged file out of the way; where it is then.
///
/// # Errors
/// What the system says.
fn move_aside(path: &Path, time: &str) -> io::Result<PathBuf> {
    let beside = |end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let aside = beside(&format!(".corrupt-{time}"));
    std::fs::rename(path, &aside)?;
    // Its log goes with it: another file must not be mended with it.
    for end in ["-wal", "-shm"] {
        let moved = std::fs::rename(beside(end), format!("{}{end}", aside.display()));
        moved.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    }
    Ok(aside)
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Unusable(error.to_string())
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Fault::Damaged(error.to_string()),
            _ => Fault::Unusable(error.to_string()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Damaged(why) => write!(f, "it is damaged: {why}"),
            Fault::Newer => f.write_str("it was written by a newer gateway"),
            Fault::Unusable(why) => f.write_str(why),
        }
    }
}
