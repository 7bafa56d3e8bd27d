//! The file that domains survive in.
//!
//! In: domains that changed, one at a time, each written through to the disk.
//! Out: all of them. Only the gateway's own user may read it. Not here: who is
//! served (`mod`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Row, params};

use crate::state::private::{self, Version};

use super::{Domain, Standing};

/// Its name in `state.dir`.
const FILE: &str = "domains.sqlite";
/// Which tables the file has.
const VERSION: i64 = 1;
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(2);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS domains (
        name TEXT NOT NULL PRIMARY KEY,
        host TEXT NOT NULL,
        standing TEXT NOT NULL,
        created INTEGER NOT NULL,
        checked INTEGER,
        fault TEXT
    ) STRICT, WITHOUT ROWID;";

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
}

/// Where domains are kept.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

impl Store {
    /// Opens the file in `folder`; both are made if they are not there.
    pub(super) fn open(folder: &Path) -> Result<Store, String> {
        let path = path(folder);
        let opened = private::open::<anyhow::Error>(folder, FILE, BUSY).and_then(|(mut connection, _)| {
            let version = private::make_tables(&mut connection, TABLES, VERSION)?;
            Ok((connection, version))
        });
        match opened.map_err(|error| format!("{}: {error}", path.display()))? {
            (connection, Version::Known) => Ok(Store { connection, path }),
            (_, Version::Newer) => Err(format!("{}: a newer gateway has written it", path.display())),
        }
    }

    /// Every domain.
    pub(super) fn all(&self) -> Result<Vec<Domain>, String> {
        let read = || {
            let mut all =
                self.connection.prepare("SELECT name, host, standing, created, checked, fault FROM domains")?;
            all.query_map([], domain)?.collect::<rusqlite::Result<Vec<Domain>>>()
        };
        read().map_err(|error| self.told(&error))
    }

    /// Writes a domain down in place of what was there under its name.
    pub(super) fn put(&self, domain: &Domain) -> Result<(), String> {
        let Domain { name, host, standing, created, checked, fault } = domain;
        let sql = "INSERT OR REPLACE INTO domains (name, host, standing, created, checked, fault)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let written = self.connection.execute(sql, params![name, host, standing.word(), created, checked, fault]);
        written.map(drop).map_err(|error| self.told(&error))
    }

    /// Removes a domain.
    pub(super) fn remove(&self, name: &str) -> Result<(), String> {
        let removed = self.connection.execute("DELETE FROM domains WHERE name = ?1", params![name]);
        removed.map(drop).map_err(|error| self.told(&error))
    }

    fn told(&self, error: &rusqlite::Error) -> String {
        format!("{}: {error}", self.path.display())
    }
}

fn domain(row: &Row<'_>) -> rusqlite::Result<Domain> {
    let standing: String = row.get(2)?;
    Ok(Domain {
        name: row.get(0)?,
        host: row.get(1)?,
        standing: Standing::of_word(&standing),
        created: row.get(3)?,
        checked: row.get(4)?,
        fault: row.get(5)?,
    })
}
