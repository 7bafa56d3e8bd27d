//! The file that quotas survive in.
//!
//! In: counts that changed. Out: what was counted in stretches that go on. Not
//! here: when it is written (`journal`).
//!
//! What is written survives the end of the process, however it ends: a batch is
//! one transaction in the log beside the file. Without waiting for the disk, the
//! last ones may be lost if the machine itself loses power.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, Row, TransactionBehavior, params};

use super::memory::Key;
use crate::config::scalar::Window;
use crate::state::past::GRACE;
use crate::state::private::{self, Fault, Version};

/// Its name in `state.dir`.
const FILE: &str = "counters.sqlite";
/// Which tables the file has.
const VERSION: i64 = 1;
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_millis(250);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS counts (
        name TEXT NOT NULL,
        cost TEXT NOT NULL,
        window TEXT NOT NULL,
        began INTEGER NOT NULL,
        ends INTEGER NOT NULL,
        used INTEGER NOT NULL,
        PRIMARY KEY (name, cost, window, began)
    ) STRICT, WITHOUT ROWID;";
const INSERT: &str =
    "INSERT INTO counts (name, cost, window, began, ends, used) VALUES (?1, ?2, ?3, ?4, ?5, max(0, ?6))
    ON CONFLICT DO UPDATE SET used = ";

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    path: PathBuf,
    /// Which file it is: another may have taken its name.
    inode: u64,
}

/// What becomes of a written count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// So much is added to what is written, by whomever.
    Add(i64),
    /// This is written instead.
    Set(u64),
}

/// Whose counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Those that tell addresses apart, whose names have brackets.
    Addresses,
    /// All others.
    Others,
}

/// Where the counts are kept.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

impl Store {
    /// Opens the file in `folder`; both are made if they are not there. Only the gateway's own user may read it. That its
    /// tables are made shows whether it can be written.
    pub(super) fn open(folder: &Path) -> Result<Store, Fault> {
        let (mut connection, inode) = private::open_shared(folder, FILE, BUSY)?;
        let found: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
        if found != "ok" {
            return Err(Fault::Damaged(found));
        }
        match private::make_tables(&mut connection, TABLES, VERSION)? {
            Version::Known => Ok(Store { connection, path: path(folder), inode }),
            Version::Newer => Err(Fault::Newer),
        }
    }

    /// What is counted in stretches that go on at `now`, or have just ended; those that go on first, of them the most, and at
    /// most so many; each with what was used.
    pub(super) fn read(&self, whose: Whose, now: u64, most: usize) -> Result<Vec<(Key, u64)>, Fault> {
        let all = "SELECT name, cost, window, began, ends, used FROM counts
            WHERE ends > ?1 - ?2 AND (instr(name, '/[') > 0) = ?3 ORDER BY ends > ?1 DESC, used DESC LIMIT ?4";
        let mut statement = self.connection.prepare(all)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let is_by_address = whose == Whose::Addresses;
        let counts = statement.query_map(params![signed(now), signed(GRACE), is_by_address, most], count)?;
        Ok(counts.collect::<Result<_, _>>()?)
    }

    /// How many counts there are of stretches that go on at `now`, or have just ended.
    pub(super) fn len(&self, now: u64) -> Result<usize, Fault> {
        let count = "SELECT count(*) FROM counts WHERE ends > ?1 - ?2";
        let count: i64 = self.connection.query_row(count, [signed(now), signed(GRACE)], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Writes all of these, or none.
    pub(super) fn write<'a>(&mut self, changes: impl Iterator<Item = (&'a Key, Change)>) -> Result<(), Fault> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut add = transaction.prepare_cached(&format!("{INSERT} max(0, used + ?6)"))?;
            let mut set = transaction.prepare_cached(&format!("{INSERT} excluded.used"))?;
            for (Key { name, cost, window, began, ends }, change) in changes {
                let (statement, units) = match change {
                    Change::Add(units) => (&mut add, units),
                    Change::Set(units) => (&mut set, signed(units)),
                };
                let (began, ends) = (signed(*began), signed(*ends));
                statement.execute(params![name, cost.word(), window.word(), began, ends, units])?;
            }
        }
        Ok(transaction.commit()?)
    }

    /// Removes stretches that ended before that.
    pub(super) fn forget(&mut self, then: u64) -> Result<(), Fault> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM counts WHERE ends <= ?1", [signed(then)])?;
        Ok(transaction.commit()?)
    }

    /// Whether the file is still the one that has its name.
    pub(super) fn is_in_place(&self) -> bool {
        private::is_in_place(&self.path, self.inode)
    }
}

fn count(row: &Row<'_>) -> rusqlite::Result<(Key, u64)> {
    let word = |index: usize| row.get::<_, String>(index);
    let number = |index: usize| row.get::<_, i64>(index).map(i64::unsigned_abs);
    let strange = |index: usize| rusqlite::Error::InvalidColumnType(index, "word".to_owned(), Type::Text);
    let cost = word(1)?.parse().map_err(|_| strange(1))?;
    let window = word(2)?;
    let window = [Window::Hour, Window::Day, Window::Month].into_iter().find(|known| known.word() == window);
    let window = window.ok_or_else(|| strange(2))?;
    let key = Key { name: word(0)?.into(), cost, window, began: number(3)?, ends: number(4)? };
    Ok((key, number(5)?))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::config::section::limits::Cost;

    use super::*;

    fn key(number: usize) -> Key {
        let name = format!("scan/tenant-{number}").into();
        Key { name, cost: Cost::RowsRead, window: Window::Day, began: 86_400, ends: 172_800 }
    }

    #[test]
    fn a_full_disk_takes_all_of_a_batch_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        store.write([(&key(0), Change::Add(5))].into_iter()).unwrap();
        let limit = |store: &Store, pages: u32| {
            store.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        };
        limit(&store, 4);
        let keys: Vec<Key> = (0..1000).map(key).collect();
        let batch = || keys.iter().map(|key| (key, Change::Add(1)));
        let fault = store.write(batch()).unwrap_err();
        assert!(matches!(fault, Fault::Unusable(_)), "{fault:?}");
        assert!(fault.to_string().contains("full"), "{fault}");
        assert_eq!(store.read(Whose::Others, 0, 10).unwrap(), [(key(0), 5)]);
        limit(&store, 1_000_000);
        store.write(batch()).unwrap();
        assert_eq!(store.len(0).unwrap(), 1000);
        assert_eq!(store.read(Whose::Others, 0, 1).unwrap(), [(key(0), 6)], "the most used first");
    }

    #[test]
    fn counts_are_added_to_or_replaced_and_never_below_zero() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        for (change, used) in [
            (Change::Add(-5), 0),
            (Change::Add(7), 7),
            (Change::Add(-3), 4),
            (Change::Set(9), 9),
            (Change::Add(-100), 0),
            (Change::Set(u64::MAX), i64::MAX as u64),
        ] {
            store.write([(&key(1), change)].into_iter()).unwrap();
            assert_eq!(store.read(Whose::Others, 0, 10).unwrap(), [(key(1), used)], "{change:?}");
        }
        store.forget(172_799).unwrap();
        assert_eq!(store.len(0).unwrap(), 1);
        store.forget(172_800).unwrap();
        assert_eq!(store.len(0).unwrap(), 0);
    }
}
