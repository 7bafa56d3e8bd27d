//! SQLite files that only the gateway's own user may read.
//!
//! In: a folder and the name of a file in it. Out: the open file, both made if
//! they were not there; its tables. Not here: what the tables hold.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

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
